/* What each expression computes: one function an operator, in a table at the end. Statements are in render.c. */
#include "template/eval.h"

#include "base/checked.h"

#include <assert.h>
#include <stdio.h>

/* ---- names ---- */

/* From the innermost scope outwards; scopes hold few names, so a search is faster than a table. */
static const value *lookup(const context *c, uint32_t name)
{
    for (const struct scope *s = c->scope; s != NULL; s = s->parent)
        for (uint32_t i = 0; i < s->count; i++)
            if (s->vars[i].name == name) return &s->vars[i].value;
    return &c->root[name];
}

bool render_bind(context *c, uint32_t name, const value *v)
{
    struct scope *s = c->scope;
    if (s == NULL) {
        c->root[name] = *v;
        return true;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->vars[i].name != name) continue;
        s->vars[i].value = *v;
        return true;
    }
    if (s->count == s->capacity) {
        uint32_t capacity = s->capacity < 4 ? 4 : 2 * s->capacity;
        struct binding *moved = render_take(c, capacity, sizeof *moved);
        if (moved == NULL) return false;
        if (s->count > 0) memcpy(moved, s->vars, s->count * sizeof *moved);
        s->vars = moved;
        s->capacity = capacity;
    }
    s->vars[s->count++] = (struct binding){ name, *v };
    return true;
}

bool value_raise_undefined(context *c, const value *v)
{
    return raise(c, "'%.*s' is undefined", (int)min_size(v->len, 60), (const char *)v->as.bytes);
}

static bool eval_literal(context *c, const struct node *n, value *out)
{
    (void)c;
    *out = n->as.literal;
    return true;
}

/* An unknown name is a value, not an error: only using it is. */
static bool eval_name(context *c, const struct node *n, value *out)
{
    *out = *lookup(c, n->name);
    if (out->kind == MISSING) *out = of_undefined(c->t->names[n->name].text);
    return true;
}

/* ---- displays ---- */

/* Its brackets are the template's own when it is printed, whatever its items are. */
static bool eval_list(context *c, const struct node *n, value *out)
{
    value item;
    if (!value_list_new(c, n->op == OP_TUPLE ? TUPLE : LIST, 0, out)) return false;
    out->origin = ORIGIN_TEMPLATE; /* its brackets and commas, when it is printed */
    for (const struct node *child = n->as.child[0]; child != NULL; child = child->next)
        if (!eval_node(c, child, &item) || !value_list_add(c, out->as.list, &item)) return false;
    return true;
}

/* A key given twice keeps the last value, as in Python. */
static bool eval_dict(context *c, const struct node *n, value *out)
{
    value key, item;
    if (!value_dict_new(c, DICT, out)) return false;
    out->origin = ORIGIN_TEMPLATE;
    for (const struct node *child = n->as.child[0]; child != NULL; child = child->next->next)
        if (!eval_node(c, child, &key) || !eval_node(c, child->next, &item) ||
            !value_dict_put(c, out->as.dict, &key, &item))
            return false;
    return true;
}

/* ---- attributes and subscripts ---- */

/* A method that is not called at once (x.upper is defined) becomes a value with its object. */
static bool bind_method(context *c, const value *object, const struct builtin *method, value *out)
{
    struct bound *b = render_take(c, 1, sizeof *b);
    if (b == NULL) return false;
    *b = (struct bound){ *object, method };
    *out = of_kind(BUILTIN);
    out->as.bound = b;
    return true;
}

/* Before the first and behind the last there is nothing defined. */
static bool loop_item(const struct loop *l, size_t index, value *out)
{
    if (index >= l->count) {
        *out = of_undefined(view_of("the item beside this one"));
        return true;
    }
    *out = l->items != NULL ? l->items[index]
                            : of_int((int64_t)((uint64_t)l->range.start + index * (uint64_t)l->range.step));
    return true;
}

