/* text/tokenizer.h: what is refused and how it says so, limits at -1, 0, +1, special tokens by origin, decoding. */
#include "tiny_vocab.h"

#include "check.h"

#include <math.h>

static arena room, scratch;

static tokenizer *make(const struct vocab_source *source)
{
    tokenizer *t = NULL;
    err e = { 0 };
    arena_rewind(&room, 0);
    CHECK(tokenizer_new(&t, source, &room, &e), "%s", e.text);
    CHECK(room.used_bytes <= tokenizer_arena_bytes(source), "took %zu bytes, said %zu", room.used_bytes,
          tokenizer_arena_bytes(source));
    return t;
}

/* ---- what is refused ---- */

static struct tiny_vocab v;
static char long_text[TOKEN_BYTES_MAX + 2], long_merge[2 * TOKEN_BYTES_MAX + 4];

static void no_tokens(void) { v.source.token_count = 0; }
static void too_many_tokens(void) { v.source.token_count = VOCAB_MAX + 1; }
static void too_many_merges(void) { v.source.merge_count = (size_t)MERGES_MAX + 1; }
static void unknown_model(void) { v.source.model = view_of("rwkv"); }
static void unknown_pre(void) { v.source.pre = view_of("no-such"); }
static void same_text(void) { v.texts[5] = v.texts[4]; }
static void bad_utf8(void) { v.texts[5] = view_of("a\xFF"); }
static void type_0(void) { v.kinds[5] = 0; }
static void type_7(void) { v.kinds[5] = 7; }
static void nan_score(void) { v.scores[5] = NAN; }
static void inf_score(void) { v.scores[5] = INFINITY; }
static void bos_over(void) { v.source.bos = (int32_t)v.source.token_count; }
static void eos_under(void) { v.source.eos = -2; }
static void merge_no_blank(void) { v.merges[2] = view_of("ab"); }
static void merge_blank_last(void) { v.merges[2] = view_of("a "); }
static void merge_no_left(void) { v.merges[2] = view_of(" a"); }
static void merge_empty(void) { v.merges[2] = view_of(""); }
static void merge_unknown(void) { v.merges[2] = view_of("a zz"); }
static void merge_makes_none(void) { v.merges[2] = view_of("x y"); }
static void merge_twice(void) { v.merges[2] = v.merges[1]; }
static void token_too_long(void) { v.texts[5] = (view){ (const uint8_t *)long_text, TOKEN_BYTES_MAX + 1 }; }
static void merge_too_long(void) { v.merges[2] = (view){ (const uint8_t *)long_merge, TOKEN_BYTES_MAX + 3 }; }
static void map_too_long(void) { v.source.charsmap = (view){ v.texts[0].ptr, (size_t)CHARSMAP_BYTES_MAX + 1 }; }
static void map_short(void) { v.source.charsmap = view_of("abc"); }
static void map_trie_over(void) { v.source.charsmap = (view){ (const uint8_t *)"\x05\0\0\0abcd", 8 }; }
static void map_trie_odd(void) { v.source.charsmap = (view){ (const uint8_t *)"\x03\0\0\0abcd", 8 }; }
static void map_open(void) { v.source.charsmap = (view){ (const uint8_t *)"\x04\0\0\0abcdx", 9 }; }

