/* Embeddings: OpenAI's /v1/embeddings and Ollama's /api/embed. Several texts are several asks, one behind the other, so
 * their order is the answer's order and no client takes more than one place in the queue.
 *
 * Texts that wait:  | kind (1 byte) | bytes (8, little-endian) | text or ids | ... */
#include "server/openai.h"

#include "base/checked.h"
#include "base/le.h"

#include <sodium.h>
#include <stdlib.h>

enum { RECORD_HEAD_BYTES = 9 };

static bool add_record(struct reading *rd, const json_value *v)
{
    const int32_t *ids = NULL;
    size_t count = 0;
    view bytes = v->text;
    uint8_t head[RECORD_HEAD_BYTES] = { v->type == JSON_ARRAY };
    if (v->type == JSON_ARRAY) {
        if (!ids_read(rd, v, &ids, &count)) return false;
        bytes = (view){ (const uint8_t *)ids, count * sizeof *ids };
    } else if (v->type != JSON_STRING) {
        return refuse_field(rd, v, "a text or token ids are needed");
    }
    if (bytes.len_bytes == 0) return refuse_field(rd, v, "it is empty");
    for (size_t i = 0; i < 8; i++) head[1 + i] = (uint8_t)((uint64_t)bytes.len_bytes >> 8 * i);
    return (buffer_add(&rd->x->inputs, (view){ head, sizeof head }, HTTP_BODY_BYTES_MAX) &&
            buffer_add(&rd->x->inputs, bytes, HTTP_BODY_BYTES_MAX)) ||
           refuse_field(rd, v, "too large");
}

static bool take_input(struct reading *rd, const json_value *v)
{
    bool several = v->type == JSON_ARRAY && (v->count == 0 || v->first->type != JSON_INT);
    if (!several) return add_record(rd, v);
    if (v->count == 0 || v->count > ASK_INPUTS_MAX)
        return refuse_field(rd, v, "%u texts, allowed 1..%d", v->count, ASK_INPUTS_MAX);
    JSON_EACH(item, v)
        if (!add_record(rd, item)) return false;
    return true;
}

static bool take_encoding(struct reading *rd, const json_value *v)
{
    rd->base64 = v->type == JSON_STRING && view_is(v->text, "base64");
    if (!rd->base64 && (v->type != JSON_STRING || !view_is(v->text, "float")))
        return refuse_field(rd, v, "float or base64 is needed");
    return true;
}

