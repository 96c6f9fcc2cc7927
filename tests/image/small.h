/* A small image with everything in it: a vocabulary, a template, tensors of every kind, two layers of which one has
 * experts. Used by the tests of this folder and by fuzz/image.c. */
#ifndef HEARTH_TESTS_IMAGE_SMALL_H
#define HEARTH_TESTS_IMAGE_SMALL_H

#include "image/image.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_TOKENS = 5, SMALL_MERGES = 2, SMALL_TENSORS = 15, SMALL_FILE_BYTES = 1 << 16 };

struct small {
    uint8_t file[SMALL_FILE_BYTES]; /* what every tensor is read from */
    view texts[SMALL_TOKENS], merges[SMALL_MERGES];
    float scores[SMALL_TOKENS];
    int32_t kinds[SMALL_TOKENS];
    struct image_vocab vocab;
    struct image_tensor_source tensors[SMALL_TENSORS];
    struct image_source source;
};

static inline uint64_t small_real(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline void small_fields(uint64_t f[static IMAGE_FIELDS])
{
    static const struct {
        enum image_field at;
        uint64_t value;
    } counts[] = {
        { IMAGE_LAYERS, 2 },          { IMAGE_WIDTH, 64 },     { IMAGE_VOCAB, 20 },         { IMAGE_FFN_WIDTH, 96 },
        { IMAGE_HEADS, 4 },           { IMAGE_KV_HEADS, 2 },   { IMAGE_KEY_DIM, 16 },       { IMAGE_VALUE_DIM, 16 },
        { IMAGE_CTX_TOK, 128 },       { IMAGE_ROPE_DIMS, 16 }, { IMAGE_ROPE_CTX_TOK, 128 }, { IMAGE_LOCAL_DIMS, 16 },
        { IMAGE_LOCAL_CTX_TOK, 128 }, { IMAGE_EXPERTS, 3 },    { IMAGE_TOP_K, 2 },          { IMAGE_EXPERT_FFN, 32 },
        { IMAGE_DENSE_LAYERS, 1 },    { IMAGE_GROUPS, 1 },     { IMAGE_GROUPS_USED, 1 },
    };
    static const enum image_field ones[] = {
        IMAGE_ROPE_FACTOR,     IMAGE_ROPE_BETA_FAST,  IMAGE_ROPE_BETA_SLOW,  IMAGE_ROPE_MAGNITUDE,
        IMAGE_LOCAL_FACTOR,    IMAGE_LOCAL_BETA_FAST, IMAGE_LOCAL_BETA_SLOW, IMAGE_LOCAL_MAGNITUDE,
        IMAGE_ATTENTION_SCALE, IMAGE_EMBEDDING_SCALE, IMAGE_RESIDUAL_SCALE,  IMAGE_LOGIT_DIVISOR,
        IMAGE_EXPERT_SCALE,
    };
    memset(f, 0, IMAGE_FIELDS * sizeof *f); /* 0 is also the bits of 0.0 */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) f[counts[i].at] = counts[i].value;
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) f[ones[i]] = small_real(1);
    f[IMAGE_EPS] = small_real(0x1p-17);
    f[IMAGE_ROPE_BASE] = f[IMAGE_LOCAL_BASE] = small_real(10000);
}

/* Bytes without a NaN or an infinity in any type: no byte has all of the exponent's upper bits. */
static inline void small_fill(struct small *s)
{
    for (size_t i = 0; i < SMALL_FILE_BYTES; i++) s->file[i] = (uint8_t)((i * 37 + i / 251) & 0x3F);
}

