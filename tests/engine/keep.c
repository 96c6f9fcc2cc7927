/* The messages that save and restore a sequence (include/hearth.h), from a client that means well and from one that
 * does not: what was saved goes on with the same tokens; every count, length, offset, id and place that a message or
 * the bytes of a stream hold, at its limit and beside it, is refused or harmless; and a neighbour of another tenant,
 * who draws all the while with every block promised to it, gets the tokens it gets alone. */
#include "engine/engine_part.h"
#include "hearth.h"

#include "base/le.h"
#include "base/limits.h"
#include "cache/save.h"

#include "check.h"

#include <math.h>
#include <stdio.h>

enum { CTX = 512, PROMPT = 230, MADE = 20, MORE = 24, STREAM_MAX = 1 << 22, MINE = 3, OTHER = 4, ASK_ID = 50,
       KEEP_ID = 90 };

static char path[512];
static uint8_t event[HEARTH_EVENT_BYTES_MAX];

/* What an engine said. */
struct heard {
    int32_t ids[CTX];
    size_t count;
    struct hearth_finished end;
    struct hearth_kv_open open;
    struct hearth_error error; /* of a KV message */
    size_t opens, errors, done, pieces, others;
    uint8_t *stream;           /* pieces go here */
};

static hearth *begin(enum kv_type kv, uint64_t cache_tok)
{
    struct hearth_settings set = { .ctx_tok = CTX, .sequences = 2, .cache_tok = cache_tok, .kv = (uint32_t)kv,
                                   .chunk_tok = 32 };
    char why[HEARTH_ERROR_TEXT_BYTES] = "";
    hearth *h;
    if (!CHECK(hearth_start(&h, path, &set, why), "start: %s", why)) exit(check_done());
    return h;
}

static void hear(hearth *h, struct heard *out)
{
    size_t bytes;
    for (uint32_t kind; (kind = hearth_poll(h, event, &bytes)) != 0;) {
        struct hearth_token token;
        struct hearth_kv_piece piece;
        if (kind == HEARTH_TOKEN) {
            memcpy(&token, event, sizeof token);
            if (out->count < CTX) out->ids[out->count++] = token.token;
        } else if (kind == HEARTH_FINISHED) {
            memcpy(&out->end, event, sizeof out->end);
        } else if (kind == HEARTH_KV_OPEN) {
            memcpy(&out->open, event, sizeof out->open);
            out->opens++;
        } else if (kind == HEARTH_KV_PIECE) {
            memcpy(&piece, event, sizeof piece);
            CHECK(bytes == sizeof piece + piece.bytes && piece.at + piece.bytes <= STREAM_MAX, "a piece of %zu", bytes);
            if (out->stream != NULL) memcpy(out->stream + piece.at, event + sizeof piece, (size_t)piece.bytes);
            out->pieces++;
        } else if (kind == HEARTH_KV_DONE) {
            out->done++;
        } else if (kind == HEARTH_ERROR) {
            memcpy(&out->error, event, sizeof out->error);
            out->errors++;
        } else if (kind != HEARTH_LOADED && kind != HEARTH_PROGRESS && kind != HEARTH_DIFFERS) {
            out->others++;
        }
    }
}

static void ask(hearth *h, uint64_t id, uint64_t tenant, const int32_t *ids, size_t count, uint32_t made)
{
    static uint8_t message[sizeof(struct hearth_request) + CTX * sizeof(int32_t)];
    struct hearth_request r = { .head.id = id, .tenant = tenant, .prompt_tok = (uint32_t)count, .max_tok = made, .n = 1,
                                .weight = 1 };
    r.sampling = (struct hearth_sampling){ .seed = 5, .temperature = 0.9f, .top_k = 40, .top_p = 0.95f,
                                           .typical_p = 1.0f, .repetition_penalty = 1.0f, .dry_base = 1.75f };
    memcpy(message, &r, sizeof r);
    memcpy(message + sizeof r, ids, count * sizeof *ids);
    CHECK(hearth_submit(h, HEARTH_SUBMIT, message, sizeof r + count * sizeof *ids), "a request is taken");
}

static void run(hearth *h, struct heard *out)
{
    while (hearth_work(h)) hear(h, out);
    hear(h, out);
}

/* ---- what was saved ---- */

struct saved {
    enum kv_type kv;
    int32_t ids[CTX];
    size_t count;           /* of the stream's tokens */
    uint8_t *stream;
    size_t bytes;
    int32_t next[MORE];     /* what comes behind */
};

