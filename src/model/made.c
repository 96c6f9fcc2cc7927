/* Made models: see made.h. Codes are random bits and scales are chosen so that weights spread as trained ones do, about
 * 1 / sqrt(inputs); nothing is quantized, so a model of gigabytes is made as fast as the disk takes it. */
#include "model/made.h"

#include "base/checked.h"
#include "base/le.h"
#include "base/prng.h"
#include "format/gguf_write.h"
#include "kernels/half.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct made_shape SHAPES[] = {
    /*               arch     layers width ffn  heads kv  dim  vocab   context rope base eps  tied  window experts */
    { "qwen3-0.6b", "qwen3", 28, 1024, 3072, 16, 8, 128, 151936, 40960, 1e6f, 1e-6f, true, 0, 0, 0, 0 },
    { "qwen3-4b", "qwen3", 36, 2560, 9728, 32, 8, 128, 151936, 40960, 1e6f, 1e-6f, true, 0, 0, 0, 0 },
    { "llama-3.2-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, 131072, 5e5f, 1e-5f, true, 0, 0, 0, 0 },
    { "llama-3.1-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, 131072, 5e5f, 1e-5f, false, 0, 0, 0, 0 },
    { "gemma-3-1b", "gemma3", 26, 1152, 6912, 4, 1, 256, 262144, 32768, 1e6f, 1e-6f, true, 512, 0, 0, 0 },
    { "qwen3-30b-a3b", "qwen3moe", 48, 2048, 6144, 32, 4, 128, 151936, 40960, 1e6f, 1e-6f, false, 0, 128, 8, 768 },
    /* Small ones for tests: grouped heads, a window that does not divide a page, experts. */
    { "tiny-llama", "llama", 3, 256, 512, 8, 2, 32, 1000, 4096, 1e4f, 1e-5f, true, 0, 0, 0, 0 },
    { "tiny-window", "gemma3", 7, 256, 512, 8, 2, 32, 1000, 4096, 1e6f, 1e-6f, true, 300, 0, 0, 0 },
    { "tiny-routed", "qwen3moe", 3, 1024, 512, 8, 2, 64, 1000, 4096, 1e6f, 1e-6f, true, 0, 128, 8, 32 },
    { "tiny-experts", "qwen3moe", 3, 256, 512, 8, 2, 32, 1000, 4096, 1e6f, 1e-6f, true, 0, 12, 3, 96 },
};

static const struct made_mix MIXES[] = {
    { "F32", WEIGHT_F32, WEIGHT_F32, WEIGHT_F32 },      { "F16", WEIGHT_F16, WEIGHT_F16, WEIGHT_F16 },
    { "BF16", WEIGHT_BF16, WEIGHT_BF16, WEIGHT_BF16 },  { "Q8_0", WEIGHT_Q8_0, WEIGHT_Q8_0, WEIGHT_Q8_0 },
    { "Q4_0", WEIGHT_Q4_0, WEIGHT_Q4_0, WEIGHT_Q6_K },  { "Q6_K", WEIGHT_Q6_K, WEIGHT_Q6_K, WEIGHT_Q6_K },
    { "Q4_K_M", WEIGHT_Q4_K, WEIGHT_Q6_K, WEIGHT_Q6_K }, { "Q5_K", WEIGHT_Q5_K, WEIGHT_Q5_K, WEIGHT_Q6_K },
    { "MXFP4", WEIGHT_MXFP4, WEIGHT_MXFP4, WEIGHT_Q8_0 },
};

enum { SHAPE_COUNT = sizeof SHAPES / sizeof *SHAPES, MIX_COUNT = sizeof MIXES / sizeof *MIXES };

/* Letter case is ignored: types are written both ways. */
static bool same_name(view a, const char *b)
{
    if (a.len_bytes != strlen(b)) return false;
    for (size_t i = 0; i < a.len_bytes; i++) {
        uint8_t x = a.ptr[i], y = (uint8_t)b[i];
        if (x >= 'A' && x <= 'Z') x = (uint8_t)(x + 32);
        if (y >= 'A' && y <= 'Z') y = (uint8_t)(y + 32);
        if (x != y) return false;
    }
    return true;
}

const struct made_shape *made_shape_named(view name)
{
    for (size_t i = 0; i < SHAPE_COUNT; i++)
        if (same_name(name, SHAPES[i].name)) return &SHAPES[i];
    return NULL;
}

const struct made_mix *made_mix_named(view name)
{
    for (size_t i = 0; i < MIX_COUNT; i++)
        if (same_name(name, MIXES[i].name)) return &MIXES[i];
    return NULL;
}

/* How a type's blocks are made: where the f16 scale (and minimum) stand, and what the codes (with their sub-scales)
 * weigh, so that scale = spread / rms. The minimum cancels the mean. MXFP4 has one exponent byte instead. */
static const struct fill {
    enum weight_type type;
    int scale_at, minimum_at; /* -1: none */
    float rms, minimum_over_scale;
} FILLS[] = {
    { WEIGHT_Q4_0, 0, -1, 4.6f, 0.0f },    { WEIGHT_Q8_0, 0, -1, 74.0f, 0.0f },
    { WEIGHT_Q6_K, 208, -1, 1380.0f, 0.0f }, { WEIGHT_Q4_K, 0, 2, 250.0f, 7.5f },
    { WEIGHT_Q5_K, 0, 2, 500.0f, 15.5f },
};

static const struct fill *fill_of(enum weight_type type)
{
    for (size_t i = 0; i < sizeof FILLS / sizeof *FILLS; i++)
        if (FILLS[i].type == type) return &FILLS[i];
    return NULL;
}

/* A source of weights: one stream of the generator a tensor, one block of it every 16 bytes. */
struct stream {
    uint64_t seed, tensor, index;
};

static void random_bytes(struct stream *s, uint8_t *out, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 16) {
        uint32_t words[4];
        uint8_t block[16];
        prng_block(s->seed, s->tensor, s->index++, words);
        for (size_t i = 0; i < 4; i++) le_put_u32(block + 4 * i, words[i]);
        memcpy(out + at, block, min_size(16, bytes - at));
    }
}

