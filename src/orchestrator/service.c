/* Asking: from what a client wants to messages for the two peers. See service.h; what they answer is
 * service_poll.c's. */
#include "orchestrator/service_part.h"

#include "base/checked.h"
#include "base/futex.h"
#include "base/limits.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BELL_STACK_BYTES = 1 << 18 }; /* a client's whole turn may run there */

bool service_new(service **out, struct service_rings *rings, const struct service_settings *set, err *e)
{
    if (set->asks < 1 || set->asks > SERVICE_ASKS_MAX || set->ctx_tok < 1 || set->ctx_tok > CTX_TOK_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "service: %u asks of %u tokens, allowed 1..%d of 1..%d", set->asks,
                    set->ctx_tok, SERVICE_ASKS_MAX, CTX_TOK_MAX);
    size_t each = sizeof(struct ask) + set->ctx_tok * sizeof(int32_t) + HEARTH_BIASES_MAX * sizeof(struct hearth_bias) +
                  SERVICE_BREAKERS_MAX * sizeof(int32_t) + HEARTH_CHOICES_MAX * sizeof(struct ask_choice) + 256;
    size_t bytes = set->asks * each + SERVICE_FIFO * sizeof(struct fed) + TEXT_EVENT_BYTES_MAX +
                   HEARTH_EVENT_BYTES_MAX + HEARTH_REQUEST_BYTES_MAX + ((size_t)1 << 20);
    arena a;
    if (!arena_new(&a, bytes, e)) return false;
    service *s = ARENA_ARRAY(&a, service, 1, "service", e);
    if (s == NULL) return false;
    *s = (service){ .rings = rings, .set = *set };
    bool good = (s->asks = ARENA_ARRAY(&a, struct ask, set->asks, "asks", e)) != NULL &&
                (s->fifo = ARENA_ARRAY(&a, struct fed, SERVICE_FIFO, "tokens", e)) != NULL &&
                (s->in[SERVICE_TEXT] = arena_take(&a, 1, TEXT_EVENT_BYTES_MAX, 64, "message", e)) != NULL &&
                (s->in[SERVICE_ENGINE] = arena_take(&a, 1, HEARTH_EVENT_BYTES_MAX, 64, "message", e)) != NULL &&
                (s->out = arena_take(&a, 1, HEARTH_REQUEST_BYTES_MAX, 64, "message", e)) != NULL;
    for (size_t i = 0; good && i < set->asks; i++) {
        struct ask *one = &s->asks[i];
        good = (one->ids = ARENA_ARRAY(&a, int32_t, set->ctx_tok, "ids", e)) != NULL &&
               (one->biases = ARENA_ARRAY(&a, struct hearth_bias, HEARTH_BIASES_MAX, "biases", e)) != NULL &&
               (one->breakers = ARENA_ARRAY(&a, int32_t, SERVICE_BREAKERS_MAX, "breakers", e)) != NULL &&
               (one->choices = ARENA_ARRAY(&a, struct ask_choice, HEARTH_CHOICES_MAX, "choices", e)) != NULL;
    }
    s->arena = a;
    *out = s;
    return good;
}

bool service_ready(const service *s, const struct text_facts **text, const struct hearth_facts **engine)
{
    if (text != NULL) *text = &s->text;
    if (engine != NULL) *engine = &s->engine;
    return s->up[SERVICE_TEXT] && s->up[SERVICE_ENGINE];
}

/* ---- asks ---- */

/* An id says where its ask is: the low part is the place, the high part never comes again. */
struct ask *ask_find(service *s, uint64_t id)
{
    struct ask *a = &s->asks[id % SERVICE_ASKS_MAX % s->set.asks];
    return id != 0 && a->state != ASK_FREE && a->id == id ? a : NULL;
}

struct ask *ask_of_engine(service *s, uint64_t engine_id)
{
    struct ask *a = &s->asks[engine_id % SERVICE_ASKS_MAX % s->set.asks];
    return engine_id != 0 && a->state != ASK_FREE && a->engine_id == engine_id ? a : NULL;
}

void ask_free(service *s, struct ask *a)
{
    if (a->state == ASK_FAILED) s->failed--;
    a->state = ASK_FREE;
    a->id = a->engine_id = 0;
    a->losses = 0;
}

