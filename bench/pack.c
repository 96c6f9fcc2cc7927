/* Packing against memory: a model file (in the page cache) packed by two threads into a fresh memfd, beside the same
 * two threads filling a fresh memfd of the same length. A warm-up, then rounds that alternate; the median of the
 * ratios.
 *
 *   make build/release/bench/pack && build/release/bench/pack MODEL.gguf [threads]
 *   (hearth bench make-model makes a file to try it on) */
#include "base/checked.h"
#include "model/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 5, PIECE_BYTES = 1 << 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static uint8_t *fresh(size_t bytes, int *fd)
{
    *fd = memfd_create("bench", MFD_CLOEXEC);
    if (*fd < 0 || ftruncate(*fd, (off_t)bytes) != 0) stop("no memfd");
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (base == MAP_FAILED) stop("no memory");
    return base;
}

struct fill {
    uint8_t *out;
    size_t bytes;
};

static void fill_task(void *arg, size_t piece, size_t thread)
{
    const struct fill *f = arg;
    size_t at = piece * PIECE_BYTES;
    (void)thread;
    memset(f->out + at, 0x5A, min_size(PIECE_BYTES, f->bytes - at));
}

/* Seconds of one filling, or, with `p`, of one packing. */
static double once(const struct packing *p, size_t bytes, team *t)
{
    int fd;
    err e = { 0 };
    struct fill f = { fresh(bytes, &fd), bytes };
    double begin = now();
    if (p == NULL) team_run(t, ceil_div(bytes, PIECE_BYTES), fill_task, &f);
    else if (!image_write(&p->source, &p->layout, f.out, t, NULL, NULL, NULL, &e)) stop(e.text);
    double seconds = now() - begin;
    munmap(f.out, bytes);
    close(fd);
    return seconds;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    struct packing p;
    team *t;
    err e = { 0 };
    double ratios[ROUNDS];
    if (argc < 2) stop("usage: pack MODEL.gguf [threads]");
    size_t threads = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 2;
    if (!packing_open(&p, argv[1], &e) || !team_new(&t, threads, NULL, 0, &e)) stop(e.text);
    size_t bytes = p.layout.bytes;
    once(&p, bytes, t);
    once(NULL, bytes, t);
    for (size_t i = 0; i < ROUNDS; i++) {
        double fill = once(NULL, bytes, t), pack = once(&p, bytes, t);
        ratios[i] = fill / pack;
        printf("fill %.2f GB/s, pack %.2f GB/s: %.0f%%\n", (double)bytes / fill / 1e9, (double)bytes / pack / 1e9,
               100 * ratios[i]);
    }
    qsort(ratios, ROUNDS, sizeof *ratios, by_size);
    printf("%zu bytes, %zu threads: packing at %.0f%% of filling (median of %d)\n", bytes, threads,
           100 * ratios[ROUNDS / 2], ROUNDS);
    packing_close(&p);
    team_free(t);
    return 0;
}
