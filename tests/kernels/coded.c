/* kernels/coded.h and coded_span: codes read back near what was stored; the definition against plain attention in f64
 * over the values that coded_read gives; every tier against the definition, bit for bit. Pages are separate allocations
 * of exactly their size, and pages that no row sees are NULL. */
#include "base/prng.h"
#include "kernels/coded_math.h"
#include "kernels_tiers.h"

#include "check.h"

#include <stdlib.h>

enum { ROWS_MAX = 24, DIM_MAX = 256, PAGES_MAX = 20, PART_MAX = DIM_MAX + 2 };

struct scene {
    enum kv_type type;
    size_t key_dim, value_dim, pages;
    struct coded_layout lay;
    bool all; /* every row sees every position: stages of several groups then overlap */
    uint8_t *page[PAGES_MAX];
    uint64_t skip[PAGES_MAX];
    float *keys, *values; /* as coded_read gives them: [position][channel] */
    float q[ROWS_MAX][DIM_MAX], soft_cap, scale;
    float turned[ROWS_MAX][DIM_MAX]; /* what the kernels get */
    size_t lo[ROWS_MAX], hi[ROWS_MAX], rows;
};

static struct scene scene;
static float parts[ROWS_MAX][PART_MAX], other[ROWS_MAX][PART_MAX];

static float random_value(uint64_t seed, uint64_t i)
{
    double sum = 0;
    for (uint64_t k = 0; k < 4; k++) sum += prng_unit(seed, k, i) - 0.5;
    return (float)(sum * 1.7);
}

/* Keys with a mean and a spread of their own in every channel, as real ones have. */
static float key_value(uint64_t seed, size_t pos, size_t c, size_t dim)
{
    float mean = random_value(seed + 7, c) * (c % 29 == 3 ? 6.0f : 1.0f),
          spread = expf(random_value(seed + 8, c) * 0.5f);
    return mean + spread * random_value(seed, pos * dim + c);
}

static void fill_page(size_t page, uint64_t seed)
{
    struct scene *s = &scene;
    static uint16_t keys[DIM_MAX * PAGE_TOK], values[DIM_MAX * PAGE_TOK];
    static float room[LOG_PACK_FLOATS];
    float k[DIM_MAX], v[DIM_MAX];
    for (size_t i = 0; i < PAGE_TOK; i++) {
        size_t pos = page * PAGE_TOK + i;
        for (size_t c = 0; c < s->key_dim; c++) k[c] = key_value(seed, pos, c, s->key_dim);
        for (size_t c = 0; c < s->value_dim; c++)
            v[c] = random_value(seed + 1, pos * s->value_dim + c) * expf(random_value(seed + 2, pos));
        for (size_t c = 0; c < s->key_dim; c++) keys[c * PAGE_TOK + i] = f16_clamped(k[c]);
        for (size_t c = 0; c < s->value_dim; c++) values[i * s->value_dim + c] = f16_clamped(v[c]);
        if (!kv_is_log(s->type)) coded_store(s->type, &s->lay, k, v, s->key_dim, s->value_dim, i, s->page[page]);
    }
    if (kv_is_log(s->type))
        coded_pack(s->type, &s->lay, keys, values, s->key_dim, s->value_dim, s->skip[page], room, s->page[page]);
}

