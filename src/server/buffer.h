/* Bytes that grow: what a connection has received or still has to send, an answer that is kept. malloc and free, never
 * realloc: that may call mremap, which the front door's walls do not have. */
#ifndef HEARTH_SERVER_BUFFER_H
#define HEARTH_SERVER_BUFFER_H

#include "base/view.h"

struct buffer {
    uint8_t *ptr;
    size_t start_bytes, end_bytes, room_bytes; /* the bytes are ptr[start..end) */
};

/* Appends; false where it would hold over `limit_bytes`, or memory is out. */
bool buffer_add(struct buffer *b, view bytes, size_t limit_bytes);

/* Room for `want_bytes` more behind the end, or NULL; buffer_grew says how many were put there. */
uint8_t *buffer_room(struct buffer *b, size_t want_bytes, size_t limit_bytes);
void buffer_grew(struct buffer *b, size_t bytes);

/* Takes bytes from the front; memory is given back where none are left. */
void buffer_drop(struct buffer *b, size_t bytes);
void buffer_free(struct buffer *b);

static inline view buffer_view(const struct buffer *b)
{
    return b->ptr == NULL ? view_of("") : (view){ b->ptr + b->start_bytes, b->end_bytes - b->start_bytes };
}

#endif
