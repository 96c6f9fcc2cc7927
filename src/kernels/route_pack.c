/* Second forms of routers: see route_pack.h. All arithmetic is f64 + - * / sqrt in a fixed order, so the bytes are the
 * same everywhere; what is stored as an upper bound is rounded up by more than that arithmetic can be off. */
#include "kernels/route_pack.h"

#include "base/checked.h"
#include "kernels/math.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    LOSSLESS_BYTES_LEAST = 1 << 16, /* routers of fewer bytes stay in the cache anyway */
    PLANES_BYTES_LEAST = 1 << 19, /* a router of 256 KiB is read before a second thread has helped */
    PLANES_EXPERTS_LEAST = 8,  /* experts for each one chosen: below, the chosen rows alone are most of the router */
    RANK_MOST = 96,            /* of a factor that is looked for: trained ones have 16 to 64 */
    SAMPLE_COLS = 112,         /* of all columns: a product of rank r shows itself in any r + 1 of them */
    RANK_PART_256 = 138,       /* a factor of this many 256ths of experts * cols / (experts + cols) has 27% of the */
                               /* router's bytes, which is what the planes need before they have refined anything */
    NEW_DIRECTION_TRIES = 2    /* projections of a row: twice is enough (Kahan, Parlett) */
};
#define RANK_TOLERANCE 0x1p-14 /* of the largest row's norm: f32 products round at 2^-24 a step */
#define ABOVE          (1.0 + 0x1p-20)
#define SCALE_LEAST    0x1p-60f
#define FACTOR_SCALE_LEAST 0x1p-100 /* rows of less are 0 in the factor; what is left of them is measured as ever */

/* ---- sizes ---- */

/* Where each part begins; parts that a form has not have no bytes. */
struct parts {
    size_t facts, scales, first, second, rows, inner, outer, bytes;
};

static size_t take(size_t *at, size_t bytes)
{
    size_t begin = *at;
    *at = round_up(begin + bytes, 64);
    return begin;
}

static struct parts lay_parts(const struct route_shape *s)
{
    struct parts p = { 0 };
    size_t at = 0, n = s->experts, codes = n * route_groups(s->cols) * ROUTE_GROUP;
    bool planes = s->form == ROUTE_PLANES || s->form == ROUTE_PLANES_BF16;
    if (planes || s->form == ROUTE_FACTOR) p.facts = take(&at, n * sizeof(struct route_fact));
    if (planes) p.scales = take(&at, n * route_scale_stride(s->cols) * 2);
    if (planes) p.first = take(&at, codes);
    if (s->form == ROUTE_PLANES) p.second = take(&at, codes);
    if (s->form == ROUTE_BF16 || s->form == ROUTE_PLANES_BF16) p.rows = take(&at, n * s->cols * 2);
    if (s->form == ROUTE_FACTOR) p.inner = take(&at, s->rank * s->cols * 2);
    if (s->form == ROUTE_FACTOR) p.outer = take(&at, n * s->rank * 2);
    p.bytes = at;
    return p;
}

size_t route_bytes(const struct route_shape *s)
{
    return lay_parts(s).bytes;
}

struct route route_bind(const struct route_shape *s, const uint8_t *bytes)
{
    struct parts p = lay_parts(s);
    bool planes = s->form == ROUTE_PLANES || s->form == ROUTE_PLANES_BF16;
    struct route r = { .form = s->form, .experts = s->experts, .cols = s->cols, .rank = s->rank };
    if (planes || s->form == ROUTE_FACTOR) r.facts = (const struct route_fact *)(const void *)(bytes + p.facts);
    if (planes) r.scales = (const uint16_t *)(const void *)(bytes + p.scales);
    if (planes) r.first = bytes + p.first;
    if (s->form == ROUTE_PLANES) r.second = bytes + p.second;
    if (s->form == ROUTE_BF16 || s->form == ROUTE_PLANES_BF16)
        r.rows = (const uint16_t *)(const void *)(bytes + p.rows);
    if (s->form == ROUTE_FACTOR) {
        r.inner = (const int16_t *)(const void *)(bytes + p.inner);
        r.outer = (const int16_t *)(const void *)(bytes + p.outer);
    }
    return r;
}

/* ---- numbers ---- */

