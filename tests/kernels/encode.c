/* kernels/encode.h: less squared error than plain rounding and than the zoo's encoder, the same bytes everywhere. */
#include "kernels/encode.h"

#include "base/file.h"
#include "base/prng.h"
#include "check.h"
#include "encode_widen.h"
#include "format/gguf.h"
#include "kernels/encode_fit.h"

#include <stdio.h>
#include <time.h>

typedef void read_fn(const uint8_t *block, float *out);

/* ---- the plain way, to compare with: scales from the extremes, then nearest codes ---- */

static void plain_32(const float *x, int low, float *out)
{
    float top = 0.0f;
    for (size_t i = 0; i < 32; i++) top = fabsf(x[i]) > fabsf(top) ? x[i] : top;
    /* 8-bit codes are symmetric in the plain way: largest value at 127. */
    double s = f16_value(f16_near(low == -128 ? (double)fabsf(top) / 127 : (double)top / low));
    for (size_t i = 0; i < 32; i++) {
        double q = s != 0 ? nearbyint((double)x[i] / s) : 0;
        out[i] = (float)(s * fmin(fmax(q, low), -low - 1));
    }
}

static void plain_k(const float *x, int high, float *out)
{
    double s[8], m[8], s_max = 0, m_max = 0;
    for (size_t p = 0; p < 8; p++) {
        double least = 0, most = (double)x[p * 32];
        for (size_t i = 0; i < 32; i++) {
            double v = (double)x[p * 32 + i];
            least = v < least ? v : least;
            most = v > most ? v : most;
        }
        s[p] = (most - least) / high;
        m[p] = -least;
        s_max = s[p] > s_max ? s[p] : s_max;
        m_max = m[p] > m_max ? m[p] : m_max;
    }
    double d = f16_value(f16_near(s_max / 63)), d_min = f16_value(f16_near(m_max / 63));
    for (size_t i = 0; i < 256; i++) {
        double scale = d > 0 ? d * fmin(nearbyint(s[i / 32] / d), 63) : 0;
        double min = d_min > 0 ? d_min * fmin(nearbyint(m[i / 32] / d_min), 63) : 0;
        double q = scale > 0 ? fmin(fmax(nearbyint(((double)x[i] + min) / scale), 0), high) : 0;
        out[i] = (float)(scale * q - min);
    }
}

static void plain_6(const float *x, float *out)
{
    double s[16], top = 0;
    for (size_t p = 0; p < 16; p++) {
        double most = 0;
        for (size_t i = 0; i < 16; i++)
            most = fabs((double)x[p * 16 + i]) > fabs(most) ? (double)x[p * 16 + i] : most;
        s[p] = most / -32;
        top = fabs(s[p]) > fabs(top) ? s[p] : top;
    }
    double d = f16_value(f16_near(top / -128));
    for (size_t i = 0; i < 256; i++) {
        double scale = d != 0 ? d * fmin(fmax(nearbyint(s[i / 16] / d), -128), 127) : 0;
        out[i] = (float)(scale != 0 ? scale * fmin(fmax(nearbyint((double)x[i] / scale), -32), 31) : 0);
    }
}

static void plain_q8_0(const float *x, float *out) { plain_32(x, -128, out); }
static void plain_q4_0(const float *x, float *out) { plain_32(x, -8, out); }
static void plain_q5_0(const float *x, float *out) { plain_32(x, -16, out); }
static void plain_q4_k(const float *x, float *out) { plain_k(x, 15, out); }
static void plain_q5_k(const float *x, float *out) { plain_k(x, 31, out); }

