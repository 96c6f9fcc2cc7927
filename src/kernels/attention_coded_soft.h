/* Part of attention_coded_lanes.h, included by each tier's file: what stands between the products. Queries against the
 * scales of pages, softmax, weights. */
#ifndef HEARTH_KERNELS_ATTENTION_CODED_SOFT_H
#define HEARTH_KERNELS_ATTENTION_CODED_SOFT_H

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

/* Products t of all rows with the scales of 32 channels of a page, their largest magnitudes and the means' sums. Scales
 * and means are widened once for all rows. */
CODED_INLINE void products_of(struct coded_work *w, const struct group *g, size_t rows, size_t pad, size_t page,
                              size_t c, shorts most[ROWS], ints mean[ROWS])
{
    const uint8_t *scales = g->page[page] + w->lay.k_scales, *means = g->page[page] + w->lay.k_means;
    shorts scale = shorts_scales(scales + c), middle = shorts_means(means + c, means + pad + c / 2);
    CODED_UNROLL for (size_t r = 0; r < rows; r++) {
        shorts t = shorts_times_q15(shorts_load(w->query[r] + c), scale);
        shorts_store(w->products[page][r] + c, t);
        most[r] = shorts_max(most[r], shorts_abs(t));
        mean[r] = shorts_add_pairs(mean[r], shorts_eighth(t), middle);
    }
}

CODED_INLINE void page_products(struct coded_work *w, const struct group *g, size_t rows, size_t pad, size_t page)
{
    shorts most[ROWS];
    ints mean[ROWS];
    CODED_UNROLL for (size_t r = 0; r < ROWS; r++) most[r] = shorts_set(LOG_PRODUCT_LEAST), mean[r] = ints_set(0);
    CODED_UNROLL for (size_t c = 0; c < pad; c += 32) products_of(w, g, rows, pad, page, c, most, mean);
    shorts_largests(most, w->setup.most + ROWS * page);
    ints_sums(mean, w->setup.mean + ROWS * page);
}

/* 8-bit codes of a row against a page, in slots; returns what offsets of levels will have added. */
CODED_INLINE ints codes_of(struct coded_work *w, const struct group *g, size_t r, size_t pad, size_t page,
                           const struct slot_order *order)
{
    ints start = ints_set(0);
    int8_t *codes = g->room->page_codes[page][r];
    codes_in_slots(codes, w->products[page][r], shorts_set((int16_t)w->setup.f[ROWS * page + r]), pad, order);
    CODED_UNROLL for (size_t c = 0; c < pad; c += 64) start = ints_offset(start, codes + c, w->offsets + c);
    return start;
}

CODED_INLINE void page_codes(struct coded_work *w, const struct group *g, size_t rows, size_t pad, size_t page)
{
    ints start[ROWS];
    struct slot_order order = slots_order(w->slots[page], w->lay.boosts, pad);
    CODED_UNROLL for (size_t r = 0; r < ROWS; r++)
        start[r] = r < rows ? codes_of(w, g, r, pad, page, &order) : ints_set(0);
    ints_sums(start, w->setup.start + ROWS * page);
}

#define FROM(n) n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7
#define FROM_64(n) \
    FROM(n), FROM(n + 8), FROM(n + 16), FROM(n + 24), FROM(n + 32), FROM(n + 40), FROM(n + 48), FROM(n + 56)
static const uint8_t coded_identity[LOG_DIM_MAX] = { FROM_64(0), FROM_64(64), FROM_64(128), FROM_64(192) };

/* The channel of each slot, as coded_slots has them, but for those behind the codes. */
CODED_INLINE void page_slots(struct coded_work *w, const struct group *g, size_t page)
{
    uint8_t *slots = w->slots[page];
    const uint8_t *boosted = g->page[page] + w->lay.boost_channels;
    memcpy(slots, coded_identity, w->lay.key_pad <= 128 ? 128 : LOG_DIM_MAX);
    for (size_t s = 0; s < w->lay.boosts; s += 4) {
        memcpy(slots + s, boosted + s, 4);
        CODED_UNROLL for (size_t i = 0; i < 4; i++) slots[boosted[s + i]] = (uint8_t)(s + i); /* s itself, or behind */
    }
}

/* Factors f of all pages and rows at once. */
CODED_INLINE void page_factors(struct setup *u)
{
    lanes_store_ints(u->f, lanes_div(lanes_set((float)LOG_RANGE), lanes_load_ints(u->most)));
}

