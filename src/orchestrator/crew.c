/* The processes of one model: see crew.h. */
#include "orchestrator/crew.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/memory.h"
#include "image/image.h"
#include "orchestrator/packer.h"
#include "orchestrator/worker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    TO_BYTES = 1 << 25,   /* rings to a peer hold two of its largest messages */
    FROM_BYTES = 1 << 24, /* and from it */
    NOTICE_BYTES = 1 << 12,
    SILENT_LOOKS = 2,     /* looks at a silent worker that find it computed nothing in between: it hangs */
    SHORT_LIVES_MAX = 3,  /* ends soon after their start, one after the other, before the crew gives up */
    CTX_KEPT_TOK = 1 << 17,
    PACK_LOOK_MS = 20
};

struct crew {
    struct crew_settings set;
    char path[4096];
    enum crew_state state;
    packer *packer;             /* CREW_PACKING */
    int image_fd;
    size_t image_bytes;
    bool in_memory;
    struct service_rings rings; /* the owner's */
    ring notices, news;         /* our ends of those */
    ring told[SERVICE_PEERS], heard[SERVICE_PEERS]; /* from each worker: the engine's facts, or why there are none */
    err refused;                /* why */
    uint64_t plan_bytes;
    bool planned, again;        /* again: its rings have been held before */
    enum crew_wish wish;
    struct jail_process process[SERVICE_PEERS];
    double started[SERVICE_PEERS];
    unsigned short_lives[SERVICE_PEERS];
    double computed_s[SERVICE_PEERS]; /* of a silent worker, at the last look */
    unsigned silent[SERVICE_PEERS];   /* looks in a row without computing */
    unsigned busy[SERVICE_PEERS];     /* looks in a row with */
    struct engine_worker engine_job;
    struct text_job text_job;
};

#define SHORT_LIFE_S 0.2
#define COMPUTES_S   0.001 /* between two looks; a process that sleeps for good uses none */

static const char *const NAMES[] = { [SERVICE_TEXT] = "text worker", [SERVICE_ENGINE] = "engine" };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void log_line(const crew *c, const char *line)
{
    if (c->set.log != NULL) c->set.log(c->set.arg, line);
}

/* ---- the image ---- */

