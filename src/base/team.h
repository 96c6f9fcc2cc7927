/* A team of threads that takes tiles of one job from a shared counter: a slow core, a little core or a busy neighbour
 * takes fewer, and nobody waits for a thread that has taken none. Which thread computes a tile never changes a bit of
 * it, because work is split over outputs and never inside a sum.
 *
 * Waiting spins a counted while and then sleeps in futex without a timeout; an idle team uses no processor. After
 * team_new the team needs the system call futex alone. */
#ifndef HEARTH_BASE_TEAM_H
#define HEARTH_BASE_TEAM_H

#include "base/err.h"
#include "base/limits.h"

#include <stdatomic.h>
#include <stddef.h>

typedef struct team team;

/* Processors that a team's threads are pinned to: thread i to cpus[i % count]. count 0: the system chooses. */
struct team_cpus {
    int cpus[THREADS_MAX];
    size_t count;
};

/* Computes one tile. `thread` is 0..threads-1, for scratch that a thread owns while it is in the call. */
typedef void team_fn(void *arg, size_t tile, size_t thread);

/* `threads` in 1..THREADS_MAX; the caller is thread 0, so one thread makes none. `cpus` is a list of processors to pin
 * thread i to cpus[i % cpu_count], or NULL. Errors: ERR_LIMIT, ERR_MEMORY, ERR_IO. */
bool team_new(team **out, size_t threads, const int *cpus, size_t cpu_count, err *e);
void team_free(team *t); /* NULL is fine */

/* Runs fn(arg, tile, thread) for every tile below `tiles` and returns when all are done; what they wrote is visible to
 * the caller. One caller at a time, and fn never calls team_run. `tiles` < 2^31. */
void team_run(team *t, size_t tiles, team_fn *fn, void *arg);

/* Memory that `thread` (not 0) is going to read in a later job: it is asked for, a little at a time, while the thread
 * spins for the next one. Never read, so it may be any address. Said by the caller between two jobs; bytes 0: nothing.
 */
void team_ahead(team *t, size_t thread, const void *at, size_t bytes);

/* Inside a tile: waits a counted while until others of the same job have brought *left to 0. False: they have not; then
 * the tile returns, and what was to follow is the caller's after the job, so that nobody waits for a thread that the
 * system has taken away. Only for what no tile that has not begun is needed for. */
bool team_await_zero(const _Atomic size_t *left);

size_t team_threads(const team *t);

#endif
