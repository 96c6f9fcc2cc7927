/* attention_coded.c over lanes: the same bits. Up to ROWS rows share every expansion of codes into levels, which live
 * in registers alone. A group of four pages goes through three stages: keys (integer dot products of all its pages),
 * softmax (one maximum), values; keys and values fetch those of the next group.
 *
 * Included after a tier's codes_*.h, by that tier's .c file alone. */
#ifndef HEARTH_KERNELS_ATTENTION_CODED_LANES_H
#define HEARTH_KERNELS_ATTENTION_CODED_LANES_H

#include "kernels/codes.h"
#include "kernels/tiers.h"

#include "base/checked.h"
#include "base/le.h"

#include <assert.h>

#define CODED_INLINE static inline __attribute__((always_inline))
#define CODED_UNROLL _Pragma("GCC unroll 8")

enum { ROWS = 4, PAGE_LANES = PAGE_TOK / LANES, GROUP_LANES = GROUP_TOK / LANES, HALF = 64, HALF_TS = 16 };

/* How codes become levels: 2, 3, 4 bits through tables, 4 bits uniform, 8 bits as they are; 2 bits in place, where the
 * tier can: field j is a code times 4^j, and in_place sets the sums right. */
enum form { FORM_2, FORM_3, FORM_4, FORM_T4, FORM_T8, FORMS, FORM_IN_PLACE };

/* Tables of one form: `first` of index bits 0 and up, `second` of bits 2 and 3 (two codes in a nibble), `last` the same
 * for field 3. */
struct expansion {
    const uint8_t *codes;
    size_t vectors; /* of the whole matrix: where the third bits begin */
    bytes first, second, last;
    bool key;
};

/* Levels of the evenly spaced quantizer of 2 bits: 16 code - 24. */
enum { EVEN_STEP_LOG2 = 4, EVEN_OFFSET = 24 };

struct row_state {
    const struct attention_row *row;
    float max;
    bool empty, any;     /* any: sees something of the group */
    uint64_t seen[GROUP_PAGES];
    float a, b, factor[2]; /* of joining the group: see attention_coded.c; factor of each half block */
};

/* Everything a call works in. */
struct coded_work {
    const struct attention_span *s;
    const struct coded_kind *kind;
    struct coded_layout lay;
    size_t count; /* rows of this batch */
    struct row_state rows[ROWS];
    size_t pages; /* of the group */
    const uint8_t *page[GROUP_PAGES];
    const uint8_t *ahead[GROUP_PAGES]; /* pages of the next group */
    struct expansion keys, boost, values; /* without `codes`, which every page sets */
    uint8_t offsets[LOG_DIM_MAX];         /* log tiers: what is added to levels, by slot; 0 where there is no channel */
    _Alignas(64) int16_t query[ROWS][CODED_KEYS_MAX];
    /* token tiers: high and low halves of the query, and what offsets of levels take away from each block */
    _Alignas(64) int8_t codes[2][ROWS][CODED_KEYS_MAX];
    int32_t start[ROWS][CODED_KEYS_MAX / CODED_BLOCK];
    /* log tiers: of every page of the group the query times scales by channel and in codes by slot; factors of the
     * scores, 4 * page + row */
    _Alignas(64) uint8_t slots[GROUP_PAGES][LOG_DIM_MAX];
    _Alignas(64) int16_t products[GROUP_PAGES][ROWS][LOG_DIM_MAX];
    _Alignas(64) int8_t page_codes[GROUP_PAGES][ROWS][LOG_DIM_MAX];
    _Alignas(64) float a[GROUP_PAGES * ROWS], b[GROUP_PAGES * ROWS];
    float d[ROWS];
    _Alignas(64) float p[ROWS][GROUP_TOK], value_scales[GROUP_TOK], value_logs[GROUP_TOK];
    _Alignas(64) uint8_t weights[2][2][ROWS][GROUP_TOK]; /* block of the half, high or low (log: the first of each) */
    int32_t weight_sums[ROWS]; /* values in place */
};

CODED_INLINE ints quad_at(const void *p)
{
    int32_t quad;
    memcpy(&quad, p, sizeof quad);
    return ints_set(quad);
}

/* Lines of the next group, `lines` at a time, up to `end`. */
struct fetch {
    const uint8_t *at, *end;
    size_t lines;
};

/* Small pages into the level-1 cache, those of the token tiers into the second: a group of them is larger than the
 * first (measured on Zen 4 with q8: 4.4 ms by way of the first, 2.9). */
CODED_INLINE void fetch_line(enum form form, const uint8_t *at)
{
    if (form == FORM_T4 || form == FORM_T8) __builtin_prefetch(at, 0, 2);
    else __builtin_prefetch(at, 0, 3);
}

CODED_INLINE void fetch_next(enum form form, struct fetch *f)
{
    CODED_UNROLL for (size_t i = 0; i < f->lines; i++, f->at += 64)
        if (f->at < f->end) fetch_line(form, f->at);
}

/* Field j of vector g as levels: `form` and j are constants where this is inlined. */
CODED_INLINE bytes expand(enum form form, const struct expansion *x, size_t g, int j)
{
    bytes v;
    switch (form) {
    case FORM_IN_PLACE:
        return bytes_field(bytes_load(x->codes + 64 * g), j);
    case FORM_2:
        v = bytes_load(x->codes + 64 * g);
        return bytes_lookup(j % 2 == 0 ? x->first : j == 1 ? x->second : x->last,
                            j < 2 ? bytes_low4(v) : bytes_high4(v));
    case FORM_3:
        v = bytes_load(x->codes + 64 * x->vectors + 64 * (g / 2));
        return bytes_lookup(x->first, bytes_three(bytes_load(x->codes + 64 * g), v, j, g % 2 != 0));
    case FORM_4:
    case FORM_T4:
        v = bytes_load(x->codes + 64 * (2 * g + (size_t)j / 2));
        return bytes_lookup(x->first, j % 2 == 0 ? bytes_low4(v) : bytes_high4(v));
    default:
        v = bytes_load(x->codes + 64 * (4 * g + (size_t)j));
        return KEYS_SIGNED && x->key ? bytes_signed(v) : v;
    }
}

