/* Tokens to a tree: the statements of Jinja's grammar, by recursive descent; expressions are in expression.c. */
#include "template/parse.h"

#include "base/utf8.h"

#include <stdio.h>

enum { NAMES_MAX = 4096, SLOTS = 2 * NAMES_MAX };

bool syntax_fail(const parser *p, uint32_t at, const char *reason)
{
    return template_fail(p->source, at, ERR_VALUE, p->e, reason);
}

void *syntax_null(const parser *p, uint32_t at, const char *reason)
{
    syntax_fail(p, at, reason);
    return NULL;
}

/* The one message about syntax: what would have been right, and what stands there. */
struct node *syntax_expected(const parser *p, const char *what)
{
    char reason[120];
    snprintf(reason, sizeof reason, "%s expected, not \"%.*s\"", what,
             (int)(p->t->text.len_bytes > 40 ? 40 : p->t->text.len_bytes), (const char *)p->t->text.ptr);
    return syntax_null(p, p->t->at, p->t->type == TOK_END ? "the template ends inside a block" : reason);
}

struct node *syntax_node(parser *p, enum op op, uint32_t at)
{
    struct node *n = ARENA_ARRAY(p->arena, struct node, 1, "template node", p->e);
    if (n == NULL) return NULL;
    n->op = (uint8_t)op;
    n->at = at;
    return n;
}

struct node *syntax_node2(parser *p, enum op op, uint32_t at, struct node *a, struct node *b)
{
    struct node *n = a == NULL || b == NULL ? NULL : syntax_node(p, op, at);
    if (n == NULL) return NULL;
    n->as.child[0] = a;
    n->as.child[1] = b;
    return n;
}

/* Literals are the template's own text. */
struct node *syntax_literal(parser *p, uint32_t at, value v)
{
    struct node *n = syntax_node(p, OP_LITERAL, at);
    if (n == NULL) return NULL;
    n->as.literal = v;
    n->as.literal.origin = ORIGIN_TEMPLATE;
    return n;
}

/* The number of a name, the same for the same text. */
bool syntax_intern(parser *p, view text, uint32_t *out)
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

/* Bounds the C stack while parsing, and so the depth of the tree. */
bool syntax_deeper(parser *p)
{
    if (++p->depth <= TEMPLATE_NEST_MAX) return true;
    return template_fail(p->source, p->t->at, ERR_LIMIT, p->e, "nested deeper than the limit of 100");
}

bool syntax_at(const parser *p, enum token_type type)
{
    return p->t->type == type;
}

bool syntax_at_name(const parser *p, const char *name)
{
    return p->t->type == TOK_NAME && view_is(p->t->text, name);
}

bool syntax_skip(parser *p, enum token_type type)
{
    if (p->t->type != type) return false;
    p->t++;
    return true;
}

bool syntax_skip_name(parser *p, const char *name)
{
    if (!syntax_at_name(p, name)) return false;
    p->t++;
    return true;
}

bool syntax_want(parser *p, enum token_type type, const char *what)
{
    return syntax_skip(p, type) || syntax_expected(p, what) != NULL;
}

/* Adds to a list that `head` (its owner's child) begins and `*last` ends. */
void syntax_append(struct node **head, struct node **last, struct node *n)
{
    if (*last == NULL) *head = n;
    else (*last)->next = n;
    *last = n;
}

static bool body(parser *p, const char *const *ends, struct node **out);

/* What stands between a tag and the one that ends it; `end` may be followed by more words only where `more`. */
static bool block(parser *p, struct node **out, const char *end)
{
    const char *const ends[] = { end, NULL };
    syntax_skip(p, TOK_COLON);
    if (!syntax_want(p, TOK_BLOCK_END, "the end of the tag") || !body(p, ends, out)) return false;
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
    if (syntax_at(p, TOK_LPAREN)) {
        p->t++;
        if (!syntax_deeper(p)) return NULL;
        struct node *n = syntax_tuple(p, true, target_item);
        p->depth--;
        return n != NULL && syntax_want(p, TOK_RPAREN, "a closing parenthesis") ? n : NULL;
    }
    if (!syntax_at(p, TOK_NAME)) return syntax_expected(p, "a name to set");
    if (p->t[1].type != TOK_DOT) {
        struct node *n = syntax_name(p);
        return n == NULL || n->op == OP_NAME ? n : syntax_null(p, n->at, "a constant cannot be set");
    }
    struct node *n = syntax_node(p, OP_NAMESPACE_FIELD, p->t->at);
    if (n == NULL || !syntax_intern(p, p->t->text, &n->name)) return NULL;
    p->t += 2;
    if (!syntax_at(p, TOK_NAME)) return syntax_expected(p, "a name");
    n->as.literal = of_view(p->t++->text, ORIGIN_TEMPLATE);
    return n;
}

static struct node *capture(parser *p, uint32_t at)
{
    return syntax_node(p, OP_CAPTURE, at);
}

