/* The functions and the tests, a row each, and how a row is called. */
#include "template/builtin.h"

#include "base/checked.h"
#include "template/eval.h"

#include <assert.h>

/* ---- calling ---- */

/* Lays positional and named arguments out by the row's parameters. */
static bool lay_out(context *c, const struct builtin *b, struct call *call)
{
    view rest = view_of(b->params);
    size_t used = 0, n = 0;
    for (; rest.len_bytes > 0; n++) {
        const uint8_t *blank = memchr(rest.ptr, ' ', rest.len_bytes);
        view param = { rest.ptr, blank == NULL ? rest.len_bytes : (size_t)(blank - rest.ptr) };
        rest = view_after(rest, param.len_bytes + 1);
        assert(n < PARAMS_MAX);
        call->arg[n].kind = MISSING;
        if (n < call->pos_count) call->arg[n] = call->pos[n];
        for (size_t i = 0; i < call->named_count; i++) {
            if (!view_equal(call->named[i].name, param)) continue;
            if (n < call->pos_count)
                return raise(c, "%s: argument '%.*s' given twice", b->name, (int)param.len_bytes,
                             (const char *)param.ptr);
            call->arg[n] = call->named[i].value;
            used++;
        }
        if (n < b->required && !given(&call->arg[n]))
            return raise(c, "%s: argument '%.*s' is missing", b->name, (int)param.len_bytes, (const char *)param.ptr);
    }
    if (call->pos_count > n) return raise(c, "%s takes at most %zu arguments, %zu given", b->name, n, call->pos_count);
    return used == call->named_count || raise(c, "%s: unexpected keyword argument", b->name);
}

bool builtin_run(context *c, const struct builtin *b, struct call *call, value *out)
{
    call->row = b;
    if (b->params[0] != '*' && !lay_out(c, b, call)) return false;
    return render_enter(c) && b->run(c, call, out) && (render_leave(c), true);
}

/* ---- functions ---- */

static bool function_range(context *c, const struct call *k, value *out)
{
    int64_t bounds[3] = { 0, 0, 1 };
    if (k->pos_count < 1 || k->pos_count > 3 || k->named_count > 0) return raise(c, "range takes 1 to 3 arguments");
    for (size_t i = 0; i < k->pos_count; i++)
        if (!value_integer(&k->pos[i], &bounds[k->pos_count == 1 ? 1 : i]))
            return raise(c, "range: '%s' where an integer is due", value_kind(&k->pos[i]));
    if (bounds[2] == 0) return raise(c, "range() arg 3 must not be zero");
    struct range *r = render_take(c, 1, sizeof *r);
    if (r == NULL) return false;
    bool up = bounds[2] > 0, empty = up ? bounds[0] >= bounds[1] : bounds[0] <= bounds[1];
    uint64_t distance = up ? (uint64_t)bounds[1] - (uint64_t)bounds[0] : (uint64_t)bounds[0] - (uint64_t)bounds[1];
    uint64_t stride = up ? (uint64_t)bounds[2] : (uint64_t)0 - (uint64_t)bounds[2];
    *r = (struct range){ bounds[0], bounds[2], empty ? 0 : (distance - 1) / stride + 1 };
    *out = of_kind(RANGE);
    out->as.range = r;
    return true;
}

static bool function_dict(context *c, const struct call *k, value *out)
{
    return dict_from_call(c, DICT, k, out);
}

static bool function_namespace(context *c, const struct call *k, value *out)
{
    return dict_from_call(c, NAMESPACE, k, out);
}

static bool function_raise(context *c, const struct call *k, value *out)
{
    struct builder b = { 0 };
    *out = of_kind(NONE);
    return value_print(c, &b, &k->arg[0]) && raise(c, "%.*s", (int)min_size(b.len, 200), (const char *)b.bytes);
}

static bool function_strftime(context *c, const struct call *k, value *out)
{
    value format;
    return arg_text(c, &k->arg[0], "strftime format", &format) && string_strftime(c, view_in(&format), out);
}

static bool function_cycler(context *c, const struct call *k, value *out)
{
    value index = of_int(0);
    if (k->pos_count == 0) return raise(c, "at least one item has to be provided");
    if (!value_list_new(c, CYCLER, k->pos_count + 1, out)) return false;
    for (size_t i = 0; i < k->pos_count; i++)
        if (!value_list_add(c, out->as.list, &k->pos[i])) return false;
    return value_list_add(c, out->as.list, &index);
}

