/* Tensor slots: see slots.h. Names are those of the GGUF specification ("Standardized tensor names"). */
#include "model/slots.h"

#include "base/limits.h"

#include <assert.h>
#include <stdio.h>

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
    DIM_KV_A, /* kv_rank and what turns */
    DIM_NOPE,
    DIM_VALUE,
    DIM_LATENT_Q /* all heads' queries, as the file has them */
};

static size_t dim_size(const struct hyper *h, enum dim d)
{
    const size_t sizes[] = { 1,
                             h->width,
                             h->vocab,
                             h->ffn_width,
                             h->heads * h->key_dim,
                             h->kv_heads * h->key_dim,
                             h->kv_heads * h->value_dim,
                             h->heads * (h->latent.kv_rank > 0 ? h->latent.value_dim : h->value_dim),
                             h->key_dim,
                             h->rope.dims / 2,
                             h->heads,
                             h->experts.count,
                             h->experts.ffn_width,
                             h->experts.shared_width,
                             h->latent.q_rank,
                             h->latent.kv_rank,
                             h->key_dim,
                             h->latent.nope_dim,
                             h->latent.value_dim,
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
    IF_PLAIN, /* attention is not latent */
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
    const bool has[] = { true,
                         true,
                         a->norms != NORM_POST,
                         a->norms != NORM_PRE,
                         norms,
                         a->qk_norm == QK_NORM_FULL,
                         !experts,
                         !experts,
                         experts,
                         experts,
                         shared,
                         shared,
                         !latent,
                         latent,
                         latent && !q_rank,
                         latent && q_rank };
    return has[need];
}

struct slot {
    const char *name; /* behind "blk.N."; NULL: the architecture's ffn_norm */
    enum need need;
    enum dim rows, cols;
    enum { TO_MATRIX, TO_ROWS, TO_EXPERTS, TO_HEADS, TO_ROUTE } to;
    size_t offset;      /* in struct layer; of those outside, in struct model */
    const char *fused;  /* the tensor that holds this and others where the architecture says so */
    enum dim before[2]; /* rows of the fused tensor that stand before; DIM_ONE: none */
};

#define MATRIX(field)  TO_MATRIX, offsetof(struct layer, field)
#define ROWS(field)    TO_ROWS, offsetof(struct layer, field)
#define EXPERTS(field) TO_EXPERTS, offsetof(struct layer, field)
#define HEADS(field)   TO_HEADS, offsetof(struct layer, field)
#define ROUTE(field)   TO_ROUTE, offsetof(struct layer, field)

/* A slot's number in an image is its place here: new ones go to the end, and nothing moves while IMAGE_VERSION stays.
 */
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
    /* No tensor of a file: made from ffn_gate_inp where that pays. */
    { "router's second form", MAY_EXPERTS, DIM_EXPERTS, DIM_WIDTH, ROUTE(route), NULL, { 0 } },
};

enum { LAYER_SLOT_COUNT = sizeof LAYER_SLOTS / sizeof *LAYER_SLOTS };
_Static_assert(sizeof LAYER_SLOTS / sizeof *LAYER_SLOTS <= SLOTS_PER_LAYER, "room for every slot of a layer");

/* The same outside the layers. The rope divisors' name depends on the scaling: see outer_name. */
static const struct slot OUTER_SLOTS[SLOTS_OUTSIDE] = {
    { "token_embd.weight", NEED, DIM_VOCAB, DIM_WIDTH, TO_MATRIX, offsetof(model, embedding), NULL, { 0 } },
    { "output.weight", MAY, DIM_VOCAB, DIM_WIDTH, TO_MATRIX, offsetof(model, output), NULL, { 0 } },
    { "output_norm.weight", NEED, DIM_ONE, DIM_WIDTH, TO_ROWS, offsetof(model, output_norm), NULL, { 0 } },
    { "rope_freqs.weight", MAY, DIM_ONE, DIM_PAIRS, TO_ROWS, offsetof(model, rope_factors), NULL, { 0 } },
    { "rope_factors_long.weight", MAY, DIM_ONE, DIM_PAIRS, TO_ROWS, offsetof(model, rope_factors_long), NULL, { 0 } },
};

