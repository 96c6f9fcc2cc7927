/* A part of matmul_body.h: the formats as rows, the loops around the products, and the functions that a tier binds. */

/* ---- one shape, one product and one widening a format ---- */

/* block bytes, scale at, minimum at, zero, wide, e8m0, codes */
static const struct shape_32 Q4_0 = { 288, 256, 0, 8, false, false, nibbles_32 };
static const struct shape_32 Q4_1 = { 320, 256, 288, 0, false, false, nibbles_32 };
static const struct shape_32 Q5_0 = { 352, 320, 0, 16, false, false, codes_5bit };
static const struct shape_32 Q5_1 = { 384, 320, 352, 0, false, false, codes_5bit };
static const struct shape_32 Q8_0 = { 544, 512, 0, WIDE_ZERO, true, false, codes_q8_0 };
static const struct shape_32 IQ4_NL = { 288, 256, 0, WIDE_ZERO, true, false, codes_iq4_nl };
static const struct shape_32 MXFP4 = { 272, 256, 0, 12, false, true, codes_mxfp4 };

/* block bytes, group values, scale at, minimum at, zero, wide, short dots, codes, sub_scale, sub_minima;
 * low, its steps, high, its steps */
static const struct shape_256 Q2_K = { 1344, 16, 1280, 1312, 0, false, true, codes_q2_k, scale_q2_k, minima_q2_k,
                                       codes_q2_k, steps_of_halves, NULL, NULL };
static const struct shape_256 Q3_K = { 1760, 16, 1728, 0, 4, false, true, codes_q3_k, scale_q3_k, NULL,
                                       NULL, NULL, NULL, NULL }; /* twice the dot products: 0.5 instead of 0.75 */
static const struct shape_256 Q4_K = { 2304, 32, 2240, 2272, 0, false, false, codes_q4_k, scale_q4_k, minima_q4_k,
                                       codes_q4_k, steps_q4_k, NULL, NULL };
static const struct shape_256 Q5_K = { 2816, 32, 2752, 2784, 0, false, false, codes_q5_k, scale_q5_k, minima_q5_k,
                                       codes_q4_k, steps_q4_k, high_q5_k, high_steps_q5_k };
static const struct shape_256 Q6_K = { 3360, 16, 3328, 0, 32, false, false, codes_q6_k, scale_q6_k, NULL,
                                       low_q6_k, steps_q6_k, high_q6_k, steps_of_halves };
static const struct shape_256 IQ4_XS = { 2176, 32, 2144, 0, WIDE_ZERO, true, false, codes_iq4_xs, scale_iq4_xs, NULL,
                                         codes_iq4_xs, steps_iq4_xs, NULL, NULL };

/* ---- groups of tokens against a panel: group values, zero, wide, short dots, minima ---- */

static void group_q2_k(const struct panel_256 *p, const struct work *k, const struct panel_part *part,
                       struct panel_sums *sums)
{
    group_supers(p, k, part, sums, 16, 0, false, true, true);
}

static void group_q3_k(const struct panel_256 *p, const struct work *k, const struct panel_part *part,
                       struct panel_sums *sums)
{
    group_supers(p, k, part, sums, 16, 4, false, true, false);
}

static void group_q4_k(const struct panel_256 *p, const struct work *k, const struct panel_part *part,
                       struct panel_sums *sums)
{
    group_supers(p, k, part, sums, 32, 0, false, false, true);
}

static void group_q6_k(const struct panel_256 *p, const struct work *k, const struct panel_part *part,
                       struct panel_sums *sums)
{
    group_supers(p, k, part, sums, 16, 32, false, false, false);
}

static void group_iq4_xs(const struct panel_256 *p, const struct work *k, const struct panel_part *part,
                       struct panel_sums *sums)
{
    group_supers(p, k, part, sums, 32, WIDE_ZERO, true, false, false);
}

/* ---- a product, a panel and a widening a format ---- */

static void product_q4_0(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q4_0, k, tokens);
}

static void panel_q4_0(const struct work *k, size_t end)
{
    panel_32(&Q4_0, k, end);
}

static void widen_q4_0_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q4_0, block, part, out);
}

static void product_q4_1(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q4_1, k, tokens);
}

static void panel_q4_1(const struct work *k, size_t end)
{
    panel_32(&Q4_1, k, end);
}

static void widen_q4_1_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q4_1, block, part, out);
}

static void product_q5_0(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q5_0, k, tokens);
}

static void panel_q5_0(const struct work *k, size_t end)
{
    panel_32(&Q5_0, k, end);
}

static void widen_q5_0_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q5_0, block, part, out);
}

static void product_q5_1(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q5_1, k, tokens);
}

