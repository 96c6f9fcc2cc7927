/* Asks to services: see served.h.
 *
 *   submit -> WAITS --(a shape)--> COMPILE --> \
 *                   --(logprobs)-> PIECES  --> ask --> events    each step is an ask of the service with a number of
 *                   -------------------------> /                 its own; `by_id` finds the record it belongs to
 *
 * An engine is given what it can compute and a little more; the rest waits here, where it costs nothing. Who comes
 * next: the principal that has the fewest asks inside, and of its asks the oldest. So one that asks a thousand times at
 * once does not keep another from its first answer. Arrival alone decides, never a clock. */
#include "server/served_part.h"

#include "base/checked.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- records ---- */

static struct record *by_ticket(served *s, uint64_t ticket)
{
    struct record *r = &s->records[ticket % ASKS_MAX];
    return r->step != STEP_FREE && r->ticket == ticket ? r : NULL;
}

static uint32_t *chain_of(served *s, uint32_t model, uint64_t id)
{
    return &s->by_id[(id * 31 + model) % TABLE_ROWS];
}

static struct record *by_id(served *s, uint32_t model, uint64_t id)
{
    for (uint32_t at = *chain_of(s, model, id); at != 0; at = s->records[at - 1].next_row) {
        struct record *r = &s->records[at - 1];
        if (r->id == id && r->model == model) return r;
    }
    return NULL;
}

void record_unchain(served *s, struct record *r)
{
    uint32_t *at = chain_of(s, r->model, r->id);
    if (r->id == 0) return;
    while (*at != 0 && &s->records[*at - 1] != r) at = &s->records[*at - 1].next_row;
    assert(*at != 0);
    *at = r->next_row;
    r->id = 0;
}

void record_chain(served *s, struct record *r, uint64_t id)
{
    record_unchain(s, r);
    uint32_t *head = chain_of(s, r->model, id);
    r->id = id;
    r->next_row = *head;
    *head = (uint32_t)(r - s->records) + 1;
}

/* The principal's share of a model, made where there is none: the asks of one are at most ASKS_MAX, and so are these.
 */
static uint32_t share_of(served *s, uint64_t principal, uint32_t model)
{
    uint32_t place = s->share_count;
    for (uint32_t i = 0; i < s->share_count; i++) {
        if (s->shares[i].records > 0 && s->shares[i].principal == principal && s->shares[i].model == model)
            return i + 1;
        if (s->shares[i].records == 0) place = i;
    }
    if (place == s->share_count) s->share_count++;
    assert(place < ASKS_MAX);
    s->shares[place] = (struct share){ .principal = principal, .model = model };
    return place + 1;
}

void record_leave(served *s, struct record *r)
{
    if (r->places == 0) return;
    s->shares[r->share - 1].inside -= r->places;
    s->models[r->model].inside -= r->places;
    r->places = 0;
}

static void record_free(served *s, struct record *r)
{
    record_unchain(s, r);
    record_leave(s, r);
    if (r->share > 0) s->shares[r->share - 1].records--;
    struct one *m = &s->models[r->model];
    if (r->step == STEP_WAITS) m->waiting--;
    if (r->step == STEP_DONE || r->step == STEP_REFUSED) s->told--;
    if (--m->asks == 0) m->used_ms = s->now_ms;
    if (r->mask != 0) service_mask_drop(s->models[r->model].svc, r->mask);
    free(r->kept);
    free(r->vector);
    free(r->kept_stops);
    *r = (struct record){ 0 };
}

/* ---- the backend ---- */

