/* kernels/attention.h: the definition against plain attention in f64, then every tier against the definition, bit for
 * bit. Pages are separate allocations of exactly their size, positions beyond the last one hold NaN, and pages that no
 * row sees are NULL: so reading what must not be read is seen. */
#include "base/prng.h"
#include "base/team.h"
#include "kernels/math.h"
#include "kernels_tiers.h"

#include "check.h"

#include <stdlib.h>

enum { ROWS_MAX = 40, DIM_MAX = 256, PAGES_MAX = 40, PART_MAX = DIM_MAX + 2, SPANS_MAX = 3 };

/* Keys and values of one head, and the rows that look at them. */
struct scene {
    enum kv_type type;
    size_t key_dim, value_dim, positions, row_count;
    float scale, soft_cap, *keys, *values; /* [position][channel] as stored: rounded to f16 where the pages are */
    bool in_keys; /* values are read from the keys' pages */
    void *k_pages[PAGES_MAX], *v_pages[PAGES_MAX];
    float q[ROWS_MAX][DIM_MAX];
    size_t lo[ROWS_MAX], hi[ROWS_MAX];
};

static struct scene scene;
static float parts[ROWS_MAX][PART_MAX], other_parts[ROWS_MAX][PART_MAX];

static float random_value(uint64_t seed, uint64_t i)
{
    double sum = 0;
    for (uint64_t k = 0; k < 4; k++) sum += prng_unit(seed, k, i) - 0.5;
    return (float)(sum * 1.7);
}

static size_t page_bytes(size_t dim)
{
    return dim * PAGE_TOK * (scene.type == KV_F32 ? sizeof(float) : sizeof(uint16_t));
}

/* Fills the pages through `store`. `gain` makes scores large: 1 is ordinary, 1e3 leaves one position all weight. */
static void scene_make(const struct attention_kernels *k, enum kv_type type, size_t key_dim, size_t value_dim,
                       size_t positions, float soft_cap, float gain, uint64_t seed)
{
    scene = (struct scene){ .type = type, .key_dim = key_dim, .value_dim = value_dim, .positions = positions,
                            .soft_cap = soft_cap, .scale = 1.0f / sqrtf((float)key_dim) };
    scene.keys = malloc(positions * key_dim * sizeof(float));
    scene.values = malloc(positions * value_dim * sizeof(float));
    for (size_t p = 0; p * PAGE_TOK < positions; p++) {
        scene.k_pages[p] = malloc(page_bytes(key_dim));
        scene.v_pages[p] = malloc(page_bytes(value_dim));
        memset(scene.k_pages[p], 0xff, page_bytes(key_dim)); /* NaN in both types */
        memset(scene.v_pages[p], 0xff, page_bytes(value_dim));
    }
    for (size_t i = 0; i < positions; i++) {
        float *key = scene.keys + i * key_dim, *value = scene.values + i * value_dim;
        for (size_t c = 0; c < key_dim; c++) key[c] = random_value(seed, i * key_dim + c) * gain;
        for (size_t c = 0; c < value_dim; c++) value[c] = random_value(seed + 1, i * value_dim + c);
        k->store(type, &(struct attention_tokens){ .k = key, .v = value, .count = 1 }, key_dim, value_dim,
                 i % PAGE_TOK, scene.k_pages[i / PAGE_TOK], scene.v_pages[i / PAGE_TOK]);
        if (type == KV_F32) continue;
        for (size_t c = 0; c < key_dim; c++) key[c] = f16_to_f32(f16_clamped(key[c]));
        for (size_t c = 0; c < value_dim; c++) value[c] = f16_to_f32(f16_clamped(value[c]));
    }
    for (size_t r = 0; r < ROWS_MAX; r++)
        for (size_t c = 0; c < key_dim; c++) scene.q[r][c] = random_value(seed + 2, r * key_dim + c) * 2;
}

