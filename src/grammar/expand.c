/* A goal written out: allOf, anyOf, oneOf, not, if, $ref and what negation makes of every keyword, until only types and
 * atoms are left. The rules are those of JSON Schema 2020-12 (Core sections 10 and 11, Validation section 6); a keyword
 * of one type says nothing about values of others, so its negation asks for its type.
 *
 *   literals, one after the other: atoms at once, other literals onto the list, choices aside;
 *   then the choices, one after the other: each alternative is a copy that goes on alone.
 *
 * Alternatives die as soon as no type is left, which keeps the product of choices small; what is left is bounded. */
#include "grammar/compile.h"

#include <assert.h>

/* One alternative while it is made. Lists are shared between copies and only ever grow at the front. */
struct draft {
    unsigned types;
    const struct pending *pending;
    const struct branch_point *branches;
    const struct atom *atoms;
};

enum { ALL_OF_ANY_MAX = 6, PAIRS_MAX = 24, DEPTH_MAX = 256 };

/* ---- building lists ---- */

static bool push(struct compiler *c, const struct pending **list, struct literal lit)
{
    struct pending *p = ARENA_ARRAY(c->a, struct pending, 1, "schema", c->e);
    if (p == NULL) return false;
    *p = (struct pending){ lit, *list };
    *list = p;
    return true;
}

static struct literal derived(const struct literal *from, const json_value *v, bool negative)
{
    struct literal lit = *from;
    lit.kind = LIT_SCHEMA;
    lit.v = v;
    lit.negative = negative;
    lit.depth++;
    if (negative) lit.scope = NULL; /* what has to fail evaluates nothing */
    return lit;
}

static struct atom *new_atom(struct compiler *c, const struct atom **list, enum atom_op op, const struct literal *lit)
{
    struct atom *a = ARENA_ARRAY(c->a, struct atom, 1, "schema", c->e);
    if (a == NULL) return NULL;
    *a = (struct atom){ .op = op, .lit = *lit, .next = *list };
    *list = a;
    return a;
}

static struct alternative *new_alternative(struct compiler *c, const struct alternative **list, unsigned types)
{
    struct alternative *a = ARENA_ARRAY(c->a, struct alternative, 1, "schema", c->e);
    if (a == NULL) return NULL;
    *a = (struct alternative){ .types = types, .next = *list };
    *list = a;
    return a;
}

/* One more alternative: a literal, of the given types. */
static bool choose(struct compiler *c, const struct alternative **list, unsigned types, struct literal lit)
{
    struct alternative *a = new_alternative(c, list, types);
    return a != NULL && push(c, &a->add, lit);
}

static struct atom *choose_atom(struct compiler *c, const struct alternative **list, unsigned types, enum atom_op op,
                                const struct literal *lit)
{
    struct alternative *a = new_alternative(c, list, types);
    return a == NULL ? NULL : new_atom(c, &a->atoms, op, lit);
}

static bool set_aside(struct compiler *c, struct draft *d, const struct alternative *alternatives)
{
    struct branch_point *b = ARENA_ARRAY(c->a, struct branch_point, 1, "schema", c->e);
    if (b == NULL) return false;
    *b = (struct branch_point){ alternatives, d->branches };
    d->branches = b;
    return true;
}

/* ---- constants ---- */

static unsigned type_of(const json_value *v)
{
    static const unsigned TYPES[] = {
        [JSON_NULL] = T_NULL,    [JSON_FALSE] = T_FALSE,   [JSON_TRUE] = T_TRUE,   [JSON_INT] = T_NUMBER,
        [JSON_FLOAT] = T_NUMBER, [JSON_STRING] = T_STRING, [JSON_ARRAY] = T_ARRAY, [JSON_OBJECT] = T_OBJECT
    };
    return TYPES[v->type];
}

static bool is_plain(const json_value *v)
{
    return (type_of(v) & (T_NUMBER | T_STRING)) != 0;
}

static bool add_const(struct compiler *c, struct draft *d, const struct literal *lit)
{
    unsigned type = type_of(lit->v);
    enum atom_op op = type == T_OBJECT ? ATOM_CONST_OBJECT : type == T_ARRAY ? ATOM_CONST_ARRAY : ATOM_ENUM;
    d->types &= type;
    if ((type & (T_NULL | T_FALSE | T_TRUE)) != 0) return true;
    return new_atom(c, &d->atoms, op, lit) != NULL;
}

/* Not this array: another length, or an item that differs. */
static bool not_array(struct compiler *c, struct draft *d, const struct literal *lit)
{
    const struct alternative *list = NULL;
    struct atom *a;
    uint32_t index = 0;
    if (new_alternative(c, &list, T_ALL & ~(unsigned)T_ARRAY) == NULL) return false;
    if ((a = choose_atom(c, &list, T_ARRAY, ATOM_LEAST_ITEMS, lit)) == NULL) return false;
    a->least = lit->v->count + 1ull;
    if (lit->v->count > 0) {
        if ((a = choose_atom(c, &list, T_ARRAY, ATOM_MOST_ITEMS, lit)) == NULL) return false;
        a->most = lit->v->count - 1ull;
    }
    JSON_EACH(item, lit->v)
    {
        struct literal one = derived(lit, item, true);
        one.kind = LIT_CONST;
        if ((a = choose_atom(c, &list, T_ARRAY, ATOM_ITEM, &one)) == NULL) return false;
        a->least = index++;
    }
    return set_aside(c, d, list);
}

