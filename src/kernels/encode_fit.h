/* The searches that the encoders share. All of them look at values as x = s * q - m: codes q are whole numbers in
 * low..high, s a scale, m a minimum that is subtracted (0 in formats without). */
#ifndef HEARTH_KERNELS_ENCODE_FIT_H
#define HEARTH_KERNELS_ENCODE_FIT_H

#include "kernels/half.h"

#include <stddef.h>

enum { FIT_VALUES_MAX = 256 };

/* Values that share a scale, the weights of their squared errors, and the codes that they may have. */
typedef struct span {
    const double *x, *w;
    size_t n;
    double low, high;
} span;

/* v rounded to the nearest whole number, ties to even; |v| < 2^51. The sum has no bits left for a fraction. */
static inline double nearest(double v)
{
    return v + 0x1.8p52 - 0x1.8p52;
}

static inline double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

/* The binary16 number nearest to v, clamped to +-65,504. Straight from f64: by way of f32 it would round twice. */
uint16_t f16_near(double v);

static inline double f16_value(uint16_t bits)
{
    return (double)f16_to_f32(bits);
}

/* The nearest codes for a scale and a minimum, and the weighted squared error that they leave. q may be NULL. */
double fit_codes(const span *p, double s, double m, double *q);

/* The scale (either sign) with the least error, m being 0. */
double fit_scale(const span *p);

/* Scale and minimum, neither negative, with the least error. low is 0. */
void fit_scale_min(const span *p, double *s, double *m);

/* fit_scale among binary16 numbers: their bits. */
uint16_t fit_scale_f16(const span *p);

#endif
