/* The policy file: see policy.h. */
#include "orchestrator/policy.h"

#include "base/checked.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_PATH "/etc/hearth/policy"

/* ORDER policy_key */
enum policy_key { KEY_REQUIRE, KEY_MISSING, KEY_ALLOW, KEY_OTHERS, KEYS };

static const struct config_key KEYS_OF[KEYS] = {
    [KEY_REQUIRE] = { .section = "walls", .name = "require", .type = CONFIG_TEXT, .many = true,
                      .help = "a wall without which nothing starts; without this line the standard ones" },
    [KEY_MISSING] = { .section = "walls", .name = "missing", .type = CONFIG_CHOICE, .choices = "refuse warn",
                      .fallback = "refuse", .help = "what a required wall that is missing means" },
    [KEY_ALLOW] = { .section = "models", .name = "allow", .type = CONFIG_TEXT, .many = true,
                    .help = "a model file, or a folder with / at its end; \"FILE sha256:HEX\" for one content" },
    [KEY_OTHERS] = { .section = "models", .name = "others", .type = CONFIG_CHOICE, .choices = "refuse allow",
                     .fallback = "refuse", .help = "models that no line allows" },
};

/* ---- reading ---- */

static bool take_walls(const struct config_value *v, struct policy *out, err *e)
{
    if (v == NULL) out->require = JAIL_REQUIRED;
    for (; v != NULL; v = v->next) {
        enum jail_wall wall;
        if (view_is(v->text, "none")) continue;
        if (!jail_wall_named(v->text, &wall))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: require: no wall \"%.*s\" (hearth doctor --prove lists "
                        "them)", v->line, (int)min_size(v->text.len_bytes, 60), (const char *)v->text.ptr);
        out->require |= jail_bit(wall);
    }
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* "PATH" or "PATH sha256:HEX". */
static bool take_model(const struct config_value *v, struct policy_model *out, err *e)
{
    view mark = view_of(" sha256:"), text = v->text;
    const uint8_t *at = memmem(text.ptr, text.len_bytes, mark.ptr, mark.len_bytes);
    *out = (struct policy_model){ .path = text };
    if (at != NULL) {
        view hex = { at + mark.len_bytes, text.len_bytes - (size_t)(at - text.ptr) - mark.len_bytes };
        bool good = hex.len_bytes == 2 * POLICY_HASH_BYTES;
        for (size_t i = 0; good && i < POLICY_HASH_BYTES; i++) {
            int high = hex_digit(hex.ptr[2 * i]), low = hex_digit(hex.ptr[2 * i + 1]);
            good = high >= 0 && low >= 0;
            if (good) out->hash[i] = (uint8_t)(high * 16 + low);
        }
        if (!good)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: allow: expected 64 digits of SHA-256 behind sha256:",
                        v->line);
        out->has_hash = true;
        out->path.len_bytes = (size_t)(at - text.ptr);
    }
    if (out->path.len_bytes == 0 || out->path.ptr[0] != '/')
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: allow: a path from / on, so that it means one file",
                    v->line);
    return true;
}

static bool take_models(const struct config_value *v, arena *a, struct policy *out, err *e)
{
    size_t count = 0;
    for (const struct config_value *i = v; i != NULL; i = i->next) count++;
    if (count > POLICY_MODELS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "allow: %zu lines, at most %d", count, POLICY_MODELS_MAX);
    out->models = ARENA_ARRAY(a, struct policy_model, count, "policy", e);
    if (out->models == NULL) return false;
    for (; v != NULL; v = v->next)
        if (!take_model(v, &out->models[out->model_count++], e)) return false;
    return true;
}

bool policy_read(view text, const char *path, arena *a, struct policy *out, err *e)
{
    struct config c;
    *out = (struct policy){ .path = path };
    bool good = config_read(text, KEYS_OF, KEYS, a, &c, e) && take_walls(c.values[KEY_REQUIRE], out, e) &&
                take_models(c.values[KEY_ALLOW], a, out, e);
    if (!good) {
        err_prefix(e, path);
        return false;
    }
    out->warn = c.values[KEY_MISSING]->integer == 1;
    out->any_model = c.values[KEY_OTHERS]->integer == 1;
    return true;
}

bool policy_load(const char *path, arena *a, struct policy *out, err *e)
{
    const char *set = getenv("HEARTH_POLICY");
    view text;
    if (path == NULL && set != NULL && set[0] != '\0') path = set;
    if (path == NULL && access(DEFAULT_PATH, F_OK) == 0) path = DEFAULT_PATH;
    *out = (struct policy){ .require = JAIL_REQUIRED, .any_model = true };
    return path == NULL || (file_read(path, POLICY_BYTES_MAX, a, &text, e) && policy_read(text, path, a, out, e));
}

