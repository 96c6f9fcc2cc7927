/* OpenAI chat completions: POST /v1/chat/completions. A stream's frames: the role, then content, reasoning and calls as
 * they come, one with the finish reason a choice, usage where it was asked for, [DONE]. What each client breaks
 * without is noted where it is not plain. Source: OpenAI's API reference, 2026; clients' parsers. */
#include "server/openai.h"

#include "base/checked.h"

/* ---- in ---- */

/* A text with an object in it, or, with Ollama, the object. */
static bool args_text(struct reading *rd, const json_value *args, view *out)
{
    json_writer w;
    *out = view_of("");
    if (args == NULL || args->type == JSON_NULL) return true;
    *out = args->text;
    if (args->type == JSON_STRING) return true;
    if (args->type != JSON_OBJECT) return refuse_field(rd, args, "arguments as a text or an object are needed");
    json_writer_start(&w, rd->a, HTTP_BODY_BYTES_MAX, &rd->e);
    json_copy(&w, args);
    return json_done(&w, out);
}

static bool read_calls(struct turns *t, const json_value *calls)
{
    struct reading *rd = t->rd;
    if (calls == NULL || calls->type == JSON_NULL) return true;
    if (calls->type != JSON_ARRAY) return refuse_field(rd, calls, "an array is needed");
    JSON_EACH(call, calls) {
        const json_value *id = json_get(call, "id"), *function = json_get(call, "function");
        const json_value *name = json_get(function != NULL ? function : call, "name");
        const json_value *args = json_get(function != NULL ? function : call, "arguments");
        if (name == NULL || name->type != JSON_STRING)
            return refuse_field(rd, call, "a function with a name is needed");
        view text;
        if (!args_text(rd, args, &text) ||
            !turns_call(t, id != NULL && id->type == JSON_STRING ? id->text : view_of(""), name->text, text))
            return false;
    }
    return true;
}

static view text_member(const json_value *message, const char *name)
{
    const json_value *v = json_get(message, name);
    return v != NULL && v->type == JSON_STRING ? v->text : view_of("");
}

static bool read_message(struct turns *t, const json_value *message)
{
    struct reading *rd = t->rd;
    const json_value *role = json_get(message, "role");
    view text, reasoning = text_member(message, "reasoning_content");
    if (message->type != JSON_OBJECT || role == NULL || role->type != JSON_STRING)
        return refuse_field(rd, message, "a message with a role is needed");
    if (!content_text(rd, json_get(message, "content"), &text)) return false;
    const json_value *images = json_get(message, "images"); /* Ollama */
    if (images != NULL && images->count > 0) return refuse_field(rd, images, "pictures can not be read here");
    if (view_is(role->text, "system") || view_is(role->text, "developer")) return turns_system(t, text);
    if (view_is(role->text, "user")) return turns_text(t, "user", text);
    if (view_is(role->text, "tool"))
        return turns_result(t, text_member(message, "tool_call_id"), text_member(message, "tool_name"), text);
    if (!view_is(role->text, "assistant"))
        return refuse_field(rd, role, "\"%.*s\": system, developer, user, assistant or tool",
                            (int)min_size(role->text.len_bytes, 40), (const char *)role->text.ptr);
    if (reasoning.len_bytes == 0) reasoning = text_member(message, "reasoning");
    if (reasoning.len_bytes == 0) reasoning = text_member(message, "thinking");
    return turns_answer(t, text, reasoning) && read_calls(t, json_get(message, "tool_calls")) && turns_answer_end(t);
}

bool openai_messages(struct reading *rd, const json_value *messages)
{
    struct turns *t = ARENA_ARRAY(rd->a, struct turns, 1, "messages", &rd->e);
    if (t == NULL) return false;
    if (messages == NULL || messages->type != JSON_ARRAY)
        return refuse_with(rd->r, 400, "messages", "messages: an array is needed");
    if (!turns_begin(t, rd)) return false;
    JSON_EACH(message, messages)
        if (!read_message(t, message)) return false;
    return turns_end(t);
}

static bool take_logprobs(struct reading *rd, const json_value *v)
{
    if (v->type != JSON_TRUE && v->type != JSON_FALSE) return refuse_field(rd, v, "true or false is needed");
    rd->ask.logprobs = v->type == JSON_TRUE;
    return true;
}

static bool take_modalities(struct reading *rd, const json_value *v)
{
    JSON_EACH(item, v)
        if (item->type != JSON_STRING || !view_is(item->text, "text"))
            return refuse_field(rd, item, "text is all that can be made here");
    return true;
}

