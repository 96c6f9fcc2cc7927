/* The vocabulary of a file: see vocab.h. Keys: GGUF specification, "Tokenizer". */
#include "model/vocab.h"

static bool tri_key(const gguf_dir *dir, const char *key, enum tri *out, err *e)
{
    if (gguf_find(dir, key) == NULL) return true;
    bool yes = false;
    if (!gguf_bool(dir, key, GGUF_REQUIRED, &yes, e)) return false;
    *out = yes ? TRI_YES : TRI_NO;
    return true;
}

static bool flags(const gguf_dir *dir, struct vocab_source *src, err *e)
{
    const struct {
        const char *key;
        enum tri *out;
    } keys[] = {
        { "tokenizer.ggml.add_bos_token", &src->add_bos },
        { "tokenizer.ggml.add_eos_token", &src->add_eos },
        { "tokenizer.ggml.add_sep_token", &src->add_sep },
        { "tokenizer.ggml.add_space_prefix", &src->add_space_prefix },
        { "tokenizer.ggml.remove_extra_whitespaces", &src->remove_extra_whitespaces },
        { "tokenizer.ggml.escape_whitespaces", &src->escape_whitespaces },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!tri_key(dir, keys[i].key, keys[i].out, e)) return false;
    return true;
}

static bool special_ids(const gguf_dir *dir, struct vocab_source *src, err *e)
{
    const struct {
        const char *key;
        int32_t *out;
    } keys[] = {
        { "tokenizer.ggml.bos_token_id", &src->bos },
        { "tokenizer.ggml.eos_token_id", &src->eos },
        { "tokenizer.ggml.eot_token_id", &src->eot },
        { "tokenizer.ggml.eom_token_id", &src->eom },
        { "tokenizer.ggml.unknown_token_id", &src->unk },
        { "tokenizer.ggml.seperator_token_id", &src->sep }, /* the specification's own spelling */
        { "tokenizer.ggml.padding_token_id", &src->pad },
        { "tokenizer.ggml.cls_token_id", &src->cls },
        { "tokenizer.ggml.mask_token_id", &src->mask },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        /* Converters write 2^32 - 1 for "none" as they write -1. */
        int64_t id = -1;
        if (!gguf_i64(dir, keys[i].key, GGUF_OPTIONAL, -1, UINT32_MAX, &id, e)) return false;
        if (id == UINT32_MAX) id = -1;
        if (id >= (int64_t)src->token_count)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: %lld, the vocabulary has 0..%zu", keys[i].key, (long long)id,
                        src->token_count - 1);
        *keys[i].out = (int32_t)id;
    }
    return true;
}

/* Texts, scores, kinds and merges, as arrays in `scratch`. */
static bool arrays(const gguf_dir *dir, struct vocab_source *src, const gguf_pair *tokens, arena *scratch, err *e)
{
    const gguf_pair *scores = NULL, *kinds = NULL, *merges = NULL, *charsmap = NULL;
    size_t n = src->token_count = tokens->count;
    view *texts, *merge_texts;
    if (!gguf_array(dir, "tokenizer.ggml.scores", GGUF_OPTIONAL, GGUF_ITEMS_FLOAT, n, n, &scores, e) ||
        !gguf_array(dir, "tokenizer.ggml.token_type", GGUF_OPTIONAL, GGUF_ITEMS_INT, n, n, &kinds, e) ||
        !gguf_array(dir, "tokenizer.ggml.merges", GGUF_OPTIONAL, GGUF_ITEMS_STRING, 0, MERGES_MAX, &merges, e) ||
        !gguf_array(dir, "tokenizer.ggml.precompiled_charsmap", GGUF_OPTIONAL, GGUF_ITEMS_INT, 0, CHARSMAP_BYTES_MAX,
                    &charsmap, e) ||
        !gguf_strings(tokens, scratch, &texts, e))
        return false;
    src->texts = texts;
    if (scores != NULL) {
        float *out = ARENA_ARRAY(scratch, float, n, "vocabulary scores", e);
        if (out == NULL || !gguf_items_f32(scores, out, e)) return false;
        src->scores = out;
    }
    if (kinds != NULL) {
        int32_t *out = ARENA_ARRAY(scratch, int32_t, n, "token kinds", e);
        if (out == NULL || !gguf_items_i32(kinds, TOKEN_NORMAL, TOKEN_BYTE, out, e)) return false;
        src->kinds = out;
    }
    if (merges != NULL) {
        if (!gguf_strings(merges, scratch, &merge_texts, e)) return false;
        src->merges = merge_texts;
        src->merge_count = merges->count;
    }
    if (charsmap != NULL) {
        if (charsmap->item_type != GGUF_U8 && charsmap->item_type != GGUF_I8)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET,
                        "tokenizer.ggml.precompiled_charsmap: an array of %s, must be bytes",
                        gguf_type_name(charsmap->item_type));
        src->charsmap = charsmap->bytes;
    }
    return true;
}

