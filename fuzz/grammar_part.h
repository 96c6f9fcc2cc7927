/* What the targets of grammar/ share: an arena, a small vocabulary, a walk by chance. */
#include "base/prng.h"
#include "grammar/grammar.h"

#include <assert.h>
#include <stdlib.h>

enum { PART_ENDS = 1, PART_PIECES = 24, PART_TOKENS = 256 + PART_PIECES + PART_ENDS, PART_ROOM = 1 << 28 };

static arena grammar_arena;
static grammar_walker *grammar_walk;
static size_t grammar_mark;

__attribute__((unused)) static arena *grammar_room(void)
{
    if (grammar_arena.base == NULL) {
        static const char *const PIECES[PART_PIECES] = {
            "{\"",   "\":",      "\",\"",    "\"}",  "[[",  "],",  ", ", "\n  ",
            "\\u00", "\\\"",     "true",     "null", "12",  "0.",  "-1", "ab",
            "abc",   "\xc3\xa9", "\xe4\xb8", "xx",   "a\"", "\"a", "}}", "zzzzzzzzzzzzzzzz"
        };
        static uint8_t bytes[256];
        static view texts[PART_TOKENS];
        grammar_vocab *v;
        err e = { 0 };
        int32_t end = PART_TOKENS - 1;
        for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i, texts[i] = (view){ &bytes[i], 1 };
        for (int i = 0; i < PART_PIECES; i++) texts[256 + i] = view_of(PIECES[i]);
        texts[end] = view_of("");
        if (!arena_new(&grammar_arena, PART_ROOM, &e) ||
            !grammar_vocab_from(&v, texts, PART_TOKENS, PART_TOKENS, &end, PART_ENDS, &grammar_arena, &e) ||
            !grammar_walker_new(&grammar_walk, v, &grammar_arena, &e))
            abort();
        grammar_mark = grammar_arena.used_bytes;
    }
    arena_rewind(&grammar_arena, grammar_mark);
    return &grammar_arena;
}

/* A walk: masks agree with single tokens; of a table that the compiler made (`ours`) it ends whole within its budget.
 */
static void grammar_try(view table, uint64_t seed, bool ours)
{
    static grammar_state s, copy;
    uint64_t mask[(PART_TOKENS + 63) / 64];
    grammar g;
    err e = { 0 };
    (void)grammar_room;
    if (!ours) grammar_room();
    bool good = grammar_check(table, &g, &e);
    assert(good || !ours);
    if (!good) return;
    grammar_walker *w = grammar_walk;
    grammar_walker_forget(w);
    grammar_start(w, &g, seed % 7 == 0, &s);
    uint32_t left = grammar_least(w, &g, &s);
    left = !ours || left > 4000 ? 40 : left + (uint32_t)(seed % 40);
    bool within = ours && grammar_least(w, &g, &s) <= left;
    for (uint32_t step = 0; left > 0 && step < 300; step++, left--) {
        size_t allowed = grammar_mask(w, &g, &s, left, mask), pick;
        if (allowed == 0) break;
        pick = prng_u32(seed, 1, step) % allowed;
        int32_t token = 0;
        for (;; token++)
            if ((mask[token / 64] >> token % 64 & 1) != 0 && pick-- == 0) break;
        copy = s;
        bool taken = grammar_accept(w, &g, &s, token, left);
        assert(taken || !ours);
        if (!taken || s.ended) break;
        int32_t other = (int32_t)(prng_u32(seed, 2, step) % PART_TOKENS);
        bool alone = grammar_mask(w, &g, &copy, left, mask) > 0 && (mask[other / 64] >> other % 64 & 1) != 0;
        assert(!ours || grammar_accept(w, &g, &copy, other, left) == alone);
    }
    assert(!within || grammar_complete(&g, &s) || left > 0);
}
