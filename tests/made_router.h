/* Routers and inputs for tests and benches: random ones of a given spectrum, factored ones, clustered ones, ties.
 * Everything is a function of the seed. Values are made with +, *, sqrt and the counter-based generator alone. */
#ifndef HEARTH_TESTS_MADE_ROUTER_H
#define HEARTH_TESTS_MADE_ROUTER_H

#include "base/prng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* About normal: 4 uniform words of one block, their sum scaled to variance 1. */
static inline float made_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t w[4];
    prng_block(seed, stream, index, w);
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += (double)w[i] * 0x1p-32 - 0.5;
    return (float)(sum * 1.7320508075688772);
}

/* w[experts x cols] = product of random experts x rank and rank x cols matrices, with the columns of the first weighed
* by (i + 1)^-power: so are its singular values, nearly. rank 0: independent values ("flat"). Norms of rows: about 1. */
static inline void made_router(float *w, size_t experts, size_t cols, size_t rank, double power, uint64_t seed)
{
    if (rank == 0) {
        for (size_t i = 0; i < experts * cols; i++) w[i] = made_normal(seed, 1, i) / sqrtf((float)cols);
        return;
    }
    float *outer = malloc(experts * rank * sizeof *outer), *inner = malloc(rank * cols * sizeof *inner);
    double sum = 0;
    if (outer == NULL || inner == NULL) abort();
    for (size_t j = 0; j < rank; j++) sum += pow((double)(j + 1), -2 * power);
    for (size_t i = 0; i < experts * rank; i++)
        outer[i] = made_normal(seed, 2, i) * (float)(pow((double)(i % rank + 1), -power) / sqrt(sum));
    for (size_t i = 0; i < rank * cols; i++) inner[i] = made_normal(seed, 3, i) / sqrtf((float)cols);
    memset(w, 0, experts * cols * sizeof *w);
    for (size_t e = 0; e < experts; e++)
        for (size_t j = 0; j < rank; j++)
            for (size_t i = 0; i < cols; i++) w[e * cols + i] += outer[e * rank + j] * inner[j * cols + i];
    free(outer);
    free(inner);
}

/* An input after a norm: log-normal channels, six of them 12 times larger, as trained models have. */
static inline void made_input(float *x, size_t cols, uint64_t seed, uint64_t index)
{
    for (size_t i = 0; i < cols; i++) x[i] = made_normal(seed, 16 + index, i) * expf(0.7f * made_normal(seed, 4, i));
    for (size_t i = 0; i < 6; i++) x[prng_u32(seed, 5, i) % cols] *= 12.0f;
}

/* The low 16 bits of every value away: what a router trained in bf16 looks like as f32. */
static inline void made_bf16(float *w, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &w[i], sizeof bits);
        bits &= 0xffff0000u;
        memcpy(&w[i], &bits, sizeof bits);
    }
}

#endif
