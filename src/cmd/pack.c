/* hearth pack: a model file as a packed image, which later starts without being read. */
#include "cmd/open.h"
#include "base/file.h"
#include "base/limits.h"
#include "image/file.h"
#include "model/pack.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

struct pack_options {
    size_t threads;
    bool check, no_hash, json;
};

static const struct option ROWS[] = {
    { "--threads", "N", OPTION_COUNT, offsetof(struct pack_options, threads), 1, THREADS_MAX, NULL, NULL,
      "threads; any number gives the same bytes (all)" },
    { "--no-hash", NULL, OPTION_FLAG, offsetof(struct pack_options, no_hash), 0, 0, NULL, NULL,
      "leave the identity out: answers cannot name their model" },
    { "--check", NULL, OPTION_FLAG, offsetof(struct pack_options, check), 0, 0, NULL, NULL,
      "read all of a packed IN and check its hashes" },
    { "--json", NULL, OPTION_FLAG, offsetof(struct pack_options, json), 0, 0, NULL, NULL, "one object" },
};

/* ---- the hash: BLAKE2b of 32 bytes ---- */

_Static_assert(sizeof(crypto_generichash_state) <= IMAGE_HASH_STATE_BYTES, "room for a hash's state");
_Static_assert(_Alignof(crypto_generichash_state) <= 64, "states are aligned to 64");

static void hash_begin(void *state)
{
    crypto_generichash_init(state, NULL, 0, IMAGE_HASH_BYTES);
}

static void hash_add(void *state, const void *bytes, size_t len_bytes)
{
    crypto_generichash_update(state, bytes, len_bytes);
}

static void hash_end(void *state, uint8_t out[static IMAGE_HASH_BYTES])
{
    crypto_generichash_final(state, out, IMAGE_HASH_BYTES);
}

static const struct image_hasher HASHER = { hash_begin, hash_add, hash_end };

/* ---- work ---- */

struct packed {
    size_t bytes, tensors, experts;
    uint8_t identity[IMAGE_HASH_BYTES];
};

static void note(struct packed *out, const image *i)
{
    *out = (struct packed){ .bytes = i->bytes.len_bytes, .tensors = i->tensor_count, .experts = i->extent_count };
    memcpy(out->identity, i->identity, IMAGE_HASH_BYTES);
}

static void show_pack(void *arg, size_t done_bytes, size_t all_bytes)
{
    progress_show(arg, done_bytes, all_bytes);
}

/* The checker looks at the bytes that were made, before they take their name: a fault in packing is an error here. */
static bool fill(const struct packing *p, const struct pack_options *set, team *t, struct image_file *file,
                 struct packed *out, err *e)
{
    struct progress progress = { .what = "packing" };
    arena room = { 0 };
    image made;
    bool good = image_write(&p->source, &p->layout, file->bytes, t, set->no_hash ? NULL : &HASHER, show_pack, &progress,
                            e);
    progress_end(&progress);
    good = good && arena_new(&room, COMMAND_ARENA_BYTES, e) &&
           image_check((view){ file->bytes, file->len_bytes }, &room, &made, e);
    if (good) note(out, &made);
    arena_free(&room);
    return good;
}

/* The disk's room comes before the work: what can fail, fails while nothing is lost. */
static bool pack(const char *in, const char *to, const struct pack_options *set, team *t, struct packed *out, err *e)
{
    struct packing p;
    struct image_file file;
    if (!packing_open(&p, in, e)) return false;
    bool good = image_file_begin(&file, to, p.layout.bytes, e);
    if (good && !fill(&p, set, t, &file, out, e)) {
        err_prefix(e, in);
        good = false;
    }
    if (good) good = image_file_end(&file, e);
    else image_file_abandon(&file);
    packing_close(&p);
    return good;
}

/* The same checks as at a start, then all bytes. */
static bool check(const char *in, team *t, struct packed *out, err *e)
{
    arena room = { 0 };
    view file;
    image i;
    if (!file_map(in, &file, e)) return false;
    bool good = arena_new(&room, COMMAND_ARENA_BYTES, e) && image_check(file, &room, &i, e) &&
                image_verify(&i, t, &HASHER, e);
    if (good) note(out, &i);
    else err_prefix(e, in);
    arena_free(&room);
    file_unmap(&file);
    return good;
}

static void print(const struct packed *p, bool json)
{
    char hex[2 * IMAGE_HASH_BYTES + 1];
    static const uint8_t none[IMAGE_HASH_BYTES];
    bool has = memcmp(p->identity, none, sizeof none) != 0;
    sodium_bin2hex(hex, sizeof hex, p->identity, IMAGE_HASH_BYTES);
    if (json && has) printf("{\"identity\": \"%s\", ", hex);
    else if (json) printf("{\"identity\": null, ");
    else printf("identity %s\n", has ? hex : "not computed");
    if (json) printf("\"bytes\": %zu, \"tensors\": %zu, \"experts\": %zu}\n", p->bytes, p->tensors, p->experts);
    else printf("%zu bytes, %zu tensors, %zu experts\n", p->bytes, p->tensors, p->experts);
}

int cmd_pack(int argc, char **argv)
{
    struct pack_options set = { 0 };
    struct command_line line = { .command = "pack",
                                 .usage = "MODEL OUT | --check IMAGE",
                                 .words_min = 1,
                                 .words_max = 2,
                                 .about = "The model as an image: the same weights, laid out for this program, on any\n"
                                          "processor. Every command takes it as a MODEL.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set } } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if (line.word_count != (set.check ? 1 : 2)) {
        say("pack: %s", set.check ? "--check takes one IMAGE" : "MODEL and OUT are needed");
        return EXIT_USAGE;
    }
    char path[PATH_BYTES_MAX];
    struct packed made = { 0 };
    team *t = NULL;
    err e = { 0 };
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is then an error like a full disk */
    bool good = (sodium_init() >= 0 || fail(&e, ERR_STATE, ERR_NO_OFFSET, "libsodium: can not start")) &&
                model_find(line.words[0], path, &e) &&
                team_new(&t, set.threads > 0 ? set.threads : threads_default(), NULL, 0, &e) &&
                (set.check ? check(path, t, &made, &e) : pack(path, line.words[1], &set, t, &made, &e));
    team_free(t);
    if (!good) return say_error(&e);
    print(&made, set.json);
    return EXIT_GOOD;
}
