/* One byte along a table, for every way at once: see walk.h. Two halves: what a way does with a byte (STEPS), and how
 * far it is from the end (LEASTS). Between them, entering a node: what needs no byte happens at once, so a way always
 * waits for a byte, for a control token, or for the end.
 *
 * Everything is bounded whatever the table says: a set holds GRAMMAR_WAYS_MAX ways, a step without a byte visits
 * WALK_VISITS_MAX nodes, frames nest GRAMMAR_DEPTH_MAX deep. What does not fit is not allowed. */
#include "grammar/walk.h"

#include <assert.h>

static bool way_equal(const struct grammar_way *a, const struct grammar_way *b)
{
    return memcmp(a, b, sizeof *a) == 0; /* no padding: every byte is a member, and unused ones are 0 */
}
_Static_assert(sizeof(struct grammar_way) == 32, "ways compare as bytes");

/* True where it was not there yet. */
static bool add(grammar_walker *w, struct grammar_way way)
{
    struct way_set *out = w->out;
    for (uint32_t i = 0; i < out->count; i++)
        if (way_equal(&out->ways[i], &way)) return false;
    if (out->count == GRAMMAR_WAYS_MAX) return false;
    out->ways[out->count++] = way;
    return true;
}

static bool visit(grammar_walker *w, uint32_t node, uint32_t frame)
{
    for (uint32_t i = 0; i < w->visit_count; i++)
        if (w->visits[i].node == node && w->visits[i].frame == frame) return false;
    if (w->visit_count == WALK_VISITS_MAX) return false;
    w->visits[w->visit_count++] = (struct walk_visit){ node, frame };
    return true;
}

/* ---- entering ---- */

static void enter(grammar_walker *w, uint32_t node, uint32_t frame);

/* The end of a rule or value: what waits in the frame goes on. */
static void leave(grammar_walker *w, uint32_t frame)
{
    if (frame == 0) {
        add(w, (struct grammar_way){ .op = WAY_END });
        return;
    }
    const uint32_t *f = walk_frame(w, frame);
    uint32_t arg = f[F_ARG], parent = f[F_PARENT];
    switch (f[F_HEAD] & 7) {
    case FRAME_NODE:
        enter(w, arg, parent);
        break;
    case FRAME_ITEMS:
        add(w, (struct grammar_way){ .op = WAY_ARRAY_AFTER, .arg = arg, .frame = parent });
        break;
    default:
        add(w, (struct grammar_way){ .op = WAY_OBJECT_AFTER, .arg = arg, .frame = frame });
    }
}

static void enter_call(grammar_walker *w, const struct table_node *n, uint32_t frame)
{
    if (w->g->nodes[n->b].op != NODE_RETURN) { /* a call at a rule's end needs no frame: right recursion stays flat */
        uint32_t close = least_add(w->g->nodes[n->b].least, walk_frame_close(w, frame));
        frame = walk_frame_push(w, FRAME_NODE, frame, n->b, close);
        if (frame == 0) return;
    }
    enter(w, n->a, frame);
}

/* A span at `state`: it waits for a byte, and where it may end, what is behind it is entered too. */
static void enter_state(grammar_walker *w, uint32_t node, uint32_t state, uint32_t frame)
{
    const struct table_node *n = &w->g->nodes[node];
    const struct table_state *s = &w->g->states[state];
    if (s->edge_count > 0 &&
        !add(w, (struct grammar_way){ .op = WAY_SPAN, .arg = node, .state = state, .frame = frame }))
        return; /* it was there: so is what is behind it */
    if (s->label == LABEL_NONE) return;
    if (n->op == NODE_SPAN) enter(w, n->b, frame);
    else if (s->label < n->count) enter(w, w->g->links[n->b + s->label], frame);
}

