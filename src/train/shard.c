/* See shard.h. */
#include "train/shard.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/le.h"
#include "base/limits.h"
#include "base/prng.h"

#include <assert.h>
#include <sodium.h>

static const char MAGIC[8] = "HSHARD01";

/* ---- files ---- */

bool shard_write(const char *path, const uint8_t vocab_hash[SHARD_HASH_BYTES], const uint32_t *tokens,
                 size_t token_count, const struct doc *docs, size_t doc_count, arena *scratch,
                 uint8_t hash[SHARD_HASH_BYTES], err *e)
{
    size_t mark = scratch->used_bytes, body_bytes;
    if (!mul_size(token_count, 4, &body_bytes)) return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: too many tokens", path);
    uint8_t *table = ARENA_ARRAY(scratch, uint8_t, doc_count * DOC_BYTES, "shard table", e);
    uint8_t *body = ARENA_ARRAY(scratch, uint8_t, body_bytes, "shard tokens", e), head[SHARD_HEAD_BYTES];
    if (table == NULL || body == NULL) return false;
    memcpy(head, MAGIC, sizeof MAGIC);
    memcpy(head + 8, vocab_hash, SHARD_HASH_BYTES);
    le_put_u64(head + 8 + SHARD_HASH_BYTES, doc_count);
    le_put_u64(head + 16 + SHARD_HASH_BYTES, token_count);
    for (size_t i = 0; i < doc_count; i++) {
        le_put_u32(table + i * DOC_BYTES, (uint32_t)docs[i].count);
        le_put_u16(table + i * DOC_BYTES + 4, docs[i].source);
        le_put_u16(table + i * DOC_BYTES + 6, docs[i].flags);
    }
    for (size_t i = 0; i < token_count; i++) le_put_u32(body + 4 * i, tokens[i]);
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, SHARD_HASH_BYTES);
    const view parts[4] = { { head, sizeof head }, { table, doc_count * DOC_BYTES }, { body, body_bytes },
                            { hash, SHARD_HASH_BYTES } };
    for (size_t i = 0; i < 3; i++) crypto_generichash_update(&state, parts[i].ptr, parts[i].len_bytes);
    crypto_generichash_final(&state, hash, SHARD_HASH_BYTES);
    bool good = file_write(path, parts, 4, e);
    arena_rewind(scratch, mark);
    return good;
}

static bool check_hash(struct shard *s, const char *path, err *e)
{
    uint8_t hash[SHARD_HASH_BYTES];
    size_t body_bytes = s->file.len_bytes - SHARD_HASH_BYTES;
    crypto_generichash(hash, sizeof hash, s->file.ptr, body_bytes, NULL, 0);
    memcpy(s->hash, s->file.ptr + body_bytes, SHARD_HASH_BYTES);
    if (memcmp(hash, s->hash, sizeof hash) != 0)
        return fail(e, ERR_VALUE, body_bytes, "%s: the hash does not fit the content: the file is damaged", path);
    return true;
}

static bool read_docs(struct shard *s, const char *path, arena *a, err *e)
{
    size_t first = 0;
    s->docs = ARENA_ARRAY(a, struct doc, s->doc_count, "documents", e);
    if (s->docs == NULL) return false;
    for (size_t i = 0; i < s->doc_count; i++) {
        const uint8_t *at = s->file.ptr + SHARD_HEAD_BYTES + i * DOC_BYTES;
        s->docs[i] = (struct doc){ first, le_u32(at), le_u16(at + 4), le_u16(at + 6) };
        first += s->docs[i].count; /* at most 2^32 documents of 2^32 tokens */
        if (s->docs[i].count == 0 || first > s->token_count)
            return fail(e, ERR_VALUE, SHARD_HEAD_BYTES + i * DOC_BYTES, "%s: document %zu: %zu tokens, %zu left", path,
                        i, s->docs[i].count, s->token_count - (first - s->docs[i].count));
    }
    if (first != s->token_count)
        return fail(e, ERR_VALUE, SHARD_HEAD_BYTES, "%s: documents hold %zu tokens of %zu", path, first,
                    s->token_count);
    return true;
}

