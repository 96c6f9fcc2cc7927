/* Products with many tokens: a part of matmul_body.h.
 *
 * Codes of UNITS units over PANEL_VALUES inner values are expanded once, to the bytes that dot4 takes, into a panel
 * that stays in the first cache; then every group of TOKENS tokens meets it. The inner loop is nothing but dot4 and the
 * combination of a block, both at the rate of the multipliers: on Zen 4, where they share two pipes, 10 cycles a block
 * of 32, 8 of them dot products. Between two panels the running sums stand in memory: a sum that is stored and loaded
 * again keeps its bits, and the order over blocks is that of the loop.
 *
 *   for each pair of tiles:  for each panel:  expand;  for each TOKENS tokens:  load sums, blocks, store sums
 *
 * Where dot4 takes unsigned codes of weights, sums start at -zero * (sum of the activation codes): a broadcast a token
 * and block. A tier that is RAISED turns the roles around: activations come raised by 128 to be unsigned, weights as
 * they are, and sums start at -128 * (sum of the weight codes), which is made once with the panel and is the same
 * vector for all tokens: 121 cycles where the other way took 123, and nothing to prepare for a group of tokens. */

enum {
    PANEL_VALUES = RAISED ? 1024 : 512,
    PANEL_BLOCKS = PANEL_VALUES / 32,
    PANEL_SUPERS = PANEL_VALUES / 256,
    PANEL_LEAST = 4 * TOKENS,         /* tokens from which expanding pays */
    PANEL_MOST = 516 / TOKENS * TOKENS, /* of one call: a chunk of 512, and its codes are expanded once */
    RUN_BYTES = LANES == 16 ? 768 * 1024 : 512 * 1024 /* of tokens' codes: what stays in the second cache while all
                                                         tiles pass; with AVX-512 that cache has 1 MiB and more */
};

/* The running sums of a call's tokens between two panels: dense, because rows of `out` that are a power of two apart
 * would meet in a few sets of the cache. */
struct panel_sums {
    f32v acc[PANEL_MOST / TOKENS][UNITS][TOKENS];
};

INLINE void load_sums(const struct panel_sums *from, size_t group, bool fresh, f32v acc[UNITS][MOST])
{
    UNROLL for (size_t u = 0; u < UNITS; u++)
        UNROLL for (size_t t = 0; t < TOKENS; t++) acc[u][t] = fresh ? (f32v){ 0 } : from->acc[group][u][t];
}

INLINE void store_sums(struct panel_sums *to, size_t group, f32v acc[UNITS][MOST])
{
    UNROLL for (size_t u = 0; u < UNITS; u++)
        UNROLL for (size_t t = 0; t < TOKENS; t++) to->acc[group][u][t] = acc[u][t];
}

/* What a group of tokens meets: `blocks` blocks of a panel, of which the first is block `first` of the row. */
struct panel_part {
    size_t group, first, blocks;
    bool last; /* the sums are whole after this one */
    int zero;
};

/* Asks for the lines that store_rows will write, which another stage left in the third cache. */
INLINE void ask_rows(const struct work *k, const struct panel_part *part)
{
    if (!part->last) return;
    UNROLL for (size_t u = 0; u < UNITS; u++)
        UNROLL for (size_t t = 0; t < TOKENS; t++)
            __builtin_prefetch(k->out + (k->token + t) * k->out_stride + k->row[u], 1, 3);
}

/* The weights of the next panel, asked for in equal parts while the groups of this one are computed: expanding would
 * wait for memory otherwise. Behind the last panel of a row follow the tiles of the next call. */
struct panel_ahead {
    const uint8_t *at[UNITS];
    size_t left, each; /* bytes of each unit */
};

INLINE struct panel_ahead ahead_of_panel(const struct work *k, size_t first, size_t blocks, size_t block_bytes,
                                         bool last, size_t groups)
{
    struct panel_ahead a = { .left = blocks * block_bytes };
    a.each = round_up(ceil_div(a.left, groups), 64);
    for (size_t u = 0; u < UNITS; u++)
        a.at[u] = k->at[u] + (last ? UNITS / PARTS * k->w->tile_bytes : (first + blocks) * block_bytes);
    return a;
}

