/* What the operators compute: Python's arithmetic and order, on 64 bits and f64, on strings and lists. */
#include "template/eval.h"

#include "base/checked.h"

/* Exact or not at all: rounding an integer to f64 would print other digits than Python. */
static bool too_large(context *c)
{
    return raise_limit(c, "a number over 64 bits is not computed with");
}

/* Floor division and its remainder, whose sign is the divisor's. */
static bool divide_integers(context *c, int64_t a, int64_t b, int64_t *quotient, int64_t *rest)
{
    if (b == 0) return raise(c, "division by zero");
    if (a == INT64_MIN && b == -1) return too_large(c);
    *quotient = a / b;
    *rest = a % b;
    if (*rest != 0 && (*rest < 0) != (b < 0)) {
        --*quotient;
        *rest += b;
    }
    return true;
}

/* Without libm: floor of what fits 64 bits; larger ones are whole already. */
static double floor_double(double d)
{
    if (d < -9e15 || d > 9e15 || d != d) return d; /* whole already, or no number */
    double whole = (double)(int64_t)d;
    return whole > d ? whole - 1 : whole;
}

/* By multiplication, so that the result does not depend on a libm. Chat templates do not use it. */
static bool power(context *c, const value *a, const value *b, value *out)
{
    int64_t base, exponent, result = 1;
    if (!value_integer(b, &exponent)) return raise_limit(c, "only whole exponents are computed");
    if (exponent > 4096 || exponent < -4096) return too_large(c);
    if (value_integer(a, &base) && exponent >= 0) {
        for (; exponent > 0; exponent--)
            if (__builtin_mul_overflow(result, base, &result)) return too_large(c);
        *out = of_int(result);
        return true;
    }
    double d = 1, x = value_number(a);
    if (exponent < 0 && x == 0) return raise(c, "0.0 cannot be raised to a negative power");
    for (int64_t i = exponent < 0 ? -exponent : exponent; i > 0; i--) d *= x;
    *out = of_float(exponent < 0 ? 1 / d : d);
    return true;
}

/* Overflow is an error; Python would go on with big integers. */
static bool arithmetic_integers(context *c, uint8_t op, int64_t a, int64_t b, value *out)
{
    int64_t n = 0, rest = 0;
    bool over = false;
    switch (op) {
    case TOK_ADD:
        over = __builtin_add_overflow(a, b, &n);
        break;
    case TOK_SUB:
        over = __builtin_sub_overflow(a, b, &n);
        break;
    case TOK_MUL:
        over = __builtin_mul_overflow(a, b, &n);
        break;
    default:
        if (!divide_integers(c, a, b, &n, &rest)) return false;
        if (op == TOK_MOD) n = rest;
    }
    if (over) return too_large(c);
    *out = of_int(n);
    return true;
}

/* Division by zero is an error also for floats, as in Python. */
static bool arithmetic_doubles(context *c, uint8_t op, double a, double b, value *out)
{
    bool divides = op == TOK_DIV || op == TOK_FLOOR_DIV || op == TOK_MOD;
    if (divides && b == 0) return raise(c, "division by zero");
    double floor = divides ? floor_double(a / b) : 0;
    *out = of_float(op == TOK_ADD   ? a + b
                    : op == TOK_SUB ? a - b
                    : op == TOK_MUL ? a * b
                    : op == TOK_DIV ? a / b
                    : op == TOK_MOD ? a - floor * b
                                    : floor);
    return true;
}

/* A string or list as often as asked; the limits end it. */
static bool repeat(context *c, const value *what, int64_t times, value *out)
{
    struct builder b = { 0 };
    if (what->kind == STRING) {
        for (; times > 0; times--)
            if (!render_charge(c, 1) || !string_put_value(c, &b, what)) return false;
        *out = string_built(&b);
        return true;
    }
    if (!value_list_new(c, (enum kind)what->kind, 0, out)) return false;
    for (; times > 0; times--)
        for (size_t i = 0; i < what->as.list->count; i++)
            if (!render_charge(c, 1) || !value_list_add(c, out->as.list, &what->as.list->items[i])) return false;
    return true;
}

