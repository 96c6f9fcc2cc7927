/* The filters and methods of lists, objects and loops, a row each at the end. What Jinja gives as generators (map,
 * select, ...) are lists here. */
#include "template/builtin.h"

/* ---- items and their attributes ---- */

static value filter_list(context *c, const struct call *k)
{
    const struct list *all = value_items(c, k->self);
    value list = value_list(c, LIST);
    for (size_t i = 0, count = all->count; i < count && render_charge(c, i % 8 == 0); i++)
        value_add(c, list, all->items[i]);
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

/* Keys and items in turn, as sorting goes by: by the attribute, letters lowered unless they count. */
static value keyed(context *c, value v, value path, value case_sensitive, bool sort, bool reverse)
{
    const struct list *all = value_items(c, v);
    value out = value_list(c, DICT);
    for (size_t i = 0; i < all->count && !c->failed; i++) {
        value key = attribute_of(c, all->items[i], path, of_kind(MISSING));
        if (key.kind == STRING && !value_truth(case_sensitive)) key = string_cased(c, key, CASE_LOWER);
        if (sort) value_insert(c, out, key, all->items[i], reverse);
        else value_add(c, out, key), value_add(c, out, all->items[i]);
    }
    return out;
}

static value sort(context *c, const struct call *k) /* reverse case_sensitive attribute */
{
    return value_members(c, keyed(c, k->self, k->arg[2], k->arg[1], true, value_truth(k->arg[0])), 1);
}

static value dictsort(context *c, const struct call *k) /* case_sensitive by reverse */
{
    if (k->self.kind != DICT)
        return render_fail(c, ERR_VALUE, "'%s' object has no attribute 'items'", value_kind(k->self));
    value pairs = value_members(c, k->self, 2), by = of_int(value_is(k->arg[1], "value"));
    return value_members(c, keyed(c, pairs, by, k->arg[0], true, value_truth(k->arg[2])), 1);
}

/* The first of equal keys stays. */
static value unique(context *c, const struct call *k) /* case_sensitive attribute */
{
    value all = keyed(c, k->self, k->arg[1], k->arg[0], false, false), kept = value_list(c, DICT);
    for (size_t i = 0; i < all.as.list->count && !c->failed; i += 2)
        if (value_find(c, kept, all.as.list->items[i]) == NULL)
            value_put(c, kept, all.as.list->items[i], all.as.list->items[i + 1]);
    return value_members(c, kept, 1);
}

/* The first of equal ones; undefined for nothing. */
static value extreme(context *c, const struct call *k) /* case_sensitive attribute; variant: -1, 1 */
{
    value all = keyed(c, k->self, k->arg[1], k->arg[0], false, false);
    const struct list *l = all.as.list;
    size_t best = 0;
    for (size_t i = 2; i < l->count && render_charge(c, 1); i += 2)
        if (value_order(c, l->items[i], l->items[best]) == k->row->variant) best = i;
    return best + 1 < l->count ? l->items[best + 1] : of_undefined(view_of("the extreme of nothing"));
}

/* ---- choosing and changing items ---- */

/* A filter or test on one item, its arguments those of `k` behind the first `skip`. */
static value run_on(context *c, const struct builtin *row, value item, const struct call *k, size_t skip)
{
    const struct list rest = { k->pos->items + skip, k->pos->count - skip, 0 };
    struct call one = { .self = item, .pos = &rest, .named = k->named };
    return builtin_run(c, row, &one);
}

/* map(attribute=path, default=x), or map('filter', arguments). */
static value map(context *c, const struct call *k)
{
    value out = value_list(c, LIST), none = of_kind(MISSING);
    const struct builtin *filter = k->pos->count > 0 ? builtin_find(k->pos->items[0], AS_FILTER) : NULL;
    const value *path = value_find(c, k->named, of_text("attribute"));
    const value *otherwise = value_find(c, k->named, of_text("default"));
    if (!value_truth(k->self)) return out;
    if (filter == NULL && path == NULL)
        return render_fail(c, ERR_VALUE, "map requires a filter that is known, or an attribute");
    const struct list *all = value_items(c, k->self);
    for (size_t i = 0; i < all->count && render_charge(c, 1); i++)
        value_add(c, out,
                  filter != NULL ? run_on(c, filter, all->items[i], k, 1)
                                 : attribute_of(c, all->items[i], *path, otherwise != NULL ? *otherwise : none));
    return out;
}

enum { CHOOSE_ATTRIBUTE = 1, CHOOSE_REJECTED = 2 };

/* select, reject, selectattr, rejectattr: the items whose test (of an attribute) holds, or does not. */
static value choose(context *c, const struct call *k) /* variant: CHOOSE_* */
{
    size_t skip = k->row->variant & CHOOSE_ATTRIBUTE;
    value out = value_list(c, LIST), path = skip > 0 && k->pos->count > 0 ? k->pos->items[0] : of_kind(MISSING);
    const struct builtin *test = k->pos->count > skip ? builtin_find(k->pos->items[skip], AS_TEST) : NULL;
    if (!value_truth(k->self)) return out;
    if (k->pos->count < skip || (test == NULL && k->pos->count > skip))
        return render_fail(c, ERR_VALUE, "missing parameter, or no test of that name");
    const struct list *all = value_items(c, k->self);
    for (size_t i = 0; i < all->count && render_charge(c, 1); i++) {
        value tested = attribute_of(c, all->items[i], path, of_kind(MISSING));
        bool holds = value_truth(test != NULL ? run_on(c, test, tested, k, skip + 1) : tested);
        if (holds != (bool)(k->row->variant & CHOOSE_REJECTED)) value_add(c, out, all->items[i]);
    }
    return out;
}

static value end(context *c, const struct call *k) /* variant: the last */
{
    const struct list *all = value_items(c, k->self);
    if (all->count == 0) return of_undefined(view_of("an item of nothing"));
    return all->items[k->row->variant ? all->count - 1 : 0];
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
    const struct list *all = value_items(c, k->self);
    for (size_t i = 0; i < all->count && !c->failed; i++)
        total = value_binary(c, BINARY_ADD, total, attribute_of(c, all->items[i], k->arg[0], of_kind(MISSING)));
    return total;
}

/* Items as str prints them, or one attribute of each. */
static value join(context *c, const struct call *k) /* d attribute */
{
    value keys = value_members(c, keyed(c, k->self, k->arg[1], of_bool(true), false, false), 0);
    return string_joined(c, given(k->arg[0]) ? k->arg[0] : of_text(""), keys);
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
    const struct list *all = value_items(c, k->arg[0]);
    for (size_t i = 0, count = all->count; i < count && render_charge(c, 1); i++) value_add(c, k->self, all->items[i]);
    return of_kind(NONE);
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

/* The last of `width` places from `at` on; the others move up. */
static value take_out(context *c, struct list *l, size_t at, size_t width)
{
    value taken = l->items[at + width - 1];
    render_charge(c, l->count / 8);
    memmove(l->items + at, l->items + at + width, (l->count - at - width) * sizeof *l->items);
    l->count -= width;
    return taken;
}

static value pop(context *c, const struct call *k) /* index */
{
    int64_t count = (int64_t)k->self.as.list->count, at = k->arg[0].as.integer;
    if (at < 0) at += count;
    if (at < 0 || at >= count) return render_fail(c, ERR_VALUE, "pop index out of range");
    return take_out(c, k->self.as.list, (size_t)at, 1);
}

/* The first place of an item, or how many there are. */
static value find(context *c, const struct call *k) /* item; variant: how many */
{
    const struct list *l = k->self.as.list;
    size_t at = 0, hits = 0;
    for (size_t i = l->count; i-- > 0 && render_charge(c, 1);)
        if (value_equal(c, l->items[i], k->arg[0])) at = i, hits++;
    if (hits == 0 && !k->row->variant) return render_fail(c, ERR_VALUE, "item not in list");
    return of_int((int64_t)(k->row->variant ? hits : at));
}

static value remove_item(context *c, const struct call *k) /* item */
{
    value at = find(c, k);
    if (!c->failed) take_out(c, k->self.as.list, (size_t)at.as.integer, 1);
    return of_kind(NONE);
}

static value turn_around(context *c, const struct call *k)
{
    struct list *l = k->self.as.list;
    render_charge(c, l->count / 8);
    for (size_t i = 0; i < l->count / 2; i++) {
        value first = l->items[i];
        l->items[i] = l->items[l->count - 1 - i], l->items[l->count - 1 - i] = first;
    }
    return of_kind(NONE);
}

/* ---- methods of lists and objects, of objects, of loops ---- */

static value clear(context *c, const struct call *k)
{
    render_charge(c, 1);
    k->self.as.list->count = 0;
    return of_kind(NONE);
}

/* The items anew, themselves shared. */
static value copy(context *c, const struct call *k)
{
    value made = value_list(c, k->self.kind);
    const struct list *from = k->self.as.list;
    for (size_t i = 0; i < from->count && render_charge(c, i % 8 == 0); i++) value_add(c, made, from->items[i]);
    return made;
}

static value members(context *c, const struct call *k) /* variant: as value_members */
{
    if (k->self.kind == UNDEFINED) return value_list(c, LIST);
    if (k->self.kind != DICT) return render_fail(c, ERR_VALUE, "can only get item pairs from a mapping");
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
    if (k->row->variant == GET_AND_POP && !given(k->arg[1])) return render_fail(c, ERR_VALUE, "pop: no such key");
    if (k->row->variant == GET_OR_SET) value_put(c, k->self, k->arg[0], otherwise);
    return otherwise;
}

/* One mapping or list of pairs, then named values. */
value value_update(context *c, value dict, const struct call *k)
{
    if (k->pos->count > 1) return render_fail(c, ERR_VALUE, "at most 1 argument expected, got %zu", k->pos->count);
    value from = k->pos->count == 0 ? k->named : k->pos->items[0];
    for (int i = 0; i < 2; from = k->named, i++) {
        const struct list *pairs = from.kind == DICT ? value_members(c, from, 2).as.list : value_items(c, from);
        for (size_t j = 0; j < pairs->count && !c->failed; j++) {
            const struct list *pair = value_items(c, pairs->items[j]);
            if (pair->count == 2) value_put(c, dict, pair->items[0], pair->items[1]);
            else render_fail(c, ERR_VALUE, "element %zu has length %zu; 2 is required", j, pair->count);
        }
    }
    return dict;
}

static value update(context *c, const struct call *k)
{
    value_update(c, k->self, k);
    return of_kind(NONE);
}

static value cycle(context *c, const struct call *k)
{
    if (k->pos->count == 0) return render_fail(c, ERR_VALUE, "no items for cycling given");
    return k->pos->items[k->self.as.loop->index % k->pos->count];
}

enum { SEQUENCE_METHOD = LIST_METHOD | TUPLE_METHOD, MUTABLE_METHOD = LIST_METHOD | DICT_METHOD };

const struct builtin BUILTINS_OF_LISTS[] = {
    { "length", FILTER, "", length, 0 },                       { "count", FILTER, "", length, 0 },
    { "list", FILTER, "", filter_list, 0 },                    { "first", FILTER, "", end, false },
    { "random", FILTER, "", end, false }, /* repeatable: no chance in a prompt */
    { "last", FILTER, "", end, true },                         { "reverse", FILTER, "", reverse, 0 },
    { "join", FILTER, "d~ attribute", join, 0 },               { "map", FILTER, "*", map, 0 },
    { "select", FILTER, "*", choose, 0 },                      { "reject", FILTER, "*", choose, CHOOSE_REJECTED },
    { "selectattr", FILTER, "*", choose, CHOOSE_ATTRIBUTE },
    { "rejectattr", FILTER, "*", choose, CHOOSE_ATTRIBUTE | CHOOSE_REJECTED },
    { "sort", FILTER, "reverse case_sensitive attribute", sort, 0 },
    { "dictsort", FILTER, "case_sensitive by reverse", dictsort, 0 },
    { "unique", FILTER, "case_sensitive attribute", unique, 0 },
    { "min", FILTER, "case_sensitive attribute", extreme, -1 },
    { "max", FILTER, "case_sensitive attribute", extreme, 1 }, { "sum", FILTER, "attribute start", sum, 0 },
    { "append", LIST_METHOD, "item!", append, 0 },             { "extend", LIST_METHOD, "items!", extend, 0 },
    { "insert", LIST_METHOD, "index#0 item!", insert, 0 },     { "pop", LIST_METHOD, "index#-1", pop, 0 },
    { "index", SEQUENCE_METHOD, "item!", find, false },        { "count", SEQUENCE_METHOD, "item!", find, true },
    { "remove", LIST_METHOD, "item!", remove_item, false },    { "reverse", LIST_METHOD, "", turn_around, 0 },
    { "clear", MUTABLE_METHOD, "", clear, 0 },                 { "copy", MUTABLE_METHOD, "", copy, 0 },
    { "keys", DICT_METHOD, "", members, 0 },                   { "values", DICT_METHOD, "", members, 1 },
    { "items", DICT_METHOD | FILTER, "", members, 2 },         { "get", DICT_METHOD, "key! default", get, GET },
    { "setdefault", DICT_METHOD, "key! default", get, GET_OR_SET },
    { "pop", DICT_METHOD, "key! default", get, GET_AND_POP },  { "update", DICT_METHOD, "*", update, 0 },
    { "cycle", LOOP_METHOD, "*", cycle, 0 },
    { NULL, 0, NULL, NULL, 0 } /* the end */
};
