/* Operations on codes, beside those of lanes.h: 64 bytes, 32 halves (i16), 16 integers (i32), whatever the width of the
 * registers (x86/codes_avx2.h, x86/codes_avx512.h, arm/codes_neon.h). attention_coded_lanes.h is written over them.
 *
 *   bytes_lookup(t, i)       t[i] for each byte i in 0..15; bytes_table repeats 16 entries
 *   bytes_three(two, s, one, r)   bits s, s + 1 of one and bit r of the other, as 0..7
 *   bytes_signed             bytes 128 less (where KEYS_SIGNED)
 *   ints_dot_keys(s, l, q)   s + the sum of four products of a lane: levels and i8 queries; levels are u8, or i8 where
 *                            the tier says KEYS_SIGNED
 *   ints_dot_values(s, l, q) the same of i8 levels and u8 weights
 *   shorts_times_q15(a, b)   (a * b + 2^14) >> 15; never of -32,768 twice
 *   shorts_add_pairs(s, a, b)   s + neighbours' products; which lane of s takes which pair is the tier's
 *   shorts_largests(x, out)  the largest of each of four vectors' lanes, none negative
 *   shorts_scales            32 bytes times 128; shorts_means   12-bit means of 32 channels: see coded.h
 *   ints_offset(s, q, o)     s + o times sums of the 64 codes at q, four a lane (unless KEYS_SIGNED)
 *   ints_sums(x, out)        the sums of four vectors' lanes
 *   shorts_split(x, h, l)    x / 128 and x % 128 of 32 halves, in bytes
 *   codes_gather(o, q, p, c, n)   o[i] = q[c[i]] for i < n, zeros up to a multiple of 64; q has p codes, p <= 256
 *   lanes_store_shorts, _bytes   rounded to nearest even; values fit
 *   lanes_store_page(o, p, x)   bytes of the 64 floats at p times x
 *   lanes_scales(p, b, s)    f32 of bits(b + (p[i] << s))
 *   lanes_keep(x, m, y)      lane i of x where bit i of m is set, else of y */
#ifndef HEARTH_KERNELS_CODES_H
#define HEARTH_KERNELS_CODES_H

#include "kernels/coded_math.h"
#include "kernels/lanes.h"

/* exp2_f32, step by step. */
static inline lanes lanes_exp2(lanes x)
{
    x = lanes_max(lanes_set(EXP2_LOWEST), x);
    lanes shifted = lanes_add(x, lanes_set(ROUND_MAGIC)), n = lanes_sub(shifted, lanes_set(ROUND_MAGIC));
    lanes r = lanes_sub(x, n), p = lanes_set(EXP2_POLY[0]);
    for (int i = 1; i < 4; i++) p = lanes_fma(p, r, lanes_set(EXP2_POLY[i]));
    return lanes_times_two_to(lanes_fma(p, r, lanes_set(1.0f)), n, shifted);
}

#endif
