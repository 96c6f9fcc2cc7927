/* From f32 weights to the bytes of a file's weight type: what `quantize` and the trainer's export compute with. The
 * inverse of weight.h's `widen`, and never exact, so each encoder searches: it looks for the scales (and minima, and
 * integer sub-scales) whose nearest codes give the least sum of w * (x - decoded x)^2. Blocks are independent of each
 * other, so threads may take different rows; a row's bytes depend on the row and its importance alone, on every CPU
 * (all sums in f64 and in index order, no function of libm). */
#ifndef HEARTH_KERNELS_ENCODE_H
#define HEARTH_KERNELS_ENCODE_H

#include "kernels/weight.h"

/* One row a type that can be written. */
struct encode_kind {
    enum weight_type type;
    uint16_t block_values, block_bytes;
    /* One block of values and their importance, both finite, importance >= 0 and not all 0. */
    void (*block)(const double *x, const double *w, uint8_t *out);
};

/* F32, F16, BF16, Q4_0, Q5_0, Q8_0, Q4_K, Q5_K, Q6_K; NULL for any other. */
const struct encode_kind *encode_kind(uint32_t type);

/* Encodes one row of `cols` values, a multiple of the type's block, into cols / block_values * block_bytes bytes.
 *   importance  NULL, or cols weights of the squared error (the mean square of the activations that meet a column, from
 *               calibration). Blocks whose weights are all 0 count every value alike.
 * Returns the first column that is not finite, or whose importance is negative or not finite, and then writes nothing;
 * else `cols`. What no code reaches is clamped: f16 scales end at 65,504. */
size_t encode_row(const struct encode_kind *kind, const float *x, const float *importance, size_t cols, uint8_t *out);

#endif
