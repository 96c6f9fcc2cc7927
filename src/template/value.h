/* The values a template computes with, and the state of one rendering. A string is bytes plus runs of origins: with one
 * origin (nearly always) the run list is not there and a slice is pointer arithmetic; with several a list of
 * (end, origin) stands beside the bytes. Numbers and truths carry an origin too, because printing makes text of them.
 */
#ifndef HEARTH_TEMPLATE_VALUE_H
#define HEARTH_TEMPLATE_VALUE_H

#include "template/template.h"

enum kind {
    MISSING, /* no value at all: an argument not given, a name not bound */
    UNDEFINED,
    NONE,
    BOOL,
    INT,
    BIG_INT, /* over 64 bits: its digits */
    FLOAT,
    STRING,
    LIST,
    TUPLE,
    DICT,
    RANGE,
    NAMESPACE,
    MACRO,
    LOOP,
    BUILTIN, /* a function, or a method with its object */
    CYCLER,
    JOINER
};

struct list;
struct dict;
struct node;
struct call;

typedef struct value {
    uint8_t kind;
    uint8_t origin;     /* of all of it; where `run` is set, the least trusted */
    uint32_t run_count; /* strings: length of run, 0 where there is one origin */
    union {
        bool truth;
        int64_t integer;
        double real;
        const uint8_t *bytes; /* STRING, BIG_INT; UNDEFINED: the name */
        struct list *list;    /* LIST, TUPLE; CYCLER: see functions.c, JOINER: separator, used, "" */
        struct dict *dict;    /* DICT, NAMESPACE */
        struct range *range;
        struct macro *macro;
        struct loop *loop;
        struct bound *bound;
    } as;
    size_t len; /* bytes */
    const origin_run *run;
} value;

struct list {
    value *items;
    size_t count, capacity;
    bool group; /* what groupby makes: .grouper and .list */
};

struct pair {
    value key, value;
};

struct dict {
    struct pair *pairs; /* in the order of insertion */
    size_t count, capacity;
};

struct range {
    int64_t start, stop, step;
    uint64_t count;
};

struct bound {
    value self;
    const struct builtin *builtin;
};

struct binding {
    uint32_t name;
    value value;
};

struct scope {
    struct scope *parent; /* NULL: the next outer one is the template's own */
    struct binding *vars;
    uint32_t count, capacity;
};

struct macro {
    const struct node *node; /* its parameters and body */
    struct scope *scope;     /* where it was defined */
    bool is_caller;
};

struct loop {
    const struct node *node;
    struct scope *outer;
    const value *items; /* NULL: a range */
    struct range range;
    size_t index, count;
    bool completed; /* a round ran to the end of the body */
    unsigned depth;
    value last_changed; /* of changed(); MISSING before the first */
};

/* Text being put together, in the arena of the rendering. */
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
    uint32_t at; /* the byte of the template an error is about */
    unsigned depth;
    size_t print_depth; /* of lists inside lists while one is printed */
    enum jump jump;
    uint64_t steps_left;
    size_t memory_end, output_max;
    value *root; /* by name: the template's own variables, MISSING where unset */
    struct scope *scope;
    struct builder *out;
} context;

/* Errors: one line with the place in the template. Macros, so that the compiler sees the false. */
void template_raise(context *c, enum err_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define raise(c, ...)       (template_raise((c), ERR_VALUE, __VA_ARGS__), false)
#define raise_limit(c, ...) (template_raise((c), ERR_LIMIT, __VA_ARGS__), false)

/* Every piece of work is paid for: one step a part of the template, one more for each 64 bytes or 8 items touched. */
bool render_charge(context *c, size_t steps);
void *render_take(context *c, size_t count, size_t each_bytes); /* zeroed; NULL after an error */
bool render_enter(context *c);                                  /* one level deeper; render_leave() undoes it */
static inline void render_leave(context *c)
{
    c->depth--;
}

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
static inline value of_view(view v, enum template_origin origin)
{
    return (value){ .kind = STRING, .origin = (uint8_t)origin, .as.bytes = v.ptr, .len = v.len_bytes };
}
static inline value of_text(const char *text) /* a literal of this program: as trusted as the template */
{
    return of_view(view_of(text), ORIGIN_TEMPLATE);
}
static inline view view_in(const value *string)
{
    return (view){ string->as.bytes, string->len };
}
static inline value of_undefined(view name)
{
    return (value){ .kind = UNDEFINED, .origin = ORIGIN_TEXT, .as.bytes = name.ptr, .len = name.len_bytes };
}

bool value_list_new(context *c, enum kind kind, size_t capacity, value *out);
bool value_list_add(context *c, struct list *l, const value *item);
bool value_dict_new(context *c, enum kind kind, value *out);
bool value_dict_find(context *c, const struct dict *d, const value *key, size_t *index, bool *found);
bool value_dict_put(context *c, struct dict *d, const value *key, const value *item);
const value *value_dict_get(const struct dict *d, view key); /* string keys only; NULL where there is none */
bool value_from_json(context *c, const json_value *v, enum template_origin origin, value *out);

/* ---- asking values ---- */
const char *value_kind(const value *v); /* as Python calls it, for errors */
bool value_truth(const value *v);
bool value_is_number(const value *v); /* BOOL, INT, BIG_INT, FLOAT */
double value_number(const value *v);
bool value_integer(const value *v, int64_t *out); /* BOOL and INT */
bool value_equal(context *c, const value *a, const value *b, bool *out);
bool value_compare(context *c, const value *a, const value *b,
                   int *out); /* -1, 0, 1; 2 with a NaN; raises where there is no order */
bool value_length(context *c, const value *v, size_t *out);
bool value_contains(context *c, const value *whole, const value *part, bool *out);

/* All that iterating over it gives, as an array. Lists give their own array: not to be written to. */
bool value_items(context *c, const value *v, const value **out, size_t *count);

/* ---- text ---- (text.c, print.c) */
bool string_put(context *c, struct builder *b, view bytes, enum template_origin origin);
bool string_put_value(context *c, struct builder *b, const value *string); /* a STRING with its origins */
bool string_put_part(context *c, struct builder *b, const value *string, size_t from, size_t to);
bool string_put_char(context *c, struct builder *b, uint32_t code, enum template_origin origin);
value string_built(struct builder *b);
value string_part(context *c, const value *string, size_t from, size_t to); /* bytes; MISSING after an error */
enum template_origin string_origin_at(const value *string, size_t byte);

size_t string_chars(view text);
size_t string_char_offset(view text, size_t index); /* the byte where the index-th character begins */
bool string_find(view text, size_t from, view needle, size_t *at);
bool string_find_last(view text, size_t to, view needle, size_t *at);

bool value_print(context *c, struct builder *b, const value *v);      /* str() */
bool value_print_repr(context *c, struct builder *b, const value *v); /* repr() */
bool value_to_string(context *c, const value *v, value *out);         /* str() as a value */

struct json_style {
    bool ascii, sort, indented;
    value indent; /* a STRING: what one level is indented by */
    value item_separator, key_separator;
};
bool value_print_json(context *c, struct builder *b, const value *v, const struct json_style *style);

bool string_percent(context *c, const value *format, const value *args, value *out);      /* format % args */
bool string_format(context *c, const value *format, const struct call *call, value *out); /* format.format(...) */
bool string_strftime(context *c, view format, value *out);

#endif
