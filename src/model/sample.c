/* Sampling: see sample.h.
 *
 * Probabilities are counted, not added as floats: the weight of a token is floor(2^40 * exp((x - max) / T)), an
 * integer, and a vocabulary of 2^21 of them stays below 2^61. So every total is exact, in whatever order it was
 * summed, and a draw compares integers. What is lost lies below 1e-12 of the most likely token.
 *
 *   logits -> work: + bias, penalties, DRY -> T = 0: argmax
 *                                          -> list: the top k, or every token that can be drawn; keys (x - max) / T
 *                                             typical: a part of the list
 *                                             top-p, min-p: a prefix in order of probability, taken from a heap
 *                                             draw: weight number floor(random / 2^64 * total)
 *
 * No step sorts the vocabulary: top-k keeps a heap of k, the rest takes what it needs from the top of a heap. */
#include "model/sample.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/prng.h"
#include "kernels/math.h"

#include <assert.h>
#include <math.h>

enum {
    WEIGHT_BITS = 40,
    DRY_MATCH_MAX = 64,       /* tokens of one match: base^62 is past every logit already */
    DRY_WINDOW_TOK = 1 << 15  /* tokens that DRY looks back: bounds its time to 2^21 comparisons */
};
#define SAMPLE_STREAM UINT64_C(0x73616d706c65) /* "sample": other users of the seed draw from other streams */
#define KEY_LEAST (-28.0f)                     /* 2^40 * exp(-28) < 1: no weight */
#define PENALTY_MAX 1e30f                      /* keeps a logit that was finite finite */

struct sampler {
    struct sample_settings set;
    size_t vocab;
    float *work;                /* vocab: logits after bias and penalties */
    struct token_logprob *list; /* vocab: what is left to draw from; logprob holds the key it is ordered by */
    uint32_t *marks;            /* vocab: zeros between calls */
    uint64_t *breakers;         /* vocab bits */
};

/* ---- settings ---- */

struct range_row {
    const char *name;
    float value, min, max;
};

static bool ranges_check(const struct range_row *rows, size_t count, err *e)
{
    for (size_t i = 0; i < count; i++)
        if (!(rows[i].value >= rows[i].min && rows[i].value <= rows[i].max)) /* NaN fails too */
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: %g, allowed %g..%g", rows[i].name, (double)rows[i].value,
                        (double)rows[i].min, (double)rows[i].max);
    return true;
}

bool sample_check(const struct sample_settings *s, size_t vocab, err *e)
{
    const struct range_row rows[] = {
        { "--temp", s->temperature, 0.0f, 100.0f },
        { "--top-p", s->top_p, 0.0f, 1.0f },
        { "--min-p", s->min_p, 0.0f, 1.0f },
        { "--typical-p", s->typical_p, 0.0f, 1.0f },
        { "--repeat-penalty", s->repetition_penalty, 0.01f, 100.0f },
        { "--presence-penalty", s->presence_penalty, -100.0f, 100.0f },
        { "--frequency-penalty", s->frequency_penalty, -100.0f, 100.0f },
        { "--dry-multiplier", s->dry_multiplier, 0.0f, 100.0f },
        { "--dry-base", s->dry_base, 1.0f, 4.0f },
    };
    if (!ranges_check(rows, sizeof rows / sizeof *rows, e)) return false;
    for (size_t i = 0; i < s->dry_breaker_count; i++)
        if (s->dry_breakers[i] < 0 || (size_t)s->dry_breakers[i] >= vocab)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "--dry-breaker: token %d, allowed 0..%zu", s->dry_breakers[i],
                        vocab - 1);
    for (size_t i = 0; i < s->bias_count; i++) {
        if (s->bias[i].token < 0 || (size_t)s->bias[i].token >= vocab)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "--logit-bias: token %d, allowed 0..%zu", s->bias[i].token,
                        vocab - 1);
        float bias = s->bias[i].bias;
        if (!(bias == -INFINITY || (bias >= -1e6f && bias <= 1e6f)))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "--logit-bias: %g for token %d, allowed -1e6..1e6 or -inf",
                        (double)bias, s->bias[i].token);
    }
    return true;
}

