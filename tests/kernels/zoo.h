/* Tensors of a trusted GGUF file (the reference vectors), for tests alone: no bounds are checked. */
#ifndef HEARTH_TESTS_ZOO_H
#define HEARTH_TESTS_ZOO_H

#include "base/file.h"
#include "base/le.h"

#include <string.h>

static const uint8_t *zoo_skip_value(const uint8_t *p, uint32_t type)
{
    static const uint8_t sizes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    if (type == 8) return p + 8 + le_u64(p);
    if (type != 9) return p + sizes[type];
    uint32_t of = le_u32(p);
    uint64_t n = le_u64(p + 4);
    p += 12;
    if (of != 8) return p + n * sizes[of];
    for (uint64_t i = 0; i < n; i++) p += 8 + le_u64(p);
    return p;
}

/* Fills rows, cols and type; NULL where the file lacks the tensor. */
static const uint8_t *zoo_tensor(view file, const char *name, size_t *rows, size_t *cols, uint32_t *type)
{
    const uint8_t *p = file.ptr + 24, *found = NULL;
    uint64_t tensors = le_u64(file.ptr + 8), values = le_u64(file.ptr + 16), offset = 0;
    for (uint64_t i = 0; i < values; i++) {
        p += 8 + le_u64(p);
        p = zoo_skip_value(p + 4, le_u32(p));
    }
    for (uint64_t i = 0; i < tensors; i++) {
        view here = { p + 8, (size_t)le_u64(p) };
        p += 8 + here.len_bytes;
        uint32_t dims = le_u32(p);
        if (view_is(here, name)) {
            found = p;
            *cols = (size_t)le_u64(p + 4);
            *rows = dims > 1 ? (size_t)le_u64(p + 12) : 1;
            *type = le_u32(p + 4 + 8 * dims);
            offset = le_u64(p + 8 + 8 * dims);
        }
        p += 16 + 8 * dims;
    }
    size_t data = ((size_t)(p - file.ptr) + 31) / 32 * 32;
    return found != NULL ? file.ptr + data + offset : NULL;
}

#endif
