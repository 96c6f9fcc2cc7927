/* The thread team: see team.h.
 *
 * One 64-bit word says which job is open and which tile is next:  generation (odd = closed) : 32 | next tile : 32.
 * A thread takes a tile by compare-and-swap on the whole word, so it can not take one of a job it has not read: before
 * the caller changes the job's fields it closes the word, and after that every older compare fails. The caller waits
 * for tiles, not for threads: a thread that the system has taken away before it took a tile holds nobody up.
 *
 * A job of a step lasts some 10 us, and a line that another core has written costs 0.1 us each time: tile 0 is the
 * caller's without asking, a thread says once what it has done, and the caller orders its stores by release and fence,
 * so that they leave together and nothing waits for them. */
#include "base/team.h"

#include "base/futex.h"
#include "base/limits.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum {
    SPINS = 4000,    /* of a pause each, about 50 us: longer than the gap between two jobs of a step */
    AHEAD_STEP = 512, /* bytes that are asked for between two looks at the bell */
    ARG_BYTES = 256   /* of a job's own description */
};

struct team {
    _Alignas(64) _Atomic uint64_t open;
    _Alignas(64) _Atomic uint32_t tiles_done;
    _Atomic uint32_t caller_sleeps;
    _Alignas(64) _Atomic uint32_t bell; /* counts jobs; idle threads sleep on it. What they need next comes with it */
    _Atomic uint32_t tiles;
    _Atomic(team_fn *) fn;
    _Atomic(void *) arg;
    _Atomic uint32_t sleepers;
    _Atomic uint32_t stop;
    _Atomic uint32_t awake; /* threads that have reached member_main */
    _Alignas(64) size_t threads;
    size_t started; /* threads that team_free has to join */
    struct member {
        _Alignas(64) team *team;
        size_t thread;
        pthread_t handle;
        _Atomic(const uint8_t *) ahead; /* the caller's word; the two can disagree for a moment, which harms nobody */
        _Atomic size_t ahead_bytes;
        const uint8_t *asked_of; /* the thread's own: how much of it has been asked for */
        size_t asked_bytes;
    } members[];
};

/* Takes tiles of the job that is open, if one is, until there are none; returns how many. The job stays open until the
 * caller has heard of all of them, so they are all of one. */
static uint32_t take_tiles(team *t, size_t thread)
{
    uint64_t open = atomic_load_explicit(&t->open, memory_order_acquire);
    for (uint32_t taken = 0;;) {
        uint32_t generation = (uint32_t)(open >> 32), tile = (uint32_t)open;
        if (generation & 1) return taken;
        team_fn *fn = atomic_load_explicit(&t->fn, memory_order_acquire);
        void *arg = atomic_load_explicit(&t->arg, memory_order_acquire);
        uint32_t tiles = atomic_load_explicit(&t->tiles, memory_order_acquire);
        if (tile >= tiles) return taken;
        if (!atomic_compare_exchange_weak(&t->open, &open, open + 1)) continue;
        fn(arg, tile, thread);
        taken++;
        open = atomic_load_explicit(&t->open, memory_order_acquire);
    }
}

/* The next lines of what team_ahead named, into the second cache; false where there are none. */
static bool ask_ahead(struct member *self)
{
    const uint8_t *at = atomic_load_explicit(&self->ahead, memory_order_relaxed);
    size_t bytes = atomic_load_explicit(&self->ahead_bytes, memory_order_relaxed);
    if (at != self->asked_of) {
        self->asked_of = at;
        self->asked_bytes = 0;
    }
    if (self->asked_bytes >= bytes) return false;
    for (size_t i = 0; i < AHEAD_STEP; i += 64) __builtin_prefetch(at + self->asked_bytes + i, 0, 2);
    self->asked_bytes += AHEAD_STEP;
    return true;
}

/* What a thread needs next comes from the caller's core: all of it on its way at once. */
static void ask_job(team *t)
{
    const char *arg = atomic_load_explicit(&t->arg, memory_order_relaxed);
    __builtin_prefetch(&t->open, 1);
    for (size_t i = 0; i < ARG_BYTES; i += 64) __builtin_prefetch(arg + i);
}

static void *member_main(void *arg)
{
    struct member *self = arg;
    team *t = self->team;
    atomic_fetch_add(&t->awake, 1);
    futex_wake(&t->awake, 1);
    uint32_t heard = 0; /* not the bell's value now: a job may be open before this thread first looks */
    for (;;) {
        for (int spin = 0; atomic_load(&t->bell) == heard && spin < SPINS; spin++)
            if (!ask_ahead(self)) futex_relax();
        while (atomic_load(&t->bell) == heard) {
            atomic_fetch_add(&t->sleepers, 1);
            futex_wait(&t->bell, heard);
            atomic_fetch_sub(&t->sleepers, 1);
        }
        heard = atomic_load(&t->bell);
        ask_job(t);
        if (atomic_load(&t->stop)) return NULL;
        uint32_t taken = take_tiles(t, self->thread);
        if (taken == 0) continue;
        atomic_fetch_add(&t->tiles_done, taken);
        if (atomic_load(&t->caller_sleeps)) futex_wake(&t->tiles_done, 1);
    }
}

