/* Reading JSON: see json.h. One loop over the bytes with a stack of open containers: depth costs a pointer, never a
 * frame of the C stack, and each state's legal next byte is visible in one place. */
#include "format/json.h"

#include "base/checked.h"
#include "base/utf8.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

typedef struct reader {
    view source;
    size_t at; /* at <= source.len_bytes */
    arena *arena;
    err *e;
    json_value *open[JSON_DEPTH_MAX]; /* the containers around the value being read */
    json_value *last[JSON_DEPTH_MAX]; /* the newest child of each, where the next one is linked */
    size_t depth, values;
} reader;

static void skip_blanks(reader *r)
{
    while (r->at < r->source.len_bytes) {
        uint8_t c = r->source.ptr[r->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
        r->at++;
    }
}

static bool fail_at(reader *r, const char *want)
{
    if (r->at >= r->source.len_bytes)
        return fail(r->e, ERR_TRUNCATED, r->at, "JSON, byte %zu: ends where %s is due", r->at, want);
    return fail(r->e, ERR_VALUE, r->at, "JSON, byte %zu: '%c' where %s is due", r->at,
                r->source.ptr[r->at] < 0x7F ? (char)r->source.ptr[r->at] : '?', want);
}

static bool hex4(reader *r, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < 4; i++, r->at++) {
        if (r->at >= r->source.len_bytes) return fail_at(r, "a hexadecimal digit");
        uint8_t c = r->source.ptr[r->at];
        uint32_t letter = c | 32u, digit = 16;
        if (c >= '0' && c <= '9') digit = c - (uint32_t)'0';
        if (letter >= 'a' && letter <= 'f') digit = letter - 'a' + 10;
        if (digit == 16) return fail_at(r, "a hexadecimal digit");
        *out = *out << 4 | digit;
    }
    return true;
}

/* The escape after a backslash; writes its character at *out and moves it. */
static bool unescape(reader *r, uint8_t **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->at >= r->source.len_bytes) return fail_at(r, "an escape");
    const char *simple = memchr(from, r->source.ptr[r->at], sizeof from - 1);
    if (simple != NULL) {
        *(*out)++ = (uint8_t)to[simple - from];
        r->at++;
        return true;
    }
    if (r->source.ptr[r->at] != 'u') return fail_at(r, "an escape");
    size_t escape_at = r->at++ - 1;
    uint32_t code, low;
    if (!hex4(r, &code)) return false;
    if (code >= 0xD800 && code <= 0xDFFF) {
        bool paired = code < 0xDC00 && r->source.len_bytes - r->at >= 6 && memcmp(r->source.ptr + r->at, "\\u", 2) == 0;
        if (paired) {
            r->at += 2;
            if (!hex4(r, &low)) return false;
            paired = low >= 0xDC00 && low <= 0xDFFF;
        }
        if (!paired)
            return fail(r->e, ERR_VALUE, escape_at, "JSON, byte %zu: half a surrogate pair is no character", escape_at);
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    *out += utf8_put(code, *out);
    return true;
}

/* A string from its opening quote on. Without escapes it is a view of the source; else a copy, never longer. */
static bool read_string(reader *r, view *out)
{
    size_t start = ++r->at;
    while (r->at < r->source.len_bytes && r->source.ptr[r->at] != '"' && r->source.ptr[r->at] != '\\' &&
           r->source.ptr[r->at] >= 0x20)
        r->at++;
    if (r->at < r->source.len_bytes && r->source.ptr[r->at] == '"') {
        *out = (view){ r->source.ptr + start, r->at++ - start };
        return true;
    }
    size_t end = r->at; /* the end in the source bounds the copy: an escape is never shorter than its character */
    while (end < r->source.len_bytes && r->source.ptr[end] != '"') end += r->source.ptr[end] == '\\' ? 2 : 1;
    if (end >= r->source.len_bytes) end = r->source.len_bytes;
    uint8_t *copy = arena_take(r->arena, end - start, 1, 1, "JSON string", r->e), *to = copy;
    if (copy == NULL) return false;
    r->at = start;
    for (;;) {
        if (r->at >= r->source.len_bytes) return fail_at(r, "the end of a string");
        uint8_t c = r->source.ptr[r->at];
        if (c < 0x20) return fail(r->e, ERR_VALUE, r->at, "JSON, byte %zu: control character %u in a string", r->at, c);
        r->at++;
        if (c == '"') break;
        if (c != '\\') *to++ = c;
        else if (!unescape(r, &to)) return false;
    }
    *out = (view){ copy, (size_t)(to - copy) };
    return true;
}

