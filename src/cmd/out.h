/* What goes to files and to the screen. */
#ifndef HEARTH_CMD_OUT_H
#define HEARTH_CMD_OUT_H

#include "base/err.h"
#include "base/view.h"

#include <stddef.h>

/* A file that grows piece by piece in PATH.part and takes its name only when it is whole and on disk. */
struct out_file {
    char path[4096], part[4104];
    int fd; /* -1: closed */
};
bool out_begin(struct out_file *f, const char *path, err *e);
bool out_write(struct out_file *f, const void *bytes, size_t len, err *e);
bool out_end(struct out_file *f, err *e);   /* syncs and renames; closes and leaves nothing behind where it can not */
void out_abandon(struct out_file *f);       /* closed is fine */

/* Text made by a model, to standard output at once. On a terminal, control characters other than line end and tab are
 * shown as '?': an answer must not be able to steer the terminal. Elsewhere the bytes go through as they are. */
void show_text(view text);

#endif
