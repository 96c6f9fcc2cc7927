/* Several processes that make one model: each owns an aligned subtree of a step's microbatches, sums it, and the sums
 * meet pairwise up the rest of the tree (step.h), so the weights are those that one process alone would have made.
 * Every rank holds all weights and optimizer state and makes the same update; rank 0 writes checkpoints and the log.
 *
 * The messages are MPI's. It stands behind a table of functions in a library of its own (mpi/ranks_mpi.c, built by
 * `make mpi` into hearth-mpi.so beside the program), which is loaded only when mpirun or srun started the process: the
 * program itself depends on no MPI and needs no second build. */
#ifndef HEARTH_TRAIN_RANKS_H
#define HEARTH_TRAIN_RANKS_H

#include "base/err.h"

#include <signal.h>
#include <stddef.h>

enum { RANKS_MAX = 1024, RANKS_ABI = 1 };

/* What the library exports as `hearth_ranks`. Functions return 0, or what the library says of an error. */
struct ranks_library {
    int abi; /* RANKS_ABI */
    const char *(*open)(int *rank, int *count);
    /* Sends `bytes` to a peer while receiving as many from it. Gives up, returning a text, once *stop is set and the
     * peer has kept silent for `patience_ms` since. */
    const char *(*swap)(int peer, const void *to, void *from, size_t bytes, const volatile sig_atomic_t *stop,
                        int patience_ms);
    /* Every rank's `each_bytes` at its own place of `all` become known to every rank; patience as above. */
    const char *(*gather)(void *all, size_t each_bytes, const volatile sig_atomic_t *stop, int patience_ms);
    void (*close)(void);
};

struct ranks {
    size_t rank, count;                  /* 0 of 1: alone, and nothing below is used */
    const struct ranks_library *library;
    const volatile sig_atomic_t *stop;   /* set by whoever wants the run to end; may be NULL */
    void *handle;
};

/* Whether a launcher started this process (Open MPI's or PMIx's environment); if not, *r is a single rank. `stop` is
 * remembered. Errors: ERR_MISSING (no hearth-mpi.so beside the program), ERR_UNSUPPORTED (of another version; more
 * than RANKS_MAX ranks or no power of two), ERR_IO. */
bool ranks_open(struct ranks *r, const volatile sig_atomic_t *stop, err *e);
void ranks_close(struct ranks *r);

/* Both: ERR_IO when a peer is gone. */
bool ranks_swap(const struct ranks *r, size_t peer, const void *to, void *from, size_t bytes, err *e);
bool ranks_gather(const struct ranks *r, void *all, size_t each_bytes, err *e);

#endif
