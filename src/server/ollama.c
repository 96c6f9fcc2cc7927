/* Ollama: POST /api/chat and /api/generate. A stream is the default and is one JSON object a line; options lie in an
 * object of their own; a call's arguments are an object and not a text. */
#include "server/openai.h"

#include "base/checked.h"

enum { KEEP_BYTES_MAX = 32 }; /* of a keep_alive, in a text: "100h59m59s" */

void ollama_error(const struct refusal *r, json_writer *w)
{
    json_begin_object(w);
    json_key(w, "error");
    json_text(w, r->text);
    json_end_object(w);
}

static void stream_error(struct exchange *x, const struct refusal *r)
{
    json_writer w;
    frame_start(x, &w);
    ollama_error(r, &w);
    line_send(x, &w);
}

/* ---- in ---- */

/* -1 and -2 are "as long as it goes". */
static bool take_predict(struct reading *rd, const json_value *v)
{
    int64_t count;
    if (!json_i64(v, &count) || count < -2 || count > UINT32_MAX)
        return refuse_field(rd, v, "a number of tokens is needed");
    rd->ask.max_tok = count > 0 ? (size_t)count : 0;
    return true;
}

static bool take_window(struct reading *rd, const json_value *v)
{
    int64_t count;
    if (!json_i64(v, &count) || count < -1 || count > CTX_TOK_MAX)
        return refuse_field(rd, v, "a number of tokens is needed");
    rd->ask.sample.penalty_window = count < 0 ? CTX_TOK_MAX : (size_t)count;
    return true;
}

#define AT(field) offsetof(struct reading, field)
#define SAMPLING(field) offsetof(struct reading, ask.sample.field)

