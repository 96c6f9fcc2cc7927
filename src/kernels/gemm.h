/* Products of matrices of floats, for training. Every output is one chain
 *
 *   c[i][j] = (add ? c[i][j] : 0);  then, for p = 0, 1, ..., k - 1:  c[i][j] = fma(a[i][p], b[p][j], c[i][j])
 *
 * in increasing p, whatever the tier, the number of threads and the blocks a cache asks for: a block that ends in the
 * middle of a chain stores the f32 it has and loads it again, which changes no bit. Work is split over outputs.
 *
 *   kind      a is stored as        b is stored as        in a linear layer y = x W^T, W [out][in]
 *   GEMM_NN   [m][k]                [k][n]                dx = dy W
 *   GEMM_NT   [m][k]                [n][k]                y  = x W^T
 *   GEMM_TN   [k][m]                [k][n]                dW = dy^T x
 *
 * gemm.c is the definition and the split into tiles; x86/ and arm/ mirror one tile. */
#ifndef HEARTH_KERNELS_GEMM_H
#define HEARTH_KERNELS_GEMM_H

#include "base/real.h"
#include "base/team.h"

enum gemm_kind { GEMM_NN, GEMM_NT, GEMM_TN };

struct gemm {
    enum gemm_kind kind;
    bool add;                            /* go on from what c holds; otherwise from 0 */
    size_t m, n, k;                      /* any of them may be 0 */
    const real *a;                       /* rows of a_stride values, as the table above says */
    const real *b;
    real *c;                             /* [m][n], rows of c_stride values; overlaps neither a nor b */
    size_t a_stride, b_stride, c_stride; /* values from one row to the next */
};

/* Computes rows m0..m1-1, columns n0..n1-1 of g->c. `scratch` is the thread's own. */
typedef void gemm_block_fn(const struct gemm *g, size_t m0, size_t m1, size_t n0, size_t n1, real *scratch);

struct gemm_kernels {
    const char *tier;           /* "ref", "avx2", "avx512", "neon" */
    gemm_block_fn *block;
    size_t m_block, n_block;    /* the largest block it likes */
    size_t scratch_reals;       /* what one thread needs, aligned to 64 bytes */
    /* Chains of fma in registers alone, `rounds` times; returns how many operations that were (an fma is two) and
     * writes a number that depends on all of them. What this tier could do at most: the measure of a training step. */
    double (*burn)(size_t rounds, real *out);
};

extern const struct gemm_kernels gemm_ref;

/* The tier's row (NULL: the fastest this CPU has), or NULL where this CPU or this build has no such tier. */
const struct gemm_kernels *gemm_tier(const char *tier);

/* How many tiles a product is cut into, and one of them. */
size_t gemm_tiles(const struct gemm_kernels *k, const struct gemm *g);
void gemm_tile(const struct gemm_kernels *k, const struct gemm *g, size_t tile, real *scratch);

/* All products of a list, in any order, on the team. `scratch` holds team_threads(t) * k->scratch_reals values. */
void gemm_run(const struct gemm_kernels *k, team *t, const struct gemm *list, size_t count, real *scratch);

/* One product on the calling thread. */
void gemm_one(const struct gemm_kernels *k, const struct gemm *g, real *scratch);

#endif
