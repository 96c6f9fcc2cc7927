/* Unix sockets of a server: who connects is asked of the kernel here, outside the front door, whose user namespace
 * knows one user and calls all others nobody. A connection whose user may ask is handed to the front door with the
 * number of that user, through a socket pair; others are closed. No byte of a client is read here.
 *
 *   client --connect--> listener --accept, SO_PEERCRED--> allowed? --SCM_RIGHTS and uid--> front door
 *
 * The front door may receive on that one socket and send on none, so descriptors go in and never out. */
#ifndef HEARTH_ORCHESTRATOR_ACCEPTOR_H
#define HEARTH_ORCHESTRATOR_ACCEPTOR_H

#include "base/err.h"
#include "base/limits.h"

#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* A socket that listens, non-blocking. This process's own user and root may always connect: neither could be kept out.
 */
struct door_listener {
    int fd;
    bool any;            /* whoever the file's mode lets in */
    const uid_t *guests; /* else these */
    size_t guest_count;
};

struct acceptor {
    const struct door_listener *listeners;
    size_t count;
    int out;              /* our end of the pair */
    int waiting;          /* a connection that found the pair full; -1: none */
    uid_t waiting_uid, refused_uid;
    bool refused;         /* somebody was, refused_uid the last */
    void (*log)(void *arg, const char *line);
    void *arg;
};

/* One message through the pair is one client: a user's number, and beside it a descriptor (cmsg(3)). */
struct acceptor_message {
    uint32_t uid;
    struct iovec bytes;
    struct msghdr head;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control; /* last: a cmsghdr ends in bytes of any number */
};

/* An empty message with its parts in place, to be filled by its sender or by the kernel. `m` stays where it is. */
static inline struct msghdr *acceptor_message(struct acceptor_message *m)
{
    *m = (struct acceptor_message){ 0 };
    m->bytes = (struct iovec){ &m->uid, sizeof m->uid };
    m->head = (struct msghdr){ .msg_iov = &m->bytes, .msg_iovlen = 1, .msg_control = &m->control,
                               .msg_controllen = sizeof m->control.room };
    return &m->head;
}

/* `listeners` outlive it. Owns no descriptor before acceptor_pair. */
struct acceptor acceptor_new(const struct door_listener *listeners, size_t count,
                             void (*log)(void *arg, const char *line), void *arg);

/* A new pair, for a front door that is about to start; the end it will hold, which the caller closes after that.
 * Errors: ERR_IO, and -1. */
int acceptor_pair(struct acceptor *a, err *e);

/* What to poll for, at most HTTP_LISTENERS_MAX of them. While a connection waits nobody else is accepted. */
size_t acceptor_watch(const struct acceptor *a, struct pollfd fds[static HTTP_LISTENERS_MAX]);

/* Accepts and hands on what there is, up to a number that keeps nothing else waiting. */
void acceptor_turn(struct acceptor *a);

/* Nobody is handed on any more. */
void acceptor_end(struct acceptor *a);

#endif
