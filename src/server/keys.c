/* Keys: see keys.h. */
#include "server/keys.h"

#include "base/config.h"

#include <sodium.h>
#include <stdio.h>

static const char *const ROLES[KEY_ROLES] = { [KEY_USER] = "user", [KEY_ADMIN] = "admin", [KEY_METRICS] = "metrics" };

static const struct config_key FILE_KEYS[] = {
    { "keys", "key", CONFIG_TEXT, 0, 0, NULL, "name, role, hash and limits; hearth key add writes it", NULL, true },
};

const char *key_role_name(enum key_role role)
{
    return ROLES[role];
}

bool key_role_named(view name, enum key_role *role)
{
    for (size_t i = 0; i < KEY_ROLES; i++) {
        *role = (enum key_role)i;
        if (view_is(name, ROLES[i])) return true;
    }
    return false;
}

bool key_name_check(view name, err *e)
{
    bool good = name.len_bytes >= 1 && name.len_bytes <= SERVER_NAME_BYTES_MAX;
    for (size_t i = 0; good && i < name.len_bytes; i++) {
        uint8_t c = name.ptr[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c != 0 && strchr("._-@", c) != NULL);
    }
    return good || fail(e, ERR_VALUE, ERR_NO_OFFSET, "key's name: 1 to %d letters, digits and . _ - @",
                        SERVER_NAME_BYTES_MAX);
}

/* ---- the file ---- */

static view next_word(view *rest)
{
    while (rest->len_bytes > 0 && rest->ptr[0] == ' ') *rest = view_after(*rest, 1);
    size_t len = 0;
    while (len < rest->len_bytes && rest->ptr[len] != ' ') len++;
    view word = { rest->ptr, len };
    *rest = view_after(*rest, len);
    return word;
}

static bool read_hash(view text, uint8_t hash[static KEY_HASH_BYTES])
{
    size_t len;
    return sodium_hex2bin(hash, KEY_HASH_BYTES, (const char *)text.ptr, text.len_bytes, NULL, &len, NULL) == 0 &&
           len == KEY_HASH_BYTES && text.len_bytes == 2 * KEY_HASH_BYTES;
}

static bool read_date(view text, char out[static KEY_DATE_BYTES])
{
    if (text.len_bytes != KEY_DATE_BYTES - 1) return false;
    for (size_t i = 0; i < text.len_bytes; i++)
        if (i == 4 || i == 7 ? text.ptr[i] != '-' : text.ptr[i] < '0' || text.ptr[i] > '9') return false;
    memcpy(out, text.ptr, text.len_bytes);
    return true;
}

/* "at-once=4" and its like. */
static bool read_limit(view word, struct key *k)
{
    struct { const char *name; uint32_t *value; } rows[] = {
        { "at-once=", &k->at_once },
        { "per-minute=", &k->per_minute },
        { "max-tokens=", &k->max_tok },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t value;
        if (!view_starts(word, view_of(rows[i].name))) continue;
        bool good = config_int(view_after(word, strlen(rows[i].name)), &value) && value >= 0 && value <= UINT32_MAX;
        if (!good) return false;
        *rows[i].value = (uint32_t)value;
        return true;
    }
    return view_starts(word, view_of("made=")) && read_date(view_after(word, 5), k->made);
}

static bool read_key(const struct config_value *value, struct key_table *t, err *e)
{
    struct key *k = &t->keys[t->count];
    view rest = value->text, name = next_word(&rest);
    if (!key_name_check(name, e)) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: name", value->line);
    for (size_t i = 0; i < t->count; i++)
        if (view_is(name, t->keys[i].name))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: key %s stands twice", value->line, t->keys[i].name);
    memcpy(k->name, name.ptr, name.len_bytes);
    if (!key_role_named(next_word(&rest), &k->role))
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: role of %s: user, admin or metrics", value->line, k->name);
    if (!read_hash(next_word(&rest), k->hash))
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: hash of %s: 64 hex digits", value->line, k->name);
    for (view word = next_word(&rest); word.len_bytes > 0; word = next_word(&rest))
        if (!read_limit(word, k))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: %s: no limit \"%.*s\"", value->line, k->name,
                        (int)(word.len_bytes < 40 ? word.len_bytes : 40), (const char *)word.ptr);
    t->count++;
    return true;
}

