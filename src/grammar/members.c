/* Objects: which names there are, what the value behind each has to meet, and the names nobody listed, in classes by
 * the patterns they match (JSON Schema 2020-12 Core, sections 10.3.2 and 11.3). */
#include "grammar/compile.h"
#include "grammar/sort.h"

#include <assert.h>

enum { PATTERNS_MAX = 6, NAME_RULES_MAX = 6 };

struct name {
    view raw, text; /* text: canonical, behind the opening quote */
    uint32_t rank;
    bool required, absent;
};

struct object_plan {
    struct name *names; /* in the order of their texts */
    uint32_t name_count, name_room;
    view patterns[PATTERNS_MAX];
    const struct dfa *dfas[PATTERNS_MAX];
    uint32_t pattern_count;
    struct string_rules rules[NAME_RULES_MAX]; /* propertyNames: one of them has to hold */
    uint32_t rule_count;
    bool rules_given; /* there is a propertyNames */
    const struct shape *name_shapes;
    uint32_t name_shape_count;
    uint64_t least, most;
    bool possible;
};

static const json_value *keyword(const struct atom *a, const char *name)
{
    return json_get(a->lit.v, name);
}

/* ---- names ---- */

static struct name *find_name(struct object_plan *p, view raw)
{
    for (uint32_t i = 0; i < p->name_count; i++)
        if (view_equal(p->names[i].raw, raw)) return &p->names[i];
    return NULL;
}

static struct name *add_name(struct compiler *c, struct object_plan *p, view raw)
{
    struct name *old = find_name(p, raw);
    if (old != NULL || !step(c)) return old;
    if (p->name_count == p->name_room) {
        uint32_t room = p->name_room == 0 ? 16 : p->name_room * 2;
        struct name *names = ARENA_ARRAY(c->a, struct name, room, "members", c->e);
        if (names == NULL) return NULL;
        if (p->name_count > 0) memcpy(names, p->names, p->name_count * sizeof *names);
        p->names = names;
        p->name_room = room;
    }
    struct name *n = &p->names[p->name_count];
    *n = (struct name){ .raw = raw, .rank = p->name_count };
    if (!string_text(raw, &n->text, c->a, c->e)) return NULL;
    n->text = view_after(n->text, 1);
    p->name_count++;
    return n;
}

static int name_order(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    size_t both = x->text.len_bytes < y->text.len_bytes ? x->text.len_bytes : y->text.len_bytes;
    int order = memcmp(x->text.ptr, y->text.ptr, both);
    return order != 0 ? order : (x->text.len_bytes > y->text.len_bytes) - (x->text.len_bytes < y->text.len_bytes);
}

static bool add_each(struct compiler *c, struct object_plan *p, const json_value *object)
{
    JSON_EACH(member, object)
    if (add_name(c, p, member->key) == NULL) return false;
    return true;
}

static bool add_patterns(struct compiler *c, struct object_plan *p, const struct atom *a)
{
    const json_value *all = keyword(a, "patternProperties");
    if (all == NULL) return true;
    JSON_EACH(one, all)
    {
        uint32_t i = 0;
        while (i < p->pattern_count && !view_equal(p->patterns[i], one->key)) i++;
        if (i < p->pattern_count) continue;
        if (i == PATTERNS_MAX) return refuse(c, a->lit.source, one, "more than 6 patterns for names");
        err e = { 0 }, *outer = c->e;
        c->e = &e;
        bool good = pattern_dfa(c, one->key, &p->dfas[i]);
        c->e = outer;
        if (!good) return refuse(c, a->lit.source, one, e.text);
        p->patterns[p->pattern_count++] = one->key;
    }
    return true;
}

/* propertyNames: what names may be, as shapes of strings. Shapes that list names list members. */
static bool add_name_shapes(struct compiler *c, const struct shape *s, struct object_plan *p)
{
    struct literals lits = { 0 };
    struct shapes shapes;
    for (uint32_t i = 0; i < s->atom_count; i++) {
        struct literal lit = s->atoms[i]->lit;
        lit.scope = NULL;
        lit.depth = 0;
        if (s->atoms[i]->op == ATOM_NAMES && !literals_add(c, &lits, &lit)) return false;
    }
    if (lits.count == 0) return true;
    p->rules_given = true;
    if (!expand(c, lits.rows, lits.count, &shapes)) return false;
    p->name_shapes = shapes.rows;
    p->name_shape_count = shapes.count;
    for (uint32_t i = 0; i < shapes.count; i++) {
        const json_value *set;
        struct string_rules r;
        if ((shapes.rows[i].types & T_STRING) == 0) continue;
        if (!string_rules_of(c, &shapes.rows[i], &r, &set)) return false;
        if (set == NULL) {
            if (p->rule_count == NAME_RULES_MAX)
                return fail(c->e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "propertyNames: more than 6 alternatives");
            p->rules[p->rule_count++] = r;
            continue;
        }
        SET_EACH(v, set)
            if (v->type == JSON_STRING && add_name(c, p, v->text) == NULL) return false;
    }
    return true;
}

