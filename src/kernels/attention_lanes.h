/* The slots of attention.h over 16 lanes: the same bits as attention.c, many rows at a time.
 *
 * Scores and values are one operation, out[row][j] = fma(weight[row][k], matrix[k][j], out[row][j]) for k in order:
 *   scores   k is a channel, j a position of the page, weight the query, matrix the keys;
 *   values   k is a position, j a channel, weight the probability, matrix the values.
 * `accumulate` does it for up to ROWS_AT_ONCE rows, so that each load of the matrix feeds them all; sums stay in
 * registers over the whole of k for many rows (arithmetic is the limit), or over CHUNK_BYTES of the matrix for few
 * (memory is): then chunks follow each other in the order of addresses, and each fetches the next, across the border
 * to the next matrix of the list (measured on a Zen 4 core: 70% of its read bandwidth without, 85% with).
 *
 * Included after a tier's lanes_*.h, by that tier's .c file alone. */
#ifndef HEARTH_KERNELS_ATTENTION_LANES_H
#define HEARTH_KERNELS_ATTENTION_LANES_H

#include "kernels/lanes.h"
#include "kernels/tiers.h"

#define ATTENTION_INLINE static inline __attribute__((always_inline))

enum {
    CHUNK_BYTES = 16384, /* read ahead, into the level-2 cache: 8 to 32 KiB equal, 4 KiB or level 1 slower (Zen 4) */
    FEW_ROWS = 12,      /* of one call: up to here memory is the limit */
    ROWS_MOST = 6,      /* a tier's ROWS_AT_ONCE is at most this */
    BATCH_ROWS = 48     /* rows that walk the pages together: their queries and outputs stay in the level-2 cache */
};

/* One matrix and what is read after it. */
struct attention_matrix {
    const char *bytes, *next; /* next: the first bytes of the following matrix, or NULL */
    size_t width, value_bytes, rows_a_chunk;
    size_t columns; /* that are computed: width, or fewer */
};

/* Rows of a call that see one page, and what they see of it. */
struct attention_group {
    size_t count;
    const struct attention_row *rows[ROWS_MOST];
    size_t begin[ROWS_MOST], end[ROWS_MOST];   /* positions of the page */
    _Alignas(64) float p[ROWS_MOST][PAGE_TOK]; /* scores, then probabilities */
};

ATTENTION_INLINE lanes attention_load(const char *at, size_t value_bytes)
{
    return value_bytes == 4 ? lanes_load((const float *)(const void *)at)
                            : lanes_load16((const uint16_t *)(const void *)at);
}

ATTENTION_INLINE lanes attention_load_n(const char *at, size_t value_bytes, size_t n)
{
    return value_bytes == 4 ? lanes_load_n((const float *)(const void *)at, n, 0.0f)
                            : lanes_load16_n((const uint16_t *)(const void *)at, n);
}

/* `wide` vectors of each of `count` rows: both are constants where this is inlined, and so all sums are registers. */
ATTENTION_INLINE void accumulate_block(const struct attention_matrix *m, size_t value_bytes, size_t count, size_t wide,
                                       const float *const *weights, size_t k_begin, size_t k_end, size_t column,
                                       float *const *out, const char *ahead)
{
    lanes sums[ROWS_MOST][4];
    size_t row_bytes = m->width * value_bytes;
    const char *at = m->bytes + k_begin * row_bytes + column * value_bytes;
#pragma GCC unroll 8
    for (size_t r = 0; r < count; r++)
#pragma GCC unroll 8
        for (size_t v = 0; v < wide; v++) sums[r][v] = lanes_load(out[r] + column + v * LANES);
    for (size_t k = k_begin; k < k_end; k++, at += row_bytes) {
        lanes values[4];
#pragma GCC unroll 8
        for (size_t v = 0; v < wide; v++) values[v] = attention_load(at + v * LANES * value_bytes, value_bytes);
#pragma GCC unroll 8
        for (size_t r = 0; r < count; r++) {
            lanes weight = lanes_set(weights[r][k]);
#pragma GCC unroll 8
            for (size_t v = 0; v < wide; v++) sums[r][v] = lanes_fma(weight, values[v], sums[r][v]);
        }
#pragma GCC unroll 8
        for (size_t line = 0; line < wide * LANES * value_bytes; line += 64) __builtin_prefetch(ahead + line, 0, 2);
        ahead += wide * LANES * value_bytes;
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < count; r++)
#pragma GCC unroll 8
        for (size_t v = 0; v < wide; v++) lanes_store(out[r] + column + v * LANES, sums[r][v]);
}

