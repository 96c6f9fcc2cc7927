/* The processes of hearth serve: the models (orchestrator/fleet.h), one front door; started, watched, ended. This
 * process reads no byte of a client: what comes to it from the front door is log lines, through a pipe, and which model
 * is wanted, through rings.
 *
 *   front door --pipe: lines--> here --eventfd: stop--> front door
 *   front door <====rings====> text worker, engine of each model          (crew.h) */
#include "cmd/rules.h"
#include "cmd/serve.h"

#include "jail/jail.h"
#include "orchestrator/fleet.h"
#include "server/served.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define POLICY_ARENA_BYTES ((size_t)64 << 20)

enum {
    LOG_BYTES = 4096,
    FRONT_DOOR_FILES_LEFT = 64,  /* of its descriptors, beside clients */
    PLACES_BEHIND = 4,           /* asks an engine has beside those it computes: the next prompt is there at once */
    ASKS_AT_ONCE = 2048,         /* of a service: counts and renderings beside answers */
    TEND_MS = 200,
    SHORT_LIVES_MAX = 5          /* of front doors, one after the other, before the server gives up */
};

#define SHORT_LIFE_S 0.2

struct model_run {
    char path[PATH_BYTES_MAX], name[ASK_NAME_BYTES_MAX + 1];
    struct served_setting setting;
};

struct serving {
    struct serve_settings *set;
    struct policy policy;
    arena policy_room; /* what the policy points into */
    struct model_run *models;
    fleet *fleet;          /* the same, in the same order */
    size_t count;
    struct served_setting *settings;
    int stop_fd, bell_fd, epoll_fd, log_fd[2], signal_fd;
    struct jail_process front;
    double front_since;
    unsigned front_short_lives;
    served *backend;       /* in the front door */
    server *server;
    struct key_watch keys;
    struct acceptor door;
    bool stopping;
    double stop_at;
};

/* ---- in the front door ---- */

static void log_from_inside(void *arg, view line)
{
    const struct serving *v = arg;
    ssize_t ignored = write(v->log_fd[1], line.ptr, line.len_bytes < LOG_BYTES ? line.len_bytes : LOG_BYTES);
    (void)ignored; /* a full pipe loses a line, never a client */
}

static bool front_prepare(void *arg, err *e)
{
    struct serving *v = arg;
    struct server_options *o = &v->set->server;
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_ARENA_MAX, 1); /* a second arena would need a call that the profile has not */
    if (!served_new(&v->backend, v->settings, v->count, v->bell_fd, o->zone_s, e)) return false;
    served_log(v->backend, o->log, o->log_arg);
    o->backend = served_backend(v->backend);
    return server_new(&v->server, o, e);
}

static void front_run(void *arg)
{
    struct serving *v = arg;
    server_run(v->server);
}

/* Descriptors stand in the jail from JAIL_FD_FIRST on, in the order of this list. */
static size_t list_descriptors(struct serving *v, int fds[static JAIL_FDS_MAX])
{
    struct server_options *o = &v->set->server;
    size_t count = 0;
    fds[count++] = o->door_fd; /* the first: the filter knows it by its number */
    for (size_t i = 0; i < o->listener_count; i++) fds[count++] = o->listeners[i].fd;
    fds[count++] = v->epoll_fd;
    fds[count++] = v->bell_fd;
    fds[count++] = v->stop_fd;
    fds[count++] = v->log_fd[1];
    return count;
}

/* The numbers those descriptors have in the jail. Changed here, before the start: the child is a copy. */
static void number_descriptors(struct serving *v, struct serving *inside, struct serve_settings *set)
{
    *inside = *v;
    *set = *v->set;
    int next = JAIL_FD_FIRST;
    set->server.door_fd = next++;
    for (size_t i = 0; i < set->server.listener_count; i++) set->server.listeners[i].fd = next++;
    inside->set = set;
    inside->epoll_fd = set->server.epoll_fd = next++;
    inside->bell_fd = next++;
    inside->stop_fd = set->server.stop_fd = next++;
    inside->log_fd[1] = next++;
    set->server.log = log_from_inside;
    set->server.log_arg = inside;
}

