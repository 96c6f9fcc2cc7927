/* cache/ keeps keys and values: pages of 64 positions from one pool with a hard budget. It owns the pages and nothing
 * else; what their bytes mean is kernels/attention.h. All memory is reserved when the pool is made; a sequence only
 * takes and returns page numbers. What a position sees depends on its index alone.
 *
 *   pool    | block 0 | block 1 | ...      a block: 64 positions of every layer and head
 *   block   | layer 0: head 0 K, V | head 1 K, V | ... | layer 1 ... |
 *   K       key_dim rows of 64 positions         V   64 rows of value_dim channels        f32 or f16
 */
#ifndef HEARTH_CACHE_CACHE_H
#define HEARTH_CACHE_CACHE_H

#include "base/arena.h"
#include "kernels/attention.h"

struct kv_shape {
    enum kv_type type;
    size_t layers, kv_heads, key_dim, value_dim;
};

typedef struct kv_pool {
    struct kv_shape shape;
    size_t key_bytes, value_bytes;     /* of one page of one head: padded to 64 bytes */
    size_t layer_bytes, block_bytes;
    size_t blocks;
    uint32_t *free_blocks;             /* a stack: the lowest number is taken first from a fresh pool */
    size_t free_count;
    uint8_t *base;
    bool borrowed;                     /* of kv_pool_new_in */
} kv_pool;

/* One sequence's page table. Positions 0..len_tok-1 are stored. */
typedef struct kv_seq {
    kv_pool *pool;
    uint32_t *blocks; /* blocks_max of them, block_count in use */
    size_t block_count, blocks_max;
    size_t len_tok;
} kv_seq;

/* Bytes of one block, or false where the shape does not fit in a size. */
bool kv_block_bytes(const struct kv_shape *shape, size_t *out);

/* Reserves `blocks` blocks. Errors: ERR_MEMORY, ERR_LIMIT. Undo with kv_pool_free. */
bool kv_pool_new(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, err *e);
void kv_pool_free(kv_pool *p);

/* The same with the pages in the arena, and no call to the system. */
bool kv_pool_new_in(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, err *e);

/* An empty sequence of at most `ctx_tok` positions. */
bool kv_seq_new(kv_seq *s, kv_pool *p, size_t ctx_tok, arena *a, err *e);

/* Takes the blocks that positions below `len_tok` need; does not move s->len_tok. Errors: ERR_LIMIT (over the
 * sequence's positions), ERR_MEMORY (the pool's budget is spent: the text says both numbers); nothing is taken then. */
bool kv_seq_reserve(kv_seq *s, size_t len_tok, err *e);

/* Forgets every position from `len_tok` on and returns the blocks that held only those. */
void kv_seq_rewind(kv_seq *s, size_t len_tok);

/* Makes `to`, empty and of the same pool, hold the first `len_tok` positions of `from` too. Errors: those of
 * kv_seq_reserve. */
bool kv_seq_copy(kv_seq *to, const kv_seq *from, size_t len_tok, err *e);

/* The key and value pages of block index `page` of a sequence, for one layer and head. */
void *kv_keys(const kv_seq *s, size_t page, size_t layer, size_t head);
void *kv_values(const kv_seq *s, size_t page, size_t layer, size_t head);

#endif
