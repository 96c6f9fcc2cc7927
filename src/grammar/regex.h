/* Regular expressions as automata over the bytes of UTF-8. Two readers make the same tree: ECMA-262 patterns with the
 * flag u (pattern.c) and the terminals of GBNF (gbnf.c); nfa.c turns a tree into a deterministic automaton. Nothing
 * here backtracks; size and depth are bounded by base/limits.h. */
#ifndef HEARTH_GRAMMAR_REGEX_H
#define HEARTH_GRAMMAR_REGEX_H

#include "base/arena.h"
#include "base/limits.h"

enum regex_op {
    REGEX_EMPTY,  /* the empty text */
    REGEX_CHARS,  /* one character of `ranges` */
    REGEX_CAT,    /* left, then right */
    REGEX_ALT,    /* left or right */
    REGEX_REPEAT, /* left, least to most times (REGEX_MANY: no bound) */
    REGEX_BEGIN,  /* the text begins here */
    REGEX_END,    /* the text ends here */
    REGEX_RULE    /* GBNF: another rule, `rule` */
};
#define REGEX_MANY UINT32_MAX

struct regex_range {
    uint32_t lo, hi; /* scalar values */
};

struct regex {
    enum regex_op op;
    uint32_t least, most, rule;
    const struct regex *left, *right;
    const struct regex_range *ranges;
    uint32_t range_count;
};

/* Makers; NULL and an error in `e` where the arena is full. */
struct regex *regex_new(enum regex_op op, const struct regex *left, const struct regex *right, arena *a, err *e);
struct regex *regex_chars(const struct regex_range *ranges, uint32_t count, arena *a, err *e);
struct regex *regex_text(view utf8, arena *a, err *e);
/* Sorts, joins; with `negate` the others of all scalar values. Returns the new count; room for count + 1. */
uint32_t regex_ranges_settle(struct regex_range *ranges, uint32_t count, bool negate);

/* ECMA-262 with flag u. Refused: back-references, look-around, word boundaries. Errors: ERR_VALUE, ERR_UNSUPPORTED,
 * ERR_LIMIT; the text names what stands where. */
bool regex_pattern(view pattern, const struct regex **out, arena *a, err *e);

/* A deterministic automaton. State 0 is dead, state 1 the start. */
struct dfa {
    uint32_t count;
    uint16_t (*next)[256];
    bool *final;
};

/* `anywhere`: texts that have a match somewhere in them (as JSON Schema's pattern has it), else exactly the matches.
 * Errors: ERR_LIMIT (`what` is named). */
bool regex_dfa(const struct regex *r, bool anywhere, const char *what, struct dfa *out, arena *a, arena *scratch,
               err *e);

static inline bool dfa_takes(const struct dfa *d, view text)
{
    uint32_t state = 1;
    for (size_t i = 0; i < text.len_bytes; i++) state = d->next[state][text.ptr[i]];
    return d->final[state];
}

#endif
