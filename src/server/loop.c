/* The one loop: what epoll tells, then what the backend tells, then bytes out, then time. */
#include "server/api.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_A_TURN = 256,
    POLLS_A_TURN = 4096,   /* events of the backend between two looks at clients */
    INBOX_BYTES = 1 << 16, /* as conn.c */
    CHECK_MS = 250,        /* how late a deadline may be noticed */
    /* Addresses: a request's tree and its messages written again, at their largest. */
    SCRATCH_BYTES = HTTP_BODY_BYTES_MAX * 8
};

struct server_options server_defaults(void)
{
    return (struct server_options){ .stop_fd = -1, .door_fd = -1, .epoll_fd = -1, .drain_s = 30, .head_s = 10,
                                    .idle_s = 60, .unread_s = 30, .ping_s = 10 };
}

static bool watch_fd(int epoll_fd, int fd, void *what)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = what };
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool watch_all(server *s, err *e)
{
    const struct server_options *o = s->o;
    bool good = true;
    for (size_t i = 0; i < o->listener_count; i++)
        good = good && watch_fd(o->epoll_fd, o->listeners[i].fd, (void *)(uintptr_t)&o->listeners[i]);
    if (o->door_fd >= 0) good = good && watch_fd(o->epoll_fd, o->door_fd, (void *)(uintptr_t)&o->door_fd);
    if (o->stop_fd >= 0) good = good && watch_fd(o->epoll_fd, o->stop_fd, &s->stopping);
    if (s->b.bell_fd >= 0) good = good && watch_fd(o->epoll_fd, s->b.bell_fd, &s->b);
    return good || fail(e, ERR_IO, ERR_NO_OFFSET, "server: a descriptor can not be watched");
}

static void read_clock(server *s)
{
    struct timespec now;
    s->now_ms = clock_ms();
    clock_gettime(CLOCK_REALTIME, &now);
    s->now_s = now.tv_sec;
}

/* What the backend has, and bytes out. True: there is more. */
static bool take_backend_events(server *s)
{
    struct ask_event event;
    bool more = true;
    for (int i = 0; i < POLLS_A_TURN && more; i++)
        if ((more = s->b.poll(s->b.self, &event))) exchange_take_event(s, &event);
    conn_flush_all(s);
    return more;
}

/* Called by threads of the backend. Whoever has the turn already looks once more; so nothing waits for the loop to wake
 * up. Connections that end meanwhile are freed by the loop, which may hold events that name them. */
static void heard(void *arg)
{
    server *s = arg;
    atomic_store(&s->rung, true);
    while (atomic_load(&s->rung) && pthread_mutex_trylock(&s->turn) == 0) {
        atomic_store(&s->rung, false);
        read_clock(s);
        if (take_backend_events(s)) atomic_store(&s->rung, true);
        pthread_mutex_unlock(&s->turn);
    }
}

bool server_new(server **out, const struct server_options *o, err *e)
{
    assert(o->epoll_fd >= 0 && o->listener_count <= HTTP_LISTENERS_MAX);
    server *s = calloc(1, sizeof *s);
    *out = s;
    if (s == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "server: no memory");
    s->o = o;
    s->b = o->backend;
    pthread_mutex_init(&s->turn, NULL);
    s->clients_max = o->clients_max > 0 ? o->clients_max : HTTP_CLIENTS_MAX;
    s->inbox = malloc(INBOX_BYTES);
    s->asks = calloc(ASKS_MAX, sizeof *s->asks);
    s->free_places = calloc(ASKS_MAX, sizeof *s->free_places);
    for (size_t i = 0; s->free_places != NULL && i < ASKS_MAX; i++) s->free_places[i] = (uint16_t)(ASKS_MAX - 1 - i);
    read_clock(s);
    s->begun_ms = s->now_ms;
    bool room = (s->inbox != NULL && s->asks != NULL && s->free_places != NULL) ||
                fail(e, ERR_MEMORY, ERR_NO_OFFSET, "server: no memory");
    if (room && arena_new(&s->scratch, (size_t)SCRATCH_BYTES + (size_t)JSON_VALUES_MAX * sizeof(json_value), e) &&
        guard_new(s, e) && watch_all(s, e)) {
        if (s->b.listen != NULL) s->b.listen(s->b.self, heard, s);
        return true;
    }
    server_free(s);
    *out = NULL;
    return false;
}

