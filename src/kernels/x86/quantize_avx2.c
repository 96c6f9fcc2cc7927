/* Mirrors quantize.c: 8 values a vector, two vectors a sum. */
#include "kernels/bind.h"
#include "kernels/tiers.h"

#include <immintrin.h>

enum { LANES = 8 };

/* The sizes of floats compare like integers, infinity and NaN above all. */
static inline uint32_t largest_bits(const float *x, size_t n)
{
    __m256i largest = _mm256_setzero_si256(), size = _mm256_set1_epi32(0x7fffffff);
    for (size_t i = 0; i < n; i += LANES)
        largest = _mm256_max_epu32(
            largest, _mm256_and_si256(size, _mm256_loadu_si256((const __m256i *)(const void *)(x + i))));
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(four);
}

/* vcvtps2dq rounds to nearest even, as the definition does by its addition. */
static inline void codes_16(const float *x, __m256 inverse, int8_t *codes, int16_t *sum)
{
    __m256i first = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
    __m256i second = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + LANES), inverse));
    /* Packing works in halves of 128 bits: quarters 0 and 2 are the first eight, 1 and 3 the second. */
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(first, second), 0xd8);
    __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128((__m128i *)(void *)codes, _mm_packs_epi16(low, high));
    __m128i pairs = _mm_madd_epi16(_mm_add_epi16(low, high), _mm_set1_epi16(1));
    pairs = _mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0x4e));
    pairs = _mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0xb1));
    *sum = (int16_t)_mm_cvtsi128_si32(pairs);
}

static inline bool quantize(const float *x, size_t cols, size_t group, int8_t *codes, float *scales, int16_t *sums)
{
    for (size_t g = 0; g < cols / group; g++) {
        uint32_t largest = largest_bits(x + g * group, group);
        if (largest >= 0x7f800000) return false;
        float d = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128((int)largest))) / 127.0f;
        bool zero = d < 0x1p-60f;
        __m256 inverse = _mm256_set1_ps(zero ? 0.0f : 1.0f / d);
        scales[g] = zero ? 0.0f : d;
        for (size_t i = g * group; i < (g + 1) * group; i += 16) codes_16(x + i, inverse, codes + i, &sums[i / 16]);
    }
    return true;
}

static bool quantize_32_avx2(const float *x, size_t cols, int8_t *codes, float *scales, int16_t *sums)
{
    return quantize(x, cols, 32, codes, scales, sums);
}

static bool quantize_256_avx2(const float *x, size_t cols, int8_t *codes, float *scales, int16_t *sums)
{
    return quantize(x, cols, 256, codes, scales, sums);
}

void quantize_bind_avx2(struct kernels *k)
{
    k->raise = NULL;
    k->quantize_32 = quantize_32_avx2;
    k->quantize_256 = quantize_256_avx2;
}
