/* The elementary functions of the f32 arithmetic. Each is a fixed sequence of + - * / and fmaf, all rounded to nearest
 * even, and of operations on bits; libm is never asked. So the bits are the same on every CPU, and a tier that mirrors
 * the same sequence in vectors (lanes.h) has them too. Polynomials are minimax fits with f32 coefficients, evaluated
 * by Horner with fmaf from the highest power down; docs/arithmetic.md has them in words.
 *
 *   function  largest error   over                        special cases
 *   exp_f32   1.01 ulp        all f32 (exhaustive)        < -104: 0; >= 89: inf; results below 2^-126 rounded once more
 *   tanh_f32  1.34 ulp        all f32 (exhaustive)        tanh(-x) = -tanh(x), -0 kept; |x| >= 9.02: +-1
 *   erf_f32   1.22 ulp        all f32 (exhaustive)        erf(-x) = -erf(x), -0 kept; |x| >= 4: +-1
 *   log_f32   0.501 ulp       all f32 > 0 (by f64)        log(+-0) = -inf; below 0: NaN
 *   sin_f32, cos_f32  0.501 ulp |x| <= 2^24 (by f64)      further away: NaN
 *
 * NaN in gives NaN out, with unspecified payload; no NaN ever becomes part of a result (attention.h, vector.h). */
#ifndef HEARTH_KERNELS_MATH_H
#define HEARTH_KERNELS_MATH_H

#include "kernels/angle.h"
#include "kernels/half.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The constants of exp, tanh and erf, shared by the definition and by every tier. */
#define EXP_LOWEST (-104.0f)        /* exp of it is under half of the smallest denormal */
#define EXP_HIGHEST 89.0f           /* exp of it is over the largest f32 */
#define LOG2_E 0x1.715476p+0f       /* 1 / ln 2 */
#define LN2_HIGH 0x1.62e4p-1f       /* 15 bits: n * LN2_HIGH is exact for |n| <= 2^9 */
#define LN2_LOW 0x1.7f7d1cp-20f     /* ln 2 - LN2_HIGH */
#define ROUND_MAGIC 0x1.8p+23f      /* adding it rounds |x| < 2^22 to the nearest even integer, in the low bits */
#define TANH_SMALL 0.625f           /* below: polynomial; above: through exp */
#define ERF_SMALL 1.0f
#define ERF_ONE 4.0f                /* erf of it rounds to 1 */
#define GELU_TANH_FACTOR 0x1.988454p-1f /* sqrt(2 / pi) */
#define GELU_TANH_CUBE 0x1.6e4e26p-5f   /* 0.044715 */
#define SQRT_HALF 0x1.6a09e6p-1f        /* sqrt(1 / 2) */

/* (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, relative error of exp 2^-28.3; highest power first. */
static const float EXP_POLY[5] = { 0x1.6a242cp-10f, 0x1.1239e2p-7f, 0x1.5558f2p-5f, 0x1.555492p-3f, 0x1.fffffcp-2f };

/* (tanh(x) - x) / x^3 in powers of x^2 on |x| <= 0.625, relative error of tanh 2^-27.8; highest power first. */
static const float TANH_POLY[5] = { -0x1.75e1a4p-8f, 0x1.522692p-6f, -0x1.b83c58p-5f, 0x1.110726p-3f, -0x1.555532p-2f };

/* erf(x) / x - 1 in powers of x^2 on |x| <= 1, relative error of erf 2^-29.6; highest power first. */
static const float ERF_POLY[7] = { 0x1.4969f6p-14f, -0x1.a3f6e8p-11f, 0x1.5405aep-8f, -0x1.b7f90cp-6f,
                                   0x1.ce2cf8p-4f,  -0x1.81273ep-2f,  0x1.06eba8p-3f };

