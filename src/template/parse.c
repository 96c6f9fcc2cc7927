/* Tokens to a tree: the statements of Jinja's grammar, by recursive descent; expressions are in expression.c. */
#include "template/syntax.h"

#include "base/utf8.h"

#include <stdio.h>

enum { NAMES_MAX = 4096, SLOTS = 2 * NAMES_MAX };

void syntax_fail(parser *p, uint32_t at, enum err_code code, const char *reason)
{
    template_fail(p->source, at, code, p->e, reason);
    p->t = p->end;
}

/* The one message about syntax: what would have been right, and what stands there. */
struct node *syntax_expected(parser *p, const char *what)
{
    char reason[120];
    snprintf(reason, sizeof reason, "%s expected, not \"%.*s\"", what, (int)min_size(p->t->text.len_bytes, 40),
             (const char *)p->t->text.ptr);
    syntax_fail(p, p->t->at, ERR_VALUE, p->t == p->end ? "the template ends inside a block" : reason);
    return &p->nothing;
}

/* Bounds the C stack while parsing, and so the depth of the tree. */
bool syntax_deeper(parser *p)
{
    if (++p->depth > TEMPLATE_NEST_MAX) syntax_fail(p, p->t->at, ERR_LIMIT, "nested deeper than the limit of 100");
    return p->e->code == ERR_NONE;
}

struct node *syntax_node(parser *p, enum op op, uint32_t at)
{
    struct node *n = ARENA_ARRAY(p->arena, struct node, 1, "template node", p->e);
    if (n == NULL) {
        p->t = p->end;
        return &p->nothing;
    }
    n->op = (uint8_t)op;
    n->at = at;
    return n;
}

void syntax_append(struct node **head, struct node **last, struct node *n)
{
    if (*last == NULL) *head = n;
    else (*last)->next = n;
    *last = n;
}

/* The same text, the same number. FNV-1a; half of the slots stay empty, so a search ends soon. */
static uint32_t intern(parser *p, view text)
{
    uint32_t slot = 2166136261u;
    for (size_t i = 0; i < text.len_bytes; i++) slot = (slot ^ text.ptr[i]) * 16777619u;
    for (slot = (slot ^ slot >> 15) % SLOTS; p->slots[slot] != 0; slot = (slot + 1) % SLOTS)
        if (view_equal(p->names[p->slots[slot] - 1u].text, text)) return p->slots[slot] - 1u;
    if (p->name_count == NAMES_MAX) {
        syntax_fail(p, p->t->at, ERR_LIMIT, "more names than the limit of 4096");
        return 0;
    }
    p->names[p->name_count].text = text;
    builtin_rows(text, p->names[p->name_count].rows);
    p->slots[slot] = (uint16_t)++p->name_count;
    return p->slots[slot] - 1u;
}

uint32_t syntax_name(parser *p)
{
    if (p->t->type == TOK_NAME) return intern(p, p->t++->text);
    syntax_expected(p, "a name");
    return 0;
}

bool syntax_at(const parser *p, const char *word)
{
    return (p->t->type == TOK_NAME || p->t->type == TOK_OPERATOR) && view_is(p->t->text, word);
}

bool syntax_skip(parser *p, const char *word)
{
    bool found = syntax_at(p, word);
    if (found) p->t++;
    return found;
}

void syntax_want(parser *p, const char *word)
{
    char what[20];
    snprintf(what, sizeof what, "\"%s\"", word);
    if (!syntax_skip(p, word)) syntax_expected(p, what);
}

bool syntax_more(parser *p, const char *closer, bool first)
{
    if (!first && !syntax_at(p, closer)) syntax_want(p, ",");
    return !syntax_skip(p, closer) && p->t != p->end;
}

static void close_tag(parser *p)
{
    syntax_skip(p, ":");
    if (p->t->type == TOK_CLOSE) p->t++;
    else syntax_expected(p, "the end of the tag");
}

static struct node *body(parser *p);

/* What stands between a tag, here at its end, and the next one that is no statement; goes behind that one's word. */
static struct node *block(parser *p, const char *end)
{
    close_tag(p);
    struct node *list = body(p);
    if (end != NULL) syntax_want(p, end);
    return list;
}

/* A block whose breaks are its own. */
static struct node *own_block(parser *p, const char *end)
{
    size_t loops = p->loops;
    p->loops = 0;
    struct node *list = block(p, end);
    p->loops = loops;
    return list;
}

/* ---- statements: each from behind its word to before the end of its last tag ---- */

