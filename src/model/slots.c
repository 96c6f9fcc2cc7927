/* Tensor slots: see slots.h. Names are those of the GGUF specification ("Standardized tensor names"). */
#include "model/slots.h"

#include "base/limits.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_BYTES = 96 };

/* A size that a shape can name. ORDER dim: dim_size */
enum dim {
    DIM_ONE,
    DIM_WIDTH,
    DIM_VOCAB,
    DIM_FFN,
    DIM_Q,
    DIM_K,
    DIM_V,
    DIM_O,
    DIM_HEAD,
    DIM_PAIRS,
    DIM_HEADS,
    DIM_EXPERTS,
    DIM_EXPERT_FFN,
    DIM_SHARED_FFN,
    DIM_Q_RANK,
    DIM_KV_RANK,
    DIM_KV_A,    /* kv_rank and what turns */
    DIM_NOPE,
    DIM_VALUE,
    DIM_LATENT_Q /* all heads' queries, as the file has them */
};

static size_t dim_size(const struct hyper *h, enum dim d)
{
    const size_t sizes[] = { 1, h->width, h->vocab, h->ffn_width, h->heads * h->key_dim, h->kv_heads * h->key_dim,
                             h->kv_heads * h->value_dim,
                             h->heads * (h->latent.kv_rank > 0 ? h->latent.value_dim : h->value_dim), h->key_dim,
                             h->rope.dims / 2,
                             h->heads, h->experts.count, h->experts.ffn_width, h->experts.shared_width,
                             h->latent.q_rank, h->latent.kv_rank, h->key_dim, h->latent.nope_dim, h->latent.value_dim,
                             h->heads * (h->latent.nope_dim + h->rope.dims) };
    return sizes[d];
}

/* When a slot has to be in the file: always; perhaps; by a column of the architecture; by the kind of layer. */
enum need {
    NEED,
    MAY,
    IF_PRE,
    IF_POST,
    IF_HEAD_NORM,
    IF_FULL_NORM,
    IF_DENSE,
    MAY_DENSE,
    IF_EXPERTS,
    MAY_EXPERTS,
    IF_SHARED,
    MAY_SHARED,
    IF_PLAIN,      /* attention is not latent */
    IF_LATENT,
    IF_LATENT_Q,   /* latent, queries straight from the hidden state */
    IF_LATENT_Q_AB /* latent, queries through a rank of their own */
};

/* Whether a layer has a place for the slot, and in *required whether it must be filled. */
static bool wanted(const struct hyper *h, size_t layer, enum need need, bool *required)
{
    const struct arch *a = h->arch;
    bool experts = layer_has_experts(h, layer), shared = experts && h->experts.shared_width > 0;
    bool norms = a->qk_norm == QK_NORM_HEAD || a->qk_norm == QK_NORM_IF_THERE;
    *required = need != MAY && need != MAY_DENSE && need != MAY_EXPERTS && need != MAY_SHARED &&
                !(need == IF_HEAD_NORM && a->qk_norm == QK_NORM_IF_THERE);
    bool latent = h->latent.kv_rank > 0, q_rank = h->latent.q_rank > 0;
    const bool has[] = { true,  true,   a->norms != NORM_POST, a->norms != NORM_PRE, norms, a->qk_norm == QK_NORM_FULL,
                         !experts, !experts, experts, experts, shared, shared, !latent, latent,
                         latent && !q_rank, latent && q_rank };
    return has[need];
}

struct slot {
    const char *name;  /* behind "blk.N."; NULL: the architecture's ffn_norm */
    enum need need;
    enum dim rows, cols;
    enum { TO_MATRIX, TO_ROWS, TO_EXPERTS, TO_HEADS } to;
    size_t offset;     /* in struct layer */
    const char *fused; /* the tensor that holds this and others where the architecture says so */
    enum dim before[2]; /* rows of the fused tensor that stand before; DIM_ONE: none */
};

#define MATRIX(field) TO_MATRIX, offsetof(struct layer, field)
#define ROWS(field) TO_ROWS, offsetof(struct layer, field)
#define EXPERTS(field) TO_EXPERTS, offsetof(struct layer, field)
#define HEADS(field) TO_HEADS, offsetof(struct layer, field)

