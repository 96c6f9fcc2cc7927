/* Saved sessions: see saved.h.
 *
 *   head, 128 bytes, little-endian
 *      0  "HEARTHSV" | u32 version | u32 1 where encrypted | u64 payload bytes | u32 chunk bytes | u32 tokens
 *     32  binding, 32 bytes: BLAKE2b of model identity, arithmetic version and settings
 *     64  nonce, 24 bytes (zeros: not encrypted) | 8 zeros
 *     96  hash, 32 bytes: BLAKE2b of bytes 0..95 and all chunk proofs
 *   proofs   a chunk: BLAKE2b of it, 32 bytes; encrypted: its 16-byte tag, then zeros
 *   payload  tokens as u32, the cache's stream (cache/save.h), in chunks of 1 MiB; encrypted: XChaCha20-Poly1305, the
 *            nonce with the chunk's number added in its last 8 bytes, bytes 0..63 of the head as associated data
 */
#include "cmd/saved.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/le.h"
#include "base/limits.h"
#include "cache/save.h"
#include "cmd/cmd.h"
#include "cmd/out.h"
#include "hearth.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 128, BOUND_BYTES = 64, PROOF_BYTES = 32, VERSION = 1, CHUNK_BYTES = 1 << 20 };
enum { AT_VERSION = 8, AT_SECRET = 12, AT_PAYLOAD = 16, AT_CHUNK = 24, AT_TOKENS = 28, AT_BINDING = 32, AT_NONCE = 64,
       AT_HASH = 96 };
static const uint8_t MAGIC[8] = { 'H', 'E', 'A', 'R', 'T', 'H', 'S', 'V' };

bool saved_key_read(const char *path, uint8_t key[static SAVED_KEY_BYTES], err *e)
{
    char text[2 * SAVED_KEY_BYTES + 2] = { 0 };
    size_t len = 0, made = 0;
    FILE *in = fopen(path, "re");
    if (in == NULL) return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s", path, strerror(errno));
    len = fread(text, 1, sizeof text - 1, in);
    fclose(in);
    if (len > 0 && text[len - 1] == '\n') text[--len] = '\0';
    bool good = len == 2 * SAVED_KEY_BYTES && sodium_hex2bin(key, SAVED_KEY_BYTES, text, len, NULL, &made, NULL) == 0 &&
                made == SAVED_KEY_BYTES;
    sodium_memzero(text, sizeof text);
    return good || fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: no key, expected %d hexadecimal digits", path,
                        2 * SAVED_KEY_BYTES);
}

/* ---- binding ---- */

struct identity_job {
    view weights;
    uint8_t (*hashes)[PROOF_BYTES];
};

static void identity_task(void *arg, size_t chunk, size_t thread)
{
    const struct identity_job *job = arg;
    size_t at = chunk * CHUNK_BYTES, n = min_size(CHUNK_BYTES, job->weights.len_bytes - at);
    (void)thread;
    crypto_generichash(job->hashes[chunk], PROOF_BYTES, job->weights.ptr + at, n, NULL, 0);
}

/* Every tile on the team's threads; without a team one after the other. */
static void run_tiles(team *t, size_t tiles, team_fn *fn, void *arg)
{
    if (t != NULL) team_run(t, tiles, fn, arg);
    for (size_t i = 0; t == NULL && i < tiles; i++) fn(arg, i, 0);
}

/* What the image says, or a hash of all of it where nobody has computed that. */
static bool identity(const struct saved_settings *set, team *t, uint8_t out[static PROOF_BYTES], err *e)
{
    size_t chunks = ceil_div(set->image.len_bytes, CHUNK_BYTES);
    memcpy(out, set->identity, PROOF_BYTES);
    if (!sodium_is_zero(out, PROOF_BYTES)) return true;
    struct identity_job job = { set->image, malloc(chunks * PROOF_BYTES) };
    if (job.hashes == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "session: no memory");
    run_tiles(t, chunks, identity_task, &job);
    crypto_generichash(out, PROOF_BYTES, (const uint8_t *)job.hashes, chunks * PROOF_BYTES, NULL, 0);
    free(job.hashes);
    return true;
}

