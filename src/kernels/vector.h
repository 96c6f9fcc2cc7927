/* Operations on single vectors: norms, rope, gates, softmax. Reductions keep 16 partial sums by index modulo 16 and
 * combine them by one tree: s[i] + s[i+8], then s[i] + s[i+4], s[i] + s[i+2], s[0] + s[1]. Everything else is element
 * by element. Multiply and add are separate roundings unless a line says fused. Partial sums start at +0; a mean is the
 * sum divided by (float)n; a variance is the mean of (x - mean)^2, a second pass. exp, log, tanh, erf, sin and cos are
 * math.h's; libm is never called. Each function is a slot of `struct kernels` (bind.h), so a tier may mirror it. What
 * is not finite never stops a function; where a result is NaN, its payload is unspecified, so the caller checks. */
#ifndef HEARTH_KERNELS_VECTOR_H
#define HEARTH_KERNELS_VECTOR_H

#include <stdbool.h>
#include <stddef.h>

struct vector_kernels {
    /* out[i] = (x[i] * (1 / sqrt(mean(x^2) + eps))) * w[i]; w NULL leaves the last factor out. out may be x. */
    void (*rms_norm)(const float *x, const float *w, size_t n, float eps, float *out);
    /* out[i] = ((x[i] - mean) * (1 / sqrt(var + eps))) * w[i] + b[i]; w and b may be NULL. out may be x. */
    void (*layer_norm)(const float *x, const float *w, const float *b, size_t n, float eps, float *out);
    /* x /= max(||x||_2, eps): embeddings. */
    void (*l2_norm)(float *x, size_t n, float eps);
    /* Turns pairs of one head by the angles of table = {cos, sin} x half: (x[2i], x[2i+1]) where `adjacent`,
     * else (x[i], x[i + half]). new0 = x0 * c - x1 * s, new1 = x0 * s + x1 * c. */
    void (*rope)(float *x, const float *table, size_t half, bool adjacent);
    void (*add)(float *x, const float *y, size_t n);              /* x[i] = x[i] + y[i] */
    void (*add_scaled)(float *x, const float *y, float f, size_t n); /* x[i] = x[i] + f * y[i] */
    void (*scale)(float *x, float f, size_t n);                   /* x[i] = x[i] * f */
    void (*soft_cap)(float *x, float cap, size_t n);              /* x[i] = cap * tanh(x[i] / cap) */
    /* gate = silu(gate) * up; silu(x) = x / (1 + exp(-x)). up NULL: not multiplied. */
    void (*silu_mul)(float *gate, const float *up, size_t n);
    /* gate = gelu(gate) * up; gelu(x) = (x / 2) (1 + tanh((sqrt(2 / pi) x) (1 + 0.044715 (x x)))). up may be NULL. */
    void (*gelu_tanh_mul)(float *gate, const float *up, size_t n);
    void (*gelu_erf)(float *x, size_t n);                         /* (0.5 x) * (1 + erf(x sqrt(1 / 2))) */
    /* gate' = min(gate, limit), up' = clamp(up, +-limit): gate = (gate' / (1 + exp(-alpha gate'))) * (up' + 1) */
    void (*swiglu_oai)(float *gate, const float *up, float alpha, float limit, size_t n);
    void (*sigmoid)(float *x, size_t n); /* 1 / (1 + exp(-x)) */
    /* In place: e[i] = exp(x[i] - max), x[i] = e[i] / sum(e). */
    void (*softmax)(float *x, size_t n);
    /* Sum over 16 partial chains by index modulo 16, acc = fma(x, y, acc), then the tree: gates and rescoring. */
    float (*dot)(const float *x, const float *y, size_t n);
    bool (*all_finite)(const float *x, size_t n);
    void (*to_f16)(const float *x, size_t n, unsigned short *out); /* nearest even, clamped to +-65,504 */
    void (*from_f16)(const unsigned short *x, size_t n, float *out);
};

#endif
