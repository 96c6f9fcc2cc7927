/* Which experts a run used: how often, in which layer, and how long after their last use. What streaming, pruning and
 * curiosity ask of a sparse model. Filled by graph_watch; numbers only, no text. */
#ifndef HEARTH_MODEL_USAGE_H
#define HEARTH_MODEL_USAGE_H

#include "base/arena.h"
#include "model/graph.h"

enum { USAGE_DISTANCES = 24 }; /* powers of two: 1, 2-3, 4-7, ... tokens */

struct usage {
    size_t layers, experts, top_k;
    uint64_t *used;    /* layers x experts: tokens that took it */
    uint64_t *last;    /* the token that took it last, from 1; 0: none yet */
    uint64_t *tokens;  /* layers: tokens decided */
    uint64_t distance[USAGE_DISTANCES]; /* uses of an expert so many tokens after its last use in that layer */
    uint64_t first_uses;
    uint64_t decisions, alone, shortlist, refined, rescored; /* alone: nobody but the chosen was read exactly */
    double bytes; /* of routers and their second forms that were read */
};

bool usage_new(struct usage *u, const struct hyper *h, arena *a, err *e);

/* An expert_watch whose arg is a struct usage. */
void usage_watch(void *arg, const struct expert_event *e);

/* The share of a layer's uses that its most used `part` of experts have, part in 0..1: 1/4 for even use at 1/4. */
double usage_share(const struct usage *u, size_t layer, double part, uint64_t *room);

/* Experts of a layer that no token took. */
size_t usage_idle(const struct usage *u, size_t layer);

#endif
