/* Attention at the shape of an 8B model: 8 key/value heads of 128 channels, 32 query heads.
 *
 *   decode   one token at 32,768 positions: GB/s of keys and values, beside a plain read of the same bytes
 *   prefill  the last 512 tokens of 512 and of 4,096 positions: ns per query row, and GFLOP/s
 *
 * Threads take key/value heads. The caches hold no more than a fraction of the pages, and the smallest time of several
 * rounds counts.       make build/release/bench/attention && build/release/bench/attention [tier] [threads] */
#include "base/prng.h"
#include "base/team.h"
#include "kernels/math.h"
#include "kernels_tiers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { KV_HEADS = 8, GROUP = 4, DIM = 128, POSITIONS = 32768, TOKENS = 512, ROUNDS = 9 };
enum { PAGES = POSITIONS / PAGE_TOK, PART = DIM + 2, THREADS = 8, PAGE_VALUES = PAGE_TOK * DIM };

struct pool {
    enum kv_type type;
    size_t matrix_bytes;
    char *bytes; /* per head: keys of page 0, values of page 0, keys of page 1, ... */
};

struct work {
    const struct attention_kernels *k;
    const struct pool *pool;
    size_t tokens, positions;
    float *q;     /* [KV_HEADS][tokens * GROUP][DIM] */
    float *parts; /* [KV_HEADS][2][tokens * GROUP][PART] */
    float sum[KV_HEADS];
};

