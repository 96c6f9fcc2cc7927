/* From logits to tokens and events. Every sequence that is ready draws, one a thread at a time, each with its own
 * settings; then what they drew is told in the order in which they started. */
#include "engine/engine_part.h"

#include "base/limits.h"

#include <assert.h>
#include <stdio.h>

static struct hearth_head head_of(uint64_t id, uint32_t choice)
{
    return (struct hearth_head){ .id = id, .choice = choice };
}

static void emit(const engine *en, uint32_t kind, const void *event, size_t bytes)
{
    en->emit(en->arg, kind, (view){ event, bytes });
}

/* ---- events ---- */

void emit_loaded(engine *en, size_t plan_bytes)
{
    const struct hyper *h = &en->m->hyper;
    struct hearth_facts f = { .vocab = h->vocab, .width = h->width, .layers = h->layers,
                              .ctx_train_tok = h->ctx_train_tok, .ctx_tok = en->set.ctx_tok,
                              .cache_tok = en->set.cache_tok, .weights_bytes = en->m->weights_bytes,
                              .plan_bytes = plan_bytes, .sequences = en->set.sequences,
                              .chunk_tok = en->set.chunk_tok, .threads = en->set.threads,
                              .arithmetic = HEARTH_ARITHMETIC };
    f.experts = (uint32_t)h->experts.count;
    f.top_k = (uint32_t)h->experts.top_k;
    memcpy(f.identity, en->m->identity, sizeof f.identity);
    snprintf(f.arch, sizeof f.arch, "%s", h->arch->name);
    snprintf(f.tier, sizeof f.tier, "%s", en->k->tier);
    emit(en, HEARTH_LOADED, &f, sizeof f);
}

/* Frees the request once every choice has been told its end. */
static void close_choice(struct asked *q, uint32_t choice)
{
    q->ended |= UINT64_C(1) << choice;
    uint64_t all = q->r.n == 64 ? UINT64_MAX : (UINT64_C(1) << q->r.n) - 1;
    if (q->ended == all) q->r.head.id = 0;
}

void emit_finished(engine *en, struct asked *q, uint32_t choice, enum hearth_finish finish, size_t cached, size_t made)
{
    struct hearth_finished f = { .head = head_of(q->r.head.id, choice), .finish = (uint32_t)finish,
                                 .prompt_tok = q->r.prompt_tok - q->r.answer_tok, .cached_tok = (uint32_t)cached,
                                 .made_tok = (uint32_t)made };
    close_choice(q, choice);
    emit(en, HEARTH_FINISHED, &f, sizeof f);
}

void emit_error(engine *en, uint64_t id, const err *why)
{
    struct hearth_error f = { .head = head_of(id, HEARTH_ALL_CHOICES), .code = (uint32_t)why->code };
    _Static_assert(sizeof f.text == ERR_TEXT_BYTES, "an error's line fits");
    memcpy(f.text, why->text, sizeof f.text);
    f.text[sizeof f.text - 1] = '\0';
    emit(en, HEARTH_ERROR, &f, sizeof f);
}

void emit_progress(engine *en, const struct sequence *s)
{
    struct hearth_progress f = { .head = head_of(s->of->r.head.id, s->choice), .done_tok = (uint32_t)s->kv.len_tok,
                                 .all_tok = (uint32_t)s->count, .cached_tok = (uint32_t)s->cached };
    emit(en, HEARTH_PROGRESS, &f, sizeof f);
}

void emit_differs(engine *en, const struct asked *q, uint32_t choice, const struct sequence *kept, size_t at)
{
    struct hearth_differs f = { .head = head_of(q->r.head.id, choice), .at = (uint32_t)at, .kept = kept->tokens[at],
                                .asked = q->ids[at], .kept_tok = (uint32_t)kept->kv.len_tok };
    emit(en, HEARTH_DIFFERS, &f, sizeof f);
}

size_t experts_event_bytes(size_t tokens, size_t top_k)
{
    return sizeof(struct hearth_experts) + tokens * (sizeof(uint32_t) + top_k * sizeof(uint16_t));
}

void emit_experts(void *arg, const struct expert_event *event)
{
    engine *en = arg;
    const struct usage_seen *s = &en->seen;
    size_t top_k = en->m->hyper.experts.top_k, positions = event->token_count * sizeof *s->positions;
    usage_read(&en->seen, top_k, event);
    struct hearth_experts f = { .layer = (uint32_t)s->layer, .count_tok = (uint32_t)s->count, .top_k = (uint32_t)top_k,
                                .alone = s->alone, .shortlist = s->shortlist, .refined = s->refined,
                                .rescored = s->rescored, .bytes = s->bytes };
    memcpy(en->told, &f, sizeof f);
    memcpy(en->told + sizeof f, s->positions, positions);
    memcpy(en->told + sizeof f + positions, s->experts, s->count * top_k * sizeof *s->experts);
    emit(en, HEARTH_EXPERTS, en->told, experts_event_bytes(s->count, top_k));
}

