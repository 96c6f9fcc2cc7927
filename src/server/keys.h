/* Keys: who may ask, in which role, how much. The file holds hashes: whoever reads it learns names and no key. A key
 * is 256 random bits, so one round of a fast hash is enough and none could be guessed from it.
 *
 *   [keys]
 *   key = alice user b94d27b9934d3e08... at-once=4 per-minute=60 max-tokens=4096 made=2026-11-23
 *
 * Limits that are left out do not hold. */
#ifndef HEARTH_SERVER_KEYS_H
#define HEARTH_SERVER_KEYS_H

#include "base/arena.h"
#include "base/limits.h"

enum key_role {
    KEY_USER,    /* asks models; lists them */
    KEY_ADMIN,   /* and loads, unloads and reads the metrics */
    KEY_METRICS, /* reads the metrics and nothing else */
    KEY_ROLES
};

/* A message of server_options.keys_ring, and the longest. */
enum { SERVER_KEYS_TEXT = 1, SERVER_KEYS_TEXT_BYTES = 1 << 20 };

enum { KEY_HASH_BYTES = 32, KEY_TEXT_BYTES = 3 + 52 + 1, KEY_DATE_BYTES = 11 };

struct key {
    char name[SERVER_NAME_BYTES_MAX + 1];
    enum key_role role;
    uint8_t hash[KEY_HASH_BYTES];
    uint32_t at_once;    /* requests inside at the same time; 0: no limit */
    uint32_t per_minute; /* requests of a minute */
    uint32_t max_tok;    /* tokens of one answer */
    char made[KEY_DATE_BYTES]; /* "2026-11-23" */
};

struct key_table {
    struct key *keys; /* room for SERVER_KEYS_MAX */
    size_t count;
};

const char *key_role_name(enum key_role role);
bool key_role_named(view name, enum key_role *role);

/* Letters, digits and . _ - @, 1..SERVER_NAME_BYTES_MAX. Errors: ERR_VALUE. */
bool key_name_check(view name, err *e);

/* The file as above; an empty text is an empty table. Allocates from `a`. Errors: config_read's, and ERR_VALUE naming
 * the line; two keys of one name are refused.   fuzz  fuzz/keys.c */
bool keys_read(view text, arena *a, struct key_table *out, err *e);

/* The text of the file, from `a`. */
bool keys_write(const struct key_table *t, arena *a, view *out, err *e);

/* A new key from 32 random bytes: "hk-" and 52 letters, terminated; and its hash. */
void key_make(const uint8_t random[static 32], char text[static KEY_TEXT_BYTES], uint8_t hash[static KEY_HASH_BYTES]);

/* What the file holds of a key. */
void key_hash(view text, uint8_t hash[static KEY_HASH_BYTES]);

/* The key that `text` is; NULL where it is none. Looks at every hash, all bytes of it: time tells nothing. */
const struct key *keys_find(const struct key_table *t, view text);

#endif
