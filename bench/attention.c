/* Attention at the shape of an 8B model: 8 key/value heads of 128 channels, 32 query heads.
 *
 *   decode   one token at 32,768 positions: every type against f16 in turn, the ratio of each round and its median;
 *            GB/s of keys and values beside a plain read of the same bytes. Pages in order
 *   random   the same with extents of 8 pages in random order
 *   near     the same with the pages of every head among the first 32 of a pool: arithmetic alone
 *   prefill  the last 512 tokens of 512 and of 4,096 positions: ns per query row, and GFLOP/s
 *
 * Threads take key/value heads. The caches hold no more than a fraction of the pages.
 *      make build/release/bench/attention
 *      build/release/bench/attention decode|random|near|prefill [tier] [threads] [rounds] [type] */
#include "base/prng.h"
#include "base/team.h"
#include "kernels/coded.h"
#include "kernels/math.h"
#include "kernels_tiers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { KV_HEADS = 8, GROUP = 4, DIM = 128, POSITIONS = 32768, TOKENS = 512, ROUNDS = 15 };
enum { EXTENT = 8, NEAR = 32 };
enum order { IN_ORDER, EXTENTS, NEARBY };
enum { PAGES = POSITIONS / PAGE_TOK, PART = DIM + 2, THREADS = 8, PAGE_VALUES = PAGE_TOK * DIM };

