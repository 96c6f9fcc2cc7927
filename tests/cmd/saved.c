/* cmd/saved.h on a trained model: what is restored goes on with the same tokens; a file of another key, setting or
 * model, cut short, or damaged anywhere is refused and leaves the session empty. HEARTH_LONG=1 damages every byte of
 * the payload, else every 97th. */
#include "cmd/saved.h"

#include "cache/save.h"
#include "check.h"

#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const int32_t PROMPT[] = { 1, 403, 407, 261, 378 };
enum { PROMPT_TOK = sizeof PROMPT / sizeof *PROMPT, MADE = 160, REST = 60 };
static const struct sample_settings GREEDY = { .top_p = 1, .typical_p = 1, .repetition_penalty = 1, .dry_base = 1 };

static session *make_session(struct opened *o, size_t ctx_tok)
{
    struct session_settings set = { .ctx_tok = ctx_tok, .kv = o->kv, .sample = GREEDY };
    session *s = NULL;
    err e = { 0 };
    if (!CHECK(session_new(&s, &o->model, &o->kernels, o->team, &set, &e), "%s", e.text)) exit(check_done());
    return s;
}

static void make(session *s, size_t count, int32_t *out)
{
    err e = { 0 };
    for (size_t i = 0; i < count; i++) {
        view piece;
        enum finish finish;
        if (!session_next(s, 0, &piece, &out[i], NULL, &finish, &e) || finish != FINISH_NONE) {
            CHECK(false, "token %zu: %s", i, e.text);
            return;
        }
    }
}

static void flip(const char *path, size_t at)
{
    FILE *f = fopen(path, "r+b");
    fseek(f, (long)at, SEEK_SET);
    int byte = fgetc(f);
    fseek(f, (long)at, SEEK_SET);
    fputc(byte ^ 0x20, f);
    fclose(f);
}

static bool refused(const char *path, const uint8_t *key, session *s, const struct opened *o)
{
    err e = { 0 };
    size_t count;
    bool taken = saved_read(path, key, s, o, &e);
    session_tokens(s, &count);
    return !taken && e.code != ERR_NONE && count == 0 && session_cache(s)->len_tok == 0;
}

static void damage(const char *path, const uint8_t *key, session *s, const struct opened *o, const char *says)
{
    struct stat facts;
    stat(path, &facts);
    size_t all = (size_t)facts.st_size, taken = 0, tried = 0, stride = getenv("HEARTH_LONG") != NULL ? 1 : 97;
    for (size_t at = 0; at < all; at += at < 600 ? 1 : stride, tried++) {
        flip(path, at);
        taken += !refused(path, key, s, o);
        flip(path, at);
    }
    CHECK(taken == 0, "%s: damaged in %zu places, %zu taken", says, tried, taken);
    CHECK(truncate(path, (off_t)all - 1) == 0 && refused(path, key, s, o), "%s: one byte short", says);
    CHECK(truncate(path, (off_t)all) == 0 && truncate(path, 100) == 0 && refused(path, key, s, o), "%s: 100 bytes",
        says);
}

