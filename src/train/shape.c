/* Shapes and the run of parameters: see shape.h. */
#include "train/shape.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/prng.h"
#include "train/ops.h"

#include <assert.h>
#include <stdio.h>

/* How a tensor's size follows from the shape: one row a kind. ORDER tensor_kind */
static const struct kind {
    const char *name;
    bool per_layer, norm, hidden;
    enum { PLAIN, BRANCH_END, GATE_IN, GATE_OUT } init;
} KINDS[TENSOR_KINDS] = {
    { "embed", false, false, false, PLAIN },      { "norm_out", false, true, false, PLAIN },
    { "norm1", true, true, false, PLAIN },        { "qkv", true, false, true, PLAIN },
    { "q_norm", true, true, false, PLAIN },       { "k_norm", true, true, false, PLAIN },
    { "o", true, false, true, BRANCH_END },       { "norm2", true, true, false, PLAIN },
    { "gate_in", true, false, false, GATE_IN },   { "gate_out", true, false, false, GATE_OUT },
    { "gate_up", true, false, true, PLAIN },      { "down", true, false, true, BRANCH_END },
};

enum { RUN_ALIGN = 16 }; /* numbers: one cache line of f32 */

static void tensor_size(const struct shape *s, enum tensor_kind kind, size_t *count, size_t *rows, size_t *cols)
{
    size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim, d = s->width, f = s->ffn_width;
    size_t e = s->experts, rank = s->gate_rank, matrices = e == 0 ? 1 : e;
    const size_t sizes[TENSOR_KINDS][3] = {
        [TENSOR_EMBED] = { 1, s->vocab, d }, [TENSOR_NORM_OUT] = { 1, 1, d }, [TENSOR_NORM1] = { 1, 1, d },
        [TENSOR_QKV] = { 1, q + 2 * kv, d }, [TENSOR_Q_NORM] = { 1, 1, s->head_dim },
        [TENSOR_K_NORM] = { 1, 1, s->head_dim }, [TENSOR_O] = { 1, d, q }, [TENSOR_NORM2] = { 1, 1, d },
        [TENSOR_GATE_IN] = { e > 0 && rank > 0, rank, d }, [TENSOR_GATE_OUT] = { e > 0, e, rank > 0 ? rank : d },
        [TENSOR_GATE_UP] = { matrices, 2 * f, d }, [TENSOR_DOWN] = { matrices, d, f },
    };
    *count = sizes[kind][0];
    *rows = sizes[kind][1];
    *cols = sizes[kind][2];
}

/* 0.02 everywhere (GPT-2's), the two matrices that end a branch smaller by sqrt(2 layers) so that the residual's size
 * does not grow with depth; the factored gate so that its product has 0.02 again. */
static double tensor_std(const struct shape *s, enum tensor_kind kind)
{
    if (KINDS[kind].norm) return 0;
    switch (KINDS[kind].init) {
    case BRANCH_END: return 0.02 / sqrt(2.0 * (double)s->layers);
    case GATE_IN: return 1 / sqrt((double)s->width);
    case GATE_OUT: return s->gate_rank == 0 ? 0.02 : 0.02 * sqrt((double)s->width / (double)s->gate_rank);
    case PLAIN: break;
    }
    return 0.02;
}

static bool check_shape(const struct shape *s, err *e)
{
    const struct { const char *name; size_t value, min, max; } ranges[] = {
        { "vocab", s->vocab, 2, VOCAB_MAX },          { "width", s->width, 1, WIDTH_MAX },
        { "layers", s->layers, 1, LAYERS_MAX },       { "heads", s->heads, 1, HEADS_MAX },
        { "kv_heads", s->kv_heads, 1, s->heads },     { "head_dim", s->head_dim, 2, HEAD_DIM_MAX },
        { "ffn_width", s->ffn_width, 1, FFN_WIDTH_MAX }, { "experts", s->experts, 0, EXPERTS_MAX },
        { "top_k", s->top_k, s->experts > 0, s->experts < TOP_K_MAX ? s->experts : TOP_K_MAX },
        { "gate_rank", s->gate_rank, 0, s->experts > 0 ? s->width : 0 }, { "ctx_tok", s->ctx_tok, 1, CTX_TOK_MAX },
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (ranges[i].value < ranges[i].min || ranges[i].value > ranges[i].max)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "model %s: %zu, allowed %zu..%zu", ranges[i].name, ranges[i].value,
                        ranges[i].min, ranges[i].max);
    if (s->heads % s->kv_heads != 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "model heads: %zu is not a multiple of kv_heads, %zu", s->heads,
                    s->kv_heads);
    if (s->head_dim % 2 != 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "model head_dim: %zu is odd; rope turns pairs", s->head_dim);
    return true;
}

