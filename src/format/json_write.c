/* Writing JSON: see json.h. */
#include "format/json.h"

#include "base/checked.h"
#include "base/utf8.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* What may come next at one depth; an object alternates between the two KEY states and VALUE. */
enum { FIRST_ITEM, NEXT_ITEM, FIRST_KEY, NEXT_KEY, VALUE };

void json_writer_start(json_writer *w, arena *a, size_t limit_bytes, err *e)
{
    *w = (json_writer){ .arena = a, .e = e, .limit_bytes = limit_bytes };
}

/* Room for `more` bytes. While nothing else was taken from the arena the buffer grows in place; else it moves, at
 * least doubled, so that the copies stay linear in the text. */
static bool reserve(json_writer *w, size_t more)
{
    if (w->failed) return false;
    if (more <= w->capacity_bytes - w->len_bytes) return true;
    if (more > w->limit_bytes - w->len_bytes) {
        err_set(w->e, ERR_LIMIT, w->len_bytes, "JSON text: over %zu bytes", w->limit_bytes);
        w->failed = true;
        return false;
    }
    size_t want = min_size(max_size(w->len_bytes + more, max_size(2 * w->capacity_bytes, 256)), w->limit_bytes);
    bool last = w->ptr != NULL && w->ptr + w->capacity_bytes == w->arena->base + w->arena->used_bytes;
    uint8_t *grown = arena_take(w->arena, last ? want - w->capacity_bytes : want, 1, 1, "JSON text", w->e);
    w->failed = grown == NULL;
    if (w->failed) return false;
    if (!last) {
        if (w->len_bytes > 0) memcpy(grown, w->ptr, w->len_bytes);
        w->ptr = grown;
    }
    w->capacity_bytes = want;
    return true;
}

static void put(json_writer *w, const void *bytes, size_t len)
{
    if (len == 0 || !reserve(w, len)) return;
    memcpy(w->ptr + w->len_bytes, bytes, len);
    w->len_bytes += len;
}

/* What stands between the previous value and this one. */
static void separate(json_writer *w)
{
    uint8_t *state = &w->state[w->depth];
    assert(*state == FIRST_ITEM || *state == NEXT_ITEM || *state == VALUE);
    assert(w->depth > 0 || *state == FIRST_ITEM); /* one value at the top */
    if (*state == NEXT_ITEM) put(w, ", ", w->spaced ? 2 : 1);
    *state = *state == VALUE ? NEXT_KEY : NEXT_ITEM;
}

static void begin(json_writer *w, char bracket, uint8_t state)
{
    separate(w);
    put(w, &bracket, 1);
    if (w->depth == JSON_DEPTH_MAX) {
        if (!w->failed) err_set(w->e, ERR_LIMIT, w->len_bytes, "JSON text: nesting over %d", JSON_DEPTH_MAX);
        w->failed = true;
        return;
    }
    w->state[++w->depth] = state;
}

static void end(json_writer *w, char bracket, uint8_t first, uint8_t next)
{
    if (w->failed) return; /* the depth may not be the caller's any more */
    assert(w->depth > 0 && (w->state[w->depth] == first || w->state[w->depth] == next));
    w->depth--;
    put(w, &bracket, 1);
}

void json_begin_object(json_writer *w)
{
    if (!w->failed) begin(w, '{', FIRST_KEY);
}

void json_end_object(json_writer *w)
{
    end(w, '}', FIRST_KEY, NEXT_KEY);
}

void json_begin_array(json_writer *w)
{
    if (!w->failed) begin(w, '[', FIRST_ITEM);
}

void json_end_array(json_writer *w)
{
    end(w, ']', FIRST_ITEM, NEXT_ITEM);
}

view json_escape(uint8_t byte)
{
    static const char table[32][7] = {
        "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007",
        "\\b",     "\\t",     "\\n",     "\\u000b", "\\f",     "\\r",     "\\u000e", "\\u000f",
        "\\u0010", "\\u0011", "\\u0012", "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017",
        "\\u0018", "\\u0019", "\\u001a", "\\u001b", "\\u001c", "\\u001d", "\\u001e", "\\u001f",
    };
    if (byte < 32) return view_of(table[byte]);
    return byte == '"' ? view_of("\\\"") : byte == '\\' ? view_of("\\\\") : (view){ NULL, 0 };
}

