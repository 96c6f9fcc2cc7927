/* hearth run: one answer, or a chat where there is no prompt and a terminal. */
#include "cmd/run.h"

#include "base/file.h"
#include "base/limits.h"
#include "cmd/out.h"
#include "cmd/saved.h"

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { RAW_TOKENS = 256 }; /* a text that is only carried on has no end of its own */

#define AT(field) offsetof(struct run_options, field)

static const struct option ROWS[] = {
    { "-p", "TEXT", OPTION_TEXT, AT(prompt), 0, 0, NULL, NULL, "the prompt; - reads it from input" },
    { "--file", "FILE", OPTION_TEXT, AT(file), 0, 0, NULL, NULL, NULL },
    { "--system", "TEXT", OPTION_TEXT, AT(system), 0, 0, NULL, NULL, "the system message" },
    { "-n", "N", OPTION_COUNT, AT(made), 1, CTX_TOK_MAX, NULL, NULL,
      "tokens to make at most (raw: 256; else the context)" },
    { "--raw", NULL, OPTION_FLAG, AT(raw), 0, 0, NULL, NULL, "carry on the text as it is, no chat template" },
    { "--json", NULL, OPTION_FLAG, AT(json), 0, 0, NULL, NULL, "one object: text, tokens, prompt_tokens, finish ..." },
    { "--stats", NULL, OPTION_FLAG, AT(stats), 0, 0, NULL, NULL, NULL },
    { "--think", NULL, OPTION_FLAG, AT(think), 0, 0, NULL, NULL, NULL },
    { "--no-think", NULL, OPTION_FLAG, AT(no_think), 0, 0, NULL, NULL, NULL },
    { "--template", "FILE", OPTION_TEXT, AT(template_file), 0, 0, NULL, NULL, NULL },
    { "--messages", "FILE", OPTION_TEXT, AT(messages), 0, 0, NULL, NULL, NULL },
    { "--special", NULL, OPTION_FLAG, AT(special), 0, 0, NULL, NULL, NULL },
    { "--session", "FILE", OPTION_TEXT, AT(session), 0, 0, NULL, NULL,
      "take the text so far from it, and keep it there" },
    { "--session-key", "FILE", OPTION_TEXT, AT(session_key), 0, 0, NULL, NULL, NULL },
    { "--logprobs", "N", OPTION_COUNT, AT(logprobs), 0, 100, NULL, "0", NULL },
};

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

/* ---- turns ---- */

/* The tokens so far and the ids of `text` behind them. */
static bool raw_ids(struct running *r, view text, int32_t **out, size_t *count, err *e)
{
    size_t old, added;
    int32_t *ids;
    const int32_t *so_far = session_tokens(r->s, &old);
    arena *a = &r->o.arena;
    bool good = old == 0 ? ids_of_prompt(r->o.model.tokenizer, text, r->set->special, a, &ids, &added, e)
                         : ids_of_text(r->o.model.tokenizer, text, r->set->special, a, &ids, &added, e);
    if (!good) return false;
    *out = ARENA_ARRAY(a, int32_t, old + added, "token ids", e);
    if (*out == NULL) return false;
    memcpy(*out, so_far, old * sizeof *ids);
    memcpy(*out + old, ids, added * sizeof *ids);
    *count = old + added;
    return true;
}

/* Between the loop over tokens and the listener. */
struct relay {
    struct running *r;
    const struct listener *listener;
};

static void relay_text(void *arg, view text)
{
    const struct relay *relay = arg;
    if (relay->r->templated) hearing_feed(&relay->r->hearing, text, false);
    else if (relay->listener->show != NULL) relay->listener->show(relay->listener->arg, text, false);
}

static void relay_control(void *arg, view text)
{
    const struct relay *relay = arg;
    if (relay->r->templated) hearing_feed(&relay->r->hearing, text, true);
}

static bool relay_stopped(void *arg)
{
    const struct relay *relay = arg;
    return relay->listener->stopped != NULL && relay->listener->stopped(relay->listener->arg);
}

static bool answer_ids(struct running *r, const int32_t *ids, size_t count, const struct listener *listener,
                       struct answer *out, err *e)
{
    struct relay relay = { r, listener };
    struct answer_hooks hooks = { relay_text, relay_control, relay_stopped, &relay };
    return answer_make(r->s, &r->o.model, ids, count, r->made, r->set->logprobs, &hooks, &r->o.arena, out, e);
}

bool run_answer(struct running *r, const struct listener *listener, struct answer *out, err *e)
{
    const int32_t *ids;
    size_t count;
    struct hearing *h = &r->hearing;
    if (!talk_prompt(&r->talk, &ids, &count, e) ||
        !hearing_begin(h, talk_rendered(&r->talk), listener->show, listener->arg, e) ||
        !answer_ids(r, ids, count, listener, out, e) || !hearing_end(h, out->finish != FINISH_END, e))
        return false;
    out->text = hearing_content(h);
    out->reasoning = hearing_reasoning(h);
    return talk_answer(&r->talk, out->tokens, out->token_count, e) &&
           talk_add(&r->talk, ROLE_ASSISTANT, out->text, out->reasoning, e);
}

bool run_turn(struct running *r, view text, const struct listener *listener, struct answer *out, err *e)
{
    int32_t *ids;
    size_t count;
    if (r->templated) return talk_add(&r->talk, ROLE_USER, text, view_of(""), e) && run_answer(r, listener, out, e);
    return raw_ids(r, text, &ids, &count, e) && answer_ids(r, ids, count, listener, out, e);
}

