/* Replies: see hearing.h. */
#include "cmd/hearing.h"

#include "base/limits.h"
#include "base/utf8.h"
#include "format/json.h"

#include <stdio.h>

#define HEARD_BYTES ((size_t)TEMPLATE_OUTPUT_MAX) /* addresses, not memory */

static view heard_text(const struct heard *heard)
{
    return (view){ heard->arena.base, heard->arena.used_bytes };
}

/* Shows what is new of it; half a character waits, but at the end. */
static void show_new(struct hearing *h, struct heard *heard, bool at_end)
{
    view fresh = view_after(heard_text(heard), heard->shown_bytes);
    if (!at_end) fresh.len_bytes -= utf8_tail_bytes(fresh);
    if (fresh.len_bytes == 0 || h->show == NULL) return;
    heard->shown_bytes += fresh.len_bytes;
    h->show(h->arg, fresh, heard == &h->reasoning);
}

static void add(struct hearing *h, struct heard *heard, view text)
{
    err ignored = { 0 };
    uint8_t *place = arena_take(&heard->arena, text.len_bytes, 1, 1, "answer", &ignored);
    if (place == NULL) h->failed = true;
    else if (text.len_bytes > 0) memcpy(place, text.ptr, text.len_bytes);
    if (text.len_bytes > 0 && heard != &h->calls) show_new(h, heard, false);
}

/* In quotes, as JSON wants it: the model chose the bytes. */
static void add_name(struct hearing *h, view name)
{
    add(h, &h->calls, view_of("\""));
    for (size_t i = 0; i < name.len_bytes; i++) {
        view instead = json_escape(name.ptr[i]);
        add(h, &h->calls, instead.len_bytes > 0 ? instead : (view){ name.ptr + i, 1 });
    }
    add(h, &h->calls, view_of("\""));
}

/* One call is a line of its own, {"name": ..., "arguments": ...}: nobody runs it here. */
static void show_call(struct hearing *h)
{
    view call = view_after(heard_text(&h->calls), h->calls.shown_bytes), said = heard_text(&h->content);
    add(h, &h->calls, view_of("}"));
    if (h->show == NULL) return;
    if (said.len_bytes > 0 && said.ptr[said.len_bytes - 1] != '\n') h->show(h->arg, view_of("\n"), false);
    h->show(h->arg, call, false);
    h->show(h->arg, view_of("\n"), false);
}

static void add_line_end(struct hearing *h)
{
    if (h->content.arena.used_bytes > 0) add(h, &h->content, view_of("\n"));
}

static void begin_call(struct hearing *h, view name)
{
    add(h, &h->calls, view_of(h->calls.arena.used_bytes == 0 ? "[" : ", "));
    char id[40]; /* nine characters: templates of Mistral ask for as many */
    snprintf(id, sizeof id, "{\"id\": \"call%05u\", ", ++h->call_count % 100000);
    add(h, &h->calls, view_of(id));
    add(h, &h->calls, view_of("\"type\": \"function\", \"function\": "));
    h->calls.shown_bytes = h->calls.arena.used_bytes; /* what is shown begins here */
    add(h, &h->calls, view_of("{\"name\": "));
    add_name(h, name);
    add(h, &h->calls, view_of(", \"arguments\": "));
}

void hearing_take(struct hearing *h, const struct service_event *delta)
{
    switch (delta->part) {
    case TEXT_REASONING: add(h, &h->reasoning, delta->text); break;
    case TEXT_CONTENT: add(h, &h->content, delta->text); break;
    case TEXT_BLOCK: add_line_end(h); break;
    case TEXT_CALL_BEGIN: begin_call(h, delta->name); break;
    case TEXT_CALL_ARGS: add(h, &h->calls, delta->text); break;
    case TEXT_CALL_END:
        add(h, &h->calls, view_of("}"));
        show_call(h);
        break;
    case TEXT_CALL_BAD:
    case TEXT_CALL_CUT: break;
    }
}

bool hearing_new(struct hearing *h, err *e)
{
    *h = (struct hearing){ 0 };
    if (arena_new(&h->content.arena, HEARD_BYTES, e) && arena_new(&h->reasoning.arena, HEARD_BYTES, e) &&
        arena_new(&h->calls.arena, HEARD_BYTES, e))
        return true;
    hearing_free(h);
    return false;
}

void hearing_free(struct hearing *h)
{
    arena_free(&h->content.arena);
    arena_free(&h->reasoning.arena);
    arena_free(&h->calls.arena);
    *h = (struct hearing){ 0 };
}

void hearing_begin(struct hearing *h, hearing_show *show, void *arg)
{
    arena_rewind(&h->content.arena, 0);
    arena_rewind(&h->reasoning.arena, 0);
    arena_rewind(&h->calls.arena, 0);
    h->content.shown_bytes = h->reasoning.shown_bytes = 0;
    h->show = show;
    h->arg = arg;
    h->failed = false;
}

bool hearing_end(struct hearing *h, err *e)
{
    if (h->calls.arena.used_bytes > 0) add(h, &h->calls, view_of("]"));
    show_new(h, &h->reasoning, true);
    show_new(h, &h->content, true);
    return !h->failed || fail(e, ERR_MEMORY, ERR_NO_OFFSET, "answer: over %zu bytes", HEARD_BYTES);
}

view hearing_content(const struct hearing *h)
{
    return heard_text(&h->content);
}

view hearing_reasoning(const struct hearing *h)
{
    return heard_text(&h->reasoning);
}

view hearing_calls(const struct hearing *h)
{
    return heard_text(&h->calls);
}
