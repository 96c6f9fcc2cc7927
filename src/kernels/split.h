/* The plain form of one block of integer weights: what its bytes mean, whatever the format. widen.c and the definition
 * of the product (matmul.c) both start from it, so a format has one meaning. With g = i / 16, weight i is
 *
 *   (d * scales[g]) * codes[i]                    and for formats with minima
 *   (d * scales[g]) * codes[i] + m * mins[g]
 *
 * The products are exact in f32 (at most 11 + 7 + 6 bits), so a weight is rounded once, by the addition. Formats whose
 * sub-scales cover 32 values repeat them; those without have ones. Codebook formats fit as well: their entries and
 * signs are codes, their (2s + 1) an integer scale, their fractions part of d. */
#ifndef HEARTH_KERNELS_SPLIT_H
#define HEARTH_KERNELS_SPLIT_H

#include <stdint.h>

enum { BLOCK_VALUES_MAX = 256, GROUP_VALUES = 16 };

struct split_block {
    float d, m; /* m is signed: formats that subtract a minimum have it negated */
    int8_t codes[BLOCK_VALUES_MAX];
    int16_t scales[BLOCK_VALUES_MAX / GROUP_VALUES];
    int16_t mins[BLOCK_VALUES_MAX / GROUP_VALUES];
};

typedef void split_fn(const uint8_t *src, struct split_block *out);

split_fn split_q4_0, split_q4_1, split_q5_0, split_q5_1, split_q8_0, split_q2_k, split_q3_k, split_q4_k, split_q5_k,
    split_q6_k, split_iq4_nl, split_iq4_xs, split_mxfp4;

/* What the nibbles of IQ4_NL and IQ4_XS, and of MXFP4 (E2M1, doubled to be whole), stand for. */
extern const int8_t CODES_IQ4[16], CODES_E2M1[16];

/* An E8M0 scale, halved because CODES_E2M1 is doubled: 2^(e - 128). Scales 2^(e - 127) below 2^-40 read as 0, so that
 * no product of scales is denormal. 255 (NaN) never passes bad_block; it reads as 2^127 here. */
static inline uint32_t e8m0_half_bits(uint32_t e)
{
    return e < 127 - 40 ? 0 : (e - 1) << 23;
}

#endif
