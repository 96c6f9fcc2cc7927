/* Anthropic Messages: POST /v1/messages and /v1/messages/count_tokens. A stream's events carry an "event:" line, which
 * its clients can not do without; content comes in blocks, one open at a time. */
#include "server/api.h"

#include "base/checked.h"

#include <stdio.h>

/* ---- errors ---- */

void anthropic_error(const struct refusal *r, json_writer *w)
{
    static const struct { int status; const char *type; } rows[] = {
        { 401, "authentication_error" }, { 403, "permission_error" }, { 404, "not_found_error" },
        { 413, "request_too_large" },    { 429, "rate_limit_error" }, { 500, "api_error" },
        { 503, "overloaded_error" },     { 529, "overloaded_error" },
    };
    const char *type = "invalid_request_error";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == r->status) type = rows[i].type;
    json_begin_object(w);
    json_key(w, "type");
    json_text(w, "error");
    json_key(w, "error");
    json_begin_object(w);
    json_key(w, "type");
    json_text(w, type);
    json_key(w, "message");
    json_text(w, r->text);
    json_end_object(w);
    json_end_object(w);
}

static void stream_error(struct exchange *x, const struct refusal *r)
{
    json_writer w;
    frame_start(x, &w);
    anthropic_error(r, &w);
    frame_send(x, "error", &w);
}

/* ---- in ---- */

static view text_member(const json_value *v, const char *name)
{
    const json_value *found = json_get(v, name);
    return found != NULL && found->type == JSON_STRING ? found->text : view_of("");
}

static bool join_text(struct reading *rd, view *sum, view more)
{
    size_t between = sum->len_bytes > 0 && more.len_bytes > 0;
    uint8_t *place = arena_take(rd->a, sum->len_bytes + between + more.len_bytes, 1, 1, "text", &rd->e);
    if (place == NULL) return false;
    if (sum->len_bytes > 0) memcpy(place, sum->ptr, sum->len_bytes);
    if (between) place[sum->len_bytes] = '\n';
    if (more.len_bytes > 0) memcpy(place + sum->len_bytes + between, more.ptr, more.len_bytes);
    *sum = (view){ place, sum->len_bytes + between + more.len_bytes };
    return true;
}

static bool refuse_block(struct reading *rd, const json_value *block)
{
    const json_value *type = json_get(block, "type");
    if (type == NULL || type->type != JSON_STRING) return refuse_field(rd, block, "a block with a type is needed");
    return refuse_field(rd, type, "%.*s can not be read here: text alone can", (int)min_size(type->text.len_bytes, 40),
                        (const char *)type->text.ptr);
}

/* Results of tools stand before what the user says, each a message of its own. */
static bool read_user(struct turns *t, const json_value *content)
{
    struct reading *rd = t->rd;
    view said = view_of("");
    bool speaks = false;
    if (content->type != JSON_ARRAY) {
        view text;
        return content_text(rd, content, &text) && turns_text(t, "user", text);
    }
    JSON_EACH(block, content) {
        view type = text_member(block, "type"), text;
        if (view_is(type, "text")) {
            speaks = true;
            if (!join_text(rd, &said, text_member(block, "text"))) return false;
        } else if (view_is(type, "tool_result")) {
            if (!content_text(rd, json_get(block, "content"), &text) ||
                !turns_result(t, text_member(block, "tool_use_id"), view_of(""), text))
                return false;
        } else {
            return refuse_block(rd, block);
        }
    }
    return !speaks || turns_text(t, "user", said);
}

static bool read_tool_use(struct turns *t, const json_value *block)
{
    json_writer w;
    view args;
    const json_value *input = json_get(block, "input"), *name = json_get(block, "name");
    if (name == NULL || name->type != JSON_STRING) return refuse_field(t->rd, block, "a tool's name is needed");
    json_writer_start(&w, t->rd->a, HTTP_BODY_BYTES_MAX, &t->rd->e);
    if (input != NULL) json_copy(&w, input);
    else json_raw(&w, view_of("{}"));
    return json_done(&w, &args) && turns_call(t, text_member(block, "id"), name->text, args);
}

