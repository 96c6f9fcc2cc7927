/* One alternative of a value becomes nodes: literals, numbers, strings and arrays here, objects in members.c. */
#include "grammar/compile.h"
#include "grammar/sort.h"

#include <assert.h>

/* ---- lists of literals ---- */

bool literals_add(struct compiler *c, struct literals *l, const struct literal *lit)
{
    if (l->count == l->room) {
        uint32_t room = l->room == 0 ? 4 : l->room * 2;
        struct literal *rows = ARENA_ARRAY(c->a, struct literal, room, "schema", c->e);
        if (rows == NULL) return false;
        if (l->count > 0) memcpy(rows, l->rows, l->count * sizeof *rows);
        l->rows = rows;
        l->room = room;
    }
    l->rows[l->count++] = *lit;
    return true;
}

struct literal literal_of(const struct literal *from, const json_value *v)
{
    return (struct literal){ .source = from->source, .v = v, .kind = LIT_SCHEMA };
}

/* Says `false` on its face. */
bool literals_impossible(const struct literals *l)
{
    for (uint32_t i = 0; i < l->count; i++) {
        const struct literal *lit = &l->rows[i];
        if (lit->kind == LIT_SCHEMA && lit->v->type == (lit->negative ? JSON_TRUE : JSON_FALSE)) return true;
    }
    return false;
}

bool scope_inside(const struct scope *inner, const struct scope *outer)
{
    for (; inner != NULL; inner = inner->parent)
        if (inner == outer) return true;
    return false;
}

/* ---- spans that were made before ---- */

static bool key_put(struct compiler *c, struct made_span *m, const void *bytes, size_t len)
{
    uint8_t *key = ARENA_ARRAY(c->a, uint8_t, m->key.len_bytes + len, "span", c->e);
    if (key == NULL) return false;
    if (m->key.len_bytes > 0) memcpy(key, m->key.ptr, m->key.len_bytes);
    if (len > 0) memcpy(key + m->key.len_bytes, bytes, len);
    m->key = (view){ key, m->key.len_bytes + len };
    return true;
}

static bool key_text(struct compiler *c, struct made_span *m, char op, view text)
{
    uint32_t len = (uint32_t)text.len_bytes;
    return key_put(c, m, &op, 1) && key_put(c, m, &len, sizeof len) && key_put(c, m, text.ptr, len);
}

static struct made_span *find_span(struct compiler *c, view key)
{
    for (uint32_t i = 0; i < c->span_count; i++)
        if (view_equal(c->spans[i].key, key)) return &c->spans[i];
    return NULL;
}

static bool keep_span(struct compiler *c, struct made_span made)
{
    if (!build_grow(&c->b, &c->spans, &c->span_room, c->span_count, 1, sizeof made, GRAMMAR_NODES_MAX, "spans"))
        return false;
    made.empty = c->b.states[made.state].least == LEAST_NEVER;
    c->spans[c->span_count++] = made;
    return true;
}

static bool add_span_node(struct compiler *c, uint32_t state, uint32_t *nodes, uint32_t *count)
{
    if (c->b.states[state].least == LEAST_NEVER) return true; /* nothing of the kind */
    return build_node(&c->b, (struct table_node){ .op = NODE_SPAN, .a = state, .b = BUILD_RETURN }, &nodes[(*count)++]);
}

static int text_order(const void *a, const void *b)
{
    const struct span_text *x = a, *y = b;
    size_t both = x->text.len_bytes < y->text.len_bytes ? x->text.len_bytes : y->text.len_bytes;
    int order = memcmp(x->text.ptr, y->text.ptr, both);
    return order != 0 ? order : (x->text.len_bytes > y->text.len_bytes) - (x->text.len_bytes < y->text.len_bytes);
}

/* A span of some texts, which it sorts; equal ones count once. */
static bool texts_node(struct compiler *c, struct span_text *texts, uint32_t count, uint32_t *nodes,
                       uint32_t *node_count)
{
    uint32_t kept = 0, state;
    sort_rows(texts, count, sizeof *texts, text_order);
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || !view_equal(texts[kept - 1].text, texts[i].text)) texts[kept++] = texts[i];
    if (kept == 0) return true;
    return span_texts(&c->b, texts, kept, false, false, &state) && add_span_node(c, state, nodes, node_count);
}

