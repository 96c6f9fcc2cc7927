/* The products of every tier, written once over vectors of LANES rows with the compiler's vector types. A tier's file
 * defines the vectors and some fifteen operations on them (see x86/matmul_avx512.c), includes this, and gets one
 * function a weight type. Every loop over units, tokens and steps has constant bounds after inlining and is unrolled,
 * so sums live in registers; a "unit" is LANES rows: `part` p of a tile holds its rows p * LANES and on.
 *
 * A format is: where a step's codes are (`codes`), the vectors of sub-scales and minima, the block's two scales. A step is
 * 4 inner values: one vector of weights against one broadcast dword of activations. Codes that are stored with a zero
 * point are used as stored: the sum starts at -zero * (sum of the activation codes), which is exact and costs one
 * instruction a block. Sums in i32 are exact in any order, so only the order of blocks is fixed (matmul.h).
 *
 * The tier defines: LANES; i32v, u32v, f32v; UNITS_ONE (units with one token), UNITS, TOKENS (units and tokens together
 * otherwise); WIDE_ZERO; bcast_i32, bcast_f32, dot4, dot4_wide, dot2, wide_codes, lookup, bytes_of, load_f16, load_e8,
 * fma_f32, load_row, load_u16. */
#include "base/checked.h"
#include "kernels/bind.h"
#include "kernels/split.h"
#include "kernels/tiers.h"

#include <string.h>

/* Under the sanitizers every inlined copy is instrumented, which takes a compiler minutes: there, functions stay
 * functions. The bits are the same. */
#ifdef HEARTH_SMALL_KERNELS
#define INLINE static
#define UNROLL
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { PARTS = TILE_ROWS / LANES, CHUNK_BYTES = 256 * 1024 };

/* Unit u counts from the tile that a call begins with. */
struct unit {
    size_t tile, part;
};