static bool name_allowed(struct compiler *c, const struct object_plan *p, view raw, bool *allowed)
{
    *allowed = !p->rules_given;
    for (uint32_t i = 0; i < p->name_shape_count && !*allowed; i++) {
        const struct shape *s = &p->name_shapes[i];
        const json_value *set;
        struct string_rules r;
        if ((s->types & T_STRING) == 0) continue;
        if (!string_rules_of(c, s, &r, &set)) return false;
        *allowed = string_takes(&r, raw);
        for (uint32_t j = 0; j < s->atom_count; j++)
            if (s->atoms[j]->op == ATOM_ENUM && !set_has_text(s->atoms[j]->lit.v, raw)) *allowed = false;
    }
    return true;
}

static bool plan_atom(struct compiler *c, struct object_plan *p, const struct atom *a)
{
    struct name *n = NULL;
    switch (a->op) {
    case ATOM_MEMBERS:
        if (keyword(a, "properties") != NULL && !add_each(c, p, keyword(a, "properties"))) return false;
        return add_patterns(c, p, a);
    case ATOM_CONST_OBJECT:
        if (!add_each(c, p, a->lit.v)) return false;
        JSON_EACH(member, a->lit.v) find_name(p, member->key)->required = true;
        if (a->lit.v->count < p->most) p->most = a->lit.v->count;
        return true;
    case ATOM_REQUIRED:
    case ATOM_MEMBER:
    case ATOM_ABSENT:
        if ((n = add_name(c, p, a->name)) == NULL) return false;
        if (a->op == ATOM_ABSENT) n->absent = true;
        else n->required = true;
        return true;
    case ATOM_LEAST_MEMBERS:
        if (a->least > p->least) p->least = a->least;
        return true;
    case ATOM_MOST_MEMBERS:
        if (a->most < p->most) p->most = a->most;
        return true;
    case ATOM_OTHER_MEMBERS:
        return refuse(c, a->lit.source, keyword(a, "additionalProperties"),
                      "must fail here, which can not be enforced");
    default:
        return true;
    }
}

static bool object_plan(struct compiler *c, const struct shape *s, struct object_plan *p)
{
    *p = (struct object_plan){ .most = UINT64_MAX, .possible = true };
    for (uint32_t i = 0; i < s->atom_count; i++)
        if (!plan_atom(c, p, s->atoms[i])) return false;
    if (!add_name_shapes(c, s, p)) return false;
    uint64_t required = 0;
    for (uint32_t i = 0; i < p->name_count; i++) {
        bool allowed;
        if (!name_allowed(c, p, p->names[i].raw, &allowed)) return false;
        if (!allowed) p->names[i].absent = true;
        if (p->names[i].required && p->names[i].absent) p->possible = false;
        required += p->names[i].required;
    }
    if (required > p->most || p->least > p->most) p->possible = false;
    if (p->name_count > 0) sort_rows(p->names, p->name_count, sizeof *p->names, name_order);
    return true;
}

/* ---- what a member's value has to meet ---- */

/* A name by what it is: listed (raw set), or a class: bits of the patterns it matches. */
struct which {
    const view *raw;
    uint32_t bits;
};

static bool pattern_matches(const struct object_plan *p, const struct which *w, view pattern)
{
    for (uint32_t i = 0; i < p->pattern_count; i++)
        if (view_equal(p->patterns[i], pattern))
            return w->raw != NULL ? dfa_takes(p->dfas[i], *w->raw) : (w->bits >> i & 1) != 0;
    return false;
}

/* The schemas of one ATOM_MEMBERS for this name; *evaluated: there is one. */
static bool members_of(struct compiler *c, const struct object_plan *p, const struct atom *a, const struct which *w,
                       struct literals *out, bool *evaluated)
{
    const json_value *listed = keyword(a, "properties"), *patterns = keyword(a, "patternProperties");
    const json_value *others = keyword(a, "additionalProperties"), *one = NULL;
    *evaluated = false;
    if (listed != NULL && w->raw != NULL && (one = json_find(listed, *w->raw)) != NULL) {
        struct literal lit = literal_of(&a->lit, one);
        *evaluated = true;
        if (out != NULL && !literals_add(c, out, &lit)) return false;
    }
    if (patterns != NULL) {
        JSON_EACH(pattern, patterns)
        {
            struct literal lit = literal_of(&a->lit, pattern);
            if (!pattern_matches(p, w, pattern->key)) continue;
            *evaluated = true;
            if (out != NULL && !literals_add(c, out, &lit)) return false;
        }
    }
    if (*evaluated || others == NULL) return true;
    struct literal lit = literal_of(&a->lit, others);
    *evaluated = true;
    return out == NULL || literals_add(c, out, &lit);
}

