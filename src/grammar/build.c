/* The table being made: rows, their leasts, the bytes. See build.h and docs/format/mask.md. */
#include "grammar/build.h"

#include "base/checked.h"

#include <assert.h>

bool build_grow(build *b, void *rows, uint32_t *room, uint32_t count, uint32_t more, size_t each, uint32_t most,
                const char *what)
{
    if (more > most - count) return fail(b->e, ERR_LIMIT, ERR_NO_OFFSET, "grammar: more than %u %s", most, what);
    if (count + more <= *room) return true;
    uint32_t wide = *room < 64 ? 64 : *room * 2;
    while (wide < count + more) wide *= 2;
    uint8_t *place = arena_take(b->a, wide, each, 8, what, b->e), *old;
    if (place == NULL) return false;
    memcpy(&old, rows, sizeof old); /* `rows` points to a pointer to rows of any kind */
    if (count > 0) memcpy(place, old, count * each);
    memcpy(rows, &place, sizeof place);
    *room = wide;
    return true;
}

bool build_node(build *b, struct table_node n, uint32_t *index)
{
    if (!build_grow(b, &b->nodes, &b->node_room, b->node_count, 1, sizeof n, GRAMMAR_NODES_MAX, "nodes")) return false;
    b->nodes[b->node_count] = n;
    *index = b->node_count++;
    return true;
}

bool build_links(build *b, uint32_t count, uint32_t *first)
{
    if (count > UINT16_MAX)
        return fail(b->e, ERR_LIMIT, ERR_NO_OFFSET, "grammar: %u alternatives at one place, allowed 0..%d", count,
                    UINT16_MAX);
    if (!build_grow(b, &b->links, &b->link_room, b->link_count, count, sizeof *b->links, BUILD_LINKS_MAX, "links"))
        return false;
    *first = b->link_count;
    b->link_count += count;
    return true;
}

bool build_object(build *b, struct table_object o, uint32_t *index)
{
    if (!build_grow(b, &b->objects, &b->object_room, b->object_count, 1, sizeof o, BUILD_OBJECTS_MAX, "objects"))
        return false;
    b->objects[b->object_count] = o;
    *index = b->object_count++;
    return true;
}

bool build_members(build *b, uint32_t count, uint32_t *first)
{
    if (!build_grow(b, &b->members, &b->member_room, b->member_count, count, sizeof *b->members, BUILD_MEMBERS_MAX,
                    "members"))
        return false;
    *first = b->member_count;
    b->member_count += count;
    return true;
}

/* The states of free names: the first of every table, so that the walk knows them by number. */
static void add_free(build *b)
{
    free_body(true, b->free_rows);
    b->state_count = FREE_KEY_STATES;
    for (unsigned s = 0; s < FREE_KEY_STATES; s++) {
        struct table_state *state = &b->states[s];
        *state = (struct table_state){ .edge_first = b->edge_count,
                                       .least = free_least(true, s),
                                       .label = s == FREE_END ? LABEL_FREE : LABEL_NONE,
                                       .flags = s == FREE_BODY ? STATE_FREE | STATE_BODY : STATE_FREE };
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t to = b->free_rows[s][byte];
            struct table_edge *last = state->edge_count > 0 ? &b->edges[b->edge_count - 1] : NULL;
            if (to == FREE_DEAD) continue;
            if (last != NULL && last->target == to && last->hi + 1u == byte) {
                last->hi = (uint8_t)byte;
            } else {
                b->edges[b->edge_count++] =
                    (struct table_edge){ .lo = (uint8_t)byte, .hi = (uint8_t)byte, .target = to };
                state->edge_count++;
            }
        }
    }
}