static const struct {
    const char *says, *model;
    void (*spoil)(void);
    enum err_code want;
    const char *names; /* what the error's text holds */
} REFUSED[] = {
    { "no tokens", "llama", no_tokens, ERR_LIMIT, "0 tokens" },
    { "more tokens than any", "llama", too_many_tokens, ERR_LIMIT, "2097153 tokens, allowed 1..2097152" },
    { "more merges than any", "gpt2", too_many_merges, ERR_LIMIT, "4194304 merges, allowed 4194303" },
    { "a model of another kind", "llama", unknown_model, ERR_UNSUPPORTED, "\"rwkv\"" },
    { "a pre-tokenizer nobody knows", "gpt2", unknown_pre, ERR_UNSUPPORTED, "\"no-such\"" },
    { "two tokens of one text", "llama", same_text, ERR_VALUE, "tokens 4 and 5" },
    { "a text that is no UTF-8", "gpt2", bad_utf8, ERR_VALUE, "token 5" },
    { "type 0", "gpt2", type_0, ERR_VALUE, "token 5: type 0" },
    { "type 7", "gpt2", type_7, ERR_VALUE, "token 5: type 7" },
    { "a score that is no number", "llama", nan_score, ERR_VALUE, "token 5" },
    { "an infinite score", "t5", inf_score, ERR_VALUE, "token 5" },
    { "bos behind the last token", "gpt2", bos_over, ERR_VALUE, "bos token: id 269" },
    { "eos -2", "gpt2", eos_under, ERR_VALUE, "eos token: id -2" },
    { "a merge without a blank", "gpt2", merge_no_blank, ERR_VALUE, "merge 2" },
    { "a merge without a right side", "gpt2", merge_blank_last, ERR_VALUE, "merge 2" },
    { "a merge without a left side", "gpt2", merge_no_left, ERR_VALUE, "merge 2" },
    { "an empty merge", "gpt2", merge_empty, ERR_VALUE, "merge 2" },
    { "a merge of what is no token", "gpt2", merge_unknown, ERR_VALUE, "merge 2: \"a zz\"" },
    { "a merge into what is no token", "gpt2", merge_makes_none, ERR_VALUE, "merge 2: \"x y\"" },
    { "a merge twice", "gpt2", merge_twice, ERR_VALUE, "merge 2: the same pair as merge 1" },
    { "a token one byte too long", "llama", token_too_long, ERR_LIMIT, "token 5: 1025 bytes, allowed 1024" },
    { "a merge's text one byte too long", "gpt2", merge_too_long, ERR_LIMIT, "merge 2" },
    { "a map one byte too long", "t5", map_too_long, ERR_LIMIT, "16777217 bytes" },
    { "a map without its length", "t5", map_short, ERR_TRUNCATED, "3 bytes" },
    { "a map shorter than its trie", "t5", map_trie_over, ERR_TRUNCATED, "trie" },
    { "a map whose trie is no units", "t5", map_trie_odd, ERR_VALUE, "3 bytes" },
    { "a map whose last text is open", "t5", map_open, ERR_TRUNCATED, "the last one open" },
};

static void make_tiny(const char *model)
{
    v = (struct tiny_vocab){ 0 };
    if (strcmp(model, "gpt2") == 0) tiny_bytes(&v, "gpt-2");
    else if (strcmp(model, "bert") == 0) tiny_wordpiece(&v);
    else tiny_sentencepiece(&v, model, true);
}

static void refusals(void)
{
    memset(long_text, 'x', sizeof long_text);
    memset(long_merge, 'x', sizeof long_merge);
    long_merge[1] = ' ';
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++) {
        tokenizer *t;
        err e = { 0 };
        make_tiny(REFUSED[i].model);
        REFUSED[i].spoil();
        arena_rewind(&room, 0);
        bool good = tokenizer_new(&t, &v.source, &room, &e);
        CHECK(!good && t == NULL && e.code == REFUSED[i].want && strstr(e.text, REFUSED[i].names) != NULL,
              "%s: code %d, \"%s\"", REFUSED[i].says, (int)e.code, e.text);
    }
    /* Each allocation made to fail: an error, no crash. */
    make_tiny("gpt2");
    tokenizer *t = make(&v.source);
    size_t all_bytes = room.used_bytes;
    (void)t;
    for (size_t bytes = 0; bytes < all_bytes; bytes += 997) {
        arena little = { .base = room.base, .size_bytes = bytes };
        err e = { 0 };
        arena_rewind(&room, 0);
        CHECK(!tokenizer_new(&t, &v.source, &little, &e) && e.code == ERR_MEMORY, "an arena of %zu bytes: %s", bytes,
              e.text);
        room.used_bytes = little.used_bytes;
    }
}

static void longest_tokens(void)
{
    for (size_t len = TOKEN_BYTES_MAX - 1; len <= TOKEN_BYTES_MAX; len++) {
        int32_t ids[4];
        size_t count;
        err e = { 0 };
        uint8_t out[TOKEN_BYTES_MAX];
        make_tiny("gpt2");
        v.texts[v.source.token_count] = (view){ (const uint8_t *)long_text, len };
        v.kinds[v.source.token_count++] = TOKEN_USER_DEFINED;
        tokenizer *t = make(&v.source);
        bool good = tokenizer_encode(t, (view){ (const uint8_t *)long_text, len }, false, ids, 4, &count, &scratch, &e);
        CHECK(good && count == 1 && (size_t)ids[0] + 1 == v.source.token_count, "token of %zu bytes: %zu ids", len,
              count);
        CHECK(tokenizer_piece(t, ids[0], false, out, &count, &e) && count == len, "reads as %zu bytes", count);
    }
}

