/* The chat on a terminal: entries are messages, or commands that begin with a slash. */
#include "base/utf8.h"
#include "cmd/out.h"
#include "cmd/run.h"
#include "cmd/terminal.h"

#include <stdio.h>

struct chatting {
    struct running *r;
    struct terminal *terminal;
    struct answer last;
    bool has_last, ends;
    bool reasons; /* what is shown now is reasoning */
};

static bool is_stopped(void *arg)
{
    return terminal_interrupted(((struct chatting *)arg)->terminal);
}

static void show_piece(void *arg, view text, bool reasoning)
{
    struct chatting *c = arg;
    if (reasoning != c->reasons) {
        if (c->reasons) printf("\n\n");
        terminal_dim(c->terminal, reasoning);
        c->reasons = reasoning;
    }
    show_text(text);
}

/* ---- answers ---- */

static void said(struct chatting *c, const struct answer *answer)
{
    printf("\n");
    c->last = *answer;
    c->last.text = view_of(""); /* its memory goes with the turn */
    c->has_last = true;
    if (c->r->set->stats) answer_say(answer);
    if (answer->finish == SERVICE_CONTEXT)
        say("context: all %llu tokens are used; start anew with /clear, or give more with --ctx",
            (unsigned long long)c->r->o.engine.ctx_tok);
}

/* On an error the conversation is as it was before. */
static void answer_entry(struct chatting *c, enum talk_role role, view entry)
{
    struct listener listener = { .show = show_piece, .stopped = is_stopped, .arg = c };
    struct running *r = c->r;
    size_t mark = r->o.arena.used_bytes, messages = r->talk.message_count;
    struct answer answer;
    err e = { 0 };
    bool good = run_turn(r, role, entry, &listener, &answer, &e);
    terminal_dim(c->terminal, false);
    c->reasons = false;
    if (good) {
        said(c, &answer);
    } else {
        if (r->templated) talk_cut(&r->talk, messages);
        say_error(&e);
    }
    arena_rewind(&r->o.arena, mark);
}

/* ---- commands ---- */

static void slash_help(struct chatting *c, view rest);

static void slash_system(struct chatting *c, view rest)
{
    err e = { 0 };
    if (!talk_add(&c->r->talk, ROLE_SYSTEM, rest, view_of(""), &e)) say_error(&e);
}

/* The word behind the command as a path. */
static bool take_path(view rest, char path[static PATH_BYTES_MAX])
{
    if (rest.len_bytes == 0 || rest.len_bytes >= PATH_BYTES_MAX) {
        say("give a file's name");
        return false;
    }
    memcpy(path, rest.ptr, rest.len_bytes);
    path[rest.len_bytes] = '\0';
    return true;
}

static void slash_save(struct chatting *c, view rest)
{
    char path[PATH_BYTES_MAX];
    err e = { 0 };
    if (!take_path(rest, path)) return;
    if (talk_save(&c->r->talk, path, &e)) say("%zu messages in %s", c->r->talk.message_count, path);
    else say_error(&e);
}

static void slash_load(struct chatting *c, view rest)
{
    char path[PATH_BYTES_MAX];
    err e = { 0 };
    if (!take_path(rest, path)) return;
    if (talk_load(&c->r->talk, path, &e)) say("%zu messages from %s", c->r->talk.message_count, path);
    else say_error(&e);
}

/* Back to before the last message of the user; its text in *out, false where there is none. */
static bool take_back(struct chatting *c, view *out)
{
    struct talk *t = &c->r->talk;
    for (size_t i = t->message_count; i-- > 0;)
        if (t->messages[i].role == ROLE_USER) {
            *out = t->messages[i].content;
            talk_cut(t, i);
            return true;
        }
    say("there is no message yet");
    return false;
}

static void slash_retry(struct chatting *c, view rest)
{
    view text;
    (void)rest;
    if (!take_back(c, &text)) return;
    c->r->ask.sampling.seed++; /* the same seed would give the same answer */
    answer_entry(c, ROLE_USER, text);
}

static void slash_result(struct chatting *c, view rest)
{
    answer_entry(c, ROLE_TOOL, rest);
}

