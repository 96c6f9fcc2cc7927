/* format/gguf.c, gguf_index.c, gguf_kind.c: what a directory must refuse, each limit at -1, 0 and +1, every truncation.
 *
 * Small cases are kept as files in tests/golden/gguf, which are the fuzz target's corpus too, and their errors word by
 * word in tests/golden/gguf/errors.txt. `gguf --write` makes both again from the builders below. */
#include "format/gguf.h"

#include "base/file.h"
#include "base/le.h"
#include "check.h"
#include "gguf_build.h"

#include <stdio.h>

enum { T_U8 = 0, T_U32 = 4, T_I32 = 5, T_F32 = 6, T_BOOL = 7, T_STRING = 8, T_ARRAY = 9, T_U64 = 10 };
enum { K_F32 = 0, K_Q4_K = 12, K_I8 = 24 };
enum { BUILD_ROOM = GGUF_STRING_BYTES_MAX + 4096, GOLDEN_BYTES_MAX = 2048 };

/* ---- builders: each makes one file around a number `n` ---- */

static void magic(build *b, uint64_t n)
{
    put_head(b, 3, 0, 0);
    b->bytes[3] = (uint8_t)n;
}

static void version(build *b, uint64_t n) { put_head(b, (uint32_t)n, 0, 0); }
static void tensor_count(build *b, uint64_t n) { put_head(b, 3, n, 0); }
static void pair_count(build *b, uint64_t n) { put_head(b, 3, 0, n); }

/* One pair, one tensor, and n bytes of zeros for it. A tensor needs 25; the count of pairs behind it passes for 8. */
static void pair_room(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_zeros(b, (size_t)n);
}

static void tensor_room(build *b, uint64_t n)
{
    put_head(b, 3, 1, 0);
    put_zeros(b, (size_t)n);
}

/* n pairs "000000".. of one byte each. */
static void pairs(build *b, uint64_t n)
{
    put_head(b, 3, 0, n);
    for (uint64_t i = 0; i < n; i++) {
        char key[24];
        snprintf(key, sizeof key, "%06llu", (unsigned long long)i);
        put_key(b, key, T_U8);
        put_int(b, 1, 1);
    }
}

/* n tensors of one F32 each. */
static void tensors(build *b, uint64_t n)
{
    put_head(b, 3, n, 0);
    for (uint64_t i = 0; i < n; i++) {
        char name[24];
        snprintf(name, sizeof name, "%06llu", (unsigned long long)(n - i)); /* the sort meets them backwards */
        put_tensor(b, name, 0, NULL, K_F32, 32 * i);
    }
    put_padding(b, 32);
    put_zeros(b, 32 * (size_t)n);
}

static void key_bytes(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_u64(b, n);
    for (uint64_t i = 0; i < n; i++) put_int(b, 'k', 1);
    put_u32(b, T_U8);
    put_int(b, 1, 1);
}

/* A key whose second and third bytes are n's. */
static void key_text(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_u64(b, 3);
    put_int(b, 'k', 1);
    put_int(b, n, 2);
    put_u32(b, T_U8);
    put_int(b, 1, 1);
}

static void key_announced(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_u64(b, n);
    put_zeros(b, 16);
}

static void value_type(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "k", (uint32_t)n);
    put_zeros(b, 16);
}

static void bool_value(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "k", T_BOOL);
    put_int(b, n, 1);
}

static void bool_in_array(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "k", T_ARRAY);
    put_u32(b, T_BOOL);
    put_u64(b, 3);
    put_int(b, 0x0001 | n << 16, 3);
}

static void string_announced(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "k", T_STRING);
    put_u64(b, n);
}

static void string_bytes(build *b, uint64_t n)
{
    string_announced(b, n);
    put_zeros(b, (size_t)n);
}

static void string_in_array(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "k", T_ARRAY);
    put_u32(b, T_STRING);
    put_u64(b, 2);
    put_string(b, "one");
    put_u64(b, n);
}

