/* How the rows of all tables are found and called; the functions, the tests, and the filters of numbers, JSON and what
 * is not defined. */
#include "template/builtin.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

/* ---- finding and calling ---- */

void builtin_rows(view name, const struct builtin *rows[static WHERE_COUNT])
{
    static const struct builtin *const tables[] = { BUILTINS_OF_VALUES, BUILTINS_OF_TEXT, BUILTINS_OF_LISTS };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct builtin *b = tables[i]; b->name != NULL; b++)
            for (int where = 0; where < WHERE_COUNT && view_is(name, b->name); where++)
                if (b->where & 1u << where) rows[where] = b;
}

const struct builtin *builtin_find(value name, int where)
{
    const struct builtin *rows[WHERE_COUNT] = { NULL };
    if (name.kind == STRING) builtin_rows(view_in(name), rows);
    return rows[where];
}

int builtin_methods(value object)
{
    static const uint8_t places[] = { [STRING] = OF_TEXT, [LIST] = OF_LIST, [TUPLE] = OF_TUPLE, [RANGE] = OF_TUPLE,
                                      [DICT] = OF_DICT,   [LOOP] = OF_LOOP, [FUNCTION] = 0 };
    return places[object.kind] == 0 ? OF_NOTHING : places[object.kind];
}

#define INTEGER_MAX (INT64_C(1) << 53) /* far over any length, far under what sums of lengths overflow at */

/* An argument as the marks behind its name want it: see builtin.h. */
static value checked(context *c, const char *row, const char *name, value v)
{
    const char *mark = name + strcspn(name, "!$~# ");
    int len = (int)(mark - name);
    int64_t n = 0;
    if (*mark == '!' && !given(v)) return render_fail(c, ERR_VALUE, "%s: argument '%.*s' is missing", row, len, name);
    if (*mark == '!') mark++;
    if (*mark == '$' && given(v) && v.kind != STRING)
        return render_fail(c, ERR_VALUE, "%s: %.*s must be str, not %s", row, len, name, value_kind(v));
    if (*mark == '~' && given(v)) return value_to_string(c, v);
    if (*mark != '#') return v;
    if (!value_integer(v, &n) && given(v) && v.kind != NONE)
        return render_fail(c, ERR_VALUE, "%s: '%s' where an integer is due", row, value_kind(v));
    if (!given(v) || v.kind == NONE)
        builtin_read_int((view){ (const uint8_t *)mark + 1, strcspn(mark + 1, " ") }, 10, &n);
    return of_int(n > INTEGER_MAX ? INTEGER_MAX : n < -INTEGER_MAX ? -INTEGER_MAX : n);
}

/* Lays positional and named arguments out by the row's parameters. */
static void lay_out(context *c, const struct builtin *b, struct call *k)
{
    size_t used = 0, n = 0;
    for (const char *p = b->params; *p != '\0'; n++) {
        assert(n < PARAMS_MAX);
        value param = of_view((view){ (const uint8_t *)p, strcspn(p, "!$~# ") }, ORIGIN_TEMPLATE);
        const value *named = value_find(c, k->named, param);
        used += named != NULL;
        if (named != NULL && n < k->pos->count)
            render_fail(c, ERR_VALUE, "%s: argument '%.*s' given twice", b->name, (int)param.len, p);
        k->arg[n] = checked(c, b->name, p,
                            n < k->pos->count ? k->pos->items[n]
                            : named != NULL   ? *named
                                              : of_kind(MISSING));
        p += strcspn(p, " ");
        p += strspn(p, " ");
    }
    if (k->pos->count > n)
        render_fail(c, ERR_VALUE, "%s takes at most %zu arguments, %zu given", b->name, n, k->pos->count);
    if (2 * used < k->named.as.list->count) render_fail(c, ERR_VALUE, "%s: unexpected keyword argument", b->name);
}

value builtin_run(context *c, const struct builtin *b, struct call *k)
{
    k->row = b;
    if (b->params[0] != '*') lay_out(c, b, k);
    if (b->where & AS_TEXT) k->self = value_to_string(c, k->self);
    return c->failed ? of_undefined(view_of("")) : b->run(c, k);
}

/* ---- functions ---- */

