/* SentencePiece's precompiled normalization map: the longest prefix of a text that it knows, and what that becomes.
 *
 *   trie bytes u32 | trie: units u32 each | replacements, each closed by a zero byte
 *
 * The trie is a double array (Aoe, "An efficient digital search algorithm by using a double-array structure", 1989) in
 * the packing of darts-clone: bit 31 value, bits 10-30 offset (bit 9: times 256), bit 8 has a value, bits 0-7 label. */
#ifndef HEARTH_TEXT_CHARSMAP_H
#define HEARTH_TEXT_CHARSMAP_H

#include "base/arena.h"

enum { CHARSMAP_KEY_BYTES_MAX = 256 /* a hostile trie may go in circles; in NFKC keys have under 20 bytes */ };

typedef struct charsmap {
    uint32_t *units;
    size_t unit_count;
    view replacements;        /* ends with a zero byte */
    size_t replacement_max;   /* bytes of the longest */
} charsmap;

/* Checks and copies a map into `a`; an empty view gives an empty map. Offsets inside the trie are checked as they are
 * followed. Errors: ERR_TRUNCATED, ERR_LIMIT (CHARSMAP_BYTES_MAX, REPLACEMENT_BYTES_MAX), ERR_VALUE, ERR_MEMORY. */
bool charsmap_new(charsmap *m, view bytes, arena *a, err *e);

/* The longest prefix of `text` the map knows (of CHARSMAP_KEY_BYTES_MAX at most): its length, 0 where there is none,
 * and what it becomes. */
size_t charsmap_find(const charsmap *m, view text, view *becomes);

#endif