/* A float in [-1, 1) * spread * sqrt(3): uniform with the asked spread. */
static float random_float(struct stream *s, float spread)
{
    return (float)(prng_unit(s->seed, s->tensor, s->index++) * 2.0 - 1.0) * spread * 1.7320508f;
}

static void make_row(struct stream *s, const struct weight_kind *kind, size_t cols, float spread, uint8_t *out)
{
    const struct fill *fill = fill_of(kind->type);
    size_t row_bytes = cols / kind->block_values * kind->block_bytes;
    if (fill != NULL || kind->type == WEIGHT_MXFP4) random_bytes(s, out, row_bytes);
    for (size_t at = 0; at < row_bytes; at += kind->block_bytes) {
        uint8_t *block = out + at;
        if (fill != NULL) {
            float scale = spread / fill->rms;
            le_put_u16(block + fill->scale_at, f32_to_f16(scale));
            if (fill->minimum_at >= 0)
                le_put_u16(block + fill->minimum_at, f32_to_f16(scale * fill->minimum_over_scale));
        } else if (kind->type == WEIGHT_MXFP4) {
            block[0] = 120; /* 2^-7 */
        } else if (kind->type == WEIGHT_F32) {
            le_put_f32(block, random_float(s, spread));
        } else if (kind->type == WEIGHT_F16) {
            le_put_u16(block, f32_to_f16(random_float(s, spread)));
        } else {
            float x = random_float(s, spread);
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            le_put_u16(block, (uint16_t)(bits >> 16));
        }
    }
}

/* ---- the list of tensors ---- */

enum { TENSORS_MAX = 4096, NAME_BYTES = 64, ROW_BYTES_MAX = 1 << 20 };

struct made {
    const struct made_shape *shape;
    const struct made_mix *mix;
    gguf_plan plan;
    arena arena;
};

/* The type itself, or what its rows can be cut into. */
static enum weight_type fitting(enum weight_type type, size_t cols)
{
    if (cols % weight_kind(type)->block_values == 0) return type;
    return cols % 32 == 0 ? WEIGHT_Q8_0 : WEIGHT_F16;
}

