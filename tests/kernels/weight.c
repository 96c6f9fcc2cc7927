/* kernels/weight.h: the table, exact widening against reference values, and scales that are no numbers. */
#include "kernels/weight.h"

#include "check.h"
#include "kernels/half.h"
#include "kernels/zoo.h"

#include <ctype.h>
#include <math.h>

static const char *const NAMES[] = { "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
                                     "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4" };
enum { NAME_COUNT = sizeof NAMES / sizeof *NAMES };

static void table(void)
{
    for (size_t i = 0; i < NAME_COUNT; i++) {
        char lower[16] = { 0 };
        for (size_t c = 0; NAMES[i][c] != 0; c++) lower[c] = (char)tolower(NAMES[i][c]);
        const struct weight_kind *kind = weight_kind_named(view_of(NAMES[i]));
        if (!CHECK(kind != NULL, "%s is in the table", NAMES[i])) continue;
        CHECK(weight_kind(kind->type) == kind, "%s is found by its number %u", NAMES[i], (unsigned)kind->type);
        CHECK(weight_kind_named(view_of(lower)) == kind, "%s is found in lower case", NAMES[i]);
        CHECK((kind->split == NULL) == (kind->activations == ACTIVATION_F32), "%s: integer types split", NAMES[i]);
    }
    CHECK(weight_kind(4) == NULL && weight_kind(UINT32_MAX) == NULL, "numbers that no type has");
    CHECK(weight_kind_named(view_of("Q4")) == NULL, "a prefix is no name");
    CHECK(weight_kind_named(view_of("Q4_00")) == NULL, "nor is a longer one");
    CHECK(weight_kind_named(view_of("")) == NULL, "nor the empty one");
}

/* Every tensor of the zoo that the table knows, bit for bit. */
static void zoo(void)
{
    char path[512];
    view file;
    err e = { 0 };
    snprintf(path, sizeof path, "%s/reference/quants/zoo.gguf", check_shared());
    if (!file_map(path, &file, &e)) {
        check_skip("reference/quants/zoo.gguf is not there");
        return;
    }
    for (size_t i = 0; i < NAME_COUNT; i++) {
        const struct weight_kind *kind = weight_kind_named(view_of(NAMES[i]));
        char name[32], wide_name[48];
        size_t rows = 0, cols = 0, wide_rows = 0, wide_cols = 0;
        uint32_t type = 0, wide_type = 0;
        if (kind->type == WEIGHT_F32) continue;
        snprintf(name, sizeof name, "%s", NAMES[i]);
        /* The file writes q4_K, iq4_nl, f16: all lower but a K. */
        for (size_t c = 0; name[c] != 0; c++)
            if (name[c] != 'K') name[c] = (char)tolower(name[c]);
        snprintf(wide_name, sizeof wide_name, "%s.f32", name);
        const uint8_t *src = zoo_tensor(file, name, &rows, &cols, &type);
        const uint8_t *want = zoo_tensor(file, wide_name, &wide_rows, &wide_cols, &wide_type);
        if (!CHECK(src != NULL && want != NULL && type == (uint32_t)kind->type, "%s: in the zoo", name)) continue;
        size_t n = rows * cols, wrong = 0, first = n;
        float *got = malloc(n * sizeof *got);
        kind->widen(src, n / kind->block_values, got);
        for (size_t k = n; k-- > 0;)
            if (bits_of_f32(got[k]) != le_u32(want + 4 * k)) wrong++, first = k;
        CHECK(wrong == 0, "%s: %zu of %zu values differ, first %zu: %a, reference %a", name, wrong, n, first,
              (double)got[first % n], (double)le_f32(want + 4 * (first % n)));
        CHECK(kind->bad_block(src, n / kind->block_values) == n / kind->block_values, "%s: no bad block", name);
        free(got);
    }
    file_unmap(&file);
}

/* Scales by their offset in the block: planted NaN and infinity are found in the right block, the largest number is
 * not one. */
static const struct {
    const char *name;
    size_t at[2], count;
} SCALES[] = {
    { "Q4_0", { 0 }, 1 },      { "Q4_1", { 0, 2 }, 2 },  { "Q5_0", { 0 }, 1 },      { "Q5_1", { 0, 2 }, 2 },
    { "Q8_0", { 0 }, 1 },      { "Q2_K", { 80, 82 }, 2 }, { "Q3_K", { 108 }, 1 },    { "Q4_K", { 0, 2 }, 2 },
    { "Q5_K", { 0, 2 }, 2 },   { "Q6_K", { 208 }, 1 },   { "IQ4_NL", { 0 }, 1 },    { "IQ4_XS", { 0 }, 1 },
    { "F16", { 0 }, 1 },
};

