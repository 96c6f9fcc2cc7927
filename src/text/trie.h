/* A trie over token texts, for "which tokens begin here": special tokens in text, unigram, WordPiece.
 *
 *   edges, a hash table:  (node, byte) << 28 | child      node and child below 2^28; a child is never 0, the root
 *   tokens[node]          the token that ends here, or -1
 *
 * A walk costs one probe a byte and needs no sorting to build. */
#ifndef HEARTH_TEXT_TRIE_H
#define HEARTH_TEXT_TRIE_H

#include "base/arena.h"

enum { TRIE_NODE_BITS = 28, TRIE_ROOT = 0, TRIE_NONE = UINT32_MAX >> 1 };

typedef struct trie {
    uint64_t *edges;
    size_t mask;
    int32_t *tokens;
    size_t node_count, node_max;
    uint32_t first[256]; /* children of the root, TRIE_NONE where there is none: most walks end here */
} trie;

static inline size_t trie_slot(uint64_t key, size_t mask)
{
    uint64_t h = key * 0x9E3779B97F4A7C15u;
    return (h ^ h >> 32) & mask;
}

/* The child of `node` along `byte`, or TRIE_NONE. */
static inline uint32_t trie_next(const trie *t, uint32_t node, uint8_t byte)
{
    if (node == TRIE_ROOT) return t->first[byte];
    uint64_t key = (uint64_t)node << 8 | byte;
    for (size_t at = trie_slot(key, t->mask);; at = (at + 1) & t->mask) {
        uint64_t edge = t->edges[at];
        if (edge == 0) return TRIE_NONE;
        if (edge >> TRIE_NODE_BITS == key) return (uint32_t)(edge & ((1u << TRIE_NODE_BITS) - 1));
    }
}

/* The longest token that `text` begins with, or -1; its length goes to *len_bytes. */
int32_t trie_longest(const trie *t, view text, size_t *len_bytes);

/* An empty trie with room for texts of `text_bytes` bytes together. Errors: ERR_MEMORY. */
bool trie_new(trie *t, size_t text_bytes, arena *a, err *e);
size_t trie_bytes(size_t text_bytes);

/* Adds a token; the sum of all lengths stays within trie_new's; of two equal texts the first stays. Errors: ERR_LIMIT
 * (a probe sequence over PROBES_MAX, which chance never makes). */
bool trie_add(trie *t, view text, int32_t id, err *e);

#endif
