/* Template source to tokens, with Jinja's whitespace control under trim_blocks and lstrip_blocks:
 *   - one newline after a block tag or a comment goes (not after a print tag); "+%}" keeps it;
 *   - blanks before a block tag or comment go where nothing else stands before them on the line; "{%+" keeps them;
 *   - "-" on either side takes all white space there, newlines too. */
#include "template/ast.h"

#include "base/utf8.h"
#include "template/unicode.h"

#include <assert.h>
#include <stdio.h>

typedef struct lexer {
    view source;
    size_t at;
    arena *arena;
    err *e;
    struct token *tokens;
    size_t count, capacity;
    bool line_start;                  /* the tag before ended with a newline */
    char brackets[TEMPLATE_NEST_MAX]; /* what must close, innermost last */
    size_t depth;
} lexer;

bool template_fail(view source, uint32_t at, enum err_code code, err *e, const char *reason)
{
    size_t line = 1, start = 0, end = at > source.len_bytes ? source.len_bytes : at;
    for (size_t i = 0; i < end; i++)
        if (source.ptr[i] == '\n') line++, start = i + 1;
    size_t column = 1;
    for (size_t i = start; i < end; i++) column += (source.ptr[i] & 0xC0) != 0x80;
    while (end < source.len_bytes && source.ptr[end] != '\n') end++;
    while (start < end && (source.ptr[start] == ' ' || source.ptr[start] == '\t')) start++;
    return fail(e, code, at, "template line %zu, column %zu: %s: %.*s", line, column, reason,
                (int)(end - start > 120 ? 120 : end - start), (const char *)source.ptr + start);
}

static bool lex_fail(lexer *l, size_t at, const char *reason)
{
    return template_fail(l->source, (uint32_t)at, ERR_VALUE, l->e, reason);
}

static bool add(lexer *l, enum token_type type, size_t at, view text)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity == 0 ? 256 : 2 * l->capacity;
        struct token *moved = ARENA_ARRAY(l->arena, struct token, capacity, "template tokens", l->e);
        if (moved == NULL) return false;
        if (l->count > 0) memcpy(moved, l->tokens, l->count * sizeof *moved);
        l->tokens = moved;
        l->capacity = capacity;
    }
    l->tokens[l->count++] = (struct token){ type, (uint32_t)at, text };
    return true;
}

static bool here(const lexer *l, const char *text)
{
    return view_starts(view_after(l->source, l->at), view_of(text));
}

static uint8_t byte_at(const lexer *l, size_t at)
{
    return at < l->source.len_bytes ? l->source.ptr[at] : 0;
}

/* The byte after the white space that begins at `at`. */
static size_t after_space(const lexer *l, size_t at)
{
    while (at < l->source.len_bytes) {
        size_t len;
        if (!py_space(utf8_next(view_after(l->source, at), &len))) break;
        at += len;
    }
    return at;
}

/* Where the white space that ends at `end` begins, not before `start`. */
static size_t before_space(const lexer *l, size_t start, size_t end)
{
    while (end > start) {
        size_t at = end - 1, len;
        while (at > start && (l->source.ptr[at] & 0xC0) == 0x80) at--;
        if (!py_space(utf8_next(view_after(l->source, at), &len))) break;
        end = at;
    }
    return end;
}

/* Text from `start` up to a tag at `end`, less what the tag's sign ('-', '+', 0) takes of it. */
static bool add_data(lexer *l, size_t start, size_t end, char sign, bool is_print)
{
    if (sign == '-') {
        end = before_space(l, start, end);
    } else if (sign != '+' && !is_print) {
        size_t line = end;
        while (line > start && l->source.ptr[line - 1] != '\n') line--;
        if ((line > start || l->line_start) && before_space(l, line, end) == line) end = line;
    }
    return end == start || add(l, TOK_DATA, start, (view){ l->source.ptr + start, end - start });
}

/* Past the end of a tag of `closer`'s kind at l->at, if there is one: "-%}" and what follows of white space, "+%}"
 * where `plus`, "%}" and one newline where `trims`. */
