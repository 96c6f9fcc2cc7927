/* Between the two halves of the reply machine: free text and headers (reply.c), calls (reply_call.c). */
#ifndef HEARTH_TEMPLATE_REPLY_PARSER_H
#define HEARTH_TEMPLATE_REPLY_PARSER_H

#include "template/reply_family.h"

enum {
    MARKERS_MAX = 24,               /* of one convention */
    FEED_BYTES = 4096,              /* looked at in one go */
    HEADER_BYTES = 1024,            /* of a message or call, before it has to be decided what it is */
    REASONING_CALL_BYTES = 1 << 16, /* of a call inside reasoning, which is tried anew at each opener */
    HELD_BYTES = 1 << 14            /* room for held bytes at the start */
};

enum state { IN_CONTENT, IN_REASONING, IN_CALL, IN_HEADER, AT_END };

enum marker_kind {
    MARK_CALL,
    MARK_SECTION_OPEN,
    MARK_SECTION_CLOSE,
    MARK_THINK_OPEN,
    MARK_THINK_CLOSE,
    MARK_IGNORED,
    MARK_HEADER,
    MARK_END
};

struct marker {
    enum marker_kind kind;
    struct literal literal;
};

enum match { MATCH_NO, MATCH_PART, MATCH_FULL };
enum step { STEP_ON, STEP_MORE, STEP_FAIL, STEP_DONE };

struct reply_parser {
    const struct reply_setup *setup;
    const struct reply_family *family;
    reply_sink *sink;
    void *arg;
    arena *arena; /* the caller's: what a call's arguments take of it is given back */
    struct marker markers[MARKERS_MAX];
    size_t marker_count;
    bool first_byte[256]; /* of any marker */
    struct part call[PARTS_MAX], param[PARTS_MAX];
    struct literal channel, message; /* harmony */

    enum state state, before; /* `before`: what the call interrupted */
    uint8_t *held;
    bool *control; /* by byte of held */
    size_t len, capacity;
    bool fixed;         /* the arena has no room for more */
    size_t scan;        /* free text: up to here there is no marker */
    size_t blanks;      /* free text: from here to scan there are blanks alone */
    bool segment_start; /* nothing but blanks since the last marker */
    bool drop;          /* blanks that come now touch that marker */
    bool long_blanks;   /* a run of more than REPLY_BLANKS_MAX: they are text */
    bool had_content, had_reasoning, new_block;
    bool in_section, cut, final;
    uint32_t calls;

    /* one call */
    size_t open, pos, pc, mark; /* mark: where the part at hand began */
    const struct part *parts;
    bool header_done, tagged;
    size_t depth;
    bool quoted, escaped;
    uint8_t quote;
    struct span name, id, body;
    struct span key, value;
    int is_string;
    struct {
        struct span key, value;
        int is_string;
    } params[REPLY_PARAMS_MAX];
    size_t param_count;
};

static inline bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline bool name_byte(uint8_t c)
{
    uint8_t letter = c | 32;
    return (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

static inline view held_view(const reply_parser *p, struct span s)
{
    return (view){ p->held + s.from, s.to - s.from };
}

void reply_send(reply_parser *p, struct reply_event event);
enum match reply_match(const reply_parser *p, size_t at, const struct literal *l);

/* ---- reply_call.c ---- */

/* The held bytes from `script_at` on may be a call: its opener, with the blanks before it, ends the text at `open`. */
void reply_call_start(reply_parser *p, size_t open, size_t script_at);
/* Runs the part of the script at hand as far as the held bytes go. */
enum step reply_call_step(reply_parser *p);
/* Only closers are left of the script, so a reply may end here: the call is whole. */
bool reply_call_closers_left(const reply_parser *p);
/* Sends what the script has read: one call, or a list of them. False where its values are wrong. */
bool reply_call_finish(reply_parser *p);
/* Where the arguments stand in the call's script. */
size_t reply_call_body(const reply_parser *p);

#endif