static void prompt_of(int32_t *ids, int32_t by)
{
    for (int32_t i = 0; i < PROMPT; i++) ids[i] = i == 0 ? 1 : 260 + (i * by) % 200;
}

static bool send_kv(hearth *h, uint32_t kind, const struct hearth_kv *r, const int32_t *ids, size_t count,
                    const uint8_t *head)
{
    static uint8_t message[sizeof *r + CTX * sizeof *ids + HEARTH_KV_HEAD_BYTES];
    memcpy(message, r, sizeof *r);
    memcpy(message + sizeof *r, ids, count * sizeof *ids);
    size_t bytes = sizeof *r + count * sizeof *ids;
    if (head != NULL) {
        memcpy(message + bytes, head, HEARTH_KV_HEAD_BYTES);
        bytes += HEARTH_KV_HEAD_BYTES;
    }
    return hearth_submit(h, kind, message, bytes);
}

static bool send_piece(hearth *h, uint32_t kind, uint64_t id, uint64_t at, uint64_t bytes, const uint8_t *tail,
                       size_t tail_bytes)
{
    static uint8_t message[sizeof(struct hearth_kv_piece) + HEARTH_KV_PIECE_BYTES + 8];
    struct hearth_kv_piece r = { .head.id = id, .at = at, .bytes = bytes };
    memcpy(message, &r, sizeof r);
    if (tail != NULL) memcpy(message + sizeof r, tail, tail_bytes);
    return hearth_submit(h, kind, message, sizeof r + (tail != NULL ? tail_bytes : 0));
}

static bool send_head(hearth *h, uint32_t kind, uint64_t id)
{
    struct hearth_head head = { .id = id };
    return hearth_submit(h, kind, &head, sizeof head);
}

/* A prompt and some tokens, saved; and what the same engine makes next. */
static void make_saved(struct saved *s, enum kv_type kv)
{
    static struct heard heard;
    hearth *h = begin(kv, 0);
    heard = (struct heard){ .stream = s->stream };
    s->kv = kv;
    prompt_of(s->ids, 7);
    ask(h, ASK_ID, MINE, s->ids, PROMPT, MADE);
    run(h, &heard);
    CHECK(heard.count == MADE, "%zu tokens", heard.count);
    memcpy(s->ids + PROMPT, heard.ids, MADE * sizeof *s->ids);
    struct hearth_kv r = { .head.id = KEEP_ID, .tenant = MINE, .count = PROMPT + MADE };
    CHECK(send_kv(h, HEARTH_KV_SAVE, &r, s->ids, PROMPT + MADE, NULL), "saving is asked for");
    hear(h, &heard);
    CHECK(heard.opens == 1 && heard.open.count == PROMPT + MADE - 1, "all but the last drawn token is there: %zu",
          (size_t)heard.open.count);
    s->count = (size_t)heard.open.count;
    s->bytes = (size_t)heard.open.bytes;
    for (size_t at = 0; at < s->bytes; at += HEARTH_KV_PIECE_BYTES) {
        size_t n = s->bytes - at < HEARTH_KV_PIECE_BYTES ? s->bytes - at : HEARTH_KV_PIECE_BYTES;
        CHECK(send_piece(h, HEARTH_KV_READ, KEEP_ID, at, n, NULL, 0), "a piece is asked for");
        hear(h, &heard);
    }
    CHECK(send_head(h, HEARTH_KV_CLOSE, KEEP_ID), "closed");
    hear(h, &heard);
    CHECK(heard.done == 1 && heard.errors == 0 && heard.others == 0, "%zu done, %zu errors", heard.done, heard.errors);
    heard = (struct heard){ 0 };
    ask(h, ASK_ID, MINE, s->ids, PROMPT + MADE, MORE);
    run(h, &heard);
    memcpy(s->next, heard.ids, sizeof s->next);
    hearth_stop(h);
}

/* Puts the stream in as it is, pieces of `piece` bytes, the last first; true where it was taken. */
static bool put_back(hearth *h, const struct saved *s, uint64_t tenant, const uint8_t *stream, size_t piece,
                     struct heard *heard)
{
    struct hearth_kv r = { .head.id = KEEP_ID, .tenant = tenant, .count = s->count, .bytes = s->bytes };
    size_t opens = heard->opens, done = heard->done;
    if (!send_kv(h, HEARTH_KV_RESTORE, &r, s->ids, s->count, stream)) return false;
    hear(h, heard);
    if (heard->opens == opens) return false;
    for (size_t left = s->bytes; left > 0;) {
        size_t n = left % piece != 0 ? left % piece : piece;
        left -= n;
        CHECK(send_piece(h, HEARTH_KV_WRITE, KEEP_ID, left, n, stream + left, n), "a piece is taken");
    }
    CHECK(send_head(h, HEARTH_KV_CLOSE, KEEP_ID), "closed");
    hear(h, heard);
    return heard->done > done;
}

