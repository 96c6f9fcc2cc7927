/* The definition of gemm.h, and how a product becomes tiles for the team. */
#include "kernels/gemm.h"

#include "base/checked.h"

#include <assert.h>

/* One output after the other, exactly as the header says. */
static void block_ref(const struct gemm *g, size_t m0, size_t m1, size_t n0, size_t n1, real *scratch)
{
    (void)scratch;
    size_t a_row = g->kind == GEMM_TN ? 1 : g->a_stride, a_step = g->kind == GEMM_TN ? g->a_stride : 1;
    size_t b_col = g->kind == GEMM_NT ? g->b_stride : 1, b_step = g->kind == GEMM_NT ? 1 : g->b_stride;
    for (size_t i = m0; i < m1; i++) {
        for (size_t j = n0; j < n1; j++) {
            real acc = g->add ? g->c[i * g->c_stride + j] : 0;
            for (size_t p = 0; p < g->k; p++)
                acc = real_fma(g->a[i * a_row + p * a_step], g->b[j * b_col + p * b_step], acc);
            g->c[i * g->c_stride + j] = acc;
        }
    }
}

static double burn_ref(size_t rounds, real *out)
{
    enum { CHAINS = 8 };
    real acc[CHAINS] = { 0 };
    for (size_t r = 0; r < rounds; r++)
        for (size_t i = 0; i < CHAINS; i++) acc[i] = real_fma(acc[i], (real)0.5, (real)i);
    for (size_t i = 0; i < CHAINS; i++) *out += acc[i];
    return 2.0 * CHAINS * (double)rounds;
}

const struct gemm_kernels gemm_ref = { "ref", block_ref, 32, 32, 1, burn_ref };

/* Columns are the outer cut: a block packs its columns of b once and meets every row of its part of a. */
size_t gemm_tiles(const struct gemm_kernels *k, const struct gemm *g)
{
    return ceil_div(g->m, k->m_block) * ceil_div(g->n, k->n_block);
}

void gemm_tile(const struct gemm_kernels *k, const struct gemm *g, size_t tile, real *scratch)
{
    size_t m_tiles = ceil_div(g->m, k->m_block);
    size_t m0 = tile % m_tiles * k->m_block, n0 = tile / m_tiles * k->n_block;
    assert(n0 < g->n);
    k->block(g, m0, min_size(m0 + k->m_block, g->m), n0, min_size(n0 + k->n_block, g->n), scratch);
}

void gemm_one(const struct gemm_kernels *k, const struct gemm *g, real *scratch)
{
    for (size_t tile = 0, tiles = gemm_tiles(k, g); tile < tiles; tile++) gemm_tile(k, g, tile, scratch);
}

struct gemm_job {
    const struct gemm_kernels *k;
    const struct gemm *list;
    size_t count;
    real *scratch;
};

/* Finds the product that a tile of the whole list belongs to. Lists are short: one entry an expert at most. */
static void run_tile(void *arg, size_t tile, size_t thread)
{
    const struct gemm_job *job = arg;
    for (size_t i = 0; i < job->count; i++) {
        size_t tiles = gemm_tiles(job->k, &job->list[i]);
        if (tile < tiles) {
            gemm_tile(job->k, &job->list[i], tile, job->scratch + thread * job->k->scratch_reals);
            return;
        }
        tile -= tiles;
    }
}

void gemm_run(const struct gemm_kernels *k, team *t, const struct gemm *list, size_t count, real *scratch)
{
    struct gemm_job job = { k, list, count, scratch };
    size_t tiles = 0;
    for (size_t i = 0; i < count; i++) tiles += gemm_tiles(k, &list[i]);
    team_run(t, tiles, run_tile, &job);
}
