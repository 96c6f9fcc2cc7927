/* Building and walking tries: see trie.h. */
#include "text/trie.h"

#include "text/text_index.h"

#include <assert.h>

static size_t edge_slots(size_t text_bytes)
{
    size_t slots = 16;
    while (slots < 2 * text_bytes) slots *= 2;
    return slots;
}

size_t trie_bytes(size_t text_bytes)
{
    return edge_slots(text_bytes) * sizeof(uint64_t) + (text_bytes + 1) * sizeof(int32_t) + 64;
}

bool trie_new(trie *t, size_t text_bytes, arena *a, err *e)
{
    assert(text_bytes < (size_t)1 << TRIE_NODE_BITS);
    size_t slots = edge_slots(text_bytes);
    t->edges = ARENA_ARRAY(a, uint64_t, slots, "trie of tokens", e);
    t->tokens = ARENA_ARRAY(a, int32_t, text_bytes + 1, "trie of tokens", e);
    if (t->edges == NULL || t->tokens == NULL) return false;
    t->mask = slots - 1;
    t->node_max = text_bytes + 1;
    t->node_count = 1;
    t->tokens[TRIE_ROOT] = -1;
    for (size_t byte = 0; byte < 256; byte++) t->first[byte] = TRIE_NONE;
    return true;
}

static bool add_edge(trie *t, uint32_t node, uint8_t byte, uint32_t child, err *e)
{
    if (node == TRIE_ROOT) {
        t->first[byte] = child;
        return true;
    }
    uint64_t key = (uint64_t)node << 8 | byte;
    size_t at = trie_slot(key, t->mask);
    for (size_t probes = 0; t->edges[at] != 0; at = (at + 1) & t->mask)
        if (++probes > PROBES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "trie of tokens: %zu edges with one hash, allowed %d", probes,
                        PROBES_MAX);
    t->edges[at] = key << TRIE_NODE_BITS | child;
    return true;
}

bool trie_add(trie *t, view text, int32_t id, err *e)
{
    assert(text.len_bytes > 0);
    uint32_t node = TRIE_ROOT;
    for (size_t i = 0; i < text.len_bytes; i++) {
        uint32_t child = trie_next(t, node, text.ptr[i]);
        if (child == TRIE_NONE) {
            assert(t->node_count < t->node_max);
            child = (uint32_t)t->node_count++;
            t->tokens[child] = -1;
            if (!add_edge(t, node, text.ptr[i], child, e)) return false;
        }
        node = child;
    }
    if (t->tokens[node] < 0) t->tokens[node] = id;
    return true;
}

int32_t trie_longest(const trie *t, view text, size_t *len_bytes)
{
    int32_t found = -1;
    uint32_t node = TRIE_ROOT;
    *len_bytes = 0;
    for (size_t i = 0; i < text.len_bytes; i++) {
        node = trie_next(t, node, text.ptr[i]);
        if (node == TRIE_NONE) break;
        if (t->tokens[node] < 0) continue;
        found = t->tokens[node];
        *len_bytes = i + 1;
    }
    return found;
}
