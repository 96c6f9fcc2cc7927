/* See corpus.h. */
#include "train/corpus.h"

#include "base/file.h"
#include "base/le.h"
#include "base/limits.h"
#include "train/tasks.h"

#include <sodium.h>
#include <stdio.h>

bool path_join(view folder, const char *name, char out[static PATH_BYTES], err *e)
{
    int n = snprintf(out, PATH_BYTES, "%.*s%s%s", (int)folder.len_bytes, (const char *)folder.ptr,
                     name[0] != 0 ? "/" : "", name);
    return (n > 0 && n < PATH_BYTES) || fail(e, ERR_LIMIT, ERR_NO_OFFSET, "path: over %d bytes", PATH_BYTES - 1);
}

void vocab_hash(const tokenizer *t, uint8_t out[SHARD_HASH_BYTES])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, SHARD_HASH_BYTES);
    for (size_t id = 0; id < tokenizer_count(t); id++) {
        view text = tokenizer_text(t, (int32_t)id);
        uint8_t head[8];
        le_put_u32(head, (uint32_t)text.len_bytes);
        le_put_u32(head + 4, (uint32_t)tokenizer_kind(t, (int32_t)id));
        crypto_generichash_update(&state, head, sizeof head);
        crypto_generichash_update(&state, text.ptr, text.len_bytes);
    }
    crypto_generichash_final(&state, out, SHARD_HASH_BYTES);
}

/* One side: training, or held out. Both grow in reserved address space. */
struct side {
    arena tokens, docs;
    size_t token_count, doc_count;
};

enum { SIDE_BYTES_LOG2 = 36 }; /* addresses, not memory: 2^34 tokens */

struct maker {
    const struct settings *settings;
    const tokenizer *t;
    arena *scratch;
    struct side train, held_out;
    struct corpus_part *part;
    uint16_t source;
    int32_t end_of_text;
};

static bool side_new(struct side *s, err *e)
{
    return arena_new(&s->tokens, (size_t)1 << SIDE_BYTES_LOG2, e) && arena_new(&s->docs, (size_t)1 << 33, e);
}

static void side_free(struct side *s)
{
    arena_free(&s->tokens);
    arena_free(&s->docs);
}

static bool side_token(struct side *s, int32_t id, bool no_loss, err *e)
{
    uint32_t *at = ARENA_ARRAY(&s->tokens, uint32_t, 1, "tokens", e);
    if (at == NULL) return false;
    *at = (uint32_t)id | (no_loss ? NO_LOSS_BIT : 0);
    s->token_count++;
    return true;
}

static bool encode_part(struct maker *m, struct side *s, view text, bool special, bool no_loss, err *e)
{
    size_t mark = m->scratch->used_bytes, max = tokenizer_ids_max(m->t, text.len_bytes), count;
    int32_t *ids = ARENA_ARRAY(m->scratch, int32_t, max, "token ids", e);
    bool good = ids != NULL && tokenizer_encode(m->t, text, special, ids, max, &count, m->scratch, e);
    for (size_t i = 0; good && i < count; i++) good = side_token(s, ids[i], no_loss, e);
    arena_rewind(m->scratch, mark);
    return good;
}

static size_t find_text(view in, const char *what)
{
    const void *at = in.len_bytes == 0 ? NULL : memmem(in.ptr, in.len_bytes, what, strlen(what));
    return at == NULL ? in.len_bytes : (size_t)((const uint8_t *)at - in.ptr);
}

/* Of a chat only what the assistant says carries a loss, the end of its turn included. */
static bool encode_chat(struct maker *m, struct side *s, view text, err *e)
{
    static const char begin[] = "<|im_start|>assistant\n", end[] = "<|im_end|>";
    while (text.len_bytes > 0) {
        size_t head = find_text(text, begin);
        if (head < text.len_bytes) head += sizeof begin - 1;
        if (!encode_part(m, s, (view){ text.ptr, head }, true, true, e)) return false;
        text = view_after(text, head);
        size_t said = find_text(text, end);
        if (said < text.len_bytes) said += sizeof end - 1;
        if (said > 0 && !encode_part(m, s, (view){ text.ptr, said }, true, false, e)) return false;
        text = view_after(text, said);
    }
    return true;
}

