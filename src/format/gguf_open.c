/* A model on disk: one file, or the shards of a split one. See gguf.h. */
#include "base/file.h"
#include "format/gguf_part.h"

#include <assert.h>
#include <stdio.h>

enum { PATH_BYTES_MAX = 4096 };

/* What a file says about being part of a model. A file that says nothing is the whole of it. */
typedef struct split {
    uint64_t no, count, tensors;
} split;

/* Reads a file's directory from a copy of its head: the map can change under us, the copy cannot. The
 * first reading finds out how long the head is; nothing of it is kept. */
static bool read_one(view file, arena *a, gguf_dir *dir, err *e)
{
    size_t mark = a->used_bytes;
    view head;
    bool good = gguf_read_dir(file, a, dir, e);
    arena_rewind(a, mark);
    return good && arena_copy(a, (view){ file.ptr, dir->head_bytes }, &head, "GGUF head", e) &&
           gguf_read_head(head, file.len_bytes, a, dir, e);
}

static bool open_one(const char *path, arena *a, view *file, gguf_dir *dir, err *e)
{
    if (!file_map(path, file, e)) return false;
    bool good = read_one(*file, a, dir, e);
    if (!good) {
        err_prefix(e, path);
        file_unmap(file);
    }
    return good;
}

/* Writers use u16 for the numbers and i32 for the count; any integer does. A count of 0 or 1 means a whole model. */
static bool read_split(const gguf_dir *dir, split *s, err *e)
{
    *s = (split){ .no = 0, .count = 1, .tensors = dir->tensor_count };
    return gguf_u64(dir, "split.count", GGUF_OPTIONAL, 0, GGUF_SHARDS_MAX, &s->count, e) &&
           (s->count <= 1 || (gguf_u64(dir, "split.no", GGUF_REQUIRED, 0, s->count - 1, &s->no, e) &&
                              gguf_u64(dir, "split.tensors.count", GGUF_REQUIRED, 0, GGUF_TENSORS_MAX, &s->tensors,
                                       e)));
}

/* The path of shard `no`, from the first one's: NAME-00001-of-000NN.gguf, counted from one. */
static bool shard_path(const char *first, size_t no, size_t count, char out[static PATH_BYTES_MAX], err *e)
{
    char tail[64];
    int tail_bytes = snprintf(tail, sizeof tail, "-%05d-of-%05zu.gguf", 1, count);
    size_t len = strlen(first), cut = len - (size_t)tail_bytes;
    if (len < (size_t)tail_bytes || strcmp(first + cut, tail) != 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: the first of %zu files, so its name must end in %s", first, count,
                    tail);
    int want = snprintf(out, PATH_BYTES_MAX, "%.*s-%05zu-of-%05zu.gguf", (int)cut, first, no + 1, count);
    if (want < 0 || want >= PATH_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: path over %d bytes", first, PATH_BYTES_MAX - 1);
    return true;
}

/* Opens shard `no` and lets `f` own its map; *dir is its directory. */
static bool open_shard(const char *first, size_t no, const split *model, arena *a, gguf_files *f, gguf_dir *dir, err *e)
{
    char path[PATH_BYTES_MAX];
    split s;
    if (!shard_path(first, no, model->count, path, e)) return false;
    if (!open_one(path, a, &f->files[no], dir, e)) return false;
    f->file_count = no + 1;
    if (!read_split(dir, &s, e)) {
        err_prefix(e, path);
        return false;
    }
    if (s.no != no || s.count != model->count || s.tensors != model->tensors)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET,
                    "%s: says it is file %llu of %llu with %llu tensors in all, must be %zu of %llu with %llu", path,
                    (unsigned long long)s.no, (unsigned long long)s.count, (unsigned long long)s.tensors, no,
                    (unsigned long long)model->count, (unsigned long long)model->tensors);
    return true;
}