/* A level of the log tiers as products take it, never negative; and what a boost code adds, or is. */
static int8_t key_level(unsigned bits, unsigned code)
{
    const struct coded_levels *l = coded_levels(bits);
    return (int8_t)(l->levels[code] + l->offset);
}

static int8_t boost_level(unsigned bits, unsigned code)
{
    const struct coded_levels *l = coded_levels(bits);
    return (int8_t)(bits == 2 ? l->boosted[code & 15] + l->boost_offset
                              : l->steps[code & 3] + l->boost_offset - l->offset);
}

static struct expansion expansion_of(enum form form, size_t vectors, bool key)
{
    struct expansion x = { .vectors = vectors, .key = key };
    int8_t table[16] = { 0 }, second[16] = { 0 }, last[16] = { 0 };
    if (form == FORM_T8) return x;
    for (unsigned i = 0; i < 16; i++) {
        if (form == FORM_T4) {
            table[i] = (int8_t)(key && !KEYS_SIGNED ? 2 * i : 2 * i - 15);
            continue;
        }
        unsigned bits = (unsigned)form + 2, mask = (1u << bits) - 1;
        const int8_t *levels = coded_levels(bits)->levels;
        table[i] = key ? key_level(bits, i & mask) : levels[i & mask];
        second[i] = key ? key_level(bits, i >> 2 & mask) : levels[i >> 2 & mask];
        last[i] = key || bits != 2 ? second[i] : levels[(i >> 2 ^ 2) & mask];
    }
    x.first = bytes_table(table);
    x.second = bytes_table(second);
    x.last = bytes_table(last);
    return x;
}

static struct expansion expansion_of_boosts(unsigned bits)
{
    struct expansion x = { .key = true };
    int8_t first[16], second[16];
    for (unsigned i = 0; i < 16; i++) first[i] = boost_level(bits, i), second[i] = boost_level(bits, i >> 2);
    x.first = bytes_table(first);
    x.second = x.last = bytes_table(second);
    return x;
}

/* What key_level and boost_level add, by slot. */
static void set_offsets(struct coded_work *w, size_t key_dim)
{
    const struct coded_levels *l = coded_levels(w->kind->k_bits);
    for (size_t s = 0; s < LOG_DIM_MAX; s++)
        w->offsets[s] = (uint8_t)(s >= key_dim ? 0 : s < w->lay.boosts ? l->boost_offset : l->offset);
}

static enum form form_of(const struct coded_kind *kind, unsigned bits)
{
    return kind->log ? (enum form)(bits - 2) : bits == 8 ? FORM_T8 : FORM_T4;
}

/* ---- keys ---- */

/* Behind a loop of products: gcc 12 else moves the sums between registers, and to memory, all the way through it. */
CODED_INLINE void keep_sums(size_t rows, int fields, ints sums[ROWS][4])
{
    CODED_UNROLL for (size_t r = 0; r < rows; r++)
        CODED_UNROLL for (int j = 0; j < fields; j++) sums[r][j] = ints_kept(sums[r][j]);
}

/* sums[r][j] += levels of vectors begin..end-1 times quads of the rows. */
CODED_INLINE void dot_keys(enum form form, const struct expansion *x, size_t begin, size_t end, size_t rows, int j0,
                           int fields, const int8_t *quads, size_t stride, ints sums[ROWS][4], struct fetch *f)
{
    for (size_t g = begin; g < end; g++) {
        bytes levels[4];
        CODED_UNROLL for (int j = 0; j < fields; j++) levels[j] = expand(form, x, g, j0 + j);
        CODED_UNROLL for (size_t r = 0; r < rows; r++) {
            ints quad = quad_at(quads + r * stride + 4 * g);
            CODED_UNROLL for (int j = 0; j < fields; j++) sums[r][j] = ints_dot_keys(sums[r][j], levels[j], quad);
        }
        fetch_next(form, f);
    }
    keep_sums(rows, fields, sums);
}

/* Sums over fields of codes in place become sums of 16 code. */
CODED_INLINE void in_place(size_t rows, ints sums[ROWS][4])
{
    CODED_UNROLL for (size_t r = 0; r < rows; r++)
        CODED_UNROLL for (int j = 0; j < 4; j++) sums[r][j] = ints_shift(sums[r][j], EVEN_STEP_LOG2 - 2 * j);
}

CODED_INLINE void log_keys(enum form form, struct coded_work *w, size_t rows, size_t page)
{
    const bool place = form == FORM_2 && FIELDS_IN_PLACE;
    const size_t stride = LOG_DIM_MAX, from = form == FORM_2 ? w->lay.boosts : 0;
    struct fetch f = { w->ahead[page], w->ahead[page] + w->lay.v_codes, form == FORM_2 || form == FORM_3 ? 2 : 3 };
    struct expansion main = w->keys, boost = w->boost;
    const int8_t *quads = w->page_codes[page][0];
    main.codes = w->page[page] + w->lay.k_codes;
    boost.codes = w->page[page] + w->lay.boost_codes;
    CODED_UNROLL for (int j0 = 0; j0 < 4; j0 += FIELDS_AT_ONCE) {
        ints sums[ROWS][4];
        CODED_UNROLL for (size_t r = 0; r < rows; r++)
            CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++)
                sums[r][j] = ints_set(0);
        dot_keys(place ? FORM_IN_PLACE : form, &main, 0, (w->lay.key_pad - from) / 4, rows, j0, FIELDS_AT_ONCE,
                 quads + from, stride, sums, &f);
        if (place) in_place(rows, sums);
        dot_keys(form == FORM_2 ? FORM_4 : FORM_2, &boost, 0, w->lay.boosts / 4, rows, j0, FIELDS_AT_ONCE, quads,
                 stride, sums, &f);
        CODED_UNROLL for (size_t r = 0; r < rows; r++) {
            lanes a = lanes_set(w->a[ROWS * page + r]), b = lanes_set(w->b[ROWS * page + r]);
            float *out = w->p[r] + page * PAGE_TOK + j0 * LANES;
            CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++)
                lanes_store(out + j * LANES, lanes_add(lanes_mul(ints_lanes(sums[r][j]), a), b));
        }
    }
}

