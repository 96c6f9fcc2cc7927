/* Which tokens may come next: the vocabulary's trie is walked together with the table, so a prefix that no answer has
 * is tried once for all tokens that begin with it. Two kinds of places would visit most of the trie, and do not:
 *
 *   - free inside of a string: tokens that stay inside are a stored mask, by the characters that may still come, and
 *     only the rest of the vocabulary is walked;
 *   - a span that loops on itself (a pattern, free text): the first visit walks all and is remembered by the state.
 *
 * Both give the bits that the whole walk gives: tests/grammar/mask.c compares them with every token tried alone. */
#include "grammar/walk.h"

#include "base/checked.h"

#include <assert.h>

size_t grammar_walker_bytes_for(size_t rows)
{
    return sizeof(grammar_walker) + WALK_FRAME_WORDS * 8 + WALK_DEPTHS * sizeof(struct way_set) +
           sizeof(struct way_set) + WALK_DEPTHS * 13 + DENSE_ROWS * sizeof(struct dense_row) +
           SPAN_MASKS * (sizeof(struct span_mask) + SPAN_EXITS_MAX * 6 + ceil_div(rows, 64) * 8) + 4096 * 16;
}

bool grammar_walker_new(grammar_walker **out, const grammar_vocab *v, arena *a, err *e)
{
    grammar_walker *w = ARENA_ARRAY(a, grammar_walker, 1, "walker", e);
    if (w == NULL) return false;
    w->v = v;
    free_body(false, w->body);
    w->frames = ARENA_ARRAY(a, uint32_t, WALK_FRAME_WORDS, "walker", e);
    w->marks = ARENA_ARRAY(a, uint32_t, WALK_FRAME_WORDS, "walker", e);
    w->sets = ARENA_ARRAY(a, struct way_set, WALK_DEPTHS, "walker", e);
    w->dense = ARENA_ARRAY(a, struct dense_row, DENSE_ROWS, "walker", e);
    w->exit = ARENA_ARRAY(a, struct way_set, 1, "walker", e);
    w->places = ARENA_ARRAY(a, uint32_t, WALK_DEPTHS, "walker", e);
    w->places64 = ARENA_ARRAY(a, uint64_t, WALK_DEPTHS, "walker", e);
    w->places8 = ARENA_ARRAY(a, uint8_t, WALK_DEPTHS, "walker", e);
    w->spans = ARENA_ARRAY(a, struct span_mask, SPAN_MASKS, "walker", e);
    if (w->frames == NULL || w->marks == NULL || w->sets == NULL || w->spans == NULL || w->exit == NULL ||
        w->dense == NULL || w->places == NULL || w->places64 == NULL || w->places8 == NULL)
        return false;
    for (size_t i = 0; i < SPAN_MASKS; i++) {
        w->spans[i].exits = ARENA_ARRAY(a, uint32_t, SPAN_EXITS_MAX, "walker", e);
        w->spans[i].exit_labels = ARENA_ARRAY(a, uint16_t, SPAN_EXITS_MAX, "walker", e);
        w->spans[i].mask = ARENA_ARRAY(a, uint64_t, v->words, "walker", e);
        if (w->spans[i].exits == NULL || w->spans[i].exit_labels == NULL || w->spans[i].mask == NULL) return false;
    }
    *out = w;
    return true;
}

void grammar_walker_forget(grammar_walker *w)
{
    for (size_t i = 0; i < SPAN_MASKS; i++) w->spans[i].table = NULL;
    for (size_t i = 0; i < DENSE_ROWS; i++) w->dense[i].table = NULL;
}

/* ---- the walk along a trie ---- */

static inline void set_bit(uint64_t *mask, int32_t token)
{
    mask[token / 64] |= UINT64_C(1) << token % 64;
}

void walk_set_bits(const grammar_vocab *v, uint64_t *mask, const struct trie_node *n)
{
    set_bit(mask, n->token);
    if (n->twins == 0) return;
    for (int32_t twin = v->twin[n->token]; twin >= 0; twin = v->twin[twin]) set_bit(mask, twin);
}

void walk_nodes(grammar_walker *w, const struct trie_node *trie, uint32_t at, uint32_t end, uint32_t left,
                uint64_t *mask)
{
    while (at < end) {
        const struct trie_node *n = &trie[at];
        struct way_set *in = &w->sets[n->depth - 1], *out = &w->sets[n->depth];
        w->used = in->frames_used;
        if (!walk_step(w, in, n->byte, out)) {
            at = n->next;
            continue;
        }
        if (n->token >= 0 && walk_fits(w, out, left)) walk_set_bits(w->v, mask, n);
        at++;
    }
}