static bool read_assistant(struct turns *t, const json_value *content)
{
    struct reading *rd = t->rd;
    view said = view_of(""), thought = view_of("");
    if (content->type != JSON_ARRAY) return content_text(rd, content, &said) && turns_answer(t, said, thought) &&
                                            turns_answer_end(t);
    JSON_EACH(block, content) {
        view type = text_member(block, "type");
        bool good = true;
        if (view_is(type, "text")) good = join_text(rd, &said, text_member(block, "text"));
        else if (view_is(type, "thinking")) good = join_text(rd, &thought, text_member(block, "thinking"));
        else if (!view_is(type, "tool_use") && !view_is(type, "redacted_thinking")) good = refuse_block(rd, block);
        if (!good) return false;
    }
    if (!turns_answer(t, said, thought)) return false;
    JSON_EACH(block, content)
        if (view_is(text_member(block, "type"), "tool_use") && !read_tool_use(t, block)) return false;
    return turns_answer_end(t);
}

static bool read_system(struct turns *t, const json_value *system)
{
    if (system == NULL) return true;
    if (system->type == JSON_STRING) return turns_system(t, system->text);
    if (system->type != JSON_ARRAY) return refuse_field(t->rd, system, "a text or an array of blocks is needed");
    JSON_EACH(block, system) {
        if (!view_is(text_member(block, "type"), "text")) return refuse_block(t->rd, block);
        if (!turns_system(t, text_member(block, "text"))) return false;
    }
    return true;
}

static bool read_messages(struct reading *rd)
{
    struct turns *t = ARENA_ARRAY(rd->a, struct turns, 1, "messages", &rd->e);
    if (t == NULL) return false;
    if (rd->messages == NULL || rd->messages->type != JSON_ARRAY)
        return refuse_with(rd->r, 400, "messages", "messages: an array is needed");
    if (!turns_begin(t, rd) || !read_system(t, rd->system)) return false;
    JSON_EACH(message, rd->messages) {
        view role = text_member(message, "role");
        const json_value *content = json_get(message, "content");
        bool is_answer = view_is(role, "assistant"), good;
        if (content == NULL) return refuse_field(rd, message, "a content is needed");
        if (view_is(role, "system")) {
            view text;
            good = content_text(rd, content, &text) && turns_system(t, text);
        } else if (is_answer || view_is(role, "user")) {
            good = is_answer ? read_assistant(t, content) : read_user(t, content);
        } else {
            return refuse_field(rd, json_get(message, "role") != NULL ? json_get(message, "role") : message,
                                "a role user or assistant is needed");
        }
        if (!good) return false;
        rd->ask.continues = is_answer; /* an answer at the end is one to go on with */
    }
    return turns_end(t) && tools_read(rd, rd->tools, false, "input_schema") &&
           tool_choice_read(rd, rd->tool_choice);
}

static bool take_thinking(struct reading *rd, const json_value *v)
{
    view type = text_member(v, "type");
    if (view_is(type, "enabled")) rd->ask.think = ASK_THINK_YES;
    else if (view_is(type, "disabled")) rd->ask.think = ASK_THINK_NO;
    else if (!view_is(type, "adaptive")) return refuse_field(rd, v, "a type enabled, disabled or adaptive is needed");
    return true;
}

static bool take_format(struct reading *rd, const json_value *v)
{
    const json_value *type = json_get(v, "type"), *schema = json_get(v, "schema");
    if (type == NULL || type->type != JSON_STRING || !view_is(type->text, "json_schema") || schema == NULL)
        return refuse_field(rd, v, "a json_schema with a schema is needed");
    return set_schema(rd, schema);
}

static bool take_config(struct reading *rd, const json_value *v)
{
    static const struct field rows[] = {
        { "format", FIELD_TAKE, 0, 0, 0, take_format, NULL },
        { "effort", FIELD_TAKE, 0, 0, 0, take_effort, NULL },
    };
    return fields_read(rd, v, rows, sizeof rows / sizeof *rows);
}

static bool take_servers(struct reading *rd, const json_value *v)
{
    return v->count == 0 || refuse_field(rd, v, "there is no connection outward from here");
}

#define AT(field) offsetof(struct reading, field)
static const struct field FIELDS[] = {
    { "model", FIELD_TEXT, AT(model), 0, 0, NULL, NULL },
    { "messages", FIELD_VALUE, AT(messages), 0, 0, NULL, NULL },
    { "system", FIELD_VALUE, AT(system), 0, 0, NULL, NULL },
    { "max_tokens", FIELD_COUNT, AT(ask.max_tok), 1, UINT32_MAX, NULL, NULL },
    { "stream", FIELD_BOOL, AT(stream), 0, 0, NULL, NULL },
    { "stop_sequences", FIELD_TAKE, 0, 0, 0, take_stop, NULL },
    { "tools", FIELD_VALUE, AT(tools), 0, 0, NULL, NULL },
    { "tool_choice", FIELD_VALUE, AT(tool_choice), 0, 0, NULL, NULL },
    { "thinking", FIELD_TAKE, 0, 0, 0, take_thinking, NULL },
    { "output_format", FIELD_TAKE, 0, 0, 0, take_format, NULL },
    { "output_config", FIELD_TAKE, 0, 0, 0, take_config, NULL },
    { "context_management", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "cache_control", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "container", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "mcp_servers", FIELD_TAKE, 0, 0, 0, take_servers, NULL },
};