static bool tag_end(lexer *l, const char *closer, bool plus, bool trims)
{
    size_t at = l->at;
    bool minus = byte_at(l, at) == '-';
    bool keeps = plus && byte_at(l, at) == '+';
    if (minus || keeps) at++;
    if (byte_at(l, at) != (uint8_t)closer[0] || byte_at(l, at + 1) != (uint8_t)closer[1]) return false;
    at += 2;
    if (minus) at = after_space(l, at);
    else if (trims && !keeps && byte_at(l, at) == '\n') at++;
    l->at = at;
    l->line_start = l->source.ptr[at - 1] == '\n';
    return true;
}

/* ---- inside a tag ---- */

static bool digit_in(uint8_t c, unsigned base)
{
    unsigned digit = c >= '0' && c <= '9'                   ? c - (unsigned)'0'
                     : (c | 32u) >= 'a' && (c | 32u) <= 'f' ? (c | 32u) - 'a' + 10u
                                                            : 99;
    return digit < base;
}

/* Digits with single underscores between them; returns the end, or `at` where there are none. */
static size_t digits(const lexer *l, size_t at, unsigned base)
{
    size_t start = at;
    while (digit_in(byte_at(l, at), base) ||
           (at > start && byte_at(l, at) == '_' && digit_in(byte_at(l, at + 1), base)))
        at++;
    return at;
}

static bool lex_number(lexer *l)
{
    size_t start = l->at, end;
    uint8_t kind = byte_at(l, start + 1) | 32;
    unsigned base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    if (byte_at(l, start) == '0' && base != 10 && digits(l, start + 2, base) > start + 2) {
        l->at = digits(l, start + 2, base);
        return add(l, TOK_INTEGER, start, (view){ l->source.ptr + start, l->at - start });
    }
    end = digits(l, start, 10);
    enum token_type type = TOK_INTEGER;
    bool after_dot = start > 0 && l->source.ptr[start - 1] == '.'; /* x.0.1: two subscripts */
    size_t fraction = byte_at(l, end) == '.' && !after_dot ? digits(l, end + 1, 10) : 0;
    if (fraction > end + 1) end = fraction, type = TOK_FLOAT;
    if (!after_dot && (byte_at(l, end) | 32) == 'e') {
        size_t first = end + 1 + (byte_at(l, end + 1) == '+' || byte_at(l, end + 1) == '-'),
               last = digits(l, first, 10);
        if (last > first) end = last, type = TOK_FLOAT;
    }
    if (type == TOK_INTEGER && l->source.ptr[start] == '0') { /* 007 is no number in Jinja either */
        for (size_t i = start; i < end; i++)
            if (l->source.ptr[i] != '0' && l->source.ptr[i] != '_')
                return lex_fail(l, start, "number with a leading zero");
    }
    l->at = end;
    return add(l, type, start, (view){ l->source.ptr + start, end - start });
}

/* The code after \x, \u or \U: `count` hexadecimal digits. */
static bool hex(const lexer *l, size_t at, size_t count, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t c = byte_at(l, at + i);
        if (!digit_in(c, 16)) return false;
        *out = *out << 4 | (c <= '9' ? c - (uint32_t)'0' : (c | 32u) - 'a' + 10u);
    }
    return true;
}

/* One escape at source[*at] (after the backslash), as Python has it; unknown ones keep their backslash. */
static bool unescape(lexer *l, size_t *at, uint8_t *out, size_t *len)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    uint8_t c = l->source.ptr[*at];
    const char *simple = memchr(from, c, sizeof from - 1);
    size_t count = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t code = 0;
    if (simple != NULL) {
        out[(*len)++] = (uint8_t)to[simple - from];
        ++*at;
    } else if (c == '\n') { /* a line goes on */
        ++*at;
    } else if (count > 0) {
        if (!hex(l, *at + 1, count, &code) || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            return lex_fail(l, *at, "this escape is no character");
        *len += utf8_put(code, out + *len); /* never longer than the escape */
        *at += 1 + count;
    } else if (c >= '0' && c <= '7') {
        for (size_t i = 0; i < 3 && digit_in(byte_at(l, *at), 8); i++, ++*at) code = code * 8 + byte_at(l, *at) - '0';
        *len += utf8_put(code, out + *len);
    } else {
        out[(*len)++] = '\\';
    }
    return true;
}

