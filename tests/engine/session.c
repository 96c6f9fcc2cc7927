/* engine/session.h: stop texts and characters across the borders of tokens; then, on a trained model, what is kept
 * between prompts, ends, seeds, and that a prompt in pieces gives the same answer as a prompt at once. */
#include "engine/session.c"

#include "base/utf8.h"
#include "check.h"

#include <stdio.h>

/* ---- text: what goes out when ---- */

enum { PIECES_MAX = 6 };

static const struct text_row {
    const char *says;
    const char *stops[3];
    const char *pieces[PIECES_MAX]; /* as tokens would bring them */
    const char *want[PIECES_MAX];   /* what goes out with each; at the end also what was held */
    bool stopped;
} text_rows[] = {
    { "without stops everything goes at once", { NULL }, { "a", "b", "" }, { "a", "b", "" }, false },
    { "a character in two pieces", { NULL }, { "x\xC3", "\xA9y" }, { "x", "\xC3\xA9y" }, false },
    { "a character in four", { NULL }, { "\xF0", "\x9F", "\x94", "\xA5" }, { "", "", "", "\xF0\x9F\x94\xA5" }, false },
    { "half a character at the end is dropped", { NULL }, { "a", "\xE2\x82" }, { "a", "" }, false },
    { "bytes that are none go through", { NULL }, { "\xFF", "a\x80" }, { "\xFF", "a\x80" }, false },
    { "a stop in one piece", { "END" }, { "abcENDdef" }, { "abc" }, true },
    { "a stop alone", { "END" }, { "END" }, { "" }, true },
    { "a stop across two pieces", { "END" }, { "abE", "NDx" }, { "ab", "" }, true },
    { "a stop across three", { "END" }, { "E", "N", "D" }, { "", "", "" }, true },
    { "what begins like a stop is held, then goes", { "END" }, { "aE", "Nx", "y" }, { "a", "ENx", "y" }, false },
    { "and goes at the end", { "END" }, { "aEN" }, { "aEN" }, false },
    { "held again from a later place", { "aab" }, { "aa", "ac", "." }, { "", "aaac", "." }, false },
    { "overlap: aaab holds aab", { "aab" }, { "a", "a", "a", "b" }, { "", "", "a", "" }, true },
    { "the earlier of two stops", { "xyz", "b" }, { "ab xyz" }, { "a" }, true },
    { "a stop inside a held one", { "abcd", "c" }, { "ab", "c" }, { "", "ab" }, true },
    { "a stop with a character in two pieces", { "\xC3\xA9" }, { "a\xC3", "\xA9" }, { "a", "" }, true },
    { "a character that begins like one in a stop", { "\xC3\xA9" }, { "a\xC3", "\xA8" }, { "a", "\xC3\xA8" }, false },
    { "line end as a stop", { "\n\n" }, { "a\n", "b\n", "\nc" }, { "a", "\nb", "" }, true },
};

static void texts(void)
{
    for (size_t i = 0; i < sizeof text_rows / sizeof *text_rows; i++) {
        const struct text_row *row = &text_rows[i];
        uint8_t room[256];
        view stops[3];
        session s = { .held = { .text = room, .room = sizeof room, .stops = stops } };
        for (size_t j = 0; j < 3 && row->stops[j] != NULL; j++) stops[s.held.stop_count++] = view_of(row->stops[j]);
        for (size_t j = 0; j < PIECES_MAX && row->pieces[j] != NULL; j++) {
            held_drop(&s.held);
            size_t len = strlen(row->pieces[j]);
            memcpy(s.held.text + s.held.len, row->pieces[j], len);
            s.held.len += len;
            if (j + 1 == PIECES_MAX || row->pieces[j + 1] == NULL) s.finish = FINISH_LENGTH;
            view got = give_text(&s, false);
            CHECK(view_is(got, row->want[j]), "%s: piece %zu gave '%.*s', want '%s'", row->says, j, (int)got.len_bytes,
                  (const char *)got.ptr, row->want[j]);
        }
        CHECK((s.finish == FINISH_STOP) == row->stopped, "%s: finish %d", row->says, s.finish);
    }
}

/* ---- a trained model ---- */

struct world {
    struct kernels kernels;
    team *team;
    model model;
};

static const struct sample_settings GREEDY = { .top_p = 1, .typical_p = 1, .repetition_penalty = 1, .dry_base = 1 };

