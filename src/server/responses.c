/* OpenAI Responses, the way out: POST /v1/responses. Items are opened, filled and closed one at a time; each is told
 * again whole when it is closed, and all of them in the end, so an item that is closed is kept as JSON:
 *
 *   created, in_progress, { item.added, [part.added], delta ..., done, [part.done], item.done } ..., completed
 *
 * Clients read the type from the data and most of the numbers beside it; sequence_number counts all events. */
#include "server/responses.h"

static void event_begin(struct exchange *x, json_writer *w, const char *type)
{
    frame_start(x, w);
    json_begin_object(w);
    json_key(w, "type");
    json_text(w, type);
    json_key(w, "sequence_number");
    json_uint(w, x->sequence++);
}

static void event_end(struct exchange *x, json_writer *w, const char *type)
{
    json_end_object(w);
    frame_send(x, type, w);
}

static void member(json_writer *w, const char *name, const char *text)
{
    json_key(w, name);
    json_text(w, text);
}

/* Ids of items are the response's own, with the place behind it. */
static void write_item_id(struct exchange *x, json_writer *w, const char *name, const char *prefix, uint32_t index)
{
    char id[EXCHANGE_ID_BYTES + 24];
    snprintf(id, sizeof id, "%s%s_%u", prefix, x->id + strlen("resp_"), index);
    member(w, name, id);
}

static const char *const PREFIXES[] = { [BLOCK_NONE] = "", [BLOCK_TEXT] = "msg_", [BLOCK_THINKING] = "rs_",
                                        [BLOCK_CALL] = "fc_" };

static void write_part(json_writer *w, const char *type, view text)
{
    json_begin_object(w);
    member(w, "type", type);
    json_key(w, "text");
    json_string(w, text);
    if (strcmp(type, "output_text") == 0) {
        json_key(w, "annotations");
        json_begin_array(w);
        json_end_array(w);
        json_key(w, "logprobs");
        json_begin_array(w);
        json_end_array(w);
    }
    json_end_object(w);
}

/* An item; `text` is its content, or the call's arguments. Where it is only opened there is none yet. */
static void write_item(struct exchange *x, json_writer *w, enum block block, uint32_t index, const struct call *call,
                       view text, bool opened)
{
    const char *part = block == BLOCK_TEXT ? "output_text" : "reasoning_text";
    json_begin_object(w);
    write_item_id(x, w, "id", PREFIXES[block], index);
    member(w, "type", block == BLOCK_TEXT ? "message" : block == BLOCK_CALL ? "function_call" : "reasoning");
    member(w, "status", opened ? "in_progress" : "completed");
    if (block == BLOCK_CALL) {
        json_key(w, "call_id");
        json_string(w, buffer_view(&call->id));
        json_key(w, "name");
        json_string(w, buffer_view(&call->name));
        json_key(w, "arguments");
        json_string(w, text);
    } else {
        if (block == BLOCK_TEXT) member(w, "role", "assistant");
        if (block == BLOCK_THINKING) {
            json_key(w, "summary");
            json_begin_array(w);
            json_end_array(w);
        }
        json_key(w, "content");
        json_begin_array(w);
        if (!opened) write_part(w, part, text);
        json_end_array(w);
    }
    json_end_object(w);
}

/* Where an event belongs. */
static void write_place(struct exchange *x, json_writer *w, const struct choice *c)
{
    write_item_id(x, w, "item_id", PREFIXES[c->block], c->block_index);
    json_key(w, "output_index");
    json_uint(w, c->block_index);
    if (c->block == BLOCK_CALL) return;
    json_key(w, "content_index");
    json_uint(w, 0);
}

static view open_text(const struct choice *c)
{
    view all = c->block == BLOCK_TEXT ? buffer_view(&c->content) : buffer_view(&c->reasoning);
    return view_after(all, c->block_start);
}

/* ---- the response as an object ---- */

static void write_usage(const struct ask_usage *u, json_writer *w)
{
    json_begin_object(w);
    json_key(w, "input_tokens");
    json_uint(w, u->prompt_tok);
    json_key(w, "input_tokens_details");
    json_begin_object(w);
    json_key(w, "cached_tokens");
    json_uint(w, u->cached_tok);
    json_end_object(w);
    json_key(w, "output_tokens");
    json_uint(w, u->made_tok);
    json_key(w, "output_tokens_details");
    json_begin_object(w);
    json_key(w, "reasoning_tokens");
    json_uint(w, u->reasoning_tok);
    json_end_object(w);
    json_key(w, "total_tokens");
    json_uint(w, u->prompt_tok + u->made_tok);
    json_end_object(w);
}

