/* kernels/vector.h: the definitions against f64, then every tier against the definitions, bit for bit, over lengths
 * around the width of every vector and over values of every kind: ordinary, denormal, signed zero, huge, infinite. */
#include "base/prng.h"
#include "kernels/math.h"
#include "kernels_tiers.h"

#include "check.h"

enum { N_MAX = 5003, GUARD = 16 };

struct buffers {
    float x[N_MAX + GUARD], y[N_MAX + GUARD], z[N_MAX + GUARD], out[N_MAX + GUARD];
    uint16_t h[N_MAX + GUARD];
    float value;
    bool flag;
};

static const size_t lengths[] = { 0,  1,  2,  3,  7,  8,  9,   15,  16,  17,  24,  31,   32,   33,   47,
                                  48, 49, 63, 64, 65, 80, 127, 128, 129, 255, 256, 1000, 4096, 5000, 5003 };

/* Values of the kinds a kernel meets and of those it must survive. */
enum kind { ORDINARY, SMALL, DENORMAL, LARGE, MIXED, ZEROS, INFINITE, KINDS };
static const char *const kind_names[KINDS] = { "ordinary", "small", "denormal", "large", "mixed", "zeros", "infinite" };

static float value_of(enum kind kind, uint64_t seed, uint64_t i)
{
    float u = (float)(2 * prng_unit(seed, 0, i) - 1);
    uint32_t any = prng_u32(seed, 1, i), exponent = any >> 23 & 0xff;
    switch (kind) {
    case ORDINARY: return 6.0f * u;
    case SMALL: return 0.5f * u;
    case DENORMAL: return u * 0x1p-126f;
    case LARGE: return 300.0f * u;
    case ZEROS: return u < 0 ? -0.0f : 0.0f;
    case INFINITE: return i % 37 == 5 ? (u < 0 ? -INFINITY : INFINITY) : 100.0f * u;
    default: return exponent == 0xff ? u : f32_of_bits(any); /* every finite bit pattern */
    }
}

static void fill(struct buffers *b, enum kind kind, uint64_t seed)
{
    for (size_t i = 0; i < N_MAX + GUARD; i++) {
        b->x[i] = value_of(kind, seed, i);
        b->y[i] = value_of(kind, seed + 1000, i);
        b->z[i] = value_of(kind, seed + 2000, i);
        b->h[i] = (uint16_t)prng_u32(seed, 3, i);
        b->out[i] = 777.0f;
    }
    b->value = 0;
    b->flag = false;
}

typedef const struct vector_kernels slots;
typedef struct buffers data;
typedef void call(slots *k, data *b, size_t n);

static void rms_norm(slots *k, data *b, size_t n) { k->rms_norm(b->x, b->y, n, 1e-5f, b->out); }
static void rms_norm_bare(slots *k, data *b, size_t n) { k->rms_norm(b->x, NULL, n, 1e-6f, b->x); }
static void layer_norm(slots *k, data *b, size_t n) { k->layer_norm(b->x, b->y, b->z, n, 1e-5f, b->x); }
static void layer_norm_no_b(slots *k, data *b, size_t n) { k->layer_norm(b->x, b->y, NULL, n, 1e-5f, b->out); }
static void layer_norm_bare(slots *k, data *b, size_t n) { k->layer_norm(b->x, NULL, NULL, n, 0, b->out); }
static void l2_norm(slots *k, data *b, size_t n) { k->l2_norm(b->x, n, 1e-12f); }
static void rope_pairs(slots *k, data *b, size_t n) { k->rope(b->x, b->y, n / 2, true); }
static void rope_halves(slots *k, data *b, size_t n) { k->rope(b->x, b->y, n / 2, false); }
static void add(slots *k, data *b, size_t n) { k->add(b->x, b->y, n); }
static void add_scaled(slots *k, data *b, size_t n) { k->add_scaled(b->x, b->y, 0.37f, n); }
static void scale(slots *k, data *b, size_t n) { k->scale(b->x, 0.37f, n); }
static void soft_cap(slots *k, data *b, size_t n) { k->soft_cap(b->x, 30, n); }
static void silu_mul(slots *k, data *b, size_t n) { k->silu_mul(b->x, b->y, n); }
static void silu(slots *k, data *b, size_t n) { k->silu_mul(b->x, NULL, n); }
static void gelu_tanh_mul(slots *k, data *b, size_t n) { k->gelu_tanh_mul(b->x, b->y, n); }
static void gelu_tanh(slots *k, data *b, size_t n) { k->gelu_tanh_mul(b->x, NULL, n); }
static void gelu_erf(slots *k, data *b, size_t n) { k->gelu_erf(b->x, n); }
static void swiglu_oai(slots *k, data *b, size_t n) { k->swiglu_oai(b->x, b->y, 1.702f, 7, n); }
static void sigmoid(slots *k, data *b, size_t n) { k->sigmoid(b->x, n); }
static void softmax(slots *k, data *b, size_t n) { k->softmax(b->x, n); }
static void dot(slots *k, data *b, size_t n) { b->value = k->dot(b->x, b->y, n); }
static void all_finite(slots *k, data *b, size_t n) { b->flag = k->all_finite(b->x, n); }
static void to_f16(slots *k, data *b, size_t n) { k->to_f16(b->x, n, b->h); }
static void from_f16(slots *k, data *b, size_t n) { k->from_f16(b->h, n, b->out); }

