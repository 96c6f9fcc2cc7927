/* The methods of strings, under Python's names, and what filters share with them; a row each at the end. A method that
 * only Python programs need has no row: the template then finds an undefined attribute. */
#include "template/builtin.h"

#include "base/checked.h"
#include "base/utf8.h"
#include "template/eval.h"
#include "template/unicode.h"

#include <assert.h>
#include <stdio.h>

bool call_arg_int(context *c, const value *arg, int64_t otherwise, int64_t *out)
{
    const int64_t most = INT64_C(1) << 53; /* far over any length, far under what sums of lengths overflow at */
    *out = otherwise;
    if (arg->kind == MISSING || arg->kind == NONE) return true;
    if (!value_integer(arg, out)) return raise(c, "'%s' where an integer is due", value_kind(arg));
    *out = *out > most ? most : *out < -most ? -most : *out;
    return true;
}

bool call_arg_text(context *c, const value *arg, const char *name, value *out)
{
    *out = *arg;
    return arg->kind == STRING || raise(c, "%s must be str, not %s", name, value_kind(arg));
}

/* A part of call->self; false after an error. */
static bool cut(context *c, const value *s, size_t from, size_t to, value *out)
{
    *out = string_part(c, s, from, to);
    return out->kind != MISSING;
}

static bool add_part(context *c, struct list *l, const value *s, size_t from, size_t to)
{
    value piece;
    return cut(c, s, from, to, &piece) && value_list_add(c, l, &piece);
}

/* ---- strip ---- */

static bool in_set(uint32_t code, const value *chars)
{
    if (chars->kind != STRING) return py_space(code);
    for (size_t at = 0, len; at < chars->len; at += len)
        if (utf8_next(view_after(view_in(chars), at), &len) == code) return true;
    return false;
}

/* With `chars` a set of characters, as in Python; without, white space of all Unicode. */
bool string_strip(context *c, const value *s, const value *chars, unsigned sides, value *out)
{
    size_t from = 0, to = s->len, len;
    if (given(chars) && chars->kind != NONE && chars->kind != STRING)
        return raise(c, "strip arg must be None or str, not %s", value_kind(chars));
    size_t cost = chars->kind == STRING ? 1 + chars->len / 16 : 1;
    while ((sides & STRIP_LEFT) && from < to && in_set(utf8_next(view_after(view_in(s), from), &len), chars)) {
        from += len;
        if (!render_charge(c, cost / 4)) return false;
    }
    while ((sides & STRIP_RIGHT) && to > from) {
        size_t at = to - 1;
        while (at > from && (s->as.bytes[at] & 0xC0) == 0x80) at--;
        if (!in_set(utf8_next(view_after(view_in(s), at), &len), chars)) break;
        to = at;
        if (!render_charge(c, cost / 4)) return false;
    }
    return render_charge(c, (s->len - (to - from)) / 64) && cut(c, s, from, to, out);
}

static bool strip(context *c, const struct call *k, value *out)
{
    return string_strip(c, &k->self, &k->arg[0], (unsigned)k->row->variant, out);
}

/* ---- split and join ---- */

static bool split_blanks(context *c, const value *s, uint64_t most, struct list *l)
{
    size_t at = 0, len = 0;
    for (;;) {
        while (at < s->len && py_space(utf8_next(view_after(view_in(s), at), &len))) at += len;
        if (at >= s->len) return true;
        size_t start = at;
        if (l->count >= most) { /* the rest, without the blanks at its end */
            value rest, blanks = of_kind(NONE);
            return cut(c, s, start, s->len, &rest) && string_strip(c, &rest, &blanks, STRIP_RIGHT, &rest) &&
                   value_list_add(c, l, &rest);
        }
        while (at < s->len && !py_space(utf8_next(view_after(view_in(s), at), &len))) at += len;
        if (!add_part(c, l, s, start, at)) return false;
    }
}

