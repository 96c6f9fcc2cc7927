/* Mirrors matmul.c with NEON and its dot products (ARMv8.2): 4 rows a vector, a quarter of a tile. sdot takes signed
 * codes, so those of 8 bits are used at their value. */
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t i32v __attribute__((vector_size(16)));
typedef uint32_t u32v __attribute__((vector_size(16)));
typedef float f32v __attribute__((vector_size(16)));

enum { LANES = 4, UNITS = 4, TOKENS = 4, FEW = 4, IN_ORDER = 0, WIDE_ZERO = 0, RAISED = 0 };

static inline i32v bcast_i32(int32_t v)
{
    return (i32v)vdupq_n_s32(v);
}

static inline f32v bcast_f32(float v)
{
    return (f32v)vdupq_n_f32(v);
}

static inline f32v fma_f32(f32v a, f32v b, f32v c)
{
    return (f32v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

/* Four products a lane. */
static inline i32v dot4(i32v acc, u32v codes, i32v x)
{
    return (i32v)vdotq_s32((int32x4_t)acc, (int8x16_t)codes, (int8x16_t)x);
}

static inline i32v dot4_wide(i32v acc, u32v codes, i32v x)
{
    return dot4(acc, codes, x);
}

static inline u32v wide_codes(u32v stored)
{
    return stored ^ 0x80808080;
}

/* Two products of 16-bit halves a lane: pairs of i32 products, added in pairs. */
static inline i32v dot2(i32v acc, i32v a, i32v b)
{
    int32x4_t low = vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
    int32x4_t high = vmull_high_s16((int16x8_t)a, (int16x8_t)b);
    return acc + (i32v)vpaddq_s32(low, high);
}

static inline u32v lookup_iq4(u32v nibbles)
{
    static const int8_t table[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
    return (u32v)vqtbl1q_s8(vld1q_s8(table), (uint8x16_t)nibbles);
}

/* 12 above their value. */
static inline u32v lookup_e2m1(u32v nibbles)
{
    static const uint8_t table[16] = { 12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0 };
    return (u32v)vqtbl1q_u8(vld1q_u8(table), (uint8x16_t)nibbles);
}

static inline f32v load_f16(const uint8_t *p)
{
    return (f32v)vcvt_f32_f16((float16x4_t)vld1_u8(p));
}

static inline u32v load_u16(const uint8_t *p)
{
    return (u32v)vmovl_u16((uint16x4_t)vld1_u8(p));
}

/* e8m0_half_bits of 4 bytes. */
static inline f32v load_e8m0(const uint8_t *p)
{
    i32v e = { p[0], p[1], p[2], p[3] };
    return (f32v)(((e - 1) << 23) & (e >= 127 - 40));
}

/* acc + scale * dot, where dot fits in 16 bits. */
static inline i32v scale_short(i32v acc, i32v scale, i32v dot)
{
    return acc + scale * dot;
}

#include "kernels/matmul_body.h"

void matmul_bind_neon(struct kernels *k)
{
    bind_products(k);
}
