/* What a command says of the experts a sparse model chose: a summary, a trace, a picture. */
#ifndef HEARTH_CMD_EXPERTS_H
#define HEARTH_CMD_EXPERTS_H

#include "cmd/options.h"
#include "cmd/out.h"
#include "model/usage.h"

struct expert_options {
    const char *trace, *heat;
};
struct option_group expert_group(struct expert_options *values);

/* All zeros is closed. A dense model has nothing to log: then only options that ask for files are errors. */
struct expert_log {
    struct usage usage;
    struct usage_seen seen; /* expert_log_watch's own */
    struct out_file trace;
    const char *heat;
    bool on, traces;
    err e; /* of the trace, said at the end */
};

/* True where a log is asked for: --stats (`summary`), --trace or --heat. */
bool expert_log_wanted(const struct expert_options *set, bool summary);

/* Takes from `a`, which must keep it until expert_log_end. A model of no experts: experts 0. `watched`: tokens of one
 * step that expert_log_watch may hear of, 0 where it never does. */
bool expert_log_begin(struct expert_log *l, const struct expert_options *set, bool summary, size_t layers,
                      size_t experts, size_t top_k, size_t watched, arena *a, err *e);

/* One layer of a step. */
void expert_log_take(struct expert_log *l, const struct usage_seen *seen);

/* The same as an expert_watch whose arg is a struct expert_log. */
void expert_log_watch(void *arg, const struct expert_event *event);

/* Finishes the files; with `summary`, lines to standard error. */
bool expert_log_end(struct expert_log *l, bool summary, err *e);
void expert_log_abandon(struct expert_log *l); /* closed is fine */

/* A picture of numbers 0..1 in `rows` x `cols`, as SVG: dark is much. `row_name` is "layer". */
bool heat_write(const char *path, const char *title, const char *row_name, const double *values, size_t rows,
                size_t cols, err *e);

#endif
