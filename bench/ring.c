/* From the engine's ring to the client: `ring MODEL STREAMS SECONDS spread|burst`.
 *
 *   played engine --ring--> front door --ring--> text worker --ring--> front door --socket--> client
 *
 * An engine that computes nothing notes the time and sends a token, for STREAMS answers of 20 tokens a second each:
 * spread evenly over time, or all at once as a step of a real one tells them. The client notes when each frame has been
 * read. Two processes compute beside it, as an engine's threads do, with an engine's nice level. MODEL lends its
 * vocabulary. All run without walls: the played engine reads the clock. Prints median, p99 and worst. */
#include "base/limits.h"
#include "orchestrator/crew.h"
#include "server/served.h"
#include "server/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STREAMS_MAX = 256, TOKENS_MAX = 4096, RATE = 20, FIRST_ID = 300, TOKEN = 365, ENGINE_NICE = 10, SPINNERS = 2 };

/* Shared by all: when token k of stream i went into the ring, and came out at the client. */
struct times {
    uint64_t put[STREAMS_MAX][TOKENS_MAX], got[STREAMS_MAX][TOKENS_MAX];
};

struct bench {
    struct times *times;
    size_t streams, tokens;
    bool burst;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t due_ns)
{
    struct timespec t = { (time_t)(due_ns / 1000000000u), (long)(due_ns % 1000000000u) };
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* ---- the played engine ---- */

static bool engine_prepare(void *arg, err *e)
{
    (void)arg, (void)e;
    return true;
}

static void send_one(ring *out, uint32_t kind, const void *event, size_t bytes)
{
    if (ring_send_wait(out, kind, (view){ event, bytes }) != RING_OK) _exit(1);
}

/* Every answer's request, by the number that its prompt ends in. */
static void await_requests(const struct bench *b, ring *in, uint64_t ids[static STREAMS_MAX])
{
    static uint8_t message[HEARTH_REQUEST_BYTES_MAX];
    for (size_t have = 0; have < b->streams;) {
        struct hearth_request r;
        uint32_t kind;
        size_t bytes;
        int32_t last;
        if (ring_receive_wait(in, &kind, message, &bytes) != RING_OK) _exit(1);
        if (kind != HEARTH_SUBMIT) continue;
        memcpy(&r, message, sizeof r);
        memcpy(&last, message + sizeof r + (r.prompt_tok - 1) * sizeof last, sizeof last);
        ids[last - FIRST_ID] = r.head.id;
        have++;
    }
}

static void engine_run(void *arg, ring *in, ring *out)
{
    const struct bench *b = arg;
    static uint64_t ids[STREAMS_MAX];
    struct hearth_facts facts = { .arch = "played", .tier = "none", .vocab = 512, .width = 16, .layers = 1,
                                  .ctx_train_tok = 8192, .ctx_tok = 8192, .cache_tok = 8192, .sequences = STREAMS_MAX,
                                  .chunk_tok = 512, .threads = 1, .arithmetic = 1 };
    send_one(out, HEARTH_LOADED, &facts, sizeof facts);
    await_requests(b, in, ids);
    uint64_t gap = 1000000000u / RATE / (b->burst ? 1 : b->streams), due = now_ns() + 200000000u;
    for (size_t k = 0; k < b->tokens; k++)
        for (size_t i = 0; i < b->streams; i++) {
            struct hearth_token t = { .head = { .id = ids[i] }, .token = TOKEN, .index = (uint32_t)k };
            if (!b->burst || i == 0) sleep_until(due += gap);
            b->times->put[i][k] = now_ns();
            send_one(out, HEARTH_TOKEN, &t, sizeof t);
        }
    for (size_t i = 0; i < b->streams; i++) {
        struct hearth_finished f = { .head = { .id = ids[i] }, .finish = HEARTH_LENGTH, .prompt_tok = 2,
                                     .made_tok = (uint32_t)b->tokens };
        send_one(out, HEARTH_FINISHED, &f, sizeof f);
    }
    pause();
}

/* ---- the client ---- */

static int dial(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd, (struct sockaddr *)&at, sizeof at) == 0 ? fd : -1;
}

static bool ask(int fd, size_t stream)
{
    char body[128], text[512];
    int len = snprintf(body, sizeof body, "{\"prompt\":[1,%zu],\"stream\":true,\"max_tokens\":%d}", FIRST_ID + stream,
                       TOKENS_MAX);
    static const char head[] = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ";
    len = snprintf(text, sizeof text, "%s%d\r\n\r\n%s", head, len, body);
    return write(fd, text, (size_t)len) == len;
}

