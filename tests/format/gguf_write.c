/* format/gguf_write.h: what is read back is what was planned, and a file at a path is whole or the old one. */
#include "format/gguf_write.h"

#include "base/file.h"
#include "check.h"
#include "gguf_build.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static char dir_path[64];

static const char *in_dir(const char *name, char room[static 128])
{
    snprintf(room, 128, "%s/%s", dir_path, name);
    return room;
}

static bool exists(const char *name)
{
    char path[128];
    return access(in_dir(name, path), F_OK) == 0;
}

/* Reads a file that somebody else wrote, plans the same, and wants the same bytes; `whole` compares tensors as well. */
static void round_trip(const char *says, view file, arena *a)
{
    gguf_dir dir;
    gguf_plan plan;
    view head, written;
    size_t file_bytes;
    gguf_out out;
    err e = { 0 };
    char path[128];
    bool good = gguf_read_dir(file, a, &dir, &e) &&
                gguf_plan_new(&plan, dir.pair_count, dir.tensor_count, a, &e) && gguf_plan_copy(&plan, &dir, &e);
    for (size_t i = 0; good && i < dir.tensor_count; i++) {
        const gguf_tensor *t = &dir.tensors[i];
        good = gguf_plan_tensor(&plan, t->name, t->type, t->dims, t->dim_count, &e);
    }
    if (!CHECK(good && gguf_plan_head(&plan, &head, &file_bytes, &e), "%s: %s", says, e.text)) return;
    CHECK(head.len_bytes <= file.len_bytes && memcmp(head.ptr, file.ptr, head.len_bytes) == 0, "%s: the head differs",
          says);
    if (!CHECK(gguf_out_open(&out, in_dir("copy.gguf", path), &plan, &e), "%s", e.text)) return;
    for (size_t i = 0; good && i < dir.tensor_count; i++) {
        /* In two pieces, of which one may be empty. */
        view all = { file.ptr + dir.tensors[i].offset, dir.tensors[i].bytes };
        size_t cut = i % 3 == 0 ? 0 : i % 3 == 1 ? all.len_bytes / 2 : all.len_bytes;
        good = gguf_out_put(&out, (view){ all.ptr, cut }, &e);
        if (good && cut < all.len_bytes) good = gguf_out_put(&out, view_after(all, cut), &e);
    }
    CHECK(good && gguf_out_close(&out, &e), "%s: %s", says, e.text);
    if (CHECK(file_map(path, &written, &e), "%s: %s", says, e.text)) {
        /* Some writers pad a file without tensors too; ours does not. */
        size_t padding = dir.tensor_count == 0 ? dir.data_offset - dir.head_bytes : 0;
        bool same = written.len_bytes <= file.len_bytes && memcmp(written.ptr, file.ptr, written.len_bytes) == 0;
        CHECK(same && written.len_bytes == file_bytes && file.len_bytes - file_bytes <= padding,
              "%s: %zu bytes written, %zu planned, %zu read", says, written.len_bytes, file_bytes, file.len_bytes);
        file_unmap(&written);
    }
    CHECK(!exists("copy.gguf.part"), "%s: the part file is still there", says);
    unlink(path);
}

/* Every type of value, alone and in arrays of 0 and 2 items, and arrays of arrays. */
static void every_type(arena *a)
{
    static const size_t bytes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    build b = build_new(8192);
    put_head(&b, 3, 0, 13 * 3);
    for (uint32_t type = 0; type < 13; type++)
        for (uint64_t count = 0; count < 3; count++) {
            char key[32];
            snprintf(key, sizeof key, "key.%u.%u", type, (unsigned)count);
            put_key(&b, key, count == 1 && type != 9 ? type : 9);
            if (count != 1 || type == 9) {
                put_u32(&b, type);
                put_u64(&b, count);
            }
            for (uint64_t i = 0; i < count; i++) {
                if (type == 8) put_string(&b, i == 0 ? "some text" : "");
                else if (type == 9) { put_u32(&b, 4); put_u64(&b, 1); put_u32(&b, 7); }
                else put_int(&b, type == 7 ? i : 0x8182838485868788, bytes[type]);
            }
        }
    round_trip("every type", build_view(&b), a);
    arena_rewind(a, 0);
    free(b.bytes);
}

