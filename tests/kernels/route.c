/* kernels/route.h: every tier against the definition bit for bit; the bound against f64; the packed bytes' facts. */
#include "base/limits.h"
#include "base/team.h"
#include "kernels/math.h"
#include "kernels/route_pack.h"
#include "kernels_tiers.h"
#include "made_router.h"

#include "check.h"

enum { EXPERTS = 23, COLS_MAX = 8300 /* more groups than a tier takes at once */ };

static const size_t widths[] = { 1, 15, 16, 63, 64, 65, 127, 128, 200, 1024, 2048, 2880, COLS_MAX };

/* Kinds of inputs that kernels meet and of those they must survive. */
enum kind { ORDINARY, OUTLIERS, ZEROS, TINY, HUGE_ONES, DENORMAL, KINDS };
static const char *const kind_names[KINDS] = { "ordinary", "outliers", "zeros", "tiny", "huge", "denormal" };

static void fill(float *x, size_t n, enum kind kind, uint64_t seed)
{
    const float scale[KINDS] = { 1, 1, 0, 0x1p-70f, 0x1p50f, 0x1p-130f };
    for (size_t i = 0; i < n; i++) {
        x[i] = made_normal(seed, 7, i) * scale[kind];
        if (kind == OUTLIERS && i % 61 == 3) x[i] *= 1000.0f;
        if (kind == ZEROS && i % 2 == 1) x[i] = -0.0f;
    }
}

struct packed {
    struct route_shape shape;
    uint8_t *bytes;
    float *rows;
    struct route r;
};

static struct packed pack(enum route_form form, size_t experts, size_t cols, size_t rank, const float *rows, team *t,
                          arena *a)
{
    err e = { 0 };
    struct packed p = { .shape = { .form = form, .experts = experts, .cols = cols, .rank = rank } };
    size_t bytes = route_bytes(&p.shape);
    p.bytes = arena_take(a, bytes, 1, 64, "form", &e);
    p.rows = ARENA_ARRAY(a, float, experts * cols, "rows", &e);
    memcpy(p.rows, rows, experts * cols * sizeof *rows);
    CHECK(p.bytes != NULL && route_pack(&p.shape, rows, p.bytes, t, a, &e), "pack: %s", e.text);
    p.r = route_bind(&p.shape, p.bytes);
    return p;
}

static void test_tiers(const struct tier *ref, const struct tier *tier, const struct packed *p, enum kind kind,
                       const float *x, void *room1, void *room2)
{
    size_t cols = p->shape.cols, groups = route_groups(cols);
    struct route_input a, b;
    route_input_lay(&a, cols, room1);
    route_input_lay(&b, cols, room2);
    bool good = ref->route.input(x, &a), same = good == tier->route.input(x, &b);
    const char *what = kind_names[kind];
    CHECK(good && same, "%s: %s input of %zu is taken", tier->name, what, cols);
    same = memcmp(a.scale, b.scale, groups * 4) == 0 && memcmp(a.norm, b.norm, groups * 4) == 0 &&
           memcmp(a.lift, b.lift, groups * 64) == 0 && memcmp(a.x, b.x, groups * 256) == 0 &&
           memcmp(a.high, b.high, groups * 64) == 0 && memcmp(a.low, b.low, groups * 64) == 0 &&
           bits_of_f32(a.all) == bits_of_f32(b.all) && bits_of_f32(a.rest) == bits_of_f32(b.rest);
    CHECK(same, "%s: codes of a %s input of %zu are the definition's", tier->name, what, cols);
    float score[2][EXPERTS], reach[2][EXPERTS];
    for (size_t both = 0; both < 2; both++) {
        struct route_part part = { .count = EXPERTS, .both = both == 1 };
        route_scores(&ref->route, &p->r, &a, &part, score[0], reach[0]);
        route_scores(&tier->route, &p->r, &b, &part, score[1], reach[1]);
        CHECK(memcmp(score[0], score[1], sizeof score[0]) == 0 && memcmp(reach[0], reach[1], sizeof reach[0]) == 0,
              "%s: scores of a %s input of %zu, planes %zu", tier->name, what, cols, both + 1);
    }
}

/* |f32 score - approximation| <= bound, for both planes; how much of the bound is used says whether it is loose. */
static double test_bound(const struct tier *tier, const struct packed *p, const float *x, void *room)
{
    size_t cols = p->shape.cols;
    struct route_input in;
    float score[EXPERTS], reach[EXPERTS], bounds[EXPERTS];
    double most = 0;
    route_input_lay(&in, cols, room);
    if (!tier->route.input(x, &in)) return 0;
    for (size_t both = 0; both < 2; both++) {
        struct route_part part = { .count = EXPERTS, .both = both == 1 };
        route_scores(&tier->route, &p->r, &in, &part, score, reach);
        route_bounds(&p->r, &in, 0, EXPERTS, both == 1, reach, bounds);
        for (size_t e = 0; e < EXPERTS; e++) {
            float exact = tier->vector.dot(p->rows + e * cols, x, cols);
            double off = fabs((double)exact - (double)score[e]);
            double bound = (double)bounds[e];
            if (!(off <= bound))
                CHECK(false, "expert %zu of %zu columns: off by %g, bound %g (planes %zu)", e, cols, off, bound, both);
            if (both == 0 && off / bound > most) most = off / bound;
        }
    }
    return most;
}

