/* The tests ("is string", "is odd"), a row each at the end. */
#include "template/eval.h"

/* A whole float will do, as in Python. */
static bool remainder_of(context *c, const struct call *k, int64_t divisor, int64_t *out)
{
    int64_t n;
    if (k->self.kind == UNDEFINED) return value_raise_undefined(c, &k->self);
    if (k->self.kind == FLOAT && k->self.as.real > -9e15 && k->self.as.real < 9e15 &&
        (double)(int64_t)k->self.as.real == k->self.as.real)
        n = (int64_t)k->self.as.real;
    else if (!value_integer(&k->self, &n)) return raise(c, "'%s' where an integer is due", value_kind(&k->self));
    if (divisor == 0) return raise(c, "division by zero");
    *out = divisor == -1 ? 0 : n % divisor;
    return true;
}

static bool test_parity(context *c, const struct call *k, value *out) /* variant: odd */
{
    int64_t rest = 0;
    if (!remainder_of(c, k, 2, &rest)) return false;
    *out = of_bool((rest != 0) == (bool)k->row->variant);
    return true;
}

static bool test_divisibleby(context *c, const struct call *k, value *out)
{
    int64_t divisor, rest = 0;
    if (!value_integer(&k->arg[0], &divisor)) return raise(c, "divisibleby: an integer is due");
    if (!remainder_of(c, k, divisor, &rest)) return false;
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

static bool test_letters(context *c, const struct call *k, value *out)
{
    value s;
    if (!value_to_string(c, &k->self, &s)) return false;
    *out = of_bool(string_is(&s, (enum letter_class)k->row->variant));
    return render_charge(c, s.len / 16);
}

/* The same object; numbers, truths and text by value, because they have no identity here. */
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

static bool test_order(context *c, const struct call *k, value *out)
{
    bool holds;
    if (!value_test_order(c, (uint8_t)k->row->variant, &k->self, &k->arg[0], &holds)) return false;
    *out = of_bool(holds);
    return true;
}

const struct builtin *builtin_test(view name)
{
    static const struct kind_test kinds[] = {
        { { "defined", "", 0, 0, ask }, is_defined },     { { "undefined", "", 0, 0, ask }, is_undefined },
        { { "none", "", 0, 0, ask }, is_none },           { { "boolean", "", 0, 0, ask }, is_boolean },
        { { "false", "", 0, 0, ask }, is_false },         { { "true", "", 0, 0, ask }, is_true },
        { { "integer", "", 0, 0, ask }, is_integer },     { { "float", "", 0, 0, ask }, is_float },
        { { "number", "", 0, 0, ask }, value_is_number }, { { "string", "", 0, 0, ask }, is_string },
        { { "mapping", "", 0, 0, ask }, is_mapping },     { { "sequence", "", 0, 0, ask }, is_sequence },
        { { "iterable", "", 0, 0, ask }, is_iterable },   { { "callable", "", 0, 0, ask }, is_callable },
        { { "escaped", "", 0, 0, ask }, is_escaped },
    };
    static const struct builtin rows[] = {
        { "odd", "", 0, true, test_parity },
        { "even", "", 0, false, test_parity },
        { "divisibleby", "num", 1, 0, test_divisibleby },
        { "lower", "", 0, ALL_LOWER, test_letters },
        { "upper", "", 0, ALL_UPPER, test_letters },
        { "sameas", "other", 1, 0, test_sameas },
        { "filter", "", 0, 0, test_filter },
        { "test", "", 0, 0, test_test },
        { "in", "seq", 1, OPERAND_IN, test_order },
        { "==", "b", 1, TOK_EQ, test_order },
        { "eq", "b", 1, TOK_EQ, test_order },
        { "equalto", "b", 1, TOK_EQ, test_order },
        { "!=", "b", 1, TOK_NE, test_order },
        { "ne", "b", 1, TOK_NE, test_order },
        { "<", "b", 1, TOK_LT, test_order },
        { "lt", "b", 1, TOK_LT, test_order },
        { "lessthan", "b", 1, TOK_LT, test_order },
        { "<=", "b", 1, TOK_LE, test_order },
        { "le", "b", 1, TOK_LE, test_order },
        { ">", "b", 1, TOK_GT, test_order },
        { "gt", "b", 1, TOK_GT, test_order },
        { "greaterthan", "b", 1, TOK_GT, test_order },
        { ">=", "b", 1, TOK_GE, test_order },
        { "ge", "b", 1, TOK_GE, test_order },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (view_is(name, kinds[i].row.name)) return &kinds[i].row;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (view_is(name, rows[i].name)) return &rows[i];
    return NULL;
}
