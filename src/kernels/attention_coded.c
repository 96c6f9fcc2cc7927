/* The definition of attention over coded pages: attention.h's coded_span. Rows, spans and what they leave are as there;
 * a span is taken in groups of four pages, cut at absolute positions, each with one maximum of its own.
 *
 *   log tiers
 *   query   m = max|q|; q16 = round(q * (32767 / m)); D = m / 32767 * (scale * log2 e)
 *   page    t[c] = (q16[c] * (128 * scale[c]) + 2^14) >> 15; f = integer part of f32 127 * 2^15 / max(max|t|, 128);
 *           q8[c] = (t[c] * f + 2^14) >> 15
 *   score   isum = sum of q8[c] * (level + offset); osum = sum of q8[c] * offset;
 *           msum = sum of ((t[c] + 4) >> 3) * mean[c]; all exact; P = D * (unit * 32768);
 *           A = P * ((32768 / f) * (1 / UNIT)); s = fma((float)isum, A, (P * (1/8)) * (float)msum - A * (float)osum)
 *   group   S = the largest value scale that the pages of which something is seen could have; L = 2^-23 * (float)(bits
 *           of the value scale - bits of S), at least -32: within 0.087 of log2(scale / S). M = largest s + L seen, so
 *           that weights reach their codes' range; p = 2^(s - M), which may be over 1; sum = 16 partial sums of p by
 *           position modulo 16, then the tree
 *   values  w8 = round(p * (value scale * (240 / S))), at most 255; isum[c] = sum of w8 * level, exact;
 *           result[c] = (float)isum[c] * (S * (1 / UNIT / 240))
 *   token tiers
 *   query   as above with 8127 for 32767
 *   score   s = 0; for each block b of 32 channels: s = s + (float)(sum of q14 * code) * key scale[b]; then s * D
 *   group   as above with L = 0
 *   values  for each block of channels its own w, W, and w14 = round(w * (16383 / W)); result[c] = (float)isum * (W /
 *           16383)
 *   both
 *   cap     where soft_cap > 0, D is without log2 e: s = (soft_cap * tanh(s / soft_cap)) * log2 e
 *   join    groups of a span in order: where M > m: a = 2^(m - M), else b = 2^(M - m); sum = sum * a + group's * b,
 *           out[c] = out[c] * a + (float)isum * (factor * b). At the end max = m * ln 2.
 *
 * A query that is not finite makes the sum NaN. Where max|q|, S or W is below 2^-100 it counts as 0. */
#include "kernels/coded_math.h"
#include "kernels/tiers.h"

#include "base/checked.h"
#include "base/le.h"

#include <assert.h>
#include <stdlib.h>

enum { LANES = 16 };

/* A row's state within a span. */
struct state {
    const struct attention_span *s;
    const struct attention_row *row;
    const struct coded_kind *kind;
    struct coded_layout lay;
    int query[CODED_KEYS_MAX];
    float d;   /* D of the head comment */
    float max; /* in powers of two, like all scores here */
    bool empty;
};

static int round_even(float x)
{
    return (int)((x + ROUND_MAGIC) - ROUND_MAGIC);
}

/* A weight's code; 0 for what is no number, which has made the row's sum none either. */
static int weight_code(float x)
{
    return x > 0.0f ? round_even(x) : 0;
}

/* (a * b + 2^14) >> 15: the rounding of pmulhrsw and sqrdmulh. */
static int times_q15(int a, int b)
{
    return (a * b + (1 << 14)) >> 15;
}

static void prepare_query(struct state *x)
{
    const struct attention_span *s = x->s;
    float most = 0.0f, check = 0.0f, range = x->kind->log ? (float)LOG_QUERY_MOST : (float)TOKEN_QUERY_MOST;
    for (size_t c = 0; c < s->key_dim; c++) {
        most = fabsf(x->row->q[c]) > most ? fabsf(x->row->q[c]) : most;
        check = check + x->row->q[c] * 0.0f;
    }
    float inverse = most < LEAST_SCALE ? 0.0f : range / most;
    for (size_t c = 0; c < s->key_dim; c++)
        x->query[c] = check == 0.0f ? round_even(x->row->q[c] * inverse) : 0;
    x->d = most < LEAST_SCALE ? 0.0f : most / range * (s->soft_cap > 0.0f ? s->scale : s->scale * LOG2_E);
    if (check != 0.0f) x->d = NAN;
}

