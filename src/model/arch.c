/* The architecture table and the reading of hyperparameters. Adding a model that the graph can already compute is a row
 * here and a reference vector. Facts come from each architecture's published configuration and the key names of the
 * GGUF specification ("Standardized key-value pairs"); where a converter leaves a fact out, the column says what holds.
 */
#include "model/hyper.h"

#include "base/checked.h"
#include "base/limits.h"
#include "kernels/angle.h"

#include <assert.h>
#include <stdio.h>

static const struct arch ARCHS[] = {
    /* Llama 1-3, Mistral, Ministral 8B, TinyLlama, ...: Llama-3's frequency divisors come as a tensor. */
    { .name = "llama", .rope = ROPE_PAIRS, .ffn_norm = "ffn_norm" },
    /* Ministral 3: YaRN, and queries that grow with the logarithm of their position. */
    { .name = "mistral3", .rope = ROPE_PAIRS, .ffn_norm = "ffn_norm" },
    { .name = "qwen2", .rope = ROPE_HALVES, .ffn_norm = "ffn_norm" },
    { .name = "qwen3", .rope = ROPE_HALVES, .qk_norm = QK_NORM_HEAD, .ffn_norm = "ffn_norm" },
    { .name = "gemma2", .rope = ROPE_HALVES, .norms = NORM_PRE_POST, .gate = GATE_GELU_TANH, .ffn_norm = "ffn_norm",
      .window_period = 2, .window_default = 4096, .embed_sqrt_width = true, .wide_scale_layers = 46 },
    { .name = "gemma3", .rope = ROPE_HALVES, .norms = NORM_PRE_POST, .qk_norm = QK_NORM_HEAD, .gate = GATE_GELU_TANH,
      .ffn_norm = "ffn_norm", .window_period = 6, .local_rope_base = 10000.0f, .embed_sqrt_width = true,
      .wide_scale_layers = 62 },
    { .name = "phi3", .rope = ROPE_HALVES, .ffn_norm = "ffn_norm", .window_period = 1, .fused = true },
    { .name = "smollm3", .rope = ROPE_PAIRS, .ffn_norm = "ffn_norm", .no_rope_period = 4 },
    /* Granite: the embedding, residual, attention and logit scales are keys. */
    { .name = "granite", .rope = ROPE_PAIRS, .ffn_norm = "ffn_norm" },
    { .name = "olmo2", .rope = ROPE_HALVES, .norms = NORM_POST, .qk_norm = QK_NORM_FULL },
    { .name = "seed_oss", .rope = ROPE_HALVES, .ffn_norm = "post_attention_norm" },
    /* Sparse ones. (Mixtral is "llama" with experts.) */
    { .name = "qwen2moe", .rope = ROPE_HALVES, .ffn_norm = "ffn_norm", .router = ROUTER_ALL },
    { .name = "qwen3moe", .rope = ROPE_HALVES, .qk_norm = QK_NORM_HEAD, .ffn_norm = "ffn_norm" },
    { .name = "olmoe", .rope = ROPE_HALVES, .qk_norm = QK_NORM_FULL, .ffn_norm = "ffn_norm", .router = ROUTER_ALL },
    { .name = "granitemoe", .rope = ROPE_PAIRS, .ffn_norm = "ffn_norm" },
    { .name = "gpt-oss", .rope = ROPE_HALVES, .gate = GATE_SWIGLU_OAI, .ffn_norm = "post_attention_norm",
      .window_period = 2, .window_default = 128 },
    { .name = "glm4moe", .rope = ROPE_HALVES, .qk_norm = QK_NORM_IF_THERE, .ffn_norm = "post_attention_norm",
      .router = ROUTER_SIGMOID },
    /* DeepSeek-V2, V2-Lite, V3, and models of their shape (Kimi K2). */
    { .name = "deepseek2", .rope = ROPE_PAIRS, .ffn_norm = "ffn_norm", .router = ROUTER_ALL, .latent = true },
};

