/* kernels/math.h and angle.h against libm in higher precision: the largest error in units in the last place stays under
 * the bound that the headers state. f32 functions are tried at every 4,001st bit pattern (the stated figures are from
 * all 2^32: `build/release/tests/kernels/math 1`, some minutes), f64 ones at random arguments of every size that a rope
 * table can have. */
#include "base/prng.h"
#include "kernels/math.h"

#include "check.h"

#include <float.h>

/* |got - want| in units of the last place of f32 at `want`; infinity counts as 2^128. */
static double ulp_f32(float got, double want)
{
    if (isnan(want)) return isnan(got) ? 0 : INFINITY;
    if (isinf(got) && fabs(want) > (double)FLT_MAX) return 0;
    int exponent;
    frexp(fabs(want) < 0x1p-126 ? 0x1p-126 : want, &exponent);
    return fabs((double)got - want) / ldexp(1, exponent - 24);
}

static double ulp_f64(double got, long double want)
{
    int exponent;
    frexpl(fabsl(want) < 0x1p-1022L ? 0x1p-1022L : want, &exponent);
    return (double)(fabsl((long double)got - want) / ldexpl(1, exponent - 53));
}

static float slow_log_f32(float x)
{
    return x > 0 ? log_f32(x) : 0;
}

static double reference_log(double x)
{
    return x > 0 ? log(x) : 0;
}

static void f32_functions(uint64_t step)
{
    static const struct {
        const char *name;
        float (*ours)(float);
        double (*reference)(double);
        double bound, from, to; /* of |x| */
    } rows[] = {
        { "exp", exp_f32, exp, 1.01, 0, INFINITY },
        { "tanh", tanh_f32, tanh, 1.34, 0, INFINITY },
        { "erf", erf_f32, erf, 1.22, 0, INFINITY },
        { "log", slow_log_f32, reference_log, 0.501, 0, (double)FLT_MAX },
        { "sin", sin_f32, sin, 0.501, 0, ANGLE_MAX },
        { "cos", cos_f32, cos, 0.501, 0, ANGLE_MAX },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double worst = 0;
        float at = 0;
        for (uint64_t bits = 0; bits >> 32 == 0; bits += step) {
            float x = f32_of_bits((uint32_t)bits);
            if (fabs((double)x) > rows[i].to) continue;
            double error = ulp_f32(rows[i].ours(x), rows[i].reference((double)x));
            if (error > worst) worst = error, at = x;
        }
        CHECK(worst <= rows[i].bound, "%s: %.4f ulp at %a, over %.3f", rows[i].name, worst, (double)at, rows[i].bound);
        CHECK(worst > 0.3, "%s: an error of %.4f ulp means that nothing was compared", rows[i].name, worst);
    }
}

