/* hearth serve: the command line and the configuration. A value of the command line stands before the file's, the
 * file's before the default; docs/config.md lists them all. */
#include "cmd/serve.h"

#include "base/config.h"
#include "base/file.h"

#include <fcntl.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct serve_options {
    const char *config, *host, *socket, *keys;
    size_t port, ollama_port, parallel;
    struct jail_choice jail;
};

static const struct option ROWS[] = {
    { "--port", "N", OPTION_COUNT, offsetof(struct serve_options, port), 1, 65535, NULL, NULL, "4327" },
    { "--host", "ADDRESS", OPTION_TEXT, offsetof(struct serve_options, host), 0, 0, NULL, NULL,
      "127.0.0.1; any other needs a key" },
    { "--socket", "PATH", OPTION_TEXT, offsetof(struct serve_options, socket), 0, 0, NULL, NULL,
      "Unix socket, yours alone; none for none" },
    { "--ollama-port", "N", OPTION_COUNT, offsetof(struct serve_options, ollama_port), 1, 65535, NULL, NULL,
      "11434 stands in for Ollama" },
    { "--parallel", "N", OPTION_COUNT, offsetof(struct serve_options, parallel), 1, 1024, NULL, NULL,
      "answers computed at once (4)" },
    { "--keys", "FILE", OPTION_TEXT, offsetof(struct serve_options, keys), 0, 0, NULL, NULL,
      "of hearth key (~/.local/share/hearth/keys)" },
    { "--config", "FILE", OPTION_TEXT, offsetof(struct serve_options, config), 0, 0, NULL, NULL,
      "settings, docs/config.md" },
    { "--policy", "FILE", OPTION_TEXT, offsetof(struct serve_options, jail.policy), 0, 0, NULL, NULL,
      "which walls must stand, which models may load" },
    { "--no-jail", NULL, OPTION_FLAG, offsetof(struct serve_options, jail.no_jail), 0, 0, NULL, NULL,
      "without walls: nothing confines the processes then" },
};

/* ORDER serve_key: the enum below names the rows. */
static const struct config_key KEYS[] = {
    { "server", "model", CONFIG_TEXT, 0, 0, NULL, "a model to serve: a file or a name", NULL, true },
    { "server", "host", CONFIG_TEXT, 0, 0, "127.0.0.1", "address to listen on, in numbers", NULL, false },
    { "server", "port", CONFIG_INT, 0, 65535, "4327", "0: no TCP", NULL, false },
    { "server", "ollama-port", CONFIG_INT, 0, 65535, "0", "0: none; 11434 stands in for Ollama", NULL, false },
    { "server", "socket", CONFIG_TEXT, 0, 0, "", "Unix socket; empty: in the run folder; none", NULL, false },
    { "server", "user", CONFIG_TEXT, 0, 0, NULL, "a user who may come to the Unix socket too; * is any of this machine",
      NULL, true },
    { "server", "user-socket", CONFIG_TEXT, 0, 0, NULL, "NAME PATH: a Unix socket of that user alone", NULL, true },
    { "server", "keys", CONFIG_TEXT, 0, 0, "", "file of keys; empty: in the data folder", NULL, false },
    { "server", "name", CONFIG_TEXT, 0, 0, NULL, "a further name of this server that a Host may say; * is any", NULL,
      true },
    { "server", "origin", CONFIG_TEXT, 0, 0, NULL, "a web page's origin that may ask; * is any", NULL, true },
    { "server", "alias", CONFIG_TEXT, 0, 0, NULL, "NAME MODEL: another name of a model", NULL, true },
    { "server", "preload", CONFIG_BOOL, 0, 1, "yes",
      "load models at the start, in order, as far as they fit; no: the first request for one loads it", NULL, false },
    { "server", "keep", CONFIG_INT, -1, 86400 * 365, "-1",
      "seconds a model stays without a request; -1: until another needs its room", NULL, false },
    { "server", "parallel", CONFIG_INT, 1, 1024, "4", "answers computed at once, a model", NULL, false },
    { "server", "requests", CONFIG_INT, 1, 4096, "1024", "requests that may wait, a model; more get 503", NULL, false },
    { "server", "max-tokens", CONFIG_INT, 0, CTX_TOK_MAX, "0", "of an answer that does not say; 0: the context", NULL,
      false },
    { "server", "drain", CONFIG_INT, 0, 3600, "30", "seconds that answers may go on after SIGTERM", NULL, false },
    { "server", "head-timeout", CONFIG_INT, 1, 3600, "10", "seconds for a request's headers", NULL, false },
    { "server", "idle-timeout", CONFIG_INT, 1, 86400, "60", "seconds a connection may be silent", NULL, false },
    { "server", "unread-timeout", CONFIG_INT, 1, 3600, "30", "seconds a client may leave bytes unread", NULL, false },
    { "server", "ping", CONFIG_INT, 1, 3600, "10", "seconds between signs of life in a silent stream", NULL, false },
    { "server", "drop-billing", CONFIG_BOOL, 0, 1, "no",
      "drop system lines that begin with x-anthropic-billing-header: they change with each request", NULL, false },
};
enum serve_key { KEY_MODEL, KEY_HOST, KEY_PORT, KEY_OLLAMA, KEY_SOCKET, KEY_GUEST, KEY_USER_SOCKET, KEY_KEYS, KEY_NAME,
                 KEY_ORIGIN, KEY_ALIAS, KEY_PRELOAD, KEY_KEEP, KEY_PARALLEL,
                 KEY_REQUESTS, KEY_MAX_TOKENS, KEY_DRAIN, KEY_HEAD, KEY_IDLE, KEY_UNREAD,
                 KEY_PING, KEY_BILLING, KEY_COUNT };
