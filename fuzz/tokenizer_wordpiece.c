/* Any bytes through WordPiece: nothing comes back as it was, but nothing is read or written out of bounds. */
#include "tokenizer_part.h"

static tokenizer *make(struct fuzz_room *room, uint8_t settings)
{
    static struct tiny_vocab v;
    tokenizer *t;
    err e = { 0 };
    v = (struct tiny_vocab){ 0 };
    tiny_wordpiece(&v);
    v.source.lowercase = (settings & 1) != 0 ? TRI_NO : TRI_YES;
    assert(tokenizer_new(&t, &v.source, &room->vocab, &e));
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_room room;
    if (size < 2) return 0;
    fuzz_open(&room);
    uint8_t settings = data[0] & 1;
    if (room.made[settings] == NULL) room.made[settings] = make(&room, settings);
    fuzz_trip(&room, room.made[settings], (view){ data + 2, size - 2 }, data[1], (data[0] & 8) != 0);
    arena_rewind(&room.scratch, 0);
    return 0;
}
