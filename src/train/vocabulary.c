/* See vocabulary.h. */
#include "train/vocabulary.h"

#include "base/file.h"
#include "format/gguf_write.h"
#include "text/train.h"
#include "train/corpus.h"

#include <stdio.h>

/* ORDER control: CONTROLS */
enum control { END_OF_TEXT, TURN_BEGIN, TURN_END, CONTROL_COUNT };
static const char *const CONTROLS[CONTROL_COUNT] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };

/* What tasks.c and text.c write by hand, as a template: tools, then turns. */
static const char TEMPLATE[] =
    "{%- if tools %}<|im_start|>system\nTools:{% for tool in tools %}\n{{ {'name': tool.function.name, 'description': "
    "tool.function.description, 'parameters': tool.function.parameters} | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

struct texts {
    view *items;
    size_t count, max, bytes;
};

/* Each record is a text of its own; its name is not part of it. */
static bool add_records(struct texts *t, view file, err *e)
{
    while (file.len_bytes > 0) {
        if (file.ptr[0] == '\f') {
            const uint8_t *line = memchr(file.ptr, '\n', file.len_bytes);
            file = view_after(file, line == NULL ? file.len_bytes : (size_t)(line + 1 - file.ptr));
            if (file.len_bytes == 0) break;
        }
        const uint8_t *next = memchr(file.ptr, '\f', file.len_bytes);
        size_t len = next == NULL ? file.len_bytes : (size_t)(next - file.ptr);
        if (t->count == t->max) return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "tokenizer: over %zu records", t->max);
        t->items[t->count++] = (view){ file.ptr, len };
        t->bytes += len;
        file = view_after(file, len);
    }
    return true;
}

static bool write_vocab(const struct settings *s, const struct vocab_source *v, arena *a, err *e)
{
    char path[PATH_BYTES];
    gguf_plan plan;
    gguf_out out;
    uint32_t first = (uint32_t)(v->token_count - CONTROL_COUNT);
    return path_join(s->tokenizer, "", path, e) && gguf_plan_new(&plan, 32, 1, a, e) &&
           gguf_set_str(&plan, "general.architecture", view_of(s->shape.experts > 0 ? "qwen3moe" : "qwen3"), e) &&
           gguf_set_str(&plan, "tokenizer.ggml.model", v->model, e) &&
           gguf_set_str(&plan, "tokenizer.ggml.pre", v->pre, e) &&
           gguf_set_strings(&plan, "tokenizer.ggml.tokens", v->texts, v->token_count, e) &&
           gguf_set_i32s(&plan, "tokenizer.ggml.token_type", v->kinds, v->token_count, e) &&
           gguf_set_strings(&plan, "tokenizer.ggml.merges", v->merges, v->merge_count, e) &&
           gguf_set_u32(&plan, "tokenizer.ggml.bos_token_id", first + END_OF_TEXT, e) &&
           gguf_set_u32(&plan, "tokenizer.ggml.eos_token_id", first + TURN_END, e) &&
           gguf_set_u32(&plan, "tokenizer.ggml.padding_token_id", first + END_OF_TEXT, e) &&
           gguf_set_bool(&plan, "tokenizer.ggml.add_bos_token", false, e) &&
           gguf_set_str(&plan, "tokenizer.chat_template", view_of(TEMPLATE), e) &&
           gguf_out_open(&out, path, &plan, e) && gguf_out_close(&out, e);
}

static bool train(const struct settings *s, const struct texts *t, team *crew, arena *a, struct vocabulary_report *out,
                  err *e)
{
    view controls[CONTROL_COUNT];
    for (size_t i = 0; i < CONTROL_COUNT; i++) controls[i] = view_of(CONTROLS[i]);
    struct vocab_train settings = { .texts = t->items, .text_count = t->count, .pre = s->pre, .token_count = s->vocab,
                                    .controls = controls, .control_count = CONTROL_COUNT, .count_min = 2 };
    struct vocab_source v;
    if (!vocab_train(&v, &settings, crew, a, e)) return false;
    if (v.token_count < s->vocab)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "tokenizer: %zu bytes of text support %zu tokens, vocab is %zu",
                    t->bytes, v.token_count, s->vocab);
    *out = (struct vocabulary_report){ v.token_count, v.merge_count, t->bytes };
    return write_vocab(s, &v, a, e);
}

bool vocabulary_make(const struct settings *s, team *t, arena *a, struct vocabulary_report *out, err *e)
{
    enum { RECORDS_MAX = 1 << 24 };
    view *files = ARENA_ARRAY(a, view, s->source_count, "texts", e);
    struct texts texts = { .items = ARENA_ARRAY(a, view, RECORDS_MAX, "records", e), .max = RECORDS_MAX };
    bool good = files != NULL && texts.items != NULL;
    for (size_t i = 0; good && i < s->source_count; i++) {
        char path[PATH_BYTES];
        good = path_join(s->sources[i].path, "", path, e) && file_map(path, &files[i], e) &&
               add_records(&texts, files[i], e);
    }
    if (good && texts.count == 0) good = fail(e, ERR_VALUE, ERR_NO_OFFSET, "tokenizer: no text to learn from");
    if (good) good = train(s, &texts, t, a, out, e);
    for (size_t i = 0; files != NULL && i < s->source_count; i++) file_unmap(&files[i]);
    return good;
}
