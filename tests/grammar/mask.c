/* The mask is exactly what accepting each token alone says, in every state that random walks come to, with every kind
 * of budget; a walk that began with enough tokens always ends whole; the same text cut otherwise comes to the same
 * masks. */
#include "grammar/grammar.h"

#include "base/prng.h"
#include "grammar/corpus.h"

#include "check.h"

#include <stdlib.h>

enum { TOKENS = 700, END = 700, CALL = 701, ROWS = 704 };

/* All bytes, then pieces that cross every kind of border: halves of characters, quotes in the middle, twins. */
static const char *const PIECES[] = {
    "{\"",
    "\":",
    "\",\"",
    "\"}",
    "},{",
    "[[",
    "]]",
    "],[",
    ": ",
    ", ",
    "{\n  ",
    "\n    ",
    " \"",
    "\\n",
    "\\u00",
    "\\\"",
    "\\",
    "true",
    "false",
    "null",
    "nul",
    "ru",
    "name",
    "age",
    "kind",
    "circle",
    "square",
    "\"kind\":\"",
    "value",
    "next",
    "\"next\":null}",
    "12",
    "00",
    "0.",
    ".5",
    "-1",
    "1e",
    "e+",
    "100",
    "2024",
    "-0",
    "T12:",
    "Z\"",
    "ab",
    "abc",
    "xyz",
    "foo",
    "oo",
    "hello world",
    " the",
    "\xc3",
    "\xc3\xa9",
    "\xa9",
    "\xe4\xb8",
    "\x80\"",
    "\xe4\xb8\x80",
    "\xe3\x81",
    "\x82",
    "\xf0\x9f",
    "\x98\x80",
    "\xf0\x9f\x98\x80",
    "name",
    "ab",
    "      ",
    "\t",
    "\n",
    "\n\n",
    "x-",
    "n1",
    "y",
    "xx",
    "xy",
    "(1",
    ")*",
    "Nf",
    "O-O",
    "- ",
    "@example.org",
    "\"email\":",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "<tool_call>",
    "<tool",
    "_call>",
    "<",
    "get_",
    "weather",
    "{\"name\": \"",
    "\\ud83d",
    "\\ude00",
};
enum { PIECE_COUNT = sizeof PIECES / sizeof *PIECES };

static grammar_vocab *made_vocab(arena *a, view *texts)
{
    static uint8_t bytes[256], made[TOKENS][8];
    grammar_vocab *v;
    err e = { 0 };
    for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i, texts[i] = (view){ &bytes[i], 1 };
    for (size_t i = 0; i < PIECE_COUNT; i++) texts[256 + i] = view_of(PIECES[i]);
    for (size_t i = 256 + PIECE_COUNT; i < TOKENS; i++) { /* the rest by chance */
        static const char LETTERS[] = "{}[]\",:\\ \n0123456789abtrue-.x\xc3\xa9\xe4";
        size_t len = 2 + prng_u32(7, 0, i) % 4;
        for (size_t j = 0; j < len; j++) made[i][j] = (uint8_t)LETTERS[prng_u32(7, j + 1, i) % (sizeof LETTERS - 1)];
        texts[i] = (view){ made[i], len };
    }
    int32_t end = END;
    if (!grammar_vocab_from(&v, texts, TOKENS, ROWS, &end, 1, a, &e)) printf("%s\n", e.text), exit(1);
    return v;
}

static bool bit(const uint64_t *mask, size_t i)
{
    return mask[i / 64] >> i % 64 & 1;
}

/* Does the mask say what every token says alone? */
static bool mask_exact(const char *says, grammar_walker *w, const grammar *g, const grammar_state *s, uint32_t left,
                       const uint64_t *mask)
{
    static grammar_state copy;
    for (int32_t token = 0; token < ROWS; token++) {
        copy = *s;
        bool taken = grammar_accept(w, g, &copy, token, left);
        if (taken == bit(mask, (size_t)token)) continue;
        return CHECK(false, "%s: token %d: mask %d, accept %d, %u left", says, token, bit(mask, (size_t)token), taken,
                     left);
    }
    return true;
}

static bool reads(const char *text, view *out)
{
    *out = view_of(text);
    return true;
}