static void goes_on(hearth *h, const struct saved *s, uint64_t tenant, bool kept, const char *says)
{
    static struct heard heard;
    heard = (struct heard){ 0 };
    ask(h, ASK_ID, tenant, s->ids, PROMPT + MADE, MORE);
    run(h, &heard);
    CHECK(heard.count == MORE && memcmp(heard.ids, s->next, sizeof s->next) == 0, "%s: the same tokens", says);
    CHECK(heard.end.cached_tok == (kept ? s->count : 0), "%s: %u were kept", says, heard.end.cached_tok);
}

static void well_meant(const struct saved *s)
{
    static struct heard heard;
    static const size_t pieces[] = { 1000, 1 << 16, HEARTH_KV_PIECE_BYTES };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        hearth *h = begin(s->kv, 0);
        heard = (struct heard){ 0 };
        CHECK(put_back(h, s, MINE, s->stream, pieces[i], &heard), "put back: %.300s", heard.error.text);
        goes_on(h, s, MINE, true, "restored");
        hearth_stop(h);
    }
    hearth *h = begin(s->kv, 0);
    heard = (struct heard){ 0 };
    CHECK(put_back(h, s, MINE, s->stream, 1 << 16, &heard), "put back");
    struct hearth_kv theirs = { .head.id = KEEP_ID, .tenant = OTHER, .count = s->count };
    size_t opens = heard.opens, errors = heard.errors;
    CHECK(send_kv(h, HEARTH_KV_SAVE, &theirs, s->ids, s->count, NULL), "a message");
    hear(h, &heard);
    CHECK(heard.opens == opens && heard.errors == errors + 1, "another tenant can not save it: %.200s",
          heard.error.text);
    goes_on(h, s, OTHER, false, "another tenant finds nothing of it");
    hearth_stop(h);
}

/* ---- messages that are none, and sequences that can not be ---- */

enum answer { NO_MESSAGE, REFUSED, OPENED };

