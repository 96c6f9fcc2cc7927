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

bool parse_fail(const parser *p, uint32_t at, const char *reason);
void *parse_null(const parser *p, uint32_t at, const char *reason); /* parse_fail for those that give a pointer */
struct node *parse_expected(const parser *p, const char *what);     /* an error about the next token; NULL */
bool parse_deeper(parser *p);                                       /* one level of recursion; p->depth-- undoes it */
bool parse_intern(parser *p, view text, uint32_t *out);

struct node *parse_node(parser *p, enum op op, uint32_t at);
struct node *parse_node2(parser *p, enum op op, uint32_t at, struct node *a, struct node *b); /* NULL if a or b is */
struct node *parse_literal(parser *p, uint32_t at, value v);
void parse_append(struct node **head, struct node **last, struct node *n);

bool parse_at(const parser *p, enum token_type type);
bool parse_at_name(const parser *p, const char *name);
bool parse_skip(parser *p, enum token_type type); /* moves on if it is next */
bool parse_skip_name(parser *p, const char *name);
bool parse_want(parser *p, enum token_type type, const char *what);

/* ---- expression.c ---- */
struct node *parse_name(parser *p);
struct node *parse_expression(parser *p);
struct node *parse_no_condition(parser *p);               /* without an inline if */
struct node *parse_filter(parser *p, struct node *input); /* behind the "|" */
/* One item, or several with commas: a tuple. "()" is one only in parentheses. */
struct node *parse_tuple(parser *p, bool parentheses, struct node *(*item)(parser *));

#endif