static bool not_object(struct compiler *c, struct draft *d, const struct literal *lit)
{
    const struct alternative *list = NULL;
    struct atom *a;
    if (new_alternative(c, &list, T_ALL & ~(unsigned)T_OBJECT) == NULL) return false;
    if ((a = choose_atom(c, &list, T_OBJECT, ATOM_LEAST_MEMBERS, lit)) == NULL) return false;
    a->least = lit->v->count + 1ull;
    JSON_EACH(member, lit->v)
    {
        struct literal one = derived(lit, member, true);
        one.kind = LIT_CONST;
        if ((a = choose_atom(c, &list, T_OBJECT, ATOM_ABSENT, lit)) == NULL) return false;
        a->name = member->key;
        if ((a = choose_atom(c, &list, T_OBJECT, ATOM_MEMBER, &one)) == NULL) return false;
        a->name = member->key;
    }
    return set_aside(c, d, list);
}

static bool add_not_const(struct compiler *c, struct draft *d, const struct literal *lit)
{
    unsigned type = type_of(lit->v);
    if (type == T_OBJECT) return not_object(c, d, lit);
    if (type == T_ARRAY) return not_array(c, d, lit);
    if (is_plain(lit->v)) return new_atom(c, &d->atoms, ATOM_NOT, lit) != NULL;
    d->types &= ~type;
    return true;
}

/* An enum: its plain values are one alternative, each array and object is one of its own. */
static bool add_enum(struct compiler *c, struct draft *d, const struct literal *lit)
{
    const struct alternative *list = NULL;
    unsigned plain = 0;
    if (lit->v->type != JSON_ARRAY) return invalid(c, lit->source, lit->v, "is no list of values");
    if (lit->v->count > GRAMMAR_ENUM_MAX) return refuse(c, lit->source, lit->v, "has more than 65536 values");
    JSON_EACH(item, lit->v)
    {
        unsigned type = type_of(item);
        struct literal one = *lit;
        one.kind = LIT_CONST;
        one.v = item;
        if (lit->negative) {
            if (!add_not_const(c, d, &one)) return false;
        } else if ((type & (T_ARRAY | T_OBJECT)) == 0) {
            plain |= type;
        } else if (!choose(c, &list, type, one)) {
            return false;
        }
    }
    if (lit->negative) return true;
    if (plain != 0 || list == NULL) {
        struct alternative *a = new_alternative(c, &list, plain);
        if (a == NULL || new_atom(c, &a->atoms, ATOM_ENUM, lit) == NULL) return false;
    }
    return set_aside(c, d, list);
}

/* ---- keywords ---- */

struct place { /* a keyword of a schema that is being applied */
    struct compiler *c;
    struct draft *d;
    const struct literal *lit;               /* the schema */
    const json_value *v;                     /* the keyword's value */
    const struct alternative **alternatives; /* where the schema must fail: ways to */
    const struct keyword *row;
};

struct keyword {
    const char *name;
    unsigned types; /* that it speaks of */
    bool (*apply)(const struct place *p);
    bool (*refute)(const struct place *p); /* adds alternatives in which it does not hold */
    int arg;
};

static bool types_of(const struct place *p, unsigned *types, bool *integer)
{
    static const struct {
        const char *name;
        unsigned types;
    } NAMES[] = { { "null", T_NULL },   { "boolean", T_FALSE | T_TRUE }, { "number", T_NUMBER }, { "string", T_STRING },
                  { "array", T_ARRAY }, { "object", T_OBJECT } };
    const json_value *one = p->v->type == JSON_ARRAY ? p->v->first : p->v;
    bool number = false;
    *types = 0;
    *integer = false;
    for (; one != NULL; one = p->v->type == JSON_ARRAY ? one->next : NULL) {
        bool known = one->type == JSON_STRING && view_is(one->text, "integer");
        *integer = *integer || known;
        for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES && one->type == JSON_STRING; i++)
            if (view_is(one->text, NAMES[i].name)) *types |= NAMES[i].types, known = true;
        if (!known) return invalid(p->c, p->lit->source, one, "is no type");
    }
    number = (*types & T_NUMBER) != 0;
    *integer = *integer && !number;
    return true;
}

static bool apply_type(const struct place *p)
{
    unsigned types;
    bool integer;
    if (!types_of(p, &types, &integer)) return false;
    p->d->types &= types | (integer ? T_NUMBER : 0);
    return !integer || new_atom(p->c, &p->d->atoms, ATOM_INTEGER, p->lit) != NULL;
}

static bool fail_type(const struct place *p)
{
    unsigned types;
    bool integer;
    if (!types_of(p, &types, &integer)) return false;
    struct alternative *a = new_alternative(p->c, p->alternatives, T_ALL & ~types);
    if (a == NULL) return false;
    if (!integer) return true;
    struct atom *whole = new_atom(p->c, &a->atoms, ATOM_INTEGER, p->lit);
    if (whole != NULL) whole->negative = true;
    return whole != NULL;
}

