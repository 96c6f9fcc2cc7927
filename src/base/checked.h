/* Arithmetic on sizes that came from outside: every product and sum says whether it fits. */
#ifndef HEARTH_BASE_CHECKED_H
#define HEARTH_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* The next multiple of `unit`, a power of two; the caller has shown that it fits. */
static inline size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

static inline size_t ceil_div(size_t n, size_t d)
{
    return n / d + (n % d != 0);
}

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
