/* Text by a pattern: format % arguments, str.format, strftime. The characters of a pattern keep its origin, those of an
 * argument theirs. */
#include "template/builtin.h"

#include "base/checked.h"
#include "base/utf8.h"
#include "template/eval.h"

#include <math.h>
#include <stdio.h>

enum { FIELD_WIDTH_MAX = 4096, PRECISION_MAX = 100 }; /* of one conversion: wider ones are attacks */

/* What stands between '%' and its letter, or behind the ':' of a replacement field. */
struct spec {
    value fill;
    char align; /* '<', '>', '^', '=', or 0 */
    char sign;  /* '+', ' ', or 0 */
    bool alternate, comma;
    int64_t width, precision; /* precision -1: not given */
    char type;
};

static bool spec_number(view text, size_t *at, int64_t *out)
{
    size_t start = *at;
    int64_t n = 0;
    for (; *at < text.len_bytes && text.ptr[*at] >= '0' && text.ptr[*at] <= '9'; ++*at)
        n = n > 1000000 ? n : n * 10 + text.ptr[*at] - '0'; /* far over any limit: as good as any larger one */
    if (*at > start) *out = n;
    return *at > start;
}

/* Digits of |n| in `base`. */
static size_t digits(uint64_t n, unsigned base, bool upper, char out[static 72])
{
    size_t len = 0;
    char reversed[72];
    do reversed[len++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[n % base];
    while ((n /= base) > 0);
    for (size_t i = 0; i < len; i++) out[i] = reversed[len - 1 - i];
    out[len] = '\0';
    return len;
}

/* Groups of three digits before the point. */
static size_t with_commas(char *text, size_t len, size_t capacity)
{
    size_t whole = 0;
    while (whole < len && text[whole] >= '0' && text[whole] <= '9') whole++;
    for (size_t at = whole; at > 3 && len + 1 < capacity;) {
        at -= 3;
        memmove(text + at + 1, text + at, len - at + 1);
        text[at] = ',';
        len++;
    }
    return len;
}

/* The digits of a number, its sign left out. */
static bool number_text(context *c, const value *v, const struct spec *s, char *out, size_t capacity)
{
    int64_t n;
    char type = s->type == 'i' || s->type == 'u' ? 'd' : s->type;
    size_t len;
    bool whole = value_integer(v, &n);
    if (type == 'd' && v->kind == FLOAT && fabs(v->as.real) < 9e18) n = (int64_t)v->as.real, whole = true;
    if (strchr("dxXob", type) != NULL) {
        if (!whole) return raise(c, "%%%c format: an integer is required, not %s", type, value_kind(v));
        unsigned base = type == 'd' ? 10 : type == 'o' ? 8 : type == 'b' ? 2 : 16;
        char prefix[3] = { '0', type, '\0' };
        size_t skip = s->alternate && base != 10 ? (size_t)snprintf(out, capacity, "%s", prefix) : 0;
        len = skip + digits(n < 0 ? (uint64_t)0 - (uint64_t)n : (uint64_t)n, base, type == 'X', out + skip);
    } else {
        char pattern[8] = { '%', '.', '*', type == '%' ? 'f' : type, '\0' };
        double d = fabs(value_number(v)) * (type == '%' ? 100 : 1);
        len = (size_t)snprintf(out, capacity, pattern, s->precision < 0 ? 6 : (int)s->precision, d);
        if (type == '%' && len + 1 < capacity) len += (size_t)snprintf(out + len, capacity - len, "%%");
    }
    if (s->comma) with_commas(out, len, capacity);
    return true;
}

/* `body` filled up to the width; with '=' the fill stands between the sign and the digits. */
static bool put_padded(context *c, struct builder *b, const value *body, size_t sign_bytes, const struct spec *s,
                       char align)
{
    int64_t missing = s->width - (int64_t)string_chars(view_in(body));
    int64_t left = missing <= 0 || align == '<' ? 0 : align == '^' ? missing / 2 : missing;
    int64_t right = missing <= 0 ? 0 : missing - left;
    if (align == '=' && !string_put_part(c, b, body, 0, sign_bytes)) return false;
    for (; left > 0; left--)
        if (!string_put_value(c, b, &s->fill)) return false;
    if (!string_put_part(c, b, body, align == '=' ? sign_bytes : 0, body->len)) return false;
    for (; right > 0; right--)
        if (!string_put_value(c, b, &s->fill)) return false;
    return true;
}

/* One value by one spec, for both languages of patterns. */
static bool put_conversion(context *c, struct builder *b, const value *v, const struct spec *s)
{
    char text[1024];
    struct builder sum = { 0 };
    value body;
    bool textual = s->type == 's' || s->type == 'r' || s->type == 'a' || s->type == '\0';
    if (s->width > FIELD_WIDTH_MAX || s->precision > PRECISION_MAX)
        return raise_limit(c, "format: width or precision over the limit");
    if (textual) {
        if (s->type == 'r' || s->type == 'a' ? !value_print_repr(c, &sum, v) : !value_print(c, &sum, v)) return false;
        body = string_built(&sum);
        if (s->precision >= 0)
            body = string_part(c, &body, 0, string_char_offset(view_in(&body), (size_t)s->precision));
        char align = s->align != 0 ? s->align : s->type == '\0' && value_is_number(v) ? '>' : '<';
        return body.kind != MISSING && put_padded(c, b, &body, 0, s, align);
    }
    if (!value_is_number(v) || v->kind == BIG_INT)
        return raise(c, "format: a number is required, not %s", value_kind(v));
    if (fabs(value_number(v)) > 1e300 && strchr("fF%", s->type) != NULL)
        return raise_limit(c, "format: number too large");
    if (!number_text(c, v, s, text, sizeof text)) return false;
    bool negative = value_number(v) < 0;
    char sign[2] = { negative ? '-' : s->sign, '\0' };
    if (!string_put(c, &sum, view_of(sign), v->origin) || !string_put(c, &sum, view_of(text), v->origin)) return false;
    body = string_built(&sum);
    return put_padded(c, b, &body, strlen(sign), s, s->align != 0 ? s->align : '>');
}

/* One conversion of `text` from behind its '%' on; *argument is what it converts, NULL for "%%". */
static bool percent_conversion(context *c, struct builder *b, const value *format, size_t *at, const value *args,
                               size_t *next)
{
    view text = view_in(format);
    struct spec s = { .fill = of_text(" "), .precision = -1 };
    const value *v = args;
    if (*at < text.len_bytes && text.ptr[*at] == '(') {
        size_t close;
        if (!string_find(text, *at, view_of(")"), &close)) return raise(c, "incomplete format key");
        if (args->kind != DICT) return raise(c, "format requires a mapping");
        v = value_dict_get(args->as.dict, (view){ text.ptr + *at + 1, close - *at - 1 });
        if (v == NULL) return raise(c, "format: no such key");
        *at = close + 1;
    }
    for (; *at < text.len_bytes && memchr("-+ 0#", text.ptr[*at], 5) != NULL; ++*at) {
        char flag = (char)text.ptr[*at];
        if (flag == '-') s.align = '<';
        if (flag == '0' && s.align == 0) s.align = '=', s.fill = of_text("0");
        if (flag == '+' || (flag == ' ' && s.sign == 0)) s.sign = flag;
        if (flag == '#') s.alternate = true;
    }
    spec_number(text, at, &s.width);
    if (*at < text.len_bytes && text.ptr[*at] == '.') {
        ++*at;
        s.precision = 0;
        spec_number(text, at, &s.precision);
    }
    if (*at >= text.len_bytes) return raise(c, "incomplete format");
    s.type = (char)text.ptr[(*at)++];
    if (s.type == '%') return string_put_part(c, b, format, *at - 1, *at);
    if (memchr("sradiuxXofFeEgGc", s.type, 16) == NULL)
        return raise(c, "unsupported format character at index %zu", *at - 1);
    if (v == args && args->kind == TUPLE) {
        if (*next >= args->as.list->count) return raise(c, "not enough arguments for format string");
        v = &args->as.list->items[*next];
    } else if (v == args && *next > 0) {
        return raise(c, "not enough arguments for format string");
    }
    ++*next;
    if (s.type == 'c' && v->kind == STRING && string_chars(view_in(v)) == 1) s.type = 's';
    if (s.type == 'c') return raise(c, "%%c requires a character");
    if (s.align == 0) s.align = '>';
    if (s.align == '=' && memchr("sra", s.type, 3) != NULL) s.align = '>', s.fill = of_text(" ");
    return put_conversion(c, b, v, &s);
}

/* The operator %: a tuple gives several arguments, an object named ones, anything else is the one argument. */
bool string_percent(context *c, const value *format, const value *args, value *out)
{
    struct builder b = { 0 };
    size_t start = 0, at, next = 0;
    while (string_find(view_in(format), start, view_of("%"), &at)) {
        if (!render_charge(c, 1) || !string_put_part(c, &b, format, start, at)) return false;
        start = at + 1;
        if (!percent_conversion(c, &b, format, &start, args, &next)) return false;
    }
    size_t given_args = args->kind == TUPLE ? args->as.list->count : args->kind == DICT ? next : 1;
    if (next < given_args) return raise(c, "not all arguments converted during string formatting");
    if (!string_put_part(c, &b, format, start, format->len)) return false;
    *out = string_built(&b);
    return true;
}

/* ---- str.format ---- */

/* "[[fill]align][sign][#][0][width][,][.precision][type]" */
static bool read_spec(context *c, const value *format, size_t at, size_t end, struct spec *s)
{
    view text = { format->as.bytes, end };
    *s = (struct spec){ .fill = of_text(" "), .precision = -1 };
    size_t fill = at + string_char_offset(view_after(text, at), 1);
    if (fill < end && fill > at && memchr("<>=^", text.ptr[fill], 4) != NULL) {
        s->fill = string_part(c, format, at, fill);
        if (s->fill.kind == MISSING) return false;
        at = fill;
    }
    if (at < end && memchr("<>=^", text.ptr[at], 4) != NULL) s->align = (char)text.ptr[at++];
    if (at < end && memchr("+- ", text.ptr[at], 3) != NULL)
        s->sign = text.ptr[at] == '-' ? 0 : (char)text.ptr[at], at++;
    if (at < end && text.ptr[at] == '#') s->alternate = true, at++;
    if (at < end && text.ptr[at] == '0') {
        if (s->align == 0) s->align = '=', s->fill = of_text("0");
        at++;
    }
    spec_number(text, &at, &s->width);
    if (at < end && text.ptr[at] == ',') s->comma = true, at++;
    if (at < end && text.ptr[at] == '.') {
        at++;
        if (!spec_number(text, &at, &s->precision)) return raise(c, "format specifier missing precision");
    }
    if (at < end && memchr("sdfFeEgGxXob%", text.ptr[at], 13) != NULL) s->type = (char)text.ptr[at++];
    return at == end || raise(c, "invalid format specifier");
}

/* The argument a field names: "", "0", "name", then ".attribute" and "[item]". */
static bool field_value(context *c, const struct call *call, view field, size_t *automatic, value *out)
{
    size_t at = 0;
    int64_t index = (int64_t)*automatic;
    while (at < field.len_bytes && field.ptr[at] != '.' && field.ptr[at] != '[') at++;
    view name = { field.ptr, at };
    size_t end = 0;
    bool numbered = at == 0 || (spec_number(name, &end, &index) && end == at);
    *out = of_kind(MISSING);
    if (at == 0) ++*automatic;
    if (numbered && (uint64_t)index < call->pos_count) *out = call->pos[index];
    for (size_t i = 0; i < call->named_count && !numbered; i++)
        if (view_equal(call->named[i].name, name)) *out = call->named[i].value;
    if (!given(out))
        return raise(c, "format: no argument '%.*s'", (int)min_size(name.len_bytes, 60), (const char *)name.ptr);
    while (at < field.len_bytes) {
        value object = *out;
        bool item = field.ptr[at] == '[';
        size_t start = ++at;
        while (at < field.len_bytes && (item ? field.ptr[at] != ']' : field.ptr[at] != '.' && field.ptr[at] != '['))
            at++;
        value key = of_view((view){ field.ptr + start, at - start }, ORIGIN_TEMPLATE);
        if (item && at++ >= field.len_bytes) return raise(c, "format: missing ']'");
        end = 0;
        if (item && spec_number(view_in(&key), &end, &index) && end == key.len) key = of_int(index);
        if (!(item ? value_item(c, &object, &key, out) : value_attribute(c, &object, view_in(&key), out))) return false;
    }
    return true;
}

/* One "{...}" of str.format, the inside of which is [at, end). */
static bool put_field(context *c, struct builder *b, const value *format, size_t at, size_t end,
                      const struct call *call, size_t *automatic)
{
    view text = { format->as.bytes, end };
    size_t name_end = at, colon;
    struct spec s;
    value v;
    while (name_end < end && text.ptr[name_end] != '!' && text.ptr[name_end] != ':') name_end++;
    colon = name_end;
    bool repr = colon + 1 < end && text.ptr[colon] == '!' && text.ptr[colon + 1] == 'r';
    if (colon < end && text.ptr[colon] == '!') colon += 2;
    if (colon < end && text.ptr[colon] != ':') return raise(c, "format: expected ':' after conversion specifier");
    if (!field_value(c, call, (view){ text.ptr + at, name_end - at }, automatic, &v)) return false;
    if (!read_spec(c, format, colon < end ? colon + 1 : end, end, &s)) return false;
    if (repr) s.type = 'r';
    if (s.type == 's' && v.kind != STRING) return raise(c, "format: 's' needs a string");
    if (s.type == '\0' && v.kind == BOOL && colon < end && colon + 1 < end) s.type = 'd'; /* with a format: a number */
    if (s.type == '\0' && value_is_number(&v) && v.kind != BIG_INT &&
        (s.precision >= 0 || s.align == '=' || s.sign != 0 || s.comma))
        s.type = v.kind == FLOAT ? (s.precision >= 0 ? 'g' : 'f') : 'd';
    return put_conversion(c, b, &v, &s);
}

/* Doubled braces are text; what stands between single ones is a field. */
bool string_format(context *c, const value *format, const struct call *call, value *out)
{
    struct builder b = { 0 };
    view text = view_in(format);
    size_t automatic = 0;
    for (size_t at = 0; at < text.len_bytes;) {
        size_t start = at, depth = 1;
        while (at < text.len_bytes && text.ptr[at] != '{' && text.ptr[at] != '}') at++;
        if (!render_charge(c, 1) || !string_put_part(c, &b, format, start, at)) return false;
        if (at == text.len_bytes) break;
        bool twice = at + 1 < text.len_bytes && text.ptr[at + 1] == text.ptr[at];
        if (twice) {
            if (!string_put_part(c, &b, format, at, at + 1)) return false;
            at += 2;
            continue;
        }
        if (text.ptr[at] == '}') return raise(c, "single '}' encountered in format string");
        for (start = ++at; at < text.len_bytes; at++) {
            if (text.ptr[at] == '{') depth++;
            if (text.ptr[at] == '}' && --depth == 0) break;
        }
        if (at == text.len_bytes) return raise(c, "expected '}' before end of string");
        if (!put_field(c, &b, format, start, at, call, &automatic)) return false;
        at++;
    }
    *out = string_built(&b);
    return true;
}

/* ---- time ---- */

struct civil {
    int64_t year;
    unsigned month, day, hour, minute, second, weekday, yearday; /* month and day from 1; weekday 0 is Sunday */
};

/* Days since 1970 to a date of the Gregorian calendar: eras of 400 years that begin in March. */
static struct civil civil_from(int64_t seconds)
{
    int64_t days = seconds / 86400, rest = seconds % 86400;
    if (rest < 0) rest += 86400, days--;
    int64_t since = days + 719468, era = (since >= 0 ? since : since - 146096) / 146097;
    int64_t day_of_era = since - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100),
            month = (5 * day_of_year + 2) / 153;
    struct civil t = { .day = (unsigned)(day_of_year - (153 * month + 2) / 5 + 1) };
    t.month = (unsigned)(month < 10 ? month + 3 : month - 9);
    t.year = year_of_era + era * 400 + (t.month <= 2);
    t.hour = (unsigned)(rest / 3600);
    t.minute = (unsigned)(rest / 60 % 60);
    t.second = (unsigned)(rest % 60);
    t.weekday = (unsigned)(((days + 4) % 7 + 7) % 7);
    static const unsigned before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    bool leap = t.year % 4 == 0 && (t.year % 100 != 0 || t.year % 400 == 0);
    t.yearday = before[t.month - 1] + t.day + (leap && t.month > 2);
    return t;
}

