/* Attention over caches of every tier and of the published methods, on made heads of three kinds, against attention
 * over what was stored: KL divergence of the weights and relative error of the results, in f64. `heads table` prints
 * them.
 *
 *   keys      mean of the channel + spread of the channel * (64 latent values, power law i^-0.6, half of them slow, and
 *             noise), four outlier channels of mean 6..14 at low frequencies; then rope, theta 500,000, halves
 *   values    power law and noise, norms log-normal, token 0 small
 *   queries   4 heads x QUERIES at the end, scaled until token 0 has `sink` of the weight and the rest is as wide as
 *             `wide` tokens:   local: what lies near;   diffuse: no content;   retrieval: the content of a far key */
#include "cache/log_set.h"
#include "cache/measure.h"

#include "base/checked.h"
#include "base/prng.h"
#include "kernels/math.h"

#include "check.h"

#include <math.h>
#include <string.h>

enum { DIM = 128, TOK = 4064, LATENT = 64, HEADS = 4, QUERIES = 8, ROWS = HEADS * QUERIES, HALF_DIM = DIM / 2 };

enum kind { LOCAL, DIFFUSE, RETRIEVAL, KINDS };
static const struct { const char *name; double sink, wide; } kinds[KINDS] = {
    { "local", 0.8, 4.5 }, { "diffuse", 0.3, 500 }, { "retrieval", 0.7, 22 },
};

static float keys[TOK][DIM], values[TOK][DIM]; /* as the exact cache holds them: f16 */
static float seen_keys[TOK][DIM], seen_values[TOK][DIM];
static double queries[ROWS][DIM], exact_weight[ROWS][TOK], exact_out[ROWS][DIM];