/* Maps nothing and reads only whether the file begins as an image does: *is_image. */
static bool open_image(crew *c, bool *is_image, err *e)
{
    uint8_t magic[IMAGE_MAGIC_BYTES];
    struct stat st;
    int fd = open(c->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: cannot open: %s", c->path, strerror(errno));
    *is_image = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                pread(fd, magic, sizeof magic, 0) == (ssize_t)sizeof magic &&
                image_is((view){ magic, sizeof magic });
    c->in_memory = !*is_image;
    if (*is_image) {
        c->image_fd = fd;
        c->image_bytes = (size_t)st.st_size;
    } else {
        close(fd);
    }
    return true;
}

static bool start_packer(crew *c, err *e)
{
    struct pack_settings set = { .require = c->set.no_jail ? 0 : c->set.require,
                                 .skip = c->set.no_jail ? JAIL_ALL & ~jail_bit(JAIL_DESCRIPTORS) : jail_unfit(),
                                 .threads = max_size(1, c->set.engine.threads), .progress = c->set.progress,
                                 .log = c->set.log, .arg = c->set.arg };
    return packer_start(&c->packer, c->path, &set, e);
}

/* ---- processes ---- */

static bool played_prepare(void *arg, err *e)
{
    const crew *c = arg;
    return c->set.engine_played->prepare(c->set.engine_played->arg, e);
}

static void played_run(void *arg)
{
    crew *c = arg;
    const struct crew_engine *played = c->set.engine_played;
    played->run(played->arg, &c->rings.to[SERVICE_ENGINE], &c->rings.from[SERVICE_ENGINE]);
}

static struct jail_job job_of(crew *c, enum service_peer peer)
{
    if (peer == SERVICE_TEXT) return (struct jail_job){ text_worker_prepare, text_worker_run, &c->text_job };
    if (c->set.engine_played != NULL) return (struct jail_job){ played_prepare, played_run, c };
    return (struct jail_job){ engine_worker_prepare, engine_worker_run, &c->engine_job };
}

static bool spawn(crew *c, enum service_peer peer, err *e)
{
    static const struct jail_profile *const profiles[] = { [SERVICE_TEXT] = &JAIL_TEXT_WORKER,
                                                           [SERVICE_ENGINE] = &JAIL_ENGINE };
    struct jail_ring ends[] = { { &c->rings.to[peer], RING_READER }, { &c->rings.from[peer], RING_WRITER },
                                { &c->told[peer], RING_WRITER } };
    struct jail_options o = { .require = c->set.no_jail ? 0 : c->set.require,
                              .skip = c->set.no_jail ? JAIL_ALL & ~jail_bit(JAIL_DESCRIPTORS) : jail_unfit(),
                              .fds = &c->image_fd, .fd_count = 1, .rings = ends, .ring_count = 3 };
    struct jail_job job = job_of(c, peer);
    c->started[peer] = now_s();
    c->silent[peer] = c->busy[peer] = 0;
    c->computed_s[peer] = 0;
    return jail_spawn(profiles[peer], &o, &job, &c->process[peer], e);
}

static bool make_rings(crew *c, err *e)
{
    static const size_t to_max[] = { [SERVICE_TEXT] = TEXT_REQUEST_BYTES_MAX,
                                     [SERVICE_ENGINE] = HEARTH_REQUEST_BYTES_MAX };
    static const size_t from_max[] = { [SERVICE_TEXT] = TEXT_EVENT_BYTES_MAX,
                                       [SERVICE_ENGINE] = HEARTH_EVENT_BYTES_MAX };
    for (int peer = 0; peer < SERVICE_PEERS; peer++)
        if (!ring_new(&c->rings.to[peer], TO_BYTES, to_max[peer], e) ||
            !ring_new(&c->rings.from[peer], FROM_BYTES, from_max[peer], e) ||
            !ring_new(&c->told[peer], NOTICE_BYTES, sizeof(struct hearth_error), e) ||
            !ring_attach(&c->told[peer], RING_READER, &c->heard[peer], e))
            return false;
    return ring_new(&c->rings.notices, NOTICE_BYTES, 64, e) &&
           ring_attach(&c->rings.notices, RING_READER, &c->notices, e) &&
           ring_new(&c->rings.news, NOTICE_BYTES, sizeof(struct service_news_message), e) &&
           ring_attach(&c->rings.news, RING_WRITER, &c->news, e);
}

/* Addresses for a plan: what the machine has, for no plan that runs is larger. */
static uint64_t room_bytes(const struct hearth_settings *set)
{
    uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES), page = (uint64_t)sysconf(_SC_PAGESIZE);
    return set->memory_bytes > pages * page ? set->memory_bytes : pages * page;
}

/* Both workers, for the image that is there. */
static bool start_workers(crew *c, err *e)
{
    struct hearth_settings plan = c->set.engine;
    uint64_t left = memory_free_bytes(); /* the weights are in memory by now, or will be pages of a file */
    if (plan.memory_bytes == 0 && left > 0) plan.memory_bytes = c->image_bytes + (left - left / 16);
    uint32_t ctx = plan.ctx_tok != 0 ? plan.ctx_tok : CTX_KEPT_TOK;
    c->engine_job = (struct engine_worker){ .set = plan, .cpus = c->set.cpus, .image_bytes = c->image_bytes,
                                            .ends = { &c->rings.to[SERVICE_ENGINE], &c->rings.from[SERVICE_ENGINE] },
                                            .told = &c->told[SERVICE_ENGINE], .populate = c->in_memory,
                                            .room_bytes = room_bytes(&plan) };
    c->text_job = (struct text_job){ .ends = { &c->rings.to[SERVICE_TEXT], &c->rings.from[SERVICE_TEXT] },
                                     .image_bytes = c->image_bytes, .template_source = c->set.template_source,
                                     .told = &c->told[SERVICE_TEXT], .ctx_tok = ctx };
    c->state = CREW_UP;
    c->refused = (err){ 0 };
    memset(c->short_lives, 0, sizeof c->short_lives);
    for (int peer = 0; c->again && peer < SERVICE_PEERS; peer++) { /* one past whatever the client has seen */
        ring_restart(&c->rings.to[peer], RING_READER);
        ring_restart(&c->rings.from[peer], RING_WRITER);
    }
    c->again = true;
    return spawn(c, SERVICE_TEXT, e) && spawn(c, SERVICE_ENGINE, e);
}