enum { ARCH_COUNT = sizeof ARCHS / sizeof *ARCHS, KEY_BYTES = 96 };

const struct arch *arch_named(view name)
{
    for (size_t i = 0; i < ARCH_COUNT; i++)
        if (view_is(name, ARCHS[i].name)) return &ARCHS[i];
    return NULL;
}

static bool unknown_arch(view name, err *e)
{
    char known[ARCH_COUNT * 12] = "";
    for (size_t i = 0, at = 0; i < ARCH_COUNT; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i > 0 ? ", " : "", ARCHS[i].name);
    return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "general.architecture: \"%.*s\", this program computes %s",
                (int)(name.len_bytes < 64 ? name.len_bytes : 64), (const char *)name.ptr, known);
}

/* Keys are "ARCH.REST"; the directory outlives the call, the name does not need to. */
struct keys {
    const gguf_dir *dir;
    const char *arch;
    char name[KEY_BYTES];
};

static const char *key(struct keys *k, const char *rest)
{
    int len = snprintf(k->name, sizeof k->name, "%s.%s", k->arch, rest);
    assert(len > 0 && (size_t)len < sizeof k->name);
    return k->name;
}

/* A size within 1..max. Where it is optional, *out keeps the fallback. */
static bool size_key(struct keys *k, const char *rest, enum gguf_need need, size_t max, size_t *out, err *e)
{
    uint64_t value = *out;
    if (!gguf_u64(k->dir, key(k, rest), need, 1, max, &value, e)) return false;
    *out = (size_t)value;
    return true;
}

static bool f32_key(struct keys *k, const char *rest, float min, float max, float *out, err *e)
{
    return gguf_f32(k->dir, key(k, rest), GGUF_OPTIONAL, min, max, out, e);
}

/* A count that may be 0 or missing, which is 0. */
static bool count_key(struct keys *k, const char *rest, size_t max, size_t *out, err *e)
{
    uint64_t value = 0;
    if (!gguf_u64(k->dir, key(k, rest), GGUF_OPTIONAL, 0, max, &value, e)) return false;
    *out = (size_t)value;
    return true;
}

/* A number that some converters write once and others once a layer: here every layer must say the same. */
static bool uniform_key(struct keys *k, const char *rest, enum gguf_need need, size_t layers, size_t max, size_t *out,
                        err *e)
{
    uint32_t each[LAYERS_MAX];
    for (size_t i = 0; i < layers; i++) each[i] = (uint32_t)*out;
    if (!gguf_u32_each(k->dir, key(k, rest), need, layers, 1, (uint32_t)max, each, e)) return false;
    for (size_t i = 1; i < layers; i++)
        if (each[i] != each[0])
            return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "%s: %u in layer 0 and %u in layer %zu, one value for all "
                        "layers is computed", k->name, each[0], each[i], i);
    *out = each[0];
    return true;
}

static bool read_shape(struct keys *k, struct hyper *h, err *e)
{
    if (!size_key(k, "block_count", GGUF_REQUIRED, LAYERS_MAX, &h->layers, e) ||
        !size_key(k, "embedding_length", GGUF_REQUIRED, WIDTH_MAX, &h->width, e) ||
        !size_key(k, "context_length", GGUF_REQUIRED, CTX_TOK_MAX, &h->ctx_train_tok, e) ||
        !uniform_key(k, "feed_forward_length", GGUF_REQUIRED, h->layers, FFN_WIDTH_MAX, &h->ffn_width, e) ||
        !uniform_key(k, "attention.head_count", GGUF_REQUIRED, h->layers, HEADS_MAX, &h->heads, e))
        return false;
    h->kv_heads = h->heads;
    if (!uniform_key(k, "attention.head_count_kv", GGUF_OPTIONAL, h->layers, HEADS_MAX, &h->kv_heads, e)) return false;
    if (h->heads % h->kv_heads != 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: %zu, must divide attention.head_count %zu", k->name, h->kv_heads,
                    h->heads);
    h->key_dim = h->width / h->heads;
    if (!size_key(k, "attention.key_length", GGUF_OPTIONAL, HEAD_DIM_MAX, &h->key_dim, e)) return false;
    h->value_dim = h->key_dim;
    if (!size_key(k, "attention.value_length", GGUF_OPTIONAL, HEAD_DIM_MAX, &h->value_dim, e)) return false;
    if (h->key_dim < 1 || h->key_dim > HEAD_DIM_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET,
                    "%s.embedding_length: %zu over %zu heads is a head of %zu, allowed 1..%d", k->arch, h->width,
                    h->heads, h->key_dim, HEAD_DIM_MAX);
    return true;
}

