/* Singular values: see spectrum.h. */
#include "model/spectrum.h"

#include <math.h>
#include <stdlib.h>

enum { QL_STEPS_MOST = 60 }; /* of one eigenvalue; three are usual */

struct gram_job {
    const float *w;
    size_t rows, cols;
    double *out;
};

static void gram_task(void *arg, size_t row, size_t thread)
{
    const struct gram_job *job = arg;
    (void)thread;
    for (size_t other = 0; other <= row; other++) {
        const float *a = job->w + row * job->cols, *b = job->w + other * job->cols;
        double sum[4] = { 0 };
        for (size_t i = 0; i < job->cols; i++) sum[i % 4] += (double)a[i] * (double)b[i];
        job->out[row * job->rows + other] = job->out[other * job->rows + row] = sum[0] + sum[1] + sum[2] + sum[3];
    }
}

/* Symmetric a (n x n, destroyed) to diagonal d and off-diagonal e (e[0] unused). */
static void to_tridiagonal(double *a, size_t n, double *d, double *e)
{
    for (size_t i = n - 1; i > 0; i--) {
        double scale = 0, h = 0;
        for (size_t k = 0; k < i; k++) scale += fabs(a[i * n + k]);
        if (i == 1 || scale == 0) {
            e[i] = a[i * n + i - 1];
            continue;
        }
        for (size_t k = 0; k < i; k++) {
            a[i * n + k] /= scale;
            h += a[i * n + k] * a[i * n + k];
        }
        double f = a[i * n + i - 1], g = f >= 0 ? -sqrt(h) : sqrt(h), dot = 0;
        e[i] = scale * g;
        h -= f * g;
        a[i * n + i - 1] = f - g;
        for (size_t j = 0; j < i; j++) {
            double sum = 0;
            for (size_t k = 0; k <= j; k++) sum += a[j * n + k] * a[i * n + k];
            for (size_t k = j + 1; k < i; k++) sum += a[k * n + j] * a[i * n + k];
            d[j] = sum / h;
            dot += d[j] * a[i * n + j];
        }
        for (size_t j = 0; j < i; j++) {
            double u = a[i * n + j], v = d[j] = d[j] - dot / (h + h) * u;
            for (size_t k = 0; k <= j; k++) a[j * n + k] -= u * d[k] + v * a[i * n + k];
        }
    }
    for (size_t i = 0; i < n; i++) d[i] = a[i * n + i];
}

/* One QL step with an implicit shift on d[l..m]. */
static void ql_step(double *d, double *e, size_t l, size_t m)
{
    double g = (d[l + 1] - d[l]) / (2 * e[l + 1]), r = hypot(g, 1), s = 1, c = 1, p = 0;
    g = d[m] - d[l] + e[l + 1] / (g + (g >= 0 ? r : -r));
    for (size_t i = m; i-- > l;) {
        double f = s * e[i + 1], b = c * e[i + 1];
        r = hypot(f, g);
        if (i + 2 <= m) e[i + 2] = r;
        if (r == 0) {
            d[i + 1] -= p;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
    }
    d[l] -= p;
    e[l + 1] = g;
}

/* Eigenvalues of the tridiagonal matrix, in d. */
static void eigenvalues(double *d, double *e, size_t n)
{
    for (size_t l = 0; l < n; l++)
        for (int step = 0; step < QL_STEPS_MOST; step++) {
            size_t m = l;
            while (m + 1 < n && fabs(e[m + 1]) > 0x1p-52 * (fabs(d[m]) + fabs(d[m + 1]))) m++;
            if (m == l) break;
            ql_step(d, e, l, m);
        }
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

bool spectrum_of(const float *w, size_t rows, size_t cols, double *out, team *t, arena *scratch, err *e)
{
    size_t mark = scratch->used_bytes;
    double *gram = ARENA_ARRAY(scratch, double, rows * rows, "spectrum", e);
    double *off = ARENA_ARRAY(scratch, double, rows + 1, "spectrum", e);
    if (gram == NULL || off == NULL) return false;
    struct gram_job job = { w, rows, cols, gram };
    team_run(t, rows, gram_task, &job);
    to_tridiagonal(gram, rows, out, off);
    eigenvalues(out, off, rows);
    for (size_t i = 0; i < rows; i++) out[i] = out[i] > 0 ? sqrt(out[i]) : 0;
    qsort(out, rows, sizeof *out, falling);
    arena_rewind(scratch, mark);
    return true;
}

double spectrum_rank(const double *values, size_t count)
{
    double two = 0, four = 0;
    for (size_t i = 0; i < count; i++) {
        two += values[i] * values[i];
        four += values[i] * values[i] * values[i] * values[i];
    }
    return four > 0 ? two * two / four : 0;
}

size_t spectrum_holds(const double *values, size_t count, double part)
{
    double all = 0, sum = 0;
    for (size_t i = 0; i < count; i++) all += values[i] * values[i];
    for (size_t i = 0; i < count; i++) {
        sum += values[i] * values[i];
        if (sum >= part * all) return i + 1;
    }
    return count;
}
