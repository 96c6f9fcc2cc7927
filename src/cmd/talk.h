/* The messages of a conversation. Their ids are the text worker's: orchestrator/turns.h. */
#ifndef HEARTH_CMD_TALK_H
#define HEARTH_CMD_TALK_H

#include "base/arena.h"

enum { MESSAGES_MAX = 4096, TOOLS_MAX = 1024 };

/* ORDER talk_role: ROLES in talk.c */
enum talk_role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL };
enum think { THINK_UNSET, THINK_YES, THINK_NO };

struct message {
    enum talk_role role;
    view content, reasoning;
    view calls; /* of the assistant: a JSON list as templates take it in `tool_calls`; empty where there are none */
    view call_id, tool; /* of a tool: which call it answers and the tool's name; empty where that was not said */
};

struct talk {
    enum think think;
    view tools; /* JSON, what the template and the parser of replies are told; empty: none */
    arena arena; /* everything below; only grows */
    struct message *messages;
    size_t message_count;
};

/* Undo with talk_free; all zeros is closed. */
bool talk_new(struct talk *t, err *e);
void talk_free(struct talk *t);

/* Copies the message in. A system message replaces an earlier one. Errors: ERR_LIMIT, ERR_MEMORY. */
bool talk_add(struct talk *t, enum talk_role role, view content, view reasoning, err *e);

/* The calls of the last message, which is the assistant's; see hearing_calls. Errors: ERR_MEMORY. */
bool talk_add_calls(struct talk *t, view calls, err *e);

/* What a tool answered, for the first call of the conversation's last turn that has no result yet. Errors: ERR_VALUE
 * where no call waits for one, ERR_LIMIT, ERR_MEMORY. */
bool talk_add_result(struct talk *t, view content, err *e);

/* Tools for the template, from a JSON list of {"name", "description", "parameters"}, each alone or as the `function` of
 * {"type": "function"}. Errors: ERR_VALUE with the place in the list, ERR_LIMIT, those of the reader. */
bool talk_tools(struct talk *t, const char *path, err *e);

/* Takes back messages from index `count` on. */
void talk_cut(struct talk *t, size_t count);

/* The messages as a JSON array, and what the template's switches are set to as an object (empty: nothing is), from `a`.
 */
bool talk_messages(const struct talk *t, arena *a, view *messages, view *variables, err *e);

/* The messages as `render --messages` reads them, and back. */
bool talk_save(struct talk *t, const char *path, err *e);
bool talk_load(struct talk *t, const char *path, err *e);

#endif
