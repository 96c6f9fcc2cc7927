/* Mirrors matmul_avx2.c on CPUs with AVX-VNNI: vpdpbusd on 8 rows, which does not saturate, so codes of 8 bits are used
 * as stored, 128 above their value. */
#include "kernels/x86/matmul_lanes_avx2.h"

enum { UNITS = 2, TOKENS = 4, FEW = 4, IN_ORDER = 0, WIDE_ZERO = 128, RAISED = 0 };

/* Four products a lane. */
static inline i32v dot4(i32v acc, u32v codes, i32v x)
{
    return (i32v)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)codes, (__m256i)x);
}

static inline i32v dot4_wide(i32v acc, u32v codes, i32v x)
{
    return dot4(acc, codes, x);
}

static inline u32v wide_codes(u32v stored)
{
    return stored;
}

static inline u32v lookup_iq4(u32v nibbles)
{
    const __m128i table = _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59, -39, -15);
    return (u32v)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), (__m256i)nibbles);
}

#include "kernels/matmul_body.h"

void matmul_bind_avxvnni(struct kernels *k)
{
    bind_products(k);
}