/* One field of a message, or of the stream's head behind its ids, set to a value or moved by one. */
static const struct field_row {
    const char *says;
    size_t at, bytes;
    int64_t by;       /* added to what is right; 0: `value` is set */
    uint64_t value;
    enum answer save, restore;
} fields[] = {
#define OF(member) offsetof(struct hearth_kv, member)
#define HEAD_AT(at) sizeof(struct hearth_kv) + (at)
    { "as it should be", OF(head.id), 8, 0, KEEP_ID, OPENED, OPENED },
    { "id 0", OF(head.id), 8, 0, 0, NO_MESSAGE, NO_MESSAGE },
    { "the largest id", OF(head.id), 8, 0, UINT64_MAX, OPENED, OPENED },
    { "a choice", OF(head.choice), 4, 0, 1, NO_MESSAGE, NO_MESSAGE },
    { "a reserved field", OF(head.zero), 4, 0, 1, NO_MESSAGE, NO_MESSAGE },
    { "one id fewer than there are", OF(count), 8, -1, 0, NO_MESSAGE, NO_MESSAGE },
    { "one id more", OF(count), 8, 1, 0, NO_MESSAGE, NO_MESSAGE },
    { "a count that wraps", OF(count), 8, 0, (uint64_t)1 << 62, NO_MESSAGE, NO_MESSAGE },
    { "the largest count", OF(count), 8, 0, UINT64_MAX, NO_MESSAGE, NO_MESSAGE },
    { "a stream a byte shorter", OF(bytes), 8, -1, 0, NO_MESSAGE, REFUSED },
    { "a stream a byte longer", OF(bytes), 8, 1, 0, NO_MESSAGE, REFUSED },
    { "no stream at all", OF(bytes), 8, 0, 0, OPENED, REFUSED },
    { "the longest stream", OF(bytes), 8, 0, UINT64_MAX, NO_MESSAGE, REFUSED },
    { "a stream of its head", OF(bytes), 8, 0, HEARTH_KV_HEAD_BYTES, NO_MESSAGE, REFUSED },
    { "head: other letters", HEAD_AT(0), 1, 1, 0, OPENED, REFUSED },
    { "head: the tier before", HEAD_AT(4), 4, -1, 0, OPENED, REFUSED },
    { "head: the tier behind", HEAD_AT(4), 4, 1, 0, OPENED, REFUSED },
    { "head: a layer fewer", HEAD_AT(8), 4, -1, 0, OPENED, REFUSED },
    { "head: a layer more", HEAD_AT(8), 4, 1, 0, OPENED, REFUSED },
    { "head: a head fewer", HEAD_AT(12), 4, -1, 0, OPENED, REFUSED },
    { "head: a head more", HEAD_AT(12), 4, 1, 0, OPENED, REFUSED },
    { "head: a key channel fewer", HEAD_AT(16), 4, -1, 0, OPENED, REFUSED },
    { "head: a key channel more", HEAD_AT(16), 4, 1, 0, OPENED, REFUSED },
    { "head: a value channel more", HEAD_AT(20), 4, 1, 0, OPENED, REFUSED },
    { "head: a position more than ids", HEAD_AT(24), 8, 1, 0, OPENED, REFUSED },
    { "head: no positions", HEAD_AT(24), 8, 0, 0, OPENED, REFUSED },
    { "head: the context", HEAD_AT(24), 8, 0, CTX, OPENED, REFUSED },
    { "head: one over it", HEAD_AT(24), 8, 0, CTX + 1, OPENED, REFUSED },
    { "head: positions that wrap", HEAD_AT(24), 8, 0, UINT64_MAX - 62, OPENED, REFUSED },
    { "head: the largest number of positions", HEAD_AT(24), 8, 0, UINT64_MAX, OPENED, REFUSED },
    { "head: the page before", HEAD_AT(32), 8, -1, 0, OPENED, REFUSED },
    { "head: the page behind", HEAD_AT(32), 8, 1, 0, OPENED, REFUSED },
    { "head: a page that wraps", HEAD_AT(32), 8, 0, (uint64_t)1 << 58, OPENED, REFUSED },
    { "head: the largest page", HEAD_AT(32), 8, 0, UINT64_MAX, OPENED, REFUSED },
    { "head: a block fewer", HEAD_AT(40), 4, -1, 0, OPENED, REFUSED },
    { "head: a block more", HEAD_AT(40), 4, 1, 0, OPENED, REFUSED },
    { "head: the most blocks", HEAD_AT(40), 4, 0, UINT32_MAX, OPENED, REFUSED },
    { "head: an exact block more", HEAD_AT(44), 4, 1, 0, OPENED, REFUSED },
    { "head: the most exact blocks", HEAD_AT(44), 4, 0, UINT32_MAX, OPENED, REFUSED },
    { "head: the first reserved byte", HEAD_AT(48), 1, 0, 1, OPENED, REFUSED },
    { "head: the last reserved byte", HEAD_AT(63), 1, 0, 1, OPENED, REFUSED },
};

/* A message with one field changed; the place of the head is behind the ids. */
static size_t changed(uint8_t *out, const struct saved *s, const struct field_row *row, bool saving)
{
    struct hearth_kv r = { .head.id = KEEP_ID, .tenant = MINE, .count = s->count, .bytes = saving ? 0 : s->bytes };
    size_t ids_bytes = s->count * sizeof *s->ids, all = sizeof r + ids_bytes + (saving ? 0 : HEARTH_KV_HEAD_BYTES);
    memcpy(out, &r, sizeof r);
    memcpy(out + sizeof r, s->ids, ids_bytes);
    memcpy(out + sizeof r + ids_bytes, s->stream, HEARTH_KV_HEAD_BYTES);
    uint8_t *place = out + row->at + (row->at >= sizeof r ? ids_bytes : 0);
    uint64_t value = 0;
    memcpy(&value, place, row->bytes); /* the tests' machines are little-endian, as the messages are */
    value = row->by != 0 ? value + (uint64_t)row->by : row->value;
    memcpy(place, &value, row->bytes);
    return all;
}

static void close_open(hearth *h, struct heard *heard, size_t opens)
{
    if (heard->opens == opens) return;
    CHECK(send_head(h, HEARTH_KV_CLOSE, heard->open.head.id), "closed");
    hear(h, heard);
}

