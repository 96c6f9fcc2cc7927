/* Any bytes as a model file: read, looked at, written again and read again. Corpus: tests/golden/gguf. */
#include "format/gguf_write.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    arena a = { 0 };
    err e = { 0 };
    gguf_dir dir, again;
    gguf_plan plan;
    view head, *text;
    char line[200];
    size_t file_bytes;
    bool good = arena_new(&a, (size_t)16 << 20, &e) && gguf_read_dir((view){ bytes, len }, &a, &dir, &e);
    assert(good == (e.code == ERR_NONE));
    for (size_t i = 0; good && i < dir.pair_count; i++) {
        gguf_show(&dir.pairs[i], line, sizeof line);
        if (dir.pairs[i].type == GGUF_ARRAY && dir.pairs[i].item_type == GGUF_STRING)
            assert(gguf_strings(&dir.pairs[i], &a, &text, &e) || e.code == ERR_MEMORY);
    }
    good = good && gguf_plan_new(&plan, dir.pair_count, dir.tensor_count, &a, &e) && gguf_plan_copy(&plan, &dir, &e);
    for (size_t i = 0; good && i < dir.tensor_count; i++) {
        const gguf_tensor *t = &dir.tensors[i];
        assert(t->bytes <= len && t->offset <= len - t->bytes);
        good = gguf_plan_tensor(&plan, t->name, t->type, t->dims, t->dim_count, &e);
    }
    if (good && gguf_plan_head(&plan, &head, &file_bytes, &e)) {
        bool read = gguf_read_head(head, file_bytes, &a, &again, &e);
        assert(read ? again.tensor_count == dir.tensor_count : e.code == ERR_MEMORY);
    }
    arena_free(&a);
    return 0;
}