/* The f64 form of the slots that go element by element; those that do not, have norm_means below. */
static double want_silu(double x, double y) { return x / (1 + exp(-x)) * y; }
static double want_gelu_tanh(double x, double y)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) * y;
}
static double want_silu_alone(double x, double y) { return (void)y, want_silu(x, 1); }
static double want_gelu_tanh_alone(double x, double y) { return (void)y, want_gelu_tanh(x, 1); }
static double want_gelu_erf(double x, double y) { return (void)y, 0.5 * x * (1 + erf(x / sqrt(2))); }
static double want_oai(double x, double y)
{
    return fmin(x, 7) / (1 + exp(-1.702 * fmin(x, 7))) * (fmax(fmin(y, 7), -7) + 1);
}
static double want_sigmoid(double x, double y) { return (void)y, 1 / (1 + exp(-x)); }
static double want_soft_cap(double x, double y) { return (void)y, 30 * tanh(x / 30); }
static double want_add(double x, double y) { return x + y; }
static double want_add_scaled(double x, double y) { return x + (double)0.37f * y; }
static double want_scale(double x, double y) { return (void)y, x * (double)0.37f; }

static const struct row {
    const char *name;
    call *call;
    double (*want)(double x, double y);
} rows[] = {
    { "rms_norm", rms_norm, NULL },
    { "rms_norm in place, without weight", rms_norm_bare, NULL },
    { "layer_norm in place", layer_norm, NULL },
    { "layer_norm without bias", layer_norm_no_b, NULL },
    { "layer_norm without weight", layer_norm_bare, NULL },
    { "l2_norm", l2_norm, NULL },
    { "rope of pairs", rope_pairs, NULL },
    { "rope of halves", rope_halves, NULL },
    { "add", add, want_add },
    { "add_scaled", add_scaled, want_add_scaled },
    { "scale", scale, want_scale },
    { "soft_cap", soft_cap, want_soft_cap },
    { "silu_mul", silu_mul, want_silu },
    { "gelu_tanh_mul", gelu_tanh_mul, want_gelu_tanh },
    { "silu_mul without up", silu, want_silu_alone },
    { "gelu_tanh_mul without up", gelu_tanh, want_gelu_tanh_alone },
    { "gelu_erf", gelu_erf, want_gelu_erf },
    { "swiglu_oai", swiglu_oai, want_oai },
    { "sigmoid", sigmoid, want_sigmoid },
    { "softmax", softmax, NULL },
    { "dot", dot, NULL },
    { "all_finite", all_finite, NULL },
    { "to_f16", to_f16, NULL },
    { "from_f16", from_f16, NULL },
};
enum { ROWS = sizeof rows / sizeof *rows };

static struct buffers ours, theirs, start;

static void elementwise_means(const struct vector_kernels *k)
{
    for (size_t r = 0; r < ROWS; r++) {
        if (rows[r].want == NULL) continue;
        fill(&start, ORDINARY, r);
        ours = start;
        rows[r].call(k, &ours, N_MAX);
        double worst = 0;
        for (size_t i = 0; i < N_MAX; i++) {
            double want = rows[r].want((double)start.x[i], (double)start.y[i]);
            double d = fabs((double)ours.x[i] - want) / (1 + fabs(want));
            if (!(d <= worst)) worst = d;
        }
        CHECK(worst < 1e-6, "%s: relative difference to f64 %g", rows[r].name, worst);
    }
}

