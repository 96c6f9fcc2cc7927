/* hearth key: who may ask a server, add, list and revoke. A key is shown once, when it is made; the file holds hashes.
 */
#include "cmd/serve.h"

#include "base/config.h"
#include "base/file.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct key_options {
    const char *keys, *role;
    size_t at_once, per_minute, max_tok;
};

static const char *const ROLE_NAMES[] = { "user", "admin", "metrics", NULL };

static const struct option ROWS[] = {
    { "--role", "ROLE", OPTION_CHOICE, offsetof(struct key_options, role), 0, 0, ROLE_NAMES, "user",
      "user asks models, admin loads them too, metrics reads numbers" },
    { "--at-once", "N", OPTION_COUNT, offsetof(struct key_options, at_once), 1, UINT32_MAX, NULL, NULL,
      "requests inside at the same time" },
    { "--per-minute", "N", OPTION_COUNT, offsetof(struct key_options, per_minute), 1, UINT32_MAX, NULL, NULL,
      "requests of a minute" },
    { "--max-tokens", "N", OPTION_COUNT, offsetof(struct key_options, max_tok), 1, UINT32_MAX, NULL, NULL,
      "tokens of one answer" },
    { "--keys", "FILE", OPTION_TEXT, offsetof(struct key_options, keys), 0, 0, NULL, NULL,
      "the file ($HEARTH_KEYS, ~/.local/share/hearth/keys)" },
};

struct key_file {
    char path[PATH_BYTES_MAX];
    arena arena;
    struct key_table table;
};

static bool file_open(struct key_file *f, const char *word, err *e)
{
    view text = view_of("");
    if (!serve_keys_path(word, f->path)) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "keys: no --keys and no $HOME");
    if (!arena_new(&f->arena, (size_t)1 << 28, e)) return false;
    if (access(f->path, F_OK) == 0 && !file_read(f->path, (size_t)CONFIG_LINES_MAX * CONFIG_LINE_BYTES_MAX, &f->arena,
                                                 &text, e))
        return false;
    if (keys_read(text, &f->arena, &f->table, e)) return true;
    err_prefix(e, f->path);
    return false;
}

/* Folders above the file; the file is its owner's alone. */
static bool file_save(struct key_file *f, err *e)
{
    view text;
    for (char *slash = strchr(f->path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(f->path, 0700);
        *slash = '/';
    }
    mode_t before = umask(0077);
    bool good = keys_write(&f->table, &f->arena, &text, e) && file_write(f->path, &text, 1, e);
    umask(before);
    return good;
}

static struct key *find(struct key_table *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->keys[i].name, name) == 0) return &t->keys[i];
    return NULL;
}

static bool key_add(struct key_file *f, const char *name, const struct key_options *o, err *e)
{
    uint8_t random[32];
    char text[KEY_TEXT_BYTES];
    time_t now = time(NULL);
    struct tm utc;
    if (!key_name_check(view_of(name), e)) return false;
    if (find(&f->table, name) != NULL)
        return fail(e, ERR_STATE, ERR_NO_OFFSET, "key %s: there is one already (hearth key revoke %s)", name, name);
    if (f->table.count == SERVER_KEYS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "keys: %d are the most", SERVER_KEYS_MAX);
    struct key *k = &f->table.keys[f->table.count++];
    *k = (struct key){ .at_once = (uint32_t)o->at_once, .per_minute = (uint32_t)o->per_minute,
                       .max_tok = (uint32_t)o->max_tok };
    snprintf(k->name, sizeof k->name, "%s", name);
    key_role_named(view_of(o->role), &k->role);
    if (gmtime_r(&now, &utc) != NULL) strftime(k->made, sizeof k->made, "%Y-%m-%d", &utc);
    randombytes_buf(random, sizeof random);
    key_make(random, text, k->hash);
    sodium_memzero(random, sizeof random);
    if (!file_save(f, e)) return false;
    printf("%s\n", text);
    say("key %s, %s: shown this once, written nowhere; servers know it when they start", name, o->role);
    return true;
}

static bool key_revoke(struct key_file *f, const char *name, err *e)
{
    struct key *k = find(&f->table, name);
    if (k == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "key %.60s: there is none of that name", name);
    size_t behind = (size_t)(f->table.keys + f->table.count - k - 1);
    memmove(k, k + 1, behind * sizeof *k);
    f->table.count--;
    if (!file_save(f, e)) return false;
    say("key %s is gone; servers that run know it until they start again", name);
    return true;
}

static void print_limit(uint32_t value)
{
    if (value > 0) printf("%12u", value);
    else printf("%12s", "-");
}

static void key_list(const struct key_table *t)
{
    printf("%-24s%-10s%-12s%12s%12s%12s\n", "name", "role", "made", "at once", "a minute", "tokens");
    for (size_t i = 0; i < t->count; i++) {
        const struct key *k = &t->keys[i];
        printf("%-24s%-10s%-12s", k->name, key_role_name(k->role), k->made[0] != '\0' ? k->made : "-");
        print_limit(k->at_once);
        print_limit(k->per_minute);
        print_limit(k->max_tok);
        printf("\n");
    }
}

int cmd_key(int argc, char **argv)
{
    struct key_options o = { 0 };
    struct key_file f = { 0 };
    struct command_line line = { .command = "key", .usage = "add|revoke NAME, or list", .words_min = 1, .words_max = 2,
                                 .about = "Keys of a server's users. Once there is one, every request needs one.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &o } } };
    err e = { 0 };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    bool add = strcmp(line.words[0], "add") == 0, revoke = strcmp(line.words[0], "revoke") == 0;
    bool list = strcmp(line.words[0], "list") == 0;
    if ((!add && !revoke && !list) || line.word_count != (list ? 1 : 2)) {
        say("key: add NAME, revoke NAME or list (see hearth key --help)");
        return EXIT_USAGE;
    }
    bool good = (sodium_init() >= 0 || fail(&e, ERR_IO, ERR_NO_OFFSET, "key: no randomness")) &&
                file_open(&f, o.keys, &e);
    if (good && add) good = key_add(&f, line.words[1], &o, &e);
    if (good && revoke) good = key_revoke(&f, line.words[1], &e);
    if (good && list) key_list(&f.table);
    arena_free(&f.arena);
    return good ? EXIT_GOOD : say_error(&e);
}
