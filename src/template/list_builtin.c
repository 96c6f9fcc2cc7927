/* The filters and methods of lists, objects and loops, a row each at the end. What Jinja gives as generators (map,
 * select, ...) are lists here. */
#include "template/builtin.h"

/* ---- items and their attributes ---- */

static value list_of(context *c, struct span all)
{
    value list = value_list(c, LIST);
    for (size_t i = 0; i < all.count && render_charge(c, i % 8 == 0); i++) value_add(c, list, all.items[i]);
    return list;
}

/* The path "a.b.0": each part is looked up as an item. `otherwise` is for what is not defined, where given. */
static value attribute_of(context *c, value item, value path, value otherwise)
{
    if (path.kind != STRING) return !given(path) || path.kind == NONE ? item : value_item(c, item, path);
    for (size_t start = 0, dot; start <= path.len && !c->failed; start = dot + 1) {
        if (!string_find(path, start, of_text("."), &dot)) dot = path.len;
        value key = string_part(c, path, start, dot);
        int64_t index;
        if (builtin_read_int(view_in(key), 10, &index)) key = of_int(index);
        item = value_item(c, item, key);
        if (item.kind == UNDEFINED && given(otherwise)) item = otherwise;
    }
    return item;
}

/* Keys and items in turn, as sorting and grouping go by: by the attribute, letters lowered unless they count. */
static value keyed(context *c, value v, value path, value otherwise, value case_sensitive, bool sort, bool reverse)
{
    struct span all = value_items(c, v);
    value out = value_list(c, LIST);
    for (size_t i = 0; i < all.count && !c->failed; i++) {
        value key = attribute_of(c, all.items[i], path, otherwise);
        if (key.kind == STRING && !value_truth(case_sensitive)) key = string_cased(c, key, CASE_LOWER);
        if (sort) value_insert(c, out, key, all.items[i], reverse);
        else value_add(c, out, key), value_add(c, out, all.items[i]);
    }
    return out;
}

static value sort(context *c, const struct call *k) /* reverse case_sensitive attribute */
{
    return value_members(c, keyed(c, k->self, k->arg[2], of_kind(MISSING), k->arg[1], true, value_truth(k->arg[0])), 1);
}

static value dictsort(context *c, const struct call *k) /* case_sensitive by reverse */
{
    bool by_value = value_is(k->arg[1], "value");
    if (k->self.kind != DICT) return render_fail(c, "'%s' object has no attribute 'items'", value_kind(k->self));
    if (given(k->arg[1]) && !by_value && !value_is(k->arg[1], "key"))
        return render_fail(c, "dictsort: sort by either \"key\" or \"value\"");
    value pairs = value_members(c, k->self, 2);
    return value_members(
        c, keyed(c, pairs, of_int(by_value), of_kind(MISSING), k->arg[0], true, value_truth(k->arg[2])), 1);
}

/* Pairs of a key and its items, which also answer to .grouper and .list (eval.c). */
static value groupby(context *c, const struct call *k) /* attribute default case_sensitive */
{
    value sorted = keyed(c, k->self, k->arg[0], k->arg[1], k->arg[2], true, false), out = value_list(c, LIST);
    const struct list *l = sorted.as.list;
    for (size_t i = 0; i < l->count && !c->failed;) {
        value key = l->items[i], members = value_list(c, LIST);
        value group = value_pair(c, attribute_of(c, l->items[i + 1], k->arg[0], k->arg[1]), members);
        value_add(c, out, group);
        do value_add(c, members, l->items[i + 1]), i += 2;
        while (i < l->count && !c->failed && value_equal(c, key, l->items[i]));
    }
    return out;
}

/* The first of equal keys stays. */
static value unique(context *c, const struct call *k) /* case_sensitive attribute */
{
    value all = keyed(c, k->self, k->arg[1], of_kind(MISSING), k->arg[0], false, false);
    value seen = value_list(c, DICT), out = value_list(c, LIST);
    for (size_t i = 0; i < all.as.list->count && !c->failed; i += 2) {
        value key = all.as.list->items[i], item = all.as.list->items[i + 1];
        if (value_find(c, seen, key) != NULL) continue;
        value_add(c, seen, key);
        value_add(c, seen, item);
        value_add(c, out, item);
    }
    return out;
}

