/* Expressions. Binary operators stand in one table by how tight they bind; what is tighter than all of them (sign,
 * subscript, call, filter, test) is written out. Chains become left-deep trees, whose depth evaluation bounds. */
#include "template/syntax.h"

static struct node *unary(parser *p, bool filters);

static struct node *literal(parser *p, uint32_t at, value v)
{
    struct node *n = syntax_node(p, OP_LITERAL, at);
    n->literal = v;
    n->literal.origin = ORIGIN_TEMPLATE;
    return n;
}

/* Python's forms: 1_000, 0x1F, 0b11, 0o17, 1e3. Decimal integers of any size keep their digits. */
static struct node *number(parser *p)
{
    const struct token *t = p->t++;
    int64_t n;
    double d;
    size_t digits = 0;
    while (digits < t->text.len_bytes && t->text.ptr[digits] >= '0' && t->text.ptr[digits] <= '9') digits++;
    if (builtin_read_int(t->text, 0, &n)) return literal(p, t->at, of_int(n));
    value big = of_view(t->text, ORIGIN_TEMPLATE);
    big.kind = BIG_INT;
    if (digits == t->text.len_bytes && digits <= JSON_NUMBER_BYTES_MAX) return literal(p, t->at, big);
    if (!json_read_double(t->text, &d)) syntax_fail(p, t->at, ERR_VALUE, "this is no number");
    return literal(p, t->at, of_float(d));
}

/* Adjacent string literals join. */
static struct node *string(parser *p)
{
    const struct token *first = p->t;
    size_t len = 0;
    for (; p->t->type == TOK_STRING; p->t++) len += p->t->text.len_bytes; /* within the source */
    if (p->t == first + 1) return literal(p, first->at, of_view(first->text, ORIGIN_TEMPLATE));
    uint8_t *joined = ARENA_ARRAY(p->arena, uint8_t, len, "template string", p->e);
    len = 0;
    for (const struct token *t = first; joined != NULL && t < p->t; len += t++->text.len_bytes)
        memcpy(joined + len, t->text.ptr, t->text.len_bytes);
    return literal(p, first->at, of_view((view){ joined, len }, ORIGIN_TEMPLATE));
}

/* A variable, or a word that is a constant. */
static struct node *name(parser *p)
{
    static const struct {
        const char *word;
        value v;
    } constants[] = { { "true", { .kind = BOOL, .as.truth = true } },
                      { "false", { .kind = BOOL } },
                      { "True", { .kind = BOOL, .as.truth = true } },
                      { "False", { .kind = BOOL } },
                      { "none", { .kind = NONE } },
                      { "None", { .kind = NONE } } };
    uint32_t at = p->t->at;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (syntax_skip(p, constants[i].word)) return literal(p, at, constants[i].v);
    struct node *n = syntax_node(p, OP_NAME, at);
    n->name = syntax_name(p);
    if (n->name < SPECIAL_NAMES) p->mentioned |= (uint8_t)(1 << n->name);
    return n;
}

/* [a, b] and {k: v, ...} behind their bracket; a comma at the end is allowed. */
static struct node *display(parser *p, struct node *n)
{
    struct node *last = NULL;
    for (bool first = true; syntax_more(p, n->op == OP_DICT ? "}" : "]", first); first = false) {
        syntax_append(&n->child[0], &last, syntax_expression(p));
        if (n->op == OP_LIST) continue;
        syntax_want(p, ":");
        syntax_append(&n->child[0], &last, syntax_expression(p));
    }
    return n;
}

/* What an expression can begin with, signs apart. */
static struct node *primary(parser *p)
{
    uint32_t at = p->t->at;
    if (p->t->type == TOK_NAME) return name(p);
    if (p->t->type == TOK_STRING) return string(p);
    if (p->t->type == TOK_NUMBER) return number(p);
    if (syntax_skip(p, "[")) return display(p, syntax_node(p, OP_LIST, at));
    if (syntax_skip(p, "{")) return display(p, syntax_node(p, OP_DICT, at));
    if (!syntax_skip(p, "(")) return syntax_expected(p, "an expression");
    struct node *n = syntax_at(p, ")") ? syntax_node(p, OP_LIST, at) : syntax_tuple(p, syntax_expression);
    if (syntax_at(p, ")") && p->t[-1].at == at) n->flag = 1; /* "()": the empty tuple */
    syntax_want(p, ")");
    return n;
}

