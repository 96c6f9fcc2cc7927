/* jail/ makes a process that can do one thing. It owns the profiles (a row per allowed system call, with its reason),
 * the walls around a process, the start of such a process, the slot in which it leaves why it crashed, and the suite of
 * escapes that shows the walls stand. It never decides policy: it is told which walls are required, puts up all it can,
 * and says which stand, as read back from the kernel and not from what was asked for.
 *
 * No wall carries the load alone. seccomp closes the kernel's surface; namespaces and the empty root take away what
 * could be reached if it did not; capabilities, identity and no-new-privileges keep what was taken from coming back;
 * Landlock is a further wall where the kernel has it (a Raspberry Pi's has not).
 *
 * A process starts in three steps (jail_spawn does them):
 *   outer     new namespaces, empty root, another identity, no capabilities, descriptors closed but those listed
 *   prepare   the caller's own code, with system calls still open: map the image, take arenas, start threads.
 *             It sees nothing from outside but its descriptors, and parses nothing a stranger wrote. Threads it
 *             makes sleep in futex when it returns, as a team's do; it reads no clock where the profile has none.
 *   inner     descriptors and limits to the last, Landlock, then the filter over all threads; from here on the
 *             profile's rows and no other call. The parent looks at /proc and says go; then the work begins.
 *
 * A child made by fork holds a copy of its parent's memory and its shared maps: a parent that spawns jails keeps no
 * secret, and tells madvise MADV_DONTFORK of a map that is not every child's (rings and slots do that here). Start
 * reading at struct jail_profile, then spawn.c; docs/walls.md has the picture and what each kernel lacks. */
#ifndef HEARTH_JAIL_JAIL_H
#define HEARTH_JAIL_JAIL_H

#include "base/err.h"
#include "base/limits.h"
#include "base/ring.h"
#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ORDER jail_wall: WALLS in walls.c has a row for each. */
enum jail_wall {
    JAIL_SECCOMP,
    JAIL_USER_NS,
    JAIL_MOUNT_NS,
    JAIL_NET_NS,
    JAIL_PID_NS,
    JAIL_IPC_NS,
    JAIL_UTS_NS,
    JAIL_CGROUP_NS,
    JAIL_ROOT,
    JAIL_IDENTITY,
    JAIL_CAPABILITIES,
    JAIL_NO_NEW_PRIVS,
    JAIL_EXEC_MEMORY,
    JAIL_LIMITS,
    JAIL_DESCRIPTORS,
    JAIL_NOT_DUMPABLE,
    JAIL_CLOCK,
    JAIL_LANDLOCK,
    JAIL_WALLS
};

static inline uint32_t jail_bit(enum jail_wall wall)
{
    return (uint32_t)1 << wall;
}

enum {
    JAIL_ALL = (1 << JAIL_WALLS) - 1,
    /* What every kernel we run on has, Debian 12 and Raspberry Pi OS included, where user namespaces are allowed. */
    JAIL_REQUIRED = JAIL_ALL & ~(1 << JAIL_EXEC_MEMORY | 1 << JAIL_CLOCK | 1 << JAIL_LANDLOCK),
    JAIL_FD_FIRST = 3, /* the first listed descriptor in the jail; the others follow it */
    JAIL_DENIED_ERRNO = 4000, /* what a canary's filter answers: no kernel function does, so it names who said no */
    JAIL_TEXT_BYTES = 192
};

struct jail_wall_text {
    const char *name;
    const char *stops;  /* what it takes away */
    const char *remedy; /* how to get it where it is missing */
};

const struct jail_wall_text *jail_wall_text(enum jail_wall wall);

/* The wall of that name, for a policy's list; false where there is none. */
bool jail_wall_named(view name, enum jail_wall *wall);

/* One argument of a call must be (argument & mask) == value. Arguments that the kernel reads as int are compared in
 * their lower half; `wide` compares all 64 bits. A mask of 0 ends the list. */
struct jail_check {
    uint8_t argument;
    bool wide;
    uint64_t mask;
    uint64_t value;
};

struct jail_call {
    const char *name;
    int number;
    struct jail_check checks[JAIL_CHECKS_MAX];
    const char *reason;
};

struct jail_profile {
    const char *name;
    const struct jail_call *calls; /* ends with a row without a name */
    bool clock;                    /* may read the time, so the time-stamp counter stays */
    int nice;
    uint64_t files; /* RLIMIT_NOFILE: 0 where no descriptor is ever made */
};

extern const struct jail_profile JAIL_ENGINE;      /* also what a scripted model runs in */
extern const struct jail_profile JAIL_TEXT_WORKER;
extern const struct jail_profile JAIL_PACKER;      /* descriptors: the input, then the memfd it fills */
extern const struct jail_profile JAIL_FRONT_DOOR;  /* descriptors: the acceptor's socket, then others */
const struct jail_profile *const *jail_profiles(size_t *count);