/* The caller alone rings. The new number is seen soon, not now: who has just gone to sleep may be overlooked. */
static void ring(team *t)
{
    atomic_store_explicit(&t->bell, atomic_load_explicit(&t->bell, memory_order_relaxed) + 1, memory_order_release);
    if (atomic_load_explicit(&t->sleepers, memory_order_relaxed) > 0) futex_wake(&t->bell, (int)t->threads);
}

/* After a ring: nobody is overlooked, for who counts himself among the sleepers after this finds the bell changed. */
static void wake_all(team *t)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&t->sleepers) > 0) futex_wake(&t->bell, (int)t->threads);
}

/* The C library's own beginning of a thread calls the system (rseq, the robust list): a caller that denies such calls
 * next must know that it is over. */
static void await_members(team *t)
{
    for (uint32_t awake; (awake = atomic_load(&t->awake)) < t->threads - 1;) futex_wait(&t->awake, awake);
}

/* NULL: the caller, whose number in a new process namespace the C library may not know. */
static bool pin(const pthread_t *handle, int cpu, err *e)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET((size_t)cpu, &set);
    int status = handle == NULL ? sched_setaffinity(0, sizeof set, &set)
                                : pthread_setaffinity_np(*handle, sizeof set, &set);
    if (status != 0) /* an empty set is refused too */
        return fail(e, ERR_IO, ERR_NO_OFFSET, "cpus: processor %d is not there or not ours", cpu);
    return true;
}

bool team_new(team **out, size_t threads, const int *cpus, size_t cpu_count, err *e)
{
    *out = NULL;
    if (threads < 1 || threads > THREADS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "threads: %zu, allowed 1..%d", threads, THREADS_MAX);
    size_t bytes = (sizeof(team) + threads * sizeof(struct member) + 63) / 64 * 64;
    team *t = aligned_alloc(64, bytes);
    if (t == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "threads: no memory for a team of %zu", threads);
    for (size_t i = 0; i < bytes; i++) ((unsigned char *)t)[i] = 0;
    t->threads = threads;
    atomic_store(&t->open, (uint64_t)1 << 32);
    if (cpu_count > 0 && !pin(NULL, cpus[0], e)) goto undo;
    for (size_t i = 1; i < threads; i++) {
        t->members[i] = (struct member){ .team = t, .thread = i };
        if (pthread_create(&t->members[i].handle, NULL, member_main, &t->members[i]) != 0) {
            err_set(e, ERR_IO, ERR_NO_OFFSET, "threads: the system refused thread %zu of %zu", i + 1, threads);
            goto undo;
        }
        t->started = i;
        if (cpu_count > 0 && !pin(&t->members[i].handle, cpus[i % cpu_count], e)) goto undo;
    }
    await_members(t);
    *out = t;
    return true;
undo:
    team_free(t);
    return false;
}

void team_free(team *t)
{
    if (t == NULL) return;
    atomic_store(&t->stop, 1);
    ring(t);
    wake_all(t);
    for (size_t i = 1; i <= t->started; i++) pthread_join(t->members[i].handle, NULL);
    free(t);
}

void team_run(team *t, size_t tiles, team_fn *fn, void *arg)
{
    assert(tiles < (size_t)1 << 31);
    if (t->threads == 1 || tiles <= 1) {
        for (size_t tile = 0; tile < tiles; tile++) fn(arg, tile, 0);
        return;
    }
    uint32_t closed = (uint32_t)(atomic_load_explicit(&t->open, memory_order_relaxed) >> 32) | 1;
    atomic_thread_fence(memory_order_release); /* who reads a field of this job finds the last one closed */
    atomic_store_explicit(&t->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&t->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&t->tiles, (uint32_t)tiles, memory_order_relaxed);
    atomic_store_explicit(&t->tiles_done, 0, memory_order_relaxed);
    atomic_store_explicit(&t->open, (uint64_t)(closed + 1) << 32 | 1, memory_order_release);
    ring(t);
    fn(arg, 0, 0);
    wake_all(t); /* by now the fence costs nothing; a sleeper that was overlooked comes for the rest */
    uint32_t others = (uint32_t)tiles - 1 - take_tiles(t, 0);
    for (int spin = 0; atomic_load_explicit(&t->tiles_done, memory_order_acquire) != others && spin < SPINS; spin++)
        futex_relax();
    if (atomic_load(&t->tiles_done) != others) {
        atomic_store(&t->caller_sleeps, 1);
        for (uint32_t done; (done = atomic_load(&t->tiles_done)) != others;) futex_wait(&t->tiles_done, done);
        atomic_store(&t->caller_sleeps, 0);
    }
    /* closed: odd again, and never a word seen before */
    atomic_store_explicit(&t->open, (uint64_t)(closed + 2) << 32, memory_order_release);
}

void team_ahead(team *t, size_t thread, const void *at, size_t bytes)
{
    assert(thread > 0 && thread < t->threads);
    atomic_store_explicit(&t->members[thread].ahead, at, memory_order_relaxed);
    atomic_store_explicit(&t->members[thread].ahead_bytes, bytes, memory_order_relaxed);
}

bool team_await_zero(const _Atomic size_t *left)
{
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(left, memory_order_acquire) == 0) return true;
        futex_relax();
    }
    return false;
}

size_t team_threads(const team *t)
{
    return t->threads;
}
