/* The definition of every product, straight from the file layout: a tile's blocks are unpacked again and split into
 * codes and scales (split.h), so that nothing here depends on how tiles are packed. docs/arithmetic.md says it in
 * words.
 * `out` itself holds the running sums: the order over blocks is the order of the loop. */
#include "kernels/matmul.h"

#include "base/checked.h"
#include "kernels/bind.h"
#include "kernels/split.h"
#include "kernels/tiers.h"

#include <assert.h>
#include <math.h>

static size_t group_values(enum activation_form form)
{
    return form == ACTIVATION_INT8_256 ? 256 : 32;
}

/* Room for codes and scales of all tokens, each part rounded up to 64 bytes; sums last. */
size_t activations_bytes(enum activation_form form, size_t cols, size_t tokens)
{
    if (form == ACTIVATION_F32) return 0;
    size_t groups = cols / group_values(form);
    return round_up(tokens * cols, 64) + round_up(tokens * groups * sizeof(float), 64) +
           round_up(tokens * (cols / GROUP_VALUES) * sizeof(int16_t), 64) +
           (tokens >= RAISED_TOK ? round_up(tokens * cols, 64) : 0);
}

void activations_lay(activations *a, enum activation_form form, const float *x, size_t x_stride, size_t cols,
                     size_t tokens, void *room)
{
    *a = (activations){ .form = form, .cols = cols, .tokens = tokens, .f32 = x, .f32_stride = x_stride };
    if (form == ACTIVATION_F32) return;
    assert(cols % group_values(form) == 0);
    uint8_t *at = room;
    a->codes = (int8_t *)at;
    at += round_up(tokens * cols, 64);
    a->scales = (float *)(void *)at;
    at += round_up(tokens * (cols / group_values(form)) * sizeof(float), 64);
    a->sums = (int16_t *)(void *)at;
    at += round_up(tokens * (cols / GROUP_VALUES) * sizeof(int16_t), 64);
    if (tokens >= RAISED_TOK) a->raised = at;
}

bool activations_make(const struct kernels *k, activations *a, size_t t)
{
    assert(t < a->tokens);
    const float *x = a->f32 + t * a->f32_stride;
    if (a->form == ACTIVATION_F32) return k->vector.all_finite(x, a->cols);
    quantize_fn *quantize = a->form == ACTIVATION_INT8_32 ? k->quantize_32 : k->quantize_256;
    bool good = quantize(x, a->cols, a->codes + t * a->cols, a->scales + t * (a->cols / group_values(a->form)),
                         a->sums + t * (a->cols / GROUP_VALUES));
    if (k->raise != NULL && a->raised != NULL) k->raise(a->codes + t * a->cols, a->cols, a->raised + t * a->cols);
    return good;
}

void matmul(const struct kernels *k, const matrix *w, const activations *x, float *out, size_t out_stride,
            size_t tile_begin, size_t tile_end)
{
    assert(w->cols == x->cols);
    assert(tile_end <= tile_count(w->rows));
    if (tile_begin >= tile_end || x->tokens == 0) return;
    matmul_fn *product = x->form == ACTIVATION_F32 ? k->matmul_f32[w->type] : k->matmul_int[w->type];
    assert(product != NULL);
    assert(x->form == ACTIVATION_F32 || x->form == weight_kind(w->type)->activations);
    product(w, x, out, out_stride, tile_begin, tile_end);
}

/* One block of one row against the same block of one token: the new running sum. */
static float add_block(float acc, const struct split_block *s, size_t values, bool minima, const int8_t *codes,
                       float dx)
{
    int32_t isum = 0, msum = 0; /* at most 256 * 128 * 128 * 127 / 4 (Q6_K), under 2^28 */
    for (size_t g = 0; g < values / GROUP_VALUES; g++) {
        int32_t dot = 0, sum = 0;
        for (size_t i = g * GROUP_VALUES; i < (g + 1) * GROUP_VALUES; i++) {
            dot += s->codes[i] * codes[i];
            sum += codes[i];
        }
        isum += s->scales[g] * dot;
        msum += s->mins[g] * sum;
    }
    acc = acc + (s->d * dx) * (float)isum;
    if (minima) acc = acc + (s->m * dx) * (float)msum;
    return acc;
}

static void row_int(const matrix *w, const activations *x, float *out, size_t out_stride, size_t row)
{
    const struct weight_kind *kind = weight_kind(w->type);
    size_t values = kind->block_values, blocks = w->cols / values;
    for (size_t t = 0; t < x->tokens; t++) out[t * out_stride + row] = 0.0f;
    for (size_t b = 0; b < blocks; b++) {
        uint8_t file[256];
        struct split_block s;
        tile_unpack_blocks(w, row, b, 1, file);
        kind->split(file, &s);
        for (size_t t = 0; t < x->tokens; t++) {
            float *acc = &out[t * out_stride + row];
            *acc = add_block(*acc, &s, values, kind->minima, x->codes + t * x->cols + b * values,
                             x->scales[t * blocks + b]);
        }
    }
}

static void matmul_int_c(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                         size_t tile_end)
{
    size_t end = min_size(tile_end * TILE_ROWS, w->rows);
    for (size_t row = tile_begin * TILE_ROWS; row < end; row++) row_int(w, x, out, out_stride, row);
}

static void row_f32(const matrix *w, const activations *x, float *out, size_t out_stride, size_t row)
{
    const struct weight_kind *kind = weight_kind(w->type);
    size_t values = kind->block_values;
    for (size_t t = 0; t < x->tokens; t++) out[t * out_stride + row] = 0.0f;
    for (size_t b = 0; b < w->cols / values; b++) {
        uint8_t file[256];
        float wide[BLOCK_VALUES_MAX];
        tile_unpack_blocks(w, row, b, 1, file);
        kind->widen(file, 1, wide);
        for (size_t t = 0; t < x->tokens; t++) {
            float acc = out[t * out_stride + row];
            for (size_t i = 0; i < values; i++)
                acc = fmaf(wide[i], x->f32[t * x->f32_stride + b * values + i], acc);
            out[t * out_stride + row] = acc;
        }
    }
}

static void matmul_f32_c(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                         size_t tile_end)
{
    size_t end = min_size(tile_end * TILE_ROWS, w->rows);
    for (size_t row = tile_begin * TILE_ROWS; row < end; row++) row_f32(w, x, out, out_stride, row);
}

void matmul_bind_c(struct kernels *k)
{
    for (uint32_t type = 0; type < WEIGHT_TYPES; type++) {
        const struct weight_kind *kind = weight_kind(type);
        k->matmul_int[type] = kind != NULL && kind->split != NULL ? matmul_int_c : NULL;
        k->matmul_f32[type] = kind != NULL ? matmul_f32_c : NULL;
    }
}
