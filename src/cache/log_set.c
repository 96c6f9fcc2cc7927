/* The halving set: see log_set.h. */
#include "cache/log_set.h"

#include "kernels/attention.h"

#include <assert.h>

enum { SINKS = 4 };

size_t log_recent(size_t stored_tok, size_t window)
{
    return stored_tok < 2 * window ? 0 : (stored_tok / window - 1) * window;
}

size_t log_member(size_t stored_tok, size_t window, size_t p)
{
    assert(stored_tok >= 2 * window && p < window);
    size_t k = stored_tok / window - 2, s = 1;
    if (p == 0) return 0;
    while (p << s < window) s++;
    return s > k ? p << k : (k - s) * window + (p << s);
}

size_t log_slot(size_t m, size_t slot)
{
    return slot < SINKS ? slot : log_member(m * PAGE_TOK, PAGE_TOK, slot);
}

uint64_t log_mask(size_t m, size_t page)
{
    uint64_t mask = 0;
    for (size_t slot = 0; slot < PAGE_TOK; slot++) {
        size_t at = log_slot(m, slot);
        if (at / PAGE_TOK == page) mask |= (uint64_t)1 << at % PAGE_TOK;
    }
    return mask;
}
