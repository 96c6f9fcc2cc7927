/* Frames, and what an object asks: which members were written, which must come, which may. See walk.h.
 *
 * A listed member has a bit in the frame. Names that are not listed are kept as hashes in a chain of cells: a name
 * whose hash was seen is not closed again, so no name stands twice (two names with one hash of 64 bits would cost an
 * answer one of them, never its validity). */
#include "grammar/walk.h"

#include <assert.h>

/* ORDER frame head: kind 3 bits, size 6, depth 7, total 14 */
enum { HEAD_SIZE = 3, HEAD_DEPTH = 9, HEAD_TOTAL = 16 };
_Static_assert(FRAME_OBJECT_WORDS_MAX < 64 && GRAMMAR_DEPTH_MAX < 128 && GRAMMAR_FRAME_WORDS < 1 << 14, "head bits");

/* Names that are not listed may take what the deepest nesting leaves. */
enum { CELL_TOTAL_MAX = GRAMMAR_FRAME_WORDS - 64 - GRAMMAR_DEPTH_MAX * (FRAME_OBJECT_WORDS_MAX + FRAME_WORDS) };

const uint32_t *walk_frame(const grammar_walker *w, uint32_t frame)
{
    assert(frame > 0 && frame < w->used);
    return w->frames + frame;
}

static uint32_t frame_size(uint32_t head)
{
    return head >> HEAD_SIZE & 63;
}

static uint32_t frame_total(const grammar_walker *w, uint32_t frame)
{
    return frame == 0 ? 0 : w->frames[frame + F_HEAD] >> HEAD_TOTAL;
}

uint32_t walk_frame_depth(const grammar_walker *w, uint32_t frame)
{
    return frame == 0 ? 0 : w->frames[frame + F_HEAD] >> HEAD_DEPTH & 127;
}

uint32_t walk_frame_close(const grammar_walker *w, uint32_t frame)
{
    return frame == 0 ? 0 : w->frames[frame + F_CLOSE];
}

/* The frame in `words` without its head, which is made here; an equal one that this byte made already serves. */
static uint32_t frame_add(grammar_walker *w, enum frame_kind kind, uint32_t size, uint32_t depth, uint32_t total,
                          uint32_t *words)
{
    if (depth > GRAMMAR_DEPTH_MAX || total >= GRAMMAR_FRAME_WORDS || w->used + size > WALK_FRAME_WORDS) return 0;
    words[F_HEAD] = (uint32_t)kind | size << HEAD_SIZE | depth << HEAD_DEPTH | total << HEAD_TOTAL;
    for (uint32_t at = w->step_mark; at < w->used; at += frame_size(w->frames[at + F_HEAD]))
        if (memcmp(w->frames + at, words, size * sizeof *words) == 0) return at;
    uint32_t at = w->used;
    memcpy(w->frames + at, words, size * sizeof *words);
    w->used += size;
    return at;
}

uint32_t walk_frame_push(grammar_walker *w, enum frame_kind kind, uint32_t parent, uint32_t arg, uint32_t close)
{
    uint32_t words[FRAME_WORDS] = { [F_PARENT] = parent, [F_ARG] = arg, [F_CLOSE] = close };
    return frame_add(w, kind, FRAME_WORDS, walk_frame_depth(w, parent) + 1, frame_total(w, parent) + FRAME_WORDS,
                     words);
}

/* ---- objects ---- */

static const struct table_object *object_of(const grammar_walker *w, const uint32_t *f)
{
    return &w->g->objects[f[F_ARG]];
}

/* The row of a label; NULL where no member has it. LABEL_FREE is the first class. */
const struct table_member *object_member(const grammar_walker *w, const struct table_object *o, uint16_t label)
{
    uint32_t index = label == LABEL_FREE ? o->member_count : label;
    return index < (uint32_t)o->member_count + o->class_count ? &w->g->members[o->member_first + index] : NULL;
}

static bool seen(const uint32_t *f, uint32_t member)
{
    return f[F_SEEN + member / 32] >> member % 32 & 1;
}

