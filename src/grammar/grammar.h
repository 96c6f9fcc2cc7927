/* grammar/ holds answers to a form: a JSON Schema (2020-12), a set of tools, or a grammar in GBNF. It owns the way from
 * such a text to a flat table (compile), the check of a table that came from elsewhere (check), and the walk along a
 * table while an answer is made (walk): which tokens may come next, and whether the answer is whole.
 *
 * It never drops a constraint: what a schema asks and the table can not hold is refused, with the JSON pointer and the
 * keyword. It knows no model, no file and no clock.
 *
 * What always holds:
 *   - sound: an answer that is whole (grammar_complete) is in the language of the schema or grammar;
 *   - never stuck: while an answer is not whole, at least one token is allowed, and where the walk began with at
 *     least grammar_least tokens left, the answer is whole before they run out;
 *   - a table is bytes with offsets, the same on every machine; the walk along a checked table touches nothing outside
 *     of it, whatever it holds, and its time and memory are bounded by counts of base/limits.h, never by a clock.
 *
 * The text worker compiles; the process that computes checks and walks. Start here, then table.h (the format, also in
 * docs/format/mask.md), then schema.c on the one side and walk.c on the other. For users: docs/structured.md. */
#ifndef HEARTH_GRAMMAR_GRAMMAR_H
#define HEARTH_GRAMMAR_GRAMMAR_H

#include "base/arena.h"
#include "format/json.h"
#include "text/tokenizer.h"

/* ---- compile ---- */

struct grammar_options {
    bool any_order;   /* members of an object in any order; else listed ones in the schema's order, others last */
    bool no_blanks;   /* no white space between the tokens of JSON; else a little (docs/structured.md) */
    bool behind_text; /* the form begins behind free text up to a marker: reasoning, then the answer. The marker is
                         `behind`, then the control token `behind_token` (-1: none), then white space may stand */
    view behind;
    int32_t behind_token;
    bool formats_ignored; /* `format` is an annotation, as the specification's default has it; else it is enforced, and
                             a format that can not be is refused */
};

/* What compiling noticed, for the log; may be NULL. */
struct grammar_notes {
    size_t ignored; /* keywords that no specification knows: typing errors, mostly */
    char first[96]; /* the first of them, with its pointer */
    size_t table_bytes, states, nodes;
};

/* A JSON Schema to a table. `schema` is any value of a parsed text; pointers in errors start at it.
 *   limits  GRAMMAR_* (base/limits.h); deep, wide and hostile schemas are refused by counts
 *   memory  *table and all work are in `a`; GRAMMAR_COMPILE_BYTES are enough for anything
 *   errors  ERR_UNSUPPORTED (asks for something that can not be enforced), ERR_VALUE (no schema, or one that no value
 *           satisfies), ERR_LIMIT, ERR_MEMORY; the text begins with the pointer: "/properties/a/uniqueItems: ..."
 *   fuzz    fuzz/grammar_schema.c */
bool grammar_from_schema(const json_value *schema, const struct grammar_options *set, arena *a, view *table,
                         struct grammar_notes *notes, err *e);

/* Any JSON object, for response_format json_object: the schema {"type": "object"}. Errors: as above. */
bool grammar_from_any_object(const struct grammar_options *set, arena *a, view *table, err *e);

/* A grammar in GBNF: rules `name ::= ...` with literals, classes, groups, alternatives, repeats and comments; the
 * answer is rule `root`. Of `set` (NULL: none) only what comes before it is read. Left recursion is refused. Errors:
 * ERR_VALUE, ERR_UNSUPPORTED, ERR_LIMIT with the byte offset and the line. Fuzz: fuzz/grammar_gbnf.c */
bool grammar_from_gbnf(view text, const struct grammar_options *set, arena *a, view *table, struct grammar_notes *notes,
                       err *e);

/* Calls of tools, as one family of models writes them:
 *
 *     [free text]  begin NAME middle ARGUMENTS end  [between begin NAME middle ARGUMENTS end]*
 *
 * for example begin = `<tool_call>\n{"name": "`, middle = `", "arguments": `, end = `}\n</tool_call>`, between = `\n`.
 * Where `begin_token` is not -1 a control token of that id stands before `begin` (its text is no text). */
struct grammar_tool {
    view name;                /* 1..REPLY_NAME_MAX bytes */
    const json_value *schema; /* of the arguments; NULL: any object */
};
struct grammar_call_form {
    view begin, middle, end, between;
    int32_t begin_token, end_token; /* -1: none. end_token stands behind `end` */
    bool text_before;               /* tool_choice auto: free text first, and no call at all is fine too */
    bool parallel;                  /* more than one call */
};
/* Errors as grammar_from_schema; the text begins with the tool's name. All offending tools are tried: the first is
 * named, with how many others there are. */