static void enter(grammar_walker *w, uint32_t node, uint32_t frame)
{
    const struct table_node *n = &w->g->nodes[node];
    struct grammar_way way = { .arg = node, .frame = frame };
    if (walk_frame_depth(w, frame) + n->height > GRAMMAR_DEPTH_MAX || n->least == LEAST_NEVER) return;
    if (!visit(w, node, frame)) return; /* also what bounds this recursion */
    switch (n->op) {
    case NODE_RETURN:
        leave(w, frame);
        return;
    case NODE_SPAN:
    case NODE_SWITCH:
        enter_state(w, node, n->a, frame);
        return;
    case NODE_CHOICE:
        for (uint32_t i = 0; i < n->count; i++) enter(w, w->g->links[n->a + i], frame);
        return;
    case NODE_CALL:
        enter_call(w, n, frame);
        return;
    case NODE_TOKEN:
        way.op = WAY_TOKEN;
        break;
    case NODE_STRING:
        way.op = WAY_STRING_OPEN;
        break;
    case NODE_OBJECT:
        way.op = WAY_OBJECT_OPEN, way.arg = n->a;
        break;
    case NODE_ARRAY:
        way.op = WAY_ARRAY_OPEN, way.arg = n->a;
        break;
    default:
        return;
    }
    add(w, way);
}

/* The values that may stand next in an array. */
static void enter_items(grammar_walker *w, uint32_t items, uint32_t frame)
{
    const struct table_node *n = &w->g->nodes[items];
    uint32_t depth = walk_frame_depth(w, frame);
    for (uint32_t i = 0; i < n->count; i++) {
        uint32_t value = w->g->links[n->a + 2 * i], behind = w->g->links[n->a + 2 * i + 1];
        if (depth + w->g->nodes[behind].height > GRAMMAR_DEPTH_MAX) continue;
        uint32_t close = least_add(w->g->nodes[behind].least, walk_frame_close(w, frame));
        uint32_t inner = walk_frame_push(w, FRAME_ITEMS, frame, behind, close);
        if (inner != 0) enter(w, value, inner);
    }
}

/* The least of an array's next item and all behind it, itself not counting its comma; and whether nesting allows it. */
static uint32_t items_least(const grammar_walker *w, uint32_t items, uint32_t frame)
{
    const struct table_node *n = &w->g->nodes[items], *nodes = w->g->nodes;
    uint32_t best = LEAST_NEVER, depth = walk_frame_depth(w, frame);
    for (uint32_t i = 0; i < n->count; i++) {
        uint32_t value = w->g->links[n->a + 2 * i], behind = w->g->links[n->a + 2 * i + 1];
        if (depth + 1 + nodes[value].height > GRAMMAR_DEPTH_MAX) continue;
        if (depth + nodes[behind].height > GRAMMAR_DEPTH_MAX) continue;
        uint32_t least = least_add(nodes[value].least, nodes[behind].least);
        if (least < best) best = least;
    }
    return least_add(best, walk_frame_close(w, frame));
}

/* ---- steps ---- */

/* White space between tokens: nothing, one blank, or one line end and up to BLANKS_MAX blanks. 0: not allowed. */
enum { BLANK_ONE = 1, BLANK_LINE = 2, BLANKS_MAX = 20 };
static uint8_t blank_next(const grammar_walker *w, uint8_t blank, uint8_t byte)
{
    if ((w->g->head->flags & TABLE_BLANKS) == 0) return 0;
    if (blank == 0) return byte == ' ' ? BLANK_ONE : byte == '\n' ? BLANK_LINE : 0;
    if (blank == BLANK_ONE || blank >= BLANK_LINE + BLANKS_MAX || (byte != ' ' && byte != '\t')) return 0;
    return (uint8_t)(blank + 1);
}

/* The same place behind one more blank. */
static bool step_blank(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    struct grammar_way next = *way;
    next.blank = blank_next(w, way->blank, byte);
    return next.blank != 0 && add(w, next);
}

static void step_span(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    uint32_t state = state_step(w->g, way->state, byte);
    if (state != (uint32_t)TABLE_NONE) enter_state(w, way->arg, state, way->frame);
}

static void step_string_open(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    if (byte == '"')
        add(w, (struct grammar_way){ .op = WAY_STRING, .arg = way->arg, .state = FREE_BODY, .frame = way->frame });
}

