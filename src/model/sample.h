/* Sampling: from logits to a token. The draw is a function of (seed, position), so the same seed gives the same text
 * everywhere. Ties go to the lowest token. Order of the steps: logit bias, penalties (repetition, presence, frequency),
 * DRY, temperature 0 -> argmax; else temperature, top-k, typical, top-p, min-p, draw. */
#ifndef HEARTH_MODEL_SAMPLE_H
#define HEARTH_MODEL_SAMPLE_H

#include "base/arena.h"

struct logit_bias {
    int32_t token;
    float bias; /* -inf forbids */
};

struct sample_settings {
    uint64_t seed;
    float temperature;        /* 0: greedy */
    size_t top_k;             /* 0: off */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float typical_p;          /* 1: off */
    float repetition_penalty; /* 1: off; divides positive logits, multiplies negative ones (CTRL, section 4.1) */
    float presence_penalty, frequency_penalty; /* 0: off */
    size_t penalty_window;    /* last tokens that penalties look at */
    float dry_multiplier;     /* 0: off; penalty multiplier * base^(match - allowed) */
    float dry_base;
    size_t dry_allowed;
    const int32_t *dry_breakers; /* tokens that end a match */
    size_t dry_breaker_count;
    const struct logit_bias *bias;
    size_t bias_count;
};

#define SAMPLE_DEFAULTS                                                                                                \
    ((struct sample_settings){ .temperature = 0.7f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .typical_p = 1.0f,  \
                               .repetition_penalty = 1.0f, .penalty_window = 64, .dry_base = 1.75f,                   \
                               .dry_allowed = 2 })

/* Checks ranges. Errors: ERR_VALUE naming the setting as the command line spells it, the value and the range. */
bool sample_check(const struct sample_settings *s, size_t vocab, err *e);

typedef struct sampler sampler;
bool sampler_new(sampler **out, const struct sample_settings *s, size_t vocab, arena *a, err *e);

/* Draws from now on belong to another seed. */
void sampler_seed(sampler *s, uint64_t seed);

/* One sampler for many: draws from now on follow these settings. They were checked (sample_check), and stay the
 * caller's, lists included, until the next call. */
void sampler_use(sampler *s, const struct sample_settings *settings);

/* Only tokens whose bit is set (bit id % 64 of word id / 64) are drawn from now on; NULL: all. Applied behind biases
 * and penalties, before everything else, so there is one definition of the draw. At least one bit below the
 * vocabulary's size is set; the words outlive the draws. */
void sampler_allow(sampler *s, const uint64_t *mask);

/* The next token. `history` holds the tokens so far (prompt included), `position` is the index the new token gets.
 * `logprob`, if not NULL, receives the natural logarithm of the chosen token's probability under the plain softmax of
 * `logits` (before every setting). Does not change `logits`. */
int32_t sampler_draw(sampler *s, const float *logits, const int32_t *history, size_t history_count, uint64_t position,
                     float *logprob);

/* The `count` most likely tokens under the plain softmax and the logarithms of their probabilities, most likely first;
 * count <= vocab. */
struct token_logprob {
    int32_t token;
    float logprob;
};
void sample_top(const float *logits, size_t vocab, size_t count, struct token_logprob *out);

#endif
