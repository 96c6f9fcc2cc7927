/* Text with origins: putting together, cutting, searching, letters. Strings are valid UTF-8: the readers of templates
 * and variables have checked it, so a character's first byte tells its length. */
#include "template/value.h"

#include "base/unicode.h"
#include "base/utf8.h"

#include <assert.h>

/* ---- putting together ---- */

/* The only place where bytes enter a string under construction, so each of them has an origin. */
void string_put(context *c, struct builder *b, view bytes, unsigned origin)
{
    size_t want = b->len + bytes.len_bytes; /* of two lengths in memory: cannot wrap */
    if (bytes.len_bytes == 0 || !render_charge(c, bytes.len_bytes / 64)) return;
    if (want > c->output_max) {
        render_fail(c, ERR_LIMIT, "text over the limit of %zu bytes", c->output_max);
        return;
    }
    uint8_t *text = render_grow(c, b->bytes, b->len, want, &b->capacity, 1);
    if (text == NULL) return;
    memcpy(text + b->len, bytes.ptr, bytes.len_bytes);
    b->bytes = text;
    b->len = want;
    if (b->run_count == 0 || b->runs[b->run_count - 1].origin != origin) {
        origin_run *runs = render_grow(c, b->runs, b->run_count, b->run_count + 1, &b->run_capacity, sizeof *runs);
        if (runs == NULL) return;
        b->runs = runs;
        b->runs[b->run_count++].origin = origin;
    }
    b->runs[b->run_count - 1].end = (uint32_t)want;
}

void string_put_value(context *c, struct builder *b, value s)
{
    if (s.run == NULL) {
        string_put(c, b, view_in(s), s.origin);
        return;
    }
    const origin_run *r = s.run;
    for (size_t at = 0; at < s.len && render_charge(c, 1); r++) {
        size_t end = min_size(r->end - s.start, s.len);
        string_put(c, b, (view){ s.as.bytes + at, end - at }, r->origin);
        at = end;
    }
}

void string_put_code(context *c, struct builder *b, uint32_t code, unsigned origin)
{
    uint8_t bytes[4];
    size_t len = utf8_put(code, bytes);
    string_put(c, b, (view){ bytes, len }, origin);
}

value string_built(struct builder *b)
{
    value v = of_view(b->len == 0 ? view_of("") : (view){ b->bytes, b->len }, ORIGIN_TEMPLATE);
    for (size_t i = 0; i < b->run_count; i++)
        if (b->runs[i].origin > v.origin) v.origin = (uint8_t)b->runs[i].origin;
    if (b->run_count > 1) v.run = b->runs;
    return v;
}

/* ---- cutting ---- */

value string_part(context *c, value s, size_t from, size_t to)
{
    assert(from <= to && to <= s.len);
    s.as.bytes += from;
    s.len = to - from;
    if (s.run == NULL) return s;
    s.start += (uint32_t)from;
    size_t passed = 0;
    if (s.len > 0)
        while (s.run->end <= s.start) s.run++, passed++;
    if (s.len == 0 || s.run->end >= s.start + s.len) { /* of one origin */
        if (s.len > 0) s.origin = (uint8_t)s.run->origin;
        s.run = NULL;
        s.start = 0;
    }
    render_charge(c, passed / 8);
    return s;
}

unsigned string_origin(value s)
{
    if (s.run == NULL) return s.origin;
    unsigned origin = ORIGIN_TEMPLATE;
    for (const origin_run *r = s.run;; r++) {
        if (r->origin > origin) origin = r->origin;
        if (origin == ORIGIN_TEXT || r->end >= s.start + s.len) return origin;
    }
}

/* ---- searching ---- */

uint32_t string_code(value s, size_t at, size_t *len_bytes)
{
    return utf8_next(view_after(view_in(s), at), len_bytes);
}

size_t string_length(value s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++) count += (s.as.bytes[i] & 0xC0) != 0x80;
    return count;
}

size_t string_offset(value s, size_t at, size_t count)
{
    for (; count > 0 && at < s.len; count--) do
            at++;
        while (at < s.len && (s.as.bytes[at] & 0xC0) == 0x80);
    return at;
}

