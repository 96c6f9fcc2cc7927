/* Every gradient against finite differences in double precision, whole models of every kind of parameter; then the f32
 * build of the same sources, each tier, against the double build. The difference quotient of order four,
 * (8 (f(+h) - f(-h)) - (f(+2h) - f(-2h))) / 12h, has an error of h^4 f'''''/30: far below what is asked at h = 1e-3. */
#include "double.h"

#include "check.h"

#include "base/prng.h"

/* As compiled in the library, with real = float: its arguments have no `real` in them. */
bool net_probe(const struct shape *s, const struct batch *b, const double *params, double *grads, const char *tier,
               size_t threads, double *loss, err *e);

enum { TOKENS_MAX = 64 };

/* Tokens, targets and document starts of any shape; a target in five carries no loss. */
struct sample {
    int32_t tok[TOKENS_MAX], target[TOKENS_MAX], starts[TOKENS_MAX];
    struct batch batch;
    size_t targets;
};

static void sample_make(struct sample *s, size_t rows, size_t row_tok, size_t vocab, uint64_t seed)
{
    s->targets = 0;
    for (size_t t = 0; t < rows * row_tok; t++) {
        size_t at = t % row_tok;
        bool begins = at == 0 || prng_unit(seed, 3, t) < 0.2;
        s->tok[t] = (int32_t)(prng_unit(seed, 1, t) * (double)vocab);
        s->target[t] = prng_unit(seed, 4, t) < 0.2 && t > 0 ? -1 : (int32_t)(prng_unit(seed, 2, t) * (double)vocab);
        s->starts[t] = begins ? (int32_t)at : s->starts[t - 1];
        s->targets += s->target[t] >= 0;
    }
    s->batch = (struct batch){ rows, row_tok, s->tok, s->target, s->starts };
}

static const struct model_case {
    const char *says;
    struct shape shape;
    size_t rows, row_tok;
} MODELS[] = {
    /* A norm of one or two values hardly depends on their size: an epsilon of 0.3 keeps its gradient away from 0. */
    /*                              vocab width L  H kv dim ffn  E  k rank ctx base   eps   balance z */
    { "the smallest dense",       { 2, 1, 1, 1, 1, 2, 1, 0, 0, 0, 8, 1e4, 0.3, 0, 0 }, 1, 1 },
    { "width 2, five tokens",     { 3, 2, 1, 1, 1, 2, 2, 0, 0, 0, 8, 1e4, 0.1, 0, 0 }, 2, 5 },
    { "width 5, two layers",      { 7, 5, 2, 2, 1, 2, 5, 0, 0, 0, 8, 1e4, 1e-6, 0, 0 }, 2, 5 },
    { "grouped heads, dense",     { 9, 10, 2, 4, 2, 6, 7, 0, 0, 0, 16, 1e4, 1e-5, 0, 0 }, 2, 9 },
    { "vectors over 16 lanes",    { 18, 17, 1, 1, 1, 18, 19, 0, 0, 0, 16, 100, 1e-5, 0, 0 }, 1, 17 },
    { "one expert, one chosen",   { 5, 2, 1, 1, 1, 2, 2, 1, 1, 0, 8, 1e4, 1e-6, 0.1, 0.1 }, 1, 5 },
    { "five experts, two chosen", { 11, 6, 2, 2, 1, 4, 5, 5, 2, 0, 16, 1e4, 1e-6, 0.5, 0.3 }, 2, 9 },
    { "a gate of rank three",     { 13, 8, 2, 2, 2, 4, 6, 6, 3, 3, 16, 1e4, 1e-6, 0.5, 0.3 }, 2, 12 },
};

/* Weights large enough that nothing is linear, norms away from 1. */
static void spread(const struct layout *l, double *run)
{
    for (size_t i = 0; i < l->tensor_count; i++) {
        const struct tensor *t = &l->tensors[i];
        for (size_t j = 0; j < t->count * t->rows * t->cols; j++) {
            double u = 2 * prng_unit(99, 7, t->offset + j) - 1;
            run[t->offset + j] = t->init_std == 0 ? 1 + 0.5 * u : 1.2 * u / sqrt((double)t->cols) * (i == 0 ? 2 : 1);
        }
    }
}

struct bench {
    arena a;
    team *team;
    struct layout layout;
    struct net net;
    struct sample sample;
    double *params, *grads;
};

