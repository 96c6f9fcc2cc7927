/* Tokens to a tree: Jinja's grammar, by recursive descent. Binary operators stand in one table, loosest first; what is
 * tighter than all of them (sign, subscript, call, filter, test) is written out. Left-recursive chains become left-deep
 * trees, whose depth evaluation bounds; "~" and comparisons become lists. */
#include "template/ast.h"

#include "base/utf8.h"

#include <assert.h>
#include <stdio.h>

enum { NAMES_MAX = 4096, SLOTS = 2 * NAMES_MAX };

typedef struct parser {
    view source;
    const struct token *t; /* the next token; the last one is TOK_END and never passed */
    arena *arena;
    err *e;
    struct name *names;
    size_t name_count;
    uint16_t *slots;   /* 1 + the number of a name, at the hash of its text or behind */
    size_t depth;      /* of the recursion */
    size_t loops;      /* open for statements of this body: break and continue are allowed */
    uint8_t macro_use; /* MACRO_*: names seen since the innermost macro began */
} parser;

static bool parse_fail(const parser *p, uint32_t at, const char *reason)
{
    return template_fail(p->source, at, ERR_VALUE, p->e, reason);
}

static void *null_fail(const parser *p, uint32_t at, const char *reason)
{
    parse_fail(p, at, reason);
    return NULL;
}

static struct node *expected(const parser *p, const char *what)
{
    char reason[120];
    snprintf(reason, sizeof reason, "%s expected, not \"%.*s\"", what,
             (int)(p->t->text.len_bytes > 40 ? 40 : p->t->text.len_bytes), (const char *)p->t->text.ptr);
    return null_fail(p, p->t->at, p->t->type == TOK_END ? "the template ends inside a block" : reason);
}

static struct node *new_node(parser *p, enum op op, uint32_t at)
{
    struct node *n = ARENA_ARRAY(p->arena, struct node, 1, "template node", p->e);
    if (n == NULL) return NULL;
    n->op = (uint8_t)op;
    n->at = at;
    return n;
}

static struct node *node2(parser *p, enum op op, uint32_t at, struct node *a, struct node *b)
{
    struct node *n = a == NULL || b == NULL ? NULL : new_node(p, op, at);
    if (n == NULL) return NULL;
    n->as.child[0] = a;
    n->as.child[1] = b;
    return n;
}

static struct node *literal(parser *p, uint32_t at, value v)
{
    struct node *n = new_node(p, OP_LITERAL, at);
    if (n == NULL) return NULL;
    n->as.literal = v;
    n->as.literal.origin = ORIGIN_TEMPLATE;
    return n;
}

/* The number of a name, the same for the same text. */
static bool intern(parser *p, view text, uint32_t *out)
{
    uint32_t slot = 2166136261u; /* FNV-1a; half of the slots stay empty, so a search ends soon */
    for (size_t i = 0; i < text.len_bytes; i++) slot = (slot ^ text.ptr[i]) * 16777619u;
    for (slot = (slot ^ slot >> 15) % SLOTS; p->slots[slot] != 0; slot = (slot + 1) % SLOTS) {
        *out = p->slots[slot] - 1u;
        if (view_equal(p->names[*out].text, text)) return true;
    }
    if (p->name_count == NAMES_MAX)
        return template_fail(p->source, p->t->at, ERR_LIMIT, p->e, "more names than the limit of 4096");
    *out = (uint32_t)p->name_count++;
    p->slots[slot] = (uint16_t)(*out + 1);
    p->names[*out] = (struct name){ text, builtin_method(STRING, text), builtin_method(LIST, text),
                                    builtin_method(DICT, text) };
    return true;
}

static bool deeper(parser *p)
{
    if (++p->depth <= TEMPLATE_NEST_MAX) return true;
    return template_fail(p->source, p->t->at, ERR_LIMIT, p->e, "nested deeper than the limit of 100");
}

static bool at_type(const parser *p, enum token_type type)
{
    return p->t->type == type;
}

static bool at_name(const parser *p, const char *name)
{
    return p->t->type == TOK_NAME && view_is(p->t->text, name);
}

