/* Rope tables: see rope.h. */
#include "model/rope.h"

#include "base/checked.h"
#include "kernels/angle.h"

#include <assert.h>

#define TWO_PI 6.283185307179586476925

/* The pair whose wave turns `turns` times over the context it was trained on, as a real number (YaRN, section 3.2,
 * the inverse of r(d) = L / lambda_d). */
static double pair_of_turns(const struct rope_config *c, double turns)
{
    return (double)c->dims * log_f64((double)c->original_ctx_tok / (turns * TWO_PI)) / (2.0 * log_f64(c->base));
}

/* Largest whole number that is not over x. Pairs are few: |x| is far below 2^52, or the cast would not be exact. */
static double floor_of(double x)
{
    assert(x > -0x1p52 && x < 0x1p52);
    double whole = (double)(int64_t)x;
    return whole > x ? whole - 1.0 : whole;
}

/* 1 where a pair turns often (its frequency stays), 0 where it turns seldom (it is stretched), a ramp between. */
static double yarn_keep(const struct rope_config *c, size_t pair)
{
    double low = floor_of(pair_of_turns(c, c->beta_fast)), high = -floor_of(-pair_of_turns(c, c->beta_slow));
    if (low < 0.0) low = 0.0;
    if (high > (double)c->dims - 1.0) high = (double)c->dims - 1.0;
    double width = high - low > 0.001 ? high - low : 0.001, ramp = ((double)pair - low) / width;
    return 1.0 - (ramp < 0.0 ? 0.0 : ramp > 1.0 ? 1.0 : ramp);
}

static double pair_frequency(const struct rope_config *c, const float *divisors, size_t pair)
{
    double plain = pow_f64(c->base, -2.0 * (double)pair / (double)c->dims);
    if (divisors != NULL) plain = plain / (double)divisors[pair];
    switch (c->scaling) {
    case ROPE_LINEAR: return plain / c->factor;
    case ROPE_YARN: {
        double keep = yarn_keep(c, pair);
        return plain / c->factor * (1.0 - keep) + plain * keep;
    }
    case ROPE_PLAIN:
    case ROPE_LONG: break;
    }
    return plain;
}

bool rope_table_new(rope_table *r, const struct rope_config *config, const float *divisors, size_t ctx_tok, arena *a,
                    err *e)
{
    *r = (rope_table){ .half = config->dims / 2, .ctx_tok = ctx_tok, .magnitude = config->magnitude };
    r->frequency = ARENA_ARRAY(a, double, r->half, "rope frequencies", e);
    r->angles = ARENA_ARRAY(a, float, ctx_tok * r->half * 2, "rope table", e);
    if (r->frequency == NULL || r->angles == NULL) return false;
    for (size_t i = 0; i < r->half; i++) r->frequency[i] = pair_frequency(config, divisors, i);
    return true;
}

void rope_table_reach(rope_table *r, size_t tok)
{
    assert(tok <= r->ctx_tok);
    for (size_t pos = r->ready_tok; pos < tok; pos++) {
        float *out = r->angles + pos * r->half * 2;
        for (size_t i = 0; i < r->half; i++) {
            double angle = (double)pos * r->frequency[i];
            out[2 * i] = (float)(cos_f64(angle) * r->magnitude);
            out[2 * i + 1] = (float)(sin_f64(angle) * r->magnitude);
        }
    }
    r->ready_tok = max_size(r->ready_tok, tok);
}
