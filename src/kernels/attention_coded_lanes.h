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
#define CODED_PAGE(i) CODED_UNROLL for (size_t i = 0; i < PAGE_LANES; i++)

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

/* What a group leaves from one of its stages to the next. */
struct group_room {
    /* log tiers: the queries in codes, by slot; factors of the scores, 4 * page + row */
    _Alignas(64) int8_t page_codes[GROUP_PAGES][ROWS][LOG_DIM_MAX];
    _Alignas(64) float a[GROUP_PAGES * ROWS], b[GROUP_PAGES * ROWS];
    _Alignas(64) float p[ROWS][GROUP_TOK];
    _Alignas(64) uint8_t weights[2][2][ROWS][GROUP_TOK]; /* block of the half, high or low (log: the first of each) */
    _Alignas(64) float most[ROWS][LANES];                /* where stages of two groups are in step */
};

struct group {
    size_t pages;
    const uint8_t *page[GROUP_PAGES];
    const uint8_t *ahead[GROUP_PAGES]; /* pages of the next group */
    struct group_room *room;
    float top; /* attention_coded_pipe.h: the largest value scale it could have */
};

/* What the pages of a group leave of each row, before their scores: a lane is 4 * page + row. */
struct setup {
    _Alignas(64) int32_t most[GROUP_PAGES * ROWS], mean[GROUP_PAGES * ROWS], start[GROUP_PAGES * ROWS];
    _Alignas(64) int32_t f[GROUP_PAGES * ROWS];
};

/* A softmax whose rows see all of a group. */
struct whole {
    lanes down[ROWS], total[ROWS];
    float largest[ROWS], top;
};

/* Everything a call works in. */
struct coded_work {
    const struct attention_span *s;
    const struct coded_kind *kind;
    struct coded_layout lay;
    size_t count; /* rows of this batch */
    struct row_state rows[ROWS];
    struct group groups[SPAN_PAGES / GROUP_PAGES];
    struct group_room rooms[2];
    struct expansion keys, boost, values; /* without `codes`, which every page sets */
    uint8_t offsets[LOG_DIM_MAX];         /* log tiers: what is added to levels, by slot; 0 where there is no channel */
    _Alignas(64) int16_t query[ROWS][CODED_KEYS_MAX];
    /* token tiers: high and low halves of the query, and what offsets of levels take away from each block */
    _Alignas(64) int8_t codes[2][ROWS][CODED_KEYS_MAX];
    int32_t start[ROWS][CODED_KEYS_MAX / CODED_BLOCK];
    /* log tiers: of every page of a group the channels of slots, and the query times scales, by channel */
    _Alignas(64) uint8_t slots[GROUP_PAGES][LOG_DIM_MAX];
    _Alignas(64) int16_t products[GROUP_PAGES][ROWS][LOG_DIM_MAX];
    float d[ROWS];
    _Alignas(64) float value_scales[GROUP_TOK], value_logs[GROUP_TOK];
    struct setup setup;
    struct whole whole;
    int32_t weight_sums[ROWS]; /* values in place */
};

#include "kernels/attention_coded_dots.h"
#include "kernels/attention_coded_soft.h"

/* ---- groups and spans ---- */

/* Scales, means and head of a page that comes soon. */
static void fetch_small(const struct coded_work *w, const uint8_t *page)
{
    for (size_t at = w->lay.k_scales; at < w->lay.bytes; at += 64) fetch_far(page + at);
}

static void group_scores(struct coded_work *w, const struct group *g)
{
    enum form form = form_of(w->kind, w->kind->k_bits);
    if (w->kind->log) group_setup(w, g);
    for (size_t page = 0; page < g->pages; page++) {
        fetch_small(w, g->ahead[page]);
        KEYS[form][w->count - 1](w, g, page);
    }
}

/* Softmax, then values. */
static void group_values(struct coded_work *w, const struct group *g)
{
    enum form form = form_of(w->kind, w->kind->v_bits);
    bool whole = w->kind->log && w->s->soft_cap == 0.0f;
    for (size_t r = 0; r < w->count; r++) whole = whole && sees_all(g, &w->rows[r]);
    if (whole) WHOLE[w->count - 1](w, g);
    for (size_t r = 0; !whole && r < w->count; r++)
        if (w->rows[r].any) group_softmax(w, g, r);
    if (whole && form == FORM_2) sum_weights(w, g);
    for (size_t half = 0; half < w->lay.value_pad / HALF; half++) {
        size_t blocks = !w->kind->log ? 2 : half == 0 && !whole ? 1 : 0; /* log: one scale a position for all halves */
        for (size_t at = 0; at < blocks; at++) {
            load_value_scales(w, g, 2 * half + at);
            for (size_t r = 0; r < w->count; r++) group_weights(w, g, r, at);
            if (form == FORM_2) sum_weights(w, g);
        }
        VALUES[form][w->count - 1](w, g, half);
    }
}

/* The pages of a group that some row sees, in order: the others have weight 0. */
static void group_begin(struct coded_work *w, struct group *g, size_t first)
{
    const struct attention_span *s = w->s;
    g->pages = 0;
    for (size_t r = 0; r < w->count; r++) w->rows[r].any = false;
    size_t last = min_size(first + GROUP_PAGES, s->pages);
    for (size_t page = first; page < last; page++) {
        uint64_t skip = s->skip != NULL ? s->skip[page] : 0, seen = 0;
        for (size_t r = 0; r < w->count; r++) {
            struct row_state *row = &w->rows[r];
            row->seen[g->pages] = page_range(row->row->lo, row->row->hi, (s->first_page + page) * PAGE_TOK) & ~skip;
            row->any = row->any || row->seen[g->pages] != 0;
            seen |= row->seen[g->pages];
        }
        if (seen == 0) continue;
        const void *next = page + GROUP_PAGES < s->pages + s->ahead ? s->k_pages[page + GROUP_PAGES] : NULL;
        g->ahead[g->pages] = next != NULL ? next : s->k_pages[page];
        g->page[g->pages++] = s->k_pages[page];
    }
}

#include "kernels/attention_coded_pipe.h"

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
    size_t groups = ceil_div(s->pages, GROUP_PAGES);
    bool whole = true;
    for (size_t i = 0; i < groups; i++) {
        struct group *g = &w->groups[i];
        group_begin(w, g, i * GROUP_PAGES);
        g->room = &w->rooms[i % 2];
        whole = whole && g->pages == GROUP_PAGES;
        for (size_t r = 0; whole && r < count; r++) whole = sees_all(g, &w->rows[r]);
    }
    if (whole && groups > 1 && pipe_can(w)) pipe_span(w, groups);
    else
        for (size_t i = 0; i < groups; i++) {
            struct group *g = &w->groups[i];
            group_begin(w, g, i * GROUP_PAGES);
            if (g->pages == 0) continue;
            group_scores(w, g);
            group_values(w, g);
        }
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
