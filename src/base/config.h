/* The one configuration format, for policy, server and training:
 *
 *   # a comment: a whole line, or the rest of one after a blank
 *   [section]
 *   key = value
 *   name = "text with # or blanks at its ends"      no escapes: a quoted text ends at the next quote
 *
 * The caller says which keys there are in a const table; the reader fills one list of values a row. It knows no key of
 * its own, so everything a file may say is in a table that `--help` can print. A key that is not in the table, or
 * stands twice without being `many`, is refused with its line and the nearest name there is. */
#ifndef HEARTH_BASE_CONFIG_H
#define HEARTH_BASE_CONFIG_H

#include "base/arena.h"

enum config_type {
    CONFIG_TEXT,   /* any characters but quotes and control characters */
    CONFIG_INT,    /* decimal, may be negative; K, M, G after it multiply by 1024 each time */
    CONFIG_REAL,   /* 0.1, 3e-4: at most 15 digits and an exponent to 22 either way, so it is read without error */
    CONFIG_BOOL,   /* yes, no */
    CONFIG_CHOICE  /* one of the names in `choices`, separated by blanks; .integer is its index */
};

struct config_key {
    const char *section, *name;
    enum config_type type;
    double min, max;       /* CONFIG_INT and CONFIG_REAL, both inclusive */
    const char *fallback;  /* the value where the file says nothing, as a file would write it; NULL: required, or empty
                              where many */
    const char *help;      /* one line, with the unit */
    const char *choices;   /* CONFIG_CHOICE */
    bool many;             /* may stand more than once; the order is kept */
};

struct config_value {
    view text;             /* unquoted; a view into the file or the table */
    int64_t integer;       /* CONFIG_INT, CONFIG_BOOL (0, 1), CONFIG_CHOICE */
    double real;           /* CONFIG_REAL; also CONFIG_INT's value */
    uint32_t line;         /* 1-based; 0 where it is the fallback */
    const struct config_value *next; /* of a key that is `many` */
};

/* values[i] belongs to keys[i]; NULL only for a `many` key that the file left out. */
struct config {
    const struct config_value **values;
    size_t count;
};

/* Reads a whole file. Allocates only from `a`; `text`, `keys` must outlive *out.
 *   limits  CONFIG_LINES_MAX, CONFIG_LINE_BYTES_MAX (base/limits.h)
 *   errors  ERR_VALUE, ERR_LIMIT, ERR_MISSING, ERR_MEMORY; the text starts with "line N: ", offset is where
 *           the line begins
 *   fuzz    fuzz/config.c */
bool config_read(view text, const struct config_key *keys, size_t count, arena *a, struct config *out, err *e);

/* A number by itself, for command lines: the same rules as CONFIG_INT and CONFIG_REAL. False where it is not one. */
bool config_int(view text, int64_t *out);
bool config_real(view text, double *out);

#endif
