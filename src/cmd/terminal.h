/* Lines from a terminal. They are edited by libedit; Ctrl-C arrives as a readable descriptor, so it ends an answer or
 * clears a line and never the program. Works in a dumb terminal too, without colour and bracketed paste. */
#ifndef HEARTH_CMD_TERMINAL_H
#define HEARTH_CMD_TERMINAL_H

#include "base/err.h"
#include "base/view.h"

#include <stddef.h>

struct terminal;

/* `interrupts` is a signalfd of SIGINT, which the caller has blocked. Undo with terminal_close. */
bool terminal_open(struct terminal **out, int interrupts, err *e);
void terminal_close(struct terminal *t); /* NULL is fine */

/* One entry without its line end, valid until the next call; false at the end of input (Ctrl-D). Line ends inside it
 * come from a paste, from Alt-Enter, or from lines that end in a backslash. An entry given up with Ctrl-C starts anew.
 */
bool terminal_line(struct terminal *t, view *out);

/* The text that the next terminal_line begins with, to be edited. */
void terminal_prefill(struct terminal *t, view text);

/* Takes a waiting Ctrl-C, if there is one. */
bool terminal_interrupted(struct terminal *t);

/* Dims what is printed from here on, and ends that; nothing where colour is not wanted or not possible. */
void terminal_dim(const struct terminal *t, bool on);

#endif
