/* base/unicode.h: facts, decomposition and form C. Rows are from the Unicode standard's own examples (UAX 15, 3.12). */
#include "base/unicode.h"

#include "base/utf8.h"

#include "check.h"

static const struct {
    const char *says;
    uint32_t code;
    enum unicode_category category;
    unsigned flags;
    uint32_t lower;
} FACTS[] = {
    { "a capital letter", 'A', UNICODE_LU, UNICODE_WORD, 'a' },
    { "a small letter", 'z', UNICODE_LL, UNICODE_WORD, 'z' },
    { "the space", ' ', UNICODE_ZS, UNICODE_WHITE_SPACE, ' ' },
    { "NEL is white", 0x85, UNICODE_CC, UNICODE_WHITE_SPACE, 0x85 },
    { "zero width space is not", 0x200B, UNICODE_CF, 0, 0x200B },
    { "byte order mark is not", 0xFEFF, UNICODE_CF, 0, 0xFEFF },
    { "ideographic space", 0x3000, UNICODE_ZS, UNICODE_WHITE_SPACE, 0x3000 },
    { "acute accent", 0x301, UNICODE_MN, UNICODE_WORD | UNICODE_NFC_UNSURE, 0x301 },
    { "e with acute", 0xE9, UNICODE_LL, UNICODE_WORD | UNICODE_DECOMPOSES, 0xE9 },
    { "angstrom sign", 0x212B, UNICODE_LU, UNICODE_WORD | UNICODE_DECOMPOSES | UNICODE_NFC_UNSURE, 0xE5 },
    { "capital sigma", 0x3A3, UNICODE_LU, UNICODE_WORD, 0x3C3 },
    { "first of the ideographs", 0x4E00, UNICODE_LO, UNICODE_WORD | UNICODE_HAN, 0x4E00 },
    { "roman numeral", 0x2167, UNICODE_NL, UNICODE_WORD, 0x2177 },
    { "one half", 0xBD, UNICODE_NO, 0, 0xBD },
    { "a surrogate", 0xD800, UNICODE_CS, 0, 0xD800 },
    { "not assigned", 0x378, UNICODE_CN, 0, 0x378 },
    { "private use", 0xE000, UNICODE_CO, 0, 0xE000 },
    { "the last code", 0x10FFFF, UNICODE_CN, 0, 0x10FFFF },
    { "behind the last code", 0x110000, UNICODE_CN, 0, 0x110000 },
    { "the largest number", UINT32_MAX, UNICODE_CN, 0, UINT32_MAX },
};

static const struct { const char *says, *text, *want; } COMPOSED[] = {
    { "nothing", "", "" },
    { "ASCII stays", "abc", "abc" },
    { "letter and mark", "e\xCC\x81", "\xC3\xA9" },
    { "composed already", "\xC3\xA9", "\xC3\xA9" },
    { "singleton: angstrom sign", "\xE2\x84\xAB", "\xC3\x85" },
    { "two marks out of order", "a\xCC\x81\xCC\xA7", "\xC3\xA1\xCC\xA7" },
    { "mark behind one that composed", "a\xCC\x84\xCC\x81", "\xC4\x81\xCC\x81" },
    { "mark blocked by one of its class", "a\xCC\x8D\xCC\x81", "a\xCC\x8D\xCC\x81" },
    { "d with dots below and above (UAX 15)", "\xE1\xB8\x8B\xCC\xA3", "\xE1\xB8\x8D\xCC\x87" },
    { "Hangul L V", "\xE1\x84\x80\xE1\x85\xA1", "\xEA\xB0\x80" },
    { "Hangul L V T", "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81" },
    { "Hangul LV, T", "\xEA\xB0\x80\xE1\x86\xA8", "\xEA\xB0\x81" },
    { "Hangul LV and U+11A7, which is no T", "\xEA\xB0\x80\xE1\x86\xA7", "\xEA\xB0\x80\xE1\x86\xA7" },
    { "excluded from composition", "\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC" },
    { "grows to three times its length", "\xF0\x9D\x85\xA0", "\xF0\x9D\x85\x98\xF0\x9D\x85\xA5\xF0\x9D\x85\xAE" },
    { "a byte that is no UTF-8 composes with nothing", "e\xFF\xCC\x81", "e\xFF\xCC\x81" },
    { "and stays beside what composes", "\xC3(e\xCC\x81\xE2\x82", "\xC3(\xC3\xA9\xE2\x82" },
    { "mark without a letter", "\xCC\x81" "a", "\xCC\x81" "a" },
};

static void composes(size_t row, arena *a)
{
    err e = { 0 };
    view out, text = view_of(COMPOSED[row].text);
    size_t before = a->used_bytes;
    if (!CHECK(unicode_nfc(text, a, &out, &e), "%s: %s", COMPOSED[row].says, e.text)) return;
    CHECK(view_is(out, COMPOSED[row].want), "%s: \"%.*s\"", COMPOSED[row].says, (int)out.len_bytes,
          (const char *)out.ptr);
    CHECK(a->used_bytes - before <= unicode_nfc_bytes(text.len_bytes), "%s: took %zu bytes", COMPOSED[row].says,
          a->used_bytes - before);
}

