/* Pre-tokenizers of byte-level BPE: where a text is cut into words before merging. Each is a list of passes; a pass
 * cuts the pieces that the passes before it left, and both what it matches and what lies between become pieces.
 *
 * Authors publish them as regular expressions. Here each alternative of an expression is a row: a matcher (a few
 * shapes cover all of them) with character classes as its arguments. No general engine: the rows cannot backtrack over
 * more than one run, so a pass is linear in any text, and a row can be read beside the expression it stands for. */
#ifndef HEARTH_TEXT_SPLIT_H
#define HEARTH_TEXT_SPLIT_H

#include "base/arena.h"

typedef struct splitter splitter;

/* A pre-tokenizer by name, with what its author's file says beside the expressions. */
struct splitter_name {
    const char *name;
    const splitter *splitter;
    bool nfc;           /* the author normalizes to form C first */
    bool ignore_merges; /* a piece that is a token stays whole */
    bool add_bos;
};

/* The row of a name, or NULL. An empty name is "default". */
const struct splitter_name *splitter_find(view name);

/* The characters of a text with their classes. A byte that is no UTF-8 is a character of no class. */
struct split_text {
    view text;
    uint32_t *flags; /* count; SPLIT_PIECE on the first character of a piece */
    uint32_t *at;    /* count + 1 byte offsets */
    size_t count;
};

enum { SPLIT_PIECE = 1 << 30 };

/* The classes of the ASCII characters, made once a vocabulary: most text is looked up here. */
void split_ascii(const splitter *s, uint32_t ascii[static 128]);

/* Classifies and cuts; `ascii` is split_ascii's. Arrays live in `scratch`: 8 bytes a byte of text.
 * Errors: ERR_MEMORY. */
bool split_run(const splitter *s, const uint32_t ascii[static 128], view text, struct split_text *out, arena *scratch,
               err *e);

#endif