static void array_announced(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "k", T_ARRAY);
    put_u32(b, T_U64);
    put_u64(b, n);
    put_zeros(b, 16);
}

static void array_items(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "k", T_ARRAY);
    put_u32(b, T_U8);
    put_u64(b, n);
    put_zeros(b, (size_t)n);
}

static void array_of_type(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "k", T_ARRAY);
    put_u32(b, (uint32_t)n);
    put_u64(b, 1);
    put_zeros(b, 16);
}

/* n arrays inside each other, the innermost holding one byte. */
static void nested(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "k", T_ARRAY);
    for (uint64_t i = 1; i < n; i++) {
        put_u32(b, T_ARRAY);
        put_u64(b, 1);
    }
    put_u32(b, T_U8);
    put_u64(b, 1);
    put_int(b, 7, 1);
}

static void alignment(build *b, uint64_t n)
{
    static const uint64_t dims[] = { 3 };
    put_head(b, 3, 2, 1);
    put_key(b, "general.alignment", T_U32);
    put_u32(b, (uint32_t)n);
    put_tensor(b, "a", 1, dims, K_F32, 0);
    put_tensor(b, "b", 1, dims, K_F32, n < 12 ? 16 : n);
    if (n >= 8 && (n & (n - 1)) == 0) put_padding(b, (size_t)n);
    put_zeros(b, (n < 12 ? 16 : (size_t)n) + 12);
}

static void alignment_type(build *b, uint64_t n)
{
    put_head(b, 3, 0, 1);
    put_key(b, "general.alignment", (uint32_t)n);
    put_u64(b, 32);
}

static void same_key(build *b, uint64_t n)
{
    put_head(b, 3, 0, 3);
    put_key(b, "k", T_U8);
    put_int(b, 1, 1);
    put_key(b, "j", T_U8);
    put_int(b, 1, 1);
    put_key(b, n != 0 ? "k" : "kk", T_U8);
    put_int(b, 1, 1);
}

static void one_tensor(build *b, const char *name, uint32_t dim_count, const uint64_t *dims, uint32_t type,
                       uint64_t offset, size_t data_bytes)
{
    put_head(b, 3, 1, 0);
    put_tensor(b, name, dim_count, dims, type, offset);
    put_padding(b, 32);
    put_zeros(b, data_bytes);
}

static void name_bytes(build *b, uint64_t n)
{
    char name[80] = { 0 };
    for (uint64_t i = 0; i < n; i++) name[i] = 'n';
    one_tensor(b, name, 0, NULL, K_F32, 0, 4);
}

static void name_text(build *b, uint64_t n)
{
    const char name[] = { 't', (char)n, '\0' };
    one_tensor(b, name, 0, NULL, K_F32, 0, 4);
}

static void dim_count(build *b, uint64_t n)
{
    static const uint64_t dims[] = { 2, 1, 1, 2, 1 };
    one_tensor(b, "t", (uint32_t)n, dims, K_I8, 0, n == 0 ? 1 : n < 4 ? 2 : 4);
}

static void first_dim(build *b, uint64_t n)
{
    one_tensor(b, "t", 1, &n, K_F32, 0, n < 100 ? 4 * (size_t)n : 4);
}

/* Two dimensions whose product is n^2. */
static void square(build *b, uint64_t n)
{
    const uint64_t dims[] = { n, n };
    one_tensor(b, "t", 2, dims, K_I8, 0, 16);
}

static void type(build *b, uint64_t n)
{
    static const uint64_t dims[] = { 256 };
    one_tensor(b, "t", 1, dims, (uint32_t)n, 0, 2048);
    const struct gguf_kind *kind = gguf_kind((uint32_t)n);
    if (kind != NULL) b->len -= 2048 - 256 / kind->block_values * kind->block_bytes;
}

static void row_values(build *b, uint64_t n) { one_tensor(b, "t", 1, &n, K_Q4_K, 0, (size_t)n / 256 * 144); }

static void offset(build *b, uint64_t n)
{
    static const uint64_t dims[] = { 4 };
    one_tensor(b, "t", 1, dims, K_F32, n, 16);
}

