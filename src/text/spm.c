/* SentencePiece BPE ("llama"): of all neighbours whose texts together are a token, those with the highest score are
 * joined first, the leftmost among equals (Sennrich et al., 2016, as the sentencepiece library runs it: there are no
 * merges, scores order them). A character that ends without a token becomes its bytes "<0x0A>", or the unknown token.
 *
 * The stretch behind a control token is a text of its own and gets the blank in front again: authors encoded the turns
 * of their chats one by one. Nothing is joined into an unused token (the library joins it and takes it apart at the
 * end, which matters only where other tokens can be made through it alone).
 *
 * A whole text is one word here. It is cut, without changing a single merge, between characters that are neighbours in
 * no token: nothing can ever be joined across. In written language that is nearly every begin of a word. */
#include "base/checked.h"
#include "base/utf8.h"
#include "text/merge.h"

#include <assert.h>

/* The character at the begin of `text`; bytes that are no UTF-8 are characters of their own. */
static uint32_t character(view text, size_t *len_bytes)
{
    uint32_t code = utf8_next(text, len_bytes);
    if (code != UTF8_INVALID) return code;
    *len_bytes = 1;
    return 0x110000u + text.ptr[0];
}

static size_t pair_bit(uint32_t left, uint32_t right)
{
    return hash_mix((uint64_t)left << 32 | right) >> (64 - PAIR_BITS);
}

static bool mergeable(const tokenizer *t, int32_t id)
{
    return t->kinds[id] == TOKEN_NORMAL;
}

static void note_pairs(tokenizer *t, view text)
{
    uint32_t last = UINT32_MAX;
    for (size_t at = 0, len; at < text.len_bytes; at += len) {
        uint32_t code = character(view_after(text, at), &len);
        if (last != UINT32_MAX) t->pairs[pair_bit(last, code) / 64] |= (uint64_t)1 << (pair_bit(last, code) % 64);
        last = code;
    }
}

static bool are_neighbours(const tokenizer *t, uint32_t left, uint32_t right)
{
    return (t->pairs[pair_bit(left, right) / 64] >> (pair_bit(left, right) % 64) & 1) != 0;
}

/* Scores as integers in reverse order: a float's bits, read as sign and magnitude. */
static uint32_t rank_of_score(float score)
{
    uint32_t bits;
    score += 0.0f; /* -0 and 0 are equal scores */
    memcpy(&bits, &score, sizeof bits);
    return (bits & 1u << 31) != 0 ? bits : ~bits & UINT32_MAX >> 1;
}

bool spm_build(tokenizer *t, const struct vocab_source *src, arena *a, err *e)
{
    size_t count = src->token_count;
    t->ranks = ARENA_ARRAY(a, uint32_t, count, "ranks of tokens", e);
    t->pairs = ARENA_ARRAY(a, uint64_t, (1u << PAIR_BITS) / 64, "neighbours", e);
    if (t->ranks == NULL || t->pairs == NULL) return false;
    for (size_t id = 0; id < count; id++) {
        t->ranks[id] = rank_of_score(src->scores == NULL ? 0.0f : src->scores[id]);
        if (!mergeable(t, (int32_t)id)) continue;
        view text = index_text(&t->index, (int32_t)id);
        note_pairs(t, text);
        t->token_bytes_max = max_size(t->token_bytes_max, text.len_bytes);
    }
    return true;
}

static int32_t find_mergeable(const tokenizer *t, uint64_t hash, view left, view right)
{
    int32_t id = index_find_pair(&t->index, hash, left, right);
    return id >= 0 && mergeable(t, id) ? id : -1;
}

static int32_t character_symbol(const tokenizer *t, view text, size_t *len_bytes)
{
    character(text, len_bytes);
    view one = { text.ptr, *len_bytes };
    return find_mergeable(t, hash_text(one), one, (view){ text.ptr, 0 });
}

static void rank_by_score(const struct merging *m, uint32_t at)
{
    struct symbol *left = &m->symbols[at];
    view left_text = symbol_text(m, at), right_text = symbol_text(m, left->next);
    if (left_text.len_bytes + right_text.len_bytes > m->t->token_bytes_max) return;
    view both = { left_text.ptr, left_text.len_bytes + right_text.len_bytes };
    left->joined = find_mergeable(m->t, hash_text(both), both, (view){ both.ptr, 0 });
    left->rank = left->joined < 0 ? RANK_NONE : m->t->ranks[left->joined];
}

static void emit_token_or_bytes(const struct merging *m, uint32_t at, id_sink *sink)
{
    const tokenizer *t = m->t;
    view text = symbol_text(m, at);
    if (m->symbols[at].id >= 0) {
        sink_put(sink, m->symbols[at].id);
        return;
    }
    for (size_t i = 0; i < text.len_bytes && t->has_bytes; i++) sink_put(sink, t->byte_ids[text.ptr[i]]);
    if (!t->has_bytes && t->facts.unk >= 0) sink_put(sink, t->facts.unk);
}

static const struct merge_kind SCORE_MERGES = { character_symbol, rank_by_score, emit_token_or_bytes };

/* Characters without a token that stand side by side are one unknown token, as in the library. */
static void fold_unknown(const tokenizer *t, id_sink *sink, size_t from)
{
    size_t kept = from;
    bool after_unknown = false;
    if (t->has_bytes || sink->count > sink->max) return;
    for (size_t i = from; i < sink->count; i++) {
        bool unknown = sink->ids[i] == t->facts.unk;
        if (!unknown || !after_unknown) sink->ids[kept++] = sink->ids[i];
        after_unknown = unknown;
    }
    sink->count = kept;
}

bool spm_encode(const tokenizer *t, const stretch *s, id_sink *sink, arena *scratch, err *e)
{
    view text;
    const uint8_t *user_text;
    struct merge_cache cache;
    size_t sink_begin = sink->count;
    if (!spm_normalize(t, s, scratch, &text, &user_text, e) || !merge_cache_new(&cache, text.len_bytes, scratch, e))
        return false;
    size_t begin = 0;
    uint32_t last = UINT32_MAX;
    for (size_t at = 0, len; at < text.len_bytes; at += len) {
        int32_t whole = user_defined_at(t, text, at, user_text, s->guarded, &len);
        uint32_t code = whole >= 0 ? UINT32_MAX : character(view_after(text, at), &len);
        bool cut = whole >= 0 || (last != UINT32_MAX && !are_neighbours(t, last, code));
        if (cut && !merge_word(t, &SCORE_MERGES, &cache, (view){ text.ptr + begin, at - begin }, sink, scratch, e))
            return false;
        if (cut) begin = at;
        if (whole >= 0) {
            sink_put(sink, whole);
            begin = at + len;
        }
        last = code;
    }
    if (!merge_word(t, &SCORE_MERGES, &cache, (view){ text.ptr + begin, text.len_bytes - begin }, sink, scratch, e))
        return false;
    fold_unknown(t, sink, sink_begin);
    return true;
}
