/* What the walls cost: the engine in its jail against the same processes without walls (--no-jail), on the same image.
 *
 *   decode   tokens a second, in turn, the ratio of each round and its median (11 rounds)
 *   start    from the call that makes the engine's process until it has told its facts, with walls and without: the
 *            difference is what the walls take; the rest is checking and binding
 *
 *      make build/release/bench/jail && build/release/hearth pack MODEL IMAGE && build/release/bench/jail IMAGE [tokens] */
#include "kernels/attention.h"
#include "orchestrator/crew.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 11, CTX = 1024 };

struct side {
    crew *crew;
    struct service_rings rings;
    service *service;
    int event_fd;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct service_event next(struct side *s)
{
    struct service_event event = { .kind = SERVICE_EVENT_NONE };
    err e = { 0 };
    while (!service_poll(s->service, &event)) {
        uint64_t rings;
        struct pollfd fd = { .fd = s->event_fd, .events = POLLIN };
        if (poll(&fd, 1, 5) == 0 && !crew_tend(s->crew, &e)) {
            fprintf(stderr, "%s\n", e.text);
            exit(1);
        }
        if (read(s->event_fd, &rings, sizeof rings) < 0) continue;
    }
    return event;
}

static void ready(struct side *s)
{
    while (!service_ready(s->service, NULL, NULL)) (void)next(s);
}

static void begin(struct side *s, const char *path, bool no_jail)
{
    struct crew_settings set = { .path = path, .engine = { .ctx_tok = CTX, .threads = 2, .kv = KV_F16 },
                                 .require = JAIL_REQUIRED, .no_jail = no_jail };
    struct service_settings asks = { .asks = 4, .ctx_tok = CTX };
    err e = { 0 };
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!crew_start(&s->crew, &set, &e) || !crew_attach(s->crew, &s->rings, &e) ||
        !service_new(&s->service, &s->rings, &asks, &e) || !service_bells(s->service, s->event_fd, &e)) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    ready(s);
}

/* Tokens a second behind the first. */
static double decode(struct side *s, uint32_t tokens)
{
    struct service_ask ask = { .kind = SERVICE_PLAIN, .text = { (const uint8_t *)"Once", 4 }, .max_tok = tokens,
                               .sampling = { .top_p = 1, .typical_p = 1, .repetition_penalty = 1, .dry_base = 1 } };
    struct service_event event;
    uint64_t id;
    size_t made = 0;
    double first = 0;
    err e = { 0 };
    if (!service_ask(s->service, &ask, &id, &e)) return 0;
    do {
        event = next(s);
        if (event.kind == SERVICE_EVENT_TOKEN && made++ == 0) first = now_s();
    } while (event.kind != SERVICE_EVENT_FINISHED && event.kind != SERVICE_EVENT_ERROR);
    return (double)(made - 1) / (now_s() - first);
}

/* The engine ended, and how long the next one takes. */
static double restart(struct side *s)
{
    int fds[SERVICE_PEERS];
    err e = { 0 };
    crew_watch(s->crew, fds);
    struct pollfd ended = { .fd = fds[SERVICE_ENGINE], .events = POLLIN };
    kill(crew_pid(s->crew, SERVICE_ENGINE), SIGKILL);
    poll(&ended, 1, 5000);
    nanosleep(&(struct timespec){ .tv_nsec = 250000000 }, NULL); /* no three short lives in a row */
    double start = now_s();
    if (!crew_tend(s->crew, &e)) fprintf(stderr, "%s\n", e.text);
    while (service_ready(s->service, NULL, NULL)) (void)next(s);
    ready(s);
    return now_s() - start;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x)
{
    qsort(x, ROUNDS, sizeof *x, by_size);
    return x[ROUNDS / 2];
}

int main(int argc, char **argv)
{
    struct side jailed = { 0 }, open = { 0 };
    double ratio[ROUNDS], walls[ROUNDS], none[ROUNDS];
    uint32_t tokens = argc > 2 ? (uint32_t)atoi(argv[2]) : 40;
    if (argc < 2) return 2;
    begin(&jailed, argv[1], false);
    begin(&open, argv[1], true);
    decode(&jailed, tokens);
    decode(&open, tokens);
    for (int i = 0; i < ROUNDS; i++) {
        bool first = i % 2 == 0;
        double a = decode(first ? &jailed : &open, tokens), b = decode(first ? &open : &jailed, tokens);
        ratio[i] = first ? a / b : b / a;
        printf("round %2d: %.1f tok/s jailed, %.1f without, %.4f\n", i + 1, first ? a : b, first ? b : a, ratio[i]);
    }
    for (int i = 0; i < ROUNDS; i++) {
        walls[i] = restart(&jailed);
        none[i] = restart(&open);
    }
    printf("decode: median ratio %.4f\n", median(ratio));
    printf("start: %.2f ms jailed, %.2f ms without walls (medians of %d)\n", median(walls) * 1e3, median(none) * 1e3,
           ROUNDS);
    service_free(jailed.service);
    service_free(open.service);
    crew_stop(jailed.crew);
    crew_stop(open.crew);
    return 0;
}