/* The last width % 16 columns. */
ATTENTION_INLINE void accumulate_rest(const struct attention_matrix *m, size_t value_bytes, size_t count,
                                      const float *const *weights, size_t k_begin, size_t k_end, size_t column,
                                      float *const *out)
{
    size_t n = m->columns - column;
    for (size_t r = 0; r < count; r++) {
        lanes sum = lanes_load_n(out[r] + column, n, 0.0f);
        for (size_t k = k_begin; k < k_end; k++) {
            lanes value = attention_load_n(m->bytes + (k * m->width + column) * value_bytes, value_bytes, n);
            sum = lanes_fma(lanes_set(weights[r][k]), value, sum);
        }
        lanes_store_n(out[r] + column, n, sum);
    }
}

/* Rows k_begin..k_end-1 of the matrix. */
ATTENTION_INLINE void accumulate_rows(const struct attention_matrix *m, size_t value_bytes, size_t count,
                                      const float *const *weights, size_t k_begin, size_t k_end, float *const *out,
                                      const char *ahead)
{
    size_t wide = lanes_wide(count), column = 0, block_bytes = LANES * value_bytes * (k_end - k_begin);
    for (; column + wide * LANES <= m->columns; column += wide * LANES, ahead += wide * block_bytes)
        accumulate_block(m, value_bytes, count, wide, weights, k_begin, k_end, column, out, ahead);
    for (; column + LANES <= m->columns; column += LANES, ahead += block_bytes)
        accumulate_block(m, value_bytes, count, 1, weights, k_begin, k_end, column, out, ahead);
    if (column < m->columns) accumulate_rest(m, value_bytes, count, weights, k_begin, k_end, column, out);
}

/* In chunks. The last one fetches the start of the next matrix; one that none follows fetches itself, for nothing. */
ATTENTION_INLINE void accumulate_typed(const struct attention_matrix *m, size_t value_bytes, size_t count,
                                       const float *const *weights, size_t k_begin, size_t k_end, float *const *out)
{
    for (size_t k = k_begin; k < k_end; k += m->rows_a_chunk) {
        size_t end = k_end - k > m->rows_a_chunk ? k + m->rows_a_chunk : k_end;
        const char *here = m->bytes + k * m->width * value_bytes;
        const char *ahead = end < k_end ? m->bytes + end * m->width * value_bytes : m->next != NULL ? m->next : here;
        accumulate_rows(m, value_bytes, count, weights, k, end, out, ahead);
    }
}

ATTENTION_INLINE void accumulate_count(const struct attention_matrix *m, size_t count, const float *const *weights,
                                       size_t k_begin, size_t k_end, float *const *out)
{
    if (m->value_bytes == 4) accumulate_typed(m, 4, count, weights, k_begin, k_end, out);
    else accumulate_typed(m, 2, count, weights, k_begin, k_end, out);
}

static void accumulate_1(const struct attention_matrix *m, const float *const *weights, size_t k_begin, size_t k_end,
                         float *const *out)
{
    accumulate_count(m, 1, weights, k_begin, k_end, out);
}

static void accumulate_2(const struct attention_matrix *m, const float *const *weights, size_t k_begin, size_t k_end,
                         float *const *out)
{
    accumulate_count(m, 2, weights, k_begin, k_end, out);
}

static void accumulate_3(const struct attention_matrix *m, const float *const *weights, size_t k_begin, size_t k_end,
                         float *const *out)
{
    accumulate_count(m, 3, weights, k_begin, k_end, out);
}

static void accumulate_4(const struct attention_matrix *m, const float *const *weights, size_t k_begin, size_t k_end,
                         float *const *out)
{
    accumulate_count(m, 4, weights, k_begin, k_end, out);
}

static void accumulate_5(const struct attention_matrix *m, const float *const *weights, size_t k_begin, size_t k_end,
                         float *const *out)
{
    accumulate_count(m, 5, weights, k_begin, k_end, out);
}