static void one_field(hearth *h, const struct saved *s, const struct field_row *row, bool saving, struct heard *heard)
{
    static uint8_t message[sizeof(struct hearth_kv) + CTX * sizeof(int32_t) + HEARTH_KV_HEAD_BYTES];
    size_t bytes = changed(message, s, row, saving), opens = heard->opens, errors = heard->errors;
    enum answer want = saving ? row->save : row->restore, got = NO_MESSAGE;
    if (saving && row->at >= sizeof(struct hearth_kv)) return;
    if (hearth_submit(h, saving ? HEARTH_KV_SAVE : HEARTH_KV_RESTORE, message, bytes)) {
        hear(h, heard);
        got = heard->opens > opens ? OPENED : heard->errors > errors ? REFUSED : NO_MESSAGE;
    }
    CHECK(got == want, "%s, %s: %s: answer %d, want %d: %.200s", kv_type_name(s->kv), saving ? "saving" : "restoring",
          row->says, got, want, heard->error.text);
    close_open(h, heard, opens);
}

static void bad_fields(const struct saved *s)
{
    static struct heard heard;
    hearth *h = begin(s->kv, 0);
    heard = (struct heard){ 0 };
    CHECK(put_back(h, s, MINE, s->stream, 1 << 16, &heard), "put back");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) one_field(h, s, &fields[i], true, &heard);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        one_field(h, s, &fields[i], false, &heard);
    }
    CHECK(put_back(h, s, MINE, s->stream, 1 << 16, &heard), "after all of that: %.200s", heard.error.text);
    goes_on(h, s, MINE, true, "after all of that");
    hearth_stop(h);
}

/* Lengths of messages around those they have. */
static void bad_lengths(const struct saved *s)
{
    static uint8_t message[sizeof(struct hearth_kv) + CTX * sizeof(int32_t) + HEARTH_KV_HEAD_BYTES + 8];
    static struct heard heard;
    hearth *h = begin(s->kv, 0);
    heard = (struct heard){ 0 };
    for (uint32_t kind = HEARTH_KV_SAVE; kind <= HEARTH_KV_CLOSE; kind++) {
        size_t all = changed(message, s, &fields[0], kind == HEARTH_KV_SAVE);
        for (size_t bytes = 0; bytes < sizeof(struct hearth_kv); bytes++) {
            bool whole = (kind == HEARTH_KV_CLOSE && bytes == sizeof(struct hearth_head)) ||
                         (kind == HEARTH_KV_READ && bytes == sizeof(struct hearth_kv_piece)); /* of nothing open */
            CHECK(hearth_submit(h, kind, message, bytes) == whole, "message %u of %zu bytes", kind, bytes);
        }
        if (kind > HEARTH_KV_RESTORE) continue;
        CHECK(!hearth_submit(h, kind, message, all - 1) && !hearth_submit(h, kind, message, all + 1),
              "message %u a byte shorter and longer", kind);
        CHECK(!hearth_submit(h, kind, message, all - 4) && !hearth_submit(h, kind, message, all + 4),
              "message %u an id shorter and longer", kind);
    }
    hear(h, &heard);
    CHECK(heard.opens == 0 && heard.done == 0, "none of them opened anything");
    CHECK(put_back(h, s, MINE, s->stream, 1 << 16, &heard), "after all of that");
    hearth_stop(h);
}

/* Ids of tokens around the vocabulary's, contexts around the plan's, and sequences around those that are open. */
static void bad_ids(const struct saved *s)
{
    static struct heard heard;
    static struct saved t;
    static const struct {
        int32_t id;
        bool good;
    } rows[] = { { -1, false },  { 0, true },           { 511, true },
                 { 512, false }, { INT32_MAX, false }, { INT32_MIN, false } };
    hearth *h = begin(s->kv, 0);
    heard = (struct heard){ 0 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t = *s;
        t.ids[s->count - 1] = rows[i].id;
        CHECK(put_back(h, &t, MINE, s->stream, 1 << 16, &heard) == rows[i].good, "token %d: %.200s", rows[i].id,
              heard.error.text);
    }
    t = *s;
    t.count = CTX; /* more ids than positions are fine: what is not computed yet */
    CHECK(put_back(h, &t, MINE, s->stream, 1 << 16, &heard), "as many ids as the context: %.200s", heard.error.text);
    int32_t ids[CTX + 1] = { 0 };
    struct hearth_kv r = { .head.id = KEEP_ID, .tenant = MINE, .count = CTX + 1, .bytes = s->bytes };
    static uint8_t message[sizeof r + sizeof ids + HEARTH_KV_HEAD_BYTES];
    memcpy(message, &r, sizeof r);
    memcpy(message + sizeof r, ids, sizeof ids);
    memcpy(message + sizeof r + sizeof ids, s->stream, HEARTH_KV_HEAD_BYTES);
    size_t errors = heard.errors;
    CHECK(hearth_submit(h, HEARTH_KV_RESTORE, message, sizeof message), "a message");
    hear(h, &heard);
    CHECK(heard.errors == errors + 1, "one more id than the context: %.200s", heard.error.text);
    hearth_stop(h);
}