/* Arguments behind "(", into *out: positional ones, then named, *list, **object. */
static void arguments(parser *p, struct node **out)
{
    struct node *last = NULL;
    size_t count = 0;
    for (bool first = true; syntax_more(p, ")", first); first = false) {
        struct node *arg = syntax_node(p, OP_ARG, p->t->at);
        if (++count > TEMPLATE_ARGS_MAX) syntax_fail(p, arg->at, ERR_LIMIT, "more than 64 arguments");
        if (syntax_skip(p, "*")) arg->flag = ARG_STAR;
        else if (syntax_skip(p, "**")) arg->flag = ARG_STAR_STAR;
        else if (p->t->type == TOK_NAME && p->t[1].type == TOK_OPERATOR && view_is(p->t[1].text, "=")) {
            arg->flag = ARG_NAMED;
            arg->name = syntax_name(p);
            p->t++;
        }
        if (last != NULL && (arg->flag < last->flag || (arg->flag >= ARG_STAR && arg->flag == last->flag)))
            syntax_fail(p, arg->at, ERR_VALUE, "this argument cannot follow the one before");
        arg->child[0] = syntax_expression(p);
        syntax_append(out, &last, arg);
    }
}

/* Behind "[": start:stop:step or a key. */
static struct node *subscript(parser *p, struct node *object, uint32_t at)
{
    struct node *n = syntax_node(p, OP_ITEM, at);
    n->child[0] = object;
    for (int part = 1; part <= 3; part++) {
        if (!syntax_at(p, ":") && !syntax_at(p, "]"))
            n->child[part] = part == 1 ? syntax_tuple(p, syntax_expression) : syntax_expression(p);
        if (part == 3 || !syntax_skip(p, ":")) break;
        n->op = OP_SLICE;
    }
    if (n->op == OP_ITEM && n->child[1] == NULL) syntax_expected(p, "an expression");
    syntax_want(p, "]");
    return n;
}

/* .name, .0, [key], (arguments), as many as follow. */
static struct node *postfix(parser *p, struct node *n)
{
    for (;;) {
        uint32_t at = p->t->at;
        struct node *object = n;
        if (syntax_skip(p, "(")) {
            n = syntax_node(p, OP_CALL, at);
            n->child[0] = object;
            arguments(p, &n->child[1]);
        } else if (syntax_skip(p, "[")) {
            n = subscript(p, object, at);
        } else if (syntax_skip(p, ".")) {
            n = syntax_node(p, p->t->type == TOK_NUMBER ? OP_ITEM : OP_ATTRIBUTE, at);
            n->child[0] = object;
            if (n->op == OP_ITEM) n->child[1] = number(p);
            else n->name = syntax_name(p);
        } else {
            return n;
        }
    }
}

/* The name and arguments of a filter, or of a test, whose one argument may come without parentheses. */
static struct node *filter(parser *p, struct node *input, bool test)
{
    struct node *n = syntax_node(p, OP_FILTER, p->t->at);
    n->flag = test;
    n->child[0] = input;
    n->name = syntax_name(p);
    enum token_type next = p->t->type;
    if (syntax_skip(p, "(")) {
        arguments(p, &n->child[1]);
    } else if (test && (next == TOK_STRING || next == TOK_NUMBER || syntax_at(p, "[") || syntax_at(p, "{") ||
                        (next == TOK_NAME && !syntax_at(p, "else") && !syntax_at(p, "or") && !syntax_at(p, "and") &&
                         !syntax_at(p, "if") && !syntax_at(p, "is")))) {
        n->child[1] = syntax_node(p, OP_ARG, p->t->at);
        n->child[1]->child[0] = postfix(p, primary(p));
    }
    return n;
}

struct node *syntax_filters(parser *p, struct node *n)
{
    do n = filter(p, n, false);
    while (syntax_skip(p, "|"));
    return n;
}

static struct node *not_node(parser *p, uint32_t at, struct node *n)
{
    struct node *not_it = syntax_node(p, OP_NOT, at);
    not_it->child[0] = n;
    return not_it;
}

/* A sign binds tighter than a filter: -1|abs is 1. */
static struct node *unary(parser *p, bool filters)
{
    uint32_t at = p->t->at;
    struct node *n;
    bool plus = syntax_at(p, "+");
    if (syntax_skip(p, "-") || syntax_skip(p, "+")) {
        n = syntax_node(p, OP_NEGATE, at);
        n->flag = plus;
        if (!syntax_deeper(p)) return &p->nothing;
        n->child[0] = unary(p, false);
        p->depth--;
    } else {
        n = postfix(p, primary(p));
    }
    for (at = p->t->at; filters; at = p->t->at) {
        if (syntax_skip(p, "|")) n = filter(p, n, false);
        else if (syntax_at(p, "(")) n = postfix(p, n);
        else if (!syntax_skip(p, "is")) break;
        else if (syntax_skip(p, "not")) n = not_node(p, at, filter(p, n, true));
        else n = filter(p, n, true);
    }
    return n;
}

