/* The definition of route.h, and the bound. */
#include "kernels/route.h"

#include "base/checked.h"
#include "base/limits.h"
#include "kernels/math.h"
#include "kernels/tiers.h"

#include <assert.h>

enum {
    LANES = 16,
    CODE_MOST = 32639, /* 127 * 256 + 127: both halves signed */
    ASK_BYTES = 8192   /* ahead of reading codes: Zen 4, one core, 15% more than the processor foresees by itself */
};

#define ROUND_TO_INTEGER 0x1.8p23f
#define SCALE_LEAST      0x1p-60f /* products of two scales stay far from denormals */
#define UNIT             0x1p-24f
#define ABOVE            (1.0f + 0x1p-10f) /* more than all roundings of the bound's own arithmetic */

static float bf16(uint16_t bits)
{
    return f32_of_bits((uint32_t)bits << 16);
}

static float tree(float s[static LANES])
{
    for (size_t width = LANES / 2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++) s[i] = s[i] + s[i + width];
    return s[0];
}

/* ---- the input ---- */

size_t route_input_bytes(size_t cols)
{
    size_t groups = route_groups(cols);
    return groups * (ROUTE_GROUP * (2 + sizeof(float)) + LANES * sizeof(int32_t)) + 2 * round_up(groups * 4, 64);
}

void route_input_lay(struct route_input *in, size_t cols, void *room)
{
    uint8_t *at = room;
    size_t groups = route_groups(cols), values = groups * ROUTE_GROUP;
    assert((uintptr_t)room % 64 == 0);
    *in = (struct route_input){ .cols = cols, .groups = groups };
    in->high = (int8_t *)at;
    in->low = (int8_t *)(at + values);
    in->lift = (int32_t *)(void *)(at + 2 * values);
    in->scale = (float *)(void *)(at + 3 * values);
    in->norm = (float *)(void *)(at + 3 * values + round_up(groups * 4, 64));
    in->x = (float *)(void *)(at + 3 * values + 2 * round_up(groups * 4, 64));
}

/* One value's code in its two halves. */
static void put_code(struct route_input *in, size_t at, float shifted)
{
    int32_t code = (int32_t)(bits_of_f32(shifted) - bits_of_f32(ROUND_TO_INTEGER));
    int16_t half = (int16_t)code; /* of a finite input: unchanged */
    in->low[at] = (int8_t)half;
    in->high[at] = (int8_t)((half - (int8_t)half) >> 8);
}

static int32_t code_at(const struct route_input *in, size_t at)
{
    return 256 * in->high[at] + in->low[at];
}

/* One group; what its codes leave is added to 16 sums of squares. */
static void group_input(const float *x, size_t n, struct route_input *in, size_t g, float rest[static LANES],
                        float *all)
{
    float most = 0.0f, xx[LANES] = { 0 };
    for (size_t i = 0; i < n; i++) {
        float a = x[i] < 0 ? -x[i] : x[i];
        most = a > most ? a : most;
    }
    float scale = most / (float)CODE_MOST;
    scale = scale > SCALE_LEAST ? scale : SCALE_LEAST;
    float inverse = 1.0f / scale;
    for (size_t i = 0; i < ROUTE_GROUP; i++) {
        float v = i < n ? x[i] : 0.0f, shifted = v * inverse + ROUND_TO_INTEGER, q = shifted - ROUND_TO_INTEGER;
        float r = fmaf(-scale, q, v);
        rest[i % LANES] = fmaf(r, r, rest[i % LANES]);
        xx[i % LANES] = fmaf(v, v, xx[i % LANES]);
        put_code(in, g * ROUTE_GROUP + i, shifted);
    }
    for (size_t j = 0; j < LANES; j++) {
        size_t at = g * ROUTE_GROUP + 4 * j;
        in->lift[g * LANES + j] =
            -128 * (code_at(in, at) + code_at(in, at + 1) + code_at(in, at + 2) + code_at(in, at + 3));
    }
    float square = tree(xx);
    in->scale[g] = scale;
    in->norm[g] = fmaf(scale, 4.25f, sqrtf(square));
    *all = *all + square;
}

static void copy_c(const float *x, struct route_input *in)
{
    for (size_t i = 0; i < in->groups * ROUTE_GROUP; i++) in->x[i] = i < in->cols ? x[i] : 0.0f;
}

static bool input_c(const float *x, struct route_input *in)
{
    copy_c(x, in);
    float rest[LANES] = { 0 }, all[LANES] = { 0 };
    for (size_t g = 0; g < in->groups; g++)
        group_input(x + g * ROUTE_GROUP, min_size(ROUTE_GROUP, in->cols - g * ROUTE_GROUP), in, g, rest,
                    &all[g % LANES]);
    in->rest = route_norm_above(tree(rest));
    in->all = route_norm_above(tree(all));
    return in->all < 0x1p60f && in->rest < 0x1p60f;
}