INLINE void panel_fetch(struct panel_ahead *a)
{
    size_t now = min_size(a->each, a->left);
    for (size_t u = 0; u < UNITS; u += PARTS) {
        for (size_t i = 0; i < now; i += 64) __builtin_prefetch(a->at[u] + i, 0, 2);
        a->at[u] += now;
    }
    a->left -= now;
}

/* Codes of a token's activations as the dot products of a panel take them. */
INLINE const uint8_t *panel_codes(const activations *x)
{
    return RAISED ? x->raised : (const uint8_t *)x->codes;
}

INLINE i32v panel_dot4(i32v sum, u32v weights, i32v four, bool wide)
{
    if (RAISED) return dot4(sum, (u32v)four, (i32v)weights);
    return wide ? dot4_wide(sum, weights, four) : dot4(sum, weights, four);
}

/* What a panel keeps of codes that are `zero` above their value. RAISED: bytes in -128..127, for each byte of `stored`
 * is below 128, or `zero` is 128. */
INLINE u32v panel_weights(u32v stored, int zero)
{
    if (!RAISED) return stored;
    if (zero == 128) return stored ^ 0x80808080;
    return ((stored | 0x80808080) - (uint32_t)zero * 0x01010101) ^ 0x80808080;
}

/* start - 128 * (sum of four weights a lane), as dot4 takes them. */
INLINE i32v panel_start(i32v start, u32v weights)
{
    return start - dot4((i32v){ 0 }, (u32v)bcast_i32((int32_t)0x80808080u), (i32v)weights);
}

/* ---- blocks of 32 ---- */

struct panel_32 {
    u32v codes[PANEL_BLOCKS][8][UNITS];
    f32v scale[PANEL_BLOCKS][UNITS];
    i32v start[RAISED ? PANEL_BLOCKS : 1][UNITS];
    f32v minimum[PANEL_BLOCKS][UNITS];
};

INLINE void expand_32(const struct shape_32 *s, const struct work *k, size_t first, size_t blocks, struct panel_32 *p)
{
    for (size_t u = 0; u < UNITS; u++) {
        const uint8_t *block = k->at[u] + first * s->block_bytes;
        for (size_t b = 0; b < blocks; b++, block += s->block_bytes) {
            i32v start = { 0 };
            UNROLL for (size_t i = 0; i < 8; i++) {
                u32v codes = panel_weights(s->codes(block, k->part[u], i), s->zero);
                p->codes[b][i][u] = codes;
                if (RAISED) start = panel_start(start, codes);
            }
            if (RAISED) p->start[b][u] = start;
            p->scale[b][u] = scale_32(s, block, k->part[u]);
            if (s->minimum_at != 0) p->minimum[b][u] = load_f16(block + s->minimum_at + 2 * LANES * k->part[u]);
        }
    }
}

/* out[b] = factor * (sum of the activation codes of block b): a vector of blocks at a time. */
INLINE void block_sums(const int16_t *sums, int factor, size_t blocks, int32_t *out)
{
    size_t b = 0;
    i32v both = bcast_i32((int32_t)((uint32_t)(factor & 0xffff) * 0x10001u));
    for (; b + LANES <= blocks; b += LANES) {
        i32v pairs;
        memcpy(&pairs, sums + 2 * b, sizeof pairs);
        pairs = dot2((i32v){ 0 }, both, pairs);
        memcpy(out + b, &pairs, sizeof pairs);
    }
    for (; b < blocks; b++) out[b] = factor * (sums[2 * b] + sums[2 * b + 1]);
}

