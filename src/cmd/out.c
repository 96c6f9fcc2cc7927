/* Files and the screen: see out.h. */
#include "cmd/out.h"

#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool out_fail(struct out_file *f, const char *what, err *e)
{
    int why = errno;
    out_abandon(f);
    return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s: %s", f->path, what, strerror(why));
}

bool out_begin(struct out_file *f, const char *path, err *e)
{
    f->fd = -1;
    int len = snprintf(f->path, sizeof f->path, "%s", path);
    if (len < 1 || (size_t)len >= sizeof f->path)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "output path: %d bytes, allowed 1..%zu", len, sizeof f->path - 1);
    snprintf(f->part, sizeof f->part, "%s.part", f->path);
    f->fd = open(f->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return f->fd >= 0 || out_fail(f, "cannot create", e);
}

bool out_write(struct out_file *f, const void *bytes, size_t len, err *e)
{
    for (size_t at = 0; at < len;) {
        ssize_t put = write(f->fd, (const char *)bytes + at, len - at);
        if (put < 0 && errno != EINTR) return out_fail(f, "cannot write", e);
        if (put > 0) at += (size_t)put;
    }
    return true;
}

bool out_end(struct out_file *f, err *e)
{
    if (fsync(f->fd) != 0) return out_fail(f, "cannot write", e);
    int closed = close(f->fd);
    f->fd = -1;
    if (closed == 0 && rename(f->part, f->path) == 0) return true;
    int why = errno;
    unlink(f->part);
    errno = why;
    return out_fail(f, "cannot replace", e);
}

void out_abandon(struct out_file *f)
{
    if (f->fd < 0) return;
    close(f->fd);
    unlink(f->part);
    f->fd = -1;
}

void show_text(view text)
{
    if (!isatty(STDOUT_FILENO)) {
        fwrite(text.ptr, 1, text.len_bytes, stdout);
    } else {
        for (size_t at = 0, len; at < text.len_bytes; at += len) {
            uint32_t code = utf8_next(view_after(text, at), &len);
            bool steers = code == UTF8_INVALID || (code < 0x20 && code != '\n' && code != '\t') ||
                          (code >= 0x7F && code < 0xA0);
            if (steers) fputc('?', stdout);
            else fwrite(text.ptr + at, 1, len, stdout);
        }
    }
    fflush(stdout);
}