#define AT(field) offsetof(struct reading, field)
static const struct field FIELDS[] = {
    { "model", FIELD_TEXT, AT(model), 0, 0, NULL, NULL },
    { "messages", FIELD_VALUE, AT(messages), 0, 0, NULL, NULL },
    { "stream", FIELD_BOOL, AT(stream), 0, 0, NULL, NULL },
    { "stream_options", FIELD_TAKE, 0, 0, 0, openai_stream_options, NULL },
    { "max_tokens", FIELD_COUNT, AT(ask.max_tok), 1, UINT32_MAX, NULL, NULL },
    { "max_completion_tokens", FIELD_COUNT, AT(ask.max_tok), 1, UINT32_MAX, NULL, NULL },
    { "n", FIELD_COUNT, AT(n), 1, ASK_CHOICES_MAX, NULL, NULL },
    { "logprobs", FIELD_TAKE, 0, 0, 0, take_logprobs, NULL },
    { "top_logprobs", FIELD_COUNT, AT(top_logprobs), 0, ASK_LOGPROBS_MAX, NULL, NULL },
    { "response_format", FIELD_TAKE, 0, 0, 0, openai_response_format, NULL },
    { "tools", FIELD_VALUE, AT(tools), 0, 0, NULL, NULL },
    { "tool_choice", FIELD_VALUE, AT(tool_choice), 0, 0, NULL, NULL },
    { "parallel_tool_calls", FIELD_BOOL, AT(parallel), 0, 0, NULL, NULL },
    { "reasoning_effort", FIELD_TAKE, 0, 0, 0, take_effort, NULL },
    { "chat_template_kwargs", FIELD_TAKE, 0, 0, 0, take_template_more, NULL },
    { "modalities", FIELD_TAKE, 0, 0, 0, take_modalities, NULL },
    { "store", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "prediction", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "verbosity", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "audio", FIELD_REFUSE, 0, 0, 0, NULL, "sound can not be made here" },
    { "functions", FIELD_REFUSE, 0, 0, 0, NULL, "this old form is not known: use tools" },
    { "function_call", FIELD_REFUSE, 0, 0, 0, NULL, "this old form is not known: use tool_choice" },
};

static bool read_chat(struct reading *rd)
{
    return openai_messages(rd, rd->messages) && tools_read(rd, rd->tools, true, "parameters") &&
           tool_choice_read(rd, rd->tool_choice);
}

/* ---- out ---- */

/* Opens a chunk down to the choice's "delta". */
static void chunk_open(struct exchange *x, struct choice *c, json_writer *w)
{
    frame_start(x, w);
    openai_head(x, w, "chat.completion.chunk");
    json_key(w, "choices");
    json_begin_array(w);
    json_begin_object(w);
    json_key(w, "index");
    json_int(w, c - x->choices);
    json_key(w, "delta");
    json_begin_object(w);
}

/* The log-probabilities that came since the last chunk. */
static void write_logprobs(struct choice *c, json_writer *w)
{
    view list = buffer_view(&c->logprobs);
    if (list.len_bytes == 0) return;
    json_key(w, "logprobs");
    json_begin_object(w);
    json_key(w, "content");
    json_begin_array(w);
    json_raw(w, list);
    json_end_array(w);
    json_key(w, "refusal");
    json_null(w);
    json_end_object(w);
    buffer_free(&c->logprobs);
}

static void chunk_close(struct exchange *x, struct choice *c, json_writer *w, const char *finish)
{
    json_end_object(w);
    write_logprobs(c, w);
    json_key(w, "finish_reason");
    if (finish != NULL) json_text(w, finish);
    else json_null(w);
    json_end_object(w);
    json_end_array(w);
    json_end_object(w);
    frame_send(x, NULL, w);
}

static void begin(struct exchange *x)
{
    json_writer w;
    for (size_t i = 0; i < x->choice_count; i++) {
        chunk_open(x, &x->choices[i], &w);
        json_key(&w, "role");
        json_text(&w, "assistant");
        json_key(&w, "content");
        json_text(&w, "");
        chunk_close(x, &x->choices[i], &w, NULL);
    }
}

static void text_chunk(struct exchange *x, struct choice *c, const char *name, view text)
{
    json_writer w;
    if (text.len_bytes == 0 && buffer_view(&c->logprobs).len_bytes == 0) return;
    chunk_open(x, c, &w);
    json_key(&w, name);
    json_string(&w, text);
    chunk_close(x, c, &w, NULL);
}

