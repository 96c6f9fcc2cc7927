/* Text as SentencePiece's models see it (Kudo and Richardson, 2018; the library's normalizer): the charsmap applied to
 * the longest prefix it knows, again and again; user-defined tokens left as they are; blanks escaped to U+2581; where
 * the model asks for it, runs of blanks become one, blanks at both ends go, and one blank is put in front. */
#include "base/utf8.h"
#include "text/part.h"

#include <assert.h>

/* What one step makes of the text at `at`: the bytes it takes and the bytes it gives. */
struct step {
    size_t taken_bytes;
    view gives;
};

int32_t user_defined_at(const tokenizer *t, view text, size_t at, const uint8_t *user_text, const uint64_t *guarded,
                        size_t *len_bytes)
{
    const trie *tokens = &t->user_defined;
    int32_t found = -1;
    uint32_t node = TRIE_ROOT;
    for (size_t i = at; i < text.len_bytes; i++) {
        node = trie_next(tokens, node, text.ptr[i]);
        if (node == TRIE_NONE) break;
        int32_t id = tokens->tokens[node];
        if (id < 0 || !may_arise(user_text, guarded, id, at, i + 1 - at)) continue;
        found = id;
        *len_bytes = i + 1 - at;
    }
    return found;
}

static struct step step_at(const tokenizer *t, const stretch *s, size_t at)
{
    static const uint8_t REPLACEMENT[3] = { 0xEF, 0xBF, 0xBD };
    view left = view_after(s->text, at), gives;
    size_t len;
    if (user_defined_at(t, s->text, at, s->user_text, s->guarded, &len) >= 0)
        return (struct step){ len, { left.ptr, len } };
    len = charsmap_find(&t->charsmap, left, &gives);
    if (len > 0) return (struct step){ len, gives };
    /* Where there are byte tokens a byte that is no UTF-8 stays what it is; SentencePiece itself makes it U+FFFD. */
    if (utf8_next(left, &len) != UTF8_INVALID || t->has_bytes) return (struct step){ len, { left.ptr, len } };
    return (struct step){ 1, { REPLACEMENT, sizeof REPLACEMENT } };
}

struct writer {
    uint8_t *text, *marks; /* marks: NULL where nobody asks */
    size_t len_bytes;
};

static void put(struct writer *w, const uint8_t *bytes, size_t count, uint8_t mark)
{
    memcpy(w->text + w->len_bytes, bytes, count);
    if (w->marks != NULL) memset(w->marks + w->len_bytes, mark, count);
    w->len_bytes += count;
}

static void put_blank(const tokenizer *t, struct writer *w, uint8_t mark)
{
    static const uint8_t blank = ' ';
    if (t->escape_whitespaces) put(w, BLANK_MARK, sizeof BLANK_MARK, mark);
    else put(w, &blank, 1, mark);
}

static void put_step(const tokenizer *t, struct writer *w, view gives, uint8_t mark)
{
    for (size_t i = 0; i < gives.len_bytes; i++) {
        if (gives.ptr[i] == ' ') put_blank(t, w, mark);
        else put(w, gives.ptr + i, 1, mark);
    }
}

static void trim_end(const tokenizer *t, struct writer *w)
{
    size_t blank_bytes = t->escape_whitespaces ? sizeof BLANK_MARK : 1;
    while (w->len_bytes >= blank_bytes) {
        const uint8_t *last = w->text + w->len_bytes - blank_bytes;
        if (t->escape_whitespaces ? !is_blank_mark(last, blank_bytes) : *last != ' ') return;
        w->len_bytes -= blank_bytes;
    }
}

size_t spm_normalized_max(const tokenizer *t, size_t text_bytes)
{
    size_t growth = t->charsmap.replacement_max * sizeof BLANK_MARK; /* a replacement may be all blanks */
    return text_bytes * (growth > sizeof BLANK_MARK ? growth : sizeof BLANK_MARK) + sizeof BLANK_MARK;
}

/* Where the text begins once blanks at its begin are dropped. */
static size_t skip_blanks(const tokenizer *t, const stretch *s)
{
    size_t at = 0;
    while (at < s->text.len_bytes) {
        struct step step = step_at(t, s, at);
        if (!view_is(step.gives, " ")) break;
        at += step.taken_bytes;
    }
    return at;
}

bool spm_normalize(const tokenizer *t, const stretch *s, arena *scratch, view *out, const uint8_t **user_text, err *e)
{
    *out = (view){ s->text.ptr, 0 };
    *user_text = NULL;
    size_t at = t->remove_extra_whitespaces ? skip_blanks(t, s) : 0, mark_begin = scratch->used_bytes;
    if (at == s->text.len_bytes) return true;
    size_t room = spm_normalized_max(t, s->text.len_bytes);
    struct writer w = { ARENA_ARRAY(scratch, uint8_t, room, "normalized text", e), NULL, 0 };
    if (w.text == NULL) return false;
    if (s->user_text != NULL) {
        w.marks = ARENA_ARRAY(scratch, uint8_t, room, "origins of normalized text", e);
        if (w.marks == NULL) return false;
    }
    /* The blank in front belongs to whoever wrote what follows it: no guarded token may begin with it either. */
    if (t->add_space_prefix) put_blank(t, &w, s->user_text != NULL ? s->user_text[at] : 0);
    bool after_blank = t->remove_extra_whitespaces;
    while (at < s->text.len_bytes) {
        struct step step = step_at(t, s, at);
        view gives = step.gives;
        while (after_blank && gives.len_bytes > 0 && gives.ptr[0] == ' ') gives = view_after(gives, 1);
        if (gives.len_bytes > 0) {
            put_step(t, &w, gives, s->user_text != NULL ? s->user_text[at] : 0);
            after_blank = gives.ptr[gives.len_bytes - 1] == ' ';
        }
        if (!t->remove_extra_whitespaces) after_blank = false;
        at += step.taken_bytes;
    }
    size_t written_bytes = w.len_bytes;
    if (t->remove_extra_whitespaces) trim_end(t, &w);
    assert(written_bytes <= room);
    *out = (view){ w.text, w.len_bytes };
    *user_text = w.marks;
    /* The room behind what was written was never touched, so it reads as zero and can go back as it is. */
    if (w.marks == NULL) scratch->used_bytes = (size_t)(w.text - scratch->base) + written_bytes;
    assert(scratch->used_bytes >= mark_begin);
    return true;
}
