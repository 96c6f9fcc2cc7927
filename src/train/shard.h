/* Tokens on disk, and the order in which a run meets them.
 *
 *   "HSHARD01"                       8 bytes
 *   vocabulary hash                 32 bytes   BLAKE2b of the tokenizer's texts: ids of another one are refused
 *   documents u64 | tokens u64      16 bytes
 *   document: tokens u32 | source u16 | flags u16      8 bytes each, in file order
 *   token: u32                       bits 0..30 the id; bit 31: no loss where this token is the target
 *   hash                            32 bytes   BLAKE2b-256 of all before
 *
 * A document begins with the end-of-text token and ends before the next one's, so the target of its last token is that
 * token: ends are learnt, and rows may be cut anywhere.
 *
 * The order is a function of (seed, round): a round is every document as often as its source's passes say, shuffled and
 * laid end to end; the stream is cut into rows of row_tok tokens (what is left over at its end is not used), and the
 * rows are shuffled again, so that a step sees many documents and not one long one. */
#ifndef HEARTH_TRAIN_SHARD_H
#define HEARTH_TRAIN_SHARD_H

#include "base/arena.h"

enum { SHARD_HASH_BYTES = 32, SHARD_HEAD_BYTES = 8 + SHARD_HASH_BYTES + 16, DOC_BYTES = 8 };
enum doc_flag { DOC_GENERATED = 1 /* a task: the Goldfish option leaves it alone */ };

#define NO_LOSS_BIT 0x80000000u

struct doc {
    size_t first, count;  /* tokens */
    uint16_t source, flags;
};

/* A shard in memory (a map of the file): checked, hash included. */
struct shard {
    view file;
    const uint8_t *tokens; /* token i at tokens + 4 i, little endian */
    size_t token_count, doc_count;
    struct doc *docs;
    uint8_t hash[SHARD_HASH_BYTES]; /* the file's own */
};

/* Reads and checks a whole shard. Errors: ERR_IO, ERR_TRUNCATED, ERR_VALUE (hash, magic, another vocabulary, an id out
 * of range), ERR_LIMIT; the text names the path. The owner calls shard_close. */
bool shard_open(const char *path, const uint8_t vocab_hash[SHARD_HASH_BYTES], size_t vocab, arena *a, struct shard *out,
                err *e);
void shard_close(struct shard *s);

/* Writes one atomically; tokens and docs in memory order. Errors: ERR_IO, ERR_MEMORY. */
bool shard_write(const char *path, const uint8_t vocab_hash[SHARD_HASH_BYTES], const uint32_t *tokens,
                 size_t token_count, const struct doc *docs, size_t doc_count, arena *scratch,
                 uint8_t hash[SHARD_HASH_BYTES], err *e);

/* The rows of one round, and which round. */
struct stream {
    const struct shard *shard;
    const double *passes;     /* by source */
    uint64_t seed, round;
    size_t row_tok;
    uint32_t *order;          /* documents of this round */
    uint64_t *begins;         /* [order_count + 1]: where each begins in the round */
    size_t order_count, order_max;
    uint32_t *rows;           /* the shuffled rows */
    size_t row_count, rows_max;
    uint64_t rows_before;     /* of all rounds before it */
};

/* Room for the largest round. Errors: ERR_MEMORY, ERR_VALUE (less than a row of tokens with a pass). */
bool stream_make(struct stream *s, const struct shard *shard, const double *passes, size_t sources, size_t row_tok,
                 uint64_t seed, arena *a, err *e);

/* Row `row` of the endless run: ids, targets (-1 where there is no loss) and where each token's document begins in the
 * row; row_tok each. `goldfish` > 0 drops a target in so many. */
void stream_row(struct stream *s, uint64_t row, uint64_t goldfish, int32_t *tok, int32_t *target, int32_t *starts);

/* Tokens of the current round, and how many of the run's rows are behind it: for progress. */
static inline double stream_rounds(const struct stream *s, uint64_t row)
{
    return (double)s->round + (double)(row - s->rows_before) / (double)s->row_count;
}

#endif
