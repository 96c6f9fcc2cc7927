/* Counting experts: see usage.h. */
#include "model/usage.h"

#include "base/checked.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool usage_new(struct usage *u, const struct hyper *h, arena *a, err *e)
{
    *u = (struct usage){ .layers = h->layers, .experts = h->experts.count, .top_k = h->experts.top_k };
    u->used = ARENA_ARRAY(a, uint64_t, u->layers * u->experts, "expert counts", e);
    u->last = ARENA_ARRAY(a, uint64_t, u->layers * u->experts, "expert counts", e);
    u->tokens = ARENA_ARRAY(a, uint64_t, u->layers, "expert counts", e);
    return u->used != NULL && u->last != NULL && u->tokens != NULL;
}

static void count_use(struct usage *u, size_t layer, size_t expert)
{
    size_t at = layer * u->experts + expert;
    uint64_t now = u->tokens[layer], since = now - u->last[at];
    u->used[at]++;
    if (u->last[at] == 0) u->first_uses++;
    else u->distance[min_size((size_t)(63 - __builtin_clzll(since)), USAGE_DISTANCES - 1)]++;
    u->last[at] = now;
}

void usage_watch(void *arg, const struct expert_event *e)
{
    struct usage *u = arg;
    assert(e->layer < u->layers);
    for (size_t t = 0; t < e->token_count; t++) {
        const struct route_tally *tally = &e->tallies[t];
        u->tokens[e->layer]++;
        for (size_t k = 0; k < u->top_k; k++) count_use(u, e->layer, e->choices[t * u->top_k + k].expert);
        u->decisions++;
        u->alone += tally->rescored == u->top_k;
        u->shortlist += tally->shortlist;
        u->refined += tally->refined;
        u->rescored += tally->rescored;
        u->bytes += (double)tally->bytes;
    }
}

static int falling(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

double usage_share(const struct usage *u, size_t layer, double part, uint64_t *room)
{
    uint64_t most = 0, all = 0;
    size_t count = (size_t)((double)u->experts * part + 0.5);
    memcpy(room, u->used + layer * u->experts, u->experts * sizeof *room);
    qsort(room, u->experts, sizeof *room, falling);
    for (size_t i = 0; i < u->experts; i++) {
        all += room[i];
        if (i < count) most += room[i];
    }
    return all > 0 ? (double)most / (double)all : 0.0;
}

size_t usage_idle(const struct usage *u, size_t layer)
{
    size_t idle = 0;
    for (size_t i = 0; i < u->experts; i++) idle += u->used[layer * u->experts + i] == 0;
    return idle;
}
