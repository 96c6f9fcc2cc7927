/* The official suite for 2020-12, from Debian's libtest-json-schema-acceptance-perl: what a schema calls invalid is
 * never completed, what it calls valid, in our canonical form, is never stopped; refusals are counted by keyword. */
#include "base/file.h"
#include "grammar/grammar.h"
#include "grammar/number.h"

#include "check.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static const char FOLDER[] = "/usr/share/perl5/auto/share/dist/Test-JSON-Schema-Acceptance/tests/draft2020-12";

/* A vocabulary of single bytes: a text is its own tokens. */
static grammar_vocab *byte_vocab(arena *a)
{
    static uint8_t bytes[256];
    static view texts[257];
    grammar_vocab *v;
    err e = { 0 };
    for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i, texts[i] = (view){ &bytes[i], 1 };
    int32_t end = 256;
    if (!grammar_vocab_from(&v, texts, 257, 257, &end, 1, a, &e)) printf("%s\n", e.text), exit(1);
    return v;
}

/* The canonical form of a value: docs/structured.md. */
static void canonical(json_writer *w, const json_value *v, arena *a)
{
    struct decimal d;
    view text;
    err e = { 0 };
    if (v->type == JSON_INT || v->type == JSON_FLOAT) {
        if (decimal_of(v->text, &d, a) && decimal_text(&d, &text, a, &e)) json_raw(w, text);
        else json_raw(w, v->text);
    } else if (v->type == JSON_ARRAY) {
        json_begin_array(w);
        JSON_EACH(item, v) canonical(w, item, a);
        json_end_array(w);
    } else if (v->type == JSON_OBJECT) {
        json_begin_object(w);
        JSON_EACH(item, v)
        {
            json_key_view(w, item->key);
            canonical(w, item, a);
        }
        json_end_object(w);
    } else {
        json_copy(w, v);
    }
}

/* Is the whole text an answer? */
static bool takes(grammar_walker *w, const grammar *g, view text)
{
    static grammar_state s;
    grammar_start(w, g, false, &s);
    for (size_t i = 0; i < text.len_bytes; i++)
        if (!grammar_accept(w, g, &s, text.ptr[i], UINT32_MAX - 1)) return false;
    return grammar_complete(g, &s);
}

struct tally {
    size_t right, invalid_taken, valid_stopped, refused, beyond;
    char reasons[64][64];
    size_t reason_counts[64], reason_count;
};

static void tally_reason(struct tally *t, const char *text, size_t tests)
{
    /* the keyword: the last part of the pointer */
    const char *end = strstr(text, ": "), *begin = end == NULL ? text : end;
    while (begin > text && begin[-1] != '/') begin--;
    char name[64];
    snprintf(name, sizeof name, "%.*s", end == NULL ? 40 : (int)(end - begin), begin);
    for (size_t i = 0; i < t->reason_count; i++)
        if (strcmp(t->reasons[i], name) == 0) {
            t->reason_counts[i] += tests;
            return;
        }
    if (t->reason_count == 64) return;
    memcpy(t->reasons[t->reason_count], name, sizeof name);
    t->reason_counts[t->reason_count++] = tests;
}

