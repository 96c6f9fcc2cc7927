/* 64 bytes, 32 halves, 16 integers in four registers of 128 bits: see codes.h for what each operation is. */
#ifndef HEARTH_KERNELS_CODES_NEON_H
#define HEARTH_KERNELS_CODES_NEON_H

#include "kernels/arm/lanes_neon.h"

#include "kernels/coded_math.h"

typedef struct {
    uint8x16_t v[4];
} bytes;
typedef struct {
    int32x4_t v[4];
} ints;
typedef struct {
    int16x8_t v[4];
} shorts;

/* Registers: 4 rows x 1 sum of four registers, 4 of levels, tables. */
enum { FIELDS_AT_ONCE = 1, KEYS_SIGNED = 1, FIELDS_IN_PLACE = 0 };

#define NEON_EACH for (int q = 0; q < 4; q++)

static inline bytes bytes_load(const uint8_t *p)
{
    return (bytes){ { vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48) } };
}

static inline bytes bytes_table(const int8_t *sixteen)
{
    uint8x16_t t = vreinterpretq_u8_s8(vld1q_s8(sixteen));
    return (bytes){ { t, t, t, t } };
}

static inline bytes bytes_low4(bytes x)
{
    NEON_EACH x.v[q] = vandq_u8(x.v[q], vdupq_n_u8(15));
    return x;
}

static inline bytes bytes_high4(bytes x)
{
    NEON_EACH x.v[q] = vshrq_n_u8(x.v[q], 4);
    return x;
}

static inline bytes bytes_lookup(bytes table, bytes index)
{
    NEON_EACH index.v[q] = vqtbl1q_u8(table.v[0], index.v[q]);
    return index;
}

static inline bytes bytes_signed(bytes x) /* 128 less */
{
    NEON_EACH x.v[q] = veorq_u8(x.v[q], vdupq_n_u8(128));
    return x;
}

static inline bytes bytes_field(bytes x, int j) /* never asked for */
{
    (void)j;
    return x;
}

static inline bytes bytes_three(bytes two, bytes one, int j, bool odd)
{
    int third = (odd ? 0 : 2) + j % 2 + j / 2 * 4;
    int8x16_t by_two = vdupq_n_s8((int8_t)(-2 * j)), by_one = vdupq_n_s8((int8_t)(2 - third));
    NEON_EACH two.v[q] = vorrq_u8(vandq_u8(vshlq_u8(two.v[q], by_two), vdupq_n_u8(3)),
                                  vandq_u8(vshlq_u8(one.v[q], by_one), vdupq_n_u8(4)));
    return two;
}

static inline ints ints_set(int32_t x)
{
    int32x4_t v = vdupq_n_s32(x);
    return (ints){ { v, v, v, v } };
}

static inline ints ints_add(ints x, ints y)
{
    NEON_EACH x.v[q] = vaddq_s32(x.v[q], y.v[q]);
    return x;
}

static inline ints ints_shift(ints x, int by) /* never asked for */
{
    (void)by;
    return x;
}

static inline ints ints_times128(ints x)
{
    NEON_EACH x.v[q] = vshlq_n_s32(x.v[q], 7);
    return x;
}

static inline lanes ints_lanes(ints x)
{
    return (lanes){ vcvtq_f32_s32(x.v[0]), vcvtq_f32_s32(x.v[1]), vcvtq_f32_s32(x.v[2]), vcvtq_f32_s32(x.v[3]) };
}

static inline int32_t ints_sum(ints x)
{
    return vaddvq_s32(vaddq_s32(vaddq_s32(x.v[0], x.v[1]), vaddq_s32(x.v[2], x.v[3])));
}

/* There is no dot product of mixed signs before i8mm: u * s = (u - 128) * s + 64 * s + 64 * s, all by sdot. */
static inline int32x4_t dot_mixed(int32x4_t sum, uint8x16_t u, int8x16_t s)
{
    int8x16_t less = vreinterpretq_s8_u8(veorq_u8(u, vdupq_n_u8(128))), sixty_four = vdupq_n_s8(64);
    return vdotq_s32(vdotq_s32(vdotq_s32(sum, less, s), sixty_four, s), sixty_four, s);
}