static void put_string(json_writer *w, view text)
{
    put(w, "\"", 1);
    size_t plain = 0; /* start of the bytes that are written as they are */
    for (size_t at = 0; at < text.len_bytes;) {
        size_t len = 1;
        view instead = json_escape(text.ptr[at]);
        if (text.ptr[at] >= 0x80 && utf8_next(view_after(text, at), &len) == UTF8_INVALID)
            instead = view_of("\xEF\xBF\xBD");
        if (instead.len_bytes > 0) {
            put(w, text.ptr + plain, at - plain);
            put(w, instead.ptr, instead.len_bytes);
            plain = at + len;
        }
        at += len;
    }
    put(w, text.ptr + plain, text.len_bytes - plain);
    put(w, "\"", 1);
}

void json_key_view(json_writer *w, view name)
{
    if (w->failed) return;
    uint8_t *state = &w->state[w->depth];
    assert(*state == FIRST_KEY || *state == NEXT_KEY);
    if (*state == NEXT_KEY) put(w, ", ", w->spaced ? 2 : 1);
    *state = VALUE;
    put_string(w, name);
    put(w, ": ", w->spaced ? 2 : 1);
}

void json_key(json_writer *w, const char *name)
{
    json_key_view(w, view_of(name));
}

void json_string(json_writer *w, view text)
{
    if (w->failed) return;
    separate(w);
    put_string(w, text);
}

void json_text(json_writer *w, const char *text)
{
    json_string(w, view_of(text));
}

void json_raw(json_writer *w, view json)
{
    if (w->failed) return;
    separate(w);
    put(w, json.ptr, json.len_bytes);
}

void json_int(json_writer *w, int64_t value)
{
    char text[24];
    json_raw(w, (view){ (const uint8_t *)text, (size_t)snprintf(text, sizeof text, "%lld", (long long)value) });
}

void json_uint(json_writer *w, uint64_t value)
{
    char text[24];
    json_raw(w,
             (view){ (const uint8_t *)text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value) });
}

void json_double(json_writer *w, double value)
{
    char text[JSON_DOUBLE_BYTES];
    json_raw(w, isfinite(value) ? (view){ (const uint8_t *)text, json_double_text(value, text) } : view_of("null"));
}

void json_bool(json_writer *w, bool value)
{
    json_raw(w, view_of(value ? "true" : "false"));
}

void json_null(json_writer *w)
{
    json_raw(w, view_of("null"));
}

void json_copy(json_writer *w, const json_value *v) /* recursion: at most JSON_DEPTH_MAX */
{
    switch (v->type) {
    case JSON_NULL:
        json_null(w);
        break;
    case JSON_FALSE:
    case JSON_TRUE:
        json_bool(w, v->type == JSON_TRUE);
        break;
    case JSON_INT:
    case JSON_FLOAT:
        json_raw(w, v->text);
        break;
    case JSON_STRING:
        json_string(w, v->text);
        break;
    case JSON_ARRAY:
        json_begin_array(w);
        JSON_EACH(item, v) json_copy(w, item);
        json_end_array(w);
        break;
    case JSON_OBJECT:
        json_begin_object(w);
        JSON_EACH(member, v)
        {
            json_key_view(w, member->key);
            json_copy(w, member);
        }
        json_end_object(w);
        break;
    }
}

bool json_done(json_writer *w, view *out)
{
    if (w->failed) return false;
    assert(w->depth == 0 && w->state[0] == NEXT_ITEM); /* one whole value */
    *out = (view){ w->ptr, w->len_bytes };
    return true;
}

/* The fewest digits that read back as `value`: printf's "%.*e" rounds correctly, so the first precision that reads back
 * is the shortest, and it is the nearest of that length. Seventeen digits always do (IEEE 754, 5.12.2). */
size_t json_double_text(double value, char out[static JSON_DOUBLE_BYTES])
{
    if (!isfinite(value))
        return (size_t)snprintf(out, JSON_DOUBLE_BYTES, "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
    char e[JSON_DOUBLE_BYTES];
    int precision = 0;
    do snprintf(e, sizeof e, "%.*e", precision, value);
    while (strtod(e, NULL) != value && ++precision < 17);
    int exponent = (int)strtol(strchr(e, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16) { /* Python: repr of float, format code 'r' */
        char *mark = strchr(e, 'e');
        return (size_t)snprintf(out, JSON_DOUBLE_BYTES, "%.*se%c%02d", (int)(mark - e), e, exponent < 0 ? '-' : '+',
                                abs(exponent));
    }
    int decimals = precision - exponent; /* digits after the point that are not padding */
    return (size_t)snprintf(out, JSON_DOUBLE_BYTES, "%.*f", decimals > 1 ? decimals : 1, value);
}