bool crew_new(crew **out, const struct crew_settings *set, err *e)
{
    crew *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "no memory for the processes of a model");
    c->set = *set;
    c->image_fd = -1;
    for (int peer = 0; peer < SERVICE_PEERS; peer++) c->process[peer].pidfd = -1;
    if (snprintf(c->path, sizeof c->path, "%s", set->path) >= (int)sizeof c->path)
        err_set(e, ERR_LIMIT, ERR_NO_OFFSET, "model: a path over %zu bytes", sizeof c->path);
    else if (make_rings(c, e)) *out = c;
    if (*out == NULL) crew_stop(c);
    return *out != NULL;
}

bool crew_load(crew *c, err *e)
{
    bool is_image = false, good;
    assert(c->state == CREW_DOWN);
    if (!open_image(c, &is_image, e)) return false;
    c->state = CREW_PACKING;
    good = is_image ? start_workers(c, e) : start_packer(c, e);
    if (!good) crew_unload(c);
    return good;
}

/* The rings begin again at once: a client that has asked something hears that nobody is there any more. */
void crew_unload(crew *c)
{
    if (c->state == CREW_DOWN) return;
    packer_free(c->packer);
    c->packer = NULL;
    for (int peer = 0; peer < SERVICE_PEERS; peer++) {
        jail_free(&c->process[peer]);
        ring_restart(&c->rings.to[peer], RING_READER);
        ring_restart(&c->rings.from[peer], RING_WRITER);
        ring_restart(&c->told[peer], RING_WRITER);
    }
    if (c->image_fd >= 0) close(c->image_fd);
    c->image_fd = -1;
    c->image_bytes = c->plan_bytes = 0;
    c->planned = false;
    c->refused = (err){ 0 };
    c->state = CREW_DOWN;
}

/* The packer has ended, or not yet. */
static bool tend_packer(crew *c, int wait_ms, err *e)
{
    if (!packer_look(c->packer, wait_ms, &c->image_fd, &c->image_bytes, e)) return false;
    if (c->image_fd < 0) return true;
    packer_free(c->packer);
    c->packer = NULL;
    return start_workers(c, e);
}

bool crew_start(crew **out, const struct crew_settings *set, err *e)
{
    if (!crew_new(out, set, e)) return false;
    bool good = crew_load(*out, e);
    while (good && (*out)->state == CREW_PACKING) good = tend_packer(*out, PACK_LOOK_MS, e);
    if (good) return true;
    crew_stop(*out);
    *out = NULL;
    return false;
}

void crew_stop(crew *c)
{
    if (c == NULL) return;
    packer_free(c->packer);
    for (int peer = 0; peer < SERVICE_PEERS; peer++) {
        jail_free(&c->process[peer]);
        ring_free(&c->rings.to[peer]);
        ring_free(&c->rings.from[peer]);
        ring_free(&c->heard[peer]);
        ring_free(&c->told[peer]);
    }
    ring_free(&c->notices);
    ring_free(&c->rings.notices);
    ring_free(&c->news);
    ring_free(&c->rings.news);
    if (c->image_fd >= 0) close(c->image_fd);
    free(c);
}

enum crew_state crew_state(const crew *c)
{
    return c->state;
}

/* ---- the client ---- */

bool crew_attach(crew *c, struct service_rings *out, err *e)
{
    for (int peer = 0; peer < SERVICE_PEERS; peer++)
        if (!ring_attach(&c->rings.to[peer], RING_WRITER, &out->to[peer], e) ||
            !ring_attach(&c->rings.from[peer], RING_READER, &out->from[peer], e))
            return false;
    return ring_attach(&c->rings.notices, RING_WRITER, &out->notices, e) &&
           ring_attach(&c->rings.news, RING_READER, &out->news, e);
}

void crew_detach(struct service_rings *out)
{
    for (int peer = 0; peer < SERVICE_PEERS; peer++) {
        ring_free(&out->to[peer]);
        ring_free(&out->from[peer]);
    }
    ring_free(&out->notices);
    ring_free(&out->news);
}

