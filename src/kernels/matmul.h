/* Matrix times vectors. For output row r and token t the sum over the inner dimension runs in increasing order:
 *
 *   float weights         acc = fma(w[k], x[k], acc) for k = 0, 1, ...   (from acc = 0)
 *   integer weights       per block b, in order: acc = acc + (dw * dx) * (float)isum    multiply, then add: two
 *   formats with minima   then                   acc = acc + (mw * dx) * (float)msum    roundings each, never fused
 *
 * where isum is the exact i32 sum of weight codes (with their integer sub-scales) times activation codes, msum that of
 * integer sub-minima times the sums of activation codes, dw and mw the block's f32 scale and (signed) minimum scale.
 * Nothing depends on the vector width, the number of tokens, or which tiles one call computes. */
#ifndef HEARTH_KERNELS_MATMUL_H
#define HEARTH_KERNELS_MATMUL_H

#include "kernels/tile.h"

struct kernels;

/* The inputs of a product, in the form that the weights ask for. The memory is the caller's. */
typedef struct activations {
    enum activation_form form;
    size_t cols, tokens;
    const float *f32;  /* ACTIVATION_F32: token t at f32 + t * f32_stride */
    size_t f32_stride;
    int8_t *codes;     /* token t at codes + t * cols, in -127..127 */
    float *scales;     /* token t at scales + t * (cols / 32 or cols / 256) */
    int16_t *sums;     /* token t at sums + t * (cols / 16): the sum of 16 codes each */
    uint8_t *raised;   /* codes + 128, laid as they are, by tiers whose products of many tokens take them. NULL with
                        * fewer than RAISED_TOK tokens */
} activations;

enum { RAISED_TOK = 24 };

/* Bytes that activations_make needs for codes, scales and sums (0 for ACTIVATION_F32). */
size_t activations_bytes(enum activation_form form, size_t cols, size_t tokens);

/* Lays *a out over `room` (aligned to 64, activations_bytes long); computes nothing. */
void activations_lay(activations *a, enum activation_form form, const float *x, size_t x_stride, size_t cols,
                     size_t tokens, void *room);

/* Tokens first..first+count-1 of *a, borrowed. */
static inline activations activations_slice(const activations *a, size_t first, size_t count)
{
    activations out = *a;
    size_t group = a->form == ACTIVATION_INT8_32 ? 32 : 256;
    out.tokens = count;
    if (a->form == ACTIVATION_F32) {
        out.f32 += first * a->f32_stride;
    } else {
        out.codes += first * a->cols;
        out.scales += first * (a->cols / group);
        out.sums += first * (a->cols / 16);
        if (out.raised != NULL) out.raised += first * a->cols;
    }
    return out;
}

/* Quantizes token t of *a (nothing to do for ACTIVATION_F32 but the check). Per group of 32 or 256 values:
 * d = max|x| / 127; where d < 2^-60 codes and scale are 0; else codes are x * (1 / d) rounded to nearest even.
 * False where a value is not finite. Threads may take different tokens. */
bool activations_make(const struct kernels *k, activations *a, size_t t);

/* out[t * out_stride + r] for the rows of tiles tile_begin..tile_end-1 and every token of x. Writes no row past
 * w->rows. x->form is the type's own form or ACTIVATION_F32 (weights are then widened, one rounding, and the float path
 * runs). Threads may take different tiles. */
void matmul(const struct kernels *k, const matrix *w, const activations *x, float *out, size_t out_stride,
            size_t tile_begin, size_t tile_end);

#endif
