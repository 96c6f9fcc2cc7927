/* The process puts up its own walls: see jail.h for the order. Each step says in the report why it failed; whether a
 * wall stands is decided by walls.c, from what the kernel shows afterwards. */
#include "jail/enter.h"

#include "jail/filter.h"
#include "jail/kernel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY = 65534 }; /* the kernel's own number for an identity that owns nothing */

static bool wanted(const struct jail_report *r, enum jail_wall wall)
{
    return !(r->waived & jail_bit(wall));
}

/* Records errno of a step that failed, the first of each wall. */
static void note(struct jail_report *r, enum jail_wall wall, bool good)
{
    if (!good && r->error[wall] == 0) r->error[wall] = errno;
}

/* Whether this process is in a namespace of its own. What follows such a question would otherwise be done to the
 * machine: its mounts torn down, its name changed. No answer counts as no. */
static bool apart(const struct jail_place *outside, enum jail_wall wall)
{
    struct jail_place now;
    jail_place_now(&now);
    size_t i = (size_t)wall - JAIL_USER_NS;
    return now.ns[i] != 0 && outside->ns[i] != 0 && now.ns[i] != outside->ns[i];
}

/* The machine's name is copied into a new namespace; this one is told another. */
static void forget_name(const struct jail_place *outside, struct jail_report *r)
{
    if (!apart(outside, JAIL_UTS_NS)) return;
    note(r, JAIL_UTS_NS, sethostname("jail", 4) == 0 && setdomainname("", 0) == 0);
}

/* Asked for once at the start and again after the identity has changed, which clears it. A spawner that died in between
 * shows in its pidfd: inside a new process namespace the parent's number is always 0. */
void enter_follow(int spawner_fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    struct pollfd gone = { .fd = spawner_fd, .events = POLLIN };
    if (spawner_fd >= 0 && poll(&gone, 1, 0) > 0) _exit(1);
}

/* An empty root: a file system of one inode, read-only from its first moment, takes the place of "/", and the old root
 * is let go. */
static void make_root(const struct jail_place *outside, struct jail_report *r)
{
    if (!apart(outside, JAIL_MOUNT_NS)) {
        errno = EXDEV;
        note(r, JAIL_ROOT, false);
        return;
    }
    static const char *const points[] = { "/tmp", "/proc", "/dev", "/sys" }; /* any folder will do to mount it on */
    const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    bool good = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, mounted = false;
    for (size_t i = 0; good && !mounted && i < sizeof points / sizeof *points; i++)
        mounted = mount("none", points[i], "tmpfs", flags, "size=4k,nr_inodes=1,mode=0555") == 0 &&
                  chdir(points[i]) == 0;
    good = good && mounted && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
           chdir("/") == 0;
    note(r, JAIL_ROOT, good);
}

/* From root to nobody, groups too; an ordinary user stays who they are, without the groups where that is allowed. */
static void leave_identity(const struct jail_place *outside, struct jail_report *r)
{
    if (outside->uid != 0 && outside->gid != 0) return;
    bool good = setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
                setresuid(NOBODY, NOBODY, NOBODY) == 0;
    note(r, JAIL_IDENTITY, good);
}

static void drop_capabilities(struct jail_report *r)
{
    /* Being user 0 shall mean nothing, for good. */
    prctl(PR_SET_SECUREBITS,
          SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
              SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
          0, 0, 0);
    bool good = true;
    for (unsigned long cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        good = prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0 && good;
    note(r, JAIL_CAPABILITIES, good);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 }, { 0 } };
    note(r, JAIL_CAPABILITIES, syscall(SYS_capset, &header, none) == 0);
}

/* The listed descriptors become JAIL_FD_FIRST and following, /proc/self comes behind them, and nothing else is left.
 * First all are copied above every place they could take from one another. */
static void keep_descriptors(const struct jail_options *o, struct enter_state *s, struct jail_report *r)
{
    int kept[JAIL_FDS_MAX + 1];
    enum { ABOVE = JAIL_FD_FIRST + JAIL_FDS_MAX + 1 };
    size_t count = o->fd_count + (s->proc_fd >= 0);
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        kept[i] = fcntl(i < o->fd_count ? o->fds[i] : s->proc_fd, F_DUPFD_CLOEXEC, ABOVE);
        good = good && kept[i] >= 0;
    }
    for (size_t i = 0; i < count; i++) good = good && dup3(kept[i], JAIL_FD_FIRST + (int)i, O_CLOEXEC) >= 0;
    if (s->proc_fd >= 0) s->proc_fd = JAIL_FD_FIRST + (int)o->fd_count;
    unsigned behind = JAIL_FD_FIRST + (unsigned)count;
    good = good && syscall(SYS_close_range, 0U, JAIL_FD_FIRST - 1U, 0U) == 0;
    good = good && syscall(SYS_close_range, behind, ~0U, 0U) == 0;
    note(r, JAIL_DESCRIPTORS, good);
}

