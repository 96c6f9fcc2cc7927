/* What the walls cost: the engine's process in its jail against the same process without walls, on the same image.
 *
 *   decode   tokens a second, in turn, the ratio of each round and its median (11 rounds, processes of their own each)
 *   start    from the call that makes the process until it tells what it has loaded, in turn; the median of the
 *            differences is what the walls take beyond mapping, checking and binding
 *
 *      make build/release/bench/jail && build/release/hearth pack MODEL IMAGE
 *      build/release/bench/jail IMAGE [tokens] [control]      control: no walls on either side, what chance does */
#include "kernels/attention.h"
#include "orchestrator/worker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 11, CTX = 1024 };

struct side {
    uint32_t skip;
    ring to, from, send, hear; /* the owner's, and our ends */
    struct engine_worker job;
    struct jail_process process;
    uint64_t id;
};

static uint8_t event[HEARTH_EVENT_BYTES_MAX];
static int image_fd;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void need(bool good, const err *e)
{
    if (good) return;
    fprintf(stderr, "bench: %s\n", e->text);
    exit(1);
}

static uint32_t next(struct side *s)
{
    uint32_t kind = 0;
    size_t bytes;
    while (ring_receive_wait(&s->hear, &kind, event, &bytes) != RING_OK) {}
    if (kind != HEARTH_ERROR) return kind;
    fprintf(stderr, "bench: %s\n", (char *)event + offsetof(struct hearth_error, text));
    exit(1);
}

/* Seconds until the engine says what it has loaded. */
static double start(struct side *s)
{
    struct jail_ring ends[] = { { &s->to, RING_READER }, { &s->from, RING_WRITER } };
    struct jail_options o = { .require = s->skip ? 0 : JAIL_REQUIRED, .skip = s->skip, .fds = &image_fd, .fd_count = 1,
                              .rings = ends, .ring_count = 2 };
    struct jail_job job = { engine_worker_prepare, engine_worker_run, &s->job };
    err e = { 0 };
    double begin = now_s();
    need(jail_spawn(&JAIL_ENGINE, &o, &job, &s->process, &e), &e);
    while (next(s) != HEARTH_LOADED) {}
    return now_s() - begin;
}

static double restart(struct side *s)
{
    jail_free(&s->process);
    ring_restart(&s->to, RING_READER);
    ring_restart(&s->from, RING_WRITER);
    return start(s);
}

static void open_side(struct side *s, size_t image_bytes, bool walls)
{
    err e = { 0 };
    *s = (struct side){ .skip = walls ? 0 : JAIL_ALL & ~jail_bit(JAIL_DESCRIPTORS) };
    need(ring_new(&s->to, 1 << 25, HEARTH_REQUEST_BYTES_MAX, &e) &&
             ring_new(&s->from, 1 << 22, HEARTH_EVENT_BYTES_MAX, &e) &&
             ring_attach(&s->to, RING_WRITER, &s->send, &e) && ring_attach(&s->from, RING_READER, &s->hear, &e),
         &e);
    s->job = (struct engine_worker){ .set = { .ctx_tok = CTX, .threads = 2, .kv = KV_F16 },
                                     .ends = { &s->to, &s->from },
                                     .image_bytes = image_bytes, .room_bytes = (uint64_t)8 << 30 };
    start(s);
}

/* Tokens a second behind the first. */
static double decode(struct side *s, uint32_t tokens)
{
    struct {
        struct hearth_request r;
        int32_t ids[2];
    } m = { { .head.id = ++s->id, .max_tok = tokens, .prompt_tok = 2, .n = 1, .weight = 1,
              .sampling = { .top_p = 1, .typical_p = 1, .repetition_penalty = 1, .dry_base = 1 } }, { 1, 2 } };
    size_t made = 0;
    double first = 0;
    while (ring_send(&s->send, HEARTH_SUBMIT, (view){ (uint8_t *)&m, sizeof m }) != RING_OK) {}
    for (uint32_t kind = 0; kind != HEARTH_FINISHED;)
        if ((kind = next(s)) == HEARTH_TOKEN && made++ == 0) first = now_s();
    return (double)(made - 1) / (now_s() - first);
}

/* Where a process's memory lies, and in pages of what size, is worth some percent for as long as it lives: so each
 * round has processes of its own, warm. */
static void renew(struct side *s, uint32_t tokens)
{
    restart(s);
    decode(s, tokens);
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
    struct side walls, open_air;
    struct stat st;
    double ratio[ROUNDS], with[ROUNDS], without[ROUNDS], more[ROUNDS];
    uint32_t tokens = argc > 2 ? (uint32_t)atoi(argv[2]) : 40;
    if (argc < 2 || (image_fd = open(argv[1], O_RDONLY | O_CLOEXEC)) < 0 || fstat(image_fd, &st) != 0) return 2;
    bool control = argc > 3 && strcmp(argv[3], "control") == 0;
    open_side(&walls, (size_t)st.st_size, !control);
    open_side(&open_air, (size_t)st.st_size, false);
    for (int i = 0; i < ROUNDS; i++) {
        bool first = i % 2 == 0;
        renew(first ? &walls : &open_air, tokens);
        renew(first ? &open_air : &walls, tokens);
        double a = decode(first ? &walls : &open_air, tokens), b = decode(first ? &open_air : &walls, tokens);
        ratio[i] = first ? a / b : b / a;
        printf("round %2d: %.1f tok/s with walls, %.1f without, %.4f\n", i + 1, first ? a : b, first ? b : a, ratio[i]);
    }
    for (int i = 0; i < ROUNDS; i++) {
        with[i] = restart(&walls);
        without[i] = restart(&open_air);
        more[i] = with[i] - without[i];
    }
    printf("decode: median ratio %.4f\n", median(ratio));
    printf("start: %.2f ms with walls, %.2f without, %.2f between (medians of %d)\n", median(with) * 1e3,
           median(without) * 1e3, median(more) * 1e3, ROUNDS);
    jail_free(&walls.process);
    jail_free(&open_air.process);
    return 0;
}
