/* The values a template computes with, and the state of one rendering.
 * Errors are sticky: the first one is recorded with its place, and from then on nothing is taken, put or paid for.
 * Functions go on with values of no meaning, loops over outside data end because each round pays a step, and the one
 * test of context.failed is at the end. So no function here returns whether it was good, and none may trust a count
 * that it only asked for: a list that could not grow is shorter. */
#ifndef HEARTH_TEMPLATE_VALUE_H
#define HEARTH_TEMPLATE_VALUE_H

#include "template/template.h"

#include "base/checked.h"

/* ORDER kind: the tests by kind in builtin.c are bit masks of these; from BOOL to FLOAT numbers, from LIST to NAMESPACE
 * those of as.list. Names for errors: value_kind. */
enum kind {
    MISSING, /* no value at all: an argument not given, a name not bound */
    UNDEFINED,
    NONE,
    BOOL,
    INT,
    BIG_INT, /* over 64 bits: its digits; kept and printed, not computed with */
    FLOAT,
    STRING,
    LIST,
    TUPLE,
    RANGE, /* its items, and behind them its start, stop and step */
    DICT,
    NAMESPACE,
    MACRO,
    LOOP,
    FUNCTION /* of the tables in builtin.h: a function, or a method with its object */
};

struct node;
struct builtin;

/* Of 32 bytes, and passed by value. A string is bytes and an origin; only one put together from several has a list of
 * runs beside it, of which each piece cut out shares its part: `run` is the run of the first byte, `start` the place of
 * that byte in the text the runs were made for. Numbers and truths carry an origin too, because printing makes text of
 * them, and lists, whose brackets are printed. */
typedef struct value {
    uint8_t kind, origin; /* origin: where `run` is set, the least trusted of the text it was cut from */
    uint32_t start;
    union {
        bool truth;
        int64_t integer;
        double real;
        const uint8_t *bytes; /* STRING, BIG_INT; UNDEFINED: the name */
        struct list *list;
        struct macro *macro;
        struct loop *loop;
        struct bound *bound;
    } as;
    size_t len; /* bytes */
    const origin_run *run;
} value;

/* The items of a list; of an object and a namespace key, value, key, value, in the order of insertion. */
struct list {
    value *items;
    size_t count, capacity;
};

struct bound {
    value self;
    const struct builtin *builtin;
};

struct binding {
    uint32_t name;
    value value; /* MISSING: bound in an earlier round of the loop */
    struct binding *next;
};

struct scope {
    struct scope *parent; /* NULL: the next outer one is the template's own */
    struct binding *vars;
};

struct macro {
    const struct node *node; /* its parameters and body */
    struct scope *scope;     /* where it was defined */
};

struct loop {
    const struct node *node;
    struct scope *outer;
    const struct list *over;
    size_t index, depth;
    bool completed; /* a round ran to the end of the body */
};

/* Text being put together. */
struct builder {
    uint8_t *bytes;
    size_t len, capacity;
    origin_run *runs;
    size_t run_count, run_capacity;
};

enum jump { JUMP_NONE, JUMP_BREAK, JUMP_CONTINUE };

/* One rendering. */
typedef struct context {
    const chat_template *t;
    const struct render_options *options;
    arena *arena;
    err *e;
    bool failed;
    uint32_t at; /* the byte of the template an error is about */
    size_t depth;
    enum jump jump;
    uint64_t steps_left;
    size_t memory_end, output_max;
    value *root; /* by name: the template's own variables, MISSING where unset */
    struct scope *scope;
    struct builder *out;
    struct list nothing; /* what a list is that could not be made; never grows */
} context;