_Static_assert(sizeof KEYS / sizeof *KEYS == KEY_COUNT, "a row for each");

static size_t list_length(const struct config_value *v)
{
    size_t count = 0;
    for (; v != NULL; v = v->next) count++;
    return count;
}

/* A text as a C string, from the arena; NULL where it is empty. */
static const char *text_of(const struct config_value *v, arena *a, err *e)
{
    view copy;
    if (v == NULL || v->text.len_bytes == 0 || !arena_copy(a, v->text, &copy, "setting", e)) return NULL;
    return (const char *)copy.ptr;
}

static bool read_list(const struct config_value *v, arena *a, const view **out, size_t *count, err *e)
{
    view *list = ARENA_ARRAY(a, view, list_length(v), "settings", e);
    if (list == NULL) return false;
    *out = list;
    for (*count = 0; v != NULL; v = v->next) list[(*count)++] = v->text;
    return true;
}

/* "FIRST REST". */
static bool split_pair(const struct config_value *v, view *first, view *rest, err *e)
{
    size_t len = 0;
    while (len < v->text.len_bytes && v->text.ptr[len] != ' ') len++;
    *first = (view){ v->text.ptr, len };
    *rest = view_after(v->text, len);
    while (rest->len_bytes > 0 && rest->ptr[0] == ' ') *rest = view_after(*rest, 1);
    return rest->len_bytes > 0 || fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: two words are needed", v->line);
}

static bool read_aliases(const struct config_value *v, arena *a, struct server_options *o, err *e)
{
    struct alias *list = ARENA_ARRAY(a, struct alias, list_length(v), "aliases", e);
    if (list == NULL) return false;
    o->aliases = list;
    for (; v != NULL; v = v->next, o->alias_count++)
        if (!split_pair(v, &list[o->alias_count].name, &list[o->alias_count].model, e)) return false;
    return true;
}

static bool read_users(const struct config_value *v, arena *a, struct serve_settings *set, err *e)
{
    for (; v != NULL; v = v->next) {
        view name, path, name_copy, path_copy;
        if (set->user_count == SERVE_USERS_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "user-socket: over %d", SERVE_USERS_MAX);
        if (!split_pair(v, &name, &path, e) || !arena_copy(a, name, &name_copy, "user", e) ||
            !arena_copy(a, path, &path_copy, "path", e))
            return false;
        set->users[set->user_count].name = (const char *)name_copy.ptr;
        set->users[set->user_count++].path = (const char *)path_copy.ptr;
    }
    return true;
}

static bool read_guests(const struct config_value *v, arena *a, struct serve_settings *set, err *e)
{
    for (; v != NULL; v = v->next) {
        const char *name = text_of(v, a, e);
        if (name != NULL && strcmp(name, "*") == 0) {
            set->any_guest = true;
            continue;
        }
        const struct passwd *user = name != NULL ? getpwnam(name) : NULL;
        if (user == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "user: no user %.60s", name != NULL ? name : "");
        if (set->guest_count == SERVE_GUESTS_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "user: over %d", SERVE_GUESTS_MAX);
        set->guests[set->guest_count++] = user->pw_uid;
    }
    return true;
}

static bool read_models(const struct config_value *v, arena *a, struct serve_settings *set, err *e)
{
    for (; v != NULL; v = v->next) {
        if (set->model_count == SERVER_MODELS_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "model: over %d", SERVER_MODELS_MAX);
        set->models[set->model_count] = text_of(v, a, e);
        if (set->models[set->model_count++] == NULL) return false;
    }
    return true;
}

/* Times and limits. */
static void read_numbers(const struct config *c, struct serve_settings *set)
{
    struct server_options *o = &set->server;
    const struct { enum serve_key key; uint32_t *value; } rows[] = {
        { KEY_DRAIN, &o->drain_s },   { KEY_HEAD, &o->head_s }, { KEY_IDLE, &o->idle_s },
        { KEY_UNREAD, &o->unread_s }, { KEY_PING, &o->ping_s },
    };
    const struct { enum serve_key key; size_t *value; } sizes[] = {
        { KEY_PORT, &set->port },         { KEY_OLLAMA, &set->ollama_port }, { KEY_PARALLEL, &set->parallel },
        { KEY_REQUESTS, &set->requests }, { KEY_MAX_TOKENS, &o->max_tok },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) *rows[i].value = (uint32_t)c->values[rows[i].key]->integer;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        *sizes[i].value = (size_t)c->values[sizes[i].key]->integer;
    o->drop_billing = c->values[KEY_BILLING]->integer != 0;
    set->preload = c->values[KEY_PRELOAD]->integer != 0;
    int64_t keep_s = c->values[KEY_KEEP]->integer;
    set->keep_ms = keep_s < 0 ? UINT64_MAX : (uint64_t)keep_s * 1000;
}