/* ---- here ---- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void crew_log(void *arg, const char *line)
{
    (void)arg;
    say("%s", line);
}

/* "qwen3.gguf" is asked for as "qwen3". */
static void name_of(const char *path, char *out, size_t out_bytes)
{
    const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path, *dot = strrchr(base, '.');
    snprintf(out, out_bytes, "%.*s", (int)(dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base)), base);
}

static bool model_allowed(void *arg, const char *path, err *e)
{
    const struct serving *v = arg;
    return policy_allows(&v->policy, path, e);
}

/* One more model: known, and not in memory yet. */
static bool add_model(struct serving *v, struct model_run *m, const char *word, err *e)
{
    const struct serve_settings *set = v->set;
    struct crew_settings how = { .path = m->path, .no_jail = set->jail.no_jail, .log = crew_log,
                                 .require = rules_require(&v->policy, set->jail.no_jail) };
    struct stat st;
    if (!model_find(word, m->path, e) || !compute_settings(&set->compute, &how.engine, &how.cpus, e)) return false;
    name_of(m->path, m->name, sizeof m->name);
    how.engine.sequences = (uint32_t)set->parallel;
    how.engine.mask_bytes = set->jail.mask_bytes;
    bool known = stat(m->path, &st) == 0;
    m->setting = (struct served_setting){ .name = view_of(m->name), .format = view_of(""),
                                          .created_s = known ? (uint64_t)st.st_mtime : 0,
                                          .file_bytes = known ? (uint64_t)st.st_size : 0, .keep_ms = set->keep_ms,
                                          .places = (uint32_t)set->parallel + PLACES_BEHIND,
                                          .waiting_max = (uint32_t)set->requests,
                                          .service = { .asks = ASKS_AT_ONCE, .ctx_tok = 1 << 17 } };
    return fleet_add(v->fleet, m->name, &how, e);
}

static bool start_front(struct serving *v, err *e)
{
    struct serving inside; /* the child works on its copy of these, in this frame */
    struct serve_settings set;
    struct jail_ring rings[JAIL_RINGS_MAX];
    struct jail_options o = { .require = rules_require(&v->policy, v->set->jail.no_jail), .rings = rings };
    int fds[JAIL_FDS_MAX];
    if (v->count * CREW_CLIENT_RINGS + 1 > JAIL_RINGS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "serve: %zu models, at most %d", v->count,
                    (JAIL_RINGS_MAX - 1) / CREW_CLIENT_RINGS);
    for (size_t i = 0; i < v->count; i++) {
        struct served_setting *one = &v->models[i].setting;
        crew *c = fleet_crew(v->fleet, i);
        one->rings = crew_lend(c, rings + o.ring_count);
        one->up = crew_state(c) == CREW_UP;
        one->coming = crew_state(c) == CREW_PACKING;
        o.ring_count += CREW_CLIENT_RINGS;
        v->settings[i] = v->models[i].setting;
    }
    rings[o.ring_count++] = (struct jail_ring){ &v->keys.ring, RING_READER };
    v->set->server.keys_ring = &v->keys.ring;
    if (v->set->jail.no_jail) o.skip = JAIL_ALL & ~jail_bit(JAIL_DESCRIPTORS);
    if ((v->set->server.door_fd = acceptor_pair(&v->door, e)) < 0) return false;
    o.fds = fds;
    o.fd_count = list_descriptors(v, fds);
    number_descriptors(v, &inside, &set);
    struct jail_job job = { front_prepare, front_run, &inside };
    v->front_since = now_s();
    bool good = jail_spawn(&JAIL_FRONT_DOOR, &o, &job, &v->front, e);
    close(v->set->server.door_fd);
    return good;
}

