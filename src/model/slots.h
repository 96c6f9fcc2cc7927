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

#endif
