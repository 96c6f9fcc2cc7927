/* The binding: which function computes what on this CPU. Starts at the definitions; each tier overwrites the slots it
 * improves. Chosen once, before threads; nothing is at file scope, so a test can hold two tiers side by side. */
#ifndef HEARTH_KERNELS_BIND_H
#define HEARTH_KERNELS_BIND_H

#include "base/err.h"
#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "kernels/route.h"
#include "kernels/vector.h"

/* Rows of tiles tile_begin..tile_end-1 for every token of x: see matmul.h. */
typedef void matmul_fn(const matrix *w, const activations *x, float *out, size_t out_stride, size_t tile_begin,
                       size_t tile_end);
/* One token's codes, scales and sums from cols values; false where one is not finite. */
typedef bool quantize_fn(const float *x, size_t cols, int8_t *codes, float *scales, int16_t *sums);
/* raised[i] = codes[i] + 128, of one token; cols is a multiple of 32. */
typedef void raise_fn(const int8_t *codes, size_t cols, uint8_t *raised);

struct kernels {
    const char *tier; /* "ref", "avx2", "avxvnni", "avx512", "neon" */
    matmul_fn *matmul_int[WEIGHT_TYPES]; /* with the type's int8 form; NULL for float types */
    matmul_fn *matmul_f32[WEIGHT_TYPES]; /* with ACTIVATION_F32 */
    quantize_fn *quantize_32, *quantize_256;
    raise_fn *raise; /* NULL in a vector tier whose products take codes as they are */
    struct vector_kernels vector;
    struct attention_kernels attention;
    struct route_kernels route;
};

/* Binds the named tier, or with NULL the fastest this CPU has. Errors: ERR_UNSUPPORTED (an unknown name, or a tier that
 * this CPU lacks: the text lists those it has). */
bool kernels_bind(struct kernels *k, const char *tier, err *e);

/* The tiers of this CPU, slowest first, NULL at the end. */
const char *const *kernels_tiers(void);

#endif
