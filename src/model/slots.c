/* Tensor slots: see slots.h. Names are those of the GGUF specification ("Standardized tensor names"). */
#include "model/slots.h"

#include "base/limits.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_BYTES = 96 };

/* A size that a shape can name. ORDER dim: dim_size */
enum dim { DIM_ONE, DIM_WIDTH, DIM_VOCAB, DIM_FFN, DIM_Q, DIM_K, DIM_V, DIM_O, DIM_HEAD, DIM_PAIRS };

static size_t dim_size(const struct hyper *h, enum dim d)
{
    const size_t sizes[] = { 1, h->width, h->vocab, h->ffn_width, h->heads * h->key_dim, h->kv_heads * h->key_dim,
                             h->kv_heads * h->value_dim, h->heads * h->value_dim, h->key_dim, h->rope.dims / 2 };
    return sizes[d];
}

/* When a slot has to be in the file. */
enum need { NEED, MAY, IF_PRE, IF_POST, IF_HEAD_NORM, IF_FULL_NORM };

static bool wanted(const struct arch *a, enum need need, bool *required)
{
    *required = need != MAY;
    switch (need) {
    case NEED:
    case MAY: return true;
    case IF_PRE: return a->norms != NORM_POST;
    case IF_POST: return a->norms != NORM_PRE;
    case IF_HEAD_NORM: return a->qk_norm == QK_NORM_HEAD;
    case IF_FULL_NORM: return a->qk_norm == QK_NORM_FULL;
    }
    return false;
}

struct slot {
    const char *name;  /* behind "blk.N."; NULL: the architecture's ffn_norm */
    enum need need;
    enum dim rows, cols;
    bool vector;
    size_t offset;     /* in struct layer */
    const char *fused; /* the tensor that holds this and others where the architecture says so */
    enum dim before[2]; /* rows of the fused tensor that stand before; DIM_ONE: none */
};

#define MATRIX(field) false, offsetof(struct layer, field)
#define VECTOR(field) true, offsetof(struct layer, field)

static const struct slot LAYER_SLOTS[] = {
    { "attn_norm.weight", IF_PRE, DIM_ONE, DIM_WIDTH, VECTOR(attn_norm), NULL, { 0 } },
    { "attn_q.weight", NEED, DIM_Q, DIM_WIDTH, MATRIX(q), "attn_qkv.weight", { DIM_ONE, DIM_ONE } },
    { "attn_k.weight", NEED, DIM_K, DIM_WIDTH, MATRIX(k), "attn_qkv.weight", { DIM_Q, DIM_ONE } },
    { "attn_v.weight", NEED, DIM_V, DIM_WIDTH, MATRIX(v), "attn_qkv.weight", { DIM_Q, DIM_K } },
    { "attn_q.bias", MAY, DIM_ONE, DIM_Q, VECTOR(q_bias), NULL, { 0 } },
    { "attn_k.bias", MAY, DIM_ONE, DIM_K, VECTOR(k_bias), NULL, { 0 } },
    { "attn_v.bias", MAY, DIM_ONE, DIM_V, VECTOR(v_bias), NULL, { 0 } },
    { "attn_q_norm.weight", IF_HEAD_NORM, DIM_ONE, DIM_HEAD, VECTOR(q_norm), NULL, { 0 } },
    { "attn_k_norm.weight", IF_HEAD_NORM, DIM_ONE, DIM_HEAD, VECTOR(k_norm), NULL, { 0 } },
    { "attn_q_norm.weight", IF_FULL_NORM, DIM_ONE, DIM_Q, VECTOR(q_norm), NULL, { 0 } },
    { "attn_k_norm.weight", IF_FULL_NORM, DIM_ONE, DIM_K, VECTOR(k_norm), NULL, { 0 } },
    { "attn_output.weight", NEED, DIM_WIDTH, DIM_O, MATRIX(o), NULL, { 0 } },
    { "attn_output.bias", MAY, DIM_ONE, DIM_WIDTH, VECTOR(o_bias), NULL, { 0 } },
    { "post_attention_norm.weight", IF_POST, DIM_ONE, DIM_WIDTH, VECTOR(attn_post_norm), NULL, { 0 } },
    { NULL, IF_PRE, DIM_ONE, DIM_WIDTH, VECTOR(ffn_norm), NULL, { 0 } },
    { "ffn_gate.weight", NEED, DIM_FFN, DIM_WIDTH, MATRIX(gate), "ffn_up.weight", { DIM_ONE, DIM_ONE } },
    { "ffn_up.weight", NEED, DIM_FFN, DIM_WIDTH, MATRIX(up), "ffn_up.weight", { DIM_FFN, DIM_ONE } },
    { "ffn_down.weight", NEED, DIM_WIDTH, DIM_FFN, MATRIX(down), NULL, { 0 } },
    { "ffn_gate.bias", MAY, DIM_ONE, DIM_FFN, VECTOR(gate_bias), NULL, { 0 } },
    { "ffn_up.bias", MAY, DIM_ONE, DIM_FFN, VECTOR(up_bias), NULL, { 0 } },
    { "ffn_down.bias", MAY, DIM_ONE, DIM_WIDTH, VECTOR(down_bias), NULL, { 0 } },
    { "post_ffw_norm.weight", IF_POST, DIM_ONE, DIM_WIDTH, VECTOR(ffn_post_norm), NULL, { 0 } },
};