struct service_rings *crew_lend(crew *c, struct jail_ring ends[static CREW_CLIENT_RINGS])
{
    for (int peer = 0; peer < SERVICE_PEERS; peer++) {
        ends[2 * peer] = (struct jail_ring){ &c->rings.to[peer], RING_WRITER };
        ends[2 * peer + 1] = (struct jail_ring){ &c->rings.from[peer], RING_READER };
    }
    ends[2 * SERVICE_PEERS] = (struct jail_ring){ &c->rings.notices, RING_WRITER };
    ends[2 * SERVICE_PEERS + 1] = (struct jail_ring){ &c->rings.news, RING_READER };
    return &c->rings;
}

static bool replace(crew *c, enum service_peer peer, err *e)
{
    jail_free(&c->process[peer]);
    ring_restart(&c->rings.to[peer], RING_READER);
    ring_restart(&c->rings.from[peer], RING_WRITER);
    ring_restart(&c->told[peer], RING_WRITER);
    return spawn(c, peer, e);
}

/* Workers that lost their client end by themselves at its successor's first word; ended now, they start clean. */
bool crew_client_gone(crew *c, err *e)
{
    for (int peer = 0; peer < SERVICE_PEERS; peer++) {
        ring_restart(&c->rings.to[peer], RING_WRITER);
        ring_restart(&c->rings.from[peer], RING_READER);
        if (c->state == CREW_UP && !replace(c, (enum service_peer)peer, e)) return false;
    }
    ring_restart(&c->rings.notices, RING_WRITER);
    ring_restart(&c->rings.news, RING_READER);
    c->again = true;
    c->wish = CREW_NO_WISH;
    return true;
}

enum crew_wish crew_wish(crew *c)
{
    enum crew_wish wish = c->wish;
    c->wish = CREW_NO_WISH;
    return wish;
}

bool crew_tell(crew *c, uint32_t news, enum err_code code, const char *text)
{
    struct service_news_message m = { .code = (uint32_t)code };
    snprintf(m.text, sizeof m.text, "%s", text);
    view message = { (const uint8_t *)&m, sizeof m };
    enum ring_status sent = ring_send(&c->news, news, message);
    if (sent == RING_RESTARTED) sent = ring_send(&c->news, news, message);
    return sent != RING_FULL; /* a client that broke the ring is ended by itself */
}

/* ---- tending ---- */

/* What the engine planned, or why a worker refused the model or the plan. */
static void hear_worker(crew *c, enum service_peer peer)
{
    struct hearth_facts facts;
    struct hearth_error why;
    uint32_t kind;
    size_t len;
    uint8_t message[sizeof why];
    enum ring_status status;
    while ((status = ring_receive(&c->heard[peer], &kind, message, &len)) == RING_OK || status == RING_RESTARTED) {
        if (status != RING_OK) continue;
        if (peer == SERVICE_ENGINE && kind == HEARTH_LOADED && len == sizeof facts) {
            memcpy(&facts, message, sizeof facts);
            uint64_t most = c->engine_job.set.memory_bytes;
            c->plan_bytes = most > 0 && facts.plan_bytes > most ? most : facts.plan_bytes;
            c->planned = true;
        } else if (kind == HEARTH_ERROR && len == sizeof why) {
            memcpy(&why, message, sizeof why);
            why.text[sizeof why.text - 1] = '\0';
            bool known = why.code > ERR_NONE && why.code <= ERR_CANCELLED;
            err_set(&c->refused, known ? (enum err_code)why.code : ERR_VALUE, ERR_NO_OFFSET, "%s", why.text);
        }
    }
}

static bool tend_one(crew *c, enum service_peer peer, err *e)
{
    struct jail_end end;
    char line[JAIL_TEXT_BYTES * 3];
    if (!jail_wait(&c->process[peer], 0, &end)) return true;
    hear_worker(c, peer); /* its last words */
    if (c->refused.code != ERR_NONE && end.code == 0) {
        *e = c->refused;
        return false;
    }
    snprintf(line, sizeof line, "%s: %s", NAMES[peer], end.text);
    log_line(c, line);
    bool young = now_s() - c->started[peer] < SHORT_LIFE_S;
    c->short_lives[peer] = young ? c->short_lives[peer] + 1 : 0;
    if (end.code == 0 || c->short_lives[peer] >= SHORT_LIVES_MAX) /* 0: it refused the model, and has said why */
        return fail(e, ERR_STATE, ERR_NO_OFFSET, "%s", line);
    return replace(c, peer, e);
}

