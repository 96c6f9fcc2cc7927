/* The table of escapes: see escape.h. The number behind a name is the line of the threat list in docs/walls.md. Paths
 * and targets exist and are open to everybody, so that only a wall can say no; calls that would change the machine
 * carry arguments it refuses or that change nothing (signal 0, a mode of no bits, the name it has already). The file is
 * longer than others because the table is one: it is to be read against the list, from its first line to its last. */
#include "jail/escape.h"

#include "jail/kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* Calls newer than Debian 12's headers, the same on every machine; a kernel without one answers ENOSYS. */
enum {
    NEW_CACHESTAT = 451,
    NEW_FCHMODAT2 = 452,
    NEW_MAP_SHADOW_STACK = 453,
    NEW_FUTEX_WAKE = 454,
    NEW_FUTEX_WAIT = 455,
    NEW_FUTEX_REQUEUE = 456,
    NEW_STATMOUNT = 457,
    NEW_LISTMOUNT = 458,
    NEW_LSM_GET_SELF_ATTR = 459,
    NEW_LSM_LIST_MODULES = 461,
    NEW_MSEAL = 462,
    NEW_SETXATTRAT = 463,
    NEW_OPEN_TREE_ATTR = 467,
    NEW_FILE_GETATTR = 468,
    NOT_A_CALL = 1000
};

/* What pointers in the rows point to; the kernel only reads them. */
static const struct sockaddr_in LOOPBACK = { .sin_family = AF_INET, .sin_port = 0x0900, .sin_addr = { 0x0100007F } };
static const struct sockaddr NOWHERE = { .sa_family = AF_UNSPEC };
static const struct timespec NO_TIME = { 0, 1 }, A_TIME = { 0, 1000 };
static const struct itimerval FAR_TIMER = { { 0, 0 }, { 100000, 0 } };
static char LETTER[] = "x";
static const struct iovec ONE_BYTE = { LETTER, 1 };
static const struct msghdr TO_LOOPBACK = { .msg_name = (void *)(uintptr_t)&LOOPBACK, .msg_namelen = sizeof LOOPBACK,
                                           .msg_iov = (void *)(uintptr_t)&ONE_BYTE, .msg_iovlen = 1 };
static const struct sock_filter ALLOW[] = { { BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW } };
static const struct sock_fprog ALLOW_ALL = { 1, (void *)(uintptr_t)ALLOW };
static const struct perf_event_attr COUNTER = { .type = PERF_TYPE_SOFTWARE, .size = sizeof COUNTER,
                                                .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1 };
static const uint64_t RESOLVE_BENEATH[3] = { O_RDONLY, 0, 0x08 };
static const uint64_t MANY[2] = { 1 << 20, 1 << 20 };
static const int32_t CAPABILITY_HEADER[2] = { _LINUX_CAPABILITY_VERSION_3, 0 };

static long call(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f)
{
    long got = syscall(number, a, b, c, d, e, f);
    return got == -1 ? -errno : got;
}

static long call3(long number, uintptr_t a, uintptr_t b, uintptr_t c)
{
    return call(number, a, b, c, 0, 0, 0);
}

/* A socket, or why there is none. */
static long sock(int family, int type)
{
    return call3(SYS_socket, (uintptr_t)family, (uintptr_t)type, 0);
}

static long send_to(int family, int type, const void *address, size_t address_bytes)
{
    long fd = sock(family, type);
    if (fd < 0) return fd;
    return call(SYS_sendto, (uintptr_t)fd, (uintptr_t)LETTER, 1, MSG_DONTWAIT, (uintptr_t)address, address_bytes);
}

static long connect_to(int family, const void *address, size_t address_bytes)
{
    long fd = sock(family, SOCK_STREAM);
    return fd < 0 ? fd : call3(SYS_connect, (uintptr_t)fd, (uintptr_t)address, address_bytes);
}

static long udp_to_spawner(const struct escape_scene *s)
{
    struct sockaddr_in to = LOOPBACK;
    to.sin_port = htons(s->udp_port);
    return send_to(AF_INET, SOCK_DGRAM, &to, sizeof to);
}

static long dns_query(const struct escape_scene *s)
{
    (void)s;
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(53) };
    to.sin_addr.s_addr = htonl(0xC0000235); /* 192.0.2.53, which is nobody's: RFC 5737 */
    return send_to(AF_INET, SOCK_DGRAM, &to, sizeof to);
}

static long unix_path(const struct escape_scene *s)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    snprintf(to.sun_path, sizeof to.sun_path, "%s/socket", s->folder);
    return connect_to(AF_UNIX, &to, sizeof to);
}

static long unix_abstract(const struct escape_scene *s)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int len = snprintf(to.sun_path + 1, sizeof to.sun_path - 1, "hearth-escape-%d", (int)s->spawner);
    return connect_to(AF_UNIX, &to, offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

static long vsock_to_host(const struct escape_scene *s)
{
    (void)s;
    long fd = sock(AF_VSOCK, SOCK_STREAM); /* having one is the escape; nothing is sent to a host that did not ask */
    return fd;
}

/* The front door's own sockets: an accepted one can be taken apart and sent elsewhere by these. */
static uintptr_t accepted(const struct escape_scene *s)
{
    (void)s;
    return JAIL_FD_FIRST + 1;
}

static long disconnect_accepted(const struct escape_scene *s)
{
    return call3(SYS_connect, accepted(s), (uintptr_t)&NOWHERE, sizeof NOWHERE);
}

static long reconnect_accepted(const struct escape_scene *s)
{
    call3(SYS_connect, accepted(s), (uintptr_t)&NOWHERE, sizeof NOWHERE);
    return call3(SYS_connect, accepted(s), (uintptr_t)&LOOPBACK, sizeof LOOPBACK);
}

/* Descriptors that nobody listed: the spawner's files, its sockets, the log's terminal. */
static long stray_descriptor(const struct escape_scene *s)
{
    return call3(SYS_fcntl, (uintptr_t)s->stray_fd, F_GETFL, 0);
}

static long any_descriptor(const struct escape_scene *s)
{
    long found = -EBADF;
    for (int fd = 0; fd < 64; fd++) {
        bool listed = fd >= JAIL_FD_FIRST && fd < JAIL_FD_FIRST + s->fd_count;
        long got = call3(SYS_fcntl, (uintptr_t)fd, F_GETFD, 0);
        if (got == -JAIL_DENIED_ERRNO) return got;
        if (got >= 0 && !listed) found = fd;
    }
    return found;
}

/* A child that comes to be ends at once: raw, for library calls belong to the parent's copy of the library. */
static long forked(long pid)
{
    if (pid == 0)
        for (;;) syscall(SYS_exit_group, 0);
    return pid;
}

static long clone_child(const struct escape_scene *s)
{
    (void)s;
    return forked(call(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0));
}

static long clone3_child(const struct escape_scene *s)
{
    (void)s;
    static const struct clone_args plain = { .exit_signal = SIGCHLD };
    return forked(call3(SYS_clone3, (uintptr_t)&plain, sizeof plain, 0));
}

static long clone_with_namespaces(const struct escape_scene *s)
{
    (void)s;
    return forked(call(SYS_clone, SIGCHLD | CLONE_NEWUSER | CLONE_NEWNET, 0, 0, 0, 0, 0));
}

static long exec_memfd(const struct escape_scene *s)
{
    (void)s;
    long fd = call3(SYS_memfd_create, (uintptr_t)"x", 0, 0);
    if (fd < 0) return fd;
    long got = call3(SYS_write, (uintptr_t)fd, (uintptr_t)"#!/bin/true\n", 12);
    static const char *const none[] = { NULL };
    if (got < 0) return got;
    return call(SYS_execveat, (uintptr_t)fd, (uintptr_t)"", (uintptr_t)none, (uintptr_t)none, AT_EMPTY_PATH, 0);
}

static long exec_program(const struct escape_scene *s)
{
    (void)s;
    static const char *const none[] = { NULL };
    return call3(SYS_execve, (uintptr_t)"/bin/true", (uintptr_t)none, (uintptr_t)none);
}

/* Where it is allowed the spawner stops, so it is let go before the canary goes on. */
static long attach(const struct escape_scene *s)
{
    long got = call(SYS_ptrace, 16, (uintptr_t)s->spawner, 0, 0, 0, 0);
    if (got < 0) return got;
    call(SYS_wait4, (uintptr_t)s->spawner, 0, 0x40000000 /* __WALL */, 0, 0, 0);
    call(SYS_ptrace, 17, (uintptr_t)s->spawner, 0, 0, 0, 0);
    return got;
}

/* Memory. */
static long run_data(const struct escape_scene *s)
{
    static const uint8_t ret[] = { 0xC3, 0, 0, 0, 0xC0, 0x03, 0x5F, 0xD6 }; /* x86-64 `ret`, and at 4 arm64's */
    memcpy(s->own, ret, sizeof ret);
    __builtin___clear_cache((char *)s->own, (char *)s->own + 8);
    void (*code)(void);
    uintptr_t at = (uintptr_t)s->own + ((int)MACHINE_EPOLL_WAIT == (int)NO_CALL ? 4 : 0);
    memcpy(&code, &at, sizeof code);
    code();
    return 0;
}

static long store_weights(const struct escape_scene *s)
{
    *(volatile uint8_t *)(uintptr_t)s->weights = 1;
    return 0;
}

static long store_peer(const struct escape_scene *s)
{
    *(volatile uint8_t *)(uintptr_t)s->peer = 1;
    return 0;
}

static long store_null(const struct escape_scene *s)
{
    (void)s;
    volatile uintptr_t nothing = 16; /* hidden from the compiler, which would make a trap of it */
    *(volatile uint8_t *)nothing = 1;
    return 0;
}

/* What tells machines and moments apart. */
static long host_name(const struct escape_scene *s)
{
    struct utsname name;
    long got = call3(SYS_uname, (uintptr_t)&name, 0, 0);
    if (got < 0) return got;
    return strncmp(name.nodename, s->host, sizeof name.nodename) == 0 ? 0 : -ENOENT;
}

static long clock_without_call(const struct escape_scene *s)
{
    (void)s;
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? 0 : -errno; /* the C library reads the counter: no call */
}

static long timed_wait(const struct escape_scene *s)
{
    long got = call(SYS_futex, (uintptr_t)s->own, FUTEX_WAIT, 0, (uintptr_t)&A_TIME, 0, 0);
    return got == -ETIMEDOUT ? 0 : got;
}

static long fill_descriptors(const struct escape_scene *s)
{
    (void)s;
    long fd = call3(SYS_eventfd2, 0, 0, 0), last = fd;
    for (int i = 0; fd >= 0 && i < 5000; i++) {
        last = call3(SYS_dup, (uintptr_t)fd, 0, 0);
        if (last < 0) return -EMFILE; /* a limit held */
    }
    return last;
}

static long ring_uring(const struct escape_scene *s)
{
    struct io_uring_params params = { 0 };
    (void)s;
    return call3(SYS_io_uring_setup, 4, (uintptr_t)&params, 0);
}

static long pass_descriptor(const struct escape_scene *s)
{
    (void)s;
    long pair[2];
    int fds[2];
    pair[0] = call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, (uintptr_t)fds, 0, 0);
    if (pair[0] < 0) return pair[0];
    return call3(SYS_sendmsg, (uintptr_t)fds[0], (uintptr_t)&(struct msghdr){ .msg_iov = (void *)(uintptr_t)&ONE_BYTE,
                                                                              .msg_iovlen = 1 }, 0);
}