bool build_start(build *b, uint32_t flags, arena *a, err *e)
{
    uint32_t index;
    *b = (build){ .a = &b->inner, .outer = a, .inner = *a, .e = e, .flags = flags };
    b->scratch = (arena){ .base = a->base + a->used_bytes };
    if (a->size_bytes - a->used_bytes < 2 * (size_t)BUILD_SCRATCH_BYTES)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "grammar: %zu bytes are free, at least %d are needed",
                    a->size_bytes - a->used_bytes, 2 * BUILD_SCRATCH_BYTES);
    b->inner.size_bytes = (a->size_bytes - BUILD_SCRATCH_BYTES) & ~(size_t)63;
    b->scratch = (arena){ .base = a->base + b->inner.size_bytes, .size_bytes = BUILD_SCRATCH_BYTES };
    if (!build_grow(b, &b->states, &b->state_room, 0, 256, sizeof *b->states, GRAMMAR_STATES_MAX, "states") ||
        !build_grow(b, &b->edges, &b->edge_room, 0, 256, sizeof *b->edges, BUILD_EDGES_MAX, "edges") ||
        !build_grow(b, &b->links, &b->link_room, 0, 1, sizeof *b->links, BUILD_LINKS_MAX, "links") ||
        !build_grow(b, &b->objects, &b->object_room, 0, 1, sizeof *b->objects, BUILD_OBJECTS_MAX, "objects") ||
        !build_grow(b, &b->members, &b->member_room, 0, 1, sizeof *b->members, BUILD_MEMBERS_MAX, "members"))
        return false;
    add_free(b);
    return build_node(b, (struct table_node){ .op = NODE_RETURN }, &index) &&
           build_node(b, (struct table_node){ .op = NODE_NEVER }, &index);
}

void build_close(build *b)
{
    arena_rewind(&b->scratch, 0);
    b->outer->used_bytes = b->inner.used_bytes;
}

/* ---- leasts ---- */

static uint32_t plus(uint32_t a, uint32_t b)
{
    uint32_t sum;
    return a == LEAST_NEVER || b == LEAST_NEVER || __builtin_add_overflow(a, b, &sum) ? LEAST_NEVER : sum;
}

static uint32_t least_of_two(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* A member that a class adds beyond the required ones may need two bytes more than the shortest name (object.c). */
static uint32_t object_least(build *b, struct table_object *o)
{
    struct table_member *m = b->members + o->member_first;
    uint32_t required = 0, sum = 2;
    for (uint32_t i = 0; i < (uint32_t)o->member_count + o->class_count; i++) {
        uint32_t value = m[i].value == (uint32_t)TABLE_NONE ? LEAST_NEVER : b->nodes[m[i].value].least;
        m[i].cost = plus(m[i].key_bytes + 2, value);
        if ((m[i].flags & MEMBER_REQUIRED) == 0) continue;
        sum = plus(sum, m[i].cost);
        required++;
    }
    uint32_t fill = o->least_members > required ? o->least_members - required : 0, from = 0;
    uint32_t free_cost = LEAST_NEVER;
    for (uint32_t i = 0; i < o->class_count; i++) free_cost = least_of_two(free_cost, m[o->member_count + i].cost);
    for (uint32_t here; fill > 0; fill -= here) {
        uint32_t next = LEAST_NEVER;
        for (uint32_t i = 0; i < o->member_count; i++)
            if ((m[i].flags & MEMBER_REQUIRED) == 0 && m[i].cost > from) next = least_of_two(next, m[i].cost);
        here = 0;
        for (uint32_t i = 0; i < o->member_count; i++) here += (m[i].flags & MEMBER_REQUIRED) == 0 && m[i].cost == next;
        if (free_cost <= next) here = fill, next = plus(free_cost, 2);
        here = least_of_two(here, fill);
        for (uint32_t i = 0; i < here; i++) sum = plus(sum, next);
        from = next;
    }
    bool some = o->least_members > 0 || required > 0;
    if (required > o->most_members || o->least_members > o->most_members) return LEAST_NEVER;
    return sum == LEAST_NEVER ? LEAST_NEVER : sum - some;
}

static uint32_t items_least(const build *b, const struct table_node *n, bool first)
{
    uint32_t best = n->b != 0 ? 1 : LEAST_NEVER;
    for (uint32_t i = 0; i < n->count; i++) {
        const uint32_t *pair = b->links + n->a + 2 * i;
        best = least_of_two(best, plus(plus(b->nodes[pair[0]].least, b->nodes[pair[1]].least), first ? 0 : 1));
    }
    return best;
}

static uint32_t node_least(build *b, const struct table_node *n)
{
    uint32_t best = LEAST_NEVER;
    switch (n->op) {
    case NODE_RETURN:
        return 0;
    case NODE_SPAN:
        return plus(b->states[n->a].least, b->nodes[n->b].least);
    case NODE_SWITCH:
        return b->states[n->a].least;
    case NODE_CHOICE:
        for (uint32_t i = 0; i < n->count; i++) best = least_of_two(best, b->nodes[b->links[n->a + i]].least);
        return best;
    case NODE_CALL:
        return plus(b->nodes[n->a].least, b->nodes[n->b].least);
    case NODE_TOKEN:
        return plus(1, b->nodes[n->b].least);
    case NODE_STRING:
        return n->a > n->b ? LEAST_NEVER : plus(2, n->a);
    case NODE_OBJECT:
        return b->objects[n->a].least;
    case NODE_ARRAY:
        return plus(1, items_least(b, &b->nodes[n->a], true));
    case NODE_ITEMS:
        return items_least(b, n, false);
    default:
        return LEAST_NEVER;
    }
}

/* Until nothing falls any more: the span of a free text goes round in circles. */
static void switch_least(build *b, const struct build_switch *s)
{
    const struct table_node *n = &b->nodes[s->node];
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = s->count; i-- > 0;) {
            struct table_state *at = &b->states[s->first + i];
            uint32_t best = at->label < n->count ? b->nodes[b->links[n->b + at->label]].least : LEAST_NEVER;
            for (uint32_t j = 0; j < at->edge_count; j++)
                best = least_of_two(best, plus(1, b->states[b->edges[at->edge_first + j].target].least));
            changed = changed || best < at->least;
            at->least = least_of_two(best, at->least);
        }
    }
}