/* ---- out ---- */

static void begin_object(struct exchange *x, json_writer *w, const char *type)
{
    frame_start(x, w);
    json_begin_object(w);
    json_key(w, "type");
    json_text(w, type);
}

/* Cached tokens are counted apart from the prompt's others. */
static void write_usage(const struct ask_usage *u, json_writer *w)
{
    json_key(w, "usage");
    json_begin_object(w);
    json_key(w, "input_tokens");
    json_uint(w, u->prompt_tok - u->cached_tok);
    json_key(w, "cache_creation_input_tokens");
    json_uint(w, 0);
    json_key(w, "cache_read_input_tokens");
    json_uint(w, u->cached_tok);
    json_key(w, "output_tokens");
    json_uint(w, u->made_tok);
    json_end_object(w);
}

static void begin(struct exchange *x)
{
    json_writer w;
    struct ask_usage usage = { .prompt_tok = x->prompt_tok };
    begin_object(x, &w, "message_start");
    json_key(&w, "message");
    json_begin_object(&w);
    json_key(&w, "id");
    json_text(&w, x->id);
    json_key(&w, "type");
    json_text(&w, "message");
    json_key(&w, "role");
    json_text(&w, "assistant");
    json_key(&w, "model");
    json_text(&w, x->model);
    json_key(&w, "content");
    json_begin_array(&w);
    json_end_array(&w);
    json_key(&w, "stop_reason");
    json_null(&w);
    json_key(&w, "stop_sequence");
    json_null(&w);
    write_usage(&usage, &w);
    json_end_object(&w);
    json_end_object(&w);
    frame_send(x, "message_start", &w);
}

static void write_delta(struct exchange *x, struct choice *c, const char *type, const char *name, view text)
{
    json_writer w;
    begin_object(x, &w, "content_block_delta");
    json_key(&w, "index");
    json_uint(&w, c->block_index);
    json_key(&w, "delta");
    json_begin_object(&w);
    json_key(&w, "type");
    json_text(&w, type);
    json_key(&w, name);
    json_string(&w, text);
    json_end_object(&w);
    json_end_object(&w);
    frame_send(x, "content_block_delta", &w);
}

static void close_block(struct exchange *x, struct choice *c)
{
    json_writer w;
    if (c->block == BLOCK_NONE) return;
    if (c->block == BLOCK_THINKING) write_delta(x, c, "signature_delta", "signature", view_of(""));
    begin_object(x, &w, "content_block_stop");
    json_key(&w, "index");
    json_uint(&w, c->block_index);
    json_end_object(&w);
    frame_send(x, "content_block_stop", &w);
    c->block = BLOCK_NONE;
    c->block_index++;
}

static void write_call_head(const struct call *call, json_writer *w)
{
    json_key(w, "type");
    json_text(w, "tool_use");
    json_key(w, "id");
    json_string(w, buffer_view(&call->id));
    json_key(w, "name");
    json_string(w, buffer_view(&call->name));
    json_key(w, "input");
}

/* An empty "thinking" must stand in the block's start: a client adds to it. */
static void open_block(struct exchange *x, struct choice *c, enum block block)
{
    json_writer w;
    if (c->block == block && block != BLOCK_CALL) return;
    close_block(x, c);
    c->block = block;
    begin_object(x, &w, "content_block_start");
    json_key(&w, "index");
    json_uint(&w, c->block_index);
    json_key(&w, "content_block");
    json_begin_object(&w);
    if (block == BLOCK_CALL) {
        write_call_head(c->last_call, &w);
        json_raw(&w, view_of("{}"));
    } else {
        json_key(&w, "type");
        json_text(&w, block == BLOCK_TEXT ? "text" : "thinking");
        json_key(&w, block == BLOCK_TEXT ? "text" : "thinking");
        json_text(&w, "");
        if (block == BLOCK_THINKING) {
            json_key(&w, "signature");
            json_text(&w, "");
        }
    }
    json_end_object(&w);
    json_end_object(&w);
    frame_send(x, "content_block_start", &w);
}