static bool scene_make(enum kv_type type, size_t key_dim, size_t value_dim, size_t pages, float soft_cap, bool all,
                       uint64_t seed)
{
    const char *why;
    scene = (struct scene){ .type = type, .key_dim = key_dim, .value_dim = value_dim, .pages = pages,
                            .soft_cap = soft_cap, .scale = 1.0f / sqrtf((float)key_dim), .rows = ROWS_MAX };
    if (!coded_layout(type, key_dim, value_dim, &scene.lay, &why)) return false;
    scene.keys = malloc(pages * PAGE_TOK * key_dim * sizeof(float));
    scene.values = malloc(pages * PAGE_TOK * value_dim * sizeof(float));
    if (!all) scene.skip[0] = 0xf;
    if (!all && pages > 2) scene.skip[pages - 2] = 0x5555000011111111u;
    for (size_t p = 0; p < pages; p++) {
        scene.page[p] = calloc(1, scene.lay.bytes);
        fill_page(p, seed);
        for (size_t i = 0; i < PAGE_TOK; i++)
            coded_read(type, &scene.lay, scene.page[p], key_dim, value_dim, i,
                       scene.keys + (p * PAGE_TOK + i) * key_dim, scene.values + (p * PAGE_TOK + i) * value_dim);
    }
    for (size_t r = 0; r < ROWS_MAX; r++) {
        for (size_t c = 0; c < key_dim; c++) scene.q[r][c] = random_value(seed + 3, r * key_dim + c) * 2;
        scene.lo[r] = r % 3 == 0 ? 0 : r * 17 % (pages * PAGE_TOK);
        scene.hi[r] = r % 2 == 0 ? pages * PAGE_TOK : scene.lo[r] + 1 + r * 31 % 200;
        if (all) scene.lo[r] = 0, scene.hi[r] = pages * PAGE_TOK;
        else if (r == 5) scene.hi[r] = scene.lo[r]; /* sees nothing */
    }
    return true;
}

static void scene_free(void)
{
    for (size_t p = 0; p < PAGES_MAX; p++) free(scene.page[p]);
    free(scene.keys);
    free(scene.values);
}

static bool sees(size_t r, size_t i)
{
    return i >= scene.lo[r] && i < scene.hi[r] && i < scene.pages * PAGE_TOK &&
           (scene.skip[i / PAGE_TOK] >> i % PAGE_TOK & 1) == 0;
}

/* All spans, rows `at_once` a call; the result turned back and divided: rows of value_dim. */
static void run(const struct attention_kernels *k, size_t at_once, float out[][PART_MAX])
{
    static float part[ROWS_MAX][PART_MAX];
    memcpy(scene.turned, scene.q, sizeof scene.q);
    for (size_t r = 0; kv_turns_keys(scene.type) && r < scene.rows; r++) coded_turn(scene.turned[r], scene.key_dim);
    struct attention_row rows[ROWS_MAX];
    for (size_t r = 0; r < scene.rows; r++) memset(out[r], 0, sizeof out[r]);
    for (size_t first = 0; first < scene.pages; first += SPAN_PAGES)
        for (size_t r = 0; r < scene.rows; r += at_once) {
            size_t n = r + at_once < scene.rows ? at_once : scene.rows - r;
            size_t pages = scene.pages - first < SPAN_PAGES ? scene.pages - first : SPAN_PAGES;
            const void *list[SPAN_PAGES];
            for (size_t p = 0; p < pages; p++) {
                bool any = false;
                for (size_t i = 0; i < PAGE_TOK; i++)
                    for (size_t j = r; j < r + n; j++) any = any || sees(j, (first + p) * PAGE_TOK + i);
                list[p] = any ? scene.page[first + p] : NULL;
            }
            for (size_t j = 0; j < n; j++) {
                memset(part[j], 0x55, sizeof part[j]);
                rows[j] = (struct attention_row){ scene.turned[r + j], scene.lo[r + j], scene.hi[r + j], part[j] };
            }
            k->coded_span(&(struct attention_span){ .k_pages = list, .v_pages = list, .skip = scene.skip + first,
                                                    .first_page = first, .pages = pages, .type = scene.type,
                                                    .key_dim = scene.key_dim, .value_dim = scene.value_dim,
                                                    .scale = scene.scale, .soft_cap = scene.soft_cap, .rows = rows,
                                                    .row_count = n });
            for (size_t j = 0; j < n; j++) k->combine(out[r + j], part[j], scene.value_dim);
        }
}

/* The mean over the rows of the distance to plain attention over the values as read, relative to the result's
 * length. */
