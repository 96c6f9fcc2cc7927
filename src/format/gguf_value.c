/* Typed access to metadata: every getter names the key, what it found and what it allows. */
#include "base/le.h"
#include "format/gguf_part.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Types that answer the same questions. A key's family is what this program insists on; the width is the writer's. */
enum family { FAMILY_INT, FAMILY_FLOAT, FAMILY_BOOL, FAMILY_STRING, FAMILY_ARRAY };

/* ORDER gguf_type */
static const struct {
    const char *name;
    enum family family;
    uint8_t bytes; /* 0: the length is in the file */
    bool is_signed;
} VALUE_TYPES[GGUF_TYPES] = {
    { "u8",     FAMILY_INT,    1, false },
    { "i8",     FAMILY_INT,    1, true  },
    { "u16",    FAMILY_INT,    2, false },
    { "i16",    FAMILY_INT,    2, true  },
    { "u32",    FAMILY_INT,    4, false },
    { "i32",    FAMILY_INT,    4, true  },
    { "f32",    FAMILY_FLOAT,  4, true  },
    { "bool",   FAMILY_BOOL,   1, false },
    { "string", FAMILY_STRING, 0, false },
    { "array",  FAMILY_ARRAY,  0, false },
    { "u64",    FAMILY_INT,    8, false },
    { "i64",    FAMILY_INT,    8, true  },
    { "f64",    FAMILY_FLOAT,  8, true  },
};

size_t gguf_type_bytes(enum gguf_type type)
{
    assert(type < GGUF_TYPES);
    return VALUE_TYPES[type].bytes;
}

const char *gguf_type_name(enum gguf_type type)
{
    assert(type < GGUF_TYPES);
    return VALUE_TYPES[type].name;
}

/* Any integer of the format: as i64 where it is negative, else as u64. */
typedef struct integer {
    bool negative;
    uint64_t bits; /* two's complement where negative */
} integer;

static integer read_integer(enum gguf_type type, const uint8_t *p)
{
    uint64_t bits = 0;
    unsigned bytes = VALUE_TYPES[type].bytes;
    for (unsigned i = 0; i < bytes; i++) bits |= (uint64_t)p[i] << (8 * i);
    bool negative = VALUE_TYPES[type].is_signed && (p[bytes - 1] & 0x80) != 0;
    if (negative && bytes < 8) bits |= UINT64_MAX << (8 * bytes);
    return (integer){ negative, bits };
}

/* Ranges are compared in the integer's own sign: a cast first would let -1 pass as a large number. */
static bool in_u64(integer n, uint64_t min, uint64_t max)
{
    return !n.negative && n.bits >= min && n.bits <= max;
}

static bool in_i64(integer n, int64_t min, int64_t max)
{
    if (!n.negative && n.bits > INT64_MAX) return false;
    return (int64_t)n.bits >= min && (int64_t)n.bits <= max;
}

/* The decimal digits of an integer, for errors. */
typedef struct digits {
    char text[24];
} digits;

static digits integer_text(integer n)
{
    digits d;
    if (n.negative) snprintf(d.text, sizeof d.text, "%" PRId64, (int64_t)n.bits);
    else snprintf(d.text, sizeof d.text, "%" PRIu64, n.bits);
    return d;
}

/* The pair of a key that must have one of the families wanted. *out is NULL where an optional key is missing. */
static bool want(const gguf_dir *dir, const char *key, enum gguf_need need, unsigned families, const char *wanted,
                 const gguf_pair **out, err *e)
{
    *out = gguf_find(dir, key);
    if (*out == NULL)
        return need == GGUF_OPTIONAL || fail(e, ERR_MISSING, ERR_NO_OFFSET, "key %s: missing, must be %s", key, wanted);
    if ((families >> VALUE_TYPES[(*out)->type].family & 1) == 0)
        return fail(e, ERR_VALUE, (*out)->offset, "key %s: is %s, must be %s", key, gguf_type_name((*out)->type),
                    wanted);
    return true;
}

bool gguf_u64(const gguf_dir *dir, const char *key, enum gguf_need need, uint64_t min, uint64_t max, uint64_t *out,
              err *e)
{
    const gguf_pair *p;
    if (!want(dir, key, need, 1u << FAMILY_INT, "an integer", &p, e)) return false;
    if (p == NULL) return true;
    integer n = read_integer(p->type, p->bytes.ptr);
    if (!in_u64(n, min, max))
        return fail(e, ERR_VALUE, p->offset, "key %s: %s, allowed %" PRIu64 "..%" PRIu64, key, integer_text(n).text,
                    min, max);
    *out = n.bits;
    return true;
}

