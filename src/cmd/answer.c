/* One answer: see answer.h. */
#include "cmd/answer.h"

#include "base/checked.h"
#include "cmd/cmd.h"

#include <stdio.h>

enum { LOOK_MS = 50 }; /* how often somebody who may stop the answer is asked */

struct answering {
    struct served *s;
    struct hearing *h;
    struct progress progress;
    arena *a;
    uint64_t id;
    double start, first; /* first: when the prompt was computed */
    bool stopping;
};

/* Rooms for as many tokens as the context has. */
static bool plan_rooms(const struct answering *job, const struct service_ask *ask, struct answer *out, err *e)
{
    size_t ctx = job->s->engine.ctx_tok, most = ask->max_tok > 0 ? min_size(ask->max_tok, ctx) : ctx;
    *out = (struct answer){ .text = view_of(""), .reasoning = view_of(""), .top_count = ask->top_count };
    out->tokens = ARENA_ARRAY(job->a, int32_t, most, "tokens", e);
    if (out->tokens == NULL || ask->top_count == 0) return out->tokens != NULL;
    out->logprobs = ARENA_ARRAY(job->a, float, most, "log-probabilities", e);
    out->tops = ARENA_ARRAY(job->a, struct token_logprob, most * out->top_count, "log-probabilities", e);
    return out->logprobs != NULL && out->tops != NULL;
}

static void take_token(const struct service_event *event, struct answer *out)
{
    size_t at = out->token_count++;
    out->tokens[at] = event->token.token;
    if (out->top_count == 0) return;
    out->logprobs[at] = event->token.logprob;
    memcpy(out->tops + at * out->top_count, event->rivals, out->top_count * sizeof *out->tops);
}

static bool take_ids(const struct answering *job, const struct service_event *event, struct answer *out, err *e)
{
    int32_t *ids = ARENA_ARRAY(job->a, int32_t, event->id_count, "token ids", e);
    if (ids == NULL) return false;
    memcpy(ids, event->ids, event->id_count * sizeof *ids);
    out->prompt = ids;
    out->prompt_tok = event->id_count;
    return true;
}

static void first_token(struct answering *job)
{
    if (job->first != 0) return;
    job->first = clock_seconds();
    progress_end(&job->progress);
}

/* One event of ours. *done where it was the last. */
static bool take_event(struct answering *job, const struct service_event *event, struct answer *out, bool *done, err *e)
{
    switch (event->kind) {
    case SERVICE_EVENT_IDS: return take_ids(job, event, out, e);
    case SERVICE_EVENT_PROGRESS:
        progress_show(&job->progress, event->progress.done_tok, event->progress.all_tok);
        return true;
    case SERVICE_EVENT_DELTA:
        first_token(job);
        hearing_take(job->h, event);
        return true;
    case SERVICE_EVENT_TOKEN:
        first_token(job);
        take_token(event, out);
        return true;
    case SERVICE_EVENT_FINISHED:
        out->finish = event->finish;
        out->prompt_tok = event->prompt_tok;
        out->cached_tok = event->cached_tok;
        *done = true;
        return true;
    case SERVICE_EVENT_ERROR:
        return fail(e, event->code, ERR_NO_OFFSET, "%.*s", (int)event->text.len_bytes, (const char *)event->text.ptr);
    case SERVICE_EVENT_NONE:
    case SERVICE_EVENT_EMBEDDING:
    case SERVICE_EVENT_BYTES:
    case SERVICE_EVENT_MASK:
    case SERVICE_EVENT_KEPT:
    case SERVICE_EVENT_CHANGED:
    case SERVICE_EVENT_NEWS:
    case SERVICE_EVENT_DIFFERS:
    case SERVICE_EVENT_EXPERTS: break; /* of no one answer: served_next has taken them */
    }
    return true;
}

bool answer_make(struct served *s, const struct service_ask *ask, struct hearing *h, answer_stopped *stopped, void *arg,
                 arena *a, struct answer *out, err *e)
{
    struct answering job = { .s = s, .h = h, .progress.what = "reading the prompt", .a = a, .start = clock_seconds() };
    struct service_event event;
    if (!plan_rooms(&job, ask, out, e) || !service_ask(s->service, ask, &job.id, e)) return false;
    bool good = true;
    for (bool done = false; good && !done;) {
        if (served_next(s, stopped != NULL ? LOOK_MS : -1, &event, e)) {
            if (event.id == job.id) good = take_event(&job, &event, out, &done, e);
        } else {
            good = e->code == ERR_NONE;
        }
        if (stopped == NULL || job.stopping || !stopped(arg)) continue;
        job.stopping = true;
        service_cancel(s->service, job.id);
    }
    progress_end(&job.progress);
    double end = clock_seconds();
    if (job.first == 0) job.first = end;
    out->prompt_seconds = job.first - job.start;
    out->made_seconds = end - job.first;
    return good;
}

