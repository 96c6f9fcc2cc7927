/* Asks to services: see served.h.
 *
 *   submit -> WAITS --(a shape)--> COMPILE --> \
 *                   --(logprobs)-> PIECES  --> ask --> events    each step is an ask of the service with a number of
 *                   -------------------------> /                 its own; `by_id` finds the record it belongs to
 *
 * An engine is given what it can compute and a little more; the rest waits here, where it costs nothing. Who comes
 * next: the principal that has the fewest asks inside, and of its asks the oldest. So one that asks a thousand times at
 * once does not keep another from its first answer. Arrival alone decides, never a clock.
 *
 * A model that is asked for and not in memory:
 *
 *   DOWN --want--> WANTED --its facts--> UP --nobody asks--> LEAVING --> DOWN
 *
 * One at a time is wished for, the one whose oldest ask came first. Where there is no room beside the others, the one
 * that is idle longest goes; while none is idle, asks that came after the wish's oldest one wait, so that one of them
 * becomes idle: two models that have no room beside each other take turns in the order of arrival. */
#include "server/served.h"

#include "base/checked.h"
#include "format/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    TABLE_ROWS = 2 * ASKS_MAX,     /* of by_id: never more than half full */
    SCRATCH_BYTES = 1 << 27,       /* addresses: variables of a template, copies of names */
    HEX_BYTES = 65,
    PIECES_A_TIME = 1 << 16        /* ids of one PIECES ask: their text stays under the largest message */
};

enum step { STEP_FREE, STEP_WAITS, STEP_COMPILE, STEP_PIECES, STEP_ASKED, STEP_DONE, STEP_REFUSED };

enum place { MODEL_DOWN, MODEL_WANTED, MODEL_UP, MODEL_LEAVING };

#define NO_MODEL UINT32_MAX

/* One ask, from submit to its last event. */
struct record {
    enum step step;
    uint64_t ticket, id, mask;
    uint32_t model, left;      /* choices that have not ended */
    uint32_t share;            /* of its principal: index + 1 in shares; 0: it takes no place in an engine */
    uint32_t places;           /* that it takes now */
    enum ask_kind kind;
    uint32_t next_row;         /* of by_id's chain, 1-based; 0 ends it */
    struct ask *kept;          /* a copy of all it points to, while steps come before it */
    float *vector;
    size_t vector_count;
    view stops[STOPS_MAX];     /* of `kept_stops`: told which one ended it */
    uint8_t *kept_stops;
    size_t stop_count;
};

/* What one principal has inside one model. */
struct share {
    uint64_t principal;
    uint32_t model, inside, records; /* records that name it: none frees it */
};

/* The vocabulary's texts, once somebody wanted log-probabilities. */
struct pieces {
    uint8_t *bytes;
    uint32_t *ends;            /* end of token i */
    size_t have, byte_count;
};

struct one {
    service *svc;
    const struct served_setting *set;
    struct model_facts facts;
    struct pieces pieces;
    char identity[HEX_BYTES], architecture[32];
    bool ready;                /* both workers have told their facts */
    enum place place;
    bool counted;              /* the orchestrator has seen its plan: it stays */
    bool no_room;              /* it was wished for and did not fit beside the others */
    uint64_t held_for;         /* the wish's ticket for which all that wait here were found held back */
    uint64_t used_ms, keep_ms; /* when its last ask ended; how long it stays then */
    uint32_t asks;             /* records of it */
    uint32_t inside, waiting;  /* places taken in the engine; asks that wait for one */
    enum ask_error refused;    /* of records in STEP_REFUSED, with the text */
    char refusal[ERR_TEXT_BYTES];
};

struct served {
    struct one *models;
    struct model_facts *facts;
    size_t count, at;
    int bell_fd;
    int64_t zone_s;
    void (*log)(void *arg, view line);
    void *log_arg;
    arena scratch;
    struct record *records;    /* ASKS_MAX, by ticket modulo that */
    uint32_t *by_id;           /* heads of chains: record + 1, 0 for none */
    struct share *shares;      /* ASKS_MAX */
    uint32_t share_count;
    uint32_t told;             /* records in STEP_DONE and STEP_REFUSED */
    uint32_t wish;             /* the model that is waited for; NO_MODEL */
    uint64_t wish_ticket;      /* of its oldest ask */
    uint64_t now_ms;
    struct ask_token tokens[HEARTH_TOP_MAX + 1];
    uint8_t held_text[STOP_BYTES_MAX]; /* of an event whose record is gone */
};

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

