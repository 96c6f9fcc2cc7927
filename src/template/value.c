/* Values: see value.h. Lists and objects live in the arena of the rendering and grow by doubling; objects are searched
 * in order, because those of a conversation are small, and pay for it in steps, because hostile ones are not. */
#include "template/value.h"

#include "base/checked.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* The meter of a rendering. It counts work, not time, so that the same template ends at the same place everywhere. */
bool render_charge(context *c, size_t steps)
{
    if (steps <= c->steps_left) {
        c->steps_left -= steps;
        return true;
    }
    c->steps_left = 0;
    return raise_limit(c, "more steps than the limit allows");
}

/* Bounds the C stack: expressions, blocks, macro calls and comparisons of nested lists all pass here. */
bool render_enter(context *c)
{
    if (++c->depth <= TEMPLATE_DEPTH_MAX) return true;
    return raise_limit(c, "nested over %d deep", TEMPLATE_DEPTH_MAX);
}

/* All memory of a rendering: bounded by its own limit beside the arena's, and paid for by size, because fresh pages are
 * what a memory bomb costs. */
void *render_take(context *c, size_t count, size_t each_bytes)
{
    size_t want;
    if (!mul_size(count, each_bytes, &want) || c->arena->used_bytes > c->memory_end ||
        want > c->memory_end - c->arena->used_bytes) {
        template_raise(c, ERR_LIMIT, "values take more memory than the limit allows");
        return NULL;
    }
    void *p = render_charge(c, 1 + want / 256) ? arena_take(c->arena, count, each_bytes, 8, "template values", c->e)
                                               : NULL;
    return p;
}

/* ---- lists and objects ---- */

/* A list with room for `capacity` items; LIST and TUPLE differ in what may be done to them alone. */
bool value_list_new(context *c, enum kind kind, size_t capacity, value *out)
{
    struct list *l = render_take(c, 1, sizeof *l);
    if (l == NULL) return false;
    if (capacity > 0 && (l->items = render_take(c, capacity, sizeof(value))) == NULL) return false;
    l->capacity = capacity;
    *out = of_kind(kind);
    out->as.list = l;
    return true;
}

/* Room for one more element; the old array stays valid for whoever walks it. */
static bool grow(context *c, void **elements, size_t count, size_t *capacity, size_t each_bytes)
{
    if (count < *capacity) return true;
    size_t wider = *capacity < 4 ? 4 : 2 * *capacity;
    void *moved = render_take(c, wider, each_bytes);
    if (moved == NULL) return false;
    if (count > 0) memcpy(moved, *elements, count * each_bytes);
    *elements = moved;
    *capacity = wider;
    return true;
}

/* The item is copied first: it may stand in the very array that moves. */
bool value_list_add(context *c, struct list *l, const value *item)
{
    void *elements = l->items;
    value copy = *item; /* `item` may stand in the array that moves */
    if (!grow(c, &elements, l->count, &l->capacity, sizeof(value))) return false;
    l->items = elements;
    l->items[l->count++] = copy;
    return true;
}

bool value_dict_new(context *c, enum kind kind, value *out)
{
    struct dict *d = render_take(c, 1, sizeof *d);
    if (d == NULL) return false;
    *out = of_kind(kind);
    out->as.dict = d;
    return true;
}

/* The common case, names of members, without the machinery of equality. */
const value *value_dict_get(const struct dict *d, view key)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->pairs[i].key.kind == STRING && view_equal(view_in(&d->pairs[i].key), key)) return &d->pairs[i].value;
    return NULL;
}

/* Keys are equal as values are: 1, 1.0 and true are one key, as in Python. */
bool value_dict_find(context *c, const struct dict *d, const value *key, size_t *index, bool *found)
{
    *found = false;
    if (key->kind == LIST || key->kind == DICT) return raise(c, "unhashable type: '%s'", value_kind(key));
    if (!render_charge(c, d->count / 4)) return false;
    for (*index = 0; *index < d->count; ++*index) {
        const value *k = &d->pairs[*index].key;
        if (k->kind == STRING && key->kind == STRING) *found = view_equal(view_in(k), view_in(key));
        else if (!value_equal(c, k, key, found)) return false;
        if (*found) return true;
    }
    return true;
}

