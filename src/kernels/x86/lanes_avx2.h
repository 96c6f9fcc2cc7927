/* 16 lanes in two registers of 256 bits: see lanes.h for what each operation is. */
#ifndef HEARTH_KERNELS_LANES_AVX2_H
#define HEARTH_KERNELS_LANES_AVX2_H

#include "kernels/x86/transpose.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct lanes {
    __m256 a, b;
} lanes;

/* Registers: 6 rows x 1 sum of two registers, 2 loaded, 1 broadcast = 15 of 16. */
enum { ROWS_AT_ONCE = 6 };
static inline size_t lanes_wide(size_t rows)
{
    return rows == 1 ? 4 : rows == 2 ? 2 : 1;
}

static inline lanes lanes_set(float x)
{
    __m256 a = _mm256_set1_ps(x);
    return (lanes){ a, a };
}

static inline lanes lanes_load(const float *p) { return (lanes){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) }; }

static inline void lanes_store(float *p, lanes x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}

static inline lanes lanes_load_n(const float *p, size_t n, float fill)
{
    if (n >= 16) return lanes_load(p);
    float t[16];
    for (size_t i = 0; i < 16; i++) t[i] = fill;
    memcpy(t, p, n * sizeof *t);
    return lanes_load(t);
}

static inline void lanes_store_n(float *p, size_t n, lanes x)
{
    float t[16];
    lanes_store(n >= 16 ? p : t, x);
    if (n < 16) memcpy(p, t, n * sizeof *t);
}

static inline lanes lanes_load16(const uint16_t *p)
{
    return (lanes){ _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                    _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8))) };
}

static inline lanes lanes_load16_n(const uint16_t *p, size_t n)
{
    if (n >= 16) return lanes_load16(p);
    uint16_t t[16] = { 0 };
    memcpy(t, p, n * sizeof *t);
    return lanes_load16(t);
}

static inline void lanes_store16_n(uint16_t *p, size_t n, lanes x)
{
    uint16_t t[16], *to = n >= 16 ? p : t;
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128((__m128i *)(to + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    if (n < 16) memcpy(p, t, n * sizeof *t);
}

static inline lanes lanes_add(lanes x, lanes y) { return (lanes){ _mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b) }; }
static inline lanes lanes_sub(lanes x, lanes y) { return (lanes){ _mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b) }; }
static inline lanes lanes_mul(lanes x, lanes y) { return (lanes){ _mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b) }; }
static inline lanes lanes_div(lanes x, lanes y) { return (lanes){ _mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b) }; }
static inline lanes lanes_min(lanes x, lanes y) { return (lanes){ _mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b) }; }
static inline lanes lanes_max(lanes x, lanes y) { return (lanes){ _mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b) }; }

static inline lanes lanes_sqrt(lanes x) { return (lanes){ _mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b) }; }
static inline lanes lanes_fma(lanes x, lanes y, lanes z)
{
    return (lanes){ _mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b) };
}

static inline lanes lanes_if_less(lanes x, lanes y, lanes yes, lanes no)
{
    return (lanes){ _mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
                    _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)) };
}

static inline lanes lanes_and_bits(lanes x, uint32_t bits)
{
    __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32((int)bits));
    return (lanes){ _mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask) };
}

static inline lanes lanes_xor(lanes x, lanes y) { return (lanes){ _mm256_xor_ps(x.a, y.a), _mm256_xor_ps(x.b, y.b) }; }

/* As exp_f32 has it; the halves of n may differ by one there and here, the first product is exact either way. */
static inline __m256 half_times_two_to(__m256 p, __m256 shifted)
{
    __m256i n = _mm256_srai_epi32(_mm256_slli_epi32(_mm256_castps_si256(shifted), 22), 22); /* the low 10 bits */
    __m256i half = _mm256_srai_epi32(n, 1), bias = _mm256_set1_epi32(127);
    __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    __m256i rest = _mm256_sub_epi32(n, half);
    return _mm256_mul_ps(_mm256_mul_ps(p, first),
                         _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}

static inline lanes lanes_times_two_to(lanes p, lanes n, lanes shifted)
{
    (void)n;
    return (lanes){ half_times_two_to(p.a, shifted.a), half_times_two_to(p.b, shifted.b) };
}

static inline float lanes_tree(lanes x)
{
    __m256 s = _mm256_add_ps(x.a, x.b);
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}

static inline float lanes_largest(lanes x) /* no lane is NaN */
{
    __m256 s = _mm256_max_ps(x.a, x.b);
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}

static inline lanes lanes_even(lanes x) { return (lanes){ _mm256_moveldup_ps(x.a), _mm256_moveldup_ps(x.b) }; }
static inline lanes lanes_odd(lanes x) { return (lanes){ _mm256_movehdup_ps(x.a), _mm256_movehdup_ps(x.b) }; }

static inline lanes lanes_swap(lanes x)
{
    return (lanes){ _mm256_permute_ps(x.a, 0xb1), _mm256_permute_ps(x.b, 0xb1) };
}

/* Eight pairs: the shuffle works inside halves of 128 bits, the permute puts the quarters in order. */
static inline __m256 half_of_pairs(const float *p, int odd)
{
    __m256 x = _mm256_loadu_ps(p), y = _mm256_loadu_ps(p + 8);
    __m256 mixed = odd ? _mm256_shuffle_ps(x, y, 0xdd) : _mm256_shuffle_ps(x, y, 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
}

static inline void lanes_load_pairs(const float *p, lanes *first, lanes *second)
{
    *first = (lanes){ half_of_pairs(p, 0), half_of_pairs(p + 16, 0) };
    *second = (lanes){ half_of_pairs(p, 1), half_of_pairs(p + 16, 1) };
}

static inline void lanes_turn(float *to, size_t to_stride, const float *from, size_t from_stride)
{
    transpose_8(to, to_stride, from, from_stride);
    transpose_8(to + 8, to_stride, from + 8 * from_stride, from_stride);
    transpose_8(to + 8 * to_stride, to_stride, from + 8, from_stride);
    transpose_8(to + 8 * to_stride + 8, to_stride, from + 8 * from_stride + 8, from_stride);
}

#endif