/* null, true, false */
static bool words_node(struct compiler *c, unsigned types, uint32_t *nodes, uint32_t *count)
{
    struct span_text texts[3];
    uint32_t n = 0;
    if ((types & T_FALSE) != 0) texts[n++].text = view_of("false");
    if ((types & T_NULL) != 0) texts[n++].text = view_of("null");
    if ((types & T_TRUE) != 0) texts[n++].text = view_of("true");
    for (uint32_t i = 0; i < n; i++) texts[i].label = 0;
    struct made_span made = { 0 }, *old;
    if (n == 0) return true;
    if (!key_put(c, &made, &(char){ (char)('0' + (types & 7)) }, 1)) return false;
    if ((old = find_span(c, made.key)) == NULL) {
        if (!span_texts(&c->b, texts, n, false, false, &made.state) || !keep_span(c, made)) return false;
        old = &made;
    }
    return add_span_node(c, old->state, nodes, count);
}

/* ---- numbers ---- */

struct numbers_of {
    struct number_atom atoms[NUMBER_ATOMS_MAX];
    uint32_t count;
    const json_value *set; /* the first enum or const; others filter */
};

static bool number_add(struct compiler *c, struct numbers_of *n, const struct atom *a, struct number_atom one)
{
    if (n->count == NUMBER_ATOMS_MAX) return refuse(c, a->lit.source, a->lit.v, "one number has too many constraints");
    bool plain = one.op == NUMBER_INTEGER;
    if (!plain && !decimal_of(a->lit.v->text, &one.d, c->a))
        return refuse(c, a->lit.source, a->lit.v, "a number of more than 400 digits");
    n->atoms[n->count++] = one;
    return true;
}

static bool number_atoms(struct compiler *c, const struct shape *s, struct numbers_of *n)
{
    *n = (struct numbers_of){ 0 };
    for (uint32_t i = 0; i < s->atom_count; i++) {
        const struct atom *a = s->atoms[i];
        struct number_atom one = { .op = (enum number_op)a->bound, .negate = a->negative };
        bool number = a->lit.v->type == JSON_INT || a->lit.v->type == JSON_FLOAT;
        if (a->op == ATOM_INTEGER) one.op = NUMBER_INTEGER;
        else if (a->op == ATOM_NOT && number) one.op = NUMBER_NOT;
        else if (a->op == ATOM_ENUM && n->set == NULL) n->set = a->lit.v;
        if (a->op != ATOM_INTEGER && a->op != ATOM_BOUND && a->op != ATOM_MULTIPLE && (a->op != ATOM_NOT || !number))
            continue;
        if (!number_add(c, n, a, one)) return false;
        struct number_atom *last = &n->atoms[n->count - 1];
        if (a->op != ATOM_MULTIPLE) continue;
        if (last->d.zero || last->d.negative) return invalid(c, a->lit.source, a->lit.v, "must be above 0");
        if (!number_multiple(last)) return refuse(c, a->lit.source, a->lit.v, "a divisor of more than 3000 steps");
    }
    return true;
}

static bool in_set(struct compiler *c, const json_value *set, const struct decimal *d)
{
    struct decimal other;
    const json_value *one = set->type == JSON_ARRAY ? set->first : set;
    for (; one != NULL; one = set->type == JSON_ARRAY ? one->next : NULL) {
        if (one->type != JSON_INT && one->type != JSON_FLOAT) continue;
        if (decimal_of(one->text, &other, c->a) && decimal_equal(d, &other)) return true;
    }
    return false;
}