static void setup_begin(struct setup *u)
{
    for (size_t i = 0; i < GROUP_PAGES * ROWS; i++) u->most[i] = LOG_PRODUCT_LEAST;
}

/* The factors of a group's scores: see the definition. */
static void score_factors(struct coded_work *w, const struct group *g)
{
    _Alignas(64) float p[GROUP_PAGES * ROWS] = { 0 };
    const struct setup *u = &w->setup;
    lanes inverse = lanes_set(coded_levels(w->kind->k_bits)->unit_inverse);
    for (size_t page = 0; page < g->pages; page++) {
        float unit = le_f32(g->page[page] + w->lay.head) * 32768.0f;
        for (size_t r = 0; r < w->count; r++) p[ROWS * page + r] = w->d[r] * unit;
    }
    lanes scale = lanes_load(p), back = lanes_div(lanes_set(32768.0f), lanes_load_ints(u->f));
    lanes a = lanes_mul(scale, lanes_mul(back, inverse));
    lanes mean = lanes_mul(lanes_mul(scale, lanes_set(0.125f)), lanes_load_ints(u->mean));
    lanes_store(g->room->a, a);
    lanes_store(g->room->b, lanes_sub(mean, lanes_mul(a, lanes_load_ints(u->start))));
}

/* The queries of all rows against the group's pages. In stages over all pages: a page's own stages wait for each
 * other. */
CODED_INLINE void group_queries(struct coded_work *w, const struct group *g, size_t rows, size_t pad)
{
    setup_begin(&w->setup);
    for (size_t page = 0; page < g->pages; page++) {
        page_slots(w, g, page);
        page_products(w, g, rows, pad, page);
    }
    page_factors(&w->setup);
    for (size_t page = 0; page < g->pages; page++) page_codes(w, g, rows, pad, page);
    score_factors(w, g);
}

static __attribute__((noinline)) void group_setup(struct coded_work *w, const struct group *g)
{
    if (w->lay.key_pad == 128 && w->count == ROWS) group_queries(w, g, ROWS, 128);
    else if (w->lay.key_pad == 64 && w->count == ROWS) group_queries(w, g, ROWS, 64);
    else group_queries(w, g, w->count, w->lay.key_pad);
}

/* ---- softmax ---- */

static void cap_scores(const struct coded_work *w, const struct group *g, float *p)
{
    lanes cap = lanes_set(w->s->soft_cap);
    for (size_t v = 0; v < g->pages * PAGE_LANES; v++) {
        lanes x = lanes_mul(cap, lanes_tanh(lanes_div(lanes_load(p + v * LANES), cap)));
        lanes_store(p + v * LANES, lanes_mul(x, lanes_set(LOG2_E)));
    }
}

static unsigned seen_lanes(const struct row_state *row, size_t v)
{
    return (unsigned)(row->seen[v / PAGE_LANES] >> v % PAGE_LANES * LANES) & 0xffffu;
}

/* The group's value scales of one block of channels, in f32. */
static void load_value_scales(struct coded_work *w, const struct group *g, size_t block)
{
    for (size_t page = 0; page < g->pages; page++) {
        const uint8_t *scales = g->page[page] + w->lay.v_scales;
        uint32_t base = w->kind->log ? le_u32(g->page[page] + w->lay.head + 4) : 0;
        for (size_t at = 0; at < PAGE_TOK; at += LANES)
            lanes_store(w->value_scales + page * PAGE_TOK + at,
                        w->kind->log ? lanes_scales(scales + at, base, VALUE_SCALE_SHIFT)
                                     : lanes_load16((const uint16_t *)(const void *)scales + block * PAGE_TOK + at));
    }
}

/* Log tiers: the largest value scale that the pages a row sees could have. */
static float top_scale(const struct coded_work *w, const struct group *g, const struct row_state *row)
{
    float top = 0.0f;
    for (size_t page = 0; page < g->pages; page++) {
        float scale = coded_top_scale(&w->lay, g->page[page]);
        if (row->seen[page] != 0 && scale > top) top = scale;
    }
    return top;
}

/* Log tiers: how far value scales are below a row's largest; see attention_coded.c, L. */
static void load_value_logs(struct coded_work *w, const struct group *g, const struct row_state *row)
{
    uint32_t top = bits_of_f32(top_scale(w, g, row));
    for (size_t page = 0; page < g->pages; page++) {
        const uint8_t *scales = g->page[page] + w->lay.v_scales;
        uint32_t base = le_u32(g->page[page] + w->lay.head + 4) - top;
        for (size_t at = 0; at < PAGE_TOK; at += LANES)
            lanes_store(w->value_logs + page * PAGE_TOK + at, lanes_scale_logs(scales + at, base));
    }
}

