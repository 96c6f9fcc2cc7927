/* A vocabulary as the walk needs it: every token's bytes in one trie, a second trie of those that are not wholly inside
 * a string of JSON, and for the others masks by their number of characters (so a string's state costs one copy of a
 * mask and a walk along a few percent of the trie). See walk.h.
 *
 *   trie: depth first, children by byte; `next` skips what is below a node. About 2.2 nodes a token. */
#include "grammar/walk.h"
#include "grammar/sort.h"

#include "base/checked.h"

#include <assert.h>

struct item {
    uint64_t begin; /* the first eight bytes, most significant first: most comparisons end here */
    view text;
    int32_t token;
};

static int item_order(const void *left, const void *right)
{
    const struct item *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    size_t both = min_size(a->text.len_bytes, b->text.len_bytes);
    int order = memcmp(a->text.ptr, b->text.ptr, both);
    if (order != 0) return order;
    if (a->text.len_bytes != b->text.len_bytes) return a->text.len_bytes < b->text.len_bytes ? -1 : 1;
    return a->token < b->token ? -1 : 1;
}

static uint64_t begin_of(view text)
{
    uint64_t begin = 0;
    for (size_t i = 0; i < 8; i++) begin = begin << 8 | (i < text.len_bytes ? text.ptr[i] : 0);
    return begin;
}

static size_t common(view a, view b)
{
    size_t n = 0, most = min_size(a.len_bytes, b.len_bytes);
    while (n < most && a.ptr[n] == b.ptr[n]) n++;
    return n;
}

/* Characters of a token that leaves a string where it found it: between characters, inside. 0: it does not. */
static uint8_t string_chars(const uint8_t body[][256], view text)
{
    uint8_t state = FREE_BODY;
    size_t chars = 0;
    for (size_t i = 0; i < text.len_bytes; i++) {
        uint8_t byte = text.ptr[i];
        if (state == FREE_BODY && ++chars > UINT8_MAX) return 0;
        if (byte == '\\' || byte == '"') return 0;
        state = body[state][byte];
        if (state == FREE_DEAD) return 0;
    }
    return state == FREE_BODY ? (uint8_t)chars : 0;
}

/* Tokens that have a text and that `keep` wants, in order. */
static size_t items_of(const grammar_vocab *v, bool rest, struct item *items)
{
    size_t count = 0;
    for (size_t i = 0; i < v->tokens; i++) {
        view text = vocab_text(v, (int32_t)i);
        if (text.len_bytes == 0 || (rest && v->string_chars[i] > 0)) continue;
        items[count++] = (struct item){ begin_of(text), text, (int32_t)i };
    }
    sort_rows(items, count, sizeof *items, item_order);
    return count;
}

static bool trie_make(const struct item *items, size_t count, struct trie_node **out, uint32_t *out_count,
                      int32_t *twin, arena *a, err *e)
{
    size_t nodes = 0;
    for (size_t i = 0; i < count; i++)
        nodes += items[i].text.len_bytes - (i > 0 ? common(items[i - 1].text, items[i].text) : 0);
    struct trie_node *trie = ARENA_ARRAY(a, struct trie_node, nodes, "token trie", e);
    if (trie == NULL) return false;
    uint32_t path[TOKEN_BYTES_MAX + 1], depth = 0, at = 0;
    for (size_t i = 0; i < count; i++) {
        view text = items[i].text;
        size_t keep = i > 0 ? common(items[i - 1].text, text) : 0;
        if (i > 0 && keep == text.len_bytes && keep == items[i - 1].text.len_bytes) {
            twin[items[i - 1].token] = items[i].token;
            trie[path[depth - 1]].twins = 1;
            continue;
        }
        while (depth > keep) trie[path[--depth]].next = at;
        for (; depth < text.len_bytes; depth++) {
            trie[at] = (struct trie_node){ .token = -1, .depth = (uint16_t)(depth + 1), .byte = text.ptr[depth] };
            path[depth] = at++;
        }
        trie[at - 1].token = items[i].token;
    }
    while (depth > 0) trie[path[--depth]].next = at;
    assert(at == nodes);
    *out = trie;
    *out_count = at;
    return true;
}

