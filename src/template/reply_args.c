/* The arguments of a call, in whatever language a model wrote them, as the text of a JSON object. Nothing is repaired:
 * what does not read whole is false, and the caller gives the text back. */
#include "template/reply_family.h"

#include "base/utf8.h"

#include <string.h>

enum { ARGS_BYTES_MAX = 2 * REPLY_HELD_MAX };

static const json_value *parsed(view text, arena *a)
{
    const json_value *v;
    err ignored = { 0 };
    return json_parse(text, a, &v, &ignored) ? v : NULL;
}

static bool is_object(view text, arena *a)
{
    const json_value *v = parsed(text, a);
    return v != NULL && v->type == JSON_OBJECT;
}

bool reply_args_object(view *text, arena *a)
{
    const json_value *v = parsed(*text, a);
    if (v == NULL || v->type != JSON_STRING) return v != NULL && v->type == JSON_OBJECT;
    *text = v->text;
    return is_object(v->text, a);
}

/* An object as it stands; text that holds one, decoded once. */
static bool object_text(const json_value *v, view source, arena *a, view *args)
{
    if (v == NULL) return false;
    *args = v->type == JSON_STRING ? v->text : (view){ source.ptr + v->offset, v->len_bytes };
    return v->type == JSON_OBJECT || (v->type == JSON_STRING && is_object(v->text, a));
}

bool reply_args_member(const struct reply_family *f, const json_value *v, view source, arena *a, view *name, view *id,
                       view *args)
{
    if (v->type != JSON_OBJECT) return false;
    *id = (view){ NULL, 0 };
    if (f->name_key == NULL) { /* {"NAME": {...}} */
        if (v->count != 1) return false;
        *name = v->first->key;
        return object_text(v->first, source, a, args);
    }
    const json_value *named = json_get(v, f->name_key), *own = json_get(v, "id");
    if (named == NULL || named->type != JSON_STRING) return false;
    if (own != NULL && own->type == JSON_STRING) *id = own->text;
    *name = named->text;
    return object_text(json_get(v, f->args_key), source, a, args);
}

/* ---- Python literals and Gemma's values ---- */

struct reader {
    view text;
    size_t at;
    size_t depth;
    bool gemma; /* strings in <|"|>, names bare */
    json_writer *w;
    arena *arena;
};

static const char GEMMA_QUOTE[] = "<|\"|>";

static uint8_t peek(const struct reader *r)
{
    return r->at < r->text.len_bytes ? r->text.ptr[r->at] : 0;
}

static void skip_blanks(struct reader *r)
{
    while (peek(r) == ' ' || peek(r) == '\n' || peek(r) == '\t' || peek(r) == '\r') r->at++;
}

static bool skip(struct reader *r, uint8_t c)
{
    if (peek(r) != c || r->at >= r->text.len_bytes) return false;
    r->at++;
    return true;
}

static bool hex(struct reader *r, size_t count, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++, r->at++) {
        uint8_t c = peek(r), letter = c | 32;
        bool digit = c >= '0' && c <= '9';
        if (!digit && !(letter >= 'a' && letter <= 'f')) return false;
        *out = *out << 4 | (digit ? c - (uint32_t)'0' : letter - (uint32_t)'a' + 10);
    }
    return true;
}