static session *session_make(const struct world *w, struct session_settings set)
{
    session *s = NULL;
    err e = { 0 };
    if (set.sample.top_p == 0) set.sample = GREEDY;
    if (!CHECK(session_new(&s, &w->model, &w->kernels, w->team, &set, &e), "session: %s", e.text)) exit(check_done());
    return s;
}

/* Makes at most `max` tokens; returns how many, the ids in out, the text in text (cut at its size). */
static size_t make(session *s, size_t max, int32_t *out, char *text, size_t text_room, enum finish *finish)
{
    size_t count = 0, len = 0;
    err e = { 0 };
    for (*finish = FINISH_NONE; *finish == FINISH_NONE;) {
        view piece;
        int32_t token;
        if (!CHECK(session_next(s, max, &piece, &token, NULL, finish, &e), "next: %s", e.text)) break;
        CHECK(utf8_valid_bytes(piece) == piece.len_bytes, "a character was cut");
        if (token >= 0) out[count++] = token;
        size_t part = min_size(piece.len_bytes, text_room - 1 - len);
        memcpy(text + len, piece.ptr, part);
        len += part;
    }
    text[len] = '\0';
    return count;
}

enum { TOKENS_MAX = 600 };

static const int32_t PROMPT[] = { 1, 403, 407, 261, 378 }; /* BOS, "Once upon a time" */
enum { PROMPT_TOK = sizeof PROMPT / sizeof *PROMPT };

static void prompt(session *s, const int32_t *ids, size_t count, size_t cached, const char *says)
{
    err e = { 0 };
    CHECK(session_prompt(s, ids, count, NULL, NULL, &e), "%s: %s", says, e.text);
    struct prompt_stats stats = session_prompt_stats(s);
    CHECK(stats.cached_tok == cached && stats.computed_tok == count - cached,
          "%s: %zu cached, %zu computed, want %zu, %zu", says, stats.cached_tok, stats.computed_tok, cached,
          count - cached);
}

/* The second turn computes only what is new, and gives what a fresh session gives. */
static void prefixes(const struct world *w)
{
    int32_t ids[TOKENS_MAX], again[TOKENS_MAX], fresh[TOKENS_MAX];
    char text[4096], other[4096];
    enum finish finish;
    session *s = session_make(w, (struct session_settings){ .ctx_tok = 512, .kv = KV_F16 });
    prompt(s, PROMPT, PROMPT_TOK, 0, "the first prompt");
    size_t made = make(s, 40, ids, text, sizeof text, &finish);
    CHECK(made == 40 && finish == FINISH_LENGTH, "40 tokens: %zu, %s", made, finish_name(finish));

    size_t count;
    const int32_t *all = session_tokens(s, &count);
    CHECK(count == PROMPT_TOK + 40, "the conversation holds %zu tokens", count);
    int32_t next[TOKENS_MAX];
    memcpy(next, all, count * sizeof *next);
    next[count] = 407;
    prompt(s, next, count + 1, count - 1, "carry on"); /* the last token drawn was not computed yet */
    size_t second = make(s, 30, again, text, sizeof text, &finish);

    session *t = session_make(w, (struct session_settings){ .ctx_tok = 512, .chunk_tok = 7, .kv = KV_F16 });
    prompt(t, next, count + 1, 0, "the same at once, in chunks of 7");
    size_t same = make(t, 30, fresh, other, sizeof other, &finish);
    CHECK(second == same && memcmp(again, fresh, same * sizeof *fresh) == 0 && strcmp(text, other) == 0,
          "a kept prefix changed the answer: '%s' and '%s'", text, other);

    prompt(s, PROMPT, PROMPT_TOK, PROMPT_TOK - 1, "back to the first prompt: its last token's logits are needed");
    made = make(s, 40, again, text, sizeof text, &finish);
    CHECK(memcmp(ids, again, made * sizeof *ids) == 0, "the same prompt gave another answer after going back");
    prompt(s, PROMPT, 2, 2 - 1, "a shorter prompt");
    prompt(s, PROMPT, 2, 2, "the very same again: nothing is computed");
    prompt(s, (int32_t[]){ 5, 6, 7 }, 3, 0, "another beginning");
    session_free(s);
    session_free(t);
}

static bool cancel_second(void *arg, size_t done, size_t all)
{
    size_t *calls = arg;
    (void)done, (void)all;
    return ++*calls < 3;
}

