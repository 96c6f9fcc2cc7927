/* Which process may call what, and why. A row is a reason; a call without one does not belong here. Pointers can not be
 * followed by a filter, so no row depends on what one points to: paths, addresses and structs are denied whole. */
#include "jail/jail.h"
#include "jail/machine.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* Waiting and waking, for good: with a timeout the call would be a clock. FUTEX_WAIT and FUTEX_WAKE are 0 and 1. */
#define CALL_FUTEX                                                                                                     \
    { "futex", SYS_futex, { { 1, false, (uint32_t)~(FUTEX_PRIVATE_FLAG | FUTEX_WAKE), 0 },                             \
                            { 3, true, UINT64_MAX, 0 } },                                                              \
      "sleep until the ring or the team has work, and wake the other side; never timed" }

#define CALL_EXIT { "exit_group", SYS_exit_group, { { 0 } }, "end" }

/* Memory that is neither a file nor shared nor executable. */
#define CALL_MMAP                                                                                                      \
    { "mmap", SYS_mmap, { { 2, false, (uint32_t)~(PROT_READ | PROT_WRITE), 0 },                                        \
                          { 3, false, (uint32_t)~MAP_NORESERVE, MAP_PRIVATE | MAP_ANONYMOUS },                         \
                          { 4, false, UINT32_MAX, UINT32_MAX } },                                                      \
      "private memory of its own, never executable, never at a place it names, never a file" }

#define CALL_MUNMAP { "munmap", SYS_munmap, { { 0 } }, "give memory back" }

static const struct jail_call ENGINE_CALLS[] = { CALL_FUTEX, CALL_EXIT, { 0 } };

/* Renders, tokenizes and compiles in arenas made before, between two rings. */
static const struct jail_call TEXT_WORKER_CALLS[] = { CALL_FUTEX, CALL_EXIT, { 0 } };

static const struct jail_call PACKER_CALLS[] = {
    { "pread64",
      SYS_pread64,
      { { 0, false, UINT32_MAX, JAIL_FD_FIRST } },
      "read the model file, the first descriptor" },
    { "pwrite64", SYS_pwrite64, { { 0, false, UINT32_MAX, JAIL_FD_FIRST + 1 } }, "fill the image, the second one" },
    { "ftruncate", SYS_ftruncate, { { 0, false, UINT32_MAX, JAIL_FD_FIRST + 1 } }, "give the image its size" },
    CALL_MMAP,
    CALL_MUNMAP,
    CALL_FUTEX,
    CALL_EXIT,
    { 0 },
};

/* Every socket it has was accepted, inherited, or handed to it through its first descriptor, by the process that
 * started it (orchestrator/acceptor.h). No connect, no address, no options, and no message that could carry a
 * descriptor out: an accepted socket could be disconnected and connected elsewhere, which no empty network namespace
 * prevents. */
static const struct jail_call FRONT_DOOR_CALLS[] = {
    { "epoll_wait", MACHINE_EPOLL_WAIT, { { 0 } }, "wait for clients and for the bell of a ring" },
    { "epoll_pwait",
      SYS_epoll_pwait,
      { { 4, true, UINT64_MAX, 0 } },
      "the same, where it is the only one; no signal mask" },
    { "epoll_ctl", SYS_epoll_ctl, { { 0 } }, "watch a client, or no longer" },
    { "accept4", SYS_accept4, { { 0 } }, "take a client from an inherited socket" },
    { "recvmsg",
      SYS_recvmsg,
      { { 0, false, UINT32_MAX, JAIL_FD_FIRST }, { 2, false, UINT32_MAX, MSG_DONTWAIT | MSG_CMSG_CLOEXEC } },
      "take a client of a Unix socket, with its user's number, from the orchestrator" },
    { "read", SYS_read, { { 0 } }, "bytes of a client" },
    { "write", SYS_write, { { 0 } }, "bytes to a client" },
    { "writev", SYS_writev, { { 0 } }, "head and body to a client at once" },
    { "shutdown", SYS_shutdown, { { 0 } }, "say that an answer is over" },
    { "close", SYS_close, { { 0 } }, "let a client go" },
    { "clock_gettime", SYS_clock_gettime, { { 0 } }, "time limits of clients, where the clock needs the kernel" },
    { "brk", SYS_brk, { { 0 } }, "memory of the HTTP library" },
    CALL_MMAP,
    CALL_MUNMAP,
    CALL_FUTEX,
    CALL_EXIT,
    { 0 },
};

const struct jail_profile JAIL_ENGINE = { "engine", ENGINE_CALLS, .clock = false, .nice = 10, .files = 0 };
const struct jail_profile JAIL_TEXT_WORKER = { "text worker", TEXT_WORKER_CALLS, .clock = false, .nice = 5,
                                               .files = 0 };
const struct jail_profile JAIL_PACKER = { "packer", PACKER_CALLS, .clock = false, .nice = 5, .files = 0 };
const struct jail_profile JAIL_FRONT_DOOR = { "front door", FRONT_DOOR_CALLS, .clock = true, .nice = 0, .files = 4096 };

const struct jail_profile *const *jail_profiles(size_t *count)
{
    static const struct jail_profile *const profiles[] = { &JAIL_ENGINE, &JAIL_TEXT_WORKER, &JAIL_PACKER,
                                                           &JAIL_FRONT_DOOR };
    *count = sizeof profiles / sizeof *profiles;
    return profiles;
}
