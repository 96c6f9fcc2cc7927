/* format/json.h on any bytes: no finding, and what was read can be written and read again as the same value. */
#include "format/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static arena room;
    static json_writer w;
    err e = { 0 };
    if (room.base == NULL && !arena_new(&room, (size_t)1 << 28, &e)) return 0;
    arena_rewind(&room, 0);
    const json_value *v, *again;
    if (!json_parse((view){ data, size }, &room, &v, &e)) {
        assert(e.code != ERR_NONE && (e.offset == ERR_NO_OFFSET || e.offset <= size));
        return 0;
    }
    view text;
    json_writer_start(&w, &room, (size_t)1 << 26, &e);
    w.spaced = size % 2 == 0;
    json_copy(&w, v);
    assert(json_done(&w, &text) && json_parse(text, &room, &again, &e) && json_equal(v, again));
    char pointer[64];
    assert(json_pointer(v, v->offset + v->len_bytes / 2, pointer, sizeof pointer) != NULL);
    return 0;
}
