/* cache/ keeps keys and values: pages of 64 positions from one pool with a hard budget. It owns the pages and who holds
 * them; what their bytes mean is kernels/attention.h and kernels/coded.h. All memory is reserved when the pool is
 * made; a sequence only takes and returns block numbers. What a position sees depends on its index alone, whatever
 * the order of calls. Start with kv_pool, kv_seq, then kv_step, which is how the graph writes.
 *
 *   pool    | block 0 | block 1 | ...      a block: 64 positions of every layer and head
 *   block   | layer 0: head 0 | head 1 | ... | layer 1 ... |      head: K then V (f32, f16), or one coded page
 *
 * A block that several sequences hold is whole and never written again: a prefix is shared by counting its holders. A
 * sequence copies a block before it writes into one that it shares.
 *
 * Log tiers keep two kinds of blocks. A token of page m sees
 *
 *   pages 0..m-2         packed (kernels/coded.h), once, from f16, when the first token of page m comes
 *   64 of their positions  in f16 beside them, a block of slots 0..63 (the set): 0..3 and the halving set of m
 *   (log_set.h)
 *   pages m-1, m         in f16 (the window)
 *
 * So a sequence holds packed blocks and three exact ones. A step writes into new exact blocks and the old ones go
 * when it has succeeded: a step that fails changes nothing. What cannot be undone is the set and the window: such a
 * sequence goes back within its page, to the begin of it, or to a copy that was kept (kv_seq_copy). */
#ifndef HEARTH_CACHE_CACHE_H
#define HEARTH_CACHE_CACHE_H

#include "base/arena.h"
#include "kernels/coded.h"

enum { KV_EXACT_BLOCKS = 3, KV_STEP_SPARE = 3 }; /* exact blocks of a sequence; those that steps need beside them */
#define KV_NO_BLOCK UINT32_MAX

struct kv_shape {
    enum kv_type type;
    size_t layers, kv_heads, key_dim;
    size_t value_dim; /* 0: values are their keys' begin, and stand there alone (latent caches in f32 and f16) */
    size_t sequences; /* log tiers: that hold exact blocks at a time, kept copies included; 0: 1 */
    size_t step_tok;  /* log tiers: most tokens of a step; 0: BATCH_TOK_MAX */
};

/* Blocks of one size and how many hold each. */
struct kv_blocks {
    uint8_t *base;
    size_t head_bytes, layer_bytes, block_bytes;
    size_t count, free_count;
    uint32_t *free;    /* a stack: the lowest number is taken first from a fresh pool */
    uint32_t *holders; /* 0: free */
    bool *used;        /* was taken before: zeroed when it is taken again, so nothing of a former holder is in it */
};

typedef struct kv_pool {
    struct kv_shape shape;
    struct coded_layout layout;        /* coded types */
    size_t key_bytes, value_bytes;     /* of one page of one head: f32, f16 and exact pages, padded to 64 bytes */
    struct kv_blocks main, exact;      /* exact.count 0: no log tier */
    uint8_t *scratch;                  /* log: pages and sets of one layer that a long step needs in between */
    size_t scratch_pages;
    void *memory;                      /* where it is the pool's own */
    size_t memory_bytes;
} kv_pool;

/* One sequence's page table. Positions 0..len_tok-1 are stored. */
typedef struct kv_seq {
    kv_pool *pool;
    uint32_t *blocks; /* blocks_max of them, block_count in use */
    size_t block_count, blocks_max;
    size_t len_tok;
    /* log: the page m that window and set belong to: 64 m <= len_tok <= 64 m + 64; blocks of m - 1, m and the set */
    size_t page;
    uint32_t window[2], set;
} kv_seq;

/* "f16", "log:k2v2", ...; and back: KV_TYPES where there is none. */
const char *kv_type_name(enum kv_type type);
enum kv_type kv_type_named(const char *name);

/* One line where a model's heads cannot be kept so. `latent`: keys and values of all heads are one vector. */
bool kv_shape_check(const struct kv_shape *shape, bool latent, err *e);

/* Bytes of one block, and of a pool of `blocks` blocks with everything it takes; false where they do not fit in a
 * size. */
bool kv_block_bytes(const struct kv_shape *shape, size_t *out);
bool kv_pool_bytes(const struct kv_shape *shape, size_t blocks, size_t *out);

/* Blocks that a sequence of `len_tok` positions holds, without exact ones. */
size_t kv_type_blocks(enum kv_type type, size_t len_tok);

