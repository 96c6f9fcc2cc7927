/* Which request goes where: a table of methods, paths and APIs. What needs no model (lists, health, numbers) is
 * answered here; the rest becomes an exchange. */
#include "server/api.h"

#include "base/checked.h"

#include <stdio.h>

struct route {
    const char *method, *path; /* a path that ends in '*' takes the rest as its argument */
    const struct api *api;     /* the request is an exchange of this API; or */
    void (*answer)(server *s, struct conn *c, const struct http_head *head, view argument, view body);
    bool metrics, admin;       /* which roles may: others than users' */
};

enum { SCRATCH_LARGE_BYTES = 1 << 23 };

/* ---- lists and numbers ---- */

static void send_json(server *s, struct conn *c, const struct http_head *head, int status, json_writer *w)
{
    view body;
    if (!json_done(w, &body)) {
        status = 500;
        body = view_of("{}");
    }
    respond(s, c, head, status, "application/json", body, NULL);
}

static void start(server *s, json_writer *w, err *e)
{
    json_writer_start(w, &s->scratch, HTTP_WHOLE_BYTES_MAX, e);
}

static void answer_models(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    json_writer w;
    err e = { 0 };
    uint32_t index;
    (void)body;
    if (argument.len_bytes > 0 && !served_model(s, argument, &index)) {
        struct refusal r = { .error = ASK_NO_MODEL, .code = "model_not_found" };
        refuse_with(&r, 404, "model", "model \"%.*s\" not found", (int)min_size(argument.len_bytes, 80),
                    (const char *)argument.ptr);
        route_refuse(s, c, head, &r, head->keep_alive);
        return;
    }
    start(s, &w, &e);
    openai_models(s, &w, argument);
    send_json(s, c, head, 200, &w);
}

static void answer_tags(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    json_writer w;
    err e = { 0 };
    (void)argument, (void)body;
    start(s, &w, &e);
    ollama_tags(s, &w);
    send_json(s, c, head, 200, &w);
}

static void answer_ps(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    json_writer w;
    err e = { 0 };
    (void)argument, (void)body;
    start(s, &w, &e);
    ollama_ps(s, &w);
    send_json(s, c, head, 200, &w);
}

static void answer_show(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    json_writer w;
    const json_value *root, *name;
    const struct model_facts *facts;
    struct refusal r = { 0 };
    err e = { 0 };
    uint32_t index = 0;
    (void)argument;
    if (!json_parse(body, &s->scratch, &root, &e)) {
        refuse_with(&r, 400, NULL, "body: %s", e.text);
        route_refuse(s, c, head, &r, head->keep_alive);
        return;
    }
    name = json_get(root, "model") != NULL ? json_get(root, "model") : json_get(root, "name");
    if (name == NULL || name->type != JSON_STRING || !served_model(s, name->text, &index)) {
        refuse_with(&r, name == NULL ? 400 : 404, "model", "model \"%.*s\" not found",
                    name != NULL ? (int)min_size(name->text.len_bytes, 80) : 0,
                    name != NULL && name->text.len_bytes > 0 ? (const char *)name->text.ptr : "");
        route_refuse(s, c, head, &r, head->keep_alive);
        return;
    }
    s->b.models(s->b.self, &facts);
    start(s, &w, &e);
    ollama_show(&facts[index], &w);
    send_json(s, c, head, 200, &w);
}

static void answer_version(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    json_writer w;
    err e = { 0 };
    (void)argument, (void)body;
    start(s, &w, &e);
    json_begin_object(&w);
    json_key(&w, "version");
    json_string(&w, s->o->version);
    json_end_object(&w);
    send_json(s, c, head, 200, &w);
}

/* Honest while loading: 503 while models are on their way and none is there. One that nobody asked for is no fault. */
static void answer_health(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    const struct model_facts *facts;
    size_t count = s->b.models(s->b.self, &facts), loaded = 0, loading = 0;
    (void)argument, (void)body;
    for (size_t i = 0; i < count; i++) {
        loaded += facts[i].loaded;
        loading += facts[i].loading;
    }
    bool good = (loaded > 0 || loading == 0) && !s->stopping;
    respond(s, c, head, good ? 200 : 503, "application/json",
            view_of(good ? "{\"status\":\"ok\"}" : "{\"status\":\"loading\"}"), good ? NULL : "Retry-After: 1\r\n");
}

