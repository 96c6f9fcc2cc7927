/* The two places of a cache: see saved.h. In this process all threads take chunks; behind rings one message after the
 * other carries a piece, while the engine copies the one before. */
#include "cmd/saved.h"

#include "base/checked.h"
#include "cache/save.h"

#include <stdio.h>

/* ---- a session of this process ---- */

struct session_place {
    session *s;
    const int32_t *ids;
    size_t count;
    uint8_t head[KV_SAVE_HEAD_BYTES];
};

static bool session_get(void *arg, size_t at, uint8_t *out, size_t n, err *e)
{
    (void)e;
    kv_save_read(session_cache(((struct session_place *)arg)->s), at, out, n);
    return true;
}

static bool session_begin(void *arg, const int32_t *ids, size_t count, const uint8_t *head, size_t bytes, err *e)
{
    struct session_place *p = arg;
    p->ids = ids;
    p->count = count;
    memcpy(p->head, head, sizeof p->head);
    return kv_restore_begin(session_cache(p->s), head, bytes, e);
}

static bool session_put(void *arg, size_t at, const uint8_t *in, size_t n, err *e)
{
    (void)e;
    kv_restore_write(session_cache(((struct session_place *)arg)->s), at, in, n);
    return true;
}

static bool session_end(void *arg, bool good, err *e)
{
    struct session_place *p = arg;
    good = good && kv_restore_end(session_cache(p->s), p->head, e) && session_restored(p->s, p->ids, p->count, e);
    if (!good) session_clear(p->s);
    return good;
}

static bool session_place_of(struct saved_place *p, struct session_place *s, const struct opened *o, err *e)
{
    struct saved_settings set = { .image = { o->model.weights.ptr, o->model.weights.len_bytes }, .kv = o->kv,
                                  .activations_f32 = o->activations_f32, .ctx_tok = session_ctx_tok(s->s) };
    memcpy(set.identity, o->model.identity, sizeof set.identity);
    *p = (struct saved_place){ .arg = s, .team = o->team, .read = session_get, .begin = session_begin,
                               .write = session_put, .end = session_end };
    return saved_bind(p, &set, e);
}

bool saved_write(const char *path, const uint8_t *key, session *s, const struct opened *o, err *e)
{
    struct session_place of = { .s = s };
    struct saved_place place;
    size_t count, bytes;
    const int32_t *ids = session_tokens(s, &count);
    return kv_save_begin(session_cache(s), &bytes, e) && session_place_of(&place, &of, o, e) &&
           saved_put(path, key, &place, ids, count, bytes, e);
}

bool saved_read(const char *path, const uint8_t *key, session *s, const struct opened *o, err *e)
{
    struct session_place of = { .s = s };
    struct saved_place place;
    return session_place_of(&place, &of, o, e) && saved_take(path, key, &place, e);
}

/* ---- an engine behind rings ---- */

struct served_place {
    struct served *s;
    uint64_t id;
    size_t tok, bytes;  /* of HEARTH_KV_OPEN */
    int32_t *ids;
    size_t count, room; /* restoring: room of ids */
};

static bool kept_send(struct served_place *p, uint32_t kind, view message, view tail, view more, err *e)
{
    struct service_event event;
    while (!service_kept(p->s->service, kind, message, tail, more)) {
        if (!service_ready(p->s->service, NULL, NULL))
            return fail(e, ERR_STATE, ERR_NO_OFFSET, "session: the engine is being started again");
        if (!served_next(p->s, 1, &event, e) && e->code != ERR_NONE) return false;
    }
    return true;
}

/* The next event about this sequence, which is of this kind, or an error. */
static bool kept_hear(struct served_place *p, uint32_t kind, struct service_event *event, err *e)
{
    for (;;) {
        if (!served_next(p->s, -1, event, e)) {
            if (e->code != ERR_NONE) return false;
        } else if (event->kind == SERVICE_EVENT_CHANGED) {
            return fail(e, ERR_STATE, ERR_NO_OFFSET, "session: the engine was started again");
        } else if (event->id == p->id) {
            if (event->kind == SERVICE_EVENT_KEPT && event->kept_kind == kind) return true;
            return fail(e, event->kind == SERVICE_EVENT_ERROR ? event->code : ERR_STATE, ERR_NO_OFFSET, "%.*s",
                        (int)event->text.len_bytes, (const char *)event->text.ptr);
        }
    }
}

