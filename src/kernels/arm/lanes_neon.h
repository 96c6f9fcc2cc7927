/* 16 lanes in four registers of 128 bits: see lanes.h for what each operation is. */
#ifndef HEARTH_KERNELS_LANES_NEON_H
#define HEARTH_KERNELS_LANES_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct lanes {
    float32x4_t a, b, c, d;
} lanes;

/* Registers: 5 rows x 1 sum of four registers, 4 loaded, 5 weights = 29 of 32; with 6 rows, gcc 12 keeps sums in
 * memory. */
enum { ROWS_AT_ONCE = 5 };
static inline size_t lanes_wide(size_t rows)
{
    return rows == 1 ? 4 : rows == 2 ? 2 : 1;
}

static inline lanes lanes_set(float x)
{
    float32x4_t a = vdupq_n_f32(x);
    return (lanes){ a, a, a, a };
}

static inline lanes lanes_load(const float *p)
{
    return (lanes){ vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12) };
}

static inline void lanes_store(float *p, lanes x)
{
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
    vst1q_f32(p + 8, x.c);
    vst1q_f32(p + 12, x.d);
}

static inline lanes lanes_load_n(const float *p, size_t n, float fill)
{
    if (n >= 16) return lanes_load(p);
    float t[16];
    for (size_t i = 0; i < 16; i++) t[i] = fill;
    memcpy(t, p, n * sizeof *t);
    return lanes_load(t);
}

static inline void lanes_store_n(float *p, size_t n, lanes x)
{
    float t[16];
    lanes_store(n >= 16 ? p : t, x);
    if (n < 16) memcpy(p, t, n * sizeof *t);
}

static inline lanes lanes_load16(const uint16_t *p)
{
    float16x8_t low = vreinterpretq_f16_u16(vld1q_u16(p)), high = vreinterpretq_f16_u16(vld1q_u16(p + 8));
    return (lanes){ vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low), vcvt_f32_f16(vget_low_f16(high)),
                    vcvt_high_f32_f16(high) };
}

static inline lanes lanes_load16_n(const uint16_t *p, size_t n)
{
    if (n >= 16) return lanes_load16(p);
    uint16_t t[16] = { 0 };
    memcpy(t, p, n * sizeof *t);
    return lanes_load16(t);
}

static inline void lanes_store16_n(uint16_t *p, size_t n, lanes x)
{
    uint16_t t[16], *to = n >= 16 ? p : t;
    vst1q_u16(to, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.a), x.b)));
    vst1q_u16(to + 8, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.c), x.d)));
    if (n < 16) memcpy(p, t, n * sizeof *t);
}

static inline lanes lanes_add(lanes x, lanes y)
{
    return (lanes){ vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b), vaddq_f32(x.c, y.c), vaddq_f32(x.d, y.d) };
}

static inline lanes lanes_sub(lanes x, lanes y)
{
    return (lanes){ vsubq_f32(x.a, y.a), vsubq_f32(x.b, y.b), vsubq_f32(x.c, y.c), vsubq_f32(x.d, y.d) };
}

static inline lanes lanes_mul(lanes x, lanes y)
{
    return (lanes){ vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b), vmulq_f32(x.c, y.c), vmulq_f32(x.d, y.d) };
}

static inline lanes lanes_div(lanes x, lanes y)
{
    return (lanes){ vdivq_f32(x.a, y.a), vdivq_f32(x.b, y.b), vdivq_f32(x.c, y.c), vdivq_f32(x.d, y.d) };
}

static inline lanes lanes_sqrt(lanes x)
{
    return (lanes){ vsqrtq_f32(x.a), vsqrtq_f32(x.b), vsqrtq_f32(x.c), vsqrtq_f32(x.d) };
}

static inline lanes lanes_fma(lanes x, lanes y, lanes z)
{
    return (lanes){ vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
                    vfmaq_f32(z.d, x.d, y.d) };
}

static inline float32x4_t quad_if_less(float32x4_t x, float32x4_t y, float32x4_t yes, float32x4_t no)
{
    return vbslq_f32(vcltq_f32(x, y), yes, no);
}

static inline lanes lanes_if_less(lanes x, lanes y, lanes yes, lanes no)
{
    return (lanes){ quad_if_less(x.a, y.a, yes.a, no.a), quad_if_less(x.b, y.b, yes.b, no.b),
                    quad_if_less(x.c, y.c, yes.c, no.c), quad_if_less(x.d, y.d, yes.d, no.d) };
}

