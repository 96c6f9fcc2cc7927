/* hearth run: one answer, or a chat where there is no prompt and a terminal. */
#include "cmd/run.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/limits.h"
#include "cmd/out.h"
#include "cmd/saved.h"

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { RAW_TOKENS = 256 }; /* a text that is only carried on has no end of its own */

#define AT(field) offsetof(struct run_options, field)

static const struct option ROWS[] = {
    { "-p", "TEXT", OPTION_TEXT, AT(prompt), 0, 0, NULL, NULL, "the prompt; - reads it from input" },
    { "--file", "FILE", OPTION_TEXT, AT(file), 0, 0, NULL, NULL, NULL },
    { "--system", "TEXT", OPTION_TEXT, AT(system), 0, 0, NULL, NULL, NULL },
    { "-n", "N", OPTION_COUNT, AT(made), 1, CTX_TOK_MAX, NULL, NULL,
      "tokens to make at most (raw: 256; else the context)" },
    { "--raw", NULL, OPTION_FLAG, AT(raw), 0, 0, NULL, NULL, NULL },
    { "--json", NULL, OPTION_FLAG, AT(json), 0, 0, NULL, NULL, "one object: text, tokens, prompt_tokens, finish ..." },
    { "--stats", NULL, OPTION_FLAG, AT(stats), 0, 0, NULL, NULL, NULL },
    { "--think", NULL, OPTION_FLAG, AT(think), 0, 0, NULL, NULL, NULL },
    { "--no-think", NULL, OPTION_FLAG, AT(no_think), 0, 0, NULL, NULL, NULL },
    { "--template", "FILE", OPTION_TEXT, AT(template_file), 0, 0, NULL, NULL, NULL },
    { "--messages", "FILE", OPTION_TEXT, AT(messages), 0, 0, NULL, NULL, NULL },
    { "--tools", "FILE", OPTION_TEXT, AT(tools), 0, 0, NULL, NULL, NULL },
    { "--schema", "FILE", OPTION_TEXT, AT(schema), 0, 0, NULL, NULL, NULL },
    { "--grammar", "FILE", OPTION_TEXT, AT(grammar), 0, 0, NULL, NULL, NULL },
    { "--special", NULL, OPTION_FLAG, AT(special), 0, 0, NULL, NULL, NULL },
    { "--logprobs", "N", OPTION_COUNT, AT(logprobs), 0, 100, NULL, NULL, NULL },
    { "--session", "FILE", OPTION_TEXT, AT(session), 0, 0, NULL, NULL, "go on from it, and keep the cache there" },
    { "--session-key", "FILE", OPTION_TEXT, AT(session_key), 0, 0, NULL, NULL, NULL },
    { "--no-jail", NULL, OPTION_FLAG, AT(no_jail), 0, 0, NULL, NULL, NULL },
    { "--policy", "FILE", OPTION_TEXT, AT(policy), 0, 0, NULL, NULL, NULL },
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

/* The conversation's ids, for text that is carried on and for /stats. */
static bool keep_ids(struct running *r, const struct answer *answer)
{
    size_t count = answer->prompt != NULL ? answer->prompt_tok : 0;
    if (count + answer->token_count > r->o.engine.ctx_tok) return false;
    if (count > 0) memcpy(r->ids, answer->prompt, count * sizeof *r->ids);
    memcpy(r->ids + count, answer->tokens, answer->token_count * sizeof *r->ids);
    r->id_count = count + answer->token_count;
    return true;
}

static bool make(struct running *r, struct service_ask *ask, const struct listener *listener, struct answer *out,
                 err *e)
{
    struct hearing *h = &r->hearing;
    ask->max_tok = (uint32_t)r->made;
    ask->logprobs = r->set->logprobs > 0;
    ask->top_count = (uint32_t)min_size(r->set->logprobs, r->o.engine.vocab);
    hearing_begin(h, listener->show, listener->arg);
    if (!answer_make(&r->o, ask, h, listener->stopped, listener->arg, &r->o.arena, out, e) || !hearing_end(h, e))
        return false;
    out->text = hearing_content(h);
    out->reasoning = hearing_reasoning(h);
    out->calls = hearing_calls(h);
    keep_ids(r, out);
    return true;
}

/* The time as people here read it: seconds since 1970 of the local clock, for templates that print the date. */
static int64_t local_clock(void)
{
    time_t now = time(NULL);
    struct tm local;
    return (int64_t)now + (localtime_r(&now, &local) != NULL ? local.tm_gmtoff : 0);
}

bool run_answer(struct running *r, const struct listener *listener, struct answer *out, err *e)
{
    struct service_ask ask = r->ask;
    ask.kind = SERVICE_CHAT;
    ask.talk = 1;
    ask.clock_s = local_clock();
    ask.tools = r->talk.tools;
    return talk_messages(&r->talk, &r->o.arena, &ask.messages, &ask.variables, e) && make(r, &ask, listener, out, e) &&
           talk_add(&r->talk, ROLE_ASSISTANT, out->text, out->reasoning, e) && talk_add_calls(&r->talk, out->calls, e);
}

bool run_turn(struct running *r, enum talk_role role, view text, const struct listener *listener, struct answer *out,
              err *e)
{
    struct service_ask ask = r->ask;
    if (r->templated)
        return (role == ROLE_TOOL ? talk_add_result(&r->talk, text, e)
                                  : talk_add(&r->talk, role, text, view_of(""), e)) &&
               run_answer(r, listener, out, e);
    ask.kind = SERVICE_PLAIN;
    ask.text = text;
    ask.ids = r->ids;
    ask.id_count = r->id_count;
    ask.plain_flags = r->set->special ? TEXT_SPECIAL : 0;
    return make(r, &ask, listener, out, e);
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
                    : prompt_text(r, prompt, &text, e) && run_turn(r, ROLE_USER, text, &listener, &answer, e);
    if (!good) return false;
    if (set->json) {
        if (!answer_write(&answer, &r->o, r->ask.sampling.seed, &r->o.arena, &json, e)) return false;
        fwrite(json.ptr, 1, json.len_bytes, stdout);
    }
    printf("\n");
    if (set->stats) answer_say(&answer);
    if (answer.finish == SERVICE_CONTEXT)
        say("context: all %llu tokens are used (--ctx)", (unsigned long long)r->o.engine.ctx_tok);
    return true;
}

/* ---- opening ---- */

/* The template of the model, or of --template; none, or --raw: text is carried on as it is. */
static bool open_talk(struct running *r, err *e)
{
    const struct run_options *set = r->set;
    const char *needs = set->system != NULL ? "--system" : set->messages != NULL ? "--messages" : "--tools";
    r->templated = !set->raw && r->o.text.has_template;
    if (!r->templated && (set->system != NULL || set->messages != NULL || set->tools != NULL))
        return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: %s has no chat template (--template FILE)", needs,
                    set->raw ? "raw text" : r->o.path);
    r->made = set->made > 0 || r->templated ? set->made : RAW_TOKENS;
    if (!hearing_new(&r->hearing, e)) return false;
    if (!r->templated) return true;
    if (!talk_new(&r->talk, e)) return false;
    r->talk.think = set->think ? THINK_YES : set->no_think ? THINK_NO : THINK_UNSET;
    if (set->tools != NULL && !talk_tools(&r->talk, set->tools, e)) return false;
    return (set->messages == NULL || talk_load(&r->talk, set->messages, e)) &&
           (set->system == NULL || talk_add(&r->talk, ROLE_SYSTEM, view_of(set->system), view_of(""), e));
}

