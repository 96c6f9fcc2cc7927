/* Any bytes through unigram, behind a normalization map that is itself any bytes: the first byte chooses settings, the
 * second the length of the map. */
#include "tokenizer_part.h"

static tokenizer *make(struct fuzz_room *room, uint8_t settings, view map)
{
    static struct tiny_vocab v;
    tokenizer *t;
    err e = { 0 };
    v = (struct tiny_vocab){ 0 };
    tiny_sentencepiece(&v, "t5", (settings & 1) == 0);
    v.source.add_space_prefix = (settings & 2) != 0 ? TRI_NO : TRI_YES;
    v.source.remove_extra_whitespaces = (settings & 4) != 0 ? TRI_NO : TRI_YES;
    v.source.charsmap = map;
    assert(tokenizer_new(&t, &v.source, &room->vocab, &e) || map.len_bytes > 0);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_room room;
    if (size < 2) return 0;
    fuzz_open(&room);
    uint8_t settings = data[0] & 31;
    view map = { data + 2, (settings & 16) != 0 ? min_size((size_t)data[1] * 4, size - 2) : 0 };
    view text = view_after((view){ data + 2, size - 2 }, map.len_bytes);
    size_t mark = room.vocab.used_bytes;
    if (map.len_bytes == 0 && room.made[settings] == NULL) room.made[settings] = make(&room, settings, map);
    tokenizer *t = map.len_bytes == 0 ? room.made[settings] : make(&room, settings, map);
    if (t != NULL) {
        view back = fuzz_trip(&room, t, text, data[1], (settings & 8) != 0);
        bool marks = memmem(text.ptr, text.len_bytes, "\xE2\x96\x81", 3) != NULL;
        if (map.len_bytes == 0 && (settings & 13) == 4 && !marks) assert(view_equal(back, text));
    }
    if (map.len_bytes > 0) arena_rewind(&room.vocab, mark);
    arena_rewind(&room.scratch, 0);
    return 0;
}
