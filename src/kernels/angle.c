/* f64 elementary functions: see angle.h. Intermediate values are pairs (high, low) with |low| <= ulp(high) / 2, so that
 * the one rounding that counts is the last. Sources: Dekker, "A floating-point technique for extending the available
 * precision", Numer. Math. 18 (1971); Cody and Waite, "Software manual for the elementary functions" (1980), for the
 * reductions by a constant cut into parts. Series are Taylor's: their coefficients need no table, and the ranges are
 * small enough. */
#include "kernels/angle.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct pair {
    double high, low;
} pair;

/* a + b exactly (Knuth). */
static pair sum_of(double a, double b)
{
    double s = a + b, of_b = s - a, of_a = s - of_b;
    return (pair){ s, (a - of_a) + (b - of_b) };
}

/* a + b exactly where |a| >= |b| (Dekker). */
static pair join(double a, double b)
{
    double s = a + b;
    return (pair){ s, b - (s - a) };
}

static pair pair_add(pair a, pair b)
{
    pair s = sum_of(a.high, b.high);
    return join(s.high, s.low + (a.low + b.low));
}

static pair pair_mul(pair a, pair b)
{
    double p = a.high * b.high, error = fma(a.high, b.high, -p);
    return join(p, error + (a.high * b.low + a.low * b.high));
}

static pair pair_div(pair a, pair b)
{
    double q = a.high / b.high, rest = fma(-q, b.high, a.high);
    return join(q, ((rest + a.low) - q * b.low) / b.high);
}

static double two_to(int n) /* -1022..1023 */
{
    uint64_t bits = (uint64_t)(n + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double nearest(double x) /* to even, |x| < 2^51 */
{
    return (x + 0x1.8p52) - 0x1.8p52;
}

/* ln 2 in three parts; n * the first two is exact for |n| < 2^20. */
static const double LN2[3] = { 0x1.62e42feep-1, 0x1.a39ef356p-33, 0x1.93c7673007e5fp-65 };

/* e^(x.high + x.low). The series of (e^r - 1 - r) / r^2 ends at r^12 / 14!, where the rest is below 2^-61. */
static double exp_pair(pair x)
{
    if (x.high != x.high) return x.high;
    if (x.high > 710) return INFINITY;
    if (x.high < -746) return 0;
    double n = nearest(x.high * 0x1.71547652b82fep+0);
    pair r = pair_add(sum_of(fma(-n, LN2[0], x.high), -n * LN2[1]), (pair){ x.low - n * LN2[2], 0 });
    double p = 1.0 / 87178291200.0;
    static const double factorial[12] = { 6227020800.0, 479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0,
                                          5040.0,       720.0,       120.0,      24.0,      6.0,      2.0 };
    for (int i = 0; i < 12; i++) p = fma(p, r.high, 1.0 / factorial[i]);
    pair one = join(1.0, r.high);
    double y = one.high + (one.low + (r.low + r.high * r.high * p));
    int whole = (int)n, half = whole / 2; /* two factors: a denormal result is rounded a second time */
    return y * two_to(half) * two_to(whole - half);
}

/* ln x for a finite x > 0: x = 2^k m, m in [sqrt(1/2), sqrt 2); ln m = 2 (s + s^3 / 3 + ...), s = (m - 1) / (m + 1).
 * |s| < 0.172, so the series ends at s^23 / 23 (rest below 2^-65 of the whole); its first two terms are pairs. */
static pair log_pair(double x)
{
    int k = 0;
    if (x < 0x1p-1022) x *= 0x1p54, k = -54;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    k += (int)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m >= 0x1.6a09e667f3bcdp+0) m *= 0.5, k++;
    pair s = pair_div((pair){ m - 1, 0 }, sum_of(m, 1)), z = pair_mul(s, s);
    double p = 1.0 / 23;
    for (int odd = 21; odd >= 5; odd -= 2) p = fma(p, z.high, 1.0 / odd);
    static const pair third = { 0x1.5555555555555p-2, 0x1.5555555555555p-56 };
    pair tail = pair_mul(pair_mul(s, z), pair_add(third, (pair){ z.high * p, 0 }));
    pair ln_m = pair_add(s, tail);
    ln_m = (pair){ 2 * ln_m.high, 2 * ln_m.low };
    pair shift = sum_of(k * LN2[0], k * LN2[1]);
    return pair_add((pair){ shift.high, shift.low + k * LN2[2] }, ln_m);
}

double exp_f64(double x)
{
    return exp_pair((pair){ x, 0 });
}

double log_f64(double x)
{
    if (x == 0) return -INFINITY;
    if (!(x > 0)) return NAN;
    return x < INFINITY ? log_pair(x).high : x;
}

double pow_f64(double x, double y)
{
    if (x == 0 && y > 0) return 0;
    if (!(x > 0 && x < INFINITY && fabs(y) < INFINITY)) return NAN;
    pair ln = log_pair(x);
    double product = ln.high * y;
    if (!(fabs(product) < 1000)) return product > 0 ? INFINITY : 0;
    return exp_pair(join(product, fma(ln.high, y, -product) + ln.low * y));
}

/* x - n pi/2 as a pair, n the nearest integer to x / (pi/2), |n| < 2^24. The parts of pi/2 have 28 bits, so their
 * products with n are exact; the fourth has what is left. Returns n mod 4. */
static unsigned quarter(double x, pair *r)
{
    static const double HALF_PI[4] = { 0x1.921fb54p+0, 0x1.10b461p-30, 0x1.a62633p-58, 0x1.45c06e0e68948p-86 };
    double n = nearest(x * 0x1.45f306dc9c883p-1);
    pair first = sum_of(fma(-n, HALF_PI[0], x), -n * HALF_PI[1]);
    pair rest = sum_of(-n * HALF_PI[2], -n * HALF_PI[3]);
    *r = pair_add(first, rest);
    return (unsigned)(int64_t)n & 3;
}

/* sin(r) to r^17 / 17! and cos(r) to r^18 / 18!, |r| <= pi / 4: the rests are below 2^-63 and 2^-68. */
static double sin_part(pair r)
{
    static const double factorial[7] = { 1307674368000.0, 6227020800.0, 39916800.0, 362880.0, 5040.0, 120.0, 6.0 };
    double z = r.high * r.high, p = 1.0 / 355687428096000.0;
    for (int i = 0; i < 7; i++) p = fma(-p, z, 1.0 / factorial[i]);
    return r.high + (r.low * (1 - 0.5 * z) - r.high * z * p);
}

static double cos_part(pair r)
{
    static const double factorial[7] = { 20922789888000.0, 87178291200.0, 479001600.0, 3628800.0,
                                         40320.0,          720.0,         24.0 };
    double z = r.high * r.high, p = 1.0 / 6402373705728000.0;
    for (int i = 0; i < 7; i++) p = fma(-p, z, 1.0 / factorial[i]);
    double z_low = fma(r.high, r.high, -z);
    pair one = join(1.0, -0.5 * z);
    return one.high + (one.low + (z * z * p - r.high * r.low - 0.5 * z_low));
}

/* sin(x + turns * pi / 2). */
static double turned(double x, unsigned turns)
{
    if (!(fabs(x) <= ANGLE_MAX)) return NAN;
    pair r;
    turns += quarter(x, &r);
    double y = turns & 1 ? cos_part(r) : sin_part(r);
    return turns & 2 ? -y : y;
}

double sin_f64(double x)
{
    return turned(x, 0);
}

double cos_f64(double x)
{
    return turned(x, 1);
}
