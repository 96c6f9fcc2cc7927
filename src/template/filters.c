/* The filters, one row each at the end. Those that Jinja gives as generators (map, select, ...) give lists here. */
#include "template/builtin.h"

#include "base/checked.h"
#include "base/utf8.h"
#include "template/eval.h"
#include "template/unicode.h"

#include <math.h>
#include <stdio.h>

/* ---- attributes of items ---- */

/* The path "a.b.0": each part is looked up as an item first. */
static bool attribute_of(context *c, const value *item, const value *path, const value *otherwise, value *out)
{
    *out = *item;
    if (path->kind != STRING) return !given(path) || path->kind == NONE || value_item(c, item, path, out);
    for (size_t start = 0, dot; start <= path->len; start = dot + 1) {
        if (!string_find(view_in(path), start, view_of("."), &dot)) dot = path->len;
        value key = of_view((view){ path->as.bytes + start, dot - start }, ORIGIN_TEMPLATE), object = *out;
        int64_t index = 0;
        for (size_t i = start; i < dot && index < 1000000; i++) index = index * 10 + path->as.bytes[i] - '0';
        if (key.len > 0 && key.len < 7 && string_is(&key, "digit")) key = of_int(index);
        if (!value_item(c, &object, &key, out)) return false;
        if (out->kind == UNDEFINED && otherwise != NULL && given(otherwise) && otherwise->kind != NONE)
            *out = *otherwise;
    }
    return true;
}

/* What sorting and grouping go by: the attribute, letters lowered unless they count. */
static bool key_of(context *c, const value *item, const value *path, const value *otherwise, bool sensitive, value *out)
{
    if (!attribute_of(c, item, path, otherwise, out)) return false;
    value key = *out;
    return sensitive || key.kind != STRING || string_case(c, &key, CASE_LOWER, out);
}

/* ---- sorting ---- */

struct keyed {
    value key, item;
};

/* A stable merge of a[0..middle) and a[middle..count), through `spare`. */
static bool merge(context *c, struct keyed *a, struct keyed *spare, size_t middle, size_t count, bool reverse)
{
    memcpy(spare, a, middle * sizeof *a);
    for (size_t i = 0, j = middle, to = 0; i < middle; to++) {
        int order = -1;
        if (j < count && !value_compare(c, &a[j].key, &spare[i].key, &order)) return false;
        bool later_first = j < count && (reverse ? order == 1 : order == -1);
        a[to] = later_first ? a[j++] : spare[i++];
        if (!render_charge(c, 1)) return false;
    }
    return true;
}

static bool sort_keyed(context *c, struct keyed *a, size_t count, bool reverse)
{
    struct keyed *spare = render_take(c, count, sizeof *spare);
    if (spare == NULL) return false;
    for (size_t width = 1; width < count; width *= 2)
        for (size_t start = 0; start + width < count; start += 2 * width)
            if (!merge(c, a + start, spare, width, min_size(2 * width, count - start), reverse)) return false;
    return true;
}

/* The items of `v` with their keys. A path with commas makes a tuple of keys. */
static bool keyed_items(context *c, const value *v, const value *path, const value *otherwise, bool sensitive,
                        struct keyed **out, size_t *count)
{
    const value *all;
    if (!value_items(c, v, &all, count) || (*out = render_take(c, *count, sizeof **out)) == NULL) return false;
    bool several = path->kind == STRING && path->len > 0 && memchr(path->as.bytes, ',', path->len) != NULL;
    for (size_t i = 0; i < *count; i++) {
        struct keyed *k = &(*out)[i];
        k->item = all[i];
        if (!several) {
            if (!key_of(c, &all[i], path, otherwise, sensitive, &k->key)) return false;
            continue;
        }
        if (!value_list_new(c, TUPLE, 0, &k->key)) return false;
        for (size_t start = 0, comma; start <= path->len; start = comma + 1) {
            if (!string_find(view_in(path), start, view_of(","), &comma)) comma = path->len;
            value one = of_view((view){ path->as.bytes + start, comma - start }, ORIGIN_TEMPLATE), key;
            if (!key_of(c, &all[i], &one, otherwise, sensitive, &key) || !value_list_add(c, k->key.as.list, &key))
                return false;
        }
    }
    return true;
}