/* The same from the right: words are added last first. */
static bool rsplit_blanks(context *c, const value *s, uint64_t most, struct list *l)
{
    value rest = *s, blanks = of_kind(NONE);
    for (;;) {
        if (!string_strip(c, &rest, &blanks, STRIP_RIGHT, &rest)) return false;
        size_t start = rest.len;
        while (l->count < most && start > 0) {
            size_t at = start - 1, len;
            while (at > 0 && (rest.as.bytes[at] & 0xC0) == 0x80) at--;
            if (py_space(utf8_next(view_after(view_in(&rest), at), &len))) break;
            start = at;
        }
        if (l->count == most) start = 0;
        if (rest.len == 0) break;
        if (!add_part(c, l, &rest, start, rest.len) || !cut(c, &rest, 0, start, &rest)) return false;
    }
    value_list_reverse(l);
    return true;
}

/* Empty pieces stay; after `most` cuts the rest is one piece. */
static bool split_at(context *c, const value *s, const value *separator, uint64_t most, struct list *l)
{
    size_t start = 0, hit;
    while (l->count < most && string_find(view_in(s), start, view_in(separator), &hit)) {
        if (!add_part(c, l, s, start, hit)) return false;
        start = hit + separator->len;
    }
    return add_part(c, l, s, start, s->len);
}

void value_list_reverse(struct list *l)
{
    for (size_t i = 0; i < l->count / 2; i++) {
        value first = l->items[i];
        l->items[i] = l->items[l->count - 1 - i];
        l->items[l->count - 1 - i] = first;
    }
}

static bool rsplit_at(context *c, const value *s, const value *separator, uint64_t most, struct list *l)
{
    size_t end = s->len, hit;
    while (l->count < most && string_find_last(view_in(s), end, view_in(separator), &hit)) {
        if (!add_part(c, l, s, hit + separator->len, end)) return false;
        end = hit;
    }
    if (!add_part(c, l, s, 0, end)) return false;
    value_list_reverse(l);
    return true;
}

static bool split(context *c, const struct call *k, value *out) /* variant: from the right */
{
    bool from_right = k->row->variant;
    int64_t most;
    const value *separator = &k->arg[0];
    if (!call_arg_int(c, &k->arg[1], -1, &most) || !value_list_new(c, LIST, 0, out)) return false;
    uint64_t limit = most < 0 ? UINT64_MAX : (uint64_t)most;
    if (!render_charge(c, k->self.len / 16)) return false;
    if (!given(separator) || separator->kind == NONE)
        return (from_right ? rsplit_blanks : split_blanks)(c, &k->self, limit, out->as.list);
    if (separator->kind != STRING) return raise(c, "must be str or None, not %s", value_kind(separator));
    if (separator->len == 0) return raise(c, "empty separator");
    if (!from_right) return split_at(c, &k->self, separator, limit, out->as.list);
    return render_charge(c, k->self.len * separator->len / 64) &&
           rsplit_at(c, &k->self, separator, limit, out->as.list);
}

static bool partition(context *c, const struct call *k, value *out) /* variant: at the last one */
{
    bool last = k->row->variant;
    value separator;
    size_t hit;
    if (!call_arg_text(c, &k->arg[0], "separator", &separator) || !value_list_new(c, TUPLE, 3, out)) return false;
    if (separator.len == 0) return raise(c, "empty separator");
    if (!render_charge(c, k->self.len * (last ? separator.len : 1) / 128)) return false;
    struct list *l = out->as.list;
    view text = view_in(&k->self);
    bool found = last ? string_find_last(text, text.len_bytes, view_in(&separator), &hit)
                      : string_find(text, 0, view_in(&separator), &hit);
    if (!found) {
        value empty = of_text("");
        l->items[last ? 2 : 0] = k->self;
        l->items[1] = l->items[last ? 0 : 2] = empty;
        l->count = 3;
        return true;
    }
    return add_part(c, l, &k->self, 0, hit) && value_list_add(c, l, &separator) &&
           add_part(c, l, &k->self, hit + separator.len, k->self.len);
}

