/* Walks along the trie for one way that stays in one place: inside a string, a span or a name. A byte is then one look
 * into a row, not a step of every way; where the place is left (a quote, the end of a span), the general walk takes
 * over for what is below. The bits are those of the general walk (tests/grammar/mask.c holds both to each token alone).
 *
 * A span that loops on itself lets most of a vocabulary through: the mask of tokens that stay inside is remembered by
 * the span's state, with the trie's nodes where the span may end. */
#include "grammar/walk.h"

#include <assert.h>

/* ---- strings ---- */

void walk_string(grammar_walker *w, const struct trie_node *trie, uint32_t end, uint32_t left, uint64_t *mask)
{
    static const uint8_t LEAST[] = { 1, 2, 3, 4, 3, 3, 4, 4, 2, 0, 5, 4, 4, 3, 2, 9, 8, 7, 6, 5, 4 };
    struct grammar_way way = w->sets[0].ways[0];
    const struct table_node *n = &w->g->nodes[way.arg];
    uint32_t close = walk_frame_close(w, way.frame), frames_used = w->sets[0].frames_used;
    uint8_t *states = w->places8;
    uint32_t *counts = w->places;
    states[0] = (uint8_t)way.state;
    counts[0] = way.count;
    for (uint32_t at = 0; at < end;) {
        const struct trie_node *t = &trie[at];
        uint32_t from = t->depth - 1u, count = counts[from];
        uint8_t state = w->body[states[from]][t->byte];
        if (state == FREE_DEAD || (states[from] == FREE_BODY && state != FREE_END && count >= n->b)) {
            at = t->next;
            continue;
        }
        if (state == FREE_END) {
            struct way_set *in = &w->sets[from];
            in->count = 1;
            in->frames_used = frames_used;
            in->ways[0] = way;
            in->ways[0].state = states[from];
            in->ways[0].count = count;
            walk_nodes(w, trie, at, t->next, left, mask);
            at = t->next;
            continue;
        }
        if (states[from] == FREE_BODY && (n->b != STRING_ANY || count < n->a)) count++;
        states[t->depth] = state;
        counts[t->depth] = count;
        if (t->token >= 0) {
            uint32_t least = least_add(LEAST[state] + (n->a > count ? n->a - count : 0), close);
            if (least <= left && least != LEAST_NEVER) walk_set_bits(w->v, mask, t);
        }
        at++;
    }
}

/* ---- rows spelled out ---- */

static const uint32_t *dense_row(grammar_walker *w, uint32_t state)
{
    struct dense_row *row = &w->dense[state % DENSE_ROWS];
    if (row->table == w->g->bytes.ptr && row->state == state) return row->to;
    const struct table_state *s = &w->g->states[state];
    memset(row->to, 0xff, sizeof row->to); /* TABLE_NONE */
    for (uint32_t i = 0; i < s->edge_count; i++) {
        const struct table_edge *edge = &w->g->edges[s->edge_first + i];
        for (unsigned byte = edge->lo; byte <= edge->hi; byte++) row->to[byte] = edge->target;
    }
    row->table = w->g->bytes.ptr;
    row->state = state;
    return row->to;
}

/* ---- spans ---- */

/* What is behind the span where it ends with this label. False where that takes no byte: then nothing below is walked.
 */
static bool exit_ways(grammar_walker *w, const struct grammar_way *way, uint16_t label, struct way_set *out, bool *fits,
                      uint32_t left)
{
    bool bytes = false;
    walk_behind(w, way, label, out);
    *fits = walk_fits(w, out, left);
    for (uint32_t i = 0; i < out->count; i++)
        bytes = bytes || (out->ways[i].op != WAY_END && out->ways[i].op != WAY_TOKEN);
    return bytes;
}

struct exits { /* of one label: nearly every span has one */
    uint16_t label;
    bool known, bytes, fits;
};

/* Nodes below `at`, where the span may end. */
static void walk_exit(grammar_walker *w, const struct grammar_way *way, struct exits *x, uint16_t label,
                      uint32_t frames_used, uint32_t at, uint32_t left, uint64_t *mask)
{
    const struct trie_node *trie = w->v->trie, *t = &trie[at];
    if (!x->known || x->label != label) {
        w->used = frames_used;
        x->known = true;
        x->label = label;
        x->bytes = exit_ways(w, way, label, w->exit, &x->fits, left);
    }
    if (x->fits && t->token >= 0) walk_set_bits(w->v, mask, t);
    if (!x->bytes || at + 1 == t->next) return;
    struct way_set *in = &w->sets[t->depth];
    in->count = w->exit->count;
    in->frames_used = w->exit->frames_used;
    memcpy(in->ways, w->exit->ways, in->count * sizeof *in->ways);
    walk_nodes(w, trie, at + 1, t->next, left, mask);
}