bool sampler_new(sampler **out, const struct sample_settings *settings, size_t vocab, arena *a, err *e)
{
    if (vocab < 1 || vocab > VOCAB_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "vocabulary: %zu tokens, allowed 1..%d", vocab, VOCAB_MAX);
    if (!sample_check(settings, vocab, e)) return false;
    sampler *s = ARENA_ARRAY(a, sampler, 1, "sampler", e);
    if (s == NULL) return false;
    *s = (sampler){ .set = *settings, .vocab = vocab };
    struct logit_bias *bias = ARENA_ARRAY(a, struct logit_bias, settings->bias_count, "logit biases", e);
    s->work = ARENA_ARRAY(a, float, vocab, "sampler", e);
    s->list = ARENA_ARRAY(a, struct token_logprob, vocab, "sampler", e);
    s->marks = ARENA_ARRAY(a, uint32_t, vocab, "sampler", e);
    s->breakers = ARENA_ARRAY(a, uint64_t, ceil_div(vocab, 64), "sampler", e);
    if (bias == NULL || s->work == NULL || s->list == NULL || s->marks == NULL || s->breakers == NULL) return false;
    for (size_t i = 0; i < settings->bias_count; i++) bias[i] = settings->bias[i];
    s->set.bias = bias; /* the caller's arrays may go once this returns */
    for (size_t i = 0; i < settings->dry_breaker_count; i++) {
        size_t token = (size_t)settings->dry_breakers[i];
        s->breakers[token / 64] |= UINT64_C(1) << token % 64;
    }
    s->set.dry_breakers = NULL;
    *out = s;
    return true;
}

void sampler_use(sampler *s, const struct sample_settings *settings)
{
    s->set = *settings;
    if (settings->dry_multiplier == 0.0f) return; /* breakers are not asked for */
    memset(s->breakers, 0, ceil_div(s->vocab, 64) * sizeof *s->breakers);
    for (size_t i = 0; i < settings->dry_breaker_count; i++) {
        size_t token = (size_t)settings->dry_breakers[i];
        s->breakers[token / 64] |= UINT64_C(1) << token % 64;
    }
}

void sampler_seed(sampler *s, uint64_t seed)
{
    s->set.seed = seed;
}

/* ---- heaps of tokens by key ---- */

static inline bool ahead(const struct token_logprob *a, const struct token_logprob *b)
{
    return a->logprob > b->logprob || (a->logprob == b->logprob && a->token < b->token);
}

/* Moves heap[at] down to its place; the root is the best or the worst of all. */
static inline void sift_down(struct token_logprob *heap, size_t count, size_t at, bool best_at_root)
{
    struct token_logprob moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && ahead(&heap[child + 1], &heap[child]) == best_at_root) child++;
        if (ahead(&heap[child], &moving) != best_at_root) break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static void heap_make(struct token_logprob *heap, size_t count, bool best_at_root)
{
    for (size_t at = count / 2; at-- > 0;) sift_down(heap, count, at, best_at_root);
}

/* Takes the root: it lands at heap[count - 1], and count - 1 are left. */
static void heap_pop(struct token_logprob *heap, size_t count, bool best_at_root)
{
    struct token_logprob root = heap[0];
    heap[0] = heap[count - 1];
    heap[count - 1] = root;
    sift_down(heap, count - 1, 0, best_at_root);
}

/* The `count` largest of x[0..n-1] into out, largest first, ties to the lower index. A heap with the worst of those
 * kept at its root: nearly every value of a large vocabulary costs one comparison. */
static void select_best(const float *x, size_t n, size_t count, struct token_logprob *out)
{
    assert(count >= 1 && count <= n);
    for (size_t i = 0; i < count; i++) out[i] = (struct token_logprob){ (int32_t)i, x[i] };
    heap_make(out, count, false);
    for (size_t i = count; i < n; i++) {
        if (x[i] <= out[0].logprob) continue; /* its index is higher than any kept: a tie loses */
        out[0] = (struct token_logprob){ (int32_t)i, x[i] };
        sift_down(out, count, 0, false);
    }
    for (size_t left = count; left > 1; left--) heap_pop(out, left, false);
}

/* ---- weights ---- */

/* floor(2^40 * exp(key)) for key <= 0. Far below KEY_LEAST the answer is 0, and most tokens lie there. */
static inline uint64_t weight_of(float key)
{
    return key < KEY_LEAST ? 0 : (uint64_t)((double)exp_f32(key) * 0x1p40);
}

