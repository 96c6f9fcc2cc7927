/* A parsed template: tokens (lex.c), then a tree of nodes (parse.c, expression.c) in one arena. Nodes are plain data
 * and never change after parsing. The parser's errors are sticky: after the first one it stands at the end of the
 * tokens, where nothing matches, so its functions go on with nodes of no meaning and no loop lasts. */
#ifndef HEARTH_TEMPLATE_SYNTAX_H
#define HEARTH_TEMPLATE_SYNTAX_H

#include "template/builtin.h"

enum token_type { TOK_END, TOK_DATA, TOK_PRINT, TOK_BLOCK, TOK_CLOSE, TOK_NAME, TOK_STRING, TOK_NUMBER, TOK_OPERATOR };

struct token {
    enum token_type type;
    uint32_t at; /* byte of the source */
    view text;   /* as written; TOK_DATA after trimming, TOK_STRING without its quotes and unescaped */
};

/* What each node's children are stands beside it. Lists are linked by `next`. */
enum op {
    /* statements (render.c) */
    OP_DATA,    /* literal */
    OP_PRINT,   /* expression */
    OP_IF,      /* test, body, else (an OP_IF of an elif, or a list); flag: this is an elif's */
    OP_FOR,     /* target, iterable, body, test or NULL, else; flag: recursive */
    OP_SET,     /* target, expression */
    OP_MACRO,   /* parameters (OP_PARAM), body; name; flag: bits of SPECIAL_NAMES its body mentions */
    OP_CALLING, /* the OP_CALL, OP_MACRO of the caller */
    OP_WITH,    /* OP_SET list (empty: a generation or block tag), body */
    OP_BREAK,   /* flag: continue */
    /* expressions (eval.c) */
    OP_LITERAL,
    OP_NAME,      /* name */
    OP_CAPTURE,   /* body: its text */
    OP_LIST,      /* list; flag: a tuple */
    OP_DICT,      /* list: key, value, key, value */
    OP_ATTRIBUTE, /* object; name */
    OP_ITEM,      /* object, key */
    OP_SLICE,     /* object, start, stop, step; each may be NULL */
    OP_CALL,      /* callee, arguments (OP_ARG); flag: a `caller` comes with them */
    OP_FILTER,    /* input, arguments; name; flag: a test */
    OP_ARG,       /* expression; flag: ARG_*; name of a named one */
    OP_PARAM,     /* default or NULL; name */
    OP_NOT,
    OP_NEGATE,   /* flag: plus */
    OP_LOGIC,    /* left, right; flag: or */
    OP_BINARY,   /* left, right; flag: enum binary */
    OP_COMPARE,  /* first, list of OP_OPERAND */
    OP_OPERAND,  /* expression; flag: enum binary */
    OP_CONDITION /* test, then, else or NULL */
};

enum { ARG_PLAIN, ARG_NAMED, ARG_STAR, ARG_STAR_STAR };

/* Names that a macro binds by itself if its body mentions them, and the loop's: the first names of every template. */
enum special_name { NAME_VARARGS, NAME_KWARGS, NAME_CALLER, NAME_LOOP, SPECIAL_NAMES };

struct node {
    uint8_t op, flag;
    uint32_t at, name;
    struct node *next, *child[5];
    value literal;
};

/* A name of the template, and what it can mean besides a variable: a row for each bit of `where` in builtin.h. */
struct name {
    view text;
    const struct builtin *rows[WHERE_COUNT];
};

struct chat_template {
    view source; /* line ends made '\n', the last one dropped */
    struct node *body;
    struct name *names;
    size_t name_count;
};

/* Cuts `source` into tokens, the last a TOK_END; NULL after an error. (lex.c) */
struct token *template_lex(view source, arena *a, err *e);

/* The error of all of template/: the place, the reason, the line. (lex.c) */
void template_fail(view source, uint32_t at, enum err_code code, err *e, const char *reason);

typedef struct parser {
    view source;
    const struct token *t, *end; /* the next token; the TOK_END */
    arena *arena;
    err *e;
    struct name *names;
    size_t name_count;
    uint16_t *slots;     /* 1 + the number of a name, at the hash of its text or behind */
    struct node nothing; /* what a node is that could not be made */
    size_t depth;        /* of the recursion */
    size_t loops;        /* open for statements of this body: break and continue are allowed */
    uint8_t mentioned;   /* bits of SPECIAL_NAMES seen since the innermost macro began */
} parser;

/* ---- parse.c ---- */
void syntax_fail(parser *p, uint32_t at, enum err_code code, const char *reason);
struct node *syntax_expected(parser *p, const char *what); /* an error about the next token */
bool syntax_deeper(parser *p);                             /* one level of recursion; p->depth-- undoes it */
struct node *syntax_node(parser *p, enum op op, uint32_t at);
void syntax_append(struct node **head, struct node **last, struct node *n); /* to a list from *head to *last */
uint32_t syntax_name(parser *p);                                            /* the number of the name that is next */
bool syntax_at(const parser *p, const char *word);                          /* is this name or operator next? */
bool syntax_skip(parser *p, const char *word);                              /* goes on if it is */
void syntax_want(parser *p, const char *word);                              /* an error if it is not */
bool syntax_more(parser *p, const char *closer, bool first); /* in a list with commas: is there another item? */

/* ---- expression.c ---- */
struct node *syntax_expression(parser *p);
struct node *syntax_no_condition(parser *p); /* without an inline if: what a loop's "if" can follow */
struct node *syntax_target(parser *p);       /* what can be set, if it can: that shows when it is */
struct node *syntax_filters(parser *p, struct node *input);           /* from the name behind the first "|" */
struct node *syntax_tuple(parser *p, struct node *(*item)(parser *)); /* one item, or several with commas */

#endif
