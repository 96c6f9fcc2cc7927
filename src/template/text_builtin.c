/* The filters of text and the methods of strings, under Jinja's and Python's names; a row each at the end. A method
 * that only Python programs need has no row: the template then finds an undefined attribute. */
#include "template/builtin.h"

/* ---- cutting ---- */

static value strip(context *c, const struct call *k) /* chars; variant: sides */
{
    if (given(k->arg[0]) && k->arg[0].kind > NONE && k->arg[0].kind != STRING)
        return render_fail(c, ERR_VALUE, "strip arg must be None or str, not %s", value_kind(k->arg[0]));
    return string_stripped(c, k->self, k->arg[0], k->row->variant);
}

/* Without a separator at runs of white space, which leaves no empty pieces. */
static value all_pieces(context *c, value s, value separator)
{
    value pieces = value_list(c, LIST);
    size_t start = 0, at = 0, len = 0;
    if (separator.kind == STRING) {
        for (; render_charge(c, 1) && string_find(s, start, separator, &at); start = at + separator.len)
            value_add(c, pieces, string_part(c, s, start, at));
        value_add(c, pieces, string_part(c, s, start, s.len));
    }
    while (separator.kind != STRING && at < s.len && !c->failed) {
        for (; at < s.len && string_is_space(string_code(s, at, &len)); at += len) {
        }
        for (start = at; at < s.len && !string_is_space(string_code(s, at, &len)); at += len) {
        }
        if (at > start) value_add(c, pieces, string_part(c, s, start, at));
    }
    return pieces;
}

/* The pieces that are over the limit are one with what stands between them. */
static value split(context *c, const struct call *k) /* sep maxsplit; variant: from the right */
{
    value s = k->self, separator = k->arg[0];
    if (given(separator) && separator.kind != NONE && (separator.kind != STRING || separator.len == 0))
        return render_fail(c, ERR_VALUE, "empty separator, or no string");
    render_charge(c, s.len / 16);
    value pieces = all_pieces(c, s, separator);
    struct list *l = pieces.as.list;
    int64_t most = k->arg[1].as.integer;
    if (c->failed || most < 0 || (size_t)most >= l->count) return pieces;
    size_t kept = (size_t)most, first = l->count - kept - 1;
    if (k->row->variant) {
        const value *last = &l->items[first];
        l->items[first] = string_part(c, s, 0, (size_t)(last->as.bytes - s.as.bytes) + last->len);
        memmove(l->items, last, (kept + 1) * sizeof *l->items);
    } else {
        l->items[kept] = string_part(c, s, (size_t)(l->items[kept].as.bytes - s.as.bytes), s.len);
    }
    l->count = kept + 1;
    return pieces;
}

static value partition(context *c, const struct call *k) /* sep; variant: at the last one */
{
    value s = k->self, separator = k->arg[0], three = value_list(c, TUPLE), none = of_text("");
    size_t at;
    if (separator.len == 0) return render_fail(c, ERR_VALUE, "empty separator");
    bool found = k->row->variant ? string_find_last(c, s, separator, &at)
                                 : render_charge(c, s.len / 64) && string_find(s, 0, separator, &at);
    value_add(c, three, found ? string_part(c, s, 0, at) : k->row->variant ? none : s);
    value_add(c, three, found ? separator : none);
    value_add(c, three, found ? string_part(c, s, at + separator.len, s.len) : k->row->variant ? s : none);
    return three;
}

/* All line ends of Unicode, "\r\n" as one; a line end at the end begins no line. */
static value splitlines(context *c, const struct call *k)
{
    value s = k->self;
    value lines = value_list(c, LIST);
    size_t start = 0, len;
    render_charge(c, s.len / 16);
    for (size_t at = 0; at < s.len && !c->failed; at += len) {
        if (!string_is_line_end(string_code(s, at, &len))) continue;
        value_add(c, lines, string_part(c, s, start, at));
        if (s.as.bytes[at] == '\r' && at + 1 < s.len && s.as.bytes[at + 1] == '\n') len = 2;
        start = at + len;
    }
    if (start < s.len) value_add(c, lines, string_part(c, s, start, s.len));
    return lines;
}

static bool has_affix(value s, value affix, bool at_end)
{
    return affix.len <= s.len &&
           (affix.len == 0 || memcmp(s.as.bytes + (at_end ? s.len - affix.len : 0), affix.as.bytes, affix.len) == 0);
}

