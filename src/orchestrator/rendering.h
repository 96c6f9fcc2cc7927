/* Conversations as the model was taught: variables through the chat template to text, and the text to ids with its
 * origins kept, so that nothing a person wrote becomes a control token. */
#ifndef HEARTH_ORCHESTRATOR_RENDERING_H
#define HEARTH_ORCHESTRATOR_RENDERING_H

#include "template/template.h"
#include "text/tokenizer.h"

/* A parsed template. All zeros is closed. */
struct renderer {
    const chat_template *t;
    const tokenizer *tok; /* NULL: text only */
    uint64_t *guarded;    /* bit map of user-defined tokens that only the template may make */
    arena arena, scratch, coding; /* scratch holds the last rendering */
    struct render_options options;
};

/* Undo with renderer_free. Errors: those of template_parse. */
bool renderer_new(struct renderer *r, view source, const tokenizer *tok, err *e);
void renderer_free(struct renderer *r);

/* renderer_new in two: all memory there will be, then, with no call to the system, the rest. The clock stands at 0
 * until options.clock_s is set. */
bool renderer_reserve(struct renderer *r, err *e);
bool renderer_open(struct renderer *r, view source, const tokenizer *tok, err *e);

/* "2026-11-22T12:00:00" as the clock that templates see; else it is now, in local time. Errors: ERR_VALUE. */
bool renderer_set_clock(struct renderer *r, const char *text, err *e);

/* The text, valid until the next call. `json` is one object of template variables. */
bool renderer_text(struct renderer *r, view json, struct rendered *out, err *e);
bool renderer_vars(struct renderer *r, const json_value *vars, struct rendered *out, err *e);

/* Ids of the bytes from `from` on, from `a`. Adds nothing. */
bool renderer_ids(struct renderer *r, const struct rendered *text, size_t from, arena *a, int32_t **out, size_t *count,
                  err *e);

#endif
