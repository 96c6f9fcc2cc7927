/* The two elementary functions that training needs, for either kind of number: kernels/math.h's in f32; libm's in f64,
 * where nothing but a gradient check is computed. */
#ifndef HEARTH_TRAIN_OPS_MATH_H
#define HEARTH_TRAIN_OPS_MATH_H

#include "base/real.h"
#include "kernels/math.h"

static inline real ops_exp(real x)
{
    return _Generic(x, float: exp_f32, double: exp)(x);
}

static inline real ops_log(real x)
{
    return _Generic(x, float: log_f32, double: log)(x);
}

#endif