static double round_even(double x)
{
    return (x + 0x1.8p52) - 0x1.8p52; /* |x| is far under 2^51 */
}

/* The f32 at or above x * ABOVE, x >= 0. */
static float f32_above(double x)
{
    x *= ABOVE;
    float f = (float)x;
    return (double)f < x ? f32_of_bits(bits_of_f32(f) + 1) : f;
}

static float bf16_value(uint16_t bits)
{
    return f32_of_bits((uint32_t)bits << 16);
}

/* The bf16 at or above x, x >= 0. */
static uint16_t bf16_above(float x)
{
    uint32_t bits = bits_of_f32(x);
    return (uint16_t)((bits >> 16) + ((bits & 0xffff) != 0));
}

static double norm_of(const double *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

static double row_norm(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* ---- planes ---- */

struct pack_job {
    const struct route_shape *s;
    const float *rows;
    uint8_t *out;
    struct parts p;
    const double *basis; /* FACTOR: inner, as stored; rank x cols */
    double inner_norm;
};

/* One group: the scale is the least bf16 that keeps A within +-127; B is what A leaves, in 256ths. Returns |R| / scale
 * of A alone, and in *both that of A and B. */
static double pack_group(const float *w, size_t n, uint16_t *scale, uint8_t *first, uint8_t *second, double *both)
{
    float most = 0.0f;
    for (size_t i = 0; i < n; i++) most = fabsf(w[i]) > most ? fabsf(w[i]) : most;
    most = most / 127.0f * (1.0f + 0x1p-22f); /* the quotient may have been rounded down */
    *scale = bf16_above(most > SCALE_LEAST ? most : SCALE_LEAST);
    double s = (double)bf16_value(*scale), left1 = 0.0, left2 = 0.0;
    for (size_t i = 0; i < n; i++) {
        double a = round_even((double)w[i] / s), r = (double)w[i] - s * a, b = round_even(r * 256.0 / s);
        b = b > 127.0 ? 127.0 : b; /* |r| <= s / 2: -128 exists, 128 does not */
        double rest = r - s * b / 256.0;
        first[i] = (uint8_t)(128 + (int)a);
        if (second != NULL) second[i] = (uint8_t)(128 + (int)b);
        left1 += r * r;
        left2 += rest * rest;
    }
    *both = sqrt(left2) / s;
    return sqrt(left1) / s;
}

static void planes_task(void *arg, size_t row, size_t thread)
{
    const struct pack_job *job = arg;
    const struct route_shape *s = job->s;
    const float *w = job->rows + row * s->cols;
    size_t groups = route_groups(s->cols), codes = row * groups * ROUTE_GROUP;
    uint16_t *scales = (uint16_t *)(void *)(job->out + job->p.scales) + row * route_scale_stride(s->cols);
    uint8_t *first = job->out + job->p.first + codes;
    uint8_t *second = s->form == ROUTE_PLANES ? job->out + job->p.second + codes : NULL;
    double cut1 = 0.0, cut2 = 0.0;
    (void)thread;
    memset(first, 128, groups * ROUTE_GROUP);
    if (second != NULL) memset(second, 128, groups * ROUTE_GROUP);
    for (size_t g = 0; g < groups; g++) {
        size_t at = g * ROUTE_GROUP;
        double c2, c1 = pack_group(w + at, min_size(ROUTE_GROUP, s->cols - at), &scales[g], first + at,
                                   second != NULL ? second + at : NULL, &c2);
        cut1 = c1 > cut1 ? c1 : cut1;
        cut2 = c2 > cut2 ? c2 : cut2;
    }
    struct route_fact *fact = (struct route_fact *)(void *)(job->out + job->p.facts) + row;
    *fact = (struct route_fact){ .norm = f32_above(row_norm(w, s->cols) + ROUTE_NORM_SLACK), .first = f32_above(cut1),
                                 .second = second != NULL ? f32_above(cut2) : 0.0f };
}

/* ---- bf16 ---- */

static void rows_task(void *arg, size_t row, size_t thread)
{
    const struct pack_job *job = arg;
    size_t cols = job->s->cols;
    const float *w = job->rows + row * cols;
    uint16_t *out = (uint16_t *)(void *)(job->out + job->p.rows) + row * cols;
    (void)thread;
    for (size_t i = 0; i < cols; i++) out[i] = (uint16_t)(bits_of_f32(w[i]) >> 16);
}

static bool all_bf16(const float *w, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if ((bits_of_f32(w[i]) & 0xffff) != 0) return false;
    return true;
}

/* ---- factors ---- */

/* Takes from v what it shares with the directions so far, twice, because once leaves what the first rounding left. */
static void orthogonalise(double *v, const double *basis, size_t count, size_t n)
{
    for (int pass = 0; pass < NEW_DIRECTION_TRIES; pass++)
        for (size_t b = 0; b < count; b++) {
            const double *u = basis + b * n;
            double dot = 0.0;
            for (size_t i = 0; i < n; i++) dot += u[i] * v[i];
            for (size_t i = 0; i < n; i++) v[i] -= dot * u[i];
        }
}

/* Directions of the rows of w (experts x n, destroyed), the largest left first, until what is left is small: Gram and
 * Schmidt with pivots. Stops at `most` directions; returns their number, or most + 1 where more are needed. */
static size_t find_basis(double *w, size_t experts, size_t n, size_t most, double *basis)
{
    double largest = 0.0;
    for (size_t count = 0;; count++) {
        size_t pivot = 0;
        double best = -1.0;
        for (size_t e = 0; e < experts; e++) {
            double norm = norm_of(w + e * n, n);
            if (norm > best) {
                best = norm;
                pivot = e;
            }
        }
        if (count == 0) largest = best;
        if (!(best > largest * RANK_TOLERANCE)) return count;
        if (count == most) return most + 1;
        double *u = basis + count * n;
        memcpy(u, w + pivot * n, n * sizeof *u);
        orthogonalise(u, basis, count, n);
        double norm = norm_of(u, n);
        if (!(norm > 0.0)) return count;
        for (size_t i = 0; i < n; i++) u[i] /= norm;
        for (size_t e = 0; e < experts; e++) orthogonalise(w + e * n, u, 1, n);
    }
}

/* Rank of `count` columns, evenly spread, of the rows; most + 1 where it is over `most`. */
static bool columns_rank(const float *rows, size_t experts, size_t cols, size_t count, size_t most, size_t *rank,
                         arena *a, err *e)
{
    size_t mark = a->used_bytes;
    double *w = ARENA_ARRAY(a, double, experts * count, "router", e);
    double *basis = ARENA_ARRAY(a, double, (most + 1) * count, "router", e);
    if (w == NULL || basis == NULL) return false;
    for (size_t row = 0; row < experts; row++)
        for (size_t i = 0; i < count; i++) w[row * count + i] = (double)rows[row * cols + i * cols / count];
    *rank = find_basis(w, experts, count, most, basis);
    arena_rewind(a, mark);
    return true;
}

/* A row of numbers as integers within +-32,767 times *scale, which is at least FACTOR_SCALE_LEAST. */
static void to_int16(const double *x, size_t n, float *scale, int16_t *out)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++) most = fabs(x[i]) > most ? fabs(x[i]) : most;
    most = most / 32767.0;
    *scale = f32_above(most > FACTOR_SCALE_LEAST ? most : FACTOR_SCALE_LEAST);
    for (size_t i = 0; i < n; i++) out[i] = (int16_t)round_even(x[i] / (double)*scale);
}

