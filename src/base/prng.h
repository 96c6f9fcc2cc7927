/* Randomness as a function: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
 * section 4.3). The draw at (seed, stream, index) is the same everywhere and needs no state, so text does not depend
 * on batch, order or thread. */
#ifndef HEARTH_BASE_PRNG_H
#define HEARTH_BASE_PRNG_H

#include <stdint.h>

/* 128 bits for a 64-bit key and a 128-bit counter given as two halves. */
void prng_block(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);

/* The first word of the block. */
static inline uint32_t prng_u32(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t out[4];
    prng_block(seed, stream, index, out);
    return out[0];
}

/* In [0, 1), a multiple of 2^-53. */
static inline double prng_unit(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t out[4];
    prng_block(seed, stream, index, out);
    return (double)(((uint64_t)out[0] << 21) ^ (out[1] >> 11)) * 0x1p-53;
}

#endif
