/* Mirrors quantize.c: 4 values a vector, four vectors a sum. */
#include "kernels/bind.h"
#include "kernels/half.h"
#include "kernels/tiers.h"

#include <arm_neon.h>

enum { LANES = 4 };

/* The sizes of floats compare like integers, infinity and NaN above all. */
static inline uint32_t largest_bits(const float *x, size_t n)
{
    uint32x4_t largest = vdupq_n_u32(0), size = vdupq_n_u32(0x7fffffff);
    for (size_t i = 0; i < n; i += LANES)
        largest = vmaxq_u32(largest, vandq_u32(size, vreinterpretq_u32_f32(vld1q_f32(x + i))));
    return vmaxvq_u32(largest);
}

/* fcvtns rounds to nearest even, as the definition does by its addition. */
static inline int16x8_t codes_8(const float *x, float inverse)
{
    int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
    int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + LANES), inverse));
    return vcombine_s16(vmovn_s32(low), vmovn_s32(high));
}

static inline void codes_16(const float *x, float inverse, int8_t *codes, int16_t *sum)
{
    int16x8_t low = codes_8(x, inverse), high = codes_8(x + 2 * LANES, inverse);
    vst1q_s8(codes, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
    *sum = vaddvq_s16(vaddq_s16(low, high));
}

static inline bool quantize(const float *x, size_t cols, size_t group, int8_t *codes, float *scales, int16_t *sums)
{
    for (size_t g = 0; g < cols / group; g++) {
        uint32_t largest = largest_bits(x + g * group, group);
        if (largest >= 0x7f800000) return false;
        float d = f32_of_bits(largest) / 127.0f;
        bool zero = d < 0x1p-60f;
        float inverse = zero ? 0.0f : 1.0f / d;
        scales[g] = zero ? 0.0f : d;
        for (size_t i = g * group; i < (g + 1) * group; i += 16) codes_16(x + i, inverse, codes + i, &sums[i / 16]);
    }
    return true;
}

static bool quantize_32_neon(const float *x, size_t cols, int8_t *codes, float *scales, int16_t *sums)
{
    return quantize(x, cols, 32, codes, scales, sums);
}

static bool quantize_256_neon(const float *x, size_t cols, int8_t *codes, float *scales, int16_t *sums)
{
    return quantize(x, cols, 256, codes, scales, sums);
}

void quantize_bind_neon(struct kernels *k)
{
    k->raise = NULL;
    k->quantize_32 = quantize_32_neon;
    k->quantize_256 = quantize_256_neon;
}
