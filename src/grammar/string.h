/* Strings of JSON that are not free: patterns, formats, texts that are not allowed, lengths with those. Their canonical
 * form is the shortest: characters as they are, \" \\ \b \f \n \r \t, other controls as \u00xx in small letters. */
#ifndef HEARTH_GRAMMAR_STRING_H
#define HEARTH_GRAMMAR_STRING_H

#include "grammar/build.h"
#include "grammar/regex.h"

enum { STRING_ATOMS_MAX = 16, STRING_STATES_MAX = 1 << 16 };

struct string_atom {
    const struct dfa *dfa; /* NULL: `text` */
    view text;             /* exactly this one */
    bool negate;
};

struct string_rules {
    struct string_atom atoms[STRING_ATOMS_MAX];
    uint32_t count;
    uint64_t least, most; /* characters; most: UINT64_MAX for no bound */
};

/* The canonical text of a string, quotes included. Errors: ERR_MEMORY. */
bool string_text(view value, view *out, arena *a, err *e);
/* Does the value keep the rules? */
bool string_takes(const struct string_rules *r, view value);
/* The span of all strings that do, from the opening quote on (`quote`), or from behind it. Errors: ERR_LIMIT. */
bool string_span(build *b, const struct string_rules *r, bool quote, uint32_t *state);

/* The names of an object: listed ones (as they are, sorted by their canonical text), and others by which of the
 * patterns they match. Labels: the listed member's index, or listed + class_of[bits of the patterns that match];
 * UINT16_MAX in class_of: such a name is not allowed. `rules`: what every name that is not listed has to keep. */
struct name_rules {
    const view *listed; /* canonical texts behind the opening quote, closing quote included */
    uint32_t listed_count;
    const struct dfa *const *patterns;
    uint32_t pattern_count;
    const uint16_t *class_of;                /* 1 << pattern_count */
    const struct string_rules *const *rules; /* one of them has to hold; none: every name */
    uint32_t rule_count;
};
bool name_span(build *b, const struct name_rules *r, uint32_t *state);

/* The pattern of a format; empty where it is not enforced. *known: the specification names it. */
view format_pattern(view name, bool *known);

#endif
