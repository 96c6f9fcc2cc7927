/* Products of matrices: every tier against the definition, bit for bit, on every edge of its tiles; with the word
 * bench, how fast. */
#include "kernels/gemm.h"

#include "base/arena.h"
#include "base/prng.h"
#include "check.h"

#include <string.h>
#include <time.h>

static const char *const KINDS[] = { "NN", "NT", "TN" };
static const char *const TIERS[] = { "avx2", "avx512", "neon" };

static void fill(float *x, size_t n, uint64_t stream)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)(prng_unit(1, stream, i) - 0.5);
}

struct space {
    float *a, *b, *want, *got, *scratch;
};

/* One product by definition and by tier, rows further apart than they are long; what lies between must stay. */
static void compare(const struct gemm_kernels *k, team *t, const struct space *s, enum gemm_kind kind, size_t m,
                    size_t n, size_t depth, bool add)
{
    size_t gap = 3;
    struct gemm g = { kind, add, m, n, depth, s->a, s->b, s->want, (kind == GEMM_TN ? m : depth) + gap,
                      (kind == GEMM_NT ? depth : n) + gap, n + gap };
    fill(s->want, m * g.c_stride, 3);
    memcpy(s->got, s->want, m * g.c_stride * sizeof *s->got);
    gemm_one(&gemm_ref, &g, s->scratch);
    g.c = s->got;
    gemm_run(k, t, &g, 1, s->scratch);
    CHECK(m == 0 || memcmp(s->want, s->got, m * g.c_stride * sizeof *s->got) == 0, "%s %s %zu x %zu x %zu%s differs",
          k->tier, KINDS[kind], m, n, depth, add ? ", added" : "");
}

static void test_tier(const struct gemm_kernels *k, const struct space *s)
{
    /* Each edge of the tiles (6, 12 rows; 16, 32 columns), of their blocks and of the k blocks (256), and around it. */
    static const size_t sizes[] = { 0, 1, 2, 5, 6, 7, 11, 12, 13, 15, 16, 17, 31, 32, 33, 63, 65, 127, 129, 193 };
    static const size_t depths[] = { 0, 1, 2, 5, 16, 255, 256, 257, 513 };
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    err e = { 0 };
    team *t = NULL;
    if (!CHECK(team_new(&t, 3, NULL, 0, &e), "%s", e.text)) return;
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < COUNT; j++)
            for (int kind = 0; kind < 3; kind++)
                compare(k, t, s, (enum gemm_kind)kind, sizes[i], sizes[j],
                        depths[(i * 7 + j) % (sizeof depths / sizeof depths[0])], (i + j) % 2 == 1);
    team_free(t);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* not the wall: the machine may be busy, and one thread computes */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void show_speed(const struct gemm_kernels *k, const struct space *s)
{
    static const size_t shapes[][3] = { { 1024, 1536, 512 }, { 1024, 512, 512 }, { 512, 8192, 512 }, { 512, 512, 8192 },
                                        { 2816, 512, 1024 }, { 64, 256, 64 }, { 256, 512, 256 } };
    err e = { 0 };
    team *t = NULL;
    if (!CHECK(team_new(&t, 1, NULL, 0, &e), "%s", e.text)) return;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        size_t m = shapes[i][0], n = shapes[i][1], depth = shapes[i][2];
        printf("%-7s %4zu x %4zu x %4zu ", k->tier, m, n, depth);
        for (int kind = 0; kind < 3; kind++) {
            double best = 1e9;
            for (int again = 0; again < 4; again++) {
                struct gemm g = { (enum gemm_kind)kind, false, m, n, depth, s->a, s->b, s->got,
                                  kind == GEMM_TN ? m : depth, kind == GEMM_NT ? depth : n, n };
                double start = seconds();
                gemm_run(k, t, &g, 1, s->scratch);
                double took = seconds() - start;
                best = took < best ? took : best;
            }
            printf(" %s %6.1f", KINDS[kind], 2e-9 * (double)m * (double)n * (double)depth / best);
        }
        printf(" GFLOP/s\n");
    }
    float sink = 1;
    double best = 1e9, done = 0;
    for (int again = 0; again < 5; again++) {
        double start = seconds();
        done = k->burn(1 << 18, &sink);
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    printf("%-7s fma in registers alone: %.1f GFLOP/s%s\n", k->tier, 1e-9 * done / best, sink == 0 ? "!" : "");
    team_free(t);
}

int main(int argc, char **argv)
{
    bool timed = argc > 1 && strcmp(argv[1], "bench") == 0;
    enum { VALUES = 1 << 23 };
    err e = { 0 };
    arena a = { 0 };
    if (!arena_new(&a, (size_t)5 * VALUES * sizeof(float), &e)) return 1;
    struct space s;
    float **all[] = { &s.a, &s.b, &s.want, &s.got };
    for (size_t i = 0; i < 4; i++) *all[i] = arena_take(&a, VALUES, sizeof(float), 64, "matrix", &e);
    s.scratch = arena_take(&a, VALUES / 2, sizeof(float), 64, "scratch", &e);
    fill(s.a, VALUES, 1);
    fill(s.b, VALUES, 2);
    for (size_t i = 0; i < sizeof TIERS / sizeof TIERS[0]; i++) {
        const struct gemm_kernels *k = gemm_tier(TIERS[i]);
        if (k == NULL) {
            check_skip(TIERS[i]);
            continue;
        }
        test_tier(k, &s);
        if (timed) show_speed(k, &s);
    }
    CHECK(gemm_tier("none") == NULL, "an unknown tier is not there");
    CHECK(gemm_tier(NULL) != NULL, "there is always a tier");
    arena_free(&a);
    return check_done();
}