static void other_alignment(size_t alignment, arena *a)
{
    static const uint64_t dims[] = { 3 };
    size_t apart = alignment < 16 ? 16 : alignment; /* the 12 bytes of a tensor, padded */
    build b = build_new(4 * apart + 4096);
    put_head(&b, 3, 2, 1);
    put_key(&b, "general.alignment", 4);
    put_u32(&b, (uint32_t)alignment);
    put_tensor(&b, "one", 1, dims, 0, 0);
    put_tensor(&b, "two", 1, dims, 0, apart);
    for (uint64_t i = 1; i <= 2; i++) {
        put_padding(&b, alignment);
        put_int(&b, 0x1111111111111111 * i, 8);
        put_u32(&b, 0x44444444);
    }
    put_padding(&b, alignment);
    char says[32];
    snprintf(says, sizeof says, "alignment %zu", alignment);
    round_trip(says, build_view(&b), a);
    arena_rewind(a, 0);
    free(b.bytes);
}

static void reference_files(arena *a)
{
    static const char *const folders[] = { "models", "quants", "tokenizers" };
    size_t files = 0;
    for (size_t i = 0; i < 3; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/reference/%s", check_shared(), folders[i]);
        DIR *dir = opendir(path);
        if (dir == NULL) continue;
        for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
            size_t len = strlen(entry->d_name);
            view file;
            err e = { 0 };
            if (len < 6 || strcmp(entry->d_name + len - 5, ".gguf") != 0) continue;
            snprintf(path, sizeof path, "%s/reference/%s/%s", check_shared(), folders[i], entry->d_name);
            if (!CHECK(file_map(path, &file, &e), "%s", e.text)) continue;
            round_trip(path, file, a);
            arena_rewind(a, 0);
            file_unmap(&file);
            files++;
        }
        closedir(dir);
    }
    if (files == 0) check_skip("no reference vectors: set HEARTH_SHARED");
}

static void setters(arena *a)
{
    static const int32_t ints[] = { -1, 2, INT32_MIN };
    static const float floats[] = { 0.5f, -1.25f };
    const view strings[] = { view_of("<unk>"), view_of(""), view_of("\xE2\x96\x81the") };
    gguf_plan plan;
    gguf_dir dir;
    view head, text = { 0 }, *words = NULL;
    size_t file_bytes;
    err e = { 0 };
    bool good = gguf_plan_new(&plan, 11, 0, a, &e) && gguf_set_u32(&plan, "u32", 7, &e) &&
                gguf_set_str(&plan, "u64", view_of("soon a number"), &e) && gguf_set_i32(&plan, "i32", -7, &e) &&
                gguf_set_f32(&plan, "f32", 1.5f, &e) && gguf_set_bool(&plan, "bool", true, &e) &&
                gguf_set_u32(&plan, "gone", 1, &e) && gguf_set_i32s(&plan, "ints", ints, 3, &e) &&
                gguf_set_f32s(&plan, "floats", floats, 2, &e) && gguf_set_strings(&plan, "words", strings, 3, &e) &&
                gguf_set_str(&plan, "text", view_of("kept\n"), &e) && gguf_set_str(&plan, "empty", view_of(""), &e);
    CHECK(good, "%s", e.text);
    CHECK(!gguf_set_u32(&plan, "twelfth", 1, &e) && e.code == ERR_LIMIT, "a twelfth pair of eleven: %s", e.text);
    e = (err){ 0 };
    gguf_unset(&plan, "gone");
    gguf_unset(&plan, "never there");
    good = gguf_set_u64(&plan, "u64", UINT64_MAX, &e) && gguf_set_bytes(&plan, "bytes", view_of("\x01\x02"), &e);
    if (!CHECK(good && gguf_plan_head(&plan, &head, &file_bytes, &e), "%s", e.text)) return;
    if (!CHECK(file_bytes == head.len_bytes && gguf_read_dir(head, a, &dir, &e), "%s", e.text)) return;
    uint64_t u32 = 0, u64 = 0;
    int64_t i32 = 0;
    float f32 = 0, fs[2];
    bool flag = false;
    int32_t is[3];
    const gguf_pair *p = NULL, *q = NULL, *r = NULL, *s = NULL;
    good = gguf_u64(&dir, "u32", GGUF_REQUIRED, 0, 9, &u32, &e) &&
           gguf_u64(&dir, "u64", GGUF_REQUIRED, 0, UINT64_MAX, &u64, &e) &&
           gguf_i64(&dir, "i32", GGUF_REQUIRED, -9, 9, &i32, &e) && gguf_f32(&dir, "f32", GGUF_REQUIRED, 0, 2, &f32,
                                                                             &e) &&
           gguf_bool(&dir, "bool", GGUF_REQUIRED, &flag, &e) &&
           gguf_array(&dir, "ints", GGUF_REQUIRED, GGUF_ITEMS_INT, 3, 3, &p, &e) &&
           gguf_items_i32(p, INT32_MIN, 2, is, &e) &&
           gguf_array(&dir, "floats", GGUF_REQUIRED, GGUF_ITEMS_FLOAT, 2, 2, &q, &e) && gguf_items_f32(q, fs, &e) &&
           gguf_array(&dir, "words", GGUF_REQUIRED, GGUF_ITEMS_STRING, 3, 3, &r, &e) && gguf_strings(r, a, &words,
                                                                                                     &e) &&
           gguf_array(&dir, "bytes", GGUF_REQUIRED, GGUF_ITEMS_INT, 2, 2, &s, &e);
    if (!CHECK(good, "%s", e.text)) return;
    CHECK(u32 == 7 && u64 == UINT64_MAX && i32 == -7 && f32 > 1.4f && f32 < 1.6f && flag, "scalars come back");
    CHECK(is[0] == -1 && is[1] == 2 && is[2] == INT32_MIN && fs[0] > 0.4f && fs[1] < -1.2f, "arrays come back");
    CHECK(view_equal(words[0], strings[0]) && view_equal(words[1], strings[1]) && view_equal(words[2], strings[2]),
          "strings come back");
    CHECK(s->item_type == GGUF_U8 && view_is(s->bytes, "\x01\x02"), "bytes come back");
    CHECK(gguf_str(&dir, "text", GGUF_REQUIRED, &text, &e) && view_is(text, "kept\n") &&
          gguf_str(&dir, "empty", GGUF_REQUIRED, &text, &e) && text.len_bytes == 0, "texts come back: %s", e.text);
    CHECK(dir.pair_count == 11 && view_is(dir.pairs[1].key, "u64") && gguf_find(&dir, "gone") == NULL,
          "a changed key stays in its place, an unset one is gone");
    CHECK(gguf_str(&dir, "gone", GGUF_OPTIONAL, &text, &e) && text.len_bytes == 0, "%s", e.text);
    arena_rewind(a, 0);
}