static bool bench_make(struct bench *b, const struct model_case *m, err *e)
{
    if (!arena_new(&b->a, 1 << 28, e) || !team_new(&b->team, 1, NULL, 0, e)) return false;
    if (!layout_make(&m->shape, &b->a, &b->layout, e)) return false;
    if (!net_make(&b->net, &b->layout, m->rows * m->row_tok, m->row_tok, &gemm_ref, &ops_ref, b->team, &b->a, e))
        return false;
    b->params = ARENA_ARRAY(&b->a, double, b->layout.total, "parameters", e);
    b->grads = ARENA_ARRAY(&b->a, double, b->layout.total, "gradients", e);
    if (b->params == NULL || b->grads == NULL) return false;
    sample_make(&b->sample, m->rows, m->row_tok, m->shape.vocab, 5);
    spread(&b->layout, b->params);
    return true;
}

static double bench_loss(struct bench *b, double *grads)
{
    double share = 1 / (double)b->sample.targets;
    struct batch_result r = net_run(&b->net, &b->sample.batch, b->params, grads, share, 1);
    return r.loss * share + r.aux;
}

static double quotient(struct bench *b, size_t i)
{
    const double h = 1e-3;
    double kept = b->params[i], f[4];
    for (int s = 0; s < 4; s++) {
        static const double at[4] = { 1, -1, 2, -2 };
        b->params[i] = kept + at[s] * h;
        f[s] = bench_loss(b, NULL);
    }
    b->params[i] = kept;
    return (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h);
}

/* norm(g - want) / norm(want) over a tensor; 0 where both are 0. */
static double distance(const double *g, const double *want, const struct tensor *t)
{
    double apart = 0, size = 0;
    for (size_t j = 0; j < t->count * t->rows * t->cols; j++) {
        double d = g[t->offset + j] - want[t->offset + j];
        apart += d * d;
        size += want[t->offset + j] * want[t->offset + j];
    }
    /* Where the true gradient is 0 (softmax over one key, say) the quotient is noise around 0. */
    if (size < 1e-20) return apart < 1e-20 ? 0 : 1;
    return sqrt(apart / size);
}

static void test_model(const struct model_case *m)
{
    err e = { 0 };
    struct bench b = { 0 };
    if (!CHECK(bench_make(&b, m, &e), "%s: %s", m->says, e.text)) return;
    bench_loss(&b, b.grads);
    b.net.keep_routing = true;
    double *want = ARENA_ARRAY(&b.a, double, b.layout.total, "quotients", &e), worst = 0;
    for (size_t i = 0; i < b.layout.tensor_count; i++) {
        const struct tensor *t = &b.layout.tensors[i];
        for (size_t j = 0; j < t->count * t->rows * t->cols; j++) want[t->offset + j] = quotient(&b, t->offset + j);
        char name[64];
        tensor_name(t, name, sizeof name);
        double d = distance(b.grads, want, t);
        CHECK(d <= 1e-6, "%s, %s: gradient differs by %.2e, allowed 1e-6", m->says, name, d);
        if (d > worst) worst = d;
    }
    printf("%-26s %5zu parameters, worst tensor %.1e\n", m->says, b.layout.values, worst);
    team_free(b.team);
    arena_free(&b.a);
}

/* The f32 build on the same batch and (rounded) weights. */
static void test_f32(const struct model_case *m, const char *tier)
{
    err e = { 0 };
    struct bench b = { 0 };
    if (!CHECK(bench_make(&b, m, &e), "%s: %s", m->says, e.text)) return;
    for (size_t i = 0; i < b.layout.total; i++) b.params[i] = (double)(float)b.params[i];
    double *got = ARENA_ARRAY(&b.a, double, b.layout.total, "f32 gradients", &e), loss, want = bench_loss(&b, b.grads);
    double worst = 0;
    if (!net_probe(&m->shape, &b.sample.batch, b.params, got, tier, 2, &loss, &e)) {
        check_skip(e.text);
    } else {
        CHECK(fabs(loss - want) < 1e-5 * fabs(want), "%s, %s: loss %.9g, want %.9g", m->says, tier, loss, want);
        for (size_t i = 0; i < b.layout.tensor_count; i++) {
            char name[64];
            tensor_name(&b.layout.tensors[i], name, sizeof name);
            double d = distance(got, b.grads, &b.layout.tensors[i]);
            CHECK(d <= 1e-4, "%s, %s, %s: f32 differs by %.2e, allowed 1e-4", m->says, tier, name, d);
            if (d > worst) worst = d;
        }
        printf("%-26s %-7s worst tensor %.1e\n", m->says, tier, worst);
    }
    team_free(b.team);
    arena_free(&b.a);
}

int main(void)
{
    static const char *const tiers[] = { "ref", "avx2", "avx512", "neon" };
    for (size_t i = 0; i < sizeof MODELS / sizeof MODELS[0]; i++) test_model(&MODELS[i]);
    for (size_t i = 0; i < sizeof MODELS / sizeof MODELS[0]; i++)
        for (size_t t = 0; t < sizeof tiers / sizeof tiers[0]; t++) test_f32(&MODELS[i], tiers[t]);
    return check_done();
}
