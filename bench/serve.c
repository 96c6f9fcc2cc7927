/* The server beside a bare epoll echo, over loopback: `serve COMMAND PORT [ARGS]`.
 *
 *   echo PORT                        an echo server: answers each 2 KB request with as many bytes
 *   clock PORT RATE CONNS SECONDS BYTES echo|chat   requests on a clock; median, p99, worst of their times
 *   streams PORT COUNT               opens that many streams that never end, and waits for a line of input
 *   half PORT COUNT SECONDS          that many clients that send half a head, again and again
 *
 * Arrivals are on a clock and not one behind another: a slow answer does not keep the next request from being sent, so
 * its wait is counted (Tene, "How not to measure latency", 2013). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNS_MAX = 16384, BYTES_MAX = 1 << 17, TIMES_MAX = 1 << 20 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in address(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static int dial(uint16_t port)
{
    struct sockaddr_in at = address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* ---- echo: the floor that any server stands on ---- */

static int echo(uint16_t port)
{
    static char text[BYTES_MAX];
    struct sockaddr_in at = address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0), yes = 1;
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd }, events[64];
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0) return 1;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
    for (;;) {
        int count = epoll_wait(ep, events, 64, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == fd) {
                event.data.fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
                if (event.data.fd >= 0) epoll_ctl(ep, EPOLL_CTL_ADD, event.data.fd, &event);
                continue;
            }
            ssize_t got = read(events[i].data.fd, text, sizeof text);
            if (got <= 0 && errno != EAGAIN) close(events[i].data.fd);
            if (got > 0 && write(events[i].data.fd, text, (size_t)got) < 0) close(events[i].data.fd);
        }
    }
}

/* ---- requests on a clock ---- */

struct client {
    int fd;
    bool busy;
    uint64_t due_ns;
    size_t got, want; /* bytes of an echo; of an answer: want is 0 until its head is read */
    char text[4096];
    size_t text_bytes;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static size_t make_request(char *out, size_t bytes, bool chat)
{
    if (!chat) {
        memset(out, 'x', bytes);
        return bytes;
    }
    static char body[BYTES_MAX];
    size_t len = (size_t)snprintf(body, sizeof body, "{\"model\":\"scripted\",\"max_tokens\":1,\"messages\":["
                                  "{\"role\":\"system\",\"content\":\"");
    for (; len < bytes - 220; len++) body[len] = (char)('a' + len % 26);
    len += (size_t)snprintf(body + len, sizeof body - len, "\"},{\"role\":\"user\",\"content\":\"hi\"}]}");
    return (size_t)snprintf(out, BYTES_MAX, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                            "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", len, body);
}

/* Is the answer whole? */
static bool answered(struct client *c, size_t request_bytes, bool chat)
{
    char sink[8192];
    for (;;) {
        ssize_t got = read(c->fd, sink, sizeof sink);
        if (got <= 0) break;
        c->got += (size_t)got;
        size_t room = sizeof c->text - 1 - c->text_bytes, take = (size_t)got < room ? (size_t)got : room;
        memcpy(c->text + c->text_bytes, sink, take);
        c->text_bytes += take;
    }
    if (!chat) return c->got >= request_bytes;
    c->text[c->text_bytes] = '\0';
    const char *length = strstr(c->text, "Content-Length: "), *body = strstr(c->text, "\r\n\r\n");
    return length != NULL && body != NULL && c->got >= (size_t)(body + 4 - c->text) + strtoul(length + 16, NULL, 10);
}

static void report(double *times, size_t count, size_t late)
{
    qsort(times, count, sizeof *times, by_value);
    printf("%zu answers, median %.4f ms, p99 %.4f ms, worst %.3f ms, %zu sent late\n", count, times[count / 2],
           times[count * 99 / 100], times[count - 1], late);
}

static int on_clock(uint16_t port, double rate, size_t conns, double seconds, size_t bytes, bool chat)
{
    static struct client clients[1024];
    static double times[TIMES_MAX];
    static char request[BYTES_MAX];
    struct epoll_event events[256];
    int ep = epoll_create1(0);
    size_t request_bytes = make_request(request, bytes, chat), count = 0, late = 0, next = 0;
    for (size_t i = 0; i < conns; i++) {
        clients[i].fd = dial(port);
        if (clients[i].fd < 0) return 1;
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = i };
        epoll_ctl(ep, EPOLL_CTL_ADD, clients[i].fd, &event);
    }
    uint64_t begin = now_ns(), step = (uint64_t)(1e9 / rate), due = begin, end = begin + (uint64_t)(seconds * 1e9);
    while (due < end && count < TIMES_MAX) {
        for (uint64_t now = now_ns(); due <= now && due < end; due += step) {
            size_t tried = 0;
            while (clients[next % conns].busy && tried++ < conns) next++;
            struct client *c = &clients[next++ % conns];
            if (c->busy) {
                late++;
                break;
            }
            *c = (struct client){ .fd = c->fd, .busy = true, .due_ns = due };
            if (write(c->fd, request, request_bytes) != (ssize_t)request_bytes) return 1;
        }
        uint64_t now = now_ns();
        struct timespec wait = { 0, due > now ? (long)(due - now < 1000000 ? due - now : 1000000) : 0 };
        int ready = epoll_pwait2(ep, events, 256, &wait, NULL);
        for (int i = 0; i < ready; i++) {
            struct client *c = &clients[events[i].data.u64];
            if (!c->busy || !answered(c, request_bytes, chat)) continue;
            c->busy = false;
            times[count++] = (double)(now_ns() - c->due_ns) * 1e-6;
        }
    }
    if (count == 0) return 1;
    report(times, count, late);
    return 0;
}

/* ---- crowds ---- */

static int streams(uint16_t port, size_t count)
{
    static const char request[] =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 78\r\n\r\n"
        "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"forever and ever, man\"}]}";
    for (size_t i = 0; i < count; i++) {
        int fd = dial(port);
        if (fd < 0 || write(fd, request, sizeof request - 1) < 0) return 1;
        usleep(500);
    }
    printf("%zu streams\n", count);
    fflush(stdout);
    return getchar() == EOF;
}

static int half(uint16_t port, size_t count, double seconds)
{
    static int fds[CONNS_MAX];
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    for (size_t i = 0; now_ns() < end; i = (i + 1) % count) {
        if (fds[i] > 0) close(fds[i]);
        fds[i] = dial(port);
        if (fds[i] > 0 && write(fds[i], "POST /v1/chat/com", 17) < 0) close(fds[i]);
        usleep(200);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit files = { CONNS_MAX + 64, CONNS_MAX + 64 };
    setrlimit(RLIMIT_NOFILE, &files);
    uint16_t port = (uint16_t)(argc > 2 ? strtoul(argv[2], NULL, 10) : 0);
    if (argc == 3 && strcmp(argv[1], "echo") == 0) return echo(port);
    if (argc == 8 && strcmp(argv[1], "clock") == 0)
        return on_clock(port, strtod(argv[3], NULL), strtoul(argv[4], NULL, 10), strtod(argv[5], NULL),
                        strtoul(argv[6], NULL, 10), strcmp(argv[7], "chat") == 0);
    if (argc == 4 && strcmp(argv[1], "streams") == 0) return streams(port, strtoul(argv[3], NULL, 10));
    if (argc == 5 && strcmp(argv[1], "half") == 0) return half(port, strtoul(argv[3], NULL, 10), strtod(argv[4], NULL));
    fprintf(stderr, "usage: serve echo|clock|streams|half PORT ...\n");
    return 2;
}
