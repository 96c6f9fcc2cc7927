/* Routing with a certificate: scores of a layer's router from fewer bytes than its f32 rows, with a proven bound on the
 * error, so that only experts the bound can not exclude are scored again with their own rows. What is chosen in the end
 * is always chosen by exact scores (`dot` of vector.h): no bit of a result depends on this file, only its time.
 *
 * A router is `experts` rows of `cols` f32 weights. Beside them an image may hold one of these forms (route_pack.h):
 *   ROUTE_BF16    rows whose low 16 bits are all zero, stored as bf16: the same scores from half the bytes
 *   ROUTE_PLANES  per row and group of 64 a bf16 scale s, codes A (W ~ s A) and codes B (W ~ s (A + B / 256)), int8
 *   ROUTE_PLANES_BF16   A, and the rows as bf16: what A can not decide is read from them
 *   ROUTE_FACTOR  experts x rank times rank x cols in 16-bit integers, for routers that were trained as such a product:
 *                 as many bytes as bf16 and 32 times nearer to it, near enough that bounds hardly ever leave a doubt
 *
 * The bound. Let R be the row less what its codes say, x the input, x' the input as 16-bit codes say it, u = 2^-24:
 *   W.x = codes.x' + R.x' + W.(x - x'), so with |R of group g| <= c s_g (c one number a row, measured when packed)
 *   |W.x - codes.x'| <= c sum_g s_g |x'_g|  +  |W| |x - x'|                              (Cauchy, Schwarz)
 * The f32 score itself is off from W.x by at most (ceil(cols / 16) + 5) u |W| |x| (16 chains and a tree), ours from
 * codes.x' by (groups + 8) u |codes| |x'| at most, where |codes| <= 1.05 |W| and |x'| <= 1.04 |x|. Norms are rounded
 * up.
 * Of a factor, t O Q for a row, with R = W - t O Q and sums of at most c roundings: |W.x - t O (Q x)| <= |R| |x|, and
 * our own roundings are at most (c + rank + 2) u |t O| |Q| |x| with Q's Frobenius norm.
 * Source of the idea: FEXIPRO (Li, Chan, Yiu, Mamoulis, SIGMOD 2017), section 4: integer bounds of inner products. */
#ifndef HEARTH_KERNELS_ROUTE_H
#define HEARTH_KERNELS_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROUTE_GROUP = 64, ROUTE_ROWS_AT_ONCE = 4, ROUTE_ROWS_IN_TURN = 16, ROUTE_CHAIN = 512 };

/* The numbers are the image's. */
enum route_form { ROUTE_NONE, ROUTE_BF16, ROUTE_PLANES, ROUTE_PLANES_BF16, ROUTE_FACTOR, ROUTE_FORMS };

/* Part of every norm here: see route_norm_above. */
#define ROUTE_NORM_SLACK 0x1p-54f

/* What is known of a row when the router is packed; every number is rounded up. */
struct route_fact {
    float norm;    /* |W| */
    float first;   /* PLANES: c of A alone.       FACTOR: |W - product| */
    float second;  /* PLANES: c of A and B.       FACTOR: |t O| |Q| */
    float scale;   /* FACTOR: t, exactly. Else 0 */
};

/* A router's second form, bound: pointers into an image. */
struct route {
    enum route_form form;
    size_t experts, cols, rank;
    const struct route_fact *facts; /* experts; BF16: NULL */
    const uint16_t *rows;           /* BF16, PLANES_BF16: the rows, `cols` apart */
    const uint16_t *scales;         /* PLANES*: bf16, groups a row, scale_stride apart */
    const uint8_t *first, *second;  /* PLANES*: codes + 128, 64 * groups a row; `second` NULL where there is none */
    const int16_t *inner, *outer;   /* FACTOR: Q, rank x cols; O turned, rank x experts */
};

static inline size_t route_groups(size_t cols)
{
    return (cols + ROUTE_GROUP - 1) / ROUTE_GROUP;
}

/* From one row's scales to the next: rows start on multiples of 64 bytes. */
static inline size_t route_scale_stride(size_t cols)
{
    return (route_groups(cols) + 31) / 32 * 32;
}

/* One input as the planes want it: value = scale[g] * code, code = 256 * high + low, codes within +-32,639; zeros
 * behind `cols`. Memory is the caller's: route_input_bytes, laid out by route_input_lay. */