/* Pieces of an open stream: their place and length around its end and around what a message may hold. */
static void bad_pieces(const struct saved *s)
{
    static struct heard heard;
    static uint8_t bytes[HEARTH_KV_PIECE_BYTES + 1];
    hearth *h = begin(s->kv, 0);
    uint64_t end = s->bytes, most = HEARTH_KV_PIECE_BYTES;
    heard = (struct heard){ 0 };
    memset(bytes, 0x5a, sizeof bytes);
    const struct {
        const char *says;
        uint64_t at, n;
        bool good;
    } rows[] = {
        { "the last byte", end - 1, 1, true },      { "one behind it", end, 1, false },
        { "two from the last", end - 1, 2, false }, { "none", 0, 0, false },
        { "far behind", UINT64_MAX, 1, false },     { "an end that wraps", UINT64_MAX - 3, 8, false },
        { "the longest", 0, most, most <= end },    { "one longer", 0, most + 1, false },
        { "the head alone", 0, 64, true },          { "across the head's end", 63, 2, true },
    };
    for (int writing = 0; writing < 2; writing++) {
        uint32_t kind = writing ? HEARTH_KV_WRITE : HEARTH_KV_READ, other = writing ? HEARTH_KV_READ : HEARTH_KV_WRITE;
        CHECK(put_back(h, s, MINE, s->stream, 1 << 16, &heard), "put back");
        struct hearth_kv r = { .head.id = KEEP_ID, .tenant = MINE, .count = s->count, .bytes = writing ? s->bytes : 0 };
        CHECK(send_kv(h, writing ? HEARTH_KV_RESTORE : HEARTH_KV_SAVE, &r, s->ids, s->count,
                      writing ? s->stream : NULL), "opened");
        CHECK(!send_kv(h, HEARTH_KV_SAVE, &(struct hearth_kv){ .head.id = KEEP_ID, .count = 1 }, s->ids, 1, NULL),
              "an id that is open already");
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            bool taken = send_piece(h, kind, KEEP_ID, rows[i].at, rows[i].n, writing ? bytes : NULL,
                                    (size_t)(rows[i].n <= sizeof bytes ? rows[i].n : 8));
            CHECK(taken == rows[i].good, "%s: %s: %d", writing ? "writing" : "reading", rows[i].says, taken);
            hear(h, &heard);
        }
        CHECK(!send_piece(h, other, KEEP_ID, 0, 8, writing ? NULL : bytes, 8), "a piece the other way");
        CHECK(!send_piece(h, HEARTH_KV_WRITE, KEEP_ID, 0, 8, bytes, 7) &&
                  !send_piece(h, HEARTH_KV_WRITE, KEEP_ID, 0, 8, bytes, 9), "bytes that are not those it says");
        size_t pieces = heard.pieces;
        CHECK(send_piece(h, kind, KEEP_ID + 1, 0, 8, writing ? bytes : NULL, 8), "a piece of what was never opened");
        hear(h, &heard);
        CHECK(heard.pieces == pieces, "is answered by nothing");
        size_t errors = heard.errors, done = heard.done;
        CHECK(send_head(h, HEARTH_KV_CLOSE, KEEP_ID), "closed");
        hear(h, &heard);
        CHECK(heard.errors == errors + (writing != 0) && heard.done == done + (writing == 0),
              "pieces that are no whole stream: %.200s", heard.error.text);
        errors = heard.errors;
        CHECK(send_head(h, HEARTH_KV_CLOSE, KEEP_ID), "closed twice");
        hear(h, &heard);
        CHECK(heard.errors == errors + 1, "is an error: %.200s", heard.error.text);
    }
    hearth_stop(h);
}

