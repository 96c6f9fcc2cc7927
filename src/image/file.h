/* An image as a file that is made in place: PATH.part is given all its room on the disk first, filled through a map,
 * and takes its name only when it is whole and on disk. */
#ifndef HEARTH_IMAGE_FILE_H
#define HEARTH_IMAGE_FILE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct image_file {
    char path[4096], part[4104];
    int fd;         /* -1: closed */
    uint8_t *bytes; /* zeros, to be written */
    size_t len_bytes;
};

/* Errors: ERR_LIMIT (the path), ERR_IO (a full disk shows here, not while packing). A caller that runs under a limit of
 * file sizes ignores SIGXFSZ first. */
bool image_file_begin(struct image_file *f, const char *path, size_t len_bytes, err *e);
/* Syncs and renames: the old file stays unless all of the new one is on disk. Closes either way; leaves nothing behind
 * where it can not. */
bool image_file_end(struct image_file *f, err *e);
void image_file_abandon(struct image_file *f); /* closed is fine */

#endif
