/* What the tokenizer targets share: one arena for a vocabulary, one for scratch, and a trip there and back. */
#ifndef HEARTH_FUZZ_TOKENIZER_PART_H
#define HEARTH_FUZZ_TOKENIZER_PART_H

#include "base/checked.h"
#include "text/tiny_vocab.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_room {
    arena vocab, scratch;
    tokenizer *made[256]; /* by the byte that chose the settings */
};

static inline void fuzz_open(struct fuzz_room *r)
{
    err e = { 0 };
    if (r->vocab.base == NULL) assert(arena_new(&r->vocab, 1 << 28, &e) && arena_new(&r->scratch, (size_t)1 << 30, &e));
}

/* Encodes with the promised room, as one text and as runs cut at `cut`, and decodes. Returns the text that came back.
 * `parse` lets control tokens arise. */
static inline view fuzz_trip(struct fuzz_room *r, const tokenizer *t, view text, size_t cut, bool parse)
{
    err e = { 0 };
    size_t room = tokenizer_ids_max(t, text.len_bytes), count, again, len = 0;
    int32_t *ids = ARENA_ARRAY(&r->scratch, int32_t, room, "ids", &e);
    int32_t *cut_ids = ARENA_ARRAY(&r->scratch, int32_t, room, "ids", &e);
    arena scratch = { r->scratch.base + r->scratch.used_bytes, tokenizer_scratch_bytes(t, text.len_bytes), 0 };
    assert(r->scratch.used_bytes + scratch.size_bytes <= r->scratch.size_bytes);
    assert(tokenizer_encode(t, text, parse, ids, room, &count, &scratch, &e) && scratch.used_bytes == 0);
    /* Where a text was cut into runs of one kind cannot be seen in the ids. */
    cut = min_size(cut, text.len_bytes);
    struct text_run runs[2] = { { { text.ptr, cut }, parse, false }, { view_after(text, cut), parse, false } };
    assert(tokenizer_encode_runs(t, runs, 2, NULL, cut_ids, room, &again, &scratch, &e));
    assert(again == count && memcmp(ids, cut_ids, count * sizeof *ids) == 0);
    runs[1].user_text = true; /* and no control token comes out of a user's text */
    uint64_t guarded[16];
    memset(guarded, 0xFF, sizeof guarded);
    assert(tokenizer_count(t) <= 1024);
    assert(tokenizer_encode_runs(t, &runs[1], 1, guarded, cut_ids, room, &again, &scratch, &e));
    for (size_t i = 0; i < again; i++)
        assert(cut_ids[i] == tokenizer_facts(t)->unk || (tokenizer_kind(t, cut_ids[i]) != TOKEN_CONTROL &&
                                                            tokenizer_kind(t, cut_ids[i]) != TOKEN_USER_DEFINED));
    static uint8_t back[1 << 22];
    assert(tokenizer_decode(t, ids, count, true, back, sizeof back, &len, &e));
    return (view){ back, len };
}

#endif