bool vocab_of_file(const gguf_dir *dir, struct vocab_source *out, bool *there, arena *a, err *e)
{
    const gguf_pair *tokens = NULL;
    *out = vocab_source_default();
    if (!gguf_array(dir, "tokenizer.ggml.tokens", GGUF_OPTIONAL, GGUF_ITEMS_STRING, 1, VOCAB_MAX, &tokens, e))
        return false;
    *there = tokens != NULL;
    return tokens == NULL || (gguf_str(dir, "tokenizer.ggml.model", GGUF_REQUIRED, &out->model, e) &&
                              gguf_str(dir, "tokenizer.ggml.pre", GGUF_OPTIONAL, &out->pre, e) &&
                              arrays(dir, out, tokens, a, e) && special_ids(dir, out, e) && flags(dir, out, e));
}

/* ---- images ---- */

struct image_vocab vocab_to_image(const struct vocab_source *s)
{
    const int32_t ids[IMAGE_IDS] = { s->bos, s->eos, s->eot, s->eom, s->unk, s->sep, s->pad, s->cls, s->mask };
    const enum tri questions[IMAGE_QUESTIONS] = { s->add_bos,
                                                  s->add_eos,
                                                  s->add_sep,
                                                  s->add_space_prefix,
                                                  s->remove_extra_whitespaces,
                                                  s->escape_whitespaces,
                                                  s->lowercase,
                                                  s->normalize_nfc,
                                                  s->ignore_merges };
    struct image_vocab v = { .model = s->model,
                             .pre = s->pre,
                             .token_count = s->token_count,
                             .texts = s->texts,
                             .scores = s->scores,
                             .kinds = s->kinds,
                             .merge_count = s->merge_count,
                             .merges = s->merges,
                             .charsmap = s->charsmap };
    memcpy(v.ids, ids, sizeof ids);
    for (size_t i = 0; i < IMAGE_QUESTIONS; i++) v.questions[i] = (int8_t)questions[i];
    return v;
}

struct vocab_source vocab_of_image(const struct image_vocab *v)
{
    const int32_t *id = v->ids;
    enum tri q[IMAGE_QUESTIONS];
    for (size_t i = 0; i < IMAGE_QUESTIONS; i++) q[i] = (enum tri)v->questions[i];
    return (struct vocab_source){ .model = v->model,
                                  .pre = v->pre,
                                  .token_count = v->token_count,
                                  .texts = v->texts,
                                  .scores = v->scores,
                                  .kinds = v->kinds,
                                  .merge_count = v->merge_count,
                                  .merges = v->merges,
                                  .charsmap = v->charsmap,
                                  .bos = id[0],
                                  .eos = id[1],
                                  .eot = id[2],
                                  .eom = id[3],
                                  .unk = id[4],
                                  .sep = id[5],
                                  .pad = id[6],
                                  .cls = id[7],
                                  .mask = id[8],
                                  .add_bos = q[0],
                                  .add_eos = q[1],
                                  .add_sep = q[2],
                                  .add_space_prefix = q[3],
                                  .remove_extra_whitespaces = q[4],
                                  .escape_whitespaces = q[5],
                                  .lowercase = q[6],
                                  .normalize_nfc = q[7],
                                  .ignore_merges = q[8] };
}

bool model_ends(const model *m, int32_t token)
{
    return m->tokenizer != NULL && tokenizer_is_eog(m->tokenizer, token);
}
