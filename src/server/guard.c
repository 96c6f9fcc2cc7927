/* Who may ask what from where. Three walls against a web page that a person merely visits: the Host must be a name of
 * this server (a page whose name was rebound to 127.0.0.1 sends its own), the Origin must be allowed or the server's
 * own, and a browser that says a request comes from another site is believed. Then the key, or the peer's uid. */
#include "server/part.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEY_ARENA_BYTES = 1 << 24 }; /* addresses: a table at its largest and what reading it needs */

bool refuse_with(struct refusal *r, int status, const char *param, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    r->status = status;
    vsnprintf(r->text, sizeof r->text, format, args);
    va_end(args);
    snprintf(r->param, sizeof r->param, "%s", param != NULL ? param : "");
    return false;
}

/* ---- names ---- */

static bool is_digits(view v)
{
    for (size_t i = 0; i < v.len_bytes; i++)
        if (v.ptr[i] < '0' || v.ptr[i] > '9') return false;
    return true;
}

/* The name of a Host without its port; of "[::1]:80" the brackets stay. */
static view without_port(view host)
{
    size_t at = host.len_bytes;
    while (at > 0 && host.ptr[at - 1] != ':' && host.ptr[at - 1] != ']') at--;
    bool has_port = at > 0 && host.ptr[at - 1] == ':' && is_digits(view_after(host, at));
    return has_port ? (view){ host.ptr, at - 1 } : host;
}

static bool is_listed(view name, const view *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[256];
        if (view_is(list[i], "*")) return true;
        if (list[i].len_bytes >= sizeof text) continue;
        memcpy(text, list[i].ptr, list[i].len_bytes);
        text[list[i].len_bytes] = '\0';
        if (http_same(name, text)) return true;
    }
    return false;
}

static bool host_good(const server *s, const struct conn *c, view host)
{
    static const char *const ours[] = { "localhost", "127.0.0.1", "[::1]", "localhost." };
    if (c->via_unix || host.ptr == NULL) return true; /* HTTP/1.0 without a Host is no browser */
    view name = without_port(host);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (http_same(name, ours[i])) return true;
    return is_listed(name, s->o->hosts, s->o->host_count);
}

/* "http://HOST" of the same request: a page this server sent. */
static bool is_own_origin(view origin, view host)
{
    view prefix = view_of("http://");
    return host.len_bytes > 0 && view_starts(origin, prefix) && view_equal(view_after(origin, prefix.len_bytes), host);
}

view guard_origin(const server *s, const struct http_head *head)
{
    view origin = http_header(head, "origin");
    bool own = is_own_origin(origin, http_header(head, "host"));
    return origin.ptr != NULL && !own && is_listed(origin, s->o->origins, s->o->origin_count) ? origin
                                                                                                  : (view){ NULL, 0 };
}

static bool origin_good(const server *s, const struct http_head *head)
{
    view origin = http_header(head, "origin"), site = http_header(head, "sec-fetch-site");
    if (origin.ptr != NULL)
        return is_own_origin(origin, http_header(head, "host")) || guard_origin(s, head).ptr != NULL;
    return site.ptr == NULL || http_same(site, "same-origin") || http_same(site, "none");
}

/* ---- principals ---- */

/* Everything of one principal is kept apart from others' under this number. */
static uint64_t principal_number(const char *name)
{
    uint8_t hash[16];
    uint64_t id = 0;
    crypto_generichash(hash, sizeof hash, (const uint8_t *)name, strlen(name), NULL, 0);
    for (size_t i = 0; i < 8; i++) id = id << 8 | hash[i];
    return id != 0 ? id : 1;
}

static void principal_fill(struct principal *p, const char *kind, const char *name, const struct key *k)
{
    snprintf(p->name, sizeof p->name, "%s%s", kind, name);
    p->id = principal_number(p->name);
    p->role = k != NULL ? k->role : KEY_ADMIN;
    if (k == NULL) return;
    p->at_once = k->at_once;
    p->per_minute = k->per_minute;
    p->max_tok = k->max_tok;
    p->tokens = k->per_minute;
}

/* ---- keys ---- */

/* The principal of a key's name: who is inside, and how much of the minute is used, survives a change of the file. NULL
 * where too many names have come and gone. */
static struct principal *key_principal(server *s, const struct key *k)
{
    struct principal *p = NULL;
    for (size_t i = 0; i < s->key_user_count && p == NULL; i++)
        if (strcmp(s->key_users[i].name + 4, k->name) == 0) p = &s->key_users[i];
    if (p == NULL) {
        if (s->key_user_count == SERVER_KEYS_MAX) return NULL;
        p = &s->key_users[s->key_user_count++];
    }
    uint32_t inside = p->inside;
    double tokens = p->tokens;
    bool known = p->per_minute > 0 && k->per_minute > 0;
    principal_fill(p, "key:", k->name, k);
    p->inside = inside;
    if (known && tokens < p->tokens) p->tokens = tokens;
    return p;
}

/* A key whose name has no place is left out: it opens nothing. */
static void take_keys(server *s, const struct key_table *t)
{
    s->keys = (struct key_table){ t->keys, 0 };
    for (size_t i = 0; i < t->count; i++) {
        struct principal *p = key_principal(s, &t->keys[i]);
        if (p == NULL) break;
        s->user_of_key[s->keys.count++] = (uint16_t)(p - s->key_users);
    }
    s->needs_key = s->needs_key || t->count > 0;
}

