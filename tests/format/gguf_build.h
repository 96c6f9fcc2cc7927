/* GGUF bytes by hand, wrong ones too: shares no code with the reader or the writer it tests. */
#ifndef HEARTH_TESTS_FORMAT_GGUF_BUILD_H
#define HEARTH_TESTS_FORMAT_GGUF_BUILD_H

#include "base/view.h"

#include <assert.h>
#include <stdlib.h>

typedef struct build {
    uint8_t *bytes; /* zeroed; memory arrives when it is written */
    size_t len, room;
} build;

static inline build build_new(size_t room)
{
    build b = { .bytes = calloc(room, 1), .room = room };
    assert(b.bytes != NULL);
    return b;
}

static inline void put_raw(build *b, const void *bytes, size_t len)
{
    assert(len <= b->room - b->len);
    if (len > 0) memcpy(b->bytes + b->len, bytes, len);
    b->len += len;
}

static inline void put_int(build *b, uint64_t n, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(n >> (8 * i));
        put_raw(b, &byte, 1);
    }
}

static inline void put_u32(build *b, uint32_t n) { put_int(b, n, 4); }
static inline void put_u64(build *b, uint64_t n) { put_int(b, n, 8); }

/* Zeros, which the room holds already: huge pieces cost no memory. */
static inline void put_zeros(build *b, size_t len)
{
    assert(len <= b->room - b->len);
    b->len += len;
}

static inline void put_string(build *b, const char *text)
{
    put_u64(b, strlen(text));
    put_raw(b, text, strlen(text));
}

static inline void put_head(build *b, uint32_t version, uint64_t tensors, uint64_t pairs)
{
    put_raw(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, tensors);
    put_u64(b, pairs);
}

/* A pair up to its value. */
static inline void put_key(build *b, const char *key, uint32_t type)
{
    put_string(b, key);
    put_u32(b, type);
}

static inline void put_tensor(build *b, const char *name, uint32_t dim_count, const uint64_t *dims, uint32_t type,
                       uint64_t offset)
{
    put_string(b, name);
    put_u32(b, dim_count);
    for (uint32_t i = 0; i < dim_count; i++) put_u64(b, dims[i]);
    put_u32(b, type);
    put_u64(b, offset);
}

static inline void put_padding(build *b, size_t alignment)
{
    while (b->len % alignment != 0) put_int(b, 0, 1);
}

static inline view build_view(const build *b)
{
    return (view){ b->bytes, b->len };
}

#endif