void server_free(server *s)
{
    if (s == NULL) return;
    if (s->b.listen != NULL) s->b.listen(s->b.self, NULL, NULL);
    while (s->first != NULL) conn_drop(s, s->first);
    conn_free_dead(s);
    arena_free(&s->scratch);
    free(s->inbox);
    free(s->asks);
    free(s->free_places);
    guard_free(s);
    free(s);
}

static bool is_listener(const server *s, const void *what)
{
    const struct listener *l = what;
    return l >= s->o->listeners && l < s->o->listeners + s->o->listener_count;
}

/* From now on nobody comes in; what is being answered goes on. */
void server_stop(server *s)
{
    if (s->stopping) return;
    s->stopping = true;
    s->stop_ms = s->now_ms;
    if (s->o->stop_fd >= 0) epoll_ctl(s->o->epoll_fd, EPOLL_CTL_DEL, s->o->stop_fd, NULL);
    if (s->o->door_fd >= 0) epoll_ctl(s->o->epoll_fd, EPOLL_CTL_DEL, s->o->door_fd, NULL);
    for (size_t i = 0; i < s->o->listener_count; i++) {
        epoll_ctl(s->o->epoll_fd, EPOLL_CTL_DEL, s->o->listeners[i].fd, NULL);
        close(s->o->listeners[i].fd); /* who connects now is told so by the kernel */
    }
}

static void take_epoll_event(server *s, const struct epoll_event *event)
{
    void *what = event->data.ptr;
    uint64_t rung;
    if (what == &s->stopping) server_stop(s);
    else if (what == &s->o->door_fd) {
        bool ended = (event->events & EPOLLIN) == 0;
        if (ended) epoll_ctl(s->o->epoll_fd, EPOLL_CTL_DEL, s->o->door_fd, NULL); /* nobody will be handed on */
        else if (!s->stopping) conn_accept_handed(s);
    }
    else if (what == &s->b) {
        (void)!read(s->b.bell_fd, &rung, sizeof rung);
        guard_reload(s);
    }
    else if (is_listener(s, what)) {
        if (!s->stopping) conn_accept(s, what);
    } else conn_ready(s, what, event->events);
}

/* A large request leaves pages behind that nobody needs: the walls have no call to give back less than all. */
static void renew_scratch(server *s)
{
    err e = { 0 };
    size_t size = s->scratch.size_bytes;
    if (!s->scratch_large) return;
    s->scratch_large = false;
    arena_free(&s->scratch);
    if (!arena_new(&s->scratch, size, &e)) server_stop(s); /* no addresses: no more answers */
}

static bool take_turn(server *s, const struct epoll_event *events, int count)
{
    read_clock(s);
    for (int i = 0; i < count; i++) take_epoll_event(s, &events[i]);
    s->more = take_backend_events(s);
    if (s->now_ms - s->checked_ms >= CHECK_MS) {
        s->checked_ms = s->now_ms;
        conn_check_all(s);
        conn_flush_all(s);
    }
    conn_free_dead(s);
    renew_scratch(s);
    if (!s->stopping) return true;
    return s->conn_count > 0 && s->now_ms - s->stop_ms < (uint64_t)s->o->drain_s * 1000;
}

bool server_turn(server *s, int wait_ms)
{
    struct epoll_event events[EVENTS_A_TURN];
    bool now = s->more || atomic_load(&s->rung);
    int count = epoll_wait(s->o->epoll_fd, events, EVENTS_A_TURN, now ? 0 : wait_ms);
    pthread_mutex_lock(&s->turn);
    atomic_store(&s->rung, false);
    bool goes_on = take_turn(s, events, count);
    pthread_mutex_unlock(&s->turn);
    return goes_on;
}

void server_run(server *s)
{
    while (server_turn(s, CHECK_MS)) {}
}
