/* Part of attention_coded_lanes.h, included by each tier's file: the products. Codes become levels in registers, levels
 * and queries scores, levels and weights results. */
#ifndef HEARTH_KERNELS_ATTENTION_CODED_DOTS_H
#define HEARTH_KERNELS_ATTENTION_CODED_DOTS_H

CODED_INLINE ints quad_at(const void *p)
{
    int32_t quad;
    memcpy(&quad, p, sizeof quad);
    return ints_set(quad);
}

/* Of a page that comes a group later, into the second level: a group is larger than the first (Zen 4, q8: 4.4 ms by way
 * of the first, 2.9). */
CODED_INLINE void fetch_far(const uint8_t *at)
{
    __builtin_prefetch(at, 0, 2);
}

/* What the loop comes to next, into the first: log tiers wait for it else (log:k4v2: 1.11 ms without, 1.03 with it). */
CODED_INLINE void fetch_near(enum form form, const uint8_t *at)
{
    enum { NEAR_BYTES = 768 };
    if (form != FORM_T4 && form != FORM_T8) __builtin_prefetch(at + NEAR_BYTES, 0, 3);
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

/* Levels of 16 indexes, the code at bit `shift` of each; `turn` is added to the code, `offset` to the level. */
CODED_INLINE bytes levels_table(const int8_t *levels, unsigned bits, unsigned shift, unsigned turn, int offset)
{
    _Alignas(16) int8_t table[16];
    for (unsigned i = 0; i < 16; i++) table[i] = (int8_t)(levels[(i >> shift ^ turn) & ((1u << bits) - 1)] + offset);
    return bytes_table(table);
}

/* Levels of keys as products take them, never negative. */
static struct expansion expansion_of(enum form form, size_t vectors, bool key)
{
    static const int8_t even[16] = { 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30 };
    struct expansion x = { .vectors = vectors, .key = key };
    unsigned bits = (unsigned)form + 2;
    if (form == FORM_T4) x.first = levels_table(even, 4, 0, 0, key && !KEYS_SIGNED ? 0 : -15);
    if (form >= FORM_T4) return x;
    const struct coded_levels *l = coded_levels(bits);
    int offset = key ? l->offset : 0;
    x.first = levels_table(l->levels, bits, 0, 0, offset);
    if (form != FORM_2) return x;
    x.second = levels_table(l->levels, bits, 2, 0, offset);
    x.last = key ? x.second : levels_table(l->levels, bits, 2, 2, 0);
    return x;
}

/* What a boost code adds, or is. */
static struct expansion expansion_of_boosts(unsigned bits)
{
    struct expansion x = { .key = true };
    const struct coded_levels *l = coded_levels(bits);
    if (bits == 2) x.first = levels_table(l->boosted, 4, 0, 0, l->boost_offset);
    if (bits == 2) return x;
    x.first = levels_table(l->steps, 2, 0, 0, l->boost_offset - l->offset);
    x.second = x.last = levels_table(l->steps, 2, 2, 0, l->boost_offset - l->offset);
    return x;
}

/* What key_level and boost_level add, by slot. */
static void set_offsets(struct coded_work *w, size_t key_dim)
{
    const struct coded_levels *l = coded_levels(w->kind->k_bits);
    memset(w->offsets, 0, sizeof w->offsets);
    memset(w->offsets, l->offset, key_dim);
    memset(w->offsets, l->boost_offset, w->lay.boosts);
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

/* sums[r][j] += levels of vector g times quads of the rows; fetches from a page that comes soon. */
CODED_INLINE void dot_key_vector(enum form form, const struct expansion *x, size_t g, size_t rows, int j0, int fields,
                                 const int8_t *quads, size_t stride, ints sums[ROWS][4], const uint8_t *ahead)
{
    const size_t lines = form == FORM_2 || form == FORM_IN_PLACE ? 1 : form == FORM_T8 ? 4 : 2;
    bytes levels[4];
    CODED_UNROLL for (int j = 0; j < fields; j++) levels[j] = expand(form, x, g, j0 + j);
    CODED_UNROLL for (size_t r = 0; r < rows; r++) {
        ints quad = quad_at(quads + r * stride + 4 * g);
        CODED_UNROLL for (int j = 0; j < fields; j++) sums[r][j] = ints_dot_keys(sums[r][j], levels[j], quad);
    }
    CODED_UNROLL for (size_t line = 0; ahead != NULL && line < lines; line++) {
        fetch_far(ahead + 64 * (lines * g + line));
        fetch_near(form, x->codes + 64 * (lines * g + line));
    }
}

CODED_INLINE void dot_keys(enum form form, const struct expansion *x, size_t begin, size_t end, size_t rows, int j0,
                           int fields, const int8_t *quads, size_t stride, ints sums[ROWS][4], const uint8_t *ahead)
{
    for (size_t g = begin; g < end; g++) dot_key_vector(form, x, g, rows, j0, fields, quads, stride, sums, ahead);
    keep_sums(rows, fields, sums);
}

/* Sums over fields of codes in place become sums of 16 code. */
CODED_INLINE void in_place(size_t rows, ints sums[ROWS][4])
{
    CODED_UNROLL for (size_t r = 0; r < rows; r++)
        CODED_UNROLL for (int j = 0; j < 4; j++) sums[r][j] = ints_shift(sums[r][j], EVEN_STEP_LOG2 - 2 * j);
}

CODED_INLINE void store_scores(const struct group *g, size_t rows, size_t page, int j0, ints sums[ROWS][4])
{
    CODED_UNROLL for (size_t r = 0; r < rows; r++) {
        lanes a = lanes_set(g->room->a[ROWS * page + r]), b = lanes_set(g->room->b[ROWS * page + r]);
        float *out = g->room->p[r] + page * PAGE_TOK + j0 * LANES;
        CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++)
            lanes_store(out + j * LANES, lanes_fma(ints_lanes(sums[r][j]), a, b));
    }
}

CODED_INLINE void log_keys(enum form form, struct coded_work *w, const struct group *g, size_t rows, size_t page)
{
    const bool place = form == FORM_2 && FIELDS_IN_PLACE;
    const size_t stride = LOG_DIM_MAX, from = form == FORM_2 ? w->lay.boosts : 0;
    struct expansion main = w->keys, boost = w->boost;
    const int8_t *quads = g->room->page_codes[page][0];
    main.codes = g->page[page] + w->lay.k_codes;
    boost.codes = g->page[page] + w->lay.boost_codes;
    CODED_UNROLL for (int j0 = 0; j0 < 4; j0 += FIELDS_AT_ONCE) {
        ints sums[ROWS][4];
        CODED_UNROLL for (size_t r = 0; r < rows; r++)
            CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++)
                sums[r][j] = ints_set(0);
        dot_keys(place ? FORM_IN_PLACE : form, &main, 0, (w->lay.key_pad - from) / 4, rows, j0, FIELDS_AT_ONCE,
                 quads + from, stride, sums, j0 == 0 ? g->ahead[page] + w->lay.k_codes : NULL);
        if (place) in_place(rows, sums);
        dot_keys(form == FORM_2 ? FORM_4 : FORM_2, &boost, 0, w->lay.boosts / 4, rows, j0, FIELDS_AT_ONCE, quads,
                 stride, sums, j0 == 0 ? g->ahead[page] + w->lay.boost_codes : NULL);
        store_scores(g, rows, page, j0, sums);
    }
}

