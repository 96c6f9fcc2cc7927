/* Encoders of the plain types and of the 32-value blocks; super-blocks are in encode_super.c. Layouts: GGUF
 * specification and the published definitions of the types; docs/arithmetic.md repeats them. */
#include "kernels/encode.h"

#include "base/le.h"
#include "kernels/encode_fit.h"
#include "kernels/encode_super.h"

#include <assert.h>

static void block_f32(const double *x, const double *w, uint8_t *out)
{
    (void)w;
    le_put_f32(out, (float)x[0]);
}

static void block_f16(const double *x, const double *w, uint8_t *out)
{
    (void)w;
    le_put_u16(out, f16_near(x[0]));
}

/* The upper half of the f32, rounded to nearest even; what would round to infinity keeps the largest finite number. */
static void block_bf16(const double *x, const double *w, uint8_t *out)
{
    (void)w;
    uint8_t wide[4];
    le_put_f32(wide, (float)x[0]);
    uint32_t bits = le_u32(wide), up = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    if ((up & 0x7FFF) == 0x7F80) up--;
    le_put_u16(out, (uint16_t)up);
}

enum { BLOCK = 32 };

/* scale f16 | 32 codes i8 */
static void block_q8_0(const double *x, const double *w, uint8_t *out)
{
    span p = { x, w, BLOCK, -128, 127 };
    double q[BLOCK];
    uint16_t scale = fit_scale_f16(&p);
    fit_codes(&p, f16_value(scale), 0.0, q);
    le_put_u16(out, scale);
    for (size_t i = 0; i < BLOCK; i++) out[2 + i] = (uint8_t)(int8_t)q[i];
}

/* scale f16 | codes + 8: value i in the low half of byte i, value i + 16 in its high half */
static void block_q4_0(const double *x, const double *w, uint8_t *out)
{
    span p = { x, w, BLOCK, -8, 7 };
    double q[BLOCK];
    uint16_t scale = fit_scale_f16(&p);
    fit_codes(&p, f16_value(scale), 0.0, q);
    le_put_u16(out, scale);
    for (size_t i = 0; i < BLOCK / 2; i++) out[2 + i] = (uint8_t)((int)q[i] + 8 + ((int)q[i + 16] + 8) * 16);
}

/* scale f16 | fifth bits u32, bit i of value i | low four bits of codes + 16, as Q4_0 */
static void block_q5_0(const double *x, const double *w, uint8_t *out)
{
    span p = { x, w, BLOCK, -16, 15 };
    double q[BLOCK];
    uint32_t fifth = 0;
    uint16_t scale = fit_scale_f16(&p);
    fit_codes(&p, f16_value(scale), 0.0, q);
    for (size_t i = 0; i < BLOCK / 2; i++) {
        unsigned first = (unsigned)((int)q[i] + 16), second = (unsigned)((int)q[i + 16] + 16);
        out[6 + i] = (uint8_t)((first & 15) | (second & 15) << 4);
        fifth |= first >> 4 << i | second >> 4 << (i + 16);
    }
    le_put_u16(out, scale);
    le_put_u32(out + 2, fifth);
}

static const struct encode_kind KINDS[] = {
    { WEIGHT_F32,  1,   4,   block_f32       },
    { WEIGHT_F16,  1,   2,   block_f16       },
    { WEIGHT_BF16, 1,   2,   block_bf16      },
    { WEIGHT_Q4_0, 32,  18,  block_q4_0      },
    { WEIGHT_Q5_0, 32,  22,  block_q5_0      },
    { WEIGHT_Q8_0, 32,  34,  block_q8_0      },
    { WEIGHT_Q4_K, 256, 144, encode_q4_k     },
    { WEIGHT_Q5_K, 256, 176, encode_q5_k     },
    { WEIGHT_Q6_K, 256, 210, encode_q6_k     },
};

const struct encode_kind *encode_kind(uint32_t type)
{
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (KINDS[i].type == type) return &KINDS[i];
    return NULL;
}

/* False for NaN, too. */
static bool within_f32(float v, float low)
{
    return v >= low && v <= 0x1.fffffep127f;
}

size_t encode_row(const struct encode_kind *kind, const float *x, const float *importance, size_t cols, uint8_t *out)
{
    assert(cols % kind->block_values == 0 && kind->block_values <= FIT_VALUES_MAX);
    for (size_t i = 0; i < cols; i++)
        if (!within_f32(x[i], -0x1.fffffep127f) || (importance != NULL && !within_f32(importance[i], 0.0f))) return i;
    for (size_t at = 0; at < cols; at += kind->block_values) {
        double wide[FIT_VALUES_MAX], weights[FIT_VALUES_MAX], sum = 0.0;
        for (size_t i = 0; i < kind->block_values; i++) {
            wide[i] = (double)x[at + i];
            weights[i] = importance != NULL ? (double)importance[at + i] : 1.0;
            sum += weights[i];
        }
        for (size_t i = 0; !(sum > 0) && i < kind->block_values; i++) weights[i] = 1.0;
        kind->block(wide, weights, out + at / kind->block_values * kind->block_bytes);
    }
    return cols;
}