static const struct row {
    const char *name; /* the zoo's tensor */
    enum weight_type type;
    size_t values, bytes;
    read_fn *read;
    void (*plain)(const float *x, float *out);
    uint64_t hash; /* FNV-1a of the Gaussian matrix's bytes: the same from every compiler and CPU */
} ROWS[] = {
    { "q8_0", WEIGHT_Q8_0, 32,  34,  read_q8_0, plain_q8_0, 0xBB212D859DDB93F3 },
    { "q4_0", WEIGHT_Q4_0, 32,  18,  read_q4_0, plain_q4_0, 0xB2CD18D30ACCA9EE },
    { "q5_0", WEIGHT_Q5_0, 32,  22,  read_q5_0, plain_q5_0, 0xC916F8F64BA19A13 },
    { "q4_K", WEIGHT_Q4_K, 256, 144, read_q4_k, plain_q4_k, 0x84364235C95CDB00 },
    { "q5_K", WEIGHT_Q5_K, 256, 176, read_q5_k, plain_q5_k, 0xB4C0145B8C12C015 },
    { "q6_K", WEIGHT_Q6_K, 256, 210, read_q6_k, plain_6,    0x0C9580E5C9F5CD0C },
};

enum { ROW_COUNT = sizeof ROWS / sizeof *ROWS, GAUSS_ROWS = 256, GAUSS_COLS = 1024, GAUSS = GAUSS_ROWS * GAUSS_COLS };

/* Normal values by Box and Muller; libm is the test's, and a last bit of it would change the hashes, so the sum of
 * twelve uniform values stands in for it. */
static float normal(uint64_t index)
{
    double sum = -6.0;
    for (uint64_t i = 0; i < 12; i++) sum += prng_unit(7, 0, index * 12 + i);
    return (float)sum;
}

static double error_of(const float *x, const float *w, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (w != NULL ? (double)w[i] : 1) * pow((double)x[i] - (double)y[i], 2);
    return sum;
}

static void decode(const struct row *row, const uint8_t *bytes, size_t values, float *out)
{
    for (size_t i = 0; i < values / row->values; i++) row->read(bytes + i * row->bytes, out + i * row->values);
}

/* ---- the zoo ---- */

static const float *zoo_values(const gguf_files *f, const char *name, float *room)
{
    const gguf_tensor *t = gguf_tensor_find(&f->dir, name);
    if (!CHECK(t != NULL && t->type == WEIGHT_F32 && t->bytes == 2048 * 4, "zoo: %s", name)) return NULL;
    view bytes = gguf_tensor_bytes(f, t);
    for (size_t i = 0; i < 2048; i++) room[i] = le_f32(bytes.ptr + 4 * i);
    return room;
}

static void zoo_row(const gguf_files *f, const struct row *row)
{
    static float x[2048], theirs[2048], read[2048], ours[2048];
    static uint8_t bytes[2048 * 4];
    char name[32];
    snprintf(name, sizeof name, "%s.f32", row->name);
    const gguf_tensor *t = gguf_tensor_find(&f->dir, row->name);
    if (!CHECK(t != NULL && t->type == row->type, "zoo: %s", row->name)) return;
    if (zoo_values(f, "source", x) == NULL || zoo_values(f, name, theirs) == NULL) return;
    decode(row, gguf_tensor_bytes(f, t).ptr, 2048, read);
    CHECK(memcmp(read, theirs, sizeof read) == 0, "%s: this test reads the type wrongly", row->name);
    for (size_t r = 0; r < 4; r++) {
        const float *xr = x + r * 512;
        CHECK(encode_row(encode_kind(row->type), xr, NULL, 512, bytes) == 512, "%s: row %zu", row->name, r);
        decode(row, bytes, 512, ours);
        double e_ours = error_of(xr, NULL, ours, 512), e_theirs = error_of(xr, NULL, theirs + r * 512, 512);
        printf("zoo %-5s row %zu: squared error %.6g, zoo's %.6g, ratio %.4f\n", row->name, r, e_ours, e_theirs,
               e_ours / e_theirs);
        CHECK(e_ours <= e_theirs, "%s: row %zu: %.9g > %.9g", row->name, r, e_ours, e_theirs);
    }
}

