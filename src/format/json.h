/* format/json: JSON texts (RFC 8259) in and out. It owns the one reader and the one writer of the program; it never
 * reads a file, never guesses and never repairs. Invariants: a tree holds only valid UTF-8; members keep their order
 * and have distinct names; a number keeps its source text, so integers of any size survive; every value knows its bytes
 * in the source. Start with json_parse, then the json_value struct; json_writer is the way back. Beyond the RFC's
 * grammar:
 *   - an escaped surrogate without its other half is refused: it is no character, and a tree that held one could not
 *     be written as UTF-8 again;
 *   - an object with the same name twice is refused, compared after unescaping: two readers of it could disagree;
 *   - a byte order mark is refused. */
#ifndef HEARTH_FORMAT_JSON_H
#define HEARTH_FORMAT_JSON_H

#include "base/arena.h"
#include "base/limits.h"

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_INT, JSON_FLOAT, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

typedef struct json_value {
    enum json_type type;
    uint32_t count;                 /* items of an array, members of an object */
    uint32_t offset, len_bytes;     /* where its text stands in the source, quotes and brackets included */
    view key;                       /* its name where it is a member of an object, unescaped */
    view text;                      /* a string's characters, unescaped; a number as written */
    const struct json_value *first; /* of an array or object: its first item or member */
    const struct json_value *next;  /* the item or member after this one */
} json_value;

/* Walks the items or members of `v` in order. */
#define JSON_EACH(item, v) for (const json_value *item = (v)->first; item != NULL; item = item->next)

/* Reads one JSON text, which is all of `source` but blanks. The tree is taken from `a` and points into `source`
 * (strings without escapes, numbers), which must outlive it.
 *   limits  JSON_BYTES_MAX, JSON_DEPTH_MAX, JSON_VALUES_MAX, JSON_MEMBERS_MAX, JSON_NUMBER_BYTES_MAX (base/limits.h)
 *   errors  ERR_VALUE, ERR_TRUNCATED, ERR_LIMIT, ERR_MEMORY; e->offset is the byte in `source`
 *   threads no shared state.    source  RFC 8259.    fuzz  fuzz/json.c */
bool json_parse(view source, arena *a, const json_value **out, err *e);

/* JSON texts one a line: the next line that is not blank, without its line end. False where there is none left. */
bool json_line(view *rest, view *line);

/* The member of that name; NULL where there is none or `object` is no object. Takes time in the members' count. */
const json_value *json_get(const json_value *object, const char *name);
const json_value *json_find(const json_value *object, view name);

/* The item of an array, NULL where `index` is past its end. Takes time in `index`: walk with JSON_EACH. */
const json_value *json_item(const json_value *array, size_t index);

/* The number as a machine type. False, and *out unchanged, where it is not a number of that kind or does not fit:
 * json_i64 wants integer syntax (no '.', no 'e'); json_f64 takes both, rounds to nearest, and refuses infinity. */
bool json_i64(const json_value *v, int64_t *out);
bool json_f64(const json_value *v, double *out);

/* Are the two trees the same value? Members in any order; integers of 64 bits exactly, other numbers as f64 (1, 1.0 and
 * 1e0 are equal), and what overflows f64 by its text. */
bool json_equal(const json_value *a, const json_value *b);

/* RFC 6901. json_at finds the value a pointer ("" or "/a/0/b~1c") names, NULL where there is none. json_pointer writes
 * the pointer of the innermost value whose source range holds `offset` into `out` (cut to its size, always terminated)
 * and returns that value; NULL where the offset lies outside `root`. */
const json_value *json_at(const json_value *root, view pointer);
const json_value *json_pointer(const json_value *root, uint32_t offset, char *out, size_t out_bytes);

/* The writer: calls in the order of the text; commas, colons and escapes are its business. After the first error
 * (recorded in `e`) all calls do nothing, so one test at json_done is enough. Begin/end must pair, and a member is
 * json_key then one value (asserted). The buffer grows in the arena, up to `limit_bytes`. */
typedef struct json_writer {
    arena *arena;
    err *e;
    uint8_t *ptr;
    size_t len_bytes, capacity_bytes, limit_bytes;
    bool spaced; /* ", " and ": " as Python writes them; else no blanks */
    bool failed;
    unsigned depth;
    uint8_t state[JSON_DEPTH_MAX + 1];
} json_writer;

void json_writer_start(json_writer *w, arena *a, size_t limit_bytes, err *e);
bool json_done(json_writer *w, view *out);

void json_begin_object(json_writer *w);
void json_end_object(json_writer *w);
void json_begin_array(json_writer *w);
void json_end_array(json_writer *w);
void json_key(json_writer *w, const char *name);
void json_key_view(json_writer *w, view name);
void json_string(json_writer *w, view text); /* bytes that are no UTF-8 become U+FFFD */
void json_text(json_writer *w, const char *text);
void json_int(json_writer *w, int64_t value);
void json_uint(json_writer *w, uint64_t value);
void json_double(json_writer *w, double value); /* shortest that reads back the same; not finite: null */
void json_bool(json_writer *w, bool value);
void json_null(json_writer *w);
void json_raw(json_writer *w, view json);            /* one value that is JSON already; not checked */
void json_copy(json_writer *w, const json_value *v); /* a tree; numbers as they were written */

/* The pieces other writers share. json_double_text: the fewest digits that read back as `value`, in the form of
 * Python's repr ("1.0", "1e-07", "1e+16", "-0.0", "inf", "nan"); returns the length, at most 25.
 * json_parse_double: the f64 nearest to a number text of at most JSON_NUMBER_BYTES_MAX bytes; may be infinite.
 * json_read_double: the same for text that may be no number: all of it must be a decimal number with or without a
 * point, an exponent and a sign, or "inf", "infinity" or "nan"; false, and *out unchanged, where it is not.
 * json_escape: the escape of one character below U+0020, '"' or '\\', or an empty view where it is written as it is. */
enum { JSON_DOUBLE_BYTES = 32 };
size_t json_double_text(double value, char out[static JSON_DOUBLE_BYTES]);
double json_parse_double(view text);
bool json_read_double(view text, double *out);
view json_escape(uint8_t byte);

#endif
