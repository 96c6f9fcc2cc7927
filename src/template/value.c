/* Values: see value.h. Objects are searched in order, because those of a conversation are small, and pay for it in
 * steps, because hostile ones are not. */
#include "template/value.h"

#include <math.h>

/* ---- lists and objects ---- */

value value_list(context *c, enum kind kind)
{
    value v = of_kind(kind);
    v.as.list = render_take(c, 1, sizeof *v.as.list);
    if (v.as.list == NULL) v.as.list = &c->nothing;
    return v;
}

void value_add(context *c, value list, value item)
{
    struct list *l = list.as.list;
    value *items = render_grow(c, l->items, l->count, l->count + 1, &l->capacity, sizeof *items);
    if (items == NULL) return;
    l->items = items;
    l->items[l->count++] = item;
}

value value_pair(context *c, value a, value b)
{
    value pair = value_list(c, TUPLE);
    value_add(c, pair, a);
    value_add(c, pair, b);
    return pair;
}

/* Keys are equal as values are: 1, 1.0 and true are one key, as in Python. */
value *value_find(context *c, value dict, value key)
{
    struct list *l = dict.as.list;
    if (key.kind == LIST || key.kind == DICT) render_fail(c, ERR_VALUE, "unhashable type: '%s'", value_kind(key));
    for (size_t i = 0; i < l->count && (i % 8 != 0 || render_charge(c, i > 0)); i += 2) {
        value known = l->items[i];
        bool text = known.kind == STRING && key.kind == STRING; /* nearly always */
        if (text ? view_equal(view_in(known), view_in(key)) : value_equal(c, known, key)) return &l->items[i + 1];
    }
    return NULL;
}

/* A key that is there keeps its place and its first spelling. */
void value_put(context *c, value dict, value key, value item)
{
    value *known = value_find(c, dict, key);
    struct list *l = dict.as.list;
    if (known != NULL) {
        *known = item;
        return;
    }
    value *items = render_grow(c, l->items, l->count, l->count + 2, &l->capacity, sizeof *items);
    if (items == NULL) return; /* so never a key without its value */
    l->items = items;
    l->items[l->count++] = key;
    l->items[l->count++] = item;
}

/* By bisection; the places behind it move. */
void value_insert(context *c, value sorted, value key, value item, bool reverse)
{
    struct list *l = sorted.as.list;
    size_t low = 0, high = l->count / 2;
    while (low < high && render_charge(c, 1)) {
        size_t middle = (low + high) / 2;
        if (value_order(c, key, l->items[2 * middle]) == (reverse ? 1 : -1)) high = middle;
        else low = middle + 1;
    }
    value_add(c, sorted, key);
    value_add(c, sorted, item);
    if (!render_charge(c, (l->count - 2 * low) / 16)) return;
    memmove(&l->items[2 * low + 2], &l->items[2 * low], (l->count - 2 - 2 * low) * sizeof *l->items);
    l->items[2 * low] = key;
    l->items[2 * low + 1] = item;
}

/* Numbers over 64 bits keep their text; everything carries the origin of the variable it came with. */
value value_from_json(context *c, const json_value *v, enum template_origin origin)
{
    static const uint8_t kinds[] = {
        [JSON_NULL] = NONE,   [JSON_FALSE] = BOOL,    [JSON_TRUE] = BOOL,  [JSON_INT] = BIG_INT,
        [JSON_FLOAT] = FLOAT, [JSON_STRING] = STRING, [JSON_ARRAY] = LIST, [JSON_OBJECT] = DICT
    };
    value out = of_view(v->text, origin);
    if (v->type >= JSON_ARRAY) out = value_list(c, kinds[v->type]); /* recursion: at most JSON_DEPTH_MAX deep */
    out.kind = kinds[v->type];
    if (v->type != JSON_STRING && v->type != JSON_INT) out.len = 0;
    out.origin = (uint8_t)origin;
    if (v->type == JSON_FALSE || v->type == JSON_TRUE) out.as.truth = v->type == JSON_TRUE;
    if (v->type == JSON_FLOAT) out.as.real = json_parse_double(v->text);
    if (v->type == JSON_INT && json_i64(v, &out.as.integer)) out.kind = INT, out.len = 0;
    JSON_EACH(child, v)
    {
        if (v->type == JSON_OBJECT) value_add(c, out, of_view(child->key, origin)); /* distinct: no search */
        value_add(c, out, value_from_json(c, child, origin));
    }
    return out;
}