/* TOKENS tokens from k->token on. from_zero: part->zero is 0. */
INLINE void group_32(const struct panel_32 *p, const struct work *k, const struct panel_part *part,
                     struct panel_sums *sums_of, bool from_zero, bool wide, bool minima)
{
    size_t all = k->x->cols / 32, first = part->first, blocks = part->blocks;
    const uint8_t *codes = panel_codes(k->x) + k->token * k->x->cols + 32 * first;
    const float *scales = k->x->scales + k->token * all + first;
    const int16_t *sums = k->x->sums + 2 * (k->token * all + first);
    int32_t starts[TOKENS][PANEL_BLOCKS];
    f32v acc[UNITS][MOST];
    if (!from_zero || minima)
        for (size_t t = 0; t < TOKENS; t++) block_sums(sums + 2 * t * all, minima ? 1 : -part->zero, blocks, starts[t]);
    load_sums(sums_of, part->group, first == 0, acc);
    ask_rows(k, part);
    for (size_t b = 0; b < blocks; b++, codes += 32) {
        i32v sum[UNITS][MOST];
        UNROLL for (size_t t = 0; t < TOKENS; t++) {
            i32v start = { 0 };
            if (!from_zero) start = bcast_i32(starts[t][b]);
            UNROLL for (size_t u = 0; u < UNITS; u++) sum[u][t] = RAISED ? p->start[b][u] : start;
        }
        UNROLL for (size_t i = 0; i < 8; i++)
            UNROLL for (size_t t = 0; t < TOKENS; t++) {
                i32v four = bcast_dword(codes + t * k->x->cols + 4 * i);
                UNROLL for (size_t u = 0; u < UNITS; u++)
                    sum[u][t] = panel_dot4(sum[u][t], p->codes[b][i][u], four, wide);
            }
        UNROLL for (size_t t = 0; t < TOKENS; t++) {
            f32v dx = bcast_f32(scales[t * all + b]);
            UNROLL for (size_t u = 0; u < UNITS; u++) {
                acc[u][t] = acc[u][t] + (p->scale[b][u] * dx) * floats_of(sum[u][t]);
                if (minima) acc[u][t] = acc[u][t] + (p->minimum[b][u] * dx) * bcast_f32((float)starts[t][b]);
            }
        }
    }
    if (part->last) store_rows(k, UNITS, TOKENS, acc);
    else store_sums(sums_of, part->group, acc);
}

typedef void group_32_fn(const struct panel_32 *p, const struct work *k, const struct panel_part *part,
                         struct panel_sums *sums);

static void group_plain(const struct panel_32 *p, const struct work *k, const struct panel_part *part,
                        struct panel_sums *sums)
{
    group_32(p, k, part, sums, RAISED, false, false);
}

static void group_wide(const struct panel_32 *p, const struct work *k, const struct panel_part *part,
                       struct panel_sums *sums)
{
    group_32(p, k, part, sums, RAISED || WIDE_ZERO == 0, true, false);
}

static void group_minima(const struct panel_32 *p, const struct work *k, const struct panel_part *part,
                         struct panel_sums *sums)
{
    group_32(p, k, part, sums, true, false, true);
}

/* k's units against the tokens from k->token up to `end`: TOKENS to PANEL_MOST of them. The last group reaches back
 * over tokens of the one before, which are computed twice, into the same places. */
INLINE void panel_32(const struct shape_32 *s, const struct work *from, size_t end)
{
    group_32_fn *group = s->wide && !RAISED ? group_wide : s->minimum_at != 0 ? group_minima : group_plain;
    struct panel_32 p;
    struct panel_sums sums;
    struct work k = *from;
    size_t all = k.x->cols / 32, groups = ceil_div(end - from->token, TOKENS);
    for (size_t first = 0; first < all; first += PANEL_BLOCKS) {
        struct panel_part part = { .first = first, .blocks = min_size(all - first, PANEL_BLOCKS), .zero = s->zero };
        part.last = first + part.blocks == all;
        expand_32(s, from, first, part.blocks, &p);
        struct panel_ahead ahead = ahead_of_panel(from, first, part.blocks, s->block_bytes, part.last, groups);
        for (; part.group < groups; part.group++) {
            k.token = min_size(from->token + part.group * TOKENS, end - TOKENS);
            panel_fetch(&ahead);
            group(&p, &k, &part, &sums);
        }
    }
}

/* ---- super-blocks of 256 ---- */

