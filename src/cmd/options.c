/* Reading a command line: see options.h. */
#include "cmd/options.h"

#include "base/checked.h"
#include "format/json.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

/* ---- values ---- */

bool text_u64(view text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len_bytes == 0) return false;
    for (size_t i = 0; i < text.len_bytes; i++) {
        unsigned digit = (unsigned)text.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}

/* Steps over at least one digit. */
static bool digits(view text, size_t *at)
{
    size_t start = *at;
    while (*at < text.len_bytes && text.ptr[*at] >= '0' && text.ptr[*at] <= '9') ++*at;
    return *at > start;
}

/* "[-]digits[.digits][e[+-]digits]": what the converter below takes, and nothing of a locale's. */
bool text_double(view text, double *out)
{
    if (view_is(text, "-inf")) {
        *out = -INFINITY;
        return true;
    }
    size_t at = text.len_bytes > 0 && text.ptr[0] == '-';
    if (text.len_bytes > JSON_NUMBER_BYTES_MAX || !digits(text, &at)) return false;
    if (at < text.len_bytes && text.ptr[at] == '.') {
        at++;
        if (!digits(text, &at)) return false;
    }
    if (at < text.len_bytes && (text.ptr[at] | 0x20) == 'e') {
        at++;
        if (at < text.len_bytes && (text.ptr[at] == '+' || text.ptr[at] == '-')) at++;
        if (!digits(text, &at)) return false;
    }
    if (at != text.len_bytes) return false;
    *out = json_parse_double(text);
    return isfinite(*out);
}

static bool text_size(view text, size_t *out)
{
    static const char units[] = "KMGT";
    unsigned shift = 0;
    if (text.len_bytes > 0) {
        const char *unit = memchr(units, text.ptr[text.len_bytes - 1] & ~0x20, sizeof units - 1);
        if (unit != NULL) {
            shift = 10 * ((unsigned)(unit - units) + 1);
            text.len_bytes--;
        }
    }
    uint64_t value;
    if (!text_u64(text, &value) || value > SIZE_MAX >> shift) return false;
    *out = (size_t)value << shift;
    return true;
}

/* One reader a type: puts the value in place, or answers false where the text is none in the row's range. */
typedef bool reader(const struct option *row, const char *text, void *place);

static bool read_flag(const struct option *row, const char *text, void *place)
{
    (void)row, (void)text;
    *(bool *)place = true;
    return true;
}

static bool read_count(const struct option *row, const char *text, void *place)
{
    uint64_t value;
    if (!text_u64(view_of(text), &value) || (double)value < row->min || (double)value > row->max) return false;
    *(size_t *)place = (size_t)value;
    return true;
}

static bool read_seed(const struct option *row, const char *text, void *place)
{
    (void)row;
    return text_u64(view_of(text), place);
}

static bool read_number(const struct option *row, const char *text, void *place)
{
    double value;
    if (!text_double(view_of(text), &value) || !(value >= row->min && value <= row->max)) return false;
    *(float *)place = (float)value;
    return true;
}

static bool read_size(const struct option *row, const char *text, void *place)
{
    size_t value;
    if (!text_size(view_of(text), &value) || (double)value < row->min || (double)value > row->max) return false;
    *(size_t *)place = value;
    return true;
}

static bool read_text(const struct option *row, const char *text, void *place)
{
    (void)row;
    *(const char **)place = text;
    return true;
}

static bool read_choice(const struct option *row, const char *text, void *place)
{
    for (const char *const *choice = row->choices; *choice != NULL; choice++)
        if (strcmp(*choice, text) == 0) {
            *(const char **)place = *choice;
            return true;
        }
    return false;
}

static bool read_texts(const struct option *row, const char *text, void *place)
{
    (void)row;
    struct texts *texts = place;
    if (texts->count == OPTION_TEXTS_MAX) return false;
    texts->items[texts->count++] = text;
    return true;
}

