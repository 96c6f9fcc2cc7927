/* hearth tokenizer: a vocabulary from a configuration's texts, and what vocabularies cost languages. */
#include "cmd/options.h"

#include "base/file.h"
#include "model/model.h"
#include "train/fertility.h"
#include "train/vocabulary.h"

#include <stdio.h>
#include <string.h>

struct tokenizer_options {
    size_t threads;
    const char *text, *svg;
};

static const struct option ROWS[] = {
    { "--threads", "N", OPTION_COUNT, offsetof(struct tokenizer_options, threads), 1, 256, NULL, "1",
      "train: threads; the vocabulary does not depend on it" },
    { "--text", "FILE", OPTION_TEXT, offsetof(struct tokenizer_options, text), 0, 0, NULL, NULL,
      "report: one text in many languages (docs/train.md)" },
    { "--svg", "FILE", OPTION_TEXT, offsetof(struct tokenizer_options, svg), 0, 0, NULL, NULL,
      "report: draw it, too" },
};

static bool train(const char *config, size_t threads, arena *a, team **t, err *e)
{
    enum { CONFIG_BYTES_MAX = 1 << 20 };
    view text;
    struct settings s;
    struct vocabulary_report report;
    if (!file_read(config, CONFIG_BYTES_MAX, a, &text, e)) return false;
    if (!settings_read(text, a, &s, e)) {
        err_prefix(e, config);
        return false;
    }
    if (!team_new(t, threads, NULL, 0, e) || !vocabulary_make(&s, *t, a, &report, e)) return false;
    printf("%zu tokens, %zu merges from %.1f MB of text: %.*s\n", report.tokens, report.merges,
           (double)report.bytes * 1e-6, (int)s.tokenizer.len_bytes, (const char *)s.tokenizer.ptr);
    return true;
}

/* "data/vocab.gguf" is called "vocab". */
static const char *short_name(const char *path, arena *a, err *e)
{
    const char *slash = strrchr(path, '/'), *from = slash == NULL ? path : slash + 1, *dot = strrchr(from, '.');
    size_t len = dot == NULL ? strlen(from) : (size_t)(dot - from);
    char *room = ARENA_ARRAY(a, char, len + 1, "name", e);
    if (room == NULL) return NULL;
    memcpy(room, from, len);
    room[len] = 0;
    return room;
}

static void print_report(const struct fertility *f)
{
    printf("language\tname\tcharacters\twords");
    for (size_t v = 0; v < f->vocabs; v++)
        printf("\t%s: tokens a character\t%s: a word\t%s: times English", f->names[v], f->names[v], f->names[v]);
    printf("\n");
    for (size_t i = 0; i < f->count; i++) {
        const struct language *l = &f->languages[i];
        printf("%.*s\t%.*s\t%zu\t%zu", (int)l->code.len_bytes, (const char *)l->code.ptr, (int)l->name.len_bytes,
               (const char *)l->name.ptr, l->chars, l->words);
        for (size_t v = 0; v < f->vocabs; v++) {
            double tokens = (double)l->tokens[v], times = fertility_times_english(f, l, v);
            printf("\t%.3f\t%.2f", l->chars > 0 ? tokens / (double)l->chars : 0,
                   l->words > 0 ? tokens / (double)l->words : 0);
            if (times > 0) printf("\t%.2f", times);
            else printf("\t-");
        }
        printf("\n");
    }
}

static bool report(const char *const *models, size_t count, const struct tokenizer_options *o, arena *a, err *e)
{
    enum { TEXT_MAX = 1 << 28 };
    model vocabs[FERTILITY_VOCABS_MAX];
    const tokenizer *tokenizers[FERTILITY_VOCABS_MAX];
    const char *names[FERTILITY_VOCABS_MAX];
    struct fertility f;
    view text;
    size_t open = 0;
    bool good = file_read(o->text, TEXT_MAX, a, &text, e);
    for (; good && open < count; open++) {
        good = model_load_vocab(&vocabs[open], models[open], e);
        if (!good) break;
        tokenizers[open] = vocabs[open].tokenizer;
        if (tokenizers[open] == NULL) good = fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: no vocabulary", models[open]);
        if ((names[open] = short_name(models[open], a, e)) == NULL) good = false;
    }
    good = good && fertility_measure(text, tokenizers, names, count, a, &f, e);
    if (good) print_report(&f);
    if (good && o->svg != NULL) good = fertility_draw(&f, o->svg, a, e);
    for (size_t i = 0; i < open; i++) model_free(&vocabs[i]);
    return good;
}

int cmd_tokenizer(int argc, char **argv)
{
    struct tokenizer_options o = { 0 };
    struct command_line line = {
        .command = "tokenizer", .usage = "train CONFIG | report --text FILE MODEL...", .words_min = 2,
        .words_max = 1 + FERTILITY_VOCABS_MAX,
        .groups = { { ROWS, sizeof ROWS / sizeof ROWS[0], &o } },
        .about = "train: a byte-level BPE vocabulary from the sources of a configuration, written to\n"
                 "the file that it names under [data] tokenizer; vocab and pre are there, too.\n"
                 "report: tokens for each character and word of a text in many languages, and how\n"
                 "many times the English text's, for the vocabularies of some models.",
    };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    bool trains = strcmp(line.words[0], "train") == 0, reports = strcmp(line.words[0], "report") == 0;
    if ((!trains && !reports) || (trains && line.word_count != 2) || (reports && o.text == NULL)) {
        say("tokenizer: wanted train CONFIG, or report --text FILE MODEL...");
        return EXIT_USAGE;
    }
    err e = { 0 };
    arena a = { 0 };
    team *t = NULL;
    bool good = arena_new(&a, (size_t)1 << 34, &e) &&
                (trains ? train(line.words[1], o.threads, &a, &t, &e)
                        : report(line.words + 1, line.word_count - 1, &o, &a, &e));
    team_free(t);
    arena_free(&a);
    return good ? EXIT_GOOD : say_error(&e);
}