static bool lex_string(lexer *l)
{
    size_t start = l->at, end = start + 1;
    uint8_t quote = l->source.ptr[start];
    bool escaped = false;
    for (; byte_at(l, end) != quote; end++) {
        if (end >= l->source.len_bytes) return lex_fail(l, start, "string without an end");
        if (l->source.ptr[end] == '\\') escaped = true, end++;
    }
    if (end >= l->source.len_bytes) return lex_fail(l, start, "string without an end");
    view text = { l->source.ptr + start + 1, end - start - 1 };
    if (escaped) {
        uint8_t *copy = arena_take(l->arena, text.len_bytes, 1, 1, "template string", l->e);
        if (copy == NULL) return false;
        size_t len = 0;
        for (size_t at = start + 1; at < end;) {
            if (l->source.ptr[at] != '\\') copy[len++] = l->source.ptr[at++];
            else if (at++, !unescape(l, &at, copy, &len)) return false;
        }
        text = (view){ copy, len };
    }
    l->at = end + 1;
    return add(l, TOK_STRING, start, text);
}

static bool name_byte(uint8_t c)
{
    uint8_t letter = c | 32;
    return c == '_' || c >= 0x80 || (c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'z');
}

static bool lex_operator(lexer *l)
{
    static const struct {
        const char text[3];
        enum token_type type;
    } operators[] = {
        { "//", TOK_FLOOR_DIV }, { "**", TOK_POW },   { "==", TOK_EQ },      { "!=", TOK_NE },
        { "<=", TOK_LE },        { ">=", TOK_GE },    { "+", TOK_ADD },      { "-", TOK_SUB },
        { "*", TOK_MUL },        { "/", TOK_DIV },    { "%", TOK_MOD },      { "~", TOK_TILDE },
        { "<", TOK_LT },         { ">", TOK_GT },     { "=", TOK_ASSIGN },   { ".", TOK_DOT },
        { ":", TOK_COLON },      { "|", TOK_PIPE },   { ",", TOK_COMMA },    { ";", TOK_SEMICOLON },
        { "(", TOK_LPAREN },     { ")", TOK_RPAREN }, { "[", TOK_LBRACKET }, { "]", TOK_RBRACKET },
        { "{", TOK_LBRACE },     { "}", TOK_RBRACE },
    };
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!here(l, operators[i].text)) continue;
        size_t start = l->at, len = strlen(operators[i].text);
        char c = operators[i].text[0];
        if (strchr("([{", c) != NULL) {
            if (l->depth == TEMPLATE_NEST_MAX) return lex_fail(l, start, "too many open brackets");
            l->brackets[l->depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (strchr(")]}", c) != NULL && (l->depth == 0 || l->brackets[--l->depth] != c)) {
            return lex_fail(l, start, "this bracket closes nothing");
        }
        l->at += len;
        return add(l, operators[i].type, start, (view){ l->source.ptr + start, len });
    }
    return lex_fail(l, l->at, "unexpected character");
}

/* The inside of a print or block tag and its end. */
static bool lex_tag(lexer *l, bool is_print)
{
    const char *closer = is_print ? "}}" : "%}";
    size_t opened = l->at;
    for (l->depth = 0;;) {
        l->at = after_space(l, l->at);
        if (l->at >= l->source.len_bytes) return lex_fail(l, opened, "tag without an end");
        size_t at = l->at;
        if (l->depth == 0 && tag_end(l, closer, !is_print, !is_print))
            return add(l, is_print ? TOK_PRINT_END : TOK_BLOCK_END, at, (view){ l->source.ptr + at, 2 });
        uint8_t c = l->source.ptr[at];
        bool good;
        if (c >= '0' && c <= '9') {
            good = lex_number(l);
        } else if (name_byte(c)) {
            while (name_byte(byte_at(l, l->at))) l->at++;
            good = add(l, TOK_NAME, at, (view){ l->source.ptr + at, l->at - at });
        } else {
            good = c == '"' || c == '\'' ? lex_string(l) : lex_operator(l);
        }
        if (!good) return false;
    }
}

