/* A running server, asked by a command of the same machine. */
#ifndef HEARTH_CMD_CLIENT_H
#define HEARTH_CMD_CLIENT_H

#include "cmd/options.h"

#include "base/arena.h"

struct client_options {
    const char *socket, *key;
    size_t port;
};
struct option_group client_group(struct client_options *values);

/* One request, its body `sent` or empty, at the Unix socket or at 127.0.0.1; the answer's body from `a`. Errors: ERR_IO
 * (no server answers), ERR_STATE (the server's own words). */
bool client_ask(const struct client_options *o, const char *method, const char *path, view sent, arena *a, view *body,
                err *e);

#endif