enum { LAYER_SLOT_COUNT = sizeof LAYER_SLOTS / sizeof *LAYER_SLOTS };
_Static_assert(sizeof LAYER_SLOTS / sizeof *LAYER_SLOTS <= SLOTS_PER_LAYER, "room for every slot of a layer");

/* The tensors of the file that a slot has taken: all must be, in the end. */
struct resolver {
    model *m;
    struct slot_source *out;
    size_t count;
    bool *used; /* one a tensor of the directory */
};

static bool check_shape(const gguf_tensor *t, size_t rows, size_t cols, bool exact_rows, err *e)
{
    const struct weight_kind *kind = weight_kind(t->type);
    int name_bytes = (int)t->name.len_bytes;
    if (kind == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "%.*s: weights of type %s are not computed", name_bytes,
                    (const char *)t->name.ptr, gguf_kind(t->type)->name);
    bool shape = t->dims[0] == cols && (exact_rows ? t->dims[1] == rows : t->dims[1] >= rows) && t->dims[2] == 1 &&
                 t->dims[3] == 1;
    if (!shape)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%.*s: shape %zu x %zu x %zu x %zu, the model needs %zu x %zu",
                    name_bytes, (const char *)t->name.ptr, t->dims[0], t->dims[1], t->dims[2], t->dims[3], cols, rows);
    if (cols % kind->block_values != 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%.*s: rows of %zu values, %s has blocks of %u", name_bytes,
                    (const char *)t->name.ptr, cols, kind->name, kind->block_values);
    return true;
}

static const gguf_tensor *find(struct resolver *r, const char *name)
{
    const gguf_tensor *t = gguf_tensor_find(&r->m->files.dir, name);
    if (t != NULL) r->used[t - r->m->files.dir.tensors] = true;
    return t;
}

static void add(struct resolver *r, struct slot_source source)
{
    r->out[r->count++] = source;
}