/* All line ends of Unicode, "\r\n" as one; a line end at the end begins no line. */
bool string_lines(context *c, const value *s, value *out)
{
    if (!value_list_new(c, LIST, 0, out) || !render_charge(c, s->len / 16)) return false;
    size_t start = 0, len;
    for (size_t at = 0; at < s->len; at += len) {
        if (!py_line_end(utf8_next(view_after(view_in(s), at), &len))) continue;
        if (!add_part(c, out->as.list, s, start, at)) return false;
        if (s->as.bytes[at] == '\r' && at + 1 < s->len && s->as.bytes[at + 1] == '\n') len = 2;
        start = at + len;
    }
    return start == s->len || add_part(c, out->as.list, s, start, s->len);
}

static bool splitlines(context *c, const struct call *k, value *out)
{
    return string_lines(c, &k->self, out);
}

/* Each item as str prints it. */
bool string_join(context *c, const value *separator, const value *list, value *out)
{
    struct builder b = { 0 };
    const value *all;
    size_t count;
    if (!value_items(c, list, &all, &count)) return false;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && !string_put_value(c, &b, separator)) return false;
        if (!render_charge(c, 1) || !value_print(c, &b, &all[i])) return false;
    }
    *out = string_built(&b);
    return true;
}

static bool join(context *c, const struct call *k, value *out)
{
    const value *all;
    size_t count;
    if (!value_items(c, &k->arg[0], &all, &count)) return false;
    for (size_t i = 0; i < count; i++)
        if (all[i].kind != STRING) return raise(c, "sequence item %zu: expected str, %s found", i, value_kind(&all[i]));
    return string_join(c, &k->self, &k->arg[0], out);
}

/* ---- searching ---- */

static bool ends_here(const value *s, const value *affix, bool at_end)
{
    return affix->len <= s->len &&
           memcmp(s->as.bytes + (at_end ? s->len - affix->len : 0), affix->as.bytes, affix->len) == 0;
}

/* One affix, or a tuple of which any will do. */
static bool has_affix(context *c, const struct call *k, value *out) /* variant: at the end */
{
    bool at_end = k->row->variant;
    const value *wanted = &k->arg[0];
    bool several = wanted->kind == TUPLE, found = false;
    for (size_t i = 0; i < (several ? wanted->as.list->count : 1); i++) {
        const value *affix = several ? &wanted->as.list->items[i] : wanted;
        if (affix->kind != STRING)
            return raise(c, "first arg must be str or a tuple of str, not %s", value_kind(affix));
        found = found || affix->len == 0 || ends_here(&k->self, affix, at_end);
    }
    *out = of_bool(found);
    return true;
}

enum { SEARCH_LAST = 1, SEARCH_MUST = 2 };

/* Gives characters, not bytes. */
static bool search(context *c, const struct call *k, value *out)
{
    bool last = k->row->variant & SEARCH_LAST, must = k->row->variant & SEARCH_MUST;
    value wanted;
    size_t hit;
    if (!call_arg_text(c, &k->arg[0], "substring", &wanted)) return false;
    view text = view_in(&k->self);
    if (!render_charge(c, text.len_bytes * (last || wanted.len > 32 ? 1 + wanted.len : 1) / 64)) return false;
    bool found = last ? string_find_last(text, text.len_bytes, view_in(&wanted), &hit)
                      : string_find(text, 0, view_in(&wanted), &hit);
    if (!found && must) return raise(c, "substring not found");
    *out = of_int(found ? (int64_t)string_chars((view){ text.ptr, hit }) : -1);
    return true;
}

static bool string_count(context *c, const struct call *k, value *out)
{
    value wanted;
    size_t at = 0;
    int64_t count = 0;
    if (!call_arg_text(c, &k->arg[0], "substring", &wanted) || !render_charge(c, k->self.len / 16)) return false;
    if (wanted.len == 0) count = (int64_t)string_chars(view_in(&k->self)) + 1;
    for (; wanted.len > 0 && string_find(view_in(&k->self), at, view_in(&wanted), &at); at += wanted.len) count++;
    *out = of_int(count);
    return true;
}

