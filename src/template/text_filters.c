/* The filters of text, numbers and JSON, a row each at the end. */
#include "template/builtin.h"

#include "base/checked.h"
#include "base/utf8.h"
#include "template/eval.h"
#include "template/unicode.h"

#include <math.h>
#include <stdio.h>

static bool filter_case(context *c, const struct call *k, value *out)
{
    value s;
    return value_to_string(c, &k->self, &s) && string_case(c, &s, (enum letter_case)k->row->variant, out);
}

/* Words begin after white space, '-' and opening brackets, not after an apostrophe as in str.title. */
static bool filter_title(context *c, const struct call *k, value *out)
{
    value s, word, changed;
    struct builder b = { 0 };
    if (!value_to_string(c, &k->self, &s)) return false;
    for (size_t at = 0, len; at < s.len;) {
        size_t start = at;
        bool gap = true; /* first what stands between words, then a word */
        for (; at < s.len; at += len) {
            uint32_t code = utf8_next(view_after(view_in(&s), at), &len);
            bool between = py_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
            if (gap && !between) {
                if (!string_put_part(c, &b, &s, start, at)) return false;
                gap = false;
                start = at;
            } else if (!gap && between) {
                break;
            }
        }
        word = string_part(c, &s, start, at);
        if (word.kind == MISSING || !string_case(c, &word, CASE_CAPITAL, &changed) ||
            !string_put_value(c, &b, gap ? &word : &changed))
            return false;
    }
    *out = string_built(&b);
    return true;
}

static bool filter_trim(context *c, const struct call *k, value *out)
{
    value s;
    return value_to_string(c, &k->self, &s) && string_strip(c, &s, &k->arg[0], STRIP_LEFT | STRIP_RIGHT, out);
}

static bool filter_string(context *c, const struct call *k, value *out)
{
    return value_to_string(c, &k->self, out);
}

static bool filter_pprint(context *c, const struct call *k, value *out)
{
    struct builder b = { 0 };
    if (!value_print_repr(c, &b, &k->self)) return false;
    *out = string_built(&b);
    return true;
}

/* Unlike the method it takes any value, and turns it into text. */
static bool filter_replace(context *c, const struct call *k, value *out) /* old new count */
{
    value s, old, new;
    int64_t count;
    return value_to_string(c, &k->self, &s) && value_to_string(c, &k->arg[0], &old) &&
           value_to_string(c, &k->arg[1], &new) && call_arg_int(c, &k->arg[2], -1, &count) &&
           string_replace(c, &s, &old, &new, count, out);
}

static bool filter_escape(context *c, const struct call *k, value *out)
{
    static const struct {
        char from;
        const char *to;
    } escapes[] = { { '&', "&amp;" }, { '<', "&lt;" }, { '>', "&gt;" }, { '"', "&#34;" }, { '\'', "&#39;" } };
    struct builder b = { 0 };
    value s;
    if (!value_to_string(c, &k->self, &s) || !render_charge(c, s.len / 2)) return false;
    for (size_t at = 0; at < s.len; at++) {
        size_t i = 0;
        while (i < 5 && s.as.bytes[at] != (uint8_t)escapes[i].from) i++;
        bool good = i == 5 ? string_put_part(c, &b, &s, at, at + 1)
                           : string_put(c, &b, view_of(escapes[i].to), string_origin_at(&s, at));
        if (!good) return false;
    }
    *out = string_built(&b);
    return true;
}

