/* Speed of the products beside what the machine allows:
 *
 *   kernels [TIER [TYPE]]
 *
 * Decoding (one token) against a probe that only reads the same bytes, with one and two threads; prefill (512 tokens,
 * 1024 x 3072) in operations a second. Probe and product alternate, and medians are printed: other programs come and
 * go. The bytes are arbitrary, with small scales; time does not depend on them. */
#include "base/arena.h"
#include "base/checked.h"
#include "base/team.h"
#include "kernels/bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { ROUNDS = 9, COLS = 3072, PREFILL_ROWS = 1024, PREFILL_TOK = 512, TILES_A_JOB = 4 };
static const size_t READ_BYTES = (size_t)256 << 20;

struct bench {
    const struct kernels *k;
    team *teams[2]; /* of one and two threads */
    uint8_t *bytes;
    uint8_t *room;
    float *x, *out;
};

struct job {
    const struct kernels *k;
    matrix w;
    activations x;
    float *out;
    uint64_t sums[2]; /* keeps the probe's reads */
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, by_size);
    return values[ROUNDS / 2];
}

static void product_job(void *arg, size_t tile, size_t thread)
{
    struct job *j = arg;
    size_t begin = tile * TILES_A_JOB;
    (void)thread;
    matmul(j->k, &j->w, &j->x, j->out, j->w.rows, begin, min_size(begin + TILES_A_JOB, tile_count(j->w.rows)));
}

typedef uint64_t line __attribute__((vector_size(64)));

static void probe_job(void *arg, size_t tile, size_t thread)
{
    struct job *j = arg;
    size_t begin = tile * TILES_A_JOB, end = min_size(begin + TILES_A_JOB, tile_count(j->w.rows));
    const line *at = (const line *)(const void *)(j->w.tiles + begin * j->w.tile_bytes);
    line sum[4] = { { 0 } };
    for (size_t i = 0; i + 4 <= (end - begin) * j->w.tile_bytes / sizeof(line); i += 4)
        for (size_t c = 0; c < 4; c++) sum[c] += at[i + c];
    sum[0] += sum[1] + sum[2] + sum[3];
    j->sums[thread] += sum[0][0] + sum[0][1] + sum[0][2] + sum[0][3] + sum[0][4] + sum[0][5] + sum[0][6] + sum[0][7];
}

static double run_s(const struct bench *b, size_t threads, struct job *j, team_fn *fn)
{
    double start = now_s();
    team_run(b->teams[threads - 1], ceil_div(tile_count(j->w.rows), TILES_A_JOB), fn, j);
    return now_s() - start;
}

static struct job job_of(const struct bench *b, enum weight_type type, size_t rows, size_t tokens)
{
    struct job j = { .k = b->k, .out = b->out };
    j.w = (matrix){ .type = type, .rows = rows, .cols = COLS, .tiles = b->bytes };
    j.w.tile_bytes = tile_bytes_of(type, COLS);
    activations_lay(&j.x, weight_kind(type)->activations, b->x, COLS, COLS, tokens, b->room);
    for (size_t t = 0; t < tokens; t++) (void)activations_make(b->k, &j.x, t);
    return j;
}

/* Fills GB/s of the product and its share of the probe's. */
static void decode(const struct bench *b, enum weight_type type, size_t threads, double *gb_s, double *share)
{
    size_t tiles = READ_BYTES / tile_bytes_of(type, COLS);
    struct job j = job_of(b, type, tiles * TILE_ROWS, 1);
    double speeds[ROUNDS], shares[ROUNDS], gigabytes = (double)(tiles * j.w.tile_bytes) * 1e-9;
    for (size_t i = 0; i < ROUNDS; i++) {
        double probe_s = run_s(b, threads, &j, probe_job), product_s = run_s(b, threads, &j, product_job);
        speeds[i] = gigabytes / product_s;
        shares[i] = probe_s / product_s;
    }
    *gb_s = median(speeds);
    *share = median(shares);
}

static double prefill_tops(const struct bench *b, enum weight_type type, size_t threads)
{
    struct job j = job_of(b, type, PREFILL_ROWS, PREFILL_TOK);
    double tops[ROUNDS];
    for (size_t i = 0; i < ROUNDS; i++)
        tops[i] = 2e-12 * PREFILL_ROWS * COLS * PREFILL_TOK / run_s(b, threads, &j, product_job);
    return median(tops);
}

static void one_type(const struct bench *b, const struct weight_kind *kind)
{
    double gb_s[2], share[2];
    for (size_t threads = 1; threads <= 2; threads++)
        decode(b, kind->type, threads, &gb_s[threads - 1], &share[threads - 1]);
    printf("%-7s  %6.1f %4.0f%%   %6.1f %4.0f%%   %6.3f %6.3f\n", kind->name, gb_s[0], 100 * share[0], gb_s[1],
           100 * share[1], prefill_tops(b, kind->type, 1), prefill_tops(b, kind->type, 2));
    fflush(stdout);
}

int main(int count, char **args)
{
    struct kernels k;
    struct bench b = { .k = &k };
    arena a = { 0 };
    err e = { 0 };
    size_t rows_max = READ_BYTES / COLS * 4, out_floats = max_size(rows_max, (size_t)PREFILL_ROWS * PREFILL_TOK);
    bool ready = kernels_bind(&k, count > 1 ? args[1] : NULL, &e) && team_new(&b.teams[0], 1, NULL, 0, &e) &&
                 team_new(&b.teams[1], 2, NULL, 0, &e) && arena_new(&a, (size_t)1 << 30, &e);
    if (ready) {
        b.bytes = arena_take(&a, READ_BYTES, 1, 4096, "weights", &e);
        b.room = arena_take(&a, activations_bytes(ACTIVATION_INT8_32, COLS, PREFILL_TOK), 1, 64, "activations", &e);
        b.x = arena_take(&a, (size_t)COLS * PREFILL_TOK, sizeof(float), 64, "inputs", &e);
        b.out = arena_take(&a, out_floats, sizeof(float), 64, "outputs", &e);
    }
    if (e.code != ERR_NONE) {
        fprintf(stderr, "kernels: %s\n", e.text);
        return 1;
    }
    madvise(a.base, a.size_bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < READ_BYTES; i++) b.bytes[i] = (uint8_t)(i * 2654435761u >> 13 & 0x3f);
    for (size_t i = 0; i < (size_t)COLS * PREFILL_TOK; i++) b.x[i] = (float)(i % 251) - 125.0f;
    printf("%s: %d rounds, medians; decode %d columns, prefill %d x %d, %d tokens\n", k.tier, ROUNDS, COLS,
           PREFILL_ROWS, COLS, PREFILL_TOK);
    printf("type     1 thread: GB/s, of read   2 threads   prefill TOPS, 1 and 2 threads\n");
    for (uint32_t type = 0; type < WEIGHT_TYPES; type++)
        if (weight_kind(type) != NULL && (count < 3 || weight_kind_named(view_of(args[2])) == weight_kind(type)))
            one_type(&b, weight_kind(type));
    team_free(b.teams[0]);
    team_free(b.teams[1]);
    arena_free(&a);
    return 0;
}