/* The cheapest way to `fill` members that nobody asked for by name, on top of the required ones. */
static uint32_t fill_cost(const grammar_walker *w, const uint32_t *f, uint32_t fill)
{
    const struct table_object *o = object_of(w, f);
    const struct table_member *m = w->g->members + o->member_first;
    uint32_t free_cost = LEAST_NEVER, sum = 0, from = 0;
    for (uint32_t i = 0; i < o->class_count; i++) {
        uint32_t cost = m[o->member_count + i].cost;
        if (cost < free_cost) free_cost = cost;
    }
    /* Members by rising cost: each round takes all of the next cost. Rounds are as many as there are costs. */
    while (fill > 0) {
        uint32_t next = LEAST_NEVER, here = 0;
        for (uint32_t i = 0; i < o->member_count; i++) {
            if (seen(f, i) || (m[i].flags & MEMBER_REQUIRED) != 0 || m[i].cost <= from) continue;
            if (m[i].cost < next) next = m[i].cost, here = 1;
            else if (m[i].cost == next) here++;
        }
        if (free_cost <= next) { /* + 2: a name that is free may need to be longer than the shortest */
            for (; fill > 0; fill--) sum = least_add(sum, least_add(free_cost, 2));
            break;
        }
        if (here > fill) here = fill;
        for (uint32_t i = 0; i < here; i++) sum = least_add(sum, next);
        fill -= here;
        from = next;
    }
    return sum;
}

/* From behind a member to behind the object: what is still required, with a comma each, what fills, and '}'. Sets the
 * words that follow from the seen bits. */
static void object_settle(const grammar_walker *w, uint32_t *f)
{
    const struct table_object *o = object_of(w, f);
    const struct table_member *m = w->g->members + o->member_first;
    uint32_t required = 0, cost = 1, next_rank = 0, last_rank = UINT16_MAX;
    for (uint32_t i = 0; i < o->member_count; i++) {
        if (seen(f, i)) {
            if (m[i].rank >= next_rank) next_rank = m[i].rank + 1u;
        } else if ((m[i].flags & MEMBER_REQUIRED) != 0) {
            required++;
            cost = least_add(cost, m[i].cost);
            if (m[i].rank < last_rank) last_rank = m[i].rank;
        }
    }
    uint32_t have = f[F_COUNT] + required, fill = o->least_members > have ? o->least_members - have : 0;
    if (fill > 0) cost = least_add(cost, fill_cost(w, f, fill));
    bool ordered = (o->flags & OBJECT_ORDERED) != 0;
    if (ordered && f[F_CELLS] != 0) next_rank = UINT16_MAX; /* the others are last */
    f[F_RANKS] = ordered ? next_rank | last_rank << 16 : (uint32_t)UINT16_MAX << 16;
    f[F_OPEN] = required | fill << 16;
    f[F_CLOSE] = least_add(cost, walk_frame_close(w, f[F_PARENT]));
}

static uint32_t object_size(const struct table_object *o)
{
    return F_SEEN + (o->member_count + 31u) / 32;
}

uint32_t object_open(grammar_walker *w, uint32_t object, uint32_t parent)
{
    const struct table_object *o = &w->g->objects[object];
    uint32_t words[FRAME_OBJECT_WORDS_MAX] = { [F_PARENT] = parent, [F_ARG] = object };
    uint32_t size = object_size(o);
    object_settle(w, words);
    return frame_add(w, FRAME_OBJECT, size, walk_frame_depth(w, parent) + 1, frame_total(w, parent) + size, words);
}

uint32_t object_with(grammar_walker *w, uint32_t frame, uint16_t label, uint64_t hash)
{
    const uint32_t *f = walk_frame(w, frame);
    const struct table_object *o = object_of(w, f);
    uint32_t words[FRAME_OBJECT_WORDS_MAX], size = object_size(o), total = frame_total(w, frame);
    memcpy(words, f, size * sizeof *words);
    words[F_COUNT]++;
    if (label < o->member_count) {
        words[F_SEEN + label / 32] |= 1u << label % 32;
    } else {
        uint32_t cell[FRAME_WORDS] = {
            [F_PARENT] = f[F_CELLS], [F_HASH_LO] = (uint32_t)hash, [F_HASH_HI] = (uint32_t)(hash >> 32)
        };
        words[F_CELLS] = frame_add(w, FRAME_CELL, FRAME_WORDS, 0, 0, cell);
        if (words[F_CELLS] == 0) return 0;
        total += FRAME_WORDS;
    }
    object_settle(w, words);
    return frame_add(w, FRAME_OBJECT, size, walk_frame_depth(w, frame), total, words);
}

bool object_may_close(const grammar_walker *w, uint32_t frame)
{
    return walk_frame(w, frame)[F_OPEN] == 0;
}

