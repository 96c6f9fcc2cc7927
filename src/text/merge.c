/* Merging: see merge.h.
 *
 * Symbols are a list inside an array, so a merge moves nothing: the right symbol drops out of the list, its rank set to
 * RANK_NONE. A long word's heap holds rank << 32 | index of the left symbol; an entry whose rank is no longer its
 * symbol's is out of date and skipped, so nothing is ever searched for in the heap. */
#include "text/merge.h"

#include "base/checked.h"

#include <assert.h>

enum {
    SHORT_SYMBOLS = 32, /* looking at n ranks n times beats a heap below about this */
    HEAP_ARITY = 4,     /* four children are one cache line or two */
    CACHE_WORDS_MAX = 8192,
    CACHE_TEXT_BYTES = 64 /* of text for each word of the cache: clearing it must not outweigh the text */
};

#define INDEX_NONE UINT32_MAX

bool merge_cache_new(struct merge_cache *c, size_t text_bytes, arena *scratch, err *e)
{
    size_t words = 16;
    while (words < CACHE_WORDS_MAX && words * CACHE_TEXT_BYTES < text_bytes) words *= 2;
    c->mask = words - 1;
    c->words = ARENA_ARRAY(scratch, struct cached_word, words, "cache of words", e);
    return c->words != NULL;
}

size_t merge_scratch_bytes(size_t text_bytes)
{
    return CACHE_WORDS_MAX * sizeof(struct cached_word) +
           (text_bytes + 1) * (sizeof(struct symbol) + 2 * sizeof(uint64_t)) + 256;
}

static void rank_pair(const tokenizer *t, const struct merge_kind *kind, struct symbol *s, size_t at)
{
    s[at].rank = RANK_NONE;
    if (s[at].next != INDEX_NONE) kind->pair(t, &s[at], &s[s[at].next]);
}

static void merge_next(const tokenizer *t, const struct merge_kind *kind, struct symbol *s, size_t at)
{
    struct symbol *left = &s[at], *right = &s[left->next];
    left->hash = hash_join(&t->index, left->hash, right->hash, right->text.len_bytes);
    left->text.len_bytes += right->text.len_bytes;
    left->id = left->joined;
    left->next = right->next;
    right->rank = RANK_NONE;
    if (left->next != INDEX_NONE) s[left->next].prev = (uint32_t)at;
    rank_pair(t, kind, s, at);
    if (left->prev != INDEX_NONE) rank_pair(t, kind, s, left->prev);
}

/* Cuts a word into symbols, at most `max`; false where it has more. */
static bool cut_symbols(const tokenizer *t, const struct merge_kind *kind, view word, struct symbol *s, size_t max,
                        size_t *count)
{
    size_t n = 0;
    for (size_t at = 0; at < word.len_bytes; at += s[n - 1].text.len_bytes) {
        if (n == max) return false;
        s[n] = kind->first(t, view_after(word, at));
        s[n].prev = n == 0 ? INDEX_NONE : (uint32_t)n - 1;
        s[n].next = (uint32_t)n + 1;
        n++;
    }
    if (n > 0) s[n - 1].next = INDEX_NONE;
    for (size_t i = 0; i < n; i++) rank_pair(t, kind, s, i);
    *count = n;
    return true;
}

static void merge_short(const tokenizer *t, const struct merge_kind *kind, struct symbol *s)
{
    for (;;) {
        uint32_t best = 0;
        for (uint32_t i = s[0].next; i != INDEX_NONE; i = s[i].next)
            if (s[i].rank < s[best].rank) best = i;
        if (s[best].rank == RANK_NONE) return;
        merge_next(t, kind, s, best);
    }
}

struct heap {
    uint64_t *keys;
    size_t count, max;
};

static void sift_down(struct heap *h, size_t at, uint64_t key)
{
    for (;;) {
        size_t child = at * HEAP_ARITY + 1, best = child;
        if (child >= h->count) break;
        for (size_t i = child + 1; i < min_size(child + HEAP_ARITY, h->count); i++)
            if (h->keys[i] < h->keys[best]) best = i;
        if (h->keys[best] >= key) break;
        h->keys[at] = h->keys[best];
        at = best;
    }
    h->keys[at] = key;
}