/* Walks for another validator (tests/clients/walks.mjs): "schema JSON" on a line, then each text in hex. */
static void write_text(FILE *out, const char *text, size_t len)
{
    if (out == NULL) return;
    for (size_t i = 0; i < len; i++) fprintf(out, "%02x", (unsigned char)text[i]);
    fputc('\n', out);
}

/* A walk by chance, budget `left`; ends whole. `text` collects it. */
static void walk(const char *says, grammar_walker *w, const grammar *g, const view *texts, uint64_t seed, bool exact,
                 FILE *out)
{
    static grammar_state s;
    static char text[1 << 14];
    uint64_t mask[ROWS / 64];
    size_t len = 0;
    grammar_start(w, g, false, &s);
    uint32_t least = grammar_least(w, g, &s);
    uint32_t budget = least + prng_u32(seed, 1, 0) % 60, left = budget;
    if (prng_u32(seed, 1, 1) % 8 == 0) left = budget = least;
    size_t step = 0;
    for (; left > 0; step++, left--) {
        size_t allowed = grammar_mask(w, g, &s, left, mask);
        if (exact && prng_u32(seed, 2, step) % 4 == 0 && !mask_exact(says, w, g, &s, left, mask)) return;
        if (!CHECK(allowed > 0 || grammar_complete(g, &s), "%s, seed %llu: stuck after %.*s, %u of %u left, least %u",
                   says, (unsigned long long)seed, (int)len, text, left, budget, grammar_least(w, g, &s)))
            return;
        if (allowed == 0) break;
        size_t pick = prng_u32(seed, 3, step) % allowed, token = 0;
        for (;; token++)
            if (bit(mask, token) && pick-- == 0) break;
        if (!CHECK(grammar_accept(w, g, &s, (int32_t)token, left), "%s: token %zu was allowed", says, token)) return;
        if (token == END) break;
        if (token < TOKENS && len + texts[token].len_bytes < sizeof text) {
            memcpy(text + len, texts[token].ptr, texts[token].len_bytes);
            len += texts[token].len_bytes;
        }
        CHECK(grammar_least(w, g, &s) <= left - 1, "%s: after %.*s %u are needed, %u left", says, (int)len, text,
              grammar_least(w, g, &s), left - 1);
    }
    CHECK(grammar_complete(g, &s), "%s, seed %llu: not whole: %.*s", says, (unsigned long long)seed, (int)len, text);
    write_text(out, text, len);
}

static bool takes(grammar_walker *w, const grammar *g, view text)
{
    static grammar_state s;
    grammar_start(w, g, false, &s);
    for (size_t i = 0; i < text.len_bytes; i++)
        if (!grammar_accept(w, g, &s, text.ptr[i], 1u << 20)) return false;
    return grammar_complete(g, &s);
}

/* The answer is taken; after each prefix as pieces or as bytes the masks are the same. */
static void check_answer(const char *says, grammar_walker *w, const grammar *g, const view *texts, view answer)
{
    static grammar_state by_piece, by_byte;
    uint64_t one[ROWS / 64], two[ROWS / 64];
    CHECK(takes(w, g, answer), "%s: its answer is not taken: %.*s", says, (int)answer.len_bytes,
          (const char *)answer.ptr);
    for (uint64_t seed = 0; seed < 10; seed++) {
        grammar_start(w, g, false, &by_piece);
        grammar_start(w, g, false, &by_byte);
        for (size_t at = 0, step = 0; at < answer.len_bytes; step++) {
            int32_t fits[64];
            size_t count = 0;
            for (int32_t i = 0; i < TOKENS && count < 64; i++)
                if (view_starts(view_after(answer, at), texts[i])) fits[count++] = i;
            int32_t token = fits[prng_u32(seed, 9, step) % count];
            if (!CHECK(grammar_accept(w, g, &by_piece, token, 1u << 20), "%s: piece %d at %zu", says, token, at))
                return;
            for (size_t i = 0; i < texts[token].len_bytes; i++)
                if (!CHECK(grammar_accept(w, g, &by_byte, texts[token].ptr[i], 1u << 20), "%s: byte", says)) return;
            at += texts[token].len_bytes;
            grammar_mask(w, g, &by_piece, 1000, one);
            grammar_mask(w, g, &by_byte, 1000, two);
            CHECK(memcmp(one, two, sizeof one) == 0, "%s: masks differ after %zu bytes", says, at);
        }
    }
}

