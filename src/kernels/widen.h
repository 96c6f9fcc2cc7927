/* The `widen` column of weight.c's table; callers go through weight_kind(). */
#ifndef HEARTH_KERNELS_WIDEN_H
#define HEARTH_KERNELS_WIDEN_H

#include "kernels/split.h"

#include <stdbool.h>
#include <stddef.h>

typedef void widen_fn(const uint8_t *src, size_t blocks, float *out);

widen_fn widen_f32, widen_f16, widen_bf16, widen_q4_0, widen_q4_1, widen_q5_0, widen_q5_1, widen_q8_0, widen_q2_k,
    widen_q3_k, widen_q4_k, widen_q5_k, widen_q6_k, widen_iq4_nl, widen_iq4_xs, widen_mxfp4;

/* The `values` weights of one block. */
void widen_split(const struct split_block *s, size_t values, bool minima, float *out);

#endif