struct route_input {
    size_t cols, groups;
    float *scale, *norm;  /* groups: of a code; |x'| of the group, rounded up a little */
    int32_t *lift;        /* 16 a group: -128 times the sum of 4 codes, for codes that stand 128 above their value */
    int8_t *high, *low;   /* 64 * groups: codes in two halves, both signed */
    float *x;             /* 64 * groups: x and zeros, this thread's own: a line that another core reads leaves the one
                           * that wrote it (Zen 4, across sockets: an input read twice cost 6 us) */
    float all, rest;      /* |x| and |x - x'|, rounded up */
};

size_t route_input_bytes(size_t cols);
void route_input_lay(struct route_input *in, size_t cols, void *room); /* room aligned to 64 */

struct route_kernels {
    /* Fills `in` from cols values; false (and codes of no meaning) where one is not finite or |x| is not under 2^60.
     * Per group: scale = max(max|x| / 32639, 2^-60); t = x * (1 / scale) + M, q = t - M, M = 1.5 * 2^23; the code is
     * the integer q. xx: 16 chains of x x by index modulo 16, fused, and the tree of vector.h; norm = fma(scale,
     * 4.25, sqrt(xx)), for each of 64 values is off by 0.51 of the scale at most. |x - x'|^2: 16 chains over all
     * columns of r r, r = fma(-scale, q, x), fused; |x|^2: 16 chains over the groups' xx by g modulo 16; the tree. */
    bool (*input)(const float *x, struct route_input *in);
    /* in->x alone. */
    void (*copy)(const float *x, struct route_input *in);
    /* `rows` rows of codes, 64 * groups apart, their scales scale_stride apart. A row has 16 chains; chain j takes, for
     * each group g in order, acc = fma(scales[g] * in->scale[g], (float)sum, acc) with the exact sum over i < 4 of
     * (codes[64 g + 4 j + i] - 128) * code of the same index. Then the tree, to out[row]. reach[row], where `reach` is
     * not NULL: sum_g scales[g] * in->norm[g], 16 chains by g modulo 16, fused, and the tree. While a row is read, as
     * many bytes at ask[row] are asked for; `ask`, or one of it, may be NULL. */
    void (*codes)(const uint8_t *codes, const uint16_t *scales, size_t rows, const uint8_t *const *ask,
                  const struct route_input *in, float *out, float *reach);
    /* out[r] = dot (vector.h) of row r, widened exactly, and x: rows `cols` apart. */
    void (*bf16_rows)(const uint16_t *w, size_t rows, size_t cols, const float *x, float *out);
    /* out[e] = sum over j < rank of w[j * experts + e] * y[j]: one fused chain an expert, in order of j. */
    void (*int16_cols)(const int16_t *w, size_t rank, size_t experts, const float *y, float *out);
    /* out[r] of integer rows `cols` apart: for each ROUTE_CHAIN columns 16 fused chains from 0, added to 16 sums in
     * order; then the tree. Short chains: what a bound has to allow for is how often a sum was rounded. */
    void (*int16_rows)(const int16_t *w, size_t rows, size_t cols, const float *x, float *out);
    /* The k-th largest of n values, 1 <= k <= n <= EXPERTS_MAX. Of no meaning where one is NaN. */
    float (*kth)(const float *v, size_t n, size_t k);
};

/* Experts first..first + count - 1, by A and, where `both`, by B. The `next` experts behind them are read after them,
 * and then then_bytes at `then`: asked for in time. */
struct route_part {
    size_t first, count, next;
    bool both;
    const uint8_t *then;
    size_t then_bytes;
};

/* Scores of a part in form PLANES or PLANES_BF16, and what the bound grows with. out[i], reach[i] belong to expert
 * first + i. */
void route_scores(const struct route_kernels *k, const struct route *r, const struct route_input *in,
                  const struct route_part *part, float *out, float *reach);

/* What B adds to expert e's score by A, in 256ths; and the score by both. */
float route_second(const struct route_kernels *k, const struct route *r, const struct route_input *in, size_t e);
float route_refined(float by_first, float second);

/* How far the f32 scores of experts first..first + count - 1 can be from what route_scores or route_refined say, to
 * out[i] of expert first + i, as reach. NaN where the image holds nonsense: callers compare so that NaN means "read the
 * row". */
void route_bounds(const struct route *r, const struct route_input *in, size_t first, size_t count, bool both,
                  const float *reach, float *out);

/* Form FACTOR: scores of all experts from y = Q x; and the bounds, where |x| <= x_norm. */
void route_factor_scores(const struct route_kernels *k, const struct route *r, const float *y, float *out);
void route_factor_bounds(const struct route *r, float x_norm, float *out);

/* An upper bound of |x|: sqrt of a sum of squares by `dot`, rounded up. */
float route_norm_above(float sum_of_squares);

#endif