/* The pairs that make a file part of a split model do not come along. */
static void copies_leave_split(arena *a)
{
    gguf_plan plan, copy;
    gguf_dir dir;
    view head;
    size_t file_bytes;
    err e = { 0 };
    bool good = gguf_plan_new(&plan, 4, 0, a, &e) && gguf_set_u32(&plan, "split.no", 0, &e) &&
                gguf_set_u32(&plan, "split.count", 3, &e) && gguf_set_u32(&plan, "splitter", 3, &e) &&
                gguf_plan_head(&plan, &head, &file_bytes, &e) && gguf_read_dir(head, a, &dir, &e) &&
                gguf_plan_new(&copy, 1, 0, a, &e) && gguf_plan_copy(&copy, &dir, &e);
    CHECK(good && copy.pair_count == 1 && view_is(copy.pairs[0].key, "splitter"), "%s", e.text);
    good = gguf_plan_new(&copy, 0, 0, a, &e) && gguf_plan_copy(&copy, &dir, &e);
    CHECK(!good && e.code == ERR_LIMIT, "one pair into a plan of none: %s", e.text);
    arena_rewind(a, 0);
}

static const struct { const char *says; uint32_t type; size_t dims[5], dim_count; enum err_code want; } TENSORS[] = {
    { "a row of blocks",           12, { 256, 2 },             2, ERR_NONE        },
    { "no dimensions",             0,  { 0 },                  0, ERR_NONE        },
    { "four dimensions",           0,  { 1, 2, 3, 4 },         4, ERR_NONE        },
    { "five",                      0,  { 1, 2, 3, 4, 5 },      5, ERR_LIMIT       },
    { "half a block",              12, { 128, 2 },             2, ERR_VALUE       },
    { "an unknown type",           4,  { 32 },                 1, ERR_UNSUPPORTED },
    { "a dimension of 0",          0,  { 4, 0 },               2, ERR_VALUE       },
    { "2^64 values",               24, { (size_t)1 << 32, (size_t)1 << 32 }, 2, ERR_VALUE },
    { "2^62 values of 4 bytes",    0,  { (size_t)1 << 62 },    1, ERR_LIMIT       },
};

