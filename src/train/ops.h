/* train/ makes models: data in, gradients, optimizer, checkpoints, a GGUF file out. It promises that one configuration,
 * one set of shards and one seed give one set of weights, bit for bit, for every number of threads and every CPU tier,
 * and after any number of interruptions. So every sum has one order, said where it is made:
 *
 *   products             kernels/gemm.h: increasing inner index, fused
 *   one vector           16 partial sums by index modulo 16, then the tree of kernels/vector.h
 *   over tokens          in token order inside a microbatch
 *   over microbatches    one binary tree over their indices (step.h)
 *
 * Work is split over outputs and never inside a sum. The room never reads the network's files with libc's locale, never
 * prints, and keeps no state at file scope. Start here (the operations), then net.h (the model), step.h (one optimizer
 * step), run.h (a training run).
 *
 * This file: everything that is not a product of matrices, forward directly above its backward (ops_body.h). A function
 * works on a range of its outputs, rows r0..r1-1 or columns c0..c1-1, so that a team may take ranges; rows are
 * contiguous unless a stride is given. "+=" below means that the function adds to what is there. */
#ifndef HEARTH_TRAIN_OPS_H
#define HEARTH_TRAIN_OPS_H

#include "base/real.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOP_K_MAX = 16 }; /* experts a token may use */

/* The query and key heads of a token: where they lie and how they are turned. */
struct heads {
    size_t heads, kv_heads, head_dim; /* head_dim is even */
    size_t stride;                    /* of a row of qkv: (heads + 2 kv_heads) * head_dim */
    size_t row_tok;                   /* tokens of one packed row: position = token % row_tok */
    real eps;
    const real *rope;                 /* [row_tok][head_dim]: cosines of half the channels, then their sines */
};

struct adamw {
    real rate, beta1, beta2, eps, decay; /* decay is 0 for vectors */
    real correct1, correct2;             /* 1 / (1 - beta^step) */
    real grad_scale;                     /* what clipping multiplies gradients by */
};

/* The auxiliary losses of a router, already divided by what they are a mean over. */
struct router_loss {
    real balance; /* balance weight * experts * microbatch share / tokens */
    real z;       /* z weight * microbatch share / tokens */
};

struct ops {
    const char *tier;

    /* y[r] = x[r] * inv[r] * w, inv[r] = 1 / sqrt(mean(x[r]^2) + eps) */
    void (*norm)(real *y, real *inv, const real *x, const real *w, size_t n, real eps, size_t r0, size_t r1);
    /* dx += ; x, inv, w as in norm */
    void (*norm_back)(real *dx, const real *dy, const real *x, const real *inv, const real *w, size_t n, size_t r0,
                      size_t r1);
    /* dw[c] = sum over rows in order of dy * x * inv */
    void (*norm_weight_back)(real *dw, const real *dy, const real *x, const real *inv, size_t n, size_t rows, size_t c0,
                             size_t c1);

    /* Every query and key head of tokens r0..r1-1: norm, then rope. q [T][heads * head_dim], k [T][kv_heads *
     * head_dim], inv [T][heads + kv_heads]; wq, wk [head_dim]. */
    void (*heads)(real *q, real *k, real *inv, const real *qkv, const real *wq, const real *wk, const struct heads *h,
                  size_t r0, size_t r1);
    /* Turns dq and dk back in place, then writes the query and key part of dqkv. */
    void (*heads_back)(real *dqkv, real *dq, real *dk, const real *qkv, const real *inv, const real *wq, const real *wk,
                       const struct heads *h, size_t r0, size_t r1);
    /* dwq, dwk [head_dim] for channels c0..c1-1, from dq and dk as heads_back left them: over tokens, then heads. */
    void (*heads_weight_back)(real *dwq, real *dwk, const real *dq, const real *dk, const real *qkv, const real *inv,
                              const struct heads *h, size_t tokens, size_t c0, size_t c1);

