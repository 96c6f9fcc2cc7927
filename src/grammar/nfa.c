/* From a regular expression to a deterministic automaton: Thompson's construction over bytes (a range of characters is
 * cut into ranges of byte sequences), then sets of states. See regex.h.
 *
 * Where a text begins and ends is an edge of its own that only the first and the last closure crosses, so ^ and $ may
 * stand anywhere. */
#include "grammar/regex.h"
#include "grammar/sort.h"

#include "base/checked.h"
#include "base/utf8.h"

#include <assert.h>

enum nfa_op { NFA_BYTES, NFA_SPLIT, NFA_BEGIN, NFA_END, NFA_MATCH };

struct nfa_state {
    uint8_t op, lo, hi;
    uint32_t a, b; /* next states; b of SPLIT alone */
};

struct nfa {
    struct nfa_state *states;
    uint32_t count;
    uint32_t room, dfa_room, set_room; /* most patterns are small, and room has to be cleared: see regex_dfa */
    bool full;
    uint32_t steps;
    const char *what;
    err *e;
};

#define NFA_FAIL UINT32_MAX

/* The room is used up: an error where there is no more to be had. */
static bool full(struct nfa *n, uint32_t most)
{
    n->full = true;
    if (n->room < GRAMMAR_NFA_STATES_MAX) return false;
    return fail(n->e, ERR_LIMIT, ERR_NO_OFFSET, "%s: more than %u states", n->what, most);
}

static uint32_t nfa_add(struct nfa *n, enum nfa_op op, unsigned lo, unsigned hi, uint32_t a, uint32_t b)
{
    if (a == NFA_FAIL || b == NFA_FAIL) return NFA_FAIL;
    if (n->count == n->room) {
        full(n, GRAMMAR_NFA_STATES_MAX);
        return NFA_FAIL;
    }
    n->states[n->count] = (struct nfa_state){ (uint8_t)op, (uint8_t)lo, (uint8_t)hi, a, b };
    return n->count++;
}

/* ---- characters ---- */

/* Ranges [lo, hi] of characters whose encodings have the same length, as sequences of byte ranges: cut so that the tail
 * bytes of each piece run over all of 80..BF, or are one prefix. */
static uint32_t add_utf8(struct nfa *n, uint32_t lo, uint32_t hi, uint32_t next, uint32_t other)
{
    uint8_t a[4], b[4];
    for (unsigned bits = 6; bits <= 18; bits += 6) {
        uint32_t mask = (1u << bits) - 1;
        if ((lo & ~mask) == (hi & ~mask) || lo < 0x80) continue;
        if ((lo & mask) != 0) return add_utf8(n, lo, lo | mask, next, add_utf8(n, (lo | mask) + 1, hi, next, other));
        if ((hi & mask) != mask)
            return add_utf8(n, lo, (hi & ~mask) - 1, next, add_utf8(n, hi & ~mask, hi, next, other));
    }
    size_t len = utf8_put(lo, a);
    size_t same = utf8_put(hi, b);
    assert(len == same);
    uint32_t at = next;
    for (size_t i = len; i-- > 0;) at = nfa_add(n, NFA_BYTES, a[i], b[i], at, 0);
    return other == NFA_FAIL - 1 ? at : nfa_add(n, NFA_SPLIT, 0, 0, at, other);
}

static uint32_t add_chars(struct nfa *n, const struct regex *r, uint32_t next)
{
    static const struct regex_range CUTS[] = {
        { 0, 0x7f }, { 0x80, 0x7ff }, { 0x800, 0xd7ff }, { 0xe000, 0xffff }, { 0x10000, 0x10ffff }
    };
    uint32_t at = NFA_FAIL - 1; /* nothing yet */
    for (uint32_t i = r->range_count; i-- > 0;)
        for (size_t j = sizeof CUTS / sizeof *CUTS; j-- > 0;) {
            uint32_t lo = r->ranges[i].lo > CUTS[j].lo ? r->ranges[i].lo : CUTS[j].lo;
            uint32_t hi = r->ranges[i].hi < CUTS[j].hi ? r->ranges[i].hi : CUTS[j].hi;
            if (lo <= hi) at = add_utf8(n, lo, hi, next, at);
            if (at == NFA_FAIL) return NFA_FAIL;
        }
    if (at != NFA_FAIL - 1) return at;
    return nfa_add(n, NFA_BYTES, 1, 0, next, 0); /* no character: an edge that no byte takes */
}