bool gguf_i64(const gguf_dir *dir, const char *key, enum gguf_need need, int64_t min, int64_t max, int64_t *out, err *e)
{
    const gguf_pair *p;
    if (!want(dir, key, need, 1u << FAMILY_INT, "an integer", &p, e)) return false;
    if (p == NULL) return true;
    integer n = read_integer(p->type, p->bytes.ptr);
    if (!in_i64(n, min, max))
        return fail(e, ERR_VALUE, p->offset, "key %s: %s, allowed %" PRId64 "..%" PRId64, key, integer_text(n).text,
                    min, max);
    *out = (int64_t)n.bits;
    return true;
}

/* A number as f64. Integers over 2^53 round; none that means a float setting is near that. */
static double read_number(enum gguf_type type, const uint8_t *p)
{
    if (type == GGUF_F32) return (double)le_f32(p);
    if (type == GGUF_F64) return le_f64(p);
    integer n = read_integer(type, p);
    return n.negative ? (double)(int64_t)n.bits : (double)n.bits;
}

bool gguf_f32(const gguf_dir *dir, const char *key, enum gguf_need need, float min, float max, float *out, err *e)
{
    const gguf_pair *p;
    if (!want(dir, key, need, 1u << FAMILY_INT | 1u << FAMILY_FLOAT, "a number", &p, e)) return false;
    if (p == NULL) return true;
    double n = read_number(p->type, p->bytes.ptr);
    if (!isfinite(n) || n < (double)min || n > (double)max) /* before narrowing: f64 to f32 may overflow */
        return fail(e, ERR_VALUE, p->offset, "key %s: %g, allowed %g..%g", key, n, (double)min, (double)max);
    *out = (float)n;
    return true;
}

bool gguf_bool(const gguf_dir *dir, const char *key, enum gguf_need need, bool *out, err *e)
{
    const gguf_pair *p;
    if (!want(dir, key, need, 1u << FAMILY_INT | 1u << FAMILY_BOOL, "a bool", &p, e)) return false;
    if (p == NULL) return true;
    integer n = read_integer(p->type, p->bytes.ptr);
    if (!in_u64(n, 0, 1))
        return fail(e, ERR_VALUE, p->offset, "key %s: %s, must be a bool (0 or 1)", key, integer_text(n).text);
    *out = n.bits == 1;
    return true;
}

bool gguf_str(const gguf_dir *dir, const char *key, enum gguf_need need, view *out, err *e)
{
    const gguf_pair *p;
    if (!want(dir, key, need, 1u << FAMILY_STRING, "a string", &p, e)) return false;
    if (p != NULL) *out = p->bytes;
    return true;
}

/* ORDER gguf_items */
static const struct {
    unsigned families;
    const char *name;
} ITEM_KINDS[] = {
    { 1u << FAMILY_INT,    "an array of integers" },
    { 1u << FAMILY_FLOAT,  "an array of floats" },
    { 1u << FAMILY_BOOL,   "an array of bools" },
    { 1u << FAMILY_STRING, "an array of strings" },
    { ~0u,                 "an array" },
};

bool gguf_array(const gguf_dir *dir, const char *key, enum gguf_need need, enum gguf_items items, size_t count_min,
                size_t count_max, const gguf_pair **out, err *e)
{
    if (!want(dir, key, need, 1u << FAMILY_ARRAY, ITEM_KINDS[items].name, out, e)) return false;
    const gguf_pair *p = *out;
    if (p == NULL) return true;
    if ((ITEM_KINDS[items].families >> VALUE_TYPES[p->item_type].family & 1) == 0)
        return fail(e, ERR_VALUE, p->offset, "key %s: is an array of %s, must be %s", key, gguf_type_name(p->item_type),
                    ITEM_KINDS[items].name);
    if (p->count < count_min || p->count > count_max)
        return fail(e, ERR_VALUE, p->offset, "key %s: %zu items, allowed %zu..%zu", key, p->count, count_min,
                    count_max);
    return true;
}

static const uint8_t *item_at(const gguf_pair *p, size_t i)
{
    return p->bytes.ptr + i * VALUE_TYPES[p->item_type].bytes;
}

static bool item_fail(const gguf_pair *p, size_t i, const char *value, int64_t min, int64_t max, err *e)
{
    return fail(e, ERR_VALUE, p->offset, "key %.*s: item %zu is %s, allowed %" PRId64 "..%" PRId64, SHOWN(p->key), i,
                value, min, max);
}

