/* Little-endian numbers, read and written byte by byte: no cast, no alignment, the same on every machine. The
 * compiler makes one load of each. The caller has checked the bounds. */
#ifndef HEARTH_BASE_LE_H
#define HEARTH_BASE_LE_H

#include <stdint.h>
#include <string.h>

static inline uint16_t le_u16(const uint8_t *p)
{
    return (uint16_t)((unsigned)p[0] | (unsigned)p[1] << 8);
}

static inline uint32_t le_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t le_u64(const uint8_t *p)
{
    return (uint64_t)le_u32(p) | (uint64_t)le_u32(p + 4) << 32;
}

static inline float le_f32(const uint8_t *p)
{
    uint32_t bits = le_u32(p);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline double le_f64(const uint8_t *p)
{
    uint64_t bits = le_u64(p);
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static inline void le_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void le_put_u32(uint8_t *p, uint32_t v)
{
    le_put_u16(p, (uint16_t)v);
    le_put_u16(p + 2, (uint16_t)(v >> 16));
}

static inline void le_put_u64(uint8_t *p, uint64_t v)
{
    le_put_u32(p, (uint32_t)v);
    le_put_u32(p + 4, (uint32_t)(v >> 32));
}

static inline void le_put_f32(uint8_t *p, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    le_put_u32(p, bits);
}

#endif
