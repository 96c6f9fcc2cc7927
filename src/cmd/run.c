/* hearth run: one answer, or a chat where there is no prompt and a terminal. */
#include "cmd/run.h"

#include "base/limits.h"
#include "cmd/out.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const struct option ROWS[] = {
    { "-n", "N", OPTION_COUNT, offsetof(struct run_options, made), 0, CTX_TOK_MAX, NULL, "256",
      "tokens to make at most; 0: up to the context" },
    { "-p", "TEXT", OPTION_TEXT, offsetof(struct run_options, prompt), 0, 0, NULL, NULL, "the prompt; - reads it from input" },
    { "--file", "FILE", OPTION_TEXT, offsetof(struct run_options, file), 0, 0, NULL, NULL, "the prompt is in FILE" },
    { "--raw", NULL, OPTION_FLAG, offsetof(struct run_options, raw), 0, 0, NULL, NULL,
      "carry on the text as it is, without the chat template" },
    { "--special", NULL, OPTION_FLAG, offsetof(struct run_options, special), 0, 0, NULL, NULL,
      "control tokens written in a raw prompt count" },
    { "--stats", NULL, OPTION_FLAG, offsetof(struct run_options, stats), 0, 0, NULL, NULL, "say counts and speeds" },
    { "--json", NULL, OPTION_FLAG, offsetof(struct run_options, json), 0, 0, NULL, NULL,
      "one object: text, tokens, prompt_tokens, finish" },
    { "--logprobs", "N", OPTION_COUNT, offsetof(struct run_options, logprobs), 0, 100, NULL, "0", NULL },
};

static void show_piece(void *arg, view text)
{
    (void)arg;
    show_text(text);
}

/* Where the words leave it open: one word is a model if it names one, else a prompt for the model that ships. */
static void take_words(const struct command_line *line, const char **model_word, const char **prompt)
{
    char path[PATH_BYTES_MAX];
    err ignored = { 0 };
    *model_word = line->word_count > 0 ? line->words[0] : NULL;
    if (line->word_count > 1) *prompt = line->words[1];
    if (line->word_count != 1 || *prompt != NULL) return;
    view word = view_of(line->words[0]);
    bool looks_like_file = strchr(line->words[0], '/') != NULL ||
                           (word.len_bytes > 5 && view_is(view_after(word, word.len_bytes - 5), ".gguf"));
    if (looks_like_file || model_find(line->words[0], path, &ignored)) return;
    ignored = (err){ 0 };
    if (!model_find(NULL, path, &ignored)) return; /* nothing ships: the word was meant as a model, and will be named */
    *model_word = NULL;
    *prompt = line->words[0];
}

static bool prompt_text(struct running *r, const char *prompt, view *out, err *e)
{
    if (r->set->file != NULL) return text_read(r->set->file, &r->o.arena, out, e);
    if (prompt == NULL || strcmp(prompt, "-") == 0) return text_read("-", &r->o.arena, out, e);
    *out = view_of(prompt);
    return true;
}

static bool one_shot(struct running *r, const char *prompt, err *e)
{
    const struct run_options *set = r->set;
    struct answer_hooks hooks = { .piece = set->json ? NULL : show_piece };
    struct answer answer;
    view text, json;
    int32_t *ids;
    size_t count;
    if (!prompt_text(r, prompt, &text, e) ||
        !ids_of_prompt(r->o.model.tokenizer, text, set->special, &r->o.arena, &ids, &count, e) ||
        !answer_make(r->s, &r->o.model, ids, count, set->made, set->logprobs, &hooks, &r->o.arena, &answer, e))
        return false;
    if (set->json) {
        if (!answer_write(&answer, &r->o.model, r->o.path, r->seed, &r->o.arena, &json, e)) return false;
        fwrite(json.ptr, 1, json.len_bytes, stdout);
    }
    printf("\n");
    if (set->stats) answer_say(&answer);
    if (answer.finish == FINISH_CONTEXT) say("context: all %zu tokens are used (--ctx)", session_ctx_tok(r->s));
    return true;
}

/* Ctrl-C as something to read. Blocked before any thread is made: each takes the mask of its maker. */
static int take_interrupts(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    return sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK) : -1;
}

static bool run(struct running *r, const struct compute_options *c, const struct draw_options *d, const char *model_word,
                const char *prompt, bool chats, err *e)
{
    struct session_settings set = { 0 };
    if (!open_model(&r->o, model_word, c, e)) return false;
    if (r->o.model.tokenizer == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: holds no vocabulary", r->o.path);
    if (!plan_session(&r->o, c, &set, e) || !plan_draws(&r->o, d, &set, e) ||
        !session_new(&r->s, &r->o.model, &r->o.kernels, r->o.team, &set, e))
        return false;
    if (r->o.model.chat_template.len_bytes > 0 && !r->set->raw)
        say("this version does not render chat templates: the text is carried on as it is (--raw says so too)");
    return chats ? chat(r, e) : one_shot(r, prompt, e);
}

int cmd_run(int argc, char **argv)
{
    struct run_options set = { 0 };
    struct compute_options compute = { 0 };
    struct draw_options draws = { 0 };
    struct command_line line = { .command = "run", .usage = "[MODEL] [PROMPT]", .words_max = 2,
                                 .about = "One answer; a chat when there is no prompt and a terminal.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set }, compute_group(&compute),
                                             draw_group(&draws) } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if ((set.prompt != NULL) + (set.file != NULL) + (line.word_count > 1) > 1) {
        say("run: PROMPT, -p and --file: give one of them");
        return EXIT_USAGE;
    }
    const char *model_word, *prompt = set.prompt;
    take_words(&line, &model_word, &prompt);
    bool chats = prompt == NULL && set.file == NULL && !set.json && isatty(STDIN_FILENO);
    struct running r = { .set = &set, .seed = draws.seed, .interrupts = chats ? take_interrupts() : -1 };
    err e = { 0 };
    bool good = run(&r, &compute, &draws, model_word, prompt, chats, &e);
    session_free(r.s);
    close_model(&r.o);
    if (r.interrupts >= 0) close(r.interrupts);
    return good ? EXIT_GOOD : say_error(&e);
}