static void step_string(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    const struct table_node *n = &w->g->nodes[way->arg];
    struct grammar_way next = *way;
    uint8_t state = w->body[way->state][byte];
    if (state == FREE_DEAD) return;
    if (state == FREE_END) {
        if (way->count >= n->a) leave(w, way->frame);
        return;
    }
    if (way->state == FREE_BODY) { /* a character begins */
        if (way->count >= n->b) return;
        if (n->b != STRING_ANY || way->count < n->a) next.count++;
    }
    next.state = state;
    add(w, next);
}

static void step_object_open(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    if (byte != '{') return;
    uint32_t frame = object_open(w, way->arg, way->frame);
    if (frame != 0) add(w, (struct grammar_way){ .op = WAY_OBJECT_FIRST, .arg = way->arg, .frame = frame });
}

/* Where a name may begin. */
static void step_name(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    if (step_blank(w, way, byte) || byte != '"') return;
    add(w, (struct grammar_way){ .op = WAY_KEY,
                                 .arg = way->arg,
                                 .state = w->g->objects[way->arg].key_state,
                                 .count = 1,
                                 .frame = way->frame });
}

static void step_object_first(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    if (byte == '}' && object_may_close(w, way->frame)) leave(w, walk_frame(w, way->frame)[F_PARENT]);
    else step_name(w, way, byte);
}

static void step_key(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    uint32_t state = state_step(w->g, way->state, byte);
    if (state == (uint32_t)TABLE_NONE) return;
    struct grammar_way next = *way;
    const struct table_state *s = &w->g->states[state];
    next.state = state;
    next.count++;
    next.hash = name_hash(way->hash, byte);
    if (s->label == LABEL_NONE) {
        add(w, next);
    } else if (object_allows(w, way->frame, s->label, next.hash)) {
        add(w, (struct grammar_way){
                   .op = WAY_COLON, .label = s->label, .arg = way->arg, .frame = way->frame, .hash = next.hash });
    }
}

static void step_colon(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    const struct table_member *m = object_member(w, &w->g->objects[way->arg], way->label);
    if (byte != ':' || m == NULL || m->value == (uint32_t)TABLE_NONE) return;
    uint32_t frame = object_with(w, way->frame, way->label, way->hash);
    if (frame == 0) return;
    enter(w, m->value, frame);
    if ((w->g->head->flags & TABLE_BLANKS) != 0)
        add(w, (struct grammar_way){ .op = WAY_SPACE, .label = way->label, .arg = way->arg, .frame = frame });
}

static void step_space(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    if (byte == ' ') enter(w, object_member(w, &w->g->objects[way->arg], way->label)->value, way->frame);
}

static void step_object_after(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    bool may_close = object_may_close(w, way->frame);
    if (byte == '}' && may_close) {
        leave(w, walk_frame(w, way->frame)[F_PARENT]);
    } else if (byte == ',' && way->blank == 0) {
        if (object_any_allowed(w, way->frame))
            add(w, (struct grammar_way){ .op = WAY_OBJECT_NEXT, .arg = way->arg, .frame = way->frame });
    } else if (may_close) {
        step_blank(w, way, byte); /* a blank here has to be the one before '}' */
    }
}

static void step_array_first(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    if (byte == ']' && w->g->nodes[way->arg].b != 0 && way->op != WAY_ARRAY_NEXT) leave(w, way->frame);
    else if (step_blank(w, way, byte)) enter_items(w, way->arg, way->frame);
}

static void step_array_open(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    if (byte != '[') return;
    add(w, (struct grammar_way){ .op = WAY_ARRAY_FIRST, .arg = way->arg, .frame = way->frame });
    enter_items(w, way->arg, way->frame);
}

static void step_array_after(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    bool may_close = w->g->nodes[way->arg].b != 0;
    if (byte == ']' && may_close) {
        leave(w, way->frame);
    } else if (byte == ',' && way->blank == 0) {
        if (items_least(w, way->arg, way->frame) == LEAST_NEVER) return;
        add(w, (struct grammar_way){ .op = WAY_ARRAY_NEXT, .arg = way->arg, .frame = way->frame });
        enter_items(w, way->arg, way->frame);
    } else if (may_close) {
        step_blank(w, way, byte);
    }
}

static void step_never(grammar_walker *w, const struct grammar_way *way, uint8_t byte)
{
    (void)w, (void)way, (void)byte;
}

