/* The packer: one process for one model file. It reads its descriptors, fills one memfd, and ends; what it made is
 * sealed before anybody maps it. Inside orchestrator/ only. */
#ifndef HEARTH_ORCHESTRATOR_PACKER_H
#define HEARTH_ORCHESTRATOR_PACKER_H

#include "jail/jail.h"

typedef void pack_progress(void *arg, size_t done_bytes, size_t all_bytes);

struct pack_settings {
    uint32_t require, skip; /* walls, see jail_options */
    size_t threads;
    pack_progress *progress; /* may be NULL */
    void (*log)(void *arg, const char *line); /* it was started again; may be NULL */
    void *arg;
};

typedef struct packer packer;

/* Starts to pack the model file at `path` (with its other shards beside it). Errors: a file that can not be opened, the
 * path in front; the jail's; ERR_IO, ERR_MEMORY. */
bool packer_start(packer **out, const char *path, const struct pack_settings *set, err *e);

/* Looks at it, and waits at most `wait_ms` for something to happen. *fd is -1 until it is done, then the sealed memfd,
 * which the caller closes. A packer that was killed from outside is started again, twice at most. Errors: whatever the
 * file is refused for, the path in front; ERR_STATE. */
bool packer_look(packer *p, int wait_ms, int *fd, size_t *bytes, err *e);

/* Becomes readable when the process ends, for poll. */
int packer_watch(const packer *p);

void packer_free(packer *p); /* ends it where it runs; NULL is fine */

#endif
