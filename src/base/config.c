/* See config.h. One pass over the lines; every value is checked where it is read, so an error always has a line. */
#include "base/config.h"
#include "base/limits.h"

#include <assert.h>

enum { NAME_BYTES_MAX = 63 }; /* of a section or key in a table, and as much of a wrong one as is compared */

struct reader {
    const struct config_key *keys;
    size_t count;
    arena *a;
    struct config *out;
    struct config_value **last; /* the newest value of each key */
    view section;
    uint32_t line;
    uint64_t offset;
    err *e;
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static view trim(view v)
{
    while (v.len_bytes > 0 && is_blank(v.ptr[0])) v = view_after(v, 1);
    while (v.len_bytes > 0 && is_blank(v.ptr[v.len_bytes - 1])) v.len_bytes--;
    return v;
}

static size_t find(view v, uint8_t c)
{
    const uint8_t *at = v.len_bytes == 0 ? NULL : memchr(v.ptr, c, v.len_bytes);
    return at == NULL ? v.len_bytes : (size_t)(at - v.ptr);
}

bool config_int(view text, int64_t *out)
{
    bool negative = text.len_bytes > 0 && text.ptr[0] == '-';
    if (negative) text = view_after(text, 1);
    int64_t value = 0;
    size_t digits = 0;
    for (; digits < text.len_bytes && text.ptr[digits] >= '0' && text.ptr[digits] <= '9'; digits++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text.ptr[digits] - '0', &value))
            return false;
    if (digits == 0 || text.len_bytes - digits > 1) return false;
    if (digits < text.len_bytes) {
        static const char units[] = "KMG";
        const char *unit = memchr(units, text.ptr[digits], sizeof units - 1);
        if (unit == NULL) return false;
        for (const char *u = units; u <= unit; u++)
            if (__builtin_mul_overflow(value, 1024, &value)) return false;
    }
    *out = negative ? -value : value;
    return true;
}

/* 10^n for 0 <= n <= 22: every power in this range is exact in f64. */
static double power_of_ten(int n)
{
    double p = 1;
    for (int i = 0; i < n; i++) p *= 10;
    return p;
}

/* An integer below 10^15 and a power of ten to 22 are both exact, so their product or quotient is rounded once: the
 * nearest f64, as a correct strtod gives (Clinger, "How to read floating point numbers accurately", PLDI 1990). */
bool config_real(view text, double *out)
{
    bool negative = text.len_bytes > 0 && text.ptr[0] == '-';
    if (negative) text = view_after(text, 1);
    size_t at = 0, digits = 0, significant = 0;
    int64_t mantissa = 0, exponent = 0;
    bool point = false;
    for (; at < text.len_bytes; at++) {
        uint8_t c = text.ptr[at];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9') break;
        digits++;
        mantissa = mantissa * 10 + (c - '0');
        significant += mantissa > 0;
        exponent -= point;
        if (significant > 15 || digits > 40) return false;
    }
    if (digits == 0) return false;
    if (at < text.len_bytes) {
        int64_t given;
        if (text.ptr[at] != 'e' && text.ptr[at] != 'E') return false;
        view rest = view_after(text, at + 1);
        if (rest.len_bytes > 0 && rest.ptr[0] == '+') rest = view_after(rest, 1);
        if (rest.len_bytes > 3 || !config_int(rest, &given)) return false;
        exponent += given;
    }
    if (mantissa != 0 && (exponent < -22 || exponent > 22)) return false;
    double value = (double)mantissa;
    if (mantissa != 0)
        value = exponent < 0 ? value / power_of_ten((int)-exponent) : value * power_of_ten((int)exponent);
    *out = negative ? -value : value;
    return true;
}

