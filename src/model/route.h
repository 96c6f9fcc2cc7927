/* Which experts a token gets, and with which weights: see DESIGN of the gate in docs/arithmetic.md, "Experts". The
 * result is that of exact scores of all experts, always. Where the layer has a second form of its router
 * (kernels/route.h), most experts are shown not to matter by bounds, and only the rest are scored exactly:
 *
 *   1  intervals     every expert's rank lies in [low, high], from codes or a factor
 *   2  groups        where only the best groups count: theirs from the two best lows and highs; a group that is neither
 *                    in nor out for sure gets exact scores of those that can be its two best
 *   3  shortlist     experts whose high reaches the top_k-th largest low: the top_k are among them
 *   4  refine        intervals of these by the second plane, where there is one; the shortlist again
 *   5  exact         the f32 (or bf16) rows of what is left, by the same `dot` as ever; top_k of these
 *
 * Every step from a score to a rank (bias, sigmoid, bias) is monotone in f32 up to the roundings that rank_ends adds,
 * so intervals of scores give intervals of ranks. Anything not finite, and any bound that says nonsense (a mapped image
 * can change under its reader), falls back to scoring all. */
#ifndef HEARTH_MODEL_ROUTE_H
#define HEARTH_MODEL_ROUTE_H

#include "base/limits.h"
#include "kernels/bind.h"
#include "model/model.h"

#include <stdatomic.h>

/* One expert of one token. */
struct choice {
    size_t expert, pair; /* the pair: its row among all (token, expert) rows of the step, ordered by expert */
    float weight;
};

/* How a decision was made. */
struct route_tally {
    size_t shortlist; /* experts left after the first look; all of them where everything was scored */
    size_t refined;   /* rows of the second plane read for single experts */
    size_t rescored;  /* rows read exactly */
    size_t bytes;     /* of the router and its forms that were read */
};

/* A thread's memory for decisions. `room` holds route_room_bytes. */
struct route_scratch {
    _Alignas(64) _Atomic size_t next; /* of its stretch of the router: the first row that nobody reads yet */
    struct route_input input;
    bool input_made, listed, share_read; /* of the decision that goes on */
    float *score, *reach, *low, *high; /* experts each; score becomes exact where `exact` says so */
    float *inner;                      /* rank <= experts: of a factor */
    float *found;                      /* what this thread's part of a list came to */
    uint16_t *list, *unread, *shortlist; /* experts each */
    size_t list_count, shortlist_count;
    size_t exact_count, second_count; /* rows at the begin of `unread` to be read exactly, and of the second plane */
    float least; /* what the list's highs reach */
    bool *exact, *allowed;
    struct route_tally tally;
};

size_t route_room_bytes(size_t experts, size_t width);
void route_scratch_lay(struct route_scratch *s, size_t experts, size_t width, void *room);

struct route_gate {
    const struct expert_config *config;
    const struct kernels *k;
    const struct layer *layer;
    size_t width;
    bool full; /* ignore the second form: for comparison */
    _Atomic uint32_t *rest; /* NULL, or the layer's: so many decisions from now on go without bounds */
};

/* Chooses for the input x[width] and fills out[top_k] in order of the experts' numbers. `t` NULL does all of it on this
 * thread, in s[0]; else s is one for each thread of the team. False where a score is not finite; what is chosen then is
 * of this model's shape and of no use. */
bool route_choose(const struct route_gate *r, const float *x, struct route_scratch *s, team *t, struct choice *out);

#endif
