/* template/template.h against the reference: every case of ../shared/reference/templates, byte for byte.
 * `cases bench` prints what the longest template takes with a conversation of 50 turns. */
#include "template/template.h"

#include "base/file.h"
#include "check.h"

#include <dirent.h>
#include <time.h>

static arena files, room;
static const int64_t CLOCK_S = 1795348800; /* 2026-11-22 12:00:00, the reference's */

/* Marks of rows that ask for what this interpreter does otherwise on purpose, or not at all. `sandbox`, `no_from_json`:
 * errors for things allowed here. `markup`: HTML marks. `generator`: lists here. */
static const char *const other_ext[] = { "sandbox", "no_from_json", "generator", "markup", "python", "rare" };

static bool has_ext(const json_value *row, const char *ext)
{
    const json_value *list = json_get(row, "ext");
    if (list != NULL) JSON_EACH(item, list) if (view_is(item->text, ext)) return true;
    return false;
}

static bool may_differ(const json_value *row)
{
    for (size_t i = 0; i < sizeof other_ext / sizeof *other_ext; i++)
        if (has_ext(row, other_ext[i])) return true;
    return false;
}

static bool runs_cover(const struct rendered *r)
{
    uint32_t end = 0;
    for (size_t i = 0; i < r->run_count; i++) {
        if (r->runs[i].end <= end || r->runs[i].origin > ORIGIN_TEXT ||
            (i > 0 && r->runs[i].origin == r->runs[i - 1].origin))
            return false;
        end = r->runs[i].end;
    }
    return end == r->text.len_bytes;
}

/* The first byte that differs, with what stands around it. */
static void print_difference(view got, view want)
{
    size_t at = 0;
    while (at < got.len_bytes && at < want.len_bytes && got.ptr[at] == want.ptr[at]) at++;
    size_t from = at < 40 ? 0 : at - 40;
    view g = view_after(got, from), w = view_after(want, from);
    printf("  byte %zu\n  got  <<%.*s>>\n  want <<%.*s>>\n", at, (int)(g.len_bytes < 120 ? g.len_bytes : 120),
           (const char *)g.ptr, (int)(w.len_bytes < 120 ? w.len_bytes : 120), (const char *)w.ptr);
}

static size_t differing;

/* One row: true where it holds. */
static bool holds(const char *name, view source, const json_value *row, bool quiet)
{
    static const char *const trusted[] = { "bos_token", "eos_token" };
    const struct render_options options = { .clock_s = CLOCK_S, .trusted = trusted, .trusted_count = 2 };
    const json_value *expect = json_get(row, "expect"), *alt = json_get(row, "alt"), *vars = json_get(row, "vars");
    const chat_template *t;
    struct rendered r = { { NULL, 0 }, NULL, 0 };
    err e = { 0 };
    arena_rewind(&room, 0);
    bool good = template_parse(source, &room, &t, &e) && template_render(t, vars, &options, &room, &r, &e);
    bool same = good && expect != NULL &&
                (view_equal(r.text, expect->text) || (alt != NULL && view_equal(r.text, alt->text)));
    bool right = expect == NULL ? !good : same && runs_cover(&r);
    if (right || quiet) return right;
    printf("%s: %s\n", name, good ? "another text" : e.text);
    if (good && expect != NULL) print_difference(r.text, expect->text);
    return false;
}

static void check_row_of(const char *file, view source, const json_value *row)
{
    char name[300];
    const json_value *id = json_get(row, "case") != NULL ? json_get(row, "case") : json_get(row, "id");
    const json_value *own = json_get(row, "template");
    snprintf(name, sizeof name, "%s %.*s", file, (int)id->text.len_bytes, (const char *)id->text.ptr);
    if (own != NULL) source = own->text;
    if (may_differ(row)) {
        bool same = holds(name, source, row, true);
        differing += !same;
        if (same) check_passed++;
        else printf("differs on purpose: %s\n", name);
        return;
    }
    CHECK(holds(name, source, row, false), "%s", name);
}

