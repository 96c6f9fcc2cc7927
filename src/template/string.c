/* Text with origins: building, cutting, searching. See value.h. */
#include "template/value.h"

#include "base/checked.h"
#include "base/utf8.h"

#include <assert.h>

/* ---- building ---- */

/* Grows by doubling, so that building stays linear; what is left behind goes with the arena. */
static bool room(context *c, struct builder *b, size_t more)
{
    size_t want;
    if (!add_size(b->len, more, &want) || want > c->output_max)
        return raise_limit(c, "text over the limit of %zu bytes", c->output_max);
    if (want <= b->capacity) return true;
    size_t capacity = max_size(want, max_size(2 * b->capacity, 32));
    uint8_t *moved = render_take(c, capacity, 1);
    if (moved == NULL) return false;
    if (b->len > 0) memcpy(moved, b->bytes, b->len);
    b->bytes = moved;
    b->capacity = capacity;
    return true;
}

/* The bytes up to b->len have this origin from the end of the last run on. */
static bool run_to(context *c, struct builder *b, size_t end, enum template_origin origin)
{
    if (b->run_count > 0 && b->runs[b->run_count - 1].origin == origin) {
        b->runs[b->run_count - 1].end = (uint32_t)end;
        return true;
    }
    if (b->run_count == b->run_capacity) {
        size_t capacity = b->run_capacity < 4 ? 4 : 2 * b->run_capacity;
        origin_run *moved = render_take(c, capacity, sizeof *moved);
        if (moved == NULL) return false;
        if (b->run_count > 0) memcpy(moved, b->runs, b->run_count * sizeof *moved);
        b->runs = moved;
        b->run_capacity = capacity;
    }
    b->runs[b->run_count++] = (origin_run){ (uint32_t)end, origin };
    return true;
}

/* The only place where bytes enter a string under construction, so each of them has an origin. */
bool string_put(context *c, struct builder *b, view bytes, enum template_origin origin)
{
    if (bytes.len_bytes == 0) return true;
    if (!room(c, b, bytes.len_bytes) || !render_charge(c, bytes.len_bytes / 64)) return false;
    memcpy(b->bytes + b->len, bytes.ptr, bytes.len_bytes);
    b->len += bytes.len_bytes;
    return run_to(c, b, b->len, origin);
}

/* A part of a string with the origins it has there. */
bool string_put_part(context *c, struct builder *b, const value *s, size_t from, size_t to)
{
    assert(from <= to && to <= s->len);
    if (s->run_count == 0) return string_put(c, b, (view){ s->as.bytes + from, to - from }, s->origin);
    if (!render_charge(c, s->run_count / 8)) return false;
    for (size_t i = 0, start = 0; i < s->run_count; start = s->run[i++].end) {
        size_t first = max_size(start, from), last = min_size(s->run[i].end, to);
        if (first < last && !string_put(c, b, (view){ s->as.bytes + first, last - first }, s->run[i].origin))
            return false;
    }
    return true;
}

bool string_put_value(context *c, struct builder *b, const value *s)
{
    return string_put_part(c, b, s, 0, s->len);
}

bool string_put_char(context *c, struct builder *b, uint32_t code, enum template_origin origin)
{
    uint8_t bytes[4];
    size_t len = utf8_put(code, bytes);
    return string_put(c, b, (view){ bytes, len }, origin);
}

/* The finished string; its `origin` is the least trusted one in it, which is what repr and tojson go by. */
value string_built(struct builder *b)
{
    value v = of_view(b->bytes == NULL ? view_of("") : (view){ b->bytes, b->len }, ORIGIN_TEMPLATE);
    for (size_t i = 0; i < b->run_count; i++)
        if (b->runs[i].origin > v.origin) v.origin = (uint8_t)b->runs[i].origin;
    if (b->run_count > 1) {
        v.run = b->runs;
        v.run_count = (uint32_t)b->run_count;
    }
    return v;
}

/* ---- cutting ---- */

enum template_origin string_origin_at(const value *s, size_t byte)
{
    for (size_t i = 0; i < s->run_count; i++)
        if (byte < s->run[i].end) return (enum template_origin)s->run[i].origin;
    return (enum template_origin)s->origin;
}

/* Bytes [from, to): without runs pointer arithmetic, with runs the list cut to fit. */
value string_part(context *c, const value *s, size_t from, size_t to)
{
    assert(from <= to && to <= s->len);
    value v = *s;
    v.as.bytes += from;
    v.len = to - from;
    if (s->run_count == 0 || (from == 0 && to == s->len)) return v;
    if (!render_charge(c, s->run_count / 8)) return of_kind(MISSING);
    size_t first = 0, last = 0; /* the runs that the part touches */
    while (first < s->run_count && s->run[first].end <= from) first++;
    for (last = first; last < s->run_count && s->run[last].end < to;) last++;
    v.run = NULL;
    v.run_count = 0;
    v.origin = (uint8_t)(first < s->run_count ? s->run[first].origin : (uint32_t)s->origin);
    if (v.len == 0 || first == last) return v;
    origin_run *runs = render_take(c, last - first + 1, sizeof *runs);
    if (runs == NULL) return of_kind(MISSING);
    for (size_t i = first; i <= last; i++) {
        runs[i - first] = (origin_run){ (uint32_t)(min_size(s->run[i].end, to) - from), s->run[i].origin };
        if (s->run[i].origin > v.origin) v.origin = (uint8_t)s->run[i].origin;
    }
    v.run = runs;
    v.run_count = (uint32_t)(last - first + 1);
    return v;
}

/* ---- searching; strings are valid UTF-8, so a character's first byte tells its length ---- */

/* Counts first bytes: the strings are valid UTF-8, which the readers of templates and variables have checked. */
size_t string_chars(view text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len_bytes; i++) count += (text.ptr[i] & 0xC0) != 0x80;
    return count;
}

size_t string_char_offset(view text, size_t index)
{
    size_t at = 0;
    for (; index > 0 && at < text.len_bytes; index--) do
            at++;
        while (at < text.len_bytes && (text.ptr[at] & 0xC0) == 0x80);
    return at;
}

bool string_find(view text, size_t from, view needle, size_t *at)
{
    if (from > text.len_bytes) return false;
    if (needle.len_bytes == 0) {
        *at = from;
        return true;
    }
    const uint8_t *hit = memmem(text.ptr + from, text.len_bytes - from, needle.ptr, needle.len_bytes);
    if (hit == NULL) return false;
    *at = (size_t)(hit - text.ptr);
    return true;
}

/* The naive way, because its uses are short; callers pay for both lengths. */
bool string_find_last(view text, size_t to, view needle, size_t *at)
{
    for (size_t start = to + 1; start-- > 0;) {
        if (text.len_bytes - start < needle.len_bytes || start + needle.len_bytes > to) continue;
        if (needle.len_bytes > 0 && memcmp(text.ptr + start, needle.ptr, needle.len_bytes) != 0) continue;
        *at = start;
        return true;
    }
    return false;
}