INLINE u32v load_u32(const uint8_t *p)
{
    u32v v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Vector v of a field of dwords. */
INLINE u32v plane(const uint8_t *field, size_t part, size_t v)
{
    return load_u32(field + 64 * v + 4 * LANES * part);
}

/* The dword of four activation codes, or of two sums, for all rows. */
INLINE i32v bcast_dword(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return bcast_i32(v);
}

INLINE f32v floats_of(i32v v)
{
    return __builtin_convertvector(v, f32v);
}

/* ---- blocks of 32 ---- */

/* i = 0..7 names a step; the two steps of one vector of nibbles are neighbours, so that it is loaded once. */
INLINE size_t step_32(size_t i)
{
    return i / 2 + i % 2 * 4;
}

INLINE u32v nibbles_32(const uint8_t *block, size_t part, size_t step)
{
    u32v v = plane(block, part, step % 4);
    return (step < 4 ? v : v >> 4) & 0x0f0f0f0f;
}

/* The fifth bits follow 256 bytes of nibbles: bit `step` of each byte. */
INLINE u32v codes_5bit(const uint8_t *block, size_t part, size_t step)
{
    u32v high = plane(block + 256, part, 0);
    high = step < 4 ? high << (4 - step) : high >> (step - 4);
    return nibbles_32(block, part, step) | (high & 0x10101010);
}

INLINE u32v codes_q8_0(const uint8_t *block, size_t part, size_t step)
{
    return wide_codes(plane(block, part, step));
}

INLINE u32v codes_iq4_nl(const uint8_t *block, size_t part, size_t step)
{
    return lookup_iq4(nibbles_32(block, part, step));
}

INLINE u32v codes_mxfp4(const uint8_t *block, size_t part, size_t step)
{
    return lookup_e2m1(nibbles_32(block, part, step));
}

/* A format of blocks of 32. Offsets are in the packed block; minimum_at 0: none. */
struct shape_32 {
    size_t block_bytes, scale_at, minimum_at;
    int zero;   /* what the codes as used are above their value */
    bool wide;  /* codes need 8 bits: dot4_wide */
    bool e8m0;  /* the scale is a byte */
    u32v (*codes)(const uint8_t *block, size_t part, size_t step);
};

INLINE f32v scale_32(const struct shape_32 *s, const uint8_t *block, size_t part)
{
    return s->e8m0 ? load_e8m0(block + s->scale_at + LANES * part) : load_f16(block + s->scale_at + 2 * LANES * part);
}

/* What one call computes at once: `units` units against `tokens` tokens from `token` on. */
struct work {
    const matrix *w;
    const activations *x;
    float *out;
    size_t out_stride;
    const uint8_t *at[UNITS]; /* first packed block of each unit's tile */
    size_t row[UNITS];        /* first row of each unit */
    size_t part[UNITS];
    size_t token;
};

INLINE void store_rows(const struct work *k, size_t unit, size_t t, f32v sums)
{
    size_t row = k->row[unit];
    if (row >= k->w->rows) return;
    float *out = k->out + (k->token + t) * k->out_stride + row;
    if (k->w->rows - row >= LANES) memcpy(out, &sums, sizeof sums);
    else memcpy(out, &sums, (k->w->rows - row) * sizeof(float));
}

/* i32 sums of one block: sum[u][t] += codes of unit u . codes of token t. */
INLINE void dots_32(const struct shape_32 *s, const uint8_t *const *block, const size_t *part, const int8_t *x,
                    size_t x_stride, size_t units, size_t tokens, i32v sum[UNITS][TOKENS])
{
    UNROLL for (size_t i = 0; i < 8; i++) {
        size_t step = step_32(i);
        u32v codes[UNITS];
        UNROLL for (size_t u = 0; u < units; u++) codes[u] = s->codes(block[u], part[u], step);
        UNROLL for (size_t t = 0; t < tokens; t++) {
            i32v four = bcast_dword(x + t * x_stride + 4 * step);
            UNROLL for (size_t u = 0; u < units; u++)
                sum[u][t] = s->wide ? dot4_wide(sum[u][t], codes[u], four) : dot4(sum[u][t], codes[u], four);
        }
    }
}

INLINE void product_32(const struct shape_32 *s, const struct work *k, size_t units, size_t tokens)
{
    const activations *x = k->x;
    size_t blocks = x->cols / 32;
    const int8_t *codes = x->codes + k->token * x->cols;
    const float *scales = x->scales + k->token * blocks;
    const int16_t *sums = x->sums + k->token * 2 * blocks;
    const uint8_t *block[UNITS];
    f32v acc[UNITS][TOKENS];
    UNROLL for (size_t u = 0; u < units; u++) {
        block[u] = k->at[u];
        UNROLL for (size_t t = 0; t < tokens; t++) acc[u][t] = (f32v){ 0 };
    }
    for (size_t b = 0; b < blocks; b++) {
        i32v sum[UNITS][TOKENS];
        UNROLL for (size_t t = 0; t < tokens; t++) {
            i32v start = { 0 };
            if (s->zero != 0)
                start = dot2(start, bcast_i32((int32_t)((uint32_t)(-s->zero & 0xffff) * 0x10001u)),
                             bcast_dword(sums + (t * blocks + b) * 2));
            UNROLL for (size_t u = 0; u < units; u++) sum[u][t] = start;
        }
        dots_32(s, block, k->part, codes + 32 * b, x->cols, units, tokens, sum);
        UNROLL for (size_t u = 0; u < units; u++) {
            prefetch(block[u], s->block_bytes, k->part[u]);
            f32v dw = scale_32(s, block[u], k->part[u]);
            UNROLL for (size_t t = 0; t < tokens; t++)
                acc[u][t] = acc[u][t] + (dw * bcast_f32(scales[t * blocks + b])) * floats_of(sum[u][t]);
            if (s->minimum_at != 0) {
                f32v mw = load_f16(block[u] + s->minimum_at + 2 * LANES * k->part[u]);
                UNROLL for (size_t t = 0; t < tokens; t++) {
                    const int16_t *two = sums + (t * blocks + b) * 2;
                    acc[u][t] = acc[u][t] + (mw * bcast_f32(scales[t * blocks + b])) * bcast_f32((float)(two[0] + two[1]));
                }
            }
            block[u] += s->block_bytes;
        }
    }
    UNROLL for (size_t u = 0; u < units; u++)
        UNROLL for (size_t t = 0; t < tokens; t++) store_rows(k, u, t, acc[u][t]);
}

/* ---- super-blocks of 256 ---- */

/* A format of blocks of 256, in groups of group_values (16 or 32) that share a sub-scale. */
struct shape_256 {
    size_t block_bytes, group_values, scale_at, minimum_at;
    int zero;
    bool wide;
    /* Step j of group g. */
    u32v (*codes)(const uint8_t *block, size_t part, size_t g, size_t j);
    /* The sub-scale of group g, one i32 a row. */
    i32v (*sub_scale)(const uint8_t *block, size_t part, size_t g);
    /* The sub-minima of values 32i..32i+15 and 32i+16..32i+31, as the two halves of each i32. NULL: none. */
    i32v (*sub_minima)(const uint8_t *block, size_t part, size_t i);
};

/* -zero * (sum of the activation codes of group g): sums are 16 values each, so a group of 16 takes one half of the
 * pair that holds it. */
INLINE i32v start_256(const struct shape_256 *s, const int16_t *sums, size_t g)
{
    if (s->zero == 0) return (i32v){ 0 };
    if (s->group_values == 16) return bcast_i32(-s->zero * sums[g]);
    uint32_t minus = (uint32_t)(-s->zero & 0xffff);
    return dot2((i32v){ 0 }, bcast_i32((int32_t)(minus * 0x10001u)), bcast_dword(sums + 2 * g));
}

/* isum[u][t] = sum over groups of sub-scale * (codes . codes), exact. */
INLINE void dots_256(const struct shape_256 *s, const uint8_t *const *block, const size_t *part, const int8_t *x,
                     size_t x_stride, const int16_t *sums, size_t sums_stride, size_t units, size_t tokens,
                     i32v isum[UNITS][TOKENS])
{
    for (size_t g = 0; g < 256 / s->group_values; g++) {
        i32v dot[UNITS][TOKENS];
        UNROLL for (size_t t = 0; t < tokens; t++) {
            i32v start = start_256(s, sums + t * sums_stride, g);
            UNROLL for (size_t u = 0; u < units; u++) dot[u][t] = start;
        }
        UNROLL for (size_t j = 0; j < s->group_values / 4; j++) {
            u32v codes[UNITS];
            UNROLL for (size_t u = 0; u < units; u++) codes[u] = s->codes(block[u], part[u], g, j);
            UNROLL for (size_t t = 0; t < tokens; t++) {
                i32v four = bcast_dword(x + t * x_stride + g * s->group_values + 4 * j);
                UNROLL for (size_t u = 0; u < units; u++)
                    dot[u][t] = s->wide ? dot4_wide(dot[u][t], codes[u], four) : dot4(dot[u][t], codes[u], four);
            }
        }
        UNROLL for (size_t u = 0; u < units; u++) {
            i32v scale = s->sub_scale(block[u], part[u], g);
            UNROLL for (size_t t = 0; t < tokens; t++) isum[u][t] += scale * dot[u][t];
        }
    }
}

/* msum of one unit and all tokens, added after the block's products. */
INLINE void add_minima_256(const struct shape_256 *s, const uint8_t *block, size_t part, const int16_t *sums,
                           size_t sums_stride, const float *scales, size_t scales_stride, size_t tokens, f32v *acc)
{
    i32v pair[8];
    UNROLL for (size_t i = 0; i < 8; i++) pair[i] = s->sub_minima(block, part, i);
    f32v mw = -load_f16(block + s->minimum_at + 2 * LANES * part);
    UNROLL for (size_t t = 0; t < tokens; t++) {
        i32v msum = { 0 };
        UNROLL for (size_t i = 0; i < 8; i++) msum = dot2(msum, pair[i], bcast_dword(sums + t * sums_stride + 2 * i));
        acc[t] = acc[t] + (mw * bcast_f32(scales[t * scales_stride])) * floats_of(msum);
    }
}

INLINE void product_256(const struct shape_256 *s, const struct work *k, size_t units, size_t tokens)
{
    const activations *x = k->x;
    size_t blocks = x->cols / 256;
    const int8_t *codes = x->codes + k->token * x->cols;
    const float *scales = x->scales + k->token * blocks;
    const int16_t *sums = x->sums + k->token * 16 * blocks;
    const uint8_t *block[UNITS];
    f32v acc[UNITS][TOKENS];
    UNROLL for (size_t u = 0; u < units; u++) {
        block[u] = k->at[u];
        UNROLL for (size_t t = 0; t < tokens; t++) acc[u][t] = (f32v){ 0 };
    }
    for (size_t b = 0; b < blocks; b++) {
        i32v isum[UNITS][TOKENS];
        UNROLL for (size_t u = 0; u < units; u++)
            UNROLL for (size_t t = 0; t < tokens; t++) isum[u][t] = (i32v){ 0 };
        dots_256(s, block, k->part, codes + 256 * b, x->cols, sums + 16 * b, 16 * blocks, units, tokens, isum);
        UNROLL for (size_t u = 0; u < units; u++) {
            f32v dw = load_f16(block[u] + s->scale_at + 2 * LANES * k->part[u]);
            UNROLL for (size_t t = 0; t < tokens; t++)
                acc[u][t] = acc[u][t] + (dw * bcast_f32(scales[t * blocks + b])) * floats_of(isum[u][t]);
            if (s->sub_minima != NULL)
                add_minima_256(s, block[u], k->part[u], sums + 16 * b, 16 * blocks, scales + b, blocks, tokens, acc[u]);
            block[u] += s->block_bytes;
        }
    }
    UNROLL for (size_t u = 0; u < units; u++)
        UNROLL for (size_t t = 0; t < tokens; t++) store_rows(k, u, t, acc[u][t]);
}

/* Byte g % 4 of dword g / 4 of a row's sub-scales. */
INLINE u32v byte_of(u32v four, size_t i)
{
    return four >> (uint32_t)(8 * i) & 0xff;
}

/* Q2_K: 1024 bytes of pairs, 256 of scale and minimum nibbles, d, dmin */
INLINE u32v codes_q2_k(const uint8_t *block, size_t part, size_t g, size_t j)
{
    return plane(block, part, 8 * (g / 8) + 4 * (g % 2) + j) >> (uint32_t)(g % 8 / 2 * 2) & 0x03030303;
}

INLINE i32v scale_q2_k(const uint8_t *block, size_t part, size_t g)
{
    return (i32v)(byte_of(plane(block + 1024, part, g / 4), g % 4) & 15);
}

INLINE i32v minima_q2_k(const uint8_t *block, size_t part, size_t i)
{
    u32v two = plane(block + 1024, part, i / 2) >> (uint32_t)(i % 2 * 16) & 0xffff;
    return (i32v)((two >> 4 & 15) | (two << 4 & 0xf0000));
}

/* Q3_K: 1024 bytes of pairs, 512 of third bits, 192 of scales, d */
INLINE u32v codes_q3_k(const uint8_t *block, size_t part, size_t g, size_t j)
{
    u32v low = codes_q2_k(block, part, g, j);
    u32v high = plane(block + 1024, part, 4 * (g % 2) + j) >> (uint32_t)(g / 2) & 0x01010101;
    return low | high << 2;
}

INLINE i32v scale_q3_k(const uint8_t *block, size_t part, size_t g)
{
    u32v low = byte_of(plane(block + 1536, part, g / 4 % 2), g % 4) >> (uint32_t)(g / 8 * 4) & 15;
    u32v high = byte_of(plane(block + 1536, part, 2), g % 4) >> (uint32_t)(g / 4 * 2) & 3;
    return (i32v)(low | high << 4) - 32;
}

/* Eight scales and eight minima of 6 bits in three dwords a row (split.c): dword 0 has scales, 1 minima. */
INLINE u32v six_bits(const uint8_t *field, size_t part, size_t which, size_t g)
{
    u32v lower = plane(field, part, which);
    if (g < 4) return byte_of(lower, g) & 63;
    u32v low = byte_of(plane(field, part, 2), g - 4) >> (uint32_t)(4 * which) & 15;
    return low | (byte_of(lower, g - 4) >> 2 & 48);
}

/* Q4_K: 2048 bytes of nibbles, 192 of scales, d, dmin */
INLINE u32v codes_q4_k(const uint8_t *block, size_t part, size_t g, size_t j)
{
    return plane(block, part, 8 * (g / 2) + j) >> (uint32_t)(g % 2 * 4) & 0x0f0f0f0f;
}

INLINE i32v scale_q4_k(const uint8_t *block, size_t part, size_t g)
{
    return (i32v)six_bits(block + 2048, part, 0, g);
}

INLINE i32v minima_q4_k(const uint8_t *block, size_t part, size_t i)
{
    return (i32v)(six_bits(block + 2048, part, 1, i) * 0x10001);
}

/* Q5_K: 2048 bytes of nibbles, 512 of fifth bits, 192 of scales, d, dmin */
INLINE u32v codes_q5_k(const uint8_t *block, size_t part, size_t g, size_t j)
{
    u32v high = plane(block + 2048, part, j) >> (uint32_t)g & 0x01010101;
    return codes_q4_k(block, part, g, j) | high << 4;
}

INLINE i32v scale_q5_k(const uint8_t *block, size_t part, size_t g)
{
    return (i32v)six_bits(block + 2560, part, 0, g);
}

INLINE i32v minima_q5_k(const uint8_t *block, size_t part, size_t i)
{
    return (i32v)(six_bits(block + 2560, part, 1, i) * 0x10001);
}

/* Q6_K: 2048 bytes of low nibbles, 1024 of upper pairs, 256 of signed scales, d */
INLINE u32v codes_q6_k(const uint8_t *block, size_t part, size_t g, size_t j)
{
    size_t quarter = g % 8 / 2, half = 4 * (g % 2) + j;
    u32v low = plane(block, part, 16 * (g / 8) + 8 * (quarter % 2) + half) >> (uint32_t)(quarter / 2 * 4) & 0x0f0f0f0f;
    u32v high = plane(block + 2048, part, 8 * (g / 8) + half) >> (uint32_t)(2 * quarter) & 0x03030303;
    return low | high << 4;
}

INLINE i32v scale_q6_k(const uint8_t *block, size_t part, size_t g)
{
    return (i32v)(plane(block + 3072, part, g / 4) << (uint32_t)(24 - g % 4 * 8)) >> 24;
}

/* IQ4_XS: 2048 bytes of nibbles, 64 of low and 32 of high bits of scales, d */
INLINE u32v codes_iq4_xs(const uint8_t *block, size_t part, size_t g, size_t j)
{
    return lookup_iq4(plane(block, part, 4 * g + j % 4) >> (uint32_t)(j / 4 * 4) & 0x0f0f0f0f);
}

INLINE i32v scale_iq4_xs(const uint8_t *block, size_t part, size_t g)
{
    u32v low = plane(block + 2048, part, 0) >> (uint32_t)(4 * g) & 15;
    u32v high = load_u16(block + 2112 + 2 * LANES * part) >> (uint32_t)(2 * g) & 3;
    return (i32v)(low | high << 4) - 32;
}

/* ---- float weights, and integer weights widened ---- */

/* acc[u][t] = fma(w, x, acc) over k = 0 .. n - 1, w being vectors of rows at `wide`. */
INLINE void chain(const uint8_t *const *at, const size_t *part, f32v (*load)(const uint8_t *at, size_t part, size_t k),
                  const float *x, size_t x_stride, size_t n, size_t units, size_t tokens, f32v acc[UNITS][TOKENS])
{
    for (size_t i = 0; i < n; i++) {
        f32v w[UNITS];
        UNROLL for (size_t u = 0; u < units; u++) w[u] = load(at[u], part[u], i);
        UNROLL for (size_t t = 0; t < tokens; t++) {
            f32v v = bcast_f32(x[t * x_stride + i]);
            UNROLL for (size_t u = 0; u < units; u++) acc[u][t] = fma_f32(w[u], v, acc[u][t]);
        }
    }
}

INLINE f32v row_f32(const uint8_t *at, size_t part, size_t k)
{
    return (f32v)plane(at, part, k);
}

INLINE f32v row_f16(const uint8_t *at, size_t part, size_t k)
{
    return load_f16(at + 32 * k + 2 * LANES * part);
}

INLINE f32v row_bf16(const uint8_t *at, size_t part, size_t k)
{
    return (f32v)(load_u16(at + 32 * k + 2 * LANES * part) << 16);
}

INLINE void product_float(f32v (*load)(const uint8_t *at, size_t part, size_t k), const struct work *k, size_t units,
                          size_t tokens)
{
    f32v acc[UNITS][TOKENS];
    UNROLL for (size_t u = 0; u < units; u++)
        UNROLL for (size_t t = 0; t < tokens; t++) acc[u][t] = (f32v){ 0 };
    chain(k->at, k->part, load, k->x->f32 + k->token * k->x->f32_stride, k->x->f32_stride, k->x->cols, units, tokens,
          acc);
    UNROLL for (size_t u = 0; u < units; u++)
        UNROLL for (size_t t = 0; t < tokens; t++) store_rows(k, u, t, acc[u][t]);
}

/* The four values of a step, widened: (d * scale) * code + minimum, one rounding (split.h). */
INLINE void widen_step(u32v codes, int zero, bool is_signed, f32v scale, bool minima, f32v minimum, float *out)
{
    UNROLL for (size_t i = 0; i < 4; i++) {
        i32v code = is_signed ? (i32v)(codes << (uint32_t)(24 - 8 * i)) >> 24 : (i32v)byte_of(codes, i) - zero;
        f32v w = scale * floats_of(code);
        if (minima) w = w + minimum;
        memcpy(out + TILE_ROWS * i, &w, sizeof w);
    }
}

INLINE void widen_block_32(const struct shape_32 *s, const uint8_t *block, size_t part, float *out)
{
    f32v d = scale_32(s, block, part), m = { 0 };
    if (s->minimum_at != 0) m = load_f16(block + s->minimum_at + 2 * LANES * part);
    UNROLL for (size_t step = 0; step < 8; step++)
        widen_step(s->codes(block, part, step), s->zero, s->wide && WIDE_ZERO == 0, d, s->minimum_at != 0, m,
                   out + 4 * TILE_ROWS * step);
}

INLINE void widen_block_256(const struct shape_256 *s, const uint8_t *block, size_t part, float *out)
{
    size_t steps = s->group_values / 4;
    f32v d = load_f16(block + s->scale_at + 2 * LANES * part), m = { 0 };
    if (s->sub_minima != NULL) m = -load_f16(block + s->minimum_at + 2 * LANES * part);
    for (size_t g = 0; g < 256 / s->group_values; g++) {
        f32v least = { 0 };
        if (s->sub_minima != NULL) {
            u32v pair = (u32v)s->sub_minima(block, part, g * s->group_values / 32);
            least = m * floats_of((i32v)(s->group_values == 16 && g % 2 == 1 ? pair >> 16 : pair & 0xffff));
        }
        f32v scale = d * floats_of(s->sub_scale(block, part, g));
        for (size_t j = 0; j < steps; j++)
            widen_step(s->codes(block, part, g, j), s->zero, s->wide && WIDE_ZERO == 0, scale, s->sub_minima != NULL,
                       least, out + 4 * TILE_ROWS * (steps * g + j));
    }
}

typedef void widen_tile_fn(const uint8_t *block, size_t part, float *out);

/* A block of one tile is widened into a buffer that stays in the first cache, then meets every token. */
static void product_widened(widen_tile_fn *widen, size_t block_bytes, size_t values, const matrix *w, const activations *x,
                            float *out, size_t out_stride, size_t tile)
{
    _Alignas(64) float wide[BLOCK_VALUES_MAX * TILE_ROWS];
    size_t blocks = w->cols / values;
    struct work k = { .w = w, .x = x, .out = out, .out_stride = out_stride };
    for (size_t b = 0; b < blocks; b++) {
        for (size_t p = 0; p < PARTS; p++) widen(w->tiles + tile * w->tile_bytes + b * block_bytes, p, wide + LANES * p);
        for (k.token = 0; k.token < x->tokens; k.token++) {
            float row[TILE_ROWS] = { 0 };
            size_t rows = min_size(w->rows - tile * TILE_ROWS, TILE_ROWS);
            float *here = out + k.token * out_stride + tile * TILE_ROWS;
            if (b > 0) memcpy(row, here, rows * sizeof *row);
            for (size_t p = 0; p < PARTS; p++) {
                f32v acc[UNITS][TOKENS];
                const uint8_t *at[1] = { (const uint8_t *)wide };
                memcpy(&acc[0][0], row + LANES * p, sizeof acc[0][0]);
                chain(at, &p, row_f32, x->f32 + k.token * x->f32_stride + b * values, x->f32_stride, values, 1, 1, acc);
                memcpy(row + LANES * p, &acc[0][0], sizeof acc[0][0]);
            }
            memcpy(here, row, rows * sizeof *row);
        }
    }
}

/* ---- the loops around ---- */

/* The units from `first` on. Where a call's last tile has no partner it is computed twice, into the same place. */
INLINE void take_units(struct work *k, size_t first, size_t end, size_t units)
{
    UNROLL for (size_t u = 0; u < units; u++) {
        size_t unit = min_size(first + u, end - 1);
        k->at[u] = k->w->tiles + unit / PARTS * k->w->tile_bytes;
        k->row[u] = unit * LANES;
        k->part[u] = unit % PARTS;
    }
}

/* Computes k's units against `tokens` tokens, one of the counts that group_tokens gives. */
typedef void product_fn(const struct work *k, size_t tokens);

INLINE size_t group_tokens(size_t left)
{
    if (left >= TOKENS) return TOKENS;
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

INLINE void any_tokens_32(const struct shape_32 *s, const struct work *k, size_t tokens)
{
    if (tokens == TOKENS) product_32(s, k, UNITS, TOKENS);
    else if (tokens == 4) product_32(s, k, UNITS, 4);
    else if (tokens == 2) product_32(s, k, UNITS, 2);
    else product_32(s, k, UNITS, 1);
}

INLINE void any_tokens_256(const struct shape_256 *s, const struct work *k, size_t tokens)
{
    if (tokens == TOKENS) product_256(s, k, UNITS, TOKENS);
    else if (tokens == 4) product_256(s, k, UNITS, 4);
    else if (tokens == 2) product_256(s, k, UNITS, 2);
    else product_256(s, k, UNITS, 1);
}

INLINE void any_tokens_float(f32v (*load)(const uint8_t *at, size_t part, size_t k), const struct work *k, size_t tokens)
{
    if (tokens == TOKENS) product_float(load, k, UNITS, TOKENS);
    else if (tokens == 4) product_float(load, k, UNITS, 4);
    else if (tokens == 2) product_float(load, k, UNITS, 2);
    else product_float(load, k, UNITS, 1);
}

/* ---- one shape, one product and one widening a format ---- */

/* block bytes, scale at, minimum at, zero, wide, e8m0, codes */
static const struct shape_32 Q4_0 = { 288, 256, 0, 8, false, false, nibbles_32 };
static const struct shape_32 Q4_1 = { 320, 256, 288, 0, false, false, nibbles_32 };
static const struct shape_32 Q5_0 = { 352, 320, 0, 16, false, false, codes_5bit };
static const struct shape_32 Q5_1 = { 384, 320, 352, 0, false, false, codes_5bit };
static const struct shape_32 Q8_0 = { 544, 512, 0, WIDE_ZERO, true, false, codes_q8_0 };
static const struct shape_32 IQ4_NL = { 288, 256, 0, WIDE_ZERO, true, false, codes_iq4_nl };
static const struct shape_32 MXFP4 = { 272, 256, 0, 12, false, true, codes_mxfp4 };

/* block bytes, group values, scale at, minimum at, zero, wide, codes, sub_scale, sub_minima */
static const struct shape_256 Q2_K = { 1344, 16, 1280, 1312, 0, false, codes_q2_k, scale_q2_k, minima_q2_k };
static const struct shape_256 Q3_K = { 1760, 16, 1728, 0, 4, false, codes_q3_k, scale_q3_k, NULL };
static const struct shape_256 Q4_K = { 2304, 32, 2240, 2272, 0, false, codes_q4_k, scale_q4_k, minima_q4_k };
static const struct shape_256 Q5_K = { 2816, 32, 2752, 2784, 0, false, codes_q5_k, scale_q5_k, minima_q5_k };
static const struct shape_256 Q6_K = { 3360, 16, 3328, 0, 32, false, codes_q6_k, scale_q6_k, NULL };
static const struct shape_256 IQ4_XS = { 2176, 32, 2144, 0, WIDE_ZERO, true, codes_iq4_xs, scale_iq4_xs, NULL };

static void product_q4_0(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q4_0, k, tokens);
}

static void widen_q4_0_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q4_0, block, part, out);
}

