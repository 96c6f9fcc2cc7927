/* Calls of tools: the form around them, a name out of one list, arguments by the schema of that name. See grammar.h. */
#include "grammar/compile.h"
#include "grammar/sort.h"

#include <assert.h>
#include <stdio.h>

/* ---- free text up to a marker ---- */

/* Words: where in a character, bytes of the marker that the text ends with; MARKED once it is complete. */
enum { WORD_CHARACTER, WORD_MARKER, MARKED = UINT16_MAX };

struct free_text {
    view marker;
    const uint32_t *back; /* Knuth, Morris and Pratt: the next shorter beginning that the text ends with */
    uint8_t rows[FREE_VALUE_STATES][256];
};

static bool text_step(const void *ctx, const uint32_t *from, uint8_t byte, uint32_t *to)
{
    const struct free_text *t = ctx;
    uint32_t at = from[WORD_MARKER];
    if (at == MARKED) return false;
    bool plain = from[WORD_CHARACTER] == FREE_BODY && byte < 0x80; /* all of ASCII, controls too */
    uint8_t state = plain ? FREE_BODY : t->rows[from[WORD_CHARACTER]][byte];
    if (state == FREE_DEAD) return false;
    while (at > 0 && (at == t->marker.len_bytes || t->marker.ptr[at] != byte)) at = t->back[at];
    if (t->marker.len_bytes > 0 && t->marker.ptr[at] == byte) at++;
    to[WORD_CHARACTER] = state;
    to[WORD_MARKER] = t->marker.len_bytes > 0 && at == t->marker.len_bytes ? MARKED : at;
    return true;
}

/* 0: the text may end here; 1: the marker is complete. */
static uint16_t text_label(const void *ctx, const uint32_t *at)
{
    (void)ctx;
    if (at[WORD_MARKER] == MARKED) return 1;
    return at[WORD_CHARACTER] == FREE_BODY ? 0 : LABEL_NONE;
}

static bool add_switch(build *b, uint32_t first, uint32_t node)
{
    assert(b->switch_count < sizeof b->switches / sizeof *b->switches);
    b->switches[b->switch_count++] = (struct build_switch){ first, b->state_count - first, node };
    return true;
}

/* Free text, then `behind` where the marker came (no marker: `behind` may follow anywhere), or `end`. */
static bool free_text_node(build *b, view marker, uint32_t behind, uint32_t end, uint32_t *node)
{
    static const uint32_t START[2] = { FREE_BODY, 0 };
    struct free_text t = { .marker = marker };
    uint32_t *back = ARENA_ARRAY(b->a, uint32_t, marker.len_bytes + 1, "marker", b->e), state, links;
    if (back == NULL) return false;
    free_body(false, t.rows);
    for (uint32_t i = 1, at = 0; i < marker.len_bytes; i++) {
        while (at > 0 && marker.ptr[at] != marker.ptr[i]) at = back[at];
        if (marker.ptr[at] == marker.ptr[i]) at++;
        back[i + 1] = at;
    }
    t.back = back;
    struct machine m = {
        .ctx = &t, .words = 2, .step = text_step, .label = text_label, .states_max = 4096, .what = "marker"
    };
    uint32_t first = b->state_count;
    if (!span_machine(b, &m, START, &state) || !build_links(b, 2, &links)) return false;
    if (marker.len_bytes == 0) { /* a control token begins the call: it may come wherever the text may end */
        uint32_t both;
        if (!build_links(b, 2, &both)) return false;
        b->links[both] = end;
        b->links[both + 1] = behind;
        if (!build_node(b, (struct table_node){ .op = NODE_CHOICE, .a = both, .count = 2 }, &end)) return false;
    }
    b->links[links] = end;
    b->links[links + 1] = behind;
    return build_node(b, (struct table_node){ .op = NODE_SWITCH, .a = state, .b = links, .count = 2 }, node) &&
           add_switch(b, first, *node);
}

bool build_behind(build *b, const struct grammar_options *set, uint32_t root, uint32_t *node)
{
    static const struct span_text LINES[] = { { { (const uint8_t *)"", 0 }, 0 },
                                              { { (const uint8_t *)"\n", 1 }, 0 },
                                              { { (const uint8_t *)"\n\n", 2 }, 0 } };
    uint32_t state, value = root;
    if (!span_texts(b, LINES, 3, false, false, &state) ||
        !build_node(b, (struct table_node){ .op = NODE_SPAN, .a = state, .b = root }, &value))
        return false;
    if (set->behind_token >= 0 &&
        !build_node(b, (struct table_node){ .op = NODE_TOKEN, .a = (uint32_t)set->behind_token, .b = value }, &value))
        return false;
    return free_text_node(b, set->behind, value, BUILD_NEVER, node);
}

