/* See muon.h. */
#include "train/muon.h"

#include "base/checked.h"

enum { ITERATIONS = 5 };

/* Coefficients of the iteration, chosen by its authors so that small singular values grow fastest (slope 3.4445 at 0).
 */
static const real COEF_A = (real)3.4445, COEF_B = (real)-4.7750, COEF_C = (real)2.0315;

static size_t aligned(size_t reals)
{
    return round_up(reals, 16);
}

/* Two places for X and the update, two for A and its square. */
size_t muon_scratch(size_t rows, size_t cols)
{
    size_t side = min_size(rows, cols);
    return 2 * aligned(rows * cols) + 2 * aligned(side * side);
}

/* to = a X + (b A + c A A) X, or with A on the right where X is tall. */
static void iterate(real *to, real *x, real *square, real *twice, size_t rows, size_t cols,
                    const struct gemm_kernels *gemm, const struct ops *ops, real *gemm_scratch)
{
    bool tall = rows > cols;
    size_t side = min_size(rows, cols), both = max_size(rows, cols);
    struct gemm to_square = { tall ? GEMM_TN : GEMM_NT, false, side, side, both, x, x, square, cols, cols, side };
    struct gemm to_twice = { GEMM_NN, false, side, side, side, square, square, twice, side, side, side };
    struct gemm wide_step = { GEMM_NN, true, rows, cols, side, square, x, to, side, cols, cols };
    struct gemm tall_step = { GEMM_NN, true, rows, cols, side, x, square, to, cols, side, cols };
    gemm_one(gemm, &to_square, gemm_scratch);
    gemm_one(gemm, &to_twice, gemm_scratch);
    ops->blend(square, square, twice, COEF_B, COEF_C, side * side);
    ops->blend(to, x, x, COEF_A, 0, rows * cols);
    gemm_one(gemm, tall ? &tall_step : &wide_step, gemm_scratch);
}

void muon_orthogonal(real *x, size_t rows, size_t cols, const struct gemm_kernels *gemm, const struct ops *ops,
                     real *scratch, real *gemm_scratch)
{
    size_t n = rows * cols, side = min_size(rows, cols);
    real *other = scratch, *square = other + 2 * aligned(n), *twice = square + aligned(side * side);
    real length = (real)sqrt(ops->sum_squares(x, n));
    real *from = x, *to = other;
    ops->blend(x, x, x, 1 / (length + (real)1e-7), 0, n);
    for (int i = 0; i < ITERATIONS; i++) {
        iterate(to, from, square, twice, rows, cols, gemm, ops, gemm_scratch);
        real *swap = from;
        from = to;
        to = swap;
    }
    if (from != x) ops->blend(x, from, from, 1, 0, n);
}

void muon_step(real *p, real *m, const real *g, size_t rows, size_t cols, const struct muon *o,
               const struct gemm_kernels *gemm, const struct ops *ops, real *scratch, real *gemm_scratch)
{
    size_t n = rows * cols;
    real *u = scratch + aligned(n); /* between the two that muon_orthogonal takes: it counts them alike */
    ops->momentum(u, m, g, o->momentum, o->grad_scale, n);
    muon_orthogonal(u, rows, cols, gemm, ops, scratch, gemm_scratch);
    real size = (real)0.2 * real_sqrt((real)max_size(rows, cols));
    ops->blend(p, p, u, 1 - o->rate * o->decay, -o->rate * size, n);
}
