/* The walls: what each is for, how to get it where it is missing, and whether it stands. A wall is up when the kernel
 * says so, in /proc or by refusing; that we asked for it counts for nothing. */
#include "jail/enter.h"

#include "jail/kernel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char USER_NS_REMEDY[] =
    "Ubuntu 24.04 on: the package's AppArmor profile, or kernel.apparmor_restrict_unprivileged_userns=0; old Debian: "
    "kernel.unprivileged_userns_clone=1; else user.max_user_namespaces above 0; a container must allow them; or start "
    "as root";

/* ORDER jail_wall */
static const struct jail_wall_text WALLS[JAIL_WALLS] = {
    { "seccomp", "every system call but the profile's",
      "a kernel with CONFIG_SECCOMP_FILTER: Debian, Ubuntu and Raspberry Pi OS have it" },
    { "user namespace", "rights over anything outside", USER_NS_REMEDY },
    { "mount namespace", "the machine's files", USER_NS_REMEDY },
    { "network namespace", "network devices, addresses, abstract sockets", USER_NS_REMEDY },
    { "process namespace", "names of other processes", USER_NS_REMEDY },
    { "ipc namespace", "System V memory, POSIX queues of others", USER_NS_REMEDY },
    { "host name namespace", "changing the host's name", USER_NS_REMEDY },
    { "cgroup namespace", "the view of the machine's cgroups", USER_NS_REMEDY },
    { "empty root", "every path", "needs the mount namespace" },
    { "identity", "what the starting user owns, if that is root",
      "start as an ordinary user, or as root with user 65534" },
    { "no capabilities", "privileged calls", "always there; something outside may forbid dropping them" },
    { "no new privileges", "gaining rights by running a program", "always there since Linux 3.5" },
    { "no executable memory", "running bytes that were written",
      "Linux 6.3 or later (Debian 13, Raspberry Pi OS with 6.6); before it the filter alone denies it" },
    { "limits", "files, processes, locked memory and cores", "always there" },
    { "descriptors", "whatever the starter had open", "Linux 5.9 or later" },
    { "not dumpable", "cores and tracing by the same user", "always there" },
    { "no clock", "the time-stamp counter",
      "x86-64, or arm64 from Linux 6.12; some virtual machines do not pass it on" },
    { "landlock", "files, TCP ports, signals and abstract sockets once more",
      "Debian and Ubuntu have it; Raspberry Pi OS builds its kernel without: CONFIG_SECURITY_LANDLOCK, lsm=landlock" },
};

/* ORDER jail_wall, from JAIL_USER_NS */
const struct namespace_row NAMESPACES[JAIL_NAMESPACES] = {
    { "user", CLONE_NEWUSER }, { "mnt", CLONE_NEWNS },   { "net", CLONE_NEWNET },       { "pid", CLONE_NEWPID },
    { "ipc", CLONE_NEWIPC },   { "uts", CLONE_NEWUTS },  { "cgroup", CLONE_NEWCGROUP },
};

const struct jail_wall_text *jail_wall_text(enum jail_wall wall)
{
    assert(wall < JAIL_WALLS);
    return &WALLS[wall];
}

bool jail_wall_named(view name, enum jail_wall *wall)
{
    for (enum jail_wall w = 0; w < JAIL_WALLS; w++) {
        if (!view_is(name, WALLS[w].name)) continue;
        *wall = w;
        return true;
    }
    return false;
}

extern void __asan_init(void) __attribute__((weak));

uint32_t jail_unfit(void)
{
    return __asan_init != NULL ? jail_bit(JAIL_CLOCK) : 0;
}

static const char *why_missing(const struct jail_report *r, enum jail_wall wall)
{
    return r->error[wall] != 0 ? strerror(r->error[wall]) : "the kernel does not confirm it";
}

