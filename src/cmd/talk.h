/* A conversation with a model that has a chat template: its messages, and the ids of its text so far. Ids that the
 * model made are kept as they were made: a new turn tokenizes only what the template adds behind them.
 *
 *   text   | turn 1 rendered | answer | end | turn 2 rendered | answer ...      as the template would print it
 *   ids    | of the template | made by the model | ...
 *   marks            ^           ^       ^             ^    places where text and ids are known to agree
 *
 * The next prompt is rendered whole. Where it begins with the text up to a mark, the ids up to there are kept; a
 * template that prints old answers differently (without their reasoning) goes back to the mark before the answer. */
#ifndef HEARTH_CMD_TALK_H
#define HEARTH_CMD_TALK_H

#include "cmd/rendering.h"
#include "model/model.h"
#include "template/reply.h"

enum { MESSAGES_MAX = 4096, MARKS_MAX = 3 * MESSAGES_MAX, TOOLS_MAX = 1024 };

/* ORDER talk_role: ROLES in talk.c */
enum talk_role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT };
enum think { THINK_UNSET, THINK_YES, THINK_NO };

struct message {
    enum talk_role role;
    view content, reasoning;
    view calls; /* of the assistant: a JSON list as templates take it in `tool_calls`; empty where there are none */
};

struct mark {
    size_t text_bytes, ids_count;
};

struct talk {
    const model *m;
    struct renderer renderer;
    enum think think;
    const json_value *tools; /* what the template is told; NULL: none */
    struct reply_tool *reply_tools; /* the same for the parser of replies */
    size_t tool_count;
    arena arena; /* everything below; only grows */
    struct message *messages;
    size_t message_count;
    uint8_t *text;
    size_t text_bytes, text_room;
    int32_t *ids;
    size_t ids_count, ids_room;
    struct mark *marks;
    size_t mark_count;
};

/* Undo with talk_free; all zeros is closed. `source` is the template. Errors: those of template_parse. */
bool talk_new(struct talk *t, const model *m, view source, size_t ctx_tok, err *e);
void talk_free(struct talk *t);

/* Copies the message in. A system message replaces an earlier one. Errors: ERR_LIMIT, ERR_MEMORY. */
bool talk_add(struct talk *t, enum talk_role role, view content, view reasoning, err *e);

/* The calls of the last message, which is the assistant's; see hearing_calls. Errors: ERR_MEMORY. */
bool talk_add_calls(struct talk *t, view calls, err *e);

/* Tools for the template, from a JSON list of {"name", "description", "parameters"}, each alone or as the `function` of
 * {"type": "function"}. Errors: ERR_VALUE with the place in the list, ERR_LIMIT, those of the reader. */
bool talk_tools(struct talk *t, const char *path, err *e);

/* Takes back messages from index `count` on. */
void talk_cut(struct talk *t, size_t count);

/* The ids of the whole conversation, with the opening of the next answer; they belong to `t`. */
bool talk_prompt(struct talk *t, const int32_t **ids, size_t *count, err *e);

/* The text that the last talk_prompt rendered. */
view talk_rendered(const struct talk *t);

/* What the model made behind the last prompt: its ids, an end token included. */
bool talk_answer(struct talk *t, const int32_t *ids, size_t count, err *e);

/* The messages as `render --messages` reads them, and back. */
bool talk_save(struct talk *t, const char *path, err *e);
bool talk_load(struct talk *t, const char *path, err *e);

#endif
