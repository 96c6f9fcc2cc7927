/* One answer of a session: the loop over its tokens, its text, times, and what the JSON says of it. */
#ifndef HEARTH_CMD_ANSWER_H
#define HEARTH_CMD_ANSWER_H

#include "engine/session.h"
#include "format/json.h"

/* What an answer is told and asked while it is made; any may be NULL. */
struct answer_hooks {
    void (*piece)(void *arg, view text); /* text that is final */
    void (*control)(void *arg, view text); /* a control token behind that text, other than one that ends the answer */
    bool (*stopped)(void *arg);          /* true ends it: FINISH_CANCELLED */
    void *arg;
};

struct answer {
    view text;      /* what was said; of a model with a template, the content alone */
    view reasoning; /* what it thought before, where the template has a place for it */
    view calls;     /* a JSON list of the tools it called; empty where it called none */
    const int32_t *tokens; /* made: the session's own array */
    size_t token_count, prompt_tok, cached_tok;
    enum finish finish;
    double prompt_seconds, made_seconds;
    /* One row a token where log-probabilities were asked for. */
    float *logprobs;
    struct token_logprob *tops; /* top_count a token */
    size_t top_count;
};

/* Computes the prompt and makes at most `max_tok` tokens (0: up to the context). `top_count` 1 or more keeps the
 * log-probabilities, and so many rivals a token. Takes from `a`, which nobody else uses meanwhile. */
bool answer_make(session *s, const model *m, const int32_t *ids, size_t count, size_t max_tok, size_t top_count,
                 const struct answer_hooks *hooks, arena *a, struct answer *out, err *e);

/* One object, as `run --json` prints it. */
bool answer_write(const struct answer *answer, const model *m, const char *path, uint64_t seed, arena *a, view *out,
                  err *e);

/* "12 tokens of prompt (8 cached) at ..., 40 made at ...", to standard error. */
void answer_say(const struct answer *answer);

#endif
