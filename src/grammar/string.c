/* Strings with rules as spans: see string.h. The machine follows the text as it is written (the states of free names,
 * free.c, which know escapes and UTF-8) and hands the bytes of the value to the automata of its rules. */
#include "grammar/string.h"

#include "base/utf8.h"

#include <assert.h>

/* ---- canonical texts ---- */

bool string_text(view value, view *out, arena *a, err *e)
{
    uint8_t *text = ARENA_ARRAY(a, uint8_t, value.len_bytes * 6 + 2, "string", e);
    size_t at = 0;
    if (text == NULL) return false;
    text[at++] = '"';
    for (size_t i = 0; i < value.len_bytes; i++) {
        view escape = json_escape(value.ptr[i]);
        if (escape.len_bytes == 0) text[at++] = value.ptr[i];
        else memcpy(text + at, escape.ptr, escape.len_bytes);
        at += escape.len_bytes;
    }
    text[at++] = '"';
    *out = (view){ text, at };
    return true;
}

/* ---- following a value through the rules ---- */

enum { WORD_FREE, WORD_COUNT, WORD_RULES }; /* then a word for each atom */
#define TEXT_OTHER UINT32_MAX               /* of a text: not this one any more */

/* Characters so far, no more than can matter. */
static uint32_t count_next(const struct string_rules *r, uint32_t count)
{
    uint64_t matters = r->most != UINT64_MAX ? r->most + 1 : r->least;
    return count < matters ? count + 1 : count;
}

static void atoms_start(const struct string_rules *r, uint32_t *words)
{
    for (uint32_t i = 0; i < r->count; i++) words[i] = r->atoms[i].dfa != NULL ? 1 : 0;
}

/* One byte of the value. False where nothing that goes on from here can hold. */
static bool atoms_step(const struct string_rules *r, const uint32_t *from, uint8_t byte, uint32_t *to)
{
    for (uint32_t i = 0; i < r->count; i++) {
        const struct string_atom *atom = &r->atoms[i];
        bool ended;
        if (atom->dfa != NULL) {
            to[i] = atom->dfa->next[from[i]][byte];
            ended = to[i] == 0;
        } else {
            bool same = from[i] < atom->text.len_bytes && atom->text.ptr[from[i]] == byte;
            to[i] = same ? from[i] + 1 : TEXT_OTHER;
            ended = !same;
        }
        if (ended && !atom->negate) return false;
    }
    return true;
}

static bool atoms_hold(const struct string_rules *r, const uint32_t *words, uint64_t count)
{
    if (count < r->least || count > r->most) return false;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct string_atom *atom = &r->atoms[i];
        bool holds = atom->dfa != NULL ? atom->dfa->final[words[i]] : words[i] == atom->text.len_bytes;
        if (holds == atom->negate) return false;
    }
    return true;
}

static bool counts(const struct string_rules *r)
{
    return r->least > 0 || r->most != UINT64_MAX;
}

bool string_takes(const struct string_rules *r, view value)
{
    uint32_t words[STRING_ATOMS_MAX], next[STRING_ATOMS_MAX];
    uint64_t chars = 0;
    atoms_start(r, words);
    for (size_t i = 0; i < value.len_bytes; i++) {
        chars += (value.ptr[i] & 0xc0) != 0x80;
        if (!atoms_step(r, words, value.ptr[i], next)) return false;
        memcpy(words, next, r->count * sizeof *words);
    }
    return atoms_hold(r, words, chars);
}

/* ---- from written bytes to the value's ---- */

/* The byte of the value that `byte` completes in state `from` of a free name: 0..255; -1 where none is complete. */
static int value_byte(uint32_t from, uint8_t byte)
{
    static const uint8_t SHORT[][2] = { { '"', '"' }, { '\\', '\\' }, { 'b', 8 }, { 'f', 12 },
                                        { 'n', 10 },  { 'r', 13 },    { 't', 9 } };
    int digit = byte <= '9' ? byte - '0' : byte - 'a' + 10;
    if (from == FREE_ESCAPE) {
        for (size_t i = 0; i < sizeof SHORT / sizeof *SHORT; i++)
            if (SHORT[i][0] == byte) return SHORT[i][1];
        return -1;
    }
    if (from == FREE_KEY_U000) return digit;
    if (from == FREE_KEY_U001) return 16 + digit;
    if (from >= FREE_KEY_U && from <= FREE_KEY_U00) return -1;
    return from == FREE_BODY && (byte == '"' || byte == '\\') ? -1 : byte;
}