static void accumulate_6(const struct attention_matrix *m, const float *const *weights, size_t k_begin, size_t k_end,
                         float *const *out)
{
    accumulate_count(m, 6, weights, k_begin, k_end, out);
}

static void accumulate(const struct attention_matrix *m, size_t count, const float *const *weights, size_t k_begin,
                       size_t k_end, float *const *out)
{
    static void (*const by_count[ROWS_MOST])(const struct attention_matrix *, const float *const *, size_t, size_t,
                                                float *const *) = { accumulate_1, accumulate_2, accumulate_3,
                                                                    accumulate_4, accumulate_5, accumulate_6 };
    by_count[count - 1](m, weights, k_begin, k_end, out);
}

/* What scores become before the softmax: times scale, then the cap. Positions the row does not see become -inf. */
static inline lanes attention_score(const struct attention_span *s, lanes score, size_t from, size_t begin, size_t end)
{
    static const float index[LANES] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    score = lanes_mul(score, lanes_set(s->scale));
    if (s->soft_cap > 0.0f) {
        lanes cap = lanes_set(s->soft_cap);
        score = lanes_mul(cap, lanes_tanh(lanes_div(score, cap)));
    }
    if (begin <= from && from + LANES <= end) return score;
    lanes at = lanes_add(lanes_load(index), lanes_set((float)from)), never = lanes_set(-INFINITY);
    score = lanes_if_less(at, lanes_set((float)begin), never, score);
    return lanes_if_less(at, lanes_set((float)end), score, never);
}

/* Scores of row r to probabilities: the page step of the header up to the sum. -inf becomes exactly 0, also where the
 * maximum is infinite; where it is -inf, all is NaN in the definition too. */
static void attention_softmax(const struct attention_span *s, struct attention_group *g, size_t r, bool empty)
{
    float *out = g->rows[r]->part, *max = out + s->value_dim, *sum = max + 1, before = *max;
    lanes scores[PAGE_TOK / LANES], largest = lanes_set(-INFINITY);
    for (size_t v = 0; v < PAGE_TOK / LANES; v++) {
        scores[v] = attention_score(s, lanes_load(g->p[r] + v * LANES), v * LANES, g->begin[r], g->end[r]);
        largest = lanes_max(scores[v], largest);
    }
    float page_max = lanes_largest(largest);
    if (empty || page_max > before) *max = page_max + 0.0f;
    if (!empty && page_max > before) {
        float a = exp_f32(before - *max);
        *sum = *sum * a;
        for (size_t c = 0; c < s->value_dim; c += LANES)
            lanes_store_n(out + c, s->value_dim - c,
                          lanes_mul(lanes_load_n(out + c, s->value_dim - c, 0.0f), lanes_set(a)));
    }
    lanes total = lanes_set(0.0f);
    for (size_t v = 0; v < PAGE_TOK / LANES; v++) {
        lanes p = lanes_exp(lanes_sub(scores[v], lanes_set(*max)));
        lanes_store(g->p[r] + v * LANES, p);
        total = lanes_add(total, p);
    }
    *sum = *sum + lanes_tree(total);
}

/* Positions that all rows see go together; those before and after, row by row: each row keeps the order. The matrix has
 * the channels from `channel` on. */
static void attention_values(struct attention_group *g, const struct attention_matrix *values, size_t channel)
{
    const float *weights[ROWS_MOST];
    float *out[ROWS_MOST];
    size_t begin = 0, end = PAGE_TOK;
    for (size_t r = 0; r < g->count; r++) {
        weights[r] = g->p[r];
        out[r] = g->rows[r]->part + channel;
        begin = g->begin[r] > begin ? g->begin[r] : begin;
        end = g->end[r] < end ? g->end[r] : end;
    }
    if (begin >= end) begin = end = PAGE_TOK; /* nothing in common */
    for (size_t r = 0; r < g->count; r++)
        accumulate(values, 1, weights + r, g->begin[r], g->end[r] < begin ? g->end[r] : begin, out + r);
    if (begin < end) accumulate(values, g->count, weights, begin, end, out);
    for (size_t r = 0; r < g->count; r++)
        if (g->end[r] > end) accumulate(values, 1, weights + r, end, g->end[r], out + r);
}

