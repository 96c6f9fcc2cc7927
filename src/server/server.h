/* server/ is the front door: HTTP on sockets it inherited, the APIs people's programs already speak, nothing of a
 * model. It turns each request into an ask (ask.h), hands it to a backend (backend.h), and writes what comes back as
 * the API's own bytes. It opens no file, makes no connection, holds no weights and no vocabulary; it runs in the jail's
 * profile of that name, where a mistake in it could not either.
 *
 *   socket -> conn.c -> http.c -> guard.c -> route.c -> an API's reader -> ask ==> backend
 *          <- conn.c <- exchange.c <- an API's writer <---------------- events <==
 *
 * Invariants:
 *   - one thread at a time (loop.c), one epoll, nothing blocks; every wait of a client has an end (deadlines in
 *     limits.h and options);
 *   - what a client sends is bounded before it is kept, and refused in the shape its API refuses;
 *   - a prompt is never cut; a client that left is noticed by its descriptor, and its ask is cancelled at once;
 *   - an API is a table of fields and a few writers (api.h); none knows of sockets, none of another.
 * Start with struct server_options, then loop.c, then openai_chat.c as the example of an API. */
#ifndef HEARTH_SERVER_SERVER_H
#define HEARTH_SERVER_SERVER_H

#include "base/arena.h"
#include "base/limits.h"
#include "base/ring.h"
#include "server/backend.h"
#include "server/keys.h"

/* A TCP socket that listens, non-blocking, inherited. */
struct listener {
    int fd;
};

struct alias {
    view name, model;
};

struct server_options {
    struct listener listeners[HTTP_LISTENERS_MAX];
    size_t listener_count;
    int door_fd;           /* clients of Unix sockets, each with its user's number (orchestrator/acceptor.h): no key is
                              needed from them, and no Host asked for; -1: none. In the jail it is JAIL_FD_FIRST */
    int stop_fd;           /* readable: finish answers, then end; -1: none */
    int epoll_fd;          /* made before the jail closes */
    size_t clients_max;    /* 0: HTTP_CLIENTS_MAX; under the limit on descriptors */
    struct backend backend;
    struct key_table keys;
    ring *keys_ring;       /* SERVER_KEYS_TEXT each time the file of keys changes; rung by the bell. NULL: none */
    const view *hosts;     /* further names of this server, beside localhost and loopback addresses; "*" is any */
    size_t host_count;
    const view *origins;   /* browser origins that may ask, "https://chat.example"; "*" is any */
    size_t origin_count;
    const struct alias *aliases;
    size_t alias_count;
    uint32_t drain_s;      /* how long answers may go on after stop_fd */
    uint32_t head_s;       /* for a request line and its headers */
    uint32_t idle_s;       /* a connection without a request */
    uint32_t unread_s;     /* a client that takes no bytes of its answer */
    uint32_t ping_s;       /* a stream without an event gets a sign of life */
    size_t max_tok;        /* of an answer where the request does not say; 0: up to the context */
    bool drop_billing;     /* system lines that change with every request: x-anthropic-billing-header */
    int64_t zone_s;        /* local time minus UTC, for templates that show the date */
    uint64_t seed;         /* of ids and of draws that ask for no seed */
    view version;          /* "0.1" */
    void (*log)(void *arg, view line); /* may be NULL */
    void *log_arg;
};

/* Defaults of everything that has one. */
struct server_options server_defaults(void);

typedef struct server server;

/* Takes what it needs; the rest comes with clients. Errors: ERR_IO, ERR_MEMORY. `o` must outlive the server. */
bool server_new(server **out, const struct server_options *o, err *e);
void server_free(server *s); /* NULL is fine */

/* One turn: waits at most `wait_ms` (-1: until something happens), reads, writes, hands on. False once it has been
 * stopped and the last answer is out. */
bool server_turn(server *s, int wait_ms);

/* Nobody comes in any more; answers go on for drain_s. */
void server_stop(server *s);

/* Turns until it is stopped. */
void server_run(server *s);

#endif