static bool list_of(context *c, const struct keyed *a, size_t count, value *out)
{
    if (!value_list_new(c, LIST, count, out)) return false;
    for (size_t i = 0; i < count; i++) out->as.list->items[i] = a[i].item;
    out->as.list->count = count;
    return true;
}

static bool filter_sort(context *c, const struct call *k, value *out) /* reverse case_sensitive attribute */
{
    struct keyed *a;
    size_t count;
    return keyed_items(c, &k->self, &k->arg[2], NULL, value_truth(&k->arg[1]), &a, &count) &&
           sort_keyed(c, a, count, value_truth(&k->arg[0])) && list_of(c, a, count, out);
}

static bool filter_dictsort(context *c, const struct call *k, value *out) /* case_sensitive by reverse */
{
    struct keyed *a;
    size_t count;
    value pairs, position = of_int(0);
    if (k->self.kind != DICT) return raise(c, "'%s' object has no attribute 'items'", value_kind(&k->self));
    if (k->arg[1].kind == STRING && view_is(view_in(&k->arg[1]), "value")) position = of_int(1);
    else if (given(&k->arg[1]) && !(k->arg[1].kind == STRING && view_is(view_in(&k->arg[1]), "key")))
        return raise(c, "dictsort: sort by either \"key\" or \"value\"");
    return dict_items(c, k->self.as.dict, 2, &pairs) &&
           keyed_items(c, &pairs, &position, NULL, value_truth(&k->arg[0]), &a, &count) &&
           sort_keyed(c, a, count, value_truth(&k->arg[2])) && list_of(c, a, count, out);
}

static bool filter_groupby(context *c, const struct call *k, value *out) /* attribute default case_sensitive */
{
    struct keyed *a;
    size_t count;
    value group, members;
    if (!keyed_items(c, &k->self, &k->arg[0], &k->arg[1], value_truth(&k->arg[2]), &a, &count) ||
        !sort_keyed(c, a, count, false) || !value_list_new(c, LIST, 0, out))
        return false;
    for (size_t i = 0; i < count;) {
        bool same = true;
        size_t first = i;
        if (!value_list_new(c, TUPLE, 2, &group) || !value_list_new(c, LIST, 0, &members)) return false;
        while (i < count && same) {
            if (!value_list_add(c, members.as.list, &a[i++].item)) return false;
            if (i < count && !value_equal(c, &a[first].key, &a[i].key, &same)) return false;
        }
        if (!attribute_of(c, &a[first].item, &k->arg[0], &k->arg[1], &group.as.list->items[0])) return false;
        group.as.list->items[1] = members;
        group.as.list->count = 2;
        group.as.list->group = true;
        if (!value_list_add(c, out->as.list, &group)) return false;
    }
    return true;
}

static bool filter_unique(context *c, const struct call *k, value *out) /* case_sensitive attribute */
{
    struct keyed *a;
    size_t count;
    value seen;
    if (!keyed_items(c, &k->self, &k->arg[1], NULL, value_truth(&k->arg[0]), &a, &count) ||
        !value_list_new(c, LIST, 0, out) || !value_dict_new(c, DICT, &seen))
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t index;
        bool found;
        if (!value_dict_find(c, seen.as.dict, &a[i].key, &index, &found)) return false;
        if (!found &&
            (!value_dict_put(c, seen.as.dict, &a[i].key, &a[i].key) || !value_list_add(c, out->as.list, &a[i].item)))
            return false;
    }
    return true;
}

