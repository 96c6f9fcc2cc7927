/* Mirrors matmul.c with AVX2: 8 rows a vector, half a tile. vpmaddubsw adds two products in i16 and saturates, so codes
 * up to 127 go in as they are (2 * 127 * 127 = 32,258 fits), and 8-bit codes as signed numbers: |code| times the
 * activation with the code's sign (2 * 128 * 127 = 32,512 fits). */
#include "kernels/x86/matmul_lanes_avx2.h"

enum { UNITS = 2, TOKENS = 4, FEW = 4, IN_ORDER = 0, WIDE_ZERO = 0, RAISED = 0 };

static inline i32v pairs_to_i32(i32v acc, __m256i pairs)
{
    return acc + (i32v)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* Four products a lane. */
static inline i32v dot4(i32v acc, u32v codes, i32v x)
{
    return pairs_to_i32(acc, _mm256_maddubs_epi16((__m256i)codes, (__m256i)x));
}

static inline i32v dot4_wide(i32v acc, u32v codes, i32v x)
{
    __m256i size = _mm256_abs_epi8((__m256i)codes), turned = _mm256_sign_epi8((__m256i)x, (__m256i)codes);
    return pairs_to_i32(acc, _mm256_maddubs_epi16(size, turned));
}

static inline u32v wide_codes(u32v stored)
{
    return stored ^ 0x80808080;
}

static inline u32v lookup_iq4(u32v nibbles)
{
    const __m128i table = _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
    return (u32v)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), (__m256i)nibbles);
}

#include "kernels/matmul_body.h"

void matmul_bind_avx2(struct kernels *k)
{
    bind_products(k);
}