/* "hearth-engine", "hearth-text", ...: what ps shows, for people; nothing is decided by it. Threads made later take it
 * over. */
static void take_name(const struct jail_profile *p)
{
    char name[16];
    snprintf(name, sizeof name, "hearth-%.*s", (int)strcspn(p->name, " "), p->name);
    prctl(PR_SET_NAME, name, 0, 0, 0);
}

bool enter_outer(const struct jail_profile *p, const struct jail_options *o, const struct jail_place *outside,
                 struct enter_state *s, struct jail_report *r, err *e)
{
    if (o->fd_count > JAIL_FDS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "jail: %zu descriptors, at most %d", o->fd_count, JAIL_FDS_MAX);
    r->waived |= o->skip | (p->clock ? jail_bit(JAIL_CLOCK) : 0);
    s->proc_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    take_name(p);
    personality(PER_LINUX); /* a starter's READ_IMPLIES_EXEC would make readable memory executable */
    if (p->nice > 0) setpriority(PRIO_PROCESS, 0, p->nice);
    bool own_users = !(r->waived & jail_bit(JAIL_USER_NS)) && r->error[JAIL_USER_NS] == 0;
    if (own_users && wanted(r, JAIL_IDENTITY)) leave_identity(outside, r); /* keeps the rights in its namespace */
    forget_name(outside, r);
    if (wanted(r, JAIL_ROOT)) make_root(outside, r);
    if (!own_users && wanted(r, JAIL_IDENTITY)) leave_identity(outside, r); /* gives rights away: after the root */
    if (wanted(r, JAIL_CAPABILITIES)) drop_capabilities(r);
    if (wanted(r, JAIL_NO_NEW_PRIVS)) note(r, JAIL_NO_NEW_PRIVS, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (wanted(r, JAIL_NOT_DUMPABLE)) note(r, JAIL_NOT_DUMPABLE, prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
    if (wanted(r, JAIL_EXEC_MEMORY))
        note(r, JAIL_EXEC_MEMORY, prctl(KERNEL_PR_SET_MDWE, KERNEL_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0);
    /* A thread's own flag, which threads made later inherit. The C library's clock reads the same counter. */
    if (wanted(r, JAIL_CLOCK)) note(r, JAIL_CLOCK, prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) == 0);
    enter_follow(s->spawner_fd);
    if (s->spawner_fd >= 0) close(s->spawner_fd);
    s->spawner_fd = -1;
    if (wanted(r, JAIL_DESCRIPTORS)) keep_descriptors(o, s, r);
    return true;
}

struct limit_row {
    int resource;
    uint64_t value;
};

/* Limits that hold from the inner half on. */
static size_t limit_rows(const struct jail_profile *p, const struct jail_options *o, struct limit_row rows[16])
{
    const struct limit_row all[] = {
        { RLIMIT_CORE, 0 },       /* nothing of a prompt is written to disk */
        { RLIMIT_NPROC, 0 },      /* no process, no further thread: those it needs exist */
        { RLIMIT_NOFILE, p->files },
        { RLIMIT_MEMLOCK, 0 },
        { RLIMIT_MSGQUEUE, 0 },
        { RLIMIT_SIGPENDING, 0 }, /* no timers, no queued signals; faults are exempt */
        { RLIMIT_NICE, 0 },
        { RLIMIT_RTPRIO, 0 },
        { RLIMIT_FSIZE, o->file_bytes },
        { RLIMIT_AS, o->memory_bytes != 0 ? o->memory_bytes : RLIM_INFINITY },
        { RLIMIT_CPU, o->cpu_s != 0 ? o->cpu_s : RLIM_INFINITY },
    };
    memcpy(rows, all, sizeof all);
    return sizeof all / sizeof *all;
}

static void set_limits(const struct jail_profile *p, const struct jail_options *o, struct jail_report *r)
{
    struct limit_row rows[16];
    size_t count = limit_rows(p, o, rows);
    for (size_t i = 0; i < count; i++) {
        struct rlimit limit = { rows[i].value, rows[i].value }, now;
        bool tighter = getrlimit((__rlimit_resource_t)rows[i].resource, &now) == 0 && now.rlim_max < rows[i].value;
        if (tighter) limit = (struct rlimit){ now.rlim_max, now.rlim_max };
        note(r, JAIL_LIMITS, setrlimit((__rlimit_resource_t)rows[i].resource, &limit) == 0);
    }
}

/* No call needed afterwards opens anything, so this is asked last. */
static bool limits_hold(const struct jail_profile *p, const struct jail_options *o)
{
    struct limit_row rows[16];
    size_t count = limit_rows(p, o, rows);
    for (size_t i = 0; i < count; i++) {
        struct rlimit now;
        if (getrlimit((__rlimit_resource_t)rows[i].resource, &now) != 0) return false;
        if (now.rlim_cur > rows[i].value || now.rlim_max > rows[i].value) return false;
    }
    return true;
}

/* No rule is added, so of all that this version of Landlock governs nothing is allowed. */
static bool landlock(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, KERNEL_LANDLOCK_VERSION);
    if (version < 1) return false;
    static const uint64_t files[] = { 0, KERNEL_LANDLOCK_FS_1, KERNEL_LANDLOCK_FS_2, KERNEL_LANDLOCK_FS_3,
                                      KERNEL_LANDLOCK_FS_3, KERNEL_LANDLOCK_FS_5 };
    struct kernel_landlock rules = { .files = files[version < 5 ? version : 5],
                                     .net = version >= 4 ? KERNEL_LANDLOCK_NET_4 : 0,
                                     .scopes = version >= 6 ? KERNEL_LANDLOCK_SCOPE_6 : 0 };
    size_t size = version >= 6 ? sizeof rules : version >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    long fd = syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (fd < 0) return false;
    bool good = syscall(SYS_landlock_restrict_self, fd, 0) == 0;
    int why = errno;
    close((int)fd);
    errno = why;
    return good;
}

/* Landlock has no word for "am I restricted": opening the root, which anybody may read, must now be refused. */
static bool landlock_holds(void)
{
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) close(fd);
    return fd < 0 && errno == EACCES;
}

