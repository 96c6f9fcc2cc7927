/* Routing of one token through all layers, beside our own full f32 router in the same run:
 *
 *   route [ROUNDS [MODEL [SPECTRUM]]]      only those whose names hold these words
 *
 * Shapes are those of published models, spectra flat, i^-0.5, i^-1, the same in bf16, and products of rank 64. Every
 * layer has memory of its own, and more than twice the last cache is read between two visits of a layer, so weights
 * come from memory. Both ways alternate; medians of the rounds are printed. The choices are compared as well. */
#include "base/checked.h"
#include "kernels/route_pack.h"
#include "made_router.h"
#include "model/route.h"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

enum { ROUNDS_MOST = 1001, CACHE_BYTES = 96 << 20, INPUTS = 16, MADE = 2 };

static const struct shape {
    const char *name;
    size_t experts, cols, layers, top_k, groups, groups_used;
    enum router router;
    double bars[5]; /* flat and its kin, -, -, -, rank 64 */
} SHAPES[] = {
    { "Qwen3-30B-A3B", 128, 2048, 48, 8, 1, 1, ROUTER_CHOSEN, { 0.65, 0.65, 0.65, 0.65, 0.48 } },
    { "gpt-oss-120b", 128, 2880, 36, 4, 1, 1, ROUTER_CHOSEN, { 0.50, 0.50, 0.50, 0.50, 0.45 } },
    { "DeepSeek-V3", 256, 7168, 58, 8, 8, 4, ROUTER_SIGMOID, { 0.62, 0.62, 0.62, 0.62, 0.25 } },
    { "Kimi-K2", 384, 7168, 60, 8, 1, 1, ROUTER_SIGMOID, { 0.45, 0.45, 0.45, 0.45, 0.20 } },
};

static const struct spectrum {
    const char *name;
    size_t rank; /* 0: full */
    double power;
    bool flat, bf16;
} SPECTRA[] = {
    { "flat", 0, 0, true, false },    { "i^-0.5", 0, 0.5, false, false }, { "i^-1", 0, 1, false, false },
    { "flat bf16", 0, 0, true, true }, { "rank 64", 64, 0, false, false },
};

struct bench {
    struct kernels k;
    team *t;
    arena scratch;
    struct route_scratch s[2];
    float *x; /* the input, as a norm has just left it */
    const struct shape *shape;
    struct expert_config config;
    struct layer *layers, *plain; /* layers * copies; with and without the second form */
    size_t layer_count, copies;
    float *inputs, *bias;
    void *memory;
    size_t memory_bytes;
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

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return values[count / 2];
}

static void stop(const char *why)
{
    fprintf(stderr, "route: %s\n", why);
    exit(1);
}

