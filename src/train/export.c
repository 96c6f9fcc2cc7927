/* See export.h. Tensor names and keys: GGUF specification, "Standardized tensor names" and the keys of qwen3 and
 * qwen3moe. */
#include "train/export.h"

#include "base/file.h"
#include "base/limits.h"
#include "format/gguf_write.h"
#include "kernels/encode.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>

/* ---- metadata ---- */

/* GGUF's general.file_type says which type most tensors have. */
static uint32_t file_type_of(enum weight_type type)
{
    static const struct { enum weight_type type; uint32_t file_type; } rows[] = {
        { WEIGHT_F32, 0 }, { WEIGHT_F16, 1 }, { WEIGHT_Q4_0, 2 }, { WEIGHT_Q8_0, 7 }, { WEIGHT_Q5_0, 8 },
        { WEIGHT_Q4_K, 15 }, { WEIGHT_Q5_K, 17 }, { WEIGHT_Q6_K, 18 }, { WEIGHT_BF16, 32 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].type == type) return rows[i].file_type;
    return 0;
}

static bool set_shape(gguf_plan *plan, const struct shape *s, err *e)
{
    const char *arch = s->experts > 0 ? "qwen3moe" : "qwen3";
    const struct { const char *key; size_t value; bool experts; } numbers[] = {
        { "vocab_size", s->vocab, false }, { "context_length", s->ctx_tok, false },
        { "embedding_length", s->width, false }, { "block_count", s->layers, false },
        { "feed_forward_length", s->ffn_width, false }, { "attention.head_count", s->heads, false },
        { "attention.head_count_kv", s->kv_heads, false }, { "attention.key_length", s->head_dim, false },
        { "attention.value_length", s->head_dim, false }, { "expert_count", s->experts, true },
        { "expert_used_count", s->top_k, true }, { "expert_feed_forward_length", s->ffn_width, true },
    };
    char key[128];
    if (!gguf_set_str(plan, "general.architecture", view_of(arch), e)) return false;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].experts && s->experts == 0) continue;
        snprintf(key, sizeof key, "%s.%s", arch, numbers[i].key);
        if (!gguf_set_u32(plan, key, (uint32_t)numbers[i].value, e)) return false;
    }
    snprintf(key, sizeof key, "%s.rope.freq_base", arch);
    if (!gguf_set_f32(plan, key, (float)s->rope_base, e)) return false;
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch);
    return gguf_set_f32(plan, key, (float)s->norm_eps, e);
}

static bool set_hex(gguf_plan *plan, const char *key, const uint8_t hash[32], err *e)
{
    char hex[65];
    sodium_bin2hex(hex, sizeof hex, hash, 32);
    return gguf_set_str(plan, key, view_of(hex), e);
}

/* Enough to make the same file again: the configuration's text, and hashes of what it names. */
static bool set_provenance(gguf_plan *plan, const struct run *r, enum weight_type type, err *e)
{
    const struct settings *s = &r->settings;
    uint8_t weights[WEIGHT_HASH_BYTES];
    weights_hash(&r->trainer, weights);
    return gguf_set_str(plan, "general.name", s->name, e) && gguf_set_str(plan, "general.author", s->author, e) &&
           gguf_set_str(plan, "general.license", s->licence, e) &&
           gguf_set_u32(plan, "general.file_type", file_type_of(type), e) &&
           gguf_set_u32(plan, "general.quantization_version", 2, e) &&
           gguf_set_str(plan, "hearth.training.config", r->config_text, e) &&
           set_hex(plan, "hearth.training.settings", r->id.settings, e) &&
           set_hex(plan, "hearth.training.data", r->id.shard, e) &&
           set_hex(plan, "hearth.training.held_out", r->held_out.hash, e) &&
           set_hex(plan, "hearth.training.weights", weights, e) &&
           gguf_set_u64(plan, "hearth.training.seed", s->seed, e) &&
           gguf_set_u64(plan, "hearth.training.steps", r->trainer.step, e) &&
           gguf_set_u64(plan, "hearth.training.tokens", r->trainer.step * s->step_tok, e);
}

