/* A JSON Schema, or the schemas of tools, to a table: see compile.h for the way. This file owns the goals, the entry
 * points, and what everybody else needs to say no. */
#include "grammar/compile.h"
#include "grammar/sort.h"

#include <assert.h>
#include <stdio.h>

/* ---- saying no ---- */

bool step(struct compiler *c)
{
    if (++c->steps <= GRAMMAR_STEPS_MAX) return true;
    return fail(c->e, ERR_LIMIT, ERR_NO_OFFSET, "schema: more than %d parts to look at", GRAMMAR_STEPS_MAX);
}

static bool say(struct compiler *c, enum err_code code, const struct source *s, const json_value *v, const char *why)
{
    char pointer[160];
    if (json_pointer(s->root, v->offset, pointer, sizeof pointer) == NULL) pointer[0] = '\0';
    return fail(c->e, code, v->offset, "%s%s: %s", s->prefix, pointer[0] == '\0' ? "/" : pointer, why);
}

bool refuse(struct compiler *c, const struct source *s, const json_value *v, const char *why)
{
    return say(c, ERR_UNSUPPORTED, s, v, why);
}

bool invalid(struct compiler *c, const struct source *s, const json_value *v, const char *why)
{
    return say(c, ERR_VALUE, s, v, why);
}

bool keyword_count(struct compiler *c, const struct source *s, const json_value *v, uint64_t *out)
{
    struct decimal d;
    if ((v->type != JSON_INT && v->type != JSON_FLOAT) || !decimal_of(v->text, &d, c->a) || d.negative ||
        !decimal_is_integer(&d))
        return invalid(c, s, v, "is no count");
    *out = 0;
    for (size_t i = 0; i < d.whole.len_bytes; i++) {
        *out = *out * 10 + (uint64_t)(d.whole.ptr[i] - '0');
        if (*out > (uint64_t)1 << 40) *out = (uint64_t)1 << 40; /* as good as any more */
    }
    return true;
}

bool pattern_dfa(struct compiler *c, view pattern, const struct dfa **out)
{
    for (uint32_t i = 0; i < c->dfa_count; i++)
        if (view_equal(c->dfas[i]->pattern, pattern)) return *out = &c->dfas[i]->dfa, true;
    const struct regex *r;
    struct made_dfa *made = ARENA_ARRAY(c->a, struct made_dfa, 1, "pattern", c->e);
    if (made == NULL || !regex_pattern(pattern, &r, c->a, c->e) ||
        !regex_dfa(r, true, "pattern", &made->dfa, c->a, &c->b.scratch, c->e) ||
        !build_grow(&c->b, &c->dfas, &c->dfa_room, c->dfa_count, 1, sizeof made, GRAMMAR_NODES_MAX, "patterns"))
        return false;
    made->pattern = pattern;
    c->dfas[c->dfa_count++] = made;
    *out = &made->dfa;
    return true;
}

/* ---- goals ---- */

static int literal_order(const void *a, const void *b)
{
    const struct literal *x = a, *y = b;
    if (x->source->index != y->source->index) return x->source->index < y->source->index ? -1 : 1;
    if (x->v->offset != y->v->offset) return x->v->offset < y->v->offset ? -1 : 1;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    return (int)x->negative - (int)y->negative;
}

