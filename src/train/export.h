/* The finished model: a GGUF file in the qwen3 (dense) or qwen3moe layout, which any engine of that format reads, with
 * the vocabulary of the run and where it came from in its metadata. */
#ifndef HEARTH_TRAIN_EXPORT_H
#define HEARTH_TRAIN_EXPORT_H

#include "train/run.h"

/* Writes the run's weights. `type` is that of the matrices: F32, F16, BF16, Q8_0 or another that kernels/encode.h has
 * and whose blocks divide the rows; vectors and the gate are f32. The gate is the product that routed in training, not
 * its factors. Errors: ERR_UNSUPPORTED (type), ERR_VALUE (a value that is not finite), gguf_out_*'s. */
bool export_gguf(struct run *r, const char *path, enum weight_type type, err *e);

#endif
