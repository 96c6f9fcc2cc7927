/* Classifying characters, the matchers of rules, and the passes: see split.h and split_rules.h. */
#include "text/split_rules.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/unicode.h"
#include "base/utf8.h"

#include <assert.h>

/* A character belongs where it has a bit of `any` and none of `none`. */
struct char_class {
    uint32_t any, none;
};

/* ORDER class_name */
static const struct char_class CLASSES[CLASSES_COUNT] = {
    [NOTHING] = { 0, 0 },
    [BLANK] = { IS_BLANK, 0 },
    [SPACE] = { IS_SPACE, 0 },
    [LETTER] = { IS_LETTER, 0 },
    [LETTER_OR_MARK] = { IS_LETTER | IS_MARK, 0 },
    [NUMBER] = { IS_NUMBER, 0 },
    [NEWLINE] = { IS_NEWLINE, 0 },
    [NEWLINE_OR_SLASH] = { IS_NEWLINE | IS_SLASH, 0 },
    [NOT_SLN] = { IS_ANY, IS_SPACE | IS_LETTER | IS_NUMBER },
    [NOT_SLMN] = { IS_ANY, IS_SPACE | IS_LETTER | IS_MARK | IS_NUMBER },
    [NOT_RLN] = { IS_ANY, IS_NEWLINE | IS_LETTER | IS_NUMBER },
    [NOT_RLPS] = { IS_ANY, IS_NEWLINE | IS_LETTER | IS_PUNCTUATION | IS_SYMBOL },
    [PUNCTUATION] = { IS_PUNCTUATION, 0 },
    [PUNCT_OR_SYMBOL] = { IS_PUNCTUATION | IS_SYMBOL, 0 },
    [UPPER] = { IS_UPPER, 0 },
    [LOWER] = { IS_LOWER, 0 },
    [UPPER_NOT_HAN] = { IS_UPPER, IS_HAN },
    [LOWER_NOT_HAN] = { IS_LOWER, IS_HAN },
    [HAN] = { IS_HAN, 0 },
    [ASCII_LETTER] = { IS_ASCII_LETTER, 0 },
    [ASCII_DIGIT] = { IS_ASCII_DIGIT, 0 },
    [ASCII_PUNCT] = { IS_ASCII_PUNCT, 0 },
    [PUNCT_OR_ASCII] = { IS_PUNCTUATION | IS_ASCII_PUNCT, 0 },
    [TAB_OR_LF] = { IS_TAB_OR_LF, 0 },
    [OWN_1] = { IS_OWN_1, 0 },
    [OWN_2] = { IS_OWN_2, 0 },
    [OWN_3] = { IS_OWN_3, 0 },
    [PUNCT_OR_OWN_1] = { IS_PUNCTUATION | IS_OWN_1, 0 },
    [NOT_OWN_1] = { IS_ANY, IS_OWN_1 },
};

/* ORDER unicode_category */
static const uint32_t CATEGORY_FLAGS[UNICODE_CATEGORIES] = {
    [UNICODE_LU] = IS_LETTER | IS_UPPER,
    [UNICODE_LL] = IS_LETTER | IS_LOWER,
    [UNICODE_LT] = IS_LETTER | IS_UPPER,
    [UNICODE_LM] = IS_LETTER | IS_UPPER | IS_LOWER,
    [UNICODE_LO] = IS_LETTER | IS_UPPER | IS_LOWER,
    [UNICODE_MN] = IS_MARK | IS_UPPER | IS_LOWER,
    [UNICODE_MC] = IS_MARK | IS_UPPER | IS_LOWER,
    [UNICODE_ME] = IS_MARK | IS_UPPER | IS_LOWER,
    [UNICODE_ND] = IS_NUMBER | IS_DIGIT,
    [UNICODE_NL] = IS_NUMBER,
    [UNICODE_NO] = IS_NUMBER,
    [UNICODE_PC] = IS_PUNCTUATION,
    [UNICODE_PD] = IS_PUNCTUATION,
    [UNICODE_PS] = IS_PUNCTUATION,
    [UNICODE_PE] = IS_PUNCTUATION,
    [UNICODE_PI] = IS_PUNCTUATION,
    [UNICODE_PF] = IS_PUNCTUATION,
    [UNICODE_PO] = IS_PUNCTUATION,
    [UNICODE_SM] = IS_SYMBOL,
    [UNICODE_SC] = IS_SYMBOL,
    [UNICODE_SK] = IS_SYMBOL,
    [UNICODE_SO] = IS_SYMBOL,
};

