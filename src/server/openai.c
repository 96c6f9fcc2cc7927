/* What OpenAI's APIs share: the error's shape, names of ends, usage. */
#include "server/openai.h"

void openai_error(const struct refusal *r, json_writer *w)
{
    static const struct { int status; const char *type; const char *code; } rows[] = {
        { 401, "authentication_error", "invalid_api_key" }, { 403, "permission_error", NULL },
        { 404, "not_found_error", NULL },                   { 429, "rate_limit_error", "rate_limit_exceeded" },
        { 500, "server_error", NULL },                      { 503, "server_error", "overloaded" },
    };
    const char *type = r->status >= 500 ? "server_error" : "invalid_request_error", *code = r->code;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].status != r->status) continue;
        type = rows[i].type;
        if (code == NULL) code = rows[i].code;
    }
    json_begin_object(w);
    json_key(w, "error");
    json_begin_object(w);
    json_key(w, "message");
    json_text(w, r->text);
    json_key(w, "type");
    json_text(w, type);
    json_key(w, "param");
    if (r->param[0] != '\0') json_text(w, r->param);
    else json_null(w);
    json_key(w, "code");
    if (code != NULL) json_text(w, code);
    else json_null(w);
    json_end_object(w);
    json_end_object(w);
}

void openai_stream_error(struct exchange *x, const struct refusal *r)
{
    json_writer w;
    frame_start(x, &w);
    openai_error(r, &w);
    frame_send(x, NULL, &w);
}

void openai_ping(struct exchange *x, uint64_t done, uint64_t all)
{
    char text[64];
    snprintf(text, sizeof text, ": ping\n\n");
    if (all > 0)
        snprintf(text, sizeof text, ": prompt %llu/%llu\n\n", (unsigned long long)done, (unsigned long long)all);
    frame_text(x, text);
}

void openai_usage(const struct ask_usage *u, json_writer *w)
{
    json_key(w, "usage");
    json_begin_object(w);
    json_key(w, "prompt_tokens");
    json_uint(w, u->prompt_tok);
    json_key(w, "completion_tokens");
    json_uint(w, u->made_tok);
    json_key(w, "total_tokens");
    json_uint(w, u->prompt_tok + u->made_tok);
    json_key(w, "prompt_tokens_details");
    json_begin_object(w);
    json_key(w, "cached_tokens");
    json_uint(w, u->cached_tok);
    json_end_object(w);
    json_key(w, "completion_tokens_details");
    json_begin_object(w);
    json_key(w, "reasoning_tokens");
    json_uint(w, u->reasoning_tok);
    json_end_object(w);
    json_end_object(w);
}

void openai_head(struct exchange *x, json_writer *w, const char *object)
{
    json_begin_object(w);
    json_key(w, "id");
    json_text(w, x->id);
    json_key(w, "object");
    json_text(w, object);
    json_key(w, "created");
    json_int(w, x->created_s);
    json_key(w, "model");
    json_text(w, x->model);
}

bool openai_stream_options(struct reading *rd, const json_value *v)
{
    static const struct field rows[] = {
        { "include_usage", FIELD_BOOL, offsetof(struct reading, usage), 0, 0, NULL, NULL },
        { "include_obfuscation", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    };
    return fields_read(rd, v, rows, sizeof rows / sizeof *rows);
}

bool openai_response_format(struct reading *rd, const json_value *v)
{
    const json_value *type = json_get(v, "type"), *holder = json_get(v, "json_schema");
    if (type == NULL || type->type != JSON_STRING) return refuse_field(rd, v, "a type is needed");
    if (view_is(type->text, "text")) return true;
    if (view_is(type->text, "json_object")) {
        const json_value *bare = json_get(v, "schema"); /* llama-server's way */
        rd->ask.shape = SHAPE_JSON;
        return bare == NULL || set_schema(rd, bare);
    }
    if (!view_is(type->text, "json_schema")) return refuse_field(rd, type, "text, json_object or json_schema");
    if (holder == NULL) holder = v; /* Responses: one level higher */
    const json_value *schema = json_get(holder, "schema");
    if (schema == NULL) return refuse_field(rd, holder, "a schema is needed");
    return set_schema(rd, schema);
}
