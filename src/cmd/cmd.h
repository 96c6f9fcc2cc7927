/* cmd/ is where people and scripts meet the program: one file a command, main.c is the table of them. It is the only
 * room that prints to the user, reads the clock, or decides how the process ends. Rules of the house:
 *   results on standard output, everything else (errors, progress, remarks) on standard error;
 *   an error is one line, "hearth: ...", naming the thing, the value and the limit;
 *   exit 0, 1 (it failed, the line says why, nothing was written), 2 (the command line was wrong);
 *   progress and colour only where standard error is a terminal.
 * Start with main.c, then options.h (how a command line is read), open.h (from a model's name to a model that can
 * compute), and the command you care about. */
#ifndef HEARTH_CMD_CMD_H
#define HEARTH_CMD_CMD_H

#include "base/err.h"
#include "base/view.h"

#include <stddef.h>

#define HEARTH_VERSION "0.1"

enum exit_code { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Each takes its own name as argv[0] and returns an exit_code. */
int cmd_run(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_tokens(int argc, char **argv);
int cmd_render(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_embed(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_pack(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_make_model(int argc, char **argv); /* bench make-model */
int cmd_quantize(int argc, char **argv);
int cmd_route(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_policy(int argc, char **argv);
int cmd_data(int argc, char **argv);
int cmd_tokenizer(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_list(int argc, char **argv);

/* ---- say.c: what goes to standard error ---- */

/* One line, "hearth: ...". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says an error and gives EXIT_FAILED. */
int say_error(const err *e);

/* Seconds from some fixed moment, never going back. */
double clock_seconds(void);

/* A line that is written over while work goes on; silent where standard error is no terminal. */
struct progress {
    const char *what;
    bool shown;
    double last_seconds;
};
void progress_show(struct progress *p, size_t done, size_t all);
void progress_end(struct progress *p); /* takes the line away */

#endif
