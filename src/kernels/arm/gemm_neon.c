/* One tile of a product for NEON: 6 rows of four vectors; 24 accumulators, 4 vectors of b and a broadcast in 32
 * registers. */
enum { GEMM_MR = 6, GEMM_NR = 16 };

#include "kernels/gemm_block.h"

#include <arm_neon.h>
#include <assert.h>

/* Four squares of 4 x 4, each by two steps of interleaving. */
static inline void transpose_8(float *to, size_t to_stride, const float *from, size_t from_stride)
{
    for (size_t at = 0; at < 4; at++) {
        size_t i = at / 2 * 4, j = at % 2 * 4;
        const float *src = from + j * from_stride + i;
        float32x4x2_t low = vtrnq_f32(vld1q_f32(src), vld1q_f32(src + from_stride));
        float32x4x2_t high = vtrnq_f32(vld1q_f32(src + 2 * from_stride), vld1q_f32(src + 3 * from_stride));
        float *dst = to + i * to_stride + j;
        for (size_t odd = 0; odd < 2; odd++) {
            float32x4_t a = low.val[odd], b = high.val[odd];
            vst1q_f32(dst + odd * to_stride, vcombine_f32(vget_low_f32(a), vget_low_f32(b)));
            vst1q_f32(dst + (odd + 2) * to_stride, vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
        }
    }
}

static inline __attribute__((always_inline)) void rows_kernel(const size_t rows, const size_t a_row,
                                                              const size_t a_step, size_t steps, const float *a,
                                                              const float *b, float *c, size_t c_stride, bool fresh)
{
    float32x4_t acc[GEMM_MR][4];
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) acc[i][j] = fresh ? vdupq_n_f32(0) : vld1q_f32(c + i * c_stride + 4 * j);
    }
    for (size_t p = 0; p < steps; p++) {
        float32x4_t y[4];
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) y[j] = vld1q_f32(b + p * GEMM_NR + 4 * j);
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            float32x4_t x = vdupq_n_f32(a[i * a_row + p * a_step]);
#pragma GCC unroll 4
            for (size_t j = 0; j < 4; j++) acc[i][j] = vfmaq_f32(acc[i][j], x, y[j]);
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) vst1q_f32(c + i * c_stride + 4 * j, acc[i][j]);
    }
}

static inline __attribute__((always_inline)) void either_kernel(const size_t rows, size_t steps, const float *a,
                                                                bool turned, const float *b, float *c, size_t c_stride,
                                                                bool fresh)
{
    if (turned) rows_kernel(rows, 1, GEMM_MR, steps, a, b, c, c_stride, fresh);
    else rows_kernel(rows, A_ROW, 1, steps, a, b, c, c_stride, fresh);
}

static void tile_kernel(size_t rows, size_t steps, const float *a, bool turned, const float *b, float *c,
                        size_t c_stride, bool fresh)
{
    assert(rows >= 1 && rows <= GEMM_MR);
    switch (rows) {
    case 6: either_kernel(6, steps, a, turned, b, c, c_stride, fresh); return;
    case 5: either_kernel(5, steps, a, turned, b, c, c_stride, fresh); return;
    case 4: either_kernel(4, steps, a, turned, b, c, c_stride, fresh); return;
    case 3: either_kernel(3, steps, a, turned, b, c, c_stride, fresh); return;
    case 2: either_kernel(2, steps, a, turned, b, c, c_stride, fresh); return;
    case 1: either_kernel(1, steps, a, turned, b, c, c_stride, fresh); return;
    default: break;
    }
}

static double burn(size_t rounds, real *out)
{
    enum { CHAINS = 24, LANES = 4 };
    float32x4_t acc[CHAINS], half = vdupq_n_f32(0.5f), one = vdupq_n_f32(*out);
#pragma GCC unroll 24
    for (size_t i = 0; i < CHAINS; i++) acc[i] = vdupq_n_f32((float)i); /* alike, they would become one */
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 24
        for (size_t i = 0; i < CHAINS; i++) acc[i] = vfmaq_f32(one, acc[i], half);
    }
#pragma GCC unroll 24
    for (size_t i = 0; i < CHAINS; i++) *out += vgetq_lane_f32(acc[i], 0);
    return 2.0 * CHAINS * LANES * (double)rounds;
}

const struct gemm_kernels gemm_neon = { "neon", block_vector, GEMM_M_BLOCK, GEMM_N_BLOCK, GEMM_SCRATCH, burn };