/* {% set a = x %}, or {% set a | filters %}text{% endset %}. */
static void parse_set(parser *p, struct node *n)
{
    n->child[0] = syntax_tuple(p, syntax_target);
    if (syntax_skip(p, "=")) {
        n->child[1] = syntax_tuple(p, syntax_expression);
        return;
    }
    struct node *text = syntax_node(p, OP_CAPTURE, n->at);
    n->child[1] = syntax_skip(p, "|") ? syntax_filters(p, text) : text;
    text->child[0] = own_block(p, "endset");
}

static void parse_filter(parser *p, struct node *n)
{
    struct node *text = syntax_node(p, OP_CAPTURE, n->at);
    n->child[0] = syntax_filters(p, text);
    text->child[0] = own_block(p, "endfilter");
}

/* An elif is the else of the one before, but no deeper in the recursion. */
static void parse_if(parser *p, struct node *n)
{
    for (;;) {
        n->child[0] = syntax_tuple(p, syntax_expression);
        n->child[1] = block(p, NULL);
        uint32_t at = p->t->at;
        if (!syntax_skip(p, "elif")) break;
        n = n->child[2] = syntax_node(p, OP_IF, at);
        n->flag = 1;
    }
    if (syntax_skip(p, "else")) n->child[2] = block(p, NULL);
    syntax_want(p, "endif");
}

/* The test of a loop sees its target, its else does not. */
static void parse_for(parser *p, struct node *n)
{
    n->child[0] = syntax_tuple(p, syntax_target);
    syntax_want(p, "in");
    n->child[1] = syntax_tuple(p, syntax_no_condition);
    if (syntax_skip(p, "if")) n->child[3] = syntax_expression(p);
    n->flag = syntax_skip(p, "recursive");
    p->loops++;
    n->child[2] = block(p, NULL);
    p->loops--;
    if (syntax_skip(p, "else")) n->child[4] = block(p, NULL);
    syntax_want(p, "endfor");
}

/* The parameters in parentheses of a macro or call block, behind the first; then, behind `called`, the body. */
static void parameters(parser *p, struct node *macro)
{
    struct node *last = NULL;
    for (bool first = true; syntax_more(p, ")", first); first = false) {
        struct node *n = syntax_node(p, OP_PARAM, p->t->at);
        n->name = syntax_name(p);
        if (syntax_skip(p, "=")) n->child[0] = syntax_expression(p);
        else if (last != NULL && last->child[0] != NULL)
            syntax_fail(p, n->at, ERR_VALUE, "parameter without a default after one with");
        syntax_append(&macro->child[0], &last, n);
    }
}

/* The body of `macro` up to `end`, and which of the special names it mentions. */
static void macro_body(parser *p, struct node *macro, const char *end)
{
    uint8_t outside = p->mentioned;
    p->mentioned = 0;
    macro->child[1] = own_block(p, end);
    macro->flag = p->mentioned;
    p->mentioned = outside;
}

/* Bound where it stands, when it is reached: a macro cannot be called before. */
static void parse_macro(parser *p, struct node *n)
{
    n->name = syntax_name(p);
    syntax_want(p, "(");
    parameters(p, n);
    macro_body(p, n, "endmacro");
}

static void parse_call(parser *p, struct node *n)
{
    n->child[1] = syntax_node(p, OP_MACRO, n->at);
    n->child[1]->name = NAME_CALLER;
    if (syntax_skip(p, "(")) parameters(p, n->child[1]);
    n->child[0] = syntax_expression(p);
    if (n->child[0]->op != OP_CALL) syntax_fail(p, n->at, ERR_VALUE, "a call expected");
    n->child[0]->flag = 1;
    macro_body(p, n->child[1], "endcall");
}

static void parse_with(parser *p, struct node *n)
{
    struct node *last = NULL;
    while (p->t->type != TOK_CLOSE && p->t != p->end) {
        if (last != NULL) syntax_want(p, ",");
        struct node *set = syntax_node(p, OP_SET, p->t->at);
        set->child[0] = syntax_target(p);
        syntax_want(p, "=");
        set->child[1] = syntax_expression(p);
        syntax_append(&n->child[0], &last, set);
    }
    n->child[1] = block(p, "endwith");
}

/* {% generation %}, or {% block name %}: there is no inheritance here, so a block is its body. */
static void parse_scope(parser *p, struct node *n)
{
    bool named = view_is(p->t[-1].text, "block");
    uint32_t name = named ? syntax_name(p) : NAME_LOOP;
    n->child[1] = own_block(p, named ? "endblock" : "endgeneration");
    if (named && p->t->type == TOK_NAME && view_equal(p->t->text, p->names[name].text)) p->t++;
}

