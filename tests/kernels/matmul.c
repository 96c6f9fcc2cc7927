/* kernels/matmul.h: every slot of every tier that this CPU has gives the bits of the definition, whatever the shape,
 * the fill and the cut into tiles; and the definition itself gives the numbers that doubles give from the file's bytes.
 */
#include "kernels/matmul.h"

#include "base/checked.h"
#include "check.h"
#include "kernels/bind.h"
#include "kernels/random_weights.h"

#include <math.h>

/* Codes of activations at their ends meet codes of weights at theirs. */
enum codes { CODES_QUANTIZED, CODES_PLUS, CODES_MINUS, CODES_MIXED, CODES_KINDS };

struct problem {
    matrix w;
    uint8_t *file, *tiles;
    float *x;
    void *room;
    activations integer, floats;
};

static void make_codes(activations *a, enum codes codes, uint64_t seed)
{
    if (codes == CODES_QUANTIZED) return;
    size_t each = a->form == ACTIVATION_INT8_32 ? 32 : 256;
    for (size_t i = 0; i < a->tokens * a->cols; i++) {
        bool plus = codes == CODES_PLUS || (codes == CODES_MIXED && prng_u32(seed, 5, i) % 2 == 0);
        a->codes[i] = plus ? 127 : -127;
    }
    for (size_t i = 0; i < a->tokens * a->cols / each; i++)
        a->scales[i] = (float[]){ 0.0f, 0x1p-60f, 0x1.8p-9f, 77.0f }[prng_u32(seed, 6, i) % 4];
    for (size_t i = 0; i < a->tokens * a->cols; i += 16) {
        int sum = 0;
        for (size_t j = 0; j < 16; j++) sum += a->codes[i + j];
        a->sums[i / 16] = (int16_t)sum;
    }
    for (size_t i = 0; a->raised != NULL && i < a->tokens * a->cols; i++) a->raised[i] = (uint8_t)(a->codes[i] + 128);
}

static void problem_make(struct problem *p, const struct kernels *ref, enum weight_type type, enum fill fill,
                         enum codes codes, size_t rows, size_t cols, size_t tokens)
{
    const struct weight_kind *kind = weight_kind(type);
    size_t blocks = cols / kind->block_values;
    uint64_t seed = (uint64_t)type * 1000003 + rows * 10007 + cols * 101 + tokens;
    p->w = (matrix){ .type = type, .rows = rows, .cols = cols, .tile_bytes = tile_bytes_of(type, cols) };
    p->file = malloc(rows * blocks * kind->block_bytes);
    p->tiles = aligned_alloc(64, tile_count(rows) * p->w.tile_bytes);
    p->w.tiles = p->tiles;
    random_weights(type, fill, seed, rows * blocks, p->file);
    for (size_t t = 0; t < tile_count(rows); t++)
        tile_pack(type, p->file, rows, cols, t, p->tiles + t * p->w.tile_bytes);
    p->x = malloc(tokens * cols * sizeof *p->x);
    for (size_t i = 0; i < tokens * cols; i++)
        p->x[i] = (float)(prng_unit(seed, 9, i) - 0.5) * (prng_u32(seed, 10, i) % 64 == 0 ? 30.0f : 1.0f);
    activations_lay(&p->floats, ACTIVATION_F32, p->x, cols, cols, tokens, NULL);
    p->room = NULL;
    if (kind->activations == ACTIVATION_F32) return;
    p->room = aligned_alloc(64, activations_bytes(kind->activations, cols, tokens));
    activations_lay(&p->integer, kind->activations, p->x, cols, cols, tokens, p->room);
    for (size_t t = 0; t < tokens; t++) CHECK(activations_make(ref, &p->integer, t), "finite values are accepted");
    make_codes(&p->integer, codes, seed);
}

static void problem_free(struct problem *p)
{
    free(p->file), free(p->tiles), free(p->x), free(p->room);
}

/* The product of tiles begin..end-1 into a buffer that shows every float that was not written. */
static float *product(const struct kernels *k, const struct problem *p, const activations *x, size_t begin, size_t end,
                      size_t stride)
{
    float *out = malloc(x->tokens * stride * sizeof *out);
    memset(out, 0xa5, x->tokens * stride * sizeof *out);
    matmul(k, &p->w, x, out, stride, begin, end);
    return out;
}