static bool extreme(context *c, const struct call *k, int wanted, value *out) /* case_sensitive attribute */
{
    struct keyed *a;
    size_t count, best = 0;
    if (!keyed_items(c, &k->self, &k->arg[1], NULL, value_truth(&k->arg[0]), &a, &count)) return false;
    for (size_t i = 1; i < count; i++) {
        int order;
        if (!render_charge(c, 1) || !value_compare(c, &a[i].key, &a[best].key, &order)) return false;
        if (order == wanted) best = i;
    }
    *out = count == 0 ? of_undefined(view_of("the extreme of nothing")) : a[best].item;
    return true;
}

static bool filter_min(context *c, const struct call *k, value *out)
{
    return extreme(c, k, -1, out);
}

static bool filter_max(context *c, const struct call *k, value *out)
{
    return extreme(c, k, 1, out);
}

/* ---- choosing and changing items ---- */

static bool filter_map(context *c, const struct call *k, value *out)
{
    const value *all;
    size_t count;
    value path = { .kind = MISSING }, otherwise = { .kind = MISSING }, item;
    const struct builtin *filter = NULL;
    if (!value_list_new(c, LIST, 0, out)) return false;
    if (!value_truth(&k->self)) return true;
    for (size_t i = 0; i < k->named_count && k->pos_count == 0; i++) {
        if (view_is(k->named[i].name, "attribute")) path = k->named[i].value;
        else if (view_is(k->named[i].name, "default")) otherwise = k->named[i].value;
        else return raise(c, "map: unexpected keyword argument");
    }
    if (!given(&path)) {
        if (k->pos_count == 0 || k->pos[0].kind != STRING) return raise(c, "map requires a filter argument");
        filter = builtin_filter(view_in(&k->pos[0]));
        if (filter == NULL)
            return raise(c, "no filter named '%.*s'", (int)min_size(k->pos[0].len, 60),
                         (const char *)k->pos[0].as.bytes);
    }
    if (!value_items(c, &k->self, &all, &count)) return false;
    for (size_t i = 0; i < count; i++) {
        struct call one = { .self = all[i],
                            .pos = k->pos + 1,
                            .pos_count = k->pos_count - 1,
                            .named = k->named,
                            .named_count = k->named_count };
        bool good = filter == NULL ? attribute_of(c, &all[i], &path, &otherwise, &item)
                                   : builtin_run(c, filter, &one, &item);
        if (!good || !render_charge(c, 1) || !value_list_add(c, out->as.list, &item)) return false;
    }
    return true;
}

/* select, reject, selectattr, rejectattr: the items whose test (of an attribute) holds, or does not. */
static bool choose(context *c, const struct call *k, bool attribute, bool wanted, value *out)
{
    const value *all;
    size_t count, off = attribute;
    value tested, holds;
    const struct builtin *test = NULL;
    if (!value_list_new(c, LIST, 0, out)) return false;
    if (!value_truth(&k->self)) return true;
    if (k->pos_count < off) return raise(c, "missing parameter for attribute name");
    if (k->pos_count > off) {
        const value *name = &k->pos[off];
        test = name->kind == STRING ? builtin_test(view_in(name)) : NULL;
        if (test == NULL)
            return raise(c, "no test named '%.*s'", name->kind == STRING ? (int)min_size(name->len, 60) : 0,
                         (const char *)name->as.bytes);
    }
    if (!value_items(c, &k->self, &all, &count)) return false;
    for (size_t i = 0; i < count; i++) {
        tested = all[i];
        if (attribute && !attribute_of(c, &all[i], &k->pos[0], NULL, &tested)) return false;
        struct call one = { .self = tested, .named = k->named, .named_count = k->named_count };
        if (test != NULL) one.pos = k->pos + off + 1, one.pos_count = k->pos_count - off - 1;
        holds = tested;
        if (test != NULL && !builtin_run(c, test, &one, &holds)) return false;
        if (!render_charge(c, 1) || (value_truth(&holds) == wanted && !value_list_add(c, out->as.list, &all[i])))
            return false;
    }
    return true;
}

