/* Template source to tokens, with Jinja's whitespace control under trim_blocks and lstrip_blocks:
 *   - one newline after a block tag or a comment goes (not after a print tag); "+%}" keeps it;
 *   - blanks before a block tag or comment go where nothing else stands before them on the line; "{%+" keeps them;
 *   - "-" on either side takes all white space there, newlines too. */
#include "template/syntax.h"

#include "base/utf8.h"

typedef struct lexer {
    view source;
    size_t at; /* at the end of the source after an error */
    arena *arena;
    err *e;
    struct token *tokens; /* room for one a byte, and the end */
    size_t count;
    bool line_start;                  /* the tag before ended with a newline */
    char brackets[TEMPLATE_NEST_MAX]; /* what must close, innermost last */
    size_t depth;
} lexer;

void template_fail(view source, uint32_t at, enum err_code code, err *e, const char *reason)
{
    size_t line = 1, start = 0, end = min_size(at, source.len_bytes), column = 1;
    for (size_t i = 0; i < end; i++)
        if (source.ptr[i] == '\n') line++, start = i + 1;
    for (size_t i = start; i < end; i++) column += (source.ptr[i] & 0xC0) != 0x80;
    while (end < source.len_bytes && source.ptr[end] != '\n') end++;
    while (start < end && (source.ptr[start] == ' ' || source.ptr[start] == '\t')) start++;
    err_set(e, code, at, "template line %zu, column %zu: %s: %.*s", line, column, reason,
            (int)min_size(end - start, 120), (const char *)source.ptr + start);
}

static void lex_fail(lexer *l, size_t at, const char *reason)
{
    template_fail(l->source, (uint32_t)at, ERR_VALUE, l->e, reason);
    l->at = l->source.len_bytes;
}

/* What stands from `at` up to l->at. */
static void add(lexer *l, enum token_type type, size_t at)
{
    l->tokens[l->count++] = (struct token){ type, (uint32_t)at, { l->source.ptr + at, l->at - at } };
}

static uint8_t byte_at(const lexer *l, size_t at)
{
    return at < l->source.len_bytes ? l->source.ptr[at] : 0;
}

static bool starts(const lexer *l, size_t at, const char *text)
{
    return view_starts(view_after(l->source, at), view_of(text));
}

/* The byte after the white space that begins at `at`. */
static size_t after_space(const lexer *l, size_t at)
{
    for (size_t len; at < l->source.len_bytes; at += len)
        if (!string_is_space(utf8_next(view_after(l->source, at), &len))) break;
    return at;
}

/* Where the white space that ends at `end` begins, not before `start`. */
static size_t before_space(const lexer *l, size_t start, size_t end)
{
    while (end > start) {
        size_t at = end - 1, len;
        while (at > start && (l->source.ptr[at] & 0xC0) == 0x80) at--;
        if (!string_is_space(utf8_next(view_after(l->source, at), &len))) break;
        end = at;
    }
    return end;
}

/* Text from `start` up to the tag at `end`, less what the tag takes of it: its sign is behind the two bytes. */
static void add_data(lexer *l, size_t start, size_t end)
{
    uint8_t kind = byte_at(l, end + 1), sign = byte_at(l, end + 2);
    if (sign == '-') {
        end = before_space(l, start, end);
    } else if (sign != '+' && (kind == '%' || kind == '#')) {
        size_t line = end;
        while (line > start && l->source.ptr[line - 1] != '\n') line--;
        if ((line > start || l->line_start) && before_space(l, line, end) == line) end = line;
    }
    size_t at = l->at;
    l->at = end;
    if (end > start) add(l, TOK_DATA, start);
    l->at = at;
}

/* Goes past the end of a tag ('%', '}' or '#', then '}') if one stands at `at`: "-%}" and what follows of white space;
 * where it trims, "+%}" or "%}" and one newline. */