/* The slot's tensor name in a file. */
static void slot_name(const struct hyper *h, const struct slot *s, uint32_t layer, char out[static NAME_BYTES])
{
    bool fused = s->fused != NULL && h->arch->fused;
    if (layer != IMAGE_OUTSIDE)
        snprintf(out, NAME_BYTES, s->name == NULL ? "blk.%u.%s.weight" : "blk.%u.%s", layer,
                 s->name == NULL ? h->arch->ffn_norm
                 : fused         ? s->fused
                                 : s->name);
    else if (s->offset == offsetof(model, rope_factors) && h->rope.scaling == ROPE_LONG)
        snprintf(out, NAME_BYTES, "rope_factors_short.weight");
    else snprintf(out, NAME_BYTES, "%s", s->name);
}

/* Matrices of the slot: one an expert, one a head, or one. */
static size_t slot_count(const struct hyper *h, const struct slot *s)
{
    return s->to == TO_EXPERTS ? h->experts.count : s->to == TO_HEADS ? h->heads : 1;
}

static enum image_kind slot_kind(const struct slot *s)
{
    /* ORDER of slot.to */
    static const enum image_kind kinds[] = { IMAGE_MATRIX, IMAGE_ROWS, IMAGE_EXPERT, IMAGE_STACK, IMAGE_ROUTE };
    return kinds[s->to];
}

/* Calls `each` for every slot that a model of `h` has a place for, in the order of an image: the same for packing and
 * for binding. Stops where it returns false. */
typedef bool slot_fn(void *arg, const struct slot *s, uint32_t layer, size_t number, bool required, err *e);

static bool each_slot(const struct hyper *h, slot_fn *each, void *arg, err *e)
{
    bool required;
    for (size_t i = 0; i < SLOTS_OUTSIDE; i++)
        if (!each(arg, &OUTER_SLOTS[i], IMAGE_OUTSIDE, i, OUTER_SLOTS[i].need == NEED, e)) return false;
    for (size_t l = 0; l < h->layers; l++)
        for (size_t i = 0; i < LAYER_SLOT_COUNT; i++)
            if (wanted(h, l, LAYER_SLOTS[i].need, &required) &&
                !each(arg, &LAYER_SLOTS[i], (uint32_t)l, i, required, e))
                return false;
    return true;
}

/* ---- from a file ---- */

/* The tensors of the file that a slot has taken: all must be, in the end. */
struct resolver {
    const struct hyper *h;
    const gguf_files *files;
    struct image_tensor_source *out;
    size_t count;
    bool *used; /* one a tensor of the directory */
    size_t router;  /* the source of the layer's ffn_gate_inp */
    arena *scratch; /* for looking at routers */
};

static bool check_shape(const gguf_tensor *t, size_t count, size_t rows, size_t cols, bool exact_rows, err *e)
{
    const struct weight_kind *kind = weight_kind(t->type);
    int name_bytes = (int)t->name.len_bytes;
    if (kind == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "%.*s: weights of type %s are not computed", name_bytes,
                    (const char *)t->name.ptr, gguf_kind(t->type)->name);
    bool shape = t->dims[0] == cols && (exact_rows ? t->dims[1] == rows : t->dims[1] >= rows) && t->dims[2] == count &&
                 t->dims[3] == 1;
    if (!shape)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%.*s: shape %zu x %zu x %zu x %zu, the model needs %zu x %zu x %zu",
                    name_bytes, (const char *)t->name.ptr, t->dims[0], t->dims[1], t->dims[2], t->dims[3], cols, rows,
                    count);
    if (cols % kind->block_values != 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%.*s: rows of %zu values, %s has blocks of %u", name_bytes,
                    (const char *)t->name.ptr, cols, kind->name, kind->block_values);
    return true;
}

/* Rows of the fused tensor that stand before the slot's. */
static size_t rows_before(const struct hyper *h, const struct slot *s)
{
    size_t rows = 0;
    for (size_t i = 0; i < 2; i++)
        if (s->before[i] != DIM_ONE) rows += dim_size(h, s->before[i]);
    return rows;
}

