/* Making a router's second form (route.h) from its f32 rows, when a model is packed. The bytes are a function of the
 * rows alone. docs/format/image.md draws them:
 *
 *   PLANES        facts (16 bytes a row) | scales | A | B           each part at the next multiple of 64
 *   PLANES_BF16   facts | scales | A | rows as bf16
 *   BF16          rows as bf16
 *   FACTOR        facts | Q | O */
#ifndef HEARTH_KERNELS_ROUTE_PACK_H
#define HEARTH_KERNELS_ROUTE_PACK_H

#include "base/arena.h"
#include "base/team.h"
#include "kernels/route.h"

struct route_shape {
    enum route_form form;
    size_t experts, cols;
    size_t rank; /* FACTOR; else 1 */
};

/* What a layer asks of its router: decides which form can pay. */
struct route_use {
    size_t top_k;
    bool all_scores; /* weights need every score */
    bool groups;     /* only experts of the best groups can be chosen */
};

/* The form for these rows, ROUTE_NONE where none pays: a small router; a few experts of which many are taken; one whose
 * every score is needed and whose rows are no bf16. Looks at the rows: all of them where they are bf16, else at a
 * sample of their columns to see whether they are a product of small rank. Errors: ERR_MEMORY. */
bool route_shape_of(const float *rows, size_t experts, size_t cols, struct route_use use, struct route_shape *out,
                    arena *scratch, err *e);

/* Bytes of a form, a multiple of 64. experts <= EXPERTS_MAX, cols <= WIDTH_MAX, rank <= experts. */
size_t route_bytes(const struct route_shape *s);

/* Fills `out`, which holds zeros. Errors: ERR_MEMORY. */
bool route_pack(const struct route_shape *s, const float *rows, uint8_t *out, team *t, arena *scratch, err *e);

/* Points into bytes that route_pack made (or an image holds); 64-aligned. */
struct route route_bind(const struct route_shape *s, const uint8_t *bytes);

#endif