/* A key that is there keeps its place and its first spelling. */
bool value_dict_put(context *c, struct dict *d, const value *key, const value *item)
{
    size_t index;
    bool found;
    value copy = *item;
    if (!value_dict_find(c, d, key, &index, &found)) return false;
    if (!found) {
        void *pairs = d->pairs;
        if (!grow(c, &pairs, d->count, &d->capacity, sizeof(struct pair))) return false;
        d->pairs = pairs;
        d->pairs[d->count++].key = *key;
    }
    d->pairs[index].value = copy;
    return true;
}

/* Numbers over 64 bits keep their text; everything carries the origin of the variable it came with. */
bool value_from_json(context *c, const json_value *v, enum template_origin origin, value *out)
{
    int64_t n;
    value key, item; /* recursion: at most JSON_DEPTH_MAX, the reader's limit */
    switch (v->type) {
    case JSON_NULL:
        *out = of_kind(NONE);
        break;
    case JSON_FALSE:
    case JSON_TRUE:
        *out = of_bool(v->type == JSON_TRUE);
        break;
    case JSON_INT:
        *out = of_view(v->text, origin);
        out->kind = BIG_INT;
        if (json_i64(v, &n)) *out = of_int(n);
        break;
    case JSON_FLOAT:
        *out = of_float(json_parse_double(v->text));
        break;
    case JSON_STRING:
        *out = of_view(v->text, origin);
        break;
    case JSON_ARRAY:
        if (!value_list_new(c, LIST, v->count, out)) return false;
        JSON_EACH(child, v)
        if (!value_from_json(c, child, origin, &item) || !value_list_add(c, out->as.list, &item)) return false;
        break;
    case JSON_OBJECT:
        if (!value_dict_new(c, DICT, out)) return false;
        if (v->count > 0 && (out->as.dict->pairs = render_take(c, v->count, sizeof(struct pair))) == NULL) return false;
        out->as.dict->capacity = v->count;
        JSON_EACH(member, v) /* the names are distinct: no search */
        {
            key = of_view(member->key, origin);
            if (!value_from_json(c, member, origin, &item)) return false;
            out->as.dict->pairs[out->as.dict->count++] = (struct pair){ key, item };
        }
        break;
    }
    out->origin = (uint8_t)origin;
    return true;
}

/* ---- questions ---- */

/* Python's names, because template authors know its messages. */
const char *value_kind(const value *v)
{
    static const char *const names[] = {
        [MISSING] = "missing",
        [UNDEFINED] = "Undefined",
        [NONE] = "NoneType",
        [BOOL] = "bool",
        [INT] = "int",
        [BIG_INT] = "int",
        [FLOAT] = "float",
        [STRING] = "str",
        [LIST] = "list",
        [TUPLE] = "tuple",
        [DICT] = "dict",
        [RANGE] = "range",
        [NAMESPACE] = "namespace",
        [MACRO] = "macro",
        [LOOP] = "loop",
        [BUILTIN] = "function",
        [CYCLER] = "cycler",
        [JOINER] = "joiner",
    };
    return names[v->kind];
}

/* Empty and zero are false; so is what is not defined. Functions, macros and loops are true. */
bool value_truth(const value *v)
{
    switch (v->kind) {
    case MISSING:
    case UNDEFINED:
    case NONE:
        return false;
    case BOOL:
        return v->as.truth;
    case INT:
        return v->as.integer != 0;
    case FLOAT:
        return v->as.real != 0;
    case STRING:
        return v->len > 0;
    case LIST:
    case TUPLE:
        return v->as.list->count > 0;
    case DICT:
        return v->as.dict->count > 0;
    case RANGE:
        return v->as.range->count > 0;
    default:
        return true;
    }
}

bool value_is_number(const value *v)
{
    return v->kind >= BOOL && v->kind <= FLOAT;
}