void jail_explain(const struct jail_report *r, enum jail_wall wall, char *line, size_t line_bytes)
{
    const struct jail_wall_text *text = jail_wall_text(wall);
    if (r->up & jail_bit(wall)) snprintf(line, line_bytes, "%s: stands; takes away %s", text->name, text->stops);
    else if (r->waived & jail_bit(wall)) snprintf(line, line_bytes, "%s: not wanted here", text->name);
    else
        snprintf(line, line_bytes, "%s: missing (%s); would take away %s; %s", text->name,
                 why_missing(r, wall), text->stops, text->remedy);
}

bool walls_satisfy(const struct jail_report *r, const struct jail_options *o, err *e)
{
    uint32_t missing = o->require & ~r->up & ~r->waived;
    for (enum jail_wall wall = 0; wall < JAIL_WALLS; wall++) {
        if (!(missing & jail_bit(wall))) continue;
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "jail: required wall %s: missing (%s); %s", WALLS[wall].name,
                    why_missing(r, wall), WALLS[wall].remedy);
    }
    return true;
}

static void set_up(struct jail_report *r, enum jail_wall wall, bool up)
{
    if (up) r->up |= jail_bit(wall);
    else r->up &= ~jail_bit(wall);
}

static uint64_t namespace_inode(int proc_fd, const char *name)
{
    char path[32], text[64];
    snprintf(path, sizeof path, "ns/%s", name);
    ssize_t len = readlinkat(proc_fd, path, text, sizeof text - 1); /* "net:[4026531840]" */
    if (len <= 0) return 0;
    text[len] = '\0';
    const char *number = strchr(text, '[');
    return number == NULL ? 0 : strtoull(number + 1, NULL, 10);
}

void jail_place_now(struct jail_place *place)
{
    *place = (struct jail_place){ .uid = geteuid(), .gid = getegid() };
    int proc_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc_fd < 0) return;
    for (size_t i = 0; i < JAIL_NAMESPACES; i++) place->ns[i] = namespace_inode(proc_fd, NAMESPACES[i].name);
    close(proc_fd);
}

/* Reads a small file of /proc; its length, 0 where it can not be read. */
static size_t read_small(int fd, char *text, size_t text_bytes)
{
    size_t len = 0;
    while (fd >= 0 && len + 1 < text_bytes) {
        ssize_t got = read(fd, text + len, text_bytes - 1 - len);
        if (got <= 0) break;
        len += (size_t)got;
    }
    text[len] = '\0';
    if (fd >= 0) close(fd);
    return len;
}

/* The number behind "\nKEY:\t" of a status file; UINT64_MAX where it is not there. */
static uint64_t status_number(const char *status, const char *key, int base)
{
    char want[32];
    snprintf(want, sizeof want, "\n%s:\t", key);
    const char *at = strstr(status, want);
    return at == NULL ? UINT64_MAX : strtoull(at + strlen(want), NULL, base);
}

static void read_status(const char *status, struct jail_report *r)
{
    static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
    bool none = true;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) none = none && status_number(status, sets[i], 16) == 0;
    set_up(r, JAIL_CAPABILITIES, none);
    set_up(r, JAIL_NO_NEW_PRIVS, status_number(status, "NoNewPrivs", 10) == 1);
    set_up(r, JAIL_SECCOMP, status_number(status, "Seccomp", 10) == 2);
    uint64_t user = status_number(status, "Uid", 10), group = status_number(status, "Gid", 10);
    set_up(r, JAIL_IDENTITY, user != 0 && user != UINT64_MAX && group != 0 && group != UINT64_MAX);
}

bool walls_read_other(pid_t pid, struct jail_report *r)
{
    char path[64], status[8192];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (read_small(open(path, O_RDONLY | O_CLOEXEC), status, sizeof status) == 0) return false;
    read_status(status, r);
    return true;
}

/* Whether any map is both writable and executable, by reading all of /proc/self/maps a piece at a time:
 * "7f12-7f34 rwxp ...", the rights behind the first blank of a line. */