/* All tensors behind one another, then sorted again: a name in two shards shows as a duplicate. */
static bool merge(const char *path, const gguf_dir *dirs, const split *model, arena *a, gguf_files *f, err *e)
{
    size_t count = 0;
    for (size_t i = 0; i < f->file_count; i++) count += dirs[i].tensor_count;
    if (count != model->tensors)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: %zu tensors in %zu files, split.tensors.count says %llu", path,
                    count, f->file_count, (unsigned long long)model->tensors);
    f->dir = dirs[0];
    f->dir.tensor_count = count;
    f->dir.tensors = ARENA_ARRAY(a, gguf_tensor, count, "GGUF tensors", e);
    if (f->dir.tensors == NULL) return false;
    for (size_t i = 0, at = 0; i < f->file_count; i++)
        for (size_t j = 0; j < dirs[i].tensor_count; j++, at++) {
            f->dir.tensors[at] = dirs[i].tensors[j];
            f->dir.tensors[at].shard = (uint32_t)i;
        }
    if (gguf_index(&f->dir, a, e)) return true;
    err_prefix(e, path);
    return false;
}

/* The first file is open in *f; from here the table of maps is one that has room for all of them. */
static bool open_rest(const char *path, const split *model, arena *a, gguf_files *f, err *e)
{
    view *files = ARENA_ARRAY(a, view, model->count, "GGUF files", e);
    gguf_dir *dirs = ARENA_ARRAY(a, gguf_dir, model->count, "GGUF directories", e);
    if (files == NULL || dirs == NULL) return false;
    files[0] = f->files[0];
    dirs[0] = f->dir;
    f->files = files;
    for (size_t i = 1; i < model->count; i++)
        if (!open_shard(path, i, model, a, f, &dirs[i], e)) return false;
    return merge(path, dirs, model, a, f, e);
}

bool gguf_open(const char *path, arena *a, gguf_files *out, err *e)
{
    split model;
    *out = (gguf_files){ 0 };
    out->files = ARENA_ARRAY(a, view, 1, "GGUF files", e);
    if (out->files == NULL || !open_one(path, a, &out->files[0], &out->dir, e)) return false;
    out->file_count = 1;
    bool good = read_split(&out->dir, &model, e);
    if (!good) err_prefix(e, path);
    if (good && model.no != 0)
        good = fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: file %llu of a model in %llu, open the first", path,
                    (unsigned long long)model.no + 1, (unsigned long long)model.count);
    if (good && model.count > 1) good = open_rest(path, &model, a, out, e);
    if (!good) gguf_close(out);
    return good;
}

/* Like open_rest, of files that somebody else found and mapped. */
static bool read_rest(const view *files, const split *model, arena *a, gguf_files *f, err *e)
{
    gguf_dir *dirs = ARENA_ARRAY(a, gguf_dir, model->count, "GGUF directories", e);
    if (dirs == NULL) return false;
    dirs[0] = f->dir;
    for (size_t i = 1; i < model->count; i++) {
        split s;
        if (!read_one(files[i], a, &dirs[i], e) || !read_split(&dirs[i], &s, e)) return false;
        if (s.no != i || s.count != model->count || s.tensors != model->tensors)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "file %zu says it is %llu of %llu, must be %zu of %llu", i + 1,
                        (unsigned long long)s.no + 1, (unsigned long long)s.count, i + 1,
                        (unsigned long long)model->count);
    }
    return merge("the model", dirs, model, a, f, e);
}

bool gguf_read_files(const view *files, size_t count, arena *a, gguf_files *out, err *e)
{
    split model;
    *out = (gguf_files){ .borrowed = true };
    out->files = ARENA_ARRAY(a, view, count, "GGUF files", e);
    if (out->files == NULL || !read_one(files[0], a, &out->dir, e) || !read_split(&out->dir, &model, e)) return false;
    memcpy(out->files, files, count * sizeof *files);
    out->file_count = count;
    if (model.no != 0 || (model.count < 1 ? 1 : model.count) != count)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "file %llu of a model in %llu; %zu files are here, named as the first "
                    "one is", (unsigned long long)model.no + 1, (unsigned long long)model.count, count);
    return count == 1 || read_rest(files, &model, a, out, e);
}

void gguf_close(gguf_files *f)
{
    for (size_t i = 0; i < f->file_count && !f->borrowed; i++) file_unmap(&f->files[i]);
    *f = (gguf_files){ 0 };
}

view gguf_tensor_bytes(const gguf_files *f, const gguf_tensor *t)
{
    assert(t->shard < f->file_count);
    view file = f->files[t->shard];
    assert(t->offset <= file.len_bytes && t->bytes <= file.len_bytes - t->offset);
    return (view){ file.ptr + t->offset, t->bytes };
}