static _Noreturn void client(const struct bench *b, uint16_t port)
{
    static size_t frames[STREAMS_MAX];
    static char last[STREAMS_MAX], text[1 << 16];
    struct epoll_event events[64];
    int ep = epoll_create1(0);
    size_t open = b->streams;
    for (size_t i = 0; i < b->streams; i++) {
        int fd = dial(port);
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)fd << 32 | i };
        if (fd < 0 || !ask(fd, i)) _exit(1);
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
    }
    while (open > 0) {
        int count = epoll_wait(ep, events, 64, -1);
        for (int e = 0; e < count; e++) {
            size_t i = events[e].data.u64 & UINT32_MAX;
            int fd = (int)(events[e].data.u64 >> 32);
            ssize_t got = read(fd, text, sizeof text);
            uint64_t now = now_ns();
            for (ssize_t j = 0; j < got; j++) { /* a frame ends with an empty line; JSON has no line's end in it */
                if (text[j] == '\n' && last[i] == '\n' && frames[i] < TOKENS_MAX) b->times->got[i][frames[i]++] = now;
                last[i] = text[j];
            }
            if (got <= 0 || frames[i] >= b->tokens) {
                close(fd);
                open--;
            }
        }
    }
    _exit(0);
}

/* ---- the front door ---- */

static int listen_any(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0) return -1;
    getsockname(fd, (struct sockaddr *)&at, &len);
    *port = ntohs(at.sin_port);
    return fd;
}

static pid_t fork_spinner(void)
{
    struct sched_param ordinary = { 0 };
    pid_t pid = fork();
    if (pid != 0) return pid;
    sched_setscheduler(0, SCHED_OTHER, &ordinary); /* where the whole bench has been given a real-time class */
    setpriority(PRIO_PROCESS, 0, ENGINE_NICE);
    for (volatile uint64_t n = 0;; n++) {}
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int report(const struct bench *b)
{
    double *ms = calloc(b->streams * b->tokens, sizeof *ms);
    size_t count = 0, lost = 0;
    for (size_t i = 0; ms != NULL && i < b->streams; i++)
        for (size_t k = 0; k < b->tokens; k++)
            if (b->times->got[i][k] < b->times->put[i][k]) lost++;
            else ms[count++] = (double)(b->times->got[i][k] - b->times->put[i][k]) * 1e-6;
    if (count == 0) return 1;
    qsort(ms, count, sizeof *ms, by_value);
    printf("%zu tokens of %zu streams, %s: median %.4f ms, p99 %.4f ms, worst %.3f ms, %zu lost\n", count, b->streams,
           b->burst ? "in bursts" : "spread", ms[count / 2], ms[count * 99 / 100], ms[count - 1], lost);
    free(ms);
    return lost > 0;
}

static bool serve(const struct bench *b, const char *path, int listener, pid_t who, err *e)
{
    struct crew_engine played = { engine_prepare, engine_run, (void *)(uintptr_t)b };
    struct crew_settings how = { .path = path, .no_jail = true, .engine = { .threads = 1 }, .engine_played = &played };
    struct service_rings rings;
    struct served_setting set = { .name = view_of("played"), .up = true, .keep_ms = SERVED_KEEP, .rings = &rings,
                                  .service = { .asks = STREAMS_MAX, .ctx_tok = 8192 }, .places = STREAMS_MAX,
                                  .waiting_max = STREAMS_MAX };
    struct server_options o = server_defaults();
    crew *c;
    served *backend;
    server *s;
    o.listeners[o.listener_count++].fd = listener;
    o.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!crew_start(&c, &how, e) || !crew_attach(c, &rings, e) ||
        !served_new(&backend, &set, 1, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 0, e))
        return false;
    o.backend = served_backend(backend);
    if (!server_new(&s, &o, e)) return false;
    for (int status; waitpid(who, &status, WNOHANG) == 0;) server_turn(s, 250);
    server_free(s);
    served_free(backend);
    crew_detach(&rings);
    crew_stop(c);
    return true;
}

int main(int argc, char **argv)
{
    struct bench b = { .streams = argc > 2 ? strtoul(argv[2], NULL, 10) : 0 };
    err e = { 0 };
    uint16_t port;
    pid_t spinners[SPINNERS];
    if (argc != 5 || b.streams < 1 || b.streams > STREAMS_MAX) {
        fprintf(stderr, "usage: ring MODEL STREAMS SECONDS spread|burst\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    b.tokens = (size_t)(strtod(argv[3], NULL) * RATE);
    b.tokens = b.tokens < TOKENS_MAX ? b.tokens : TOKENS_MAX;
    b.burst = strcmp(argv[4], "burst") == 0;
    b.times = mmap(NULL, sizeof *b.times, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int listener = listen_any(&port);
    if (b.times == MAP_FAILED || listener < 0) return 1;
    pid_t who = fork();
    if (who == 0) client(&b, port);
    for (int i = 0; i < SPINNERS; i++) spinners[i] = fork_spinner();
    bool good = serve(&b, argv[1], listener, who, &e);
    for (int i = 0; i < SPINNERS; i++) kill(spinners[i], SIGKILL);
    if (!good) {
        fprintf(stderr, "ring: %s\n", e.text);
        kill(who, SIGKILL);
        return 1;
    }
    return report(&b);
}