/* Which status an error of a peer becomes. A peer's ERR_LIMIT is about the context or about too much at once. */
static enum ask_error reason(enum err_code code, view text)
{
    bool context = memmem(text.ptr, text.len_bytes, "context holds", 13) != NULL;
    switch (code) {
    case ERR_LIMIT:
        if (context) return ASK_TOO_LONG;
        return memmem(text.ptr, text.len_bytes, "already", 7) != NULL ||
                       memmem(text.ptr, text.len_bytes, "at once", 7) != NULL ||
                       memmem(text.ptr, text.len_bytes, "under way", 9) != NULL
                   ? ASK_BUSY
                   : ASK_BAD;
    case ERR_VALUE:
    case ERR_MISSING:
    case ERR_UNSUPPORTED: return ASK_BAD;
    case ERR_STATE:
    case ERR_MEMORY: return ASK_BUSY;
    default: return ASK_BROKEN;
    }
}

static bool has_place(const struct one *m)
{
    return m->inside < m->set->places;
}

/* Gives a place and takes the first step. */
static bool enter(served *s, struct record *r, const struct ask *ask, err *e)
{
    r->places = r->share > 0 ? r->left : 0;
    if (r->places > 0) {
        s->shares[r->share - 1].inside += r->places;
        s->models[r->model].inside += r->places;
    }
    if (r->step == STEP_WAITS) s->models[r->model].waiting--;
    r->step = STEP_ASKED;
    return steps_go_on(s, r, ask, e);
}

/* A model that has no room is waited for, and this ask came after the first that wants it. */
static bool holds_back(const served *s, uint64_t ticket)
{
    return s->wish != NO_MODEL && s->models[s->wish].no_room && ticket > s->wish_ticket;
}

/* Who asks without computing takes no place from anybody. */
static uint32_t inside_of(const served *s, const struct record *r)
{
    return r->share > 0 ? s->shares[r->share - 1].inside : 0;
}

/* Who is next: the fewest inside, then the oldest. */
static struct record *next_waiting(served *s, uint32_t model)
{
    struct record *best = NULL;
    for (size_t i = 0; i < ASKS_MAX; i++) {
        struct record *r = &s->records[i];
        if (r->step != STEP_WAITS || r->model != model || holds_back(s, r->ticket)) continue;
        uint32_t inside = inside_of(s, r), least = best != NULL ? inside_of(s, best) : 0;
        if (best == NULL || inside < least || (inside == least && r->ticket < best->ticket)) best = r;
    }
    return best;
}

/* An ask that must wait is kept whole; so is one that has steps before it. */
static bool admit(served *s, struct record *r, const struct ask *ask, err *e)
{
    struct one *m = &s->models[r->model];
    bool computes = ask->kind == ASK_CHAT || ask->kind == ASK_TEXT || ask->kind == ASK_EMBED;
    bool waits = m->place != MODEL_UP || !m->ready || holds_back(s, r->ticket) ||
                 (computes && (!has_place(m) || m->waiting > 0));
    if (ask->has_keep) m->keep_ms = ask->keep_ms;
    if (ask->kind == ASK_UNLOAD) {
        m->keep_ms = 0;
        waits = false;
    }
    if (waits && m->waiting >= m->set->waiting_max)
        return fail(e, ERR_STATE, ERR_NO_OFFSET, "%u requests wait already", m->waiting);
    if (computes) {
        r->share = share_of(s, ask->principal, r->model);
        s->shares[r->share - 1].records++;
    }
    bool keep = waits || steps_need_mask(ask) || ask->logprobs;
    if (!steps_keep_stops(r, ask) || (keep && (r->kept = steps_keep(ask)) == NULL))
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "server: no memory");
    if (!waits) return enter(s, r, ask, e);
    r->step = STEP_WAITS;
    m->waiting++;
    return true;
}

static bool submit(void *self, uint64_t ticket, const struct ask *ask, enum ask_error *why, err *e)
{
    served *s = self;
    struct record *r = &s->records[ticket % ASKS_MAX];
    assert(r->step == STEP_FREE && ask->model < s->count);
    *r = (struct record){ .step = STEP_ASKED, .ticket = ticket, .model = ask->model, .kind = ask->kind };
    r->left = ask->n > 0 ? ask->n : 1;
    s->models[ask->model].asks++;
    arena_rewind(&s->scratch, 0);
    if (admit(s, r, ask, e)) return true;
    *why = reason(e->code, view_of(e->text));
    record_free(s, r);
    return false;
}