static long raise_limit(const struct escape_scene *s)
{
    (void)s;
    return call(SYS_prlimit64, 0, 7 /* RLIMIT_NOFILE */, (uintptr_t)MANY, 0, 0, 0);
}

static long map_file(const struct escape_scene *s, uintptr_t rights, uintptr_t flags)
{
    long fd = call(SYS_openat, (uintptr_t)AT_FDCWD, (uintptr_t)s->file, O_RDWR, 0, 0, 0);
    return fd < 0 ? fd : call(SYS_mmap, 0, 4096, rights, flags, (uintptr_t)fd, 0);
}

/* Where the machine has put this process among its groups: names of containers, services, users. A line of the file is
 * "NUMBER:CONTROLLERS:PATH"; behind its own namespace every path is "/". */
static long group_path(const struct escape_scene *s)
{
    char *text = (char *)s->own;
    long fd = call3(SYS_openat, (uintptr_t)AT_FDCWD, (uintptr_t)"/proc/self/cgroup", O_RDONLY);
    if (fd < 0) return fd;
    long got = call3(SYS_read, (uintptr_t)fd, (uintptr_t)text, 4095);
    call3(SYS_close, (uintptr_t)fd, 0, 0);
    if (got < 0) return got;
    text[got] = '\0';
    for (char *at = text; (at = strstr(at, ":/")) != NULL; at += 2)
        if (at[2] != '\n' && at[2] != '\0') return 1;
    return -ENOENT;
}

static long map_file_executable(const struct escape_scene *s)
{
    return map_file(s, PROT_READ | PROT_EXEC, MAP_PRIVATE);
}

static long map_file_shared(const struct escape_scene *s)
{
    return map_file(s, PROT_READ | PROT_WRITE, MAP_SHARED);
}

#define ALL FOR_ALL
#define PTR(p) (uintptr_t)(p)
#define TRY(name, threat, profiles, fn) { name, threat, profiles, false, NO_CALL, { 0 }, { 0 }, fn }
#define ALONE(name, threat, profiles, fn) { name, threat, profiles, true, NO_CALL, { 0 }, { 0 }, fn }
#define W(n) WORD_##n