/* ---- special tokens by origin ---- */

enum { CONTROL = 266, USER = 267, USER_LONG = 268 }; /* of tiny_bytes */

#define TEXT(s) { (const uint8_t *)(s), sizeof(s) - 1 }
#define CONTROL_AS_TEXT { 265 /* <| */, 'x' - 33, '|' - 33, '>' - 33 }, 4
static const struct {
    const char *says;
    struct text_run runs[4];
    size_t run_count;
    bool guard;
    int32_t want[8];
    size_t want_count;
} ORIGINS[] = {
    { "a control token where it may arise", { { TEXT("<|x|>"), true, false } }, 1, false, { CONTROL }, 1 },
    { "its text where it may not", { { TEXT("<|x|>"), false, false } }, 1, false, CONTROL_AS_TEXT },
    { "nor in a user's text", { { TEXT("<|x|>"), true, true } }, 1, false, CONTROL_AS_TEXT },
    { "cut between two runs that allow it", { { TEXT("<|"), true, false }, { TEXT("x|>"), true, false } }, 2, false,
      { CONTROL }, 1 },
    { "an empty run of a user between them",
      { { TEXT("<|"), true, false }, { TEXT(""), false, true }, { TEXT("x|>"), true, false } }, 3, false,
      CONTROL_AS_TEXT },
    { "ending in a run that forbids it", { { TEXT("<|x|"), true, false }, { TEXT(">"), false, false } }, 2, false,
      CONTROL_AS_TEXT },
    { "beginning in a run that forbids it", { { TEXT("<"), false, true }, { TEXT("|x|>"), true, false } }, 2, false,
      CONTROL_AS_TEXT },
    { "ordinary text merges across origins",
      { { TEXT("a"), true, false }, { TEXT("b"), false, true }, { TEXT("c"), true, false } }, 3, false,
      { 257 }, 1 },
    { "user-defined always", { { TEXT("<u>"), false, true } }, 1, false, { USER }, 1 },
    { "and across origins", { { TEXT("<"), true, false }, { TEXT("u>"), false, true } }, 2, false, { USER }, 1 },
    { "the longest of two", { { TEXT("<u>>"), false, false } }, 1, false, { USER_LONG }, 1 },
    { "guarded: not in a user's text", { { TEXT("<u>"), false, true } }, 1, true, { '<' - 33, 'u' - 33, '>' - 33 }, 3 },
    { "guarded: in the template's text", { { TEXT("<u>"), true, false } }, 1, true, { USER }, 1 },
    { "guarded: not with a user's last byte", { { TEXT("<u"), true, false }, { TEXT(">"), false, true } }, 2, true,
      { '<' - 33, 'u' - 33, '>' - 33 }, 3 },
    { "guarded: the part that is the template's", { { TEXT("<u>"), true, false }, { TEXT(">"), false, true } }, 2, true,
      { USER, '>' - 33 }, 2 },
};

static void origins(void)
{
    uint64_t guarded[8] = { 0 };
    guarded[USER / 64] |= (uint64_t)1 << (USER % 64) | (uint64_t)1 << (USER_LONG % 64);
    make_tiny("gpt2");
    tokenizer *t = make(&v.source);
    for (size_t i = 0; i < sizeof ORIGINS / sizeof *ORIGINS; i++) {
        int32_t ids[32];
        size_t count;
        err e = { 0 };
        bool good = tokenizer_encode_runs(t, ORIGINS[i].runs, ORIGINS[i].run_count, ORIGINS[i].guard ? guarded : NULL,
                                          ids, 32, &count, &scratch, &e);
        CHECK(good && count == ORIGINS[i].want_count && memcmp(ids, ORIGINS[i].want, count * sizeof *ids) == 0,
              "%s: %zu ids, first %d %s", ORIGINS[i].says, count, (int)ids[0], e.text);
    }
}

