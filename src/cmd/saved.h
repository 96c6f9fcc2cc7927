/* Saved sessions: the tokens of a conversation and its cache in one file, hashed or encrypted in chunks that threads
 * take, bound to the model, the arithmetic version and the settings. A file that is wrong, old or damaged is refused,
 * and the text computed again. docs/format/session.md has the bytes. Where a cache is, here or in an engine behind
 * rings, is the place's business: saved_place.c. */
#ifndef HEARTH_CMD_SAVED_H
#define HEARTH_CMD_SAVED_H

#include "base/team.h"
#include "cmd/open.h"
#include "cmd/served.h"

enum { SAVED_KEY_BYTES = 32, SAVED_BINDING_BYTES = 32 };

/* Where a cache's stream (cache/save.h) comes from and goes to. With a team `read` and `write` are called by all its
 * threads, each for bytes of its own. */
struct saved_place {
    void *arg;
    team *team;     /* NULL: chunks are taken one after the other */
    size_t ctx_tok;
    uint8_t binding[SAVED_BINDING_BYTES]; /* of saved_bind */
    bool (*read)(void *arg, size_t at, uint8_t *out, size_t n, err *e);
    bool (*begin)(void *arg, const int32_t *ids, size_t count, const uint8_t *head, size_t bytes, err *e);
    bool (*write)(void *arg, size_t at, const uint8_t *in, size_t n, err *e);
    bool (*end)(void *arg, bool good, err *e); /* not good: all is forgotten */
};

/* What a saved session is bound to. */
struct saved_settings {
    uint8_t identity[32]; /* of the model; zeros: a hash of `image` stands for it */
    view image;
    enum kv_type kv;
    bool activations_f32;
    size_t ctx_tok;
};
bool saved_bind(struct saved_place *p, const struct saved_settings *set, err *e);

/* Reads a key: 64 hexadecimal digits. Errors: ERR_VALUE, and those of reading. */
bool saved_key_read(const char *path, uint8_t key[static SAVED_KEY_BYTES], err *e);

/* Writes ids and the place's stream; `key` NULL: hashed, not encrypted. Errors: ERR_IO, ERR_MEMORY; the old file stays
 * then. */
bool saved_put(const char *path, const uint8_t *key, const struct saved_place *place, const int32_t *ids, size_t count,
               size_t stream_bytes, err *e);

/* Gives a saved session to the place. Errors: one line naming the file and what is wrong with it; the place was told to
 * forget what it got. */
bool saved_take(const char *path, const uint8_t *key, const struct saved_place *place, err *e);

/* ---- saved_place.c ---- */

/* A session of this process. */
bool saved_write(const char *path, const uint8_t *key, session *s, const struct opened *o, err *e);
bool saved_read(const char *path, const uint8_t *key, session *s, const struct opened *o, err *e);

/* What an engine keeps of these ids: written, and the longest beginning of the file's that it has. */
bool saved_write_served(const char *path, const uint8_t *key, struct served *s, const int32_t *ids, size_t count,
                        err *e);

/* Restored in the engine; ids[0..*count-1] are the session's (room for the context). */
bool saved_read_served(const char *path, const uint8_t *key, struct served *s, int32_t *ids, size_t *count, err *e);

#endif