static struct span_mask *find_span_mask(grammar_walker *w, uint32_t state)
{
    for (size_t i = 0; i < SPAN_MASKS; i++)
        if (w->spans[i].table == w->g->bytes.ptr && w->spans[i].state == state) return &w->spans[i];
    return NULL;
}

/* Is there nothing to read behind the span where it ends with this label? Free text ends anywhere, and nothing follows
 * its end: then its ends need no place among the exits. */
static bool is_silent(grammar_walker *w, const struct grammar_way *way, uint16_t label, uint32_t frames_used)
{
    bool fits;
    w->used = frames_used;
    return !exit_ways(w, way, label, w->exit, &fits, 0);
}

/* The state behind a trie's byte, kept at its depth; where there is none, *at leaves the subtree. */
static inline bool step_span(grammar_walker *w, uint32_t *at, uint32_t *next)
{
    const struct trie_node *t = &w->v->trie[*at];
    *next = dense_row(w, w->places[t->depth - 1])[t->byte];
    if (*next == (uint32_t)TABLE_NONE) {
        *at = t->next;
        return false;
    }
    w->places[t->depth] = *next;
    return true;
}

/* Fills a remembered mask: every token that stays inside, every node where the span may end. */
static struct span_mask *make_span_mask(grammar_walker *w, const struct grammar_way *way, uint32_t frames_used)
{
    uint32_t state = way->state, next;
    const struct table_state *rows = w->g->states;
    struct span_mask *m = &w->spans[w->span_next];
    w->span_next = (w->span_next + 1) % SPAN_MASKS;
    m->table = NULL;
    m->exit_count = m->most_least = 0;
    m->silent = LABEL_NONE;
    memset(m->mask, 0, w->v->words * sizeof *m->mask);
    w->places[0] = state;
    for (uint32_t at = 0; at < w->v->trie_count;) {
        const struct trie_node *t = &w->v->trie[at];
        if (!step_span(w, &at, &next)) continue;
        uint16_t label = rows[next].label;
        if (label != LABEL_NONE && m->silent == LABEL_NONE && is_silent(w, way, label, frames_used)) m->silent = label;
        if (label != LABEL_NONE && (label != m->silent || rows[next].edge_count == 0)) {
            if (m->exit_count == SPAN_EXITS_MAX) return NULL;
            m->exits[m->exit_count++] = at;
            m->exit_labels[m->exit_count - 1] = rows[next].label;
        }
        if (t->token >= 0 && rows[next].edge_count > 0) {
            walk_set_bits(w->v, m->mask, t);
            if (rows[next].least > m->most_least) m->most_least = rows[next].least;
        }
        at++;
    }
    m->table = w->g->bytes.ptr;
    m->state = state;
    return m;
}

/* NULL: can not be remembered, or what was is of a place with something else behind it. */
static struct span_mask *span_mask_of(grammar_walker *w, const struct grammar_way *way, uint32_t frames_used)
{
    struct span_mask *m = find_span_mask(w, way->state);
    if (m == NULL) return make_span_mask(w, way, frames_used);
    return m->silent == LABEL_NONE || is_silent(w, way, m->silent, frames_used) ? m : NULL;
}

/* One byte after the other, nothing remembered. */
static void walk_span_plain(grammar_walker *w, const struct grammar_way *way, uint32_t behind, uint32_t frames_used,
                            uint32_t left, uint64_t *mask)
{
    const struct table_state *rows = w->g->states;
    struct exits x = { 0 };
    uint32_t next;
    w->places[0] = way->state;
    for (uint32_t at = 0; at < w->v->trie_count;) {
        const struct trie_node *t = &w->v->trie[at];
        if (!step_span(w, &at, &next)) continue;
        if (rows[next].label != LABEL_NONE) walk_exit(w, way, &x, rows[next].label, frames_used, at, left, mask);
        if (t->token >= 0 && rows[next].edge_count > 0) {
            uint32_t least = least_add(rows[next].least, behind);
            if (least <= left && least != LEAST_NEVER) walk_set_bits(w->v, mask, t);
        }
        at++;
    }
}

