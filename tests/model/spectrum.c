/* model/spectrum.h: against matrices whose singular values are known. */
#include "model/spectrum.h"

#include "base/prng.h"

#include "check.h"

#include <math.h>
#include <string.h>

enum { ROWS = 60, COLS = 90 };

/* Turns rows (and columns) of a diagonal matrix by random angles: its singular values stay. */
static void turn(float *w, const double *values, uint64_t seed)
{
    static double m[ROWS][COLS];
    memset(m, 0, sizeof m);
    for (size_t i = 0; i < ROWS; i++) m[i][i] = values[i];
    for (size_t n = 0; n < 4000; n++) {
        uint32_t r[4];
        prng_block(seed, 1, n, r);
        double c = cos((double)r[2]), s = sin((double)r[2]);
        size_t a = r[0] % ROWS, b = (a + 1 + r[1] % (ROWS - 1)) % ROWS;
        for (size_t i = 0; i < COLS; i++) {
            double x = m[a][i], y = m[b][i];
            m[a][i] = c * x - s * y;
            m[b][i] = s * x + c * y;
        }
        a = r[3] % COLS, b = (a + 1 + r[1] % (COLS - 1)) % COLS;
        for (size_t i = 0; i < ROWS; i++) {
            double x = m[i][a], y = m[i][b];
            m[i][a] = c * x - s * y;
            m[i][b] = s * x + c * y;
        }
    }
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < COLS; j++) w[i * COLS + j] = (float)m[i][j];
}

int main(void)
{
    static const struct {
        const char *says;
        double power;
        size_t rank;
    } cases[] = { { "all equal", 0, ROWS }, { "i^-0.5", 0.5, ROWS }, { "i^-1", 1, ROWS }, { "of rank 7", 0.5, 7 } };
    static float w[ROWS * COLS];
    arena a;
    team *t;
    err e = { 0 };
    if (!arena_new(&a, 1 << 24, &e) || !team_new(&t, 2, NULL, 0, &e)) return 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double want[ROWS] = { 0 }, got[ROWS], worst = 0;
        for (size_t k = 0; k < cases[i].rank; k++) want[k] = pow((double)(k + 1), -cases[i].power);
        turn(w, want, 5 + i);
        CHECK(spectrum_of(w, ROWS, COLS, got, t, &a, &e), "%s", e.text);
        for (size_t k = 0; k < ROWS; k++) worst = fmax(worst, fabs(got[k] - want[k]));
        CHECK(worst < 1e-3, "%s: off by %g", cases[i].says, worst);
        CHECK(spectrum_holds(got, ROWS, 0.999999) == cases[i].rank, "%s: %zu values hold all", cases[i].says,
              spectrum_holds(got, ROWS, 0.999999));
    }
    double equal[4] = { 2, 2, 2, 2 }, one[4] = { 3, 0, 0, 0 };
    CHECK(fabs(spectrum_rank(equal, 4) - 4) < 1e-12 && fabs(spectrum_rank(one, 4) - 1) < 1e-12, "effective ranks");
    CHECK(spectrum_holds(equal, 4, 0.5) == 2 && spectrum_holds(one, 4, 1) == 1, "shares");
    team_free(t);
    arena_free(&a);
    return check_done();
}