/* One affix, or a tuple of which any will do. */
static value is_affix(context *c, const struct call *k) /* affix; variant: at the end */
{
    struct list one = { (value *)&k->arg[0], 1, 0 };
    const struct list *any = k->arg[0].kind == TUPLE ? k->arg[0].as.list : &one;
    bool found = false;
    for (size_t i = 0; i < any->count && !found; i++) {
        found = any->items[i].kind == STRING && has_affix(k->self, any->items[i], k->row->variant);
        if (any->items[i].kind != STRING)
            render_fail(c, ERR_VALUE, "first arg must be str or a tuple of str, not %s", value_kind(any->items[i]));
    }
    return of_bool(found);
}

static value remove_affix(context *c, const struct call *k) /* affix; variant: at the end */
{
    size_t n = has_affix(k->self, k->arg[0], k->row->variant) ? k->arg[0].len : 0;
    return k->row->variant ? string_part(c, k->self, 0, k->self.len - n) : string_part(c, k->self, n, k->self.len);
}

/* ---- searching ---- */

enum { SEARCH_LAST = 1, SEARCH_MUST = 2 };

/* Gives characters, not bytes. */
static value search(context *c, const struct call *k) /* sub; variant: SEARCH_* */
{
    value s = k->self, wanted = k->arg[0];
    size_t at = 0;
    if (!render_charge(c, s.len * (wanted.len > 32 ? 1 + wanted.len : 1) / 64)) return s;
    bool found = k->row->variant & SEARCH_LAST ? string_find_last(c, s, wanted, &at) : string_find(s, 0, wanted, &at);
    if (!found && k->row->variant & SEARCH_MUST) return render_fail(c, ERR_VALUE, "substring not found");
    return of_int(found ? (int64_t)string_length(string_part(c, s, 0, at)) : -1);
}

static value count(context *c, const struct call *k) /* sub */
{
    int64_t n = 0;
    if (k->arg[0].len == 0) return of_int((int64_t)string_length(k->self) + 1);
    render_charge(c, k->self.len / 16);
    for (size_t at = 0; string_find(k->self, at, k->arg[0], &at) && !c->failed; at += k->arg[0].len) n++;
    return of_int(n);
}

/* The new text keeps its own origin: a template may put a control token where a user wrote a word. */
static value replace(context *c, const struct call *k) /* old new count */
{
    struct builder b = { 0 };
    value s = k->self, old = k->arg[0], new = k->arg[1];
    size_t start = 0, at, end;
    if (!render_charge(c, s.len / 64)) return s;
    for (int64_t left = k->arg[2].as.integer; left != 0 && string_find(s, start, old, &at) && render_charge(c, 1);
         left--) {
        if (old.len == 0) { /* before each character, and at the end */
            end = string_offset(s, at, 1);
            string_put_value(c, &b, new);
            string_put_value(c, &b, string_part(c, s, at, end));
            start = end;
            if (at == s.len) break;
            continue;
        }
        string_put_value(c, &b, string_part(c, s, start, at));
        string_put_value(c, &b, new);
        start = at + old.len;
    }
    if (start == 0 && b.len == 0) return s;
    string_put_value(c, &b, string_part(c, s, start, s.len));
    return string_built(&b);
}

/* ---- letters ---- */

static value cased(context *c, const struct call *k) /* variant: enum string_case */
{
    return string_cased(c, k->self, (enum string_case)k->row->variant);
}

/* Words begin after white space, '-' and opening brackets, not after an apostrophe as in str.title. */
static value filter_title(context *c, const struct call *k)
{
    struct builder b = { 0 };
    value s = k->self;
    for (size_t at = 0, start = 0, len; at < s.len && !c->failed; start = at) {
        uint32_t code = string_code(s, at, &len);
        for (at += len; at < s.len; at += len) { /* to behind what stands between words */
            bool word = !string_is_space(code) && memchr("-({[<", (int)min_size(code, 0x7F), 5) == NULL;
            code = string_code(s, at, &len);
            if (!word) break;
        }
        string_put_value(c, &b, string_cased(c, string_part(c, s, start, at), CASE_CAPITAL));
    }
    return string_built(&b);
}

enum letter_class { ALL_DIGITS, ALL_LETTERS, ALL_WORD, ALL_SPACE };

