/* The slots of route.h over 16 lanes: the same bits as route.c. Included after a tier's lanes_*.h and after that tier's
 *
 *   lanes_from_bf16(p), lanes_from_bf16_n(p, n)   16 lanes, or the first n and zeros behind them
 *   lanes_from_int16(p)                           16 integers as f32
 *   route_put_codes(shifted, in, g)               a group's codes in their two halves, and in->lift of it: from
 *                                                 registers, for what was stored in pieces can not be loaded whole at
 *                                                 once; `shifted` is 4 times 16 of code + 1.5 * 2^23
 *   route_group_load(in, g)                       a group's codes of the input in registers: struct route_group_codes
 *   route_sums(codes, &group)                     lane j: the exact sum of route.h's `codes`, as f32
 *
 * by that tier's .c file alone. */
#ifndef HEARTH_KERNELS_ROUTE_LANES_H
#define HEARTH_KERNELS_ROUTE_LANES_H

#include "kernels/lanes.h"
#include "kernels/route.h"
#include "kernels/tiers.h"

#include <string.h>

enum { ROUTE_VECTORS = ROUTE_GROUP / LANES, SCALES_AT_ONCE = 128 };

/* Asks for row r of the next rows that go side by side: together they are one stretch of memory, but what a processor
 * sees are several short ones (Zen 4, two threads, rows of 7,168 codes: one by one 13.8 GB/s, side by side 18, and
 * asked for 24; of 2,048 codes side by side without asking takes half as long again). */
static inline void route_ask(const void *row, size_t rows, size_t row_bytes, size_t at)
{
    if (rows == ROUTE_ROWS_AT_ONCE) __builtin_prefetch((const char *)row + rows * row_bytes + at, 0, 2);
}

static void route_group_input(const float *x, size_t n, struct route_input *in, size_t g, float *rest, float *all)
{
    lanes v[ROUTE_VECTORS], shifted[ROUTE_VECTORS];
    lanes most = lanes_set(0.0f), zero = most, qq = zero, rr = zero, xx = zero;
    lanes magic = lanes_set(0x1.8p23f);
    for (size_t i = 0; i < ROUTE_VECTORS; i++) {
        v[i] = i * LANES < n ? lanes_load_n(x + i * LANES, n - i * LANES, 0.0f) : zero;
        most = lanes_max(lanes_and_bits(v[i], 0x7fffffff), most);
    }
    float scale = lanes_largest(most) / 32639.0f;
    scale = scale > 0x1p-60f ? scale : 0x1p-60f;
    lanes inverse = lanes_set(1.0f / scale), minus = lanes_set(-scale);
    for (size_t i = 0; i < ROUTE_VECTORS; i++) {
        shifted[i] = lanes_add(lanes_mul(v[i], inverse), magic);
        lanes q = lanes_sub(shifted[i], magic), r = lanes_fma(minus, q, v[i]);
        qq = lanes_fma(q, q, qq);
        rr = lanes_fma(r, r, rr);
        xx = lanes_fma(v[i], v[i], xx);
    }
    route_put_codes(shifted, in, g);
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

/* Scales meet the input's first, many groups at once; then each is a broadcast from memory. Rows go side by side: the
 * input's codes are loaded once for all of them. */
static inline __attribute__((always_inline)) void route_codes_rows(const uint8_t *codes, const uint16_t *scales,
                                                                   const size_t rows, const struct route_input *in,
                                                                   float *out)
{
    size_t stride = route_scale_stride(in->cols), row_bytes = in->groups * ROUTE_GROUP;
    lanes acc[ROUTE_ROWS_AT_ONCE];
    for (size_t r = 0; r < rows; r++) acc[r] = lanes_set(0.0f);
    for (size_t first = 0; first < in->groups; first += SCALES_AT_ONCE) {
        float scale[ROUTE_ROWS_AT_ONCE][SCALES_AT_ONCE];
        size_t count = in->groups - first < SCALES_AT_ONCE ? in->groups - first : SCALES_AT_ONCE;
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < count; i += LANES) {
                lanes s = lanes_from_bf16_n(scales + r * stride + first + i, count - i);
                lanes_store(scale[r] + i, lanes_mul(s, lanes_load_n(in->scale + first + i, count - i, 0.0f)));
            }
        for (size_t i = 0; i < count; i++) {
            struct route_group_codes group = route_group_load(in, first + i);
#pragma GCC unroll 4
            for (size_t r = 0; r < rows; r++)
                route_ask(codes + r * row_bytes, rows, row_bytes, (first + i) * ROUTE_GROUP);
#pragma GCC unroll 4
            for (size_t r = 0; r < rows; r++)
                acc[r] = lanes_fma(lanes_set(scale[r][i]),
                                   route_sums(codes + r * row_bytes + (first + i) * ROUTE_GROUP, &group), acc[r]);
        }
    }
    for (size_t r = 0; r < rows; r++) out[r] = lanes_tree(acc[r]);
}