static void cancel(void *self, uint64_t ticket)
{
    served *s = self;
    struct record *r = by_ticket(s, ticket);
    if (r == NULL) return;
    if (r->id != 0) service_cancel(s->models[r->model].svc, r->id);
    record_free(s, r);
}

/* ---- events ---- */

static bool tell_failed(served *s, struct record *r, enum err_code code, view text, struct ask_event *out)
{
    size_t len = min_size(text.len_bytes, sizeof s->held_text);
    memcpy(s->held_text, text.ptr, len);
    *out = (struct ask_event){ .ticket = r->ticket, .kind = EVENT_FAILED, .error = reason(code, text),
                               .text = { s->held_text, len } };
    if (r->step == STEP_COMPILE) out->name = view_of(r->kept->shape == SHAPE_FREE ? "tools" : "response_format");
    record_free(s, r);
    return true;
}

/* A step has been answered: the next one. False: there is nothing to tell. */
static bool step_done(served *s, struct record *r, struct ask_event *out)
{
    err e = { 0 };
    arena_rewind(&s->scratch, 0);
    if (steps_go_on(s, r, r->kept, &e)) return false;
    return tell_failed(s, r, e.code, view_of(e.text), out);
}

static bool keep_pieces(struct one *m, const struct service_event *event)
{
    struct pieces *p = &m->pieces;
    uint8_t *bytes = malloc(p->byte_count + event->text.len_bytes + 1);
    uint32_t *ends = malloc((p->have + event->length_count + 1) * sizeof *ends);
    if (bytes == NULL || ends == NULL) {
        free(bytes);
        free(ends);
        return false;
    }
    if (p->byte_count > 0) memcpy(bytes, p->bytes, p->byte_count);
    if (p->have > 0) memcpy(ends, p->ends, p->have * sizeof *ends);
    if (event->text.len_bytes > 0) memcpy(bytes + p->byte_count, event->text.ptr, event->text.len_bytes);
    size_t at = p->byte_count;
    for (size_t i = 0; i < event->length_count; i++) ends[p->have + i] = (uint32_t)(at += event->lengths[i]);
    free(p->bytes);
    free(p->ends);
    *p = (struct pieces){ bytes, ends, p->have + event->length_count, p->byte_count + event->text.len_bytes };
    return true;
}

static view piece(const struct pieces *p, int32_t token)
{
    if (token < 0 || (size_t)token >= p->have) return view_of("");
    size_t begin = token > 0 ? p->ends[token - 1] : 0;
    return (view){ p->bytes + begin, p->ends[token] - begin };
}

static bool tell_token(served *s, const struct record *r, const struct service_event *event, struct ask_event *out)
{
    const struct pieces *p = &s->models[r->model].pieces;
    if (r->kept == NULL || !r->kept->logprobs) return false;
    out->kind = EVENT_TOKEN;
    out->tokens = s->tokens;
    out->count = 1 + event->token.top_count;
    s->tokens[0] = (struct ask_token){ event->token.token, event->token.logprob, piece(p, event->token.token) };
    for (size_t i = 0; i < event->token.top_count; i++)
        s->tokens[1 + i] = (struct ask_token){ event->rivals[i].token, event->rivals[i].logprob,
                                               piece(p, event->rivals[i].token) };
    return true;
}

/* ORDER text_part */
static bool tell_delta(const struct service_event *event, struct ask_event *out)
{
    static const enum ask_event_kind kinds[] = { [TEXT_CONTENT] = EVENT_CONTENT, [TEXT_REASONING] = EVENT_REASONING,
                                                 [TEXT_BLOCK] = EVENT_CONTENT, [TEXT_CALL_BEGIN] = EVENT_CALL_BEGIN,
                                                 [TEXT_CALL_ARGS] = EVENT_CALL_ARGS, [TEXT_CALL_END] = EVENT_CALL_END };
    if (event->part < TEXT_CONTENT || event->part > TEXT_CALL_END) return false; /* a call that was none came as text */
    out->kind = kinds[event->part];
    out->call = event->call;
    out->name = event->name;
    out->id = event->call_id;
    out->text = event->part == TEXT_BLOCK ? view_of("\n") : event->text;
    return true;
}

