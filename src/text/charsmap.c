/* Reading and walking a normalization map: see charsmap.h. */
#include "text/charsmap.h"

#include "base/checked.h"
#include "base/le.h"
#include "base/limits.h"

static bool measure_replacements(charsmap *m, err *e)
{
    const uint8_t *at = m->replacements.ptr, *end = at + m->replacements.len_bytes;
    if (m->replacements.len_bytes == 0 || end[-1] != 0)
        return fail(e, ERR_TRUNCATED, ERR_NO_OFFSET, "normalization map: %zu bytes of replacements, the last one open",
                    m->replacements.len_bytes);
    while (at < end) {
        size_t len = (size_t)((const uint8_t *)memchr(at, 0, (size_t)(end - at)) - at);
        if (len > REPLACEMENT_BYTES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "normalization map: a replacement of %zu bytes, allowed %d", len,
                        REPLACEMENT_BYTES_MAX);
        if (len > m->replacement_max) m->replacement_max = len;
        at += len + 1;
    }
    return true;
}

bool charsmap_new(charsmap *m, view bytes, arena *a, err *e)
{
    *m = (charsmap){ 0 };
    if (bytes.len_bytes == 0) return true;
    if (bytes.len_bytes > CHARSMAP_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "normalization map: %zu bytes, allowed %d", bytes.len_bytes,
                    CHARSMAP_BYTES_MAX);
    size_t trie_bytes = bytes.len_bytes < 4 ? 0 : le_u32(bytes.ptr);
    if (bytes.len_bytes < 4 || trie_bytes > bytes.len_bytes - 4)
        return fail(e, ERR_TRUNCATED, 0, "normalization map: %zu bytes, its trie alone takes %zu", bytes.len_bytes,
                    trie_bytes + 4);
    if (trie_bytes % 4 != 0 || trie_bytes == 0)
        return fail(e, ERR_VALUE, 0, "normalization map: a trie of %zu bytes, must be a multiple of 4 over 0",
                    trie_bytes);
    m->unit_count = trie_bytes / 4;
    m->units = ARENA_ARRAY(a, uint32_t, m->unit_count, "normalization map", e);
    if (m->units == NULL) return false;
    for (size_t i = 0; i < m->unit_count; i++) m->units[i] = le_u32(bytes.ptr + 4 + 4 * i);
    return arena_copy(a, view_after(bytes, 4 + trie_bytes), &m->replacements, "normalization map", e) &&
           measure_replacements(m, e);
}

static uint32_t unit_offset(uint32_t unit)
{
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

size_t charsmap_find(const charsmap *m, view text, view *becomes)
{
    size_t found_bytes = 0;
    if (m->unit_count == 0) return 0;
    uint32_t unit = m->units[0], at = unit_offset(unit);
    for (size_t i = 0; i < min_size(text.len_bytes, CHARSMAP_KEY_BYTES_MAX); i++) {
        at ^= text.ptr[i];
        if (at >= m->unit_count) break;
        unit = m->units[at];
        if ((unit & (1u << 31 | 0xFF)) != text.ptr[i]) break;
        at ^= unit_offset(unit);
        if ((unit & 1u << 8) == 0) continue;
        /* The value stands at label 0 of the node: where in the replacements to begin. */
        if (at >= m->unit_count) break;
        uint32_t value = m->units[at] & (UINT32_MAX >> 1);
        if (value >= m->replacements.len_bytes) break;
        const uint8_t *begin = m->replacements.ptr + value;
        const uint8_t *end = memchr(begin, 0, m->replacements.len_bytes - value); /* measured: there is one */
        *becomes = (view){ begin, (size_t)(end - begin) };
        found_bytes = i + 1;
    }
    return found_bytes;
}
