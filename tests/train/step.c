/* One optimizer step: the same bits for any number of threads and every tier, a schedule without corners, gradients
 * that are not finite refused, and a model that learns what can be learnt. With an argument: how fast a step is. */
#include "train/muon.h"
#include "train/step.h"

#include "base/prng.h"
#include "check.h"

#include <string.h>
#include <time.h>

static const char *const TIERS[] = { "ref", "avx2", "avx512", "neon" };

struct run {
    arena a;
    team *team;
    struct layout layout;
    struct trainer trainer;
    int32_t *tok, *target, *starts;
    struct step_batch batch;
};

static const struct shape DENSE = { .vocab = 97, .width = 40, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 18,
                                    .ffn_width = 50, .ctx_tok = 64, .rope_base = 1e4, .norm_eps = 1e-6 };
static const struct shape EXPERTS = { .vocab = 97, .width = 40, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 18,
                                      .ffn_width = 50, .experts = 6, .top_k = 2, .gate_rank = 8, .ctx_tok = 64,
                                      .rope_base = 1e4, .norm_eps = 1e-6, .balance = 0.01, .z = 1e-3 };
static const struct optimizer ADAMW = { .schedule = { 3e-3, 5, 1000, 100 }, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8,
                                        .weight_decay = 0.1, .clip = 1 };

static const struct optimizer MUON = { .schedule = { 3e-3, 5, 1000, 100 }, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8,
                                       .weight_decay = 0.1, .muon = 0.95, .clip = 1 };

/* Text whose next token is a function of the last two, so there is something to learn. */
static void fill(struct run *r, size_t vocab, uint64_t seed)
{
    size_t row = r->batch.row_tok, all = r->batch.count * r->batch.rows * row;
    for (size_t t = 0; t < all; t++) {
        size_t at = t % row;
        bool begins = at == 0 || prng_unit(seed, 1, t) < 0.05;
        r->starts[t] = begins ? (int32_t)at : r->starts[t - 1];
        r->tok[t] = begins ? (int32_t)(prng_u32(seed, 2, t) % vocab)
                           : (int32_t)((size_t)(r->tok[t - 1] * 5 + (t > 1 ? r->tok[t - 2] : 0) % 3) % vocab);
    }
    for (size_t t = 0; t < all; t++)
        r->target[t] = (t + 1) % row == 0 || r->starts[t + 1] != r->starts[t] ? -1 : r->tok[t + 1];
}

static bool run_make(struct run *r, const struct shape *s, const struct optimizer *o, size_t count, size_t rows,
                     size_t row_tok, const char *tier, size_t threads, err *e)
{
    size_t tokens = count * rows * row_tok;
    *r = (struct run){ .batch = { count, rows, row_tok, NULL, NULL, NULL } };
    if (!arena_new(&r->a, (size_t)1 << 34, e) || !team_new(&r->team, threads, NULL, 0, e)) return false;
    if (!layout_make(s, &r->a, &r->layout, e)) return false;
    if (!trainer_make(&r->trainer, &r->layout, o, count, rows * row_tok, row_tok, gemm_tier(tier), ops_tier(tier),
                      r->team, &r->a, e))
        return false;
    r->batch.tok = r->tok = ARENA_ARRAY(&r->a, int32_t, tokens, "tokens", e);
    r->batch.target = r->target = ARENA_ARRAY(&r->a, int32_t, tokens, "targets", e);
    r->batch.starts = r->starts = ARENA_ARRAY(&r->a, int32_t, tokens, "starts", e);
    if (r->starts == NULL) return false;
    layout_init(&r->layout, r->trainer.params, 1);
    return true;
}

static void run_free(struct run *r)
{
    team_free(r->team);
    arena_free(&r->a);
}

/* Three steps by the definition on one thread, then the same elsewhere: all state compared by its bytes. */
static void test_bits(const char *says, const struct shape *s, const struct optimizer *o, size_t count)
{
    err e = { 0 };
    struct run want, got;
    struct step_result r;
    if (!CHECK(run_make(&want, s, o, count, 2, 33, "ref", 1, &e), "%s: %s", says, e.text)) return;
    for (uint64_t i = 0; i < 3; i++) {
        fill(&want, s->vocab, i);
        CHECK(trainer_step(&want.trainer, &want.batch, &r, &e), "%s: %s", says, e.text);
    }
    for (size_t t = 0; t < sizeof TIERS / sizeof TIERS[0]; t++) {
        if (gemm_tier(TIERS[t]) == NULL) {
            check_skip(TIERS[t]);
            continue;
        }
        for (size_t threads = 1; threads <= 3; threads++) {
            if (!CHECK(run_make(&got, s, o, count, 2, 33, TIERS[t], threads, &e), "%s: %s", says, e.text)) return;
            for (uint64_t i = 0; i < 3; i++) {
                fill(&got, s->vocab, i);
                CHECK(trainer_step(&got.trainer, &got.batch, &r, &e), "%s: %s", says, e.text);
            }
            size_t bytes = want.layout.total * sizeof(real);
            CHECK(memcmp(want.trainer.params, got.trainer.params, bytes) == 0, "%s, %s, %zu threads: weights differ",
                  says, TIERS[t], threads);
            CHECK(memcmp(want.trainer.m, got.trainer.m, bytes) == 0 &&
                      memcmp(want.trainer.v, got.trainer.v, bytes) == 0,
                  "%s, %s, %zu threads: optimizer state differs", says, TIERS[t], threads);
            run_free(&got);
        }
    }
    run_free(&want);
}