/* Layers of MADE different routers, copied to places of their own. */
static void make_layers(struct bench *b, const struct shape *p, const struct spectrum *sp)
{
    err e = { 0 };
    size_t values = p->experts * p->cols, mark = b->scratch.used_bytes;
    struct route_shape shapes[MADE];
    uint8_t *forms[MADE];
    float *rows[MADE];
    for (size_t i = 0; i < MADE; i++) {
        struct route_use use = { p->top_k, false, p->groups != p->groups_used };
        rows[i] = arena_take(&b->scratch, values, sizeof(float), 64, "rows", &e);
        size_t rank = sp->flat ? 0 : sp->rank > 0 ? sp->rank : p->experts;
        made_router(rows[i], p->experts, p->cols, rank, sp->power, 7 + i);
        if (p->router == ROUTER_SIGMOID) /* logits of unit deviation, as published gates have */
            for (size_t v = 0; v < values; v++) rows[i][v] *= 0.7f;
        if (sp->bf16) made_bf16(rows[i], values);
        if (!route_shape_of(rows[i], p->experts, p->cols, use, &shapes[i], &b->scratch, &e)) stop(e.text);
        forms[i] = arena_take(&b->scratch, route_bytes(&shapes[i]) + 64, 1, 64, "form", &e);
        if (shapes[i].form == ROUTE_NONE || !route_pack(&shapes[i], rows[i], forms[i], b->t, &b->scratch, &e))
            stop("no form");
    }
    size_t form_bytes = route_bytes(&shapes[0]), each = round_up(values * 4, 4096) + round_up(form_bytes, 4096);
    b->copies = 1 + 2 * (size_t)CACHE_BYTES / (form_bytes * p->layers); /* a form is read in part */
    b->layer_count = p->layers * b->copies;
    b->memory_bytes = each * b->layer_count;
    b->memory = mmap(NULL, b->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    b->layers = calloc(2 * b->layer_count, sizeof *b->layers);
    if (b->memory == MAP_FAILED || b->layers == NULL) stop("no memory");
    b->plain = b->layers + b->layer_count;
    madvise(b->memory, b->memory_bytes, MADV_HUGEPAGE);
    for (size_t l = 0; l < b->layer_count; l++) {
        uint8_t *at = (uint8_t *)b->memory + l * each, *form = at + round_up(values * 4, 4096);
        memcpy(at, rows[l % MADE], values * 4);
        memcpy(form, forms[l % MADE], form_bytes);
        b->layers[l] = (struct layer){ .router = (const float *)(void *)at,
                                       .route = route_bind(&shapes[l % MADE], form),
                                       .choice_bias = p->router == ROUTER_SIGMOID ? b->bias : NULL };
        b->plain[l] = b->layers[l];
        b->plain[l].route = (struct route){ 0 };
    }
    arena_rewind(&b->scratch, mark);
}

struct sums {
    double shortlist, rescored, bytes;
    size_t decisions, differ;
};

/* All layers once, from copy `copy` of them. */
static double token_s(struct bench *b, size_t copy, size_t input, bool full, struct choice *out, struct sums *sums)
{
    const struct shape *p = b->shape;
    double all_s = 0;
    for (size_t l = 0; l < p->layers; l++) {
        const struct layer *layers = full ? b->plain : b->layers;
        struct route_gate r = { .config = &b->config, .k = &b->k, .layer = &layers[copy * p->layers + l],
                                .width = p->cols };
        /* A norm leaves its result in the caller's cache; a copy may write past it. Stores that wait are its time. */
        b->k.vector.rms_norm(b->inputs + (input + l) % INPUTS * p->cols, NULL, p->cols, 1e-6f, b->x);
        atomic_thread_fence(memory_order_seq_cst);
        double begin = now_s();
        route_choose(&r, b->x, b->s, b->t, out + l * p->top_k);
        all_s += now_s() - begin;
        sums->shortlist += (double)b->s[0].tally.shortlist;
        sums->rescored += (double)b->s[0].tally.rescored;
        sums->bytes += (double)b->s[0].tally.bytes;
        sums->decisions++;
    }
    return all_s;
}

static void measure(struct bench *b, const struct spectrum *sp, size_t rounds)
{
    const struct shape *p = b->shape;
    double by_form[ROUNDS_MOST], by_all[ROUNDS_MOST], ratio[ROUNDS_MOST];
    struct sums form = { 0 }, all = { 0 };
    struct choice *a = calloc(2 * p->layers * p->top_k, sizeof *a), *c = a + p->layers * p->top_k;
    for (size_t round = 0; round < rounds; round++) {
        by_all[round] = token_s(b, round % b->copies, round, true, c, &all);
        by_form[round] = token_s(b, (round + b->copies / 2) % b->copies, round, false, a, &form);
        ratio[round] = by_form[round] / by_all[round];
        for (size_t i = 0; i < p->layers * p->top_k; i++)
            form.differ += a[i].expert != c[i].expert || a[i].weight != c[i].weight;
    }
    static const char *const forms[] = { "none", "bf16", "planes", "plane+bf16", "factor" };
    double n = (double)form.decisions, full_bytes = (double)(p->experts * p->cols * 4);
    double ms = median(by_form, rounds) * 1e3, full_ms = median(by_all, rounds) * 1e3, r = median(ratio, rounds);
    double bar = p->bars[sp - SPECTRA];
    printf("%-14s %-9s %-10s %5.1f%% %6.1f %5.1f  %8.3f %8.3f  %6.2f  %5.3f <= %.2f %s  %6.2f %6.2f  %zu differ\n",
           p->name, sp->name, forms[b->layers[0].route.form], 100 * form.bytes / n / full_bytes, form.shortlist / n,
           form.rescored / n, ms, full_ms, ms * 1e3 / (double)p->layers, r, bar, r <= bar ? "held" : "NOT ",
           form.bytes / n * (double)p->layers / 11.4e6, full_bytes * (double)p->layers / 11.4e6, form.differ);
    free(a);
}

int main(int argc, char **argv)
{
    struct bench b = { 0 };
    err e = { 0 };
    size_t rounds = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 21;
    const char *only = argc > 2 ? argv[2] : "", *only_spectrum = argc > 3 ? argv[3] : "";
    if (rounds < 1 || rounds > ROUNDS_MOST) stop("rounds: 1..1001");
    if (!kernels_bind(&b.k, NULL, &e) || !team_new(&b.t, 2, NULL, 0, &e) ||
        !arena_new(&b.scratch, (size_t)1 << 33, &e))
        stop(e.text);
    printf("%-14s %-9s %-10s %6s %6s %5s  %8s %8s  %6s  %5s    %-9s  %6s %6s\n", "model", "spectrum", "form", "bytes",
           "short", "exact", "ms", "full ms", "us/lay", "ratio", "bar", "ms@11.4", "full");
    for (size_t m = 0; m < sizeof SHAPES / sizeof *SHAPES; m++) {
        if (strstr(SHAPES[m].name, only) == NULL) continue;
        size_t mark = b.scratch.used_bytes;
        b.shape = &SHAPES[m];
        b.config = (struct expert_config){ .count = SHAPES[m].experts, .top_k = SHAPES[m].top_k, .scale = 1.0f,
                                           .groups = SHAPES[m].groups, .groups_used = SHAPES[m].groups_used,
                                           .router = SHAPES[m].router, .renormalise = true };
        b.inputs = arena_take(&b.scratch, INPUTS * SHAPES[m].cols, sizeof(float), 64, "inputs", &e);
        b.bias = arena_take(&b.scratch, SHAPES[m].experts, sizeof(float), 64, "bias", &e);
        b.x = arena_take(&b.scratch, SHAPES[m].cols, sizeof(float), 64, "input", &e);
        for (size_t i = 0; i < 2; i++) {
            void *room = arena_take(&b.scratch, route_room_bytes(SHAPES[m].experts, SHAPES[m].cols), 1, 64, "room", &e);
            route_scratch_lay(&b.s[i], SHAPES[m].experts, SHAPES[m].cols, room);
        }
        for (size_t i = 0; i < INPUTS; i++) {
            made_input(b.inputs + i * SHAPES[m].cols, SHAPES[m].cols, 3, i);
            b.k.vector.rms_norm(b.inputs + i * SHAPES[m].cols, NULL, SHAPES[m].cols, 1e-6f,
                                b.inputs + i * SHAPES[m].cols);
        }
        for (size_t i = 0; i < SHAPES[m].experts; i++) b.bias[i] = 0.02f * made_normal(4, 1, i);
        for (size_t i = 0; i < sizeof SPECTRA / sizeof *SPECTRA; i++) {
            if (strstr(SPECTRA[i].name, only_spectrum) == NULL) continue;
            make_layers(&b, &SHAPES[m], &SPECTRA[i]);
            measure(&b, &SPECTRA[i], rounds);
            munmap(b.memory, b.memory_bytes);
            free(b.layers);
        }
        arena_rewind(&b.scratch, mark);
    }
    team_free(b.t);
    arena_free(&b.scratch);
    return 0;
}
