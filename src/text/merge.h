/* Merging neighbours, lowest rank first, leftmost among equals: what both BPE families do with a word once it is cut
 * into symbols. Short words on the stack, by scanning; long ones with a heap, so a word of a megabyte takes n log n. */
#ifndef HEARTH_TEXT_MERGE_H
#define HEARTH_TEXT_MERGE_H

#include "text/part.h"

enum { RANK_NONE = UINT32_MAX };

/* A piece of the word: what it is so far, and what it and its right neighbour would become. */
struct symbol {
    view text;
    uint64_t hash;  /* of the text; spm alone */
    int32_t id;     /* -1: no token */
    int32_t joined; /* the token that this symbol and the next one make; rank RANK_NONE: none */
    uint32_t rank;
    uint32_t prev, next; /* in long words; UINT32_MAX: none */
};

/* Fills left->rank and left->joined. */
typedef void pair_fn(const tokenizer *t, struct symbol *left, const struct symbol *right);
/* What a symbol that can merge no further becomes. */
typedef void emit_fn(const tokenizer *t, const struct symbol *s, id_sink *sink);
/* The symbol at the begin of the text; its length is symbol.text.len_bytes, at least 1. */
typedef struct symbol symbol_fn(const tokenizer *t, view text);

struct merge_kind {
    symbol_fn *first;
    pair_fn *pair;
    emit_fn *emit;
};

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
