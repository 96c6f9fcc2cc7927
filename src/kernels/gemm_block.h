/* How a vector tier computes one block of a product (gemm.h): written once, included by each tier's file, which says
 * how wide its tile is (GEMM_MR rows x GEMM_NR columns of c held in registers), computes one tile with `tile_kernel`
 * and turns 8 x 8 values with `transpose_8`.
 *
 *   for each k block of GEMM_KC steps
 *     copy b[k block][n0..n1) into panels of GEMM_NR columns      panel: [step][GEMM_NR], the last one filled with 0
 *     for each GEMM_MR rows
 *       copy a[rows][k block]: NN, NT as rows [row][A_ROW], TN as [step][GEMM_MR]
 *       for each panel: c tile = c tile + sum over the k block, in order
 *
 * Panels of b stay in the second-level cache while every row of a meets them, the copy of a in the first. Copying a is
 * not for speed of reading: rows that are a multiple of 4,096 bytes apart would all want the same cache lines (512 wide
 * layers have such rows; measured 30 instead of 100 GFLOP/s). Between k blocks c rests in memory as the f32 it is, so
 * blocking changes no bit. */
#ifndef HEARTH_KERNELS_GEMM_BLOCK_H
#define HEARTH_KERNELS_GEMM_BLOCK_H

#include "base/checked.h"
#include "kernels/gemm.h"

#include <string.h>

enum {
    GEMM_KC = 256,
    A_ROW = GEMM_KC + 16,        /* rows of the copy start in different cache sets */
    GEMM_M_BLOCK = GEMM_MR * 48, /* rows that meet one packed block of b: the packing is 1/(rows / lanes) of the work */
    GEMM_N_BLOCK = GEMM_NR * 8,
    GEMM_SCRATCH = GEMM_KC * GEMM_N_BLOCK + GEMM_MR * A_ROW + GEMM_MR * GEMM_NR
};

/* One tile: c [rows][GEMM_NR] += a [rows][steps] b [steps][GEMM_NR], or = where `fresh`. rows <= GEMM_MR; a's element
 * (i, p) is a[i * A_ROW + p], or a[i + p * GEMM_MR] where `turned`. */
static void tile_kernel(size_t rows, size_t steps, const float *a, bool turned, const float *b, float *c,
                        size_t c_stride, bool fresh);

/* to[i * to_stride + j] = from[j * from_stride + i], i, j < 8 */
static inline void transpose_8(float *to, size_t to_stride, const float *from, size_t from_stride);

/* Panels [step][width] of a matrix stored [step][column]. The width of a full panel is a constant where it is called,
 * so that its copy is some vector moves. */
static inline void pack_rows(float *panels, const float *b, size_t stride, size_t steps, size_t cols, size_t width,
                             size_t panel_stride)
{
    for (size_t p = 0; p < steps; p++) {
        float *to = panels + p * width;
        const float *from = b + p * stride;
        size_t j = 0;
        for (; j + width <= cols; j += width, to += panel_stride) memcpy(to, from + j, width * sizeof *to);
        if (j == cols) continue;
        memset(to, 0, width * sizeof *to);
        memcpy(to, from + j, (cols - j) * sizeof *to);
    }
}

/* The same of a matrix stored [column][step]: one panel, by squares of 8 x 8. */
static void pack_columns(float *panel, const float *b, size_t stride, size_t steps, size_t cols)
{
    if (cols < GEMM_NR) memset(panel, 0, steps * GEMM_NR * sizeof *panel);
    size_t j = 0;
    for (; j + 8 <= cols; j += 8) {
        size_t p = 0;
        for (; p + 8 <= steps; p += 8) transpose_8(panel + p * GEMM_NR + j, GEMM_NR, b + j * stride + p, stride);
        for (; p < steps; p++)
            for (size_t i = 0; i < 8; i++) panel[p * GEMM_NR + j + i] = b[(j + i) * stride + p];
    }
    for (; j < cols; j++)
        for (size_t p = 0; p < steps; p++) panel[p * GEMM_NR + j] = b[j * stride + p];
}

/* In moves of a constant length: a copy of unknown length becomes a string instruction, measured at a third of this. */
static inline void copy_row(float *to, const float *from, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) memcpy(to + i, from + i, 16 * sizeof *to);
    for (; i < n; i++) to[i] = from[i];
}

static void copy_a(float *to, const struct gemm *g, size_t i, size_t rows, size_t p0, size_t steps)
{
    if (g->kind == GEMM_TN) {
        pack_rows(to, g->a + p0 * g->a_stride + i, g->a_stride, steps, rows, GEMM_MR, 0);
        return;
    }
    for (size_t r = 0; r < rows; r++) copy_row(to + r * A_ROW, g->a + (i + r) * g->a_stride + p0, steps);
}