/* Query halves: 128 high + low by one sum, shifted in between. */
CODED_INLINE void token_keys(enum form form, struct coded_work *w, size_t rows, size_t page)
{
    const uint8_t *bytes_of = w->page[page];
    struct expansion x = w->keys;
    const int8_t *high = w->codes[0][0], *low = w->codes[1][0];
    struct fetch f = { w->ahead[page] + w->lay.k_codes, w->ahead[page] + w->lay.v_codes, form == FORM_T8 ? 4 : 2 };
    x.codes = bytes_of + w->lay.k_codes;
    for (size_t r = 0; r < rows; r++) memset(w->p[r] + page * PAGE_TOK, 0, PAGE_TOK * sizeof(float));
    for (size_t block = 0; block < w->lay.key_pad / CODED_BLOCK; block++) {
        const uint16_t *scales = (const uint16_t *)(const void *)(bytes_of + w->lay.k_scales) + block * PAGE_TOK;
        size_t begin = block * (CODED_BLOCK / 4), end = begin + CODED_BLOCK / 4;
        struct fetch none = { 0 };
        CODED_UNROLL for (int j0 = 0; j0 < 4; j0 += FIELDS_AT_ONCE) {
            ints sums[ROWS][4];
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) sums[r][j] = ints_set(0);
            dot_keys(form, &x, begin, end, rows, j0, FIELDS_AT_ONCE, high, CODED_KEYS_MAX, sums,
                     &f);
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++)
                    sums[r][j] = ints_add(ints_times128(sums[r][j]), ints_set(w->start[r][block]));
            dot_keys(form, &x, begin, end, rows, j0, FIELDS_AT_ONCE, low, CODED_KEYS_MAX, sums, &none);
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) {
                    float *out = w->p[r] + page * PAGE_TOK + (j0 + j) * LANES;
                    lanes scale = lanes_load16(scales + (j0 + j) * LANES);
                    lanes_store(out, lanes_add(lanes_load(out), lanes_mul(ints_lanes(sums[r][j]), scale)));
                }
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < PAGE_LANES; v++) {
            float *out = w->p[r] + page * PAGE_TOK + v * LANES;
            lanes_store(out, lanes_mul(lanes_load(out), lanes_set(w->d[r])));
        }
}

/* ---- values ---- */

/* One half of 64 channels over the group's pages: sums[r][j] in units of the weights. In one loop: nested ones cost gcc
 * 12 the registers. */
CODED_INLINE void dot_values(enum form form, const struct coded_work *w, size_t rows, size_t half, int j0, int fields,
                             int plane, ints sums[ROWS][4], bool fetch)
{
    const size_t each = form == FORM_2 || form == FORM_IN_PLACE ? 1 : form == FORM_T8 ? 4 : 2; /* at most */
    const size_t lines = fetch && j0 == 0 ? each : 0;
    struct expansion x = w->values;
    const uint8_t *ahead = NULL;
    const uint8_t *weights = w->weights[0][plane][0], *others = w->weights[1][plane][0];
    for (size_t i = 0; i < w->pages * HALF_TS; i++) {
        bytes levels[4];
        size_t page = i / HALF_TS, t = i % HALF_TS, g = half * HALF_TS + t;
        if (t == 0) {
            x.codes = w->page[page] + w->lay.v_codes;
            ahead = w->ahead[page] + w->lay.v_codes + 64 * each * g;
        }
        CODED_UNROLL for (int j = 0; j < fields; j++) levels[j] = expand(form, &x, g, j0 + j);
        CODED_UNROLL for (size_t r = 0; r < rows; r++) {
            ints quad = quad_at(weights + r * GROUP_TOK + 4 * i), other = quad;
            if (form == FORM_T4 || form == FORM_T8) other = quad_at(others + r * GROUP_TOK + 4 * i);
            CODED_UNROLL for (int j = 0; j < fields; j++)
                sums[r][j] = ints_dot_values(sums[r][j], levels[j], j0 + j < 2 ? quad : other);
        }
        CODED_UNROLL for (size_t line = 0; line < lines; line++, ahead += 64) fetch_line(form, ahead);
    }
    keep_sums(rows, fields, sums);
}