/* A value of the first set: does it keep the atoms, and is it in the other sets? */
static bool number_keeps(struct compiler *c, const struct shape *s, const struct numbers_of *n, const json_value *v,
                         view *text, bool *keeps)
{
    struct decimal d;
    *keeps = false;
    if (v->type != JSON_INT && v->type != JSON_FLOAT) return true;
    if (!decimal_of(v->text, &d, c->a))
        return fail(c->e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "number: more than 400 digits");
    if (!decimal_text(&d, text, c->a, c->e)) return false;
    *keeps = n->count == 0 || number_takes(n->atoms, n->count, *text);
    for (uint32_t i = 0; i < s->atom_count && *keeps; i++)
        if (s->atoms[i]->op == ATOM_ENUM && s->atoms[i]->lit.v != n->set) *keeps = in_set(c, s->atoms[i]->lit.v, &d);
    return true;
}

static bool number_sets(struct compiler *c, const struct shape *s, const struct numbers_of *n, struct span_text **texts,
                        uint32_t *count)
{
    *count = 0;
    *texts = ARENA_ARRAY(c->a, struct span_text, set_count(n->set), "enum", c->e);
    if (*texts == NULL) return false;
    SET_EACH(v, n->set) {
        bool keeps;
        if (!step(c) || !number_keeps(c, s, n, v, &(*texts)[*count].text, &keeps)) return false;
        *count += keeps;
    }
    return true;
}

static bool number_node(struct compiler *c, const struct shape *s, uint32_t *nodes, uint32_t *count)
{
    struct numbers_of n;
    struct span_text *texts;
    uint32_t text_count;
    if (!number_atoms(c, s, &n)) return false;
    if (n.set != NULL)
        return number_sets(c, s, &n, &texts, &text_count) && texts_node(c, texts, text_count, nodes, count);
    struct made_span made = { 0 }, *old;
    if (!key_put(c, &made, "n", 1)) return false;
    for (uint32_t i = 0; i < n.count; i++) {
        const struct number_atom *a = &n.atoms[i];
        char op = (char)('A' + (int)a->op * 4 + a->negate * 2 + a->d.negative);
        if (!key_text(c, &made, op, a->d.whole) || !key_text(c, &made, '.', a->d.part)) return false;
    }
    if ((old = find_span(c, made.key)) == NULL) {
        if (!number_span(&c->b, n.atoms, n.count, &made.state) || !keep_span(c, made)) return false;
        old = &made;
    }
    return add_span_node(c, old->state, nodes, count);
}

/* ---- strings ---- */

static bool string_add(struct compiler *c, struct string_rules *r, const struct atom *a, struct string_atom one)
{
    if (r->count == STRING_ATOMS_MAX) return refuse(c, a->lit.source, a->lit.v, "one string has too many constraints");
    r->atoms[r->count++] = one;
    return true;
}

static bool string_pattern(struct compiler *c, struct string_rules *r, const struct atom *a, view pattern)
{
    struct string_atom one = { .negate = a->negative };
    err e = { 0 }, *outer = c->e;
    c->e = &e; /* for the pointer in front */
    bool good = pattern_dfa(c, pattern, &one.dfa);
    c->e = outer;
    if (!good && (e.code == ERR_UNSUPPORTED || e.code == ERR_LIMIT)) return refuse(c, a->lit.source, a->lit.v, e.text);
    if (!good) return invalid(c, a->lit.source, a->lit.v, e.text);
    return string_add(c, r, a, one);
}

bool string_rules_of(struct compiler *c, const struct shape *s, struct string_rules *r, const json_value **set)
{
    bool known;
    r->count = 0;
    r->least = 0;
    r->most = UINT64_MAX;
    *set = NULL;
    for (uint32_t i = 0; i < s->atom_count; i++) {
        const struct atom *a = s->atoms[i];
        if (a->op == ATOM_LEAST_CHARS && a->least > r->least) r->least = a->least;
        else if (a->op == ATOM_MOST_CHARS && a->most < r->most) r->most = a->most;
        else if (a->op == ATOM_ENUM && *set == NULL) *set = a->lit.v;
        else if (a->op == ATOM_PATTERN && !string_pattern(c, r, a, a->lit.v->text)) return false;
        else if (a->op == ATOM_FORMAT && !string_pattern(c, r, a, format_pattern(a->lit.v->text, &known))) return false;
        else if (a->op == ATOM_NOT && a->lit.v->type == JSON_STRING &&
                 !string_add(c, r, a, (struct string_atom){ .text = a->lit.v->text, .negate = true }))
            return false;
    }
    return true;
}

