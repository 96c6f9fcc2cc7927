/* format/json: what is read, what is refused and at which byte, every limit at -1, 0, +1, numbers, pointers, writing.
 */
#include "format/json.h"

#include "check.h"

#include <math.h>

static arena room;

static const json_value *parse(view source, err *e)
{
    const json_value *v = NULL;
    *e = (err){ 0 };
    return json_parse(source, &room, &v, e) ? v : NULL;
}

static view rewritten(const json_value *v, bool spaced)
{
    static json_writer w;
    err e = { 0 };
    view out = { NULL, 0 };
    json_writer_start(&w, &room, 1 << 26, &e);
    w.spaced = spaced;
    json_copy(&w, v);
    json_done(&w, &out);
    return out;
}

/* Good texts: what the writer makes of the tree says that every part of it arrived. */
static const struct {
    const char *says, *source, *written;
} good[] = {
    { "a word", "null", "null" },
    { "blanks around", " \t\r\n true \n", "true" },
    { "nothing nested", "[]", "[]" },
    { "empty object in array", "[ { } ]", "[{}]" },
    { "order of members", "{\"b\":1,\"a\":2}", "{\"b\":1,\"a\":2}" },
    { "empty name", "{\"\":0}", "{\"\":0}" },
    { "numbers as written", "[0,-0,1.50,1E+2,-1e-07]", "[0,-0,1.50,1E+2,-1e-07]" },
    { "an integer over 64 bits", "123456789012345678901234567890", "123456789012345678901234567890" },
    { "all short escapes", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
    { "hexadecimal in both cases", "\"\\u00e9\\u00C9\"", "\"\xC3\xA9\xC3\x89\"" },
    { "a surrogate pair", "\"\\ud83d\\ude00\"", "\"\xF0\x9F\x98\x80\"" },
    { "the last character of all", "\"\\udbff\\udfff\"", "\"\xF4\x8F\xBF\xBF\"" },
    { "zero inside a string", "\"a\\u0000b\"", "\"a\\u0000b\"" },
    { "DEL and U+2028 stay", "\"\x7F\xE2\x80\xA8\"", "\"\x7F\xE2\x80\xA8\"" },
    { "escaped names", "{\"a\\n\":[]}", "{\"a\\n\":[]}" },
    { "after an escape plain text", "\"\\u0041bc\"", "\"Abc\"" },
    { "mixed", "{\"a\":[1,{\"b\":[]},\"x\"],\"c\":false}", "{\"a\":[1,{\"b\":[]},\"x\"],\"c\":false}" },
};

static const struct {
    const char *says, *source;
    enum err_code code;
    uint64_t offset;
} bad[] = {
    { "nothing", "", ERR_TRUNCATED, 0 },
    { "only blanks", "  ", ERR_TRUNCATED, 2 },
    { "two values", "1 2", ERR_VALUE, 2 },
    { "half a word", "tru", ERR_VALUE, 0 },
    { "a longer word", "nulls", ERR_VALUE, 4 },
    { "open array", "[1", ERR_TRUNCATED, 2 },
    { "comma at the end of an array", "[1,]", ERR_VALUE, 3 },
    { "comma at the start", "[,1]", ERR_VALUE, 1 },
    { "two commas", "[1,,2]", ERR_VALUE, 3 },
    { "comma at the end of an object", "{\"a\":1,}", ERR_VALUE, 7 },
    { "no colon", "{\"a\" 1}", ERR_VALUE, 5 },
    { "no name", "{1:1}", ERR_VALUE, 1 },
    { "name alone", "{\"a\"}", ERR_VALUE, 4 },
    { "wrong bracket", "[1}", ERR_VALUE, 2 },
    { "bracket too many", "[]]", ERR_VALUE, 2 },
    { "plus sign", "+1", ERR_VALUE, 0 },
    { "leading zero", "01", ERR_VALUE, 1 },
    { "minus alone", "-", ERR_TRUNCATED, 1 },
    { "point without digits", "1.", ERR_TRUNCATED, 2 },
    { "point at the start", ".5", ERR_VALUE, 0 },
    { "exponent without digits", "1e+", ERR_TRUNCATED, 3 },
    { "NaN", "NaN", ERR_VALUE, 0 },
    { "hexadecimal number", "0x10", ERR_VALUE, 1 },
    { "open string", "\"abc", ERR_TRUNCATED, 4 },
    { "backslash at the end", "\"abc\\", ERR_TRUNCATED, 5 },
    { "unknown escape", "\"\\x41\"", ERR_VALUE, 2 },
    { "short hexadecimal", "\"\\u12\"", ERR_VALUE, 5 },
    { "newline in a string", "\"a\nb\"", ERR_VALUE, 2 },
    { "high surrogate alone", "\"\\ud800\"", ERR_VALUE, 1 },
    { "low surrogate alone", "\"\\udc00\"", ERR_VALUE, 1 },
    { "two high surrogates", "\"\\ud800\\ud800\"", ERR_VALUE, 1 },
    { "single quotes", "'a'", ERR_VALUE, 0 },
    { "comment", "[1] // x", ERR_VALUE, 4 },
    { "byte order mark", "\xEF\xBB\xBF[]", ERR_VALUE, 0 },
    { "overlong UTF-8", "\"\xC0\xAF\"", ERR_VALUE, 1 },
    { "UTF-8 surrogate", "\"\xED\xA0\x80\"", ERR_VALUE, 1 },
    { "a name twice", "{\"a\":1,\"b\":2,\"a\":3}", ERR_VALUE, 17 },
    { "a name twice, once escaped", "{\"a\":1,\"\\u0061\":3}", ERR_VALUE, 16 },
};

static void reads(void)
{
    err e;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const json_value *v = parse(view_of(good[i].source), &e);
        if (!CHECK(v != NULL, "%s: %s", good[i].says, e.text)) continue;
        view out = rewritten(v, false);
        CHECK(view_is(out, good[i].written), "%s: wrote %.*s", good[i].says, (int)out.len_bytes, (const char *)out.ptr);
        /* Every proper prefix of a container or string is no JSON text. */
        view whole = view_of(good[i].source);
        for (size_t n = 0; n < whole.len_bytes && strchr("[{\"", good[i].source[0]) != NULL; n++)
            CHECK(parse((view){ whole.ptr, n }, &e) == NULL, "%s: accepted its first %zu bytes", good[i].says, n);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const json_value *v = parse(view_of(bad[i].source), &e);
        CHECK(v == NULL && e.code == bad[i].code && e.offset == bad[i].offset, "%s: code %d at %llu: %s", bad[i].says,
              e.code, (unsigned long long)e.offset, e.text);
    }
}

