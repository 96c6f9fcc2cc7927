/* Sequences that are saved and restored, piece by piece, between steps: include/hearth.h has the messages, cache/save.h
 * the bytes. A sequence whose stream is open is nobody else's; its blocks count as reserved. Whoever saves proves what
 * comes back (hashes, binds, encrypts): here any bytes are safe, and what is taken belongs to one tenant. */
#include "engine/engine_part.h"

#include "base/checked.h"
#include "cache/save.h"

_Static_assert((int)KV_SAVE_HEAD_BYTES == (int)HEARTH_KV_HEAD_BYTES, "one head");

/* What the piece's event stands in: its head, then the bytes. */
struct piece_event {
    struct hearth_kv_piece head;
    uint8_t bytes[HEARTH_KV_PIECE_BYTES];
};

static struct sequence *find(const engine *en, uint64_t id)
{
    for (size_t i = 0; i < en->set.sequences && id != 0; i++)
        if (en->sequences[i].stream == id) return &en->sequences[i];
    return NULL;
}

static void tell_open(engine *en, const struct sequence *s)
{
    struct hearth_kv_open f = { .head.id = s->stream, .count = s->stream_tok, .bytes = s->stream_bytes };
    en->emit(en->arg, HEARTH_KV_OPEN, (view){ (const uint8_t *)&f, sizeof f });
}

static void pin(engine *en, struct sequence *s, uint64_t id)
{
    s->stream = id;
    en->reserved += s->kv.block_count;
}

static void unpin(engine *en, struct sequence *s)
{
    en->reserved -= s->kv.block_count;
    s->stream = 0;
}

/* ---- saving ---- */

/* The idle sequence of the tenant that has most of the ids' beginning, and how much; NULL where none has any. */
static struct sequence *kept_of(const engine *en, uint64_t tenant, const int32_t *ids, size_t count, size_t *most)
{
    struct sequence *best = NULL;
    *most = 0;
    for (size_t i = 0; i < en->set.sequences; i++) {
        struct sequence *s = &en->sequences[i];
        size_t n = 0, all = min_size(s->kv.len_tok, count);
        if (!sequence_idle(s) || s->tenant != tenant) continue;
        while (n < all && s->tokens[n] == ids[n]) n++;
        n = kv_seq_kept(&s->kv, n);
        if (n <= *most) continue;
        *most = n;
        best = s;
    }
    return best;
}

static bool save(engine *en, const struct hearth_kv *r, const int32_t *ids, err *why)
{
    size_t most;
    struct sequence *s = kept_of(en, r->tenant, ids, (size_t)r->count, &most);
    if (s == NULL)
        return fail(why, ERR_MISSING, ERR_NO_OFFSET, "session: nothing is kept of these %llu tokens",
                    (unsigned long long)r->count);
    if (en->running > 0) /* its last block may have to be copied, and every free one may be promised */
        return fail(why, ERR_STATE, ERR_NO_OFFSET, "session: %zu answers run, it is saved when none does", en->running);
    s->count = kv_seq_rewind(&s->kv, most); /* a stop text ends before what was computed */
    if (!kv_save_begin(&s->kv, &s->stream_bytes, why)) return false;
    s->restoring = false;
    s->stream_tok = s->kv.len_tok;
    pin(en, s, r->head.id);
    return true;
}

static void read_piece(engine *en, const struct sequence *s, const struct hearth_kv_piece *r)
{
    struct piece_event *f = en->piece;
    f->head = *r;
    kv_save_read(&s->kv, (size_t)r->at, f->bytes, (size_t)r->bytes);
    en->emit(en->arg, HEARTH_KV_PIECE, (view){ (const uint8_t *)f, sizeof f->head + (size_t)r->bytes });
}

/* ---- restoring ---- */

static bool ids_check(const engine *en, const int32_t *ids, size_t count, err *why)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= en->m->hyper.vocab)
            return fail(why, ERR_VALUE, ERR_NO_OFFSET, "session: token %d, the vocabulary has %zu", ids[i],
                        en->m->hyper.vocab);
    return true;
}

/* In place of the sequence that nobody used for longest. */
static bool restore(engine *en, const struct hearth_kv *r, const int32_t *ids, const uint8_t *head, err *why)
{
    /* One more: a log sequence that went back to a page's begin holds what the next position sees. */
    size_t count = (size_t)r->count;
    size_t blocks = kv_type_blocks(en->pool.shape.type, min_size(count + 1, en->set.ctx_tok));
    if (count > en->set.ctx_tok)
        return fail(why, ERR_LIMIT, ERR_NO_OFFSET, "session: %zu tokens, the context has %u", count, en->set.ctx_tok);
    if (!ids_check(en, ids, count, why)) return false;
    if (kv_restore_tok(head) > count) /* room is made for the ids: blocks beyond it may be promised to who runs */
        return fail(why, ERR_VALUE, ERR_NO_OFFSET, "session: %llu positions of %zu tokens",
                    (unsigned long long)kv_restore_tok(head), count);
    struct sequence *s = sequence_oldest(en);
    if (s == NULL || blocks > en->pool.main.count - en->reserved)
        return fail(why, ERR_STATE, ERR_NO_OFFSET, "session: no place for %zu tokens beside what runs", count);
    sequence_let_go(s);
    sequence_make_room(en, blocks, s, NULL);
    if (!kv_restore_begin(&s->kv, head, (size_t)r->bytes, why)) return false;
    memcpy(s->stream_head, head, sizeof s->stream_head);
    memcpy(s->tokens, ids, count * sizeof *ids);
    s->restoring = true;
    s->tenant = r->tenant;
    s->stream_bytes = (size_t)r->bytes;
    s->stream_came = 0;
    s->stream_tok = count;
    pin(en, s, r->head.id);
    return true;
}