/* Not fmin and fmax: those choose another operand where one is NaN. */
static inline lanes lanes_min(lanes x, lanes y) { return lanes_if_less(x, y, x, y); }
static inline lanes lanes_max(lanes x, lanes y) { return lanes_if_less(y, x, x, y); }

static inline float32x4_t quad_and(float32x4_t x, uint32_t bits)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(bits)));
}

static inline lanes lanes_and_bits(lanes x, uint32_t bits)
{
    return (lanes){ quad_and(x.a, bits), quad_and(x.b, bits), quad_and(x.c, bits), quad_and(x.d, bits) };
}

static inline float32x4_t quad_xor(float32x4_t x, float32x4_t y)
{
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), vreinterpretq_u32_f32(y)));
}

static inline lanes lanes_xor(lanes x, lanes y)
{
    return (lanes){ quad_xor(x.a, y.a), quad_xor(x.b, y.b), quad_xor(x.c, y.c), quad_xor(x.d, y.d) };
}

/* As exp_f32 has it; the halves of n may differ by one there and here, the first product is exact either way. */
static inline float32x4_t quad_times_two_to(float32x4_t p, float32x4_t shifted)
{
    int32x4_t n = vshrq_n_s32(vshlq_n_s32(vreinterpretq_s32_f32(shifted), 22), 22); /* sign of the low 10 bits */
    int32x4_t half = vshrq_n_s32(n, 1), bias = vdupq_n_s32(127);
    float32x4_t first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    return vmulq_f32(vmulq_f32(p, first),
                     vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(n, half), bias), 23)));
}

static inline lanes lanes_times_two_to(lanes p, lanes n, lanes shifted)
{
    (void)n;
    return (lanes){ quad_times_two_to(p.a, shifted.a), quad_times_two_to(p.b, shifted.b),
                    quad_times_two_to(p.c, shifted.c), quad_times_two_to(p.d, shifted.d) };
}

static inline float lanes_tree(lanes x)
{
    float32x4_t t = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d)); /* i + 8, then i + 4 */
    float32x2_t u = vadd_f32(vget_low_f32(t), vget_high_f32(t));
    return vget_lane_f32(u, 0) + vget_lane_f32(u, 1);
}

static inline float lanes_largest(lanes x) /* no lane is NaN */
{
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.a, x.b), vmaxq_f32(x.c, x.d)));
}

static inline lanes lanes_even(lanes x)
{
    return (lanes){ vtrn1q_f32(x.a, x.a), vtrn1q_f32(x.b, x.b), vtrn1q_f32(x.c, x.c), vtrn1q_f32(x.d, x.d) };
}

static inline lanes lanes_odd(lanes x)
{
    return (lanes){ vtrn2q_f32(x.a, x.a), vtrn2q_f32(x.b, x.b), vtrn2q_f32(x.c, x.c), vtrn2q_f32(x.d, x.d) };
}

static inline lanes lanes_swap(lanes x)
{
    return (lanes){ vrev64q_f32(x.a), vrev64q_f32(x.b), vrev64q_f32(x.c), vrev64q_f32(x.d) };
}

static inline void lanes_load_pairs(const float *p, lanes *first, lanes *second)
{
    float32x4x2_t a = vld2q_f32(p), b = vld2q_f32(p + 8), c = vld2q_f32(p + 16), d = vld2q_f32(p + 24);
    *first = (lanes){ a.val[0], b.val[0], c.val[0], d.val[0] };
    *second = (lanes){ a.val[1], b.val[1], c.val[1], d.val[1] };
}

/* 4 x 4 floats turned. */
static inline void turn_4(float *to, size_t to_stride, const float *from, size_t from_stride)
{
    float32x4_t a = vld1q_f32(from), b = vld1q_f32(from + from_stride), c = vld1q_f32(from + 2 * from_stride);
    float32x4_t d = vld1q_f32(from + 3 * from_stride);
    float32x4x2_t ab = vtrnq_f32(a, b), cd = vtrnq_f32(c, d);
    vst1q_f32(to, vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0])));
    vst1q_f32(to + to_stride, vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1])));
    vst1q_f32(to + 2 * to_stride, vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0])));
    vst1q_f32(to + 3 * to_stride, vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1])));
}

static inline void lanes_turn(float *to, size_t to_stride, const float *from, size_t from_stride)
{
    for (size_t i = 0; i < 16; i += 4)
        for (size_t j = 0; j < 16; j += 4) turn_4(to + i * to_stride + j, to_stride, from + j * from_stride + i,
                                                  from_stride);
}

#endif