/* Told by a later poll: as many asks as there are can fail at once. */
void ask_fail(service *s, struct ask *a, enum err_code code, const char *text)
{
    if (a->state == ASK_FREE || a->state == ASK_FAILED) return;
    struct hearth_head head = { .id = a->engine_id, .choice = HEARTH_ALL_CHOICES };
    if (a->engine_id != 0) service_send(s, SERVICE_ENGINE, HEARTH_CANCEL, &head, sizeof head, NULL, 0);
    head.id = a->id;
    service_send(s, SERVICE_TEXT, TEXT_CLOSE, &head, sizeof head, NULL, 0);
    a->engine_id = 0;
    a->state = ASK_FAILED;
    a->code = code;
    snprintf(a->text, sizeof a->text, "%s", text);
    s->failed++;
}

/* ---- sending ---- */

bool service_send(service *s, enum service_peer peer, uint32_t kind, const void *message, size_t bytes,
                  const view *tail, size_t tail_count)
{
    size_t len = bytes;
    if (!s->up[peer]) return false;
    memcpy(s->out, message, bytes);
    for (size_t i = 0; i < tail_count; i++) {
        if (tail[i].len_bytes > HEARTH_REQUEST_BYTES_MAX - len) return false;
        if (tail[i].len_bytes > 0) memcpy(s->out + len, tail[i].ptr, tail[i].len_bytes);
        len += tail[i].len_bytes;
    }
    enum ring_status status = ring_send(&s->rings->to[peer], kind, (view){ s->out, len });
    /* A peer that was replaced tells its facts first, so by now the new one is there: once more. */
    if (status == RING_RESTARTED) status = ring_send(&s->rings->to[peer], kind, (view){ s->out, len });
    return status == RING_OK;
}

static view bytes_of(const void *at, size_t bytes)
{
    return (view){ at, bytes };
}

void ask_submit(service *s, struct ask *a)
{
    struct hearth_request r = a->r;
    a->engine_id = ++s->engine_serial * SERVICE_ASKS_MAX + (size_t)(a - s->asks);
    r.head = (struct hearth_head){ .id = a->engine_id };
    r.answer_tok = r.n == 1 && r.want == HEARTH_GENERATE ? a->choices[0].made : 0;
    r.prompt_tok = (uint32_t)a->id_count;
    r.stop_count = r.want == HEARTH_GENERATE ? s->text.end_count : 0;
    const view tail[] = { bytes_of(a->ids, a->id_count * sizeof *a->ids),
                          bytes_of(s->text.ends, r.stop_count * sizeof *s->text.ends),
                          bytes_of(a->biases, r.bias_count * sizeof *a->biases),
                          bytes_of(a->breakers, r.breaker_count * sizeof *a->breakers) };
    if (service_send(s, SERVICE_ENGINE, HEARTH_SUBMIT, &r, sizeof r, tail, 4)) {
        struct hearth_head head = { .id = a->engine_id, .choice = HEARTH_ALL_CHOICES };
        if (a->cancelled) service_send(s, SERVICE_ENGINE, HEARTH_CANCEL, &head, sizeof head, NULL, 0);
        return;
    }
    a->engine_id = 0;
    if (s->up[SERVICE_ENGINE]) ask_fail(s, a, ERR_LIMIT, "engine: too much is asked of it at once");
}

/* ---- what is asked ---- */

static bool limits_check(const service *s, const struct service_ask *ask, err *e)
{
    const struct {
        const char *name;
        size_t value, max;
    } rows[] = {
        { "answers", ask->n, HEARTH_CHOICES_MAX },
        { "stop texts", ask->stop_count, STOPS_MAX },
        { "biases", ask->bias_count, HEARTH_BIASES_MAX },
        { "breakers", ask->breaker_count, SERVICE_BREAKERS_MAX },
        { "rivals", ask->top_count, HEARTH_TOP_MAX },
        { "ids", ask->kind == SERVICE_PIECES ? 0 : ask->id_count, s->set.ctx_tok },
        { "weight", ask->weight, 1000 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].value > rows[i].max)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: %zu, at most %zu", rows[i].name, rows[i].value, rows[i].max);
    for (size_t i = 0; i < ask->stop_count; i++)
        if (ask->stops[i].len_bytes < 1 || ask->stops[i].len_bytes > STOP_BYTES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "stop text %zu: %zu bytes, allowed 1..%d", i + 1,
                        ask->stops[i].len_bytes, STOP_BYTES_MAX);
    size_t bytes = ask->messages.len_bytes + ask->tools.len_bytes + ask->variables.len_bytes + ask->text.len_bytes;
    size_t most = TEXT_REQUEST_BYTES_MAX - STOPS_MAX * (STOP_BYTES_MAX + 4) - 1024;
    if (bytes > most) return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "request: %zu bytes of text, at most %zu", bytes, most);
    return true;
}

