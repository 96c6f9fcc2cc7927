/* The join of struct hyper and an image's numbered fields: both ways from one table. */
#ifndef HEARTH_MODEL_PACKED_H
#define HEARTH_MODEL_PACKED_H

#include "image/image.h"
#include "model/hyper.h"

void hyper_to_fields(const struct hyper *h, uint64_t out[static IMAGE_FIELDS]);

/* Of a checked image. Errors: ERR_UNSUPPORTED (an architecture this program has no row for), ERR_VALUE (fields that do
 * not fit the architecture). */
bool hyper_of_image(const image *from, struct hyper *out, err *e);

#endif
