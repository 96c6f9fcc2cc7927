/* Spans: automata over bytes, from lists of texts and from machines. See build.h. */
#include "grammar/build.h"

#include "base/checked.h"

#include <assert.h>

static bool add_state(build *b, uint32_t *index)
{
    if (!build_grow(b, &b->states, &b->state_room, b->state_count, 1, sizeof *b->states, GRAMMAR_STATES_MAX, "states"))
        return false;
    b->states[b->state_count] = (struct table_state){ .label = LABEL_NONE, .least = LEAST_NEVER };
    *index = b->state_count++;
    return true;
}

/* An edge of the state whose edges are the last ones; joins the one before where they touch. */
static bool add_edge(build *b, uint32_t state, unsigned lo, unsigned hi, uint32_t target)
{
    struct table_state *s = &b->states[state];
    struct table_edge *last = s->edge_count > 0 ? &b->edges[b->edge_count - 1] : NULL;
    if (s->edge_count == 0) s->edge_first = b->edge_count;
    if (last != NULL && last->target == target && last->hi + 1u == lo) {
        last->hi = (uint8_t)hi;
        return true;
    }
    if (!build_grow(b, &b->edges, &b->edge_room, b->edge_count, 1, sizeof *b->edges, BUILD_EDGES_MAX, "edges"))
        return false;
    b->edges[b->edge_count++] = (struct table_edge){ .lo = (uint8_t)lo, .hi = (uint8_t)hi, .target = target };
    s->edge_count++;
    return true;
}

/* ---- texts ---- */

/* Texts [lo, hi) share their first `at` bytes, which lead to `state`. */
struct branch {
    uint32_t state, lo, hi;
    uint32_t at;
    uint8_t free; /* the state of a free name that these bytes lead to */
};

/* Edges of free names for the bytes [from, to). */
static bool add_free_edges(build *b, uint32_t state, uint8_t free, unsigned from, unsigned to)
{
    for (unsigned byte = from; byte < to; byte++) {
        uint8_t target = b->free_rows[free][byte];
        if (target != FREE_DEAD && !add_edge(b, state, byte, byte, target)) return false;
    }
    return true;
}

static bool grow_branch(build *b, const struct span_text *texts, struct branch n, bool free, struct branch *queue,
                        uint32_t *queued)
{
    unsigned byte = 0;
    uint32_t lo = n.lo;
    if (lo < n.hi && texts[lo].text.len_bytes == n.at) b->states[n.state].label = texts[lo++].label;
    while (lo < n.hi) {
        uint8_t next = texts[lo].text.ptr[n.at];
        uint32_t hi = lo + 1, child;
        while (hi < n.hi && texts[hi].text.ptr[n.at] == next) hi++;
        if (free && !add_free_edges(b, n.state, n.free, byte, next)) return false;
        if (!add_state(b, &child) || !add_edge(b, n.state, next, next, child)) return false;
        uint8_t there = free ? b->free_rows[n.free][next] : 0;
        assert(!free || there != FREE_DEAD); /* listed names are written the shortest way */
        queue[(*queued)++] = (struct branch){ child, lo, hi, n.at + 1, there };
        byte = next + 1u;
        lo = hi;
    }
    return !free || b->states[n.state].label != LABEL_NONE || add_free_edges(b, n.state, n.free, byte, 256);
}

bool span_texts(build *b, const struct span_text *texts, uint32_t count, bool key, bool free, uint32_t *state)
{
    size_t bytes = 1, mark = b->scratch.used_bytes;
    for (uint32_t i = 0; i < count; i++) bytes += texts[i].text.len_bytes;
    if (bytes > GRAMMAR_STATES_MAX)
        return fail(b->e, ERR_LIMIT, ERR_NO_OFFSET, "texts of %zu bytes together, allowed 0..%d", bytes,
                    GRAMMAR_STATES_MAX);
    struct branch *queue = ARENA_ARRAY(&b->scratch, struct branch, bytes + 1, "texts", b->e);
    if (queue == NULL || !add_state(b, state)) return false;
    uint32_t queued = 0, first = *state;
    queue[queued++] = (struct branch){ first, 0, count, 0, FREE_BODY };
    for (uint32_t i = 0; i < queued; i++) {
        struct table_state *s = &b->states[queue[i].state];
        if (key) {
            s->reach_lo = (uint16_t)queue[i].lo;
            s->reach_hi = (uint16_t)queue[i].hi;
            s->flags = !free ? 0 : queue[i].free == FREE_BODY ? STATE_FREE | STATE_BODY : STATE_FREE;
        }
        if (!grow_branch(b, texts, queue[i], free, queue, &queued)) return false;
    }
    for (uint32_t i = b->state_count; i-- > first;) { /* children have higher numbers */
        struct table_state *s = &b->states[i];
        if (s->label != LABEL_NONE && !key) s->least = 0;
        for (uint32_t j = 0; j < s->edge_count; j++) {
            uint32_t next = b->states[b->edges[s->edge_first + j].target].least;
            if (next != LEAST_NEVER && next + 1 < s->least) s->least = next + 1;
        }
    }
    arena_rewind(&b->scratch, mark);
    return true;
}