/* ---- between tags ---- */

/* A comment whose inside begins at l->at: up to the first "#}". */
static bool lex_comment(lexer *l)
{
    for (size_t start = l->at;; l->at++) {
        if (l->at >= l->source.len_bytes) return lex_fail(l, start, "comment without an end");
        if (tag_end(l, "#}", true, true)) return true;
    }
}

/* "{% raw %}" at `at`, after its sign: then *end is behind it. It keeps the newline that follows. */
static bool raw_begins(lexer *l, size_t at, size_t *end)
{
    size_t word = after_space(l, at), back = l->at;
    if (!view_starts(view_after(l->source, word), view_of("raw"))) return false;
    l->at = after_space(l, word + 3);
    bool start = l->line_start, found = tag_end(l, "%}", false, false);
    *end = l->at;
    if (!found) l->at = back, l->line_start = start;
    return found;
}

/* The text after "{% raw %}" and the "{% endraw %}" that ends it. */
static bool lex_raw(lexer *l)
{
    size_t start = l->at;
    for (size_t open = start;; open++) {
        if (!string_find(l->source, open, view_of("{%"), &open)) return lex_fail(l, start, "raw block without an end");
        char sign = (char)byte_at(l, open + 2);
        if (sign != '-' && sign != '+') sign = 0;
        size_t word = after_space(l, open + 2 + (sign != 0));
        if (!view_starts(view_after(l->source, word), view_of("endraw"))) continue;
        bool line_start = l->line_start;
        l->at = after_space(l, word + 6);
        if (!tag_end(l, "%}", true, true)) continue;
        bool after = l->line_start;
        l->line_start = line_start;
        bool good = add_data(l, start, open, sign, false);
        l->line_start = after;
        return good;
    }
}

/* Text up to the next tag, and that tag. */
static bool lex_piece(lexer *l)
{
    size_t start = l->at, open = start;
    do {
        const uint8_t *brace = memchr(l->source.ptr + open, '{', l->source.len_bytes - open);
        open = brace == NULL ? l->source.len_bytes : (size_t)(brace - l->source.ptr) + 1;
    } while (open < l->source.len_bytes && memchr("{%#", l->source.ptr[open], 3) == NULL);
    if (open >= l->source.len_bytes) {
        l->at = l->source.len_bytes;
        return l->at == start || add(l, TOK_DATA, start, (view){ l->source.ptr + start, l->at - start });
    }
    char kind = (char)l->source.ptr[open], sign = (char)byte_at(l, open + 1);
    if (sign != '-' && sign != '+') sign = 0;
    if (!add_data(l, start, open - 1, sign, kind == '{')) return false;
    size_t inside = open + 1 + (sign != 0), raw_end;
    l->at = inside;
    l->line_start = false;
    if (kind == '#') return lex_comment(l);
    if (kind == '%' && raw_begins(l, inside, &raw_end)) return lex_raw(l);
    enum token_type type = kind == '{' ? TOK_PRINT_BEGIN : TOK_BLOCK_BEGIN;
    return add(l, type, open - 1, (view){ l->source.ptr + open - 1, 2 }) && lex_tag(l, kind == '{');
}

bool template_lex(view source, arena *a, struct token **out, size_t *count, err *e)
{
    lexer l = { .source = source, .arena = a, .e = e, .line_start = true };
    while (l.at < source.len_bytes)
        if (!lex_piece(&l)) return false;
    if (!add(&l, TOK_END, source.len_bytes, (view){ source.ptr + source.len_bytes, 0 })) return false;
    *out = l.tokens;
    *count = l.count;
    return true;
}
