/* Connections: bytes in until a request is whole, bytes out until a client has them. Nothing here knows what a request
 * asks.
 *
 *   IDLE --first byte--> HEAD --empty line--> BODY --last byte--> BUSY --answer complete--> IDLE, or LAST --> closed
 *
 * A client that says nothing, says it slowly, or does not take its answer meets a deadline in each of these states; one
 * that closes is noticed in all of them, since its descriptor is always watched. Where there are more connections than
 * descriptors, the one that has kept its request unfinished longest makes room: ten thousand half-open clients only
 * push out each other. */
#include "server/part.h"

#include "base/checked.h"
#include "orchestrator/acceptor.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_A_TURN = 64,       /* new clients between two looks at the others */
    INBOX_BYTES = 1 << 16,     /* read at once; part.h: server.inbox */
    AHEAD_BYTES_MAX = 1 << 16, /* of a next request, sent before the answer to this one */
    BODY_BYTES_S = 1 << 15,    /* a body must come at this rate, after BODY_S: 32 KiB each second */
    BODY_S = 10,
    LINGER_MS = 2000           /* for the client to read the last answer before the descriptor closes */
};

/* ---- the list, the longest in its state first ---- */

static void list_remove(server *s, struct conn *c)
{
    *(c->prev != NULL ? &c->prev->next : &s->first) = c->next;
    *(c->next != NULL ? &c->next->prev : &s->last) = c->prev;
    c->prev = c->next = NULL;
}

static void list_add(server *s, struct conn *c)
{
    c->prev = s->last;
    *(s->last != NULL ? &s->last->next : &s->first) = c;
    s->last = c;
}

static void set_state(server *s, struct conn *c, enum conn_state state, uint64_t wait_ms)
{
    c->state = state;
    c->deadline_ms = s->now_ms + wait_ms;
    list_remove(s, c);
    list_add(s, c);
}

/* ---- watching ---- */

static bool watch(server *s, struct conn *c, int how)
{
    bool full = c->state == CONN_BUSY && buffer_view(&c->in).len_bytes >= AHEAD_BYTES_MAX;
    struct epoll_event event = { .data.ptr = c };
    event.events = EPOLLRDHUP | (full ? 0u : (uint32_t)EPOLLIN) | (c->watch_out ? (uint32_t)EPOLLOUT : 0u);
    return epoll_ctl(s->o->epoll_fd, how, c->fd, &event) == 0;
}

void conn_drop(server *s, struct conn *c)
{
    if (c->dead) return;
    c->dead = true;
    if (c->x != NULL) exchange_leave(s, c->x);
    assert(c->x == NULL);
    list_remove(s, c);
    s->conn_count--;
    s->body_bytes -= c->body_counted;
    close(c->fd);
    buffer_free(&c->in);
    buffer_free(&c->out);
    c->next = s->dead; /* events of this turn may still name it */
    s->dead = c;
}

void conn_free_dead(server *s)
{
    for (struct conn *c = s->dead, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    s->dead = NULL;
}

/* Lets the connection go that has kept its request unfinished longest. False where all are being answered. */
static bool make_room(server *s)
{
    struct conn *c = s->first;
    while (c != NULL && c->state != CONN_IDLE && c->state != CONN_HEAD && c->state != CONN_BODY) c = c->next;
    if (c == NULL) return false;
    s->count.clients_refused++;
    conn_drop(s, c);
    return true;
}

/* False where there is no room for it and none can be made. */
static bool begin(server *s, int fd, bool via_unix, uint32_t uid)
{
    bool room = s->conn_count < s->clients_max || make_room(s);
    struct conn *c = room ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        s->count.clients_refused += !room;
        close(fd);
        return false;
    }
    c->fd = fd;
    c->via_unix = via_unix;
    c->uid = uid;
    list_add(s, c);
    set_state(s, c, CONN_IDLE, (uint64_t)s->o->head_s * 1000);
    s->conn_count++;
    s->count.clients++;
    if (!watch(s, c, EPOLL_CTL_ADD)) conn_drop(s, c);
    return true;
}

void conn_accept(server *s, const struct listener *l)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM) && make_room(s)) continue;
        if (fd < 0 || !begin(s, fd, false, 0)) return;
    }
}

/* One message is one client: four bytes of a user's number, and a descriptor. */
void conn_accept_handed(server *s)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct acceptor_message m;
        int fd;
        if (recvmsg(s->o->door_fd, acceptor_message(&m), MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof m.uid) return;
        /* Where no descriptor was free the kernel has closed the client, and says so by leaving it out. */
        if (m.head.msg_controllen < sizeof m.control.head || m.control.head.cmsg_type != SCM_RIGHTS ||
            m.control.head.cmsg_len != CMSG_LEN(sizeof fd))
            continue;
        memcpy(&fd, CMSG_DATA(&m.control.head), sizeof fd);
        if (!begin(s, fd, true, m.uid)) return;
    }
}

/* ---- out ---- */

