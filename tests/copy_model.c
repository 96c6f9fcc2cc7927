/* Writes a model made by hand that looks up what it has read: given three tokens it says the token that stood behind
 * them when they came last together. What trained models learn as induction heads, in two layers and plain sight; for
 * tests that need a model which surely finds what a cache holds.
 *
 *   copy_model OUT.gguf [CONTEXT]
 *
 *   residual   now 64 | before 64 | two before 64 | three before 64 | answer 64 | one 1      a token is 64 signs
 *   layer 0    heads 0..2 look 1, 2, 3 tokens back: rope alone decides, queries and keys are the `one`; values are
 *              `now`, and become the three slots behind it
 *   layer 1    head 0: the query is now, before and two before, each in an order of its own, in channels that rope
 *              leaves alone; the key is before, two before and three before in the same orders; the value is `now`,
 *              and becomes the answer
 *   output     the answer's signs against every token's
 *
 * Tokens are the 256 bytes, behind <unk>, <s>, </s>. */
#include "base/le.h"
#include "base/prng.h"
#include "format/gguf_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIGNS = 64, SLOTS = 5, ONE = SLOTS * SIGNS, WIDTH = 352, HEADS = 3, HEAD = 128, TURNED = 64, FFN = 32,
       VOCAB = 259, LAYERS = 2, BACK = 3 };
enum { NOW = 0, ANSWER = 4 }; /* slots; 1..3: so many tokens before */

/* Sizes: how sharply layer 0 prefers its distance, layer 1 a whole match over two tokens of three. */
static const float ROPE_BASE = 4.0f, ONE_SIZE = 8.0f, LOOK = 6.0f, MATCH = 5.0f, GAIN = 1.0f;

static float matrix[HEADS * HEAD][HEADS * HEAD]; /* the largest of all */

static void want(bool good, const err *e)
{
    if (good) return;
    fprintf(stderr, "copy_model: %s\n", e->text);
    exit(1);
}

static float sign_of(size_t token, size_t i)
{
    return (prng_u32(1, token, i) & 1) != 0 ? 1.0f : -1.0f;
}

/* Where sign i of a token that is `back` tokens away from the looked-up one goes: an order of its own. */
static size_t place_of(size_t back, size_t i)
{
    static const size_t steps[BACK] = { 1, 27, 45 }; /* odd: a permutation of 64 */
    return (i * steps[back] + 13 * back) % SIGNS;
}

static void fill_look(bool queries)
{
    for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < TURNED / 2; i++) {
            double turn = queries ? (double)(h + 1) * pow((double)ROPE_BASE, -2.0 * (double)i / TURNED) : 0.0;
            matrix[h * HEAD + 2 * i][ONE] = LOOK / ONE_SIZE * (float)cos(turn);
            matrix[h * HEAD + 2 * i + 1][ONE] = -LOOK / ONE_SIZE * (float)sin(turn);
        }
}

static void fill_match(bool queries)
{
    for (size_t back = 0; back < BACK; back++)
        for (size_t i = 0; i < SIGNS; i++)
            matrix[TURNED + place_of(back, i)][(back + (queries ? 0 : 1)) * SIGNS + i] = queries ? MATCH : 1.0f;
}

/* What the tensor holds; all else is 0. */
static void fill(const char *name)
{
    memset(matrix, 0, sizeof matrix);
    bool second = strncmp(name, "blk.1.", 6) == 0;
    const char *what = strncmp(name, "blk.", 4) == 0 ? name + 6 : name;
    size_t heads = second ? 1 : HEADS;
    if (strstr(what, "norm") != NULL)
        for (size_t i = 0; i < WIDTH; i++) matrix[0][i] = 1.0f;
    for (size_t t = 0; t < VOCAB && strcmp(what, "token_embd.weight") == 0; t++) {
        for (size_t i = 0; i < SIGNS; i++) matrix[t][NOW * SIGNS + i] = sign_of(t, i);
        matrix[t][ONE] = ONE_SIZE;
    }
    for (size_t t = 0; t < VOCAB && strcmp(what, "output.weight") == 0; t++)
        for (size_t i = 0; i < SIGNS; i++) matrix[t][ANSWER * SIGNS + i] = GAIN * sign_of(t, i);
    bool queries = strcmp(what, "attn_q.weight") == 0;
    if (queries || strcmp(what, "attn_k.weight") == 0) {
        if (second) fill_match(queries);
        else fill_look(queries);
    }
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < SIGNS; i++) {
            if (strcmp(what, "attn_v.weight") == 0) matrix[h * HEAD + i][NOW * SIGNS + i] = 1.0f;
            if (strcmp(what, "attn_output.weight") == 0)
                matrix[(second ? ANSWER : h + 1) * SIGNS + i][h * HEAD + i] = 1.0f;
        }
}

/* ---- the file ---- */

