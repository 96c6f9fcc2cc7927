/* route.h with NEON dot products: sdot takes codes at their value, so the 128 goes off them before. */
#include "kernels/arm/lanes_neon.h"

#include "kernels/route.h"

static inline lanes lanes_from_bf16(const uint16_t *p)
{
    uint16x8_t low = vld1q_u16(p), high = vld1q_u16(p + 8);
    return (lanes){ vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(low), 16)),
                    vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(low), 16)),
                    vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(high), 16)),
                    vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(high), 16)) };
}

static inline lanes lanes_from_bf16_n(const uint16_t *p, size_t n)
{
    if (n >= 16) return lanes_from_bf16(p);
    uint16_t t[16] = { 0 };
    memcpy(t, p, n * sizeof *t);
    return lanes_from_bf16(t);
}

static inline lanes lanes_from_int16(const int16_t *p)
{
    int16x8_t low = vld1q_s16(p), high = vld1q_s16(p + 8);
    return (lanes){ vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                    vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high))) };
}

/* The low halves of eight codes of 32 bits. */
static inline int16x8_t codes_8(float32x4_t a, float32x4_t b)
{
    int32x4_t magic = vreinterpretq_s32_f32(vdupq_n_f32(0x1.8p23f));
    return vcombine_s16(vmovn_s32(vsubq_s32(vreinterpretq_s32_f32(a), magic)),
                        vmovn_s32(vsubq_s32(vreinterpretq_s32_f32(b), magic)));
}

static inline void put_8(int16x8_t code, struct route_input *in, size_t at)
{
    vst1_s8(in->low + at, vmovn_s16(code));
    vst1_s8(in->high + at, vmovn_s16(vshrq_n_s16(vaddq_s16(code, vdupq_n_s16(128)), 8)));
}

/* Lanes 4 v .. 4 v + 3: the exact sums of 4 products each. */
static inline int32x4_t sums_4(int8x16_t codes, int8x16_t high, int8x16_t low)
{
    int32x4_t sum = vdotq_s32(vdupq_n_s32(0), codes, high);
    return vdotq_s32(vshlq_n_s32(sum, 8), codes, low);
}

static inline void route_put_codes(const lanes *shifted, struct route_input *in, size_t g)
{
    const int8x16_t less = vdupq_n_s8(-128);
    for (size_t v = 0; v < 4; v++) {
        size_t at = g * ROUTE_GROUP + 16 * v;
        put_8(codes_8(shifted[v].a, shifted[v].b), in, at);
        put_8(codes_8(shifted[v].c, shifted[v].d), in, at + 8);
        vst1q_s32(in->lift + g * 16 + 4 * v, sums_4(less, vld1q_s8(in->high + at), vld1q_s8(in->low + at)));
    }
}

struct route_group_codes {
    int8x16_t high[4], low[4];
};

static inline struct route_group_codes route_group_load(const struct route_input *in, size_t g)
{
    struct route_group_codes group;
    for (size_t v = 0; v < 4; v++) {
        group.high[v] = vld1q_s8(in->high + g * ROUTE_GROUP + 16 * v);
        group.low[v] = vld1q_s8(in->low + g * ROUTE_GROUP + 16 * v);
    }
    return group;
}

static inline float32x4_t floats_4(const uint8_t *codes, const struct route_group_codes *group, size_t v)
{
    int8x16_t w = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes + 16 * v), vdupq_n_u8(128)));
    return vcvtq_f32_s32(sums_4(w, group->high[v], group->low[v]));
}

static inline lanes route_sums(const uint8_t *codes, const struct route_group_codes *group)
{
    return (lanes){ floats_4(codes, group, 0), floats_4(codes, group, 1), floats_4(codes, group, 2),
                    floats_4(codes, group, 3) };
}

#include "kernels/route_lanes.h"

void route_bind_neon(struct route_kernels *k)
{
    route_bind_lanes(k);
}
