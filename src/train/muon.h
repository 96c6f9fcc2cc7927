/* Muon: momentum whose matrices are made orthogonal before they are taken off the weights, so that every direction a
 * matrix can move in moves alike (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024). The
 * update is scaled to the size AdamW's has (Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982, 2.2), so
 * one learning rate and one weight decay serve both.
 *
 *   m = momentum m + g;  u = g + momentum m;  p = p - rate (decay p + 0.2 sqrt(max(rows, cols)) orthogonal(u))
 *
 * orthogonal(u) is five steps of the iteration X <- a X + (b A + c A A) X, A = X X^T, from X = u / |u|: singular values
 * come to lie about 1 (0.7 to 1.2), exactly 1 is not needed. A tall matrix uses A = X^T X and X (b A + c A A) instead,
 * so A is never larger than the short side. One matrix is one thread's work; every product is a chain of gemm.h. */
#ifndef HEARTH_TRAIN_MUON_H
#define HEARTH_TRAIN_MUON_H

#include "kernels/gemm.h"
#include "train/ops.h"

struct muon {
    real momentum, rate, decay;
    real grad_scale; /* what clipping multiplies gradients by */
};

/* Numbers of scratch that muon_step needs for a matrix, the products' own scratch left out. */
size_t muon_scratch(size_t rows, size_t cols);

/* One step of one matrix p [rows][cols], m its momentum, g its gradient. `scratch` holds muon_scratch(rows, cols)
 * numbers aligned to 64 bytes, `gemm_scratch` gemm->scratch_reals. */
void muon_step(real *p, real *m, const real *g, size_t rows, size_t cols, const struct muon *o,
               const struct gemm_kernels *gemm, const struct ops *ops, real *scratch, real *gemm_scratch);

/* x [rows][cols] becomes orthogonal(x); scratch as above. For tests. */
void muon_orthogonal(real *x, size_t rows, size_t cols, const struct gemm_kernels *gemm, const struct ops *ops,
                     real *scratch, real *gemm_scratch);

#endif
