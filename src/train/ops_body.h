/* The operations of ops.h, written once. ops.c compiles this file for any CPU; x86/ops_avx2.c and x86/ops_avx512.c
 * compile it again for wider vectors. There is no intrinsic here: every loop over lanes does the same IEEE operation in
 * each lane and -ffp-contract=off forbids the compiler to join two of them, so a wider vector can not change a bit.
 *
 * Loops over a vector come as a body of LANES values (a constant count, which the compiler turns into vector
 * instructions) and the same body for what is left over. */
#ifndef HEARTH_TRAIN_OPS_BODY_H
#define HEARTH_TRAIN_OPS_BODY_H

#include "train/ops.h"
#include "train/ops_math.h"

#include <assert.h>
#include <string.h>

enum { LANES = 16 };

#define INLINE static inline __attribute__((always_inline))

INLINE real tree(const real s[LANES])
{
    real a[8], b[4];
    for (size_t l = 0; l < 8; l++) a[l] = s[l] + s[l + 8];
    for (size_t l = 0; l < 4; l++) b[l] = a[l] + a[l + 4];
    return (b[0] + b[2]) + (b[1] + b[3]);
}

INLINE void dot_lanes(real s[LANES], const real *x, const real *y, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) s[l] += x[l] * y[l];
}

static real dot(const real *x, const real *y, size_t n)
{
    real s[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) dot_lanes(s, x + i, y + i, LANES);
    dot_lanes(s, x + i, y + i, n - i);
    return tree(s);
}

INLINE void add_lanes(real *restrict x, const real *restrict y, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) x[l] += y[l];
}

static void add(real *x, const real *y, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) add_lanes(x + i, y + i, LANES);
    add_lanes(x + i, y + i, n - i);
}

INLINE void add_scaled_lanes(real *restrict x, const real *restrict y, real f, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) x[l] += f * y[l];
}

static void add_scaled(real *x, const real *y, real f, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) add_scaled_lanes(x + i, y + i, f, LANES);
    add_scaled_lanes(x + i, y + i, f, n - i);
}

static void scale_to(real *restrict out, const real *restrict x, real f, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) out[i + l] = x[i + l] * f;
    for (; i < n; i++) out[i] = x[i] * f;
}

static void scale(real *x, real f, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) x[i + l] *= f;
    for (; i < n; i++) x[i] *= f;
}

/* ---- RMS norm (Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019) ---- */

INLINE void norm_lanes(real *restrict y, const real *restrict x, const real *restrict w, real inv, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) y[l] = (x[l] * inv) * w[l];
}

/* x, y [n], w [n]: one row; returns inv. */
INLINE real norm_row(real *y, const real *x, const real *w, size_t n, real eps)
{
    real inv = 1 / real_sqrt(dot(x, x, n) / (real)n + eps);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) norm_lanes(y + i, x + i, w + i, inv, LANES);
    norm_lanes(y + i, x + i, w + i, inv, n - i);
    return inv;
}

static void norm(real *y, real *inv, const real *x, const real *w, size_t n, real eps, size_t r0, size_t r1)
{
    for (size_t r = r0; r < r1; r++) inv[r] = norm_row(y + r * n, x + r * n, w, n, eps);
}

INLINE void dot3_lanes(real s[LANES], const real *x, const real *y, const real *z, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) s[l] += (x[l] * y[l]) * z[l];
}

INLINE void norm_back_lanes(real *restrict dx, const real *restrict dy, const real *restrict x, const real *restrict w,
                            real inv, real pull, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) dx[l] += (dy[l] * w[l]) * inv - x[l] * pull;
}

/* y_i = x_i inv w_i with inv = (mean(x^2) + eps)^(-1/2), so d inv / d x_j = -inv^3 x_j / n and
 * dx_j = dy_j w_j inv - x_j (inv^3 / n) sum_i dy_i w_i x_i. Adds to dx. */