/* Computed when asked for: most loops ask for one or two of these. */
static bool loop_field(const struct loop *l, view name, value *out)
{
    const struct {
        const char *name;
        size_t number;
    } numbers[] = { { "index0", l->index },
                    { "index", l->index + 1 },
                    { "revindex0", l->count - l->index - 1 },
                    { "revindex", l->count - l->index },
                    { "length", l->count },
                    { "depth", l->depth },
                    { "depth0", l->depth - 1 } };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (!view_is(name, numbers[i].name)) continue;
        *out = of_int((int64_t)numbers[i].number);
        return true;
    }
    if (view_is(name, "first")) *out = of_bool(l->index == 0);
    else if (view_is(name, "last")) *out = of_bool(l->index + 1 == l->count);
    else if (view_is(name, "previtem")) return loop_item(l, l->index - 1, out); /* SIZE_MAX before the first */
    else if (view_is(name, "nextitem")) return loop_item(l, l->index + 1, out);
    return true;
}

static bool macro_field(context *c, const struct macro *m, view name, value *out)
{
    if (view_is(name, "name")) *out = of_view(c->t->names[m->node->name].text, ORIGIN_TEMPLATE);
    if (view_is(name, "catch_kwargs")) *out = of_bool(m->node->flag & MACRO_KWARGS);
    if (view_is(name, "catch_varargs")) *out = of_bool(m->node->flag & MACRO_VARARGS);
    if (view_is(name, "caller")) *out = of_bool(m->node->flag & MACRO_CALLER);
    if (!view_is(name, "arguments")) return true;
    if (!value_list_new(c, TUPLE, 0, out)) return false;
    for (const struct node *p = m->node->as.child[0]; p != NULL; p = p->next) {
        value text = of_view(c->t->names[p->name].text, ORIGIN_TEMPLATE);
        if (!value_list_add(c, out->as.list, &text)) return false;
    }
    return true;
}

/* object.name, where `method` is what the object's kind has of that name. Jinja looks for methods before keys. */
static bool attribute(context *c, const value *object, view name, const struct builtin *method, value *out)
{
    if (object->kind == UNDEFINED) return value_raise_undefined(c, object);
    if (method != NULL) return bind_method(c, object, method, out);
    *out = of_undefined(name);
    const value *found = NULL;
    switch (object->kind) {
    case DICT:
        if (!render_charge(c, object->as.dict->count / 8)) return false;
        found = value_dict_get(object->as.dict, name);
        break;
    case NAMESPACE:
        found = value_dict_get(object->as.dict, name);
        break;
    case LOOP:
        return loop_field(object->as.loop, name, out);
    case MACRO:
        return macro_field(c, object->as.macro, name, out);
    case TUPLE:
        if (object->as.list->group && view_is(name, "grouper")) found = &object->as.list->items[0];
        if (object->as.list->group && view_is(name, "list")) found = &object->as.list->items[1];
        break;
    default:
        if (value_is_number(object) && view_is(name, "real")) found = object;
    }
    if (found != NULL) *out = *found;
    return true;
}

bool value_attribute(context *c, const value *object, view name, value *out)
{
    return attribute(c, object, name, builtin_method((enum kind)object->kind, name), out);
}

/* The method of that name, found when the template was parsed. */
static const struct builtin *method_of(const context *c, const value *object, uint32_t name)
{
    const struct name *known = &c->t->names[name];
    return object->kind == STRING ? known->of_string
           : object->kind == DICT ? known->of_dict
           : object->kind == LIST ? known->of_list
                                  : builtin_method((enum kind)object->kind, known->text);
}

/* a.b: the method first, then the key. */
static bool eval_attribute(context *c, const struct node *n, value *out)
{
    value object;
    if (!eval_node(c, n->as.child[0], &object)) return false;
    c->at = n->at;
    return attribute(c, &object, c->t->names[n->name].text, method_of(c, &object, n->name), out);
}

/* The index-th of `count`, from the end where negative. */
static bool index_in(int64_t index, size_t count, size_t *out)
{
    uint64_t from_end = (uint64_t)0 - (uint64_t)index;
    if (index < 0 && from_end > count) return false;
    *out = index < 0 ? count - (size_t)from_end : (size_t)index;
    return *out < count;
}

