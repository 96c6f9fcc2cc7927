/* Mirrors matmul.c with AVX-512 VNNI: 16 rows a vector, u8 codes times s8 activations by vpdpbusd, which does not
 * saturate. Codes of 8 bits are used as stored, 128 above their value. */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t i32v __attribute__((vector_size(64)));
typedef uint32_t u32v __attribute__((vector_size(64)));
typedef float f32v __attribute__((vector_size(64)));

enum { LANES = 16, UNITS = 2, TOKENS = 6, FEW = 8, IN_ORDER = 1, WIDE_ZERO = 128, RAISED = 1 };

static inline i32v bcast_i32(int32_t v)
{
    return (i32v)_mm512_set1_epi32(v);
}

static inline f32v bcast_f32(float v)
{
    return (f32v)_mm512_set1_ps(v);
}

static inline f32v fma_f32(f32v a, f32v b, f32v c)
{
    return (f32v)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/* Four products a lane. */
static inline i32v dot4(i32v acc, u32v codes, i32v x)
{
    return (i32v)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)codes, (__m512i)x);
}

static inline i32v dot4_wide(i32v acc, u32v codes, i32v x)
{
    return dot4(acc, codes, x);
}

static inline u32v wide_codes(u32v stored)
{
    return stored;
}

/* Two products of 16-bit halves a lane. */
static inline i32v dot2(i32v acc, i32v a, i32v b)
{
    return (i32v)_mm512_dpwssd_epi32((__m512i)acc, (__m512i)a, (__m512i)b);
}

static inline u32v lookup_iq4(u32v nibbles)
{
    const __m128i table = _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59, -39, -15);
    return (u32v)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), (__m512i)nibbles);
}

/* 12 above their value. */
static inline u32v lookup_e2m1(u32v nibbles)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    return (u32v)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), (__m512i)nibbles);
}

static inline f32v load_f16(const uint8_t *p)
{
    return (f32v)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline u32v load_u16(const uint8_t *p)
{
    return (u32v)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* e8m0_half_bits of 16 bytes. */
static inline f32v load_e8m0(const uint8_t *p)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    __mmask16 kept = _mm512_cmpge_epi32_mask(e, _mm512_set1_epi32(127 - 40));
    return (f32v)_mm512_maskz_slli_epi32(kept, _mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
}

/* acc + scale * dot, where both fit in 16 bits: the upper half of dot meets 0. */
static inline i32v scale_short(i32v acc, i32v scale, i32v dot)
{
    return dot2(acc, scale & 0xffff, dot);
}

#include "kernels/matmul_body.h"

void matmul_bind_avx512(struct kernels *k)
{
    bind_products(k);
}
