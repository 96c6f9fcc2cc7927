/* format/gguf_value.c: a getter gives the value, or an error that names the key; it never guesses. */
#include "format/gguf.h"

#include "check.h"
#include "gguf_build.h"

#include <math.h>

enum { T_U8, T_I8, T_U16, T_I16, T_U32, T_I32, T_F32, T_BOOL, T_STRING, T_ARRAY, T_U64, T_I64, T_F64 };

/* One file whose only pair "k" has the type and the bits; arrays come from array_file. */
static gguf_dir pair_file(build *b, arena *a, uint32_t type, uint64_t bits, size_t bytes)
{
    gguf_dir dir;
    err e = { 0 };
    *b = build_new(4096);
    put_head(b, 3, 0, 1);
    put_key(b, "k", type);
    if (type == T_STRING) put_string(b, "text");
    else put_int(b, bits, bytes);
    CHECK(gguf_read_dir(build_view(b), a, &dir, &e), "%s", e.text);
    return dir;
}

static gguf_dir array_file(build *b, arena *a, uint32_t item, const uint64_t *items, size_t count, size_t bytes)
{
    gguf_dir dir;
    err e = { 0 };
    *b = build_new(4096);
    put_head(b, 3, 0, 1);
    put_key(b, "k", T_ARRAY);
    put_u32(b, item);
    put_u64(b, count);
    for (size_t i = 0; i < count; i++)
        if (item == T_STRING) put_string(b, "text");
        else put_int(b, items[i], bytes);
    CHECK(gguf_read_dir(build_view(b), a, &dir, &e), "%s", e.text);
    return dir;
}

