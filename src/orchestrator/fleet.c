/* Several models within one limit: see fleet.h. */
#include "orchestrator/fleet.h"

#include "base/limits.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    START_LOOK_MS = 5,
    LINE_BYTES = ERR_TEXT_BYTES
};

#define NO_LIMIT (UINT64_MAX / 2)

struct member {
    const char *name, *path;
    crew *crew;
    uint64_t need_bytes; /* of its last time in memory; 0: not known yet */
    uint64_t file_bytes; /* while it is packed */
    bool counted;        /* its plan has been compared with the limit */
    bool barred;         /* the policy as it is now does not allow it */
    bool bad;            /* the file as it was then was refused */
    struct timespec bad_changed;
    uint64_t bad_bytes;
    bool owed;           /* news that found its ring full */
    uint32_t news;
    enum err_code code;
    char text[ERR_TEXT_BYTES];
};

struct fleet {
    struct fleet_settings set;
    uint64_t limit_bytes;
    struct member models[SERVER_MODELS_MAX];
    size_t count;
};

bool fleet_new(fleet **out, const struct fleet_settings *set, err *e)
{
    fleet *f = calloc(1, sizeof *f);
    *out = f;
    if (f == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "no memory for models");
    f->set = *set;
    size_t left = memory_free_bytes();
    f->limit_bytes = set->memory_bytes > 0 || set->alone ? set->memory_bytes : left - left / 16; /* unplanned things */
    if (f->limit_bytes == 0) f->limit_bytes = NO_LIMIT;
    return true;
}

void fleet_free(fleet *f)
{
    if (f == NULL) return;
    for (size_t i = 0; i < f->count; i++) crew_stop(f->models[i].crew);
    free(f);
}

bool fleet_add(fleet *f, const char *name, const struct crew_settings *how, err *e)
{
    if (f->count == SERVER_MODELS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "models: over %d", SERVER_MODELS_MAX);
    struct member *m = &f->models[f->count];
    struct crew_settings own = *how;
    own.engine.memory_bytes = f->limit_bytes < NO_LIMIT ? f->limit_bytes : 0;
    *m = (struct member){ .name = name, .path = how->path };
    if (!crew_new(&m->crew, &own, e)) return false;
    f->count++;
    return true;
}

size_t fleet_count(const fleet *f)
{
    return f->count;
}

crew *fleet_crew(const fleet *f, size_t model)
{
    return f->models[model].crew;
}

/* ---- telling ---- */

static void say(const fleet *f, const struct member *m, const char *text)
{
    char line[LINE_BYTES + ASK_NAME_BYTES_MAX];
    snprintf(line, sizeof line, "model %s: %s", m->name, text);
    f->set.log(f->set.arg, line);
}

/* News that finds the ring full waits: the last one of a model is the one that counts. What is told of a model's end is
 * told before its rings begin again, so that a client that sees them knows why. */
static void tell_owed(fleet *f, struct member *m)
{
    uint64_t one = 1;
    m->owed = !crew_tell(m->crew, m->news, m->code, m->text);
    ssize_t ignored = write(f->set.bell_fd, &one, sizeof one);
    (void)ignored; /* a full counter rings already */
}

static void tell(fleet *f, struct member *m, enum service_news news, enum err_code code, const char *text)
{
    m->news = news;
    m->code = code;
    snprintf(m->text, sizeof m->text, "model %.*s: %s", ASK_NAME_BYTES_MAX, m->name, text);
    tell_owed(f, m);
}

/* ---- memory ---- */

static uint64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

static uint64_t taken_by(const struct member *m)
{
    uint64_t image, plan;
    if (crew_state(m->crew) == CREW_DOWN) return 0;
    if (crew_state(m->crew) == CREW_PACKING) return m->need_bytes > m->file_bytes ? m->need_bytes : m->file_bytes;
    bool planned = crew_bytes(m->crew, &image, &plan);
    return planned || m->need_bytes < image ? image + plan : m->need_bytes;
}

static uint64_t taken_beside(const fleet *f, const struct member *but)
{
    uint64_t all = 0;
    for (size_t i = 0; i < f->count; i++)
        if (&f->models[i] != but) all += taken_by(&f->models[i]);
    return all;
}