#define AT(field) offsetof(struct reading, field)
static const struct field FIELDS[] = {
    { "model", FIELD_TEXT, AT(model), 0, 0, NULL, NULL },
    { "input", FIELD_TAKE, 0, 0, 0, take_input, NULL },
    { "encoding_format", FIELD_TAKE, 0, 0, 0, take_encoding, NULL },
    { "dimensions", FIELD_REFUSE, 0, 0, 0, NULL, "vectors are not shortened here" },
    { "user", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "truncate", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "options", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "keep_alive", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
};

/* The first of the texts that wait, into `ask`; it is `a`'s and the buffer's until the next call. */
static bool next_input(struct exchange *x, struct ask *ask)
{
    view rest = buffer_view(&x->inputs);
    if (rest.len_bytes == 0) return false;
    size_t bytes = (size_t)le_u64(rest.ptr + 1);
    view body = { rest.ptr + RECORD_HEAD_BYTES, bytes };
    err e = { 0 };
    if (rest.ptr[0] == 0) {
        ask->text = body;
        return true;
    }
    int32_t *ids = ARENA_ARRAY(&x->s->scratch, int32_t, bytes / sizeof(int32_t), "token ids", &e);
    if (ids == NULL) return false;
    memcpy(ids, body.ptr, bytes);
    ask->ids = ids;
    ask->id_count = bytes / sizeof(int32_t);
    return true;
}

static void drop_input(struct exchange *x)
{
    buffer_drop(&x->inputs, RECORD_HEAD_BYTES + (size_t)le_u64(buffer_view(&x->inputs).ptr + 1));
}

static bool read_embed(struct reading *rd)
{
    rd->x->base64 = rd->base64;
    return next_input(rd->x, &rd->ask) || refuse_with(rd->r, 400, "input", "input: a text is needed");
}

/* ---- out ---- */

static void write_floats(json_writer *w, const float *v, size_t count)
{
    json_begin_array(w);
    for (size_t i = 0; i < count; i++) {
        char text[32];
        json_raw(w, (view){ (const uint8_t *)text, (size_t)snprintf(text, sizeof text, "%.9g", (double)v[i]) });
    }
    json_end_array(w);
}

/* Little-endian f32, as every machine of ours keeps them. */
static void write_base64(struct exchange *x, json_writer *w, const float *v, size_t count)
{
    err e = { 0 };
    size_t room = sodium_base64_ENCODED_LEN(count * sizeof *v, sodium_base64_VARIANT_ORIGINAL);
    char *text = arena_take(&x->s->scratch, room, 1, 1, "base64", &e);
    if (text == NULL) return;
    sodium_bin2base64(text, room, (const uint8_t *)v, count * sizeof *v, sodium_base64_VARIANT_ORIGINAL);
    json_text(w, text);
}

static bool keep_item(struct exchange *x, json_writer *w)
{
    view json;
    bool first = x->item_count++ == 0;
    return json_done(w, &json) && (first || buffer_add(&x->items, view_of(","), HTTP_WHOLE_BYTES_MAX)) &&
           buffer_add(&x->items, json, HTTP_WHOLE_BYTES_MAX);
}

/* Hands the next text over. False: that was the last. */
static bool go_on(struct exchange *x, bool kept)
{
    struct refusal r = { 0 };
    struct ask ask = { .kind = ASK_EMBED, .model = x->model_index, .principal = x->who->id, .n = 1 };
    drop_input(x);
    if (!kept) refuse_with(&r, 500, NULL, "answer: over %d bytes", HTTP_WHOLE_BYTES_MAX);
    else if (!next_input(x, &ask)) return false;
    else if (exchange_submit(x, &ask, &r)) return true;
    exchange_refuse(x, &r);
    return true;
}

static bool item(struct exchange *x, const struct ask_event *event)
{
    json_writer w;
    frame_start(x, &w);
    json_begin_object(&w);
    json_key(&w, "object");
    json_text(&w, "embedding");
    json_key(&w, "index");
    json_uint(&w, x->item_count);
    json_key(&w, "embedding");
    if (x->base64) write_base64(x, &w, event->vector, event->count);
    else write_floats(&w, event->vector, event->count);
    json_end_object(&w);
    return go_on(x, keep_item(x, &w));
}

static void whole(struct exchange *x, json_writer *w)
{
    json_begin_object(w);
    json_key(w, "object");
    json_text(w, "list");
    json_key(w, "data");
    json_begin_array(w);
    json_raw(w, buffer_view(&x->items));
    json_end_array(w);
    json_key(w, "model");
    json_text(w, x->model);
    json_key(w, "usage");
    json_begin_object(w);
    json_key(w, "prompt_tokens");
    json_uint(w, x->usage_sum.prompt_tok);
    json_key(w, "total_tokens");
    json_uint(w, x->usage_sum.prompt_tok);
    json_end_object(w);
    json_end_object(w);
}

const struct api API_OPENAI_EMBED = {
    .name = "embeddings", .id_prefix = "embd-", .fields = FIELDS, .field_count = sizeof FIELDS / sizeof *FIELDS,
    .kind = ASK_EMBED, .read = read_embed, .item = item, .whole = whole, .error = openai_error,
};

static bool ollama_item(struct exchange *x, const struct ask_event *event)
{
    json_writer w;
    frame_start(x, &w);
    write_floats(&w, event->vector, event->count);
    return go_on(x, keep_item(x, &w));
}

static void ollama_whole(struct exchange *x, json_writer *w)
{
    json_begin_object(w);
    json_key(w, "model");
    json_text(w, x->model);
    json_key(w, "embeddings");
    json_begin_array(w);
    json_raw(w, buffer_view(&x->items));
    json_end_array(w);
    json_key(w, "total_duration");
    json_uint(w, x->usage_sum.made_ns);
    json_key(w, "load_duration");
    json_uint(w, 0);
    json_key(w, "prompt_eval_count");
    json_uint(w, x->usage_sum.prompt_tok);
    json_end_object(w);
}

const struct api API_OLLAMA_EMBED = {
    .name = "embed", .id_prefix = "embd-", .fields = FIELDS, .field_count = sizeof FIELDS / sizeof *FIELDS,
    .kind = ASK_EMBED, .read = read_embed, .item = ollama_item, .whole = ollama_whole, .error = ollama_error,
};