static size_t digits(reader *r)
{
    size_t start = r->at;
    while (r->at < r->source.len_bytes && r->source.ptr[r->at] >= '0' && r->source.ptr[r->at] <= '9') r->at++;
    return r->at - start;
}

static bool next_is(const reader *r, uint8_t c)
{
    return r->at < r->source.len_bytes && r->source.ptr[r->at] == c;
}

static bool read_number(reader *r, json_value *v)
{
    size_t start = r->at;
    v->type = JSON_INT;
    if (next_is(r, '-')) r->at++;
    if (next_is(r, '0')) r->at++; /* no digit may follow a leading zero: the caller then finds it out of place */
    else if (digits(r) == 0) return fail_at(r, "a digit");
    if (next_is(r, '.')) {
        r->at++;
        v->type = JSON_FLOAT;
        if (digits(r) == 0) return fail_at(r, "a digit");
    }
    if (next_is(r, 'e') || next_is(r, 'E')) {
        r->at++;
        v->type = JSON_FLOAT;
        if (next_is(r, '+') || next_is(r, '-')) r->at++;
        if (digits(r) == 0) return fail_at(r, "a digit");
    }
    if (r->at - start > JSON_NUMBER_BYTES_MAX)
        return fail(r->e, ERR_LIMIT, start, "JSON, byte %zu: number of %zu characters, at most %d", start,
                    r->at - start, JSON_NUMBER_BYTES_MAX);
    v->text = (view){ r->source.ptr + start, r->at - start };
    return true;
}

static bool read_word(reader *r, json_value *v)
{
    static const struct {
        const char *word;
        enum json_type type;
    } words[] = { { "null", JSON_NULL }, { "false", JSON_FALSE }, { "true", JSON_TRUE } };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        view word = view_of(words[i].word);
        if (!view_starts(view_after(r->source, r->at), word)) continue;
        r->at += word.len_bytes;
        v->type = words[i].type;
        return true;
    }
    return fail_at(r, "a value");
}

/* FNV-1a: only spreads names over the table below; a chosen collision costs one compare of names more. */
static size_t name_hash(view name)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < name.len_bytes; i++) h = (h ^ name.ptr[i]) * 0x100000001B3u;
    return (size_t)(h ^ h >> 32);
}

static int by_name(const json_value *a, const json_value *b)
{
    view x = a->key, y = b->key;
    int order = memcmp(x.ptr, y.ptr, min_size(x.len_bytes, y.len_bytes));
    return order != 0 ? order : (x.len_bytes > y.len_bytes) - (x.len_bytes < y.len_bytes);
}

/* Heap sort: in place and never quadratic; qsort may allocate. */
static void sort_names(const json_value **v, size_t n)
{
    for (size_t start = n / 2, end = n; end > 1;) {
        if (start > 0) {
            start--;
        } else {
            const json_value *most = v[0];
            v[0] = v[--end];
            v[end] = most;
        }
        const json_value *moving = v[start];
        size_t hole = start;
        for (size_t child; (child = 2 * hole + 1) < end; hole = child) {
            if (child + 1 < end && by_name(v[child], v[child + 1]) < 0) child++;
            if (by_name(moving, v[child]) >= 0) break;
            v[hole] = v[child];
        }
        v[hole] = moving;
    }
}

static bool fail_twice(reader *r, const json_value *member)
{
    return fail(r->e, ERR_VALUE, member->offset, "JSON, byte %u: the value of a name given twice, \"%.*s\"",
                member->offset, (int)min_size(member->key.len_bytes, 64), (const char *)member->key.ptr);
}

/* No name twice. Small objects compare all pairs of hashes; larger ones are sorted, so that no choice of names makes
 * this quadratic. */