/* All characters of a class, and at least one. */
static value is_class(context *c, const struct call *k) /* variant: enum letter_class */
{
    bool all = k->self.len > 0;
    render_charge(c, k->self.len / 16);
    for (size_t at = 0, len; at < k->self.len && all; at += len) {
        uint32_t code = string_code(k->self, at, &len);
        bool digit = code >= '0' && code <= '9', word = string_is_word(code);
        const bool classes[] = { digit, word && !digit, word, string_is_space(code) }; /* ORDER letter_class */
        all = classes[k->row->variant];
    }
    return of_bool(all);
}

/* In this case already, and another text in the other: at least one letter has one. */
static value is_case(context *c, const struct call *k) /* variant: CASE_UPPER, CASE_LOWER */
{
    enum string_case other = k->row->variant == CASE_UPPER ? CASE_LOWER : CASE_UPPER;
    return of_bool(value_equal(c, k->self, string_cased(c, k->self, (enum string_case)k->row->variant)) &&
                   !value_equal(c, k->self, string_cased(c, k->self, other)));
}

/* ---- putting together ---- */

enum { PAD_LEFT = 1, PAD_RIGHT = 2 };

static value pad(context *c, const struct call *k) /* width fillchar; variant: PAD_* */
{
    int64_t width = k->arg[0].as.integer, missing = width - (int64_t)string_length(k->self), left = missing;
    if (missing <= 0) return k->self;
    if (k->row->variant == PAD_RIGHT) left = 0;
    if (k->row->variant == (PAD_LEFT | PAD_RIGHT)) left = missing / 2 + (missing & width & 1); /* as str.center */
    return string_padded(c, k->self, left, missing - left, given(k->arg[1]) ? k->arg[1] : of_text(" "));
}

static value zfill(context *c, const struct call *k) /* width */
{
    struct builder b = { 0 };
    bool sign = k->self.len > 0 && (k->self.as.bytes[0] == '-' || k->self.as.bytes[0] == '+');
    string_put_value(c, &b, string_part(c, k->self, 0, sign));
    int64_t missing = k->arg[0].as.integer - (int64_t)string_length(k->self);
    string_put_value(c, &b, string_padded(c, string_part(c, k->self, sign, k->self.len), missing, 0, of_text("0")));
    return string_built(&b);
}

/* The method wants strings. */
static value join(context *c, const struct call *k) /* iterable */
{
    const struct list *all = value_items(c, k->arg[0]);
    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].kind != STRING)
            render_fail(c, ERR_VALUE, "sequence item %zu: expected str, %s found", i, value_kind(all->items[i]));
    return string_joined(c, k->self, k->arg[0]);
}

static value format(context *c, const struct call *k)
{
    return string_format(c, k->self, k);
}

/* The arguments as "%" takes them: a tuple, or an object of the named ones. */
static value filter_format(context *c, const struct call *k)
{
    value args = value_list(c, TUPLE);
    for (size_t i = 0; i < k->pos->count; i++) value_add(c, args, k->pos->items[i]);
    return string_percent(c, k->self, value_truth(k->named) ? k->named : args);
}

/* Empty lines stay empty unless `blank`; the first line only with `first`. */
static value indent(context *c, const struct call *k) /* width first blank */
{
    struct builder b = { 0 };
    int64_t width = 4;
    value by = k->arg[0], lines;
    if (k->self.kind != STRING || (given(by) && by.kind != STRING && !value_integer(by, &width)))
        return render_fail(c, ERR_VALUE, "indent: no string, or a width that is neither integer nor string");
    lines = splitlines(c, k);
    if (by.kind != STRING) by = string_padded(c, of_text(""), width, 0, of_text(" "));
    if (k->self.len == 0 || k->self.as.bytes[k->self.len - 1] == '\n') /* the filter adds one, then cuts */
        value_add(c, lines, of_text(""));
    for (size_t i = 0; i < lines.as.list->count && render_charge(c, 1); i++) {
        value line = lines.as.list->items[i];
        bool indented = i == 0 ? value_truth(k->arg[1]) : value_truth(k->arg[2]) || line.len > 0;
        if (i > 0) string_put(c, &b, view_of("\n"), ORIGIN_TEMPLATE);
        if (indented) string_put_value(c, &b, by);
        string_put_value(c, &b, line);
    }
    return string_built(&b);
}