static bool make_descriptors(struct serving *v, err *e)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    v->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    v->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    v->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    v->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bool good = v->signal_fd >= 0 && v->stop_fd >= 0 && v->bell_fd >= 0 && v->epoll_fd >= 0 &&
                pipe2(v->log_fd, O_CLOEXEC | O_NONBLOCK) == 0;
    return good || fail(e, ERR_IO, ERR_NO_OFFSET, "serve: %s", strerror(errno));
}

/* Lines of the front door: printed as they are, but for what could steer a terminal. */
static void read_log(struct serving *v)
{
    char text[LOG_BYTES + 1];
    ssize_t got = read(v->log_fd[0], text, LOG_BYTES);
    if (got <= 0) return;
    for (ssize_t i = 0; i < got; i++)
        if ((unsigned char)text[i] < ' ' && text[i] != '\n') text[i] = '?';
    text[got] = '\0';
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n"))
        if (line[0] != '\0') say("%s", line);
}

static void begin_stop(struct serving *v)
{
    uint64_t one = 1;
    if (v->stopping) return;
    v->stopping = true;
    v->stop_at = now_s();
    acceptor_end(&v->door);
    say("stopping: answers have %u s to end", v->set->server.drain_s);
    if (write(v->stop_fd, &one, sizeof one) < 0) v->stop_at = 0;
}

/* On SIGHUP. A policy that can not be read changes nothing. A model that the new one no longer allows leaves memory at
 * once: its answers end with an error, and from then on who asks for it is refused. Walls it requires count for every
 * process from the next start of one on. */
static void read_policy_again(struct serving *v)
{
    struct policy now;
    arena room = { 0 };
    err e = { 0 };
    if (!arena_new(&room, POLICY_ARENA_BYTES, &e) ||
        !rules_load(v->set->jail.policy, v->set->jail.no_jail, &room, &now, &e)) {
        say("%s; the policy stays as it was", e.text);
        arena_free(&room);
        return;
    }
    arena_free(&v->policy_room);
    v->policy_room = room;
    v->policy = now;
    say("policy: %s read again", now.path != NULL ? now.path : "none, the defaults");
    if (!v->stopping) fleet_policy(v->fleet, rules_require(&v->policy, v->set->jail.no_jail));
}

/* The front door has ended. True where it is over; else another one stands in its place: clients of the old one see
 * their connections end in the middle of an answer, never its end. */
static bool front_ended(struct serving *v, const struct jail_end *end, bool *good, err *e)
{
    jail_free(&v->front);
    if (v->stopping || (!end->crashed && end->code == 0)) return true; /* it ends by itself where a client asks */
    say("front door: %s", end->text[0] != '\0' ? end->text : "it ended");
    v->front_short_lives = now_s() - v->front_since < SHORT_LIFE_S ? v->front_short_lives + 1 : 0;
    *good = v->front_short_lives < SHORT_LIVES_MAX ||
            fail(e, ERR_STATE, ERR_NO_OFFSET, "front door: it ended %d times, each soon after its start",
                 SHORT_LIVES_MAX);
    for (size_t i = 0; i < v->count && *good; i++) *good = crew_client_gone(fleet_crew(v->fleet, i), e);
    if (*good) {
        ring_restart(&v->keys.ring, RING_READER);
        close(v->epoll_fd); /* the dead one's watches are of descriptors that are gone */
        v->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        *good = start_front(v, e);
    }
    return !*good;
}

/* Waits for what may happen: a signal, a line, an end; and looks at the crews. */
static void wait_for_something(struct serving *v)
{
    struct pollfd wait[3 + SERVICE_PEERS * SERVER_MODELS_MAX + HTTP_LISTENERS_MAX] = {
        { .fd = v->signal_fd, .events = POLLIN },
        { .fd = v->log_fd[0], .events = POLLIN },
        { .fd = v->front.pidfd, .events = POLLIN },
    };
    size_t count = 3;
    for (size_t i = 0; i < v->count; i++) {
        int fds[SERVICE_PEERS];
        crew_watch(fleet_crew(v->fleet, i), fds);
        for (size_t j = 0; j < SERVICE_PEERS; j++) wait[count++] = (struct pollfd){ .fd = fds[j], .events = POLLIN };
    }
    if (!v->stopping) count += acceptor_watch(&v->door, wait + count);
    poll(wait, count, TEND_MS);
    if (!v->stopping) acceptor_turn(&v->door);
    struct signalfd_siginfo info;
    if ((wait[0].revents & POLLIN) != 0 && read(v->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGHUP) begin_stop(v);
        else read_policy_again(v);
    }
    if ((wait[1].revents & POLLIN) != 0) read_log(v);
}

