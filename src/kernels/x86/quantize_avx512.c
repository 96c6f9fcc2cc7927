/* Mirrors quantize.c: 16 values a vector, which is also what one sum covers; the scales of 16 groups at a time, for
 * their divisions and the reductions before them take longer than all the rest. */
#include "kernels/bind.h"
#include "kernels/tiers.h"

#include <immintrin.h>

enum { LANES = 16, AT_ONCE = 16 /* groups whose scales are one vector */ };

static inline __m512i sizes_max(__m512i largest, const float *x)
{
    return _mm512_max_epu32(largest, _mm512_and_si512(_mm512_set1_epi32(0x7fffffff), _mm512_loadu_si512(x)));
}

/* The sizes of floats compare like integers, infinity and NaN above all: the largest of each of four groups. */
static inline __m128i largest_4(const float *x, size_t group)
{
    __m512i v[4];
    for (size_t g = 0; g < 4; g++) {
        v[g] = _mm512_setzero_si512();
        for (size_t i = 0; i < group; i += LANES) v[g] = sizes_max(v[g], x + g * group + i);
    }
    __m512i a = _mm512_max_epu32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    __m512i b = _mm512_max_epu32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    __m512i c = _mm512_max_epu32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    __m256i d = _mm256_max_epu32(_mm512_castsi512_si256(c), _mm512_extracti64x4_epi64(c, 1));
    return _mm_max_epu32(_mm256_castsi256_si128(d), _mm256_extracti128_si256(d, 1));
}

static inline uint32_t largest_1(const float *x, size_t group)
{
    __m512i v = _mm512_setzero_si512();
    for (size_t i = 0; i < group; i += LANES) v = sizes_max(v, x + i);
    return _mm512_reduce_max_epu32(v);
}

/* Scales and what values are multiplied with, of `count` groups; false: a value is not finite. */
static inline bool scales_of(const float *x, size_t group, size_t count, float *scales, float *inverse)
{
    _Alignas(64) uint32_t largest[AT_ONCE] = { 0 };
    size_t g = 0;
    for (; g + 4 <= count; g += 4) _mm_store_si128((__m128i *)(void *)(largest + g), largest_4(x + g * group, group));
    for (; g < count; g++) largest[g] = largest_1(x + g * group, group);
    __m512i all = _mm512_load_si512(largest);
    __m512 d = _mm512_div_ps(_mm512_castsi512_ps(all), _mm512_set1_ps(127.0f));
    __mmask16 kept = _mm512_cmp_ps_mask(d, _mm512_set1_ps(0x1p-60f), _CMP_NLT_UQ);
    _mm512_mask_storeu_ps(scales, (__mmask16)((1u << count) - 1), _mm512_maskz_mov_ps(kept, d));
    _mm512_store_ps(inverse, _mm512_maskz_div_ps(kept, _mm512_set1_ps(1.0f), d));
    return _mm512_cmpge_epu32_mask(all, _mm512_set1_epi32(0x7f800000)) == 0;
}

/* vcvtps2dq rounds to nearest even, as the definition does by its addition. */
static inline __m512i whole_16(const float *x, float inverse)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(inverse)));
}

/* Four vectors of one or two groups. Packing goes by quarters of a register: quarter k holds quarter k of each vector,
 * so its four dot products with ones are parts of the four sums; a last permutation gives the order of values. */
static inline void codes_64(const float *x, float first, float second, int8_t *codes, int16_t *sums)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i low = _mm512_packs_epi32(whole_16(x, first), whole_16(x + 16, first));
    __m512i high = _mm512_packs_epi32(whole_16(x + 32, second), whole_16(x + 48, second));
    __m512i all = _mm512_packs_epi16(low, high);
    __m512i part = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), all);
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(part), _mm512_extracti64x4_epi64(part, 1));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    _mm512_storeu_si512(codes, _mm512_permutexvar_epi32(order, all));
    _mm_storel_epi64((__m128i *)(void *)sums, _mm_cvtepi32_epi16(sum));
}

static inline void codes_16(const float *x, float inverse, int8_t *codes, int16_t *sum)
{
    __m512i whole = whole_16(x, inverse);
    _mm_storeu_si128((__m128i *)(void *)codes, _mm512_cvtepi32_epi8(whole));
    *sum = (int16_t)_mm512_reduce_add_epi32(whole);
}

static inline bool quantize(const float *x, size_t cols, size_t group, int8_t *codes, float *scales, int16_t *sums)
{
    _Alignas(64) float inverse[AT_ONCE];
    for (size_t g = 0; g < cols / group; g += AT_ONCE) {
        size_t count = cols / group - g < AT_ONCE ? cols / group - g : AT_ONCE, i = g * group, end = i + count * group;
        if (!scales_of(x + i, group, count, scales + g, inverse)) return false;
        for (; i + 64 <= end; i += 64)
            codes_64(x + i, inverse[i / group - g], inverse[(i + 32) / group - g], codes + i, &sums[i / LANES]);
        for (; i < end; i += LANES) codes_16(x + i, inverse[i / group - g], codes + i, &sums[i / LANES]);
    }
    return true;
}

static bool quantize_32_avx512(const float *x, size_t cols, int8_t *codes, float *scales, int16_t *sums)
{
    return quantize(x, cols, 32, codes, scales, sums);
}

static bool quantize_256_avx512(const float *x, size_t cols, int8_t *codes, float *scales, int16_t *sums)
{
    return quantize(x, cols, 256, codes, scales, sums);
}

static void raise_avx512(const int8_t *codes, size_t cols, uint8_t *raised)
{
    const __m256i top = _mm256_set1_epi8(-128);
    for (size_t i = 0; i < cols; i += 32) {
        __m256i some = _mm256_loadu_si256((const __m256i *)(const void *)(codes + i));
        _mm256_storeu_si256((__m256i *)(void *)(raised + i), _mm256_xor_si256(some, top));
    }
}

void quantize_bind_avx512(struct kernels *k)
{
    k->raise = raise_avx512;
    k->quantize_32 = quantize_32_avx512;
    k->quantize_256 = quantize_256_avx512;
}