/* ORDER way_op */
static void (*const STEPS[WAY_OPS])(grammar_walker *, const struct grammar_way *, uint8_t) = {
    [WAY_END] = step_never,
    [WAY_SPAN] = step_span,
    [WAY_TOKEN] = step_never,
    [WAY_STRING_OPEN] = step_string_open,
    [WAY_STRING] = step_string,
    [WAY_OBJECT_OPEN] = step_object_open,
    [WAY_OBJECT_FIRST] = step_object_first,
    [WAY_OBJECT_NEXT] = step_name,
    [WAY_KEY] = step_key,
    [WAY_COLON] = step_colon,
    [WAY_SPACE] = step_space,
    [WAY_OBJECT_AFTER] = step_object_after,
    [WAY_ARRAY_OPEN] = step_array_open,
    [WAY_ARRAY_FIRST] = step_array_first,
    [WAY_ARRAY_NEXT] = step_array_first,
    [WAY_ARRAY_AFTER] = step_array_after,
};

bool walk_step(grammar_walker *w, const struct way_set *in, uint8_t byte, struct way_set *out)
{
    w->out = out;
    w->visit_count = 0;
    w->step_mark = w->used;
    out->count = 0;
    for (uint32_t i = 0; i < in->count; i++) STEPS[in->ways[i].op](w, &in->ways[i], byte);
    out->frames_used = w->used;
    return out->count > 0;
}

void walk_behind(grammar_walker *w, const struct grammar_way *way, uint16_t label, struct way_set *out)
{
    const struct table_node *n = &w->g->nodes[way->arg];
    w->out = out;
    w->visit_count = 0;
    w->step_mark = w->used;
    out->count = 0;
    if (n->op == NODE_SPAN) enter(w, n->b, way->frame);
    else if (label < n->count) enter(w, w->g->links[n->b + label], way->frame);
    out->frames_used = w->used;
}

bool walk_token(grammar_walker *w, const struct way_set *in, int32_t token, struct way_set *out)
{
    w->out = out;
    w->visit_count = 0;
    w->step_mark = w->used;
    for (uint32_t i = 0; i < in->count; i++) {
        const struct grammar_way *way = &in->ways[i];
        if (way->op != WAY_TOKEN || w->g->nodes[way->arg].a != (uint32_t)token) continue;
        enter(w, w->g->nodes[way->arg].b, way->frame);
    }
    out->frames_used = w->used;
    return out->count > 0;
}

void walk_begin(grammar_walker *w, const grammar *g, const grammar_state *s)
{
    assert(s->way_count <= GRAMMAR_WAYS_MAX && s->frame_words <= GRAMMAR_FRAME_WORDS);
    w->g = g;
    memcpy(w->frames, s->frames, s->frame_words * sizeof *s->frames);
    w->used = w->step_mark = s->frame_words;
}

void grammar_start(grammar_walker *w, const grammar *g, bool drop_blank, grammar_state *s)
{
    struct way_set *set = &w->sets[0];
    s->way_count = 0;
    s->frame_words = 1; /* word 0 stands for "no frame" */
    s->frames[0] = 0;
    s->ended = false;
    s->drop_blank = drop_blank;
    walk_begin(w, g, s);
    w->out = set;
    w->visit_count = 0;
    set->count = 0;
    enter(w, g->head->root, 0);
    assert(w->used <= GRAMMAR_FRAME_WORDS); /* GRAMMAR_WAYS_MAX frames without a byte */
    s->way_count = set->count;
    memcpy(s->ways, set->ways, set->count * sizeof *set->ways);
    s->frame_words = w->used;
    memcpy(s->frames, w->frames, w->used * sizeof *s->frames);
}

/* ---- least ---- */

static uint32_t least_span(grammar_walker *w, const struct grammar_way *way)
{
    const struct table_node *n = &w->g->nodes[way->arg];
    uint32_t behind = n->op == NODE_SPAN ? w->g->nodes[n->b].least : 0; /* a SWITCH's states count what is behind */
    return least_add(least_add(w->g->states[way->state].least, behind), walk_frame_close(w, way->frame));
}