static bool name_used(const grammar_walker *w, const uint32_t *f, uint64_t hash)
{
    for (uint32_t at = f[F_CELLS]; at != 0; at = w->frames[at + F_PARENT])
        if (w->frames[at + F_HASH_LO] == (uint32_t)hash && w->frames[at + F_HASH_HI] == (uint32_t)(hash >> 32))
            return true;
    return false;
}

/* Is there room for one more member that is not required, and for the value's own nesting? */
static bool member_fits(const grammar_walker *w, const uint32_t *f, const struct table_member *m, bool required)
{
    const struct table_object *o = object_of(w, f);
    uint32_t open = (f[F_OPEN] & UINT16_MAX) - required;
    if (m->value == (uint32_t)TABLE_NONE || m->cost == LEAST_NEVER) return false;
    if ((uint64_t)f[F_COUNT] + 1 + open > o->most_members) return false;
    return (f[F_HEAD] >> HEAD_DEPTH & 127) + w->g->nodes[m->value].height <= GRAMMAR_DEPTH_MAX;
}

static bool listed_allowed(const grammar_walker *w, const uint32_t *f, uint32_t member)
{
    const struct table_member *m = &w->g->members[object_of(w, f)->member_first + member];
    uint32_t next = f[F_RANKS] & UINT16_MAX, last = f[F_RANKS] >> 16;
    return !seen(f, member) && m->rank >= next && m->rank <= last &&
           member_fits(w, f, m, (m->flags & MEMBER_REQUIRED) != 0);
}

/* A class of names that are not listed: in order they come behind all that is required. */
static bool class_allowed(const grammar_walker *w, uint32_t frame, const struct table_member *m)
{
    const uint32_t *f = walk_frame(w, frame);
    bool ordered = (object_of(w, f)->flags & OBJECT_ORDERED) != 0;
    return member_fits(w, f, m, false) && !(ordered && (f[F_OPEN] & UINT16_MAX) != 0) &&
           frame_total(w, frame) + FRAME_WORDS <= CELL_TOTAL_MAX;
}

bool object_allows(const grammar_walker *w, uint32_t frame, uint16_t label, uint64_t hash)
{
    const uint32_t *f = walk_frame(w, frame);
    const struct table_object *o = object_of(w, f);
    const struct table_member *m = object_member(w, o, label);
    if (m == NULL) return false;
    if (label < o->member_count) return listed_allowed(w, f, label);
    return class_allowed(w, frame, m) && !name_used(w, f, hash);
}

bool object_any_allowed(grammar_walker *w, uint32_t frame)
{
    return object_least_next(w, frame) != LEAST_NEVER;
}

/* ---- least ---- */

/* From behind the member with this label to the end of the answer, as the frame with it would say. */
static uint32_t least_with(const grammar_walker *w, const uint32_t *f, uint16_t label)
{
    const struct table_object *o = object_of(w, f);
    const struct table_member *m = object_member(w, o, label);
    if (label < o->member_count && (m->flags & MEMBER_REQUIRED) != 0)
        return f[F_CLOSE] == LEAST_NEVER ? LEAST_NEVER : f[F_CLOSE] - m->cost;
    if (f[F_OPEN] >> 16 == 0) return f[F_CLOSE];
    uint32_t words[FRAME_OBJECT_WORDS_MAX];
    memcpy(words, f, object_size(o) * sizeof *words);
    words[F_COUNT]++;
    if (label < o->member_count) words[F_SEEN + label / 32] |= 1u << label % 32;
    object_settle(w, words);
    return words[F_CLOSE];
}

/* The shortest end of a name that was not used, depth first within `left` bytes. */
struct fresh {
    const grammar_walker *w;
    uint32_t frame;
    uint32_t steps;
    uint16_t label;
};

static bool fresh_find(struct fresh *s, uint32_t state, uint64_t hash, uint32_t left)
{
    const grammar *g = s->w->g;
    const struct table_state *at = &g->states[state];
    if (++s->steps > WALK_FRESH_STEPS) return false;
    if (left == 0) {
        const struct table_object *o = object_of(s->w, walk_frame(s->w, s->frame));
        s->label = at->label;
        return at->label != LABEL_NONE && at->label >= o->member_count &&
               object_allows(s->w, s->frame, at->label, hash);
    }
    for (uint32_t i = 0; i < at->edge_count; i++) {
        const struct table_edge *edge = &g->edges[at->edge_first + i];
        if (g->states[edge->target].least > left - 1) continue;
        for (unsigned byte = edge->lo; byte <= edge->hi; byte++)
            if (fresh_find(s, edge->target, name_hash(hash, (uint8_t)byte), left - 1)) return true;
    }
    return false;
}