/* The new text keeps its own origin: a template may put a control token where a user wrote a word. */
bool string_replace(context *c, const value *s, const value *old, const value *new, int64_t count, value *out)
{
    struct builder b = { 0 };
    size_t start = 0, hit, len;
    if (!render_charge(c, s->len / 64)) return false;
    if (old->len == 0) { /* between all characters, and at both ends */
        for (; count != 0; count--) {
            if (!render_charge(c, 1) || !string_put_value(c, &b, new)) return false;
            if (start >= s->len) break;
            utf8_next(view_after(view_in(s), start), &len);
            if (!string_put_part(c, &b, s, start, start + len)) return false;
            start += len;
        }
    }
    for (; old->len > 0 && count != 0 && string_find(view_in(s), start, view_in(old), &hit); count--) {
        if (!render_charge(c, 1) || !string_put_part(c, &b, s, start, hit) || !string_put_value(c, &b, new))
            return false;
        start = hit + old->len;
    }
    if (!string_put_part(c, &b, s, start, s->len)) return false;
    *out = start == 0 && b.len == s->len ? *s : string_built(&b);
    return true;
}

static bool replace(context *c, const struct call *k, value *out)
{
    value old, new;
    int64_t count;
    return call_arg_text(c, &k->arg[0], "old", &old) && call_arg_text(c, &k->arg[1], "new", &new) &&
           call_arg_int(c, &k->arg[2], -1, &count) && string_replace(c, &k->self, &old, &new, count, out);
}

/* ---- letters ---- */

static bool is_ascii(view text)
{
    uint8_t all = 0;
    for (size_t i = 0; i < text.len_bytes; i++) all |= text.ptr[i];
    return all < 0x80;
}

/* Long texts are mostly this: one pass, no builder. */
static bool ascii_case(context *c, const value *s, enum letter_case to, value *out)
{
    uint8_t *bytes = render_take(c, s->len, 1), from = to == CASE_UPPER ? 'a' : 'A';
    if (bytes == NULL || !render_charge(c, s->len / 64)) return false;
    for (size_t i = 0; i < s->len; i++)
        bytes[i] = (uint8_t)(s->as.bytes[i] ^ ((uint8_t)(s->as.bytes[i] - from) < 26 ? 32 : 0));
    *out = *s;
    out->as.bytes = bytes;
    return true;
}

bool string_case(context *c, const value *s, enum letter_case to, value *out)
{
    struct builder b = { 0 };
    bool inside = false; /* of a word, after its first letter */
    if (s->run_count == 0 && (to == CASE_UPPER || to == CASE_LOWER) && is_ascii(view_in(s)))
        return ascii_case(c, s, to, out);
    if (!render_charge(c, s->len)) return false;
    for (size_t at = 0, len; at < s->len; at += len) {
        uint32_t code = utf8_next(view_after(view_in(s), at), &len), upper[3], lower[3];
        size_t uppers = py_upper(code, upper), lowers = py_lower(code, lower);
        bool raise_it = to == CASE_UPPER || ((to == CASE_CAPITAL || to == CASE_TITLE) && !inside);
        if (to == CASE_SWAP) raise_it = lowers == 1 && lower[0] == code;
        enum template_origin origin = string_origin_at(s, at);
        for (size_t i = 0; i < (raise_it ? uppers : lowers); i++) {
            uint32_t one = raise_it ? upper[i] : lower[i], down[3];
            if (i > 0 && to != CASE_UPPER && py_lower(one, down) == 1) one = down[0]; /* the title case of SS is Ss */
            if (!string_put_char(c, &b, one, origin)) return false;
        }
        inside = to == CASE_CAPITAL || lower[0] != code || upper[0] != code;
    }
    *out = string_built(&b);
    return true;
}

