/* The backend that asks real models: each is a service of orchestrator/service.h, a text worker and an engine behind
 * rings. What takes several steps there is one ask here: a schema is compiled before the answer is asked for, the texts
 * of tokens are fetched before log-probabilities are told. */
#ifndef HEARTH_SERVER_SERVED_H
#define HEARTH_SERVER_SERVED_H

#include "orchestrator/service.h"
#include "server/backend.h"

struct served_setting {
    view name;                /* as clients ask for it */
    view chat_template, format;
    uint64_t parameters, created_s;
    struct service_rings *rings;
    struct service_settings service;
    uint32_t places;          /* answers that are handed to the engine at once: what it computes, and a few behind */
    uint32_t waiting_max;     /* that wait for a place; more are told to come again */
};

typedef struct served served;

/* Takes the ends of all rings; `settings` and what they point to outlive it. `bell_fd` is rung for events. */
bool served_new(served **out, const struct served_setting *settings, size_t count, int bell_fd, int64_t zone_s, err *e);

/* Hears what a model's processes say of themselves: why one could not start. Without it nobody hears. */
void served_log(served *s, void (*log)(void *arg, view line), void *arg);
void served_free(served *s); /* NULL is fine */

struct backend served_backend(served *s);

#endif