static void scene_free(void)
{
    for (size_t p = 0; p < PAGES_MAX; p++) free(scene.k_pages[p]), free(scene.v_pages[p]);
    free(scene.keys), free(scene.values);
}

/* One span for rows begin..end-1; pages that none of them sees are given as NULL. */
static void run_span(const struct attention_kernels *k, size_t first_page, size_t begin, size_t end,
                     float out[][PART_MAX])
{
    struct attention_row rows[ROWS_MAX];
    const void *k_pages[SPAN_PAGES], *v_pages[SPAN_PAGES];
    size_t all_pages = (scene.positions + PAGE_TOK - 1) / PAGE_TOK, pages = all_pages - first_page;
    if (pages > SPAN_PAGES) pages = SPAN_PAGES;
    for (size_t p = 0; p < pages; p++) {
        bool seen = false;
        for (size_t r = begin; r < end; r++)
            seen |= scene.lo[r] < scene.hi[r] && scene.lo[r] < (first_page + p + 1) * PAGE_TOK &&
                    scene.hi[r] > (first_page + p) * PAGE_TOK;
        k_pages[p] = seen ? scene.k_pages[first_page + p] : NULL;
        v_pages[p] = seen ? scene.v_pages[first_page + p] : NULL;
    }
    for (size_t r = begin; r < end; r++)
        rows[r - begin] = (struct attention_row){ scene.q[r], scene.lo[r], scene.hi[r], out[r] };
    k->span(&(struct attention_span){ .k_pages = k_pages, .v_pages = scene.in_keys ? NULL : v_pages,
                                      .first_page = first_page, .pages = pages, .type = scene.type,
                                      .key_dim = scene.key_dim, .value_dim = scene.value_dim, .scale = scene.scale,
                                      .soft_cap = scene.soft_cap, .rows = rows, .row_count = end - begin });
}

struct spans {
    const struct attention_kernels *k;
    size_t at_once; /* rows that share a call */
};

static float span_parts[SPANS_MAX][ROWS_MAX][PART_MAX];

static void one_span(void *arg, size_t span, size_t thread)
{
    const struct spans *s = arg;
    (void)thread;
    memset(span_parts[span], 0x55, sizeof span_parts[span]); /* what a call leaves unwritten is seen */
    for (size_t r = 0; r < scene.row_count; r += s->at_once)
        run_span(s->k, span * SPAN_PAGES, r, r + s->at_once < scene.row_count ? r + s->at_once : scene.row_count,
                 span_parts[span]);
}

/* All spans, taken by the threads of `t` or one after the other, then combined in order: parts for every row. */
static void run_team(const struct attention_kernels *k, size_t at_once, team *t, float out[][PART_MAX])
{
    struct spans job = { k, at_once };
    size_t spans = (scene.positions + SPAN_TOK - 1) / SPAN_TOK;
    if (t != NULL) team_run(t, spans, one_span, &job);
    for (size_t span = 0; t == NULL && span < spans; span++) one_span(&job, span, 0);
    for (size_t r = 0; r < scene.row_count; r++) memcpy(out[r], span_parts[0][r], sizeof out[r]);
    for (size_t span = 1; span < spans; span++)
        for (size_t r = 0; r < scene.row_count; r++) k->combine(out[r], span_parts[span][r], scene.value_dim);
}

static void run_all(const struct attention_kernels *k, size_t at_once, float out[][PART_MAX])
{
    run_team(k, at_once, NULL, out);
}