/* log(1 - erf(x)) in powers of x on 1 <= x <= 4, absolute error of erf 2^-29.9; highest power first. */
static const float ERFC_POLY[7] = { 0x1.852cb0p-13f, -0x1.814c7ep-9f, 0x1.6541f4p-6f, -0x1.a60a6cp-4f,
                                    -0x1.46c588p-1f, -0x1.2085b2p+0f, -0x1.72ea90p-12f };

/* e^x. n = x / ln 2 rounded, r = x - n ln 2 (the first step exact), e^r by polynomial, then times 2^n in two factors,
 * of which the first is exact: so a denormal result is rounded from the f32 value of 2^-n e^x. */
static inline float exp_f32(float x)
{
    x = x < EXP_LOWEST ? EXP_LOWEST : x;
    x = x > EXP_HIGHEST ? EXP_HIGHEST : x;
    float shifted = fmaf(x, LOG2_E, ROUND_MAGIC), n = shifted - ROUND_MAGIC;
    float r = fmaf(n, -LN2_LOW, fmaf(n, -LN2_HIGH, x));
    float p = EXP_POLY[0];
    for (int i = 1; i < 5; i++) p = fmaf(p, r, EXP_POLY[i]);
    p = fmaf(r * r, p, r) + 1.0f;
    /* A NaN leaves any integer here: p is NaN and stays so. Else -150 <= n <= 128. */
    int32_t whole = (int32_t)(bits_of_f32(shifted) & 0x3ff) - (int32_t)((bits_of_f32(shifted) & 0x200) << 1);
    int32_t half = whole / 2;
    return p * f32_of_bits((uint32_t)(half + 127) << 23) * f32_of_bits((uint32_t)(whole - half + 127) << 23);
}

/* tanh x: |x| + |x|^3 P(x^2) below TANH_SMALL, else 1 - 2 / (e^2|x| + 1); then the sign of x. */
static inline float tanh_f32(float x)
{
    uint32_t sign = bits_of_f32(x) & 0x80000000u;
    float a = f32_of_bits(bits_of_f32(x) ^ sign), y;
    if (a < TANH_SMALL) {
        float z = a * a, p = TANH_POLY[0];
        for (int i = 1; i < 5; i++) p = fmaf(p, z, TANH_POLY[i]);
        y = fmaf(a * z, p, a);
    } else {
        y = 1.0f - 2.0f / (exp_f32(a + a) + 1.0f);
    }
    return f32_of_bits(bits_of_f32(y) | sign);
}

/* erf x: |x| + |x| P(x^2) below ERF_SMALL, else 1 - e^P(min(|x|, 4)); then the sign of x. */
static inline float erf_f32(float x)
{
    uint32_t sign = bits_of_f32(x) & 0x80000000u;
    float a = f32_of_bits(bits_of_f32(x) ^ sign), y;
    if (a < ERF_SMALL) {
        float z = a * a, p = ERF_POLY[0];
        for (int i = 1; i < 7; i++) p = fmaf(p, z, ERF_POLY[i]);
        y = fmaf(a, p, a);
    } else {
        a = a > ERF_ONE ? ERF_ONE : a;
        float p = ERFC_POLY[0];
        for (int i = 1; i < 7; i++) p = fmaf(p, a, ERFC_POLY[i]);
        y = 1.0f - exp_f32(p);
    }
    return f32_of_bits(bits_of_f32(y) | sign);
}

/* These three have no vector form: no kernel needs one. The f64 value, rounded once. */
static inline float log_f32(float x)
{
    return (float)log_f64((double)x);
}

static inline float sin_f32(float x)
{
    return (float)sin_f64((double)x);
}

static inline float cos_f32(float x)
{
    return (float)cos_f64((double)x);
}

/* To binary16, nearest even, after clamping to +-65,504; what is not below 65,504 (a NaN too) becomes it. */
static inline uint16_t f16_clamped(float x)
{
    x = x < 65504.0f ? x : 65504.0f;
    return f32_to_f16(x > -65504.0f ? x : -65504.0f);
}

#endif
