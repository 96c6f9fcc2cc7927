/* Texts and lists of ids as commands take them: see open.h. */
#include "cmd/open.h"

#include "base/file.h"
#include "base/limits.h"

bool text_read(const char *path, arena *a, view *out, err *e)
{
    return file_read(path, TEXT_BYTES_MAX, a, out, e);
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* The next word, or an empty view at the end. */
static view next_word(view text, size_t *at)
{
    while (*at < text.len_bytes && is_blank(text.ptr[*at])) ++*at;
    size_t begin = *at;
    while (*at < text.len_bytes && !is_blank(text.ptr[*at])) ++*at;
    return (view){ text.ptr + begin, *at - begin };
}

bool ids_parse(view text, size_t vocab, arena *a, int32_t **out, size_t *count, err *e)
{
    size_t words = 0, at = 0;
    while (next_word(text, &at).len_bytes > 0) words++;
    int32_t *ids = ARENA_ARRAY(a, int32_t, words, "token ids", e);
    if (ids == NULL) return false;
    at = 0;
    for (size_t i = 0; i < words; i++) {
        uint64_t id;
        view word = next_word(text, &at);
        if (!text_u64(word, &id) || id >= vocab)
            return fail(e, ERR_VALUE, at - word.len_bytes, "token id %zu: %.*s, allowed 0..%zu", i + 1,
                        (int)(word.len_bytes < 40 ? word.len_bytes : 40), (const char *)word.ptr, vocab - 1);
        ids[i] = (int32_t)id;
    }
    *out = ids;
    *count = words;
    return true;
}

bool ids_of_text(const tokenizer *t, view text, bool special, arena *a, int32_t **out, size_t *count, err *e)
{
    if (text.len_bytes > TEXT_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "text: %zu bytes, allowed 0..%d", text.len_bytes, TEXT_BYTES_MAX);
    arena scratch = { 0 };
    size_t room = tokenizer_ids_max(t, text.len_bytes);
    *out = ARENA_ARRAY(a, int32_t, room, "token ids", e);
    bool good = *out != NULL && arena_new(&scratch, tokenizer_scratch_bytes(t, text.len_bytes), e) &&
                tokenizer_encode(t, text, special, *out, room, count, &scratch, e);
    arena_free(&scratch);
    return good;
}

bool ids_of_prompt(const tokenizer *t, view text, bool special, arena *a, int32_t **out, size_t *count, err *e)
{
    int32_t *ids;
    if (!ids_of_text(t, text, special, a, &ids, count, e)) return false;
    const struct tokenizer_facts *facts = tokenizer_facts(t);
    bool add = facts->add_bos && facts->bos >= 0 && (*count == 0 || ids[0] != facts->bos);
    *out = ids;
    if (!add) return true;
    *out = ARENA_ARRAY(a, int32_t, *count + 1, "token ids", e);
    if (*out == NULL) return false;
    (*out)[0] = facts->bos;
    memcpy(*out + 1, ids, *count * sizeof *ids);
    ++*count;
    return true;
}