static void slash_edit(struct chatting *c, view rest)
{
    view text;
    (void)rest;
    if (take_back(c, &text)) terminal_prefill(c->terminal, text);
}

static void slash_stats(struct chatting *c, view rest)
{
    (void)rest;
    if (c->has_last) answer_say(&c->last);
    say("conversation: %zu of %llu tokens, seed %llu", c->r->id_count, (unsigned long long)c->r->o.engine.ctx_tok,
        (unsigned long long)c->r->ask.sampling.seed);
}

/* The next prompt has nothing in common with what is computed, so nothing else is to be done. */
static void slash_clear(struct chatting *c, view rest)
{
    (void)rest;
    bool keeps_system = c->r->templated && c->r->talk.message_count > 0 && c->r->talk.messages[0].role == ROLE_SYSTEM;
    if (c->r->templated) talk_cut(&c->r->talk, keeps_system ? 1 : 0);
    c->r->id_count = 0;
}

static void slash_quit(struct chatting *c, view rest)
{
    (void)rest;
    c->ends = true;
}

static const struct slash {
    const char *name, *argument;
    bool needs_template;
    void (*run)(struct chatting *c, view rest);
    const char *help;
} SLASHES[] = {
    { "/help", "", false, slash_help, "this list" },
    { "/system", "TEXT", true, slash_system, "set the system message" },
    { "/save", "FILE", true, slash_save, "write the messages as JSON" },
    { "/load", "FILE", true, slash_load, "read them back" },
    { "/retry", "", true, slash_retry, "answer the last message anew" },
    { "/edit", "", true, slash_edit, "take the last message back and edit it" },
    { "/result", "TEXT", true, slash_result, "what the tool answered that the model called" },
    { "/clear", "", false, slash_clear, "start anew; the system message stays" },
    { "/stats", "", false, slash_stats, "counts and speeds" },
    { "/quit", "", false, slash_quit, "end (Ctrl-D does too)" },
};
enum { SLASH_COUNT = sizeof SLASHES / sizeof *SLASHES };

static void slash_help(struct chatting *c, view rest)
{
    (void)rest;
    for (size_t i = 0; i < SLASH_COUNT; i++)
        if (c->r->templated || !SLASHES[i].needs_template)
            fprintf(stderr, "  %-8s %-6s %s\n", SLASHES[i].name, SLASHES[i].argument, SLASHES[i].help);
    fprintf(stderr, "Ctrl-C stops an answer. Alt-Enter, or a backslash at the end, adds a line.\n");
}

/* True where the entry was a command. */
static bool run_slash(struct chatting *c, view entry)
{
    if (entry.len_bytes == 0 || entry.ptr[0] != '/') return false;
    size_t len = 0;
    while (len < entry.len_bytes && entry.ptr[len] != ' ') len++;
    view name = { entry.ptr, len }, rest = view_after(entry, len);
    while (rest.len_bytes > 0 && rest.ptr[0] == ' ') rest = view_after(rest, 1);
    for (size_t i = 0; i < SLASH_COUNT; i++)
        if (view_is(name, SLASHES[i].name)) {
            if (SLASHES[i].needs_template && !c->r->templated)
                say("%s needs a model with a chat template", SLASHES[i].name);
            else SLASHES[i].run(c, rest);
            return true;
        }
    say("no command %.*s; /help lists them", (int)(len < 40 ? len : 40), (const char *)name.ptr);
    return true;
}

bool chat(struct running *r, err *e)
{
    struct chatting c = { .r = r };
    view entry;
    bool good = terminal_open(&c.terminal, r->interrupts, e);
    if (good && r->templated) say("/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends");
    else if (good) say("no chat template: the model carries on what you type; Ctrl-C stops it, Ctrl-D ends");
    while (good && !c.ends && terminal_line(c.terminal, &entry))
        if (!run_slash(&c, entry) && (entry.len_bytes > 0 || !r->templated)) answer_entry(&c, ROLE_USER, entry);
    if (good && !c.ends) printf("\n");
    terminal_close(c.terminal);
    return good;
}
