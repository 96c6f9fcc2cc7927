/* Model files into images, in a jail: see packer.h. The file is mapped while system calls are open and looked at when
 * they are not; the memfd is mapped longer than it is, and grows when its size is known. */
#include "orchestrator/packer.h"

#include "base/checked.h"
#include "base/team.h"
#include "hearth.h"
#include "model/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SHARDS_MAX = JAIL_FDS_MAX - 2, /* of a model that is packed in a jail; more: hearth pack writes a file first */
    RING_BYTES = 1 << 14,
    MEMFD_NOEXEC = 0x8, /* MFD_NOEXEC_SEAL, newer than the headers of Debian 12 */
    LOOK_MS = 20,
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

/* Listens until the process ends. */
static bool listen(struct jail_process *p, ring *from, const char *path, const struct pack_settings *set,
                   size_t *bytes, bool *killed, err *e)
{
    uint8_t message[sizeof(err)];
    bool done = false, ended = false;
    struct jail_end end = { .code = -1 };
    for (;;) {
        uint32_t kind;
        size_t len;
        enum ring_status status = ring_receive(from, &kind, message, &len);
        if (status == RING_OK && kind == PACK_ERROR && len == sizeof(err)) {
            err why;
            memcpy(&why, message, sizeof why);
            why.text[sizeof why.text - 1] = '\0';
            err_set(e, why.code > ERR_NONE && why.code <= ERR_CANCELLED ? why.code : ERR_VALUE, why.offset, "%s: %s",
                    path, why.text);
        } else if (status == RING_OK && len == sizeof(struct pack_counts)) {
            struct pack_counts counts;
            memcpy(&counts, message, sizeof counts);
            done = done || kind == PACK_DONE;
            if (kind == PACK_DONE) *bytes = (size_t)counts.all_bytes;
            if (set->progress != NULL) set->progress(set->arg, (size_t)counts.done_bytes, (size_t)counts.all_bytes);
        } else if (ended) {
            if (done && end.code == 0) return true;
            *killed = end.signal == SIGKILL && !end.crashed; /* what a file did to it ends it in another way */
            return fail(e, ERR_STATE, ERR_NO_OFFSET, "%s: the packer ended before it was done: %s", path, end.text);
        } else {
            ended = jail_wait(p, LOOK_MS, &end);
        }
    }
}

static bool spawn(struct pack_job *job, const char *path, const int *fds, const struct pack_settings *set,
                  size_t *bytes, bool *killed, err *e)
{
    ring owner, from = { 0 };
    if (!ring_new(&owner, RING_BYTES, sizeof(err), e)) return false;
    struct jail_ring end = { &owner, RING_WRITER };
    struct jail_options o = { .require = set->require, .skip = set->skip, .fds = fds, .fd_count = job->count + 1,
                              .rings = &end, .ring_count = 1, .file_bytes = job->image_bytes_max };
    struct jail_job jail_job = { prepare, run, job };
    struct jail_process p = { .pidfd = -1 };
    job->out = &owner;
    bool good = ring_attach(&owner, RING_READER, &from, e) && jail_spawn(&JAIL_PACKER, &o, &jail_job, &p, e) &&
                listen(&p, &from, path, set, bytes, killed, e);
    jail_free(&p);
    ring_free(&from);
    ring_free(&owner);
    return good;
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

static bool pack_once(const char *path, const struct pack_settings *set, int *fd, size_t *bytes, bool *killed, err *e)
{
    struct pack_job job = { .threads = set->threads };
    int files[SHARDS_MAX], fds[SHARDS_MAX + 1];
    bool good = open_files(path, files, job.file_bytes, &job.count, e);
    *fd = good ? image_memfd() : -1;
    if (good && *fd < 0) good = fail(e, ERR_IO, ERR_NO_OFFSET, "%s: no memfd: %s", path, strerror(errno));
    if (good) {
        size_t all = 0;
        for (size_t i = 0; i < job.count; i++) all += job.file_bytes[i];
        /* An image is at most 1% and 1 MiB larger than its file; a small one's padding is bounded by its tensors. */
        job.image_bytes_max = all + all / 8 + ((size_t)256 << 20);
        fds[0] = files[0];
        fds[1] = *fd;
        for (size_t i = 1; i < job.count; i++) fds[i + 1] = files[i];
        good = spawn(&job, path, fds, set, bytes, killed, e) && seal(*fd, *bytes, path, e);
    }
    for (size_t i = 0; i < job.count; i++) close(files[i]);
    if (!good && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return good;
}

bool pack_model(const char *path, const struct pack_settings *set, int *fd, size_t *bytes, err *e)
{
    for (int tried = 1;; tried++) {
        bool killed = false;
        err why = { 0 };
        if (pack_once(path, set, fd, bytes, &killed, &why)) return true;
        if (!killed || tried == TRIES_MAX) {
            *e = e->code == ERR_NONE ? why : *e;
            return false;
        }
        if (set->log != NULL) set->log(set->arg, "packer: it was killed; started again");
    }
}
