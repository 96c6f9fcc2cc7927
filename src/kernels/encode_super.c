/* Super-blocks of 256 values: one or two f16 scales for all, small integer scales for parts.
 *
 * The ideal scale of each part is found first, then the f16 scale that fits them all; rounding the parts' scales to
 * integers afterwards would lose what was found, so integers are chosen by the error that they leave, and the f16
 * scales are solved for again with the integers fixed. Two rounds of that are enough (tests/kernels/encode.c). */
#include "kernels/encode_super.h"

#include "base/le.h"
#include "kernels/encode_fit.h"

#include <stdbool.h>
#include <string.h>

enum { SUPER = 256, ROUNDS = 3 };

/* ---- Q4_K, Q5_K: 8 parts of 32; x = d * scale * q - d_min * min; scale and min are integers in 0..63 ---- */

enum { PARTS = 8, PART = 32, SUB_MAX = 63 };

typedef struct with_min {
    uint16_t d, d_min; /* f16 */
    double scale[PARTS], min[PARTS];
    double q[SUPER];
    double error;
} with_min;

static span part_of(const double *x, const double *w, size_t part, size_t values, double low, double high)
{
    return (span){ x + part * values, w + part * values, values, low, high };
}

/* The minimum that is best for the codes q under scale s: the weighted mean of what is left over. */
static double min_for(const span *p, double s, const double *q)
{
    double left = 0.0, w = 0.0;
    for (size_t i = 0; i < p->n; i++) {
        left += p->w[i] * (s * q[i] - p->x[i]);
        w += p->w[i];
    }
    return w > 0 ? left / w : 0.0;
}

static double sub_near(double v, double d)
{
    return d > 0 ? nearest(clamp(v / d, 0, SUB_MAX)) : 0.0;
}

/* The best integers of one part near its ideal s and m, under the scales d and d_min. */
static double choose_with_min(const span *p, double s, double m, double d, double d_min, double *scale, double *min)
{
    double center = sub_near(s, d), best = -1.0, q[PART];
    for (double try = clamp(center - 1, 0, SUB_MAX); try <= clamp(center + 1, 0, SUB_MAX); try++) {
        fit_codes(p, d * try, m, q);
        double around = sub_near(min_for(p, d * try, q), d_min);
        for (double low = clamp(around - 1, 0, SUB_MAX); low <= clamp(around + 1, 0, SUB_MAX); low++) {
            double error = fit_codes(p, d * try, d_min * low, NULL);
            if (best >= 0 && error >= best) continue;
            best = error;
            *scale = try;
            *min = low;
        }
    }
    return best;
}

/* d and d_min for fixed integers and codes: two linear equations, or one where a minimum is nowhere used. */
static void solve_with_min(const double *x, const double *w, const with_min *c, double *d, double *d_min)
{
    double ss = 0.0, sm = 0.0, mm = 0.0, xs = 0.0, xm = 0.0;
    for (size_t i = 0; i < SUPER; i++) {
        double s = c->scale[i / PART] * c->q[i], m = c->min[i / PART];
        ss += w[i] * s * s;
        sm += w[i] * s * m;
        mm += w[i] * m * m;
        xs += w[i] * x[i] * s;
        xm += w[i] * x[i] * m;
    }
    double det = ss * mm - sm * sm;
    if (det > 0) {
        *d = (xs * mm - xm * sm) / det;
        *d_min = (xs * sm - xm * ss) / det;
    } else if (ss > 0) {
        *d = xs / ss;
    }
}

/* A positive scale's f16, at least the smallest there is: with it, tiny weights keep what a zero would lose. */
static uint16_t f16_at_least(double v)
{
    uint16_t bits = v > 0 ? f16_near(v) : 0;
    return v > 0 && bits == 0 ? 1 : bits;
}

/* Integers and codes of every part under c->d and c->d_min. */
static void choose_parts(const double *x, const double *w, double high, const double *s, const double *m, with_min *c)
{
    double d = f16_value(c->d), d_min = f16_value(c->d_min);
    c->error = 0.0;
    for (size_t i = 0; i < PARTS; i++) {
        span p = part_of(x, w, i, PART, 0, high);
        c->error += choose_with_min(&p, s[i], m[i], d, d_min, &c->scale[i], &c->min[i]);
        fit_codes(&p, d * c->scale[i], d_min * c->min[i], c->q + i * PART);
    }
}

static void search_with_min(const double *x, const double *w, double high, with_min *best)
{
    double s[PARTS], m[PARTS], s_max = 0.0, m_max = 0.0;
    for (size_t i = 0; i < PARTS; i++) {
        span p = part_of(x, w, i, PART, 0, high);
        fit_scale_min(&p, &s[i], &m[i]);
        s_max = s[i] > s_max ? s[i] : s_max;
        m_max = m[i] > m_max ? m[i] : m_max;
    }
    with_min c = { .d = f16_at_least(s_max / SUB_MAX), .d_min = f16_at_least(m_max / SUB_MAX) };
    for (int round = 0; round < ROUNDS; round++) {
        choose_parts(x, w, high, s, m, &c);
        if (round == 0 || c.error < best->error) *best = c;
        double d = f16_value(c.d), d_min = f16_value(c.d_min);
        solve_with_min(x, w, &c, &d, &d_min);
        uint16_t was_d = c.d, was_min = c.d_min;
        c.d = f16_at_least(d);
        c.d_min = f16_at_least(d_min);
        if (c.d == was_d && c.d_min == was_min) break;
    }
}

/* d f16 | d_min f16 | scales and mins, 6 bits each, in 12 bytes: parts 0..3 take the low bits of bytes 0..3 (scales)
 * and 4..7 (mins); parts 4..7 put their low four bits into bytes 8..11 and the upper two above those of parts 0..3. */
