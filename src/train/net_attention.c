/* Attention of a training microbatch. A tile is one packed row and one key/value head: it owns that head's dk and dv
 * and its query heads' outputs, so every sum over queries has one order: query heads of the group, then blocks of
 * queries, then queries. Scores exist for one block of QUERY_TOK queries at a time. */
#include "train/net_part.h"

#include <string.h>

/* One query head of one tile. Rows are a stride apart because heads of a token are neighbours. */
struct head {
    size_t row_tok, dim, q_stride, kv_stride, v_stride, lse_stride;
    const real *q, *k, *v;
    real *o, *lse;
    const int32_t *starts;
};

/* One block: queries first..first+count-1 against keys from..from+keys-1. */
struct block {
    size_t first, count, from, keys;
    size_t lo[QUERY_TOK], hi[QUERY_TOK]; /* what each query sees, counted from `from` */
};

size_t attention_scratch(size_t row_tok)
{
    return 2 * QUERY_TOK * row_tok;
}

static struct head head_of(const struct pass *p, size_t row, size_t kv, size_t i)
{
    const struct net *n = p->n;
    const struct shape *s = &n->layout.shape;
    size_t group = s->heads / s->kv_heads, t0 = row * p->b->row_tok, h = kv * group + i, dim = s->head_dim;
    size_t qkv_stride = (s->heads + 2 * s->kv_heads) * dim;
    return (struct head){
        .row_tok = p->b->row_tok, .dim = dim, .q_stride = s->heads * dim, .kv_stride = s->kv_heads * dim,
        .v_stride = qkv_stride, .lse_stride = s->heads,
        .q = p->s->q + (t0 * s->heads + h) * dim, .k = p->s->k + (t0 * s->kv_heads + kv) * dim,
        .v = p->s->qkv + t0 * qkv_stride + (s->heads + s->kv_heads + kv) * dim,
        .o = p->s->o + (t0 * s->heads + h) * dim, .lse = p->s->lse + t0 * s->heads + h, .starts = p->b->starts + t0,
    };
}

/* Documents lie in order in a row, so the block's first query sees the earliest key of all. */
static void block_set(struct block *b, const struct head *h, size_t first)
{
    b->first = first;
    b->count = min_size(QUERY_TOK, h->row_tok - first);
    b->from = (size_t)h->starts[first];
    b->keys = first + b->count - b->from;
    for (size_t r = 0; r < b->count; r++) {
        b->lo[r] = (size_t)h->starts[first + r] - b->from;
        b->hi[r] = first + r + 1 - b->from;
    }
}

/* scores [count][keys] = q k^T */
static struct gemm score_product(const struct head *h, const struct block *b, real *scores)
{
    return (struct gemm){ GEMM_NT, false, b->count, b->keys, h->dim, h->q + b->first * h->q_stride,
                          h->k + b->from * h->kv_stride, scores, h->q_stride, h->kv_stride, b->keys };
}

static void forward_head(const struct net *n, const struct head *h, real *scores, real *scratch)
{
    real scale = 1 / real_sqrt((real)h->dim);
    for (size_t first = 0; first < h->row_tok; first += QUERY_TOK) {
        struct block b;
        block_set(&b, h, first);
        struct gemm qk = score_product(h, &b, scores);
        gemm_one(n->gemm, &qk, scratch);
        n->ops->mask_softmax(scores, h->lse + first * h->lse_stride, h->lse_stride, b.lo, b.hi, b.keys, scale, b.count);
        /* Hidden keys have weight 0: fma(0, v, acc) is acc. */
        struct gemm pv = { GEMM_NN, false, b.count, h->dim, b.keys, scores, h->v + b.from * h->v_stride,
                           h->o + first * h->q_stride, b.keys, h->v_stride, h->q_stride };
        gemm_one(n->gemm, &pv, scratch);
    }
}