INLINE void norm_row_back(real *dx, const real *dy, const real *x, const real *w, real inv, size_t n)
{
    real s[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) dot3_lanes(s, dy + i, w + i, x + i, LANES);
    dot3_lanes(s, dy + i, w + i, x + i, n - i);
    real pull = ((inv * inv) * inv) * (tree(s) / (real)n);
    for (i = 0; i + LANES <= n; i += LANES) norm_back_lanes(dx + i, dy + i, x + i, w + i, inv, pull, LANES);
    norm_back_lanes(dx + i, dy + i, x + i, w + i, inv, pull, n - i);
}

static void norm_back(real *dx, const real *dy, const real *x, const real *inv, const real *w, size_t n, size_t r0,
                      size_t r1)
{
    for (size_t r = r0; r < r1; r++) norm_row_back(dx + r * n, dy + r * n, x + r * n, w, inv[r], n);
}

INLINE void norm_weight_lanes(real *restrict dw, const real *restrict dy, const real *restrict x, real inv,
                              size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) dw[l] += dy[l] * (x[l] * inv);
}

static void norm_weight_back(real *dw, const real *dy, const real *x, const real *inv, size_t n, size_t rows, size_t c0,
                             size_t c1)
{
    for (size_t c = c0; c < c1; c++) dw[c] = 0;
    for (size_t r = 0; r < rows; r++) {
        size_t c = c0;
        for (; c + LANES <= c1; c += LANES) norm_weight_lanes(dw + c, dy + r * n + c, x + r * n + c, inv[r], LANES);
        norm_weight_lanes(dw + c, dy + r * n + c, x + r * n + c, inv[r], c1 - c);
    }
}

/* ---- query and key heads: norm of each head, then rope (Su et al., arXiv 2104.09864) on channel halves ---- */

/* (x_i, x_{i + half}) turned by the angle of channel i; `sign` -1 turns back, which is the backward: a rotation's
 * transpose is its inverse. In place. */
INLINE void rope_row(real *x, const real *table, size_t half, real sign)
{
    for (size_t i = 0; i < half; i++) {
        real c = table[i], s = sign * table[half + i], a = x[i], b = x[i + half];
        x[i] = a * c - b * s;
        x[i + half] = a * s + b * c;
    }
}

static void heads_forward(real *q, real *k, real *inv, const real *qkv, const real *wq, const real *wk,
                          const struct heads *h, size_t r0, size_t r1)
{
    size_t dim = h->head_dim, all = h->heads + h->kv_heads;
    for (size_t t = r0; t < r1; t++) {
        const real *x = qkv + t * h->stride, *table = h->rope + t % h->row_tok * dim;
        for (size_t i = 0; i < all; i++) {
            bool is_q = i < h->heads;
            real *out = is_q ? q + (t * h->heads + i) * dim : k + (t * h->kv_heads + (i - h->heads)) * dim;
            inv[t * all + i] = norm_row(out, x + i * dim, is_q ? wq : wk, dim, h->eps);
            rope_row(out, table, dim / 2, 1);
        }
    }
}

static void heads_back(real *dqkv, real *dq, real *dk, const real *qkv, const real *inv, const real *wq, const real *wk,
                       const struct heads *h, size_t r0, size_t r1)
{
    size_t dim = h->head_dim, all = h->heads + h->kv_heads;
    for (size_t t = r0; t < r1; t++) {
        const real *x = qkv + t * h->stride, *table = h->rope + t % h->row_tok * dim;
        real *dx = dqkv + t * h->stride;
        memset(dx, 0, all * dim * sizeof *dx);
        for (size_t i = 0; i < all; i++) {
            bool is_q = i < h->heads;
            real *dout = is_q ? dq + (t * h->heads + i) * dim : dk + (t * h->kv_heads + (i - h->heads)) * dim;
            rope_row(dout, table, dim / 2, -1);
            norm_row_back(dx + i * dim, dout, x + i * dim, is_q ? wq : wk, inv[t * all + i], dim);
        }
    }
}

