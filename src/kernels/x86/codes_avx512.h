/* 64 bytes, 32 halves, 16 integers in one register of 512 bits: see codes.h for what each operation is. */
#ifndef HEARTH_KERNELS_CODES_AVX512_H
#define HEARTH_KERNELS_CODES_AVX512_H

#include "kernels/x86/lanes_avx512.h"

typedef __m512i bytes, ints, shorts;

/* Registers: 4 rows x 4 sums, 4 vectors of levels, tables. */
enum { FIELDS_AT_ONCE = 4, KEYS_SIGNED = 0, FIELDS_IN_PLACE = 1 };

static inline bytes bytes_load(const uint8_t *p) { return _mm512_loadu_si512(p); }

static inline bytes bytes_table(const int8_t *sixteen)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)sixteen));
}

/* vpermb takes six bits of an index: tables repeat, so what stands above a code does not matter. */
static inline bytes bytes_low4(bytes x) { return x; }
static inline bytes bytes_high4(bytes x) { return _mm512_srli_epi16(x, 4); }
static inline bytes bytes_lookup(bytes table, bytes index) { return _mm512_permutexvar_epi8(index, table); }

static inline bytes bytes_field(bytes x, int j) { return _mm512_and_si512(x, _mm512_set1_epi8((char)(3 << 2 * j))); }
static inline bytes bytes_signed(bytes x) { return x; } /* never asked for */

static inline bytes bytes_three(bytes two, bytes one, int j, bool odd)
{
    if (j % 2 != 0) two = _mm512_srli_epi16(two, 2);
    if (odd) one = _mm512_slli_epi16(one, j % 2 != 0 ? 1 : 2);
    else if (j % 2 != 0) one = _mm512_srli_epi16(one, 1);
    /* bits 0, 1, 4, 5 of one, the others of the other: two codes of three bits */
    bytes both = _mm512_ternarylogic_epi32(two, one, _mm512_set1_epi8(0x33), 0xe4);
    return j < 2 ? both : _mm512_srli_epi16(both, 4);
}

static inline ints ints_set(int32_t x) { return _mm512_set1_epi32(x); }
static inline ints ints_add(ints a, ints b) { return _mm512_add_epi32(a, b); }
static inline ints ints_shift(ints a, int by)
{
    return by >= 0 ? _mm512_slli_epi32(a, (unsigned)by) : _mm512_srai_epi32(a, (unsigned)-by);
}
static inline ints ints_times128(ints a) { return _mm512_slli_epi32(a, 7); }
static inline lanes ints_lanes(ints a) { return _mm512_cvtepi32_ps(a); }
static inline int32_t ints_sum(ints a) { return _mm512_reduce_add_epi32(a); }

/* In assembly: gcc 12 moves the sums of the intrinsic to memory and back. */
static inline ints ints_dot_keys(ints sum, bytes levels, ints quad)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(levels), "v"(quad));
    return sum;
}

static inline ints ints_dot_values(ints sum, bytes levels, ints quad)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(quad), "v"(levels));
    return sum;
}

static inline ints ints_kept(ints sum)
{
    __asm__("" : "+v"(sum));
    return sum;
}

static inline shorts shorts_set(int16_t x) { return _mm512_set1_epi16(x); }
static inline shorts shorts_load(const int16_t *p) { return _mm512_loadu_si512(p); }
static inline void shorts_store(int16_t *p, shorts x) { _mm512_storeu_si512(p, x); }
static inline shorts shorts_times_q15(shorts a, shorts b) { return _mm512_mulhrs_epi16(a, b); }
static inline shorts shorts_eighth(shorts a)
{
    return _mm512_srai_epi16(_mm512_add_epi16(a, _mm512_set1_epi16(4)), 3); /* the multiplier has enough to do */
}
static inline shorts shorts_abs(shorts a) { return _mm512_abs_epi16(a); }
static inline shorts shorts_max(shorts a, shorts b) { return _mm512_max_epi16(a, b); }

static inline ints shorts_add_pairs(ints sum, shorts a, shorts b)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

/* Neighbours of a pair hold two vectors' lanes, then four vectors'; then halves meet. */
static inline void shorts_largests(const shorts x[static 4], int32_t out[static 4])
{
    __m512i a = _mm512_max_epi16(_mm512_unpacklo_epi16(x[0], x[1]), _mm512_unpackhi_epi16(x[0], x[1]));
    __m512i b = _mm512_max_epi16(_mm512_unpacklo_epi16(x[2], x[3]), _mm512_unpackhi_epi16(x[2], x[3]));
    __m512i c = _mm512_max_epi16(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m256i d = _mm256_max_epi16(_mm512_castsi512_si256(c), _mm512_extracti64x4_epi64(c, 1));
    __m128i e = _mm_max_epi16(_mm256_castsi256_si128(d), _mm256_extracti128_si256(d, 1));
    _mm_storeu_si128((__m128i *)out, _mm_cvtepi16_epi32(_mm_max_epi16(e, _mm_unpackhi_epi64(e, e))));
}

static inline void shorts_store8(int8_t *p, shorts x)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi16_epi8(x));
}

/* A sum of pairs, then of quarters: 4 x 16 lanes to 4. */
static inline void ints_sums(const ints x[static 4], int32_t out[static 4])
{
    __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
    __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(x[2], x[3]), _mm512_unpackhi_epi32(x[2], x[3]));
    __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    __m256i d = _mm256_add_epi32(_mm512_castsi512_si256(c), _mm512_extracti64x4_epi64(c, 1));
    _mm_storeu_si128((__m128i *)out, _mm_add_epi32(_mm256_castsi256_si128(d), _mm256_extracti128_si256(d, 1)));
}

