/* The terminal: see terminal.h.
 *
 * libedit asks for one character at a time (read_character). Here Ctrl-C is noticed, UTF-8 is put together, and a
 * bracketed paste (ESC [ 200 ~ ... ESC [ 201 ~) is taken as text: its line ends become the sign U+240A, which shows in
 * the line, and become line ends again when the entry is complete. */
#include "cmd/terminal.h"

#include "base/utf8.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HISTORY_LINES = 500,
    ENTRY_BYTES_MAX = 1 << 20, /* of one entry, continued lines together */
    ESCAPE_WAIT_MS = 30,       /* the rest of a key's sequence comes at once; a lone Escape does not */
    LINE_SIGN = 0x240A
};
#define LINE_SIGN_UTF8 "\xE2\x90\x8A"

struct terminal {
    EditLine *edit;
    History *history;
    int interrupts;
    bool plain;       /* a dumb terminal, or output that is none */
    bool colour;
    bool interrupted; /* the line that is being read was given up */
    bool pasting;
    uint8_t ahead[8]; /* bytes read too far */
    size_t ahead_len;
    char history_path[4096]; /* empty: none */
    char entry[ENTRY_BYTES_MAX];
};

bool terminal_interrupted(struct terminal *t)
{
    struct signalfd_siginfo info;
    return t->interrupts >= 0 && read(t->interrupts, &info, sizeof info) == (ssize_t)sizeof info;
}

void terminal_dim(const struct terminal *t, bool on)
{
    if (t->colour) fputs(on ? "\033[2m" : "\033[22m", stdout);
}

/* ---- characters ---- */

/* One byte: 1, 0 at the end of input or when Ctrl-C came first, -1 where there is trouble or none within wait_ms. */
static int read_byte(struct terminal *t, uint8_t *out, int wait_ms)
{
    if (t->ahead_len > 0) {
        *out = t->ahead[0];
        memmove(t->ahead, t->ahead + 1, --t->ahead_len);
        return 1;
    }
    struct pollfd ready[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = t->interrupts, .events = POLLIN } };
    for (;;) {
        int count = poll(ready, 2, wait_ms);
        if (count < 0 && errno == EINTR) continue; /* the window changed its size */
        if (count <= 0) return -1;
        if (ready[1].revents != 0 && terminal_interrupted(t)) {
            t->interrupted = true;
            return 0;
        }
        if (ready[0].revents != 0) {
            ssize_t got = read(STDIN_FILENO, out, 1);
            if (got >= 0 || errno != EINTR) return (int)got;
        }
    }
}

/* Behind an Escape: a paste begins or ends, or Alt-Enter. What is none of these is read again as it came. */
static bool take_escape(struct terminal *t, wchar_t *out)
{
    static const char begins[] = "[200~", ends[] = "[201~";
    uint8_t bytes[5];
    size_t len = 0;
    while (len < sizeof bytes && read_byte(t, &bytes[len], ESCAPE_WAIT_MS) == 1) {
        len++;
        if (memcmp(bytes, begins, len) != 0 && memcmp(bytes, ends, len) != 0) break;
    }
    *out = 0;
    if (len == sizeof bytes && memcmp(bytes, begins, len) == 0) return t->pasting = true;
    if (len == sizeof bytes && memcmp(bytes, ends, len) == 0) {
        t->pasting = false;
        return true;
    }
    if (len == 1 && (bytes[0] == '\r' || bytes[0] == '\n')) {
        *out = LINE_SIGN;
        return true;
    }
    memmove(t->ahead + len, t->ahead, t->ahead_len);
    memcpy(t->ahead, bytes, len);
    t->ahead_len += len;
    return false;
}

/* The rest of the character that begins with `first`: UTF-8 whatever the locale calls itself; what is none: U+FFFD. */
static wchar_t finish_character(struct terminal *t, uint8_t first)
{
    uint8_t bytes[4] = { first };
    size_t have = 1, len;
    while (have < 4 && utf8_tail_bytes((view){ bytes, have }) == have && read_byte(t, &bytes[have], -1) == 1) have++;
    uint32_t code = utf8_next((view){ bytes, have }, &len);
    return code == UTF8_INVALID ? 0xFFFD : (wchar_t)code;
}

static int read_character(EditLine *edit, wchar_t *out)
{
    struct terminal *t;
    el_get(edit, EL_CLIENTDATA, &t);
    for (;;) {
        uint8_t byte;
        int got = read_byte(t, &byte, -1);
        if (got <= 0) return got;
        if (byte == 0x1B && !t->plain && take_escape(t, out)) {
            if (*out != 0) return 1;
            continue;
        }
        *out = t->pasting && (byte == '\r' || byte == '\n') ? LINE_SIGN : finish_character(t, byte);
        if (t->pasting && *out == '\t') *out = ' '; /* a tab key would ask for completion */
        return 1;
    }
}

/* ---- opening ---- */

static char *prompt_text(EditLine *edit)
{
    static char text[] = "> ";
    (void)edit;
    return text;
}

