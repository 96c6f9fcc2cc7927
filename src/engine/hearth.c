/* The engine in one process: include/hearth.h's functions over engine/engine.h. Events wait in a ring of bytes between
 * hearth_work and hearth_poll; a step is only taken while everything it can emit has room. */
#include "hearth.h"

#include "base/checked.h"
#include "base/limits.h"
#include "engine/engine_part.h"

#include <stdlib.h>
#include <string.h>

#define EVENTS_BYTES ((size_t)4 << 20)

struct waiting { /* before each event in the ring */
    uint32_t kind, bytes;
};

struct hearth {
    model m;
    struct kernels k;
    team *team;
    arena arena;
    engine *engine;
    uint8_t *events; /* EVENTS_BYTES */
    size_t first, used;
    size_t step_bytes; /* what one step or message emits at most */
};

static void ring_copy(hearth *h, size_t at, void *out, const void *in, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t place = (at + done) % EVENTS_BYTES, piece = min_size(bytes - done, EVENTS_BYTES - place);
        if (in != NULL) memcpy(h->events + place, (const uint8_t *)in + done, piece);
        else memcpy((uint8_t *)out + done, h->events + place, piece);
        done += piece;
    }
}

static void keep_event(void *arg, uint32_t kind, view event)
{
    hearth *h = arg;
    struct waiting head = { kind, (uint32_t)event.len_bytes };
    ring_copy(h, h->first + h->used, NULL, &head, sizeof head);
    ring_copy(h, h->first + h->used + sizeof head, NULL, event.ptr, event.len_bytes);
    h->used += sizeof head + event.len_bytes;
}

static bool start(hearth *h, const char *path, const struct hearth_settings *set, err *e)
{
    size_t plan_bytes, threads = set->threads > 0 ? set->threads : 1;
    char tier[sizeof set->tier + 1] = { 0 };
    memcpy(tier, set->tier, sizeof set->tier);
    h->events = malloc(EVENTS_BYTES);
    if (h->events == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "engine: no memory for its events");
    if (!kernels_bind(&h->k, tier[0] != '\0' ? tier : NULL, e) || !team_new(&h->team, threads, NULL, 0, e) ||
        !model_load(&h->m, path, h->team, NULL, NULL, e) || !engine_plan_bytes(&h->m, threads, set, &plan_bytes, e) ||
        !arena_new(&h->arena, plan_bytes + ((size_t)1 << 20), e) ||
        !engine_new(&h->engine, &h->m, &h->k, h->team, set, &h->arena, &h->arena, keep_event, h, e))
        return false;
    size_t each = max_size(sizeof(struct hearth_token) + HEARTH_TOP_MAX * sizeof(struct hearth_rival),
                           sizeof(struct hearth_embedding) + h->m.hyper.width * sizeof(float));
    size_t sequences = set->sequences > 0 ? set->sequences : 1;
    h->step_bytes = 2 * sequences * (each + sizeof(struct hearth_error) + 2 * sizeof(struct waiting));
    size_t chunk = set->chunk_tok > 0 ? set->chunk_tok : BATCH_TOK_MAX, top_k = h->m.hyper.experts.top_k;
    if (set->experts != 0 && h->m.hyper.experts.count > 0)
        h->step_bytes += h->m.hyper.layers * (experts_event_bytes(chunk, top_k) + sizeof(struct waiting));
    /* A piece of a saved sequence is longer than what most steps tell: it too waits for room. */
    h->step_bytes = max_size(h->step_bytes, sizeof(struct waiting) + sizeof(struct hearth_kv_piece) +
                                                HEARTH_KV_PIECE_BYTES);
    return h->step_bytes < EVENTS_BYTES ||
           fail(e, ERR_LIMIT, ERR_NO_OFFSET, "sequences: %zu tell more in one step than is kept", sequences);
}

bool hearth_start(hearth **out, const char *path, const struct hearth_settings *settings, char *why)
{
    err e = { 0 };
    hearth *h = calloc(1, sizeof *h);
    *out = h;
    if (h != NULL && start(h, path, settings, &e)) return true;
    if (h == NULL) err_set(&e, ERR_MEMORY, ERR_NO_OFFSET, "engine: no memory");
    memcpy(why, e.text, HEARTH_ERROR_TEXT_BYTES);
    hearth_stop(h);
    *out = NULL;
    return false;
}

void hearth_stop(hearth *h)
{
    if (h == NULL) return;
    arena_free(&h->arena);
    model_free(&h->m);
    team_free(h->team);
    free(h->events);
    free(h);
}

bool hearth_submit(hearth *h, uint32_t kind, const void *message, size_t message_bytes)
{
    err e = { 0 };
    if (message_bytes > HEARTH_REQUEST_BYTES_MAX || EVENTS_BYTES - h->used < h->step_bytes) return false;
    return engine_take(h->engine, kind, (view){ message, message_bytes }, &e);
}

bool hearth_work(hearth *h)
{
    return EVENTS_BYTES - h->used >= h->step_bytes && engine_step(h->engine);
}

uint32_t hearth_poll(hearth *h, void *into, size_t *event_bytes)
{
    struct waiting head;
    if (h->used == 0) return 0;
    ring_copy(h, h->first, &head, NULL, sizeof head);
    ring_copy(h, h->first + sizeof head, into, NULL, head.bytes);
    h->first = (h->first + sizeof head + head.bytes) % EVENTS_BYTES;
    h->used -= sizeof head + head.bytes;
    *event_bytes = head.bytes;
    return head.kind;
}

const char *hearth_finish_name(uint32_t finish)
{
    static const char *const names[] = { [HEARTH_END] = "stop",           [HEARTH_LENGTH] = "length",
                                         [HEARTH_CONTEXT] = "context",    [HEARTH_CANCELLED] = "cancelled",
                                         [HEARTH_MASK_END] = "stop",      [HEARTH_DONE] = "done" };
    return finish < 1 || finish >= sizeof names / sizeof *names ? "none" : names[finish];
}
