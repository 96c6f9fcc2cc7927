/* Replies: see hearing.h. */
#include "cmd/hearing.h"

#include "base/utf8.h"

/* Addresses, not memory. */
#define HEARD_BYTES ((size_t)TEMPLATE_OUTPUT_MAX)
#define PARSER_BYTES ((size_t)1 << 28)

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

static void take_event(void *arg, const struct reply_event *event)
{
    struct hearing *h = arg;
    switch (event->type) {
    case REPLY_REASONING: add(h, &h->reasoning, event->text); break;
    case REPLY_CONTENT: add(h, &h->content, event->text); break;
    case REPLY_BLOCK: add(h, &h->content, view_of(h->content.arena.used_bytes > 0 ? "\n" : "")); break;
    case REPLY_CALL_BEGIN:
        add(h, &h->calls, view_of(event->call == 0 ? "[" : ", "));
        add(h, &h->calls, view_of("{\"type\": \"function\", \"function\": "));
        h->calls.shown_bytes = h->calls.arena.used_bytes; /* what is shown begins here */
        add(h, &h->calls, view_of("{\"name\": "));
        add_name(h, event->name);
        add(h, &h->calls, view_of(", \"arguments\": "));
        break;
    case REPLY_CALL_ARGS: add(h, &h->calls, event->text); break;
    case REPLY_CALL_END:
        add(h, &h->calls, view_of("}"));
        show_call(h);
        break;
    case REPLY_ERROR:
    case REPLY_END: break;
    }
}

/* The texts of the vocabulary's control tokens: markers among them count only as tokens. */
static bool find_control(struct hearing *h, const tokenizer *t, err *e)
{
    size_t count = tokenizer_count(t), used = 0;
    for (size_t id = 0; id < count; id++) used += tokenizer_kind(t, (int32_t)id) == TOKEN_CONTROL;
    view *texts = ARENA_ARRAY(&h->arena, view, used, "control tokens", e);
    if (texts == NULL) return false;
    h->setup.control = texts;
    for (size_t id = 0; id < count; id++)
        if (tokenizer_kind(t, (int32_t)id) == TOKEN_CONTROL)
            texts[h->setup.control_count++] = tokenizer_text(t, (int32_t)id);
    return true;
}

bool hearing_new(struct hearing *h, const model *m, struct renderer *r, err *e)
{
    *h = (struct hearing){ 0 };
    if (!arena_new(&h->arena, ((size_t)1 << 20) + tokenizer_count(m->tokenizer) * sizeof(view), e) ||
        !arena_new(&h->parser_arena, PARSER_BYTES, e) || !arena_new(&h->content.arena, HEARD_BYTES, e) ||
        !arena_new(&h->reasoning.arena, HEARD_BYTES, e) || !arena_new(&h->calls.arena, HEARD_BYTES, e) ||
        !find_control(h, m->tokenizer, e)) {
        hearing_free(h);
        return false;
    }
    arena_rewind(&r->scratch, 0);
    reply_derive(r->t, &r->options, &r->scratch, &h->setup.format);
    /* What it found may lie in the scratch memory, which the next rendering takes. */
    return arena_copy(&h->arena, h->setup.format.turn_end, &h->setup.format.turn_end, "end of turn", e);
}

void hearing_free(struct hearing *h)
{
    arena_free(&h->arena);
    arena_free(&h->parser_arena);
    arena_free(&h->content.arena);
    arena_free(&h->reasoning.arena);
    arena_free(&h->calls.arena);
    *h = (struct hearing){ 0 };
}

bool hearing_begin(struct hearing *h, view prompt, hearing_show *show, void *arg, err *e)
{
    arena_rewind(&h->parser_arena, 0);
    arena_rewind(&h->content.arena, 0);
    arena_rewind(&h->reasoning.arena, 0);
    arena_rewind(&h->calls.arena, 0);
    h->content.shown_bytes = h->reasoning.shown_bytes = 0;
    h->show = show;
    h->arg = arg;
    h->failed = false;
    h->parser = NULL;
    if (h->setup.format.family == NULL) return true;
    h->setup.in_reasoning = reply_starts_in_reasoning(&h->setup.format, prompt);
    return reply_new(&h->setup, take_event, h, &h->parser_arena, &h->parser, e);
}

void hearing_feed(struct hearing *h, view text, bool is_control)
{
    if (h->parser != NULL) reply_feed(h->parser, text, is_control);
    else if (!is_control) add(h, &h->content, text);
}

bool hearing_end(struct hearing *h, bool cut, err *e)
{
    if (h->parser != NULL) reply_finish(h->parser, cut);
    h->parser = NULL;
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