/* One escape, after its backslash, appended to out[*len]. */
static bool unescape(struct reader *r, uint8_t *out, size_t *len)
{
    static const char from[] = "\\'\"/abfnrtv", to[] = "\\'\"/\a\b\f\n\r\t\v";
    uint8_t c = peek(r);
    const char *simple = c == 0 ? NULL : memchr(from, c, sizeof from - 1);
    uint32_t code, low;
    r->at++;
    if (simple != NULL) {
        out[(*len)++] = (uint8_t)to[simple - from];
        return true;
    }
    if (c != 'x' && c != 'u' && c != 'U') return false;
    if (!hex(r, c == 'x' ? 2 : c == 'u' ? 4 : 8, &code)) return false;
    if (code >= 0xD800 && code <= 0xDBFF) {
        if (!skip(r, '\\') || !skip(r, 'u') || !hex(r, 4, &low) || low < 0xDC00 || low > 0xDFFF) return false;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
    *len += utf8_put(code, out + *len); /* never longer than the escape */
    return true;
}

static bool read_text(struct reader *r, view *out)
{
    size_t len = 0;
    err ignored = { 0 };
    if (r->gemma) {
        view quote = view_of(GEMMA_QUOTE), rest = view_after(r->text, r->at);
        if (!view_starts(rest, quote)) return false;
        rest = view_after(rest, quote.len_bytes);
        const uint8_t *end = memmem(rest.ptr, rest.len_bytes, quote.ptr, quote.len_bytes);
        if (end == NULL) return false;
        *out = (view){ rest.ptr, (size_t)(end - rest.ptr) };
        r->at += 2 * quote.len_bytes + out->len_bytes;
        return true;
    }
    uint8_t quote = peek(r);
    if (quote != '\'' && quote != '"') return false;
    uint8_t *copy = arena_take(r->arena, r->text.len_bytes - r->at, 1, 1, "argument", &ignored);
    if (copy == NULL) return false;
    for (r->at++; peek(r) != quote;) {
        if (r->at >= r->text.len_bytes) return false;
        if (peek(r) != '\\') copy[len++] = r->text.ptr[r->at++];
        else if (r->at++, !unescape(r, copy, &len)) return false;
    }
    r->at++;
    *out = (view){ copy, len };
    return true;
}

static bool name_byte(uint8_t c)
{
    uint8_t letter = c | 32;
    return (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c >= 0x80;
}

static bool read_name(struct reader *r, view *out)
{
    size_t start = r->at;
    while (name_byte(peek(r))) r->at++;
    *out = (view){ r->text.ptr + start, r->at - start };
    return out->len_bytes > 0;
}

static bool read_value(struct reader *r);

/* From behind the opening bracket up to and with the closing one. */
static bool read_members(struct reader *r, uint8_t closer, bool dict)
{
    view key;
    for (bool first = true;; first = false) {
        skip_blanks(r);
        if (skip(r, closer)) return true;
        if (!first && !skip(r, ',')) return false;
        skip_blanks(r);
        if (!first && skip(r, closer)) return true; /* Python allows a comma at the end */
        if (dict) {
            bool quoted = r->gemma ? peek(r) == '<' : true;
            if (!(quoted ? read_text(r, &key) : read_name(r, &key))) return false;
            skip_blanks(r);
            if (!skip(r, ':')) return false;
            json_key_view(r->w, key);
            skip_blanks(r);
        }
        if (!read_value(r)) return false;
    }
}

static bool read_word(struct reader *r)
{
    static const struct {
        const char *word;
        const char *json;
    } words[] = { { "true", "true" },   { "True", "true" }, { "false", "false" },
                  { "False", "false" }, { "null", "null" }, { "None", "null" } };
    view word;
    size_t start = r->at;
    const json_value *v;
    if (peek(r) == '-' || peek(r) == '+') r->at++;
    if (!read_name(r, &word)) return false;
    while (peek(r) == '+' && (r->text.ptr[r->at - 1] | 32) == 'e') /* 1e+5 */
        if (r->at++, !read_name(r, &word)) return false;
    word = (view){ r->text.ptr + start, r->at - start };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!view_is(word, words[i].word)) continue;
        json_raw(r->w, view_of(words[i].json));
        return true;
    }
    v = parsed(word, r->arena);
    if (v == NULL || (v->type != JSON_INT && v->type != JSON_FLOAT)) return false;
    json_raw(r->w, word);
    return true;
}

static bool read_value(struct reader *r)
{
    view text;
    uint8_t c = peek(r);
    if (c == '\'' || c == '"' || (r->gemma && c == '<')) {
        if (!read_text(r, &text)) return false;
        json_string(r->w, text);
        return true;
    }
    if (c != '{' && c != '[' && c != '(') return read_word(r);
    if (++r->depth > JSON_DEPTH_MAX / 2) return false;
    r->at++;
    if (c == '{') json_begin_object(r->w);
    else json_begin_array(r->w);
    if (!read_members(r, c == '{' ? '}' : c == '[' ? ']' : ')', c == '{')) return false;
    if (c == '{') json_end_object(r->w);
    else json_end_array(r->w);
    r->depth--;
    return true;
}

/* One value that is all of `text`, into the writer. */
static bool literal_value(view text, bool gemma, json_writer *w, arena *a)
{
    struct reader r = { .text = text, .gemma = gemma, .w = w, .arena = a };
    skip_blanks(&r);
    if (!read_value(&r)) return false;
    skip_blanks(&r);
    return r.at == text.len_bytes;
}

/* What was written is JSON only if no name came twice: the strict reader says so. */
static bool finished(json_writer *w, arena *a, view *args)
{
    return json_done(w, args) && is_object(*args, a);
}

