/* What OpenAI's APIs share: errors, usage, the head of every object. */
#ifndef HEARTH_SERVER_OPENAI_H
#define HEARTH_SERVER_OPENAI_H

#include "server/api.h"

#include <stdio.h>

void openai_stream_error(struct exchange *x, const struct refusal *r);
void openai_ping(struct exchange *x, uint64_t done, uint64_t all); /* a comment: all clients skip it */

/* "usage": {...}, a member. */
void openai_usage(const struct ask_usage *u, json_writer *w);

/* Opens an object with id, object, created and model. */
void openai_head(struct exchange *x, json_writer *w, const char *object);

/* Fields: stream_options, and response_format (of Responses: text.format). */
bool openai_stream_options(struct reading *rd, const json_value *v);
bool openai_response_format(struct reading *rd, const json_value *v);

/* A conversation in OpenAI's messages: also Ollama's, whose calls have objects as arguments. */
bool openai_messages(struct reading *rd, const json_value *messages);

/* An array of token ids, from the arena. */
bool ids_read(struct reading *rd, const json_value *v, const int32_t **out, size_t *count);

#endif