static bool read_rope_scaling(struct keys *k, struct rope_config *r, bool latent, err *e)
{
    static const struct {
        const char *name;
        enum rope_scaling scaling;
    } kinds[] = { { "none", ROPE_PLAIN }, { "linear", ROPE_LINEAR }, { "yarn", ROPE_YARN }, { "longrope", ROPE_LONG } };
    float factor = 1.0f, beta_fast = 32.0f, beta_slow = 1.0f, log_multiplier = 0.0f, magnitude = 1.0f;
    view name = view_of("linear"); /* what a factor without a type means */
    if (!f32_key(k, "rope.scale_linear", 0x1p-20f, 0x1p20f, &factor, e) ||
        !f32_key(k, "rope.scaling.factor", 0.0f, 0x1p20f, &factor, e) ||
        !f32_key(k, "rope.scaling.attn_factor", 0x1p-20f, 0x1p20f, &magnitude, e) ||
        !f32_key(k, "rope.scaling.yarn_beta_fast", 0x1p-20f, 0x1p20f, &beta_fast, e) ||
        !f32_key(k, "rope.scaling.yarn_beta_slow", 0x1p-20f, 0x1p20f, &beta_slow, e) ||
        !f32_key(k, "rope.scaling.yarn_log_multiplier", 0.0f, 0x1p10f, &log_multiplier, e) ||
        !size_key(k, "rope.scaling.original_context_length", GGUF_OPTIONAL, CTX_TOK_MAX, &r->original_ctx_tok, e) ||
        !gguf_str(k->dir, key(k, "rope.scaling.type"), GGUF_OPTIONAL, &name, e))
        return false;
    size_t at = 0;
    while (at < sizeof kinds / sizeof *kinds && !view_is(name, kinds[at].name)) at++;
    if (at == sizeof kinds / sizeof *kinds)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "%s: \"%.*s\", known are none, linear, yarn, longrope", k->name,
                    (int)(name.len_bytes < 32 ? name.len_bytes : 32), (const char *)name.ptr);
    r->scaling = kinds[at].scaling;
    r->factor = factor > 0.0f ? (double)factor : 1.0; /* converters write 0 for "none" */
    if (r->scaling == ROPE_LINEAR && r->factor == 1.0) r->scaling = ROPE_PLAIN;
    r->beta_fast = (double)beta_fast;
    r->beta_slow = (double)beta_slow;
    r->magnitude = (double)magnitude;
    r->log_multiplier = (double)log_multiplier;
    if (r->scaling == ROPE_YARN && r->factor > 1.0 && !latent) {
        /* YaRN, section 3.4: 0.1 ln(s) + 1; models with mscale_all_dim (the multiplier key) divide by theirs. */
        double log_factor = log_f64(r->factor);
        r->magnitude *= (0.1 * log_factor + 1.0) / (0.1 * (double)log_multiplier * log_factor + 1.0);
    }
    return true;
}

