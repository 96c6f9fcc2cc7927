/* Where the codes and scales of each format are in a packed block (docs/format/tiles.md), and how to make bytes of
 * them: a part of matmul_body.h. */

INLINE u32v load_u32(const uint8_t *p)
{
    u32v v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Vector v of a field of dwords. */
INLINE u32v plane(const uint8_t *field, size_t part, size_t v)
{
    return load_u32(field + 64 * v + 4 * LANES * part);
}

/* ---- blocks of 32 ---- */

/* i = 0..7 names a step; the two steps of one vector of nibbles are neighbours, so that it is loaded once. */
INLINE size_t step_32(size_t i)
{
    return i / 2 + i % 2 * 4;
}

INLINE u32v nibbles_32(const uint8_t *block, size_t part, size_t step)
{
    u32v v = plane(block, part, step % 4);
    return (step < 4 ? v : v >> 4) & 0x0f0f0f0f;
}

/* The fifth bits follow 256 bytes of nibbles: bit `step` of each byte. */
INLINE u32v codes_5bit(const uint8_t *block, size_t part, size_t step)
{
    u32v high = plane(block + 256, part, 0);
    high = step < 4 ? high << (4 - step) : high >> (step - 4);
    return nibbles_32(block, part, step) | (high & 0x10101010);
}

INLINE u32v codes_q8_0(const uint8_t *block, size_t part, size_t step)
{
    return wide_codes(plane(block, part, step));
}

INLINE u32v codes_iq4_nl(const uint8_t *block, size_t part, size_t step)
{
    return lookup_iq4(nibbles_32(block, part, step));
}

INLINE u32v codes_mxfp4(const uint8_t *block, size_t part, size_t step)
{
    return lookup_e2m1(nibbles_32(block, part, step));
}

/* ---- super-blocks of 256 ---- */

/* Step j of group i of a quarter (shape_256). */
struct step_256 {
    size_t quarter, i, j;
};

/* Byte i of each dword. */
INLINE u32v byte_of(u32v four, size_t i)
{
    return four >> (uint32_t)(8 * i) & 0xff;
}

/* In groups of 16 value 16g + 4j is in half `quarter % 2` of 128 values `quarter / 2`. */
INLINE u32v half_plane(const uint8_t *field, size_t part, size_t quarter, size_t j)
{
    return plane(field, part, 8 * (quarter / 2) + 4 * (quarter % 2) + j);
}

/* steps_* give a super-block's steps n = 0..63 in the order in which their low bits, or their high bits, lie in memory.
 * Of half planes: */
INLINE struct step_256 steps_of_halves(size_t n)
{
    return (struct step_256){ n / 16, n % 4, n / 4 % 4 };
}

/* Q2_K: 1024 bytes of pairs, 256 of scale and minimum nibbles, d, dmin */
INLINE u32v codes_q2_k(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j)
{
    return half_plane(block, part, quarter, j) >> (uint32_t)(2 * i) & 0x03030303;
}

/* Group 8 (quarter / 2) + 2i + quarter % 2 has byte 2 (i % 2) + quarter % 2 of dword 2 (quarter / 2) + i / 2. */
INLINE u32v scales_of_16(const uint8_t *field, size_t part, size_t quarter, size_t i)
{
    return plane(field, part, 2 * (quarter / 2) + i / 2) >> (uint32_t)(8 * (quarter % 2));
}

INLINE i32v scale_q2_k(const uint8_t *block, size_t part, size_t quarter, size_t i)
{
    return (i32v)(scales_of_16(block + 1024, part, quarter, i) >> (uint32_t)(16 * (i % 2)) & 15);
}

INLINE i32v minima_q2_k(const uint8_t *block, size_t part, size_t i)
{
    u32v two = plane(block + 1024, part, i / 2) >> (uint32_t)(i % 2 * 16) & 0xffff;
    return (i32v)((two >> 4 & 15) | (two << 4 & 0xf0000));
}

/* Q3_K: 1024 bytes of pairs, 512 of third bits, 192 of scales, d */
INLINE u32v codes_q3_k(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j)
{
    u32v high = plane(block + 1024, part, 4 * (quarter % 2) + j) >> (uint32_t)(4 * (quarter / 2));
    high = i <= 2 ? high << (uint32_t)(2 - i) : high >> (uint32_t)(i - 2);
    return codes_q2_k(block, part, quarter, i, j) | (high & 0x04040404);
}

INLINE i32v scale_q3_k(const uint8_t *block, size_t part, size_t quarter, size_t i)
{
    uint32_t shift = (uint32_t)(8 * (quarter % 2) + 4 * (quarter / 2)), same = (uint32_t)(16 * (i % 2));
    u32v low = plane(block + 1536, part, i / 2) >> shift >> same & 15;
    u32v high = plane(block + 1536, part, 2) >> shift >> (same + (uint32_t)(2 * (i / 2))) & 3;
    return (i32v)(low | high << 4) - 32;
}

/* Eight scales and eight minima of 6 bits in three dwords a row (split.c): dword 0 has scales, 1 minima. Four of them,
 * a byte each: those of the first or second half of the block. */
INLINE u32v six_bits(const uint8_t *field, size_t part, size_t which, bool second)
{
    u32v lower = plane(field, part, which), low = plane(field, part, 2) >> (uint32_t)(4 * which) & 0x0f0f0f0f;
    return second ? low | (lower >> 2 & 0x30303030) : lower & 0x3f3f3f3f;
}

/* Group 2 * quarter + i. */
INLINE i32v six_bit_scale(const uint8_t *field, size_t part, size_t quarter, size_t i)
{
    u32v four = six_bits(field, part, 0, quarter >= 2) >> (uint32_t)(16 * (quarter % 2));
    return (i32v)byte_of(four, i);
}

INLINE i32v six_bit_minima(const uint8_t *field, size_t part, size_t i)
{
    return (i32v)(byte_of(six_bits(field, part, 1, i >= 4), i % 4) * 0x10001);
}

/* Q4_K: 2048 bytes of nibbles, 192 of scales, d, dmin */
INLINE u32v codes_q4_k(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j)
{
    return plane(block, part, 8 * quarter + j) >> (uint32_t)(4 * i) & 0x0f0f0f0f;
}

INLINE struct step_256 steps_q4_k(size_t n)
{
    return (struct step_256){ n / 16, n % 2, n / 2 % 8 };
}

INLINE i32v scale_q4_k(const uint8_t *block, size_t part, size_t quarter, size_t i)
{
    return six_bit_scale(block + 2048, part, quarter, i);
}

INLINE i32v minima_q4_k(const uint8_t *block, size_t part, size_t i)
{
    return six_bit_minima(block + 2048, part, i);
}

/* Q5_K: 2048 bytes of nibbles, 512 of fifth bits, 192 of scales, d, dmin */
INLINE u32v high_q5_k(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j)
{
    return plane(block + 2048, part, j) >> (uint32_t)(2 * quarter) << (uint32_t)(4 - i) & 0x10101010;
}

INLINE u32v codes_q5_k(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j)
{
    return codes_q4_k(block, part, quarter, i, j) | high_q5_k(block, part, quarter, i, j);
}

INLINE struct step_256 high_steps_q5_k(size_t n)
{
    return (struct step_256){ n / 2 % 4, n % 2, n / 8 };
}

INLINE i32v scale_q5_k(const uint8_t *block, size_t part, size_t quarter, size_t i)
{
    return six_bit_scale(block + 2560, part, quarter, i);
}

INLINE i32v minima_q5_k(const uint8_t *block, size_t part, size_t i)
{
    return six_bit_minima(block + 2560, part, i);
}

/* Q6_K: 2048 bytes of low nibbles, 1024 of upper pairs, 256 of signed scales, d */
INLINE u32v low_q6_k(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j)
{
    size_t v = 16 * (quarter / 2) + 8 * (i % 2) + 4 * (quarter % 2) + j;
    return plane(block, part, v) >> (uint32_t)(4 * (i / 2)) & 0x0f0f0f0f;
}

INLINE u32v high_q6_k(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j)
{
    u32v high = half_plane(block + 2048, part, quarter, j);
    return (i <= 2 ? high << (uint32_t)(4 - 2 * i) : high >> 2) & 0x30303030;
}

INLINE u32v codes_q6_k(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j)
{
    return low_q6_k(block, part, quarter, i, j) | high_q6_k(block, part, quarter, i, j);
}

INLINE struct step_256 steps_q6_k(size_t n)
{
    return (struct step_256){ n / 32 * 2 + n / 8 % 2, n % 2 * 2 + n / 16 % 2, n / 2 % 4 };
}

INLINE i32v scale_q6_k(const uint8_t *block, size_t part, size_t quarter, size_t i)
{
    return (i32v)(scales_of_16(block + 3072, part, quarter, i) << (uint32_t)(i % 2 == 0 ? 24 : 8)) >> 24;
}

/* IQ4_XS: 2048 bytes of nibbles, 64 of low and 32 of high bits of scales, d */
INLINE u32v codes_iq4_xs(const uint8_t *block, size_t part, size_t quarter, size_t i, size_t j)
{
    return lookup_iq4(plane(block, part, 8 * quarter + 4 * i + j % 4) >> (uint32_t)(j / 4 * 4) & 0x0f0f0f0f);
}

INLINE struct step_256 steps_iq4_xs(size_t n)
{
    return (struct step_256){ n / 16, n / 8 % 2, n % 2 * 4 + n / 2 % 4 };
}

INLINE i32v scale_iq4_xs(const uint8_t *block, size_t part, size_t quarter, size_t i)
{
    u32v low = plane(block + 2048, part, 0) >> (uint32_t)(8 * quarter) >> (uint32_t)(4 * i) & 15;
    u32v high = load_u16(block + 2112 + 2 * LANES * part) >> (uint32_t)(4 * quarter) >> (uint32_t)(2 * i) & 3;
    return (i32v)(low | high << 4) - 32;
}