/* Every code: what form C makes of it stays as it is, and decomposing it again gives the same codes. */
static void every_code(arena *a)
{
    size_t unstable = 0, other = 0;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code >= 0xD800 && code <= 0xDFFF) continue;
        uint32_t parts[UNICODE_DECOMPOSED_MAX], again[UNICODE_DECOMPOSED_MAX];
        uint8_t text[UNICODE_DECOMPOSED_MAX * 4];
        size_t count = unicode_decompose(code, parts), len = 0, mark = a->used_bytes;
        for (size_t i = 0; i < count; i++) {
            len += utf8_put(parts[i], text + len);
            unstable += unicode_decompose(parts[i], again) != 1;
        }
        err e = { 0 };
        view once, twice;
        bool good = unicode_nfc((view){ text, len }, a, &once, &e) && unicode_nfc(once, a, &twice, &e);
        other += !good || !view_equal(once, twice);
        arena_rewind(a, mark);
    }
    CHECK(unstable == 0, "%zu parts of decompositions decompose further", unstable);
    CHECK(other == 0, "%zu codes whose form C is not stable", other);
}

/* Many marks behind one letter take the counting sort: the same order as few. */
static void many_marks(arena *a)
{
    enum { MARKS = 300 };
    uint8_t text[1 + MARKS * 2];
    text[0] = 'q';
    for (size_t i = 0; i < MARKS; i++) memcpy(text + 1 + 2 * i, i % 2 == 0 ? "\xCC\x81" : "\xCC\xA7", 2);
    err e = { 0 };
    view out;
    CHECK(unicode_nfc((view){ text, sizeof text }, a, &out, &e), "%s", e.text);
    size_t wrong = out.len_bytes != sizeof text;
    for (size_t i = 0; i < MARKS && wrong == 0; i++)
        wrong += memcmp(out.ptr + 1 + 2 * i, i < MARKS / 2 ? "\xCC\xA7" : "\xCC\x81", 2) != 0;
    CHECK(wrong == 0, "300 marks: %zu out of order", wrong);
}

static const struct { const char *says; uint32_t code, want[UNICODE_UPPER_MAX]; } UPPER[] = {
    { "a letter", 'q', { 'Q' } },
    { "upper case stays", 'Q', { 'Q' } },
    { "no letter", '1', { '1' } },
    { "e with acute", 0xE9, { 0xC9 } },
    { "y with diaeresis: far away", 0xFF, { 0x178 } },
    { "micro sign becomes the Greek letter", 0xB5, { 0x39C } },
    { "sharp s becomes two", 0xDF, { 'S', 'S' } },
    { "ligature of three", 0xFB03, { 'F', 'F', 'I' } },
    { "iota with two marks becomes three", 0x390, { 0x399, 0x308, 0x301 } },
    { "title case of two letters", 0x1C5, { 0x1C4 } },
    { "Georgian", 0x10D0, { 0x1C90 } },
    { "Cherokee: the small ones are the newer", 0xAB70, { 0x13A0 } },
    { "Deseret", 0x10428, { 0x10400 } },
};

static void upper_cases(void)
{
    for (size_t i = 0; i < sizeof UPPER / sizeof *UPPER; i++) {
        uint32_t got[UNICODE_UPPER_MAX];
        size_t count = unicode_upper(UPPER[i].code, got), want = 1;
        while (want < UNICODE_UPPER_MAX && UPPER[i].want[want] != 0) want++;
        CHECK(count == want && memcmp(got, UPPER[i].want, want * sizeof *got) == 0, "%s: %zu codes, the first %X",
              UPPER[i].says, count, (unsigned)got[0]);
    }
}

int main(void)
{
    arena a;
    err e = { 0 };
    if (!CHECK(arena_new(&a, 1 << 20, &e), "%s", e.text)) return check_done();
    for (size_t i = 0; i < sizeof FACTS / sizeof *FACTS; i++) {
        struct unicode_facts got = unicode_facts_of(FACTS[i].code);
        CHECK(got.category == FACTS[i].category && got.flags == FACTS[i].flags, "%s: category %d, flags %u",
              FACTS[i].says, (int)got.category, got.flags);
        CHECK(unicode_lower(FACTS[i].code) == FACTS[i].lower, "%s: lower case %X", FACTS[i].says,
              (unsigned)unicode_lower(FACTS[i].code));
    }
    upper_cases();
    for (size_t i = 0; i < sizeof COMPOSED / sizeof *COMPOSED; i++) composes(i, &a);
    every_code(&a);
    many_marks(&a);
    arena none = { .base = a.base };
    view out;
    CHECK(!unicode_nfc(view_of("e\xCC\x81"), &none, &out, &e) && e.code == ERR_MEMORY, "no room: %s", e.text);
    arena_free(&a);
    return check_done();
}