static reader *const READERS[] = {
    [OPTION_FLAG] = read_flag,     [OPTION_COUNT] = read_count, [OPTION_SEED] = read_seed,
    [OPTION_NUMBER] = read_number, [OPTION_SIZE] = read_size,   [OPTION_TEXT] = read_text,
    [OPTION_CHOICE] = read_choice, [OPTION_TEXTS] = read_texts,
};

/* ---- errors ---- */

/* What a row allows, in words. */
static void allowed_text(const struct option *row, char *out, size_t room)
{
    size_t len = 0;
    switch (row->type) {
    case OPTION_COUNT: snprintf(out, room, "a whole number, %.0f..%.0f", row->min, row->max); break;
    case OPTION_SEED: snprintf(out, room, "a whole number, 0..18446744073709551615"); break;
    case OPTION_NUMBER: snprintf(out, room, "a number, %g..%g", row->min, row->max); break;
    case OPTION_SIZE: snprintf(out, room, "a size in bytes such as 512M or 8G, at least %.0f", row->min); break;
    case OPTION_TEXTS: snprintf(out, room, "at most %d times", OPTION_TEXTS_MAX); break;
    case OPTION_CHOICE:
        *out = '\0';
        for (const char *const *choice = row->choices; *choice != NULL && len < room; choice++)
            len += (size_t)snprintf(out + len, room - len, "%s%s", len > 0 ? ", " : "", *choice);
        break;
    case OPTION_FLAG:
    case OPTION_TEXT: *out = '\0'; break;
    }
}

