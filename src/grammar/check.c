/* A table is believed nothing: every index, count and label is compared before the walk follows it. What is not looked
 * at is whether the table means what it says: a hostile one makes other masks, never a touch outside of it, nor a step
 * that does not end (walk.c bounds those by counts). Shares no code with the compiler. See docs/format/mask.md. */
#include "grammar/grammar.h"
#include "grammar/table.h"

#include <assert.h>

struct part_row {
    const char *name;
    size_t at; /* of its struct table_part in the head */
    size_t each_bytes;
    uint32_t most;
};

#define PART(name, each, most)                                                                                         \
    {                                                                                                                  \
#name, offsetof(struct table_head, name), each, most                                                           \
    }
static const struct part_row PARTS[] = {
    PART(states, sizeof(struct table_state), GRAMMAR_STATES_MAX),
    PART(edges, sizeof(struct table_edge), GRAMMAR_TABLE_BYTES_MAX / sizeof(struct table_edge)),
    PART(nodes, sizeof(struct table_node), GRAMMAR_NODES_MAX),
    PART(links, sizeof(uint32_t), GRAMMAR_TABLE_BYTES_MAX / sizeof(uint32_t)),
    PART(objects, sizeof(struct table_object), GRAMMAR_TABLE_BYTES_MAX / sizeof(struct table_object)),
    PART(members, sizeof(struct table_member), GRAMMAR_TABLE_BYTES_MAX / sizeof(struct table_member)),
};
enum { PART_COUNT = sizeof PARTS / sizeof *PARTS };

_Static_assert(sizeof(struct table_state) == 20 && sizeof(struct table_edge) == 8 && sizeof(struct table_node) == 16 &&
                   sizeof(struct table_object) == 32 && sizeof(struct table_member) == 16 &&
                   sizeof(struct table_head) == 72,
               "rows are bytes of a format");

static struct table_part part_of(const struct table_head *h, size_t i)
{
    struct table_part p;
    memcpy(&p, (const uint8_t *)h + PARTS[i].at, sizeof p);
    return p;
}

static bool check_head(view bytes, const struct table_head *h, err *e)
{
    if (bytes.len_bytes < sizeof *h)
        return fail(e, ERR_TRUNCATED, 0, "table: %zu bytes, at least %zu are needed", bytes.len_bytes, sizeof *h);
    if (memcmp(h->magic, TABLE_MAGIC, sizeof h->magic) != 0 || h->version != TABLE_VERSION)
        return fail(e, ERR_VALUE, 0, "table: not one of version %d", TABLE_VERSION);
    if (h->bytes != bytes.len_bytes || bytes.len_bytes > GRAMMAR_TABLE_BYTES_MAX)
        return fail(e, ERR_VALUE, 8, "table: says %u bytes, has %zu, allowed 0..%d", h->bytes, bytes.len_bytes,
                    GRAMMAR_TABLE_BYTES_MAX);
    if ((h->flags & ~(uint32_t)TABLE_BLANKS) != 0) return fail(e, ERR_VALUE, 20, "table: flags %u", h->flags);
    size_t end = sizeof *h;
    for (size_t i = 0; i < PART_COUNT; i++) {
        struct table_part p = part_of(h, i);
        if (p.offset % 8 != 0 || p.offset < end || p.count > PARTS[i].most)
            return fail(e, ERR_VALUE, PARTS[i].at, "table: %s at %u, %u rows", PARTS[i].name, p.offset, p.count);
        uint64_t last = (uint64_t)p.offset + (uint64_t)p.count * PARTS[i].each_bytes;
        if (last > bytes.len_bytes)
            return fail(e, ERR_TRUNCATED, PARTS[i].at, "table: %s end at %llu, the table at %zu", PARTS[i].name,
                        (unsigned long long)last, bytes.len_bytes);
        end = (size_t)last;
    }
    return true;
}

static bool bad_row(err *e, const grammar *g, const void *row, const char *what)
{
    return fail(e, ERR_VALUE, (uint64_t)((const uint8_t *)row - g->bytes.ptr), "table: %s", what);
}

static bool check_states(const grammar *g, err *e)
{
    uint32_t states = g->head->states.count, edges = g->head->edges.count;
    if (states < FREE_KEY_STATES) return bad_row(e, g, g->states, "the states of free names are not there");
    for (uint32_t i = 0; i < states; i++) {
        const struct table_state *s = &g->states[i];
        if (s->edge_count > 256 || s->edge_first > edges || s->edge_count > edges - s->edge_first)
            return bad_row(e, g, s, "a state's edges");
        unsigned next = 0;
        for (uint32_t j = 0; j < s->edge_count; j++) { /* the walk searches them by halves */
            const struct table_edge *edge = &g->edges[s->edge_first + j];
            if (edge->lo < next || edge->hi < edge->lo || edge->target >= states) return bad_row(e, g, edge, "an edge");
            next = edge->hi + 1u;
        }
    }
    return true;
}

