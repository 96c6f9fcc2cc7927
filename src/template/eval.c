/* What each expression computes: the switch is at the end. Statements are in render.c. */
#include "template/eval.h"

#include <assert.h>
#include <math.h>

static value undefined_used(context *c, value v)
{
    return render_fail(c, ERR_VALUE, "'%.*s' is undefined", (int)min_size(v.len, 60), (const char *)v.as.bytes);
}

/* ---- names and displays ---- */

/* From the innermost scope outwards: scopes hold few names, so a search is faster than a table. An unknown name is a
 * value, not an error: only using it is. */
static value eval_name(context *c, const struct node *n)
{
    for (const struct scope *s = c->scope; s != NULL; s = s->parent)
        for (const struct binding *b = s->vars; b != NULL; b = b->next)
            if (b->name == n->name && given(b->value)) return b->value;
    return given(c->root[n->name]) ? c->root[n->name] : of_undefined(c->t->names[n->name].text);
}

/* Its brackets are the template's own when it is printed, whatever its items are. */
static value eval_list(context *c, const struct node *n)
{
    value list = value_list(c, n->flag ? TUPLE : LIST);
    list.origin = ORIGIN_TEMPLATE;
    for (const struct node *child = n->child[0]; child != NULL; child = child->next)
        value_add(c, list, eval_node(c, child));
    return list;
}

/* A key given twice keeps the last value, as in Python. */
static value eval_dict(context *c, const struct node *n)
{
    value dict = value_list(c, DICT);
    dict.origin = ORIGIN_TEMPLATE;
    for (const struct node *child = n->child[0]; child != NULL; child = child->next->next) {
        value key = eval_node(c, child);
        value_put(c, dict, key, eval_node(c, child->next));
    }
    return dict;
}

/* ---- attributes and subscripts ---- */

/* Before the first and behind the last there is nothing defined. */
static value item_beside(const struct loop *l, size_t index)
{
    return index < l->over->count ? l->over->items[index] : of_undefined(view_of("the item beside this one"));
}

/* Computed when asked for: most loops ask for one or two of these. */
static value loop_field(const struct loop *l, view name)
{
    const struct {
        const char *name;
        value v;
    } fields[] = { { "index0", of_int((int64_t)l->index) },
                   { "index", of_int((int64_t)l->index + 1) },
                   { "revindex0", of_int((int64_t)(l->over->count - l->index) - 1) },
                   { "revindex", of_int((int64_t)(l->over->count - l->index)) },
                   { "length", of_int((int64_t)l->over->count) },
                   { "depth", of_int((int64_t)l->depth) },
                   { "depth0", of_int((int64_t)l->depth - 1) },
                   { "first", of_bool(l->index == 0) },
                   { "last", of_bool(l->index + 1 == l->over->count) },
                   { "previtem", item_beside(l, l->index - 1) }, /* SIZE_MAX before the first */
                   { "nextitem", item_beside(l, l->index + 1) } };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (view_is(name, fields[i].name)) return fields[i].v;
    return of_undefined(name);
}

/* object.name, where `method` is what its kind has of that name. A method that is not called at once (x.upper is
 * defined) becomes a value with its object. */
static value attribute(context *c, value object, view name, const struct builtin *method)
{
    if (object.kind == UNDEFINED) return undefined_used(c, object);
    if (object.kind == LOOP && method == NULL) return loop_field(object.as.loop, name);
    if (method != NULL) {
        value v = of_kind(FUNCTION);
        v.as.bound = render_take(c, 1, sizeof *v.as.bound);
        if (v.as.bound == NULL) return object;
        *v.as.bound = (struct bound){ object, method };
        return v;
    }
    const value *found = NULL;
    if (value_is_number(object) && view_is(name, "real")) return object;
    if (object.kind == DICT || object.kind == NAMESPACE) found = value_find(c, object, of_view(name, ORIGIN_TEMPLATE));
    return found != NULL ? *found : of_undefined(name);
}

value value_attribute(context *c, value object, view name)
{
    return attribute(c, object, name, builtin_find(of_view(name, ORIGIN_TEMPLATE), builtin_methods(object)));
}

static value eval_attribute(context *c, const struct node *n)
{
    value object = eval_node(c, n->child[0]);
    const struct name *name = &c->t->names[n->name];
    return attribute(c, object, name->text, name->rows[builtin_methods(object)]);
}

