/* Rows of logits: see rows.h. */
#include "cmd/rows.h"

#include "base/checked.h"
#include "base/limits.h"

enum { CHUNK_DEFAULT_TOK = 512, LOGIT_ROWS = 32 /* at once: 20 MB of a vocabulary of 152 thousand */ };

bool rows_new(struct rows *r, const struct opened *o, size_t ctx_tok, size_t chunk_tok, err *e)
{
    const struct hyper *h = &o->model.hyper;
    size_t chunk = o->method < KV_METHODS ? 1 : chunk_tok > 0 ? chunk_tok : CHUNK_DEFAULT_TOK;
    *r = (struct rows){ .o = o, .chunk_tok = min_size(chunk, ctx_tok) };
    struct kv_shape shape = { .type = o->kv, .layers = h->layers, .kv_heads = h->kv_heads, .key_dim = h->key_dim,
                              .value_dim = cached_value_dim(h, o->kv), .step_tok = r->chunk_tok };
    struct graph_settings set = { .chunk_tok = r->chunk_tok, .logit_rows = min_size(LOGIT_ROWS, r->chunk_tok),
                                  .ctx_tok = ctx_tok, .activations_f32 = o->activations_f32 };
    bool good = kv_shape_check(&shape, h->latent.kv_rank > 0, e) &&
                arena_new(&r->arena, ((size_t)1 << 20) + ctx_tok * 16 + r->chunk_tok * sizeof *r->step, e) &&
                kv_pool_new(&r->pool, &shape, ceil_div(ctx_tok, PAGE_TOK), &r->arena, e) &&
                kv_seq_new(&r->seq, &r->pool, ctx_tok, &r->arena, e) &&
                (r->step = ARENA_ARRAY(&r->arena, struct step_token, r->chunk_tok, "step", e)) != NULL &&
                graph_new(&r->graph, &o->model, &o->kernels, o->team, &set, e);
    if (good && o->method < KV_METHODS) good = kv_measure_new(&r->measure, o->method, &r->seq, ctx_tok, e);
    if (!good) rows_free(r);
    return good;
}

void rows_free(struct rows *r)
{
    kv_measure_free(r->measure);
    graph_free(r->graph);
    kv_pool_free(&r->pool);
    arena_free(&r->arena);
    *r = (struct rows){ 0 };
}

void rows_clear(struct rows *r)
{
    kv_seq_rewind(&r->seq, 0);
    if (r->measure != NULL) kv_measure_clear(r->measure);
}

bool rows_step(struct rows *r, const int32_t *ids, size_t at, size_t count, size_t wanted, err *e)
{
    if (!kv_seq_reserve(&r->seq, at + count, e)) return false;
    for (size_t i = 0; i < count; i++) r->step[i] = (struct step_token){ &r->seq, ids[at + i], at + i >= wanted };
    if (!graph_step(r->graph, r->step, count, e)) return false;
    if (r->measure != NULL) kv_measure_stored(r->measure);
    return true;
}

bool rows_compute(struct rows *r, const int32_t *ids, size_t count, size_t wanted, rows_fn *fn, void *arg, err *e)
{
    rows_clear(r);
    for (size_t at = 0; at < count;) {
        size_t step = min_size(r->chunk_tok, count - at), first = max_size(at, wanted);
        if (!rows_step(r, ids, at, step, wanted, e)) return false;
        at += step;
        for (size_t rows; (rows = graph_logit_rows(r->graph)) > 0; first += rows)
            if (!fn(arg, r->graph, first, rows, e) || !graph_more_logits(r->graph, e)) return false;
    }
    return true;
}
