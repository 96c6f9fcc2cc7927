/* Values to text as Python writes them: str, repr, json.dumps. Text computed from a value is as trusted as the least
 * trusted part of it. */
#include "template/value.h"

#include "base/checked.h"
#include "base/utf8.h"
#include "template/unicode.h"

#include <math.h>
#include <stdio.h>

static bool put_text(context *c, struct builder *b, const char *text, enum template_origin origin)
{
    return string_put(c, b, view_of(text), origin);
}

/* Integers as they are, floats with the fewest digits that read back the same. */
static bool put_number(context *c, struct builder *b, const value *v, bool json)
{
    char text[JSON_DOUBLE_BYTES];
    size_t len;
    if (v->kind == BIG_INT) return string_put(c, b, view_in(v), v->origin);
    if (v->kind == INT) len = (size_t)snprintf(text, sizeof text, "%lld", (long long)v->as.integer);
    else len = json_double_text(v->as.real, text);
    if (json && v->kind == FLOAT && !isfinite(v->as.real))
        return put_text(c, b, isnan(v->as.real) ? "NaN" : v->as.real < 0 ? "-Infinity" : "Infinity", v->origin);
    return string_put(c, b, (view){ (uint8_t *)text, len }, v->origin);
}

/* repr of a string: in single quotes unless that takes an escape more than double ones. */
static bool repr_string(context *c, struct builder *b, const value *s)
{
    view text = view_in(s);
    bool single = text.len_bytes > 0 && memchr(text.ptr, '\'', text.len_bytes) != NULL;
    bool both = single && memchr(text.ptr, '"', text.len_bytes) != NULL;
    uint8_t quote = single && !both ? '"' : '\'';
    if (!render_charge(c, s->len / 4) || !string_put(c, b, (view){ &quote, 1 }, s->origin)) return false;
    for (size_t at = 0, len; at < text.len_bytes; at += len) {
        char escape[12] = "";
        uint32_t code = utf8_next(view_after(text, at), &len);
        if (code == quote || code == '\\') snprintf(escape, sizeof escape, "\\%c", (char)code);
        else if (code == '\n' || code == '\r' || code == '\t')
            snprintf(escape, sizeof escape, "\\%c", code == '\n' ? 'n' : code == '\r' ? 'r' : 't');
        else if (!py_printable(code))
            snprintf(escape, sizeof escape, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
        view piece = escape[0] != '\0' ? view_of(escape) : (view){ text.ptr + at, len };
        if (!string_put(c, b, piece, s->origin)) return false;
    }
    return string_put(c, b, (view){ &quote, 1 }, s->origin);
}

/* A tuple of one has a comma, so that it is not taken for parentheses. */
static bool repr_list(context *c, struct builder *b, const value *v)
{
    const struct list *l = v->as.list;
    bool tuple = v->kind == TUPLE;
    if (!put_text(c, b, tuple ? "(" : "[", v->origin)) return false;
    for (size_t i = 0; i < l->count; i++) {
        if (i > 0 && !put_text(c, b, ", ", v->origin)) return false;
        if (!render_charge(c, 1) || !value_print_repr(c, b, &l->items[i])) return false;
    }
    return put_text(c, b, tuple ? (l->count == 1 ? ",)" : ")") : "]", v->origin);
}

static bool repr_dict(context *c, struct builder *b, const value *v)
{
    const struct dict *d = v->as.dict;
    if (!put_text(c, b, "{", v->origin)) return false;
    for (size_t i = 0; i < d->count; i++) {
        if (i > 0 && !put_text(c, b, ", ", v->origin)) return false;
        if (!render_charge(c, 1) || !value_print_repr(c, b, &d->pairs[i].key) || !put_text(c, b, ": ", v->origin) ||
            !value_print_repr(c, b, &d->pairs[i].value))
            return false;
    }
    return put_text(c, b, "}", v->origin);
}

/* As Python prints it; loops over it cost no memory. */
static bool repr_range(context *c, struct builder *b, const value *v)
{
    char text[96];
    const struct range *r = v->as.range;
    long long stop = r->stop;
    if (r->step == 1) snprintf(text, sizeof text, "range(%lld, %lld)", (long long)r->start, stop);
    else snprintf(text, sizeof text, "range(%lld, %lld, %lld)", (long long)r->start, stop, (long long)r->step);
    return put_text(c, b, text, v->origin);
}

/* Python's printing has a limit on depth too (its recursion), so a list that holds itself is an error here. */
static bool too_deep(context *c, size_t depth)
{
    return depth > TEMPLATE_VALUE_DEPTH_MAX && !raise_limit(c, "lists nested over %d deep", TEMPLATE_VALUE_DEPTH_MAX);
}

/* repr: how values inside lists and objects print. */
bool value_print_repr(context *c, struct builder *b, const value *v)
{
    bool good;
    if (too_deep(c, ++c->print_depth)) return false;
    switch (v->kind) {
    case STRING:
        good = repr_string(c, b, v);
        break;
    case UNDEFINED:
        good = put_text(c, b, "Undefined", v->origin);
        break;
    case NONE:
        good = put_text(c, b, "None", v->origin);
        break;
    case BOOL:
        good = put_text(c, b, v->as.truth ? "True" : "False", v->origin);
        break;
    case INT:
    case BIG_INT:
    case FLOAT:
        good = put_number(c, b, v, false);
        break;
    case LIST:
    case TUPLE:
        good = repr_list(c, b, v);
        break;
    case DICT:
        good = repr_dict(c, b, v);
        break;
    case NAMESPACE:
        good = put_text(c, b, "<Namespace ", v->origin) && repr_dict(c, b, v) && put_text(c, b, ">", v->origin);
        break;
    case RANGE:
        good = repr_range(c, b, v);
        break;
    default:
        good = put_text(c, b, "<", v->origin) && put_text(c, b, value_kind(v), v->origin) &&
               put_text(c, b, ">", v->origin);
    }
    c->print_depth--;
    return good;
}

/* str: text as it is, what is not defined as nothing, the rest as repr. */
bool value_print(context *c, struct builder *b, const value *v)
{
    if (v->kind == STRING) return string_put_value(c, b, v);
    return v->kind == UNDEFINED || value_print_repr(c, b, v);
}

/* What the text filters see of any value. */
bool value_to_string(context *c, const value *v, value *out)
{
    struct builder b = { 0 };
    *out = *v;
    if (v->kind == STRING) return true;
    if (!value_print(c, &b, v)) return false;
    *out = string_built(&b);
    return true;
}

/* ---- JSON ---- */

static bool json_string_text(context *c, struct builder *b, const value *s, bool ascii)
{
    view text = view_in(s);
    size_t plain = 0; /* where the bytes begin that need no escape */
    if (!render_charge(c, s->len / 8) || !put_text(c, b, "\"", s->origin)) return false;
    for (size_t at = 0, len = 1; at < text.len_bytes; at += len) {
        char escape[16] = "";
        view instead = json_escape(text.ptr[at]);
        len = 1;
        if (text.ptr[at] >= 0x80) {
            uint32_t code = utf8_next(view_after(text, at), &len);
            if (!ascii) continue;
            uint32_t high = 0xD800 + ((code - 0x10000) >> 10), low = 0xDC00 + ((code - 0x10000) & 0x3FF);
            if (code < 0x10000) snprintf(escape, sizeof escape, "\\u%04x", code);
            else snprintf(escape, sizeof escape, "\\u%04x\\u%04x", high, low);
            instead = view_of(escape);
        }
        if (instead.len_bytes == 0) continue;
        if (!string_put(c, b, (view){ text.ptr + plain, at - plain }, s->origin) ||
            !string_put(c, b, instead, s->origin))
            return false;
        plain = at + len;
    }
    return string_put(c, b, (view){ text.ptr + plain, text.len_bytes - plain }, s->origin) &&
           put_text(c, b, "\"", s->origin);
}

/* What stands between the values of a container is as trusted as the container. */
static bool put_style(context *c, struct builder *b, const value *text, const value *container)
{
    return string_put(c, b, view_in(text), text->origin > container->origin ? text->origin : container->origin);
}

static bool json_newline(context *c, struct builder *b, const struct json_style *style, const value *v, size_t level)
{
    if (!style->indented) return true;
    if (!put_text(c, b, "\n", v->origin)) return false;
    for (; level > 0; level--)
        if (!put_style(c, b, &style->indent, v)) return false;
    return true;
}

/* A key is a string, or what json.dumps makes one of. */
static bool json_name(context *c, struct builder *b, const value *key, const struct json_style *style)
{
    static const char *const words[] = { "null", "false", "true" };
    struct builder text = { 0 };
    value name = *key;
    if (key->kind == NONE) name = of_text(words[0]);
    else if (key->kind == BOOL) name = of_text(words[1 + key->as.truth]);
    else if (value_is_number(key)) {
        if (!put_number(c, &text, key, true)) return false;
        name = string_built(&text);
    } else if (key->kind != STRING) {
        return raise(c, "keys must be str, int, float, bool or None, not %s", value_kind(key));
    }
    name.origin = key->origin;
    return json_string_text(c, b, &name, style->ascii);
}

/* An empty one stays on its line also where the style indents. */
static bool json_list(context *c, struct builder *b, const value *v, const struct json_style *style)
{
    const struct list *l = v->as.list;
    if (l->count == 0) return put_text(c, b, "[]", v->origin);
    if (!put_text(c, b, "[", v->origin)) return false;
    for (size_t i = 0; i < l->count; i++) {
        if (i > 0 && !put_style(c, b, &style->item_separator, v)) return false;
        if (!json_newline(c, b, style, v, c->print_depth) || !value_print_json(c, b, &l->items[i], style)) return false;
    }
    return json_newline(c, b, style, v, c->print_depth - 1) && put_text(c, b, "]", v->origin);
}

/* The order of a dictionary's members with sort_keys: by name, which must be strings. */
static bool sorted_order(context *c, const struct dict *d, size_t *order)
{
    for (size_t i = 0; i < d->count; i++) {
        size_t at = i;
        for (; at > 0; at--) { /* insertion: objects are small, and pay for it */
            int before;
            if (!render_charge(c, 1) || !value_compare(c, &d->pairs[i].key, &d->pairs[order[at - 1]].key, &before))
                return false;
            if (before >= 0) break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    return true;
}

/* In the order of insertion, unless the style sorts. */
static bool json_dict(context *c, struct builder *b, const value *v, const struct json_style *style)
{
    const struct dict *d = v->as.dict;
    size_t *order = style->sort ? render_take(c, d->count, sizeof *order) : NULL;
    if (d->count == 0) return put_text(c, b, "{}", v->origin);
    if (style->sort && (order == NULL || !sorted_order(c, d, order))) return false;
    if (!put_text(c, b, "{", v->origin)) return false;
    for (size_t i = 0; i < d->count; i++) {
        const struct pair *p = &d->pairs[order == NULL ? i : order[i]];
        if (i > 0 && !put_style(c, b, &style->item_separator, v)) return false;
        if (!json_newline(c, b, style, v, c->print_depth) || !json_name(c, b, &p->key, style) ||
            !put_style(c, b, &style->key_separator, v) || !value_print_json(c, b, &p->value, style))
            return false;
    }
    return json_newline(c, b, style, v, c->print_depth - 1) && put_text(c, b, "}", v->origin);
}

/* json.dumps with Hugging Face's settings: nothing is escaped for HTML. */
bool value_print_json(context *c, struct builder *b, const value *v, const struct json_style *style)
{
    bool good;
    if (too_deep(c, ++c->print_depth) || !render_charge(c, 2)) return false;
    switch (v->kind) {
    case STRING:
        good = json_string_text(c, b, v, style->ascii);
        break;
    case NONE:
        good = put_text(c, b, "null", v->origin);
        break;
    case BOOL:
        good = put_text(c, b, v->as.truth ? "true" : "false", v->origin);
        break;
    case INT:
    case BIG_INT:
    case FLOAT:
        good = put_number(c, b, v, true);
        break;
    case LIST:
    case TUPLE:
        good = json_list(c, b, v, style);
        break;
    case DICT:
        good = json_dict(c, b, v, style);
        break;
    default:
        good = raise(c, "object of type %s is not JSON serializable", value_kind(v));
    }
    c->print_depth--;
    return good;
}