static void route_codes(const uint8_t *codes, const uint16_t *scales, size_t rows, const struct route_input *in,
                        float *out)
{
    size_t r = 0, stride = route_scale_stride(in->cols), row_bytes = in->groups * ROUTE_GROUP;
    for (; r + ROUTE_ROWS_AT_ONCE <= rows; r += ROUTE_ROWS_AT_ONCE)
        route_codes_rows(codes + r * row_bytes, scales + r * stride, ROUTE_ROWS_AT_ONCE, in, out + r);
    for (; r < rows; r++) route_codes_rows(codes + r * row_bytes, scales + r * stride, 1, in, out + r);
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
        if (i % (2 * LANES) == 0)
            for (size_t r = 0; r < rows; r++) route_ask(w + r * cols, rows, 2 * cols, 2 * i);
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

static inline __attribute__((always_inline)) void route_int16(const int16_t *w, const size_t rows, size_t cols,
                                                              const float *x, float *out)
{
    lanes sum[ROUTE_ROWS_AT_ONCE], acc[ROUTE_ROWS_AT_ONCE];
    for (size_t r = 0; r < rows; r++) sum[r] = lanes_set(0.0f);
    for (size_t i = 0; i < cols;) {
        size_t end = cols - i < ROUTE_CHAIN ? cols : i + ROUTE_CHAIN;
        for (size_t r = 0; r < rows; r++) acc[r] = lanes_set(0.0f);
        for (; i + LANES <= end; i += LANES) {
            lanes v = lanes_load(x + i);
            if (i % (2 * LANES) == 0)
                for (size_t r = 0; r < rows; r++) route_ask(w + r * cols, rows, 2 * cols, 2 * i);
#pragma GCC unroll 4
            for (size_t r = 0; r < rows; r++) acc[r] = lanes_fma(lanes_from_int16(w + r * cols + i), v, acc[r]);
        }
        for (size_t r = 0; i < end && r < rows; r++) { /* the last columns % 16: copied, nothing behind them is read */
            int16_t last[LANES] = { 0 };
            memcpy(last, w + r * cols + i, (end - i) * sizeof *last);
            acc[r] = lanes_fma(lanes_from_int16(last), lanes_load_n(x + i, end - i, 0.0f), acc[r]);
        }
        i = end;
        for (size_t r = 0; r < rows; r++) sum[r] = lanes_add(sum[r], acc[r]);
    }
    for (size_t r = 0; r < rows; r++) out[r] = lanes_tree(sum[r]);
}

static void route_int16_rows(const int16_t *w, size_t rows, size_t cols, const float *x, float *out)
{
    size_t r = 0;
    for (; r + ROUTE_ROWS_AT_ONCE <= rows; r += ROUTE_ROWS_AT_ONCE)
        route_int16(w + r * cols, ROUTE_ROWS_AT_ONCE, cols, x, out + r);
    for (; r < rows; r++) route_int16(w + r * cols, 1, cols, x, out + r);
}

/* Four vectors of experts at a time, so that chains do not wait for themselves. */
static void route_int16_cols(const int16_t *w, size_t rank, size_t experts, const float *y, float *out)
{
    size_t e = 0;
    for (; e + 4 * LANES <= experts; e += 4 * LANES) {
        lanes acc[4];
        for (size_t v = 0; v < 4; v++) acc[v] = lanes_set(0.0f);
        for (size_t j = 0; j < rank; j++) {
            lanes value = lanes_set(y[j]);
#pragma GCC unroll 4
            for (size_t v = 0; v < 4; v++)
                acc[v] = lanes_fma(lanes_from_int16(w + j * experts + e + v * LANES), value, acc[v]);
        }
        for (size_t v = 0; v < 4; v++) lanes_store(out + e + v * LANES, acc[v]);
    }
    for (; e < experts; e += LANES) {
        size_t n = experts - e < LANES ? experts - e : LANES;
        lanes acc = lanes_set(0.0f);
        for (size_t j = 0; j < rank; j++) {
            int16_t last[LANES] = { 0 };
            memcpy(last, w + j * experts + e, n * sizeof *last);
            acc = lanes_fma(lanes_from_int16(last), lanes_set(y[j]), acc);
        }
        lanes_store_n(out + e, n, acc);
    }
}

static inline void route_bind_lanes(struct route_kernels *k)
{
    *k = (struct route_kernels){ .input = route_input_lanes, .codes = route_codes, .reach = route_reach,
                                 .bf16_rows = route_bf16_rows, .int16_rows = route_int16_rows,
                                 .int16_cols = route_int16_cols };
}

#endif
