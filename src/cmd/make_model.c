/* hearth bench make-model: a file of a real shape with random weights, to measure speed without a download. */
#include "cmd/options.h"
#include "model/made.h"

#include <stdio.h>

struct make_options {
    const char *type, *out;
    size_t layers;
    uint64_t seed;
};

static const struct option ROWS[] = {
    { "--type", "T", OPTION_TEXT, offsetof(struct make_options, type), 0, 0, NULL, "Q4_0",
      "weights, as in published files" },
    { "--out", "FILE", OPTION_TEXT, offsetof(struct make_options, out), 0, 0, NULL, NULL, "the file to write" },
    { "--layers", "N", OPTION_COUNT, offsetof(struct make_options, layers), 0, 1024, NULL, "0",
      "fewer layers than the shape has (0: all)" },
    { "--seed", "N", OPTION_SEED, offsetof(struct make_options, seed), 0, 0, NULL, "1", "of the random weights" },
};

/* "a, b, c" of a list that NULL ends; a new line after every fifth. */
static void join(const char *const *names, char *out, size_t out_bytes)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; names[i] != NULL && at < out_bytes; i++)
        at += (size_t)snprintf(out + at, out_bytes - at, "%s%s", i == 0 ? "" : i % 5 == 0 ? ",\n        " : ", ",
                               names[i]);
}

int cmd_make_model(int argc, char **argv)
{
    struct make_options set = { 0 };
    char shapes[256], mixes[256], about[640];
    join(made_shape_names(), shapes, sizeof shapes);
    join(made_mix_names(), mixes, sizeof mixes);
    snprintf(about, sizeof about, "Writes a GGUF file of a real shape with random weights, for measuring.\n"
             "types:  %s\nshapes: %s", mixes, shapes);
    struct command_line line = { .command = "bench make-model", .usage = "SHAPE --type T --out FILE", .words_min = 1,
                                 .words_max = 1, .about = about,
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set } } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    const struct made_shape *found = made_shape_named(view_of(line.words[0]));
    const struct made_mix *mix = made_mix_named(view_of(set.type));
    if (found == NULL || mix == NULL || set.out == NULL) {
        if (found == NULL) say("SHAPE: %.40s is none of those that --help lists", line.words[0]);
        else if (mix == NULL) say("--type: %.40s is none of those that --help lists", set.type);
        else say("--out: the file to write is missing");
        return EXIT_USAGE;
    }
    struct made_shape shape = *found;
    if (set.layers > shape.layers) {
        say("--layers: %zu, %s has %zu", set.layers, shape.name, shape.layers);
        return EXIT_USAGE;
    }
    if (set.layers > 0) shape.layers = set.layers;
    err e = { 0 };
    return made_write(&shape, mix, set.seed, set.out, &e) ? EXIT_GOOD : say_error(&e);
}
