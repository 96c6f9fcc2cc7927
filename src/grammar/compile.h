/* Inside the compiler of JSON Schema. A place in an answer has a goal: schemas that the value there must meet, or must
 * not meet ("literals"). A goal is written out (expand.c) as shapes: alternatives without allOf, anyOf, oneOf, not, if
 * and $ref, each a set of types and of atoms, single constraints of one type. A shape becomes nodes of the table
 * (shape.c for values, members.c for objects), whose members and items have goals of their own.
 *
 *   goal {+S1, +S2, -S3} ──expand──▶ shape | shape | ... ──▶ CHOICE of nodes ──▶ goals of members and items ──▶ ...
 *
 * Goals are kept once each (the same literals are the same goal), so recursion ends: there are finitely many. */
#ifndef HEARTH_GRAMMAR_COMPILE_H
#define HEARTH_GRAMMAR_COMPILE_H

#include "grammar/build.h"
#include "grammar/number.h"
#include "grammar/string.h"

/* ORDER json types of a value */
enum { T_NULL = 1, T_FALSE = 2, T_TRUE = 4, T_NUMBER = 8, T_STRING = 16, T_ARRAY = 32, T_OBJECT = 64, T_ALL = 127 };

/* One text that schemas come from: its places have offsets, which order literals. */
struct source {
    const json_value *root;
    uint32_t index;
    struct resource *resources; /* refs.c: $id, $anchor, $dynamicAnchor */
    uint32_t resource_count;
    const char *prefix; /* of errors, "" but for tools */
};

/* Where an unevaluatedProperties or unevaluatedItems looks: schemas applied below it to the same value. */
struct scope {
    const struct scope *parent;
};

enum literal_kind { LIT_SCHEMA, LIT_CONST, LIT_ENUM };
struct literal {
    const struct source *source;
    const json_value *v;
    const struct scope *scope;
    uint8_t kind;
    bool negative;
    uint16_t depth; /* of references and applicators on the same value */
};

struct pending { /* a list of literals */
    struct literal lit;
    const struct pending *next;
};

enum atom_op {
    /* numbers */
    ATOM_INTEGER,
    ATOM_BOUND,
    ATOM_MULTIPLE,
    /* strings */
    ATOM_PATTERN,
    ATOM_FORMAT,
    ATOM_LEAST_CHARS,
    ATOM_MOST_CHARS,
    /* numbers and strings */
    ATOM_ENUM,
    ATOM_NOT,
    /* objects */
    ATOM_MEMBERS,
    ATOM_NAMES,
    ATOM_LEAST_MEMBERS,
    ATOM_MOST_MEMBERS,
    ATOM_REQUIRED,
    ATOM_ABSENT,
    ATOM_MEMBER,
    ATOM_CONST_OBJECT,
    ATOM_OTHER_MEMBERS,
    /* arrays */
    ATOM_ITEMS,
    ATOM_LEAST_ITEMS,
    ATOM_MOST_ITEMS,
    ATOM_CONTAINS,
    ATOM_ITEM,
    ATOM_CONST_ARRAY,
    ATOM_UNIQUE
};

struct atom {
    enum atom_op op;
    bool negative;
    uint8_t bound;        /* enum number_op of ATOM_BOUND */
    struct literal lit;   /* of what it is made: v is the keyword's value, or the schema that has the keywords */
    view name;            /* REQUIRED, ABSENT, MEMBER */
    uint64_t least, most; /* counts; ITEM: index in least; CONTAINS: both, and from */
    uint64_t from;
    const struct atom *next;
};

struct alternative {
    unsigned types;
    const struct pending *add;
    const struct atom *atoms; /* few, a list of their own */
    const struct alternative *next;
};

struct branch_point {
    const struct alternative *alternatives;
    const struct branch_point *next;
};

struct shape {
    unsigned types;
    const struct atom **atoms; /* in the order of the schema */
    uint32_t atom_count;
};

struct shapes {
    struct shape *rows; /* GRAMMAR_SHAPES_MAX */
    uint32_t count;
};

