/* One batch's loss and gradient with f64 at the border: what a program that holds this code a second time in double
 * (tests/train/double.h) compares it with. */
#ifndef HEARTH_TRAIN_PROBE_H
#define HEARTH_TRAIN_PROBE_H

#include "train/net.h"

/* params, grads: runs of layout.total numbers. Errors: ERR_UNSUPPORTED (no such tier), ERR_MEMORY and net_make's. */
bool net_probe(const struct shape *s, const struct batch *b, const double *params, double *grads, const char *tier,
               size_t threads, double *loss, err *e);

#endif