struct panel_256 {
    u32v codes[PANEL_SUPERS][64][UNITS]; /* in the order of values */
    i32v scale[PANEL_SUPERS][16][UNITS], minima[PANEL_SUPERS][8][UNITS];
    f32v d[PANEL_SUPERS][UNITS], m[PANEL_SUPERS][UNITS];
    i32v start[PANEL_SUPERS][UNITS]; /* of isum, with sub-scales */
};

/* Minima of groups of 32 stand twice in each dword of sub_minima: here two neighbours share one. */
INLINE i32v minima_pair(const struct shape_256 *s, const uint8_t *block, size_t part, size_t i)
{
    i32v first = s->sub_minima(block, part, 2 * i), second = s->sub_minima(block, part, 2 * i + 1);
    return (i32v)(((u32v)first & 0xffff) | (u32v)second << 16);
}

INLINE void expand_super(const struct shape_256 *s, const uint8_t *block, size_t part, size_t b, size_t u,
                         struct panel_256 *p)
{
    size_t steps = s->group_values / 4;
    i32v whole = { 0 };
    for (size_t quarter = 0; quarter < 4; quarter++)
        UNROLL for (size_t i = 0; i < 64 / s->group_values; i++) {
            size_t g = group_256(s, quarter, i);
            i32v start = { 0 }, scale = s->sub_scale(block, part, quarter, i);
            UNROLL for (size_t j = 0; j < steps; j++) {
                u32v codes = panel_weights(s->codes(block, part, quarter, i, j), s->zero);
                p->codes[b][g * steps + j][u] = codes;
                if (RAISED) start = panel_start(start, codes);
            }
            p->scale[b][g][u] = scale;
            if (RAISED) whole = whole + scale * start;
        }
    if (RAISED) p->start[b][u] = whole;
    p->d[b][u] = load_f16(block + s->scale_at + 2 * LANES * part);
    if (s->sub_minima == NULL) return;
    p->m[b][u] = -load_f16(block + s->minimum_at + 2 * LANES * part);
    for (size_t i = 0; i < (s->group_values == 32 ? 4 : 8); i++)
        p->minima[b][i][u] = s->group_values == 32 ? minima_pair(s, block, part, i) : s->sub_minima(block, part, i);
}

/* What the groups of one super-block need of one token's sums: -zero * sum a group, or the pairs that minima meet. */
struct super_sums {
    int32_t starts[16];
    int32_t pairs[8];
};

INLINE void super_sums_of(const int16_t *sums, size_t group_values, int zero, bool minima, struct super_sums *out)
{
    if (zero != 0 && group_values == 32) block_sums(sums, -zero, 8, out->starts);
    if (zero != 0 && group_values == 16)
        for (size_t g = 0; g < 16; g++) out->starts[g] = -zero * sums[g];
    if (!minima) return;
    if (group_values == 16) {
        memcpy(out->pairs, sums, sizeof out->pairs);
        return;
    }
    int32_t both[8];
    block_sums(sums, 1, 8, both);
    for (size_t i = 0; i < 4; i++) out->pairs[i] = (int32_t)((uint32_t)both[2 * i + 1] << 16 | (both[2 * i] & 0xffff));
}

/* isum[u][t] of one super-block. The loop over groups stays a loop: its body fills the pipes. */
INLINE void panel_dots_256(const struct panel_256 *p, size_t b, const uint8_t *codes, size_t stride,
                           const struct super_sums *of, size_t group_values, int zero, bool wide, bool short_dots,
                           i32v isum[UNITS][MOST])
{
    size_t steps = group_values / 4;
    UNROLL for (size_t u = 0; u < UNITS; u++)
        UNROLL for (size_t t = 0; t < TOKENS; t++) isum[u][t] = RAISED ? p->start[b][u] : (i32v){ 0 };
    for (size_t g = 0; g < 256 / group_values; g++, codes += group_values) {
        i32v dot[UNITS][MOST];
        UNROLL for (size_t t = 0; t < TOKENS; t++) {
            i32v start = { 0 };
            if (zero != 0 && !RAISED) start = bcast_i32(of[t].starts[g]);
            UNROLL for (size_t u = 0; u < UNITS; u++) dot[u][t] = start;
        }
        const u32v(*at)[UNITS] = &p->codes[b][g * steps];
        UNROLL for (size_t j = 0; j < steps; j++)
            UNROLL for (size_t t = 0; t < TOKENS; t++) {
                i32v four = bcast_dword(codes + t * stride + 4 * j);
                UNROLL for (size_t u = 0; u < UNITS; u++)
                    dot[u][t] = panel_dot4(dot[u][t], at[j][u], four, wide);
            }
        UNROLL for (size_t u = 0; u < UNITS; u++) {
            i32v scale = p->scale[b][g][u];
            UNROLL for (size_t t = 0; t < TOKENS; t++)
                isum[u][t] = short_dots ? scale_short(isum[u][t], scale, dot[u][t]) : isum[u][t] + scale * dot[u][t];
        }
    }
}