static bool skip_type(parser *p, enum token_type type)
{
    if (p->t->type != type) return false;
    p->t++;
    return true;
}

static bool skip_name(parser *p, const char *name)
{
    if (!at_name(p, name)) return false;
    p->t++;
    return true;
}

static bool want_type(parser *p, enum token_type type, const char *what)
{
    return skip_type(p, type) || expected(p, what) != NULL;
}

/* Adds to a list that `head` (its owner's child) begins and `*last` ends. */
static void append(struct node **head, struct node **last, struct node *n)
{
    if (*last == NULL) *head = n;
    else (*last)->next = n;
    *last = n;
}

/* ---- expressions ---- */

static struct node *expression(parser *p);
static struct node *tuple(parser *p, bool parentheses, struct node *(*item)(parser *));
static struct node *unary(parser *p, bool filters);
static struct node *filter(parser *p, struct node *input);

static struct node *number_literal(parser *p)
{
    char digits[JSON_NUMBER_BYTES_MAX];
    size_t len = 0;
    const struct token *t = p->t++;
    for (size_t i = 0; i < t->text.len_bytes; i++) {
        if (t->text.ptr[i] == '_') continue;
        if (len == sizeof digits) return null_fail(p, t->at, "number too long");
        digits[len++] = (char)t->text.ptr[i];
    }
    if (t->type == TOK_FLOAT) return literal(p, t->at, of_float(json_parse_double((view){ (uint8_t *)digits, len })));
    uint8_t kind = len > 1 ? (uint8_t)(digits[1] | 32) : 0;
    int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    int64_t n = 0;
    for (size_t i = base == 10 ? 0 : 2; i < len; i++) {
        int digit = digits[i] <= '9' ? digits[i] - '0' : (digits[i] | 32) - 'a' + 10;
        if (!__builtin_mul_overflow(n, base, &n) && !__builtin_add_overflow(n, digit, &n)) continue;
        view copy;
        if (base != 10) return null_fail(p, t->at, "number over 64 bits");
        if (!arena_copy(p->arena, (view){ (uint8_t *)digits, len }, &copy, "template number", p->e)) return NULL;
        value big = of_view(copy, ORIGIN_TEMPLATE);
        big.kind = BIG_INT;
        return literal(p, t->at, big);
    }
    return literal(p, t->at, of_int(n));
}

/* Adjacent string literals join. */
static struct node *string_literal(parser *p)
{
    const struct token *first = p->t++;
    view text = first->text;
    if (at_type(p, TOK_STRING)) {
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
    return literal(p, first->at, of_view(text, ORIGIN_TEMPLATE));
}

static struct node *name(parser *p)
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
            return literal(p, t->at, constants[i].kind == NONE ? of_kind(NONE) : of_bool(constants[i].truth));
    struct node *n = new_node(p, OP_NAME, t->at);
    if (n == NULL || !intern(p, t->text, &n->name)) return NULL;
    if (view_is(t->text, "varargs")) p->macro_use |= MACRO_VARARGS;
    if (view_is(t->text, "kwargs")) p->macro_use |= MACRO_KWARGS;
    if (view_is(t->text, "caller")) p->macro_use |= MACRO_CALLER;
    return n;
}

/* [a, b] and {k: v, ...}, a comma at the end allowed. */
static struct node *display(parser *p, bool dict)
{
    enum token_type closer = dict ? TOK_RBRACE : TOK_RBRACKET;
    struct node *n = new_node(p, dict ? OP_DICT : OP_LIST, p->t++->at), *last = NULL;
    while (n != NULL && !skip_type(p, closer)) {
        if (last != NULL && (!want_type(p, TOK_COMMA, "a comma") || skip_type(p, closer))) break;
        for (int i = 0; i < (dict ? 2 : 1); i++) {
            if (i == 1 && !want_type(p, TOK_COLON, "a colon")) return NULL;
            struct node *item = expression(p);
            if (item == NULL) return NULL;
            append(&n->as.child[0], &last, item);
        }
    }
    return p->e->code == ERR_NONE ? n : NULL;
}