/* The page step up to the probabilities. */
static void attention_scores(const struct attention_span *s, struct attention_group *g, size_t at,
                             const struct attention_matrix *keys)
{
    const float *weights[ROWS_MOST];
    float *out[ROWS_MOST];
    struct attention_matrix seen = *keys;
    seen.columns = LANES; /* behind the last position that a row sees there is nothing to score: a prompt's last page */
    for (size_t r = 0; r < g->count; r++) {
        weights[r] = g->rows[r]->q, out[r] = g->p[r];
        while (seen.columns < g->end[r]) seen.columns += LANES;
    }
    memset(g->p, 0, g->count * sizeof g->p[0]);
    accumulate(&seen, g->count, weights, 0, s->key_dim, out);
    for (size_t r = 0; r < g->count; r++) {
        /* Empty so far: nothing of this span lies before this page and is seen. */
        bool empty = g->rows[r]->lo >= at || at == s->first_page * PAGE_TOK;
        attention_softmax(s, g, r, empty);
    }
}

/* Adds row r to the group where it sees some of the page at position `at`. */
static void attention_join(const struct attention_row *row, size_t at, struct attention_group *g)
{
    size_t from = row->lo > at ? row->lo - at : 0, to = row->hi > at ? row->hi - at : 0;
    to = to < PAGE_TOK ? to : PAGE_TOK;
    if (from >= to) return;
    g->rows[g->count] = row;
    g->begin[g->count] = from;
    g->end[g->count++] = to;
}

/* The rows begin..end-1 that see the page at position `at`, ROWS_AT_ONCE together. */
static void attention_rows(const struct attention_span *s, size_t begin, size_t end, size_t at,
                           const struct attention_matrix *keys, const struct attention_matrix *values)
{
    struct attention_group g;
    g.count = 0;
    for (size_t r = begin; r < end; r++) {
        attention_join(&s->rows[r], at, &g);
        if (g.count < ROWS_AT_ONCE && (r + 1 < end || g.count == 0)) continue;
        attention_scores(s, &g, at, keys);
        attention_values(&g, values, 0);
        g.count = 0;
    }
}

/* Values that are their keys' begin: channels are rows there, so TURN of them are turned at a time, into memory that
 * stays in the first cache while all rows' probabilities meet it. */