/* 40 bytes of data, of which n are there; more are trailing. */
static void data_there(build *b, uint64_t n)
{
    static const uint64_t dims[] = { 10 };
    one_tensor(b, "t", 1, dims, K_F32, 0, (size_t)n);
}

static void same_name(build *b, uint64_t n)
{
    static const uint64_t dims[] = { 8 };
    put_head(b, 3, 2, 0);
    put_tensor(b, "t", 1, dims, K_F32, 0);
    put_tensor(b, n != 0 ? "t" : "u", 1, dims, K_F32, 32);
    put_padding(b, 32);
    put_zeros(b, 64);
}

/* A tensor of 48 bytes at 0 and one of 32 at n, in file order or, for odd n, the other way round (at n - 1). */
static void second_at(build *b, uint64_t n)
{
    static const uint64_t twelve[] = { 12 }, eight[] = { 8 };
    put_head(b, 3, 2, 0);
    if (n % 2 == 0) put_tensor(b, "a", 1, twelve, K_F32, 0);
    put_tensor(b, "b", 1, eight, K_F32, n - n % 2);
    if (n % 2 != 0) put_tensor(b, "a", 1, twelve, K_F32, 0);
    put_padding(b, 32);
    put_zeros(b, 64 + 32 + (n > 65 ? 32 : 0));
}

static void trailing_bare(build *b, uint64_t n)
{
    put_head(b, 3, 0, 0);
    put_zeros(b, (size_t)n);
}

#define ANY UINT64_MAX /* the offset is elsewhere: errors.txt has it */