/* Without "type" or "index" a client of openai 6 loses the call in silence. */
static void call_chunk(struct exchange *x, struct choice *c, const struct ask_event *event)
{
    json_writer w;
    bool first = event->kind == EVENT_CALL_BEGIN;
    chunk_open(x, c, &w);
    json_key(&w, "tool_calls");
    json_begin_array(&w);
    json_begin_object(&w);
    json_key(&w, "index");
    json_uint(&w, c->call_count - 1);
    if (first) {
        json_key(&w, "id");
        json_string(&w, buffer_view(&c->last_call->id));
        json_key(&w, "type");
        json_text(&w, "function");
    }
    json_key(&w, "function");
    json_begin_object(&w);
    if (first) {
        json_key(&w, "name");
        json_string(&w, event->name);
    }
    json_key(&w, "arguments");
    json_string(&w, first ? view_of("") : event->text);
    json_end_object(&w);
    json_end_object(&w);
    json_end_array(&w);
    chunk_close(x, c, &w, NULL);
}

static void event(struct exchange *x, struct choice *c, const struct ask_event *event)
{
    json_writer w;
    switch (event->kind) {
    case EVENT_CONTENT: text_chunk(x, c, "content", event->text); break;
    case EVENT_REASONING: text_chunk(x, c, "reasoning_content", event->text); break;
    case EVENT_CALL_BEGIN:
    case EVENT_CALL_ARGS: call_chunk(x, c, event); break;
    case EVENT_FINISHED:
        chunk_open(x, c, &w);
        chunk_close(x, c, &w, finish_openai(c->finish));
        break;
    default: break;
    }
}

static void end(struct exchange *x)
{
    json_writer w;
    if (x->usage) {
        frame_start(x, &w);
        openai_head(x, &w, "chat.completion.chunk");
        json_key(&w, "choices");
        json_begin_array(&w);
        json_end_array(&w);
        openai_usage(&x->usage_sum, &w);
        json_end_object(&w);
        frame_send(x, NULL, &w);
    }
    frame_text(x, "data: [DONE]\n\n");
}

static void write_calls(const struct choice *c, json_writer *w)
{
    if (c->call_count == 0) return;
    json_key(w, "tool_calls");
    json_begin_array(w);
    for (const struct call *call = c->calls; call != NULL; call = call->next) {
        json_begin_object(w);
        json_key(w, "id");
        json_string(w, buffer_view(&call->id));
        json_key(w, "type");
        json_text(w, "function");
        json_key(w, "function");
        json_begin_object(w);
        json_key(w, "name");
        json_string(w, buffer_view(&call->name));
        json_key(w, "arguments");
        json_string(w, buffer_view(&call->args));
        json_end_object(w);
        json_end_object(w);
    }
    json_end_array(w);
}

static void write_choice(struct exchange *x, struct choice *c, json_writer *w)
{
    view content = buffer_view(&c->content), reasoning = buffer_view(&c->reasoning);
    json_begin_object(w);
    json_key(w, "index");
    json_int(w, c - x->choices);
    json_key(w, "message");
    json_begin_object(w);
    json_key(w, "role");
    json_text(w, "assistant");
    json_key(w, "content");
    if (content.len_bytes == 0 && c->call_count > 0) json_null(w);
    else json_string(w, content);
    if (reasoning.len_bytes > 0) {
        json_key(w, "reasoning_content");
        json_string(w, reasoning);
    }
    json_key(w, "refusal");
    json_null(w);
    write_calls(c, w);
    json_end_object(w);
    write_logprobs(c, w);
    json_key(w, "finish_reason");
    json_text(w, finish_openai(c->finish));
    json_end_object(w);
}

static void whole(struct exchange *x, json_writer *w)
{
    openai_head(x, w, "chat.completion");
    json_key(w, "choices");
    json_begin_array(w);
    for (size_t i = 0; i < x->choice_count; i++) write_choice(x, &x->choices[i], w);
    json_end_array(w);
    openai_usage(&x->usage_sum, w);
    json_end_object(w);
}

const struct api API_OPENAI_CHAT = {
    .name = "chat completions", .media = "text/event-stream", .id_prefix = "chatcmpl-", .call_prefix = "call_",
    .fields = FIELDS, .field_count = sizeof FIELDS / sizeof *FIELDS, .shared = true, .kind = ASK_CHAT,
    .read = read_chat, .begin = begin, .event = event, .end = end, .whole = whole, .error = openai_error,
    .stream_error = openai_stream_error, .ping = openai_ping,
};

static bool read_render(struct reading *rd)
{
    return openai_messages(rd, rd->messages) && tools_read(rd, rd->tools, true, "parameters");
}

static void whole_render(struct exchange *x, json_writer *w)
{
    json_begin_object(w);
    json_key(w, "prompt");
    json_string(w, x->last_event->text);
    json_end_object(w);
}

/* POST /apply-template: the same messages, as the model's template prints them. */
const struct api API_RENDER = {
    .name = "apply-template", .id_prefix = "render-", .fields = FIELDS, .field_count = sizeof FIELDS / sizeof *FIELDS,
    .shared = true, .kind = ASK_RENDER, .read = read_render, .whole = whole_render, .error = openai_error,
};
