/* A parsed template: tokens, then a tree of nodes in one arena. Nodes are plain data and never change after parsing. */
#ifndef HEARTH_TEMPLATE_AST_H
#define HEARTH_TEMPLATE_AST_H

#include "template/builtin.h"

/* ORDER: the operators from ADD on are looked up by their text in lex.c, longest first. */
enum token_type {
    TOK_END,
    TOK_DATA,
    TOK_PRINT_BEGIN,
    TOK_PRINT_END,
    TOK_BLOCK_BEGIN,
    TOK_BLOCK_END,
    TOK_NAME,
    TOK_STRING,
    TOK_INTEGER,
    TOK_FLOAT,
    TOK_ADD,
    TOK_SUB,
    TOK_MUL,
    TOK_DIV,
    TOK_FLOOR_DIV,
    TOK_MOD,
    TOK_POW,
    TOK_TILDE,
    TOK_EQ,
    TOK_NE,
    TOK_LT,
    TOK_LE,
    TOK_GT,
    TOK_GE,
    TOK_ASSIGN,
    TOK_DOT,
    TOK_COLON,
    TOK_PIPE,
    TOK_COMMA,
    TOK_SEMICOLON,
    TOK_LPAREN,
    TOK_RPAREN,
    TOK_LBRACKET,
    TOK_RBRACKET,
    TOK_LBRACE,
    TOK_RBRACE
};

struct token {
    enum token_type type;
    uint32_t at; /* byte of the source */
    view text;   /* as written; TOK_DATA after trimming, TOK_STRING without its quotes and unescaped */
};

/* What each node's children are stands beside it. Lists are linked by `next`. */
enum op {
    /* statements */
    OP_DATA,       /* literal */
    OP_PRINT,      /* expression */
    OP_IF,         /* test, body, else (an OP_IF of an elif, or a list); flag: this is an elif's */
    OP_FOR,        /* target, iterable, body, OP_FOR_REST; flag: recursive */
    OP_FOR_REST,   /* filter or NULL, else */
    OP_SET,        /* target, expression */
    OP_MACRO,      /* parameters (OP_PARAM), body; name; flag: MACRO_* */
    OP_CALL_BLOCK, /* the call, OP_MACRO of the caller */
    OP_WITH,       /* OP_SET list, body */
    OP_SCOPE,      /* body */
    OP_BREAK,
    OP_CONTINUE,
    /* expressions */
    OP_LITERAL,
    OP_NAME,      /* name */
    OP_CAPTURE,   /* body: its text */
    OP_TUPLE,     /* list */
    OP_LIST,      /* list */
    OP_DICT,      /* list: key, value, key, value */
    OP_ATTRIBUTE, /* object; name */
    OP_ITEM,      /* object, key */
    OP_SLICE,     /* object, start, stop, step; each may be NULL */
    OP_CALL,      /* callee, arguments (OP_ARG) */
    OP_FILTER,    /* input, arguments; name; builtin */
    OP_TEST,      /* input, arguments; name; builtin */
    OP_ARG,       /* expression; flag: ARG_*; name of a named one */
    OP_PARAM,     /* default or NULL; name */
    OP_NOT,
    OP_NEGATE,
    OP_PLUS,
    OP_AND, /* left, right */
    OP_OR,
    OP_ARITHMETIC,     /* left, right; flag: the operator's token_type */
    OP_CONCAT,         /* list */
    OP_COMPARE,        /* first, list of OP_OPERAND */
    OP_OPERAND,        /* expression; flag: token_type, or OPERAND_IN, OPERAND_NOT_IN */
    OP_CONDITION,      /* test, then, else or NULL */
    OP_NAMESPACE_FIELD /* a target: name and, in `literal`, the field */
};

enum { MACRO_VARARGS = 1, MACRO_KWARGS = 2, MACRO_CALLER = 4 };
enum { ARG_PLAIN, ARG_NAMED, ARG_STAR, ARG_STAR_STAR };
enum { OPERAND_IN = 100, OPERAND_NOT_IN };

struct node {
    uint8_t op, flag;
    uint32_t at;
    uint32_t name;
    struct node *next;
    union {
        struct node *child[4];
        value literal;
        struct {
            struct node *input, *arguments;
            const struct builtin *builtin;
        } call; /* OP_FILTER, OP_TEST */
    } as;
};

/* A name of the template: variables, attributes, filters. Methods of the three kinds that have them are found once. */
struct name {
    view text;
    const struct builtin *of_string, *of_list, *of_dict;
};

struct chat_template {
    view source; /* line ends made '\n', the last one dropped */
    struct node *body;
    struct name *names;
    size_t name_count;
    uint32_t varargs, kwargs, caller, loop; /* names the interpreter binds itself */
};

/* Cuts `source` into tokens, the last a TOK_END. Errors name line and column. (lex.c) */
bool template_lex(view source, arena *a, struct token **out, size_t *count, err *e);

/* The error of all of template/: the place, the reason, the line. Returns false. (lex.c) */
bool template_fail(view source, uint32_t at, enum err_code code, err *e, const char *reason);

#endif
