/* template/ turns a conversation into the text a model was trained on, and a model's reply back into its parts. It owns
 * an interpreter for the part of Jinja that chat templates are written in, and the reply parser (reply.h). It does no
 * input or output, knows no clock but the one handed in, and calls nothing but base/ and format/.
 * Invariants:
 *   - every byte of the rendered text carries its origin, through every operation: what a user or a tool wrote can
 *     never be taken for a control token of the template, however the template cuts and joins it;
 *   - a template and its variables are hostile: steps, depth, memory and output are bounded, and errors are values;
 *   - the same template, variables and clock give the same bytes everywhere.
 * Start here, then value.h and syntax.h, eval.c and render.c (what each operator and statement does); the ends of
 * builtin.c, text_builtin.c and list_builtin.c have a row for each filter, test, function and method.
 * Source: the behaviour of Jinja2 3.1 under the settings of Hugging Face's apply_chat_template (trim_blocks,
 * lstrip_blocks, loop controls, the generation tag), held by ../shared/reference/templates. Different on purpose: lists
 * and objects may be changed (append, update, pop), filters return lists where Jinja returns generators, `safe` does
 * nothing, integers over 64 bits are kept and printed but not computed with. */
#ifndef HEARTH_TEMPLATE_TEMPLATE_H
#define HEARTH_TEMPLATE_TEMPLATE_H

#include "base/arena.h"
#include "format/json.h"

/* Where a byte of the rendered text comes from. ORDER: combining two origins takes the larger, the less trusted one. */
enum template_origin {
    ORIGIN_TEMPLATE, /* written in the template */
    ORIGIN_TOKEN,    /* a variable the caller trusts as much: bos_token and the like */
    ORIGIN_TEXT      /* any other variable, and all that was computed from one: messages, tools, numbers */
};

/* Run i covers the bytes from the end of run i - 1 (0 for the first) to `end`; neighbours differ in origin. */
typedef struct origin_run {
    uint32_t end;
    uint32_t origin;
} origin_run;

struct rendered {
    view text;
    const origin_run *runs;
    size_t run_count;
};

/* 0 stands for the limit of base/limits.h. */
struct template_limits {
    uint64_t steps;
    size_t output_bytes;
    size_t memory_bytes;
};

struct render_options {
    int64_t clock_s; /* seconds since 1970-01-01 00:00 in the local time that strftime_now shows */
    struct template_limits limits;
    const char *const *trusted; /* names of variables whose strings are ORIGIN_TOKEN */
    size_t trusted_count;
};

typedef struct chat_template chat_template;

/* Parses a template once; it can be rendered any number of times, from any thread, and lives in `a`.
 *   source  UTF-8; copied
 *   limits  TEMPLATE_BYTES_MAX, TEMPLATE_NEST_MAX
 *   errors  ERR_VALUE, ERR_LIMIT, ERR_MEMORY: "template line L, column C: reason: LINE"; e->offset is the byte
 *   fuzz    fuzz/template.c */
bool template_parse(view source, arena *a, const chat_template **out, err *e);

/* Renders with the members of `vars` (an object) as variables. Everything, the text included, is taken from `scratch`.
 *   limits  options->limits; `scratch` itself
 *   errors  as template_parse; a raise_exception of the template is ERR_VALUE with its message
 *   threads no shared state: the template is only read.    fuzz  fuzz/messages.c */
bool template_render(const chat_template *t, const json_value *vars, const struct render_options *options,
                     arena *scratch, struct rendered *out, err *e);

/* The template's text, line ends made '\n'. */
view template_source(const chat_template *t);

#endif
