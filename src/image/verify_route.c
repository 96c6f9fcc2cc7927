/* The truth of routers' second forms: see image.h. Written from docs/format/image.md, with nothing of the packer's. The
 * sums are f64 over f32 values and exact products, so they are off by less than 2^-40; bounds were rounded up by 2^-20
 * of themselves. */
#include "image/image.h"

#include "base/le.h"

#include <math.h>

/* A row of facts as bytes: norm, first, second, scale. */
struct facts {
    double norm, first, second, scale;
};

static struct facts facts_at(const uint8_t *p)
{
    return (struct facts){ (double)le_f32(p), (double)le_f32(p + 4), (double)le_f32(p + 8), (double)le_f32(p + 12) };
}

static double bf16_at(const uint8_t *p)
{
    uint32_t bits = (uint32_t)le_u16(p) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static bool norm_holds(const uint8_t *row, size_t cols, double bound)
{
    double sum = 0.0;
    for (size_t i = 0; i < cols; i++) sum += (double)le_f32(row + 4 * i) * (double)le_f32(row + 4 * i);
    return sqrt(sum) + 0x1p-54 <= bound && bound < HUGE_VAL;
}

/* One group's distances; also that codes say no more than the weights do, which the bound counts on. */
static bool group_holds(const uint8_t *row, size_t n, double scale, const uint8_t *first, const uint8_t *second,
                        const struct facts *f)
{
    double left1 = 0.0, left2 = 0.0, most = 0.0;
    for (size_t i = 0; i < n; i++) {
        double w = (double)le_f32(row + 4 * i), r = w - scale * (first[i] - 128);
        double rest = second != NULL ? r - scale * (second[i] - 128) / 256.0 : 0.0;
        most = fabs(w) > most ? fabs(w) : most;
        left1 += r * r;
        left2 += rest * rest;
    }
    bool fits = scale >= 0x1p-60 && (scale == 0x1p-60 || scale * 125.0 <= most);
    return fits && sqrt(left1) <= f->first * scale && f->first <= 4.1 &&
           (second == NULL || sqrt(left2) <= f->second * scale);
}

static bool planes_hold(const struct route_shape *s, size_t e, const uint8_t *form, const uint8_t *row)
{
    size_t groups = (s->cols + 63) / 64, stride = (groups + 31) / 32 * 64, facts = (s->experts * 16 + 63) / 64 * 64;
    const uint8_t *scales = form + facts + e * stride, *first = form + facts + s->experts * stride + e * groups * 64;
    const uint8_t *second = s->form == ROUTE_PLANES ? first + s->experts * groups * 64 : NULL;
    struct facts f = facts_at(form + e * 16);
    for (size_t i = s->cols; i < groups * 64; i++)
        if (first[i] != 128 || (second != NULL && second[i] != 128)) return false;
    for (size_t g = 0; g < groups; g++) {
        size_t at = 64 * g, n = s->cols - at < 64 ? s->cols - at : 64;
        if (!group_holds(row + 4 * at, n, bf16_at(scales + 2 * g), first + at, second != NULL ? second + at : NULL, &f))
            return false;
    }
    return norm_holds(row, s->cols, f.norm);
}

static bool rows_hold(const struct route_shape *s, size_t e, const uint8_t *rows, const uint8_t *row)
{
    for (size_t i = 0; i < s->cols; i++)
        if (le_u32(row + 4 * i) != (uint32_t)le_u16(rows + 2 * (e * s->cols + i)) << 16) return false;
    return true;
}

static double int16_at(const uint8_t *p)
{
    uint16_t bits = le_u16(p);
    return (double)(bits < 0x8000 ? (int)bits : (int)bits - 0x10000);
}

static bool factor_holds(const struct route_shape *s, size_t e, const uint8_t *form, const uint8_t *row)
{
    const uint8_t *inner = form + (s->experts * 16 + 63) / 64 * 64;
    const uint8_t *outer = inner + (s->rank * s->cols * 2 + 63) / 64 * 64 + e * 2;
    size_t apart = s->experts * 2;
    struct facts f = facts_at(form + e * 16);
    double left = 0.0, inner_sum = 0.0, outer_sum = 0.0;
    for (size_t j = 0; j < s->rank; j++) outer_sum += int16_at(outer + apart * j) * int16_at(outer + apart * j);
    for (size_t i = 0; i < s->cols; i++) {
        double product = 0.0;
        for (size_t j = 0; j < s->rank; j++) {
            double b = int16_at(inner + 2 * (j * s->cols + i));
            product += int16_at(outer + apart * j) * b;
            inner_sum += b * b;
        }
        double r = (double)le_f32(row + 4 * i) - f.scale * product;
        left += r * r;
    }
    return f.scale > 0.0 && sqrt(left) <= f.first && f.scale * sqrt(outer_sum) * sqrt(inner_sum) <= f.second &&
           f.first < HUGE_VAL && f.second < HUGE_VAL && norm_holds(row, s->cols, f.norm);
}

size_t image_route_wrong(const image *i, const struct image_tensor *t, const struct image_tensor *rows)
{
    const struct route_shape *s = &t->route;
    const uint8_t *form = image_data(i, t), *bf16 = form;
    if (s->form == ROUTE_PLANES_BF16) {
        size_t groups = (s->cols + 63) / 64;
        bf16 += (s->experts * 16 + 63) / 64 * 64 + s->experts * ((groups + 31) / 32 * 64 + groups * 64);
    }
    for (size_t e = 0; e < t->rows; e++) {
        const uint8_t *row = image_data(i, rows) + e * 4 * t->cols;
        bool holds = s->form == ROUTE_FACTOR ? factor_holds(s, e, form, row)
                     : s->form == ROUTE_BF16 ? rows_hold(s, e, form, row)
                                             : planes_hold(s, e, form, row);
        if (!holds || (s->form == ROUTE_PLANES_BF16 && !rows_hold(s, e, bf16, row))) return e;
    }
    return t->rows;
}