static void heads_weight_back(real *dwq, real *dwk, const real *dq, const real *dk, const real *qkv, const real *inv,
                              const struct heads *h, size_t tokens, size_t c0, size_t c1)
{
    size_t dim = h->head_dim, all = h->heads + h->kv_heads;
    for (size_t c = c0; c < c1; c++) dwq[c] = dwk[c] = 0;
    for (size_t t = 0; t < tokens; t++) {
        for (size_t i = 0; i < all; i++) {
            bool is_q = i < h->heads;
            const real *dout = is_q ? dq + (t * h->heads + i) * dim : dk + (t * h->kv_heads + (i - h->heads)) * dim;
            norm_weight_lanes((is_q ? dwq : dwk) + c0, dout + c0, qkv + t * h->stride + i * dim + c0, inv[t * all + i],
                              c1 - c0);
        }
    }
}

/* ---- softmax of attention scores; row r may see columns lo[r]..hi[r]-1 ---- */

INLINE void max_lanes(real m[LANES], const real *x, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) m[l] = x[l] > m[l] ? x[l] : m[l];
}

/* The largest of n >= 1 values. A maximum has no rounding, so its order is free. */
static real largest(const real *x, size_t n)
{
    real m[LANES];
    for (size_t l = 0; l < LANES; l++) m[l] = x[0];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) max_lanes(m, x + i, LANES);
    max_lanes(m, x + i, n - i);
    real best = m[0];
    for (size_t l = 1; l < LANES; l++) best = m[l] > best ? m[l] : best;
    return best;
}

INLINE void exp_lanes(real *x, real factor, real shift, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) x[l] = ops_exp(x[l] * factor - shift);
}

/* x = exp(x * factor - shift) */
static void exp_row(real *x, size_t n, real factor, real shift)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) exp_lanes(x + i, factor, shift, LANES);
    exp_lanes(x + i, factor, shift, n - i);
}

INLINE void sum_lanes(real s[LANES], const real *x, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) s[l] += x[l];
}

static real sum(const real *x, size_t n)
{
    real s[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) sum_lanes(s, x + i, LANES);
    sum_lanes(s, x + i, n - i);
    return tree(s);
}

/* Partial sums go by index from lo, so where a row's window starts does not depend on how rows were packed. */
static void mask_softmax(real *s, real *lse, size_t lse_stride, const size_t *lo, const size_t *hi, size_t n,
                         real temper, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        real *row = s + r * n, *seen = row + lo[r];
        size_t count = hi[r] - lo[r];
        assert(lo[r] < hi[r] && hi[r] <= n);
        real top = largest(seen, count) * temper;
        exp_row(seen, count, temper, top);
        real total = sum(seen, count);
        scale(seen, 1 / total, count);
        lse[r * lse_stride] = top + ops_log(total);
        memset(row, 0, lo[r] * sizeof *row);
        memset(row + hi[r], 0, (n - hi[r]) * sizeof *row);
    }
}

INLINE void softmax_back_lanes(real *restrict dp, const real *restrict p, real delta, real temper, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) dp[l] = (p[l] * (dp[l] - delta)) * temper;
}

/* p = softmax(s temper): dp_j/ds_i = temper p_j (1[i = j] - p_i), so ds_i = temper p_i (dp_i - sum_j p_j dp_j); and
 * sum_j p_j dp_j = sum_j p_j (dout . v_j) = dout . out, which needs one head's channels only (Dao et al., arXiv
 * 2205.14135, appendix B). */