bool guard_new(server *s, err *e)
{
    bool changes = s->o->keys_ring != NULL;
    s->unix_users = calloc(PRINCIPALS_UNIX_MAX, sizeof *s->unix_users);
    s->key_users = calloc(SERVER_KEYS_MAX, sizeof *s->key_users); /* pages as they are used */
    s->user_of_key = calloc(SERVER_KEYS_MAX, sizeof *s->user_of_key);
    s->key_text = changes ? malloc(SERVER_KEYS_TEXT_BYTES) : NULL;
    if (s->unix_users == NULL || s->key_users == NULL || s->user_of_key == NULL || (changes && s->key_text == NULL))
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "server: no room for keys");
    for (size_t i = 0; changes && i < 2; i++)
        if (!arena_new(&s->key_arenas[i], KEY_ARENA_BYTES, e)) return false;
    principal_fill(&s->local, "local", "", NULL);
    take_keys(s, &s->o->keys);
    return true;
}

void guard_free(server *s)
{
    free(s->unix_users);
    free(s->key_users);
    free(s->user_of_key);
    free(s->key_text);
    for (size_t i = 0; i < 2; i++) arena_free(&s->key_arenas[i]);
}

/* The text was read once by who sent it, so one that can not be read is not the file: what holds goes on to hold. */
void guard_reload(server *s)
{
    uint32_t kind;
    size_t bytes;
    while (s->o->keys_ring != NULL && ring_receive(s->o->keys_ring, &kind, s->key_text, &bytes) == RING_OK) {
        struct key_table t;
        err ignored = { 0 };
        arena *next = &s->key_arenas[1 - s->key_arena];
        arena_rewind(next, 0);
        if (kind != SERVER_KEYS_TEXT || !keys_read((view){ s->key_text, bytes }, next, &t, &ignored)) continue;
        s->key_arena = 1 - s->key_arena;
        take_keys(s, &t);
    }
}

static struct principal *unix_principal(server *s, uint32_t uid)
{
    char name[16];
    snprintf(name, sizeof name, "%u", uid);
    for (size_t i = 0; i < s->unix_count; i++)
        if (strcmp(s->unix_users[i].name + 4, name) == 0) return &s->unix_users[i];
    if (s->unix_count == PRINCIPALS_UNIX_MAX) return &s->unix_users[PRINCIPALS_UNIX_MAX - 1];
    struct principal *p = &s->unix_users[s->unix_count++];
    principal_fill(p, "uid:", name, NULL);
    return p;
}

/* Both SDK generations: a bearer token, or x-api-key. */
static view secret_of(const struct http_head *head)
{
    view key = http_header(head, "authorization"), bearer = view_of("Bearer ");
    if (key.len_bytes >= bearer.len_bytes && http_same((view){ key.ptr, bearer.len_bytes }, "Bearer "))
        return view_after(key, bearer.len_bytes);
    return http_header(head, "x-api-key");
}

static bool guard_principal(server *s, const struct conn *c, const struct http_head *head, struct principal **who,
                            struct refusal *r)
{
    view secret = secret_of(head);
    const struct key *k = s->keys.count > 0 && secret.len_bytes > 0 ? keys_find(&s->keys, secret) : NULL;
    if (k != NULL) *who = &s->key_users[s->user_of_key[k - s->keys.keys]];
    else if (c->via_unix) *who = unix_principal(s, c->uid);
    else if (!s->needs_key) *who = &s->local;
    else return refuse_with(r, 401, NULL, secret.len_bytes > 0 ? "this key is not known here" : "a key is needed");
    return true;
}

bool guard_reading(server *s, struct conn *c, const struct http_head *head, struct refusal *r)
{
    c->who = &s->local;
    if (!host_good(s, c, http_header(head, "host")))
        return refuse_with(r, 421, NULL, "Host: not a name of this server (hosts in its configuration)");
    if (!origin_good(s, head))
        return refuse_with(r, 403, NULL, "Origin: browsers may not ask from there (origins in the configuration)");
    bool open = view_is(head->path, "/health") || http_same(head->method, "OPTIONS");
    return open || guard_principal(s, c, head, &c->who, r);
}

bool guard_enter(server *s, struct principal *who, struct refusal *r)
{
    if (who->at_once > 0 && who->inside >= who->at_once) {
        r->retry_s = 1;
        return refuse_with(r, 429, NULL, "%u requests at once are this key's limit", who->at_once);
    }
    if (who->per_minute > 0) {
        double filled = (double)(s->now_ms - who->filled_ms) * who->per_minute / 60000.0;
        who->tokens = who->tokens + filled > who->per_minute ? who->per_minute : who->tokens + filled;
        who->filled_ms = s->now_ms;
        if (who->tokens < 1.0) {
            r->retry_s = (uint32_t)((1.0 - who->tokens) * 60.0 / who->per_minute) + 1;
            return refuse_with(r, 429, NULL, "%u requests a minute are this key's limit", who->per_minute);
        }
        who->tokens -= 1.0;
    }
    return true;
}
