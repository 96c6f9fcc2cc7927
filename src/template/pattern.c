/* Text by a pattern: format % arguments, str.format, strftime. The characters of a pattern keep its origin, those of an
 * argument theirs. */
#include "template/builtin.h"

#include <math.h>
#include <stdio.h>

enum { FIELD_WIDTH_MAX = 4096, PRECISION_MAX = 100 }; /* of one conversion: wider ones are attacks */

/* What stands between '%' and its letter, or behind the ':' of a replacement field. */
struct spec {
    value fill;
    char align;               /* '<' '>' '^' '=', or 0 */
    char flags[8];            /* of printf */
    char type;                /* or 0 */
    int64_t width, precision; /* precision: -1 where not given */
};

static char byte_at(value s, size_t at)
{
    return at < s.len ? (char)s.as.bytes[at] : '\0';
}

/* Goes past one of these characters, and gives it; 0 where none of them is next. */
static char take_one(value s, size_t *at, const char *of)
{
    char c = byte_at(s, *at);
    bool taken = c != '\0' && strchr(of, c) != NULL;
    *at += taken;
    return taken ? c : '\0';
}

static int64_t take_number(value s, size_t *at)
{
    int64_t n = 0; /* far over any limit is as good as any larger one */
    for (char c; (c = take_one(s, at, "0123456789")) != '\0';) n = n > 1000000 ? n : n * 10 + (c - '0');
    return n;
}

/* "[flags][width][.precision]type" */
static void take_spec(value s, size_t *at, const char *flags, const char *types, struct spec *spec)
{
    for (char flag; (flag = take_one(s, at, flags)) != '\0';) {
        if (flag == '-') spec->align = '<';
        else if (strchr(spec->flags, flag) == NULL) spec->flags[strlen(spec->flags)] = flag; /* of four that can be */
    }
    spec->width = take_number(s, at);
    if (take_one(s, at, ".")) spec->precision = take_number(s, at);
    spec->type = take_one(s, at, types);
}

/* A number as C prints it, which is how Python does. */
static void put_number(context *c, struct builder *b, value v, const struct spec *s, int width)
{
    char text[FIELD_WIDTH_MAX + 512], pattern[24], type = s->type == 'i' || s->type == 'u' ? 'd' : s->type;
    int64_t n = 0;
    bool whole = value_integer(v, &n);
    if (!value_is_number(v) || v.kind == BIG_INT || (strchr("xXo", type) != NULL && (!whole || n < 0))) {
        render_fail(c, ERR_VALUE, "format: a number for %%%c is due, not %s", type, value_kind(v));
        return;
    }
    if (type == 'd' && !whole && fabs(v.as.real) < 9e18) n = (int64_t)v.as.real;
    snprintf(pattern, sizeof pattern, strchr("dxXo", type) != NULL ? "%%%s*ll%c" : "%%%s*.*%c", s->flags,
             type == '%' ? 'f' : type);
    if (strchr("dxXo", type) != NULL) snprintf(text, sizeof text, pattern, width, (long long)n);
    else
        snprintf(text, sizeof text, pattern, width, s->precision < 0 ? 6 : (int)s->precision,
                 value_number(v) * (type == '%' ? 100 : 1));
    string_put(c, b, view_of(text), v.origin);
    if (type == '%') string_put(c, b, view_of("%"), v.origin);
}

/* One value by one spec, for both languages of patterns, which differ in how text is aligned. */
static void put_conversion(context *c, struct builder *b, value v, const struct spec *s, char align)
{
    struct builder text = { 0 };
    bool number = s->type != '\0' && s->type != 's' && s->type != 'r', zeros = strchr(s->flags, '0') != NULL;
    if (s->width > FIELD_WIDTH_MAX || s->precision > PRECISION_MAX)
        render_fail(c, ERR_LIMIT, "format: width or precision over the limit of 4096 and 100");
    if (c->failed) return;
    if (s->align != '\0') align = s->align;
    if (number) put_number(c, &text, v, s, zeros && s->align == '\0' ? (int)s->width : 0);
    else if (s->type == 'r') value_print_as(c, &text, v, NULL);
    else value_print(c, &text, v);
    value body = string_built(&text);
    if (!number && s->precision >= 0) body = string_part(c, body, 0, string_offset(body, 0, (size_t)s->precision));
    int64_t missing = s->width - (int64_t)string_length(body);
    int64_t left = align == '<' || missing < 0 ? 0 : align == '^' ? missing / 2 : missing;
    string_put_value(c, b, string_padded(c, body, left, missing - left, s->fill));
}

/* ---- format % arguments ---- */

