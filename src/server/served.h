/* The backend that asks real models: each is a service of orchestrator/service.h, a text worker and an engine behind
 * rings. What takes several steps there is one ask here: a model that is not in memory is asked of the orchestrator
 * (orchestrator/fleet.h), a schema is compiled before the answer is asked for, the texts of tokens are fetched before
 * log-probabilities are told. */
#ifndef HEARTH_SERVER_SERVED_H
#define HEARTH_SERVER_SERVED_H

#include "orchestrator/service.h"
#include "server/backend.h"

struct served_setting {
    view name;                /* as clients ask for it */
    bool up, coming;          /* it is in memory, or on its way there, when this process starts */
    uint64_t file_bytes;      /* what it weighs before it was loaded once */
    uint64_t keep_ms;         /* how long it stays without an ask: SERVED_KEEP, until another needs its room */
    view chat_template, format;
    uint64_t parameters, created_s;
    struct service_rings *rings;
    struct service_settings service;
    uint32_t places;          /* answers that are handed to the engine at once: what it computes, and a few behind */
    uint32_t waiting_max;     /* that wait for a place; more are told to come again */
};

#define SERVED_KEEP UINT64_MAX

typedef struct served served;

/* Takes the ends of all rings; `settings` and what they point to outlive it. `bell_fd` is rung for events. */
bool served_new(served **out, const struct served_setting *settings, size_t count, int bell_fd, int64_t zone_s, err *e);

/* Hears what a model's processes say of themselves: why one could not start. Without it nobody hears. */
void served_log(served *s, void (*log)(void *arg, view line), void *arg);
void served_free(served *s); /* NULL is fine */

struct backend served_backend(served *s);

#endif
