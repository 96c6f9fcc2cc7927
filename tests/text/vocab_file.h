/* For the tests of text/: vocabularies out of GGUF files, and JSON lines. Both are read with less care than the program
 * reads anything: the files are our own reference. */
#ifndef HEARTH_TESTS_TEXT_VOCAB_FILE_H
#define HEARTH_TESTS_TEXT_VOCAB_FILE_H

#include "base/file.h"
#include "format/gguf.h"
#include "text/tokenizer.h"

#include "check.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

struct vocab_file {
    arena arena;
    gguf_dir dir;
    struct vocab_source source;
    bool missing;
};

/* A file of the reference folder; PATH.gz is unpacked where PATH is not there. Empty where neither is. */
static inline view reference_bytes(const char *name, arena *a)
{
    char path[512], command[600];
    snprintf(path, sizeof path, "%s/reference/tokenizers/%s", check_shared(), name);
    err e = { 0 };
    view out = { 0 };
    if (access(path, R_OK) == 0) return file_read(path, 1 << 26, a, &out, &e) ? out : (view){ 0 };
    snprintf(path, sizeof path, "%s/reference/tokenizers/%s.gz", check_shared(), name);
    if (access(path, R_OK) != 0) return (view){ 0 };
    snprintf(command, sizeof command, "gzip -dc '%s'", path);
    FILE *pipe = popen(command, "r");
    if (pipe == NULL) return (view){ 0 };
    size_t room = 1 << 26, got;
    uint8_t *bytes = ARENA_ARRAY(a, uint8_t, room, "file", &e);
    assert(bytes != NULL);
    got = fread(bytes, 1, room, pipe);
    return pclose(pipe) == 0 ? (view){ bytes, got } : (view){ 0 };
}

static inline int32_t vocab_id(const gguf_dir *dir, const char *key, err *e)
{
    int64_t id = -1;
    gguf_i64(dir, key, GGUF_OPTIONAL, 0, INT32_MAX, &id, e);
    return (int32_t)id;
}

static inline enum tri vocab_tri(const gguf_dir *dir, const char *key, err *e)
{
    bool yes = false;
    if (gguf_find(dir, key) == NULL) return TRI_UNSET;
    gguf_bool(dir, key, GGUF_OPTIONAL, &yes, e);
    return yes ? TRI_YES : TRI_NO;
}

/* Fills f->source from a GGUF directory. */
static inline bool vocab_from_gguf(struct vocab_file *f, err *e)
{
    const gguf_dir *d = &f->dir;
    struct vocab_source *s = &f->source;
    const gguf_pair *tokens, *scores, *kinds, *merges, *charsmap;
    *s = vocab_source_default();
    if (!gguf_str(d, "tokenizer.ggml.model", GGUF_REQUIRED, &s->model, e) ||
        !gguf_str(d, "tokenizer.ggml.pre", GGUF_OPTIONAL, &s->pre, e) ||
        !gguf_array(d, "tokenizer.ggml.tokens", GGUF_REQUIRED, GGUF_ITEMS_STRING, 1, VOCAB_MAX, &tokens, e) ||
        !gguf_array(d, "tokenizer.ggml.scores", GGUF_OPTIONAL, GGUF_ITEMS_FLOAT, 1, VOCAB_MAX, &scores, e) ||
        !gguf_array(d, "tokenizer.ggml.token_type", GGUF_OPTIONAL, GGUF_ITEMS_INT, 1, VOCAB_MAX, &kinds, e) ||
        !gguf_array(d, "tokenizer.ggml.merges", GGUF_OPTIONAL, GGUF_ITEMS_STRING, 0, MERGES_MAX, &merges, e) ||
        !gguf_array(d, "tokenizer.ggml.precompiled_charsmap", GGUF_OPTIONAL, GGUF_ITEMS_INT, 0, CHARSMAP_BYTES_MAX,
                    &charsmap, e))
        return false;
    view *texts, *merge_texts;
    s->token_count = tokens->count;
    if (!gguf_strings(tokens, &f->arena, &texts, e)) return false;
    s->texts = texts;
    float *score_room = ARENA_ARRAY(&f->arena, float, s->token_count, "scores", e);
    int32_t *kind_room = ARENA_ARRAY(&f->arena, int32_t, s->token_count, "kinds", e);
    if (scores != NULL && gguf_items_f32(scores, score_room, e)) s->scores = score_room;
    if (kinds != NULL && gguf_items_i32(kinds, 0, 100, kind_room, e)) s->kinds = kind_room;
    if (merges != NULL && gguf_strings(merges, &f->arena, &merge_texts, e)) {
        s->merges = merge_texts;
        s->merge_count = merges->count;
    }
    if (charsmap != NULL) s->charsmap = charsmap->bytes;
    s->bos = vocab_id(d, "tokenizer.ggml.bos_token_id", e);
    s->eos = vocab_id(d, "tokenizer.ggml.eos_token_id", e);
    s->unk = vocab_id(d, "tokenizer.ggml.unknown_token_id", e);
    s->sep = vocab_id(d, "tokenizer.ggml.seperator_token_id", e);
    s->pad = vocab_id(d, "tokenizer.ggml.padding_token_id", e);
    s->cls = vocab_id(d, "tokenizer.ggml.cls_token_id", e);
    s->mask = vocab_id(d, "tokenizer.ggml.mask_token_id", e);
    s->add_bos = vocab_tri(d, "tokenizer.ggml.add_bos_token", e);
    s->add_eos = vocab_tri(d, "tokenizer.ggml.add_eos_token", e);
    s->add_space_prefix = vocab_tri(d, "tokenizer.ggml.add_space_prefix", e);
    s->remove_extra_whitespaces = vocab_tri(d, "tokenizer.ggml.remove_extra_whitespaces", e);
    return e->code == ERR_NONE;
}