/* Scores to probabilities; the reference and the sum. */
CODED_INLINE lanes row_softmax(struct coded_work *w, const struct group *g, size_t r, bool all, float *largest)
{
    struct row_state *row = &w->rows[r];
    float *p = g->room->p[r];
    size_t vectors = g->pages * PAGE_LANES;
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

static bool sees_all(const struct group *g, const struct row_state *row)
{
    bool all = true;
    for (size_t page = 0; page < g->pages; page++) all = all && row->seen[page] == UINT64_MAX;
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
static void group_softmax(struct coded_work *w, const struct group *g, size_t r)
{
    struct row_state *row = &w->rows[r];
    float largest;
    if (w->s->soft_cap > 0.0f) cap_scores(w, g, g->room->p[r]);
    if (w->kind->log) load_value_logs(w, g, row);
    lanes total = sees_all(g, row) ? row_softmax(w, g, r, true, &largest) : row_softmax(w, g, r, false, &largest);
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
CODED_INLINE void log_weights(struct coded_work *w, const struct group *g, size_t r)
{
    struct row_state *row = &w->rows[r];
    lanes by = lanes_set(row_factor(w, row, top_scale(w, g, row)));
    for (size_t v = 0; v < g->pages * PAGE_LANES; v++) {
        lanes scale = lanes_mul(lanes_load(w->value_scales + v * LANES), by);
        lanes_store_bytes(g->room->weights[0][0][r] + v * LANES,
                          lanes_mul(lanes_load(g->room->p[r] + v * LANES), scale));
    }
}

/* Token tiers: weights p * scale of the block whose scales are loaded, as codes; `at` says which of the half's two
 * blocks. */
CODED_INLINE void row_weights(struct coded_work *w, const struct group *g, size_t r, size_t at, bool all)
{
    struct row_state *row = &w->rows[r];
    _Alignas(64) float room[GROUP_TOK];
    lanes most = lanes_set(0.0f);
    size_t vectors = g->pages * PAGE_LANES;
    for (size_t v = 0; v < vectors; v++) {
        lanes x = lanes_mul(lanes_load(g->room->p[r] + v * LANES), lanes_load(w->value_scales + v * LANES));
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
        uint8_t *high = g->room->weights[at][0][r], *low = g->room->weights[at][1][r];
        shorts_split(shorts_load(codes), high + v * LANES, low + v * LANES);
    }
}

static void group_weights(struct coded_work *w, const struct group *g, size_t r, size_t at)
{
    if (!w->rows[r].any)
        for (size_t i = 0; i < 4; i++) memset(g->room->weights[i / 2][i % 2][r], 0, GROUP_TOK);
    else if (w->kind->log) log_weights(w, g, r);
    else if (sees_all(g, &w->rows[r])) row_weights(w, g, r, at, true);
    else row_weights(w, g, r, at, false);
}

/* lanes_exp2 of four, step by step for all: one after the other their chains would wait for themselves. */
CODED_INLINE void exp2_page(lanes x[PAGE_LANES])
{
    lanes shifted[PAGE_LANES], p[PAGE_LANES], magic = lanes_set(ROUND_MAGIC), first = lanes_set(EXP2_POLY[0]);
    CODED_PAGE(i) x[i] = lanes_max(lanes_set(EXP2_LOWEST), x[i]);
    CODED_PAGE(i) shifted[i] = lanes_add(x[i], magic);
    CODED_PAGE(i) x[i] = lanes_sub(x[i], lanes_sub(shifted[i], magic));
    CODED_PAGE(i) p[i] = lanes_fma(first, x[i], lanes_set(EXP2_POLY[1]));
    CODED_PAGE(i) p[i] = lanes_fma(p[i], x[i], lanes_set(EXP2_POLY[2]));
    CODED_PAGE(i) p[i] = lanes_fma(p[i], x[i], lanes_set(EXP2_POLY[3]));
    CODED_PAGE(i) p[i] = lanes_fma(p[i], x[i], lanes_set(1.0f));
    CODED_PAGE(i) x[i] = lanes_raise(p[i], shifted[i]);
}

/* Softmax and weights of rows that see all of a group in a log tier: probabilities are never stored. First the largest
 * reach of a row within a page, then references and scales, then a page of a row, then joining. */
CODED_INLINE void whole_reach(struct coded_work *w, const struct group *g, size_t rows, float top, size_t page,
                              lanes most[ROWS])
{
    uint32_t base = le_u32(g->page[page] + w->lay.head + 4) - bits_of_f32(top);
    CODED_UNROLL for (size_t v = 0; v < PAGE_LANES; v++) {
        lanes log = lanes_scale_logs(g->page[page] + w->lay.v_scales + v * LANES, base);
        CODED_UNROLL for (size_t r = 0; r < rows; r++)
            most[r] = lanes_max(lanes_add(lanes_load(g->room->p[r] + page * PAGE_TOK + v * LANES), log), most[r]);
    }
}

CODED_INLINE void whole_begin(struct coded_work *w, const struct group *g, size_t rows, float top, lanes most[ROWS])
{
    struct whole *x = &w->whole;
    x->top = top;
    CODED_UNROLL for (size_t r = 0; r < rows; r++) {
        x->largest[r] = lanes_largest(most[r]);
        x->down[r] = lanes_set(x->largest[r]);
        x->total[r] = lanes_set(0.0f);
    }
    lanes by = lanes_set(top < LEAST_SCALE ? 0.0f : (float)LOG_WEIGHT_MOST / top);
    for (size_t v = 0; v < g->pages * PAGE_LANES; v++) {
        const uint8_t *page = g->page[v / PAGE_LANES];
        lanes scale = lanes_scales(page + w->lay.v_scales + v % PAGE_LANES * LANES, le_u32(page + w->lay.head + 4),
                                   VALUE_SCALE_SHIFT);
        lanes_store(w->value_scales + v * LANES, lanes_mul(scale, by));
    }
}

CODED_INLINE void whole_page(struct coded_work *w, const struct group *g, size_t r, size_t page)
{
    lanes x[PAGE_LANES], total = w->whole.total[r], down = w->whole.down[r];
    CODED_UNROLL for (size_t v = 0; v < PAGE_LANES; v++)
        x[v] = lanes_sub(lanes_load(g->room->p[r] + page * PAGE_TOK + v * LANES), down);
    exp2_page(x);
    CODED_UNROLL for (size_t v = 0; v < PAGE_LANES; v++) {
        total = lanes_add(total, x[v]);
        x[v] = lanes_mul(x[v], lanes_load(w->value_scales + page * PAGE_TOK + v * LANES));
    }
    w->whole.total[r] = total;
    lanes_store_page(g->room->weights[0][0][r] + page * PAGE_TOK, x[0], x[1], x[2], x[3]);
}

CODED_INLINE void whole_end(struct coded_work *w, size_t rows)
{
    CODED_UNROLL for (size_t r = 0; r < rows; r++) {
        join_row(w, &w->rows[r], w->whole.largest[r], lanes_tree(w->whole.total[r]));
        row_factor(w, &w->rows[r], w->whole.top);
    }
}

CODED_INLINE void whole_group(struct coded_work *w, const struct group *g, size_t rows)
{
    lanes most[ROWS];
    float top = top_scale(w, g, &w->rows[0]);
    CODED_UNROLL for (size_t r = 0; r < rows; r++) most[r] = lanes_set(-INFINITY);
    for (size_t page = 0; page < g->pages; page++) whole_reach(w, g, rows, top, page, most);
    whole_begin(w, g, rows, top, most);
    for (size_t page = 0; page < g->pages; page++)
        CODED_UNROLL for (size_t r = 0; r < rows; r++) whole_page(w, g, r, page);
    whole_end(w, rows);
}

/* Values in place: the sums of the rows' weights. */
static void sum_weights(struct coded_work *w, const struct group *g)
{
    ints sums[ROWS] = { ints_set(0), ints_set(0), ints_set(0), ints_set(0) };
    for (size_t r = 0; FIELDS_IN_PLACE && r < w->count; r++)
        for (size_t i = 0; i < g->pages * PAGE_TOK; i += PAGE_TOK)
            sums[r] = ints_add_weights(sums[r], g->room->weights[0][0][r] + i);
    if (FIELDS_IN_PLACE) ints_sums(sums, w->weight_sums);
}

typedef void whole_fn(struct coded_work *w, const struct group *g);

#define CODED_WHOLE(n) \
    static __attribute__((noinline)) void whole_group_##n(struct coded_work *w, const struct group *g) \
    {                                                                                                  \
        whole_group(w, g, n);                                                                          \
    }
CODED_WHOLE(1)
CODED_WHOLE(2)
CODED_WHOLE(3)
CODED_WHOLE(4)
static whole_fn *const WHOLE[ROWS] = { whole_group_1, whole_group_2, whole_group_3, whole_group_4 };

#endif
