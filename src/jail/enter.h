/* The two halves of jail_enter, and what they read back. Inside jail/ only. */
#ifndef HEARTH_JAIL_ENTER_H
#define HEARTH_JAIL_ENTER_H

#include "jail/jail.h"

/* Between the halves: /proc of this very process, held while there is a root that has one. */
struct enter_state {
    int proc_fd;    /* -1 where there is no /proc: then nothing can be read back */
    int spawner_fd; /* the spawner's pidfd, closed with the other descriptors; -1 where there is none */
};

/* From here on the process dies with the thread that made it; where that has died already, it ends now. */
void enter_follow(int spawner_fd);

/* New root, identity, capabilities, descriptors. One thread. Walls it can not put up leave their errno in `r`. */
bool enter_outer(const struct jail_profile *p, const struct jail_options *o, const struct jail_place *outside,
                 struct enter_state *s, struct jail_report *r, err *e);

/* Reads back, closes the rest, and installs the filter. After it only the profile's calls work. */
bool enter_inner(const struct jail_profile *p, const struct jail_options *o, const struct jail_place *outside,
                 struct enter_state *s, struct jail_report *r, err *e);

/* walls.c: each wall's state from /proc/self and the kernel's own answers, before the filter is on. */
void walls_read_back(const struct jail_options *o, const struct jail_place *outside, int proc_fd,
                     struct jail_report *r);

/* walls.c: other threads of this process that do not sleep at this moment. */
size_t walls_threads_awake(int proc_fd);

/* walls.c: what /proc/PID/status says of another process: filter, privileges, and who it is from outside. False where
 * it has gone. */
bool walls_read_other(pid_t pid, struct jail_report *r);

/* walls.c: true where every required wall stands or was waived; else an error naming the first that does not. */
bool walls_satisfy(const struct jail_report *r, const struct jail_options *o, err *e);

/* The namespace behind each wall of JAIL_USER_NS..JAIL_CGROUP_NS, as /proc names it and as clone makes it. */
struct namespace_row {
    const char *name;
    uint64_t clone_flag;
};
extern const struct namespace_row NAMESPACES[JAIL_NAMESPACES];

#endif