static bool name_evaluated(struct compiler *c, const struct shape *s, const struct object_plan *p,
                           const struct atom *by, const struct which *w, bool *yes)
{
    *yes = false;
    for (uint32_t i = 0; i < s->atom_count && !*yes; i++) {
        const struct atom *a = s->atoms[i];
        if (a->op != ATOM_MEMBERS || !scope_inside(a->lit.scope, by->lit.scope)) continue;
        if (!members_of(c, p, a, w, NULL, yes)) return false;
        if (a != by && keyword(a, "unevaluatedProperties") != NULL) *yes = true;
    }
    return true;
}

static bool value_literals(struct compiler *c, const struct shape *s, const struct object_plan *p,
                           const struct which *w, struct literals *out)
{
    for (uint32_t i = 0; i < s->atom_count; i++) {
        const struct atom *a = s->atoms[i];
        struct literal lit = a->lit;
        lit.scope = NULL;
        lit.depth = 0;
        bool evaluated;
        if (a->op == ATOM_MEMBER && w->raw != NULL && view_equal(a->name, *w->raw) && !literals_add(c, out, &lit))
            return false;
        if (a->op == ATOM_CONST_OBJECT) {
            const json_value *member = w->raw != NULL ? json_find(a->lit.v, *w->raw) : NULL;
            if (member != NULL) {
                lit.kind = LIT_CONST;
                lit.v = member;
                if (!literals_add(c, out, &lit)) return false;
            } /* others have no room: most_members */
        }
        if (a->op != ATOM_MEMBERS) continue;
        if (!members_of(c, p, a, w, out, &evaluated)) return false;
        const json_value *rest = keyword(a, "unevaluatedProperties");
        if (rest == NULL) continue;
        if (!name_evaluated(c, s, p, a, w, &evaluated)) return false;
        lit = literal_of(&a->lit, rest);
        if (!evaluated && !literals_add(c, out, &lit)) return false;
    }
    return true;
}

/* ---- the table's rows ---- */

static bool member_value(struct compiler *c, const struct shape *s, const struct object_plan *p, const struct which *w,
                         uint32_t *node)
{
    struct literals lits = { 0 };
    *node = (uint32_t)TABLE_NONE;
    if (!value_literals(c, s, p, w, &lits)) return false;
    return literals_impossible(&lits) || goal_node(c, lits.rows, lits.count, node);
}

/* Classes of names that are not listed. class_of[bits] gets the class or UINT16_MAX. */
struct classes {
    uint16_t class_of[1 << PATTERNS_MAX];
    uint32_t values[1 << PATTERNS_MAX];
    uint32_t count;
};

static bool plan_classes(struct compiler *c, const struct shape *s, const struct object_plan *p, struct classes *out)
{
    out->count = 0;
    bool no_others = p->rules_given && p->rule_count == 0;
    for (uint32_t bits = 0; bits < 1u << p->pattern_count; bits++) {
        struct which w = { NULL, bits };
        uint32_t value, i = 0;
        out->class_of[bits] = UINT16_MAX;
        if (no_others) continue;
        if (!member_value(c, s, p, &w, &value)) return false;
        if (value == (uint32_t)TABLE_NONE) continue;
        while (i < out->count && out->values[i] != value) i++;
        if (i == out->count) out->values[out->count++] = value;
        out->class_of[bits] = (uint16_t)i;
    }
    return true;
}

static bool key_span(struct compiler *c, const struct object_plan *p, const struct classes *classes, uint32_t *state)
{
    uint32_t count = p->name_count;
    if (p->pattern_count == 0 && (p->rule_count == 0 || classes->count == 0)) {
        struct span_text *texts = ARENA_ARRAY(c->a, struct span_text, count, "members", c->e);
        if (texts == NULL) return false;
        for (uint32_t i = 0; i < count; i++) texts[i] = (struct span_text){ p->names[i].text, (uint16_t)i };
        if (count == 0 && classes->count > 0) return *state = FREE_BODY, true;
        return span_texts(&c->b, texts, count, true, classes->count > 0, state);
    }
    view *listed = ARENA_ARRAY(c->a, view, count, "members", c->e);
    const struct string_rules **rules = ARENA_ARRAY(c->a, const struct string_rules *, NAME_RULES_MAX, "members", c->e);
    if (listed == NULL || rules == NULL) return false;
    for (uint32_t i = 0; i < count; i++) listed[i] = p->names[i].text;
    for (uint32_t i = 0; i < p->rule_count; i++) rules[i] = &p->rules[i];
    struct name_rules r = { .listed = listed,
                            .listed_count = count,
                            .patterns = p->dfas,
                            .pattern_count = p->pattern_count,
                            .class_of = classes->class_of,
                            .rules = rules,
                            .rule_count = p->rule_count };
    return name_span(&c->b, &r, state);
}

