/* Packed weights. A matrix of rows x cols (rows are outputs) is cut into tiles of 16 rows; the last one is filled with
 * zero weights. Rows are lanes: inside a tile the inner dimension runs in blocks, and a vector of 512 bits holds
 * 4 consecutive inner values of 16 rows (row r at bytes 4r..4r+3), so that one broadcast of 4 activations meets it.
 * Codes under 8 bits are planes of such vectors; scales stand beside their block. Lossless, as large as the file's
 * bytes (for 16 rows), the same bytes on every CPU. docs/format/tiles.md draws each type.
 *
 *   tile 0                         tile 1                              each tile starts on a multiple of 64 bytes
 *   | block 0 | block 1 | ... |    | block 0 | ... */
#ifndef HEARTH_KERNELS_TILE_H
#define HEARTH_KERNELS_TILE_H

#include "kernels/weight.h"

enum { TILE_ROWS = 16 };

typedef struct matrix {
    enum weight_type type;
    size_t rows, cols;
    size_t tile_bytes;    /* tile_bytes_of(type, cols) */
    const uint8_t *tiles; /* tile_count(rows) * tile_bytes, aligned to 64 */
} matrix;

static inline size_t tile_count(size_t rows)
{
    return (rows + TILE_ROWS - 1) / TILE_ROWS;
}

/* Bytes of one packed tile of `cols` inner values (a multiple of the type's block). */
size_t tile_bytes_of(enum weight_type type, size_t cols);

/* Packs rows 16 * tile .. 16 * tile + 15 of a matrix in file layout (rows of cols / block_values blocks) into
 * tile_bytes_of(type, cols) bytes. Threads may take different tiles. */
void tile_pack(enum weight_type type, const uint8_t *file, size_t rows, size_t cols, size_t tile, uint8_t *out);

/* `count` blocks of one row from `block` on, in file layout. Rows of the last tile that the matrix lacks can be asked
 * for as well: they are zeros. */
void tile_unpack_blocks(const matrix *w, size_t row, size_t block, size_t count, uint8_t *out);

/* The file layout of one row again, for tests, hashes and export. */
void tile_unpack_row(const matrix *w, size_t row, uint8_t *out);

/* The row's weights, widened exactly: cols floats. */
void tile_widen_row(const matrix *w, size_t row, float *out);

#endif