static void heap_push(struct heap *h, uint64_t key)
{
    assert(h->count < h->max);
    size_t at = h->count++;
    for (; at > 0; at = (at - 1) / HEAP_ARITY) {
        size_t parent = (at - 1) / HEAP_ARITY;
        if (h->keys[parent] <= key) break;
        h->keys[at] = h->keys[parent];
    }
    h->keys[at] = key;
}

static uint64_t heap_pop(struct heap *h)
{
    uint64_t top = h->keys[0], last = h->keys[--h->count];
    if (h->count > 0) sift_down(h, 0, last);
    return top;
}

static void push_ranked(struct heap *h, const struct symbol *s, uint32_t at)
{
    if (at != INDEX_NONE && s[at].rank != RANK_NONE) heap_push(h, (uint64_t)s[at].rank << 32 | at);
}

/* At most count - 1 pairs to begin with, and each of at most count - 1 merges takes one entry out and puts two in. */
static bool merge_long(const tokenizer *t, const struct merge_kind *kind, struct symbol *s, size_t count,
                       arena *scratch, err *e)
{
    struct heap h = { ARENA_ARRAY(scratch, uint64_t, 2 * count, "pairs of a long word", e), 0, 2 * count };
    if (h.keys == NULL) return false;
    for (size_t i = 0; i < count; i++)
        if (s[i].rank != RANK_NONE) h.keys[h.count++] = (uint64_t)s[i].rank << 32 | i;
    for (size_t i = h.count / HEAP_ARITY + 1; i-- > 0;)
        if (i < h.count) sift_down(&h, i, h.keys[i]);
    while (h.count > 0) {
        uint64_t key = heap_pop(&h);
        uint32_t at = (uint32_t)(key & UINT32_MAX);
        if (s[at].rank != key >> 32) continue;
        merge_next(t, kind, s, at);
        push_ranked(&h, s, at);
        push_ranked(&h, s, s[at].prev);
    }
    return true;
}

static bool merge_uncached(const tokenizer *t, const struct merge_kind *kind, view word, id_sink *sink, arena *scratch,
                           err *e)
{
    struct symbol short_room[SHORT_SYMBOLS], *s = short_room;
    size_t count, mark = scratch->used_bytes;
    if (cut_symbols(t, kind, word, s, SHORT_SYMBOLS, &count)) {
        merge_short(t, kind, s);
    } else {
        s = ARENA_ARRAY(scratch, struct symbol, word.len_bytes, "symbols of a long word", e);
        if (s == NULL) return false;
        bool all = cut_symbols(t, kind, word, s, word.len_bytes, &count);
        assert(all);
        (void)all;
        if (!merge_long(t, kind, s, count, scratch, e)) return false;
    }
    for (uint32_t i = 0; i != INDEX_NONE; i = s[i].next) kind->emit(t, &s[i], sink);
    arena_rewind(scratch, mark);
    return true;
}

bool merge_word(const tokenizer *t, const struct merge_kind *kind, struct merge_cache *cache, view word, id_sink *sink,
                arena *scratch, err *e)
{
    if (word.len_bytes == 0) return true;
    if (word.len_bytes > CACHE_WORD_BYTES) return merge_uncached(t, kind, word, sink, scratch, e);
    struct cached_word *c = &cache->words[hash_mix(hash_text(word)) & cache->mask];
    if (c->text != NULL && c->len_bytes == word.len_bytes && memcmp(c->text, word.ptr, word.len_bytes) == 0) {
        for (size_t i = 0; i < c->id_count; i++) sink_put(sink, c->ids[i]);
        return true;
    }
    /* The ids go through a sink of their own: the caller's may be full, and the cache must not depend on that. */
    int32_t ids[CACHE_WORD_BYTES];
    id_sink own = { ids, CACHE_WORD_BYTES, 0 };
    if (!merge_uncached(t, kind, word, &own, scratch, e)) return false;
    assert(own.count <= word.len_bytes);
    for (size_t i = 0; i < own.count; i++) sink_put(sink, ids[i]);
    if (own.count > CACHE_IDS) return true;
    c->text = word.ptr;
    c->len_bytes = (uint32_t)word.len_bytes;
    c->id_count = (uint32_t)own.count;
    memcpy(c->ids, ids, own.count * sizeof *ids);
    return true;
}
