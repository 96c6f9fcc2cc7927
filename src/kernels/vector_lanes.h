/* The slots of vector.h over 16 lanes: the same operations in the same order as vector.c. Lane i of a partial sum is
 * the chain of indices i modulo 16; lanes past the end hold 0, which leaves a sum as it is (the chains start at +0, so
 * no -0 can be lost). Included after a tier's lanes_*.h, by that tier's .c file alone. */
#ifndef HEARTH_KERNELS_VECTOR_LANES_H
#define HEARTH_KERNELS_VECTOR_LANES_H

#include "kernels/lanes.h"
#include "kernels/tiers.h"

static float vector_sum_of_squares(const float *x, size_t n, float shift)
{
    lanes s = lanes_set(0.0f);
    for (size_t i = 0; i < n; i += LANES) {
        lanes d = lanes_sub(lanes_load_n(x + i, n - i, shift), lanes_set(shift));
        s = lanes_add(s, lanes_mul(d, d));
    }
    return lanes_tree(s);
}

static float vector_sum(const float *x, size_t n)
{
    lanes s = lanes_set(0.0f);
    for (size_t i = 0; i < n; i += LANES) s = lanes_add(s, lanes_load_n(x + i, n - i, 0.0f));
    return lanes_tree(s);
}

static void vector_rms_norm(const float *x, const float *w, size_t n, float eps, float *out)
{
    lanes inverse = lanes_set(1.0f / sqrtf(vector_sum_of_squares(x, n, 0.0f) / (float)n + eps));
    for (size_t i = 0; i < n; i += LANES) {
        lanes y = lanes_mul(lanes_load_n(x + i, n - i, 0.0f), inverse);
        if (w != NULL) y = lanes_mul(y, lanes_load_n(w + i, n - i, 0.0f));
        lanes_store_n(out + i, n - i, y);
    }
}

static void vector_layer_norm(const float *x, const float *w, const float *b, size_t n, float eps, float *out)
{
    float mean = vector_sum(x, n) / (float)n;
    lanes inverse = lanes_set(1.0f / sqrtf(vector_sum_of_squares(x, n, mean) / (float)n + eps));
    for (size_t i = 0; i < n; i += LANES) {
        lanes y = lanes_mul(lanes_sub(lanes_load_n(x + i, n - i, 0.0f), lanes_set(mean)), inverse);
        if (w != NULL) y = lanes_mul(y, lanes_load_n(w + i, n - i, 0.0f));
        if (b != NULL) y = lanes_add(y, lanes_load_n(b + i, n - i, 0.0f));
        lanes_store_n(out + i, n - i, y);
    }
}

static void vector_l2_norm(float *x, size_t n, float eps)
{
    float norm = sqrtf(vector_sum_of_squares(x, n, 0.0f));
    norm = norm > eps ? norm : eps;
    for (size_t i = 0; i < n; i += LANES)
        lanes_store_n(x + i, n - i, lanes_div(lanes_load_n(x + i, n - i, 0.0f), lanes_set(norm)));
}

/* The last half % 16 pairs of a head, or fewer than 16 of them: as the definition. */
static void vector_rope_rest(float *x, const float *table, size_t begin, size_t half, bool adjacent)
{
    for (size_t i = begin; i < half; i++) {
        float *x0 = x + (adjacent ? 2 * i : i), *x1 = adjacent ? x0 + 1 : x0 + half;
        float c = table[2 * i], s = table[2 * i + 1], new0 = *x0 * c - *x1 * s, new1 = *x0 * s + *x1 * c;
        *x0 = new0;
        *x1 = new1;
    }
}

/* Adjacent pairs: x c + swapped x (-s, s, -s, s, ...), which is x0 c - x1 s and x1 c + x0 s: the same two roundings. */
static void vector_rope(float *x, const float *table, size_t half, bool adjacent)
{
    static const float minus_plus[LANES] = { -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f,
                                             -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f };
    size_t step = adjacent ? LANES / 2 : LANES, i = 0;
    for (; half - i >= step; i += step) {
        if (adjacent) {
            lanes pairs = lanes_load(x + 2 * i), angles = lanes_load(table + 2 * i);
            lanes s = lanes_xor(lanes_odd(angles), lanes_load(minus_plus));
            lanes_store(x + 2 * i, lanes_add(lanes_mul(pairs, lanes_even(angles)), lanes_mul(lanes_swap(pairs), s)));
            continue;
        }
        lanes x0 = lanes_load(x + i), x1 = lanes_load(x + half + i), c, s;
        lanes_load_pairs(table + 2 * i, &c, &s);
        lanes_store(x + i, lanes_sub(lanes_mul(x0, c), lanes_mul(x1, s)));
        lanes_store(x + half + i, lanes_add(lanes_mul(x0, s), lanes_mul(x1, c)));
    }
    vector_rope_rest(x, table, i, half, adjacent);
}

static void vector_add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        lanes_store_n(x + i, n - i, lanes_add(lanes_load_n(x + i, n - i, 0.0f), lanes_load_n(y + i, n - i, 0.0f)));
}

static void vector_add_scaled(float *x, const float *y, float f, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        lanes scaled = lanes_mul(lanes_set(f), lanes_load_n(y + i, n - i, 0.0f));
        lanes_store_n(x + i, n - i, lanes_add(lanes_load_n(x + i, n - i, 0.0f), scaled));
    }
}

static void vector_scale(float *x, float f, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        lanes_store_n(x + i, n - i, lanes_mul(lanes_load_n(x + i, n - i, 0.0f), lanes_set(f)));
}