/* A thread that was just made still makes calls of the C library's (it registers itself with the kernel), and one that
 * met the filter there would end the process. So the others must have come to rest in futex first, as a team's do. */
static bool threads_rest(int proc_fd, err *e)
{
    enum { LOOKS = 4000, BETWEEN_NS = 250000 };
    for (int i = 0; i < LOOKS; i++) {
        if (walls_threads_awake(proc_fd) == 0) return true;
        syscall(SYS_nanosleep, &(struct timespec){ .tv_nsec = BETWEEN_NS }, NULL);
    }
    return fail(e, ERR_STATE, ERR_NO_OFFSET, "jail: threads made before it closes must sleep in futex; %zu do not",
                walls_threads_awake(proc_fd));
}

bool enter_inner(const struct jail_profile *p, const struct jail_options *o, const struct jail_place *outside,
                 struct enter_state *s, struct jail_report *r, err *e)
{
    struct sock_filter code[JAIL_FILTER_MAX];
    size_t count;
    if (!filter_make(p, o->denied, code, &count, e)) return false;
    if (!threads_rest(s->proc_fd, e)) return false;
    walls_read_back(o, outside, s->proc_fd, r);
    if (s->proc_fd >= 0) close(s->proc_fd);
    s->proc_fd = -1;
    if (wanted(r, JAIL_LANDLOCK)) {
        note(r, JAIL_LANDLOCK, landlock());
        if (landlock_holds()) r->up |= jail_bit(JAIL_LANDLOCK);
    }
    if (wanted(r, JAIL_LIMITS)) set_limits(p, o, r); /* after the last step that opens anything */
    if (limits_hold(p, o)) r->up |= jail_bit(JAIL_LIMITS);
    if (!wanted(r, JAIL_SECCOMP)) return true;
    bool installed = filter_install(code, count);
    note(r, JAIL_SECCOMP, installed);
    if (installed) r->up |= jail_bit(JAIL_SECCOMP); /* the starter looks at /proc/PID/status once more */
    return true;
}

bool jail_enter(const struct jail_profile *p, const struct jail_options *o, const struct jail_place *outside,
                struct jail_report *r, err *e)
{
    struct enter_state s = { .proc_fd = -1, .spawner_fd = -1 };
    *r = (struct jail_report){ 0 };
    return enter_outer(p, o, outside, &s, r, e) && enter_inner(p, o, outside, &s, r, e) && walls_satisfy(r, o, e);
}