static const struct row {
    const char *name; /* of its golden file, where it is small enough for one */
    void (*build)(build *b, uint64_t n);
    uint64_t n;
    enum err_code want;
    uint64_t want_offset;
} ROWS[] = {
    { "magic",              magic,            'G',                       ERR_VALUE,       0  },
    { "empty",              magic,            'F',                       ERR_NONE,        0  },
    { "version-0",          version,          0,                         ERR_UNSUPPORTED, 4  },
    { "version-1",          version,          1,                         ERR_UNSUPPORTED, 4  },
    { "version-2",          version,          2,                         ERR_NONE,        0  },
    { "version-3",          version,          3,                         ERR_NONE,        0  },
    { "version-4",          version,          4,                         ERR_UNSUPPORTED, 4  },
    { "big-endian-3",       version,          0x03000000,                ERR_UNSUPPORTED, 4  },
    { "tensors-no-room",    tensor_count,     1,                         ERR_TRUNCATED,   8  },
    { "tensors-limit",      tensors,          GGUF_TENSORS_MAX,          ERR_NONE,        0  },
    { "tensors-limit-1",    tensors,          GGUF_TENSORS_MAX - 1,      ERR_NONE,        0  },
    { "tensors-limit+1",    tensor_count,     GGUF_TENSORS_MAX + 1,      ERR_LIMIT,       8  },
    { "tensors-2^64-1",     tensor_count,     UINT64_MAX,                ERR_LIMIT,       8  },
    { "pairs-no-room",      pair_count,       1,                         ERR_TRUNCATED,   16 },
    { "pairs-13-bytes",     pair_room,        13,                        ERR_TRUNCATED,   16 },
    { "pairs-14-bytes",     pair_room,        14,                        ERR_LIMIT,       24 },
    { "tensors-16-bytes",   tensor_room,      16,                        ERR_TRUNCATED,   8  },
    { "tensors-17-bytes",   tensor_room,      17,                        ERR_LIMIT,       24 },
    { "pairs-limit",        pairs,            GGUF_KEYS_MAX,             ERR_NONE,        0  },
    { "pairs-limit-1",      pairs,            GGUF_KEYS_MAX - 1,         ERR_NONE,        0  },
    { "pairs-limit+1",      pairs,            GGUF_KEYS_MAX + 1,         ERR_LIMIT,       16 },
    { "pairs-2^64-1",       pair_count,       UINT64_MAX,                ERR_LIMIT,       16 },
    { "key-0",              key_announced,    0,                         ERR_LIMIT,       24 },
    { "key-1",              key_bytes,        1,                         ERR_NONE,        0  },
    { "key-limit-1",        key_bytes,        GGUF_KEY_BYTES_MAX - 1,    ERR_NONE,        0  },
    { "key-limit",          key_bytes,        GGUF_KEY_BYTES_MAX,        ERR_NONE,        0  },
    { "key-limit+1",        key_bytes,        GGUF_KEY_BYTES_MAX + 1,    ERR_LIMIT,       24 },
    { "key-2^64-1",         key_announced,    UINT64_MAX,                ERR_LIMIT,       24 },
    { "key-cut",            key_announced,    17,                        ERR_TRUNCATED,   32 },
    { "key-utf8",           key_text,         0xA9C3,                    ERR_NONE,        0  },
    { "key-overlong",       key_text,         0x80C0,                    ERR_VALUE,       33 },
    { "key-half",           key_text,         0xC361,                    ERR_VALUE,       34 },
    { "key-nul",            key_text,         0x0061,                    ERR_VALUE,       34 },
    { "key-newline",        key_text,         0x610A,                    ERR_VALUE,       33 },
    { "key-delete",         key_text,         0x617F,                    ERR_VALUE,       33 },
    { "key-blank",          key_text,         0x6120,                    ERR_NONE,        0  },
    { "value-type-13",      value_type,       13,                        ERR_VALUE,       33 },
    { "value-type-2^32-1",  value_type,       UINT32_MAX,                ERR_VALUE,       33 },
    { "bool-1",             bool_value,       1,                         ERR_NONE,        0  },
    { "bool-2",             bool_value,       2,                         ERR_VALUE,       37 },
    { "bools-1",            bool_in_array,    1,                         ERR_NONE,        0  },
    { "bools-2",            bool_in_array,    2,                         ERR_VALUE,       51 },
    { "string-0",           string_bytes,     0,                         ERR_NONE,        0  },
    { "string-cut",         string_announced, 1,                         ERR_TRUNCATED,   45 },
    { "string-limit-1",     string_bytes,     GGUF_STRING_BYTES_MAX - 1, ERR_NONE,        0  },
    { "string-limit",       string_bytes,     GGUF_STRING_BYTES_MAX,     ERR_NONE,        0  },
    { "string-limit+1",     string_bytes,     GGUF_STRING_BYTES_MAX + 1, ERR_LIMIT,       37 },
    { "string-2^64-1",      string_announced, UINT64_MAX,                ERR_LIMIT,       37 },
    { "strings-0",          string_in_array,  0,                         ERR_NONE,        0  },
    { "strings-cut",        string_in_array,  1,                         ERR_TRUNCATED,   68 },
    { "strings-2^64-8",     string_in_array,  UINT64_MAX - 7,            ERR_LIMIT,       60 },
    { "array-0",            array_items,      0,                         ERR_NONE,        0  },
    { "array-limit-1",      array_items,      GGUF_ARRAY_MAX - 1,        ERR_NONE,        0  },
    { "array-limit",        array_items,      GGUF_ARRAY_MAX,            ERR_NONE,        0  },
    { "array-limit+1",      array_items,      GGUF_ARRAY_MAX + 1,        ERR_LIMIT,       41 },
    { "array-no-room",      array_announced,  3,                         ERR_TRUNCATED,   41 },
    { "array-2^61",         array_announced,  (uint64_t)1 << 61,         ERR_LIMIT,       41 },
    { "array-of-13",        array_of_type,    13,                        ERR_VALUE,       37 },
    { "nested-2",           nested,           2,                         ERR_NONE,        0  },
    { "nested-limit-1",     nested,           GGUF_NESTING_MAX - 1,      ERR_NONE,        0  },
    { "nested-limit",       nested,           GGUF_NESTING_MAX,          ERR_NONE,        0  },
    { "nested-limit+1",     nested,           GGUF_NESTING_MAX + 1,      ERR_LIMIT,       85 },
    { "nested-50",          nested,           50,                        ERR_LIMIT,       85 },
    { "alignment-0",        alignment,        0,                         ERR_VALUE,       49 },
    { "alignment-4",        alignment,        4,                         ERR_VALUE,       49 },
    { "alignment-8",        alignment,        8,                         ERR_NONE,        0  },
    { "alignment-16",       alignment,        16,                        ERR_NONE,        0  },
    { "alignment-24",       alignment,        24,                        ERR_VALUE,       49 },
    { "alignment-limit",    alignment,        GGUF_ALIGNMENT_MAX,        ERR_NONE,        0  },
    { "alignment-half-limit", alignment,        GGUF_ALIGNMENT_MAX / 2,    ERR_NONE,        0  },
    { "alignment-twice-limit", alignment,        GGUF_ALIGNMENT_MAX * 2,    ERR_VALUE,       49 },
    { "alignment-u64",      alignment_type,   T_U64,                     ERR_VALUE,       49 },
    { "keys-differ",        same_key,         0,                         ERR_NONE,        0  },
    { "key-twice",          same_key,         1,                         ERR_VALUE,       61 },
    { "name-0",             name_bytes,       0,                         ERR_LIMIT,       24 },
    { "name-1",             name_bytes,       1,                         ERR_NONE,        0  },
    { "name-limit-1",       name_bytes,       GGUF_NAME_BYTES_MAX - 1,   ERR_NONE,        0  },
    { "name-limit",         name_bytes,       GGUF_NAME_BYTES_MAX,       ERR_NONE,        0  },
    { "name-limit+1",       name_bytes,       GGUF_NAME_BYTES_MAX + 1,   ERR_LIMIT,       24 },
    { "name-not-utf8",      name_text,        0xFF,                      ERR_VALUE,       33 },
    { "name-escape",        name_text,        0x1B,                      ERR_VALUE,       33 },
    { "dims-0",             dim_count,        0,                         ERR_NONE,        0  },
    { "dims-3",             dim_count,        3,                         ERR_NONE,        0  },
    { "dims-4",             dim_count,        4,                         ERR_NONE,        0  },
    { "dims-5",             dim_count,        5,                         ERR_LIMIT,       33 },
    { "dim-0",              first_dim,        0,                         ERR_VALUE,       37 },
    { "dim-1",              first_dim,        1,                         ERR_NONE,        0  },
    { "dim-2^62",           first_dim,        (uint64_t)1 << 62,         ERR_LIMIT,       45 },
    { "dim-2^64-1",         first_dim,        UINT64_MAX,                ERR_LIMIT,       45 },
    { "product-2^64",       square,           (uint64_t)1 << 32,         ERR_LIMIT,       45 },
    { "product-wraps-to-1", square,           UINT64_MAX,                ERR_LIMIT,       45 },
    { "product-large",      square,           UINT32_MAX,                ERR_TRUNCATED,   ANY },
    { "type-4",             type,             4,                         ERR_UNSUPPORTED, 45 },
    { "type-31",            type,             31,                        ERR_UNSUPPORTED, 45 },
    { "type-43",            type,             43,                        ERR_UNSUPPORTED, 45 },
    { "type-2^32-1",        type,             UINT32_MAX,                ERR_UNSUPPORTED, 45 },
    { "type-nvfp4",         type,             40,                        ERR_NONE,        0  },
    { "row-255",            row_values,       255,                       ERR_VALUE,       45 },
    { "row-256",            row_values,       256,                       ERR_NONE,        0  },
    { "row-257",            row_values,       257,                       ERR_VALUE,       45 },
    { "offset-31",          offset,           31,                        ERR_VALUE,       49 },
    { "offset-32",          offset,           32,                        ERR_TRUNCATED,   ANY },
    { "offset-2^64-32",     offset,           UINT64_MAX - 31,           ERR_TRUNCATED,   ANY },
    { "data-39-of-40",      data_there,       39,                        ERR_TRUNCATED,   ANY },
    { "data-40-of-40",      data_there,       40,                        ERR_NONE,        0  },
    { "data-padded",        data_there,       64,                        ERR_NONE,        0  },
    { "data-trailing",      data_there,       65,                        ERR_VALUE,       104 },
    { "names-differ",       same_name,        0,                         ERR_NONE,        0  },
    { "name-twice",         same_name,        1,                         ERR_VALUE,       128 },
    { "second-in-order",    second_at,        64,                        ERR_NONE,        0  },
    { "second-first",       second_at,        65,                        ERR_NONE,        0  },
    { "second-same-place",  second_at,        0,                         ERR_VALUE,       96 },
    { "second-overlaps",    second_at,        32,                        ERR_VALUE,       128 },
    { "second-overlaps-1",  second_at,        33,                        ERR_VALUE,       128 },
    { "second-after-gap",   second_at,        96,                        ERR_VALUE,       160 },
    { "bare-padded",        trailing_bare,    8,                         ERR_NONE,        0  },
    { "bare-trailing",      trailing_bare,    9,                         ERR_VALUE,       24 },
};

