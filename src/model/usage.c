/* Counting experts: see usage.h. */
#include "model/usage.h"

#include "base/checked.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool usage_new(struct usage *u, size_t layers, size_t experts, size_t top_k, arena *a, err *e)
{
    *u = (struct usage){ .layers = layers, .experts = experts, .top_k = top_k };
    u->used = ARENA_ARRAY(a, uint64_t, u->layers * u->experts, "expert counts", e);
    u->last = ARENA_ARRAY(a, uint64_t, u->layers * u->experts, "expert counts", e);
    u->tokens = ARENA_ARRAY(a, uint64_t, u->layers, "expert counts", e);
    return u->used != NULL && u->last != NULL && u->tokens != NULL;
}

bool usage_seen_new(struct usage_seen *s, size_t room, size_t top_k, arena *a, err *e)
{
    *s = (struct usage_seen){ .positions = ARENA_ARRAY(a, uint32_t, room, "experts seen", e),
                              .experts = ARENA_ARRAY(a, uint16_t, room * top_k, "experts seen", e) };
    return s->positions != NULL && s->experts != NULL;
}

size_t usage_seen_bytes(size_t room, size_t top_k)
{
    return room * (sizeof(uint32_t) + top_k * sizeof(uint16_t)) + 128; /* and what aligns them */
}

void usage_read(struct usage_seen *s, size_t top_k, const struct expert_event *e)
{
    uint32_t *positions = (uint32_t *)(uintptr_t)s->positions; /* usage_seen_new's own */
    uint16_t *experts = (uint16_t *)(uintptr_t)s->experts;
    *s = (struct usage_seen){ .layer = e->layer, .count = e->token_count, .positions = positions, .experts = experts };
    for (size_t t = 0; t < e->token_count; t++) {
        const struct route_tally *tally = &e->tallies[t];
        positions[t] = (uint32_t)e->positions[t];
        for (size_t k = 0; k < top_k; k++) experts[t * top_k + k] = (uint16_t)e->choices[t * top_k + k].expert;
        s->alone += tally->rescored == top_k;
        s->shortlist += tally->shortlist;
        s->refined += tally->refined;
        s->rescored += tally->rescored;
        s->bytes += tally->bytes;
    }
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

void usage_take(struct usage *u, const struct usage_seen *s)
{
    assert(s->layer < u->layers);
    for (size_t t = 0; t < s->count; t++) {
        u->tokens[s->layer]++;
        for (size_t k = 0; k < u->top_k; k++) count_use(u, s->layer, s->experts[t * u->top_k + k]);
    }
    u->decisions += s->count;
    u->alone += s->alone;
    u->shortlist += s->shortlist;
    u->refined += s->refined;
    u->rescored += s->rescored;
    u->bytes += (double)s->bytes;
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