static enum ask_finish finish_of(enum service_finish finish)
{
    static const enum ask_finish of[] = { [SERVICE_END] = ASK_STOP, [SERVICE_STOP] = ASK_STOP_TEXT,
                                          [SERVICE_LENGTH] = ASK_LENGTH, [SERVICE_CONTEXT] = ASK_CONTEXT,
                                          [SERVICE_CANCELLED] = ASK_CANCELLED, [SERVICE_DONE] = ASK_STOP };
    return of[finish];
}

static bool tell_finished(served *s, struct record *r, const struct service_event *event, struct ask_event *out)
{
    out->kind = EVENT_FINISHED;
    out->finish = finish_of(event->finish);
    out->usage = (struct ask_usage){ .prompt_tok = event->prompt_tok, .cached_tok = event->cached_tok,
                                     .made_tok = event->made_tok };
    if (event->finish == SERVICE_STOP && event->stop < r->stop_count) {
        view stop = r->stops[event->stop];
        size_t len = min_size(stop.len_bytes, sizeof s->held_text);
        memcpy(s->held_text, stop.ptr, len); /* the record goes away before this is read */
        out->text = (view){ s->held_text, len };
    }
    if (r->kind == ASK_EMBED) {
        err e = { 0 };
        arena_rewind(&s->scratch, 0);
        float *copy = ARENA_ARRAY(&s->scratch, float, r->vector_count, "embedding", &e);
        if (copy == NULL || r->vector == NULL) return tell_failed(s, r, ERR_IO, view_of("engine: no vector came"), out);
        memcpy(copy, r->vector, r->vector_count * sizeof *copy);
        out->kind = EVENT_VECTOR;
        out->vector = copy;
        out->count = r->vector_count;
    }
    if (--r->left == 0) record_free(s, r);
    return true;
}

static bool tell_ids(served *s, struct record *r, const struct service_event *event, struct ask_event *out)
{
    out->usage.prompt_tok = event->id_count;
    out->kind = EVENT_PROGRESS;
    if (r->kind == ASK_COUNT) out->kind = EVENT_COUNTED;
    if (r->kind == ASK_TOKENIZE) {
        out->kind = EVENT_IDS;
        out->ids = event->ids;
        out->count = event->id_count;
    }
    if (out->kind != EVENT_PROGRESS) record_free(s, r);
    return true;
}

static bool keep_vector(struct record *r, const struct service_event *event)
{
    free(r->vector);
    r->vector = malloc(event->value_count * sizeof *r->vector);
    r->vector_count = r->vector != NULL ? event->value_count : 0;
    if (r->vector != NULL) memcpy(r->vector, event->values, r->vector_count * sizeof *r->vector);
    return false;
}

static void log_line(const served *s, uint32_t model, view what)
{
    char line[ERR_TEXT_BYTES + ASK_NAME_BYTES_MAX + 8];
    view name = s->models[model].set->name;
    int len = snprintf(line, sizeof line, "%.*s: %.*s\n", (int)name.len_bytes, (const char *)name.ptr,
                       (int)what.len_bytes, (const char *)what.ptr);
    view text = { (const uint8_t *)line, len > 0 ? min_size((size_t)len, sizeof line) : 0 };
    if (s->log != NULL) s->log(s->log_arg, text);
}