/* The first of equal ones; undefined for nothing. */
static value extreme(context *c, const struct call *k) /* case_sensitive attribute; variant: -1, 1 */
{
    value all = keyed(c, k->self, k->arg[1], of_kind(MISSING), k->arg[0], false, false);
    const struct list *l = all.as.list;
    size_t best = 0;
    for (size_t i = 2; i < l->count && render_charge(c, 1); i += 2)
        if (value_order(c, l->items[i], l->items[best]) == k->row->variant) best = i;
    return best + 1 < l->count ? l->items[best + 1] : of_undefined(view_of("the extreme of nothing"));
}

/* ---- choosing and changing items ---- */

/* map(attribute=path, default=x), or map('filter', arguments). */
static value map(context *c, const struct call *k)
{
    value out = value_list(c, LIST), path = of_kind(MISSING), otherwise = of_kind(MISSING);
    const struct builtin *filter = k->pos_count > 0 ? builtin_find(k->pos[0], AS_FILTER) : NULL;
    for (size_t i = 0; i < k->named_count && k->pos_count == 0; i++) {
        if (view_is(k->named[i].name, "attribute")) path = k->named[i].value;
        else if (view_is(k->named[i].name, "default")) otherwise = k->named[i].value;
    }
    if (!value_truth(k->self)) return out;
    if (filter == NULL && !given(path)) return render_fail(c, "map requires a filter that is known, or an attribute");
    struct span all = value_items(c, k->self);
    for (size_t i = 0; i < all.count && render_charge(c, 1); i++) {
        struct call one = { .self = all.items[i], .named = k->named, .named_count = k->named_count };
        if (filter != NULL) one.pos = k->pos + 1, one.pos_count = k->pos_count - 1;
        value_add(c, out,
                  filter != NULL ? builtin_run(c, filter, &one) : attribute_of(c, all.items[i], path, otherwise));
    }
    return out;
}

enum { CHOOSE_ATTRIBUTE = 1, CHOOSE_REJECTED = 2 };

/* select, reject, selectattr, rejectattr: the items whose test (of an attribute) holds, or does not. */
static value choose(context *c, const struct call *k) /* variant: CHOOSE_* */
{
    size_t off = k->row->variant & CHOOSE_ATTRIBUTE;
    value out = value_list(c, LIST);
    if (!value_truth(k->self)) return out;
    if (k->pos_count < off) return render_fail(c, "missing parameter for attribute name");
    const struct builtin *test = k->pos_count > off ? builtin_find(k->pos[off], AS_TEST) : NULL;
    if (test == NULL && k->pos_count > off) return render_fail(c, "no test of that name");
    struct span all = value_items(c, k->self);
    for (size_t i = 0; i < all.count && render_charge(c, 1); i++) {
        struct call one = { .self = all.items[i], .named = k->named, .named_count = k->named_count };
        if (off > 0) one.self = attribute_of(c, all.items[i], k->pos[0], of_kind(MISSING));
        if (test != NULL) one.pos = k->pos + off + 1, one.pos_count = k->pos_count - off - 1;
        bool holds = value_truth(test != NULL ? builtin_run(c, test, &one) : one.self);
        if (holds != (bool)(k->row->variant & CHOOSE_REJECTED)) value_add(c, out, all.items[i]);
    }
    return out;
}

/* Rows of `linecount`; the last is filled up only where a filling is given. */
static value batch(context *c, const struct call *k) /* linecount fill_with */
{
    struct span all = value_items(c, k->self);
    value out = value_list(c, LIST), row = of_kind(MISSING);
    bool fill = given(k->arg[1]) && k->arg[1].kind != NONE;
    int64_t size = k->arg[0].as.integer;
    for (size_t i = 0; i < all.count && render_charge(c, 1); i++) {
        if (!given(row) || (int64_t)row.as.list->count >= size) {
            row = value_list(c, LIST);
            value_add(c, out, row);
        }
        value_add(c, row, all.items[i]);
    }
    while (fill && given(row) && (int64_t)row.as.list->count < size && render_charge(c, 1))
        value_add(c, row, k->arg[1]);
    return out;
}