/* Query halves: 128 high + low by one sum, shifted in between. */
CODED_INLINE void token_keys(enum form form, struct coded_work *w, const struct group *g, size_t rows, size_t page)
{
    const uint8_t *bytes_of = g->page[page];
    struct expansion x = w->keys;
    const int8_t *high = w->codes[0][0], *low = w->codes[1][0];
    x.codes = bytes_of + w->lay.k_codes;
    for (size_t r = 0; r < rows; r++) memset(g->room->p[r] + page * PAGE_TOK, 0, PAGE_TOK * sizeof(float));
    for (size_t block = 0; block < w->lay.key_pad / CODED_BLOCK; block++) {
        const uint16_t *scales = (const uint16_t *)(const void *)(bytes_of + w->lay.k_scales) + block * PAGE_TOK;
        size_t begin = block * (CODED_BLOCK / 4), end = begin + CODED_BLOCK / 4;
        CODED_UNROLL for (int j0 = 0; j0 < 4; j0 += FIELDS_AT_ONCE) {
            ints sums[ROWS][4];
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) sums[r][j] = ints_set(0);
            dot_keys(form, &x, begin, end, rows, j0, FIELDS_AT_ONCE, high, CODED_KEYS_MAX, sums,
                     j0 == 0 ? g->ahead[page] + w->lay.k_codes : NULL);
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++)
                    sums[r][j] = ints_add(ints_times128(sums[r][j]), ints_set(w->start[r][block]));
            dot_keys(form, &x, begin, end, rows, j0, FIELDS_AT_ONCE, low, CODED_KEYS_MAX, sums, NULL);
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) {
                    float *out = g->room->p[r] + page * PAGE_TOK + (j0 + j) * LANES;
                    lanes scale = lanes_load16(scales + (j0 + j) * LANES);
                    lanes_store(out, lanes_add(lanes_load(out), lanes_mul(ints_lanes(sums[r][j]), scale)));
                }
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < PAGE_LANES; v++) {
            float *out = g->room->p[r] + page * PAGE_TOK + v * LANES;
            lanes_store(out, lanes_mul(lanes_load(out), lanes_set(w->d[r])));
        }
}

/* ---- values ---- */

/* sums[r][j] += levels of vector g, in units of the weights: four positions' at `weights`, of the half's second block
 * at `others`; fetches from a page that comes soon. */