/* The same for a family that meets user-defined tokens after normalizing. */
static void guarded_spm(void)
{
    uint64_t guarded[8];
    int32_t ids[16];
    size_t count;
    err e = { 0 };
    memset(guarded, 0xFF, sizeof guarded);
    make_tiny("llama");
    tokenizer *t = make(&v.source);
    int32_t user = tokenizer_find(t, view_of("<u>"));
    struct text_run run = { TEXT("<u>"), false, false };
    CHECK(tokenizer_encode_runs(t, &run, 1, guarded, ids, 16, &count, &scratch, &e) && count == 2 && ids[1] == user,
          "template: %zu ids %s", count, e.text);
    run.user_text = true;
    CHECK(tokenizer_encode_runs(t, &run, 1, guarded, ids, 16, &count, &scratch, &e) && count == 4 && ids[1] == 3 + '<',
          "user: %zu ids %s", count, e.text);
    struct text_run two[] = { { TEXT("<u"), true, false }, { TEXT(">"), true, true } };
    CHECK(tokenizer_encode_runs(t, two, 2, guarded, ids, 16, &count, &scratch, &e) && count == 4, "both: %zu ids",
          count);
}

/* ---- ids, pieces, decoding ---- */

static void room_for_ids(void)
{
    int32_t ids[8] = { 0 };
    size_t count;
    make_tiny("gpt2");
    tokenizer *t = make(&v.source);
    view text = view_of("xyz");
    err e = { 0 };
    CHECK(!tokenizer_encode(t, text, false, ids, 2, &count, &scratch, &e) && e.code == ERR_LIMIT && ids[2] == 0 &&
              strstr(e.text, "3 tokens, room for 2") != NULL, "room for one less: %s", e.text);
    e = (err){ 0 };
    CHECK(tokenizer_encode(t, text, false, ids, 3, &count, &scratch, &e) && count == 3, "room for all: %s", e.text);
    CHECK(tokenizer_encode(t, (view){ 0 }, false, NULL, 0, &count, &scratch, &e) && count == 0, "nothing: %s", e.text);
    CHECK(tokenizer_encode_runs(t, NULL, 0, NULL, NULL, 0, &count, &scratch, &e) && count == 0, "no runs: %s", e.text);
    view huge = { (const uint8_t *)"", (size_t)TEXT_BYTES_MAX + 1 };
    CHECK(!tokenizer_encode(t, huge, false, ids, 8, &count, &scratch, &e) && e.code == ERR_LIMIT, "a huge text: %s",
          e.text);
    e = (err){ 0 };
    struct text_run halves[] = { { { huge.ptr, SIZE_MAX }, false, false }, { { huge.ptr, SIZE_MAX }, false, false } };
    CHECK(!tokenizer_encode_runs(t, halves, 2, NULL, ids, 8, &count, &scratch, &e) && e.code == ERR_LIMIT,
          "lengths that wrap: %s", e.text);
    for (size_t bytes = 0; bytes < 40; bytes += 8) {
        arena little = { .base = scratch.base, .size_bytes = bytes };
        e = (err){ 0 };
        CHECK(!tokenizer_encode(t, text, false, ids, 8, &count, &little, &e) && e.code == ERR_MEMORY &&
                  little.used_bytes == 0, "scratch of %zu bytes: %s", bytes, e.text);
        arena_rewind(&scratch, 0);
    }
}

static const struct { const char *says, *model, *text, *back; bool parse, show; } TRIPS[] = {
    { "a blank in front is not lost", "llama", " a", " a", false, false },
    { "two neither", "llama", "  a", "  a", false, false },
    { "only blanks", "llama", "   ", "   ", false, false },
    { "U+2581 comes back as a blank", "llama", "a\xE2\x96\x81" "b", "a b", false, false },
    { "bytes that are no text", "llama", "\xFF\xC3 \xE6\x97", "\xFF\xC3 \xE6\x97", false, false },
    { "a text behind a control token", "llama", "a<s>b", "ab", true, false },
    { "control tokens when asked for", "llama", "a<s>b", "a<s>b", true, true },
    { "control tokens as text", "llama", "a<s>b", "a<s>b", false, false },
    { "byte-level: a blank in front", "gpt2", " a", " a", false, false },
    { "byte-level: bytes", "gpt2", "\xFF\xC3 \xE6\x97", "\xFF\xC3 \xE6\x97", false, false },
    { "byte-level: control", "gpt2", "a<|x|>b", "ab", true, false },
    { "byte-level: control shown", "gpt2", "a<|x|>b", "a<|x|>b", true, true },
    { "byte-level: user-defined", "gpt2", "a<u>b", "a<u>b", true, false },
    { "unigram: one blank between", "t5", "  a   b ", "a b", false, false },
    { "WordPiece: words", "bert", "AB , ab\t,", "ab , ab ,", false, false },
    { "WordPiece: parts of a word", "bert", "abb", "abb", false, false },
    { "WordPiece: unknown", "bert", "abx", "[UNK]", false, true },
};