/* ---- questions ---- */

/* Python's names, because template authors know its messages. ORDER kind */
const char *value_kind(value v)
{
    static const char *const names[] = { "missing",   "Undefined", "NoneType", "bool",    "int",   "int",
                                         "float",     "str",       "list",     "tuple",   "range", "dict",
                                         "namespace", "macro",     "loop",     "function" };
    return names[v.kind];
}

/* Empty and zero are false; so is what is not defined. Functions, macros, loops and namespaces are true. */
bool value_truth(value v)
{
    if (v.kind == BOOL) return v.as.truth;
    if (v.kind == INT) return v.as.integer != 0;
    if (v.kind == FLOAT) return v.as.real != 0;
    if (v.kind == STRING) return v.len > 0;
    if (v.kind >= LIST && v.kind <= DICT) return v.as.list->count > 0;
    return v.kind > NONE;
}

bool value_is_number(value v)
{
    return v.kind >= BOOL && v.kind <= FLOAT;
}

/* A truth counts as 0 or 1 in arithmetic, in indices and in ranges, as in Python. */
bool value_integer(value v, int64_t *out)
{
    if (v.kind != INT && v.kind != BOOL) return false;
    *out = v.kind == BOOL ? v.as.truth : v.as.integer;
    return true;
}

double value_number(value v)
{
    int64_t n;
    if (value_integer(v, &n)) return (double)n;
    return v.kind == FLOAT ? v.as.real : json_parse_double(view_in(v));
}

bool value_is(value v, const char *text)
{
    return v.kind == STRING && view_is(view_in(v), text);
}

/* Exact between integers of 64 bits and between the same digits; else through f64. */
static int order_of_numbers(value a, value b)
{
    int64_t i, j;
    if (value_integer(a, &i) && value_integer(b, &j)) return (i > j) - (i < j);
    if (a.kind == BIG_INT && b.kind == BIG_INT && view_equal(view_in(a), view_in(b))) return 0;
    double x = value_number(a), y = value_number(b);
    return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
}

value value_members(context *c, value dict, int which)
{
    value out = value_list(c, LIST);
    const struct list *l = dict.as.list;
    for (size_t i = 0; i < l->count && render_charge(c, 1); i += 2)
        value_add(c, out, which == 2 ? value_pair(c, l->items[i], l->items[i + 1]) : l->items[i + (which == 1)]);
    return out;
}

static bool equal_lists(context *c, value a, value b)
{
    const struct list *l = a.as.list;
    if (l->count != b.as.list->count) return false;
    for (size_t i = 0; i < l->count; i += a.kind == DICT ? 2 : 1) {
        const value *other = a.kind == DICT ? value_find(c, b, l->items[i]) : &b.as.list->items[i];
        if (other == NULL || !value_equal(c, l->items[a.kind == DICT ? i + 1 : i], *other)) return false;
    }
    return true;
}

