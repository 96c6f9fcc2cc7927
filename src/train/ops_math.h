/* The two elementary functions that training needs, for either kind of number: kernels/math.h's in f32; libm's in f64,
 * where nothing but a gradient check is computed. */
#ifndef HEARTH_TRAIN_OPS_MATH_H
#define HEARTH_TRAIN_OPS_MATH_H

#include "base/real.h"
#include "kernels/math.h"

/* exp_f32 of kernels/math.h, step by step (tests/train/ops.c compares all bits), without its loop over coefficients:
 * compilers turn a loop over lanes into vector instructions only where no other loop is inside. */
static inline float exp_lane(float x)
{
    x = x < EXP_LOWEST ? EXP_LOWEST : x;
    x = x > EXP_HIGHEST ? EXP_HIGHEST : x;
    float shifted = fmaf(x, LOG2_E, ROUND_MAGIC), n = shifted - ROUND_MAGIC;
    float r = fmaf(n, -LN2_LOW, fmaf(n, -LN2_HIGH, x));
    float p = fmaf(EXP_POLY[0], r, EXP_POLY[1]);
    p = fmaf(p, r, EXP_POLY[2]);
    p = fmaf(p, r, EXP_POLY[3]);
    p = fmaf(p, r, EXP_POLY[4]);
    p = fmaf(r * r, p, r) + 1.0f;
    int32_t whole = (int32_t)(bits_of_f32(shifted) & 0x3ff) - (int32_t)((bits_of_f32(shifted) & 0x200) << 1);
    int32_t half = whole / 2;
    return p * f32_of_bits((uint32_t)(half + 127) << 23) * f32_of_bits((uint32_t)(whole - half + 127) << 23);
}

static inline real ops_exp(real x)
{
    return _Generic(x, float: exp_lane, double: exp)(x);
}

static inline real ops_log(real x)
{
    return _Generic(x, float: log_f32, double: log)(x);
}

#endif
