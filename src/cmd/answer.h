/* One answer of a model behind its processes: asked, heard to its end, and what the JSON says of it. */
#ifndef HEARTH_CMD_ANSWER_H
#define HEARTH_CMD_ANSWER_H

#include "cmd/hearing.h"
#include "cmd/served.h"
#include "format/json.h"
#include "model/sample.h"

/* What an answer is asked while it is made; may be NULL. */
typedef bool answer_stopped(void *arg); /* true ends it: SERVICE_CANCELLED */

struct answer {
    view text;      /* what was said; of a model with a template, the content alone */
    view reasoning; /* what it thought before, where the template has a place for it */
    view calls;     /* a JSON list of the tools it called; empty where it called none */
    int32_t *tokens; /* made */
    size_t token_count, prompt_tok, cached_tok;
    enum service_finish finish;
    double prompt_seconds, made_seconds;
    /* One row a token where log-probabilities were asked for. */
    float *logprobs;
    struct token_logprob *tops; /* top_count a token */
    size_t top_count;
    const int32_t *prompt; /* its ids */
};

/* Asks, and hears to the end through `h`, which was begun. ask->top_count 1 or more keeps the log-probabilities, and so
 * many rivals a token. Takes from `a`, which nobody else uses meanwhile. Errors: what a worker refused. */
bool answer_make(struct served *s, const struct service_ask *ask, struct hearing *h, answer_stopped *stopped, void *arg,
                 arena *a, struct answer *out, err *e);

/* One object, as `run --json` prints it. */
bool answer_write(const struct answer *answer, struct served *s, uint64_t seed, arena *a, view *out, err *e);

/* "12 tokens of prompt (8 cached) at ..., 40 made at ...", to standard error. */
void answer_say(const struct answer *answer);

#endif