/* strings[n]: tokens of 1..n characters; strings[0]: of any number. */
static bool strings_make(grammar_vocab *v, arena *a, err *e)
{
    v->strings = ARENA_ARRAY(a, uint64_t, (STRING_RUNS + 1) * v->words, "string masks", e);
    if (v->strings == NULL) return false;
    for (size_t i = 0; i < v->tokens; i++) {
        size_t chars = v->string_chars[i];
        if (chars == 0) continue;
        v->strings[i / 64] |= UINT64_C(1) << i % 64;
        if (chars <= STRING_RUNS) v->strings[chars * v->words + i / 64] |= UINT64_C(1) << i % 64;
    }
    for (size_t run = 2; run <= STRING_RUNS; run++)
        for (size_t i = 0; i < v->words; i++) v->strings[run * v->words + i] |= v->strings[(run - 1) * v->words + i];
    return true;
}

/* An answer can always be closed a byte at a time: every byte that text is made of has a token of its own. Bytes that
 * only planes without characters begin with (F1..F4) may be missing: no text needs them. */
static bool bytes_check(const grammar_vocab *v, err *e)
{
    bool there[256] = { false };
    for (size_t i = 0; i < v->tokens; i++) {
        view text = vocab_text(v, (int32_t)i);
        if (text.len_bytes == 1) there[text.ptr[0]] = true;
    }
    for (unsigned byte = 0x20; byte < 0xf5; byte++)
        if (!there[byte] && byte != 0x7f && byte != 0xc0 && byte != 0xc1 && byte < 0xf1)
            return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET,
                        "vocabulary: no token for the byte 0x%02x alone, so no answer can be held to a form", byte);
    return true;
}

static bool vocab_index(grammar_vocab *v, arena *a, err *e)
{
    uint8_t body[FREE_VALUE_STATES][256];
    free_body(false, body);
    v->string_chars = ARENA_ARRAY(a, uint8_t, v->tokens, "token characters", e);
    v->twin = ARENA_ARRAY(a, int32_t, v->tokens, "tokens of equal bytes", e);
    if (v->string_chars == NULL || v->twin == NULL || !bytes_check(v, e)) return false;
    for (size_t i = 0; i < v->tokens; i++) {
        v->twin[i] = -1;
        v->string_chars[i] = string_chars((const uint8_t(*)[256])body, vocab_text(v, (int32_t)i));
    }
    if (!strings_make(v, a, e)) return false;
    struct item *items = ARENA_ARRAY(a, struct item, v->tokens, "token trie", e);
    return items != NULL && trie_make(items, items_of(v, false, items), &v->trie, &v->trie_count, v->twin, a, e) &&
           trie_make(items, items_of(v, true, items), &v->rest, &v->rest_count, v->twin, a, e);
}

static grammar_vocab *vocab_take(size_t tokens, size_t rows, size_t text_bytes, arena *a, err *e)
{
    grammar_vocab *v = ARENA_ARRAY(a, grammar_vocab, 1, "vocabulary", e);
    if (v == NULL) return NULL;
    v->tokens = tokens;
    v->rows = rows;
    v->words = ceil_div(rows, 64);
    v->text = ARENA_ARRAY(a, uint8_t, text_bytes, "token bytes", e);
    v->text_at = ARENA_ARRAY(a, uint32_t, tokens + 1, "token bytes", e);
    v->ends = ARENA_ARRAY(a, uint64_t, v->words, "end tokens", e);
    return v->text == NULL || v->text_at == NULL || v->ends == NULL ? NULL : v;
}

