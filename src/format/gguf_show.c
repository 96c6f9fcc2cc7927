/* Metadata as text for people: one line, printable, bounded. */
#include "base/utf8.h"
#include "base/le.h"
#include "format/gguf_part.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Text that knows when it is full. Three bytes are kept for "...": at <= room_bytes - 4 until the end. */
typedef struct writer {
    char *room;
    size_t room_bytes, at;
    bool full;
} writer;

__attribute__((format(printf, 2, 3))) static void put(writer *w, const char *format, ...)
{
    char piece[64];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    assert(len >= 0 && (size_t)len < sizeof piece);
    if (w->full || (size_t)len > w->room_bytes - 4 - w->at) {
        w->full = true;
        return;
    }
    memcpy(w->room + w->at, piece, (size_t)len);
    w->at += (size_t)len;
}

/* Quoted. Bytes that are no UTF-8 and control characters as \xNN: whatever a file holds, a terminal stays as it was. */
static void put_string(writer *w, view text)
{
    put(w, "\"");
    for (size_t at = 0; at < text.len_bytes && !w->full;) {
        size_t len;
        uint32_t code = utf8_next(view_after(text, at), &len);
        const uint8_t *p = text.ptr + at;
        at += len;
        if (code == '"' || code == '\\') put(w, "\\%c", (char)code);
        else if (code == '\n') put(w, "\\n");
        else if (code == UTF8_INVALID) {
            for (size_t i = 0; i < len; i++) put(w, "\\x%02x", p[i]);
        } else if (code < 0x20 || (code >= 0x7F && code < 0xA0)) put(w, "\\u%04" PRIx32, code);
        /* Marks that turn the direction of what follows would let a value rewrite the line it stands in. */
        else if ((code >= 0x200E && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
                 (code >= 0x2066 && code <= 0x2069)) put(w, "\\u%04" PRIx32, code);
        else put(w, "%.*s", (int)len, (const char *)p);
    }
    put(w, "\"");
}

static void put_number(writer *w, enum gguf_type type, const uint8_t *p)
{
    switch (type) {
    case GGUF_U8: put(w, "%u", p[0]); break;
    case GGUF_I8: put(w, "%d", (int8_t)p[0]); break;
    case GGUF_U16: put(w, "%u", le_u16(p)); break;
    case GGUF_I16: put(w, "%d", (int16_t)le_u16(p)); break;
    case GGUF_U32: put(w, "%" PRIu32, le_u32(p)); break;
    case GGUF_I32: put(w, "%" PRId32, (int32_t)le_u32(p)); break;
    case GGUF_U64: put(w, "%" PRIu64, le_u64(p)); break;
    case GGUF_I64: put(w, "%" PRId64, (int64_t)le_u64(p)); break;
    case GGUF_F32: put(w, "%.9g", (double)le_f32(p)); break;
    case GGUF_F64: put(w, "%.17g", le_f64(p)); break;
    case GGUF_BOOL: put(w, "%s", p[0] != 0 ? "true" : "false"); break;
    case GGUF_STRING:
    case GGUF_ARRAY:
    case GGUF_TYPES: assert(false);
    }
}

static void put_items(writer *w, const gguf_pair *p)
{
    put(w, "%zu of %s: [", p->count, gguf_type_name(p->item_type));
    size_t at = 0, step = gguf_type_bytes(p->item_type);
    for (size_t i = 0; i < p->count && !w->full && p->item_type != GGUF_ARRAY; i++) {
        if (i > 0) put(w, ", ");
        if (step > 0) {
            put_number(w, p->item_type, p->bytes.ptr + i * step);
            continue;
        }
        view left = view_after(p->bytes, at);
        uint64_t len = left.len_bytes >= 8 ? le_u64(left.ptr) : UINT64_MAX;
        if (left.len_bytes < 8 || len > left.len_bytes - 8) break;
        put_string(w, (view){ left.ptr + 8, (size_t)len });
        at += 8 + (size_t)len;
    }
    put(w, p->item_type == GGUF_ARRAY ? "...]" : "]");
}

void gguf_show(const gguf_pair *pair, char *room, size_t room_bytes)
{
    assert(room_bytes >= 8);
    writer w = { .room = room, .room_bytes = room_bytes };
    if (pair->type == GGUF_STRING) put_string(&w, pair->bytes);
    else if (pair->type == GGUF_ARRAY) put_items(&w, pair);
    else put_number(&w, pair->type, pair->bytes.ptr);
    if (w.full) {
        memcpy(room + w.at, "...", 3);
        w.at += 3;
    }
    room[w.at] = '\0';
}
