/* Whether this machine lets anybody be walled in: asked of the kernel by the tests themselves, never of jail/, so that
 * a wall which jail/ fails to build is a failure and never a skipped test. */
#ifndef HEARTH_TESTS_JAIL_MACHINE_H
#define HEARTH_TESTS_JAIL_MACHINE_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child: every namespace, an identity in them, and a root that can be changed. The exit status is the errno. */
static inline int machine_try(void)
{
    uid_t uid = geteuid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                CLONE_NEWCGROUP) != 0)
        return errno;
    char map[32];
    int len = snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
    int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    bool mapped = fd >= 0 && write(fd, map, (size_t)len) == len;
    if (!mapped) return errno;
    close(fd);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return errno;
    if (mount("none", "/tmp", "tmpfs", 0, NULL) != 0 || chdir("/tmp") != 0) return errno;
    return syscall(SYS_pivot_root, ".", ".") == 0 ? 0 : errno;
}

/* NULL where a jail can be made, else why not (one string, valid until the next call). */
static inline const char *machine_without_jails(void)
{
    static char why[160];
    long pidfd = syscall(SYS_pidfd_open, getpid(), 0);
    if (pidfd < 0) return "no jail can be made here: an emulator, or a kernel without pidfds";
    close((int)pidfd);
    pid_t pid = fork();
    if (pid == 0) _exit(machine_try());
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return "no jail can be made here: no process";
    if (WEXITSTATUS(status) == 0) return NULL;
    snprintf(why, sizeof why, "no jail can be made here: new namespaces or mounts in them: %s",
             strerror(WEXITSTATUS(status)));
    return why;
}

#endif