static double normal(uint64_t stream, uint64_t i)
{
    double u = prng_unit(41, stream, 2 * i) + 1e-12, v = prng_unit(41, stream, 2 * i + 1);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static void rope(double *x, size_t pos)
{
    for (size_t i = 0; i < HALF_DIM; i++) {
        double a = (double)pos * pow(5e5, -2.0 * (double)i / DIM), c = cos(a), s = sin(a), x0 = x[i];
        x[i] = x0 * c - x[i + HALF_DIM] * s;
        x[i + HALF_DIM] = x0 * s + x[i + HALF_DIM] * c;
    }
}

/* ---- a head ---- */

static double mix[DIM][LATENT], latent[TOK][LATENT], mean[DIM], spread[DIM];
static double content[TOK][DIM]; /* keys without mean, before rope */

static void make_keys(uint64_t seed)
{
    for (size_t c = 0; c < DIM; c++) {
        for (size_t j = 0; j < LATENT; j++) mix[c][j] = normal(seed + 1, c * LATENT + j) / 8;
        mean[c] = 0.5 * normal(seed + 2, c) + (c % HALF_DIM < 16 ? 1.0 : 0.0);
        spread[c] = exp(0.5 * normal(seed + 3, c));
    }
    for (size_t i = 0; i < 4; i++) /* pairs 48, 52, 56, 60: slow */
        mean[48 + 4 * i + i % 2 * HALF_DIM] = (i % 2 == 0 ? 1 : -1) * (6 + 8 * prng_unit(41, seed + 4, i));
    for (size_t t = 0; t < TOK; t++)
        for (size_t j = 0; j < LATENT; j++) {
            double fresh = normal(seed + 5, t * LATENT + j), power = pow((double)j + 1, -0.6);
            latent[t][j] = j % 2 == 0 && t > 0 ? 0.95 * latent[t - 1][j] + sqrt(1 - 0.95 * 0.95) * power * fresh
                                               : power * fresh;
        }
    for (size_t t = 0; t < TOK; t++) {
        double key[DIM];
        for (size_t c = 0; c < DIM; c++) {
            double x = 0;
            for (size_t j = 0; j < LATENT; j++) x += 4 * mix[c][j] * latent[t][j];
            content[t][c] = spread[c] * (x + 0.3 * normal(seed + 6, t * DIM + c));
            key[c] = mean[c] + content[t][c];
        }
        if (t == 0) key[63] = key[63] - 30; /* the sink: far out on the slowest pair */
        rope(key, t);
        for (size_t c = 0; c < DIM; c++) keys[t][c] = f16_to_f32(f16_clamped((float)key[c]));
    }
    for (size_t t = 0; t < TOK; t++) {
        double norm = exp(0.3 * normal(seed + 7, t)) * (t == 0 ? 0.05 : 1);
        for (size_t c = 0; c < DIM; c++)
            values[t][c] = f16_to_f32(f16_clamped((float)(norm * (pow((double)(c % 32) + 1, -0.3) *
                                                                  normal(seed + 8, t * DIM + c) + 0.1))));
    }
}

static void make_query(enum kind kind, uint64_t seed, size_t row, double *q)
{
    size_t pos = TOK - QUERIES + row % QUERIES;
    size_t far = 200 + (size_t)(prng_unit(41, seed + 20, row) * (TOK - 600));
    for (size_t c = 0; c < DIM; c++) {
        double own = normal(seed + 21, row * DIM + c) / spread[c];
        q[c] = kind == LOCAL       ? (c % HALF_DIM < 16 ? mean[c] : 0) + 0.1 * own
               : kind == RETRIEVAL ? (c % HALF_DIM >= 24 ? content[far][c] / (spread[c] * spread[c]) : 0)
                                   : own;
    }
    q[63] = 0;
    q[127] = 0;
    rope(q, pos);
}

/* Softmax weights of a query whose content is scaled by `gain` and whose pull to token 0 is `pull`; the width of the
 * rest in tokens. */
static double weights_of(const double *scores, double gain, double pull, double *out)
{
    double most = -1e300, sum = 0, entropy = 0, rest = 0;
    for (size_t t = 0; t < TOK; t++) {
        out[t] = scores[t] * gain + (t == 0 ? pull : 0);
        most = fmax(most, out[t]);
    }
    for (size_t t = 0; t < TOK; t++) sum += out[t] = exp(out[t] - most);
    for (size_t t = 0; t < TOK; t++) out[t] /= sum, rest += t > 0 ? out[t] : 0;
    for (size_t t = 1; t < TOK; t++)
        if (out[t] > 0) entropy -= out[t] / rest * log(out[t] / rest);
    return exp(entropy);
}

/* Gain for the width, then a component on the slowest channel, where token 0 stands apart, for the sink. */
static void make_queries(enum kind kind, uint64_t seed)
{
    static double scores[TOK], slow[TOK], both[TOK], room[TOK];
    for (size_t row = 0; row < ROWS; row++) {
        double *q = queries[row], low = 1e-4, high = 1e4, down = 0, up = 1e3;
        make_query(kind, seed, row, q);
        for (size_t t = 0; t < TOK; t++) {
            scores[t] = 0;
            for (size_t c = 0; c < DIM; c++) scores[t] += q[c] * (double)keys[t][c] / sqrt(DIM);
            slow[t] = -(double)keys[t][63] / sqrt(DIM);
        }
        for (int i = 0; i < 60; i++) { /* wider with less gain */
            double middle = sqrt(low * high);
            if (weights_of(scores, middle, -1e6, room) > kinds[kind].wide) low = middle;
            else high = middle;
        }
        for (int i = 0; i < 60; i++) {
            double middle = (down + up) / 2;
            for (size_t t = 0; t < TOK; t++) both[t] = scores[t] * low + slow[t] * middle;
            weights_of(both, 1, 0, room);
            if (room[0] < kinds[kind].sink) down = middle;
            else up = middle;
        }
        for (size_t c = 0; c < DIM; c++) q[c] = q[c] * low - (c == 63 ? down : 0);
    }
}

static void attend(const double *q, float k[TOK][DIM], float v[TOK][DIM], double *weight, double *out)
{
    static double scores[TOK];
    for (size_t t = 0; t < TOK; t++) {
        scores[t] = 0;
        for (size_t c = 0; c < DIM; c++) scores[t] += q[c] * (double)k[t][c] / sqrt(DIM);
    }
    weights_of(scores, 1, 0, weight);
    memset(out, 0, DIM * sizeof *out);
    for (size_t t = 0; t < TOK; t++)
        for (size_t c = 0; c < DIM; c++) out[c] += weight[t] * (double)v[t][c];
}

/* ---- what a cache makes of it ---- */

static const struct kv_shape base_shape = { .layers = 1, .kv_heads = 1, .key_dim = DIM, .value_dim = DIM,
                                            .sequences = 1, .step_tok = PAGE_TOK };

/* A stretch that must begin: one row of the table only where it does not. */
static bool begin(kv_step *st, kv_seq *s, size_t count)
{
    err e = { 0 };
    size_t scratch = 0;
    return kv_step_begin(st, s, count, &scratch, &e) || CHECK(false, "%s", e.text);
}

static void store_f16(struct kv_page page, size_t at, const float *k, const float *v)
{
    uint16_t *to_keys = page.keys, *to_values = page.values;
    for (size_t c = 0; c < DIM; c++) to_keys[c * PAGE_TOK + at] = f16_clamped(k[c]);
    for (size_t c = 0; c < DIM; c++) to_values[at * DIM + c] = f16_clamped(v[c]);
}

static void load_f16(struct kv_page page, size_t at, float *k, float *v)
{
    const uint16_t *from_keys = page.keys, *from_values = page.values;
    for (size_t c = 0; c < DIM; c++) k[c] = f16_to_f32(from_keys[c * PAGE_TOK + at]);
    for (size_t c = 0; c < DIM; c++) v[c] = f16_to_f32(from_values[at * DIM + c]);
}

/* A sequence of a log tier after all tokens, and what its last one sees. */
static void through_log(kv_seq *s)
{
    static float room[LOG_PACK_FLOATS];
    kv_step st;
    size_t m;
    while (s->len_tok < TOK - 1) {
        size_t first = s->len_tok, count = min_size(PAGE_TOK - first % PAGE_TOK, TOK - 1 - first);
        if (!begin(&st, s, count)) return;
        for (size_t i = 0; i < count; i++)
            store_f16(kv_step_exact(&st, st.last_page, 0, 0), (first + i) % PAGE_TOK, keys[first + i],
                      values[first + i]);
        if (kv_step_turns(&st)) kv_step_settle(&st, 0, 0, room);
        kv_step_end(&st, true);
    }
    if (!begin(&st, s, 1)) return;
    m = st.last_page;
    store_f16(kv_step_exact(&st, m, 0, 0), (TOK - 1) % PAGE_TOK, keys[TOK - 1], values[TOK - 1]);
    for (size_t t = 0; t < TOK; t++) {
        size_t page = t / PAGE_TOK;
        if (page + 1 >= m) load_f16(kv_step_exact(&st, page, 0, 0), t % PAGE_TOK, seen_keys[t], seen_values[t]);
        else
            coded_read(s->pool->shape.type, &s->pool->layout, kv_keys(s, page, 0, 0), DIM, DIM, t % PAGE_TOK,
                       seen_keys[t], seen_values[t]);
    }
    for (size_t slot = 0; slot < PAGE_TOK; slot++) {
        size_t t = log_slot(m, slot);
        load_f16(kv_step_set(&st, m, 0, 0), slot, seen_keys[t], seen_values[t]);
    }
    kv_step_end(&st, true);
}

static void through_tokens(kv_seq *s)
{
    for (size_t t = 0; t < TOK; t++) {
        kv_step st;
        if (!begin(&st, s, 1)) return;
        coded_store(s->pool->shape.type, &s->pool->layout, keys[t], values[t], DIM, DIM, t % PAGE_TOK,
                    kv_keys(s, t / PAGE_TOK, 0, 0));
        kv_step_end(&st, true);
        coded_read(s->pool->shape.type, &s->pool->layout, kv_keys(s, t / PAGE_TOK, 0, 0), DIM, DIM, t % PAGE_TOK,
                   seen_keys[t], seen_values[t]);
    }
}

static void through_method(kv_seq *s, enum kv_method method)
{
    err e = { 0 };
    kv_measure *measure = NULL;
    if (!CHECK(kv_measure_new(&measure, method, s, TOK, &e), "%s", e.text)) return;
    for (size_t t = 0; t < TOK; t++) {
        kv_step st;
        if (!begin(&st, s, 1)) break;
        float *k = kv_keys(s, t / PAGE_TOK, 0, 0), *v = kv_values(s, t / PAGE_TOK, 0, 0);
        for (size_t c = 0; c < DIM; c++) k[c * PAGE_TOK + t % PAGE_TOK] = keys[t][c];
        memcpy(v + t % PAGE_TOK * DIM, values[t], sizeof values[t]);
        kv_step_end(&st, true);
        kv_measure_stored(measure);
    }
    for (size_t t = 0; t < TOK; t++) {
        const float *k = kv_keys(s, t / PAGE_TOK, 0, 0), *v = kv_values(s, t / PAGE_TOK, 0, 0);
        for (size_t c = 0; c < DIM; c++) seen_keys[t][c] = k[c * PAGE_TOK + t % PAGE_TOK];
        memcpy(seen_values[t], v + t % PAGE_TOK * DIM, sizeof seen_values[t]);
    }
    kv_measure_free(measure);
}

/* ---- the table ---- */

struct tier {
    enum kv_type type;
    enum kv_method method; /* KV_METHODS: the type's own */
};
enum { K2V2, K3V2, K4V2, K4V3, Q8, Q4, PAPER, WINDOW, KIVI2, BASE_Q4, BASE_Q4ROT, TIERS };
static const struct tier tiers[TIERS] = { /* ORDER of the enumeration */
    { KV_K2V2, KV_METHODS }, { KV_K3V2, KV_METHODS }, { KV_K4V2, KV_METHODS }, { KV_K4V3, KV_METHODS },
    { KV_Q8, KV_METHODS },   { KV_Q4, KV_METHODS },   { KV_F32, KV_PAPER },    { KV_F32, KV_BASE_WINDOW },
    { KV_F32, KV_BASE_KIVI2 }, { KV_F32, KV_BASE_Q4 }, { KV_F32, KV_BASE_Q4ROT },
};
struct result {
    double kl, error, bits;
};

static const char *tier_name(const struct tier *t)
{
    return t->method < KV_METHODS ? kv_method_name(t->method) : kv_type_name(t->type);
}

static struct result measure_tier(const struct tier *t)
{
    static double weight[TOK];
    struct kv_shape shape = base_shape;
    struct result r = { 0 };
    double out[DIM];
    arena a;
    kv_pool pool;
    kv_seq s;
    err e = { 0 };
    shape.type = t->type;
    if (!CHECK(arena_new(&a, 1 << 20, &e) && kv_pool_new(&pool, &shape, TOK / PAGE_TOK + 1, &a, &e) &&
                   kv_seq_new(&s, &pool, TOK, &a, &e), "%s", e.text))
        return r;
    if (t->method < KV_METHODS) through_method(&s, t->method);
    else if (kv_is_log(t->type)) through_log(&s);
    else through_tokens(&s);
    r.bits = t->method < KV_METHODS ? kv_method_bits(t->method, TOK, DIM)
                                    : 8.0 * (double)kv_seq_bytes(&pool, TOK) / (2.0 * DIM * TOK);
    for (size_t row = 0; row < ROWS; row++) {
        double off = 0, length = 0;
        attend(queries[row], seen_keys, seen_values, weight, out);
        for (size_t i = 0; i < TOK; i++)
            if (exact_weight[row][i] > 0)
                r.kl += exact_weight[row][i] * log(exact_weight[row][i] / fmax(weight[i], 1e-300)) / ROWS;
        for (size_t c = 0; c < DIM; c++) {
            off += (out[c] - exact_out[row][c]) * (out[c] - exact_out[row][c]);
            length += exact_out[row][c] * exact_out[row][c];
        }
        r.error += sqrt(off / length) / ROWS;
    }
    kv_pool_free(&pool);
    arena_free(&a);
    return r;
}

/* Nothing that takes no more bits has a smaller divergence. */
static void on_front(enum kind kind, const struct result *r, size_t tier)
{
    for (size_t i = PAPER; i < TIERS; i++)
        CHECK(r[i].bits > r[tier].bits || r[i].kl > r[tier].kl, "%s: %s (%.2f bits, KL %.4f) is behind %s (%.2f, %.4f)",
              kinds[kind].name, tier_name(&tiers[tier]), r[tier].bits, r[tier].kl, tier_name(&tiers[i]), r[i].bits,
              r[i].kl);
}

int main(int argc, char **argv)
{
    bool table = argc > 1 && strcmp(argv[1], "table") == 0;
    for (enum kind kind = LOCAL; kind < KINDS; kind++) {
        struct result r[TIERS];
        make_keys(100);
        make_queries(kind, 100 + 50 * (uint64_t)kind);
        for (size_t row = 0; row < ROWS; row++)
            attend(queries[row], keys, values, exact_weight[row], exact_out[row]);
        for (size_t i = 0; i < TIERS; i++) {
            r[i] = measure_tier(&tiers[i]);
            if (table) printf("%-10s %-12s %6.3f bits a value   KL %.5f   error %.4f\n", kinds[kind].name,
                              tier_name(&tiers[i]), r[i].bits, r[i].kl, r[i].error);
        }
        CHECK(r[K2V2].kl * 4 <= r[PAPER].kl, "%s: KL of log:k2v2 %.5f, of log:paper %.5f, asked a quarter",
              kinds[kind].name, r[K2V2].kl, r[PAPER].kl);
        CHECK(r[K2V2].error < r[PAPER].error, "%s: error of log:k2v2 %.4f, of log:paper %.4f", kinds[kind].name,
              r[K2V2].error, r[PAPER].error);
        on_front(kind, r, K3V2);
        on_front(kind, r, K4V2);
        CHECK(r[Q8].kl < 0.02, "%s: q8 %.5f", kinds[kind].name, r[Q8].kl);
    }
    return check_done();
}
