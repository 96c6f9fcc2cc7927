/* What a model says, collected while it arrives: reasoning and content as the text worker took them apart. */
#ifndef HEARTH_CMD_HEARING_H
#define HEARTH_CMD_HEARING_H

#include "base/arena.h"
#include "orchestrator/service.h"

/* Text that is final, whole characters. */
typedef void hearing_show(void *arg, view text, bool reasoning);

/* One stretch of text that grows, and how much of it was shown. */
struct heard {
    arena arena;
    size_t shown_bytes;
};

/* All zeros is closed. */
struct hearing {
    struct heard content, reasoning;
    struct heard calls; /* a JSON list, open until the end */
    hearing_show *show;
    void *arg;
    unsigned call_count; /* of the whole conversation */
    bool failed; /* no room for the text */
};

/* Undo with hearing_free. Errors: ERR_MEMORY. */
bool hearing_new(struct hearing *h, err *e);
void hearing_free(struct hearing *h);

/* A new reply. `show` may be NULL. */
void hearing_begin(struct hearing *h, hearing_show *show, void *arg);

/* A SERVICE_EVENT_DELTA. */
void hearing_take(struct hearing *h, const struct service_event *delta);

/* The end. Errors: ERR_MEMORY. */
bool hearing_end(struct hearing *h, err *e);

/* What was heard, valid until the next hearing_begin. */
view hearing_content(const struct hearing *h);
view hearing_reasoning(const struct hearing *h);

/* Whole and well-formed calls as the `tool_calls` of a message; empty where there are none. */
view hearing_calls(const struct hearing *h);

#endif