/* ---- scores ---- */

/* Token tiers. */
static unsigned key_code(const struct state *x, const uint8_t *page, size_t c, size_t at)
{
    return coded_get(x->kind->k_bits, page + x->lay.k_codes, x->lay.key_pad / 4, c / 4, at / 16, at % 16, c % 4);
}

static void log_scores(const struct state *x, const uint8_t *page, uint64_t seen, float scores[static PAGE_TOK])
{
    const struct coded_levels *l = coded_levels(x->kind->k_bits);
    const struct coded_layout *lay = &x->lay;
    const uint8_t *means = page + lay->k_means;
    uint8_t slots[LOG_DIM_MAX];
    int t[CODED_KEYS_MAX], codes[CODED_KEYS_MAX] = { 0 }, most = LOG_PRODUCT_LEAST, msum = 0, offsets = 0;
    for (size_t c = 0; c < x->s->key_dim; c++) {
        t[c] = times_q15(x->query[c], page[lay->k_scales + c] << 7);
        most = abs(t[c]) > most ? abs(t[c]) : most;
        int mean = (int8_t)means[c] * 16 + (means[lay->key_pad + c / 32 * 16 + c % 16] >> c % 32 / 16 * 4 & 15);
        msum += times_q15(t[c], MEAN_SHIFT) * mean;
    }
    int f = (int)((float)LOG_RANGE / (float)most);
    for (size_t c = 0; c < x->s->key_dim; c++) codes[c] = times_q15(t[c], f);
    coded_slots(lay, page, slots);
    for (size_t s = 0; s < x->s->key_dim; s++)
        offsets += codes[slots[s]] * (s < lay->boosts ? l->boost_offset : l->offset);
    float p = x->d * (le_f32(page + lay->head) * 32768.0f);
    float a = p * ((32768.0f / (float)f) * l->unit_inverse);
    float b = (p * 0.125f) * (float)msum - a * (float)offsets;
    for (size_t i = 0; i < PAGE_TOK; i++) {
        if ((seen >> i & 1) == 0) continue;
        int sum = offsets;
        for (size_t s = 0; s < x->s->key_dim; s++)
            sum += codes[slots[s]] * coded_key_level(x->kind, lay, page, s, i);
        scores[i] = fmaf((float)sum, a, b);
    }
}

static void token_scores(const struct state *x, const uint8_t *page, uint64_t seen, float scores[static PAGE_TOK])
{
    bool eight = x->kind->k_bits == 8;
    for (size_t i = 0; i < PAGE_TOK; i++) {
        if ((seen >> i & 1) == 0) continue;
        float score = 0.0f;
        for (size_t from = 0; from < x->s->key_dim; from += CODED_BLOCK) {
            int sum = 0;
            for (size_t c = from; c < x->s->key_dim && c < from + CODED_BLOCK; c++) {
                int code = (int)key_code(x, page, c, i);
                sum += x->query[c] * (eight ? code - 128 : 2 * code - 15);
            }
            uint16_t scale = le_u16(page + x->lay.k_scales + 2 * (from / CODED_BLOCK * PAGE_TOK + i));
            score = score + (float)sum * f16_to_f32(scale);
        }
        scores[i] = score * x->d;
    }
}

static void cap_scores(const struct state *x, float scores[static PAGE_TOK])
{
    float cap = x->s->soft_cap;
    for (size_t i = 0; i < PAGE_TOK && cap > 0.0f; i++) scores[i] = (cap * tanh_f32(scores[i] / cap)) * LOG2_E;
}

/* ---- one group ---- */