/* a[b]: the key or index first, then, for text, the attribute of that name; what is not there is undefined. */
bool value_item(context *c, const value *object, const value *key, value *out)
{
    size_t index, count = 0;
    int64_t number;
    bool found = false;
    if (object->kind == UNDEFINED) return value_raise_undefined(c, object);
    *out = key->kind == STRING ? of_undefined(view_in(key)) : of_undefined(view_of("an item"));
    if (object->kind == DICT || object->kind == NAMESPACE) {
        if (key->kind == LIST || key->kind == DICT) return true;
        if (!value_dict_find(c, object->as.dict, key, &index, &found)) return false;
        if (found) *out = object->as.dict->pairs[index].value;
    } else if (value_integer(key, &number)) {
        bool sequence = object->kind == STRING || object->kind == LIST || object->kind == TUPLE ||
                        object->kind == RANGE;
        if (!sequence) return true;
        if (!value_length(c, object, &count)) return false;
        if (!index_in(number, count, &index)) return true;
        if (object->kind == LIST || object->kind == TUPLE) {
            *out = object->as.list->items[index];
        } else if (object->kind == RANGE) {
            *out = of_int((int64_t)((uint64_t)object->as.range->start + index * (uint64_t)object->as.range->step));
        } else {
            size_t start = string_char_offset(view_in(object), index);
            *out = string_part(c, object, start, start + string_char_offset(view_after(view_in(object), start), 1));
            return out->kind != MISSING && render_charge(c, object->len / 64);
        }
        return true;
    }
    return found || key->kind != STRING || value_attribute(c, object, view_in(key), out);
}

static bool eval_item(context *c, const struct node *n, value *out)
{
    value object, key;
    if (!eval_node(c, n->as.child[0], &object) || !eval_node(c, n->as.child[1], &key)) return false;
    c->at = n->at;
    return value_item(c, &object, &key, out);
}

/* Python's slice.indices: the first index, and how many follow at distance `step`. */
static bool slice_indices(context *c, const value bounds[static 3], size_t length, int64_t *start, int64_t *step,
                          size_t *count)
{
    int64_t limit = (int64_t)length, stop, *ends[] = { start, &stop };
    *step = 1;
    for (int i = 0; i < 3; i++)
        if (given(&bounds[i]) && bounds[i].kind != NONE && bounds[i].kind != INT && bounds[i].kind != BOOL)
            return bounds[i].kind == UNDEFINED ? value_raise_undefined(c, &bounds[i])
                                               : raise(c, "slice indices must be integers or None");
    value_integer(&bounds[2], step);
    if (*step == 0) return raise(c, "slice step cannot be zero");
    *step = *step > limit    ? limit + 1
            : *step < -limit ? -limit - 1
                             : *step; /* takes the same, and sums do not overflow */
    *start = *step > 0 ? 0 : limit - 1;
    stop = *step > 0 ? limit : -1;
    for (int i = 0; i < 2; i++) {
        int64_t given_bound;
        if (!value_integer(&bounds[i], &given_bound)) continue;
        if (given_bound < 0) given_bound = given_bound < -limit ? -1 : given_bound + limit;
        int64_t low = *step > 0 ? 0 : -1, high = *step > 0 ? limit : limit - 1;
        *ends[i] = given_bound < low ? low : given_bound > high ? high : given_bound;
    }
    uint64_t stride = *step > 0 ? (uint64_t)*step : (uint64_t)0 - (uint64_t)*step;
    int64_t distance = *step > 0 ? stop - *start : *start - stop;
    *count = distance <= 0 ? 0 : (size_t)(((uint64_t)distance - 1) / stride + 1);
    return true;
}

/* Step 1 is a part; other steps put characters together one by one. */
static bool slice_string(context *c, const value *s, int64_t start, int64_t step, size_t count, value *out)
{
    if (count == 0 || step == 1) {
        size_t from = count == 0 ? 0 : string_char_offset(view_in(s), (size_t)start);
        size_t to = count == 0 ? 0 : from + string_char_offset(view_after(view_in(s), from), count);
        *out = string_part(c, s, from, to);
        return out->kind != MISSING && render_charge(c, s->len / 64);
    }
    const value *chars;
    size_t n;
    struct builder b = { 0 };
    if (!value_items(c, s, &chars, &n)) return false;
    for (size_t i = 0; i < count; i++, start += step)
        if (!string_put_value(c, &b, &chars[start])) return false;
    *out = string_built(&b);
    return true;
}