/* The key first, then a place in a sequence, then the attribute. */
value value_item(context *c, value object, value key)
{
    if (object.kind == UNDEFINED) return undefined_used(c, object);
    bool sequence = object.kind >= STRING && object.kind <= RANGE, whole;
    int64_t index, count;
    if (object.kind == DICT || object.kind == NAMESPACE) {
        const value *found = value_find(c, object, key);
        if (found != NULL) return *found;
    }
    whole = value_integer(key, &index);
    if (sequence && whole) {
        count = (int64_t)value_length(c, object);
        if (index < 0) index += count; /* cannot wrap: one is negative, the other not */
        if (index < 0 || index >= count) return of_undefined(view_of("an item outside of the list"));
        if (object.kind != STRING) return object.as.list->items[index];
        size_t from = string_offset(object, 0, (size_t)index);
        return string_part(c, object, from, string_offset(object, from, 1));
    }
    if (key.kind == STRING) return value_attribute(c, object, view_in(key));
    return of_undefined(view_of("this item"));
}

/* A bound of Python's slice.indices within [low, high]; `otherwise` where it is left out. */
static int64_t slice_bound(value bound, int64_t count, int64_t low, int64_t high, int64_t otherwise)
{
    int64_t n;
    if (!value_integer(bound, &n)) return otherwise;
    if (n < 0) n = n < -count ? -1 : n + count;
    return n < low ? low : n > high ? high : n;
}

/* Text gives text, a tuple a tuple, other sequences a list. */
value value_slice(context *c, value object, const value bounds[static 3])
{
    struct builder b = { 0 };
    int64_t step = 1;
    if (object.kind == UNDEFINED) return undefined_used(c, object);
    for (int i = 0; i < 3; i++)
        if (given(bounds[i]) && bounds[i].kind != NONE && bounds[i].kind != INT && bounds[i].kind != BOOL)
            return render_fail(c, ERR_VALUE, "slice indices must be integers or None");
    if (value_integer(bounds[2], &step) && step == 0) return render_fail(c, ERR_VALUE, "slice step cannot be zero");
    if (object.kind < STRING || object.kind > RANGE)
        return render_fail(c, ERR_VALUE, "'%s' object is not subscriptable", value_kind(object));
    int64_t count = (int64_t)value_length(c, object);
    step = step > count ? count + 1 : step < -count ? -count - 1 : step; /* takes the same, and sums cannot wrap */
    bool up = step > 0;
    int64_t from = slice_bound(bounds[0], count, up ? 0 : -1, up ? count : count - 1, up ? 0 : count - 1);
    int64_t to = slice_bound(bounds[1], count, up ? 0 : -1, up ? count : count - 1, up ? count : -1);
    if (object.kind == STRING && step == 1) {
        size_t start = string_offset(object, 0, (size_t)from), taken = to > from ? (size_t)(to - from) : 0;
        return string_part(c, object, start, string_offset(object, start, taken));
    }
    const struct list *all = value_items(c, object);
    value list = value_list(c, object.kind == TUPLE ? TUPLE : LIST);
    for (int64_t i = from; (up ? i < to : i > to) && i < (int64_t)all->count && render_charge(c, 1); i += step) {
        if (object.kind == STRING) string_put_value(c, &b, all->items[i]);
        else value_add(c, list, all->items[i]);
    }
    return object.kind == STRING ? string_built(&b) : list;
}

static value eval_slice(context *c, const struct node *n)
{
    value object = eval_node(c, n->child[0]), bounds[3];
    for (int i = 0; i < 3; i++) bounds[i] = n->child[i + 1] != NULL ? eval_node(c, n->child[i + 1]) : of_kind(MISSING);
    return value_slice(c, object, bounds);
}

/* ---- operators ---- */

/* Exact or not at all: rounding an integer to f64 would print other digits than Python. */
static value too_large(context *c)
{
    return render_fail(c, ERR_LIMIT, "a number over 64 bits is not computed with");
}

static value arithmetic(context *c, enum binary op, value a, value b);

