/* The methods of strings, lists and objects, under Python's names; a row each at the end. A method that only Python
 * programs need has no row: the template then finds an undefined attribute. */
#include "template/builtin.h"

#include "base/checked.h"
#include "base/utf8.h"
#include "template/eval.h"
#include "template/unicode.h"

#include <assert.h>
#include <stdio.h>

bool arg_int(context *c, const value *arg, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    return arg->kind == MISSING || arg->kind == NONE || value_integer(arg, out) ||
           raise(c, "'%s' where an integer is due", value_kind(arg));
}

bool arg_text(context *c, const value *arg, const char *name, value *out)
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
    return string_strip(c, &k->self, &k->arg[0], STRIP_LEFT | STRIP_RIGHT, out);
}

static bool lstrip(context *c, const struct call *k, value *out)
{
    return string_strip(c, &k->self, &k->arg[0], STRIP_LEFT, out);
}

static bool rstrip(context *c, const struct call *k, value *out)
{
    return string_strip(c, &k->self, &k->arg[0], STRIP_RIGHT, out);
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

static bool split_at(context *c, const value *s, const value *separator, uint64_t most, struct list *l)
{
    size_t start = 0, hit;
    while (l->count < most && string_find(view_in(s), start, view_in(separator), &hit)) {
        if (!add_part(c, l, s, start, hit)) return false;
        start = hit + separator->len;
    }
    return add_part(c, l, s, start, s->len);
}

static void reverse(struct list *l)
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
    reverse(l);
    return true;
}

static bool split_either(context *c, const struct call *k, bool from_right, value *out)
{
    int64_t most;
    const value *separator = &k->arg[0];
    if (!arg_int(c, &k->arg[1], -1, &most) || !value_list_new(c, LIST, 0, out)) return false;
    uint64_t limit = most < 0 ? UINT64_MAX : (uint64_t)most;
    if (!render_charge(c, k->self.len / 16)) return false;
    if (!given(separator) || separator->kind == NONE) return split_blanks(c, &k->self, limit, out->as.list);
    if (separator->kind != STRING) return raise(c, "must be str or None, not %s", value_kind(separator));
    if (separator->len == 0) return raise(c, "empty separator");
    if (!from_right) return split_at(c, &k->self, separator, limit, out->as.list);
    return render_charge(c, k->self.len * separator->len / 1024) &&
           rsplit_at(c, &k->self, separator, limit, out->as.list);
}

static bool split(context *c, const struct call *k, value *out)
{
    return split_either(c, k, false, out);
}

static bool rsplit(context *c, const struct call *k, value *out)
{
    return split_either(c, k, true, out);
}

