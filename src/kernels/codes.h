/* Operations on codes, beside those of lanes.h: 64 bytes, 32 halves (i16), 16 integers (i32), whatever the width of the
 * registers (x86/codes_avx2.h, x86/codes_avx512.h, arm/codes_neon.h). attention_coded_lanes.h is written over them.
 *
 *   bytes_lookup(t, i)       t[i % 16] for each byte i that bytes_low4, bytes_high4 or bytes_three gives: what is above
 *                            the code is the tier's; bytes_table repeats 16 entries
 *   bytes_three(two, one, j, odd)   codes of 3 bits of field j, vector g, odd or even: see coded.h
 *   bytes_field(x, j)        bits 2j, 2j + 1 alone (where FIELDS_IN_PLACE: keys' sums take u8, values' i8)
 *   bytes_signed             bytes 128 less (where KEYS_SIGNED)
 *   ints_dot_keys(s, l, q)   s + the sum of four products of a lane: levels and i8 queries; levels are u8, or i8 where
 *                            the tier says KEYS_SIGNED
 *   ints_dot_values(s, l, q) the same of i8 levels and u8 weights
 *   shorts_times_q15(a, b)   (a * b + 2^14) >> 15; never of -32,768 twice
 *   shorts_eighth(a)         shorts_times_q15(a, MEAN_SHIFT): (a + 4) >> 3
 *   shorts_add_pairs(s, a, b)   s + neighbours' products; which lane of s takes which pair is the tier's
 *   shorts_largests(x, out)  the largest of each of four vectors' lanes, none negative
 *   shorts_scales            32 bytes times 128; shorts_means   12-bit means of 32 channels: see coded.h
 *   ints_shift(s, n)         s * 2^n, n of either sign, exact (FIELDS_IN_PLACE)
 *   ints_offset(s, q, o)     s + products of the 64 codes at q and u8 at o, four a lane
 *   ints_add_weights(s, w)   s + the 64 u8 at w, four a lane (FIELDS_IN_PLACE)
 *   ints_sums(x, out)        the sums of four vectors' lanes
 *   shorts_split(x, h, l)    x / 128 and x % 128 of 32 halves, in bytes
 *   slots_order, codes_in_slots(o, t, f, p, x)   o[s] = shorts_times_q15(t[c], f) for slot s of p and its channel c; t
 *                            has zeros from p to a multiple of 128
 *   lanes_store_shorts, _bytes   rounded to nearest even; values fit
 *   lanes_store_page(o, a, b, c, d)   the same of 64 lanes
 *   lanes_load_ints, lanes_store_ints   16 i32 as f32, and f32 towards 0 as i32
 *   lanes_raise(x, s)        the low bits of s added to the exponent of x
 *   lanes_scales(p, b, s)    f32 of bits(b + (p[i] << s)); lanes_scale_ints: those bits as i32, in f32
 *   lanes_scale_logs(p, b)   2^-23 (b + (p[i] << VALUE_SCALE_SHIFT)) as i32, at least SCALE_LOG_LEAST
 *   lanes_keep(x, m, y)      lane i of x where bit i of m is set, else of y */
#ifndef HEARTH_KERNELS_CODES_H
#define HEARTH_KERNELS_CODES_H

#include "kernels/coded_math.h"
#include "kernels/lanes.h"

static inline lanes lanes_scale_logs(const uint8_t *p, uint32_t base)
{
    lanes log = lanes_mul(lanes_scale_ints(p, base, VALUE_SCALE_SHIFT), lanes_set(0x1p-23f));
    return lanes_max(log, lanes_set(SCALE_LOG_LEAST));
}

/* exp2_f32, step by step. */
static inline lanes lanes_exp2(lanes x)
{
    x = lanes_max(lanes_set(EXP2_LOWEST), x);
    lanes shifted = lanes_add(x, lanes_set(ROUND_MAGIC)), n = lanes_sub(shifted, lanes_set(ROUND_MAGIC));
    lanes r = lanes_sub(x, n), p = lanes_set(EXP2_POLY[0]);
    for (int i = 1; i < 4; i++) p = lanes_fma(p, r, lanes_set(EXP2_POLY[i]));
    return lanes_raise(lanes_fma(p, r, lanes_set(1.0f)), shifted);
}

#endif
