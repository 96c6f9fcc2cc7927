/* The ids of a conversation so far. Ids that the model made are kept as they were made: a new turn tokenizes only what
 * the template adds behind them.
 *
 *   text   | turn 1 rendered | answer | end | turn 2 rendered | answer ...      as the template would print it
 *   ids    | of the template | made by the model | ...
 *   marks            ^           ^       ^             ^    places where text and ids are known to agree
 *
 * The next prompt is rendered whole. Where it begins with the text up to a mark, the ids up to there are kept; a
 * template that prints old answers differently (without their reasoning) goes back to the mark before the answer. */
#ifndef HEARTH_ORCHESTRATOR_TURNS_H
#define HEARTH_ORCHESTRATOR_TURNS_H

#include "orchestrator/rendering.h"

enum { MARKS_MAX = 3 * 4096 };

struct mark {
    size_t text_bytes, ids_count;
};

struct turns {
    uint8_t *text;
    size_t text_bytes, text_room;
    int32_t *ids;
    size_t ids_count, ids_room;
    struct mark *marks; /* MARKS_MAX */
    size_t mark_count;
    decoder decoder;    /* of the answer that is being added */
};

/* Room for conversations of at most `ids_room` ids, from the arena. Errors: ERR_MEMORY. */
bool turns_new(struct turns *t, size_t ids_room, arena *a, err *e);

void turns_clear(struct turns *t);

/* Makes t->ids those of the whole rendering, keeping what the model made. Errors: ERR_LIMIT (more than ids_room; both
 * numbers), ERR_MEMORY. */
bool turns_prompt(struct turns *t, struct renderer *r, const struct rendered *text, arena *a, err *e);

/* The model made one more token; `ends` where it ends an answer. The last one is followed by turns_mark. */
bool turns_made(struct turns *t, const tokenizer *tok, int32_t id, bool ends, err *e);
void turns_mark(struct turns *t);

#endif