static value range(context *c, const struct call *k)
{
    int64_t bounds[3] = { 0, 0, 1 };
    size_t count = k->pos->count;
    bool wrong = count < 1 || count > 3 || value_truth(k->named), over = false;
    for (size_t i = 0; i < count && !wrong; i++) wrong = !value_integer(k->pos->items[i], &bounds[count == 1 ? 1 : i]);
    if (wrong || bounds[2] == 0) return render_fail(c, ERR_VALUE, "range takes 1 to 3 integers, the third not 0");
    value list = value_list(c, RANGE);
    for (int64_t n = bounds[0]; !over && !c->failed && (bounds[2] > 0 ? n < bounds[1] : n > bounds[1]);) {
        value_add(c, list, of_int(n));
        over = __builtin_add_overflow(n, bounds[2], &n);
    }
    for (int i = 0; i < 3; i++) value_add(c, list, of_int(bounds[i])); /* for printing: see RANGE */
    if (!c->failed) list.as.list->count -= 3;
    return list;
}

static value dict(context *c, const struct call *k) /* variant: its kind */
{
    return value_update(c, value_list(c, (enum kind)k->row->variant), k);
}

/* How a template refuses a conversation: its message is the error. */
static value raise_exception(context *c, const struct call *k)
{
    return render_fail(c, ERR_VALUE, "%.*s", (int)min_size(k->arg[0].len, 190), (const char *)k->arg[0].as.bytes);
}

static value strftime_now(context *c, const struct call *k)
{
    return string_time(c, k->arg[0]);
}

/* ---- tests ---- */

static value is_kind(context *c, const struct call *k) /* variant: a bit for each kind */
{
    (void)c;
    return of_bool(k->row->variant >> k->self.kind & 1);
}

static value is_ordered(context *c, const struct call *k) /* variant: the operator of that name */
{
    return value_binary(c, (enum binary)k->row->variant, k->self, k->arg[0]);
}

/* The same kind and, because most values have no identity here, equal; lists and objects are the same one. */
static value is_same(context *c, const struct call *k)
{
    bool object = k->self.kind >= LIST, alike = k->self.kind == k->arg[0].kind;
    return of_bool(alike && (object ? k->self.as.list == k->arg[0].as.list : value_equal(c, k->self, k->arg[0])));
}

static value is_truth(context *c, const struct call *k) /* variant: which */
{
    (void)c;
    return of_bool(k->self.kind == BOOL && k->self.as.truth == k->row->variant);
}

/* What is left of a division: divisibleby(num), or by 2. */
static value is_rest(context *c, const struct call *k) /* num; variant: the rest */
{
    value rest = value_binary(c, BINARY_MOD, k->self, given(k->arg[0]) ? k->arg[0] : of_int(2));
    return of_bool(value_equal(c, rest, of_int(k->row->variant)));
}

/* ---- numbers ---- */

bool builtin_read_int(view text, int64_t base, int64_t *out)
{
    size_t i = 0;
    bool negative = false, digit_before = false;
    int64_t n = 0;
    if (text.len_bytes > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+')) negative = text.ptr[i++] == '-';
    uint8_t mark = text.len_bytes > i + 2 && text.ptr[i] == '0' ? (uint8_t)(text.ptr[i + 1] | 32) : 0;
    int64_t marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == marked || base == 0)) i += 2, base = marked;
    if (base == 0) base = 10;
    for (; i < text.len_bytes; i++) {
        uint8_t c = text.ptr[i], letter = c | 32;
        int64_t digit = c >= '0' && c <= '9' ? c - '0' : letter >= 'a' && letter <= 'z' ? letter - 'a' + 10 : 99;
        bool joins = c == '_' && digit_before && i + 1 < text.len_bytes;
        digit_before = !joins;
        if (joins) continue;
        if (digit >= base || __builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, digit, &n)) return false;
    }
    if (digit_before) *out = negative ? -n : n;
    return digit_before;
}

/* What is no number gives the default: these filters never fail on text. */
static value filter_int(context *c, const struct call *k) /* default base */
{
    int64_t n;
    double d = NAN;
    if (k->self.kind == UNDEFINED) return render_fail(c, ERR_VALUE, "int: the value is undefined");
    value s = k->self.kind == STRING ? string_stripped(c, k->self, of_kind(NONE), STRIP_LEFT | STRIP_RIGHT) : k->self;
    bool whole = value_integer(s, &n) || (s.kind == STRING && builtin_read_int(view_in(s), k->arg[1].as.integer, &n));
    if (s.kind == FLOAT) d = s.as.real;
    if (!whole && s.kind == STRING) json_read_double(view_in(s), &d);
    if (!whole && fabs(d) < 9.2e18) n = (int64_t)d, whole = true;
    value result = of_int(n);
    result.origin = (uint8_t)string_origin(s);
    return whole ? result : s.kind == BIG_INT ? s : given(k->arg[0]) ? k->arg[0] : of_int(0);
}