/* Why a prompt that was expected to be short work is not: ids and no text, which would be somebody's secret. */
static bool log_differs(const served *s, uint32_t model, const struct hearth_differs *d)
{
    char line[160];
    snprintf(line, sizeof line, "prefix: %u tokens are kept from before, %u are alike: token %u is %d now and was %d",
             d->kept_tok, d->at, d->at, d->asked, d->kept);
    log_line(s, model, view_of(line));
    return false;
}

/* Asks that ended without their model's word. */
static bool tell_own(served *s, struct ask_event *out)
{
    for (size_t i = 0; i < ASKS_MAX; i++) {
        struct record *r = &s->records[i];
        const struct one *m = &s->models[r->model];
        if (r->step != STEP_DONE && r->step != STEP_REFUSED) continue;
        *out = (struct ask_event){ .ticket = r->ticket, .kind = EVENT_FINISHED };
        if (r->step == STEP_REFUSED) {
            out->kind = EVENT_FAILED;
            out->error = m->refused;
            out->text = view_of(m->refusal);
        }
        record_free(s, r);
        return true;
    }
    assert(false);
    return false;
}

/* One event of a service as one of ours; false where it is nobody's business outside. */
static bool translate(served *s, uint32_t model, const struct service_event *event, struct ask_event *out)
{
    if (event->kind == SERVICE_EVENT_CHANGED) {
        models_facts(&s->models[model]);
        models_came(s, model);
        return false;
    }
    if (event->kind == SERVICE_EVENT_NEWS) {
        models_news(s, model, event);
        return false;
    }
    if (event->kind == SERVICE_EVENT_ERROR && event->id == 0) {
        log_line(s, model, event->text); /* what a peer says of itself */
        return false;
    }
    struct record *r = by_id(s, model, event->id);
    if (r == NULL) {
        if (event->kind == SERVICE_EVENT_MASK) service_mask_drop(s->models[model].svc, event->mask);
        return false; /* cancelled a moment ago */
    }
    *out = (struct ask_event){ .ticket = r->ticket, .choice = event->choice };
    switch (event->kind) {
    case SERVICE_EVENT_IDS: return tell_ids(s, r, event, out);
    case SERVICE_EVENT_PROGRESS:
        out->kind = EVENT_PROGRESS;
        out->done_tok = event->progress.done_tok;
        out->usage = (struct ask_usage){ .prompt_tok = event->progress.all_tok,
                                         .cached_tok = event->progress.cached_tok };
        return true;
    case SERVICE_EVENT_DIFFERS: return log_differs(s, model, &event->differs);
    case SERVICE_EVENT_TOKEN: return tell_token(s, r, event, out);
    case SERVICE_EVENT_DELTA: return tell_delta(event, out);
    case SERVICE_EVENT_FINISHED: return tell_finished(s, r, event, out);
    case SERVICE_EVENT_ERROR: return tell_failed(s, r, event->code, event->text, out);
    case SERVICE_EVENT_EMBEDDING: return keep_vector(r, event);
    case SERVICE_EVENT_BYTES:
        if (r->step == STEP_PIECES)
            return keep_pieces(&s->models[model], event)
                       ? step_done(s, r, out)
                       : tell_failed(s, r, ERR_MEMORY, view_of("server: no memory"), out);
        out->kind = EVENT_TEXT;
        out->text = event->text;
        record_free(s, r);
        return true;
    case SERVICE_EVENT_MASK:
        r->mask = event->mask;
        return step_done(s, r, out);
    default: return false;
    }
}

/* Fills places that became free. True: one of those that waited could not be asked for, and is told so. */
static bool fill(served *s, struct ask_event *out)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct record *r;
        struct one *m = &s->models[i];
        bool here = m->place == MODEL_UP && m->ready && !(m->held_for == s->wish_ticket && holds_back(s, UINT64_MAX));
        while (here && m->waiting > 0 && has_place(m) && (r = next_waiting(s, i)) != NULL) {
            err e = { 0 };
            arena_rewind(&s->scratch, 0);
            if (enter(s, r, r->kept, &e)) continue;
            *out = (struct ask_event){ 0 };
            return tell_failed(s, r, e.code, view_of(e.text), out);
        }
        if (here && m->waiting > 0 && has_place(m)) m->held_for = s->wish_ticket; /* asks from now on come later */
    }
    return false;
}

