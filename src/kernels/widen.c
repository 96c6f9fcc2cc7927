/* Widening: every weight as the f32 nearest to its exact value (split.h shows that one rounding is all there is). */
#include "kernels/widen.h"

#include "base/le.h"
#include "kernels/half.h"

void widen_f32(const uint8_t *src, size_t blocks, float *out)
{
    for (size_t i = 0; i < blocks; i++) out[i] = le_f32(src + 4 * i);
}

void widen_f16(const uint8_t *src, size_t blocks, float *out)
{
    for (size_t i = 0; i < blocks; i++) out[i] = f16_to_f32(le_u16(src + 2 * i));
}

void widen_bf16(const uint8_t *src, size_t blocks, float *out)
{
    for (size_t i = 0; i < blocks; i++) out[i] = bf16_to_f32(le_u16(src + 2 * i));
}

void widen_split(const struct split_block *s, size_t values, bool minima, float *out)
{
    for (size_t i = 0; i < values; i++) {
        size_t g = i / GROUP_VALUES;
        out[i] = s->d * (float)s->scales[g] * (float)s->codes[i];
        if (minima) out[i] += s->m * (float)s->mins[g];
    }
}

static void widen_blocks(const uint8_t *src, size_t blocks, size_t block_bytes, split_fn *split, size_t values,
                         bool minima, float *out)
{
    for (size_t b = 0; b < blocks; b++) {
        struct split_block s;
        split(src + b * block_bytes, &s);
        widen_split(&s, values, minima, out + b * values);
    }
}

/* One line a format, because a row's `widen` knows its format and its caller need not. */
void widen_q4_0(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 18, split_q4_0, 32, false, out);
}

void widen_q4_1(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 20, split_q4_1, 32, true, out);
}

void widen_q5_0(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 22, split_q5_0, 32, false, out);
}

void widen_q5_1(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 24, split_q5_1, 32, true, out);
}

void widen_q8_0(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 34, split_q8_0, 32, false, out);
}

void widen_q2_k(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 84, split_q2_k, 256, true, out);
}

void widen_q3_k(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 110, split_q3_k, 256, false, out);
}

void widen_q4_k(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 144, split_q4_k, 256, true, out);
}

void widen_q5_k(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 176, split_q5_k, 256, true, out);
}

void widen_q6_k(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 210, split_q6_k, 256, false, out);
}

void widen_iq4_nl(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 18, split_iq4_nl, 32, false, out);
}

void widen_iq4_xs(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 136, split_iq4_xs, 256, false, out);
}

void widen_mxfp4(const uint8_t *src, size_t blocks, float *out)
{
    widen_blocks(src, blocks, 17, split_mxfp4, 32, false, out);
}