/* ---- a string ---- */

struct strings {
    const struct string_rules *rules;
    uint8_t (*rows)[256];
};

static bool string_step(const void *ctx, const uint32_t *from, uint8_t byte, uint32_t *to)
{
    const struct strings *s = ctx;
    const struct string_rules *r = s->rules;
    if (from[WORD_FREE] == FREE_KEY_STATES) { /* the opening quote */
        memcpy(to, from, (WORD_RULES + r->count) * sizeof *to);
        to[WORD_FREE] = FREE_BODY;
        return byte == '"';
    }
    uint8_t state = s->rows[from[WORD_FREE]][byte];
    if (state == FREE_DEAD) return false;
    to[WORD_FREE] = state;
    if (state == FREE_END) return atoms_hold(r, from + WORD_RULES, from[WORD_COUNT]);
    to[WORD_COUNT] = from[WORD_COUNT];
    if (from[WORD_FREE] == FREE_BODY && counts(r)) {
        to[WORD_COUNT] = count_next(r, from[WORD_COUNT]);
        if (to[WORD_COUNT] > r->most) return false;
    }
    int value = value_byte(from[WORD_FREE], byte);
    if (value >= 0) return atoms_step(r, from + WORD_RULES, (uint8_t)value, to + WORD_RULES);
    memcpy(to + WORD_RULES, from + WORD_RULES, r->count * sizeof *to);
    return true;
}

static uint16_t string_label(const void *ctx, const uint32_t *at)
{
    (void)ctx;
    return at[WORD_FREE] == FREE_END ? 0 : LABEL_NONE;
}

bool string_span(build *b, const struct string_rules *r, bool quote, uint32_t *state)
{
    struct strings s = { r, b->free_rows };
    uint32_t start[WORD_RULES + STRING_ATOMS_MAX] = { quote ? FREE_KEY_STATES : FREE_BODY };
    struct machine m = { .ctx = &s,
                         .words = WORD_RULES + r->count,
                         .step = string_step,
                         .label = string_label,
                         .states_max = STRING_STATES_MAX,
                         .what = "pattern and length together" };
    atoms_start(r, start + WORD_RULES);
    return span_machine(b, &m, start, state);
}

/* ---- names ---- */

/* State: free, place among the listed (lo, hi, bytes; lo == hi: none of them), a word for each pattern, then for each
 * set of rules a count (RULES_BROKEN: it does not hold) and its atoms' words. */
enum { NAME_FREE, NAME_LO, NAME_HI, NAME_AT, NAME_PATTERNS };
#define RULES_BROKEN UINT32_MAX

struct names {
    const struct name_rules *r;
    uint8_t (*rows)[256];
};

/* The listed names that go on with `byte`. */
static void listed_step(const struct name_rules *r, const uint32_t *from, uint8_t byte, uint32_t *to)
{
    uint32_t lo = from[NAME_LO], hi = from[NAME_HI], at = from[NAME_AT];
    while (lo < hi && (r->listed[lo].len_bytes <= at || r->listed[lo].ptr[at] < byte)) lo++;
    while (hi > lo && r->listed[hi - 1].ptr[at] > byte) hi--;
    to[NAME_LO] = lo < hi ? lo : 0;
    to[NAME_HI] = lo < hi ? hi : 0;
    to[NAME_AT] = lo < hi ? at + 1 : 0;
}

static bool name_rules_step(const struct name_rules *r, const uint32_t *from, bool begins, int value, uint32_t *to)
{
    uint32_t at = NAME_PATTERNS + r->pattern_count;
    for (uint32_t i = 0; i < r->pattern_count; i++) {
        uint32_t word = from[NAME_PATTERNS + i];
        to[NAME_PATTERNS + i] = value >= 0 ? r->patterns[i]->next[word][value] : word;
    }
    for (uint32_t i = 0; i < r->rule_count; at += 1 + r->rules[i++]->count) {
        const struct string_rules *one = r->rules[i];
        memcpy(to + at, from + at, (1 + one->count) * sizeof *to);
        if (from[at] == RULES_BROKEN) continue;
        if (begins && counts(one)) to[at] = count_next(one, from[at]);
        bool holds = to[at] <= one->most && (value < 0 || atoms_step(one, from + at + 1, (uint8_t)value, to + at + 1));
        if (holds) continue;
        memset(to + at, 0, (1 + one->count) * sizeof *to);
        to[at] = RULES_BROKEN;
    }
    return true;
}