static const size_t BYTES[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

static const struct { const char *says; uint32_t type; uint64_t bits, min,
                     max; bool good; uint64_t want; } UNSIGNED[] = {
    { "u8 at its largest",            T_U8,  255,             0,  255,        true,  255             },
    { "u8 over the maximum",          T_U8,  255,             0,  254,        false, 0               },
    { "u8 at the minimum",            T_U8,  3,               3,  9,          true,  3               },
    { "u8 under the minimum",         T_U8,  2,               3,  9,          false, 0               },
    { "i8 that is not negative",      T_I8,  127,             0,  127,        true,  127             },
    { "i8 of -1",                     T_I8,  255,             0,  UINT64_MAX, false, 0               },
    { "u16",                          T_U16, 65535,           0,  65535,      true,  65535           },
    { "i16 of -32768",                T_I16, 32768,           0,  UINT64_MAX, false, 0               },
    { "u32 at its largest",           T_U32, UINT32_MAX,      0,  UINT32_MAX, true,  UINT32_MAX      },
    { "u32 one over",                 T_U32, 1001,            0,  1000,       false, 0               },
    { "i32",                          T_I32, 7,               0,  1000,       true,  7               },
    { "i32 of -1",                    T_I32, UINT32_MAX,      0,  UINT64_MAX, false, 0               },
    { "u64 at its largest",           T_U64, UINT64_MAX,      0,  UINT64_MAX, true,  UINT64_MAX      },
    { "u64 one under its largest",    T_U64, UINT64_MAX,      0,  UINT64_MAX - 1, false, 0           },
    { "i64",                          T_I64, INT64_MAX,       0,  INT64_MAX,  true,  INT64_MAX       },
    { "i64 of -1",                    T_I64, UINT64_MAX,      0,  UINT64_MAX, false, 0               },
    { "f32 is no integer",            T_F32, 0x3F800000,      0,  UINT64_MAX, false, 0               },
    { "bool is no integer",           T_BOOL, 1,              0,  UINT64_MAX, false, 0               },
    { "string is no integer",         T_STRING, 0,            0,  UINT64_MAX, false, 0               },
};

static void unsigned_integers(arena *a)
{
    for (size_t i = 0; i < sizeof UNSIGNED / sizeof *UNSIGNED; i++) {
        build b;
        err e = { 0 };
        gguf_dir dir = pair_file(&b, a, UNSIGNED[i].type, UNSIGNED[i].bits, BYTES[UNSIGNED[i].type]);
        uint64_t out = 99;
        bool good = gguf_u64(&dir, "k", GGUF_OPTIONAL, UNSIGNED[i].min, UNSIGNED[i].max, &out, &e);
        CHECK(good == UNSIGNED[i].good && out == (good ? UNSIGNED[i].want : 99), "%s: %d, %llu: %s", UNSIGNED[i].says,
              good, (unsigned long long)out, e.text);
        CHECK(good || (e.code == ERR_VALUE && e.offset == 33 && strstr(e.text, "key k: ") == e.text), "%s: %s",
              UNSIGNED[i].says, e.text);
        free(b.bytes);
        arena_rewind(a, 0);
    }
}

static const struct { const char *says; uint32_t type; uint64_t bits; int64_t min,
                     max; bool good; int64_t want; } SIGNED[] = {
    { "i8 of -128",             T_I8,  128,                 -128, 127,             true,  -128      },
    { "i8 of -128, one under",  T_I8,  128,                 -127, 127,             false, 0         },
    { "i16 of -1",              T_I16, 65535,               -1,   0,               true,  -1        },
    { "i32 of -1",              T_I32, UINT32_MAX,          -1,   -1,              true,  -1        },
    { "i32 smallest",           T_I32, 0x80000000,          INT32_MIN, INT32_MAX,  true,  INT32_MIN },
    { "i64 smallest",           T_I64, (uint64_t)1 << 63,   INT64_MIN, INT64_MAX,  true,  INT64_MIN },
    { "u64 of 2^63",            T_U64, (uint64_t)1 << 63,   INT64_MIN, INT64_MAX,  false, 0         },
    { "u64 of 2^63 - 1",        T_U64, INT64_MAX,           INT64_MIN, INT64_MAX,  true,  INT64_MAX },
    { "u8 over the maximum",    T_U8,  200,                 -128, 127,             false, 0         },
};

static void signed_integers(arena *a)
{
    for (size_t i = 0; i < sizeof SIGNED / sizeof *SIGNED; i++) {
        build b;
        err e = { 0 };
        gguf_dir dir = pair_file(&b, a, SIGNED[i].type, SIGNED[i].bits, BYTES[SIGNED[i].type]);
        int64_t out = 99;
        bool good = gguf_i64(&dir, "k", GGUF_REQUIRED, SIGNED[i].min, SIGNED[i].max, &out, &e);
        CHECK(good == SIGNED[i].good && out == (good ? SIGNED[i].want : 99), "%s: %d, %lld: %s", SIGNED[i].says, good,
              (long long)out, e.text);
        free(b.bytes);
        arena_rewind(a, 0);
    }
}

static const struct { const char *says; uint32_t type; uint64_t bits; float min,
                     max; bool good; float want; } FLOATS[] = {
    { "f32 of 1.5",          T_F32, 0x3FC00000,           0.0f, 2.0f,      true,  1.5f   },
    { "f32 at the maximum",  T_F32, 0x3FC00000,           0.0f, 1.5f,      true,  1.5f   },
    { "f32 at the minimum",  T_F32, 0x3FC00000,           1.5f, 2.0f,      true,  1.5f   },
    { "f32 over it",         T_F32, 0x3FC00001,           0.0f, 1.5f,      false, 0.0f   },
    { "f32 under",           T_F32, 0xBFC00000,           0.0f, 1.5f,      false, 0.0f   },
    { "NaN",                 T_F32, 0x7FC00000,           -INFINITY, INFINITY, false, 0.0f },
    { "infinity",            T_F32, 0x7F800000,           -INFINITY, INFINITY, false, 0.0f },
    { "f64 of 1e-5",         T_F64, 0x3EE4F8B588E368F1,   0.0f, 1.0f,      true,  1e-5f  },
    { "f64 of 1e300",        T_F64, 0x7E37E43C8800759C,   0.0f, 3e38f,     false, 0.0f   },
    { "f64 NaN",             T_F64, 0x7FF8000000000000,   0.0f, 1.0f,      false, 0.0f   },
    { "u32 of 10000",        T_U32, 10000,                0.0f, 1e9f,      true,  10000  },
    { "i32 of -2",           T_I32, 0xFFFFFFFE,           -3.0f, 0.0f,     true,  -2     },
    { "bool is no number",   T_BOOL, 1,                   0.0f, 1.0f,      false, 0.0f   },
    { "string is no number", T_STRING, 0,                 0.0f, 1.0f,      false, 0.0f   },
};

static void floats(arena *a)
{
    for (size_t i = 0; i < sizeof FLOATS / sizeof *FLOATS; i++) {
        build b;
        err e = { 0 };
        gguf_dir dir = pair_file(&b, a, FLOATS[i].type, FLOATS[i].bits, BYTES[FLOATS[i].type]);
        float out = 99.0f;
        bool good = gguf_f32(&dir, "k", GGUF_REQUIRED, FLOATS[i].min, FLOATS[i].max, &out, &e);
        float want = good ? FLOATS[i].want : 99.0f;
        CHECK(good == FLOATS[i].good && out >= want && out <= want, "%s: %d, %g: %s", FLOATS[i].says, good, (double)out,
              e.text);
        CHECK(good || (e.code == ERR_VALUE && e.offset == 33), "%s: %s", FLOATS[i].says, e.text);
        free(b.bytes);
        arena_rewind(a, 0);
    }
}

static const struct { const char *says; uint32_t type; uint64_t bits; bool good, want; } BOOLS[] = {
    { "true",             T_BOOL,   1, true,  true  },
    { "false",            T_BOOL,   0, true,  false },
    { "u8 of 1",          T_U8,     1, true,  true  },
    { "u32 of 2",         T_U32,    2, false, false },
    { "f32 is no bool",   T_F32,    0, false, false },
    { "string, no bool",  T_STRING, 0, false, false },
};

static void bools_and_strings(arena *a)
{
    for (size_t i = 0; i < sizeof BOOLS / sizeof *BOOLS; i++) {
        build b;
        err e = { 0 };
        gguf_dir dir = pair_file(&b, a, BOOLS[i].type, BOOLS[i].bits, BYTES[BOOLS[i].type]);
        bool out = !BOOLS[i].want;
        bool good = gguf_bool(&dir, "k", GGUF_REQUIRED, &out, &e);
        CHECK(good == BOOLS[i].good && out == (good ? BOOLS[i].want : !BOOLS[i].want), "%s: %d: %s", BOOLS[i].says,
              good, e.text);
        view text = view_of("before");
        e = (err){ 0 };
        good = gguf_str(&dir, "k", GGUF_REQUIRED, &text, &e);
        CHECK(good == (BOOLS[i].type == T_STRING) && view_is(text, good ? "text" : "before"), "%s as a string: %s",
              BOOLS[i].says, e.text);
        free(b.bytes);
        arena_rewind(a, 0);
    }
}

static void missing(arena *a)
{
    build b;
    gguf_dir dir = pair_file(&b, a, T_U8, 1, 1);
    err e = { 0 };
    uint64_t u = 5;
    int64_t s = -5;
    float f = 2.5f;
    bool flag = true;
    view text = view_of("fallback");
    uint32_t each[2] = { 8, 9 };
    const gguf_pair *array;
    bool good = gguf_u64(&dir, "j", GGUF_OPTIONAL, 0, 1, &u, &e) && gguf_i64(&dir, "j", GGUF_OPTIONAL, 0, 1, &s, &e) &&
                gguf_f32(&dir, "j", GGUF_OPTIONAL, 0, 1, &f, &e) && gguf_bool(&dir, "j", GGUF_OPTIONAL, &flag, &e) &&
                gguf_str(&dir, "j", GGUF_OPTIONAL, &text, &e) &&
                gguf_array(&dir, "j", GGUF_OPTIONAL, GGUF_ITEMS_INT, 0, 9, &array, &e) &&
                gguf_u32_each(&dir, "j", GGUF_OPTIONAL, 2, 0, 9, each, &e);
    CHECK(good && u == 5 && s == -5 && f > 2.4f && flag && view_is(text, "fallback") && array == NULL && each[0] == 8 &&
          each[1] == 9, "missing and optional: the fallbacks stay");
    static const char want[] = "key j: missing";
    for (size_t i = 0; i < 7; i++) {
        e = (err){ 0 };
        good = i == 0   ? gguf_u64(&dir, "j", GGUF_REQUIRED, 0, 1, &u, &e)
               : i == 1 ? gguf_i64(&dir, "j", GGUF_REQUIRED, 0, 1, &s, &e)
               : i == 2 ? gguf_f32(&dir, "j", GGUF_REQUIRED, 0, 1, &f, &e)
               : i == 3 ? gguf_bool(&dir, "j", GGUF_REQUIRED, &flag, &e)
               : i == 4 ? gguf_str(&dir, "j", GGUF_REQUIRED, &text, &e)
               : i == 5 ? gguf_array(&dir, "j", GGUF_REQUIRED, GGUF_ITEMS_INT, 0, 9, &array, &e)
                        : gguf_u32_each(&dir, "j", GGUF_REQUIRED, 2, 0, 9, each, &e);
        CHECK(!good && e.code == ERR_MISSING && strncmp(e.text, want, sizeof want - 1) == 0, "getter %zu: %s", i,
              e.text);
    }
    free(b.bytes);
    arena_rewind(a, 0);
}

static void integer_arrays(arena *a)
{
    static const uint64_t items[] = { 0, 5, 127, 200 };
    static const uint32_t types[] = { T_U8, T_I8, T_U16, T_I16, T_U32, T_I32, T_U64, T_I64 };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        build b;
        err e = { 0 };
        gguf_dir dir = array_file(&b, a, types[i], items, 4, BYTES[types[i]]);
        const gguf_pair *p = NULL;
        int32_t s[4] = { 0 };
        uint32_t u[4] = { 0 };
        if (!CHECK(gguf_array(&dir, "k", GGUF_REQUIRED, GGUF_ITEMS_INT, 4, 4, &p, &e), "%s", e.text)) continue;
        int32_t last = types[i] == T_I8 ? 200 - 256 : 200;
        CHECK(gguf_items_i32(p, -128, 200, s, &e) && s[1] == 5 && s[2] == 127 && s[3] == last, "type %u: %s", types[i],
              e.text);
        CHECK(!gguf_items_i32(p, -55, 199, s, &e) && strstr(e.text, "key k: item 3 is ") == e.text, "out of range: %s",
              e.text);
        e = (err){ 0 };
        CHECK(gguf_items_u32(p, 0, 200, u, &e) == (types[i] != T_I8), "type %u unsigned: %s", types[i], e.text);
        e = (err){ 0 };
        CHECK(!gguf_items_u32(p, 1, 200, u, &e) && strstr(e.text, "item 0 is 0, allowed 1..200") != NULL, "%s", e.text);
        e = (err){ 0 };
        CHECK(!gguf_array(&dir, "k", GGUF_REQUIRED, GGUF_ITEMS_INT, 5, 9, &p, &e), "4 items where 5 are needed");
        e = (err){ 0 };
        CHECK(!gguf_array(&dir, "k", GGUF_REQUIRED, GGUF_ITEMS_INT, 0, 3, &p, &e), "4 items where 3 are allowed");
        e = (err){ 0 };
        CHECK(!gguf_array(&dir, "k", GGUF_REQUIRED, GGUF_ITEMS_FLOAT, 0, 9, &p, &e), "integers are no floats");
        free(b.bytes);
        arena_rewind(a, 0);
    }
}