struct pool {
    enum kv_type type;
    size_t page_bytes, value_offset; /* of one head's page, keys and values */
    char *bytes;
    uint32_t place[KV_HEADS * PAGES]; /* where page p of head h stands, in pages */
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

/* Some pages in full, the rest their copies: what a page holds does not change how long it takes. */
static void fill_coded(struct pool *pool)
{
    enum { DIFFERENT = 8 };
    struct coded_layout lay;
    const char *why;
    static uint16_t keys[PAGE_VALUES], values[PAGE_VALUES];
    static float room[LOG_PACK_FLOATS], k[DIM], v[DIM];
    coded_layout(pool->type, DIM, DIM, &lay, &why);
    for (size_t page = 0; page < DIFFERENT; page++) {
        uint8_t *to = (uint8_t *)pool->bytes + page * pool->page_bytes;
        for (size_t i = 0; i < PAGE_VALUES; i++)
            keys[i] = f32_to_f16((float)prng_unit(2, page, i)),
            values[i] = f32_to_f16((float)prng_unit(3, page, i) - 0.5f);
        if (kv_is_log(pool->type)) coded_pack(pool->type, &lay, keys, values, DIM, DIM, 0, room, to);
        for (size_t at = 0; !kv_is_log(pool->type) && at < PAGE_TOK; at++) {
            for (size_t c = 0; c < DIM; c++)
                k[c] = f16_to_f32(keys[at * DIM + c]), v[c] = f16_to_f32(values[at * DIM + c]);
            coded_store(pool->type, &lay, k, v, DIM, DIM, at, to);
        }
    }
    for (size_t page = DIFFERENT; page < KV_HEADS * PAGES; page++)
        memcpy(pool->bytes + page * pool->page_bytes, pool->bytes + page % DIFFERENT * pool->page_bytes,
               pool->page_bytes);
}

static struct pool *pool_make(enum kv_type type, enum order order)
{
    struct pool *pool = map(sizeof *pool);
    struct coded_layout lay;
    const char *why;
    *pool = (struct pool){ .type = type, .page_bytes = 2 * PAGE_VALUES * (type == KV_F32 ? 4u : 2u) };
    pool->value_offset = pool->page_bytes / 2;
    if (kv_is_coded(type)) {
        coded_layout(type, DIM, DIM, &lay, &why);
        pool->page_bytes = lay.bytes;
        pool->value_offset = 0;
    }
    pool->bytes = map(KV_HEADS * PAGES * pool->page_bytes);
    if (kv_is_coded(type)) fill_coded(pool);
    for (size_t i = 0; !kv_is_coded(type) && i < (size_t)KV_HEADS * PAGES * 2 * PAGE_VALUES; i++) {
        float x = (float)(int32_t)(i * 2654435761u) * 0x1p-31f; /* cheap and spread: -1..1 */
        if (type == KV_F32) ((float *)(void *)pool->bytes)[i] = x;
        else ((uint16_t *)(void *)pool->bytes)[i] = f32_to_f16(x);
    }
    for (size_t i = 0; i < KV_HEADS * PAGES; i++) pool->place[i] = (uint32_t)(order == NEARBY ? i % NEAR : i);
    for (size_t i = KV_HEADS * PAGES / EXTENT; order == EXTENTS && i-- > 1;) {
        size_t j = (size_t)(prng_unit(9, 0, i) * (double)(i + 1));
        for (size_t k = 0; k < EXTENT; k++) {
            uint32_t one = pool->place[i * EXTENT + k];
            pool->place[i * EXTENT + k] = pool->place[j * EXTENT + k];
            pool->place[j * EXTENT + k] = one;
        }
    }
    return pool;
}

static void pool_free(struct pool *pool)
{
    munmap(pool->bytes, KV_HEADS * PAGES * pool->page_bytes);
    munmap(pool, sizeof *pool);
}

static void attend(void *arg, size_t head, size_t thread)
{
    struct work *w = arg;
    size_t rows = w->tokens * GROUP;
    float *parts = w->parts + head * 2 * rows * PART;
    struct attention_row *list = malloc(rows * sizeof *list);
    (void)thread;
    for (size_t first = 0; first * PAGE_TOK < w->positions; first += SPAN_PAGES) {
        const void *k_pages[SPAN_PAGES + GROUP_PAGES], *v_pages[SPAN_PAGES];
        size_t ahead = 0;
        float *out = first == 0 ? parts : parts + rows * PART;
        size_t pages = w->positions / PAGE_TOK - first < SPAN_PAGES ? w->positions / PAGE_TOK - first : SPAN_PAGES;
        for (size_t p = 0; p < pages; p++) {
            k_pages[p] = w->pool->bytes + w->pool->place[head * PAGES + first + p] * w->pool->page_bytes;
            v_pages[p] = (const char *)k_pages[p] + w->pool->value_offset;
        }
        for (; ahead < GROUP_PAGES && first + pages + ahead < PAGES; ahead++)
            k_pages[pages + ahead] = w->pool->bytes +
                                     w->pool->place[head * PAGES + first + pages + ahead] * w->pool->page_bytes;
        for (size_t r = 0; r < rows; r++)
            list[r] = (struct attention_row){ w->q + (head * rows + r) * DIM, 0,
                                              w->positions - (w->tokens - 1 - r / GROUP), out + r * PART };
        void (*span)(const struct attention_span *) = kv_is_coded(w->pool->type) ? w->k->coded_span : w->k->span;
        span(&(struct attention_span){ .k_pages = k_pages,
                                       .v_pages = v_pages,
                                       .first_page = first,
                                       .pages = pages,
                                       .ahead = ahead,
                                       .type = w->pool->type,
                                       .key_dim = DIM,
                                       .value_dim = DIM,
                                       .scale = 0.088f,
                                       .rows = list,
                                       .row_count = rows });
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
    const words *p = (const words *)(const void *)(w->pool->bytes + head * PAGES * w->pool->page_bytes);
    for (size_t i = 0; i + 4 <= PAGES * w->pool->page_bytes / sizeof *p; i += 4) {
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

static const char *type_name(enum kv_type type)
{
    return kv_is_coded(type) ? coded_kind(type)->name : type == KV_F32 ? "f32" : "f16";
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* In every round f16 and its read, then each type and its read: bandwidth moves, so only ratios within a round
 * count. */
static void decode(team *t, struct work *w, enum order order, size_t rounds, const char *only)
{
    static const enum kv_type types[] = { KV_F16, KV_Q8, KV_Q4, KV_K2V2, KV_K3V2, KV_K4V2, KV_K4V3 };
    enum { COUNT = sizeof types / sizeof *types, MOST = 64 };
    static double ratio[COUNT][MOST], share[COUNT][MOST], time[COUNT][MOST], speed[COUNT][MOST];
    static const char *const names[] = { "", ", random extents", ", nearby" }; /* ORDER order */
    struct pool *pools[COUNT];
    w->tokens = 1, w->positions = POSITIONS;
    for (size_t i = 0; i < COUNT; i++)
        pools[i] = only == NULL || strcmp(only, type_name(types[i])) == 0 ? pool_make(types[i], order) : NULL;
    for (size_t r = 0; r < rounds && r < MOST; r++)
        for (size_t i = 0; i < COUNT; i++) {
            w->pool = pools[i];
            if (only != NULL && strcmp(only, type_name(types[i])) != 0) continue;
            double read = smallest(t, read_all, w);
            time[i][r] = smallest(t, attend, w);
            speed[i][r] = (double)(KV_HEADS * PAGES * w->pool->page_bytes) / read * 1e-9;
            share[i][r] = read / time[i][r];
            ratio[i][r] = time[0][r] / time[i][r];
        }
    for (size_t i = 0; i < COUNT; i++) {
        if (only != NULL && strcmp(only, type_name(types[i])) != 0) continue;
        qsort(ratio[i], rounds, sizeof(double), by_size);
        qsort(share[i], rounds, sizeof(double), by_size);
        qsort(time[i], rounds, sizeof(double), by_size);
        qsort(speed[i], rounds, sizeof(double), by_size);
        printf("decode %-9s %6.3f ms, %4.0f%% of a read at %4.1f GB/s; over f16 %5.2f (%.2f to %.2f)%s\n",
               type_name(types[i]), time[i][rounds / 2] * 1e3, 100 * share[i][rounds / 2], speed[i][rounds / 2],
               ratio[i][rounds / 2], ratio[i][0], ratio[i][rounds - 1], names[order]);
        pool_free(pools[i]);
    }
}

static void prefill(team *t, struct work *w, size_t positions)
{
    w->tokens = TOKENS, w->positions = positions;
    double seconds = smallest(t, attend, w), rows = KV_HEADS * GROUP * TOKENS;
    double seen = rows * ((double)positions - (TOKENS - 1) * 0.5);
    printf("prefill %-9s %6zu positions: %6.1f ms, %6.0f ns a row, %5.1f GFLOP/s\n",
           type_name(w->pool->type), positions, seconds * 1e3, seconds * 1e9 / rows,
           seen * 4 * DIM / seconds * 1e-9);
}

int main(int argc, char **argv)
{
    static struct tier tiers[TIERS_MAX];
    const char *what = argc > 1 ? argv[1] : "decode";
    size_t count = tiers_here(tiers), threads = argc > 3 ? strtoul(argv[3], NULL, 10) : 2;
    size_t rounds = argc > 4 ? strtoul(argv[4], NULL, 10) : 3;
    struct work w = { 0 };
    team *t;
    err e = { 0 };
    if (rounds < 1 || rounds > 64) rounds = 3;
    if (!team_new(&t, threads, NULL, 0, &e)) return fprintf(stderr, "bench: %s\n", e.text), 1;
    w.q = map((size_t)KV_HEADS * TOKENS * GROUP * DIM * sizeof(float));
    w.parts = map((size_t)KV_HEADS * 2 * TOKENS * GROUP * PART * sizeof(float));
    for (size_t i = 0; i < (size_t)KV_HEADS * TOKENS * GROUP * DIM; i++) w.q[i] = (float)prng_unit(1, 0, i) - 0.5f;
    for (size_t i = 0; i < count; i++) {
        if (argc > 2 ? strcmp(argv[2], tiers[i].name) != 0 : i + 1 < count) continue;
        printf("%s, %zu threads, %zu rounds\n", tiers[i].name, threads, rounds);
        w.k = &tiers[i].attention;
        enum order order = strcmp(what, "random") == 0 ? EXTENTS : strcmp(what, "near") == 0 ? NEARBY : IN_ORDER;
        if (strcmp(what, "prefill") != 0) decode(t, &w, order, rounds, argc > 5 ? argv[5] : NULL);
        for (int type = KV_F32; strcmp(what, "prefill") == 0 && type <= KV_K2V2; type++) {
            struct pool *pool = pool_make((enum kv_type)type, IN_ORDER);
            w.pool = pool;
            prefill(t, &w, TOKENS);
            prefill(t, &w, 4096);
            pool_free(pool);
        }
    }
    team_free(t);
}