/* A new list: those added stay as they are. */
static bool join_lists(context *c, const value *a, const value *b, value *out)
{
    const struct list *x = a->as.list, *y = b->as.list;
    if (!value_list_new(c, (enum kind)a->kind, x->count + y->count, out)) return false;
    struct list *sum = out->as.list;
    if (x->count > 0) memcpy(sum->items, x->items, x->count * sizeof(value));
    if (y->count > 0) memcpy(sum->items + x->count, y->items, y->count * sizeof(value));
    sum->count = x->count + y->count;
    return true;
}

/* By kinds: text, lists, then numbers; the result of numbers is as trusted as the less trusted of them. */
bool value_arithmetic(context *c, uint8_t op, const value *a, const value *b, value *out)
{
    static const char *const signs[] = { [TOK_ADD] = "+",        [TOK_SUB] = "-", [TOK_MUL] = "*", [TOK_DIV] = "/",
                                         [TOK_FLOOR_DIV] = "//", [TOK_MOD] = "%", [TOK_POW] = "**" };
    int64_t i, j;
    bool whole_a = value_integer(a, &i), whole_b = value_integer(b, &j), good = false;
    bool sequence_a = a->kind == STRING || a->kind == LIST || a->kind == TUPLE;
    bool sequence_b = b->kind == STRING || b->kind == LIST || b->kind == TUPLE;
    if (a->kind == UNDEFINED || b->kind == UNDEFINED) return value_raise_undefined(c, a->kind == UNDEFINED ? a : b);
    if (op == TOK_ADD && a->kind == STRING && b->kind == STRING) {
        struct builder sum = { 0 };
        if (!string_put_value(c, &sum, a) || !string_put_value(c, &sum, b)) return false;
        *out = string_built(&sum);
        return true;
    }
    if (op == TOK_ADD && a->kind == b->kind && sequence_a) return join_lists(c, a, b, out);
    if (op == TOK_MUL && sequence_a && whole_b) return repeat(c, a, j, out);
    if (op == TOK_MUL && sequence_b && whole_a) return repeat(c, b, i, out);
    if (op == TOK_MOD && a->kind == STRING) return string_percent(c, a, b, out);
    if (!value_is_number(a) || !value_is_number(b))
        return raise(c, "unsupported operand types for %s: '%s' and '%s'", signs[op], value_kind(a), value_kind(b));
    if (op == TOK_POW) good = power(c, a, b, out);
    else if (op != TOK_DIV && whole_a && whole_b) good = arithmetic_integers(c, op, i, j, out);
    else if ((a->kind == BIG_INT || b->kind == BIG_INT) && a->kind != FLOAT && b->kind != FLOAT && op != TOK_DIV)
        return too_large(c);
    else good = arithmetic_doubles(c, op, value_number(a), value_number(b), out);
    out->origin = a->origin > b->origin ? a->origin : b->origin;
    return good;
}

/* The comparison operators, and the tests named after them. */
bool value_test_order(context *c, uint8_t op, const value *a, const value *b, bool *out)
{
    int order;
    if (op == OPERAND_IN || op == OPERAND_NOT_IN) {
        if (!value_contains(c, b, a, out)) return false;
        *out = *out == (op == OPERAND_IN);
        return true;
    }
    if (op == TOK_EQ || op == TOK_NE) {
        if (!value_equal(c, a, b, out)) return false;
        *out = *out == (op == TOK_EQ);
        return true;
    }
    if (!value_compare(c, a, b, &order)) return false;
    *out = order != 2 && (op == TOK_LT ? order < 0 : op == TOK_LE ? order <= 0 : op == TOK_GT ? order > 0 : order >= 0);
    return true;
}