/* Reasoning is not the answer: it does not go where results go. */
static void show_piece(void *arg, view text, bool reasoning)
{
    (void)arg;
    if (!reasoning) show_text(text);
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
    struct listener listener = { .show = set->json ? NULL : show_piece };
    struct answer answer;
    view text, json;
    bool good = set->messages != NULL && prompt == NULL && set->file == NULL
                    ? run_answer(r, &listener, &answer, e)
                    : prompt_text(r, prompt, &text, e) && run_turn(r, text, &listener, &answer, e);
    if (!good) return false;
    if (set->json) {
        if (!answer_write(&answer, &r->o.model, r->o.path, r->seed, &r->o.arena, &json, e)) return false;
        fwrite(json.ptr, 1, json.len_bytes, stdout);
    }
    printf("\n");
    if (set->stats) answer_say(&answer);
    if (answer.finish == FINISH_CONTEXT) say("context: all %zu tokens are used (--ctx)", session_ctx_tok(r->s));
    return true;
}

/* ---- opening ---- */

/* The template of the model, or of --template; none, or --raw: text is carried on as it is. */
static bool open_talk(struct running *r, err *e)
{
    const struct run_options *set = r->set;
    view source = r->o.model.chat_template;
    if (set->template_file != NULL && !file_read(set->template_file, TEMPLATE_BYTES_MAX, &r->o.arena, &source, e))
        return false;
    r->templated = !set->raw && source.len_bytes > 0;
    if (!r->templated && (set->system != NULL || set->messages != NULL))
        return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: %s has no chat template (--template FILE)",
                    set->system != NULL ? "--system" : "--messages", set->raw ? "raw text" : r->o.path);
    r->made = set->made > 0 || r->templated ? set->made : RAW_TOKENS;
    if (!r->templated) return true;
    if (!talk_new(&r->talk, &r->o.model, source, session_ctx_tok(r->s), e) ||
        !hearing_new(&r->hearing, &r->o.model, &r->talk.renderer, e))
        return false;
    r->talk.think = set->think ? THINK_YES : set->no_think ? THINK_NO : THINK_UNSET;
    return (set->messages == NULL || talk_load(&r->talk, set->messages, e)) &&
           (set->system == NULL || talk_add(&r->talk, ROLE_SYSTEM, view_of(set->system), view_of(""), e));
}

static bool open_session(struct running *r, const struct compute_options *c, const struct draw_options *d,
                         const char *model_word, err *e)
{
    struct session_settings set = { 0 };
    if (!open_model(&r->o, model_word, c, e)) return false;
    if (r->o.model.tokenizer == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: holds no vocabulary", r->o.path);
    return plan_session(&r->o, c, &set, e) && plan_draws(&r->o, d, &set, e) &&
           session_new(&r->s, &r->o.model, &r->o.kernels, r->o.team, &set, e) && open_talk(r, e);
}

/* A saved session that can not be taken costs time, not the answer: one line says why, and all is computed. */
static bool take_saved(struct running *r, uint8_t key[static SAVED_KEY_BYTES], err *e)
{
    const struct run_options *set = r->set;
    if (set->session_key != NULL && !saved_key_read(set->session_key, key, e)) return false;
    if (set->session == NULL || access(set->session, F_OK) != 0) return true;
    err why = { 0 };
    double start = clock_seconds();
    if (!saved_read(set->session, set->session_key != NULL ? key : NULL, r->s, &r->o, &why)) {
        say("%s; the text is computed again", why.text);
        return true;
    }
    size_t count;
    session_tokens(r->s, &count);
    if (set->stats) say("session: %zu tokens restored in %.3f s", count, clock_seconds() - start);
    return true;
}

static bool keep_saved(struct running *r, const uint8_t *key, err *e)
{
    size_t count = 0;
    if (r->set->session == NULL) return true;
    session_tokens(r->s, &count);
    return count == 0 || saved_write(r->set->session, r->set->session_key != NULL ? key : NULL, r->s, &r->o, e);
}

/* Ctrl-C as something to read. Blocked before any thread is made: each takes the mask of its maker. */
static int take_interrupts(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    return sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK) : -1;
}

int cmd_run(int argc, char **argv)
{
    struct run_options set = { 0 };
    struct compute_options compute = { 0 };
    struct draw_options draws = { 0 };
    struct command_line line = { .command = "run",
                                 .usage = "[MODEL] [PROMPT]",
                                 .words_max = 2,
                                 .about = "One answer; a chat when there is no prompt and a terminal.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set },
                                             compute_group(&compute),
                                             draw_group(&draws) } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if ((set.prompt != NULL) + (set.file != NULL) + (line.word_count > 1) > 1 || (set.think && set.no_think)) {
        say("run: %s: give one of them", set.think && set.no_think ? "--think, --no-think" : "PROMPT, -p and --file");
        return EXIT_USAGE;
    }
    const char *model_word, *prompt = set.prompt;
    take_words(&line, &model_word, &prompt);
    bool chats = prompt == NULL && set.file == NULL && set.messages == NULL && !set.json && isatty(STDIN_FILENO);
    struct running r = { .set = &set, .seed = draws.seed, .interrupts = chats ? take_interrupts() : -1 };
    err e = { 0 };
    uint8_t key[SAVED_KEY_BYTES];
    bool good = open_session(&r, &compute, &draws, model_word, &e) && take_saved(&r, key, &e) &&
                (chats ? chat(&r, &e) : one_shot(&r, prompt, &e)) && keep_saved(&r, key, &e);
    explicit_bzero(key, sizeof key);
    hearing_free(&r.hearing);
    talk_free(&r.talk);
    session_free(r.s);
    close_model(&r.o);
    if (r.interrupts >= 0) close(r.interrupts);
    return good ? EXIT_GOOD : say_error(&e);
}
