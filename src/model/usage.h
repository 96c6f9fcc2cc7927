/* Which experts a run used: how often, in which layer, and how long after their last use. What streaming, pruning and
 * curiosity ask of a sparse model. Filled from what graph_watch tells, here or in the engine's process; numbers only,
 * no text. */
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

/* What one layer chose for the tokens of a step, as it crosses a border between processes too. */
struct usage_seen {
    size_t layer, count;       /* tokens */
    const uint32_t *positions; /* count */
    const uint16_t *experts;   /* count x top_k, a token's in order of their numbers */
    uint64_t alone, shortlist, refined, rescored, bytes; /* sums over the tokens */
};

/* Arrays of `room` tokens for usage_read, from `a`. */
bool usage_seen_new(struct usage_seen *s, size_t room, size_t top_k, arena *a, err *e);
size_t usage_seen_bytes(size_t room, size_t top_k);

/* What the graph's watcher hears, into arrays of at least its token_count. */
void usage_read(struct usage_seen *s, size_t top_k, const struct expert_event *e);

bool usage_new(struct usage *u, size_t layers, size_t experts, size_t top_k, arena *a, err *e);

/* Counts it. The layer and the experts are in range: who hears of them from elsewhere has looked. */
void usage_take(struct usage *u, const struct usage_seen *s);

/* The share of a layer's uses that its most used `part` of experts have, part in 0..1: 1/4 for even use at 1/4. */
double usage_share(const struct usage *u, size_t layer, double part, uint64_t *room);

/* Experts of a layer that no token took. */
size_t usage_idle(const struct usage *u, size_t layer);

#endif