/* One conversion; `plain` leaves the padding of numbers out ("%-d"). */
static bool put_time(context *c, struct builder *b, const struct civil *t, char letter, bool plain)
{
    static const char *const months[] = { "January", "February", "March",     "April",   "May",      "June",
                                          "July",    "August",   "September", "October", "November", "December" };
    static const char *const days[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };
    unsigned hour12 = t->hour % 12 == 0 ? 12 : t->hour % 12;
    const struct {
        char letter, width;
        unsigned number;
    } numbers[] = { { 'd', 2, t->day },     { 'm', 2, t->month },
                    { 'H', 2, t->hour },    { 'I', 2, hour12 },
                    { 'M', 2, t->minute },  { 'S', 2, t->second },
                    { 'j', 3, t->yearday }, { 'y', 2, (unsigned)(t->year % 100) },
                    { 'w', 1, t->weekday }, { 'u', 1, t->weekday == 0 ? 7 : t->weekday } };
    char text[64] = "";
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].letter == letter)
            snprintf(text, sizeof text, "%0*u", plain ? 1 : numbers[i].width, numbers[i].number);
    if (letter == 'Y') snprintf(text, sizeof text, "%lld", (long long)t->year);
    if (letter == 'e') snprintf(text, sizeof text, plain ? "%u" : "%2u", t->day);
    if (letter == 'B') snprintf(text, sizeof text, "%s", months[t->month - 1]);
    if (letter == 'b' || letter == 'h') snprintf(text, sizeof text, "%.3s", months[t->month - 1]);
    if (letter == 'A') snprintf(text, sizeof text, "%s", days[t->weekday]);
    if (letter == 'a') snprintf(text, sizeof text, "%.3s", days[t->weekday]);
    if (letter == 'p') snprintf(text, sizeof text, "%s", t->hour < 12 ? "AM" : "PM");
    if (letter == 'F') snprintf(text, sizeof text, "%lld-%02u-%02u", (long long)t->year, t->month, t->day);
    if (letter == 'T' || letter == 'X') snprintf(text, sizeof text, "%02u:%02u:%02u", t->hour, t->minute, t->second);
    if (letter == 'R') snprintf(text, sizeof text, "%02u:%02u", t->hour, t->minute);
    if (letter == 'D' || letter == 'x')
        snprintf(text, sizeof text, "%02u/%02u/%02u", t->month, t->day, (unsigned)(t->year % 100));
    if (letter == '%' || letter == 'n' || letter == 't')
        snprintf(text, sizeof text, "%c", letter == '%' ? '%' : letter == 'n' ? '\n' : '\t');
    if (letter == 'Z' || letter == 'z' || letter == 'f')
        return letter != 'f' || string_put(c, b, view_of("000000"), ORIGIN_TEMPLATE);
    if (text[0] == '\0') return raise(c, "strftime: %%%c is not known", letter);
    return string_put(c, b, view_of(text), ORIGIN_TEMPLATE);
}

/* The date is the template's: what it shows is no message. */
bool string_strftime(context *c, view format, value *out)
{
    struct builder b = { 0 };
    if (c->options->clock_s > INT64_C(253402300799) || c->options->clock_s < INT64_C(-62135596800))
        return raise(c, "strftime: the clock is outside of the years 1 to 9999");
    struct civil t = civil_from(c->options->clock_s);
    for (size_t at = 0; at < format.len_bytes; at++) {
        bool escape = format.ptr[at] == '%' && at + 1 < format.len_bytes;
        bool plain = escape && format.ptr[at + 1] == '-' && at + 2 < format.len_bytes;
        if (!escape) {
            if (!string_put(c, &b, (view){ format.ptr + at, 1 }, ORIGIN_TEMPLATE)) return false;
            continue;
        }
        at += plain ? 2 : 1;
        if (!put_time(c, &b, &t, (char)format.ptr[at], plain)) return false;
    }
    *out = string_built(&b);
    return true;
}
