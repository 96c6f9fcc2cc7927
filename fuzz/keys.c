/* A file of keys: what is read is written as a file that reads the same. */
#include "server/keys.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena a;
    struct key_table t, again;
    view text;
    err e = { 0 };
    if (!arena_new(&a, (size_t)1 << 26, &e)) return 0;
    if (keys_read((view){ data, size }, &a, &t, &e)) {
        assert(keys_write(&t, &a, &text, &e) && keys_read(text, &a, &again, &e));
        assert(again.count == t.count);
        for (size_t i = 0; i < t.count; i++) assert(memcmp(&again.keys[i], &t.keys[i], sizeof *t.keys) == 0);
    }
    arena_free(&a);
    return 0;
}
