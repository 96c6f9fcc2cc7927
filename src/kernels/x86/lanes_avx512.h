/* 16 lanes in one register of 512 bits: see lanes.h for what each operation is. */
#ifndef HEARTH_KERNELS_LANES_AVX512_H
#define HEARTH_KERNELS_LANES_AVX512_H

#include "kernels/x86/transpose.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef __m512 lanes;

/* Registers: 6 rows x 4 sums, 4 loaded, 1 broadcast = 29 of 32. */
enum { ROWS_AT_ONCE = 6 };
static inline size_t lanes_wide(size_t rows)
{
    return rows > 0 ? 4 : 1;
}

static inline __mmask16 lanes_first(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

static inline lanes lanes_set(float x) { return _mm512_set1_ps(x); }
static inline lanes lanes_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void lanes_store(float *p, lanes x) { _mm512_storeu_ps(p, x); }

static inline lanes lanes_load_n(const float *p, size_t n, float fill)
{
    return n >= 16 ? _mm512_loadu_ps(p) : _mm512_mask_loadu_ps(_mm512_set1_ps(fill), lanes_first(n), p);
}

static inline void lanes_store_n(float *p, size_t n, lanes x)
{
    if (n >= 16) _mm512_storeu_ps(p, x);
    else _mm512_mask_storeu_ps(p, lanes_first(n), x);
}

static inline lanes lanes_load16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static inline lanes lanes_load16_n(const uint16_t *p, size_t n)
{
    return n >= 16 ? lanes_load16(p) : _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes_first(n), p));
}

static inline void lanes_store16_n(uint16_t *p, size_t n, lanes x)
{
    __m256i h = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    if (n >= 16) _mm256_storeu_si256((__m256i *)p, h);
    else _mm256_mask_storeu_epi16(p, lanes_first(n), h);
}

static inline lanes lanes_add(lanes a, lanes b) { return _mm512_add_ps(a, b); }
static inline lanes lanes_sub(lanes a, lanes b) { return _mm512_sub_ps(a, b); }
static inline lanes lanes_mul(lanes a, lanes b) { return _mm512_mul_ps(a, b); }
static inline lanes lanes_div(lanes a, lanes b) { return _mm512_div_ps(a, b); }
static inline lanes lanes_sqrt(lanes x) { return _mm512_sqrt_ps(x); }
static inline lanes lanes_fma(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }
static inline lanes lanes_min(lanes a, lanes b) { return _mm512_min_ps(a, b); } /* a < b ? a : b, as the header asks */
static inline lanes lanes_max(lanes a, lanes b) { return _mm512_max_ps(a, b); }

static inline lanes lanes_if_less(lanes a, lanes b, lanes yes, lanes no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}

static inline lanes lanes_and_bits(lanes a, uint32_t bits)
{
    return _mm512_and_ps(a, _mm512_castsi512_ps(_mm512_set1_epi32((int)bits)));
}

static inline lanes lanes_xor(lanes a, lanes b) { return _mm512_xor_ps(a, b); }

/* One rounding, like the two products of exp_f32, of which the first is exact. */
static inline lanes lanes_times_two_to(lanes p, lanes n, lanes shifted)
{
    (void)shifted;
    return _mm512_scalef_ps(p, n);
}

static inline float lanes_tree(lanes x)
{
    __m256 s = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}

static inline float lanes_largest(lanes x) { return _mm512_reduce_max_ps(x); } /* no lane is NaN */

static inline lanes lanes_even(lanes x) { return _mm512_moveldup_ps(x); }
static inline lanes lanes_odd(lanes x) { return _mm512_movehdup_ps(x); }
static inline lanes lanes_swap(lanes x) { return _mm512_permute_ps(x, 0xb1); }

static inline void lanes_load_pairs(const float *p, lanes *first, lanes *second)
{
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512 a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + 16);
    *first = _mm512_permutex2var_ps(a, even, b);
    *second = _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b);
}

static inline void lanes_turn(float *to, size_t to_stride, const float *from, size_t from_stride)
{
    transpose_8(to, to_stride, from, from_stride);
    transpose_8(to + 8, to_stride, from + 8 * from_stride, from_stride);
    transpose_8(to + 8 * to_stride, to_stride, from + 8, from_stride);
    transpose_8(to + 8 * to_stride + 8, to_stride, from + 8 * from_stride + 8, from_stride);
}

#endif
