/* model/ knows what a language model is: the architecture table, the one graph that reads it, rope, sampling. It reads
 * files through format/, computes through kernels/, keeps positions in cache/, and never opens, prints or waits.
 * Start with this file (what can differ between models), then arch.c (one row an architecture), model.h, graph.c.
 *
 * Hyperparameters: plain numbers, every one checked against base/limits.h when it was read. */
#ifndef HEARTH_MODEL_HYPER_H
#define HEARTH_MODEL_HYPER_H

#include "format/gguf.h"
#include "kernels/attention.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rope_kind { ROPE_PAIRS, ROPE_HALVES };
enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_YARN, ROPE_LONG };
enum gate_kind { GATE_SILU, GATE_GELU_TANH, GATE_SWIGLU_OAI };
/* How a token's experts get their weights: softmax over the scores of the chosen ones (the same as softmax over all,
 * renormalised); softmax over all scores, as it is; sigmoid of each score, where a bias may steer the choice alone. */
enum router { ROUTER_CHOSEN, ROUTER_ALL, ROUTER_SIGMOID };
/* Where a layer's norms stand: before each block; before and after it; after it alone. */
enum norm_kind { NORM_PRE, NORM_PRE_POST, NORM_POST };
/* q and k norms: none, over each head, over the whole projection, over each head where the file has them. */
enum qk_norm { QK_NORM_NONE, QK_NORM_HEAD, QK_NORM_FULL, QK_NORM_IF_THERE };

/* One architecture, a row of the table in arch.c. What a file can say itself is a key, not a column. */
struct arch {
    const char *name; /* general.architecture, and the prefix of its keys */
    enum rope_kind rope;
    enum norm_kind norms;
    enum qk_norm qk_norm;
    enum gate_kind gate;
    const char *ffn_norm;      /* tensor name of the norm before the feed-forward block, without "blk.N." */
    size_t window_period;      /* of every `window_period` layers the last is global; 0: no layer has a window, */
                               /* 1: every layer has (where the file names one) */
    size_t window_default;     /* window where the file names none */
    size_t no_rope_period;     /* of every so many layers the last has no rope; 0: all have */
    float local_rope_base;     /* rope base of window layers where the file names none; 0: the global one */
    bool embed_sqrt_width;     /* embeddings times sqrt(width) */
    bool fused;                /* attn_qkv and ffn_up (gate rows first) hold several matrices */
    enum router router;        /* where the file does not say */
    bool latent;               /* multi-head latent attention: see struct latent_config */
    size_t wide_scale_layers;  /* with this many layers the attention scale is 1/sqrt(width / heads); 0: never */
};

struct rope_config {
    double base;
    size_t dims; /* values of a head that turn: even, <= key_dim */
    enum rope_scaling scaling;
    double factor;           /* positions are divided by it (linear, yarn) */
    size_t original_ctx_tok; /* yarn, longrope */
    double beta_fast, beta_slow;
    double magnitude;        /* cos and sin are multiplied by it */
    double log_multiplier;   /* the file's yarn_log_multiplier, 0.1 times mscale_all_dim */
};

struct hyper {
    const struct arch *arch;
    size_t layers, width, vocab, ffn_width;
    size_t heads, kv_heads, key_dim, value_dim;
    size_t ctx_train_tok;
    float eps;
    struct rope_config rope, rope_local; /* rope_local: of layers with a window */
    size_t window;                       /* positions a window layer sees, its own included; 0: no windows */
    size_t window_period;
    float attention_scale;
    float attention_soft_cap, logit_soft_cap; /* 0: none */
    float embedding_scale, residual_scale;    /* 1: none */
    float logit_divisor;                      /* logits are divided by it; 1: not */
    float q_temperature_scale;                /* Llama-4 scaling of q by position; 0: none */
    size_t q_temperature_tok;
    /* Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1), in its absorbed form: every head shares
     * one cached key of kv_rank + rope.dims values and one value, its first kv_rank. key_dim, value_dim and kv_heads
     * above are those of the cache. */
    struct latent_config {
        size_t kv_rank;   /* 0: ordinary attention */
        size_t q_rank;    /* 0: queries come straight from the hidden state */
        size_t nope_dim;  /* values of a head's query that do not turn */
        size_t value_dim; /* of a head's result, before the output matrix */
    } latent;
    struct expert_config {
        size_t count;        /* 0: a dense model */
        size_t top_k;        /* experts of one token */
        size_t ffn_width;    /* of one expert */
        size_t shared_width; /* of the experts that every token takes, as one block; 0: none */
        size_t dense_layers; /* the first so many layers have no experts */
        enum router router;
        bool renormalise;    /* ROUTER_SIGMOID: weights are divided by their sum */
        float scale;         /* and multiplied by this */
        size_t groups, groups_used; /* only experts of the best groups can be chosen; 1, 1: all */
    } experts;
};

/* The row of an architecture name, or NULL. */
const struct arch *arch_named(view name);

/* Reads and checks the hyperparameters. Errors: ERR_UNSUPPORTED (another architecture: one line names it and lists
 * ours), ERR_MISSING, ERR_LIMIT, ERR_VALUE, each naming the key, the value and the limit. */
bool hyper_read(const gguf_dir *dir, struct hyper *h, err *e);

/* The longest context that the file answers for: what the model was trained on, or, where the file scales its rope
 * (linear, yarn), the original context times the factor. Beyond it positions turn to where no training went. */
size_t hyper_ctx_most(const struct hyper *h);

/* One line with both numbers where `ctx_tok` is longer. Errors: ERR_LIMIT. */
bool hyper_ctx_check(const struct hyper *h, size_t ctx_tok, err *e);

static inline bool layer_has_window(const struct hyper *h, size_t layer)
{
    return h->window > 0 && (h->window_period <= 1 || (layer + 1) % h->window_period != 0);
}

static inline bool layer_has_experts(const struct hyper *h, size_t layer)
{
    return h->experts.count > 0 && layer >= h->experts.dense_layers;
}

static inline bool layer_has_rope(const struct hyper *h, size_t layer)
{
    return h->arch->no_rope_period == 0 || (layer + 1) % h->arch->no_rope_period != 0;
}

/* Channels of a value that the cache keeps beside the key: none where it is the key's begin. */
static inline size_t cached_value_dim(const struct hyper *h, enum kv_type type)
{
    return h->latent.kv_rank > 0 && !kv_is_coded(type) ? 0 : h->value_dim;
}

#endif
