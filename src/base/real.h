/* The number that training computes in: f32. Where gradients are checked against finite differences the same source is
 * compiled once more with TRAIN_REAL=double (tests/train/double.h), so what is checked is the code that trains. */
#ifndef HEARTH_BASE_REAL_H
#define HEARTH_BASE_REAL_H

#include <math.h>

#ifndef TRAIN_REAL
#define TRAIN_REAL float
#endif
typedef TRAIN_REAL real;

/* a * b + c, rounded once, and the square root: both exact by IEEE 754, so libm's are everybody's. */
static inline real real_fma(real a, real b, real c)
{
    return _Generic(a, float: fmaf, double: fma)(a, b, c);
}

static inline real real_sqrt(real x)
{
    return _Generic(x, float: sqrtf, double: sqrt)(x);
}

#endif