/* Plain attention of row r in f64: two passes over the visible positions. */
static void plain(size_t r, const float *sink, double out[static DIM_MAX])
{
    static double scores[PAGES_MAX * PAGE_TOK];
    double max = sink != NULL ? (double)*sink : -INFINITY, sum = 0;
    size_t hi = scene.hi[r] < scene.positions ? scene.hi[r] : scene.positions;
    for (size_t i = scene.lo[r]; i < hi; i++) {
        double score = 0, cap = (double)scene.soft_cap;
        for (size_t c = 0; c < scene.key_dim; c++)
            score += (double)scene.q[r][c] * (double)scene.keys[i * scene.key_dim + c];
        score *= (double)scene.scale;
        scores[i] = cap > 0 ? cap * tanh(score / cap) : score;
        max = fmax(max, scores[i]);
    }
    for (size_t c = 0; c < scene.value_dim; c++) out[c] = 0;
    if (sink != NULL) sum = exp((double)*sink - max);
    for (size_t i = scene.lo[r]; i < hi; i++) {
        double p = exp(scores[i] - max);
        sum += p;
        for (size_t c = 0; c < scene.value_dim; c++) out[c] += p * (double)scene.values[i * scene.value_dim + c];
    }
    for (size_t c = 0; c < scene.value_dim; c++) out[c] /= sum;
}

/* Largest |difference| to plain attention; values are about 1. */
static double distance(const struct attention_kernels *k, float parts_in[][PART_MAX], const float *sink)
{
    double worst = 0, want[DIM_MAX];
    float out[DIM_MAX], part[PART_MAX];
    for (size_t r = 0; r < scene.row_count; r++) {
        memcpy(part, parts_in[r], sizeof part);
        k->finish(part, sink, scene.value_dim, out);
        plain(r, sink, want);
        for (size_t c = 0; c < scene.value_dim; c++) {
            double d = fabs((double)out[c] - want[c]);
            worst = d <= worst ? worst : d;
        }
    }
    return worst;
}

/* What rows see: each shape gives row r its lo and hi among `positions`. */
enum shape { DECODE, CAUSAL, WINDOW, BORDERS, SCATTERED, SHAPES };
static const char *const shape_names[SHAPES] = { "decode", "causal", "window", "borders", "scattered" };

static void see(enum shape shape, size_t row_count, uint64_t seed)
{
    static const size_t cuts[] = { 0, 1, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025 };
    enum { CUTS = sizeof cuts / sizeof *cuts };
    scene.row_count = row_count;
    for (size_t r = 0; r < row_count; r++) {
        size_t n = scene.positions, a = prng_u32(seed, 9, 2 * r), b = prng_u32(seed, 9, 2 * r + 1);
        size_t causal = n > row_count / 2 ? n - (row_count - 1 - r) / 2 : n; /* two heads a token */
        scene.lo[r] = 0, scene.hi[r] = n;
        if (shape == CAUSAL) scene.hi[r] = causal;
        if (shape == WINDOW) scene.hi[r] = causal, scene.lo[r] = causal > 100 ? causal - 100 : 0;
        if (shape == BORDERS) scene.lo[r] = cuts[a % CUTS], scene.hi[r] = cuts[b % CUTS];
        if (shape == SCATTERED) scene.lo[r] = a % n, scene.hi[r] = b % 9 == 0 ? SIZE_MAX : b % (n + 1);
        if (scene.hi[r] > n && scene.hi[r] != SIZE_MAX) scene.hi[r] = n;
        /* Beyond the last position there is nothing: a caller never asks for it, except through spans not given. */
        if (scene.hi[r] == SIZE_MAX) scene.hi[r] = n;
    }
}

static const struct config {
    const char *says;
    size_t key_dim, value_dim, positions;
    float soft_cap, gain;
} configs[] = {
    { "one position", 64, 64, 1, 0, 1 },
    { "a page less one", 8, 16, 63, 0, 1 },
    { "a page", 16, 8, 64, 0, 1 },
    { "a page and one, key and value lengths differ", 192, 128, 65, 0, 1 },
    { "a few pages", 32, 32, 300, 0, 1 },
    { "80 channels", 80, 80, 200, 0, 1 },
    { "96 channels, soft cap", 96, 96, 333, 30, 4 },
    { "odd channels", 33, 19, 130, 0, 1 },
    { "a span and one", 128, 128, 1025, 0, 1 },
    { "three spans", 64, 64, 2200, 0, 1 },
    { "256 channels, soft cap", 256, 256, 1100, 50, 8 },
    { "scores far apart: most weights underflow", 64, 64, 1500, 0, 1000 },
    { "scores almost zero", 64, 64, 1100, 0, 1e-30f },
    { "scores underflow to zeros of both signs", 8, 8, 200, 0, 2e-45f },
};
enum { CONFIGS = sizeof configs / sizeof *configs, THREE_SPANS = 9 };