CODED_INLINE void half_values(enum form form, struct coded_work *w, size_t rows, size_t half)
{
    const bool place = form == FORM_2 && FIELDS_IN_PLACE;
    CODED_UNROLL for (int j0 = 0; j0 < 4; j0 += FIELDS_AT_ONCE) {
        ints sums[ROWS][4];
        CODED_UNROLL for (size_t r = 0; r < rows; r++)
            CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) sums[r][j] = ints_set(0);
        dot_values(place ? FORM_IN_PLACE : form, w, rows, half, j0, FIELDS_AT_ONCE, 0, sums, true);
        if (place) {
            in_place(rows, sums); /* field 3 is of code - 2 */
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) {
                    int zero = j == 3 ? 32 - EVEN_OFFSET : -EVEN_OFFSET;
                    sums[r][j] = ints_add(sums[r][j], ints_set(zero * w->weight_sums[r]));
                }
        }
        if (form >= FORM_T4) {
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) sums[r][j] = ints_times128(sums[r][j]);
            dot_values(form, w, rows, half, j0, FIELDS_AT_ONCE, 1, sums, false);
        }
        CODED_UNROLL for (size_t r = 0; r < rows; r++) {
            const struct row_state *row = &w->rows[r];
            if (r >= w->count || !row->any) continue;
            CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) {
                size_t c = half * HALF + (size_t)(j0 + j) * LANES;
                if (c >= w->s->value_dim) continue;
                size_t n = w->s->value_dim - c;
                lanes factor = lanes_set(row->factor[(j0 + j) / 2]);
                lanes out = lanes_mul(lanes_load_n(row->row->part + c, n, 0.0f), lanes_set(row->a));
                lanes_store_n(row->row->part + c, n, lanes_add(out, lanes_mul(ints_lanes(sums[r][j]), factor)));
            }
        }
    }
}

/* ---- a function for every form and number of rows ---- */

typedef void keys_fn(struct coded_work *w, size_t page);
typedef void values_fn(struct coded_work *w, size_t half);

#define CODED_ROWS(form, keys, n)                                                                   \
    static __attribute__((noinline)) void keys_##form##_##n(struct coded_work *w, size_t page)        \
    {                                                                                               \
        keys(form, w, n, page);                                                                     \
    }                                                                                               \
    static __attribute__((noinline)) void values_##form##_##n(struct coded_work *w, size_t half)    \
    {                                                                                               \
        half_values(form, w, n, half);                                                              \
    }
#define CODED_FORM(form, keys) \
    CODED_ROWS(form, keys, 1) CODED_ROWS(form, keys, 2) CODED_ROWS(form, keys, 3) CODED_ROWS(form, keys, 4)
CODED_FORM(FORM_2, log_keys)
CODED_FORM(FORM_3, log_keys)
CODED_FORM(FORM_4, log_keys)
CODED_FORM(FORM_T4, token_keys)
CODED_FORM(FORM_T8, token_keys)

#define CODED_LIST(what, form) { what##_##form##_1, what##_##form##_2, what##_##form##_3, what##_##form##_4 }
static keys_fn *const KEYS[FORMS][ROWS] = { CODED_LIST(keys, FORM_2), CODED_LIST(keys, FORM_3),
                                            CODED_LIST(keys, FORM_4), CODED_LIST(keys, FORM_T4),
                                            CODED_LIST(keys, FORM_T8) };
static values_fn *const VALUES[FORMS][ROWS] = { CODED_LIST(values, FORM_2), CODED_LIST(values, FORM_3),
                                                CODED_LIST(values, FORM_4), CODED_LIST(values, FORM_T4),
                                                CODED_LIST(values, FORM_T8) };

/* ---- queries ---- */

static void split_query(struct coded_work *w, size_t r)
{
    int zero = KEYS_SIGNED ? 0 : w->kind->k_bits == 8 ? 128 : 15;
    for (size_t block = 0; block < w->lay.key_pad / CODED_BLOCK; block++) {
        int sum = 0;
        for (size_t c = block * CODED_BLOCK; c < (block + 1) * CODED_BLOCK; c++) {
            int q = w->query[r][c], low = ((q + 64) & 127) - 64;
            w->codes[0][r][c] = (int8_t)((q - low) >> 7);
            w->codes[1][r][c] = (int8_t)low;
            sum += q;
        }
        w->start[r][block] = -zero * sum;
    }
}

static void prepare_query(struct coded_work *w, size_t r)
{
    const struct attention_span *s = w->s;
    const float *q = w->rows[r].row->q;
    float range = w->kind->log ? (float)LOG_QUERY_MOST : (float)TOKEN_QUERY_MOST;
    lanes most = lanes_set(0.0f), check = lanes_set(0.0f);
    for (size_t c = 0; c < s->key_dim; c += LANES) {
        lanes x = lanes_load_n(q + c, s->key_dim - c, 0.0f);
        most = lanes_max(lanes_and_bits(x, 0x7fffffff), most);
        check = lanes_add(check, lanes_mul(x, lanes_set(0.0f)));
    }
    float largest = lanes_largest(most), checked = lanes_tree(check);
    float inverse = largest < LEAST_SCALE || checked != 0.0f ? 0.0f : range / largest;
    for (size_t c = 0; c < w->lay.key_pad; c += LANES) {
        size_t n = c < s->key_dim ? s->key_dim - c : 0;
        lanes x = n > 0 && checked == 0.0f ? lanes_load_n(q + c, n, 0.0f) : lanes_set(0.0f);
        lanes_store_shorts(w->query[r] + c, lanes_mul(x, lanes_set(inverse)));
    }
    float d = largest / range * (s->soft_cap > 0.0f ? s->scale : s->scale * LOG2_E);
    w->d[r] = checked != 0.0f ? NAN : largest < LEAST_SCALE ? 0.0f : d;
    if (!w->kind->log) split_query(w, r);
}

/* What the pages of a group leave of each row, before their scores: a lane is 4 * page + row. */
struct setup {
    _Alignas(64) int32_t most[GROUP_PAGES * ROWS], mean[GROUP_PAGES * ROWS], start[GROUP_PAGES * ROWS];
    _Alignas(64) int32_t f[GROUP_PAGES * ROWS];
};

/* Products t of all rows with a page's scales, their largest magnitudes and the means' sums. Scales and means are
 * widened once for all rows. */
