/* The filters of lists and objects, a row each at the end; those of text and numbers are in text_filters.c. What Jinja
 * gives as generators (map, select, ...) are lists here. */
#include "template/builtin.h"

#include "base/checked.h"
#include "template/eval.h"

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
        if (key.len > 0 && key.len < 7 && string_is(&key, ALL_DIGITS)) key = of_int(index);
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

/* Merge sort, bottom up: stable, as Python's, and without recursion. */
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
    return value_dict_items(c, k->self.as.dict, 2, &pairs) &&
           keyed_items(c, &pairs, &position, NULL, value_truth(&k->arg[0]), &a, &count) &&
           sort_keyed(c, a, count, value_truth(&k->arg[2])) && list_of(c, a, count, out);
}

/* Pairs of a key and its items, which also answer to .grouper and .list. */
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

/* The first of equal keys stays. */
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

/* The first of equal ones; undefined for nothing. */
static bool filter_extreme(context *c, const struct call *k, value *out) /* case_sensitive attribute; variant: -1, 1 */
{
    struct keyed *a;
    size_t count, best = 0;
    if (!keyed_items(c, &k->self, &k->arg[1], NULL, value_truth(&k->arg[0]), &a, &count)) return false;
    for (size_t i = 1; i < count; i++) {
        int order;
        if (!render_charge(c, 1) || !value_compare(c, &a[i].key, &a[best].key, &order)) return false;
        if (order == k->row->variant) best = i;
    }
    *out = count == 0 ? of_undefined(view_of("the extreme of nothing")) : a[best].item;
    return true;
}

/* ---- choosing and changing items ---- */

/* An attribute of each item, or a filter over each. */
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

enum { CHOOSE_ATTRIBUTE = 1, CHOOSE_REJECTED = 2 };

/* select, reject, selectattr, rejectattr: the items whose test (of an attribute) holds, or does not. */
static bool filter_choose(context *c, const struct call *k, value *out)
{
    bool attribute = k->row->variant & CHOOSE_ATTRIBUTE, wanted = !(k->row->variant & CHOOSE_REJECTED);
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

/* Rows of `linecount`; the last is filled up only where a filling is given. */
static bool filter_batch(context *c, const struct call *k, value *out) /* linecount fill_with */
{
    const value *all;
    size_t count;
    int64_t size;
    value batch = { .kind = MISSING };
    if (!call_arg_int(c, &k->arg[0], 0, &size) || !value_items(c, &k->self, &all, &count) ||
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

/* Columns as even as they can be, the longer ones first. */
static bool filter_slice(context *c, const struct call *k, value *out) /* slices fill_with */
{
    const value *all;
    size_t count, at = 0;
    int64_t slices;
    value slice;
    if (!call_arg_int(c, &k->arg[0], 0, &slices) || !value_items(c, &k->self, &all, &count) ||
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
    return value_dict_items(c, k->self.as.dict, 2, out);
}

static bool filter_end(context *c, const struct call *k, value *out) /* variant: the last */
{
    const value *all;
    size_t count;
    if (!value_items(c, &k->self, &all, &count)) return false;
    *out = count == 0 ? of_undefined(view_of("an item of nothing")) : all[k->row->variant ? count - 1 : 0];
    return true;
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

/* Items as str prints them, or one attribute of each. */
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

/* For what is not defined; with `boolean` for everything that is false. */
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

const struct builtin *builtin_filter(view name)
{
    static const struct builtin rows[] = {
        { "attr", "name", 1, 0, filter_attr },
        { "batch", "linecount fill_with", 1, 0, filter_batch },
        { "count", "", 0, 0, filter_length },
        { "d", "default_value boolean", 0, 0, filter_default },
        { "default", "default_value boolean", 0, 0, filter_default },
        { "dictsort", "case_sensitive by reverse", 0, 0, filter_dictsort },
        { "first", "", 0, false, filter_end },
        { "groupby", "attribute default case_sensitive", 1, 0, filter_groupby },
        { "items", "", 0, 0, filter_items },
        { "join", "d attribute", 0, 0, filter_join },
        { "last", "", 0, true, filter_end },
        { "length", "", 0, 0, filter_length },
        { "list", "", 0, 0, filter_list },
        { "map", "*", 0, 0, filter_map },
        { "max", "case_sensitive attribute", 0, 1, filter_extreme },
        { "min", "case_sensitive attribute", 0, -1, filter_extreme },
        { "random", "", 0, false, filter_end }, /* repeatable: no chance in a prompt */
        { "reject", "*", 0, CHOOSE_REJECTED, filter_choose },
        { "rejectattr", "*", 0, CHOOSE_ATTRIBUTE | CHOOSE_REJECTED, filter_choose },
        { "reverse", "", 0, 0, filter_reverse },
        { "select", "*", 0, 0, filter_choose },
        { "selectattr", "*", 0, CHOOSE_ATTRIBUTE, filter_choose },
        { "slice", "slices fill_with", 1, 0, filter_slice },
        { "sort", "reverse case_sensitive attribute", 0, 0, filter_sort },
        { "sum", "attribute start", 0, 0, filter_sum },
        { "unique", "case_sensitive attribute", 0, 0, filter_unique },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (view_is(name, rows[i].name)) return &rows[i];
    return builtin_text_filter(name);
}