static void tensors(arena *a)
{
    for (size_t i = 0; i < sizeof TENSORS / sizeof *TENSORS; i++) {
        gguf_plan plan;
        err e = { 0 };
        CHECK(gguf_plan_new(&plan, 0, 1, a, &e), "%s", e.text);
        bool good = gguf_plan_tensor(&plan, view_of("t"), TENSORS[i].type, TENSORS[i].dims, TENSORS[i].dim_count, &e);
        CHECK(good == (TENSORS[i].want == ERR_NONE) && e.code == TENSORS[i].want, "%s: %s", TENSORS[i].says, e.text);
        e = (err){ 0 };
        if (good) CHECK(!gguf_plan_tensor(&plan, view_of("u"), 0, NULL, 0, &e) && e.code == ERR_LIMIT,
                        "a second of one");
        arena_rewind(a, 0);
    }
    gguf_plan plan;
    err e = { 0 };
    CHECK(!gguf_plan_new(&plan, GGUF_KEYS_MAX + 1, 0, a, &e) && e.code == ERR_LIMIT, "pairs over the limit");
    e = (err){ 0 };
    CHECK(!gguf_plan_new(&plan, 0, GGUF_TENSORS_MAX + 1, a, &e) && e.code == ERR_LIMIT, "tensors over the limit");
    e = (err){ 0 };
    CHECK(gguf_plan_new(&plan, GGUF_KEYS_MAX, GGUF_TENSORS_MAX, a, &e), "at the limits: %s", e.text);
    arena_rewind(a, 0);
}

/* Plans the reader would refuse are refused before anything is on disk. */
static void refused_plans(arena *a)
{
    static const size_t dims[] = { 4 };
    static const struct { const char *says, *key, *name, *text; } rows[] = {
        { "a key with a newline",  "a\nb",               "u", "control character" },
        { "an empty key",          "",                   "u", "0 bytes long"      },
        { "two tensors alike",     "k",                  "t", "twice"             },
        { "an empty name",         "k",                  "",  "0 bytes long"      },
        { "an alignment of 24",    "general.alignment",  "u", "power of two"      },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gguf_plan plan;
        gguf_out out;
        err e = { 0 };
        char path[128];
        bool good = gguf_plan_new(&plan, 1, 2, a, &e) && gguf_set_u32(&plan, rows[i].key, 24, &e) &&
                    gguf_plan_tensor(&plan, view_of("t"), 0, dims, 1, &e) &&
                    gguf_plan_tensor(&plan, view_of(rows[i].name), 0, dims, 1, &e);
        CHECK(good, "%s: %s", rows[i].says, e.text);
        good = gguf_out_open(&out, in_dir("refused.gguf", path), &plan, &e);
        CHECK(!good && strstr(e.text, rows[i].text) != NULL, "%s: %s", rows[i].says, e.text);
        CHECK(!exists("refused.gguf") && !exists("refused.gguf.part"), "%s: left something behind", rows[i].says);
        arena_rewind(a, 0);
    }
}

static bool open_two(gguf_out *out, gguf_plan *plan, const char *path, size_t second_values, arena *a, err *e)
{
    const size_t dims[] = { 5 }, second[] = { second_values };
    return gguf_plan_new(plan, 1, 2, a, e) && gguf_set_u32(plan, "k", 1, e) &&
           gguf_plan_tensor(plan, view_of("a"), 0, dims, 1, e) &&
           gguf_plan_tensor(plan, view_of("b"), 24, second, 1, e) && gguf_out_open(out, path, plan, e);
}

static void old_file_says(const char *says, const char *path)
{
    view v;
    err e = { 0 };
    if (!CHECK(file_map(path, &v, &e), "%s: %s", says, e.text)) return;
    CHECK(view_is(v, "old"), "%s: the old file changed", says);
    file_unmap(&v);
    CHECK(!exists("old.gguf.part"), "%s: the part file is still there", says);
}