/* Empty lines stay empty unless `blank`; the first line only with `first`. */
static bool filter_indent(context *c, const struct call *k, value *out) /* width first blank */
{
    struct builder b = { 0 };
    value s, lines, blanks = of_text(" "), none = of_text(""), indent = k->arg[0];
    int64_t width;
    if (!value_to_string(c, &k->self, &s)) return false;
    if (indent.kind != STRING &&
        (!call_arg_int(c, &k->arg[0], 4, &width) || !string_pad(c, &none, width, 0, &blanks, &indent)))
        return false;
    if (!string_lines(c, &s, &lines)) return false;
    struct list *l = lines.as.list;
    bool ends = s.len == 0 || s.as.bytes[s.len - 1] == '\n'; /* the filter adds a newline, then cuts: one more line */
    if (ends && !value_list_add(c, l, &none)) return false;
    for (size_t i = 0; i < l->count; i++) {
        bool indented = i == 0 ? value_truth(&k->arg[1]) : value_truth(&k->arg[2]) || l->items[i].len > 0;
        if ((i > 0 && !string_put(c, &b, view_of("\n"), ORIGIN_TEMPLATE)) ||
            (indented && !string_put_value(c, &b, &indent)) || !string_put_value(c, &b, &l->items[i]))
            return false;
    }
    *out = string_built(&b);
    return true;
}

static bool filter_center(context *c, const struct call *k, value *out)
{
    struct call padded = { .arg = { given(&k->arg[0]) ? k->arg[0] : of_int(80) } };
    padded.row = builtin_string_method(view_of("center"));
    return value_to_string(c, &k->self, &padded.self) && padded.row->run(c, &padded, out);
}

/* Cuts at a blank, unless `killwords`; texts a little too long (`leeway`) stay whole. */
static bool filter_truncate(context *c, const struct call *k, value *out) /* length killwords end leeway */
{
    value s, end = of_text("..."), cut;
    int64_t length, leeway;
    size_t blank;
    struct builder b = { 0 };
    if (!value_to_string(c, &k->self, &s) || !call_arg_int(c, &k->arg[0], 255, &length) ||
        !call_arg_int(c, &k->arg[3], 5, &leeway))
        return false;
    if (given(&k->arg[2]) && !call_arg_text(c, &k->arg[2], "end", &end)) return false;
    int64_t room = length - (int64_t)string_chars(view_in(&end));
    if (room < 0 || leeway < 0) return raise(c, "truncate: length and leeway are too small");
    *out = s;
    if ((int64_t)string_chars(view_in(&s)) <= length + leeway) return true;
    size_t to = string_char_offset(view_in(&s), (size_t)room);
    if (!value_truth(&k->arg[1]) && string_find_last((view){ s.as.bytes, to }, to, view_of(" "), &blank)) to = blank;
    cut = string_part(c, &s, 0, to);
    if (cut.kind == MISSING || !string_put_value(c, &b, &cut) || !string_put_value(c, &b, &end)) return false;
    *out = string_built(&b);
    return true;
}

/* Runs of letters, digits and underscores. */
static bool filter_wordcount(context *c, const struct call *k, value *out)
{
    value s;
    int64_t count = 0;
    bool inside = false;
    if (!value_to_string(c, &k->self, &s) || !render_charge(c, s.len / 16)) return false;
    for (size_t at = 0, len; at < s.len; at += len) {
        uint32_t code = utf8_next(view_after(view_in(&s), at), &len);
        bool word = py_alphanumeric(code) || code == '_';
        count += word && !inside;
        inside = word;
    }
    *out = of_int(count);
    return true;
}

/* Lines of at most `width` characters, cut at blanks; longer words are cut anywhere. */
static bool filter_wordwrap(context *c, const struct call *k, value *out) /* width */
{
    value s, lines;
    int64_t width;
    struct builder b = { 0 };
    if (!value_to_string(c, &k->self, &s) || !call_arg_int(c, &k->arg[0], 79, &width) || !string_lines(c, &s, &lines))
        return false;
    if (width <= 0) return raise(c, "invalid width %lld (must be > 0)", (long long)width);
    for (size_t i = 0; i < lines.as.list->count; i++) {
        value line = lines.as.list->items[i];
        for (size_t from = 0; from < line.len || from == 0;) {
            size_t to = from + string_char_offset(view_after(view_in(&line), from), (size_t)width), blank;
            bool cut = to < line.len;
            view piece = { line.as.bytes + from, to - from };
            if (cut && line.as.bytes[to] != ' ' && string_find_last(piece, piece.len_bytes, view_of(" "), &blank) &&
                blank > 0)
                to = from + blank;
            size_t end = to;
            while (cut && end > from && line.as.bytes[end - 1] == ' ') end--;
            if (!render_charge(c, 1) || ((i > 0 || from > 0) && !string_put(c, &b, view_of("\n"), ORIGIN_TEMPLATE)) ||
                !string_put_part(c, &b, &line, from, end))
                return false;
            from = to;
            while (cut && from < line.len && line.as.bytes[from] == ' ') from++;
            if (line.len == 0) break;
        }
    }
    *out = string_built(&b);
    return true;
}

