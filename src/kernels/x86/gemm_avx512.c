/* One tile of a product for AVX-512: 12 rows of two vectors, 24 chains of fma in flight, which is more than the longest
 * latency times the widest issue (4 x 2) asks for; 24 accumulators, 2 vectors of b and a broadcast fit 32 registers. */
enum { GEMM_MR = 12, GEMM_NR = 32 };

#include "kernels/gemm_block.h"
#include "kernels/x86/transpose.h"

#include <assert.h>
#include <immintrin.h>

/* Rows and strides are constants at every call below, so the loops over rows are unrolled into registers. */
static inline __attribute__((always_inline)) void rows_kernel(const size_t rows, const size_t a_row,
                                                              const size_t a_step, size_t steps, const float *a,
                                                              const float *b, float *c, size_t c_stride, bool fresh)
{
    __m512 acc[GEMM_MR][2];
#pragma GCC unroll 12
    for (size_t i = 0; i < rows; i++) {
        acc[i][0] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(c + i * c_stride);
        acc[i][1] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(c + i * c_stride + 16);
    }
    for (size_t p = 0; p < steps; p++) {
        __m512 b0 = _mm512_loadu_ps(b + p * GEMM_NR), b1 = _mm512_loadu_ps(b + p * GEMM_NR + 16);
#pragma GCC unroll 12
        for (size_t i = 0; i < rows; i++) {
            __m512 x = _mm512_set1_ps(a[i * a_row + p * a_step]);
            acc[i][0] = _mm512_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(x, b1, acc[i][1]);
        }
    }
#pragma GCC unroll 12
    for (size_t i = 0; i < rows; i++) {
        _mm512_storeu_ps(c + i * c_stride, acc[i][0]);
        _mm512_storeu_ps(c + i * c_stride + 16, acc[i][1]);
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
    case 12: either_kernel(12, steps, a, turned, b, c, c_stride, fresh); return;
    case 11: either_kernel(11, steps, a, turned, b, c, c_stride, fresh); return;
    case 10: either_kernel(10, steps, a, turned, b, c, c_stride, fresh); return;
    case 9: either_kernel(9, steps, a, turned, b, c, c_stride, fresh); return;
    case 8: either_kernel(8, steps, a, turned, b, c, c_stride, fresh); return;
    case 7: either_kernel(7, steps, a, turned, b, c, c_stride, fresh); return;
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
    enum { CHAINS = 24, LANES = 16 };
    __m512 acc[CHAINS], half = _mm512_set1_ps(0.5f), one = _mm512_set1_ps(*out);
#pragma GCC unroll 24
    for (size_t i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_ps((float)i); /* alike, they would become one */
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 24
        for (size_t i = 0; i < CHAINS; i++) acc[i] = _mm512_fmadd_ps(acc[i], half, one);
    }
#pragma GCC unroll 24
    for (size_t i = 0; i < CHAINS; i++) *out += _mm512_reduce_add_ps(acc[i]);
    return 2.0 * CHAINS * LANES * (double)rounds;
}

const struct gemm_kernels gemm_avx512 = { "avx512", block_vector, GEMM_M_BLOCK, GEMM_N_BLOCK, GEMM_SCRATCH, burn };