static void vector_soft_cap(float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        lanes t = lanes_tanh(lanes_div(lanes_load_n(x + i, n - i, 0.0f), lanes_set(cap)));
        lanes_store_n(x + i, n - i, lanes_mul(lanes_set(cap), t));
    }
}

/* 1 + e^-x. */
static inline lanes vector_one_and_exp(lanes x)
{
    return lanes_add(lanes_set(1.0f), lanes_exp(lanes_xor(x, lanes_set(-0.0f))));
}

static void vector_silu_mul(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        lanes x = lanes_load_n(gate + i, n - i, 0.0f), y = lanes_div(x, vector_one_and_exp(x));
        if (up != NULL) y = lanes_mul(y, lanes_load_n(up + i, n - i, 0.0f));
        lanes_store_n(gate + i, n - i, y);
    }
}

static void vector_gelu_tanh_mul(float *gate, const float *up, size_t n)
{
    const lanes one = lanes_set(1.0f);
    for (size_t i = 0; i < n; i += LANES) {
        lanes x = lanes_load_n(gate + i, n - i, 0.0f);
        lanes cube = lanes_add(one, lanes_mul(lanes_set(GELU_TANH_CUBE), lanes_mul(x, x)));
        lanes t = lanes_tanh(lanes_mul(lanes_mul(lanes_set(GELU_TANH_FACTOR), x), cube));
        lanes y = lanes_mul(lanes_mul(lanes_set(0.5f), x), lanes_add(one, t));
        if (up != NULL) y = lanes_mul(y, lanes_load_n(up + i, n - i, 0.0f));
        lanes_store_n(gate + i, n - i, y);
    }
}

static void vector_gelu_erf(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        lanes v = lanes_load_n(x + i, n - i, 0.0f), e = lanes_erf(lanes_mul(v, lanes_set(SQRT_HALF)));
        lanes_store_n(x + i, n - i, lanes_mul(lanes_mul(lanes_set(0.5f), v), lanes_add(lanes_set(1.0f), e)));
    }
}

static void vector_swiglu_oai(float *gate, const float *up, float alpha, float limit, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        /* min(limit, x) is limit < x ? limit : x: a NaN stays, as in the definition. */
        lanes g = lanes_min(lanes_set(limit), lanes_load_n(gate + i, n - i, 0.0f));
        lanes u = lanes_min(lanes_set(limit), lanes_load_n(up + i, n - i, 0.0f));
        u = lanes_max(lanes_set(-limit), u);
        lanes y = lanes_div(g, vector_one_and_exp(lanes_mul(lanes_set(alpha), g)));
        lanes_store_n(gate + i, n - i, lanes_mul(y, lanes_add(u, lanes_set(1.0f))));
    }
}

static void vector_sigmoid(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        lanes below = vector_one_and_exp(lanes_load_n(x + i, n - i, 0.0f));
        lanes_store_n(x + i, n - i, lanes_div(lanes_set(1.0f), below));
    }
}

static void vector_softmax(float *x, size_t n)
{
    lanes largest = lanes_set(-INFINITY);
    for (size_t i = 0; i < n; i += LANES) largest = lanes_max(lanes_load_n(x + i, n - i, -INFINITY), largest);
    lanes max = lanes_set(lanes_largest(largest));
    for (size_t i = 0; i < n; i += LANES)
        lanes_store_n(x + i, n - i, lanes_exp(lanes_sub(lanes_load_n(x + i, n - i, 0.0f), max)));
    lanes total = lanes_set(vector_sum(x, n));
    for (size_t i = 0; i < n; i += LANES)
        lanes_store_n(x + i, n - i, lanes_div(lanes_load_n(x + i, n - i, 0.0f), total));
}

static float vector_dot(const float *x, const float *y, size_t n)
{
    lanes s = lanes_set(0.0f);
    for (size_t i = 0; i < n; i += LANES)
        s = lanes_fma(lanes_load_n(x + i, n - i, 0.0f), lanes_load_n(y + i, n - i, 0.0f), s);
    return lanes_tree(s);
}

/* x - x is 0 for a finite x, NaN for any other; a NaN stays in a sum. */
static bool vector_all_finite(const float *x, size_t n)
{
    lanes s = lanes_set(0.0f);
    for (size_t i = 0; i < n; i += LANES) {
        lanes v = lanes_load_n(x + i, n - i, 0.0f);
        s = lanes_add(s, lanes_sub(v, v));
    }
    return lanes_tree(s) == 0.0f;
}

static void vector_to_f16(const float *x, size_t n, unsigned short *out)
{
    for (size_t i = 0; i < n; i += LANES)
        lanes_store16_n(out + i, n - i, lanes_clamp16(lanes_load_n(x + i, n - i, 0.0f)));
}

static void vector_from_f16(const unsigned short *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += LANES) lanes_store_n(out + i, n - i, lanes_load16_n(x + i, n - i));
}

static inline void vector_bind_lanes(struct vector_kernels *k)
{
    *k = (struct vector_kernels){
        .rms_norm = vector_rms_norm,
        .layer_norm = vector_layer_norm,
        .l2_norm = vector_l2_norm,
        .rope = vector_rope,
        .add = vector_add,
        .add_scaled = vector_add_scaled,
        .scale = vector_scale,
        .soft_cap = vector_soft_cap,
        .silu_mul = vector_silu_mul,
        .gelu_tanh_mul = vector_gelu_tanh_mul,
        .gelu_erf = vector_gelu_erf,
        .swiglu_oai = vector_swiglu_oai,
        .sigmoid = vector_sigmoid,
        .softmax = vector_softmax,
        .dot = vector_dot,
        .all_finite = vector_all_finite,
        .to_f16 = vector_to_f16,
        .from_f16 = vector_from_f16,
    };
}

#endif