bool string_find(value s, size_t from, value needle, size_t *at)
{
    if (from > s.len) return false;
    *at = from;
    if (needle.len == 0) return true;
    const uint8_t *hit = memmem(s.as.bytes + from, s.len - from, needle.as.bytes, needle.len);
    if (hit != NULL) *at = (size_t)(hit - s.as.bytes);
    return hit != NULL;
}

/* The naive way, because its uses are short; paid for by both lengths. */
bool string_find_last(context *c, value s, value needle, size_t *at)
{
    if (needle.len > s.len || !render_charge(c, s.len * (1 + needle.len) / 64)) return false;
    for (*at = s.len - needle.len;; --*at) {
        if (needle.len == 0 || memcmp(s.as.bytes + *at, needle.as.bytes, needle.len) == 0) return true;
        if (*at == 0) return false;
    }
}

/* ---- letters ---- */

bool string_is_space(uint32_t code)
{
    if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13) || (code >= 28 && code <= 31);
    return (unicode_facts_of(code).flags & UNICODE_WHITE_SPACE) != 0;
}

bool string_is_word(uint32_t code)
{
    enum unicode_category category = unicode_facts_of(code).category;
    return (category >= UNICODE_LU && category <= UNICODE_LO) || (category >= UNICODE_ND && category <= UNICODE_NO);
}

bool string_is_line_end(uint32_t code)
{
    return (code >= 10 && code <= 13) || (code >= 28 && code <= 30) || code == 0x85 || code == 0x2028 || code == 0x2029;
}

value string_cased(context *c, value s, enum string_case to)
{
    struct builder b = { 0 };
    bool inside = false; /* of a word, after its first letter */
    for (size_t at = 0, len; at < s.len && render_charge(c, 1); at += len) {
        uint32_t code = string_code(s, at, &len), lower = unicode_lower(code), upper[UNICODE_UPPER_MAX];
        size_t count = unicode_upper(code, upper);
        bool up = to == CASE_UPPER || (to != CASE_LOWER && !inside);
        unsigned origin = string_origin(string_part(c, s, at, at + len));
        if (!up) string_put_code(c, &b, lower, origin);
        for (size_t i = 0; up && i < count; i++) /* the title case of SS is Ss */
            string_put_code(c, &b, i > 0 && to != CASE_UPPER ? unicode_lower(upper[i]) : upper[i], origin);
        inside = to == CASE_CAPITAL || lower != code || upper[0] != code;
    }
    return string_built(&b);
}

/* Is the character [from, to) one of `chars`? UTF-8 is found only where a character begins. */
static bool in_set(context *c, value s, size_t from, size_t to, value chars)
{
    size_t at;
    if (chars.kind != STRING) return string_is_space(string_code(s, from, &at));
    return render_charge(c, (8 + chars.len) / 16) && string_find(chars, 0, string_part(c, s, from, to), &at);
}

value string_stripped(context *c, value s, value chars, int sides)
{
    size_t from = 0, to = s.len, next;
    for (; (sides & STRIP_LEFT) && from < to; from = next)
        if (next = string_offset(s, from, 1), !in_set(c, s, from, next, chars)) break;
    for (; (sides & STRIP_RIGHT) && to > from; to = next) {
        for (next = to - 1; next > from && (s.as.bytes[next] & 0xC0) == 0x80;) next--;
        if (!in_set(c, s, next, to, chars)) break;
    }
    render_charge(c, (s.len - (to - from)) / 64);
    return string_part(c, s, from, to);
}

/* Paid for by the character, because the widths are the template's. */
value string_padded(context *c, value s, int64_t left, int64_t right, value fill)
{
    struct builder b = { 0 };
    for (; left > 0 && render_charge(c, 1); left--) string_put_value(c, &b, fill);
    string_put_value(c, &b, s);
    for (; right > 0 && render_charge(c, 1); right--) string_put_value(c, &b, fill);
    return string_built(&b);
}

value string_joined(context *c, value separator, value items)
{
    struct builder b = { 0 };
    const struct list *all = value_items(c, items);
    for (size_t i = 0; i < all->count && render_charge(c, 1); i++) {
        if (i > 0) string_put_value(c, &b, separator);
        value_print(c, &b, all->items[i]);
    }
    return string_built(&b);
}