static double distance(float out[][PART_MAX])
{
    static double scores[PAGES_MAX * PAGE_TOK];
    double all = 0, rows = 0;
    for (size_t r = 0; r < scene.rows; r++) {
        double max = -INFINITY, sum = 0, want[DIM_MAX] = { 0 }, off = 0, length = 0, cap = (double)scene.soft_cap;
        float got[DIM_MAX];
        for (size_t i = 0; i < scene.pages * PAGE_TOK; i++) {
            double s = 0;
            if (!sees(r, i)) continue;
            for (size_t c = 0; c < scene.key_dim; c++)
                s += (double)scene.q[r][c] * (double)scene.keys[i * scene.key_dim + c];
            s *= (double)scene.scale;
            scores[i] = cap > 0 ? cap * tanh(s / cap) : s;
            max = fmax(max, scores[i]);
        }
        for (size_t i = 0; i < scene.pages * PAGE_TOK; i++) {
            if (!sees(r, i)) continue;
            double p = exp(scores[i] - max);
            sum += p;
            for (size_t c = 0; c < scene.value_dim; c++) want[c] += p * (double)scene.values[i * scene.value_dim + c];
        }
        if (max == -INFINITY) continue;
        for (size_t c = 0; c < scene.value_dim; c++) got[c] = out[r][c] / out[r][scene.value_dim + 1];
        if (kv_turns_values(scene.type)) coded_turn_back(got, scene.value_dim);
        for (size_t c = 0; c < scene.value_dim; c++) {
            off += ((double)got[c] - want[c] / sum) * ((double)got[c] - want[c] / sum);
            length += want[c] / sum * want[c] / sum;
        }
        all += sqrt(off / length), rows += 1;
    }
    return all / rows;
}

static void tiers_agree(const struct tier *tiers, size_t count, const char *says)
{
    static const size_t at_once[] = { 1, 2, 3, 4, 5, ROWS_MAX };
    run(&tiers[0].attention, ROWS_MAX, parts);
    for (size_t t = 0; t < count; t++)
        for (size_t n = 0; n < sizeof at_once / sizeof *at_once; n++) {
            size_t wrong = 0;
            if (t == 0 && n > 0) continue;
            run(&tiers[t].attention, at_once[n], other);
            for (size_t r = 0; r < scene.rows; r++)
                wrong += memcmp(parts[r], other[r], (scene.value_dim + 2) * sizeof(float)) != 0;
            CHECK(wrong == 0, "%s: %s, %zu rows a call: %zu of %zu rows differ", says, tiers[t].name, at_once[n], wrong,
                  scene.rows);
        }
}

static void attention(const struct tier *tiers, size_t count)
{
    static const struct { size_t key_dim, value_dim, pages; float cap; bool all; } shapes[] = {
        { 128, 128, 3, 0, false }, { 64, 64, 18, 0, false }, { 8, 8, 5, 0, false }, { 96, 80, 4, 30, false },
        { 256, 256, 2, 0, false }, { 32, 128, 1, 0, false }, { 128, 128, 20, 0, true }, { 128, 128, 8, 0, true },
        { 128, 128, 12, 0, true },
    };
    char says[100];
    for (int type = KV_Q8; type < KV_TYPES; type++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            if (!scene_make((enum kv_type)type, shapes[i].key_dim, shapes[i].value_dim, shapes[i].pages, shapes[i].cap,
                            shapes[i].all, (uint64_t)type))
                continue;
            snprintf(says, sizeof says, "%s %zu x %zu, %zu pages", coded_kind((enum kv_type)type)->name,
                     shapes[i].key_dim, shapes[i].value_dim, shapes[i].pages);
            run(&tiers[0].attention, ROWS_MAX, parts);
            /* weights of 8 bits: the more positions share them, the coarser they are */
            double off = distance(parts), most = shapes[i].all ? 0.03 : 0.025;
            if (!kv_is_log((enum kv_type)type)) most = 0.0005;
            CHECK(off < most, "%s: plain attention is %.5f away, allowed %.4f", says, off, most);
            tiers_agree(tiers, count, says);
            scene_free();
        }
}

