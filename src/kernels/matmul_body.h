/* The products of every tier, written once over vectors of LANES rows with the compiler's vector types. A tier's file
 * defines the vectors and some fifteen operations on them (see x86/matmul_avx512.c), includes this, and gets one
 * function a weight type. Every loop over units, tokens and steps has constant bounds after inlining and is unrolled,
 * so sums live in registers; a "unit" is LANES rows: `part` p of a tile holds its rows p * LANES and on.
 *
 * A format is: where a step's codes are (`codes`), the vectors of sub-scales and minima, the block's two scales. A step
 * is 4 inner values: one vector of weights against one broadcast dword of activations. Codes that are stored with a
 * zero point are used as stored: the sum starts at -zero * (sum of the activation codes), which is exact and costs one
 * instruction a block. Sums in i32 are exact in any order, so only the order of blocks is fixed (matmul.h).
 *
 * The tier defines: LANES; i32v, u32v, f32v; UNITS and TOKENS, computed at once; SOLO, the tokens that one unit alone
 * meets at once where that is more (0: none); WIDE_ZERO, what codes of 8 bits are
 * above their value; bcast_i32, bcast_f32, fma_f32, dot4, dot4_wide, dot2, scale_short, wide_codes, lookup_iq4,
 * lookup_e2m1, load_f16, load_u16, load_e8m0. */
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

enum { PARTS = TILE_ROWS / LANES, CHUNK_BYTES = 256 * 1024, AHEAD_BYTES = 12288, SHORT_BYTES = 16384 };
enum { MOST = (int)SOLO > (int)TOKENS ? (int)SOLO : (int)TOKENS };
/* Super-blocks hold two sets of i32 sums: with more tokens gcc 12 spills, and the gain is lost. */
enum { TOKENS_256 = 4 };

/* Unit u counts from the tile that a call begins with. */
struct unit {
    size_t tile, part;
};

#include "kernels/matmul_codes.h"

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

/* The last rows of a matrix, where a vector would reach past them. Out of line: it is not the path that is timed. */
static __attribute__((noinline)) void store_some(const struct work *k, size_t units, size_t tokens,
                                                 float (*sums)[MOST][LANES])
{
    for (size_t u = 0; u < units; u++)
        for (size_t t = 0; t < tokens; t++)
            for (size_t i = 0; i < LANES && k->row[u] + i < k->w->rows; i++)
                k->out[(k->token + t) * k->out_stride + k->row[u] + i] = sums[u][t][i];
}

INLINE void store_rows(const struct work *k, size_t units, size_t tokens, f32v acc[UNITS][MOST])
{
    if (k->row[units - 1] + LANES > k->w->rows) {
        float sums[UNITS][MOST][LANES];
        UNROLL for (size_t u = 0; u < units; u++)
            UNROLL for (size_t t = 0; t < tokens; t++) memcpy(sums[u][t], &acc[u][t], sizeof acc[u][t]);
        store_some(k, units, tokens, sums);
        return;
    }
    UNROLL for (size_t u = 0; u < units; u++)
        UNROLL for (size_t t = 0; t < tokens; t++)
            memcpy(k->out + (k->token + t) * k->out_stride + k->row[u], &acc[u][t], sizeof acc[u][t]);
}

/* Asks for the bytes of a unit AHEAD_BYTES before they are read, into the second cache: on one core of Zen 4 that gave
 * Q4_K and Q6_K 21 and 24 GB/s where asking for the first cache 2 KiB ahead gave 16 and 10. Behind the end of its tile
 * follows the tile of the next call, units further on. */
struct ahead {
    const uint8_t *at, *end;
    size_t jump_bytes, tile_bytes;
    size_t turn, turns; /* 0, 1: a tile asks for the same tile's like. Else tiles ask in turn, in the order of memory */
};