CODED_INLINE void page_products(struct coded_work *w, size_t rows, size_t pad, size_t page, struct setup *u)
{
    const uint8_t *scales = w->page[page] + w->lay.k_scales, *means = w->page[page] + w->lay.k_means;
    shorts most[ROWS], eighth = shorts_set(MEAN_SHIFT);
    ints mean[ROWS];
    CODED_UNROLL for (size_t r = 0; r < ROWS; r++) most[r] = shorts_set(LOG_PRODUCT_LEAST), mean[r] = ints_set(0);
    CODED_UNROLL for (size_t c = 0; c < pad; c += 32) {
        shorts scale = shorts_scales(scales + c), middle = shorts_means(means + c, means + pad + c / 2);
        CODED_UNROLL for (size_t r = 0; r < rows; r++) {
            shorts t = shorts_times_q15(shorts_load(w->query[r] + c), scale);
            shorts_store(w->products[page][r] + c, t);
            most[r] = shorts_max(most[r], shorts_abs(t));
            mean[r] = shorts_add_pairs(mean[r], shorts_times_q15(t, eighth), middle);
        }
    }
    shorts_largests(most, u->most + ROWS * page);
    ints_sums(mean, u->mean + ROWS * page);
}

/* 8-bit codes of all rows against a page, in slots, and what offsets of levels will have added. */
CODED_INLINE void page_codes(struct coded_work *w, size_t rows, size_t pad, size_t page, struct setup *u)
{
    ints start[ROWS];
    struct slot_order order = slots_order(w->slots[page], w->lay.boosts, pad);
    CODED_UNROLL for (size_t r = 0; r < ROWS; r++) start[r] = ints_set(0);
    CODED_UNROLL for (size_t r = 0; r < rows; r++) {
        int8_t *codes = w->page_codes[page][r];
        codes_in_slots(codes, w->products[page][r], shorts_set((int16_t)u->f[ROWS * page + r]), pad, &order);
        CODED_UNROLL for (size_t c = 0; c < pad; c += 64) start[r] = ints_offset(start[r], codes + c, w->offsets + c);
    }
    ints_sums(start, u->start + ROWS * page);
}

/* The channel of each slot, as coded_slots has them, but for those behind the codes. */
static void page_slots(struct coded_work *w, size_t page)
{
    uint8_t *slots = w->slots[page];
    const uint8_t *boosted = w->page[page] + w->lay.boost_channels;
    for (size_t s = 0; s < LOG_DIM_MAX; s++) slots[s] = (uint8_t)s;
    for (size_t s = 0; s < w->lay.boosts; s++) {
        uint8_t c = boosted[s]; /* s itself, or no slot of those at all */
        slots[s] = c;
        slots[c] = (uint8_t)s;
    }
}

/* Factors f of all pages and rows at once. */
CODED_INLINE void page_factors(const struct coded_work *w, struct setup *u)
{
    for (size_t i = ROWS * w->pages; i < GROUP_PAGES * ROWS; i++) u->most[i] = LOG_PRODUCT_LEAST;
    lanes_store_ints(u->f, lanes_div(lanes_set((float)LOG_RANGE), lanes_load_ints(u->most)));
}

/* The factors of a group's scores: see the definition. */
CODED_INLINE void score_factors(struct coded_work *w, const struct setup *u)
{
    _Alignas(64) float p[GROUP_PAGES * ROWS] = { 0 };
    lanes inverse = lanes_set(coded_levels(w->kind->k_bits)->unit_inverse);
    for (size_t page = 0; page < w->pages; page++) {
        float unit = le_f32(w->page[page] + w->lay.head) * 32768.0f;
        for (size_t r = 0; r < w->count; r++) p[ROWS * page + r] = w->d[r] * unit;
    }
    lanes scale = lanes_load(p), back = lanes_div(lanes_set(32768.0f), lanes_load_ints(u->f));
    lanes a = lanes_mul(scale, lanes_mul(back, inverse));
    lanes mean = lanes_mul(lanes_mul(scale, lanes_set(0.125f)), lanes_load_ints(u->mean));
    lanes_store(w->a, a);
    lanes_store(w->b, lanes_sub(mean, lanes_mul(a, lanes_load_ints(u->start))));
}

/* The queries of all rows against the group's pages. In stages over all pages: a page's own stages wait for each
 * other. */
CODED_INLINE void group_queries(struct coded_work *w, size_t rows, size_t pad)
{
    struct setup u;
    for (size_t page = 0; page < w->pages; page++) {
        page_slots(w, page);
        page_products(w, rows, pad, page, &u);
    }
    page_factors(w, &u);
    for (size_t page = 0; page < w->pages; page++) page_codes(w, rows, pad, page, &u);
    score_factors(w, &u);
}

static __attribute__((noinline)) void group_setup(struct coded_work *w)
{
    if (w->lay.key_pad == 128 && w->count == ROWS) group_queries(w, ROWS, 128);
    else if (w->lay.key_pad == 64 && w->count == ROWS) group_queries(w, ROWS, 64);
    else group_queries(w, w->count, w->lay.key_pad);
}

/* ---- softmax ---- */

static void cap_scores(const struct coded_work *w, float *p)
{
    lanes cap = lanes_set(w->s->soft_cap);
    for (size_t v = 0; v < w->pages * PAGE_LANES; v++) {
        lanes x = lanes_mul(cap, lanes_tanh(lanes_div(lanes_load(p + v * LANES), cap)));
        lanes_store(p + v * LANES, lanes_mul(x, lanes_set(LOG2_E)));
    }
}

static unsigned seen_lanes(const struct row_state *row, size_t v)
{
    return (unsigned)(row->seen[v / PAGE_LANES] >> v % PAGE_LANES * LANES) & 0xffffu;
}