static struct node *primary(parser *p)
{
    struct node *n;
    switch (p->t->type) {
    case TOK_NAME:
        return name(p);
    case TOK_STRING:
        return string_literal(p);
    case TOK_INTEGER:
    case TOK_FLOAT:
        return number_literal(p);
    case TOK_LPAREN:
        p->t++;
        n = tuple(p, true, expression);
        return n != NULL && want_type(p, TOK_RPAREN, "a closing parenthesis") ? n : NULL;
    case TOK_LBRACKET:
    case TOK_LBRACE:
        return display(p, at_type(p, TOK_LBRACE));
    default:
        return expected(p, "an expression");
    }
}

/* The arguments of a call, from "(" on, into *out. */
static bool arguments(parser *p, struct node **out)
{
    struct node *last = NULL;
    uint8_t highest = ARG_PLAIN; /* plain ones come first, then named, then * and ** */
    size_t count = 0;
    for (p->t++; !skip_type(p, TOK_RPAREN);) {
        if (last != NULL && !want_type(p, TOK_COMMA, "a comma")) return false;
        if (last != NULL && skip_type(p, TOK_RPAREN)) break;
        struct node *arg = new_node(p, OP_ARG, p->t->at);
        if (arg == NULL) return false;
        if (++count > TEMPLATE_ARGS_MAX)
            return template_fail(p->source, arg->at, ERR_LIMIT, p->e, "more than 64 arguments");
        if (skip_type(p, TOK_MUL)) {
            arg->flag = ARG_STAR;
        } else if (skip_type(p, TOK_POW)) {
            arg->flag = ARG_STAR_STAR;
        } else if (at_type(p, TOK_NAME) && p->t[1].type == TOK_ASSIGN) {
            arg->flag = ARG_NAMED;
            if (!intern(p, p->t->text, &arg->name)) return false;
            p->t += 2;
        }
        bool twice = arg->flag >= ARG_STAR && arg->flag <= highest;
        if (twice || (arg->flag == ARG_PLAIN && highest > ARG_PLAIN) || highest == ARG_STAR_STAR)
            return parse_fail(p, arg->at, "this argument cannot follow the one before");
        if (arg->flag > highest) highest = arg->flag;
        arg->as.child[0] = expression(p);
        if (arg->as.child[0] == NULL) return false;
        append(out, &last, arg);
    }
    return true;
}

static struct node *call(parser *p, struct node *callee)
{
    struct node *n = new_node(p, OP_CALL, p->t->at);
    if (n == NULL) return NULL;
    n->as.child[0] = callee;
    return arguments(p, &n->as.child[1]) ? n : NULL;
}

/* [start:stop:step] or [key], behind its bracket. */
static struct node *subscript(parser *p, struct node *object, uint32_t at)
{
    struct node *part[3] = { NULL, NULL, NULL };
    size_t colons = 0;
    if (!at_type(p, TOK_COLON) && (part[0] = tuple(p, false, expression)) == NULL) return NULL;
    while (colons < 2 && skip_type(p, TOK_COLON)) {
        colons++;
        if (!at_type(p, TOK_COLON) && !at_type(p, TOK_RBRACKET) && (part[colons] = expression(p)) == NULL) return NULL;
    }
    if (!want_type(p, TOK_RBRACKET, "a closing bracket")) return NULL;
    struct node *n = new_node(p, colons > 0 ? OP_SLICE : OP_ITEM, at);
    if (n == NULL) return NULL;
    n->as.child[0] = object;
    memcpy(&n->as.child[1], part, sizeof part);
    return n;
}

static struct node *attribute(parser *p, struct node *object)
{
    uint32_t at = p->t++->at;
    if (at_type(p, TOK_INTEGER)) return node2(p, OP_ITEM, at, object, number_literal(p)); /* a.0 is a[0] */
    if (!at_type(p, TOK_NAME)) return expected(p, "a name");
    struct node *n = new_node(p, OP_ATTRIBUTE, at);
    if (n == NULL || !intern(p, p->t++->text, &n->name)) return NULL;
    n->as.child[0] = object;
    return n;
}