static uint32_t ascii_flags(uint32_t code)
{
    uint32_t flags = 0;
    if ((code | 32) >= 'a' && (code | 32) <= 'z') flags |= IS_ASCII_LETTER;
    else if (code >= '0' && code <= '9') flags |= IS_ASCII_DIGIT;
    else if (code > ' ' && code < 127) flags |= IS_ASCII_PUNCT;
    if (code == ' ') flags |= IS_BLANK;
    if (code == '/') flags |= IS_SLASH;
    if (code == '\r' || code == '\n') flags |= IS_NEWLINE;
    if (code == '\t' || code == '\n') flags |= IS_TAB_OR_LF;
    return flags;
}

static uint32_t own_flags(const splitter *s, uint32_t code)
{
    uint32_t flags = 0;
    for (size_t i = 0; i < s->range_count; i++)
        if (code >= s->ranges[i].first && code <= s->ranges[i].last) flags |= s->ranges[i].bit;
    return flags;
}

static uint32_t flags_of(const splitter *s, uint32_t code)
{
    struct unicode_facts facts = unicode_facts_of(code);
    uint32_t flags = IS_ANY | CATEGORY_FLAGS[facts.category];
    if ((facts.flags & UNICODE_WHITE_SPACE) != 0) flags |= IS_SPACE;
    if ((facts.flags & UNICODE_HAN) != 0) flags |= IS_HAN;
    if ((facts.flags & UNICODE_WORD) != 0) flags |= IS_WORD;
    return flags | (code < 128 ? ascii_flags(code) : 0) | own_flags(s, code);
}

static bool is_in(const struct split_text *t, enum class_name class, size_t i)
{
    return (t->flags[i] & CLASSES[class].any) != 0 && (t->flags[i] & CLASSES[class].none) == 0;
}

/* Where the run of `class` that begins at `at` ends. */
static size_t run_end(const struct split_text *t, enum class_name class, size_t at, size_t end)
{
    struct char_class c = CLASSES[class];
    while (at < end && (t->flags[at] & c.any) != 0 && (t->flags[at] & c.none) == 0) at++;
    return at;
}

static uint8_t byte_of(const struct split_text *t, size_t i)
{
    return t->text.ptr[t->at[i]];
}

size_t match_run(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    size_t from = at;
    if (is_in(t, r->prefix, at) && at + 1 < end && is_in(t, r->body, at + 1)) from++;
    size_t body_end = run_end(t, r->body, from, r->body_max < end - from ? from + r->body_max : end);
    if (body_end == from) return 0;
    return run_end(t, r->tail, body_end, r->tail_max < end - body_end ? body_end + r->tail_max : end) - at;
}

size_t match_exactly(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    size_t want_end = r->body_max <= end - at ? at + r->body_max : at;
    return run_end(t, r->body, at, want_end) == want_end ? want_end - at : 0;
}

size_t match_led(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    if (!is_in(t, r->prefix, at)) return 0;
    size_t body_end = run_end(t, r->body, at + 1, end);
    return body_end > at + 1 ? body_end - at : 0;
}

/* The letter at i, small where `fold`. U+017F folds to s (CaseFolding.txt), and so it does in the authors' engines. */
static uint32_t letter_at(const struct split_text *t, size_t i, size_t end, bool fold)
{
    if (i >= end) return 0;
    uint8_t byte = byte_of(t, i);
    if (byte < 0x80) return fold && byte >= 'A' && byte <= 'Z' ? (uint32_t)byte + 32 : byte;
    return fold && byte == 0xC5 && t->at[i + 1] - t->at[i] == 2 && t->text.ptr[t->at[i] + 1] == 0xBF ? 's' : 0;
}

