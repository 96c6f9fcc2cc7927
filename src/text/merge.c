/* Merging words, short ones and the cache: see merge.h; long ones are in waves.c.
 *
 * Symbols are a list inside an array, so a merge moves nothing: the right symbol drops out of the list, its rank set to
 * RANK_NONE. */
#include "text/merge.h"

#include "base/checked.h"

#include <assert.h>

enum {
    SHORT_BYTES = CACHE_WORD_BYTES, /* looking at n ranks n times beats anything with a structure up to about here */
    CACHE_WORDS_MAX = 8192,
    CACHE_TEXT_BYTES = 64           /* of text for each word of the cache: clearing it must not outweigh the text */
};

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
    return CACHE_WORDS_MAX * sizeof(struct cached_word) + (text_bytes + 1) * sizeof(struct symbol) +
           merge_waves_bytes(text_bytes) + 256;
}

static void rank_pair(const struct merging *m, uint32_t at)
{
    m->symbols[at].rank = RANK_NONE;
    if (m->symbols[at].next != INDEX_NONE) m->kind->pair(m, at);
}

void merge_next(const struct merging *m, uint32_t at)
{
    struct symbol *left = &m->symbols[at], *right = &m->symbols[left->next];
    left->id = left->joined;
    left->next = right->next;
    right->rank = RANK_NONE;
    if (left->next != INDEX_NONE) m->symbols[left->next].prev = at;
    rank_pair(m, at);
    if (left->prev != INDEX_NONE) rank_pair(m, left->prev);
}

static void cut_symbols(const struct merging *m)
{
    uint32_t prev = INDEX_NONE;
    size_t len;
    for (size_t at = 0; at < m->word.len_bytes; at += len) {
        struct symbol *s = &m->symbols[at];
        *s = (struct symbol){ .id = m->kind->first(m->t, view_after(m->word, at), &len), .prev = prev };
        s->next = at + len < m->word.len_bytes ? (uint32_t)(at + len) : INDEX_NONE;
        prev = (uint32_t)at;
    }
    for (uint32_t at = 0; at != INDEX_NONE; at = m->symbols[at].next) rank_pair(m, at);
}

static void merge_short(const struct merging *m)
{
    const struct symbol *s = m->symbols;
    for (;;) {
        uint32_t best = 0;
        for (uint32_t i = s[0].next; i != INDEX_NONE; i = s[i].next)
            if (s[i].rank < s[best].rank) best = i;
        if (s[best].rank == RANK_NONE) return;
        merge_next(m, best);
    }
}

static bool merge_uncached(const tokenizer *t, const struct merge_kind *kind, view word, id_sink *sink, arena *scratch,
                           err *e)
{
    struct symbol room[SHORT_BYTES];
    struct merging m = { t, kind, word, room };
    size_t mark = scratch->used_bytes;
    bool is_short = word.len_bytes <= SHORT_BYTES;
    if (!is_short) m.symbols = ARENA_ARRAY(scratch, struct symbol, word.len_bytes, "symbols of a long word", e);
    if (m.symbols == NULL) return false;
    cut_symbols(&m);
    if (is_short) merge_short(&m);
    else if (!merge_waves(&m, scratch, e)) return false;
    for (uint32_t at = 0; at != INDEX_NONE; at = m.symbols[at].next) kind->emit(&m, at, sink);
    if (!is_short) arena_rewind(scratch, mark);
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
