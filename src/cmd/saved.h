/* Saved sessions: the tokens of a conversation and its cache in one file, hashed or encrypted in chunks that threads take,
 * bound to the model, the arithmetic version and the settings. A file that is wrong, old or damaged is refused, and the
 * text computed again. docs/format/session.md has the bytes. */
#ifndef HEARTH_CMD_SAVED_H
#define HEARTH_CMD_SAVED_H

#include "cmd/open.h"

enum { SAVED_KEY_BYTES = 32 };

/* Reads a key: 64 hexadecimal digits. Errors: ERR_VALUE, and those of reading. */
bool saved_key_read(const char *path, uint8_t key[static SAVED_KEY_BYTES], err *e);

/* Writes the session; `key` NULL: hashed, not encrypted. Errors: ERR_IO, ERR_MEMORY; the old file stays then. */
bool saved_write(const char *path, const uint8_t *key, session *s, const struct opened *o, err *e);

/* Takes a saved session into an empty one. Errors: one line naming the file and what is wrong with it; the session is
 * empty then. */
bool saved_read(const char *path, const uint8_t *key, session *s, const struct opened *o, err *e);

#endif
