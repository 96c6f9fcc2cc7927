/* Which weight type each tensor of a quantized model gets. A mix is a row: what most matrices get, what the output
 * matrix gets, and what those get whose errors are felt most. Names and choices are those of published files. */
#ifndef HEARTH_MODEL_MIX_H
#define HEARTH_MODEL_MIX_H

#include "format/gguf.h"
#include "kernels/weight.h"

struct mix {
    const char *name;       /* "Q4_K_M" */
    uint32_t file_type;     /* for the key general.file_type */
    enum weight_type most;
    enum weight_type output; /* output.weight, or the embedding where it is the output matrix as well */
    enum weight_type more;  /* attn_v and ffn_down of the favoured layers */
    enum weight_type fused; /* attn_qkv, which holds a V */
};

/* The row with this name, letter case ignored ("q4_k" means Q4_K_M), or NULL. */
const struct mix *mix_named(view name);

/* The i-th row, or NULL behind the last: for usage texts. */
const struct mix *mix_at(size_t i);

/* The first eighth of the layers, the last eighth, and every third between: where quantization errors cost most. */
bool mix_favours(size_t layer, size_t layers);

/* The type that tensor `t` gets in a model of `layers` layers. t->type, "leave it as it is", for all that is no matrix
 * of weights (vectors, norms, routers, small convolutions, position tables). Rows that are no whole number of blocks
 * fall back: of 256 to a type with blocks of 32 and more bits, of 32 to F16.
 *   tied  the file has no output.weight */
uint32_t mix_type(const struct mix *mix, const gguf_tensor *t, size_t layers, bool tied);

#endif