/* The group's value scales of one block of channels, in f32. */
static void load_value_scales(struct coded_work *w, size_t block)
{
    for (size_t page = 0; page < w->pages; page++) {
        const uint8_t *scales = w->page[page] + w->lay.v_scales;
        uint32_t base = w->kind->log ? le_u32(w->page[page] + w->lay.head + 4) : 0;
        for (size_t at = 0; at < PAGE_TOK; at += LANES)
            lanes_store(w->value_scales + page * PAGE_TOK + at,
                        w->kind->log ? lanes_scales(scales + at, base, VALUE_SCALE_SHIFT)
                                     : lanes_load16((const uint16_t *)(const void *)scales + block * PAGE_TOK + at));
    }
}

/* Log tiers: the largest value scale that the pages a row sees could have. */
static float top_scale(const struct coded_work *w, const struct row_state *row)
{
    float top = 0.0f;
    for (size_t page = 0; page < w->pages; page++) {
        float scale = coded_top_scale(&w->lay, w->page[page]);
        if (row->seen[page] != 0 && scale > top) top = scale;
    }
    return top;
}

/* Log tiers: how far value scales are below a row's largest; see attention_coded.c, L. */
static void load_value_logs(struct coded_work *w, const struct row_state *row)
{
    uint32_t top = bits_of_f32(top_scale(w, row));
    for (size_t page = 0; page < w->pages; page++) {
        const uint8_t *scales = w->page[page] + w->lay.v_scales;
        uint32_t base = le_u32(w->page[page] + w->lay.head + 4) - top;
        for (size_t at = 0; at < PAGE_TOK; at += LANES)
            lanes_store(w->value_logs + page * PAGE_TOK + at, lanes_scale_logs(scales + at, base));
    }
}

/* Scores to probabilities; the reference and the sum. */
CODED_INLINE lanes row_softmax(struct coded_work *w, size_t r, bool all, float *largest)
{
    struct row_state *row = &w->rows[r];
    float *p = w->p[r];
    size_t vectors = w->pages * PAGE_LANES;
    lanes most = lanes_set(-INFINITY), total = lanes_set(0.0f);
    for (size_t v = 0; v < vectors; v++) {
        lanes x = lanes_load(p + v * LANES);
        if (w->kind->log) x = lanes_add(x, lanes_load(w->value_logs + v * LANES));
        if (!all) x = lanes_keep(x, seen_lanes(row, v), lanes_set(-INFINITY));
        most = lanes_max(x, most);
    }
    *largest = lanes_largest(most);
    lanes down = lanes_set(*largest);
    for (size_t v = 0; v < vectors; v++) {
        lanes x = lanes_exp2(lanes_sub(lanes_load(p + v * LANES), down));
        if (!all) x = lanes_keep(x, seen_lanes(row, v), lanes_set(0.0f));
        lanes_store(p + v * LANES, x);
        total = lanes_add(total, x);
    }
    return total;
}

static bool sees_all(const struct coded_work *w, const struct row_state *row)
{
    bool all = true;
    for (size_t page = 0; page < w->pages; page++) all = all && row->seen[page] == UINT64_MAX;
    return all;
}

/* The row's joining factors, and its sum with the group's, joined. */
static void join_row(const struct coded_work *w, struct row_state *row, float largest, float total)
{
    float *sum = &row->row->part[w->s->value_dim + 1];
    row->a = row->b = 1.0f;
    if (!row->empty && largest > row->max) row->a = exp2_f32(row->max - largest);
    if (!row->empty && largest < row->max) row->b = exp2_f32(largest - row->max);
    if (row->empty || largest > row->max) row->max = largest;
    *sum = *sum * row->a + total * row->b;
    row->empty = false;
}

/* Probabilities, joined. */
static void group_softmax(struct coded_work *w, size_t r)
{
    struct row_state *row = &w->rows[r];
    float largest;
    if (w->s->soft_cap > 0.0f) cap_scores(w, w->p[r]);
    if (w->kind->log) load_value_logs(w, row);
    lanes total = sees_all(w, row) ? row_softmax(w, r, true, &largest) : row_softmax(w, r, false, &largest);
    join_row(w, row, largest, lanes_tree(total));
}

/* The factor of a row's sums from that scale; returns what makes codes of probabilities times scales. */
CODED_INLINE float row_factor(const struct coded_work *w, struct row_state *row, float top)
{
    bool none = top < LEAST_SCALE;
    float factor = top * (coded_levels(w->kind->v_bits)->unit_inverse / (float)LOG_WEIGHT_MOST);
    row->factor[0] = row->factor[1] = (none ? 0.0f : factor) * row->b;
    return none ? 0.0f : (float)LOG_WEIGHT_MOST / top;
}

/* Log tiers: probabilities times scales as codes. Those of positions that are not seen are 0. */
CODED_INLINE void log_weights(struct coded_work *w, size_t r)
{
    struct row_state *row = &w->rows[r];
    lanes by = lanes_set(row_factor(w, row, top_scale(w, row)));
    for (size_t v = 0; v < w->pages * PAGE_LANES; v++) {
        lanes x = lanes_mul(lanes_load(w->p[r] + v * LANES), lanes_mul(lanes_load(w->value_scales + v * LANES), by));
        lanes_store_bytes(w->weights[0][0][r] + v * LANES, x);
    }
}