static void put_with_min_head(const with_min *c, uint8_t *out)
{
    uint8_t *sub = out + 4;
    le_put_u16(out, c->d);
    le_put_u16(out + 2, c->d_min);
    for (size_t i = 0; i < 4; i++) {
        unsigned scale = (unsigned)c->scale[i], min = (unsigned)c->min[i];
        unsigned scale_4 = (unsigned)c->scale[i + 4], min_4 = (unsigned)c->min[i + 4];
        sub[i] = (uint8_t)(scale | scale_4 >> 4 << 6);
        sub[i + 4] = (uint8_t)(min | min_4 >> 4 << 6);
        sub[i + 8] = (uint8_t)((scale_4 & 15) | (min_4 & 15) << 4);
    }
}

/* Low four bits of the codes: parts 2k and 2k + 1 share 32 bytes, low and high half. */
static void put_nibbles(const double *q, uint8_t *out)
{
    for (size_t i = 0; i < SUPER / 2; i++) {
        const double *pair = q + i / PART * 2 * PART + i % PART;
        out[i] = (uint8_t)(((unsigned)pair[0] & 15) | ((unsigned)pair[PART] & 15) << 4);
    }
}

/* head 16 | nibbles 128 */
void encode_q4_k(const double *x, const double *w, uint8_t *out)
{
    with_min best;
    search_with_min(x, w, 15, &best);
    put_with_min_head(&best, out);
    put_nibbles(best.q, out + 16);
}

/* head 16 | fifth bits 32: bit p of byte i is that of value i of part p | nibbles 128 */
void encode_q5_k(const double *x, const double *w, uint8_t *out)
{
    with_min best;
    search_with_min(x, w, 31, &best);
    put_with_min_head(&best, out);
    memset(out + 16, 0, PART);
    for (size_t i = 0; i < SUPER; i++) out[16 + i % PART] |= (uint8_t)((unsigned)best.q[i] >> 4 << i / PART);
    put_nibbles(best.q, out + 48);
}

/* ---- Q6_K: 16 parts of 16; x = d * scale * q; scale an i8, q in -32..31 ---- */

enum { PARTS_6 = 16, PART_6 = 16 };

typedef struct signed_scales {
    uint16_t d;
    double scale[PARTS_6];
    double q[SUPER];
    double error;
} signed_scales;

static void choose_parts_6(const double *x, const double *w, const double *s, signed_scales *c)
{
    double d = f16_value(c->d);
    c->error = 0.0;
    for (size_t i = 0; i < PARTS_6; i++) {
        span p = part_of(x, w, i, PART_6, -32, 31);
        double center = d > 0 || d < 0 ? nearest(clamp(s[i] / d, -128, 127)) : 0.0, best = -1.0;
        for (double try = clamp(center - 1, -128, 127); try <= clamp(center + 1, -128, 127); try++) {
            double error = fit_codes(&p, d * try, 0.0, NULL);
            if (best >= 0 && error >= best) continue;
            best = error;
            c->scale[i] = try;
        }
        c->error += fit_codes(&p, d * c->scale[i], 0.0, c->q + i * PART_6);
    }
}

/* d for fixed scales and codes. */
static double solve_6(const double *x, const double *w, const signed_scales *c)
{
    double ss = 0.0, xs = 0.0;
    for (size_t i = 0; i < SUPER; i++) {
        double s = c->scale[i / PART_6] * c->q[i];
        ss += w[i] * s * s;
        xs += w[i] * x[i] * s;
    }
    return ss > 0 ? xs / ss : 0.0;
}

static void search_6(const double *x, const double *w, signed_scales *best)
{
    double s[PARTS_6], top = 0.0;
    for (size_t i = 0; i < PARTS_6; i++) {
        span p = part_of(x, w, i, PART_6, -32, 31);
        s[i] = fit_scale(&p);
        if ((s[i] < 0 ? -s[i] : s[i]) > (top < 0 ? -top : top)) top = s[i];
    }
    /* The largest scale meets -128: the end with one integer more. */
    signed_scales c = { .d = top > 0 ? f16_at_least(top / 128) | 0x8000 : f16_at_least(top / -128) };
    for (int round = 0; round < ROUNDS; round++) {
        choose_parts_6(x, w, s, &c);
        if (round == 0 || c.error < best->error) *best = c;
        uint16_t was = c.d;
        c.d = f16_near(solve_6(x, w, &c));
        if (c.d == was) break;
    }
}

/* Two halves of 128 values, each 64 bytes of low four bits and 32 of upper two. With codes + 32 of quarters a b c d:
 *   low[i]  a | c << 4   low[i + 32]  b | d << 4   upper[i]  a | b << 2 | c << 4 | d << 6
 * low 128 | upper 64 | scales i8 16 | d f16 */
void encode_q6_k(const double *x, const double *w, uint8_t *out)
{
    signed_scales best;
    search_6(x, w, &best);
    for (size_t half = 0; half < 2; half++)
        for (size_t i = 0; i < 32; i++) {
            unsigned code[4];
            for (size_t k = 0; k < 4; k++) code[k] = (unsigned)((int)best.q[half * 128 + k * 32 + i] + 32);
            uint8_t *low = out + half * 64 + i;
            low[0] = (uint8_t)((code[0] & 15) | (code[2] & 15) << 4);
            low[32] = (uint8_t)((code[1] & 15) | (code[3] & 15) << 4);
            out[128 + half * 32 + i] =
                (uint8_t)(code[0] >> 4 | code[1] >> 4 << 2 | code[2] >> 4 << 4 | code[3] >> 4 << 6);
        }
    for (size_t i = 0; i < PARTS_6; i++) out[192 + i] = (uint8_t)(int8_t)best.scale[i];
    le_put_u16(out + 208, best.d);
}
