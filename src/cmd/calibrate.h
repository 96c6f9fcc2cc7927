/* Importance of a model's columns from a calibration text: what hearth quantize --calibrate weighs errors with. */
#ifndef HEARTH_CMD_CALIBRATE_H
#define HEARTH_CMD_CALIBRATE_H

#include "cmd/open.h"
#include "model/importance.h"

/* Computes the text of file `text_path` with the model of `path`, in windows of CALIBRATE_TOK tokens that each begin as
 * a prompt does, with f32 activations. *out lies in `a`. Errors: the model's; ERR_UNSUPPORTED (a model without a
 * vocabulary); ERR_VALUE (a text of less than CALIBRATE_LEAST_TOK tokens). */
enum { CALIBRATE_TOK = 512, CALIBRATE_LEAST_TOK = 32 };
bool calibrate(const char *path, const char *text_path, size_t threads, arena *a, importance **out, err *e);

#endif
