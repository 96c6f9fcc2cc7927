/* Products with few tokens: a part of matmul_body.h.
 *
 * Memory is the limit, or close to it: one tile at a time meets up to FEW tokens, so that a thread reads one stream in
 * the order of memory. Share of the speed at which two cores of Zen 4 read anything at all, one token, where that was
 * 60 and 35 GB/s: Q4_0 0.98 and 1.0. Two tiles at a time, each with its own lines asked for ahead, gave 0.70 and 0.92.
 * One stream that is asked for (dots_256) gives Q4_K and Q6_K 0.80 and 0.92; alone_256 gives more. */

_Static_assert((int)PARTS <= (int)UNITS, "a tile's units are computed at once");
_Static_assert(!IN_ORDER || (int)PARTS == 1, "alone_256 knows one unit a tile");

enum {
    AHEAD_BYTES = 8192, /* asked for so long before they are read: 4 KiB gave Q6_K 0.49 of that speed instead of 0.80,
                           12 to 24 KiB gave the same or less */
    START_BLOCKS = 32   /* whose starts are made at once */
};

/* Blocks of 32 and one token: a tile is read as it stands, line after line, which the processor foresees by itself, and
 * asking takes a fifth (Q4_0) to a quarter (Q8_0) of the speed. More tokens spend longer on a line than its foresight
 * bridges; of super-blocks several fields are read at once. */
INLINE bool asks_ahead(size_t tokens)
{
    return tokens > 1;
}

/* Asks for `bytes` from *at on, and goes on by so many. Into the second cache: into the first, 8 tokens read Q8_0 at
 * 0.6 of the speed. A pointer that moves keeps the compiler from gathering what is asked for: in a bunch it keeps loads
 * waiting that miss the first cache. */
INLINE void ask_ahead(const uint8_t **at, size_t bytes)
{
    UNROLL for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(*at + i, 0, 2);
    *at += bytes;
}

/* ---- blocks of 32 ---- */

/* i32 sums of one block: sum[u][t] += codes of unit u . codes of token t. */
INLINE void dots_32(const struct shape_32 *s, const uint8_t *block, const int8_t *x, size_t x_stride, size_t tokens,
                    i32v sum[UNITS][MOST])
{
    UNROLL for (size_t i = 0; i < 8; i++) {
        size_t step = step_32(i);
        u32v codes[PARTS];
        UNROLL for (size_t u = 0; u < PARTS; u++) codes[u] = s->codes(block, u, step);
        UNROLL for (size_t t = 0; t < tokens; t++) {
            i32v four = bcast_dword(x + t * x_stride + 4 * step);
            UNROLL for (size_t u = 0; u < PARTS; u++)
                sum[u][t] = s->wide ? dot4_wide(sum[u][t], codes[u], four) : dot4(sum[u][t], codes[u], four);
        }
    }
}

/* `tokens` is a constant where this is inlined. */
INLINE void product_32(const struct shape_32 *s, const struct work *k, size_t tokens)
{
    const activations *x = k->x;
    size_t blocks = x->cols / 32;
    const int8_t *codes = x->codes + k->token * x->cols;
    const float *scales = x->scales + k->token * blocks;
    const int16_t *sums = x->sums + k->token * 2 * blocks;
    const uint8_t *block = k->at[0], *ahead = block + AHEAD_BYTES;
    int32_t starts[MOST][START_BLOCKS]; /* -zero * the sum of a block's activation codes; with minima, that sum */
    bool minima = s->minimum_at != 0, starting = s->zero != 0;
    f32v acc[UNITS][MOST];
    UNROLL for (size_t u = 0; u < PARTS; u++)
        UNROLL for (size_t t = 0; t < tokens; t++) acc[u][t] = (f32v){ 0 };
    for (size_t b = 0; b < blocks; b++, block += s->block_bytes) {
        i32v sum[UNITS][MOST];
        if (b % START_BLOCKS == 0 && (starting || minima))
            for (size_t t = 0; t < tokens; t++)
                block_sums(sums + 2 * (t * blocks + b), minima ? 1 : -s->zero, min_size(blocks - b, START_BLOCKS),
                           starts[t]);
        UNROLL for (size_t t = 0; t < tokens; t++)
            UNROLL for (size_t u = 0; u < PARTS; u++)
                sum[u][t] = starting ? bcast_i32(starts[t][b % START_BLOCKS]) : (i32v){ 0 };
        dots_32(s, block, codes + 32 * b, x->cols, tokens, sum);
        if (asks_ahead(tokens)) ask_ahead(&ahead, s->block_bytes);
        UNROLL for (size_t u = 0; u < PARTS; u++) {
            f32v dw = scale_32(s, block, u), mw = { 0 };
            if (minima) mw = load_f16(block + s->minimum_at + 2 * LANES * u);
            UNROLL for (size_t t = 0; t < tokens; t++) {
                f32v dx = bcast_f32(scales[t * blocks + b]);
                acc[u][t] = acc[u][t] + (dw * dx) * floats_of(sum[u][t]);
                if (minima) acc[u][t] = acc[u][t] + (mw * dx) * bcast_f32((float)starts[t][b % START_BLOCKS]);
            }
        }
    }
    store_rows(k, PARTS, tokens, acc);
}