bool saved_bind(struct saved_place *p, const struct saved_settings *set, err *e)
{
    uint8_t of[PROOF_BYTES], settings[20];
    crypto_generichash_state state;
    if (sodium_init() < 0) return fail(e, ERR_STATE, ERR_NO_OFFSET, "libsodium: can not start");
    if (!identity(set, p->team, of, e)) return false;
    le_put_u32(settings, HEARTH_ARITHMETIC);
    le_put_u32(settings + 4, (uint32_t)set->kv);
    le_put_u32(settings + 8, set->activations_f32);
    le_put_u64(settings + 12, set->ctx_tok); /* which rope factors hold depends on it */
    crypto_generichash_init(&state, NULL, 0, PROOF_BYTES);
    crypto_generichash_update(&state, of, sizeof of);
    crypto_generichash_update(&state, settings, sizeof settings);
    crypto_generichash_final(&state, p->binding, PROOF_BYTES);
    p->ctx_tok = set->ctx_tok;
    return true;
}

/* ---- chunks ---- */

struct chunk_job {
    const struct saved_place *place;
    const int32_t *tokens;
    size_t token_bytes, payload_bytes, first_byte; /* first_byte: of the payload in the file */
    const uint8_t *head, *key;
    uint8_t *proofs, *rooms;                        /* a room of a chunk for each thread */
    uint8_t *front;                                 /* restoring: tokens and the stream's head */
    int fd;
    err *e;                                         /* of the place; only without a team */
    _Atomic size_t failed;                          /* the first bad chunk, or SIZE_MAX */
};

static void chunk_nonce(const uint8_t *head, size_t chunk,
    uint8_t out[static crypto_aead_xchacha20poly1305_ietf_NPUBBYTES])
{
    memcpy(out, head + AT_NONCE, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
    le_put_u64(out + 16, le_u64(out + 16) + chunk);
}

static void chunk_fails(struct chunk_job *job, size_t chunk)
{
    size_t seen = atomic_load(&job->failed);
    while (chunk < seen && !atomic_compare_exchange_weak(&job->failed, &seen, chunk)) {}
}

static bool write_at(int fd, const uint8_t *bytes, size_t n, size_t at)
{
    while (n > 0) {
        ssize_t wrote = pwrite(fd, bytes, n, (off_t)at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return false;
        bytes += wrote, n -= (size_t)wrote, at += (size_t)wrote;
    }
    return true;
}

static bool read_at(int fd, uint8_t *bytes, size_t n, size_t at)
{
    while (n > 0) {
        ssize_t got = pread(fd, bytes, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        bytes += got, n -= (size_t)got, at += (size_t)got;
    }
    return true;
}

static void write_chunk(void *arg, size_t chunk, size_t thread)
{
    struct chunk_job *job = arg;
    size_t at = chunk * CHUNK_BYTES, n = min_size(CHUNK_BYTES, job->payload_bytes - at), from = 0;
    uint8_t *room = job->rooms + thread * CHUNK_BYTES, *proof = job->proofs + chunk * PROOF_BYTES;
    for (; from < n && at + from < job->token_bytes; from += 4)
        le_put_u32(room + from, (uint32_t)job->tokens[(at + from) / 4]);
    if (from < n && !job->place->read(job->place->arg, at + from - job->token_bytes, room + from, n - from, job->e)) {
        chunk_fails(job, chunk);
        return;
    }
    if (job->key != NULL) {
        uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];
        unsigned long long tag = 0;
        chunk_nonce(job->head, chunk, nonce);
        crypto_aead_xchacha20poly1305_ietf_encrypt_detached(room, proof, &tag, room, n, job->head, BOUND_BYTES, NULL,
                                                            nonce, job->key);
    } else {
        crypto_generichash(proof, PROOF_BYTES, room, n, NULL, 0);
    }
    if (!write_at(job->fd, room, n, job->first_byte + at)) chunk_fails(job, chunk);
}

/* Reads a chunk into `room` and proves it. */
static bool take_chunk(struct chunk_job *job, size_t chunk, uint8_t *room)
{
    size_t at = chunk * CHUNK_BYTES, n = min_size(CHUNK_BYTES, job->payload_bytes - at);
    const uint8_t *proof = job->proofs + chunk * PROOF_BYTES;
    uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES], hash[PROOF_BYTES];
    if (!read_at(job->fd, room, n, job->first_byte + at)) return false;
    chunk_nonce(job->head, chunk, nonce);
    if (job->key != NULL)
        return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(room, NULL, room, n, proof, job->head, BOUND_BYTES,
                                                                   nonce, job->key) == 0;
    crypto_generichash(hash, sizeof hash, room, n, NULL, 0);
    return sodium_memcmp(hash, proof, sizeof hash) == 0;
}

static void read_chunk(void *arg, size_t chunk, size_t thread)
{
    struct chunk_job *job = arg;
    size_t at = chunk * CHUNK_BYTES, n = min_size(CHUNK_BYTES, job->payload_bytes - at);
    size_t from = job->token_bytes > at ? min_size(job->token_bytes - at, n) : 0;
    uint8_t *room = job->rooms + thread * CHUNK_BYTES;
    bool good = take_chunk(job, chunk, room);
    if (good && from < n)
        good = job->place->write(job->place->arg, at + from - job->token_bytes, room + from, n - from, job->e);
    if (!good) chunk_fails(job, chunk);
}

static size_t chunks_of(size_t payload_bytes)
{
    return ceil_div(payload_bytes, CHUNK_BYTES);
}

static void head_hash(const uint8_t *head, const uint8_t *proofs, size_t chunks, uint8_t out[static PROOF_BYTES])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, PROOF_BYTES);
    crypto_generichash_update(&state, head, AT_HASH);
    crypto_generichash_update(&state, proofs, chunks * PROOF_BYTES);
    crypto_generichash_final(&state, out, PROOF_BYTES);
}