/* The stream is complete; what it holds becomes an idle sequence's. */
static bool restore_end(engine *en, struct sequence *s, err *why)
{
    bool whole = s->stream_came == s->stream_bytes; /* what did not come would be zeros: another text's cache */
    if (!whole)
        err_set(why, ERR_TRUNCATED, ERR_NO_OFFSET, "session: pieces of %zu bytes came, the stream has %zu",
                s->stream_came, s->stream_bytes);
    if (!whole || !kv_restore_end(&s->kv, s->stream_head, why)) {
        sequence_let_go(s);
        return false;
    }
    s->count = s->kv.len_tok;
    s->used = ++en->arrivals;
    return true;
}

/* ---- messages ---- */

static bool take_open(engine *en, uint32_t kind, view message, err *e)
{
    struct hearth_kv r;
    err why = { 0 };
    size_t head_bytes = kind == HEARTH_KV_RESTORE ? HEARTH_KV_HEAD_BYTES : 0;
    if (message.len_bytes < sizeof r + head_bytes)
        return fail(e, ERR_TRUNCATED, 0, "session: %zu bytes", message.len_bytes);
    memcpy(&r, message.ptr, sizeof r);
    size_t tail = message.len_bytes - sizeof r - head_bytes;
    if (r.head.id == 0 || r.head.choice != 0 || r.head.zero != 0 || find(en, r.head.id) != NULL ||
        tail % sizeof(int32_t) != 0 || r.count != tail / sizeof(int32_t) || (kind == HEARTH_KV_SAVE && r.bytes != 0))
        return fail(e, ERR_VALUE, 0, "session: message %u is none", kind);
    const int32_t *ids = (const int32_t *)(const void *)(message.ptr + sizeof r); /* 40 bytes behind an aligned begin */
    bool good = kind == HEARTH_KV_SAVE ? save(en, &r, ids, &why)
                                       : restore(en, &r, ids, message.ptr + sizeof r + tail, &why);
    if (good) tell_open(en, find(en, r.head.id));
    else emit_error(en, r.head.id, &why);
    return true;
}

static bool take_piece(engine *en, uint32_t kind, view message, err *e)
{
    struct hearth_kv_piece r;
    if (message.len_bytes < sizeof r) return fail(e, ERR_TRUNCATED, 0, "session: %zu bytes", message.len_bytes);
    memcpy(&r, message.ptr, sizeof r);
    const struct sequence *of = find(en, r.head.id);
    size_t tail = message.len_bytes - sizeof r;
    if (r.bytes < 1 || r.bytes > HEARTH_KV_PIECE_BYTES || tail != (kind == HEARTH_KV_WRITE ? r.bytes : 0) ||
        (of != NULL && (r.at > of->stream_bytes || r.bytes > of->stream_bytes - r.at ||
                        of->restoring != (kind == HEARTH_KV_WRITE))))
        return fail(e, ERR_VALUE, 0, "session: a piece of %llu bytes at %llu", (unsigned long long)r.bytes,
                    (unsigned long long)r.at);
    struct sequence *s = find(en, r.head.id);
    if (s == NULL) return true; /* forgotten meanwhile: closing it tells */
    if (kind == HEARTH_KV_READ) {
        read_piece(en, s, &r);
        return true;
    }
    kv_restore_write(&s->kv, (size_t)r.at, message.ptr + sizeof r, (size_t)r.bytes);
    if (add_size(s->stream_came, (size_t)r.bytes, &s->stream_came)) return true;
    s->stream_came = SIZE_MAX; /* no stream is so long */
    return true;
}

static bool take_close(engine *en, view message, err *e)
{
    struct hearth_head head;
    err why = { 0 };
    if (message.len_bytes != sizeof head) return fail(e, ERR_VALUE, 0, "session: %zu bytes", message.len_bytes);
    memcpy(&head, message.ptr, sizeof head);
    struct sequence *s = find(en, head.id);
    if (s == NULL) err_set(&why, ERR_MISSING, ERR_NO_OFFSET, "session: it was forgotten meanwhile");
    else unpin(en, s);
    if (s == NULL || (s->restoring && !restore_end(en, s, &why))) emit_error(en, head.id, &why);
    else en->emit(en->arg, HEARTH_KV_DONE, (view){ (const uint8_t *)&head, sizeof head });
    return true;
}

bool keep_take(engine *en, uint32_t kind, view message, err *e)
{
    if (kind == HEARTH_KV_SAVE || kind == HEARTH_KV_RESTORE) return take_open(en, kind, message, e);
    if (kind == HEARTH_KV_CLOSE) return take_close(en, message, e);
    return take_piece(en, kind, message, e);
}

void keep_forget(engine *en, uint64_t tenant)
{
    for (size_t i = 0; i < en->set.sequences; i++)
        if (en->sequences[i].stream != 0 && en->sequences[i].tenant == tenant) unpin(en, &en->sequences[i]);
}

bool keep_new(engine *en, arena *a, err *e)
{
    return (en->piece = ARENA_ARRAY(a, struct piece_event, 1, "session", e)) != NULL;
}
