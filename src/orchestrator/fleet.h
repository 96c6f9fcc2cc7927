/* The models of one server: which of them are in memory, within one limit for all. A model that somebody asks for is
 * loaded where the limit allows it beside those that are loaded; the client decides which of them nobody needs and lets
 * it go. What a model takes does not depend on who is loaded beside it: each plans as if it were alone, so its context,
 * and with it its bits, are the same whenever it comes.
 *
 *   client (served.c)                          fleet
 *   SERVICE_WANTED  --------------------------> fits?  yes: the crew is loaded, its workers tell their facts
 *                   <------------ SERVICE_NO_ROOM      beside the others it does not
 *   SERVICE_UNWANTED of another --------------> the crew is unloaded
 *                   <---------------- SERVICE_GONE
 *   SERVICE_WANTED  --------------------------> ...
 *                   <------------- SERVICE_REFUSED     it never fits, policy forbids it, the file is refused
 *
 * Before a model was loaded once its file's size stands for its weights, and nothing for its plan: an engine that tells
 * a plan over the limit is ended again, and next time its need is known. Nothing is touched of a plan before it is
 * told, so memory is never taken twice. */
#ifndef HEARTH_ORCHESTRATOR_FLEET_H
#define HEARTH_ORCHESTRATOR_FLEET_H

#include "orchestrator/crew.h"

struct fleet_settings {
    uint64_t memory_bytes; /* of all models together: images, and what engines plan; 0: what is free at the start */
    bool alone;            /* one model, and no limit named: it plans with what is free when it is loaded */
    bool (*allowed)(void *arg, const char *path, err *e); /* policy's word, asked before each load */
    void (*log)(void *arg, const char *line);
    int bell_fd;           /* rung when the client is told something */
    void *arg;
};

typedef struct fleet fleet;

/* Errors: ERR_MEMORY. */
bool fleet_new(fleet **out, const struct fleet_settings *set, err *e);
void fleet_free(fleet *f); /* ends all processes; NULL is fine */

/* One more model, down. `name`, as clients say it, and what `how` points to outlive the fleet; how->engine.memory_bytes
 * is the fleet's to set. Errors: ERR_LIMIT, crew_new's. */
bool fleet_add(fleet *f, const char *name, const struct crew_settings *how, err *e);

/* Before the client is there: loads the first model, and those behind it that fit beside it. What does not fit is told
 * to the log and stays down. Errors: the first one's, or of any other that is refused for itself. */
bool fleet_start(fleet *f, err *e);

/* Looks at all, without waiting. A model whose processes can not be kept up goes, and its client is told; where it is
 * the only one that is an error: there is nothing left to serve. */
bool fleet_tend(fleet *f, err *e);

/* The policy has changed: what it no longer allows goes at once. Other walls are required from the next start on. */
void fleet_policy(fleet *f, uint32_t require);

size_t fleet_count(const fleet *f);
crew *fleet_crew(const fleet *f, size_t model); /* for crew_lend, crew_watch, crew_state, crew_report */

#endif
