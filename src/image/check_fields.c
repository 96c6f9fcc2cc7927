/* Hyperparameters of an image, none of them believed: see image.h. The ranges are those of base/limits.h; the relations
 * are what the graph's memory plan stands on. */
#include "image/image.h"

#include "base/limits.h"

#include <math.h>

enum field_kind { COUNT, REAL, SINGLE /* a real number that f32 holds exactly */ };

/* ORDER image_field */
static const struct field_row {
    const char *name;
    enum field_kind kind;
    double min, max; /* both allowed; every maximum of a count is exact in f64 */
} FIELDS[IMAGE_FIELDS] = {
    { "layers", COUNT, 1, LAYERS_MAX },
    { "width", COUNT, 1, WIDTH_MAX },
    { "vocabulary", COUNT, 1, VOCAB_MAX },
    { "feed-forward width", COUNT, 1, FFN_WIDTH_MAX },
    { "heads", COUNT, 1, HEADS_MAX },
    { "key/value heads", COUNT, 1, HEADS_MAX },
    { "key length", COUNT, 1, HEAD_DIM_MAX },
    { "value length", COUNT, 1, HEAD_DIM_MAX },
    { "context", COUNT, 1, CTX_TOK_MAX },
    { "epsilon", SINGLE, 0, 1 },
    { "rope base", REAL, 2, 0x1p60 },
    { "rope dimensions", COUNT, 2, HEAD_DIM_MAX },
    { "rope scaling", COUNT, 0, 3 },
    { "rope factor", REAL, 0x1p-149, 0x1p20 },
    { "rope context", COUNT, 1, CTX_TOK_MAX },
    { "rope fast turns", REAL, 0x1p-20, 0x1p20 },
    { "rope slow turns", REAL, 0x1p-20, 0x1p20 },
    { "rope magnitude", REAL, 0x1p-40, 0x1p40 },
    { "rope log multiplier", REAL, 0, 0x1p10 },
    { "window rope base", REAL, 2, 0x1p60 },
    { "window rope dimensions", COUNT, 2, HEAD_DIM_MAX },
    { "window rope scaling", COUNT, 0, 3 },
    { "window rope factor", REAL, 0x1p-149, 0x1p20 },
    { "window rope context", COUNT, 1, CTX_TOK_MAX },
    { "window rope fast turns", REAL, 0x1p-20, 0x1p20 },
    { "window rope slow turns", REAL, 0x1p-20, 0x1p20 },
    { "window rope magnitude", REAL, 0x1p-40, 0x1p40 },
    { "window rope log multiplier", REAL, 0, 0x1p10 },
    { "window", COUNT, 0, 4294967295.0 },
    { "window period", COUNT, 0, LAYERS_MAX },
    { "attention scale", SINGLE, 0x1p-41, 0x1p41 },
    { "attention cap", SINGLE, 0, 0x1p40 },
    { "logit cap", SINGLE, 0, 0x1p40 },
    { "embedding scale", SINGLE, 0x1p-40, 0x1p40 },
    { "residual scale", SINGLE, 0x1p-40, 0x1p40 },
    { "logit divisor", SINGLE, 0x1p-40, 0x1p40 },
    { "temperature scale", SINGLE, 0, 0x1p40 },
    { "temperature context", COUNT, 0, CTX_TOK_MAX },
    { "key/value rank", COUNT, 0, HEAD_DIM_MAX },
    { "query rank", COUNT, 0, WIDTH_MAX },
    { "query length without rope", COUNT, 0, HEAD_DIM_MAX },
    { "latent value length", COUNT, 0, HEAD_DIM_MAX },
    { "experts", COUNT, 0, EXPERTS_MAX },
    { "experts of a token", COUNT, 0, EXPERTS_USED_MAX },
    { "expert width", COUNT, 0, FFN_WIDTH_MAX },
    { "shared experts' width", COUNT, 0, FFN_WIDTH_MAX },
    { "layers without experts", COUNT, 0, LAYERS_MAX },
    { "router", COUNT, 0, 2 },
    { "router's renormalisation", COUNT, 0, 1 },
    { "expert scale", SINGLE, 0, 0x1p20 },
    { "expert groups", COUNT, 0, EXPERTS_MAX },
    { "expert groups used", COUNT, 0, EXPERTS_MAX },
};

