/* Expressions, by recursive descent. Binary operators stand in one table, loosest first; what is tighter than all of
 * them (sign, subscript, call, filter, test) is written out. Left-recursive chains become left-deep trees, whose depth
 * evaluation bounds; "~" and comparisons become lists. */
#include "template/parse.h"

static struct node *unary(parser *p, bool filters);

/* Python's forms: 1_000, 0x1F, 0b11, 0o17, 1e3. Decimal integers of any size keep their digits. */
static struct node *number_literal(parser *p)
{
    char digits[JSON_NUMBER_BYTES_MAX];
    size_t len = 0;
    const struct token *t = p->t++;
    for (size_t i = 0; i < t->text.len_bytes; i++) {
        if (t->text.ptr[i] == '_') continue;
        if (len == sizeof digits) return syntax_null(p, t->at, "number too long");
        digits[len++] = (char)t->text.ptr[i];
    }
    if (t->type == TOK_FLOAT)
        return syntax_literal(p, t->at, of_float(json_parse_double((view){ (uint8_t *)digits, len })));
    uint8_t kind = len > 1 ? (uint8_t)(digits[1] | 32) : 0;
    int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    int64_t n = 0;
    for (size_t i = base == 10 ? 0 : 2; i < len; i++) {
        int digit = digits[i] <= '9' ? digits[i] - '0' : (digits[i] | 32) - 'a' + 10;
        if (!__builtin_mul_overflow(n, base, &n) && !__builtin_add_overflow(n, digit, &n)) continue;
        view copy;
        if (base != 10) return syntax_null(p, t->at, "number over 64 bits");
        if (!arena_copy(p->arena, (view){ (uint8_t *)digits, len }, &copy, "template number", p->e)) return NULL;
        value big = of_view(copy, ORIGIN_TEMPLATE);
        big.kind = BIG_INT;
        return syntax_literal(p, t->at, big);
    }
    return syntax_literal(p, t->at, of_int(n));
}

/* Adjacent string literals join. */
static struct node *string_literal(parser *p)
{
    const struct token *first = p->t++;
    view text = first->text;
    if (syntax_at(p, TOK_STRING)) {
        size_t len = text.len_bytes;
        for (const struct token *t = p->t; t->type == TOK_STRING; t++) len += t->text.len_bytes; /* within the source */
        uint8_t *joined = arena_take(p->arena, len, 1, 1, "template string", p->e);
        if (joined == NULL) return NULL;
        len = 0;
        for (const struct token *t = first; t->type == TOK_STRING; p->t = ++t) {
            if (t->text.len_bytes > 0) memcpy(joined + len, t->text.ptr, t->text.len_bytes);
            len += t->text.len_bytes;
        }
        text = (view){ joined, len };
    }
    return syntax_literal(p, first->at, of_view(text, ORIGIN_TEMPLATE));
}

/* Words that are constants; and the three special names that make a macro take what it has no parameter for. */
struct node *syntax_name(parser *p)
{
    static const struct {
        const char *word;
        uint8_t kind;
        bool truth;
    } constants[] = { { "true", BOOL, true },   { "True", BOOL, true },  { "false", BOOL, false },
                      { "False", BOOL, false }, { "none", NONE, false }, { "None", NONE, false } };
    const struct token *t = p->t++;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (view_is(t->text, constants[i].word))
            return syntax_literal(p, t->at, constants[i].kind == NONE ? of_kind(NONE) : of_bool(constants[i].truth));
    struct node *n = syntax_node(p, OP_NAME, t->at);
    if (n == NULL || !syntax_intern(p, t->text, &n->name)) return NULL;
    if (view_is(t->text, "varargs")) p->macro_use |= MACRO_VARARGS;
    if (view_is(t->text, "kwargs")) p->macro_use |= MACRO_KWARGS;
    if (view_is(t->text, "caller")) p->macro_use |= MACRO_CALLER;
    return n;
}

/* [a, b] and {k: v, ...}, a comma at the end allowed. */
static struct node *display(parser *p, bool dict)
{
    enum token_type closer = dict ? TOK_RBRACE : TOK_RBRACKET;
    struct node *n = syntax_node(p, dict ? OP_DICT : OP_LIST, p->t++->at), *last = NULL;
    while (n != NULL && !syntax_skip(p, closer)) {
        if (last != NULL && (!syntax_want(p, TOK_COMMA, "a comma") || syntax_skip(p, closer))) break;
        for (int i = 0; i < (dict ? 2 : 1); i++) {
            if (i == 1 && !syntax_want(p, TOK_COLON, "a colon")) return NULL;
            struct node *item = syntax_expression(p);
            if (item == NULL) return NULL;
            syntax_append(&n->as.child[0], &last, item);
        }
    }
    return p->e->code == ERR_NONE ? n : NULL;
}