/* ---- the rows, and their golden files ---- */

static bool read_row(const struct row *row, build *b, arena *a, gguf_dir *dir, err *e)
{
    *b = build_new(BUILD_ROOM);
    row->build(b, row->n);
    return gguf_read_dir(build_view(b), a, dir, e);
}

static void golden_path(const struct row *row, char *path, size_t room)
{
    snprintf(path, room, "tests/golden/gguf/%s.gguf", row->name);
}

static void error_line(const struct row *row, const err *e, char *line, size_t room)
{
    snprintf(line, room, "%s: byte %llu: %s\n", row->name, (unsigned long long)e->offset, e->text);
}

static void check_row_of(const struct row *row, const view *errors, arena *a)
{
    build b;
    gguf_dir dir;
    err e = { 0 }, golden_e = { 0 };
    bool opened = read_row(row, &b, a, &dir, &e);
    CHECK(opened == (row->want == ERR_NONE) && e.code == row->want, "%s: code %d, wanted %d: %s", row->name, e.code,
          row->want, e.text);
    if (row->want != ERR_NONE) {
        CHECK(row->want_offset == ANY || e.offset == row->want_offset, "%s: byte %llu, wanted %llu: %s", row->name,
              (unsigned long long)e.offset, (unsigned long long)row->want_offset, e.text);
        char line[ERR_TEXT_BYTES + 100];
        error_line(row, &e, line, sizeof line);
        bool found = memmem(errors->ptr, errors->len_bytes, line, strlen(line)) != NULL;
        CHECK(found, "tests/golden/gguf/errors.txt has no line: %s", line);
    }
    if (b.len <= GOLDEN_BYTES_MAX) {
        char path[200];
        view golden = { 0 };
        golden_path(row, path, sizeof path);
        if (CHECK(file_map(path, &golden, &golden_e), "%s", golden_e.text)) {
            CHECK(view_equal(golden, build_view(&b)), "%s differs from what its builder makes", path);
            file_unmap(&golden);
        }
    }
    free(b.bytes);
    arena_rewind(a, 0);
}