/* Pieces of one call are asked for at once, and come in order. */
static bool served_get(void *arg, size_t at, uint8_t *out, size_t n, err *e)
{
    struct served_place *p = arg;
    struct service_event event;
    for (size_t from = 0; from < n; from += HEARTH_KV_PIECE_BYTES) {
        struct hearth_kv_piece r = { .head.id = p->id, .at = at + from,
                                     .bytes = min_size(n - from, HEARTH_KV_PIECE_BYTES) };
        if (!kept_send(p, HEARTH_KV_READ, (view){ (const uint8_t *)&r, sizeof r }, (view){ 0 }, (view){ 0 }, e))
            return false;
    }
    for (size_t from = 0; from < n; from += HEARTH_KV_PIECE_BYTES) {
        size_t want = min_size(n - from, HEARTH_KV_PIECE_BYTES);
        if (!kept_hear(p, HEARTH_KV_PIECE, &event, e)) return false;
        if (event.kept_at != at + from || event.text.len_bytes != want)
            return fail(e, ERR_STATE, ERR_NO_OFFSET, "session: the engine sent another piece");
        memcpy(out + from, event.text.ptr, want);
    }
    return true;
}

static bool served_begin(void *arg, const int32_t *ids, size_t count, const uint8_t *head, size_t bytes, err *e)
{
    struct served_place *p = arg;
    struct service_event event;
    p->id = service_keep(p->s->service);
    struct hearth_kv r = { .head.id = p->id, .count = count, .bytes = bytes };
    if (count > p->room) return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "session: %zu tokens, room for %zu", count, p->room);
    memcpy(p->ids, ids, count * sizeof *ids);
    p->count = count;
    return kept_send(p, HEARTH_KV_RESTORE, (view){ (const uint8_t *)&r, sizeof r },
                     (view){ (const uint8_t *)ids, count * sizeof *ids }, (view){ head, KV_SAVE_HEAD_BYTES }, e) &&
           kept_hear(p, HEARTH_KV_OPEN, &event, e);
}

static bool served_put(void *arg, size_t at, const uint8_t *in, size_t n, err *e)
{
    struct served_place *p = arg;
    for (size_t from = 0; from < n; from += HEARTH_KV_PIECE_BYTES) {
        struct hearth_kv_piece r = { .head.id = p->id, .at = at + from,
                                     .bytes = min_size(n - from, HEARTH_KV_PIECE_BYTES) };
        if (!kept_send(p, HEARTH_KV_WRITE, (view){ (const uint8_t *)&r, sizeof r },
                       (view){ in + from, (size_t)r.bytes }, (view){ 0 }, e))
            return false;
    }
    return true;
}

static bool served_end(void *arg, bool good, err *e)
{
    struct served_place *p = arg;
    struct service_event event;
    struct hearth_head head = { .id = p->id }, forget = { 0 }; /* tenant 0: this command's */
    if (!good) return kept_send(p, HEARTH_FORGET, (view){ (const uint8_t *)&forget, sizeof forget }, (view){ 0 },
                                (view){ 0 }, e) && false;
    return kept_send(p, HEARTH_KV_CLOSE, (view){ (const uint8_t *)&head, sizeof head }, (view){ 0 }, (view){ 0 }, e) &&
           kept_hear(p, HEARTH_KV_DONE, &event, e);
}

static bool served_place_of(struct saved_place *p, struct served_place *s, err *e)
{
    const struct hearth_facts *f = &s->s->engine;
    struct saved_settings set = { .kv = s->s->kv, .activations_f32 = s->s->activations_f32,
                                  .ctx_tok = (size_t)f->ctx_tok };
    memcpy(set.identity, f->identity, sizeof set.identity);
    if (!crew_image(s->s->crew, &set.image, e)) return false;
    *p = (struct saved_place){ .arg = s, .read = served_get, .begin = served_begin, .write = served_put,
                               .end = served_end };
    bool good = saved_bind(p, &set, e);
    crew_image_done(set.image);
    return good;
}

bool saved_write_served(const char *path, const uint8_t *key, struct served *s, const int32_t *ids, size_t count,
                        err *e)
{
    struct served_place of = { .s = s };
    struct saved_place place;
    struct service_event event;
    struct hearth_kv r = { .count = count };
    if (!served_place_of(&place, &of, e)) return false;
    r.head.id = of.id = service_keep(s->service);
    if (!kept_send(&of, HEARTH_KV_SAVE, (view){ (const uint8_t *)&r, sizeof r },
                   (view){ (const uint8_t *)ids, count * sizeof *ids }, (view){ 0 }, e) ||
        !kept_hear(&of, HEARTH_KV_OPEN, &event, e))
        return false;
    bool good = saved_put(path, key, &place, ids, count, (size_t)event.kept_bytes, e);
    return good && served_end(&of, true, e);
}

bool saved_read_served(const char *path, const uint8_t *key, struct served *s, int32_t *ids, size_t *count, err *e)
{
    struct served_place of = { .s = s, .ids = ids, .room = (size_t)s->engine.ctx_tok };
    struct saved_place place;
    *count = 0;
    if (!served_place_of(&place, &of, e) || !saved_take(path, key, &place, e)) return false;
    *count = of.count;
    return true;
}
