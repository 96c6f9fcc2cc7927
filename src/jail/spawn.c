/* The start of a jailed process: clone with all namespaces, tell it who it is, wait until its walls stand, look for
 * ourselves, say go. One clone and no exec: a millisecond, and the program text is the one already measured and mapped.
 *
 *   spawner                                   child
 *   clone ----------------------------------> waits for SLOT_MAPPED
 *   writes uid_map, gid_map; SLOT_MAPPED ---> outer walls, rings, prepare, inner walls
 *   waits for SLOT_READY <------------------- SLOT_READY, waits for SLOT_GO
 *   reads /proc/PID; SLOT_GO ---------------> run */
#include "jail/crash.h"
#include "jail/enter.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY_OUTSIDE = 65534, NOBODY_INSIDE = 65534, LOOK_MS = 20, TRIES_MAX = 3 };

struct start {
    const struct jail_profile *profile;
    const struct jail_options *options;
    const struct jail_job *job;
    struct jail_slot *slot;
    struct jail_place outside;
    uint64_t flags; /* of clone: the namespaces that are new */
    int errors[JAIL_NAMESPACES];
    int spawner_fd; /* pidfd of the spawner */
};

static void slot_set(struct jail_slot *slot, enum slot_state state)
{
    atomic_store(&slot->state, (uint32_t)state);
    syscall(SYS_futex, &slot->state, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* The child's wait: untimed, as its filter may be on. If the spawner dies the kernel kills the child. */
static void slot_await(struct jail_slot *slot, enum slot_state passed)
{
    while (atomic_load(&slot->state) == (uint32_t)passed)
        syscall(SYS_futex, &slot->state, FUTEX_WAIT, (uint32_t)passed, NULL, NULL, 0);
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return good;
}

/* Inside, one user exists, and it is not 0. Outside it is whoever started us, or nobody where that was root: then only
 * the starter, who has the right, can write the map, so both maps are written from outside. */
static bool write_maps(const struct start *s, pid_t pid)
{
    char path[64], text[64];
    bool root = s->outside.uid == 0 || s->outside.gid == 0;
    bool change = root && !(s->options->skip & jail_bit(JAIL_IDENTITY));
    const struct {
        const char *file;
        unsigned outside;
    } maps[] = { { "gid_map", change ? NOBODY_OUTSIDE : s->outside.gid },
                 { "uid_map", change ? NOBODY_OUTSIDE : s->outside.uid } };
    snprintf(path, sizeof path, "/proc/%d/setgroups", (int)pid);
    if (!root && !write_file(path, "deny")) return false; /* an ordinary user's map is taken only after this */
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, maps[i].file);
        snprintf(text, sizeof text, "%d %u 1", NOBODY_INSIDE, maps[i].outside);
        if (!write_file(path, text)) return false;
    }
    return true;
}

static bool take_rings(const struct jail_options *o, err *e)
{
    for (size_t i = 0; i < o->ring_count; i++)
        if (!ring_take(o->rings[i].ring, o->rings[i].role, e)) return false;
    return true;
}

static _Noreturn void child_main(const struct start *s)
{
    struct jail_slot *slot = s->slot;
    struct jail_report *r = &slot->report;
    struct enter_state state = { .proc_fd = -1, .spawner_fd = s->spawner_fd };
    enter_follow(s->spawner_fd);
    slot_await(slot, SLOT_NEW);
    sigset_t none;
    sigemptyset(&none);
    for (int signal = 1; signal < NSIG; signal++)
        (void)sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    crash_arm(slot);
    for (size_t i = 0; i < JAIL_NAMESPACES; i++) r->error[JAIL_USER_NS + i] = s->errors[i];
    bool good = take_rings(s->options, &slot->error) &&
                enter_outer(s->profile, s->options, &s->outside, &state, r, &slot->error) &&
                (s->job->prepare == NULL || s->job->prepare(s->job->arg, &slot->error)) &&
                enter_inner(s->profile, s->options, &s->outside, &state, r, &slot->error);
    slot_set(slot, good ? SLOT_READY : SLOT_FAILED);
    if (!good) _exit(1);
    slot_await(slot, SLOT_READY);
    s->job->run(s->job->arg);
    for (;;) syscall(SYS_exit_group, 0);
}

static bool lend_rings(const struct jail_options *o, bool inherit, err *e)
{
    for (size_t i = 0; i < o->ring_count; i++)
        if (!ring_lend(o->rings[i].ring, inherit, e)) return false;
    return true;
}

/* The raw call, for glibc's clone wants a stack and its fork knows no namespaces. */
static pid_t clone_into(uint64_t flags, int *pidfd)
{
    return (pid_t)syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, NULL, pidfd, NULL, NULL);
}

/* Tries all namespaces, then, for a root start without user namespaces, the others, then none: what is missing is
 * reported, and refused by who requires it. Each failed try leaves its errno with the namespaces it would have made. */
static pid_t clone_best(struct start *s, int *pidfd)
{
    uint64_t want = 0;
    for (size_t i = 0; i < JAIL_NAMESPACES; i++)
        if (!(s->options->skip & jail_bit((enum jail_wall)(JAIL_USER_NS + i)))) want |= NAMESPACES[i].clone_flag;
    const uint64_t tries[] = { want, want & ~(uint64_t)CLONE_NEWUSER, 0 };
    for (size_t t = 0; t < sizeof tries / sizeof *tries; t++) {
        s->flags = tries[t];
        pid_t pid = clone_into(tries[t], pidfd);
        if (pid >= 0) return pid;
        for (size_t i = 0; i < JAIL_NAMESPACES; i++)
            if (NAMESPACES[i].clone_flag & tries[t]) s->errors[i] = errno;
    }
    return -1;
}