static struct literal keyword_literal(const struct place *p, enum literal_kind kind, bool negative)
{
    struct literal lit = derived(p->lit, p->v, negative);
    lit.kind = (uint8_t)kind;
    return lit;
}

static bool apply_value(const struct place *p) /* const, enum */
{
    return push(p->c, &p->d->pending, keyword_literal(p, (enum literal_kind)p->row->arg, false));
}

static bool fail_value(const struct place *p)
{
    return choose(p->c, p->alternatives, T_ALL, keyword_literal(p, (enum literal_kind)p->row->arg, true));
}

/* Bounds of numbers, multipleOf: an atom that holds or not. */
static bool number_atom_of(const struct place *p, const struct atom **atoms, bool negative)
{
    bool multiple = p->row->arg == NUMBER_MULTIPLE;
    if (p->v->type != JSON_INT && p->v->type != JSON_FLOAT) return invalid(p->c, p->lit->source, p->v, "is no number");
    struct literal lit = keyword_literal(p, LIT_CONST, negative);
    struct atom *a = new_atom(p->c, atoms, multiple ? ATOM_MULTIPLE : ATOM_BOUND, &lit);
    if (a == NULL) return false;
    static const uint8_t OPPOSITE[] = { [NUMBER_ATLEAST] = NUMBER_BELOW,
                                        [NUMBER_ABOVE] = NUMBER_ATMOST,
                                        [NUMBER_ATMOST] = NUMBER_ABOVE,
                                        [NUMBER_BELOW] = NUMBER_ATLEAST };
    a->negative = negative && multiple;
    a->bound = negative && !multiple ? OPPOSITE[p->row->arg] : (uint8_t)p->row->arg;
    return true;
}

static bool apply_number(const struct place *p)
{
    return number_atom_of(p, &p->d->atoms, false);
}

static bool fail_number(const struct place *p)
{
    struct alternative *a = new_alternative(p->c, p->alternatives, T_NUMBER);
    return a != NULL && number_atom_of(p, &a->atoms, true);
}

/* Counts: the keyword's opposite is the other bound, one off. `arg` is the atom of the keyword. */
static bool is_least(int op)
{
    return op == ATOM_LEAST_CHARS || op == ATOM_LEAST_ITEMS || op == ATOM_LEAST_MEMBERS;
}

static bool apply_count(const struct place *p)
{
    uint64_t n;
    if (!keyword_count(p->c, p->lit->source, p->v, &n)) return false;
    struct literal lit = keyword_literal(p, LIT_CONST, false);
    struct atom *a = new_atom(p->c, &p->d->atoms, (enum atom_op)p->row->arg, &lit);
    if (a == NULL) return false;
    a->least = a->most = n;
    return true;
}

static bool fail_count(const struct place *p)
{
    uint64_t n;
    bool least = is_least(p->row->arg);
    if (!keyword_count(p->c, p->lit->source, p->v, &n)) return false;
    if (least && n == 0) return true; /* never fails: no alternative */
    struct literal lit = keyword_literal(p, LIT_CONST, true);
    struct atom *a = choose_atom(p->c, p->alternatives, p->row->types, (enum atom_op)(p->row->arg + (least ? 1 : -1)),
                                 &lit);
    if (a == NULL) return false;
    a->least = a->most = least ? n - 1 : n + 1;
    return true;
}

static bool pattern_of(const struct place *p, const struct atom **atoms, bool negative)
{
    if (p->v->type != JSON_STRING) return invalid(p->c, p->lit->source, p->v, "is no text");
    struct literal lit = keyword_literal(p, LIT_CONST, negative);
    struct atom *a = new_atom(p->c, atoms, (enum atom_op)p->row->arg, &lit);
    if (a != NULL) a->negative = negative;
    return a != NULL;
}

static bool apply_pattern(const struct place *p)
{
    return pattern_of(p, &p->d->atoms, false);
}

static bool fail_pattern(const struct place *p)
{
    struct alternative *a = new_alternative(p->c, p->alternatives, T_STRING);
    return a != NULL && pattern_of(p, &a->atoms, true);
}

static bool apply_format(const struct place *p)
{
    bool known;
    if (p->v->type != JSON_STRING) return invalid(p->c, p->lit->source, p->v, "is no text");
    view pattern = format_pattern(p->v->text, &known);
    if (p->c->set->formats_ignored || !known) return true; /* an unknown format is an annotation: the specification */
    if (pattern.len_bytes == 0) {
        return (p->d->types & T_STRING) == 0 || refuse(p->c, p->lit->source, p->v, "this format can not be enforced");
    }
    return pattern_of(p, &p->d->atoms, false);
}

/* The pattern of a format is a part of it: its opposite would be too much. */
static bool fail_format(const struct place *p)
{
    bool known;
    if (p->v->type == JSON_STRING) (void)format_pattern(p->v->text, &known);
    if (p->c->set->formats_ignored || (p->v->type == JSON_STRING && !known)) return true;
    return refuse(p->c, p->lit->source, p->v, "a format that must not hold can not be enforced");
}

/* ---- keywords that apply schemas to the same value ---- */

static bool apply_not(const struct place *p)
{
    return push(p->c, &p->d->pending, derived(p->lit, p->v, true));
}