static void bad_scales(void)
{
    static const struct {
        const char *says;
        uint16_t bits;
        bool bad;
    } halves[] = { { "infinity", 0x7c00, true },      { "minus infinity", 0xfc00, true }, { "NaN", 0x7e01, true },
                   { "signaling NaN", 0x7c01, true }, { "65504", 0x7bff, false },         { "-65504", 0xfbff, false },
                   { "smallest", 0x0001, false } };
    for (size_t i = 0; i < sizeof SCALES / sizeof *SCALES; i++)
        for (size_t s = 0; s < SCALES[i].count; s++)
            for (size_t h = 0; h < sizeof halves / sizeof *halves; h++) {
                const struct weight_kind *kind = weight_kind_named(view_of(SCALES[i].name));
                uint8_t blocks[5 * 256] = { 0 };
                le_put_u16(blocks + 3 * kind->block_bytes + SCALES[i].at[s], halves[h].bits);
                CHECK(kind->bad_block(blocks, 5) == (halves[h].bad ? 3 : 5), "%s: %s at byte %zu", SCALES[i].name,
                      halves[h].says, SCALES[i].at[s]);
            }
    uint8_t mxfp4[17 * 3] = { 0 };
    mxfp4[17] = 255;
    CHECK(weight_kind(WEIGHT_MXFP4)->bad_block(mxfp4, 3) == 1, "MXFP4: E8M0 255 is NaN");
    mxfp4[17] = 254;
    CHECK(weight_kind(WEIGHT_MXFP4)->bad_block(mxfp4, 3) == 3, "MXFP4: E8M0 254 is a number");
    uint8_t wide[8] = { 0, 0, 0, 0, 0, 0, 0x80, 0xff };
    CHECK(weight_kind(WEIGHT_F32)->bad_block(wide, 2) == 1, "F32: minus infinity");
    CHECK(weight_kind(WEIGHT_BF16)->bad_block(wide, 4) == 3, "BF16: minus infinity");
}

/* E8M0 scales around 2^-40: code 2 stands for 1.0. */
static void small_e8m0(void)
{
    static const struct {
        uint8_t e;
        float want;
    } rows[] = { { 0, 0.0f }, { 86, 0.0f }, { 87, 0x1p-40f }, { 88, 0x1p-39f }, { 127, 1.0f }, { 254, 0x1p127f } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t block[17] = { rows[i].e, 2 };
        float out[32];
        weight_kind(WEIGHT_MXFP4)->widen(block, 1, out);
        CHECK(bits_of_f32(out[0]) == bits_of_f32(rows[i].want), "E8M0 %u: %a", rows[i].e, (double)out[0]);
    }
}

/* All halves go to f32 and back; in between, the nearest is taken, and of two the even one. */
static void halves(void)
{
    size_t wrong = 0, wrong_tie = 0, wrong_side = 0;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float f = f16_to_f32((uint16_t)h), next = h < 0x7bff ? f16_to_f32((uint16_t)(h + 1)) : 65536.0f;
        float exact = h < 1024 ? (float)h * 0x1p-24f : ldexpf((float)(1024 + h % 1024), (int)(h / 1024) - 25);
        wrong += f != exact || f32_to_f16(f) != h || f32_to_f16(-f) != (h | 0x8000);
        float middle = (f + next) / 2;
        wrong_tie += f32_to_f16(middle) != h + (h & 1);
        wrong_side += f32_to_f16(nextafterf(middle, 0.0f)) != h || f32_to_f16(nextafterf(middle, 1e30f)) != h + 1;
    }
    CHECK(wrong == 0 && wrong_tie == 0 && wrong_side == 0, "halves: %zu round trips, %zu ties, %zu sides wrong", wrong,
          wrong_tie, wrong_side);
    CHECK(f32_to_f16(INFINITY) == 0x7c00 && f32_to_f16(-INFINITY) == 0xfc00, "infinities stay");
    CHECK(f32_to_f16(NAN) == 0x7e00 && isnan(f16_to_f32(0x7c01)), "NaN stays NaN");
}

int main(void)
{
    table();
    zoo();
    bad_scales();
    small_e8m0();
    halves();
    return check_done();
}
