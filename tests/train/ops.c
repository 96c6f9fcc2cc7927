/* Every operation with a backward, against finite differences in double, at sizes 1, 2, 5 and one over a vector's 16
 * lanes. A row gives an operation as a function from inputs to outputs; the scalar that is differentiated is the sum of
 * outputs times fixed weights, so the backward is called with those weights as the outputs' gradient. */
#include "double.h"

#include "check.h"

#include "base/prng.h"

enum { VALUES_MAX = 4096 };

/* One operation at one size: how many inputs and outputs, and what it needs beside them. */
struct setup {
    size_t n;               /* the size under test */
    size_t in, out;         /* values */
};

static double fixed(uint64_t stream, size_t i)
{
    return 2 * prng_unit(11, stream, i) - 1;
}

/* ---- norm: inputs x [3][n], w [n] ---- */

enum { ROWS = 3 };

static struct setup norm_setup(size_t n)
{
    return (struct setup){ n, ROWS * n + n, ROWS * n };
}

static void norm_run(const struct setup *s, const double *in, double *out)
{
    double inv[ROWS];
    ops_ref.norm(out, inv, in, in + ROWS * s->n, s->n, 0.1, 0, ROWS);
}

static void norm_grad(const struct setup *s, const double *in, const double *dout, double *din)
{
    double inv[ROWS], y[VALUES_MAX];
    ops_ref.norm(y, inv, in, in + ROWS * s->n, s->n, 0.1, 0, ROWS);
    ops_ref.norm_back(din, dout, in, inv, in + ROWS * s->n, s->n, 0, ROWS);
    ops_ref.norm_weight_back(din + ROWS * s->n, dout, in, inv, s->n, ROWS, 0, s->n);
}

/* ---- heads: inputs qkv [2 tokens][2 + 1 + 1 heads][2 n], wq, wk [2 n] ---- */

enum { TOKENS = 2 };

static struct heads heads_of_size(size_t n, const double *rope)
{
    return (struct heads){ 2, 1, 2 * n, 4 * 2 * n, 2, 0.1, rope };
}

static struct setup heads_setup(size_t n)
{
    return (struct setup){ n, TOKENS * 8 * n + 4 * n, TOKENS * 6 * n };
}

static void rope_table(size_t n, double *table)
{
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < n; i++) {
            table[t * 2 * n + i] = cos((double)(t + 1) / (double)(i + 1));
            table[t * 2 * n + n + i] = sin((double)(t + 1) / (double)(i + 1));
        }
}

static void heads_run(const struct setup *s, const double *in, double *out)
{
    double inv[TOKENS * 3], table[VALUES_MAX];
    rope_table(s->n, table);
    struct heads h = heads_of_size(s->n, table);
    const double *w = in + TOKENS * 8 * s->n;
    ops_ref.heads(out, out + TOKENS * 4 * s->n, inv, in, w, w + 2 * s->n, &h, 0, TOKENS);
}

static void heads_grad(const struct setup *s, const double *in, const double *dout, double *din)
{
    double inv[TOKENS * 3], table[VALUES_MAX], out[VALUES_MAX], d[VALUES_MAX];
    rope_table(s->n, table);
    struct heads h = heads_of_size(s->n, table);
    const double *w = in + TOKENS * 8 * s->n;
    double *dw = din + TOKENS * 8 * s->n, *dk = d + TOKENS * 4 * s->n;
    ops_ref.heads(out, out + TOKENS * 4 * s->n, inv, in, w, w + 2 * s->n, &h, 0, TOKENS);
    memcpy(d, dout, s->out * sizeof *d);
    ops_ref.heads_back(din, d, dk, in, inv, w, w + 2 * s->n, &h, 0, TOKENS);
    ops_ref.heads_weight_back(dw, dw + 2 * s->n, d, dk, in, inv, &h, TOKENS, 0, 2 * s->n);
}

/* ---- masked softmax: inputs scores [3][n]; row r sees r % n .. n ---- */

static void windows(size_t n, size_t lo[ROWS], size_t hi[ROWS])
{
    for (size_t r = 0; r < ROWS; r++) {
        lo[r] = r % n;
        hi[r] = n - (n > 2 && r == 0);
    }
}

static struct setup softmax_setup(size_t n)
{
    return (struct setup){ n, ROWS * n, ROWS * n };
}

static void softmax_run(const struct setup *s, const double *in, double *out)
{
    size_t lo[ROWS], hi[ROWS];
    double lse[ROWS];
    windows(s->n, lo, hi);
    memcpy(out, in, s->in * sizeof *out);
    ops_ref.mask_softmax(out, lse, 1, lo, hi, s->n, 0.7, ROWS);
}