/* ---- ends ---- */

void sequence_finish(engine *en, struct sequence *s, enum hearth_finish finish)
{
    struct asked *q = s->of;
    size_t made = s->count - s->begin, cached = s->cached;
    uint32_t choice = s->choice;
    sequence_release(en, s);
    emit_finished(en, q, choice, finish, cached, made);
}

static bool is_stop(const struct asked *q, int32_t token)
{
    for (size_t i = 0; i < q->r.stop_count; i++)
        if (q->stops[i] == token) return true;
    return false;
}

/* ---- draws ---- */

static void draw_task(void *arg, size_t tile, size_t thread)
{
    const engine *en = arg;
    struct sequence *s = en->drawing[tile];
    const struct asked *q = s->of;
    sampler *own = en->samplers[thread];
    const float *logits = graph_logits(en->graph, s->row);
    struct sample_settings set = q->sample;
    set.seed += s->choice; /* wraps */
    sampler_use(own, &set);
    const uint64_t *mask = masks_fill(en, s, thread);
    if (s->masked && s->stuck) return;
    sampler_allow(own, mask);
    s->drawn = sampler_draw(own, logits, s->tokens, s->count, s->count, q->r.logprobs ? &s->logprob : NULL);
    if (q->r.top_count > 0) sample_top(logits, en->m->hyper.vocab, q->r.top_count, s->rivals);
}

static void emit_token(const engine *en, const struct sequence *s)
{
    const struct asked *q = s->of;
    struct {
        struct hearth_token token;
        struct hearth_rival rivals[HEARTH_TOP_MAX];
    } f;
    _Static_assert(sizeof(struct hearth_rival) == sizeof(struct token_logprob), "the same two numbers");
    f.token = (struct hearth_token){ .head = head_of(q->r.head.id, s->choice), .token = s->drawn,
                                     .index = (uint32_t)(s->count - s->begin), .top_count = q->r.top_count,
                                     .logprob = q->r.logprobs ? s->logprob : 0.0f };
    memcpy(f.rivals, s->rivals, q->r.top_count * sizeof *f.rivals);
    emit(en, HEARTH_TOKEN, &f, sizeof f.token + q->r.top_count * sizeof *f.rivals);
}

static void take_draw(engine *en, struct sequence *s)
{
    const struct asked *q = s->of;
    if (s->masked && s->stuck) { /* whole, and no token ends it */
        sequence_finish(en, s, HEARTH_MASK_END);
        return;
    }
    bool whole = masks_accept(en, s);
    emit_token(en, s);
    s->tokens[s->count++] = s->drawn;
    if (is_stop(q, s->drawn)) sequence_finish(en, s, HEARTH_END);
    else if (whole) sequence_finish(en, s, HEARTH_MASK_END);
    else if (q->r.max_tok > 0 && s->count - s->begin >= q->r.max_tok) sequence_finish(en, s, HEARTH_LENGTH);
    else if (s->count == en->set.ctx_tok) sequence_finish(en, s, HEARTH_CONTEXT);
}

void draw_all(engine *en)
{
    if (en->drawing_count == 0) return;
    team_run(en->team, en->drawing_count, draw_task, en);
    for (size_t i = 0; i < en->drawing_count; i++) take_draw(en, en->drawing[i]);
}

/* ---- embeddings ---- */

/* In order of position, in f64: the same sum for any chunks. */
void embed_rows(engine *en, struct sequence *s, size_t rows)
{
    const struct asked *q = s->of;
    size_t width = en->m->hyper.width;
    for (size_t r = 0; r < rows; r++) {
        const float *hidden = graph_hidden(en->graph, s->row + r);
        for (size_t i = 0; i < width; i++) s->sum[i] = s->sum[i] + (double)hidden[i];
    }
    if (s->kv.len_tok < s->count) return;
    double share = q->r.want == HEARTH_EMBED_MEAN ? (double)s->count : 1.0;
    for (size_t i = 0; i < width; i++) en->values[i] = (float)(s->sum[i] / share);
    en->k->vector.l2_norm(en->values, width, 1e-12f);
    struct hearth_embedding *f = (struct hearth_embedding *)(void *)((uint8_t *)en->values - sizeof *f);
    *f = (struct hearth_embedding){ .head = head_of(q->r.head.id, s->choice), .width = (uint32_t)width };
    emit(en, HEARTH_EMBEDDING, f, sizeof *f + width * sizeof *en->values);
    sequence_finish(en, s, HEARTH_DONE);
}