/* All characters of a class, and at least one; for cases at least one letter that has one. */
bool string_is(const value *s, enum letter_class what)
{
    bool cased = false;
    for (size_t at = 0, len; at < s->len; at += len) {
        uint32_t code = utf8_next(view_after(view_in(s), at), &len), up[3], down[3];
        bool digit = code >= '0' && code <= '9', letter = py_alphanumeric(code);
        py_upper(code, up);
        py_lower(code, down);
        bool has_lower = down[0] != code, has_upper = up[0] != code;
        const bool good[] = {
            [ALL_DIGITS] = digit,         [ALL_LETTERS] = letter && !digit, [ALL_ALPHANUMERIC] = letter,
            [ALL_SPACE] = py_space(code), [ALL_UPPER] = !has_upper,         [ALL_LOWER] = !has_lower
        };
        if (!good[what]) return false;
        cased = cased || has_lower || has_upper;
    }
    return s->len > 0 && (cased || what < ALL_UPPER);
}

static bool is_class(context *c, const struct call *k, value *out)
{
    *out = of_bool(string_is(&k->self, (enum letter_class)k->row->variant));
    return render_charge(c, k->self.len / 16);
}

static bool letter_case(context *c, const struct call *k, value *out)
{
    return string_case(c, &k->self, (enum letter_case)k->row->variant, out);
}

/* ---- filling up ---- */

/* Paid for by the character, because the widths are the template's. */
bool string_pad(context *c, const value *s, int64_t left, int64_t right, const value *fill, value *out)
{
    struct builder b = { 0 };
    for (; left > 0; left--)
        if (!render_charge(c, 1) || !string_put_value(c, &b, fill)) return false;
    if (!string_put_value(c, &b, s)) return false;
    for (; right > 0; right--)
        if (!render_charge(c, 1) || !string_put_value(c, &b, fill)) return false;
    *out = string_built(&b);
    return true;
}

enum { PAD_LEFT = 1, PAD_RIGHT = 2 };

static bool pad(context *c, const struct call *k, value *out)
{
    bool left = k->row->variant & PAD_LEFT, right = k->row->variant & PAD_RIGHT;
    int64_t width, missing;
    value fill = of_text(" ");
    if (!call_arg_int(c, &k->arg[0], 0, &width) ||
        (given(&k->arg[1]) && !call_arg_text(c, &k->arg[1], "fill character", &fill)))
        return false;
    missing = width < 0 ? 0 : width - (int64_t)string_chars(view_in(&k->self));
    int64_t half = missing / 2 + (missing & width & 1); /* str.center: the odd one goes left where the width is odd */
    return string_pad(c, &k->self, left ? (right ? half : missing) : 0, right ? (left ? missing - half : missing) : 0,
                      &fill, out);
}

static bool zfill(context *c, const struct call *k, value *out)
{
    int64_t width;
    value sign, rest, zero = of_text("0");
    bool is_signed = k->self.len > 0 && (k->self.as.bytes[0] == '-' || k->self.as.bytes[0] == '+');
    struct builder b = { 0 };
    if (!call_arg_int(c, &k->arg[0], 0, &width) || !cut(c, &k->self, 0, is_signed, &sign) ||
        !cut(c, &k->self, is_signed, k->self.len, &rest))
        return false;
    if (!string_pad(c, &rest, width - (int64_t)string_chars(view_in(&k->self)), 0, &zero, &rest)) return false;
    if (!string_put_value(c, &b, &sign) || !string_put_value(c, &b, &rest)) return false;
    *out = string_built(&b);
    return true;
}

