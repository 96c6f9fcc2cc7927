/* The table of weight types. A new format is a row here, a split_ function (split.c), a row of fields (tile.c) and a
 * row in each tier's matmul. */
#include "kernels/weight.h"

#include "base/le.h"
#include "kernels/widen.h"

/* Where the scales of a block lie: `first` and, where it is not 0, `second` are offsets of binary16 numbers. */
static size_t bad_f16(const uint8_t *src, size_t blocks, size_t block_bytes, size_t first, size_t second)
{
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *block = src + b * block_bytes;
        bool bad = (le_u16(block + first) & 0x7c00) == 0x7c00;
        if (second != 0) bad = bad || (le_u16(block + second) & 0x7c00) == 0x7c00;
        if (bad) return b;
    }
    return blocks;
}

/* Float types: a block is one value, and its scale is itself. */
static size_t bad_block_f32(const uint8_t *src, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++)
        if ((le_u32(src + 4 * b) & 0x7f800000) == 0x7f800000) return b;
    return blocks;
}

static size_t bad_block_f16(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 2, 0, 0);
}

static size_t bad_block_bf16(const uint8_t *src, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++)
        if ((le_u16(src + 2 * b) & 0x7f80) == 0x7f80) return b;
    return blocks;
}

static size_t bad_block_18(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 18, 0, 0);
}

static size_t bad_block_q4_1(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 20, 0, 2);
}

static size_t bad_block_q5_0(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 22, 0, 0);
}

static size_t bad_block_q5_1(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 24, 0, 2);
}

static size_t bad_block_q8_0(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 34, 0, 0);
}

static size_t bad_block_q2_k(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 84, 80, 82);
}

static size_t bad_block_q3_k(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 110, 108, 0);
}

static size_t bad_block_q4_k(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 144, 0, 2);
}

static size_t bad_block_q5_k(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 176, 0, 2);
}

static size_t bad_block_q6_k(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 210, 208, 0);
}

static size_t bad_block_iq4_xs(const uint8_t *src, size_t blocks)
{
    return bad_f16(src, blocks, 136, 0, 0);
}

/* E8M0: 255 is its only NaN, and it has no infinity. */
static size_t bad_block_mxfp4(const uint8_t *src, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++)
        if (src[17 * b] == 255) return b;
    return blocks;
}

/* name, type, values and bytes of a block, activations, widen, bad_block, split, minima */
static const struct weight_kind KINDS[] = {
    { "F32", WEIGHT_F32, 1, 4, ACTIVATION_F32, widen_f32, bad_block_f32, NULL, false },
    { "F16", WEIGHT_F16, 1, 2, ACTIVATION_F32, widen_f16, bad_block_f16, NULL, false },
    { "BF16", WEIGHT_BF16, 1, 2, ACTIVATION_F32, widen_bf16, bad_block_bf16, NULL, false },
    { "Q4_0", WEIGHT_Q4_0, 32, 18, ACTIVATION_INT8_32, widen_q4_0, bad_block_18, split_q4_0, false },
    { "Q4_1", WEIGHT_Q4_1, 32, 20, ACTIVATION_INT8_32, widen_q4_1, bad_block_q4_1, split_q4_1, true },
    { "Q5_0", WEIGHT_Q5_0, 32, 22, ACTIVATION_INT8_32, widen_q5_0, bad_block_q5_0, split_q5_0, false },
    { "Q5_1", WEIGHT_Q5_1, 32, 24, ACTIVATION_INT8_32, widen_q5_1, bad_block_q5_1, split_q5_1, true },
    { "Q8_0", WEIGHT_Q8_0, 32, 34, ACTIVATION_INT8_32, widen_q8_0, bad_block_q8_0, split_q8_0, false },
    { "Q2_K", WEIGHT_Q2_K, 256, 84, ACTIVATION_INT8_256, widen_q2_k, bad_block_q2_k, split_q2_k, true },
    { "Q3_K", WEIGHT_Q3_K, 256, 110, ACTIVATION_INT8_256, widen_q3_k, bad_block_q3_k, split_q3_k, false },
    { "Q4_K", WEIGHT_Q4_K, 256, 144, ACTIVATION_INT8_256, widen_q4_k, bad_block_q4_k, split_q4_k, true },
    { "Q5_K", WEIGHT_Q5_K, 256, 176, ACTIVATION_INT8_256, widen_q5_k, bad_block_q5_k, split_q5_k, true },
    { "Q6_K", WEIGHT_Q6_K, 256, 210, ACTIVATION_INT8_256, widen_q6_k, bad_block_q6_k, split_q6_k, false },
    { "IQ4_NL", WEIGHT_IQ4_NL, 32, 18, ACTIVATION_INT8_32, widen_iq4_nl, bad_block_18, split_iq4_nl, false },
    { "IQ4_XS", WEIGHT_IQ4_XS, 256, 136, ACTIVATION_INT8_256, widen_iq4_xs, bad_block_iq4_xs, split_iq4_xs, false },
    { "MXFP4", WEIGHT_MXFP4, 32, 17, ACTIVATION_INT8_32, widen_mxfp4, bad_block_mxfp4, split_mxfp4, false },
};

enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };

const struct weight_kind *weight_kind(uint32_t type)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if ((uint32_t)KINDS[i].type == type) return &KINDS[i];
    return NULL;
}

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
}

const struct weight_kind *weight_kind_named(view name)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        view row = view_of(KINDS[i].name);
        size_t same = 0;
        if (row.len_bytes != name.len_bytes) continue;
        while (same < row.len_bytes && row.ptr[same] == upper(name.ptr[same])) same++;
        if (same == row.len_bytes) return &KINDS[i];
    }
    return NULL;
}