/* Gradients of four microbatches add up to that of one with all their rows (up to rounding: the orders differ). */
static void test_accumulation(void)
{
    err e = { 0 };
    struct run one, four;
    struct step_result a, b;
    if (!CHECK(run_make(&one, &DENSE, &ADAMW, 1, 12, 33, NULL, 1, &e) &&
                   run_make(&four, &DENSE, &ADAMW, 6, 2, 33, NULL, 1, &e), "%s", e.text)) return;
    fill(&one, DENSE.vocab, 7);
    fill(&four, DENSE.vocab, 7);
    CHECK(trainer_step(&one.trainer, &one.batch, &a, &e) && trainer_step(&four.trainer, &four.batch, &b, &e), "%s",
          e.text);
    CHECK(fabs(a.loss - b.loss) < 1e-6 && fabs(a.grad_norm / b.grad_norm - 1) < 1e-5, "loss %.9g %.9g, norm %.9g %.9g",
          a.loss, b.loss, a.grad_norm, b.grad_norm);
    run_free(&one);
    run_free(&four);
}

static void test_learning(const char *says, const struct shape *s, const struct optimizer *o)
{
    err e = { 0 };
    struct run r;
    struct step_result first = { 0 }, last = { 0 };
    if (!CHECK(run_make(&r, s, o, 2, 4, 64, NULL, 1, &e), "%s: %s", says, e.text)) return;
    for (uint64_t i = 0; i < 150; i++) {
        fill(&r, s->vocab, i);
        if (!CHECK(trainer_step(&r.trainer, &r.batch, i == 0 ? &first : &last, &e), "%s: %s", says, e.text)) break;
    }
    CHECK(fabs(first.loss - 4.57) < 0.2, "%s: the first loss, %.3f, is not log(97)", says, first.loss);
    CHECK(last.loss < 1.0, "%s: loss %.3f after 150 steps", says, last.loss);
    printf("%s: loss %.3f to %.3f, %zu of %zu right\n", says, first.loss, last.loss, last.right, last.targets);
    run_free(&r);
}

static void test_refusal(void)
{
    err e = { 0 };
    struct run r;
    struct step_result out;
    if (!CHECK(run_make(&r, &DENSE, &ADAMW, 1, 1, 8, NULL, 1, &e), "%s", e.text)) return;
    fill(&r, DENSE.vocab, 1);
    const struct tensor *down = layout_find(&r.layout, TENSOR_DOWN, 1);
    r.trainer.params[down->offset + 3] = (real)NAN;
    real kept = r.trainer.params[0];
    CHECK(!trainer_step(&r.trainer, &r.batch, &out, &e) && e.code == ERR_VALUE && strstr(e.text, "not finite") != NULL,
          "NaN: %s", e.text);
    CHECK(r.trainer.params[0] == kept && r.trainer.m[0] == 0 && r.trainer.step == 0, "a refused step changes nothing");
    e = (err){ 0 };
    for (size_t t = 0; t < 8; t++) r.target[t] = -1;
    CHECK(!trainer_step(&r.trainer, &r.batch, &out, &e) && strstr(e.text, "carries a loss") != NULL, "%s", e.text);
    run_free(&r);
}

/* A matrix times its own transpose is close to the unit matrix: every singular value lies in 0.68..1.14. */
static void test_orthogonal(size_t rows, size_t cols)
{
    err e = { 0 };
    arena a = { 0 };
    if (!CHECK(arena_new(&a, 1 << 26, &e), "%s", e.text)) return;
    const struct gemm_kernels *gemm = gemm_tier(NULL);
    size_t n = rows * cols, side = rows < cols ? rows : cols, both = rows < cols ? cols : rows;
    real *x = ARENA_ARRAY(&a, real, n, "x", &e);
    real *scratch = arena_take(&a, muon_scratch(rows, cols), sizeof *scratch, 64, "scratch", &e);
    real *products = arena_take(&a, gemm->scratch_reals, sizeof *products, 64, "scratch", &e);
    if (!CHECK(x != NULL && scratch != NULL && products != NULL, "%s", e.text)) return;
    for (size_t i = 0; i < n; i++) x[i] = (real)(prng_unit(rows, cols, i) - 0.5);
    muon_orthogonal(x, rows, cols, gemm, ops_tier(NULL), scratch, products);
    double squares = 0, worst = 0;
    for (size_t i = 0; i < side; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t p = 0; p < both; p++)
                sum += rows < cols ? (double)(x[i * cols + p] * x[j * cols + p])
                                   : (double)(x[p * cols + i] * x[p * cols + j]);
            if (i == j) squares += sum;
            else if (fabs(sum) > worst) worst = fabs(sum);
        }
    }
    squares /= (double)side;
    CHECK(squares > 0.45 && squares < 1.3 && worst < 0.45, "%zu x %zu: mean square %.3f, largest product of two %.3f",
          rows, cols, squares, worst);
    arena_free(&a);
}