static double largest_difference(const float *got, const double *want, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - want[i]) / (1 + fabs(want[i]));
        if (!(d <= worst)) worst = d; /* a NaN too */
    }
    return worst;
}

static void norm_means(const struct vector_kernels *k)
{
    static double want[N_MAX];
    enum { N = 1000 };
    double sum = 0, squares = 0, spread = 0, product = 0, exps = 0;
    fill(&start, ORDINARY, 77);
    for (size_t i = 0; i < N; i++) {
        double x = (double)start.x[i];
        sum += x, squares += x * x, product += x * (double)start.y[i], exps += exp(x);
    }
    for (size_t i = 0; i < N; i++) spread += ((double)start.x[i] - sum / N) * ((double)start.x[i] - sum / N);
    ours = start, rms_norm(k, &ours, N);
    for (size_t i = 0; i < N; i++) want[i] = (double)start.x[i] / sqrt(squares / N + 1e-5) * (double)start.y[i];
    CHECK(largest_difference(ours.out, want, N) < 1e-6, "rms_norm: %g", largest_difference(ours.out, want, N));
    ours = start, layer_norm(k, &ours, N);
    for (size_t i = 0; i < N; i++)
        want[i] = ((double)start.x[i] - sum / N) / sqrt(spread / N + 1e-5) * (double)start.y[i] + (double)start.z[i];
    CHECK(largest_difference(ours.x, want, N) < 2e-6, "layer_norm: %g", largest_difference(ours.x, want, N));
    ours = start, l2_norm(k, &ours, N);
    for (size_t i = 0; i < N; i++) want[i] = (double)start.x[i] / sqrt(squares);
    CHECK(largest_difference(ours.x, want, N) < 1e-7, "l2_norm: %g", largest_difference(ours.x, want, N));
    ours = start, softmax(k, &ours, N);
    for (size_t i = 0; i < N; i++) want[i] = exp((double)start.x[i]) / exps;
    CHECK(largest_difference(ours.x, want, N) < 1e-7, "softmax: %g", largest_difference(ours.x, want, N));
    ours = start, dot(k, &ours, N);
    CHECK(fabs((double)ours.value - product) < 1e-3, "dot: %g, want %g", (double)ours.value, product);
    for (int adjacent = 0; adjacent < 2; adjacent++) {
        ours = start, (adjacent ? rope_pairs : rope_halves)(k, &ours, N);
        for (size_t i = 0; i < N / 2; i++) {
            size_t at = adjacent ? 2 * i : i, step = adjacent ? 1 : N / 2;
            double x0 = (double)start.x[at], x1 = (double)start.x[at + step], c = (double)start.y[2 * i];
            double s = (double)start.y[2 * i + 1];
            want[at] = x0 * c - x1 * s, want[at + step] = x0 * s + x1 * c;
        }
        double worst = largest_difference(ours.x, want, N);
        CHECK(worst < 2e-6, "rope, adjacent %d: %g", adjacent, worst);
    }
}

/* The stated order of a sum: 16 chains and the tree, on values where any other order gives other bits. */
static void reduction_order(const struct vector_kernels *k)
{
    static float ones[20], big[20];
    for (size_t i = 0; i < 20; i++) ones[i] = 1, big[i] = 0;
    big[0] = 0x1p24f, big[16] = 1, big[8] = 1, big[4] = 1; /* 2^24 + 1 is 2^24: each 1 is lost beside it, alone */
    CHECK(k->dot(ones, big, 20) == 0x1p24f, "lane 0 takes 16, then 8, then 4: %a", (double)k->dot(ones, big, 20));
    big[16] = 0, big[8] = 0, big[4] = 0, big[2] = 1, big[10] = 1; /* 2 and 10 meet first: 2 is not lost */
    CHECK(k->dot(ones, big, 20) == 0x1.000002p24f, "lanes 2 and 10 meet first: %a", (double)k->dot(ones, big, 20));
}