static value filter_float(context *c, const struct call *k) /* default */
{
    double d;
    if (k->self.kind == UNDEFINED) return render_fail(c, ERR_VALUE, "float: the value is undefined");
    value s = k->self.kind == STRING ? string_stripped(c, k->self, of_kind(NONE), STRIP_LEFT | STRIP_RIGHT) : k->self;
    if (value_is_number(s)) return of_float(value_number(s));
    return s.kind == STRING && json_read_double(view_in(s), &d) ? of_float(d)
           : given(k->arg[0])                                   ? k->arg[0]
                                                                : of_float(0);
}

static value filter_abs(context *c, const struct call *k)
{
    value zero = of_int(0), v = k->self;
    if (!value_is_number(v)) return render_fail(c, ERR_VALUE, "bad operand type for abs(): '%s'", value_kind(v));
    zero.origin = ORIGIN_TEMPLATE;
    if (v.kind == FLOAT) v.as.real = fabs(v.as.real);
    return v.kind == FLOAT ? v : value_binary(c, value_number(v) < 0 ? BINARY_SUB : BINARY_ADD, zero, v);
}

/* To the even neighbour of 10^-precision, through exact decimal digits; integers stay integers. */
static value filter_round(context *c, const struct call *k) /* precision method */
{
    char text[400];
    value zero = { .kind = INT, .origin = ORIGIN_TEMPLATE };
    int64_t n, precision = k->arg[0].as.integer, places = precision < 0 ? -precision : precision;
    bool up = value_is(k->arg[1], "ceil"), down = value_is(k->arg[1], "floor"), common = !up && !down;
    if (!value_is_number(k->self) || k->self.kind == BIG_INT || places > 15)
        return render_fail(c, ERR_VALUE, "round: no number, or over 15 digits");
    if (common && precision >= 0 && value_integer(k->self, &n)) return value_binary(c, BINARY_ADD, k->self, zero);
    double d = value_number(k->self), unit = 1;
    for (; places > 0; places--) unit *= 10;
    double scaled = precision < 0 ? d / unit : d * unit, whole = up     ? ceil(scaled)
                                                                 : down ? floor(scaled)
                                                                        : rint(scaled);
    double result = precision < 0 ? whole * unit : whole / unit;
    if (common && precision >= 0 && fabs(d) < 1e15) {
        snprintf(text, sizeof text, "%.*f", (int)precision, d);
        result = json_parse_double(view_of(text));
    }
    value v = common && k->self.kind == INT && fabs(result) < 9e15 ? of_int((int64_t)result) : of_float(result);
    v.origin = k->self.origin;
    return v;
}

/* ---- JSON, and what is not defined ---- */

/* The arguments of json.dumps, in Hugging Face's order. */
static value tojson(context *c, const struct call *k) /* ensure_ascii indent separators sort_keys */
{
    struct style s = { .json = true, .ascii = value_truth(k->arg[0]), .sort = value_truth(k->arg[3]) };
    value indent = k->arg[1], separators = k->arg[2];
    struct builder b = { 0 };
    int64_t width;
    s.indented = given(indent) && indent.kind != NONE;
    s.indent = value_integer(indent, &width) ? string_padded(c, of_text(""), width, 0, of_text(" ")) : indent;
    s.item_separator = of_text(s.indented ? "," : ", ");
    s.key_separator = of_text(": ");
    if (s.indented && s.indent.kind != STRING)
        return render_fail(c, ERR_VALUE, "tojson: indent is an integer or a string");
    if (given(separators) && separators.kind != NONE) {
        const struct list *two = value_items(c, separators);
        if (two->count != 2 || two->items[0].kind != STRING || two->items[1].kind != STRING)
            return render_fail(c, ERR_VALUE, "tojson: separators are two strings");
        s.item_separator = two->items[0];
        s.key_separator = two->items[1];
    }
    value_print_as(c, &b, k->self, &s);
    return string_built(&b);
}

/* Not in Jinja; templates written for llama.cpp use it. */
static value from_json(context *c, const struct call *k)
{
    const json_value *tree;
    err e = { 0 };
    size_t room = c->memory_end - min_size(c->arena->used_bytes, c->memory_end);
    if (k->self.kind != STRING) return render_fail(c, ERR_VALUE, "from_json: '%s' is no text", value_kind(k->self));
    if (k->self.len > room / 40) /* a value may be 2 bytes, and takes 72 */
        return render_fail(c, ERR_LIMIT, "from_json: text too long");
    if (!render_charge(c, 1 + k->self.len / 4)) return k->self;
    if (!json_parse(view_in(k->self), c->arena, &tree, &e)) return render_fail(c, ERR_VALUE, "from_json: %s", e.text);
    return value_from_json(c, tree, (enum template_origin)string_origin(k->self));
}