bool keys_read(view text, arena *a, struct key_table *out, err *e)
{
    struct config c;
    *out = (struct key_table){ 0 };
    if (!config_read(text, FILE_KEYS, sizeof FILE_KEYS / sizeof *FILE_KEYS, a, &c, e)) return false;
    size_t count = 0;
    for (const struct config_value *v = c.values[0]; v != NULL; v = v->next) count++;
    if (count > SERVER_KEYS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "keys: %zu, at most %d", count, SERVER_KEYS_MAX);
    out->keys = ARENA_ARRAY(a, struct key, count + 1, "keys", e); /* and one that a command may add */
    if (out->keys == NULL) return false;
    for (const struct config_value *v = c.values[0]; v != NULL; v = v->next)
        if (!read_key(v, out, e)) return false;
    return true;
}

bool keys_write(const struct key_table *t, arena *a, view *out, err *e)
{
    enum { LINE_BYTES = 512 };
    size_t room = LINE_BYTES * (t->count + 1), len = 0;
    char *text = arena_take(a, room, 1, 1, "keys", e);
    if (text == NULL) return false;
    len += (size_t)snprintf(text, room, "# Keys of hearth serve: written by hearth key. Hashes, no keys.\n[keys]\n");
    for (size_t i = 0; i < t->count; i++) {
        const struct key *k = &t->keys[i];
        char hash[2 * KEY_HASH_BYTES + 1];
        sodium_bin2hex(hash, sizeof hash, k->hash, KEY_HASH_BYTES);
        len += (size_t)snprintf(text + len, room - len, "key = %s %s %s", k->name, ROLES[k->role], hash);
        if (k->at_once > 0) len += (size_t)snprintf(text + len, room - len, " at-once=%u", k->at_once);
        if (k->per_minute > 0) len += (size_t)snprintf(text + len, room - len, " per-minute=%u", k->per_minute);
        if (k->max_tok > 0) len += (size_t)snprintf(text + len, room - len, " max-tokens=%u", k->max_tok);
        if (k->made[0] != '\0') len += (size_t)snprintf(text + len, room - len, " made=%s", k->made);
        len += (size_t)snprintf(text + len, room - len, "\n");
    }
    *out = (view){ (const uint8_t *)text, len };
    return true;
}

/* ---- keys themselves ---- */

void key_hash(view text, uint8_t hash[static KEY_HASH_BYTES])
{
    static const uint8_t domain[] = "hearth key, version 1"; /* the same bytes hashed elsewhere give another value */
    crypto_generichash(hash, KEY_HASH_BYTES, text.ptr, text.len_bytes, domain, sizeof domain - 1);
}

void key_make(const uint8_t random[static 32], char text[static KEY_TEXT_BYTES], uint8_t hash[static KEY_HASH_BYTES])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648, base32 in small letters */
    memcpy(text, "hk-", 3);
    for (size_t i = 0; i < 52; i++) {
        unsigned bits = 0;
        for (size_t j = 0; j < 5; j++) {
            size_t bit = 5 * i + j;
            bits = bits << 1 | (bit < 256 ? (unsigned)random[bit / 8] >> (7 - bit % 8) & 1u : 0u);
        }
        text[3 + i] = letters[bits];
    }
    text[KEY_TEXT_BYTES - 1] = '\0';
    key_hash(view_of(text), hash);
}

const struct key *keys_find(const struct key_table *t, view text)
{
    uint8_t hash[KEY_HASH_BYTES];
    const struct key *found = NULL;
    key_hash(text, hash);
    for (size_t i = 0; i < t->count; i++)
        if (sodium_memcmp(hash, t->keys[i].hash, KEY_HASH_BYTES) == 0) found = &t->keys[i];
    return found;
}
