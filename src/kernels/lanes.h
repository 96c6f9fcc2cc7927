/* 16 f32 lanes, whatever the width of the registers: a tier says how 16 lanes are kept (x86/lanes_avx2.h,
 * x86/lanes_avx512.h, arm/lanes_neon.h), and the functions are written once over them (here, vector_lanes.h,
 * attention_lanes.h). The definitions (vector.c, attention.c) share no line with this: they are scalar, so the tests
 * compare two ways to the same bits. Included after a tier's lanes_*.h, by that tier's .c files alone.
 *
 *   lanes_load_n(p, n, fill)   the first min(n, 16) lanes from p, the others `fill`; no byte further is touched
 *   lanes_load16_n, lanes_store16_n   the same from and to f16, the conversion to nearest even
 *   lanes_min(a, b)            a < b ? a : b; lanes_max a > b ? a : b: b where one is NaN
 *   lanes_if_less(a, b, y, n)  a < b ? y : n
 *   lanes_times_two_to(p, n, shifted)   p * 2^n, rounded once; `shifted` has n in its low 10 bits
 *   lanes_tree                 the tree of vector.h;  lanes_largest: the largest lane
 *   lanes_even, _odd, _swap    (x0, x0, x2, x2, ...), (x1, x1, x3, x3, ...), (x1, x0, x3, x2, ...)
 *   lanes_load_pairs           32 floats: those at even places, those at odd places
 *   lanes_turn(to, to_stride, from, from_stride)   16 x 16 floats: to[i * to_stride + j] = from[j * from_stride + i] */
#ifndef HEARTH_KERNELS_LANES_H
#define HEARTH_KERNELS_LANES_H

#include "kernels/math.h"

enum { LANES = 16 };

/* exp_f32, step by step. */
static inline lanes lanes_exp(lanes x)
{
    x = lanes_min(lanes_set(EXP_HIGHEST), lanes_max(lanes_set(EXP_LOWEST), x));
    lanes shifted = lanes_fma(x, lanes_set(LOG2_E), lanes_set(ROUND_MAGIC));
    lanes n = lanes_sub(shifted, lanes_set(ROUND_MAGIC));
    lanes r = lanes_fma(n, lanes_set(-LN2_LOW), lanes_fma(n, lanes_set(-LN2_HIGH), x));
    lanes p = lanes_set(EXP_POLY[0]);
    for (int i = 1; i < 5; i++) p = lanes_fma(p, r, lanes_set(EXP_POLY[i]));
    p = lanes_add(lanes_fma(lanes_mul(r, r), p, r), lanes_set(1.0f));
    return lanes_times_two_to(p, n, shifted);
}

/* tanh_f32: both formulas, then the one that holds. */
static inline lanes lanes_tanh(lanes x)
{
    lanes a = lanes_and_bits(x, 0x7fffffff), z = lanes_mul(a, a), p = lanes_set(TANH_POLY[0]);
    for (int i = 1; i < 5; i++) p = lanes_fma(p, z, lanes_set(TANH_POLY[i]));
    lanes one = lanes_set(1.0f), small = lanes_fma(lanes_mul(a, z), p, a);
    lanes large = lanes_sub(one, lanes_div(lanes_set(2.0f), lanes_add(lanes_exp(lanes_add(a, a)), one)));
    return lanes_xor(lanes_if_less(a, lanes_set(TANH_SMALL), small, large), lanes_and_bits(x, 0x80000000u));
}

/* erf_f32: both formulas, then the one that holds. */
static inline lanes lanes_erf(lanes x)
{
    lanes a = lanes_and_bits(x, 0x7fffffff), z = lanes_mul(a, a), p = lanes_set(ERF_POLY[0]);
    for (int i = 1; i < 7; i++) p = lanes_fma(p, z, lanes_set(ERF_POLY[i]));
    lanes b = lanes_min(lanes_set(ERF_ONE), a), q = lanes_set(ERFC_POLY[0]);
    for (int i = 1; i < 7; i++) q = lanes_fma(q, b, lanes_set(ERFC_POLY[i]));
    lanes small = lanes_fma(a, p, a), large = lanes_sub(lanes_set(1.0f), lanes_exp(q));
    return lanes_xor(lanes_if_less(a, lanes_set(ERF_SMALL), small, large), lanes_and_bits(x, 0x80000000u));
}

/* Within the range of f16; what is not below 65,504 (a NaN too) becomes it. */
static inline lanes lanes_clamp16(lanes x)
{
    return lanes_max(lanes_min(x, lanes_set(65504.0f)), lanes_set(-65504.0f));
}

#endif