/* {% set a = x %}, or {% set a | filters %}text{% endset %}. */
static struct node *parse_set(parser *p, uint32_t at)
{
    struct node *target = syntax_tuple(p, false, target_item);
    if (target == NULL) return NULL;
    if (syntax_skip(p, TOK_ASSIGN))
        return syntax_node2(p, OP_SET, at, target, syntax_tuple(p, false, syntax_expression));
    struct node *text = capture(p, at), *filtered = text;
    while (filtered != NULL && syntax_skip(p, TOK_PIPE)) filtered = syntax_filter(p, filtered);
    if (filtered == NULL || !own_block(p, &text->as.child[0], "endset")) return NULL;
    return syntax_node2(p, OP_SET, at, target, filtered);
}

static struct node *parse_filter_block(parser *p, uint32_t at)
{
    struct node *text = capture(p, at), *filtered = text == NULL ? NULL : syntax_filter(p, text), *n;
    while (filtered != NULL && syntax_skip(p, TOK_PIPE)) filtered = syntax_filter(p, filtered);
    if (filtered == NULL || !own_block(p, &text->as.child[0], "endfilter") ||
        (n = syntax_node(p, OP_PRINT, at)) == NULL)
        return NULL;
    n->as.child[0] = filtered;
    return n;
}

/* An elif is the else of the one before, but no deeper in the tree. */
static struct node *parse_if(parser *p, uint32_t at)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    struct node *n = syntax_node(p, OP_IF, at), *outer = n;
    for (;;) {
        if (n == NULL || (n->as.child[0] = syntax_tuple(p, false, syntax_no_condition)) == NULL) return NULL;
        syntax_skip(p, TOK_COLON);
        if (!syntax_want(p, TOK_BLOCK_END, "the end of the tag") || !body(p, ends, &n->as.child[1])) return NULL;
        if (syntax_skip_name(p, "endif")) return outer;
        if (syntax_skip_name(p, "else")) return block(p, &n->as.child[2], "endif") ? outer : NULL;
        struct node *next = syntax_node(p, OP_IF, p->t++->at);
        if (next == NULL) return NULL;
        next->flag = 1;
        n->as.child[2] = next;
        n = next;
    }
}

/* The test of a loop sees its target, its else does not. */
static struct node *parse_for(parser *p, uint32_t at)
{
    static const char *const ends[] = { "else", "endfor", NULL };
    struct node *n = syntax_node(p, OP_FOR, at), *rest = syntax_node(p, OP_FOR_REST, at);
    if (n == NULL || rest == NULL || (n->as.child[0] = syntax_tuple(p, false, target_item)) == NULL) return NULL;
    if (!syntax_skip_name(p, "in")) return syntax_expected(p, "\"in\"");
    n->as.child[3] = rest;
    if ((n->as.child[1] = syntax_tuple(p, false, syntax_no_condition)) == NULL) return NULL;
    if (syntax_skip_name(p, "if") && (rest->as.child[0] = syntax_expression(p)) == NULL) return NULL;
    n->flag = syntax_skip_name(p, "recursive");
    syntax_skip(p, TOK_COLON);
    p->loops++;
    bool good = syntax_want(p, TOK_BLOCK_END, "the end of the tag") && body(p, ends, &n->as.child[2]);
    p->loops--;
    if (!good) return NULL;
    if (syntax_skip_name(p, "endfor")) return n;
    p->t++;
    return block(p, &rest->as.child[1], "endfor") ? n : NULL;
}

