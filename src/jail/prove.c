/* The proof: see prove.h. The canary's code is ours and is told what to try; that it fails is the kernel's doing. */
#include "jail/prove.h"

#include "jail/crash.h"
#include "jail/escape.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PAGE_BYTES = 1 << 16, TRIES_MAX = 3,       /* a page of any machine */
       CANARY_MS = 60000 }; /* one that made itself idle waits for everybody on a busy machine */

/* Written by canaries, one entry a row; hostile only in the sense that a canary could lie about itself. */
struct outcome {
    _Atomic int32_t end;
    _Atomic int64_t value;
};

enum { SOCKETS = 6 };

struct prove_scene {
    struct escape_scene told; /* what the canary gets */
    int weights_fd;
    int socket[SOCKETS]; /* UDP, unix by path, unix abstract, TCP listener, its client, its accepted end */
    int epoll_fd;
    int out_fd;
    ring ring;
    struct outcome *outcomes; /* PROVE_ROWS_MAX, shared */
};

enum { IN_FLIGHT = 16 }; /* canaries at once: the end of a namespace waits for the kernel, not for a processor */

struct canary {
    const struct escape_scene *scene;
    const struct jail_profile *profile;
    struct outcome *outcomes;
    size_t from, to;
    bool alone_too; /* rows that want their own process: only where this one is it */
};

/* The path that row `i` may make. */
static void fresh_path(const struct escape_scene *t, size_t i, char path[ESCAPE_PATH_BYTES])
{
    snprintf(path, ESCAPE_PATH_BYTES, "%.60s/fresh-%zu", t->folder, i);
}

/* Removes what allowed attempts may have made. */
static void tidy(const struct escape_scene *t, size_t from, size_t to)
{
    char path[ESCAPE_PATH_BYTES];
    for (size_t i = from; i < to; i++) {
        fresh_path(t, i, path);
        if (unlink(path) != 0) rmdir(path);
    }
}

void prove_scene_free(struct prove_scene *s)
{
    if (s == NULL) return;
    char path[sizeof s->told.folder + 8];
    snprintf(path, sizeof path, "%s/socket", s->told.folder);
    unlink(path);
    unlink(s->told.file);
    rmdir(s->told.folder);
    for (size_t i = 0; i < SOCKETS; i++)
        if (s->socket[i] > 0) close(s->socket[i]);
    const int fds[] = { s->weights_fd, s->epoll_fd, s->out_fd, s->told.stray_fd };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] > 0) close(fds[i]);
    if (s->told.segment >= 0) shmctl(s->told.segment, IPC_RMID, NULL);
    if (s->told.weights != NULL) munmap((void *)(uintptr_t)s->told.weights, PAGE_BYTES);
    if (s->told.own != NULL) munmap(s->told.own, PAGE_BYTES);
    if (s->outcomes != NULL) munmap(s->outcomes, PROVE_ROWS_MAX * sizeof *s->outcomes);
    ring_free(&s->ring);
    free(s);
}

static bool make_files(struct escape_scene *t)
{
    snprintf(t->folder, sizeof t->folder, "/tmp/hearth-prove-XXXXXX");
    if (mkdtemp(t->folder) == NULL || chmod(t->folder, 0777) != 0) return false;
    if (snprintf(t->file, sizeof t->file, "%.80s/file", t->folder) < 0) return false;
    t->stray_fd = open(t->file, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    return t->stray_fd >= 0 && fchmod(t->stray_fd, 0666) == 0 && ftruncate(t->stray_fd, 4096) == 0;
}

static int listening_unix(const struct sockaddr_un *address, size_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)address, (socklen_t)len) == 0 && listen(fd, 64) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* Loopback may be down where the proof itself runs in a small namespace; then these targets are not there. */
static bool make_inet(struct prove_scene *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;
    s->socket[0] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s->socket[0] < 0 || bind(s->socket[0], (struct sockaddr *)&at, len) != 0) return false;
    if (getsockname(s->socket[0], (struct sockaddr *)&at, &len) != 0) return false;
    s->told.udp_port = ntohs(at.sin_port);
    at.sin_port = 0;
    s->socket[3] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->socket[3] < 0 || bind(s->socket[3], (struct sockaddr *)&at, len) != 0 || listen(s->socket[3], 64) != 0)
        return false;
    if (getsockname(s->socket[3], (struct sockaddr *)&at, &len) != 0) return false;
    s->socket[4] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->socket[4] < 0 || connect(s->socket[4], (struct sockaddr *)&at, len) != 0) return false;
    s->socket[5] = accept4(s->socket[3], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return s->socket[5] >= 0;
}