/* Which second form the layer's router gets, if any: the one thing for which weights are read here. */
static bool resolve_route(struct resolver *r, uint32_t layer, size_t number, err *e)
{
    const struct image_tensor_source *rows = &r->out[r->router];
    const struct weight_kind *kind = weight_kind(rows->type);
    const struct expert_config *x = &r->h->experts;
    size_t mark = r->scratch->used_bytes, blocks = rows->rows * (rows->cols / kind->block_values);
    struct image_tensor_source source = { .kind = IMAGE_ROUTE, .slot = (uint32_t)number, .layer = layer,
                                          .type = WEIGHT_F32, .count = 1, .rows = rows->rows, .cols = rows->cols,
                                          .name = rows->name, .router = r->router };
    struct route_use use = { .top_k = x->top_k, .all_scores = x->router == ROUTER_ALL,
                             .groups = x->groups != x->groups_used };
    float *wide = arena_take(r->scratch, rows->rows * rows->cols, sizeof *wide, 64, "router", e);
    if (wide == NULL) return false;
    kind->widen(rows->bytes, blocks, wide);
    if (!route_shape_of(wide, rows->rows, rows->cols, use, &source.route, r->scratch, e)) return false;
    arena_rewind(r->scratch, mark);
    if (source.route.form != ROUTE_NONE) r->out[r->count++] = source;
    return true;
}

/* The file's tensor for a slot, its shape checked, and which of its rows are the slot's. */
static bool resolve_slot(void *arg, const struct slot *s, uint32_t layer, size_t number, bool required, err *e)
{
    struct resolver *r = arg;
    const struct hyper *h = r->h;
    char name[NAME_BYTES];
    if (s->to == TO_ROUTE) return resolve_route(r, layer, number, e);
    slot_name(h, s, layer, name);
    const gguf_tensor *t = gguf_tensor_find(&r->files->dir, name);
    if (t == NULL) return !required || fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: the file has no such tensor", name);
    r->used[t - r->files->dir.tensors] = true;
    bool fused = layer != IMAGE_OUTSIDE && s->fused != NULL && h->arch->fused;
    struct image_tensor_source source = { .kind = slot_kind(s),
                                          .slot = (uint32_t)number,
                                          .layer = layer,
                                          .type = (enum weight_type)t->type,
                                          .count = slot_count(h, s),
                                          .rows = dim_size(h, s->rows),
                                          .cols = dim_size(h, s->cols),
                                          .name = t->name };
    if (fused) source.first_row = rows_before(h, s);
    /* The last slot of a fused tensor must end where it ends. */
    bool last = !fused || s->offset == offsetof(struct layer, v) || s->offset == offsetof(struct layer, up);
    if (!check_shape(t, source.count, source.first_row + source.rows, source.cols, last, e)) return false;
    const struct weight_kind *kind = weight_kind(t->type);
    source.bytes = gguf_tensor_bytes(r->files, t).ptr +
                   source.first_row * (source.cols / kind->block_values) * kind->block_bytes;
    if (layer != IMAGE_OUTSIDE && s->offset == offsetof(struct layer, router)) r->router = r->count;
    r->out[r->count++] = source;
    return true;
}

static bool all_used(const struct resolver *r, err *e)
{
    const gguf_dir *dir = &r->files->dir;
    for (size_t i = 0; i < dir->tensor_count; i++)
        if (!r->used[i])
            return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "%.*s: a tensor that %s models do not have here",
                        (int)dir->tensors[i].name.len_bytes, (const char *)dir->tensors[i].name.ptr, r->h->arch->name);
    return true;
}

bool slots_resolve(const struct hyper *h, const gguf_files *files, struct image_tensor_source *out, size_t *count,
                   arena *a, err *e)
{
    assert(h->layers <= LAYERS_MAX);
    bool *used = ARENA_ARRAY(a, bool, files->dir.tensor_count, "tensor list", e);
    struct resolver r = { .h = h, .files = files, .out = out, .used = used, .scratch = a };
    if (used == NULL) return false;
    bool good = each_slot(h, resolve_slot, &r, e) && all_used(&r, e);
    *count = r.count;
    return good;
}

/* ---- from an image ---- */

struct binder {
    model *m;
    const struct image *i;
    size_t next; /* of the image's tensors, which stand in the order of each_slot */
};

/* Every number was checked against the slot's shape; the pointer is the image's. */
static void bind_matrix(const struct binder *b, const struct image_tensor *t, const struct slot *s, uint8_t *at)
{
    matrix w = { .type = t->type,
                 .rows = t->rows,
                 .cols = t->cols,
                 .tile_bytes = tile_bytes_of(t->type, t->cols),
                 .tiles = image_data(b->i, t) };
    if (s->to == TO_MATRIX) *(matrix *)(void *)at = w;
    else *(struct expert_matrix *)(void *)at = (struct expert_matrix){ .first = w, .bytes = t->stride };
}