static void test_schedule(void)
{
    static const struct { uint64_t done; double want;
    } rows[] = {
        { 0, 0.1 }, { 8, 0.9 },   { 9, 1 },     { 10, 1 },  { 79, 1 },
        { 80, 1 },  { 81, 0.95 }, { 99, 0.05 }, { 100, 0 }, { 200, 0 },
    };
    struct schedule s = { 1, 10, 100, 20 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK(fabs(schedule_rate(&s, rows[i].done) - rows[i].want) < 1e-12, "rate after %d steps: %g, want %g",
              (int)rows[i].done, schedule_rate(&s, rows[i].done), rows[i].want);
    s = (struct schedule){ 1, 0, 100, 0 };
    CHECK(schedule_rate(&s, 0) == 1 && schedule_rate(&s, 99) == 1, "no warm-up, no decay");
    CHECK(power_u64(0.5, 0) == 1 && power_u64(0.5, 1) == 0.5 && power_u64(0.5, 10) == 0x1p-10, "powers");
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(getenv("CPU_TIME") != NULL ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

enum { STEPS = 5 };

static void show_speed(const struct shape *s, size_t count, size_t rows, size_t row_tok, size_t threads)
{
    err e = { 0 };
    struct run r;
    struct step_result out;
    if (!CHECK(run_make(&r, s, &ADAMW, count, rows, row_tok, NULL, threads, &e), "%s", e.text)) return;
    fill(&r, s->vocab, 1);
    double took[STEPS], tokens = (double)(count * rows * row_tok);
    for (int i = -1; i < STEPS; i++) { /* the first touches its memory */
        double start = seconds();
        CHECK(trainer_step(&r.trainer, &r.batch, &out, &e), "%s", e.text);
        if (i < 0) continue;
        took[i] = seconds() - start;
        for (int j = i; j > 0 && took[j] < took[j - 1]; j--) {
            double later = took[j - 1];
            took[j - 1] = took[j];
            took[j] = later;
        }
    }
    double median = took[STEPS / 2];
    printf("%.1fM parameters (%.1fM active), %zu x %zu x %zu, %zu threads: %.3f s, %.0f tok/s, %.1f GFLOP/s\n",
           (double)r.layout.values * 1e-6, (double)r.layout.active_values * 1e-6, count, rows, row_tok, threads, median,
           tokens / median, 6e-9 * (double)r.layout.active_values * tokens / median);
    run_free(&r);
}

int main(int argc, char **argv)
{
    if (argc > 2) {
        static const struct { const char *name; struct shape shape; size_t count, rows, row_tok; } speeds[] = {
            { "dense30", { .vocab = 8192, .width = 512, .layers = 8, .heads = 8, .kv_heads = 8, .head_dim = 64,
                           .ffn_width = 1365, .ctx_tok = 1024, .rope_base = 1e4, .norm_eps = 1e-6 }, 1, 4, 256 },
            { "experts36", { .vocab = 8192, .width = 256, .layers = 10, .heads = 4, .kv_heads = 2, .head_dim = 64,
                             .ffn_width = 256, .experts = 16, .top_k = 2, .ctx_tok = 1024, .rope_base = 1e4,
                             .norm_eps = 1e-6, .balance = 0.01, .z = 1e-3 }, 4, 16, 256 },
            { "dense8", { .vocab = 8192, .width = 256, .layers = 10, .heads = 4, .kv_heads = 2, .head_dim = 64,
                          .ffn_width = 512, .ctx_tok = 1024, .rope_base = 1e4, .norm_eps = 1e-6 }, 4, 16, 256 },
        };
        for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++)
            if (strcmp(argv[1], speeds[i].name) == 0)
                show_speed(&speeds[i].shape, speeds[i].count, speeds[i].rows, speeds[i].row_tok,
                           (size_t)strtoul(argv[2], NULL, 10));
        return check_done();
    }
    test_orthogonal(8, 24);
    test_orthogonal(24, 8);
    test_orthogonal(1, 40);
    test_orthogonal(40, 60);
    test_schedule();
    test_bits("dense", &DENSE, &ADAMW, 1);
    test_bits("dense, Muon", &DENSE, &MUON, 1);
    test_bits("dense, five microbatches", &DENSE, &ADAMW, 5);
    test_bits("dense, five microbatches, Muon", &DENSE, &MUON, 5);
    test_bits("experts, three microbatches", &EXPERTS, &ADAMW, 3);
    test_bits("experts, three microbatches, Muon", &EXPERTS, &MUON, 3);
    test_accumulation();
    test_refusal();
    test_learning("dense", &DENSE, &ADAMW);
    test_learning("dense, Muon", &DENSE, &MUON);
    test_learning("experts", &EXPERTS, &ADAMW);
    test_learning("experts, Muon", &EXPERTS, &MUON);
    return check_done();
}