static void specials(const struct vector_kernels *k)
{
    float x[40] = { 0 };
    for (size_t at = 0; at < 40; at += 13) {
        x[at] = INFINITY;
        CHECK(!k->all_finite(x, 40) && k->all_finite(x, at), "an infinity at %zu", at);
        x[at] = NAN;
        CHECK(!k->all_finite(x, 40) && k->all_finite(x, at), "a NaN at %zu", at);
        x[at] = 0;
    }
    float masked[3] = { -INFINITY, 1, -INFINITY };
    k->softmax(masked, 3);
    CHECK(masked[0] == 0 && masked[1] == 1 && masked[2] == 0, "softmax: -inf has no share");
}

static bool same_bits(const float *a, const float *b, size_t n)
{
    bool same = true;
    for (size_t i = 0; i < n; i++) same &= bits_of_f32(a[i]) == bits_of_f32(b[i]) || (isnan(a[i]) && isnan(b[i]));
    return same;
}

/* True where everything the call wrote, and everything it must not touch, is the same in both. */
static bool same(const struct buffers *a, const struct buffers *b)
{
    size_t n = N_MAX + GUARD;
    return same_bits(a->x, b->x, n) && same_bits(a->y, b->y, n) && same_bits(a->z, b->z, n) &&
           same_bits(a->out, b->out, n) && memcmp(a->h, b->h, sizeof a->h) == 0 && same_bits(&a->value, &b->value, 1) &&
           a->flag == b->flag;
}

static void tier_equals(const struct tier *ref, const struct tier *tier)
{
    for (size_t r = 0; r < ROWS; r++) {
        size_t wrong = 0;
        for (size_t kind = 0; kind < KINDS; kind++) {
            fill(&start, (enum kind)kind, r);
            for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
                ours = start, theirs = start;
                rows[r].call(&ref->vector, &ours, lengths[i]);
                rows[r].call(&tier->vector, &theirs, lengths[i]);
                if (same(&ours, &theirs)) continue;
                if (wrong++ == 0)
                    CHECK(false, "%s %s: %s, n = %zu", tier->name, rows[r].name, kind_names[kind], lengths[i]);
            }
        }
        CHECK(wrong == 0, "%s %s: %zu cases differ", tier->name, rows[r].name, wrong);
    }
}

/* exp, tanh and erf of a tier over all of f32 in steps: through the slots that show them. */
static void tier_functions(const struct tier *ref, const struct tier *tier)
{
    static call *const shows[] = { sigmoid, soft_cap, gelu_erf };
    size_t wrong = 0;
    for (uint64_t bits = 0; bits >> 32 == 0;) {
        for (size_t i = 0; i < N_MAX; i++, bits += 4093) start.x[i] = f32_of_bits((uint32_t)bits);
        for (size_t f = 0; f < 3; f++) {
            memcpy(ours.x, start.x, sizeof ours.x), memcpy(theirs.x, start.x, sizeof ours.x);
            shows[f](&ref->vector, &ours, N_MAX);
            shows[f](&tier->vector, &theirs, N_MAX);
            wrong += !same_bits(ours.x, theirs.x, N_MAX);
        }
    }
    CHECK(wrong == 0, "%s: %zu blocks of function values differ", tier->name, wrong);
}

/* A planted fault: one value changed by one unit in the last place is seen, wherever it is. */
static void the_comparison_sees(void)
{
    fill(&ours, ORDINARY, 5);
    theirs = ours;
    CHECK(same(&ours, &theirs), "equal buffers are equal");
    theirs.out[N_MAX + GUARD - 1] = f32_of_bits(bits_of_f32(theirs.out[0]) + 1);
    CHECK(!same(&ours, &theirs), "one unit past the end is seen");
    theirs = ours;
    theirs.x[0] = -0.0f, ours.x[0] = 0.0f;
    CHECK(!same(&ours, &theirs), "the sign of a zero is seen");
}

int main(void)
{
    static struct tier tiers[TIERS_MAX];
    size_t count = tiers_here(tiers);
    elementwise_means(&tiers[0].vector);
    norm_means(&tiers[0].vector);
    the_comparison_sees();
    for (size_t t = 0; t < count; t++) {
        reduction_order(&tiers[t].vector);
        specials(&tiers[t].vector);
        if (t == 0) continue;
        tier_equals(&tiers[0], &tiers[t]);
        tier_functions(&tiers[0], &tiers[t]);
    }
    if (count == 1) check_skip("no tier but the definition on this CPU or in this build");
    return check_done();
}
