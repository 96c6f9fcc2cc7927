/* Vocabularies small enough to read, one of each family, for tests and fuzzing. Ids are given where tests name them. */
#ifndef HEARTH_TESTS_TEXT_TINY_VOCAB_H
#define HEARTH_TESTS_TEXT_TINY_VOCAB_H

#include "base/utf8.h"
#include "text/tokenizer.h"

#include <stdio.h>

enum { TINY_MAX = 400 };

struct tiny_vocab {
    char room[TINY_MAX][24];
    view texts[TINY_MAX], merges[TINY_MAX];
    float scores[TINY_MAX];
    int32_t kinds[TINY_MAX];
    struct vocab_source source;
};

static inline void tiny_add(struct tiny_vocab *v, const char *text, float score, enum token_kind kind)
{
    size_t id = v->source.token_count++;
    snprintf(v->room[id], sizeof v->room[id], "%s", text);
    v->texts[id] = view_of(v->room[id]);
    v->scores[id] = score;
    v->kinds[id] = (int32_t)kind;
}

static inline void tiny_begin(struct tiny_vocab *v, const char *model)
{
    v->source = vocab_source_default();
    v->source.model = view_of(model);
    v->source.texts = v->texts;
    v->source.scores = v->scores;
    v->source.kinds = v->kinds;
    v->source.merges = v->merges;
}

/* 0 <unk>, 1 <s>, 2 </s>, 3.. 256 bytes (if asked for), then pieces; "<u>" is user-defined. */
static inline void tiny_sentencepiece(struct tiny_vocab *v, const char *model, bool bytes)
{
    static const char *const PIECES[] = {
        "\xE2\x96\x81", "a", "b", "c", "ab", "abc", ("\xE2\x96\x81" "a"), "aa", "aaaa",
        "\xE2\x96\x81\xE2\x96\x81", "ca", "\xE6\x97\xA5", "\xE6\x97\xA5\xE6\x9C\xAC", "<s>a",
    };
    tiny_begin(v, model);
    tiny_add(v, "<unk>", 0, TOKEN_UNKNOWN);
    tiny_add(v, "<s>", 0, TOKEN_CONTROL);
    tiny_add(v, "</s>", 0, TOKEN_CONTROL);
    for (unsigned byte = 0; bytes && byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        tiny_add(v, text, 0, TOKEN_BYTE);
    }
    for (size_t i = 0; i < sizeof PIECES / sizeof *PIECES; i++) tiny_add(v, PIECES[i], -(float)(i % 8), TOKEN_NORMAL);
    tiny_add(v, "<u>", 0, TOKEN_USER_DEFINED);
    tiny_add(v, "a unused", 0, TOKEN_UNUSED);
    v->source.unk = 0;
    v->source.bos = 1;
    v->source.eos = 2;
}

/* 0..255 the bytes in order of code, then what the merges make; then "<|x|>" control, "<u>" and "<u>>" user-defined. */
static inline void tiny_bytes(struct tiny_vocab *v, const char *pre)
{
    static const char *const MERGES[] = { "a b", "ab c", "a a", "aa aa", "\xC4\xA0 a", "\xC4\xA0 \xC4\xA0", "c a",
                                          "b abc", "\xC3\xA6 \xC4\xB9", "< |" };
    tiny_begin(v, "gpt2");
    v->source.pre = view_of(pre);
    for (uint32_t code = 0x21; v->source.token_count < 256; code++) {
        uint8_t text[5] = { 0 };
        if (code == 0x7F) code = 0xA1;
        if (code == 0xAD) code++;
        utf8_put(code, text);
        tiny_add(v, (const char *)text, 0, TOKEN_NORMAL);
    }
    for (size_t i = 0; i < sizeof MERGES / sizeof *MERGES; i++) {
        char joined[24];
        const char *blank = strchr(MERGES[i], ' ');
        snprintf(joined, sizeof joined, "%.*s%s", (int)(blank - MERGES[i]), MERGES[i], blank + 1);
        tiny_add(v, joined, 0, TOKEN_NORMAL);
        v->merges[v->source.merge_count++] = view_of(MERGES[i]);
    }
    tiny_add(v, "<|x|>", 0, TOKEN_CONTROL);
    tiny_add(v, "<u>", 0, TOKEN_USER_DEFINED);
    tiny_add(v, "<u>>", 0, TOKEN_USER_DEFINED);
}

/* 0 [PAD], 1 [UNK], 2 [CLS], 3 [SEP], then words and parts of words. */
static inline void tiny_wordpiece(struct tiny_vocab *v)
{
    static const char *const PIECES[] = { ("\xE2\x96\x81" "a"), ("\xE2\x96\x81" "ab"), "b", "bc", "\xE2\x96\x81,",
                                          "\xE2\x96\x81\xE6\x97\xA5", ("\xE2\x96\x81" "0"), "0", "\xE2\x96\x81[" };
    tiny_begin(v, "bert");
    tiny_add(v, "[PAD]", 0, TOKEN_CONTROL);
    tiny_add(v, "[UNK]", 0, TOKEN_CONTROL);
    tiny_add(v, "[CLS]", 0, TOKEN_CONTROL);
    tiny_add(v, "[SEP]", 0, TOKEN_CONTROL);
    for (size_t i = 0; i < sizeof PIECES / sizeof *PIECES; i++) tiny_add(v, PIECES[i], 0, TOKEN_NORMAL);
    tiny_add(v, "<u>", 0, TOKEN_USER_DEFINED);
    v->source.pad = 0;
    v->source.unk = 1;
    v->source.cls = 2;
    v->source.sep = 3;
}

#endif