static void ends(const struct world *w)
{
    int32_t ids[TOKENS_MAX];
    char text[4096];
    enum finish finish;
    err e = { 0 };
    session *s = session_make(w, (struct session_settings){ .ctx_tok = PROMPT_TOK + 3 });
    prompt(s, PROMPT, PROMPT_TOK, 0, "a small context");
    size_t made = make(s, 0, ids, text, sizeof text, &finish);
    CHECK(made == 3 && finish == FINISH_CONTEXT, "a full context: %zu tokens, %s", made, finish_name(finish));
    view piece;
    int32_t token;
    CHECK(!session_next(s, 0, &piece, &token, NULL, &finish, &e) && e.code == ERR_STATE, "an ended answer goes on");
    int32_t nine[PROMPT_TOK + 4] = { 1 };
    e = (err){ 0 };
    CHECK(!session_prompt(s, nine, PROMPT_TOK + 4, NULL, NULL, &e) && e.code == ERR_LIMIT, "over the context: %s",
          e.text);
    prompt(s, nine, PROMPT_TOK + 3, 1, "exactly the context");
    made = make(s, 0, ids, text, sizeof text, &finish);
    CHECK(made == 0 && finish == FINISH_CONTEXT, "no room at all: %zu, %s", made, finish_name(finish));
    e = (err){ 0 };
    CHECK(!session_prompt(s, nine, 0, NULL, NULL, &e) && e.code == ERR_VALUE, "no tokens: %s", e.text);
    nine[1] = 512;
    e = (err){ 0 };
    CHECK(!session_prompt(s, nine, 3, NULL, NULL, &e) && e.code == ERR_VALUE, "a token outside: %s", e.text);
    session_free(s);

    view stop = view_of("Lily");
    s = session_make(w, (struct session_settings){ .ctx_tok = 512, .stops = &stop, .stop_count = 1 });
    prompt(s, PROMPT, PROMPT_TOK, 0, "with a stop text");
    make(s, 100, ids, text, sizeof text, &finish);
    CHECK(finish == FINISH_STOP && strcmp(text, ", there was a little girl named ") == 0, "stop: '%s'", text);
    session_free(s);

    size_t calls = 0;
    s = session_make(w, (struct session_settings){ .ctx_tok = 512, .chunk_tok = 2 });
    e = (err){ 0 };
    CHECK(!session_prompt(s, PROMPT, PROMPT_TOK, cancel_second, &calls, &e) && e.code == ERR_CANCELLED, "cancel: %s",
          e.text);
    prompt(s, PROMPT, PROMPT_TOK, 4, "what was computed before it was cancelled stays");
    make(s, 5, ids, text, sizeof text, &finish);
    session_free(s);
}

/* The bits of an answer: seeds, threads, chunks. */
static void seeds(const struct world *w)
{
    static const struct sample_settings plain = { .temperature = 1.0f, .top_k = 40, .top_p = 0.95f, .typical_p = 1.0f,
                                                  .repetition_penalty = 1.0f, .dry_base = 1.0f,
                                                  .seed = 7 };
    int32_t one[TOKENS_MAX], two[TOKENS_MAX];
    char text[4096];
    enum finish finish;
    for (uint64_t seed = 7; seed < 9; seed++)
        for (size_t chunk = 1; chunk < 4; chunk += 2) {
            struct session_settings set = { .ctx_tok = 256, .chunk_tok = chunk, .sample = plain };
            set.sample.seed = seed;
            session *s = session_make(w, set);
            prompt(s, PROMPT, PROMPT_TOK, 0, "a seed");
            bool first = seed == 7 && chunk == 1;
            size_t made = make(s, 50, first ? one : two, text, sizeof text, &finish);
            if (!first)
                CHECK((memcmp(one, two, made * sizeof *one) == 0) == (seed == 7), "seed %llu, chunk %zu: '%s'",
                      (unsigned long long)seed, chunk, text);
            session_free(s);
        }
}

static void trained(void)
{
    char path[1024];
    struct world w = { 0 };
    err e = { 0 };
    snprintf(path, sizeof path, "%s/reference/models/stories260K.gguf", check_shared());
    FILE *there = fopen(path, "rb");
    if (there == NULL) {
        check_skip("sessions on a trained model: stories260K.gguf is not here");
        return;
    }
    fclose(there);
    if (!CHECK(kernels_bind(&w.kernels, NULL, &e) && team_new(&w.team, 2, NULL, 0, &e) &&
                   model_load(&w.model, path, w.team, NULL, NULL, &e), "%s", e.text))
        return;
    prefixes(&w);
    ends(&w);
    seeds(&w);
    model_free(&w.model);
    team_free(w.team);
}

int main(void)
{
    texts();
    trained();
    return check_done();
}
