/* model/route.h: the experts chosen through bounds and their weights are those of exact scores, bit for bit.
 *
 *   route [ROWS]   rows in millions for all cases together; 0.2 where it is left out, 10 in ./test --all
 *
 * Inputs: independent, clustered around few centres, aligned with a row, of huge and tiny values; routers: of every
 * spectrum, with near copies of rows (scores a few units apart), with exact copies (ties), with groups, biases and
 * sigmoids; every form. The last part plants bounds that are too small and expects to see other choices. */
#include "model/route.h"

#include "base/checked.h"
#include "kernels/math.h"
#include "kernels/route_pack.h"
#include "made_router.h"

#include "check.h"

enum { EXPERTS_MOST = 384, COLS_MOST = 7168, CENTRES = 5 };

enum rows_kind { FLAT, ROOT, STEEP, FACTORED, NEAR_COPIES, COPIES, ROWS_KINDS };
enum input_kind { PLAIN, CLUSTERED, ALIGNED, SPARSE, HUGE_ONE, TINY, CONSTANT, INPUT_KINDS };

/* One case: a router of some shape and its use. `share` of all rows, in 1,000ths. */
static const struct setup {
    const char *says;
    size_t experts, cols, top_k, groups, groups_used;
    enum router router;
    bool router_bias, choice_bias;
    enum route_form form;
    size_t rank;
    unsigned share;
} SETUPS[] = {
    { "softmax of the chosen, two planes", 64, 256, 8, 1, 1, ROUTER_CHOSEN, false, false, ROUTE_PLANES, 1, 300 },
    { "with a bias on scores", 32, 192, 4, 1, 1, ROUTER_CHOSEN, true, false, ROUTE_PLANES, 1, 150 },
    { "bf16 rows, one plane", 64, 256, 6, 1, 1, ROUTER_CHOSEN, false, false, ROUTE_PLANES_BF16, 1, 150 },
    { "sigmoid, choice bias, groups", 64, 256, 8, 8, 4, ROUTER_SIGMOID, false, true, ROUTE_PLANES, 1, 150 },
    { "sigmoid, choice bias, no groups", 96, 256, 8, 1, 1, ROUTER_SIGMOID, false, true, ROUTE_PLANES, 1, 100 },
    { "a factor of rank 16", 64, 256, 8, 1, 1, ROUTER_CHOSEN, false, false, ROUTE_FACTOR, 16, 80 },
    { "a factor, groups, sigmoid", 64, 256, 8, 8, 3, ROUTER_SIGMOID, false, true, ROUTE_FACTOR, 16, 40 },
    { "all scores from bf16 rows", 60, 256, 4, 1, 1, ROUTER_ALL, false, false, ROUTE_BF16, 1, 10 },
    { "columns that are no whole group", 40, 200, 5, 1, 1, ROUTER_CHOSEN, true, false, ROUTE_PLANES, 1, 10 },
    { "Qwen3-30B-A3B", 128, 2048, 8, 1, 1, ROUTER_CHOSEN, false, false, ROUTE_PLANES, 1, 5 },
    { "gpt-oss-120b", 128, 2880, 4, 1, 1, ROUTER_CHOSEN, true, false, ROUTE_PLANES, 1, 2 },
    { "DeepSeek-V3", 256, 7168, 8, 8, 4, ROUTER_SIGMOID, false, true, ROUTE_PLANES, 1, 1 },
    { "Kimi-K2", 384, 7168, 8, 1, 1, ROUTER_SIGMOID, false, true, ROUTE_PLANES, 1, 1 },
    { "Kimi-K2 as bf16", 384, 7168, 8, 1, 1, ROUTER_SIGMOID, false, true, ROUTE_PLANES_BF16, 1, 1 },
};

struct lab {
    struct kernels k;
    team *t;
    arena a;
    struct route_scratch s[2]; /* one a thread */
    void *rooms[2];
    float *w, *x, *centres, *bias;
    uint8_t *bytes;
    struct layer layer;
    struct expert_config config;
    uint64_t tally[4]; /* decisions, shortlists, refined, rescored */
};

static void make_rows(struct lab *l, const struct setup *u, enum rows_kind kind, uint64_t seed)
{
    size_t n = u->cols;
    const double powers[ROWS_KINDS] = { 0, 0.5, 1, 0, 0, 0 };
    size_t rank = u->form == ROUTE_FACTOR ? u->rank : kind == FLAT || kind >= NEAR_COPIES ? 0 : u->experts;
    made_router(l->w, u->experts, n, min_size(rank, 64), powers[kind], seed);
    for (size_t e = 1; e < u->experts && kind >= NEAR_COPIES; e++) {
        if (e % 3 == 0) continue; /* two of three rows are copies of the one before */
        memcpy(l->w + e * n, l->w + (e - 1) * n, n * sizeof *l->w);
        if (kind == NEAR_COPIES) /* one unit in the last place of one weight */
            l->w[e * n + e % n] = f32_of_bits(bits_of_f32(l->w[e * n + e % n]) + 1 + (uint32_t)(e % 5));
    }
    if (u->form == ROUTE_BF16 || u->form == ROUTE_PLANES_BF16) made_bf16(l->w, u->experts * n);
    for (size_t c = 0; c < CENTRES; c++) made_input(l->centres + c * n, n, seed, c);
    for (size_t e = 0; e < u->experts; e++) l->bias[e] = 0.02f * made_normal(seed, 9, e / (kind == COPIES ? 3 : 1));
}