static bool read_rope(struct keys *k, struct hyper *h, err *e)
{
    struct rope_config *r = &h->rope;
    float base = 10000.0f, base_local;
    r->dims = h->key_dim;
    r->original_ctx_tok = h->ctx_train_tok;
    if (!f32_key(k, "rope.freq_base", 2.0f, 0x1p60f, &base, e) ||
        !size_key(k, "rope.dimension_count", GGUF_OPTIONAL, HEAD_DIM_MAX, &r->dims, e))
        return false;
    if (r->dims % 2 != 0 || r->dims > h->key_dim)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET,
                    "%s.rope.dimension_count: %zu, must be even and at most the head's %zu", k->arch, r->dims,
                    h->key_dim);
    r->base = (double)base;
    if (!read_rope_scaling(k, r, h->arch->latent, e)) return false;
    /* Layers with a window see few positions: no scaling, and a base of their own where the architecture has one. */
    h->rope_local = *r;
    if (h->arch->local_rope_base > 0.0f) {
        base_local = h->arch->local_rope_base;
        if (!f32_key(k, "rope.freq_base_swa", 2.0f, 0x1p60f, &base_local, e)) return false;
        h->rope_local.base = (double)base_local;
        h->rope_local.scaling = ROPE_PLAIN;
        h->rope_local.magnitude = 1.0;
    }
    return true;
}

/* The keys say the cache's sizes (key_length, value_length, head_count_kv 1) and, as "_mla", those of a head. */
static bool read_latent(struct keys *k, struct hyper *h, err *e)
{
    struct latent_config *l = &h->latent;
    size_t key_dim = 0, rope_dims = h->key_dim;
    if (!h->arch->latent) return true;
    if (!size_key(k, "attention.kv_lora_rank", GGUF_REQUIRED, HEAD_DIM_MAX, &l->kv_rank, e) ||
        !count_key(k, "attention.q_lora_rank", WIDTH_MAX, &l->q_rank, e) ||
        !size_key(k, "rope.dimension_count", GGUF_REQUIRED, HEAD_DIM_MAX, &rope_dims, e) ||
        !size_key(k, "attention.key_length_mla", GGUF_REQUIRED, HEAD_DIM_MAX, &key_dim, e) ||
        !size_key(k, "attention.value_length_mla", GGUF_REQUIRED, HEAD_DIM_MAX, &l->value_dim, e))
        return false;
    if (h->kv_heads != 1 || h->key_dim != l->kv_rank + rope_dims || h->value_dim != l->kv_rank || key_dim <= rope_dims)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET,
                    "%s.attention: %zu cached heads of %zu and %zu values do not fit ranks of "
                    "%zu and %zu that turn",
                    k->arch, h->kv_heads, h->key_dim, h->value_dim, l->kv_rank, rope_dims);
    l->nope_dim = key_dim - rope_dims;
    return true;
}

/* The pattern key is a period, or a truth value a layer; only the periodic ones are computed. */
static bool read_window_pattern(struct keys *k, struct hyper *h, err *e)
{
    const gguf_pair *pair = gguf_find(k->dir, key(k, "attention.sliding_window_pattern"));
    h->window_period = h->arch->window_period;
    if (pair == NULL) return true;
    if (pair->type != GGUF_ARRAY) {
        size_t period = h->window_period;
        if (!size_key(k, "attention.sliding_window_pattern", GGUF_OPTIONAL, LAYERS_MAX, &period, e)) return false;
        h->window_period = period;
        return true;
    }
    uint32_t each[LAYERS_MAX];
    if (!gguf_u32_each(k->dir, k->name, GGUF_REQUIRED, h->layers, 0, 1, each, e)) return false;
    size_t period = 1;
    while (period <= h->layers && each[period - 1] != 0) period++;
    if (period > h->layers) period = 1; /* every layer has a window */
    h->window_period = period;
    for (size_t i = 0; i < h->layers; i++) {
        bool want = period == 1 ? each[0] != 0 : (i + 1) % period != 0;
        if ((each[i] != 0) != want)
            return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "%s: layer %zu breaks the period of %zu", k->name, i,
                        period);
    }
    if (period == 1 && each[0] == 0) h->window = 0;
    return true;
}