/* Columns as even as they can be, the longer ones first. */
static value slice(context *c, const struct call *k) /* slices fill_with */
{
    struct span all = value_items(c, k->self);
    value out = value_list(c, LIST);
    size_t at = 0, slices = (size_t)k->arg[0].as.integer;
    if (k->arg[0].as.integer <= 0) return render_fail(c, "slice: at least one slice is needed");
    for (size_t i = 0; i < slices && render_charge(c, 1); i++) {
        size_t count = all.count / slices + (i < all.count % slices);
        value column = list_of(c, (struct span){ count > 0 ? all.items + at : NULL, count });
        at += count;
        if (i >= all.count % slices && given(k->arg[1]) && k->arg[1].kind != NONE) value_add(c, column, k->arg[1]);
        value_add(c, out, column);
    }
    return out;
}

static value filter_list(context *c, const struct call *k)
{
    return list_of(c, value_items(c, k->self));
}

static value end(context *c, const struct call *k) /* variant: the last */
{
    struct span all = value_items(c, k->self);
    if (all.count == 0) return of_undefined(view_of("an item of nothing"));
    return all.items[k->row->variant ? all.count - 1 : 0];
}

static value reverse(context *c, const struct call *k)
{
    const value bounds[3] = { of_kind(MISSING), of_kind(MISSING), of_int(-1) };
    return value_slice(c, k->self.kind == STRING ? k->self : filter_list(c, k), bounds);
}

static value length(context *c, const struct call *k)
{
    return of_int((int64_t)value_length(c, k->self));
}

static value sum(context *c, const struct call *k) /* attribute start */
{
    value total = given(k->arg[1]) ? k->arg[1] : of_int(0);
    struct span all = value_items(c, k->self);
    for (size_t i = 0; i < all.count && !c->failed; i++)
        total = value_binary(c, BINARY_ADD, total, attribute_of(c, all.items[i], k->arg[0], of_kind(MISSING)));
    return total;
}

/* Items as str prints them, or one attribute of each. */
static value join(context *c, const struct call *k) /* d attribute */
{
    value keys = value_list(c, LIST), separator = given(k->arg[0]) ? k->arg[0] : of_text("");
    struct span all = value_items(c, k->self);
    for (size_t i = 0; i < all.count && render_charge(c, i % 8 == 0); i++)
        value_add(c, keys, attribute_of(c, all.items[i], k->arg[1], of_kind(MISSING)));
    return string_joined(c, separator, value_items(c, keys));
}

/* ---- methods of lists ---- */

/* Jinja's own sandbox forbids changing lists; templates of Kimi K2 do it, and a rendering's values are its own. */
static value append(context *c, const struct call *k) /* item */
{
    value_add(c, k->self, k->arg[0]);
    return of_kind(NONE);
}

static value extend(context *c, const struct call *k) /* items */
{
    struct span all = value_items(c, k->arg[0]);
    for (size_t i = 0; i < all.count && render_charge(c, 1); i++) value_add(c, k->self, all.items[i]);
    return of_kind(NONE);
}

/* The others move in place: a loop that walks the list keeps to the length it began with. */
static value take_out(context *c, struct list *l, size_t at, size_t width)
{
    value taken = l->items[at + width - 1];
    render_charge(c, l->count / 8);
    memmove(l->items + at, l->items + at + width, (l->count - at - width) * sizeof *l->items);
    l->count -= width;
    return taken;
}

static value insert(context *c, const struct call *k) /* index item */
{
    struct list *l = k->self.as.list;
    int64_t count = (int64_t)l->count, at = k->arg[0].as.integer;
    at = at < -count ? 0 : at < 0 ? at + count : at > count ? count : at;
    value_add(c, k->self, k->arg[1]);
    if (!render_charge(c, l->count / 8)) return k->self;
    memmove(l->items + at + 1, l->items + at, (size_t)(count - at) * sizeof *l->items);
    l->items[at] = k->arg[1];
    return of_kind(NONE);
}