/* What an expression can begin with, signs apart. */
static struct node *primary(parser *p)
{
    struct node *n;
    switch (p->t->type) {
    case TOK_NAME:
        return syntax_name(p);
    case TOK_STRING:
        return string_literal(p);
    case TOK_INTEGER:
    case TOK_FLOAT:
        return number_literal(p);
    case TOK_LPAREN:
        p->t++;
        n = syntax_tuple(p, true, syntax_expression);
        return n != NULL && syntax_want(p, TOK_RPAREN, "a closing parenthesis") ? n : NULL;
    case TOK_LBRACKET:
    case TOK_LBRACE:
        return display(p, syntax_at(p, TOK_LBRACE));
    default:
        return syntax_expected(p, "an expression");
    }
}

/* The arguments of a call, from "(" on, into *out. */
static bool arguments(parser *p, struct node **out)
{
    struct node *last = NULL;
    uint8_t highest = ARG_PLAIN; /* plain ones come first, then named, then * and ** */
    size_t count = 0;
    for (p->t++; !syntax_skip(p, TOK_RPAREN);) {
        if (last != NULL && !syntax_want(p, TOK_COMMA, "a comma")) return false;
        if (last != NULL && syntax_skip(p, TOK_RPAREN)) break;
        struct node *arg = syntax_node(p, OP_ARG, p->t->at);
        if (arg == NULL) return false;
        if (++count > TEMPLATE_ARGS_MAX)
            return template_fail(p->source, arg->at, ERR_LIMIT, p->e, "more than 64 arguments");
        if (syntax_skip(p, TOK_MUL)) {
            arg->flag = ARG_STAR;
        } else if (syntax_skip(p, TOK_POW)) {
            arg->flag = ARG_STAR_STAR;
        } else if (syntax_at(p, TOK_NAME) && p->t[1].type == TOK_ASSIGN) {
            arg->flag = ARG_NAMED;
            if (!syntax_intern(p, p->t->text, &arg->name)) return false;
            p->t += 2;
        }
        bool twice = arg->flag >= ARG_STAR && arg->flag <= highest;
        if (twice || (arg->flag == ARG_PLAIN && highest > ARG_PLAIN) || highest == ARG_STAR_STAR)
            return syntax_fail(p, arg->at, "this argument cannot follow the one before");
        if (arg->flag > highest) highest = arg->flag;
        arg->as.child[0] = syntax_expression(p);
        if (arg->as.child[0] == NULL) return false;
        syntax_append(out, &last, arg);
    }
    return true;
}

/* Positional, named, *list, **object, in that order. */
static struct node *call(parser *p, struct node *callee)
{
    struct node *n = syntax_node(p, OP_CALL, p->t->at);
    if (n == NULL) return NULL;
    n->as.child[0] = callee;
    return arguments(p, &n->as.child[1]) ? n : NULL;
}

/* [start:stop:step] or [key], behind its bracket. */
static struct node *subscript(parser *p, struct node *object, uint32_t at)
{
    struct node *part[3] = { NULL, NULL, NULL };
    size_t colons = 0;
    if (!syntax_at(p, TOK_COLON) && (part[0] = syntax_tuple(p, false, syntax_expression)) == NULL) return NULL;
    while (colons < 2 && syntax_skip(p, TOK_COLON)) {
        colons++;
        if (!syntax_at(p, TOK_COLON) && !syntax_at(p, TOK_RBRACKET) && (part[colons] = syntax_expression(p)) == NULL)
            return NULL;
    }
    if (!syntax_want(p, TOK_RBRACKET, "a closing bracket")) return NULL;
    struct node *n = syntax_node(p, colons > 0 ? OP_SLICE : OP_ITEM, at);
    if (n == NULL) return NULL;
    n->as.child[0] = object;
    memcpy(&n->as.child[1], part, sizeof part);
    return n;
}

/* A name, or a number: a.0 is a[0]. */
static struct node *attribute(parser *p, struct node *object)
{
    uint32_t at = p->t++->at;
    if (syntax_at(p, TOK_INTEGER)) return syntax_node2(p, OP_ITEM, at, object, number_literal(p)); /* a.0 is a[0] */
    if (!syntax_at(p, TOK_NAME)) return syntax_expected(p, "a name");
    struct node *n = syntax_node(p, OP_ATTRIBUTE, at);
    if (n == NULL || !syntax_intern(p, p->t++->text, &n->name)) return NULL;
    n->as.child[0] = object;
    return n;
}

/* Subscripts, attributes and calls, as many as follow. */
static struct node *postfix(parser *p, struct node *n)
{
    while (n != NULL) {
        if (syntax_at(p, TOK_DOT)) {
            n = attribute(p, n);
        } else if (syntax_at(p, TOK_LBRACKET)) {
            uint32_t at = p->t++->at;
            n = subscript(p, n, at);
        } else if (syntax_at(p, TOK_LPAREN)) {
            n = call(p, n);
        } else {
            break;
        }
    }
    return n;
}