bool set_has_text(const json_value *set, view text)
{
    SET_EACH(one, set)
    if (one->type == JSON_STRING && view_equal(one->text, text)) return true;
    return false;
}

static bool string_keeps(const struct shape *s, const struct string_rules *r, const json_value *set,
                         const json_value *v)
{
    if (v->type != JSON_STRING || !string_takes(r, v->text)) return false;
    for (uint32_t i = 0; i < s->atom_count; i++)
        if (s->atoms[i]->op == ATOM_ENUM && s->atoms[i]->lit.v != set && !set_has_text(s->atoms[i]->lit.v, v->text))
            return false;
    return true;
}

static bool string_sets(struct compiler *c, const struct shape *s, const struct string_rules *r, const json_value *set,
                        struct span_text **texts, uint32_t *count)
{
    *count = 0;
    *texts = ARENA_ARRAY(c->a, struct span_text, set_count(set), "enum", c->e);
    if (*texts == NULL) return false;
    SET_EACH(v, set) {
        if (!step(c)) return false;
        if (!string_keeps(s, r, set, v)) continue;
        if (!string_text(v->text, &(*texts)[(*count)++].text, c->a, c->e)) return false;
    }
    return true;
}

static bool string_rules_span(struct compiler *c, const struct string_rules *r, uint32_t *state)
{
    struct made_span made = { 0 }, *old;
    if (!key_put(c, &made, "s", 1) || !key_put(c, &made, &r->least, sizeof r->least) ||
        !key_put(c, &made, &r->most, sizeof r->most))
        return false;
    for (uint32_t i = 0; i < r->count; i++) { /* automata are kept once each: their place is their name */
        const struct string_atom *a = &r->atoms[i];
        uint64_t place = (uint64_t)(uintptr_t)a->dfa;
        if (!key_put(c, &made, &a->negate, 1) || !key_put(c, &made, &place, sizeof place) ||
            !key_text(c, &made, 't', a->text))
            return false;
    }
    if ((old = find_span(c, made.key)) == NULL) {
        if (!string_span(&c->b, r, true, &made.state) || !keep_span(c, made)) return false;
        old = &made;
    }
    *state = old->state;
    return true;
}

static bool string_node(struct compiler *c, const struct shape *s, uint32_t *nodes, uint32_t *count)
{
    struct string_rules r;
    struct span_text *texts;
    const json_value *set;
    uint32_t state;
    if (!string_rules_of(c, s, &r, &set)) return false;
    if (set != NULL) return string_sets(c, s, &r, set, &texts, &state) && texts_node(c, texts, state, nodes, count);
    if (r.least > r.most) return true;
    if (r.count == 0) {
        if (r.least >= UINT32_MAX) return true; /* no answer is that long */
        uint32_t most = r.most >= UINT32_MAX ? STRING_ANY : (uint32_t)r.most;
        return build_node(&c->b, (struct table_node){ .op = NODE_STRING, .a = (uint32_t)r.least, .b = most },
                          &nodes[(*count)++]);
    }
    return string_rules_span(c, &r, &state) && add_span_node(c, state, nodes, count);
}

/* ---- arrays ---- */

enum { CONTAINS_MAX = 3 };

struct array_plan {
    uint64_t least, most; /* items */
    uint64_t told_apart;  /* positions before all are alike */
    const struct atom *contains[CONTAINS_MAX];
    uint32_t contains_count;
    bool possible;
};

static const json_value *prefix_of(const struct atom *a)
{
    return json_get(a->lit.v, "prefixItems");
}