static bool partition_at(context *c, const struct call *k, bool last, value *out)
{
    value separator;
    size_t hit;
    if (!arg_text(c, &k->arg[0], "separator", &separator) || !value_list_new(c, TUPLE, 3, out)) return false;
    if (separator.len == 0) return raise(c, "empty separator");
    if (!render_charge(c, k->self.len * (last ? separator.len : 1) / 1024)) return false;
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

static bool partition(context *c, const struct call *k, value *out)
{
    return partition_at(c, k, false, out);
}

static bool rpartition(context *c, const struct call *k, value *out)
{
    return partition_at(c, k, true, out);
}

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

static bool has_affix(context *c, const struct call *k, bool at_end, value *out)
{
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

static bool startswith(context *c, const struct call *k, value *out)
{
    return has_affix(c, k, false, out);
}

static bool endswith(context *c, const struct call *k, value *out)
{
    return has_affix(c, k, true, out);
}

static bool search(context *c, const struct call *k, bool last, bool must, value *out)
{
    value wanted;
    size_t hit;
    if (!arg_text(c, &k->arg[0], "substring", &wanted)) return false;
    view text = view_in(&k->self);
    if (!render_charge(c, text.len_bytes * (last ? 1 + wanted.len : 1) / 1024)) return false;
    bool found = last ? string_find_last(text, text.len_bytes, view_in(&wanted), &hit)
                      : string_find(text, 0, view_in(&wanted), &hit);
    if (!found && must) return raise(c, "substring not found");
    *out = of_int(found ? (int64_t)string_chars((view){ text.ptr, hit }) : -1);
    return true;
}

static bool find(context *c, const struct call *k, value *out)
{
    return search(c, k, false, false, out);
}

static bool rfind(context *c, const struct call *k, value *out)
{
    return search(c, k, true, false, out);
}

static bool string_index(context *c, const struct call *k, value *out)
{
    return search(c, k, false, true, out);
}

static bool string_count(context *c, const struct call *k, value *out)
{
    value wanted;
    size_t at = 0;
    int64_t count = 0;
    if (!arg_text(c, &k->arg[0], "substring", &wanted) || !render_charge(c, k->self.len / 16)) return false;
    if (wanted.len == 0) count = (int64_t)string_chars(view_in(&k->self)) + 1;
    for (; wanted.len > 0 && string_find(view_in(&k->self), at, view_in(&wanted), &at); at += wanted.len) count++;
    *out = of_int(count);
    return true;
}

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
    return arg_text(c, &k->arg[0], "old", &old) && arg_text(c, &k->arg[1], "new", &new) &&
           arg_int(c, &k->arg[2], -1, &count) && string_replace(c, &k->self, &old, &new, count, out);
}

/* ---- letters ---- */

bool string_case(context *c, const value *s, enum letter_case to, value *out)
{
    struct builder b = { 0 };
    bool inside = false; /* of a word, after its first letter */
    if (!render_charge(c, s->len / 4)) return false;
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

static bool upper(context *c, const struct call *k, value *out)
{
    return string_case(c, &k->self, CASE_UPPER, out);
}

static bool lower(context *c, const struct call *k, value *out)
{
    return string_case(c, &k->self, CASE_LOWER, out);
}

static bool title(context *c, const struct call *k, value *out)
{
    return string_case(c, &k->self, CASE_TITLE, out);
}

static bool capitalize(context *c, const struct call *k, value *out)
{
    return string_case(c, &k->self, CASE_CAPITAL, out);
}

static bool swapcase(context *c, const struct call *k, value *out)
{
    return string_case(c, &k->self, CASE_SWAP, out);
}

bool string_is(const value *s, const char *what)
{
    bool cased = false;
    for (size_t at = 0, len; at < s->len; at += len) {
        uint32_t code = utf8_next(view_after(view_in(s), at), &len), up[3], down[3];
        bool digit = code >= '0' && code <= '9';
        py_upper(code, up);
        py_lower(code, down);
        bool has_lower = down[0] != code, has_upper = up[0] != code;
        cased = cased || has_lower || has_upper;
        bool good = strcmp(what, "digit") == 0   ? digit
                    : strcmp(what, "alpha") == 0 ? py_alphanumeric(code) && !digit
                    : strcmp(what, "alnum") == 0 ? py_alphanumeric(code)
                    : strcmp(what, "space") == 0 ? py_space(code)
                    : strcmp(what, "upper") == 0 ? !has_upper
                                                 : !has_lower;
        if (!good) return false;
    }
    return s->len > 0 && (cased || (strcmp(what, "upper") != 0 && strcmp(what, "lower") != 0));
}

static bool is_something(context *c, const struct call *k, const char *what, value *out)
{
    *out = of_bool(string_is(&k->self, what));
    return render_charge(c, k->self.len / 16);
}

static bool isdigit_(context *c, const struct call *k, value *out)
{
    return is_something(c, k, "digit", out);
}

static bool isalpha_(context *c, const struct call *k, value *out)
{
    return is_something(c, k, "alpha", out);
}

static bool isalnum_(context *c, const struct call *k, value *out)
{
    return is_something(c, k, "alnum", out);
}

static bool isspace_(context *c, const struct call *k, value *out)
{
    return is_something(c, k, "space", out);
}

static bool isupper_(context *c, const struct call *k, value *out)
{
    return is_something(c, k, "upper", out);
}

static bool islower_(context *c, const struct call *k, value *out)
{
    return is_something(c, k, "lower", out);
}

/* ---- filling up ---- */

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

static bool pad(context *c, const struct call *k, bool left, bool right, value *out)
{
    int64_t width, missing;
    value fill = of_text(" ");
    if (!arg_int(c, &k->arg[0], 0, &width) || (given(&k->arg[1]) && !arg_text(c, &k->arg[1], "fill character", &fill)))
        return false;
    missing = width < 0 ? 0 : width - (int64_t)string_chars(view_in(&k->self));
    int64_t half = missing / 2 + (missing & width & 1); /* str.center: the odd one goes left where the width is odd */
    return string_pad(c, &k->self, left ? (right ? half : missing) : 0, right ? (left ? missing - half : missing) : 0,
                      &fill, out);
}

static bool center(context *c, const struct call *k, value *out)
{
    return pad(c, k, true, true, out);
}

static bool ljust(context *c, const struct call *k, value *out)
{
    return pad(c, k, false, true, out);
}

static bool rjust(context *c, const struct call *k, value *out)
{
    return pad(c, k, true, false, out);
}

static bool zfill(context *c, const struct call *k, value *out)
{
    int64_t width;
    value sign, rest, zero = of_text("0");
    bool is_signed = k->self.len > 0 && (k->self.as.bytes[0] == '-' || k->self.as.bytes[0] == '+');
    struct builder b = { 0 };
    if (!arg_int(c, &k->arg[0], 0, &width) || !cut(c, &k->self, 0, is_signed, &sign) ||
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
    if (!arg_int(c, &k->arg[0], 8, &size) || !render_charge(c, k->self.len / 4)) return false;
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

static bool removeprefix(context *c, const struct call *k, value *out)
{
    value affix;
    if (!arg_text(c, &k->arg[0], "prefix", &affix)) return false;
    return cut(c, &k->self, affix.len > 0 && ends_here(&k->self, &affix, false) ? affix.len : 0, k->self.len, out);
}

static bool removesuffix(context *c, const struct call *k, value *out)
{
    value affix;
    if (!arg_text(c, &k->arg[0], "suffix", &affix)) return false;
    return cut(c, &k->self, 0, k->self.len - (affix.len > 0 && ends_here(&k->self, &affix, true) ? affix.len : 0), out);
}

static bool format(context *c, const struct call *k, value *out)
{
    return string_format(c, &k->self, k, out);
}

/* ---- lists ---- */

static bool list_append(context *c, const struct call *k, value *out)
{
    *out = of_kind(NONE);
    return value_list_add(c, k->self.as.list, &k->arg[0]);
}

static bool list_extend(context *c, const struct call *k, value *out)
{
    const value *all;
    size_t count;
    *out = of_kind(NONE);
    if (!value_items(c, &k->arg[0], &all, &count)) return false;
    for (size_t i = 0; i < count; i++)
        if (!render_charge(c, 1) || !value_list_add(c, k->self.as.list, &all[i])) return false;
    return true;
}

static bool list_insert(context *c, const struct call *k, value *out)
{
    struct list *l = k->self.as.list;
    int64_t at, count = (int64_t)l->count;
    *out = of_kind(NONE);
    if (!arg_int(c, &k->arg[0], 0, &at) || !render_charge(c, l->count / 8) || !value_list_add(c, l, &k->arg[1]))
        return false;
    at = at < -count ? 0 : at < 0 ? at + count : at > count ? count : at;
    memmove(l->items + at + 1, l->items + at, (size_t)(count - at) * sizeof *l->items);
    l->items[at] = k->arg[1];
    return true;
}

static void take_out(struct list *l, size_t at)
{
    memmove(l->items + at, l->items + at + 1, (l->count - at - 1) * sizeof *l->items);
    l->count--;
}

static bool list_pop(context *c, const struct call *k, value *out)
{
    struct list *l = k->self.as.list;
    int64_t at, count = (int64_t)l->count;
    if (!arg_int(c, &k->arg[0], -1, &at) || !render_charge(c, l->count / 8)) return false;
    if (at < 0) at = at < -count ? -1 : at + count;
    if (at < 0 || at >= count) return raise(c, "pop index out of range");
    *out = l->items[at];
    take_out(l, (size_t)at);
    return true;
}

static bool list_find(context *c, const struct call *k, size_t *at, size_t *hits)
{
    const struct list *l = k->self.as.list;
    *hits = 0;
    for (size_t i = l->count; i-- > 0;) {
        bool same;
        if (!render_charge(c, 1) || !value_equal(c, &l->items[i], &k->arg[0], &same)) return false;
        if (same) *at = i, ++*hits;
    }
    return true;
}

static bool list_index(context *c, const struct call *k, value *out)
{
    size_t at, hits;
    if (!list_find(c, k, &at, &hits)) return false;
    if (hits == 0) return raise(c, "not in list");
    *out = of_int((int64_t)at);
    return true;
}

static bool list_count(context *c, const struct call *k, value *out)
{
    size_t at, hits;
    if (!list_find(c, k, &at, &hits)) return false;
    *out = of_int((int64_t)hits);
    return true;
}

static bool list_remove(context *c, const struct call *k, value *out)
{
    size_t at, hits;
    *out = of_kind(NONE);
    if (!list_find(c, k, &at, &hits)) return false;
    if (hits == 0) return raise(c, "list.remove(x): x not in list");
    take_out(k->self.as.list, at);
    return true;
}

static bool list_reverse(context *c, const struct call *k, value *out)
{
    *out = of_kind(NONE);
    reverse(k->self.as.list);
    return render_charge(c, k->self.as.list->count / 8);
}

static bool list_clear(context *c, const struct call *k, value *out)
{
    (void)c;
    *out = of_kind(NONE);
    k->self.as.list->count = 0;
    return true;
}

static bool list_copy(context *c, const struct call *k, value *out)
{
    const value bounds[3] = { { .kind = MISSING }, { .kind = MISSING }, { .kind = MISSING } };
    return value_slice(c, &k->self, bounds, out);
}

/* ---- objects ---- */

bool dict_items(context *c, const struct dict *d, int which, value *out)
{
    if (!value_list_new(c, LIST, d->count, out) || !render_charge(c, d->count)) return false;
    for (size_t i = 0; i < d->count; i++) {
        value item = which == 0 ? d->pairs[i].key : d->pairs[i].value;
        if (which == 2) {
            if (!value_list_new(c, TUPLE, 2, &item)) return false;
            item.as.list->items[0] = d->pairs[i].key;
            item.as.list->items[1] = d->pairs[i].value;
            item.as.list->count = 2;
        }
        if (!value_list_add(c, out->as.list, &item)) return false;
    }
    return true;
}

static bool keys(context *c, const struct call *k, value *out)
{
    return dict_items(c, k->self.as.dict, 0, out);
}

static bool values(context *c, const struct call *k, value *out)
{
    return dict_items(c, k->self.as.dict, 1, out);
}

static bool items(context *c, const struct call *k, value *out)
{
    return dict_items(c, k->self.as.dict, 2, out);
}

static bool get(context *c, const struct call *k, value *out)
{
    size_t index;
    bool found;
    if (!value_dict_find(c, k->self.as.dict, &k->arg[0], &index, &found)) return false;
    *out = found ? k->self.as.dict->pairs[index].value : given(&k->arg[1]) ? k->arg[1] : of_kind(NONE);
    return true;
}

static bool setdefault(context *c, const struct call *k, value *out)
{
    size_t index;
    bool found;
    struct dict *d = k->self.as.dict;
    if (!value_dict_find(c, d, &k->arg[0], &index, &found)) return false;
    *out = found ? d->pairs[index].value : given(&k->arg[1]) ? k->arg[1] : of_kind(NONE);
    return found || value_dict_put(c, d, &k->arg[0], out);
}

static bool dict_pop(context *c, const struct call *k, value *out)
{
    size_t index;
    bool found;
    struct dict *d = k->self.as.dict;
    if (!value_dict_find(c, d, &k->arg[0], &index, &found)) return false;
    if (!found && !given(&k->arg[1])) return raise(c, "pop: no such key");
    *out = found ? d->pairs[index].value : k->arg[1];
    if (!found) return true;
    memmove(d->pairs + index, d->pairs + index + 1, (d->count - index - 1) * sizeof *d->pairs);
    d->count--;
    return true;
}

/* Puts what dict() and update() take: one mapping or list of pairs, then named values. */
static bool update(context *c, const struct call *k, struct dict *d)
{
    const value *all;
    size_t count;
    if (k->pos_count > 1) return raise(c, "at most 1 argument expected, got %zu", k->pos_count);
    if (k->pos_count == 1 && k->pos[0].kind == DICT) {
        const struct dict *from = k->pos[0].as.dict;
        for (size_t i = 0; i < from->count; i++)
            if (!value_dict_put(c, d, &from->pairs[i].key, &from->pairs[i].value)) return false;
    } else if (k->pos_count == 1) {
        if (!value_items(c, &k->pos[0], &all, &count)) return false;
        for (size_t i = 0; i < count; i++) {
            const value *pair;
            size_t two;
            if (!value_items(c, &all[i], &pair, &two)) return false;
            if (two != 2) return raise(c, "element %zu has length %zu; 2 is required", i, two);
            if (!value_dict_put(c, d, &pair[0], &pair[1])) return false;
        }
    }
    for (size_t i = 0; i < k->named_count; i++) {
        value key = of_view(k->named[i].name, ORIGIN_TEMPLATE);
        if (!value_dict_put(c, d, &key, &k->named[i].value)) return false;
    }
    return true;
}

bool dict_from_call(context *c, enum kind kind, const struct call *k, value *out)
{
    return value_dict_new(c, kind, out) && update(c, k, out->as.dict);
}

static bool dict_update(context *c, const struct call *k, value *out)
{
    *out = of_kind(NONE);
    return update(c, k, k->self.as.dict);
}

static bool dict_clear(context *c, const struct call *k, value *out)
{
    (void)c;
    *out = of_kind(NONE);
    k->self.as.dict->count = 0;
    return true;
}

static bool dict_copy(context *c, const struct call *k, value *out)
{
    const struct call copy = { .pos = &k->self, .pos_count = 1 };
    return dict_from_call(c, DICT, &copy, out);
}

/* ---- loop and cycler ---- */

static bool cycle(context *c, const struct call *k, value *out)
{
    if (k->pos_count == 0) return raise(c, "no items for cycling given");
    *out = k->pos[k->self.as.loop->index % k->pos_count];
    return true;
}

static bool changed(context *c, const struct call *k, value *out)
{
    value now;
    bool same = false;
    struct loop *l = k->self.as.loop;
    if (!value_list_new(c, TUPLE, 0, &now)) return false;
    for (size_t i = 0; i < k->pos_count; i++)
        if (!value_list_add(c, now.as.list, &k->pos[i])) return false;
    if (given(&l->last_changed) && !value_equal(c, &l->last_changed, &now, &same)) return false;
    l->last_changed = now;
    *out = of_bool(!same);
    return true;
}

static bool next(context *c, const struct call *k, value *out) /* a cycler's last item counts its calls */
{
    struct list *l = k->self.as.list;
    (void)c;
    *out = l->items[(size_t)l->items[l->count - 1].as.integer++ % (l->count - 1)];
    return true;
}

static const struct builtin of_strings[] = {
    { "strip", "chars", 0, strip },
    { "lstrip", "chars", 0, lstrip },
    { "rstrip", "chars", 0, rstrip },
    { "split", "sep maxsplit", 0, split },
    { "rsplit", "sep maxsplit", 0, rsplit },
    { "partition", "sep", 1, partition },
    { "rpartition", "sep", 1, rpartition },
    { "splitlines", "", 0, splitlines },
    { "join", "iterable", 1, join },
    { "startswith", "prefix", 1, startswith },
    { "endswith", "suffix", 1, endswith },
    { "find", "sub", 1, find },
    { "rfind", "sub", 1, rfind },
    { "index", "sub", 1, string_index },
    { "count", "sub", 1, string_count },
    { "replace", "old new count", 2, replace },
    { "upper", "", 0, upper },
    { "lower", "", 0, lower },
    { "casefold", "", 0, lower },
    { "title", "", 0, title },
    { "capitalize", "", 0, capitalize },
    { "swapcase", "", 0, swapcase },
    { "isdigit", "", 0, isdigit_ },
    { "isdecimal", "", 0, isdigit_ },
    { "isnumeric", "", 0, isdigit_ },
    { "isalpha", "", 0, isalpha_ },
    { "isalnum", "", 0, isalnum_ },
    { "isspace", "", 0, isspace_ },
    { "isupper", "", 0, isupper_ },
    { "islower", "", 0, islower_ },
    { "center", "width fillchar", 1, center },
    { "ljust", "width fillchar", 1, ljust },
    { "rjust", "width fillchar", 1, rjust },
    { "zfill", "width", 1, zfill },
    { "expandtabs", "tabsize", 0, expandtabs },
    { "removeprefix", "prefix", 1, removeprefix },
    { "removesuffix", "suffix", 1, removesuffix },
    { "format", "*", 0, format },
};

static const struct builtin of_lists[] = {
    { "append", "item", 1, list_append },
    { "extend", "items", 1, list_extend },
    { "insert", "index item", 2, list_insert },
    { "pop", "index", 0, list_pop },
    { "remove", "item", 1, list_remove },
    { "index", "item", 1, list_index },
    { "count", "item", 1, list_count },
    { "reverse", "", 0, list_reverse },
    { "clear", "", 0, list_clear },
    { "copy", "", 0, list_copy },
};

static const struct builtin of_tuples[] = { { "index", "item", 1, list_index }, { "count", "item", 1, list_count } };

static const struct builtin of_dicts[] = {
    { "get", "key default", 1, get },
    { "items", "", 0, items },
    { "keys", "", 0, keys },
    { "values", "", 0, values },
    { "update", "*", 0, dict_update },
    { "pop", "key default", 1, dict_pop },
    { "setdefault", "key default", 1, setdefault },
    { "clear", "", 0, dict_clear },
    { "copy", "", 0, dict_copy },
};

static const struct builtin of_loops[] = { { "cycle", "*", 0, cycle }, { "changed", "*", 0, changed } };
static const struct builtin of_cyclers[] = { { "next", "", 0, next } };

const struct builtin *builtin_method(enum kind kind, view name)
{
#define ROWS(table)                                                                                                    \
    {                                                                                                                  \
        table, sizeof table / sizeof *table                                                                            \
    }
    static const struct {
        const struct builtin *rows;
        size_t count;
    } tables[] = {
        [STRING] = ROWS(of_strings), [LIST] = ROWS(of_lists),     [TUPLE] = ROWS(of_tuples), [DICT] = ROWS(of_dicts),
        [LOOP] = ROWS(of_loops),     [CYCLER] = ROWS(of_cyclers), [JOINER] = { NULL, 0 }
    };
#undef ROWS
    for (size_t i = 0; i < tables[kind].count; i++)
        if (view_is(name, tables[kind].rows[i].name)) return &tables[kind].rows[i];
    return NULL;
}