static bool rooms_take(struct chunk_job *job, team *t, err *e)
{
    size_t threads = t != NULL ? team_threads(t) : 1;
    size_t chunks = chunks_of(job->payload_bytes);
    job->proofs = calloc(chunks, PROOF_BYTES);
    job->rooms = malloc(threads * CHUNK_BYTES);
    job->first_byte = HEAD_BYTES + chunks * PROOF_BYTES;
    atomic_store(&job->failed, SIZE_MAX);
    return (job->proofs != NULL && job->rooms != NULL) || fail(e, ERR_MEMORY, ERR_NO_OFFSET, "session: no memory");
}

static void rooms_give(struct chunk_job *job)
{
    free(job->proofs);
    free(job->rooms);
    free(job->front);
}

/* ---- writing ---- */

bool saved_put(const char *path, const uint8_t *key, const struct saved_place *place, const int32_t *ids, size_t count,
               size_t stream_bytes, err *e)
{
    uint8_t head[HEAD_BYTES] = { 0 };
    struct out_file file = { .fd = -1 };
    struct chunk_job job = { .place = place, .head = head, .key = key, .e = e, .tokens = ids, .token_bytes = 4 * count,
                             .payload_bytes = 4 * count + stream_bytes };
    memcpy(head, MAGIC, sizeof MAGIC);
    memcpy(head + AT_BINDING, place->binding, PROOF_BYTES);
    le_put_u32(head + AT_VERSION, VERSION);
    le_put_u32(head + AT_SECRET, key != NULL);
    le_put_u64(head + AT_PAYLOAD, job.payload_bytes);
    le_put_u32(head + AT_CHUNK, CHUNK_BYTES);
    le_put_u32(head + AT_TOKENS, (uint32_t)count);
    if (key != NULL) randombytes_buf(head + AT_NONCE, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
    bool good = rooms_take(&job, place->team, e) && out_begin(&file, path, e);
    if (good && fchmod(file.fd, 0600) != 0) { /* a conversation is nobody else's, whatever the umask */
        good = fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s", path, strerror(errno));
        out_abandon(&file);
    }
    if (good) {
        size_t chunks = chunks_of(job.payload_bytes);
        job.fd = file.fd;
        run_tiles(place->team, chunks, write_chunk, &job);
        head_hash(head, job.proofs, chunks, head + AT_HASH);
        good = atomic_load(&job.failed) == SIZE_MAX && write_at(file.fd, head, HEAD_BYTES, 0) &&
               write_at(file.fd, job.proofs, chunks * PROOF_BYTES, HEAD_BYTES);
        if (!good) err_set(e, ERR_IO, ERR_NO_OFFSET, "%s: can not be written: %s", path, strerror(errno));
        good = good && out_end(&file, e);
        if (!good) out_abandon(&file);
    }
    rooms_give(&job);
    return good;
}

/* ---- reading ---- */

/* What the head says against the file's size, this model and these settings. */
static bool head_check(const char *path, const uint8_t *head, uint64_t file_bytes, bool has_key, const uint8_t *bound,
                       size_t ctx_tok, err *e)
{
    uint64_t payload = le_u64(head + AT_PAYLOAD), tokens = le_u32(head + AT_TOKENS);
    if (memcmp(head, MAGIC, sizeof MAGIC) != 0) return fail(e, ERR_VALUE, 0, "%s: no saved session", path);
    if (le_u32(head + AT_VERSION) != VERSION || le_u32(head + AT_CHUNK) != CHUNK_BYTES)
        return fail(e, ERR_UNSUPPORTED, AT_VERSION, "%s: saved session of version %u, this program has %d", path,
                    le_u32(head + AT_VERSION), VERSION);
    if (le_u32(head + AT_SECRET) != (has_key ? 1u : 0u))
        return fail(e, ERR_VALUE, AT_SECRET, "%s: saved session %s", path,
                    has_key ? "without a key, one was given" : "with a key, none was given (--session-key FILE)");
    if (sodium_memcmp(head + AT_BINDING, bound, PROOF_BYTES) != 0)
        return fail(e, ERR_VALUE, AT_BINDING, "%s: saved session of another model, version or setting", path);
    if (tokens > ctx_tok || payload < 4 * tokens + KV_SAVE_HEAD_BYTES || payload > file_bytes ||
        file_bytes != HEAD_BYTES + payload + (payload + CHUNK_BYTES - 1) / CHUNK_BYTES * PROOF_BYTES)
        return fail(e, ERR_TRUNCATED, AT_PAYLOAD, "%s: saved session of %llu bytes in a file of %llu", path,
                    (unsigned long long)payload, (unsigned long long)file_bytes);
    return true;
}

/* The tokens and the stream's head behind them, proven before anything else is taken from the file. */
static bool take_front(struct chunk_job *job)
{
    size_t want = job->token_bytes + KV_SAVE_HEAD_BYTES;
    job->front = malloc(want);
    for (size_t at = 0; at < want; at += CHUNK_BYTES) { /* the head may lie across two chunks */
        if (job->front == NULL || !take_chunk(job, at / CHUNK_BYTES, job->rooms)) return false;
        memcpy(job->front + at, job->rooms, min_size(CHUNK_BYTES, want - at));
    }
    for (size_t i = 0; i < job->token_bytes; i += 4) { /* in place, in this machine's order */
        int32_t id = (int32_t)le_u32(job->front + i);
        memcpy(job->front + i, &id, sizeof id);
    }
    return true;
}

static bool restore(const char *path, struct chunk_job *job, err *e)
{
    const struct saved_place *place = job->place;
    uint8_t hash[PROOF_BYTES];
    size_t chunks = chunks_of(job->payload_bytes);
    bool whole = read_at(job->fd, job->proofs, chunks * PROOF_BYTES, HEAD_BYTES);
    head_hash(job->head, job->proofs, chunks, hash);
    if (!whole || sodium_memcmp(hash, job->head + AT_HASH, sizeof hash) != 0 || !take_front(job))
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: saved session is damaged, or of another key", path);
    if (!place->begin(place->arg, (const int32_t *)(const void *)job->front, job->token_bytes / 4,
                      job->front + job->token_bytes, job->payload_bytes - job->token_bytes, e)) {
        err_prefix(e, path);
        return false;
    }
    run_tiles(place->team, chunks, read_chunk, job);
    size_t bad = atomic_load(&job->failed);
    if (bad != SIZE_MAX)
        err_set(e, ERR_VALUE, job->first_byte + bad * CHUNK_BYTES, "%s: saved session is damaged in chunk %zu", path,
                bad);
    return place->end(place->arg, bad == SIZE_MAX, e) && bad == SIZE_MAX;
}

/* A hash proves that bytes are whole, not who wrote them: without a key they have to be this user's own, and nobody
 * else's to change. A key proves both, and belongs to one principal. */
static bool owner_check(const char *path, const struct stat *facts, err *e)
{
    if (facts->st_uid != geteuid())
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: saved session of user %u, this is user %u (--session-key FILE)",
                    path, facts->st_uid, geteuid());
    if ((facts->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: saved session that others may write, mode %03o (--session-key "
                    "FILE)", path, facts->st_mode & 0777u);
    return true;
}

bool saved_take(const char *path, const uint8_t *key, const struct saved_place *place, err *e)
{
    uint8_t head[HEAD_BYTES];
    struct stat facts;
    struct chunk_job job = { .place = place, .head = head, .key = key, .e = e };
    job.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (job.fd < 0) return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s", path, strerror(errno));
    bool good = fstat(job.fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size >= HEAD_BYTES &&
                read_at(job.fd, head, HEAD_BYTES, 0);
    if (!good)
        err_set(e, ERR_TRUNCATED, ERR_NO_OFFSET, "%s: no saved session: shorter than %d bytes", path, HEAD_BYTES);
    good = good && (key != NULL || owner_check(path, &facts, e)) &&
           head_check(path, head, (uint64_t)facts.st_size, key != NULL, place->binding, place->ctx_tok, e);
    if (good) {
        job.payload_bytes = (size_t)le_u64(head + AT_PAYLOAD);
        job.token_bytes = 4 * (size_t)le_u32(head + AT_TOKENS);
        good = rooms_take(&job, place->team, e) && restore(path, &job, e);
    }
    close(job.fd);
    rooms_give(&job);
    return good;
}
