/* Models behind their processes: see served.h. */
#include "cmd/served.h"

#include "base/checked.h"
#include "base/limits.h"
#include "cmd/rules.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void show_load(void *arg, size_t done_bytes, size_t all_bytes)
{
    progress_show(&((struct served *)arg)->progress, done_bytes, all_bytes);
}

static void log_line(void *arg, const char *line)
{
    progress_end(&((struct served *)arg)->progress);
    say("%s", line);
}

/* Where memory cut the context that was wished for. */
static void say_context(const struct served *s, const struct compute_options *c)
{
    enum { CTX_DEFAULT_TOK = 8192 };
    size_t ctx = s->engine.ctx_tok, train = s->engine.ctx_train_tok;
    size_t wished = c->ctx > 0 ? c->ctx : min_size(train, CTX_DEFAULT_TOK);
    if (ctx < wished) say("context: %zu tokens instead of %zu, to fit the memory (--memory, --ctx)", ctx, wished);
}

/* Until both workers have told their facts, or one has refused. */
static bool await_ready(struct served *s, err *e)
{
    const struct text_facts *text;
    const struct hearth_facts *engine;
    struct service_event event;
    while (!service_ready(s->service, &text, &engine))
        if (!served_next(s, -1, &event, e) && e->code != ERR_NONE) return false;
    s->text = *text;
    s->engine = *engine;
    return true;
}

static bool start(struct served *s, const char *word, const struct compute_options *c, const struct jail_choice *jail,
                  view source, err *e)
{
    struct crew_settings set = { .path = s->path, .template_source = source, .no_jail = jail->no_jail,
                                 .progress = show_load, .log = log_line, .arg = s };
    struct service_settings asks = { .asks = 1, .ctx_tok = (uint32_t)(c->ctx > 0 ? c->ctx : CTX_TOK_MAX) };
    struct kernels kernels;
    struct policy policy;
    if (!compute_settings(c, &set.engine, &set.cpus, e)) return false;
    set.engine.sequences = 1;
    set.engine.mask_bytes = jail->mask_bytes;
    set.engine.experts = jail->experts != NULL && expert_log_wanted(jail->experts, jail->stats);
    s->kv = (enum kv_type)set.engine.kv;
    s->activations_f32 = set.engine.activations_f32 != 0;
    if (!model_find(word, s->path, e) || !kernels_bind(&kernels, c->cpu, e) ||
        !rules_load(jail->policy, jail->no_jail, &s->arena, &policy, e) || !policy_allows(&policy, s->path, e) ||
        !rules_prove(&policy, jail->no_jail, e))
        return false;
    set.require = rules_require(&policy, jail->no_jail);
    if (!crew_start(&s->crew, &set, e) || !crew_attach(s->crew, &s->rings, e) ||
        !service_new(&s->service, &s->rings, &asks, e))
        return false;
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->event_fd < 0) return fail(e, ERR_IO, ERR_NO_OFFSET, "eventfd: %s", strerror(errno));
    if (!service_bells(s->service, s->event_fd, e) || !await_ready(s, e)) return false;
    rules_say_missing(&policy, crew_report(s->crew, SERVICE_ENGINE));
    if (jail->experts != NULL &&
        !expert_log_begin(&s->experts, jail->experts, jail->stats, s->engine.layers, s->engine.experts, s->engine.top_k,
                          0, &s->arena, e))
        return false;
    return true;
}

bool served_open(struct served *s, const char *word, const struct compute_options *c, const struct jail_choice *jail,
                 view source, err *e)
{
    *s = (struct served){ .event_fd = -1, .progress.what = "loading" };
    bool good = arena_new(&s->arena, COMMAND_ARENA_BYTES, e) && start(s, word, c, jail, source, e);
    progress_end(&s->progress);
    if (good) say_context(s, c);
    else served_close(s);
    return good;
}

bool served_experts_end(struct served *s, bool summary, err *e)
{
    return expert_log_end(&s->experts, summary, e);
}

void served_close(struct served *s)
{
    expert_log_abandon(&s->experts);
    service_free(s->service);
    crew_detach(&s->rings);
    crew_stop(s->crew);
    if (s->event_fd >= 0 && s->arena.base != NULL) close(s->event_fd);
    arena_free(&s->arena);
    *s = (struct served){ .event_fd = -1 };
}