/* Random numbers of one row from few blocks of the generator: a million rows are made, not waited for. */
static void make_x(struct lab *l, const struct setup *u, enum input_kind kind, uint64_t seed, uint64_t row)
{
    size_t n = u->cols;
    uint32_t b[4];
    prng_block(seed, 77, row, b);
    const float *centre = l->centres + b[0] % CENTRES * n, *like = l->w + b[1] % u->experts * n;
    uint32_t state = b[2] | 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        float noise = (float)(int32_t)state * 0x1p-30f; /* within +-2 */
        const float values[INPUT_KINDS] = { centre[i] * noise, centre[i] + noise * 0x1p-8f, like[i] * 8.0f,
                                            state >> 24 < 16 ? noise : 0.0f, noise * 0x1p40f, noise * 0x1p-80f,
                                            centre[0] };
        l->x[i] = values[kind];
    }
}

static void prepare(struct lab *l, const struct setup *u, enum rows_kind kind, uint64_t seed)
{
    err e = { 0 };
    make_rows(l, u, kind, seed);
    struct route_shape shape = { .form = u->form, .experts = u->experts, .cols = u->cols, .rank = u->rank };
    memset(l->bytes, 0, route_bytes(&shape));
    if (!route_pack(&shape, l->w, l->bytes, l->t, &l->a, &e)) CHECK(false, "%s: %s", u->says, e.text);
    l->layer = (struct layer){ .router = l->w, .route = route_bind(&shape, l->bytes),
                               .router_bias = u->router_bias ? l->bias : NULL,
                               .choice_bias = u->choice_bias ? l->bias : NULL };
    l->config = (struct expert_config){ .count = u->experts, .top_k = u->top_k, .groups = u->groups,
                                        .groups_used = u->groups_used, .router = u->router, .renormalise = true,
                                        .scale = 1.5f };
    for (size_t i = 0; i < 2; i++) route_scratch_lay(&l->s[i], u->experts, u->cols, l->rooms[i]);
}

static bool same_choices(const struct choice *a, const struct choice *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i].expert != b[i].expert || bits_of_f32(a[i].weight) != bits_of_f32(b[i].weight)) return false;
    return true;
}

/* Rows whose choice differs from the full router's. */
static size_t compare(struct lab *l, const struct setup *u, enum input_kind kind, uint64_t seed, size_t rows)
{
    struct route_gate by_form = { .config = &l->config, .k = &l->k, .layer = &l->layer, .width = u->cols };
    struct layer plain = l->layer;
    plain.route = (struct route){ 0 };
    struct route_gate by_all = by_form;
    by_all.layer = &plain;
    struct choice a[EXPERTS_USED_MAX], b[EXPERTS_USED_MAX];
    size_t bad = 0;
    for (size_t row = 0; row < rows; row++) {
        make_x(l, u, kind, seed, row);
        bool good1 = route_choose(&by_form, l->x, l->s, row % 16 == 0 ? l->t : NULL, a);
        l->tally[0]++;
        l->tally[1] += l->s[0].tally.shortlist;
        l->tally[2] += l->s[0].tally.refined;
        l->tally[3] += l->s[0].tally.rescored;
        bool good2 = route_choose(&by_all, l->x, l->s, NULL, b);
        bad += good1 != good2 || !same_choices(a, b, u->top_k);
    }
    return bad;
}

static size_t run_setup(struct lab *l, const struct setup *u, size_t rows)
{
    size_t cases = ROWS_KINDS * INPUT_KINDS, each = rows / cases + 1, bad = 0, done = 0;
    memset(l->tally, 0, sizeof l->tally);
    for (enum rows_kind kind = FLAT; kind < ROWS_KINDS; kind++) {
        prepare(l, u, kind, 40 + (uint64_t)kind);
        for (enum input_kind input = PLAIN; input < INPUT_KINDS; input++, done += each)
            bad += compare(l, u, input, 1000 + (uint64_t)input, each);
    }
    double n = (double)l->tally[0];
    CHECK(bad == 0, "%s: %zu of %zu rows chose otherwise", u->says, bad, done);
    printf("%-36s %9zu rows, %zu differ; of %zu experts: shortlist %.1f, refined %.1f, rescored %.1f\n", u->says, done,
           bad, u->experts, (double)l->tally[1] / n, (double)l->tally[2] / n, (double)l->tally[3] / n);
    return done;
}