static void mask_softmax_back(real *dp, real *s, const real *lse, size_t lse_stride, const size_t *lo, const size_t *hi,
                              const real *dout, const real *out, size_t out_stride, size_t head_dim, size_t n,
                              real temper, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        real *p = s + r * n, *d = dp + r * n, delta = dot(dout + r * out_stride, out + r * out_stride, head_dim);
        exp_row(p + lo[r], hi[r] - lo[r], temper, lse[r * lse_stride]);
        memset(p, 0, lo[r] * sizeof *p);
        memset(p + hi[r], 0, (n - hi[r]) * sizeof *p);
        size_t i = 0;
        for (; i + LANES <= n; i += LANES) softmax_back_lanes(d + i, p + i, delta, temper, LANES);
        softmax_back_lanes(d + i, p + i, delta, temper, n - i);
    }
}

/* ---- SwiGLU (Shazeer, arXiv 2002.05202) ---- */

INLINE void swiglu_lanes(real *restrict h, const real *restrict g, const real *restrict u, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) h[l] = (g[l] / (1 + ops_exp(-g[l]))) * u[l];
}

static void swiglu(real *h, const real *gu, size_t f, size_t r0, size_t r1)
{
    for (size_t r = r0; r < r1; r++) {
        const real *g = gu + 2 * r * f, *u = g + f;
        size_t i = 0;
        for (; i + LANES <= f; i += LANES) swiglu_lanes(h + r * f + i, g + i, u + i, LANES);
        swiglu_lanes(h + r * f + i, g + i, u + i, f - i);
    }
}

/* With s = 1 / (1 + e^-g): silu = g s, silu' = s + g s (1 - s); dg = dh u silu', du = dh silu. */
INLINE void swiglu_back_lanes(real *restrict dg, real *restrict du, const real *restrict dh, const real *restrict g,
                              const real *restrict u, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) {
        real s = 1 / (1 + ops_exp(-g[l])), silu = g[l] * s;
        dg[l] = (dh[l] * u[l]) * (s + silu * (1 - s));
        du[l] = dh[l] * silu;
    }
}

static void swiglu_back(real *dgu, const real *dh, const real *gu, size_t f, size_t r0, size_t r1)
{
    for (size_t r = r0; r < r1; r++) {
        const real *g = gu + 2 * r * f, *u = g + f, *d = dh + r * f;
        real *dg = dgu + 2 * r * f, *du = dg + f;
        size_t i = 0;
        for (; i + LANES <= f; i += LANES) swiglu_back_lanes(dg + i, du + i, d + i, g + i, u + i, LANES);
        swiglu_back_lanes(dg + i, du + i, d + i, g + i, u + i, f - i);
    }
}

/* ---- token table ---- */

static void embed(real *x, const real *table, const int32_t *tok, size_t n, size_t r0, size_t r1)
{
    for (size_t r = r0; r < r1; r++) memcpy(x + r * n, table + (size_t)tok[r] * n, n * sizeof *x);
}

/* Columns are split over threads because rows collide: a token may stand anywhere in the batch. */
static void embed_back(real *dtable, const real *dx, const int32_t *tok, size_t n, size_t tokens, size_t c0, size_t c1)
{
    for (size_t t = 0; t < tokens; t++) add(dtable + (size_t)tok[t] * n + c0, dx + t * n + c0, c1 - c0);
}

/* ---- loss ---- */

/* loss = log sum_j e^(x_j) - x_target, so dx_j = softmax_j - 1[j = target]. Logits live for one chunk of tokens only,
 * and turn into their gradient in place. */
static void cross_entropy(real *logits, real *loss, int32_t *best, const int32_t *target, size_t n, real weight,
                          size_t r0, size_t r1)
{
    for (size_t r = r0; r < r1; r++) {
        real *x = logits + r * n;
        loss[r] = 0;
        best[r] = -1;
        if (target[r] < 0) {
            memset(x, 0, n * sizeof *x);
            continue;
        }
        real top = largest(x, n), right = x[target[r]];
        size_t at = 0;
        while (at + 1 < n && x[at] != top) at++;
        best[r] = (int32_t)at;
        exp_row(x, n, 1, top);
        real total = sum(x, n);
        loss[r] = (top - right) + ops_log(total);
        if (weight == 0) continue;
        scale(x, weight / total, n);
        x[target[r]] -= weight;
    }
}

