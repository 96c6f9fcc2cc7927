/* The proof that the walls stand: canaries in every profile try every escape that applies to it, and what the kernel
 * shows of them is read back. `hearth doctor --prove` prints it; a start runs it in brief. */
#ifndef HEARTH_JAIL_PROVE_H
#define HEARTH_JAIL_PROVE_H

#include "jail/jail.h"

enum { PROVE_ROWS_MAX = 512 };

/* How one attempt ended. */
enum prove_end {
    PROVE_NOT_TRIED, /* no escape in this profile */
    PROVE_TRYING,
    PROVE_ALLOWED,
    PROVE_REFUSED, /* the kernel looked at it and said no: `error` has why */
    PROVE_FILTERED, /* the filter said no before the kernel looked, or ended the process */
    PROVE_FAULTED, /* the processor said no: a memory fault, a forbidden instruction */
    PROVE_ENDS
};

struct prove_tally {
    size_t rows; /* of the whole table */
    size_t count[PROVE_ENDS];
    uint8_t end[PROVE_ROWS_MAX];
    int16_t error[PROVE_ROWS_MAX];
    struct jail_report report; /* of the last canary */
};

/* Targets the attempts aim at: files, sockets, a segment, a sealed memfd, a ring. Made once, freed at the end. */
struct prove_scene;
bool prove_scene_new(struct prove_scene **out, err *e);
void prove_scene_free(struct prove_scene *s);

/* Tries every row in canaries of `p` without the walls in `skip`. With JAIL_ERRNO, rows that can not disturb one
 * another share a process, which alone is tried in `brief`; with JAIL_KILL each has its own. Errors: jail_spawn's;
 * ERR_CANCELLED, a canary was ended by somebody before it had tried everything. */
bool prove_profile(struct prove_scene *s, const struct jail_profile *p, uint32_t skip, uint32_t require,
                   enum jail_denied denied, bool brief, struct prove_tally *out, err *e);

const char *prove_row_name(size_t row);
unsigned prove_row_threat(size_t row);

/* The whole proof, told line by line: each profile, its walls, its attempts, once by an answering filter and once by
 * the one in use. `brief`: one process a profile with all attempts that can share it, and only what failed is told.
 * True where nothing was allowed and every wall in `require` stands; else `e` names the first failure. Some 10 ms a
 * profile in brief; in full 2 s a profile on an idle machine, as the kernel takes its time to end a namespace. */
typedef void prove_line(void *arg, const char *line);
bool jail_prove(uint32_t require, bool brief, prove_line *tell, void *arg, err *e);

/* Takes each wall of the engine's jail away in turn, alone and together with the filter, and tells which attempts that
 * wall had stopped: `alone` counts those that succeed without it, `behind_filter` those that succeed without it where
 * the filter (or the filter and the limits) is gone too and had failed there with it. */
bool jail_prove_walls(prove_line *tell, void *arg, size_t alone[JAIL_WALLS], size_t behind_filter[JAIL_WALLS], err *e);

#endif