/* A stream but for one byte, and with one byte twice. */
static void part_streams(const struct saved *s)
{
    static struct heard heard;
    hearth *h = begin(s->kv, 0);
    heard = (struct heard){ 0 };
    for (size_t more = 0; more < 3; more++) { /* a byte less, all, a byte more than there are */
        struct hearth_kv r = { .head.id = KEEP_ID, .tenant = MINE, .count = s->count, .bytes = s->bytes };
        size_t done = heard.done, errors = heard.errors;
        CHECK(send_kv(h, HEARTH_KV_RESTORE, &r, s->ids, s->count, s->stream), "opened");
        for (size_t at = 0; at + 1 < s->bytes;) {
            size_t n = s->bytes - 1 - at < 65536 ? s->bytes - 1 - at : 65536;
            CHECK(send_piece(h, HEARTH_KV_WRITE, KEEP_ID, at, n, s->stream + at, n), "a piece is taken");
            at += n;
        }
        for (size_t i = 0; i < more; i++)
            CHECK(send_piece(h, HEARTH_KV_WRITE, KEEP_ID, s->bytes - 1, 1, s->stream + s->bytes - 1, 1), "a byte");
        CHECK(send_head(h, HEARTH_KV_CLOSE, KEEP_ID), "closed");
        hear(h, &heard);
        CHECK(heard.done == done + (more == 1) && heard.errors == errors + (more != 1), "%zu bytes of %zu: %.200s",
              s->bytes - 1 + more, s->bytes, heard.error.text);
        if (more == 1) goes_on(h, s, MINE, true, "every byte once");
        send_head(h, HEARTH_FORGET, MINE);
    }
    hearth_stop(h);
}

/* Reads that nobody takes away: refused once the events have no room, and none is lost or torn. */
static void unread_pieces(const struct saved *s)
{
    static struct heard heard;
    static uint8_t got[STREAM_MAX];
    hearth *h = begin(s->kv, 0);
    heard = (struct heard){ .stream = got };
    CHECK(put_back(h, s, MINE, s->stream, 1 << 16, &heard), "put back");
    struct hearth_kv r = { .head.id = KEEP_ID, .tenant = MINE, .count = s->count };
    CHECK(send_kv(h, HEARTH_KV_SAVE, &r, s->ids, s->count, NULL), "opened");
    size_t taken = 0, n = s->bytes < HEARTH_KV_PIECE_BYTES ? s->bytes : HEARTH_KV_PIECE_BYTES;
    for (size_t i = 0; i < 1000; i++) taken += send_piece(h, HEARTH_KV_READ, KEEP_ID, 0, n, NULL, 0);
    CHECK(taken < 1000, "all 1,000 pieces of %zu bytes were taken", n);
    heard.pieces = 0;
    hear(h, &heard);
    CHECK(heard.pieces == taken && memcmp(got, s->stream, n) == 0, "%zu of %zu pieces came", heard.pieces, taken);
    hearth_stop(h);
}

/* ---- a neighbour ---- */

/* Blocks that are promised to whoever runs are nobody else's, whatever a head says of its length. */
static void beside_a_neighbour(const struct saved *s)
{
    static struct heard alone, heard;
    int32_t ids[PROMPT];
    prompt_of(ids, 11);
    hearth *h = begin(s->kv, 0);
    alone = heard = (struct heard){ 0 };
    ask(h, ASK_ID, OTHER, ids, PROMPT, 0);
    run(h, &alone);
    hearth_stop(h);

    h = begin(s->kv, CTX + 2 * PAGE_TOK); /* the neighbour may come to its context: two blocks are left */
    ask(h, ASK_ID, OTHER, ids, PROMPT, 0);
    for (int i = 0; i < 3; i++) hearth_work(h);
    size_t errors = 0;
    static const size_t counts[] = { 1, PAGE_TOK - 1, PAGE_TOK, PAGE_TOK + 1, 2 * PAGE_TOK, 2 * PAGE_TOK + 1, PROMPT };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct hearth_kv r = { .head.id = KEEP_ID, .tenant = MINE, .count = counts[i], .bytes = s->bytes };
        CHECK(send_kv(h, HEARTH_KV_RESTORE, &r, s->ids, counts[i], s->stream), "a message");
        hearth_work(h);
        hear(h, &heard);
        CHECK(heard.errors == ++errors && heard.opens == 0, "%zu ids for %zu positions: %.200s", counts[i], s->count,
              heard.error.text);
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) { /* the same fields, while it draws */
        static uint8_t message[sizeof(struct hearth_kv) + CTX * sizeof(int32_t) + HEARTH_KV_HEAD_BYTES];
        hearth_submit(h, HEARTH_KV_SAVE, message, changed(message, s, &fields[i], true));
        hearth_submit(h, HEARTH_KV_RESTORE, message, changed(message, s, &fields[i], false));
        hearth_work(h);
    }
    run(h, &heard);
    CHECK(heard.count == alone.count && memcmp(heard.ids, alone.ids, alone.count * sizeof *alone.ids) == 0,
          "the neighbour: %zu tokens, alone %zu", heard.count, alone.count);
    hearth_stop(h);
}

