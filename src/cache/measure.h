/* Published methods as measuring tiers: what a cache of theirs would hold, in f32 pages, written over in place as
 * positions leave the exact set. By decode only, one sequence, no sharing, no saving: they exist for tables in which
 * the log tiers stand beside them.
 *
 *   log:paper       LogQuant (arXiv 2503.19950), window W = 64: newest W..2W-1 tokens and the halving set exact; keys
 *                   and values packed when they leave the local window: 2 bits, groups of 64 values within one head
 *                   over consecutive positions, scale (max - min) / 3, whole zero point in 8 bits
 *   base:window     the same quantizer and as many exact tokens, as 4 sinks and a plain window
 *   base:kivi2      KIVI (arXiv 2402.02750): keys by channel over 32 positions, values by token over 32 channels,
 *                   min-max 2 bits, residual window of 128
 *   base:q4         4 bits by token, blocks of 32 channels, steps -8..7 of a signed scale, as stored
 *   base:q4rot      the same, keys and values turned (coded.h) */
#ifndef HEARTH_CACHE_MEASURE_H
#define HEARTH_CACHE_MEASURE_H

#include "cache/cache.h"

enum kv_method { KV_PAPER, KV_BASE_WINDOW, KV_BASE_KIVI2, KV_BASE_Q4, KV_BASE_Q4ROT, KV_METHODS };

const char *kv_method_name(enum kv_method method);
enum kv_method kv_method_named(const char *name); /* KV_METHODS where there is none */

/* Bits a value that the method keeps for `len_tok` positions of heads of `dim` channels, everything counted. */
double kv_method_bits(enum kv_method method, size_t len_tok, size_t dim);

typedef struct kv_measure kv_measure;

/* For a sequence of a KV_F32 pool. Errors: ERR_LIMIT (over 4 GiB of exact copies), ERR_MEMORY. */
bool kv_measure_new(kv_measure **out, enum kv_method method, kv_seq *s, size_t ctx_tok, err *e);
void kv_measure_free(kv_measure *m);

/* Forgets everything: the sequence is empty. */
void kv_measure_clear(kv_measure *m);

/* After every step of one token: takes in the new position and writes over those that have left the exact set. */
void kv_measure_stored(kv_measure *m);

#endif
