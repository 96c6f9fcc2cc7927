/* format/gguf.h on files that other programs wrote: every reference file opens, and cut anywhere it says so. */
#include "format/gguf.h"

#include "check.h"

#include <dirent.h>
#include <stdlib.h>

/* Every length at which a file is cut, from its first byte to behind the head, must give a located error. */
static void cut_everywhere(const char *path, view file, size_t head_bytes, size_t step)
{
    arena a = { 0 };
    err e = { 0 };
    if (!CHECK(arena_new(&a, (size_t)64 << 20, &e), "%s", e.text)) return;
    for (size_t len = 0; len < head_bytes; len += step) {
        gguf_dir dir;
        e = (err){ 0 };
        bool opened = gguf_read_dir((view){ file.ptr, len }, &a, &dir, &e);
        arena_rewind(&a, 0);
        if (opened || e.code != ERR_TRUNCATED || e.offset > len || e.text[0] == '\0') {
            CHECK(false, "%s cut at %zu: opened %d, code %d, offset %llu, %s", path, len, opened, e.code,
                  (unsigned long long)e.offset, e.text);
            break;
        }
    }
    arena_free(&a);
}

static void opens(const char *path)
{
    arena a = { 0 };
    err e = { 0 };
    gguf_files f;
    if (!CHECK(arena_new(&a, (size_t)256 << 20, &e), "%s", e.text)) return;
    if (CHECK(gguf_open(path, &a, &f, &e), "%s", e.text)) {
        size_t strings = 0, data_bytes = 0;
        for (size_t i = 0; i < f.dir.pair_count; i++) {
            const gguf_pair *p = &f.dir.pairs[i];
            char line[100];
            gguf_show(p, line, sizeof line);
            CHECK(strlen(line) > 0 && strlen(line) < sizeof line, "%s", line);
            view *text;
            if (p->type != GGUF_ARRAY || p->item_type != GGUF_STRING) continue;
            CHECK(gguf_strings(p, &a, &text, &e), "%s", e.text);
            size_t bytes = 0;
            for (size_t j = 0; j < p->count; j++) bytes += 8 + text[j].len_bytes;
            CHECK(bytes == p->bytes.len_bytes, "%s: strings of %zu bytes in %zu", path, bytes, p->bytes.len_bytes);
            strings += p->count;
        }
        for (size_t i = 0; i < f.dir.tensor_count; i++)
            data_bytes += gguf_tensor_bytes(&f,
                                                                                        &f.dir.tensors[i]).len_bytes;
        CHECK(data_bytes <= f.files[0].len_bytes, "%s: %zu bytes of tensors", path, data_bytes);
        CHECK(gguf_find(&f.dir, "general.architecture") != NULL, "%s: no architecture", path);
        cut_everywhere(path, f.files[0], f.dir.head_bytes, strings > 2000 ? 9973 : 97);
        gguf_close(&f);
    }
    arena_free(&a);
}

static void folder(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/reference/%s", check_shared(), name);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        check_skip("no reference vectors: set HEARTH_SHARED");
        return;
    }
    size_t files = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len < 6 || strcmp(entry->d_name + len - 5, ".gguf") != 0) continue;
        snprintf(path, sizeof path, "%s/reference/%s/%s", check_shared(), name, entry->d_name);
        opens(path);
        files++;
    }
    closedir(dir);
    CHECK(files >= 8, "%s: only %zu model files", name, files);
}

int main(void)
{
    folder("models");
    folder("quants");
    folder("tokenizers");
    return check_done();
}