/* One way alone in sets[0], over one of the tries. */
static void walk_one(grammar_walker *w, const grammar_state *s, const struct grammar_way *way, bool rest, uint32_t left,
                     uint64_t *mask)
{
    const grammar_vocab *v = w->v;
    const struct trie_node *trie = rest ? v->rest : v->trie;
    uint32_t end = rest ? v->rest_count : v->trie_count;
    w->sets[0].count = 1;
    w->sets[0].frames_used = s->frame_words;
    w->sets[0].ways[0] = *way;
    w->used = s->frame_words;
    if (way->op == WAY_STRING) walk_string(w, trie, end, left, mask);
    else if (way->op == WAY_KEY) walk_key(w, trie, end, left, mask);
    else walk_span(w, left, mask);
}

/* ---- strings ---- */

static bool in_string(const grammar_walker *w, const struct grammar_way *way)
{
    if (way->op == WAY_STRING) return way->state == FREE_BODY;
    return way->op == WAY_KEY && (w->g->states[way->state].flags & STATE_BODY) != 0;
}

static bool is_local(const struct grammar_way *way)
{
    return way->op == WAY_STRING || way->op == WAY_KEY || way->op == WAY_SPAN;
}

/* Tokens of up to `most` characters that stay inside a string. */
static void string_bits(const grammar_vocab *v, uint32_t most, uint64_t *mask)
{
    bool any = most > UINT8_MAX;
    size_t run = any ? 0 : min_size(most, STRING_RUNS);
    if (most == 0) return;
    for (size_t i = 0; i < v->words; i++) mask[i] |= v->strings[run * v->words + i];
    if (any || most <= STRING_RUNS) return;
    for (size_t i = 0; i < v->words; i++) /* the few longer ones, one by one */
        for (uint64_t bits = v->strings[i] & ~v->strings[STRING_RUNS * v->words + i]; bits != 0; bits &= bits - 1) {
            size_t token = i * 64 + (size_t)__builtin_ctzll(bits);
            if (v->string_chars[token] <= most) set_bit(mask, (int32_t)token);
        }
}

/* False where the budget is so short that tokens inside have to be tried one by one. */
static bool string_mask(grammar_walker *w, const struct grammar_way *way, uint32_t left, uint64_t *mask)
{
    uint32_t least = walk_least(w, way);
    if (least == LEAST_NEVER || left == 0) return true;
    if (way->op == WAY_KEY) { /* behind such a token the shortest new name may be some bytes longer than here */
        uint32_t behind = object_least_open(w, way), most = least_add(behind, 1 + WALK_FRESH_SLACK);
        if (most == LEAST_NEVER || most > left - 1) return false;
        string_bits(w->v, UINT32_MAX, mask);
        return true;
    }
    const struct table_node *n = &w->g->nodes[way->arg];
    /* Below the least length each character brings the end nearer; above it the end has to fit behind one token. */
    if (way->count >= n->a && least > left - 1) return true;
    if (n->b != STRING_ANY) string_bits(w->v, n->b > way->count ? n->b - way->count : 0, mask);
    else string_bits(w->v, UINT32_MAX, mask);
    return true;
}

/* Every way is masked alone, and the masks joined: a token is allowed where one way allows it. Ways that are in no
 * place of their own go together. */
static void mask_ways(grammar_walker *w, const grammar_state *s, uint32_t left, uint64_t *mask)
{
    for (uint32_t i = 0; i < s->way_count; i++) {
        const struct grammar_way *way = &s->ways[i];
        if (!is_local(way)) continue;
        bool rest = in_string(w, way) && string_mask(w, way, left, mask);
        walk_one(w, s, way, rest, left - 1, mask);
    }
    struct way_set *set = &w->sets[0];
    set->count = 0;
    set->frames_used = s->frame_words;
    for (uint32_t i = 0; i < s->way_count; i++)
        if (!is_local(&s->ways[i])) set->ways[set->count++] = s->ways[i];
    if (set->count > 0) walk_nodes(w, w->v->trie, 0, w->v->trie_count, left - 1, mask);
}

/* ---- all of it ---- */