static void zoo(void)
{
    char path[4096];
    arena a = { 0 };
    err e = { 0 };
    gguf_files f;
    snprintf(path, sizeof path, "%s/reference/quants/zoo.gguf", check_shared());
    if (!CHECK(arena_new(&a, (size_t)1 << 20, &e), "%s", e.text)) return;
    if (!gguf_open(path, &a, &f, &e)) {
        check_skip("no zoo.gguf: set HEARTH_SHARED");
    } else {
        for (size_t i = 0; i < ROW_COUNT; i++) zoo_row(&f, &ROWS[i]);
        gguf_close(&f);
    }
    arena_free(&a);
}

/* ---- a Gaussian matrix ---- */

static float gauss[GAUSS], decoded[GAUSS], plain[GAUSS];
static uint8_t encoded[GAUSS * 4];

/* Processor time: other programs share the machine. */
static double now_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static void gaussian_row(const struct row *row)
{
    const struct encode_kind *kind = encode_kind(row->type);
    size_t row_bytes = GAUSS_COLS / row->values * row->bytes, worse = 0;
    double start = now_s();
    for (size_t r = 0; r < GAUSS_ROWS; r++)
        CHECK(encode_row(kind, gauss + r * GAUSS_COLS, NULL, GAUSS_COLS, encoded + r * row_bytes) == GAUSS_COLS,
              "row %zu", r);
    double took = now_s() - start;
    decode(row, encoded, GAUSS, decoded);
    for (size_t i = 0; i < GAUSS / row->values; i++) {
        const float *x = gauss + i * row->values, *y = decoded + i * row->values;
        row->plain(x, plain + i * row->values);
        worse += error_of(x, NULL, y, row->values) > error_of(x, NULL, plain + i * row->values, row->values);
    }
    double ours = error_of(gauss, NULL, decoded, GAUSS), theirs = error_of(gauss, NULL, plain, GAUSS);
    uint64_t hash = 0xCBF29CE484222325;
    for (size_t i = 0; i < row_bytes * GAUSS_ROWS; i++) hash = (hash ^ encoded[i]) * 0x100000001B3;
    printf("gauss %-5s error %.6g, plain %.6g, ratio %.4f, %zu blocks worse, %.0f ns a weight, hash 0x%016llX\n",
           row->name, ours, theirs, ours / theirs, worse, took / GAUSS * 1e9, (unsigned long long)hash);
    CHECK(ours <= theirs && worse == 0, "%s: %.9g, plain %.9g, %zu blocks worse", row->name, ours, theirs, worse);
    size_t blocks = GAUSS / row->values;
    weight_kind(row->type)->widen(encoded, blocks, plain);
    CHECK(memcmp(plain, decoded, sizeof plain) == 0, "%s: widen reads other values than the published layout",
          row->name);
    CHECK(hash == row->hash, "%s: other bytes than on other machines: 0x%016llX", row->name, (unsigned long long)hash);
}

/* ---- values at the edges ---- */

static const float EDGE[] = { 0.0f, -0.0f, 1.0f, -1.0f, 1e-45f, -1e-38f, 6e-8f, 1e-6f, 65504.0f, -70000.0f, 1e9f,
                             3.4e38f };