static inline ints ints_dot_keys(ints sum, bytes levels, ints quad)
{
    NEON_EACH sum.v[q] = vdotq_s32(sum.v[q], vreinterpretq_s8_u8(levels.v[q]), vreinterpretq_s8_s32(quad.v[q]));
    return sum;
}

static inline ints ints_dot_values(ints sum, bytes levels, ints quad)
{
    NEON_EACH sum.v[q] = dot_mixed(sum.v[q], vreinterpretq_u8_s32(quad.v[q]), vreinterpretq_s8_u8(levels.v[q]));
    return sum;
}

static inline ints ints_kept(ints sum) { return sum; }

static inline shorts shorts_set(int16_t x)
{
    int16x8_t v = vdupq_n_s16(x);
    return (shorts){ { v, v, v, v } };
}

static inline shorts shorts_load(const int16_t *p)
{
    return (shorts){ { vld1q_s16(p), vld1q_s16(p + 8), vld1q_s16(p + 16), vld1q_s16(p + 24) } };
}

static inline void shorts_store(int16_t *p, shorts x)
{
    NEON_EACH vst1q_s16(p + 8 * q, x.v[q]);
}

static inline shorts shorts_times_q15(shorts x, shorts y)
{
    NEON_EACH x.v[q] = vqrdmulhq_s16(x.v[q], y.v[q]);
    return x;
}

static inline shorts shorts_eighth(shorts x)
{
    NEON_EACH x.v[q] = vrshrq_n_s16(x.v[q], 3);
    return x;
}

static inline shorts shorts_abs(shorts x)
{
    NEON_EACH x.v[q] = vabsq_s16(x.v[q]);
    return x;
}

static inline shorts shorts_max(shorts x, shorts y)
{
    NEON_EACH x.v[q] = vmaxq_s16(x.v[q], y.v[q]);
    return x;
}

static inline ints shorts_add_pairs(ints sum, shorts x, shorts y)
{
    NEON_EACH {
        sum.v[q] = vmlal_s16(sum.v[q], vget_low_s16(x.v[q]), vget_low_s16(y.v[q]));
        sum.v[q] = vmlal_high_s16(sum.v[q], x.v[q], y.v[q]);
    }
    return sum;
}

static inline int shorts_largest(shorts x)
{
    return vmaxvq_s16(vmaxq_s16(vmaxq_s16(x.v[0], x.v[1]), vmaxq_s16(x.v[2], x.v[3])));
}

static inline void shorts_store8(int8_t *p, shorts x)
{
    NEON_EACH vst1_s8(p + 8 * q, vmovn_s16(x.v[q]));
}

static inline ints ints_offset(ints sum, const int8_t *q, const uint8_t *offsets) /* they are below 128 */
{
    for (int i = 0; i < 4; i++)
        sum.v[i] = vdotq_s32(sum.v[i], vld1q_s8(q + 16 * i),
                             vreinterpretq_s8_u8(vld1q_u8(offsets + 16 * i)));
    return sum;
}

static inline void shorts_split(shorts x, uint8_t *high, uint8_t *low)
{
    shorts a, b;
    NEON_EACH a.v[q] = vshrq_n_s16(x.v[q], 7);
    NEON_EACH b.v[q] = vandq_s16(x.v[q], vdupq_n_s16(127));
    shorts_store8((int8_t *)high, a);
    shorts_store8((int8_t *)low, b);
}

static inline shorts shorts_scales(const uint8_t *p)
{
    shorts x;
    NEON_EACH x.v[q] = vreinterpretq_s16_u16(vshll_n_u8(vld1_u8(p + 8 * q), 7));
    return x;
}