static bool expandtabs(context *c, const struct call *k, value *out)
{
    struct builder b = { 0 };
    int64_t size, column = 0;
    if (!call_arg_int(c, &k->arg[0], 8, &size) || !render_charge(c, k->self.len / 4)) return false;
    for (size_t at = 0, len; at < k->self.len; at += len) {
        uint32_t code = utf8_next(view_after(view_in(&k->self), at), &len);
        int64_t blanks = size > 0 ? size - column % size : 0;
        if (code != '\t' && !string_put_part(c, &b, &k->self, at, at + len)) return false;
        for (int64_t i = 0; code == '\t' && i < blanks; i++)
            if (!render_charge(c, 1) || !string_put_char(c, &b, ' ', string_origin_at(&k->self, at))) return false;
        column = code == '\n' || code == '\r' ? 0 : column + (code == '\t' ? blanks : 1);
    }
    *out = string_built(&b);
    return true;
}

static bool remove_affix(context *c, const struct call *k, value *out) /* variant: at the end */
{
    value affix;
    if (!call_arg_text(c, &k->arg[0], "affix", &affix)) return false;
    size_t n = affix.len > 0 && ends_here(&k->self, &affix, k->row->variant) ? affix.len : 0;
    return cut(c, &k->self, k->row->variant ? 0 : n, k->self.len - (k->row->variant ? n : 0), out);
}

static bool format(context *c, const struct call *k, value *out)
{
    return string_format(c, &k->self, k, out);
}

const struct builtin *builtin_string_method(view name)
{
    static const struct builtin rows[] = {
        { "strip", "chars", 0, STRIP_LEFT | STRIP_RIGHT, strip },
        { "lstrip", "chars", 0, STRIP_LEFT, strip },
        { "rstrip", "chars", 0, STRIP_RIGHT, strip },
        { "split", "sep maxsplit", 0, false, split },
        { "rsplit", "sep maxsplit", 0, true, split },
        { "partition", "sep", 1, false, partition },
        { "rpartition", "sep", 1, true, partition },
        { "splitlines", "", 0, 0, splitlines },
        { "join", "iterable", 1, 0, join },
        { "startswith", "prefix", 1, false, has_affix },
        { "endswith", "suffix", 1, true, has_affix },
        { "find", "sub", 1, 0, search },
        { "rfind", "sub", 1, SEARCH_LAST, search },
        { "index", "sub", 1, SEARCH_MUST, search },
        { "rindex", "sub", 1, SEARCH_LAST | SEARCH_MUST, search },
        { "count", "sub", 1, 0, string_count },
        { "replace", "old new count", 2, 0, replace },
        { "upper", "", 0, CASE_UPPER, letter_case },
        { "lower", "", 0, CASE_LOWER, letter_case },
        { "casefold", "", 0, CASE_LOWER, letter_case },
        { "title", "", 0, CASE_TITLE, letter_case },
        { "capitalize", "", 0, CASE_CAPITAL, letter_case },
        { "swapcase", "", 0, CASE_SWAP, letter_case },
        { "isdigit", "", 0, ALL_DIGITS, is_class },
        { "isdecimal", "", 0, ALL_DIGITS, is_class },
        { "isnumeric", "", 0, ALL_DIGITS, is_class },
        { "isalpha", "", 0, ALL_LETTERS, is_class },
        { "isalnum", "", 0, ALL_ALPHANUMERIC, is_class },
        { "isspace", "", 0, ALL_SPACE, is_class },
        { "isupper", "", 0, ALL_UPPER, is_class },
        { "islower", "", 0, ALL_LOWER, is_class },
        { "center", "width fillchar", 1, PAD_LEFT | PAD_RIGHT, pad },
        { "ljust", "width fillchar", 1, PAD_RIGHT, pad },
        { "rjust", "width fillchar", 1, PAD_LEFT, pad },
        { "zfill", "width", 1, 0, zfill },
        { "expandtabs", "tabsize", 0, 0, expandtabs },
        { "removeprefix", "prefix", 1, false, remove_affix },
        { "removesuffix", "suffix", 1, true, remove_affix },
        { "format", "*", 0, 0, format },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (view_is(name, rows[i].name)) return &rows[i];
    return NULL;
}