/* ---- tensors ---- */

/* One tensor of the file: a range of rows of one of ours. Of several matrices (experts) each gives its rows. */
struct piece {
    char name[64];
    uint32_t type;
    size_t dims[3], dim_count;
    const real *from;                 /* first row of the first matrix */
    size_t matrices, rows, cols;
    size_t matrix_stride;             /* numbers from one matrix to the next */
};

struct exporter {
    struct run *r;
    enum weight_type type;
    struct piece *pieces;
    size_t count;
    real *gates;                      /* full gates of all layers */
};

static void add_piece(struct exporter *x, const char *name, size_t layer, bool in_layer, uint32_t type,
                      const real *from, size_t matrices, size_t rows, size_t cols, size_t matrix_stride)
{
    struct piece *p = &x->pieces[x->count++];
    *p = (struct piece){ .type = type, .from = from, .matrices = matrices, .rows = rows, .cols = cols,
                         .matrix_stride = matrix_stride };
    if (in_layer) snprintf(p->name, sizeof p->name, "blk.%zu.%s.weight", layer, name);
    else snprintf(p->name, sizeof p->name, "%s.weight", name);
    p->dims[p->dim_count++] = cols;
    if (rows > 1 || matrices > 1) p->dims[p->dim_count++] = rows;
    if (matrices > 1) p->dims[p->dim_count++] = matrices;
}

static void add_layer(struct exporter *x, size_t layer)
{
    const struct shape *s = &x->r->layout.shape;
    struct layer_params p = layout_layer(&x->r->layout, x->r->trainer.params, layer);
    size_t d = s->width, q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim, f = s->ffn_width, e = s->experts;
    add_piece(x, "attn_norm", layer, true, WEIGHT_F32, p.norm1, 1, 1, d, 0);
    add_piece(x, "attn_q", layer, true, x->type, p.qkv, 1, q, d, 0);
    add_piece(x, "attn_k", layer, true, x->type, p.qkv + q * d, 1, kv, d, 0);
    add_piece(x, "attn_v", layer, true, x->type, p.qkv + (q + kv) * d, 1, kv, d, 0);
    add_piece(x, "attn_q_norm", layer, true, WEIGHT_F32, p.q_norm, 1, 1, s->head_dim, 0);
    add_piece(x, "attn_k_norm", layer, true, WEIGHT_F32, p.k_norm, 1, 1, s->head_dim, 0);
    add_piece(x, "attn_output", layer, true, x->type, p.o, 1, d, q, 0);
    add_piece(x, "ffn_norm", layer, true, WEIGHT_F32, p.norm2, 1, 1, d, 0);
    if (e == 0) {
        add_piece(x, "ffn_gate", layer, true, x->type, p.gate_up, 1, f, d, 0);
        add_piece(x, "ffn_up", layer, true, x->type, p.gate_up + f * d, 1, f, d, 0);
        add_piece(x, "ffn_down", layer, true, x->type, p.down, 1, d, f, 0);
        return;
    }
    add_piece(x, "ffn_gate_inp", layer, true, WEIGHT_F32, x->gates + layer * e * d, 1, e, d, 0);
    add_piece(x, "ffn_gate_exps", layer, true, x->type, p.gate_up, e, f, d, 2 * f * d);
    add_piece(x, "ffn_up_exps", layer, true, x->type, p.gate_up + f * d, e, f, d, 2 * f * d);
    add_piece(x, "ffn_down_exps", layer, true, x->type, p.down, e, d, f, f * d);
}

