/* Sockets to listen on: see serve.h. All are non-blocking, with TCP_NODELAY set here: accepted ones inherit it, and the
 * front door has no call to set it. */
#include "cmd/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, SYSTEMD_FD_FIRST = 3 };

bool serve_socket_path(char path[static PATH_BYTES_MAX])
{
    const char *own = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    if (own != NULL && own[0] == '/') snprintf(path, PATH_BYTES_MAX, "%s/hearth.sock", own);
    else if (stat("/run/hearth", &st) == 0 && S_ISDIR(st.st_mode))
        snprintf(path, PATH_BYTES_MAX, "/run/hearth/hearth.sock");
    else return false;
    return true;
}

static bool add(struct serve_settings *set, int fd, err *e)
{
    struct server_options *o = &set->server;
    if (o->listener_count == HTTP_LISTENERS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "sockets: %d are the most", HTTP_LISTENERS_MAX);
    o->listeners[o->listener_count++] = (struct listener){ fd };
    return true;
}

/* A Unix socket for who runs the server and for `guests`. */
static bool add_door(struct serve_settings *set, int fd, bool any, const uid_t *guests, size_t count, err *e)
{
    if (set->door_count == HTTP_LISTENERS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "sockets: %d are the most", HTTP_LISTENERS_MAX);
    set->doors[set->door_count++] = (struct door_listener){ fd, any, guests, count };
    return true;
}

static bool is_loopback(const struct sockaddr *at)
{
    if (at->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)at)->sin_addr.s_addr) >> 24 == 127;
    return at->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)at)->sin6_addr);
}

static bool guard_address(const struct serve_settings *set, const struct sockaddr *at, err *e)
{
    if (is_loopback(at) || set->server.keys.count > 0) return true;
    return fail(e, ERR_STATE, ERR_NO_OFFSET,
                "an address that others reach needs a key: hearth key add NAME makes one (or listen on 127.0.0.1)");
}

/* ---- TCP ---- */

/* Numbers alone: names would need a resolver, and mean another address tomorrow. */
static bool read_address(const char *host, size_t port, struct sockaddr_storage *at, socklen_t *len, err *e)
{
    struct sockaddr_in *four = (struct sockaddr_in *)(void *)at;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)at;
    memset(at, 0, sizeof *at);
    const char *number = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (inet_pton(AF_INET, number, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        *len = sizeof *four;
        return true;
    }
    if (inet_pton(AF_INET6, number, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)port);
        *len = sizeof *six;
        return true;
    }
    return fail(e, ERR_VALUE, ERR_NO_OFFSET, "--host: %.60s is no address in numbers", host);
}

static bool listen_tcp(struct serve_settings *set, size_t port, err *e)
{
    struct sockaddr_storage at;
    socklen_t len;
    int yes = 1;
    if (port == 0) return true;
    if (!read_address(set->host, port, &at, &len, e) || !guard_address(set, (struct sockaddr *)&at, e)) return false;
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0 &&
                bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, BACKLOG) == 0;
    if (!good) {
        int why = errno;
        if (fd >= 0) close(fd);
        return fail(e, ERR_IO, ERR_NO_OFFSET, "%s port %zu: %s%s", set->host, port, strerror(why),
                    why == EADDRINUSE ? " (another server; --port N takes another)" : "");
    }
    return add(set, fd, e);
}

/* ---- Unix ---- */

/* A file that a server left behind is no server: only one that nobody answers at is taken away. */
static bool clear_path(const struct sockaddr_un *at, err *e)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) == 0;
    if (fd >= 0) close(fd);
    if (answers) return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: another server answers there", at->sun_path);
    struct stat st;
    if (lstat(at->sun_path, &st) == 0 && S_ISSOCK(st.st_mode)) unlink(at->sun_path);
    return true;
}

/* The kernel says who connects (orchestrator/acceptor.h). Where nobody but `uid` may, the file's mode says so too, from
 * its first moment. */
static bool listen_unix(struct serve_settings *set, const char *path, uid_t uid, err *e)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    bool own = uid == getuid(), shared = own && (set->any_guest || set->guest_count > 0);
    if (strlen(path) >= sizeof at.sun_path)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "--socket: %zu bytes, at most %zu", strlen(path),
                    sizeof at.sun_path - 1);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    if (!clear_path(&at, e)) return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t before = umask(shared ? 0111 : 0177);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
                (uid == getuid() || chown(path, uid, (gid_t)-1) == 0) && listen(fd, BACKLOG) == 0;
    int why = errno;
    umask(before);
    if (good && own) return add_door(set, fd, set->any_guest, set->guests, set->guest_count, e);
    if (good) return add_door(set, fd, true, NULL, 0, e); /* its mode lets in one user */
    if (fd >= 0) close(fd);
    return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s", path, strerror(why));
}

static bool listen_users(struct serve_settings *set, err *e)
{
    for (size_t i = 0; i < set->user_count; i++) {
        const struct passwd *user = getpwnam(set->users[i].name);
        if (user == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "user: no user %.60s", set->users[i].name);
        if (!listen_unix(set, set->users[i].path, user->pw_uid, e)) return false;
    }
    return true;
}

/* ---- systemd ---- */

static bool adopt(struct serve_settings *set, int fd, err *e)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    int yes = 1;
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "LISTEN_FDS: descriptor %d is no socket", fd);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (at.ss_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        return guard_address(set, (struct sockaddr *)&at, e) && add(set, fd, e);
    }
    /* Its mode is the unit's to set; without a list whoever that lets in may ask. */
    bool listed = set->guest_count > 0 && !set->any_guest;
    return add_door(set, fd, !listed, set->guests, set->guest_count, e);
}

/* How many sockets systemd hands over: sd_listen_fds(3). */
static size_t handed_over(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    uint64_t of, number;
    if (pid == NULL || count == NULL || !text_u64(view_of(pid), &of) || !text_u64(view_of(count), &number)) return 0;
    return of == (uint64_t)getpid() && number <= HTTP_LISTENERS_MAX ? (size_t)number : 0;
}

bool serve_listen(struct serve_settings *set, err *e)
{
    size_t count = handed_over();
    char path[PATH_BYTES_MAX];
    for (size_t i = 0; i < count; i++)
        if (!adopt(set, SYSTEMD_FD_FIRST + (int)i, e)) return false;
    if (count > 0) return true;
    bool has_path = set->socket != NULL ? strcmp(set->socket, "none") != 0 : serve_socket_path(path);
    if (has_path && !listen_unix(set, set->socket != NULL ? set->socket : path, getuid(), e)) return false;
    return listen_users(set, e) && listen_tcp(set, set->port, e) && listen_tcp(set, set->ollama_port, e);
}

void serve_listen_end(struct serve_settings *set)
{
    struct server_options *o = &set->server;
    for (size_t i = 0; i < set->door_count; i++) {
        struct sockaddr_un at = { 0 };
        socklen_t len = sizeof at;
        bool named = getsockname(set->doors[i].fd, (struct sockaddr *)&at, &len) == 0;
        if (named && handed_over() == 0 && at.sun_path[0] == '/') unlink(at.sun_path);
        close(set->doors[i].fd);
    }
    for (size_t i = 0; i < o->listener_count; i++) close(o->listeners[i].fd);
    o->listener_count = set->door_count = 0;
}