/* The name of a filter or test, which may hold dots, and its row. */
static struct node *named_call(parser *p, enum op op, struct node *input)
{
    uint32_t at = p->t->at;
    if (!syntax_at(p, TOK_NAME)) return syntax_expected(p, "a name");
    view whole = p->t++->text;
    while (syntax_at(p, TOK_DOT) && p->t[1].type == TOK_NAME) {
        whole.len_bytes = (size_t)(p->t[1].text.ptr + p->t[1].text.len_bytes - whole.ptr);
        p->t += 2;
    }
    struct node *n = syntax_node(p, op, at);
    if (n == NULL || !syntax_intern(p, whole, &n->name)) return NULL;
    n->as.call.input = input;
    n->as.call.builtin = op == OP_FILTER ? builtin_filter(whole) : builtin_test(whole);
    return n;
}

/* A filter is a call with what stands before it as its first argument. */
struct node *syntax_filter(parser *p, struct node *input)
{
    struct node *n = named_call(p, OP_FILTER, input);
    if (n != NULL && syntax_at(p, TOK_LPAREN) && !arguments(p, &n->as.call.arguments)) return NULL;
    return n;
}

/* "is [not] name", with arguments in parentheses or one primary without. */
static struct node *test(parser *p, struct node *input)
{
    uint32_t at = p->t++->at;
    bool negated = syntax_skip_name(p, "not");
    struct node *n = named_call(p, OP_TEST, input);
    if (n == NULL) return NULL;
    enum token_type next = p->t->type;
    bool operand = next == TOK_STRING || next == TOK_INTEGER || next == TOK_FLOAT || next == TOK_LBRACKET ||
                   next == TOK_LBRACE ||
                   (next == TOK_NAME && !syntax_at_name(p, "else") && !syntax_at_name(p, "or") &&
                    !syntax_at_name(p, "and"));
    if (syntax_at(p, TOK_LPAREN)) {
        if (!arguments(p, &n->as.call.arguments)) return NULL;
    } else if (operand) {
        if (syntax_at_name(p, "is")) return syntax_null(p, p->t->at, "tests cannot be chained");
        struct node *arg = syntax_node(p, OP_ARG, p->t->at);
        if (arg == NULL || (arg->as.child[0] = postfix(p, primary(p))) == NULL) return NULL;
        n->as.call.arguments = arg;
    }
    if (!negated) return n;
    struct node *not = syntax_node(p, OP_NOT, at);
    if (not != NULL) not ->as.child[0] = n;
    return not ;
}

/* A sign binds tighter than a filter: -1|abs is 1. */
static struct node *unary(parser *p, bool filters)
{
    struct node *n;
    if (!syntax_deeper(p)) return NULL;
    if (syntax_at(p, TOK_SUB) || syntax_at(p, TOK_ADD)) {
        n = syntax_node(p, syntax_at(p, TOK_SUB) ? OP_NEGATE : OP_PLUS, p->t->at);
        p->t++;
        if (n != NULL && (n->as.child[0] = unary(p, false)) == NULL) n = NULL;
    } else {
        n = primary(p);
    }
    n = postfix(p, n);
    while (filters && n != NULL) {
        if (syntax_skip(p, TOK_PIPE)) n = syntax_filter(p, n);
        else if (syntax_at_name(p, "is")) n = test(p, n);
        else if (syntax_at(p, TOK_LPAREN)) n = call(p, n);
        else break;
    }
    p->depth--;
    return n;
}

/* Binary operators, loosest first. ARITHMETIC levels make left-deep trees; CONCAT and COMPARE make one node of a chain.
 */
enum level {
    LEVEL_OR,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_SUM,
    LEVEL_CONCAT,
    LEVEL_PRODUCT,
    LEVEL_POWER,
    LEVEL_UNARY
};

static struct node *binary(parser *p, enum level level);

static bool skip_operator(parser *p, enum level level, uint8_t *flag)
{
    static const struct {
        enum token_type first, last;
    } tokens[] = {
        [LEVEL_COMPARE] = { TOK_EQ, TOK_GE },      [LEVEL_SUM] = { TOK_ADD, TOK_SUB },
        [LEVEL_CONCAT] = { TOK_TILDE, TOK_TILDE }, [LEVEL_PRODUCT] = { TOK_MUL, TOK_MOD },
        [LEVEL_POWER] = { TOK_POW, TOK_POW },
    };
    *flag = (uint8_t)p->t->type;
    if (level == LEVEL_OR) return syntax_skip_name(p, "or");
    if (level == LEVEL_AND) return syntax_skip_name(p, "and");
    if (level == LEVEL_COMPARE && syntax_at_name(p, "in")) {
        *flag = OPERAND_IN;
        p->t++;
        return true;
    }
    if (level == LEVEL_COMPARE && syntax_at_name(p, "not") && p->t[1].type == TOK_NAME && view_is(p->t[1].text, "in")) {
        *flag = OPERAND_NOT_IN;
        p->t += 2;
        return true;
    }
    if (p->t->type < tokens[level].first || p->t->type > tokens[level].last) return false;
    p->t++;
    return true;
}

