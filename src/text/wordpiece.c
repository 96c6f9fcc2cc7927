/* WordPiece ("bert"), as huggingface's BertNormalizer, BertPreTokenizer and WordPiece do it, for the vocabularies were
 * made with these: control and format characters go, white space ends a word, ideographs and punctuation are words of
 * their own, the rest is decomposed (form D), loses its marks (Mn) and becomes lower case, letter by letter. A word is
 * the longest token that begins it, then the longest that continues it, and so on; where that ends in nothing, or the
 * word has over 100 characters, all of it is the unknown token.
 *
 * GGUF writes "▁word" for a token that begins a word and "ing" for one that goes on (the author's "##ing"). */
#include "base/checked.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "text/part.h"

#include <assert.h>

enum { WORD_CODES_MAX = 100 /* the author's max_input_chars_per_word */ };

struct word {
    uint32_t codes[WORD_CODES_MAX];
    size_t count; /* goes on counting above WORD_CODES_MAX */
};

bool wordpiece_build(tokenizer *t, const struct vocab_source *src, arena *a, err *e)
{
    size_t begin_bytes = 0, inside_bytes = 0;
    t->lowercase = src->lowercase != TRI_NO;
    for (size_t pass = 0; pass < 2; pass++) {
        if (pass == 1 && (!trie_new(&t->word_pieces, begin_bytes, a, e) || !trie_new(&t->pieces, inside_bytes, a, e)))
            return false;
        for (int32_t id = 0; (size_t)id < src->token_count; id++) {
            view text = index_text(&t->index, id);
            bool begins = is_blank_mark(text.ptr, text.len_bytes);
            if (begins) text = view_after(text, sizeof BLANK_MARK);
            if (t->kinds[id] != TOKEN_NORMAL || text.len_bytes == 0) continue;
            if (pass == 0) *(begins ? &begin_bytes : &inside_bytes) += text.len_bytes;
            else if (!trie_add(begins ? &t->word_pieces : &t->pieces, text, id, e)) return false;
        }
    }
    return true;
}

static void end_word(const tokenizer *t, struct word *w, id_sink *sink)
{
    uint8_t text[WORD_CODES_MAX * UTF8_BYTES_MAX];
    size_t text_bytes = 0, sink_begin = sink->count, count = w->count;
    w->count = 0;
    if (count == 0) return;
    for (size_t i = 0; i < count && count <= WORD_CODES_MAX; i++)
        text_bytes += utf8_put(w->codes[i], text + text_bytes);
    size_t at = 0;
    for (size_t len; at < text_bytes; at += len) {
        int32_t id = trie_longest(at == 0 ? &t->word_pieces : &t->pieces, (view){ text + at, text_bytes - at }, &len);
        if (id < 0) break;
        sink_put(sink, id);
    }
    if (at == text_bytes && text_bytes > 0) return;
    sink->count = sink_begin;
    if (t->facts.unk >= 0) sink_put(sink, t->facts.unk);
}

/* Adds a code; marks of a word stay in canonical order (Unicode 15, D108), as form D has them. */
static void add_code(struct word *w, uint32_t code)
{
    size_t at = w->count++;
    if (at >= WORD_CODES_MAX) return;
    uint8_t class = unicode_facts_of(code).combining;
    for (; class != 0 && at > 0 && unicode_facts_of(w->codes[at - 1]).combining > class; at--)
        w->codes[at] = w->codes[at - 1];
    w->codes[at] = code;
}

static bool is_ideograph(uint32_t c)
{
    static const struct { uint32_t first, last; } BLOCKS[] = {
        { 0x3400, 0x4DBF }, { 0x4E00, 0x9FFF }, { 0xF900, 0xFAFF }, { 0x20000, 0x2A6DF },
        { 0x2A700, 0x2B73F }, { 0x2B740, 0x2B81F }, { 0x2B920, 0x2CEAF }, { 0x2F800, 0x2FA1F },
    }; /* 2B920, where the block begins at 2B820: as the author's code has it */
    for (size_t i = 0; i < sizeof BLOCKS / sizeof *BLOCKS; i++)
        if (c >= BLOCKS[i].first && c <= BLOCKS[i].last) return true;
    return false;
}

static bool is_punctuation(uint32_t code, enum unicode_category category)
{
    bool letter = (code | 32) >= 'a' && (code | 32) <= 'z', digit = code >= '0' && code <= '9';
    return (code > ' ' && code < 127 && !letter && !digit) || (category >= UNICODE_PC && category <= UNICODE_PO);
}

/* One code of the cleaned text, in its last form. */
static void take_code(const tokenizer *t, struct word *w, uint32_t code, id_sink *sink)
{
    struct unicode_facts facts = unicode_facts_of(code);
    if ((facts.flags & UNICODE_WHITE_SPACE) != 0) {
        end_word(t, w, sink);
    } else if (is_punctuation(code, facts.category)) {
        end_word(t, w, sink);
        add_code(w, code);
        end_word(t, w, sink);
    } else {
        add_code(w, code);
    }
}

static void take_character(const tokenizer *t, struct word *w, uint32_t code, id_sink *sink)
{
    struct unicode_facts facts = unicode_facts_of(code);
    bool white = code == '\t' || code == '\n' || code == '\r' || (facts.flags & UNICODE_WHITE_SPACE) != 0;
    bool control = facts.category >= UNICODE_CC || facts.category == UNICODE_CN;
    if (code == 0xFFFD || (control && code != '\t' && code != '\n' && code != '\r')) return;
    bool ideograph = is_ideograph(code);
    if (white || ideograph) end_word(t, w, sink);
    if (white) return;
    uint32_t parts[UNICODE_DECOMPOSED_MAX] = { code };
    size_t count = t->lowercase ? unicode_decompose(code, parts) : 1;
    for (size_t i = 0; i < count; i++) {
        if (t->lowercase && unicode_facts_of(parts[i]).category == UNICODE_MN) continue;
        take_code(t, w, t->lowercase ? unicode_lower(parts[i]) : parts[i], sink);
    }
    if (ideograph) end_word(t, w, sink);
}

bool wordpiece_encode(const tokenizer *t, const stretch *s, id_sink *sink, arena *scratch, err *e)
{
    struct word w = { .count = 0 };
    (void)scratch;
    (void)e;
    for (size_t at = 0, len; at < s->text.len_bytes; at += len) {
        uint32_t code = utf8_next(view_after(s->text, at), &len);
        if (code != UTF8_INVALID) take_character(t, &w, code, sink); /* else it would be U+FFFD, which goes */
    }
    end_word(t, &w, sink);
    return true;
}
