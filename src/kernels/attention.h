/* Attention over pages of 64 positions. A query sees the positions lo..hi-1. Pages are taken in order inside spans of
 * 16 pages cut at absolute positions; the partial results of spans combine in order. So any number of threads, any
 * chunking of the prompt and any batch give the same bits.
 *
 *   page      keys [channel][64 positions], values [position][channels]; f32 or f16 (widened exactly when read). Where
 *             v_pages is NULL a value is the begin of its key (latent attention): v[i][c] = k[c][i], the same bits as
 *             from pages of their own
 *   score     s[i] = fma chain over channels c = 0, 1, ...: s = fma(q[c], k[c][i], s); then s * scale; then, where
 *             soft_cap > 0, soft_cap * tanh(s / soft_cap). Only for lo <= i < hi: others are skipped.
 *   page step m' = max(m, max s). Where m' > m and the part is not empty: a = exp(m - m'), sum = sum * a, out likewise.
 *             p[i] = exp(s[i] - m'); sum = sum + tree(p) (16 partial sums by position modulo 16, skipped ones as 0);
 *             out[c] = fma(p[i], v[i][c], out[c]) for i in order. A score of NaN is never the maximum, but makes the
 *             sum and so every output of its row NaN: the caller, who checks outputs, sees it. m is stored as m + 0.
 *   combine   two parts a, b in order: m = max; the one with the smaller maximum is scaled by f = exp(m_small - m):
 *             sum = sum_a * f_a + sum_b * f_b, out likewise (a factor of 1 is not multiplied; separate roundings).
 *   finish    a sink, if there is one, joins as a part with max = sink, sum = 1, out = 0 after all spans;
 *             out[c] = out[c] / sum. Without a sink, a row that saw nothing ends as 0 / 0. */
#ifndef HEARTH_KERNELS_ATTENTION_H
#define HEARTH_KERNELS_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE_TOK = 64, SPAN_PAGES = 16, SPAN_TOK = PAGE_TOK * SPAN_PAGES };

/* How keys and values are kept. From KV_Q8 on in codes: coded.h. ORDER of coded.c's table and of kv_type_name. */
enum kv_type {
    KV_F32, KV_F16, KV_Q8, KV_Q4,
    KV_K2V2, KV_K2V3, KV_K2V4, KV_K3V2, KV_K3V3, KV_K3V4, KV_K4V2, KV_K4V3, KV_K4V4,
    KV_TYPES
};

static inline bool kv_is_coded(enum kv_type type) { return type >= KV_Q8; }
static inline bool kv_is_log(enum kv_type type) { return type >= KV_K2V2; }
/* What coded_turn is for: queries before a span and keys; results after all spans and values. */
static inline bool kv_turns_keys(enum kv_type type) { return type == KV_Q4; }
static inline bool kv_turns_values(enum kv_type type) { return type == KV_Q4 || kv_is_log(type); }

/* One query head of one token against one span. */
struct attention_row {
    const float *q; /* key_dim values, roped */
    size_t lo, hi;  /* absolute positions it may see; may reach beyond the span on both sides */
    float *part;    /* value_dim + 2 floats: out[], max, sum. Written whole; all zeros where it sees nothing here. */
};

/* A span of one key/value head and every query row that shares it (tokens x query heads of the group). */
struct attention_span {
    const void *const *k_pages, *const *v_pages; /* the span's pages, in order; only those some row can see are read */
    const uint64_t *skip;                        /* coded: per page, positions that are seen elsewhere; NULL: none */
    size_t first_page;                           /* absolute index of k_pages[0]: a multiple of SPAN_PAGES */
    size_t pages;                                /* 1..SPAN_PAGES */
    size_t ahead; /* coded: pages in k_pages behind those: read next, fetched meanwhile */
    enum kv_type type;
    size_t key_dim, value_dim;
    float scale, soft_cap;                       /* soft_cap 0: none */
    const struct attention_row *rows;
    size_t row_count;
};

/* Keys and values of `count` tokens in a row, rows `k_stride` and `v_stride` floats apart. */
struct attention_tokens {
    const float *k, *v;
    size_t k_stride, v_stride, count;
};

struct attention_kernels {
    void (*span)(const struct attention_span *s);
    /* The same for types in codes (coded.h), in the arithmetic of attention_coded.c; only k_pages is read. Where keys
     * or values are turned, queries come turned, and coded_turn_back is for after all spans are combined. */
    void (*coded_span)(const struct attention_span *s);
    /* part a = combine(a, b), for parts of value_dim + 2 floats; a part with sum 0 is empty. */
    void (*combine)(float *a, const float *b, size_t value_dim);
    /* Joins the sink (NULL: none) and divides: out[c], c < value_dim. */
    void (*finish)(float *part, const float *sink, size_t value_dim, float *out);
    /* Stores positions `at` (0..63) and on of a page: keys of key_dim values with stride 64, value_dim values in a
     * row. */
    void (*store)(enum kv_type type, const struct attention_tokens *from, size_t key_dim, size_t value_dim, size_t at,
                  void *k_page, void *v_page);
};

#endif