/* The backward wants delta = sum p dp through dout . out: p and dp themselves serve as the two vectors. */
static void softmax_grad(const struct setup *s, const double *in, const double *dout, double *din)
{
    size_t lo[ROWS], hi[ROWS];
    double lse[ROWS], p[VALUES_MAX], scores[VALUES_MAX];
    windows(s->n, lo, hi);
    memcpy(p, in, s->in * sizeof *p);
    ops_ref.mask_softmax(p, lse, 1, lo, hi, s->n, 0.7, ROWS);
    memcpy(scores, in, s->in * sizeof *scores);
    memcpy(din, dout, s->in * sizeof *din);
    ops_ref.mask_softmax_back(din, scores, lse, 1, lo, hi, dout, p, s->n, s->n, s->n, 0.7, ROWS);
}

/* ---- SwiGLU: inputs gu [3][2 n] ---- */

static struct setup swiglu_setup(size_t n)
{
    return (struct setup){ n, ROWS * 2 * n, ROWS * n };
}

static void swiglu_run(const struct setup *s, const double *in, double *out)
{
    ops_ref.swiglu(out, in, s->n, 0, ROWS);
}

static void swiglu_grad(const struct setup *s, const double *in, const double *dout, double *din)
{
    ops_ref.swiglu_back(din, dout, in, s->n, 0, ROWS);
}

/* ---- token table: inputs [4][n], token 2 twice ---- */

static const int32_t LOOKED_UP[ROWS] = { 2, 0, 2 };

static struct setup embed_setup(size_t n)
{
    return (struct setup){ n, 4 * n, ROWS * n };
}

static void embed_run(const struct setup *s, const double *in, double *out)
{
    ops_ref.embed(out, in, LOOKED_UP, s->n, 0, ROWS);
}

static void embed_grad(const struct setup *s, const double *in, const double *dout, double *din)
{
    (void)in;
    ops_ref.embed_back(din, dout, LOOKED_UP, s->n, ROWS, 0, s->n);
}

/* ---- cross entropy: inputs logits [3][n], outputs losses [3]; one row has no target. Its gradient has one weight for
 * all rows, so rows are given theirs one at a time. ---- */

static struct setup entropy_setup(size_t n)
{
    return (struct setup){ n, ROWS * n, ROWS };
}

static void entropy_run(const struct setup *s, const double *in, double *out)
{
    double x[VALUES_MAX];
    int32_t best[ROWS];
    const int32_t target[ROWS] = { (int32_t)(s->n - 1), -1, 0 };
    memcpy(x, in, s->in * sizeof *x);
    ops_ref.cross_entropy(x, out, best, target, s->n, 0, 0, ROWS);
}

static void entropy_grad(const struct setup *s, const double *in, const double *dout, double *din)
{
    double loss[ROWS];
    int32_t best[ROWS];
    const int32_t target[ROWS] = { (int32_t)(s->n - 1), -1, 0 };
    memcpy(din, in, s->in * sizeof *din);
    for (size_t r = 0; r < ROWS; r++) ops_ref.cross_entropy(din, loss, best, target, s->n, dout[r], r, r + 1);
}

/* ---- router: inputs logits [3][n]; outputs the gates of the chosen and the two auxiliary losses ---- */

static size_t top_k_of(size_t n)
{
    return n < 3 ? 1 : 2;
}

static const struct router_loss ROUTER_LOSS = { 0.3, 0.2 };

static double load_of(size_t e)
{
    return 0.1 * (double)(e % 4);
}

/* The routing of the unchanged input, so that no difference quotient crosses a border. */
static int32_t router_chosen[ROWS * TOP_K_MAX];

static struct setup router_setup(size_t n)
{
    double prob[VALUES_MAX], lse[ROWS], gate[ROWS * TOP_K_MAX], in[VALUES_MAX];
    for (size_t i = 0; i < ROWS * n; i++) in[i] = fixed(1, i);
    ops_ref.router(prob, lse, gate, router_chosen, in, n, top_k_of(n), false, 0, ROWS);
    return (struct setup){ n, ROWS * n, ROWS * top_k_of(n) + 1 };
}

static void router_run(const struct setup *s, const double *in, double *out)
{
    double prob[VALUES_MAX], lse[ROWS], aux = 0;
    ops_ref.router(prob, lse, out, router_chosen, in, s->n, top_k_of(s->n), true, 0, ROWS);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t e = 0; e < s->n; e++) aux += ROUTER_LOSS.balance * load_of(e) * prob[r * s->n + e];
        aux += ROUTER_LOSS.z * lse[r] * lse[r];
    }
    out[s->out - 1] = aux;
}

static void router_grad(const struct setup *s, const double *in, const double *dout, double *din)
{
    double prob[VALUES_MAX], lse[ROWS], gate[ROWS * TOP_K_MAX], load[VALUES_MAX], aux = dout[s->out - 1];
    struct router_loss loss = { ROUTER_LOSS.balance * aux, ROUTER_LOSS.z * aux };
    for (size_t e = 0; e < s->n; e++) load[e] = load_of(e);
    ops_ref.router(prob, lse, gate, router_chosen, in, s->n, top_k_of(s->n), true, 0, ROWS);
    ops_ref.router_back(din, dout, gate, router_chosen, prob, lse, load, loss, s->n, top_k_of(s->n), 0, ROWS);
}