static bool array_plan(struct compiler *c, const struct shape *s, struct array_plan *p)
{
    *p = (struct array_plan){ .most = UINT64_MAX };
    bool unique = false;
    const struct atom *unique_atom = NULL;
    for (uint32_t i = 0; i < s->atom_count; i++) {
        const struct atom *a = s->atoms[i];
        uint64_t apart = 0;
        if (a->op == ATOM_LEAST_ITEMS && a->least > p->least) p->least = a->least;
        if (a->op == ATOM_MOST_ITEMS && a->most < p->most) p->most = a->most;
        if (a->op == ATOM_ITEM && a->least + 1 > p->least) p->least = a->least + 1;
        if (a->op == ATOM_ITEM) apart = a->least + 1;
        if (a->op == ATOM_CONST_ARRAY && a->lit.v->count > p->least) p->least = a->lit.v->count;
        if (a->op == ATOM_CONST_ARRAY && a->lit.v->count < p->most) p->most = a->lit.v->count;
        if (a->op == ATOM_ITEMS && prefix_of(a) != NULL) apart = prefix_of(a)->count;
        if (a->op == ATOM_CONTAINS) {
            if (p->contains_count == CONTAINS_MAX)
                return refuse(c, a->lit.source, a->lit.v, "more than 3 at one place");
            p->contains[p->contains_count++] = a;
            apart = a->from;
        }
        if (a->op == ATOM_UNIQUE) unique = true, unique_atom = a;
        if (apart > p->told_apart) p->told_apart = apart;
    }
    p->possible = p->least <= p->most;
    if (!p->possible) return true;
    if (unique && p->most > 1)
        return refuse(c, unique_atom->lit.source, unique_atom->lit.v, "can not be enforced for more than one item");
    uint64_t known = p->most != UINT64_MAX && p->most > p->least ? p->most : p->least;
    if (known > GRAMMAR_ITEMS_MAX || p->told_apart > GRAMMAR_ITEMS_MAX)
        return fail(c->e, ERR_LIMIT, ERR_NO_OFFSET, "array: %llu items counted, allowed 0..%d",
                    (unsigned long long)known, GRAMMAR_ITEMS_MAX);
    return true;
}

/* An unevaluatedItems of `scope` does not look at items that any schema below it has looked at. */
static bool item_evaluated(struct compiler *c, const struct shape *s, const struct atom *by, uint64_t index, bool *yes)
{
    *yes = false;
    for (uint32_t i = 0; i < s->atom_count; i++) {
        const struct atom *a = s->atoms[i];
        if (!scope_inside(a->lit.scope, by->lit.scope)) continue;
        if (a->op == ATOM_CONTAINS && !a->lit.negative)
            return refuse(c, a->lit.source, a->lit.v, "contains together with unevaluatedItems");
        if (a->op != ATOM_ITEMS) continue;
        const json_value *prefix = prefix_of(a);
        bool inner = a != by && json_get(a->lit.v, "unevaluatedItems") != NULL;
        if ((prefix != NULL && index < prefix->count) || json_get(a->lit.v, "items") != NULL || inner) *yes = true;
    }
    return true;
}

/* What the item at `index` has to meet, contains left out. */
static bool item_literals(struct compiler *c, const struct shape *s, uint64_t index, struct literals *out)
{
    for (uint32_t i = 0; i < s->atom_count; i++) {
        const struct atom *a = s->atoms[i];
        struct literal lit = a->lit;
        lit.scope = NULL;
        lit.depth = 0;
        bool evaluated;
        if (a->op == ATOM_ITEM && a->least == index && !literals_add(c, out, &lit)) return false;
        if (a->op == ATOM_CONST_ARRAY && index < a->lit.v->count) {
            lit.kind = LIT_CONST;
            lit.v = json_item(a->lit.v, (size_t)index);
            if (!literals_add(c, out, &lit)) return false;
        }
        if (a->op != ATOM_ITEMS) continue;
        const json_value *prefix = prefix_of(a), *items = json_get(a->lit.v, "items");
        const json_value *rest = json_get(a->lit.v, "unevaluatedItems");
        const json_value *one = prefix != NULL && index < prefix->count ? json_item(prefix, (size_t)index) : items;
        lit = one != NULL ? literal_of(&a->lit, one) : lit;
        if (one != NULL && !literals_add(c, out, &lit)) return false;
        if (rest == NULL) continue;
        if (!item_evaluated(c, s, a, index, &evaluated)) return false;
        lit = literal_of(&a->lit, rest);
        if (!evaluated && !literals_add(c, out, &lit)) return false;
    }
    return true;
}