/* What codes lose, relative to the spread: near the quantizer's own error, so no code lands in another's place. */
static void packing(void)
{
    static const struct { enum kv_type type; double keys, values; } cases[] = {
        { KV_Q8, 0.02, 0.02 },   { KV_Q4, 0.36, 0.16 },   { KV_K2V2, 0.37, 0.40 },
        { KV_K3V2, 0.21, 0.40 }, { KV_K4V3, 0.12, 0.22 }, { KV_K4V4, 0.12, 0.12 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!CHECK(scene_make(cases[i].type, 128, 128, 3, 0, false, 77), "a layout")) return;
        double off_k = 0, all_k = 0, off_v = 0, all_v = 0;
        for (size_t p = 0; p < 3 * PAGE_TOK; p++) {
            if ((scene.skip[p / PAGE_TOK] >> p % PAGE_TOK & 1) != 0) continue;
            double gain = exp((double)random_value(77 + 2, p));
            for (size_t c = 0; c < 128; c++) {
                double spread = exp((double)random_value(77 + 8, c) * 0.5);
                double k = (double)key_value(77, p, c, 128) - (double)scene.keys[p * 128 + c];
                double v = (double)random_value(78, p * 128 + c) - (double)scene.values[p * 128 + c] / gain;
                off_k += k * k / spread / spread, all_k += 1;
                off_v += v * v, all_v += 1;
            }
        }
        double k = sqrt(off_k / all_k), v = sqrt(off_v / all_v);
        const char *name = coded_kind(cases[i].type)->name;
        CHECK(k < cases[i].keys, "%s: keys are %.4f of their spread away, allowed %.2f", name, k, cases[i].keys);
        CHECK(v < cases[i].values, "%s: values are %.4f away, allowed %.2f", name, v, cases[i].values);
        CHECK(coded_check(cases[i].type, &scene.lay, scene.page[0], 128), "%s: its own page passes the check", name);
        scene_free();
    }
}

static void sizes(void)
{
    static const struct { enum kv_type type; size_t dim, bytes; } cases[] = {
        { KV_K2V2, 128, 4800 }, { KV_K3V2, 128, 5824 }, { KV_K4V2, 128, 6848 }, { KV_K2V2, 64, 2432 },
        { KV_K3V2, 64, 2944 },  { KV_K4V2, 64, 3456 },  { KV_Q8, 128, 17408 },  { KV_Q4, 128, 9216 },
    };
    struct coded_layout lay;
    const char *why;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(coded_layout(cases[i].type, cases[i].dim, cases[i].dim, &lay, &why) && lay.bytes == cases[i].bytes,
              "%s of %zu channels: %zu bytes a page", coded_kind(cases[i].type)->name, cases[i].dim, lay.bytes);
    CHECK(!coded_layout(KV_K2V2, 264, 128, &lay, &why), "264 channels are refused: %s", why);
    CHECK(!coded_layout(KV_K2V2, 12, 12, &lay, &why), "12 channels are refused: %s", why);
    CHECK(coded_layout(KV_Q8, 576, 512, &lay, &why), "q8 takes the keys of latent attention");
}

/* A query that is not finite makes the sum NaN; a query of zeros weighs all positions alike. */
static void edges(const struct tier *tiers, size_t count)
{
    for (int type = KV_Q8; type <= KV_K2V2; type++)
        for (size_t t = 0; t < count; t++) {
            if (!scene_make((enum kv_type)type, 64, 64, 3, 0, false, 5)) return;
            scene.q[0][3] = INFINITY, scene.q[2][3] = NAN;
            memset(scene.q[4], 0, sizeof scene.q[4]);
            run(&tiers[t].attention, 4, parts);
            CHECK(isnan(parts[0][65]) && isnan(parts[2][65]), "%s, %s: not finite makes NaN", tiers[t].name,
                  coded_kind((enum kv_type)type)->name);
            double seen = 0;
            for (size_t i = 0; i < 3 * PAGE_TOK; i++) seen += sees(4, i);
            CHECK(parts[4][64] == 0 && (double)parts[4][65] == seen, "%s: zeros see all alike", tiers[t].name);
            CHECK(parts[5][65] == 0, "%s: a row that sees nothing is an empty part", tiers[t].name);
            scene_free();
        }
}

int main(void)
{
    static struct tier tiers[TIERS_MAX];
    size_t count = tiers_here(tiers);
    sizes();
    packing();
    edges(tiers, count);
    attention(tiers, count);
    return check_done();
}