/* Of one thread the processor's time, which a busy machine disturbs less; of several the clock's. */
static double now(const team *team_of)
{
    struct timespec t;
    clock_gettime(team_threads(team_of) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "bench: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

static struct pool pool_make(enum kv_type type)
{
    struct pool pool = { .type = type, .matrix_bytes = PAGE_VALUES * (type == KV_F32 ? 4u : 2u) };
    pool.bytes = map(KV_HEADS * PAGES * 2 * pool.matrix_bytes);
    for (size_t i = 0; i < (size_t)KV_HEADS * PAGES * 2 * PAGE_VALUES; i++) {
        float x = (float)(int32_t)(i * 2654435761u) * 0x1p-31f; /* cheap and spread: -1..1 */
        if (type == KV_F32) ((float *)(void *)pool.bytes)[i] = x;
        else ((uint16_t *)(void *)pool.bytes)[i] = f32_to_f16(x);
    }
    return pool;
}

static void attend(void *arg, size_t head, size_t thread)
{
    struct work *w = arg;
    size_t rows = w->tokens * GROUP;
    float *parts = w->parts + head * 2 * rows * PART;
    struct attention_row *list = malloc(rows * sizeof *list);
    (void)thread;
    for (size_t first = 0; first * PAGE_TOK < w->positions; first += SPAN_PAGES) {
        const void *k_pages[SPAN_PAGES], *v_pages[SPAN_PAGES];
        float *out = first == 0 ? parts : parts + rows * PART;
        size_t pages = w->positions / PAGE_TOK - first < SPAN_PAGES ? w->positions / PAGE_TOK - first : SPAN_PAGES;
        for (size_t p = 0; p < pages; p++) {
            k_pages[p] = w->pool->bytes + (head * PAGES + first + p) * 2 * w->pool->matrix_bytes;
            v_pages[p] = (const char *)k_pages[p] + w->pool->matrix_bytes;
        }
        for (size_t r = 0; r < rows; r++)
            list[r] = (struct attention_row){ w->q + (head * rows + r) * DIM, 0,
                                              w->positions - (w->tokens - 1 - r / GROUP), out + r * PART };
        w->k->span(&(struct attention_span){ .k_pages = k_pages, .v_pages = v_pages, .first_page = first,
                                             .pages = pages, .type = w->pool->type, .key_dim = DIM, .value_dim = DIM,
                                             .scale = 0.088f, .rows = list, .row_count = rows });
        for (size_t r = 0; first > 0 && r < rows; r++) w->k->combine(parts + r * PART, out + r * PART, DIM);
    }
    free(list);
}

typedef uint64_t words __attribute__((vector_size(64)));

static void read_all(void *arg, size_t head, size_t thread)
{
    struct work *w = arg;
    words sum[4] = { { 0 } };
    (void)thread;
    const words *p = (const words *)(const void *)(w->pool->bytes + head * PAGES * 2 * w->pool->matrix_bytes);
    for (size_t i = 0; i < PAGES * 2 * w->pool->matrix_bytes / sizeof *p; i += 4) {
        __builtin_prefetch((const char *)(p + i) + 4096);
        __builtin_prefetch((const char *)(p + i) + 4160);
        __builtin_prefetch((const char *)(p + i) + 4224);
        __builtin_prefetch((const char *)(p + i) + 4288);
        for (size_t j = 0; j < 4; j++) sum[j] += p[i + j];
    }
    for (size_t j = 1; j < 4; j++) sum[0] += sum[j];
    w->sum[head] = (float)sum[0][0];
}

static double smallest(team *t, team_fn *fn, struct work *w)
{
    double best = 1e9;
    for (size_t i = 0; i < ROUNDS; i++) {
        double start = now(t);
        team_run(t, KV_HEADS, fn, w);
        double seconds = now(t) - start;
        best = seconds < best ? seconds : best;
    }
    return best;
}

static void decode(team *t, struct work *w)
{
    double bytes = (double)(KV_HEADS * PAGES * 2 * w->pool->matrix_bytes), share[3], read = 1e9, seconds = 1e9;
    w->tokens = 1, w->positions = POSITIONS;
    for (size_t i = 0; i < 3; i++) { /* the machine's bandwidth moves: probe and kernel in turn */
        double r = smallest(t, read_all, w), s = smallest(t, attend, w);
        share[i] = r / s, read = r < read ? r : read, seconds = s < seconds ? s : seconds;
    }
    printf("decode  %s %6zu positions: %6.3f ms, %5.1f GB/s; plain read %5.1f GB/s; shares %.0f%% %.0f%% %.0f%%\n",
           w->pool->type == KV_F32 ? "f32" : "f16", w->positions, seconds * 1e3, bytes / seconds * 1e-9,
           bytes / read * 1e-9, 100 * share[0], 100 * share[1], 100 * share[2]);
}

static void prefill(team *t, struct work *w, size_t positions)
{
    w->tokens = TOKENS, w->positions = positions;
    double seconds = smallest(t, attend, w), rows = KV_HEADS * GROUP * TOKENS;
    double seen = rows * ((double)positions - (TOKENS - 1) * 0.5);
    printf("prefill %s %6zu positions: %6.1f ms, %6.0f ns a row, %5.1f GFLOP/s\n",
           w->pool->type == KV_F32 ? "f32" : "f16", positions, seconds * 1e3, seconds * 1e9 / rows,
           seen * 4 * DIM / seconds * 1e-9);
}

int main(int argc, char **argv)
{
    static struct tier tiers[TIERS_MAX];
    size_t count = tiers_here(tiers), threads = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    struct work w = { 0 };
    team *t;
    err e = { 0 };
    if (!team_new(&t, threads, NULL, 0, &e)) return fprintf(stderr, "bench: %s\n", e.text), 1;
    w.q = map((size_t)KV_HEADS * TOKENS * GROUP * DIM * sizeof(float));
    w.parts = map((size_t)KV_HEADS * 2 * TOKENS * GROUP * PART * sizeof(float));
    for (size_t i = 0; i < (size_t)KV_HEADS * TOKENS * GROUP * DIM; i++) w.q[i] = (float)prng_unit(1, 0, i) - 0.5f;
    for (int type = KV_F32; type <= KV_F16; type++) {
        struct pool pool = pool_make((enum kv_type)type);
        for (size_t i = 0; i < count; i++) {
            if (argc > 1 ? strcmp(argv[1], tiers[i].name) != 0 : i == 0) continue;
            printf("%s, %zu threads\n", tiers[i].name, threads);
            w.k = &tiers[i].attention, w.pool = &pool;
            decode(t, &w);
            prefill(t, &w, TOKENS);
            prefill(t, &w, 4096);
        }
        munmap(pool.bytes, KV_HEADS * PAGES * 2 * pool.matrix_bytes);
    }
    team_free(t);
}