/* Columns that do not fill a tile go through a full one of their own. */
static void tile_edge(size_t rows, size_t steps, const float *a, bool turned, const float *b, float *c, size_t c_stride,
                      size_t cols, bool fresh, float *edge)
{
    for (size_t i = 0; i < rows && !fresh; i++) memcpy(edge + i * GEMM_NR, c + i * c_stride, cols * sizeof *edge);
    tile_kernel(rows, steps, a, turned, b, edge, GEMM_NR, fresh);
    for (size_t i = 0; i < rows; i++) memcpy(c + i * c_stride, edge + i * GEMM_NR, cols * sizeof *edge);
}

/* What the next tile of c and the next rows of a will ask for, one part of `parts` with each tile: rows of both are far
 * apart, so no hardware guesses them, and a tile that waits for its first lines waits longer than it computes. */
static inline void fetch_ahead(const struct gemm *g, size_t i, size_t j, size_t rows, size_t next_i, size_t next_rows,
                               size_t p0, size_t steps, size_t part, size_t parts)
{
    enum { LINE = 16 };
    for (size_t r = 0; r < rows; r++)
        for (size_t l = 0; l < GEMM_NR; l += LINE) __builtin_prefetch(g->c + (i + r) * g->c_stride + j + l, 1);
    if (g->kind == GEMM_TN) {
        for (size_t p = steps * part / parts; p < steps * (part + 1) / parts; p++)
            __builtin_prefetch(g->a + (p0 + p) * g->a_stride + next_i);
        return;
    }
    size_t from = steps * part / parts / LINE * LINE, to = steps * (part + 1) / parts;
    for (size_t r = 0; r < next_rows; r++)
        for (size_t p = from; p < to; p += LINE) __builtin_prefetch(g->a + (next_i + r) * g->a_stride + p0 + p);
}

static void block_k(const struct gemm *g, size_t m0, size_t m1, size_t n0, size_t n1, size_t p0, size_t steps,
                    float *scratch)
{
    float *panels = scratch, *a = panels + GEMM_KC * GEMM_N_BLOCK, *edge = a + GEMM_MR * A_ROW;
    bool fresh = p0 == 0 && !g->add, turned = g->kind == GEMM_TN;
    const size_t panel_stride = GEMM_KC * GEMM_NR;
    if (g->kind == GEMM_NT)
        for (size_t j = n0; j < n1; j += GEMM_NR)
            pack_columns(panels + (j - n0) * GEMM_KC, g->b + j * g->b_stride + p0, g->b_stride, steps,
                         min_size(GEMM_NR, n1 - j));
    else pack_rows(panels, g->b + p0 * g->b_stride + n0, g->b_stride, steps, n1 - n0, GEMM_NR, panel_stride);

    for (size_t i = m0; i < m1; i += GEMM_MR) {
        size_t rows = min_size(GEMM_MR, m1 - i);
        size_t next = i + GEMM_MR < m1 ? i + GEMM_MR : m0, next_rows = min_size(GEMM_MR, m1 - next);
        size_t parts = (n1 - n0 + GEMM_NR - 1) / GEMM_NR;
        copy_a(a, g, i, rows, p0, steps);
        for (size_t j = n0; j < n1; j += GEMM_NR) {
            bool ends = j + GEMM_NR >= n1;
            fetch_ahead(g, ends ? next : i, ends ? n0 : j + GEMM_NR, ends ? next_rows : rows, next, next_rows, p0,
                        steps, (j - n0) / GEMM_NR, parts);
            const float *panel = panels + (j - n0) * GEMM_KC;
            float *c = g->c + i * g->c_stride + j;
            if (n1 - j >= GEMM_NR) tile_kernel(rows, steps, a, turned, panel, c, g->c_stride, fresh);
            else tile_edge(rows, steps, a, turned, panel, c, g->c_stride, n1 - j, fresh, edge);
        }
    }
}

static void block_vector(const struct gemm *g, size_t m0, size_t m1, size_t n0, size_t n1, real *scratch)
{
    for (size_t p0 = 0; p0 < g->k; p0 += GEMM_KC)
        block_k(g, m0, m1, n0, n1, p0, min_size(GEMM_KC, g->k - p0), scratch);
    if (g->k > 0 || g->add) return;
    for (size_t i = m0; i < m1; i++) memset(g->c + i * g->c_stride + n0, 0, (n1 - n0) * sizeof *g->c);
}

#endif