/* ---- scores ---- */

static float row_codes(const uint8_t *codes, const uint16_t *scales, const struct route_input *in)
{
    float acc[LANES] = { 0 };
    for (size_t g = 0; g < in->groups; g++) {
        float scale = bf16(scales[g]) * in->scale[g];
        for (size_t j = 0; j < LANES; j++) {
            size_t at = g * ROUTE_GROUP + 4 * j;
            int32_t sum = 0; /* at most 4 * 128 * 32639: under 2^24 */
            for (size_t i = 0; i < 4; i++) sum += (codes[at + i] - 128) * code_at(in, at + i);
            acc[j] = fmaf(scale, (float)sum, acc[j]);
        }
    }
    return tree(acc);
}

static float row_reach(const uint16_t *scales, const struct route_input *in)
{
    float acc[LANES] = { 0 };
    for (size_t g = 0; g < in->groups; g++) acc[g % LANES] = fmaf(bf16(scales[g]), in->norm[g], acc[g % LANES]);
    return tree(acc);
}

static void codes_c(const uint8_t *codes, const uint16_t *scales, size_t rows, const uint8_t *const *ask,
                    const struct route_input *in, float *out, float *reach)
{
    size_t stride = route_scale_stride(in->cols);
    (void)ask;
    for (size_t r = 0; r < rows; r++) {
        out[r] = row_codes(codes + r * in->groups * ROUTE_GROUP, scales + r * stride, in);
        if (reach != NULL) reach[r] = row_reach(scales + r * stride, in);
    }
}

static void bf16_rows_c(const uint16_t *w, size_t rows, size_t cols, const float *x, float *out)
{
    for (size_t r = 0; r < rows; r++) {
        float acc[LANES] = { 0 };
        for (size_t i = 0; i < cols; i++) acc[i % LANES] = fmaf(bf16(w[r * cols + i]), x[i], acc[i % LANES]);
        out[r] = tree(acc);
    }
}

static void int16_rows_c(const int16_t *w, size_t rows, size_t cols, const float *x, float *out)
{
    for (size_t r = 0; r < rows; r++) {
        float sum[LANES] = { 0 };
        for (size_t first = 0; first < cols; first += ROUTE_CHAIN) {
            float acc[LANES] = { 0 };
            for (size_t i = first; i < min_size(first + ROUTE_CHAIN, cols); i++)
                acc[i % LANES] = fmaf((float)w[r * cols + i], x[i], acc[i % LANES]);
            for (size_t j = 0; j < LANES; j++) sum[j] = sum[j] + acc[j];
        }
        out[r] = tree(sum);
    }
}

static void int16_cols_c(const int16_t *w, size_t rank, size_t experts, const float *y, float *out)
{
    for (size_t e = 0; e < experts; e++) out[e] = 0.0f;
    for (size_t j = 0; j < rank; j++)
        for (size_t e = 0; e < experts; e++) out[e] = fmaf((float)w[j * experts + e], y[j], out[e]);
}

/* The values so far that are among the k largest, in falling order. */
static float kth_c(const float *v, size_t n, size_t k)
{
    float top[EXPERTS_MAX];
    size_t held = 0;
    assert(k >= 1 && k <= n && n <= EXPERTS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (held == k && !(v[i] > top[held - 1])) continue;
        size_t at = held < k ? held++ : held - 1;
        for (; at > 0 && top[at - 1] < v[i]; at--) top[at] = top[at - 1];
        top[at] = v[i];
    }
    return top[k - 1];
}

void route_bind_c(struct route_kernels *k)
{
    *k = (struct route_kernels){ .input = input_c, .copy = copy_c, .codes = codes_c,
                                 .bf16_rows = bf16_rows_c, .int16_rows = int16_rows_c, .int16_cols = int16_cols_c,
                                 .kth = kth_c };
}

/* ---- above the kernels ---- */

float route_second(const struct route_kernels *k, const struct route *r, const struct route_input *in, size_t e)
{
    float out;
    const uint16_t *scales = r->scales + e * route_scale_stride(r->cols);
    k->codes(r->second + e * in->groups * ROUTE_GROUP, scales, 1, NULL, in, &out, NULL);
    return out;
}

float route_refined(float by_first, float second)
{
    return fmaf(second, 0x1p-8f, by_first);
}

/* Row number `at` of a part, in the order of reading: of all rows, or in turns of some rows of A and the same of B.
 * Behind the last one follows `then`. */