/* Places in an array: how many items (up to where they are alike), and for each contains how many hits (up to where
 * more make no difference). Numbered in one row. */
struct places {
    uint64_t items, hits[CONTAINS_MAX]; /* how many values each may have */
    uint32_t first;                     /* the node of place 0 */
};

static uint64_t place_index(const struct places *p, uint64_t items, const uint64_t *hits)
{
    uint64_t index = items;
    for (uint32_t i = CONTAINS_MAX; i-- > 0;) index = index * p->hits[i] + hits[i];
    return index;
}

static uint64_t hits_kept(const struct atom *a)
{
    return a->most == UINT64_MAX ? a->least : a->most;
}

/* The ways to put item number `at` behind a place: one for every answer to "is it one of those that contains asks for".
 */
static bool place_ways(struct compiler *c, const struct array_plan *plan, const struct places *p, uint64_t at,
                       const uint64_t *hits, const struct literals *base, uint32_t *pairs, uint16_t *count)
{
    *count = 0;
    for (uint32_t bits = 0; bits < 1u << plan->contains_count; bits++) {
        struct literals all = { 0 };
        uint64_t next[CONTAINS_MAX] = { 0 }, after = at + 1 < p->items ? at + 1 : p->items - 1;
        bool good = true;
        for (uint32_t i = 0; i < base->count; i++)
            if (!literals_add(c, &all, &base->rows[i])) return false;
        for (uint32_t i = 0; i < plan->contains_count; i++) {
            const struct atom *a = plan->contains[i];
            struct literal lit = a->lit;
            bool hit = bits >> i & 1, counted = at >= a->from;
            lit.scope = NULL;
            lit.depth = 0;
            next[i] = hits[i];
            if (hit) {
                good = good && counted && !(a->most != UINT64_MAX && hits[i] >= a->most);
                if (next[i] < hits_kept(a)) next[i]++;
                else if (a->most == UINT64_MAX) good = false; /* enough: no need to count it */
                if (!literals_add(c, &all, &lit)) return false;
            } else if (a->most != UINT64_MAX && counted) { /* every hit counts where there may be too many */
                lit.negative = !lit.negative;
                if (!literals_add(c, &all, &lit)) return false;
            }
        }
        if (!good || literals_impossible(&all)) continue;
        if (!goal_node(c, all.rows, all.count, &pairs[2 * *count])) return false;
        pairs[2 * (*count)++ + 1] = p->first + (uint32_t)place_index(p, after, next);
    }
    return true;
}

static bool place_node(struct compiler *c, const struct shape *s, const struct array_plan *plan, const struct places *p,
                       uint64_t index)
{
    uint64_t hits[CONTAINS_MAX], rest = index;
    uint32_t pairs[2 << CONTAINS_MAX], links;
    uint16_t count = 0;
    struct literals base = { 0 };
    bool end = true;
    for (uint32_t i = 0; i < CONTAINS_MAX; i++) hits[i] = rest % p->hits[i], rest /= p->hits[i];
    for (uint32_t i = 0; i < plan->contains_count; i++) end = end && hits[i] >= plan->contains[i]->least;
    if (!step(c) || !item_literals(c, s, rest, &base)) return false;
    if (rest < plan->most && !literals_impossible(&base) && !place_ways(c, plan, p, rest, hits, &base, pairs, &count))
        return false;
    if (!build_links(&c->b, 2u * count, &links)) return false;
    if (count > 0) memcpy(c->b.links + links, pairs, 2u * count * sizeof *pairs);
    c->b.nodes[p->first + index] =
        (struct table_node){ .op = NODE_ITEMS, .count = count, .a = links, .b = end && rest >= plan->least };
    return true;
}