/* ---- bytes of a stream ---- */

/* Fields of a packed page that steer memory, at their limits. */
static void bad_codes(const struct saved *s)
{
    static struct heard heard;
    static uint8_t stream[STREAM_MAX];
    struct coded_layout lay;
    const char *why;
    enum { DIM = 8 }; /* of stories260K */
    if (!kv_is_log(s->kv) || !CHECK(coded_layout(s->kv, DIM, DIM, &lay, &why), "%s", "a layout")) return;
    hearth *h = begin(s->kv, 0);
    static const struct {
        uint8_t channel;
        bool good;
    } rows[] = { { DIM, false }, { DIM + 1, false }, { 127, false }, { 128, false }, { 255, false } };
    heard = (struct heard){ 0 };
    for (size_t page = 0; page < 3; page++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            memcpy(stream, s->stream, s->bytes);
            stream[KV_SAVE_HEAD_BYTES + page * lay.bytes + lay.boost_channels] = rows[i].channel;
            CHECK(put_back(h, s, MINE, stream, 1 << 16, &heard) == rows[i].good, "page %zu: boosted channel %u", page,
                  rows[i].channel);
        }
    memcpy(stream, s->stream, s->bytes);
    le_put_f32(stream + KV_SAVE_HEAD_BYTES + lay.head, INFINITY);
    CHECK(!put_back(h, s, MINE, stream, 1 << 16, &heard), "a unit that is infinite");
    le_put_f32(stream + KV_SAVE_HEAD_BYTES + lay.head, NAN);
    CHECK(!put_back(h, s, MINE, stream, 1 << 16, &heard), "a unit that is no number");
    CHECK(put_back(h, s, MINE, s->stream, 1 << 16, &heard), "the right bytes after them");
    goes_on(h, s, MINE, true, "after bad codes");
    hearth_stop(h);
}

/* Any bytes behind a right head: taken or refused, and then the tenant may draw from them. */
static void wild_streams(const struct saved *s)
{
    static struct heard heard;
    static uint8_t stream[STREAM_MAX];
    hearth *h = begin(s->kv, 0);
    heard = (struct heard){ 0 };
    for (uint32_t pattern = 0; pattern < 4; pattern++) {
        memcpy(stream, s->stream, s->bytes);
        for (size_t at = KV_SAVE_HEAD_BYTES; at < s->bytes; at++)
            stream[at] = pattern == 0 ? 0xff : pattern == 1 ? 0 : pattern == 2 ? 0x7c : (uint8_t)(at * 151);
        bool taken = put_back(h, s, MINE, stream, 1 << 16, &heard);
        heard.end = (struct hearth_finished){ 0 };
        size_t errors = heard.errors;
        ask(h, ASK_ID, MINE, s->ids, PROMPT + MADE, 4);
        run(h, &heard);
        CHECK(heard.end.made_tok > 0 || heard.errors > errors, "pattern %u, taken %d: one end", pattern, taken);
        send_head(h, HEARTH_FORGET, MINE);
    }
    CHECK(put_back(h, s, MINE, s->stream, 1 << 16, &heard), "the right bytes after them");
    goes_on(h, s, MINE, true, "after wild bytes");
    hearth_stop(h);
}

int main(void)
{
    static struct saved s;
    static uint8_t stream[STREAM_MAX];
    static const enum kv_type tiers[] = { KV_F16, KV_Q8, KV_K2V2 };
    if (!check_model(path, sizeof path, "stories260K")) {
        check_skip("no reference model");
        return check_done();
    }
    s.stream = stream;
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++) {
        make_saved(&s, tiers[i]);
        well_meant(&s);
        bad_fields(&s);
        bad_lengths(&s);
        bad_ids(&s);
        bad_pieces(&s);
        part_streams(&s);
        unread_pieces(&s);
        beside_a_neighbour(&s);
        bad_codes(&s);
        wild_streams(&s);
    }
    return check_done();
}