enum { TURN = 64, TURN_ROWS = 128, TURN_GROUPS = (TURN_ROWS + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE };

/* to[i][c] = value c of position i, `width` of them from channel `first` of a key page; rows of `width` floats. */
static void attention_turn(const struct attention_span *s, const char *page, size_t first, size_t width, float *to)
{
    _Alignas(64) float wide[LANES * PAGE_TOK];
    size_t each = s->type == KV_F32 ? 4 : 2;
    for (size_t c = 0; c < width; c += LANES) {
        size_t n = width - c < LANES ? width - c : LANES;
        const char *from = page + (first + c) * PAGE_TOK * each;
        for (size_t i = 0; i < n * PAGE_TOK; i += LANES) lanes_store(wide + i, attention_load(from + i * each, each));
        if (n == LANES)
            for (size_t i = 0; i < PAGE_TOK; i += LANES) lanes_turn(to + i * width + c, width, wide + i, PAGE_TOK);
        else
            for (size_t i = 0; i < n * PAGE_TOK; i++) to[i % PAGE_TOK * width + c + i / PAGE_TOK] = wide[i];
    }
}

static void attention_turned_rows(const struct attention_span *s, size_t begin, size_t end, size_t at,
                                  const struct attention_matrix *keys)
{
    struct attention_group groups[TURN_GROUPS];
    _Alignas(64) float values[PAGE_TOK * TURN];
    size_t count = 0;
    groups[0].count = 0;
    for (size_t r = begin; r < end; r++) {
        attention_join(&s->rows[r], at, &groups[count]);
        if (groups[count].count == ROWS_AT_ONCE && r + 1 < end) groups[++count].count = 0;
    }
    count += groups[count].count > 0;
    for (size_t g = 0; g < count; g++) attention_scores(s, &groups[g], at, keys);
    for (size_t c = 0; count > 0 && c < s->value_dim; c += TURN) {
        size_t width = s->value_dim - c < TURN ? s->value_dim - c : TURN;
        const struct attention_matrix m = { (const char *)values, NULL, width, 4, PAGE_TOK, width };
        attention_turn(s, keys->bytes, c, width, values);
        for (size_t g = 0; g < count; g++) attention_values(&groups[g], &m, c);
    }
}

/* The first and the last page plus one that rows begin..end-1 see between them. */
static void attention_seen(const struct attention_span *s, size_t begin, size_t end, size_t *first, size_t *last)
{
    size_t start = s->first_page * PAGE_TOK, stop = start + s->pages * PAGE_TOK, lo = stop, hi = start;
    for (size_t r = begin; r < end; r++) {
        const struct attention_row *row = &s->rows[r];
        if (row->lo >= row->hi || row->lo >= stop || row->hi <= start) continue;
        lo = row->lo < lo ? row->lo : lo;
        hi = row->hi > hi ? row->hi : hi;
    }
    lo = lo > start ? lo - start : 0;
    hi = (hi < stop ? hi : stop) - start;
    *first = lo / PAGE_TOK;
    *last = (hi + PAGE_TOK - 1) / PAGE_TOK;
}

static inline size_t attention_chunk(size_t row_bytes)
{
    return row_bytes < CHUNK_BYTES ? CHUNK_BYTES / row_bytes : 1;
}

/* Pages first..last-1 for rows begin..end-1. */
static void attention_pages(const struct attention_span *s, size_t begin, size_t end, size_t first, size_t last)
{
    size_t value_bytes = s->type == KV_F32 ? 4 : 2;
    bool few = end - begin <= FEW_ROWS;
    for (size_t page = first; page < last; page++) {
        const void *next = page + 1 < last ? s->k_pages[page + 1] : NULL;
        size_t at = (s->first_page + page) * PAGE_TOK;
        struct attention_matrix keys = { s->k_pages[page], s->v_pages != NULL ? s->v_pages[page] : next, PAGE_TOK,
                                         value_bytes, few ? attention_chunk(PAGE_TOK * value_bytes) : s->key_dim,
                                         PAGE_TOK };
        if (s->v_pages == NULL) {
            attention_turned_rows(s, begin, end, at, &keys);
            continue;
        }
        struct attention_matrix values = { s->v_pages[page], next, s->value_dim, value_bytes,
                                           few ? attention_chunk(s->value_dim * value_bytes) : PAGE_TOK, s->value_dim };
        attention_rows(s, begin, end, at, &keys, &values);
    }
}

static void attention_span_lanes(const struct attention_span *s)
{
    size_t batch = s->v_pages != NULL ? BATCH_ROWS : TURN_ROWS;
    for (size_t begin = 0; begin < s->row_count; begin += batch) {
        size_t end = s->row_count - begin > batch ? begin + batch : s->row_count, first, last;
        for (size_t r = begin; r < end; r++) memset(s->rows[r].part, 0, (s->value_dim + 2) * sizeof(float));
        attention_seen(s, begin, end, &first, &last);
        attention_pages(s, begin, end, first, last);
    }
}

static void attention_combine_lanes(float *a, const float *b, size_t value_dim)
{
    float max_a = a[value_dim], max_b = b[value_dim], sum_a = a[value_dim + 1], sum_b = b[value_dim + 1];
    if (sum_b == 0.0f) return;
    if (sum_a == 0.0f) {
        memcpy(a, b, (value_dim + 2) * sizeof *a);
        return;
    }
    bool scale_a = max_b > max_a, scale_b = max_a > max_b;
    float f = scale_a ? exp_f32(max_a - max_b) : exp_f32(max_b - max_a);
    lanes f_a = lanes_set(scale_a ? f : 1.0f), f_b = lanes_set(scale_b ? f : 1.0f); /* times 1 changes no bit */
    for (size_t c = 0; c < value_dim; c += LANES) {
        lanes of_a = lanes_mul(lanes_load_n(a + c, value_dim - c, 0.0f), f_a);
        lanes of_b = lanes_mul(lanes_load_n(b + c, value_dim - c, 0.0f), f_b);
        lanes_store_n(a + c, value_dim - c, lanes_add(of_a, of_b));
    }
    a[value_dim] = scale_a ? max_b : max_a;
    a[value_dim + 1] = (scale_a ? sum_a * f : sum_a) + (scale_b ? sum_b * f : sum_b);
}

static void attention_finish_lanes(float *part, const float *sink, size_t value_dim, float *out)
{
    float max = part[value_dim], sum = part[value_dim + 1], f = 1.0f;
    lanes zero = lanes_set(-0.0f); /* x + -0 is x for every x */
    if (sink != NULL) {
        bool empty = sum == 0.0f, scale_a = *sink > max && !empty, scale_b = max > *sink && !empty;
        f = scale_a ? exp_f32(max - *sink) : 1.0f;
        sum = (scale_a ? sum * f : sum) + (scale_b ? exp_f32(*sink - max) : 1.0f);
        zero = lanes_set(0.0f);
    }
    for (size_t c = 0; c < value_dim; c += LANES) {
        lanes x = lanes_add(lanes_mul(lanes_load_n(part + c, value_dim - c, 0.0f), lanes_set(f)), zero);
        lanes_store_n(out + c, value_dim - c, lanes_div(x, lanes_set(sum)));
    }
}

/* Keys go one by one to their columns; values in a row. */
static void attention_store_one(enum kv_type type, const float *k, const float *v, size_t key_dim, size_t value_dim,
                                size_t at, void *k_page, void *v_page)
{
    if (type == KV_F32) {
        float *keys = k_page, *values = (float *)v_page + at * value_dim;
        for (size_t c = 0; c < key_dim; c++) keys[c * PAGE_TOK + at] = k[c];
        memcpy(values, v, value_dim * sizeof *values);
        return;
    }
    uint16_t *keys = k_page, *values = (uint16_t *)v_page + at * value_dim, sixteen[LANES];
    for (size_t c = 0; c < key_dim; c += LANES) {
        lanes_store16_n(sixteen, LANES, lanes_clamp16(lanes_load_n(k + c, key_dim - c, 0.0f)));
        for (size_t i = 0; i < LANES && c + i < key_dim; i++) keys[(c + i) * PAGE_TOK + at] = sixteen[i];
    }
    for (size_t c = 0; c < value_dim; c += LANES)
        lanes_store16_n(values + c, value_dim - c, lanes_clamp16(lanes_load_n(v + c, value_dim - c, 0.0f)));
}

/* Channels 0..key_dim-1, a multiple of LANES, of LANES keys to positions `at` and on: turned, they are rows of the
 * page. One by one they would write every line of it LANES times. */
static void attention_store_keys16(const float *k, size_t k_stride, size_t key_dim, size_t at, uint16_t *page)
{
    _Alignas(64) float turned[LANES * LANES];
    for (size_t c = 0; c < key_dim; c += LANES) {
        lanes_turn(turned, LANES, k + c, k_stride);
        for (size_t i = 0; i < LANES; i++)
            lanes_store16_n(page + (c + i) * PAGE_TOK + at, LANES, lanes_clamp16(lanes_load(turned + i * LANES)));
    }
}

static void attention_store_lanes(enum kv_type type, const struct attention_tokens *from, size_t key_dim,
                                  size_t value_dim, size_t at, void *k_page, void *v_page)
{
    size_t i = 0;
    for (; type == KV_F16 && key_dim % LANES == 0 && i + LANES <= from->count; i += LANES) {
        attention_store_keys16(from->k + i * from->k_stride, from->k_stride, key_dim, at + i, k_page);
        for (size_t j = i; j < i + LANES; j++)
            attention_store_one(type, from->k, from->v + j * from->v_stride, 0, value_dim, at + j, k_page, v_page);
    }
    for (; i < from->count; i++)
        attention_store_one(type, from->k + i * from->k_stride, from->v + i * from->v_stride, key_dim, value_dim,
                            at + i, k_page, v_page);
}

static inline void attention_bind_lanes(struct attention_kernels *k)
{
    *k = (struct attention_kernels){ .span = attention_span_lanes, .combine = attention_combine_lanes,
                                     .finish = attention_finish_lanes, .store = attention_store_lanes };
}

#endif
