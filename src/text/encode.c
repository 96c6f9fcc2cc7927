/* From runs to ids: special tokens are cut out of the raw text first, leftmost, then longest, each only where its
 * origin allows it; what stays between them goes to the family. See tokenizer.h. */
#include "base/checked.h"
#include "text/merge.h"

#include <assert.h>

/* Where in the joined text a kind of token may arise: up to a byte, then not before another. One for control tokens,
 * one for guarded tokens; positions only go forward, so both walk over the runs once. */
struct reach {
    const struct text_run *runs;
    size_t run_count, run; /* runs[run] holds `run_begin` */
    size_t run_begin;
    size_t end;            /* bytes from the run on up to here are allowed; at or before run_begin: this run is not */
    bool control;
};

static bool run_allows(const struct reach *r, size_t run)
{
    const struct text_run *x = &r->runs[run];
    return r->control ? x->special_allowed && !x->user_text : !x->user_text;
}

/* The end of the allowed bytes around `at`, or `at` where it is not allowed. */
static size_t reach_end(struct reach *r, size_t at)
{
    while (r->run < r->run_count && at >= r->run_begin + r->runs[r->run].text.len_bytes)
        r->run_begin += r->runs[r->run++].text.len_bytes;
    if (r->run == r->run_count || !run_allows(r, r->run)) return at;
    if (r->end > at) return r->end;
    r->end = r->run_begin;
    for (size_t i = r->run; i < r->run_count && run_allows(r, i); i++) r->end += r->runs[i].text.len_bytes;
    return r->end;
}

struct encoding {
    const tokenizer *t;
    view text;
    const uint64_t *guarded;
    struct reach control, unguarded;
    id_sink sink;
};

/* The longest special token at `at` that may arise there, or -1. */
static int32_t special_at(struct encoding *x, size_t at, size_t *len_bytes)
{
    const trie *special = &x->t->special;
    int32_t found = -1;
    uint32_t node = TRIE_ROOT;
    for (size_t i = at; i < x->text.len_bytes; i++) {
        node = trie_next(special, node, x->text.ptr[i]);
        if (node == TRIE_NONE) break;
        int32_t id = special->tokens[node];
        if (id < 0) continue;
        if (x->t->kinds[id] == TOKEN_CONTROL && i + 1 > reach_end(&x->control, at)) continue;
        if (x->t->kinds[id] == TOKEN_USER_DEFINED && x->guarded != NULL && bitmap_has(x->guarded, id) &&
            i + 1 > reach_end(&x->unguarded, at))
            continue;
        found = id;
        *len_bytes = i + 1 - at;
    }
    return found;
}

static bool encode_stretch(struct encoding *x, size_t begin, size_t end, const uint8_t *user_text, arena *scratch,
                           err *e)
{
    static encode_fn *const ENCODE[TOKENIZER_MODELS] = { /* ORDER tokenizer_model */
        spm_encode, bpe_encode, unigram_encode, wordpiece_encode
    };
    if (begin == end) return true;
    size_t mark = scratch->used_bytes;
    stretch s = { { x->text.ptr + begin, end - begin }, user_text == NULL ? NULL : user_text + begin, x->guarded };
    bool good = ENCODE[x->t->facts.model](x->t, &s, &x->sink, scratch, e);
    arena_rewind(scratch, mark);
    return good;
}

static bool encode_all(struct encoding *x, const uint8_t *user_text, arena *scratch, err *e)
{
    size_t begin = 0, at = 0, len;
    while (at < x->text.len_bytes) {
        int32_t id = x->t->special.first[x->text.ptr[at]] == TRIE_NONE ? -1 : special_at(x, at, &len);
        if (id < 0) {
            at++;
            continue;
        }
        if (!encode_stretch(x, begin, at, user_text, scratch, e)) return false;
        sink_put(&x->sink, id);
        begin = at += len;
    }
    return encode_stretch(x, begin, at, user_text, scratch, e);
}

