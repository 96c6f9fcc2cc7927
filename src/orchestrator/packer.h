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

/* Packs the model file at `path` (with its other shards beside it) into a sealed memfd. The caller closes *fd. Errors:
 * whatever the file is refused for, the path in front; the jail's; ERR_IO. A packer that was killed from outside is
 * started again, twice at most. */
bool pack_model(const char *path, const struct pack_settings *set, int *fd, size_t *bytes, err *e);

#endif