static void product_q4_1(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q4_1, k, tokens);
}

static void widen_q4_1_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q4_1, block, part, out);
}

static void product_q5_0(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q5_0, k, tokens);
}

static void widen_q5_0_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q5_0, block, part, out);
}

static void product_q5_1(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q5_1, k, tokens);
}

static void widen_q5_1_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q5_1, block, part, out);
}

static void product_q8_0(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q8_0, k, tokens);
}

static void widen_q8_0_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q8_0, block, part, out);
}

static void product_iq4_nl(const struct work *k, size_t tokens)
{
    any_tokens_32(&IQ4_NL, k, tokens);
}

static void widen_iq4_nl_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&IQ4_NL, block, part, out);
}

static void product_mxfp4(const struct work *k, size_t tokens)
{
    any_tokens_32(&MXFP4, k, tokens);
}

static void widen_mxfp4_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&MXFP4, block, part, out);
}

static void product_q2_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q2_K, k, tokens);
}

static void widen_q2_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q2_K, block, part, out);
}

static void product_q3_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q3_K, k, tokens);
}

static void widen_q3_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q3_K, block, part, out);
}

static void product_q4_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q4_K, k, tokens);
}

static void widen_q4_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q4_K, block, part, out);
}

static void product_q5_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q5_K, k, tokens);
}

