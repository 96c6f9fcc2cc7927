/* A hostile vocabulary: model, tokens, types, scores, merges and ids out of the input; where it is taken, a text too.
 *   model | settings | unk | tokens: length, type * 16 + score, text | 255 | merges: length, text | 255 | text */
#include "tokenizer_part.h"

#include <math.h>

static view take(view *left, size_t want)
{
    view out = { left->ptr, min_size(want, left->len_bytes) };
    *left = view_after(*left, out.len_bytes);
    return out;
}

static uint8_t take_byte(view *left)
{
    view one = take(left, 1);
    return one.len_bytes == 0 ? 255 : one.ptr[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_room room;
    static const char *const MODELS[] = { "llama", "gpt2", "t5", "bert" };
    static struct tiny_vocab v;
    view left = { data, size };
    tokenizer *t;
    err e = { 0 };
    fuzz_open(&room);
    v = (struct tiny_vocab){ 0 };
    tiny_begin(&v, MODELS[take_byte(&left) % 4]);
    uint8_t settings = take_byte(&left), len;
    v.source.ignore_merges = (settings & 1) != 0 ? TRI_YES : TRI_NO;
    v.source.unk = (int8_t)take_byte(&left);
    while ((len = take_byte(&left)) != 255 && v.source.token_count < TINY_MAX) {
        uint8_t kind = take_byte(&left);
        v.kinds[v.source.token_count] = kind / 16;
        v.scores[v.source.token_count] = kind % 16 == 15 ? (float)NAN : (float)(kind % 16) - 8;
        v.texts[v.source.token_count++] = take(&left, len);
    }
    while ((len = take_byte(&left)) != 255 && v.source.merge_count < TINY_MAX)
        v.merges[v.source.merge_count++] = take(&left, len);
    assert(tokenizer_new(&t, &v.source, &room.vocab, &e) == (e.code == ERR_NONE));
    if (e.code == ERR_NONE) fuzz_trip(&room, t, left, left.len_bytes / 2, (settings & 2) != 0);
    arena_rewind(&room.scratch, 0);
    arena_rewind(&room.vocab, 0);
    return 0;
}
