/* Searches for scales: see encode_fit.h.
 *
 * For given codes the best scale is a least-squares quotient; for a given scale the best codes are the nearest ones.
 * Taking turns goes downhill to a local minimum, so it is started from several scales around the one that just reaches
 * the largest value: larger ones round the middle better, smaller ones cut the extremes off. Measured on Gaussian
 * weights in tests/kernels/encode.c. */
#include "kernels/encode_fit.h"

#include <stdbool.h>
#include <string.h>

/* Turns between codes and scale from one start. A start whose error stays over HOPELESS times the best known is left:
 * on Gaussian weights that takes two thirds of the time away and adds 0.3 % to the error of Q4_K, 0.0 % elsewhere. */
enum { TURNS = 4 };
#define HOPELESS 1.25
#define HUGE_ERROR 1e300 /* f32 values, squared and summed with f32 weights, stay far below */

uint16_t f16_near(double v)
{
    uint16_t sign = v < 0 ? 0x8000 : 0;
    double size = v < 0 ? -v : v;
    if (size >= 65504.0) return sign | 0x7BFF;
    /* Below 2^-14 the unit is 2^-24 throughout; 1024 of them carry into the exponent as they should. */
    if (size < 0x1p-14) return (uint16_t)(sign | (uint16_t)nearest(size * 0x1p24));
    uint64_t bits;
    memcpy(&bits, &size, sizeof bits);
    bits = (bits + ((uint64_t)1 << 41) - 1 + (bits >> 42 & 1)) >> 42;
    return (uint16_t)(sign | (bits - ((uint64_t)(1023 - 15) << 10)));
}

/* The next binary16 number of smaller (-1) or larger (1) size, where there is one. */
static uint16_t f16_beside(uint16_t bits, int step)
{
    unsigned size = bits & 0x7FFF;
    bool at_end = step < 0 ? size == 0 : size == 0x7BFF;
    return at_end ? bits : (uint16_t)(bits + step);
}

double fit_codes(const span *p, double s, double m, double *q)
{
    double inverse = s > 0 || s < 0 ? 1.0 / s : 0.0, error = 0.0;
    for (size_t i = 0; i < p->n; i++) {
        double code = nearest(clamp((p->x[i] + m) * inverse, p->low, p->high));
        double off = p->x[i] + m - s * code;
        error += p->w[i] * (off * off);
        if (q != NULL) q[i] = code;
    }
    return error;
}

/* The scale that is best for the codes q, or 0 where every code is 0. */
static double scale_for(const span *p, const double *q)
{
    double xq = 0.0, qq = 0.0;
    for (size_t i = 0; i < p->n; i++) {
        xq += p->w[i] * p->x[i] * q[i];
        qq += p->w[i] * q[i] * q[i];
    }
    return qq > 0 ? xq / qq : 0.0;
}

/* The value of largest size, with its sign. */
static double extreme(const span *p)
{
    double best = 0.0;
    for (size_t i = 0; i < p->n; i++)
        if ((p->x[i] < 0 ? -p->x[i] : p->x[i]) > (best < 0 ? -best : best)) best = p->x[i];
    return best;
}

double fit_scale(const span *p)
{
    double top = extreme(p), best = 0.0, q[FIT_VALUES_MAX];
    double best_error = fit_codes(p, 0.0, 0.0, NULL);
    if (!(best_error > 0)) return 0.0;
    /* `low` has one code more than `high`: either end may be the one that meets the extreme. */
    for (int sign = -1; sign <= 1; sign += 2)
        for (int step = -4; step <= 6; step++) {
            double s = top / (sign * (0.25 * step - p->low)), last = HUGE_ERROR;
            for (int turn = 0; turn < TURNS; turn++) {
                double error = fit_codes(p, s, 0.0, q);
                if (!(error < last) || error > HOPELESS * best_error) break;
                if (error < best_error) {
                    best_error = error;
                    best = s;
                }
                last = error;
                s = scale_for(p, q);
            }
        }
    return best;
}

uint16_t fit_scale_f16(const span *p)
{
    /* The plain choices, which make the extreme the first or the last code, are tried too: never worse than they. */
    double top = extreme(p);
    uint16_t found = f16_near(fit_scale(p)), best = found;
    const uint16_t tries[] = { found, f16_beside(found, -1), f16_beside(found, 1), f16_near(top / p->low),
                               f16_near(top / p->high) };
    double best_error = fit_codes(p, f16_value(best), 0.0, NULL);
    for (size_t i = 1; i < sizeof tries / sizeof *tries; i++) {
        double error = fit_codes(p, f16_value(tries[i]), 0.0, NULL);
        if (error < best_error) {
            best_error = error;
            best = tries[i];
        }
    }
    return best;
}

/* Scale and minimum that are best for the codes q: two linear equations, or one where the minimum would be negative.
 * False where the codes are all alike and determine nothing. */
static bool scale_min_for(const span *p, const double *q, double *s, double *m)
{
    double w = 0.0, wx = 0.0, wq = 0.0, wxq = 0.0, wqq = 0.0;
    for (size_t i = 0; i < p->n; i++) {
        w += p->w[i];
        wx += p->w[i] * p->x[i];
        wq += p->w[i] * q[i];
        wxq += p->w[i] * p->x[i] * q[i];
        wqq += p->w[i] * q[i] * q[i];
    }
    double det = w * wqq - wq * wq;
    if (!(det > 0)) return false;
    *s = (w * wxq - wx * wq) / det;
    *m = (wq * wxq - wx * wqq) / det;
    if (*m < 0) {
        *m = 0.0;
        *s = wxq / wqq; /* wqq > 0, for det is */
    }
    return *s > 0;
}

void fit_scale_min(const span *p, double *s_out, double *m_out)
{
    double low = 0.0, high = p->x[0], q[FIT_VALUES_MAX];
    for (size_t i = 0; i < p->n; i++) { /* the decoded range starts at -m <= 0 */
        low = p->x[i] < low ? p->x[i] : low;
        high = p->x[i] > high ? p->x[i] : high;
    }
    *s_out = 0.0;
    *m_out = -low;
    double best_error = fit_codes(p, *s_out, *m_out, NULL);
    if (!(high > low)) return; /* one value, and it is the minimum */
    for (int step = -8; step <= 10; step++) {
        double s = (high - low) / (p->high + 0.25 * step), m = -low, last = HUGE_ERROR;
        for (int turn = 0; turn < TURNS; turn++) {
            double error = fit_codes(p, s, m, q);
            if (!(error < last) || error > HOPELESS * best_error) break;
            last = error;
            if (error < best_error) {
                best_error = error;
                *s_out = s;
                *m_out = m;
            }
            if (!scale_min_for(p, q, &s, &m)) break;
        }
    }
}