/* Binary operators; the higher the level, the tighter. */
static const struct operator
{
    const char *word;
    uint8_t level, op, flag;
}
OPERATORS[] = { { "or", 1, OP_LOGIC, true },        { "and", 2, OP_LOGIC, false },
                { "==", 4, OP_COMPARE, BINARY_EQ }, { "!=", 4, OP_COMPARE, BINARY_NE },
                { "<", 4, OP_COMPARE, BINARY_LT },  { "<=", 4, OP_COMPARE, BINARY_LE },
                { ">", 4, OP_COMPARE, BINARY_GT },  { ">=", 4, OP_COMPARE, BINARY_GE },
                { "in", 4, OP_COMPARE, BINARY_IN }, { "not", 4, OP_COMPARE, BINARY_NOT_IN },
                { "+", 5, OP_BINARY, BINARY_ADD },  { "-", 5, OP_BINARY, BINARY_SUB },
                { "~", 6, OP_BINARY, BINARY_JOIN }, { "*", 7, OP_BINARY, BINARY_MUL },
                { "/", 7, OP_BINARY, BINARY_DIV },  { "//", 7, OP_BINARY, BINARY_FLOOR },
                { "%", 7, OP_BINARY, BINARY_MOD },  { "**", 8, OP_BINARY, BINARY_POW } };
enum { LEVEL_NOT = 3, LEVEL_COMPARE = 4 };

/* The operator that is next, if it binds at least as tight as `level`. */
static const struct operator* operator_at(const parser *p, unsigned level)
{
    for (size_t i = 0; i < sizeof OPERATORS / sizeof *OPERATORS; i++) {
        if (OPERATORS[i].level < level || !syntax_at(p, OPERATORS[i].word)) continue;
        bool negated = OPERATORS[i].flag == BINARY_NOT_IN && OPERATORS[i].op == OP_COMPARE;
        return !negated || (p->t[1].type == TOK_NAME && view_is(p->t[1].text, "in")) ? &OPERATORS[i] : NULL;
    }
    return NULL;
}

/* Precedence climbing. a < b <= c is one node with a list, because each operand is computed once. */
static struct node *binary(parser *p, unsigned level)
{
    struct node *left, *chain = NULL, *last = NULL;
    uint32_t at = p->t->at;
    if (!syntax_deeper(p)) return &p->nothing;
    left = level <= LEVEL_NOT && syntax_skip(p, "not") ? not_node(p, at, binary(p, LEVEL_NOT)) : unary(p, true);
    for (const struct operator* o; (o = operator_at(p, level)) != NULL;) {
        struct node *n = syntax_node(p, o->op == OP_COMPARE ? OP_OPERAND : o->op, p->t->at);
        p->t += o->op == OP_COMPARE && o->flag == BINARY_NOT_IN ? 2 : 1;
        n->flag = o->flag;
        n->child[o->op != OP_COMPARE] = binary(p, o->level + 1u);
        if (o->op != OP_COMPARE) {
            n->child[0] = left;
            left = n;
            chain = NULL;
            continue;
        }
        if (chain == NULL) {
            chain = syntax_node(p, OP_COMPARE, n->at);
            chain->child[0] = left;
            left = chain;
            last = NULL;
        }
        syntax_append(&chain->child[1], &last, n);
    }
    p->depth--;
    return left;
}

struct node *syntax_no_condition(parser *p)
{
    return binary(p, 0);
}

/* The loosest level: a if b else c, which nests to the right. */
struct node *syntax_expression(parser *p)
{
    struct node *n = binary(p, 0);
    uint32_t at = p->t->at;
    if (!syntax_skip(p, "if")) return n;
    struct node *condition = syntax_node(p, OP_CONDITION, at);
    condition->child[1] = n;
    condition->child[0] = binary(p, 0);
    if (syntax_skip(p, "else") && syntax_deeper(p)) {
        condition->child[2] = syntax_expression(p);
        p->depth--;
    }
    return condition;
}

struct node *syntax_tuple(parser *p, struct node *(*item)(parser *))
{
    uint32_t at = p->t->at;
    struct node *first = item(p), *last = first, *tuple = NULL;
    while (syntax_skip(p, ",")) {
        if (tuple == NULL) {
            tuple = syntax_node(p, OP_LIST, at);
            tuple->flag = 1;
            tuple->child[0] = first;
        }
        bool ends = p->t->type == TOK_CLOSE || syntax_at(p, ")") || syntax_at(p, "]") || syntax_at(p, "=") ||
                    syntax_at(p, "in");
        if (ends || p->t == p->end) break;
        syntax_append(&tuple->child[0], &last, item(p));
    }
    return tuple != NULL ? tuple : first;
}

struct node *syntax_target(parser *p)
{
    return postfix(p, primary(p));
}