/* Whatever goes wrong, the file that was there before is there after. */
static void old_file_stays(arena *a)
{
    static const uint8_t bytes[1 << 16];
    char path[128];
    view old = view_of("old");
    gguf_plan plan;
    gguf_out out;
    err e = { 0 };
    in_dir("old.gguf", path);
    CHECK(file_write(path, &old, 1, &e), "%s", e.text);

    CHECK(open_two(&out, &plan, path, 9, a, &e), "%s", e.text);
    CHECK(gguf_out_put(&out, (view){ bytes, 19 }, &e), "%s", e.text);
    CHECK(!gguf_out_put(&out, (view){ bytes, 2 }, &e) && e.code == ERR_STATE, "two bytes where one is missing: %s",
          e.text);
    gguf_out_abort(&out);
    gguf_out_abort(&out);
    old_file_says("a piece too long", path);

    e = (err){ 0 };
    CHECK(open_two(&out, &plan, path, 9, a, &e) && gguf_out_put(&out, (view){ bytes, 20 }, &e), "%s", e.text);
    CHECK(!gguf_out_close(&out, &e) && e.code == ERR_STATE, "one of two tensors: %s", e.text);
    old_file_says("closed too early", path);

    e = (err){ 0 };
    CHECK(open_two(&out, &plan, path, 9, a, &e) && gguf_out_put(&out, (view){ bytes, 20 }, &e) &&
          gguf_out_put(&out, (view){ bytes, 9 }, &e), "%s", e.text);
    CHECK(!gguf_out_put(&out, (view){ bytes, 1 }, &e) && e.code == ERR_STATE, "a byte after the last: %s", e.text);
    gguf_out_abort(&out);
    old_file_says("a byte after the last", path);

    /* A file that may not grow over 4096 bytes stands for a disk that is full. */
    struct rlimit before, small = { 4096, 4096 };
    e = (err){ 0 };
    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0, "getrlimit");
    small.rlim_max = before.rlim_max;
    CHECK(open_two(&out, &plan, path, sizeof bytes, a, &e) && gguf_out_put(&out, (view){ bytes, 20 }, &e), "%s",
          e.text);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0, "setrlimit");
    CHECK(!gguf_out_put(&out, (view){ bytes, sizeof bytes }, &e) && e.code == ERR_IO, "a full disk: %s", e.text);
    gguf_out_abort(&out);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0, "setrlimit");
    old_file_says("a full disk", path);

    e = (err){ 0 };
    CHECK(open_two(&out, &plan, path, 9, a, &e) && gguf_out_put(&out, (view){ bytes, 20 }, &e) &&
          gguf_out_put(&out, (view){ bytes, 9 }, &e) && gguf_out_close(&out, &e), "%s", e.text);
    view v;
    CHECK(file_map(path, &v, &e) && v.len_bytes == out.file_bytes && v.len_bytes % 32 == 0, "the new file: %s", e.text);
    file_unmap(&v);
    unlink(path);
    arena_rewind(a, 0);
}

static void bad_paths(arena *a)
{
    static char path[GGUF_OUT_PATH_BYTES + 8];
    gguf_plan plan;
    gguf_out out;
    err e = { 0 };
    snprintf(path, sizeof path, "%s/none/x.gguf", dir_path);
    CHECK(!open_two(&out, &plan, path, 9, a, &e) && e.code == ERR_IO, "no such folder: %s", e.text);
    for (size_t len = GGUF_OUT_PATH_BYTES - 7; len <= GGUF_OUT_PATH_BYTES - 5; len++) {
        memset(path, 'x', sizeof path);
        path[len] = '\0';
        e = (err){ 0 };
        /* Up to the limit it is the system that finds the name too long. */
        enum err_code want = len <= GGUF_OUT_PATH_BYTES - 6 ? ERR_IO : ERR_LIMIT;
        CHECK(!open_two(&out, &plan, path, 9, a, &e) && e.code == want, "a path of %zu bytes: %s", len, e.text);
    }
    arena_rewind(a, 0);
}

int main(void)
{
    arena a = { 0 };
    err e = { 0 };
    const char *tmp = getenv("TMPDIR");
    snprintf(dir_path, sizeof dir_path, "%.40s/hearth-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (!CHECK(mkdtemp(dir_path) != NULL, "%s", dir_path)) return check_done();
    if (!CHECK(arena_new(&a, (size_t)256 << 20, &e), "%s", e.text)) return check_done();
    every_type(&a);
    other_alignment(8, &a);
    other_alignment(512, &a);
    other_alignment(GGUF_ALIGNMENT_MAX, &a);
    reference_files(&a);
    setters(&a);
    copies_leave_split(&a);
    tensors(&a);
    refused_plans(&a);
    old_file_stays(&a);
    bad_paths(&a);
    arena_free(&a);
    CHECK(rmdir(dir_path) == 0, "%s: something was left behind", dir_path);
    return check_done();
}