/* A truth counts as 0 or 1 in arithmetic, in indices and in ranges, as in Python. */
bool value_integer(const value *v, int64_t *out)
{
    if (v->kind != INT && v->kind != BOOL) return false;
    *out = v->kind == BOOL ? v->as.truth : v->as.integer;
    return true;
}

/* The number as f64. The caller has asked value_is_number. */
double value_number(const value *v)
{
    int64_t n;
    if (value_integer(v, &n)) return (double)n;
    return v->kind == FLOAT ? v->as.real : json_parse_double(view_in(v));
}

static int order_of_doubles(double a, double b)
{
    return isnan(a) || isnan(b) ? 2 : (a > b) - (a < b);
}

/* Exact between integers of any size; against a float through f64. */
static int order_of_numbers(const value *a, const value *b)
{
    int64_t i, j;
    if (value_integer(a, &i) && value_integer(b, &j)) return (i > j) - (i < j);
    if (a->kind != FLOAT && b->kind != FLOAT && a->kind == b->kind) {
        bool below = a->as.bytes[0] == '-', also = b->as.bytes[0] == '-';
        if (below != also) return below ? -1 : 1;
        int order = a->len != b->len ? (a->len > b->len) - (a->len < b->len) : memcmp(a->as.bytes, b->as.bytes, a->len);
        order = (order > 0) - (order < 0);
        return below ? -order : order;
    }
    return order_of_doubles(value_number(a), value_number(b));
}

static int order_of_views(view a, view b) /* UTF-8 keeps the order of code points */
{
    size_t n = min_size(a.len_bytes, b.len_bytes);
    int order = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
    if (order == 0) return (a.len_bytes > b.len_bytes) - (a.len_bytes < b.len_bytes);
    return order < 0 ? -1 : 1;
}

/* Members in any order. */
static bool equal_dicts(context *c, const struct dict *a, const struct dict *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; i < a->count && *out; i++) {
        size_t index;
        bool found;
        if (!value_dict_find(c, b, &a->pairs[i].key, &index, &found)) return false;
        *out = found;
        if (found && !value_equal(c, &a->pairs[i].value, &b->pairs[index].value, out)) return false;
    }
    return true;
}

static bool equal_lists(context *c, const struct list *a, const struct list *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; i < a->count && *out; i++)
        if (!value_equal(c, &a->items[i], &b->items[i], out)) return false;
    return true;
}

/* Never fails for what kinds they are: values of different kinds are different, except numbers. */
bool value_equal(context *c, const value *a, const value *b, bool *out)
{
    if (a->kind == STRING && b->kind == STRING) {
        *out = view_equal(view_in(a), view_in(b));
        return render_charge(c, a->len / 64);
    }
    if (value_is_number(a) && value_is_number(b)) {
        *out = order_of_numbers(a, b) == 0;
        return true;
    }
    *out = a->kind == b->kind;
    if (!*out || a->kind <= NONE) return true;
    *out = a->as.list == b->as.list; /* the same object */
    if (*out || (a->kind != LIST && a->kind != TUPLE && a->kind != DICT)) return true;
    if (!render_enter(c) || !render_charge(c, 1)) return false; /* a list may hold itself: depth and steps end it */
    bool good = a->kind == DICT ? equal_dicts(c, a->as.dict, b->as.dict, out)
                                : equal_lists(c, a->as.list, b->as.list, out);
    render_leave(c);
    return good;
}

