/* Fields of a request, by table: see api.h. */
#include "server/api.h"

#include "base/checked.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* JSON pointer "/messages/2/content" as clients' authors write it: "messages[2].content". */
static void place_name(const char *pointer, char *out, size_t out_bytes)
{
    size_t len = 0;
    for (const char *at = pointer; *at == '/' && len + 4 < out_bytes;) {
        const char *end = strchr(++at, '/');
        size_t part = end != NULL ? (size_t)(end - at) : strlen(at);
        bool number = part > 0 && strspn(at, "0123456789") >= part;
        int wrote = snprintf(out + len, out_bytes - len, number ? "[%.*s]" : len > 0 ? ".%.*s" : "%.*s",
                             (int)min_size(part, 64), at);
        len = min_size(len + (size_t)(wrote > 0 ? wrote : 0), out_bytes - 1);
        at += part;
    }
    out[len] = '\0';
}

bool refuse_field(struct reading *rd, const json_value *v, const char *format, ...)
{
    char pointer[PARAM_BYTES] = "", place[PARAM_BYTES], text[ERR_TEXT_BYTES / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (v != NULL) json_pointer(rd->body, v->offset, pointer, sizeof pointer);
    place_name(pointer, place, sizeof place);
    return refuse_with(rd->r, 400, place, "%s%s%s", place, place[0] != '\0' ? ": " : "", text);
}

static bool take_number(struct reading *rd, const struct field *row, const json_value *v)
{
    double value;
    if (!json_f64(v, &value)) return refuse_field(rd, v, "a number is needed");
    if (!(value >= row->min && value <= row->max))
        return refuse_field(rd, v, "%g, allowed %g..%g", value, row->min, row->max);
    *(float *)((char *)rd + row->at) = (float)value;
    return true;
}

/* Whole numbers; a float without a fraction is one, as some clients' JSON writers make of it. */
static bool take_count(struct reading *rd, const struct field *row, const json_value *v)
{
    double value;
    if (!json_f64(v, &value) || value != floor(value)) return refuse_field(rd, v, "a whole number is needed");
    if (!(value >= row->min && value <= row->max))
        return refuse_field(rd, v, "%.0f, allowed %.0f..%.0f", value, row->min, row->max);
    *(size_t *)((char *)rd + row->at) = (size_t)value;
    return true;
}

static bool take_one(struct reading *rd, const struct field *row, const json_value *v)
{
    void *place = (char *)rd + row->at;
    switch (row->type) {
    case FIELD_IGNORE: return true;
    case FIELD_REFUSE: return v->type == JSON_FALSE || refuse_field(rd, v, "%s", row->says);
    case FIELD_BOOL:
        if (v->type != JSON_TRUE && v->type != JSON_FALSE) return refuse_field(rd, v, "true or false is needed");
        *(bool *)place = v->type == JSON_TRUE;
        return true;
    case FIELD_COUNT: return take_count(rd, row, v);
    case FIELD_NUMBER: return take_number(rd, row, v);
    case FIELD_TEXT:
        if (v->type != JSON_STRING) return refuse_field(rd, v, "a text is needed");
        *(view *)place = v->text;
        return true;
    case FIELD_VALUE: *(const json_value **)place = v; return true;
    default: return row->take(rd, v);
    }
}

static const struct field *find_row(view name, const struct field *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (view_is(name, rows[i].name)) return &rows[i];
    return NULL;
}

bool fields_read(struct reading *rd, const json_value *object, const struct field *rows, size_t count)
{
    bool shared = rd->x != NULL && object == rd->body && rd->x->api->shared;
    if (object->type != JSON_OBJECT) return refuse_field(rd, object, "an object is needed");
    JSON_EACH(v, object) {
        const struct field *row = find_row(v->key, rows, count);
        if (row == NULL && shared) row = find_row(v->key, SAMPLING_FIELDS, SAMPLING_FIELD_COUNT);
        if (row == NULL) rd->s->count.unknown_fields++;
        else if (v->type != JSON_NULL && !take_one(rd, row, v)) return false;
    }
    return true;
}

/* ---- fields that need more than a type ---- */

bool take_stop(struct reading *rd, const json_value *v)
{
    const json_value *item = v->type == JSON_ARRAY ? v->first : v;
    for (rd->ask.stop_count = 0; item != NULL; item = v->type == JSON_ARRAY ? item->next : NULL) {
        if (item->type != JSON_STRING) return refuse_field(rd, item, "a text is needed");
        if (item->text.len_bytes == 0) continue; /* some clients send "" for none */
        if (item->text.len_bytes > STOP_BYTES_MAX)
            return refuse_field(rd, item, "%zu bytes, at most %d", item->text.len_bytes, STOP_BYTES_MAX);
        if (rd->ask.stop_count == STOPS_MAX) return refuse_field(rd, v, "over %d stop texts", STOPS_MAX);
        rd->stops[rd->ask.stop_count++] = item->text;
    }
    rd->ask.stops = rd->stops;
    return true;
}

bool take_seed(struct reading *rd, const json_value *v)
{
    int64_t seed;
    if (!json_i64(v, &seed)) return refuse_field(rd, v, "a whole number of 64 bits is needed");
    rd->has_seed = seed >= 0; /* -1 is llama.cpp's and Ollama's word for any */
    if (rd->has_seed) rd->ask.sample.seed = (uint64_t)seed;
    return true;
}

static bool token_number(view text, int32_t *out)
{
    int64_t id = 0;
    if (text.len_bytes == 0 || text.len_bytes > 9) return false;
    for (size_t i = 0; i < text.len_bytes; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
        id = id * 10 + (text.ptr[i] - '0');
    }
    *out = (int32_t)id;
    return true;
}

bool take_logit_bias(struct reading *rd, const json_value *v)
{
    if (v->type != JSON_OBJECT) return refuse_field(rd, v, "an object of token ids is needed");
    if (v->count > ASK_BIASES_MAX) return refuse_field(rd, v, "%u tokens, at most %d", v->count, ASK_BIASES_MAX);
    rd->ask.sample.bias_count = 0;
    JSON_EACH(item, v) {
        double bias;
        struct logit_bias *place = &rd->biases[rd->ask.sample.bias_count++];
        if (!token_number(item->key, &place->token)) return refuse_field(rd, item, "its name is no token id");
        if (!json_f64(item, &bias) || bias < -100.0 || bias > 100.0)
            return refuse_field(rd, item, "a number in -100..100 is needed");
        place->bias = bias <= -100.0 ? -INFINITY : (float)bias; /* OpenAI: -100 is a ban */
    }
    rd->ask.sample.bias = rd->biases;
    return true;
}

bool take_effort(struct reading *rd, const json_value *v)
{
    static const char *const names[] = { "none", "minimal", "low", "medium", "high", "xhigh", "max" };
    bool known = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) known = known || view_is(v->text, names[i]);
    if (v->type != JSON_STRING || !known)
        return refuse_field(rd, v, "none, minimal, low, medium, high, xhigh or max is needed");
    if (view_is(v->text, "none")) rd->ask.think = ASK_THINK_NO;
    else rd->ask.effort = v->text;
    return true;
}