/* Both sides stand in one order, so a slot is either the image's next tensor or not there. */
static bool bind_slot(void *arg, const struct slot *s, uint32_t layer, size_t number, bool required, err *e)
{
    struct binder *b = arg;
    const struct hyper *h = &b->m->hyper;
    const struct image_tensor *t = &b->i->tensors[b->next];
    char name[NAME_BYTES];
    slot_name(h, s, layer, name);
    if (b->next == b->i->tensor_count || t->layer != layer || t->slot != number)
        return !required || fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: the image has no such tensor", name);
    b->next++;
    size_t count = slot_count(h, s), rows = dim_size(h, s->rows), cols = dim_size(h, s->cols);
    if (t->kind != slot_kind(s) || t->count != count || t->rows != rows || t->cols != cols)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET,
                    "%s: %zu times %zu x %zu of kind %d, the model needs %zu times %zu x %zu of "
                    "kind %d",
                    name, t->count, t->rows, t->cols, (int)t->kind, count, rows, cols, (int)slot_kind(s));
    uint8_t *at = (layer == IMAGE_OUTSIDE ? (uint8_t *)b->m : (uint8_t *)&b->m->layers[layer]) + s->offset;
    if (s->to == TO_ROUTE) *(struct route *)(void *)at = route_bind(&t->route, image_data(b->i, t));
    else if (s->to == TO_ROWS) *(const float **)(void *)at = (const float *)(const void *)image_data(b->i, t);
    else bind_matrix(b, t, s, at);
    return true;
}

/* Divisors of rope frequencies are divided by, once, when tables are made: they must be positive, so the copy that was
 * looked at is the one that is used. */
static bool own_factors(model *m, const float **factors, const char *name, err *e)
{
    size_t count = m->hyper.rope.dims / 2;
    if (*factors == NULL) return true;
    float *copy = ARENA_ARRAY(&m->arena, float, count, name, e);
    if (copy == NULL) return false;
    memcpy(copy, *factors, count * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        if (!(copy[i] > 0.0f && copy[i] < __builtin_inff()))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: value %zu is %g, must be over 0 and finite", name, i,
                        (double)copy[i]);
    *factors = copy;
    return true;
}

bool slots_bind(model *m, const struct image *i, err *e)
{
    struct binder b = { .m = m, .i = i };
    m->layers = ARENA_ARRAY(&m->arena, struct layer, m->hyper.layers, "layers", e);
    if (m->layers == NULL || !each_slot(&m->hyper, bind_slot, &b, e)) return false;
    if (b.next != i->tensor_count)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "image: slot %u of layer %u, which %s models do not have here",
                    i->tensors[b.next].slot, i->tensors[b.next].layer, m->hyper.arch->name);
    m->tied = m->output.rows == 0;
    if (m->tied) m->output = m->embedding;
    return own_factors(m, &m->rope_factors, "rope factors", e) &&
           own_factors(m, &m->rope_factors_long, "rope_factors_long.weight", e);
}

/* ---- from a bound model ---- */

struct lister {
    const model *m;
    slot_matrix_fn *each;
    void *arg;
};

static bool list_slot(void *arg, const struct slot *s, uint32_t layer, size_t number, bool required, err *e)
{
    const struct lister *l = arg;
    const model *m = l->m;
    char name[NAME_BYTES];
    const uint8_t *base = layer == IMAGE_OUTSIDE ? (const uint8_t *)m : (const uint8_t *)&m->layers[layer];
    struct slot_matrix out = { .count = slot_count(&m->hyper, s) };
    (void)number;
    (void)required;
    if (s->to == TO_MATRIX) out.first = *(const matrix *)(const void *)(base + s->offset);
    else if (s->to == TO_EXPERTS || s->to == TO_HEADS)
        out.first = ((const struct expert_matrix *)(const void *)(base + s->offset))->first;
    bool tied = m->tied && layer == IMAGE_OUTSIDE && s->offset == offsetof(model, output);
    if (out.first.rows == 0 || tied) return true;
    slot_name(&m->hyper, s, layer, name);
    out.name = view_of(name);
    return l->each(l->arg, &out, e);
}

bool slots_each_matrix(const model *m, slot_matrix_fn *each, void *arg, err *e)
{
    struct lister l = { m, each, arg };
    return each_slot(&m->hyper, list_slot, &l, e);
}