static void answer_metrics(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    struct buffer text = { 0 };
    (void)argument, (void)body;
    metrics_write(s, &text);
    respond(s, c, head, 200, "text/plain; version=0.0.4", buffer_view(&text), NULL);
    buffer_free(&text);
}

/* What Ollama's clients look for before they ask. */
static void answer_root(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    (void)argument, (void)body;
    respond(s, c, head, 200, "text/plain", view_of("Ollama is running (hearth)\n"), NULL);
}

static void answer_stop(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    (void)argument, (void)body;
    respond(s, c, head, 200, "application/json", view_of("{\"status\":\"stopping\"}"), NULL);
    server_stop(s);
}

static void answer_stored(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    struct refusal r = { 0 };
    (void)argument, (void)body;
    refuse_with(&r, 404, "id", "responses are not stored here: send the conversation with each request");
    route_refuse(s, c, head, &r, head->keep_alive);
}

static void answer_pull(server *s, struct conn *c, const struct http_head *head, view argument, view body)
{
    struct refusal r = { 0 };
    const json_value *root, *name;
    err e = { 0 };
    uint32_t index;
    (void)argument;
    bool read = json_parse(body, &s->scratch, &root, &e);
    name = read ? (json_get(root, "model") != NULL ? json_get(root, "model") : json_get(root, "name")) : NULL;
    if (name != NULL && name->type == JSON_STRING && served_model(s, name->text, &index)) {
        respond(s, c, head, 200, "application/x-ndjson", view_of("{\"status\":\"success\"}\n"), NULL);
        return;
    }
    refuse_with(&r, 404, "model", "this server has no connection outward: put the model's file into its folder");
    route_refuse(s, c, head, &r, head->keep_alive);
}

static const struct route ROUTES[] = {
    { "POST", "/v1/chat/completions", &API_OPENAI_CHAT, NULL, false, false },
    { "POST", "/v1/completions", &API_OPENAI_TEXT, NULL, false, false },
    { "POST", "/v1/responses", &API_OPENAI_RESPONSES, NULL, false, false },
    { "GET", "/v1/responses/*", NULL, answer_stored, false, false },
    { "DELETE", "/v1/responses/*", NULL, answer_stored, false, false },
    { "POST", "/v1/embeddings", &API_OPENAI_EMBED, NULL, false, false },
    { "GET", "/v1/models", NULL, answer_models, false, false },
    { "GET", "/v1/models/*", NULL, answer_models, false, false },
    { "POST", "/v1/messages", &API_ANTHROPIC, NULL, false, false },
    { "POST", "/v1/messages/count_tokens", &API_ANTHROPIC_COUNT, NULL, false, false },
    { "POST", "/api/chat", &API_OLLAMA_CHAT, NULL, false, false },
    { "POST", "/api/generate", &API_OLLAMA_TEXT, NULL, false, false },
    { "POST", "/api/embed", &API_OLLAMA_EMBED, NULL, false, false },
    { "GET", "/api/tags", NULL, answer_tags, false, false },
    { "GET", "/api/ps", NULL, answer_ps, false, false },
    { "POST", "/api/show", NULL, answer_show, false, false },
    { "POST", "/api/pull", NULL, answer_pull, false, false },
    { "GET", "/api/version", NULL, answer_version, false, false },
    { "POST", "/tokenize", &API_TOKENIZE, NULL, false, false },
    { "POST", "/detokenize", &API_DETOKENIZE, NULL, false, false },
    { "POST", "/apply-template", &API_RENDER, NULL, false, false },
    { "POST", "/models/load", &API_LOAD, NULL, false, true },
    { "POST", "/models/unload", &API_UNLOAD, NULL, false, true },
    { "POST", "/hearth/v1/stop", NULL, answer_stop, false, true },
    { "GET", "/health", NULL, answer_health, false, false },
    { "GET", "/v1/health", NULL, answer_health, false, false },
    { "GET", "/metrics", NULL, answer_metrics, true, false },
    { "GET", "/", NULL, answer_root, false, false },
};
enum { ROUTE_COUNT = sizeof ROUTES / sizeof *ROUTES };

/* ---- refusals ---- */

static void write_refusal(const struct http_head *head, const struct refusal *r, json_writer *w)
{
    bool anthropic = head != NULL && (view_starts(head->path, view_of("/v1/messages")) ||
                                      http_header(head, "anthropic-version").ptr != NULL);
    if (anthropic) anthropic_error(r, w);
    else if (head != NULL && view_starts(head->path, view_of("/api/"))) ollama_error(r, w);
    else openai_error(r, w);
}

