/* Whole files as views: see file.h. */
#include "base/file.h"

#include "base/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool io_fail(err *e, const char *path, const char *what)
{
    return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s: %s", path, what, strerror(errno));
}

bool file_map(const char *path, view *out, err *e)
{
    *out = (view){ 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_fail(e, path, "cannot open");
    struct stat st;
    bool good = false;
    if (fstat(fd, &st) != 0) {
        io_fail(e, path, "cannot look at");
    } else if (!S_ISREG(st.st_mode)) {
        err_set(e, ERR_VALUE, ERR_NO_OFFSET, "%s: not a regular file", path);
    } else if (st.st_size == 0) {
        err_set(e, ERR_TRUNCATED, 0, "%s: the file is empty", path);
    } else {
        void *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (base == MAP_FAILED) io_fail(e, path, "cannot map");
        else *out = (view){ base, (size_t)st.st_size };
        good = base != MAP_FAILED;
    }
    close(fd);
    return good;
}

void file_unmap(view *v)
{
    if (v->len_bytes > 0) munmap((void *)(uintptr_t)v->ptr, v->len_bytes);
    *v = (view){ 0 };
}

bool file_read(const char *path, size_t limit_bytes, arena *a, view *out, err *e)
{
    bool from_input = strcmp(path, "-") == 0;
    int fd = from_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_fail(e, path, "cannot open");
    enum { STEP_BYTES = 1 << 16 };
    size_t mark = a->used_bytes, len = 0;
    uint8_t *text = arena_take(a, 0, 1, 1, path, e);
    bool good = true;
    for (;;) {
        /* Each step is taken right behind the last one, so the text stays one piece. */
        uint8_t *room = arena_take(a, STEP_BYTES, 1, 1, path, e);
        good = room != NULL;
        if (!good) break;
        ssize_t got = read(fd, room, STEP_BYTES);
        if (got < 0 && errno == EINTR) got = 0;
        else if (got <= 0) {
            good = got == 0 || io_fail(e, path, "cannot read");
            break;
        }
        len += (size_t)got;
        arena_rewind(a, mark + (size_t)(text - (a->base + mark)) + len);
        if (len > limit_bytes) {
            good = fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: more than the %zu bytes allowed", path, limit_bytes);
            break;
        }
    }
    if (!from_input) close(fd);
    *out = (view){ text, len };
    if (!good) arena_rewind(a, mark);
    return good;
}

bool file_write(const char *path, const view *parts, size_t part_count, err *e)
{
    char part_path[4096];
    int len = snprintf(part_path, sizeof part_path, "%s.part", path);
    if (len < 0 || (size_t)len >= sizeof part_path)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: path over %zu bytes", path, sizeof part_path - 6);
    int fd = open(part_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return io_fail(e, part_path, "cannot create");
    bool good = true;
    for (size_t i = 0; good && i < part_count; i++) {
        for (size_t at = 0; good && at < parts[i].len_bytes;) {
            ssize_t put = write(fd, parts[i].ptr + at, parts[i].len_bytes - at);
            if (put < 0 && errno != EINTR) good = io_fail(e, part_path, "cannot write");
            else if (put > 0) at += (size_t)put;
        }
    }
    good = good && (fsync(fd) == 0 || io_fail(e, part_path, "cannot write"));
    good = (close(fd) == 0 || io_fail(e, part_path, "cannot write")) && good;
    good = good && (rename(part_path, path) == 0 || io_fail(e, path, "cannot replace"));
    if (!good) unlink(part_path);
    return good;
}
