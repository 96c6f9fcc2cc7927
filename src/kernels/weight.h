/* kernels/ is the arithmetic: every operation has a definition here (`*.c`), and x86/ and arm/ mirror it by name
 * (`_avx2`, `_avx512`, `_neon`) with the same bits. bind.h chooses a tier once. The room knows numbers and bytes, not
 * models; it allocates nothing and fails on nothing but values that are not finite, which it reports.
 * docs/arithmetic.md is the same in words. Start here (how weights are stored), then tile.h, matmul.h, vector.h,
 * attention.h.
 *
 * This file: the weight types of a GGUF file, one table row a type. */
#ifndef HEARTH_KERNELS_WEIGHT_H
#define HEARTH_KERNELS_WEIGHT_H

#include "base/err.h"
#include "base/view.h"

/* The numbers are GGUF's (ggml_type in its specification). */
enum weight_type {
    WEIGHT_F32 = 0,
    WEIGHT_F16 = 1,
    WEIGHT_Q4_0 = 2,
    WEIGHT_Q4_1 = 3,
    WEIGHT_Q5_0 = 6,
    WEIGHT_Q5_1 = 7,
    WEIGHT_Q8_0 = 8,
    WEIGHT_Q2_K = 10,
    WEIGHT_Q3_K = 11,
    WEIGHT_Q4_K = 12,
    WEIGHT_Q5_K = 13,
    WEIGHT_Q6_K = 14,
    WEIGHT_IQ4_NL = 20,
    WEIGHT_IQ4_XS = 23,
    WEIGHT_BF16 = 30,
    WEIGHT_MXFP4 = 39,
    WEIGHT_TYPES = 64 /* one past the largest number a table is indexed with */
};

/* What a type's products take on the other side. */
enum activation_form {
    ACTIVATION_F32,    /* float weights, and every type under --activations f32 */
    ACTIVATION_INT8_32, /* int8 codes, one f32 scale per 32 values: block formats */
    ACTIVATION_INT8_256 /* the same per 256 values: super-block formats */
};

struct split_block; /* split.h */

struct weight_kind {
    const char *name; /* as files name it: "Q4_K" */
    enum weight_type type;
    uint16_t block_values, block_bytes;
    enum activation_form activations;
    /* blocks * block_values floats: the exact value of every weight, rounded once to f32. */
    void (*widen)(const uint8_t *src, size_t blocks, float *out);
    /* The first block whose scale (of a float type: whose value) is NaN or infinite, or `blocks`. NULL where no bit
     * pattern can be. */
    size_t (*bad_block)(const uint8_t *src, size_t blocks);
    /* The plain form of one block; NULL for float types. */
    void (*split)(const uint8_t *src, struct split_block *out);
    bool minima; /* weights are scale * code + minimum: products have a second term */
};

/* The row of a GGUF type number, or NULL where this program does not compute with it. */
const struct weight_kind *weight_kind(uint32_t type);

/* The row with this name, letter case ignored, or NULL. */
const struct weight_kind *weight_kind_named(view name);

#endif