/* The first blank of the answer is not shown: a token that begins with one reads as what follows. */
static void walk_dropped(grammar_walker *w, uint32_t left, uint64_t *mask)
{
    const grammar_vocab *v = w->v;
    uint32_t at = 0;
    for (; at < v->trie_count; at = v->trie[at].next) {
        const struct trie_node *n = &v->trie[at];
        if (n->byte != ' ') {
            walk_nodes(w, v->trie, at, n->next, left, mask);
        } else { /* the blank itself: no byte of the answer */
            memcpy(&w->sets[1], &w->sets[0], sizeof *w->sets);
            walk_nodes(w, v->trie, at + 1, n->next, left, mask);
        }
    }
}

static void mask_tokens(grammar_walker *w, const grammar_state *s, uint32_t left, uint64_t *mask)
{
    struct way_set *all = &w->sets[0], *out = &w->sets[1];
    all->count = s->way_count;
    memcpy(all->ways, s->ways, s->way_count * sizeof *s->ways);
    for (uint32_t i = 0; i < s->way_count; i++) {
        if (s->ways[i].op != WAY_TOKEN) continue;
        uint32_t token = w->g->nodes[s->ways[i].arg].a;
        w->used = s->frame_words;
        out->count = 0;
        if (token < w->v->rows && walk_token(w, all, (int32_t)token, out) && walk_fits(w, out, left))
            set_bit(mask, (int32_t)token);
    }
}

size_t grammar_mask(grammar_walker *w, const grammar *g, const grammar_state *s, uint32_t left_tok, uint64_t *mask)
{
    memset(mask, 0, w->v->words * sizeof *mask);
    if (s->ended) return 0;
    walk_begin(w, g, s);
    if (left_tok > 0) {
        if (s->drop_blank) {
            struct way_set *set = &w->sets[0];
            set->count = s->way_count;
            set->frames_used = s->frame_words;
            memcpy(set->ways, s->ways, s->way_count * sizeof *s->ways);
            walk_dropped(w, left_tok - 1, mask);
        } else {
            mask_ways(w, s, left_tok, mask);
        }
        mask_tokens(w, s, left_tok - 1, mask);
    }
    if (grammar_complete(g, s))
        for (size_t i = 0; i < w->v->words; i++) mask[i] |= w->v->ends[i];
    size_t allowed = 0;
    for (size_t i = 0; i < w->v->words; i++) allowed += (size_t)__builtin_popcountll(mask[i]);
    return allowed;
}

/* ---- accepting ---- */

/* Keeps the ways of `set` that fit, and their frames alone. The nearest to the end comes first, so where there is no
 * room for all, what stays can be ended. False where none fits. */
static bool keep_ways(grammar_walker *w, const struct way_set *set, uint32_t left, grammar_state *s)
{
    uint32_t best = LEAST_NEVER, count = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t least = walk_least(w, &set->ways[i]);
        if (least > left || least == LEAST_NEVER) continue;
        s->ways[count] = set->ways[i];
        if (least < best) {
            struct grammar_way first = s->ways[0];
            s->ways[0] = s->ways[count];
            s->ways[count] = first;
            best = least;
        }
        count++;
    }
    s->way_count = count;
    return count > 0;
}

static void mark(grammar_walker *w, uint32_t frame)
{
    while (frame != 0 && w->marks[frame] == 0) {
        w->marks[frame] = 1;
        if ((w->frames[frame + F_HEAD] & 7) == FRAME_OBJECT)
            for (uint32_t cell = w->frames[frame + F_CELLS]; cell != 0 && w->marks[cell] == 0;
                 cell = w->frames[cell + F_PARENT])
                w->marks[cell] = 1;
        frame = w->frames[frame + F_PARENT];
    }
}

/* Copies what the ways stand on. A frame lies behind what it names, so one pass in order moves all of them. False where
 * there is no room. */
static bool keep_frames(grammar_walker *w, grammar_state *s)
{
    memset(w->marks, 0, w->used * sizeof *w->marks);
    for (uint32_t i = 0; i < s->way_count; i++) mark(w, s->ways[i].frame);
    uint32_t to = 1;
    for (uint32_t at = 1, size; at < w->used; at += size) {
        const uint32_t *f = w->frames + at;
        size = f[F_HEAD] >> 3 & 63;
        if (w->marks[at] == 0) continue;
        if (to + size > GRAMMAR_FRAME_WORDS) return false;
        memcpy(s->frames + to, f, size * sizeof *f);
        s->frames[to + F_PARENT] = f[F_PARENT] == 0 ? 0 : w->marks[f[F_PARENT]];
        if ((f[F_HEAD] & 7) == FRAME_OBJECT && f[F_CELLS] != 0) s->frames[to + F_CELLS] = w->marks[f[F_CELLS]];
        w->marks[at] = to;
        to += size;
    }
    s->frame_words = to;
    return true;
}

