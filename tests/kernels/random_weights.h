/* Weights and activations for tests: any bytes are codes, and scales are drawn so that sums stay finite. */
#ifndef HEARTH_TESTS_RANDOM_WEIGHTS_H
#define HEARTH_TESTS_RANDOM_WEIGHTS_H

#include "base/le.h"
#include "base/prng.h"
#include "kernels/half.h"
#include "kernels/weight.h"

#include <string.h>

enum fill {
    FILL_RANDOM,    /* all codes, scales of ordinary size and both signs */
    FILL_ONES,      /* all bits of codes and sub-scales set */
    FILL_ZEROS,     /* all bits clear: the other end of codes with a zero point */
    FILL_NO_SCALE,  /* random codes, scales 0 */
    FILL_MAX_SCALE, /* random codes, scales +-65,504 */
    FILL_TINY,      /* random codes, denormal scales */
    FILLS
};

static uint16_t random_scale(enum fill fill, uint64_t seed, uint64_t at)
{
    uint16_t sign = (uint16_t)(prng_u32(seed, 77, at) << 15);
    if (fill == FILL_NO_SCALE) return sign;
    if (fill == FILL_MAX_SCALE) return sign | 0x7bff;
    if (fill == FILL_TINY) return (uint16_t)(sign | (prng_u32(seed, 78, at) & 0x3ff));
    return (uint16_t)(sign | f32_to_f16((float)prng_unit(seed, 79, at)));
}

/* Where the f16 scales of a block lie: the first one, and how many. */
static void scales_of(enum weight_type type, size_t *at, size_t *count)
{
    static const struct {
        uint8_t at, count;
    } rows[WEIGHT_TYPES] = {
        [WEIGHT_F16] = { 0, 1 },  [WEIGHT_Q4_0] = { 0, 1 }, [WEIGHT_Q4_1] = { 0, 2 },   [WEIGHT_Q5_0] = { 0, 1 },
        [WEIGHT_Q5_1] = { 0, 2 }, [WEIGHT_Q8_0] = { 0, 1 }, [WEIGHT_Q2_K] = { 80, 2 },  [WEIGHT_Q3_K] = { 108, 1 },
        [WEIGHT_Q4_K] = { 0, 2 }, [WEIGHT_Q5_K] = { 0, 2 }, [WEIGHT_Q6_K] = { 208, 1 }, [WEIGHT_IQ4_NL] = { 0, 1 },
        [WEIGHT_IQ4_XS] = { 0, 1 },
    };
    *at = rows[type].at;
    *count = rows[type].count;
}

/* `blocks` blocks in file layout. */
__attribute__((unused)) static void random_weights(enum weight_type type, enum fill fill, uint64_t seed, size_t blocks,
                                                   uint8_t *out)
{
    const struct weight_kind *kind = weight_kind(type);
    size_t bytes = blocks * kind->block_bytes, at, count;
    for (size_t i = 0; i < bytes; i++)
        out[i] = fill == FILL_ONES ? 0xff : fill == FILL_ZEROS ? 0 : (uint8_t)prng_u32(seed, 1, i);
    scales_of(type, &at, &count);
    for (size_t b = 0; b < blocks; b++) {
        uint8_t *block = out + b * kind->block_bytes;
        for (size_t s = 0; s < count; s++) le_put_u16(block + at + 2 * s, random_scale(fill, seed, 2 * b + s));
        if (type == WEIGHT_F32) le_put_f32(block, (float)prng_unit(seed, 3, b) - 0.5f);
        if (type == WEIGHT_BF16) le_put_u16(block, (uint16_t)(0x3f00 | (prng_u32(seed, 3, b) & 0x80ff)));
        if (type == WEIGHT_MXFP4) block[0] = (uint8_t)(80 + prng_u32(seed, 3, b) % 60);
    }
}

#endif
