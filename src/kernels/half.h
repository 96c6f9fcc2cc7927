/* Conversions between f32 and the 16-bit floats of files: IEEE 754 binary16, and bfloat16 (the upper half of an f32).
 * Written with integers, so that they are the same on a CPU without such instructions; the tiers' instructions
 * (F16C, NEON) give the same bits. */
#ifndef HEARTH_KERNELS_HALF_H
#define HEARTH_KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

static inline float f32_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_of_f32(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Exact. A NaN keeps its upper bits and becomes quiet, as in hardware. */
static inline float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    if (exponent == 0) return f32_of_bits(sign | bits_of_f32((float)fraction * 0x1p-24f));
    if (exponent == 31) return f32_of_bits(sign | 0x7f800000 | fraction << 13 | (fraction != 0 ? 0x400000 : 0));
    return f32_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* To nearest, ties to even; 65,520 and above become infinity, a NaN the quiet one. */
static inline uint16_t f32_to_f16(float f)
{
    uint32_t bits = bits_of_f32(f), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (size >= 0x47800000) return (uint16_t)(sign | 0x7c00);
    /* Below 2^-14 the unit is 2^-24, which is that of f32 numbers in [0.5, 1): the addition does the rounding. */
    if (size < 0x38800000) return (uint16_t)(sign | (bits_of_f32(f32_of_bits(size) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | (((size + 0xfff + (size >> 13 & 1)) >> 13) - (112 << 10)));
}

/* Exact. */
static inline float bf16_to_f32(uint16_t h)
{
    return f32_of_bits((uint32_t)h << 16);
}

#endif