/* Text by code points, lists item by item; what has no order is an error that names both kinds. */
bool value_compare(context *c, const value *a, const value *b, int *out)
{
    *out = 0;
    if (value_is_number(a) && value_is_number(b)) {
        *out = order_of_numbers(a, b);
        return true;
    }
    if (a->kind == UNDEFINED || b->kind == UNDEFINED) {
        const value *u = a->kind == UNDEFINED ? a : b;
        return raise(c, "'%.*s' is undefined", (int)min_size(u->len, 60), (const char *)u->as.bytes);
    }
    if (a->kind == STRING && b->kind == STRING) {
        *out = order_of_views(view_in(a), view_in(b));
        return render_charge(c, a->len / 64);
    }
    if (a->kind != b->kind || (a->kind != LIST && a->kind != TUPLE))
        return raise(c, "'<' not supported between '%s' and '%s'", value_kind(a), value_kind(b));
    const struct list *x = a->as.list, *y = b->as.list;
    if (!render_enter(c) || !render_charge(c, 1)) return false;
    for (size_t i = 0; i < x->count && i < y->count; i++) {
        bool same;
        if (!value_equal(c, &x->items[i], &y->items[i], &same)) return false;
        if (same) continue;
        render_leave(c);
        return value_compare(c, &x->items[i], &y->items[i], out);
    }
    render_leave(c);
    *out = (x->count > y->count) - (x->count < y->count);
    return true;
}

/* Characters of text, items of lists, members of objects; 0 for what is not defined. */
bool value_length(context *c, const value *v, size_t *out)
{
    switch (v->kind) {
    case UNDEFINED:
        *out = 0;
        return true;
    case STRING:
        *out = string_chars(view_in(v));
        return render_charge(c, v->len / 64);
    case LIST:
    case TUPLE:
        *out = v->as.list->count;
        return true;
    case DICT:
        *out = v->as.dict->count;
        return true;
    case RANGE:
        *out = (size_t)v->as.range->count;
        return true;
    default:
        return raise(c, "object of type '%s' has no len()", value_kind(v));
    }
}

/* "in": a part of text, a key of an object, an item of anything else. */
bool value_contains(context *c, const value *whole, const value *wanted, bool *out)
{
    size_t index, count;
    const value *all;
    *out = false;
    if (whole->kind == DICT) return value_dict_find(c, whole->as.dict, wanted, &index, out);
    if (whole->kind == STRING) {
        if (wanted->kind != STRING)
            return raise(c, "'in <string>' requires string as left operand, not %s", value_kind(wanted));
        *out = string_find(view_in(whole), 0, view_in(wanted), &index);
        return render_charge(c, whole->len / (wanted->len > 32 ? 4 : 64)); /* memmem: long needles are slower */
    }
    if (!value_items(c, whole, &all, &count) || !render_charge(c, count / 8)) return false;
    for (size_t i = 0; i < count && !*out; i++)
        if (!value_equal(c, &all[i], wanted, out)) return false;
    return true;
}

/* Each character as a string of its own; slices of the text, so nothing is copied. */
static bool characters(context *c, const value *v, const value **out, size_t *count)
{
    *count = string_chars(view_in(v));
    value *all = render_take(c, *count, sizeof *all);
    if (all == NULL) return false;
    for (size_t i = 0, at = 0; i < *count; i++) {
        size_t next = at + string_char_offset(view_after(view_in(v), at), 1);
        all[i] = string_part(c, v, at, next);
        if (all[i].kind == MISSING) return false;
        at = next;
    }
    *out = all;
    return true;
}

/* What a for loop and every filter over items walk: one array, whatever the value is. */
bool value_items(context *c, const value *v, const value **out, size_t *count)
{
    value *all;
    *out = NULL;
    *count = 0;
    switch (v->kind) {
    case UNDEFINED:
        return true;
    case STRING:
        return characters(c, v, out, count);
    case LIST:
    case TUPLE:
        *out = v->as.list->items;
        *count = v->as.list->count;
        return true;
    case DICT:
        *count = v->as.dict->count;
        if ((all = render_take(c, *count, sizeof *all)) == NULL) return false;
        for (size_t i = 0; i < *count; i++) all[i] = v->as.dict->pairs[i].key;
        break;
    case RANGE:
        *count = (size_t)v->as.range->count;
        if ((all = render_take(c, *count, sizeof *all)) == NULL) return false;
        for (size_t i = 0; i < *count; i++) {
            all[i] = of_int((int64_t)((uint64_t)v->as.range->start + i * (uint64_t)v->as.range->step));
            all[i].origin = v->origin;
        }
        break;
    default:
        return raise(c, "'%s' object is not iterable", value_kind(v));
    }
    *out = all;
    return true;
}
