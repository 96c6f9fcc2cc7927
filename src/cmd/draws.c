/* The options of sampling, and what they become: see open.h. */
#include "cmd/open.h"

#include "base/limits.h"

#define AT(field) offsetof(struct draw_options, field)

static const struct option DRAW_ROWS[] = {
    { "--seed", "N", OPTION_SEED, AT(seed), 0, 0, NULL, "0", "seed of the draws: same seed, same text" },
    { "--temp", "X", OPTION_NUMBER, AT(temperature), 0, 100, NULL, "0.7", "temperature; 0 takes the likeliest token" },
    { "--top-k", "N", OPTION_COUNT, AT(top_k), 0, VOCAB_MAX, NULL, "40", "draw from the N likeliest; 0: all" },
    { "--top-p", "X", OPTION_NUMBER, AT(top_p), 0, 1, NULL, "0.95", "draw from the likeliest that hold X of it" },
    { "--min-p", "X", OPTION_NUMBER, AT(min_p), 0, 1, NULL, "0.05", NULL },
    { "--stop", "TEXT", OPTION_TEXTS, AT(stops), 0, 0, NULL, NULL, "end the answer before TEXT; may be repeated" },
    { "--typical-p", "X", OPTION_NUMBER, AT(typical_p), 0, 1, NULL, "1", NULL },
    { "--repeat-penalty", "X", OPTION_NUMBER, AT(repeat_penalty), 0.01, 100, NULL, "1", NULL },
    { "--presence-penalty", "X", OPTION_NUMBER, AT(presence_penalty), -100, 100, NULL, "0", NULL },
    { "--frequency-penalty", "X", OPTION_NUMBER, AT(frequency_penalty), -100, 100, NULL, "0", NULL },
    { "--penalty-window", "N", OPTION_COUNT, AT(penalty_window), 0, CTX_TOK_MAX, NULL, "64", NULL },
    { "--dry-multiplier", "X", OPTION_NUMBER, AT(dry_multiplier), 0, 100, NULL, "0", NULL },
    { "--dry-base", "X", OPTION_NUMBER, AT(dry_base), 1, 4, NULL, "1.75", NULL },
    { "--dry-allowed", "N", OPTION_COUNT, AT(dry_allowed), 0, 64, NULL, "2", NULL },
    { "--logit-bias", "TOKEN=X", OPTION_TEXTS, AT(bias), 0, 0, NULL, NULL, NULL },
};

struct option_group draw_group(struct draw_options *values)
{
    return (struct option_group){ DRAW_ROWS, sizeof DRAW_ROWS / sizeof *DRAW_ROWS, values };
}

/* "TOKEN=VALUE": ranges are sample_check's. */
static bool bias_parse(const char *text, struct logit_bias *out, err *e)
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
    *out = (struct logit_bias){ (int32_t)token, (float)value };
    return true;
}

static bool biases_parse(struct opened *o, const struct texts *texts, struct sample_settings *set, err *e)
{
    struct logit_bias *bias = ARENA_ARRAY(&o->arena, struct logit_bias, texts->count, "logit biases", e);
    if (bias == NULL) return false;
    for (size_t i = 0; i < texts->count; i++)
        if (!bias_parse(texts->items[i], &bias[i], e)) return false;
    set->bias = bias;
    set->bias_count = texts->count;
    return true;
}

/* Tokens that hold a line end, a colon, a quote or a star: the method's own choice of where a repetition is form. */
static bool breakers_find(struct opened *o, struct sample_settings *set, err *e)
{
    size_t vocab = tokenizer_count(o->model.tokenizer), count = 0;
    int32_t *tokens = ARENA_ARRAY(&o->arena, int32_t, vocab, "DRY breakers", e);
    if (tokens == NULL) return false;
    for (size_t token = 0; token < vocab; token++) {
        view text = tokenizer_text(o->model.tokenizer, (int32_t)token);
        bool breaks = false;
        for (size_t i = 0; i < text.len_bytes; i++)
            breaks = breaks || (text.ptr[i] != '\0' && strchr("\n:\"*", text.ptr[i]) != NULL);
        if (breaks) tokens[count++] = (int32_t)token;
    }
    set->dry_breakers = tokens;
    set->dry_breaker_count = count;
    return true;
}

bool plan_draws(struct opened *o, const struct draw_options *d, struct session_settings *set, err *e)
{
    set->sample = (struct sample_settings){ .seed = d->seed, .temperature = d->temperature, .top_k = d->top_k,
                                            .top_p = d->top_p, .min_p = d->min_p, .typical_p = d->typical_p,
                                            .repetition_penalty = d->repeat_penalty,
                                            .presence_penalty = d->presence_penalty,
                                            .frequency_penalty = d->frequency_penalty,
                                            .penalty_window = d->penalty_window, .dry_multiplier = d->dry_multiplier,
                                            .dry_base = d->dry_base, .dry_allowed = d->dry_allowed };
    view *stops = ARENA_ARRAY(&o->arena, view, d->stops.count, "stop texts", e);
    if (stops == NULL || !biases_parse(o, &d->bias, &set->sample, e)) return false;
    for (size_t i = 0; i < d->stops.count; i++) stops[i] = view_of(d->stops.items[i]);
    set->stops = stops;
    set->stop_count = d->stops.count;
    return d->dry_multiplier == 0.0f || breakers_find(o, &set->sample, e);
}
