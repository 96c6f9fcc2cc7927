/* From a text to the token that is written so: one hash table over the texts of a vocabulary.
 *
 * The hash of a text is a polynomial in its bytes, so the hash of a concatenation follows from the hashes of its parts:
 * merging looks a pair up without copying it. Someone who writes a vocabulary can make hashes collide; each probe is
 * therefore verified against the text, and building stops with an error where a probe sequence is over PROBES_MAX.
 *
 *   slots[mix(hash) & mask] = tag (32 high bits of mix) << 32 | id + 1, linear probing, at most half full */
#ifndef HEARTH_TEXT_TEXT_INDEX_H
#define HEARTH_TEXT_TEXT_INDEX_H

#include "base/arena.h"
#include "base/limits.h"

enum { PROBES_MAX = 4096 /* slots looked at for one text; chance alone needs under 100 */ };

#define HASH_BASE 0x9E3779B97F4A7C15u /* odd, so no byte's share is ever shifted out; otherwise arbitrary */

typedef struct text_index {
    uint64_t *slots;
    size_t mask;
    const uint8_t *pool;     /* all texts, one after the other */
    const uint32_t *text_at; /* text_at[id]..text_at[id + 1] in the pool */
    uint64_t *powers;        /* HASH_BASE to the n, n in 0..TOKEN_BYTES_MAX */
} text_index;

static inline uint64_t hash_text(view v)
{
    uint64_t h = 0;
    for (size_t i = 0; i < v.len_bytes; i++) h = h * HASH_BASE + v.ptr[i] + 1;
    return h;
}

/* The hash of two texts, one after the other; right_bytes is the second's length, at most TOKEN_BYTES_MAX. */
static inline uint64_t hash_join(const text_index *x, uint64_t left, uint64_t right, size_t right_bytes)
{
    return left * x->powers[right_bytes] + right;
}

/* Stirs all bits into the low ones (the finalizer of MurmurHash3). */
static inline uint64_t hash_mix(uint64_t h)
{
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDu;
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53u;
    return h ^ h >> 33;
}

static inline view index_text(const text_index *x, int32_t id)
{
    return (view){ x->pool + x->text_at[id], x->text_at[id + 1] - x->text_at[id] };
}

/* Tells the memory that index_find_pair with this hash comes soon: building a vocabulary is a million look-ups, each a
 * cache miss that need not be waited for. */
static inline void index_prefetch(const text_index *x, uint64_t hash)
{
    __builtin_prefetch(&x->slots[hash_mix(hash) & x->mask]);
}

/* The token whose text is `left` followed by `right`, whose hash (of both together) is `hash`; -1: none. */
static inline int32_t index_find_pair(const text_index *x, uint64_t hash, view left, view right)
{
    uint64_t mixed = hash_mix(hash);
    for (size_t at = mixed & x->mask;; at = (at + 1) & x->mask) {
        uint64_t slot = x->slots[at];
        if (slot == 0) return -1;
        if (slot >> 32 != mixed >> 32) continue;
        int32_t id = (int32_t)((slot & UINT32_MAX) - 1);
        view text = index_text(x, id);
        if (text.len_bytes == left.len_bytes + right.len_bytes && memcmp(text.ptr, left.ptr, left.len_bytes) == 0 &&
            memcmp(text.ptr + left.len_bytes, right.ptr, right.len_bytes) == 0)
            return id;
    }
}

static inline int32_t index_find(const text_index *x, view text)
{
    return index_find_pair(x, hash_text(text), text, (view){ text.ptr, 0 });
}

/* Indexes tokens 0..count-1 of the pool; empty texts are left out. Errors: ERR_VALUE (two tokens of one text),
 * ERR_LIMIT (PROBES_MAX), ERR_MEMORY. */
bool index_new(text_index *x, const uint8_t *pool, const uint32_t *text_at, size_t count, arena *a, err *e);
size_t index_bytes(size_t count);

#endif
