/* Inside the reply parser: rows, and the scripts they are written in. */
#ifndef HEARTH_TEMPLATE_REPLY_FAMILY_H
#define HEARTH_TEMPLATE_REPLY_FAMILY_H

#include "template/reply.h"

/* A script is literal text with marks:
 *   %w blanks, any number        %n the tool's name          %i the call's id        %d digits
 *   %j arguments, a JSON object  %o a JSON object with name and arguments            %a an array of those
 *   %p parameters, each by the row's `param` script: %k its name, %v its value as raw text, %s "true" if it is a string
 *   %g Gemma's own value language %y a list of Python calls */
struct reply_family {
    const char *name;
    const char *think_open, *think_close;     /* NULL: this convention has none */
    const char *section_open, *section_close; /* around calls; may be missing around them */
    const char *call, *param;
    const char *name_key, *args_key; /* of %o and %a; no name_key: {"NAME": {...}} */
    const char *ignored;             /* markers that stand around content, separated by newlines */
    const char *ends;                /* markers that end the reply, separated by newlines */
    unsigned flags;
};

enum {
    FAMILY_THINK_TO_CALL = 1, /* models go from reasoning to a call without closing it */
    FAMILY_VALUE_LINES = 2,   /* a raw value stands on lines of its own */
    FAMILY_BARE = 4,          /* a call has no marker: the reply begins with it, and it names a listed tool */
    FAMILY_HARMONY = 8        /* messages with headers: reply.c */
};

extern const struct reply_family REPLY_FAMILIES[];
extern const size_t REPLY_FAMILY_COUNT;

/* A marker, and which of its bytes only a control token may write. */
struct literal {
    view text;
    uint64_t control;
};

enum part_kind {
    PART_END,
    PART_LITERAL,
    PART_BLANKS,
    PART_NAME,
    PART_ID,
    PART_DIGITS,
    PART_JSON,
    PART_OBJECT,
    PART_ARRAY,
    PART_PARAMS,
    PART_KEY,
    PART_VALUE,
    PART_FLAG,
    PART_GEMMA,
    PART_PYTHON
};

struct part {
    enum part_kind kind;
    struct literal literal;
};

enum { PARTS_MAX = 16 };

/* Cuts a script into parts, the last a PART_END. */
void reply_script(const char *script, const struct reply_setup *setup, struct part out[static PARTS_MAX]);
struct literal reply_literal(view text, const struct reply_setup *setup);

/* ---- turns of a rendering (reply_derive.c) ---- */

/* Where in `with_turn` the assistant's turn begins: behind what it shares with `prompt`, which ends in the generation
 * prompt, but never inside a marker. */
size_t reply_turn_start(view prompt, view with_turn);
/* Does a rendered turn begin in reasoning: the text before it left it open, or it closes what it does not open? */
bool reply_turn_in_reasoning(const struct reply_format *f, view prompt, view turn);

/* ---- arguments (reply_args.c): each writes a JSON object's text into `a`, or returns false ---- */

struct span {
    size_t from, to;
};

struct raw_param {
    view key, value;
    int is_string; /* 1, 0 where the text says so, -1 where it does not */
};

/* {"name": N, "arguments": {...}} as the row has it; `source` is the text `v` was read from. */
bool reply_args_member(const struct reply_family *f, const json_value *v, view source, arena *a, view *name, view *id,
                       view *args);
/* Raw values by the tool's schema: strings stay text, others are read as JSON or Python literals and must fit. */
bool reply_args_params(const struct raw_param *params, size_t count, const struct reply_tool *tool, arena *a,
                       view *args);
bool reply_args_gemma(view text, arena *a, view *args);
/* The next call of "[f(a=1), g()]": *at moves on from 0; false at the end, and *good false where it is malformed. */
bool reply_args_python(view text, size_t *at, arena *a, view *name, view *args, bool *good);
bool reply_args_object(view *text, arena *a); /* is it one, or the text of one, which *text then is? */

#endif