/* ---- the tree, last part first: each piece is given what follows it ---- */

static uint32_t add_regex(struct nfa *n, const struct regex *r, uint32_t next);

static uint32_t add_repeat(struct nfa *n, const struct regex *r, uint32_t next)
{
    uint32_t at = next;
    if (r->most == REGEX_MANY) {
        uint32_t loop = nfa_add(n, NFA_SPLIT, 0, 0, next, next);
        if (loop == NFA_FAIL) return NFA_FAIL;
        uint32_t body = add_regex(n, r->left, loop);
        if (body == NFA_FAIL) return NFA_FAIL;
        n->states[loop].a = body;
        at = loop;
    } else {
        for (uint32_t i = r->least; i < r->most && at != NFA_FAIL; i++)
            at = nfa_add(n, NFA_SPLIT, 0, 0, add_regex(n, r->left, at), next);
    }
    for (uint32_t i = 0; i < r->least && at != NFA_FAIL; i++) at = add_regex(n, r->left, at);
    return at;
}

static uint32_t add_regex(struct nfa *n, const struct regex *r, uint32_t next)
{
    if (next == NFA_FAIL) return NFA_FAIL;
    if (++n->steps > GRAMMAR_STEPS_MAX) { /* repeats of repeats of nothing */
        err_set(n->e, ERR_LIMIT, ERR_NO_OFFSET, "%s: more than %d parts", n->what, GRAMMAR_STEPS_MAX);
        return NFA_FAIL;
    }
    switch (r->op) {
    case REGEX_EMPTY:
        return next;
    case REGEX_CHARS:
        return add_chars(n, r, next);
    case REGEX_CAT:
        return add_regex(n, r->left, add_regex(n, r->right, next));
    case REGEX_ALT: {
        uint32_t right = add_regex(n, r->right, next);
        return right == NFA_FAIL ? NFA_FAIL : nfa_add(n, NFA_SPLIT, 0, 0, add_regex(n, r->left, next), right);
    }
    case REGEX_REPEAT:
        return add_repeat(n, r, next);
    case REGEX_BEGIN:
        return nfa_add(n, NFA_BEGIN, 0, 0, next, 0);
    case REGEX_END:
        return nfa_add(n, NFA_END, 0, 0, next, 0);
    default:
        assert(false);
        return NFA_FAIL;
    }
}

/* ---- sets of states ---- */

struct subset {
    struct nfa *n;
    uint32_t *sets, *set_at, *set_len; /* members of each deterministic state's set: BYTES, END and MATCH, sorted */
    uint32_t sets_used;
    uint32_t *slots;
    size_t mask;
    uint32_t count;
    uint32_t *stack, *seen, *now; /* of a closure */
    uint32_t mark, now_len;
    struct dfa *out;
};

/* Everything that `state` leads to without a byte joins `now`. */
static void close_over(struct subset *s, uint32_t state, bool begin)
{
    uint32_t depth = 0;
    s->stack[depth++] = state;
    while (depth > 0) {
        uint32_t at = s->stack[--depth];
        const struct nfa_state *n = &s->n->states[at];
        if (s->seen[at] == s->mark) continue;
        s->seen[at] = s->mark;
        if (n->op == NFA_SPLIT) s->stack[depth++] = n->b, s->stack[depth++] = n->a;
        else if (n->op == NFA_BEGIN && begin) s->stack[depth++] = n->a;
        else if (n->op != NFA_BEGIN) s->now[s->now_len++] = at;
    }
}