struct goal {
    struct literal *lits;
    uint32_t count, node, hash;
};

/* A span that was made: the same constraints again are the same span. */
struct made_span {
    view key;
    uint32_t state;
    bool empty;
};

struct made_dfa {
    view pattern;
    bool anywhere;
    struct dfa dfa;
};

struct compiler {
    build b;
    const struct grammar_options *set;
    struct grammar_notes *notes;
    arena *a;
    err *e;
    uint64_t steps;
    struct goal *goals;
    uint32_t goal_count, goal_room, goal_done;
    uint32_t *goal_slots; /* index + 1 */
    uint32_t goal_mask;
    struct made_span *spans;
    uint32_t span_count, span_room;
    struct made_dfa **dfas;
    uint32_t dfa_count, dfa_room;
};

/* ---- schema.c ---- */
bool compiler_start(struct compiler *c, const struct grammar_options *set, struct grammar_notes *notes, arena *a,
                    err *e);
bool source_open(struct compiler *c, const json_value *root, uint32_t index, const char *prefix, struct source *out);
/* The node of a goal, made later by goals_finish. */
bool goal_node(struct compiler *c, const struct literal *lits, uint32_t count, uint32_t *node);
bool goals_finish(struct compiler *c);
/* Counts work. False, with an error, where it is too much. */
bool step(struct compiler *c);
/* ERR_UNSUPPORTED with the pointer of `v`. */
bool refuse(struct compiler *c, const struct source *s, const json_value *v, const char *why);
bool invalid(struct compiler *c, const struct source *s, const json_value *v, const char *why);
bool keyword_count(struct compiler *c, const struct source *s, const json_value *v, uint64_t *out);
/* All texts that a pattern matches somewhere. */
bool pattern_dfa(struct compiler *c, view pattern, const struct dfa **out);

/* ---- refs.c ---- */
bool refs_index(struct compiler *c, struct source *s);
/* The schema that a $ref or $dynamicRef in a schema at `at` means. */
bool refs_find(struct compiler *c, const struct source *s, const json_value *at, const json_value *ref, bool dynamic,
               const json_value **out);

/* ---- expand.c ---- */
bool expand(struct compiler *c, const struct literal *lits, uint32_t count, struct shapes *out);
/* True where no value can meet the goal; false says nothing. */
bool goal_empty(struct compiler *c, const struct literal *lits, uint32_t count, unsigned depth, bool *empty);

/* ---- shape.c ---- */
bool shape_nodes(struct compiler *c, const struct shape *s, uint32_t *nodes, uint32_t *count, uint32_t max);
bool shape_empty(struct compiler *c, const struct shape *s, unsigned depth, bool *empty);
/* The rules that strings of a shape keep; `sets`: values of ATOM_ENUM, NULL where there is none. */
bool string_rules_of(struct compiler *c, const struct shape *s, struct string_rules *r, const json_value **set);
/* The values of an ATOM_ENUM: those of an enum's list, or the one of a const. */
#define SET_EACH(item, set)                                                                                            \
    for (const json_value *item = (set)->type == JSON_ARRAY ? (set)->first : (set); item != NULL;                      \
         item = (set)->type == JSON_ARRAY ? item->next : NULL)
static inline size_t set_count(const json_value *set)
{
    return set->type == JSON_ARRAY ? set->count : 1;
}
bool set_has_text(const json_value *set, view text);

/* ---- members.c ---- */
bool object_node(struct compiler *c, const struct shape *s, uint32_t *node);
bool object_empty(struct compiler *c, const struct shape *s, unsigned depth, bool *empty);

/* Lists of literals while they are gathered. */
struct literals {
    struct literal *rows;
    uint32_t count, room;
};
bool literals_add(struct compiler *c, struct literals *l, const struct literal *lit);
/* +v, at a place of its own: no scope. */
struct literal literal_of(const struct literal *from, const json_value *v);
bool literals_impossible(const struct literals *l);
bool scope_inside(const struct scope *inner, const struct scope *outer);

#endif