INLINE struct ahead ahead_of(const struct work *k, size_t unit, size_t units)
{
    const uint8_t *tile = k->at[unit];
    size_t tile_bytes = k->w->tile_bytes;
    size_t tiles = max_size(units / PARTS, 1);
    if (tiles * tile_bytes <= SHORT_BYTES)
        return (struct ahead){ k->at[0] + tiles * AHEAD_BYTES, tile, 0, 0, unit / PARTS, tiles };
    return (struct ahead){ tile + AHEAD_BYTES, tile + tile_bytes, (tiles - 1) * tile_bytes, tile_bytes, 0, 1 };
}

INLINE void ahead_fetch(struct ahead *a, size_t part, size_t bytes)
{
    if (part != 0) return;
    if (a->jump_bytes > 0 && a->at >= a->end) {
        a->at += a->jump_bytes;
        a->end += a->jump_bytes + a->tile_bytes;
    }
    const uint8_t *from = a->at + a->turn * bytes;
    UNROLL for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
    a->at += a->turns * bytes;
}

/* i32 sums of one block: sum[u][t] += codes of unit u . codes of token t. */
INLINE void dots_32(const struct shape_32 *s, const uint8_t *const *block, const size_t *part, const int8_t *x,
                    size_t x_stride, size_t units, size_t tokens, i32v sum[UNITS][MOST])
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
    struct ahead ahead[UNITS];
    f32v acc[UNITS][MOST];
    UNROLL for (size_t u = 0; u < units; u++) {
        block[u] = k->at[u];
        ahead[u] = ahead_of(k, u, units);
        UNROLL for (size_t t = 0; t < tokens; t++) acc[u][t] = (f32v){ 0 };
    }
    for (size_t b = 0; b < blocks; b++) {
        i32v sum[UNITS][MOST];
        UNROLL for (size_t t = 0; t < tokens; t++) {
            i32v start = { 0 };
            if (s->zero != 0)
                start = dot2(start, bcast_i32((int32_t)((uint32_t)(-s->zero & 0xffff) * 0x10001u)),
                             bcast_dword(sums + (t * blocks + b) * 2));
            UNROLL for (size_t u = 0; u < units; u++) sum[u][t] = start;
        }
        dots_32(s, block, k->part, codes + 32 * b, x->cols, units, tokens, sum);
        UNROLL for (size_t u = 0; u < units; u++) {
            ahead_fetch(&ahead[u], k->part[u], s->block_bytes);
            f32v dw = scale_32(s, block[u], k->part[u]);
            UNROLL for (size_t t = 0; t < tokens; t++)
                acc[u][t] = acc[u][t] + (dw * bcast_f32(scales[t * blocks + b])) * floats_of(sum[u][t]);
            if (s->minimum_at != 0) {
                f32v mw = load_f16(block[u] + s->minimum_at + 2 * LANES * k->part[u]);
                UNROLL for (size_t t = 0; t < tokens; t++) {
                    const int16_t *two = sums + (t * blocks + b) * 2;
                    f32v msum = bcast_f32((float)(two[0] + two[1]));
                    acc[u][t] = acc[u][t] + (mw * bcast_f32(scales[t * blocks + b])) * msum;
                }
            }
            block[u] += s->block_bytes;
        }
    }
    store_rows(k, units, tokens, acc);
}

/* ---- super-blocks of 256 ---- */

/* A format of blocks of 256, in groups of group_values (16 or 32) that share a sub-scale. A block is taken in quarters
 * that are chosen so that the i-th group of each has its codes at the same bits: shifts are then constants, and a
 * vector of planes is loaded once. group_256 says which groups a quarter has. */
struct shape_256 {
    size_t block_bytes, group_values, scale_at, minimum_at;
    int zero;
    bool wide;
    bool short_dots; /* a group's sum fits in 16 bits: scale_short */
    /* Step j of a group. */
    u32v (*codes)(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j);
    /* The sub-scale of a group, one i32 a row. */
    i32v (*sub_scale)(const uint8_t *block, size_t part, size_t quarter, size_t i);
    /* The sub-minima of values 32i..32i+15 and 32i+16..32i+31, as the two halves of each i32. NULL: none. */
    i32v (*sub_minima)(const uint8_t *block, size_t part, size_t i);
};

