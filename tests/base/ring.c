/* base/ring.h: limits, order, sleeping, one-way maps, restarts, and a peer that writes whatever it likes. */
#include "base/ring.h"

#include "base/limits.h"
#include "base/prng.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DATA_BYTES = 4096, MESSAGE_BYTES = 1000 };

/* Both ends in one process, for tests: two copies of the owner's struct, each with maps of its own by dup. */
static bool ends(ring *owner, ring *writer, ring *reader, size_t data_bytes, size_t message_bytes)
{
    err e = { 0 };
    if (!CHECK(ring_new(owner, data_bytes, message_bytes, &e), "%s", e.text)) return false;
    *writer = *owner;
    writer->role = RING_WRITER;
    writer->owner = false;
    *reader = *owner;
    reader->role = RING_READER;
    reader->owner = false;
    return true;
}

static void limits(void)
{
    static const struct { const char *says; size_t data, message; enum err_code want; } rows[] = {
        { "a page of data", 4096, 100, ERR_NONE },
        { "half a page", 2048, 100, ERR_LIMIT },
        { "not a power of two", 4096 * 3, 100, ERR_LIMIT },
        { "the largest message", 4096, 4088, ERR_NONE },
        { "one byte over it", 4096, 4089, ERR_LIMIT },
        { "one byte below it", 4096, 4087, ERR_NONE },
        { "no message", 4096, 0, ERR_LIMIT },
        { "the largest ring", RING_BYTES_MAX, RING_MESSAGE_BYTES_MAX, ERR_NONE },
        { "twice the largest ring", (size_t)RING_BYTES_MAX * 2, 100, ERR_LIMIT },
        { "a message over the limit", RING_BYTES_MAX, (size_t)RING_MESSAGE_BYTES_MAX + 1, ERR_LIMIT },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ring r;
        err e = { 0 };
        bool good = ring_new(&r, rows[i].data, rows[i].message, &e);
        CHECK(e.code == rows[i].want && good == (e.code == ERR_NONE), "%s: %d, %s", rows[i].says, e.code, e.text);
        ring_free(&r);
        ring_free(&r);
    }
}

/* Every length through every offset of a small ring, the kind and all bytes compared. */
static void order(void)
{
    ring owner, w, r;
    if (!ends(&owner, &w, &r, DATA_BYTES, MESSAGE_BYTES)) return;
    uint8_t out[MESSAGE_BYTES], in[MESSAGE_BYTES];
    size_t wrong = 0;
    for (size_t i = 0; i < 20000; i++) {
        size_t len = prng_u32(1, 0, i) % (MESSAGE_BYTES + 1), got = 0;
        for (size_t j = 0; j < len; j++) out[j] = (uint8_t)(i + j);
        uint32_t kind = 0;
        wrong += ring_send(&w, (uint32_t)i, (view){ out, len }) != RING_OK;
        wrong += ring_receive(&r, &kind, in, &got) != RING_OK;
        wrong += kind != i || got != len || memcmp(in, out, len) != 0;
    }
    CHECK(wrong == 0, "20000 messages: %zu wrong", wrong);
    uint32_t kind;
    size_t len;
    CHECK(ring_receive(&r, &kind, in, &len) == RING_EMPTY, "an empty ring says so");
    size_t sent = 0;
    while (sent < 1000 && ring_send(&w, 7, (view){ out, 56 }) == RING_OK) sent++;
    CHECK(sent == DATA_BYTES / 64, "64 units of 64 bytes fill it: %zu", sent);
    CHECK(ring_receive(&r, &kind, in, &len) == RING_OK && len == 56 &&
              ring_send(&w, 7, (view){ out, 57 }) == RING_FULL && ring_send(&w, 7, (view){ out, 56 }) == RING_OK,
          "room for exactly what was read");
    ring_free(&owner);
}

/* A message from one process to another and back, sleeping in between. */
static void processes(void)
{
    ring there, back;
    err e = { 0 };
    if (!CHECK(ring_new(&there, 65536, MESSAGE_BYTES, &e) && ring_new(&back, 65536, MESSAGE_BYTES, &e), "%s", e.text))
        return;
    CHECK(ring_lend(&there, true, &e) && ring_lend(&back, true, &e), "%s", e.text);
    enum { MESSAGES = 20000 };
    uint8_t bytes[MESSAGE_BYTES];
    uint32_t kind;
    size_t len;
    pid_t pid = fork();
    if (pid == 0) {
        if (!ring_take(&there, RING_READER, &e) || !ring_take(&back, RING_WRITER, &e)) _exit(2);
        for (size_t i = 0; i < MESSAGES; i++) {
            if (ring_receive_wait(&there, &kind, bytes, &len) != RING_OK) _exit(3);
            if (ring_send_wait(&back, kind + 1, (view){ bytes, len }) != RING_OK) _exit(4);
        }
        _exit(0);
    }
    CHECK(ring_take(&there, RING_WRITER, &e) && ring_take(&back, RING_READER, &e), "%s", e.text);
    size_t wrong = 0;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t i = 0; i < MESSAGES; i++) {
        memset(bytes, (int)(i & 255), 16);
        wrong += ring_send_wait(&there, (uint32_t)i, (view){ bytes, 16 }) != RING_OK;
        wrong += ring_receive_wait(&back, &kind, bytes, &len) != RING_OK;
        wrong += kind != i + 1 || len != 16 || bytes[0] != (i & 255);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK(wrong == 0 && status == 0, "%d round trips between processes: %zu wrong, status %d", MESSAGES, wrong, status);
    printf("round trip of two processes: %.0f ns\n",
           ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / MESSAGES);
    ring_free(&there);
    ring_free(&back);
}