static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* log(sum exp(x - max)) over all of x. */
static float log_total(const float *x, size_t n, float max)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) total += weight_of(x[i] - max);
    return log_f32((float)((double)total * 0x1p-40));
}

void sample_top(const float *logits, size_t vocab, size_t count, struct token_logprob *out)
{
    if (count == 0) return;
    select_best(logits, vocab, count, out);
    float max = out[0].logprob, total = log_total(logits, vocab, max);
    for (size_t i = 0; i < count; i++) out[i].logprob = (out[i].logprob - max) - total;
}

/* ---- penalties ---- */

/* Repetition (CTRL, arXiv 1909.05858, section 4.1), presence and frequency over the last tokens: once for each
 * different one. */
static void penalize(sampler *s, const int32_t *history, size_t count)
{
    const struct sample_settings *set = &s->set;
    if (set->repetition_penalty == 1.0f && set->presence_penalty == 0.0f && set->frequency_penalty == 0.0f) return;
    size_t first = count - min_size(count, set->penalty_window);
    for (size_t i = first; i < count; i++) s->marks[history[i]]++;
    for (size_t i = first; i < count; i++) {
        uint32_t times = s->marks[history[i]];
        if (times == 0) continue; /* met before in this loop */
        s->marks[history[i]] = 0;
        float *x = &s->work[history[i]];
        *x = *x > 0.0f ? *x / set->repetition_penalty : *x * set->repetition_penalty;
        *x = *x - set->presence_penalty;
        *x = *x - set->frequency_penalty * (float)times;
    }
}

static bool breaks(const sampler *s, int32_t token)
{
    return s->breakers[(size_t)token / 64] >> (size_t)token % 64 & 1;
}

/* Tokens that history[..at] and history[..last] end with in common, at < last; a breaker ends the match. */
static uint32_t match_length(const sampler *s, const int32_t *history, size_t at, size_t last)
{
    uint32_t match = 0;
    while (match < DRY_MATCH_MAX && match <= at && history[at - match] == history[last - match] &&
           !breaks(s, history[last - match]))
        match++;
    return match;
}

/* "Don't repeat yourself" (P. E. Weidmann, oobabooga/text-generation-webui pull request 5677): a token that would
 * carry on a sequence which stands in the history already loses multiplier * base^(match - allowed). */
static void penalize_dry(sampler *s, const int32_t *history, size_t count)
{
    const struct sample_settings *set = &s->set;
    if (set->dry_multiplier == 0.0f || count < 2) return;
    size_t last = count - 1, first = count - min_size(count, DRY_WINDOW_TOK);
    for (size_t at = first; at < last; at++) {
        uint32_t match = match_length(s, history, at, last), *mark = &s->marks[history[at + 1]];
        if (match > *mark) *mark = match;
    }
    for (size_t at = first; at < last; at++) {
        uint32_t match = s->marks[history[at + 1]];
        s->marks[history[at + 1]] = 0;
        if (match == 0 || match < set->dry_allowed || breaks(s, history[at + 1])) continue;
        float penalty = set->dry_multiplier;
        for (size_t i = set->dry_allowed; i < match; i++) penalty = penalty * set->dry_base;
        s->work[history[at + 1]] -= penalty < PENALTY_MAX ? penalty : PENALTY_MAX;
    }
}

/* ---- the draw ---- */

/* Fills the list with the tokens that can be drawn, keys (x - max) / T, as a heap with the best at its root. */
static size_t list_make(sampler *s, float max)
{
    const struct sample_settings *set = &s->set;
    size_t count = 0;
    bool all = set->top_k == 0 || set->top_k >= s->vocab;
    if (!all) select_best(s->work, s->vocab, set->top_k, s->list);
    for (size_t i = 0; i < (all ? s->vocab : set->top_k); i++) {
        int32_t token = all ? (int32_t)i : s->list[i].token;
        float key = (s->work[token] - max) / set->temperature;
        if (key >= KEY_LEAST) s->list[count++] = (struct token_logprob){ token, key };
    }
    heap_make(s->list, count, true);
    return count;
}

static uint64_t list_weight(const struct token_logprob *list, size_t count)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) total += weight_of(list[i].logprob);
    return total;
}

