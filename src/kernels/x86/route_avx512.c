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

static inline lanes lanes_from_int16(const int16_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)));
}

/* 4 times 16 bytes. */
static inline __m512i route_join(const __m128i *p)
{
    __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(p[0]), p[1], 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(low, p[2], 2), p[3], 3);
}

static inline void route_put_codes(const lanes *shifted, struct route_input *in, size_t g)
{
    const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
    const __m512i magic = _mm512_castps_si512(_mm512_set1_ps(0x1.8p23f)), half = _mm512_set1_epi32(128);
    __m128i lows[4], highs[4];
    for (size_t i = 0; i < 4; i++) {
        __m512i code = _mm512_sub_epi32(_mm512_castps_si512(shifted[i]), magic);
        lows[i] = _mm512_cvtepi32_epi8(code);
        highs[i] = _mm512_cvtepi32_epi8(_mm512_srai_epi32(_mm512_add_epi32(code, half), 8));
    }
    __m512i low = route_join(lows), high = route_join(highs);
    __m512i sum = _mm512_slli_epi32(_mm512_dpbusd_epi32(zero, ones, high), 8);
    sum = _mm512_dpbusd_epi32(sum, ones, low);
    _mm512_storeu_si512(in->low + g * ROUTE_GROUP, low);
    _mm512_storeu_si512(in->high + g * ROUTE_GROUP, high);
    _mm512_storeu_si512(in->lift + g * 16, _mm512_sub_epi32(zero, _mm512_slli_epi32(sum, 7)));
}

struct route_group_codes {
    __m512i high, low, lift;
};

static inline struct route_group_codes route_group_load(const struct route_input *in, size_t g)
{
    return (struct route_group_codes){ _mm512_loadu_si512(in->high + g * ROUTE_GROUP),
                                       _mm512_loadu_si512(in->low + g * ROUTE_GROUP),
                                       _mm512_loadu_si512(in->lift + g * 16) };
}

static inline lanes route_sums(const uint8_t *codes, const struct route_group_codes *group)
{
    __m512i w = _mm512_loadu_si512(codes);
    __m512i high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, group->high);
    __m512i low = _mm512_dpbusd_epi32(group->lift, w, group->low);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low));
}

#include "kernels/route_lanes.h"

void route_bind_avx512(struct route_kernels *k)
{
    route_bind_lanes(k);
}