bool take_template_more(struct reading *rd, const json_value *v)
{
    if (v->type != JSON_OBJECT) return refuse_field(rd, v, "an object is needed");
    json_writer w;
    json_writer_start(&w, rd->a, HTTP_BODY_BYTES_MAX, &rd->e);
    json_copy(&w, v);
    const json_value *think = json_get(v, "enable_thinking");
    if (think != NULL) rd->ask.think = think->type == JSON_TRUE ? ASK_THINK_YES : ASK_THINK_NO;
    return json_done(&w, &rd->ask.more);
}

bool take_grammar(struct reading *rd, const json_value *v)
{
    if (v->type != JSON_STRING) return refuse_field(rd, v, "a grammar as text is needed");
    if (v->text.len_bytes == 0) return true;
    rd->ask.shape = SHAPE_GBNF;
    rd->ask.shape_text = v->text;
    return true;
}

bool set_schema(struct reading *rd, const json_value *schema)
{
    if (schema->type != JSON_OBJECT && schema->type != JSON_TRUE && schema->type != JSON_FALSE)
        return refuse_field(rd, schema, "a JSON schema is needed");
    json_writer w;
    json_writer_start(&w, rd->a, HTTP_BODY_BYTES_MAX, &rd->e);
    json_copy(&w, schema);
    rd->ask.shape = SHAPE_SCHEMA;
    return json_done(&w, &rd->ask.shape_text);
}

/* Ranges are those of model/sample.h; sizes go through fields of struct reading of their own width. */
#define SAMPLING(field) offsetof(struct reading, ask.sample.field)
const struct field SAMPLING_FIELDS[] = {
    { "temperature", FIELD_NUMBER, SAMPLING(temperature), 0, 100, NULL, NULL },
    { "top_p", FIELD_NUMBER, SAMPLING(top_p), 0, 1, NULL, NULL },
    { "top_k", FIELD_COUNT, SAMPLING(top_k), 0, VOCAB_MAX, NULL, NULL },
    { "min_p", FIELD_NUMBER, SAMPLING(min_p), 0, 1, NULL, NULL },
    { "typical_p", FIELD_NUMBER, SAMPLING(typical_p), 0, 1, NULL, NULL },
    { "repeat_penalty", FIELD_NUMBER, SAMPLING(repetition_penalty), 0.01, 100, NULL, NULL },
    { "repetition_penalty", FIELD_NUMBER, SAMPLING(repetition_penalty), 0.01, 100, NULL, NULL },
    { "repeat_last_n", FIELD_COUNT, SAMPLING(penalty_window), 0, CTX_TOK_MAX, NULL, NULL },
    { "presence_penalty", FIELD_NUMBER, SAMPLING(presence_penalty), -100, 100, NULL, NULL },
    { "frequency_penalty", FIELD_NUMBER, SAMPLING(frequency_penalty), -100, 100, NULL, NULL },
    { "dry_multiplier", FIELD_NUMBER, SAMPLING(dry_multiplier), 0, 100, NULL, NULL },
    { "dry_base", FIELD_NUMBER, SAMPLING(dry_base), 1, 4, NULL, NULL },
    { "dry_allowed_length", FIELD_COUNT, SAMPLING(dry_allowed), 0, CTX_TOK_MAX, NULL, NULL },
    { "seed", FIELD_TAKE, 0, 0, 0, take_seed, NULL },
    { "stop", FIELD_TAKE, 0, 0, 0, take_stop, NULL },
    { "logit_bias", FIELD_TAKE, 0, 0, 0, take_logit_bias, NULL },
    { "grammar", FIELD_TAKE, 0, 0, 0, take_grammar, NULL },
    { "user", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "metadata", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "service_tier", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "safety_identifier", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "prompt_cache_key", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "prompt_cache_retention", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
};
const size_t SAMPLING_FIELD_COUNT = sizeof SAMPLING_FIELDS / sizeof *SAMPLING_FIELDS;
