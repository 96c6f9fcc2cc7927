/* model/sample.h: every setting by hand-computed cases, ties, forbidden tokens, the statistics of draws, the range of
 * every setting at its ends, and the time of a draw over a large vocabulary. */
#include "model/sample.h"

#include "check.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* A row says what differs from PLAIN or GREEDY: the second value of a field is meant. */
#pragma GCC diagnostic ignored "-Woverride-init"

enum { VOCAB = 8, DRAWS = 20000 };

#define PLAIN                                                                                                          \
    .temperature = 1.0f, .top_p = 1.0f, .typical_p = 1.0f, .repetition_penalty = 1.0f, .penalty_window = 64,          \
    .dry_base = 2.0f, .dry_allowed = 2
#define GREEDY                                                                                                         \
    .temperature = 0.0f, .top_p = 1.0f, .typical_p = 1.0f, .repetition_penalty = 1.0f, .penalty_window = 64,          \
    .dry_base = 2.0f, .dry_allowed = 2
#define NO (-INFINITY)
#define TOKENS(...) (const int32_t[]){ __VA_ARGS__ }, sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t)

static arena room;

static sampler *make(const struct sample_settings *set, size_t vocab)
{
    sampler *s = NULL;
    err e = { 0 };
    arena_rewind(&room, 0);
    CHECK(sampler_new(&s, set, vocab, &room, &e), "%s", e.text);
    return s;
}

/* ---- greedy: the token after bias, penalties and DRY ---- */

static const struct greedy_row {
    const char *says;
    float logits[VOCAB];
    struct sample_settings set;
    struct logit_bias bias[2];
    size_t bias_count;
    const int32_t *history;
    size_t history_count;
    int32_t want;
} greedy_rows[] = {
    { "the largest logit", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY }, { { 0 } }, 0, TOKENS(0), 2 },
    { "a tie goes to the lowest token", { 0, 5, 1, 5, 5, 0, 0, 0 }, { GREEDY }, { { 0 } }, 0, TOKENS(0), 1 },
    { "all equal: token 0", { 3, 3, 3, 3, 3, 3, 3, 3 }, { GREEDY }, { { 0 } }, 0, TOKENS(0), 0 },
    { "all but one forbidden", { NO, NO, NO, NO, NO, NO, NO, -9 }, { GREEDY }, { { 0 } }, 0, TOKENS(0), 7 },
    { "everything forbidden: the lowest", { NO, NO, NO, NO, NO, NO, NO, NO }, { GREEDY }, { { 0 } }, 0, TOKENS(0), 0 },
    { "-0 and 0 are a tie", { -1, -0.0f, 0.0f, -1, -1, -1, -1, -1 }, { GREEDY }, { { 0 } }, 0, TOKENS(0), 1 },
    { "a bias lifts", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY }, { { 6, 6.5f } }, 1, TOKENS(0), 6 },
    { "a bias one step short", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY }, { { 6, 6.0f } }, 1, TOKENS(0), 2 },
    { "a bias forbids", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY }, { { 2, NO } }, 1, TOKENS(0), 5 },
    { "two biases", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY }, { { 2, NO }, { 5, NO } }, 2, TOKENS(0), 4 },
    /* 5 / 1.3 = 3.85 < 4 */
    { "repetition divides a positive logit", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY, .repetition_penalty = 1.3f },
      { { 0 } }, 0, TOKENS(2), 5 },
    /* 5 / 1.2 = 4.17 > 4, however often it stands there */
    { "repetition counts a token once", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY, .repetition_penalty = 1.2f }, { { 0 } },
      0, TOKENS(2, 2, 2), 2 },
    /* -1 * 2.5 = -2.5 < -2 */
    { "repetition multiplies a negative logit", { NO, NO, NO, NO, NO, NO, -1, -2 },
      { GREEDY, .repetition_penalty = 2.5f }, { { 0 } }, 0, TOKENS(6), 7 },
    { "presence: 5 - 1.5 < 4", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY, .presence_penalty = 1.5f }, { { 0 } }, 0,
      TOKENS(2, 2), 5 },
    { "presence is not counted: 5 - 0.9 > 4", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY, .presence_penalty = 0.9f },
      { { 0 } }, 0, TOKENS(2, 2, 2), 2 },
    { "frequency is: 5 - 3 * 0.4 < 4", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY, .frequency_penalty = 0.4f }, { { 0 } },
      0, TOKENS(2, 2, 2), 5 },
    { "two of them are not enough", { 0, 1, 5, 2, 3, 4, -1, -2 }, { GREEDY, .frequency_penalty = 0.4f }, { { 0 } }, 0,
      TOKENS(2, 2), 2 },
    { "the window forgets what is older", { 0, 1, 5, 2, 3, 4, -1, -2 },
      { GREEDY, .presence_penalty = 9, .penalty_window = 2 }, { { 0 } }, 0, TOKENS(2, 0, 0), 2 },
    { "and sees its own first token", { 0, 1, 5, 2, 3, 4, -1, -2 },
      { GREEDY, .presence_penalty = 9, .penalty_window = 3 }, { { 0 } }, 0, TOKENS(2, 0, 0), 5 },
    { "a window of 0 sees nothing", { 0, 1, 5, 2, 3, 4, -1, -2 },
      { GREEDY, .presence_penalty = 9, .penalty_window = 0 }, { { 0 } }, 0, TOKENS(2, 2), 2 },
    /* history 1 3 4 | 1 3: "4" would carry on a match of 2 = allowed: multiplier * 2^0 = 1.5 from 5 */
    { "DRY at the allowed length", { 0, 0, 0, 0, 5, 4, 0, 0 }, { GREEDY, .dry_multiplier = 1.5f }, { { 0 } }, 0,
      TOKENS(1, 3, 4, 1, 3), 5 },
    { "DRY below the allowed length", { 0, 0, 0, 0, 5, 4, 0, 0 }, { GREEDY, .dry_multiplier = 1.5f, .dry_allowed = 3 },
      { { 0 } }, 0, TOKENS(1, 3, 4, 1, 3), 4 },
    /* match of 3: 0.6 * 2^1 = 1.2 > 1; a match of 2 would cost 0.6 */
    { "DRY grows with the match", { 0, 0, 0, 0, 5, 4, 0, 0 }, { GREEDY, .dry_multiplier = 0.6f }, { { 0 } }, 0,
      TOKENS(2, 1, 3, 4, 2, 1, 3), 5 },
    { "DRY: the same with one less", { 0, 0, 0, 0, 5, 4, 0, 0 }, { GREEDY, .dry_multiplier = 0.6f }, { { 0 } }, 0,
      TOKENS(2, 1, 3, 4, 7, 1, 3), 4 },
    { "DRY takes the longest of two matches", { 0, 0, 0, 0, 5, 4, 0, 0 }, { GREEDY, .dry_multiplier = 0.6f }, { { 0 } },
      0, TOKENS(1, 3, 4, 2, 1, 3, 4, 1, 3, 4, 2, 1, 3), 5 },
    { "DRY with an empty history", { 0, 0, 0, 0, 5, 4, 0, 0 }, { GREEDY, .dry_multiplier = 9 }, { { 0 } }, 0, NULL, 0,
      4 },
};