static struct node *postfix(parser *p, struct node *n)
{
    while (n != NULL) {
        if (at_type(p, TOK_DOT)) {
            n = attribute(p, n);
        } else if (at_type(p, TOK_LBRACKET)) {
            uint32_t at = p->t++->at;
            n = subscript(p, n, at);
        } else if (at_type(p, TOK_LPAREN)) {
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
    if (!at_type(p, TOK_NAME)) return expected(p, "a name");
    view whole = p->t++->text;
    while (at_type(p, TOK_DOT) && p->t[1].type == TOK_NAME) {
        whole.len_bytes = (size_t)(p->t[1].text.ptr + p->t[1].text.len_bytes - whole.ptr);
        p->t += 2;
    }
    struct node *n = new_node(p, op, at);
    if (n == NULL || !intern(p, whole, &n->name)) return NULL;
    n->as.call.input = input;
    n->as.call.builtin = op == OP_FILTER ? builtin_filter(whole) : builtin_test(whole);
    return n;
}

static struct node *filter(parser *p, struct node *input)
{
    struct node *n = named_call(p, OP_FILTER, input);
    if (n != NULL && at_type(p, TOK_LPAREN) && !arguments(p, &n->as.call.arguments)) return NULL;
    return n;
}

/* "is [not] name", with arguments in parentheses or one primary without. */
static struct node *test(parser *p, struct node *input)
{
    uint32_t at = p->t++->at;
    bool negated = skip_name(p, "not");
    struct node *n = named_call(p, OP_TEST, input);
    if (n == NULL) return NULL;
    enum token_type next = p->t->type;
    bool operand = next == TOK_STRING || next == TOK_INTEGER || next == TOK_FLOAT || next == TOK_LBRACKET ||
                   next == TOK_LBRACE ||
                   (next == TOK_NAME && !at_name(p, "else") && !at_name(p, "or") && !at_name(p, "and"));
    if (at_type(p, TOK_LPAREN)) {
        if (!arguments(p, &n->as.call.arguments)) return NULL;
    } else if (operand) {
        if (at_name(p, "is")) return null_fail(p, p->t->at, "tests cannot be chained");
        struct node *arg = new_node(p, OP_ARG, p->t->at);
        if (arg == NULL || (arg->as.child[0] = postfix(p, primary(p))) == NULL) return NULL;
        n->as.call.arguments = arg;
    }
    if (!negated) return n;
    struct node *not = new_node(p, OP_NOT, at);
    if (not != NULL) not ->as.child[0] = n;
    return not ;
}

static struct node *unary(parser *p, bool filters)
{
    struct node *n;
    if (!deeper(p)) return NULL;
    if (at_type(p, TOK_SUB) || at_type(p, TOK_ADD)) {
        n = new_node(p, at_type(p, TOK_SUB) ? OP_NEGATE : OP_PLUS, p->t->at);
        p->t++;
        if (n != NULL && (n->as.child[0] = unary(p, false)) == NULL) n = NULL;
    } else {
        n = primary(p);
    }
    n = postfix(p, n);
    while (filters && n != NULL) {
        if (skip_type(p, TOK_PIPE)) n = filter(p, n);
        else if (at_name(p, "is")) n = test(p, n);
        else if (at_type(p, TOK_LPAREN)) n = call(p, n);
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
    if (level == LEVEL_OR) return skip_name(p, "or");
    if (level == LEVEL_AND) return skip_name(p, "and");
    if (level == LEVEL_COMPARE && at_name(p, "in")) {
        *flag = OPERAND_IN;
        p->t++;
        return true;
    }
    if (level == LEVEL_COMPARE && at_name(p, "not") && p->t[1].type == TOK_NAME && view_is(p->t[1].text, "in")) {
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
        if (n == NULL && (n = new_node(p, level == LEVEL_CONCAT ? OP_CONCAT : OP_COMPARE, at)) == NULL) return NULL;
        if (level == LEVEL_CONCAT && last == NULL) append(&n->as.child[0], &last, first);
        struct node *item = binary(p, (enum level)(level + 1));
        if (item == NULL) return NULL;
        if (level == LEVEL_COMPARE) {
            struct node *operand = new_node(p, OP_OPERAND, at);
            if (operand == NULL) return NULL;
            operand->flag = flag;
            operand->as.child[0] = item;
            n->as.child[0] = first;
            append(&n->as.child[1], &last, operand);
        } else {
            append(&n->as.child[0], &last, item);
        }
    }
    return n == NULL ? first : n;
}

static struct node *binary(parser *p, enum level level)
{
    if (level == LEVEL_UNARY) return unary(p, true);
    if (level == LEVEL_NOT) {
        if (!at_name(p, "not")) return binary(p, LEVEL_COMPARE);
        struct node *n = new_node(p, OP_NOT, p->t++->at);
        if (n == NULL || !deeper(p)) return NULL;
        n->as.child[0] = binary(p, LEVEL_NOT);
        p->depth--;
        return n->as.child[0] == NULL ? NULL : n;
    }
    struct node *left = binary(p, (enum level)(level + 1));
    if (level == LEVEL_CONCAT || level == LEVEL_COMPARE) return chain(p, level, left);
    uint8_t flag;
    for (uint32_t at = p->t->at; left != NULL && skip_operator(p, level, &flag); at = p->t->at) {
        enum op op = level == LEVEL_OR ? OP_OR : level == LEVEL_AND ? OP_AND : OP_ARITHMETIC;
        left = node2(p, op, at, left, binary(p, (enum level)(level + 1)));
        if (left != NULL) left->flag = flag;
    }
    return left;
}

static struct node *no_condition(parser *p)
{
    return binary(p, LEVEL_OR);
}

static struct node *expression(parser *p)
{
    if (!deeper(p)) return NULL;
    struct node *n = binary(p, LEVEL_OR);
    while (n != NULL && at_name(p, "if")) {
        uint32_t at = p->t++->at;
        struct node *condition = node2(p, OP_CONDITION, at, binary(p, LEVEL_OR), n);
        if (condition == NULL) return NULL;
        if (skip_name(p, "else") && (condition->as.child[2] = expression(p)) == NULL) return NULL;
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
        if (at_type(p, ends[i])) return true;
    return at_name(p, "in") || at_name(p, "recursive");
}

/* One expression, or several with commas: a tuple. "()" is one only in parentheses. */
static struct node *tuple(parser *p, bool parentheses, struct node *(*item)(parser *))
{
    struct node *first = NULL, *last = NULL;
    uint32_t at = p->t->at;
    bool comma = false;
    while (!tuple_ends(p)) {
        struct node *n = item(p);
        if (n == NULL) return NULL;
        append(&first, &last, n);
        if (!skip_type(p, TOK_COMMA)) break;
        comma = true;
    }
    if (!comma && first != NULL) return first;
    if (first == NULL && !parentheses) return expected(p, "an expression");
    struct node *n = new_node(p, OP_TUPLE, at);
    if (n != NULL) n->as.child[0] = first;
    return n;
}

/* ---- statements ---- */

static bool body(parser *p, const char *const *ends, struct node **out);

/* What stands between a tag and the one that ends it; `end` may be followed by more words only where `more`. */
static bool block(parser *p, struct node **out, const char *end)
{
    const char *const ends[] = { end, NULL };
    skip_type(p, TOK_COLON);
    if (!want_type(p, TOK_BLOCK_END, "the end of the tag") || !body(p, ends, out)) return false;
    p->t++; /* the word `end` */
    return true;
}

/* A block whose names and breaks are its own: bodies of macros, calls, filters, set blocks. */
static bool own_block(parser *p, struct node **out, const char *end)
{
    size_t loops = p->loops;
    p->loops = 0;
    bool good = block(p, out, end);
    p->loops = loops;
    return good;
}

/* A name, a tuple of targets, or namespace.field. */
static struct node *target_item(parser *p)
{
    if (at_type(p, TOK_LPAREN)) {
        p->t++;
        if (!deeper(p)) return NULL;
        struct node *n = tuple(p, true, target_item);
        p->depth--;
        return n != NULL && want_type(p, TOK_RPAREN, "a closing parenthesis") ? n : NULL;
    }
    if (!at_type(p, TOK_NAME)) return expected(p, "a name to set");
    if (p->t[1].type != TOK_DOT) {
        struct node *n = name(p);
        return n == NULL || n->op == OP_NAME ? n : null_fail(p, n->at, "a constant cannot be set");
    }
    struct node *n = new_node(p, OP_NAMESPACE_FIELD, p->t->at);
    if (n == NULL || !intern(p, p->t->text, &n->name)) return NULL;
    p->t += 2;
    if (!at_type(p, TOK_NAME)) return expected(p, "a name");
    n->as.literal = of_view(p->t++->text, ORIGIN_TEMPLATE);
    return n;
}

static struct node *capture(parser *p, uint32_t at)
{
    return new_node(p, OP_CAPTURE, at);
}

/* {% set a = x %}, or {% set a | filters %}text{% endset %}. */
static struct node *parse_set(parser *p, uint32_t at)
{
    struct node *target = tuple(p, false, target_item);
    if (target == NULL) return NULL;
    if (skip_type(p, TOK_ASSIGN)) return node2(p, OP_SET, at, target, tuple(p, false, expression));
    struct node *text = capture(p, at), *filtered = text;
    while (filtered != NULL && skip_type(p, TOK_PIPE)) filtered = filter(p, filtered);
    if (filtered == NULL || !own_block(p, &text->as.child[0], "endset")) return NULL;
    return node2(p, OP_SET, at, target, filtered);
}

static struct node *parse_filter_block(parser *p, uint32_t at)
{
    struct node *text = capture(p, at), *filtered = text == NULL ? NULL : filter(p, text), *n;
    while (filtered != NULL && skip_type(p, TOK_PIPE)) filtered = filter(p, filtered);
    if (filtered == NULL || !own_block(p, &text->as.child[0], "endfilter") || (n = new_node(p, OP_PRINT, at)) == NULL)
        return NULL;
    n->as.child[0] = filtered;
    return n;
}

static struct node *parse_if(parser *p, uint32_t at)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    struct node *n = new_node(p, OP_IF, at), *outer = n;
    for (;;) {
        if (n == NULL || (n->as.child[0] = tuple(p, false, no_condition)) == NULL) return NULL;
        skip_type(p, TOK_COLON);
        if (!want_type(p, TOK_BLOCK_END, "the end of the tag") || !body(p, ends, &n->as.child[1])) return NULL;
        if (skip_name(p, "endif")) return outer;
        if (skip_name(p, "else")) return block(p, &n->as.child[2], "endif") ? outer : NULL;
        struct node *next = new_node(p, OP_IF, p->t++->at);
        if (next == NULL) return NULL;
        next->flag = 1;
        n->as.child[2] = next;
        n = next;
    }
}

static struct node *parse_for(parser *p, uint32_t at)
{
    static const char *const ends[] = { "else", "endfor", NULL };
    struct node *n = new_node(p, OP_FOR, at), *rest = new_node(p, OP_FOR_REST, at);
    if (n == NULL || rest == NULL || (n->as.child[0] = tuple(p, false, target_item)) == NULL) return NULL;
    if (!skip_name(p, "in")) return expected(p, "\"in\"");
    n->as.child[3] = rest;
    if ((n->as.child[1] = tuple(p, false, no_condition)) == NULL) return NULL;
    if (skip_name(p, "if") && (rest->as.child[0] = expression(p)) == NULL) return NULL;
    n->flag = skip_name(p, "recursive");
    skip_type(p, TOK_COLON);
    p->loops++;
    bool good = want_type(p, TOK_BLOCK_END, "the end of the tag") && body(p, ends, &n->as.child[2]);
    p->loops--;
    if (!good) return NULL;
    if (skip_name(p, "endfor")) return n;
    p->t++;
    return block(p, &rest->as.child[1], "endfor") ? n : NULL;
}

/* The parameters in parentheses of a macro or call block. */
static bool parameters(parser *p, struct node **out)
{
    struct node *last = NULL;
    for (p->t++; !skip_type(p, TOK_RPAREN);) {
        if (last != NULL && !want_type(p, TOK_COMMA, "a comma")) return false;
        struct node *n = new_node(p, OP_PARAM, p->t->at);
        if (n == NULL || !at_type(p, TOK_NAME) || !intern(p, p->t->text, &n->name))
            return expected(p, "a name") != NULL;
        p->t++;
        if (skip_type(p, TOK_ASSIGN)) {
            if ((n->as.child[0] = expression(p)) == NULL) return false;
        } else if (last != NULL && last->as.child[0] != NULL) {
            return parse_fail(p, n->at, "parameter without a default after one with");
        }
        append(out, &last, n);
    }
    return true;
}

/* The body of `macro` up to `end`, and which of the special names it uses. */
static bool macro_body(parser *p, struct node *macro, const char *end)
{
    uint8_t outside = p->macro_use;
    p->macro_use = 0;
    bool good = own_block(p, &macro->as.child[1], end);
    macro->flag = p->macro_use;
    p->macro_use = outside;
    return good;
}

static struct node *parse_macro(parser *p, uint32_t at)
{
    struct node *n = new_node(p, OP_MACRO, at);
    if (!at_type(p, TOK_NAME)) return expected(p, "the name of the macro");
    if (n == NULL || !intern(p, p->t++->text, &n->name)) return NULL;
    if (!at_type(p, TOK_LPAREN)) return expected(p, "an opening parenthesis");
    return parameters(p, &n->as.child[0]) && macro_body(p, n, "endmacro") ? n : NULL;
}

static struct node *parse_call(parser *p, uint32_t at)
{
    struct node *macro = new_node(p, OP_MACRO, at);
    if (macro == NULL || !intern(p, view_of("caller"), &macro->name)) return NULL;
    if (at_type(p, TOK_LPAREN) && !parameters(p, &macro->as.child[0])) return NULL;
    struct node *called = expression(p);
    if (called == NULL) return NULL;
    if (called->op != OP_CALL) return null_fail(p, at, "a call expected");
    return macro_body(p, macro, "endcall") ? node2(p, OP_CALL_BLOCK, at, called, macro) : NULL;
}

static struct node *parse_with(parser *p, uint32_t at)
{
    struct node *n = new_node(p, OP_WITH, at), *last = NULL;
    while (n != NULL && !at_type(p, TOK_BLOCK_END)) {
        if (last != NULL && !want_type(p, TOK_COMMA, "a comma")) return NULL;
        struct node *target = target_item(p);
        if (target == NULL || !want_type(p, TOK_ASSIGN, "\"=\"")) return NULL;
        struct node *set = node2(p, OP_SET, target->at, target, expression(p));
        if (set == NULL) return NULL;
        append(&n->as.child[0], &last, set);
    }
    return n != NULL && block(p, &n->as.child[1], "endwith") ? n : NULL;
}

static struct node *scope(parser *p, uint32_t at, const char *end)
{
    struct node *n = new_node(p, OP_SCOPE, at);
    return n != NULL && own_block(p, &n->as.child[0], end) ? n : NULL;
}

static struct node *parse_generation(parser *p, uint32_t at)
{
    return scope(p, at, "endgeneration");
}

static struct node *parse_block(parser *p, uint32_t at)
{
    if (!at_type(p, TOK_NAME)) return expected(p, "the name of the block");
    view own = p->t++->text;
    skip_name(p, "scoped");
    struct node *n = scope(p, at, "endblock");
    if (n != NULL && at_type(p, TOK_NAME) && view_equal(p->t->text, own)) p->t++;
    return n;
}

static struct node *parse_break(parser *p, uint32_t at)
{
    bool goes_on = view_is(p->t[-1].text, "continue");
    return p->loops == 0 ? null_fail(p, at, "outside of a loop") : new_node(p, goes_on ? OP_CONTINUE : OP_BREAK, at);
}

static struct node *statement(parser *p)
{
    static const struct {
        const char *word;
        struct node *(*parse)(parser *p, uint32_t at);
    } statements[] = {
        { "set", parse_set },
        { "if", parse_if },
        { "for", parse_for },
        { "macro", parse_macro },
        { "call", parse_call },
        { "with", parse_with },
        { "filter", parse_filter_block },
        { "block", parse_block },
        { "break", parse_break },
        { "continue", parse_break },
        { "generation", parse_generation },
    };
    uint32_t at = p->t->at;
    if (!at_type(p, TOK_NAME)) return expected(p, "the name of a statement");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (skip_name(p, statements[i].word)) return statements[i].parse(p, at);
    return expected(p, "the name of a statement");
}

/* Text, prints and statements up to a tag that begins with one of `ends`: the next token is then that word. Without
 * `ends`, up to the end of the template. */
static bool body(parser *p, const char *const *ends, struct node **out)
{
    struct node *last = NULL;
    if (!deeper(p)) return false;
    for (;;) {
        struct node *n = NULL;
        const struct token *t = p->t;
        if (t->type == TOK_END) {
            p->depth--;
            return ends == NULL || expected(p, ends[0]) != NULL;
        }
        p->t++;
        if (t->type == TOK_DATA) {
            n = literal(p, t->at, of_view(t->text, ORIGIN_TEMPLATE));
            if (n != NULL) n->op = OP_DATA;
        } else if (t->type == TOK_PRINT_BEGIN) {
            struct node *printed = tuple(p, false, expression);
            if (printed == NULL || !want_type(p, TOK_PRINT_END, "the end of the tag")) return false;
            n = new_node(p, OP_PRINT, t->at);
            if (n != NULL) n->as.child[0] = printed;
        } else {
            for (size_t i = 0; ends != NULL && ends[i] != NULL; i++) {
                if (!at_name(p, ends[i])) continue;
                p->depth--;
                return true;
            }
            n = statement(p);
            if (n == NULL || !want_type(p, TOK_BLOCK_END, "the end of the tag")) return false;
        }
        if (n == NULL) return false;
        append(out, &last, n);
    }
}

/* The source with '\n' for every line end, and without the last of them. */
static bool normalize(view source, arena *a, view *out, err *e)
{
    uint8_t *copy = arena_take(a, source.len_bytes + 1, 1, 1, "template source", e);
    if (copy == NULL) return false;
    size_t len = 0;
    for (size_t i = 0; i < source.len_bytes; i++) {
        bool cr = source.ptr[i] == '\r';
        if (cr && i + 1 < source.len_bytes && source.ptr[i + 1] == '\n') i++;
        copy[len++] = cr ? '\n' : source.ptr[i];
    }
    if (len > 0 && copy[len - 1] == '\n') len--;
    *out = (view){ copy, len };
    return true;
}

bool template_parse(view source, arena *a, const chat_template **out, err *e)
{
    if (source.len_bytes > TEMPLATE_BYTES_MAX)
        return fail(e, ERR_LIMIT, 0, "template: %zu bytes, at most %d", source.len_bytes, TEMPLATE_BYTES_MAX);
    size_t valid = utf8_valid_bytes(source), count;
    if (valid < source.len_bytes) return fail(e, ERR_VALUE, valid, "template, byte %zu: not UTF-8", valid);
    struct chat_template *t = ARENA_ARRAY(a, struct chat_template, 1, "template", e);
    struct name *names = ARENA_ARRAY(a, struct name, NAMES_MAX, "template names", e);
    uint16_t *slots = ARENA_ARRAY(a, uint16_t, SLOTS, "template names", e);
    struct token *tokens;
    if (t == NULL || names == NULL || slots == NULL || !normalize(source, a, &t->source, e)) return false;
    if (!template_lex(t->source, a, &tokens, &count, e)) return false;
    parser p = { .source = t->source, .t = tokens, .arena = a, .e = e, .names = names, .slots = slots };
    if (!intern(&p, view_of("varargs"), &t->varargs) || !intern(&p, view_of("kwargs"), &t->kwargs) ||
        !intern(&p, view_of("caller"), &t->caller) || !intern(&p, view_of("loop"), &t->loop) ||
        !body(&p, NULL, &t->body))
        return false;
    t->names = names;
    t->name_count = p.name_count;
    *out = t;
    return true;
}
