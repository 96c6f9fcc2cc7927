/* Merging a long word: all pairs of the lowest rank from left to right, then those of the next rank.
 *
 * In a vocabulary that was trained, a token's own pairs rank behind the pair that made the token, so ranks only rise
 * and a radix heap does (Ahuja et al., "Faster algorithms for the shortest path problem", 1990, section 4): pairs wait
 * in the bucket of the highest bit in which their rank differs from the current one. When a rank's turn comes, the
 * lowest bucket that holds anything is dealt out again; a pair moves down at most once a bit, and in memory order.
 * Pairs of the current rank form a wave, ordered by position.
 *
 * A vocabulary may break the rule (by hand, or because scores tie). Then the first pair that ranks at or before the
 * current wave stops the waves, and the rest of the word is merged with a binary heap, which needs no rule. Both orders
 * are the same where the rule holds, so what stops the waves changes the time and never the tokens.
 *
 * An entry whose rank is no longer its symbol's is out of date and dropped: nothing is ever searched for. */
#include "text/merge.h"

#include "base/checked.h"

#include <assert.h>

enum { BUCKETS = 33 /* bucket 0: the current rank; bucket b: ranks that differ first in bit b - 1 */ };

struct entry {
    uint32_t rank, at;
    uint32_t next; /* in its bucket; INDEX_NONE: the last */
};

struct bucket {
    uint32_t first, last;
};

struct radix_heap {
    struct entry *entries;
    size_t count, max;
    struct bucket buckets[BUCKETS];
    uint32_t current; /* the rank whose turn it is */
};

/* Each merge ranks two pairs anew, and there are fewer merges than bytes. */
static size_t entries_max(size_t word_bytes)
{
    return 3 * word_bytes;
}

size_t merge_waves_bytes(size_t word_bytes)
{
    size_t wave_bytes = 2 * sizeof(uint32_t), heap_bytes = 2 * sizeof(uint64_t); /* a byte of word */
    return entries_max(word_bytes) * sizeof(struct entry) + word_bytes * (wave_bytes + heap_bytes) + 256;
}

static void append(struct radix_heap *h, size_t bucket, uint32_t entry)
{
    struct bucket *b = &h->buckets[bucket];
    h->entries[entry].next = INDEX_NONE;
    if (b->first == INDEX_NONE) b->first = entry;
    else h->entries[b->last].next = entry;
    b->last = entry;
}

static size_t bucket_of(const struct radix_heap *h, uint32_t rank)
{
    return rank == h->current ? 0 : 32u - (size_t)__builtin_clz(rank ^ h->current);
}

static void push(struct radix_heap *h, uint32_t rank, uint32_t at)
{
    assert(h->count < h->max);
    h->entries[h->count] = (struct entry){ .rank = rank, .at = at };
    append(h, bucket_of(h, rank), (uint32_t)h->count++);
}

/* Deals the lowest bucket out around its lowest rank; false where nothing waits. */
static bool next_rank(struct radix_heap *h, const struct symbol *s)
{
    for (size_t bucket = 1; bucket < BUCKETS; bucket++) {
        uint32_t first = h->buckets[bucket].first, lowest = RANK_NONE;
        h->buckets[bucket].first = INDEX_NONE;
        for (uint32_t i = first; i != INDEX_NONE; i = h->entries[i].next) {
            const struct entry *x = &h->entries[i];
            if (s[x->at].rank == x->rank && x->rank < lowest) lowest = x->rank;
        }
        if (lowest == RANK_NONE) continue; /* empty, or all out of date */
        h->current = lowest;
        for (uint32_t i = first, next; i != INDEX_NONE; i = next) {
            const struct entry *x = &h->entries[i];
            next = x->next;
            if (s[x->at].rank == x->rank) append(h, bucket_of(h, x->rank), i);
        }
        return true;
    }
    return false;
}

/* Ascending. They are already, for waves go from left to right, but where tokens of one score were made in different
 * waves. `spare` has room for count. */
static void sort_positions(uint32_t *at, size_t count, uint32_t *spare)
{
    size_t sorted = 1;
    while (sorted < count && at[sorted - 1] <= at[sorted]) sorted++;
    if (sorted >= count) return;
    for (unsigned shift = 0; shift < 32; shift += 8) {
        size_t begin[257] = { 0 };
        for (size_t i = 0; i < count; i++) begin[(at[i] >> shift & 255) + 1]++;
        if (begin[(at[0] >> shift & 255) + 1] == count) continue; /* all alike in this byte */
        for (size_t i = 1; i < 257; i++) begin[i] += begin[i - 1];
        for (size_t i = 0; i < count; i++) spare[begin[at[i] >> shift & 255]++] = at[i];
        memcpy(at, spare, count * sizeof *at);
    }
}