bool reply_args_gemma(view text, arena *a, view *args)
{
    err e = { 0 };
    json_writer *w = ARENA_ARRAY(a, json_writer, 1, "arguments", &e);
    if (w == NULL) return false;
    json_writer_start(w, a, ARGS_BYTES_MAX, &e);
    w->spaced = true;
    return literal_value(text, true, w, a) && finished(w, a, args);
}

bool reply_args_python(view text, size_t *at, arena *a, view *name, view *args, bool *good)
{
    err e = { 0 };
    struct reader r = { .text = text, .at = *at, .arena = a };
    view key;
    bool first = *at == 0;
    *good = false;
    if (first && !skip(&r, '[')) return false;
    skip_blanks(&r);
    if (skip(&r, ']')) {
        *good = r.at == text.len_bytes && !first;
        return false;
    }
    if (!first && !skip(&r, ',')) return false;
    skip_blanks(&r);
    if ((r.w = ARENA_ARRAY(a, json_writer, 1, "arguments", &e)) == NULL) return false;
    json_writer_start(r.w, a, ARGS_BYTES_MAX, &e);
    r.w->spaced = true;
    json_begin_object(r.w);
    if (!read_name(&r, name) || !skip(&r, '(')) return false;
    for (bool one = false;; one = true) {
        skip_blanks(&r);
        if (skip(&r, ')')) break;
        if (one && !skip(&r, ',')) return false;
        skip_blanks(&r);
        if (!read_name(&r, &key)) return false;
        skip_blanks(&r);
        if (!skip(&r, '=')) return false;
        json_key_view(r.w, key);
        skip_blanks(&r);
        if (!read_value(&r)) return false;
    }
    json_end_object(r.w);
    *at = r.at;
    *good = finished(r.w, a, args);
    return *good;
}

/* ---- raw values by schema ---- */

static bool type_is(const json_value *type, const char *name)
{
    if (type == NULL) return false;
    if (type->type == JSON_STRING) return view_is(type->text, name);
    if (type->type == JSON_ARRAY)
        JSON_EACH(item, type) if (item->type == JSON_STRING && view_is(item->text, name)) return true;
    return false;
}

/* Does a value fit the schema's type? No type: anything does. */
static bool fits(const json_value *v, const json_value *type)
{
    static const char *const names[] = {
        [JSON_NULL] = "null",    [JSON_FALSE] = "boolean", [JSON_TRUE] = "boolean", [JSON_INT] = "integer",
        [JSON_FLOAT] = "number", [JSON_STRING] = "string", [JSON_ARRAY] = "array",  [JSON_OBJECT] = "object"
    };
    return type == NULL || type_is(type, names[v->type]) || (v->type == JSON_INT && type_is(type, "number"));
}

static bool write_param(const struct raw_param *p, const json_value *type, json_writer *w, arena *a)
{
    const json_value *v = NULL;
    json_writer *python;
    view text;
    err e = { 0 };
    bool text_wanted = p->is_string == 1 || (p->is_string < 0 && type_is(type, "string"));
    if (!text_wanted) v = parsed(p->value, a);
    if (v == NULL && !text_wanted && type != NULL) { /* as Python writes it */
        if ((python = ARENA_ARRAY(a, json_writer, 1, "argument", &e)) == NULL) return false;
        json_writer_start(python, a, ARGS_BYTES_MAX, &e);
        python->spaced = true;
        if (literal_value(p->value, false, python, a) && json_done(python, &text)) v = parsed(text, a);
    }
    bool valid = utf8_valid_bytes(p->value) == p->value.len_bytes;
    if (v != NULL) {
        if (p->is_string < 0 && !fits(v, type)) return false;
        json_copy(w, v);
        return true;
    }
    if (!valid || p->is_string == 0 || (type != NULL && !text_wanted)) return false;
    json_string(w, p->value);
    return true;
}

bool reply_args_params(const struct raw_param *params, size_t count, const struct reply_tool *tool, arena *a,
                       view *args)
{
    err e = { 0 };
    json_writer *w = ARENA_ARRAY(a, json_writer, 1, "arguments", &e);
    const json_value *properties = tool == NULL ? NULL : json_get(tool->parameters, "properties");
    if (w == NULL) return false;
    json_writer_start(w, a, ARGS_BYTES_MAX, &e);
    w->spaced = true;
    json_begin_object(w);
    for (size_t i = 0; i < count; i++) {
        json_key_view(w, params[i].key);
        if (!write_param(&params[i], json_get(json_find(properties, params[i].key), "type"), w, a)) return false;
    }
    json_end_object(w);
    return finished(w, a, args);
}
