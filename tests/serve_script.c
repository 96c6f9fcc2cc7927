/* The server before a scripted model, without walls: `serve_script PORT [KEY]`, 0 for a free
 * port. What real clients are tried against. */
#include "server/server.h"

#include "server/script.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

static int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0) return -1;
    return fd;
}

int main(int argc, char **argv)
{
    static struct script script;
    struct server_options o = server_defaults();
    struct rlimit files = { 16384, 16384 };
    struct key key = { .name = "test", .role = KEY_ADMIN };
    err e = { 0 };
    server *s;
    if (argc < 2) {
        fprintf(stderr, "usage: serve_script PORT [KEY]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    setrlimit(RLIMIT_NOFILE, &files);
    o.backend = script_backend(&script);
    o.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    o.listeners[0].fd = listen_on((uint16_t)strtoul(argv[1], NULL, 10));
    o.listener_count = 1;
    o.version = view_of("0.1");
    o.clients_max = 4000;
    if (argc > 2) {
        key_hash(view_of(argv[2]), key.hash);
        o.keys = (struct key_table){ &key, 1 };
    }
    if (o.listeners[0].fd < 0 || !server_new(&s, &o, &e)) {
        fprintf(stderr, "serve_script: port %s: %s\n", argv[1], e.text);
        return 1;
    }
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    getsockname(o.listeners[0].fd, (struct sockaddr *)&at, &len);
    printf("ready %u\n", ntohs(at.sin_port));
    fflush(stdout);
    server_run(s);
    server_free(s);
    script_free(&script);
    return 0;
}
