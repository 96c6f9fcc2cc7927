/* route.h with AVX-512 VNNI: codes of rows stand 128 above their value, so they are the unsigned side of vpdpbusd; the
 * input's halves are the signed one, and `lift` takes the 128 away. */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/route.h"

static inline lanes lanes_from_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline lanes lanes_from_bf16_n(const uint16_t *p, size_t n)
{
    if (n >= 16) return lanes_from_bf16(p);
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes_first(n), p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline void route_put_codes(lanes shifted, struct route_input *in, size_t at)
{
    __m512i code = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_castps_si512(_mm512_set1_ps(0x1.8p23f)));
    __m512i high = _mm512_srai_epi32(_mm512_add_epi32(code, _mm512_set1_epi32(128)), 8);
    _mm_storeu_si128((__m128i *)(void *)(in->low + at), _mm512_cvtepi32_epi8(code));
    _mm_storeu_si128((__m128i *)(void *)(in->high + at), _mm512_cvtepi32_epi8(high));
}

static inline void route_lift(struct route_input *in, size_t g)
{
    const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
    __m512i high = _mm512_dpbusd_epi32(zero, ones, _mm512_loadu_si512(in->high + g * ROUTE_GROUP));
    __m512i low = _mm512_dpbusd_epi32(zero, ones, _mm512_loadu_si512(in->low + g * ROUTE_GROUP));
    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
    _mm512_storeu_si512(in->lift + g * 16, _mm512_sub_epi32(zero, _mm512_slli_epi32(sum, 7)));
}

static inline lanes route_sums(const uint8_t *codes, const struct route_input *in, size_t g)
{
    __m512i w = _mm512_loadu_si512(codes);
    __m512i high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, _mm512_loadu_si512(in->high + g * ROUTE_GROUP));
    __m512i low = _mm512_dpbusd_epi32(_mm512_loadu_si512(in->lift + g * 16), w,
                                      _mm512_loadu_si512(in->low + g * ROUTE_GROUP));
    return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low));
}

#include "kernels/route_lanes.h"

void route_bind_avx512(struct route_kernels *k)
{
    route_bind_lanes(k);
}