struct group {
    size_t pages;
    const uint8_t *page[GROUP_PAGES];
    uint64_t seen[GROUP_PAGES];
    float top; /* S; 0 in the token tiers */
    float p[GROUP_TOK];
};

static bool is_seen(const struct group *g, size_t i)
{
    return (g->seen[i / PAGE_TOK] >> i % PAGE_TOK & 1) != 0;
}

static int value_level(const struct state *x, const uint8_t *page, size_t c, size_t at)
{
    unsigned bits = x->kind->v_bits;
    unsigned code = coded_value(bits, page + x->lay.v_codes, x->lay.value_pad, c, at);
    if (x->kind->log) return coded_levels(bits)->levels[code];
    return bits == 8 ? (int8_t)code : 2 * (int)code - 15;
}

static float value_scale(const struct state *x, const uint8_t *page, size_t c, size_t at)
{
    if (x->kind->log)
        return f32_of_bits(le_u32(page + x->lay.head + 4) +
                           ((uint32_t)page[x->lay.v_scales + at] << VALUE_SCALE_SHIFT));
    return f16_to_f32(le_u16(page + x->lay.v_scales + 2 * (c / CODED_BLOCK * PAGE_TOK + at)));
}

/* Channels begin..end-1, out = out * a + result * b: isum of weight codes, times the factor. */
static void group_result(const struct state *x, const struct group *g, const int *codes, size_t begin, size_t end,
                         float a, float factor)
{
    for (size_t c = begin; c < end; c++) {
        uint32_t sum = 0; /* modulo 2^32: where a scale is infinite weights are no numbers, and all tiers wrap alike */
        for (size_t i = 0; i < g->pages * PAGE_TOK; i++)
            if (is_seen(g, i))
                sum += (uint32_t)codes[i] * (uint32_t)value_level(x, g->page[i / PAGE_TOK], c, i % PAGE_TOK);
        x->row->part[c] = x->row->part[c] * a + (float)(int32_t)sum * factor;
    }
}

static void log_values(const struct state *x, const struct group *g, float a, float b)
{
    int codes[GROUP_TOK] = { 0 };
    float top = g->top, unit = coded_levels(x->kind->v_bits)->unit_inverse / (float)LOG_WEIGHT_MOST;
    float by = top < LEAST_SCALE ? 0.0f : (float)LOG_WEIGHT_MOST / top;
    for (size_t i = 0; i < g->pages * PAGE_TOK; i++)
        if (is_seen(g, i))
            codes[i] = weight_code(g->p[i] * (value_scale(x, g->page[i / PAGE_TOK], 0, i % PAGE_TOK) * by));
    group_result(x, g, codes, 0, x->s->value_dim, a, (top < LEAST_SCALE ? 0.0f : top * unit) * b);
}

/* Channels begin..end-1, which share scales. */
static void token_values(const struct state *x, const struct group *g, size_t begin, size_t end, float a, float b)
{
    int codes[GROUP_TOK] = { 0 };
    float w[GROUP_TOK] = { 0 }, most = 0.0f;
    for (size_t i = 0; i < g->pages * PAGE_TOK; i++) {
        if (!is_seen(g, i)) continue;
        w[i] = g->p[i] * value_scale(x, g->page[i / PAGE_TOK], begin, i % PAGE_TOK);
        if (w[i] > most) most = w[i];
    }
    float inverse = most < LEAST_SCALE ? 0.0f : (float)TOKEN_WEIGHT_MOST / most;
    for (size_t i = 0; i < g->pages * PAGE_TOK; i++) codes[i] = weight_code(w[i] * inverse);
    group_result(x, g, codes, begin, end, a, (most < LEAST_SCALE ? 0.0f : most / (float)TOKEN_WEIGHT_MOST) * b);
}

static float top_scale(const struct state *x, const struct group *g)
{
    float top = 0.0f;
    for (size_t page = 0; page < g->pages && x->kind->log; page++)
        if (g->seen[page] != 0) top = fmaxf(top, coded_top_scale(&x->lay, g->page[page]));
    return top;
}

