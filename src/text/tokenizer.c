/* Checking a vocabulary and building its indexes: see tokenizer.h.
 *
 * In the arena:  | tokenizer | texts, kinds, eog | text index | special | user-defined | charsmap | the family's own |
 *
 * Nothing of the source is believed: every count and length is compared with its limit before anything is sized by it,
 * and nothing of the source is kept, so it may change or go away. */
#include "base/checked.h"
#include "base/utf8.h"
#include "text/part.h"

#include <assert.h>
#include <math.h>

struct model_row {
    const char *name;
    build_fn *build;
    bool add_bos, add_eos, add_sep;     /* where the file leaves it open */
    bool space_prefix, remove_extra;    /* the same */
    bool cuts_normalized;               /* user-defined tokens are matched after normalizing, not in raw text */
};

/* ORDER tokenizer_model */
static const struct model_row MODELS[TOKENIZER_MODELS] = {
    { "llama", spm_build, true, false, false, true, false, true },
    { "gpt2", bpe_build, false, false, false, false, false, false },
    { "t5", unigram_build, false, true, false, true, true, true },
    { "bert", wordpiece_build, true, false, true, false, false, false },
};

/* Control tokens that end an answer, by the names that models of the last years gave them. Files name one as eos; the
 * others are as final. */
static const char *const EOG_NAMES[] = {
    "</s>", "<eos>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>",
    "<|end_of_turn|>", "<end_of_turn>", "<|eot|>", "<EOT>", "<|EOT|>", "[EOT]", "[EOS]", "<|return|>", "<|call|>",
    "<end_of_utterance>", "<｜end▁of▁sentence｜>", "<turn|>",
};

struct vocab_source vocab_source_default(void)
{
    return (struct vocab_source){ .bos = -1, .eos = -1, .eot = -1, .eom = -1, .unk = -1, .sep = -1, .pad = -1,
                                  .cls = -1, .mask = -1, .add_bos = TRI_UNSET, .add_eos = TRI_UNSET,
                                  .add_sep = TRI_UNSET, .add_space_prefix = TRI_UNSET,
                                  .remove_extra_whitespaces = TRI_UNSET, .escape_whitespaces = TRI_UNSET,
                                  .lowercase = TRI_UNSET, .normalize_nfc = TRI_UNSET, .ignore_merges = TRI_UNSET };
}

static bool answer(enum tri question, bool custom)
{
    return question == TRI_UNSET ? custom : question == TRI_YES;
}

/* ---- checks ---- */

static bool find_model(const struct vocab_source *src, enum tokenizer_model *out, err *e)
{
    for (int i = 0; i < TOKENIZER_MODELS; i++) {
        if (!view_is(src->model, MODELS[i].name)) continue;
        *out = (enum tokenizer_model)i;
        return true;
    }
    return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "tokenizer model \"%.*s\" is none of llama, gpt2, t5, bert",
                (int)min_size(src->model.len_bytes, 64), (const char *)src->model.ptr);
}

static bool check_counts(const struct vocab_source *src, err *e)
{
    if (src->token_count == 0 || src->token_count > VOCAB_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "vocabulary: %zu tokens, allowed 1..%d", src->token_count, VOCAB_MAX);
    if (src->merge_count > MERGES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "vocabulary: %zu merges, allowed %d", src->merge_count, MERGES_MAX);
    return true;
}

static bool check_token(const struct vocab_source *src, size_t id, err *e)
{
    view text = src->texts[id];
    if (text.len_bytes > TOKEN_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "token %zu: %zu bytes, allowed %d", id, text.len_bytes,
                    TOKEN_BYTES_MAX);
    if (utf8_valid_bytes(text) != text.len_bytes)
        return fail(e, ERR_VALUE, utf8_valid_bytes(text), "token %zu: its text is not UTF-8", id);
    if (src->kinds != NULL && (src->kinds[id] < TOKEN_NORMAL || src->kinds[id] > TOKEN_BYTE))
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "token %zu: type %d, known are 1..6", id, (int)src->kinds[id]);
    if (src->scores != NULL && !isfinite(src->scores[id]))
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "token %zu: its score is not a finite number", id);
    return true;
}

static bool check_ids(const struct vocab_source *src, err *e)
{
    const struct { const char *name; int32_t id; } ids[] = {
        { "bos", src->bos }, { "eos", src->eos }, { "eot", src->eot }, { "eom", src->eom }, { "unknown", src->unk },
        { "separator", src->sep }, { "padding", src->pad }, { "cls", src->cls }, { "mask", src->mask },
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id < -1 || (ids[i].id >= 0 && (size_t)ids[i].id >= src->token_count))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s token: id %d, the vocabulary has 0..%zu", ids[i].name,
                        (int)ids[i].id, src->token_count - 1);
    return true;
}

/* ---- indexes ---- */

static enum token_kind kind_of(const struct vocab_source *src, size_t id)
{
    return src->kinds == NULL ? TOKEN_NORMAL : (enum token_kind)src->kinds[id];
}

