/* One optimizer step: gradients of the step's microbatches, summed by one tree, clipped, given to AdamW, or those of
 * matrices between hidden vectors to Muon (muon.h).
 *
 * The tree over microbatch indices is the binary one: indices 2i and 2i + 1 are added, then pairs of pairs; where the
 * count is no power of two the subtrees that are left over are added from the right, each sum to the one left of it. It
 * depends on the count alone, so any worker that owns an aligned power of two of microbatches computes a subtree of it.
 */
#ifndef HEARTH_TRAIN_STEP_H
#define HEARTH_TRAIN_STEP_H

#include "train/net.h"

struct schedule {
    double rate;                   /* the highest */
    uint64_t warmup, steps, decay; /* up from 0 over `warmup` steps, down to 0 over the last `decay` of `steps` */
};

struct optimizer {
    struct schedule schedule;
    double beta1, beta2, eps, weight_decay;
    double muon;                   /* momentum of hidden matrices; 0: AdamW for all */
    double clip;                   /* the largest norm of a step's gradient; 0: none */
};

/* A step's input: `count` microbatches, one after the other in each array. */
struct step_batch {
    size_t count, rows, row_tok;   /* rows of each microbatch */
    const int32_t *tok, *target, *starts;
};

struct step_result {
    double loss;                   /* mean over targets, nats */
    double aux;
    double grad_norm;              /* before clipping */
    double rate;
    size_t targets, right;
};

enum { GRAD_LEVELS_MAX = 24 };     /* 2^23 microbatches a step */

struct trainer {
    struct net net;
    struct optimizer optimizer;
    uint64_t step;                 /* steps done */
    real *params, *m, *v;          /* runs of net.layout.total */
    real *grads[GRAD_LEVELS_MAX];  /* sums of finished subtrees, the largest first; the leaf in work on top */
    size_t grad_levels;
    double *chunk_sums;            /* [ceil(total / STEP_CHUNK)] */
    real *muon_scratch;            /* threads * muon_reals */
    size_t muon_reals;
};

enum { STEP_CHUNK = 4096 };        /* parameters of one tile of the optimizer, and of one partial sum of the norm */

/* Plans state for steps of at most `micro_max` microbatches of `tokens_max` tokens; weights are not set. Errors: as
 * net_make. */
bool trainer_make(struct trainer *t, const struct layout *l, const struct optimizer *o, size_t micro_max,
                  size_t tokens_max, size_t row_tok_max, const struct gemm_kernels *gemm, const struct ops *ops,
                  team *threads, arena *a, err *e);

/* One step. Errors: ERR_VALUE where the loss or a gradient is not finite (the text names the tensor); parameters and
 * optimizer state are then as before the step. */
bool trainer_step(struct trainer *t, const struct step_batch *b, struct step_result *out, err *e);

/* The first step whose rate is under the full one again. */
static inline uint64_t decay_from(const struct schedule *s)
{
    return s->steps > s->decay ? s->steps - s->decay : 0;
}

/* The rate of the step after `done` others. */
double schedule_rate(const struct schedule *s, uint64_t done);

/* beta^n by repeated squaring, in f64: no libm. */
double power_u64(double beta, uint64_t n);

#endif