/* Values of different kinds are different, except numbers. A list may hold itself: depth and steps end it. */
bool value_equal(context *c, value a, value b)
{
    if (value_is_number(a) && value_is_number(b)) return order_of_numbers(a, b) == 0;
    if (a.kind != b.kind || !render_charge(c, a.kind == STRING ? a.len / 64 : 1)) return false;
    if (a.kind == STRING) return view_equal(view_in(a), view_in(b));
    if (a.kind <= NONE || a.as.list == b.as.list) return true; /* the same object */
    if (a.kind < LIST || a.kind > DICT) return false;
    if (++c->depth > TEMPLATE_DEPTH_MAX) render_fail(c, ERR_LIMIT, "nested over %d deep", TEMPLATE_DEPTH_MAX);
    bool equal = !c->failed && equal_lists(c, a, b);
    c->depth--;
    return equal;
}

/* Text by code points, which UTF-8 keeps the order of; lists by their first items that differ. */
int value_order(context *c, value a, value b)
{
    if (value_is_number(a) && value_is_number(b)) return order_of_numbers(a, b);
    if (a.kind == STRING && b.kind == STRING && render_charge(c, a.len / 64)) {
        size_t n = min_size(a.len, b.len);
        int order = n == 0 ? 0 : memcmp(a.as.bytes, b.as.bytes, n);
        return order != 0 ? (order > 0) - (order < 0) : (a.len > b.len) - (a.len < b.len);
    }
    if (a.kind != b.kind || (a.kind != LIST && a.kind != TUPLE)) {
        render_fail(c, ERR_VALUE, "'<' not supported between '%s' and '%s'", value_kind(a), value_kind(b));
        return 2;
    }
    const struct list *x = a.as.list, *y = b.as.list;
    size_t i = 0;
    while (i < x->count && i < y->count && value_equal(c, x->items[i], y->items[i])) i++;
    if (i == x->count || i == y->count) return (x->count > y->count) - (x->count < y->count);
    if (++c->depth > TEMPLATE_DEPTH_MAX) render_fail(c, ERR_LIMIT, "nested over %d deep", TEMPLATE_DEPTH_MAX);
    int order = c->failed ? 2 : value_order(c, x->items[i], y->items[i]);
    c->depth--;
    return order;
}

/* Characters of text, items of lists, members of objects; 0 for what is not defined. */
size_t value_length(context *c, value v)
{
    if (v.kind == STRING) return render_charge(c, v.len / 64) ? string_length(v) : 0;
    if (v.kind >= LIST && v.kind <= RANGE) return v.as.list->count;
    if (v.kind == DICT) return v.as.list->count / 2;
    if (v.kind != UNDEFINED) render_fail(c, ERR_VALUE, "object of type '%s' has no len()", value_kind(v));
    return 0;
}

/* "in": a part of text, a key of an object, an item of anything else. */
bool value_contains(context *c, value whole, value part)
{
    size_t at;
    if (whole.kind == DICT) return value_find(c, whole, part) != NULL;
    if (whole.kind == STRING && part.kind != STRING)
        render_fail(c, ERR_VALUE, "'in <string>' requires string as left operand, not %s", value_kind(part));
    if (whole.kind == STRING) /* memmem: long needles are slower */
        return render_charge(c, whole.len / (part.len > 32 ? 4 : 64)) && string_find(whole, 0, part, &at);
    const struct list *all = value_items(c, whole);
    for (size_t i = 0; i < all->count && (i % 8 != 0 || render_charge(c, 1)); i++)
        if (value_equal(c, all->items[i], part)) return true;
    return false;
}

/* The characters of a string as slices of it; the keys of an object. */
const struct list *value_items(context *c, value v)
{
    if (v.kind >= LIST && v.kind <= RANGE) return v.as.list;
    if (v.kind == DICT) return value_members(c, v, 0).as.list;
    if (v.kind != STRING && v.kind != UNDEFINED)
        render_fail(c, ERR_VALUE, "'%s' object is not iterable", value_kind(v));
    value all = value_list(c, LIST);
    for (size_t at = 0, next; v.kind == STRING && at < v.len && render_charge(c, 1); at = next) {
        next = string_offset(v, at, 1);
        value_add(c, all, string_part(c, v, at, next));
    }
    return all.as.list;
}
