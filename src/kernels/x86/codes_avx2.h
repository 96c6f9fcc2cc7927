/* 64 bytes, 32 halves, 16 integers in two registers of 256 bits: see codes.h for what each operation is. */
#ifndef HEARTH_KERNELS_CODES_AVX2_H
#define HEARTH_KERNELS_CODES_AVX2_H

#include "kernels/x86/lanes_avx2.h"

#include "kernels/coded_math.h"

typedef struct {
    __m256i a, b;
} bytes, ints, shorts;

/* Registers: 4 rows x 1 sum of two registers, 2 of levels, tables. */
enum { FIELDS_AT_ONCE = 1, KEYS_SIGNED = 0, FIELDS_IN_PLACE = 0 };

static inline bytes bytes_load(const uint8_t *p)
{
    return (bytes){ _mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 32)) };
}

static inline bytes bytes_table(const int8_t *sixteen)
{
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)sixteen));
    return (bytes){ t, t };
}

static inline bytes bytes_and(bytes x, int mask)
{
    __m256i m = _mm256_set1_epi8((char)mask);
    return (bytes){ _mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m) };
}

static inline bytes bytes_shift(bytes x, int right)
{
    __m128i r = _mm_cvtsi32_si128(right), l = _mm_cvtsi32_si128(-right);
    return right >= 0 ? (bytes){ _mm256_srl_epi16(x.a, r), _mm256_srl_epi16(x.b, r) }
                      : (bytes){ _mm256_sll_epi16(x.a, l), _mm256_sll_epi16(x.b, l) };
}

static inline bytes bytes_low4(bytes x) { return bytes_and(x, 15); }
static inline bytes bytes_high4(bytes x) { return bytes_and(bytes_shift(x, 4), 15); }

static inline bytes bytes_lookup(bytes table, bytes index)
{
    return (bytes){ _mm256_shuffle_epi8(table.a, index.a), _mm256_shuffle_epi8(table.b, index.b) };
}

static inline bytes bytes_signed(bytes x) { return x; } /* never asked for */

static inline bytes bytes_field(bytes x, int j) /* never asked for */
{
    (void)j;
    return x;
}

static inline bytes bytes_three(bytes two, bytes one, int j, bool odd)
{
    int third = (odd ? 0 : 2) + j % 2 + j / 2 * 4;
    two = bytes_and(bytes_shift(two, 2 * j), 3);
    one = bytes_and(bytes_shift(one, third - 2), 4);
    return (bytes){ _mm256_or_si256(two.a, one.a), _mm256_or_si256(two.b, one.b) };
}

static inline ints ints_set(int32_t x)
{
    __m256i v = _mm256_set1_epi32(x);
    return (ints){ v, v };
}

static inline ints ints_add(ints x, ints y)
{
    return (ints){ _mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b) };
}

static inline ints ints_shift(ints x, int by) /* never asked for */
{
    (void)by;
    return x;
}

static inline ints ints_times128(ints x) { return (ints){ _mm256_slli_epi32(x.a, 7), _mm256_slli_epi32(x.b, 7) }; }
static inline lanes ints_lanes(ints x) { return (lanes){ _mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b) }; }

static inline int32_t ints_sum(ints x)
{
    __m256i s = _mm256_add_epi32(x.a, x.b);
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1)));
}

/* vpmaddubsw does not saturate: 2 x 128 x 127 and 2 x 255 x 64 are under 2^15, and so are the token tiers' halves. */
static inline ints ints_dot_keys(ints sum, bytes levels, ints quad)
{
    __m256i one = _mm256_set1_epi16(1);
    return (ints){ _mm256_add_epi32(sum.a, _mm256_madd_epi16(_mm256_maddubs_epi16(levels.a, quad.a), one)),
                   _mm256_add_epi32(sum.b, _mm256_madd_epi16(_mm256_maddubs_epi16(levels.b, quad.b), one)) };
}

static inline ints ints_dot_values(ints sum, bytes levels, ints quad)
{
    __m256i one = _mm256_set1_epi16(1);
    return (ints){ _mm256_add_epi32(sum.a, _mm256_madd_epi16(_mm256_maddubs_epi16(quad.a, levels.a), one)),
                   _mm256_add_epi32(sum.b, _mm256_madd_epi16(_mm256_maddubs_epi16(quad.b, levels.b), one)) };
}

static inline ints ints_kept(ints sum) { return sum; }

static inline shorts shorts_set(int16_t x)
{
    __m256i v = _mm256_set1_epi16(x);
    return (shorts){ v, v };
}

static inline shorts shorts_load(const int16_t *p)
{
    return (shorts){ _mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 16)) };
}

static inline void shorts_store(int16_t *p, shorts x)
{
    _mm256_storeu_si256((__m256i *)p, x.a);
    _mm256_storeu_si256((__m256i *)(p + 16), x.b);
}

static inline shorts shorts_times_q15(shorts x, shorts y)
{
    return (shorts){ _mm256_mulhrs_epi16(x.a, y.a), _mm256_mulhrs_epi16(x.b, y.b) };
}

static inline shorts shorts_eighth(shorts x) { return shorts_times_q15(x, shorts_set(MEAN_SHIFT)); }
static inline shorts shorts_abs(shorts x) { return (shorts){ _mm256_abs_epi16(x.a), _mm256_abs_epi16(x.b) }; }

