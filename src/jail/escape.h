/* The escapes: what a process that has been taken over might try, one row each. A row is tried in a canary, a process
 * of the profile whose code is ours and obeys the attacker in everything. Nothing in a row does harm where it is
 * allowed: the suite also runs with walls taken away. Inside jail/ and its tests only. */
#ifndef HEARTH_JAIL_ESCAPE_H
#define HEARTH_JAIL_ESCAPE_H

#include "jail/jail.h"
#include "jail/machine.h"

enum { ESCAPE_PATH_BYTES = 96 };

/* What lies ready outside and inside, so that an attempt fails because of a wall and not for want of a target. */
struct escape_scene {
    pid_t spawner;
    int segment;        /* a System V segment anybody may map, made by the spawner */
    uint16_t udp_port;  /* on loopback, where the spawner listens */
    char host[65];      /* the machine's name */
    char folder[ESCAPE_PATH_BYTES]; /* open to everybody, in the machine's /tmp */
    char file[ESCAPE_PATH_BYTES];   /* in it, readable and writable by everybody */
    char fresh[ESCAPE_PATH_BYTES];  /* in it, not there; a row's own */
    int fd_count;       /* descriptors listed for the profile */
    int stray_fd;       /* one the spawner has open and did not list */
    const uint8_t *weights; /* a sealed memfd, mapped before the jail closed */
    const uint8_t *peer;    /* the page of a ring that the other side writes */
    uint8_t *own;           /* a writable page of the canary's own */
};

/* Arguments that are known only when the canary runs. */
enum escape_word {
    WORD_NONE,
    WORD_SPAWNER,
    WORD_SEGMENT,
    WORD_FOLDER,
    WORD_FILE,
    WORD_FRESH,
    WORD_WEIGHTS,
    WORD_PEER,
    WORD_OWN,
    WORD_FD /* the first listed descriptor */
};

/* Like a system call: what it gave, or -errno. */
typedef long escape_fn(const struct escape_scene *scene);

enum {
    FOR_ALL,           /* an escape in every profile */
    NOT_MEMORY = 1,    /* the work of profiles that may map private memory: packer, front door */
    NOT_FRONT_DOOR = 2, /* the work of the front door */
    ONLY_FRONT_DOOR = 4, /* needs the sockets it has */
    NOT_PACKER = 8
};

struct escape {
    const char *name;
    uint8_t threat;   /* line of the list in docs/walls.md */
    uint8_t profiles; /* FOR_ALL, or bits */
    bool alone;       /* may end or change its process: runs in one of its own */
    int number;       /* a system call with these arguments, or NO_CALL and: */
    uintptr_t argument[6];
    uint8_t word[6];  /* enum escape_word; takes the argument's place */
    escape_fn *attempt;
};

extern const struct escape ESCAPES[];         /* ends with a row without a name */
extern const struct escape MACHINE_ESCAPES[]; /* the same */

/* Row `i` of both tables; NULL behind the last. */
const struct escape *escape_row(size_t i);

/* Whether the row is an escape for `p` at all. */
bool escape_applies(const struct escape *row, const struct jail_profile *p);

long escape_try(const struct escape *row, const struct escape_scene *scene);

#endif