static void trips(void)
{
    for (size_t i = 0; i < sizeof TRIPS / sizeof *TRIPS; i++) {
        int32_t ids[64];
        uint8_t back[256];
        size_t count, len = 0;
        err e = { 0 };
        make_tiny(TRIPS[i].model);
        tokenizer *t = make(&v.source);
        bool good = tokenizer_encode(t, view_of(TRIPS[i].text), TRIPS[i].parse, ids, 64, &count, &scratch, &e) &&
                    tokenizer_decode(t, ids, count, TRIPS[i].show, back, sizeof back, &len, &e);
        CHECK(good && view_is((view){ back, len }, TRIPS[i].back), "%s: \"%.*s\" %s", TRIPS[i].says, (int)len,
              (const char *)back, e.text);
        /* Decoding with just the room, and with one byte less. */
        CHECK(tokenizer_decode(t, ids, count, TRIPS[i].show, back, len, &len, &e), "%s: %s", TRIPS[i].says, e.text);
        CHECK(!tokenizer_decode(t, ids, count, TRIPS[i].show, back, len - 1, &len, &e) && e.code == ERR_LIMIT, "%s: %s",
              TRIPS[i].says, e.text);
    }
}

/* Blank marks that are cut off the end leave nothing behind in scratch that a score could be read from. ("aa" as one
 * token scores less than as two, so a sum lost in a large number shows.) */
static void trimmed_blanks(void)
{
    make_tiny("t5");
    tokenizer *t = make(&v.source);
    for (size_t lead = 0; lead < 8; lead++) {
        char text[128] = "ccccccc";
        memcpy(text + lead, "aab aab", 8);
        int32_t want[32], ids[32];
        size_t want_count, count, len = strlen(text);
        err e = { 0 };
        CHECK(tokenizer_encode(t, view_of(text), false, want, 32, &want_count, &scratch, &e), "%s", e.text);
        for (size_t blanks = 1; blanks <= 24; blanks++) {
            memcpy(text + len + 3 * (blanks - 1), "\xE2\x96\x81", 3);
            view padded = { (const uint8_t *)text, len + 3 * blanks };
            bool good = tokenizer_encode(t, padded, false, ids, 32, &count, &scratch, &e);
            CHECK(good && count == want_count && memcmp(ids, want, count * sizeof *ids) == 0,
                  "%zu letters, %zu blanks: %zu ids, wanted %zu", lead, blanks, count, want_count);
        }
    }
}

/* -0 and 0 are one score: the leftmost of "ab" and "bc" is joined, whichever has which. */
static void zero_scores(void)
{
    for (size_t i = 0; i < 2; i++) {
        int32_t ids[4];
        size_t count;
        err e = { 0 };
        make_tiny("llama");
        tiny_add(&v, "bc", i == 0 ? 0.0f : -0.0f, TOKEN_NORMAL);
        tokenizer *t = make(&v.source);
        int32_t ab = tokenizer_find(t, view_of("ab"));
        v.scores[ab] = i == 0 ? -0.0f : 0.0f;
        v.texts[tokenizer_find(t, view_of("abc"))] = view_of("none");
        v.source.add_space_prefix = TRI_NO;
        t = make(&v.source);
        CHECK(tokenizer_encode(t, view_of("abc"), false, ids, 4, &count, &scratch, &e) && count == 2 && ids[0] == ab,
              "row %zu: %zu ids, first %d", i, count, (int)ids[0]);
    }
}