/* Token tiers: weights p * scale of the block whose scales are loaded, as codes; `at` says which of the half's two blocks. */
CODED_INLINE void row_weights(struct coded_work *w, size_t r, size_t at, bool all)
{
    struct row_state *row = &w->rows[r];
    _Alignas(64) float room[GROUP_TOK];
    lanes most = lanes_set(0.0f);
    size_t vectors = w->pages * PAGE_LANES;
    for (size_t v = 0; v < vectors; v++) {
        lanes x = lanes_mul(lanes_load(w->p[r] + v * LANES), lanes_load(w->value_scales + v * LANES));
        if (!all) x = lanes_keep(x, seen_lanes(row, v), lanes_set(0.0f));
        most = lanes_max(x, most);
        lanes_store(room + v * LANES, x);
    }
    float largest = lanes_largest(most);
    bool none = largest < LEAST_SCALE;
    lanes inverse = lanes_set(none ? 0.0f : (float)TOKEN_WEIGHT_MOST / largest);
    row->factor[at] = (none ? 0.0f : largest / (float)TOKEN_WEIGHT_MOST) * row->b;
    for (size_t v = 0; v < vectors; v += 2) {
        _Alignas(64) int16_t codes[2 * LANES];
        lanes_store_shorts(codes, lanes_mul(lanes_load(room + v * LANES), inverse));
        lanes_store_shorts(codes + LANES, lanes_mul(lanes_load(room + (v + 1) * LANES), inverse));
        shorts_split(shorts_load(codes), w->weights[at][0][r] + v * LANES, w->weights[at][1][r] + v * LANES);
    }
}

static void group_weights(struct coded_work *w, size_t r, size_t at)
{
    if (!w->rows[r].any)
        for (size_t i = 0; i < 4; i++) memset(w->weights[i / 2][i % 2][r], 0, GROUP_TOK);
    else if (w->kind->log) log_weights(w, r);
    else if (sees_all(w, &w->rows[r])) row_weights(w, r, at, true);
    else row_weights(w, r, at, false);
}

/* lanes_exp2 of four, step by step for all: one after the other their chains would wait for themselves. */
CODED_INLINE void exp2_page(lanes x[PAGE_LANES])
{
    lanes shifted[PAGE_LANES], p[PAGE_LANES];
    CODED_UNROLL for (size_t i = 0; i < PAGE_LANES; i++) x[i] = lanes_max(lanes_set(EXP2_LOWEST), x[i]);
    CODED_UNROLL for (size_t i = 0; i < PAGE_LANES; i++) shifted[i] = lanes_add(x[i], lanes_set(ROUND_MAGIC));
    CODED_UNROLL for (size_t i = 0; i < PAGE_LANES; i++) x[i] = lanes_sub(x[i], lanes_sub(shifted[i], lanes_set(ROUND_MAGIC)));
    CODED_UNROLL for (size_t i = 0; i < PAGE_LANES; i++) p[i] = lanes_fma(lanes_set(EXP2_POLY[0]), x[i], lanes_set(EXP2_POLY[1]));
    CODED_UNROLL for (size_t i = 0; i < PAGE_LANES; i++) p[i] = lanes_fma(p[i], x[i], lanes_set(EXP2_POLY[2]));
    CODED_UNROLL for (size_t i = 0; i < PAGE_LANES; i++) p[i] = lanes_fma(p[i], x[i], lanes_set(EXP2_POLY[3]));
    CODED_UNROLL for (size_t i = 0; i < PAGE_LANES; i++) p[i] = lanes_fma(p[i], x[i], lanes_set(1.0f));
    CODED_UNROLL for (size_t i = 0; i < PAGE_LANES; i++) x[i] = lanes_raise(p[i], shifted[i]);
}

/* Softmax and weights of `rows` rows that see all of a group in a log tier: probabilities are never stored. */
CODED_INLINE void whole_group(struct coded_work *w, size_t rows)
{
    lanes most[ROWS], total[ROWS], down[ROWS], scale[PAGE_LANES];
    float largest[ROWS];
    float top = top_scale(w, &w->rows[0]);
    CODED_UNROLL for (size_t r = 0; r < rows; r++) most[r] = lanes_set(-INFINITY);
    for (size_t page = 0; page < w->pages; page++) {
        uint32_t base = le_u32(w->page[page] + w->lay.head + 4) - bits_of_f32(top);
        CODED_UNROLL for (size_t v = 0; v < PAGE_LANES; v++) {
            lanes log = lanes_scale_logs(w->page[page] + w->lay.v_scales + v * LANES, base);
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                most[r] = lanes_max(lanes_add(lanes_load(w->p[r] + page * PAGE_TOK + v * LANES), log), most[r]);
        }
    }
    CODED_UNROLL for (size_t r = 0; r < rows; r++) {
        largest[r] = lanes_largest(most[r]);
        down[r] = lanes_set(largest[r]);
        total[r] = lanes_set(0.0f);
    }
    lanes by = lanes_set(top < LEAST_SCALE ? 0.0f : (float)LOG_WEIGHT_MOST / top);
    for (size_t page = 0; page < w->pages; page++) {
        const uint8_t *scales = w->page[page] + w->lay.v_scales;
        uint32_t base = le_u32(w->page[page] + w->lay.head + 4);
        CODED_UNROLL for (size_t v = 0; v < PAGE_LANES; v++)
            scale[v] = lanes_mul(lanes_scales(scales + v * LANES, base, VALUE_SCALE_SHIFT), by);
        CODED_UNROLL for (size_t r = 0; r < rows; r++) {
            lanes x[PAGE_LANES];
            CODED_UNROLL for (size_t v = 0; v < PAGE_LANES; v++)
                x[v] = lanes_sub(lanes_load(w->p[r] + page * PAGE_TOK + v * LANES), down[r]);
            exp2_page(x);
            CODED_UNROLL for (size_t v = 0; v < PAGE_LANES; v++) {
                total[r] = lanes_add(total[r], x[v]);
                x[v] = lanes_mul(x[v], scale[v]);
            }
            lanes_store_page(w->weights[0][0][r] + page * PAGE_TOK, x[0], x[1], x[2], x[3]);
        }
    }
    CODED_UNROLL for (size_t r = 0; r < rows; r++) {
        join_row(w, &w->rows[r], largest[r], lanes_tree(total[r]));
        row_factor(w, &w->rows[r], top);
    }
}