static inline void small_make(struct small *s)
{
    static const char *const texts[SMALL_TOKENS] = { "<unk>", "a", "b", "ab", "\xC3\xA9" };
    memset(s, 0, sizeof *s);
    small_fill(s);
    for (size_t i = 0; i < SMALL_TOKENS; i++) {
        s->texts[i] = view_of(texts[i]);
        s->scores[i] = -(float)i;
        s->kinds[i] = i == 0 ? 2 : 1;
    }
    s->merges[0] = view_of("a b");
    s->merges[1] = view_of("ab a");
    s->vocab = (struct image_vocab){ .model = view_of("llama"),
                                     .pre = view_of("default"),
                                     .token_count = SMALL_TOKENS,
                                     .texts = s->texts,
                                     .scores = s->scores,
                                     .kinds = s->kinds,
                                     .merge_count = SMALL_MERGES,
                                     .merges = s->merges,
                                     .charsmap = view_of("map") };
    for (size_t i = 0; i < IMAGE_IDS; i++) s->vocab.ids[i] = (int32_t)(i % 6) - 1;
    for (size_t i = 0; i < IMAGE_QUESTIONS; i++) s->vocab.questions[i] = (int8_t)((int)(i % 3) - 1);
    const struct image_tensor_source tensors[SMALL_TENSORS] = {
        { IMAGE_MATRIX, 0, IMAGE_OUTSIDE, WEIGHT_Q8_0, 1, 20, 64, s->file, view_of("embedding"), 0, { 0 }, 0 },
        { IMAGE_ROWS, 2, IMAGE_OUTSIDE, WEIGHT_F16, 1, 1, 64, s->file + 40, view_of("norm"), 0, { 0 }, 0 },
        { IMAGE_MATRIX, 1, 0, WEIGHT_Q4_0, 1, 33, 64, s->file + 100, view_of("q"), 3, { 0 }, 0 },
        { IMAGE_STACK, 10, 0, WEIGHT_F32, 4, 5, 7, s->file + 1000, view_of("heads"), 0, { 0 }, 0 },
        { IMAGE_ROWS, 12, 0, WEIGHT_F32, 1, 3, 5, s->file + 2000, view_of("router"), 0, { 0 }, 0 },
        { IMAGE_MATRIX, 1, 1, WEIGHT_Q5_0, 1, 16, 32, s->file + 3000, view_of("q1"), 0, { 0 }, 0 },
        { IMAGE_EXPERT, 33, 1, WEIGHT_Q4_1, 3, 32, 64, s->file + 4000, view_of("gates"), 0, { 0 }, 0 },
        { IMAGE_EXPERT, 34, 1, WEIGHT_Q4_1, 3, 32, 64, s->file + 9000, view_of("ups"), 0, { 0 }, 0 },
        { IMAGE_EXPERT, 35, 1, WEIGHT_MXFP4, 3, 64, 32, s->file + 14000, view_of("downs"), 0, { 0 }, 0 },
        { IMAGE_ROWS, 40, 1, WEIGHT_F32, 1, 3, 70, s->file + 20000, view_of("router"), 0, { 0 }, 0 },
        { IMAGE_ROUTE, 41, 1, WEIGHT_F32, 1, 3, 70, NULL, view_of("its planes"), 0, { 0 }, 0 },
        { IMAGE_ROUTE, 42, 1, WEIGHT_F32, 1, 3, 70, NULL, view_of("its factor"), 0, { 0 }, 0 },
        { IMAGE_ROWS, 43, 1, WEIGHT_BF16, 1, 4, 66, s->file + 21000, view_of("a bf16 router"), 0, { 0 }, 0 },
        { IMAGE_ROUTE, 44, 1, WEIGHT_F32, 1, 4, 66, NULL, view_of("its rows"), 0, { 0 }, 0 },
        { IMAGE_ROUTE, 45, 1, WEIGHT_F32, 1, 4, 66, NULL, view_of("its plane and rows"), 0, { 0 }, 0 },
    };
    const struct {
        size_t at, router;
        struct route_shape shape;
    } routes[] = { { 10, 9, { ROUTE_PLANES, 3, 70, 1 } },
                   { 11, 9, { ROUTE_FACTOR, 3, 70, 2 } },
                   { 13, 12, { ROUTE_BF16, 4, 66, 1 } },
                   { 14, 12, { ROUTE_PLANES_BF16, 4, 66, 1 } } };
    memcpy(s->tensors, tensors, sizeof tensors);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        s->tensors[routes[i].at].router = routes[i].router;
        s->tensors[routes[i].at].route = routes[i].shape;
    }
    s->source = (struct image_source){ .arch = view_of("llama"),
                                       .vocab = &s->vocab,
                                       .chat_template = view_of("{{ messages }}"),
                                       .tensors = s->tensors,
                                       .tensor_count = SMALL_TENSORS };
    small_fields(s->source.fields);
}

/* A toy hash of 32 bytes that sees every byte and its place: enough to show what is hashed, and nothing else. */
struct small_state {
    uint64_t at, lanes[4];
};
static inline void small_begin(void *state)
{
    *(struct small_state *)state = (struct small_state){ 1, { 2, 3, 5, 7 } };
}
static inline void small_add(void *state, const void *bytes, size_t len_bytes)
{
    struct small_state *s = state;
    const uint8_t *p = bytes;
    for (size_t i = 0; i < len_bytes; i++, s->at++) {
        uint64_t *lane = &s->lanes[s->at % 4];
        *lane = (*lane ^ p[i] ^ s->at << 8) * 0x9E3779B97F4A7C15;
        *lane ^= *lane >> 29;
    }
}
static inline void small_end(void *state, uint8_t out[static IMAGE_HASH_BYTES])
{
    struct small_state *s = state;
    memcpy(out, s->lanes, IMAGE_HASH_BYTES);
    out[0] |= 1; /* never all zeros, which would say "not computed" */
}
static const struct image_hasher SMALL_HASHER = { small_begin, small_add, small_end };

/* Memory aligned as a map is and exactly as long, so that a sanitizer sees one byte too far. The caller frees it. */
static inline uint8_t *small_room(size_t len_bytes)
{
    void *out = NULL;
    if (posix_memalign(&out, 4096, len_bytes == 0 ? 1 : len_bytes) != 0) abort();
    return out;
}

/* The image in memory that is exactly as long; the caller frees it. NULL where it can not be made. */
static inline uint8_t *small_pack(const struct small *s, const struct image_hasher *hasher, team *t, arena *a,
                                  size_t *len_bytes, err *e)
{
    struct image_layout layout;
    if (!image_plan(&s->source, &layout, a, e)) return NULL;
    uint8_t *out = small_room(layout.bytes);
    memset(out, 0, layout.bytes);
    *len_bytes = layout.bytes;
    if (image_write(&s->source, &layout, out, t, hasher, NULL, NULL, e)) return out;
    free(out);
    return NULL;
}

#endif