/* --schema or --grammar: compiled in the text worker, walked in the engine. */
static bool open_form(struct running *r, err *e)
{
    const struct run_options *set = r->set;
    const char *path = set->schema != NULL ? set->schema : set->grammar;
    struct service_ask ask = { .kind = SERVICE_COMPILE, .grammar = set->schema != NULL ? TEXT_JSON_SCHEMA : TEXT_GBNF };
    struct service_event event;
    uint64_t id;
    ask.in_reasoning = set->think;
    if (path == NULL) return true;
    if (!file_read(path, GRAMMAR_TEXT_BYTES_MAX, &r->o.arena, &ask.text, e)) return false;
    if (!service_ask(r->o.service, &ask, &id, e)) return false;
    for (;;) {
        if (!served_next(&r->o, -1, &event, e)) {
            if (e->code != ERR_NONE) return false;
        } else if (event.id == id && event.kind == SERVICE_EVENT_MASK) {
            r->ask.mask = event.mask;
            return true;
        } else if (event.id == id && event.kind == SERVICE_EVENT_ERROR) {
            return fail(e, event.code, ERR_NO_OFFSET, "%s: %.*s", path, (int)event.text.len_bytes,
                        (const char *)event.text.ptr);
        }
    }
}

/* A template of the user's own is read here and parsed in the text worker. */
static bool open_all(struct running *r, const struct compute_options *c, const struct draw_options *d,
                     const char *model_word, arena *a, err *e)
{
    const struct run_options *set = r->set;
    struct jail_choice jail = { .no_jail = set->no_jail, .policy = set->policy, .experts = &set->experts,
                                .stats = set->stats };
    jail.mask_bytes = set->schema != NULL || set->grammar != NULL ? HEARTH_MASK_BYTES_MAX : 0;
    view source = { 0 };
    if (set->template_file != NULL && !file_read(set->template_file, TEMPLATE_BYTES_MAX, a, &source, e)) return false;
    if (!served_open(&r->o, model_word, c, &jail, source, e)) return false;
    r->ids = ARENA_ARRAY(&r->o.arena, int32_t, r->o.engine.ctx_tok, "token ids", e);
    return r->ids != NULL && served_draws(&r->o, d, &r->ask, e) && open_talk(r, e) && open_form(r, e);
}