/* ~/.local/state/hearth/history, in folders and a file that only their owner can read. */
static void find_history(struct terminal *t)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char folder[sizeof t->history_path - 16];
    int len = -1;
    if (state != NULL && state[0] == '/') {
        len = snprintf(folder, sizeof folder, "%s", state);
        mkdir(folder, 0700);
    } else if (home != NULL) {
        snprintf(folder, sizeof folder, "%s/.local", home);
        mkdir(folder, 0755);
        len = snprintf(folder, sizeof folder, "%s/.local/state", home);
        mkdir(folder, 0700);
    }
    if (len < 0 || (size_t)len + 8 >= sizeof folder) return;
    snprintf(folder + len, sizeof folder - (size_t)len, "/hearth");
    mkdir(folder, 0700);
    snprintf(t->history_path, sizeof t->history_path, "%s/history", folder);
}

static void open_history(struct terminal *t)
{
    HistEvent event;
    find_history(t);
    history(t->history, &event, H_SETSIZE, HISTORY_LINES);
    history(t->history, &event, H_SETUNIQUE, 1);
    if (t->history_path[0] != '\0') history(t->history, &event, H_LOAD, t->history_path);
}

bool terminal_open(struct terminal **out, int interrupts, err *e)
{
    struct terminal *t = calloc(1, sizeof *t);
    *out = t;
    if (t == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "terminal: no memory");
    const char *kind = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    t->interrupts = interrupts;
    t->plain = kind == NULL || strcmp(kind, "dumb") == 0 || !isatty(STDOUT_FILENO);
    t->colour = !t->plain && (no_colour == NULL || no_colour[0] == '\0');
    /* Which characters are how wide on the screen is the locale's business; nothing else of it is taken. */
    if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
    t->edit = el_init("hearth", stdin, stdout, stderr);
    t->history = history_init();
    if (t->edit == NULL || t->history == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "terminal: can not be set up");
    open_history(t);
    el_set(t->edit, EL_CLIENTDATA, t);
    el_set(t->edit, EL_PROMPT, prompt_text);
    el_set(t->edit, EL_EDITOR, "emacs");
    el_set(t->edit, EL_HIST, history, t->history);
    el_set(t->edit, EL_SIGNAL, 1);
    el_set(t->edit, EL_GETCFN, read_character);
    return true;
}

void terminal_close(struct terminal *t)
{
    HistEvent event;
    if (t == NULL) return;
    if (t->history != NULL) {
        mode_t old = umask(0077);
        if (t->history_path[0] != '\0') history(t->history, &event, H_SAVE, t->history_path);
        umask(old);
        history_end(t->history);
    }
    if (t->edit != NULL) el_end(t->edit);
    free(t);
}

/* ---- entries ---- */

void terminal_prefill(struct terminal *t, view text)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len_bytes && len + 4 < sizeof t->entry; i++) {
        if (text.ptr[i] == '\n') {
            memcpy(t->entry + len, LINE_SIGN_UTF8, 3);
            len += 3;
        } else {
            t->entry[len++] = (char)text.ptr[i];
        }
    }
    t->entry[len] = '\0';
    el_push(t->edit, t->entry);
}

/* Adds a line to the entry, signs back to line ends. False where there is no room: the rest is left out. */
static bool add_line(struct terminal *t, const char *line, size_t len, size_t *entry_len)
{
    for (size_t i = 0; i < len; i++) {
        bool sign = i + 3 <= len && memcmp(line + i, LINE_SIGN_UTF8, 3) == 0;
        if (*entry_len + 1 >= sizeof t->entry) return false;
        t->entry[(*entry_len)++] = sign ? '\n' : line[i];
        if (sign) i += 2;
    }
    return true;
}

/* One line of the entry; false at the end of input. *more: it ended in a backslash. */
static bool read_line(struct terminal *t, size_t *entry_len, bool *more)
{
    HistEvent event;
    int count = 0;
    t->interrupted = t->pasting = false;
    if (!t->plain) fputs("\033[?2004h", stdout);
    const char *line = el_gets(t->edit, &count);
    if (!t->plain) fputs("\033[?2004l", stdout);
    fflush(stdout);
    *more = false;
    if (t->interrupted) return true;
    if (line == NULL || count <= 0) return false;
    size_t len = (size_t)count;
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) len--;
    if (len > 0) history(t->history, &event, H_ENTER, line);
    *more = len > 0 && line[len - 1] == '\\';
    return add_line(t, line, len - *more, entry_len) && (!*more || add_line(t, "\n", 1, entry_len));
}

bool terminal_line(struct terminal *t, view *out)
{
    size_t len = 0;
    for (bool more = true; more;) {
        if (!read_line(t, &len, &more)) return false;
        if (t->interrupted) {
            printf("\n");
            el_reset(t->edit);
            len = 0;
            more = true;
        }
    }
    *out = (view){ (const uint8_t *)t->entry, len };
    return true;
}