static void outer_task(void *arg, size_t row, size_t thread)
{
    const struct pack_job *job = arg;
    const struct route_shape *s = job->s;
    const float *w = job->rows + row * s->cols;
    int16_t *outer = (int16_t *)(void *)(job->out + job->p.outer) + row, codes[RANK_MOST];
    double weights[RANK_MOST] = { 0 }, outer_sum = 0.0, left = 0.0; /* route_shape_of gives no more */
    float scale;
    (void)thread;
    for (size_t j = 0; j < s->rank; j++) {
        const double *u = job->basis + j * s->cols;
        double dot = 0.0, square = 0.0;
        for (size_t i = 0; i < s->cols; i++) {
            dot += u[i] * (double)w[i];
            square += u[i] * u[i];
        }
        weights[j] = square > 0.0 ? dot / square : 0.0;
    }
    to_int16(weights, s->rank, &scale, codes);
    for (size_t j = 0; j < s->rank; j++) {
        outer[j * s->experts] = codes[j];
        weights[j] = (double)scale * (double)codes[j];
        outer_sum += weights[j] * weights[j];
    }
    for (size_t i = 0; i < s->cols; i++) {
        double product = 0.0;
        for (size_t j = 0; j < s->rank; j++) product += weights[j] * job->basis[j * s->cols + i];
        left += ((double)w[i] - product) * ((double)w[i] - product);
    }
    struct route_fact *fact = (struct route_fact *)(void *)(job->out + job->p.facts) + row;
    *fact = (struct route_fact){ .norm = f32_above(row_norm(w, s->cols) + ROUTE_NORM_SLACK),
                                 .first = f32_above(sqrt(left)),
                                 .second = f32_above(sqrt(outer_sum) * job->inner_norm), .scale = scale };
}

