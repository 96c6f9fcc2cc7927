/* Merging neighbours, lowest rank first, leftmost among equals: what both BPE families do with a word once it is cut
 * into symbols. Short words by scanning, on the stack; long ones in waves of one rank (waves.c), so that a word of a
 * megabyte takes little more than a text of a megabyte. */
#ifndef HEARTH_TEXT_MERGE_H
#define HEARTH_TEXT_MERGE_H

#include "text/part.h"

enum { RANK_NONE = UINT32_MAX };

/* A piece of the word. A symbol's index is the offset of its first byte, so its text needs no room: it ends where the
 * next one begins. Indexes inside a symbol do not count. */
struct symbol {
    int32_t id;          /* the token it is so far; -1: none */
    int32_t joined;      /* the token that it and the next one make */
    uint32_t rank;       /* of that pair; RANK_NONE: they make none, or this symbol has gone into its neighbour */
    uint32_t prev, next; /* INDEX_NONE: none */
};

#define INDEX_NONE UINT32_MAX

/* The bytes of a symbol and its neighbours, for the families that look pairs up by text. */
struct merging {
    const tokenizer *t;
    const struct merge_kind *kind;
    view word;
    struct symbol *symbols; /* word.len_bytes */
};

static inline view symbol_text(const struct merging *m, uint32_t at)
{
    uint32_t next = m->symbols[at].next;
    return (view){ m->word.ptr + at, (next == INDEX_NONE ? m->word.len_bytes : next) - at };
}

/* Fills rank and joined of the symbol at `at`, which has a next one. */
typedef void pair_fn(const struct merging *m, uint32_t at);
/* What a symbol that can merge no further becomes. */
typedef void emit_fn(const struct merging *m, uint32_t at, id_sink *sink);
/* The token of the first character of `text` (-1: none) and the character's length. */
typedef int32_t symbol_fn(const tokenizer *t, view text, size_t *len_bytes);

struct merge_kind {
    symbol_fn *first;
    pair_fn *pair;
    emit_fn *emit;
};

/* Merges the pair at `at`, which has a rank, and ranks the two pairs it makes. */
void merge_next(const struct merging *m, uint32_t at);

/* Merges all there is, in time near linear in the word. Errors: ERR_MEMORY. (waves.c) */
bool merge_waves(const struct merging *m, arena *scratch, err *e);
size_t merge_waves_bytes(size_t word_bytes);

/* Words seen in this text, and their ids: language repeats itself. A direct-mapped table; a collision overwrites, so
 * what is found never depends on anything but the text. */
enum { CACHE_IDS = 11, CACHE_WORD_BYTES = 48 };

struct cached_word {
    const uint8_t *text; /* NULL: free */
    uint32_t len_bytes, id_count;
    int32_t ids[CACHE_IDS];
};

struct merge_cache {
    struct cached_word *words;
    size_t mask;
};

/* Room for words of a text of this length. Errors: ERR_MEMORY. */
bool merge_cache_new(struct merge_cache *c, size_t text_bytes, arena *scratch, err *e);

/* Merges a word and puts its ids into the sink. Scratch for long words is taken and given back. Errors: ERR_MEMORY. */
bool merge_word(const tokenizer *t, const struct merge_kind *kind, struct merge_cache *cache, view word, id_sink *sink,
                arena *scratch, err *e);

/* Bytes of scratch that a cache and the longest word of a text of this length take at most. */
size_t merge_scratch_bytes(size_t text_bytes);

#endif