/* Whole blocks of one value, and that value alone among zeros: decoded to something finite of its sign and size. */
static void edges(void)
{
    static float x[256], y[256];
    static uint8_t bytes[1024];
    for (size_t i = 0; i < ROW_COUNT; i++)
        for (size_t v = 0; v < sizeof EDGE / sizeof *EDGE; v++)
            for (size_t alone = 0; alone < 2; alone++) {
                for (size_t k = 0; k < 256; k++) x[k] = alone && k != 77 ? 0.0f : EDGE[v];
                CHECK(encode_row(encode_kind(ROWS[i].type), x, NULL, 256, bytes) == 256, "%s", ROWS[i].name);
                decode(&ROWS[i], bytes, 256, y);
                /* The largest scale of the type is 65,504; within it one code is exact but for the f16 rounding. The
                 * smallest scale is 2^-24, and a value may miss by that much. */
                double want = (double)EDGE[v], got = (double)y[77], step = 0x1p-24;
                double reach = 65504.0 * (ROWS[i].type == WEIGHT_Q4_0 ? 8 : ROWS[i].type == WEIGHT_Q5_0 ? 16 : 128);
                bool near = fabs(got - want) <= fabs(want) * 0x1p-9 + step;
                bool clamped = fabs(want) > reach / 2 && fabs(got) >= reach / 2.1 && got * want > 0 && isfinite(y[77]);
                CHECK(near || clamped, "%s: %g %s is read as %g", ROWS[i].name, want, alone ? "alone" : "all over",
                      got);
                /* Formats with minima get 0 as a difference of two large products. */
                double most = 0;
                for (size_t k = 0; alone && k < 256; k++) most = k != 77 ? fmax(most, fabs((double)y[k])) : most;
                bool minima = ROWS[i].read == read_q4_k || ROWS[i].read == read_q5_k;
                CHECK(most <= (minima ? fabs(want) * 0x1p-10 : 0), "%s: %g alone makes a zero %g", ROWS[i].name, want,
                      most);
            }
}

/* The first bad column is named, wherever it stands, and nothing is written. */
static void bad_values(void)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    static float x[512], w[512];
    static uint8_t bytes[2048], before[2048];
    for (size_t i = 0; i < ROW_COUNT; i++)
        for (size_t at = 0; at < 512; at += 73)
            for (size_t b = 0; b < 5; b++) {
                for (size_t k = 0; k < 512; k++) {
                    x[k] = (float)k;
                    w[k] = 1.0f;
                }
                if (b < 3) x[at] = bad[b];
                else w[at] = b == 3 ? -1e-30f : NAN;
                memset(bytes, 0xA5, sizeof bytes);
                memset(before, 0xA5, sizeof before);
                size_t got = encode_row(encode_kind(ROWS[i].type), x, w, 512, bytes);
                CHECK(got == at && memcmp(bytes, before, sizeof bytes) == 0, "%s: column %zu, wanted %zu",
                      ROWS[i].name, got, at);
            }
    CHECK(encode_kind(WEIGHT_Q2_K) == NULL && encode_kind(63) == NULL, "types that cannot be written have no row");
}

/* Importance lowers the weighted error it asks for; weights of 0 are as if there were none; a factor is nothing. */
static void importance(void)
{
    static float w[GAUSS_COLS], ones[GAUSS_COLS], y[GAUSS_COLS], z[GAUSS_COLS];
    static uint8_t a[GAUSS_COLS * 2], b[GAUSS_COLS * 2];
    for (size_t i = 0; i < GAUSS_COLS; i++) {
        w[i] = i % 7 == 0 ? 100.0f : 0.01f;
        ones[i] = 4.0f;
    }
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct encode_kind *kind = encode_kind(ROWS[i].type);
        encode_row(kind, gauss, w, GAUSS_COLS, a);
        encode_row(kind, gauss, NULL, GAUSS_COLS, b);
        decode(&ROWS[i], a, GAUSS_COLS, y);
        decode(&ROWS[i], b, GAUSS_COLS, z);
        double with = error_of(gauss, w, y, GAUSS_COLS), without = error_of(gauss, w, z, GAUSS_COLS);
        CHECK(with < 0.8 * without, "%s: weighted error %g, %g without", ROWS[i].name, with, without);
        encode_row(kind, gauss, ones, GAUSS_COLS, a);
        CHECK(memcmp(a, b, GAUSS_COLS / ROWS[i].values * ROWS[i].bytes) == 0, "%s: weights of 4 are weights of 1",
              ROWS[i].name);
        for (size_t k = 0; k < 256; k++) w[k] = 0.0f;
        encode_row(kind, gauss, w, GAUSS_COLS, a);
        CHECK(memcmp(a, b, 256 / ROWS[i].values * ROWS[i].bytes) == 0, "%s: blocks without weight", ROWS[i].name);
        for (size_t k = 0; k < 256; k++) w[k] = k % 7 == 0 ? 100.0f : 0.01f;
    }
}