static bool add(struct made *m, enum weight_type type, size_t cols, size_t rows, size_t count, const char *name, err *e)
{
    view copy;
    size_t dims[3] = { cols, rows, count };
    return arena_copy(&m->arena, view_of(name), &copy, "tensor name", e) &&
           gguf_plan_tensor(&m->plan, copy, (uint32_t)type, dims, count > 1 ? 3 : rows > 1 ? 2 : 1, e);
}

static bool add_layer(struct made *m, size_t l, err *e)
{
    const struct made_shape *s = m->shape;
    bool norms = strcmp(s->arch, "llama") != 0, post = strcmp(s->arch, "gemma3") == 0;
    size_t eighth = s->layers / 8; /* the Q4_K_M mix: the first and last eighth, and every third layer between */
    bool favoured = l < eighth || l >= s->layers - eighth || (l - eighth) % 3 == 2;
    enum weight_type most = m->mix->most, better = favoured ? m->mix->better : most;
    bool dense = s->experts == 0;
    const struct {
        const char *name;
        enum weight_type type;
        size_t cols, rows;
        bool there;
        size_t count; /* matrices: experts, or 1 */
    } tensors[] = {
        { "attn_norm.weight", WEIGHT_F32, s->width, 1, true, 1 },
        { "attn_q.weight", most, s->width, s->heads * s->head_dim, true, 1 },
        { "attn_k.weight", most, s->width, s->kv_heads * s->head_dim, true, 1 },
        { "attn_v.weight", better, s->width, s->kv_heads * s->head_dim, true, 1 },
        { "attn_output.weight", most, s->heads * s->head_dim, s->width, true, 1 },
        { "attn_q_norm.weight", WEIGHT_F32, s->head_dim, 1, norms, 1 },
        { "attn_k_norm.weight", WEIGHT_F32, s->head_dim, 1, norms, 1 },
        { "post_attention_norm.weight", WEIGHT_F32, s->width, 1, post, 1 },
        { "ffn_norm.weight", WEIGHT_F32, s->width, 1, true, 1 },
        { "ffn_gate.weight", most, s->width, s->ffn_width, dense, 1 },
        { "ffn_up.weight", most, s->width, s->ffn_width, dense, 1 },
        { "ffn_down.weight", better, s->ffn_width, s->width, dense, 1 },
        { "ffn_gate_inp.weight", WEIGHT_F32, s->width, s->experts, !dense, 1 },
        { "ffn_gate_exps.weight", most, s->width, s->expert_ffn, !dense, s->experts },
        { "ffn_up_exps.weight", most, s->width, s->expert_ffn, !dense, s->experts },
        { "ffn_down_exps.weight", better, s->expert_ffn, s->width, !dense, s->experts },
        { "post_ffw_norm.weight", WEIGHT_F32, s->width, 1, post, 1 },
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "blk.%zu.%s", l, tensors[i].name);
        enum weight_type type = tensors[i].rows == 1 ? WEIGHT_F32 : fitting(tensors[i].type, tensors[i].cols);
        if (tensors[i].there && !add(m, type, tensors[i].cols, tensors[i].rows, tensors[i].count, name, e))
            return false;
    }
    return true;
}

static bool add_tensors(struct made *m, err *e)
{
    const struct made_shape *s = m->shape;
    enum weight_type output = fitting(m->mix->embedding, s->width), most = fitting(m->mix->most, s->width);
    if (!add(m, s->tied ? output : most, s->width, s->vocab, 1, "token_embd.weight", e)) return false;
    for (size_t l = 0; l < s->layers; l++)
        if (!add_layer(m, l, e)) return false;
    return add(m, WEIGHT_F32, s->width, 1, 1, "output_norm.weight", e) &&
           (s->tied || add(m, output, s->width, s->vocab, 1, "output.weight", e));
}