static void widen_q5_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q5_K, block, part, out);
}

static void product_q6_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q6_K, k, tokens);
}

static void widen_q6_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q6_K, block, part, out);
}

static void product_iq4_xs(const struct work *k, size_t tokens)
{
    any_tokens_256(&IQ4_XS, k, tokens);
}

static void widen_iq4_xs_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&IQ4_XS, block, part, out);
}

static void product_f32(const struct work *k, size_t tokens)
{
    any_tokens_float(row_f32, k, tokens);
}

static void product_f16(const struct work *k, size_t tokens)
{
    any_tokens_float(row_f16, k, tokens);
}

static void product_bf16(const struct work *k, size_t tokens)
{
    any_tokens_float(row_bf16, k, tokens);
}

/* Indexed by weight type. Float types have no `widen`: their product is the float path itself. */
static const struct {
    product_fn *product;
    widen_tile_fn *widen;
} PRODUCTS[WEIGHT_TYPES] = {
    [WEIGHT_F32] = { product_f32, NULL },
    [WEIGHT_F16] = { product_f16, NULL },
    [WEIGHT_BF16] = { product_bf16, NULL },
    [WEIGHT_Q4_0] = { product_q4_0, widen_q4_0_tile },
    [WEIGHT_Q4_1] = { product_q4_1, widen_q4_1_tile },
    [WEIGHT_Q5_0] = { product_q5_0, widen_q5_0_tile },
    [WEIGHT_Q5_1] = { product_q5_1, widen_q5_1_tile },
    [WEIGHT_Q8_0] = { product_q8_0, widen_q8_0_tile },
    [WEIGHT_IQ4_NL] = { product_iq4_nl, widen_iq4_nl_tile },
    [WEIGHT_MXFP4] = { product_mxfp4, widen_mxfp4_tile },
    [WEIGHT_Q2_K] = { product_q2_k, widen_q2_k_tile },
    [WEIGHT_Q3_K] = { product_q3_k, widen_q3_k_tile },
    [WEIGHT_Q4_K] = { product_q4_k, widen_q4_k_tile },
    [WEIGHT_Q5_K] = { product_q5_k, widen_q5_k_tile },
    [WEIGHT_Q6_K] = { product_q6_k, widen_q6_k_tile },
    [WEIGHT_IQ4_XS] = { product_iq4_xs, widen_iq4_xs_tile },
};