static void keep(grammar_walker *w, grammar_state *s)
{
    while (!keep_frames(w, s)) {
        assert(s->way_count > 1); /* one way alone has room: F_HEAD's total */
        s->way_count = (s->way_count + 1) / 2;
    }
    for (uint32_t i = 0; i < s->way_count; i++)
        if (s->ways[i].frame != 0) s->ways[i].frame = w->marks[s->ways[i].frame];
    s->drop_blank = false;
}

/* The ways behind the bytes of a token, of those in sets[0]; in sets[0] or sets[1]. NULL where none fits. */
static struct way_set *walk_text(grammar_walker *w, view text, uint32_t left)
{
    struct way_set *in = &w->sets[0], *out = &w->sets[1];
    for (size_t i = 0; i < text.len_bytes; i++) {
        if (!walk_step(w, in, text.ptr[i], out)) return NULL;
        struct way_set *swap = in;
        in = out;
        out = swap;
    }
    return walk_fits(w, in, left) ? in : NULL;
}

/* The same of each way alone, as mask_ways has them: where a set has no room for what all ways become, the one that
 * fits may be what is left out. */
static struct way_set *walk_text_alone(grammar_walker *w, const grammar_state *s, view text, uint32_t left)
{
    struct way_set *set = &w->sets[0], *found = NULL;
    for (uint32_t i = 0; i < s->way_count && found == NULL; i++) {
        if (!is_local(&s->ways[i])) continue;
        set->count = 1;
        set->ways[0] = s->ways[i];
        w->used = set->frames_used = s->frame_words;
        found = walk_text(w, text, left);
    }
    if (found != NULL) return found;
    set->count = 0;
    w->used = set->frames_used = s->frame_words;
    for (uint32_t i = 0; i < s->way_count; i++)
        if (!is_local(&s->ways[i])) set->ways[set->count++] = s->ways[i];
    return walk_text(w, text, left);
}

bool grammar_accept(grammar_walker *w, const grammar *g, grammar_state *s, int32_t token, uint32_t left_tok)
{
    const grammar_vocab *v = w->v;
    if (s->ended || token < 0 || (size_t)token >= v->rows) return false;
    if (v->ends[token / 64] >> token % 64 & 1 && grammar_complete(g, s)) {
        s->ended = true;
        s->way_count = 0;
        s->frame_words = 1;
        return true;
    }
    if (left_tok == 0) return false;
    walk_begin(w, g, s);
    struct way_set *in = &w->sets[0], *found = NULL;
    in->count = s->way_count;
    in->frames_used = s->frame_words;
    memcpy(in->ways, s->ways, s->way_count * sizeof *s->ways);
    w->sets[2].count = 0;
    if (walk_token(w, in, token, &w->sets[2]) && walk_fits(w, &w->sets[2], left_tok - 1)) {
        found = &w->sets[2];
    } else if ((size_t)token < v->tokens && vocab_text(v, token).len_bytes > 0) {
        view text = vocab_text(v, token);
        if (s->drop_blank && text.ptr[0] == ' ') text = view_after(text, 1);
        w->used = s->frame_words;
        if (text.len_bytes > 0) found = walk_text(w, text, left_tok - 1);
        if (found == NULL && !s->drop_blank) found = walk_text_alone(w, s, text, left_tok - 1);
    }
    if (found == NULL) return false;
    keep_ways(w, found, left_tok - 1, s);
    keep(w, s);
    return true;
}

/* ---- questions ---- */

uint32_t grammar_least(grammar_walker *w, const grammar *g, const grammar_state *s)
{
    uint32_t best = s->ended ? 0 : LEAST_NEVER;
    walk_begin(w, g, s);
    for (uint32_t i = 0; i < s->way_count; i++) {
        uint32_t least = walk_least(w, &s->ways[i]);
        if (least < best) best = least;
    }
    return best;
}

bool grammar_complete(const grammar *g, const grammar_state *s)
{
    (void)g;
    for (uint32_t i = 0; i < s->way_count; i++)
        if (s->ways[i].op == WAY_END) return true;
    return s->ended;
}

bool grammar_only_end(grammar_walker *w, const grammar *g, const grammar_state *s)
{
    (void)w, (void)g;
    for (uint32_t i = 0; i < s->way_count; i++)
        if (s->ways[i].op != WAY_END) return false;
    return true;
}