/* A certificate that promises too much must show: otherwise the rows above prove nothing. */
static void test_planted(struct lab *l)
{
    static const struct {
        const char *says;
        size_t setup; /* of SETUPS */
        float norm, first, second;
    } plants[] = {
        { "no bound at all", 0, 0, 0, 0 },
        { "the first plane's bound 16 times too small", 0, 1, 0x1p-4f, 1 },
        { "the second plane's bound left out", 0, 0x1p-6f, 1, 0 },
        { "groups: both planes' bound left out", 3, 0, 0, 0 },
        { "a factor's distance left out", 5, 0, 0, 0x1p-12f },
        { "one plane before bf16 rows, 64 times too small", 2, 1, 0x1p-6f, 1 },
    };
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        const struct setup *u = &SETUPS[plants[i].setup];
        size_t bad = 0;
        for (enum rows_kind kind = FLAT; kind < ROWS_KINDS; kind++) {
            prepare(l, u, kind, 40 + (uint64_t)kind);
            struct route_fact *facts = (struct route_fact *)(void *)l->bytes; /* the form's first part */
            for (size_t e = 0; e < u->experts; e++) {
                facts[e].norm *= plants[i].norm;
                facts[e].first *= plants[i].first;
                facts[e].second *= plants[i].second;
            }
            bad += compare(l, u, PLAIN, 7, 3000) + compare(l, u, CLUSTERED, 8, 3000);
        }
        CHECK(bad > 0, "%s: is seen", plants[i].says);
        printf("planted: %-48s %zu rows chose otherwise\n", plants[i].says, bad);
    }
}

/* Bytes of a form that mean nothing: any choice, but one of this model's shape, and no crash. */
static void test_nonsense(struct lab *l)
{
    for (size_t i = 0; i < sizeof SETUPS / sizeof *SETUPS - 5; i++) {
        const struct setup *u = &SETUPS[i];
        prepare(l, u, FLAT, 3);
        struct route_shape shape = { .form = u->form, .experts = u->experts, .cols = u->cols, .rank = u->rank };
        struct route_gate r = { .config = &l->config, .k = &l->k, .layer = &l->layer, .width = u->cols };
        for (uint64_t seed = 0; seed < 300; seed++) {
            for (size_t at = 0; at < route_bytes(&shape); at += 16) {
                uint32_t words[4];
                prng_block(seed, 5, at, words);
                if (seed % 3 == 1 && at >= u->experts * sizeof(struct route_fact)) continue;
                memcpy(l->bytes + at, words, sizeof words);
            }
            struct choice c[EXPERTS_USED_MAX];
            make_x(l, u, PLAIN, 1, seed);
            route_choose(&r, l->x, l->s, NULL, c);
            bool shaped = true;
            for (size_t k = 0; k < u->top_k; k++)
                shaped = shaped && c[k].expert < u->experts && (k == 0 || c[k].expert > c[k - 1].expert);
            if (!shaped) CHECK(false, "%s: random bytes %zu chose no experts", u->says, (size_t)seed);
        }
        CHECK(true, "%s", u->says);
    }
}

/* An input or a bias that is not finite ends as with the full router. */
static void test_not_finite(struct lab *l)
{
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 4; i++)
        for (size_t v = 0; v < 3; v++) {
            const struct setup *u = &SETUPS[i];
            struct choice c[EXPERTS_USED_MAX];
            struct route_gate r = { .config = &l->config, .k = &l->k, .layer = &l->layer, .width = u->cols };
            prepare(l, u, FLAT, 3);
            make_x(l, u, PLAIN, 1, 1);
            l->x[u->cols / 2] = bad[v];
            CHECK(!route_choose(&r, l->x, l->s, NULL, c), "%s: an input of %g is an error", u->says, (double)bad[v]);
        }
}

int main(int argc, char **argv)
{
    struct lab l = { 0 };
    err e = { 0 };
    double millions = argc > 1 ? strtod(argv[1], NULL) : 0.2;
    if (!kernels_bind(&l.k, NULL, &e) || !team_new(&l.t, 2, NULL, 0, &e) || !arena_new(&l.a, (size_t)1 << 30, &e))
        return 1;
    l.w = arena_take(&l.a, EXPERTS_MOST * COLS_MOST, sizeof(float), 64, "rows", &e);
    l.x = arena_take(&l.a, COLS_MOST, sizeof(float), 64, "input", &e);
    l.centres = arena_take(&l.a, CENTRES * COLS_MOST, sizeof(float), 64, "centres", &e);
    l.bias = arena_take(&l.a, EXPERTS_MOST, sizeof(float), 64, "bias", &e);
    l.bytes = arena_take(&l.a, EXPERTS_MOST * COLS_MOST * 4, 1, 64, "form", &e);
    for (size_t i = 0; i < 2; i++)
        l.rooms[i] = arena_take(&l.a, route_room_bytes(EXPERTS_MOST, COLS_MOST), 1, 64, "room", &e);
    if (l.w == NULL || l.bytes == NULL || l.rooms[1] == NULL) return 1;
    size_t rows = 0;
    for (size_t i = 0; i < sizeof SETUPS / sizeof *SETUPS; i++)
        rows += run_setup(&l, &SETUPS[i], (size_t)(millions * 1000.0 * SETUPS[i].share));
    printf("%zu rows in all\n", rows);
    test_planted(&l);
    test_nonsense(&l);
    test_not_finite(&l);
    team_free(l.t);
    arena_free(&l.a);
    return check_done();
}