/* ---- asking ---- */

static bool file_hash(const char *path, uint8_t out[static POLICY_HASH_BYTES], err *e)
{
    static const size_t STEP = (size_t)1 << 20;
    crypto_hash_sha256_state state;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *room = fd >= 0 ? malloc(STEP) : NULL;
    ssize_t got = -1;
    if (room != NULL) {
        crypto_hash_sha256_init(&state);
        while ((got = read(fd, room, STEP)) > 0) crypto_hash_sha256_update(&state, room, (unsigned long long)got);
        crypto_hash_sha256_final(&state, out);
    }
    free(room);
    if (fd >= 0) close(fd);
    return got == 0 || fail(e, ERR_IO, ERR_NO_OFFSET, "%s: cannot be read for its hash", path);
}

static bool names(const struct policy_model *m, view path)
{
    bool folder = m->path.ptr[m->path.len_bytes - 1] == '/';
    return folder ? view_starts(path, m->path) : view_equal(path, m->path);
}

bool policy_allows(const struct policy *p, const char *path, err *e)
{
    if (p->any_model) return true;
    char *real = realpath(path, NULL); /* a link is where it points */
    if (real == NULL) return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s", path, strerror(errno));
    bool named = false, good = false, readable = true;
    uint8_t hash[POLICY_HASH_BYTES];
    bool hashed = false;
    for (size_t i = 0; i < p->model_count && !good && readable; i++) {
        const struct policy_model *m = &p->models[i];
        if (!names(m, view_of(real))) continue;
        named = true;
        if (m->has_hash && !hashed) hashed = readable = file_hash(real, hash, e);
        good = !m->has_hash || (hashed && memcmp(hash, m->hash, sizeof hash) == 0);
    }
    if (!good && readable)
        err_set(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, named ? "%s: policy %s allows it with another content (sha256)"
                                                         : "%s: policy %s does not allow it ([models] allow)",
                real, p->path != NULL ? p->path : "");
    free(real);
    return good;
}

/* ---- explaining ---- */

static void tell_list(policy_line *tell, void *arg, const char *head, uint32_t walls)
{
    char line[1024];
    size_t len = (size_t)snprintf(line, sizeof line, "%s", head);
    const char *between = " ";
    for (enum jail_wall w = 0; w < JAIL_WALLS; w++) {
        if (!(walls & jail_bit(w)) || len >= sizeof line - 64) continue;
        len += (size_t)snprintf(line + len, sizeof line - len, "%s%s", between, jail_wall_text(w)->name);
        between = ", ";
    }
    if (walls == 0) len += (size_t)snprintf(line + len, sizeof line - len, " none");
    snprintf(line + len, sizeof line - len, ".");
    tell(arg, line);
}

void policy_explain(const struct policy *p, policy_line *tell, void *arg)
{
    char line[4096 + 128];
    if (p->path == NULL)
        tell(arg, "There is no policy file (--policy FILE, $HEARTH_POLICY, " DEFAULT_PATH "): defaults.");
    tell_list(tell, arg, "Model files are packed, and models computed, in processes that need these walls:",
              p->require);
    tell_list(tell, arg, "Put up where the kernel has them, and not needed:", (uint32_t)JAIL_ALL & ~p->require);
    tell(arg, p->warn ? "A wall that is needed and missing is told, and the start goes on."
                      : "A wall that is needed and missing refuses the start.");
    if (p->path != NULL) tell(arg, "--no-jail is refused.");
    if (p->any_model) tell(arg, "Any model may be loaded that whoever starts it can read.");
    else if (p->model_count == 0) tell(arg, "No model may be loaded.");
    for (size_t i = 0; i < p->model_count; i++) {
        const struct policy_model *m = &p->models[i];
        bool folder = m->path.ptr[m->path.len_bytes - 1] == '/';
        snprintf(line, sizeof line, "%s %.*s may be loaded%s.", folder ? "Whatever lies in" : "The model",
                 (int)min_size(m->path.len_bytes, 4000), (const char *)m->path.ptr,
                 m->has_hash ? ", with the content whose SHA-256 is named" : "");
        tell(arg, line);
    }
    if (!p->any_model && p->model_count > 0) tell(arg, "No other model may be loaded.");
    tell(arg, "No process of a model may open a file, reach a network, or start a program.");
}