/* Does the state let most of a vocabulary through? Then its mask is worth its memory. */
static bool is_wide(const grammar *g, uint32_t state)
{
    const struct table_state *s = &g->states[state];
    unsigned letters = 0;
    for (uint32_t i = 0; i < s->edge_count; i++)
        for (unsigned byte = g->edges[s->edge_first + i].lo; byte <= g->edges[s->edge_first + i].hi; byte++)
            letters += byte >= 'a' && byte <= 'z';
    return letters >= 20;
}

void walk_span(grammar_walker *w, uint32_t left, uint64_t *mask)
{
    struct grammar_way way = w->sets[0].ways[0];
    const struct table_node *n = &w->g->nodes[way.arg];
    uint32_t frames_used = w->sets[0].frames_used, close = walk_frame_close(w, way.frame);
    uint32_t behind = n->op == NODE_SPAN ? least_add(w->g->nodes[n->b].least, close) : close;
    struct span_mask *m = is_wide(w->g, way.state) ? span_mask_of(w, &way, frames_used) : NULL;
    uint32_t most = m == NULL ? LEAST_NEVER : least_add(m->most_least, behind);
    if (m == NULL || most > left || most == LEAST_NEVER) {
        walk_span_plain(w, &way, behind, frames_used, left, mask);
        return;
    }
    struct exits x = { 0 };
    for (size_t i = 0; i < w->v->words; i++) mask[i] |= m->mask[i];
    for (uint32_t i = 0; i < m->exit_count; i++)
        walk_exit(w, &way, &x, m->exit_labels[i], frames_used, m->exits[i], left, mask);
}

/* ---- names ---- */

void walk_key(grammar_walker *w, const struct trie_node *trie, uint32_t end, uint32_t left, uint64_t *mask)
{
    struct grammar_way way = w->sets[0].ways[0];
    const struct table_state *rows = w->g->states;
    uint32_t frames_used = w->sets[0].frames_used, *states = w->places;
    bool any_class;
    uint32_t class_least = object_least_class(w, &way, &any_class);
    bool used = walk_frame(w, way.frame)[F_CELLS] != 0, one_class = w->g->objects[way.arg].class_count <= 1;
    uint64_t *hashes = w->places64;
    states[0] = way.state;
    hashes[0] = way.hash;
    for (uint32_t at = 0; at < end;) {
        const struct trie_node *t = &trie[at];
        uint32_t from = t->depth - 1u, next = dense_row(w, states[from])[t->byte];
        const struct table_state *s = next == (uint32_t)TABLE_NONE ? NULL : &rows[next];
        if (s == NULL || (!any_class && s->reach_lo >= s->reach_hi && s->label == LABEL_NONE)) {
            at = t->next;
            continue;
        }
        struct way_set *in = &w->sets[from];
        struct grammar_way here = way;
        here.state = states[from];
        here.count = way.count + from;
        here.hash = hashes[from];
        if (s->label != LABEL_NONE) {
            in->count = 1;
            in->frames_used = frames_used;
            in->ways[0] = here;
            walk_nodes(w, trie, at, t->next, left, mask);
            at = t->next;
            continue;
        }
        states[t->depth] = next;
        hashes[t->depth] = name_hash(here.hash, t->byte);
        if (t->token >= 0) {
            bool open = next < FREE_KEY_STATES || (s->flags & STATE_BODY) != 0;
            here.state = next;
            uint32_t behind = open && !one_class ? object_least_open(w, &here) : class_least;
            uint32_t slack = used ? WALK_FRESH_SLACK : 0, quick = least_add(least_add(s->least, slack), behind);
            bool fits = (s->flags & STATE_FREE) != 0 && (open || !used) && quick <= left && quick != LEAST_NEVER;
            /* One class alone, and no listed name: nothing is nearer than that, so short budgets are decided here. */
            bool far = one_class && s->reach_lo >= s->reach_hi && least_add(s->least, class_least) > left;
            if (!fits && !far) {
                here.count++;
                here.hash = hashes[t->depth];
                uint32_t least = object_least_key(w, &here);
                fits = least <= left && least != LEAST_NEVER;
            }
            if (fits) walk_set_bits(w->v, mask, t);
        }
        at++;
    }
}
