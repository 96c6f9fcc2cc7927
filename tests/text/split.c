/* text/split.h: pieces of short texts made of what pre-tokenizers quarrel about (case, marks, scripts, blanks, signs),
 * against tests/golden/split.jsonl, where "ids" are the pieces' lengths in bytes as the authors' expressions cut them,
 * run by Python's regex 2026.5 (flag V1, which reads nested classes). $HEARTH_SPLIT_ROWS names another file of rows. */
#include "text/split.h"

#include "vocab_file.h"

static void row(const struct json_line *line, size_t number, arena *scratch)
{
    const struct splitter_name *name = splitter_find(line->pre);
    uint32_t ascii[128];
    struct split_text words;
    err e = { 0 };
    if (!CHECK(name != NULL, "row %zu: pre \"%.*s\"", number, (int)line->pre.len_bytes, (const char *)line->pre.ptr))
        return;
    split_ascii(name->splitter, ascii);
    CHECK(split_run(name->splitter, ascii, line->text, &words, scratch, &e), "%s", e.text);
    size_t pieces = 0, wrong = SIZE_MAX;
    for (size_t begin = 0, end; begin < words.count; begin = end, pieces++) {
        end = begin + 1;
        while (end < words.count && (words.flags[end] & SPLIT_PIECE) == 0) end++;
        size_t len = words.at[end] - words.at[begin];
        if (wrong == SIZE_MAX && (pieces >= line->id_count || len != (size_t)line->ids[pieces])) wrong = pieces;
    }
    CHECK(pieces == line->id_count && wrong == SIZE_MAX,
          "row %zu, %s: \"%.*s\": %zu pieces, wanted %zu; first wrong %zu", number, name->name,
          (int)line->text.len_bytes, (const char *)line->text.ptr, pieces, line->id_count, wrong);
    arena_rewind(scratch, 0);
}

int main(void)
{
    arena a, scratch;
    view text;
    err e = { 0 };
    const char *path = getenv("HEARTH_SPLIT_ROWS");
    if (!CHECK(arena_new(&a, 1 << 28, &e) && arena_new(&scratch, 1 << 24, &e), "%s", e.text)) return check_done();
    if (CHECK(file_read(path != NULL ? path : "tests/golden/split.jsonl", 1 << 27, &a, &text, &e), "%s", e.text)) {
        struct json_line line;
        size_t mark = a.used_bytes;
        for (size_t i = 1; json_line_next(&text, &a, &line); i++) {
            row(&line, i, &scratch);
            arena_rewind(&a, mark);
        }
    }
    CHECK(splitter_find((view){ 0 }) == splitter_find(view_of("default")), "an empty name is the default");
    CHECK(splitter_find(view_of("no-such")) == NULL, "an unknown name is none");
    arena_free(&a);
    arena_free(&scratch);
    return check_done();
}