static void check_table(const char *says, view table, grammar_walker *w, const view *texts, const char *answer,
                        int walks, FILE *out)
{
    grammar g;
    err e = { 0 };
    view text;
    if (!CHECK(grammar_check(table, &g, &e), "%s: %s", says, e.text) || !reads(answer, &text)) return;
    grammar_walker_forget(w);
    check_answer(says, w, &g, texts, text);
    for (int i = 0; i < walks; i++) walk(says, w, &g, texts, (uint64_t)i, i < 200 && i % 8 == 0, out);
}

static void check_tools(grammar_walker *w, const view *texts, arena *a, int walks)
{
    err e = { 0 };
    const json_value *one, *two;
    view table;
    struct grammar_options set = { .any_order = true };
    if (!json_parse(view_of(CORPUS[0].schema), a, &one, &e) || !json_parse(view_of(CORPUS[7].schema), a, &two, &e))
        return;
    const struct grammar_tool tools[] = { { view_of("get_weather"), one },
                                          { view_of("get_"), two },
                                          { view_of("noop"), NULL } };
    struct grammar_call_form form = { .begin = view_of("<tool_call>\n{\"name\": \""),
                                      .middle = view_of("\", \"arguments\": "),
                                      .end = view_of("}\n</tool_call>"),
                                      .between = view_of("\n"),
                                      .begin_token = -1,
                                      .end_token = -1 };
    static const char CALL_TEXT[] = "<tool_call>\n{\"name\": \"get_\", \"arguments\": [1, 2]}\n</tool_call>";
    bool good = grammar_from_tools(tools, 3, &form, &set, a, &table, NULL, &e);
    if (CHECK(good, "tools: %s", e.text)) check_table("tools, required", table, w, texts, CALL_TEXT, walks, NULL);
    form.text_before = form.parallel = true;
    good = grammar_from_tools(tools, 3, &form, &set, a, &table, NULL, &e);
    if (CHECK(good, "tools: %s", e.text))
        check_table("tools, auto", table, w, texts,
                    "I call <tool_cal <tool_call>\n{\"name\": \"noop\", \"arguments\": {}}\n</tool_call>", walks,
                    NULL);
    form.begin_token = CALL;
    form.begin = view_of("{\"name\": \"");
    good = grammar_from_tools(tools, 3, &form, &set, a, &table, NULL, &e);
    if (CHECK(good, "tools: %s", e.text))
        check_table("tools, a control token", table, w, texts, "just text", walks, NULL);
}

int main(int argc, char **argv)
{
    arena a;
    grammar_walker *w;
    err e = { 0 };
    static view texts[TOKENS];
    int walks = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 100;
    FILE *out = argc > 2 ? fopen(argv[2], "w") : NULL;
    if (!arena_new(&a, (size_t)1 << 34, &e) || !grammar_walker_new(&w, made_vocab(&a, texts), &a, &e)) return 1;
    for (int order = 0; order < 2; order++)
        for (size_t i = 0; i < CORPUS_ROWS; i++) {
            struct grammar_options set = { .any_order = order == 0, .no_blanks = false };
            const json_value *schema;
            view table;
            e = (err){ 0 };
            bool good = json_parse(view_of(CORPUS[i].schema), &a, &schema, &e) &&
                        grammar_from_schema(schema, &set, &a, &table, NULL, &e);
            if (!CHECK(good, "%s: %s", CORPUS[i].says, e.text)) continue;
            if (out != NULL) fprintf(out, "schema %s\n", CORPUS[i].schema);
            check_table(CORPUS[i].says, table, w, texts, CORPUS[i].answer, walks, out);
        }
    for (size_t i = 0; i < GRAMMAR_ROWS; i++) {
        view table;
        e = (err){ 0 };
        if (CHECK(grammar_from_gbnf(view_of(GRAMMARS[i].schema), NULL, &a, &table, NULL, &e), "%s: %s",
                  GRAMMARS[i].says, e.text))
            check_table(GRAMMARS[i].says, table, w, texts, GRAMMARS[i].answer, walks, NULL);
    }
    check_tools(w, texts, &a, walks);
    if (out != NULL) fclose(out);
    return check_done();
}