/* Lists give lists, tuples tuples; a range gives a list, which prints differently from Python's and is never printed.
 */
bool value_slice(context *c, const value *object, const value bounds[static 3], value *out)
{
    size_t n, count;
    int64_t start, step;
    const value *all;
    if (object->kind == UNDEFINED) return value_raise_undefined(c, object);
    bool sequence = object->kind == STRING || object->kind == LIST || object->kind == TUPLE || object->kind == RANGE;
    if (!sequence) {
        *out = of_undefined(view_of("a slice"));
        return true;
    }
    if (!value_length(c, object, &n) || !slice_indices(c, bounds, n, &start, &step, &count)) return false;
    if (object->kind == STRING) return slice_string(c, object, start, step, count, out);
    if (!value_items(c, object, &all, &n) || !value_list_new(c, object->kind == TUPLE ? TUPLE : LIST, count, out))
        return false;
    for (size_t i = 0; i < count; i++, start += step) out->as.list->items[i] = all[start];
    out->as.list->count = count;
    return true;
}

static bool eval_slice(context *c, const struct node *n, value *out)
{
    value object, bounds[3] = { { .kind = MISSING }, { .kind = MISSING }, { .kind = MISSING } };
    if (!eval_node(c, n->as.child[0], &object)) return false;
    for (int i = 0; i < 3; i++)
        if (n->as.child[i + 1] != NULL && !eval_node(c, n->as.child[i + 1], &bounds[i])) return false;
    c->at = n->at;
    return value_slice(c, &object, bounds, out);
}

/* ---- operators ---- */

static bool eval_arithmetic(context *c, const struct node *n, value *out)
{
    value a, b;
    if (!eval_node(c, n->as.child[0], &a) || !eval_node(c, n->as.child[1], &b)) return false;
    c->at = n->at;
    return value_arithmetic(c, n->flag, &a, &b, out);
}

static bool eval_sign(context *c, const struct node *n, value *out)
{
    value v, zero = of_int(0);
    if (!eval_node(c, n->as.child[0], &v)) return false;
    c->at = n->at;
    if (v.kind == FLOAT) {
        *out = v;
        if (n->op == OP_NEGATE) out->as.real = -v.as.real;
        return true;
    }
    if (v.kind == BIG_INT && n->op == OP_NEGATE) { /* its digits with the other sign */
        struct builder b = { 0 };
        bool negative = v.as.bytes[0] == '-';
        if (!string_put(c, &b, view_of(negative ? "" : "-"), v.origin) || !string_put_part(c, &b, &v, negative, v.len))
            return false;
        *out = string_built(&b);
        out->kind = BIG_INT;
        return true;
    }
    zero.origin = ORIGIN_TEMPLATE;
    return value_arithmetic(c, n->op == OP_NEGATE ? TOK_SUB : TOK_ADD, &zero, &v, out);
}

/* "~" prints each operand: the one operator that takes anything. */
static bool eval_concat(context *c, const struct node *n, value *out)
{
    struct builder b = { 0 };
    value v;
    for (const struct node *child = n->as.child[0]; child != NULL; child = child->next) {
        if (!eval_node(c, child, &v)) return false;
        c->at = n->at;
        if (!value_print(c, &b, &v)) return false;
    }
    *out = string_built(&b);
    return true;
}

/* ---- truth ---- */

static bool eval_not(context *c, const struct node *n, value *out)
{
    value v;
    if (!eval_node(c, n->as.child[0], &v)) return false;
    *out = of_bool(!value_truth(&v));
    return true;
}

/* Both give the operand that decided. */
static bool eval_and_or(context *c, const struct node *n, value *out)
{
    if (!eval_node(c, n->as.child[0], out)) return false;
    return value_truth(out) == (n->op == OP_OR) || eval_node(c, n->as.child[1], out);
}

