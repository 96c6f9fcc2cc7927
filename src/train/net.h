/* The model's forward and backward over one microbatch: `rows` packed rows of `row_tok` tokens. A packed row holds
 * documents one after the other; a token sees only its own document (starts[]), so packing leaks nothing.
 *
 *   x0 = embed[tok]
 *   layer:  a = norm1(x);  qkv = a Wqkv^T;  q, k = rope(norm(heads));  o = attention(q, k, v);   x' = x + o Wo^T
 *           b = norm2(x');  dense:    x'' = x' + swiglu(b Wgu^T) Wd^T
 *                           experts:  x'' = x' + sum over chosen e of gate_e * (swiglu(b Wgu_e^T) Wd_e^T)
 *   loss  = mean over targets of cross_entropy(norm_out(x) embed^T) + router losses
 *
 * All memory is planned by net_make. What the backward needs of the forward is kept: about
 * (6 width + 2 (heads + 2 kv_heads) head_dim + 3 ffn) numbers a token and layer, with top_k times ffn for experts;
 * attention weights are made again from the stored logsumexp. */
#ifndef HEARTH_TRAIN_NET_H
#define HEARTH_TRAIN_NET_H

#include "kernels/gemm.h"
#include "train/ops.h"
#include "train/shape.h"

/* What one layer's forward leaves for its backward; T tokens, R = T * top_k slots. */
struct layer_state {
    real *x;                /* [T][width], the layer's input; the next layer's x is its output */
    real *a, *inv1;         /* [T][width], [T] */
    real *qkv, *q, *k;      /* [T][heads + 2 kv_heads][head_dim], [T][heads][head_dim], [T][kv_heads][head_dim] */
    real *head_inv;         /* [T][heads + kv_heads] */
    real *o, *lse;          /* [T][heads][head_dim], [T][heads] */
    real *mid, *b, *inv2;   /* [T][width] x 2, [T] */
    real *gu, *h;           /* dense [T][2 ffn], [T][ffn]; experts [R][...] */
    /* experts only */
    real *gate_full;        /* [experts][width]: gate_out gate_in */
    real *prob, *router_lse, *gate; /* [T][experts], [T], [T][top_k] */
    int32_t *chosen, *slot; /* [T][top_k]: expert, and the slot that computes it */
    int32_t *from;          /* [R]: a slot's token; slots are sorted by expert, then by token */
    size_t *first;          /* [experts + 1]: each expert's first slot */
    real *load;             /* [experts]: share of all choices */
    real *xs, *y;           /* [R][width]: gathered inputs, outputs */
};

/* One microbatch of input. */
struct batch {
    size_t rows, row_tok;      /* T = rows * row_tok */
    const int32_t *tok;        /* [T] */
    const int32_t *target;     /* [T], negative: no loss here */
    const int32_t *starts;     /* [T]: the index in its packed row of the first token of t's document, <= t's own */
};

struct batch_result {
    double loss;               /* sum over targets, nats; auxiliary losses left out */
    double aux;                /* the router losses as they enter the gradient */
    size_t targets, right;     /* targets counted, and those that had the largest logit */
};

struct net {
    struct layout layout;
    const struct gemm_kernels *gemm;
    const struct ops *ops;
    team *team;
    size_t tokens_max, row_tok_max;
    bool keep_routing;          /* tests: the next forward uses the routing of the one before */
    struct layer_state *layers; /* [layers + 1]; the last has x alone */
    real *rope;                 /* [row_tok_max][head_dim] */
    real *final, *final_inv;    /* [T][width], [T] */
    real *loss;                 /* [T] */
    int32_t *best;              /* [T] */
    real *logits;               /* [LOSS_TOK][vocab] */
    /* gradients of one layer at a time */
    real *dx, *da, *dqkv, *dq, *dk, *dout, *dgu, *dh, *dxs, *dy, *dgate, *drouter, *dgate_full;
    real *scratch;              /* threads * scratch_reals: products and attention blocks */
    size_t scratch_reals;
};

/* Plans memory for microbatches of at most `tokens_max` tokens in rows of at most `row_tok_max`. gemm, ops and team
 * must outlive the net. Errors: ERR_MEMORY, ERR_LIMIT. An arena only reserves addresses, so planning a net to see what
 * it takes costs nothing: `--dry-run` does. */
bool net_make(struct net *n, const struct layout *l, size_t tokens_max, size_t row_tok_max,
              const struct gemm_kernels *gemm, const struct ops *ops, team *t, arena *a, err *e);

/* The loss of a batch; with `grads` (a run, overwritten) also its gradient. Every target weighs `target_share` (1 / the
 * step's targets) and the router losses `aux_share` (1 / the step's microbatches): so gradients of microbatches add up
 * to the step's. */
struct batch_result net_run(struct net *n, const struct batch *b, real *params, real *grads, double target_share,
                            double aux_share);

#endif