/* By multiplication, so that the result does not depend on a libm. Chat templates do not use it. */
static value power(context *c, value a, value b)
{
    int64_t exponent = 0;
    value result = a.kind == FLOAT ? of_float(1) : of_int(1);
    if (!value_integer(b, &exponent) || exponent > 4096 || exponent < -4096)
        return render_fail(c, ERR_LIMIT, "only whole exponents up to 4096 are computed");
    for (int64_t i = 0; i != exponent && !c->failed; i += exponent < 0 ? -1 : 1)
        result = arithmetic(c, BINARY_MUL, result, a);
    return exponent < 0 ? arithmetic(c, BINARY_DIV, of_int(1), result) : result;
}

/* Division floors, and the rest has the divisor's sign. Python would go on with big integers where 64 bits end. */
static value arithmetic_integers(context *c, enum binary op, int64_t a, int64_t b)
{
    int64_t n = 0;
    bool over = op == BINARY_ADD   ? __builtin_add_overflow(a, b, &n)
                : op == BINARY_SUB ? __builtin_sub_overflow(a, b, &n)
                : op == BINARY_MUL ? __builtin_mul_overflow(a, b, &n)
                                   : a == INT64_MIN && b == -1;
    if (over) return too_large(c);
    if (op < BINARY_DIV) return of_int(n);
    int64_t rest = a % b;
    bool below = rest != 0 && (rest < 0) != (b < 0);
    return of_int(op == BINARY_MOD ? rest + (below ? b : 0) : a / b - below);
}

static value arithmetic(context *c, enum binary op, value a, value b)
{
    int64_t i, j;
    bool whole = value_integer(a, &i) && value_integer(b, &j), divides = op >= BINARY_DIV && op <= BINARY_MOD;
    if (divides && value_number(b) == 0) return render_fail(c, ERR_VALUE, "division by zero");
    if (op == BINARY_POW) return power(c, a, b);
    if (whole && op != BINARY_DIV) return arithmetic_integers(c, op, i, j);
    if (a.kind != FLOAT && b.kind != FLOAT && op != BINARY_DIV) return too_large(c); /* one is a BIG_INT */
    double x = value_number(a), y = value_number(b);
    return of_float(op == BINARY_ADD   ? x + y
                    : op == BINARY_SUB ? x - y
                    : op == BINARY_MUL ? x * y
                    : op == BINARY_DIV ? x / y
                    : op == BINARY_MOD ? x - floor(x / y) * y
                                       : floor(x / y));
}

/* A string or list as often as asked; the limits end it. */
static value repeat(context *c, value what, int64_t times)
{
    if (what.kind == STRING) return string_padded(c, of_text(""), times, 0, what);
    value list = value_list(c, (enum kind)what.kind);
    for (; times > 0 && render_charge(c, 1); times--)
        for (size_t i = 0; i < what.as.list->count; i++) value_add(c, list, what.as.list->items[i]);
    return list;
}

/* Two strings, or two lists of a kind: a new one, those added stay as they are. */
static value join(context *c, value a, value b)
{
    struct builder text = { 0 };
    if (a.kind == STRING) {
        string_put_value(c, &text, a);
        string_put_value(c, &text, b);
        return string_built(&text);
    }
    value list = repeat(c, a, 1);
    for (size_t i = 0; i < b.as.list->count && render_charge(c, i % 8 == 0); i++)
        value_add(c, list, b.as.list->items[i]);
    return list;
}

/* A truth: the comparison operators, and the tests named after them. */
static bool holds(context *c, enum binary op, value a, value b)
{
    if (op == BINARY_EQ || op == BINARY_NE) return value_equal(c, a, b) == (op == BINARY_EQ);
    if (op == BINARY_IN || op == BINARY_NOT_IN) return value_contains(c, b, a) == (op == BINARY_IN);
    int order = value_order(c, a, b);
    return order != 2 && (op == BINARY_LT   ? order < 0
                          : op == BINARY_LE ? order <= 0
                          : op == BINARY_GT ? order > 0
                                            : order >= 0);
}