/* With `boolean` for everything that is false. */
static value filter_default(context *c, const struct call *k) /* default_value boolean */
{
    (void)c;
    bool replaced = k->self.kind == UNDEFINED || (value_truth(k->arg[1]) && !value_truth(k->self));
    return !replaced ? k->self : given(k->arg[0]) ? k->arg[0] : of_text("");
}

static value filter_string(context *c, const struct call *k)
{
    (void)c;
    return k->self; /* AS_TEXT has done it */
}

enum {
    NUMBERS = 1 << BOOL | 1 << INT | 1 << BIG_INT | 1 << FLOAT,
    SEQUENCES = 1 << STRING | 1 << LIST | 1 << TUPLE | 1 << RANGE | 1 << DICT | 1 << UNDEFINED,
    CALLABLES = 1 << MACRO | 1 << FUNCTION | 1 << LOOP | 1 << UNDEFINED
};

const struct builtin BUILTINS_OF_VALUES[] = {
    { "range", GLOBAL, "*", range, 0 },                        { "dict", GLOBAL, "*", dict, DICT },
    { "namespace", GLOBAL, "*", dict, NAMESPACE },
    { "raise_exception", GLOBAL, "message!~", raise_exception, 0 },
    { "strftime_now", GLOBAL, "format!$", strftime_now, 0 },   { "defined", TEST, "", is_kind, ~(1 << UNDEFINED) },
    { "undefined", TEST, "", is_kind, 1 << UNDEFINED },        { "none", TEST, "", is_kind, 1 << NONE },
    { "boolean", TEST, "", is_kind, 1 << BOOL },
    { "integer", TEST, "", is_kind, 1 << INT | 1 << BIG_INT }, { "float", TEST, "", is_kind, 1 << FLOAT },
    { "number", TEST, "", is_kind, NUMBERS },                  { "string", TEST, "", is_kind, 1 << STRING },
    { "mapping", TEST, "", is_kind, 1 << DICT },               { "sequence", TEST, "", is_kind, SEQUENCES },
    { "iterable", TEST, "", is_kind, SEQUENCES | 1 << LOOP },  { "callable", TEST, "", is_kind, CALLABLES },
    { "true", TEST, "", is_truth, true },                      { "false", TEST, "", is_truth, false },
    { "odd", TEST, "", is_rest, 1 },                           { "even", TEST, "", is_rest, 0 },
    { "divisibleby", TEST, "num!", is_rest, 0 },               { "sameas", TEST, "other!", is_same, 0 },
    { "in", TEST, "seq!", is_ordered, BINARY_IN },             { "eq", TEST, "b!", is_ordered, BINARY_EQ },
    { "==", TEST, "b!", is_ordered, BINARY_EQ },               { "equalto", TEST, "b!", is_ordered, BINARY_EQ },
    { "ne", TEST, "b!", is_ordered, BINARY_NE },               { "!=", TEST, "b!", is_ordered, BINARY_NE },
    { "lt", TEST, "b!", is_ordered, BINARY_LT },               { "<", TEST, "b!", is_ordered, BINARY_LT },
    { "lessthan", TEST, "b!", is_ordered, BINARY_LT },         { "le", TEST, "b!", is_ordered, BINARY_LE },
    { "<=", TEST, "b!", is_ordered, BINARY_LE },               { "gt", TEST, "b!", is_ordered, BINARY_GT },
    { ">", TEST, "b!", is_ordered, BINARY_GT },                { "greaterthan", TEST, "b!", is_ordered, BINARY_GT },
    { "ge", TEST, "b!", is_ordered, BINARY_GE },               { ">=", TEST, "b!", is_ordered, BINARY_GE },
    { "abs", FILTER, "", filter_abs, 0 },
    { "round", FILTER, "precision#0 method", filter_round, 0 },
    { "int", FILTER, "default base#10", filter_int, 0 },       { "float", FILTER, "default", filter_float, 0 },
    { "tojson", FILTER, "ensure_ascii indent separators sort_keys", tojson, 0 },
    { "from_json", FILTER, "", from_json, 0 },                 { "fromjson", FILTER, "", from_json, 0 },
    { "default", FILTER, "default_value boolean", filter_default, 0 },
    { "d", FILTER, "default_value boolean", filter_default, 0 },
    { "string", FILTER | AS_TEXT, "", filter_string, 0 },      { "safe", FILTER | AS_TEXT, "", filter_string, 0 },
    { NULL, 0, NULL, NULL, 0 } /* the end */
};