static void write_nulls(json_writer *w, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_key(w, names[i]);
        json_null(w);
    }
}

static bool is_cut(const struct choice *c)
{
    return c->ended && (c->finish == ASK_LENGTH || c->finish == ASK_CONTEXT);
}

static void write_response(struct exchange *x, json_writer *w, const char *status, const struct refusal *r)
{
    static const char *const nulls[] = { "instructions", "max_output_tokens", "previous_response_id" };
    const struct choice *c = &x->choices[0];
    json_begin_object(w);
    member(w, "id", x->id);
    member(w, "object", "response");
    json_key(w, "created_at");
    json_int(w, x->created_s);
    member(w, "status", status);
    member(w, "model", x->model);
    json_key(w, "output");
    json_begin_array(w);
    json_raw(w, buffer_view(&x->items));
    json_end_array(w);
    json_key(w, "error");
    if (r != NULL) {
        json_begin_object(w);
        member(w, "code", r->code != NULL ? r->code : "server_error");
        member(w, "message", r->text);
        json_end_object(w);
    } else {
        json_null(w);
    }
    json_key(w, "incomplete_details");
    if (is_cut(c)) json_raw(w, view_of("{\"reason\":\"max_output_tokens\"}"));
    else json_null(w);
    write_nulls(w, nulls, sizeof nulls / sizeof *nulls);
    json_key(w, "parallel_tool_calls");
    json_bool(w, true);
    json_key(w, "store");
    json_bool(w, false);
    member(w, "tool_choice", "auto");
    json_key(w, "tools");
    json_raw(w, view_of("[]"));
    member(w, "truncation", "disabled");
    json_key(w, "metadata");
    json_raw(w, view_of("{}"));
    json_key(w, "usage");
    if (c->ended) write_usage(&x->usage_sum, w);
    else json_null(w);
    json_end_object(w);
}

static void response_event(struct exchange *x, const char *type, const char *status, const struct refusal *r)
{
    json_writer w;
    event_begin(x, &w, type);
    json_key(&w, "response");
    write_response(x, &w, status, r);
    event_end(x, &w, type);
}

/* ---- items of a stream ---- */

static void begin(struct exchange *x)
{
    response_event(x, "response.created", "in_progress", NULL);
    response_event(x, "response.in_progress", "in_progress", NULL);
}

static void part_event(struct exchange *x, const struct choice *c, const char *type, view text)
{
    json_writer w;
    event_begin(x, &w, type);
    write_place(x, &w, c);
    json_key(&w, "part");
    write_part(&w, c->block == BLOCK_TEXT ? "output_text" : "reasoning_text", text);
    event_end(x, &w, type);
}

/* One event about the open item with one text in it. */
static void text_event(struct exchange *x, const struct choice *c, const char *type, const char *name, view text)
{
    json_writer w;
    event_begin(x, &w, type);
    write_place(x, &w, c);
    json_key(&w, name);
    json_string(&w, text);
    if (c->block == BLOCK_CALL && strcmp(name, "arguments") == 0) {
        json_key(&w, "name");
        json_string(&w, buffer_view(&c->last_call->name));
    }
    if (c->block == BLOCK_TEXT) {
        json_key(&w, "logprobs");
        json_raw(&w, view_of("[]"));
    }
    event_end(x, &w, type);
}

/* Keeps the closed item for the last event. */
static void keep_item(struct exchange *x, struct choice *c, view text)
{
    json_writer w;
    view json;
    frame_start(x, &w);
    write_item(x, &w, c->block, c->block_index, c->last_call, text, false);
    if (!json_done(&w, &json)) return;
    if (c->block_index > 0) buffer_add(&x->items, view_of(","), HTTP_WHOLE_BYTES_MAX);
    buffer_add(&x->items, json, HTTP_WHOLE_BYTES_MAX);
}

