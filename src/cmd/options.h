/* The command line as a table: one const row an option, with its range and its default; the same rows make the help,
 * the errors and the values. A command says which groups of rows it takes and where their values go.
 *
 *   --name VALUE, --name=VALUE, -n VALUE, --flag; "--" ends the options; "-" is a word; a number is written as JSON
 *   writes one; sizes may end in K, M, G or T (powers of 1,024). */
#ifndef HEARTH_CMD_OPTIONS_H
#define HEARTH_CMD_OPTIONS_H

#include "cmd/cmd.h"

#include <stdbool.h>
#include <stdint.h>

enum { OPTION_TEXTS_MAX = 64, OPTION_GROUPS_MAX = 6, WORDS_MAX = 8 };

/* What a row's value is; the type in its struct stands beside it. ORDER option_type: READERS in options.c */
enum option_type {
    OPTION_FLAG,   /* bool: no value, true where it is given */
    OPTION_COUNT,  /* size_t in min..max */
    OPTION_SEED,   /* uint64_t, any */
    OPTION_NUMBER, /* float in min..max */
    OPTION_SIZE,   /* size_t in min..max, bytes */
    OPTION_TEXT,   /* const char * */
    OPTION_CHOICE, /* const char *, one of the row's choices */
    OPTION_TEXTS   /* struct texts: may be given several times */
};

struct texts {
    const char *items[OPTION_TEXTS_MAX];
    size_t count;
};

struct option {
    const char *name;       /* "--threads", or "-n" */
    const char *value_name; /* "N" in the help; NULL for flags */
    enum option_type type;
    size_t at;              /* offsetof the value in the group's struct */
    double min, max;
    const char *const *choices; /* NULL at the end */
    const char *fallback;   /* as it would be typed; NULL leaves the value zero */
    const char *help;       /* NULL: named at the end of the help, without a line of its own */
};

struct option_group {
    const struct option *rows;
    size_t count;
    void *values;
};

struct command_line {
    const char *command; /* "run" */
    const char *usage;   /* what follows the name: "[MODEL] [PROMPT]" */
    const char *about;   /* lines of text, the last without a line end */
    size_t words_min, words_max;
    struct option_group groups[OPTION_GROUPS_MAX]; /* up to the first without rows */
    const char *words[WORDS_MAX];                  /* out: what is no option */
    size_t word_count;                             /* out */
};

/* Fills the groups' values and the words. False where the command has nothing more to do: --help was printed (*status
 * EXIT_GOOD), or one line said what is wrong (EXIT_USAGE). */
bool options_read(struct command_line *line, int argc, char **argv, int *status);

/* Distance between two names in insertions, deletions, replacements and swaps of neighbours. At most 63 bytes count. */
size_t name_distance(const char *a, const char *b);

/* Whole texts as numbers; false where they are none. */
bool text_u64(view text, uint64_t *out);
bool text_double(view text, double *out); /* a JSON number, or -inf */

#endif