/* `count` times `piece` between `open` and `close`, with `%zu` in the piece counted up. */
static view repeated(const char *open, const char *piece, size_t count, const char *close)
{
    size_t capacity = strlen(open) + strlen(close) + count * (strlen(piece) + 12) + 1, at;
    err e = { 0 };
    char *text = arena_take(&room, capacity, 1, 1, "test text", &e);
    if (!CHECK(text != NULL, "%s", e.text)) exit(1);
    at = (size_t)snprintf(text, capacity, "%s", open);
    if (strlen(piece) == 1) { /* millions of them: without printf */
        memset(text + at, piece[0], count);
        at += count;
        count = 0;
    }
    for (size_t i = 0; i < count; i++) at += (size_t)snprintf(text + at, capacity - at, piece, i);
    at += (size_t)snprintf(text + at, capacity - at, "%s", close);
    return (view){ (const uint8_t *)text, at };
}

static void limit(const char *says, view source, bool allowed)
{
    err e;
    const json_value *v = parse(source, &e);
    CHECK((v != NULL) == allowed && (allowed || e.code == ERR_LIMIT), "%s: %s", says, e.text);
}

static void limits(void)
{
    for (int by = -1; by <= 1; by++) {
        size_t mark = room.used_bytes, n = (size_t)(JSON_DEPTH_MAX + by);
        view open = repeated("", "[", n, ""), whole = repeated((const char *)open.ptr, "]", n, "");
        limit("depth", whole, by <= 0);
        limit("members", repeated("{\"last\":0", ",\"%zu\":0", (size_t)(JSON_MEMBERS_MAX + by - 1), "}"), by <= 0);
        limit("values", repeated("[0", ",0", (size_t)(JSON_VALUES_MAX + by - 2), "]"), by <= 0);
        limit("number", repeated("", "1", (size_t)(JSON_NUMBER_BYTES_MAX + by), ""), by <= 0);
        limit("bytes", repeated("1", " ", (size_t)(JSON_BYTES_MAX + by - 1), ""), by <= 0);
        arena_rewind(&room, mark);
    }
    err e;
    CHECK(parse(repeated("{\"7\":0", ",\"%zu\":0", 100, "}"), &e) == NULL && e.code == ERR_VALUE,
          "a name twice among 101: %s", e.text);
    CHECK(parse(repeated("{\"x\":0", ",\"%zu\":0", 100, "}"), &e) != NULL, "101 names: %s", e.text);
}

