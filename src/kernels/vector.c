/* The definitions of vector.h, in the order of its slots: one value at a time, so that nothing but the header's words
 * decides an order. vector_lanes.h has the same for every tier, 16 values at a time. */
#include "kernels/math.h"
#include "kernels/tiers.h"

enum { LANES = 16 };

/* The tree over the 16 partial sums. */
static float tree(float s[static LANES])
{
    for (size_t width = LANES / 2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++) s[i] = s[i] + s[i + width];
    return s[0];
}

static float sum_of_squares(const float *x, size_t n, float shift)
{
    float s[LANES] = { 0 };
    for (size_t i = 0; i < n; i++) {
        float d = x[i] - shift;
        s[i % LANES] = s[i % LANES] + d * d;
    }
    return tree(s);
}

static float sum(const float *x, size_t n)
{
    float s[LANES] = { 0 };
    for (size_t i = 0; i < n; i++) s[i % LANES] = s[i % LANES] + x[i];
    return tree(s);
}

static void rms_norm_c(const float *x, const float *w, size_t n, float eps, float *out)
{
    float inverse = 1.0f / sqrtf(sum_of_squares(x, n, 0.0f) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        out[i] = x[i] * inverse;
        if (w != NULL) out[i] = out[i] * w[i];
    }
}

static void layer_norm_c(const float *x, const float *w, const float *b, size_t n, float eps, float *out)
{
    float mean = sum(x, n) / (float)n;
    float inverse = 1.0f / sqrtf(sum_of_squares(x, n, mean) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        out[i] = (x[i] - mean) * inverse;
        if (w != NULL) out[i] = out[i] * w[i];
        if (b != NULL) out[i] = out[i] + b[i];
    }
}

static void l2_norm_c(float *x, size_t n, float eps)
{
    float norm = sqrtf(sum_of_squares(x, n, 0.0f));
    norm = norm > eps ? norm : eps;
    for (size_t i = 0; i < n; i++) x[i] = x[i] / norm;
}

static void rope_c(float *x, const float *table, size_t half, bool adjacent)
{
    for (size_t i = 0; i < half; i++) {
        float *x0 = x + (adjacent ? 2 * i : i), *x1 = adjacent ? x0 + 1 : x0 + half;
        float c = table[2 * i], s = table[2 * i + 1], new0 = *x0 * c - *x1 * s, new1 = *x0 * s + *x1 * c;
        *x0 = new0;
        *x1 = new1;
    }
}

static void add_c(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = x[i] + y[i];
}

static void add_scaled_c(float *x, const float *y, float f, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = x[i] + f * y[i];
}

static void scale_c(float *x, float f, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = x[i] * f;
}

static void soft_cap_c(float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = cap * tanh_f32(x[i] / cap);
}

static void silu_mul_c(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        gate[i] = gate[i] / (1.0f + exp_f32(-gate[i]));
        if (up != NULL) gate[i] = gate[i] * up[i];
    }
}

static void gelu_tanh_mul_c(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = gate[i], inner = (GELU_TANH_FACTOR * x) * (1.0f + GELU_TANH_CUBE * (x * x));
        gate[i] = (0.5f * x) * (1.0f + tanh_f32(inner));
        if (up != NULL) gate[i] = gate[i] * up[i];
    }
}

static void gelu_erf_c(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = (0.5f * x[i]) * (1.0f + erf_f32(x[i] * SQRT_HALF));
}

static void swiglu_oai_c(float *gate, const float *up, float alpha, float limit, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i] > limit ? limit : gate[i], u = up[i] > limit ? limit : up[i];
        u = u < -limit ? -limit : u;
        gate[i] = g / (1.0f + exp_f32(-(alpha * g))) * (u + 1.0f);
    }
}

static void sigmoid_c(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = 1.0f / (1.0f + exp_f32(-x[i]));
}

static void softmax_c(float *x, size_t n)
{
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < n; i++) x[i] = exp_f32(x[i] - max);
    float total = sum(x, n);
    for (size_t i = 0; i < n; i++) x[i] = x[i] / total;
}

static float dot_c(const float *x, const float *y, size_t n)
{
    float s[LANES] = { 0 };
    for (size_t i = 0; i < n; i++) s[i % LANES] = fmaf(x[i], y[i], s[i % LANES]);
    return tree(s);
}

static bool all_finite_c(const float *x, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i++) finite &= (bits_of_f32(x[i]) & 0x7f800000u) != 0x7f800000u;
    return finite;
}

static void to_f16_c(const float *x, size_t n, unsigned short *out)
{
    for (size_t i = 0; i < n; i++) out[i] = f16_clamped(x[i]);
}

static void from_f16_c(const unsigned short *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = f16_to_f32(x[i]);
}

void vector_bind_c(struct vector_kernels *k)
{
    *k = (struct vector_kernels){
        .rms_norm = rms_norm_c,   .layer_norm = layer_norm_c,       .l2_norm = l2_norm_c,   .rope = rope_c,
        .add = add_c,             .add_scaled = add_scaled_c,       .scale = scale_c,       .soft_cap = soft_cap_c,
        .silu_mul = silu_mul_c,   .gelu_tanh_mul = gelu_tanh_mul_c, .gelu_erf = gelu_erf_c, .swiglu_oai = swiglu_oai_c,
        .sigmoid = sigmoid_c,     .softmax = softmax_c,             .dot = dot_c,           .all_finite = all_finite_c,
        .to_f16 = to_f16_c,       .from_f16 = from_f16_c,
    };
}