static void chain_remove(served *s, struct record *r)
{
    uint32_t *at = chain_of(s, r->model, r->id);
    if (r->id == 0) return;
    while (*at != 0 && &s->records[*at - 1] != r) at = &s->records[*at - 1].next_row;
    assert(*at != 0);
    *at = r->next_row;
    r->id = 0;
}

static void chain_add(served *s, struct record *r, uint64_t id)
{
    chain_remove(s, r);
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

static void leave_place(served *s, struct record *r)
{
    if (r->places == 0) return;
    s->shares[r->share - 1].inside -= r->places;
    s->models[r->model].inside -= r->places;
    r->places = 0;
}

static void record_free(served *s, struct record *r)
{
    chain_remove(s, r);
    leave_place(s, r);
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

/* ---- an ask in the service's words ---- */

static void write_members(json_writer *w, view object, arena *a)
{
    const json_value *v;
    err ignored = { 0 };
    if (object.len_bytes == 0 || !json_parse(object, a, &v, &ignored)) return;
    JSON_EACH(item, v) {
        bool ours = view_is(item->key, "enable_thinking") || view_is(item->key, "thinking") ||
                    view_is(item->key, "reasoning_effort");
        if (ours) continue;
        json_key_view(w, item->key);
        json_copy(w, item);
    }
}

/* Switches that templates know, as the families name them. */
static bool write_variables(served *s, const struct ask *ask, view *out, err *e)
{
    json_writer w;
    json_writer_start(&w, &s->scratch, HTTP_BODY_BYTES_MAX, e);
    json_begin_object(&w);
    if (ask->think != ASK_THINK_UNSET) {
        json_key(&w, "enable_thinking");
        json_bool(&w, ask->think == ASK_THINK_YES);
        json_key(&w, "thinking");
        json_bool(&w, ask->think == ASK_THINK_YES);
    }
    if (ask->effort.len_bytes > 0) {
        json_key(&w, "reasoning_effort");
        json_string(&w, ask->effort);
    }
    write_members(&w, ask->more, &s->scratch);
    json_end_object(&w);
    return json_done(&w, out);
}

static struct hearth_sampling sampling_of(const struct sample_settings *s)
{
    return (struct hearth_sampling){ .seed = s->seed, .temperature = s->temperature, .top_p = s->top_p,
                                     .min_p = s->min_p, .typical_p = s->typical_p,
                                     .repetition_penalty = s->repetition_penalty,
                                     .presence_penalty = s->presence_penalty,
                                     .frequency_penalty = s->frequency_penalty, .dry_multiplier = s->dry_multiplier,
                                     .dry_base = s->dry_base, .top_k = (uint32_t)s->top_k,
                                     .penalty_window = (uint32_t)s->penalty_window,
                                     .dry_allowed = (uint32_t)s->dry_allowed };
}

/* A text that came as a chat is one where the model has no template. */
static bool is_bare(const struct one *m, const struct ask *ask)
{
    return ask->kind == ASK_CHAT && ask->text.len_bytes > 0 && !m->facts.can_chat;
}

static enum service_kind kind_of(const struct one *m, const struct ask *ask)
{
    if (is_bare(m, ask)) return SERVICE_PLAIN;
    switch (ask->kind) {
    case ASK_CHAT: return SERVICE_CHAT;
    case ASK_TEXT: return ask->ids != NULL ? SERVICE_IDS : SERVICE_PLAIN;
    case ASK_EMBED: return SERVICE_EMBED;
    case ASK_RENDER: return SERVICE_SHOW;
    case ASK_DETOKENIZE: return SERVICE_PIECES;
    default: return SERVICE_COUNT;
    }
}

static bool hand_over(served *s, struct record *r, const struct ask *ask, err *e)
{
    struct hearth_bias *biases = ARENA_ARRAY(&s->scratch, struct hearth_bias, ask->sample.bias_count, "biases", e);
    const struct one *m = &s->models[r->model];
    bool bare = is_bare(m, ask), chats = ask->messages.len_bytes > 0 && !bare;
    view variables = view_of(""), none = view_of("");
    uint64_t id;
    if (biases == NULL || (chats && !write_variables(s, ask, &variables, e))) return false;
    for (size_t i = 0; i < ask->sample.bias_count; i++)
        biases[i] = (struct hearth_bias){ ask->sample.bias[i].token, ask->sample.bias[i].bias };
    struct service_ask out = { .kind = kind_of(m, ask), .tenant = ask->principal,
                               .messages = chats ? ask->messages : none,
                               .tools = ask->tool_choice == TOOLS_NONE ? none : ask->tools, .variables = variables,
                               .text = ask->kind == ASK_CHAT && !bare ? none : ask->text, .ids = ask->ids, .id_count = ask->id_count,
                               .clock_s = (int64_t)time(NULL) + s->zone_s, .sampling = sampling_of(&ask->sample),
                               .biases = biases, .bias_count = ask->sample.bias_count, .stops = ask->stops,
                               .stop_count = ask->stop_count, .max_tok = (uint32_t)min_size(ask->max_tok, UINT32_MAX),
                               .n = ask->n, .logprobs = ask->logprobs, .top_count = ask->top_logprobs,
                               .mask = r->mask, .embed = HEARTH_EMBED_MEAN };
    if (ask->continues) out.render_flags |= TEXT_CONTINUE;
    if (out.tools.len_bytes == 0) out.render_flags |= TEXT_CALLS_OFF;
    if (ask->special) out.plain_flags |= TEXT_SPECIAL;
    if (ask->kind == ASK_TOKENIZE) out.plain_flags |= TEXT_COUNT | (ask->begin ? 0 : TEXT_BARE);
    if (ask->kind == ASK_DETOKENIZE) out.plain_flags |= TEXT_COUNT;
    if (!service_ask(m->svc, &out, &id, e)) return false;
    r->step = STEP_ASKED;
    chain_add(s, r, id);
    return true;
}

/* ---- steps before it ---- */

static bool needs_mask(const struct ask *ask)
{
    bool must_call = ask->tools.len_bytes > 0 &&
                     (ask->tool_choice == TOOLS_REQUIRED || ask->tool_choice == TOOLS_NAMED);
    return ask->shape != SHAPE_FREE || must_call;
}

/* The one tool that must be called, as an array of its own. */
static bool named_tool(served *s, const struct ask *ask, view *out, err *e)
{
    const json_value *tools;
    json_writer w;
    if (!json_parse(ask->tools, &s->scratch, &tools, e)) return false;
    json_writer_start(&w, &s->scratch, HTTP_BODY_BYTES_MAX, e);
    json_begin_array(&w);
    bool found = false;
    JSON_EACH(tool, tools) {
        const json_value *name = json_get(json_get(tool, "function"), "name");
        if (name == NULL || !view_equal(name->text, ask->tool_name)) continue;
        json_copy(&w, tool);
        found = true;
    }
    json_end_array(&w);
    return (found || fail(e, ERR_VALUE, ERR_NO_OFFSET, "tool_choice: no tool of that name is declared")) &&
           json_done(&w, out);
}

static bool compile(served *s, struct record *r, const struct ask *ask, err *e)
{
    static const uint32_t grammars[] = { [SHAPE_FREE] = TEXT_TOOLS, [SHAPE_JSON] = TEXT_JSON_OBJECT,
                                         [SHAPE_SCHEMA] = TEXT_JSON_SCHEMA, [SHAPE_GBNF] = TEXT_GBNF };
    const struct one *m = &s->models[r->model];
    uint64_t id;
    struct service_ask out = { .kind = SERVICE_COMPILE, .tenant = ask->principal, .grammar = grammars[ask->shape],
                               .text = ask->shape == SHAPE_FREE ? ask->tools : ask->shape_text,
                               .in_reasoning = m->facts.can_think && ask->think != ASK_THINK_NO };
    if (ask->shape == SHAPE_FREE) out.grammar_flags = 1u | (ask->one_call ? 2u : 0u);
    if (ask->shape == SHAPE_FREE && ask->tool_choice == TOOLS_NAMED && !named_tool(s, ask, &out.text, e)) return false;
    if (!service_ask(m->svc, &out, &id, e)) return false;
    r->step = STEP_COMPILE;
    chain_add(s, r, id);
    return true;
}

static bool fetch_pieces(served *s, struct record *r, err *e)
{
    struct one *m = &s->models[r->model];
    size_t count = min_size((size_t)m->facts.vocab - m->pieces.have, PIECES_A_TIME);
    int32_t *ids = ARENA_ARRAY(&s->scratch, int32_t, count, "token ids", e);
    uint64_t id;
    if (ids == NULL) return false;
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)(m->pieces.have + i);
    struct service_ask out = { .kind = SERVICE_PIECES, .ids = ids, .id_count = count, .plain_flags = TEXT_SPECIAL };
    if (!service_ask(m->svc, &out, &id, e)) return false;
    r->step = STEP_PIECES;
    chain_add(s, r, id);
    return true;
}

/* The next step of an ask. */
static bool go_on(served *s, struct record *r, const struct ask *ask, err *e)
{
    const struct one *m = &s->models[r->model];
    if (ask->kind == ASK_LOAD || ask->kind == ASK_UNLOAD) {
        r->step = STEP_DONE; /* told by the next poll */
        s->told++;
        return true;
    }
    if (needs_mask(ask) && r->mask == 0) return compile(s, r, ask, e);
    if (ask->logprobs && m->pieces.have < m->facts.vocab) return fetch_pieces(s, r, e);
    return hand_over(s, r, ask, e);
}

/* ---- keeping an ask ---- */

static void keep_view(uint8_t **at, view *v)
{
    if (v->len_bytes > 0) memcpy(*at, v->ptr, v->len_bytes);
    v->ptr = *at;
    *at += v->len_bytes;
}

/* One block: the struct, stop texts' views, biases, ids, then bytes. */
static struct ask *ask_keep(const struct ask *ask)
{
    size_t tables = ask->stop_count * sizeof(view) + ask->sample.bias_count * sizeof(struct logit_bias) +
                    ask->id_count * sizeof(int32_t);
    size_t bytes = sizeof *ask + tables + ask->messages.len_bytes + ask->tools.len_bytes + ask->more.len_bytes +
                   ask->effort.len_bytes + ask->tool_name.len_bytes + ask->text.len_bytes + ask->shape_text.len_bytes;
    for (size_t i = 0; i < ask->stop_count; i++) bytes += ask->stops[i].len_bytes;
    struct ask *copy = malloc(bytes);
    if (copy == NULL) return NULL;
    *copy = *ask;
    view *stops = (view *)(copy + 1);
    struct logit_bias *biases = (struct logit_bias *)(stops + ask->stop_count);
    int32_t *ids = (int32_t *)(biases + ask->sample.bias_count);
    uint8_t *at = (uint8_t *)(ids + ask->id_count);
    for (size_t i = 0; i < ask->stop_count; i++) {
        stops[i] = ask->stops[i];
        keep_view(&at, &stops[i]);
    }
    if (ask->sample.bias_count > 0) memcpy(biases, ask->sample.bias, ask->sample.bias_count * sizeof *biases);
    if (ask->id_count > 0) memcpy(ids, ask->ids, ask->id_count * sizeof *ids);
    view *const texts[] = { &copy->messages, &copy->tools, &copy->more, &copy->effort, &copy->tool_name, &copy->text,
                            &copy->shape_text };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) keep_view(&at, texts[i]);
    copy->stops = stops;
    copy->sample.bias = biases;
    copy->ids = ask->ids != NULL ? ids : NULL;
    return copy;
}