/* ---- machines ---- */

struct explored {
    const struct machine *m;
    uint32_t *keys;  /* states_max rows of m->words */
    uint32_t *slots; /* hash table: index + 1 */
    size_t mask;
    uint32_t count, room, first; /* first: the table's state of row 0 */
    bool full;
};

static size_t key_slot(const struct explored *x, const uint32_t *key)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < x->m->words; i++)
        hash = (hash ^ key[i]) * UINT64_C(0x9E3779B97F4A7C15), hash ^= hash >> 32;
    size_t slot = hash & x->mask;
    while (x->slots[slot] != 0 &&
           memcmp(x->keys + (size_t)(x->slots[slot] - 1) * x->m->words, key, x->m->words * sizeof *key) != 0)
        slot = (slot + 1) & x->mask;
    return slot;
}

static bool find_state(build *b, struct explored *x, const uint32_t *key, uint32_t *index)
{
    size_t slot = key_slot(x, key);
    uint32_t state;
    if (x->slots[slot] == 0) {
        x->full = x->count == x->room;
        if (x->full && x->room < x->m->states_max) return false; /* once more with more room */
        if (x->full)
            return fail(b->e, ERR_LIMIT, ERR_NO_OFFSET, "%s: more than %u states", x->m->what, x->m->states_max);
        if (!add_state(b, &state)) return false;
        memcpy(x->keys + (size_t)x->count * x->m->words, key, x->m->words * sizeof *key);
        x->slots[slot] = ++x->count;
    }
    *index = x->slots[slot] - 1;
    return true;
}

/* Edges of row `at`; rows they lead to are made. */
static bool explore_state(build *b, struct explored *x, uint32_t at)
{
    const struct machine *m = x->m;
    uint32_t to[MACHINE_WORDS_MAX], from[MACHINE_WORDS_MAX], target;
    memcpy(from, x->keys + (size_t)at * m->words, m->words * sizeof *from);
    struct table_state *s = &b->states[x->first + at];
    s->label = m->label(m->ctx, from);
    if (m->reach != NULL) m->reach(m->ctx, from, &s->reach_lo, &s->reach_hi);
    uint32_t bytes = m->bytes != NULL ? m->byte_count : 256;
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t byte = m->bytes != NULL ? m->bytes[i] : (uint8_t)i;
        memset(to, 0, m->words * sizeof *to);
        if (!m->step(m->ctx, from, byte, to)) continue;
        if (!find_state(b, x, to, &target) || !add_edge(b, x->first + at, byte, byte, x->first + target)) return false;
    }
    return true;
}

/* Leasts against the edges' direction, breadth first from where the span may end. */
static bool explore_leasts(build *b, const struct explored *x)
{
    uint32_t count = x->count;
    size_t edges = b->edge_count - b->states[x->first].edge_first;
    if (b->states[x->first].edge_count == 0) edges = 0;
    uint32_t *begin = ARENA_ARRAY(&b->scratch, uint32_t, count + 2, "span", b->e);
    uint32_t *from = ARENA_ARRAY(&b->scratch, uint32_t, edges + 1, "span", b->e);
    uint32_t *queue = ARENA_ARRAY(&b->scratch, uint32_t, count, "span", b->e);
    if (begin == NULL || from == NULL || queue == NULL) return false;
    struct table_state *s = b->states + x->first;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < s[i].edge_count; j++) begin[b->edges[s[i].edge_first + j].target - x->first + 2]++;
    for (uint32_t i = 2; i < count + 2; i++) begin[i] += begin[i - 1];
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < s[i].edge_count; j++)
            from[begin[b->edges[s[i].edge_first + j].target - x->first + 1]++] = i;
    uint32_t queued = 0;
    for (uint32_t i = 0; i < count; i++)
        if (s[i].label != LABEL_NONE && s[i].label >= x->m->listed) s[i].least = 0, queue[queued++] = i;
    for (uint32_t at = 0; at < queued; at++)
        for (uint32_t i = begin[queue[at]]; i < begin[queue[at] + 1]; i++)
            if (s[from[i]].least == LEAST_NEVER) s[from[i]].least = s[queue[at]].least + 1, queue[queued++] = from[i];
    return true;
}