/* Whether `need` bytes fit, now or ever; where they do not the line says both numbers. */
enum fit { FITS, FITS_LATER, FITS_NEVER };
static enum fit fits(const fleet *f, const struct member *m, uint64_t need, char text[static LINE_BYTES])
{
    uint64_t others = taken_beside(f, m);
    const char *least = m->need_bytes > 0 ? "" : " at least";
    if (need > f->limit_bytes) {
        snprintf(text, LINE_BYTES, "it needs%s %llu bytes, all models together may have %llu (--memory)", least,
                 (unsigned long long)need, (unsigned long long)f->limit_bytes);
        return FITS_NEVER;
    }
    if (need <= f->limit_bytes - (others < f->limit_bytes ? others : f->limit_bytes)) return FITS;
    snprintf(text, LINE_BYTES, "it needs%s %llu bytes, %llu of %llu are free beside what is loaded", least,
             (unsigned long long)need, (unsigned long long)(f->limit_bytes > others ? f->limit_bytes - others : 0),
             (unsigned long long)f->limit_bytes);
    return FITS_LATER;
}

/* ---- coming and going ---- */

static void unload(struct member *m)
{
    crew_unload(m->crew);
    m->counted = false;
}

/* Why a file or a wall refused it is for the log, which may name paths; a client learns that it was refused, and of a
 * plan that does not fit the numbers. */
static void refuse(fleet *f, struct member *m, const err *why)
{
    bool plan = why->code == ERR_MEMORY;
    struct stat st;
    m->bad = stat(m->path, &st) == 0;
    if (m->bad) {
        m->bad_changed = st.st_mtim;
        m->bad_bytes = (uint64_t)st.st_size;
    }
    f->set.log(f->set.arg, why->text);
    tell(f, m, SERVICE_REFUSED, plan ? ERR_MEMORY : ERR_IO,
         plan ? why->text : "it can not be loaded (the server's log says why)");
    unload(m);
}

/* A file that was refused is not tried again before it changes: everybody who may ask could keep this process busy. */
static bool still_bad(fleet *f, struct member *m)
{
    struct stat st;
    m->bad = m->bad && stat(m->path, &st) == 0 && (uint64_t)st.st_size == m->bad_bytes &&
             st.st_mtim.tv_sec == m->bad_changed.tv_sec && st.st_mtim.tv_nsec == m->bad_changed.tv_nsec;
    if (m->bad) tell_owed(f, m); /* the same as last time */
    return m->bad;
}

static bool allowed(fleet *f, struct member *m)
{
    err e = { 0 };
    if (m->barred) {
        tell_owed(f, m);
        return false;
    }
    if (f->set.allowed(f->set.arg, m->path, &e)) return true;
    m->barred = true; /* until the policy is read again: its word can cost a hash of the whole file */
    f->set.log(f->set.arg, e.text);
    tell(f, m, SERVICE_REFUSED, ERR_UNSUPPORTED, "the server's policy does not allow it");
    unload(m);
    return false;
}

/* Loads where it fits. FITS: it is being loaded, or an error is in `e`. */
static enum fit load(const fleet *f, struct member *m, char text[static LINE_BYTES], err *e)
{
    m->file_bytes = file_bytes(m->path);
    enum fit fit = fits(f, m, m->need_bytes > 0 ? m->need_bytes : m->file_bytes, text);
    if (fit == FITS && !crew_load(m->crew, e) && strncmp(e->text, m->path, strlen(m->path)) != 0)
        err_prefix(e, m->path);
    return fit;
}

static void want(fleet *f, struct member *m)
{
    char text[LINE_BYTES];
    err e = { 0 };
    if (crew_state(m->crew) != CREW_DOWN) return; /* it is on its way, or there */
    if (still_bad(f, m) || !allowed(f, m)) return;
    enum fit fit = load(f, m, text, &e);
    if (e.code != ERR_NONE) refuse(f, m, &e);
    else if (fit == FITS) say(f, m, "asked for, being loaded");
    else if (fit == FITS_LATER) tell(f, m, SERVICE_NO_ROOM, ERR_NONE, text);
    else {
        say(f, m, text);
        tell(f, m, SERVICE_REFUSED, ERR_MEMORY, text);
    }
}

