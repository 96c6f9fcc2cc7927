/* hearth render: what a chat template makes of a conversation, for people who debug templates. */
#include "base/file.h"
#include "cmd/open.h"
#include "cmd/out.h"
#include "orchestrator/rendering.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct render_command {
    const char *messages, *now, *cases;
    bool ids, jsonl;
};

static const struct option ROWS[] = {
    { "--messages", "FILE", OPTION_TEXT, offsetof(struct render_command, messages), 0, 0, NULL, NULL,
      "a JSON object of template variables; - is the input" },
    { "--ids", NULL, OPTION_FLAG, offsetof(struct render_command, ids), 0, 0, NULL, NULL,
      "print the token ids instead (needs a model)" },
    { "--now", "TIME", OPTION_TEXT, offsetof(struct render_command, now), 0, 0, NULL, NULL,
      "the clock, such as 2026-11-22T12:00:00 (now)" },
    { "--jsonl", NULL, OPTION_FLAG, offsetof(struct render_command, jsonl), 0, 0, NULL, NULL,
      "lines: objects in, strings or {\"error\": ...} out" },
    { "--cases", "FILE", OPTION_TEXT, offsetof(struct render_command, cases), 0, 0, NULL, NULL,
      "lines of {case, vars, expect}: the first differences" },
};

struct render_job {
    const struct render_command *set;
    struct renderer renderer;
    arena arena;
};

static bool print_once(struct render_job *job, err *e)
{
    view json;
    struct rendered text;
    int32_t *ids;
    size_t count;
    if (!text_read(job->set->messages, &job->arena, &json, e)) return false;
    if (!renderer_text(&job->renderer, json, &text, e)) return false;
    if (!job->set->ids) {
        show_text(text.text);
        return true;
    }
    if (job->renderer.tok == NULL)
        return fail(e, ERR_MISSING, ERR_NO_OFFSET, "--ids: a template alone has no vocabulary, give a model");
    if (!renderer_ids(&job->renderer, &text, 0, &job->arena, &ids, &count, e)) return false;
    for (size_t i = 0; i < count; i++) printf("%s%d", i > 0 ? " " : "", ids[i]);
    printf("\n");
    return true;
}

/* ---- lines ---- */

static bool print_line(struct render_job *job, view line, err *e)
{
    err trouble = { 0 };
    struct rendered text;
    view json;
    json_writer w;
    bool good = renderer_text(&job->renderer, line, &text, &trouble);
    json_writer_start(&w, &job->arena, JSON_BYTES_MAX, e);
    if (good) {
        json_string(&w, text.text);
    } else {
        w.spaced = true;
        json_begin_object(&w);
        json_key(&w, "error");
        json_text(&w, trouble.text);
        json_end_object(&w);
    }
    if (!json_done(&w, &json)) return false;
    fwrite(json.ptr, 1, json.len_bytes, stdout);
    printf("\n");
    fflush(stdout);
    return true;
}

static bool print_lines(struct render_job *job, err *e)
{
    char *line = NULL;
    size_t room = 0, mark = job->arena.used_bytes;
    bool good = true;
    for (ssize_t len; good && (len = getline(&line, &room, stdin)) >= 0;) {
        good = print_line(job, (view){ (const uint8_t *)line, (size_t)len }, e);
        arena_rewind(&job->arena, mark);
    }
    free(line);
    return good;
}

/* ---- cases ---- */

static void print_difference(view got, view want)
{
    enum { BEFORE = 30, SHOWN = 90 };
    size_t at = 0;
    while (at < got.len_bytes && at < want.len_bytes && got.ptr[at] == want.ptr[at]) at++;
    size_t from = at < BEFORE ? 0 : at - BEFORE;
    const view sides[] = { view_after(got, from), view_after(want, from) };
    printf("  at byte %zu\n", at);
    for (int i = 0; i < 2; i++) {
        printf("  %s ", i == 0 ? "got " : "want");
        for (size_t j = 0; j < sides[i].len_bytes && j < SHOWN; j++)
            putchar(sides[i].ptr[j] < ' ' ? '.' : sides[i].ptr[j]);
        printf("\n");
    }
}

