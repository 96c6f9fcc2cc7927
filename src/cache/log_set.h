/* The halving set of LogQuant (arXiv 2503.19950), in closed form. With T stored tokens and windows of W, the newest
 * T - log_recent(T, W) are exact, and so are W older ones: the last block of W that left thinned by two, the one before
 * by four, and so on down to token 0, which stays for ever.
 *
 *   T < 2W: everything is exact. Else k = T / W - 2, recent from (k + 1) W, and member p of the set is
 *   L(0) = 0;  p >= 1, s the smallest with p 2^s >= W:  p 2^k where s > k, else (k - s) W + p 2^s
 *
 * The log tiers use it with W = 64 and T = the first position of a page: see cache.h. */
#ifndef HEARTH_CACHE_LOG_SET_H
#define HEARTH_CACHE_LOG_SET_H

#include <stddef.h>
#include <stdint.h>

/* First position of the recent window. */
size_t log_recent(size_t stored_tok, size_t window);

/* Member p < window of the set, ascending in p; stored_tok >= 2 * window. */
size_t log_member(size_t stored_tok, size_t window, size_t p);

/* The position in slot 0..63 of the set that tokens of page m >= 2 see, ascending: 0..3, then members 4..63. */
size_t log_slot(size_t m, size_t slot);

/* Those of page `page` < m - 1 that are in the set of page m, as bits. */
uint64_t log_mask(size_t m, size_t page);

#endif
