/* What runs inside the jails: the text worker and the engine, each as a jail_job. Everything a job is told stands in
 * its struct before the process is made, which inherits a copy. Inside orchestrator/ only.
 *
 *   prepare   system calls are open, nothing of a stranger's is looked at: maps, arenas, threads
 *   run       under the filter: the image is checked and bound, then messages are answered until the process is ended
 * */
#ifndef HEARTH_ORCHESTRATOR_WORKER_H
#define HEARTH_ORCHESTRATOR_WORKER_H

#include "base/ring.h"
#include "base/team.h"
#include "engine/engine.h"
#include "jail/jail.h"

/* The two rings of a worker, seen from it: the structs are the spawner's, taken by jail_spawn in the child. */
struct worker_ends {
    ring *in, *out;
};

struct engine_worker {
    struct hearth_settings set;
    struct team_cpus cpus;
    struct worker_ends ends;
    ring *told;           /* to who started it: HEARTH_LOADED once more, for the plan's bytes; NULL: nobody asks */
    size_t image_bytes;   /* of the first descriptor */
    bool populate;        /* the image is memory and not a file on a disk: map all of it at once */
    uint64_t room_bytes;  /* addresses for the plan: what the machine has */
    /* made by prepare */
    struct kernels kernels;
    team *team;
    view image;
    arena own, scratch, room, pages;
    uint8_t *message;
};

bool engine_worker_prepare(void *arg, err *e);
void engine_worker_run(void *arg);

/* The text worker's state is its own: text_worker.c. */
struct text_worker;
struct text_job {
    struct worker_ends ends;
    size_t image_bytes;
    view template_source; /* takes the place of the model's own; empty: that */
    ring *told;           /* to who started it: why it refuses the image; NULL: nobody asks */
    uint32_t ctx_tok;     /* most ids of a conversation */
    struct text_worker *w; /* made by prepare */
};

bool text_worker_prepare(void *arg, err *e);
void text_worker_run(void *arg);

/* Ends the process with a reason that the log will have: the other side of a ring does not keep to the protocol. */
_Noreturn void worker_protest(const char *what, const char *file, unsigned line);

#endif