/* Encoding what was decoded finds the values again: the search need not start at the scales that made them. */
static void again(void)
{
    static float y[GAUSS_COLS], z[GAUSS_COLS];
    static uint8_t bytes[GAUSS_COLS * 2];
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct encode_kind *kind = encode_kind(ROWS[i].type);
        encode_row(kind, gauss, NULL, GAUSS_COLS, bytes);
        decode(&ROWS[i], bytes, GAUSS_COLS, y);
        encode_row(kind, y, NULL, GAUSS_COLS, bytes);
        decode(&ROWS[i], bytes, GAUSS_COLS, z);
        double first = error_of(gauss, NULL, y, GAUSS_COLS), second = error_of(y, NULL, z, GAUSS_COLS);
        printf("again %-5s error %.3g of the first time's\n", ROWS[i].name, second / first);
        CHECK(second <= 0.05 * first, "%s: %g after %g", ROWS[i].name, second, first);
    }
}

/* f16_near against every binary16 number and the middles between neighbours; the float types. */
static void halves(void)
{
    size_t wrong = 0;
    for (unsigned bits = 0; bits < 0x7BFF; bits++) {
        double low = f16_value((uint16_t)bits), high = f16_value((uint16_t)(bits + 1)), middle = (low + high) / 2;
        uint8_t raw[2] = { (uint8_t)bits, (uint8_t)(bits >> 8) };
        wrong += low != (double)half_value(raw) || f16_near(low) != bits || f16_near(-high) != (0x8000 | (bits + 1));
        wrong += f16_near(middle) != (bits % 2 == 0 ? bits : bits + 1); /* ties to even */
        wrong += f16_near(middle * (1 - 0x1p-50)) != bits || f16_near(middle * (1 + 0x1p-50)) != bits + 1;
    }
    CHECK(wrong == 0, "%zu binary16 numbers wrong", wrong);
    CHECK(f16_near(1e300) == 0x7BFF && f16_near(-65520) == 0xFBFF, "clamped at 65,504");
    static const struct { float x; uint16_t f16, bf16; } rows[] = {
        { 1.0f, 0x3C00, 0x3F80 },         { -2.5f, 0xC100, 0xC020 },        { 1e6f, 0x7BFF, 0x4974 },
        { 1.00390625f, 0x3C04, 0x3F80 },  { 1.01171875f, 0x3C0C, 0x3F82 },  { 3.4028235e38f, 0x7BFF, 0x7F7F },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[4];
        CHECK(encode_row(encode_kind(WEIGHT_F16), &rows[i].x, NULL, 1, out) == 1 && le_u16(out) == rows[i].f16,
              "%g as F16: %04x", (double)rows[i].x, le_u16(out));
        CHECK(encode_row(encode_kind(WEIGHT_BF16), &rows[i].x, NULL, 1, out) == 1 && le_u16(out) == rows[i].bf16,
              "%g as BF16: %04x", (double)rows[i].x, le_u16(out));
        CHECK(encode_row(encode_kind(WEIGHT_F32), &rows[i].x, NULL, 1, out) == 1 && memcmp(out, &rows[i].x, 4) == 0,
              "%g as F32", (double)rows[i].x);
    }
}

int main(void)
{
    for (size_t i = 0; i < GAUSS; i++) gauss[i] = normal(i);
    zoo();
    for (size_t i = 0; i < ROW_COUNT; i++) gaussian_row(&ROWS[i]);
    edges();
    bad_values();
    importance();
    again();
    halves();
    return check_done();
}