static void test_planes(const struct tier *tiers, size_t tier_count, team *t, arena *a)
{
    static float x[COLS_MAX], w[EXPERTS * COLS_MAX];
    err e = { 0 };
    void *rooms[2] = { arena_take(a, route_input_bytes(COLS_MAX), 1, 64, "input", &e),
                       arena_take(a, route_input_bytes(COLS_MAX), 1, 64, "input", &e) };
    double most = 0;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        for (enum kind wk = ORDINARY; wk < KINDS; wk++) {
            size_t mark = a->used_bytes;
            fill(w, EXPERTS * widths[i], wk, 11 + i);
            struct packed p = pack(ROUTE_PLANES, EXPERTS, widths[i], 1, w, t, a);
            for (enum kind kind = ORDINARY; kind < KINDS; kind++) {
                fill(x, widths[i], kind, 100 + i);
                for (size_t tier = 1; tier < tier_count; tier++)
                    test_tiers(&tiers[0], &tiers[tier], &p, kind, x, rooms[0], rooms[1]);
                double used = test_bound(&tiers[tier_count - 1], &p, x, rooms[0]);
                most = used > most ? used : most;
            }
            arena_rewind(a, mark);
        }
    }
    CHECK(most > 0.05 && most <= 1.0, "the bound is neither wrong nor useless: %g of it is used", most);
}

static void test_int16_rows(const struct tier *tiers, size_t tier_count)
{
    enum { ROWS = 7 };
    static float x[COLS_MAX];
    static int16_t w[ROWS * COLS_MAX];
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        size_t n = widths[i];
        float want[ROWS], out[ROWS];
        fill(x, n < ROWS ? ROWS : n, OUTLIERS, i);
        for (size_t at = 0; at < ROWS * n; at++) w[at] = (int16_t)((int32_t)(prng_u32(3, i, at) & 0xffff) - 32768);
        tiers[0].route.int16_rows(w, ROWS, n, x, want);
        for (size_t r = 0; r < ROWS; r++) {
            double sum = 0, size = 0;
            for (size_t c = 0; c < n; c++) {
                sum += (double)w[r * n + c] * (double)x[c];
                size += fabs((double)w[r * n + c] * (double)x[c]);
            }
            CHECK(fabs(sum - (double)want[r]) <= size * 50 * 0x1p-24, "int16 row %zu of %zu: %g, in f64 %g", r, n,
                  (double)want[r], sum);
        }
        for (size_t tier = 1; tier < tier_count; tier++) {
            static float cols[2][COLS_MAX]; /* the same integers as ROWS of n, y their first inputs */
            tiers[0].route.int16_cols(w, ROWS, n, x, cols[0]);
            tiers[tier].route.int16_cols(w, ROWS, n, x, cols[1]);
            CHECK(memcmp(cols[0], cols[1], n * sizeof **cols) == 0, "%s: int16 columns, %zu", tiers[tier].name, n);
            tiers[tier].route.int16_rows(w, ROWS, n, x, out);
            CHECK(memcmp(out, want, sizeof out) == 0, "%s: int16 rows of %zu", tiers[tier].name, n);
        }
    }
}

static void test_bf16_rows(const struct tier *tiers, size_t tier_count)
{
    enum { ROWS = 7 };
    static float x[COLS_MAX], wide[ROWS * COLS_MAX];
    static uint16_t w[ROWS * COLS_MAX];
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        size_t n = widths[i];
        fill(x, n, OUTLIERS, i);
        fill(wide, ROWS * n, ORDINARY, 50 + i);
        made_bf16(wide, ROWS * n);
        for (size_t at = 0; at < ROWS * n; at++) w[at] = (uint16_t)(bits_of_f32(wide[at]) >> 16);
        for (size_t tier = 0; tier < tier_count; tier++) {
            float out[ROWS];
            tiers[tier].route.bf16_rows(w, ROWS, n, x, out);
            for (size_t r = 0; r < ROWS; r++)
                CHECK(bits_of_f32(out[r]) == bits_of_f32(tiers[0].vector.dot(wide + r * n, x, n)),
                      "%s: bf16 row %zu of %zu is the dot of its values", tiers[tier].name, r, n);
        }
    }
}

/* Against counting, which needs no order: the k-th largest is the value that fewer than k are above and at least k not
 * below. */
