/* Tensors behind a head, and a file that is either all there or not there: see gguf_write.h. */
#include "format/gguf_write.h"

#include "base/checked.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static bool io_fail(const gguf_out *out, const char *what, err *e)
{
    return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s: %s", out->path, what, strerror(errno));
}

static void part_path(const gguf_out *out, char part[static GGUF_OUT_PATH_BYTES])
{
    int len = snprintf(part, GGUF_OUT_PATH_BYTES, "%s.part", out->path);
    assert(len > 0 && len < GGUF_OUT_PATH_BYTES); /* gguf_out_open saw to it */
}

/* A write may take less than it was given, or be interrupted; neither is an error. */
static bool write_all(gguf_out *out, view bytes, err *e)
{
    for (size_t at = 0; at < bytes.len_bytes;) {
        ssize_t put = write(out->fd, bytes.ptr + at, bytes.len_bytes - at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return io_fail(out, "cannot write", e);
        at += (size_t)put;
    }
    out->file_at += bytes.len_bytes;
    return true;
}

/* Zeros up to where the next tensor, or the end of the file, is. */
static bool pad(gguf_out *out, err *e)
{
    static const uint8_t zeros[512];
    bool last = out->tensor == out->plan->tensor_count;
    size_t want = last ? out->file_bytes : out->plan->tensors[out->tensor].offset;
    assert(want >= out->file_at);
    while (out->file_at < want)
        if (!write_all(out, (view){ zeros, min_size(sizeof zeros, want - out->file_at) }, e)) return false;
    return true;
}

bool gguf_out_open(gguf_out *out, const char *path, gguf_plan *plan, err *e)
{
    view head;
    char part[GGUF_OUT_PATH_BYTES];
    *out = (gguf_out){ .fd = -1, .plan = plan };
    size_t len = strlen(path);
    if (len > sizeof out->path - sizeof ".part")
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: path over %zu bytes", path, sizeof out->path - sizeof ".part");
    memcpy(out->path, path, len + 1);
    if (!gguf_plan_head(plan, &head, &out->file_bytes, e)) {
        err_prefix(e, path);
        return false;
    }
    part_path(out, part);
    out->fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out->fd < 0) return io_fail(out, "cannot create its .part file", e);
    if (write_all(out, head, e)) return true;
    gguf_out_abort(out);
    return false;
}

bool gguf_out_put(gguf_out *out, view bytes, err *e)
{
    assert(out->fd >= 0);
    bool more = out->tensor < out->plan->tensor_count;
    size_t left = more ? out->plan->tensors[out->tensor].bytes - out->at_bytes : 0;
    if (bytes.len_bytes > left)
        return fail(e, ERR_STATE, ERR_NO_OFFSET, "%s: tensor %zu takes %zu more bytes, was given %zu", out->path,
                    out->tensor, left, bytes.len_bytes);
    if (!write_all(out, bytes, e)) return false;
    out->at_bytes += bytes.len_bytes;
    if (!more || bytes.len_bytes < left) return true;
    out->tensor++;
    out->at_bytes = 0;
    return pad(out, e);
}

bool gguf_out_close(gguf_out *out, err *e)
{
    assert(out->fd >= 0);
    char part[GGUF_OUT_PATH_BYTES];
    part_path(out, part);
    bool good = out->tensor == out->plan->tensor_count ||
                fail(e, ERR_STATE, ERR_NO_OFFSET, "%s: %zu of %zu tensors are complete", out->path, out->tensor,
                     out->plan->tensor_count);
    assert(!good || out->file_at == out->file_bytes);
    /* Without the sync a crash could leave the new name on bytes that never reached the disk. */
    good = good && (fsync(out->fd) == 0 || io_fail(out, "cannot write", e));
    good = (close(out->fd) == 0 || io_fail(out, "cannot write", e)) && good;
    out->fd = -1;
    good = good && (rename(part, out->path) == 0 || io_fail(out, "cannot replace", e));
    if (!good) unlink(part);
    return good;
}

void gguf_out_abort(gguf_out *out)
{
    char part[GGUF_OUT_PATH_BYTES];
    if (out->fd < 0) return;
    part_path(out, part);
    close(out->fd);
    unlink(part);
    out->fd = -1;
}
