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

enum { ROUTE_VECTORS = ROUTE_GROUP / LANES, SCALES_AT_ONCE = 128, SCALE_ROWS_AHEAD = 8, ASK_BYTES = 8192 };

/* What in->x and codes are written to was used a layer ago, and weights have passed since: it is asked for at once. */
static inline void route_ask_input(const struct route_input *in)
{
    for (size_t at = 0; at < route_input_bytes(in->cols); at += 64) __builtin_prefetch(in->high + at, 1);
}

static void route_copy(const float *x, struct route_input *in)
{
    for (size_t i = 0; i < in->groups * ROUTE_GROUP; i += LANES)
        lanes_store(in->x + i, i < in->cols ? lanes_load_n(x + i, in->cols - i, 0.0f) : lanes_set(0.0f));
}

/* Scales of all groups, and in->norm their inverses until the codes are made: many at once, for a group's own would be
 * waited for twice, by division and by division. */
static inline void route_input_scales(struct route_input *in)
{
    lanes least = lanes_set(0x1p-60f), one = lanes_set(1.0f);
    for (size_t g = 0; g < in->groups; g++) {
        lanes most = lanes_set(0.0f);
        for (size_t i = 0; i < ROUTE_GROUP; i += LANES)
            most = lanes_max(lanes_and_bits(lanes_load(in->x + g * ROUTE_GROUP + i), 0x7fffffff), most);
        in->scale[g] = lanes_largest(most);
    }
    for (size_t g = 0; g < in->groups; g += LANES) {
        size_t n = in->groups - g;
        lanes scale = lanes_div(lanes_load_n(in->scale + g, n, 0.0f), lanes_set(32639.0f));
        scale = lanes_max(scale, least);
        lanes_store_n(in->scale + g, n, scale);
        lanes_store_n(in->norm + g, n, lanes_div(one, scale));
    }
}

/* One group's codes and its |x|^2 in in->norm; squares of what the codes leave are added to `rest`. */
static inline lanes route_group_input(struct route_input *in, size_t g, lanes rest)
{
    lanes shifted[ROUTE_VECTORS], xx = lanes_set(0.0f), magic = lanes_set(0x1.8p23f);
    lanes inverse = lanes_set(in->norm[g]), minus = lanes_set(-in->scale[g]);
    for (size_t i = 0; i < ROUTE_VECTORS; i++) {
        lanes v = lanes_load(in->x + g * ROUTE_GROUP + i * LANES);
        shifted[i] = lanes_add(lanes_mul(v, inverse), magic);
        lanes r = lanes_fma(minus, lanes_sub(shifted[i], magic), v);
        rest = lanes_fma(r, r, rest);
        xx = lanes_fma(v, v, xx);
    }
    route_put_codes(shifted, in, g);
    in->norm[g] = lanes_tree(xx);
    return rest;
}

static bool route_input_lanes(const float *x, struct route_input *in)
{
    lanes rest = lanes_set(0.0f), all = rest;
    route_ask_input(in);
    route_copy(x, in);
    route_input_scales(in);
    for (size_t g = 0; g < in->groups; g++) rest = route_group_input(in, g, rest);
    for (size_t g = 0; g < in->groups; g += LANES) {
        size_t n = in->groups - g;
        lanes xx = lanes_load_n(in->norm + g, n, 0.0f), scale = lanes_load_n(in->scale + g, n, 0.0f);
        all = lanes_add(all, xx);
        lanes_store_n(in->norm + g, n, lanes_fma(scale, lanes_set(4.25f), lanes_sqrt(xx)));
    }
    in->rest = route_norm_above(lanes_tree(rest));
    in->all = route_norm_above(lanes_tree(all));
    return in->all < 0x1p60f && in->rest < 0x1p60f;
}

/* Where reading codes stands: at a row, and at the first of some of its groups. */
struct route_run {
    size_t row, group;
};

