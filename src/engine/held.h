/* Text that is on its way out: what could still become a stop text, or is half a character, is held back until it is
 * known. Text goes out the same however tokens cut it. */
#ifndef HEARTH_ENGINE_HELD_H
#define HEARTH_ENGINE_HELD_H

#include "base/view.h"

/* `text` has room for the longest piece added at once, the longest stop text and a character. */
struct held {
    uint8_t *text;
    size_t room, len;
    size_t given; /* of `len`: gone with the last call */
    const view *stops;
    size_t stop_count;
};

/* Bytes that `text` needs for pieces of at most `piece_bytes`. */
size_t held_room(const view *stops, size_t stop_count, size_t piece_bytes);

/* Takes what the last call gave out away, so that `text` holds only what is still held. Before each new piece. */
void held_drop(struct held *h);

/* What goes out now. A stop text ends it: *stop is its index, else SIZE_MAX, and nothing behind its begin goes out.
 * `all`: a border or the end, so what was held goes too, but for a character that was never completed. Valid until
 * held_drop. */
view held_give(struct held *h, bool all, size_t *stop);

#endif