/* Leasts only fall, so this ends; each pass settles at least the next longer answer. */
static bool settle_leasts(build *b)
{
    for (uint32_t i = 0; i < b->node_count; i++) b->nodes[i].least = LEAST_NEVER;
    for (uint32_t i = 0; i < b->object_count; i++) b->objects[i].least = LEAST_NEVER;
    uint64_t steps = 0;
    for (uint32_t i = 0; i < b->switch_count; i++)
        for (uint32_t j = 0; j < b->switches[i].count; j++) b->states[b->switches[i].first + j].least = LEAST_NEVER;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < b->switch_count; i++) switch_least(b, &b->switches[i]);
        for (uint32_t i = b->object_count; i-- > 0;) b->objects[i].least = object_least(b, &b->objects[i]);
        for (uint32_t i = b->node_count; i-- > 0;) {
            uint32_t least = node_least(b, &b->nodes[i]);
            changed = changed || least != b->nodes[i].least;
            b->nodes[i].least = least;
        }
        steps += b->node_count + b->link_count + b->member_count;
        if (steps > (uint64_t)GRAMMAR_STEPS_MAX * 32)
            return fail(b->e, ERR_LIMIT, ERR_NO_OFFSET, "grammar: too deep to find its shortest answer");
    }
    return true;
}

/* ---- heights: frames that the least way needs, counted as the walk counts them ---- */

static uint8_t higher(unsigned a, unsigned b)
{
    unsigned h = a > b ? a : b;
    return (uint8_t)(h > UINT8_MAX ? UINT8_MAX : h);
}

static uint8_t object_height(const build *b, const struct table_object *o)
{
    const struct table_member *m = b->members + o->member_first;
    uint32_t required = 0;
    uint8_t height = 0;
    for (uint32_t i = 0; i < o->member_count; i++) required += m[i].flags & MEMBER_REQUIRED;
    bool fills = o->least_members > required;
    for (uint32_t i = 0; i < (uint32_t)o->member_count + o->class_count; i++)
        if (m[i].cost != LEAST_NEVER && ((m[i].flags & MEMBER_REQUIRED) != 0 || fills))
            height = higher(height, b->nodes[m[i].value].height);
    return higher(height + 1u, 0);
}

static uint8_t items_height(const build *b, const struct table_node *n, bool first)
{
    uint32_t least = items_least(b, n, first);
    uint8_t best = UINT8_MAX;
    if (n->b != 0 && least == 1) return 0;
    for (uint32_t i = 0; i < n->count; i++) {
        const struct table_node *value = &b->nodes[b->links[n->a + 2 * i]],
                                *behind = &b->nodes[b->links[n->a + 2 * i + 1]];
        if (plus(plus(value->least, behind->least), first ? 0 : 1) != least) continue;
        uint8_t height = higher(value->height + 1u, behind->height);
        if (height < best) best = height;
    }
    return best;
}

