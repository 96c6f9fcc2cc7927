/* Packing is one operation for every format: a block's bytes are fields of units (1, 2 or 4 bytes), and the packed
 * block holds, field by field and unit by unit, the units of 16 rows side by side. Formats keep four neighbouring
 * values in one 4-byte unit at the same bits, so a field of codes becomes planes of vectors as tile.h wants them
 * without looking inside a unit; the two exceptions are `change` below. Scales follow the codes.
 *
 *   file, a row         | d | 16 bytes of nibbles |
 *   packed, 16 rows     | unit 0 of rows 0..15 | unit 1 ... | unit 2 | unit 3 | d of rows 0..15 |   (Q4_0: 288 bytes)
 */
#include "kernels/tile.h"

#include "base/checked.h"
#include "base/le.h"

#include <assert.h>
#include <string.h>

enum change {
    AS_IS,
    BIASED,   /* signed bytes to value + 128: the multiply of x86 wants one side unsigned */
    BIT_PLANE /* bit i of 32 to bit i / 4 of byte i % 4: one shift then serves four neighbouring values */
};

struct field {
    uint8_t at, bytes; /* in the file's block */
    uint8_t unit;
    uint8_t change;
};

enum { FIELDS_MAX = 5 };

/* In packed order; a row ends where bytes is 0. */
static const struct field FIELDS[WEIGHT_TYPES][FIELDS_MAX] = {
    [WEIGHT_F32] = { { 0, 4, 4, AS_IS } },
    [WEIGHT_F16] = { { 0, 2, 2, AS_IS } },
    [WEIGHT_BF16] = { { 0, 2, 2, AS_IS } },
    [WEIGHT_Q4_0] = { { 2, 16, 4, AS_IS }, { 0, 2, 2, AS_IS } },
    [WEIGHT_Q4_1] = { { 4, 16, 4, AS_IS }, { 0, 4, 2, AS_IS } },
    [WEIGHT_Q5_0] = { { 6, 16, 4, AS_IS }, { 2, 4, 4, BIT_PLANE }, { 0, 2, 2, AS_IS } },
    [WEIGHT_Q5_1] = { { 8, 16, 4, AS_IS }, { 4, 4, 4, BIT_PLANE }, { 0, 4, 2, AS_IS } },
    [WEIGHT_Q8_0] = { { 2, 32, 4, BIASED }, { 0, 2, 2, AS_IS } },
    [WEIGHT_Q2_K] = { { 16, 64, 4, AS_IS }, { 0, 16, 4, AS_IS }, { 80, 4, 2, AS_IS } },
    [WEIGHT_Q3_K] = { { 32, 64, 4, AS_IS }, { 0, 32, 4, AS_IS }, { 96, 12, 4, AS_IS }, { 108, 2, 2, AS_IS } },
    [WEIGHT_Q4_K] = { { 16, 128, 4, AS_IS }, { 4, 12, 4, AS_IS }, { 0, 4, 2, AS_IS } },
    [WEIGHT_Q5_K] = { { 48, 128, 4, AS_IS }, { 16, 32, 4, AS_IS }, { 4, 12, 4, AS_IS }, { 0, 4, 2, AS_IS } },
    [WEIGHT_Q6_K] = { { 0, 128, 4, AS_IS }, { 128, 64, 4, AS_IS }, { 192, 16, 4, AS_IS }, { 208, 2, 2, AS_IS } },
    [WEIGHT_IQ4_NL] = { { 2, 16, 4, AS_IS }, { 0, 2, 2, AS_IS } },
    [WEIGHT_IQ4_XS] = { { 8, 128, 4, AS_IS }, { 4, 4, 4, AS_IS }, { 2, 2, 2, AS_IS }, { 0, 2, 2, AS_IS } },
    [WEIGHT_MXFP4] = { { 1, 16, 4, AS_IS }, { 0, 1, 1, AS_IS } },
};