static bool add_document(struct maker *m, view text, bool chat, bool held, uint16_t flags, err *e)
{
    struct side *s = held ? &m->held_out : &m->train;
    struct doc *d = ARENA_ARRAY(&s->docs, struct doc, 1, "documents", e);
    if (d == NULL) return false;
    *d = (struct doc){ .first = s->token_count, .source = m->source, .flags = flags };
    if (!side_token(s, m->end_of_text, false, e)) return false;
    bool good = chat ? encode_chat(m, s, text, e) : encode_part(m, s, text, false, false, e);
    d->count = s->token_count - d->first;
    s->doc_count++;
    *(held ? &m->part->held_out_tokens : &m->part->tokens) += d->count;
    return good;
}

static bool take_document(void *arg, view name, view text, bool chat, err *e)
{
    struct maker *m = arg;
    uint64_t h = text_hash(name.len_bytes > 0 ? name : text);
    bool held = (double)(h >> 11) * 0x1p-53 < m->settings->held_out_share;
    return add_document(m, text, chat, held, 0, e);
}

static bool read_source(struct maker *m, struct text_filter *f, view path, err *e)
{
    char name[PATH_BYTES];
    view file;
    if (!path_join(path, "", name, e) || !file_map(name, &file, e)) return false;
    struct text_counts before = f->counts;
    bool good = records_read(f, name, file, take_document, m, m->scratch, e);
    if (!good) err_prefix(e, name);
    const size_t *after = (const size_t *)&f->counts, *old = (const size_t *)&before;
    size_t *out = (size_t *)&m->part->counts;
    for (size_t i = 0; i < sizeof before / sizeof(size_t); i++) out[i] = after[i] - old[i];
    file_unmap(&file);
    if (good && m->part->tokens + m->part->held_out_tokens == 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: no document is left after cleaning", name);
    return good;
}

static bool make_tasks(struct maker *m, err *e)
{
    static char room[TASK_BYTES_MAX + 4096];
    struct task task;
    for (uint64_t i = 0; i < m->settings->tasks; i++) {
        task_make((size_t)(i % task_kinds()), m->settings->seed, i, false, &task);
        size_t len = task_render(&task, room, sizeof room);
        m->part->counts.documents++;
        m->part->counts.bytes_out += len;
        if (!add_document(m, (view){ (uint8_t *)room, len }, true, false, DOC_GENERATED, e)) return false;
    }
    return true;
}

static bool hold_out(const struct settings *s, struct text_filter *f, err *e)
{
    for (size_t i = 0; i < s->held_out_count; i++) {
        char name[PATH_BYTES];
        view file;
        if (!path_join(s->held_out[i], "", name, e) || !file_map(name, &file, e)) return false;
        bool good = text_hold_out(f, file, e);
        file_unmap(&file);
        if (!good) return false;
    }
    return true;
}

static bool write_side(const struct maker *m, const struct side *s, const char *name, uint8_t hash[SHARD_HASH_BYTES],
                       err *e)
{
    char path[PATH_BYTES];
    uint8_t vocab[SHARD_HASH_BYTES];
    vocab_hash(m->t, vocab);
    return path_join(m->settings->shards, name, path, e) &&
           shard_write(path, vocab, (const uint32_t *)(const void *)s->tokens.base, s->token_count,
                       (const struct doc *)(const void *)s->docs.base, s->doc_count, m->scratch, hash, e);
}

static bool write_manifest(const struct maker *m, const struct corpus_report *r, err *e)
{
    enum { LINE = 8192 };
    char path[PATH_BYTES], hex[2][2 * SHARD_HASH_BYTES + 1];
    size_t room = (r->part_count + 4) * LINE, at = 0;
    char *text = ARENA_ARRAY(m->scratch, char, room, "manifest", e);
    if (text == NULL || !path_join(m->settings->shards, "manifest.tsv", path, e)) return false;
    sodium_bin2hex(hex[0], sizeof hex[0], r->train_hash, SHARD_HASH_BYTES);
    sodium_bin2hex(hex[1], sizeof hex[1], r->held_out_hash, SHARD_HASH_BYTES);
    at += (size_t)snprintf(
        text, room,
        "train.shard\t%s\t%zu documents\t%zu tokens\nheld-out.shard\t%s\t%zu documents\t"
        "%zu tokens\npasses\tsource\tbytes\trecords\tparagraphs\tinvalid\tsame\tnear\tleaked\tdocuments"
        "\tbytes kept\ttokens\theld-out tokens\n",
        hex[0], r->documents, r->tokens, hex[1], r->held_out_documents, r->held_out_tokens);
    for (size_t i = 0; i < r->part_count && at + LINE <= room; i++) {
        const struct corpus_part *p = &r->parts[i];
        const struct text_counts *c = &p->counts;
        view name = p->path.len_bytes > 0 ? p->path : view_of("generated tasks");
        double passes = i < m->settings->source_count ? m->settings->sources[i].passes : 1;
        int n = snprintf(text + at, LINE, "%g\t%.*s\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\n", passes,
                         (int)name.len_bytes, (const char *)name.ptr, c->bytes_in, c->records, c->paragraphs,
                         c->invalid, c->exact, c->near, c->leaked, c->documents, c->bytes_out, p->tokens,
                         p->held_out_tokens);
        at += n < LINE ? (size_t)n : LINE - 1;
    }
    return file_write(path, &(view){ (uint8_t *)text, at }, 1, e);
}

static bool make_parts(struct maker *m, struct text_filter *f, corpus_progress *progress, void *progress_arg,
                       struct corpus_report *out, err *e)
{
    if (!hold_out(m->settings, f, e)) return false;
    for (size_t i = 0; i < out->part_count; i++) {
        m->part = &out->parts[i];
        m->source = (uint16_t)i;
        bool tasks = i == m->settings->source_count;
        if (!tasks) m->part->path = m->settings->sources[i].path;
        if (progress != NULL) progress(progress_arg, tasks ? view_of("generated tasks") : m->part->path);
        if (!(tasks ? make_tasks(m, e) : read_source(m, f, m->part->path, e))) return false;
    }
    if (m->train.doc_count == 0) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "data: no document to learn from");
    if (m->held_out.doc_count == 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "data: no document held out: held_out_share %g is too small",
                    m->settings->held_out_share);
    out->documents = m->train.doc_count;
    out->tokens = m->train.token_count;
    out->held_out_documents = m->held_out.doc_count;
    out->held_out_tokens = m->held_out.token_count;
    return write_side(m, &m->train, "train.shard", out->train_hash, e) &&
           write_side(m, &m->held_out, "held-out.shard", out->held_out_hash, e) && write_manifest(m, out, e);
}

bool corpus_make(const struct settings *s, const tokenizer *t, corpus_progress *progress, void *progress_arg, arena *a,
                 struct corpus_report *out, err *e)
{
    struct maker m = { .settings = s, .t = t, .scratch = a, .end_of_text = tokenizer_facts(t)->bos };
    struct text_filter f;
    *out = (struct corpus_report){ .part_count = s->source_count + 1 };
    if (m.end_of_text < 0)
        return fail(e, ERR_MISSING, ERR_NO_OFFSET, "tokenizer: no bos token to begin documents with");
    if (s->source_count >= UINT16_MAX) return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "sources: %zu", s->source_count);
    out->parts = ARENA_ARRAY(a, struct corpus_part, out->part_count, "sources", e);
    if (out->parts == NULL || !text_filter_new(&f, e)) return false;
    bool good = side_new(&m.train, e) && side_new(&m.held_out, e) && make_parts(&m, &f, progress, progress_arg, out, e);
    side_free(&m.train);
    side_free(&m.held_out);
    text_filter_free(&f);
    return good;
}
