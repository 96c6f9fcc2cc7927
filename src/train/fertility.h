/* What a vocabulary costs a language: tokens for each character and word of the same text in many languages. Context,
 * time and money are counted in tokens, so a language whose text needs three times the tokens of English gets a third
 * of each. The text is one that exists in all of them: the Universal Declaration of Human Rights.
 *
 *   file   records: a form feed; a line `code TAB language tag TAB ltr|rtl TAB name`; text up to the next form feed */
#ifndef HEARTH_TRAIN_FERTILITY_H
#define HEARTH_TRAIN_FERTILITY_H

#include "base/arena.h"
#include "text/tokenizer.h"

enum { FERTILITY_VOCABS_MAX = 7, FERTILITY_LANGUAGES_MAX = 4096, FERTILITY_FRAGMENT_BYTES = 5000 };

struct language {
    view code, tag, name, text;
    size_t chars, words;                 /* code points that are no white space; runs of them */
    size_t tokens[FERTILITY_VOCABS_MAX];
};

struct fertility {
    struct language *languages;          /* by tokens of the first vocabulary a character, falling */
    size_t count, vocabs;
    const char *names[FERTILITY_VOCABS_MAX];
    size_t english;                      /* index of tag "en", or count where there is none */
};

/* Cuts `file` into records and counts. Everything lives in `a`, names stay the caller's. Errors: ERR_VALUE (no record;
 * a header without its fields; the byte is its offset), ERR_LIMIT, ERR_MEMORY. */
bool fertility_measure(view file, const tokenizer *const *vocabs, const char *const *names, size_t count, arena *a,
                       struct fertility *out, err *e);

/* The same text in this language over that in English, in tokens; fragments give 0. */
double fertility_times_english(const struct fertility *f, const struct language *l, size_t vocab);

/* A picture: a line for each language, a dot for each vocabulary. Errors: ERR_IO, ERR_MEMORY. */
bool fertility_draw(const struct fertility *f, const char *svg_path, arena *a, err *e);

#endif