/* One text of all runs: a token border must not depend on where a run ends. */
static bool join_runs(const struct text_run *runs, size_t run_count, arena *scratch, view *out, err *e)
{
    size_t all_bytes = 0, at = 0;
    for (size_t i = 0; i < run_count; i++)
        if (!add_size(all_bytes, runs[i].text.len_bytes, &all_bytes) || all_bytes > TEXT_BYTES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "text: over %d bytes, the most that is tokenized at once",
                        TEXT_BYTES_MAX);
    *out = run_count == 1 ? runs[0].text : (view){ 0 };
    if (run_count <= 1) return true;
    uint8_t *joined = ARENA_ARRAY(scratch, uint8_t, all_bytes, "text", e);
    if (joined == NULL) return false;
    for (size_t i = 0; i < run_count; at += runs[i++].text.len_bytes)
        if (runs[i].text.len_bytes > 0) memcpy(joined + at, runs[i].text.ptr, runs[i].text.len_bytes);
    *out = (view){ joined, all_bytes };
    return true;
}

/* For families that meet user-defined tokens only after normalizing: a mark for each byte. NULL where nothing could be
 * forbidden anyway. */
static bool mark_user_text(const tokenizer *t, const struct text_run *runs, size_t run_count, const uint64_t *guarded,
                           size_t text_bytes, arena *scratch, const uint8_t **out, err *e)
{
    bool any = false;
    *out = NULL;
    for (size_t i = 0; i < run_count; i++) any |= runs[i].user_text;
    if (!any || guarded == NULL || t->user_defined.node_count <= 1) return true;
    uint8_t *marks = ARENA_ARRAY(scratch, uint8_t, text_bytes, "origins of text", e);
    if (marks == NULL) return false;
    for (size_t i = 0, at = 0; i < run_count; at += runs[i++].text.len_bytes)
        memset(marks + at, runs[i].user_text, runs[i].text.len_bytes);
    *out = marks;
    return true;
}

bool tokenizer_encode_runs(const tokenizer *t, const struct text_run *runs, size_t run_count, const uint64_t *guarded,
                           int32_t *ids, size_t ids_max, size_t *count, arena *scratch, err *e)
{
    size_t mark = scratch->used_bytes;
    struct encoding x = { .t = t, .guarded = guarded, .sink = { ids, ids_max, 0 } };
    const uint8_t *user_text;
    *count = 0;
    x.control = (struct reach){ .runs = runs, .run_count = run_count, .control = true };
    x.unguarded = (struct reach){ .runs = runs, .run_count = run_count };
    bool good = join_runs(runs, run_count, scratch, &x.text, e) &&
                mark_user_text(t, runs, run_count, guarded, x.text.len_bytes, scratch, &user_text, e) &&
                encode_all(&x, user_text, scratch, e);
    arena_rewind(scratch, mark);
    if (!good) return false;
    *count = x.sink.count;
    if (x.sink.count > ids_max)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "text: %zu tokens, room for %zu", x.sink.count, ids_max);
    return true;
}

bool tokenizer_encode(const tokenizer *t, view text, bool parse_special, int32_t *ids, size_t ids_max, size_t *count,
                      arena *scratch, err *e)
{
    struct text_run run = { .text = text, .special_allowed = parse_special };
    return tokenizer_encode_runs(t, &run, 1, NULL, ids, ids_max, count, scratch, e);
}

static size_t normalized_max(const tokenizer *t, size_t text_bytes)
{
    bool spm = t->facts.model == TOKENIZER_SPM || t->facts.model == TOKENIZER_UNIGRAM;
    return spm ? spm_normalized_max(t, text_bytes) : t->nfc ? 3 * text_bytes : text_bytes;
}

size_t tokenizer_ids_max(const tokenizer *t, size_t text_bytes)
{
    /* A token takes a byte of normalized text; each stretch, so at most each byte, may get a blank in front. */
    return normalized_max(t, text_bytes) + text_bytes;
}

size_t tokenizer_scratch_bytes(const tokenizer *t, size_t text_bytes)
{
    size_t bytes = min_size(text_bytes, TEXT_BYTES_MAX), normalized = normalized_max(t, bytes);
    size_t joined = 2 * bytes + 256;              /* the runs as one text, and their marks */
    size_t texts = 2 * normalized + 256 + bytes * 16; /* normalized, its marks, room to compose */
    size_t words = normalized * 8 + 64;           /* split_text */
    size_t ways = (normalized + 1) * 16;          /* unigram */
    return joined + texts + words + ways + merge_scratch_bytes(normalized);
}