static bool maps_clean(int proc_fd)
{
    int fd = openat(proc_fd, "maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    char text[4096], rights[3] = { 0 };
    size_t in_rights = SIZE_MAX; /* SIZE_MAX: before the line's first blank; 3: behind the rights */
    bool clean = true, any = false;
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;) {
        for (ssize_t i = 0; i < got; i++) {
            if (text[i] == '\n') {
                clean = clean && !(rights[1] == 'w' && rights[2] == 'x');
                in_rights = SIZE_MAX;
                any = true;
            } else if (in_rights == SIZE_MAX) {
                if (text[i] == ' ') in_rights = 0;
            } else if (in_rights < 3) {
                rights[in_rights++] = text[i];
            }
        }
    }
    close(fd);
    return clean && any;
}

/* Calls `each` with every name in a folder of /proc/self that does not begin with a dot, without the library's
 * opendir, which would allocate; how many there were, 0 where the folder can not be read. */
typedef void folder_fn(void *arg, const char *name);

static size_t folder_names(int proc_fd, const char *folder, folder_fn *each, void *arg)
{
    int fd = openat(proc_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return 0;
    _Alignas(8) char entries[4096];
    size_t count = 0;
    for (long got; (got = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0;) {
        for (long at = 0; at < got;) {
            uint16_t entry_bytes; /* struct linux_dirent64: inode and offset of 8 bytes each, length, type, name */
            memcpy(&entry_bytes, entries + at + 16, sizeof entry_bytes);
            const char *name = entries + at + 19;
            at += entry_bytes;
            if (name[0] == '.') continue;
            count++;
            if (each != NULL) each(arg, name);
        }
    }
    close(fd);
    return count;
}

/* How many descriptors are open, the one that lists them left out. */
static size_t descriptors_open(int proc_fd)
{
    size_t count = folder_names(proc_fd, "fd", NULL, NULL);
    return count > 0 ? count - 1 : 0;
}

struct threads {
    int proc_fd;
    size_t awake;
};

static void count_awake(void *arg, const char *name)
{
    struct threads *t = arg;
    char path[64], status[512]; /* the state is among the first lines */
    snprintf(path, sizeof path, "task/%.20s/status", name);
    read_small(openat(t->proc_fd, path, O_RDONLY | O_CLOEXEC), status, sizeof status);
    t->awake += strstr(status, "\nState:\tS") == NULL;
}

size_t walls_threads_awake(int proc_fd)
{
    struct threads t = { .proc_fd = proc_fd };
    folder_names(proc_fd, "task", count_awake, &t);
    return t.awake > 0 ? t.awake - 1 : 0; /* the one that asks is awake */
}

/* An empty read-only file system of one page, and nothing of the old root: asked by path. */
static bool root_empty(void)
{
    struct statvfs fs;
    const unsigned long flags = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
    if (statvfs("/", &fs) != 0 || (fs.f_flag & flags) != flags) return false;
    return access("/proc", F_OK) != 0 && errno == ENOENT && access("/etc", F_OK) != 0 && errno == ENOENT;
}

void walls_read_back(const struct jail_options *o, const struct jail_place *outside, int proc_fd,
                     struct jail_report *r)
{
    for (size_t i = 0; i < JAIL_NAMESPACES; i++) {
        uint64_t inside = namespace_inode(proc_fd, NAMESPACES[i].name);
        set_up(r, (enum jail_wall)(JAIL_USER_NS + i), inside != 0 && inside != outside->ns[i] && outside->ns[i] != 0);
    }
    char status[8192];
    read_small(openat(proc_fd, "status", O_RDONLY | O_CLOEXEC), status, sizeof status);
    read_status(status, r);
    set_up(r, JAIL_ROOT, root_empty());
    bool mdwe = prctl(KERNEL_PR_GET_MDWE, 0, 0, 0, 0) & KERNEL_MDWE_REFUSE_EXEC_GAIN;
    set_up(r, JAIL_EXEC_MEMORY, mdwe && maps_clean(proc_fd));
    set_up(r, JAIL_DESCRIPTORS, descriptors_open(proc_fd) == o->fd_count + 1); /* and proc_fd, which closes next */
    set_up(r, JAIL_NOT_DUMPABLE, prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    int counter = 0;
    set_up(r, JAIL_CLOCK, prctl(PR_GET_TSC, &counter, 0, 0, 0) == 0 && counter == PR_TSC_SIGSEGV);
}