static bool read_head(struct shard *s, const char *path, const uint8_t vocab_hash[SHARD_HASH_BYTES], err *e)
{
    const uint8_t *head = s->file.ptr;
    if (s->file.len_bytes < SHARD_HEAD_BYTES + SHARD_HASH_BYTES || memcmp(head, MAGIC, sizeof MAGIC) != 0)
        return fail(e, ERR_VALUE, 0, "%s: not a token shard", path);
    if (memcmp(head + 8, vocab_hash, SHARD_HASH_BYTES) != 0)
        return fail(e, ERR_VALUE, 8, "%s: made with another vocabulary; run `hearth data` again", path);
    uint64_t docs = le_u64(head + 8 + SHARD_HASH_BYTES), tokens = le_u64(head + 16 + SHARD_HASH_BYTES);
    uint64_t left = s->file.len_bytes - SHARD_HEAD_BYTES - SHARD_HASH_BYTES;
    if (docs == 0 || docs > left / DOC_BYTES || tokens != (left - docs * DOC_BYTES) / 4 ||
        (left - docs * DOC_BYTES) % 4 != 0 || docs >= UINT32_MAX)
        return fail(e, ERR_TRUNCATED, 40, "%s: %llu documents and %llu tokens do not fill %llu bytes", path,
                    (unsigned long long)docs, (unsigned long long)tokens, (unsigned long long)s->file.len_bytes);
    s->doc_count = (size_t)docs;
    s->token_count = (size_t)tokens;
    s->tokens = head + SHARD_HEAD_BYTES + docs * DOC_BYTES;
    return true;
}

bool shard_open(const char *path, const uint8_t vocab_hash[SHARD_HASH_BYTES], size_t vocab, arena *a, struct shard *out,
                err *e)
{
    *out = (struct shard){ 0 };
    if (!file_map(path, &out->file, e)) return false;
    bool good = read_head(out, path, vocab_hash, e) && check_hash(out, path, e) && read_docs(out, path, a, e);
    for (size_t i = 0; good && i < out->token_count; i++)
        if ((le_u32(out->tokens + 4 * i) & ~NO_LOSS_BIT) >= vocab)
            good = fail(e, ERR_VALUE, (uint64_t)(out->tokens + 4 * i - out->file.ptr),
                        "%s: token %zu: id %u, below %zu", path, i, le_u32(out->tokens + 4 * i) & ~NO_LOSS_BIT, vocab);
    if (!good) shard_close(out);
    return good;
}

void shard_close(struct shard *s)
{
    file_unmap(&s->file);
}

/* ---- order ---- */

/* How often a document stands in a round: whole passes, and the fraction by a draw of (round, document). */
static size_t doc_times(const struct stream *s, size_t doc)
{
    double passes = s->passes[s->shard->docs[doc].source];
    size_t whole = (size_t)passes;
    return whole + (prng_unit(s->seed, 0x70617373 /* "pass" */ + (s->round << 32), doc) < passes - (double)whole);
}

/* Fisher and Yates, from the end. The remainder of 2^64 is not uniform by one part in 2^32: no matter here. */
static void shuffle(uint32_t *items, size_t count, uint64_t seed, uint64_t stream)
{
    for (size_t i = count; i > 1; i--) {
        uint32_t words[4];
        prng_block(seed, stream, i, words);
        size_t j = (size_t)(((uint64_t)words[0] << 32 | words[1]) % i);
        uint32_t swap = items[i - 1];
        items[i - 1] = items[j];
        items[j] = swap;
    }
}

static void stream_round(struct stream *s, uint64_t round)
{
    uint64_t tokens = 0;
    s->round = round;
    s->order_count = 0;
    for (size_t i = 0; i < s->shard->doc_count; i++)
        for (size_t n = doc_times(s, i); n > 0; n--) s->order[s->order_count++] = (uint32_t)i;
    assert(s->order_count <= s->order_max);
    shuffle(s->order, s->order_count, s->seed, 0x73687566 /* "shuf" */ + (round << 32));
    for (size_t i = 0; i < s->order_count; i++) {
        s->begins[i] = tokens;
        tokens += s->shard->docs[s->order[i]].count;
    }
    s->begins[s->order_count] = tokens;
    s->row_count = (size_t)(tokens / s->row_tok);
    assert(s->row_count <= s->rows_max);
    for (size_t i = 0; i < s->row_count; i++) s->rows[i] = (uint32_t)i;
    shuffle(s->rows, s->row_count, s->seed, 0x726f7773 /* "rows" */ + (round << 32));
}

