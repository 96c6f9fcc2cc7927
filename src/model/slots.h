/* Which tensors a model has: one row a slot, with the shape that the hyperparameters ask for. */
#ifndef HEARTH_MODEL_SLOTS_H
#define HEARTH_MODEL_SLOTS_H

#include "model/model.h"

/* Where one slot's weights come from, after the file was asked. */
struct slot_source {
    const gguf_tensor *tensor;
    size_t first_row; /* in the tensor: fused tensors hold several slots */
    size_t rows, cols;
    size_t count;      /* matrices of rows x cols: experts, or heads; else 1 */
    matrix *to_matrix; /* one of the three is set */
    const float **to_rows; /* rows * cols floats */
    struct expert_matrix *to_experts;
};

/* Most slots of one layer, and of the model outside its layers. */
enum { SLOTS_PER_LAYER = 48, SLOTS_OUTSIDE = 5 };

/* Fills `out` (room for SLOTS_OUTSIDE + layers * SLOTS_PER_LAYER) with the sources of every slot of m->hyper; m->layers
 * is there. Errors: ERR_MISSING, ERR_VALUE (a shape: both are named), ERR_UNSUPPORTED (a weight type, or a tensor of
 * the file that this architecture has no place for: a model is computed whole or not at all). */
bool slots_resolve(model *m, struct slot_source *out, size_t *count, err *e);

#endif
