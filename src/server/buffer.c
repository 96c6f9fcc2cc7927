/* Bytes that grow: see buffer.h. */
#include "server/buffer.h"

#include "base/checked.h"

#include <assert.h>
#include <stdlib.h>

enum { BUFFER_BYTES_MIN = 512 };

uint8_t *buffer_room(struct buffer *b, size_t want_bytes, size_t limit_bytes)
{
    size_t held = b->end_bytes - b->start_bytes;
    if (want_bytes > limit_bytes || held > limit_bytes - want_bytes) return NULL;
    if (want_bytes <= b->room_bytes - b->end_bytes) return b->ptr + b->end_bytes;
    size_t room = max_size(held + want_bytes, BUFFER_BYTES_MIN);
    if (held > 0) room = max_size(room, min_size(2 * held, limit_bytes)); /* copies stay linear in the bytes */
    uint8_t *grown = malloc(room);
    if (grown == NULL) return NULL;
    if (held > 0) memcpy(grown, b->ptr + b->start_bytes, held);
    free(b->ptr);
    *b = (struct buffer){ grown, 0, held, room };
    return grown + held;
}

void buffer_grew(struct buffer *b, size_t bytes)
{
    assert(bytes <= b->room_bytes - b->end_bytes);
    b->end_bytes += bytes;
}

bool buffer_add(struct buffer *b, view bytes, size_t limit_bytes)
{
    if (bytes.len_bytes == 0) return true;
    uint8_t *place = buffer_room(b, bytes.len_bytes, limit_bytes);
    if (place == NULL) return false;
    memcpy(place, bytes.ptr, bytes.len_bytes);
    buffer_grew(b, bytes.len_bytes);
    return true;
}

void buffer_drop(struct buffer *b, size_t bytes)
{
    assert(bytes <= b->end_bytes - b->start_bytes);
    b->start_bytes += bytes;
    if (b->start_bytes == b->end_bytes) buffer_free(b);
}

void buffer_free(struct buffer *b)
{
    free(b->ptr);
    *b = (struct buffer){ 0 };
}