static bool names_distinct(reader *r, const json_value *object)
{
    enum { PAIRS_MAX = 32 };
    if (object->count <= PAIRS_MAX) {
        size_t hashes[PAIRS_MAX], seen = 0;
        JSON_EACH(member, object)
        {
            size_t h = name_hash(member->key), i = 0;
            JSON_EACH(earlier, object)
            {
                if (i == seen) break;
                if (hashes[i++] == h && view_equal(earlier->key, member->key)) return fail_twice(r, member);
            }
            hashes[seen++] = h;
        }
        return true;
    }
    size_t mark = r->arena->used_bytes, n = 0;
    const json_value **sorted = ARENA_ARRAY(r->arena, const json_value *, object->count, "JSON names", r->e);
    if (sorted == NULL) return false;
    JSON_EACH(member, object) sorted[n++] = member;
    sort_names(sorted, n);
    const json_value *twice = NULL;
    for (size_t i = 1; i < n && twice == NULL; i++)
        if (view_equal(sorted[i - 1]->key, sorted[i]->key))
            twice = sorted[i]->offset > sorted[i - 1]->offset ? sorted[i] : sorted[i - 1];
    arena_rewind(r->arena, mark);
    return twice == NULL || fail_twice(r, twice);
}

/* Takes a value, with its name where it is a member, and links it behind its elder sibling. */
static json_value *new_value(reader *r)
{
    if (++r->values > JSON_VALUES_MAX) {
        err_set(r->e, ERR_LIMIT, r->at, "JSON, byte %zu: more than %d values", r->at, JSON_VALUES_MAX);
        return NULL;
    }
    json_value *v = ARENA_ARRAY(r->arena, json_value, 1, "JSON value", r->e);
    if (v == NULL || r->depth == 0) return v;
    json_value *parent = r->open[r->depth - 1], **last = &r->last[r->depth - 1];
    if (*last == NULL) parent->first = v;
    else (*last)->next = v;
    *last = v;
    parent->count++;
    return v;
}

static bool read_name(reader *r, json_value *v)
{
    if (r->open[r->depth - 1]->count > JSON_MEMBERS_MAX)
        return fail(r->e, ERR_LIMIT, r->at, "JSON, byte %zu: more than %d members in one object", r->at,
                    JSON_MEMBERS_MAX);
    v->offset = (uint32_t)r->at; /* of the name, until its value is read: for the error about a second one */
    if (!next_is(r, '"')) return fail_at(r, "a name");
    if (!read_string(r, &v->key)) return false;
    skip_blanks(r);
    if (!next_is(r, ':')) return fail_at(r, "':'");
    r->at++;
    skip_blanks(r);
    return true;
}

/* One value up to its end, or, where it is a container, up to and including its opening bracket. */
static bool read_value(reader *r, json_value *v)
{
    if (r->depth > 0 && r->open[r->depth - 1]->type == JSON_OBJECT && !read_name(r, v)) return false;
    v->offset = (uint32_t)r->at;
    if (r->at >= r->source.len_bytes) return fail_at(r, "a value");
    uint8_t c = r->source.ptr[r->at];
    bool good;
    if (c == '{' || c == '[') {
        v->type = c == '{' ? JSON_OBJECT : JSON_ARRAY;
        if (r->depth == JSON_DEPTH_MAX)
            return fail(r->e, ERR_LIMIT, r->at, "JSON, byte %zu: nesting over %d", r->at, JSON_DEPTH_MAX);
        r->open[r->depth] = v;
        r->last[r->depth++] = NULL;
        r->at++;
        return true;
    }
    if (c == '"') {
        v->type = JSON_STRING;
        good = read_string(r, &v->text);
    } else {
        good = c == '-' || (c >= '0' && c <= '9') ? read_number(r, v) : read_word(r, v);
    }
    v->len_bytes = (uint32_t)(r->at - v->offset);
    return good;
}

/* After a value: closes what ends here, and says by *more whether another value is due. */
static bool read_separators(reader *r, bool *more)
{
    bool fresh = r->depth > 0 && r->last[r->depth - 1] == NULL; /* just opened: an item or the end, no comma */
    for (*more = true; r->depth > 0; fresh = false) {
        json_value *open = r->open[r->depth - 1];
        skip_blanks(r);
        if (next_is(r, open->type == JSON_OBJECT ? '}' : ']')) {
            r->at++;
            r->depth--;
            open->len_bytes = (uint32_t)(r->at - open->offset);
            if (open->type == JSON_OBJECT && !names_distinct(r, open)) return false;
            continue;
        }
        if (fresh) return true;
        if (!next_is(r, ',')) return fail_at(r, open->type == JSON_OBJECT ? "',' or '}'" : "',' or ']'");
        r->at++;
        skip_blanks(r);
        return true;
    }
    *more = false;
    return true;
}