/* What the reader's process could try on the writer's memory, and the other way round; each in a child of its own. */
static bool denied(int attempt, enum ring_role role)
{
    ring r;
    err e = { 0 };
    if (!ring_new(&r, DATA_BYTES, MESSAGE_BYTES, &e) || !ring_lend(&r, true, &e)) return false;
    *(volatile char *)r.page[RING_WRITER] = *(volatile char *)r.page[RING_READER] = 1;
    pid_t pid = fork();
    if (pid == 0) {
        enum ring_role other = role == RING_WRITER ? RING_READER : RING_WRITER;
        int fd = dup(r.fd[other]);
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (!ring_take(&r, role, &e)) _exit(2);
        void *page = r.page[other];
        bool allowed = false;
        switch (attempt) {
        case 0: allowed = mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0; break;
        case 1: allowed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED; break;
        case 2: allowed = pwrite(fd, "x", 1, 0) == 1; break;
        case 3: allowed = ftruncate(fd, 0) == 0; break;
        case 4: allowed = ftruncate(fd, 1 << 20) == 0; break;
        case 5: allowed = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0; break;
        case 6: /* by its effect: an emulator answers 0 and does nothing */
            allowed = madvise(page, 4096, MADV_REMOVE) == 0 && *(volatile char *)page == 0;
            break;
        case 7: allowed = fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0; break;
        case 8: {
            int again = open(path, O_RDWR);
            allowed = again >= 0 && mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) != MAP_FAILED;
            break;
        }
        case 9:
            signal(SIGSEGV, SIG_DFL);
            *(volatile char *)page = 1;
            allowed = true;
            break;
        default: allowed = fcntl(fd, F_GETFD) >= 0; /* the control: something that must be allowed */
        }
        _exit(allowed ? 1 : 0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    ring_free(&r);
    return status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) ||
           (attempt == 9 && WIFEXITED(status) && WEXITSTATUS(status) > 4); /* a sanitizer reports the fault and exits */
}

static void one_way(void)
{
    static const char *const says[] = { "mprotect to writable",
                                        "a second writable map",
                                        "pwrite",
                                        "shrinking",
                                        "growing",
                                        "punching a hole",
                                        "MADV_REMOVE",
                                        "another seal",
                                        "opening it again through /proc",
                                        "a plain store" };
    for (int i = 0; i < 10; i++) {
        CHECK(denied(i, RING_READER), "reader, on the writer's memfd: %s is allowed", says[i]);
        CHECK(denied(i, RING_WRITER), "writer, on the reader's memfd: %s is allowed", says[i]);
    }
    CHECK(!denied(10, RING_READER), "the check sees what is allowed");
}

static void restarts(void)
{
    ring owner, w, r;
    if (!ends(&owner, &w, &r, DATA_BYTES, MESSAGE_BYTES)) return;
    uint8_t in[MESSAGE_BYTES];
    uint32_t kind;
    size_t len;
    CHECK(ring_send(&w, 1, view_of("lost")) == RING_OK, "before the writer dies");
    ring_restart(&owner, RING_WRITER);
    ring again = owner;
    again.owner = false;
    again.role = RING_WRITER;
    again.epoch = 1;
    CHECK(ring_send(&again, 2, view_of("first")) == RING_OK, "the successor writes before the reader has noticed");
    CHECK(ring_receive(&r, &kind, in, &len) == RING_RESTARTED, "the reader is told");
    CHECK(ring_receive(&r, &kind, in, &len) == RING_OK && kind == 2 && len == 5, "and reads the successor's message");
    ring_restart(&owner, RING_READER);
    CHECK(ring_send(&again, 3, view_of("x")) == RING_RESTARTED, "the writer is told of a new reader");
    CHECK(ring_send(&again, 3, view_of("x")) == RING_OK, "and goes on");
    ring next = owner;
    next.owner = false;
    next.role = RING_READER;
    next.epoch = 2;
    CHECK(ring_receive(&next, &kind, in, &len) == RING_OK && kind == 3, "the new reader reads");
    ring_free(&owner);
}