static size_t contraction(const struct split_text *t, size_t at, size_t end, bool fold)
{
    static const char TWO[][2] = { { 'r', 'e' }, { 'v', 'e' }, { 'l', 'l' } };
    if (at >= end || byte_of(t, at) != '\'') return 0;
    uint32_t first = letter_at(t, at + 1, end, fold);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    uint32_t second = letter_at(t, at + 2, end, fold);
    for (size_t i = 0; i < 3; i++)
        if (first == (uint32_t)TWO[i][0] && second == (uint32_t)TWO[i][1]) return 3;
    return 0;
}

size_t match_contraction(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    (void)r;
    return contraction(t, at, end, false);
}

size_t match_contraction_i(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    (void)r;
    return contraction(t, at, end, true);
}

/* \s* is greedy and takes newlines too, so the match ends behind the last newline of the run. */
size_t match_to_newline(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    (void)r;
    size_t last = run_end(t, SPACE, at, end);
    while (last > at && !is_in(t, NEWLINE, last - 1)) last--;
    return last - at;
}

size_t match_before_word(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    (void)r;
    size_t run = run_end(t, SPACE, at, end);
    if (run == at || run == end) return run - at;
    return run - 1 - at; /* the last one goes with the word; 0 where it is the only one */
}

/* body* tail+ from `from`, where a character may be in both: the end of the match, or `from`. The body takes its whole
 * run; where no tail follows it gives back as far as its last character that can be one. */
static size_t low_end(const struct split_text *t, const struct rule *r, size_t from, size_t end)
{
    size_t body_end = run_end(t, r->body, from, end);
    size_t tail_end = run_end(t, r->tail, body_end, end);
    if (tail_end > body_end) return tail_end;
    while (body_end > from && !is_in(t, r->tail, body_end - 1)) body_end--;
    return body_end;
}

static size_t up_end(const struct split_text *t, const struct rule *r, size_t from, size_t end)
{
    size_t body_end = run_end(t, r->body, from, end);
    return body_end == from ? from : run_end(t, r->tail, body_end, end);
}

static size_t match_cased(const struct split_text *t, const struct rule *r, size_t at, size_t end,
                          size_t (*find_end)(const struct split_text *, const struct rule *, size_t, size_t))
{
    size_t word_end = at;
    if (is_in(t, r->prefix, at)) {
        word_end = find_end(t, r, at + 1, end);
        if (word_end == at + 1) word_end = at; /* nothing behind the prefix: try without */
    }
    if (word_end == at) word_end = find_end(t, r, at, end);
    if (word_end == at) return 0;
    return word_end + (r->body_max > 0 ? contraction(t, word_end, end, true) : 0) - at;
}

size_t match_cased_low(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    return match_cased(t, r, at, end, low_end);
}

size_t match_cased_up(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    return match_cased(t, r, at, end, up_end);
}

size_t match_phrase(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    size_t i = at;
    if (is_in(t, r->prefix, at) && at + 1 < end && is_in(t, LETTER, at + 1)) i++;
    if (!is_in(t, LETTER, i)) return 0;
    for (;;) {
        while (i < end && (t->flags[i] & (IS_LETTER | IS_MARK)) != 0) i++;
        if (i + 1 >= end || !is_in(t, BLANK, i) || !is_in(t, LETTER, i + 1)) return i - at;
        i++;
    }
}

/* Characters `text` stands for, all ASCII, at i; 0: something else. */
static size_t literal(const struct split_text *t, const char *text, size_t i, size_t end)
{
    size_t len = strlen(text);
    if (len > end - i) return 0;
    return view_starts(view_after(t->text, t->at[i]), view_of(text)) ? len : 0;
}

size_t match_sentinel(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    (void)r;
    size_t head = literal(t, "<sentinel:", at, end);
    if (head == 0) return 0;
    size_t digits = run_end(t, ASCII_DIGIT, at + head, end);
    return digits > at + head && digits < end && byte_of(t, digits) == '>' ? digits + 1 - at : 0;
}