static bool function_joiner(context *c, const struct call *k, value *out)
{
    value separator = given(&k->arg[0]) ? k->arg[0] : of_text(", "), used = of_bool(false), nothing = of_text("");
    return value_list_new(c, JOINER, 3, out) && value_list_add(c, out->as.list, &separator) &&
           value_list_add(c, out->as.list, &used) && value_list_add(c, out->as.list, &nothing);
}

const struct builtin *builtin_function(view name)
{
    static const struct builtin rows[] = {
        { "range", "*", 0, function_range },
        { "dict", "*", 0, function_dict },
        { "namespace", "*", 0, function_namespace },
        { "raise_exception", "message", 1, function_raise },
        { "strftime_now", "format", 1, function_strftime },
        { "cycler", "*", 0, function_cycler },
        { "joiner", "sep", 0, function_joiner },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (view_is(name, rows[i].name)) return &rows[i];
    return NULL;
}

/* ---- tests ---- */

static bool remainder_of(context *c, const struct call *k, int64_t divisor, int64_t *out)
{
    int64_t n;
    if (k->self.kind == UNDEFINED) return raise_undefined(c, &k->self);
    if (k->self.kind == FLOAT && k->self.as.real > -9e15 && k->self.as.real < 9e15 &&
        (double)(int64_t)k->self.as.real == k->self.as.real)
        n = (int64_t)k->self.as.real;
    else if (!value_integer(&k->self, &n)) return raise(c, "'%s' where an integer is due", value_kind(&k->self));
    if (divisor == 0) return raise(c, "division by zero");
    *out = divisor == -1 ? 0 : n % divisor;
    return true;
}

static bool test_odd(context *c, const struct call *k, value *out)
{
    int64_t rest = 0;
    if (!remainder_of(c, k, 2, &rest)) return false;
    *out = of_bool(rest != 0);
    return true;
}

static bool test_even(context *c, const struct call *k, value *out)
{
    int64_t rest = 0;
    if (!remainder_of(c, k, 2, &rest)) return false;
    *out = of_bool(rest == 0);
    return true;
}

static bool test_divisibleby(context *c, const struct call *k, value *out)
{
    int64_t divisor, rest = 0;
    if (!arg_int(c, &k->arg[0], 0, &divisor) || !remainder_of(c, k, divisor, &rest)) return false;
    *out = of_bool(rest == 0);
    return true;
}

/* Tests that only ask what the value is. */
static bool is_defined(const value *v)
{
    return v->kind != UNDEFINED;
}
static bool is_undefined(const value *v)
{
    return v->kind == UNDEFINED;
}
static bool is_none(const value *v)
{
    return v->kind == NONE;
}
static bool is_boolean(const value *v)
{
    return v->kind == BOOL;
}
static bool is_false(const value *v)
{
    return v->kind == BOOL && !v->as.truth;
}
static bool is_true(const value *v)
{
    return v->kind == BOOL && v->as.truth;
}
static bool is_integer(const value *v)
{
    return v->kind == INT || v->kind == BIG_INT;
}
static bool is_float(const value *v)
{
    return v->kind == FLOAT;
}
static bool is_string(const value *v)
{
    return v->kind == STRING;
}
static bool is_mapping(const value *v)
{
    return v->kind == DICT;
}
static bool is_sequence(const value *v) /* has a length and items; so has an undefined value */
{
    return v->kind == STRING || v->kind == LIST || v->kind == TUPLE || v->kind == DICT || v->kind == RANGE ||
           v->kind == UNDEFINED;
}
static bool is_iterable(const value *v)
{
    return is_sequence(v) || v->kind == LOOP;
}
static bool is_callable(const value *v)
{
    return v->kind == MACRO || v->kind == BUILTIN || v->kind == LOOP || v->kind == JOINER || v->kind == UNDEFINED;
}
static bool is_escaped(const value *v)
{
    return v == NULL; /* nothing is: there is no escaping */
}

/* A row that only asks: the function stands behind it. */
struct kind_test {
    struct builtin row; /* first: a pointer to it is one to the whole */
    bool (*holds)(const value *);
};

static bool ask(context *c, const struct call *k, value *out)
{
    (void)c;
    *out = of_bool(((const struct kind_test *)k->row)->holds(&k->self));
    return true;
}

static bool letters(context *c, const struct call *k, const char *what, value *out)
{
    value s;
    if (!value_to_string(c, &k->self, &s)) return false;
    *out = of_bool(string_is(&s, what));
    return render_charge(c, s.len / 16);
}

static bool test_lower(context *c, const struct call *k, value *out)
{
    return letters(c, k, "lower", out);
}

static bool test_upper(context *c, const struct call *k, value *out)
{
    return letters(c, k, "upper", out);
}

static bool test_sameas(context *c, const struct call *k, value *out)
{
    bool same = k->self.kind == k->arg[0].kind;
    if (same && k->self.kind >= LIST) same = k->self.as.list == k->arg[0].as.list;
    else if (same && !value_equal(c, &k->self, &k->arg[0], &same)) return false;
    *out = of_bool(same);
    return true;
}

static bool test_filter(context *c, const struct call *k, value *out)
{
    (void)c;
    *out = of_bool(k->self.kind == STRING && builtin_filter(view_in(&k->self)) != NULL);
    return true;
}

static bool test_test(context *c, const struct call *k, value *out)
{
    (void)c;
    *out = of_bool(k->self.kind == STRING && builtin_test(view_in(&k->self)) != NULL);
    return true;
}

static bool ordered(context *c, const struct call *k, uint8_t op, value *out)
{
    bool holds;
    if (!value_test_order(c, op, &k->self, &k->arg[0], &holds)) return false;
    *out = of_bool(holds);
    return true;
}

static bool test_eq(context *c, const struct call *k, value *out)
{
    return ordered(c, k, TOK_EQ, out);
}
static bool test_ne(context *c, const struct call *k, value *out)
{
    return ordered(c, k, TOK_NE, out);
}
static bool test_lt(context *c, const struct call *k, value *out)
{
    return ordered(c, k, TOK_LT, out);
}
static bool test_le(context *c, const struct call *k, value *out)
{
    return ordered(c, k, TOK_LE, out);
}
static bool test_gt(context *c, const struct call *k, value *out)
{
    return ordered(c, k, TOK_GT, out);
}
static bool test_ge(context *c, const struct call *k, value *out)
{
    return ordered(c, k, TOK_GE, out);
}
static bool test_in(context *c, const struct call *k, value *out)
{
    return ordered(c, k, OPERAND_IN, out);
}

const struct builtin *builtin_test(view name)
{
    static const struct kind_test kinds[] = {
        { { "defined", "", 0, ask }, is_defined },     { { "undefined", "", 0, ask }, is_undefined },
        { { "none", "", 0, ask }, is_none },           { { "boolean", "", 0, ask }, is_boolean },
        { { "false", "", 0, ask }, is_false },         { { "true", "", 0, ask }, is_true },
        { { "integer", "", 0, ask }, is_integer },     { { "float", "", 0, ask }, is_float },
        { { "number", "", 0, ask }, value_is_number }, { { "string", "", 0, ask }, is_string },
        { { "mapping", "", 0, ask }, is_mapping },     { { "sequence", "", 0, ask }, is_sequence },
        { { "iterable", "", 0, ask }, is_iterable },   { { "callable", "", 0, ask }, is_callable },
        { { "escaped", "", 0, ask }, is_escaped },
    };
    static const struct builtin rows[] = {
        { "odd", "", 0, test_odd },
        { "even", "", 0, test_even },
        { "divisibleby", "num", 1, test_divisibleby },
        { "lower", "", 0, test_lower },
        { "upper", "", 0, test_upper },
        { "sameas", "other", 1, test_sameas },
        { "filter", "", 0, test_filter },
        { "test", "", 0, test_test },
        { "in", "seq", 1, test_in },
        { "==", "b", 1, test_eq },
        { "eq", "b", 1, test_eq },
        { "equalto", "b", 1, test_eq },
        { "!=", "b", 1, test_ne },
        { "ne", "b", 1, test_ne },
        { ">", "b", 1, test_gt },
        { "gt", "b", 1, test_gt },
        { "greaterthan", "b", 1, test_gt },
        { ">=", "b", 1, test_ge },
        { "ge", "b", 1, test_ge },
        { "<", "b", 1, test_lt },
        { "lt", "b", 1, test_lt },
        { "lessthan", "b", 1, test_lt },
        { "<=", "b", 1, test_le },
        { "le", "b", 1, test_le },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (view_is(name, kinds[i].row.name)) return &kinds[i].row;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (view_is(name, rows[i].name)) return &rows[i];
    return NULL;
}