/* Tokens in runs whose codes stay in the second cache while all tiles pass, tiles in groups of UNITS that stay in the
 * first while the run's tokens pass. */
static void each_product(product_fn *product, size_t token_bytes, const matrix *w, const activations *x, float *out,
                         size_t out_stride, size_t tile_begin, size_t tile_end)
{
    struct work k = { .w = w, .x = x, .out = out, .out_stride = out_stride };
    size_t run = max_size(CHUNK_BYTES / token_bytes / TOKENS * TOKENS, TOKENS);
    for (size_t first = 0; first < x->tokens; first += run) {
        size_t end = min_size(first + run, x->tokens);
        for (size_t unit = tile_begin * PARTS; unit < tile_end * PARTS; unit += UNITS) {
            take_units(&k, unit, tile_end * PARTS, UNITS);
            for (k.token = first; k.token < end;) {
                size_t tokens = group_tokens(end - k.token);
                product(&k, tokens);
                k.token += tokens;
            }
        }
    }
}

static void matmul_int(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                       size_t tile_end)
{
    each_product(PRODUCTS[w->type].product, x->cols, w, x, out, out_stride, tile_begin, tile_end);
}

static void matmul_float(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                         size_t tile_end)
{
    each_product(PRODUCTS[w->type].product, 4 * x->cols, w, x, out, out_stride, tile_begin, tile_end);
}

static void matmul_widened(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                           size_t tile_end)
{
    const struct weight_kind *kind = weight_kind(w->type);
    for (size_t tile = tile_begin; tile < tile_end; tile++)
        product_widened(PRODUCTS[w->type].widen, (size_t)kind->block_bytes * TILE_ROWS, kind->block_values, w, x, out,
                        out_stride, tile);
}

static void bind_products(struct kernels *k)
{
    for (size_t type = 0; type < WEIGHT_TYPES; type++) {
        if (PRODUCTS[type].product == NULL) continue;
        bool integer = PRODUCTS[type].widen != NULL;
        k->matmul_int[type] = integer ? matmul_int : NULL;
        k->matmul_f32[type] = integer ? matmul_widened : matmul_float;
    }
}