/* L of the head comment. */
static float scale_log(const struct state *x, const struct group *g, size_t i)
{
    if (!x->kind->log) return 0.0f;
    float scale = value_scale(x, g->page[i / PAGE_TOK], 0, i % PAGE_TOK);
    float log = (float)((int32_t)bits_of_f32(scale) - (int32_t)bits_of_f32(g->top)) * 0x1p-23f;
    return log > SCALE_LOG_LEAST ? log : SCALE_LOG_LEAST;
}

static float group_sum(const struct group *g)
{
    float sums[LANES] = { 0 };
    for (size_t i = 0; i < g->pages * PAGE_TOK; i++)
        if (is_seen(g, i)) sums[i % LANES] = sums[i % LANES] + g->p[i];
    for (size_t width = LANES / 2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++) sums[i] = sums[i] + sums[i + width];
    return sums[0];
}

static void group_step(struct state *x, struct group *g)
{
    float most = -INFINITY, a = 1.0f, b = 1.0f, *sum = &x->row->part[x->s->value_dim + 1];
    for (size_t page = 0; page < g->pages; page++) {
        float *scores = g->p + page * PAGE_TOK;
        memset(scores, 0, PAGE_TOK * sizeof *scores);
        if (g->seen[page] == 0) continue;
        if (x->kind->log) log_scores(x, g->page[page], g->seen[page], scores);
        else token_scores(x, g->page[page], g->seen[page], scores);
        cap_scores(x, scores);
    }
    g->top = top_scale(x, g);
    for (size_t i = 0; i < g->pages * PAGE_TOK; i++) {
        if (!is_seen(g, i)) continue;
        float reach = g->p[i] + scale_log(x, g, i);
        most = reach > most ? reach : most;
    }
    for (size_t i = 0; i < g->pages * PAGE_TOK; i++) g->p[i] = exp2_f32(g->p[i] - most);
    if (!x->empty && most > x->max) a = exp2_f32(x->max - most);
    if (!x->empty && most < x->max) b = exp2_f32(most - x->max);
    if (x->empty || most > x->max) x->max = most;
    *sum = *sum * a + group_sum(g) * b;
    if (x->kind->log) log_values(x, g, a, b);
    for (size_t c = 0; !x->kind->log && c < x->s->value_dim; c += CODED_BLOCK)
        token_values(x, g, c, min_size(c + CODED_BLOCK, x->s->value_dim), a, b);
    x->empty = false;
}

static void coded_row(struct state *x)
{
    const struct attention_span *s = x->s;
    memset(x->row->part, 0, (s->value_dim + 2) * sizeof(float));
    prepare_query(x);
    for (size_t first = 0; first < s->pages; first += GROUP_PAGES) {
        struct group g = { .pages = min_size(GROUP_PAGES, s->pages - first) };
        uint64_t any = 0;
        for (size_t page = 0; page < g.pages; page++) {
            uint64_t skip = s->skip != NULL ? s->skip[first + page] : 0;
            g.page[page] = s->k_pages[first + page];
            g.seen[page] = page_range(x->row->lo, x->row->hi, (s->first_page + first + page) * PAGE_TOK) & ~skip;
            any |= g.seen[page];
        }
        while (g.pages > 0 && g.seen[g.pages - 1] == 0) g.pages--;
        if (any != 0) group_step(x, &g);
    }
    if (!x->empty) x->row->part[s->value_dim] = x->max * LN2 + 0.0f;
}

void coded_span_c(const struct attention_span *s)
{
    struct state x = { .s = s, .kind = coded_kind(s->type) };
    const char *why;
    bool good = coded_layout(s->type, s->key_dim, s->value_dim, &x.lay, &why);
    assert(good);
    (void)good;
    for (size_t r = 0; r < s->row_count; r++) {
        x.row = &s->rows[r];
        x.empty = true;
        coded_row(&x);
    }
}