/* ---- the call ---- */

static bool text_node(build *b, view text, uint32_t next, uint32_t *node)
{
    struct span_text one = { .text = text };
    uint32_t state;
    if (text.len_bytes == 0) return *node = next, true;
    return span_texts(b, &one, 1, false, false, &state) &&
           build_node(b, (struct table_node){ .op = NODE_SPAN, .a = state, .b = next }, node);
}

static bool token_node(build *b, int32_t token, uint32_t next, uint32_t *node)
{
    if (token < 0) return *node = next, true;
    return build_node(b, (struct table_node){ .op = NODE_TOKEN, .a = (uint32_t)token, .b = next }, node);
}

struct tool_name {
    view text;
    uint32_t index;
};

static int tool_order(const void *a, const void *b)
{
    const struct tool_name *x = a, *y = b;
    size_t both = x->text.len_bytes < y->text.len_bytes ? x->text.len_bytes : y->text.len_bytes;
    int order = memcmp(x->text.ptr, y->text.ptr, both);
    return order != 0 ? order : (x->text.len_bytes > y->text.len_bytes) - (x->text.len_bytes < y->text.len_bytes);
}

/* A name is written into JSON or between marks: letters, digits and a few others, so that it needs no escape anywhere.
 */
static bool name_check(view name, err *e)
{
    bool good = name.len_bytes >= 1 && name.len_bytes <= REPLY_NAME_MAX;
    for (size_t i = 0; i < name.len_bytes && good; i++) {
        uint8_t c = name.ptr[i];
        good = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || memchr("_-.:/", c, 5) != NULL;
    }
    return good || fail(e, ERR_VALUE, ERR_NO_OFFSET, "tool name: %zu bytes, allowed 1..%d of A-Z a-z 0-9 _ - . : /",
                        name.len_bytes, REPLY_NAME_MAX);
}

/* The names, sorted, with their arguments' nodes behind them: one SWITCH. */
static bool names_node(struct compiler *c, const struct grammar_tool *tools, size_t count, const uint32_t *behind,
                       uint32_t *node)
{
    struct tool_name *names = ARENA_ARRAY(c->a, struct tool_name, count, "tools", c->e);
    struct span_text *texts = ARENA_ARRAY(c->a, struct span_text, count, "tools", c->e);
    uint32_t state, links, first = c->b.state_count;
    if (names == NULL || texts == NULL) return false;
    for (uint32_t i = 0; i < count; i++) names[i] = (struct tool_name){ tools[i].name, i };
    sort_rows(names, count, sizeof *names, tool_order);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && view_equal(names[i - 1].text, names[i].text))
            return fail(c->e, ERR_VALUE, ERR_NO_OFFSET, "tool %.*s: declared twice", (int)names[i].text.len_bytes,
                        (const char *)names[i].text.ptr);
        texts[i] = (struct span_text){ names[i].text, (uint16_t)i };
    }
    if (!span_texts(&c->b, texts, (uint32_t)count, false, false, &state)) return false;
    if (!build_links(&c->b, (uint32_t)count, &links)) return false;
    for (uint32_t i = 0; i < count; i++) c->b.links[links + i] = behind[names[i].index];
    if (!build_node(&c->b, (struct table_node){ .op = NODE_SWITCH, .a = state, .b = links, .count = (uint16_t)count },
                    node))
        return false;
    return add_switch(&c->b, first, *node);
}

/* ---- arguments ---- */

struct tool_sources {
    struct source *rows;
    char (*prefixes)[REPLY_NAME_MAX + 16];
    const json_value *any;
};

static bool tool_arguments(struct compiler *c, const struct grammar_tool *tool, uint32_t index, struct tool_sources *s,
                           uint32_t *node)
{
    const json_value *schema = tool->schema != NULL ? tool->schema : s->any;
    char *prefix = s->prefixes[index];
    if (!name_check(tool->name, c->e)) return false;
    snprintf(prefix, sizeof *s->prefixes, "tool %.*s: ", (int)tool->name.len_bytes, (const char *)tool->name.ptr);
    if (!source_open(c, schema, index, prefix, &s->rows[index])) return false;
    struct literal lit = { .source = &s->rows[index], .v = schema, .kind = LIT_SCHEMA };
    return goal_node(c, &lit, 1, node) && goals_finish(c);
}

