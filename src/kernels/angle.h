/* f64 functions for what is made once before the first token: rope tables, their scalings, slopes of biases. Made from
 * + - * / fma and integer operations alone, so the bits of a table are the same on every CPU and with every libm.
 *
 *   function       largest error (measured, tests/kernels/math.c)   domain and special cases
 *   exp_f64        0.66 ulp                                         > 709.79: inf; < -745.14: 0
 *   log_f64        0.51 ulp                                         0: -inf; below 0: NaN; inf: inf
 *   pow_f64        0.66 ulp                                         x > 0 finite; else NaN (0^y: 0 for y > 0)
 *   sin, cos_f64   0.76 ulp                                         |x| <= 2^24 rad (ANGLE_MAX); further away: NaN */
#ifndef HEARTH_KERNELS_ANGLE_H
#define HEARTH_KERNELS_ANGLE_H

/* The farthest angle: CTX_TOK_MAX positions at one radian each. */
#define ANGLE_MAX 0x1p24

double exp_f64(double x);
double log_f64(double x);
double pow_f64(double x, double y);
double sin_f64(double x);
double cos_f64(double x);

#endif
