/* Building the index of texts: see text_index.h. */
#include "text/text_index.h"

#include "base/checked.h"

static size_t slot_count(size_t count)
{
    size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    return slots;
}

size_t index_bytes(size_t count)
{
    return (slot_count(count) + TOKEN_BYTES_MAX + 1) * sizeof(uint64_t) + 64;
}

static bool add(text_index *x, int32_t id, err *e)
{
    view text = index_text(x, id);
    uint64_t mixed = hash_mix(hash_text(text));
    size_t at = mixed & x->mask, probes = 0;
    for (; x->slots[at] != 0; at = (at + 1) & x->mask) {
        if (++probes > PROBES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "token %d: %zu texts with one hash, allowed %d", (int)id, probes,
                        PROBES_MAX);
        int32_t other = (int32_t)((x->slots[at] & UINT32_MAX) - 1);
        if (x->slots[at] >> 32 == mixed >> 32 && view_equal(index_text(x, other), text))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "tokens %d and %d: both are \"%.*s\", a text has one token",
                        (int)other, (int)id, (int)min_size(text.len_bytes, 64), (const char *)text.ptr);
    }
    x->slots[at] = mixed >> 32 << 32 | ((uint64_t)(uint32_t)id + 1);
    return true;
}

bool index_new(text_index *x, const uint8_t *pool, const uint32_t *text_at, size_t count, arena *a, err *e)
{
    size_t slots = slot_count(count);
    *x = (text_index){ ARENA_ARRAY(a, uint64_t, slots, "index of tokens", e), slots - 1, pool, text_at,
                       ARENA_ARRAY(a, uint64_t, TOKEN_BYTES_MAX + 1, "index of tokens", e) };
    if (x->slots == NULL || x->powers == NULL) return false;
    x->powers[0] = 1;
    for (size_t i = 1; i <= TOKEN_BYTES_MAX; i++) x->powers[i] = x->powers[i - 1] * HASH_BASE;
    for (size_t id = 0; id < count; id++)
        if (text_at[id + 1] > text_at[id] && !add(x, (int32_t)id, e)) return false;
    return true;
}