static void write_golden(arena *a)
{
    static char errors[sizeof ROWS / sizeof *ROWS * (ERR_TEXT_BYTES + 100)];
    size_t at = 0;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        build b;
        gguf_dir dir;
        err e = { 0 }, write_e = { 0 };
        char path[200];
        bool opened = read_row(&ROWS[i], &b, a, &dir, &e);
        golden_path(&ROWS[i], path, sizeof path);
        view bytes = build_view(&b);
        if (b.len <= GOLDEN_BYTES_MAX) CHECK(file_write(path, &bytes, 1, &write_e), "%s", write_e.text);
        if (!opened) {
            error_line(&ROWS[i], &e, errors + at, sizeof errors - at);
            at += strlen(errors + at);
        }
        free(b.bytes);
        arena_rewind(a, 0);
    }
    view text = { (const uint8_t *)errors, at };
    err e = { 0 };
    CHECK(file_write("tests/golden/gguf/errors.txt", &text, 1, &e), "%s", e.text);
}

/* ---- what a good directory holds ---- */

static void good_file(build *b)
{
    static const uint64_t square_dims[] = { 256, 3 }, cube[] = { 4, 3, 2 };
    put_head(b, 3, 3, 4);
    put_key(b, "general.architecture", T_STRING);
    put_string(b, "test");
    put_key(b, "test.block_count", T_U32);
    put_u32(b, 5);
    put_key(b, "tokens", T_ARRAY);
    put_u32(b, T_STRING);
    put_u64(b, 4);
    put_string(b, "one");
    put_string(b, "");
    put_string(b, "three \xFF");
    put_string(b, "four");
    put_key(b, "flags", T_ARRAY);
    put_u32(b, T_BOOL);
    put_u64(b, 2);
    put_int(b, 0x0100, 2);
    put_tensor(b, "token_embd.weight", 2, square_dims, K_Q4_K, 0);
    put_tensor(b, "cube", 3, cube, K_F32, 448);
    put_tensor(b, "scalar", 0, NULL, K_I8, 544);
    put_padding(b, 32);
    for (size_t i = 0; i < 545; i++) put_int(b, i, 1);
}