static uint32_t least_node(grammar_walker *w, const struct grammar_way *way)
{
    return least_add(w->g->nodes[way->arg].least, walk_frame_close(w, way->frame));
}

static uint32_t least_string(grammar_walker *w, const struct grammar_way *way)
{
    static const uint8_t LEAST[] = { 1, 2, 3, 4, 3, 3, 4, 4, 2, 0, 5, 4, 4, 3, 2, 9, 8, 7, 6, 5, 4 };
    const struct table_node *n = &w->g->nodes[way->arg];
    uint32_t more = n->a > way->count ? n->a - way->count : 0;
    return least_add(least_add(LEAST[way->state], more), walk_frame_close(w, way->frame));
}

static uint32_t least_object_open(grammar_walker *w, const struct grammar_way *way)
{
    return least_add(w->g->objects[way->arg].least, walk_frame_close(w, way->frame));
}

static uint32_t least_object_first(grammar_walker *w, const struct grammar_way *way)
{
    const uint32_t *f = walk_frame(w, way->frame);
    if (object_may_close(w, way->frame)) return f[F_CLOSE];
    return f[F_CLOSE] == LEAST_NEVER ? LEAST_NEVER : f[F_CLOSE] - 1; /* the first name has no comma */
}

static uint32_t least_object_next(grammar_walker *w, const struct grammar_way *way)
{
    return object_least_next(w, way->frame);
}

static uint32_t least_colon(grammar_walker *w, const struct grammar_way *way)
{
    return object_least_colon(w, way);
}

static uint32_t least_space(grammar_walker *w, const struct grammar_way *way)
{
    const struct table_member *m = object_member(w, &w->g->objects[way->arg], way->label);
    return least_add(least_add(1, w->g->nodes[m->value].least), walk_frame_close(w, way->frame));
}

static uint32_t least_object_after(grammar_walker *w, const struct grammar_way *way)
{
    return walk_frame_close(w, way->frame);
}

static uint32_t least_array(grammar_walker *w, const struct grammar_way *way)
{
    bool may_close = w->g->nodes[way->arg].b != 0;
    uint32_t close = least_add(1, walk_frame_close(w, way->frame)), item = items_least(w, way->arg, way->frame);
    if (way->op == WAY_ARRAY_OPEN) return least_add(1, may_close && close < item ? close : item);
    if (way->op == WAY_ARRAY_NEXT) return item;
    return may_close && close < item ? close : item;
}

static uint32_t least_array_after(grammar_walker *w, const struct grammar_way *way)
{
    if (way->blank > 0) return least_add(1, walk_frame_close(w, way->frame));
    return least_node(w, way);
}

static uint32_t least_end(grammar_walker *w, const struct grammar_way *way)
{
    (void)w, (void)way;
    return 0;
}

/* ORDER way_op */
static uint32_t (*const LEASTS[WAY_OPS])(grammar_walker *, const struct grammar_way *) = {
    [WAY_END] = least_end,
    [WAY_SPAN] = least_span,
    [WAY_TOKEN] = least_node,
    [WAY_STRING_OPEN] = least_node,
    [WAY_STRING] = least_string,
    [WAY_OBJECT_OPEN] = least_object_open,
    [WAY_OBJECT_FIRST] = least_object_first,
    [WAY_OBJECT_NEXT] = least_object_next,
    [WAY_KEY] = object_least_key,
    [WAY_COLON] = least_colon,
    [WAY_SPACE] = least_space,
    [WAY_OBJECT_AFTER] = least_object_after,
    [WAY_ARRAY_OPEN] = least_array,
    [WAY_ARRAY_FIRST] = least_array,
    [WAY_ARRAY_NEXT] = least_array,
    [WAY_ARRAY_AFTER] = least_array_after,
};

uint32_t walk_least(grammar_walker *w, const struct grammar_way *way)
{
    return LEASTS[way->op](w, way);
}

bool walk_fits(grammar_walker *w, const struct way_set *set, uint32_t left)
{
    for (uint32_t i = set->count; i-- > 0;) { /* the last ones are the furthest on */
        uint32_t least = walk_least(w, &set->ways[i]);
        if (least <= left && least != LEAST_NEVER) return true;
    }
    return false;
}
