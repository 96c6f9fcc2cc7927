/* The tables of what a template may call: filters, tests, functions, methods; one row each. */
#ifndef HEARTH_TEMPLATE_BUILTIN_H
#define HEARTH_TEMPLATE_BUILTIN_H

#include "template/value.h"

enum { PARAMS_MAX = 6 };

struct named {
    view name;
    value value;
};

/* One call: the arguments as they were written, and laid out by parameter. */
struct call {
    value self;            /* what is filtered or tested, or the method's object; MISSING for a function */
    value arg[PARAMS_MAX]; /* by parameter, MISSING where not given; empty where the row takes anything */
    const value *pos;
    size_t pos_count;
    const struct named *named;
    size_t named_count;
    const struct builtin *row; /* what is called */
};

struct builtin {
    const char *name;
    const char *params; /* names separated by blanks, or "*": anything, not laid out */
    size_t required;    /* how many of them must be given */
    int variant;        /* where rows share a function: what is different */
    bool (*run)(context *c, const struct call *call, value *out);
};

/* NULL where there is none of that name. */
const struct builtin *builtin_filter(view name);
const struct builtin *builtin_test(view name);
const struct builtin *builtin_function(view name);
const struct builtin *builtin_method(enum kind kind, view name);

/* Calls a row with call->self, pos and named set; lays the arguments out first. */
bool builtin_run(context *c, const struct builtin *b, struct call *call, value *out);

/* Calls any value that can be called. (eval.c) */
bool value_call(context *c, const value *callee, struct call *call, value *out);

/* a.name and a[key]; UNDEFINED where there is nothing of that name. (eval.c) */
bool value_attribute(context *c, const value *object, view name, value *out);
bool value_item(context *c, const value *object, const value *key, value *out);

/* What the subscript [start:stop:step] takes; MISSING parts default. (eval.c) */
bool value_slice(context *c, const value *object, const value bounds[static 3], value *out);

const struct builtin *builtin_string_method(view name); /* string_methods.c */
const struct builtin *builtin_text_filter(view name);   /* text_filters.c: the rest of builtin_filter */

/* ---- what filters and methods share (string_methods.c, methods.c) ---- */
void value_list_reverse(struct list *l);
enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
enum letter_class { ALL_DIGITS, ALL_LETTERS, ALL_ALPHANUMERIC, ALL_SPACE, ALL_UPPER, ALL_LOWER };
enum letter_case { CASE_UPPER, CASE_LOWER, CASE_CAPITAL, CASE_TITLE, CASE_SWAP };

bool string_strip(context *c, const value *s, const value *chars, unsigned sides,
                  value *out); /* chars: MISSING, NONE: blanks */
bool string_replace(context *c, const value *s, const value *old, const value *new, int64_t count, value *out);
bool string_case(context *c, const value *s, enum letter_case to, value *out);
bool string_join(context *c, const value *separator, const value *list, value *out);
bool string_pad(context *c, const value *s, int64_t left, int64_t right, const value *fill, value *out);
bool string_lines(context *c, const value *s, value *out); /* str.splitlines */
bool string_is(const value *s, enum letter_class what);
bool value_dict_items(context *c, const struct dict *d, int which, value *out); /* 0: keys, 1: values, 2: pairs */
bool value_dict_from_call(context *c, enum kind kind, const struct call *call,
                          value *out); /* dict(...), namespace(...) */

/* An argument that is a length, an index or a count, `otherwise` where it is not given; cut to 53 bits. */
bool call_arg_int(context *c, const value *arg, int64_t otherwise, int64_t *out);
bool call_arg_text(context *c, const value *arg, const char *name, value *out); /* a STRING, or an error naming it */

static inline bool given(const value *v)
{
    return v->kind != MISSING;
}

#endif
