/* Activations to int8, in groups of 32 or 256 that share a scale: matmul.h states the rule. */
#include "base/checked.h"
#include "kernels/bind.h"
#include "kernels/half.h"
#include "kernels/split.h"
#include "kernels/tiers.h"

/* To the nearest whole number, ties to even, for |v| < 2^22: where 1.5 * 2^23 is added, units are the last bit. */
static int32_t nearest(float v)
{
    return (int32_t)((v + 12582912.0f) - 12582912.0f);
}

/* The largest |x|, compared as integers, which order the sizes of floats and put infinity and NaN above all. */
static uint32_t largest_bits(const float *x, size_t n)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t size = bits_of_f32(x[i]) & 0x7fffffff;
        if (size > largest) largest = size;
    }
    return largest;
}

static bool quantize_group(const float *x, size_t n, int8_t *codes, float *scale)
{
    uint32_t largest = largest_bits(x, n);
    if (largest >= 0x7f800000) return false;
    float d = f32_of_bits(largest) / 127.0f;
    bool zero = d < 0x1p-60f;
    float inverse = zero ? 0.0f : 1.0f / d;
    *scale = zero ? 0.0f : d;
    /* |x * inverse| <= 127 * (1 + 2^-22): never rounds to 128. */
    for (size_t i = 0; i < n; i++) codes[i] = (int8_t)nearest(x[i] * inverse);
    return true;
}

static bool quantize(const float *x, size_t cols, size_t group, int8_t *codes, float *scales, int16_t *sums)
{
    for (size_t g = 0; g < cols / group; g++)
        if (!quantize_group(x + g * group, group, codes + g * group, &scales[g])) return false;
    for (size_t g = 0; g < cols / GROUP_VALUES; g++) {
        int sum = 0;
        for (size_t i = 0; i < GROUP_VALUES; i++) sum += codes[g * GROUP_VALUES + i];
        sums[g] = (int16_t)sum;
    }
    return true;
}

static bool quantize_32_c(const float *x, size_t cols, int8_t *codes, float *scales, int16_t *sums)
{
    return quantize(x, cols, 32, codes, scales, sums);
}

static bool quantize_256_c(const float *x, size_t cols, int8_t *codes, float *scales, int16_t *sums)
{
    return quantize(x, cols, 256, codes, scales, sums);
}

static void raise_c(const int8_t *codes, size_t cols, uint8_t *raised)
{
    for (size_t i = 0; i < cols; i++) raised[i] = (uint8_t)(codes[i] + 128);
}

void quantize_bind_c(struct kernels *k)
{
    k->raise = raise_c;
    k->quantize_32 = quantize_32_c;
    k->quantize_256 = quantize_256_c;
}