/* The rows of Q are the directions in units of their own: what the units are goes into O. */
static bool pack_factor(struct pack_job *job, team *t, arena *a, err *e)
{
    const struct route_shape *s = job->s;
    size_t mark = a->used_bytes, n = s->experts * s->cols;
    double *w = ARENA_ARRAY(a, double, n, "router", e);
    double *basis = ARENA_ARRAY(a, double, (s->rank + 1) * s->cols, "router", e);
    if (w == NULL || basis == NULL) return false;
    for (size_t i = 0; i < n; i++) w[i] = (double)job->rows[i];
    size_t found = min_size(find_basis(w, s->experts, s->cols, s->rank, basis), s->rank);
    int16_t *inner = (int16_t *)(void *)(job->out + job->p.inner);
    float unit;
    for (size_t j = 0; j < found; j++) to_int16(basis + j * s->cols, s->cols, &unit, inner + j * s->cols);
    for (size_t i = 0; i < s->rank * s->cols; i++) basis[i] = (double)inner[i]; /* as it will be read */
    job->basis = basis;
    job->inner_norm = norm_of(basis, s->rank * s->cols);
    team_run(t, s->experts, outer_task, job);
    arena_rewind(a, mark);
    return true;
}

/* ---- the choice ---- */

static bool find_rank(const float *rows, struct route_shape *s, arena *a, err *e)
{
    size_t most = s->experts * s->cols * RANK_PART_256 / 256 / (s->experts + s->cols);
    size_t sample = min_size(SAMPLE_COLS, s->cols), rank;
    most = min_size(min_size(most, RANK_MOST), min_size(sample, s->experts) - 1);
    if (!columns_rank(rows, s->experts, s->cols, sample, most, &rank, a, e)) return false;
    if (rank <= most && rank > 0) {
        s->form = ROUTE_FACTOR;
        s->rank = rank;
    }
    return true;
}

bool route_shape_of(const float *rows, size_t experts, size_t cols, struct route_use use, struct route_shape *out,
                    arena *scratch, err *e)
{
    size_t bytes = experts * cols * sizeof *rows;
    *out = (struct route_shape){ .form = ROUTE_NONE, .experts = experts, .cols = cols, .rank = 1 };
    bool planes = !use.all_scores && bytes >= PLANES_BYTES_LEAST && experts / use.top_k >= PLANES_EXPERTS_LEAST;
    if (bytes < LOSSLESS_BYTES_LEAST) return true;
    if (all_bf16(rows, experts * cols)) {
        /* Groups ask for every score closely: what A leaves undecided there is most of the rows. */
        out->form = planes && !use.groups ? ROUTE_PLANES_BF16 : ROUTE_BF16;
        return true;
    }
    if (!planes) return true;
    out->form = ROUTE_PLANES;
    return find_rank(rows, out, scratch, e);
}

bool route_pack(const struct route_shape *s, const float *rows, uint8_t *out, team *t, arena *scratch, err *e)
{
    assert(s->form > ROUTE_NONE && s->form < ROUTE_FORMS && s->rank <= RANK_MOST);
    struct pack_job job = { .s = s, .rows = rows, .out = out, .p = lay_parts(s) };
    if (s->form == ROUTE_FACTOR) return pack_factor(&job, t, scratch, e);
    if (s->form != ROUTE_BF16) team_run(t, s->experts, planes_task, &job);
    if (s->form != ROUTE_PLANES) team_run(t, s->experts, rows_task, &job);
    return true;
}