static bool fail_not(const struct place *p)
{
    struct literal lit = derived(p->lit, p->v, false);
    lit.scope = NULL;
    return choose(p->c, p->alternatives, T_ALL, lit);
}

static bool ref_target(const struct place *p, struct literal *out)
{
    const json_value *target;
    if (!refs_find(p->c, p->lit->source, p->lit->v, p->v, p->row->arg != 0, &target)) return false;
    *out = derived(p->lit, target, p->lit->negative);
    return true;
}

static bool apply_ref(const struct place *p)
{
    struct literal lit;
    return ref_target(p, &lit) && push(p->c, &p->d->pending, lit);
}

static bool fail_ref(const struct place *p)
{
    struct literal lit;
    return ref_target(p, &lit) && choose(p->c, p->alternatives, T_ALL, lit);
}

static bool list_check(const struct place *p)
{
    return (p->v->type == JSON_ARRAY && p->v->count > 0) ||
           invalid(p->c, p->lit->source, p->v, "is no list of schemas");
}

static bool apply_all_of(const struct place *p)
{
    if (!list_check(p)) return false;
    JSON_EACH(item, p->v)
    if (!push(p->c, &p->d->pending, derived(p->lit, item, false))) return false;
    return true;
}

static bool fail_all_of(const struct place *p)
{
    if (!list_check(p)) return false;
    JSON_EACH(item, p->v)
    if (!choose(p->c, p->alternatives, T_ALL, derived(p->lit, item, true))) return false;
    return true;
}

/* Every set of them but the empty one: below an unevaluated* it matters which hold together. */
static bool any_of_sets(const struct place *p)
{
    const struct alternative *list = NULL;
    for (uint32_t bits = 1; bits < 1u << p->v->count; bits++) {
        struct alternative *a = new_alternative(p->c, &list, T_ALL);
        uint32_t index = 0;
        if (a == NULL) return false;
        JSON_EACH(item, p->v)
        if ((bits >> index++ & 1) != 0 && !push(p->c, &a->add, derived(p->lit, item, false))) return false;
    }
    return set_aside(p->c, p->d, list);
}

static bool apply_any_of(const struct place *p)
{
    const struct alternative *list = NULL;
    if (!list_check(p)) return false;
    if (p->lit->scope != NULL && p->v->count > ALL_OF_ANY_MAX)
        return refuse(p->c, p->lit->source, p->v, "more than 6 alternatives below an unevaluated* keyword");
    if (p->lit->scope != NULL) return any_of_sets(p);
    JSON_EACH(item, p->v)
    if (!choose(p->c, &list, T_ALL, derived(p->lit, item, false))) return false;
    return set_aside(p->c, p->d, list);
}

static bool fail_any_of(const struct place *p)
{
    struct alternative *a = new_alternative(p->c, p->alternatives, T_ALL);
    if (a == NULL || !list_check(p)) return false;
    JSON_EACH(item, p->v)
    if (!push(p->c, &a->add, derived(p->lit, item, true))) return false;
    return true;
}

/* Can no value meet two of them? */
static bool one_of_apart(const struct place *p, bool *apart)
{
    *apart = false;
    if (p->v->count > PAIRS_MAX || p->lit->depth > 32) return true;
    JSON_EACH(left, p->v)
    for (const json_value *right = left->next; right != NULL; right = right->next) {
        struct literal both[] = { derived(p->lit, left, false), derived(p->lit, right, false) };
        both[0].scope = both[1].scope = NULL;
        bool empty;
        if (!goal_empty(p->c, both, 2, 0, &empty)) return false;
        if (!empty) return true;
    }
    *apart = true;
    return true;
}

static bool apply_one_of(const struct place *p)
{
    const struct alternative *list = NULL;
    bool apart;
    if (!list_check(p) || !one_of_apart(p, &apart)) return false;
    JSON_EACH(item, p->v)
    {
        struct alternative *a = new_alternative(p->c, &list, T_ALL);
        if (a == NULL || !push(p->c, &a->add, derived(p->lit, item, false))) return false;
        if (apart) continue;
        JSON_EACH(other, p->v)
        if (other != item && !push(p->c, &a->add, derived(p->lit, other, true))) return false;
    }
    return set_aside(p->c, p->d, list);
}

/* None, or at least two. */
static bool fail_one_of(const struct place *p)
{
    if (!list_check(p) || !fail_any_of(p)) return false;
    JSON_EACH(left, p->v)
    for (const json_value *right = left->next; right != NULL; right = right->next) {
        struct alternative *a = new_alternative(p->c, p->alternatives, T_ALL);
        struct literal one = derived(p->lit, left, false), two = derived(p->lit, right, false);
        one.scope = two.scope = NULL;
        if (a == NULL || !push(p->c, &a->add, one) || !push(p->c, &a->add, two)) return false;
    }
    return true;
}

/* if: holds, and then does; or does not, and else does. */
static bool if_alternatives(const struct place *p, const struct alternative **list, bool negative)
{
    const json_value *then = json_get(p->lit->v, "then"), *other = json_get(p->lit->v, "else");
    for (unsigned side = 0; side < 2; side++) {
        const json_value *follows = side == 0 ? then : other;
        if (negative && follows == NULL) continue;
        struct alternative *a = new_alternative(p->c, list, T_ALL);
        if (a == NULL || !push(p->c, &a->add, derived(p->lit, p->v, side == 1))) return false;
        if (follows != NULL && !push(p->c, &a->add, derived(p->lit, follows, negative))) return false;
    }
    return true;
}

