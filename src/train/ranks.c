/* See ranks.h. */
#include "train/ranks.h"

#include "base/limits.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a peer may keep silent once this process was told to end: mpirun kills what is left some time after. */
enum { PATIENCE_MS = 200 };

static bool launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL || getenv("PMIX_RANK") != NULL || getenv("PMI_RANK") != NULL;
}

/* The library lies beside the program, nowhere else: a search path could be made to lead to another one. */
static bool load(struct ranks *r, err *e)
{
    char path[4096];
    static const char name[] = "hearth-mpi.so";
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - sizeof name);
    if (len <= 0) return fail(e, ERR_IO, ERR_NO_OFFSET, "/proc/self/exe: no path of this program");
    while (len > 0 && path[len - 1] != '/') len--;
    memcpy(path + len, name, sizeof name);
    r->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (r->handle == NULL)
        return fail(e, ERR_MISSING, ERR_NO_OFFSET, "several ranks: %s (`make mpi` makes it)", dlerror());
    r->library = dlsym(r->handle, "hearth_ranks");
    if (r->library == NULL || r->library->abi != RANKS_ABI)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "%s: of another version than this program: `make mpi`", path);
    return true;
}

bool ranks_open(struct ranks *r, const volatile sig_atomic_t *stop, err *e)
{
    *r = (struct ranks){ .count = 1, .stop = stop };
    if (!launched()) return true;
    int rank, count;
    if (!load(r, e)) return false;
    const char *why = r->library->open(&rank, &count);
    if (why != NULL) return fail(e, ERR_IO, ERR_NO_OFFSET, "MPI: %s", why);
    if (rank < 0 || count < 1 || count > RANKS_MAX || (count & (count - 1)) != 0)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "ranks: %d, allowed powers of two up to %d", count, RANKS_MAX);
    r->rank = (size_t)rank;
    r->count = (size_t)count;
    return true;
}

void ranks_close(struct ranks *r)
{
    if (r->library != NULL) r->library->close();
    /* The library stays loaded: MPI leaves threads and handlers behind that end with the process. */
    *r = (struct ranks){ .count = 1 };
}

bool ranks_swap(const struct ranks *r, size_t peer, const void *to, void *from, size_t bytes, err *e)
{
    const char *why = r->library->swap((int)peer, to, from, bytes, r->stop, PATIENCE_MS);
    return why == NULL || fail(e, ERR_IO, ERR_NO_OFFSET, "rank %zu of %zu: rank %zu: %s", r->rank, r->count, peer, why);
}

bool ranks_gather(const struct ranks *r, void *all, size_t each_bytes, err *e)
{
    if (r->count == 1) return true;
    const char *why = r->library->gather(all, each_bytes, r->stop, PATIENCE_MS);
    return why == NULL || fail(e, ERR_IO, ERR_NO_OFFSET, "rank %zu of %zu: %s", r->rank, r->count, why);
}