/* The smallest weight that is at least `share` of `total`, and at least 1. */
static uint64_t weight_share(float share, uint64_t total)
{
    double want = (double)share * (double)total;
    uint64_t floor_of = (uint64_t)want;
    uint64_t least = floor_of + ((double)floor_of < want);
    return least < 1 ? 1 : least < total ? least : total;
}

/* Locally typical sampling (arXiv 2202.00666, section 4): the tokens whose surprise -log p is nearest to the entropy,
 * until they hold `typical_p` of the weight. With d = -key, surprise is log_sum + d and entropy log_sum + sum(p d), so
 * log_sum falls out. sum(w d) is counted in whole units too. */
static size_t list_typical(sampler *s, size_t count, float max)
{
    const struct sample_settings *set = &s->set;
    struct token_logprob *list = s->list;
    uint64_t total = list_weight(list, count), moment = 0;
    for (size_t i = 0; i < count; i++)
        moment += (uint64_t)((double)exp_f32(list[i].logprob) * -(double)list[i].logprob * 0x1p40);
    float mean = (float)((double)moment / (double)total);
    for (size_t i = 0; i < count; i++) list[i].logprob = -fabsf(-list[i].logprob - mean);
    heap_make(list, count, true);
    uint64_t want = weight_share(set->typical_p, total), have = 0;
    size_t left = count;
    while (left > 0 && have < want) {
        heap_pop(list, left--, true);
        struct token_logprob *taken = &list[left];
        taken->logprob = (s->work[taken->token] - max) / set->temperature;
        have += weight_of(taken->logprob);
    }
    count -= left; /* those taken stand at the end */
    memmove(list, list + left, count * sizeof *list);
    heap_make(list, count, true);
    return count;
}

/* top-p, then min-p, then the draw: the kept tokens are taken from the heap, best first, and land at the list's end. */
static int32_t list_draw(sampler *s, size_t count, uint64_t position)
{
    const struct sample_settings *set = &s->set;
    struct token_logprob *list = s->list;
    uint64_t total = list_weight(list, count);
    uint64_t want = set->top_p < 1.0f ? weight_share(set->top_p, total) : total;
    uint64_t least = (uint64_t)((double)set->min_p * (double)weight_of(list[0].logprob)), kept = 0;
    size_t left = count;
    bool cut = set->top_p < 1.0f || set->min_p > 0.0f;
    while (cut && left > 0 && kept < want) {
        uint64_t weight = weight_of(list[0].logprob);
        if (left < count && weight < least) break;
        heap_pop(list, left--, true);
        kept += weight;
    }
    if (!cut) kept = total;
    uint32_t random[4];
    prng_block(set->seed, SAMPLE_STREAM, position, random);
    uint64_t bits = (uint64_t)random[0] << 32 | random[1];
    uint64_t at = (uint64_t)((unsigned __int128)bits * kept >> 64), sum = 0;
    for (size_t i = count; i-- > 0;) {
        if (i < left) heap_pop(list, left--, true); /* without a cut tokens are taken only as far as the draw goes */
        sum += weight_of(list[i].logprob);
        if (sum > at) return list[i].token;
    }
    assert(false); /* at < kept = the sum of those weights */
    return list[0].token;
}

int32_t sampler_draw(sampler *s, const float *logits, const int32_t *history, size_t history_count, uint64_t position,
                     float *logprob)
{
    memcpy(s->work, logits, s->vocab * sizeof *logits);
    for (size_t i = 0; i < s->set.bias_count; i++) s->work[s->set.bias[i].token] += s->set.bias[i].bias;
    penalize(s, history, history_count);
    penalize_dry(s, history, history_count);
    size_t best = argmax(s->work, s->vocab);
    float max = s->work[best];
    int32_t token = (int32_t)best;
    if (s->set.temperature > 0.0f && max > -INFINITY) { /* everything forbidden: the lowest token, as for any tie */
        size_t count = list_make(s, max);
        if (s->set.typical_p < 1.0f) count = list_typical(s, count, max);
        token = list_draw(s, count, position);
    }
    if (logprob != NULL) {
        float top = logits[argmax(logits, s->vocab)];
        *logprob = (logits[token] - top) - log_total(logits, s->vocab, top);
    }
    return token;
}
