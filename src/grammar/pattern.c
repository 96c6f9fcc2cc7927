/* ECMA-262 regular expressions with the flag u (ECMA-262 2023, section 22.2.1), the part that is regular. Groups
 * capture nothing, lazy is as good as greedy: only which texts match is asked. Refused with their names:
 * back-references, look-ahead and look-behind, word boundaries.
 *
 * The makers of trees at the top serve gbnf.c as well. */
#include "grammar/regex.h"
#include "grammar/sort.h"

#include "base/unicode.h"
#include "base/utf8.h"

/* ---- trees ---- */

struct regex *regex_new(enum regex_op op, const struct regex *left, const struct regex *right, arena *a, err *e)
{
    struct regex *r = ARENA_ARRAY(a, struct regex, 1, "pattern", e);
    if (r == NULL) return NULL;
    *r = (struct regex){ .op = op, .left = left, .right = right, .least = 1, .most = 1 };
    return r;
}

struct regex *regex_chars(const struct regex_range *ranges, uint32_t count, arena *a, err *e)
{
    struct regex *r = regex_new(REGEX_CHARS, NULL, NULL, a, e);
    struct regex_range *copy = ARENA_ARRAY(a, struct regex_range, count, "pattern", e);
    if (r == NULL || copy == NULL) return NULL;
    memcpy(copy, ranges, count * sizeof *copy);
    r->ranges = copy;
    r->range_count = count;
    return r;
}

struct regex *regex_text(view utf8, arena *a, err *e)
{
    struct regex *all = regex_new(REGEX_EMPTY, NULL, NULL, a, e);
    while (utf8.len_bytes > 0 && all != NULL) {
        size_t len;
        uint32_t code = utf8_next(utf8, &len);
        struct regex *one = regex_chars(&(struct regex_range){ code, code }, 1, a, e);
        if (one == NULL) return NULL;
        all = all->op == REGEX_EMPTY ? one : regex_new(REGEX_CAT, all, one, a, e);
        utf8 = view_after(utf8, len);
    }
    return all;
}

static int range_order(const void *a, const void *b)
{
    const struct regex_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

uint32_t regex_ranges_settle(struct regex_range *r, uint32_t count, bool negate)
{
    uint32_t kept = 0;
    if (count > 1) sort_rows(r, count, sizeof *r, range_order);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && r[i].lo <= r[kept - 1].hi + 1) {
            if (r[i].hi > r[kept - 1].hi) r[kept - 1].hi = r[i].hi;
        } else {
            r[kept++] = r[i];
        }
    }
    if (!negate) return kept;
    uint32_t next = 0, others = 0;
    for (uint32_t i = 0; i < kept; i++) { /* at most one more than there were; each is read before it is written over */
        struct regex_range one = r[i];
        if (one.lo > next) {
            struct regex_range gap = { next, one.lo - 1 };
            next = one.hi + 1;
            r[others++] = gap;
        } else {
            next = one.hi + 1;
        }
    }
    if (next <= 0x10ffff) r[others++] = (struct regex_range){ next, 0x10ffff };
    return others;
}

/* ---- reading ---- */

enum { RANGES_MAX = 4096, NEST_MAX = 64, REPEAT_MAX = 10000 };

struct reader {
    view all;
    size_t at;
    unsigned depth;
    arena *a;
    err *e;
    struct regex_range *ranges; /* of the class that is being read */
    uint32_t range_count;
};

static int peek(const struct reader *r)
{
    return r->at < r->all.len_bytes ? r->all.ptr[r->at] : -1;
}

static bool take(struct reader *r, const char *text)
{
    if (!view_starts(view_after(r->all, r->at), view_of(text))) return false;
    r->at += strlen(text);
    return true;
}

static bool bad(struct reader *r, enum err_code code, const char *what)
{
    return fail(r->e, code, ERR_NO_OFFSET, "pattern: %s at byte %zu", what, r->at);
}

static bool add_range(struct reader *r, uint32_t lo, uint32_t hi)
{
    if (r->range_count == RANGES_MAX) return bad(r, ERR_LIMIT, "too many ranges");
    r->ranges[r->range_count++] = (struct regex_range){ lo, hi };
    return true;
}

/* The character under the reader. */
static bool take_char(struct reader *r, uint32_t *code)
{
    size_t len;
    if (peek(r) < 0) return bad(r, ERR_VALUE, "ends too early");
    *code = utf8_next(view_after(r->all, r->at), &len);
    if (*code == UTF8_INVALID) return bad(r, ERR_VALUE, "no UTF-8");
    r->at += len;
    return true;
}

