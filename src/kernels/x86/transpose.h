/* 8 x 8 floats turned, for the x86 tiers: rows to columns through pairs, then pairs of pairs, then halves. */
#ifndef HEARTH_KERNELS_X86_TRANSPOSE_H
#define HEARTH_KERNELS_X86_TRANSPOSE_H

#include <immintrin.h>
#include <stddef.h>

/* to[i * to_stride + j] = from[j * from_stride + i], i, j < 8 */
static inline void transpose_8(float *to, size_t to_stride, const float *from, size_t from_stride)
{
    __m256 r[8], pair[8], quad[8];
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; j++) r[j] = _mm256_loadu_ps(from + j * from_stride);
#pragma GCC unroll 4
    for (size_t j = 0; j < 8; j += 2) {
        pair[j] = _mm256_unpacklo_ps(r[j], r[j + 1]);
        pair[j + 1] = _mm256_unpackhi_ps(r[j], r[j + 1]);
    }
#pragma GCC unroll 2
    for (size_t j = 0; j < 8; j += 4) {
        quad[j] = _mm256_shuffle_ps(pair[j], pair[j + 2], 0x44);
        quad[j + 1] = _mm256_shuffle_ps(pair[j], pair[j + 2], 0xee);
        quad[j + 2] = _mm256_shuffle_ps(pair[j + 1], pair[j + 3], 0x44);
        quad[j + 3] = _mm256_shuffle_ps(pair[j + 1], pair[j + 3], 0xee);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x31));
    }
}

#endif