/* By kinds: text, lists, then numbers, whose result is as trusted as the less trusted of them. */
value value_binary(context *c, enum binary op, value a, value b)
{
    static const char *const signs[] = { "+", "-", "*", "/", "//", "%", "**" };
    int64_t times;
    bool list_a = a.kind >= STRING && a.kind <= TUPLE, list_b = b.kind >= STRING && b.kind <= TUPLE;
    if (op <= BINARY_NOT_IN) return of_bool(holds(c, op, a, b));
    if (op == BINARY_JOIN) return join(c, value_to_string(c, a), value_to_string(c, b));
    if (a.kind == UNDEFINED || b.kind == UNDEFINED) return undefined_used(c, a.kind == UNDEFINED ? a : b);
    if (op == BINARY_ADD && list_a && a.kind == b.kind) return join(c, a, b);
    if (op == BINARY_MUL && list_a && value_integer(b, &times)) return repeat(c, a, times);
    if (op == BINARY_MUL && list_b && value_integer(a, &times)) return repeat(c, b, times);
    if (op == BINARY_MOD && a.kind == STRING) return string_percent(c, a, b);
    if (!value_is_number(a) || !value_is_number(b))
        return render_fail(c, ERR_VALUE, "unsupported operand types for %s: '%s' and '%s'", signs[op - BINARY_ADD],
                           value_kind(a), value_kind(b));
    value result = arithmetic(c, op, a, b);
    result.origin = a.origin > b.origin ? a.origin : b.origin;
    return result;
}

static value eval_negate(context *c, const struct node *n)
{
    value v = eval_node(c, n->child[0]), zero = of_int(0);
    zero.origin = ORIGIN_TEMPLATE;
    if (v.kind == FLOAT && !n->flag) v.as.real = -v.as.real; /* 0 - 0.0 is no -0.0 */
    return v.kind == FLOAT ? v : value_binary(c, n->flag ? BINARY_ADD : BINARY_SUB, zero, v);
}

/* a < b <= c: each operand once, and no more after the first that does not hold. */
static value eval_compare(context *c, const struct node *n)
{
    value left = eval_node(c, n->child[0]);
    bool good = true;
    for (const struct node *o = n->child[1]; o != NULL && good && !c->failed; o = o->next) {
        value right = eval_node(c, o->child[0]);
        c->at = o->at;
        good = holds(c, (enum binary)o->flag, left, right);
        left = right;
    }
    return of_bool(good);
}

/* ---- calls ---- */

/* The same name twice is an error, also when one came from a "**". */
static void add_named(context *c, struct call *k, value name, value v)
{
    if (name.kind != STRING) render_fail(c, ERR_VALUE, "keywords must be strings");
    else if (value_find(c, k->named, name) != NULL)
        render_fail(c, ERR_VALUE, "argument '%.*s' given twice", (int)min_size(name.len, 60), name.as.bytes);
    else value_put(c, k->named, name, v);
}

/* One argument: for "*" and "**" many. */
static void add_argument(context *c, const struct node *arg, struct call *k, value pos)
{
    value v = eval_node(c, arg->child[0]);
    bool many = arg->flag >= ARG_STAR, named = arg->flag == ARG_STAR_STAR;
    if (arg->flag == ARG_PLAIN) value_add(c, pos, v);
    if (arg->flag == ARG_NAMED) add_named(c, k, of_view(c->t->names[arg->name].text, ORIGIN_TEMPLATE), v);
    if (named && v.kind != DICT)
        render_fail(c, ERR_VALUE, "argument after ** must be a mapping, not %s", value_kind(v));
    const struct list *all = many && !named ? value_items(c, v) : v.as.list;
    for (size_t i = 0; many && !c->failed && i < all->count; i += named ? 2 : 1) {
        if (named) add_named(c, k, all->items[i], all->items[i + 1]);
        else value_add(c, pos, all->items[i]);
    }
}

/* Evaluates arguments in order into k->pos and k->named. */
static void gather(context *c, const struct node *args, const value *caller, struct call *k)
{
    value pos = of_kind(LIST);
    pos.as.list = &c->nothing;
    k->named = of_kind(DICT);
    k->named.as.list = &c->nothing;
    if (args != NULL || caller != NULL) pos = value_list(c, LIST), k->named = value_list(c, DICT);
    for (const struct node *a = args; a != NULL && !c->failed; a = a->next) add_argument(c, a, k, pos);
    if (caller != NULL) value_put(c, k->named, of_text("caller"), *caller);
    if (pos.as.list->count > TEMPLATE_ARGS_MAX || k->named.as.list->count > 2 * TEMPLATE_ARGS_MAX)
        render_fail(c, ERR_LIMIT, "more than 64 arguments");
    k->pos = pos.as.list;
}