/* Without tags and comments, white space made single blanks. */
static bool filter_striptags(context *c, const struct call *k, value *out)
{
    value s, words, blank = of_text(" ");
    size_t at = 0, open, close;
    struct builder b = { 0 };
    struct call split = { .self = { .kind = MISSING } };
    if (!value_to_string(c, &k->self, &s)) return false;
    while (string_find(view_in(&s), at, view_of("<"), &open)) {
        bool comment = view_starts(view_after(view_in(&s), open), view_of("<!--"));
        if (!render_charge(c, 1) || !string_put_part(c, &b, &s, at, open)) return false;
        at = open;
        if (!string_find(view_in(&s), open, view_of(comment ? "-->" : ">"), &close)) break;
        at = close + (comment ? 3 : 1);
    }
    if (!string_put_part(c, &b, &s, at, s.len)) return false;
    split.self = string_built(&b);
    split.row = builtin_string_method(view_of("split"));
    return split.row->run(c, &split, &words) && string_join(c, &blank, &words, out);
}

/* Percent-encoding of UTF-8 bytes; each piece has the origin of its byte. */
static bool quote(context *c, struct builder *b, const value *v, bool query)
{
    value s;
    if (!value_to_string(c, v, &s) || !render_charge(c, s.len / 2)) return false;
    for (size_t at = 0; at < s.len; at++) {
        char text[4];
        uint8_t byte = s.as.bytes[at];
        bool plain = (byte < 0x80 && py_alphanumeric(byte)) || memchr("_.-~", byte, 4) != NULL ||
                     (byte == '/' && !query);
        if (plain) snprintf(text, sizeof text, "%c", byte);
        else if (query && byte == ' ') snprintf(text, sizeof text, "+");
        else snprintf(text, sizeof text, "%%%02X", byte);
        if (!string_put(c, b, view_of(text), string_origin_at(&s, at))) return false;
    }
    return true;
}

static bool filter_urlencode(context *c, const struct call *k, value *out)
{
    struct builder b = { 0 };
    value pairs = k->self;
    if (k->self.kind == DICT && !value_dict_items(c, k->self.as.dict, 2, &pairs)) return false;
    if (pairs.kind != LIST && pairs.kind != TUPLE) {
        if (!quote(c, &b, &k->self, false)) return false;
        *out = string_built(&b);
        return true;
    }
    for (size_t i = 0; i < pairs.as.list->count; i++) {
        const value *pair;
        size_t two;
        if (!value_items(c, &pairs.as.list->items[i], &pair, &two)) return false;
        if (two != 2) return raise(c, "urlencode: pairs are needed");
        if ((i > 0 && !string_put(c, &b, view_of("&"), ORIGIN_TEMPLATE)) || !quote(c, &b, &pair[0], true) ||
            !string_put(c, &b, view_of("="), ORIGIN_TEMPLATE) || !quote(c, &b, &pair[1], true))
            return false;
    }
    *out = string_built(&b);
    return true;
}

static bool filter_format(context *c, const struct call *k, value *out)
{
    value s, args;
    if (!value_to_string(c, &k->self, &s)) return false;
    const struct call named = { .named = k->named, .named_count = k->named_count };
    if (k->named_count > 0) return value_dict_from_call(c, DICT, &named, &args) && string_percent(c, &s, &args, out);
    if (!value_list_new(c, TUPLE, 0, &args)) return false;
    for (size_t i = 0; i < k->pos_count; i++)
        if (!value_list_add(c, args.as.list, &k->pos[i])) return false;
    return string_percent(c, &s, &args, out);
}