/* The class of a name that ends here and is not listed; UINT16_MAX: not allowed. */
static uint16_t name_class(const struct name_rules *r, const uint32_t *at)
{
    uint32_t bits = 0, rule_at = NAME_PATTERNS + r->pattern_count;
    bool good = r->rule_count == 0;
    for (uint32_t i = 0; i < r->pattern_count; i++)
        if (r->patterns[i]->final[at[NAME_PATTERNS + i]]) bits |= 1u << i;
    for (uint32_t i = 0; i < r->rule_count && !good; rule_at += 1 + r->rules[i++]->count)
        good = at[rule_at] != RULES_BROKEN && atoms_hold(r->rules[i], at + rule_at + 1, at[rule_at]);
    return good ? r->class_of[bits] : UINT16_MAX;
}

static bool name_step(const void *ctx, const uint32_t *from, uint8_t byte, uint32_t *to)
{
    const struct names *n = ctx;
    if (from[NAME_FREE] >= FREE_KEY_STATES) return false; /* behind the end */
    uint8_t state = n->rows[from[NAME_FREE]][byte];
    if (state == FREE_DEAD) return false;
    listed_step(n->r, from, byte, to);
    if (state == FREE_END) { /* the label is the state: all words but it and the place are 0 */
        bool listed = to[NAME_LO] < to[NAME_HI];
        uint32_t label = listed ? to[NAME_LO] : name_class(n->r, from);
        to[NAME_LO] = to[NAME_HI] = to[NAME_AT] = 0;
        to[NAME_FREE] = FREE_KEY_STATES + (listed ? label : n->r->listed_count + label);
        return listed || label != UINT16_MAX;
    }
    to[NAME_FREE] = state;
    return name_rules_step(n->r, from, from[NAME_FREE] == FREE_BODY, value_byte(from[NAME_FREE], byte), to);
}

static uint16_t name_label(const void *ctx, const uint32_t *at)
{
    (void)ctx;
    return at[NAME_FREE] >= FREE_KEY_STATES ? (uint16_t)(at[NAME_FREE] - FREE_KEY_STATES) : LABEL_NONE;
}

static void name_reach(const void *ctx, const uint32_t *at, uint16_t *lo, uint16_t *hi)
{
    const struct names *n = ctx;
    *lo = (uint16_t)at[NAME_LO];
    *hi = (uint16_t)at[NAME_HI];
    if (at[NAME_FREE] >= FREE_KEY_STATES && at[NAME_FREE] - FREE_KEY_STATES < n->r->listed_count) {
        *lo = (uint16_t)(at[NAME_FREE] - FREE_KEY_STATES);
        *hi = (uint16_t)(*lo + 1);
    }
}

bool name_span(build *b, const struct name_rules *r, uint32_t *state)
{
    struct names n = { r, b->free_rows };
    uint32_t start[MACHINE_WORDS_MAX] = { FREE_BODY, 0, r->listed_count, 0 }, at = NAME_PATTERNS;
    for (uint32_t i = 0; i < r->pattern_count; i++) start[at++] = 1;
    for (uint32_t i = 0; i < r->rule_count; i++) {
        if (at + 1 + r->rules[i]->count > MACHINE_WORDS_MAX)
            return fail(b->e, ERR_LIMIT, ERR_NO_OFFSET, "names of members: too many rules at once");
        start[at++] = 0;
        atoms_start(r->rules[i], start + at);
        at += r->rules[i]->count;
    }
    struct machine m = { .ctx = &n,
                         .words = at,
                         .step = name_step,
                         .label = name_label,
                         .reach = name_reach,
                         .listed = r->listed_count,
                         .states_max = STRING_STATES_MAX,
                         .what = "names of members" };
    return span_machine(b, &m, start, state);
}