static uint32_t literals_hash(const struct literal *lits, uint32_t count)
{
    uint64_t hash = count;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t one = (uint64_t)lits[i].source->index << 40 ^ (uint64_t)lits[i].v->offset << 3 ^
                       (uint64_t)(lits[i].kind * 2u + lits[i].negative);
        hash = (hash ^ one) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static bool goal_is(const struct goal *g, const struct literal *lits, uint32_t count, uint32_t hash)
{
    if (g->hash != hash || g->count != count) return false;
    for (uint32_t i = 0; i < count; i++)
        if (literal_order(&g->lits[i], &lits[i]) != 0) return false;
    return true;
}

static bool goals_rehash(struct compiler *c)
{
    uint32_t slots = c->goal_mask == 0 ? 256 : (c->goal_mask + 1) * 2;
    c->goal_slots = ARENA_ARRAY(c->a, uint32_t, slots, "schema", c->e);
    if (c->goal_slots == NULL) return false;
    c->goal_mask = slots - 1;
    for (uint32_t i = 0; i < c->goal_count; i++) {
        uint32_t slot = c->goals[i].hash & c->goal_mask;
        while (c->goal_slots[slot] != 0) slot = (slot + 1) & c->goal_mask;
        c->goal_slots[slot] = i + 1;
    }
    return true;
}

bool goal_node(struct compiler *c, const struct literal *lits, uint32_t count, uint32_t *node)
{
    struct literal *sorted = ARENA_ARRAY(c->a, struct literal, count, "schema", c->e);
    uint32_t kept = 0;
    if (sorted == NULL || !step(c)) return false;
    if (count > 0) memcpy(sorted, lits, count * sizeof *sorted);
    if (count > 1) sort_rows(sorted, count, sizeof *sorted, literal_order);
    for (uint32_t i = 0; i < count; i++) {
        const struct literal *l = &sorted[i];
        bool nothing = l->kind == LIT_SCHEMA && !l->negative &&
                       (l->v->type == JSON_TRUE || (l->v->type == JSON_OBJECT && l->v->count == 0));
        if (nothing || (kept > 0 && literal_order(&sorted[kept - 1], l) == 0)) continue;
        sorted[kept++] = *l;
    }
    if (c->goal_count * 2 >= c->goal_mask && !goals_rehash(c)) return false;
    uint32_t hash = literals_hash(sorted, kept), slot = hash & c->goal_mask;
    for (; c->goal_slots[slot] != 0; slot = (slot + 1) & c->goal_mask)
        if (goal_is(&c->goals[c->goal_slots[slot] - 1], sorted, kept, hash))
            return *node = c->goals[c->goal_slots[slot] - 1].node, true;
    if (!build_node(&c->b, (struct table_node){ .op = NODE_NEVER }, node) ||
        !build_grow(&c->b, &c->goals, &c->goal_room, c->goal_count, 1, sizeof *c->goals, GRAMMAR_GOALS_MAX, "goals"))
        return false;
    c->goals[c->goal_count++] = (struct goal){ sorted, kept, *node, hash };
    c->goal_slots[slot] = c->goal_count;
    return true;
}

static bool goal_make(struct compiler *c, const struct goal *g)
{
    struct shapes shapes;
    uint32_t room, *nodes, count = 0, links;
    if (!expand(c, g->lits, g->count, &shapes)) return false;
    room = shapes.count * 5;
    nodes = ARENA_ARRAY(c->a, uint32_t, room, "schema", c->e);
    if (nodes == NULL) return false;
    for (uint32_t i = 0; i < shapes.count; i++)
        if (!shape_nodes(c, &shapes.rows[i], nodes, &count, room)) return false;
    struct table_node n = { .op = NODE_CHOICE, .count = (uint16_t)count };
    if (count == 1) {
        c->b.nodes[g->node] = c->b.nodes[nodes[0]]; /* the node itself, one step less */
        return true;
    }
    if (!build_links(&c->b, count, &links)) return false;
    for (uint32_t i = 0; i < count; i++) c->b.links[links + i] = nodes[i];
    n.a = links;
    c->b.nodes[g->node] = n;
    return true;
}

bool goals_finish(struct compiler *c)
{
    while (c->goal_done < c->goal_count) {
        struct goal g = c->goals[c->goal_done++]; /* rows move while it is made */
        if (!goal_make(c, &g)) return false;
    }
    return true;
}

/* ---- entries ---- */

bool compiler_start(struct compiler *c, const struct grammar_options *set, struct grammar_notes *notes, arena *a,
                    err *e)
{
    *c = (struct compiler){ .set = set, .notes = notes, .a = &c->b.inner, .e = e };
    if (notes != NULL) *notes = (struct grammar_notes){ 0 };
    return build_start(&c->b, set->no_blanks ? 0 : TABLE_BLANKS, a, e);
}

/* The dialects that mean the same by the keywords that are taken. */
static bool known_dialect(view uri)
{
    static const char *const KNOWN[] = { "json-schema.org/draft/2020-12/schema", "json-schema.org/draft/2019-09/schema",
                                         "json-schema.org/draft-07/schema", "json-schema.org/draft-06/schema",
                                         "json-schema.org/schema" };
    if (uri.len_bytes > 0 && uri.ptr[uri.len_bytes - 1] == '#') uri.len_bytes--;
    uri = view_starts(uri, view_of("https://")) ? view_after(uri, 8) : view_after(uri, 7);
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (view_is(uri, KNOWN[i])) return true;
    return false;
}

bool source_open(struct compiler *c, const json_value *root, uint32_t index, const char *prefix, struct source *out)
{
    *out = (struct source){ .root = root, .index = index, .prefix = prefix };
    const json_value *dialect = json_get(root, "$schema");
    if (root->type != JSON_OBJECT && root->type != JSON_TRUE && root->type != JSON_FALSE)
        return invalid(c, out, root, "is no schema: neither an object nor true or false");
    if (dialect != NULL && (dialect->type != JSON_STRING || !known_dialect(dialect->text)))
        return refuse(c, out, dialect, "is a dialect that is not known here");
    return refs_index(c, out);
}

bool grammar_from_schema(const json_value *schema, const struct grammar_options *set, arena *a, view *table,
                         struct grammar_notes *notes, err *e)
{
    struct compiler c;
    struct source source;
    uint32_t root;
    struct literal lit = { .source = &source, .v = schema, .kind = LIT_SCHEMA };
    bool good = compiler_start(&c, set, notes, a, e) && source_open(&c, schema, 0, "", &source) &&
                goal_node(&c, &lit, 1, &root) && goals_finish(&c) &&
                (!set->behind_text || build_behind(&c.b, set, root, &root)) &&
                build_finish(&c.b, root, table, notes, e);
    build_close(&c.b);
    return good;
}

bool grammar_from_any_object(const struct grammar_options *set, arena *a, view *table, err *e)
{
    const json_value *schema;
    return json_parse(view_of("{\"type\":\"object\"}"), a, &schema, e) &&
           grammar_from_schema(schema, set, a, table, NULL, e);
}