/* ---- gather, combine: inputs x [3][n] and gates [3][2]; slot s computes 2 x[from[s]], so both ways are in it ---- */

enum { K = 2, SLOTS = ROWS * K };
static const int32_t SLOT[SLOTS] = { 3, 0, 5, 1, 2, 4 }, FROM[SLOTS] = { 0, 1, 2, 0, 2, 1 };

static struct setup combine_setup(size_t n)
{
    return (struct setup){ n, ROWS * n + SLOTS, ROWS * n };
}

static void combine_run(const struct setup *s, const double *in, double *out)
{
    double y[VALUES_MAX];
    ops_ref.gather(y, in, FROM, s->n, 0, SLOTS);
    for (size_t i = 0; i < SLOTS * s->n; i++) y[i] *= 2;
    memset(out, 0, s->out * sizeof *out);
    ops_ref.combine(out, y, in + ROWS * s->n, SLOT, s->n, K, 0, ROWS);
}

static void combine_grad(const struct setup *s, const double *in, const double *dout, double *din)
{
    double y[VALUES_MAX], dy[VALUES_MAX];
    ops_ref.gather(y, in, FROM, s->n, 0, SLOTS);
    for (size_t i = 0; i < SLOTS * s->n; i++) y[i] *= 2;
    ops_ref.combine_back(dy, din + ROWS * s->n, dout, y, in + ROWS * s->n, SLOT, s->n, K, 0, ROWS);
    for (size_t i = 0; i < SLOTS * s->n; i++) dy[i] *= 2;
    /* slot[t][j] lists the slots that token t sent its input to: the ones whose `from` is t. */
    ops_ref.scatter(din, dy, SLOT, s->n, K, 0, ROWS);
}

/* ---- the table ---- */

static const struct {
    const char *name;
    struct setup (*setup)(size_t n);
    void (*run)(const struct setup *s, const double *in, double *out);
    void (*grad)(const struct setup *s, const double *in, const double *dout, double *din);
} OPS[] = {
    { "norm", norm_setup, norm_run, norm_grad },
    { "heads", heads_setup, heads_run, heads_grad },
    { "masked softmax", softmax_setup, softmax_run, softmax_grad },
    { "swiglu", swiglu_setup, swiglu_run, swiglu_grad },
    { "embed", embed_setup, embed_run, embed_grad },
    { "cross entropy", entropy_setup, entropy_run, entropy_grad },
    { "router", router_setup, router_run, router_grad },
    { "gather and combine", combine_setup, combine_run, combine_grad },
};

static double weighted(size_t op, const struct setup *s, const double *in)
{
    double out[VALUES_MAX], total = 0;
    OPS[op].run(s, in, out);
    for (size_t i = 0; i < s->out; i++) total += out[i] * fixed(2, i);
    return total;
}

static void test_op(size_t op, size_t n)
{
    struct setup s = OPS[op].setup(n);
    double in[VALUES_MAX], dout[VALUES_MAX], got[VALUES_MAX] = { 0 }, apart = 0, size = 0;
    const double h = 1e-3;
    for (size_t i = 0; i < s.in; i++) in[i] = fixed(1, i);
    for (size_t i = 0; i < s.out; i++) dout[i] = fixed(2, i);
    OPS[op].grad(&s, in, dout, got);
    for (size_t i = 0; i < s.in; i++) {
        double kept = in[i], f[4];
        static const double at[4] = { 1, -1, 2, -2 };
        for (int j = 0; j < 4; j++) {
            in[i] = kept + at[j] * h;
            f[j] = weighted(op, &s, in);
        }
        in[i] = kept;
        double want = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h);
        apart += (got[i] - want) * (got[i] - want);
        size += want * want;
    }
    /* A softmax over one value has no gradient: both sides are then 0 up to rounding. */
    double d = size < 1e-18 ? sqrt(apart) : sqrt(apart / size);
    CHECK(d <= 1e-6, "%s, size %zu: differs by %.2e, allowed 1e-6", OPS[op].name, n, d);
}

/* The f32 build's exponential is kernels/math.h's, bit for bit: exp_lane is only its shape for vectors. */
static void test_exp_lane(void)
{
    size_t differ = 0;
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32; bits += 9973) {
        float x = f32_of_bits((uint32_t)bits), a = exp_f32(x), b = exp_lane(x);
        differ += bits_of_f32(a) != bits_of_f32(b) && !(a != a && b != b);
    }
    CHECK(differ == 0, "exp_lane differs from exp_f32 at %zu values", differ);
}

int main(void)
{
    static const size_t sizes[] = { 1, 2, 5, 17, 33 };
    for (size_t op = 0; op < sizeof OPS / sizeof OPS[0]; op++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) test_op(op, sizes[i]);
    test_exp_lane();
    return check_done();
}
