/* kernels/tile.h: packing loses nothing, fills the last tile with zeros, and is no larger than promised. */
#include "kernels/tile.h"

#include "base/checked.h"
#include "check.h"
#include "kernels/random_weights.h"

/* rows x cols: pack every tile, take every row apart again. */
static void round_trip(enum weight_type type, size_t rows, size_t cols)
{
    const struct weight_kind *kind = weight_kind(type);
    size_t blocks = cols / kind->block_values, row_bytes = blocks * kind->block_bytes;
    matrix w = { .type = type, .rows = rows, .cols = cols, .tile_bytes = tile_bytes_of(type, cols) };
    uint8_t *file = malloc(rows * row_bytes), *row = malloc(row_bytes);
    uint8_t *tiles = aligned_alloc(64, tile_count(rows) * w.tile_bytes);
    float *want = malloc(cols * sizeof *want), *got = malloc(cols * sizeof *got);
    random_weights(type, FILL_RANDOM, rows * 131 + cols, rows * blocks, file);
    memset(tiles, 0xee, tile_count(rows) * w.tile_bytes);
    for (size_t t = 0; t < tile_count(rows); t++) tile_pack(type, file, rows, cols, t, tiles + t * w.tile_bytes);
    w.tiles = tiles;
    size_t wrong = 0, wrong_wide = 0;
    for (size_t r = 0; r < rows; r++) {
        tile_unpack_row(&w, r, row);
        wrong += memcmp(row, file + r * row_bytes, row_bytes) != 0;
        kind->widen(file + r * row_bytes, blocks, want);
        tile_widen_row(&w, r, got);
        wrong_wide += memcmp(want, got, cols * sizeof *want) != 0;
    }
    CHECK(wrong == 0 && wrong_wide == 0, "%s %zu x %zu: %zu rows unpacked, %zu widened wrong", kind->name, rows, cols,
          wrong, wrong_wide);
    size_t not_zero = 0;
    for (size_t r = rows; r < tile_count(rows) * TILE_ROWS; r++) {
        tile_unpack_row(&w, r, row);
        for (size_t i = 0; i < row_bytes; i++) not_zero += row[i] != 0;
    }
    CHECK(not_zero == 0, "%s %zu x %zu: %zu bytes of rows past the end", kind->name, rows, cols, not_zero);
    CHECK(w.tile_bytes % 64 == 0 && w.tile_bytes - TILE_ROWS * row_bytes < 64, "%s: %zu bytes a tile of %zu columns",
          kind->name, w.tile_bytes, cols);
    /* One flipped bit in a packed code shows: the comparison above can fail. */
    tiles[0] ^= 0x10;
    tile_unpack_row(&w, 0, row);
    CHECK(memcmp(row, file, row_bytes) != 0, "%s: a planted fault is seen", kind->name);
    free(file), free(row), free(tiles), free(want), free(got);
}

/* What tile.h promises: four inner values of row r at bytes 4r of one vector. */
static void lanes(void)
{
    enum { COLS = 32 };
    uint8_t file[TILE_ROWS * 34] = { 0 }, tile[576];
    for (size_t r = 0; r < TILE_ROWS; r++)
        for (size_t i = 0; i < COLS; i++) file[34 * r + 2 + i] = (uint8_t)(r * 16 + i % 16);
    tile_pack(WEIGHT_Q8_0, file, TILE_ROWS, COLS, 0, tile);
    size_t wrong = 0;
    for (size_t r = 0; r < TILE_ROWS; r++)
        for (size_t i = 0; i < COLS; i++)
            wrong += tile[i / 4 * 64 + 4 * r + i % 4] != (uint8_t)((r * 16 + i % 16) ^ 0x80);
    CHECK(wrong == 0, "Q8_0: %zu of 512 codes out of place", wrong);
}

int main(void)
{
    static const size_t rows[] = { 1, 15, 16, 17, 40 }, blocks[] = { 1, 2, 3, 8 };
    for (uint32_t type = 0; type < WEIGHT_TYPES; type++) {
        const struct weight_kind *kind = weight_kind(type);
        if (kind == NULL) continue;
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
                round_trip(kind->type, rows[r], blocks[b] * kind->block_values);
        round_trip(kind->type, 33, 2560);
        if (kind->block_values == 1) round_trip(kind->type, 18, 77);
    }
    lanes();
    return check_done();
}