static bool filter_select(context *c, const struct call *k, value *out)
{
    return choose(c, k, false, true, out);
}

static bool filter_reject(context *c, const struct call *k, value *out)
{
    return choose(c, k, false, false, out);
}

static bool filter_selectattr(context *c, const struct call *k, value *out)
{
    return choose(c, k, true, true, out);
}

static bool filter_rejectattr(context *c, const struct call *k, value *out)
{
    return choose(c, k, true, false, out);
}

static bool filter_batch(context *c, const struct call *k, value *out) /* linecount fill_with */
{
    const value *all;
    size_t count;
    int64_t size;
    value batch = { .kind = MISSING };
    if (!arg_int(c, &k->arg[0], 0, &size) || !value_items(c, &k->self, &all, &count) ||
        !value_list_new(c, LIST, 0, out))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!given(&batch) || (int64_t)batch.as.list->count == size) {
            if (!value_list_new(c, LIST, 0, &batch) || !value_list_add(c, out->as.list, &batch)) return false;
        }
        if (!render_charge(c, 1) || !value_list_add(c, batch.as.list, &all[i])) return false;
    }
    bool fill = given(&batch) && given(&k->arg[1]) && k->arg[1].kind != NONE;
    while (fill && (int64_t)batch.as.list->count < size)
        if (!render_charge(c, 1) || !value_list_add(c, batch.as.list, &k->arg[1])) return false;
    return true;
}

static bool filter_slice(context *c, const struct call *k, value *out) /* slices fill_with */
{
    const value *all;
    size_t count, at = 0;
    int64_t slices;
    value slice;
    if (!arg_int(c, &k->arg[0], 0, &slices) || !value_items(c, &k->self, &all, &count) ||
        !value_list_new(c, LIST, 0, out))
        return false;
    if (slices <= 0) return raise(c, "slice: at least one slice is needed");
    size_t each = count / (size_t)slices, longer = count % (size_t)slices;
    for (size_t i = 0; i < (size_t)slices; i++) {
        if (!render_charge(c, 1) || !value_list_new(c, LIST, 0, &slice)) return false;
        for (size_t end = at + each + (i < longer); at < end; at++)
            if (!value_list_add(c, slice.as.list, &all[at])) return false;
        if (i >= longer && given(&k->arg[1]) && k->arg[1].kind != NONE && !value_list_add(c, slice.as.list, &k->arg[1]))
            return false;
        if (!value_list_add(c, out->as.list, &slice)) return false;
    }
    return true;
}

static bool filter_list(context *c, const struct call *k, value *out)
{
    const value *all;
    size_t count;
    if (!value_items(c, &k->self, &all, &count) || !value_list_new(c, LIST, count, out)) return false;
    if (count > 0) memcpy(out->as.list->items, all, count * sizeof *all);
    out->as.list->count = count;
    return true;
}

static bool filter_items(context *c, const struct call *k, value *out)
{
    if (k->self.kind == UNDEFINED) return value_list_new(c, LIST, 0, out);
    if (k->self.kind != DICT) return raise(c, "can only get item pairs from a mapping");
    return dict_items(c, k->self.as.dict, 2, out);
}

static bool end_item(context *c, const struct call *k, bool last, value *out)
{
    const value *all;
    size_t count;
    if (!value_items(c, &k->self, &all, &count)) return false;
    *out = count == 0 ? of_undefined(view_of("an item of nothing")) : all[last ? count - 1 : 0];
    return true;
}

static bool filter_first(context *c, const struct call *k, value *out)
{
    return end_item(c, k, false, out);
}

static bool filter_last(context *c, const struct call *k, value *out)
{
    return end_item(c, k, true, out);
}

