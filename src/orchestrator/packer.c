/* Model files into images, in a jail: see packer.h. The file is mapped while system calls are open and looked at when
 * they are not; the memfd is mapped longer than it is, and grows when its size is known. */
#include "orchestrator/packer.h"

#include "base/checked.h"
#include "base/team.h"
#include "hearth.h"
#include "model/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SHARDS_MAX = JAIL_FDS_MAX - 2, /* of a model that is packed in a jail; more: hearth pack writes a file first */
    RING_BYTES = 1 << 14,
    MEMFD_NOEXEC = 0x8, /* MFD_NOEXEC_SEAL, newer than the headers of Debian 12 */
    TRIES_MAX = 3 /* of a packer that somebody ends from outside: an operator, the kernel short of memory */
};

#define ARENA_BYTES ((size_t)1 << 33) /* addresses: a file's head and a vocabulary at their limits */

/* ORDER: what the packer tells. */
enum pack_event { PACK_PROGRESS = 1, PACK_DONE = 2, PACK_ERROR = 3 };

struct pack_counts {
    uint64_t done_bytes, all_bytes;
};

struct pack_job {
    ring *out;
    size_t count, file_bytes[SHARDS_MAX], image_bytes_max, threads;
    /* made by prepare */
    view files[SHARDS_MAX];
    uint8_t *image;
    arena arena;
    team *team;
};

/* ---- in the jail ---- */

/* The descriptors: the first file, the memfd, the other files. */
static int fd_of_file(size_t i)
{
    return JAIL_FD_FIRST + (i == 0 ? 0 : 1 + (int)i);
}

static bool prepare(void *arg, err *e)
{
    struct pack_job *job = arg;
    for (size_t i = 0; i < job->count; i++) {
        void *base = mmap(NULL, job->file_bytes[i], PROT_READ, MAP_PRIVATE, fd_of_file(i), 0);
        if (base == MAP_FAILED) return fail(e, ERR_IO, ERR_NO_OFFSET, "cannot map: %s", strerror(errno));
        job->files[i] = (view){ base, job->file_bytes[i] };
    }
    void *base = mmap(NULL, job->image_bytes_max, PROT_READ | PROT_WRITE, MAP_SHARED, JAIL_FD_FIRST + 1, 0);
    if (base == MAP_FAILED)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "no room for %zu bytes: %s", job->image_bytes_max, strerror(errno));
    job->image = base;
    return arena_new(&job->arena, ARENA_BYTES, e) && team_new(&job->team, job->threads, NULL, 0, e);
}

static void tell(const struct pack_job *job, enum pack_event kind, const void *message, size_t bytes)
{
    (void)ring_send_wait(job->out, kind, (view){ message, bytes });
}

static void tell_progress(void *arg, size_t done_bytes, size_t all_bytes)
{
    struct pack_counts counts = { done_bytes, all_bytes };
    const struct pack_job *job = arg;
    (void)ring_send(job->out, PACK_PROGRESS, (view){ (const uint8_t *)&counts, sizeof counts }); /* full: not told */
}

static bool pack(struct pack_job *job, size_t *bytes, err *e)
{
    struct packing p;
    if (!packing_read(&p, job->files, job->count, &job->arena, e)) return false;
    *bytes = p.layout.bytes;
    if (*bytes > job->image_bytes_max)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "the image would have %zu bytes, planned for %zu", *bytes,
                    job->image_bytes_max);
    if (ftruncate(JAIL_FD_FIRST + 1, (off_t)*bytes) != 0)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "weights: no room for %zu bytes", *bytes);
    return image_write(&p.source, &p.layout, job->image, job->team, NULL, tell_progress, job, e);
}

static void run(void *arg)
{
    struct pack_job *job = arg;
    struct pack_counts counts = { 0 };
    size_t bytes = 0;
    err e = { 0 };
    if (!pack(job, &bytes, &e)) {
        e.text[sizeof e.text - 1] = '\0';
        tell(job, PACK_ERROR, &e, sizeof e);
        return;
    }
    counts.done_bytes = counts.all_bytes = bytes;
    tell(job, PACK_DONE, &counts, sizeof counts);
}

/* ---- outside ---- */

/* The files of a model: the one that was named, and where its name says "-00001-of-000NN.gguf" the others. */
static bool open_files(const char *path, int fds[SHARDS_MAX], size_t sizes[SHARDS_MAX], size_t *count, err *e)
{
    char one[4096];
    size_t len = strlen(path), shards = 1;
    const char *tail = len > 20 ? path + len - 20 : "";
    unsigned of = 0;
    int end = 0;
    if (sscanf(tail, "-00001-of-%5u.gguf%n", &of, &end) == 1 && end == 20) shards = of < 1 ? 1 : of;
    if (shards > SHARDS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: %zu files, at most %d (hearth pack makes one of them)", path,
                    shards, SHARDS_MAX);
    for (*count = 0; *count < shards; ++*count) {
        struct stat st;
        if (shards == 1) snprintf(one, sizeof one, "%s", path);
        else snprintf(one, sizeof one, "%.*s-%05zu-of-%05zu.gguf", (int)(len - 20), path, *count + 1, shards);
        int fd = open(one, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: cannot open: %s", one, strerror(errno));
        fds[*count] = fd;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
            sizes[*count] = (size_t)st.st_size;
            continue;
        }
        ++*count;
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: not a regular file, or empty", one);
    }
    return true;
}