static void close_item(struct exchange *x, struct choice *c)
{
    json_writer w;
    if (c->block == BLOCK_NONE) return;
    view text = c->block == BLOCK_CALL ? buffer_view(&c->last_call->args) : open_text(c);
    keep_item(x, c, text);
    if (c->block == BLOCK_CALL) {
        text_event(x, c, "response.function_call_arguments.done", "arguments", text);
    } else if (c->block == BLOCK_TEXT) {
        text_event(x, c, "response.output_text.done", "text", text);
    } else {
        text_event(x, c, "response.reasoning_text.done", "text", text);
    }
    if (c->block != BLOCK_CALL) part_event(x, c, "response.content_part.done", text);
    event_begin(x, &w, "response.output_item.done");
    json_key(&w, "output_index");
    json_uint(&w, c->block_index);
    json_key(&w, "item");
    write_item(x, &w, c->block, c->block_index, c->last_call, text, false);
    event_end(x, &w, "response.output_item.done");
    c->block = BLOCK_NONE;
    c->block_index++;
}

/* `text` is in the kept content already: the item begins in front of it. */
static void open_item(struct exchange *x, struct choice *c, enum block block, view text)
{
    json_writer w;
    if (c->block == block && block != BLOCK_CALL) return;
    const struct buffer *kept = block == BLOCK_TEXT ? &c->content : &c->reasoning;
    close_item(x, c);
    c->block = block;
    c->block_start = block == BLOCK_CALL ? 0 : buffer_view(kept).len_bytes - text.len_bytes;
    event_begin(x, &w, "response.output_item.added");
    json_key(&w, "output_index");
    json_uint(&w, c->block_index);
    json_key(&w, "item");
    write_item(x, &w, block, c->block_index, c->last_call, view_of(""), true);
    event_end(x, &w, "response.output_item.added");
    if (block != BLOCK_CALL) part_event(x, c, "response.content_part.added", view_of(""));
}

static void event(struct exchange *x, struct choice *c, const struct ask_event *event)
{
    switch (event->kind) {
    case EVENT_CONTENT:
        if (event->text.len_bytes == 0) break;
        open_item(x, c, BLOCK_TEXT, event->text);
        text_event(x, c, "response.output_text.delta", "delta", event->text);
        break;
    case EVENT_REASONING:
        if (event->text.len_bytes == 0) break;
        open_item(x, c, BLOCK_THINKING, event->text);
        text_event(x, c, "response.reasoning_text.delta", "delta", event->text);
        break;
    case EVENT_CALL_BEGIN: open_item(x, c, BLOCK_CALL, view_of("")); break;
    case EVENT_CALL_ARGS: text_event(x, c, "response.function_call_arguments.delta", "delta", event->text); break;
    case EVENT_CALL_END:
    case EVENT_FINISHED: close_item(x, c); break;
    default: break;
    }
}

static void end(struct exchange *x)
{
    bool cut = is_cut(&x->choices[0]);
    response_event(x, cut ? "response.incomplete" : "response.completed", cut ? "incomplete" : "completed", NULL);
}

static void stream_error(struct exchange *x, const struct refusal *r)
{
    response_event(x, "response.failed", "failed", r);
}

/* Without a stream the items are what was kept, in the order in which models write them. */
static void whole(struct exchange *x, json_writer *w)
{
    struct choice *c = &x->choices[0];
    struct call *last = c->last_call;
    const struct { enum block block; view text; } texts[] = { { BLOCK_THINKING, buffer_view(&c->reasoning) },
                                                              { BLOCK_TEXT, buffer_view(&c->content) } };
    for (size_t i = 0; i < 2; i++) {
        if (texts[i].text.len_bytes == 0) continue;
        c->block = texts[i].block;
        keep_item(x, c, texts[i].text);
        c->block_index++;
    }
    c->block = BLOCK_CALL;
    for (struct call *call = c->calls; call != NULL; call = call->next) {
        c->last_call = call;
        keep_item(x, c, buffer_view(&call->args));
        c->block_index++;
    }
    c->last_call = last;
    write_response(x, w, is_cut(c) ? "incomplete" : "completed", NULL);
}

const struct api API_OPENAI_RESPONSES = {
    .name = "responses", .media = "text/event-stream", .id_prefix = "resp_", .call_prefix = "call_",
    .fields = RESPONSES_FIELDS, .field_count = RESPONSES_FIELD_COUNT, .shared = true, .keeps = true, .kind = ASK_CHAT,
    .read = responses_read, .begin = begin, .event = event, .end = end, .whole = whole, .error = openai_error,
    .stream_error = stream_error, .ping = openai_ping,
};