/* The ranges above keep every product of two sizes under 2^50; a third factor (experts, layers) is checked. */
static bool add_tensor(struct layout *l, enum tensor_kind kind, size_t layer, err *e)
{
    struct tensor t = { .kind = kind, .layer = layer, .offset = l->total, .init_std = tensor_std(&l->shape, kind) };
    tensor_size(&l->shape, kind, &t.count, &t.rows, &t.cols);
    if (t.count == 0) return true;
    t.decays = !KINDS[kind].norm;
    t.hidden = KINDS[kind].hidden;
    size_t values;
    if (!mul_size(t.rows * t.cols, t.count, &values) || values > SIZE_MAX / 64 - l->total)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "model: more parameters than there are addresses");
    bool shared = kind == TENSOR_GATE_UP || kind == TENSOR_DOWN;
    l->tensors[l->tensor_count++] = t;
    l->values += values;
    l->active_values += shared && l->shape.experts > 0 ? values / t.count * l->shape.top_k : values;
    l->total = round_up(l->total + values, RUN_ALIGN);
    return true;
}

bool layout_make(const struct shape *s, arena *a, struct layout *out, err *e)
{
    if (!check_shape(s, e)) return false;
    *out = (struct layout){ .shape = *s };
    out->tensors = ARENA_ARRAY(a, struct tensor, s->layers * TENSOR_KINDS + 2, "tensor list", e);
    if (out->tensors == NULL) return false;
    for (int kind = 0; kind < TENSOR_KINDS; kind++)
        if (!KINDS[kind].per_layer && !add_tensor(out, (enum tensor_kind)kind, 0, e)) return false;
    for (size_t layer = 0; layer < s->layers; layer++)
        for (int kind = 0; kind < TENSOR_KINDS; kind++)
            if (KINDS[kind].per_layer && !add_tensor(out, (enum tensor_kind)kind, layer, e)) return false;
    return true;
}

const struct tensor *layout_find(const struct layout *l, enum tensor_kind kind, size_t layer)
{
    for (size_t i = 0; i < l->tensor_count; i++)
        if (l->tensors[i].kind == kind && l->tensors[i].layer == layer) return &l->tensors[i];
    return NULL;
}

static real *in_run(const struct layout *l, real *run, enum tensor_kind kind, size_t layer)
{
    const struct tensor *t = layout_find(l, kind, layer);
    return t == NULL ? NULL : run + t->offset;
}

real *layout_tensor(const struct layout *l, real *run, enum tensor_kind kind)
{
    return in_run(l, run, kind, 0);
}

struct layer_params layout_layer(const struct layout *l, real *run, size_t layer)
{
    assert(layer < l->shape.layers);
    return (struct layer_params){
        .norm1 = in_run(l, run, TENSOR_NORM1, layer),       .qkv = in_run(l, run, TENSOR_QKV, layer),
        .q_norm = in_run(l, run, TENSOR_Q_NORM, layer),     .k_norm = in_run(l, run, TENSOR_K_NORM, layer),
        .o = in_run(l, run, TENSOR_O, layer),               .norm2 = in_run(l, run, TENSOR_NORM2, layer),
        .gate_in = in_run(l, run, TENSOR_GATE_IN, layer),   .gate_out = in_run(l, run, TENSOR_GATE_OUT, layer),
        .gate_up = in_run(l, run, TENSOR_GATE_UP, layer),   .down = in_run(l, run, TENSOR_DOWN, layer),
    };
}

void tensor_name(const struct tensor *t, char *room, size_t room_bytes)
{
    if (KINDS[t->kind].per_layer) snprintf(room, room_bytes, "layer %zu %s", t->layer, KINDS[t->kind].name);
    else snprintf(room, room_bytes, "%s", KINDS[t->kind].name);
}

/* Three Philox blocks are twelve words; their sum, centred, has variance 1 when a word counts 2^-32. */
static double draw_normal(uint64_t seed, uint64_t index)
{
    int64_t sum = 0;
    for (uint64_t i = 0; i < 3; i++) {
        uint32_t words[4];
        prng_block(seed, 0x696e6974 /* "init" */, index * 3 + i, words);
        for (size_t w = 0; w < 4; w++) sum += words[w];
    }
    return (double)(sum - 6 * ((int64_t)1 << 32)) * 0x1p-32;
}

void layout_init(const struct layout *l, real *run, uint64_t seed)
{
    for (size_t i = 0; i < l->total; i++) run[i] = 0;
    for (size_t i = 0; i < l->tensor_count; i++) {
        const struct tensor *t = &l->tensors[i];
        for (size_t j = 0; j < t->count * t->rows * t->cols; j++)
            run[t->offset + j] = t->init_std == 0 ? 1 : (real)(draw_normal(seed, t->offset + j) * t->init_std);
    }
}