static bool tag_end(lexer *l, size_t at, uint8_t closer, bool trims)
{
    bool minus = byte_at(l, at) == '-', keeps = trims && byte_at(l, at) == '+';
    if (minus || keeps) at++;
    if (byte_at(l, at) != closer || byte_at(l, at + 1) != '}') return false;
    at += 2;
    if (minus) at = after_space(l, at);
    else if (trims && !keeps && byte_at(l, at) == '\n') at++;
    l->at = at;
    l->line_start = l->source.ptr[at - 1] == '\n';
    return true;
}

/* ---- inside a tag ---- */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(uint8_t c)
{
    return is_digit(c) || c == '_' || c >= 0x80 || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* All that looks like a number; the parser says whether it is one. x.0.1 has two subscripts. */
static void lex_number(lexer *l)
{
    size_t start = l->at;
    bool subscript = start > 0 && l->source.ptr[start - 1] == '.', hex = (byte_at(l, start + 1) | 32) == 'x';
    while (is_name(byte_at(l, l->at)) || (!subscript && byte_at(l, l->at) == '.' && is_digit(byte_at(l, l->at + 1))) ||
           (!hex && (byte_at(l, l->at) == '-' || byte_at(l, l->at) == '+') && (byte_at(l, l->at - 1) | 32) == 'e'))
        l->at++;
    add(l, TOK_NUMBER, start);
}

/* One escape at source[*at] (after the backslash), as Python has it; unknown ones keep their backslash. */
static void unescape(lexer *l, size_t *at, uint8_t *out, size_t *len)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    uint8_t c = l->source.ptr[*at];
    const char *simple = memchr(from, c, sizeof from - 1);
    size_t hex = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0, octal = 0;
    while (octal < 3 && byte_at(l, *at + octal) >= '0' && byte_at(l, *at + octal) <= '7') octal++;
    if (hex + octal > 0) {
        int64_t code = -1;
        value digits = of_view((view){ l->source.ptr + *at + (hex > 0), hex + octal }, ORIGIN_TEMPLATE);
        bool whole = *at + 1 + hex <= l->source.len_bytes && builtin_read_int(view_in(digits), hex > 0 ? 16 : 8, &code);
        if (!whole || code < 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
            lex_fail(l, *at, "this escape is no character");
            code = 0;
        }
        *len += utf8_put((uint32_t)code, out + *len); /* never longer than the escape */
        *at += (hex > 0) + hex + octal;
    } else if (simple != NULL) {
        out[(*len)++] = (uint8_t)to[simple - from];
        ++*at;
    } else if (c == '\n') { /* a line goes on */
        ++*at;
    } else {
        out[(*len)++] = '\\';
    }
}

static void lex_string(lexer *l)
{
    size_t start = l->at, end = start + 1, len = 0;
    while (end < l->source.len_bytes && l->source.ptr[end] != l->source.ptr[start])
        end += l->source.ptr[end] == '\\' ? 2 : 1;
    uint8_t *copy = ARENA_ARRAY(l->arena, uint8_t, end - start, "template string", l->e);
    if (end >= l->source.len_bytes || copy == NULL) {
        lex_fail(l, start, "string without an end");
        return;
    }
    l->at = end + 1;
    add(l, TOK_STRING, start);
    for (size_t at = start + 1; at < end;) {
        if (l->source.ptr[at] != '\\') copy[len++] = l->source.ptr[at++];
        else at++, unescape(l, &at, copy, &len);
    }
    l->tokens[l->count - 1].text = (view){ copy, len };
}