static void directory(arena *a)
{
    build b = build_new(4096);
    gguf_dir dir;
    err e = { 0 };
    good_file(&b);
    view file = build_view(&b);
    if (!CHECK(gguf_read_dir(file, a, &dir, &e), "%s", e.text)) return;
    CHECK(dir.version == 3 && dir.alignment == 32 && dir.pair_count == 4 && dir.tensor_count == 3, "the counts");
    const gguf_tensor *t = gguf_tensor_find(&dir, "cube");
    if (CHECK(t != NULL, "cube is found")) {
        CHECK(t->type == K_F32 && t->dim_count == 3 && t->bytes == 96 && gguf_tensor_values(t) == 24, "cube's shape");
        CHECK(t->dims[0] == 4 && t->dims[1] == 3 && t->dims[2] == 2 && t->dims[3] == 1, "cube's dimensions");
        CHECK(file.ptr[t->offset] == (uint8_t)448 && t->offset % 32 == 0, "cube's offset is in the file");
    }
    t = gguf_tensor_find(&dir, "scalar");
    CHECK(t != NULL && t->bytes == 1 && t->dim_count == 0 && file.ptr[t->offset] == (uint8_t)544,
          "a tensor of one value");
    t = gguf_tensor_find(&dir, "token_embd.weight");
    CHECK(t != NULL && t->bytes == 3 * 144, "rows of blocks");
    static const char *const absent[] = { "", "a", "cub", "cubes", "token", "zzz" };
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        CHECK(gguf_tensor_find(&dir, absent[i]) == NULL, "no tensor \"%s\"", absent[i]);
        CHECK(gguf_find(&dir, absent[i]) == NULL, "no key \"%s\"", absent[i]);
    }
    for (size_t i = 0; i < dir.pair_count; i++) {
        char key[100];
        snprintf(key, sizeof key, "%.*s", (int)dir.pairs[i].key.len_bytes, (const char *)dir.pairs[i].key.ptr);
        CHECK(gguf_find(&dir, key) == &dir.pairs[i], "%s is found", key);
    }
    free(b.bytes);
    arena_rewind(a, 0);
}

/* Each length of a good file but the whole one; and each byte of it changed must be an error or a directory whose
 * tensors lie inside (the sanitizers watch what is read on the way). */