/* One conversion from behind its '%' on; *next counts the arguments that are used. */
static void percent_conversion(context *c, struct builder *b, value format, size_t *at, value args, size_t *next)
{
    struct spec s = { .fill = of_text(" "), .precision = -1 };
    const value *v = args.kind != TUPLE && *next == 0 ? &args : NULL;
    size_t close;
    if (args.kind == TUPLE && *next < args.as.list->count) v = &args.as.list->items[*next];
    if (byte_at(format, *at) == '(' && args.kind == DICT && string_find(format, *at, of_text(")"), &close)) {
        v = value_find(c, args, string_part(c, format, *at + 1, close));
        *at = close + 1;
    }
    take_spec(format, at, "+- 0#", "srdiuxXofFeEgG%", &s);
    if (s.type == '%') {
        string_put_value(c, b, string_part(c, format, *at - 1, *at));
        return;
    }
    if (v == NULL) render_fail(c, ERR_VALUE, "not enough arguments for format string");
    else if (s.type == '\0') render_fail(c, ERR_VALUE, "incomplete format, or unsupported format character");
    else put_conversion(c, b, *v, &s, '>');
    ++*next;
}

/* A tuple gives several arguments, an object named ones, anything else is the one argument. */
value string_percent(context *c, value format, value args)
{
    struct builder b = { 0 };
    size_t start = 0, at, next = 0;
    while (string_find(format, start, of_text("%"), &at) && render_charge(c, 1)) {
        string_put_value(c, &b, string_part(c, format, start, at));
        start = at + 1;
        percent_conversion(c, &b, format, &start, args, &next);
    }
    if (args.kind != DICT && next < (args.kind == TUPLE ? args.as.list->count : 1))
        return render_fail(c, ERR_VALUE, "not all arguments converted during string formatting");
    if (!c->failed) string_put_value(c, &b, string_part(c, format, start, format.len));
    return string_built(&b);
}

/* ---- str.format ---- */

/* The argument a field names: "", "0" or "name", then ".attribute" and "[item]". */
static value field_value(context *c, const struct call *k, value field, int64_t *automatic)
{
    size_t at = 0, start;
    int64_t index = *automatic;
    while (at < field.len && strchr(".[", byte_at(field, at)) == NULL) at++;
    value name = string_part(c, field, 0, at), v;
    const value *found = value_find(c, k->named, name);
    if (at == 0) ++*automatic;
    if ((at == 0 || builtin_read_int(view_in(name), 10, &index)) && index >= 0 && (uint64_t)index < k->pos->count)
        found = &k->pos->items[index];
    if (found == NULL)
        return render_fail(c, ERR_VALUE, "format: no argument '%.*s'", (int)min_size(at, 60), name.as.bytes);
    for (v = *found; at < field.len && !c->failed;) {
        bool item = byte_at(field, at++) == '[';
        for (start = at; at < field.len && strchr(item ? "]" : ".[", byte_at(field, at)) == NULL;) at++;
        value key = string_part(c, field, start, at);
        at += item && at < field.len;
        if (item && builtin_read_int(view_in(key), 10, &index)) key = of_int(index);
        v = item ? value_item(c, v, key) : value_attribute(c, v, view_in(key));
    }
    return v;
}

/* The inside of one "{...}": "field[!r][:[[fill]align]spec]". */
static void put_field(context *c, struct builder *b, value field, const struct call *k, int64_t *automatic)
{
    struct spec s = { .fill = of_text(" "), .precision = -1 };
    size_t at = 0;
    while (at < field.len && strchr("!:", byte_at(field, at)) == NULL) at++;
    value v = field_value(c, k, string_part(c, field, 0, at), automatic);
    bool repr = take_one(field, &at, "!") && take_one(field, &at, "r");
    bool formatted = take_one(field, &at, ":") && at < field.len;
    size_t fill = string_offset(field, at, 1);
    if (fill < field.len && strchr("<>=^", byte_at(field, fill)) != NULL) {
        s.fill = string_part(c, field, at, fill);
        at = fill;
    }
    s.align = take_one(field, &at, "<>=^");
    take_spec(field, &at, "+ 0#", "sdfFeEgGxXo%", &s);
    bool number = value_is_number(v) && v.kind != BIG_INT && !repr;
    if (at < field.len || (s.type == 's' && v.kind != STRING))
        render_fail(c, ERR_VALUE, "invalid format specifier, or 's' for no string");
    if (repr) s.type = 'r';
    if (s.type == '\0' && number && formatted && v.kind != FLOAT) s.type = 'd'; /* also True, which prints as 1 then */
    if (s.type == '\0' && number && s.precision >= 0) s.type = 'g';
    put_conversion(c, b, v, &s, number ? '>' : '<');
}

/* Doubled braces are text; what stands between single ones is a field. */
value string_format(context *c, value format, const struct call *k)
{
    struct builder b = { 0 };
    int64_t automatic = 0;
    for (size_t at = 0; at < format.len && render_charge(c, 1);) {
        size_t start = at, close;
        while (at < format.len && strchr("{}", byte_at(format, at)) == NULL) at++;
        string_put_value(c, &b, string_part(c, format, start, at));
        if (at == format.len) break;
        bool twice = byte_at(format, at + 1) == byte_at(format, at);
        if (twice) string_put_value(c, &b, string_part(c, format, at, at + 1));
        else if (byte_at(format, at) == '}' || !string_find(format, at, of_text("}"), &close))
            return render_fail(c, ERR_VALUE, "single brace in format string");
        else put_field(c, &b, string_part(c, format, at + 1, close), k, &automatic);
        at = twice ? at + 2 : close + 1;
    }
    return string_built(&b);
}