static bool tend(struct serving *v, err *e)
{
    bool good = true;
    for (;;) {
        struct jail_end end;
        wait_for_something(v);
        if (good && !v->stopping) good = fleet_tend(v->fleet, e);
        if (!good) begin_stop(v);
        key_watch_look(&v->keys, v->set, v->bell_fd);
        if (jail_wait(&v->front, 0, &end) && front_ended(v, &end, &good, e)) return good;
        if (v->stopping && now_s() - v->stop_at > v->set->server.drain_s + 2) return good;
    }
}

static void say_places(const struct serving *v)
{
    const struct serve_settings *set = v->set;
    for (size_t i = 0; i < v->count; i++)
        say("model %s: %s%s", v->models[i].name, v->models[i].path,
            crew_state(fleet_crew(v->fleet, i)) == CREW_DOWN ? " (loaded when it is asked for)" : "");
    if (set->port > 0) say("listening on http://%s:%zu", set->host, set->port);
    if (set->ollama_port > 0) say("listening on http://%s:%zu for Ollama's clients", set->host, set->ollama_port);
    say(set->server.keys.count > 0 ? "a key is needed (%zu known)"
                                   : "no key is needed: everybody on this machine may ask",
        set->server.keys.count);
}

static bool start_all(struct serving *v, err *e)
{
    struct serve_settings *set = v->set;
    v->count = set->model_count > 0 ? set->model_count : 1;
    v->models = calloc(v->count, sizeof *v->models);
    v->settings = calloc(v->count, sizeof *v->settings);
    if (v->models == NULL || v->settings == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "serve: no memory");
    if (!arena_new(&v->policy_room, POLICY_ARENA_BYTES, e) ||
        !rules_load(set->jail.policy, set->jail.no_jail, &v->policy_room, &v->policy, e) ||
        !rules_prove(&v->policy, set->jail.no_jail, e))
        return false;
    struct fleet_settings all = { .memory_bytes = set->compute.memory, .alone = v->count == 1, .bell_fd = v->bell_fd,
                                  .allowed = model_allowed, .log = crew_log, .arg = v };
    if (!fleet_new(&v->fleet, &all, e)) return false;
    for (size_t i = 0; i < v->count; i++)
        if (!add_model(v, &v->models[i], set->models[i], e)) return false;
    if (set->preload && !fleet_start(v->fleet, e)) return false;
    set->server.clients_max = (size_t)JAIL_FRONT_DOOR.files - FRONT_DOOR_FILES_LEFT;
    if (!serve_listen(set, e)) return false;
    v->door = acceptor_new(set->doors, set->door_count, crew_log, v);
    if (!start_front(v, e)) return false;
    rules_say_missing(&v->policy, &v->front.report);
    return true;
}

bool serve_run(struct serve_settings *set, err *e)
{
    struct serving v = { .set = set, .stop_fd = -1, .bell_fd = -1, .epoll_fd = -1, .signal_fd = -1,
                         .door = acceptor_new(NULL, 0, NULL, NULL) };
    bool good = key_watch_new(&v.keys, set->keys, e) && make_descriptors(&v, e) && start_all(&v, e);
    if (good) {
        say_places(&v);
        good = tend(&v, e);
    }
    jail_free(&v.front);
    acceptor_end(&v.door);
    fleet_free(v.fleet);
    serve_listen_end(set);
    arena_free(&v.policy_room);
    key_watch_free(&v.keys);
    free(v.models);
    free(v.settings);
    return good;
}
