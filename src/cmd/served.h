/* A model behind its processes, as `run` uses it: a packer, a text worker and an engine in their jails, and this
 * process as their client. */
#ifndef HEARTH_CMD_SERVED_H
#define HEARTH_CMD_SERVED_H

#include "cmd/experts.h"
#include "cmd/open.h"
#include "cmd/out.h"
#include "orchestrator/crew.h"

struct served {
    char path[PATH_BYTES_MAX];
    crew *crew;
    struct service_rings rings;
    service *service;
    int event_fd; /* readable when a worker has something to tell */
    struct text_facts text;
    struct hearth_facts engine;
    enum kv_type kv;      /* as asked for */
    bool activations_f32;
    arena arena;  /* for the command's own needs */
    struct progress progress;
    struct expert_log experts; /* of jail_choice.experts; open until served_experts_end */
};

/* Options of commands whose model runs in jails. */
struct jail_choice {
    bool no_jail;
    const char *policy; /* a file; NULL: the defaults */
    uint64_t mask_bytes; /* room for tables of schemas and grammars; 0: none will be asked for */
    const struct expert_options *experts; /* what of the experts used is kept; NULL: nothing */
    bool stats;          /* a summary of them too */
};

/* Finds, packs or maps, starts, and waits until both workers have told their facts. `source` takes the place of the
 * model's template; empty: that. All zeros is closed. Errors: one line. */
bool served_open(struct served *s, const char *word, const struct compute_options *c, const struct jail_choice *jail,
                 view source, err *e);
void served_close(struct served *s);

/* Finishes the files of the experts used; with `summary`, lines to standard error. */
bool served_experts_end(struct served *s, bool summary, err *e);

/* The next event; waits at most `wait_ms` for one, and looks after the workers meanwhile. False where none came, or
 * with an error. */
bool served_next(struct served *s, int wait_ms, struct service_event *out, err *e);

/* What the options of drawing become in an ask; lists from s->arena. */
bool served_draws(struct served *s, const struct draw_options *d, struct service_ask *ask, err *e);

/* What tokens read as, control tokens included: `lengths[i]` bytes each, one behind the other in *text, from `a`. */
bool served_pieces(struct served *s, const int32_t *ids, size_t count, arena *a, view *text, const uint32_t **lengths,
                   err *e);

#endif