static bool is_value(const grammar *g, uint32_t node)
{
    return node < g->head->nodes.count && g->nodes[node].op != NODE_ITEMS;
}

static bool check_links(const grammar *g, const struct table_node *n, uint32_t first, uint32_t count)
{
    (void)n;
    return first <= g->head->links.count && count <= g->head->links.count - first;
}

static bool check_choice(const grammar *g, const struct table_node *n, uint32_t first)
{
    if (!check_links(g, n, first, n->count)) return false;
    for (uint32_t i = 0; i < n->count; i++)
        if (!is_value(g, g->links[first + i])) return false;
    return true;
}

static bool check_items(const grammar *g, const struct table_node *n)
{
    if (!check_links(g, n, n->a, 2u * n->count)) return false;
    for (uint32_t i = 0; i < n->count; i++) {
        uint32_t behind = g->links[n->a + 2 * i + 1];
        if (!is_value(g, g->links[n->a + 2 * i])) return false;
        if (behind >= g->head->nodes.count || g->nodes[behind].op != NODE_ITEMS) return false;
    }
    return true;
}

static bool check_node(const grammar *g, const struct table_node *n)
{
    switch (n->op) {
    case NODE_RETURN:
    case NODE_NEVER:
    case NODE_STRING:
        return true;
    case NODE_SPAN:
        return n->a < g->head->states.count && is_value(g, n->b);
    case NODE_SWITCH:
        return n->a < g->head->states.count && check_choice(g, n, n->b);
    case NODE_CHOICE:
        return check_choice(g, n, n->a);
    case NODE_CALL:
        return is_value(g, n->a) && is_value(g, n->b);
    case NODE_TOKEN:
        return n->a <= VOCAB_MAX && is_value(g, n->b);
    case NODE_OBJECT:
        return n->a < g->head->objects.count;
    case NODE_ARRAY:
        return n->a < g->head->nodes.count && g->nodes[n->a].op == NODE_ITEMS;
    case NODE_ITEMS:
        return check_items(g, n);
    default:
        return false;
    }
}

static bool check_object(const grammar *g, const struct table_object *o)
{
    uint32_t total = (uint32_t)o->member_count + o->class_count, members = g->head->members.count;
    return o->member_count <= GRAMMAR_MEMBERS_MAX && o->class_count <= 64 && o->member_first <= members &&
           total <= members - o->member_first && o->least_members <= GRAMMAR_MEMBERS_MAX &&
           o->key_state < g->head->states.count && o->height <= UINT8_MAX;
}

bool grammar_check(view table, grammar *out, err *e)
{
    assert((uintptr_t)table.ptr % 8 == 0);
    const struct table_head *h = (const struct table_head *)(const void *)table.ptr;
    if (!check_head(table, h, e)) return false;
    *out = (grammar){ .bytes = table, .head = h };
    out->states = (const struct table_state *)(const void *)(table.ptr + h->states.offset);
    out->edges = (const struct table_edge *)(const void *)(table.ptr + h->edges.offset);
    out->nodes = (const struct table_node *)(const void *)(table.ptr + h->nodes.offset);
    out->links = (const uint32_t *)(const void *)(table.ptr + h->links.offset);
    out->objects = (const struct table_object *)(const void *)(table.ptr + h->objects.offset);
    out->members = (const struct table_member *)(const void *)(table.ptr + h->members.offset);
    if (!check_states(out, e)) return false;
    for (uint32_t i = 0; i < h->nodes.count; i++)
        if (!check_node(out, &out->nodes[i])) return bad_row(e, out, &out->nodes[i], "a node");
    for (uint32_t i = 0; i < h->objects.count; i++)
        if (!check_object(out, &out->objects[i])) return bad_row(e, out, &out->objects[i], "an object");
    for (uint32_t i = 0; i < h->members.count; i++) {
        uint32_t value = out->members[i].value;
        if (value != UINT32_MAX && !is_value(out, value)) return bad_row(e, out, &out->members[i], "a member");
    }
    if (!is_value(out, h->root)) return bad_row(e, out, h, "the root");
    return true;
}