bool json_parse(view source, arena *a, const json_value **out, err *e)
{
    if (source.len_bytes > JSON_BYTES_MAX)
        return fail(e, ERR_LIMIT, 0, "JSON: %zu bytes, at most %d", source.len_bytes, JSON_BYTES_MAX);
    size_t valid = utf8_valid_bytes(source);
    if (valid < source.len_bytes) return fail(e, ERR_VALUE, valid, "JSON, byte %zu: not UTF-8", valid);
    reader r = { .source = source, .arena = a, .e = e };
    skip_blanks(&r);
    json_value *root = NULL;
    for (bool more = true; more;) {
        json_value *v = new_value(&r);
        if (v == NULL || !read_value(&r, v) || !read_separators(&r, &more)) return false;
        if (root == NULL) root = v;
    }
    skip_blanks(&r);
    if (r.at < source.len_bytes) return fail_at(&r, "the end");
    *out = root;
    return true;
}

bool json_line(view *rest, view *line)
{
    while (rest->len_bytes > 0) {
        const uint8_t *end = memchr(rest->ptr, '\n', rest->len_bytes);
        size_t len = end == NULL ? rest->len_bytes : (size_t)(end - rest->ptr);
        *line = (view){ rest->ptr, len };
        *rest = view_after(*rest, end == NULL ? len : len + 1);
        if (len > 0 && line->ptr[len - 1] == '\r') line->len_bytes--;
        for (size_t i = 0; i < line->len_bytes; i++)
            if (line->ptr[i] != ' ' && line->ptr[i] != '\t') return true;
    }
    return false;
}

const json_value *json_find(const json_value *object, view name)
{
    if (object == NULL || object->type != JSON_OBJECT) return NULL;
    JSON_EACH(member, object)
    if (view_equal(member->key, name)) return member;
    return NULL;
}

const json_value *json_get(const json_value *object, const char *name)
{
    return json_find(object, view_of(name));
}

const json_value *json_item(const json_value *array, size_t index)
{
    if (array == NULL || array->type != JSON_ARRAY || index >= array->count) return NULL;
    const json_value *item = array->first;
    while (index-- > 0) item = item->next;
    return item;
}

bool json_i64(const json_value *v, int64_t *out)
{
    if (v == NULL || v->type != JSON_INT) return false;
    bool negative = v->text.ptr[0] == '-';
    int64_t n = 0;
    for (size_t i = negative; i < v->text.len_bytes; i++) {
        int digit = v->text.ptr[i] - '0'; /* counted down from zero, so that INT64_MIN needs no case of its own */
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_sub_overflow(n, digit, &n)) return false;
    }
    if (!negative && n == INT64_MIN) return false;
    *out = negative ? n : -n;
    return true;
}

/* strtod here is exact (glibc and musl round correctly) and reads '.', because no code of this program calls
 * setlocale, so the locale is "C" from start to end; the copy bounds it, because views have no terminator. */
double json_parse_double(view text)
{
    assert(text.len_bytes <= JSON_NUMBER_BYTES_MAX);
    char copy[JSON_NUMBER_BYTES_MAX + 1];
    if (text.len_bytes > 0) memcpy(copy, text.ptr, text.len_bytes);
    copy[text.len_bytes] = '\0';
    return strtod(copy, NULL);
}

bool json_read_double(view text, double *out)
{
    char copy[JSON_NUMBER_BYTES_MAX + 1], *end;
    if (text.len_bytes == 0 || text.len_bytes > JSON_NUMBER_BYTES_MAX) return false;
    memcpy(copy, text.ptr, text.len_bytes);
    copy[text.len_bytes] = '\0';
    if (strpbrk(copy, "xX( \t\n\v\f\r") != NULL) return false; /* what strtod takes beyond decimals and words */
    double d = strtod(copy, &end);
    if (end != copy + text.len_bytes) return false;
    *out = d;
    return true;
}

bool json_f64(const json_value *v, double *out)
{
    if (v == NULL || (v->type != JSON_INT && v->type != JSON_FLOAT)) return false;
    double d = json_parse_double(v->text);
    if (!isfinite(d)) return false;
    *out = d;
    return true;
}

static bool numbers_equal(const json_value *a, const json_value *b)
{
    int64_t i, j;
    double x, y;
    bool whole = json_i64(a, &i), also = json_i64(b, &j);
    if (whole && also) return i == j;
    if (a->type == b->type && a->type == JSON_INT) return view_equal(a->text, b->text);
    return json_f64(a, &x) && json_f64(b, &y) ? x == y : view_equal(a->text, b->text);
}