static bool apply_if(const struct place *p)
{
    const struct alternative *list = NULL;
    bool scoped = p->lit->scope != NULL; /* `if` alone evaluates too */
    if (!scoped && json_get(p->lit->v, "then") == NULL && json_get(p->lit->v, "else") == NULL) return true;
    return if_alternatives(p, &list, false) && set_aside(p->c, p->d, list);
}

static bool fail_if(const struct place *p)
{
    return if_alternatives(p, p->alternatives, true);
}

/* ---- objects ---- */

static bool object_check(const struct place *p)
{
    return p->v->type == JSON_OBJECT || invalid(p->c, p->lit->source, p->v, "is no object");
}

/* One atom for all of properties, patternProperties, additionalProperties, unevaluatedProperties of a schema. */
static bool apply_members(const struct place *p)
{
    bool object = view_is(p->v->key, "properties") || view_is(p->v->key, "patternProperties");
    if (object && !object_check(p)) return false;
    for (const struct atom *a = p->d->atoms; a != NULL; a = a->next)
        if (a->op == ATOM_MEMBERS && a->lit.v == p->lit->v && a->lit.scope == p->lit->scope) return true;
    return new_atom(p->c, &p->d->atoms, ATOM_MEMBERS, p->lit) != NULL;
}

static bool fail_properties(const struct place *p)
{
    if (!object_check(p)) return false;
    JSON_EACH(member, p->v)
    {
        struct literal lit = derived(p->lit, member, true);
        struct atom *a = choose_atom(p->c, p->alternatives, T_OBJECT, ATOM_MEMBER, &lit);
        if (a == NULL) return false;
        a->name = member->key;
    }
    return true;
}

/* Some member that the schema does not list fails `additionalProperties`: can be said where that is `false`. */
static bool fail_additional(const struct place *p)
{
    if (p->v->type == JSON_TRUE || (p->v->type == JSON_OBJECT && p->v->count == 0)) return true;
    if (p->v->type != JSON_FALSE || json_get(p->lit->v, "patternProperties") != NULL)
        return refuse(p->c, p->lit->source, p->v, "must fail for some member here, which can not be enforced");
    return choose_atom(p->c, p->alternatives, T_OBJECT, ATOM_OTHER_MEMBERS, p->lit) != NULL;
}

static bool fail_unsupported(const struct place *p)
{
    return refuse(p->c, p->lit->source, p->v, "must not hold here (not, oneOf, if), which can not be enforced");
}

static bool apply_names(const struct place *p)
{
    struct literal lit = derived(p->lit, p->v, false);
    return new_atom(p->c, &p->d->atoms, ATOM_NAMES, &lit) != NULL;
}

static bool names_each(const struct place *p, enum atom_op op, bool alternatives)
{
    if (p->v->type != JSON_ARRAY) return invalid(p->c, p->lit->source, p->v, "is no list of names");
    JSON_EACH(name, p->v)
    {
        if (name->type != JSON_STRING) return invalid(p->c, p->lit->source, name, "is no name");
        struct atom *a = alternatives ? choose_atom(p->c, p->alternatives, T_OBJECT, op, p->lit)
                                      : new_atom(p->c, &p->d->atoms, op, p->lit);
        if (a == NULL) return false;
        a->name = name->text;
    }
    return true;
}

static bool apply_required(const struct place *p)
{
    return names_each(p, ATOM_REQUIRED, false);
}

static bool fail_required(const struct place *p)
{
    return names_each(p, ATOM_ABSENT, true);
}

/* dependentSchemas and dependentRequired: the name is absent, or what depends on it holds. */
static bool apply_dependent(const struct place *p)
{
    if (!object_check(p)) return false;
    JSON_EACH(member, p->v)
    {
        const struct alternative *list = NULL;
        struct atom *a = choose_atom(p->c, &list, T_ALL, ATOM_ABSENT, p->lit);
        if (a == NULL) return false;
        a->name = member->key;
        struct alternative *there = new_alternative(p->c, &list, T_OBJECT);
        if (there == NULL || (a = new_atom(p->c, &there->atoms, ATOM_REQUIRED, p->lit)) == NULL) return false;
        a->name = member->key;
        if (p->row->arg != 0) {
            if (!push(p->c, &there->add, derived(p->lit, member, false))) return false;
        } else {
            JSON_EACH(name, member)
            {
                if (name->type != JSON_STRING) return invalid(p->c, p->lit->source, name, "is no name");
                if ((a = new_atom(p->c, &there->atoms, ATOM_REQUIRED, p->lit)) == NULL) return false;
                a->name = name->text;
            }
        }
        if (!set_aside(p->c, p->d, list)) return false;
    }
    return true;
}

