/* Arenas: see arena.h. */
#include "base/arena.h"

#include "base/checked.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

bool arena_new(arena *a, size_t size_bytes, err *e)
{
    assert(a != NULL);
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE), padded;
    *a = (arena){ 0 };
    if (!add_size(size_bytes, page_bytes, &padded))
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "arena: %zu bytes, more than there are addresses", size_bytes);
    padded = padded / page_bytes * page_bytes;
    void *base = mmap(NULL, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "arena: no room for %zu bytes", size_bytes);
    *a = (arena){ .base = base, .size_bytes = padded };
    return true;
}

void arena_free(arena *a)
{
    if (a->base != NULL) munmap(a->base, a->size_bytes);
    *a = (arena){ 0 };
}

void arena_huge(arena *a)
{
    madvise(a->base, a->size_bytes, MADV_HUGEPAGE);
}

void *arena_take(arena *a, size_t count, size_t each_bytes, size_t align, const char *what, err *e)
{
    assert(align != 0 && (align & (align - 1)) == 0 && align <= 4096);
    assert(a->used_bytes <= a->size_bytes);
    size_t want_bytes, start = round_up(a->used_bytes, align); /* used <= size, a page under SIZE_MAX: no wrap */
    if (!mul_size(count, each_bytes, &want_bytes) || start > a->size_bytes || want_bytes > a->size_bytes - start) {
        err_set(e, ERR_MEMORY, ERR_NO_OFFSET, "%s: %zu x %zu bytes, %zu left in the arena", what, count, each_bytes,
                a->size_bytes - a->used_bytes);
        return NULL;
    }
    a->used_bytes = start + want_bytes;
    return a->base + start;
}

void arena_rewind(arena *a, size_t mark_bytes)
{
    assert(mark_bytes <= a->used_bytes);
    memset(a->base + mark_bytes, 0, a->used_bytes - mark_bytes);
    a->used_bytes = mark_bytes;
}

bool arena_copy(arena *a, view v, view *out, const char *what, err *e)
{
    size_t want_bytes;
    if (!add_size(v.len_bytes, 1, &want_bytes)) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "%s: too long", what);
    uint8_t *copy = arena_take(a, want_bytes, 1, 1, what, e);
    if (copy == NULL) return false;
    if (v.len_bytes > 0) memcpy(copy, v.ptr, v.len_bytes);
    *out = (view){ copy, v.len_bytes };
    return true;
}