/* The parameters in parentheses of a macro or call block. */
static bool parameters(parser *p, struct node **out)
{
    struct node *last = NULL;
    for (p->t++; !syntax_skip(p, TOK_RPAREN);) {
        if (last != NULL && !syntax_want(p, TOK_COMMA, "a comma")) return false;
        struct node *n = syntax_node(p, OP_PARAM, p->t->at);
        if (n == NULL || !syntax_at(p, TOK_NAME) || !syntax_intern(p, p->t->text, &n->name))
            return syntax_expected(p, "a name") != NULL;
        p->t++;
        if (syntax_skip(p, TOK_ASSIGN)) {
            if ((n->as.child[0] = syntax_expression(p)) == NULL) return false;
        } else if (last != NULL && last->as.child[0] != NULL) {
            return syntax_fail(p, n->at, "parameter without a default after one with");
        }
        syntax_append(out, &last, n);
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

/* Bound where it stands, when it is reached: a macro cannot be called before. */
static struct node *parse_macro(parser *p, uint32_t at)
{
    struct node *n = syntax_node(p, OP_MACRO, at);
    if (!syntax_at(p, TOK_NAME)) return syntax_expected(p, "the name of the macro");
    if (n == NULL || !syntax_intern(p, p->t++->text, &n->name)) return NULL;
    if (!syntax_at(p, TOK_LPAREN)) return syntax_expected(p, "an opening parenthesis");
    return parameters(p, &n->as.child[0]) && macro_body(p, n, "endmacro") ? n : NULL;
}

static struct node *parse_call(parser *p, uint32_t at)
{
    struct node *macro = syntax_node(p, OP_MACRO, at);
    if (macro == NULL || !syntax_intern(p, view_of("caller"), &macro->name)) return NULL;
    if (syntax_at(p, TOK_LPAREN) && !parameters(p, &macro->as.child[0])) return NULL;
    struct node *called = syntax_expression(p);
    if (called == NULL) return NULL;
    if (called->op != OP_CALL) return syntax_null(p, at, "a call expected");
    return macro_body(p, macro, "endcall") ? syntax_node2(p, OP_CALL_BLOCK, at, called, macro) : NULL;
}

static struct node *parse_with(parser *p, uint32_t at)
{
    struct node *n = syntax_node(p, OP_WITH, at), *last = NULL;
    while (n != NULL && !syntax_at(p, TOK_BLOCK_END)) {
        if (last != NULL && !syntax_want(p, TOK_COMMA, "a comma")) return NULL;
        struct node *target = target_item(p);
        if (target == NULL || !syntax_want(p, TOK_ASSIGN, "\"=\"")) return NULL;
        struct node *set = syntax_node2(p, OP_SET, target->at, target, syntax_expression(p));
        if (set == NULL) return NULL;
        syntax_append(&n->as.child[0], &last, set);
    }
    return n != NULL && block(p, &n->as.child[1], "endwith") ? n : NULL;
}

static struct node *scope(parser *p, uint32_t at, const char *end)
{
    struct node *n = syntax_node(p, OP_SCOPE, at);
    return n != NULL && own_block(p, &n->as.child[0], end) ? n : NULL;
}

static struct node *parse_generation(parser *p, uint32_t at)
{
    return scope(p, at, "endgeneration");
}

/* There is no inheritance here, so a block is its body. */
static struct node *parse_block(parser *p, uint32_t at)
{
    if (!syntax_at(p, TOK_NAME)) return syntax_expected(p, "the name of the block");
    view own = p->t++->text;
    syntax_skip_name(p, "scoped");
    struct node *n = scope(p, at, "endblock");
    if (n != NULL && syntax_at(p, TOK_NAME) && view_equal(p->t->text, own)) p->t++;
    return n;
}

/* Outside of a loop it is an error of syntax, as in Jinja. */
static struct node *parse_break(parser *p, uint32_t at)
{
    bool goes_on = view_is(p->t[-1].text, "continue");
    return p->loops == 0 ? syntax_null(p, at, "outside of a loop")
                         : syntax_node(p, goes_on ? OP_CONTINUE : OP_BREAK, at);
}

/* A tag is its first word. */
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
    if (!syntax_at(p, TOK_NAME)) return syntax_expected(p, "the name of a statement");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (syntax_skip_name(p, statements[i].word)) return statements[i].parse(p, at);
    return syntax_expected(p, "the name of a statement");
}

/* Text, prints and statements up to a tag that begins with one of `ends`: the next token is then that word. Without
 * `ends`, up to the end of the template. */
static bool body(parser *p, const char *const *ends, struct node **out)
{
    struct node *last = NULL;
    if (!syntax_deeper(p)) return false;
    for (;;) {
        struct node *n = NULL;
        const struct token *t = p->t;
        if (t->type == TOK_END) {
            p->depth--;
            return ends == NULL || syntax_expected(p, ends[0]) != NULL;
        }
        p->t++;
        if (t->type == TOK_DATA) {
            n = syntax_literal(p, t->at, of_view(t->text, ORIGIN_TEMPLATE));
            if (n != NULL) n->op = OP_DATA;
        } else if (t->type == TOK_PRINT_BEGIN) {
            struct node *printed = syntax_tuple(p, false, syntax_expression);
            if (printed == NULL || !syntax_want(p, TOK_PRINT_END, "the end of the tag")) return false;
            n = syntax_node(p, OP_PRINT, t->at);
            if (n != NULL) n->as.child[0] = printed;
        } else {
            for (size_t i = 0; ends != NULL && ends[i] != NULL; i++) {
                if (!syntax_at_name(p, ends[i])) continue;
                p->depth--;
                return true;
            }
            n = statement(p);
            if (n == NULL || !syntax_want(p, TOK_BLOCK_END, "the end of the tag")) return false;
        }
        if (n == NULL) return false;
        syntax_append(out, &last, n);
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
    if (!syntax_intern(&p, view_of("varargs"), &t->varargs) || !syntax_intern(&p, view_of("kwargs"), &t->kwargs) ||
        !syntax_intern(&p, view_of("caller"), &t->caller) || !syntax_intern(&p, view_of("loop"), &t->loop) ||
        !body(&p, NULL, &t->body))
        return false;
    t->names = names;
    t->name_count = p.name_count;
    *out = t;
    return true;
}

view template_source(const chat_template *t)
{
    return t->source;
}