static void panel_q5_1(const struct work *k, size_t end)
{
    panel_32(&Q5_1, k, end);
}

static void widen_q5_1_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q5_1, block, part, out);
}

static void product_q8_0(const struct work *k, size_t tokens)
{
    any_tokens_32(&Q8_0, k, tokens);
}

static void panel_q8_0(const struct work *k, size_t end)
{
    panel_32(&Q8_0, k, end);
}

static void widen_q8_0_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&Q8_0, block, part, out);
}

static void product_iq4_nl(const struct work *k, size_t tokens)
{
    any_tokens_32(&IQ4_NL, k, tokens);
}

static void panel_iq4_nl(const struct work *k, size_t end)
{
    panel_32(&IQ4_NL, k, end);
}

static void widen_iq4_nl_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&IQ4_NL, block, part, out);
}

static void product_mxfp4(const struct work *k, size_t tokens)
{
    any_tokens_32(&MXFP4, k, tokens);
}

static void panel_mxfp4(const struct work *k, size_t end)
{
    panel_32(&MXFP4, k, end);
}

static void widen_mxfp4_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_32(&MXFP4, block, part, out);
}

static void product_q2_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q2_K, k, tokens);
}

static void alone_q2_k(const struct work *k)
{
    alone_256(&Q2_K, k);
}

static void panel_q2_k(const struct work *k, size_t end)
{
    panel_256(&Q2_K, group_q2_k, k, end);
}

static void widen_q2_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q2_K, block, part, out);
}

static void product_q3_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q3_K, k, tokens);
}

static void panel_q3_k(const struct work *k, size_t end)
{
    panel_256(&Q3_K, group_q3_k, k, end);
}

static void widen_q3_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q3_K, block, part, out);
}

static void product_q4_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q4_K, k, tokens);
}

static void alone_q4_k(const struct work *k)
{
    alone_256(&Q4_K, k);
}

static void panel_q4_k(const struct work *k, size_t end)
{
    panel_256(&Q4_K, group_q4_k, k, end);
}

static void widen_q4_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q4_K, block, part, out);
}

static void product_q5_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q5_K, k, tokens);
}

static void alone_q5_k(const struct work *k)
{
    alone_256(&Q5_K, k);
}

static void panel_q5_k(const struct work *k, size_t end)
{
    panel_256(&Q5_K, group_q4_k, k, end);
}

static void widen_q5_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q5_K, block, part, out);
}

static void product_q6_k(const struct work *k, size_t tokens)
{
    any_tokens_256(&Q6_K, k, tokens);
}

static void alone_q6_k(const struct work *k)
{
    alone_256(&Q6_K, k);
}

static void panel_q6_k(const struct work *k, size_t end)
{
    panel_256(&Q6_K, group_q6_k, k, end);
}

static void widen_q6_k_tile(const uint8_t *block, size_t part, float *out)
{
    widen_block_256(&Q6_K, block, part, out);
}

static void product_iq4_xs(const struct work *k, size_t tokens)
{
    any_tokens_256(&IQ4_XS, k, tokens);
}

static void alone_iq4_xs(const struct work *k)
{
    alone_256(&IQ4_XS, k);
}