static void mark_dirty(server *s, struct conn *c)
{
    if (c->dirty) return;
    c->dirty = true;
    c->next_dirty = s->dirty;
    s->dirty = c;
}

void conn_send(server *s, struct conn *c, view bytes, size_t limit_bytes)
{
    if (c->dead || c->doomed || bytes.len_bytes == 0) return;
    if (buffer_view(&c->out).len_bytes == 0) c->sent_ms = s->now_ms;
    /* Not dropped here: whoever writes is in the middle of an answer, which must not go away under it. */
    c->doomed = !buffer_add(&c->out, bytes, limit_bytes);
    mark_dirty(s, c);
}

void conn_done(server *s, struct conn *c, bool keep_alive)
{
    if (c->dead) return;
    c->x = NULL;
    bool last = !keep_alive || s->stopping;
    set_state(s, c, last ? CONN_LAST : CONN_IDLE, (uint64_t)(last ? s->o->unread_s : s->o->idle_s) * 1000);
    mark_dirty(s, c);
}

/* Writes what it can. */
static void flush(server *s, struct conn *c)
{
    while (buffer_view(&c->out).len_bytes > 0) {
        view rest = buffer_view(&c->out);
        ssize_t sent = write(c->fd, rest.ptr, rest.len_bytes);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno != EAGAIN) {
            conn_drop(s, c);
            return;
        }
        if (sent <= 0) break;
        s->count.bytes_out += (uint64_t)sent;
        c->sent_ms = s->now_ms;
        buffer_drop(&c->out, (size_t)sent);
    }
    bool waits = buffer_view(&c->out).len_bytes > 0;
    if (waits != c->watch_out) {
        c->watch_out = waits;
        if (!watch(s, c, EPOLL_CTL_MOD)) conn_drop(s, c);
    }
    if (!waits && c->state == CONN_LAST && !c->half_shut) {
        /* Closing now would reset the connection if bytes of the client are unread, and the answer with it. */
        shutdown(c->fd, SHUT_WR);
        c->half_shut = true;
        c->deadline_ms = s->now_ms + LINGER_MS;
    }
}

/* ---- in ---- */

static void body_count(server *s, struct conn *c, size_t bytes)
{
    s->body_bytes = s->body_bytes - c->body_counted + bytes;
    c->body_counted = bytes;
}

static void refuse_here(server *s, struct conn *c, const struct http_head *head, const struct refusal *r)
{
    set_state(s, c, CONN_BUSY, 0);
    route_refuse(s, c, head, r, false);
}

/* Is the request whole? Moves the bytes of a body in chunks together. False: it was refused. */
static bool body_whole(server *s, struct conn *c, const struct http_head *head, bool *whole)
{
    struct refusal r = { 0 };
    err e = { 0 };
    size_t held = c->in.end_bytes - c->in.start_bytes, used, out;
    if (!head->chunked) {
        c->body_bytes = (size_t)head->length_bytes; /* compared with its limit by guard_body */
        *whole = held - c->head_bytes >= c->body_bytes;
        return true;
    }
    uint8_t *base = c->in.ptr + c->in.start_bytes;
    size_t at = c->head_bytes + c->body_bytes;
    enum http_result result =
        http_chunks_read(&c->chunks, (view){ base + at, held - at }, base + at, &out, &used, &e);
    if (result == HTTP_REFUSED || c->body_bytes + out > HTTP_BODY_BYTES_MAX) {
        refuse_with(&r, result == HTTP_REFUSED ? 400 : 413, NULL, "%s",
                    result == HTTP_REFUSED ? e.text : "body: over the limit");
        refuse_here(s, c, head, &r);
        return false;
    }
    c->body_bytes += out;
    *whole = result == HTTP_GOOD;
    memmove(base + at + out, base + at + used, held - at - used);
    c->in.end_bytes -= used - out;
    return true;
}

/* What a body's size alone decides. */
static bool guard_body(server *s, const struct http_head *head, struct refusal *r)
{
    if (head->length_bytes > HTTP_BODY_BYTES_MAX)
        return refuse_with(r, 413, NULL, "body: %llu bytes, at most %d", (unsigned long long)head->length_bytes,
                           HTTP_BODY_BYTES_MAX);
    if (s->body_bytes + head->length_bytes <= HTTP_BODIES_BYTES_MAX) return true;
    r->retry_s = 1;
    return refuse_with(r, 503, NULL, "too many requests are arriving at once");
}

/* A head was read for the first time: what can be refused now need not be received. */
static bool head_arrived(server *s, struct conn *c, const struct http_head *head)
{
    struct refusal r = { 0 };
    if (!guard_reading(s, c, head, &r) || !guard_body(s, head, &r)) {
        refuse_here(s, c, head, &r);
        return false;
    }
    c->body_bytes = 0;
    c->chunks = (struct http_chunks){ 0 };
    set_state(s, c, CONN_BODY, BODY_S * 1000 + head->length_bytes * 1000 / BODY_BYTES_S);
    return true;
}