static double real_of(uint64_t bits)
{
    double out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static bool check_range(const struct field_row *row, uint64_t bits, size_t offset, err *e)
{
    double value = row->kind == COUNT ? (double)bits : real_of(bits);
    /* Written so that a NaN fails. A count over 2^53 rounds, and stays over every maximum. */
    if (!(value >= row->min && value <= row->max))
        return fail(e, ERR_VALUE, offset, "%s: %g, allowed %g..%g", row->name, value, row->min, row->max);
    if (row->kind == SINGLE && (double)(float)value != value)
        return fail(e, ERR_VALUE, offset, "%s: %.17g is no number of 32 bits", row->name, value);
    return true;
}

/* Relations are named in the order in which a reader of the file would ask. */
static bool check_attention(const uint64_t f[static IMAGE_FIELDS], size_t offset, err *e)
{
    if (f[IMAGE_HEADS] % f[IMAGE_KV_HEADS] != 0)
        return fail(e, ERR_VALUE, offset, "key/value heads: %zu, must divide the %zu heads", (size_t)f[IMAGE_KV_HEADS],
                    (size_t)f[IMAGE_HEADS]);
    if (f[IMAGE_ROPE_DIMS] % 2 != 0 || f[IMAGE_ROPE_DIMS] > f[IMAGE_KEY_DIM] ||
        f[IMAGE_LOCAL_DIMS] != f[IMAGE_ROPE_DIMS])
        return fail(e, ERR_VALUE, offset,
                    "rope dimensions: %zu, of window layers %zu, must be the same, even and at most the key's %zu",
                    (size_t)f[IMAGE_ROPE_DIMS], (size_t)f[IMAGE_LOCAL_DIMS], (size_t)f[IMAGE_KEY_DIM]);
    if (f[IMAGE_WINDOW] > 0 && f[IMAGE_WINDOW_PERIOD] == 0)
        return fail(e, ERR_VALUE, offset, "window period: 0, a window needs one");
    if (real_of(f[IMAGE_TEMPERATURE_SCALE]) > 0 && f[IMAGE_TEMPERATURE_TOK] == 0)
        return fail(e, ERR_VALUE, offset, "temperature context: 0, a temperature needs one");
    return true;
}

static bool check_latent(const uint64_t f[static IMAGE_FIELDS], size_t offset, err *e)
{
    if (f[IMAGE_KV_RANK] == 0) return true;
    bool fits = f[IMAGE_KV_HEADS] == 1 && f[IMAGE_KEY_DIM] == f[IMAGE_KV_RANK] + f[IMAGE_ROPE_DIMS] &&
                f[IMAGE_VALUE_DIM] == f[IMAGE_KV_RANK] && f[IMAGE_NOPE_DIM] > 0 &&
                f[IMAGE_NOPE_DIM] + f[IMAGE_ROPE_DIMS] <= HEAD_DIM_MAX && f[IMAGE_LATENT_VALUE_DIM] > 0;
    return fits || fail(e, ERR_VALUE, offset,
                        "latent attention: %zu cached heads of %zu and %zu values do not fit a rank "
                        "of %zu and %zu that turn",
                        (size_t)f[IMAGE_KV_HEADS], (size_t)f[IMAGE_KEY_DIM], (size_t)f[IMAGE_VALUE_DIM],
                        (size_t)f[IMAGE_KV_RANK], (size_t)f[IMAGE_ROPE_DIMS]);
}

static bool check_experts(const uint64_t f[static IMAGE_FIELDS], size_t offset, err *e)
{
    uint64_t count = f[IMAGE_EXPERTS], groups = f[IMAGE_GROUPS], used = f[IMAGE_GROUPS_USED];
    if (count == 0) return true;
    bool fits = f[IMAGE_TOP_K] >= 1 && f[IMAGE_TOP_K] <= count && f[IMAGE_EXPERT_FFN] >= 1 &&
                f[IMAGE_DENSE_LAYERS] <= f[IMAGE_LAYERS] && groups >= 1 && used >= 1 && used <= groups &&
                count % groups == 0 && (groups == 1 || count / groups >= 2) &&
                used * (count / groups) >= f[IMAGE_TOP_K];
    return fits || fail(e, ERR_VALUE, offset,
                        "experts: %zu of width %zu in %zu groups, %zu groups and %zu experts used, "
                        "%zu layers without, do not fit each other",
                        (size_t)count, (size_t)f[IMAGE_EXPERT_FFN], (size_t)groups, (size_t)used,
                        (size_t)f[IMAGE_TOP_K], (size_t)f[IMAGE_DENSE_LAYERS]);
}

bool image_check_fields(const uint64_t fields[static IMAGE_FIELDS], size_t offset, err *e)
{
    for (size_t i = 0; i < IMAGE_FIELDS; i++)
        if (!check_range(&FIELDS[i], fields[i], offset + 8 * i, e)) return false;
    return check_attention(fields, offset, e) && check_latent(fields, offset, e) && check_experts(fields, offset, e);
}
