/* The processes of one model: packed or mapped once, a text worker and an engine, started again when they end. The crew
 * owns the rings between them and their client; the client is this process, or one that it starts. The rings stay as
 * long as the crew does, so a client that can take no new one sees the model come and go:
 *
 *   DOWN --crew_load--> PACKING --> UP        crew_unload: DOWN again, the image and both workers are gone
 */
#ifndef HEARTH_ORCHESTRATOR_CREW_H
#define HEARTH_ORCHESTRATOR_CREW_H

#include "base/team.h"
#include "jail/jail.h"
#include "orchestrator/service.h"

/* What plays the engine in a test: in the engine's jail, at its ends of the rings. */
struct crew_engine {
    bool (*prepare)(void *arg, err *e);
    void (*run)(void *arg, ring *in, ring *out);
    void *arg;
};

struct crew_settings {
    const char *path;              /* a model file, or an image that `hearth pack` wrote */
    struct hearth_settings engine;
    struct team_cpus cpus;         /* of the engine's threads */
    view template_source;          /* takes the place of the model's own template; empty: that. Outlives the crew */
    uint32_t require;              /* walls without which nothing starts: JAIL_REQUIRED, or policy's */
    bool no_jail;                  /* none but closed descriptors: --no-jail */
    void (*progress)(void *arg, size_t done_bytes, size_t all_bytes); /* packing; may be NULL */
    void (*log)(void *arg, const char *line); /* a process ended, was started again; may be NULL */
    void *arg;
    const struct crew_engine *engine_played; /* of tests (tests/orchestrator/scripted.h); NULL: the engine itself */
    size_t ctx_tok_max;            /* ids of one prompt that are kept: 0 for the engine's context */
};

typedef struct crew crew;

/* A crew that is down: its rings, and nothing that runs. Errors: ERR_LIMIT, ERR_MEMORY, the rings'. */
bool crew_new(crew **out, const struct crew_settings *set, err *e);

/* Begins to pack, or maps, and starts both workers; crew_tend does the rest. The main thread alone: they die with the
 * thread that made them. Errors: what the file is refused for; a wall that is required and missing, with how to get it:
 * the crew is down then. */
bool crew_load(crew *c, err *e);
void crew_unload(crew *c); /* down is fine */

/* crew_new and crew_load, and back when the workers have been started. */
bool crew_start(crew **out, const struct crew_settings *set, err *e);
void crew_stop(crew *c); /* ends the processes; NULL is fine */

/* ORDER: as a crew goes through them. */
enum crew_state { CREW_DOWN, CREW_PACKING, CREW_UP };
enum crew_state crew_state(const crew *c);

/* Memory of a model that is up: its image, and what its engine planned beside it, once that has told. Down: 0. True
 * once the engine has told. It told that of itself, so it counts for at most engine.memory_bytes less the image. */
bool crew_bytes(const crew *c, uint64_t *image_bytes, uint64_t *plan_bytes);

/* What the client wishes since the last call: the model loaded, or let go. */
enum crew_wish { CREW_NO_WISH, CREW_WANTED, CREW_UNWANTED };
enum crew_wish crew_wish(crew *c);

/* Tells the client something of enum service_news. False where the ring is full: later. */
bool crew_tell(crew *c, uint32_t news, enum err_code code, const char *text);

/* This process is the client: attaches `out`, once. crew_detach it, when nobody uses it any more, before crew_stop. */
bool crew_attach(crew *c, struct service_rings *out, err *e);
void crew_detach(struct service_rings *out); /* all zeros is fine */

/* A jailed process will be the client: the ends for jail_options.rings (CREW_CLIENT_RINGS of them), and what the
 * child makes a service of after jail_spawn took them. The crew's client is gone once that process is: call
 * crew_client_gone, then the next one may be spawned. */
enum { CREW_CLIENT_RINGS = 2 * SERVICE_PEERS + 2 };
struct service_rings *crew_lend(crew *c, struct jail_ring ends[static CREW_CLIENT_RINGS]);
bool crew_client_gone(crew *c, err *e);

/* Looks at the packer or the workers, without waiting: one that ended, or that the client calls broken, is replaced,
 * and the log told. False where one can not be started, or refused the model, or ended three times, each soon after its
 * start: `e` has why, and there is nothing to do but crew_unload or crew_stop. */
bool crew_tend(crew *c, err *e);

/* Other walls are required from the next start of a worker on. */
void crew_require(crew *c, uint32_t walls);

/* Descriptors that become readable when one of its processes ends, for poll; -1 for none. They change with crew_tend.
 */
void crew_watch(const crew *c, int fds[static SERVICE_PEERS]);

/* The packed model, mapped to be read: its bytes are hashed where it has no identity of its own. Never looked into. */
bool crew_image(const crew *c, view *out, err *e);
void crew_image_done(view mapped);

pid_t crew_pid(const crew *c, enum service_peer peer);
const struct jail_report *crew_report(const crew *c, enum service_peer peer);

#endif