/* Groups of 32: two neighbours. Groups of 16: a half of each 32 of 128 values. */
INLINE size_t group_256(const struct shape_256 *s, size_t quarter, size_t i)
{
    return s->group_values == 32 ? 2 * quarter + i : 8 * (quarter / 2) + 2 * i + quarter % 2;
}

/* -zero * (sum of the activation codes of group g): sums are 16 values each, so a group of 16 takes one half of the
 * pair that holds it. */
INLINE i32v start_256(const struct shape_256 *s, const int16_t *sums, size_t g)
{
    if (s->zero == 0) return (i32v){ 0 };
    if (s->group_values == 16) return bcast_i32(-s->zero * sums[g]);
    uint32_t minus = (uint32_t)(-s->zero & 0xffff);
    return dot2((i32v){ 0 }, bcast_i32((int32_t)(minus * 0x10001u)), bcast_dword(sums + 2 * g));
}

/* Whether the zero point of groups of 16 is taken off at the end of a block: with many tokens one unit's pairs of
 * sub-scales are made once, and 8 dot2 a token take the place of 16 sums that are multiplied and spread. */
INLINE bool zero_last(const struct shape_256 *s, size_t tokens)
{
    return s->zero != 0 && s->group_values == 16 && tokens > TOKENS_256;
}

/* isum[u][t] += -zero * (sub-scales . sums of activation codes), a pair of groups at a time. Sub-scales are 8 bits,
 * zero at most 32: the products fit the halves. */
INLINE void take_zero(const struct shape_256 *s, const uint8_t *const *block, const size_t *part, const int16_t *sums,
                      size_t sums_stride, size_t units, size_t tokens, i32v isum[UNITS][MOST])
{
    for (size_t pair = 0; pair < 8; pair++)
        UNROLL for (size_t u = 0; u < units; u++) {
            size_t quarter = pair / 4 * 2, i = pair % 4; /* group_256: groups 2 * pair and the next */
            i32v low = s->sub_scale(block[u], part[u], quarter, i);
            i32v high = s->sub_scale(block[u], part[u], quarter + 1, i);
            i32v both = (i32v)(((u32v)(low * -s->zero) & 0xffff) | (u32v)(high * -s->zero) << 16);
            UNROLL for (size_t t = 0; t < tokens; t++)
                isum[u][t] = dot2(isum[u][t], both, bcast_dword(sums + t * sums_stride + 2 * pair));
        }
}

