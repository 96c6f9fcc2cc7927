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
 * The tier defines: LANES; i32v, u32v, f32v; UNITS and TOKENS, computed at once where tokens are many; FEW, the tokens
 * that one tile meets at once where they are not (4 or 8); IN_ORDER, whether there are registers for a unit's 16 sums
 * of a super-block and some more; WIDE_ZERO, what codes of 8 bits are above their value; RAISED, whether codes of many
 * tokens are (matmul_panel.h); bcast_i32, bcast_f32, fma_f32, dot4, dot4_wide, dot2, scale_short, wide_codes,
 * lookup_iq4, lookup_e2m1, load_f16, load_u16, load_e8m0. */
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
enum { MOST = (int)FEW > (int)TOKENS ? (int)FEW : (int)TOKENS };

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
    /* The codes once more, by where they lie: low | high are the bytes of `codes`, high NULL where low is all of them.
     * low NULL: not to be read in order. */
    u32v (*low)(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j);
    struct step_256 (*low_steps)(size_t n);
    u32v (*high)(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j);
    struct step_256 (*high_steps)(size_t n);
};

/* Groups of 32: two neighbours. Groups of 16: a half of each 32 of 128 values. */
INLINE size_t group_256(const struct shape_256 *s, size_t quarter, size_t i)
{
    return s->group_values == 32 ? 2 * quarter + i : 8 * (quarter / 2) + 2 * i + quarter % 2;
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

/* How many tokens a product takes at once of `left`, at most `most`: what it is compiled for. */
INLINE size_t group_tokens(size_t left, size_t most)
{
    if (left >= most) return most;
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* Computes k's units against `tokens` tokens, one of the counts that group_tokens gives. */
typedef void product_fn(const struct work *k, size_t tokens);

INLINE void any_tokens_float(f32v (*load)(const uint8_t *at, size_t part, size_t k), const struct work *k,
                             size_t tokens)
{
    if (tokens == TOKENS) product_float(load, k, UNITS, TOKENS);
    else if (tokens == 4) product_float(load, k, UNITS, 4);
    else if (tokens == 2) product_float(load, k, UNITS, 2);
    else product_float(load, k, UNITS, 1);
}

#include "kernels/matmul_panel.h"

#include "kernels/matmul_few.h"

#include "kernels/matmul_formats.h"