CODED_INLINE void dot_value_vector(enum form form, const struct expansion *x, size_t g, size_t rows, int j0, int fields,
                                   const uint8_t *weights, const uint8_t *others, ints sums[ROWS][4],
                                   const uint8_t *ahead)
{
    const size_t lines = form == FORM_2 || form == FORM_IN_PLACE ? 1 : form == FORM_T8 ? 4 : 2; /* at most */
    bytes levels[4];
    CODED_UNROLL for (int j = 0; j < fields; j++) levels[j] = expand(form, x, g, j0 + j);
    CODED_UNROLL for (size_t r = 0; r < rows; r++) {
        ints quad = quad_at(weights + r * GROUP_TOK), other = quad;
        if (form == FORM_T4 || form == FORM_T8) other = quad_at(others + r * GROUP_TOK);
        CODED_UNROLL for (int j = 0; j < fields; j++)
            sums[r][j] = ints_dot_values(sums[r][j], levels[j], j0 + j < 2 ? quad : other);
    }
    CODED_UNROLL for (size_t line = 0; ahead != NULL && line < lines; line++) {
        fetch_far(ahead + 64 * (lines * g + line));
        fetch_near(form, x->codes + 64 * (lines * g + line));
    }
}

/* One half of 64 channels over the group's pages. In one loop: nested ones cost gcc 12 the registers. */
CODED_INLINE void dot_values(enum form form, const struct coded_work *w, const struct group *in, size_t rows,
                             size_t half, int j0, int fields, int plane, ints sums[ROWS][4], bool fetch)
{
    struct expansion x = w->values;
    const uint8_t *weights = in->room->weights[0][plane][0], *others = in->room->weights[1][plane][0];
    for (size_t i = 0; i < in->pages * HALF_TS; i++) {
        x.codes = in->page[i / HALF_TS] + w->lay.v_codes;
        dot_value_vector(form, &x, half * HALF_TS + i % HALF_TS, rows, j0, fields, weights + 4 * i, others + 4 * i,
                         sums, fetch && j0 == 0 ? in->ahead[i / HALF_TS] + w->lay.v_codes : NULL);
    }
    keep_sums(rows, fields, sums);
}

/* Sums in place become sums of levels; field 3 is of code - 2. */
CODED_INLINE void values_in_place(const struct coded_work *w, size_t rows, int j0, int fields, ints sums[ROWS][4])
{
    in_place(rows, sums);
    CODED_UNROLL for (size_t r = 0; r < rows; r++)
        CODED_UNROLL for (int j = 0; j < fields; j++) {
            int zero = j0 + j == 3 ? 32 - EVEN_OFFSET : -EVEN_OFFSET;
            sums[r][j] = ints_add(sums[r][j], ints_set(zero * w->weight_sums[r]));
        }
}

CODED_INLINE void store_values(const struct coded_work *w, size_t rows, size_t half, int j0, ints sums[ROWS][4])
{
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

CODED_INLINE void half_values(enum form form, struct coded_work *w, const struct group *g, size_t rows, size_t half)
{
    const bool place = form == FORM_2 && FIELDS_IN_PLACE;
    CODED_UNROLL for (int j0 = 0; j0 < 4; j0 += FIELDS_AT_ONCE) {
        ints sums[ROWS][4];
        CODED_UNROLL for (size_t r = 0; r < rows; r++)
            CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) sums[r][j] = ints_set(0);
        dot_values(place ? FORM_IN_PLACE : form, w, g, rows, half, j0, FIELDS_AT_ONCE, 0, sums, true);
        if (place) values_in_place(w, rows, j0, FIELDS_AT_ONCE, sums);
        if (form >= FORM_T4) {
            CODED_UNROLL for (size_t r = 0; r < rows; r++)
                CODED_UNROLL for (int j = 0; j < FIELDS_AT_ONCE; j++) sums[r][j] = ints_times128(sums[r][j]);
            dot_values(form, w, g, rows, half, j0, FIELDS_AT_ONCE, 1, sums, false);
        }
        store_values(w, rows, half, j0, sums);
    }
}

/* ---- a function for every form and number of rows ---- */

typedef void keys_fn(struct coded_work *w, const struct group *g, size_t page);
typedef void values_fn(struct coded_work *w, const struct group *g, size_t half);

#define CODED_ROWS(form, keys, n)                                                                                \
    static __attribute__((noinline)) void keys_##form##_##n(struct coded_work *w, const struct group *g, size_t page) \
    {                                                                                                            \
        keys(form, w, g, n, page);                                                                               \
    }                                                                                                            \
    static __attribute__((noinline)) void values_##form##_##n(struct coded_work *w, const struct group *g,         \
                                                              size_t half)                                       \
    {                                                                                                            \
        half_values(form, w, g, n, half);                                                                        \
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

#endif