/* Bytes that a sequence of `len_tok` positions holds: blocks of both kinds and its table. Of a shape: false where they
 * do not fit in a size. */
size_t kv_seq_bytes(const kv_pool *p, size_t len_tok);
bool kv_shape_seq_bytes(const struct kv_shape *shape, size_t len_tok, size_t *out);

/* Reserves `blocks` blocks, and for log tiers the exact ones. Errors: ERR_MEMORY, ERR_LIMIT, ERR_UNSUPPORTED. Undo with
 * kv_pool_free. */
bool kv_pool_new(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, err *e);
void kv_pool_free(kv_pool *p);

/* The same with the pages in the arena, and no call to the system. */
bool kv_pool_new_in(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, err *e);

/* An empty sequence of at most `ctx_tok` positions. */
bool kv_seq_new(kv_seq *s, kv_pool *p, size_t ctx_tok, arena *a, err *e);

/* Takes the blocks that positions below `len_tok` need; does not move s->len_tok. Errors: ERR_LIMIT (over the
 * sequence's positions), ERR_MEMORY (the pool's budget is spent: the text says both numbers); nothing is taken then. */
bool kv_seq_reserve(kv_seq *s, size_t len_tok, err *e);

/* Forgets every position from `len_tok` on and returns the blocks that held only those. Returns how many positions are
 * left: `len_tok`, or fewer where the tier cannot go back so far, or where a shared block would have to be copied and
 * no block is free. kv_seq_kept says beforehand what the tier allows. */
size_t kv_seq_rewind(kv_seq *s, size_t len_tok);
size_t kv_seq_kept(const kv_seq *s, size_t len_tok);

/* Makes `to`, empty and of the same pool, hold the first `len_tok` positions of `from` too: whole blocks are shared,
 * the last one is copied. len_tok must be kv_seq_kept of itself. Errors: ERR_LIMIT, ERR_MEMORY; `to` is empty then. */
bool kv_seq_copy(kv_seq *to, const kv_seq *from, size_t len_tok, err *e);

/* The key and value pages of block index `page` of a sequence, for one layer and head: packed in the log tiers; of
 * coded types kv_keys is all there is. */
void *kv_keys(const kv_seq *s, size_t page, size_t layer, size_t head);
void *kv_values(const kv_seq *s, size_t page, size_t layer, size_t head);

/* ---- steps ---- */

/* A stretch of tokens that is being computed: positions first..first + count - 1 of a sequence. */
typedef struct kv_step {
    kv_seq *seq;
    size_t first, count;
    size_t last_page;      /* of its last position */
    uint32_t window[2], set; /* log: blocks of last_page - 1, last_page and its set, as they will be */
    size_t scratch;        /* log: first of its scratch pages */
} kv_step;

/* Exact blocks that a stretch of `count` tokens needs while it is computed. */
size_t kv_step_spare(const kv_seq *s, size_t count);

/* Begins a stretch behind the sequence's positions; `scratch` counts the scratch pages of the whole step and begins
 * at 0. Errors: ERR_LIMIT, ERR_MEMORY: nothing has changed. Every begun stretch is ended: with `good` the sequence
 * has the positions, without it is as it was. */
bool kv_step_begin(kv_step *st, kv_seq *s, size_t count, size_t *scratch, err *e);
void kv_step_end(kv_step *st, bool good);

/* Log tiers: the blocks that a sequence in page `page` holds, taken by an empty one: for what restores it. */
bool kv_step_begin_at(kv_step *st, kv_seq *s, size_t page, size_t *scratch, err *e);

/* Log tiers: an exact page of the stretch, window included: first page - 1 .. last page; the set that tokens of page
 * m >= 2 see; a packed page. */
struct kv_page {
    void *keys, *values;
};
struct kv_page kv_step_exact(const kv_step *st, size_t page, size_t layer, size_t head);
struct kv_page kv_step_set(const kv_step *st, size_t m, size_t layer, size_t head);

/* Log tiers, once all keys and values of a layer are stored: makes the sets and packs the pages that the stretch's
 * tokens need, of one head. `room` is LOG_PACK_FLOATS floats of the calling thread. */
void kv_step_settle(const kv_step *st, size_t layer, size_t head, float *room);

/* True where kv_step_settle has something to do. */
bool kv_step_turns(const kv_step *st);

#endif