static bool fail_dependent(const struct place *p)
{
    if (!object_check(p)) return false;
    JSON_EACH(member, p->v)
    {
        if (p->row->arg != 0) {
            struct alternative *a = new_alternative(p->c, p->alternatives, T_OBJECT);
            struct atom *name = a == NULL ? NULL : new_atom(p->c, &a->atoms, ATOM_REQUIRED, p->lit);
            if (name == NULL || !push(p->c, &a->add, derived(p->lit, member, true))) return false;
            name->name = member->key;
            continue;
        }
        JSON_EACH(other, member)
        {
            struct alternative *a = new_alternative(p->c, p->alternatives, T_OBJECT);
            struct atom *name = a == NULL ? NULL : new_atom(p->c, &a->atoms, ATOM_REQUIRED, p->lit);
            struct atom *absent = name == NULL ? NULL : new_atom(p->c, &a->atoms, ATOM_ABSENT, p->lit);
            if (absent == NULL) return false;
            name->name = member->key;
            absent->name = other->text;
        }
    }
    return true;
}

/* ---- arrays ---- */

static bool apply_items(const struct place *p) /* items, prefixItems, unevaluatedItems */
{
    if (p->row->arg != 0 && p->v->type != JSON_ARRAY)
        return invalid(p->c, p->lit->source, p->v, "is no list of schemas");
    if (p->row->arg == 0 && p->v->type == JSON_ARRAY)
        return refuse(p->c, p->lit->source, p->v, "a list of schemas: 2020-12 says prefixItems");
    for (const struct atom *a = p->d->atoms; a != NULL; a = a->next)
        if (a->op == ATOM_ITEMS && a->lit.v == p->lit->v && a->lit.scope == p->lit->scope) return true;
    return new_atom(p->c, &p->d->atoms, ATOM_ITEMS, p->lit) != NULL;
}

static bool fail_prefix(const struct place *p)
{
    uint32_t index = 0;
    JSON_EACH(item, p->v)
    {
        struct literal lit = derived(p->lit, item, true);
        struct atom *a = choose_atom(p->c, p->alternatives, T_ARRAY, ATOM_ITEM, &lit);
        if (a == NULL) return false;
        a->least = index++;
    }
    return true;
}

/* Some item behind the prefix fails. */
static bool fail_items(const struct place *p)
{
    const json_value *prefix = json_get(p->lit->v, "prefixItems");
    struct literal lit = derived(p->lit, p->v, true);
    struct atom *a = choose_atom(p->c, p->alternatives, T_ARRAY, ATOM_CONTAINS, &lit);
    if (a == NULL) return false;
    a->least = 1;
    a->most = UINT64_MAX;
    a->from = prefix != NULL ? prefix->count : 0;
    return true;
}

static bool contains_counts(const struct place *p, uint64_t *least, uint64_t *most)
{
    const json_value *min = json_get(p->lit->v, "minContains"), *max = json_get(p->lit->v, "maxContains");
    *least = 1;
    *most = UINT64_MAX;
    return (min == NULL || keyword_count(p->c, p->lit->source, min, least)) &&
           (max == NULL || keyword_count(p->c, p->lit->source, max, most));
}

static bool apply_contains(const struct place *p)
{
    struct literal lit = derived(p->lit, p->v, false);
    struct atom *a = new_atom(p->c, &p->d->atoms, ATOM_CONTAINS, &lit);
    return a != NULL && contains_counts(p, &a->least, &a->most);
}

static bool fail_contains(const struct place *p)
{
    uint64_t least, most;
    struct literal lit = derived(p->lit, p->v, false);
    if (!contains_counts(p, &least, &most)) return false;
    if (least > 0) {
        struct atom *a = choose_atom(p->c, p->alternatives, T_ARRAY, ATOM_CONTAINS, &lit);
        if (a == NULL) return false;
        a->most = least - 1;
    }
    if (most == UINT64_MAX) return true;
    struct atom *a = choose_atom(p->c, p->alternatives, T_ARRAY, ATOM_CONTAINS, &lit);
    if (a == NULL) return false;
    a->least = most + 1;
    a->most = UINT64_MAX;
    return true;
}

static bool apply_unique(const struct place *p)
{
    struct literal lit = keyword_literal(p, LIT_CONST, false);
    if (p->v->type == JSON_FALSE) return true;
    if (p->v->type != JSON_TRUE) return invalid(p->c, p->lit->source, p->v, "is neither true nor false");
    return new_atom(p->c, &p->d->atoms, ATOM_UNIQUE, &lit) != NULL;
}

static bool fail_unique(const struct place *p)
{
    return p->v->type == JSON_FALSE || fail_unsupported(p);
}

static bool apply_refused(const struct place *p)
{
    return refuse(p->c, p->lit->source, p->v, "is of another draft: not supported");
}

static bool apply_nothing(const struct place *p)
{
    (void)p;
    return true;
}

/* Annotations and places for schemas that others refer to; then, else, minContains and maxContains are read by others.
 */