static void facts(void)
{
    uint8_t out[TOKEN_BYTES_MAX];
    size_t len;
    err e = { 0 };
    make_tiny("llama");
    tokenizer *t = make(&v.source);
    const struct tokenizer_facts *f = tokenizer_facts(t);
    CHECK(f->bos == 1 && f->eos == 2 && f->add_bos && !f->add_eos && f->sep == -1, "facts of llama");
    CHECK(tokenizer_is_eog(t, 2) && !tokenizer_is_eog(t, 1) && !tokenizer_is_eog(t, 0), "end tokens of llama");
    CHECK(tokenizer_kind(t, 0) == TOKEN_UNKNOWN && tokenizer_kind(t, 3) == TOKEN_BYTE, "kinds");
    CHECK(tokenizer_find(t, view_of("abc")) > 0 && tokenizer_find(t, view_of("abcd")) == -1, "find");
    CHECK(!tokenizer_piece(t, (int32_t)tokenizer_count(t), false, out, &len, &e) && e.code == ERR_VALUE, "%s", e.text);
    e = (err){ 0 };
    CHECK(!tokenizer_piece(t, -1, false, out, &len, &e) && e.code == ERR_VALUE, "%s", e.text);
    e = (err){ 0 };
    CHECK(tokenizer_piece(t, (int32_t)tokenizer_count(t) - 1, false, out, &len, &e), "%s", e.text);
    make_tiny("bert");
    f = tokenizer_facts(make(&v.source));
    CHECK(f->bos == 2 && f->add_bos && f->add_sep && f->sep == 3, "facts of bert");
    make_tiny("gpt2");
    v.source.pre = view_of("llama-bpe");
    CHECK(!tokenizer_facts(make(&v.source))->add_bos, "BOS is not added where there is none");
    v.source.bos = CONTROL;
    CHECK(tokenizer_facts(make(&v.source))->add_bos, "llama-bpe adds BOS");
    v.source.add_bos = TRI_NO;
    CHECK(!tokenizer_facts(make(&v.source))->add_bos, "but not where the file says no");
}

/* A merge into a control or user-defined token is dropped: text must not become one that way. */
static void merges_into_control(void)
{
    static const enum token_kind KINDS[] = { TOKEN_CONTROL, TOKEN_USER_DEFINED, TOKEN_UNUSED, TOKEN_UNKNOWN };
    for (size_t i = 0; i < 4; i++) {
        int32_t ids[4];
        size_t count;
        err e = { 0 };
        make_tiny("gpt2");
        v.kinds[256] = (int32_t)KINDS[i]; /* "ab" */
        v.source.ignore_merges = TRI_YES;
        uint64_t guarded[8];
        memset(guarded, 0xFF, sizeof guarded);
        struct text_run run = { TEXT("ab"), false, true };
        tokenizer *t = make(&v.source);
        CHECK(tokenizer_encode_runs(t, &run, 1, guarded, ids, 4, &count, &scratch, &e) && count == 2 &&
                  ids[0] == 'a' - 33, "kind %d: %zu ids", (int)KINDS[i], count);
    }
}

static void fillers(void)
{
    int32_t ids[16];
    size_t count;
    err e = { 0 };
    make_tiny("gpt2");
    tiny_add(&v, "[PAD12]", 0, TOKEN_USER_DEFINED);
    tiny_add(&v, "[PADx]", 0, TOKEN_USER_DEFINED);
    tiny_add(&v, "", 0, TOKEN_USER_DEFINED);
    tiny_add(&v, "", 0, TOKEN_NORMAL); /* empty texts may repeat: they never arise */
    tokenizer *t = make(&v.source);
    CHECK(tokenizer_encode(t, view_of("[PAD12]"), true, ids, 16, &count, &scratch, &e) && count == 7, "%zu ids", count);
    CHECK(tokenizer_encode(t, view_of("[PADx]"), true, ids, 16, &count, &scratch, &e) && count == 1, "%zu ids", count);
}

int main(void)
{
    err e = { 0 };
    if (!CHECK(arena_new(&room, 1 << 26, &e) && arena_new(&scratch, 1 << 26, &e), "%s", e.text)) return check_done();
    refusals();
    longest_tokens();
    origins();
    guarded_spm();
    room_for_ids();
    trips();
    trimmed_blanks();
    zero_scores();
    facts();
    merges_into_control();
    fillers();
    arena_free(&room);
    arena_free(&scratch);
    return check_done();
}