static bool same_parts(float a[][PART_MAX], float b[][PART_MAX])
{
    for (size_t r = 0; r < scene.row_count; r++)
        if (memcmp(a[r], b[r], (scene.value_dim + 2) * sizeof(float)) != 0) return false;
    return true;
}

static void make_config(const struct attention_kernels *k, const struct config *c, enum kv_type type, uint64_t seed)
{
    scene_make(k, type, c->key_dim, c->value_dim, c->positions, c->soft_cap, c->gain, seed);
}

/* f32 attention of about a thousand positions differs from f64 by some 1e-6 of values near 1; larger scores carry an
 * absolute error of 2^-24 times themselves into the exponent, so the tolerance grows with the gain. */
static void definition_is_attention(const struct attention_kernels *k)
{
    static const float sinks[] = { -3, 0.5f, 20 };
    for (size_t c = 0; c < CONFIGS; c++)
        for (int type = KV_F32; type <= KV_F16; type++) {
            make_config(k, &configs[c], (enum kv_type)type, c);
            double tolerance = 4e-6 * fmax(1, (double)configs[c].gain), worst;
            for (size_t shape = DECODE; shape <= WINDOW; shape++) {
                see((enum shape)shape, 6, c);
                run_all(k, 6, parts);
                worst = distance(k, parts, NULL);
                CHECK(worst < tolerance, "%s, %s: %g from f64", configs[c].says, shape_names[shape], worst);
                for (size_t s = 0; s < 3; s++) {
                    worst = distance(k, parts, &sinks[s]);
                    CHECK(worst < tolerance, "%s, sink %g: %g from f64", configs[c].says, (double)sinks[s], worst);
                }
            }
            scene_free();
        }
}

/* Rows cut over calls and spans given to threads in any way: the same bits. */
static void cuts_do_not_matter(const struct attention_kernels *k, const char *name)
{
    static const size_t at_once[] = { 1, 2, 3, 5, 7, 13, 39 };
    team *t = NULL;
    err e = { 0 };
    if (!CHECK(team_new(&t, 3, NULL, 0, &e), "%s", e.text)) return;
    make_config(k, &configs[THREE_SPANS], KV_F16, 4);
    for (size_t shape = 0; shape < SHAPES; shape++) {
        see((enum shape)shape, ROWS_MAX, 8);
        run_all(k, ROWS_MAX, parts);
        for (size_t i = 0; i < sizeof at_once / sizeof *at_once; i++) {
            run_all(k, at_once[i], other_parts);
            CHECK(same_parts(parts, other_parts), "%s, %s: %zu rows a call", name, shape_names[shape], at_once[i]);
            run_team(k, at_once[i], t, other_parts);
            CHECK(same_parts(parts, other_parts), "%s, %s: three threads", name, shape_names[shape]);
        }
    }
    team_free(t);
    scene_free();
}

static void tier_equals(const struct tier *ref, const struct tier *tier)
{
    static const size_t row_counts[] = { 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 31, ROWS_MAX };
    for (size_t c = 0; c < CONFIGS; c++)
        for (int type = KV_F32; type <= KV_F16; type++) {
            make_config(&tier->attention, &configs[c], (enum kv_type)type, c + 50);
            for (size_t shape = 0; shape < SHAPES; shape++)
                for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++) {
                    if (configs[c].positions > 1000 && (i + shape + c) % 4 != 0) continue; /* the definition is slow */
                    see((enum shape)shape, row_counts[i], 60 + i);
                    run_all(&ref->attention, ROWS_MAX, parts);
                    run_all(&tier->attention, ROWS_MAX, other_parts);
                    CHECK(same_parts(parts, other_parts), "%s, %s, %s, type %d, %zu rows", tier->name, configs[c].says,
                          shape_names[shape], type, row_counts[i]);
                }
            scene_free();
        }
}

