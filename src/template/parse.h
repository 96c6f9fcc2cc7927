/* Between the two halves of the parser. Functions that give a node give NULL after an error. */
#ifndef HEARTH_TEMPLATE_PARSE_H
#define HEARTH_TEMPLATE_PARSE_H

#include "template/ast.h"

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

bool syntax_fail(const parser *p, uint32_t at, const char *reason);
void *syntax_null(const parser *p, uint32_t at, const char *reason); /* syntax_fail for those that give a pointer */
struct node *syntax_expected(const parser *p, const char *what);     /* an error about the next token; NULL */
bool syntax_deeper(parser *p);                                       /* one level of recursion; p->depth-- undoes it */
bool syntax_intern(parser *p, view text, uint32_t *out);

struct node *syntax_node(parser *p, enum op op, uint32_t at);
struct node *syntax_node2(parser *p, enum op op, uint32_t at, struct node *a, struct node *b); /* NULL if a or b is */
struct node *syntax_literal(parser *p, uint32_t at, value v);
void syntax_append(struct node **head, struct node **last, struct node *n);

bool syntax_at(const parser *p, enum token_type type);
bool syntax_at_name(const parser *p, const char *name);
bool syntax_skip(parser *p, enum token_type type); /* moves on if it is next */
bool syntax_skip_name(parser *p, const char *name);
bool syntax_want(parser *p, enum token_type type, const char *what);

/* ---- expression.c ---- */
struct node *syntax_name(parser *p);
struct node *syntax_expression(parser *p);
struct node *syntax_no_condition(parser *p);               /* without an inline if */
struct node *syntax_filter(parser *p, struct node *input); /* behind the "|" */
/* One item, or several with commas: a tuple. "()" is one only in parentheses. */
struct node *syntax_tuple(parser *p, bool parentheses, struct node *(*item)(parser *));

#endif