/* The product as every pass of training computes it: the same kernel, so the same bits. */
static void make_gates(struct exporter *x)
{
    const struct layout *l = &x->r->layout;
    const struct net *n = &x->r->trainer.net;
    size_t e = l->shape.experts, d = l->shape.width, rank = l->shape.gate_rank;
    for (size_t layer = 0; layer < l->shape.layers && e > 0; layer++) {
        struct layer_params p = layout_layer(l, x->r->trainer.params, layer);
        real *out = x->gates + layer * e * d;
        if (rank == 0) memcpy(out, p.gate_out, e * d * sizeof *out);
        struct gemm g = { GEMM_NN, false, e, d, rank, p.gate_out, p.gate_in, out, rank, d, d };
        if (rank > 0) gemm_run(n->gemm, n->team, &g, 1, n->scratch);
    }
}

static bool list_pieces(struct exporter *x, arena *a, err *e)
{
    const struct layout *l = &x->r->layout;
    const struct shape *s = &l->shape;
    x->pieces = ARENA_ARRAY(a, struct piece, 2 + 12 * s->layers, "tensors", e);
    x->gates = arena_take(a, s->layers * s->experts, s->width * sizeof(real), 64, "gates", e);
    if (x->pieces == NULL || x->gates == NULL) return false;
    make_gates(x);
    add_piece(x, "token_embd", 0, false, x->type, layout_tensor(l, x->r->trainer.params, TENSOR_EMBED), 1, s->vocab,
              s->width, 0);
    add_piece(x, "output_norm", 0, false, WEIGHT_F32, layout_tensor(l, x->r->trainer.params, TENSOR_NORM_OUT), 1, 1,
              s->width, 0);
    for (size_t layer = 0; layer < s->layers; layer++) add_layer(x, layer);
    return true;
}

static bool put_piece(const struct piece *p, gguf_out *out, arena *a, err *e)
{
    const struct encode_kind *kind = encode_kind(p->type);
    size_t mark = a->used_bytes, bytes = p->cols / kind->block_values * kind->block_bytes;
    uint8_t *room = ARENA_ARRAY(a, uint8_t, bytes, "row", e);
    bool good = room != NULL;
    for (size_t m = 0; good && m < p->matrices; m++) {
        for (size_t row = 0; good && row < p->rows; row++) {
            size_t bad = encode_row(kind, p->from + m * p->matrix_stride + row * p->cols, NULL, p->cols, room);
            if (bad < p->cols)
                good = fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: row %zu, column %zu is not finite", p->name, row, bad);
            else
                good = gguf_out_put(out, (view){ room, bytes }, e);
        }
    }
    arena_rewind(a, mark);
    return good;
}

static bool plan_pieces(struct exporter *x, gguf_plan *plan, err *e)
{
    for (size_t i = 0; i < x->count; i++) {
        const struct piece *p = &x->pieces[i];
        if (!gguf_plan_tensor(plan, view_of(p->name), p->type, p->dims, p->dim_count, e)) return false;
    }
    return true;
}

bool export_gguf(struct run *r, const char *path, enum weight_type type, err *e)
{
    struct exporter x = { .r = r, .type = type };
    size_t mark = r->arena.used_bytes;
    gguf_plan plan;
    gguf_out out;
    if (encode_kind(type) == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "weight type %d: nothing here writes it", (int)type);
    enum { PAIRS_MAX = 256 };
    bool good = list_pieces(&x, &r->arena, e) && gguf_plan_new(&plan, PAIRS_MAX, x.count, &r->arena, e) &&
                gguf_plan_copy(&plan, &r->vocab.files.dir, e) && set_shape(&plan, &r->layout.shape, e) &&
                set_provenance(&plan, r, type, e) && plan_pieces(&x, &plan, e) && gguf_out_open(&out, path, &plan, e);
    if (!good) return false;
    for (size_t i = 0; good && i < x.count; i++) good = put_piece(&x.pieces[i], &out, &r->arena, e);
    if (good) good = gguf_out_close(&out, e);
    else gguf_out_abort(&out);
    arena_rewind(&r->arena, mark);
    return good;
}