static const struct slot LAYER_SLOTS[] = {
    { "attn_norm.weight", IF_PRE, DIM_ONE, DIM_WIDTH, ROWS(attn_norm), NULL, { 0 } },
    { "attn_q.weight", IF_PLAIN, DIM_Q, DIM_WIDTH, MATRIX(q), "attn_qkv.weight", { DIM_ONE, DIM_ONE } },
    { "attn_k.weight", IF_PLAIN, DIM_K, DIM_WIDTH, MATRIX(k), "attn_qkv.weight", { DIM_Q, DIM_ONE } },
    { "attn_v.weight", IF_PLAIN, DIM_V, DIM_WIDTH, MATRIX(v), "attn_qkv.weight", { DIM_Q, DIM_K } },
    { "attn_q.weight", IF_LATENT_Q, DIM_LATENT_Q, DIM_WIDTH, MATRIX(q), NULL, { 0 } },
    { "attn_q_a.weight", IF_LATENT_Q_AB, DIM_Q_RANK, DIM_WIDTH, MATRIX(q_a), NULL, { 0 } },
    { "attn_q_a_norm.weight", IF_LATENT_Q_AB, DIM_ONE, DIM_Q_RANK, ROWS(q_a_norm), NULL, { 0 } },
    { "attn_q_b.weight", IF_LATENT_Q_AB, DIM_LATENT_Q, DIM_Q_RANK, MATRIX(q_b), NULL, { 0 } },
    { "attn_kv_a_mqa.weight", IF_LATENT, DIM_KV_A, DIM_WIDTH, MATRIX(kv_a), NULL, { 0 } },
    { "attn_kv_a_norm.weight", IF_LATENT, DIM_ONE, DIM_KV_RANK, ROWS(kv_a_norm), NULL, { 0 } },
    { "attn_k_b.weight", IF_LATENT, DIM_KV_RANK, DIM_NOPE, HEADS(k_b), NULL, { 0 } },
    { "attn_v_b.weight", IF_LATENT, DIM_VALUE, DIM_KV_RANK, HEADS(v_b), NULL, { 0 } },
    { "attn_q.bias", MAY, DIM_ONE, DIM_Q, ROWS(q_bias), NULL, { 0 } },
    { "attn_k.bias", MAY, DIM_ONE, DIM_K, ROWS(k_bias), NULL, { 0 } },
    { "attn_v.bias", MAY, DIM_ONE, DIM_V, ROWS(v_bias), NULL, { 0 } },
    { "attn_q_norm.weight", IF_HEAD_NORM, DIM_ONE, DIM_HEAD, ROWS(q_norm), NULL, { 0 } },
    { "attn_k_norm.weight", IF_HEAD_NORM, DIM_ONE, DIM_HEAD, ROWS(k_norm), NULL, { 0 } },
    { "attn_q_norm.weight", IF_FULL_NORM, DIM_ONE, DIM_Q, ROWS(q_norm), NULL, { 0 } },
    { "attn_k_norm.weight", IF_FULL_NORM, DIM_ONE, DIM_K, ROWS(k_norm), NULL, { 0 } },
    { "attn_output.weight", NEED, DIM_WIDTH, DIM_O, MATRIX(o), NULL, { 0 } },
    { "attn_output.bias", MAY, DIM_ONE, DIM_WIDTH, ROWS(o_bias), NULL, { 0 } },
    { "post_attention_norm.weight", IF_POST, DIM_ONE, DIM_WIDTH, ROWS(attn_post_norm), NULL, { 0 } },
    { NULL, IF_PRE, DIM_ONE, DIM_WIDTH, ROWS(ffn_norm), NULL, { 0 } },
    { "ffn_gate.weight", IF_DENSE, DIM_FFN, DIM_WIDTH, MATRIX(gate), "ffn_up.weight", { DIM_ONE, DIM_ONE } },
    { "ffn_up.weight", IF_DENSE, DIM_FFN, DIM_WIDTH, MATRIX(up), "ffn_up.weight", { DIM_FFN, DIM_ONE } },
    { "ffn_down.weight", IF_DENSE, DIM_WIDTH, DIM_FFN, MATRIX(down), NULL, { 0 } },
    { "ffn_gate.bias", MAY_DENSE, DIM_ONE, DIM_FFN, ROWS(gate_bias), NULL, { 0 } },
    { "ffn_up.bias", MAY_DENSE, DIM_ONE, DIM_FFN, ROWS(up_bias), NULL, { 0 } },
    { "ffn_down.bias", MAY_DENSE, DIM_ONE, DIM_WIDTH, ROWS(down_bias), NULL, { 0 } },
    { "attn_sinks.weight", MAY, DIM_ONE, DIM_HEADS, ROWS(sinks), NULL, { 0 } },
    { "ffn_gate_inp.weight", IF_EXPERTS, DIM_EXPERTS, DIM_WIDTH, ROWS(router), NULL, { 0 } },
    { "ffn_gate_inp.bias", MAY_EXPERTS, DIM_ONE, DIM_EXPERTS, ROWS(router_bias), NULL, { 0 } },
    { "exp_probs_b.bias", MAY_EXPERTS, DIM_ONE, DIM_EXPERTS, ROWS(choice_bias), NULL, { 0 } },
    { "ffn_gate_exps.weight", IF_EXPERTS, DIM_EXPERT_FFN, DIM_WIDTH, EXPERTS(gate_exps), NULL, { 0 } },
    { "ffn_up_exps.weight", IF_EXPERTS, DIM_EXPERT_FFN, DIM_WIDTH, EXPERTS(up_exps), NULL, { 0 } },
    { "ffn_down_exps.weight", IF_EXPERTS, DIM_WIDTH, DIM_EXPERT_FFN, EXPERTS(down_exps), NULL, { 0 } },
    { "ffn_gate_exps.bias", MAY_EXPERTS, DIM_EXPERTS, DIM_EXPERT_FFN, ROWS(gate_exps_bias), NULL, { 0 } },
    { "ffn_up_exps.bias", MAY_EXPERTS, DIM_EXPERTS, DIM_EXPERT_FFN, ROWS(up_exps_bias), NULL, { 0 } },
    { "ffn_down_exps.bias", MAY_EXPERTS, DIM_EXPERTS, DIM_WIDTH, ROWS(down_exps_bias), NULL, { 0 } },
    { "ffn_gate_shexp.weight", IF_SHARED, DIM_SHARED_FFN, DIM_WIDTH, MATRIX(shared_gate), NULL, { 0 } },
    { "ffn_up_shexp.weight", IF_SHARED, DIM_SHARED_FFN, DIM_WIDTH, MATRIX(shared_up), NULL, { 0 } },
    { "ffn_down_shexp.weight", IF_SHARED, DIM_WIDTH, DIM_SHARED_FFN, MATRIX(shared_down), NULL, { 0 } },
    { "ffn_gate_inp_shexp.weight", MAY_SHARED, DIM_ONE, DIM_WIDTH, ROWS(shared_scale), NULL, { 0 } },
    { "post_ffw_norm.weight", IF_POST, DIM_ONE, DIM_WIDTH, ROWS(ffn_post_norm), NULL, { 0 } },
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

static bool check_shape(const gguf_tensor *t, size_t count, size_t rows, size_t cols, bool exact_rows, err *e)
{
    const struct weight_kind *kind = weight_kind(t->type);
    int name_bytes = (int)t->name.len_bytes;
    if (kind == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "%.*s: weights of type %s are not computed", name_bytes,
                    (const char *)t->name.ptr, gguf_kind(t->type)->name);
    bool shape = t->dims[0] == cols && (exact_rows ? t->dims[1] == rows : t->dims[1] >= rows) &&
                 t->dims[2] == count && t->dims[3] == 1;
    if (!shape)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%.*s: shape %zu x %zu x %zu x %zu, the model needs %zu x %zu x %zu",
                    name_bytes, (const char *)t->name.ptr, t->dims[0], t->dims[1], t->dims[2], t->dims[3], cols, rows,
                    count);
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
    if (!wanted(h, l, s->need, &required)) return true;
    char name[NAME_BYTES];
    if (s->name == NULL) snprintf(name, sizeof name, "blk.%zu.%s.weight", l, h->arch->ffn_norm);
    else snprintf(name, sizeof name, "blk.%zu.%s", l, fused ? s->fused : s->name);
    const gguf_tensor *t = find(r, name);
    if (t == NULL)
        return !required || fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: the file has no such tensor", name);
    struct slot_source source = { .tensor = t, .rows = dim_size(h, s->rows), .cols = dim_size(h, s->cols),
                                  .count = s->to == TO_EXPERTS ? h->experts.count : s->to == TO_HEADS ? h->heads : 1 };
    size_t whole = source.rows;
    if (fused) {
        for (size_t i = 0; i < 2; i++)
            if (s->before[i] != DIM_ONE) source.first_row += dim_size(h, s->before[i]);
        whole = source.first_row + source.rows; /* the last slot of the tensor must end where it ends */
    }
    bool last = !fused || s->offset == offsetof(struct layer, v) || s->offset == offsetof(struct layer, up);
    if (!check_shape(t, source.count, whole, source.cols, last, e)) return false;
    uint8_t *at = (uint8_t *)&r->m->layers[l] + s->offset;
    if (s->to == TO_ROWS) source.to_rows = (const float **)(void *)at;
    else if (s->to == TO_EXPERTS || s->to == TO_HEADS) source.to_experts = (struct expert_matrix *)(void *)at;
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
        const float **to_rows;
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
                                 .count = 1, .to_matrix = slots[i].to_matrix, .to_rows = slots[i].to_rows };
        if (!check_shape(t, 1, s.rows, s.cols, true, e)) return false;
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