/* ---- saved sessions ---- */

/* One that can not be taken costs time, not the answer: one line says why, and all is computed. Raw text goes on behind
 * its tokens; in a conversation its cache is found again where the messages begin as they did. */
static bool take_saved(struct running *r, uint8_t key[static SAVED_KEY_BYTES], err *e)
{
    const struct run_options *set = r->set;
    size_t count;
    err why = { 0 };
    if (set->session_key != NULL && !saved_key_read(set->session_key, key, e)) return false;
    if (set->session == NULL || access(set->session, F_OK) != 0) return true;
    double start = clock_seconds();
    if (!saved_read_served(set->session, set->session_key != NULL ? key : NULL, &r->o, r->ids, &count, &why)) {
        if (!service_ready(r->o.service, NULL, NULL)) return fail(e, why.code, why.offset, "%s", why.text);
        say("%s; the text is computed again", why.text);
        return true;
    }
    r->id_count = r->templated ? 0 : count;
    if (set->stats) say("session: %zu tokens restored in %.3f s", count, clock_seconds() - start);
    return true;
}

static bool keep_saved(struct running *r, const uint8_t *key, err *e)
{
    if (r->set->session == NULL || r->id_count == 0) return true;
    return saved_write_served(r->set->session, r->set->session_key != NULL ? key : NULL, &r->o, r->ids, r->id_count, e);
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
                                             draw_group(&draws),
                                             expert_group(&set.experts) } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if ((set.prompt != NULL) + (set.file != NULL) + (line.word_count > 1) > 1 || (set.think && set.no_think)) {
        say("run: %s: give one of them", set.think && set.no_think ? "--think, --no-think" : "PROMPT, -p and --file");
        return EXIT_USAGE;
    }
    if (set.schema != NULL && set.grammar != NULL) {
        say("run: --schema, --grammar: give one of them");
        return EXIT_USAGE;
    }
    const char *model_word, *prompt = set.prompt;
    take_words(&line, &model_word, &prompt);
    bool chats = prompt == NULL && set.file == NULL && set.messages == NULL && !set.json && isatty(STDIN_FILENO);
    struct running r = { .set = &set, .interrupts = chats ? take_interrupts() : -1 };
    arena files = { 0 };
    err e = { 0 };
    uint8_t key[SAVED_KEY_BYTES] = { 0 };
    bool good = arena_new(&files, TEMPLATE_BYTES_MAX * 2, &e) &&
                open_all(&r, &compute, &draws, model_word, &files, &e) && take_saved(&r, key, &e) &&
                (chats ? chat(&r, &e) : one_shot(&r, prompt, &e)) && keep_saved(&r, key, &e) &&
                served_experts_end(&r.o, set.stats, &e);
    explicit_bzero(key, sizeof key);
    hearing_free(&r.hearing);
    talk_free(&r.talk);
    served_close(&r.o);
    arena_free(&files);
    if (r.interrupts >= 0) close(r.interrupts);
    return good ? EXIT_GOOD : say_error(&e);
}