/* Takes edges away that lead nowhere. Edges move to the front of their state's place, so nothing else moves. */
static void explore_trim(build *b, const struct explored *x)
{
    for (uint32_t i = 0; i < x->count; i++) {
        struct table_state *s = &b->states[x->first + i];
        uint16_t kept = 0;
        for (uint32_t j = 0; j < s->edge_count; j++) {
            struct table_edge edge = b->edges[s->edge_first + j];
            const struct table_state *to = &b->states[edge.target];
            if (to->least != LEAST_NEVER || to->reach_lo < to->reach_hi) b->edges[s->edge_first + kept++] = edge;
        }
        s->edge_count = kept;
        if (x->m->reach != NULL && s->least != LEAST_NEVER) s->flags = STATE_FREE;
    }
}

/* ---- states of names where any characters may follow ---- */

enum { PAIRS_MAX = 64 }; /* a character of four bytes passes three states; ranges are not joined */
struct body_check {
    build *b;
    uint32_t home; /* the state in question */
    struct {
        uint8_t free;
        uint32_t state;
    } pairs[PAIRS_MAX];
    uint32_t count;
};

static uint32_t edge_target(const build *b, uint32_t state, unsigned byte)
{
    const struct table_state *s = &b->states[state];
    for (uint32_t i = 0; i < s->edge_count; i++) {
        const struct table_edge *edge = &b->edges[s->edge_first + i];
        if (edge->lo <= byte && byte <= edge->hi) return edge->target;
    }
    return (uint32_t)TABLE_NONE;
}

static bool pair_add(struct body_check *c, uint8_t free, uint32_t state)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->pairs[i].free == free && c->pairs[i].state == state) return true;
    if (c->count == PAIRS_MAX) return false;
    c->pairs[c->count].free = free;
    c->pairs[c->count++].state = state;
    return true;
}

/* Does every character that needs no escape lead back here? */
static bool is_body(build *b, uint32_t state)
{
    struct body_check c = { .b = b, .home = state };
    if (!pair_add(&c, FREE_BODY, state)) return false;
    for (uint32_t i = 0; i < c.count; i++)
        for (unsigned byte = 0x20; byte < 256; byte++) {
            uint8_t free = b->free_rows[c.pairs[i].free][byte];
            if (free == FREE_DEAD || free == FREE_END || free == FREE_ESCAPE) continue;
            uint32_t to = edge_target(b, c.pairs[i].state, byte);
            if (to == (uint32_t)TABLE_NONE || (free == FREE_BODY && to != state) || !pair_add(&c, free, to))
                return false;
        }
    return true;
}

static bool explore(build *b, struct explored *x, const uint32_t *start)
{
    size_t slots = 16;
    while (slots < (size_t)x->room * 2) slots *= 2;
    x->mask = slots - 1;
    x->slots = ARENA_ARRAY(&b->scratch, uint32_t, slots, "span", b->e);
    x->keys = ARENA_ARRAY(&b->scratch, uint32_t, (size_t)x->room * x->m->words, "span", b->e);
    uint32_t index;
    if (x->slots == NULL || x->keys == NULL || !find_state(b, x, start, &index)) return false;
    for (uint32_t at = 0; at < x->count; at++)
        if (!explore_state(b, x, at)) return false;
    return true;
}

bool span_machine(build *b, const struct machine *m, const uint32_t *start, uint32_t *state)
{
    size_t mark = b->scratch.used_bytes;
    uint32_t states = b->state_count, edges = b->edge_count;
    assert(m->words >= 1 && m->words <= MACHINE_WORDS_MAX);
    for (uint32_t room = 512;; room *= 8) { /* most are small, and room has to be cleared */
        struct explored x = { .m = m, .first = states, .room = room < m->states_max ? room : m->states_max };
        bool good = explore(b, &x, start);
        if (good && !explore_leasts(b, &x)) return false;
        if (good) explore_trim(b, &x);
        for (uint32_t i = 0; good && m->reach != NULL && i < x.count; i++)
            if ((b->states[states + i].flags & STATE_FREE) != 0 && is_body(b, states + i))
                b->states[states + i].flags |= STATE_BODY;
        arena_rewind(&b->scratch, mark);
        *state = x.first;
        if (good || !x.full || x.room == m->states_max) return good;
        b->state_count = states;
        b->edge_count = edges;
    }
}

bool machine_takes(const struct machine *m, const uint32_t *start, view text)
{
    uint32_t at[MACHINE_WORDS_MAX], to[MACHINE_WORDS_MAX];
    memcpy(at, start, m->words * sizeof *at);
    for (size_t i = 0; i < text.len_bytes; i++) {
        memset(to, 0, m->words * sizeof *to);
        if (!m->step(m->ctx, at, text.ptr[i], to)) return false;
        memcpy(at, to, m->words * sizeof *at);
    }
    return m->label(m->ctx, at) != LABEL_NONE;
}
