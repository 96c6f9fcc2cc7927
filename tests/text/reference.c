/* Every vector of the reference folder: ids as the authors' own tokenizers give them (its README says how they were
 * made), and the way back. */
#include "vocab_file.h"

enum { IDS_MAX = 1 << 16 };

static int32_t ids[IDS_MAX];

/* The first place where ids differ, shown with a few around it. */
static void compare(const char *what, size_t row, view text, const int32_t *got, size_t got_count, const int32_t *want,
                    size_t want_count)
{
    size_t at = 0;
    while (at < got_count && at < want_count && got[at] == want[at]) at++;
    bool same = got_count == want_count && at == got_count;
    int shown = (int)(text.len_bytes < 60 ? text.len_bytes : 60);
    CHECK(same, "%s row %zu \"%.*s\": %zu ids, wanted %zu; at %zu: %d, wanted %d", what, row, shown,
          (const char *)text.ptr, got_count, want_count, at, at < got_count ? (int)got[at] : -1,
          at < want_count ? (int)want[at] : -1);
}

static void encodes(const tokenizer *t, const char *what, size_t row, const struct json_line *line, arena *scratch)
{
    err e = { 0 };
    size_t count;
    if (CHECK(tokenizer_encode(t, line->text, line->parse_special, ids, IDS_MAX, &count, scratch, &e), "%s row %zu: %s",
              what, row, e.text))
        compare(what, row, line->text, ids, count, line->ids, line->id_count);
}

/* decode(encode(text)) is the text, but for what the vocabulary cannot write. */
static void comes_back(const tokenizer *t, const char *what, size_t row, view text, arena *scratch)
{
    static uint8_t back[1 << 20];
    err e = { 0 };
    size_t count, len = 0;
    bool good = tokenizer_encode(t, text, false, ids, IDS_MAX, &count, scratch, &e) &&
                tokenizer_decode(t, ids, count, true, back, sizeof back, &len, &e);
    CHECK(good && view_equal(text, (view){ back, len }), "%s row %zu: \"%.*s\" came back as \"%.*s\" %s", what, row,
          (int)text.len_bytes, (const char *)text.ptr, (int)len, (const char *)back, e.text);
}

static void json_rows(const tokenizer *t, const char *file, bool back, arena *a, arena *scratch)
{
    view text = reference_bytes(file, a);
    struct json_line line;
    size_t row = 0;
    for (; json_line_next(&text, a, &line); row++) {
        encodes(t, file, row, &line, scratch);
        if (back) comes_back(t, file, row, line.text, scratch);
    }
    if (row == 0) check_skip(file);
}

/* NAME.inp: texts between lines of __ggml_vocab_test__; NAME.out: a line of ids each. */
static void inp_rows(const tokenizer *t, const char *name, arena *a, arena *scratch)
{
    static const char MARK[] = "\n__ggml_vocab_test__\n";
    char file[128];
    snprintf(file, sizeof file, "%s.inp", name);
    view inp = reference_bytes(file, a);
    snprintf(file, sizeof file, "%s.out", name);
    view out = reference_bytes(file, a);
    for (size_t row = 0; out.len_bytes > 0 && inp.len_bytes > 0; row++) {
        const uint8_t *mark = memmem(inp.ptr, inp.len_bytes, MARK, sizeof MARK - 1);
        size_t len = mark == NULL ? inp.len_bytes : (size_t)(mark - inp.ptr);
        struct json_line line = { .text = { inp.ptr, len } };
        inp = view_after(inp, len + sizeof MARK - 1);
        int32_t want[4096];
        size_t at = 0;
        for (; at < out.len_bytes && out.ptr[at] != '\n'; at++) {
            if (out.ptr[at] < '0' || out.ptr[at] > '9') continue;
            int32_t id = 0;
            for (; at < out.len_bytes && out.ptr[at] >= '0' && out.ptr[at] <= '9'; at++)
                id = id * 10 + (out.ptr[at] - '0');
            want[line.id_count++] = id;
            at--;
        }
        out = view_after(out, at + 1);
        line.ids = want;
        encodes(t, file, row, &line, scratch);
    }
}

static tokenizer *make(const struct vocab_source *source, arena *a, const char *name)
{
    tokenizer *t = NULL;
    err e = { 0 };
    size_t before = a->used_bytes;
    CHECK(tokenizer_new(&t, source, a, &e), "%s: %s", name, e.text);
    CHECK(a->used_bytes - before <= tokenizer_arena_bytes(source), "%s: took %zu bytes, said %zu", name,
          a->used_bytes - before, tokenizer_arena_bytes(source));
    return t;
}

static void vocabulary(const char *name, bool back, arena *scratch)
{
    struct vocab_file f;
    char file[128];
    err e = { 0 };
    if (!CHECK(vocab_file_open(&f, name, &e), "%s: %s", name, e.text)) return;
    if (f.missing) {
        check_skip(name);
        arena_free(&f.arena);
        return;
    }
    const tokenizer *t = make(&f.source, &f.arena, name);
    if (t != NULL) {
        snprintf(file, sizeof file, "%s.cases.jsonl", name);
        json_rows(t, file, back, &f.arena, scratch);
        snprintf(file, sizeof file, "%s.special.jsonl", name);
        json_rows(t, file, false, &f.arena, scratch);
        inp_rows(t, name, &f.arena, scratch);
    }
    if (strcmp(name, "llama-spm") == 0) {
        f.source.add_space_prefix = TRI_NO;
        t = make(&f.source, &f.arena, name);
        if (t != NULL) json_rows(t, "llama-spm.noprefix.cases.jsonl", false, &f.arena, scratch);
    }
    arena_free(&f.arena);
}

/* gpt-2's vocabulary behind every pre-tokenizer; normalization off, as the vectors were made. */
static void variants(arena *scratch)
{
    struct vocab_file f;
    struct json_line line;
    err e = { 0 };
    if (!CHECK(vocab_file_open(&f, "gpt-2", &e), "%s", e.text)) return;
    view text = f.missing ? (view){ 0 } : reference_bytes("pre-variants.jsonl", &f.arena);
    if (text.len_bytes == 0) check_skip("pre-variants.jsonl");
    const tokenizer *t = NULL;
    f.source.normalize_nfc = TRI_NO;
    f.source.ignore_merges = TRI_NO;
    for (size_t row = 0; json_line_next(&text, &f.arena, &line); row++) {
        if (t == NULL || !view_equal(line.pre, f.source.pre)) {
            f.source.pre = line.pre;
            t = make(&f.source, &f.arena, "pre-variants");
        }
        char what[64];
        snprintf(what, sizeof what, "pre-variants %.*s", (int)line.pre.len_bytes, (const char *)line.pre.ptr);
        if (t != NULL) encodes(t, what, row, &line, scratch);
    }
    arena_free(&f.arena);
}

int main(void)
{
    /* decode(encode(x)) == x: byte-level vocabularies without normalization; falcon lacks a few control bytes. */
    static const struct { const char *name; bool back; } NAMES[] = {
        { "llama-spm", false }, { "unigram-3k", false }, { "gpt-2", true }, { "falcon", false },
        { "starcoder", true }, { "refact", true }, { "deepseek-coder", true }, { "llama-bpe", true },
        { "qwen2", false }, { "gpt-oss", true }, { "bert-bge", false },
    };
    arena scratch;
    err e = { 0 };
    if (!CHECK(arena_new(&scratch, (size_t)1 << 32, &e), "%s", e.text)) return check_done();
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) vocabulary(NAMES[i].name, NAMES[i].back, &scratch);
    variants(&scratch);
    arena_free(&scratch);
    return check_done();
}