static const struct {
    const char *source;
    bool whole;
    int64_t i;
    bool real;
    double d;
} numbers[] = {
    { "0", true, 0, true, 0 },
    { "-0", true, 0, true, -0.0 },
    { "9223372036854775807", true, INT64_MAX, true, 9223372036854775808.0 },
    { "9223372036854775808", false, 0, true, 9223372036854775808.0 },
    { "-9223372036854775808", true, INT64_MIN, true, -9223372036854775808.0 },
    { "-9223372036854775809", false, 0, true, -9223372036854775808.0 },
    { "1.0", false, 0, true, 1.0 },
    { "1e2", false, 0, true, 100.0 },
    { "2.2250738585072011e-308", false, 0, true, 0x0.fffffffffffffp-1022 },
    { "9007199254740993", true, 9007199254740993, true, 9007199254740992.0 },
    { "1e400", false, 0, false, 0 },
    { "\"1\"", false, 0, false, 0 },
};

static const struct {
    double value;
    const char *text;
} doubles[] = {
    { 1.0, "1.0" },
    { -0.0, "-0.0" },
    { 0.1, "0.1" },
    { 1e16, "1e+16" },
    { 1e15, "1000000000000000.0" },
    { 9999999999999998.0, "9999999999999998.0" },
    { 1e-4, "0.0001" },
    { 1e-5, "1e-05" },
    { 1e-7, "1e-07" },
    { 1e22, "1e+22" },
    { 1e100, "1e+100" },
    { 0.30000000000000004, "0.30000000000000004" },
    { 123456.789, "123456.789" },
    { 5e-324, "5e-324" },
    { 1.7976931348623157e308, "1.7976931348623157e+308" },
    { -2.5e-9, "-2.5e-09" },
    { 100.0, "100.0" },
    { 1.0 / 3.0, "0.3333333333333333" },
};

static void numbers_read(void)
{
    err e;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const json_value *v = parse(view_of(numbers[i].source), &e);
        if (!CHECK(v != NULL, "%s: %s", numbers[i].source, e.text)) continue;
        int64_t n = 0;
        double d = 0;
        CHECK(json_i64(v, &n) == numbers[i].whole && n == numbers[i].i, "%s: as i64 %lld", numbers[i].source,
              (long long)n);
        CHECK(json_f64(v, &d) == numbers[i].real && memcmp(&d, &numbers[i].d, sizeof d) == 0, "%s: as f64 %a",
              numbers[i].source, d);
    }
    char text[JSON_DOUBLE_BYTES];
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        size_t len = json_double_text(doubles[i].value, text);
        CHECK(len == strlen(doubles[i].text) && memcmp(text, doubles[i].text, len) == 0, "%s: wrote %s",
              doubles[i].text, text);
    }
    size_t wrong = 0, longest = 0;
    uint64_t bits = 88172645463325252u; /* xorshift64: any bit pattern that is a finite number */
    for (size_t i = 0; i < 20000; i++) {
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        double d;
        memcpy(&d, &bits, sizeof d);
        if (!isfinite(d)) continue;
        size_t len = json_double_text(d, text);
        longest = len > longest ? len : longest;
        double back = json_parse_double((view){ (const uint8_t *)text, len });
        wrong += memcmp(&back, &d, sizeof d) != 0;
    }
    CHECK(wrong == 0 && longest <= 25, "%zu of 20000 doubles came back different; the longest has %zu characters",
          wrong, longest);
}

static const struct {
    const char *pointer, *found;
} pointers[] = {
    { "", "{\"a\":[1,{\"b/c\":\"x\"}],\"~\":2}" },
    { "/a", "[1,{\"b/c\":\"x\"}]" },
    { "/a/0", "1" },
    { "/a/1/b~1c", "\"x\"" },
    { "/~0", "2" },
    { "/a/2", NULL },
    { "/a/-1", NULL },
    { "/a/01", NULL },
    { "/q", NULL },
    { "a", NULL },
    { "/~", NULL },
    { "/a/0/x", NULL },
};

