/* Whole files as views. */
#ifndef HEARTH_BASE_FILE_H
#define HEARTH_BASE_FILE_H

#include "base/arena.h"

/* Maps a regular file for reading. Errors: ERR_IO, ERR_VALUE (a folder, a pipe); the text names the path. The file may
 * change under the reader: copy what steers memory access, then check the copy. Undo with file_unmap. */
bool file_map(const char *path, view *out, err *e);
void file_unmap(view *v); /* an empty view is fine */

/* Reads a file or pipe of at most `limit_bytes` into the arena. `path` "-" is standard input.
 * Errors: ERR_IO, ERR_LIMIT, ERR_MEMORY. */
bool file_read(const char *path, size_t limit_bytes, arena *a, view *out, err *e);

/* Writes `parts` one after the other to PATH.part, syncs it, and renames it: the old file stays unless all of the new
 * one is on disk. Errors: ERR_IO; nothing is left behind. */
bool file_write(const char *path, const view *parts, size_t part_count, err *e);

#endif