/* The rest of "first ~ b ~ c" or "first < b <= c", as one node with a list. */
static struct node *chain(parser *p, enum level level, struct node *first)
{
    struct node *n = NULL, *last = NULL;
    uint8_t flag;
    for (uint32_t at = p->t->at; first != NULL && skip_operator(p, level, &flag); at = p->t->at) {
        if (n == NULL && (n = syntax_node(p, level == LEVEL_CONCAT ? OP_CONCAT : OP_COMPARE, at)) == NULL) return NULL;
        if (level == LEVEL_CONCAT && last == NULL) syntax_append(&n->as.child[0], &last, first);
        struct node *item = binary(p, (enum level)(level + 1));
        if (item == NULL) return NULL;
        if (level == LEVEL_COMPARE) {
            struct node *operand = syntax_node(p, OP_OPERAND, at);
            if (operand == NULL) return NULL;
            operand->flag = flag;
            operand->as.child[0] = item;
            n->as.child[0] = first;
            syntax_append(&n->as.child[1], &last, operand);
        } else {
            syntax_append(&n->as.child[0], &last, item);
        }
    }
    return n == NULL ? first : n;
}

static struct node *binary(parser *p, enum level level)
{
    if (level == LEVEL_UNARY) return unary(p, true);
    if (level == LEVEL_NOT) {
        if (!syntax_at_name(p, "not")) return binary(p, LEVEL_COMPARE);
        struct node *n = syntax_node(p, OP_NOT, p->t++->at);
        if (n == NULL || !syntax_deeper(p)) return NULL;
        n->as.child[0] = binary(p, LEVEL_NOT);
        p->depth--;
        return n->as.child[0] == NULL ? NULL : n;
    }
    struct node *left = binary(p, (enum level)(level + 1));
    if (level == LEVEL_CONCAT || level == LEVEL_COMPARE) return chain(p, level, left);
    uint8_t flag;
    for (uint32_t at = p->t->at; left != NULL && skip_operator(p, level, &flag); at = p->t->at) {
        enum op op = level == LEVEL_OR ? OP_OR : level == LEVEL_AND ? OP_AND : OP_ARITHMETIC;
        left = syntax_node2(p, op, at, left, binary(p, (enum level)(level + 1)));
        if (left != NULL) left->flag = flag;
    }
    return left;
}

/* In a for or if tag an "if" belongs to the tag. */
struct node *syntax_no_condition(parser *p)
{
    return binary(p, LEVEL_OR);
}

/* The loosest level: a if b else c, which nests to the right. */
struct node *syntax_expression(parser *p)
{
    if (!syntax_deeper(p)) return NULL;
    struct node *n = binary(p, LEVEL_OR);
    while (n != NULL && syntax_at_name(p, "if")) {
        uint32_t at = p->t++->at;
        struct node *condition = syntax_node2(p, OP_CONDITION, at, binary(p, LEVEL_OR), n);
        if (condition == NULL) return NULL;
        if (syntax_skip_name(p, "else") && (condition->as.child[2] = syntax_expression(p)) == NULL) return NULL;
        n = condition;
    }
    p->depth--;
    return n;
}

static bool tuple_ends(const parser *p)
{
    static const enum token_type ends[] = { TOK_PRINT_END, TOK_BLOCK_END, TOK_RPAREN, TOK_RBRACKET,
                                            TOK_COLON,     TOK_ASSIGN,    TOK_END };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (syntax_at(p, ends[i])) return true;
    return syntax_at_name(p, "in") || syntax_at_name(p, "recursive");
}

/* One expression, or several with commas: a tuple. "()" is one only in parentheses. */
struct node *syntax_tuple(parser *p, bool parentheses, struct node *(*item)(parser *))
{
    struct node *first = NULL, *last = NULL;
    uint32_t at = p->t->at;
    bool comma = false;
    while (!tuple_ends(p)) {
        struct node *n = item(p);
        if (n == NULL) return NULL;
        syntax_append(&first, &last, n);
        if (!syntax_skip(p, TOK_COMMA)) break;
        comma = true;
    }
    if (!comma && first != NULL) return first;
    if (first == NULL && !parentheses) return syntax_expected(p, "an expression");
    struct node *n = syntax_node(p, OP_TUPLE, at);
    if (n != NULL) n->as.child[0] = first;
    return n;
}
