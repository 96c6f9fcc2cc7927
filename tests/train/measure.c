/* What cards and reports say: characters, words and tokens counted by hand, a 5-gram model's probabilities worked out on
 * paper, records that are none refused with their byte. */
#include "train/fertility.h"
#include "train/ngram.h"

#include "base/file.h"
#include "check.h"
#include "text/train.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

/* A vocabulary of the 256 bytes and a few merges of "the ". */
static tokenizer *make_vocabulary(arena *a, err *e)
{
    static const char text[] = "the the the the the the the the";
    view texts[] = { view_of(text) };
    struct vocab_train settings = { .texts = texts, .text_count = 1, .pre = view_of("qwen2"), .token_count = 258,
                                    .count_min = 2 };
    struct vocab_source source;
    tokenizer *t = NULL;
    if (!vocab_train(&source, &settings, NULL, a, e) || !tokenizer_new(&t, &source, a, e)) return NULL;
    return t;
}

static void test_fertility(arena *a)
{
    err e = { 0 };
    const tokenizer *t = make_vocabulary(a, &e);
    if (!CHECK(t != NULL, "%s", e.text)) return;
    static const char file[] = "\feng\ten\tltr\tEnglish\nthe the\nab \fkhm\tkm\tltr\tKhmer & <x>\n\xe1\x9e\x80\xe1\x9e\x81\n";
    const char *names[] = { "toy" };
    struct fertility f;
    if (!CHECK(fertility_measure((view){ (const uint8_t *)file, sizeof file - 1 }, &t, names, 1, a, &f, &e), "%s",
               e.text)) return;
    CHECK(f.count == 2 && f.english == 1, "%zu languages, English at %zu", f.count, f.english);
    const struct language *khmer = &f.languages[0], *english = &f.languages[1];
    CHECK(khmer->chars == 2 && khmer->words == 1 && khmer->tokens[0] == 7, "Khmer: %zu characters, %zu words, %zu tokens",
          khmer->chars, khmer->words, khmer->tokens[0]);
    /* "the", blank + "the" with what two merges leave, newline, a, b, blank */
    CHECK(english->chars == 8 && english->words == 3, "English: %zu characters, %zu words", english->chars,
          english->words);
    CHECK(english->tokens[0] < 11 && english->tokens[0] > 4, "English: %zu tokens of 11 bytes", english->tokens[0]);
    CHECK(fertility_times_english(&f, khmer, 0) == 0, "a fragment is compared with nothing");

    char path[256];
    view svg;
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hearth-svg-%d", folder != NULL ? folder : "/tmp", (int)getpid());
    CHECK(fertility_draw(&f, path, a, &e) && file_read(path, 1 << 20, a, &svg, &e), "%s", e.text);
    CHECK(memmem(svg.ptr, svg.len_bytes, "Khmer &#38; &#60;x&#62;", 23) != NULL, "a name is no markup");
    unlink(path);
}

static void test_bad_records(arena *a)
{
    static const struct { const char *says, *file; uint64_t offset; } rows[] = {
        { "an empty file", "", 0 },
        { "no form feed", "eng\ten\tltr\tEnglish\ntext", 0 },
        { "a header without a name", "\feng\ten\tltr\ntext", 0 },
        { "a header without an end", "\feng\ten\tltr\tEnglish", 0 },
        { "an empty code", "\f\ten\tltr\tEnglish\ntext", 0 },
        { "the second of two", "\feng\ten\tltr\tEnglish\ntext\fx\n", 24 },
    };
    err none = { 0 };
    const tokenizer *t = make_vocabulary(a, &none);
    const char *names[] = { "toy" };
    for (size_t i = 0; t != NULL && i < sizeof rows / sizeof rows[0]; i++) {
        err e = { 0 };
        struct fertility f;
        CHECK(!fertility_measure(view_of(rows[i].file), &t, names, 1, a, &f, &e) && e.code == ERR_VALUE &&
                  e.offset == rows[i].offset, "%s: \"%s\" at %llu", rows[i].says, e.text, (unsigned long long)e.offset);
    }
}

/* Training text: 0 1 0 1, in one document; 10 tokens of vocabulary. */
static void test_ngram(arena *a)
{
    err e = { 0 };
    const uint32_t tokens[] = { 0, 1, 0, 1 };
    uint8_t bytes[sizeof tokens];
    for (size_t i = 0; i < 4; i++) memcpy(bytes + 4 * i, &tokens[i], 4);
    struct doc docs[] = { { .first = 0, .count = 4 } };
    struct shard s = { .tokens = bytes, .token_count = 4, .doc_count = 1, .docs = docs };
    static const int32_t known[] = { 0, 1 }, unknown[] = { 7 };
    struct ngram_text texts[] = { { known, 2, 0 }, { unknown, 1, 0 }, { NULL, 0, 0 } };
    (void)a;
    if (!CHECK(ngram_measure(&s, 10, texts, 3, &e), "%s", e.text)) return;
    double p0 = (2 - 0.75) / 4 + 0.75 * 2 / 4 * 0.1;        /* of 0 and of 1 without a context */
    double p1 = (2 - 0.75) / 2 + 0.75 * 1 / 2 * p0;         /* of 1 behind 0 */
    CHECK(fabs(texts[0].nats + log(p0) + log(p1)) < 1e-12, "known: %.12f, want %.12f", texts[0].nats,
          -log(p0) - log(p1));
    CHECK(fabs(texts[1].nats + log(0.75 * 2 / 4 * 0.1)) < 1e-12, "unknown: %.12f", texts[1].nats);
    CHECK(texts[2].nats == 0, "an empty text has no surprise");
}

int main(void)
{
    err e = { 0 };
    arena a = { 0 };
    if (CHECK(arena_new(&a, (size_t)1 << 32, &e), "%s", e.text)) {
        test_fertility(&a);
        test_bad_records(&a);
        test_ngram(&a);
    }
    arena_free(&a);
    return check_done();
}