/* num_ctx and the like are decided when the server starts: a prompt that does not fit is refused in words. */
static const struct field OPTIONS[] = {
    { "temperature", FIELD_NUMBER, SAMPLING(temperature), 0, 100, NULL, NULL },
    { "top_p", FIELD_NUMBER, SAMPLING(top_p), 0, 1, NULL, NULL },
    { "top_k", FIELD_COUNT, SAMPLING(top_k), 0, VOCAB_MAX, NULL, NULL },
    { "min_p", FIELD_NUMBER, SAMPLING(min_p), 0, 1, NULL, NULL },
    { "typical_p", FIELD_NUMBER, SAMPLING(typical_p), 0, 1, NULL, NULL },
    { "repeat_penalty", FIELD_NUMBER, SAMPLING(repetition_penalty), 0.01, 100, NULL, NULL },
    { "presence_penalty", FIELD_NUMBER, SAMPLING(presence_penalty), -100, 100, NULL, NULL },
    { "frequency_penalty", FIELD_NUMBER, SAMPLING(frequency_penalty), -100, 100, NULL, NULL },
    { "repeat_last_n", FIELD_TAKE, 0, 0, 0, take_window, NULL },
    { "seed", FIELD_TAKE, 0, 0, 0, take_seed, NULL },
    { "stop", FIELD_TAKE, 0, 0, 0, take_stop, NULL },
    { "num_predict", FIELD_TAKE, 0, 0, 0, take_predict, NULL },
    { "num_ctx", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "num_batch", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "num_thread", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "num_gpu", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "num_keep", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
};

static bool take_options(struct reading *rd, const json_value *v)
{
    return fields_read(rd, v, OPTIONS, sizeof OPTIONS / sizeof *OPTIONS);
}

static bool take_format(struct reading *rd, const json_value *v)
{
    if (v->type == JSON_OBJECT) return set_schema(rd, v);
    if (v->type != JSON_STRING) return refuse_field(rd, v, "\"json\" or a JSON schema is needed");
    if (v->text.len_bytes > 0 && !view_is(v->text, "json")) return refuse_field(rd, v, "\"json\" or a JSON schema");
    if (v->text.len_bytes > 0) rd->ask.shape = SHAPE_JSON;
    return true;
}

static bool take_think(struct reading *rd, const json_value *v)
{
    if (v->type == JSON_STRING) return take_effort(rd, v);
    if (v->type != JSON_TRUE && v->type != JSON_FALSE) return refuse_field(rd, v, "true, false or a level is needed");
    rd->ask.think = v->type == JSON_TRUE ? ASK_THINK_YES : ASK_THINK_NO;
    return true;
}

/* "5m", "1h30m", "-1": as Ollama's clients say it; a number is seconds, negative ones are for ever. */
static bool duration_ms(view text, uint64_t *out)
{
    static const struct { const char *name; uint64_t ms; } units[] = {
        { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
    };
    uint64_t sum = 0;
    bool negative = text.len_bytes > 0 && text.ptr[0] == '-';
    if (negative) text = view_after(text, 1);
    if (text.len_bytes == 0 || text.len_bytes > KEEP_BYTES_MAX) return false;
    while (text.len_bytes > 0) {
        size_t digits = 0, letters = 0, unit;
        uint64_t number = 0;
        while (digits < text.len_bytes && text.ptr[digits] >= '0' && text.ptr[digits] <= '9' && number < UINT32_MAX)
            number = number * 10 + (uint64_t)(text.ptr[digits++] - '0');
        if (digits == 0 || number > UINT32_MAX) return false;
        text = view_after(text, digits);
        while (letters < text.len_bytes && text.ptr[letters] >= 'a' && text.ptr[letters] <= 'z') letters++;
        for (unit = 0; unit < 4 && !view_is((view){ text.ptr, letters }, units[unit].name); unit++) {}
        if (unit == 4 && letters > 0) return false;
        sum += number * (letters > 0 ? units[unit].ms : 1000); /* the text is short: no wrap */
        text = view_after(text, letters);
    }
    *out = negative ? UINT64_MAX : sum;
    return true;
}

/* How long the model stays is for those to say who may load and let go; from others it is read and changes nothing. */
static bool take_keep(struct reading *rd, const json_value *v)
{
    int64_t seconds;
    uint64_t keep_ms;
    if (v->type == JSON_INT && json_i64(v, &seconds) && seconds <= UINT32_MAX)
        keep_ms = seconds < 0 ? UINT64_MAX : (uint64_t)seconds * 1000;
    else if (v->type != JSON_STRING || !duration_ms(v->text, &keep_ms))
        return refuse_field(rd, v, "a time is needed: \"5m\", seconds, or -1 for as long as there is room");
    rd->ask.has_keep = rd->x->who->role == KEY_ADMIN;
    rd->ask.keep_ms = keep_ms;
    return true;
}

/* A request without anything to answer loads the model, or with a keep_alive of 0 lets it go: `ollama stop` does. */
static bool read_load(struct reading *rd)
{
    bool unload = rd->ask.has_keep && rd->ask.keep_ms == 0;
    if (rd->x->who->role != KEY_ADMIN)
        return refuse_with(rd->r, 403, NULL, "this key's role, %s, may not load or unload models",
                           key_role_name(rd->x->who->role));
    rd->ask.kind = unload ? ASK_UNLOAD : ASK_LOAD;
    return true;
}

static bool take_nothing(struct reading *rd, const json_value *v)
{
    bool empty = (v->type == JSON_STRING && v->text.len_bytes == 0) || (v->type == JSON_ARRAY && v->count == 0);
    return empty || refuse_field(rd, v, "not known here: text alone goes in, by the model's own template");
}

static const struct field CHAT_FIELDS[] = {
    { "model", FIELD_TEXT, AT(model), 0, 0, NULL, NULL },
    { "messages", FIELD_VALUE, AT(messages), 0, 0, NULL, NULL },
    { "tools", FIELD_VALUE, AT(tools), 0, 0, NULL, NULL },
    { "stream", FIELD_BOOL, AT(stream), 0, 0, NULL, NULL },
    { "format", FIELD_TAKE, 0, 0, 0, take_format, NULL },
    { "options", FIELD_TAKE, 0, 0, 0, take_options, NULL },
    { "think", FIELD_TAKE, 0, 0, 0, take_think, NULL },
    { "keep_alive", FIELD_TAKE, 0, 0, 0, take_keep, NULL },
};

static const struct field TEXT_FIELDS[] = {
    { "model", FIELD_TEXT, AT(model), 0, 0, NULL, NULL },
    { "prompt", FIELD_TEXT, AT(text), 0, 0, NULL, NULL },
    { "system", FIELD_TEXT, AT(system_text), 0, 0, NULL, NULL },
    { "raw", FIELD_BOOL, AT(raw), 0, 0, NULL, NULL },
    { "stream", FIELD_BOOL, AT(stream), 0, 0, NULL, NULL },
    { "format", FIELD_TAKE, 0, 0, 0, take_format, NULL },
    { "options", FIELD_TAKE, 0, 0, 0, take_options, NULL },
    { "think", FIELD_TAKE, 0, 0, 0, take_think, NULL },
    { "keep_alive", FIELD_TAKE, 0, 0, 0, take_keep, NULL },
    { "suffix", FIELD_TAKE, 0, 0, 0, take_nothing, NULL },
    { "images", FIELD_TAKE, 0, 0, 0, take_nothing, NULL },
    { "template", FIELD_TAKE, 0, 0, 0, take_nothing, NULL },
    { "context", FIELD_TAKE, 0, 0, 0, take_nothing, NULL },
};

static bool read_chat(struct reading *rd)
{
    if (rd->messages == NULL || (rd->messages->type == JSON_ARRAY && rd->messages->count == 0)) return read_load(rd);
    return openai_messages(rd, rd->messages) && tools_read(rd, rd->tools, true, "parameters");
}

/* A prompt is a conversation of one message, but where it is raw or the model has no template: that is known once it
 * is in memory, so the ask carries both. */
static bool read_text(struct reading *rd)
{
    if (rd->text.len_bytes == 0) return read_load(rd);
    rd->ask.text = rd->text;
    if (rd->raw) {
        rd->ask.kind = ASK_TEXT;
        return true;
    }
    struct turns *t = ARENA_ARRAY(rd->a, struct turns, 1, "messages", &rd->e);
    return t != NULL && turns_begin(t, rd) &&
           (rd->system_text.len_bytes == 0 || turns_system(t, rd->system_text)) && turns_text(t, "user", rd->text) &&
           turns_end(t);
}

/* ---- out ---- */

static bool is_chat(const struct exchange *x)
{
    return x->api == &API_OLLAMA_CHAT;
}

static void open_line(struct exchange *x, json_writer *w)
{
    char made[TIME_TEXT_BYTES];
    time_text(x->s->now_s, made);
    json_begin_object(w);
    json_key(w, "model");
    json_text(w, x->model);
    json_key(w, "created_at");
    json_text(w, made);
}

static void write_calls(const struct call *first, bool one, json_writer *w)
{
    if (first == NULL) return;
    json_key(w, "tool_calls");
    json_begin_array(w);
    for (const struct call *call = first; call != NULL; call = one ? NULL : call->next) {
        json_begin_object(w);
        json_key(w, "id");
        json_string(w, buffer_view(&call->id));
        json_key(w, "function");
        json_begin_object(w);
        json_key(w, "name");
        json_string(w, buffer_view(&call->name));
        json_key(w, "arguments");
        json_raw(w, buffer_view(&call->args).len_bytes > 0 ? buffer_view(&call->args) : view_of("{}"));
        json_end_object(w);
        json_end_object(w);
    }
    json_end_array(w);
}

/* "message": {...} in a chat, "response" and "thinking" beside each other in a completion. */
static void write_said(struct exchange *x, json_writer *w, view text, view thought, const struct call *calls, bool one)
{
    if (is_chat(x)) {
        json_key(w, "message");
        json_begin_object(w);
        json_key(w, "role");
        json_text(w, "assistant");
    }
    json_key(w, is_chat(x) ? "content" : "response");
    json_string(w, text);
    if (thought.len_bytes > 0) {
        json_key(w, "thinking");
        json_string(w, thought);
    }
    if (is_chat(x)) {
        write_calls(calls, one, w);
        json_end_object(w);
    }
}

static void say(struct exchange *x, view text, view thought, const struct call *call)
{
    json_writer w;
    frame_start(x, &w);
    open_line(x, &w);
    write_said(x, &w, text, thought, call, true);
    json_key(&w, "done");
    json_bool(&w, false);
    json_end_object(&w);
    line_send(x, &w);
}

static void event(struct exchange *x, struct choice *c, const struct ask_event *event)
{
    view none = view_of("");
    if (event->kind == EVENT_CONTENT && event->text.len_bytes > 0) say(x, event->text, none, NULL);
    if (event->kind == EVENT_REASONING && event->text.len_bytes > 0) say(x, none, event->text, NULL);
    if (event->kind == EVENT_CALL_END) say(x, none, none, c->last_call);
}

static void write_end(struct exchange *x, json_writer *w)
{
    const struct ask_usage *u = &x->usage_sum;
    const struct { const char *name; uint64_t value; } rows[] = {
        { "total_duration", u->prompt_ns + u->made_ns },
        { "load_duration", 0 },
        { "prompt_eval_count", u->prompt_tok },
        { "prompt_eval_duration", u->prompt_ns },
        { "eval_count", u->made_tok },
        { "eval_duration", u->made_ns },
    };
    bool cut = x->choices[0].finish == ASK_LENGTH || x->choices[0].finish == ASK_CONTEXT;
    json_key(w, "done");
    json_bool(w, true);
    json_key(w, "done_reason");
    json_text(w, x->kind == ASK_LOAD ? "load" : x->kind == ASK_UNLOAD ? "unload" : cut ? "length" : "stop");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_key(w, rows[i].name);
        json_uint(w, rows[i].value);
    }
    json_end_object(w);
}

static void end(struct exchange *x)
{
    json_writer w;
    frame_start(x, &w);
    open_line(x, &w);
    write_said(x, &w, view_of(""), view_of(""), NULL, false);
    write_end(x, &w);
    line_send(x, &w);
}

static void whole(struct exchange *x, json_writer *w)
{
    const struct choice *c = &x->choices[0];
    open_line(x, w);
    write_said(x, w, buffer_view(&c->content), buffer_view(&c->reasoning), c->calls, false);
    write_end(x, w);
}

/* Lines have no comments: an empty text is the sign of life. */
static void ping(struct exchange *x, uint64_t done, uint64_t all)
{
    (void)done, (void)all;
    say(x, view_of(""), view_of(""), NULL);
}

const struct api API_OLLAMA_CHAT = {
    .name = "chat", .media = "application/x-ndjson", .id_prefix = "chat-", .call_prefix = "call_",
    .fields = CHAT_FIELDS, .field_count = sizeof CHAT_FIELDS / sizeof *CHAT_FIELDS, .stream_default = true,
    .kind = ASK_CHAT, .read = read_chat, .event = event, .end = end, .whole = whole, .error = ollama_error,
    .stream_error = stream_error, .ping = ping,
};

const struct api API_OLLAMA_TEXT = {
    .name = "generate", .media = "application/x-ndjson", .id_prefix = "gen-", .call_prefix = "call_",
    .fields = TEXT_FIELDS, .field_count = sizeof TEXT_FIELDS / sizeof *TEXT_FIELDS, .stream_default = true,
    .kind = ASK_CHAT, .read = read_text, .event = event, .end = end, .whole = whole, .error = ollama_error,
    .stream_error = stream_error, .ping = ping,
};