/* ---- super-blocks of 256 ---- */

/* isum[u][t] += sub-scale * (codes . codes) over the groups of a quarter, exact. */
INLINE void dots_256(const struct shape_256 *s, const uint8_t *block, const int8_t *x, size_t x_stride,
                     int32_t starts[MOST][16], size_t quarter, size_t tokens, const uint8_t **ahead,
                     i32v isum[UNITS][MOST])
{
    size_t steps = s->group_values / 4;
    UNROLL for (size_t i = 0; i < 64 / s->group_values; i++) {
        size_t g = group_256(s, quarter, i);
        ask_ahead(ahead, s->block_bytes / (64 / steps));
        i32v dot[UNITS][MOST];
        UNROLL for (size_t t = 0; t < tokens; t++)
            UNROLL for (size_t u = 0; u < PARTS; u++)
                dot[u][t] = s->zero != 0 ? bcast_i32(starts[t][g]) : (i32v){ 0 };
        UNROLL for (size_t j = 0; j < steps; j++) {
            u32v codes[PARTS];
            UNROLL for (size_t u = 0; u < PARTS; u++) codes[u] = s->codes(block, u, quarter, i, j);
            UNROLL for (size_t t = 0; t < tokens; t++) {
                i32v four = bcast_dword(x + t * x_stride + g * s->group_values + 4 * j);
                UNROLL for (size_t u = 0; u < PARTS; u++)
                    dot[u][t] = s->wide ? dot4_wide(dot[u][t], codes[u], four) : dot4(dot[u][t], codes[u], four);
            }
        }
        UNROLL for (size_t u = 0; u < PARTS; u++) {
            i32v scale = s->sub_scale(block, u, quarter, i);
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

/* -zero * the sum of the activation codes of each group of a super-block. */
INLINE void starts_256(const struct shape_256 *s, const int16_t *sums, int32_t *starts)
{
    if (s->zero == 0) return;
    if (s->group_values == 32) block_sums(sums, -s->zero, 8, starts);
    else UNROLL for (size_t g = 0; g < 16; g++) starts[g] = -s->zero * sums[g];
}

INLINE void product_256(const struct shape_256 *s, const struct work *k, size_t tokens)
{
    const activations *x = k->x;
    size_t blocks = x->cols / 256;
    const int8_t *codes = x->codes + k->token * x->cols;
    const float *scales = x->scales + k->token * blocks;
    const int16_t *sums = x->sums + k->token * 16 * blocks;
    const uint8_t *block = k->at[0], *ahead = block + AHEAD_BYTES;
    f32v acc[UNITS][MOST];
    UNROLL for (size_t u = 0; u < PARTS; u++)
        UNROLL for (size_t t = 0; t < tokens; t++) acc[u][t] = (f32v){ 0 };
    for (size_t b = 0; b < blocks; b++, block += s->block_bytes) {
        int32_t starts[MOST][16];
        i32v isum[UNITS][MOST];
        for (size_t t = 0; t < tokens; t++) starts_256(s, sums + 16 * (t * blocks + b), starts[t]);
        UNROLL for (size_t u = 0; u < PARTS; u++)
            UNROLL for (size_t t = 0; t < tokens; t++) isum[u][t] = (i32v){ 0 };
        for (size_t quarter = 0; quarter < 4; quarter++)
            dots_256(s, block, codes + 256 * b, x->cols, starts, quarter, tokens, &ahead, isum);
        UNROLL for (size_t u = 0; u < PARTS; u++) {
            f32v dw = load_f16(block + s->scale_at + 2 * LANES * u);
            UNROLL for (size_t t = 0; t < tokens; t++)
                acc[u][t] = acc[u][t] + (dw * bcast_f32(scales[t * blocks + b])) * floats_of(isum[u][t]);
            if (s->sub_minima != NULL)
                add_minima_256(s, block, u, sums + 16 * b, 16 * blocks, scales + b, blocks, tokens, acc[u]);
        }
    }
    store_rows(k, PARTS, tokens, acc);
}

/* ---- super-blocks of 256, one token ---- */

/* dot[g] += codes . codes of the block's 64 steps, those bits of them that `codes` gives, in the order of `steps`. */
INLINE void dots_in_order(const struct shape_256 *s,
                          u32v (*codes)(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j),
                          struct step_256 (*steps)(size_t n), const uint8_t *block, const int8_t *x, i32v dot[16])
{
    UNROLL for (size_t high = 0; high < 64; high += 16)
        UNROLL for (size_t low = 0; low < 16; low++) {
            struct step_256 at = steps(high + low);
            size_t g = group_256(s, at.quarter, at.i);
            u32v four = codes(block, 0, at.quarter, at.i, at.j);
            i32v with = bcast_dword(x + g * s->group_values + 4 * at.j);
            dot[g] = s->wide ? dot4_wide(dot[g], four, with) : dot4(dot[g], four, with);
        }
}

/* A block's groups, scaled and summed: its bytes are read from the first to the last. */
INLINE i32v isum_in_order(const struct shape_256 *s, const uint8_t *block, const int8_t *x, const int16_t *sums)
{
    size_t groups = 256 / s->group_values;
    int32_t starts[16] = { 0 };
    i32v dot[16], isum = { 0 };
    starts_256(s, sums, starts);
    UNROLL for (size_t g = 0; g < groups; g++) dot[g] = s->zero != 0 ? bcast_i32(starts[g]) : (i32v){ 0 };
    dots_in_order(s, s->low, s->low_steps, block, x, dot);
    if (s->high != NULL) dots_in_order(s, s->high, s->high_steps, block, x, dot);
    UNROLL for (size_t quarter = 0; quarter < 4; quarter++)
        UNROLL for (size_t i = 0; i < groups / 4; i++) {
            i32v scale = s->sub_scale(block, 0, quarter, i), one = dot[group_256(s, quarter, i)];
            isum = s->short_dots ? scale_short(isum, scale, one) : isum + scale * one;
        }
    return isum;
}

/* Low bits, then high bits, then scales: line after line the processor foresees by itself, and further than it can be
 * told. It may be told of as many lines as its first cache waits for, some 24 in Zen 4, which is 43 GB/s of two cores;
 * this reads Q4_K, Q5_K and IQ4_XS at 0.96 to 1.03 of 37 to 60 GB/s, and Q6_K, whose dot products it doubles, at 0.98
 * of 41 and 0.90 of 48. With two tokens it is slower, at 60 GB/s by a third. It wants a vector for all rows of a tile
 * and registers for the sums of all groups: where a tier has them, IN_ORDER. */
INLINE void alone_256(const struct shape_256 *s, const struct work *k)
{
    if (!IN_ORDER) return;
    const activations *x = k->x;
    size_t blocks = x->cols / 256;
    const int8_t *codes = x->codes + k->token * x->cols;
    const float *scales = x->scales + k->token * blocks;
    const int16_t *sums = x->sums + k->token * 16 * blocks;
    const uint8_t *block = k->at[0];
    f32v acc[UNITS][MOST];
    acc[0][0] = (f32v){ 0 };
    for (size_t b = 0; b < blocks; b++, block += s->block_bytes) {
        i32v isum = isum_in_order(s, block, codes + 256 * b, sums + 16 * b);
        f32v dw = load_f16(block + s->scale_at);
        acc[0][0] = acc[0][0] + (dw * bcast_f32(scales[b])) * floats_of(isum);
        if (s->sub_minima != NULL)
            add_minima_256(s, block, 0, sums + 16 * b, 16 * blocks, scales + b, blocks, 1, acc[0]);
    }
    store_rows(k, 1, 1, acc);
}

/* ---- counts of tokens ---- */

INLINE void any_tokens_32(const struct shape_32 *s, const struct work *k, size_t tokens)
{
    if (tokens == FEW) product_32(s, k, FEW);
    else if (tokens == 4) product_32(s, k, 4);
    else if (tokens == 2) product_32(s, k, 2);
    else product_32(s, k, 1);
}

/* One token of a format that is read in order has a function of its own (alone_256): in this one's company gcc 12 makes
 * a third more cycles of eight tokens of Q5_K. */
INLINE void any_tokens_256(const struct shape_256 *s, const struct work *k, size_t tokens)
{
    if (tokens == FEW) product_256(s, k, FEW);
    else if (tokens == 4) product_256(s, k, 4);
    else if (tokens == 2) product_256(s, k, 2);
    else if (!IN_ORDER || s->low == NULL) product_256(s, k, 1);
}