static value pop(context *c, const struct call *k) /* index */
{
    int64_t count = (int64_t)k->self.as.list->count, at = k->arg[0].as.integer;
    if (at < 0) at += count;
    if (at < 0 || at >= count) return render_fail(c, "pop index out of range");
    return take_out(c, k->self.as.list, (size_t)at, 1);
}

enum { FIND_INDEX, FIND_COUNT, FIND_REMOVE };

/* The first place of an item, or how many there are. */
static value find(context *c, const struct call *k) /* item; variant: FIND_* */
{
    struct list *l = k->self.as.list;
    size_t at = 0, hits = 0;
    for (size_t i = l->count; i-- > 0 && render_charge(c, 1);)
        if (value_equal(c, l->items[i], k->arg[0])) at = i, hits++;
    if (k->row->variant == FIND_COUNT) return of_int((int64_t)hits);
    if (hits == 0) return render_fail(c, "item not in list");
    if (k->row->variant == FIND_INDEX) return of_int((int64_t)at);
    take_out(c, l, at, 1);
    return of_kind(NONE);
}

static value reverse_in_place(context *c, const struct call *k)
{
    struct list *l = k->self.as.list;
    value backwards = reverse(c, k);
    if (!c->failed && l->count > 0) memcpy(l->items, backwards.as.list->items, l->count * sizeof *l->items);
    return of_kind(NONE);
}

static value clear(context *c, const struct call *k)
{
    (void)c;
    k->self.as.list->count = 0;
    return of_kind(NONE);
}

/* ---- methods of objects and loops ---- */

value value_members(context *c, value dict, int which)
{
    value out = value_list(c, LIST);
    const struct list *l = dict.as.list;
    for (size_t i = 0; i < l->count && render_charge(c, 1); i += 2)
        value_add(c, out, which == 2 ? value_pair(c, l->items[i], l->items[i + 1]) : l->items[i + (which == 1)]);
    return out;
}

static value members(context *c, const struct call *k) /* variant: as value_members */
{
    if (k->self.kind == UNDEFINED) return value_list(c, LIST);
    if (k->self.kind != DICT) return render_fail(c, "can only get item pairs from a mapping");
    return value_members(c, k->self, k->row->variant);
}

enum { GET, GET_OR_SET, GET_AND_POP };

/* None where there is no such key, not undefined. */
static value get(context *c, const struct call *k) /* key default; variant: GET... */
{
    value *found = value_find(c, k->self, k->arg[0]), otherwise = given(k->arg[1]) ? k->arg[1] : of_kind(NONE);
    struct list *l = k->self.as.list;
    if (found != NULL && k->row->variant == GET_AND_POP) return take_out(c, l, (size_t)(found - l->items) - 1, 2);
    if (found != NULL) return *found;
    if (k->row->variant == GET_AND_POP && !given(k->arg[1])) return render_fail(c, "pop: no such key");
    if (k->row->variant == GET_OR_SET) value_put(c, k->self, k->arg[0], otherwise);
    return otherwise;
}

/* One mapping or list of pairs, then named values. */
value value_update(context *c, value dict, const struct call *k)
{
    if (k->pos_count > 1) return render_fail(c, "at most 1 argument expected, got %zu", k->pos_count);
    value from = k->pos_count == 0 ? value_list(c, LIST) : k->pos[0];
    struct span pairs = value_items(c, from.kind == DICT ? value_members(c, from, 2) : from);
    for (size_t i = 0; i < pairs.count && !c->failed; i++) {
        struct span pair = value_items(c, pairs.items[i]);
        if (pair.count != 2) return render_fail(c, "element %zu has length %zu; 2 is required", i, pair.count);
        value_put(c, dict, pair.items[0], pair.items[1]);
    }
    for (size_t i = 0; i < k->named_count; i++)
        value_put(c, dict, of_view(k->named[i].name, ORIGIN_TEMPLATE), k->named[i].value);
    return dict;
}