size_t match_image(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    (void)r;
    size_t head = literal(t, "IMGIMG", at, end), i = at + head;
    if (head == 0) return 0;
    while (i < end && i < at + head + 4 && byte_of(t, i) >= 'A' && byte_of(t, i) <= 'I') i++;
    return i > at + head && i < end && byte_of(t, i) == 'Z' ? i + 1 - at : 0;
}

size_t match_blanks(const struct split_text *t, const struct rule *r, size_t at, size_t end)
{
    (void)r;
    size_t run = run_end(t, BLANK, at, min_size(at + 4, end)) - at;
    return run == 4 ? 4 : run >= 2 ? 2 : 0;
}

/* Groups of three counted from the right end of a run of digits, where a word ends with the run. */
void cut_digits_from_right(struct split_text *t, size_t begin, size_t end)
{
    for (size_t at = begin; at < end;) {
        size_t run = at;
        while (run < end && (t->flags[run] & IS_DIGIT) != 0) run++;
        if (run == at) {
            at++;
            continue;
        }
        bool word_ends = run == end || (t->flags[run] & IS_WORD) == 0;
        for (size_t cut = run; word_ends; cut -= 3) {
            if (cut < end) t->flags[cut] |= SPLIT_PIECE;
            if (cut < at + 3) break;
        }
        if (word_ends) t->flags[at] |= SPLIT_PIECE;
        at = run;
    }
}

void cut_space_at_end(struct split_text *t, size_t begin, size_t end)
{
    size_t at = end;
    while (at > begin && is_in(t, SPACE, at - 1)) at--;
    if (at < end) t->flags[at] |= SPLIT_PIECE;
}

static void cut_by_rules(struct split_text *t, const struct pass *pass, size_t begin, size_t end)
{
    for (size_t at = begin; at < end;) {
        size_t len = 0;
        for (size_t i = 0; i < pass->rule_count && len == 0; i++)
            len = pass->rules[i].match(t, &pass->rules[i], at, end);
        assert(len <= end - at);
        if (len > 0) {
            t->flags[at] |= SPLIT_PIECE;
            if (at + len < end) t->flags[at + len] |= SPLIT_PIECE;
        }
        at += len > 0 ? len : 1;
    }
}

void split_ascii(const splitter *s, uint32_t ascii[static 128])
{
    for (uint32_t code = 0; code < 128; code++) ascii[code] = flags_of(s, code);
}

static bool classify(const splitter *s, const uint32_t *ascii, view text, struct split_text *out, arena *scratch,
                     err *e)
{
    *out = (struct split_text){ .text = text };
    out->flags = ARENA_ARRAY(scratch, uint32_t, text.len_bytes, "characters", e);
    out->at = ARENA_ARRAY(scratch, uint32_t, text.len_bytes + 1, "characters", e);
    if (out->flags == NULL || out->at == NULL) return false;
    size_t count = 0;
    for (size_t at = 0, len; at < text.len_bytes; at += len) {
        out->at[count] = (uint32_t)at;
        len = 1;
        if (text.ptr[at] < 0x80) {
            out->flags[count++] = ascii[text.ptr[at]];
            continue;
        }
        uint32_t code = utf8_next(view_after(text, at), &len);
        if (code == UTF8_INVALID) len = 1;
        out->flags[count++] = code == UTF8_INVALID ? IS_ANY : flags_of(s, code);
    }
    out->at[count] = (uint32_t)text.len_bytes;
    out->count = count;
    return true;
}

bool split_run(const splitter *s, const uint32_t ascii[static 128], view text, struct split_text *out, arena *scratch,
               err *e)
{
    assert(text.len_bytes <= UINT32_MAX);
    if (!classify(s, ascii, text, out, scratch, e)) return false;
    if (out->count > 0) out->flags[0] |= SPLIT_PIECE;
    for (size_t i = 0; i < PASSES_MAX && s->passes[i] != NULL; i++) {
        for (size_t begin = 0, end; begin < out->count; begin = end) {
            end = begin + 1;
            while (end < out->count && (out->flags[end] & SPLIT_PIECE) == 0) end++;
            if (s->passes[i]->cut != NULL) s->passes[i]->cut(out, begin, end);
            else cut_by_rules(out, s->passes[i], begin, end);
        }
    }
    return true;
}