/* Values in place: the sums of the rows' weights. */
static void sum_weights(struct coded_work *w)
{
    ints sums[ROWS] = { ints_set(0), ints_set(0), ints_set(0), ints_set(0) };
    for (size_t r = 0; FIELDS_IN_PLACE && r < w->count; r++)
        for (size_t i = 0; i < w->pages * PAGE_TOK; i += PAGE_TOK)
            sums[r] = ints_add_weights(sums[r], w->weights[0][0][r] + i);
    if (FIELDS_IN_PLACE) ints_sums(sums, w->weight_sums);
}

typedef void whole_fn(struct coded_work *w);

#define CODED_WHOLE(n) \
    static __attribute__((noinline)) void whole_group_##n(struct coded_work *w) { whole_group(w, n); }
CODED_WHOLE(1)
CODED_WHOLE(2)
CODED_WHOLE(3)
CODED_WHOLE(4)
static whole_fn *const WHOLE[ROWS] = { whole_group_1, whole_group_2, whole_group_3, whole_group_4 };

/* ---- groups and spans ---- */

/* Scales, means and head of a page that comes soon. */
static void fetch_small(const struct coded_work *w, enum form form, const uint8_t *page)
{
    for (size_t at = w->lay.k_scales; at < w->lay.bytes; at += 64) fetch_line(form, page + at);
}

static void group_scores(struct coded_work *w)
{
    enum form form = form_of(w->kind, w->kind->k_bits);
    if (w->kind->log) group_setup(w);
    for (size_t page = 0; page < w->pages; page++) {
        fetch_small(w, form, w->ahead[page]);
        KEYS[form][w->count - 1](w, page);
    }
}

/* Softmax, then values. */
static void group_values(struct coded_work *w)
{
    enum form form = form_of(w->kind, w->kind->v_bits);
    bool whole = w->kind->log && w->s->soft_cap == 0.0f;
    for (size_t r = 0; r < w->count; r++) whole = whole && sees_all(w, &w->rows[r]);
    if (whole) WHOLE[w->count - 1](w);
    for (size_t r = 0; !whole && r < w->count; r++)
        if (w->rows[r].any) group_softmax(w, r);
    if (whole && form == FORM_2) sum_weights(w);
    for (size_t half = 0; half < w->lay.value_pad / HALF; half++) {
        size_t blocks = !w->kind->log ? 2 : half == 0 && !whole ? 1 : 0; /* log: one scale a position for all halves */
        for (size_t at = 0; at < blocks; at++) {
            load_value_scales(w, 2 * half + at);
            for (size_t r = 0; r < w->count; r++) group_weights(w, r, at);
            if (form == FORM_2) sum_weights(w);
        }
        VALUES[form][w->count - 1](w, half);
    }
}

static void coded_group(struct coded_work *w, size_t first)
{
    const struct attention_span *s = w->s;
    bool any = false;
    w->pages = 0;
    for (size_t r = 0; r < w->count; r++) w->rows[r].any = false;
    /* only pages that some row sees, in order: the others have weight 0 */
    size_t last = min_size(first + GROUP_PAGES, s->pages);
    for (size_t page = first; page < last; page++) {
        uint64_t skip = s->skip != NULL ? s->skip[page] : 0, seen = 0;
        for (size_t r = 0; r < w->count; r++) {
            struct row_state *row = &w->rows[r];
            row->seen[w->pages] = page_range(row->row->lo, row->row->hi, (s->first_page + page) * PAGE_TOK) & ~skip;
            row->any = row->any || row->seen[w->pages] != 0;
            seen |= row->seen[w->pages];
        }
        if (seen == 0) continue;
        const void *next = page + GROUP_PAGES < s->pages + s->ahead ? s->k_pages[page + GROUP_PAGES] : NULL;
        w->ahead[w->pages] = next != NULL ? next : s->k_pages[page];
        w->page[w->pages++] = s->k_pages[page];
        any = true;
    }
    if (!any) return;
    group_scores(w);
    group_values(w);
}

static void coded_batch(struct coded_work *w, const struct attention_row *rows, size_t count)
{
    const struct attention_span *s = w->s;
    w->count = count;
    for (size_t r = 0; r < count; r++) {
        memset(rows[r].part, 0, (s->value_dim + 2) * sizeof(float));
        w->rows[r] = (struct row_state){ .row = &rows[r], .empty = true };
        prepare_query(w, r);
        if (!w->kind->log) continue;
        for (size_t page = 0; page < GROUP_PAGES; page++) /* read by the 128, and by nobody else */
            memset(w->products[page][r] + w->lay.key_pad, 0, (round_up(w->lay.key_pad, 128) - w->lay.key_pad) * 2);
    }
    for (size_t first = 0; first < s->pages; first += GROUP_PAGES) coded_group(w, first);
    for (size_t r = 0; r < count; r++)
        if (!w->rows[r].empty) rows[r].part[s->value_dim] = w->rows[r].max * LN2 + 0.0f;
}

static void coded_span_lanes(const struct attention_span *s)
{
    struct coded_work w;
    const char *why;
    w.s = s;
    w.kind = coded_kind(s->type);
    bool good = coded_layout(s->type, s->key_dim, s->value_dim, &w.lay, &why);
    assert(good);
    (void)good;
    w.keys = expansion_of(form_of(w.kind, w.kind->k_bits), w.lay.key_pad / 4, true);
    w.values = expansion_of(form_of(w.kind, w.kind->v_bits), w.lay.value_pad / 4, false);
    if (w.kind->log) {
        w.boost = expansion_of_boosts(w.kind->k_bits);
        set_offsets(&w, s->key_dim);
    }
    for (size_t r = 0; r < s->row_count; r += ROWS) coded_batch(&w, s->rows + r, min_size(ROWS, s->row_count - r));
}

#endif
