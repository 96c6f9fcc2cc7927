/* The integer formats of GGUF files, from the layouts that its specification and the format's own structures give: all
 * numbers little endian, d, dmin and m binary16. Byte offsets are beside each function. A nibble pair holds values that
 * are half a group apart, not neighbours. */
#include "kernels/split.h"

#include "base/le.h"
#include "kernels/half.h"

const int8_t CODES_IQ4[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
const int8_t CODES_E2M1[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

static float f16_at(const uint8_t *p)
{
    return f16_to_f32(le_u16(p));
}

/* A block of 32 has no sub-scales: both of its groups have scale 1 and, where there is a minimum, take it once. */
static void ones(struct split_block *out, float d, float m)
{
    out->d = d;
    out->m = m;
    for (int g = 0; g < 2; g++) out->scales[g] = out->mins[g] = 1;
}

/* 16 bytes: value i in the low nibble of byte i, value 16 + i in its high one; `high` has a fifth bit a value. */
static void nibbles_32(const uint8_t *qs, uint32_t high, int zero, int8_t *codes)
{
    for (int i = 0; i < 16; i++) {
        codes[i] = (int8_t)((qs[i] & 15) + (int)(high >> i & 1) * 16 - zero);
        codes[16 + i] = (int8_t)((qs[i] >> 4) + (int)(high >> (16 + i) & 1) * 16 - zero);
    }
}

static void lookup_32(const uint8_t *qs, const int8_t table[16], int8_t *codes)
{
    for (int i = 0; i < 16; i++) {
        codes[i] = table[qs[i] & 15];
        codes[16 + i] = table[qs[i] >> 4];
    }
}

/* 0 d, 2 nibbles */
void split_q4_0(const uint8_t *src, struct split_block *out)
{
    ones(out, f16_at(src), 0.0f);
    nibbles_32(src + 2, 0, 8, out->codes);
}

/* 0 d, 2 m, 4 nibbles */
void split_q4_1(const uint8_t *src, struct split_block *out)
{
    ones(out, f16_at(src), f16_at(src + 2));
    nibbles_32(src + 4, 0, 0, out->codes);
}

/* 0 d, 2 fifth bits, 6 nibbles */
void split_q5_0(const uint8_t *src, struct split_block *out)
{
    ones(out, f16_at(src), 0.0f);
    nibbles_32(src + 6, le_u32(src + 2), 16, out->codes);
}

/* 0 d, 2 m, 4 fifth bits, 8 nibbles */
void split_q5_1(const uint8_t *src, struct split_block *out)
{
    ones(out, f16_at(src), f16_at(src + 2));
    nibbles_32(src + 8, le_u32(src + 4), 0, out->codes);
}

/* 0 d, 2 signed bytes */
void split_q8_0(const uint8_t *src, struct split_block *out)
{
    ones(out, f16_at(src), 0.0f);
    memcpy(out->codes, src + 2, 32);
}

/* 0 d, 2 nibbles */
void split_iq4_nl(const uint8_t *src, struct split_block *out)
{
    ones(out, f16_at(src), 0.0f);
    lookup_32(src + 2, CODES_IQ4, out->codes);
}

/* 0 E8M0 scale, 1 nibbles */
void split_mxfp4(const uint8_t *src, struct split_block *out)
{
    ones(out, f32_of_bits(e8m0_half_bits(src[0])), 0.0f);
    lookup_32(src + 1, CODES_E2M1, out->codes);
}

/* Value 128n + 32j + l of a plane of pairs of bits: bits 2j of byte 32n + l. */
static int pair_of(const uint8_t *qs, int i)
{
    return qs[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3;
}

/* Value 64c + 32h + l of a plane of nibbles: nibble h of byte 32c + l. */
static int nibble_of(const uint8_t *qs, int i)
{
    return qs[32 * (i / 64) + i % 32] >> 4 * (i % 64 / 32) & 15;
}

/* 0 sixteen bytes: scale in the low nibble, minimum in the high; 16 pairs, 80 d, 82 dmin */
void split_q2_k(const uint8_t *src, struct split_block *out)
{
    out->d = f16_at(src + 80);
    out->m = -f16_at(src + 82);
    for (int g = 0; g < 16; g++) {
        out->scales[g] = src[g] & 15;
        out->mins[g] = src[g] >> 4;
    }
    for (int i = 0; i < 256; i++) out->codes[i] = (int8_t)pair_of(src + 16, i);
}

/* 0 third bits: bit i / 32 of byte i % 32; 32 pairs, 96 scales, 108 d. Scale g has its low nibble in nibble g / 8 of
 * byte g % 8, its upper two bits in pair g / 4 of byte 8 + g % 4; 32 is subtracted. */
void split_q3_k(const uint8_t *src, struct split_block *out)
{
    const uint8_t *s = src + 96;
    out->d = f16_at(src + 108);
    out->m = 0.0f;
    for (int g = 0; g < 16; g++) {
        int low = s[g % 8] >> 4 * (g / 8) & 15, high = s[8 + g % 4] >> 2 * (g / 4) & 3;
        out->scales[g] = (int16_t)((low | high << 4) - 32);
        out->mins[g] = 0;
    }
    for (int i = 0; i < 256; i++)
        out->codes[i] = (int8_t)(pair_of(src + 32, i) + (src[i % 32] >> (i / 32) & 1) * 4 - 4);
}

/* 12 bytes: eight scales and eight minima of 6 bits, one a 32 values. Those of j < 4 are the low 6 bits of bytes j and
 * 4 + j; those of 4 + j have their low nibbles in byte 8 + j and their upper two bits on top of bytes j and 4 + j. */
static void scales_6bit(const uint8_t *s, struct split_block *out)
{
    for (int j = 0; j < 8; j++) {
        int scale = j < 4 ? s[j] & 63 : (s[4 + j] & 15) | s[j - 4] >> 6 << 4;
        int least = j < 4 ? s[4 + j] & 63 : s[4 + j] >> 4 | s[j] >> 6 << 4;
        out->scales[2 * j] = out->scales[2 * j + 1] = (int16_t)scale;
        out->mins[2 * j] = out->mins[2 * j + 1] = (int16_t)least;
    }
}

/* 0 d, 2 dmin, 4 scales, 16 nibbles */
void split_q4_k(const uint8_t *src, struct split_block *out)
{
    out->d = f16_at(src);
    out->m = -f16_at(src + 2);
    scales_6bit(src + 4, out);
    for (int i = 0; i < 256; i++) out->codes[i] = (int8_t)nibble_of(src + 16, i);
}

/* 0 d, 2 dmin, 4 scales, 16 fifth bits: bit i / 32 of byte i % 32; 48 nibbles */
void split_q5_k(const uint8_t *src, struct split_block *out)
{
    out->d = f16_at(src);
    out->m = -f16_at(src + 2);
    scales_6bit(src + 4, out);
    for (int i = 0; i < 256; i++)
        out->codes[i] = (int8_t)(nibble_of(src + 48, i) | (src[16 + i % 32] >> (i / 32) & 1) << 4);
}

/* 0 low nibbles, 128 upper pairs, 192 sixteen signed scales, 208 d. Value 128n + 32j + l: nibble j / 2 of byte
 * 64n + 32 (j % 2) + l, and a pair as in pair_of. */
void split_q6_k(const uint8_t *src, struct split_block *out)
{
    out->d = f16_at(src + 208);
    out->m = 0.0f;
    for (int g = 0; g < 16; g++) {
        out->scales[g] = (int16_t)(src[192 + g] < 128 ? src[192 + g] : src[192 + g] - 256);
        out->mins[g] = 0;
    }
    for (int i = 0; i < 256; i++) {
        int low = src[64 * (i / 128) + i % 64] >> 4 * (i % 128 / 64) & 15;
        out->codes[i] = (int8_t)((low | pair_of(src + 128, i) << 4) - 32);
    }
}

/* 0 d, 2 upper pairs of the scales, 4 their low nibbles, 8 nibbles as in eight blocks of IQ4_NL; 32 is subtracted from
 * a scale, which covers 32 values */
void split_iq4_xs(const uint8_t *src, struct split_block *out)
{
    uint32_t high = le_u16(src + 2), low = le_u32(src + 4);
    out->d = f16_at(src);
    out->m = 0.0f;
    for (int g = 0; g < 16; g++) {
        int scale = (int)((low >> 4 * (g / 2) & 15) | (high >> 2 * (g / 2) & 3) << 4);
        out->scales[g] = (int16_t)(scale - 32);
        out->mins[g] = 0;
    }
    for (int j = 0; j < 8; j++) lookup_32(src + 8 + 16 * j, CODES_IQ4, out->codes + 32 * j);
}