static bool read_config(const char *path, arena *a, struct serve_settings *set, err *e)
{
    view text = view_of("");
    struct config c;
    bool good = path == NULL || file_read(path, (size_t)CONFIG_LINES_MAX * CONFIG_LINE_BYTES_MAX, a, &text, e);
    if (good && !config_read(text, KEYS, KEY_COUNT, a, &c, e)) {
        err_prefix(e, path);
        good = false;
    }
    if (!good) return false;
    read_numbers(&c, set);
    set->host = text_of(c.values[KEY_HOST], a, e);
    set->socket = text_of(c.values[KEY_SOCKET], a, e);
    set->keys = text_of(c.values[KEY_KEYS], a, e);
    struct server_options *o = &set->server;
    return (set->model_count > 0 || read_models(c.values[KEY_MODEL], a, set, e)) &&
           read_guests(c.values[KEY_GUEST], a, set, e) && read_users(c.values[KEY_USER_SOCKET], a, set, e) &&
           read_list(c.values[KEY_NAME], a, &o->hosts, &o->host_count, e) &&
           read_list(c.values[KEY_ORIGIN], a, &o->origins, &o->origin_count, e) &&
           read_aliases(c.values[KEY_ALIAS], a, o, e);
}

bool serve_keys_path(const char *word, char path[static PATH_BYTES_MAX])
{
    const char *set = getenv("HEARTH_KEYS"), *home = getenv("HOME");
    int len = -1;
    if (word != NULL) len = snprintf(path, PATH_BYTES_MAX, "%s", word);
    else if (set != NULL && set[0] != '\0') len = snprintf(path, PATH_BYTES_MAX, "%s", set);
    else if (home != NULL) len = snprintf(path, PATH_BYTES_MAX, "%s/.local/share/hearth/keys", home);
    return len > 0 && len < PATH_BYTES_MAX;
}

/* A file that is not there is a server without keys; one that can not be read is an error. */
static bool read_keys(struct serve_settings *set, arena *a, err *e)
{
    char path[PATH_BYTES_MAX];
    view text = view_of("");
    bool has_path = serve_keys_path(set->keys, path), is_there = has_path && access(path, F_OK) == 0;
    if (!is_there && set->keys != NULL)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "%.200s: no such file of keys", set->keys);
    if (is_there && !file_read(path, (size_t)CONFIG_LINES_MAX * CONFIG_LINE_BYTES_MAX, a, &text, e)) return false;
    if (keys_read(text, a, &set->server.keys, e)) return true;
    err_prefix(e, path);
    return false;
}

static void take_options(const struct serve_options *o, struct serve_settings *set)
{
    if (o->host != NULL) set->host = o->host;
    if (o->socket != NULL) set->socket = o->socket;
    if (o->keys != NULL) set->keys = o->keys;
    if (o->port > 0) set->port = o->port;
    if (o->ollama_port > 0) set->ollama_port = o->ollama_port;
    if (o->parallel > 0) set->parallel = o->parallel;
    set->jail = o->jail;
    set->jail.mask_bytes = SERVE_MASK_BYTES;
}

static int64_t zone_seconds(void)
{
    time_t now = time(NULL);
    struct tm local;
    return localtime_r(&now, &local) != NULL ? (int64_t)local.tm_gmtoff : 0;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_options options = { 0 };
    struct serve_settings set = { .server = server_defaults() };
    struct command_line line = {
        .command = "serve",
        .usage = "[MODEL...]",
        .words_max = WORDS_MAX,
        .about = "Answers programs that speak to OpenAI, Anthropic or Ollama, on this machine.",
        .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &options }, compute_group(&set.compute) }
    };
    arena a = { 0 };
    err e = { 0 };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    for (size_t i = 0; i < line.word_count; i++) set.models[set.model_count++] = line.words[i];
    set.server.version = view_of(HEARTH_VERSION);
    set.server.zone_s = zone_seconds();
    bool good = sodium_init() >= 0 && arena_new(&a, (size_t)1 << 30, &e) && read_config(options.config, &a, &set, &e);
    if (good) take_options(&options, &set);
    randombytes_buf(&set.server.seed, sizeof set.server.seed);
    good = good && read_keys(&set, &a, &e) && serve_run(&set, &e);
    arena_free(&a);
    return good ? EXIT_GOOD : say_error(&e);
}