bool json_equal(const json_value *a, const json_value *b)
{
    bool number_a = a->type == JSON_INT || a->type == JSON_FLOAT,
         number_b = b->type == JSON_INT || b->type == JSON_FLOAT;
    if (number_a && number_b) return numbers_equal(a, b);
    if (a->type != b->type || a->count != b->count) return false;
    if (a->type == JSON_STRING) return view_equal(a->text, b->text);
    const json_value *at = b->first; /* recursion: at most JSON_DEPTH_MAX */
    JSON_EACH(item, a)
    {
        /* Members mostly come in the same order: look in place before looking everywhere. */
        bool in_place = a->type == JSON_ARRAY || view_equal(item->key, at->key);
        const json_value *other = in_place ? at : json_find(b, item->key);
        if (other == NULL || !json_equal(item, other)) return false;
        at = at->next;
    }
    return true;
}

/* One reference token of a pointer against a name: "~1" stands for '/', "~0" for '~'. */
static bool token_is(view token, view name)
{
    size_t at = 0;
    for (size_t i = 0; i < name.len_bytes; i++, at++) {
        if (at >= token.len_bytes) return false;
        uint8_t c = token.ptr[at];
        if (c == '~') {
            at++;
            if (at >= token.len_bytes || (token.ptr[at] != '0' && token.ptr[at] != '1')) return false;
            c = token.ptr[at] == '1' ? '/' : '~';
        }
        if (c != name.ptr[i]) return false;
    }
    return at == token.len_bytes;
}

static bool token_index(view token, size_t *out)
{
    if (token.len_bytes == 0 || token.len_bytes > 9 || (token.ptr[0] == '0' && token.len_bytes > 1)) return false;
    *out = 0;
    for (size_t i = 0; i < token.len_bytes; i++) {
        if (token.ptr[i] < '0' || token.ptr[i] > '9') return false;
        *out = *out * 10 + (token.ptr[i] - '0');
    }
    return true;
}

const json_value *json_at(const json_value *root, view pointer)
{
    const json_value *v = root;
    while (v != NULL && pointer.len_bytes > 0) {
        if (pointer.ptr[0] != '/') return NULL;
        pointer = view_after(pointer, 1);
        const uint8_t *end = pointer.len_bytes > 0 ? memchr(pointer.ptr, '/', pointer.len_bytes) : NULL;
        view token = { pointer.ptr, end == NULL ? pointer.len_bytes : (size_t)(end - pointer.ptr) };
        pointer = view_after(pointer, token.len_bytes);
        size_t index;
        const json_value *found = NULL;
        if (v->type == JSON_ARRAY && token_index(token, &index)) found = json_item(v, index);
        if (v->type == JSON_OBJECT) JSON_EACH(member, v)
        if (found == NULL && token_is(token, member->key)) found = member;
        v = found;
    }
    return v;
}

static void put(char *out, size_t out_bytes, size_t *at, char c)
{
    if (*at + 1 < out_bytes) out[(*at)++] = c;
}

const json_value *json_pointer(const json_value *root, uint32_t offset, char *out, size_t out_bytes)
{
    assert(out_bytes > 0);
    size_t at = 0;
    const json_value *v = root, *inner = offset - root->offset < root->len_bytes ? root : NULL;
    if (inner == NULL) v = NULL;
    while (inner != NULL) {
        v = inner;
        inner = NULL;
        size_t index = 0;
        JSON_EACH(item, v)
        {
            if (offset - item->offset < item->len_bytes) { /* wraps above len_bytes where offset lies before it */
                inner = item;
                break;
            }
            index++;
        }
        if (inner == NULL) break;
        put(out, out_bytes, &at, '/');
        char number[24];
        size_t len = 0;
        do number[len++] = (char)('0' + index % 10);
        while ((index /= 10) > 0);
        if (v->type == JSON_ARRAY)
            while (len > 0) put(out, out_bytes, &at, number[--len]);
        for (size_t i = 0; i < inner->key.len_bytes; i++) {
            char c = (char)inner->key.ptr[i];
            put(out, out_bytes, &at, c == '/' ? '~' : c);
            if (c == '~' || c == '/') put(out, out_bytes, &at, c == '~' ? '0' : '1');
        }
    }
    out[at] = '\0';
    return v;
}