/* Processor time of all its threads, as the kernel counts it. */
static double computed_s(pid_t pid)
{
    clockid_t clock;
    struct timespec t = { 0 };
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The client has heard nothing for a while though there is work. A long prompt on a slow machine looks the same from
 * there, but it computes: a worker that does not, twice in a row, hangs; one that computes for ever without a word has
 * lost its way. */
static const char *look_at_silent(crew *c, enum service_peer peer)
{
    double now = computed_s(c->process[peer].pid);
    bool computes = now - c->computed_s[peer] > COMPUTES_S;
    c->computed_s[peer] = now;
    c->silent[peer] = computes ? 0 : c->silent[peer] + 1;
    c->busy[peer] = computes ? c->busy[peer] + 1 : 0;
    if (c->silent[peer] >= SILENT_LOOKS) return "is silent and does not compute, ended";
    return c->busy[peer] >= CREW_BUSY_LOOKS_MAX ? "computes without a word, ended" : NULL;
}

/* A peer that the client calls broken is ended, and one that hangs; the next look finds it so. */
static void end_bad(crew *c, uint32_t kind, enum service_peer peer)
{
    char line[80];
    if (c->process[peer].pid <= 0) return;
    const char *why = kind == SERVICE_PEER_BROKEN ? "broke the protocol, ended" : look_at_silent(c, peer);
    if (why == NULL) return;
    snprintf(line, sizeof line, "%s: %s", NAMES[peer], why);
    log_line(c, line);
    kill(c->process[peer].pid, SIGKILL);
}

static void hear_notices(crew *c)
{
    uint32_t kind, peer;
    uint8_t message[64];
    size_t len;
    for (;;) {
        enum ring_status status = ring_receive(&c->notices, &kind, message, &len);
        if (status == RING_RESTARTED) continue;
        if (status != RING_OK) return;
        if (len != sizeof peer) continue;
        memcpy(&peer, message, sizeof peer);
        if (kind == SERVICE_WANTED) c->wish = CREW_WANTED;
        else if (kind == SERVICE_UNWANTED) c->wish = CREW_UNWANTED;
        else if ((kind == SERVICE_PEER_BROKEN || kind == SERVICE_PEER_SILENT) && peer < SERVICE_PEERS)
            end_bad(c, kind, (enum service_peer)peer);
    }
}

bool crew_bytes(const crew *c, uint64_t *image_bytes, uint64_t *plan_bytes)
{
    *image_bytes = c->image_bytes;
    *plan_bytes = c->plan_bytes;
    return c->planned;
}

bool crew_tend(crew *c, err *e)
{
    hear_notices(c);
    if (c->state == CREW_PACKING) return tend_packer(c, 0, e);
    hear_worker(c, SERVICE_ENGINE);
    for (int peer = 0; peer < SERVICE_PEERS && c->state == CREW_UP; peer++)
        if (!tend_one(c, (enum service_peer)peer, e)) return false;
    return true;
}

void crew_require(crew *c, uint32_t walls)
{
    c->set.require = walls;
}

void crew_watch(const crew *c, int fds[static SERVICE_PEERS])
{
    for (int peer = 0; peer < SERVICE_PEERS; peer++) fds[peer] = c->process[peer].pidfd;
    if (c->packer != NULL) fds[SERVICE_TEXT] = packer_watch(c->packer);
}

bool crew_image(const crew *c, view *out, err *e)
{
    /* MAP_PRIVATE: see engine_worker_prepare */
    void *base = mmap(NULL, c->image_bytes, PROT_READ, MAP_PRIVATE, c->image_fd, 0);
    if (base == MAP_FAILED)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "%s: cannot map %zu bytes: %s", c->path, c->image_bytes,
                    strerror(errno));
    *out = (view){ base, c->image_bytes };
    return true;
}

void crew_image_done(view mapped)
{
    munmap((void *)(uintptr_t)mapped.ptr, mapped.len_bytes);
}

pid_t crew_pid(const crew *c, enum service_peer peer)
{
    return c->process[peer].pid;
}

const struct jail_report *crew_report(const crew *c, enum service_peer peer)
{
    return &c->process[peer].report;
}
