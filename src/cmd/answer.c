/* One answer: see answer.h. */
#include "cmd/answer.h"

#include "base/checked.h"
#include "cmd/cmd.h"

#include <stdio.h>

struct answering {
    session *s;
    const model *m;
    const struct answer_hooks *hooks;
    struct progress progress;
    arena *a;
    uint8_t *text; /* grows at the arena's end, piece behind piece */
};

static bool tick(void *arg, size_t done_tok, size_t all_tok)
{
    struct answering *job = arg;
    if (all_tok > 1) progress_show(&job->progress, done_tok, all_tok);
    return job->hooks->stopped == NULL || !job->hooks->stopped(job->hooks->arg);
}

static bool add_piece(struct answering *job, view piece, struct answer *out, err *e)
{
    if (piece.len_bytes == 0) return true;
    uint8_t *place = arena_take(job->a, piece.len_bytes, 1, 1, "answer", e);
    if (place == NULL) return false;
    if (out->text.len_bytes == 0) out->text.ptr = place;
    memcpy(place, piece.ptr, piece.len_bytes);
    out->text.len_bytes += piece.len_bytes;
    if (job->hooks->piece != NULL) job->hooks->piece(job->hooks->arg, piece);
    return true;
}

static void give_control(const struct answering *job, int32_t token)
{
    const tokenizer *t = job->m->tokenizer;
    if (job->hooks->control == NULL || token < 0 || (size_t)token >= tokenizer_count(t)) return;
    if (tokenizer_kind(t, token) == TOKEN_CONTROL && !model_ends(job->m, token))
        job->hooks->control(job->hooks->arg, tokenizer_text(t, token));
}

/* Tokens until something ends it. The log-probabilities' arrays are planned by the caller. */
static bool make_tokens(struct answering *job, size_t max_tok, struct answer *out, err *e)
{
    for (out->finish = FINISH_NONE; out->finish == FINISH_NONE;) {
        view piece;
        int32_t token;
        size_t at = out->token_count;
        if (job->hooks->stopped != NULL && job->hooks->stopped(job->hooks->arg)) {
            out->finish = FINISH_CANCELLED;
            return add_piece(job, session_cancel(job->s), out, e);
        }
        float *logprob = out->logprobs != NULL ? &out->logprobs[at] : NULL;
        if (!session_next(job->s, max_tok, &piece, &token, logprob, &out->finish, e)) return false;
        if (token >= 0) {
            out->token_count++;
            if (out->top_count > 0)
                sample_top(graph_logits(session_graph(job->s), 0), job->m->hyper.vocab, out->top_count,
                           out->tops + at * out->top_count);
        }
        if (!add_piece(job, piece, out, e)) return false;
        give_control(job, token);
    }
    return true;
}

static bool plan_logprobs(const session *s, size_t vocab, size_t max_tok, size_t top_count, arena *a,
                          struct answer *out, err *e)
{
    size_t most = max_tok > 0 ? max_tok : session_ctx_tok(s);
    if (top_count == 0) return true;
    out->top_count = min_size(top_count, vocab);
    out->logprobs = ARENA_ARRAY(a, float, most, "log-probabilities", e);
    out->tops = ARENA_ARRAY(a, struct token_logprob, most * out->top_count, "log-probabilities", e);
    return out->logprobs != NULL && out->tops != NULL;
}

bool answer_make(session *s, const model *m, const int32_t *ids, size_t count, size_t max_tok, size_t top_count,
                 const struct answer_hooks *hooks, arena *a, struct answer *out, err *e)
{
    struct answering job = { .s = s, .m = m, .hooks = hooks, .progress.what = "reading the prompt", .a = a };
    *out = (struct answer){ .prompt_tok = count, .text = view_of(""), .reasoning = view_of("") };
    if (!plan_logprobs(s, m->hyper.vocab, max_tok, top_count, a, out, e)) return false;
    double start = clock_seconds();
    bool good = session_prompt(s, ids, count, tick, &job, e);
    progress_end(&job.progress);
    if (!good && e->code == ERR_CANCELLED) {
        out->finish = FINISH_CANCELLED;
        return true;
    }
    if (!good) return false;
    double middle = clock_seconds();
    good = make_tokens(&job, max_tok, out, e);
    size_t all;
    out->tokens = session_tokens(s, &all) + count;
    out->cached_tok = session_prompt_stats(s).cached_tok;
    out->prompt_seconds = middle - start;
    out->made_seconds = clock_seconds() - middle;
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
        rate(answer->token_count, answer->made_seconds), finish_name(answer->finish));
}

static void write_logprobs(json_writer *w, const struct answer *answer, const model *m)
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
        for (size_t j = 0; j < answer->top_count; j++) {
            const struct token_logprob *top = &answer->tops[i * answer->top_count + j];
            json_begin_object(w);
            json_key(w, "token");
            json_int(w, top->token);
            json_key(w, "text");
            json_string(w, (size_t)top->token < tokenizer_count(m->tokenizer) ? tokenizer_text(m->tokenizer, top->token)
                                                                               : view_of(""));
            json_key(w, "logprob");
            json_double(w, (double)top->logprob);
            json_end_object(w);
        }
        json_end_array(w);
        json_end_object(w);
    }
    json_end_array(w);
}

bool answer_write(const struct answer *answer, const model *m, const char *path, uint64_t seed, arena *a, view *out,
                  err *e)
{
    json_writer w;
    json_writer_start(&w, a, JSON_BYTES_MAX, e);
    w.spaced = true;
    json_begin_object(&w);
    json_key(&w, "model");
    json_text(&w, path);
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
    json_text(&w, finish_name(answer->finish));
    json_key(&w, "seed");
    json_uint(&w, seed);
    json_key(&w, "prefill_tok_s");
    json_double(&w, rate(answer->prompt_tok - answer->cached_tok, answer->prompt_seconds));
    json_key(&w, "decode_tok_s");
    json_double(&w, rate(answer->token_count, answer->made_seconds));
    if (answer->logprobs != NULL) write_logprobs(&w, answer, m);
    json_end_object(&w);
    return json_done(&w, out);
}