static inline struct route_run route_run_next(struct route_run run, size_t groups)
{
    run.group += SCALES_AT_ONCE;
    return run.group < groups ? run : (struct route_run){ run.row + 1, 0 };
}

/* Scales meet the input's; the row's sum for `reach` goes on from run to run. */
static inline lanes route_scale_run(const uint16_t *scales, struct route_run run, const struct route_input *in,
                                    float *scale, lanes reach)
{
    size_t first = run.group, count = in->groups - first < SCALES_AT_ONCE ? in->groups - first : SCALES_AT_ONCE;
    size_t stride = route_scale_stride(in->cols);
    scales += run.row * stride + first;
    __builtin_prefetch(scales + SCALE_ROWS_AHEAD * stride, 0, 2); /* alone in its line, and seldom: not foreseen */
    if (first == 0) reach = lanes_set(0.0f);
    for (size_t i = 0; i < count; i += LANES) {
        lanes s = lanes_from_bf16_n(scales + i, count - i);
        lanes_store(scale + i, lanes_mul(s, lanes_load_n(in->scale + first + i, count - i, 0.0f)));
        reach = lanes_fma(s, lanes_load_n(in->norm + first + i, count - i, 0.0f), reach);
    }
    return reach;
}

static inline lanes route_codes_run(const uint8_t *codes, struct route_run run, const uint8_t *ask,
                                    const struct route_input *in, const float *scale, lanes acc)
{
    size_t first = run.group, count = in->groups - first < SCALES_AT_ONCE ? in->groups - first : SCALES_AT_ONCE;
    codes += (run.row * in->groups + first) * ROUTE_GROUP;
    if (first == 0) acc = lanes_set(0.0f);
#pragma GCC unroll 4
    for (size_t i = 0; i < count; i++) {
        struct route_group_codes group = route_group_load(in, first + i);
        if (ask != NULL) __builtin_prefetch(ask + (first + i) * ROUTE_GROUP, 0, 2);
        acc = lanes_fma(lanes_set(scale[i]), route_sums(codes + i * ROUTE_GROUP, &group), acc);
    }
    return acc;
}

/* Row by row, in the order of memory, which the processor foresees: on one core of Zen 4, 17 to 22 GB/s, and 21 to 24
 * with asking ahead; rows side by side had half of that. Scales of a run are made one run before: what was stored as a
 * vector and is loaded in pieces at once waits for all that came before. */
static void route_codes(const uint8_t *codes, const uint16_t *scales, size_t rows, const uint8_t *const *ask,
                        const struct route_input *in, float *out, float *reach)
{
    float scale[2][SCALES_AT_ONCE];
    lanes acc = lanes_set(0.0f), sum = acc;
    struct route_run run = { 0, 0 };
    if (rows == 0) return;
    sum = route_scale_run(scales, run, in, scale[0], sum);
    for (size_t turn = 0; run.row < rows; turn = 1 - turn) {
        struct route_run next = route_run_next(run, in->groups);
        lanes row_sum = sum;
        if (next.row < rows) sum = route_scale_run(scales, next, in, scale[1 - turn], sum);
        acc = route_codes_run(codes, run, ask != NULL ? ask[run.row] : NULL, in, scale[turn], acc);
        if (next.row != run.row) {
            out[run.row] = lanes_tree(acc);
            if (reach != NULL) reach[run.row] = lanes_tree(row_sum);
        }
        run = next;
    }
}

/* 16 values of 16 bits: bf16 or integers. */
static inline lanes route_widen(const uint16_t *w, const bool bf16)
{
    return bf16 ? lanes_from_bf16(w) : lanes_from_int16((const int16_t *)w);
}

/* Columns begin..end-1 of rows that go side by side: one chain of fused steps alone would wait for itself. What stands
 * `ahead` bytes behind is asked for: rows side by side are several short stretches to a processor. The last
 * columns % 16 are copied: nothing behind them is read. */