static int hex_value(int c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool take_hex(struct reader *r, unsigned digits, uint32_t *code)
{
    *code = 0;
    for (unsigned i = 0; i < digits; i++) {
        int digit = hex_value(peek(r));
        if (digit < 0) return bad(r, ERR_VALUE, "not a hexadecimal digit");
        *code = *code * 16 + (uint32_t)digit;
        r->at++;
    }
    return true;
}

static bool take_unicode(struct reader *r, uint32_t *code)
{
    uint32_t low;
    if (!take(r, "{")) {
        if (!take_hex(r, 4, code)) return false;
        if (*code < 0xd800 || *code > 0xdfff) return true;
        if (*code > 0xdbff || !take(r, "\\u") || !take_hex(r, 4, &low) || low < 0xdc00 || low > 0xdfff)
            return bad(r, ERR_UNSUPPORTED, "half a surrogate pair");
        *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
        return true;
    }
    *code = 0;
    while (hex_value(peek(r)) >= 0) {
        *code = *code * 16 + (uint32_t)hex_value(peek(r));
        if (*code > 0x10ffff) return bad(r, ERR_VALUE, "above U+10FFFF");
        r->at++;
    }
    if (!take(r, "}")) return bad(r, ERR_VALUE, "\\u{ without }");
    return (*code < 0xd800 || *code > 0xdfff) || bad(r, ERR_UNSUPPORTED, "half a surrogate pair");
}

/* ---- classes of characters ---- */

struct named_class {
    char letter;
    uint32_t count;
    struct regex_range ranges[11];
};

/* ECMA-262, CharacterClassEscape; \s is WhiteSpace and LineTerminator. */
static const struct named_class CLASSES[] = {
    { 'd', 1, { { '0', '9' } } },
    { 'w', 4, { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } } },
    { 's',
      10,
      { { 9, 13 },
        { 32, 32 },
        { 0xa0, 0xa0 },
        { 0x1680, 0x1680 },
        { 0x2000, 0x200a },
        { 0x2028, 0x2029 },
        { 0x202f, 0x202f },
        { 0x205f, 0x205f },
        { 0x3000, 0x3000 },
        { 0xfeff, 0xfeff } } },
};

static bool add_negated(struct reader *r, const struct regex_range *ranges, uint32_t count)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (ranges[i].lo > next && !add_range(r, next, ranges[i].lo - 1)) return false;
        next = ranges[i].hi + 1;
    }
    return next > 0x10ffff || add_range(r, next, 0x10ffff);
}

struct property {
    const char *name, *long_name;
    uint64_t categories; /* bits of enum unicode_category */
};
#define BIT(c) (UINT64_C(1) << UNICODE_##c)

/* Values of General_Category (Unicode 15, PropertyValueAliases.txt). */
static const struct property PROPERTIES[] = {
    { "L", "Letter", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO) },
    { "Lu", "Uppercase_Letter", BIT(LU) },
    { "Ll", "Lowercase_Letter", BIT(LL) },
    { "Lt", "Titlecase_Letter", BIT(LT) },
    { "Lm", "Modifier_Letter", BIT(LM) },
    { "Lo", "Other_Letter", BIT(LO) },
    { "M", "Mark", BIT(MN) | BIT(MC) | BIT(ME) },
    { "Mn", "Nonspacing_Mark", BIT(MN) },
    { "N", "Number", BIT(ND) | BIT(NL) | BIT(NO) },
    { "Nd", "Decimal_Number", BIT(ND) },
    { "Nl", "Letter_Number", BIT(NL) },
    { "P", "Punctuation", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO) },
    { "S", "Symbol", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO) },
    { "Z", "Separator", BIT(ZS) | BIT(ZL) | BIT(ZP) },
    { "Zs", "Space_Separator", BIT(ZS) },
    { "digit", "digit", BIT(ND) },
};

static bool add_property(struct reader *r, bool negate)
{
    size_t end = r->at;
    while (end < r->all.len_bytes && r->all.ptr[end] != '}') end++;
    if (!take(r, "{") || end == r->all.len_bytes) return bad(r, ERR_VALUE, "\\p without {name}");
    view name = { r->all.ptr + r->at, end - r->at };
    if (view_starts(name, view_of("gc="))) name = view_after(name, 3);
    if (view_starts(name, view_of("General_Category="))) name = view_after(name, 17);
    r->at = end + 1;
    for (size_t i = 0; i < sizeof PROPERTIES / sizeof *PROPERTIES; i++) {
        if (!view_is(name, PROPERTIES[i].name) && !view_is(name, PROPERTIES[i].long_name)) continue;
        for (uint32_t lo = 0, hi; lo <= 0x10ffff; lo = hi) {
            bool in = (PROPERTIES[i].categories >> unicode_facts_of(lo).category & 1) != negate;
            for (hi = lo + 1; hi <= 0x10ffff; hi++)
                if (((PROPERTIES[i].categories >> unicode_facts_of(hi).category & 1) != negate) != in) break;
            if (in && !add_range(r, lo, hi - 1)) return false;
        }
        return true;
    }
    return fail(r->e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "pattern: the property \\p{%.*s} is not known here",
                (int)(name.len_bytes < 40 ? name.len_bytes : 40), (const char *)name.ptr);
}

