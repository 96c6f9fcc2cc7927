/* Made models: files of real shapes with random weights, so that anyone can repeat a speed without a download. They say
 * nothing, in the same number of bytes and operations as the model whose shape they have. */
#ifndef HEARTH_MODEL_MADE_H
#define HEARTH_MODEL_MADE_H

#include "base/err.h"
#include "kernels/weight.h"

struct made_shape {
    const char *name; /* "qwen3-0.6b" */
    const char *arch; /* a row of arch.c */
    size_t layers, width, ffn_width, heads, kv_heads, head_dim, vocab, ctx_tok;
    float rope_base, eps;
    bool tied;
    size_t window;    /* 0: no key */
    size_t experts, top_k, expert_ffn; /* 0: dense; ffn_width is then not used */
};

/* The shape with this name, or NULL; made_shape_names lists them, NULL at the end. A caller that wants fewer layers
 * changes a copy. */
const struct made_shape *made_shape_named(view name);
const char *const *made_shape_names(void);

/* Which types the matrices get: the whole model in one, or as files usually come: "Q4_0" with the embedding in Q6_K,
 * "Q4_K_M" with its better layers. */
struct made_mix {
    const char *name;
    enum weight_type most, better, embedding; /* better: attn_v and ffn_down of the layers the mix favours */
};
const struct made_mix *made_mix_named(view name);
const char *const *made_mix_names(void);

/* Writes the file. The same shape, mix and seed make the same bytes everywhere. Rows that are no whole number of blocks
 * fall back to Q8_0 (of 32) and then F16. Errors: those of the GGUF writer; nothing is left behind. */
bool made_write(const struct made_shape *shape, const struct made_mix *mix, uint64_t seed, const char *path, err *e);

#endif