size_t name_distance(const char *a, const char *b)
{
    enum { SIDE = 64 };
    size_t rows[3][SIDE]; /* the last two rows and the one being made of the edit-distance table */
    size_t a_len = min_size(strlen(a), SIDE - 1), b_len = min_size(strlen(b), SIDE - 1);
    for (size_t j = 0; j <= b_len; j++) rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3], *before = rows[(i - 1) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = min_size(now[j - 1] + 1, before[j] + 1);
            best = min_size(best, before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = min_size(best, earlier[j - 2] + 1);
            now[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

static const struct option HELP_ROW = { .name = "--help", .type = OPTION_FLAG };

static bool usage_unknown(const struct command_line *line, const char *name)
{
    const char *nearest = HELP_ROW.name;
    size_t least = name_distance(name, nearest);
    for (const struct option_group *group = line->groups; group->rows != NULL; group++)
        for (size_t i = 0; i < group->count; i++) {
            size_t distance = name_distance(name, group->rows[i].name);
            if (distance < least) {
                least = distance;
                nearest = group->rows[i].name;
            }
        }
    say("%s: no option %s; the nearest is %s (see hearth %s --help)", line->command, name, nearest, line->command);
    return false;
}

static bool usage_value(const struct command_line *line, const struct option *row, const char *text)
{
    char allowed[256];
    allowed_text(row, allowed, sizeof allowed);
    say("%s: %s: %s, allowed: %s", line->command, row->name, text, allowed);
    return false;
}

static bool usage_words(const struct command_line *line, size_t count)
{
    say("%s: %zu words given, expected: hearth %s %s", line->command, count, line->command, line->usage);
    return false;
}

/* ---- help ---- */

enum { HELP_COLUMN = 22, HELP_WIDTH = 79 };

static int help_head(const struct option *row, char *out, size_t room)
{
    return snprintf(out, room, "%s%s%s", row->name, row->value_name != NULL ? " " : "",
                    row->value_name != NULL ? row->value_name : "");
}

static void help_lines(const struct command_line *line)
{
    for (const struct option_group *group = line->groups; group->rows != NULL; group++)
        for (size_t i = 0; i < group->count; i++) {
            const struct option *row = &group->rows[i];
            char head[64];
            if (row->help == NULL) continue;
            help_head(row, head, sizeof head);
            printf("  %-*s%s", HELP_COLUMN - 2, head, row->help);
            if (row->fallback != NULL) printf(" (%s)", row->fallback);
            printf("\n");
        }
}

/* The seldom used ones share a paragraph, so that the help stays on one screen. */
static void help_paragraph(const struct command_line *line)
{
    size_t column = 0;
    for (const struct option_group *group = line->groups; group->rows != NULL; group++)
        for (size_t i = 0; i < group->count; i++) {
            const struct option *row = &group->rows[i];
            char head[96];
            if (row->help != NULL) continue;
            int len = help_head(row, head, sizeof head);
            if (row->fallback != NULL) len += snprintf(head + len, sizeof head - (size_t)len, " (%s)", row->fallback);
            bool wraps = column == 0 ||
                         column + 3 + (size_t)len > HELP_WIDTH; /* ", " before it, "," where the next one wraps */
            if (wraps)
                column = (size_t)printf("%s%s%s", column == 0 ? "" : ",\n", column == 0 ? "also: " : "      ", head);
            else column += (size_t)printf(", %s", head);
            if (wraps && column > HELP_WIDTH) column -= 2;
        }
    if (column > 0) printf("\n");
}

static void help_print(const struct command_line *line)
{
    printf("usage: hearth %s %s\n%s\n\n", line->command, line->usage, line->about);
    help_lines(line);
    help_paragraph(line);
}

/* ---- reading ---- */

struct found {
    const struct option *row;
    void *place;
};

static struct found find_row(const struct command_line *line, const char *name, size_t len)
{
    for (const struct option_group *group = line->groups; group->rows != NULL; group++)
        for (size_t i = 0; i < group->count; i++)
            if (view_equal(view_of(group->rows[i].name), (view){ (const uint8_t *)name, len }))
                return (struct found){ &group->rows[i], (char *)group->values + group->rows[i].at };
    return (struct found){ 0 };
}

static void fill_fallbacks(const struct command_line *line)
{
    for (const struct option_group *group = line->groups; group->rows != NULL; group++)
        for (size_t i = 0; i < group->count; i++) {
            const struct option *row = &group->rows[i];
            bool good = row->fallback == NULL ||
                        READERS[row->type](row, row->fallback, (char *)group->values + row->at);
            assert(good && "a default lies outside its own range");
        }
}

/* The option at argv[*at], and its value behind it. */
static bool read_option(const struct command_line *line, int argc, char **argv, int *at)
{
    char *word = argv[*at], *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
    struct found found = find_row(line, word, len);
    if (found.row == NULL) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)min_size(len, sizeof name - 1), word);
        return usage_unknown(line, name);
    }
    const char *text = equals != NULL ? equals + 1 : NULL;
    if (found.row->type == OPTION_FLAG && text != NULL) {
        say("%s: %s takes no value", line->command, found.row->name);
        return false;
    }
    if (found.row->type != OPTION_FLAG && text == NULL) {
        if (*at + 1 >= argc) {
            say("%s: %s: no value, expected %s", line->command, found.row->name, found.row->value_name);
            return false;
        }
        text = argv[++*at];
    }
    return READERS[found.row->type](found.row, text, found.place) || usage_value(line, found.row, text);
}

static bool read_all(struct command_line *line, int argc, char **argv, bool *help)
{
    bool options_end = false;
    size_t words = 0;
    fill_fallbacks(line);
    for (int at = 1; at < argc; at++) {
        const char *word = argv[at];
        if (options_end || word[0] != '-' || word[1] == '\0') {
            if (words < WORDS_MAX) line->words[words] = word;
            words++;
        } else if (strcmp(word, "--") == 0) {
            options_end = true;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            *help = true;
            return true;
        } else if (!read_option(line, argc, argv, &at)) {
            return false;
        }
    }
    line->word_count = words;
    return (words >= line->words_min && words <= line->words_max) || usage_words(line, words);
}

bool options_read(struct command_line *line, int argc, char **argv, int *status)
{
    assert(argc >= 1 && line->words_max <= WORDS_MAX);
    bool help = false;
    if (!read_all(line, argc, argv, &help)) {
        *status = EXIT_USAGE;
        return false;
    }
    if (help) help_print(line);
    *status = EXIT_GOOD;
    return !help;
}