/* The row's own template, where it has one, in place of the command's. */
static bool case_holds(struct render_job *job, const json_value *row, const char *name, bool quiet)
{
    const json_value *own = json_get(row, "template"), *vars = json_get(row, "vars"), *want = json_get(row, "expect");
    const json_value *alt = json_get(row, "alt");
    struct renderer other = { 0 }, *r = &job->renderer;
    struct rendered text = { { 0 }, NULL, 0 };
    err e = { 0 };
    bool good = own == NULL || renderer_new(&other, own->text, NULL, &e);
    if (own != NULL) {
        other.options.clock_s = job->renderer.options.clock_s;
        r = &other;
    }
    if (good) arena_rewind(&r->scratch, 0);
    good = good && vars != NULL && renderer_vars(r, vars, &text, &e);
    bool right = want == NULL ? !good : good && (view_equal(text.text, want->text) ||
                                                 (alt != NULL && view_equal(text.text, alt->text)));
    if (!right && !quiet) {
        printf("%s: %s\n", name, !good ? e.text : want == NULL ? "rendered, and should not" : "another text");
        if (good && want != NULL) print_difference(text.text, want->text);
    }
    renderer_free(&other);
    return right;
}

/* Marks of reference rows that ask for what this interpreter does otherwise on purpose: template.h. */
static bool differs_on_purpose(const json_value *row)
{
    static const char *const marks[] = { "sandbox", "no_from_json", "generator", "markup", "python", "rare" };
    const json_value *list = json_get(row, "ext");
    if (list == NULL || list->type != JSON_ARRAY) return false;
    JSON_EACH(item, list)
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
            if (view_is(item->text, marks[i])) return true;
    return false;
}

/* *all_hold is false where one does not. */
static bool print_cases(struct render_job *job, bool *all_hold, err *e)
{
    view lines, line;
    size_t passed = 0, failed = 0, skipped = 0, number = 0;
    if (!text_read(job->set->cases, &job->arena, &lines, e)) return false;
    size_t mark = job->arena.used_bytes;
    while (json_line(&lines, &line)) {
        const json_value *row;
        char name[100];
        number++;
        if (!json_parse(line, &job->arena, &row, e)) {
            snprintf(name, sizeof name, "line %zu", number);
            err_prefix(e, name);
            return false;
        }
        const json_value *id = json_get(row, "case") != NULL ? json_get(row, "case") : json_get(row, "id");
        snprintf(name, sizeof name, "line %zu %.*s", number, id != NULL ? (int)id->text.len_bytes : 0,
                 id != NULL ? (const char *)id->text.ptr : "");
        bool apart = differs_on_purpose(row);
        if (case_holds(job, row, name, apart)) passed++;
        else if (apart) skipped++;
        else failed++;
        arena_rewind(&job->arena, mark);
    }
    printf("%zu passed, %zu failed, %zu skipped\n", passed, failed, skipped);
    *all_hold = failed == 0;
    return true;
}

/* ---- opening ---- */

static bool is_template(const char *word)
{
    view text = view_of(word);
    return text.len_bytes > 6 && view_is(view_after(text, text.len_bytes - 6), ".jinja");
}

/* The template of a .jinja file, or of a model with its vocabulary. */
static bool open_template(struct render_job *job, const char *word, model *m, err *e)
{
    char path[PATH_BYTES_MAX];
    view source;
    if (is_template(word)) {
        if (!file_read(word, TEMPLATE_BYTES_MAX, &job->arena, &source, e)) return false;
    } else {
        if (!model_find(word, path, e) || !model_load_vocab(m, path, e)) return false;
        if (m->chat_template.len_bytes == 0)
            return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: holds no chat template", path);
        source = m->chat_template;
    }
    return renderer_new(&job->renderer, source, m->tokenizer, e) &&
           renderer_set_clock(&job->renderer, job->set->now, e);
}

int cmd_render(int argc, char **argv)
{
    struct render_command set = { 0 };
    struct command_line line = { .command = "render",
                                 .usage = "MODEL|TEMPLATE.jinja --messages FILE",
                                 .about = "The prompt that a chat template makes, exactly, no line end added.",
                                 .words_min = 1,
                                 .words_max = 1,
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set } } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if ((set.messages != NULL) + (set.cases != NULL) + set.jsonl != 1) {
        say("render: --messages, --jsonl and --cases: give one of them");
        return EXIT_USAGE;
    }
    struct render_job job = { .set = &set };
    model m = { 0 };
    err e = { 0 };
    bool all_hold = true;
    bool good = arena_new(&job.arena, COMMAND_ARENA_BYTES, &e) && open_template(&job, line.words[0], &m, &e) &&
                (set.cases != NULL ? print_cases(&job, &all_hold, &e)
                 : set.jsonl       ? print_lines(&job, &e)
                                   : print_once(&job, &e));
    renderer_free(&job.renderer);
    model_free(&m);
    arena_free(&job.arena);
    if (!good) return say_error(&e);
    return all_hold ? EXIT_GOOD : EXIT_FAILED;
}
