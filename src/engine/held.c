/* Held text: see held.h. */
#include "engine/held.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/utf8.h"

size_t held_room(const view *stops, size_t stop_count, size_t piece_bytes)
{
    size_t longest_stop = 0;
    for (size_t i = 0; i < stop_count; i++) longest_stop = max_size(longest_stop, stops[i].len_bytes);
    return piece_bytes + longest_stop + UTF8_BYTES_MAX;
}

void held_drop(struct held *h)
{
    h->len -= h->given;
    memmove(h->text, h->text + h->given, h->len);
    h->given = 0;
}

/* The stop text that begins first, SIZE_MAX where there is none; *at is where it begins. */
static size_t find_stop(const struct held *h, size_t *at)
{
    size_t found = SIZE_MAX;
    *at = h->len;
    for (size_t i = 0; i < h->stop_count; i++) {
        const uint8_t *place = memmem(h->text, h->len, h->stops[i].ptr, h->stops[i].len_bytes);
        if (place == NULL || (size_t)(place - h->text) >= *at) continue;
        *at = (size_t)(place - h->text);
        found = i;
    }
    return found;
}

/* How many bytes can go: nothing behind them may begin a stop text, and no character may be cut. */
static size_t final_bytes(const struct held *h)
{
    size_t final = h->len;
    for (size_t i = 0; i < h->stop_count; i++) {
        view stop = h->stops[i];
        size_t longest = min_size(stop.len_bytes - 1, h->len);
        for (size_t n = longest; n > 0; n--) /* the text's last n bytes against the stop's first n */
            if (memcmp(h->text + h->len - n, stop.ptr, n) == 0) {
                final = min_size(final, h->len - n);
                break;
            }
    }
    return final - utf8_tail_bytes((view){ h->text, final });
}

view held_give(struct held *h, bool all, size_t *stop)
{
    size_t at;
    *stop = find_stop(h, &at);
    if (*stop != SIZE_MAX) h->len = h->given = at;
    else if (all) h->given = h->len -= utf8_tail_bytes((view){ h->text, h->len });
    else h->given = final_bytes(h);
    return (view){ h->text, h->given };
}
