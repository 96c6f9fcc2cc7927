/* hearth serve: what its files share. serve.c reads the command line and the configuration, serve_listen.c makes the
 * sockets, serve_run.c starts the processes and looks after them. */
#ifndef HEARTH_CMD_SERVE_H
#define HEARTH_CMD_SERVE_H

#include "cmd/served.h"
#include "orchestrator/acceptor.h"
#include "server/server.h"

enum {
    SERVE_USERS_MAX = 24,
    SERVE_GUESTS_MAX = 64,     /* users that may come to one Unix socket */
    SERVE_MASK_BYTES = 1 << 26 /* for tables of schemas and grammars, a model; memory as they are loaded */
};

/* Values of the configuration, docs/config.md; options of the command line go before them. */
struct serve_settings {
    const char *models[SERVER_MODELS_MAX];
    size_t model_count;
    bool preload;             /* the models are loaded at the start, as far as they fit; no: when they are asked for */
    uint64_t keep_ms;         /* how long a model stays without a request; UINT64_MAX: until another needs its room */
    const char *host;         /* address to listen on */
    size_t port, ollama_port; /* 0: none */
    const char *socket;       /* path of the Unix socket; "none" */
    const char *keys;         /* path of the file of keys */
    struct { const char *name, *path; } users[SERVE_USERS_MAX]; /* further Unix sockets, each of one user */
    size_t user_count;
    uid_t guests[SERVE_GUESTS_MAX]; /* users that may come to the Unix socket beside who runs the server */
    size_t guest_count;
    bool any_guest;
    struct door_listener doors[HTTP_LISTENERS_MAX]; /* Unix sockets */
    size_t door_count;
    size_t parallel;          /* answers computed at once */
    size_t requests;          /* that may wait, a model */
    struct jail_choice jail;
    struct compute_options compute;
    struct server_options server; /* limits and lists; listeners and backend come later */
};

/* The file of keys, looked at while the server runs. */
struct key_file_mark {
    uint64_t inode, bytes; /* 0: there is none */
    int64_t seconds, nanoseconds;
};
struct key_watch {
    char path[PATH_BYTES_MAX];
    struct key_file_mark mark;
    arena arenas[2];       /* the table that holds, and the one that is being read */
    unsigned arena;
    ring ring, end;        /* to the front door, which takes the reader's end; ours */
};
bool key_watch_new(struct key_watch *w, const char *word, err *e);
void key_watch_free(struct key_watch *w); /* all zeros is fine */

/* Where the file has changed: its keys are the server's from now on, and the front door is told. */
void key_watch_look(struct key_watch *w, struct serve_settings *set, int bell_fd);

/* The sockets, into set->server.listeners and set->doors: those that systemd hands over, or those the settings name. A
 * key file that holds no key keeps everything off loopback shut. Errors: ERR_IO, ERR_STATE (off loopback without a
 * key). */
bool serve_listen(struct serve_settings *set, err *e);
void serve_listen_end(struct serve_settings *set); /* closes, and takes the Unix sockets' files away */

/* Runs until a signal ends it. */
bool serve_run(struct serve_settings *set, err *e);

/* Where the Unix socket is without --socket: $XDG_RUNTIME_DIR/hearth.sock, /run/hearth/hearth.sock; false where there
 * is neither folder. */
bool serve_socket_path(char path[static PATH_BYTES_MAX]);

/* The file of keys without --keys: $HEARTH_KEYS, ~/.local/share/hearth/keys. */
bool serve_keys_path(const char *word, char path[static PATH_BYTES_MAX]);

#endif
