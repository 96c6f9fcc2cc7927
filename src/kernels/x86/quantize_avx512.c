/* Mirrors quantize.c: 16 values a vector, which is also what one sum covers. */
#include "kernels/bind.h"
#include "kernels/tiers.h"

#include <immintrin.h>

enum { LANES = 16 };

/* The sizes of floats compare like integers, infinity and NaN above all. */
static inline uint32_t largest_bits(const float *x, size_t n)
{
    __m512i largest = _mm512_setzero_si512(), size = _mm512_set1_epi32(0x7fffffff);
    for (size_t i = 0; i < n; i += LANES)
        largest = _mm512_max_epu32(largest, _mm512_and_si512(size, _mm512_loadu_si512(x + i)));
    return _mm512_reduce_max_epu32(largest);
}

/* vcvtps2dq rounds to nearest even, as the definition does by its addition. */
static inline void codes_16(const float *x, __m512 inverse, int8_t *codes, int16_t *sum)
{
    __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), inverse));
    _mm_storeu_si128((__m128i *)(void *)codes, _mm512_cvtepi32_epi8(whole));
    *sum = (int16_t)_mm512_reduce_add_epi32(whole);
}

static inline bool quantize(const float *x, size_t cols, size_t group, int8_t *codes, float *scales, int16_t *sums)
{
    for (size_t g = 0; g < cols / group; g++) {
        uint32_t largest = largest_bits(x + g * group, group);
        if (largest >= 0x7f800000) return false;
        float d = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128((int)largest))) / 127.0f;
        bool zero = d < 0x1p-60f;
        __m512 inverse = _mm512_set1_ps(zero ? 0.0f : 1.0f / d);
        scales[g] = zero ? 0.0f : d;
        for (size_t i = g * group; i < (g + 1) * group; i += LANES)
            codes_16(x + i, inverse, codes + i, &sums[i / LANES]);
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

void quantize_bind_avx512(struct kernels *k)
{
    k->quantize_32 = quantize_32_avx512;
    k->quantize_256 = quantize_256_avx512;
}
