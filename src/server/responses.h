/* OpenAI Responses: what its two files share. */
#ifndef HEARTH_SERVER_RESPONSES_H
#define HEARTH_SERVER_RESPONSES_H

#include "server/openai.h"

enum { RESPONSES_FIELD_COUNT = 21 };
extern const struct field RESPONSES_FIELDS[RESPONSES_FIELD_COUNT];

/* input and instructions into the ask's messages. */
bool responses_read(struct reading *rd);

#endif