INLINE f32v minima_sum(const struct panel_256 *p, size_t b, size_t u, const struct super_sums *of, size_t pairs)
{
    i32v sum = { 0 };
    UNROLL for (size_t i = 0; i < pairs; i++) sum = dot2(sum, p->minima[b][i][u], bcast_i32(of->pairs[i]));
    return floats_of(sum);
}

INLINE void group_supers(const struct panel_256 *p, const struct work *k, const struct panel_part *part,
                         struct panel_sums *sums_of, size_t group_values, int zero, bool wide, bool short_dots,
                         bool minima)
{
    size_t all = k->x->cols / 256, stride = k->x->cols, first = part->first, blocks = part->blocks;
    const uint8_t *codes = panel_codes(k->x) + k->token * stride + 256 * first;
    const float *scales = k->x->scales + k->token * all + first;
    const int16_t *sums = k->x->sums + 16 * (k->token * all + first);
    size_t pairs = group_values == 32 ? 4 : 8;
    f32v acc[UNITS][MOST];
    load_sums(sums_of, part->group, first == 0, acc);
    ask_rows(k, part);
    for (size_t b = 0; b < blocks; b++, codes += 256, sums += 16) {
        struct super_sums of[TOKENS];
        i32v isum[UNITS][MOST];
        for (size_t t = 0; t < TOKENS; t++)
            super_sums_of(sums + t * 16 * all, group_values, RAISED ? 0 : zero, minima, &of[t]);
        panel_dots_256(p, b, codes, stride, of, group_values, zero, wide, short_dots, isum);
        UNROLL for (size_t t = 0; t < TOKENS; t++) {
            f32v dx = bcast_f32(scales[t * all + b]);
            UNROLL for (size_t u = 0; u < UNITS; u++) {
                acc[u][t] = acc[u][t] + (p->d[b][u] * dx) * floats_of(isum[u][t]);
                if (minima) acc[u][t] = acc[u][t] + (p->m[b][u] * dx) * minima_sum(p, b, u, &of[t], pairs);
            }
        }
    }
    if (part->last) store_rows(k, UNITS, TOKENS, acc);
    else store_sums(sums_of, part->group, acc);
}

typedef void group_256_fn(const struct panel_256 *p, const struct work *k, const struct panel_part *part,
                          struct panel_sums *sums);

INLINE void panel_256(const struct shape_256 *s, group_256_fn *group, const struct work *from, size_t end)
{
    struct panel_256 p;
    struct panel_sums sums;
    struct work k = *from;
    size_t all = k.x->cols / 256, groups = ceil_div(end - from->token, TOKENS);
    for (size_t first = 0; first < all; first += PANEL_SUPERS) {
        struct panel_part part = { .first = first, .blocks = min_size(all - first, PANEL_SUPERS), .zero = s->zero };
        part.last = first + part.blocks == all;
        for (size_t u = 0; u < UNITS; u++)
            for (size_t b = 0; b < part.blocks; b++)
                expand_super(s, from->at[u] + (first + b) * s->block_bytes, from->part[u], b, u, &p);
        struct panel_ahead ahead = ahead_of_panel(from, first, part.blocks, s->block_bytes, part.last, groups);
        for (; part.group < groups; part.group++) {
            k.token = min_size(from->token + part.group * TOKENS, end - TOKENS);
            panel_fetch(&ahead);
            group(&p, &k, &part, &sums);
        }
    }
}