/* Behind a backslash: a class into r->ranges (*code = UTF8_INVALID) or one character. */
static bool take_escape(struct reader *r, bool in_class, uint32_t *code)
{
    static const char PLAIN[][2] = { "t\t", "n\n", "v\v", "f\f", "r\r" };
    int c = peek(r);
    *code = UTF8_INVALID;
    if (c < 0) return bad(r, ERR_VALUE, "ends behind a backslash");
    r->at++;
    for (size_t i = 0; i < sizeof CLASSES / sizeof *CLASSES; i++) {
        if (c == CLASSES[i].letter) {
            for (uint32_t j = 0; j < CLASSES[i].count; j++)
                if (!add_range(r, CLASSES[i].ranges[j].lo, CLASSES[i].ranges[j].hi)) return false;
            return true;
        }
        if (c == CLASSES[i].letter - 'a' + 'A') return add_negated(r, CLASSES[i].ranges, CLASSES[i].count);
    }
    for (size_t i = 0; i < sizeof PLAIN / sizeof *PLAIN; i++)
        if (c == PLAIN[i][0]) return *code = (uint8_t)PLAIN[i][1], true;
    if (c == 'p' || c == 'P') return add_property(r, c == 'P');
    if (c == 'x') return take_hex(r, 2, code);
    if (c == 'u') return take_unicode(r, code);
    if (c == '0' && (peek(r) < '0' || peek(r) > '9')) return *code = 0, true;
    if (c == 'c' && ((peek(r) | 32) >= 'a' && (peek(r) | 32) <= 'z')) return *code = r->all.ptr[r->at++] & 31, true;
    if (c == 'b' && in_class) return *code = 8, true;
    if (c == 'b' || c == 'B') return bad(r, ERR_UNSUPPORTED, "a word boundary, which is not supported,");
    if ((c >= '1' && c <= '9') || c == 'k') return bad(r, ERR_UNSUPPORTED, "a back-reference, which is not supported,");
    /* With u only syntax characters may be escaped; what people write beyond that means itself everywhere. */
    if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z')) return bad(r, ERR_VALUE, "an unknown escape");
    r->at--;
    return take_char(r, code);
}

static bool class_atom(struct reader *r, uint32_t *code)
{
    if (take(r, "\\")) return take_escape(r, true, code);
    return take_char(r, code);
}

/* Behind '['. */
static const struct regex *take_class(struct reader *r)
{
    bool negate = take(r, "^");
    r->range_count = 0;
    while (!take(r, "]")) {
        uint32_t lo, hi;
        if (!class_atom(r, &lo)) return NULL;
        bool range = peek(r) == '-' && r->at + 1 < r->all.len_bytes && r->all.ptr[r->at + 1] != ']';
        if (lo == UTF8_INVALID || !range) {
            if (lo != UTF8_INVALID && !add_range(r, lo, lo)) return NULL;
            continue;
        }
        r->at++;
        if (!class_atom(r, &hi)) return NULL;
        if (hi == UTF8_INVALID || hi < lo) return bad(r, ERR_VALUE, "a range that ends before it begins"), NULL;
        if (!add_range(r, lo, hi)) return NULL;
    }
    uint32_t count = regex_ranges_settle(r->ranges, r->range_count, negate);
    return regex_chars(r->ranges, count, r->a, r->e);
}

/* ---- the grammar: alternatives of sequences of quantified atoms ---- */

static const struct regex *take_alternatives(struct reader *r);

static const struct regex *take_group(struct reader *r)
{
    if (take(r, "?:")) {
    } else if (take(r, "?<=") || take(r, "?<!")) {
        return bad(r, ERR_UNSUPPORTED, "a look-behind, which is not supported,"), NULL;
    } else if (take(r, "?=") || take(r, "?!")) {
        return bad(r, ERR_UNSUPPORTED, "a look-ahead, which is not supported,"), NULL;
    } else if (take(r, "?<")) {
        while (peek(r) >= 0 && peek(r) != '>') r->at++;
        if (!take(r, ">")) return bad(r, ERR_VALUE, "a group's name without >"), NULL;
    } else if (peek(r) == '?') {
        return bad(r, ERR_UNSUPPORTED, "an unknown kind of group"), NULL;
    }
    if (++r->depth > NEST_MAX) return bad(r, ERR_LIMIT, "nests too deep"), NULL;
    const struct regex *inner = take_alternatives(r);
    r->depth--;
    if (inner != NULL && !take(r, ")")) return bad(r, ERR_VALUE, "a group without )"), NULL;
    return inner;
}

