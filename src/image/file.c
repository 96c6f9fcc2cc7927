/* Image files in the making: see file.h. */
#include "image/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool io_fail(const struct image_file *f, const char *what, int error, err *e)
{
    return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s %zu bytes: %s", f->part, what, f->len_bytes, strerror(error));
}

bool image_file_begin(struct image_file *f, const char *path, size_t len_bytes, err *e)
{
    *f = (struct image_file){ .fd = -1, .len_bytes = len_bytes };
    int len = snprintf(f->path, sizeof f->path, "%s", path);
    if (len < 0 || (size_t)len >= sizeof f->path)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%.200s...: path over %zu bytes", path, sizeof f->path - 1);
    snprintf(f->part, sizeof f->part, "%s.part", f->path);
    f->fd = open(f->part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0) return io_fail(f, "cannot create", errno, e);
    /* Room first: writing through a map to a file without it would be a signal, not an error. */
    int error = posix_fallocate(f->fd, 0, (off_t)len_bytes);
    void *base = MAP_FAILED;
    if (error == 0) {
        base = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
        if (base == MAP_FAILED) error = errno;
    }
    if (error != 0) {
        io_fail(f, "no room for", error, e);
        image_file_abandon(f);
        return false;
    }
    f->bytes = base;
    return true;
}

bool image_file_end(struct image_file *f, err *e)
{
    bool good = (msync(f->bytes, f->len_bytes, MS_SYNC) == 0 && fsync(f->fd) == 0) ||
                io_fail(f, "cannot write", errno, e);
    good = good && (rename(f->part, f->path) == 0 || io_fail(f, "cannot rename", errno, e));
    if (good) f->part[0] = '\0';
    image_file_abandon(f);
    return good;
}

void image_file_abandon(struct image_file *f)
{
    if (f->bytes != NULL) munmap(f->bytes, f->len_bytes);
    if (f->fd >= 0) {
        close(f->fd);
        if (f->part[0] != '\0') unlink(f->part);
    }
    f->bytes = NULL;
    f->fd = -1;
}
