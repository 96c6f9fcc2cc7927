/* What a row of a pre-tokenizer is made of: character classes, matchers, passes. The rows are in split_table.c, the
 * matchers in split.c. */
#ifndef HEARTH_TEXT_SPLIT_RULES_H
#define HEARTH_TEXT_SPLIT_RULES_H

#include "text/split.h"

/* What a character is, as bits. The comment says which class of an expression the bit stands for. */
enum {
    IS_ANY = 1 << 0,
    IS_LETTER = 1 << 1,       /* \p{L} */
    IS_NUMBER = 1 << 2,       /* \p{N} */
    IS_SPACE = 1 << 3,        /* \s: White_Space */
    IS_MARK = 1 << 4,         /* \p{M} */
    IS_PUNCTUATION = 1 << 5,  /* \p{P} */
    IS_SYMBOL = 1 << 6,       /* \p{S} */
    IS_NEWLINE = 1 << 7,      /* [\r\n] */
    IS_BLANK = 1 << 8,        /* the space character itself */
    IS_UPPER = 1 << 9,        /* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] */
    IS_LOWER = 1 << 10,       /* [\p{Ll}\p{Lm}\p{Lo}\p{M}] */
    IS_HAN = 1 << 11,         /* \p{Han} */
    IS_DIGIT = 1 << 12,       /* \d: \p{Nd} */
    IS_WORD = 1 << 13,        /* \w */
    IS_SLASH = 1 << 14,
    IS_ASCII_LETTER = 1 << 15,
    IS_ASCII_DIGIT = 1 << 16,
    IS_ASCII_PUNCT = 1 << 17, /* [!-/:-@[-`{-~] */
    IS_TAB_OR_LF = 1 << 18,
    IS_OWN_1 = 1 << 19,       /* what the splitter's own ranges say */
    IS_OWN_2 = 1 << 20,
    IS_OWN_3 = 1 << 21
};

/* ORDER class_name: CLASSES in split.c */
enum class_name {
    NOTHING,           /* matches no character: an optional part that is not there */
    BLANK,             /* the space character */
    SPACE,             /* \s */
    LETTER,            /* \p{L} */
    LETTER_OR_MARK,    /* [\p{L}\p{M}] */
    NUMBER,            /* \p{N} */
    NEWLINE,           /* [\r\n] */
    NEWLINE_OR_SLASH,  /* [\r\n/] */
    NOT_SLN,           /* [^\s\p{L}\p{N}] */
    NOT_SLMN,          /* [^\s\p{L}\p{M}\p{N}] */
    NOT_RLN,           /* [^\r\n\p{L}\p{N}] */
    NOT_RLPS,          /* [^\r\n\p{L}\p{P}\p{S}] */
    PUNCTUATION,       /* \p{P} */
    PUNCT_OR_SYMBOL,   /* [\p{P}\p{S}] */
    UPPER,             /* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] */
    LOWER,             /* [\p{Ll}\p{Lm}\p{Lo}\p{M}] */
    UPPER_NOT_HAN,
    LOWER_NOT_HAN,
    HAN,
    ASCII_LETTER,      /* [A-Za-z] */
    ASCII_DIGIT,       /* [0-9] */
    ASCII_PUNCT,       /* [!-/:-@[-`{-~] */
    PUNCT_OR_ASCII,    /* [\p{P}!-/:-@[-`{-~] */
    TAB_OR_LF,         /* [\t\n] */
    OWN_1,
    OWN_2,
    OWN_3,
    PUNCT_OR_OWN_1,
    NOT_OWN_1,
    CLASSES_COUNT
};

enum { MANY = 1 << 30 };

struct rule;
/* How many characters the rule matches at `at`, looking no further than `end`; 0: it does not match. */
typedef size_t match_fn(const struct split_text *t, const struct rule *r, size_t at, size_t end);

struct rule {
    match_fn *match;
    enum class_name prefix; /* one character, optional; taken where the rest matches behind it */
    enum class_name body;   /* 1..body_max characters */
    size_t body_max;
    enum class_name tail;   /* 0..tail_max characters */
    size_t tail_max;
};

match_fn match_run;           /* prefix? body{1,body_max} tail{0,tail_max} */
match_fn match_exactly;       /* body{body_max} */
match_fn match_led;           /* prefix body+, the prefix not optional */
match_fn match_contraction;   /* '(s|t|re|ve|m|ll|d) */
match_fn match_contraction_i; /* the same, letter case ignored */
match_fn match_to_newline;    /* \s*[\r\n]+ (and \s*[\r\n], which takes as much) */
match_fn match_before_word;   /* \s+(?!\S) */
match_fn match_cased_low;     /* prefix? body* tail+, which share characters; then a contraction where body_max > 0 */
match_fn match_cased_up;      /* prefix? body+ tail*, the same */
match_fn match_phrase;        /* prefix? (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ */
match_fn match_sentinel;      /* <sentinel:[0-9]+> */
match_fn match_image;         /* IMGIMG[A-I]{1,4}Z */
match_fn match_blanks;        /* four blanks or two */

struct pass {
    const struct rule *rules;
    size_t rule_count;
    /* Instead of rules, where matching one after the other would look at a run again and again. */
    void (*cut)(struct split_text *t, size_t begin, size_t end);
};

void cut_digits_from_right(struct split_text *t, size_t begin, size_t end); /* \d{1,3}(?=(?:\d{3})*\b) */
void cut_space_at_end(struct split_text *t, size_t begin, size_t end);      /* \s+$ */

struct code_range {
    uint32_t first, last;
    uint32_t bit;
};

enum { PASSES_MAX = 6 };

struct splitter {
    const struct pass *passes[PASSES_MAX]; /* NULL behind the last */
    const struct code_range *ranges;       /* sorted where a bit has several; NULL: none */
    size_t range_count;
};

#endif