static void lex_operator(lexer *l)
{
    static const char *const pairs[] = { "//", "**", "==", "!=", "<=", ">=" };
    size_t start = l->at, len = 1;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (starts(l, start, pairs[i])) len = 2;
    char c = (char)l->source.ptr[start];
    if (len == 1 && memchr("+-*/%~<>=.:|,;()[]{}", c, 20) == NULL) {
        lex_fail(l, start, "unexpected character");
    } else if (memchr("([{", c, 3) != NULL && l->depth == TEMPLATE_NEST_MAX) {
        lex_fail(l, start, "too many open brackets");
    } else if (memchr(")]}", c, 3) != NULL && (l->depth == 0 || l->brackets[l->depth - 1] != c)) {
        lex_fail(l, start, "this bracket closes nothing");
    } else {
        if (memchr("([{", c, 3) != NULL) l->brackets[l->depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        if (memchr(")]}", c, 3) != NULL) l->depth--;
        l->at += len;
        add(l, TOK_OPERATOR, start);
    }
}

/* A print or block tag from its two bytes on. */
static void lex_tag(lexer *l)
{
    size_t opened = l->at;
    uint8_t kind = byte_at(l, opened + 1);
    l->at += byte_at(l, opened + 2) == '-' || byte_at(l, opened + 2) == '+' ? 3 : 2;
    add(l, kind == '{' ? TOK_PRINT : TOK_BLOCK, opened);
    for (l->depth = 0;;) {
        size_t at = l->at = after_space(l, l->at);
        if (l->depth == 0 && tag_end(l, at, kind == '{' ? '}' : '%', kind != '{')) {
            add(l, TOK_CLOSE, at);
            l->tokens[l->count - 1].text.len_bytes = 2;
            return;
        }
        uint8_t c = byte_at(l, at);
        if (at == l->source.len_bytes) {
            lex_fail(l, opened, "tag without an end"); /* or after an error, which stands */
            return;
        }
        if (c == '"' || c == '\'') {
            lex_string(l);
        } else if (is_digit(c)) {
            lex_number(l);
        } else if (is_name(c)) {
            while (is_name(byte_at(l, l->at))) l->at++;
            add(l, TOK_NAME, at);
        } else {
            lex_operator(l);
        }
    }
}

/* ---- between tags ---- */

static void lex_comment(lexer *l)
{
    size_t start = l->at + 2;
    for (size_t at = start; at < l->source.len_bytes; at++)
        if (tag_end(l, at, '#', true)) return;
    lex_fail(l, start, "comment without an end");
}

/* Is there a tag of this one word at `at`? Then l->at is behind it. */
static bool word_tag(lexer *l, size_t at, const char *word, bool trims)
{
    size_t sign = byte_at(l, at + 2) == '-' || byte_at(l, at + 2) == '+', name = after_space(l, at + 2 + sign);
    return starts(l, at, "{%") && starts(l, name, word) && tag_end(l, after_space(l, name + strlen(word)), '%', trims);
}

/* The text from l->at, behind "{% raw %}", and the "{% endraw %}" that ends it. */
static void lex_raw(lexer *l)
{
    size_t start = l->at;
    bool line_start = l->line_start;
    for (size_t open = start; open < l->source.len_bytes; open++) {
        if (!word_tag(l, open, "endraw", true)) continue;
        bool after = l->line_start;
        l->line_start = line_start;
        add_data(l, start, open);
        l->line_start = after;
        return;
    }
    lex_fail(l, start, "raw block without an end");
}

/* Text up to the next tag, and that tag. */
static void lex_piece(lexer *l)
{
    size_t start = l->at, open = start;
    while (open < l->source.len_bytes && !starts(l, open, "{{") && !starts(l, open, "{%") && !starts(l, open, "{#")) {
        const uint8_t *brace = memchr(l->source.ptr + open + 1, '{', l->source.len_bytes - open - 1);
        open = brace == NULL ? l->source.len_bytes : (size_t)(brace - l->source.ptr);
    }
    add_data(l, start, open);
    l->at = open;
    if (open == l->source.len_bytes) return;
    l->line_start = false;
    if (byte_at(l, open + 1) == '#') lex_comment(l);
    else if (word_tag(l, open, "raw", false)) lex_raw(l);
    else lex_tag(l);
}

struct token *template_lex(view source, arena *a, err *e)
{
    lexer l = { .source = source, .arena = a, .e = e, .line_start = true };
    l.tokens = ARENA_ARRAY(a, struct token, source.len_bytes + 1, "template tokens", e);
    if (l.tokens == NULL) return NULL;
    while (l.at < source.len_bytes) lex_piece(&l);
    add(&l, TOK_END, source.len_bytes);
    return e->code == ERR_NONE ? l.tokens : NULL;
}
