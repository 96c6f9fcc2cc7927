/* Hearing: what the two peers answer, believed only where it fits, and told to the client in order. Each token goes
 * from the engine through the text worker before the client sees it: what stands behind a stop text is never told.
 *
 *   engine HEARTH_TOKEN -> TEXT_FEED, kept in the fifo -> TEXT_DELTA: told -> TEXT_FED: the token is told
 *
 * Nothing is read from the engine while the fifo is full. */
#include "orchestrator/service_part.h"

#include "base/checked.h"
#include "base/limits.h"

#include <assert.h>

/* ---- peers ---- */

/* It sent nonsense, or its ring broke: the orchestrator ends it and starts another. */
static void peer_broken(service *s, enum service_peer peer)
{
    uint32_t which = (uint32_t)peer;
    if (s->up[peer]) s->changed = true;
    s->up[peer] = false;
    s->broken[peer] = true;
    (void)ring_send(&s->rings->notices, SERVICE_PEER_BROKEN, (view){ (const uint8_t *)&which, sizeof which });
}

/* A request that ends its engine would end the next one too, and everybody waits meanwhile. */
enum { LOSSES_MAX = 3 };

/* What was asked of the process that is gone. An answer whose engine is gone goes on behind the next one; what the text
 * worker knew is lost. */
static void peer_gone(service *s, enum service_peer peer)
{
    if (s->up[peer]) s->changed = true;
    s->up[peer] = s->broken[peer] = false;
    for (size_t i = 0; i < s->set.asks; i++) {
        struct ask *a = &s->asks[i];
        if (a->state == ASK_FREE || a->state == ASK_FAILED) continue;
        if (peer == SERVICE_ENGINE) {
            if (a->state == ASK_RUNS && a->engine_id != 0) a->losses++;
            a->engine_id = 0;
            bool goes_on = a->state != ASK_MASK && (a->state != ASK_RUNS || a->r.n == 1);
            if (!goes_on) ask_fail(s, a, ERR_STATE, "engine: it ended and was started again; this was lost with it");
            else if (a->losses >= LOSSES_MAX)
                ask_fail(s, a, ERR_STATE, "engine: it ended each time it computed this; this is not tried again");
        } else if (a->state != ASK_MASK && !(a->state == ASK_RUNS && a->kind == SERVICE_EMBED)) {
            ask_fail(s, a, ERR_STATE, "text worker: it ended and was started again; this was lost with it");
        }
    }
    if (peer == SERVICE_TEXT) s->fifo_count = 0;
}

/* A peer is there: its facts are its first message. Answers that lost their engine are asked for again. */
static void peer_up(service *s, enum service_peer peer)
{
    s->up[peer] = s->changed = true;
    for (size_t i = 0; peer == SERVICE_ENGINE && i < s->set.asks; i++) {
        struct ask *a = &s->asks[i];
        if (a->state == ASK_RUNS && a->engine_id == 0 && !a->choices[0].engine_ended) ask_submit(s, a);
    }
}

/* ---- telling ---- */

static bool tell(struct service_event *out, enum service_event_kind kind, uint64_t id, uint32_t choice)
{
    *out = (struct service_event){ .kind = kind, .id = id, .choice = choice };
    return true;
}

/* Tells the end of a choice, and frees the ask with its last one. */
static bool tell_finished(service *s, struct ask *a, uint32_t choice, enum service_finish finish, uint32_t stop,
                          struct service_event *out)
{
    struct ask_choice *c = &a->choices[choice];
    tell(out, SERVICE_EVENT_FINISHED, a->id, choice);
    out->finish = finish;
    out->stop = stop;
    out->prompt_tok = (uint32_t)a->id_count - (a->r.n == 1 && a->r.want == HEARTH_GENERATE ? c->made : 0);
    out->cached_tok = c->cached_tok;
    out->made_tok = c->told;
    c->ended = true;
    if (--a->open == 0) ask_free(s, a);
    return true;
}