static const struct keyword KEYWORDS[] = {
    { "type", T_ALL, apply_type, fail_type, 0 },
    { "const", T_ALL, apply_value, fail_value, LIT_CONST },
    { "enum", T_ALL, apply_value, fail_value, LIT_ENUM },
    { "minimum", T_NUMBER, apply_number, fail_number, NUMBER_ATLEAST },
    { "maximum", T_NUMBER, apply_number, fail_number, NUMBER_ATMOST },
    { "exclusiveMinimum", T_NUMBER, apply_number, fail_number, NUMBER_ABOVE },
    { "exclusiveMaximum", T_NUMBER, apply_number, fail_number, NUMBER_BELOW },
    { "multipleOf", T_NUMBER, apply_number, fail_number, NUMBER_MULTIPLE },
    { "minLength", T_STRING, apply_count, fail_count, ATOM_LEAST_CHARS },
    { "maxLength", T_STRING, apply_count, fail_count, ATOM_MOST_CHARS },
    { "pattern", T_STRING, apply_pattern, fail_pattern, ATOM_PATTERN },
    { "format", T_STRING, apply_format, fail_format, ATOM_FORMAT },
    { "not", T_ALL, apply_not, fail_not, 0 },
    { "$ref", T_ALL, apply_ref, fail_ref, 0 },
    { "$dynamicRef", T_ALL, apply_ref, fail_ref, 1 },
    { "allOf", T_ALL, apply_all_of, fail_all_of, 0 },
    { "anyOf", T_ALL, apply_any_of, fail_any_of, 0 },
    { "oneOf", T_ALL, apply_one_of, fail_one_of, 0 },
    { "if", T_ALL, apply_if, fail_if, 0 },
    { "properties", T_OBJECT, apply_members, fail_properties, 0 },
    { "patternProperties", T_OBJECT, apply_members, fail_unsupported, 0 },
    { "additionalProperties", T_OBJECT, apply_members, fail_additional, 0 },
    { "unevaluatedProperties", T_OBJECT, apply_members, fail_unsupported, 0 },
    { "propertyNames", T_OBJECT, apply_names, fail_unsupported, 0 },
    { "required", T_OBJECT, apply_required, fail_required, 0 },
    { "minProperties", T_OBJECT, apply_count, fail_count, ATOM_LEAST_MEMBERS },
    { "maxProperties", T_OBJECT, apply_count, fail_count, ATOM_MOST_MEMBERS },
    { "dependentRequired", T_OBJECT, apply_dependent, fail_dependent, 0 },
    { "dependentSchemas", T_OBJECT, apply_dependent, fail_dependent, 1 },
    { "prefixItems", T_ARRAY, apply_items, fail_prefix, 1 },
    { "items", T_ARRAY, apply_items, fail_items, 0 },
    { "unevaluatedItems", T_ARRAY, apply_items, fail_unsupported, 0 },
    { "minItems", T_ARRAY, apply_count, fail_count, ATOM_LEAST_ITEMS },
    { "maxItems", T_ARRAY, apply_count, fail_count, ATOM_MOST_ITEMS },
    { "contains", T_ARRAY, apply_contains, fail_contains, 0 },
    { "uniqueItems", T_ARRAY, apply_unique, fail_unique, 0 },
    { "dependencies", T_OBJECT, apply_refused, apply_refused, 0 },
    { "additionalItems", T_ARRAY, apply_refused, apply_refused, 0 },
    { "$recursiveRef", T_ALL, apply_refused, apply_refused, 0 },
    { "then", T_ALL, apply_nothing, apply_nothing, 0 },
    { "else", T_ALL, apply_nothing, apply_nothing, 0 },
    { "minContains", T_ALL, apply_nothing, apply_nothing, 0 },
    { "maxContains", T_ALL, apply_nothing, apply_nothing, 0 },
    { "$id", T_ALL, apply_nothing, apply_nothing, 0 },
    { "$schema", T_ALL, apply_nothing, apply_nothing, 0 },
    { "$anchor", T_ALL, apply_nothing, apply_nothing, 0 },
    { "$dynamicAnchor", T_ALL, apply_nothing, apply_nothing, 0 },
    { "$defs", T_ALL, apply_nothing, apply_nothing, 0 },
    { "definitions", T_ALL, apply_nothing, apply_nothing, 0 },
    { "$comment", T_ALL, apply_nothing, apply_nothing, 0 },
    { "$vocabulary", T_ALL, apply_nothing, apply_nothing, 0 },
    { "title", T_ALL, apply_nothing, apply_nothing, 0 },
    { "description", T_ALL, apply_nothing, apply_nothing, 0 },
    { "default", T_ALL, apply_nothing, apply_nothing, 0 },
    { "examples", T_ALL, apply_nothing, apply_nothing, 0 },
    { "deprecated", T_ALL, apply_nothing, apply_nothing, 0 },
    { "readOnly", T_ALL, apply_nothing, apply_nothing, 0 },
    { "writeOnly", T_ALL, apply_nothing, apply_nothing, 0 },
    { "contentEncoding", T_ALL, apply_nothing, apply_nothing, 0 },
    { "contentMediaType", T_ALL, apply_nothing, apply_nothing, 0 },
    { "contentSchema", T_ALL, apply_nothing, apply_nothing, 0 },
};

static const struct keyword *find_keyword(view name)
{
    for (size_t i = 0; i < sizeof KEYWORDS / sizeof *KEYWORDS; i++)
        if (view_is(name, KEYWORDS[i].name)) return &KEYWORDS[i];
    return NULL;
}

static void note_unknown(struct compiler *c, const struct literal *lit, const json_value *v)
{
    struct grammar_notes *n = c->notes;
    char pointer[80];
    if (n == NULL) return;
    if (n->ignored++ > 0) return;
    json_pointer(lit->source->root, v->offset, pointer, sizeof pointer);
    size_t len = strlen(lit->source->prefix), room = sizeof n->first - 1;
    if (len > room) len = room;
    memcpy(n->first, lit->source->prefix, len);
    strncpy(n->first + len, pointer, room - len);
}