static void event(struct exchange *x, struct choice *c, const struct ask_event *event)
{
    switch (event->kind) {
    case EVENT_CONTENT:
    case EVENT_REASONING: {
        bool is_text = event->kind == EVENT_CONTENT;
        if (event->text.len_bytes == 0) break;
        open_block(x, c, is_text ? BLOCK_TEXT : BLOCK_THINKING);
        write_delta(x, c, is_text ? "text_delta" : "thinking_delta", is_text ? "text" : "thinking", event->text);
        break;
    }
    case EVENT_CALL_BEGIN: open_block(x, c, BLOCK_CALL); break;
    case EVENT_CALL_ARGS: write_delta(x, c, "input_json_delta", "partial_json", event->text); break;
    case EVENT_CALL_END:
    case EVENT_FINISHED: close_block(x, c); break;
    default: break;
    }
}

static const char *stop_reason(enum ask_finish finish)
{
    switch (finish) {
    case ASK_LENGTH: return "max_tokens";
    case ASK_CONTEXT: return "model_context_window_exceeded";
    case ASK_CALLS: return "tool_use";
    case ASK_STOP_TEXT: return "stop_sequence";
    default: return "end_turn";
    }
}

static void write_stop(const struct choice *c, json_writer *w)
{
    json_key(w, "stop_reason");
    json_text(w, stop_reason(c->finish));
    json_key(w, "stop_sequence");
    if (c->finish == ASK_STOP_TEXT) json_string(w, buffer_view(&c->stop));
    else json_null(w);
}

static void end(struct exchange *x)
{
    json_writer w;
    begin_object(x, &w, "message_delta");
    json_key(&w, "delta");
    json_begin_object(&w);
    write_stop(&x->choices[0], &w);
    json_end_object(&w);
    write_usage(&x->usage_sum, &w);
    json_end_object(&w);
    frame_send(x, "message_delta", &w);
    begin_object(x, &w, "message_stop");
    json_end_object(&w);
    frame_send(x, "message_stop", &w);
}

static void write_text_block(json_writer *w, const char *type, view text, bool is_thinking)
{
    if (text.len_bytes == 0) return;
    json_begin_object(w);
    json_key(w, "type");
    json_text(w, type);
    json_key(w, type);
    json_string(w, text);
    if (is_thinking) {
        json_key(w, "signature");
        json_text(w, "");
    }
    json_end_object(w);
}

static void whole(struct exchange *x, json_writer *w)
{
    const struct choice *c = &x->choices[0];
    json_begin_object(w);
    json_key(w, "id");
    json_text(w, x->id);
    json_key(w, "type");
    json_text(w, "message");
    json_key(w, "role");
    json_text(w, "assistant");
    json_key(w, "model");
    json_text(w, x->model);
    json_key(w, "content");
    json_begin_array(w);
    write_text_block(w, "thinking", buffer_view(&c->reasoning), true);
    write_text_block(w, "text", buffer_view(&c->content), false);
    for (const struct call *call = c->calls; call != NULL; call = call->next) {
        json_begin_object(w);
        write_call_head(call, w);
        json_raw(w, buffer_view(&call->args).len_bytes > 0 ? buffer_view(&call->args) : view_of("{}"));
        json_end_object(w);
    }
    json_end_array(w);
    write_stop(c, w);
    write_usage(&x->usage_sum, w);
    json_end_object(w);
}

static void ping(struct exchange *x, uint64_t done, uint64_t all)
{
    json_writer w;
    (void)done, (void)all;
    begin_object(x, &w, "ping");
    json_end_object(&w);
    frame_send(x, "ping", &w);
}

const struct api API_ANTHROPIC = {
    .name = "messages", .media = "text/event-stream", .id_prefix = "msg_", .call_prefix = "toolu_", .fields = FIELDS,
    .field_count = sizeof FIELDS / sizeof *FIELDS, .shared = true, .kind = ASK_CHAT, .read = read_messages,
    .begin = begin, .event = event, .end = end, .whole = whole, .error = anthropic_error,
    .stream_error = stream_error, .ping = ping,
};

static void whole_count(struct exchange *x, json_writer *w)
{
    json_begin_object(w);
    json_key(w, "input_tokens");
    json_uint(w, x->last_event->usage.prompt_tok);
    json_end_object(w);
}

const struct api API_ANTHROPIC_COUNT = {
    .name = "count tokens", .id_prefix = "msg_", .fields = FIELDS, .field_count = sizeof FIELDS / sizeof *FIELDS,
    .shared = true, .kind = ASK_COUNT, .read = read_messages, .whole = whole_count, .error = anthropic_error,
};