bool gguf_items_i32(const gguf_pair *array, int32_t min, int32_t max, int32_t *out, err *e)
{
    assert(array->type == GGUF_ARRAY && VALUE_TYPES[array->item_type].family == FAMILY_INT);
    for (size_t i = 0; i < array->count; i++) {
        integer n = read_integer(array->item_type, item_at(array, i));
        if (!in_i64(n, min, max)) return item_fail(array, i, integer_text(n).text, min, max, e);
        out[i] = (int32_t)(int64_t)n.bits;
    }
    return true;
}

bool gguf_items_u32(const gguf_pair *array, uint32_t min, uint32_t max, uint32_t *out, err *e)
{
    assert(array->type == GGUF_ARRAY && VALUE_TYPES[array->item_type].family == FAMILY_INT);
    for (size_t i = 0; i < array->count; i++) {
        integer n = read_integer(array->item_type, item_at(array, i));
        if (!in_u64(n, min, max)) return item_fail(array, i, integer_text(n).text, min, max, e);
        out[i] = (uint32_t)n.bits;
    }
    return true;
}

bool gguf_items_f32(const gguf_pair *array, float *out, err *e)
{
    assert(array->type == GGUF_ARRAY && VALUE_TYPES[array->item_type].family == FAMILY_FLOAT);
    for (size_t i = 0; i < array->count; i++) {
        double n = read_number(array->item_type, item_at(array, i));
        if (!isfinite(n) || fabs(n) > 0x1.fffffep127)
            return fail(e, ERR_VALUE, array->offset, "key %.*s: item %zu is %g, not a finite f32", SHOWN(array->key),
                        i, n);
        out[i] = (float)n;
    }
    return true;
}

bool gguf_items_bool(const gguf_pair *array, bool *out, err *e)
{
    assert(array->type == GGUF_ARRAY && VALUE_TYPES[array->item_type].family == FAMILY_BOOL);
    for (size_t i = 0; i < array->count; i++) {
        integer n = read_integer(array->item_type, item_at(array, i));
        if (!in_u64(n, 0, 1)) return item_fail(array, i, integer_text(n).text, 0, 1, e);
        out[i] = n.bits == 1;
    }
    return true;
}

/* The string at *at of an array's bytes. The directory was checked, but bytes may be mapped and bounds are cheap. */
static bool next_string(const gguf_pair *p, size_t *at, view *out, err *e)
{
    view left = view_after(p->bytes, *at);
    uint64_t len = left.len_bytes >= 8 ? le_u64(left.ptr) : UINT64_MAX;
    if (left.len_bytes < 8 || len > left.len_bytes - 8)
        return fail(e, ERR_TRUNCATED, p->offset, "key %.*s: a string of %" PRIu64 " bytes, %zu left", SHOWN(p->key),
                    len, left.len_bytes);
    *out = (view){ left.ptr + 8, (size_t)len };
    *at += 8 + (size_t)len;
    return true;
}

bool gguf_strings(const gguf_pair *array, arena *a, view **out, err *e)
{
    assert(array->type == GGUF_ARRAY && array->item_type == GGUF_STRING);
    *out = ARENA_ARRAY(a, view, array->count, "strings of an array", e);
    if (*out == NULL) return false;
    for (size_t i = 0, at = 0; i < array->count; i++)
        if (!next_string(array, &at, &(*out)[i], e)) return false;
    return true;
}

bool gguf_u32_each(const gguf_dir *dir, const char *key, enum gguf_need need, size_t count, uint32_t min, uint32_t max,
                   uint32_t *out, err *e)
{
    const gguf_pair *p;
    unsigned numbers = 1u << FAMILY_INT | 1u << FAMILY_BOOL;
    if (!want(dir, key, need, numbers | 1u << FAMILY_ARRAY, "an integer or an array of them", &p, e)) return false;
    if (p == NULL) return true;
    if ((numbers >> VALUE_TYPES[p->item_type].family & 1) == 0)
        return fail(e, ERR_VALUE, p->offset, "key %s: is an array of %s, must be of integers", key,
                    gguf_type_name(p->item_type));
    if (p->type == GGUF_ARRAY && p->count != count)
        return fail(e, ERR_VALUE, p->offset, "key %s: %zu items, must be %zu", key, p->count, count);
    for (size_t i = 0; i < count; i++) {
        integer n = read_integer(p->item_type, item_at(p, p->type == GGUF_ARRAY ? i : 0));
        if (!in_u64(n, min, max)) return item_fail(p, i, integer_text(n).text, min, max, e);
        out[i] = (uint32_t)n.bits;
    }
    return true;
}