static bool read_window(struct keys *k, struct hyper *h, err *e)
{
    h->window = 0;
    if (h->arch->window_period == 0) return true;
    uint64_t window = h->arch->window_default;
    if (!gguf_u64(k->dir, key(k, "attention.sliding_window"), GGUF_OPTIONAL, 0, UINT32_MAX, &window, e)) return false;
    h->window = (size_t)window;
    return h->window == 0 || read_window_pattern(k, h, e);
}

/* DeepSeek's YaRN: what mscale takes from cos and sin, the scale of the scores has, squared (its model code,
 * softmax_scale). */
static float latent_stretch(const struct hyper *h)
{
    double mscale = 1.0 + h->rope.log_multiplier * log_f64(h->rope.factor);
    return h->rope.scaling == ROPE_YARN ? (float)(mscale * mscale) : 1.0f;
}

static bool read_scales(struct keys *k, struct hyper *h, err *e)
{
    const float tiny = 0x1p-40f, huge = 0x1p40f;
    bool wide = h->arch->wide_scale_layers != 0 && h->layers == h->arch->wide_scale_layers;
    size_t scaled_dim = wide                    ? h->width / h->heads
                        : h->latent.kv_rank > 0 ? h->latent.nope_dim + h->rope.dims
                                                : h->key_dim;
    h->attention_scale = 1.0f / __builtin_sqrtf((float)scaled_dim);
    if (h->latent.kv_rank > 0) h->attention_scale *= latent_stretch(h);
    h->embedding_scale = h->arch->embed_sqrt_width ? __builtin_sqrtf((float)h->width) : 1.0f;
    h->residual_scale = h->logit_divisor = 1.0f;
    return f32_key(k, "attention.scale", tiny, huge, &h->attention_scale, e) &&
           f32_key(k, "embedding_scale", tiny, huge, &h->embedding_scale, e) &&
           f32_key(k, "residual_scale", tiny, huge, &h->residual_scale, e) &&
           f32_key(k, "logit_scale", tiny, huge, &h->logit_divisor, e) &&
           f32_key(k, "attn_logit_softcapping", 0.0f, huge, &h->attention_soft_cap, e) &&
           f32_key(k, "final_logit_softcapping", 0.0f, huge, &h->logit_soft_cap, e) &&
           f32_key(k, "attention.temperature_scale", 0.0f, huge, &h->q_temperature_scale, e);
}

/* The gating function's numbers are the GGUF specification's; the normalisation key says what softmax does next. */
static bool read_router(struct keys *k, struct expert_config *x, err *e)
{
    uint64_t function = 0;
    bool renormalise = x->router != ROUTER_ALL;
    if (!gguf_u64(k->dir, key(k, "expert_gating_func"), GGUF_OPTIONAL, 0, 3, &function, e) ||
        !gguf_bool(k->dir, key(k, "expert_weights_norm"), GGUF_OPTIONAL, &renormalise, e))
        return false;
    if (function == 2 || (function == 0 && x->router == ROUTER_SIGMOID)) x->router = ROUTER_SIGMOID;
    else x->router = function == 3 || renormalise ? ROUTER_CHOSEN : ROUTER_ALL;
    x->renormalise = renormalise;
    return true;
}

static bool read_groups(struct keys *k, struct expert_config *x, err *e)
{
    x->groups = x->groups_used = 1;
    if (!size_key(k, "expert_group_count", GGUF_OPTIONAL, EXPERTS_MAX, &x->groups, e) ||
        !size_key(k, "expert_group_used_count", GGUF_OPTIONAL, x->groups, &x->groups_used, e))
        return false;
    /* A group's score is the sum of its two best experts, and the chosen groups must hold top_k of them. */
    size_t each = x->count / x->groups;
    if (x->count % x->groups != 0 || (x->groups > 1 && each < 2) || x->groups_used * each < x->top_k)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET,
                    "%s.expert_group_count: %zu groups, %zu used, do not fit %zu experts of "
                    "which %zu are chosen",
                    k->arch, x->groups, x->groups_used, x->count, x->top_k);
    return true;
}