static bool array_node(struct compiler *c, const struct shape *s, uint32_t *node)
{
    struct array_plan plan;
    *node = BUILD_NEVER;
    if (!array_plan(c, s, &plan)) return false;
    if (!plan.possible) return true;
    struct places p = { .hits = { 1, 1, 1 }, .first = c->b.node_count };
    uint64_t known = plan.most != UINT64_MAX ? plan.most : plan.least, total;
    p.items = (known > plan.told_apart && (plan.most != UINT64_MAX || plan.least > plan.told_apart) ? known
                                                                                                    : plan.told_apart) +
              1;
    if (plan.most != UINT64_MAX && p.items > plan.most + 1) p.items = plan.most + 1;
    if (p.items < 2) p.items = 2; /* behind an item is never where it began: only there no comma is needed */
    total = p.items;
    for (uint32_t i = 0; i < plan.contains_count; i++) {
        p.hits[i] = hits_kept(plan.contains[i]) + 1;
        if (p.hits[i] > GRAMMAR_ITEMS_MAX || (total *= p.hits[i]) > GRAMMAR_ITEMS_MAX)
            return refuse(c, plan.contains[i]->lit.source, plan.contains[i]->lit.v, "too many places to tell apart");
    }
    for (uint64_t i = 0; i < total; i++) {
        uint32_t index;
        if (!build_node(&c->b, (struct table_node){ .op = NODE_NEVER }, &index)) return false;
    }
    for (uint64_t i = 0; i < total; i++)
        if (!place_node(c, s, &plan, &p, i)) return false;
    return build_node(&c->b, (struct table_node){ .op = NODE_ARRAY, .a = p.first }, node);
}

/* ---- all of it ---- */

bool shape_nodes(struct compiler *c, const struct shape *s, uint32_t *nodes, uint32_t *count, uint32_t max)
{
    unsigned words = s->types & (T_NULL | T_FALSE | T_TRUE);
    assert(*count + 5 <= max);
    (void)max;
    for (uint32_t i = 0; i < s->atom_count && words != 0; i++) { /* an enum's words */
        const struct atom *a = s->atoms[i];
        unsigned there = 0;
        if (a->op != ATOM_ENUM) continue;
        if (a->lit.v->type == JSON_ARRAY) JSON_EACH(one, a->lit.v)
        there |= one->type == JSON_NULL    ? T_NULL
                 : one->type == JSON_TRUE  ? T_TRUE
                 : one->type == JSON_FALSE ? T_FALSE
                                           : 0u;
        words &= there;
    }
    if (!words_node(c, words, nodes, count)) return false;
    if ((s->types & T_NUMBER) != 0 && !number_node(c, s, nodes, count)) return false;
    if ((s->types & T_STRING) != 0 && !string_node(c, s, nodes, count)) return false;
    if ((s->types & T_ARRAY) != 0 && !array_node(c, s, &nodes[(*count)++])) return false;
    return (s->types & T_OBJECT) == 0 || object_node(c, s, &nodes[(*count)++]);
}

static bool has_set(const struct shape *s)
{
    for (uint32_t i = 0; i < s->atom_count; i++)
        if (s->atoms[i]->op == ATOM_ENUM) return true;
    return false;
}

/* Is there plainly nothing? Sets are tried, bounds are not. */
bool shape_empty(struct compiler *c, const struct shape *s, unsigned depth, bool *empty)
{
    struct span_text *texts;
    struct string_rules r;
    struct numbers_of n;
    const json_value *set;
    uint32_t count = 1;
    *empty = false;
    if ((s->types & (T_NULL | T_FALSE | T_TRUE)) != 0 && !has_set(s)) return true;
    if ((s->types & (T_NULL | T_FALSE | T_TRUE)) != 0) return true; /* not decided: no harm */
    if ((s->types & T_NUMBER) != 0) {
        if (!number_atoms(c, s, &n) || (n.set != NULL && !number_sets(c, s, &n, &texts, &count))) return false;
        if (count > 0) return true;
    }
    count = 1;
    if ((s->types & T_STRING) != 0) {
        if (!string_rules_of(c, s, &r, &set) || (set != NULL && !string_sets(c, s, &r, set, &texts, &count)))
            return false;
        if (count > 0 && r.least <= r.most) return true;
    }
    if ((s->types & T_ARRAY) != 0) return true;
    if ((s->types & T_OBJECT) != 0) return object_empty(c, s, depth, empty);
    *empty = true;
    return true;
}