bool grammar_from_tools(const struct grammar_tool *tools, size_t count, const struct grammar_call_form *form,
                        const struct grammar_options *set, arena *a, view *table, struct grammar_notes *notes, err *e);

/* ---- check ---- */

/* A checked table: views into its bytes. The bytes must stay, unchanged. */
typedef struct grammar {
    view bytes;
    const struct table_head *head;
    const struct table_state *states;
    const struct table_edge *edges;
    const struct table_node *nodes;
    const uint32_t *links;
    const struct table_object *objects;
    const struct table_member *members;
} grammar;

/* Believes nothing of the bytes (aligned to 8): every index and count is compared before the walk uses it. Shares no
 * code with the compiler. Errors: ERR_TRUNCATED, ERR_VALUE, ERR_LIMIT with the offset. Fuzz: fuzz/grammar_table.c */
bool grammar_check(view table, grammar *out, err *e);

/* ---- vocabulary ---- */

/* A vocabulary as the walk sees it: what each token reads as, as a trie in the order of bytes. Read-only once made,
 * one for a model. */
typedef struct grammar_vocab grammar_vocab;

/* `rows` is the length of the logits (at least the vocabulary's size): rows without a token are never allowed, nor are
 * control, unknown and unused tokens. About 50 ms and 6 MB for 150,000 tokens. Errors: ERR_MEMORY, ERR_UNSUPPORTED (a
 * vocabulary that can not write every byte of ASCII). */
bool grammar_vocab_new(grammar_vocab **out, const tokenizer *t, size_t rows, arena *a, err *e);
size_t grammar_vocab_bytes(const tokenizer *t, size_t rows); /* of arena, at most */
size_t grammar_vocab_mask_words(const grammar_vocab *v);     /* words of 64 bits in a mask: ceil(rows / 64) */

/* The same from plain data: token i reads as texts[i] (empty: never allowed). ends: ids that end an answer. */
bool grammar_vocab_from(grammar_vocab **out, const view *texts, size_t count, size_t rows, const int32_t *ends,
                        size_t end_count, arena *a, err *e);

/* ---- walk ---- */

/* Scratch of the walk and its memory of masks: one for each thread that walks; bits never depend on what it
 * remembers. Bound to one vocabulary; call grammar_walker_forget when a table goes away or changes. */
typedef struct grammar_walker grammar_walker;
bool grammar_walker_new(grammar_walker **out, const grammar_vocab *v, arena *a, err *e);
size_t grammar_walker_bytes_for(size_t rows); /* of arena, at most */
void grammar_walker_forget(grammar_walker *w);

/* Where an answer stands: plain data, copied by assignment (so a step is taken back by keeping a copy). */
enum { GRAMMAR_WAYS_MAX = 64, GRAMMAR_FRAME_WORDS = 8192 };
struct grammar_way { /* one reading of the answer so far: walk.h */
    uint8_t op, blank;
    uint16_t label;
    uint32_t arg, state, count, frame, zero;
    uint64_t hash;
};
typedef struct grammar_state {
    uint32_t way_count, frame_words;
    bool ended;      /* an end token was taken */
    bool drop_blank; /* the first blank of the answer is not shown (SentencePiece, after a control token) */
    struct grammar_way ways[GRAMMAR_WAYS_MAX];
    uint32_t frames[GRAMMAR_FRAME_WORDS];
} grammar_state;

/* The begin of an answer. `drop_blank`: the detokenizer takes one blank off the first token (see decoder_next). */
void grammar_start(grammar_walker *w, const grammar *g, bool drop_blank, grammar_state *s);

/* The least number of tokens that make the answer whole from here; UINT32_MAX where it can not be (never, in a state
 * that grammar_start and grammar_accept made of a table that the compiler made). An end token is not counted. */
uint32_t grammar_least(grammar_walker *w, const grammar *g, const grammar_state *s);

/* May the answer end here? */
bool grammar_complete(const grammar *g, const grammar_state *s);

/* Sets bit id % 64 of mask[id / 64] for each token that may come next, clears all others. `left_tok` counts the tokens
 * that may still be made, this one included: a token after which the answer could not be made whole with the rest is
 * not allowed. End tokens are allowed where the answer may end. Returns how many are allowed; 0 only where left_tok <
 * grammar_least, or where nothing but the end is left and the vocabulary has no end token. */
size_t grammar_mask(grammar_walker *w, const grammar *g, const grammar_state *s, uint32_t left_tok, uint64_t *mask);

/* Takes a token. False, and the state unchanged, where it is not allowed (the same answer as grammar_mask's bit). */
bool grammar_accept(grammar_walker *w, const grammar *g, grammar_state *s, int32_t token, uint32_t left_tok);

/* True where only an end token can follow: the answer can stop without computing anything more. */
bool grammar_only_end(grammar_walker *w, const grammar *g, const grammar_state *s);

#endif