static bool read_experts(struct keys *k, struct hyper *h, err *e)
{
    struct expert_config *x = &h->experts;
    if (!count_key(k, "expert_count", EXPERTS_MAX, &x->count, e) || x->count == 0) return e->code == ERR_NONE;
    x->router = h->arch->router;
    x->scale = 1.0f;
    x->ffn_width = h->ffn_width;
    size_t shared_count = 0, shared_width = 0;
    if (!size_key(k, "expert_used_count", GGUF_REQUIRED, min_size(x->count, EXPERTS_USED_MAX), &x->top_k, e) ||
        !size_key(k, "expert_feed_forward_length", GGUF_OPTIONAL, FFN_WIDTH_MAX, &x->ffn_width, e) ||
        !count_key(k, "expert_shared_count", EXPERTS_MAX, &shared_count, e) ||
        !count_key(k, "expert_shared_feed_forward_length", FFN_WIDTH_MAX, &shared_width, e) ||
        !count_key(k, "leading_dense_block_count", h->layers, &x->dense_layers, e) ||
        !f32_key(k, "expert_weights_scale", 0.0f, 0x1p20f, &x->scale, e))
        return false;
    if (x->scale == 0.0f) x->scale = 1.0f; /* converters write 0 for "none" */
    x->shared_width = shared_width > 0 ? shared_width : shared_count * x->ffn_width;
    if (x->shared_width > FFN_WIDTH_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s.expert_shared_count: %zu experts of %zu are wider than %d",
                    k->arch, shared_count, x->ffn_width, FFN_WIDTH_MAX);
    return read_router(k, x, e) && read_groups(k, x, e);
}

/* The vocabulary's size is what the embedding has rows for. */
static bool read_vocab(const gguf_dir *dir, struct hyper *h, err *e)
{
    const gguf_tensor *t = gguf_tensor_find(dir, "token_embd.weight");
    if (t == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "token_embd.weight: the file has no such tensor");
    if (t->dims[1] < 1 || t->dims[1] > VOCAB_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "token_embd.weight: %zu tokens, allowed 1..%d", t->dims[1], VOCAB_MAX);
    h->vocab = t->dims[1];
    return true;
}

bool hyper_read(const gguf_dir *dir, struct hyper *h, err *e)
{
    view name = { 0 };
    *h = (struct hyper){ .eps = 1e-5f };
    if (!gguf_str(dir, "general.architecture", GGUF_REQUIRED, &name, e)) return false;
    h->arch = arch_named(name);
    if (h->arch == NULL) return unknown_arch(name, e);
    struct keys k = { .dir = dir, .arch = h->arch->name };
    if (!read_shape(&k, h, e) || !read_experts(&k, h, e) || !read_latent(&k, h, e) || !read_rope(&k, h, e) ||
        !read_window(&k, h, e) || !read_scales(&k, h, e) ||
        !gguf_f32(dir, key(&k, "attention.layer_norm_rms_epsilon"), GGUF_REQUIRED, 0.0f, 1.0f, &h->eps, e) ||
        !read_vocab(dir, h, e))
        return false;
    if (h->q_temperature_scale > 0.0f) h->q_temperature_tok = h->rope.original_ctx_tok;
    return true;
}

/* ---- context ---- */

size_t hyper_ctx_most(const struct hyper *h)
{
    const struct rope_config *r = &h->rope;
    if (r->scaling != ROPE_LINEAR && r->scaling != ROPE_YARN) return h->ctx_train_tok;
    double scaled = (double)r->original_ctx_tok * r->factor; /* both checked: far below 2^53 */
    return max_size(h->ctx_train_tok, scaled < (double)CTX_TOK_MAX ? (size_t)scaled : CTX_TOK_MAX);
}

bool hyper_ctx_check(const struct hyper *h, size_t ctx_tok, err *e)
{
    size_t most = hyper_ctx_most(h);
    if (ctx_tok <= most) return true;
    return fail(e, ERR_LIMIT, ERR_NO_OFFSET,
                "context: %zu tokens, the model was trained on %zu (more where its file says rope.scaling)", ctx_tok,
                most);
}