/* The hostile peer: a thread that owns the other page (and for a reader's peer the data) and writes at random. */
struct hostile {
    ring *owner;
    enum ring_role role; /* whose memory it is */
    _Atomic bool stop;
    uint64_t seed;
};

static void *hostile_main(void *arg)
{
    struct hostile *h = arg;
    _Atomic uint64_t *index = (_Atomic uint64_t *)(void *)h->owner->page[h->role];
    _Atomic uint64_t *data = (_Atomic uint64_t *)(void *)h->owner->data;
    for (uint64_t i = 0; !atomic_load(&h->stop); i++) {
        uint32_t draw[4];
        prng_block(h->seed, 1, i, draw);
        uint64_t now = atomic_load(index), big = (uint64_t)draw[2] << 32 | draw[3];
        uint64_t near = atomic_load((const _Atomic uint64_t *)(void *)h->owner->page[1 - h->role]); /* where we stand */
        const uint64_t words[] = {
            big,       now + draw[2] % 600,       now - draw[2] % 600,    now ^ 1, 0, UINT64_MAX, now + 512,
            now + 513, now + ((uint64_t)1 << 48), now & ~(uint64_t)0xFFFF
        };
        uint64_t likely = h->role == RING_WRITER ? near + draw[2] % 513 : near - draw[2] % 513;
        if (draw[0] % 8 == 0) atomic_store(index, draw[0] % 128 == 0 ? words[draw[1] % 10] : likely);
        if (h->role != RING_WRITER) continue;
        const uint64_t headers[] = { big, draw[2] % 1100, 1000, 1001, UINT32_MAX, 0, big & 0x3FF };
        atomic_store(&data[draw[3] % (DATA_BYTES / 8)], headers[draw[1] % 7]);
    }
    return NULL;
}

static void hostile(double seconds)
{
    for (int side = RING_WRITER; side <= RING_READER; side++) {
        ring owner, w, r;
        if (!ends(&owner, &w, &r, DATA_BYTES, MESSAGE_BYTES)) return;
        struct hostile h = { .owner = &owner, .role = (enum ring_role)side, .seed = (uint64_t)time(NULL) };
        pthread_t thread;
        pthread_create(&thread, NULL, hostile_main, &h);
        struct { uint8_t before[64], bytes[MESSAGE_BYTES], after[64]; } box;
        memset(&box, 0xA5, sizeof box);
        size_t seen[RING_BROKEN + 1] = { 0 }, wrong = 0;
        struct timespec from, now;
        double past = 0;
        clock_gettime(CLOCK_MONOTONIC, &from);
        /* So long, and on a busy machine until the two have met in every way, within a minute. */
        for (bool met = false; past < seconds || (!met && past < 60);) {
            for (int i = 0; i < 1000; i++) {
                uint32_t kind = 0;
                size_t len = 0;
                enum ring_status status = side == RING_WRITER ? ring_receive(&r, &kind, box.bytes, &len)
                                                              : ring_send(&w, 1, (view){ box.bytes, (size_t)i });
                seen[status]++;
                wrong += len > MESSAGE_BYTES;
                ring *mine = side == RING_WRITER ? &r : &w;
                if (status == RING_BROKEN) ring_restart(&owner, (enum ring_role)side);
                wrong += mine->count > ((uint64_t)1 << 48);
            }
            clock_gettime(CLOCK_MONOTONIC, &now);
            past = (double)(now.tv_sec - from.tv_sec) + (double)(now.tv_nsec - from.tv_nsec) * 1e-9;
            met = seen[RING_OK] > 0 && seen[RING_BROKEN] > 0 && seen[RING_RESTARTED] > 0;
        }
        atomic_store(&h.stop, true);
        pthread_join(thread, NULL);
        for (size_t i = 0; i < 64; i++) wrong += box.before[i] != 0xA5 || box.after[i] != 0xA5;
        CHECK(wrong == 0, "hostile %s: %zu wrong", side == RING_WRITER ? "writer" : "reader", wrong);
        CHECK(seen[RING_OK] > 0 && seen[RING_BROKEN] > 0 && seen[RING_RESTARTED] > 0,
              "hostile peer: the run saw every way: ok %zu, broken %zu, restarted %zu", seen[RING_OK],
              seen[RING_BROKEN], seen[RING_RESTARTED]);
        printf("hostile %s: ok %zu, empty %zu, full %zu, restarted %zu, broken %zu\n",
               side == RING_WRITER ? "writer" : "reader", seen[RING_OK], seen[RING_EMPTY], seen[RING_FULL],
               seen[RING_RESTARTED], seen[RING_BROKEN]);
        ring_free(&owner);
    }
}

int main(int argc, char **argv)
{
    limits();
    order();
    processes();
    one_way();
    restarts();
    hostile(argc > 1 ? strtod(argv[1], NULL) / 2 : 1.0); /* seconds, for longer runs */
    return check_done();
}