/* Levenshtein's distance, two rows at a time; names longer than NAME_BYTES_MAX are compared by their beginning. */
static size_t distance(view a, view b)
{
    size_t row[NAME_BYTES_MAX + 1];
    if (a.len_bytes > NAME_BYTES_MAX) a.len_bytes = NAME_BYTES_MAX;
    if (b.len_bytes > NAME_BYTES_MAX) b.len_bytes = NAME_BYTES_MAX;
    for (size_t j = 0; j <= b.len_bytes; j++) row[j] = j;
    for (size_t i = 1; i <= a.len_bytes; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len_bytes; j++) {
            size_t best = corner + (a.ptr[i - 1] != b.ptr[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            corner = row[j];
            row[j] = best;
        }
    }
    return row[b.len_bytes];
}

static bool refuse_key(const struct reader *r, view name)
{
    const struct config_key *near = NULL;
    size_t near_distance = SIZE_MAX;
    for (size_t i = 0; i < r->count; i++) {
        /* A right name in the wrong section is nearer than any other name. */
        size_t d = 2 * distance(name, view_of(r->keys[i].name)) + !view_is(r->section, r->keys[i].section);
        if (d < near_distance) {
            near_distance = d;
            near = &r->keys[i];
        }
    }
    return fail(r->e, ERR_VALUE, r->offset, "line %u: unknown key %.*s in [%.*s]; the nearest is %s in [%s]", r->line,
                (int)name.len_bytes, (const char *)name.ptr, (int)r->section.len_bytes, (const char *)r->section.ptr,
                near == NULL ? "none" : near->name, near == NULL ? "" : near->section);
}

static bool refuse_section(const struct reader *r, view name)
{
    const char *near = "";
    size_t near_distance = SIZE_MAX;
    for (size_t i = 0; i < r->count; i++) {
        size_t d = distance(name, view_of(r->keys[i].section));
        if (d >= near_distance) continue;
        near_distance = d;
        near = r->keys[i].section;
    }
    return fail(r->e, ERR_VALUE, r->offset, "line %u: unknown section [%.*s]; the nearest is [%s]", r->line,
                (int)name.len_bytes, (const char *)name.ptr, near);
}

/* The index of `text` among names separated by blanks, or -1. */
static int64_t choice_index(const char *names, view text)
{
    int64_t index = 0;
    for (const char *at = names; *at != 0; index++) {
        size_t len = strcspn(at, " ");
        if (view_equal(text, (view){ (const uint8_t *)at, len })) return index;
        at += len;
        at += strspn(at, " ");
    }
    return -1;
}

static bool check_range(const struct reader *r, const struct config_key *key, view text, double value)
{
    if (value >= key->min && value <= key->max) return true;
    return fail(r->e, ERR_LIMIT, r->offset, "line %u: %s: %.*s, allowed %.15g..%.15g", r->line, key->name,
                (int)text.len_bytes, (const char *)text.ptr, key->min, key->max);
}

static bool convert(const struct reader *r, const struct config_key *key, struct config_value *v)
{
    const char *wanted = NULL;
    switch (key->type) {
    case CONFIG_TEXT:
        return true;
    case CONFIG_INT:
        if (config_int(v->text, &v->integer)) {
            v->real = (double)v->integer;
            return check_range(r, key, v->text, v->real);
        }
        wanted = "a whole number";
        break;
    case CONFIG_REAL:
        if (config_real(v->text, &v->real)) return check_range(r, key, v->text, v->real);
        wanted = "a number of at most 15 digits";
        break;
    case CONFIG_BOOL:
        v->integer = choice_index("no yes", v->text);
        if (v->integer >= 0) return true;
        wanted = "yes or no";
        break;
    case CONFIG_CHOICE:
        v->integer = choice_index(key->choices, v->text);
        if (v->integer >= 0) return true;
        return fail(r->e, ERR_VALUE, r->offset, "line %u: %s: %.*s is none of: %s", r->line, key->name,
                    (int)v->text.len_bytes, (const char *)v->text.ptr, key->choices);
    }
    return fail(r->e, ERR_VALUE, r->offset, "line %u: %s: %.*s is not %s", r->line, key->name, (int)v->text.len_bytes,
                (const char *)v->text.ptr, wanted);
}

static bool store(struct reader *r, size_t index, view text)
{
    const struct config_key *key = &r->keys[index];
    struct config_value *v = ARENA_ARRAY(r->a, struct config_value, 1, "configuration value", r->e);
    if (v == NULL) return false;
    v->text = text;
    v->line = r->line;
    if (!convert(r, key, v)) return false;
    if (r->last[index] == NULL) r->out->values[index] = v;
    else r->last[index]->next = v;
    r->last[index] = v;
    return true;
}

/* The value after "key =": unquoted, its comment cut off. */
static bool take_value(const struct reader *r, view rest, view *out)
{
    rest = trim(rest);
    if (rest.len_bytes > 0 && rest.ptr[0] == '"') {
        view inside = view_after(rest, 1);
        size_t end = find(inside, '"');
        if (end == inside.len_bytes) return fail(r->e, ERR_VALUE, r->offset, "line %u: a quote is not closed", r->line);
        view after = trim(view_after(inside, end + 1));
        if (after.len_bytes > 0 && after.ptr[0] != '#')
            return fail(r->e, ERR_VALUE, r->offset, "line %u: text after the closing quote", r->line);
        *out = (view){ inside.ptr, end };
        return true;
    }
    for (size_t i = 0; i < rest.len_bytes; i++)
        if (rest.ptr[i] == '#' && (i == 0 || is_blank(rest.ptr[i - 1]))) rest.len_bytes = i;
    *out = trim(rest);
    if (find(*out, '"') != out->len_bytes)
        return fail(r->e, ERR_VALUE, r->offset, "line %u: a quote inside a value", r->line);
    if (out->len_bytes == 0) return fail(r->e, ERR_VALUE, r->offset, "line %u: no value (\"\" is empty text)", r->line);
    return true;
}

static bool read_section(struct reader *r, view line)
{
    size_t end = find(line, ']');
    view after = trim(view_after(line, end + 1));
    if (end == line.len_bytes || (after.len_bytes > 0 && after.ptr[0] != '#'))
        return fail(r->e, ERR_VALUE, r->offset, "line %u: a section is written [name]", r->line);
    r->section = trim((view){ line.ptr + 1, end - 1 });
    for (size_t i = 0; i < r->count; i++)
        if (view_is(r->section, r->keys[i].section)) return true;
    return refuse_section(r, r->section);
}

static bool read_line(struct reader *r, view line)
{
    for (size_t i = 0; i < line.len_bytes; i++)
        if ((line.ptr[i] < ' ' && !is_blank(line.ptr[i])) || line.ptr[i] == 127)
            return fail(r->e, ERR_VALUE, r->offset + i, "line %u: a control character, code %u", r->line, line.ptr[i]);
    line = trim(line);
    if (line.len_bytes == 0 || line.ptr[0] == '#') return true;
    if (line.ptr[0] == '[') return read_section(r, line);

    size_t equals = find(line, '=');
    if (equals == line.len_bytes) return fail(r->e, ERR_VALUE, r->offset, "line %u: expected key = value", r->line);
    view name = trim((view){ line.ptr, equals }), text;
    if (!take_value(r, view_after(line, equals + 1), &text)) return false;
    for (size_t i = 0; i < r->count; i++) {
        if (!view_is(r->section, r->keys[i].section) || !view_is(name, r->keys[i].name)) continue;
        if (r->last[i] != NULL && !r->keys[i].many)
            return fail(r->e, ERR_VALUE, r->offset, "line %u: %s stands twice, first in line %u", r->line,
                        r->keys[i].name, r->last[i]->line);
        return store(r, i, text);
    }
    return refuse_key(r, name);
}

static bool read_lines(struct reader *r, view text)
{
    for (view rest = text; rest.len_bytes > 0;) {
        size_t len = find(rest, '\n');
        r->offset = (uint64_t)(rest.ptr - text.ptr);
        if (++r->line > CONFIG_LINES_MAX)
            return fail(r->e, ERR_LIMIT, r->offset, "line %u: a configuration has at most %d lines", r->line,
                        CONFIG_LINES_MAX);
        if (len > CONFIG_LINE_BYTES_MAX)
            return fail(r->e, ERR_LIMIT, r->offset, "line %u: %zu bytes, allowed %d", r->line, len,
                        CONFIG_LINE_BYTES_MAX);
        if (!read_line(r, (view){ rest.ptr, len })) return false;
        rest = view_after(rest, len + 1);
    }
    return true;
}

bool config_read(view text, const struct config_key *keys, size_t count, arena *a, struct config *out, err *e)
{
    assert(count > 0);
    struct reader r = { .keys = keys, .count = count, .a = a, .out = out, .section = { text.ptr, 0 }, .e = e };
    out->count = count;
    out->values = ARENA_ARRAY(a, const struct config_value *, count, "configuration", e);
    r.last = ARENA_ARRAY(a, struct config_value *, count, "configuration", e);
    if (out->values == NULL || r.last == NULL) return false;
    if (!read_lines(&r, text)) return false;

    r.line = 0;
    for (size_t i = 0; i < count; i++) {
        if (r.last[i] != NULL || (keys[i].fallback == NULL && keys[i].many)) continue;
        if (keys[i].fallback == NULL)
            return fail(e, ERR_MISSING, ERR_NO_OFFSET, "[%s] %s is missing: %s", keys[i].section, keys[i].name,
                        keys[i].help);
        bool good = store(&r, i, view_of(keys[i].fallback));
        if (!good) return false;
    }
    return true;
}