/* Whose a file is: without a key its owner and who may write it say so, with one the key does. */
static void principals(const char *path, const uint8_t *key, session *s, const struct opened *o)
{
    static const struct {
        const char *says;
        mode_t mode;
        bool good;
    } rows[] = { { "private", 0600, true }, { "others may read it", 0644, true },
                 { "its group may write it", 0620, false }, { "all may write it", 0602, false } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err e = { 0 };
        CHECK(chmod(path, rows[i].mode) == 0, "chmod");
        bool good = saved_read(path, key, s, o, &e);
        CHECK(good == (rows[i].good || key != NULL), "%s: %s", rows[i].says, e.text);
        CHECK(good || strchr(e.text, '\n') == NULL, "one line: %s", e.text);
        session_clear(s);
    }
    CHECK(chmod(path, 0600) == 0, "chmod");
    for (uid_t other = 0; other < 2; other++) {
        uid_t owner = other == 0 ? geteuid() + 1 : geteuid();
        err e = { 0 };
        if (chown(path, owner, (gid_t)-1) != 0) {
            check_skip("a file of another user: only the superuser can make one");
            return;
        }
        bool good = saved_read(path, key, s, o, &e);
        CHECK(good == (key != NULL || owner == geteuid()), "a file of user %u read by %u: %s", owner, geteuid(),
              e.text);
        session_clear(s);
    }
    uint8_t next[SAVED_KEY_BYTES]; /* of another principal: one bit is enough */
    for (size_t bit = 0; key != NULL && bit < 8 * SAVED_KEY_BYTES; bit += 51) {
        memcpy(next, key, sizeof next);
        next[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(refused(path, next, s, o), "the key of another principal, bit %zu", bit);
    }
}

static void one_tier(struct opened *o, enum kv_type kv, const uint8_t *key)
{
    char path[] = "/tmp/hearth-saved-XXXXXX";
    int32_t want[REST], got[REST], made[MADE];
    uint8_t other[SAVED_KEY_BYTES] = { 9 };
    err e = { 0 };
    close(mkstemp(path));
    o->kv = kv;
    session *s = make_session(o, 400), *t = make_session(o, 400), *longer = make_session(o, 401);
    CHECK(session_prompt(s, PROMPT, PROMPT_TOK, NULL, NULL, &e), "%s", e.text);
    make(s, MADE, made);
    mode_t mask = umask(0);
    struct stat facts = { 0 };
    CHECK(saved_write(path, key, s, o, &e), "%s", e.text);
    umask(mask);
    CHECK(stat(path, &facts) == 0 && (facts.st_mode & 0777u) == 0600, "written for its user alone: mode %o",
          facts.st_mode & 0777u);
    make(s, REST, want);
    CHECK(saved_read(path, key, t, o, &e), "%s", e.text);
    make(t, REST, got);
    CHECK(memcmp(want, got, sizeof want) == 0, "%s: goes on with the same tokens", kv_type_name(kv));
    session_clear(t);
    CHECK(refused(path, key, longer, o), "another context");
    CHECK(refused(path, key != NULL ? other : other, t, o), "another key, or one where none is");
    CHECK(key == NULL || refused(path, NULL, t, o), "no key where one is");
    principals(path, key, t, o);
    o->model.identity[0] ^= 1;
    CHECK(refused(path, key, t, o), "another model");
    o->model.identity[0] ^= 1;
    o->activations_f32 = true;
    CHECK(refused(path, key, t, o), "another arithmetic of activations");
    o->activations_f32 = false;
    damage(path, key, t, o, kv_type_name(kv));
    session_free(s);
    session_free(t);
    session_free(longer);
    unlink(path);
}

int main(void)
{
    struct opened o = { .method = KV_METHODS };
    char path[4096];
    uint8_t key[SAVED_KEY_BYTES] = { 1, 2, 3 };
    err e = { 0 };
    snprintf(path, sizeof path, "%s/reference/models/stories260K.gguf", check_shared());
    if (access(path, R_OK) != 0) {
        check_skip("saved: no reference/models/stories260K.gguf");
        return check_done();
    }
    bool good = sodium_init() >= 0 && kernels_bind(&o.kernels, NULL, &e) && team_new(&o.team, 2, NULL, 0, &e) &&
                model_load(&o.model, path, o.team, NULL, NULL, &e);
    if (!CHECK(good, "%s", e.text)) return check_done();
    o.model.identity[0] = 7; /* as of a packed image: else every try would hash the weights */
    one_tier(&o, KV_F16, NULL);
    one_tier(&o, KV_Q4, key);
    one_tier(&o, KV_K2V2, NULL);
    one_tier(&o, KV_K2V2, key);
    model_free(&o.model);
    team_free(o.team);
    return check_done();
}
