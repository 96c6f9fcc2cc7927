/* One arena a lifetime (model, session, request, training step): everything in it is taken by counting up and goes
 * away at once. The address space is reserved at the start and memory arrives when it is first touched, so a generous
 * size costs nothing, and a size from outside data can never pass the plan.
 *
 *   base                       used                                size
 *    | object | pad | object | .  .  .  free, reads as zero  .  .  . |
 */
#ifndef HEARTH_BASE_ARENA_H
#define HEARTH_BASE_ARENA_H

#include "base/err.h"
#include "base/view.h"

typedef struct arena {
    uint8_t *base;
    size_t size_bytes;
    size_t used_bytes;
} arena;

/* Reserves `size_bytes` (rounded up to a page). Errors: ERR_MEMORY. The owner calls arena_free. */
bool arena_new(arena *a, size_t size_bytes, err *e);
void arena_free(arena *a); /* an arena of all zeros is free already */

/* Advises the system to back the arena with huge pages: for one that is filled whole and walked across pages, as the
 * rows of a product's output are. Nothing is lost where there are none. */
void arena_huge(arena *a);

/* `count` objects of `each_bytes`, zeroed, aligned to `align` (a power of two up to 4096). NULL and ERR_MEMORY where
 * the arena has no room; `what` names the thing. A count of 0 gives a valid pointer. */
void *arena_take(arena *a, size_t count, size_t each_bytes, size_t align, const char *what, err *e);

/* Gives everything taken after `mark` (an earlier used_bytes) back, zeroed again. */
void arena_rewind(arena *a, size_t mark_bytes);

/* A copy of `v` in the arena, followed by a zero byte that its length leaves out. */
bool arena_copy(arena *a, view v, view *out, const char *what, err *e);

/* arena_take for `count` objects of a type, aligned for it. */
#define ARENA_ARRAY(a, type, count, what, e)                                                                           \
    ((type *)arena_take((a), (count), sizeof(type), _Alignof(type), (what), (e)))

#endif