/* Tier k against the definition: all tiles, then every tile alone, then a range that leaves the first and last out. */
static void compare(const struct kernels *k, const struct kernels *ref, const struct problem *p, const activations *x,
                    const char *says)
{
    size_t tiles = tile_count(p->w.rows), stride = p->w.rows + 3, bytes = x->tokens * stride * sizeof(float);
    const char *name = weight_kind(p->w.type)->name;
    for (size_t cut = 0; cut < tiles + 2; cut++) {
        size_t begin = cut == 0 ? 0 : cut <= tiles ? cut - 1 : 1;
        size_t end = cut == 0 ? tiles : cut <= tiles ? cut : tiles - 1;
        if (cut > 0 && tiles == 1) break;
        float *want = product(ref, p, x, begin, end, stride), *got = product(k, p, x, begin, end, stride);
        size_t first = 0;
        while (first < x->tokens * stride && bits_of_f32(want[first]) == bits_of_f32(got[first])) first++;
        CHECK(memcmp(want, got, bytes) == 0,
              "%s %s %s %s: %zu x %zu, %zu tokens, tiles %zu..%zu: token %zu row %zu is %a, defined %a", k->tier, name,
              x->form == ACTIVATION_F32 ? "f32" : "int8", says, p->w.rows, p->w.cols, x->tokens, begin, end,
              first / stride, first % stride, (double)got[first % (bytes / 4)], (double)want[first % (bytes / 4)]);
        free(want), free(got);
    }
}

static void compare_forms(const struct kernels *k, const struct kernels *ref, enum weight_type type, enum fill fill,
                          enum codes codes, size_t rows, size_t cols, size_t tokens, const char *says)
{
    struct problem p;
    problem_make(&p, ref, type, fill, codes, rows, cols, tokens);
    if (p.room != NULL) compare(k, ref, &p, &p.integer, says);
    if (codes == CODES_QUANTIZED) compare(k, ref, &p, &p.floats, says);
    problem_free(&p);
}

static void compare_tier(const struct kernels *k, const struct kernels *ref, enum weight_type type)
{
    static const struct {
        const char *says;
        size_t rows, blocks, tokens;
    } shapes[] = {
        { "one row, one block, one token", 1, 1, 1 }, { "an odd number of blocks", 16, 3, 2 },
        { "part of a second tile", 17, 2, 3 },        { "three tiles", 48, 2, 4 },
        { "part of a third tile", 45, 5, 5 },         { "one token, five tiles", 80, 4, 1 },
        { "four tokens and two", 33, 2, 6 },          { "and one more", 31, 2, 7 },
        { "many tokens", 64, 1, 29 },                 { "two groups", 50, 1, 16 },
        { "the last group reaches back", 40, 3, 31 }, { "two runs of panels", 17, 1, 262 },
        { "one under a panel", 33, 2, 23 },           { "the least panel", 33, 2, 24 },
        { "eight tokens, 33 blocks", 20, 33, 8 },     { "eight tokens and four", 16, 1, 12 },
    };
    static const char *const fills[FILLS] = { "random codes", "all bits set", "all bits clear", "scales 0",
                                              "largest scales", "denormal scales" };
    size_t unit = max_size(weight_kind(type)->block_values, 16);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        compare_forms(k, ref, type, FILL_RANDOM, CODES_QUANTIZED, shapes[i].rows, shapes[i].blocks * unit,
                      shapes[i].tokens, shapes[i].says);
    for (enum fill fill = 0; fill < FILLS; fill++)
        for (enum codes codes = 0; codes < CODES_KINDS; codes++)
            compare_forms(k, ref, type, fill, codes, 20, 3 * unit, 7, fills[fill]);
    compare_forms(k, ref, type, FILL_RANDOM, CODES_QUANTIZED, 33, 1280, 26, "three panels, the last one half");
    compare_forms(k, ref, type, FILL_RANDOM, CODES_QUANTIZED, 32, 8192 + unit, 2, "8192 columns and a block");
    compare_forms(k, ref, type, FILL_ONES, CODES_PLUS, 16, 8192, 3, "8192 columns, all bits set");
    if (weight_kind(type)->block_values == 1)
        compare_forms(k, ref, type, FILL_RANDOM, CODES_QUANTIZED, 19, 77, 5, "77 columns");
}