/* Filters and tests are called alike; one that does not exist is an error only where it is reached. */
static value eval_filter(context *c, const struct node *n)
{
    struct call k = { .self = eval_node(c, n->child[0]) };
    const struct name *name = &c->t->names[n->name];
    const struct builtin *row = name->rows[n->flag ? AS_TEST : AS_FILTER];
    gather(c, n->child[1], NULL, &k);
    if (row == NULL)
        return render_fail(c, ERR_VALUE, "no %s named '%.*s'", n->flag ? "test" : "filter",
                           (int)min_size(name->text.len_bytes, 60), (const char *)name->text.ptr);
    return builtin_run(c, row, &k);
}

/* A method is called without making a value of it first: most calls of a template are method calls. */
value eval_call(context *c, const struct node *n, const value *caller)
{
    const struct node *callee = n->child[0];
    struct call k = { .self = of_kind(MISSING) };
    const struct builtin *method = NULL;
    value object, function = of_kind(MISSING);
    if (callee->op == OP_ATTRIBUTE) {
        const struct name *name = &c->t->names[callee->name];
        object = eval_node(c, callee->child[0]);
        method = name->rows[builtin_methods(object)];
        c->at = callee->at;
        if (method != NULL) k.self = object;
        else function = attribute(c, object, name->text, NULL);
        c->at = n->at;
    } else {
        function = eval_node(c, callee);
    }
    gather(c, n->child[1], caller, &k);
    return method != NULL ? builtin_run(c, method, &k) : value_call(c, function, &k);
}

value value_call(context *c, value callee, struct call *k)
{
    if (c->failed) return callee;
    if (callee.kind == UNDEFINED) return undefined_used(c, callee);
    if (callee.kind == MACRO) return render_macro(c, callee.as.macro, k);
    if (callee.kind == LOOP) return render_loop(c, callee.as.loop, k);
    if (callee.kind != FUNCTION) return render_fail(c, ERR_VALUE, "'%s' object is not callable", value_kind(callee));
    k->self = callee.as.bound->self;
    return builtin_run(c, callee.as.bound->builtin, k);
}

bool eval_enter(context *c, const struct node *n)
{
    c->at = n->at;
    if (++c->depth > TEMPLATE_DEPTH_MAX) render_fail(c, ERR_LIMIT, "nested over %d deep", TEMPLATE_DEPTH_MAX);
    return render_charge(c, 1);
}

static value eval_op(context *c, const struct node *n)
{
    value left;
    switch ((enum op)n->op) {
    case OP_LITERAL: return n->literal;
    case OP_NAME: return eval_name(c, n);
    case OP_CAPTURE: return render_capture(c, n);
    case OP_LIST: return eval_list(c, n);
    case OP_DICT: return eval_dict(c, n);
    case OP_ATTRIBUTE: return eval_attribute(c, n);
    case OP_ITEM:
        left = eval_node(c, n->child[0]);
        return value_item(c, left, eval_node(c, n->child[1]));
    case OP_SLICE: return eval_slice(c, n);
    case OP_CALL: return eval_call(c, n, NULL);
    case OP_FILTER: return eval_filter(c, n);
    case OP_NOT: return of_bool(!value_truth(eval_node(c, n->child[0])));
    case OP_NEGATE: return eval_negate(c, n);
    case OP_LOGIC: /* gives the operand that decided */
        left = eval_node(c, n->child[0]);
        return value_truth(left) == n->flag ? left : eval_node(c, n->child[1]);
    case OP_BINARY:
        left = eval_node(c, n->child[0]);
        return value_binary(c, (enum binary)n->flag, left, eval_node(c, n->child[1]));
    case OP_COMPARE: return eval_compare(c, n);
    case OP_CONDITION: /* without an else the other branch is undefined, which prints as nothing */
        if (value_truth(eval_node(c, n->child[0]))) return eval_node(c, n->child[1]);
        return n->child[2] != NULL ? eval_node(c, n->child[2]) : of_undefined(view_of("the inline if without else"));
    default:
        assert(n->op >= OP_LITERAL); /* a statement is no expression */
        return of_undefined(view_of(""));
    }
}

/* Leaves c->at at the node that asked, so that its own errors name its own place. */
value eval_node(context *c, const struct node *n)
{
    uint32_t at = c->at;
    value v = eval_enter(c, n) ? eval_op(c, n) : of_undefined(view_of(""));
    c->depth--;
    c->at = at;
    return v;
}
