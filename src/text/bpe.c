/* Byte-level BPE ("gpt2"). A vocabulary writes each byte as one character of an alphabet of 256 (the bytes that are
 * printable in Latin-1 stand for themselves, the others are U+0100 and up, in order; Radford et al., 2019, encoder.py);
 * merges name pairs of tokens, the first merged first.
 *
 * Text: form C where the author says so, cut into words (split.c), a word's bytes merged (merge.c). A byte that has no
 * token is left out, as the authors' tokenizers leave it out (falcon lacks a few control bytes).
 *
 * Control tokens never come out of merges: a merge that would make one, or a user-defined token, is dropped when the
 * vocabulary is loaded (user-defined tokens were cut out of the text before). */
#include "base/checked.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "text/merge.h"

#include <assert.h>

enum { MERGE_RANK_BITS = 22, MERGE_ID_BITS = 21 };
#define MERGE_EMPTY UINT64_MAX
_Static_assert(VOCAB_MAX <= 1 << MERGE_ID_BITS, "a slot holds two ids and a rank");
_Static_assert(MERGES_MAX < 1 << MERGE_RANK_BITS, "the last rank marks an empty slot");

uint32_t byte_to_code(uint8_t byte)
{
    if ((byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    if (byte <= 0xA0) return 0x121u + byte - 0x7F;
    return 0x143; /* 0xAD */
}

int code_to_byte(uint32_t code)
{
    if (code < 0x100) return byte_to_code((uint8_t)code) == code ? (int)code : -1;
    if (code <= 0x120) return (int)code - 0x100;
    if (code <= 0x142) return (int)code - 0x121 + 0x7F;
    return code == 0x143 ? 0xAD : -1;
}

/* Whether ordinary text may become this token. */
static bool may_be_made(const tokenizer *t, int32_t id)
{
    return t->kinds[id] == TOKEN_NORMAL || t->kinds[id] == TOKEN_BYTE;
}

/* ---- the merge table ---- */

static size_t merge_slots(size_t merges)
{
    size_t slots = 16;
    while (slots < 2 * merges) slots *= 2;
    return slots;
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << MERGE_ID_BITS | (uint32_t)right;
}

static size_t pair_slot(uint64_t key, size_t mask)
{
    return hash_mix(key) & mask;
}

/* The rank at which two tokens merge, or RANK_NONE. */
static uint32_t merge_rank(const merge_table *m, int32_t left, int32_t right)
{
    uint64_t key = pair_key(left, right);
    for (size_t at = pair_slot(key, m->mask);; at = (at + 1) & m->mask) {
        if (m->slots[at] == MERGE_EMPTY) return RANK_NONE;
        if (m->slots[at] >> MERGE_RANK_BITS == key) return m->slots[at] & ((1u << MERGE_RANK_BITS) - 1);
    }
}

static bool put_merge(merge_table *m, int32_t left, int32_t right, size_t rank, err *e)
{
    uint64_t key = pair_key(left, right);
    size_t at = pair_slot(key, m->mask), probes = 0;
    for (; m->slots[at] != MERGE_EMPTY; at = (at + 1) & m->mask) {
        if (m->slots[at] >> MERGE_RANK_BITS == key)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "merge %zu: the same pair as merge %zu", rank,
                        (size_t)(m->slots[at] & ((1u << MERGE_RANK_BITS) - 1)));
        if (++probes > PROBES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "merge %zu: %zu pairs with one hash, allowed %d", rank, probes,
                        PROBES_MAX);
    }
    m->slots[at] = key << MERGE_RANK_BITS | rank;
    return true;
}

static bool bad_merge(size_t rank, view merge, const char *what, err *e)
{
    return fail(e, ERR_VALUE, ERR_NO_OFFSET, "merge %zu: \"%.*s\" %s", rank, (int)min_size(merge.len_bytes, 128),
                (const char *)merge.ptr, what);
}

/* Merges are read a batch at a time, in three steps, so that the next step's memory is on its way during this one. */
enum { MERGE_BATCH = 64 };

struct pending_merge {
    view left, right;
    uint64_t left_hash, right_hash, joined_hash;
    int32_t left_id, right_id; /* left_id -1: dropped */
};

static bool parse_merge(const tokenizer *t, struct pending_merge *p, size_t rank, view merge, err *e)
{
    /* Tokens hold no blank (the alphabet has none), but a blank may begin the pair where a file writes one so. */
    const uint8_t *blank = merge.len_bytes < 3 ? NULL : memchr(merge.ptr + 1, ' ', merge.len_bytes - 2);
    if (blank == NULL) return bad_merge(rank, merge, "is not two texts with a blank between them", e);
    p->left = (view){ merge.ptr, (size_t)(blank - merge.ptr) };
    p->right = view_after(merge, p->left.len_bytes + 1);
    if (p->right.len_bytes > TOKEN_BYTES_MAX || p->left.len_bytes > TOKEN_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "merge %zu: texts of %zu and %zu bytes, allowed %d", rank,
                    p->left.len_bytes, p->right.len_bytes, TOKEN_BYTES_MAX);
    p->left_hash = hash_text(p->left);
    p->right_hash = hash_text(p->right);
    p->joined_hash = hash_join(&t->index, p->left_hash, p->right_hash, p->right.len_bytes);
    index_prefetch(&t->index, p->left_hash);
    index_prefetch(&t->index, p->right_hash);
    index_prefetch(&t->index, p->joined_hash);
    return true;
}

static bool find_merge(tokenizer *t, struct pending_merge *p, size_t rank, view merge, err *e)
{
    const view none = { merge.ptr, 0 };
    p->left_id = index_find_pair(&t->index, p->left_hash, p->left, none);
    p->right_id = index_find_pair(&t->index, p->right_hash, p->right, none);
    int32_t joined = index_find_pair(&t->index, p->joined_hash, p->left, p->right);
    if (p->left_id < 0 || p->right_id < 0) return bad_merge(rank, merge, "names a text that is no token", e);
    if (joined < 0) return bad_merge(rank, merge, "makes a text that is no token", e);
    t->merges.joined[rank] = joined;
    if (may_be_made(t, joined))
        __builtin_prefetch(&t->merges.slots[pair_slot(pair_key(p->left_id, p->right_id), t->merges.mask)]);
    else
        p->left_id = -1;
    return true;
}

static bool add_merges(tokenizer *t, const view *merges, size_t merge_count, err *e)
{
    struct pending_merge batch[MERGE_BATCH];
    for (size_t begin = 0; begin < merge_count; begin += MERGE_BATCH) {
        size_t count = min_size(MERGE_BATCH, merge_count - begin);
        for (size_t i = 0; i < count; i++)
            if (!parse_merge(t, &batch[i], begin + i, merges[begin + i], e)) return false;
        for (size_t i = 0; i < count; i++)
            if (!find_merge(t, &batch[i], begin + i, merges[begin + i], e)) return false;
        for (size_t i = 0; i < count; i++)
            if (batch[i].left_id >= 0 && !put_merge(&t->merges, batch[i].left_id, batch[i].right_id, begin + i, e))
                return false;
    }
    return true;
}

static void find_bytes(tokenizer *t)
{
    for (size_t byte = 0; byte < 256; byte++) {
        uint8_t text[4];
        int32_t id = index_find(&t->index, (view){ text, utf8_put(byte_to_code((uint8_t)byte), text) });
        t->byte_ids[byte] = id >= 0 && may_be_made(t, id) ? id : -1;
    }
}

bool bpe_build(tokenizer *t, const struct vocab_source *src, arena *a, err *e)
{
    const struct splitter_name *name = splitter_find(src->pre);
    if (name == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "pre-tokenizer \"%.*s\" is not one this program knows",
                    (int)min_size(src->pre.len_bytes, 64), (const char *)src->pre.ptr);
    t->splitter = name->splitter;
    split_ascii(t->splitter, t->ascii_flags);
    t->nfc = src->normalize_nfc == TRI_UNSET ? name->nfc : src->normalize_nfc == TRI_YES;
    t->ignore_merges = src->ignore_merges == TRI_UNSET ? name->ignore_merges : src->ignore_merges == TRI_YES;
    if (src->add_bos == TRI_UNSET) t->facts.add_bos = name->add_bos;
    find_bytes(t);
    size_t slots = merge_slots(src->merge_count);
    t->merges = (merge_table){ ARENA_ARRAY(a, uint64_t, slots, "merges", e), slots - 1,
                               ARENA_ARRAY(a, int32_t, src->merge_count, "merges", e) };
    if (t->merges.slots == NULL || t->merges.joined == NULL) return false;
    memset(t->merges.slots, 0xFF, slots * sizeof *t->merges.slots);
    return add_merges(t, src->merges, src->merge_count, e);
}

/* ---- text to ids ---- */

static int32_t byte_symbol(const tokenizer *t, view text, size_t *len_bytes)
{
    *len_bytes = 1;
    return t->byte_ids[text.ptr[0]];
}

static void rank_by_merges(const struct merging *m, uint32_t at)
{
    struct symbol *left = &m->symbols[at];
    int32_t right_id = m->symbols[left->next].id;
    left->rank = left->id < 0 || right_id < 0 ? RANK_NONE : merge_rank(&m->t->merges, left->id, right_id);
    if (left->rank != RANK_NONE) left->joined = m->t->merges.joined[left->rank];
}

static void emit_id(const struct merging *m, uint32_t at, id_sink *sink)
{
    if (m->symbols[at].id >= 0) sink_put(sink, m->symbols[at].id);
}

static const struct merge_kind BYTE_MERGES = { byte_symbol, rank_by_merges, emit_id };

/* The token that is this whole word, or -1. */
static int32_t whole_word(const tokenizer *t, view word)
{
    uint8_t text[TOKEN_BYTES_MAX];
    size_t len = 0;
    if (word.len_bytes > TOKEN_BYTES_MAX / 2) return -1; /* two bytes each at most */
    for (size_t i = 0; i < word.len_bytes; i++) len += utf8_put(byte_to_code(word.ptr[i]), text + len);
    int32_t id = index_find(&t->index, (view){ text, len });
    return id >= 0 && may_be_made(t, id) ? id : -1;
}

bool bpe_encode(const tokenizer *t, const stretch *s, id_sink *sink, arena *scratch, err *e)
{
    view text = s->text;
    struct split_text words;
    struct merge_cache cache;
    if (t->nfc && !unicode_nfc(text, scratch, &text, e)) return false;
    if (!split_run(t->splitter, t->ascii_flags, text, &words, scratch, e) ||
        !merge_cache_new(&cache, text.len_bytes, scratch, e))
        return false;
    for (size_t begin = 0, end; begin < words.count; begin = end) {
        end = begin + 1;
        while (end < words.count && (words.flags[end] & SPLIT_PIECE) == 0) end++;
        view word = { text.ptr + words.at[begin], words.at[end] - words.at[begin] };
        int32_t whole = t->ignore_merges ? whole_word(t, word) : -1;
        if (whole >= 0) sink_put(sink, whole);
        else if (!merge_word(t, &BYTE_MERGES, &cache, word, sink, scratch, e)) return false;
    }
    return true;
}
