/* How much each column of each matrix matters: the root of the mean square of the activations that met it while a text
 * was computed. An error e in a weight of column c changes a product by e * x[c], so mean squares would be what squared
 * errors are to be weighted with, were errors of one block independent (the diagonal of LeCun, Denker and Solla,
 * "Optimal Brain Damage", 1989). They are not: a scale that serves the few largest columns cuts the
 * others off, all to the same side. With roots the KL divergence of stories260K in Q4_K_M fell by 3 % (mean of three
 * texts, on which the root was chosen), with mean squares it rose by 2 %; that of Q4_0 rose with both.
 *
 * Sums are f64 and in order of tokens, one column after the other: the same for any threads and chunks. Filled by
 * graph_watch_inputs; numbers only, no text. */
#ifndef HEARTH_MODEL_IMPORTANCE_H
#define HEARTH_MODEL_IMPORTANCE_H

#include "base/arena.h"
#include "model/graph.h"

typedef struct importance importance;

/* Counters for every matrix of `m`, from the arena: 8 bytes a column (of every expert). Errors: ERR_MEMORY. */
bool importance_new(importance **out, const model *m, arena *a, err *e);

/* An input_watch whose arg is an importance. The graph computes with f32 activations. */
void importance_watch(void *arg, const struct input_event *e);

/* Of the tensor with this name in the model's file: `count` times `cols` f32, of each expert (or head) in turn, from
 * the arena. Those that met no token are zeros, which an encoder takes for "all alike". *out is NULL where nothing is
 * multiplied with the tensor. Errors: ERR_MEMORY. */
bool importance_of(const importance *i, view name, arena *a, const float **out, size_t *count, size_t *cols, err *e);

#endif