static uint32_t least_class(grammar_walker *w, const struct grammar_way *way)
{
    const uint32_t *f = walk_frame(w, way->frame);
    uint32_t least = w->g->states[way->state].least;
    if ((w->g->states[way->state].flags & STATE_FREE) == 0 || least > TOKEN_BYTES_MAX) return LEAST_NEVER;
    struct fresh s = { .w = w, .frame = way->frame };
    uint32_t longest = f[F_CELLS] == 0 ? least : least + WALK_FRESH_SLACK;
    for (uint32_t length = least; length <= longest; length++) {
        if (!fresh_find(&s, way->state, way->hash, length)) continue;
        const struct table_member *m = object_member(w, object_of(w, f), s.label);
        uint32_t value = least_add(1 + length, w->g->nodes[m->value].least);
        return least_add(value, least_with(w, f, s.label));
    }
    return LEAST_NEVER;
}

uint32_t object_least_class(grammar_walker *w, const struct grammar_way *way, bool *any)
{
    const struct table_object *o = object_of(w, walk_frame(w, way->frame));
    uint32_t worst = 0;
    bool all = true;
    *any = false;
    for (uint32_t i = 0; i < o->class_count; i++) {
        uint32_t least = object_least_label(w, way->frame, (uint16_t)(o->member_count + i));
        if (least == LEAST_NEVER) all = false;
        else *any = true;
        if (least != LEAST_NEVER && least > worst) worst = least;
    }
    return all && *any ? worst : LEAST_NEVER;
}

uint32_t object_least_label(grammar_walker *w, uint32_t frame, uint16_t label)
{
    const uint32_t *f = walk_frame(w, frame);
    const struct table_member *m = object_member(w, object_of(w, f), label);
    if (m == NULL || !class_allowed(w, frame, m)) return LEAST_NEVER;
    return least_add(least_add(1, w->g->nodes[m->value].least), least_with(w, f, label));
}

uint32_t object_least_open(grammar_walker *w, const struct grammar_way *way)
{
    const struct table_object *o = object_of(w, walk_frame(w, way->frame));
    uint32_t end = state_step(w->g, way->state, '"');
    if (o->class_count <= 1) return object_least_label(w, way->frame, LABEL_FREE);
    uint16_t label = end == (uint32_t)TABLE_NONE ? LABEL_NONE : w->g->states[end].label;
    return label == LABEL_NONE || label < o->member_count ? LEAST_NEVER : object_least_label(w, way->frame, label);
}

static uint32_t least_listed(const grammar_walker *w, const uint32_t *f, uint32_t lo, uint32_t hi, uint32_t written)
{
    const struct table_object *o = object_of(w, f);
    const struct table_member *m = w->g->members + o->member_first;
    uint32_t best = LEAST_NEVER;
    for (uint32_t i = lo; i < hi && i < o->member_count; i++) {
        if (!listed_allowed(w, f, i) || m[i].key_bytes < written) continue;
        uint32_t own = least_add(m[i].key_bytes - written + 1, w->g->nodes[m[i].value].least);
        uint32_t all = least_add(own, least_with(w, f, (uint16_t)i));
        if (all < best) best = all;
    }
    return best;
}

uint32_t object_least_key(grammar_walker *w, const struct grammar_way *way)
{
    const struct table_state *s = &w->g->states[way->state];
    uint32_t listed = least_listed(w, walk_frame(w, way->frame), s->reach_lo, s->reach_hi, way->count);
    uint32_t other = least_class(w, way);
    return listed < other ? listed : other;
}

uint32_t object_least_next(grammar_walker *w, uint32_t frame)
{
    const struct table_object *o = object_of(w, walk_frame(w, frame));
    struct grammar_way quote = { .op = WAY_KEY, .state = o->key_state, .frame = frame, .count = 1 };
    uint32_t listed = least_listed(w, walk_frame(w, frame), 0, o->member_count, 0);
    uint32_t other = least_add(1, least_class(w, &quote));
    return listed < other ? listed : other;
}

uint32_t object_least_colon(const grammar_walker *w, const struct grammar_way *way)
{
    const uint32_t *f = walk_frame(w, way->frame);
    const struct table_member *m = object_member(w, object_of(w, f), way->label);
    if (m == NULL || m->value == (uint32_t)TABLE_NONE) return LEAST_NEVER;
    return least_add(1 + w->g->nodes[m->value].least, least_with(w, f, way->label));
}