static uint8_t node_height(const build *b, const struct table_node *n)
{
    uint8_t best = UINT8_MAX;
    switch (n->op) {
    case NODE_SPAN:
    case NODE_TOKEN:
        return b->nodes[n->b].height;
    case NODE_SWITCH: /* the name decides, so all have to fit */
        best = 0;
        for (uint32_t i = 0; i < n->count; i++)
            if (b->nodes[b->links[n->b + i]].least != LEAST_NEVER)
                best = higher(best, b->nodes[b->links[n->b + i]].height);
        return best;
    case NODE_CHOICE:
        for (uint32_t i = 0; i < n->count; i++) {
            const struct table_node *one = &b->nodes[b->links[n->a + i]];
            if (one->least == n->least && one->height < best) best = one->height;
        }
        return best;
    case NODE_CALL:
        return higher(b->nodes[n->a].height + 1u, b->nodes[n->b].height);
    case NODE_OBJECT:
        return (uint8_t)b->objects[n->a].height;
    case NODE_ARRAY:
        return items_height(b, &b->nodes[n->a], true);
    case NODE_ITEMS:
        return items_height(b, n, false);
    default:
        return 0;
    }
}

static void settle_heights(build *b)
{
    for (uint32_t i = 0; i < b->node_count; i++) b->nodes[i].height = UINT8_MAX;
    for (uint32_t i = 0; i < b->object_count; i++) b->objects[i].height = UINT8_MAX;
    for (bool changed = true; changed;) { /* heights only fall, below 256 */
        changed = false;
        for (uint32_t i = b->object_count; i-- > 0;) b->objects[i].height = object_height(b, &b->objects[i]);
        for (uint32_t i = b->node_count; i-- > 0;) {
            uint8_t height = b->nodes[i].least == LEAST_NEVER ? UINT8_MAX : node_height(b, &b->nodes[i]);
            changed = changed || height != b->nodes[i].height;
            b->nodes[i].height = height;
        }
    }
}

/* ---- bytes ---- */

static bool put_part(uint8_t *bytes, struct table_part *part, size_t *at, const void *rows, uint32_t count, size_t each)
{
    *part = (struct table_part){ (uint32_t)*at, count };
    if (bytes != NULL && count > 0) memcpy(bytes + *at, rows, count * each);
    *at = round_up(*at + count * each, 8);
    return true;
}

static size_t put_all(const build *b, uint8_t *bytes, struct table_head *h)
{
    size_t at = sizeof *h;
    put_part(bytes, &h->states, &at, b->states, b->state_count, sizeof *b->states);
    put_part(bytes, &h->edges, &at, b->edges, b->edge_count, sizeof *b->edges);
    put_part(bytes, &h->nodes, &at, b->nodes, b->node_count, sizeof *b->nodes);
    put_part(bytes, &h->links, &at, b->links, b->link_count, sizeof *b->links);
    put_part(bytes, &h->objects, &at, b->objects, b->object_count, sizeof *b->objects);
    put_part(bytes, &h->members, &at, b->members, b->member_count, sizeof *b->members);
    return at;
}

bool build_finish(build *b, uint32_t root, view *table, struct grammar_notes *notes, err *e)
{
    struct table_head head = { .version = TABLE_VERSION, .root = root, .flags = b->flags };
    memcpy(head.magic, TABLE_MAGIC, sizeof head.magic);
    if (!settle_leasts(b)) return false;
    if (b->nodes[root].least == LEAST_NEVER) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "no answer satisfies this");
    settle_heights(b);
    if (b->nodes[root].height > GRAMMAR_DEPTH_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "the shortest answer nests %d deep or more, allowed 0..%d",
                    b->nodes[root].height, GRAMMAR_DEPTH_MAX);
    size_t bytes = put_all(b, NULL, &head);
    if (bytes > GRAMMAR_TABLE_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "table: %zu bytes, allowed 0..%d", bytes, GRAMMAR_TABLE_BYTES_MAX);
    uint8_t *place = arena_take(b->a, bytes, 1, 8, "table", e);
    if (place == NULL) return false;
    head.bytes = (uint32_t)bytes;
    put_all(b, place, &head);
    memcpy(place, &head, sizeof head);
    *table = (view){ place, bytes };
    if (notes != NULL) {
        notes->table_bytes = bytes;
        notes->states = b->state_count;
        notes->nodes = b->node_count;
    }
    return true;
}