/* A memfd that nothing can be executed from, where the kernel knows how. */
static int image_memfd(void)
{
    int fd = memfd_create("hearth-image", MFD_CLOEXEC | MFD_ALLOW_SEALING | MEMFD_NOEXEC);
    return fd >= 0 || errno != EINVAL ? fd : memfd_create("hearth-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

struct packer {
    char path[4096];
    struct pack_settings set;
    struct pack_job job;
    int fd;                /* the memfd; -1: none, or the caller has it */
    ring owner, from;      /* from: our end */
    struct jail_process process;
    int tried;
    bool done, failed;     /* what it has told */
    size_t bytes;
    err why;
};

/* What it has told, so far. */
static void hear(packer *p)
{
    uint8_t message[sizeof(err)];
    uint32_t kind;
    size_t len;
    while (ring_receive(&p->from, &kind, message, &len) == RING_OK) {
        struct pack_counts counts;
        if (kind == PACK_ERROR && len == sizeof p->why) {
            memcpy(&p->why, message, sizeof p->why);
            p->why.text[sizeof p->why.text - 1] = '\0';
            p->failed = true;
        } else if (len == sizeof counts) {
            memcpy(&counts, message, sizeof counts);
            p->done = p->done || kind == PACK_DONE;
            if (kind == PACK_DONE) p->bytes = (size_t)counts.all_bytes;
            if (p->set.progress != NULL)
                p->set.progress(p->set.arg, (size_t)counts.done_bytes, (size_t)counts.all_bytes);
        }
    }
}

/* What the packer said of the size is what the kernel says of it, and nobody can write it any more. */
static bool seal(int fd, size_t bytes, const char *path, err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || (size_t)st.st_size != bytes)
        return fail(e, ERR_STATE, ERR_NO_OFFSET, "%s: the packer says %zu bytes, there are %lld", path, bytes,
                    (long long)st.st_size);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: the image cannot be sealed: %s", path, strerror(errno));
    return true;
}

/* Ends the process and lets go of what one try holds. */
static void clear(packer *p)
{
    jail_free(&p->process);
    ring_free(&p->from);
    ring_free(&p->owner);
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    p->process.pidfd = -1;
    p->done = p->failed = false;
}

static bool spawn(packer *p, err *e)
{
    int files[SHARDS_MAX], fds[SHARDS_MAX + 1];
    struct pack_job *job = &p->job;
    *job = (struct pack_job){ .threads = p->set.threads, .out = &p->owner };
    bool good = open_files(p->path, files, job->file_bytes, &job->count, e);
    p->fd = good ? image_memfd() : -1;
    if (good && p->fd < 0) good = fail(e, ERR_IO, ERR_NO_OFFSET, "%s: no memfd: %s", p->path, strerror(errno));
    if (good) {
        size_t all = 0;
        for (size_t i = 0; i < job->count; i++) all += job->file_bytes[i];
        /* An image is at most 1% and 1 MiB larger than its file; a small one's padding is bounded by its tensors. */
        job->image_bytes_max = all + all / 8 + ((size_t)256 << 20);
        fds[0] = files[0];
        fds[1] = p->fd;
        for (size_t i = 1; i < job->count; i++) fds[i + 1] = files[i];
        struct jail_ring end = { &p->owner, RING_WRITER };
        struct jail_options o = { .require = p->set.require, .skip = p->set.skip, .fds = fds,
                                  .fd_count = job->count + 1, .rings = &end, .ring_count = 1,
                                  .file_bytes = job->image_bytes_max };
        struct jail_job jail_job = { prepare, run, job };
        good = ring_new(&p->owner, RING_BYTES, sizeof(err), e) &&
               ring_attach(&p->owner, RING_READER, &p->from, e) &&
               jail_spawn(&JAIL_PACKER, &o, &jail_job, &p->process, e);
    }
    for (size_t i = 0; i < job->count; i++) close(files[i]);
    p->tried++;
    return good;
}

bool packer_start(packer **out, const char *path, const struct pack_settings *set, err *e)
{
    packer *p = calloc(1, sizeof *p);
    *out = NULL;
    if (p == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "no memory for a packer");
    p->set = *set;
    p->fd = p->process.pidfd = -1;
    bool fits = snprintf(p->path, sizeof p->path, "%s", path) < (int)sizeof p->path ||
                fail(e, ERR_LIMIT, ERR_NO_OFFSET, "model: a path over %zu bytes", sizeof p->path);
    if (fits && spawn(p, e)) *out = p;
    else packer_free(p);
    return *out != NULL;
}

bool packer_look(packer *p, int wait_ms, int *fd, size_t *bytes, err *e)
{
    struct jail_end end;
    *fd = -1;
    bool ended = jail_wait(&p->process, wait_ms, &end);
    hear(p); /* after the look: what it told before its end is all there */
    if (!ended) return true;
    if (p->failed) {
        bool known = p->why.code > ERR_NONE && p->why.code <= ERR_CANCELLED;
        return fail(e, known ? p->why.code : ERR_VALUE, p->why.offset, "%s: %s", p->path, p->why.text);
    }
    if (p->done && end.code == 0) {
        if (!seal(p->fd, p->bytes, p->path, e)) return false;
        *fd = p->fd;
        *bytes = p->bytes;
        p->fd = -1;
        return true;
    }
    bool killed = end.signal == SIGKILL && !end.crashed; /* what a file did to it ends it in another way */
    if (!killed || p->tried == TRIES_MAX)
        return fail(e, ERR_STATE, ERR_NO_OFFSET, "%s: the packer ended before it was done: %s", p->path, end.text);
    if (p->set.log != NULL) p->set.log(p->set.arg, "packer: it was killed; started again");
    clear(p);
    return spawn(p, e);
}

int packer_watch(const packer *p)
{
    return p->process.pidfd;
}

void packer_free(packer *p)
{
    if (p == NULL) return;
    clear(p);
    free(p);
}
