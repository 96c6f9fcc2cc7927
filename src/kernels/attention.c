/* The definition of attention.h, position by position: slow, and so plain that it can be held against the header line
 * by line. attention_lanes.h has the same for every tier. */
#include "kernels/math.h"
#include "kernels/tiers.h"

enum { LANES = 16 };

/* Value `at` of a page. */
static float read(enum kv_type type, const void *page, size_t at)
{
    if (type == KV_F32) return ((const float *)page)[at];
    return f16_to_f32(((const uint16_t *)page)[at]);
}

/* The scores of positions begin..end-1 of a page; returns their maximum. */
static float page_scores(const struct attention_span *s, const float *q, const void *keys, size_t begin, size_t end,
                         float scores[static PAGE_TOK])
{
    float max = -INFINITY;
    for (size_t i = begin; i < end; i++) {
        float score = 0.0f;
        for (size_t c = 0; c < s->key_dim; c++) score = fmaf(q[c], read(s->type, keys, c * PAGE_TOK + i), score);
        score = score * s->scale;
        if (s->soft_cap > 0.0f) score = s->soft_cap * tanh_f32(score / s->soft_cap);
        scores[i] = score;
        max = score > max ? score : max;
    }
    return max;
}

/* 16 partial sums by position modulo 16, skipped positions as 0, then the tree of vector.h. */
static float page_sum(const float p[static PAGE_TOK], size_t begin, size_t end)
{
    float sums[LANES] = { 0 };
    for (size_t i = begin; i < end; i++) sums[i % LANES] = sums[i % LANES] + p[i];
    for (size_t width = LANES / 2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++) sums[i] = sums[i] + sums[i + width];
    return sums[0];
}

/* One page of one row: positions begin..end-1 of the page. */
static void page_step(const struct attention_span *s, const float *q, const void *keys, const void *values,
                      size_t begin, size_t end, float *part, bool *empty)
{
    float p[PAGE_TOK], *out = part, *max = part + s->value_dim, *sum = max + 1;
    float page_max = page_scores(s, q, keys, begin, end, p), before = *max;
    if (*empty || page_max > before) *max = page_max + 0.0f; /* -0 + 0 = +0: one zero, whoever found it */
    if (!*empty && page_max > before) {
        float a = exp_f32(before - *max);
        *sum = *sum * a;
        for (size_t c = 0; c < s->value_dim; c++) out[c] = out[c] * a;
    }
    for (size_t i = begin; i < end; i++) p[i] = exp_f32(p[i] - *max);
    *sum = *sum + page_sum(p, begin, end);
    for (size_t i = begin; i < end; i++)
        for (size_t c = 0; c < s->value_dim; c++) {
            float value = values != NULL ? read(s->type, values, i * s->value_dim + c)
                                         : read(s->type, keys, c * PAGE_TOK + i);
            out[c] = fmaf(p[i], value, out[c]);
        }
    *empty = false;
}

static void span_c(const struct attention_span *s)
{
    for (size_t r = 0; r < s->row_count; r++) {
        const struct attention_row *row = &s->rows[r];
        bool empty = true;
        memset(row->part, 0, (s->value_dim + 2) * sizeof *row->part);
        for (size_t page = 0; page < s->pages; page++) {
            size_t at = (s->first_page + page) * PAGE_TOK;
            size_t begin = row->lo > at ? row->lo - at : 0, end = row->hi > at ? row->hi - at : 0;
            if (end > PAGE_TOK) end = PAGE_TOK;
            if (begin < end)
                page_step(s, row->q, s->k_pages[page], s->v_pages != NULL ? s->v_pages[page] : NULL, begin, end,
                          row->part, &empty);
        }
    }
}

/* The two weights of a combination: 1 for the part with the larger maximum. */
static void combine_c(float *a, const float *b, size_t value_dim)
{
    float max_a = a[value_dim], max_b = b[value_dim], sum_a = a[value_dim + 1], sum_b = b[value_dim + 1];
    if (sum_b == 0.0f) return;
    if (sum_a == 0.0f) {
        memcpy(a, b, (value_dim + 2) * sizeof *a);
        return;
    }
    bool scale_a = max_b > max_a, scale_b = max_a > max_b;
    float f = scale_a ? exp_f32(max_a - max_b) : exp_f32(max_b - max_a);
    for (size_t c = 0; c < value_dim; c++) a[c] = (scale_a ? a[c] * f : a[c]) + (scale_b ? b[c] * f : b[c]);
    a[value_dim] = scale_a ? max_b : max_a;
    a[value_dim + 1] = (scale_a ? sum_a * f : sum_a) + (scale_b ? sum_b * f : sum_b);
}

/* The sink joins as a part b with max = sink, sum = 1, out = 0. A row without a sink that saw nothing is 0 / 0: NaN. */
static void finish_c(float *part, const float *sink, size_t value_dim, float *out)
{
    float max = part[value_dim], sum = part[value_dim + 1];
    if (sink == NULL) {
        for (size_t c = 0; c < value_dim; c++) out[c] = part[c] / sum;
        return;
    }
    bool empty = sum == 0.0f, scale_a = *sink > max && !empty, scale_b = max > *sink && !empty;
    float f = scale_a ? exp_f32(max - *sink) : scale_b ? exp_f32(*sink - max) : 1.0f;
    sum = (scale_a ? sum * f : sum) + (scale_b ? f : 1.0f);
    for (size_t c = 0; c < value_dim; c++) out[c] = ((scale_a ? part[c] * f : part[c]) + 0.0f) / sum;
}

static void store_one(enum kv_type type, const float *k, const float *v, size_t key_dim, size_t value_dim, size_t at,
                      void *k_page, void *v_page)
{
    if (type == KV_F32) {
        float *keys = k_page, *values = (float *)v_page + at * value_dim;
        for (size_t c = 0; c < key_dim; c++) keys[c * PAGE_TOK + at] = k[c];
        memcpy(values, v, value_dim * sizeof *values);
        return;
    }
    uint16_t *keys = k_page, *values = (uint16_t *)v_page + at * value_dim;
    for (size_t c = 0; c < key_dim; c++) keys[c * PAGE_TOK + at] = f16_clamped(k[c]);
    for (size_t c = 0; c < value_dim; c++) values[c] = f16_clamped(v[c]);
}

static void store_c(enum kv_type type, const struct attention_tokens *from, size_t key_dim, size_t value_dim, size_t at,
                    void *k_page, void *v_page)
{
    for (size_t i = 0; i < from->count; i++)
        store_one(type, from->k + i * from->k_stride, from->v + i * from->v_stride, key_dim, value_dim, at + i, k_page,
                  v_page);
}

void attention_bind_c(struct attention_kernels *k)
{
    *k = (struct attention_kernels){ .span = span_c, .coded_span = coded_span_c, .combine = combine_c,
                                     .finish = finish_c, .store = store_c };
}