/* ---- experts ---- */

/* Marks the k largest of x, ties to the lower index, and lists them in index order. */
static void choose(int32_t *chosen, const real *x, size_t n, size_t k)
{
    size_t count = 0;
    for (size_t e = 0; e < n; e++) {
        size_t above = 0; /* experts that come before e */
        for (size_t o = 0; o < n; o++) above += x[o] > x[e] || (x[o] == x[e] && o < e);
        if (above < k && count < k) chosen[count++] = (int32_t)e;
    }
    /* Logits that are not numbers compare as false everywhere; the loss is then not finite and the step is refused. */
    for (; count < k; count++) chosen[count] = (int32_t)count;
}

static void router(real *prob, real *lse, real *gate, int32_t *chosen, const real *logits, size_t n, size_t k,
                   bool keep, size_t r0, size_t r1)
{
    assert(k <= TOP_K_MAX && k <= n);
    for (size_t r = r0; r < r1; r++) {
        const real *x = logits + r * n;
        real *p = prob + r * n, *g = gate + r * k, top = largest(x, n);
        int32_t *c = chosen + r * k;
        if (!keep) choose(c, x, n, k);
        for (size_t e = 0; e < n; e++) p[e] = ops_exp(x[e] - top);
        real total = sum(p, n), chosen_total = 0;
        for (size_t j = 0; j < k; j++) chosen_total += p[c[j]];
        for (size_t j = 0; j < k; j++) g[j] = p[c[j]] / chosen_total;
        for (size_t e = 0; e < n; e++) p[e] = p[e] / total;
        lse[r] = top + ops_log(total);
    }
}

/* Three paths meet in dx:
 *   gates     g_j = e^(x_j) / sum over the chosen, a softmax of its own: dx_j = g_j (dg_j - sum_i g_i dg_i)
 *   balance   loss.balance * sum_e load_e p_e with load a count, no gradient (Fedus et al., arXiv 2101.03961, 2.2):
 *             dx_e = balance p_e (load_e - sum_i load_i p_i)
 *   z         loss.z * lse^2 (Zoph et al., arXiv 2202.08906, 3.2): dx_e = 2 z lse p_e */
static void router_back(real *dlogits, const real *dgate, const real *gate, const int32_t *chosen, const real *prob,
                        const real *lse, const real *load, struct router_loss loss, size_t n, size_t k, size_t r0,
                        size_t r1)
{
    for (size_t r = r0; r < r1; r++) {
        const real *p = prob + r * n, *g = gate + r * k, *dg = dgate + r * k;
        real *dx = dlogits + r * n, mean_load = dot(load, p, n), mean_dg = 0, z = 2 * loss.z * lse[r];
        for (size_t e = 0; e < n; e++) dx[e] = p[e] * (loss.balance * (load[e] - mean_load) + z);
        for (size_t j = 0; j < k; j++) mean_dg += g[j] * dg[j];
        for (size_t j = 0; j < k; j++) dx[chosen[r * k + j]] += g[j] * (dg[j] - mean_dg);
    }
}

static void gather(real *out, const real *x, const int32_t *from, size_t n, size_t r0, size_t r1)
{
    for (size_t s = r0; s < r1; s++) memcpy(out + s * n, x + (size_t)from[s] * n, n * sizeof *out);
}

static void scatter(real *dx, const real *dxs, const int32_t *slot, size_t n, size_t k, size_t r0, size_t r1)
{
    for (size_t t = r0; t < r1; t++)
        for (size_t j = 0; j < k; j++) add(dx + t * n, dxs + (size_t)slot[t * k + j] * n, n);
}

