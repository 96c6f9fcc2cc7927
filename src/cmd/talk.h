/* The messages of a conversation. Their ids are the text worker's: orchestrator/turns.h. */
#ifndef HEARTH_CMD_TALK_H
#define HEARTH_CMD_TALK_H

#include "base/arena.h"

enum { MESSAGES_MAX = 4096 };

/* ORDER talk_role: ROLES in talk.c */
enum talk_role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT };
enum think { THINK_UNSET, THINK_YES, THINK_NO };

struct message {
    enum talk_role role;
    view content, reasoning;
};

struct talk {
    enum think think;
    arena arena; /* everything below; only grows */
    struct message *messages;
    size_t message_count;
};

/* Undo with talk_free; all zeros is closed. */
bool talk_new(struct talk *t, err *e);
void talk_free(struct talk *t);

/* Copies the message in. A system message replaces an earlier one. Errors: ERR_LIMIT, ERR_MEMORY. */
bool talk_add(struct talk *t, enum talk_role role, view content, view reasoning, err *e);

/* Takes back messages from index `count` on. */
void talk_cut(struct talk *t, size_t count);

/* The messages as a JSON array, and what the template's switches are set to as an object (empty: nothing is), from `a`.
 */
bool talk_messages(const struct talk *t, arena *a, view *messages, view *variables, err *e);

/* The messages as `render --messages` reads them, and back. */
bool talk_save(struct talk *t, const char *path, err *e);
bool talk_load(struct talk *t, const char *path, err *e);

#endif
