/* One HTTP request: see client.h. HTTP/1.0, so that an answer ends where its connection does. */
#include "cmd/client.h"

#include "cmd/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_BYTES = 1 << 22 };

static const struct option ROWS[] = {
    { "--socket", "PATH", OPTION_TEXT, offsetof(struct client_options, socket), 0, 0, NULL, NULL,
      "the server's Unix socket (where serve makes it)" },
    { "--port", "N", OPTION_COUNT, offsetof(struct client_options, port), 1, 65535, NULL, NULL,
      "at 127.0.0.1 instead (4327 where there is no socket)" },
    { "--key", "KEY", OPTION_TEXT, offsetof(struct client_options, key), 0, 0, NULL, NULL,
      "where one is needed ($HEARTH_KEY)" },
};

struct option_group client_group(struct client_options *values)
{
    return (struct option_group){ ROWS, sizeof ROWS / sizeof *ROWS, values };
}

static int connect_unix(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof at.sun_path) return -1;
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static int connect_port(size_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static int connect_server(const struct client_options *o)
{
    char path[PATH_BYTES_MAX];
    int fd = -1;
    if (o->socket != NULL) return connect_unix(o->socket);
    if (o->port == 0 && serve_socket_path(path)) fd = connect_unix(path);
    return fd >= 0 ? fd : connect_port(o->port > 0 ? o->port : 4327);
}

static bool read_all(int fd, arena *a, view *out, err *e)
{
    uint8_t *text = arena_take(a, ANSWER_BYTES, 1, 1, "answer", e);
    size_t len = 0;
    while (text != NULL && len < ANSWER_BYTES) {
        ssize_t got = read(fd, text + len, ANSWER_BYTES - len);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        len += (size_t)got;
    }
    *out = (view){ text, len };
    return text != NULL;
}

bool client_ask(const struct client_options *o, const char *method, const char *path, view sent, arena *a, view *body,
                err *e)
{
    char text[1024];
    const char *key = o->key != NULL ? o->key : getenv("HEARTH_KEY");
    int fd = connect_server(o);
    if (fd < 0) return fail(e, ERR_IO, ERR_NO_OFFSET, "no server answers (hearth serve starts one)");
    int len = snprintf(text, sizeof text,
                       "%s %s HTTP/1.0\r\nHost: localhost\r\n%s%s%sContent-Length: %zu\r\n\r\n", method, path,
                       key != NULL ? "Authorization: Bearer " : "", key != NULL ? key : "", key != NULL ? "\r\n" : "",
                       sent.len_bytes);
    view all;
    bool good = len > 0 && (size_t)len < sizeof text && write(fd, text, (size_t)len) == len &&
                (sent.len_bytes == 0 || write(fd, sent.ptr, sent.len_bytes) == (ssize_t)sent.len_bytes) &&
                read_all(fd, a, &all, e);
    close(fd);
    const uint8_t *head_end = good ? memmem(all.ptr, all.len_bytes, "\r\n\r\n", 4) : NULL;
    if (head_end == NULL || all.len_bytes < 12)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "the server's answer did not come whole");
    *body = view_after(all, (size_t)(head_end - all.ptr) + 4);
    if (memcmp(all.ptr + 9, "200", 3) == 0) return true;
    return fail(e, ERR_STATE, ERR_NO_OFFSET, "the server says %.3s: %.*s", (const char *)all.ptr + 9,
                (int)(body->len_bytes < 200 ? body->len_bytes : 200), (const char *)body->ptr);
}