static void pointers_work(void)
{
    err e;
    view source = view_of("{\"a\": [1, {\"b/c\": \"x\"}], \"~\": 2}");
    const json_value *root = parse(source, &e);
    if (!CHECK(root != NULL, "%s", e.text)) return;
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        const json_value *v = json_at(root, view_of(pointers[i].pointer));
        bool same = v == NULL ? pointers[i].found == NULL
                              : pointers[i].found != NULL && view_is(rewritten(v, false), pointers[i].found);
        CHECK(same, "pointer \"%s\" found %s", pointers[i].pointer, v == NULL ? "nothing" : "another value");
        if (v == NULL) continue;
        char text[64];
        CHECK(json_pointer(root, v->offset, text, sizeof text) == v && strcmp(text, pointers[i].pointer) == 0,
              "the pointer of \"%s\" is written \"%s\"", pointers[i].pointer, text);
        view again = { source.ptr + v->offset, v->len_bytes };
        const json_value *w = parse(again, &e);
        CHECK(w != NULL && json_equal(v, w), "the source range of \"%s\" holds another value", pointers[i].pointer);
    }
    char text[64];
    CHECK(json_pointer(root, (uint32_t)source.len_bytes, text, sizeof text) == NULL,
          "an offset outside has no pointer");
}

static const struct {
    const char *a, *b;
    bool equal;
} pairs[] = {
    { "1", "1.0", true },
    { "1", "1e0", true },
    { "1", "2", false },
    { "9007199254740993", "9007199254740992", false },
    { "123456789012345678901", "123456789012345678902", false },
    { "1", "true", false },
    { "{\"a\":1,\"b\":[2]}", "{\"b\":[2],\"a\":1}", true },
    { "{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false },
    { "[1,2]", "[2,1]", false },
    { "[1]", "[1,1]", false },
    { "\"a\"", "\"\\u0061\"", true },
    { "null", "false", false },
};

static void writes(void)
{
    static json_writer w;
    err e = { 0 };
    view out = { NULL, 0 };
    json_writer_start(&w, &room, 4096, &e);
    w.spaced = true;
    json_begin_object(&w);
    json_key(&w, "a");
    json_begin_array(&w);
    json_int(&w, INT64_MIN);
    json_uint(&w, UINT64_MAX);
    json_double(&w, 0.5);
    json_double(&w, INFINITY);
    json_bool(&w, true);
    json_null(&w);
    json_string(&w, view_of("\xFF\x01"));
    json_end_array(&w);
    json_key(&w, "b");
    json_begin_object(&w);
    json_end_object(&w);
    json_end_object(&w);
    static const char want[] =
        "{\"a\": [-9223372036854775808, 18446744073709551615, 0.5, null, true, null, \"\xEF\xBF\xBD\\u0001\"], "
        "\"b\": {}}";
    CHECK(json_done(&w, &out) && view_is(out, want), "wrote %.*s", (int)out.len_bytes, (const char *)out.ptr);

    for (size_t by = 0; by < 3; by++) { /* "xxx" with its quotes takes 5 bytes */
        e = (err){ 0 };
        json_writer_start(&w, &room, 4 + by, &e);
        json_text(&w, "xxx");
        CHECK(json_done(&w, &out) == (by >= 1) && (by >= 1 || e.code == ERR_LIMIT), "5 bytes where %zu are allowed: %s",
              4 + by, e.text);
    }
    e = (err){ 0 };
    json_writer_start(&w, &room, 1 << 20, &e);
    for (size_t i = 0; i <= JSON_DEPTH_MAX; i++) json_begin_array(&w);
    CHECK(!json_done(&w, &out) && e.code == ERR_LIMIT, "writing one level too deep: %s", e.text);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const json_value *a = parse(view_of(pairs[i].a), &e), *b = parse(view_of(pairs[i].b), &e);
        CHECK(a != NULL && b != NULL && json_equal(a, b) == pairs[i].equal && json_equal(b, a) == pairs[i].equal,
              "%s and %s", pairs[i].a, pairs[i].b);
    }
    view rest = view_of("1\n\n  \r\n[2]\r\n3"), line;
    const char *lines[] = { "1", "[2]", "3" };
    size_t n = 0;
    while (json_line(&rest, &line) && n < 3) CHECK(view_is(line, lines[n]), "line %zu", n), n++;
    CHECK(n == 3, "%zu lines", n);
}

int main(void)
{
    err e = { 0 };
    if (!CHECK(arena_new(&room, (size_t)1 << 32, &e), "%s", e.text)) return check_done();
    reads();
    limits();
    numbers_read();
    pointers_work();
    writes();
    arena_free(&room);
    return check_done();
}