/* ---- numbers ---- */

static bool filter_abs(context *c, const struct call *k, value *out)
{
    value zero = of_int(0);
    zero.origin = ORIGIN_TEMPLATE;
    *out = k->self;
    if (!value_is_number(&k->self))
        return k->self.kind == UNDEFINED ? value_raise_undefined(c, &k->self)
                                         : raise(c, "bad operand type for abs(): '%s'", value_kind(&k->self));
    if (k->self.kind == FLOAT) {
        out->as.real = fabs(k->self.as.real);
        return true;
    }
    return value_arithmetic(c, value_number(&k->self) < 0 ? TOK_SUB : TOK_ADD, &zero, &k->self, out);
}

/* Text as a number in `base`, as int(text, base) reads it: blanks around, a sign, single underscores. */
static bool read_int(view text, int64_t base, int64_t *out)
{
    size_t i = 0;
    bool negative = false, digit_before = false;
    int64_t n = 0;
    if (text.len_bytes > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+')) negative = text.ptr[i++] == '-';
    uint8_t mark = text.len_bytes > i + 2 && text.ptr[i] == '0' ? (uint8_t)(text.ptr[i + 1] | 32) : 0;
    int64_t marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == marked || base == 0)) i += 2, base = marked;
    if (base == 0) base = 10;
    for (; i < text.len_bytes; i++) {
        uint8_t letter = text.ptr[i] | 32;
        int64_t digit = text.ptr[i] >= '0' && text.ptr[i] <= '9' ? text.ptr[i] - '0'
                        : letter >= 'a' && letter <= 'z'         ? letter - 'a' + 10
                                                                 : 99;
        if (text.ptr[i] == '_' && digit_before) {
            digit_before = false;
            continue;
        }
        if (digit >= base || __builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, digit, &n)) return false;
        digit_before = true;
    }
    *out = negative ? -n : n;
    return digit_before;
}

/* Text as float(text) reads it. */
static bool read_float(view text, double *out)
{
    char copy[JSON_NUMBER_BYTES_MAX];
    size_t len = 0, start = text.len_bytes > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    bool digit = false, point = false, exponent = false, word = false;
    value lower = of_view(view_after(text, start), ORIGIN_TEXT);
    char letters[12] = "";
    for (size_t i = 0; i < lower.len && i < sizeof letters - 1; i++) letters[i] = (char)(lower.as.bytes[i] | 32);
    word = lower.len <= 8 &&
           (strcmp(letters, "inf") == 0 || strcmp(letters, "infinity") == 0 || strcmp(letters, "nan") == 0);
    if (text.len_bytes > sizeof copy) return false;
    for (size_t i = 0; i < text.len_bytes; i++) {
        char ch = (char)text.ptr[i];
        bool is_digit = ch >= '0' && ch <= '9', sign = ch == '-' || ch == '+';
        bool mark = !exponent && digit && (ch | 32) == 'e';
        if (!word && !is_digit && !mark && !(sign && (i == 0 || (text.ptr[i - 1] | 32) == 'e')) &&
            !(ch == '.' && !point && !exponent) &&
            !(ch == '_' && i > 0 && i + 1 < text.len_bytes && text.ptr[i - 1] <= '9' && text.ptr[i - 1] >= '0'))
            return false;
        digit = (digit && !mark) || is_digit;
        point = point || ch == '.';
        exponent = exponent || mark;
        if (ch != '_') copy[len++] = ch;
    }
    if (!digit && !word) return false;
    *out = json_parse_double((view){ (uint8_t *)copy, len });
    return true;
}

static bool trimmed(context *c, const value *s, value *out)
{
    value none = of_kind(NONE);
    return string_strip(c, s, &none, STRIP_LEFT | STRIP_RIGHT, out);
}