/* Outside of a loop it is an error of syntax, as in Jinja. */
static void parse_break(parser *p, struct node *n)
{
    n->flag = view_is(p->t[-1].text, "continue");
    if (p->loops == 0) syntax_fail(p, n->at, ERR_VALUE, "outside of a loop");
}

/* A tag is its first word. NULL, and nothing read, where it begins no statement. */
static struct node *statement(parser *p)
{
    static const struct {
        const char *word;
        enum op op;
        void (*parse)(parser *p, struct node *n);
    } statements[] = { { "set", OP_SET, parse_set },        { "if", OP_IF, parse_if },
                       { "for", OP_FOR, parse_for },        { "macro", OP_MACRO, parse_macro },
                       { "call", OP_CALLING, parse_call },  { "with", OP_WITH, parse_with },
                       { "break", OP_BREAK, parse_break },  { "continue", OP_BREAK, parse_break },
                       { "block", OP_WITH, parse_scope },   { "generation", OP_WITH, parse_scope },
                       { "filter", OP_PRINT, parse_filter } };
    uint32_t at = p->t->at;
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!syntax_skip(p, statements[i].word)) continue;
        struct node *n = syntax_node(p, statements[i].op, at);
        statements[i].parse(p, n);
        close_tag(p);
        return n;
    }
    return NULL;
}

/* Text, prints and statements up to the word of a tag that is no statement, or the end of the template. */
static struct node *body(parser *p)
{
    struct node *list = NULL, *last = NULL;
    bool good = syntax_deeper(p);
    while (good && p->t != p->end) {
        const struct token *t = p->t++;
        struct node *n = t->type == TOK_BLOCK ? statement(p)
                                              : syntax_node(p, t->type == TOK_DATA ? OP_DATA : OP_PRINT, t->at);
        if (n == NULL) break;
        if (t->type == TOK_DATA) n->literal = of_view(t->text, ORIGIN_TEMPLATE);
        if (t->type == TOK_PRINT) {
            n->child[0] = syntax_tuple(p, syntax_expression);
            close_tag(p);
        }
        syntax_append(&list, &last, n);
    }
    p->depth--;
    return list;
}

/* The source with '\n' for every line end, and without the last of them. */
static bool normalize(view source, arena *a, view *out, err *e)
{
    uint8_t *copy = ARENA_ARRAY(a, uint8_t, source.len_bytes + 1, "template source", e);
    size_t len = 0;
    for (size_t i = 0; copy != NULL && i < source.len_bytes; i++) {
        bool cr = source.ptr[i] == '\r';
        if (cr && i + 1 < source.len_bytes && source.ptr[i + 1] == '\n') i++;
        copy[len++] = cr ? '\n' : source.ptr[i];
    }
    if (len > 0 && copy[len - 1] == '\n') len--;
    *out = (view){ copy, len };
    return copy != NULL;
}

bool template_parse(view source, arena *a, const chat_template **out, err *e)
{
    static const char *const special[] = { "varargs", "kwargs", "caller", "loop" }; /* ORDER special_name */
    size_t valid = utf8_valid_bytes(source);
    if (source.len_bytes > TEMPLATE_BYTES_MAX)
        return fail(e, ERR_LIMIT, 0, "template: %zu bytes, at most %d", source.len_bytes, TEMPLATE_BYTES_MAX);
    if (valid < source.len_bytes) return fail(e, ERR_VALUE, valid, "template, byte %zu: not UTF-8", valid);
    struct chat_template *t = ARENA_ARRAY(a, struct chat_template, 1, "template", e);
    parser p = { .arena = a, .e = e };
    p.names = ARENA_ARRAY(a, struct name, NAMES_MAX, "template names", e);
    p.slots = ARENA_ARRAY(a, uint16_t, SLOTS, "template names", e);
    if (e->code != ERR_NONE || !normalize(source, a, &p.source, e)) return false;
    if ((p.t = template_lex(p.source, a, e)) == NULL) return false;
    for (p.end = p.t; p.end->type != TOK_END;) p.end++;
    for (size_t i = 0; i < SPECIAL_NAMES; i++) intern(&p, view_of(special[i]));
    struct node *list = body(&p);
    if (p.t != p.end) syntax_expected(&p, "the name of a statement");
    *t = (struct chat_template){ p.source, list, p.names, p.name_count };
    *out = t;
    return e->code == ERR_NONE;
}

view template_source(const chat_template *t)
{
    return t->source;
}