/* Stop texts as the tail of a message: lengths, then the texts one behind the other; `room` holds the most there are.
 * */
struct stop_tail {
    uint32_t lengths[STOPS_MAX];
    uint8_t bytes[STOPS_MAX * STOP_BYTES_MAX];
    size_t len;
};

static void stops_join(const struct service_ask *ask, struct stop_tail *out)
{
    out->len = 0;
    for (size_t i = 0; i < ask->stop_count; i++) {
        out->lengths[i] = (uint32_t)ask->stops[i].len_bytes;
        memcpy(out->bytes + out->len, ask->stops[i].ptr, ask->stops[i].len_bytes);
        out->len += ask->stops[i].len_bytes;
    }
}

static bool send_render(service *s, const struct ask *a, const struct service_ask *ask)
{
    struct stop_tail stops;
    stops_join(ask, &stops);
    bool opens = ask->kind == SERVICE_CHAT;
    struct text_render r = { .head.id = a->id, .tenant = ask->tenant, .talk = ask->talk, .clock_s = ask->clock_s,
                             .messages_bytes = (uint32_t)ask->messages.len_bytes,
                             .tools_bytes = (uint32_t)ask->tools.len_bytes,
                             .variables_bytes = (uint32_t)ask->variables.len_bytes,
                             .stop_count = (uint32_t)ask->stop_count, .n = opens ? a->r.n : 0,
                             .ctx_tok = opens ? s->set.ctx_tok : 0,
                             .flags = ask->render_flags | (ask->kind == SERVICE_SHOW ? TEXT_SHOW : 0) };
    const view tail[] = { ask->messages, ask->tools, ask->variables,
                          bytes_of(stops.lengths, ask->stop_count * sizeof *stops.lengths),
                          bytes_of(stops.bytes, stops.len) };
    return service_send(s, SERVICE_TEXT, TEXT_RENDER, &r, sizeof r, tail, 5);
}

static bool send_plain(service *s, const struct ask *a, const struct service_ask *ask)
{
    struct stop_tail stops;
    stops_join(ask, &stops);
    bool counts = ask->kind == SERVICE_EMBED || ask->kind == SERVICE_COUNT;
    struct text_plain r = { .head.id = a->id, .before = ask->id_count > 0 ? ask->ids[ask->id_count - 1] : -1,
                            .text_bytes = (uint32_t)ask->text.len_bytes, .stop_count = (uint32_t)ask->stop_count,
                            .n = counts ? 0 : a->r.n, .ctx_tok = ask->kind == SERVICE_COUNT ? 0 : s->set.ctx_tok,
                            .flags = ask->plain_flags | (counts ? TEXT_COUNT : 0) |
                                     (ask->kind == SERVICE_IDS ? TEXT_BARE : 0) };
    const view tail[] = { ask->text, bytes_of(stops.lengths, ask->stop_count * sizeof *stops.lengths),
                          bytes_of(stops.bytes, stops.len) };
    return service_send(s, SERVICE_TEXT, TEXT_PLAIN, &r, sizeof r, tail, 3);
}

static bool send_pieces(service *s, const struct ask *a, const struct service_ask *ask)
{
    struct text_pieces r = { .head.id = a->id, .count = (uint32_t)ask->id_count,
                             .special = (ask->plain_flags & TEXT_SPECIAL) != 0,
                             .joined = (ask->plain_flags & TEXT_COUNT) != 0 };
    view ids = bytes_of(ask->ids, ask->id_count * sizeof *ask->ids);
    return service_send(s, SERVICE_TEXT, TEXT_PIECES, &r, sizeof r, &ids, 1);
}

static bool send_compile(service *s, const struct ask *a, const struct service_ask *ask)
{
    struct text_compile r = { .head.id = a->id, .grammar = ask->grammar,
                              .source_bytes = (uint32_t)ask->text.len_bytes, .flags = ask->grammar_flags,
                              .in_reasoning = ask->in_reasoning };
    return service_send(s, SERVICE_TEXT, TEXT_COMPILE, &r, sizeof r, &ask->text, 1);
}