/* Token runs longer than the caches' share: 9000 columns make runs of few tokens. */
static void compare_runs(const struct kernels *k, const struct kernels *ref)
{
    compare_forms(k, ref, WEIGHT_Q4_0, FILL_RANDOM, CODES_QUANTIZED, 48, 8960, 64, "several runs of tokens");
    compare_forms(k, ref, WEIGHT_F16, FILL_RANDOM, CODES_QUANTIZED, 32, 8999, 20, "several runs of tokens");
}

/* The definition against doubles: w from widen(), x from the codes; sums of n rounded terms differ by at most about
 * n * 2^-24 of the sum of their sizes, and a misplaced code or scale by far more. */
static size_t far_from_doubles(const struct problem *p, const activations *x, const float *out, size_t stride)
{
    const struct weight_kind *kind = weight_kind(p->w.type);
    size_t cols = p->w.cols, blocks = cols / kind->block_values, far = 0;
    size_t each = x->form == ACTIVATION_INT8_32 ? 32 : 256;
    float *wide = malloc(cols * sizeof *wide);
    for (size_t r = 0; r < p->w.rows; r++) {
        kind->widen(p->file + r * blocks * kind->block_bytes, blocks, wide);
        for (size_t t = 0; t < x->tokens; t++) {
            double sum = 0.0, size = 0.0;
            for (size_t i = 0; i < cols; i++) {
                double v = x->form == ACTIVATION_F32
                               ? (double)x->f32[t * x->f32_stride + i]
                               : (double)x->codes[t * cols + i] * (double)x->scales[t * (cols / each) + i / each];
                sum += (double)wide[i] * v;
                size += fabs((double)wide[i] * v);
            }
            double terms = x->form == ACTIVATION_F32 ? (double)cols : 4.0 * (double)cols / (double)each + 8.0;
            far += !(fabs((double)out[t * stride + r] - sum) <= terms * 0x1p-23 * size);
        }
    }
    free(wide);
    return far;
}

static void definition(const struct kernels *ref, enum weight_type type)
{
    const char *name = weight_kind(type)->name;
    struct problem p;
    problem_make(&p, ref, type, FILL_RANDOM, CODES_QUANTIZED, 21, 512, 3);
    const activations *forms[] = { p.room != NULL ? &p.integer : NULL, &p.floats };
    for (size_t f = 0; f < 2; f++) {
        if (forms[f] == NULL) continue;
        float *out = product(ref, &p, forms[f], 0, 2, 21);
        size_t far = far_from_doubles(&p, forms[f], out, 21);
        CHECK(far == 0, "%s form %zu: %zu of 63 sums are far from the doubles'", name, f, far);
        p.tiles[5] ^= 0x44; /* row 1, one code */
        float *other = product(ref, &p, forms[f], 0, 2, 21);
        CHECK(memcmp(out, other, 63 * sizeof *out) != 0, "%s form %zu: a changed code changes bits", name, f);
        p.tiles[5] ^= 0x44;
        out[2] = out[3];
        CHECK(far_from_doubles(&p, forms[f], out, 21) == 1, "%s form %zu: the next row's sum is far", name, f);
        free(out), free(other);
    }
    problem_free(&p);
}

/* Values of activations that try every rule of the quantizer, spread over groups of 256. */
static float odd_value(size_t kind, size_t i, uint64_t seed)
{
    double u = prng_unit(seed, kind, i) - 0.5;
    switch (kind) {
    case 0: return (float)u;
    case 1: return 0.0f;
    case 2: return (float)u * 0x1p-53f;                               /* around the scale that becomes 0 */
    case 3: return (float)u * 3e38f;                                  /* the largest */
    case 4: return (i % 32 == 0 ? 127.0f : (float)(i % 254) - 126.5f); /* every tie */
    case 5: return (float)u * 0x1p-140f;                              /* denormal */
    default: return i % 32 == 5 ? 1e6f : -0.0f;
    }
}