/* Without an else the other branch is undefined, which prints as nothing. */
static bool eval_condition(context *c, const struct node *n, value *out)
{
    value v;
    if (!eval_node(c, n->as.child[0], &v)) return false;
    const struct node *chosen = n->as.child[value_truth(&v) ? 1 : 2];
    *out = of_undefined(view_of("the inline if without else"));
    return chosen == NULL || eval_node(c, chosen, out);
}

/* a < b <= c: each operand once, and no more after the first that does not hold. */
static bool eval_compare(context *c, const struct node *n, value *out)
{
    value left, right;
    bool holds = true;
    if (!eval_node(c, n->as.child[0], &left)) return false;
    for (const struct node *o = n->as.child[1]; o != NULL && holds; o = o->next, left = right) {
        if (!eval_node(c, o->as.child[0], &right)) return false;
        c->at = n->at;
        if (!value_test_order(c, o->flag, &left, &right, &holds)) return false;
    }
    *out = of_bool(holds);
    return true;
}

/* ---- calls ---- */

/* The same name twice is an error, also when one came from a "**". */
static bool add_named(context *c, struct named *named, size_t *count, view name, const value *v)
{
    for (size_t i = 0; i < *count; i++)
        if (view_equal(named[i].name, name))
            return raise(c, "argument '%.*s' given twice", (int)min_size(name.len_bytes, 60), (const char *)name.ptr);
    if (*count >= TEMPLATE_ARGS_MAX) return raise_limit(c, "more than 64 named arguments");
    named[(*count)++] = (struct named){ name, *v };
    return true;
}

/* Evaluates arguments in order into call->pos and call->named. */
static bool gather(context *c, const struct node *args, struct call *call)
{
    size_t plain = 0, count = 0, wanted = 0;
    for (const struct node *a = args; a != NULL; a = a->next) plain++, wanted += a->flag != ARG_PLAIN;
    if (plain == 0) return true;
    bool spreads = false;
    for (const struct node *a = args; a != NULL; a = a->next) spreads = spreads || a->flag >= ARG_STAR;
    value *pos = render_take(c, spreads ? plain + TEMPLATE_ARGS_MAX : plain, sizeof *pos), v;
    struct named *named = wanted == 0 ? NULL : render_take(c, spreads ? TEMPLATE_ARGS_MAX : wanted, sizeof *named);
    if (pos == NULL || (wanted > 0 && named == NULL)) return false;
    for (const struct node *a = args; a != NULL; a = a->next) {
        const value *all;
        size_t n;
        if (!eval_node(c, a->as.child[0], &v)) return false;
        if (a->flag == ARG_PLAIN) {
            pos[count++] = v;
        } else if (a->flag == ARG_NAMED) {
            if (!add_named(c, named, &call->named_count, c->t->names[a->name].text, &v)) return false;
        } else if (a->flag == ARG_STAR) {
            if (!value_items(c, &v, &all, &n)) return false;
            if (n > TEMPLATE_ARGS_MAX) return raise_limit(c, "more than 64 arguments");
            for (size_t i = 0; i < n; i++) pos[count++] = all[i];
        } else {
            if (v.kind != DICT) return raise(c, "argument after ** must be a mapping, not %s", value_kind(&v));
            for (size_t i = 0; i < v.as.dict->count; i++) {
                const struct pair *p = &v.as.dict->pairs[i];
                if (p->key.kind != STRING) return raise(c, "keywords must be strings");
                if (!add_named(c, named, &call->named_count, view_in(&p->key), &p->value)) return false;
            }
        }
    }
    call->pos = pos;
    call->pos_count = count;
    call->named = named;
    return true;
}

/* Filters and tests are called alike; one that does not exist is an error only where it is reached. */
static bool eval_filter(context *c, const struct node *n, value *out)
{
    struct call call = { .self = { .kind = MISSING } };
    if (!eval_node(c, n->as.call.input, &call.self) || !gather(c, n->as.call.arguments, &call)) return false;
    c->at = n->at;
    view name = c->t->names[n->name].text;
    if (n->as.call.builtin == NULL)
        return raise(c, "no %s named '%.*s'", n->op == OP_FILTER ? "filter" : "test", (int)min_size(name.len_bytes, 60),
                     (const char *)name.ptr);
    return builtin_run(c, n->as.call.builtin, &call, out);
}

