/* Part of attention_coded_lanes.h, included by each tier's file.
 *
 * Log tiers whose rows see all of a span: the softmax of one group in step with products of another. Dot products keep
 * two of four pipes busy, a softmax mostly the other two: a loop of products does a piece of it after every few of its
 * vectors. With values it costs no more than its own multiplications (79 cycles a page on Zen 4), with keys 124, alone
 * 248. (The stage of the queries gains nothing so: its multiplications want the same pipes, and so do its stores.)
 *
 *   keys of group   0    1            2            3
 *   meanwhile            softmax 0
 *   then values of       0            1            2            3
 *   meanwhile            softmax 1    softmax 2    softmax 3
 *
 * The same bits as one stage after the other: which piece is done when changes no operand. Used by tiers that hold sums
 * of four fields at once. */
#ifndef HEARTH_KERNELS_ATTENTION_CODED_PIPE_H
#define HEARTH_KERNELS_ATTENTION_CODED_PIPE_H

enum work { WORK_NONE, WORK_SOFTMAX, WORKS };

/* Channels of a head here; steps of a page's keys, and of its values in both halves. */
enum { PIPE_DIM = 128, PIPE_STEPS = 4, PIPE_VALUE_STEPS = PIPE_DIM / HALF * PIPE_STEPS };

static bool pipe_can(const struct coded_work *w)
{
    return FIELDS_AT_ONCE == 4 && w->kind->log && w->count == ROWS && w->s->soft_cap == 0.0f &&
           w->lay.key_pad == PIPE_DIM && w->s->value_dim == PIPE_DIM;
}

/* ---- products, with pieces ---- */

/* One page's keys, as log_keys; a row of the other group's page after every quarter of its vectors. */
CODED_INLINE void pipe_keys(enum form form, enum work work, struct coded_work *w, const struct group *g, size_t page,
                            const struct group *other)
{
    const bool place = form == FORM_2;
    const size_t from = place ? PIPE_DIM / 8 : 0, each = (PIPE_DIM - from) / 4 / PIPE_STEPS;
    const uint8_t *ahead = g->ahead[page];
    struct expansion main = w->keys, boost = w->boost;
    const int8_t *quads = g->room->page_codes[page][0];
    ints sums[ROWS][4];
    main.codes = g->page[page] + w->lay.k_codes;
    boost.codes = g->page[page] + w->lay.boost_codes;
    CODED_UNROLL for (size_t r = 0; r < ROWS; r++)
        CODED_UNROLL for (int j = 0; j < 4; j++) sums[r][j] = ints_set(0);
    for (size_t step = 0; step < PIPE_STEPS; step++) {
        CODED_UNROLL for (size_t i = 0; i < each; i++)
            dot_key_vector(place ? FORM_IN_PLACE : form, &main, step * each + i, ROWS, 0, 4, quads + from, LOG_DIM_MAX,
                           sums, ahead + w->lay.k_codes);
        if (work == WORK_SOFTMAX) whole_page(w, other, step, page);
        keep_sums(ROWS, 4, sums);
    }
    if (place) in_place(ROWS, sums);
    dot_keys(place ? FORM_4 : FORM_2, &boost, 0, PIPE_DIM / 8 / 4, ROWS, 0, 4, quads, LOG_DIM_MAX, sums,
             ahead + w->lay.boost_codes);
    store_scores(g, ROWS, page, 0, sums);
    lanes most[ROWS];
    CODED_UNROLL for (size_t r = 0; r < ROWS; r++) most[r] = lanes_load(g->room->most[r]);
    whole_reach(w, g, ROWS, g->top, page, most);
    CODED_UNROLL for (size_t r = 0; r < ROWS; r++) lanes_store(g->room->most[r], most[r]);
}

/* One half of the group's values, as half_values; a row of the other group's page after every eight vectors. */
CODED_INLINE void pipe_values(enum form form, enum work work, struct coded_work *w, const struct group *g, size_t half,
                              const struct group *other)
{
    ints sums[ROWS][4];
    struct expansion values = w->values;
    CODED_UNROLL for (size_t r = 0; r < ROWS; r++)
        CODED_UNROLL for (int j = 0; j < 4; j++) sums[r][j] = ints_set(0);
    for (size_t step = 0; step < GROUP_PAGES * HALF_TS / 4; step++) {
        size_t page = step * 4 / HALF_TS, t = step * 4 % HALF_TS;
        values.codes = g->page[page] + w->lay.v_codes;
        const uint8_t *ahead = g->ahead[page] + w->lay.v_codes;
        CODED_UNROLL for (size_t i = 0; i < 4; i++)
            dot_value_vector(form == FORM_2 ? FORM_IN_PLACE : form, &values, half * HALF_TS + t + i, ROWS, 0, 4,
                             g->room->weights[0][0][0] + 4 * (4 * step + i), NULL, sums, ahead);
        size_t at = half * GROUP_PAGES * PIPE_STEPS + step;
        if (work == WORK_SOFTMAX && at % 2 == 0) whole_page(w, other, at / 2 % ROWS, at / PIPE_VALUE_STEPS);
        keep_sums(ROWS, 4, sums);
    }
    if (form == FORM_2) values_in_place(w, ROWS, 0, 4, sums);
    store_values(w, ROWS, half, 0, sums);
}