/* ORDER service_kind: the first message of each, and what is waited for then. */
static const struct first_step {
    bool (*send)(service *s, const struct ask *a, const struct service_ask *ask);
    enum ask_state state;
    bool generates;
} FIRST_STEPS[] = {
    [SERVICE_CHAT] = { send_render, ASK_IDS, true },      [SERVICE_PLAIN] = { send_plain, ASK_IDS, true },
    [SERVICE_IDS] = { send_plain, ASK_IDS, true },        [SERVICE_EMBED] = { send_plain, ASK_IDS, false },
    [SERVICE_COUNT] = { NULL, ASK_IDS, false },           [SERVICE_SHOW] = { send_render, ASK_BYTES, false },
    [SERVICE_PIECES] = { send_pieces, ASK_BYTES, false }, [SERVICE_COMPILE] = { send_compile, ASK_TABLE, false },
};

static void ask_begin(struct ask *a, const struct service_ask *ask)
{
    a->kind = ask->kind;
    a->cancelled = false;
    a->engine_id = 0;
    a->r = (struct hearth_request){ .tenant = ask->tenant, .mask = ask->mask, .sampling = ask->sampling,
                                    .want = ask->kind == SERVICE_EMBED ? ask->embed : HEARTH_GENERATE,
                                    .max_tok = ask->max_tok, .n = ask->n > 0 ? ask->n : 1,
                                    .logprobs = ask->logprobs, .top_count = ask->top_count,
                                    .bias_count = (uint32_t)ask->bias_count,
                                    .breaker_count = (uint32_t)ask->breaker_count,
                                    .weight = ask->weight > 0 ? ask->weight : 1 };
    if (ask->kind == SERVICE_EMBED) /* nothing is drawn */
        a->r.sampling = (struct hearth_sampling){ .top_p = 1, .typical_p = 1, .repetition_penalty = 1, .dry_base = 1 };
    a->open = a->r.n;
    a->id_count = ask->kind == SERVICE_PIECES ? 0 : ask->id_count;
    if (a->id_count > 0) memcpy(a->ids, ask->ids, a->id_count * sizeof *a->ids);
    if (ask->bias_count > 0) memcpy(a->biases, ask->biases, ask->bias_count * sizeof *a->biases);
    if (ask->breaker_count > 0) memcpy(a->breakers, ask->breakers, ask->breaker_count * sizeof *a->breakers);
    memset(a->choices, 0, a->r.n * sizeof *a->choices);
}

bool service_ask(service *s, const struct service_ask *ask, uint64_t *id, err *e)
{
    const struct first_step *step = &FIRST_STEPS[ask->kind];
    if (!limits_check(s, ask, e)) return false;
    if (!service_ready(s, NULL, NULL))
        return fail(e, ERR_STATE, ERR_NO_OFFSET, "service: the model is being started");
    struct ask *a = NULL;
    for (size_t i = 0; i < s->set.asks && a == NULL; i++)
        if (s->asks[i].state == ASK_FREE) a = &s->asks[i];
    if (a == NULL) return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "service: %u requests are under way", s->set.asks);
    ask_begin(a, ask);
    a->id = ++s->serial * SERVICE_ASKS_MAX + (size_t)(a - s->asks);
    bool chat = ask->messages.len_bytes > 0;
    bool sent = step->send != NULL ? step->send(s, a, ask) : chat ? send_render(s, a, ask) : send_plain(s, a, ask);
    if (!sent) {
        a->id = 0;
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "service: too much is asked at once");
    }
    a->state = step->state;
    *id = a->id;
    return true;
}

void service_cancel(service *s, uint64_t id)
{
    struct ask *a = ask_find(s, id);
    if (a == NULL || a->cancelled || a->state == ASK_FAILED) return;
    a->cancelled = true;
    struct hearth_head head = { .id = a->engine_id, .choice = HEARTH_ALL_CHOICES };
    if (a->state == ASK_RUNS && a->engine_id != 0)
        service_send(s, SERVICE_ENGINE, HEARTH_CANCEL, &head, sizeof head, NULL, 0);
}

/* No ask's number, and no table's: those are counted from 1. */
uint64_t service_keep(service *s)
{
    return s->kept = UINT64_MAX / 2 + ++s->kept_count;
}

