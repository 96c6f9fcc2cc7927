/* Computing a whole list of ids and looking at the rows of some positions: what logits, eval, embed and bench share. */
#ifndef HEARTH_CMD_ROWS_H
#define HEARTH_CMD_ROWS_H

#include "cmd/open.h"

/* One sequence on one graph. All zeros is closed. */
struct rows {
    const struct opened *o;
    size_t chunk_tok;
    graph *graph;
    kv_pool pool;
    kv_seq seq;
    arena arena;
    struct step_token *step;
};

/* Plans `ctx_tok` positions and chunks of `chunk_tok` (0: 512).
 * Undo with rows_free. */
bool rows_new(struct rows *r, const struct opened *o, size_t ctx_tok, size_t chunk_tok, err *e);
void rows_free(struct rows *r);

/* Called in order of positions: rows 0..count-1 of the graph belong to positions first..first+count-1. */
typedef bool rows_fn(void *arg, const graph *g, size_t first, size_t count, err *e);

/* Forgets what was computed, computes `ids`, and hands out the rows of positions from `wanted` on. */
bool rows_compute(struct rows *r, const int32_t *ids, size_t count, size_t wanted, rows_fn *fn, void *arg, err *e);

#endif
