/* base/utf8.h: every scalar value there and back, everything else refused with the length Unicode recommends. */
#include "base/utf8.h"

#include "check.h"

static const struct {
    const char *says, *bytes;
    size_t len_bytes;
    uint32_t want;
    size_t want_len;
} cases[] = {
    { "ASCII", "a", 1, 'a', 1 },
    { "NUL is a character", "\0", 1, 0, 1 },
    { "two bytes, lowest", "\xC2\x80", 2, 0x80, 2 },
    { "overlong two bytes", "\xC1\xBF", 2, UTF8_INVALID, 1 },
    { "three bytes, lowest", "\xE0\xA0\x80", 3, 0x800, 3 },
    { "overlong three bytes", "\xE0\x9F\xBF", 3, UTF8_INVALID, 1 },
    { "below the surrogates", "\xED\x9F\xBF", 3, 0xD7FF, 3 },
    { "a surrogate", "\xED\xA0\x80", 3, UTF8_INVALID, 1 },
    { "four bytes, lowest", "\xF0\x90\x80\x80", 4, 0x10000, 4 },
    { "overlong four bytes", "\xF0\x8F\xBF\xBF", 4, UTF8_INVALID, 1 },
    { "the last one", "\xF4\x8F\xBF\xBF", 4, 0x10FFFF, 4 },
    { "beyond the last", "\xF4\x90\x80\x80", 4, UTF8_INVALID, 1 },
    { "a lone continuation", "\x80", 1, UTF8_INVALID, 1 },
    { "cut after two of three", "\xE2\x82", 2, UTF8_INVALID, 2 },
    { "cut after three of four", "\xF0\x9F\x98", 3, UTF8_INVALID, 3 },
    { "broken in the third", "\xF0\x9F" "a", 3, UTF8_INVALID, 2 },
};

static const struct {
    const char *says, *bytes;
    size_t len_bytes, want;
} tails[] = {
    { "nothing", "", 0, 0 },
    { "whole ASCII", "ab", 2, 0 },
    { "one of two", "a\xC3", 2, 1 },
    { "two of two", "a\xC3\xA9", 3, 0 },
    { "one of three", "a\xE2", 2, 1 },
    { "two of three", "a\xE2\x82", 3, 2 },
    { "three of four", "\xF0\x9F\x98", 3, 3 },
    { "whole four", "\xF0\x9F\x98\x80", 4, 0 },
    { "a lone continuation can not be completed", "a\x80", 2, 0 },
    { "an impossible start can not be completed", "a\xFF", 2, 0 },
    { "a surrogate's start can not be completed", "\xED\xA0", 2, 0 },
};

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = 0;
        uint32_t got = utf8_next((view){ (const uint8_t *)cases[i].bytes, cases[i].len_bytes }, &len);
        CHECK(got == cases[i].want && len == cases[i].want_len, "%s: U+%X, %zu bytes", cases[i].says, got, len);
    }
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t got = utf8_tail_bytes((view){ (const uint8_t *)tails[i].bytes, tails[i].len_bytes });
        CHECK(got == tails[i].want, "tail, %s: %zu, not %zu", tails[i].says, got, tails[i].want);
    }
    size_t wrong = 0;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code == 0xD800) code = 0xE000;
        uint8_t bytes[4];
        size_t len, put = utf8_put(code, bytes);
        wrong += utf8_next((view){ bytes, put }, &len) != code || len != put;
    }
    CHECK(wrong == 0, "%zu characters do not come back", wrong);
    CHECK(utf8_valid_bytes(view_of("ab\xFF" "c")) == 2, "the first bad byte is found");
    return check_done();
}
