/* orchestrator/policy.h: what a file may say, what is refused with which line, and which models it lets through. */
#include "orchestrator/policy.h"

#include "check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static arena room;

static const struct read_row {
    const char *says, *text;
    const char *error;  /* part of it; NULL: it is good */
    uint32_t require;
    bool warn, any;
    size_t models;
} read_rows[] = {
    { "an empty file allows nothing", "", NULL, JAIL_REQUIRED, false, false, 0 },
    { "one wall", "[walls]\nrequire = seccomp\n", NULL, 1u << JAIL_SECCOMP, false, false, 0 },
    { "two walls, a warning", "[walls]\nrequire = seccomp\nrequire = landlock\nmissing = warn\n", NULL,
      1u << JAIL_SECCOMP | 1u << JAIL_LANDLOCK, true, false, 0 },
    { "no wall", "[walls]\nrequire = none\n", NULL, 0, false, false, 0 },
    { "models", "[models]\nallow = /a/\nallow = /b.gguf\nothers = allow\n", NULL, JAIL_REQUIRED, false, true, 2 },
    { "an unknown wall", "[walls]\nrequire = moat\n", "line 2: require: no wall \"moat\"", 0, false, false, 0 },
    { "an unknown key", "[walls]\nrequired = seccomp\n", "line 2", 0, false, false, 0 },
    { "an unknown section", "[wall]\nrequire = seccomp\n", "line", 0, false, false, 0 },
    { "a key twice", "[walls]\nmissing = warn\nmissing = refuse\n", "line 3", 0, false, false, 0 },
    { "a choice that is none", "[walls]\nmissing = maybe\n", "line 2", 0, false, false, 0 },
    { "a path that is not whole", "[models]\nallow = models/\n", "line 2: allow: a path from /", 0, false, false, 0 },
    { "a hash cut short", "[models]\nallow = \"/a sha256:12\"\n", "line 2: allow: expected 64 digits", 0, false, false,
      0 },
    { "a hash with another letter",
      "[models]\nallow = \"/a sha256:g000000000000000000000000000000000000000000000000000000000000000\"\n",
      "line 2: allow: expected 64 digits", 0, false, false, 0 },
};

static void reads(void)
{
    for (size_t i = 0; i < sizeof read_rows / sizeof *read_rows; i++) {
        const struct read_row *row = &read_rows[i];
        struct policy p;
        err e = { 0 };
        bool good = policy_read(view_of(row->text), "p", &room, &p, &e);
        CHECK(good == (row->error == NULL), "%s: '%s'", row->says, e.text);
        if (row->error != NULL) CHECK(strstr(e.text, row->error) != NULL, "%s: '%s'", row->says, e.text);
        else
            CHECK(p.require == row->require && p.warn == row->warn && p.any_model == row->any &&
                      p.model_count == row->models,
                  "%s: require %x, warn %d, any %d, %zu models", row->says, p.require, p.warn, p.any_model,
                  p.model_count);
    }
    struct policy p;
    err e = { 0 };
    CHECK(!policy_read((view){ (const uint8_t *)"[walls]\n\0", 9 }, "p", &room, &p, &e), "a NUL byte");
}

/* The file "abc": its SHA-256 is known. */
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void models(void)
{
    char folder[] = "/tmp/hearth-policy-XXXXXX", file[64], link[64], text[512];
    if (!CHECK(mkdtemp(folder) != NULL, "a folder")) return;
    snprintf(file, sizeof file, "%s/a.gguf", folder);
    snprintf(link, sizeof link, "%s/b.gguf", folder);
    FILE *out = fopen(file, "w");
    CHECK(out != NULL && fputs("abc", out) >= 0 && fclose(out) == 0 && symlink("/etc/hostname", link) == 0, "files");
    const struct {
        const char *says, *allow, *end, *path;
        bool good;
    } rows[] = {
        { "the file", file, "", file, true },
        { "the folder", folder, "/", file, true },
        { "a folder that begins so", folder, "x/", file, false },
        { "the file with its hash", file, " sha256:" ABC, file, true },
        { "the file with another", file,
          " sha256:0a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", file, false },
        { "a link that leads out", folder, "/", link, false },
        { "a file that is not there", folder, "/", "/tmp/hearth-none", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct policy p;
        err e = { 0 };
        snprintf(text, sizeof text, "[models]\nallow = \"%s%s\"\n", rows[i].allow, rows[i].end);
        CHECK(policy_read(view_of(text), "p", &room, &p, &e), "%s: %s", rows[i].says, e.text);
        bool good = policy_allows(&p, rows[i].path, &e);
        CHECK(good == rows[i].good && (good || e.text[0] != '\0'), "%s: %d '%s'", rows[i].says, good, e.text);
    }
    remove(file);
    remove(link);
    rmdir(folder);
}

static void count_line(void *arg, const char *line)
{
    CHECK(strlen(line) > 0 && (line[strlen(line) - 1] == 46 || strchr(line, 58) != NULL), "a sentence: '%s'", line);
    ++*(size_t *)arg;
}

int main(void)
{
    err e = { 0 };
    struct policy p;
    size_t lines = 0;
    if (!CHECK(arena_new(&room, 1 << 24, &e), "%s", e.text)) return check_done();
    reads();
    models();
    CHECK(policy_read(view_of("[models]\nallow = /a/\n"), "p", &room, &p, &e), "%s", e.text);
    policy_explain(&p, count_line, &lines);
    CHECK(lines >= 6, "%zu sentences", lines);
    CHECK(!policy_load("/nowhere/policy", &room, &p, &e), "a file that is not there is an error, not a default");
    arena_free(&room);
    return check_done();
}