static void forward_tile(void *arg, size_t tile, size_t thread)
{
    const struct pass *p = arg;
    const struct shape *s = &p->n->layout.shape;
    real *scratch = p->n->scratch + thread * p->n->scratch_reals, *scores = scratch + p->n->gemm->scratch_reals;
    for (size_t i = 0; i < s->heads / s->kv_heads; i++) {
        struct head h = head_of(p, tile / s->kv_heads, tile % s->kv_heads, i);
        forward_head(p->n, &h, scores, scratch);
    }
}

void attention_forward(struct pass *p)
{
    team_run(p->n->team, p->b->rows * p->n->layout.shape.kv_heads, forward_tile, p);
}

/* With P = softmax(S), O = P V:  dV = P^T dO,  dP = dO V^T,  dS from dP and P (ops.h),  dQ = dS K,  dK = dS^T Q. */
static void backward_head(const struct net *n, const struct head *h, const real *dout, real *dq, real *dk, real *dv,
                          real *scores, real *scratch)
{
    real scale = 1 / real_sqrt((real)h->dim), *ds = scores + QUERY_TOK * h->row_tok;
    for (size_t first = 0; first < h->row_tok; first += QUERY_TOK) {
        struct block b;
        block_set(&b, h, first);
        const real *q = h->q + first * h->q_stride, *k = h->k + b.from * h->kv_stride, *v = h->v + b.from * h->v_stride;
        const real *d = dout + first * h->q_stride;
        struct gemm qk = score_product(h, &b, scores);
        struct gemm dp = { GEMM_NT, false, b.count, b.keys, h->dim, d, v, ds, h->q_stride, h->v_stride, b.keys };
        gemm_one(n->gemm, &qk, scratch);
        gemm_one(n->gemm, &dp, scratch);
        n->ops->mask_softmax_back(ds, scores, h->lse + first * h->lse_stride, h->lse_stride, b.lo, b.hi, d,
                                  h->o + first * h->q_stride, h->q_stride, h->dim, b.keys, scale, b.count);
        struct gemm to_v = { GEMM_TN, true, b.keys, h->dim, b.count, scores, d, dv + b.from * h->v_stride, b.keys,
                             h->q_stride, h->v_stride };
        struct gemm to_q = { GEMM_NN, false, b.count, h->dim, b.keys, ds, k, dq + first * h->q_stride, b.keys,
                             h->kv_stride, h->q_stride };
        struct gemm to_k = { GEMM_TN, true, b.keys, h->dim, b.count, ds, q, dk + b.from * h->kv_stride, b.keys,
                             h->q_stride, h->kv_stride };
        gemm_one(n->gemm, &to_v, scratch);
        gemm_one(n->gemm, &to_q, scratch);
        gemm_one(n->gemm, &to_k, scratch);
    }
}

static void backward_tile(void *arg, size_t tile, size_t thread)
{
    const struct pass *p = arg;
    const struct net *n = p->n;
    const struct shape *s = &n->layout.shape;
    size_t row = tile / s->kv_heads, kv = tile % s->kv_heads, t0 = row * p->b->row_tok, dim = s->head_dim;
    size_t group = s->heads / s->kv_heads, kv_stride = s->kv_heads * dim, v_stride = (s->heads + 2 * s->kv_heads) * dim;
    real *scratch = n->scratch + thread * n->scratch_reals, *scores = scratch + n->gemm->scratch_reals;
    real *dk = n->dk + t0 * kv_stride + kv * dim, *dv = n->dqkv + t0 * v_stride + (s->heads + s->kv_heads + kv) * dim;
    for (size_t t = 0; t < p->b->row_tok; t++) {
        memset(dk + t * kv_stride, 0, dim * sizeof *dk);
        memset(dv + t * v_stride, 0, dim * sizeof *dv);
    }
    for (size_t i = 0; i < group; i++) {
        struct head h = head_of(p, row, kv, i);
        size_t at = (t0 * s->heads + kv * group + i) * dim;
        backward_head(n, &h, n->dout + at, n->dq + at, dk, dv, scores, scratch);
    }
}

void attention_backward(struct pass *p)
{
    team_run(p->n->team, p->b->rows * p->n->layout.shape.kv_heads, backward_tile, p);
}