/* Answers one request if a whole one is there. False where more bytes are needed or none are wanted. */
static bool take_request(server *s, struct conn *c)
{
    struct http_head head;
    struct refusal r = { 0 };
    err e = { 0 };
    int status = 400;
    if (buffer_view(&c->in).len_bytes == 0) return false;
    if (c->state == CONN_IDLE) set_state(s, c, CONN_HEAD, (uint64_t)s->o->head_s * 1000);
    if (c->state != CONN_HEAD && c->state != CONN_BODY) return false;
    enum http_result result = http_head_read(buffer_view(&c->in), &head, &c->head_bytes, &status, &e);
    if (result == HTTP_MORE) return false;
    if (result == HTTP_REFUSED) {
        refuse_with(&r, status, NULL, "%s", e.text);
        refuse_here(s, c, NULL, &r);
        return false;
    }
    bool whole = false, fresh = c->state == CONN_HEAD;
    if ((fresh && !head_arrived(s, c, &head)) || !body_whole(s, c, &head, &whole)) return false;
    if (!whole) {
        if (fresh && head.expects_continue)
            conn_send(s, c, view_of("HTTP/1.1 100 Continue\r\n\r\n"), HTTP_UNSENT_BYTES_MAX);
        body_count(s, c, buffer_view(&c->in).len_bytes);
        return false;
    }
    set_state(s, c, CONN_BUSY, 0);
    size_t used = c->head_bytes + c->body_bytes;
    view all = buffer_view(&c->in);
    s->count.bytes_in += used;
    route_request(s, c, &head, (view){ all.ptr + c->head_bytes, c->body_bytes });
    if (c->dead) return false;
    buffer_drop(&c->in, used);
    body_count(s, c, 0);
    return true;
}

static void take_requests(server *s, struct conn *c)
{
    while (!c->dead && take_request(s, c)) {}
}

/* Bytes or the end of them. */
static void receive(server *s, struct conn *c)
{
    ssize_t got = read(c->fd, s->inbox, INBOX_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        conn_drop(s, c);
        return;
    }
    if (c->state == CONN_LAST) return; /* nobody reads it any more */
    size_t limit = (size_t)HTTP_HEAD_BYTES_MAX + HTTP_BODY_BYTES_MAX + AHEAD_BYTES_MAX + INBOX_BYTES;
    if (!buffer_add(&c->in, (view){ s->inbox, (size_t)got }, limit)) {
        conn_drop(s, c);
        return;
    }
    if (c->state == CONN_BUSY) {
        if (buffer_view(&c->in).len_bytes >= AHEAD_BYTES_MAX && !watch(s, c, EPOLL_CTL_MOD)) conn_drop(s, c);
        return;
    }
    take_requests(s, c);
}

void conn_ready(server *s, struct conn *c, uint32_t events)
{
    if (c->dead) return;
    bool gone = (events & (EPOLLERR | EPOLLHUP)) != 0 || (c->state == CONN_BUSY && (events & EPOLLRDHUP) != 0);
    if (gone) {
        conn_drop(s, c);
        return;
    }
    if ((events & EPOLLOUT) != 0) mark_dirty(s, c);
    if ((events & (EPOLLIN | EPOLLRDHUP)) != 0) receive(s, c);
}

void conn_flush_all(server *s)
{
    while (s->dirty != NULL) {
        struct conn *c = s->dirty;
        s->dirty = c->next_dirty;
        c->dirty = false;
        if (c->dead) continue;
        if (c->doomed) conn_drop(s, c);
        else flush(s, c);
        if (c->dead || c->state != CONN_IDLE || buffer_view(&c->in).len_bytes == 0) continue;
        if (watch(s, c, EPOLL_CTL_MOD)) take_requests(s, c); /* it came while the last answer was made */
        else conn_drop(s, c);
    }
}

/* ---- time ---- */

static void check(server *s, struct conn *c)
{
    bool waits = buffer_view(&c->out).len_bytes > 0;
    if (waits && s->now_ms - c->sent_ms > (uint64_t)s->o->unread_s * 1000) {
        conn_drop(s, c);
        return;
    }
    if (c->state == CONN_BUSY) {
        if (c->x != NULL) exchange_ping(s, c->x);
        return;
    }
    if (s->stopping && c->state == CONN_IDLE && !waits) {
        conn_drop(s, c);
        return;
    }
    if (s->now_ms < c->deadline_ms || (c->state == CONN_LAST && !c->half_shut)) return;
    if (c->state == CONN_HEAD || c->state == CONN_BODY) {
        struct refusal r = { 0 };
        refuse_with(&r, 408, NULL, "the request did not come to its end in time");
        refuse_here(s, c, NULL, &r);
        return;
    }
    conn_drop(s, c);
}

void conn_check_all(server *s)
{
    for (struct conn *c = s->first, *next; c != NULL; c = next) {
        next = c->next;
        check(s, c);
    }
}