static inline ints ints_offset(ints sum, const int8_t *q, const uint8_t *offsets)
{
    return ints_dot_values(sum, _mm512_loadu_si512(q), _mm512_loadu_si512(offsets));
}

static inline ints ints_add_weights(ints sum, const uint8_t *weights)
{
    return ints_dot_values(sum, _mm512_set1_epi8(1), _mm512_loadu_si512(weights));
}

static inline void shorts_split(shorts x, uint8_t *high, uint8_t *low)
{
    shorts_store8((int8_t *)high, _mm512_srli_epi16(x, 7));
    shorts_store8((int8_t *)low, _mm512_and_si512(x, _mm512_set1_epi16(127)));
}

/* Where vpackswb of two vectors leaves channel c of 64: eights of the first and of the second in turn. */
static inline __m512i packed_place(__m512i channels)
{
    const __m512i first = _mm512_set_epi64(0x3f3e3d3c3b3a3938, 0x2f2e2d2c2b2a2928, 0x1f1e1d1c1b1a1918,
                                           0x0f0e0d0c0b0a0908, 0x3736353433323130, 0x2726252423222120,
                                           0x1716151413121110, 0x0706050403020100);
    __m512i place = _mm512_permutexvar_epi8(channels, first);
    return _mm512_ternarylogic_epi32(place, channels, _mm512_set1_epi8(63), 0xe4);
}

struct slot_order {
    __m512i index[4];
};

static inline struct slot_order slots_order(const uint8_t *slots, size_t boosts, size_t pad)
{
    struct slot_order order = { { _mm512_setzero_si512() } };
    (void)boosts;
    for (size_t i = 0; i < (pad + 63) / 64; i++) order.index[i] = packed_place(_mm512_loadu_si512(slots + 64 * i));
    return order;
}

static inline __m512i sixty_four(const int16_t *t, shorts factor)
{
    return _mm512_packs_epi16(shorts_times_q15(shorts_load(t), factor), shorts_times_q15(shorts_load(t + 32), factor));
}

static inline void codes_in_slots(int8_t *out, const int16_t *t, shorts factor, size_t pad,
                                  const struct slot_order *order)
{
    __m512i a = sixty_four(t, factor), b = sixty_four(t + 64, factor), c = a, d = b;
    if (pad > 128) c = sixty_four(t + 128, factor), d = sixty_four(t + 192, factor);
    for (size_t i = 0; i < (pad + 63) / 64; i++) {
        __m512i codes = _mm512_permutex2var_epi8(a, order->index[i], b);
        if (pad > 128)
            codes = _mm512_mask_blend_epi8(_mm512_movepi8_mask(order->index[i]), codes,
                                           _mm512_permutex2var_epi8(c, order->index[i], d));
        _mm512_storeu_si512(out + 64 * i, codes);
    }
}

static inline shorts shorts_scales(const uint8_t *p)
{
    return _mm512_slli_epi16(_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p)), 7);
}

static inline shorts shorts_means(const uint8_t *high, const uint8_t *low)
{
    __m128i x = _mm_loadu_si128((const __m128i *)low), four = _mm_set1_epi8(15);
    __m256i nibbles = _mm256_set_m128i(_mm_and_si128(_mm_srli_epi16(x, 4), four), _mm_and_si128(x, four));
    __m512i whole = _mm512_slli_epi16(_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)high)), 4);
    return _mm512_or_si512(whole, _mm512_cvtepu8_epi16(nibbles));
}

static inline void lanes_store_shorts(int16_t *p, lanes x)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)));
}

static inline void lanes_store_bytes(uint8_t *p, lanes x)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}

/* Packing goes by quarters of a register: dwords 4k, 4k + 1, .. of the result are quarter k of each vector. */
static inline void lanes_store_page(uint8_t *to, lanes a, lanes b, lanes c, lanes d)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i low = _mm512_packus_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
    __m512i all = _mm512_packus_epi16(low, _mm512_packus_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d)));
    _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, all));
}

static inline lanes lanes_load_ints(const int32_t *p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
static inline void lanes_store_ints(int32_t *p, lanes x) { _mm512_storeu_si512(p, _mm512_cvttps_epi32(x)); }

static inline lanes lanes_raise(lanes x, lanes by)
{
    return _mm512_castsi512_ps(
        _mm512_add_epi32(_mm512_castps_si512(x), _mm512_slli_epi32(_mm512_castps_si512(by), 23)));
}

static inline __m512i scale_bits(const uint8_t *p, uint32_t base, int shift)
{
    __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm512_add_epi32(_mm512_slli_epi32(code, (unsigned)shift), _mm512_set1_epi32((int)base));
}

static inline lanes lanes_scales(const uint8_t *p, uint32_t base, int shift)
{
    return _mm512_castsi512_ps(scale_bits(p, base, shift));
}

static inline lanes lanes_scale_ints(const uint8_t *p, uint32_t base, int shift)
{
    return _mm512_cvtepi32_ps(scale_bits(p, base, shift));
}

static inline lanes lanes_keep(lanes x, unsigned mask, lanes other)
{
    return _mm512_mask_blend_ps((__mmask16)mask, other, x);
}

#endif