/* Files write blanks in user-defined tokens either way; matched against escaped text they must be escaped. */
static bool escapes(const tokenizer *t, const struct vocab_source *src, size_t id)
{
    return MODELS[t->facts.model].cuts_normalized && t->escape_whitespaces && kind_of(src, id) == TOKEN_USER_DEFINED;
}

static size_t pool_text(uint8_t *out, view text, bool escape)
{
    size_t count = 0;
    if (!escape) {
        if (text.len_bytes > 0) memcpy(out, text.ptr, text.len_bytes);
        return text.len_bytes;
    }
    for (size_t i = 0; i < text.len_bytes; i++) {
        if (text.ptr[i] == ' ') {
            memcpy(out + count, BLANK_MARK, sizeof BLANK_MARK);
            count += sizeof BLANK_MARK;
        } else {
            out[count++] = text.ptr[i];
        }
    }
    return count;
}

static bool pool_bytes(const tokenizer *t, const struct vocab_source *src, size_t *out, err *e)
{
    *out = 0;
    for (size_t id = 0; id < src->token_count; id++) {
        view text = src->texts[id];
        size_t blanks = 0;
        for (size_t i = 0; escapes(t, src, id) && i < text.len_bytes; i++) blanks += text.ptr[i] == ' ';
        if (text.len_bytes + 2 * blanks > TOKEN_BYTES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "token %zu: %zu bytes once blanks are escaped, allowed %d", id,
                        text.len_bytes + 2 * blanks, TOKEN_BYTES_MAX);
        *out += text.len_bytes + 2 * blanks;
        if (*out > VOCAB_BYTES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "vocabulary: token %zu ends over %d bytes of text", id,
                        VOCAB_BYTES_MAX);
    }
    return true;
}

static bool copy_texts(tokenizer *t, const struct vocab_source *src, arena *a, err *e)
{
    size_t bytes, at = 0, count = src->token_count;
    if (!pool_bytes(t, src, &bytes, e)) return false;
    uint8_t *pool = ARENA_ARRAY(a, uint8_t, bytes, "texts of tokens", e);
    uint32_t *text_at = ARENA_ARRAY(a, uint32_t, count + 1, "texts of tokens", e);
    t->kinds = ARENA_ARRAY(a, uint8_t, count, "types of tokens", e);
    t->eog = ARENA_ARRAY(a, uint64_t, ceil_div(count, 64), "tokens that end", e);
    if (pool == NULL || text_at == NULL || t->kinds == NULL || t->eog == NULL) return false;
    for (size_t id = 0; id < count; id++) {
        t->kinds[id] = (uint8_t)kind_of(src, id);
        at += pool_text(pool + at, src->texts[id], escapes(t, src, id));
        text_at[id + 1] = (uint32_t)at;
    }
    return index_new(&t->index, pool, text_at, count, a, e);
}

