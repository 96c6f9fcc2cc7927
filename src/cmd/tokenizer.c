/* hearth tokenizer: a vocabulary from a configuration's texts. */
#include "cmd/options.h"

#include "base/file.h"
#include "train/vocabulary.h"

#include <stdio.h>
#include <string.h>

struct tokenizer_options {
    size_t threads;
};

static const struct option ROWS[] = {
    { "--threads", "N", OPTION_COUNT, offsetof(struct tokenizer_options, threads), 1, 256, NULL, "1",
      "threads; the vocabulary does not depend on it" },
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

int cmd_tokenizer(int argc, char **argv)
{
    struct tokenizer_options o = { 0 };
    struct command_line line = {
        .command = "tokenizer", .usage = "train CONFIG", .words_min = 2, .words_max = 2,
        .groups = { { ROWS, sizeof ROWS / sizeof ROWS[0], &o } },
        .about = "trains a byte-level BPE vocabulary on the sources of a configuration and writes\n"
                 "it to the file that it names under [data] tokenizer; vocab and pre are there, too.",
    };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if (strcmp(line.words[0], "train") != 0) {
        say("tokenizer: %.60s is not a verb; there is: train", line.words[0]);
        return EXIT_USAGE;
    }
    err e = { 0 };
    arena a = { 0 };
    team *t = NULL;
    bool good = arena_new(&a, (size_t)1 << 34, &e) && train(line.words[1], o.threads, &a, &t, &e);
    team_free(t);
    arena_free(&a);
    return good ? EXIT_GOOD : say_error(&e);
}