/* Waits until the child has passed `passed`; false where it ended before. */
static bool await_child(struct jail_slot *slot, enum slot_state passed, int pidfd)
{
    const struct timespec look = { .tv_nsec = LOOK_MS * 1000000L };
    for (;;) {
        uint32_t now = atomic_load(&slot->state);
        if (now != (uint32_t)passed) return now == SLOT_READY;
        struct pollfd ended = { .fd = pidfd, .events = POLLIN };
        if (poll(&ended, 1, 0) > 0) return false;
        syscall(SYS_futex, &slot->state, FUTEX_WAIT, now, &look, NULL, 0);
    }
}

static void fold_start_error(struct jail_process *out, err *e)
{
    struct jail_slot *slot = out->slot;
    if (atomic_load(&slot->state) == SLOT_FAILED && slot->error.code != ERR_NONE) {
        slot->error.text[sizeof slot->error.text - 1] = '\0';
        err_set(e, slot->error.code, slot->error.offset, "%s", slot->error.text);
        return;
    }
    struct jail_end end;
    bool ended = jail_wait(out, 1000, &end);
    err_set(e, ERR_IO, ERR_NO_OFFSET, "jail: the process ended while it started: %s",
            ended ? end.text : "no reason left");
}

static bool start_child(struct start *s, struct jail_process *out, err *e)
{
    out->pid = clone_best(s, &out->pidfd);
    if (out->pid == 0) child_main(s);
    if (out->pid < 0) {
        out->pid = 0;
        out->pidfd = -1;
        return fail(e, ERR_IO, ERR_NO_OFFSET, "jail: no new process: %s", strerror(errno));
    }
    if (s->flags & CLONE_NEWUSER && !write_maps(s, out->pid))
        return fail(e, ERR_IO, ERR_NO_OFFSET, "jail: the user map is refused: %s", strerror(errno));
    slot_set(s->slot, SLOT_MAPPED);
    if (!await_child(s->slot, SLOT_MAPPED, out->pidfd)) {
        fold_start_error(out, e);
        return false;
    }
    out->report = s->slot->report;
    if (!walls_read_other(out->pid, &out->report))
        return fail(e, ERR_IO, ERR_NO_OFFSET, "jail: /proc does not show the new process");
    return walls_satisfy(&out->report, s->options, e);
}

static bool spawn_once(const struct jail_profile *p, const struct jail_options *o, const struct jail_job *job,
                       struct jail_process *out, bool *killed, err *e)
{
    *out = (struct jail_process){ .pidfd = -1 };
    if (o->ring_count > JAIL_RINGS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "jail: %zu rings, at most %d", o->ring_count, JAIL_RINGS_MAX);
    struct start s = { .profile = p, .options = o, .job = job };
    size_t slot_bytes = (sizeof(struct jail_slot) + 4095) / 4096 * 4096;
    void *page = mmap(NULL, slot_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "jail: no memory for the crash slot");
    out->slot = s.slot = page;
    jail_place_now(&s.outside);
    s.spawner_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    bool good = lend_rings(o, true, e);
    if (good) good = start_child(&s, out, e);
    good = lend_rings(o, false, e) && good;
    if (s.spawner_fd >= 0) close(s.spawner_fd);
    madvise(page, slot_bytes, MADV_DONTFORK); /* the next child has no business here */
    if (good) {
        slot_set(s.slot, SLOT_GO);
        return true;
    }
    struct jail_end end;
    *killed = out->pid > 0 && jail_wait(out, 0, &end) && end.signal == SIGKILL && !end.crashed;
    jail_free(out);
    return false;
}

/* Somebody may kill the child while it starts: an operator, a kernel short of memory. It has done nothing yet. */
bool jail_spawn(const struct jail_profile *p, const struct jail_options *o, const struct jail_job *job,
                struct jail_process *out, err *e)
{
    assert(p != NULL && o != NULL && job != NULL && job->run != NULL);
    for (int tried = 1;; tried++) {
        bool killed = false;
        err why = { 0 };
        if (spawn_once(p, o, job, out, &killed, &why)) return true;
        if (killed && tried < TRIES_MAX) continue;
        if (e->code == ERR_NONE) *e = why;
        return false;
    }
}

bool jail_wait(struct jail_process *process, int timeout_ms, struct jail_end *end)
{
    *end = (struct jail_end){ .code = -1 };
    struct pollfd ended = { .fd = process->pidfd, .events = POLLIN };
    int got;
    do got = poll(&ended, 1, timeout_ms);
    while (got < 0 && errno == EINTR);
    if (got <= 0) return false;
    siginfo_t info = { 0 };
    if (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOWAIT) != 0) return false;
    if (info.si_code == CLD_EXITED) end->code = info.si_status;
    else end->signal = info.si_status;
    end->by_filter = end->signal == SIGSYS;
    snprintf(end->text, sizeof end->text, end->by_filter ? "killed for a system call outside its profile"
                                          : end->signal != 0 ? "killed by signal %d" : "ended with code %d",
             end->signal != 0 ? end->signal : end->code);
    if (end->code == CRASH_EXIT && atomic_load(&process->slot->crash.taken) != 0) {
        end->crashed = true;
        end->signal = process->slot->crash.signal;
        end->by_filter = end->signal == SIGSYS;
        crash_text(&process->slot->crash, end->text, sizeof end->text);
    }
    return true;
}

void jail_free(struct jail_process *process)
{
    if (process->pid > 0) {
        syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
        siginfo_t info;
        while (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED) != 0 && errno == EINTR) continue;
        close(process->pidfd);
    }
    if (process->slot != NULL) munmap(process->slot, (sizeof(struct jail_slot) + 4095) / 4096 * 4096);
    *process = (struct jail_process){ .pidfd = -1 };
}