static const uint8_t *row_in_order(const struct route *r, const struct route_part *part, size_t at)
{
    size_t all = part->count + part->next, row = route_groups(r->cols) * ROUTE_GROUP;
    size_t rows = part->both ? 2 * all : all;
    if (at >= rows) return (at - rows + 1) * row <= part->then_bytes ? part->then + (at - rows) * row : NULL;
    if (!part->both) return r->first + (part->first + at) * row;
    size_t turn = at / (2 * ROUTE_ROWS_IN_TURN) * ROUTE_ROWS_IN_TURN, in_turn = at % (2 * ROUTE_ROWS_IN_TURN);
    size_t each = min_size(ROUTE_ROWS_IN_TURN, all - turn); /* the last turn may be shorter */
    return in_turn < each ? r->first + (part->first + turn + in_turn) * row
                          : r->second + (part->first + turn + in_turn - each) * row;
}

static void ask_rows(const struct route *r, const struct route_part *part, size_t at, size_t rows,
                     const uint8_t *ask[static ROUTE_ROWS_IN_TURN])
{
    size_t ahead = ceil_div(ASK_BYTES, route_groups(r->cols) * ROUTE_GROUP);
    for (size_t i = 0; i < rows; i++) ask[i] = row_in_order(r, part, at + ahead + i);
}

void route_scores(const struct route_kernels *k, const struct route *r, const struct route_input *in,
                  const struct route_part *part, float *out, float *reach)
{
    size_t stride = route_scale_stride(r->cols), row = in->groups * ROUTE_GROUP, at = 0;
    const uint8_t *ask[ROUTE_ROWS_IN_TURN];
    for (size_t i = 0, rows; i < part->count; i += rows) {
        size_t e = part->first + i;
        const uint16_t *scales = r->scales + e * stride;
        float second[ROUTE_ROWS_IN_TURN];
        rows = min_size(ROUTE_ROWS_IN_TURN, part->count - i);
        ask_rows(r, part, at, rows, ask);
        k->codes(r->first + e * row, scales, rows, ask, in, out + i, reach + i);
        at += rows;
        if (!part->both) continue;
        ask_rows(r, part, at, rows, ask);
        k->codes(r->second + e * row, scales, rows, ask, in, second, NULL);
        for (size_t j = 0; j < rows; j++) out[i + j] = route_refined(out[i + j], second[j]);
        at += rows;
    }
}

/* ---- the bound ---- */

/* Squares below 2^-149 are lost: of 2^17 values at most 2^-66 of the norm. Where a scale is at its least value, codes
 * say up to 4 * 2^-60 more a group than the values do: that is in here too, so that |x'| <= 1.04 times the result. */
float route_norm_above(float sum_of_squares)
{
    return sqrtf(sum_of_squares) * ABOVE + ROUTE_NORM_SLACK;
}

/* Roundings of an f32 score of n terms, in units of u |W| |x|: 16 chains, four steps of the tree, one for u^2. */
static float score_roundings(size_t n)
{
    return (float)(ceil_div(n, LANES) + 5);
}

/* The last 2^-120 covers products that underflow. What rounds besides: our own sum (groups + 8 steps, over |codes| |x'|
 * <= 1.1 |W| |x|; what the second plane adds is 1 / 25 of that), and the ends of the interval the caller makes (4). */
void route_bounds(const struct route *r, const struct route_input *in, size_t first, size_t count, bool both,
                  const float *reach, float *out)
{
    float steps = score_roundings(r->cols) + 1.2f * (float)(in->groups + 8) + 4.0f;
    float by_norm = in->rest + in->all * (steps * UNIT);
    const struct route_fact *f = r->facts + first;
    for (size_t i = 0; i < count; i++) {
        float cut = both ? f[i].second : f[i].first;
        out[i] = (cut * reach[i] + f[i].norm * by_norm) * ABOVE + 0x1p-120f;
    }
}

/* Roundings of int16_rows over n terms: a chain, its sums, the tree. */
static float chain_roundings(size_t n)
{
    return (float)(ceil_div(min_size(n, ROUTE_CHAIN), LANES) + ceil_div(n, ROUTE_CHAIN) + 5);
}

void route_factor_scores(const struct route_kernels *k, const struct route *r, const float *y, float *out)
{
    k->int16_cols(r->outer, r->rank, r->experts, y, out);
    for (size_t e = 0; e < r->experts; e++) out[e] = r->facts[e].scale * out[e];
}

/* Q x is off by chain_roundings(cols) u |Q's row| |x| in each value, and O times it rounds `rank` times; |Q x| <= |Q|
 * |x|. The f32 score itself, and the ends of the interval the caller makes (4), round beside the row. */
void route_factor_bounds(const struct route *r, float x_norm, float *out)
{
    float by_factor = (chain_roundings(r->cols) + (float)r->rank + 2.0f) * UNIT;
    float by_norm = (score_roundings(r->cols) + 4.0f) * UNIT, most = x_norm * (1.01f * ABOVE);
    for (size_t e = 0; e < r->experts; e++) {
        const struct route_fact *f = &r->facts[e];
        out[e] = (f->second * by_factor + f->first + f->norm * by_norm) * most + 0x1p-120f;
    }
}