/* ---- a function for every form and work ---- */

typedef void pipe_fn(struct coded_work *w, const struct group *g, size_t page_or_half, const struct group *other);

#define PIPE_WORK(form, work)                                                                                        \
    static __attribute__((noinline)) void pipe_keys_##form##_##work(struct coded_work *w, const struct group *g,     \
                                                                    size_t page, const struct group *other)          \
    {                                                                                                                \
        pipe_keys(form, work, w, g, page, other);                                                                    \
    }                                                                                                                \
    static __attribute__((noinline)) void pipe_values_##form##_##work(struct coded_work *w, const struct group *g,   \
                                                                      size_t half, const struct group *other)        \
    {                                                                                                                \
        pipe_values(form, work, w, g, half, other);                                                                  \
    }
#define PIPE_FORM(form) PIPE_WORK(form, WORK_NONE) PIPE_WORK(form, WORK_SOFTMAX)
PIPE_FORM(FORM_2)
PIPE_FORM(FORM_3)
PIPE_FORM(FORM_4)

#define PIPE_LIST(what, form) { what##_##form##_WORK_NONE, what##_##form##_WORK_SOFTMAX }
static pipe_fn *const PIPE_KEYS[][WORKS] = { PIPE_LIST(pipe_keys, FORM_2), PIPE_LIST(pipe_keys, FORM_3),
                                             PIPE_LIST(pipe_keys, FORM_4) };
static pipe_fn *const PIPE_VALUES[][WORKS] = { PIPE_LIST(pipe_values, FORM_2), PIPE_LIST(pipe_values, FORM_3),
                                               PIPE_LIST(pipe_values, FORM_4) };

/* ---- a span ---- */

static void softmax_begin(struct coded_work *w, const struct group *g)
{
    lanes most[ROWS];
    for (size_t r = 0; r < ROWS; r++) most[r] = lanes_load(g->room->most[r]);
    whole_begin(w, g, ROWS, g->top, most);
}

/* Keys of g; meanwhile the softmax of another group. */
static void pipe_scores(struct coded_work *w, struct group *g, const struct group *other)
{
    enum form form = form_of(w->kind, w->kind->k_bits);
    enum work work = other != NULL ? WORK_SOFTMAX : WORK_NONE;
    g->top = top_scale(w, g, &w->rows[0]);
    for (size_t r = 0; r < ROWS; r++) lanes_store(g->room->most[r], lanes_set(-INFINITY));
    group_setup(w, g);
    if (other != NULL) softmax_begin(w, other);
    for (size_t page = 0; page < g->pages; page++) {
        fetch_small(w, g->ahead[page]);
        PIPE_KEYS[form][work](w, g, page, other);
    }
    if (other != NULL) whole_end(w, ROWS);
}

/* Values of g likewise: what another group's softmax joins, its own values have joined before. */
static void pipe_results(struct coded_work *w, const struct group *g, const struct group *other)
{
    enum form form = form_of(w->kind, w->kind->v_bits);
    enum work work = other != NULL ? WORK_SOFTMAX : WORK_NONE;
    if (form == FORM_2) sum_weights(w, g);
    if (other != NULL) softmax_begin(w, other);
    for (size_t half = 0; half < PIPE_DIM / HALF; half++) PIPE_VALUES[form][work](w, g, half, other);
    if (other != NULL) whole_end(w, ROWS);
}

static void pipe_span(struct coded_work *w, size_t groups)
{
    struct group *g = w->groups;
    pipe_scores(w, &g[0], NULL);
    pipe_scores(w, &g[1], &g[0]);
    for (size_t i = 0; i < groups; i++) {
        pipe_results(w, &g[i], i + 1 < groups ? &g[i + 1] : NULL);
        if (i + 2 < groups) pipe_scores(w, &g[i + 2], NULL);
    }
}

#endif