bool stream_make(struct stream *s, const struct shard *shard, const double *passes, size_t sources, size_t row_tok,
                 uint64_t seed, arena *a, err *e)
{
    uint64_t tokens_max = 0;
    *s = (struct stream){ .shard = shard, .passes = passes, .seed = seed, .row_tok = row_tok };
    for (size_t i = 0; i < shard->doc_count; i++) {
        const struct doc *d = &shard->docs[i];
        if (d->source >= sources)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "document %zu is of source %u, the configuration has %zu", i,
                        d->source, sources);
        if (passes[d->source] == 0) continue;
        s->order_max += (size_t)passes[d->source] + 1;
        tokens_max += d->count * ((uint64_t)passes[d->source] + 1);
    }
    if (tokens_max / row_tok >= UINT32_MAX || s->order_max >= UINT32_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "data: %llu tokens a round are over 2^32 rows",
                    (unsigned long long)tokens_max);
    s->rows_max = (size_t)(tokens_max / row_tok);
    s->order = ARENA_ARRAY(a, uint32_t, s->order_max, "data order", e);
    s->begins = ARENA_ARRAY(a, uint64_t, s->order_max + 1, "data order", e);
    s->rows = ARENA_ARRAY(a, uint32_t, s->rows_max, "data order", e);
    if (s->order == NULL || s->begins == NULL || s->rows == NULL) return false;
    stream_round(s, 0);
    if (s->row_count == 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "data: a round has less than one row of %zu tokens", row_tok);
    return true;
}

/* Moves to the round that holds a row. Going back starts again at round 0: a run goes forward, and a resumed one comes
 * here once. */
static void stream_seek(struct stream *s, uint64_t row)
{
    if (row < s->rows_before) {
        s->rows_before = 0;
        stream_round(s, 0);
    }
    while (row >= s->rows_before + s->row_count) {
        s->rows_before += s->row_count;
        stream_round(s, s->round + 1);
    }
}

/* The document of this round's order that holds stream position `at`. */
static size_t doc_at(const struct stream *s, uint64_t at)
{
    size_t low = 0, high = s->order_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (s->begins[middle] <= at) low = middle;
        else high = middle;
    }
    return low;
}

static uint32_t token_at(const struct shard *s, const struct doc *d, size_t i)
{
    return le_u32(s->tokens + 4 * (d->first + i));
}

enum { GOLDFISH_TOK = 13 }; /* tokens whose hash decides: the paper's h */

/* Hans et al., "Be like a goldfish, don't memorize!", arXiv 2406.10209: a target is dropped by a hash of the tokens
 * before it, so a passage that comes again is dropped at the same places. */
static bool goldfish_drops(const struct shard *s, const struct doc *d, size_t i, uint64_t goldfish)
{
    if (goldfish == 0 || (d->flags & DOC_GENERATED) != 0 || i < GOLDFISH_TOK) return false;
    uint64_t h = 0;
    for (size_t j = i - GOLDFISH_TOK; j < i; j++) {
        uint32_t words[4];
        prng_block(h, token_at(s, d, j) & ~NO_LOSS_BIT, 0x676f6c64, words);
        h = (uint64_t)words[0] << 32 | words[1];
    }
    return h % goldfish == 0;
}

/* The target of a document's token i: the next one, or the end-of-text token that every document begins with. */
static int32_t target_of(const struct shard *s, const struct doc *d, size_t i, uint64_t goldfish)
{
    uint32_t next = i + 1 < d->count ? token_at(s, d, i + 1) : token_at(s, d, 0) & ~NO_LOSS_BIT;
    if ((next & NO_LOSS_BIT) != 0 || goldfish_drops(s, d, i + 1, goldfish)) return -1;
    return (int32_t)next;
}

void stream_row(struct stream *s, uint64_t row, uint64_t goldfish, int32_t *tok, int32_t *target, int32_t *starts)
{
    stream_seek(s, row);
    uint64_t from = (uint64_t)s->rows[row - s->rows_before] * s->row_tok;
    size_t in_order = doc_at(s, from);
    for (size_t at = 0; at < s->row_tok; in_order++) {
        const struct doc *d = &s->shard->docs[s->order[in_order]];
        size_t i = (size_t)(from + at - s->begins[in_order]), begin = at;
        for (; i < d->count && at < s->row_tok; i++, at++) {
            tok[at] = (int32_t)(token_at(s->shard, d, i) & ~NO_LOSS_BIT);
            target[at] = target_of(s->shard, d, i, goldfish);
            starts[at] = (int32_t)begin;
        }
    }
}