/* "[PAD123]": rows a converter added to fill up; no author's tokenizer has them. */
static bool is_filler(view text)
{
    if (text.len_bytes < 6 || !view_starts(text, view_of("[PAD")) || text.ptr[text.len_bytes - 1] != ']') return false;
    for (size_t i = 4; i + 1 < text.len_bytes; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
    return true;
}

/* The trie a token's text is searched with in raw or normalized text, or NULL. */
static trie *trie_of(tokenizer *t, size_t id)
{
    view text = index_text(&t->index, (int32_t)id);
    if (text.len_bytes == 0) return NULL;
    if (t->kinds[id] == TOKEN_CONTROL) return &t->special;
    if (t->kinds[id] != TOKEN_USER_DEFINED || is_filler(text)) return NULL;
    return MODELS[t->facts.model].cuts_normalized ? &t->user_defined : &t->special;
}

static bool index_special(tokenizer *t, arena *a, err *e)
{
    size_t special_bytes = 0, user_bytes = 0, count = t->facts.token_count;
    for (size_t id = 0; id < count; id++) {
        const trie *to = trie_of(t, id);
        size_t *sum = to == &t->special ? &special_bytes : &user_bytes;
        if (to != NULL) *sum += index_text(&t->index, (int32_t)id).len_bytes;
    }
    if (!trie_new(&t->special, special_bytes, a, e) || !trie_new(&t->user_defined, user_bytes, a, e)) return false;
    for (size_t id = 0; id < count; id++) {
        trie *to = trie_of(t, id);
        if (to != NULL && !trie_add(to, index_text(&t->index, (int32_t)id), (int32_t)id, e)) return false;
    }
    return true;
}

static void index_bytes_tokens(tokenizer *t)
{
    size_t found = 0;
    memset(t->byte_ids, 0xFF, sizeof t->byte_ids);
    for (size_t id = 0; id < t->facts.token_count; id++) {
        int byte = t->kinds[id] == TOKEN_BYTE ? byte_token_value(index_text(&t->index, (int32_t)id)) : -1;
        if (byte < 0) continue;
        t->byte_ids[byte] = (int32_t)id;
        found++;
    }
    t->has_bytes = found == 256; /* texts are unique; a vocabulary with a few of them has the unknown token instead */
}

static void mark_eog(tokenizer *t, int32_t id)
{
    if (id >= 0) t->eog[(size_t)id / 64] |= (uint64_t)1 << ((size_t)id % 64);
}

static void index_eog(tokenizer *t)
{
    mark_eog(t, t->facts.eos);
    mark_eog(t, t->facts.eot);
    mark_eog(t, t->facts.eom);
    /* In gpt-oss <|end|> closes a message of several; the answer ends with <|return|> or <|call|>. */
    bool messages = index_find(&t->index, view_of("<|return|>")) >= 0;
    for (size_t i = 0; i < sizeof EOG_NAMES / sizeof *EOG_NAMES; i++) {
        int32_t id = index_find(&t->index, view_of(EOG_NAMES[i]));
        if (id < 0 || t->kinds[id] != TOKEN_CONTROL) continue;
        if (!messages || strcmp(EOG_NAMES[i], "<|end|>") != 0) mark_eog(t, id);
    }
}

static void take_facts(tokenizer *t, const struct vocab_source *src, enum tokenizer_model model)
{
    const struct model_row *row = &MODELS[model];
    t->facts = (struct tokenizer_facts){
        .model = model, .token_count = src->token_count, .bos = src->bos, .eos = src->eos, .eot = src->eot,
        .eom = src->eom, .unk = src->unk, .sep = src->sep, .pad = src->pad, .cls = src->cls, .mask = src->mask,
        .add_bos = answer(src->add_bos, row->add_bos), .add_eos = answer(src->add_eos, row->add_eos),
        .add_sep = answer(src->add_sep, row->add_sep),
    };
    if (model == TOKENIZER_WORDPIECE && t->facts.bos < 0) t->facts.bos = src->cls;
    t->add_space_prefix = answer(src->add_space_prefix, row->space_prefix);
    t->remove_extra_whitespaces = answer(src->remove_extra_whitespaces, row->remove_extra);
    t->escape_whitespaces = answer(src->escape_whitespaces, true);
}

bool tokenizer_new(tokenizer **out, const struct vocab_source *src, arena *a, err *e)
{
    enum tokenizer_model model;
    *out = NULL;
    if (!find_model(src, &model, e) || !check_counts(src, e) || !check_ids(src, e)) return false;
    for (size_t id = 0; id < src->token_count; id++)
        if (!check_token(src, id, e)) return false;
    tokenizer *t = ARENA_ARRAY(a, tokenizer, 1, "tokenizer", e);
    if (t == NULL) return false;
    take_facts(t, src, model);
    if (!copy_texts(t, src, a, e) || !index_special(t, a, e)) return false;
    index_bytes_tokens(t);
    if (MODELS[model].cuts_normalized && !charsmap_new(&t->charsmap, src->charsmap, a, e)) return false;
    if (!MODELS[model].build(t, src, a, e)) return false;
    t->facts.add_bos &= t->facts.bos >= 0; /* what is not there cannot be added */
    t->facts.add_eos &= t->facts.eos >= 0;
    t->facts.add_sep &= t->facts.sep >= 0;
    index_eog(t);
    *out = t;
    return true;
}

size_t tokenizer_arena_bytes(const struct vocab_source *src)
{
    size_t texts = 0, count = src->token_count;
    err ignored = { 0 };
    if (!check_counts(src, &ignored) || src->charsmap.len_bytes > CHARSMAP_BYTES_MAX) return SIZE_MAX;
    for (size_t id = 0; id < count; id++) {
        if (src->texts[id].len_bytes > TOKEN_BYTES_MAX) return SIZE_MAX;
        texts += 3 * src->texts[id].len_bytes; /* blanks escaped, at most */
    }
    if (texts > 3 * (size_t)VOCAB_BYTES_MAX) return SIZE_MAX;
    size_t tries = 4 * trie_bytes(texts), merges = src->merge_count * 36 + 256;
    return sizeof(tokenizer) + texts + count * 24 + index_bytes(count) + tries + merges + src->charsmap.len_bytes +
           (1u << PAIR_BITS) / 8 + 8192;
}

/* ---- facts ---- */

const struct tokenizer_facts *tokenizer_facts(const tokenizer *t)
{
    return &t->facts;
}

size_t tokenizer_count(const tokenizer *t)
{
    return t->facts.token_count;
}

enum token_kind tokenizer_kind(const tokenizer *t, int32_t id)
{
    assert(id >= 0 && (size_t)id < t->facts.token_count);
    return (enum token_kind)t->kinds[id];
}

bool tokenizer_is_eog(const tokenizer *t, int32_t id)
{
    assert(id >= 0 && (size_t)id < t->facts.token_count);
    return bitmap_has(t->eog, id);
}

view tokenizer_text(const tokenizer *t, int32_t id)
{
    assert(id >= 0 && (size_t)id < t->facts.token_count);
    return index_text(&t->index, id);
}

int32_t tokenizer_find(const tokenizer *t, view text)
{
    return text.len_bytes == 0 ? -1 : index_find(&t->index, text);
}