/* For HTML; each piece has the origin of its byte. */
static value escape(context *c, const struct call *k)
{
    static const char marks[] = "&<>\"'", *const becomes[] = { "&amp;", "&lt;", "&gt;", "&#34;", "&#39;" };
    struct builder b = { 0 };
    for (size_t at = 0; at < k->self.len && render_charge(c, 1); at++) {
        const char *mark = memchr(marks, k->self.as.bytes[at], 5);
        value byte = string_part(c, k->self, at, at + 1);
        if (mark == NULL) string_put_value(c, &b, byte);
        else string_put(c, &b, view_of(becomes[mark - marks]), byte.origin);
    }
    return string_built(&b);
}

enum { BOTH = FILTER | AS_TEXT | TEXT_METHOD, ON_TEXT = FILTER | AS_TEXT, TEST_TEXT = TEST | AS_TEXT };

const struct builtin BUILTINS_OF_TEXT[] = {
    { "trim", ON_TEXT, "chars", strip, STRIP_LEFT | STRIP_RIGHT },
    { "strip", TEXT_METHOD, "chars", strip, STRIP_LEFT | STRIP_RIGHT },
    { "lstrip", TEXT_METHOD, "chars", strip, STRIP_LEFT },     { "rstrip", TEXT_METHOD, "chars", strip, STRIP_RIGHT },
    { "split", TEXT_METHOD, "sep maxsplit#-1", split, false },
    { "rsplit", TEXT_METHOD, "sep maxsplit#-1", split, true }, { "partition", TEXT_METHOD, "sep!$", partition, false },
    { "rpartition", TEXT_METHOD, "sep!$", partition, true },   { "splitlines", TEXT_METHOD, "", splitlines, 0 },
    { "startswith", TEXT_METHOD, "prefix!", is_affix, false }, { "endswith", TEXT_METHOD, "suffix!", is_affix, true },
    { "removeprefix", TEXT_METHOD, "prefix!$", remove_affix, false },
    { "removesuffix", TEXT_METHOD, "suffix!$", remove_affix, true },
    { "find", TEXT_METHOD, "sub!$", search, 0 },               { "rfind", TEXT_METHOD, "sub!$", search, SEARCH_LAST },
    { "index", TEXT_METHOD, "sub!$", search, SEARCH_MUST },    { "count", TEXT_METHOD, "sub!$", count, 0 },
    { "replace", TEXT_METHOD, "old!$ new!$ count#-1", replace, 0 },
    { "replace", ON_TEXT, "old!~ new!~ count#-1", replace, 0 },
    { "upper", BOTH, "", cased, CASE_UPPER },                  { "lower", BOTH, "", cased, CASE_LOWER },
    { "capitalize", BOTH, "", cased, CASE_CAPITAL },           { "title", TEXT_METHOD, "", cased, CASE_TITLE },
    { "title", ON_TEXT, "", filter_title, 0 },                 { "isdigit", TEXT_METHOD, "", is_class, ALL_DIGITS },
    { "isnumeric", TEXT_METHOD, "", is_class, ALL_DIGITS },    { "isalpha", TEXT_METHOD, "", is_class, ALL_LETTERS },
    { "isalnum", TEXT_METHOD, "", is_class, ALL_WORD },        { "isspace", TEXT_METHOD, "", is_class, ALL_SPACE },
    { "isupper", TEXT_METHOD, "", is_case, CASE_UPPER },       { "islower", TEXT_METHOD, "", is_case, CASE_LOWER },
    { "upper", TEST_TEXT, "", is_case, CASE_UPPER },           { "lower", TEST_TEXT, "", is_case, CASE_LOWER },
    { "center", BOTH, "width#80 fillchar$", pad, PAD_LEFT | PAD_RIGHT },
    { "ljust", TEXT_METHOD, "width#0 fillchar$", pad, PAD_RIGHT },
    { "rjust", TEXT_METHOD, "width#0 fillchar$", pad, PAD_LEFT },
    { "zfill", TEXT_METHOD, "width#0", zfill, 0 },             { "join", TEXT_METHOD, "iterable!", join, 0 },
    { "format", TEXT_METHOD, "*", format, 0 },                 { "format", ON_TEXT, "*", filter_format, 0 },
    { "indent", FILTER, "width first blank", indent, 0 },      { "escape", ON_TEXT, "", escape, 0 },
    { "e", ON_TEXT, "", escape, 0 },                           { "forceescape", ON_TEXT, "", escape, 0 },
    { NULL, 0, NULL, NULL, 0 } /* the end */
};