static value update(context *c, const struct call *k)
{
    value_update(c, k->self, k);
    return of_kind(NONE);
}

static value copy(context *c, const struct call *k)
{
    const struct call all = { .pos = &k->self, .pos_count = 1 };
    return k->self.kind == LIST ? filter_list(c, k) : value_update(c, value_list(c, DICT), &all);
}

static value cycle(context *c, const struct call *k)
{
    if (k->pos_count == 0) return render_fail(c, "no items for cycling given");
    return k->pos[k->self.as.loop->index % k->pos_count];
}

/* True where the arguments are not those of the round before. */
static value changed(context *c, const struct call *k)
{
    struct loop *l = k->self.as.loop;
    value now = list_of(c, (struct span){ k->pos, k->pos_count }), before = l->last_changed;
    l->last_changed = now;
    return of_bool(!given(before) || !value_equal(c, before, now));
}

enum { SEQUENCE_METHOD = LIST_METHOD | TUPLE_METHOD };

const struct builtin BUILTINS_OF_LISTS[] = {
    { "length", FILTER, "", length, 0 },
    { "count", FILTER, "", length, 0 },
    { "list", FILTER, "", filter_list, 0 },
    { "first", FILTER, "", end, false },
    { "random", FILTER, "", end, false }, /* repeatable: no chance in a prompt */
    { "last", FILTER, "", end, true },
    { "reverse", FILTER, "", reverse, 0 },
    { "join", FILTER, "d~ attribute", join, 0 },
    { "map", FILTER, "*", map, 0 },
    { "select", FILTER, "*", choose, 0 },
    { "reject", FILTER, "*", choose, CHOOSE_REJECTED },
    { "selectattr", FILTER, "*", choose, CHOOSE_ATTRIBUTE },
    { "rejectattr", FILTER, "*", choose, CHOOSE_ATTRIBUTE | CHOOSE_REJECTED },
    { "sort", FILTER, "reverse case_sensitive attribute", sort, 0 },
    { "dictsort", FILTER, "case_sensitive by reverse", dictsort, 0 },
    { "groupby", FILTER, "attribute! default case_sensitive", groupby, 0 },
    { "unique", FILTER, "case_sensitive attribute", unique, 0 },
    { "min", FILTER, "case_sensitive attribute", extreme, -1 },
    { "max", FILTER, "case_sensitive attribute", extreme, 1 },
    { "sum", FILTER, "attribute start", sum, 0 },
    { "batch", FILTER, "linecount#0 fill_with", batch, 0 },
    { "slice", FILTER, "slices#0 fill_with", slice, 0 },

    { "append", LIST_METHOD, "item!", append, 0 },
    { "extend", LIST_METHOD, "items!", extend, 0 },
    { "insert", LIST_METHOD, "index#0 item!", insert, 0 },
    { "pop", LIST_METHOD, "index#-1", pop, 0 },
    { "index", SEQUENCE_METHOD, "item!", find, FIND_INDEX },
    { "count", SEQUENCE_METHOD, "item!", find, FIND_COUNT },
    { "remove", LIST_METHOD, "item!", find, FIND_REMOVE },
    { "reverse", LIST_METHOD, "", reverse_in_place, 0 },
    { "clear", LIST_METHOD | DICT_METHOD, "", clear, 0 },
    { "copy", LIST_METHOD | DICT_METHOD, "", copy, 0 },

    { "keys", DICT_METHOD, "", members, 0 },
    { "values", DICT_METHOD, "", members, 1 },
    { "items", DICT_METHOD | FILTER, "", members, 2 },
    { "get", DICT_METHOD, "key! default", get, GET },
    { "setdefault", DICT_METHOD, "key! default", get, GET_OR_SET },
    { "pop", DICT_METHOD, "key! default", get, GET_AND_POP },
    { "update", DICT_METHOD, "*", update, 0 },

    { "cycle", LOOP_METHOD, "*", cycle, 0 },
    { "changed", LOOP_METHOD, "*", changed, 0 },
    { NULL, 0, NULL, NULL, 0 },
};