const struct escape ESCAPES[] = {
    /* 1: files, by path */
    { "openat: a file", 1, ALL, false, SYS_openat, { PTR(AT_FDCWD), 0, O_RDONLY }, { 0, W(FILE) }, NULL },
    { "openat: for writing", 1, ALL, false, SYS_openat, { PTR(AT_FDCWD), 0, O_WRONLY }, { 0, W(FILE) }, NULL },
    { "openat: a new file", 1, ALL, false, SYS_openat,
      { PTR(AT_FDCWD), 0, O_WRONLY | O_CREAT, 0600 }, { 0, W(FRESH) }, NULL },
    { "openat: a file without a name", 1, ALL, false, SYS_openat,
      { PTR(AT_FDCWD), 0, O_RDWR | O_TMPFILE, 0600 }, { 0, W(FOLDER) }, NULL },
    { "openat: the root", 1, ALL, false, SYS_openat, { PTR(AT_FDCWD), PTR("/"), O_RDONLY | O_DIRECTORY }, { 0 }, NULL },
    { "openat: O_PATH of the root", 1, ALL, false, SYS_openat, { PTR(AT_FDCWD), PTR("/"), O_PATH }, { 0 }, NULL },
    { "openat: above the root", 1, ALL, false, SYS_openat,
      { PTR(AT_FDCWD), PTR("../../../../etc/passwd"), O_RDONLY }, { 0 }, NULL },
    { "openat: passwords", 1, ALL, false, SYS_openat, { PTR(AT_FDCWD), PTR("/etc/passwd"), O_RDONLY }, { 0 }, NULL },
    { "openat2", 1, ALL, false, SYS_openat2,
      { PTR(AT_FDCWD), PTR("."), PTR(RESOLVE_BENEATH), sizeof RESOLVE_BENEATH }, { 0 }, NULL },
    { "newfstatat", 1, ALL, false, SYS_newfstatat, { PTR(AT_FDCWD) }, { 0, W(FILE), W(OWN) }, NULL },
    { "statx", 1, ALL, false, SYS_statx, { PTR(AT_FDCWD), 0, 0, 0x7FF }, { 0, W(FILE), 0, 0, W(OWN) }, NULL },
    { "statx: the root", 1, ALL, false, SYS_statx,
      { PTR(AT_FDCWD), PTR("/"), 0, 0x7FF }, { 0, 0, 0, 0, W(OWN) }, NULL },
    { "faccessat", 1, ALL, false, SYS_faccessat, { PTR(AT_FDCWD), 0, 0 }, { 0, W(FILE) }, NULL },
    { "faccessat2", 1, ALL, false, SYS_faccessat2, { PTR(AT_FDCWD), 0, 0, 0 }, { 0, W(FILE) }, NULL },
    { "readlinkat: our program", 1, ALL, false, SYS_readlinkat,
      { PTR(AT_FDCWD), PTR("/proc/self/exe"), 0, 100 }, { 0, 0, W(OWN) }, NULL },
    { "getcwd", 1, ALL, false, SYS_getcwd, { 0, 4000 }, { W(OWN) }, NULL },
    { "statfs", 1, ALL, false, SYS_statfs, { PTR("/") }, { 0, W(OWN) }, NULL },
    { "fstat of a descriptor", 1, ALL, false, SYS_fstat, { JAIL_FD_FIRST }, { 0, W(OWN) }, NULL },
    { "chdir", 1, ALL, false, SYS_chdir, { 0 }, { W(FOLDER) }, NULL },
    { "fchdir", 1, ALL, false, SYS_fchdir, { JAIL_FD_FIRST }, { 0 }, NULL },
    { "getdents64", 1, ALL, false, SYS_getdents64, { JAIL_FD_FIRST, 0, 4096 }, { 0, W(OWN) }, NULL },
    { "mkdirat", 1, ALL, false, SYS_mkdirat, { PTR(AT_FDCWD), 0, 0700 }, { 0, W(FRESH) }, NULL },
    { "mknodat: a pipe", 1, ALL, false, SYS_mknodat, { PTR(AT_FDCWD), 0, S_IFIFO | 0600 }, { 0, W(FRESH) }, NULL },
    { "symlinkat", 1, ALL, false, SYS_symlinkat, { PTR("/etc/passwd"), PTR(AT_FDCWD) }, { 0, 0, W(FRESH) }, NULL },
    { "linkat", 1, ALL, false, SYS_linkat, { PTR(AT_FDCWD), 0, PTR(AT_FDCWD) }, { 0, W(FILE), 0, W(FRESH) }, NULL },
    { "renameat2: onto itself", 1, ALL, false, SYS_renameat2,
      { PTR(AT_FDCWD), 0, PTR(AT_FDCWD) }, { 0, W(FILE), 0, W(FILE) }, NULL },
    { "unlinkat", 1, ALL, false, SYS_unlinkat, { PTR(AT_FDCWD) }, { 0, W(FRESH) }, NULL },
    { "fchmodat", 1, ALL, false, SYS_fchmodat, { PTR(AT_FDCWD), 0, 0666 }, { 0, W(FILE) }, NULL },
    { "fchmodat2", 1, ALL, false, NEW_FCHMODAT2, { PTR(AT_FDCWD), 0, 0666 }, { 0, W(FILE) }, NULL },
    { "fchownat: to nobody new", 1, ALL, false, SYS_fchownat,
      { PTR(AT_FDCWD), 0, UINT32_MAX, UINT32_MAX }, { 0, W(FILE) }, NULL },
    { "utimensat", 1, ALL, false, SYS_utimensat, { PTR(AT_FDCWD) }, { 0, W(FILE) }, NULL },
    { "truncate", 1, ALL, false, SYS_truncate, { 0, 4096 }, { W(FILE) }, NULL },
    { "setxattr", 1, ALL, false, SYS_setxattr, { 0, PTR("user.x"), PTR("x"), 1 }, { W(FILE) }, NULL },
    { "setxattrat", 1, ALL, false, NEW_SETXATTRAT,
      { PTR(AT_FDCWD), 0, 0, PTR("user.x"), 0, 16 }, { 0, W(FILE), 0, 0, W(OWN) }, NULL },
    { "listxattr", 1, ALL, false, SYS_listxattr, { 0, 0, 0 }, { W(FILE) }, NULL },
    { "file_getattr", 1, ALL, false, NEW_FILE_GETATTR, { PTR(AT_FDCWD), 0, 0, 24 }, { 0, W(FILE), W(OWN) }, NULL },
    { "inotify_init1", 1, ALL, false, SYS_inotify_init1, { 0 }, { 0 }, NULL },
    { "fanotify_init", 1, ALL, false, SYS_fanotify_init, { 0x200 | 0x800, 0 }, { 0 }, NULL },
    { "quotactl", 1, ALL, false, SYS_quotactl, { 0x80000100, PTR("/") }, { 0, 0, 0, W(OWN) }, NULL },
    { "sync_file_range", 1, ALL, false, SYS_sync_file_range, { JAIL_FD_FIRST, 0, 0, 0 }, { 0 }, NULL },
    /* 2: files, by handle */
    { "name_to_handle_at", 2, ALL, false, SYS_name_to_handle_at,
      { PTR(AT_FDCWD), 0, 0, 0 }, { 0, W(FILE), W(OWN), W(OWN) }, NULL },
    { "the machine's name for its group", 23, ALL, false, NO_CALL, { 0 }, { 0 }, group_path },
    { "open_by_handle_at", 2, ALL, false, SYS_open_by_handle_at, { PTR(AT_FDCWD), 0, 0 }, { 0, W(OWN) }, NULL },
    /* 3 to 5: sockets */
    { "socket: TCP", 3, ALL, false, SYS_socket, { AF_INET, SOCK_STREAM, 0 }, { 0 }, NULL },
    { "socket: UDP", 3, ALL, false, SYS_socket, { AF_INET, SOCK_DGRAM, 0 }, { 0 }, NULL },
    { "socket: TCP over IPv6", 3, ALL, false, SYS_socket, { AF_INET6, SOCK_STREAM, 0 }, { 0 }, NULL },
    { "socket: UDP over IPv6", 3, ALL, false, SYS_socket, { AF_INET6, SOCK_DGRAM, 0 }, { 0 }, NULL },
    { "socket: MPTCP", 3, ALL, false, SYS_socket, { AF_INET, SOCK_STREAM, 262 }, { 0 }, NULL },
    { "socket: raw", 3, ALL, false, SYS_socket, { AF_INET, SOCK_RAW, IPPROTO_RAW }, { 0 }, NULL },
    { "socket: ping", 3, ALL, false, SYS_socket, { AF_INET, SOCK_DGRAM, IPPROTO_ICMP }, { 0 }, NULL },
    { "socket: netlink", 3, ALL, false, SYS_socket, { AF_NETLINK, SOCK_RAW, 0 }, { 0 }, NULL },
    { "socket: packet", 3, ALL, false, SYS_socket, { AF_PACKET, SOCK_RAW, 0x0300 }, { 0 }, NULL },
    TRY("socket: vsock, to the host of a virtual machine", 4, ALL, vsock_to_host),
    { "socket: vsock datagrams", 4, ALL, false, SYS_socket, { AF_VSOCK, SOCK_DGRAM, 0 }, { 0 }, NULL },
    { "socket: kernel cryptography", 5, ALL, false, SYS_socket, { AF_ALG, SOCK_SEQPACKET, 0 }, { 0 }, NULL },
    { "socket: unix", 5, ALL, false, SYS_socket, { AF_UNIX, SOCK_STREAM, 0 }, { 0 }, NULL },
    { "socketpair", 5, ALL, false, SYS_socketpair, { AF_UNIX, SOCK_STREAM, 0 }, { 0, 0, 0, W(OWN) }, NULL },
    { "socket: XDP", 5, ALL, false, SYS_socket, { AF_XDP, SOCK_RAW, 0 }, { 0 }, NULL },
    { "socket: Bluetooth", 5, ALL, false, SYS_socket, { AF_BLUETOOTH, SOCK_RAW, 1 }, { 0 }, NULL },
    { "socket: CAN", 5, ALL, false, SYS_socket, { AF_CAN, SOCK_RAW, 1 }, { 0 }, NULL },
    { "socket: TIPC", 5, ALL, false, SYS_socket, { AF_TIPC, SOCK_DGRAM, 0 }, { 0 }, NULL },
    TRY("UDP to the machine's loopback", 27, ALL, udp_to_spawner),
    TRY("UDP to a name server elsewhere", 27, ALL, dns_query),
    TRY("connect: a unix socket by path", 26, ALL, unix_path),
    TRY("connect: an abstract unix socket", 26, ALL, unix_abstract),
    TRY("sendmsg: over a new pair", 39, ALL, pass_descriptor),
    /* 6, 7: sockets it was given, or none */
    { "connect: a listed descriptor", 6, ALL, false, SYS_connect,
      { JAIL_FD_FIRST, PTR(&LOOPBACK), sizeof LOOPBACK }, { 0 }, NULL },
    { "sendto: an address", 7, ALL, false, SYS_sendto,
      { JAIL_FD_FIRST, PTR(LETTER), 1, MSG_DONTWAIT | MSG_NOSIGNAL, PTR(&LOOPBACK), sizeof LOOPBACK }, { 0 }, NULL },
    { "sendto: opening in passing", 7, ALL, false, SYS_sendto,
      { JAIL_FD_FIRST, PTR(LETTER), 1, MSG_FASTOPEN | MSG_NOSIGNAL, PTR(&LOOPBACK), sizeof LOOPBACK }, { 0 }, NULL },
    { "sendmsg", 7, ALL, false, SYS_sendmsg, { JAIL_FD_FIRST, PTR(&TO_LOOPBACK), MSG_NOSIGNAL }, { 0 }, NULL },
    { "sendmmsg", 7, ALL, false, SYS_sendmmsg, { JAIL_FD_FIRST, 0, 1, MSG_NOSIGNAL }, { 0, W(OWN) }, NULL },
    { "recvmsg: a descriptor", 7, NOT_FRONT_DOOR, false, SYS_recvmsg,
      { JAIL_FD_FIRST, 0, MSG_DONTWAIT }, { 0, W(OWN) }, NULL },
    { "recvmsg: a descriptor of a client's", 7, ONLY_FRONT_DOOR, false, SYS_recvmsg,
      { JAIL_FD_FIRST + 1, 0, MSG_DONTWAIT | MSG_CMSG_CLOEXEC }, { 0, W(OWN) }, NULL },
    { "recvmsg: another way of waiting", 7, ONLY_FRONT_DOOR, false, SYS_recvmsg,
      { JAIL_FD_FIRST, 0, MSG_DONTWAIT }, { 0, W(OWN) }, NULL },
    { "recvfrom", 7, ALL, false, SYS_recvfrom, { JAIL_FD_FIRST, 0, 1, MSG_DONTWAIT }, { 0, W(OWN) }, NULL },
    { "bind", 7, ALL, false, SYS_bind, { JAIL_FD_FIRST, PTR(&LOOPBACK), sizeof LOOPBACK }, { 0 }, NULL },
    { "listen", 7, ALL, false, SYS_listen, { JAIL_FD_FIRST, 1 }, { 0 }, NULL },
    { "accept4", 7, NOT_FRONT_DOOR, false, SYS_accept4, { JAIL_FD_FIRST, 0, 0, SOCK_NONBLOCK }, { 0 }, NULL },
    { "setsockopt", 7, ALL, false, SYS_setsockopt,
      { JAIL_FD_FIRST, SOL_SOCKET, SO_REUSEADDR, PTR(MANY), 4 }, { 0 }, NULL },
    { "getsockopt", 7, ALL, false, SYS_getsockopt,
      { JAIL_FD_FIRST, SOL_SOCKET, SO_TYPE }, { 0, 0, 0, W(OWN), W(OWN) }, NULL },
    { "getpeername", 7, ALL, false, SYS_getpeername, { JAIL_FD_FIRST }, { 0, W(OWN), W(OWN) }, NULL },
    { "getsockname", 7, ALL, false, SYS_getsockname, { JAIL_FD_FIRST }, { 0, W(OWN), W(OWN) }, NULL },
    TRY("connect: take an accepted socket apart", 6, ONLY_FRONT_DOOR, disconnect_accepted),
    TRY("connect: and send it elsewhere", 6, ONLY_FRONT_DOOR, reconnect_accepted),
    { "accept, the older call", 6, ONLY_FRONT_DOOR, false, SYS_accept, { JAIL_FD_FIRST }, { 0 }, NULL },
    { "sendto: an accepted socket", 7, ONLY_FRONT_DOOR, false, SYS_sendto,
      { JAIL_FD_FIRST + 1, PTR(LETTER), 1, MSG_DONTWAIT }, { 0 }, NULL },
    { "sendmsg: an accepted socket", 7, ONLY_FRONT_DOOR, false, SYS_sendmsg,
      { JAIL_FD_FIRST + 1, PTR(&TO_LOOPBACK), 0 }, { 0 }, NULL },
    { "setsockopt: an accepted socket", 7, ONLY_FRONT_DOOR, false, SYS_setsockopt,
      { JAIL_FD_FIRST + 1, SOL_SOCKET, SO_KEEPALIVE, PTR(MANY), 4 }, { 0 }, NULL },
    { "splice: from client to client", 7, ONLY_FRONT_DOOR, false, SYS_splice,
      { JAIL_FD_FIRST + 1, 0, JAIL_FD_FIRST + 1, 0, 0, 2 }, { 0 }, NULL },
    { "epoll_pwait: with a signal mask", 7, ALL, true, SYS_epoll_pwait,
      { JAIL_FD_FIRST, 0, 1, 0, 0, 8 }, { 0, W(OWN), 0, 0, W(OWN) }, NULL },
    /* Descriptors it holds, or that the spawner forgot */
    TRY("a descriptor of the spawner's", 39, ALL, stray_descriptor),
    TRY("any descriptor that was not listed", 39, ALL, any_descriptor),
    { "fcntl", 39, ALL, false, SYS_fcntl, { JAIL_FD_FIRST, F_SETFL, 0 }, { 0 }, NULL },
    { "fcntl: more seals", 38, ALL, false, SYS_fcntl, { JAIL_FD_FIRST, F_ADD_SEALS, 0 }, { 0 }, NULL },
    { "ioctl", 22, ALL, false, SYS_ioctl, { JAIL_FD_FIRST, FIONREAD }, { 0, 0, W(OWN) }, NULL },
    { "ioctl: type into a terminal", 22, ALL, false, SYS_ioctl, { 0, TIOCSTI, PTR(LETTER) }, { 0 }, NULL },
    { "openat: the terminal", 22, ALL, false, SYS_openat, { PTR(AT_FDCWD), PTR("/dev/tty"), O_RDWR }, { 0 }, NULL },
    { "read", 39, NOT_FRONT_DOOR, true, SYS_read, { JAIL_FD_FIRST, 0, 0 }, { 0, W(OWN) }, NULL },
    { "write", 39, NOT_FRONT_DOOR, false, SYS_write, { JAIL_FD_FIRST, 0, 0 }, { 0, W(OWN) }, NULL },
    { "writev", 39, NOT_FRONT_DOOR, false, SYS_writev, { JAIL_FD_FIRST, PTR(&ONE_BYTE), 0 }, { 0 }, NULL },
    { "readv", 39, ALL, true, SYS_readv, { JAIL_FD_FIRST, PTR(&ONE_BYTE), 0 }, { 0 }, NULL },
    { "pread64 of another descriptor", 39, ALL, false, SYS_pread64,
      { JAIL_FD_FIRST + 1, 0, 1, 0 }, { 0, W(OWN) }, NULL },
    { "pwrite64 to the first descriptor", 39, ALL, false, SYS_pwrite64,
      { JAIL_FD_FIRST, PTR(LETTER), 0, 0 }, { 0 }, NULL },
    { "preadv2", 39, ALL, false, SYS_preadv2, { JAIL_FD_FIRST, PTR(&ONE_BYTE), 0, 0, 0, 0 }, { 0 }, NULL },
    { "close", 39, NOT_FRONT_DOOR, false, SYS_close, { 60 }, { 0 }, NULL },
    { "dup", 30, ALL, false, SYS_dup, { JAIL_FD_FIRST }, { 0 }, NULL },
    { "dup3", 30, ALL, false, SYS_dup3, { JAIL_FD_FIRST, 61, 0 }, { 0 }, NULL },
    ALONE("descriptors without end", 30, ALL, fill_descriptors),
    { "lseek", 39, ALL, false, SYS_lseek, { JAIL_FD_FIRST, 0, SEEK_CUR }, { 0 }, NULL },
    { "sendfile", 39, ALL, false, SYS_sendfile, { JAIL_FD_FIRST, JAIL_FD_FIRST, 0, 0 }, { 0 }, NULL },
    { "copy_file_range", 39, ALL, false, SYS_copy_file_range,
      { JAIL_FD_FIRST, 0, JAIL_FD_FIRST, 0, 0, 0 }, { 0 }, NULL },
    { "vmsplice", 39, ALL, false, SYS_vmsplice, { JAIL_FD_FIRST, PTR(&ONE_BYTE), 0, 0 }, { 0 }, NULL },
    { "pipe2", 19, ALL, false, SYS_pipe2, { 0, 0 }, { W(OWN) }, NULL },
    { "poll", 21, ALL, false, SYS_ppoll, { 0, 0, PTR(&NO_TIME), 0 }, { 0 }, NULL },
    { "pselect6", 21, ALL, false, SYS_pselect6, { 0, 0, 0, 0, PTR(&NO_TIME), 0 }, { 0 }, NULL },
    { "fallocate: fill the disk", 30, ALL, false, SYS_fallocate, { JAIL_FD_FIRST, 0, 0, 1 << 20 }, { 0 }, NULL },
    { "flock", 39, ALL, false, SYS_flock, { JAIL_FD_FIRST, 8 }, { 0 }, NULL },
    /* 8, 9: processes and programs */
    ALONE("clone: a process", 8, ALL, clone_child),
    ALONE("clone3: a process", 8, ALL, clone3_child),
    ALONE("clone: a process in new namespaces", 8, ALL, clone_with_namespaces),
    ALONE("execve", 9, ALL, exec_program),
    ALONE("execveat of a memfd", 9, ALL, exec_memfd),
    /* 10: code */
    { "mmap: writable and executable", 10, ALL, false, SYS_mmap,
      { 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, UINTPTR_MAX, 0 }, { 0 }, NULL },
    { "mmap: executable", 10, ALL, false, SYS_mmap,
      { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, UINTPTR_MAX, 0 }, { 0 }, NULL },
    TRY("mmap: a file, executable", 10, ALL, map_file_executable),
    TRY("mmap: a file, shared and writable", 10, ALL, map_file_shared),
    { "mprotect: executable", 10, ALL, true, SYS_mprotect, { 0, 4096, PROT_READ | PROT_EXEC }, { W(OWN) }, NULL },
    { "mprotect: writable and executable", 10, ALL, true, SYS_mprotect,
      { 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC }, { W(OWN) }, NULL },
    { "pkey_mprotect: executable", 10, ALL, true, SYS_pkey_mprotect,
      { 0, 4096, PROT_READ | PROT_EXEC, UINTPTR_MAX }, { W(OWN) }, NULL },
    { "personality: readable is executable", 10, ALL, true, SYS_personality, { 0x0400000 }, { 0 }, NULL },
    { "map_shadow_stack", 10, ALL, false, NEW_MAP_SHADOW_STACK, { 0, 4096, 0 }, { 0 }, NULL },
    ALONE("run bytes that were written", 10, ALL, run_data),
    { "mmap: over a place it names", 10, ALL, false, SYS_mmap,
      { 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, UINTPTR_MAX, 0 }, { W(OWN) }, NULL },
    { "mmap: shared memory", 10, ALL, false, SYS_mmap,
      { 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, UINTPTR_MAX, 0 }, { 0 }, NULL },
    { "mmap: any memory", 30, NOT_MEMORY, false, SYS_mmap,
      { 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, UINTPTR_MAX, 0 }, { 0 }, NULL },
    { "mmap: a tebibyte", 30, NOT_MEMORY, false, SYS_mmap,
      { 0, (uintptr_t)1 << 40, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, UINTPTR_MAX, 0 }, { 0 }, NULL },
    { "brk", 30, NOT_FRONT_DOOR, false, SYS_brk, { 0 }, { 0 }, NULL },
    { "mremap", 10, ALL, false, SYS_mremap, { 0, 4096, 4096, 0 }, { W(OWN) }, NULL },
    { "munmap: nothing", 10, NOT_MEMORY, false, SYS_munmap, { 4096 * 3, 4096 }, { 0 }, NULL },
    { "madvise", 10, ALL, false, SYS_madvise, { 0, 4096, MADV_NORMAL }, { W(OWN) }, NULL },
    { "process_madvise", 12, ALL, false, SYS_process_madvise, { 0, PTR(&ONE_BYTE), 1, MADV_COLD }, { 0 }, NULL },
    { "mincore: what others read", 21, ALL, false, SYS_mincore, { 0, 4096 }, { W(WEIGHTS), 0, W(OWN) }, NULL },
    { "cachestat: what others read", 21, ALL, false, NEW_CACHESTAT,
      { JAIL_FD_FIRST, PTR(MANY), 0, 0 }, { 0, 0, W(OWN) }, NULL },
    { "mlock", 30, ALL, false, SYS_mlock, { 0, 4096 }, { W(OWN) }, NULL },
    { "mlockall", 30, ALL, false, SYS_mlockall, { 2 }, { 0 }, NULL },
    { "msync", 10, ALL, false, SYS_msync, { 0, 4096, 1 }, { W(OWN) }, NULL },
    { "mbind", 10, ALL, false, SYS_mbind, { 0, 4096, 0, 0, 0, 0 }, { W(OWN) }, NULL },
    { "set_mempolicy", 10, ALL, false, SYS_set_mempolicy, { 0, 0, 0 }, { 0 }, NULL },
    { "move_pages: of the spawner", 12, ALL, false, SYS_move_pages, { 0, 0, 0, 0, 0, 0 }, { W(SPAWNER) }, NULL },
    { "mseal", 10, ALL, true, NEW_MSEAL, { 0, 4096, 0 }, { W(OWN) }, NULL },
    { "userfaultfd", 15, ALL, false, SYS_userfaultfd, { 1 }, { 0 }, NULL },
    { "pkey_alloc", 10, ALL, false, SYS_pkey_alloc, { 0, 0 }, { 0 }, NULL },
    /* 11, 37, 38: weights and rings */
    { "mprotect: weights writable", 11, ALL, false, SYS_mprotect,
      { 0, 4096, PROT_READ | PROT_WRITE }, { W(WEIGHTS) }, NULL },
    { "mprotect: the peer's ring writable", 37, ALL, false, SYS_mprotect,
      { 0, 4096, PROT_READ | PROT_WRITE }, { W(PEER) }, NULL },
    { "madvise: a hole in the peer's ring", 37, ALL, false, SYS_madvise, { 0, 4096, MADV_REMOVE }, { W(PEER) }, NULL },
    { "madvise: a hole in the weights", 11, ALL, false, SYS_madvise, { 0, 4096, MADV_REMOVE }, { W(WEIGHTS) }, NULL },
    { "mremap: a second map of the weights", 11, ALL, false, SYS_mremap, { 0, 0, 4096, 1 }, { W(WEIGHTS) }, NULL },
    { "remap_file_pages", 37, ALL, false, SYS_remap_file_pages, { 0, 4096, 0, 0, 0 }, { W(PEER) }, NULL },
    ALONE("store into the weights", 11, ALL, store_weights),
    ALONE("store into the peer's ring", 37, ALL, store_peer),
    ALONE("store at address 16", 10, ALL, store_null),
    { "ftruncate", 11, NOT_PACKER, false, SYS_ftruncate, { JAIL_FD_FIRST, 0 }, { 0 }, NULL },
    { "ftruncate: the first descriptor", 11, ALL, false, SYS_ftruncate, { JAIL_FD_FIRST, 0 }, { 0 }, NULL },
    /* 12, 13: other processes */
    ALONE("ptrace: attach", 12, ALL, attach),
    { "ptrace: seize", 12, ALL, true, SYS_ptrace, { 0x4206 }, { 0, W(SPAWNER) }, NULL },
    { "ptrace: be traced", 12, ALL, true, SYS_ptrace, { 0 }, { 0 }, NULL },
    { "process_vm_readv", 12, ALL, false, SYS_process_vm_readv,
      { 0, PTR(&ONE_BYTE), 1, PTR(&ONE_BYTE), 1, 0 }, { W(SPAWNER) }, NULL },
    { "process_vm_writev", 12, ALL, false, SYS_process_vm_writev,
      { 0, PTR(&ONE_BYTE), 1, PTR(&ONE_BYTE), 1, 0 }, { W(SPAWNER) }, NULL },
    { "kcmp", 12, ALL, false, SYS_kcmp, { 0, 0, 0, 0, 0 }, { W(SPAWNER), W(SPAWNER) }, NULL },
    { "pidfd_open: the spawner", 12, ALL, false, SYS_pidfd_open, { 0, 0 }, { W(SPAWNER) }, NULL },
    { "pidfd_getfd", 12, ALL, false, SYS_pidfd_getfd, { JAIL_FD_FIRST, 0, 0 }, { 0 }, NULL },
    { "kill: the spawner", 13, ALL, false, SYS_kill, { 0, 0 }, { W(SPAWNER) }, NULL },
    { "kill: everybody", 13, ALL, false, SYS_kill, { UINTPTR_MAX, 0 }, { 0 }, NULL },
    { "kill: init", 13, ALL, false, SYS_kill, { 1, 0 }, { 0 }, NULL },
    { "tgkill: the spawner", 13, ALL, false, SYS_tgkill, { 0, 0, 0 }, { W(SPAWNER), W(SPAWNER) }, NULL },
    { "tkill: the spawner", 13, ALL, false, SYS_tkill, { 0, 0 }, { W(SPAWNER) }, NULL },
    { "pidfd_send_signal", 13, ALL, false, SYS_pidfd_send_signal, { JAIL_FD_FIRST, 0, 0, 0 }, { 0 }, NULL },
    { "rt_sigqueueinfo: the spawner", 13, ALL, false, SYS_rt_sigqueueinfo, { 0, 0 }, { W(SPAWNER), 0, W(OWN) }, NULL },
    { "rt_tgsigqueueinfo: the spawner", 13, ALL, false, SYS_rt_tgsigqueueinfo,
      { 0, 0, 0 }, { W(SPAWNER), W(SPAWNER), 0, W(OWN) }, NULL },
    { "getpgid: the spawner", 13, ALL, false, SYS_getpgid, { 0 }, { W(SPAWNER) }, NULL },
    { "getsid: the spawner", 13, ALL, false, SYS_getsid, { 0 }, { W(SPAWNER) }, NULL },
    { "setpgid", 13, ALL, false, SYS_setpgid, { 0, 0 }, { 0 }, NULL },
    { "setsid", 13, ALL, true, SYS_setsid, { 0 }, { 0 }, NULL },
    { "sched_getaffinity: the spawner", 12, ALL, false, SYS_sched_getaffinity,
      { 0, 128 }, { W(SPAWNER), 0, W(OWN) }, NULL },
    { "getpriority: the spawner", 12, ALL, false, SYS_getpriority, { 0 }, { 0, W(SPAWNER) }, NULL },
    { "prlimit64: the spawner's limits", 12, ALL, false, SYS_prlimit64,
      { 0, 0, 0 }, { W(SPAWNER), 0, 0, W(OWN) }, NULL },
    { "get_robust_list: the spawner", 12, ALL, false, SYS_get_robust_list,
      { 0 }, { W(SPAWNER), W(OWN), W(OWN) }, NULL },
    { "wait4", 12, ALL, false, SYS_wait4, { UINTPTR_MAX, 0, 1, 0 }, { 0 }, NULL },
    { "waitid", 12, ALL, false, SYS_waitid, { 0, 0, 0, 5, 0 }, { 0 }, NULL },
    { "openat: memory of the spawner", 23, ALL, false, SYS_openat,
      { PTR(AT_FDCWD), PTR("/proc/1/mem"), O_RDONLY }, { 0 }, NULL },
    { "openat: environment of init", 23, ALL, false, SYS_openat,
      { PTR(AT_FDCWD), PTR("/proc/1/environ"), O_RDONLY }, { 0 }, NULL },
    { "openat: our own memory", 55, ALL, false, SYS_openat,
      { PTR(AT_FDCWD), PTR("/proc/self/mem"), O_RDWR }, { 0 }, NULL },
    { "openat: our own maps", 23, ALL, false, SYS_openat,
      { PTR(AT_FDCWD), PTR("/proc/self/maps"), O_RDONLY }, { 0 }, NULL },
    { "openat: kernel settings", 23, ALL, false, SYS_openat,
      { PTR(AT_FDCWD), PTR("/proc/sys/kernel/hostname"), O_RDONLY }, { 0 }, NULL },
    { "openat: the kernel's keys", 23, ALL, false, SYS_openat,
      { PTR(AT_FDCWD), PTR("/proc/sysrq-trigger"), O_WRONLY }, { 0 }, NULL },
    { "openat: a device", 23, ALL, false, SYS_openat, { PTR(AT_FDCWD), PTR("/dev/null"), O_RDWR }, { 0 }, NULL },
    /* 14, 15: large parts of the kernel */
    TRY("io_uring_setup", 14, ALL, ring_uring),
    { "io_uring_enter", 14, ALL, false, SYS_io_uring_enter, { JAIL_FD_FIRST, 0, 0, 0, 0, 0 }, { 0 }, NULL },
    { "io_uring_register", 14, ALL, false, SYS_io_uring_register, { UINTPTR_MAX, 8, 0, 0 }, { 0, 0, W(OWN) }, NULL },
    { "io_setup", 14, ALL, false, SYS_io_setup, { 1 }, { 0, W(OWN) }, NULL },
    { "bpf: a map", 15, ALL, false, SYS_bpf, { 0, 0, 48 }, { 0, W(OWN) }, NULL },
    { "perf_event_open", 15, ALL, false, SYS_perf_event_open,
      { PTR(&COUNTER), 0, UINTPTR_MAX, UINTPTR_MAX, 0 }, { 0 }, NULL },
    { "add_key", 15, ALL, false, SYS_add_key,
      { PTR("user"), PTR("hearth-escape"), PTR(LETTER), 1, (uintptr_t)-2 }, { 0 }, NULL },
    { "keyctl: the session's keys", 15, ALL, false, SYS_keyctl,
      { KEYCTL_GET_KEYRING_ID, (uintptr_t)-3, 1 }, { 0 }, NULL },
    { "request_key", 15, ALL, false, SYS_request_key, { PTR("user"), PTR("hearth-escape"), 0, 0 }, { 0 }, NULL },
    { "kexec_load", 15, ALL, false, SYS_kexec_load, { 0, 0, 0, 0 }, { 0 }, NULL },
    { "finit_module", 15, ALL, false, SYS_finit_module, { UINTPTR_MAX, PTR(""), 0 }, { 0 }, NULL },
    { "delete_module", 15, ALL, false, SYS_delete_module, { PTR("hearth_no_such"), O_NONBLOCK }, { 0 }, NULL },
    { "reboot: with a wrong number", 15, ALL, false, SYS_reboot, { 1, 2, 3, 0 }, { 0 }, NULL },
    { "syslog", 15, ALL, false, SYS_syslog, { 10, 0, 0 }, { 0 }, NULL },
    { "swapon: nothing", 15, ALL, false, SYS_swapon, { PTR("/nonexistent"), 0 }, { 0 }, NULL },
    { "acct: nothing", 15, ALL, false, SYS_acct, { PTR("/nonexistent") }, { 0 }, NULL },
    { "lsm_list_modules", 15, ALL, false, NEW_LSM_LIST_MODULES, { 0, 0, 0 }, { W(OWN), W(OWN) }, NULL },
    { "lsm_get_self_attr", 15, ALL, false, NEW_LSM_GET_SELF_ATTR, { 100, 0, 0, 0 }, { 0, W(OWN), W(OWN) }, NULL },
    /* 16: other namespaces and roots */
    { "unshare: user", 16, ALL, true, SYS_unshare, { CLONE_NEWUSER }, { 0 }, NULL },
    { "unshare: mount", 16, ALL, true, SYS_unshare, { CLONE_NEWNS }, { 0 }, NULL },
    { "unshare: network", 16, ALL, true, SYS_unshare, { CLONE_NEWNET }, { 0 }, NULL },
    { "unshare: files", 16, ALL, true, SYS_unshare, { CLONE_FILES }, { 0 }, NULL },
    { "setns", 16, ALL, false, SYS_setns, { JAIL_FD_FIRST, 0 }, { 0 }, NULL },
    { "mount", 16, ALL, true, SYS_mount, { PTR("none"), PTR("/"), PTR("tmpfs"), 0, 0 }, { 0 }, NULL },
    { "mount: writable again", 16, ALL, true, SYS_mount, { 0, PTR("/"), 0, 0x1020, 0 }, { 0 }, NULL },
    { "umount2", 16, ALL, false, SYS_umount2, { PTR("/nonexistent"), 8 }, { 0 }, NULL },
    { "fsopen", 16, ALL, false, SYS_fsopen, { PTR("tmpfs"), 0 }, { 0 }, NULL },
    { "open_tree", 16, ALL, false, SYS_open_tree, { PTR(AT_FDCWD), PTR("/"), 0 }, { 0 }, NULL },
    { "open_tree_attr", 16, ALL, false, NEW_OPEN_TREE_ATTR, { PTR(AT_FDCWD), PTR("/"), 0, 0, 0 }, { 0 }, NULL },
    { "move_mount", 16, ALL, false, SYS_move_mount, { UINTPTR_MAX, PTR(""), UINTPTR_MAX, PTR(""), 0 }, { 0 }, NULL },
    { "mount_setattr", 16, ALL, false, SYS_mount_setattr,
      { PTR(AT_FDCWD), PTR("/"), 0, 0, 32 }, { 0, 0, 0, W(OWN) }, NULL },
    { "statmount", 16, ALL, false, NEW_STATMOUNT, { 0, 0, 512, 0 }, { W(OWN), W(OWN) }, NULL },
    { "listmount", 16, ALL, false, NEW_LISTMOUNT, { 0, 0, 8, 0 }, { W(OWN), W(OWN) }, NULL },
    { "pivot_root", 16, ALL, true, SYS_pivot_root, { PTR("."), PTR(".") }, { 0 }, NULL },
    { "chroot", 16, ALL, true, SYS_chroot, { PTR("/") }, { 0 }, NULL },
    /* 17: numbers that are none */
    { "a number no call has", 17, ALL, false, NOT_A_CALL, { 0 }, { 0 }, NULL },
    { "a negative number", 17, ALL, false, -2, { 0 }, { 0 }, NULL },
    /* 18: the walls themselves */
    { "seccomp: a filter that allows all", 18, ALL, true, SYS_seccomp,
      { SECCOMP_SET_MODE_FILTER, 0, PTR(&ALLOW_ALL) }, { 0 }, NULL },
    { "prctl: the same, older", 18, ALL, true, SYS_prctl,
      { PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PTR(&ALLOW_ALL) }, { 0 }, NULL },
    { "prctl: dumpable again", 18, ALL, false, SYS_prctl, { PR_SET_DUMPABLE, 1 }, { 0 }, NULL },
    { "prctl: clear no new privileges", 18, ALL, false, SYS_prctl, { PR_SET_NO_NEW_PRIVS, 0 }, { 0 }, NULL },
    { "prctl: clear no executable memory", 18, ALL, false, SYS_prctl, { KERNEL_PR_SET_MDWE, 0 }, { 0 }, NULL },
    { "prctl: the time-stamp counter again", 18, ALL, false, SYS_prctl, { PR_SET_TSC, PR_TSC_ENABLE }, { 0 }, NULL },
    { "prctl: a name", 18, ALL, false, SYS_prctl, { PR_SET_NAME, PTR("kworker") }, { 0 }, NULL },
    { "prctl: survive the spawner", 18, ALL, false, SYS_prctl, { PR_SET_PDEATHSIG, 0 }, { 0 }, NULL },
    { "prctl: a tracer", 18, ALL, false, SYS_prctl, { PR_SET_PTRACER, UINTPTR_MAX }, { 0 }, NULL },
    { "prctl: ambient capabilities", 18, ALL, false, SYS_prctl,
      { PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21 }, { 0 }, NULL },
    { "prctl: secure bits", 18, ALL, false, SYS_prctl, { PR_SET_SECUREBITS, 0 }, { 0 }, NULL },
    { "capget", 18, ALL, false, SYS_capget, { PTR(CAPABILITY_HEADER) }, { 0, W(OWN) }, NULL },
    { "capset: all", 18, ALL, false, SYS_capset, { PTR(CAPABILITY_HEADER), PTR(MANY) }, { 0 }, NULL },
    { "setuid: root", 18, ALL, false, SYS_setuid, { 0 }, { 0 }, NULL },
    { "setresuid: as it is", 18, ALL, false, SYS_setresuid, { UINT32_MAX, UINT32_MAX, UINT32_MAX }, { 0 }, NULL },
    { "setgid: root", 18, ALL, false, SYS_setgid, { 0 }, { 0 }, NULL },
    { "setgroups", 18, ALL, false, SYS_setgroups, { 0, 0 }, { 0 }, NULL },
    { "setfsuid", 18, ALL, false, SYS_setfsuid, { 0 }, { 0 }, NULL },
    { "sethostname", 18, ALL, false, SYS_sethostname, { 0, 1 }, { W(OWN) }, NULL },
    TRY("prlimit64: more descriptors", 18, ALL, raise_limit),
    { "getrlimit", 18, ALL, false, SYS_prlimit64, { 0, 7, 0 }, { 0, 0, 0, W(OWN) }, NULL },
    { "landlock_create_ruleset", 18, ALL, false, SYS_landlock_create_ruleset, { 0, 0, 1 }, { 0 }, NULL },
    { "rt_sigaction", 18, ALL, false, SYS_rt_sigaction, { SIGUSR1, 0, 0, 8 }, { 0, 0, W(OWN) }, NULL },
    { "rt_sigprocmask", 18, ALL, false, SYS_rt_sigprocmask, { 0, 0, 0, 8 }, { 0, 0, W(OWN) }, NULL },
    { "sigaltstack", 18, ALL, false, SYS_sigaltstack, { 0 }, { 0, W(OWN) }, NULL },
    { "rt_sigpending", 18, ALL, false, SYS_rt_sigpending, { 0, 8 }, { W(OWN) }, NULL },
    { "umask", 18, ALL, false, SYS_umask, { 0 }, { 0 }, NULL },
    /* 19: objects with names */
    { "shmget", 19, ALL, false, SYS_shmget, { 0, 4096, 0600 }, { 0 }, NULL },
    { "shmat: the spawner's segment", 19, ALL, false, SYS_shmat, { 0, 0, 0 }, { W(SEGMENT) }, NULL },
    { "semget", 19, ALL, false, SYS_semget, { 0, 1, 0600 }, { 0 }, NULL },
    { "msgget", 19, ALL, false, SYS_msgget, { 0, 0600 }, { 0 }, NULL },
    { "mq_open", 19, ALL, false, SYS_mq_open, { PTR("hearth-escape"), O_RDONLY, 0, 0 }, { 0 }, NULL },
    { "memfd_create", 19, ALL, false, SYS_memfd_create, { PTR("x"), 0 }, { 0 }, NULL },
    { "memfd_secret", 19, ALL, false, 447, { 0 }, { 0 }, NULL },
    { "eventfd2", 19, ALL, false, SYS_eventfd2, { 0, 0 }, { 0 }, NULL },
    { "signalfd4", 19, ALL, false, SYS_signalfd4, { UINTPTR_MAX, 0, 8, 0 }, { 0, W(OWN) }, NULL },
    { "epoll_create1", 19, ALL, false, SYS_epoll_create1, { 0 }, { 0 }, NULL },
    { "epoll_ctl", 19, NOT_FRONT_DOOR, false, SYS_epoll_ctl, { JAIL_FD_FIRST, 1, 0 }, { 0, 0, 0, W(OWN) }, NULL },
    /* 20, 21: time, and what differs from machine to machine */
    { "clock_gettime", 21, NOT_FRONT_DOOR, false, SYS_clock_gettime, { CLOCK_MONOTONIC }, { 0, W(OWN) }, NULL },
    { "clock_getres", 21, ALL, false, SYS_clock_getres, { CLOCK_MONOTONIC }, { 0, W(OWN) }, NULL },
    { "gettimeofday", 21, ALL, false, SYS_gettimeofday, { 0, 0 }, { W(OWN) }, NULL },
    ALONE("the clock without a call", 21, NOT_FRONT_DOOR, clock_without_call),
    { "clock_settime", 20, ALL, false, SYS_clock_settime, { 999, PTR(&NO_TIME) }, { 0 }, NULL },
    { "adjtimex: read", 20, ALL, false, SYS_adjtimex, { 0 }, { W(OWN) }, NULL },
    { "clock_adjtime: read", 20, ALL, false, SYS_clock_adjtime, { CLOCK_REALTIME }, { 0, W(OWN) }, NULL },
    { "nanosleep", 20, ALL, false, SYS_nanosleep, { PTR(&NO_TIME), 0 }, { 0 }, NULL },
    { "clock_nanosleep", 20, ALL, false, SYS_clock_nanosleep, { CLOCK_MONOTONIC, 0, PTR(&NO_TIME), 0 }, { 0 }, NULL },
    { "setitimer", 20, ALL, false, SYS_setitimer, { 0, PTR(&FAR_TIMER), 0 }, { 0 }, NULL },
    { "timer_create", 20, ALL, false, SYS_timer_create, { CLOCK_MONOTONIC, 0 }, { 0, 0, W(OWN) }, NULL },
    { "timerfd_create", 20, ALL, false, SYS_timerfd_create, { CLOCK_MONOTONIC, 0 }, { 0 }, NULL },
    TRY("futex: wait with a timeout", 20, ALL, timed_wait),
    { "futex: wait by the clock", 20, ALL, false, SYS_futex,
      { 0, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, PTR(&NO_TIME), 0, UINT32_MAX }, { W(OWN) }, NULL },
    { "futex: requeue", 21, ALL, false, SYS_futex,
      { 0, FUTEX_REQUEUE, 0, 0, 0, 0 }, { W(OWN), 0, 0, 0, W(OWN) }, NULL },
    { "futex: compare and requeue", 21, ALL, false, SYS_futex,
      { 0, FUTEX_CMP_REQUEUE, 0, 0, 0, 0 }, { W(OWN), 0, 0, 0, W(OWN) }, NULL },
    { "futex: wake with an operation", 21, ALL, false, SYS_futex,
      { 0, FUTEX_WAKE_OP, 0, 0, 0, 0 }, { W(OWN), 0, 0, 0, W(OWN) }, NULL },
    { "futex: inherit priority", 21, ALL, true, SYS_futex, { 0, FUTEX_LOCK_PI, 0, 0, 0, 0 }, { W(OWN) }, NULL },
    { "futex: an operation with strange bits", 17, ALL, false, SYS_futex, { 0, 0x101, 0, 0, 0, 0 }, { W(OWN) }, NULL },
    { "futex_wake", 21, ALL, false, NEW_FUTEX_WAKE, { 0, UINT32_MAX, 0, 2 }, { W(OWN) }, NULL },
    { "futex_wait", 21, ALL, false, NEW_FUTEX_WAIT, { 0, 1, UINT32_MAX, 2, PTR(&NO_TIME), 1 }, { W(OWN) }, NULL },
    { "futex_requeue", 21, ALL, false, NEW_FUTEX_REQUEUE, { 0, 0, 0, 0 }, { W(OWN) }, NULL },
    { "futex_waitv", 21, ALL, false, SYS_futex_waitv, { 0, 1, 0, PTR(&NO_TIME), 1 }, { W(OWN) }, NULL },
    { "uname", 21, ALL, false, SYS_uname, { 0 }, { W(OWN) }, NULL },
    TRY("uname: the machine's name", 21, ALL, host_name),
    { "sysinfo", 21, ALL, false, SYS_sysinfo, { 0 }, { W(OWN) }, NULL },
    { "getcpu", 21, ALL, false, SYS_getcpu, { 0, 0, 0 }, { W(OWN) }, NULL },
    { "getrandom", 21, ALL, false, SYS_getrandom, { 0, 16, 1 }, { W(OWN) }, NULL },
    { "times", 21, ALL, false, SYS_times, { 0 }, { W(OWN) }, NULL },
    { "getrusage", 21, ALL, false, SYS_getrusage, { 0 }, { 0, W(OWN) }, NULL },
    { "getpid", 21, ALL, false, SYS_getpid, { 0 }, { 0 }, NULL },
    { "gettid", 21, ALL, false, SYS_gettid, { 0 }, { 0 }, NULL },
    { "getppid", 21, ALL, false, SYS_getppid, { 0 }, { 0 }, NULL },
    { "getuid", 21, ALL, false, SYS_getuid, { 0 }, { 0 }, NULL },
    { "getgroups", 21, ALL, false, SYS_getgroups, { 0, 0 }, { 0 }, NULL },
    { "sched_yield", 21, ALL, false, SYS_sched_yield, { 0 }, { 0 }, NULL },
    { "sched_setaffinity", 21, ALL, false, SYS_sched_setaffinity, { 0, 8, PTR(MANY) }, { 0 }, NULL },
    { "sched_setscheduler: idle", 21, ALL, true, SYS_sched_setscheduler, { 0, 5 }, { 0, 0, W(OWN) }, NULL },
    { "sched_setattr", 21, ALL, true, SYS_sched_setattr, { 0, 0, 0 }, { 0, W(OWN) }, NULL },
    { "setpriority", 21, ALL, true, SYS_setpriority, { 0, 0, 19 }, { 0 }, NULL },
    { "setpriority: more urgent", 21, ALL, true, SYS_setpriority, { 0, 0, (uintptr_t)-20 }, { 0 }, NULL },
    { "ioprio_set", 21, ALL, false, SYS_ioprio_set, { 1, 0, 0 }, { 0 }, NULL },
    { "membarrier", 21, ALL, false, SYS_membarrier, { 0, 0, 0 }, { 0 }, NULL },
    { "rseq", 21, ALL, false, SYS_rseq, { 0, 32, 0, 0 }, { W(OWN) }, NULL },
    { "set_tid_address", 21, ALL, false, SYS_set_tid_address, { 0 }, { W(OWN) }, NULL },
    { "set_robust_list", 21, ALL, false, SYS_set_robust_list, { 0, 24 }, { W(OWN) }, NULL },
    { 0 },
};