bool service_kept(service *s, uint32_t kind, view message, view tail, view more)
{
    const view both[] = { tail, more };
    return service_send(s, SERVICE_ENGINE, kind, message.ptr, message.len_bytes, both, 2);
}

bool service_want(service *s, bool wanted)
{
    const uint32_t none = 0;
    view message = { (const uint8_t *)&none, sizeof none };
    enum ring_status sent = ring_send(&s->rings->notices, wanted ? SERVICE_WANTED : SERVICE_UNWANTED, message);
    return sent != RING_FULL;
}

void service_mask_drop(service *s, uint64_t mask)
{
    struct hearth_head head = { .id = mask };
    service_send(s, SERVICE_ENGINE, HEARTH_MASK_DROP, &head, sizeof head, NULL, 0);
}

const char *service_finish_name(enum service_finish f)
{
    static const char *const names[] = { [SERVICE_END] = "stop",           [SERVICE_STOP] = "stop",
                                         [SERVICE_LENGTH] = "length",      [SERVICE_CONTEXT] = "context",
                                         [SERVICE_CANCELLED] = "cancelled", [SERVICE_DONE] = "done" };
    return names[f];
}

/* ---- bells ---- */

bool service_linger(const service *s)
{
    enum { LOOKS = 500 }; /* about 20 us: two wakings cost as much */
    const ring *from = &s->rings->from[SERVICE_TEXT];
    if (s->fifo_count == 0 || !s->up[SERVICE_TEXT]) return false;
    for (int i = 0; i < LOOKS && ring_bell(from) == s->text_bell; i++) futex_relax();
    return ring_bell(from) != s->text_bell;
}

static void ring_client(struct bell *bell)
{
    uint64_t one = 1;
    atomic_store(&bell->calling, true); /* before the look: service_call waits for it after its change */
    service_heard *heard = atomic_load(&bell->heard);
    if (heard != NULL) heard(bell->arg);
    atomic_store(&bell->calling, false);
    if (heard == NULL && write(bell->event_fd, &one, sizeof one) < 0) {
    } /* a full counter rings already */
}

static void *bell_thread(void *arg)
{
    struct bell *bell = arg;
    atomic_store(&bell->awake, 1);
    futex_wake(&bell->awake, 1);
    while (!atomic_load(&bell->stop)) {
        ring_sleep(bell->from, bell->seen);
        uint32_t now = ring_bell(bell->from);
        if (now == bell->seen) continue;
        bell->seen = now;
        ring_client(bell);
    }
    return NULL;
}

void service_call(service *s, service_heard *heard, void *arg)
{
    for (int peer = 0; peer < SERVICE_PEERS; peer++) {
        struct bell *bell = &s->bells[peer];
        if (heard != NULL) bell->arg = arg;
        atomic_store(&bell->heard, heard);
        while (heard == NULL && atomic_load(&bell->calling)) futex_relax();
    }
}

bool service_bells(service *s, int event_fd, err *e)
{
    for (int peer = 0; peer < SERVICE_PEERS; peer++) {
        pthread_attr_t small;
        struct bell *bell = &s->bells[peer];
        bell->from = &s->rings->from[peer];
        bell->event_fd = event_fd;
        bell->seen = ring_bell(bell->from); /* before the thread is made: what rings until it runs is not missed */
        bell->runs = pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, BELL_STACK_BYTES) == 0 &&
                     pthread_create(&bell->thread, &small, bell_thread, bell) == 0;
        if (!bell->runs) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "service: no thread for a bell");
        while (atomic_load(&bell->awake) == 0) futex_wait(&bell->awake, 0); /* team.c, await_members says why */
    }
    return true;
}

/* A wake that comes before the thread sleeps is lost, so it is repeated until the thread has ended. */
static void bell_stop(struct bell *bell)
{
    if (!bell->runs) return;
    atomic_store(&bell->stop, true);
    for (bool joined = false; !joined;) {
        struct timespec soon;
        ring_wake(bell->from);
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 2000000;
        soon.tv_sec += soon.tv_nsec / 1000000000;
        soon.tv_nsec %= 1000000000;
        joined = pthread_timedjoin_np(bell->thread, NULL, &soon) == 0;
    }
}

void service_free(service *s)
{
    if (s == NULL) return;
    for (int peer = 0; peer < SERVICE_PEERS; peer++) bell_stop(&s->bells[peer]);
    arena a = s->arena; /* the service lies in it */
    arena_free(&a);
}