static inline shorts shorts_max(shorts x, shorts y)
{
    return (shorts){ _mm256_max_epi16(x.a, y.a), _mm256_max_epi16(x.b, y.b) };
}

static inline ints shorts_add_pairs(ints sum, shorts x, shorts y)
{
    return (ints){ _mm256_add_epi32(sum.a, _mm256_madd_epi16(x.a, y.a)),
                   _mm256_add_epi32(sum.b, _mm256_madd_epi16(x.b, y.b)) };
}

static inline int shorts_largest(shorts x)
{
    __m256i a = _mm256_max_epi16(x.a, x.b);
    __m128i b = _mm_max_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    return 32767 - (_mm_cvtsi128_si32(_mm_minpos_epu16(_mm_sub_epi16(_mm_set1_epi16(32767), b))) & 0xffff);
}

static inline void shorts_store8(int8_t *p, shorts x) /* values fit */
{
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi16(x.a, x.b), 0xd8);
    _mm256_storeu_si256((__m256i *)p, packed);
}

static inline ints ints_offset(ints sum, const int8_t *q, const uint8_t *offsets)
{
    bytes o = bytes_load(offsets);
    __m256i one = _mm256_set1_epi16(1);
    __m256i a = _mm256_maddubs_epi16(o.a, _mm256_loadu_si256((const __m256i *)q));
    __m256i b = _mm256_maddubs_epi16(o.b, _mm256_loadu_si256((const __m256i *)(q + 32)));
    return (ints){ _mm256_add_epi32(sum.a, _mm256_madd_epi16(a, one)),
                   _mm256_add_epi32(sum.b, _mm256_madd_epi16(b, one)) };
}

static inline void shorts_split(shorts x, uint8_t *high, uint8_t *low)
{
    __m256i most = _mm256_set1_epi16(127);
    shorts_store8((int8_t *)high, (shorts){ _mm256_srli_epi16(x.a, 7), _mm256_srli_epi16(x.b, 7) });
    shorts_store8((int8_t *)low, (shorts){ _mm256_and_si256(x.a, most), _mm256_and_si256(x.b, most) });
}

static inline shorts shorts_scales(const uint8_t *p)
{
    return (shorts){ _mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p)), 7),
                     _mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(p + 16))), 7) };
}

static inline shorts shorts_means(const uint8_t *high, const uint8_t *low)
{
    __m128i x = _mm_loadu_si128((const __m128i *)low), four = _mm_set1_epi8(15);
    __m256i a = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)high));
    __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(high + 16)));
    __m128i upper = _mm_and_si128(_mm_srli_epi16(x, 4), four);
    return (shorts){ _mm256_or_si256(_mm256_slli_epi16(a, 4), _mm256_cvtepu8_epi16(_mm_and_si128(x, four))),
                     _mm256_or_si256(_mm256_slli_epi16(b, 4), _mm256_cvtepu8_epi16(upper)) };
}

static inline __m256i lanes_shorts(lanes x)
{
    __m256i packed = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    return _mm256_permute4x64_epi64(packed, 0xd8);
}

static inline void lanes_store_shorts(int16_t *p, lanes x) { _mm256_storeu_si256((__m256i *)p, lanes_shorts(x)); }

static inline void lanes_store_bytes(uint8_t *p, lanes x)
{
    __m256i s = lanes_shorts(x);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi16(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1)));
}

static inline lanes lanes_load_ints(const int32_t *p)
{
    return (lanes){ _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)p)),
                    _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(p + 8))) };
}

static inline void lanes_store_ints(int32_t *p, lanes x)
{
    _mm256_storeu_si256((__m256i *)p, _mm256_cvttps_epi32(x.a));
    _mm256_storeu_si256((__m256i *)(p + 8), _mm256_cvttps_epi32(x.b));
}

static inline __m256 raise8(__m256 x, __m256 by)
{
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_castps_si256(by), 23)));
}

static inline lanes lanes_raise(lanes x, lanes by) { return (lanes){ raise8(x.a, by.a), raise8(x.b, by.b) }; }

static inline ints scale_bits(const uint8_t *p, uint32_t base, int shift)
{
    __m128i codes = _mm_loadu_si128((const __m128i *)p), by = _mm_cvtsi32_si128(shift);
    ints x = { _mm256_sll_epi32(_mm256_cvtepu8_epi32(codes), by),
               _mm256_sll_epi32(_mm256_cvtepu8_epi32(_mm_srli_si128(codes, 8)), by) };
    return ints_add(x, ints_set((int32_t)base));
}

static inline lanes lanes_scales(const uint8_t *p, uint32_t base, int shift)
{
    ints x = scale_bits(p, base, shift);
    return (lanes){ _mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b) };
}

static inline __m256 keep8(__m256 x, unsigned mask, __m256 other)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i has = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)mask), bit), bit);
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(has));
}

static inline lanes lanes_keep(lanes x, unsigned mask, lanes other)
{
    return (lanes){ keep8(x.a, mask, other.a), keep8(x.b, mask >> 8, other.b) };
}

#include "kernels/codes_plain.h"

#endif