static void greedy(void)
{
    for (size_t i = 0; i < sizeof greedy_rows / sizeof *greedy_rows; i++) {
        const struct greedy_row *row = &greedy_rows[i];
        struct sample_settings set = row->set;
        set.bias = row->bias;
        set.bias_count = row->bias_count;
        sampler *s = make(&set, VOCAB);
        for (int twice = 0; twice < 2; twice++) { /* nothing of one draw may stay for the next */
            int32_t got = sampler_draw(s, row->logits, row->history, row->history_count, 9, NULL);
            CHECK(got == row->want, "%s: got %d, want %d", row->says, got, row->want);
        }
    }
}

static void dry_breakers(void)
{
    static const float logits[VOCAB] = { 0, 0, 0, 0, 5, 4, 0, 0 };
    static const int32_t history[] = { 2, 1, 3, 4, 2, 1, 3 }, breakers[][1] = { { 1 }, { 3 }, { 4 }, { 2 }, { 6 } };
    static const struct {
        const char *says;
        int32_t want;
    } rows[] = {
        { "a breaker inside leaves a match of 1", 4 },
        { "a breaker at the end leaves none", 4 },
        { "a breaker is never punished itself", 4 },
        { "a breaker before a match of 2 leaves it", 5 },
        { "a breaker elsewhere changes nothing", 5 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sample_settings set = { GREEDY, .dry_multiplier = 2 };
        set.dry_breakers = breakers[i];
        set.dry_breaker_count = 1;
        int32_t got = sampler_draw(make(&set, VOCAB), logits, history, 7, 0, NULL);
        CHECK(got == rows[i].want, "DRY: %s: got %d", rows[i].says, got);
    }
}

/* ---- draws: which tokens, and how often ---- */

/* Logits are natural logarithms of these shares, so that what is kept can be computed by hand. */
static const struct draw_row {
    const char *says;
    float shares[VOCAB]; /* 0: forbidden */
    struct sample_settings set;
    float want[VOCAB];
} draw_rows[] = {
    { "plain", { .1f, .2f, .3f, .4f }, { PLAIN }, { .1f, .2f, .3f, .4f } },
    { "one token", { 0, 0, 1, 0 }, { PLAIN }, { 0, 0, 1, 0 } },
    { "temperature 1/2 squares", { .2f, .4f, .4f }, { PLAIN, .temperature = .5f }, { .1111f, .4444f, .4444f } },
    { "temperature 2 takes roots", { .1f, .9f }, { PLAIN, .temperature = 2 }, { .25f, .75f } },
    { "a hundredth is nearly greedy", { .49f, .51f }, { PLAIN, .temperature = .001f }, { 0, 1 } },
    { "top-k 2", { .1f, .2f, .3f, .4f }, { PLAIN, .top_k = 2 }, { 0, 0, .4286f, .5714f } },
    { "top-k 1", { .1f, .2f, .3f, .4f }, { PLAIN, .top_k = 1 }, { 0, 0, 0, 1 } },
    { "top-k of the vocabulary", { .1f, .2f, .3f, .4f }, { PLAIN, .top_k = 8 }, { .1f, .2f, .3f, .4f } },
    { "top-k past the vocabulary", { .1f, .2f, .3f, .4f }, { PLAIN, .top_k = 99 }, { .1f, .2f, .3f, .4f } },
    { "top-k: a tie keeps the lower", { .25f, .25f, .25f, .25f }, { PLAIN, .top_k = 2 }, { .5f, .5f } },
    { "top-p .6 needs two", { .1f, .2f, .3f, .4f }, { PLAIN, .top_p = .6f }, { 0, 0, .4286f, .5714f } },
    { "top-p .75 needs three", { .1f, .2f, .3f, .4f }, { PLAIN, .top_p = .75f }, { 0, .2222f, .3333f, .4444f } },
    { "top-p 0 keeps one", { .1f, .2f, .3f, .4f }, { PLAIN, .top_p = 0 }, { 0, 0, 0, 1 } },
    { "top-p: a tie keeps the lower", { .25f, .25f, .25f, .25f }, { PLAIN, .top_p = .4f }, { .5f, .5f } },
    { "min-p .6 of .4 is .24", { .1f, .2f, .3f, .4f }, { PLAIN, .min_p = .6f }, { 0, 0, .4286f, .5714f } },
    { "min-p 1 keeps the equals of the best", { .3f, .1f, .3f, .3f }, { PLAIN, .min_p = 1 },
      { .3333f, 0, .3333f, .3333f } },
    { "min-p after top-p", { .1f, .2f, .3f, .4f }, { PLAIN, .top_p = .75f, .min_p = .6f }, { 0, 0, .4286f, .5714f } },
    { "top-p counts what top-k left", { .1f, .2f, .3f, .4f }, { PLAIN, .top_k = 2, .top_p = .55f }, { 0, 0, 0, 1 } },
    /* entropy 1.280; surprises 2.303 1.609 1.204 .916: nearest is .3, then .2 (.329), then .4 (.364) */
    { "typical .2 keeps the token of mean surprise", { .1f, .2f, .3f, .4f }, { PLAIN, .typical_p = .2f },
      { 0, 0, 1, 0 } },
    { "typical .4 keeps two", { .1f, .2f, .3f, .4f }, { PLAIN, .typical_p = .4f }, { 0, .4f, .6f, 0 } },
    { "typical .6 keeps three", { .1f, .2f, .3f, .4f }, { PLAIN, .typical_p = .6f }, { 0, .2222f, .3333f, .4444f } },
    { "min-p is of the best that typical left", { .1f, .2f, .3f, .4f }, { PLAIN, .typical_p = .4f, .min_p = .6f },
      { 0, .4f, .6f, 0 } },
    { "forbidden tokens stay so", { 0, .5f, 0, .5f }, { PLAIN, .top_k = 3, .top_p = .99f, .min_p = .01f },
      { 0, .5f, 0, .5f } },
};

static void draws(void)
{
    for (size_t i = 0; i < sizeof draw_rows / sizeof *draw_rows; i++) {
        const struct draw_row *row = &draw_rows[i];
        float logits[VOCAB];
        size_t counts[VOCAB] = { 0 };
        for (size_t t = 0; t < VOCAB; t++) logits[t] = row->shares[t] > 0 ? logf(row->shares[t]) : NO;
        sampler *s = make(&row->set, VOCAB);
        for (size_t n = 0; n < DRAWS; n++) counts[sampler_draw(s, logits, NULL, 0, n, NULL)]++;
        for (size_t t = 0; t < VOCAB; t++) {
            double share = (double)counts[t] / DRAWS, want = (double)row->want[t];
            double room_for = 5 * sqrt(want * (1 - want) / DRAWS) + 1e-4; /* five standard deviations */
            CHECK(want == 0 ? counts[t] == 0 : fabs(share - want) < room_for, "%s: token %zu drawn %.4f, want %.4f",
                  row->says, t, share, want);
        }
    }
}

static void seeds(void)
{
    float logits[VOCAB] = { 0 };
    size_t same_seed = 0, same_position = 0, other_stream = 0;
    struct sample_settings one = { PLAIN, .seed = 1 }, two = { PLAIN, .seed = 2 };
    for (uint64_t at = 0; at < 1000; at++) {
        int32_t a = sampler_draw(make(&one, VOCAB), logits, NULL, 0, at, NULL);
        sampler *s = make(&one, VOCAB);
        sampler_draw(s, logits, NULL, 0, at + 5, NULL); /* a draw in between must not matter */
        same_seed += a == sampler_draw(s, logits, NULL, 0, at, NULL);
        same_position += a == sampler_draw(s, logits, NULL, 0, at + 1, NULL);
        other_stream += a == sampler_draw(make(&two, VOCAB), logits, NULL, 0, at, NULL);
    }
    CHECK(same_seed == 1000, "seed and position decide: %zu of 1000 agree", same_seed);
    CHECK(same_position < 200, "another position draws anew: %zu of 1000 agree", same_position);
    CHECK(other_stream < 200, "another seed draws anew: %zu of 1000 agree", other_stream);
}

/* ---- log-probabilities ---- */

static void logprobs(void)
{
    static const float shares[VOCAB] = { .1f, .2f, .3f, .4f };
    float logits[VOCAB], got;
    for (size_t t = 0; t < VOCAB; t++) logits[t] = shares[t] > 0 ? logf(shares[t]) + 7.0f : NO;
    struct sample_settings set = { PLAIN, .temperature = 3, .top_k = 2 };
    for (uint64_t at = 0; at < 50; at++) {
        int32_t token = sampler_draw(make(&set, VOCAB), logits, NULL, 0, at, &got);
        CHECK(fabsf(got - logf(shares[token])) < 1e-5f, "logprob of %d: %g", token, (double)got);
    }
    struct token_logprob top[4];
    sample_top(logits, VOCAB, 4, top);
    for (int t = 0; t < 4; t++)
        CHECK(top[t].token == 3 - t && fabsf(top[t].logprob - logf(shares[3 - t])) < 1e-5f, "top %d: %d %g", t,
              top[t].token, (double)top[t].logprob);
    for (size_t t = 0; t < VOCAB; t++) logits[t] = t == 5 ? 2.0f : 1.0f;
    sample_top(logits, VOCAB, 3, top);
    CHECK(top[0].token == 5 && top[1].token == 0 && top[2].token == 1, "ties by index: %d %d %d", top[0].token,
          top[1].token, top[2].token);
}

/* ---- ranges ---- */

static void check_one(const char *name, struct sample_settings set, bool want)
{
    err e = { 0 };
    bool got = sample_check(&set, VOCAB, &e);
    CHECK(got == want && (got || (e.code == ERR_VALUE && strstr(e.text, name) != NULL)), "%s: %d %s", name, got,
          e.text);
}

#define RANGE(name, field, low, high)                                                                                  \
    check_one(name, (struct sample_settings){ PLAIN, .field = (low) }, true);                                          \
    check_one(name, (struct sample_settings){ PLAIN, .field = (high) }, true);                                         \
    check_one(name, (struct sample_settings){ PLAIN, .field = nextafterf((low), -INFINITY) }, false);                  \
    check_one(name, (struct sample_settings){ PLAIN, .field = nextafterf((high), INFINITY) }, false);                  \
    check_one(name, (struct sample_settings){ PLAIN, .field = NAN }, false)

static void ranges(void)
{
    RANGE("--temp", temperature, 0.0f, 100.0f);
    RANGE("--top-p", top_p, 0.0f, 1.0f);
    RANGE("--min-p", min_p, 0.0f, 1.0f);
    RANGE("--typical-p", typical_p, 0.0f, 1.0f);
    RANGE("--repeat-penalty", repetition_penalty, 0.01f, 100.0f);
    RANGE("--presence-penalty", presence_penalty, -100.0f, 100.0f);
    RANGE("--frequency-penalty", frequency_penalty, -100.0f, 100.0f);
    RANGE("--dry-multiplier", dry_multiplier, 0.0f, 100.0f);
    RANGE("--dry-base", dry_base, 1.0f, 4.0f);
    static const struct {
        struct logit_bias bias;
        bool good;
    } biases[] = {
        { { 0, 1e6f }, true },      { { 7, -1e6f }, true },      { { 7, NO }, true },    { { 8, 0 }, false },
        { { -1, 0 }, false },       { { 0, INFINITY }, false },  { { 0, NAN }, false },  { { 0, 1.1e6f }, false },
    };
    for (size_t i = 0; i < sizeof biases / sizeof *biases; i++)
        check_one("--logit-bias", (struct sample_settings){ PLAIN, .bias = &biases[i].bias, .bias_count = 1 },
                  biases[i].good);
    static const int32_t breakers[] = { 7, 8 };
    struct sample_settings broken = { PLAIN, .dry_breakers = breakers, .dry_breaker_count = 1 };
    check_one("--dry-breaker", broken, true);
    broken.dry_breaker_count = 2;
    check_one("--dry-breaker", broken, false);
}

/* ---- a large vocabulary: against a full sort, and in time ---- */

enum { LARGE = 200000 };

static void large(void)
{
    static float logits[LARGE];
    static struct token_logprob top[1000];
    for (size_t i = 0; i < LARGE; i++) {
        uint32_t x = (uint32_t)i * 2654435761u;
        logits[i] = (float)(x % 5000) * 0.004f; /* many ties */
    }
    sample_top(logits, LARGE, 1000, top);
    size_t wrong = 0, better = 0;
    for (size_t i = 1; i < 1000; i++)
        wrong += logits[top[i - 1].token] < logits[top[i].token] ||
                 (logits[top[i - 1].token] == logits[top[i].token] && top[i - 1].token > top[i].token);
    const struct token_logprob *last = &top[999];
    for (int32_t i = 0; i < LARGE; i++)
        better += logits[i] > logits[last->token] || (logits[i] == logits[last->token] && i < last->token);
    CHECK(wrong == 0 && better == 999, "the 1000 best of %d: %zu out of order, %zu ahead of the last", LARGE,
          wrong, better);

    static const struct {
        const char *says;
        struct sample_settings set;
        double limit_ms; /* generous: a busy machine and the sanitizers are allowed for */
    } rows[] = {
        { "top-k 40", { PLAIN, .top_k = 40, .top_p = .95f, .min_p = .05f }, 20 },
        { "no limits", { PLAIN }, 400 },
        { "top-p", { PLAIN, .top_p = .9f }, 400 },
        { "typical", { PLAIN, .typical_p = .9f }, 800 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sampler *s = make(&rows[i].set, LARGE);
        double least = 1e9;
        for (uint64_t at = 0; at < 5; at++) {
            struct timespec a, b;
            clock_gettime(CLOCK_MONOTONIC, &a);
            sampler_draw(s, logits, NULL, 0, at, NULL);
            clock_gettime(CLOCK_MONOTONIC, &b);
            double ms = 1e3 * (double)(b.tv_sec - a.tv_sec) + 1e-6 * (double)(b.tv_nsec - a.tv_nsec);
            least = ms < least ? ms : least;
        }
        printf("%s, %d tokens: %.3f ms\n", rows[i].says, LARGE, least);
        CHECK(least < rows[i].limit_ms, "%s: %.3f ms", rows[i].says, least);
    }
}

int main(void)
{
    err e = { 0 };
    if (!CHECK(arena_new(&room, (size_t)64 << 20, &e), "%s", e.text)) return check_done();
    greedy();
    dry_breakers();
    draws();
    seeds();
    logprobs();
    ranges();
    large();
    arena_free(&room);
    return check_done();
}