/* What is no number gives the default: this filter never fails on text. */
static bool filter_int(context *c, const struct call *k, value *out) /* default base */
{
    int64_t base, n;
    double d = 0;
    value s;
    bool good = value_integer(&k->self, &n), real = k->self.kind == FLOAT;
    if (k->self.kind == UNDEFINED) return value_raise_undefined(c, &k->self);
    if (!call_arg_int(c, &k->arg[1], 10, &base)) return false;
    if (k->self.kind == FLOAT) d = k->self.as.real;
    if (k->self.kind == STRING) {
        if (!trimmed(c, &k->self, &s)) return false;
        good = read_int(view_in(&s), base, &n);
        real = !good && read_float(view_in(&s), &d);
    }
    if (real && fabs(d) < 9.2e18) n = (int64_t)d, good = true;
    *out = good ? of_int(n) : k->self.kind == BIG_INT ? k->self : given(&k->arg[0]) ? k->arg[0] : of_int(0);
    if (good) out->origin = k->self.origin;
    return true;
}

/* As filter_int. */
static bool filter_float(context *c, const struct call *k, value *out) /* default */
{
    double d = 0;
    value s;
    bool good = value_is_number(&k->self);
    if (k->self.kind == UNDEFINED) return value_raise_undefined(c, &k->self);
    if (good) d = value_number(&k->self);
    if (k->self.kind == STRING) {
        if (!trimmed(c, &k->self, &s)) return false;
        good = read_float(view_in(&s), &d);
    }
    *out = good ? of_float(d) : given(&k->arg[0]) ? k->arg[0] : of_float(0);
    return true;
}

/* To the even neighbour of 10^-precision, through exact decimal digits; floats stay floats, integers integers. */
static bool filter_round(context *c, const struct call *k, value *out) /* precision method */
{
    int64_t precision, n;
    char text[400];
    view method = given(&k->arg[1]) && k->arg[1].kind == STRING ? view_in(&k->arg[1]) : view_of("common");
    if (!call_arg_int(c, &k->arg[0], 0, &precision)) return false;
    if (!value_is_number(&k->self) || k->self.kind == BIG_INT)
        return k->self.kind == UNDEFINED ? value_raise_undefined(c, &k->self)
                                         : raise(c, "round: '%s' is no number", value_kind(&k->self));
    if (precision > 15 || precision < -15)
        return raise(c, "round: precision %lld, from -15 to 15 are allowed", (long long)precision);
    double d = value_number(&k->self), unit = 1, scaled;
    for (int64_t i = precision < 0 ? -precision : precision; i > 0; i--) unit *= 10;
    bool common = view_is(method, "common");
    if (!common && !view_is(method, "floor") && !view_is(method, "ceil"))
        return raise(c, "method must be common, ceil or floor");
    if (common && value_integer(&k->self, &n)) {
        int64_t whole = (int64_t)unit, rest = n % whole, size = rest < 0 ? -rest : rest, rounded = n - rest;
        bool up = size > whole - size || (size == whole - size && rounded / whole % 2 != 0);
        if (up && __builtin_add_overflow(rounded, n < 0 ? -whole : whole, &rounded))
            return raise_limit(c, "round: a number over 64 bits is not computed with");
        *out = of_int(precision >= 0 ? n : rounded);
    } else if (common && precision >= 0) {
        if (fabs(d) < 1e15) snprintf(text, sizeof text, "%.*f", (int)precision, d);
        *out = of_float(fabs(d) < 1e15 ? json_parse_double(view_of(text)) : d);
    } else {
        scaled = precision < 0 ? d / unit : d * unit;
        double whole = fabs(scaled) < 9e15 ? (double)(int64_t)scaled : scaled, fraction = scaled - whole;
        if (view_is(method, "floor") && fraction < 0) whole -= 1;
        if (view_is(method, "ceil") && fraction > 0) whole += 1;
        if (common && (fabs(fraction) > 0.5 || (fabs(fraction) == 0.5 && (int64_t)whole % 2 != 0)))
            whole += fraction < 0 ? -1 : 1;
        *out = of_float(precision < 0 ? whole * unit : whole / unit);
    }
    out->origin = k->self.origin;
    return true;
}