static bool filter_reverse(context *c, const struct call *k, value *out)
{
    value bounds[3] = { { .kind = MISSING }, { .kind = MISSING }, of_int(-1) }, list = k->self;
    if (k->self.kind != STRING && !filter_list(c, k, &list)) return false;
    return value_slice(c, &list, bounds, out);
}

static bool filter_length(context *c, const struct call *k, value *out)
{
    size_t n;
    if (!value_length(c, &k->self, &n)) return false;
    *out = of_int((int64_t)n);
    return true;
}

static bool filter_sum(context *c, const struct call *k, value *out) /* attribute start */
{
    const value *all;
    size_t count;
    *out = given(&k->arg[1]) ? k->arg[1] : of_int(0);
    if (!value_items(c, &k->self, &all, &count)) return false;
    if (out->kind == STRING) return raise(c, "sum() can't sum strings");
    for (size_t i = 0; i < count; i++) {
        value item, sum = *out;
        if (!attribute_of(c, &all[i], &k->arg[0], NULL, &item) || !value_arithmetic(c, TOK_ADD, &sum, &item, out))
            return false;
    }
    return true;
}

static bool filter_join(context *c, const struct call *k, value *out) /* d attribute */
{
    value separator = of_text(""), list = k->self, item;
    const value *all;
    size_t count;
    if (given(&k->arg[0]) && !value_to_string(c, &k->arg[0], &separator)) return false;
    if (given(&k->arg[1]) && k->arg[1].kind != NONE) {
        if (!value_items(c, &k->self, &all, &count) || !value_list_new(c, LIST, 0, &list)) return false;
        for (size_t i = 0; i < count; i++)
            if (!attribute_of(c, &all[i], &k->arg[1], NULL, &item) || !value_list_add(c, list.as.list, &item))
                return false;
    }
    return string_join(c, &separator, &list, out);
}

static bool filter_default(context *c, const struct call *k, value *out) /* default_value boolean */
{
    (void)c;
    bool replaced = k->self.kind == UNDEFINED || (value_truth(&k->arg[1]) && !value_truth(&k->self));
    *out = !replaced ? k->self : given(&k->arg[0]) ? k->arg[0] : of_text("");
    return true;
}

static bool filter_attr(context *c, const struct call *k, value *out)
{
    if (k->arg[0].kind != STRING || k->self.kind == DICT) { /* attributes alone, no keys */
        const struct builtin *method = k->arg[0].kind == STRING ? builtin_method(DICT, view_in(&k->arg[0])) : NULL;
        *out = of_undefined(view_of("the attribute"));
        return method == NULL || value_attribute(c, &k->self, view_in(&k->arg[0]), out);
    }
    return value_attribute(c, &k->self, view_in(&k->arg[0]), out);
}

/* ---- text ---- */

static bool cased(context *c, const struct call *k, enum letter_case to, value *out)
{
    value s;
    return value_to_string(c, &k->self, &s) && string_case(c, &s, to, out);
}

static bool filter_upper(context *c, const struct call *k, value *out)
{
    return cased(c, k, CASE_UPPER, out);
}

static bool filter_lower(context *c, const struct call *k, value *out)
{
    return cased(c, k, CASE_LOWER, out);
}

