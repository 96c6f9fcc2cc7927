/* The slots of route.h over 16 lanes: the same bits as route.c. Included after a tier's lanes_*.h and after that tier's
 *
 *   lanes_from_bf16(p), lanes_from_bf16_n(p, n)   16 lanes, or the first n and zeros behind them
 *   route_put_codes(shifted, in, at)              16 codes in their two halves; `shifted` is code + 1.5 * 2^23
 *   route_lift(in, g)                             in->lift of a group from its codes
 *   route_sums(codes, in, g)                      lane j: the exact sum of route.h's `codes`, as f32
 *
 * by that tier's .c file alone. */
#ifndef HEARTH_KERNELS_ROUTE_LANES_H
#define HEARTH_KERNELS_ROUTE_LANES_H

#include "kernels/lanes.h"
#include "kernels/route.h"
#include "kernels/tiers.h"

enum { ROUTE_VECTORS = ROUTE_GROUP / LANES, SCALES_AT_ONCE = 128 };

static void route_group_input(const float *x, size_t n, struct route_input *in, size_t g, float *rest, float *all)
{
    lanes v[ROUTE_VECTORS], most = lanes_set(0.0f), zero = most, qq = zero, rr = zero, xx = zero;
    lanes magic = lanes_set(0x1.8p23f);
    for (size_t i = 0; i < ROUTE_VECTORS; i++) {
        v[i] = i * LANES < n ? lanes_load_n(x + i * LANES, n - i * LANES, 0.0f) : zero;
        most = lanes_max(lanes_and_bits(v[i], 0x7fffffff), most);
    }
    float scale = lanes_largest(most) / 32639.0f;
    scale = scale > 0x1p-60f ? scale : 0x1p-60f;
    lanes inverse = lanes_set(1.0f / scale), minus = lanes_set(-scale);
    for (size_t i = 0; i < ROUTE_VECTORS; i++) {
        lanes shifted = lanes_add(lanes_mul(v[i], inverse), magic), q = lanes_sub(shifted, magic);
        lanes r = lanes_fma(minus, q, v[i]);
        qq = lanes_fma(q, q, qq);
        rr = lanes_fma(r, r, rr);
        xx = lanes_fma(v[i], v[i], xx);
        route_put_codes(shifted, in, g * ROUTE_GROUP + i * LANES);
    }
    route_lift(in, g);
    in->scale[g] = scale;
    in->norm[g] = scale * sqrtf(lanes_tree(qq));
    *rest = *rest + lanes_tree(rr);
    *all = *all + lanes_tree(xx);
}

static bool route_input_lanes(const float *x, struct route_input *in)
{
    float rest = 0.0f, all = 0.0f;
    /* This memory was used a layer ago, and weights have passed since: all of it is asked for at once. */
    for (size_t at = 0; at < route_input_bytes(in->cols); at += 64) __builtin_prefetch(in->high + at, 1);
    for (size_t g = 0; g < in->groups; g++) {
        size_t left = in->cols - g * ROUTE_GROUP;
        route_group_input(x + g * ROUTE_GROUP, left < ROUTE_GROUP ? left : ROUTE_GROUP, in, g, &rest, &all);
    }
    in->rest = route_norm_above(rest);
    in->all = route_norm_above(all);
    return in->all < 0x1p60f && in->rest < 0x1p60f;
}

/* Scales meet the input's first, many groups at once; then each is a broadcast from memory. */
static float route_codes(const uint8_t *codes, const uint16_t *scales, const struct route_input *in)
{
    lanes acc = lanes_set(0.0f);
    for (size_t first = 0; first < in->groups; first += SCALES_AT_ONCE) {
        float scale[SCALES_AT_ONCE];
        size_t count = in->groups - first < SCALES_AT_ONCE ? in->groups - first : SCALES_AT_ONCE;
        for (size_t i = 0; i < count; i += LANES) {
            lanes s = lanes_from_bf16_n(scales + first + i, count - i);
            lanes_store(scale + i, lanes_mul(s, lanes_load_n(in->scale + first + i, count - i, 0.0f)));
        }
        for (size_t i = 0; i < count; i++)
            acc = lanes_fma(lanes_set(scale[i]), route_sums(codes + (first + i) * ROUTE_GROUP, in, first + i), acc);
    }
    return lanes_tree(acc);
}

static float route_reach(const uint16_t *scales, const struct route_input *in)
{
    lanes acc = lanes_set(0.0f);
    for (size_t g = 0; g < in->groups; g += LANES)
        acc = lanes_fma(lanes_from_bf16_n(scales + g, in->groups - g),
                        lanes_load_n(in->norm + g, in->groups - g, 0.0f), acc);
    return lanes_tree(acc);
}

/* Rows side by side: one chain of fused steps alone would wait for itself. */
static inline __attribute__((always_inline)) void route_rows(const uint16_t *w, const size_t rows, size_t cols,
                                                             const float *x, float *out)
{
    lanes acc[ROUTE_ROWS_AT_ONCE];
    size_t i = 0;
    for (size_t r = 0; r < rows; r++) acc[r] = lanes_set(0.0f);
    for (; i + LANES <= cols; i += LANES) {
        lanes v = lanes_load(x + i);
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) acc[r] = lanes_fma(lanes_from_bf16(w + r * cols + i), v, acc[r]);
    }
    if (i < cols)
        for (size_t r = 0; r < rows; r++)
            acc[r] = lanes_fma(lanes_from_bf16_n(w + r * cols + i, cols - i), lanes_load_n(x + i, cols - i, 0.0f),
                               acc[r]);
    for (size_t r = 0; r < rows; r++) out[r] = lanes_tree(acc[r]);
}

static void route_bf16_rows(const uint16_t *w, size_t rows, size_t cols, const float *x, float *out)
{
    size_t r = 0;
    for (; r + ROUTE_ROWS_AT_ONCE <= rows; r += ROUTE_ROWS_AT_ONCE)
        route_rows(w + r * cols, ROUTE_ROWS_AT_ONCE, cols, x, out + r);
    for (; r < rows; r++) route_rows(w + r * cols, 1, cols, x, out + r);
}

static inline void route_bind_lanes(struct route_kernels *k)
{
    *k = (struct route_kernels){ .input = route_input_lanes, .codes = route_codes, .reach = route_reach,
                                 .bf16_rows = route_bf16_rows };
}

#endif
