/* What may be asked of an engine. A message that does not follow include/hearth.h's layout has a broken sender; a
 * number out of range in one that does is an error of the request. Everything is read from the caller's private copy.
 * */
#include "engine/engine_part.h"

#include "base/checked.h"
#include "base/limits.h"

/* Copies the next `count` things of the tail, whose lengths were shown to fit. */
static void take_tail(view *left, void *to, size_t bytes)
{
    memcpy(to, left->ptr, bytes);
    *left = view_after(*left, bytes);
}

/* Counts first, each against its limit; then their sum against the length: no product below can wrap. */
static bool layout_check(const struct hearth_request *r, size_t vocab, size_t len_bytes, err *e)
{
    if (r->head.id == 0 || r->head.choice != 0 || r->head.zero != 0 || r->zero != 0)
        return fail(e, ERR_VALUE, 0, "request: its head is id %llu, choice %u", (unsigned long long)r->head.id,
                    r->head.choice);
    if (r->prompt_tok > CTX_TOK_MAX || r->stop_count > HEARTH_STOP_TOKENS_MAX || r->bias_count > HEARTH_BIASES_MAX ||
        r->breaker_count > vocab)
        return fail(e, ERR_LIMIT, 0, "request: %u ids, %u stop tokens, %u biases, %u breakers: one is over its limit",
                    r->prompt_tok, r->stop_count, r->bias_count, r->breaker_count);
    size_t want = sizeof *r + ((size_t)r->prompt_tok + r->stop_count + r->breaker_count) * sizeof(int32_t) +
                  (size_t)r->bias_count * sizeof(struct hearth_bias);
    if (want != len_bytes) return fail(e, ERR_VALUE, 0, "request: %zu bytes, its counts ask for %zu", len_bytes, want);
    return true;
}

/* ORDER hearth_sampling */
static struct sample_settings sample_of(const struct asked *q)
{
    const struct hearth_sampling *s = &q->r.sampling;
    return (struct sample_settings){ .seed = s->seed, .temperature = s->temperature, .top_k = s->top_k,
                                     .top_p = s->top_p, .min_p = s->min_p, .typical_p = s->typical_p,
                                     .repetition_penalty = s->repetition_penalty,
                                     .presence_penalty = s->presence_penalty,
                                     .frequency_penalty = s->frequency_penalty,
                                     .penalty_window = s->penalty_window, .dry_multiplier = s->dry_multiplier,
                                     .dry_base = s->dry_base, .dry_allowed = s->dry_allowed,
                                     .dry_breakers = q->breakers, .dry_breaker_count = q->r.breaker_count,
                                     .bias = q->biases, .bias_count = q->r.bias_count };
}

static bool ids_check(const int32_t *ids, size_t count, size_t vocab, const char *what, err *why)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= vocab)
            return fail(why, ERR_VALUE, ERR_NO_OFFSET, "%s: token %zu is %d, allowed 0..%zu", what, i, ids[i],
                        vocab - 1);
    return true;
}

struct count_row {
    const char *name;
    uint64_t value, min, max;
};

static bool counts_check(const engine *en, const struct hearth_request *r, err *why)
{
    const struct count_row rows[] = {
        { "answers", r->n, 1, HEARTH_CHOICES_MAX },
        { "kind of request", r->want, 0, HEARTH_EMBED_FIRST },
        { "logprobs", r->logprobs, 0, 1 },
        { "rivals", r->top_count, 0, r->logprobs ? min_size(HEARTH_TOP_MAX, en->m->hyper.vocab) : 0 },
        { "weight", r->weight, 1, 1000 },
        { "carried answer", r->answer_tok, 0, r->n == 1 && r->prompt_tok > 0 ? r->prompt_tok - 1 : 0 },
        { "-n", r->max_tok, r->answer_tok > 0 && r->max_tok > 0 ? r->answer_tok + 1 : 0, CTX_TOK_MAX },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].value < rows[i].min || rows[i].value > rows[i].max)
            return fail(why, ERR_VALUE, ERR_NO_OFFSET, "%s: %llu, allowed %llu..%llu", rows[i].name,
                        (unsigned long long)rows[i].value, (unsigned long long)rows[i].min,
                        (unsigned long long)rows[i].max);
    if (r->prompt_tok < 1) return fail(why, ERR_VALUE, ERR_NO_OFFSET, "prompt: no tokens, at least 1 is needed");
    if (r->prompt_tok > en->set.ctx_tok)
        return fail(why, ERR_LIMIT, ERR_NO_OFFSET, "prompt: %u tokens, the context holds %u (--ctx)", r->prompt_tok,
                    en->set.ctx_tok);
    if (r->mask != 0 && !masks_has(en, r->mask, r->tenant))
        return fail(why, ERR_MISSING, ERR_NO_OFFSET, "mask: no table %llu", (unsigned long long)r->mask);
    return true;
}

bool request_read(const engine *en, view message, struct asked *out, err *why, err *e)
{
    size_t vocab = en->m->hyper.vocab;
    struct hearth_request r;
    if (message.len_bytes < sizeof r)
        return fail(e, ERR_TRUNCATED, message.len_bytes, "request: %zu bytes, at least %zu", message.len_bytes,
                    sizeof r);
    memcpy(&r, message.ptr, sizeof r);
    if (!layout_check(&r, vocab, message.len_bytes, e)) return false;
    out->r = r;
    if (!counts_check(en, &r, why)) return true; /* longer lists than there is room for are not copied */
    view tail = view_after(message, sizeof r);
    take_tail(&tail, out->ids, r.prompt_tok * sizeof *out->ids);
    take_tail(&tail, out->stops, r.stop_count * sizeof *out->stops);
    take_tail(&tail, out->biases, r.bias_count * sizeof *out->biases);
    take_tail(&tail, out->breakers, r.breaker_count * sizeof *out->breakers);
    out->sample = sample_of(out);
    (void)(ids_check(out->ids, r.prompt_tok, vocab, "prompt", why) &&
           ids_check(out->stops, r.stop_count, vocab, "stop tokens", why) && sample_check(&out->sample, vocab, why));
    return true;
}
