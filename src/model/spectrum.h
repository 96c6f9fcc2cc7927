/* The singular values of a small matrix: what a router could be compressed to. For reports, not for results: f64, no
 * promise of bits. */
#ifndef HEARTH_MODEL_SPECTRUM_H
#define HEARTH_MODEL_SPECTRUM_H

#include "base/arena.h"
#include "base/team.h"

/* out[rows], falling: singular values of `w`, rows x cols f32, by the eigenvalues of w w^T (Householder's reduction,
 * then QL with implicit shifts: Golub, Van Loan, "Matrix Computations", 8.3). rows <= cols. Errors: ERR_MEMORY. */
bool spectrum_of(const float *w, size_t rows, size_t cols, double *out, team *t, arena *scratch, err *e);

/* How many directions the matrix has, weighed by their squares: (sum s^2)^2 / sum s^4. */
double spectrum_rank(const double *values, size_t count);

/* The least number of values that hold `part` of the sum of squares. */
size_t spectrum_holds(const double *values, size_t count, double part);

#endif