static bool poll(void *self, struct ask_event *out)
{
    served *s = self;
    struct service_event event;
    if (s->told > 0) return tell_own(s, out);
    if (fill(s, out)) return true;
    for (size_t quiet = 0; quiet < s->count;) {
        service *svc = s->models[s->at].svc;
        if (!service_poll(svc, &event) && !(service_linger(svc) && service_poll(svc, &event))) {
            s->at = (s->at + 1) % s->count;
            quiet++;
            continue;
        }
        quiet = 0;
        if (translate(s, (uint32_t)s->at, &event, out)) return true;
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    s->now_ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    for (size_t i = 0; i < s->count; i++) service_watch(s->models[i].svc, s->now_ms);
    models_tend(s);
    return s->told > 0 ? tell_own(s, out) : fill(s, out);
}

/* ---- life ---- */

static bool open_models(served *s, const struct served_setting *settings, err *e)
{
    for (size_t i = 0; i < s->count; i++) {
        struct one *m = &s->models[i];
        m->set = &settings[i];
        m->place = settings[i].up ? MODEL_UP : settings[i].coming ? MODEL_WANTED : MODEL_DOWN;
        m->keep_ms = settings[i].keep_ms;
        if (!service_new(&m->svc, settings[i].rings, &settings[i].service, e) || !service_bells(m->svc, s->bell_fd, e))
            return false;
        models_facts(m);
    }
    return true;
}

bool served_new(served **out, const struct served_setting *settings, size_t count, int bell_fd, int64_t zone_s, err *e)
{
    served *s = calloc(1, sizeof *s);
    *out = s;
    if (s == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "server: no memory");
    s->count = count;
    s->bell_fd = bell_fd;
    s->zone_s = zone_s;
    s->wish = NO_MODEL;
    s->models = calloc(count, sizeof *s->models);
    s->facts = calloc(count, sizeof *s->facts);
    s->records = calloc(ASKS_MAX, sizeof *s->records);
    s->by_id = calloc(TABLE_ROWS, sizeof *s->by_id);
    s->shares = calloc(ASKS_MAX, sizeof *s->shares);
    bool room = s->models != NULL && s->facts != NULL && s->records != NULL && s->by_id != NULL && s->shares != NULL;
    if (!room) err_set(e, ERR_MEMORY, ERR_NO_OFFSET, "server: no memory");
    if (room && arena_new(&s->scratch, SCRATCH_BYTES, e) && open_models(s, settings, e)) return true;
    served_free(s);
    *out = NULL;
    return false;
}

void served_log(served *s, void (*log)(void *arg, view line), void *arg)
{
    s->log = log;
    s->log_arg = arg;
}

void served_free(served *s)
{
    if (s == NULL) return;
    for (size_t i = 0; s->records != NULL && i < ASKS_MAX; i++)
        if (s->records[i].step != STEP_FREE) record_free(s, &s->records[i]);
    for (size_t i = 0; s->models != NULL && i < s->count; i++) {
        service_free(s->models[i].svc);
        free(s->models[i].pieces.bytes);
        free(s->models[i].pieces.ends);
    }
    arena_free(&s->scratch);
    free(s->models);
    free(s->facts);
    free(s->records);
    free(s->by_id);
    free(s->shares);
    free(s);
}

static void listen_to(void *self, void (*heard)(void *arg), void *arg)
{
    served *s = self;
    for (size_t i = 0; i < s->count; i++) service_call(s->models[i].svc, heard, arg);
}

struct backend served_backend(served *s)
{
    return (struct backend){ .self = s, .bell_fd = s->bell_fd, .models = models_list, .submit = submit,
                             .cancel = cancel, .listen = listen_to, .poll = poll };
}