bool grammar_vocab_from(grammar_vocab **out, const view *texts, size_t count, size_t rows, const int32_t *ends,
                        size_t end_count, arena *a, err *e)
{
    size_t text_bytes = 0;
    if (count < 1 || rows < count || rows > VOCAB_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "vocabulary: %zu tokens in %zu rows, allowed 1..%d", count, rows,
                    VOCAB_MAX);
    for (size_t i = 0; i < count; i++) {
        text_bytes += texts[i].len_bytes;
        if (texts[i].len_bytes > TOKEN_BYTES_MAX || text_bytes > VOCAB_BYTES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "token %zu: %zu bytes, allowed 0..%d", i, texts[i].len_bytes,
                        TOKEN_BYTES_MAX);
    }
    grammar_vocab *v = vocab_take(count, rows, text_bytes, a, e);
    if (v == NULL) return false;
    uint8_t *place = a->base + (v->text - a->base); /* ours: only its readers see it const */
    for (size_t i = 0; i < count; i++) {
        if (texts[i].len_bytes > 0) memcpy(place + v->text_at[i], texts[i].ptr, texts[i].len_bytes); /* NULL has none */
        v->text_at[i + 1] = v->text_at[i] + (uint32_t)texts[i].len_bytes;
    }
    for (size_t i = 0; i < end_count; i++) {
        assert(ends[i] >= 0 && (size_t)ends[i] < rows);
        v->ends[ends[i] / 64] |= UINT64_C(1) << ends[i] % 64;
    }
    *out = v;
    return vocab_index(v, a, e);
}

size_t grammar_vocab_bytes(const tokenizer *t, size_t rows)
{
    size_t tokens = tokenizer_count(t), bytes = 0, words = ceil_div(rows, 64);
    for (size_t i = 0; i < tokens; i++) bytes += min_size(tokenizer_text(t, (int32_t)i).len_bytes, TOKEN_BYTES_MAX);
    return bytes * (2 * sizeof(struct trie_node) + 1) + tokens * (16 + sizeof(struct item)) +
           words * 8 * (STRING_RUNS + 3) + 4096 * 12;
}

/* A token's text as the reader of an answer sees it; control, unknown and unused tokens have none. */
static bool token_text(const tokenizer *t, int32_t id, uint8_t out[static TOKEN_BYTES_MAX], size_t *len)
{
    err ignored = { 0 };
    enum token_kind kind = tokenizer_kind(t, id);
    *len = 0;
    if (kind == TOKEN_CONTROL || kind == TOKEN_UNKNOWN || kind == TOKEN_UNUSED || tokenizer_is_eog(t, id)) return true;
    return tokenizer_piece(t, id, false, out, len, &ignored);
}

bool grammar_vocab_new(grammar_vocab **out, const tokenizer *t, size_t rows, arena *a, err *e)
{
    size_t tokens = tokenizer_count(t), text_bytes = 0, len;
    uint8_t text[TOKEN_BYTES_MAX];
    if (tokenizer_facts(t)->model == TOKENIZER_WORDPIECE)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "vocabulary: WordPiece can not write every text");
    if (rows < tokens || rows > VOCAB_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "vocabulary: %zu tokens in %zu rows, allowed 1..%d", tokens, rows,
                    VOCAB_MAX);
    for (size_t i = 0; i < tokens; i++) text_bytes += token_text(t, (int32_t)i, text, &len) ? len : 0;
    grammar_vocab *v = vocab_take(tokens, rows, text_bytes, a, e);
    if (v == NULL) return false;
    uint8_t *place = a->base + (v->text - a->base);
    for (size_t i = 0; i < tokens; i++) {
        if (!token_text(t, (int32_t)i, text, &len)) len = 0;
        memcpy(place + v->text_at[i], text, len);
        v->text_at[i + 1] = v->text_at[i] + (uint32_t)len;
        if (tokenizer_is_eog(t, (int32_t)i)) v->ends[i / 64] |= UINT64_C(1) << i % 64;
    }
    *out = v;
    return vocab_index(v, a, e);
}

size_t grammar_vocab_mask_words(const grammar_vocab *v)
{
    return v->words;
}
