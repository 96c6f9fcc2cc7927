/* Constants of the arithmetic over coded pages, shared by its definition and by every tier. */
#ifndef HEARTH_KERNELS_CODED_MATH_H
#define HEARTH_KERNELS_CODED_MATH_H

#include "kernels/coded.h"
#include "kernels/math.h"

#define EXP2_LOWEST (-125.0f)  /* 2^x below it counts as this: never denormal */
#define SCALE_LOG_LEAST (-32.0f) /* of a value scale below its group's largest, in powers of two */
#define LN2 0x1.62e43p-1f
#define LEAST_SCALE 0x1p-100f  /* weights or queries that are all smaller count as 0: no scale is ever denormal */

enum {
    LOG_QUERY_MOST = 32767,    /* log tiers: queries in 16 bits, before the keys' scales */
    LOG_PRODUCT_LEAST = 128,   /* of query and scale: so that LOG_RANGE / it stays in 16 bits */
    LOG_CODE_MOST = 127,       /* and in 8 bits after them */
    LOG_RANGE = LOG_CODE_MOST << 15,
    LOG_WEIGHT_MOST = 240,     /* probability times value scale, or up to 255: its logarithm is known within 0.087 */
    TOKEN_QUERY_MOST = 8127,   /* token tiers: 14 bits, as 128 high + low with low in -64..63 and |high| <= 63 */
    TOKEN_WEIGHT_MOST = 16383, /* 128 high + low, both 0..127 */
    MEAN_SHIFT = 4096          /* times it, shifted by 15 with rounding: an eighth */
};

/* (2^r - 1) / r on |r| <= 1/2, relative error of 2^r 5.4e-6; highest power first. */
static const float EXP2_POLY[4] = { 0x1.3d107cp-7f, 0x1.cacca6p-5f, 0x1.ebf958p-3f, 0x1.62deb4p-1f };

/* 2^x for x <= 64: n = x rounded, 2^(x - n) by polynomial, n added to its exponent. */
static inline float exp2_f32(float x)
{
    x = x < EXP2_LOWEST ? EXP2_LOWEST : x;
    float shifted = x + ROUND_MAGIC, n = shifted - ROUND_MAGIC, r = x - n, p = EXP2_POLY[0];
    for (int i = 1; i < 4; i++) p = fmaf(p, r, EXP2_POLY[i]);
    p = fmaf(p, r, 1.0f);
    return f32_of_bits(bits_of_f32(p) + (bits_of_f32(shifted) << 23));
}

/* Codes by channel to codes by slot. */
static inline void codes_swap(int8_t *codes, const uint8_t *slots, size_t boosts)
{
    for (size_t s = 0; s < boosts; s++) {
        int8_t other = codes[slots[s]];
        codes[slots[s]] = codes[s];
        codes[s] = other;
    }
}

/* The positions lo..hi-1 of a page of 64 that stands at `at`, as bits. */
static inline uint64_t page_range(size_t lo, size_t hi, size_t at)
{
    size_t begin = lo > at ? lo - at : 0, end = hi > at ? hi - at : 0;
    if (begin >= PAGE_TOK || end == 0 || begin >= end) return 0;
    uint64_t below = end >= PAGE_TOK ? UINT64_MAX : ((uint64_t)1 << end) - 1;
    return below & ~(((uint64_t)1 << begin) - 1);
}

#endif
