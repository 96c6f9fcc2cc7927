/* Who connects, by the kernel's word: see acceptor.h. */
#include "orchestrator/acceptor.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_A_TURN = 64 };

struct acceptor acceptor_new(const struct door_listener *listeners, size_t count,
                             void (*log)(void *arg, const char *line), void *arg)
{
    return (struct acceptor){ .listeners = listeners, .count = count, .out = -1, .waiting = -1, .log = log,
                              .arg = arg };
}

static void let_go(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

void acceptor_end(struct acceptor *a)
{
    let_go(&a->waiting);
    let_go(&a->out);
}

int acceptor_pair(struct acceptor *a, err *e)
{
    int pair[2];
    acceptor_end(a);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0) {
        a->out = pair[0];
        return pair[1];
    }
    err_set(e, ERR_IO, ERR_NO_OFFSET, "door: no pair of sockets: %s", strerror(errno));
    return -1;
}

size_t acceptor_watch(const struct acceptor *a, struct pollfd fds[static HTTP_LISTENERS_MAX])
{
    if (a->out < 0) return 0;
    if (a->waiting >= 0) {
        fds[0] = (struct pollfd){ .fd = a->out, .events = POLLOUT };
        return 1;
    }
    for (size_t i = 0; i < a->count; i++) fds[i] = (struct pollfd){ .fd = a->listeners[i].fd, .events = POLLIN };
    return a->count;
}

static bool allowed(const struct door_listener *l, uid_t uid)
{
    bool good = l->any || uid == 0 || uid == getuid();
    for (size_t i = 0; i < l->guest_count && !good; i++) good = l->guests[i] == uid;
    return good;
}

/* Hands the connection on with its user's number. False where the pair is full. */
static bool hand_on(const struct acceptor *a, int fd, uid_t uid)
{
    struct acceptor_message m;
    acceptor_message(&m);
    m.uid = (uint32_t)uid;
    m.control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET,
                                       .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(&m.control.head), &fd, sizeof fd);
    return sendmsg(a->out, &m.head, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

/* Said once for each user in a row: who knocks again and again fills no log. */
static void refuse(struct acceptor *a, uid_t uid)
{
    char line[96];
    if (a->refused && a->refused_uid == uid) return;
    a->refused = true;
    a->refused_uid = uid;
    snprintf(line, sizeof line, "socket: user %u may not ask here (user = NAME in the configuration)", (unsigned)uid);
    a->log(a->arg, line);
}

/* One connection of a listener. False where there is none. */
static bool take(struct acceptor *a, const struct door_listener *l)
{
    struct ucred peer = { .uid = (uid_t)-1 };
    socklen_t len = sizeof peer;
    int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return false;
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid != (uid_t)-1;
    if (!known || !allowed(l, peer.uid)) {
        if (known) refuse(a, peer.uid);
        close(fd);
        return true;
    }
    if (hand_on(a, fd, peer.uid)) {
        close(fd);
        return true;
    }
    a->waiting = fd;
    a->waiting_uid = peer.uid;
    return false;
}

void acceptor_turn(struct acceptor *a)
{
    if (a->out < 0) return;
    if (a->waiting >= 0) {
        if (!hand_on(a, a->waiting, a->waiting_uid)) return;
        let_go(&a->waiting);
    }
    for (size_t i = 0; i < a->count && a->waiting < 0; i++)
        for (int n = 0; n < ACCEPTS_A_TURN && take(a, &a->listeners[i]); n++) {}
}