static void panel_iq4_xs(const struct work *k, size_t end)
{
    panel_256(&IQ4_XS, group_iq4_xs, k, end);
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

typedef void panel_fn(const struct work *k, size_t end);

typedef void alone_fn(const struct work *k);

/* Indexed by weight type. Float types have no `widen`: their product is the float path itself. */
static const struct {
    product_fn *product;
    panel_fn *panel;
    widen_tile_fn *widen;
    alone_fn *alone; /* one token, where the tier is IN_ORDER; NULL: product */
} PRODUCTS[WEIGHT_TYPES] = {
    [WEIGHT_F32] = { product_f32, NULL, NULL, NULL },
    [WEIGHT_F16] = { product_f16, NULL, NULL, NULL },
    [WEIGHT_BF16] = { product_bf16, NULL, NULL, NULL },
    [WEIGHT_Q4_0] = { product_q4_0, panel_q4_0, widen_q4_0_tile, NULL },
    [WEIGHT_Q4_1] = { product_q4_1, panel_q4_1, widen_q4_1_tile, NULL },
    [WEIGHT_Q5_0] = { product_q5_0, panel_q5_0, widen_q5_0_tile, NULL },
    [WEIGHT_Q5_1] = { product_q5_1, panel_q5_1, widen_q5_1_tile, NULL },
    [WEIGHT_Q8_0] = { product_q8_0, panel_q8_0, widen_q8_0_tile, NULL },
    [WEIGHT_IQ4_NL] = { product_iq4_nl, panel_iq4_nl, widen_iq4_nl_tile, NULL },
    [WEIGHT_MXFP4] = { product_mxfp4, panel_mxfp4, widen_mxfp4_tile, NULL },
    [WEIGHT_Q2_K] = { product_q2_k, panel_q2_k, widen_q2_k_tile, alone_q2_k },
    [WEIGHT_Q3_K] = { product_q3_k, panel_q3_k, widen_q3_k_tile, NULL },
    [WEIGHT_Q4_K] = { product_q4_k, panel_q4_k, widen_q4_k_tile, alone_q4_k },
    [WEIGHT_Q5_K] = { product_q5_k, panel_q5_k, widen_q5_k_tile, alone_q5_k },
    [WEIGHT_Q6_K] = { product_q6_k, panel_q6_k, widen_q6_k_tile, alone_q6_k },
    [WEIGHT_IQ4_XS] = { product_iq4_xs, panel_iq4_xs, widen_iq4_xs_tile, alone_iq4_xs },
};

/* Tokens in runs whose values stay in the second cache while all tiles pass, tiles in groups of UNITS that stay in the
 * first while the run's tokens pass. */
static void each_float(product_fn *product, const matrix *w, const activations *x, float *out, size_t out_stride,
                       size_t tile_begin, size_t tile_end)
{
    struct work k = { .w = w, .x = x, .out = out, .out_stride = out_stride };
    size_t run = max_size(CHUNK_BYTES / (4 * x->cols) / TOKENS * TOKENS, TOKENS);
    for (size_t first = 0; first < x->tokens; first += run) {
        size_t end = min_size(first + run, x->tokens);
        for (size_t unit = tile_begin * PARTS; unit < tile_end * PARTS; unit += UNITS) {
            take_units(&k, unit, tile_end * PARTS, UNITS);
            for (k.token = first; k.token < end;) {
                size_t tokens = group_tokens(end - k.token, TOKENS);
                product(&k, tokens);
                k.token += tokens;
            }
        }
    }
}

/* A tile after the other meets all tokens: they are few, and their codes stay in the second cache. */
static void each_tile(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                      size_t tile_end)
{
    struct work k = { .w = w, .x = x, .out = out, .out_stride = out_stride };
    product_fn *product = PRODUCTS[w->type].product;
    alone_fn *alone = IN_ORDER ? PRODUCTS[w->type].alone : NULL;
    for (size_t tile = tile_begin; tile < tile_end; tile++) {
        take_units(&k, tile * PARTS, tile_end * PARTS, PARTS);
        for (k.token = 0; k.token < x->tokens;) {
            size_t tokens = group_tokens(x->tokens - k.token, FEW);
            if (tokens == 1 && alone != NULL) alone(&k);
            else product(&k, tokens);
            k.token += tokens;
        }
    }
}

/* Many tokens, with panels: runs of one length, because expanding is paid once a run. */
static void each_panel(panel_fn *panel, const matrix *w, const activations *x, float *out, size_t out_stride,
                       size_t tile_begin, size_t tile_end)
{
    struct work k = { .w = w, .x = x, .out = out, .out_stride = out_stride };
    size_t most = min_size(max_size(RUN_BYTES / x->cols, PANEL_LEAST), PANEL_MOST);
    size_t run = ceil_div(x->tokens, ceil_div(x->tokens, most));
    for (size_t first = 0; first < x->tokens; first += run)
        for (size_t unit = tile_begin * PARTS; unit < tile_end * PARTS; unit += UNITS) {
            take_units(&k, unit, tile_end * PARTS, UNITS);
            size_t end = min_size(first + run, x->tokens);
            k.token = min_size(first, end - TOKENS);
            panel(&k, end);
        }
}

static void matmul_int(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                       size_t tile_end)
{
    if (x->tokens >= PANEL_LEAST && (!RAISED || x->raised != NULL))
        each_panel(PRODUCTS[w->type].panel, w, x, out, out_stride, tile_begin, tile_end);
    else
        each_tile(w, x, out, out_stride, tile_begin, tile_end);
}

static void matmul_float(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                         size_t tile_end)
{
    each_float(PRODUCTS[w->type].product, w, x, out, out_stride, tile_begin, tile_end);
}

static void matmul_widened(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                           size_t tile_end)
{
    const struct weight_kind *kind = weight_kind(w->type);
    struct work k = { .w = w, .x = x, .out = out, .out_stride = out_stride };
    for (size_t tile = tile_begin; tile < tile_end; tile++)
        product_widened(PRODUCTS[w->type].widen, (size_t)kind->block_bytes * TILE_ROWS, kind->block_values, &k, tile);
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