static void test_kth(const struct tier *tiers, size_t tier_count)
{
    static const size_t counts[] = { 1, 2, 15, 16, 17, 128, 384, EXPERTS_MAX };
    static float v[EXPERTS_MAX];
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t kind = 0; kind < 4; kind++) {
            size_t n = counts[i];
            for (size_t at = 0; at < n; at++) {
                float x = made_normal(5, i, at);
                const float values[] = { x, (float)(int)(2 * x), 0.25f, x > 1 ? x : -INFINITY }; /* ties, one, masked */
                v[at] = values[kind];
            }
            for (size_t k = 1; k <= n; k += 1 + k / 3)
                for (size_t tier = 0; tier < tier_count; tier++) {
                    float found = tiers[tier].route.kth(v, n, k);
                    size_t above = 0, not_below = 0;
                    for (size_t at = 0; at < n; at++) {
                        above += v[at] > found;
                        not_below += v[at] >= found;
                    }
                    CHECK(above < k && not_below >= k, "%s: number %zu of %zu, kind %zu: %g", tiers[tier].name, k, n,
                          kind, (double)found);
                }
        }
}

/* What is no number or too large must be said, not scored. */
static void test_refused(const struct tier *tiers, size_t tier_count, void *room)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY, 0x1p62f, 0x1p120f };
    float x[200];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t at = 0; at < 200; at += 37)
            for (size_t tier = 0; tier < tier_count; tier++) {
                struct route_input in;
                route_input_lay(&in, 200, room);
                fill(x, 200, ORDINARY, i);
                x[at] = bad[i];
                CHECK(!tiers[tier].route.input(x, &in), "%s: %g at %zu is refused", tiers[tier].name, (double)bad[i],
                      at);
            }
}

static void test_forms(team *t, arena *a)
{
    static const struct {
        const char *says;
        size_t experts, cols, rank;
        bool bf16;
        struct route_use use;
        enum route_form want;
        size_t want_rank;
    } rows[] = {
        { "a large router gets two planes", 128, 2048, 0, false, { 8, false, false }, ROUTE_PLANES, 1 },
        { "one with groups too", 256, 1024, 0, false, { 8, false, true }, ROUTE_PLANES, 1 },
        { "one whose every score is needed keeps its rows", 128, 2048, 0, false, { 8, true, false }, ROUTE_NONE, 1 },
        { "unless they are bf16", 128, 2048, 0, true, { 8, true, false }, ROUTE_BF16, 1 },
        { "bf16 rows get one plane before them", 128, 2048, 0, true, { 8, false, false }, ROUTE_PLANES_BF16, 1 },
        { "but not where groups ask for every score", 128, 2048, 0, true, { 8, false, true }, ROUTE_BF16, 1 },
        { "few experts of which many are taken: none pays", 8, 4096, 0, false, { 2, false, false }, ROUTE_NONE, 1 },
        { "a small router stays as it is", 64, 128, 0, false, { 8, false, false }, ROUTE_NONE, 1 },
        { "a product of rank 16 is found", 128, 2048, 16, false, { 8, false, false }, ROUTE_FACTOR, 16 },
        { "and of rank 32", 128, 1024, 32, false, { 4, false, false }, ROUTE_FACTOR, 32 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err e = { 0 };
        size_t mark = a->used_bytes, n = rows[i].experts * rows[i].cols;
        float *w = ARENA_ARRAY(a, float, n, "rows", &e);
        struct route_shape s;
        made_router(w, rows[i].experts, rows[i].cols, rows[i].rank, 0.0, 5);
        if (rows[i].bf16) made_bf16(w, n);
        CHECK(route_shape_of(w, rows[i].experts, rows[i].cols, rows[i].use, &s, a, &e) && s.form == rows[i].want &&
                  s.rank == rows[i].want_rank,
              "%s: form %d rank %zu", rows[i].says, (int)s.form, s.rank);
        if (s.form == ROUTE_FACTOR) { /* what the packer says of its product holds */
            struct packed p = pack(s.form, s.experts, s.cols, s.rank, w, t, a);
            for (size_t row = 0; row < s.experts; row += 17) {
                double left = 0, norm = 0;
                for (size_t c = 0; c < s.cols; c++) {
                    double product = 0, value = (double)w[row * s.cols + c], scale = (double)p.r.facts[row].scale;
                    for (size_t j = 0; j < s.rank; j++)
                        product += scale * (double)p.r.outer[j * s.experts + row] * (double)p.r.inner[j * s.cols + c];
                    left += (value - product) * (value - product);
                    norm += value * value;
                }
                CHECK(sqrt(left) <= (double)p.r.facts[row].first && left < norm * 0x1p-26,
                      "row %zu: off by %g, said %g, of %g", row, sqrt(left), (double)p.r.facts[row].first, sqrt(norm));
            }
        }
        arena_rewind(a, mark);
    }
}

int main(void)
{
    struct tier tiers[TIERS_MAX];
    size_t tier_count = tiers_here(tiers);
    arena a;
    team *t;
    err e = { 0 };
    if (!arena_new(&a, (size_t)1 << 30, &e) || !team_new(&t, 2, NULL, 0, &e)) return 1;
    void *room = arena_take(&a, route_input_bytes(COLS_MAX), 1, 64, "input", &e);
    test_planes(tiers, tier_count, t, &a);
    test_bf16_rows(tiers, tier_count);
    test_int16_rows(tiers, tier_count);
    test_refused(tiers, tier_count, room);
    test_kth(tiers, tier_count);
    test_forms(t, &a);
    team_free(t);
    arena_free(&a);
    return check_done();
}
