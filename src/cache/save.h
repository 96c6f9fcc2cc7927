/* A sequence as a byte stream and back: what was computed, to the bit. The stream is bound to nothing and proves
 * nothing: who stores it hashes it, encrypts it and says which model it belongs to (cmd/saved.h). Any bytes are safe
 * to take in.
 *
 *   head, 64 bytes, little-endian: "HKV1" | u32 type | u32 layers | u32 kv_heads | u32 key_dim | u32 value_dim |
 *     u64 len_tok | u64 page | u32 main blocks | u32 exact blocks | zeros
 *   main blocks in order, then exact ones: window of page - 1 (where page > 0), of page, set (where page > 1)
 *
 * Positions behind the last one are zeros (as codes of zeros), so equal sequences have equal streams, and nothing of
 * another one is in them. Log tiers: packed pages, set and window. Random access: parts may be made and taken in any
 * order, by several threads. docs/format/session.md. */
#ifndef HEARTH_CACHE_SAVE_H
#define HEARTH_CACHE_SAVE_H

#include "base/view.h"
#include "cache/cache.h"

enum { KV_SAVE_HEAD_BYTES = 64 };

/* Makes the sequence fit to be saved and gives the stream's length. Errors: ERR_MEMORY (a shared block must be
 * copied). */
bool kv_save_begin(kv_seq *s, size_t *bytes, err *e);

/* Bytes at .. at + n - 1 of the stream. */
void kv_save_read(const kv_seq *s, size_t at, uint8_t *out, size_t n);

/* Positions that a stream with this head (KV_SAVE_HEAD_BYTES) would have; nothing is proven of it yet. */
uint64_t kv_restore_tok(const uint8_t *head);

/* Takes the blocks for a stream that begins with `head` (KV_SAVE_HEAD_BYTES) and is `bytes` long into an empty
 * sequence. Errors: ERR_VALUE (another type, shape or length than the pool's), ERR_LIMIT, ERR_MEMORY: the sequence is
 * empty. */
bool kv_restore_begin(kv_seq *s, const uint8_t *head, size_t bytes, err *e);

/* Bytes at .. at + n - 1 of the stream; those of the head are passed over. */
void kv_restore_write(kv_seq *s, size_t at, const uint8_t *in, size_t n);

/* The stream is complete: checks every field that steers memory, and the sequence has its positions. Errors: ERR_VALUE:
 * the sequence is empty. */
bool kv_restore_end(kv_seq *s, const uint8_t *head, err *e);

#endif