/* A method is called without making a value of it first: most calls of a template are method calls. */
static bool eval_call(context *c, const struct node *n, value *out)
{
    const struct node *callee = n->as.child[0];
    struct call call = { .self = { .kind = MISSING } };
    value object, function;
    if (callee->op == OP_ATTRIBUTE) {
        if (!eval_node(c, callee->as.child[0], &object)) return false;
        const struct builtin *method = method_of(c, &object, callee->name);
        if (method != NULL) {
            call.self = object;
            if (!gather(c, n->as.child[1], &call)) return false;
            c->at = n->at;
            return builtin_run(c, method, &call, out);
        }
        c->at = callee->at;
        if (!attribute(c, &object, c->t->names[callee->name].text, NULL, &function)) return false;
    } else if (!eval_node(c, callee, &function)) {
        return false;
    }
    if (!gather(c, n->as.child[1], &call)) return false;
    c->at = n->at;
    return value_call(c, &function, &call, out);
}

/* The call of a call block: one more named argument, `caller`. */
bool eval_node_with(context *c, const struct node *n, const value *caller, value *out)
{
    value function;
    struct call call = { .self = { .kind = MISSING } };
    if (!eval_node(c, n->as.child[0], &function) || !gather(c, n->as.child[1], &call)) return false;
    struct named *named = render_take(c, call.named_count + 1, sizeof *named);
    if (named == NULL) return false;
    if (call.named_count > 0) memcpy(named, call.named, call.named_count * sizeof *named);
    named[call.named_count++] = (struct named){ view_of("caller"), *caller };
    call.named = named;
    c->at = n->at;
    return value_call(c, &function, &call, out);
}

/* Everything that can stand before parentheses. */
bool value_call(context *c, const value *callee, struct call *call, value *out)
{
    struct list *cycle;
    switch (callee->kind) {
    case UNDEFINED:
        return value_raise_undefined(c, callee);
    case BUILTIN:
        call->self = callee->as.bound->self;
        return builtin_run(c, callee->as.bound->builtin, call, out);
    case MACRO:
        return render_macro(c, callee->as.macro, call, out);
    case LOOP:
        return render_loop(c, callee->as.loop, call, out);
    case JOINER:
        cycle = callee->as.list; /* the separator, and whether it is due */
        *out = cycle->items[value_truth(&cycle->items[1]) ? 0 : 2];
        cycle->items[1] = of_bool(true);
        return true;
    default:
        return raise(c, "'%s' object is not callable", value_kind(callee));
    }
}

/* Pays a step, goes one level deeper, and remembers the place for errors. */
bool eval_node(context *c, const struct node *n, value *out)
{
    static bool (*const table[])(context *, const struct node *, value *) = {
        [OP_LITERAL] = eval_literal,
        [OP_NAME] = eval_name,
        [OP_CAPTURE] = eval_capture,
        [OP_TUPLE] = eval_list,
        [OP_LIST] = eval_list,
        [OP_DICT] = eval_dict,
        [OP_ATTRIBUTE] = eval_attribute,
        [OP_ITEM] = eval_item,
        [OP_SLICE] = eval_slice,
        [OP_CALL] = eval_call,
        [OP_FILTER] = eval_filter,
        [OP_TEST] = eval_filter,
        [OP_NOT] = eval_not,
        [OP_NEGATE] = eval_sign,
        [OP_PLUS] = eval_sign,
        [OP_AND] = eval_and_or,
        [OP_OR] = eval_and_or,
        [OP_ARITHMETIC] = eval_arithmetic,
        [OP_CONCAT] = eval_concat,
        [OP_COMPARE] = eval_compare,
        [OP_CONDITION] = eval_condition,
    };
    assert(n->op < sizeof table / sizeof *table && table[n->op] != NULL);
    c->at = n->at;
    if (!render_enter(c) || !render_charge(c, 1) || !table[n->op](c, n, out)) return false;
    render_leave(c);
    return true;
}