static bool put_members(struct compiler *c, const struct shape *s, const struct object_plan *p,
                        const struct classes *classes, struct table_object *o)
{
    uint32_t total = p->name_count + classes->count;
    if (!build_members(&c->b, total, &o->member_first)) return false;
    for (uint32_t i = 0; i < p->name_count; i++) {
        const struct name *n = &p->names[i];
        struct which w = { &n->raw, 0 };
        uint32_t value = (uint32_t)TABLE_NONE;
        if (!n->absent && !member_value(c, s, p, &w, &value)) return false;
        c->b.members[o->member_first + i] = (struct table_member){ .value = value,
                                                                   .key_bytes = (uint32_t)n->text.len_bytes + 1,
                                                                   .rank = (uint16_t)n->rank,
                                                                   .flags = n->required ? MEMBER_REQUIRED : 0 };
    }
    for (uint32_t i = 0; i < classes->count; i++)
        c->b.members[o->member_first + p->name_count + i] = (struct table_member){ .value = classes->values[i],
                                                                                   .key_bytes = 2 };
    return true;
}

bool object_node(struct compiler *c, const struct shape *s, uint32_t *node)
{
    struct object_plan p;
    struct classes classes;
    struct table_object o = { 0 };
    uint32_t index;
    *node = BUILD_NEVER;
    if (!object_plan(c, s, &p)) return false;
    if (!p.possible) return true;
    if (p.name_count > GRAMMAR_MEMBERS_MAX)
        return fail(c->e, ERR_LIMIT, ERR_NO_OFFSET, "object: %u members listed, allowed 0..%d", p.name_count,
                    GRAMMAR_MEMBERS_MAX);
    if (p.least > GRAMMAR_MEMBERS_MAX)
        return fail(c->e, ERR_LIMIT, ERR_NO_OFFSET, "minProperties: %llu, allowed 0..%d", (unsigned long long)p.least,
                    GRAMMAR_MEMBERS_MAX);
    if (!plan_classes(c, s, &p, &classes) || !put_members(c, s, &p, &classes, &o)) return false;
    uint64_t required = 0, usable = 0;
    for (uint32_t i = 0; i < p.name_count; i++) {
        required += p.names[i].required;
        usable += c->b.members[o.member_first + i].value != (uint32_t)TABLE_NONE;
        if (p.names[i].required && c->b.members[o.member_first + i].value == (uint32_t)TABLE_NONE)
            return true; /* never */
    }
    bool narrow = p.pattern_count > 0 || p.rule_count > 0; /* names that are not listed may be few */
    if (p.least > usable && classes.count == 0) return true;
    if (p.least > usable && narrow && p.least > required + 1)
        return fail(c->e, ERR_UNSUPPORTED, ERR_NO_OFFSET,
                    "minProperties: can not be enforced where patterns or propertyNames limit the names");
    if (!key_span(c, &p, &classes, &o.key_state)) return false;
    uint32_t shortest = c->b.states[o.key_state].least; /* of names that are not listed: one byte is their quote */
    for (uint32_t i = 0; i < classes.count; i++)
        c->b.members[o.member_first + p.name_count + i].key_bytes = shortest == LEAST_NEVER ? TOKEN_BYTES_MAX
                                                                                            : shortest + 1;
    o.member_count = (uint16_t)p.name_count;
    o.class_count = (uint16_t)classes.count;
    o.least_members = (uint32_t)p.least;
    o.most_members = p.most > UINT32_MAX ? UINT32_MAX : (uint32_t)p.most;
    o.flags = c->set->any_order || p.least > required ? 0 : OBJECT_ORDERED;
    return build_object(&c->b, o, &index) &&
           build_node(&c->b, (struct table_node){ .op = NODE_OBJECT, .a = index }, node);
}

bool object_empty(struct compiler *c, const struct shape *s, unsigned depth, bool *empty)
{
    struct object_plan p;
    *empty = false;
    if (!object_plan(c, s, &p)) return false;
    *empty = !p.possible;
    for (uint32_t i = 0; i < p.name_count && !*empty; i++) {
        struct which w = { &p.names[i].raw, 0 };
        struct literals lits = { 0 };
        if (!p.names[i].required) continue;
        if (!value_literals(c, s, &p, &w, &lits)) return false;
        if (literals_impossible(&lits)) *empty = true;
        else if (!goal_empty(c, lits.rows, lits.count, depth + 1, empty)) return false;
    }
    return true;
}