static void check_file(const char *folder, const char *file)
{
    char path[1000];
    view lines, line, source = { NULL, 0 };
    err e = { 0 };
    arena_rewind(&files, 0);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (!CHECK(file_read(path, 1 << 26, &files, &lines, &e), "%s", e.text)) return;
    char *mark = strstr(path, ".cases.jsonl");
    if (mark != NULL) {
        snprintf(mark, sizeof path - (size_t)(mark - path), ".jinja");
        if (!CHECK(file_read(path, 1 << 20, &files, &source, &e), "%s", e.text)) return;
    }
    size_t keep = files.used_bytes;
    while (json_line(&lines, &line)) {
        const json_value *row;
        arena_rewind(&files, keep);
        if (CHECK(json_parse(line, &files, &row, &e), "%s: %s", file, e.text)) check_row_of(file, source, row);
    }
}

static void all_cases(const char *folder)
{
    DIR *d = opendir(folder);
    if (d == NULL) {
        check_skip("no reference templates");
        return;
    }
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        if (strstr(entry->d_name, ".jsonl") != NULL) check_file(folder, entry->d_name);
    closedir(d);
    printf("%zu rows differ on purpose\n", differing);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* 50 turns of a few hundred characters, with a tool. */
static const json_value *conversation(void)
{
    static json_writer w;
    err e = { 0 };
    view text;
    const json_value *v = NULL;
    json_writer_start(&w, &files, 1 << 20, &e);
    json_begin_object(&w);
    json_key(&w, "messages");
    json_begin_array(&w);
    for (int i = 0; i < 100; i++) {
        json_begin_object(&w);
        json_key(&w, "role");
        json_text(&w, i % 2 == 0 ? "user" : "assistant");
        json_key(&w, "content");
        json_text(
            &w,
            "The quick brown fox jumps over the lazy dog, and then it comes back to have a look at what the dog makes "
            "of it; the dog sleeps on, as dogs do in the afternoon. Zw\xC3\xB6lf Boxk\xC3\xA4mpfer jagen Viktor.");
        json_end_object(&w);
    }
    json_end_array(&w);
    json_key(&w, "add_generation_prompt");
    json_bool(&w, true);
    json_key(&w, "tools");
    json_raw(&w, view_of("[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"d\","
                         "\"parameters\":{\"type\":"
                         "\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"description\":\"City\"}},"
                         "\"required\":[\"city\"]}}}]"));
    json_end_object(&w);
    if (!json_done(&w, &text) || !json_parse(text, &files, &v, &e)) printf("%s\n", e.text);
    return v;
}

static int bench(const char *folder)
{
    static const char *const names[] = { "openai-gpt-oss-120b", "google-gemma-4-31B-it", "Apertus-8B-Instruct",
                                         "Qwen3.5-4B", "Qwen-Qwen3-0.6B" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[1000];
        view source;
        err e = { 0 };
        const struct render_options options = { .clock_s = CLOCK_S };
        double best_parse = 1e9, best_render = 1e9;
        struct rendered r = { { NULL, 0 }, NULL, 0 };
        arena_rewind(&files, 0);
        snprintf(path, sizeof path, "%s/%s.jinja", folder, names[i]);
        if (!file_read(path, 1 << 20, &files, &source, &e)) return printf("%s\n", e.text), 1;
        const json_value *vars = conversation();
        for (int round = 0; round < 50; round++) {
            const chat_template *t;
            arena_rewind(&room, 0);
            double start = now_ms();
            if (!template_parse(source, &room, &t, &e)) return printf("%s\n", e.text), 1;
            double parsed = now_ms();
            if (!template_render(t, vars, &options, &room, &r, &e)) return printf("%s\n", e.text), 1;
            double end = now_ms();
            if (parsed - start < best_parse) best_parse = parsed - start;
            if (end - parsed < best_render) best_render = end - parsed;
        }
        printf("%-24s parse %.3f ms, render 50 turns %.3f ms, %zu bytes, %zu runs, arena %zu bytes\n", names[i],
               best_parse, best_render, r.text.len_bytes, r.run_count, room.used_bytes);
    }
    return 0;
}

int main(int argc, char **argv)
{
    char folder[500];
    err e = { 0 };
    snprintf(folder, sizeof folder, "%s/reference/templates", check_shared());
    if (!arena_new(&files, (size_t)1 << 28, &e) || !arena_new(&room, (size_t)1 << 28, &e)) return 1;
    if (argc > 1 && strcmp(argv[1], "bench") == 0) return bench(folder);
    all_cases(folder);
    arena_free(&files);
    arena_free(&room);
    return check_done();
}
