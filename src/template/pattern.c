/* Text by a pattern: format % arguments, str.format, strftime. The characters of a pattern keep its origin, those of an
 * argument theirs. */
#include "template/builtin.h"

#include <math.h>
#include <stdio.h>

enum { FIELD_WIDTH_MAX = 4096, PRECISION_MAX = 100 }; /* of one conversion: wider ones are attacks */

/* What stands between '%' and its letter, or behind the ':' of a replacement field. */
struct spec {
    value fill;
    char align, sign, type; /* '<' '>' '^' '='; '+' ' '; 0 where not given */
    bool alternate, commas;
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

static bool take_number(value s, size_t *at, int64_t *out)
{
    size_t start = *at;
    int64_t n = 0;
    for (char c; (c = take_one(s, at, "0123456789")) != '\0';) n = n > 1000000 ? n : n * 10 + (c - '0');
    if (*at > start) *out = n; /* far over any limit is as good as any larger one */
    return *at > start;
}

/* "[width][,][.precision]" */
static void take_size(value s, size_t *at, struct spec *spec)
{
    take_number(s, at, &spec->width);
    spec->commas = take_one(s, at, ",") != '\0';
    if (take_one(s, at, ".") == '\0') return;
    spec->precision = 0;
    take_number(s, at, &spec->precision);
}

/* Groups of three digits before the point. */
static void add_commas(char *text, size_t capacity)
{
    size_t len = strlen(text);
    for (size_t at = strspn(text, "0123456789"); at > 3 && len + 1 < capacity; len++) {
        at -= 3;
        memmove(text + at + 1, text + at, len - at + 1);
        text[at] = ',';
    }
}

/* The digits of a number, its sign left out. */
static void put_digits(context *c, struct builder *b, value v, const struct spec *s)
{
    char text[1024], type = s->type == 'i' || s->type == 'u' ? 'd' : s->type;
    int precision = s->precision < 0 ? 6 : (int)s->precision;
    int64_t n = 0;
    double d = fabs(value_number(v)) * (type == '%' ? 100 : 1);
    bool whole = value_integer(v, &n);
    if (type == 'd' && v.kind == FLOAT && d < 9e18) n = (int64_t)v.as.real, whole = true;
    unsigned long long size = n < 0 ? 0ull - (unsigned long long)n : (unsigned long long)n;
    if (strchr("dxXo", type) != NULL && !whole) render_fail(c, "%%%c: an integer is due, not %s", type, value_kind(v));
    else if (type == 'd') snprintf(text, sizeof text, "%llu", size);
    else if (type == 'x') snprintf(text, sizeof text, s->alternate ? "0x%llx" : "%llx", size);
    else if (type == 'X') snprintf(text, sizeof text, s->alternate ? "0X%llX" : "%llX", size);
    else if (type == 'o') snprintf(text, sizeof text, s->alternate ? "0o%llo" : "%llo", size);
    else if (type == 'e' || type == 'E') snprintf(text, sizeof text, type == 'e' ? "%.*e" : "%.*E", precision, d);
    else if (type == 'g' || type == 'G') snprintf(text, sizeof text, type == 'g' ? "%.*g" : "%.*G", precision, d);
    else if (d > 1e300) render_fail_limit(c, "format: number too large");
    else snprintf(text, sizeof text, type == '%' ? "%.*f%%" : "%.*f", precision, d);
    if (c->failed) return;
    if (s->commas) add_commas(text, sizeof text);
    string_put(c, b, view_of(text), v.origin);
}

static void put_fill(context *c, struct builder *b, const struct spec *s, int64_t count)
{
    for (; count > 0 && render_charge(c, 1); count--) string_put_value(c, b, s->fill);
}

/* One value by one spec, for both languages of patterns, which differ in how text is aligned. */
static void put_conversion(context *c, struct builder *b, value v, const struct spec *s, char align)
{
    struct builder text = { 0 };
    char sign[2] = "";
    if (s->width > FIELD_WIDTH_MAX || s->precision > PRECISION_MAX)
        render_fail_limit(c, "format: width or precision over the limit");
    bool number = s->type != '\0' && s->type != 's' && s->type != 'r';
    if (number && (!value_is_number(v) || v.kind == BIG_INT))
        render_fail(c, "format: a number is due, not %s", value_kind(v));
    if (c->failed) return;
    if (number) put_digits(c, &text, v, s), sign[0] = value_number(v) < 0 ? '-' : s->sign;
    else if (s->type == 'r') value_print_as(c, &text, v, NULL);
    else value_print(c, &text, v);
    value body = string_built(&text);
    if (!number && s->precision >= 0) body = string_part(c, body, 0, string_offset(body, 0, (size_t)s->precision));
    int64_t missing = s->width - (int64_t)(string_length(body) + strlen(sign)), left = missing;
    if (s->align != '\0') align = s->align;
    if (align == '<') left = 0;
    if (align == '^') left = missing / 2;
    if (align != '=') put_fill(c, b, s, left);
    string_put(c, b, view_of(sign), v.origin);
    if (align == '=') put_fill(c, b, s, left); /* between the sign and the digits */
    string_put_value(c, b, body);
    put_fill(c, b, s, missing - left);
}

/* ---- format % arguments ---- */

/* One conversion from behind its '%' on; *next counts the arguments of a tuple. */
static void percent_conversion(context *c, struct builder *b, value format, size_t *at, value args, size_t *next)
{
    struct spec s = { .fill = of_text(" "), .precision = -1 };
    value v = args;
    size_t close;
    if (byte_at(format, *at) == '(') {
        const value *named = NULL;
        if (args.kind == DICT && string_find(format, *at, of_text(")"), &close))
            named = value_find(c, args, string_part(c, format, *at + 1, close));
        if (named == NULL) {
            render_fail(c, "format: no such key");
            return;
        }
        v = *named;
        *at = close + 1;
    } else if (byte_at(format, *at) != '%' && args.kind == TUPLE && *next < args.as.list->count) {
        v = args.as.list->items[*next];
    }
    for (char flag; (flag = take_one(format, at, "-+ 0#")) != '\0';) {
        if (flag == '-') s.align = '<';
        else if (flag == '0') s.align = s.align == '<' ? '<' : '=';
        else if (flag == '#') s.alternate = true;
        else if (s.sign != '+') s.sign = flag;
    }
    take_size(format, at, &s);
    if (take_one(format, at, "%")) {
        string_put(c, b, view_of("%"), string_part(c, format, *at - 1, *at).origin);
        return;
    }
    if ((s.type = take_one(format, at, "srdiuxXofFeEgG")) == '\0')
        render_fail(c, "incomplete format, or unsupported format character");
    if (*next >= (args.kind == TUPLE ? args.as.list->count : args.kind == DICT ? SIZE_MAX : 1))
        render_fail(c, "not enough arguments for format string");
    ++*next;
    bool text = s.type == 's' || s.type == 'r';
    if (s.align == '=' && text) s.align = '>';
    if (s.align == '=') s.fill = of_text("0");
    put_conversion(c, b, v, &s, '>');
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
        return render_fail(c, "not all arguments converted during string formatting");
    if (!c->failed) string_put_value(c, &b, string_part(c, format, start, format.len));
    return string_built(&b);
}

/* ---- str.format ---- */

/* "[[fill]align][sign][#][0][width][,][.precision][type]" from `at` to the end of `field`. */
static struct spec read_spec(context *c, value field, size_t at)
{
    struct spec s = { .fill = of_text(" "), .precision = -1 };
    size_t behind_fill = string_offset(field, at, 1);
    bool fills = behind_fill < field.len && strchr("<>=^", byte_at(field, behind_fill)) != NULL;
    if (fills) s.fill = string_part(c, field, at, behind_fill), at = behind_fill;
    s.align = take_one(field, &at, "<>=^");
    s.sign = take_one(field, &at, "+- ");
    if (s.sign == '-') s.sign = '\0';
    s.alternate = take_one(field, &at, "#") != '\0';
    if (byte_at(field, at) == '0' && s.align == '\0') s.align = '=', s.fill = of_text("0");
    take_size(field, &at, &s);
    s.type = take_one(field, &at, "sdfFeEgGxXo%");
    if (at < field.len) render_fail(c, "invalid format specifier");
    return s;
}

/* The argument a field names: "", "0" or "name", then ".attribute" and "[item]". */
static value field_value(context *c, const struct call *k, value field, size_t *automatic)
{
    value v = of_kind(MISSING);
    size_t at = 0, start;
    int64_t index = (int64_t)*automatic;
    while (at < field.len && strchr(".[", byte_at(field, at)) == NULL) at++;
    value name = string_part(c, field, 0, at);
    if (at == 0) ++*automatic;
    if ((at == 0 || builtin_read_int(view_in(name), 10, &index)) && index >= 0 && (uint64_t)index < k->pos_count)
        v = k->pos[index];
    for (size_t i = 0; i < k->named_count; i++)
        if (at > 0 && view_equal(k->named[i].name, view_in(name))) v = k->named[i].value;
    if (!given(v))
        return render_fail(c, "format: no argument '%.*s'", (int)min_size(at, 60), (const char *)name.as.bytes);
    while (at < field.len && !c->failed) {
        bool item = byte_at(field, at++) == '[';
        for (start = at; at < field.len && strchr(item ? "]" : ".[", byte_at(field, at)) == NULL;) at++;
        value key = string_part(c, field, start, at);
        at += item && at < field.len;
        if (item && builtin_read_int(view_in(key), 10, &index)) key = of_int(index);
        v = item ? value_item(c, v, key) : value_attribute(c, v, view_in(key));
    }
    return v;
}

/* The inside of one "{...}". */
static void put_field(context *c, struct builder *b, value field, const struct call *k, size_t *automatic)
{
    size_t end = 0;
    while (end < field.len && strchr("!:", byte_at(field, end)) == NULL) end++;
    value v = field_value(c, k, string_part(c, field, 0, end), automatic);
    bool repr = byte_at(field, end) == '!' && byte_at(field, end + 1) == 'r';
    if (byte_at(field, end) == '!') end = min_size(end + 2, field.len);
    if (end < field.len && byte_at(field, end) != ':')
        render_fail(c, "format: expected ':' after conversion specifier");
    bool formatted = end + 1 < field.len;
    struct spec s = read_spec(c, field, min_size(end + 1, field.len));
    bool number = value_is_number(v) && v.kind != BIG_INT && !repr;
    if (s.type == 's' && v.kind != STRING && !repr) render_fail(c, "format: 's' needs a string");
    if (repr) s.type = 'r';
    if (s.type == '\0' && number && formatted && v.kind != FLOAT) s.type = 'd'; /* also True, which prints as 1 then */
    if (s.type == '\0' && number && s.precision >= 0) s.type = 'g';
    put_conversion(c, b, v, &s, number ? '>' : '<');
}

/* Doubled braces are text; what stands between single ones is a field. */
value string_format(context *c, value format, const struct call *k)
{
    struct builder b = { 0 };
    size_t automatic = 0;
    for (size_t at = 0; at < format.len && render_charge(c, 1);) {
        size_t start = at, close;
        while (at < format.len && strchr("{}", byte_at(format, at)) == NULL) at++;
        string_put_value(c, &b, string_part(c, format, start, at));
        if (at == format.len) break;
        bool twice = byte_at(format, at + 1) == byte_at(format, at);
        if (twice) string_put_value(c, &b, string_part(c, format, at, at + 1));
        else if (byte_at(format, at) == '}' || !string_find(format, at, of_text("}"), &close))
            return render_fail(c, "single brace in format string");
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
    static const struct {
        char letter;
        const char *means;
    } shorthands[] = { { 'F', "Ymd-" }, { 'T', "HMS:" }, { 'X', "HMS:" },
                       { 'R', "HM:" },  { 'D', "mdy/" }, { 'x', "mdy/" } };
    const struct {
        char letter;
        int width;
        unsigned number;
    } numbers[] = { { 'd', 2, t->day },     { 'm', 2, t->month },   { 'Y', 1, (unsigned)t->year },
                    { 'H', 2, t->hour },    { 'M', 2, t->minute },  { 'y', 2, (unsigned)(t->year % 100) },
                    { 'S', 2, t->second },  { 'w', 1, t->weekday }, { 'I', 2, t->hour % 12 == 0 ? 12 : t->hour % 12 },
                    { 'j', 3, t->yearday }, { 'f', 6, 0 },          { 'u', 1, t->weekday == 0 ? 7 : t->weekday } };
    char text[32] = "";
    for (size_t i = 0; i < sizeof shorthands / sizeof *shorthands; i++)
        for (const char *part = shorthands[i].means; letter == shorthands[i].letter && part[1] != '\0'; part++) {
            put_time(c, b, t, *part, false);
            if (part[2] != '\0') string_put(c, b, view_of(strchr(part, '\0') - 1), ORIGIN_TEMPLATE);
            if (part[2] == '\0') return;
        }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].letter == letter)
            snprintf(text, sizeof text, "%0*u", plain ? 1 : numbers[i].width, numbers[i].number);
    if (letter == 'e') snprintf(text, sizeof text, plain ? "%u" : "%2u", t->day);
    if (letter == 'B') snprintf(text, sizeof text, "%s", months[t->month - 1]);
    if (letter == 'b' || letter == 'h') snprintf(text, sizeof text, "%.3s", months[t->month - 1]);
    if (letter == 'A') snprintf(text, sizeof text, "%s", days[t->weekday]);
    if (letter == 'a') snprintf(text, sizeof text, "%.3s", days[t->weekday]);
    if (letter == 'p') snprintf(text, sizeof text, "%s", t->hour < 12 ? "AM" : "PM");
    if (letter == '%' || letter == 'n' || letter == 't')
        snprintf(text, sizeof text, "%c", letter == '%' ? '%' : letter == 'n' ? '\n' : '\t');
    if (text[0] == '\0' && letter != 'Z' && letter != 'z') render_fail(c, "strftime: %%%c is not known", letter);
    string_put(c, b, view_of(text), ORIGIN_TEMPLATE);
}

/* The date is the template's: what it shows is no message. */
value string_time(context *c, value format)
{
    struct builder b = { 0 };
    int64_t clock_s = c->options->clock_s;
    if (clock_s > INT64_C(253402300799) || clock_s < INT64_C(-62135596800))
        return render_fail(c, "strftime: the clock is outside of the years 1 to 9999");
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