static void run_group(const json_value *group, grammar_walker *w, bool formats, const char *file, struct tally *t,
                      arena *a)
{
    struct grammar_options set = { .any_order = true, .formats_ignored = !formats };
    const json_value *tests = json_get(group, "tests");
    size_t mark = a->used_bytes;
    view table;
    grammar g;
    err e = { 0 };
    if (!grammar_from_schema(json_get(group, "schema"), &set, a, &table, NULL, &e)) {
        if (e.code == ERR_VALUE && strstr(e.text, "no answer satisfies") != NULL) { /* decided: nothing is valid */
            JSON_EACH(test, tests)
            {
                bool valid = json_get(test, "valid")->type == JSON_TRUE;
                CHECK(!valid, "%s: %.*s: valid, but no answer satisfies", file,
                      (int)json_get(test, "description")->text.len_bytes,
                      (const char *)json_get(test, "description")->text.ptr);
                if (valid) t->valid_stopped++;
                else t->right++;
            }
        } else {
            t->refused += tests->count;
            tally_reason(t, e.text, tests->count);
            if (getenv("SUITE_SHOW") != NULL) printf("refused %s: %s (%u)\n", file, e.text, tests->count);
        }
        arena_rewind(a, mark);
        return;
    }
    if (!CHECK(grammar_check(table, &g, &e), "%s: %s", file, e.text)) return;
    grammar_walker_forget(w);
    JSON_EACH(test, tests)
    {
        json_writer out;
        view text, name = json_get(test, "description")->text, what = json_get(group, "description")->text;
        bool valid = json_get(test, "valid")->type == JSON_TRUE;
        json_writer_start(&out, a, 1 << 20, &e);
        canonical(&out, json_get(test, "data"), a);
        if (!json_done(&out, &text)) continue;
        bool taken = takes(w, &g, text);
        bool long_number = false;
        for (size_t i = 0, run = 0; i < text.len_bytes; i++)
            if ((run = text.ptr[i] >= '0' && text.ptr[i] <= '9' ? run + 1 : 0) > NUMBER_DIGITS) long_number = true;
        if (taken == valid) t->right++;
        else if (valid && long_number) t->beyond++;
        else if (valid) t->valid_stopped++;
        else t->invalid_taken++;
        CHECK(taken == valid || (valid && (long_number || formats)), "%s: %.*s: %.*s: %s, %.*s", file,
              (int)what.len_bytes, (const char *)what.ptr, (int)name.len_bytes, (const char *)name.ptr,
              valid ? "valid, stopped" : "invalid, taken", (int)text.len_bytes, (const char *)text.ptr);
    }
    arena_rewind(a, mark);
}

static bool run_file(const char *folder, const char *name, grammar_walker *w, bool formats, struct tally *t, arena *a)
{
    char path[512];
    view bytes;
    const json_value *groups;
    err e = { 0 };
    size_t mark = a->used_bytes;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!file_read(path, 1 << 24, a, &bytes, &e) || !json_parse(bytes, a, &groups, &e)) {
        arena_rewind(a, mark);
        return false; /* halves of surrogates, which this reader refuses */
    }
    JSON_EACH(group, groups) run_group(group, w, formats, name, t, a);
    arena_rewind(a, mark);
    return true;
}

static size_t run_folder(const char *folder, grammar_walker *w, bool formats, struct tally *t, arena *a)
{
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort);
    size_t unread = 0;
    for (int i = 0; i < count; i++) {
        size_t len = strlen(names[i]->d_name);
        if (len > 5 && strcmp(names[i]->d_name + len - 5, ".json") == 0 &&
            !run_file(folder, names[i]->d_name, w, formats, t, a))
            printf("not read: %s\n", names[i]->d_name), unread++;
        free(names[i]);
    }
    if (count >= 0) free(names);
    return unread;
}

static void report(const char *what, const struct tally *t)
{
    size_t all = t->right + t->invalid_taken + t->valid_stopped + t->refused + t->beyond;
    printf(
        "%s: %zu tests, %zu right, %zu invalid taken, %zu valid stopped, %zu refused, %zu beyond the canonical form\n",
        what, all, t->right, t->invalid_taken, t->valid_stopped, t->refused, t->beyond);
    for (size_t i = 0; i < t->reason_count; i++) printf("    refused: %-40s %zu\n", t->reasons[i], t->reason_counts[i]);
}

int main(void)
{
    static struct tally core, formats;
    arena a;
    grammar_walker *w;
    err e = { 0 };
    char path[512];
    if (!arena_new(&a, (size_t)1 << 32, &e)) return 1;
    if (!grammar_walker_new(&w, byte_vocab(&a), &a, &e)) return 1;
    DIR *there = opendir(FOLDER);
    if (there == NULL) {
        check_skip("no suite: apt-get install libtest-json-schema-acceptance-perl");
        return check_done();
    }
    closedir(there);
    size_t unread = run_folder(FOLDER, w, false, &core, &a);
    report("core", &core);
    CHECK(unread == 0, "%zu files not read", unread);
    CHECK(core.invalid_taken == 0, "%zu invalid instances taken", core.invalid_taken);
    CHECK(core.valid_stopped == 0, "%zu valid instances stopped", core.valid_stopped);
    CHECK(core.right * 10 >= 1176 * 6, "%zu of 1176 right, at least 60%% are wanted", core.right);
    snprintf(path, sizeof path, "%s/optional/format", FOLDER);
    run_folder(path, w, true, &formats, &a);
    report("formats", &formats);
    CHECK(formats.invalid_taken == 0, "%zu texts taken that have not the format", formats.invalid_taken);
    return check_done();
}