static bool make_sockets(struct prove_scene *s)
{
    struct sockaddr_un path = { .sun_family = AF_UNIX }, abstract = { .sun_family = AF_UNIX };
    snprintf(path.sun_path, sizeof path.sun_path, "%s/socket", s->told.folder);
    int len = snprintf(abstract.sun_path + 1, sizeof abstract.sun_path - 1, "hearth-escape-%d", (int)getpid());
    s->socket[1] = listening_unix(&path, sizeof path);
    s->socket[2] = listening_unix(&abstract, offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    if (s->socket[1] < 0 || s->socket[2] < 0 || chmod(path.sun_path, 0777) != 0) return false;
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return s->epoll_fd >= 0 && make_inet(s);
}

static void *pages(size_t bytes, int flags, int fd, int rights)
{
    void *at = mmap(NULL, bytes, rights, flags, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* The weights as the packer leaves them: sealed, mapped privately as Linux before 6.7 wants. */
static bool make_memory(struct prove_scene *s, err *e)
{
    s->weights_fd = memfd_create("hearth-prove", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    s->out_fd = memfd_create("hearth-prove-out", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (s->weights_fd < 0 || s->out_fd < 0 || ftruncate(s->weights_fd, PAGE_BYTES) != 0) return false;
    if (fcntl(s->weights_fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return false;
    s->told.weights = pages(PAGE_BYTES, MAP_PRIVATE, s->weights_fd, PROT_READ);
    s->told.own = pages(PAGE_BYTES, MAP_PRIVATE | MAP_ANONYMOUS, -1, PROT_READ | PROT_WRITE);
    s->outcomes = pages(PROVE_ROWS_MAX * sizeof *s->outcomes, MAP_SHARED | MAP_ANONYMOUS, -1, PROT_READ | PROT_WRITE);
    if (s->told.weights == NULL || s->told.own == NULL || s->outcomes == NULL) return false;
    if (!ring_new(&s->ring, PAGE_BYTES, 1024, e)) return false;
    s->told.peer = (const uint8_t *)s->ring.page[RING_WRITER];
    return true;
}

bool prove_scene_new(struct prove_scene **out, err *e)
{
    *out = NULL;
    struct prove_scene *s = calloc(1, sizeof *s);
    if (s == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "proof: no memory");
    s->told.spawner = getpid();
    gethostname(s->told.host, sizeof s->told.host - 1);
    s->told.segment = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0666);
    if (make_files(&s->told) && make_sockets(s) && make_memory(s, e)) {
        *out = s;
        return true;
    }
    err_set(e, ERR_IO, ERR_NO_OFFSET, "proof: its targets can not be made: %s", strerror(errno));
    prove_scene_free(s);
    return false;
}

/* So that ps does not show a canary as what it stands for. */
static bool canary_name(void *arg, err *e)
{
    (void)arg, (void)e;
    prctl(PR_SET_NAME, "hearth-canary", 0, 0, 0);
    return true;
}

static void canary_run(void *arg)
{
    const struct canary *c = arg;
    struct escape_scene scene = *c->scene;
    for (size_t i = c->from; i < c->to; i++) {
        const struct escape *row = escape_row(i);
        if (!escape_applies(row, c->profile) || (row->alone && !c->alone_too)) continue;
        struct outcome *o = &c->outcomes[i];
        fresh_path(&scene, i, scene.fresh);
        memset(scene.own, 0, 4096); /* what the row before got is no argument of this one */
        atomic_store(&o->end, PROVE_TRYING);
        long value = escape_try(row, &scene);
        atomic_store(&o->value, value);
        enum prove_end end = value == -JAIL_DENIED_ERRNO ? PROVE_FILTERED
                             : value < 0 && value >= -4095 ? PROVE_REFUSED : PROVE_ALLOWED;
        atomic_store(&o->end, (int32_t)end);
    }
}

/* The row a canary was at when it ended without a word: who ended it? A process that ended by itself had become
 * another program. */
static enum prove_end end_of(const struct jail_end *end)
{
    if (end->by_filter) return PROVE_FILTERED;
    return end->crashed || end->signal != 0 ? PROVE_FAULTED : PROVE_ALLOWED;
}

/* Canaries that run, oldest first. */
struct flight {
    struct prove_scene *scene;
    const struct jail_options *options;
    struct prove_tally *out;
    size_t started, landed;
    struct canary canary[IN_FLIGHT];
    struct jail_process process[IN_FLIGHT];
};

/* Waits for the oldest. */
static bool land(struct flight *f, err *e)
{
    size_t at = f->landed++ % IN_FLIGHT;
    const struct canary *c = &f->canary[at];
    struct jail_end end;
    bool ended = jail_wait(&f->process[at], CANARY_MS, &end);
    jail_free(&f->process[at]);
    tidy(&f->scene->told, c->from, c->to);
    struct outcome *outcomes = f->scene->outcomes;
    for (size_t i = c->from; i < c->to; i++) {
        bool tried_here = c->alone_too || !escape_row(i)->alone; /* another's row may be in the middle of its attempt */
        if (!tried_here || atomic_load(&outcomes[i].end) != PROVE_TRYING) continue;
        if (!ended) return fail(e, ERR_STATE, ERR_NO_OFFSET, "proof: a canary sleeps in: %s", prove_row_name(i));
        atomic_store(&outcomes[i].end, (int32_t)end_of(&end));
    }
    return ended || fail(e, ERR_STATE, ERR_NO_OFFSET, "proof: a canary did not end");
}

static bool launch(struct flight *f, const struct canary *c, err *e)
{
    if (f->started - f->landed == IN_FLIGHT && !land(f, e)) return false;
    size_t at = f->started % IN_FLIGHT;
    f->canary[at] = *c;
    struct jail_job job = { .prepare = canary_name, .run = canary_run, .arg = &f->canary[at] };
    if (!jail_spawn(c->profile, f->options, &job, &f->process[at], e)) return false;
    f->started++;
    f->out->report = f->process[at].report;
    return true;
}

/* The descriptors a process of the profile would hold. */
static size_t descriptors_of(const struct prove_scene *s, const struct jail_profile *p, int fds[4])
{
    if (p == &JAIL_PACKER) {
        fds[0] = s->weights_fd;
        fds[1] = s->out_fd;
        return 2;
    }
    if (p != &JAIL_FRONT_DOOR) return 0;
    fds[0] = s->socket[3];
    fds[1] = s->socket[5];
    fds[2] = s->epoll_fd;
    return 3;
}

static size_t table_rows(void)
{
    size_t rows = 0;
    while (escape_row(rows) != NULL) rows++;
    assert(rows <= PROVE_ROWS_MAX);
    return rows;
}

bool prove_profile(struct prove_scene *s, const struct jail_profile *p, uint32_t skip, uint32_t require,
                   enum jail_denied denied, bool brief, struct prove_tally *out, err *e)
{
    *out = (struct prove_tally){ .rows = table_rows() };
    memset((void *)s->outcomes, 0, PROVE_ROWS_MAX * sizeof *s->outcomes);
    int fds[4];
    struct jail_ring reader = { &s->ring, RING_READER };
    struct jail_options o = { .require = require,
                              .skip = skip,
                              .denied = denied,
                              .fds = fds,
                              .fd_count = descriptors_of(s, p, fds),
                              .rings = &reader,
                              .ring_count = 1,
                              .file_bytes = 4096 };
    s->told.fd_count = (int)o.fd_count;
    struct flight f = { .scene = s, .options = &o, .out = out };
    struct canary c = { .scene = &s->told, .profile = p, .outcomes = s->outcomes, .from = 0, .to = out->rows };
    bool each = denied != JAIL_ERRNO, good = each || launch(&f, &c, e);
    c.alone_too = true;
    for (size_t i = 0; good && i < out->rows; i++) {
        const struct escape *row = escape_row(i);
        if (!escape_applies(row, p) || !(each || row->alone) || brief) continue;
        c.from = i;
        c.to = i + 1;
        good = launch(&f, &c, e);
    }
    while (f.landed < f.started) good = land(&f, e) && good;
    const char *left = NULL;
    for (size_t i = 0; good && i < out->rows; i++) {
        int32_t end = atomic_load(&s->outcomes[i].end);
        out->end[i] = end >= 0 && end < PROVE_ENDS ? (uint8_t)end : PROVE_ALLOWED;
        out->count[out->end[i]]++;
        int64_t value = atomic_load(&s->outcomes[i].value);
        out->error[i] = value < 0 && value >= -4095 ? (int16_t)-value : 0;
        const struct escape *row = escape_row(i);
        bool left_out = skip == 0 && end == PROVE_NOT_TRIED && escape_applies(row, p) && !(brief && row->alone);
        if (left_out && left == NULL) left = row->name;
    }
    /* A canary that somebody killed has shown nothing. Without walls it may well end before its last row. */
    if (good && left != NULL && out->count[PROVE_ALLOWED] == 0)
        return fail(e, ERR_CANCELLED, ERR_NO_OFFSET, "proof: a canary ended before it tried: %s", left);
    return good;
}

const char *prove_row_name(size_t row)
{
    const struct escape *r = escape_row(row);
    return r == NULL ? "" : r->name;
}

unsigned prove_row_threat(size_t row)
{
    const struct escape *r = escape_row(row);
    return r == NULL ? 0 : r->threat;
}

static void tell_walls(const struct jail_report *r, bool brief, prove_line *tell, void *arg)
{
    char line[JAIL_TEXT_BYTES * 4], wall[JAIL_TEXT_BYTES * 3];
    for (enum jail_wall w = 0; w < JAIL_WALLS; w++) {
        if (brief && (r->up | r->waived) & jail_bit(w)) continue;
        jail_explain(r, w, wall, sizeof wall);
        snprintf(line, sizeof line, "  %s", wall);
        tell(arg, line);
    }
}

/* One profile in one way; false where an attempt was allowed. */
static bool tell_profile(struct prove_scene *s, const struct jail_profile *p, uint32_t require, enum jail_denied denied,
                         bool brief, prove_line *tell, void *arg, err *e)
{
    struct prove_tally *t = calloc(1, sizeof *t);
    if (t == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "proof: no memory");
    char line[JAIL_TEXT_BYTES * 2];
    bool good = false;
    for (int tried = 0; !good && tried < TRIES_MAX; tried++) {
        err why = { 0 };
        good = prove_profile(s, p, 0, require, denied, brief, t, &why);
        if (good || (why.code == ERR_CANCELLED && tried + 1 < TRIES_MAX)) continue;
        *e = e->code == ERR_NONE ? why : *e;
        break;
    }
    if (good) {
        size_t tried = t->rows - t->count[PROVE_NOT_TRIED];
        snprintf(
            line, sizeof line,
            "%s (%s): %zu attempts: %zu allowed, %zu stopped by the filter, %zu by the kernel, %zu by the processor",
            p->name, denied == JAIL_KILL ? "as in use" : "canary", tried, t->count[PROVE_ALLOWED],
            t->count[PROVE_FILTERED], t->count[PROVE_REFUSED], t->count[PROVE_FAULTED]);
        if (!brief || t->count[PROVE_ALLOWED] > 0) tell(arg, line);
        if (denied == JAIL_ERRNO) tell_walls(&t->report, brief, tell, arg);
    }
    for (size_t i = 0; good && i < t->rows; i++) {
        if (t->end[i] != PROVE_ALLOWED) continue;
        snprintf(line, sizeof line, "  ALLOWED in %s: %s", p->name, prove_row_name(i));
        tell(arg, line);
        err_set(e, ERR_STATE, ERR_NO_OFFSET, "proof: %s was allowed in the %s's jail", prove_row_name(i), p->name);
    }
    good = good && t->count[PROVE_ALLOWED] == 0;
    free(t);
    return good;
}

bool jail_prove(uint32_t require, bool brief, prove_line *tell, void *arg, err *e)
{
    struct prove_scene *s;
    if (!prove_scene_new(&s, e)) return false;
    size_t count;
    const struct jail_profile *const *profiles = jail_profiles(&count);
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        good = tell_profile(s, profiles[i], require, JAIL_ERRNO, brief, tell, arg, e) && good;
        if (!brief) good = tell_profile(s, profiles[i], require, JAIL_KILL, brief, tell, arg, e) && good;
    }
    prove_scene_free(s);
    return good;
}

/* The walls taken away together with the one looked at: none, the filter, and the filter with the limits, as a limit of
 * no descriptors alone stops whatever must first open something. The last layer lets paths through too: what a cgroup
 * namespace hides is read in /proc, so that wall is looked at there, and no other. */
static const uint32_t LAYERS[] = { 0, 1 << JAIL_SECCOMP, 1 << JAIL_SECCOMP | 1 << JAIL_LIMITS,
                                   1 << JAIL_SECCOMP | 1 << JAIL_LIMITS | 1 << JAIL_ROOT | 1 << JAIL_LANDLOCK };
enum { LAYER_COUNT = sizeof LAYERS / sizeof *LAYERS, LAYER_PATHS = LAYER_COUNT - 1 };

static bool engine_without(struct prove_scene *s, uint32_t walls, struct prove_tally *out, err *e)
{
    return prove_profile(s, &JAIL_ENGINE, walls, 0, JAIL_ERRNO, false, out, e);
}

/* Rows that succeed without wall `w` and do not with it, in any layer but the first; told by name. */
static bool bites_behind(struct prove_scene *s, enum jail_wall w, const struct prove_tally with[LAYER_COUNT],
                         struct prove_tally *now, bool hit[PROVE_ROWS_MAX], err *e)
{
    for (size_t layer = 1; layer < LAYER_COUNT; layer++) {
        if (LAYERS[layer] & jail_bit(w) || (layer == LAYER_PATHS && w != JAIL_CGROUP_NS)) continue;
        if (!engine_without(s, LAYERS[layer] | jail_bit(w), now, e)) return false;
        for (size_t i = 0; i < now->rows; i++)
            if (now->end[i] == PROVE_ALLOWED && with[layer].end[i] != PROVE_ALLOWED) hit[i] = true;
    }
    return true;
}

static size_t tell_hits(const char *what, const bool hit[PROVE_ROWS_MAX], prove_line *tell, void *arg)
{
    char line[JAIL_TEXT_BYTES * 2];
    size_t count = 0;
    for (size_t i = 0; i < PROVE_ROWS_MAX; i++) count += hit[i];
    snprintf(line, sizeof line, "%s: %zu attempts succeed that had failed", what, count);
    tell(arg, line);
    for (size_t i = 0; i < PROVE_ROWS_MAX; i++) {
        if (!hit[i]) continue;
        snprintf(line, sizeof line, "  %s", prove_row_name(i));
        tell(arg, line);
    }
    return count;
}

static bool prove_wall(struct prove_scene *s, enum jail_wall w, const struct prove_tally with[LAYER_COUNT],
                       struct prove_tally *now, prove_line *tell, void *arg, size_t counts[2], err *e)
{
    char what[JAIL_TEXT_BYTES];
    bool alone[PROVE_ROWS_MAX] = { false }, behind[PROVE_ROWS_MAX] = { false };
    if (!engine_without(s, jail_bit(w), now, e)) return false;
    for (size_t i = 0; i < now->rows; i++)
        alone[i] = now->end[i] == PROVE_ALLOWED && with[0].end[i] != PROVE_ALLOWED;
    if (!bites_behind(s, w, with, now, behind, e)) return false;
    snprintf(what, sizeof what, "without %s", jail_wall_text(w)->name);
    counts[0] = tell_hits(what, alone, tell, arg);
    snprintf(what, sizeof what, "without %s, where the filter is gone too", jail_wall_text(w)->name);
    counts[1] = tell_hits(what, behind, tell, arg);
    return true;
}

bool jail_prove_walls(prove_line *tell, void *arg, size_t alone[JAIL_WALLS], size_t behind_filter[JAIL_WALLS], err *e)
{
    struct prove_scene *s;
    if (!prove_scene_new(&s, e)) return false;
    struct prove_tally *with = calloc(LAYER_COUNT + 1, sizeof *with);
    bool good = with != NULL || fail(e, ERR_MEMORY, ERR_NO_OFFSET, "proof: no memory");
    for (size_t layer = 0; good && layer < LAYER_COUNT; layer++)
        good = engine_without(s, LAYERS[layer], &with[layer], e);
    for (enum jail_wall w = 0; good && w < JAIL_WALLS; w++) {
        size_t counts[2];
        good = prove_wall(s, w, with, &with[LAYER_COUNT], tell, arg, counts, e);
        if (!good) break;
        alone[w] = counts[0];
        behind_filter[w] = counts[1];
    }
    free(with);
    prove_scene_free(s);
    return good;
}