/* ---- telling ---- */

static double rate(size_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

void answer_say(const struct answer *answer)
{
    size_t computed = answer->prompt_tok - answer->cached_tok;
    say("prompt %zu tokens, %zu of them cached, %.1f tokens/s; answer %zu tokens, %.1f tokens/s; end: %s",
        answer->prompt_tok, answer->cached_tok, rate(computed, answer->prompt_seconds), answer->token_count,
        rate(answer->token_count, answer->made_seconds), service_finish_name(answer->finish));
}

/* What every rival reads as stands in `texts`, in their order. */
static void write_logprobs(json_writer *w, const struct answer *answer, view texts, const uint32_t *lengths)
{
    json_key(w, "logprobs");
    json_begin_array(w);
    for (size_t i = 0; i < answer->token_count; i++) {
        json_begin_object(w);
        json_key(w, "token");
        json_int(w, answer->tokens[i]);
        json_key(w, "logprob");
        json_double(w, (double)answer->logprobs[i]);
        json_key(w, "top");
        json_begin_array(w);
        for (size_t j = i * answer->top_count; j < (i + 1) * answer->top_count; j++) {
            json_begin_object(w);
            json_key(w, "token");
            json_int(w, answer->tops[j].token);
            json_key(w, "text");
            json_string(w, (view){ texts.ptr, lengths[j] });
            json_key(w, "logprob");
            json_double(w, (double)answer->tops[j].logprob);
            json_end_object(w);
            texts = view_after(texts, lengths[j]);
        }
        json_end_array(w);
        json_end_object(w);
    }
    json_end_array(w);
}

static bool top_texts(const struct answer *answer, struct served *s, arena *a, view *texts, const uint32_t **lengths,
                      err *e)
{
    size_t count = answer->token_count * answer->top_count;
    int32_t *ids = ARENA_ARRAY(a, int32_t, count, "token ids", e);
    if (ids == NULL) return false;
    for (size_t i = 0; i < count; i++) ids[i] = answer->tops[i].token;
    return served_pieces(s, ids, count, a, texts, lengths, e);
}

bool answer_write(const struct answer *answer, struct served *s, uint64_t seed, arena *a, view *out, err *e)
{
    json_writer w;
    view texts;
    const uint32_t *lengths;
    if (answer->logprobs != NULL && !top_texts(answer, s, a, &texts, &lengths, e)) return false;
    json_writer_start(&w, a, JSON_BYTES_MAX, e);
    w.spaced = true;
    json_begin_object(&w);
    json_key(&w, "model");
    json_text(&w, s->path);
    json_key(&w, "text");
    json_string(&w, answer->text);
    if (answer->reasoning.len_bytes > 0) {
        json_key(&w, "reasoning");
        json_string(&w, answer->reasoning);
    }
    if (answer->calls.len_bytes > 0) {
        json_key(&w, "tool_calls");
        json_raw(&w, answer->calls);
    }
    json_key(&w, "tokens");
    json_begin_array(&w);
    for (size_t i = 0; i < answer->token_count; i++) json_int(&w, answer->tokens[i]);
    json_end_array(&w);
    json_key(&w, "prompt_tokens");
    json_uint(&w, answer->prompt_tok);
    json_key(&w, "cached_tokens");
    json_uint(&w, answer->cached_tok);
    json_key(&w, "finish");
    json_text(&w, service_finish_name(answer->finish));
    json_key(&w, "seed");
    json_uint(&w, seed);
    json_key(&w, "prefill_tok_s");
    json_double(&w, rate(answer->prompt_tok - answer->cached_tok, answer->prompt_seconds));
    json_key(&w, "decode_tok_s");
    json_double(&w, rate(answer->token_count, answer->made_seconds));
    if (answer->logprobs != NULL) write_logprobs(&w, answer, texts, lengths);
    json_end_object(&w);
    return json_done(&w, out);
}
