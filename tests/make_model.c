/* Writes a model file of random weights, for tests of shapes that no reference file has and of files that are wrong in
 * one place. The same arguments give the same bytes.
 *
 *   make_model OUT.gguf [NAME=NUMBER...] [type=Q8_0] [arch=gemma2] [drop=TENSOR] [nan=TENSOR] [u32:KEY=N]
 * [str:KEY=TEXT]
 *
 * Numbers and their defaults stand in `shape_default`. drop leaves a tensor out, nan spoils its first scale, u32: and
 * str: set any metadata key, also one that contradicts the tensors. */
#include "base/le.h"
#include "base/prng.h"
#include "format/gguf_write.h"
#include "kernels/half.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 32, ROW_BYTES_MAX = 1 << 20, TENSORS_MAX = 4096, KEYS_MAX = 64 };

struct shape {
    size_t layers, width, heads, kv, head, ffn, vocab, window, context, seed;
    size_t experts, top; /* 0: dense. Experts of width ffn, with arch=qwen3moe */
};
static const struct shape shape_default = { 3, 64, 6, 2, 32, 96, 300, 300, 4096, 1, 0, 2 };

/* Where a block of a type keeps its f16 scales, and how large its codes get; all other bytes are random. */
static const struct filling {
    const char *name;
    size_t scales[2], scale_count;
    float largest; /* of codes times integer sub-scales */
} FILLINGS[] = {
    { "Q8_0", { 0 }, 1, 127 },         { "Q4_0", { 0 }, 1, 8 },           { "Q4_1", { 0, 2 }, 2, 15 },
    { "Q5_0", { 0 }, 1, 16 },          { "Q5_1", { 0, 2 }, 2, 31 },       { "Q2_K", { 80, 82 }, 2, 45 },
    { "Q3_K", { 108 }, 1, 128 },       { "Q4_K", { 0, 2 }, 2, 945 },      { "Q5_K", { 0, 2 }, 2, 1953 },
    { "Q6_K", { 208 }, 1, 4096 },      { "IQ4_NL", { 0 }, 1, 127 },       { "IQ4_XS", { 0 }, 1, 4064 },
};

struct maker {
    struct shape shape;
    const char *arch, *out, *drop, *nan;
    const struct gguf_kind *kind;
    const struct filling *filling; /* NULL: F32, F16, BF16 */
    arena arena;
    gguf_plan plan;
    struct {
        float mean; /* 1 for norms */
        bool spoiled;
    } how[TENSORS_MAX];
    char names[TENSORS_MAX][40];
};

static _Noreturn void stop(const char *why)
{
    fprintf(stderr, "make_model: %s\n", why);
    exit(1);
}

static void want(bool good, const err *e)
{
    if (!good) stop(e->text);
}

/* ---- arguments ---- */

static bool take_number(struct shape *s, const char *name, const char *value)
{
    const struct {
        const char *name;
        size_t *at;
    } rows[] = { { "layers", &s->layers }, { "width", &s->width }, { "heads", &s->heads },   { "kv", &s->kv },
                 { "head", &s->head },     { "ffn", &s->ffn },     { "vocab", &s->vocab },   { "window", &s->window },
                 { "context", &s->context }, { "seed", &s->seed },   { "experts", &s->experts },
                 { "top", &s->top } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0) {
            *rows[i].at = (size_t)strtoull(value, NULL, 10);
            return true;
        }
    return false;
}

static void take_word(struct maker *m, char *word)
{
    char *value = strchr(word, '=');
    if (value == NULL) stop("a word is not NAME=VALUE");
    *value++ = '\0';
    if (strcmp(word, "arch") == 0) m->arch = value;
    else if (strcmp(word, "drop") == 0) m->drop = value;
    else if (strcmp(word, "nan") == 0) m->nan = value;
    else if (strcmp(word, "type") == 0) m->kind = gguf_kind_named(view_of(value));
    else if (!take_number(&m->shape, word, value)) stop("an unknown name");
}

/* ---- metadata ---- */