static bool add_keys(struct made *m, err *e)
{
    const struct made_shape *s = m->shape;
    const struct {
        const char *key;
        size_t value;
    } numbers[] = {
        { "vocab_size", s->vocab },
        { "context_length", s->ctx_tok },
        { "embedding_length", s->width },
        { "block_count", s->layers },
        { "feed_forward_length", s->ffn_width },
        { "attention.head_count", s->heads },
        { "attention.head_count_kv", s->kv_heads },
        { "attention.key_length", s->head_dim },
        { "attention.value_length", s->head_dim },
        { "rope.dimension_count", s->head_dim },
        { "attention.sliding_window", s->window },
        { "expert_count", s->experts },
        { "expert_used_count", s->top_k },
        { "expert_feed_forward_length", s->expert_ffn },
    };
    char key[NAME_BYTES];
    if (!gguf_set_str(&m->plan, "general.architecture", view_of(s->arch), e) ||
        !gguf_set_str(&m->plan, "general.name", view_of(s->name), e) ||
        !gguf_set_str(&m->plan, "general.description", view_of("random weights, made for measuring speed"), e) ||
        !gguf_set_str(&m->plan, "tokenizer.ggml.model", view_of("no_vocab"), e))
        return false;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(key, sizeof key, "%s.%s", s->arch, numbers[i].key);
        if (numbers[i].value > 0 && !gguf_set_u32(&m->plan, key, (uint32_t)numbers[i].value, e)) return false;
    }
    snprintf(key, sizeof key, "%s.rope.freq_base", s->arch);
    if (!gguf_set_f32(&m->plan, key, s->rope_base, e)) return false;
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", s->arch);
    return gguf_set_f32(&m->plan, key, s->eps, e);
}

/* Norms are ones with a little noise: as trained ones, they keep what they norm. */
static void make_vector(struct stream *s, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) le_put_f32(out + 4 * i, 1.0f + random_float(s, 0.1f));
}

static bool put_tensor(gguf_out *out, const gguf_tensor *t, uint64_t seed, uint8_t *row, err *e)
{
    const struct weight_kind *kind = weight_kind(t->type);
    struct stream s = { .seed = seed, .tensor = out->tensor };
    size_t row_bytes = t->dims[0] / kind->block_values * kind->block_bytes;
    float spread = 1.0f / __builtin_sqrtf((float)t->dims[0]);
    for (size_t r = 0; r < t->dims[1] * t->dims[2]; r++) {
        if (t->dim_count == 1) make_vector(&s, t->dims[0], row);
        else make_row(&s, kind, t->dims[0], spread, row);
        if (!gguf_out_put(out, (view){ row, row_bytes }, e)) return false;
    }
    return true;
}

static bool write_all(struct made *m, uint64_t seed, const char *path, err *e)
{
    gguf_out out;
    uint8_t *row = arena_take(&m->arena, ROW_BYTES_MAX, 1, 64, "a row of weights", e);
    if (row == NULL || !gguf_plan_new(&m->plan, 32, TENSORS_MAX, &m->arena, e) || !add_keys(m, e) ||
        !add_tensors(m, e) || !gguf_out_open(&out, path, &m->plan, e))
        return false;
    for (size_t t = 0; t < m->plan.tensor_count; t++)
        if (!put_tensor(&out, &m->plan.tensors[t], seed, row, e)) {
            gguf_out_abort(&out);
            return false;
        }
    return gguf_out_close(&out, e);
}

bool made_write(const struct made_shape *shape, const struct made_mix *mix, uint64_t seed, const char *path, err *e)
{
    assert(shape != NULL && mix != NULL && shape->ffn_width * sizeof(float) <= ROW_BYTES_MAX);
    struct made m = { .shape = shape, .mix = mix };
    if (!arena_new(&m.arena, (size_t)1 << 26, e)) return false;
    bool good = write_all(&m, seed, path, e);
    arena_free(&m.arena);
    return good;
}

const char *const *made_shape_names(void)
{
    static const char *const names[] = { "qwen3-0.6b",   "qwen3-4b",    "llama-3.2-1b",
                                         "llama-3.1-8b", "gemma-3-1b",  "qwen3-30b-a3b",
                                         "tiny-llama",   "tiny-window", "tiny-routed",
                                         "tiny-experts", NULL };
    _Static_assert(sizeof names / sizeof *names == SHAPE_COUNT + 1, "a name for every shape");
    return names;
}

const char *const *made_mix_names(void)
{
    static const char *const names[] = {
        "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q6_K", "Q4_K_M", "Q5_K", "MXFP4", NULL
    };
    _Static_assert(sizeof names / sizeof *names == MIX_COUNT + 1, "a name for every mix");
    return names;
}
