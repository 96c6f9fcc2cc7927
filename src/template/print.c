/* Values to text as Python writes them: str, repr, json.dumps. Text computed from a value is as trusted as the least
 * trusted part of it; what stands between the values of a list, as the list. */
#include "template/value.h"

#include "base/unicode.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>

/* Integers as they are, floats with the fewest digits that read back the same. */
static void put_number(context *c, struct builder *b, value v, bool json)
{
    char text[JSON_DOUBLE_BYTES];
    size_t len;
    if (v.kind == BIG_INT) {
        string_put(c, b, view_in(v), v.origin);
        return;
    }
    if (v.kind == INT) len = (size_t)snprintf(text, sizeof text, "%lld", (long long)v.as.integer);
    else if (json && !isfinite(v.as.real))
        len = (size_t)snprintf(text, sizeof text, "%s",
                               isnan(v.as.real) ? "NaN"
                               : v.as.real < 0  ? "-Infinity"
                                                : "Infinity");
    else len = json_double_text(v.as.real, text);
    string_put(c, b, (view){ (uint8_t *)text, len }, v.origin);
}

/* The escape of one character, or nothing: JSON's, or Python's, which knows more that is not printable. */
static view escaped(uint32_t code, char quote, const struct style *s, char out[static 16])
{
    if (s->json && code < 0x80) return json_escape((uint8_t)code);
    enum unicode_category category = unicode_facts_of(code).category;
    bool printable = code == ' ' || (category != UNICODE_CN && category < UNICODE_ZS);
    out[0] = '\0';
    if (s->json && s->ascii && code > 0xFFFF)
        snprintf(out, 16, "\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF));
    else if (s->json && s->ascii) snprintf(out, 16, "\\u%04x", code);
    else if (!s->json && (code == (uint8_t)quote || code == '\\')) snprintf(out, 16, "\\%c", (char)code);
    else if (!s->json && (code == '\n' || code == '\r' || code == '\t'))
        snprintf(out, 16, "\\%c", code == '\n' ? 'n' : code == '\r' ? 'r' : 't');
    else if (!s->json && !printable)
        snprintf(out, 16, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    return view_of(out);
}

/* Python takes single quotes unless that takes an escape more than double ones. */
static void put_quoted(context *c, struct builder *b, value text, const struct style *s)
{
    unsigned origin = string_origin(text);
    bool single = text.len > 0 && memchr(text.as.bytes, '\'', text.len) != NULL;
    bool both = single && memchr(text.as.bytes, '"', text.len) != NULL;
    char quote = s->json || (single && !both) ? '"' : '\'', buffer[16];
    size_t plain = 0; /* where the bytes begin that need no escape */
    if (!render_charge(c, text.len / 8)) return;
    string_put(c, b, (view){ (uint8_t *)&quote, 1 }, origin);
    for (size_t at = 0, len; at < text.len; at += len) {
        view instead = escaped(string_code(text, at, &len), quote, s, buffer);
        if (instead.len_bytes == 0) continue;
        string_put(c, b, (view){ text.as.bytes + plain, at - plain }, origin);
        string_put(c, b, instead, origin);
        plain = at + len;
    }
    string_put(c, b, (view){ text.as.bytes + plain, text.len - plain }, origin);
    string_put(c, b, (view){ (uint8_t *)&quote, 1 }, origin);
}

static void put_any(context *c, struct builder *b, value v, const struct style *s, size_t depth);

/* A key of JSON is a string, or what json.dumps makes one of. */
static void put_key(context *c, struct builder *b, value key, const struct style *s, size_t depth)
{
    struct builder text = { 0 };
    if (s->json && key.kind > STRING)
        render_fail(c, ERR_VALUE, "keys must be str, int, float, bool or None, not %s", value_kind(key));
    if (s->json && key.kind != STRING) {
        put_any(c, &text, key, s, depth);
        key = string_built(&text);
    }
    put_any(c, b, key, s, depth);
}

/* What a template says stands between values is as trusted as the less trusted of it and the container. */
static void put_between(context *c, struct builder *b, value text, value container)
{
    unsigned origin = string_origin(text);
    string_put(c, b, view_in(text), origin > container.origin ? origin : container.origin);
}

static void new_line(context *c, struct builder *b, value container, const struct style *s, size_t depth)
{
    if (!s->indented) return;
    string_put(c, b, view_of("\n"), container.origin);
    for (; depth > 0; depth--) put_between(c, b, s->indent, container);
}

/* The items of a list or the members of an object. An empty one stays on its line also where the style indents. */
static void put_items(context *c, struct builder *b, value v, const struct style *s, size_t depth)
{
    bool dict = v.kind == DICT || v.kind == NAMESPACE, tuple = v.kind == TUPLE && !s->json;
    const struct list *l = v.as.list;
    string_put(c, b, view_of(dict ? "{" : tuple ? "(" : "["), v.origin);
    for (size_t i = 0; i < l->count && render_charge(c, 1); i += dict ? 2 : 1) {
        if (i > 0) put_between(c, b, s->item_separator, v);
        new_line(c, b, v, s, depth);
        if (dict) {
            put_key(c, b, l->items[i], s, depth);
            put_between(c, b, s->key_separator, v);
        }
        put_any(c, b, l->items[i + dict], s, depth);
    }
    if (l->count > 0) new_line(c, b, v, s, depth - 1);
    if (tuple && l->count == 1) string_put(c, b, view_of(","), v.origin); /* else it would be parentheses */
    string_put(c, b, view_of(dict ? "}" : tuple ? ")" : "]"), v.origin);
}

static value sorted(context *c, value dict)
{
    value out = value_list(c, DICT);
    const struct list *l = dict.as.list;
    for (size_t i = 0; i < l->count && !c->failed; i += 2) value_insert(c, out, l->items[i], l->items[i + 1], false);
    out.origin = dict.origin;
    return out;
}

static void put_word(context *c, struct builder *b, value v, const struct style *s)
{
    const char *word = v.kind == NONE ? (s->json ? "null" : "None") : value_kind(v);
    if (v.kind == BOOL) word = v.as.truth ? (s->json ? "true" : "True") : (s->json ? "false" : "False");
    bool brackets = v.kind > BOOL;
    if (brackets) string_put(c, b, view_of("<"), v.origin);
    string_put(c, b, view_of(word), v.origin);
    if (brackets) string_put(c, b, view_of(">"), v.origin);
}

/* Python's printing has a limit on depth too (its recursion): a list that holds itself is an error. */
static void put_any(context *c, struct builder *b, value v, const struct style *s, size_t depth)
{
    if (depth++ >= TEMPLATE_VALUE_DEPTH_MAX)
        render_fail(c, ERR_LIMIT, "lists nested over %d deep", TEMPLATE_VALUE_DEPTH_MAX);
    if (s->json && (v.kind == UNDEFINED || v.kind > DICT))
        render_fail(c, ERR_VALUE, "object of type %s is not JSON serializable", value_kind(v));
    if (!render_charge(c, 1)) return;
    char text[96];
    if (v.kind == STRING) {
        put_quoted(c, b, v, s);
    } else if (value_is_number(v) && v.kind != BOOL) {
        put_number(c, b, v, s->json);
    } else if (v.kind == RANGE && !s->json) {
        const value *bounds = v.as.list->items + v.as.list->count;
        long long step = bounds[2].as.integer;
        snprintf(text, sizeof text, step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
                 (long long)bounds[0].as.integer, (long long)bounds[1].as.integer, step);
        string_put(c, b, view_of(text), v.origin);
    } else if (v.kind >= LIST && v.kind <= NAMESPACE) {
        put_items(c, b, s->sort && v.kind == DICT ? sorted(c, v) : v, s, depth);
    } else {
        put_word(c, b, v, s);
    }
}

void value_print_as(context *c, struct builder *b, value v, const struct style *style)
{
    const struct style repr = { .item_separator = of_text(", "), .key_separator = of_text(": ") };
    put_any(c, b, v, style == NULL ? &repr : style, 0);
}

/* Text as it is, what is not defined as nothing, the rest as repr. */
void value_print(context *c, struct builder *b, value v)
{
    if (v.kind == STRING) string_put_value(c, b, v);
    else if (v.kind != UNDEFINED) value_print_as(c, b, v, NULL);
}

value value_to_string(context *c, value v)
{
    struct builder b = { 0 };
    if (v.kind == STRING) return v;
    value_print(c, &b, v);
    return string_built(&b);
}