const struct escape *escape_row(size_t i)
{
    size_t at = 0;
    for (; ESCAPES[at].name != NULL; at++)
        if (at == i) return &ESCAPES[at];
    for (size_t j = 0; MACHINE_ESCAPES[j].name != NULL; j++)
        if (at + j == i) return &MACHINE_ESCAPES[j];
    return NULL;
}

bool escape_applies(const struct escape *row, const struct jail_profile *p)
{
    bool front = p == &JAIL_FRONT_DOOR, packer = p == &JAIL_PACKER;
    if (row->profiles & ONLY_FRONT_DOOR && !front) return false;
    if (row->profiles & NOT_FRONT_DOOR && front) return false;
    if (row->profiles & NOT_PACKER && packer) return false;
    return !(row->profiles & NOT_MEMORY && (front || packer));
}

long escape_try(const struct escape *row, const struct escape_scene *s)
{
    if (row->attempt != NULL) return row->attempt(s);
    const uintptr_t words[] = { [WORD_SPAWNER] = (uintptr_t)s->spawner, [WORD_SEGMENT] = (uintptr_t)s->segment,
                                [WORD_FOLDER] = (uintptr_t)s->folder,   [WORD_FILE] = (uintptr_t)s->file,
                                [WORD_FRESH] = (uintptr_t)s->fresh,     [WORD_WEIGHTS] = (uintptr_t)s->weights,
                                [WORD_PEER] = (uintptr_t)s->peer,       [WORD_OWN] = (uintptr_t)s->own,
                                [WORD_FD] = JAIL_FD_FIRST };
    uintptr_t a[6];
    for (size_t i = 0; i < 6; i++) a[i] = row->word[i] == WORD_NONE ? row->argument[i] : words[row->word[i]];
    return call(row->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
