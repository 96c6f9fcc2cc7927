/* What a template may call: filters, tests, functions and methods, a row each in the tables of builtin.c (values),
 * text_builtin.c and list_builtin.c. A row can be several of them: x|upper and x.upper() are one. */
#ifndef HEARTH_TEMPLATE_BUILTIN_H
#define HEARTH_TEMPLATE_BUILTIN_H

#include "template/value.h"

enum { PARAMS_MAX = 4 };

/* Where a name has a row's meaning: bits, by their places. AS_TEXT: what is filtered or tested is made text by str. */
enum { AS_FILTER, AS_TEST, AS_FUNCTION, OF_TEXT, OF_LIST, OF_TUPLE, OF_DICT, OF_LOOP, OF_NOTHING, WHERE_COUNT };
enum {
    FILTER = 1 << AS_FILTER,
    TEST = 1 << AS_TEST,
    GLOBAL = 1 << AS_FUNCTION,
    TEXT_METHOD = 1 << OF_TEXT,
    LIST_METHOD = 1 << OF_LIST,
    TUPLE_METHOD = 1 << OF_TUPLE,
    DICT_METHOD = 1 << OF_DICT,
    LOOP_METHOD = 1 << OF_LOOP,
    AS_TEXT = 1 << WHERE_COUNT
};

/* One call: the arguments as they were written, and laid out by parameter. */
struct call {
    value self;            /* what is filtered or tested, or the method's object; MISSING for a function */
    value arg[PARAMS_MAX]; /* by parameter, MISSING where not given; nothing where the row takes anything */
    const struct list *pos;
    value named;               /* DICT: names and values */
    const struct builtin *row; /* what is called */
};

/* `params`: names separated by blanks, or "*": anything, not laid out. Behind a name can stand "!" (must be given) and
 * then "$" (a string), "~" (any value, made a string by str) or "#N" (an integer, N where not given or none). */
struct builtin {
    const char *name;
    unsigned where;
    const char *params;
    value (*run)(context *c, const struct call *k);
    int variant; /* where rows share a function: what is different */
};

extern const struct builtin BUILTINS_OF_VALUES[], BUILTINS_OF_TEXT[],
    BUILTINS_OF_LISTS[]; /* up to a row without name */

/* All rows of that name: into the places of `where`, the others stay as they are. */
void builtin_rows(view name, const struct builtin *rows[static WHERE_COUNT]);
const struct builtin *builtin_find(value name, int where); /* NULL where there is none, or `name` is no string */
int builtin_methods(value object); /* the place of `where` for its kind; OF_NOTHING where it has no methods */

/* Calls a row with k->self, pos and named set; lays the arguments out first. */
value builtin_run(context *c, const struct builtin *b, struct call *k);

/* An integer as int(text, base) reads it, underscores and prefixes too; false where it is none of 64 bits. */
bool builtin_read_int(view text, int64_t base, int64_t *out);

/* ---- what operators, filters and methods share ---- (eval.c, list_builtin.c, pattern.c) */

/* ORDER: the ones from EQ to NOT_IN give a truth. */
enum binary {
    BINARY_EQ, BINARY_NE, BINARY_LT, BINARY_LE, BINARY_GT, BINARY_GE, BINARY_IN, BINARY_NOT_IN,
    BINARY_ADD, BINARY_SUB, BINARY_MUL, BINARY_DIV, BINARY_FLOOR, BINARY_MOD, BINARY_POW, BINARY_JOIN
};
value value_binary(context *c, enum binary op, value a, value b);

value value_call(context *c, value callee, struct call *k); /* any value that can be called */
value value_attribute(context *c, value object,
                      view name);                      /* a.name: methods first; UNDEFINED where there is nothing */
value value_item(context *c, value object, value key); /* a[key]: keys first */
value value_slice(context *c, value object, const value bounds[static 3]); /* a[b0:b1:b2]; MISSING or NONE: default */
value value_update(context *c, value dict, const struct call *k); /* what dict() and update() take, put into it */

value string_percent(context *c, value format, value args);          /* format % args */
value string_format(context *c, value format, const struct call *k); /* format.format(...) */
value string_time(context *c, value format);                         /* strftime_now(format) */

#endif
