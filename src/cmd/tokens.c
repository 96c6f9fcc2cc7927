/* hearth tokens: text to ids and back, by the vocabulary of a model file (or a file that holds nothing else). */
#include "cmd/open.h"
#include "cmd/out.h"

#include "base/limits.h"
#include "format/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct tokens_options {
    bool decode, special, jsonl, bos;
    const char *file;
};

static const struct option ROWS[] = {
    { "--decode", NULL, OPTION_FLAG, offsetof(struct tokens_options, decode), 0, 0, NULL, NULL,
      "ids to text, exactly its bytes" },
    { "--special", NULL, OPTION_FLAG, offsetof(struct tokens_options, special), 0, 0, NULL, NULL,
      "control tokens in the text count, and show" },
    { "--bos", NULL, OPTION_FLAG, offsetof(struct tokens_options, bos), 0, 0, NULL, NULL,
      "begin with BOS where the model wants it" },
    { "--file", "FILE", OPTION_TEXT, offsetof(struct tokens_options, file), 0, 0, NULL, NULL,
      "the text or ids to read; - is standard input" },
    { "--jsonl", NULL, OPTION_FLAG, offsetof(struct tokens_options, jsonl), 0, 0, NULL, NULL,
      "lines: JSON strings in, ids out (or the other way)" },
};

/* Everything one text or one line needs; the arena is rewound between lines. */
struct tokens_job {
    const model *m;
    const struct tokens_options *set;
    arena *arena;
};

static bool print_ids(const struct tokens_job *job, view text, err *e)
{
    int32_t *ids;
    size_t count;
    bool good = job->set->bos ? ids_of_prompt(job->m->tokenizer, text, job->set->special, job->arena, &ids, &count, e)
                              : ids_of_text(job->m->tokenizer, text, job->set->special, job->arena, &ids, &count, e);
    if (!good) return false;
    for (size_t i = 0; i < count; i++) printf("%s%d", i > 0 ? " " : "", ids[i]);
    printf("\n");
    return true;
}

static bool decode_ids(const struct tokens_job *job, view text, view *out, err *e)
{
    int32_t *ids;
    size_t count, len;
    if (!ids_parse(text, tokenizer_count(job->m->tokenizer), job->arena, &ids, &count, e)) return false;
    uint8_t *bytes = ARENA_ARRAY(job->arena, uint8_t, count * (size_t)TOKEN_BYTES_MAX, "text", e);
    if (bytes == NULL || !tokenizer_decode(job->m->tokenizer, ids, count, job->set->special, bytes,
                                           count * (size_t)TOKEN_BYTES_MAX, &len, e))
        return false;
    *out = (view){ bytes, len };
    return true;
}

static bool line_encode(const struct tokens_job *job, view line, err *e)
{
    const json_value *value;
    if (!json_parse(line, job->arena, &value, e)) return false;
    if (value->type != JSON_STRING) return fail(e, ERR_VALUE, 0, "expected a JSON string");
    return print_ids(job, value->text, e);
}

static bool line_decode(const struct tokens_job *job, view line, err *e)
{
    json_writer w;
    view text, json;
    if (!decode_ids(job, line, &text, e)) return false;
    json_writer_start(&w, job->arena, JSON_BYTES_MAX, e);
    json_string(&w, text);
    if (!json_done(&w, &json)) return false;
    fwrite(json.ptr, 1, json.len_bytes, stdout);
    printf("\n");
    return true;
}

/* One answer a line, at once: whoever writes the lines may wait for each. */
static bool tokens_lines(const struct tokens_job *job, err *e)
{
    char *line = NULL;
    size_t room = 0, number = 0, mark = job->arena->used_bytes;
    bool good = true;
    for (ssize_t len; good && (len = getline(&line, &room, stdin)) >= 0;) {
        number++;
        while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) len--;
        view text = { (const uint8_t *)line, (size_t)len };
        good = job->set->decode ? line_decode(job, text, e) : line_encode(job, text, e);
        fflush(stdout);
        arena_rewind(job->arena, mark);
    }
    free(line);
    if (!good) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "line %zu", number);
        err_prefix(e, prefix);
    }
    return good;
}

static bool tokens(const struct tokens_job *job, const char *word, err *e)
{
    view text;
    if (job->set->jsonl) return tokens_lines(job, e);
    if (word != NULL) text = view_of(word);
    else if (!text_read(job->set->file != NULL ? job->set->file : "-", job->arena, &text, e)) return false;
    if (!job->set->decode) return print_ids(job, text, e);
    if (!decode_ids(job, text, &text, e)) return false;
    show_text(text);
    if (isatty(STDOUT_FILENO)) printf("\n");
    return true;
}

int cmd_tokens(int argc, char **argv)
{
    struct tokens_options set = { 0 };
    struct command_line line = { .command = "tokens",
                                 .usage = "MODEL [TEXT]",
                                 .words_min = 1,
                                 .words_max = 2,
                                 .about =
                                     "The token ids of a text, on one line. Without TEXT and --file: of the input.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set } } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if ((line.word_count > 1) + (set.file != NULL) + set.jsonl > 1) {
        say("tokens: TEXT, --file and --jsonl: give one of them");
        return EXIT_USAGE;
    }
    char path[PATH_BYTES_MAX];
    model m = { 0 };
    arena room = { 0 };
    err e = { 0 };
    bool good = model_find(line.words[0], path, &e) && model_load_vocab(&m, path, &e) &&
                (m.tokenizer != NULL || fail(&e, ERR_MISSING, ERR_NO_OFFSET, "%s: holds no vocabulary", path)) &&
                arena_new(&room, COMMAND_ARENA_BYTES, &e) &&
                tokens(&(struct tokens_job){ &m, &set, &room }, line.word_count > 1 ? line.words[1] : NULL, &e);
    arena_free(&room);
    model_free(&m);
    return good ? EXIT_GOOD : say_error(&e);
}