static void other_arrays(arena *a)
{
    static const uint64_t f32[] = { 0x3F800000, 0xC0000000 }, bad_f32[] = { 0x3F800000, 0x7FC00000 };
    static const uint64_t f64[] = { 0x3FF0000000000000, 0xC000000000000000 }, big_f64[] = { 0, 0x7E37E43C8800759C };
    static const struct { const char *says; uint32_t type; const uint64_t *items; bool good; } rows[] = {
        { "f32", T_F32, f32, true }, { "a NaN", T_F32, bad_f32, false },
        { "f64", T_F64, f64, true }, { "an f64 of 1e300", T_F64, big_f64, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        build b;
        err e = { 0 };
        gguf_dir dir = array_file(&b, a, rows[i].type, rows[i].items, 2, BYTES[rows[i].type]);
        const gguf_pair *p = NULL;
        float out[2] = { 0 };
        if (!CHECK(gguf_array(&dir, "k", GGUF_REQUIRED, GGUF_ITEMS_FLOAT, 2, 2, &p, &e), "%s", e.text)) continue;
        bool good = gguf_items_f32(p, out, &e);
        CHECK(good == rows[i].good, "%s: %s", rows[i].says, e.text);
        CHECK(good ? out[0] > 0.99f && out[1] < -1.99f : strstr(e.text, "key k: item 1 ") == e.text, "%s: %s",
              rows[i].says, e.text);
        free(b.bytes);
        arena_rewind(a, 0);
    }
    static const uint64_t flags[] = { 1, 0, 1 };
    build b;
    err e = { 0 };
    gguf_dir dir = array_file(&b, a, T_BOOL, flags, 3, 1);
    const gguf_pair *p = NULL;
    bool out[3] = { 0 };
    CHECK(gguf_array(&dir, "k", GGUF_REQUIRED, GGUF_ITEMS_BOOL, 3, 3, &p, &e) && gguf_items_bool(p, out,
                                                                                                 &e) && out[0] &&
          !out[1] && out[2], "bools: %s", e.text);
    free(b.bytes);
    dir = array_file(&b, a, T_STRING, NULL, 3, 0);
    view *text = NULL;
    CHECK(gguf_array(&dir, "k", GGUF_REQUIRED, GGUF_ITEMS_STRING, 3, 3, &p, &e) && gguf_strings(p, a, &text, &e) &&
          view_is(text[0], "text") && view_is(text[2], "text"), "strings: %s", e.text);
    CHECK(!gguf_array(&dir, "k", GGUF_REQUIRED, GGUF_ITEMS_BOOL, 3, 3, &p, &e), "strings are no bools");
    e = (err){ 0 };
    CHECK(!gguf_str(&dir, "k", GGUF_REQUIRED, &(view){ 0 }, &e), "an array of strings is no string");
    free(b.bytes);
    arena_rewind(a, 0);
}

static void each(arena *a)
{
    static const uint64_t items[] = { 4, 0, 2 };
    build b;
    err e = { 0 };
    uint32_t out[3] = { 9, 9, 9 };
    gguf_dir dir = array_file(&b, a, T_I32, items, 3, 4);
    CHECK(gguf_u32_each(&dir, "k", GGUF_REQUIRED, 3, 0, 4, out, &e) && out[0] == 4 && out[1] == 0 && out[2] == 2,
          "an array of as many: %s", e.text);
    CHECK(!gguf_u32_each(&dir, "k", GGUF_REQUIRED, 3, 0, 3, out, &e) && strstr(e.text, "item 0 is 4") != NULL, "%s",
          e.text);
    e = (err){ 0 };
    CHECK(!gguf_u32_each(&dir, "k", GGUF_REQUIRED, 2, 0, 4, out, &e) && strstr(e.text, "3 items, must be 2") != NULL,
          "%s", e.text);
    free(b.bytes);
    e = (err){ 0 };
    dir = pair_file(&b, a, T_U16, 7, 2);
    CHECK(gguf_u32_each(&dir, "k", GGUF_REQUIRED, 3, 0, 7, out, &e) && out[0] == 7 && out[2] == 7, "one for all: %s",
          e.text);
    CHECK(!gguf_u32_each(&dir, "k", GGUF_REQUIRED, 3, 0, 6, out, &e), "one for all, out of range");
    free(b.bytes);
    e = (err){ 0 };
    dir = array_file(&b, a, T_STRING, NULL, 3, 0);
    CHECK(!gguf_u32_each(&dir, "k", GGUF_REQUIRED, 3, 0, 6, out, &e), "strings are refused");
    free(b.bytes);
    arena_rewind(a, 0);
}

/* ---- gguf_show ---- */

static const struct { const char *says; uint32_t type; uint64_t bits; const char *want; } SHOWN_ROWS[] = {
    { "u8",     T_U8,     200,                 "200"                  },
    { "i8",     T_I8,     200,                 "-56"                  },
    { "u16",    T_U16,    65535,               "65535"                },
    { "i16",    T_I16,    65535,               "-1"                   },
    { "u32",    T_U32,    UINT32_MAX,          "4294967295"           },
    { "i32",    T_I32,    0x80000000,          "-2147483648"          },
    { "f32",    T_F32,    0x3DCCCCCD,          "0.100000001"          },
    { "bool",   T_BOOL,   1,                   "true"                 },
    { "string", T_STRING, 0,                   "\"text\""             },
    { "u64",    T_U64,    UINT64_MAX,          "18446744073709551615" },
    { "i64",    T_I64,    (uint64_t)1 << 63,   "-9223372036854775808" },
    { "f64",    T_F64,    0x3FB999999999999A,  "0.10000000000000001"  },
};

static void shown(arena *a)
{
    char line[64];
    for (size_t i = 0; i < sizeof SHOWN_ROWS / sizeof *SHOWN_ROWS; i++) {
        build b;
        gguf_dir dir = pair_file(&b, a, SHOWN_ROWS[i].type, SHOWN_ROWS[i].bits, BYTES[SHOWN_ROWS[i].type]);
        gguf_show(&dir.pairs[0], line, sizeof line);
        CHECK(strcmp(line, SHOWN_ROWS[i].want) == 0, "%s: %s, wanted %s", SHOWN_ROWS[i].says, line, SHOWN_ROWS[i].want);
        free(b.bytes);
        arena_rewind(a, 0);
    }
    /* Any string at any room: terminated, inside, and nothing a terminal would obey. */
    static const char hostile[] = "a\"b\\c\nd\x1b[31m\xff\xc3\xa9\xe2\x80\xae tail that is longer than the room";
    for (size_t room = 8; room <= sizeof line; room++) {
        gguf_pair p = { .type = GGUF_STRING, .item_type = GGUF_STRING, .count = 1, .bytes = view_of(hostile) };
        memset(line, 'x', sizeof line);
        gguf_show(&p, line, room);
        size_t len = strnlen(line, sizeof line), bad = 0;
        for (size_t i = 0; i < len; i++) bad += (uint8_t)line[i] < 0x20 || (uint8_t)line[i] == 0x7F;
        CHECK(len < room && bad == 0, "room %zu: %zu bytes, %zu control characters", room, len, bad);
        CHECK(room > len && strcmp(line + len - 3, "...") == 0, "room %zu: %s", room, line);
        if (room == sizeof line)
            CHECK(strcmp(line, "\"a\\\"b\\\\c\\nd\\u001b[31m\\xff\xc3\xa9\\u202e tail that is longer than t...") == 0,
                  "%s", line);
    }
    static const uint64_t items[] = { 1, 2, 3 };
    build b;
    gguf_dir dir = array_file(&b, a, T_I32, items, 3, 4);
    gguf_show(&dir.pairs[0], line, sizeof line);
    CHECK(strcmp(line, "3 of i32: [1, 2, 3]") == 0, "%s", line);
    gguf_show(&dir.pairs[0], line, 18);
    CHECK(strcmp(line, "3 of i32: [1, ...") == 0, "%s", line);
    free(b.bytes);
    dir = array_file(&b, a, T_STRING, NULL, 2, 0);
    gguf_show(&dir.pairs[0], line, sizeof line);
    CHECK(strcmp(line, "2 of string: [\"text\", \"text\"]") == 0, "%s", line);
    free(b.bytes);
    arena_rewind(a, 0);
}

int main(void)
{
    arena a = { 0 };
    err e = { 0 };
    if (!CHECK(arena_new(&a, (size_t)1 << 20, &e), "%s", e.text)) return check_done();
    unsigned_integers(&a);
    signed_integers(&a);
    floats(&a);
    bools_and_strings(&a);
    missing(&a);
    integer_arrays(&a);
    other_arrays(&a);
    each(&a);
    shown(&a);
    arena_free(&a);
    return check_done();
}