static bool filter_capitalize(context *c, const struct call *k, value *out)
{
    return cased(c, k, CASE_CAPITAL, out);
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

static bool filter_safe(context *c, const struct call *k, value *out)
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

static bool filter_replace(context *c, const struct call *k, value *out) /* old new count */
{
    value s, old, new;
    int64_t count;
    return value_to_string(c, &k->self, &s) && value_to_string(c, &k->arg[0], &old) &&
           value_to_string(c, &k->arg[1], &new) && arg_int(c, &k->arg[2], -1, &count) &&
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
    if (!value_to_string(c, &k->self, &s) || !render_charge(c, s.len / 8)) return false;
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

static bool filter_indent(context *c, const struct call *k, value *out) /* width first blank */
{
    struct builder b = { 0 };
    value s, lines, blanks = of_text(" "), none = of_text(""), indent = k->arg[0];
    int64_t width;
    if (!value_to_string(c, &k->self, &s)) return false;
    if (indent.kind != STRING &&
        (!arg_int(c, &k->arg[0], 4, &width) || !string_pad(c, &none, width, 0, &blanks, &indent)))
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
    return value_to_string(c, &k->self, &padded.self) &&
           builtin_method(STRING, view_of("center"))->run(c, &padded, out);
}

static bool filter_truncate(context *c, const struct call *k, value *out) /* length killwords end leeway */
{
    value s, end = of_text("..."), cut;
    int64_t length, leeway;
    size_t blank;
    struct builder b = { 0 };
    if (!value_to_string(c, &k->self, &s) || !arg_int(c, &k->arg[0], 255, &length) ||
        !arg_int(c, &k->arg[3], 5, &leeway))
        return false;
    if (given(&k->arg[2]) && !arg_text(c, &k->arg[2], "end", &end)) return false;
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
    if (!value_to_string(c, &k->self, &s) || !arg_int(c, &k->arg[0], 79, &width) || !string_lines(c, &s, &lines))
        return false;
    if (width <= 0) return raise(c, "invalid width %lld (must be > 0)", (long long)width);
    for (size_t i = 0; i < lines.as.list->count; i++) {
        value line = lines.as.list->items[i];
        for (size_t from = 0; from < line.len || from == 0;) {
            size_t to = from + string_char_offset(view_after(view_in(&line), from), (size_t)width), blank;
            bool cut = to < line.len;
            if (cut && line.as.bytes[to] != ' ' && string_find_last(view_in(&line), to, view_of(" "), &blank) &&
                blank > from)
                to = blank;
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
    return builtin_method(STRING, view_of("split"))->run(c, &split, &words) && string_join(c, &blank, &words, out);
}

static bool quote(context *c, struct builder *b, const value *v, bool query)
{
    value s;
    if (!value_to_string(c, v, &s) || !render_charge(c, s.len / 8)) return false;
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
    if (k->self.kind == DICT && !dict_items(c, k->self.as.dict, 2, &pairs)) return false;
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
    if (k->named_count > 0) return dict_from_call(c, DICT, &named, &args) && string_percent(c, &s, &args, out);
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
        return k->self.kind == UNDEFINED ? raise_undefined(c, &k->self)
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

static bool filter_int(context *c, const struct call *k, value *out) /* default base */
{
    int64_t base, n;
    double d = 0;
    value s;
    bool good = value_integer(&k->self, &n), real = k->self.kind == FLOAT;
    if (k->self.kind == UNDEFINED) return raise_undefined(c, &k->self);
    if (!arg_int(c, &k->arg[1], 10, &base)) return false;
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

static bool filter_float(context *c, const struct call *k, value *out) /* default */
{
    double d = 0;
    value s;
    bool good = value_is_number(&k->self);
    if (k->self.kind == UNDEFINED) return raise_undefined(c, &k->self);
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
    if (!arg_int(c, &k->arg[0], 0, &precision)) return false;
    if (!value_is_number(&k->self) || k->self.kind == BIG_INT)
        return k->self.kind == UNDEFINED ? raise_undefined(c, &k->self)
                                         : raise(c, "round: '%s' is no number", value_kind(&k->self));
    if (precision > 15 || precision < -15)
        return raise(c, "round: precision %lld, from -15 to 15 are allowed", (long long)precision);
    double d = value_number(&k->self), unit = 1, scaled;
    for (int64_t i = precision < 0 ? -precision : precision; i > 0; i--) unit *= 10;
    bool common = view_is(method, "common");
    if (!common && !view_is(method, "floor") && !view_is(method, "ceil"))
        return raise(c, "method must be common, ceil or floor");
    if (common && value_integer(&k->self, &n)) {
        int64_t whole = (int64_t)unit, rest = n % whole, size = rest < 0 ? -rest : rest;
        int64_t down = n - rest, step = n < 0 ? -whole : whole;
        bool up = size > whole - size || (size == whole - size && down / whole % 2 != 0);
        *out = of_int(precision >= 0 ? n : up ? down + step : down);
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
        (!arg_int(c, indent, 0, &width) || !string_pad(c, &none, width, 0, &blank, &style.indent)))
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
    if (!render_charge(c, 1 + k->self.len / 4) || k->self.len > c->memory_end - c->arena->used_bytes)
        return raise_limit(c, "from_json: text too long");
    if (!json_parse(view_in(&k->self), c->arena, &tree, &e)) return raise(c, "from_json: %s", e.text);
    return value_from_json(c, tree, (enum template_origin)k->self.origin, out);
}

const struct builtin *builtin_filter(view name)
{
    static const struct builtin rows[] = {
        { "abs", "", 0, filter_abs },
        { "attr", "name", 1, filter_attr },
        { "batch", "linecount fill_with", 1, filter_batch },
        { "capitalize", "", 0, filter_capitalize },
        { "center", "width", 0, filter_center },
        { "count", "", 0, filter_length },
        { "d", "default_value boolean", 0, filter_default },
        { "default", "default_value boolean", 0, filter_default },
        { "dictsort", "case_sensitive by reverse", 0, filter_dictsort },
        { "e", "", 0, filter_escape },
        { "escape", "", 0, filter_escape },
        { "first", "", 0, filter_first },
        { "float", "default", 0, filter_float },
        { "forceescape", "", 0, filter_escape },
        { "format", "*", 0, filter_format },
        { "from_json", "", 0, filter_from_json },
        { "fromjson", "", 0, filter_from_json },
        { "groupby", "attribute default case_sensitive", 1, filter_groupby },
        { "indent", "width first blank", 0, filter_indent },
        { "int", "default base", 0, filter_int },
        { "items", "", 0, filter_items },
        { "join", "d attribute", 0, filter_join },
        { "last", "", 0, filter_last },
        { "length", "", 0, filter_length },
        { "list", "", 0, filter_list },
        { "lower", "", 0, filter_lower },
        { "map", "*", 0, filter_map },
        { "max", "case_sensitive attribute", 0, filter_max },
        { "min", "case_sensitive attribute", 0, filter_min },
        { "pprint", "", 0, filter_pprint },
        { "random", "", 0, filter_first }, /* repeatable: no chance in a prompt */
        { "reject", "*", 0, filter_reject },
        { "rejectattr", "*", 0, filter_rejectattr },
        { "replace", "old new count", 2, filter_replace },
        { "reverse", "", 0, filter_reverse },
        { "round", "precision method", 0, filter_round },
        { "safe", "", 0, filter_safe },
        { "select", "*", 0, filter_select },
        { "selectattr", "*", 0, filter_selectattr },
        { "slice", "slices fill_with", 1, filter_slice },
        { "sort", "reverse case_sensitive attribute", 0, filter_sort },
        { "string", "", 0, filter_string },
        { "striptags", "", 0, filter_striptags },
        { "sum", "attribute start", 0, filter_sum },
        { "title", "", 0, filter_title },
        { "tojson", "ensure_ascii indent separators sort_keys", 0, filter_tojson },
        { "trim", "chars", 0, filter_trim },
        { "truncate", "length killwords end leeway", 0, filter_truncate },
        { "unique", "case_sensitive attribute", 0, filter_unique },
        { "upper", "", 0, filter_upper },
        { "urlencode", "", 0, filter_urlencode },
        { "wordcount", "", 0, filter_wordcount },
        { "wordwrap", "width", 0, filter_wordwrap },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (view_is(name, rows[i].name)) return &rows[i];
    return NULL;
}
