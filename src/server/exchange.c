/* One request and its answer: from a body to an ask, from events to bytes. What is particular to an API is in its row
 * (api.h); what all share is here.
 *
 * A stream's head goes out with its first frame and not before: until then a failure still has a status of its own. */
#include "server/api.h"

#include "base/checked.h"
#include "base/prng.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ID_STREAM UINT64_C(0x6964) /* "id" */
#define SEED_STREAM UINT64_C(0x73656564)

uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void make_id(server *s, const char *prefix, char *out, size_t out_bytes)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuv";
    uint32_t words[4];
    char text[25] = { 0 };
    prng_block(s->o->seed, ID_STREAM, ++s->ids_made, words);
    for (size_t i = 0; i < 24; i++) text[i] = letters[words[i / 6] >> 5 * (i % 6) & 31];
    snprintf(out, out_bytes, "%s%s", prefix, text);
}

void time_text(int64_t seconds, char out[static TIME_TEXT_BYTES])
{
    time_t at = (time_t)seconds;
    struct tm utc;
    if (gmtime_r(&at, &utc) == NULL || strftime(out, TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        snprintf(out, TIME_TEXT_BYTES, "1970-01-01T00:00:00Z");
}

const char *finish_openai(enum ask_finish finish)
{
    switch (finish) {
    case ASK_LENGTH:
    case ASK_CONTEXT: return "length";
    case ASK_CALLS: return "tool_calls";
    default: return "stop";
    }
}

/* ---- bytes out ---- */

__attribute__((format(printf, 4, 5))) static void add_text(char *out, size_t room, size_t *len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(out + *len, room - *len, format, args);
    va_end(args);
    *len = min_size(*len + (size_t)(wrote > 0 ? wrote : 0), room - 1);
}

enum { HEAD_TEXT_BYTES = 1024 };

static size_t write_head(const server *s, int status, const char *media, bool keep_alive, view origin, char *out)
{
    size_t len = 0;
    char date[64] = "";
    time_t at = (time_t)s->now_s;
    struct tm utc;
    if (gmtime_r(&at, &utc) != NULL) strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    add_text(out, HEAD_TEXT_BYTES, &len,
             "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\n", status,
             http_status_text(status), date, media);
    add_text(out, HEAD_TEXT_BYTES, &len, "X-Content-Type-Options: nosniff\r\nConnection: %s\r\n",
             keep_alive && !s->stopping ? "keep-alive" : "close");
    if (origin.len_bytes > 0)
        add_text(out, HEAD_TEXT_BYTES, &len, "Access-Control-Allow-Origin: %.*s\r\nVary: Origin\r\n",
                 (int)min_size(origin.len_bytes, 256), (const char *)origin.ptr);
    return len;
}

/* A whole answer. `more` is header lines or NULL. */
static void send_whole(server *s, struct conn *c, int status, const char *media, view body, const char *more,
                       bool keep_alive, bool without_body, view origin)
{
    char head[HEAD_TEXT_BYTES];
    size_t len = write_head(s, status, media, keep_alive, origin, head);
    add_text(head, sizeof head, &len, "%sContent-Length: %zu\r\n\r\n", more != NULL ? more : "", body.len_bytes);
    s->count.by_class[status / 100 % STATUS_CLASSES]++;
    conn_send(s, c, (view){ (const uint8_t *)head, len }, HTTP_WHOLE_BYTES_MAX);
    if (!without_body) conn_send(s, c, body, HTTP_WHOLE_BYTES_MAX);
}

void respond(server *s, struct conn *c, const struct http_head *head, int status, const char *media, view body,
             const char *more_headers)
{
    bool is_head = head != NULL && http_same(head->method, "HEAD"), keep = head != NULL && head->keep_alive;
    view origin = head != NULL ? guard_origin(s, head) : (view){ NULL, 0 };
    send_whole(s, c, status, media, body, more_headers, keep, is_head, origin);
    conn_done(s, c, keep);
}

/* ---- frames of a stream ---- */

void frame_start(struct exchange *x, json_writer *w)
{
    json_writer_start(w, &x->s->scratch, HTTP_WHOLE_BYTES_MAX, &x->write_error);
}

static void send_head(struct exchange *x)
{
    char head[HEAD_TEXT_BYTES];
    if (x->head_sent) return;
    x->head_sent = true;
    size_t len = write_head(x->s, 200, x->api->media, x->keep_alive, buffer_view(&x->origin), head);
    add_text(head, sizeof head, &len, "%s\r\n", x->chunked ? "Transfer-Encoding: chunked\r\n" : "");
    x->s->count.by_class[2]++;
    conn_send(x->s, x->conn, (view){ (const uint8_t *)head, len }, HTTP_UNSENT_BYTES_MAX);
    if (x->api->begin != NULL) x->api->begin(x);
}

/* Parts of one frame as one chunk. */
static void send_parts(struct exchange *x, const view *parts, size_t count)
{
    char line[32];
    size_t all = 0;
    send_head(x);
    for (size_t i = 0; i < count; i++) all += parts[i].len_bytes;
    if (all == 0) return;
    if (x->chunked) {
        snprintf(line, sizeof line, "%zx\r\n", all);
        conn_send(x->s, x->conn, view_of(line), HTTP_UNSENT_BYTES_MAX);
    }
    for (size_t i = 0; i < count; i++) conn_send(x->s, x->conn, parts[i], HTTP_UNSENT_BYTES_MAX);
    if (x->chunked) conn_send(x->s, x->conn, view_of("\r\n"), HTTP_UNSENT_BYTES_MAX);
    x->ping_ms = x->s->now_ms;
}

void frame_text(struct exchange *x, const char *text)
{
    send_parts(x, (const view[]){ view_of(text) }, 1);
}

void frame_send(struct exchange *x, const char *event, json_writer *w)
{
    view json;
    if (!json_done(w, &json)) return; /* out of room: the write error ends the exchange */
    const view parts[] = { view_of(event != NULL ? "event: " : ""), view_of(event != NULL ? event : ""),
                           view_of(event != NULL ? "\ndata: " : "data: "), json, view_of("\n\n") };
    send_parts(x, parts, 5);
}

void line_send(struct exchange *x, json_writer *w)
{
    view json;
    if (!json_done(w, &json)) return;
    send_parts(x, (const view[]){ json, view_of("\n") }, 2);
}

/* ---- life ---- */

static void choice_free(struct choice *c)
{
    for (struct call *call = c->calls, *next; call != NULL; call = next) {
        next = call->next;
        buffer_free(&call->id);
        buffer_free(&call->name);
        buffer_free(&call->args);
        free(call);
    }
    buffer_free(&c->content);
    buffer_free(&c->reasoning);
    buffer_free(&c->logprobs);
    buffer_free(&c->stop);
}

static void exchange_free(struct exchange *x)
{
    server *s = x->s;
    if (x->ticket != 0) {
        s->asks[x->ticket % ASKS_MAX] = NULL;
        s->free_places[ASKS_MAX - s->ask_count--] = (uint16_t)(x->ticket % ASKS_MAX);
    }
    if (x->counted) x->who->inside--;
    for (size_t i = 0; i < x->choice_count; i++) choice_free(&x->choices[i]);
    buffer_free(&x->items);
    buffer_free(&x->inputs);
    buffer_free(&x->echo);
    buffer_free(&x->origin);
    free(x->choices);
    free(x);
}

/* The answer is out: the connection is free for the next request. */
static void exchange_over(struct exchange *x, bool keep_alive)
{
    struct conn *c = x->conn;
    server *s = x->s;
    exchange_free(x);
    c->x = NULL;
    conn_done(s, c, keep_alive);
}

void exchange_leave(server *s, struct exchange *x)
{
    x->conn->x = NULL;
    if (x->ticket != 0) {
        s->b.cancel(s->b.self, x->ticket);
        s->count.cancelled++;
    }
    exchange_free(x);
}

static void end_stream(struct exchange *x)
{
    if (x->chunked) conn_send(x->s, x->conn, view_of("0\r\n\r\n"), HTTP_UNSENT_BYTES_MAX);
    exchange_over(x, x->keep_alive && x->chunked);
}

static void send_refusal(struct exchange *x, const struct refusal *r)
{
    server *s = x->s;
    json_writer w;
    view body;
    char retry[48] = "";
    s->count.failed += r->status >= 500;
    if (x->head_sent) {
        x->api->stream_error(x, r);
        end_stream(x);
        return;
    }
    frame_start(x, &w);
    x->api->error(r, &w);
    if (!json_done(&w, &body)) body = view_of("{}");
    if (r->retry_s > 0) snprintf(retry, sizeof retry, "Retry-After: %u\r\n", r->retry_s);
    send_whole(s, x->conn, r->status, "application/json", body, retry, x->keep_alive, false, buffer_view(&x->origin));
    exchange_over(x, x->keep_alive);
}

/* ---- events ---- */

/* ORDER ask_error */
static const struct { int status; const char *code; } FAILURES[] = {
    [ASK_BAD] = { 400, NULL },
    [ASK_TOO_LONG] = { 400, "context_length_exceeded" },
    [ASK_NO_MODEL] = { 404, "model_not_found" },
    [ASK_BUSY] = { 503, "overloaded" },
    [ASK_BARRED] = { 403, "model_not_allowed" },
    [ASK_NO_ROOM] = { 507, "model_too_large" },
    [ASK_BROKEN] = { 500, NULL },
};

static void take_failure(struct exchange *x, const struct ask_event *event)
{
    struct refusal r = { .error = event->error, .code = FAILURES[event->error].code, .retry_s = event->retry_s };
    refuse_with(&r, FAILURES[event->error].status, NULL, "%.*s",
                (int)min_size(event->text.len_bytes, ERR_TEXT_BYTES - 1), (const char *)event->text.ptr);
    snprintf(r.param, sizeof r.param, "%.*s", (int)min_size(event->name.len_bytes, PARAM_BYTES - 1),
             event->name.len_bytes > 0 ? (const char *)event->name.ptr : "");
    if (event->error == ASK_BUSY && r.retry_s == 0) r.retry_s = 1;
    send_refusal(x, &r);
}

static bool keep_call(struct choice *c, const struct ask_event *event)
{
    if (event->kind == EVENT_CALL_BEGIN) {
        struct call *call = c->call_count < ANSWER_CALLS_MAX ? calloc(1, sizeof *call) : NULL;
        if (call == NULL) return false;
        *(c->last_call != NULL ? &c->last_call->next : &c->calls) = call;
        c->last_call = call;
        c->call_count++;
        return buffer_add(&call->id, event->id, ANSWER_BYTES_MAX) &&
               buffer_add(&call->name, event->name, ANSWER_BYTES_MAX);
    }
    if (c->last_call == NULL) return true;
    if (event->kind == EVENT_CALL_END) c->last_call->ended = true;
    return event->kind != EVENT_CALL_ARGS || buffer_add(&c->last_call->args, event->text, ANSWER_BYTES_MAX);
}

/* Calls get an id here where the model gave none: clients name results after it. */
static bool name_call(struct exchange *x, struct choice *c)
{
    char id[EXCHANGE_ID_BYTES];
    if (buffer_view(&c->last_call->id).len_bytes > 0) return true;
    make_id(x->s, x->api->call_prefix, id, sizeof id);
    return buffer_add(&c->last_call->id, view_of(id), ANSWER_BYTES_MAX);
}

/* {"token": ..., "logprob": ..., "bytes": [...]} */
static void write_token(json_writer *w, const struct ask_token *t)
{
    json_key(w, "token");
    json_string(w, t->text);
    json_key(w, "logprob");
    json_double(w, (double)t->logprob);
    json_key(w, "bytes");
    json_begin_array(w);
    for (size_t i = 0; i < t->text.len_bytes; i++) json_uint(w, t->text.ptr[i]);
    json_end_array(w);
}

static bool keep_logprob(struct exchange *x, struct choice *c, const struct ask_event *event)
{
    json_writer w;
    view json;
    frame_start(x, &w);
    json_begin_object(&w);
    write_token(&w, &event->tokens[0]);
    json_key(&w, "top_logprobs");
    json_begin_array(&w);
    for (size_t i = 1; i < event->count; i++) {
        json_begin_object(&w);
        write_token(&w, &event->tokens[i]);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    bool more = buffer_view(&c->logprobs).len_bytes > 0;
    return json_done(&w, &json) && (!more || buffer_add(&c->logprobs, view_of(","), ANSWER_BYTES_MAX)) &&
           buffer_add(&c->logprobs, json, ANSWER_BYTES_MAX);
}

/* What of an event the choice remembers. False: over a limit. */
static bool keep(struct exchange *x, struct choice *c, const struct ask_event *event)
{
    bool kept = !x->stream || x->api->keeps;
    switch (event->kind) {
    case EVENT_CONTENT: return !kept || buffer_add(&c->content, event->text, ANSWER_BYTES_MAX);
    case EVENT_REASONING: return !kept || buffer_add(&c->reasoning, event->text, ANSWER_BYTES_MAX);
    case EVENT_TOKEN: return keep_logprob(x, c, event);
    case EVENT_CALL_BEGIN: return keep_call(c, event) && name_call(x, c);
    case EVENT_CALL_ARGS:
    case EVENT_CALL_END: return keep_call(c, event);
    case EVENT_FINISHED:
        c->finish = event->finish == ASK_STOP && c->call_count > 0 ? ASK_CALLS : event->finish;
        c->usage = event->usage;
        return buffer_add(&c->stop, event->text, ANSWER_BYTES_MAX);
    default: return true;
    }
}

static void count_usage(struct exchange *x, const struct ask_usage *u)
{
    struct counters *n = &x->s->count;
    bool first = x->usage_sum.prompt_tok == 0 || x->api->kind == ASK_EMBED;
    if (first) { /* the choices share one prompt */
        x->usage_sum.prompt_tok += u->prompt_tok;
        x->usage_sum.cached_tok += u->cached_tok;
        n->prompt_tok += u->prompt_tok;
        n->cached_tok += u->cached_tok;
    }
    x->usage_sum.made_tok += u->made_tok;
    x->usage_sum.reasoning_tok += u->reasoning_tok;
    n->made_tok += u->made_tok;
    if (x->first_ms != 0) x->usage_sum.prompt_ns = (x->first_ms - x->begun_ms) * 1000000;
    x->usage_sum.made_ns = (x->s->now_ms - (x->first_ms != 0 ? x->first_ms : x->begun_ms)) * 1000000;
}

/* Every choice has ended, or the one thing that was asked for has come. */
static void finish(struct exchange *x, const struct ask_event *event)
{
    json_writer w;
    view body;
    x->s->count.answers++;
    x->last_event = event;
    if (x->stream) {
        send_head(x);
        if (x->api->end != NULL) x->api->end(x);
        end_stream(x);
        return;
    }
    frame_start(x, &w);
    x->api->whole(x, &w);
    bool good = json_done(&w, &body);
    send_whole(x->s, x->conn, good ? 200 : 500, "application/json", good ? body : view_of("{}"), NULL, x->keep_alive,
               false, buffer_view(&x->origin));
    exchange_over(x, x->keep_alive);
}

void exchange_refuse(struct exchange *x, const struct refusal *r)
{
    send_refusal(x, r);
}

static void too_large(struct exchange *x)
{
    struct refusal r = { .error = ASK_BROKEN };
    x->s->b.cancel(x->s->b.self, x->ticket);
    refuse_with(&r, 500, NULL, "answer: over %d bytes", ANSWER_BYTES_MAX);
    send_refusal(x, &r);
}

static void take_choice_event(struct exchange *x, const struct ask_event *event)
{
    if (event->choice >= x->choice_count || x->choices[event->choice].ended) return;
    struct choice *c = &x->choices[event->choice];
    if (x->first_ms == 0) x->first_ms = x->s->now_ms;
    if (!keep(x, c, event)) {
        too_large(x);
        return;
    }
    if (event->kind == EVENT_FINISHED) {
        c->ended = true;
        x->open_count--;
        count_usage(x, &event->usage);
    }
    if (x->stream) {
        send_head(x);
        x->api->event(x, c, event);
    }
    if (x->open_count == 0) finish(x, event);
}

static void take_event(struct exchange *x, const struct ask_event *event)
{
    switch (event->kind) {
    case EVENT_FAILED: take_failure(x, event); break;
    case EVENT_PROGRESS:
        x->prompt_tok = event->usage.prompt_tok;
        if (event->done_tok > 0 && x->stream && x->api->ping != NULL)
            x->api->ping(x, event->done_tok, event->usage.prompt_tok);
        break;
    case EVENT_VECTOR:
        count_usage(x, &event->usage);
        if (!x->api->item(x, event)) finish(x, event);
        break;
    case EVENT_TEXT:
    case EVENT_IDS:
    case EVENT_COUNTED: finish(x, event); break;
    default: take_choice_event(x, event);
    }
}

void exchange_take_event(server *s, const struct ask_event *event)
{
    struct exchange *x = s->asks[event->ticket % ASKS_MAX];
    if (x == NULL || x->ticket != event->ticket) return; /* cancelled a moment ago */
    size_t mark = s->scratch.used_bytes;
    take_event(x, event);
    arena_rewind(&s->scratch, mark);
}

void exchange_ping(server *s, struct exchange *x)
{
    if (!x->stream || s->now_ms - x->ping_ms < (uint64_t)s->o->ping_s * 1000) return;
    x->ping_ms = s->now_ms;
    size_t mark = s->scratch.used_bytes;
    if (x->api->ping != NULL) x->api->ping(x, 0, 0);
    arena_rewind(&s->scratch, mark);
}

/* ---- from a body to an ask ---- */

bool exchange_submit(struct exchange *x, const struct ask *ask, struct refusal *r)
{
    server *s = x->s;
    err e = { 0 };
    enum ask_error why = ASK_BROKEN;
    if (x->ticket == 0) {
        if (s->ask_count == ASKS_MAX) {
            r->retry_s = 1;
            return refuse_with(r, 503, NULL, "%d requests are inside already", ASKS_MAX);
        }
        /* The place that was left last is taken first: memory is touched as far as there are asks at once. */
        uint32_t place = s->free_places[ASKS_MAX - 1 - s->ask_count++];
        x->ticket = ++s->asks_made * ASKS_MAX + place;
        s->asks[place] = x;
    }
    if (s->b.submit(s->b.self, x->ticket, ask, &why, &e)) return true;
    r->error = why;
    r->code = FAILURES[why].code;
    r->retry_s = why == ASK_BUSY ? 1 : 0;
    return refuse_with(r, FAILURES[why].status, NULL, "%s", e.text);
}

static bool find_model(struct reading *rd)
{
    struct exchange *x = rd->x;
    const struct model_facts *facts;
    size_t count = x->s->b.models(x->s->b.self, &facts);
    snprintf(x->model, sizeof x->model, "%.*s", (int)min_size(rd->model.len_bytes, ASK_NAME_BYTES_MAX),
             rd->model.len_bytes > 0 ? (const char *)rd->model.ptr : "");
    if (served_model(x->s, rd->model, &x->model_index)) {
        if (rd->model.len_bytes == 0)
            snprintf(x->model, sizeof x->model, "%.*s",
                     (int)min_size(facts[x->model_index].name.len_bytes, ASK_NAME_BYTES_MAX),
                     (const char *)facts[x->model_index].name.ptr);
        rd->ask.model = x->model_index;
        return true;
    }
    char list[ERR_TEXT_BYTES / 2];
    size_t len = 0;
    list[0] = '\0';
    for (size_t i = 0; i < count; i++)
        add_text(list, sizeof list, &len, "%s%.*s", i > 0 ? ", " : "", (int)min_size(facts[i].name.len_bytes, 64),
                 (const char *)facts[i].name.ptr);
    rd->r->error = ASK_NO_MODEL;
    rd->r->code = "model_not_found";
    return refuse_with(rd->r, 404, "model", "model \"%.80s\" not found; there is %s", x->model, list);
}

static bool read_request(struct reading *rd, view body)
{
    const struct api *api = rd->x->api;
    err e = { 0 };
    if (!json_parse(body, rd->a, &rd->body, &e))
        return refuse_with(rd->r, 400, NULL, "body: %s%s", body.len_bytes == 0 ? "it is empty; " : "", e.text);
    return fields_read(rd, rd->body, api->fields, api->field_count) && find_model(rd) && api->read(rd);
}

static bool make_choices(struct exchange *x, size_t n)
{
    x->choices = calloc(n, sizeof *x->choices);
    if (x->choices == NULL) return false;
    x->choice_count = x->open_count = (uint32_t)n;
    return true;
}

/* Defaults of everything a request may leave out. */
static void reading_start(struct reading *rd, server *s, struct exchange *x, struct refusal *r)
{
    uint32_t words[4];
    *rd = (struct reading){ .s = s, .x = x, .a = &s->scratch, .r = r, .n = 1, .parallel = true };
    rd->stream = x->api->stream_default;
    rd->ask.kind = x->api->kind;
    rd->ask.principal = x->who->id;
    rd->ask.sample = SAMPLE_DEFAULTS;
    prng_block(s->o->seed, SEED_STREAM, ++s->ids_made, words);
    rd->ask.sample.seed = words[0] | (uint64_t)(words[1] & 0x1fffff) << 32; /* 53 bits: any JSON reader keeps them */
    rd->ask.max_tok = s->o->max_tok;
}

static bool hand_over(struct reading *rd)
{
    struct exchange *x = rd->x;
    x->kind = rd->ask.kind;
    x->stream = rd->stream && x->api->event != NULL;
    x->usage = rd->usage;
    rd->ask.n = (unsigned)rd->n;
    rd->ask.top_logprobs = (unsigned)rd->top_logprobs;
    rd->ask.one_call = !rd->parallel;
    if (x->who->max_tok > 0 && (rd->ask.max_tok == 0 || rd->ask.max_tok > x->who->max_tok))
        rd->ask.max_tok = x->who->max_tok;
    if (!make_choices(x, rd->n)) return refuse_with(rd->r, 500, NULL, "server: no memory");
    return exchange_submit(x, &rd->ask, rd->r);
}

void exchange_begin(server *s, struct conn *c, const struct http_head *head, const struct api *api, view body)
{
    struct exchange *x = calloc(1, sizeof *x);
    struct refusal r = { 0 };
    struct reading *rd;
    err e = { 0 };
    if (x == NULL) {
        conn_drop(s, c);
        return;
    }
    *x = (struct exchange){ .s = s, .conn = c, .api = api, .who = c->who, .keep_alive = head->keep_alive };
    c->x = x;
    x->chunked = head->minor > 0;
    x->begun_ms = x->ping_ms = s->now_ms;
    x->created_s = s->now_s;
    make_id(s, api->id_prefix, x->id, sizeof x->id);
    buffer_add(&x->origin, guard_origin(s, head), 1024);
    rd = ARENA_ARRAY(&s->scratch, struct reading, 1, "request", &e);
    bool good = rd != NULL && guard_enter(s, x->who, &r);
    if (good) {
        x->counted = true;
        x->who->inside++;
        reading_start(rd, s, x, &r);
        good = read_request(rd, body) && hand_over(rd);
        if (!good && r.status == 0) refuse_with(&r, rd->e.code == ERR_LIMIT ? 400 : 500, NULL, "%s", rd->e.text);
    }
    if (!good) send_refusal(x, &r);
}
