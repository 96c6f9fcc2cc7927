/* The methods of lists, objects, loops and cyclers, a row each at the end; those of strings are in string_methods.c. */
#include "template/builtin.h"

#include "base/checked.h"

/* ---- lists ---- */

/* Jinja's own sandbox forbids changing lists; templates of Kimi K2 do it, and a rendering's values are its own. */
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
    if (!call_arg_int(c, &k->arg[0], 0, &at) || !render_charge(c, l->count / 8) || !value_list_add(c, l, &k->arg[1]))
        return false;
    at = at < -count ? 0 : at < 0 ? at + count : at > count ? count : at;
    memmove(l->items + at + 1, l->items + at, (size_t)(count - at) * sizeof *l->items);
    l->items[at] = k->arg[1];
    return true;
}

/* The others move up in place: a loop that walks the list keeps to the length it began with. */
static void take_out(struct list *l, size_t at)
{
    memmove(l->items + at, l->items + at + 1, (l->count - at - 1) * sizeof *l->items);
    l->count--;
}

static bool list_pop(context *c, const struct call *k, value *out)
{
    struct list *l = k->self.as.list;
    int64_t at, count = (int64_t)l->count;
    if (!call_arg_int(c, &k->arg[0], -1, &at) || !render_charge(c, l->count / 8)) return false;
    if (at < 0) at = at < -count ? -1 : at + count;
    if (at < 0 || at >= count) return raise(c, "pop index out of range");
    *out = l->items[at];
    take_out(l, (size_t)at);
    return true;
}

/* The first place, and how many there are. */
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
    value_list_reverse(k->self.as.list);
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

bool value_dict_items(context *c, const struct dict *d, int which, value *out)
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

static bool views(context *c, const struct call *k, value *out)
{
    return value_dict_items(c, k->self.as.dict, k->row->variant, out);
}

/* None where there is no such key, not undefined. */
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

/* The order of the others stays. */
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

bool value_dict_from_call(context *c, enum kind kind, const struct call *k, value *out)
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
    return value_dict_from_call(c, DICT, &copy, out);
}

/* ---- loop and cycler ---- */

static bool cycle(context *c, const struct call *k, value *out)
{
    if (k->pos_count == 0) return raise(c, "no items for cycling given");
    *out = k->pos[k->self.as.loop->index % k->pos_count];
    return true;
}

/* True where the arguments are not those of the round before. */
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

static const struct builtin of_lists[] = {
    { "append", "item", 1, 0, list_append },
    { "extend", "items", 1, 0, list_extend },
    { "insert", "index item", 2, 0, list_insert },
    { "pop", "index", 0, 0, list_pop },
    { "remove", "item", 1, 0, list_remove },
    { "index", "item", 1, 0, list_index },
    { "count", "item", 1, 0, list_count },
    { "reverse", "", 0, 0, list_reverse },
    { "clear", "", 0, 0, list_clear },
    { "copy", "", 0, 0, list_copy },
};

static const struct builtin of_tuples[] = { { "index", "item", 1, 0, list_index },
                                            { "count", "item", 1, 0, list_count } };

static const struct builtin of_dicts[] = {
    { "get", "key default", 1, 0, get },
    { "keys", "", 0, 0, views },
    { "values", "", 0, 1, views },
    { "items", "", 0, 2, views },
    { "update", "*", 0, 0, dict_update },
    { "pop", "key default", 1, 0, dict_pop },
    { "setdefault", "key default", 1, 0, setdefault },
    { "clear", "", 0, 0, dict_clear },
    { "copy", "", 0, 0, dict_copy },
};

static const struct builtin of_loops[] = { { "cycle", "*", 0, 0, cycle }, { "changed", "*", 0, 0, changed } };
static const struct builtin of_cyclers[] = { { "next", "", 0, 0, next } };

const struct builtin *builtin_method(enum kind kind, view name)
{
#define ROWS(table)                                                                                                    \
    {                                                                                                                  \
        table, sizeof table / sizeof *table                                                                            \
    }
    static const struct {
        const struct builtin *rows;
        size_t count;
    } tables[] = { [LIST] = ROWS(of_lists), [TUPLE] = ROWS(of_tuples),   [DICT] = ROWS(of_dicts),
                   [LOOP] = ROWS(of_loops), [CYCLER] = ROWS(of_cyclers), [JOINER] = { NULL, 0 } };
#undef ROWS
    if (kind == STRING) return builtin_string_method(name);
    for (size_t i = 0; i < tables[kind].count; i++)
        if (view_is(name, tables[kind].rows[i].name)) return &tables[kind].rows[i];
    return NULL;
}