static inline __attribute__((always_inline)) void route_columns(const uint16_t *w, const bool bf16, const size_t rows,
                                                                size_t ahead, size_t cols, size_t begin, size_t end,
                                                                const float *x, lanes *acc)
{
    size_t i = begin;
    for (; i + LANES <= end; i += LANES) {
        lanes v = lanes_load(x + i);
        if (i % (2 * LANES) == 0 && ahead > 0)
            for (size_t r = 0; r < rows; r++) __builtin_prefetch((const char *)(w + r * cols + i) + ahead, 0, 2);
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) acc[r] = lanes_fma(route_widen(w + r * cols + i, bf16), v, acc[r]);
    }
    for (size_t r = 0; i < end && r < rows; r++) {
        uint16_t last[LANES] = { 0 };
        memcpy(last, w + r * cols + i, (end - i) * sizeof *last);
        acc[r] = lanes_fma(route_widen(last, bf16), lanes_load_n(x + i, end - i, 0.0f), acc[r]);
    }
}

static inline __attribute__((always_inline)) void route_rows(const uint16_t *w, const size_t rows, size_t cols,
                                                             const float *x, float *out)
{
    lanes acc[ROUTE_ROWS_AT_ONCE];
    for (size_t r = 0; r < rows; r++) acc[r] = lanes_set(0.0f);
    route_columns(w, true, rows, rows > 1 ? 2 * rows * cols : 0, cols, 0, cols, x, acc);
    for (size_t r = 0; r < rows; r++) out[r] = lanes_tree(acc[r]);
}

static void route_bf16_rows(const uint16_t *w, size_t rows, size_t cols, const float *x, float *out)
{
    size_t r = 0;
    for (; r + ROUTE_ROWS_AT_ONCE <= rows; r += ROUTE_ROWS_AT_ONCE)
        route_rows(w + r * cols, ROUTE_ROWS_AT_ONCE, cols, x, out + r);
    for (; r < rows; r++) route_rows(w + r * cols, 1, cols, x, out + r);
}

/* Row by row, as codes: chains are short here, and the next one begins before the last has ended. */
static void route_int16_rows(const int16_t *codes, size_t rows, size_t cols, const float *x, float *out)
{
    const uint16_t *w = (const uint16_t *)codes;
    for (size_t r = 0; r < rows; r++, w += cols) {
        lanes sum = lanes_set(0.0f);
        for (size_t i = 0, end; i < cols; i = end) {
            lanes acc = lanes_set(0.0f);
            end = cols - i < ROUTE_CHAIN ? cols : i + ROUTE_CHAIN;
            route_columns(w, false, 1, ASK_BYTES, cols, i, end, x, &acc);
            sum = lanes_add(sum, acc);
        }
        out[r] = lanes_tree(sum);
    }
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

/* A pass finds the largest value below the last one found, and counts those that are not below that one. */
static float route_kth(const float *v, size_t n, size_t k)
{
    lanes least = lanes_set(-__builtin_inff()), one = lanes_set(1.0f), zero = lanes_set(0.0f);
    for (float found = __builtin_inff();;) {
        lanes limit = lanes_set(found), next = least, count = zero;
        for (size_t i = 0; i < n; i += LANES) {
            lanes x = lanes_load_n(v + i, n - i, -__builtin_inff());
            next = lanes_max(lanes_if_less(x, limit, x, least), next);
            count = lanes_add(count, lanes_if_less(x, limit, zero, one));
        }
        if (lanes_tree(count) >= (float)k) return found;
        found = lanes_largest(next);
    }
}

static inline void route_bind_lanes(struct route_kernels *k)
{
    *k = (struct route_kernels){ .input = route_input_lanes, .copy = route_copy, .codes = route_codes,
                                 .bf16_rows = route_bf16_rows, .int16_rows = route_int16_rows,
                                 .int16_cols = route_int16_cols, .kth = route_kth };
}

#endif