static int number_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* May the text end in this set? END edges lead on; BEGIN edges were crossed at the start or never. */
static bool set_final(struct subset *s, const uint32_t *members, uint32_t len, bool begin)
{
    uint32_t depth = 0;
    s->mark++;
    for (uint32_t i = 0; i < len; i++) {
        s->stack[depth++] = members[i];
        while (depth > 0) {
            uint32_t at = s->stack[--depth];
            const struct nfa_state *n = &s->n->states[at];
            if (s->seen[at] == s->mark) continue;
            s->seen[at] = s->mark;
            if (n->op == NFA_MATCH) return true;
            if (n->op == NFA_END || (n->op == NFA_BEGIN && begin)) s->stack[depth++] = n->a;
            if (n->op == NFA_SPLIT) s->stack[depth++] = n->b, s->stack[depth++] = n->a;
        }
    }
    return false;
}

/* The state of the set in `now`; 0 where it is empty. */
static bool intern(struct subset *s, bool begin, uint32_t *state)
{
    uint32_t len = s->now_len;
    *state = 0;
    if (len == 0) return true;
    sort_rows(s->now, len, sizeof *s->now, number_order);
    uint64_t hash = begin;
    for (uint32_t i = 0; i < len; i++) hash = (hash ^ s->now[i]) * UINT64_C(0x9E3779B97F4A7C15), hash ^= hash >> 32;
    size_t slot = hash & s->mask;
    for (; s->slots[slot] != 0; slot = (slot + 1) & s->mask) {
        uint32_t there = s->slots[slot];
        bool same = s->set_len[there] == len && memcmp(s->sets + s->set_at[there], s->now, len * sizeof *s->now) == 0;
        if (same && there != 1) { /* the start is like no other: ^ holds there */
            *state = there;
            return true;
        }
    }
    if (s->count == s->n->dfa_room || len > s->n->set_room - s->sets_used) return full(s->n, GRAMMAR_DFA_STATES_MAX);
    *state = s->count++;
    s->set_at[*state] = s->sets_used;
    s->set_len[*state] = len;
    memcpy(s->sets + s->sets_used, s->now, len * sizeof *s->now);
    s->sets_used += len;
    s->slots[slot] = *state;
    s->out->final[*state] = set_final(s, s->sets + s->set_at[*state], len, begin);
    return true;
}

/* The next states of `state`: bytes fall into intervals between the borders of its edges. */
static bool grow(struct subset *s, uint32_t state)
{
    bool border[257] = { true };
    uint32_t at = s->set_at[state], len = s->set_len[state];
    for (uint32_t i = 0; i < len; i++) {
        const struct nfa_state *n = &s->n->states[s->sets[at + i]];
        if (n->op == NFA_BYTES && n->lo <= n->hi) border[n->lo] = border[n->hi + 1] = true;
    }
    for (unsigned lo = 0, hi; lo < 256; lo = hi) {
        uint32_t to;
        for (hi = lo + 1; hi < 256 && !border[hi];) hi++;
        s->mark++;
        s->now_len = 0;
        for (uint32_t i = 0; i < len; i++) {
            const struct nfa_state *n = &s->n->states[s->sets[at + i]];
            if (n->op == NFA_BYTES && n->lo <= lo && lo <= n->hi) close_over(s, n->a, false);
        }
        s->n->steps += len / 16 + 1;
        if (s->n->steps > GRAMMAR_STEPS_MAX)
            return fail(s->n->e, ERR_LIMIT, ERR_NO_OFFSET, "%s: too much work", s->n->what);
        if (!intern(s, false, &to)) return false;
        for (unsigned byte = lo; byte < hi; byte++) s->out->next[state][byte] = (uint16_t)to;
    }
    return true;
}