/* Opens NAME.gguf of the reference; f->missing where it is not there. Undo with arena_free(&f->arena). */
static inline bool vocab_file_open(struct vocab_file *f, const char *name, err *e)
{
    char file[128];
    *f = (struct vocab_file){ 0 };
    if (!arena_new(&f->arena, (size_t)1 << 31, e)) return false;
    snprintf(file, sizeof file, "%s.gguf", name);
    view bytes = reference_bytes(file, &f->arena);
    f->missing = bytes.len_bytes == 0;
    if (f->missing) return true;
    /* Only the head matters; the vocabulary files hold no tensors. */
    return gguf_read_dir(bytes, &f->arena, &f->dir, e) && vocab_from_gguf(f, e);
}

/* ---- JSON lines: objects of strings, booleans, arrays of integers, and whatever else, which is skipped ---- */

struct json_line {
    view text, pre; /* decoded; pre is empty where the line has none */
    const int32_t *ids;
    size_t id_count;
    bool parse_special;
};

struct json_reader {
    const uint8_t *at, *end;
    arena *arena;
};

static inline void json_space(struct json_reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t')) r->at++;
}

static inline uint32_t json_hex(struct json_reader *r)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *r->at++;
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
}

static inline view line_string(struct json_reader *r)
{
    static const char ESCAPES[] = "b\bf\fn\nr\rt\t";
    err e = { 0 };
    assert(*r->at == '"');
    r->at++;
    uint8_t *out = ARENA_ARRAY(r->arena, uint8_t, (size_t)(r->end - r->at), "string", &e);
    size_t len = 0;
    while (*r->at != '"') {
        uint8_t c = *r->at++;
        if (c == '\\') {
            c = *r->at++;
            const char *escape = strchr(ESCAPES, c);
            if (c == 'u') {
                uint32_t code = json_hex(r);
                if (code >= 0xD800 && code < 0xDC00) {
                    r->at += 2;
                    code = 0x10000 + ((code - 0xD800) << 10) + (json_hex(r) - 0xDC00);
                }
                if (code >= 0x10000) out[len++] = (uint8_t)(0xF0 | code >> 18);
                else if (code >= 0x800) out[len++] = (uint8_t)(0xE0 | code >> 12);
                if (code >= 0x10000) out[len++] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
                if (code >= 0x800) out[len++] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
                else if (code >= 0x80) out[len++] = (uint8_t)(0xC0 | code >> 6);
                c = (uint8_t)(code < 0x80 ? code : 0x80 | (code & 0x3F));
            } else if (escape != NULL && c >= 'a') {
                c = (uint8_t)escape[1];
            }
        }
        out[len++] = c;
    }
    r->at++;
    r->arena->used_bytes = (size_t)(out - r->arena->base) + len;
    return (view){ out, len };
}

static inline void json_skip(struct json_reader *r)
{
    int depth = 0;
    do {
        if (*r->at == '"') {
            line_string(r);
            continue;
        }
        depth += (*r->at == '[' || *r->at == '{') - (*r->at == ']' || *r->at == '}');
        r->at++;
    } while (depth > 0 || (r->at < r->end && *r->at != ',' && *r->at != '}' && *r->at != ']'));
}

static inline void json_ints(struct json_reader *r, struct json_line *line)
{
    err e = { 0 };
    size_t room = (size_t)(r->end - r->at);
    int32_t *ids = ARENA_ARRAY(r->arena, int32_t, room, "ids", &e);
    assert(*r->at == '[' && ids != NULL);
    r->at++;
    while (*r->at != ']') {
        int32_t value = 0;
        while (*r->at >= '0' && *r->at <= '9') value = value * 10 + (*r->at++ - '0');
        ids[line->id_count++] = value;
        while (*r->at == ',' || *r->at == ' ') r->at++;
    }
    r->at++;
    line->ids = ids;
    r->arena->used_bytes = (size_t)((uint8_t *)(ids + line->id_count) - r->arena->base);
}

/* The next line of `text`, which moves on; false at the end. */
static inline bool json_line_next(view *text, arena *a, struct json_line *line)
{
    *line = (struct json_line){ 0 };
    if (text->len_bytes == 0) return false;
    const uint8_t *newline = memchr(text->ptr, '\n', text->len_bytes);
    size_t len = newline == NULL ? text->len_bytes : (size_t)(newline - text->ptr);
    struct json_reader r = { text->ptr + 1, text->ptr + len, a };
    assert(text->ptr[0] == '{');
    for (json_space(&r); *r.at != '}'; json_space(&r)) {
        view key = line_string(&r);
        json_space(&r);
        assert(*r.at == ':');
        r.at++;
        json_space(&r);
        if (view_is(key, "text")) line->text = line_string(&r);
        else if (view_is(key, "pre")) line->pre = line_string(&r);
        else if (view_is(key, "ids")) json_ints(&r, line);
        else if (view_is(key, "parse_special")) line->parse_special = *r.at == 't', json_skip(&r);
        else json_skip(&r);
        json_space(&r);
        if (*r.at == ',') r.at++;
    }
    *text = view_after(*text, len + (newline != NULL));
    return true;
}

#endif
