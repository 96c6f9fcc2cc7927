/* One tile of a product for AVX2 and FMA: 6 rows of two vectors; 12 accumulators, 2 vectors of b and a broadcast in 16
 * registers. */
enum { GEMM_MR = 6, GEMM_NR = 16 };

#include "kernels/gemm_block.h"
#include "kernels/x86/transpose.h"

#include <assert.h>
#include <immintrin.h>

static inline __attribute__((always_inline)) void rows_kernel(const size_t rows, const size_t a_row,
                                                              const size_t a_step, size_t steps, const float *a,
                                                              const float *b, float *c, size_t c_stride, bool fresh)
{
    __m256 acc[GEMM_MR][2];
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        acc[i][0] = fresh ? _mm256_setzero_ps() : _mm256_loadu_ps(c + i * c_stride);
        acc[i][1] = fresh ? _mm256_setzero_ps() : _mm256_loadu_ps(c + i * c_stride + 8);
    }
    for (size_t p = 0; p < steps; p++) {
        __m256 b0 = _mm256_loadu_ps(b + p * GEMM_NR), b1 = _mm256_loadu_ps(b + p * GEMM_NR + 8);
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            __m256 x = _mm256_broadcast_ss(a + i * a_row + p * a_step);
            acc[i][0] = _mm256_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(x, b1, acc[i][1]);
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        _mm256_storeu_ps(c + i * c_stride, acc[i][0]);
        _mm256_storeu_ps(c + i * c_stride + 8, acc[i][1]);
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
    enum { CHAINS = 12, LANES = 8 };
    __m256 acc[CHAINS], half = _mm256_set1_ps(0.5f), one = _mm256_set1_ps(*out);
#pragma GCC unroll 24
    for (size_t i = 0; i < CHAINS; i++) acc[i] = _mm256_set1_ps((float)i); /* alike, they would become one */
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 24
        for (size_t i = 0; i < CHAINS; i++) acc[i] = _mm256_fmadd_ps(acc[i], half, one);
    }
#pragma GCC unroll 24
    for (size_t i = 0; i < CHAINS; i++) *out += _mm256_cvtss_f32(acc[i]);
    return 2.0 * CHAINS * LANES * (double)rounds;
}

const struct gemm_kernels gemm_avx2 = { "avx2", block_vector, GEMM_M_BLOCK, GEMM_N_BLOCK, GEMM_SCRATCH, burn };
