/* Which models are there, and how they come and go: see served.h.
 *
 * A model that is asked for and not in memory:
 *
 *   DOWN --want--> WANTED --its facts--> UP --nobody asks--> LEAVING --> DOWN
 *
 * One at a time is wished for, the one whose oldest ask came first. Where there is no room beside the others, the one
 * that is idle longest goes; while none is idle, asks that came after the wish's oldest one wait, so that one of them
 * becomes idle: two models that have no room beside each other take turns in the order of arrival. */
#include "server/served_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- facts ---- */

void models_facts(struct one *m)
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

size_t models_list(void *self, const struct model_facts **facts)
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
void models_came(served *s, uint32_t model)
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
        record_unchain(s, r);
        record_leave(s, r);
        if (r->step == STEP_WAITS) m->waiting--;
        r->step = STEP_REFUSED;
        s->told++;
    }
}

void models_news(served *s, uint32_t model, const struct service_event *event)
{
    struct one *m = &s->models[model];
    switch ((enum service_news)event->news) {
    case SERVICE_LOADED:
        m->counted = true;
        models_came(s, model);
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

void models_tend(served *s)
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
