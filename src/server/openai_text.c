/* Texts without a conversation: OpenAI's completions, and tokens as such (/tokenize, /detokenize). */
#include "server/openai.h"

#include "base/checked.h"

/* An array of ids into `out`; true where it is one. */
bool ids_read(struct reading *rd, const json_value *v, const int32_t **out, size_t *count)
{
    int32_t *ids = ARENA_ARRAY(rd->a, int32_t, v->count, "token ids", &rd->e);
    *count = 0;
    if (ids == NULL) return false;
    JSON_EACH(item, v) {
        int64_t id;
        if (!json_i64(item, &id) || id < 0 || id >= VOCAB_MAX) return refuse_field(rd, item, "a token id is needed");
        ids[(*count)++] = (int32_t)id;
    }
    *out = ids;
    return true;
}

static bool take_prompt(struct reading *rd, const json_value *v)
{
    const json_value *one = v->type == JSON_ARRAY && v->count == 1 && v->first->type != JSON_INT ? v->first : v;
    if (one->type == JSON_STRING) {
        rd->ask.text = one->text;
        return true;
    }
    if (one->type != JSON_ARRAY) return refuse_field(rd, v, "a text or an array of token ids is needed");
    if (one->count > 0 && one->first->type != JSON_INT)
        return refuse_field(rd, v, "%u prompts: ask for one at a time", one->count);
    return ids_read(rd, one, &rd->ask.ids, &rd->ask.id_count);
}

/* Here a number: how many rivals. */
static bool take_logprobs(struct reading *rd, const json_value *v)
{
    int64_t count;
    if (v->type == JSON_FALSE) return true;
    if (!json_i64(v, &count) || count < 0 || count > ASK_LOGPROBS_MAX)
        return refuse_field(rd, v, "a number in 0..%d is needed", ASK_LOGPROBS_MAX);
    rd->ask.logprobs = true;
    rd->top_logprobs = (size_t)count;
    return true;
}

#define AT(field) offsetof(struct reading, field)
static const struct field FIELDS[] = {
    { "model", FIELD_TEXT, AT(model), 0, 0, NULL, NULL },
    { "prompt", FIELD_TAKE, 0, 0, 0, take_prompt, NULL },
    { "stream", FIELD_BOOL, AT(stream), 0, 0, NULL, NULL },
    { "stream_options", FIELD_TAKE, 0, 0, 0, openai_stream_options, NULL },
    { "max_tokens", FIELD_COUNT, AT(ask.max_tok), 1, UINT32_MAX, NULL, NULL },
    { "n", FIELD_COUNT, AT(n), 1, ASK_CHOICES_MAX, NULL, NULL },
    { "best_of", FIELD_COUNT, AT(n), 1, 1, NULL, NULL },
    { "logprobs", FIELD_TAKE, 0, 0, 0, take_logprobs, NULL },
    { "response_format", FIELD_TAKE, 0, 0, 0, openai_response_format, NULL },
    { "echo", FIELD_REFUSE, 0, 0, 0, NULL, "the prompt is not sent back" },
    { "suffix", FIELD_REFUSE, 0, 0, 0, NULL, "filling in between is not known here" },
};

static bool read_text(struct reading *rd)
{
    if (rd->ask.text.ptr == NULL && rd->ask.ids == NULL)
        return refuse_with(rd->r, 400, "prompt", "prompt: a text or token ids are needed");
    return true;
}

static void write_choice(struct exchange *x, struct choice *c, json_writer *w, view text, const char *finish)
{
    view list = buffer_view(&c->logprobs);
    json_begin_object(w);
    json_key(w, "index");
    json_int(w, c - x->choices);
    json_key(w, "text");
    json_string(w, text);
    json_key(w, "logprobs");
    if (list.len_bytes > 0) {
        json_begin_object(w);
        json_key(w, "content");
        json_begin_array(w);
        json_raw(w, list);
        json_end_array(w);
        json_end_object(w);
    } else {
        json_null(w);
    }
    json_key(w, "finish_reason");
    if (finish != NULL) json_text(w, finish);
    else json_null(w);
    json_end_object(w);
    buffer_free(&c->logprobs);
}

static void chunk(struct exchange *x, struct choice *c, view text, const char *finish)
{
    json_writer w;
    frame_start(x, &w);
    openai_head(x, &w, "text_completion");
    json_key(&w, "choices");
    json_begin_array(&w);
    write_choice(x, c, &w, text, finish);
    json_end_array(&w);
    json_end_object(&w);
    frame_send(x, NULL, &w);
}

