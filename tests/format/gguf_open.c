/* format/gguf_open.c: split models, and files larger than 4 GB. */
#include "format/gguf_write.h"

#include "base/file.h"
#include "check.h"
#include "gguf_build.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir_path[64];

static const char *in_dir(const char *name, char room[static 128])
{
    snprintf(room, 128, "%s/%s", dir_path, name);
    return room;
}

/* One file of a split model: what it says of itself, and two tensors of one byte each, holding no * 16 + n. */
struct shard {
    uint32_t no, count, tensors;
    const char *names[2];
};

static void write_shard(const char *name, const struct shard *s, bool says, arena *a)
{
    gguf_plan plan;
    gguf_out out;
    err e = { 0 };
    char path[128];
    bool good = gguf_plan_new(&plan, 4, 2, a, &e) && gguf_set_u32(&plan, "first", s->no == 0, &e);
    if (says)
        good = good && gguf_set_u32(&plan, "split.no", s->no, &e) && gguf_set_u32(&plan, "split.count", s->count, &e) &&
               gguf_set_u32(&plan, "split.tensors.count", s->tensors, &e);
    for (size_t i = 0; i < 2; i++) good = good && gguf_plan_tensor(&plan, view_of(s->names[i]), 24, NULL, 0, &e);
    good = good && gguf_out_open(&out, in_dir(name, path), &plan, &e);
    for (size_t i = 0; good && i < 2; i++) {
        uint8_t byte = (uint8_t)(s->no * 16 + i);
        good = gguf_out_put(&out, (view){ &byte, 1 }, &e);
    }
    CHECK(good && gguf_out_close(&out, &e), "%s: %s", name, e.text);
    arena_rewind(a, 0);
}

static const char *const SHARD_NAMES[] = { "m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf" };

static void write_good(arena *a)
{
    static const struct shard good[] = {
        { 0, 3, 6, { "a", "b" } }, { 1, 3, 6, { "c", "d" } }, { 2, 3, 6, { "e", "f" } },
    };
    for (size_t i = 0; i < 3; i++) write_shard(SHARD_NAMES[i], &good[i], true, a);
}

static void remove_all(void)
{
    char path[128];
    for (size_t i = 0; i < 3; i++) unlink(in_dir(SHARD_NAMES[i], path));
}

static void split_opens(arena *a)
{
    gguf_files f;
    err e = { 0 };
    char path[128];
    write_good(a);
    if (CHECK(gguf_open(in_dir(SHARD_NAMES[0], path), a, &f, &e), "%s", e.text)) {
        uint64_t first = 0;
        CHECK(f.file_count == 3 && f.dir.tensor_count == 6, "%zu files, %zu tensors", f.file_count, f.dir.tensor_count);
        CHECK(gguf_u64(&f.dir, "first", GGUF_REQUIRED, 1, 1, &first, &e), "metadata is the first file's: %s", e.text);
        for (size_t i = 0; i < 6; i++) {
            const char name[] = { (char)('a' + i), '\0' };
            const gguf_tensor *t = gguf_tensor_find(&f.dir, name);
            if (!CHECK(t != NULL && t->shard == i / 2, "tensor %s", name)) continue;
            view bytes = gguf_tensor_bytes(&f, t);
            CHECK(bytes.len_bytes == 1 && bytes.ptr[0] == i / 2 * 16 + i % 2, "tensor %s has another's bytes", name);
        }
        gguf_close(&f);
        gguf_close(&f);
        CHECK(f.file_count == 0, "closed");
    }
    arena_rewind(a, 0);
    CHECK(!gguf_open(in_dir(SHARD_NAMES[1], path), a, &f, &e) && strstr(e.text, "file 2 of a model in 3") != NULL, "%s",
          e.text);
    arena_rewind(a, 0);
    remove_all();
}

static const struct {
    const char *says;
    size_t which;
    struct shard shard;
    bool says_split;
    const char *text;
} WRONG[] = {
    { "another number",         1, { 2, 3, 6, { "c", "d" } }, true,  "says it is file 2 of 3 with 6"        },
    { "another count",          1, { 1, 2, 6, { "c", "d" } }, true,  "says it is file 1 of 2 with 6"        },
    { "another total",          2, { 2, 3, 7, { "e", "f" } }, true,  "with 7 tensors in all, must be 2 of 3" },
    { "no split keys",          1, { 1, 3, 6, { "c", "d" } }, false, "says it is file 0 of 1"               },
    { "a tensor of file 1",     2, { 2, 3, 6, { "e", "a" } }, true,  "tensor a: twice"                      },
    { "number 3 of 3",          1, { 3, 3, 6, { "c", "d" } }, true,  "split.no: 3, allowed 0..2"            },
    { "too many files",         0, { 0, 1025, 6, { "a", "b" } }, true, "split.count: 1025, allowed 0..1024" },
    { "name for another count", 0, { 0, 2, 6, { "a", "b" } }, true,  "must end in -00001-of-00002.gguf"     },
    { "total too large",        0, { 0, 3, 7, { "a", "b" } }, true,  "with 6 tensors in all, must be 1 of 3" },
};