/* ---- strftime ---- */

struct civil {
    int64_t year;
    unsigned month, day, hour, minute, second, weekday, yearday; /* month and day from 1; weekday 0 is Sunday */
};

/* Days since 1970 to a date of the Gregorian calendar: eras of 400 years that begin in March. */
static struct civil civil_from(int64_t seconds)
{
    static const unsigned before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    int64_t rest = ((seconds % 86400) + 86400) % 86400, days = (seconds - rest) / 86400;
    int64_t since = days + 719468, era = (since >= 0 ? since : since - 146096) / 146097, of_era = since - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    struct civil t = { .day = (unsigned)(of_year - (153 * month + 2) / 5 + 1) };
    t.month = (unsigned)(month < 10 ? month + 3 : month - 9);
    t.year = year + era * 400 + (t.month <= 2);
    t.hour = (unsigned)(rest / 3600);
    t.minute = (unsigned)(rest / 60 % 60);
    t.second = (unsigned)(rest % 60);
    t.weekday = (unsigned)(((days + 4) % 7 + 7) % 7);
    bool leap = t.year % 4 == 0 && (t.year % 100 != 0 || t.year % 400 == 0);
    t.yearday = before[t.month - 1] + t.day + (leap && t.month > 2);
    return t;
}

/* One conversion; `plain` leaves the padding of numbers out ("%-d"). */
static void put_time(context *c, struct builder *b, const struct civil *t, char letter, bool plain)
{
    static const char *const months[] = { "January", "February", "March",     "April",   "May",      "June",
                                          "July",    "August",   "September", "October", "November", "December" };
    static const char *const days[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };
    const char *month = months[t->month - 1], *day = days[t->weekday];
    unsigned year = (unsigned)t->year, hour = t->hour % 12 == 0 ? 12 : t->hour % 12;
    const struct {
        char letter;
        const char *text; /* or a number of so many digits */
        int width;
        unsigned number;
    } rows[] = { { 'd', NULL, 2, t->day },
                 { 'm', NULL, 2, t->month },
                 { 'Y', NULL, 1, year },
                 { 'H', NULL, 2, t->hour },
                 { 'M', NULL, 2, t->minute },
                 { 'S', NULL, 2, t->second },
                 { 'y', NULL, 2, year % 100 },
                 { 'j', NULL, 3, t->yearday },
                 { 'I', NULL, 2, hour },
                 { 'B', month, 9, 0 },
                 { 'b', month, 3, 0 },
                 { 'A', day, 9, 0 },
                 { 'a', day, 3, 0 },
                 { 'p', t->hour < 12 ? "AM" : "PM", 2, 0 },
                 { '%', "%", 1, 0 },
                 { 'Z', "", 0, 0 },
                 { 'z', "", 0, 0 } };
    static const char *const groups[] = { "F%Y-%m-%d", "T%H:%M:%S", "X%H:%M:%S", "R%H:%M", "x%m/%d/%y" };
    char text[16];
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) /* the value of a text that holds no group: once */
        if (groups[i][0] == letter) string_put_value(c, b, string_time(c, of_text(groups[i] + 1)));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].letter != letter) continue;
        if (rows[i].text != NULL) snprintf(text, sizeof text, "%.*s", rows[i].width, rows[i].text);
        else snprintf(text, sizeof text, "%0*u", plain ? 1 : rows[i].width, rows[i].number);
        string_put(c, b, view_of(text), ORIGIN_TEMPLATE);
        return;
    }
    if (strchr("FTXRx", letter) == NULL) render_fail(c, ERR_VALUE, "strftime: %%%c is not known", letter);
}

/* The date is the template's: what it shows is no message. */
value string_time(context *c, value format)
{
    struct builder b = { 0 };
    int64_t clock_s = c->options->clock_s;
    if (clock_s > INT64_C(253402300799) || clock_s < INT64_C(-62135596800))
        return render_fail(c, ERR_VALUE, "strftime: the clock is outside of the years 1 to 9999");
    struct civil t = civil_from(clock_s);
    for (size_t at = 0; at < format.len && !c->failed; at++) {
        bool escape = byte_at(format, at) == '%' && at + 1 < format.len;
        bool plain = escape && byte_at(format, at + 1) == '-' && at + 2 < format.len;
        if (escape) at += plain ? 2 : 1;
        if (escape) put_time(c, &b, &t, byte_at(format, at), plain);
        else string_put_value(c, &b, string_part(c, format, at, at + 1));
    }
    return string_built(&b);
}