size_t tile_bytes_of(enum weight_type type, size_t cols)
{
    const struct weight_kind *kind = weight_kind(type);
    assert(kind != NULL);
    assert(cols % kind->block_values == 0);
    return round_up(cols / kind->block_values * kind->block_bytes * TILE_ROWS, 64);
}

/* Bits 0 2 4 ... to the lower half, 1 3 5 ... to the upper, in their order: each step swaps the middle two quarters of
 * ever larger groups (H. S. Warren, "Hacker's Delight", 7-2). On the five bits of an index it is a turn by one. */
static uint32_t unshuffle(uint32_t x)
{
    x = (x & 0x99999999) | (x & 0x22222222) << 1 | (x >> 1 & 0x22222222);
    x = (x & 0xc3c3c3c3) | (x & 0x0c0c0c0c) << 2 | (x >> 2 & 0x0c0c0c0c);
    x = (x & 0xf00ff00f) | (x & 0x00f000f0) << 4 | (x >> 4 & 0x00f000f0);
    return (x & 0xff0000ff) | (x & 0x0000ff00) << 8 | (x >> 8 & 0x0000ff00);
}

/* Two turns take bit 4s + k to bit 8k + s, and the other three of five take it back. */
static uint32_t unit_pack(uint32_t unit, uint8_t change)
{
    if (change == BIASED) return unit ^ 0x80808080;
    return change == BIT_PLANE ? unshuffle(unshuffle(unit)) : unit;
}

static uint32_t unit_unpack(uint32_t unit, uint8_t change)
{
    if (change == BIASED) return unit ^ 0x80808080;
    return change == BIT_PLANE ? unshuffle(unshuffle(unshuffle(unit))) : unit;
}

typedef uint32_t quad __attribute__((vector_size(16)));

static inline quad quad_load(const uint8_t *p, quad flip)
{
    quad v;
    memcpy(&v, p, sizeof v);
    return v ^ flip;
}

/* `bytes` (a multiple of 16) of units of 4 bytes of all 16 rows to their places: squares of four units of four rows are
 * turned, because packing is to run at the speed of memory, and a load and a store a unit do not. */
static void squares_pack(const uint8_t *const row[TILE_ROWS], size_t bytes, uint32_t flip_unit, uint8_t *out)
{
    const quad flip = { flip_unit, flip_unit, flip_unit, flip_unit };
    for (size_t i = 0; i < bytes; i += 16)
        for (size_t r = 0; r < TILE_ROWS; r += 4) {
            quad a = quad_load(row[r] + i, flip), b = quad_load(row[r + 1] + i, flip);
            quad c = quad_load(row[r + 2] + i, flip), d = quad_load(row[r + 3] + i, flip);
            quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            const quad units[4] = { __builtin_shufflevector(ab, cd, 0, 1, 4, 5),
                                    __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                                    __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                                    __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7) };
            for (size_t u = 0; u < 4; u++) memcpy(out + 16 * i + 64 * u + 4 * r, &units[u], sizeof units[u]);
        }
}

/* `bytes` of units of one row to their places: unit u of row r at (16 u + r) * unit. */
static void units_pack(const struct field *f, const uint8_t *src, size_t bytes, uint8_t *out)
{
    if (f->unit == 4 && f->change == AS_IS)
        for (size_t i = 0; i < bytes; i += 4) memcpy(out + 16 * i, src + i, 4);
    else if (f->unit == 4)
        for (size_t i = 0; i < bytes; i += 4) le_put_u32(out + 16 * i, unit_pack(le_u32(src + i), f->change));
    else if (f->unit == 2)
        for (size_t i = 0; i < bytes; i += 2) memcpy(out + 16 * i, src + i, 2);
    else
        for (size_t i = 0; i < bytes; i++) out[16 * i] = src[i];
}

