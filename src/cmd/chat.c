/* The chat on a terminal. Lines are edited by libedit; Ctrl-C arrives as a readable descriptor (see run.c), so it ends
 * an answer or clears a line and never the program; Ctrl-D on an empty line does. */
#include "base/utf8.h"
#include "cmd/out.h"
#include "cmd/run.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { HISTORY_LINES = 200 };

struct terminal {
    EditLine *edit;
    History *history;
    int interrupts;
    bool interrupted; /* the line that is being read was given up */
};

/* Takes a waiting Ctrl-C, if there is one. */
static bool take_interrupt(int fd)
{
    struct signalfd_siginfo info;
    return fd >= 0 && read(fd, &info, sizeof info) == (ssize_t)sizeof info;
}

static char *prompt_text(EditLine *edit)
{
    static char text[] = "> ";
    (void)edit;
    return text;
}

/* One byte of the terminal: 1, 0 at the end of input or when Ctrl-C came first. */
static int read_byte(struct terminal *t, uint8_t *out)
{
    struct pollfd ready[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = t->interrupts, .events = POLLIN } };
    for (;;) {
        if (poll(ready, 2, -1) < 0) {
            if (errno == EINTR) continue; /* the window changed its size */
            return -1;
        }
        if (ready[1].revents != 0 && take_interrupt(t->interrupts)) {
            t->interrupted = true;
            return 0;
        }
        if (ready[0].revents != 0) {
            ssize_t got = read(STDIN_FILENO, out, 1);
            if (got >= 0 || errno != EINTR) return (int)got;
        }
    }
}

/* libedit asks for one character: UTF-8 whatever the locale calls itself; bytes that are none become U+FFFD. */
static int read_character(EditLine *edit, wchar_t *out)
{
    struct terminal *t;
    uint8_t bytes[4];
    size_t have = 0, len;
    el_get(edit, EL_CLIENTDATA, &t);
    do {
        int got = read_byte(t, &bytes[have]);
        if (got <= 0) return got;
        have++;
    } while (have < 4 && utf8_tail_bytes((view){ bytes, have }) == have);
    uint32_t code = utf8_next((view){ bytes, have }, &len);
    *out = code == UTF8_INVALID ? 0xFFFD : (wchar_t)code;
    return 1;
}

static bool terminal_open(struct terminal *t, int interrupts, err *e)
{
    HistEvent event;
    *t = (struct terminal){ .interrupts = interrupts };
    /* Which characters are how wide on the screen is the locale's business; nothing else of it is taken. */
    if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
    t->edit = el_init("hearth", stdin, stdout, stderr);
    t->history = history_init();
    if (t->edit == NULL || t->history == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "terminal: can not be set up");
    history(t->history, &event, H_SETSIZE, HISTORY_LINES);
    history(t->history, &event, H_SETUNIQUE, 1);
    el_set(t->edit, EL_CLIENTDATA, t);
    el_set(t->edit, EL_PROMPT, prompt_text);
    el_set(t->edit, EL_EDITOR, "emacs");
    el_set(t->edit, EL_HIST, history, t->history);
    el_set(t->edit, EL_SIGNAL, 1);
    el_set(t->edit, EL_GETCFN, read_character);
    return true;
}

static void terminal_close(struct terminal *t)
{
    if (t->history != NULL) history_end(t->history);
    if (t->edit != NULL) el_end(t->edit);
}

/* One line without its end; false at the end of input. A line given up with Ctrl-C starts anew. */
static bool terminal_line(struct terminal *t, view *out)
{
    HistEvent event;
    for (;;) {
        int count = 0;
        t->interrupted = false;
        const char *line = el_gets(t->edit, &count);
        if (t->interrupted) {
            printf("\n");
            el_set(t->edit, EL_REFRESH);
            continue;
        }
        if (line == NULL || count <= 0) return false;
        size_t len = (size_t)count;
        while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) len--;
        if (len > 0) history(t->history, &event, H_ENTER, line);
        *out = (view){ (const uint8_t *)line, len };
        return true;
    }
}

static bool is_stopped(void *arg)
{
    return take_interrupt(((struct terminal *)arg)->interrupts);
}

static void show_piece(void *arg, view text)
{
    (void)arg;
    show_text(text);
}

/* What has been said so far, and the line behind it: the model carries on the whole. */
static bool next_ids(struct running *r, view line, int32_t **out, size_t *count, err *e)
{
    size_t old, added;
    int32_t *ids;
    const int32_t *so_far = session_tokens(r->s, &old);
    arena *a = &r->o.arena;
    bool good = old == 0 ? ids_of_prompt(r->o.model.tokenizer, line, r->set->special, a, &ids, &added, e)
                         : ids_of_text(r->o.model.tokenizer, line, r->set->special, a, &ids, &added, e);
    if (!good) return false;
    *out = ARENA_ARRAY(a, int32_t, old + added, "token ids", e);
    if (*out == NULL) return false;
    memcpy(*out, so_far, old * sizeof *ids);
    memcpy(*out + old, ids, added * sizeof *ids);
    *count = old + added;
    return true;
}

static bool answer_line(struct running *r, struct terminal *t, view line, err *e)
{
    struct answer_hooks hooks = { .piece = show_piece, .stopped = is_stopped, .arg = t };
    struct answer answer;
    int32_t *ids;
    size_t count, mark = r->o.arena.used_bytes;
    bool good = next_ids(r, line, &ids, &count, e) &&
                answer_make(r->s, &r->o.model, ids, count, r->set->made, 0, &hooks, &r->o.arena, &answer, e);
    arena_rewind(&r->o.arena, mark);
    printf("\n");
    if (good && r->set->stats) answer_say(&answer);
    if (good && answer.finish == FINISH_CONTEXT)
        say("context: all %zu tokens are used; start anew, or give more with --ctx", session_ctx_tok(r->s));
    return good;
}

bool chat(struct running *r, err *e)
{
    struct terminal t;
    view line;
    bool good = terminal_open(&t, r->interrupts, e);
    if (good) say("type a text and the model carries it on; Ctrl-C stops it, Ctrl-D ends");
    while (good && terminal_line(&t, &line)) {
        err trouble = { 0 };
        if (!answer_line(r, &t, line, &trouble)) say_error(&trouble); /* the conversation is kept */
    }
    if (good) printf("\n");
    terminal_close(&t);
    return good;
}
