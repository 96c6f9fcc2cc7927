/* The file of keys while the server runs: a key that was made or revoked counts within a second, without a restart. The
 * front door can open no file, so this process looks at it, reads it, and sends its text through a ring. A file that
 * can not be read changes nothing, and is told. */
#include "cmd/serve.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RING_BYTES = SERVER_KEYS_TEXT_BYTES * 4,
    ARENA_BYTES = 1 << 24 /* addresses: a text and its table */
};

static struct key_file_mark mark_of(const char *path)
{
    struct stat st;
    if (path[0] == '\0' || stat(path, &st) != 0) return (struct key_file_mark){ 0 };
    return (struct key_file_mark){ (uint64_t)st.st_ino, (uint64_t)st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec };
}

static bool same_mark(struct key_file_mark a, struct key_file_mark b)
{
    return a.inode == b.inode && a.bytes == b.bytes && a.seconds == b.seconds && a.nanoseconds == b.nanoseconds;
}

bool key_watch_new(struct key_watch *w, const char *word, err *e)
{
    *w = (struct key_watch){ 0 };
    if (!serve_keys_path(word, w->path)) w->path[0] = '\0';
    w->mark = mark_of(w->path);
    return arena_new(&w->arenas[0], ARENA_BYTES, e) && arena_new(&w->arenas[1], ARENA_BYTES, e) &&
           ring_new(&w->ring, RING_BYTES, SERVER_KEYS_TEXT_BYTES, e) &&
           ring_attach(&w->ring, RING_WRITER, &w->end, e);
}

void key_watch_free(struct key_watch *w)
{
    ring_free(&w->end);
    ring_free(&w->ring);
    arena_free(&w->arenas[0]);
    arena_free(&w->arenas[1]);
}

/* The table of the file as it is now; one that is gone has no keys. */
static bool read_again(struct key_watch *w, view *text, struct key_table *keys, err *e)
{
    arena *a = &w->arenas[1 - w->arena];
    arena_rewind(a, 0);
    *text = view_of("");
    if (w->mark.inode != 0 && !file_read(w->path, SERVER_KEYS_TEXT_BYTES, a, text, e)) return false;
    if (!keys_read(*text, a, keys, e)) return false;
    w->arena = 1 - w->arena;
    return true;
}

void key_watch_look(struct key_watch *w, struct serve_settings *set, int bell_fd)
{
    struct key_file_mark now = mark_of(w->path);
    uint64_t one = 1;
    view text;
    err e = { 0 };
    if (same_mark(now, w->mark)) return;
    w->mark = now;
    struct key_table keys;
    if (!read_again(w, &text, &keys, &e)) {
        say("%s: %s; the keys from before still count", w->path, e.text);
        return;
    }
    set->server.keys = keys; /* a front door that is started again begins with these */
    enum ring_status sent = ring_send(&w->end, SERVER_KEYS_TEXT, text);
    if (sent == RING_RESTARTED) sent = ring_send(&w->end, SERVER_KEYS_TEXT, text);
    if (sent == RING_FULL) w->mark = (struct key_file_mark){ .bytes = UINT64_MAX }; /* sent again at the next look */
    else if (write(bell_fd, &one, sizeof one) == sizeof one) say("keys: %zu known now", keys.count);
}
