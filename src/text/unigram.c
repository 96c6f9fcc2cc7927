/* Unigram ("t5"): of all ways to write a text with tokens, the one with the highest sum of scores (Kudo, 2018), found
 * from left to right: at each position the best sum of any way that ends there.
 *
 * Ties are decided by rounding, so rounding is part of the definition: the best sum of a position is kept as f32, the
 * next token's score is added in f64 (but the unknown token's in f32), and a way replaces another only where its f64
 * sum is greater than the kept f32 (sentencepiece, unigram::Model::EncodeOptimized). */
#include "base/checked.h"
#include "base/utf8.h"
#include "text/part.h"

#include <assert.h>

/* The best way that ends at a position. */
struct way {
    float score;
    int32_t id;
    uint32_t from; /* where its last token begins; WAY_NONE: no way found yet */
};

enum { UNKNOWN_PENALTY = 10 /* below the lowest score of a token (sentencepiece, kUnkPenalty) */ };
#define WAY_NONE UINT32_MAX

bool unigram_build(tokenizer *t, const struct vocab_source *src, arena *a, err *e)
{
    size_t count = src->token_count, bytes = 0;
    t->scores = ARENA_ARRAY(a, float, count, "scores", e);
    if (t->scores == NULL) return false;
    bool any = false;
    for (size_t id = 0; id < count; id++) {
        float score = src->scores == NULL ? 0.0f : src->scores[id];
        t->scores[id] = score;
        if (t->kinds[id] == TOKEN_NORMAL || t->kinds[id] == TOKEN_USER_DEFINED)
            bytes += index_text(&t->index, (int32_t)id).len_bytes;
        if (t->kinds[id] != TOKEN_NORMAL) continue;
        if (!any || score < t->min_score) t->min_score = score;
        if (!any || score > t->max_score) t->max_score = score;
        any = true;
    }
    if (!trie_new(&t->pieces, bytes, a, e)) return false;
    for (size_t id = 0; id < count; id++) {
        view text = index_text(&t->index, (int32_t)id);
        bool in_text = t->kinds[id] == TOKEN_NORMAL || t->kinds[id] == TOKEN_USER_DEFINED;
        if (in_text && text.len_bytes > 0 && !trie_add(&t->pieces, text, (int32_t)id, e)) return false;
    }
    return true;
}

/* A user-defined token gets a bonus that depends on its length, in f64 as there. */
static double score_of(const tokenizer *t, int32_t id, size_t len_bytes)
{
    if (t->kinds[id] == TOKEN_USER_DEFINED) return (double)((float)len_bytes * t->max_score) - 0.1;
    return (double)t->scores[id];
}

static void offer(struct way *to, double score, int32_t id, size_t from)
{
    if (to->from != WAY_NONE && !(score > (double)to->score)) return;
    *to = (struct way){ (float)score, id, (uint32_t)from };
}

/* All tokens that begin at `at`, and the unknown token where none is just the one character. */
static void offer_from(const tokenizer *t, view text, size_t at, size_t char_bytes, const uint8_t *user_text,
                       const uint64_t *guarded, struct way *ways)
{
    float here = ways[at].score;
    bool alone = false;
    uint32_t node = TRIE_ROOT;
    for (size_t i = at; i < text.len_bytes; i++) {
        node = trie_next(&t->pieces, node, text.ptr[i]);
        if (node == TRIE_NONE) break;
        int32_t id = t->pieces.tokens[node];
        size_t len = i + 1 - at;
        if (id < 0) continue;
        if (t->kinds[id] == TOKEN_USER_DEFINED && !may_arise(user_text, guarded, id, at, len)) continue;
        offer(&ways[i + 1], score_of(t, id, len) + (double)here, id, at);
        alone |= len == char_bytes;
    }
    if (alone) return;
    float unknown = t->min_score - (float)UNKNOWN_PENALTY;
    offer(&ways[at + char_bytes], (double)(unknown + here), -1, at);
}

/* Puts a run of unknown characters: their bytes, or one unknown token for all of them. */
static void put_unknown(const tokenizer *t, view text, bool first_of_run, id_sink *sink)
{
    for (size_t i = 0; i < text.len_bytes && t->has_bytes; i++) sink_put(sink, t->byte_ids[text.ptr[i]]);
    if (!t->has_bytes && first_of_run && t->facts.unk >= 0) sink_put(sink, t->facts.unk);
}

bool unigram_encode(const tokenizer *t, const stretch *s, id_sink *sink, arena *scratch, err *e)
{
    view text;
    const uint8_t *user_text;
    if (!spm_normalize(t, s, scratch, &text, &user_text, e)) return false;
    struct way *ways = ARENA_ARRAY(scratch, struct way, text.len_bytes + 1, "ways to write a text", e);
    if (ways == NULL) return false;
    for (size_t i = 1; i <= text.len_bytes; i++) ways[i].from = WAY_NONE;
    for (size_t at = 0, len; at < text.len_bytes; at += len) {
        if (utf8_next(view_after(text, at), &len) == UTF8_INVALID) len = 1;
        offer_from(t, text, at, len, user_text, s->guarded, ways);
    }
    /* The best way is known from its end: turn the links round, then follow them. */
    uint32_t end = (uint32_t)text.len_bytes, next = WAY_NONE;
    while (end > 0) {
        uint32_t from = ways[end].from;
        assert(from < end);
        ways[end].from = next;
        next = end;
        end = from;
    }
    bool unknown = false;
    for (uint32_t at = 0, to = next; to != WAY_NONE; to = ways[to].from) {
        view piece = { text.ptr + at, to - at };
        if (ways[to].id < 0) put_unknown(t, piece, !unknown, sink);
        else sink_put(sink, ways[to].id);
        unknown = ways[to].id < 0;
        at = to;
    }
    return true;
}
