/* Time must not depend on what a text holds: a megabyte of prose, of one letter, of blanks, of random bytes and of
 * everything else that has made a tokenizer slow. Prints milliseconds of processor time (the least of three runs); the
 * check is far above what is measured on a quiet machine, so only quadratic time fails it. HEARTH_SPEED=1 runs all
 * vocabularies. */
#include "vocab_file.h"

#include "base/prng.h"

#include <time.h>

enum { TEXT_BYTES = 1 << 20, SLOW_MS = 4000 };

static double now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec * 1e-6;
}

static uint8_t text[TEXT_BYTES];

static void repeat(const char *unit)
{
    size_t len = strlen(unit);
    for (size_t i = 0; i < TEXT_BYTES; i++) text[i] = (uint8_t)unit[i % len];
}

static void fill_random(void)
{
    for (size_t i = 0; i < TEXT_BYTES; i++) text[i] = (uint8_t)prng_u32(1, 2, i);
}

static void fill_letters(void)
{
    for (size_t i = 0; i < TEXT_BYTES; i++) text[i] = (uint8_t)('a' + prng_u32(1, 3, i) % 26);
}

static void fill_marks(void) /* a letter, then combining marks in the worst order */
{
    for (size_t i = 0; i + 1 < TEXT_BYTES; i += 2) {
        text[i] = 0xCC;
        text[i + 1] = i / 2 % 2 == 0 ? 0xA7 : 0x81;
    }
    text[0] = text[1] = 'a';
}

static bool fill_book(arena *a)
{
    char command[600];
    snprintf(command, sizeof command, "xz -dc '%s'/data/books/*.xz 2>/dev/null", check_shared());
    FILE *pipe = popen(command, "r");
    size_t got = pipe == NULL ? 0 : fread(text, 1, TEXT_BYTES, pipe);
    (void)a;
    if (pipe != NULL) pclose(pipe);
    return got == TEXT_BYTES;
}

static void time_text(const tokenizer *t, const char *name, const char *what, int32_t *ids, size_t ids_max,
                      arena *scratch)
{
    double best = 1e9;
    size_t count = 0;
    for (int run = 0; run < 3; run++) {
        err e = { 0 };
        double begin = now_ms();
        CHECK(tokenizer_encode(t, (view){ text, TEXT_BYTES }, true, ids, ids_max, &count, scratch, &e), "%s", e.text);
        double took = now_ms() - begin;
        best = took < best ? took : best;
        if (took > SLOW_MS) break;
    }
    printf("%-14s %-22s %8.1f ms %9zu tokens\n", name, what, best, count);
    CHECK(best < SLOW_MS, "%s, %s: %.0f ms for 1 MiB, allowed %d", name, what, best, SLOW_MS);
}

static void vocabulary(const char *name, arena *scratch)
{
    static const struct { const char *what, *unit; } TEXTS[] = {
        { "one letter", "a" }, { "blanks", " " }, { "newlines", "\n" }, { "blanks and newlines", "   \n" },
        { "digits", "7" }, { "capitals", "A" }, { "two letters", "ab" }, { "capital in every two", "aB" },
        { "signs", "=" }, { "half a special token", "<|" }, { "block marks", "\xE2\x96\x81" },
        { "ideographs", "\xE4\xB8\x80" }, { "bytes FF", "\xFF" }, { "apostrophes", "'" }, { "tabs and blanks", "\t " },
    };
    struct vocab_file f;
    err e = { 0 };
    if (!CHECK(vocab_file_open(&f, name, &e), "%s: %s", name, e.text)) return;
    if (f.missing) {
        check_skip(name);
        arena_free(&f.arena);
        return;
    }
    tokenizer *t = NULL;
    double best = 1e9;
    for (int run = 0; run < 3; run++) {
        arena a;
        CHECK(arena_new(&a, (size_t)1 << 30, &e), "%s", e.text);
        double begin = now_ms();
        CHECK(tokenizer_new(&t, &f.source, &a, &e), "%s: %s", name, e.text);
        double took = now_ms() - begin;
        best = took < best ? took : best;
        if (run < 2) arena_free(&a); /* the last stays until the program ends */
    }
    printf("%-14s %-22s %8.1f ms\n", name, "load", best);
    size_t ids_max = tokenizer_ids_max(t, TEXT_BYTES);
    int32_t *ids = ARENA_ARRAY(&f.arena, int32_t, ids_max, "ids", &e);
    if (fill_book(&f.arena)) time_text(t, name, "books", ids, ids_max, scratch);
    else check_skip("books");
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        repeat(TEXTS[i].unit);
        time_text(t, name, TEXTS[i].what, ids, ids_max, scratch);
    }
    fill_random();
    time_text(t, name, "random bytes", ids, ids_max, scratch);
    fill_letters();
    time_text(t, name, "random letters", ids, ids_max, scratch);
    fill_marks();
    time_text(t, name, "combining marks", ids, ids_max, scratch);
    arena_free(&f.arena);
}

int main(void)
{
    static const char *const NAMES[] = { "llama-spm", "unigram-3k", "bert-bge", "gpt-2", "qwen2",
                                         "gpt-oss", "llama-bpe", "deepseek-coder", "falcon", "starcoder" };
    arena scratch;
    err e = { 0 };
    if (!CHECK(arena_new(&scratch, (size_t)1 << 34, &e), "%s", e.text)) return check_done();
    size_t count = getenv("HEARTH_SPEED") != NULL ? sizeof NAMES / sizeof *NAMES : 5;
    for (size_t i = 0; i < count; i++) vocabulary(NAMES[i], &scratch);
    arena_free(&scratch);
    return check_done();
}
