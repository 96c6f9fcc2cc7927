/* Which tensors a model of given hyperparameters has, where a file keeps them, and where they go in struct model: one
 * table for packing and for binding, so that an image holds exactly what the graph asks for. A slot's number in an
 * image is its place in that table. */
#ifndef HEARTH_MODEL_SLOTS_H
#define HEARTH_MODEL_SLOTS_H

#include "image/image.h"
#include "model/model.h"

/* Most slots of one layer, and of the model outside its layers. */
enum { SLOTS_PER_LAYER = 48, SLOTS_OUTSIDE = 5 };

/* Fills `out` (room for SLOTS_OUTSIDE + layers * SLOTS_PER_LAYER) with where a file keeps every slot of `h`, in the
 * order of an image. Errors: ERR_MISSING, ERR_VALUE (a shape: both are named), ERR_UNSUPPORTED (a weight type, or a
 * tensor of the file that this architecture has no place for: a model is computed whole or not at all). */
bool slots_resolve(const struct hyper *h, const gguf_files *files, struct image_tensor_source *out, size_t *count,
                   arena *a, err *e);

/* Points m->embedding, m->layers (taken from m->arena) and the rest at the tensors of a checked image; m->hyper is
 * there. Errors: ERR_MISSING, ERR_VALUE (a shape), ERR_UNSUPPORTED (a tensor without a place); rope divisors that are
 * not over 0. Those are copied before they are looked at. */
bool slots_bind(model *m, const struct image *i, err *e);

/* The matrices that products are made with, under the name that their tensor has in a model file: a fused tensor's
 * parts under the same name, a tied output matrix as the embedding. Stops where `each` returns false. */
struct slot_matrix {
    view name;    /* borrowed, for the length of the call */
    matrix first; /* of expert or head 0 */
    size_t count; /* 1, experts, heads */
};
typedef bool slot_matrix_fn(void *arg, const struct slot_matrix *s, err *e);
bool slots_each_matrix(const model *m, slot_matrix_fn *each, void *arg, err *e);

#endif
