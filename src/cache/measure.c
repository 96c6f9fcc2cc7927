/* Measuring tiers: see measure.h. Plain and slow. */
#include "cache/measure.h"

#include "base/checked.h"
#include "cache/log_set.h"
#include "kernels/math.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PAPER_WINDOW = 64, PAPER_GROUP = 64, KIVI_GROUP = 32, KIVI_WINDOW = 128, SINKS = 4,
       MEASURE_DIM_MAX = 256 };
#define COPIES_BYTES_MAX ((size_t)4 << 30)

struct kv_measure {
    enum kv_method method;
    kv_seq *seq;
    size_t ctx_tok, row; /* floats of one position: keys and values of all layers and heads */
    float *exact, *coded; /* ctx_tok rows */
    size_t local;         /* first position of the recent window, as of the last step */
};

static const char *const NAMES[KV_METHODS] = { "log:paper", "base:window", "base:kivi2", "base:q4", "base:q4rot" };

const char *kv_method_name(enum kv_method method)
{
    assert(method < KV_METHODS);
    return NAMES[method];
}

enum kv_method kv_method_named(const char *name)
{
    for (int i = 0; i < KV_METHODS; i++)
        if (strcmp(name, NAMES[i]) == 0) return (enum kv_method)i;
    return KV_METHODS;
}

/* Exact tokens beside the codes of all that left: 16 bits each; the paper's log set is packed as well. */
double kv_method_bits(enum kv_method method, size_t len_tok, size_t dim)
{
    double codes = 2.0, exact = 0, all = (double)len_tok;
    (void)dim;
    switch (method) {
    case KV_PAPER:
    case KV_BASE_WINDOW:
        codes = 2.0 + 24.0 / PAPER_GROUP; /* f16 scale, 8-bit zero */
        exact = len_tok < 2 * PAPER_WINDOW ? all : (double)(len_tok % PAPER_WINDOW + PAPER_WINDOW);
        if (len_tok < 2 * PAPER_WINDOW) return 16.0;
        return ((all - exact) * codes + (exact + PAPER_WINDOW) * 16.0) / all;
    case KV_BASE_KIVI2:
        codes = 2.0 + 32.0 / KIVI_GROUP; /* f16 scale and f16 minimum */
        exact = (double)min_size(len_tok, KIVI_WINDOW);
        return ((all - exact) * codes + exact * 16.0) / all;
    default: return 4.5;
    }
}

/* ---- quantizers: n values, `stride` apart, to what their codes stand for ---- */

/* The published one: min-max, zero point rounded to a whole code and kept in an int8. */
static void code_paper(const float *x, float *out, size_t n, size_t stride)
{
    float low = x[0], high = x[0];
    for (size_t i = 0; i < n; i++) {
        low = fminf(low, x[i * stride]);
        high = fmaxf(high, x[i * stride]);
    }
    float scale = f16_to_f32(f16_clamped((high - low) / 3.0f));
    int zero = scale > 0.0f ? (int)(int8_t)(int)lrintf(fmaxf(-1e6f, fminf(1e6f, -low / scale))) : 0;
    for (size_t i = 0; i < n; i++) {
        float code = scale > 0.0f ? rintf(x[i * stride] / scale) + (float)zero : 0.0f;
        out[i * stride] = (fminf(3.0f, fmaxf(0.0f, code)) - (float)zero) * scale;
    }
}

static void code_min_max(const float *x, float *out, size_t n, size_t stride)
{
    float low = x[0], high = x[0];
    for (size_t i = 0; i < n; i++) {
        low = fminf(low, x[i * stride]);
        high = fmaxf(high, x[i * stride]);
    }
    float base = f16_to_f32(f16_clamped(low)), scale = f16_to_f32(f16_clamped((high - low) / 3.0f));
    for (size_t i = 0; i < n; i++) {
        float code = scale > 0.0f ? rintf((x[i * stride] - base) / scale) : 0.0f;
        out[i * stride] = base + fminf(3.0f, fmaxf(0.0f, code)) * scale;
    }
}

static void code_q4(const float *x, float *out, size_t n)
{
    float most = 0.0f;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    float scale = f16_to_f32(f16_clamped(most / -8.0f));
    for (size_t i = 0; i < n; i++) {
        float code = scale != 0.0f ? rintf(x[i] / scale) : 0.0f;
        out[i] = fminf(7.0f, fmaxf(-8.0f, code)) * scale;
    }
}

/* ---- blocks of positions ---- */

/* Positions begin..end-1 of one head's keys or values, `dim` channels at `at` of each row. */
static void code_block(kv_measure *m, size_t begin, size_t end, size_t at, size_t dim, bool keys)
{
    float flat[2 * PAPER_WINDOW * MEASURE_DIM_MAX], *x = m->exact + begin * m->row + at;
    float *out = m->coded + begin * m->row + at;
    size_t count = end - begin;
    if (m->method == KV_BASE_KIVI2 && keys) {
        for (size_t c = 0; c < dim; c++) code_min_max(x + c, out + c, count, m->row);
        return;
    }
    if (m->method == KV_PAPER || m->method == KV_BASE_WINDOW) {
        assert(count * dim <= sizeof flat / sizeof *flat);
        for (size_t i = 0; i < count; i++) memcpy(flat + i * dim, x + i * m->row, dim * sizeof *flat);
        for (size_t i = 0; i < count * dim; i += PAPER_GROUP)
            code_paper(flat + i, flat + i, min_size(PAPER_GROUP, count * dim - i), 1);
        for (size_t i = 0; i < count; i++) memcpy(out + i * m->row, flat + i * dim, dim * sizeof *flat);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(flat, x + i * m->row, dim * sizeof *flat);
        if (m->method == KV_BASE_Q4ROT) coded_turn(flat, dim);
        for (size_t c = 0; c < dim; c += 32) {
            size_t n = min_size(32, dim - c);
            if (m->method == KV_BASE_KIVI2) code_min_max(flat + c, flat + c, n, 1);
            else code_q4(flat + c, flat + c, n);
        }
        if (m->method == KV_BASE_Q4ROT) coded_turn_back(flat, dim);
        memcpy(out + i * m->row, flat, dim * sizeof *flat);
    }
}