static const struct regex *take_atom(struct reader *r)
{
    static const struct regex_range LINE[] = { { 10, 10 }, { 13, 13 }, { 0x2028, 0x2029 } };
    uint32_t code;
    r->range_count = 0;
    if (take(r, "(")) return take_group(r);
    if (take(r, "[")) return take_class(r);
    if (take(r, "^")) return regex_new(REGEX_BEGIN, NULL, NULL, r->a, r->e);
    if (take(r, "$")) return regex_new(REGEX_END, NULL, NULL, r->a, r->e);
    if (take(r, ".")) {
        if (!add_negated(r, LINE, sizeof LINE / sizeof *LINE)) return NULL;
    } else if (take(r, "\\")) {
        if (!take_escape(r, false, &code) || (code != UTF8_INVALID && !add_range(r, code, code))) return NULL;
    } else if (strchr("*+?{", peek(r)) != NULL) {
        return bad(r, ERR_VALUE, "nothing to repeat"), NULL;
    } else if (!take_char(r, &code) || !add_range(r, code, code)) {
        return NULL;
    }
    return regex_chars(r->ranges, regex_ranges_settle(r->ranges, r->range_count, false), r->a, r->e);
}

static bool take_number(struct reader *r, uint32_t *out)
{
    size_t first = r->at;
    for (*out = 0; peek(r) >= '0' && peek(r) <= '9'; r->at++) {
        *out = *out * 10 + (uint32_t)(peek(r) - '0');
        if (*out > REPEAT_MAX) return bad(r, ERR_LIMIT, "a repeat of more than 10000");
    }
    return r->at > first || bad(r, ERR_VALUE, "a { that is no repeat");
}

static bool take_repeat(struct reader *r, uint32_t *least, uint32_t *most)
{
    *least = *most = 1;
    if (take(r, "*")) *least = 0, *most = REGEX_MANY;
    else if (take(r, "+")) *most = REGEX_MANY;
    else if (take(r, "?")) *least = 0;
    else if (take(r, "{")) {
        if (!take_number(r, least)) return false;
        *most = *least;
        if (take(r, ",")) {
            *most = REGEX_MANY;
            if (peek(r) != '}' && !take_number(r, most)) return false;
        }
        if (!take(r, "}") || *most < *least) return bad(r, ERR_VALUE, "a { that is no repeat");
    } else {
        return true;
    }
    take(r, "?"); /* lazy: the same texts */
    return true;
}

static const struct regex *take_sequence(struct reader *r)
{
    const struct regex *all = NULL;
    while (peek(r) >= 0 && peek(r) != '|' && peek(r) != ')') {
        uint32_t least, most;
        const struct regex *one = take_atom(r);
        if (one == NULL || !take_repeat(r, &least, &most)) return NULL;
        if (least != 1 || most != 1) {
            struct regex *repeat = regex_new(REGEX_REPEAT, one, NULL, r->a, r->e);
            if (repeat == NULL) return NULL;
            repeat->least = least;
            repeat->most = most;
            one = repeat;
        }
        all = all == NULL ? one : regex_new(REGEX_CAT, all, one, r->a, r->e);
        if (all == NULL) return NULL;
    }
    return all != NULL ? all : regex_new(REGEX_EMPTY, NULL, NULL, r->a, r->e);
}

static const struct regex *take_alternatives(struct reader *r)
{
    const struct regex *all = take_sequence(r);
    while (all != NULL && take(r, "|")) {
        const struct regex *one = take_sequence(r);
        all = one == NULL ? NULL : regex_new(REGEX_ALT, all, one, r->a, r->e);
    }
    return all;
}

bool regex_pattern(view pattern, const struct regex **out, arena *a, err *e)
{
    if (pattern.len_bytes > GRAMMAR_PATTERN_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "pattern: %zu bytes, allowed 0..%d", pattern.len_bytes,
                    GRAMMAR_PATTERN_BYTES_MAX);
    struct reader r = { .all = pattern, .a = a, .e = e };
    r.ranges = ARENA_ARRAY(a, struct regex_range, RANGES_MAX + 1, "pattern", e);
    if (r.ranges == NULL) return false;
    *out = take_alternatives(&r);
    if (*out == NULL) return false;
    return r.at == pattern.len_bytes || bad(&r, ERR_VALUE, "a ) without its group");
}