void route_refuse(server *s, struct conn *c, const struct http_head *head, const struct refusal *r, bool keep_alive)
{
    json_writer w;
    view body;
    char more[96] = "";
    err e = { 0 };
    struct http_head closing = { 0 };
    size_t mark = s->scratch.used_bytes;
    start(s, &w, &e);
    write_refusal(head, r, &w);
    if (!json_done(&w, &body)) body = view_of("{}");
    if (r->retry_s > 0) snprintf(more, sizeof more, "Retry-After: %u\r\n", r->retry_s);
    if (r->status == 401) snprintf(more, sizeof more, "WWW-Authenticate: Bearer\r\n");
    if (head != NULL) closing = *head;
    closing.keep_alive = keep_alive;
    respond(s, c, &closing, r->status, "application/json", body, more);
    arena_rewind(&s->scratch, mark);
}

/* A browser asks before it sends: which origin, method and headers. */
static void answer_preflight(server *s, struct conn *c, const struct http_head *head)
{
    char more[1024];
    view origin = guard_origin(s, head), wanted = http_header(head, "access-control-request-headers");
    if (origin.ptr == NULL) {
        respond(s, c, head, 204, "text/plain", view_of(""), "Allow: GET, POST, OPTIONS\r\n");
        return;
    }
    snprintf(more, sizeof more,
             "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\nAccess-Control-Allow-Headers: %.*s\r\n"
             "Access-Control-Max-Age: 600\r\n",
             (int)min_size(wanted.len_bytes, 800), wanted.len_bytes > 0 ? (const char *)wanted.ptr : "*");
    respond(s, c, head, 204, "text/plain", view_of(""), more);
}

/* ---- finding the row ---- */

static bool path_matches(const struct route *row, view path, view *argument)
{
    size_t len = strlen(row->path);
    *argument = view_of("");
    if (row->path[len - 1] != '*') return view_is(path, row->path);
    view prefix = { (const uint8_t *)row->path, len - 1 };
    *argument = view_after(path, len - 1);
    return view_starts(path, prefix) && argument->len_bytes > 0;
}

static bool role_may(const struct route *row, enum key_role role)
{
    if (role == KEY_ADMIN) return true;
    return role == KEY_METRICS ? row->metrics : !row->metrics && !row->admin;
}

static bool may_always(view path)
{
    return view_is(path, "/health") || view_is(path, "/v1/health");
}

void route_request(server *s, struct conn *c, const struct http_head *head, view body)
{
    struct refusal r = { 0 };
    const struct route *found = NULL;
    view argument = view_of(""), path = head->path;
    bool known = false, is_head = http_same(head->method, "HEAD");
    s->count.requests++;
    if (view_is(head->method, "OPTIONS")) {
        answer_preflight(s, c, head);
        return;
    }
    for (size_t i = 0; i < ROUTE_COUNT && found == NULL; i++) {
        if (!path_matches(&ROUTES[i], path, &argument)) continue;
        known = true;
        if (view_is(head->method, ROUTES[i].method) || (is_head && ROUTES[i].answer != NULL)) found = &ROUTES[i];
    }
    if (!known)
        refuse_with(&r, 404, NULL, "no such path: %.*s", (int)min_size(path.len_bytes, 100), (const char *)path.ptr);
    else if (found == NULL) refuse_with(&r, 405, NULL, "this path has another method");
    else if (!may_always(path) && !role_may(found, c->who->role))
        refuse_with(&r, 403, NULL, "this key's role, %s, may not do that", key_role_name(c->who->role));
    else if (s->stopping && found->api != NULL) {
        r.retry_s = 5;
        refuse_with(&r, 503, NULL, "the server is stopping");
    }
    if (r.status != 0) {
        route_refuse(s, c, head, &r, head->keep_alive);
        return;
    }
    size_t mark = s->scratch.used_bytes;
    if (found->api != NULL) exchange_begin(s, c, head, found->api, body);
    else found->answer(s, c, head, argument, body);
    if (s->scratch.used_bytes > SCRATCH_LARGE_BYTES) s->scratch_large = true; /* zeroing it would touch it all again */
    else arena_rewind(&s->scratch, mark);
}