static void every_cut_and_change(arena *a)
{
    build b = build_new(4096);
    good_file(&b);
    size_t refused = 0, changes = 0, outside = 0;
    for (size_t len = 0; len < b.len; len++) {
        /* A copy that ends where the file does, so that one byte too far is seen. */
        uint8_t *copy = malloc(len > 0 ? len : 1);
        memcpy(copy, b.bytes, len);
        gguf_dir dir;
        err e = { 0 };
        bool opened = gguf_read_dir((view){ copy, len }, a, &dir, &e);
        refused += !opened && e.code == ERR_TRUNCATED && e.offset <= len;
        arena_rewind(a, 0);
        free(copy);
    }
    CHECK(refused == b.len, "%zu of %zu cuts refused as truncated", refused, b.len);
    for (size_t at = 0; at < b.len; at++)
        for (unsigned flip = 1; flip < 256; flip = flip * 2 + 1) {
            uint8_t old = b.bytes[at];
            gguf_dir dir;
            err e = { 0 };
            b.bytes[at] = (uint8_t)(old ^ flip);
            if (gguf_read_dir(build_view(&b), a, &dir, &e))
                for (size_t i = 0; i < dir.tensor_count; i++)
                    outside += dir.tensors[i].bytes > b.len || dir.tensors[i].offset > b.len - dir.tensors[i].bytes;
            b.bytes[at] = old;
            changes++;
            arena_rewind(a, 0);
        }
    CHECK(outside == 0, "%zu of %zu changed files gave a tensor outside", outside, changes);
    free(b.bytes);
}

/* The arena failing at every size below what the directory needs is an error, never a crash. */
static void every_arena(void)
{
    build b = build_new(4096);
    good_file(&b);
    for (size_t room = 0; room <= 2048; room += 8) {
        arena a = { 0 };
        gguf_dir dir;
        err e = { 0 };
        if (!CHECK(arena_new(&a, 4096, &e), "%s", e.text)) break;
        a.size_bytes = room;
        bool opened = gguf_read_dir(build_view(&b), &a, &dir, &e);
        if (!CHECK(opened == (e.code == ERR_NONE) && (opened || e.code == ERR_MEMORY), "%zu bytes: %s", room,
                   e.text)) break;
        if (room == 0) CHECK(!opened, "an arena of nothing");
        if (room == 2048) CHECK(opened, "2048 bytes are enough: %s", e.text);
        a.size_bytes = 4096;
        arena_free(&a);
    }
    free(b.bytes);
}

static void kinds(void)
{
    /* Sizes from the published layouts: scales and codes of a block added up. */
    static const struct { const char *name; uint32_t type, values, bytes; } want[] = {
        { "q4_0", 2, 32, 2 + 16 },         { "Q5_1", 7, 32, 2 + 2 + 4 + 16 },  { "Q4_K", 12, 256, 2 + 2 + 12 + 128 },
        { "q6_k", 14, 256, 128 + 64 + 16 + 2 }, { "iq4_xs", 23, 256, 2 + 2 + 4 + 128 }, { "mxfp4", 39, 32, 1 + 16 },
        { "nvfp4", 40, 64, 4 + 32 },       { "bf16", 30, 1, 2 },               { "q8_k", 15, 256, 4 + 256 + 32 },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const struct gguf_kind *kind = gguf_kind_named(view_of(want[i].name));
        CHECK(kind != NULL && kind == gguf_kind(want[i].type) && kind->block_values == want[i].values &&
              kind->block_bytes == want[i].bytes, "%s", want[i].name);
    }
    CHECK(gguf_kind_named(view_of("q4")) == NULL && gguf_kind_named(view_of("q4_00")) == NULL, "names are whole names");
    CHECK(gguf_kind_named(view_of("")) == NULL, "no name, no kind");
}

int main(int argc, char **argv)
{
    arena a = { 0 };
    err e = { 0 };
    view errors = { 0 };
    if (!CHECK(arena_new(&a, (size_t)64 << 20, &e), "%s", e.text)) return check_done();
    if (argc > 1 && strcmp(argv[1], "--write") == 0) write_golden(&a);
    if (CHECK(file_map("tests/golden/gguf/errors.txt", &errors, &e), "%s", e.text)) {
        for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) check_row_of(&ROWS[i], &errors, &a);
        file_unmap(&errors);
    }
    directory(&a);
    every_cut_and_change(&a);
    every_arena();
    kinds();
    arena_free(&a);
    return check_done();
}