/* Experts are of no one ask: whoever waits for an event of another kind never sees them. */
static void keep_experts(struct served *s, const struct service_event *event)
{
    const struct hearth_experts *f = &event->experts;
    expert_log_take(&s->experts, &(struct usage_seen){ .layer = f->layer, .count = f->count_tok,
                                                       .positions = event->positions, .experts = event->chosen,
                                                       .alone = f->alone, .shortlist = f->shortlist,
                                                       .refined = f->refined, .rescored = f->rescored,
                                                       .bytes = f->bytes });
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool served_next(struct served *s, int wait_ms, struct service_event *out, err *e)
{
    for (bool ended = false;;) {
        if (service_poll(s->service, out)) {
            if (out->kind == SERVICE_EVENT_EXPERTS) {
                keep_experts(s, out);
                continue;
            }
            if (out->kind != SERVICE_EVENT_ERROR || out->id != 0) return true;
            return fail(e, out->code, ERR_NO_OFFSET, "%s: %.*s", s->path, (int)out->text.len_bytes,
                        (const char *)out->text.ptr);
        }
        int workers[SERVICE_PEERS];
        crew_watch(s->crew, workers);
        struct pollfd fds[] = { { .fd = s->event_fd, .events = POLLIN },
                                { .fd = workers[SERVICE_TEXT], .events = POLLIN },
                                { .fd = workers[SERVICE_ENGINE], .events = POLLIN } };
        enum { LOOK_MS = 20, WATCH_MS = 1000 }; /* the crew is looked at: a worker is not there, or broken; silent */
        bool waits = service_ready(s->service, NULL, NULL);
        int got = poll(fds, 3, !waits ? LOOK_MS : wait_ms < 0 ? WATCH_MS : wait_ms);
        uint64_t rings;
        if (fds[0].revents & POLLIN && read(s->event_fd, &rings, sizeof rings) < 0) continue;
        /* What a worker said before it ended comes first, for it may be why: one more look at the rings. */
        bool ends = (fds[1].revents | fds[2].revents) & POLLIN;
        if (!ends && !service_ready(s->service, NULL, NULL) && !crew_tend(s->crew, e)) return false;
        if (ends && ended && !crew_tend(s->crew, e)) return false;
        ended = ends && !ended;
        if (got == 0 && waits) {
            service_watch(s->service, now_ms());
            if (!crew_tend(s->crew, e)) return false;
        }
        if (got <= 0 && wait_ms >= 0 && waits) return false;
    }
}

/* ---- drawing ---- */

/* "TOKEN=VALUE": ranges are the engine's to check. */
static bool bias_parse(const char *text, struct hearth_bias *out, err *e)
{
    view all = view_of(text);
    const uint8_t *equals = memchr(text, '=', all.len_bytes);
    uint64_t token = 0;
    double value = 0;
    bool good = equals != NULL;
    if (good) {
        size_t at = (size_t)(equals - all.ptr);
        good = text_u64((view){ all.ptr, at }, &token) && token < VOCAB_MAX &&
               text_double(view_after(all, at + 1), &value);
    }
    if (!good)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "--logit-bias: %.60s, expected TOKEN=NUMBER or TOKEN=-inf", text);
    *out = (struct hearth_bias){ (int32_t)token, (float)value };
    return true;
}

bool served_pieces(struct served *s, const int32_t *ids, size_t count, arena *a, view *text, const uint32_t **lengths,
                   err *e)
{
    struct service_ask ask = { .kind = SERVICE_PIECES, .ids = ids, .id_count = count, .plain_flags = TEXT_SPECIAL };
    struct service_event event;
    uint64_t id;
    if (!service_ask(s->service, &ask, &id, e)) return false;
    while (served_next(s, -1, &event, e)) {
        if (event.id != id) continue;
        if (event.kind != SERVICE_EVENT_BYTES)
            return fail(e, event.code, ERR_NO_OFFSET, "%.*s", (int)event.text.len_bytes, (const char *)event.text.ptr);
        uint32_t *copy = ARENA_ARRAY(a, uint32_t, event.length_count, "lengths", e);
        if (copy == NULL || event.length_count != count || !arena_copy(a, event.text, text, "text", e)) return false;
        memcpy(copy, event.lengths, count * sizeof *copy);
        *lengths = copy;
        return true;
    }
    return false;
}

/* Tokens that hold a line end, a colon, a quote or a star: the method's own choice of where a repetition is form. */
static bool breakers_find(struct served *s, struct service_ask *ask, err *e)
{
    size_t vocab = min_size(s->text.tokens, s->engine.vocab), count = 0, mark = s->arena.used_bytes;
    int32_t *all = ARENA_ARRAY(&s->arena, int32_t, vocab, "DRY breakers", e);
    const uint32_t *lengths;
    view text;
    if (all == NULL) return false;
    for (size_t i = 0; i < vocab; i++) all[i] = (int32_t)i;
    if (!served_pieces(s, all, vocab, &s->arena, &text, &lengths, e)) return false;
    for (size_t i = 0; i < vocab; i++) {
        bool breaks = false;
        for (size_t j = 0; j < lengths[i]; j++)
            breaks = breaks || (text.ptr[j] != '\0' && strchr("\n:\"*", text.ptr[j]) != NULL);
        text = view_after(text, lengths[i]);
        if (breaks) all[count++] = (int32_t)i;
    }
    arena_rewind(&s->arena, mark + vocab * sizeof *all + _Alignof(int32_t));
    ask->breakers = all;
    ask->breaker_count = count;
    return true;
}

bool served_draws(struct served *s, const struct draw_options *d, struct service_ask *ask, err *e)
{
    ask->sampling = (struct hearth_sampling){ .seed = d->seed, .temperature = d->temperature, .top_p = d->top_p,
                                              .min_p = d->min_p, .typical_p = d->typical_p,
                                              .repetition_penalty = d->repeat_penalty,
                                              .presence_penalty = d->presence_penalty,
                                              .frequency_penalty = d->frequency_penalty,
                                              .dry_multiplier = d->dry_multiplier, .dry_base = d->dry_base,
                                              .top_k = (uint32_t)d->top_k,
                                              .penalty_window = (uint32_t)d->penalty_window,
                                              .dry_allowed = (uint32_t)d->dry_allowed };
    view *stops = ARENA_ARRAY(&s->arena, view, d->stops.count, "stop texts", e);
    struct hearth_bias *biases = ARENA_ARRAY(&s->arena, struct hearth_bias, d->bias.count, "logit biases", e);
    if (stops == NULL || biases == NULL) return false;
    for (size_t i = 0; i < d->stops.count; i++) stops[i] = view_of(d->stops.items[i]);
    for (size_t i = 0; i < d->bias.count; i++)
        if (!bias_parse(d->bias.items[i], &biases[i], e)) return false;
    ask->stops = stops;
    ask->stop_count = d->stops.count;
    ask->biases = biases;
    ask->bias_count = d->bias.count;
    return d->dry_multiplier == 0.0f || breakers_find(s, ask, e);
}