/* The same for values where a function changes its formula or its result its kind. */
static void f32_borders(void)
{
    static const struct {
        const char *says;
        float got_from, want;
        float (*fn)(float);
    } rows[] = {
        { "exp of 0 is 1", 0.0f, 1.0f, exp_f32 },
        { "exp of -0 is 1", -0.0f, 1.0f, exp_f32 },
        { "exp of -inf is 0", -INFINITY, 0.0f, exp_f32 },
        { "exp of inf is inf", INFINITY, INFINITY, exp_f32 },
        { "exp under the range is 0", -104.0f, 0.0f, exp_f32 },
        { "the largest exp is finite", 0x1.62e42ep+6f, 0x1.ffff08p+127f, exp_f32 },
        { "the next one is inf", 0x1.62e43p+6f, INFINITY, exp_f32 },
        { "the smallest denormal", -103.5f, 0x1p-149f, exp_f32 },
        { "tanh keeps -0", -0.0f, -0.0f, tanh_f32 },
        { "tanh of inf is 1", INFINITY, 1.0f, tanh_f32 },
        { "tanh of -100 is -1", -100.0f, -1.0f, tanh_f32 },
        { "tanh of a denormal is itself", 0x1p-149f, 0x1p-149f, tanh_f32 },
        { "erf keeps -0", -0.0f, -0.0f, erf_f32 },
        { "erf of inf is 1", INFINITY, 1.0f, erf_f32 },
        { "erf of -4 is -1", -4.0f, -1.0f, erf_f32 },
        { "log of 0 is -inf", 0.0f, -INFINITY, log_f32 },
        { "log of 1 is 0", 1.0f, 0.0f, log_f32 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float got = rows[i].fn(rows[i].got_from);
        CHECK(bits_of_f32(got) == bits_of_f32(rows[i].want), "%s: %a, want %a", rows[i].says, (double)got,
              (double)rows[i].want);
    }
    CHECK(isnan(exp_f32(NAN)) && isnan(tanh_f32(NAN)) && isnan(erf_f32(NAN)), "NaN goes through");
    CHECK(isnan(log_f32(-1.0f)) && isnan(sin_f32(0x1.1p24f)), "outside of the domain: NaN");
}

static void f64_functions(void)
{
    double worst[5] = { 0 };
    for (uint64_t i = 0; i < 400000; i++) {
        double u = prng_unit(1, 0, i), v = prng_unit(1, 1, i), angle = ldexp(u, (int)(i % 46) - 20) * (i & 1 ? 1 : -1);
        double base = exp2(40 * u - 20), power = 60 * v - 30;
        if (i % 4 == 0) angle = nearbyint(ldexp(u, 24)) * 0x1.921fb54442d18p+0; /* beside a multiple of pi / 2 */
        if (fabs(angle) > ANGLE_MAX) angle = u;
        double errors[5] = { ulp_f64(exp_f64(1400 * v - 700), expl((long double)(1400 * v - 700))),
                             ulp_f64(log_f64(base), logl((long double)base)),
                             ulp_f64(pow_f64(base, power), powl((long double)base, (long double)power)),
                             ulp_f64(sin_f64(angle), sinl((long double)angle)),
                             ulp_f64(cos_f64(angle), cosl((long double)angle)) };
        for (size_t k = 0; k < 5; k++) worst[k] = errors[k] > worst[k] ? errors[k] : worst[k];
    }
    static const char *const names[5] = { "exp", "log", "pow", "sin", "cos" };
    static const double bounds[5] = { 0.70, 0.51, 0.70, 0.78, 0.78 };
    for (size_t k = 0; k < 5; k++) {
        CHECK(worst[k] <= bounds[k], "f64 %s: %.4f ulp", names[k], worst[k]);
        CHECK(worst[k] > 0.3, "f64 %s: an error of %.4f ulp means that nothing was compared", names[k], worst[k]);
    }
    CHECK(exp_f64(0) == 1 && exp_f64(-800) == 0 && isinf(exp_f64(800)), "ends of exp");
    CHECK(exp_f64(-745) == 0x1p-1074, "exp(-745) is the smallest denormal: %a", exp_f64(-745));
    CHECK(log_f64(1) == 0 && isinf(log_f64(0)) && isnan(log_f64(-1)) && log_f64(INFINITY) > 1e300, "ends of log");
    CHECK(pow_f64(10000, 0) == 1 && pow_f64(2, 10) == 1024 && pow_f64(0, 2) == 0, "exact powers");
    CHECK(isnan(pow_f64(-1, 2)) && isnan(sin_f64(INFINITY)) && isnan(cos_f64(ANGLE_MAX * 1.0001)), "outside: NaN");
    CHECK(cos_f64(0) == 1 && sin_f64(0) == 0, "zero");
}

/* Every f16 becomes f32 and comes back; between two neighbours the nearer one, at the middle the even one. */
static void halves(void)
{
    size_t wrong = 0;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = f16_to_f32((uint16_t)h), high = h + 1 < 0x7c00 ? f16_to_f32((uint16_t)(h + 1)) : 65536.0f;
        float middle = (low + high) * 0.5f;
        uint32_t up = h + 1 < 0x7c00 ? h + 1 : h; /* clamped, never infinite */
        wrong += f16_clamped(low) != h || f16_clamped(-low) != (h | 0x8000);
        wrong += f16_clamped(middle) != (h & 1 ? up : h);
        wrong += f16_clamped(f32_of_bits(bits_of_f32(middle) - 1)) != h;
        wrong += f16_clamped(f32_of_bits(bits_of_f32(middle) + 1)) != up;
    }
    CHECK(wrong == 0, "%zu of the f16 round trips are wrong", wrong);
    CHECK(f16_clamped(INFINITY) == 0x7bff && f16_clamped(-1e30f) == 0xfbff && f16_clamped(NAN) == 0x7bff, "clamped");
    CHECK(isinf(f16_to_f32(0x7c00)) && bits_of_f32(f16_to_f32(0x7c01)) == 0x7fc02000, "infinity and a signalling NaN");
}

int main(int argc, char **argv)
{
    f32_functions(argc > 1 ? strtoull(argv[1], NULL, 10) : 4001);
    f32_borders();
    f64_functions();
    halves();
    return check_done();
}