static inline shorts shorts_means(const uint8_t *high, const uint8_t *low)
{
    shorts x;
    uint8x16_t packed = vld1q_u8(low), first = vandq_u8(packed, vdupq_n_u8(15)), second = vshrq_n_u8(packed, 4);
    uint8x8_t nibbles[4] = { vget_low_u8(first), vget_high_u8(first), vget_low_u8(second), vget_high_u8(second) };
    NEON_EACH x.v[q] = vorrq_s16(vshll_n_s8(vld1_s8((const int8_t *)high + 8 * q), 4),
                                 vreinterpretq_s16_u16(vmovl_u8(nibbles[q])));
    return x;
}

static inline int16x8_t two_shorts(float32x4_t a, float32x4_t b)
{
    return vcombine_s16(vmovn_s32(vcvtnq_s32_f32(a)), vmovn_s32(vcvtnq_s32_f32(b)));
}

static inline void lanes_store_shorts(int16_t *p, lanes x)
{
    vst1q_s16(p, two_shorts(x.a, x.b));
    vst1q_s16(p + 8, two_shorts(x.c, x.d));
}

static inline void lanes_store_bytes(uint8_t *p, lanes x)
{
    vst1q_u8(p, vcombine_u8(vmovn_u16(vreinterpretq_u16_s16(two_shorts(x.a, x.b))),
                            vmovn_u16(vreinterpretq_u16_s16(two_shorts(x.c, x.d)))));
}

static inline lanes lanes_load_ints(const int32_t *p)
{
    return (lanes){ vcvtq_f32_s32(vld1q_s32(p)), vcvtq_f32_s32(vld1q_s32(p + 4)), vcvtq_f32_s32(vld1q_s32(p + 8)),
                    vcvtq_f32_s32(vld1q_s32(p + 12)) };
}

static inline void lanes_store_ints(int32_t *p, lanes x)
{
    vst1q_s32(p, vcvtq_s32_f32(x.a)), vst1q_s32(p + 4, vcvtq_s32_f32(x.b));
    vst1q_s32(p + 8, vcvtq_s32_f32(x.c)), vst1q_s32(p + 12, vcvtq_s32_f32(x.d));
}

static inline float32x4_t raise4(float32x4_t x, float32x4_t by)
{
    return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(x), vshlq_n_u32(vreinterpretq_u32_f32(by), 23)));
}

static inline lanes lanes_raise(lanes x, lanes by)
{
    return (lanes){ raise4(x.a, by.a), raise4(x.b, by.b), raise4(x.c, by.c), raise4(x.d, by.d) };
}

static inline ints scale_bits(const uint8_t *p, uint32_t base, int shift)
{
    uint8x16_t codes = vld1q_u8(p);
    uint16x8_t low = vmovl_u8(vget_low_u8(codes)), high = vmovl_u8(vget_high_u8(codes));
    uint32x4_t q[4] = { vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)),
                        vmovl_high_u16(high) };
    ints x;
    for (int i = 0; i < 4; i++)
        x.v[i] = vreinterpretq_s32_u32(vaddq_u32(vshlq_u32(q[i], vdupq_n_s32(shift)), vdupq_n_u32(base)));
    return x;
}

static inline lanes lanes_scales(const uint8_t *p, uint32_t base, int shift)
{
    ints x = scale_bits(p, base, shift);
    return (lanes){ vreinterpretq_f32_s32(x.v[0]), vreinterpretq_f32_s32(x.v[1]), vreinterpretq_f32_s32(x.v[2]),
                    vreinterpretq_f32_s32(x.v[3]) };
}

static inline float32x4_t keep4(float32x4_t x, unsigned mask, float32x4_t other)
{
    const uint32x4_t bit = { 1, 2, 4, 8 };
    return vbslq_f32(vtstq_u32(vdupq_n_u32(mask), bit), x, other);
}

static inline lanes lanes_keep(lanes x, unsigned mask, lanes other)
{
    return (lanes){ keep4(x.a, mask, other.a), keep4(x.b, mask >> 4, other.b), keep4(x.c, mask >> 8, other.c),
                    keep4(x.d, mask >> 12, other.d) };
}

#include "kernels/codes_plain.h"

#endif