static void event(struct exchange *x, struct choice *c, const struct ask_event *event)
{
    if (event->kind == EVENT_CONTENT && event->text.len_bytes > 0) chunk(x, c, event->text, NULL);
    if (event->kind == EVENT_FINISHED) chunk(x, c, view_of(""), finish_openai(c->finish));
}

static void end(struct exchange *x)
{
    json_writer w;
    if (x->usage) {
        frame_start(x, &w);
        openai_head(x, &w, "text_completion");
        json_key(&w, "choices");
        json_begin_array(&w);
        json_end_array(&w);
        openai_usage(&x->usage_sum, &w);
        json_end_object(&w);
        frame_send(x, NULL, &w);
    }
    frame_text(x, "data: [DONE]\n\n");
}

static void whole(struct exchange *x, json_writer *w)
{
    openai_head(x, w, "text_completion");
    json_key(w, "choices");
    json_begin_array(w);
    for (size_t i = 0; i < x->choice_count; i++)
        write_choice(x, &x->choices[i], w, buffer_view(&x->choices[i].content), finish_openai(x->choices[i].finish));
    json_end_array(w);
    openai_usage(&x->usage_sum, w);
    json_end_object(w);
}

const struct api API_OPENAI_TEXT = {
    .name = "completions", .media = "text/event-stream", .id_prefix = "cmpl-", .call_prefix = "call_",
    .fields = FIELDS, .field_count = sizeof FIELDS / sizeof *FIELDS, .shared = true, .kind = ASK_TEXT,
    .read = read_text, .event = event, .end = end, .whole = whole, .error = openai_error,
    .stream_error = openai_stream_error, .ping = openai_ping,
};

/* ---- /tokenize and /detokenize, as llama-server names them ---- */

static bool take_tokens(struct reading *rd, const json_value *v)
{
    if (v->type != JSON_ARRAY) return refuse_field(rd, v, "an array of token ids is needed");
    return ids_read(rd, v, &rd->ask.ids, &rd->ask.id_count);
}

static const struct field TOKENIZE_FIELDS[] = {
    { "model", FIELD_TEXT, AT(model), 0, 0, NULL, NULL },
    { "content", FIELD_TEXT, AT(ask.text), 0, 0, NULL, NULL },
    { "prompt", FIELD_TEXT, AT(ask.text), 0, 0, NULL, NULL },
    { "add_special", FIELD_BOOL, AT(ask.begin), 0, 0, NULL, NULL },
    { "parse_special", FIELD_BOOL, AT(ask.special), 0, 0, NULL, NULL },
};

static const struct field DETOKENIZE_FIELDS[] = {
    { "model", FIELD_TEXT, AT(model), 0, 0, NULL, NULL },
    { "tokens", FIELD_TAKE, 0, 0, 0, take_tokens, NULL },
    { "special", FIELD_BOOL, AT(ask.special), 0, 0, NULL, NULL },
};

static bool read_tokenize(struct reading *rd)
{
    return rd->ask.text.ptr != NULL || refuse_with(rd->r, 400, "content", "content: a text is needed");
}

static bool read_detokenize(struct reading *rd)
{
    return rd->ask.ids != NULL || refuse_with(rd->r, 400, "tokens", "tokens: an array of token ids is needed");
}

static void whole_tokenize(struct exchange *x, json_writer *w)
{
    json_begin_object(w);
    json_key(w, "tokens");
    json_begin_array(w);
    for (size_t i = 0; i < x->last_event->count; i++) json_int(w, x->last_event->ids[i]);
    json_end_array(w);
    json_key(w, "count");
    json_uint(w, x->last_event->count);
    json_end_object(w);
}

static void whole_detokenize(struct exchange *x, json_writer *w)
{
    json_begin_object(w);
    json_key(w, "content");
    json_string(w, x->last_event->text);
    json_end_object(w);
}

const struct api API_TOKENIZE = {
    .name = "tokenize", .id_prefix = "tok-", .fields = TOKENIZE_FIELDS,
    .field_count = sizeof TOKENIZE_FIELDS / sizeof *TOKENIZE_FIELDS, .kind = ASK_TOKENIZE, .read = read_tokenize,
    .whole = whole_tokenize, .error = openai_error,
};

const struct api API_DETOKENIZE = {
    .name = "detokenize", .id_prefix = "tok-", .fields = DETOKENIZE_FIELDS,
    .field_count = sizeof DETOKENIZE_FIELDS / sizeof *DETOKENIZE_FIELDS, .kind = ASK_DETOKENIZE,
    .read = read_detokenize, .whole = whole_detokenize, .error = openai_error,
};