    /* Row r of scores [rows][n]: p[j] = exp(s[j] * scale - lse) for lo[r] <= j < hi[r], else 0; lse[r * lse_stride]. */
    void (*mask_softmax)(real *s, real *lse, size_t lse_stride, const size_t *lo, const size_t *hi, size_t n,
                         real scale, size_t rows);
    /* ds[j] = p[j] * (dp[j] - delta) * scale in place of dp; p is made again from s and lse, in place of s.
     * delta = sum of dout * out over head_dim. */
    void (*mask_softmax_back)(real *dp, real *s, const real *lse, size_t lse_stride, const size_t *lo, const size_t *hi,
                              const real *dout, const real *out, size_t out_stride, size_t head_dim, size_t n,
                              real scale, size_t rows);

    /* h[r] = silu(g) * u, gu[r] = [g | u], f values each; silu(x) = x / (1 + exp(-x)) */
    void (*swiglu)(real *h, const real *gu, size_t f, size_t r0, size_t r1);
    void (*swiglu_back)(real *dgu, const real *dh, const real *gu, size_t f, size_t r0, size_t r1);

    /* x[t] = table[tok[t]] */
    void (*embed)(real *x, const real *table, const int32_t *tok, size_t n, size_t r0, size_t r1);
    /* dtable[tok[t]][c] += dx[t][c], tokens in order */
    void (*embed_back)(real *dtable, const real *dx, const int32_t *tok, size_t n, size_t tokens, size_t c0, size_t c1);

    /* loss[r] = logsumexp(logits[r]) - logits[r][target[r]], 0 where target[r] < 0; `largest[r]` is the argmax.
     * Where scale is not 0 logits become their gradient: scale * (softmax - onehot). */
    void (*cross_entropy)(real *logits, real *loss, int32_t *largest, const int32_t *target, size_t n, real scale,
                          size_t r0, size_t r1);

    /* The top k of n experts by logit, ties to the lower index, then sorted by index: chosen[r][k]. `keep` leaves
     * chosen as it is (finite differences need one routing). gate[r][k] = softmax over the chosen; prob[r][n] over all;
     * lse[r] = logsumexp. */
    void (*router)(real *prob, real *lse, real *gate, int32_t *chosen, const real *logits, size_t n, size_t k,
                   bool keep, size_t r0, size_t r1);
    /* dlogits from dgate, the balance loss sum_e load[e] * mean prob[e] and the z loss. load[e]: share of choices. */
    void (*router_back)(real *dlogits, const real *dgate, const real *gate, const int32_t *chosen, const real *prob,
                        const real *lse, const real *load, struct router_loss loss, size_t n, size_t k, size_t r0,
                        size_t r1);
    /* out[s] = x[from[s]] for slots r0..r1-1 */
    void (*gather)(real *out, const real *x, const int32_t *from, size_t n, size_t r0, size_t r1);
    /* x[t] += gate[t][j] * y[slot[t][j]], j in order */
    void (*combine)(real *x, const real *y, const real *gate, const int32_t *slot, size_t n, size_t k, size_t r0,
                    size_t r1);
    /* dy[slot] = gate * dx[t]; dgate[t][j] = dx[t] . y[slot] */
    void (*combine_back)(real *dy, real *dgate, const real *dx, const real *y, const real *gate, const int32_t *slot,
                         size_t n, size_t k, size_t r0, size_t r1);
    /* dx[t] += dxs[slot[t][j]], j in order: the backward of gather */
    void (*scatter)(real *dx, const real *dxs, const int32_t *slot, size_t n, size_t k, size_t r0, size_t r1);

    /* x += y over n values */
    void (*add)(real *x, const real *y, size_t n);
    double (*sum_squares)(const real *x, size_t n); /* f64, 16 partial sums and the tree; NaN or infinite if one is */
    /* Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2. */
    void (*adamw)(real *p, real *m, real *v, const real *g, const struct adamw *o, size_t n);
    /* y = a x + b z; y may be x or z */
    void (*blend)(real *y, const real *x, const real *z, real a, real b, size_t n);
    /* m = mu m + scale g;  u = scale g + mu m, with the new m (Nesterov) */
    void (*momentum)(real *u, real *m, const real *g, real mu, real scale, size_t n);
};

extern const struct ops ops_ref;

/* The tier's row, or NULL; NULL as a name: the fastest this CPU has. Names as in kernels/gemm.h. */
const struct ops *ops_tier(const char *tier);

#endif