/* What a call outside the profile meets. */
enum jail_denied {
    JAIL_KILL,  /* the process ends: what runs in production */
    JAIL_ERRNO, /* the call returns JAIL_DENIED_ERRNO: canaries, so that one process can try everything */
    JAIL_TELL   /* the process ends and its slot names the call: for finding out what a new profile needs */
};

struct jail_ring {
    ring *ring; /* made by ring_new, owned by the spawner */
    enum ring_role role;
};

/* All zeros: every wall, nothing required, no descriptors. */
struct jail_options {
    uint32_t require; /* bits of walls without which the start is refused, JAIL_REQUIRED or policy's */
    uint32_t skip;    /* bits of walls not to put up: for the proof, which takes each away */
    enum jail_denied denied;
    const int *fds;
    size_t fd_count; /* at most JAIL_FDS_MAX */
    const struct jail_ring *rings;
    size_t ring_count;     /* at most JAIL_RINGS_MAX */
    uint64_t memory_bytes; /* RLIMIT_AS, 0 for none */
    uint64_t file_bytes;   /* RLIMIT_FSIZE: what one file or memfd may grow to */
    uint64_t cpu_s;        /* RLIMIT_CPU, 0 for none */
};

struct jail_report {
    uint32_t up;            /* bits of walls that stand, read back */
    uint32_t waived;        /* left out by options or because the profile needs what the wall takes */
    int error[JAIL_WALLS];  /* errno of a wall that does not stand */
};

/* Walls that this build can not stand in, for jail_options.skip: the address sanitizer's runtime, which is in no
 * package, reads the time whenever a thread is made. 0 in every other build. */
uint32_t jail_unfit(void);

/* A line on a wall that does not stand: its name, errno, remedy. `line` has JAIL_TEXT_BYTES * 2. */
void jail_explain(const struct jail_report *r, enum jail_wall wall, char *line, size_t line_bytes);

/* Makes the calling process, which has one thread, a jail; returns in it. Namespaces can not be entered here, only
 * noticed: those that are the same as `jail_place_now` saw before the process was made are reported missing.
 * jail_spawn is the way to get all walls. Errors: ERR_UNSUPPORTED, a required wall is missing; ERR_IO. */
struct jail_place;
bool jail_enter(const struct jail_profile *p, const struct jail_options *o, const struct jail_place *outside,
                struct jail_report *r, err *e);

/* Where a process is, taken before it makes another: namespaces by inode number, its user and group. */
enum { JAIL_NAMESPACES = 7 };
struct jail_place {
    uint64_t ns[JAIL_NAMESPACES]; /* of walls JAIL_USER_NS and following, 0 where the kernel has none */
    uid_t uid;
    gid_t gid;
};
void jail_place_now(struct jail_place *place);

struct jail_job {
    bool (*prepare)(void *arg, err *e); /* may be NULL */
    void (*run)(void *arg);             /* in the jail; returning ends the process with 0 */
    void *arg;
};

struct jail_slot;
struct jail_process {
    pid_t pid;
    int pidfd;
    struct jail_slot *slot;
    struct jail_report report;
};

/* Starts a process in `p`, and returns when it stands in all its walls and has been told to go. The caller's other
 * threads, if any, do not exist in the child. The process dies with the thread that called. One that is killed while
 * it starts is started again, twice at most. Errors: ERR_UNSUPPORTED (a
 * required wall is missing, the text says which and how to get it), ERR_IO, ERR_LIMIT, and whatever prepare says. */
bool jail_spawn(const struct jail_profile *p, const struct jail_options *o, const struct jail_job *job,
                struct jail_process *out, err *e);

struct jail_end {
    bool crashed;    /* a fault or an assertion: text has thing, file and line */
    bool by_filter;  /* a call outside the profile */
    int code;        /* exit code where it ended by itself, else -1 */
    int signal;      /* what ended it, or the fault it had; 0 where it ended by itself */
    char text[JAIL_TEXT_BYTES * 2]; /* one line */
};

/* Waits for the end, at most `timeout_ms` (-1: for ever). False while it runs. Frees nothing. */
bool jail_wait(struct jail_process *process, int timeout_ms, struct jail_end *end);

/* Kills it if it runs, reaps it, and frees what the process struct holds. All zeros is fine. */
void jail_free(struct jail_process *process);

/* Leaves a reason in the crash slot and ends the process; without a slot, ends it with abort. What assert calls. */
_Noreturn void jail_crash(const char *thing, const char *file, unsigned line);

#endif