static void code_positions(kv_measure *m, size_t begin, size_t end)
{
    const struct kv_shape *s = &m->seq->pool->shape;
    for (size_t h = 0; h < s->layers * s->kv_heads; h++) {
        size_t at = h * (s->key_dim + s->value_dim);
        code_block(m, begin, end, at, s->key_dim, true);
        code_block(m, begin, end, at + s->key_dim, s->value_dim, false);
    }
}

/* A position's values between a row and the sequence's pages. */
static void move(const kv_measure *m, size_t pos, float *row, bool to_pages)
{
    const struct kv_shape *s = &m->seq->pool->shape;
    for (size_t layer = 0; layer < s->layers; layer++)
        for (size_t head = 0; head < s->kv_heads; head++) {
            float *keys = kv_keys(m->seq, pos / PAGE_TOK, layer, head);
            float *values = kv_values(m->seq, pos / PAGE_TOK, layer, head);
            for (size_t c = 0; c < s->key_dim; c++, row++) {
                float *place = &keys[c * PAGE_TOK + pos % PAGE_TOK];
                if (to_pages) *place = *row;
                else *row = *place;
            }
            for (size_t c = 0; c < s->value_dim; c++, row++) {
                float *place = &values[pos % PAGE_TOK * s->value_dim + c];
                if (to_pages) *place = *row;
                else *row = *place;
            }
        }
}

static void put(kv_measure *m, size_t pos, bool exact)
{
    move(m, pos, (exact ? m->exact : m->coded) + pos * m->row, true);
}

/* ---- the exact set ---- */

/* The paper's: what left, then the new log set back to exact values. */
static void paper_stored(kv_measure *m, size_t stored)
{
    size_t local = log_recent(stored, PAPER_WINDOW);
    if (local == m->local) return;
    code_positions(m, m->local, local);
    size_t oldest = local > 12 * PAPER_WINDOW ? local - 12 * PAPER_WINDOW : 0; /* the log set reaches 7 windows back */
    for (size_t pos = oldest; pos < local; pos++) put(m, pos, false);
    for (size_t p = 0; p < PAPER_WINDOW; p++) put(m, log_member(stored, PAPER_WINDOW, p), true);
    m->local = local;
}

/* Codes in blocks of `block` once they are before `local`, a multiple of it; `sinks` stay exact. */
static void window_stored(kv_measure *m, size_t local, size_t block, size_t sinks)
{
    for (; m->local + block <= local; m->local += block) {
        code_positions(m, m->local, m->local + block);
        for (size_t pos = m->local; pos < m->local + block; pos++)
            if (pos >= sinks) put(m, pos, false);
    }
}

void kv_measure_stored(kv_measure *m)
{
    size_t stored = m->seq->len_tok, pos = stored - 1;
    assert(stored >= 1 && pos < m->ctx_tok);
    move(m, pos, m->exact + pos * m->row, false);
    switch (m->method) {
    case KV_PAPER: paper_stored(m, stored); break;
    case KV_BASE_WINDOW: /* as many exact tokens as the paper's W + (W..2W-1), four of them sinks */
        window_stored(m, stored > 3 * PAPER_WINDOW ? stored - 2 * PAPER_WINDOW : 0, PAPER_WINDOW, SINKS);
        break;
    case KV_BASE_KIVI2: window_stored(m, stored > KIVI_WINDOW ? stored - KIVI_WINDOW : 0, KIVI_GROUP, 0); break;
    default: window_stored(m, stored, 1, 0);
    }
}

bool kv_measure_new(kv_measure **out, enum kv_method method, kv_seq *s, size_t ctx_tok, err *e)
{
    const struct kv_shape *shape = &s->pool->shape;
    size_t row = shape->layers * shape->kv_heads * (shape->key_dim + shape->value_dim), bytes;
    *out = NULL;
    assert(shape->type == KV_F32);
    if (!mul_size(row, ctx_tok * sizeof(float), &bytes) || bytes > COPIES_BYTES_MAX ||
        shape->key_dim > MEASURE_DIM_MAX || shape->value_dim > MEASURE_DIM_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET,
                    "%s: exact copies of %zu positions, allowed %zu bytes, heads of 1..%d channels",
                    kv_method_name(method), ctx_tok, COPIES_BYTES_MAX, MEASURE_DIM_MAX);
    kv_measure *m = calloc(1, sizeof *m);
    if (m != NULL) {
        *m = (kv_measure){ .method = method, .seq = s, .ctx_tok = ctx_tok, .row = row, .exact = malloc(bytes),
                           .coded = malloc(bytes) };
        *out = m;
        if (m->exact != NULL && m->coded != NULL) return true;
        kv_measure_free(m);
        *out = NULL;
    }
    return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "%s: no memory for %zu bytes", kv_method_name(method), bytes);
}

void kv_measure_free(kv_measure *m)
{
    if (m == NULL) return;
    free(m->exact);
    free(m->coded);
    free(m);
}

void kv_measure_clear(kv_measure *m)
{
    m->local = 0;
}
