/* What matmul_avx2.c and matmul_avxvnni.c share: vectors of 8 rows and the operations that matmul_body.h asks for. */
#ifndef HEARTH_KERNELS_X86_MATMUL_LANES_AVX2_H
#define HEARTH_KERNELS_X86_MATMUL_LANES_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t i32v __attribute__((vector_size(32)));
typedef uint32_t u32v __attribute__((vector_size(32)));
typedef float f32v __attribute__((vector_size(32)));

enum { LANES = 8 };

static inline i32v bcast_i32(int32_t v)
{
    return (i32v)_mm256_set1_epi32(v);
}

static inline f32v bcast_f32(float v)
{
    return (f32v)_mm256_set1_ps(v);
}

static inline f32v fma_f32(f32v a, f32v b, f32v c)
{
    return (f32v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

/* Two products of 16-bit halves a lane; exact unless all four are -32768. */
static inline i32v dot2(i32v acc, i32v a, i32v b)
{
    return acc + (i32v)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}

/* 12 above their value. */
static inline u32v lookup_e2m1(u32v nibbles)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    return (u32v)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), (__m256i)nibbles);
}

static inline f32v load_f16(const uint8_t *p)
{
    return (f32v)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline u32v load_u16(const uint8_t *p)
{
    return (u32v)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* e8m0_half_bits of 8 bytes. */
static inline f32v load_e8m0(const uint8_t *p)
{
    i32v e = (i32v)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return (f32v)(((e - 1) << 23) & (e >= 127 - 40));
}

/* acc + scale * dot, where both fit in 16 bits: the upper half of dot meets 0. */
static inline i32v scale_short(i32v acc, i32v scale, i32v dot)
{
    return dot2(acc, scale & 0xffff, dot);
}

#endif
