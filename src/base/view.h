/* base/ is the floor every other room stands on: bytes with bounds, errors as values, arenas, checked
 * arithmetic, limits, Unicode, randomness that is a function of its counter, and the thread team.
 * It owns no state at file scope, never exits, never prints, and knows nothing of models. Start here,
 * then err.h and arena.h: nearly every function of the program takes one of the three. */
#ifndef HEARTH_BASE_VIEW_H
#define HEARTH_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A span of bytes that somebody else owns. Never terminated: the length is the only bound. */
typedef struct view {
    const uint8_t *ptr;
    size_t len_bytes;
} view;

/* The view of a C string, its terminator left out. For literals and arguments of main alone. */
static inline view view_of(const char *text)
{
    return (view){ (const uint8_t *)text, strlen(text) };
}

static inline bool view_equal(view a, view b)
{
    return a.len_bytes == b.len_bytes && (a.len_bytes == 0 || memcmp(a.ptr, b.ptr, a.len_bytes) == 0);
}

static inline bool view_is(view a, const char *text)
{
    return view_equal(a, view_of(text));
}

static inline bool view_starts(view a, view prefix)
{
    return a.len_bytes >= prefix.len_bytes && view_equal((view){ a.ptr, prefix.len_bytes }, prefix);
}

/* What is left of `a` after its first `skip_bytes`; empty where there is no more. */
static inline view view_after(view a, size_t skip_bytes)
{
    return skip_bytes >= a.len_bytes ? (view){ a.ptr + a.len_bytes, 0 }
                                     : (view){ a.ptr + skip_bytes, a.len_bytes - skip_bytes };
}

#endif