/* A small wave is sorted in place: counting 256 values four times would cost more than the wave. */
static void sort_few(uint32_t *at, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint32_t x = at[i];
        size_t j = i;
        for (; j > 0 && at[j - 1] > x; j--) at[j] = at[j - 1];
        at[j] = x;
    }
}

static size_t take_wave(struct radix_heap *h, uint32_t *wave, uint32_t *spare)
{
    size_t count = 0;
    for (uint32_t i = h->buckets[0].first; i != INDEX_NONE; i = h->entries[i].next) wave[count++] = h->entries[i].at;
    h->buckets[0].first = INDEX_NONE;
    if (count <= 32) sort_few(wave, count);
    else sort_positions(wave, count, spare);
    return count;
}

/* Where a pair just ranked goes; false where it ranks too low for waves. */
static bool place(struct radix_heap *h, const struct symbol *s, uint32_t at)
{
    if (at == INDEX_NONE || s[at].rank == RANK_NONE) return true;
    if (s[at].rank <= h->current) return false;
    push(h, s[at].rank, at);
    return true;
}

/* ---- without the rule: a binary heap of rank << 32 | position ---- */

static void sift_down(uint64_t *keys, size_t count, size_t at, uint64_t key)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && keys[child + 1] < keys[child]) child++;
        if (keys[child] >= key) break;
        keys[at] = keys[child];
    }
    keys[at] = key;
}

static void sift_up(uint64_t *keys, size_t at, uint64_t key)
{
    for (; at > 0 && keys[(at - 1) / 2] > key; at = (at - 1) / 2) keys[at] = keys[(at - 1) / 2];
    keys[at] = key;
}

/* At most word.len_bytes pairs to begin with; each merge takes one entry out and puts at most two in. */
static bool merge_by_heap(const struct merging *m, arena *scratch, err *e)
{
    const struct symbol *s = m->symbols;
    size_t count = 0, max = 2 * m->word.len_bytes;
    uint64_t *keys = ARENA_ARRAY(scratch, uint64_t, max, "pairs of a long word", e);
    if (keys == NULL) return false;
    for (uint32_t at = 0; at != INDEX_NONE; at = s[at].next)
        if (s[at].rank != RANK_NONE) keys[count++] = (uint64_t)s[at].rank << 32 | at;
    for (size_t i = count / 2; i-- > 0;) sift_down(keys, count, i, keys[i]);
    while (count > 0) {
        uint32_t at = (uint32_t)(keys[0] & UINT32_MAX), rank = (uint32_t)(keys[0] >> 32);
        uint64_t last = keys[--count];
        if (count > 0) sift_down(keys, count, 0, last);
        if (s[at].rank != rank) continue;
        merge_next(m, at);
        const uint32_t ranked[] = { at, s[at].prev };
        for (size_t i = 0; i < 2; i++) {
            if (ranked[i] == INDEX_NONE || s[ranked[i]].rank == RANK_NONE) continue;
            assert(count < max);
            count++;
            sift_up(keys, count - 1, (uint64_t)s[ranked[i]].rank << 32 | ranked[i]);
        }
    }
    return true;
}

bool merge_waves(const struct merging *m, arena *scratch, err *e)
{
    const struct symbol *s = m->symbols;
    size_t bytes = m->word.len_bytes;
    struct radix_heap h = { ARENA_ARRAY(scratch, struct entry, entries_max(bytes), "pairs of a long word", e), 0,
                            entries_max(bytes), { { 0 } }, 0 };
    uint32_t *wave = ARENA_ARRAY(scratch, uint32_t, bytes, "pairs of one rank", e);
    uint32_t *spare = ARENA_ARRAY(scratch, uint32_t, bytes, "pairs of one rank", e);
    if (h.entries == NULL || wave == NULL || spare == NULL) return false;
    for (size_t i = 0; i < BUCKETS; i++) h.buckets[i].first = INDEX_NONE;
    for (uint32_t at = 0; at != INDEX_NONE; at = s[at].next)
        if (s[at].rank != RANK_NONE) push(&h, s[at].rank, at);
    /* The first rank may be 0, which is where `current` begins: then bucket 0 is the first wave. */
    while (h.buckets[0].first != INDEX_NONE || next_rank(&h, s)) {
        size_t count = take_wave(&h, wave, spare);
        for (size_t i = 0; i < count; i++) {
            if (s[wave[i]].rank != h.current) continue;
            merge_next(m, wave[i]);
            if (!place(&h, s, wave[i]) || !place(&h, s, s[wave[i]].prev)) return merge_by_heap(m, scratch, e);
        }
    }
    return true;
}