/* Values that are their keys' begin: the bits are those of values with pages of their own. */
static void values_in_keys(const struct attention_kernels *k, const char *name)
{
    static const size_t row_counts[] = { 1, 2, 5, 6, 7, 13, ROWS_MAX };
    for (size_t c = 0; c < CONFIGS; c++)
        for (int type = KV_F32; type <= KV_F16 && configs[c].value_dim <= configs[c].key_dim; type++) {
            make_config(k, &configs[c], (enum kv_type)type, c + 70);
            for (size_t i = 0; i < scene.positions; i++) {
                const float *key = scene.keys + i * scene.key_dim;
                k->store(scene.type, &(struct attention_tokens){ .k = key, .v = key, .count = 1 }, scene.key_dim,
                         scene.value_dim, i % PAGE_TOK, scene.k_pages[i / PAGE_TOK], scene.v_pages[i / PAGE_TOK]);
            }
            for (size_t shape = 0; shape < SHAPES; shape++)
                for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++) {
                    if (configs[c].positions > 1000 && (i + shape + c) % 4 != 0) continue;
                    see((enum shape)shape, row_counts[i], 80 + i);
                    scene.in_keys = false;
                    run_all(k, ROWS_MAX, parts);
                    scene.in_keys = true;
                    run_all(k, ROWS_MAX, other_parts);
                    CHECK(same_parts(parts, other_parts), "%s, values in keys, %s, %s, type %d, %zu rows", name,
                          configs[c].says, shape_names[shape], type, row_counts[i]);
                }
            scene_free();
        }
}

static const size_t dims[] = { 1, 8, 15, 16, 17, 64, 80, 100, 128, 256 };

/* combine and finish of a tier. Parts of any kind: empty, equal maxima, far apart. */
static void tier_pieces(const struct tier *ref, const struct tier *tier)
{
    static const float maxima[] = { 0, 0, 1, -50, 3.25f, -200 }, sinks[] = { -1, 0, 100 };
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (size_t i = 0; i < 36; i++) {
            float a[2][PART_MAX + 1] = { 0 }, b[PART_MAX + 1] = { 0 }, out[2][DIM_MAX + 1] = { 0 };
            size_t n = dims[d];
            for (size_t c = 0; c < n; c++) a[0][c] = i / 6 > 0 ? random_value(c, i) : 0, b[c] = random_value(c, i + 99);
            a[0][n] = maxima[i / 6], a[0][n + 1] = i / 6 > 0 ? 3.5f : 0;
            b[n] = maxima[i % 6], b[n + 1] = i % 6 > 0 ? 1.25f : 0;
            if (i % 6 == 0) memset(b, 0, sizeof b);
            memcpy(a[1], a[0], sizeof a[0]);
            ref->attention.combine(a[0], b, n);
            tier->attention.combine(a[1], b, n);
            CHECK(memcmp(a[0], a[1], sizeof a[0]) == 0, "%s: combine, %zu channels, case %zu", tier->name, n, i);
            if (a[0][n + 1] == 0) continue;
            ref->attention.finish(a[0], i % 4 == 3 ? NULL : &sinks[i % 4], n, out[0]);
            tier->attention.finish(a[1], i % 4 == 3 ? NULL : &sinks[i % 4], n, out[1]);
            CHECK(memcmp(out[0], out[1], sizeof out[0]) == 0, "%s: finish, %zu channels, case %zu", tier->name, n, i);
        }
}