/* How many of the tools behind a bad one are bad as well. What is built by now is never used. */
static size_t bad_tools(struct compiler *c, const struct grammar_tool *tools, uint32_t from, size_t count,
                        struct tool_sources *s)
{
    size_t bad = 0;
    for (uint32_t i = from; i < count; i++) {
        uint32_t node;
        err e = { 0 };
        c->e = c->b.e = &e;
        c->goal_done = c->goal_count;
        if (!tool_arguments(c, &tools[i], i, s, &node)) bad++;
    }
    return bad;
}

static bool all_arguments(struct compiler *c, const struct grammar_tool *tools, size_t count, uint32_t *nodes)
{
    struct tool_sources s = { .rows = ARENA_ARRAY(c->a, struct source, count, "tools", c->e),
                              .prefixes = arena_take(c->a, count, sizeof *s.prefixes, 1, "tools", c->e) };
    if (s.rows == NULL || s.prefixes == NULL || !json_parse(view_of("{\"type\":\"object\"}"), c->a, &s.any, c->e))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (tool_arguments(c, &tools[i], i, &s, &nodes[i])) continue;
        err *e = c->e;
        size_t others = bad_tools(c, tools, i + 1, count, &s);
        char more[64];
        snprintf(more, sizeof more, "%zu tools are refused, the first", others + 1);
        if (others > 0) err_prefix(e, more);
        return false;
    }
    return true;
}

static bool compile(struct compiler *c, const struct grammar_tool *tools, size_t count,
                    const struct grammar_call_form *form, view *table, struct grammar_notes *notes)
{
    build *b = &c->b;
    arena *a = c->a;
    err *e = c->e;
    uint32_t after = BUILD_RETURN, names, call, root, loop_links;
    uint32_t *values = ARENA_ARRAY(a, uint32_t, count, "tools", e);
    if (values == NULL || !all_arguments(c, tools, count, values)) return false;
    if (form->parallel &&
        (!build_links(b, 2, &loop_links) ||
         !build_node(b, (struct table_node){ .op = NODE_CHOICE, .a = loop_links, .count = 2 }, &after)))
        return false;
    uint32_t end, middle;
    if (!token_node(b, form->end_token, after, &end) || !text_node(b, form->end, end, &end)) return false;
    uint32_t *behind = ARENA_ARRAY(a, uint32_t, count, "tools", e);
    if (behind == NULL) return false;
    for (size_t i = 0; i < count; i++)
        if (!build_node(b, (struct table_node){ .op = NODE_CALL, .a = values[i], .b = end }, &behind[i]) ||
            !text_node(b, form->middle, behind[i], &behind[i]))
            return false;
    if (!names_node(c, tools, count, behind, &names) || !text_node(b, form->begin, names, &middle) ||
        !token_node(b, form->begin_token, middle, &call))
        return false;
    if (form->parallel) {
        uint32_t again;
        if (!text_node(b, form->between, call, &again)) return false;
        b->links[loop_links] = BUILD_RETURN;
        b->links[loop_links + 1] = again;
    }
    root = call;
    bool token = form->begin_token >= 0;
    if (form->text_before &&
        !free_text_node(b, token ? view_of("") : form->begin, token ? call : names, BUILD_RETURN, &root))
        return false;
    if (!build_finish(b, root, table, notes, e)) return false;
    for (size_t i = 0; i < count; i++)
        if (b->nodes[values[i]].least == LEAST_NEVER)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "tool %.*s: no arguments satisfy its schema",
                        (int)tools[i].name.len_bytes, (const char *)tools[i].name.ptr);
    return true;
}

bool grammar_from_tools(const struct grammar_tool *tools, size_t count, const struct grammar_call_form *form,
                        const struct grammar_options *set, arena *a, view *table, struct grammar_notes *notes, err *e)
{
    struct compiler c;
    if (count < 1 || count > GRAMMAR_TOOLS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "tools: %zu, allowed 1..%d", count, GRAMMAR_TOOLS_MAX);
    if (form->text_before && form->begin_token < 0 && form->begin.len_bytes == 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "tools: free text before a call needs a marker that begins it");
    bool good = compiler_start(&c, set, notes, a, e) && compile(&c, tools, count, form, table, notes);
    build_close(&c.b);
    return good;
}
