/* UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF (Unicode 15, table 3-7). */
#ifndef HEARTH_BASE_UTF8_H
#define HEARTH_BASE_UTF8_H

#include "base/view.h"

#define UTF8_INVALID UINT32_MAX

/* The character at `v.ptr` and its length in *len_bytes (1..4). Where the bytes are no character: UTF8_INVALID and the
 * length of the longest prefix that could have begun one, at least 1 (Unicode 15, 3.9, "maximal subpart"). `v` is not
 * empty. */
uint32_t utf8_next(view v, size_t *len_bytes);

/* Writes the character into `out` and returns its length, 1..4. `code` is a valid scalar value. */
size_t utf8_put(uint32_t code, uint8_t out[static 4]);

/* The offset of the first byte that is not part of valid UTF-8, or v.len_bytes. */
size_t utf8_valid_bytes(view v);

/* How many bytes at the end of `v` begin a character that is not complete: 0..3. Text is shown without them. */
size_t utf8_tail_bytes(view v);

#endif