/* ORDER hearth_finish */
static enum service_finish finish_of(uint32_t finish)
{
    static const enum service_finish FINISHES[] = { [HEARTH_END] = SERVICE_END,
                                                    [HEARTH_LENGTH] = SERVICE_LENGTH,
                                                    [HEARTH_CONTEXT] = SERVICE_CONTEXT,
                                                    [HEARTH_CANCELLED] = SERVICE_CANCELLED,
                                                    [HEARTH_MASK_END] = SERVICE_END,
                                                    [HEARTH_DONE] = SERVICE_DONE };
    return FINISHES[finish];
}

static bool tell_failed(service *s, struct service_event *out)
{
    for (size_t i = 0; i < s->set.asks; i++) {
        struct ask *a = &s->asks[i];
        if (a->state != ASK_FAILED) continue;
        tell(out, SERVICE_EVENT_ERROR, a->id, HEARTH_ALL_CHOICES);
        out->code = a->code;
        out->text = view_of(a->text); /* the place keeps it until another ask comes */
        ask_free(s, a);
        return true;
    }
    assert(false);
    return false;
}

/* A hearth_error of either peer. Id 0 is the peer's own: it could not start. */
static int take_error(service *s, struct ask *a, view message, struct service_event *out)
{
    struct hearth_error f;
    if (message.len_bytes != sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    if (f.code > ERR_CANCELLED || memchr(f.text, '\0', sizeof f.text) == NULL) return -1;
    if (f.head.id == 0) {
        tell(out, SERVICE_EVENT_ERROR, 0, 0);
        out->code = (enum err_code)f.code;
        out->text = (view){ message.ptr + offsetof(struct hearth_error, text), strlen(f.text) };
        return 1;
    }
    if (a != NULL) {
        if (a->engine_id == f.head.id) a->engine_id = 0;
        ask_fail(s, a, (enum err_code)f.code, f.text);
    }
    return 0;
}

/* ---- from the text worker: 1 an event was told, 0 none, -1 nonsense ---- */

static int take_ids(service *s, struct ask *a, view message, struct service_event *out)
{
    struct text_ids f;
    if (message.len_bytes < sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    view tail = view_after(message, sizeof f);
    if (tail.len_bytes != f.count * sizeof(int32_t)) return -1;
    if (a == NULL || a->state != ASK_IDS) return 0;
    tell(out, SERVICE_EVENT_IDS, a->id, 0);
    out->in_reasoning = f.in_reasoning;
    if (a->kind == SERVICE_COUNT) {
        out->ids = (const int32_t *)(const void *)tail.ptr; /* the buffer is aligned, the head a multiple of 4 */
        out->id_count = f.count;
        ask_free(s, a);
        return 1;
    }
    size_t room = s->set.ctx_tok - a->id_count;
    if (f.count > room) {
        ask_fail(s, a, ERR_LIMIT, "prompt: more tokens than the context holds (--ctx)");
        return 0;
    }
    if (f.count > 0) memcpy(a->ids + a->id_count, tail.ptr, tail.len_bytes);
    a->id_count += f.count;
    out->ids = a->ids;
    out->id_count = a->id_count;
    a->state = ASK_RUNS;
    if (a->cancelled) {
        s->flushed = a;
        s->flush_choice = 0;
    } else if (s->up[SERVICE_ENGINE]) {
        ask_submit(s, a);
    }
    return 1;
}

static int take_delta(struct ask *a, view message, struct service_event *out)
{
    struct text_delta f;
    if (message.len_bytes < sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    view tail = view_after(message, sizeof f);
    if ((uint64_t)f.name_bytes + f.call_id_bytes + f.text_bytes != tail.len_bytes || f.part < TEXT_CONTENT ||
        f.part > TEXT_CALL_CUT)
        return -1;
    if (a == NULL || a->state != ASK_RUNS || f.head.choice >= a->r.n || a->choices[f.head.choice].ended) return 0;
    tell(out, SERVICE_EVENT_DELTA, a->id, f.head.choice);
    out->part = (enum text_part)f.part;
    out->call = f.call;
    out->name = (view){ tail.ptr, f.name_bytes };
    out->call_id = (view){ tail.ptr + f.name_bytes, f.call_id_bytes };
    out->text = (view){ tail.ptr + f.name_bytes + f.call_id_bytes, f.text_bytes };
    return 1;
}

/* The oldest token of the fifo has been told; with it the choice may end. */
static int take_fed(service *s, struct ask *a, view message, struct service_event *out)
{
    struct text_fed f;
    if (message.len_bytes != sizeof f || s->fifo_count == 0) return -1;
    memcpy(&f, message.ptr, sizeof f);
    struct fed *fed = &s->fifo[s->fifo_first];
    uint32_t choice = fed->token.head.choice;
    if (f.head.id != fed->id || f.head.choice != choice) return -1;
    s->fifo_first = (s->fifo_first + 1) % SERVICE_FIFO;
    s->fifo_count--;
    if (a == NULL || a->state != ASK_RUNS || a->choices[choice].ended) return 0;
    struct ask_choice *c = &a->choices[choice];
    struct service_event end = { .kind = SERVICE_EVENT_NONE };
    uint64_t id = a->id;
    if (fed->finish == 0) c->told++;
    if (f.stopped_tok != 0) {
        struct hearth_head head = { .id = a->engine_id, .choice = choice };
        if (a->engine_id != 0 && !c->engine_ended)
            service_send(s, SERVICE_ENGINE, HEARTH_CANCEL, &head, sizeof head, NULL, 0);
        tell_finished(s, a, choice, SERVICE_STOP, f.stop, &end);
    } else if (fed->finish != 0) {
        tell_finished(s, a, choice, finish_of(fed->finish), 0, &end);
    }
    if (fed->finish != 0) {
        *out = end;
        return end.kind != SERVICE_EVENT_NONE;
    }
    s->next = end;
    tell(out, SERVICE_EVENT_TOKEN, id, choice);
    out->token = fed->token;
    out->rivals = fed->rivals; /* its place is taken again only by a later poll */
    return 1;
}

static int take_bytes(service *s, struct ask *a, view message, struct service_event *out)
{
    struct text_bytes f;
    if (message.len_bytes < sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    view tail = view_after(message, sizeof f);
    if (tail.len_bytes != (uint64_t)f.count * sizeof(uint32_t) + f.bytes) return -1;
    if (a == NULL || a->state != ASK_BYTES) return 0;
    const uint32_t *lengths = (const uint32_t *)(const void *)tail.ptr;
    uint64_t sum = 0;
    for (size_t i = 0; i < f.count; i++) sum += lengths[i];
    if (f.count > 0 && sum != f.bytes) return -1;
    tell(out, SERVICE_EVENT_BYTES, a->id, 0);
    out->lengths = lengths;
    out->length_count = f.count;
    out->text = view_after(tail, f.count * sizeof *lengths);
    ask_free(s, a);
    return 1;
}

static int take_table(service *s, struct ask *a, view message)
{
    struct text_table f;
    if (message.len_bytes < sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    view tail = view_after(message, sizeof f);
    if (tail.len_bytes != f.bytes) return -1;
    if (a == NULL || a->state != ASK_TABLE) return 0;
    struct hearth_mask mask = { .head.id = a->id, .tenant = a->r.tenant, .bytes = f.bytes };
    a->state = ASK_MASK;
    if (!service_send(s, SERVICE_ENGINE, HEARTH_MASK_LOAD, &mask, sizeof mask, &tail, 1))
        ask_fail(s, a, ERR_STATE, "engine: it is being started");
    return 0;
}

static int take_text(service *s, uint32_t kind, view message, struct service_event *out)
{
    struct hearth_head head;
    if (message.len_bytes < sizeof head) return -1;
    memcpy(&head, message.ptr, sizeof head);
    struct ask *a = ask_find(s, head.id);
    switch ((enum text_event_kind)kind) {
    case TEXT_FACTS:
        if (message.len_bytes != sizeof s->text) return -1;
        memcpy(&s->text, message.ptr, sizeof s->text);
        s->text.family[sizeof s->text.family - 1] = '\0';
        if (s->text.end_count > HEARTH_STOP_TOKENS_MAX) return -1;
        peer_up(s, SERVICE_TEXT);
        return 0;
    case TEXT_IDS: return take_ids(s, a, message, out);
    case TEXT_DELTA: return take_delta(a, message, out);
    case TEXT_FED: return take_fed(s, a, message, out);
    case TEXT_BYTES: return take_bytes(s, a, message, out);
    case TEXT_TABLE: return take_table(s, a, message);
    case TEXT_ERROR: return take_error(s, a, message, out);
    }
    return -1;
}

/* ---- from the engine ---- */

/* Sends tokens, or the end behind them, through the text worker. */
static void feed(service *s, struct ask *a, const struct fed *fed)
{
    struct text_feed f = { .head = { .id = a->id, .choice = fed->token.head.choice }, .count = fed->finish == 0,
                           .finish = fed->finish };
    view id = { (const uint8_t *)&fed->token.token, f.count * sizeof fed->token.token };
    if (!service_send(s, SERVICE_TEXT, TEXT_FEED, &f, sizeof f, &id, 1)) {
        ask_fail(s, a, ERR_STATE, "text worker: it can not follow");
        return;
    }
    assert(s->fifo_count < SERVICE_FIFO);
    if (s->fifo_count == 0) s->fifo_first = 0; /* few places are touched while the text worker keeps up */
    s->fifo[(s->fifo_first + s->fifo_count++) % SERVICE_FIFO] = *fed;
}

static int take_token(service *s, struct ask *a, view message)
{
    struct fed fed = { .finish = 0 };
    if (message.len_bytes < sizeof fed.token) return -1;
    memcpy(&fed.token, message.ptr, sizeof fed.token);
    view tail = view_after(message, sizeof fed.token);
    if (fed.token.top_count > HEARTH_TOP_MAX || tail.len_bytes != fed.token.top_count * sizeof *fed.rivals) return -1;
    if (tail.len_bytes > 0) memcpy(fed.rivals, tail.ptr, tail.len_bytes);
    if (a == NULL || a->state != ASK_RUNS) return 0;
    if (fed.token.head.choice >= a->r.n || a->choices[fed.token.head.choice].engine_ended) return -1;
    struct ask_choice *c = &a->choices[fed.token.head.choice];
    if (fed.token.index != c->made) return -1; /* lost or crossed: never shorter in silence */
    if (c->ended) return 0;
    c->made++;
    a->losses = 0;
    if (a->r.n == 1) {
        if (a->id_count >= s->set.ctx_tok) return -1;
        a->ids[a->id_count++] = fed.token.token;
    }
    fed.id = a->id;
    feed(s, a, &fed);
    return 0;
}

static int take_finished(service *s, struct ask *a, view message, struct service_event *out)
{
    struct hearth_finished f;
    if (message.len_bytes != sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    if (f.finish < HEARTH_END || f.finish > HEARTH_DONE) return -1;
    if (a == NULL || a->state != ASK_RUNS) return 0;
    if (f.head.choice >= a->r.n || a->choices[f.head.choice].engine_ended) return -1;
    struct ask_choice *c = &a->choices[f.head.choice];
    if (!c->ended && a->r.want == HEARTH_GENERATE && f.made_tok != c->made) return -1;
    c->engine_ended = true;
    c->cached_tok = f.cached_tok;
    if (c->ended) return 0;
    if (a->r.want != HEARTH_GENERATE)
        return tell_finished(s, a, f.head.choice, finish_of(f.finish), 0, out);
    struct fed fed = { .id = a->id, .finish = f.finish, .token.head.choice = f.head.choice };
    feed(s, a, &fed);
    return 0;
}

static int take_embedding(struct ask *a, view message, struct service_event *out)
{
    struct hearth_embedding f;
    if (message.len_bytes < sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    view tail = view_after(message, sizeof f);
    if (tail.len_bytes != f.width * sizeof(float)) return -1;
    if (a == NULL || a->state != ASK_RUNS) return 0;
    tell(out, SERVICE_EVENT_EMBEDDING, a->id, 0);
    out->values = (const float *)(const void *)tail.ptr;
    out->value_count = f.width;
    return 1;
}

static int take_progress(struct ask *a, view message, struct service_event *out)
{
    struct hearth_progress f;
    if (message.len_bytes != sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    if (a == NULL || a->state != ASK_RUNS || f.head.choice >= a->r.n) return 0;
    a->choices[f.head.choice].cached_tok = f.cached_tok;
    tell(out, SERVICE_EVENT_PROGRESS, a->id, f.head.choice);
    out->progress = f;
    return 1;
}

static int take_differs(struct ask *a, view message, struct service_event *out)
{
    struct hearth_differs f;
    if (message.len_bytes != sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    if (a == NULL || a->state != ASK_RUNS) return 0;
    tell(out, SERVICE_EVENT_DIFFERS, a->id, 0);
    out->differs = f;
    return 1;
}

/* What sparse layers chose: told as it is, once every number is in the range that the facts gave. */
static int take_experts(const service *s, view message, struct service_event *out)
{
    struct hearth_experts f;
    if (message.len_bytes < sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    view tail = view_after(message, sizeof f);
    if (f.layer >= s->engine.layers || f.count_tok > s->engine.chunk_tok || f.top_k != s->engine.top_k ||
        s->engine.experts > EXPERTS_MAX || f.top_k > EXPERTS_USED_MAX || f.alone > f.count_tok)
        return -1;
    size_t positions = f.count_tok * sizeof(uint32_t), chosen = (size_t)f.count_tok * f.top_k;
    if (tail.len_bytes != positions + chosen * sizeof(uint16_t)) return -1;
    tell(out, SERVICE_EVENT_EXPERTS, 0, 0);
    out->experts = f;
    out->positions = (const uint32_t *)(const void *)tail.ptr; /* the buffer is aligned, the head a multiple of 8 */
    out->chosen = (const uint16_t *)(const void *)(tail.ptr + positions);
    for (size_t i = 0; i < chosen; i++)
        if (out->chosen[i] >= s->engine.experts) return -1;
    return 1;
}

static int take_kept_error(view message, struct service_event *out)
{
    struct hearth_error f;
    if (message.len_bytes != sizeof f) return -1;
    memcpy(&f, message.ptr, sizeof f);
    if (f.code > ERR_CANCELLED || memchr(f.text, '\0', sizeof f.text) == NULL) return -1;
    tell(out, SERVICE_EVENT_ERROR, f.head.id, 0);
    out->code = (enum err_code)f.code;
    out->text = (view){ message.ptr + offsetof(struct hearth_error, text), strlen(f.text) };
    return 1;
}

/* A message about the sequence that is saved or restored: the caller knows what it asked for. */
static int take_kept(const service *s, uint32_t kind, view message, struct service_event *out)
{
    struct hearth_kv_open open;
    struct hearth_kv_piece piece;
    struct hearth_head head;
    memcpy(&head, message.ptr, sizeof head);
    if (s->kept == 0 || head.id != s->kept) return 0;
    tell(out, SERVICE_EVENT_KEPT, head.id, 0);
    out->kept_kind = kind;
    if (kind == HEARTH_KV_DONE) return message.len_bytes == sizeof head ? 1 : -1;
    if (kind == HEARTH_KV_OPEN) {
        if (message.len_bytes != sizeof open) return -1;
        memcpy(&open, message.ptr, sizeof open);
        out->kept_tok = open.count;
        out->kept_bytes = open.bytes;
        return 1;
    }
    if (message.len_bytes < sizeof piece) return -1;
    memcpy(&piece, message.ptr, sizeof piece);
    out->kept_at = piece.at;
    out->text = view_after(message, sizeof piece);
    return piece.bytes == out->text.len_bytes ? 1 : -1;
}

static int take_engine(service *s, uint32_t kind, view message, struct service_event *out)
{
    struct hearth_head head;
    if (message.len_bytes < sizeof head) return -1;
    memcpy(&head, message.ptr, sizeof head);
    struct ask *a = kind == HEARTH_MASK_READY ? ask_find(s, head.id) : ask_of_engine(s, head.id);
    if (kind == HEARTH_ERROR && a == NULL) a = ask_find(s, head.id); /* a table's number is the ask's own */
    if (kind == HEARTH_ERROR && s->kept != 0 && head.id == s->kept) return take_kept_error(message, out);
    switch ((enum hearth_event_kind)kind) {
    case HEARTH_LOADED:
        if (message.len_bytes != sizeof s->engine) return -1;
        memcpy(&s->engine, message.ptr, sizeof s->engine);
        s->engine.arch[sizeof s->engine.arch - 1] = s->engine.tier[sizeof s->engine.tier - 1] = '\0';
        peer_up(s, SERVICE_ENGINE);
        return 0;
    case HEARTH_PROGRESS: return take_progress(a, message, out);
    case HEARTH_DIFFERS: return take_differs(a, message, out);
    case HEARTH_TOKEN: return take_token(s, a, message);
    case HEARTH_FINISHED: return take_finished(s, a, message, out);
    case HEARTH_ERROR: return take_error(s, a, message, out);
    case HEARTH_EMBEDDING: return take_embedding(a, message, out);
    case HEARTH_EXPERTS: return take_experts(s, message, out);
    case HEARTH_MASK_READY:
        if (message.len_bytes != sizeof head) return -1;
        if (a == NULL || a->state != ASK_MASK) return 0;
        tell(out, SERVICE_EVENT_MASK, a->id, 0);
        out->mask = a->id;
        ask_free(s, a);
        return 1;
    case HEARTH_KV_OPEN:
    case HEARTH_KV_PIECE:
    case HEARTH_KV_DONE: return take_kept(s, kind, message, out);
    }
    return -1;
}

/* ---- polling ---- */

typedef int take_fn(service *s, uint32_t kind, view message, struct service_event *out);

/* One message of a peer: 1 an event, 0 a message without one, -1 nothing there. */
static int hear(service *s, enum service_peer peer, take_fn *take, struct service_event *out)
{
    uint32_t kind;
    size_t bytes;
    enum ring_status status = ring_receive(&s->rings->from[peer], &kind, s->in[peer], &bytes);
    if (status == RING_RESTARTED) {
        peer_gone(s, peer);
        return 0;
    }
    if (status == RING_EMPTY || (status == RING_BROKEN && s->broken[peer])) return -1;
    if (s->broken[peer]) return 0;
    s->heard[peer] = true;
    int told = status == RING_OK ? take(s, kind, (view){ s->in[peer], bytes }, out) : -1;
    if (told >= 0) return told;
    peer_broken(s, peer);
    return 0;
}

/* A cancelled ask that never reached the engine: its choices end one by one. */
static bool flush(service *s, struct service_event *out)
{
    struct ask *a = s->flushed;
    uint64_t id = a->id;
    struct hearth_head head = { .id = id, .choice = HEARTH_ALL_CHOICES };
    if (s->flush_choice == 0) service_send(s, SERVICE_TEXT, TEXT_CLOSE, &head, sizeof head, NULL, 0);
    tell_finished(s, a, s->flush_choice++, SERVICE_CANCELLED, 0, out);
    if (ask_find(s, id) == NULL) s->flushed = NULL;
    return true;
}

/* The orchestrator is who started this process: its messages are well formed, or it is another version's. */
static bool hear_news(service *s, struct service_event *out)
{
    uint32_t kind;
    size_t len;
    struct service_news_message m;
    enum ring_status status;
    while ((status = ring_receive(&s->rings->news, &kind, s->in[SERVICE_TEXT], &len)) == RING_RESTARTED) {}
    if (status != RING_OK || len != sizeof m) return false;
    memcpy(&m, s->in[SERVICE_TEXT], sizeof m);
    if (m.code > ERR_CANCELLED || memchr(m.text, '\0', sizeof m.text) == NULL) return false;
    memcpy(s->news_text, m.text, sizeof s->news_text);
    tell(out, SERVICE_EVENT_NEWS, 0, 0);
    out->news = kind;
    out->code = (enum err_code)m.code;
    out->text = view_of(s->news_text);
    return true;
}

bool service_poll(service *s, struct service_event *out)
{
    if (s->next.kind != SERVICE_EVENT_NONE) {
        *out = s->next;
        s->next.kind = SERVICE_EVENT_NONE;
        return true;
    }
    for (;;) {
        if (s->flushed != NULL) return flush(s, out);
        if (s->failed > 0) return tell_failed(s, out);
        if (s->changed) {
            s->changed = false;
            return tell(out, SERVICE_EVENT_CHANGED, 0, 0);
        }
        if (hear_news(s, out)) return true;
        s->text_bell = ring_bell(&s->rings->from[SERVICE_TEXT]);
        int text = hear(s, SERVICE_TEXT, take_text, out);
        if (text > 0) return true;
        int engine = s->fifo_count < SERVICE_FIFO ? hear(s, SERVICE_ENGINE, take_engine, out) : -1;
        if (engine > 0) return true;
        if (text < 0 && engine < 0) return false;
    }
}

/* ---- silence ---- */

static bool engine_works_on(const struct ask *a)
{
    bool works = a->state == ASK_MASK;
    for (size_t i = 0; a->state == ASK_RUNS && a->engine_id != 0 && i < a->r.n; i++)
        works = works || !a->choices[i].engine_ended;
    return works;
}

/* Whether something is asked of a peer that it has not answered. While the fifo is full nobody hears the engine. */
static bool has_work(const service *s, enum service_peer peer)
{
    if (peer == SERVICE_TEXT && s->fifo_count > 0) return true;
    if (peer == SERVICE_ENGINE && s->fifo_count == SERVICE_FIFO) return false;
    for (size_t i = 0; i < s->set.asks; i++) {
        const struct ask *a = &s->asks[i];
        bool text = a->state == ASK_IDS || a->state == ASK_BYTES || a->state == ASK_TABLE;
        if (peer == SERVICE_TEXT ? text : engine_works_on(a)) return true;
    }
    return false;
}

void service_watch(service *s, uint64_t now_ms)
{
    uint64_t limit_ms = s->set.silent_ms != 0 ? s->set.silent_ms : SERVICE_SILENT_MS;
    if (now_ms - s->watched_ms < limit_ms / 8) return; /* it looks at every ask: not with each token */
    s->watched_ms = now_ms;
    for (int peer = 0; peer < SERVICE_PEERS; peer++) {
        uint32_t which = (uint32_t)peer;
        bool waits = s->up[peer] && !s->heard[peer] && has_work(s, (enum service_peer)peer);
        s->heard[peer] = false;
        if (!waits || s->quiet_ms[peer] == 0) s->quiet_ms[peer] = waits ? now_ms : 0;
        if (!waits || now_ms - s->quiet_ms[peer] < limit_ms) continue;
        s->quiet_ms[peer] = now_ms;
        (void)ring_send(&s->rings->notices, SERVICE_PEER_SILENT, (view){ (const uint8_t *)&which, sizeof which });
    }
}