static void let_go(fleet *f, struct member *m)
{
    if (crew_state(m->crew) == CREW_DOWN) return;
    tell(f, m, SERVICE_GONE, ERR_NONE, "it was let go");
    unload(m);
    say(f, m, "let go");
}

/* An engine has told its plan: from now on the need of the model is known, and it may be too much beside the others. */
static enum fit count(const fleet *f, struct member *m, char text[static LINE_BYTES])
{
    uint64_t image, plan;
    crew_bytes(m->crew, &image, &plan);
    m->counted = true;
    m->need_bytes = image + plan;
    return fits(f, m, m->need_bytes, text);
}

static void count_and_tell(fleet *f, struct member *m)
{
    char text[LINE_BYTES];
    uint64_t image, plan;
    if (m->counted || !crew_bytes(m->crew, &image, &plan)) return;
    enum fit fit = count(f, m, text);
    if (fit == FITS) {
        tell(f, m, SERVICE_LOADED, ERR_NONE, "loaded");
        return;
    }
    say(f, m, text);
    if (fit == FITS_LATER) tell(f, m, SERVICE_NO_ROOM, ERR_NONE, text);
    else tell(f, m, SERVICE_REFUSED, ERR_MEMORY, text);
    unload(m);
}

static bool tend_one(fleet *f, struct member *m, err *e)
{
    err why = { 0 };
    if (m->owed) tell_owed(f, m);
    if (!crew_tend(m->crew, &why)) {
        if (f->count > 1) refuse(f, m, &why);
        else *e = why;
        return f->count > 1;
    }
    count_and_tell(f, m);
    switch (crew_wish(m->crew)) {
    case CREW_WANTED: want(f, m); break;
    case CREW_UNWANTED: let_go(f, m); break;
    case CREW_NO_WISH: break;
    }
    return true;
}

bool fleet_tend(fleet *f, err *e)
{
    for (size_t i = 0; i < f->count; i++)
        if (!tend_one(f, &f->models[i], e)) return false;
    return true;
}

/* Until its engine has told its plan: what is left for the next one is known then. */
static bool await_plan(struct member *m, err *e)
{
    uint64_t image, plan;
    struct timespec look = { .tv_nsec = START_LOOK_MS * 1000000 };
    while (!crew_bytes(m->crew, &image, &plan)) {
        if (!crew_tend(m->crew, e)) return false;
        nanosleep(&look, NULL);
    }
    return true;
}

static bool start_one(fleet *f, struct member *m, bool wait_for_plan, err *e)
{
    char text[LINE_BYTES];
    if (!f->set.allowed(f->set.arg, m->path, e)) return false;
    enum fit fit = load(f, m, text, e);
    struct timespec look = { .tv_nsec = START_LOOK_MS * 1000000 };
    while (e->code == ERR_NONE && crew_state(m->crew) == CREW_PACKING)
        if (crew_tend(m->crew, e)) nanosleep(&look, NULL);
    if (e->code == ERR_NONE && fit == FITS && wait_for_plan && await_plan(m, e)) fit = count(f, m, text);
    if (e->code != ERR_NONE) return false;
    if (fit == FITS) return true;
    unload(m);
    say(f, m, text);
    return m != &f->models[0] || fail(e, ERR_MEMORY, ERR_NO_OFFSET, "%s: %s", m->path, text);
}

bool fleet_start(fleet *f, err *e)
{
    for (size_t i = 0; i < f->count; i++)
        if (!start_one(f, &f->models[i], f->count > 1, e)) return false;
    return true;
}

void fleet_policy(fleet *f, uint32_t require)
{
    for (size_t i = 0; i < f->count; i++) {
        struct member *m = &f->models[i];
        crew_require(m->crew, require);
        m->barred = false;
        if (crew_state(m->crew) != CREW_DOWN) (void)allowed(f, m);
    }
}