static bool has_unevaluated(const json_value *schema)
{
    return json_get(schema, "unevaluatedProperties") != NULL || json_get(schema, "unevaluatedItems") != NULL;
}

/* Every keyword of a schema, which holds, or (negative) of which one at least does not. */
static bool apply_schema(struct compiler *c, struct draft *d, struct literal *lit)
{
    const struct alternative *list = NULL;
    if (!lit->negative && has_unevaluated(lit->v)) {
        struct scope *scope = ARENA_ARRAY(c->a, struct scope, 1, "schema", c->e);
        if (scope == NULL) return false;
        scope->parent = lit->scope;
        lit->scope = scope;
    }
    JSON_EACH(v, lit->v)
    {
        const struct keyword *row = find_keyword(v->key);
        struct place p = { c, d, lit, v, &list, row };
        if (!step(c)) return false;
        if (row == NULL) note_unknown(c, lit, v);
        else if (lit->negative ? !row->refute(&p) : (d->types & row->types) != 0 && !row->apply(&p)) return false;
    }
    return !lit->negative || set_aside(c, d, list);
}

static bool apply_literal(struct compiler *c, struct draft *d, struct literal *lit)
{
    if (!step(c)) return false;
    if (lit->depth > DEPTH_MAX) return refuse(c, lit->source, lit->v, "refers to itself for the same value");
    if (lit->kind == LIT_CONST) return lit->negative ? add_not_const(c, d, lit) : add_const(c, d, lit);
    if (lit->kind == LIT_ENUM) return add_enum(c, d, lit);
    if (lit->v->type == JSON_TRUE || lit->v->type == JSON_FALSE) {
        if ((lit->v->type == JSON_FALSE) != lit->negative) d->types = 0;
        return true;
    }
    if (lit->v->type != JSON_OBJECT) return invalid(c, lit->source, lit->v, "is no schema");
    return apply_schema(c, d, lit);
}

/* ---- finished alternatives ---- */

static bool finish(struct compiler *c, const struct draft *d, struct shapes *out)
{
    uint32_t count = 0;
    for (const struct atom *a = d->atoms; a != NULL; a = a->next) count++;
    const struct atom **atoms = ARENA_ARRAY(c->a, const struct atom *, count, "schema", c->e);
    if (atoms == NULL) return false;
    uint32_t at = count;
    for (const struct atom *a = d->atoms; a != NULL; a = a->next) atoms[--at] = a;
    if (out->count == GRAMMAR_SHAPES_MAX)
        return fail(c->e, ERR_LIMIT, ERR_NO_OFFSET, "schema: more than %d alternatives at one place",
                    GRAMMAR_SHAPES_MAX);
    out->rows[out->count++] = (struct shape){ d->types, atoms, count };
    return true;
}

static bool go_on(struct compiler *c, struct draft d, struct shapes *out, unsigned depth)
{
    while (d.pending != NULL && d.types != 0) {
        struct literal lit = d.pending->lit;
        d.pending = d.pending->next;
        if (!apply_literal(c, &d, &lit)) return false;
    }
    if (d.types == 0) return true;
    if (d.branches == NULL) return finish(c, &d, out);
    if (depth == 0) return fail(c->e, ERR_LIMIT, ERR_NO_OFFSET, "schema: too many choices inside each other");
    const struct branch_point *b = d.branches;
    d.branches = b->next;
    for (const struct alternative *a = b->alternatives; a != NULL; a = a->next) {
        struct draft one = d;
        one.types &= a->types;
        if (one.types == 0) continue;
        if (!step(c)) return false;
        for (const struct pending *p = a->add; p != NULL; p = p->next)
            if (!push(c, &one.pending, p->lit)) return false;
        for (const struct atom *atom = a->atoms; atom != NULL; atom = atom->next) {
            struct atom *copy = new_atom(c, &one.atoms, atom->op, &atom->lit);
            if (copy == NULL) return false;
            const struct atom *next = copy->next;
            *copy = *atom;
            copy->next = next;
        }
        if (!go_on(c, one, out, depth - 1)) return false;
    }
    return true;
}

bool expand(struct compiler *c, const struct literal *lits, uint32_t count, struct shapes *out)
{
    struct draft d = { .types = T_ALL };
    out->rows = ARENA_ARRAY(c->a, struct shape, GRAMMAR_SHAPES_MAX, "schema", c->e);
    out->count = 0;
    if (out->rows == NULL) return false;
    for (uint32_t i = count; i-- > 0;)
        if (!push(c, &d.pending, lits[i])) return false;
    return go_on(c, d, out, DEPTH_MAX);
}

bool goal_empty(struct compiler *c, const struct literal *lits, uint32_t count, unsigned depth, bool *empty)
{
    struct shapes shapes;
    *empty = false;
    if (depth > 3) return true;
    if (!expand(c, lits, count, &shapes)) return false;
    *empty = true;
    for (uint32_t i = 0; i < shapes.count && *empty; i++)
        if (!shape_empty(c, &shapes.rows[i], depth, empty)) return false;
    return true;
}