static void quantizers(const struct kernels *k, const struct kernels *ref)
{
    enum { COLS = 7 * 256 };
    float x[COLS];
    for (size_t i = 0; i < COLS; i++) x[i] = odd_value(i / 256, i, 4);
    for (size_t form = 0; form < 2; form++) {
        quantize_fn *of_ref = form == 0 ? ref->quantize_32 : ref->quantize_256;
        quantize_fn *of_tier = form == 0 ? k->quantize_32 : k->quantize_256;
        size_t group = form == 0 ? 32 : 256;
        int8_t want[COLS], got[COLS];
        float want_d[COLS / 32] = { 0 }, got_d[COLS / 32] = { 0 };
        int16_t want_sums[COLS / 16], got_sums[COLS / 16];
        CHECK(of_ref(x, COLS, want, want_d, want_sums), "ref: finite values");
        CHECK(of_tier(x, COLS, got, got_d, got_sums), "%s: finite values", k->tier);
        CHECK(memcmp(want, got, COLS) == 0 && memcmp(want_d, got_d, sizeof want_d) == 0 &&
                  memcmp(want_sums, got_sums, sizeof want_sums) == 0,
              "%s: groups of %zu have the definition's bits", k->tier, group);
        uint8_t raised[COLS];
        if (k->raise != NULL) {
            size_t equal = 0;
            k->raise(got, COLS, raised);
            for (size_t i = 0; i < COLS; i++) equal += raised[i] == got[i] + 128;
            CHECK(equal == COLS, "%s: %zu of %d codes are raised by 128", k->tier, equal, COLS);
        }
        for (size_t cols = group; cols <= 3 * group; cols += group)
            CHECK(of_tier(x, cols, got, got_d, got_sums) && memcmp(want, got, cols) == 0, "%s: %zu columns", k->tier,
                  cols);
        for (size_t i = 0; i < COLS; i += 37) {
            float kept = x[i];
            static const uint32_t bad[] = { 0x7f800000, 0xff800000, 0x7fc00000, 0xff800001 };
            x[i] = f32_of_bits(bad[i % 4]);
            CHECK(!of_tier(x, COLS, got, got_d, got_sums), "%s: %a at %zu is refused", k->tier, (double)x[i], i);
            x[i] = kept;
        }
    }
}

/* The rule itself, in doubles. */
static void quantizer_rule(const struct kernels *ref)
{
    float x[32];
    int8_t codes[32];
    int16_t sums[2];
    float d;
    for (size_t i = 0; i < 32; i++) x[i] = odd_value(4, i, 4);
    CHECK(ref->quantize_32(x, 32, codes, &d, sums) && d == 1.0f, "scale %a", (double)d);
    for (size_t i = 0; i < 32; i++)
        CHECK(codes[i] == (int)nearbyint((double)x[i]), "%a becomes %d: ties go to even", (double)x[i], codes[i]);
    static const struct {
        float largest, scale;
        int8_t code;
    } rows[] = { { 127.0f * 0x1p-60f, 0x1p-60f, 127 },
                 { 126.9f * 0x1p-60f, 0.0f, 0 },
                 { -3e38f, 3e38f / 127.0f, -127 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float one[32] = { [7] = rows[i].largest };
        CHECK(ref->quantize_32(one, 32, codes, &d, sums) && d == rows[i].scale && codes[7] == rows[i].code &&
                  sums[0] == rows[i].code && sums[1] == 0,
              "%a: scale %a, code %d", (double)rows[i].largest, (double)d, codes[7]);
    }
}

int main(void)
{
    struct kernels ref, tier;
    err e = { 0 };
    if (!CHECK(kernels_bind(&ref, "ref", &e), "%s", e.text)) return check_done();
    CHECK(kernels_bind(&tier, NULL, &e), "the fastest tier: %s", e.text);
    CHECK(!kernels_bind(&tier, "sse9", &e) && e.code == ERR_UNSUPPORTED, "an unknown tier is refused: %s", e.text);
    quantizer_rule(&ref);
    for (uint32_t type = 0; type < WEIGHT_TYPES; type++)
        if (weight_kind(type) != NULL) definition(&ref, (enum weight_type)type);
    for (const char *const *name = kernels_tiers(); *name != NULL; name++) {
        e = (err){ 0 };
        if (!CHECK(kernels_bind(&tier, *name, &e), "%s", e.text)) continue;
        CHECK(strcmp(tier.tier, *name) == 0, "%s names itself", *name);
        quantizers(&tier, &ref);
        if (strcmp(*name, "ref") == 0) continue;
        size_t before = check_failed;
        for (uint32_t type = 0; type < WEIGHT_TYPES; type++)
            if (weight_kind(type) != NULL) compare_tier(&tier, &ref, (enum weight_type)type);
        compare_runs(&tier, &ref);
        printf("%s: %s\n", *name, check_failed == before ? "the definition's bits" : "differs");
    }
    return check_done();
}