static void set_vocabulary(struct maker *m, err *e)
{
    size_t count = m->shape.vocab;
    view *texts = ARENA_ARRAY(&m->arena, view, count, "vocabulary", e);
    float *scores = ARENA_ARRAY(&m->arena, float, count, "vocabulary", e);
    int32_t *kinds = ARENA_ARRAY(&m->arena, int32_t, count, "vocabulary", e);
    static const char *const first[] = { "<unk>", "<s>", "</s>" };
    for (size_t i = 0; i < count; i++) {
        char text[32];
        if (i < 3) snprintf(text, sizeof text, "%s", first[i]);
        else if (i < 259) snprintf(text, sizeof text, "<0x%02X>", (unsigned)i - 3);
        else snprintf(text, sizeof text, "w%zu", i);
        want(arena_copy(&m->arena, view_of(text), &texts[i], "vocabulary", e), e);
        kinds[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
        scores[i] = -(float)i;
    }
    want(gguf_set_str(&m->plan, "tokenizer.ggml.model", view_of("llama"), e) &&
             gguf_set_strings(&m->plan, "tokenizer.ggml.tokens", texts, count, e) &&
             gguf_set_f32s(&m->plan, "tokenizer.ggml.scores", scores, count, e) &&
             gguf_set_i32s(&m->plan, "tokenizer.ggml.token_type", kinds, count, e) &&
             gguf_set_u32(&m->plan, "tokenizer.ggml.bos_token_id", 1, e) &&
             gguf_set_u32(&m->plan, "tokenizer.ggml.eos_token_id", 2, e),
         e);
}

static void set_hyper(struct maker *m, err *e)
{
    const struct shape *s = &m->shape;
    const struct {
        const char *name;
        size_t value;
    } rows[] = { { "block_count", s->layers },         { "embedding_length", s->width },
                 { "feed_forward_length", s->ffn },    { "attention.head_count", s->heads },
                 { "attention.head_count_kv", s->kv }, { "attention.key_length", s->head },
                 { "attention.value_length", s->head }, { "attention.sliding_window", s->window },
                 { "context_length", s->context },     { "expert_count", s->experts },
                 { "expert_used_count", s->top },      { "expert_feed_forward_length", s->ffn } };
    char key[96];
    want(gguf_set_str(&m->plan, "general.architecture", view_of(m->arch), e), e);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(key, sizeof key, "%s.%s", m->arch, rows[i].name);
        if (s->experts == 0 && strncmp(rows[i].name, "expert_", 7) == 0) continue;
        want(gguf_set_u32(&m->plan, key, (uint32_t)rows[i].value, e), e);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", m->arch);
    want(gguf_set_f32(&m->plan, key, 1e-6f, e), e);
}

/* "u32:KEY=N" and "str:KEY=TEXT", after everything else, so that they win. */
static void set_override(struct maker *m, char *word, err *e)
{
    char *value = strchr(word, '=');
    if (value == NULL) stop("a word is not KEY=VALUE");
    *value++ = '\0';
    if (strncmp(word, "u32:", 4) == 0) want(gguf_set_u32(&m->plan, word + 4, (uint32_t)strtoul(value, NULL, 10), e), e);
    else want(gguf_set_str(&m->plan, word + 4, view_of(value), e), e);
}

/* ---- tensors ---- */

static void add_stack(struct maker *m, const char *name, size_t count, size_t rows, size_t cols, err *e)
{
    size_t i = m->plan.tensor_count, dims[3] = { cols, rows, count };
    bool vector = rows == 0, odd = m->filling != NULL && cols % m->kind->block_values != 0;
    if (m->drop != NULL && strcmp(name, m->drop) == 0) return;
    if (odd) stop("a row is no whole number of blocks");
    snprintf(m->names[i], sizeof m->names[i], "%s", name);
    m->how[i].mean = vector ? 1.0f : 0.0f;
    m->how[i].spoiled = m->nan != NULL && strcmp(name, m->nan) == 0;
    want(gguf_plan_tensor(&m->plan, view_of(m->names[i]), vector ? 0 : m->kind->type, dims,
                          vector ? 1 : count > 1 ? 3 : 2, e),
         e);
}

static void add_tensor(struct maker *m, const char *name, size_t rows, size_t cols, err *e)
{
    add_stack(m, name, 1, rows, cols, e);
}

static void add_layer(struct maker *m, size_t layer, err *e)
{
    const struct shape *s = &m->shape;
    bool post = strcmp(m->arch, "gemma2") == 0, sparse = s->experts > 0;
    const struct {
        const char *name;
        size_t rows, cols;
        bool wanted;
        size_t count; /* 0: one */
    } rows[] = {
        { "attn_norm", 0, s->width, true, 0 },
        { "attn_q", s->heads * s->head, s->width, true, 0 },
        { "attn_k", s->kv * s->head, s->width, true, 0 },
        { "attn_v", s->kv * s->head, s->width, true, 0 },
        { "attn_output", s->width, s->heads * s->head, true, 0 },
        { "post_attention_norm", 0, s->width, post, 0 },
        { "ffn_norm", 0, s->width, true, 0 },
        { "attn_q_norm", 0, s->head, sparse, 0 },
        { "attn_k_norm", 0, s->head, sparse, 0 },
        { "ffn_gate", s->ffn, s->width, !sparse, 0 },
        { "ffn_up", s->ffn, s->width, !sparse, 0 },
        { "ffn_down", s->width, s->ffn, !sparse, 0 },
        { "ffn_gate_inp", s->experts, s->width, sparse, 0 },
        { "ffn_gate_exps", s->ffn, s->width, sparse, s->experts },
        { "ffn_up_exps", s->ffn, s->width, sparse, s->experts },
        { "ffn_down_exps", s->width, s->ffn, sparse, s->experts },
        { "post_ffw_norm", 0, s->width, post, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[40];
        snprintf(name, sizeof name, "blk.%zu.%s.weight", layer, rows[i].name);
        if (rows[i].wanted) add_stack(m, name, rows[i].count + (rows[i].count == 0), rows[i].rows, rows[i].cols, e);
    }
}

/* ---- weights ---- */

/* In [-1, 1), a function of its place. */
static float random_of(const struct maker *m, size_t tensor, size_t at)
{
    return (float)(2.0 * prng_unit(m->shape.seed, tensor, at) - 1.0);
}

static void fill_floats(const struct maker *m, size_t tensor, size_t row, size_t cols, uint32_t type, float scale,
                        uint8_t *out)
{
    for (size_t i = 0; i < cols; i++) {
        float x = m->how[tensor].mean + scale * random_of(m, tensor, row * cols + i);
        if (m->how[tensor].spoiled && row == 0 && i == 0) x = INFINITY;
        if (type == 0) le_put_f32(out + 4 * i, x);
        else if (type == 1) le_put_u16(out + 2 * i, isinf(x) ? 0x7C00 : f32_to_f16(x));
        else le_put_u16(out + 2 * i, (uint16_t)(bits_of_f32(x) >> 16));
    }
}

static void fill_blocks(const struct maker *m, size_t tensor, size_t row, size_t bytes, float scale, uint8_t *out)
{
    size_t block_bytes = m->kind->block_bytes;
    for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)prng_u32(m->shape.seed, tensor, row * bytes + i);
    for (size_t block = 0; block < bytes / block_bytes; block++)
        for (size_t i = 0; i < m->filling->scale_count; i++) {
            float x = scale / m->filling->largest *
                      (1.5f + 0.5f * random_of(m, tensor + TENSORS_MAX, row * bytes + block));
            uint8_t *place = out + block * block_bytes + m->filling->scales[i];
            le_put_u16(place, f32_to_f16(x));
            if (m->how[tensor].spoiled && row == 0 && block == 0) place[1] = 0x7E; /* a NaN */
        }
}

static void write_tensor(struct maker *m, gguf_out *out, size_t tensor, uint8_t *room, err *e)
{
    const gguf_tensor *t = &m->plan.tensors[tensor];
    size_t cols = t->dims[0], rows = t->dims[1] * t->dims[2];
    const struct gguf_kind *kind = gguf_kind(t->type);
    size_t row_bytes = cols / kind->block_values * kind->block_bytes;
    if (row_bytes > ROW_BYTES_MAX) stop("a row is too long");
    float scale = t->dim_count == 1 ? 0.2f : 1.5f / sqrtf((float)cols);
    for (size_t row = 0; row < rows; row++) {
        if (kind->block_values == 1) fill_floats(m, tensor, row, cols, t->type, scale, room);
        else fill_blocks(m, tensor, row, row_bytes, scale, room);
        want(gguf_out_put(out, (view){ room, row_bytes }, e), e);
    }
}

static const struct filling *filling_of(const struct gguf_kind *kind)
{
    if (kind == NULL) stop("an unknown type");
    if (kind->type <= 1 || strcmp(kind->name, "BF16") == 0) return NULL;
    for (size_t i = 0; i < sizeof FILLINGS / sizeof *FILLINGS; i++)
        if (strcmp(FILLINGS[i].name, kind->name) == 0) return &FILLINGS[i];
    stop("a type without a row in FILLINGS");
}

int main(int argc, char **argv)
{
    static struct maker m;
    static gguf_out out;
    static uint8_t room[ROW_BYTES_MAX];
    err e = { 0 };
    m.shape = shape_default;
    m.arch = "gemma2";
    m.kind = gguf_kind(0);
    if (argc < 2) stop("usage: make_model OUT.gguf NAME=VALUE...");
    for (int i = 2; i < argc; i++)
        if (strchr(argv[i], ':') == NULL) take_word(&m, argv[i]);
    m.filling = filling_of(m.kind);
    want(arena_new(&m.arena, (size_t)1 << 30, &e) && gguf_plan_new(&m.plan, KEYS_MAX, TENSORS_MAX, &m.arena, &e), &e);
    set_hyper(&m, &e);
    if (m.shape.vocab >= 259) set_vocabulary(&m, &e);
    for (int i = 2; i < argc; i++)
        if (strchr(argv[i], ':') != NULL) set_override(&m, argv[i], &e);
    add_tensor(&m, "token_embd.weight", m.shape.vocab, m.shape.width, &e);
    for (size_t layer = 0; layer < m.shape.layers; layer++) add_layer(&m, layer, &e);
    add_tensor(&m, "output_norm.weight", 0, m.shape.width, &e);
    want(gguf_out_open(&out, argv[1], &m.plan, &e), &e);
    for (size_t i = 0; i < m.plan.tensor_count; i++) write_tensor(&m, &out, i, room, &e);
    want(gguf_out_close(&out, &e), &e);
    return 0;
}
