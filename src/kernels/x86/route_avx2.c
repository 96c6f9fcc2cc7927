/* route.h with AVX2: codes widen to 16 bits, because vpmaddubsw saturates. */
#include "kernels/x86/lanes_avx2.h"

#include "kernels/route.h"

static inline __m256 bf16_8(__m128i bits)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

static inline lanes lanes_from_bf16(const uint16_t *p)
{
    return (lanes){ bf16_8(_mm_loadu_si128((const __m128i *)(const void *)p)),
                    bf16_8(_mm_loadu_si128((const __m128i *)(const void *)(p + 8))) };
}

static inline lanes lanes_from_bf16_n(const uint16_t *p, size_t n)
{
    if (n >= 16) return lanes_from_bf16(p);
    uint16_t t[16] = { 0 };
    memcpy(t, p, n * sizeof *t);
    return lanes_from_bf16(t);
}

static inline __m256 int16_8(const int16_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

static inline lanes lanes_from_int16(const int16_t *p)
{
    return (lanes){ int16_8(p), int16_8(p + 8) };
}

/* Eight codes of 32 bits each in a and b: 16 of 16 bits, in order. They fit, so nothing saturates. */
static inline __m256i pack_16(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
}

/* 16 codes of 16 bits to their places. */
static inline void put_16(__m256i code, struct route_input *in, size_t at)
{
    __m256i low = _mm256_srai_epi16(_mm256_slli_epi16(code, 8), 8);
    __m256i high = _mm256_srai_epi16(_mm256_add_epi16(code, _mm256_set1_epi16(128)), 8);
    __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
    _mm_storeu_si128((__m128i *)(void *)(in->low + at), _mm256_castsi256_si128(both));
    _mm_storeu_si128((__m128i *)(void *)(in->high + at), _mm256_extracti128_si256(both, 1));
}

/* Sums of 4 neighbours of 16 products: vphaddd works in halves, so its middle parts change places. */
static inline __m256i quads(__m256i pairs0, __m256i pairs1)
{
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(pairs0, pairs1), 0xd8);
}

static inline void route_put_codes(const lanes *shifted, struct route_input *in, size_t g)
{
    const __m256i magic = _mm256_castps_si256(_mm256_set1_ps(0x1.8p23f)), less = _mm256_set1_epi16(-128);
    __m256i pairs[4];
    for (size_t i = 0; i < 4; i++) {
        __m256i code = pack_16(_mm256_sub_epi32(_mm256_castps_si256(shifted[i].a), magic),
                               _mm256_sub_epi32(_mm256_castps_si256(shifted[i].b), magic));
        put_16(code, in, g * ROUTE_GROUP + 16 * i);
        pairs[i] = _mm256_madd_epi16(less, code);
    }
    _mm256_storeu_si256((__m256i *)(void *)(in->lift + g * 16), quads(pairs[0], pairs[1]));
    _mm256_storeu_si256((__m256i *)(void *)(in->lift + g * 16 + 8), quads(pairs[2], pairs[3]));
}

static inline __m256i code_16(const struct route_input *in, size_t at)
{
    __m256i high = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(in->high + at)));
    __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(in->low + at)));
    return _mm256_add_epi16(_mm256_slli_epi16(high, 8), low);
}

struct route_group_codes {
    __m256i code[4];
};

static inline struct route_group_codes route_group_load(const struct route_input *in, size_t g)
{
    size_t at = g * ROUTE_GROUP;
    return (struct route_group_codes){ { code_16(in, at), code_16(in, at + 16), code_16(in, at + 32),
                                         code_16(in, at + 48) } };
}

static inline __m256i products(const uint8_t *codes, __m256i code)
{
    __m256i w = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)codes));
    return _mm256_madd_epi16(_mm256_sub_epi16(w, _mm256_set1_epi16(128)), code);
}

static inline lanes route_sums(const uint8_t *codes, const struct route_group_codes *group)
{
    return (lanes){
        _mm256_cvtepi32_ps(quads(products(codes, group->code[0]), products(codes + 16, group->code[1]))),
        _mm256_cvtepi32_ps(quads(products(codes + 32, group->code[2]), products(codes + 48, group->code[3]))),
    };
}

#include "kernels/route_lanes.h"

void route_bind_avx2(struct route_kernels *k)
{
    route_bind_lanes(k);
}