static void field_pack(const struct field *f, const uint8_t *const row[TILE_ROWS], uint8_t *out)
{
    if (f->unit == 4 && f->bytes % 16 == 0 && f->change != BIT_PLANE)
        squares_pack(row, f->bytes, unit_pack(0, f->change), out);
    else
        for (size_t r = 0; r < TILE_ROWS; r++) units_pack(f, row[r], f->bytes, out + r * f->unit);
}

static void field_unpack(const struct field *f, const uint8_t *packed, size_t row, uint8_t *block)
{
    uint8_t *out = block + f->at;
    size_t units = (size_t)f->bytes / f->unit;
    packed += row * f->unit;
    for (size_t u = 0; u < units; u++) {
        if (f->unit == 4) le_put_u32(out + 4 * u, unit_unpack(le_u32(packed + 64 * u), f->change));
        if (f->unit == 2) memcpy(out + 2 * u, packed + 32 * u, 2);
        if (f->unit == 1) out[u] = packed[16 * u];
    }
}

void tile_pack(enum weight_type type, const uint8_t *file, size_t rows, size_t cols, size_t tile, uint8_t *out)
{
    const struct weight_kind *kind = weight_kind(type);
    size_t tile_bytes = tile_bytes_of(type, cols), blocks = cols / kind->block_values;
    size_t first = tile * TILE_ROWS, here = min_size(rows - first, TILE_ROWS);
    assert(first < rows);
    /* Rows past the end must be zero weights, also in biased codes; the bytes after the last block are zeros too. */
    static const uint8_t ZERO_BLOCK[256] = { 0 };
    size_t packed_bytes = blocks * kind->block_bytes * TILE_ROWS;
    memset(out + packed_bytes, 0, tile_bytes - packed_bytes);
    if (kind->block_values == 1) { /* a row of single values is one field of as many units */
        if (here < TILE_ROWS) memset(out, 0, packed_bytes);
        for (size_t r = 0; r < here; r++)
            units_pack(FIELDS[type], file + (first + r) * blocks * kind->block_bytes, blocks * kind->block_bytes,
                       out + r * FIELDS[type]->unit);
        return;
    }
    for (size_t b = 0; b < blocks; b++)
        for (const struct field *f = FIELDS[type]; f < FIELDS[type] + FIELDS_MAX && f->bytes > 0; f++) {
            const uint8_t *row[TILE_ROWS];
            for (size_t r = 0; r < TILE_ROWS; r++)
                row[r] = (r < here ? file + ((first + r) * blocks + b) * kind->block_bytes : ZERO_BLOCK) + f->at;
            field_pack(f, row, out);
            out += TILE_ROWS * f->bytes;
        }
}

void tile_unpack_blocks(const matrix *w, size_t row, size_t block, size_t count, uint8_t *out)
{
    const struct weight_kind *kind = weight_kind(w->type);
    const uint8_t *packed = w->tiles + row / TILE_ROWS * w->tile_bytes + block * kind->block_bytes * TILE_ROWS;
    assert(row < tile_count(w->rows) * TILE_ROWS);
    for (size_t b = 0; b < count; b++)
        for (const struct field *f = FIELDS[w->type]; f < FIELDS[w->type] + FIELDS_MAX && f->bytes > 0; f++) {
            field_unpack(f, packed, row % TILE_ROWS, out + b * kind->block_bytes);
            packed += TILE_ROWS * f->bytes;
        }
}

void tile_unpack_row(const matrix *w, size_t row, uint8_t *out)
{
    tile_unpack_blocks(w, row, 0, w->cols / weight_kind(w->type)->block_values, out);
}

void tile_widen_row(const matrix *w, size_t row, float *out)
{
    const struct weight_kind *kind = weight_kind(w->type);
    uint8_t file[1024];
    size_t blocks = w->cols / kind->block_values, each = sizeof file / kind->block_bytes;
    for (size_t b = 0; b < blocks; b += each) {
        size_t count = min_size(each, blocks - b);
        tile_unpack_blocks(w, row, b, count, file);
        kind->widen(file, count, out + b * kind->block_values);
    }
}
