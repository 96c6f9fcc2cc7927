/* What the files of the network share and nobody else needs: net.c (blocks and order), net_attention.c, net_experts.c.
 */
#ifndef HEARTH_TRAIN_NET_PART_H
#define HEARTH_TRAIN_NET_PART_H

#include "base/checked.h"
#include "base/limits.h"
#include "train/net.h"

enum {
    TILE_TOK = 32,   /* tokens of one tile of a row operation: some microseconds of work */
    TILE_COLS = 64,  /* columns of one tile of a sum over tokens: four cache lines */
    LANE_COLS = 16,  /* the same where a vector is one head: one cache line */
    LOSS_ROWS = 4,   /* rows of logits of one tile */
    QUERY_TOK = 64,  /* query rows of one attention block */
    LOSS_TOK = 512   /* tokens whose logits exist at one time */
};

/* What a stage of the pass works on; one for the whole pass, its layer moves on. */
struct pass {
    struct net *n;
    const struct batch *b;
    size_t tokens;
    size_t layer;
    struct layer_state *s; /* n->layers[layer] */
    struct layer_params p, g; /* the layer's parameters and gradients */
    real *params, *grads;
    real target_share;
    struct router_loss router_loss;
    size_t chunk_at;       /* loss: the first token of the chunk */
};

/* The first and last + 1 of tile `tile`. */
static inline size_t tile_end(size_t tile, size_t each, size_t all)
{
    return min_size((tile + 1) * each, all);
}

/* y = x w^T: x [rows][in], w [out][in], y [rows][out]. */
static inline struct gemm linear(const real *x, const real *w, real *y, size_t rows, size_t in, size_t out, bool add)
{
    return (struct gemm){ GEMM_NT, add, rows, out, in, x, w, y, in, in, out };
}

/* Its backward to x: dx = dy w. */
static inline struct gemm linear_back(const real *dy, const real *w, real *dx, size_t rows, size_t in, size_t out)
{
    return (struct gemm){ GEMM_NN, false, rows, in, out, dy, w, dx, out, in, in };
}

/* Its backward to w: dw = dy^T x, one chain over the rows. */
static inline struct gemm linear_weight_back(const real *dy, const real *x, real *dw, size_t rows, size_t in,
                                             size_t out)
{
    return (struct gemm){ GEMM_TN, false, out, in, rows, dy, x, dw, out, in, in };
}

static inline void run_gemms(struct net *n, const struct gemm *list, size_t count)
{
    gemm_run(n->gemm, n->team, list, count, n->scratch);
}

/* Runs a stage over tiles of tokens (or of whatever `all` counts). */
static inline void run_tiles(struct pass *p, size_t all, size_t each, team_fn *fn)
{
    team_run(p->n->team, ceil_div(all, each), fn, p);
}

/* net_attention.c: s->o and s->lse from s->q, s->k and the values in s->qkv; and back: n->dq, n->dk and the value part
 * of n->dqkv from n->dout. scratch: attention_scratch(...) numbers a thread. */
void attention_forward(struct pass *p);
void attention_backward(struct pass *p);
size_t attention_scratch(size_t row_tok);

/* net_experts.c: the feed-forward of a sparse layer, from s->b; adds to `out` (the next layer's x). Backward: n->dx
 * holds the gradient of the output on entry and keeps it; n->da receives that of s->b. */
void experts_forward(struct pass *p, real *out);
void experts_backward(struct pass *p);
/* The auxiliary losses of the layer's forward. */
double experts_aux(const struct pass *p);

#endif
