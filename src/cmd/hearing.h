/* What a model with a chat template says, taken apart while it arrives: reasoning, content, calls. Without a convention
 * that template/reply.h knows, everything is content. */
#ifndef HEARTH_CMD_HEARING_H
#define HEARTH_CMD_HEARING_H

#include "cmd/rendering.h"
#include "model/model.h"
#include "template/reply.h"

/* Text that is final, whole characters. */
typedef void hearing_show(void *arg, view text, bool reasoning);

/* One stretch of text that grows, and how much of it was shown. */
struct heard {
    arena arena;
    size_t shown_bytes;
};

/* All zeros is closed. */
struct hearing {
    struct reply_setup setup;
    arena arena, parser_arena;
    reply_parser *parser; /* of the reply that is heard now; NULL: everything is content */
    struct heard content, reasoning;
    struct heard calls; /* a JSON list, open until the end */
    hearing_show *show;
    void *arg;
    bool failed; /* no room for the text */
};

/* Finds out how the model of this template writes. Undo with hearing_free. Errors: ERR_MEMORY. */
bool hearing_new(struct hearing *h, const model *m, struct renderer *r, err *e);
void hearing_free(struct hearing *h);

/* A new reply, to the prompt that ends in `prompt`. `show` may be NULL. */
bool hearing_begin(struct hearing *h, view prompt, hearing_show *show, void *arg, err *e);

/* The next text; a control token's own text is told apart. */
void hearing_feed(struct hearing *h, view text, bool is_control);

/* The end; `cut` where it did not come from the model. Errors: ERR_MEMORY. */
bool hearing_end(struct hearing *h, bool cut, err *e);

/* What was heard, valid until the next hearing_begin. */
view hearing_content(const struct hearing *h);
view hearing_reasoning(const struct hearing *h);

/* Whole and well-formed calls as the `tool_calls` of a message; empty where there are none. */
view hearing_calls(const struct hearing *h);

#endif
