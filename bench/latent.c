/* Attention over a latent cache at the shape of DeepSeek-V3: 128 query heads share one key of 512 + 64 values and one
 * value of 512 (the key's beginning), in the absorbed form. One token at 8,192 positions: 1.14 G multiply-adds over
 * few bytes, so what counts is the share of the cores' own limit of f32 multiply-adds, measured in every round beside
 * it, in registers alone. Spans are tasks, as in the graph.
 *
 *      make build/release/bench/latent
 *      build/release/bench/latent [rounds] [tier] [positions] [threads] [tokens] */
#include "base/prng.h"
#include "base/team.h"
#include "kernels/gemm.h"
#include "kernels/math.h"
#include "kernels_tiers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { HEADS = 128, RANK = 512, TURNS = 64, KEY = RANK + TURNS, PART = 528 /* RANK + 2, in lines */ };
enum { ROUNDS_MOST = 101, SLICE = 128, NOPE = 128, VALUE = 128 };

struct work {
    const struct attention_kernels *k;
    const struct gemm_kernels *gemm;
    enum kv_type type;
    size_t positions, spans, rows;
    char *pages; /* keys, of which values are the begin */
    size_t page_bytes;
    float *q, *parts;
    double burnt[64];
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "latent: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

static void fill(struct work *w)
{
    static float key[KEY];
    for (size_t pos = 0; pos < w->positions; pos++) {
        char *page = w->pages + pos / PAGE_TOK * w->page_bytes;
        for (size_t c = 0; c < KEY; c++) key[c] = (float)prng_unit(1, pos, c) - 0.5f;
        w->k->store(w->type, &(struct attention_tokens){ .k = key, .v = key, .count = 1 }, KEY, 0, pos % PAGE_TOK, page,
                    page);
    }
    for (size_t i = 0; i < w->rows * KEY; i++) w->q[i] = (float)prng_unit(2, 0, i) - 0.5f;
}

/* A slice of the heads against a span. */
static void span_task(void *arg, size_t task, size_t thread)
{
    struct work *w = arg;
    const void *keys[SPAN_PAGES];
    struct attention_row rows[SLICE];
    size_t slices = w->rows / SLICE, s = task / slices, first_row = task % slices * SLICE, first = s * SPAN_PAGES;
    size_t all = w->positions / PAGE_TOK, pages = all - first < SPAN_PAGES ? all - first : SPAN_PAGES;
    (void)thread;
    for (size_t p = 0; p < pages; p++) keys[p] = w->pages + (first + p) * w->page_bytes;
    for (size_t i = 0; i < SLICE; i++)
        rows[i] = (struct attention_row){ .q = w->q + (first_row + i) * KEY, .lo = 0, .hi = w->positions,
                                          .part = w->parts + (s * w->rows + first_row + i) * PART };
    w->k->span(&(struct attention_span){ .k_pages = keys, .v_pages = NULL, .first_page = first, .pages = pages,
                                         .type = w->type, .key_dim = KEY, .value_dim = RANK, .scale = 0.07f,
                                         .rows = rows, .row_count = SLICE });
}

static void join_task(void *arg, size_t row, size_t thread)
{
    struct work *w = arg;
    float *whole = w->parts + row * PART;
    (void)thread;
    for (size_t s = 1; s < w->spans; s++) w->k->combine(whole, w->parts + (s * w->rows + row) * PART, RANK);
    w->k->finish(whole, NULL, RANK, whole);
}

static void burn_task(void *arg, size_t task, size_t thread)
{
    struct work *w = arg;
    real sink = 1;
    (void)thread;
    w->burnt[task] = w->gemm->burn(1 << 17, &sink);
}

/* Multiply-adds a second that the team's threads do at most. */
static double peak(struct work *w, team *t)
{
    double begin = now_s(), done = 0;
    team_run(t, team_threads(t), burn_task, w);
    double took = now_s() - begin;
    for (size_t i = 0; i < team_threads(t); i++) done += w->burnt[i];
    return done / 2 / took;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct work *w, team *t, size_t rounds)
{
    double time[ROUNDS_MOST], share[ROUNDS_MOST], most[ROUNDS_MOST];
    double macs = (double)w->rows * (double)w->positions * (KEY + RANK);
    for (size_t r = 0; r < rounds; r++) {
        most[r] = peak(w, t);
        double begin = now_s();
        team_run(t, w->spans * (w->rows / SLICE), span_task, w);
        team_run(t, w->rows, join_task, w);
        time[r] = now_s() - begin;
        double after = peak(w, t);
        most[r] = after > most[r] ? after : most[r]; /* what a stall took from one of them is not the cores' limit */
        share[r] = macs / time[r] / most[r];
    }
    qsort(time, rounds, sizeof *time, by_size);
    qsort(share, rounds, sizeof *share, by_size);
    qsort(most, rounds, sizeof *most, by_size);
    double bytes = (double)w->page_bytes / PAGE_TOK;
    double wide = HEADS * (NOPE + TURNS + VALUE) * (w->type == KV_F32 ? 4 : 2);
    printf("%s: %zu positions, %zu rows: %7.2f ms, %6.1f GMAC/s of %6.1f: %4.1f%% of the peak (%.1f to %.1f)\n",
           w->type == KV_F32 ? "f32" : "f16", w->positions, w->rows, time[rounds / 2] * 1e3,
           macs / time[rounds / 2] * 1e-9, most[rounds / 2] * 1e-9, 100 * share[rounds / 2], 100 * share[0],
           100 * share[rounds - 1]);
    printf("     cache: %.0f bytes a position and layer, %.1f MB; expanded to heads %.0f bytes, %.1f MB\n", bytes,
           bytes * (double)w->positions * 1e-6, wide, wide * (double)w->positions * 1e-6);
}

int main(int argc, char **argv)
{
    static struct tier tiers[TIERS_MAX];
    size_t count = tiers_here(tiers), rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 7;
    const char *tier = argc > 2 ? argv[2] : tiers[count - 1].name;
    size_t positions = argc > 3 ? strtoul(argv[3], NULL, 10) : 8192;
    size_t threads = argc > 4 ? strtoul(argv[4], NULL, 10) : 2;
    size_t tokens = argc > 5 ? strtoul(argv[5], NULL, 10) : 1;
    team *t;
    err e = { 0 };
    if (rounds < 1 || rounds > ROUNDS_MOST || positions < PAGE_TOK || positions % PAGE_TOK != 0 || threads > 64)
        return fprintf(stderr, "latent: rounds 1..101, positions a multiple of 64, at most 64 threads\n"), 2;
    if (!team_new(&t, threads, NULL, 0, &e)) return fprintf(stderr, "latent: %s\n", e.text), 1;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tier, tiers[i].name) != 0) continue;
        printf("%s, %zu threads, %zu rounds\n", tier, threads, rounds);
        for (int type = KV_F32; type <= KV_F16; type++) {
            struct work w = { .k = &tiers[i].attention, .gemm = gemm_tier(tier), .type = (enum kv_type)type,
                              .positions = positions, .rows = HEADS * tokens,
                              .spans = (positions + SPAN_TOK - 1) / SPAN_TOK };
            size_t each = type == KV_F32 ? 4 : 2, q_bytes = w.rows * KEY * sizeof(float);
            size_t part_bytes = w.spans * w.rows * PART * sizeof(float);
            w.page_bytes = (size_t)KEY * PAGE_TOK * each;
            w.pages = map(positions / PAGE_TOK * w.page_bytes);
            w.q = map(q_bytes);
            w.parts = map(part_bytes);
            fill(&w);
            measure(&w, t, rounds);
            munmap(w.pages, positions / PAGE_TOK * w.page_bytes);
            munmap(w.q, q_bytes);
            munmap(w.parts, part_bytes);
        }
    }
    team_free(t);
    return 0;
}