/* ---- JSON ---- */

/* The arguments of json.dumps, in Hugging Face's order. */
static bool filter_tojson(context *c, const struct call *k, value *out) /* ensure_ascii indent separators sort_keys */
{
    struct json_style style = { .ascii = value_truth(&k->arg[0]), .sort = value_truth(&k->arg[3]) };
    const value *indent = &k->arg[1], *separators = &k->arg[2], *two;
    struct builder b = { 0 };
    value blank = of_text(" "), none = of_text("");
    int64_t width = 0;
    size_t count;
    style.indented = given(indent) && indent->kind != NONE;
    style.indent = *indent;
    if (style.indented && indent->kind != STRING &&
        (!call_arg_int(c, indent, 0, &width) || !string_pad(c, &none, width, 0, &blank, &style.indent)))
        return false;
    style.item_separator = of_text(style.indented ? "," : ", ");
    style.key_separator = of_text(": ");
    if (given(separators) && separators->kind != NONE) {
        if (!value_items(c, separators, &two, &count)) return false;
        if (count != 2 || two[0].kind != STRING || two[1].kind != STRING)
            return raise(c, "tojson: separators are two strings");
        style.item_separator = two[0];
        style.key_separator = two[1];
    }
    if (!value_print_json(c, &b, &k->self, &style)) return false;
    *out = string_built(&b);
    return true;
}

/* Not in Jinja; templates written for llama.cpp use it. */
static bool filter_from_json(context *c, const struct call *k, value *out)
{
    const json_value *tree;
    err e = { 0 };
    if (k->self.kind != STRING) return raise(c, "from_json: '%s' is no text", value_kind(&k->self));
    size_t room = c->memory_end - min_size(c->arena->used_bytes, c->memory_end);
    if (!render_charge(c, 1 + k->self.len / 4)) return false;
    if (k->self.len > room / 40)
        return raise_limit(c, "from_json: text too long"); /* a value may be 2 bytes, and takes 72 */
    if (!json_parse(view_in(&k->self), c->arena, &tree, &e)) return raise(c, "from_json: %s", e.text);
    return value_from_json(c, tree, (enum template_origin)k->self.origin, out);
}

const struct builtin *builtin_text_filter(view name)
{
    static const struct builtin rows[] = {
        { "abs", "", 0, 0, filter_abs },
        { "capitalize", "", 0, CASE_CAPITAL, filter_case },
        { "center", "width", 0, 0, filter_center },
        { "e", "", 0, 0, filter_escape },
        { "escape", "", 0, 0, filter_escape },
        { "float", "default", 0, 0, filter_float },
        { "forceescape", "", 0, 0, filter_escape },
        { "format", "*", 0, 0, filter_format },
        { "from_json", "", 0, 0, filter_from_json },
        { "fromjson", "", 0, 0, filter_from_json },
        { "indent", "width first blank", 0, 0, filter_indent },
        { "int", "default base", 0, 0, filter_int },
        { "lower", "", 0, CASE_LOWER, filter_case },
        { "pprint", "", 0, 0, filter_pprint },
        { "replace", "old new count", 2, 0, filter_replace },
        { "round", "precision method", 0, 0, filter_round },
        { "safe", "", 0, 0, filter_string },
        { "string", "", 0, 0, filter_string },
        { "striptags", "", 0, 0, filter_striptags },
        { "title", "", 0, 0, filter_title },
        { "tojson", "ensure_ascii indent separators sort_keys", 0, 0, filter_tojson },
        { "trim", "chars", 0, 0, filter_trim },
        { "truncate", "length killwords end leeway", 0, 0, filter_truncate },
        { "upper", "", 0, CASE_UPPER, filter_case },
        { "urlencode", "", 0, 0, filter_urlencode },
        { "wordcount", "", 0, 0, filter_wordcount },
        { "wordwrap", "width", 0, 0, filter_wordwrap },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (view_is(name, rows[i].name)) return &rows[i];
    return NULL;
}