static void combine(real *x, const real *y, const real *gate, const int32_t *slot, size_t n, size_t k, size_t r0,
                    size_t r1)
{
    for (size_t t = r0; t < r1; t++)
        for (size_t j = 0; j < k; j++) add_scaled(x + t * n, y + (size_t)slot[t * k + j] * n, gate[t * k + j], n);
}

static void combine_back(real *dy, real *dgate, const real *dx, const real *y, const real *gate, const int32_t *slot,
                         size_t n, size_t k, size_t r0, size_t r1)
{
    for (size_t t = r0; t < r1; t++) {
        for (size_t j = 0; j < k; j++) {
            size_t s = (size_t)slot[t * k + j];
            scale_to(dy + s * n, dx + t * n, gate[t * k + j], n);
            dgate[t * k + j] = dot(dx + t * n, y + s * n, n);
        }
    }
}

/* ---- optimizer ---- */

INLINE void square_lanes(double s[LANES], const real *x, size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) s[l] += (double)x[l] * (double)x[l];
}

static double sum_squares(const real *x, size_t n)
{
    double s[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) square_lanes(s, x + i, LANES);
    square_lanes(s, x + i, n - i);
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) s[l] += s[l + half];
    return s[0];
}

INLINE void adamw_lanes(real *restrict p, real *restrict m, real *restrict v, const real *restrict g, struct adamw o,
                        size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) {
        real d = g[l] * o.grad_scale;
        m[l] = o.beta1 * m[l] + (1 - o.beta1) * d;
        v[l] = o.beta2 * v[l] + (1 - o.beta2) * (d * d);
        real step = (m[l] * o.correct1) / (real_sqrt(v[l] * o.correct2) + o.eps);
        p[l] -= o.rate * (step + o.decay * p[l]);
    }
}

static void adamw(real *p, real *m, real *v, const real *g, const struct adamw *o, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) adamw_lanes(p + i, m + i, v + i, g + i, *o, LANES);
    adamw_lanes(p + i, m + i, v + i, g + i, *o, n - i);
}

/* Not `restrict`: y may be one of the others. A lane reads its own place alone, so the order of lanes is free. */
INLINE void blend_lanes(real *y, const real *x, const real *z, real a, real b, size_t lanes)
{
    real out[LANES];
    for (size_t l = 0; l < lanes; l++) out[l] = a * x[l] + b * z[l];
    for (size_t l = 0; l < lanes; l++) y[l] = out[l];
}

static void blend(real *y, const real *x, const real *z, real a, real b, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) blend_lanes(y + i, x + i, z + i, a, b, LANES);
    blend_lanes(y + i, x + i, z + i, a, b, n - i);
}

INLINE void momentum_lanes(real *restrict u, real *restrict m, const real *restrict g, real mu, real factor,
                           size_t lanes)
{
    for (size_t l = 0; l < lanes; l++) {
        real d = g[l] * factor;
        m[l] = mu * m[l] + d;
        u[l] = mu * m[l] + d;
    }
}

static void momentum(real *u, real *m, const real *g, real mu, real factor, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) momentum_lanes(u + i, m + i, g + i, mu, factor, LANES);
    momentum_lanes(u + i, m + i, g + i, mu, factor, n - i);
}

#define OPS_TABLE(tier_name)                                                                                          \
    { .tier = (tier_name), .norm = norm, .norm_back = norm_back, .norm_weight_back = norm_weight_back,                \
      .heads = heads_forward, .heads_back = heads_back, .heads_weight_back = heads_weight_back,                       \
      .mask_softmax = mask_softmax, .mask_softmax_back = mask_softmax_back, .swiglu = swiglu,                         \
      .swiglu_back = swiglu_back, .embed = embed, .embed_back = embed_back, .cross_entropy = cross_entropy,           \
      .router = router, .router_back = router_back, .gather = gather, .scatter = scatter, .combine = combine,         \
      .combine_back = combine_back, .add = add, .sum_squares = sum_squares, .adamw = adamw,        \
      .blend = blend, .momentum = momentum }

#endif