static bool keep_stops(struct record *r, const struct ask *ask)
{
    size_t bytes = 0;
    for (size_t i = 0; i < ask->stop_count; i++) bytes += ask->stops[i].len_bytes;
    if (bytes == 0) return true;
    uint8_t *at = r->kept_stops = malloc(bytes);
    if (at == NULL) return false;
    for (size_t i = 0; i < ask->stop_count; i++) {
        r->stops[i] = ask->stops[i];
        keep_view(&at, &r->stops[i]);
    }
    r->stop_count = ask->stop_count;
    return true;
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
    return go_on(s, r, ask, e);
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
    bool keep = waits || needs_mask(ask) || ask->logprobs;
    if (!keep_stops(r, ask) || (keep && (r->kept = ask_keep(ask)) == NULL))
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

static size_t models(void *self, const struct model_facts **facts)
{
    served *s = self;
    int64_t now_s = (int64_t)time(NULL);
    for (size_t i = 0; i < s->count; i++) {
        const struct one *m = &s->models[i];
        struct model_facts *f = &s->facts[i];
        uint64_t idle_ms = m->asks > 0 ? 0 : s->now_ms - m->used_ms;
        *f = m->facts;
        f->loaded = m->ready && m->place == MODEL_UP;
        f->loading = !m->ready && (m->place == MODEL_UP || m->place == MODEL_WANTED);
        bool goes = f->loaded && m->keep_ms != SERVED_KEEP;
        f->expires_s = goes ? now_s + (int64_t)((m->keep_ms > idle_ms ? m->keep_ms - idle_ms : 0) / 1000) : 0;
    }
    *facts = s->facts;
    return s->count;
}

/* ---- facts ---- */

static void read_facts(struct one *m)
{
    const struct text_facts *text;
    const struct hearth_facts *engine;
    struct model_facts *f = &m->facts;
    m->ready = service_ready(m->svc, &text, &engine);
    f->name = m->set->name;
    f->chat_template = m->set->chat_template;
    f->format = m->set->format;
    f->parameters = m->set->parameters;
    f->created_s = m->set->created_s;
    if (f->weights_bytes == 0) f->weights_bytes = m->set->file_bytes;
    if (!m->ready) return; /* what it was when it was there last stays */
    for (size_t i = 0; i < 32; i++) snprintf(m->identity + 2 * i, 3, "%02x", engine->identity[i]);
    snprintf(m->architecture, sizeof m->architecture, "%.*s", (int)sizeof engine->arch - 1, engine->arch);
    f->identity = view_of(m->identity);
    f->architecture = view_of(m->architecture);
    f->weights_bytes = engine->weights_bytes;
    f->plan_bytes = engine->plan_bytes;
    f->ctx_tok = engine->ctx_tok;
    f->ctx_train_tok = engine->ctx_train_tok;
    f->width = engine->width;
    f->vocab = text->tokens;
    f->can_chat = text->has_template != 0;
    f->can_call = text->calls != 0;
    f->can_think = text->reasoning != 0;
    f->can_embed = true;
    f->can_shape = true;
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
    if (go_on(s, r, r->kept, &e)) return false;
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

/* What a peer says of itself is an error of no ask. */
static void log_own(const served *s, uint32_t model, const struct service_event *event)
{
    char line[ERR_TEXT_BYTES + ASK_NAME_BYTES_MAX + 8];
    view name = s->models[model].set->name;
    int len = snprintf(line, sizeof line, "%.*s: %.*s\n", (int)name.len_bytes, (const char *)name.ptr,
                       (int)event->text.len_bytes, (const char *)event->text.ptr);
    view text = { (const uint8_t *)line, len > 0 ? min_size((size_t)len, sizeof line) : 0 };
    if (s->log != NULL) s->log(s->log_arg, text);
}

/* ---- models that come and go ---- */

static bool is_idle(const struct one *m)
{
    return m->asks == m->waiting;
}

/* The wish is over, one way or another. */
static void wish_over(served *s, uint32_t model)
{
    s->models[model].no_room = false;
    if (s->wish == model) s->wish = NO_MODEL;
}

/* Its workers are there and its plan is counted: in either order. */
static void came(served *s, uint32_t model)
{
    struct one *m = &s->models[model];
    if (m->place != MODEL_WANTED || !m->ready || !m->counted) return;
    m->place = MODEL_UP;
    m->used_ms = s->now_ms;
    wish_over(s, model);
}

static void went(served *s, uint32_t model)
{
    struct one *m = &s->models[model];
    m->place = MODEL_DOWN;
    m->counted = false;
    m->keep_ms = m->set->keep_ms;
    free(m->pieces.bytes);
    free(m->pieces.ends);
    m->pieces = (struct pieces){ 0 }; /* the file may be another when it comes again */
    if (s->wish != NO_MODEL) s->models[s->wish].no_room = false; /* it may fit now */
}

/* All that is asked of a model ends; each is told by a poll of its own. */
static void refuse_all(served *s, uint32_t model)
{
    struct one *m = &s->models[model];
    for (size_t i = 0; i < ASKS_MAX && m->asks > 0; i++) {
        struct record *r = &s->records[i];
        if (r->step == STEP_FREE || r->step == STEP_DONE || r->step == STEP_REFUSED || r->model != model) continue;
        if (r->id != 0) service_cancel(m->svc, r->id);
        chain_remove(s, r);
        leave_place(s, r);
        if (r->step == STEP_WAITS) m->waiting--;
        r->step = STEP_REFUSED;
        s->told++;
    }
}

static void take_news(served *s, uint32_t model, const struct service_event *event)
{
    struct one *m = &s->models[model];
    switch ((enum service_news)event->news) {
    case SERVICE_LOADED:
        m->counted = true;
        came(s, model);
        break;
    case SERVICE_NO_ROOM:
        m->place = MODEL_DOWN;
        m->counted = false;
        m->no_room = s->wish == model;
        break;
    case SERVICE_REFUSED:
        m->refused = event->code == ERR_MEMORY ? ASK_NO_ROOM : event->code == ERR_UNSUPPORTED ? ASK_BARRED : ASK_BROKEN;
        snprintf(m->refusal, sizeof m->refusal, "%.*s", (int)event->text.len_bytes, (const char *)event->text.ptr);
        refuse_all(s, model);
        wish_over(s, model);
        went(s, model);
        break;
    case SERVICE_GONE: went(s, model); break;
    }
}

/* The oldest ask for a model that is down makes the wish. */
static void choose_wish(served *s)
{
    uint32_t absent = 0;
    for (size_t i = 0; i < s->count; i++) absent += s->models[i].place == MODEL_DOWN ? s->models[i].waiting : 0;
    for (size_t i = 0; absent > 0 && i < ASKS_MAX; i++) {
        const struct record *r = &s->records[i];
        if (r->step != STEP_WAITS || s->models[r->model].place != MODEL_DOWN) continue;
        absent--;
        if (s->wish != NO_MODEL && r->ticket > s->wish_ticket) continue;
        s->wish = r->model;
        s->wish_ticket = r->ticket;
    }
}

static void let_go(struct one *m)
{
    if (service_want(m->svc, false)) m->place = MODEL_LEAVING;
}

/* One that leaves already makes room enough, or not: that is seen when it has gone. */
static void make_room(served *s)
{
    struct one *longest = NULL;
    for (size_t i = 0; i < s->count; i++) {
        struct one *m = &s->models[i];
        if (m->place == MODEL_LEAVING) return;
        if (m->place == MODEL_UP && is_idle(m) && (longest == NULL || m->used_ms < longest->used_ms)) longest = m;
    }
    if (longest != NULL) let_go(longest);
}

static void tend_models(served *s)
{
    if (s->wish == NO_MODEL) choose_wish(s);
    if (s->wish != NO_MODEL) {
        struct one *m = &s->models[s->wish];
        if (m->place == MODEL_DOWN && m->waiting == 0) wish_over(s, s->wish); /* who asked has left */
        else if (m->place == MODEL_DOWN && m->no_room) make_room(s);
        else if (m->place == MODEL_DOWN && service_want(m->svc, true)) m->place = MODEL_WANTED;
    }
    for (size_t i = 0; i < s->count; i++) {
        struct one *m = &s->models[i];
        bool due = m->place == MODEL_UP && m->asks == 0 && m->keep_ms != SERVED_KEEP;
        if (due && s->now_ms - m->used_ms >= m->keep_ms) let_go(m);
    }
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
        read_facts(&s->models[model]);
        came(s, model);
        return false;
    }
    if (event->kind == SERVICE_EVENT_NEWS) {
        take_news(s, model, event);
        return false;
    }
    if (event->kind == SERVICE_EVENT_ERROR && event->id == 0) {
        log_own(s, model, event);
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
        if (!service_poll(s->models[s->at].svc, &event)) {
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
    tend_models(s);
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
        read_facts(m);
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

struct backend served_backend(served *s)
{
    return (struct backend){ .self = s, .bell_fd = s->bell_fd, .models = models, .submit = submit, .cancel = cancel,
                             .poll = poll };
}