static bool subset_take(struct subset *s, struct nfa *n, struct dfa *out, arena *scratch, err *e)
{
    size_t slots = 2 * (size_t)n->dfa_room;
    *s = (struct subset){ .n = n, .mask = slots - 1, .count = 1, .out = out };
    s->sets = ARENA_ARRAY(scratch, uint32_t, n->set_room, "pattern", e);
    s->set_at = ARENA_ARRAY(scratch, uint32_t, n->dfa_room, "pattern", e);
    s->set_len = ARENA_ARRAY(scratch, uint32_t, n->dfa_room, "pattern", e);
    s->slots = ARENA_ARRAY(scratch, uint32_t, slots, "pattern", e);
    s->stack = ARENA_ARRAY(scratch, uint32_t, 2 * (size_t)n->count + 2, "pattern", e);
    s->seen = ARENA_ARRAY(scratch, uint32_t, n->count, "pattern", e);
    s->now = ARENA_ARRAY(scratch, uint32_t, n->count, "pattern", e);
    out->next = arena_take(scratch, n->dfa_room, sizeof *out->next, 64, "pattern", e);
    out->final = ARENA_ARRAY(scratch, bool, n->dfa_room, "pattern", e);
    return s->sets != NULL && s->set_at != NULL && s->set_len != NULL && s->slots != NULL && s->stack != NULL &&
           s->seen != NULL && s->now != NULL && out->next != NULL && out->final != NULL;
}

static bool subset_run(struct nfa *n, uint32_t start, struct dfa *out, arena *a, arena *scratch, err *e)
{
    struct subset s;
    uint32_t first;
    if (!subset_take(&s, n, out, scratch, e)) return false;
    s.mark = 1;
    close_over(&s, start, true);
    if (s.now_len == 0) s.count = 2; /* nothing at all matches: a start that leads nowhere */
    else if (!intern(&s, true, &first)) return false;
    for (uint32_t state = 1; state < s.count; state++)
        if (!grow(&s, state)) return false;
    out->count = s.count;
    uint16_t(*next)[256] = out->next;
    bool *final = out->final;
    out->next = arena_take(a, out->count, sizeof *out->next, 64, "pattern", e);
    out->final = ARENA_ARRAY(a, bool, out->count, "pattern", e);
    if (out->next == NULL || out->final == NULL) return false;
    memcpy(out->next, next, out->count * sizeof *next);
    memcpy(out->final, final, out->count);
    return true;
}

/* Any character, over and over. */
static uint32_t add_any(struct nfa *n, uint32_t next)
{
    static const struct regex_range ALL = { 0, 0x10ffff };
    static const struct regex ANY = { .op = REGEX_CHARS, .ranges = &ALL, .range_count = 1 };
    static const struct regex MANY = { .op = REGEX_REPEAT, .left = &ANY, .most = REGEX_MANY };
    return add_regex(n, &MANY, next);
}

static bool try_dfa(struct nfa *n, const struct regex *r, bool anywhere, struct dfa *out, arena *a, arena *scratch)
{
    n->states = ARENA_ARRAY(scratch, struct nfa_state, n->room, "pattern", n->e);
    if (n->states == NULL) return false;
    uint32_t start = nfa_add(n, NFA_MATCH, 0, 0, 0, 0);
    if (anywhere) start = add_any(n, start);
    start = add_regex(n, r, start);
    if (anywhere) start = add_any(n, start);
    return start != NFA_FAIL && subset_run(n, start, out, a, scratch, n->e);
}

bool regex_dfa(const struct regex *r, bool anywhere, const char *what, struct dfa *out, arena *a, arena *scratch,
               err *e)
{
    size_t mark = scratch->used_bytes;
    struct nfa small = { .what = what, .e = e, .room = 2048, .dfa_room = 192, .set_room = 1 << 14 };
    struct nfa large = {
        .what = what, .e = e, .room = GRAMMAR_NFA_STATES_MAX, .dfa_room = GRAMMAR_DFA_STATES_MAX, .set_room = 1 << 20
    };
    bool good = try_dfa(&small, r, anywhere, out, a, scratch);
    arena_rewind(scratch, mark);
    if (good || !small.full) return good;
    good = try_dfa(&large, r, anywhere, out, a, scratch);
    arena_rewind(scratch, mark);
    return good;
}