/* isum[u][t] += sub-scale * (codes . codes) over the groups of a quarter, exact. */
INLINE void dots_256(const struct shape_256 *s, const uint8_t *const *block, const size_t *part, const int8_t *x,
                     size_t x_stride, const int16_t *sums, size_t sums_stride, size_t quarter, size_t units,
                     size_t tokens, struct ahead *ahead, i32v isum[UNITS][MOST])
{
    UNROLL for (size_t i = 0; i < 64 / s->group_values; i++) {
        size_t g = group_256(s, quarter, i);
        /* A few lines at a time: what is being asked for keeps loads that miss the first cache waiting. */
        UNROLL for (size_t u = 0; u < units; u++)
            ahead_fetch(&ahead[u], part[u], s->block_bytes / (256 / s->group_values));
        i32v dot[UNITS][MOST];
        UNROLL for (size_t t = 0; t < tokens; t++) {
            i32v start = { 0 };
            if (!zero_last(s, tokens)) start = start_256(s, sums + t * sums_stride, g);
            UNROLL for (size_t u = 0; u < units; u++) dot[u][t] = start;
        }
        UNROLL for (size_t j = 0; j < s->group_values / 4; j++) {
            u32v codes[UNITS];
            UNROLL for (size_t u = 0; u < units; u++) codes[u] = s->codes(block[u], part[u], quarter, i, j);
            UNROLL for (size_t t = 0; t < tokens; t++) {
                i32v four = bcast_dword(x + t * x_stride + g * s->group_values + 4 * j);
                UNROLL for (size_t u = 0; u < units; u++)
                    dot[u][t] = s->wide ? dot4_wide(dot[u][t], codes[u], four) : dot4(dot[u][t], codes[u], four);
            }
        }
        UNROLL for (size_t u = 0; u < units; u++) {
            i32v scale = s->sub_scale(block[u], part[u], quarter, i);
            UNROLL for (size_t t = 0; t < tokens; t++)
                isum[u][t] = s->short_dots ? scale_short(isum[u][t], scale, dot[u][t]) : isum[u][t] + scale * dot[u][t];
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
    struct ahead ahead[UNITS];
    f32v acc[UNITS][MOST];
    UNROLL for (size_t u = 0; u < units; u++) {
        block[u] = k->at[u];
        ahead[u] = ahead_of(k, u, units);
        UNROLL for (size_t t = 0; t < tokens; t++) acc[u][t] = (f32v){ 0 };
    }
    for (size_t b = 0; b < blocks; b++) {
        i32v isum[UNITS][MOST];
        UNROLL for (size_t u = 0; u < units; u++)
            UNROLL for (size_t t = 0; t < tokens; t++) isum[u][t] = (i32v){ 0 };
        for (size_t quarter = 0; quarter < 4; quarter++)
            dots_256(s, block, k->part, codes + 256 * b, x->cols, sums + 16 * b, 16 * blocks, quarter, units, tokens,
                     ahead, isum);
        if (zero_last(s, tokens)) take_zero(s, block, k->part, sums + 16 * b, 16 * blocks, units, tokens, isum);
        UNROLL for (size_t u = 0; u < units; u++) {
            f32v dw = load_f16(block[u] + s->scale_at + 2 * LANES * k->part[u]);
            UNROLL for (size_t t = 0; t < tokens; t++)
                acc[u][t] = acc[u][t] + (dw * bcast_f32(scales[t * blocks + b])) * floats_of(isum[u][t]);
            if (s->sub_minima != NULL)
                add_minima_256(s, block[u], k->part[u], sums + 16 * b, 16 * blocks, scales + b, blocks, tokens, acc[u]);
            block[u] += s->block_bytes;
        }
    }
    store_rows(k, units, tokens, acc);
}

/* ---- float weights, and integer weights widened ---- */

/* acc[u][t] = fma(w, x, acc) over k = 0 .. n - 1, w being vectors of rows at `wide`. */
INLINE void chain(const uint8_t *const *at, const size_t *part, f32v (*load)(const uint8_t *at, size_t part, size_t k),
                  const float *x, size_t x_stride, size_t n, size_t units, size_t tokens, f32v acc[UNITS][MOST])
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
    f32v acc[UNITS][MOST];
    UNROLL for (size_t u = 0; u < units; u++)
        UNROLL for (size_t t = 0; t < tokens; t++) acc[u][t] = (f32v){ 0 };
    chain(k->at, k->part, load, k->x->f32 + k->token * k->x->f32_stride, k->x->f32_stride, k->x->cols, units, tokens,
          acc);
    store_rows(k, units, tokens, acc);
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
    for (size_t quarter = 0; quarter < 4; quarter++)
        UNROLL for (size_t i = 0; i < 64 / s->group_values; i++) {
            size_t g = group_256(s, quarter, i);
            f32v least = { 0 }, scale = d * floats_of(s->sub_scale(block, part, quarter, i));
            if (s->sub_minima != NULL) {
                u32v pair = (u32v)s->sub_minima(block, part, g * s->group_values / 32);
                least = m * floats_of((i32v)(s->group_values == 16 && g % 2 == 1 ? pair >> 16 : pair & 0xffff));
            }
            for (size_t j = 0; j < steps; j++)
                widen_step(s->codes(block, part, quarter, i, j), s->zero, s->wide && WIDE_ZERO == 0, scale,
                           s->sub_minima != NULL, least, out + 4 * TILE_ROWS * (steps * g + j));
        }
}

typedef void widen_tile_fn(const uint8_t *block, size_t part, float *out);

/* One widened block of one tile against `tokens` tokens; out holds the sums of the blocks before. */
INLINE void add_widened(const struct work *k, const float *wide, size_t first, size_t values, size_t tokens)
{
    const float *x = k->x->f32 + k->token * k->x->f32_stride + first;
    size_t rows = min_size(k->w->rows - k->row[0], TILE_ROWS);
    float *out = k->out + k->token * k->out_stride + k->row[0], sums[MOST][TILE_ROWS] = { { 0 } };
    if (first > 0)
        for (size_t t = 0; t < tokens; t++) memcpy(sums[t], out + t * k->out_stride, rows * sizeof(float));
    for (size_t p = 0; p < PARTS; p++) {
        f32v acc[UNITS][MOST];
        const uint8_t *at[UNITS] = { (const uint8_t *)wide };
        UNROLL for (size_t t = 0; t < tokens; t++) memcpy(&acc[0][t], sums[t] + LANES * p, sizeof acc[0][t]);
        chain(at, &p, row_f32, x, k->x->f32_stride, values, 1, tokens, acc);
        UNROLL for (size_t t = 0; t < tokens; t++) memcpy(sums[t] + LANES * p, &acc[0][t], sizeof acc[0][t]);
    }
    for (size_t t = 0; t < tokens; t++) memcpy(out + t * k->out_stride, sums[t], rows * sizeof(float));
}

/* A block of one tile is widened into a buffer that stays in the first cache, then meets every token. */
static void product_widened(widen_tile_fn *widen, size_t block_bytes, size_t values, struct work *k, size_t tile)
{
    _Alignas(64) float wide[BLOCK_VALUES_MAX * TILE_ROWS];
    const uint8_t *block = k->w->tiles + tile * k->w->tile_bytes;
    k->row[0] = tile * TILE_ROWS;
    for (size_t first = 0; first < k->w->cols; first += values, block += block_bytes) {
        for (size_t p = 0; p < PARTS; p++) widen(block, p, wide + LANES * p);
        for (k->token = 0; k->token + TOKENS <= k->x->tokens; k->token += TOKENS)
            add_widened(k, wide, first, values, TOKENS);
        for (; k->token < k->x->tokens; k->token++) add_widened(k, wide, first, values, 1);
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

INLINE size_t group_tokens(size_t left, size_t most, bool solo)
{
    if (solo && SOLO > 0 && left % max_size(SOLO, 1) == 0) return SOLO;
    if (left >= most) return most;
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* Unit u of k, alone. */
INLINE struct work one_unit(const struct work *k, size_t u)
{
    struct work one = *k;
    one.at[0] = k->at[u];
    one.row[0] = k->row[u];
    one.part[0] = k->part[u];
    return one;
}

static __attribute__((noinline)) void solo_tokens(product_fn *product, const struct work *k)
{
    for (size_t u = 0; u < UNITS; u++) {
        struct work one = one_unit(k, u);
        product(&one, 0);
    }
}

/* `tokens` 0: SOLO tokens of unit 0. */
INLINE void any_tokens_32(const struct shape_32 *s, const struct work *k, size_t tokens)
{
    if (tokens == TOKENS) product_32(s, k, UNITS, TOKENS);
    else if (tokens == 4) product_32(s, k, UNITS, 4);
    else if (tokens == 2) product_32(s, k, UNITS, 2);
    else if (tokens == 1) product_32(s, k, UNITS, 1);
    else if (SOLO > 0) product_32(s, k, 1, SOLO);
}

INLINE void any_tokens_256(const struct shape_256 *s, const struct work *k, size_t tokens)
{
    if (tokens == TOKENS_256) product_256(s, k, UNITS, TOKENS_256);
    else if (tokens == 2) product_256(s, k, UNITS, 2);
    else if (tokens == 1) product_256(s, k, UNITS, 1);
    else if (SOLO > 0) product_256(s, k, 1, SOLO);
}

INLINE void any_tokens_float(f32v (*load)(const uint8_t *at, size_t part, size_t k), const struct work *k,
                             size_t tokens)
{
    if (tokens == TOKENS) product_float(load, k, UNITS, TOKENS);
    else if (tokens == 4) product_float(load, k, UNITS, 4);
    else if (tokens == 2) product_float(load, k, UNITS, 2);
    else product_float(load, k, UNITS, 1);
}

#include "kernels/matmul_panel.h"

#include "kernels/matmul_formats.h"
