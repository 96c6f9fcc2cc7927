/* What a model wrote, taken apart while it arrives: reasoning, content, tool calls. One table row a convention
 * (reply_family.c); one machine for all of them (reply.c).
 * Invariants:
 *   - the events are a function of the joined bytes: however they are cut, the same events with the same text;
 *   - what was handed out is never taken back: for every prefix of a reply, its events are a prefix of the whole's;
 *   - a call counts only once it has ended, whole and well formed. One that is not is given back as text with an error;
 *     nothing is repaired, because half a path can delete the wrong thing;
 *   - a marker that is a control token of the vocabulary counts only as that token: its letters spelled by ordinary
 *     tokens are text.
 * White space that touches a marker is dropped; all other bytes of text come out as they came in. Calls are held until
 * they have ended. Source: the conventions as the templates of ../shared/reference render them and its replies.jsonl.
 */
#ifndef HEARTH_TEMPLATE_REPLY_H
#define HEARTH_TEMPLATE_REPLY_H

#include "template/template.h"

enum reply_event_type {
    REPLY_REASONING,  /* text */
    REPLY_CONTENT,    /* text */
    REPLY_BLOCK,      /* the text that follows is a new block of its kind: APIs with one string put a newline between */
    REPLY_CALL_BEGIN, /* call, name, id (the model's own; often empty) */
    REPLY_CALL_ARGS,  /* call, text: the arguments, a JSON object */
    REPLY_CALL_END,   /* call: only now it may be run */
    REPLY_ERROR,      /* error */
    REPLY_END
};

enum reply_error {
    REPLY_NO_ERROR,
    REPLY_BAD_CALL,       /* a call that is malformed, or whose values are not of the tool's types: came as content */
    REPLY_INCOMPLETE_CALL /* the reply ended inside a call; after `length` its text is dropped */
};

struct reply_event {
    enum reply_event_type type;
    enum reply_error error;
    uint32_t call;       /* from 0 */
    view text, name, id; /* valid during the callback */
};

typedef void reply_sink(void *arg, const struct reply_event *event);

struct reply_family; /* a row of the table: reply_family.c */

const struct reply_family *reply_family_named(view name); /* NULL where there is none */
const char *reply_family_name(const struct reply_family *f);

/* A tool of the request: raw values become what its schema says. `parameters` is its JSON Schema, or NULL. */
struct reply_tool {
    view name;
    const json_value *parameters;
};

/* How the model of a template writes, found by reply_derive. */
struct reply_format {
    const struct reply_family *family;
    view turn_end;        /* what the template writes after a turn; empty where nothing does */
    bool calls, parallel; /* one call, two calls come back from a rendering as they went in */
    bool reasoning;       /* so does reasoning */
};

struct reply_setup {
    struct reply_format format;
    bool in_reasoning; /* the prompt left reasoning open: reply_starts_in_reasoning */
    const struct reply_tool *tools;
    size_t tool_count;
    const view *control; /* texts of the vocabulary's control tokens */
    size_t control_count;
};

typedef struct reply_parser reply_parser;

/* A parser for one reply. It and what `setup` points to must live until reply_finish; it takes 40 KB
 * from `a`, and more as a call grows: up to 4 MB, and 80 MB for the moment in which the largest is read. Errors:
 * ERR_MEMORY. */
bool reply_new(const struct reply_setup *setup, reply_sink *sink, void *arg, arena *a, reply_parser **out, err *e);

/* The next bytes, of one token or several; `is_control` says that they are a control token's. Nothing can fail: what
 * is wrong with a reply is an event. Threads: one parser, one thread.   fuzz  fuzz/reply.c */
void reply_feed(reply_parser *p, view bytes, bool is_control);

/* The end: `cut` says that it came by length or a stop string and not by the model's own choice. Sends REPLY_END. */
void reply_finish(reply_parser *p, bool cut);

/* Does a generation prompt (what the template writes behind the last message) leave the reasoning open? The last of the
 * open and close markers in it decides. */
bool reply_starts_in_reasoning(const struct reply_format *format, view prompt);

/* Which row a template follows: one rendering with sentinel values is compared with the table, then each candidate must
 * read back what was rendered. *out has family NULL where no row does: then tools go as text. Takes from `scratch`,
 * where turn_end stays.
 * `options` as for template_render. Errors: none of its own; a template that cannot render a plain turn has no format.
 */
void reply_derive(const chat_template *t, const struct render_options *options, arena *scratch,
                  struct reply_format *out);

#endif
