/* What the encoders' bytes mean, read as plainly as the published layouts say it: shares nothing with src/kernels. */
#ifndef HEARTH_TESTS_KERNELS_ENCODE_WIDEN_H
#define HEARTH_TESTS_KERNELS_ENCODE_WIDEN_H

#include "base/le.h"

#include <math.h>
#include <stddef.h>

static inline float half_value(const uint8_t *p)
{
    unsigned bits = le_u16(p), exponent = bits >> 10 & 31, fraction = bits & 0x3FF;
    double size = exponent == 0 ? ldexp(fraction, -24) : ldexp(fraction + 1024, (int)exponent - 25);
    return (float)(bits & 0x8000 ? -size : size);
}

static inline void read_q8_0(const uint8_t *p, float *out)
{
    for (size_t i = 0; i < 32; i++) out[i] = half_value(p) * (float)(int8_t)p[2 + i];
}

static inline void read_q4_0(const uint8_t *p, float *out)
{
    for (size_t i = 0; i < 32; i++) out[i] = half_value(p) * (float)((i < 16 ? p[2 + i] & 15 : p[2 + i - 16] >> 4) - 8);
}

static inline void read_q5_0(const uint8_t *p, float *out)
{
    for (size_t i = 0; i < 32; i++) {
        int low = i < 16 ? p[6 + i] & 15 : p[6 + i - 16] >> 4, high = (int)(le_u32(p + 2) >> i & 1);
        out[i] = half_value(p) * (float)(low + 16 * high - 16);
    }
}

static inline void read_k(const uint8_t *p, const uint8_t *nibbles, const uint8_t *fifth, float *out)
{
    const uint8_t *s = p + 4;
    for (size_t part = 0; part < 8; part++) {
        int scale = part < 4 ? s[part] & 63 : (s[part + 4] & 15) | (s[part - 4] >> 6) << 4;
        int min = part < 4 ? s[part + 4] & 63 : s[part + 4] >> 4 | (s[part] >> 6) << 4;
        for (size_t i = 0; i < 32; i++) {
            int byte = nibbles[part / 2 * 32 + i], code = part % 2 == 0 ? byte & 15 : byte >> 4;
            if (fifth != NULL) code += (fifth[i] >> part & 1) * 16;
            out[part * 32 + i] = half_value(p) * (float)scale * (float)code - half_value(p + 2) * (float)min;
        }
    }
}

static inline void read_q4_k(const uint8_t *p, float *out) { read_k(p, p + 16, NULL, out); }
static inline void read_q5_k(const uint8_t *p, float *out) { read_k(p, p + 48, p + 16, out); }

static inline void read_q6_k(const uint8_t *p, float *out)
{
    for (size_t i = 0; i < 256; i++) {
        size_t half = i / 128, quarter = i / 32 % 4, at = i % 32;
        int byte = p[half * 64 + quarter % 2 * 32 + at], low = quarter < 2 ? byte & 15 : byte >> 4;
        int high = p[128 + half * 32 + at] >> (2 * quarter) & 3;
        out[i] = half_value(p + 208) * (float)(int8_t)p[192 + i / 16] * (float)(low + 16 * high - 32);
    }
}

#endif