static void wrong_shards(arena *a)
{
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        gguf_files f;
        err e = { 0 };
        char path[128];
        write_good(a);
        write_shard(SHARD_NAMES[WRONG[i].which], &WRONG[i].shard, WRONG[i].says_split, a);
        bool good = gguf_open(in_dir(SHARD_NAMES[0], path), a, &f, &e);
        CHECK(!good && strstr(e.text, WRONG[i].text) != NULL && strstr(e.text, dir_path) != NULL, "%s: %s",
              WRONG[i].says, e.text);
        CHECK(f.file_count == 0, "%s: left open", WRONG[i].says);
        arena_rewind(a, 0);
    }
    /* Fewer tensors in all than the files say: only the sum shows it. */
    for (size_t i = 0; i < 3; i++) {
        const struct shard s = { (uint32_t)i, 3, 7, { i == 0 ? "a" : i == 1 ? "c" : "e",
                                                     i == 0 ? "b" : i == 1 ? "d" : "f" } };
        write_shard(SHARD_NAMES[i], &s, true, a);
    }
    gguf_files f;
    err e = { 0 };
    char path[128];
    CHECK(!gguf_open(in_dir(SHARD_NAMES[0], path), a, &f, &e) &&
          strstr(e.text, "6 tensors in 3 files, split.tensors.count says 7") != NULL, "%s", e.text);
    arena_rewind(a, 0);
    /* A name shorter than what it must end in, and one of the same length that ends otherwise. */
    static const char *const short_names[] = { "m.gguf", "m-0001-of-000003.gguf" };
    static const struct shard first = { 0, 3, 6, { "a", "b" } };
    int here = open(".", O_RDONLY | O_DIRECTORY);
    for (size_t i = 0; i < 2; i++) {
        write_shard(short_names[i], &first, true, a);
        e = (err){ 0 };
        CHECK(here >= 0 && chdir(dir_path) == 0, "chdir");
        CHECK(!gguf_open(short_names[i], a, &f, &e) && strstr(e.text, "must end in -00001-of-00003.gguf") != NULL, "%s",
              e.text);
        CHECK(unlink(short_names[i]) == 0 && fchdir(here) == 0, "fchdir");
        arena_rewind(a, 0);
    }
    close(here);
    unlink(in_dir(SHARD_NAMES[2], path));
    e = (err){ 0 };
    CHECK(!gguf_open(in_dir(SHARD_NAMES[0], path), a, &f, &e) && e.code == ERR_IO &&
          strstr(e.text, SHARD_NAMES[2]) != NULL, "a missing file: %s", e.text);
    arena_rewind(a, 0);
    remove_all();
}

/* Two tensors, the second behind 5 GB of nothing: a sparse file, a few pages on disk. */
static void larger_than_4_gb(arena *a)
{
    static const uint64_t big[] = { 256, 20 << 20 }, small[] = { 16 };
    char path[128];
    build b = build_new(4096);
    put_head(&b, 3, 2, 0);
    put_tensor(&b, "big", 2, big, 24, 0);
    put_tensor(&b, "small", 1, small, 24, 256ull * (20 << 20));
    put_padding(&b, 32);
    in_dir("large.gguf", path);
    uint64_t at = b.len + 256ull * (20 << 20);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    bool made = fd >= 0 && ftruncate(fd, (off_t)at + 16) == 0 && pwrite(fd, b.bytes, b.len, 0) == (ssize_t)b.len &&
                pwrite(fd, "behind five GB..", 16, (off_t)at) == 16;
    struct stat st = { 0 };
    if (fd >= 0) fstat(fd, &st);
    if (!made || st.st_blocks > 4096) {
        check_skip("no sparse files of 5 GB here");
    } else {
        gguf_files f;
        err e = { 0 };
        if (CHECK(gguf_open(path, a, &f, &e), "%s", e.text)) {
            const gguf_tensor *t = gguf_tensor_find(&f.dir, "small");
            CHECK(t != NULL && t->offset == at && view_is(gguf_tensor_bytes(&f, t), "behind five GB.."), "its bytes");
            gguf_close(&f);
        }
        arena_rewind(a, 0);
        CHECK(ftruncate(fd, (off_t)at + 15) == 0 && !gguf_open(path, a, &f, &e) && e.code == ERR_TRUNCATED,
              "one byte less");
        arena_rewind(a, 0);
    }
    if (fd >= 0) close(fd);
    unlink(path);
    free(b.bytes);
}

static void no_file(arena *a)
{
    gguf_files f;
    err e = { 0 };
    char path[128];
    CHECK(!gguf_open(in_dir("absent.gguf", path), a, &f, &e) && e.code == ERR_IO, "%s", e.text);
    e = (err){ 0 };
    CHECK(!gguf_open(dir_path, a, &f, &e) && e.code == ERR_VALUE, "a folder: %s", e.text);
    e = (err){ 0 };
    view text = view_of("not a model at all, just a line of text");
    CHECK(file_write(in_dir("text.gguf", path), &text, 1, &e), "%s", e.text);
    CHECK(!gguf_open(path, a, &f, &e) && e.code == ERR_VALUE && strstr(e.text, "text.gguf: not a GGUF file") != NULL,
          "%s", e.text);
    unlink(path);
    arena_rewind(a, 0);
}

int main(void)
{
    arena a = { 0 };
    err e = { 0 };
    const char *tmp = getenv("TMPDIR");
    snprintf(dir_path, sizeof dir_path, "%.40s/hearth-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (!CHECK(mkdtemp(dir_path) != NULL, "%s", dir_path)) return check_done();
    if (!CHECK(arena_new(&a, (size_t)16 << 20, &e), "%s", e.text)) return check_done();
    split_opens(&a);
    wrong_shards(&a);
    larger_than_4_gb(&a);
    no_file(&a);
    arena_free(&a);
    CHECK(rmdir(dir_path) == 0, "%s: something was left behind", dir_path);
    return check_done();
}
