/* UTF-8: see utf8.h. */
#include "base/utf8.h"

#include <assert.h>

uint32_t utf8_next(view v, size_t *len_bytes)
{
    assert(v.len_bytes > 0);
    uint8_t first = v.ptr[0];
    *len_bytes = 1;
    if (first < 0x80) return first;
    if (first < 0xC2 || first > 0xF4) return UTF8_INVALID;
    size_t want = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    uint32_t code = first & (0x7Fu >> want);
    /* The second byte's range is narrower where the first is E0, ED, F0 or F4: overlong forms, surrogates, the end. */
    uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < want; i++) {
        if (i >= v.len_bytes || v.ptr[i] < low || v.ptr[i] > high) return UTF8_INVALID;
        code = code << 6 | (v.ptr[i] & 0x3Fu);
        *len_bytes = i + 1;
        low = 0x80;
        high = 0xBF;
    }
    return code;
}

size_t utf8_put(uint32_t code, uint8_t out[static 4])
{
    assert(code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF));
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, code >>= 6) out[i] = (uint8_t)(0x80 | (code & 0x3F));
    out[0] = (uint8_t)(0xF00u >> len | code); /* 110xxxxx, 1110xxxx, 11110xxx */
    return len;
}

size_t utf8_valid_bytes(view v)
{
    size_t at = 0;
    while (at < v.len_bytes) {
        size_t len;
        if (utf8_next(view_after(v, at), &len) == UTF8_INVALID) return at;
        at += len;
    }
    return at;
}

size_t utf8_tail_bytes(view v)
{
    for (size_t back = 1; back <= 3 && back <= v.len_bytes; back++) {
        uint8_t byte = v.ptr[v.len_bytes - back];
        if (byte < 0x80) return 0;
        if (byte < 0xC0) continue;
        size_t len;
        bool whole = utf8_next((view){ v.ptr + v.len_bytes - back, back }, &len) != UTF8_INVALID;
        size_t want = byte < 0xC2 || byte > 0xF4 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
        return !whole && len == back && want > back ? back : 0;
    }
    return 0;
}
