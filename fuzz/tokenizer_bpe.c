/* Any bytes through byte-level BPE and back, behind every pre-tokenizer: the first byte chooses it, the second where
 * the text is cut into runs. */
#include "tokenizer_part.h"

static const char *const PRES[] = { "default", "gpt-2", "llama-bpe", "qwen2", "qwen35", "seed-coder", "exaone-moe",
                                    "minicpm5", "gpt-4o", "tekken", "kimi-k2", "tiny_aya", "smollm", "deepseek-v3",
                                    "deepseek-coder", "deepseek-llm", "falcon", "bloom", "viking", "chameleon" };

static tokenizer *make(struct fuzz_room *room, uint8_t settings)
{
    static struct tiny_vocab v;
    tokenizer *t;
    err e = { 0 };
    v = (struct tiny_vocab){ 0 };
    tiny_bytes(&v, PRES[settings % 64 % (sizeof PRES / sizeof *PRES)]);
    v.source.normalize_nfc = (settings & 128) != 0 ? TRI_YES : TRI_NO;
    v.source.ignore_merges = (settings & 64) != 0 ? TRI_YES : TRI_NO;
    assert(tokenizer_new(&t, &v.source, &room->vocab, &e));
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_room room;
    if (size < 2) return 0;
    fuzz_open(&room);
    if (room.made[data[0]] == NULL) room.made[data[0]] = make(&room, data[0]);
    view text = { data + 2, size - 2 }, back = fuzz_trip(&room, room.made[data[0]], text, data[1], true);
    if ((data[0] & 128) == 0) assert(view_equal(back, text));
    arena_rewind(&room.scratch, 0);
    return 0;
}