static void set_keys(gguf_plan *plan, uint32_t context, err *e)
{
    static const struct {
        const char *name;
        uint32_t value;
    } rows[] = { { "llama.block_count", LAYERS }, { "llama.embedding_length", WIDTH },
                 { "llama.feed_forward_length", FFN }, { "llama.attention.head_count", HEADS },
                 { "llama.attention.head_count_kv", HEADS }, { "llama.attention.key_length", HEAD },
                 { "llama.attention.value_length", HEAD }, { "llama.rope.dimension_count", TURNED },
                 { "tokenizer.ggml.bos_token_id", 1 }, { "tokenizer.ggml.eos_token_id", 2 } };
    static char room[VOCAB][8];
    static view texts[VOCAB];
    static float scores[VOCAB];
    static int32_t kinds[VOCAB];
    static const char *const first[] = { "<unk>", "<s>", "</s>" };
    for (size_t i = 0; i < VOCAB; i++) {
        if (i < 3) snprintf(room[i], sizeof room[i], "%s", first[i]);
        else snprintf(room[i], sizeof room[i], "<0x%02X>", (unsigned)(i - 3) & 255u);
        texts[i] = view_of(room[i]);
        kinds[i] = i == 0 ? 2 : i < 3 ? 3 : 6;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) want(gguf_set_u32(plan, rows[i].name, rows[i].value, e), e);
    want(gguf_set_str(plan, "general.architecture", view_of("llama"), e) &&
             gguf_set_u32(plan, "llama.context_length", context, e) &&
             gguf_set_f32(plan, "llama.attention.layer_norm_rms_epsilon", 1e-6f, e) &&
             gguf_set_f32(plan, "llama.rope.freq_base", ROPE_BASE, e) &&
             gguf_set_str(plan, "tokenizer.ggml.model", view_of("llama"), e) &&
             gguf_set_strings(plan, "tokenizer.ggml.tokens", texts, VOCAB, e) &&
             gguf_set_f32s(plan, "tokenizer.ggml.scores", scores, VOCAB, e) &&
             gguf_set_i32s(plan, "tokenizer.ggml.token_type", kinds, VOCAB, e),
         e);
}

enum { NAMES_MAX = 24 };

static void add(gguf_plan *plan, char names[NAMES_MAX][40], const char *name, size_t rows, size_t cols, err *e)
{
    size_t dims[2] = { cols, rows };
    char *kept = names[plan->tensor_count];
    snprintf(kept, sizeof names[0], "%s", name);
    want(gguf_plan_tensor(plan, view_of(kept), 0, dims, rows == 0 ? 1 : 2, e), e);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        size_t rows, cols;
    } layer[] = { { "attn_norm", 0, WIDTH }, { "attn_q", HEADS * HEAD, WIDTH }, { "attn_k", HEADS * HEAD, WIDTH },
                  { "attn_v", HEADS * HEAD, WIDTH }, { "attn_output", WIDTH, HEADS * HEAD }, { "ffn_norm", 0, WIDTH },
                  { "ffn_gate", FFN, WIDTH }, { "ffn_up", FFN, WIDTH }, { "ffn_down", WIDTH, FFN } };
    static char names[NAMES_MAX][40];
    static gguf_out out;
    static uint8_t room[4 * HEADS * HEAD];
    arena a;
    gguf_plan plan;
    err e = { 0 };
    if (argc < 2) {
        fprintf(stderr, "usage: copy_model OUT.gguf [CONTEXT]\n");
        return 2;
    }
    want(arena_new(&a, (size_t)1 << 24, &e) && gguf_plan_new(&plan, 32, NAMES_MAX, &a, &e), &e);
    set_keys(&plan, argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 65536, &e);
    add(&plan, names, "token_embd.weight", VOCAB, WIDTH, &e);
    for (size_t l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
            char name[40];
            snprintf(name, sizeof name, "blk.%zu.%s.weight", l, layer[i].name);
            add(&plan, names, name, layer[i].rows, layer[i].cols, &e);
        }
    add(&plan, names, "output_norm.weight", 0, WIDTH, &e);
    add(&plan, names, "output.weight", VOCAB, WIDTH, &e);
    want(gguf_out_open(&out, argv[1], &plan, &e), &e);
    for (size_t t = 0; t < plan.tensor_count; t++) {
        const gguf_tensor *tensor = &plan.tensors[t];
        fill(names[t]);
        for (size_t row = 0; row < (tensor->dim_count == 1 ? 1 : tensor->dims[1]); row++) {
            for (size_t i = 0; i < tensor->dims[0]; i++) le_put_f32(room + 4 * i, matrix[row][i]);
            want(gguf_out_put(&out, (view){ room, 4 * tensor->dims[0] }, &e), &e);
        }
    }
    want(gguf_out_close(&out, &e), &e);
    return 0;
}