/* One token, some that are no whole vectors, and a page, from rows that are further apart than they are long. */
static void stores(const struct attention_kernels *ref, const struct attention_kernels *tier, const char *name)
{
    enum { APART = DIM_MAX + 3 };
    static float pages[2][2][DIM_MAX * PAGE_TOK], x[PAGE_TOK * APART];
    static const size_t counts[] = { 1, 5, 16, 22, 47, 64 };
    for (size_t i = 0; i < PAGE_TOK * APART; i++) x[i] = random_value(3, i) * (i % 3 ? 1 : i % 2 ? 1e6f : 1e-6f);
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (size_t at = 0; at < PAGE_TOK; at += 21)
            for (size_t n = 0; n < sizeof counts / sizeof *counts && at + counts[n] <= PAGE_TOK; n++)
                for (int type = KV_F32; type <= KV_F16; type++) {
                    const struct attention_tokens from = { x, x + 1, APART, APART - 1, counts[n] };
                    memset(pages, 0, sizeof pages);
                    ref->store((enum kv_type)type, &from, dims[d], dims[d], at, pages[0][0], pages[0][1]);
                    tier->store((enum kv_type)type, &from, dims[d], dims[d], at, pages[1][0], pages[1][1]);
                    CHECK(memcmp(pages[0], pages[1], sizeof pages[0]) == 0,
                          "%s: store, %zu channels, %zu tokens at %zu", name, dims[d], counts[n], at);
                }
}

/* Values that are not finite: nothing stops, and the outputs say so. */
static void not_finite(const struct attention_kernels *k, const char *name)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 3; i++)
        for (size_t rows = 1; rows < 8; rows += 3) {
            make_config(k, &configs[4], KV_F32, 9);
            see(DECODE, rows, 0);
            ((float *)scene.v_pages[1])[5] = bad[i]; /* position 64, channel 5 */
            run_all(k, rows, parts);
            CHECK(!isfinite(parts[0][5]) && isfinite(parts[0][4]), "%s: %g in a value", name, (double)bad[i]);
            for (size_t c = 0; c < scene.key_dim; c++) scene.q[0][c] = bad[i];
            run_all(k, rows, parts);
            bool finite = true;
            for (size_t c = 0; c < scene.value_dim + 2; c++) finite &= isfinite(parts[0][c]) != 0;
            CHECK(!finite, "%s: %g in a query", name, (double)bad[i]);
            scene_free();
        }
}

/* Planted faults: a wrong maximum, one position too many, a neighbour's bit: each is seen. */
static void the_comparison_sees(const struct attention_kernels *k)
{
    make_config(k, &configs[4], KV_F32, 1);
    see(DECODE, 2, 0);
    run_all(k, 2, parts);
    memcpy(other_parts, parts, sizeof parts);
    other_parts[1][scene.value_dim + 1] = f32_of_bits(bits_of_f32(other_parts[1][scene.value_dim + 1]) ^ 1);
    CHECK(!same_parts(parts, other_parts), "one bit of a sum is seen");
    scene.lo[1] = 1;
    run_all(k, 2, other_parts);
    CHECK(!same_parts(parts, other_parts), "one position less is seen");
    scene.lo[1] = 0;
    scene.values[7]++;
    CHECK(distance(k, parts, NULL) > 4e-6, "one value changed in f64 is seen");
    scene_free();
}

int main(void)
{
    static struct tier tiers[TIERS_MAX];
    size_t count = tiers_here(tiers);
    definition_is_attention(&tiers[0].attention);
    the_comparison_sees(&tiers[0].attention);
    for (size_t t = 0; t < count; t++) {
        cuts_do_not_matter(&tiers[t].attention, tiers[t].name);
        not_finite(&tiers[t].attention, tiers[t].name);
        values_in_keys(&tiers[t].attention, tiers[t].name);
        if (t == 0) continue;
        tier_equals(&tiers[0], &tiers[t]);
        tier_pieces(&tiers[0], &tiers[t]);
        stores(&tiers[0].attention, &tiers[t].attention, tiers[t].name);
    }
    if (count == 1) check_skip("no tier but the definition on this CPU or in this build");
    return check_done();
}