static bool layer_slot(struct resolver *r, const struct slot *s, size_t l, err *e)
{
    const struct hyper *h = &r->m->hyper;
    bool required, fused = s->fused != NULL && h->arch->fused;
    if (!wanted(h->arch, s->need, &required)) return true;
    char name[NAME_BYTES];
    if (s->name == NULL) snprintf(name, sizeof name, "blk.%zu.%s.weight", l, h->arch->ffn_norm);
    else snprintf(name, sizeof name, "blk.%zu.%s", l, fused ? s->fused : s->name);
    const gguf_tensor *t = find(r, name);
    if (t == NULL)
        return !required || fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: the file has no such tensor", name);
    struct slot_source source = { .tensor = t, .rows = dim_size(h, s->rows), .cols = dim_size(h, s->cols) };
    size_t whole = source.rows;
    if (fused) {
        for (size_t i = 0; i < 2; i++)
            if (s->before[i] != DIM_ONE) source.first_row += dim_size(h, s->before[i]);
        whole = source.first_row + source.rows; /* the last slot of the tensor must end where it ends */
    }
    bool last = !fused || s->offset == offsetof(struct layer, v) || s->offset == offsetof(struct layer, up);
    if (!check_shape(t, whole, source.cols, last, e)) return false;
    uint8_t *at = (uint8_t *)&r->m->layers[l] + s->offset;
    if (s->vector) source.to_vector = (const float **)(void *)at;
    else source.to_matrix = (matrix *)(void *)at;
    add(r, source);
    return true;
}

static bool outer_slots(struct resolver *r, err *e)
{
    model *m = r->m;
    const struct hyper *h = &m->hyper;
    const struct {
        const char *name;
        bool required;
        enum dim rows, cols;
        matrix *to_matrix;
        const float **to_vector;
    } slots[] = {
        { "token_embd.weight", true, DIM_VOCAB, DIM_WIDTH, &m->embedding, NULL },
        { "output.weight", false, DIM_VOCAB, DIM_WIDTH, &m->output, NULL },
        { "output_norm.weight", true, DIM_ONE, DIM_WIDTH, NULL, &m->output_norm },
        { h->rope.scaling == ROPE_LONG ? "rope_factors_short.weight" : "rope_freqs.weight", false, DIM_ONE, DIM_PAIRS,
          NULL, &m->rope_factors },
        { "rope_factors_long.weight", false, DIM_ONE, DIM_PAIRS, NULL, &m->rope_factors_long },
    };
    _Static_assert(sizeof slots / sizeof *slots == SLOTS_OUTSIDE, "room for every slot outside the layers");
    for (size_t i = 0; i < SLOTS_OUTSIDE; i++) {
        const gguf_tensor *t = find(r, slots[i].name);
        if (t == NULL && !slots[i].required) continue;
        if (t == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: the file has no such tensor", slots[i].name);
        struct slot_source s = { .tensor = t, .rows = dim_size(h, slots[i].rows), .cols = dim_size(h, slots[i].cols),
                                 .to_matrix = slots[i].to_matrix, .to_vector = slots[i].to_vector };
        if (!check_shape(t, s.rows, s.cols, true, e)) return false;
        add(r, s);
    }
    m->tied = gguf_tensor_find(&m->files.dir, "output.weight") == NULL;
    return true;
}

static bool all_used(const struct resolver *r, err *e)
{
    const gguf_dir *dir = &r->m->files.dir;
    for (size_t i = 0; i < dir->tensor_count; i++)
        if (!r->used[i])
            return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "%.*s: a tensor that %s models do not have here",
                        (int)dir->tensors[i].name.len_bytes, (const char *)dir->tensors[i].name.ptr,
                        r->m->hyper.arch->name);
    return true;
}

bool slots_resolve(model *m, struct slot_source *out, size_t *count, err *e)
{
    assert(m->layers != NULL && m->hyper.layers <= LAYERS_MAX);
    struct resolver r = { .m = m, .out = out, .used = calloc(m->files.dir.tensor_count + 1, sizeof(bool)) };
    if (r.used == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "model: no memory for its tensor list");
    bool good = outer_slots(&r, e);
    for (size_t l = 0; good && l < m->hyper.layers; l++)
        for (size_t i = 0; good && i < LAYER_SLOT_COUNT; i++) good = layer_slot(&r, &LAYER_SLOTS[i], l, e);
    good = good && all_used(&r, e);
    free(r.used);
    *count = r.count;
    return good;
}