/* Records an error with the place in the template, unless there is one; gives an undefined value. (render.c) */
value render_fail(context *c, enum err_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Work is paid for: one step a part of the template, one more for each 64 bytes or 8 items touched. It counts work, not
 * time, so that the same template ends at the same place everywhere. False after any error. */
bool render_charge(context *c, size_t steps);
void *render_take(context *c, size_t count, size_t each_bytes); /* zeroed; NULL after an error */

/* `elements` with room for `want`, of which `count` are in use; grows by doubling. NULL after an error, and nothing has
 * changed. What is left behind stays valid for whoever walks it, and goes with the arena. */
void *render_grow(context *c, void *elements, size_t count, size_t want, size_t *capacity, size_t each_bytes);

/* ---- making values ---- */
static inline value of_kind(enum kind kind)
{
    return (value){ .kind = (uint8_t)kind, .origin = ORIGIN_TEXT };
}
static inline value of_bool(bool truth)
{
    return (value){ .kind = BOOL, .origin = ORIGIN_TEXT, .as.truth = truth };
}
static inline value of_int(int64_t n)
{
    return (value){ .kind = INT, .origin = ORIGIN_TEXT, .as.integer = n };
}
static inline value of_float(double d)
{
    return (value){ .kind = FLOAT, .origin = ORIGIN_TEXT, .as.real = d };
}
static inline value of_view(view v, unsigned origin)
{
    return (value){ .kind = STRING, .origin = (uint8_t)origin, .as.bytes = v.ptr, .len = v.len_bytes };
}
static inline value of_text(const char *text) /* a literal of this program: as trusted as the template */
{
    return of_view(view_of(text), ORIGIN_TEMPLATE);
}
static inline value of_undefined(view name)
{
    return (value){ .kind = UNDEFINED, .origin = ORIGIN_TEXT, .as.bytes = name.ptr, .len = name.len_bytes };
}
static inline view view_in(value string)
{
    return (view){ string.as.bytes, string.len };
}
static inline bool given(value v)
{
    return v.kind != MISSING;
}

/* ---- lists and objects ---- (value.c) */
value value_list(context *c, enum kind kind); /* empty */
void value_add(context *c, value list, value item);
value value_pair(context *c, value a, value b);
value value_members(context *c, value dict, int which); /* 0: keys, 1: values, 2: pairs */
value *value_find(context *c, value dict, value key);   /* NULL where there is none */
void value_put(context *c, value dict, value key, value item);
void value_insert(context *c, value sorted, value key, value item, bool reverse); /* by key, behind equal ones */
value value_from_json(context *c, const json_value *v, enum template_origin origin);

/* ---- asking values ---- */
const char *value_kind(value v); /* as Python calls it */
bool value_truth(value v);
bool value_is_number(value v);             /* BOOL, INT, BIG_INT, FLOAT */
double value_number(value v);              /* of one of these */
bool value_integer(value v, int64_t *out); /* BOOL and INT */
bool value_is(value v, const char *text);  /* is it this string? */
bool value_equal(context *c, value a, value b);
int value_order(context *c, value a, value b); /* -1, 0, 1; 2 with a NaN; an error where there is no order */
bool value_contains(context *c, value whole, value part);
size_t value_length(context *c, value v);

/* All that iterating over it gives. Lists give themselves: not to be written to, and what is done to them shows. */
const struct list *value_items(context *c, value v);

/* ---- text ---- (string.c) */
void string_put(context *c, struct builder *b, view bytes, unsigned origin);
void string_put_value(context *c, struct builder *b, value string); /* a STRING with its origins */
void string_put_code(context *c, struct builder *b, uint32_t code, unsigned origin);
value string_built(struct builder *b);
value string_part(context *c, value string, size_t from, size_t to); /* bytes */
unsigned string_origin(value string);                                /* the least trusted in it */

uint32_t string_code(value string, size_t at, size_t *len_bytes); /* the character at a byte before its end */
size_t string_length(value string);                               /* in characters */
size_t string_offset(value string, size_t from, size_t count); /* the byte where `count` characters from `from` end */
bool string_find(value string, size_t from, value needle, size_t *at);
bool string_find_last(context *c, value string, value needle, size_t *at);

bool string_is_space(uint32_t code);    /* str.isspace */
bool string_is_word(uint32_t code);     /* str.isalnum */
bool string_is_line_end(uint32_t code); /* where str.splitlines cuts */

enum string_case { CASE_UPPER, CASE_LOWER, CASE_CAPITAL, CASE_TITLE };
value string_cased(context *c, value s, enum string_case to);
enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
value string_stripped(context *c, value s, value chars, int sides); /* chars: a set of characters; no STRING: blanks */
value string_padded(context *c, value s, int64_t left, int64_t right, value fill);
value string_joined(context *c, value separator, value items); /* each as str prints it */

/* ---- printing ---- (print.c) */
struct style {
    bool json, ascii, sort, indented;
    value indent, item_separator, key_separator; /* STRINGs; indent: one level */
};
void value_print(context *c, struct builder *b, value v);                               /* str() */
void value_print_as(context *c, struct builder *b, value v, const struct style *style); /* NULL: repr() */
value value_to_string(context *c, value v);                                             /* str() as a value */

#endif
