/* See settings.h. */
#include "train/settings.h"

#include "base/le.h"
#include "base/limits.h"
#include "train/ops.h"

#include <sodium.h>

/* ORDER key: KEYS */
enum key {
    K_NAME, K_AUTHOR, K_LICENCE, K_WIDTH, K_LAYERS, K_HEADS, K_KV_HEADS, K_HEAD_DIM, K_FFN_WIDTH, K_EXPERTS, K_TOP_K,
    K_GATE_RANK, K_CONTEXT, K_ROPE_BASE, K_NORM_EPS, K_BALANCE, K_Z,
    K_TOKENIZER, K_VOCAB, K_PRE, K_SOURCE, K_HELD_OUT, K_HELD_OUT_SHARE, K_TASKS, K_SHARDS,
    K_ROW_TOK, K_MICRO_ROWS, K_STEP_TOK, K_STEPS, K_WARMUP, K_DECAY, K_RATE, K_BETA1, K_BETA2, K_EPS, K_WEIGHT_DECAY,
    K_MUON, K_CLIP, K_GOLDFISH, K_SEED,
    K_FOLDER, K_CHECKPOINT, K_KEEP, K_LOG, K_EVAL, K_SAMPLE, K_COUNT
};

static const struct config_key KEYS[K_COUNT] = {
    { "model", "name", CONFIG_TEXT, 0, 0, NULL, "what the model is called", NULL, false },
    { "model", "author", CONFIG_TEXT, 0, 0, "", "who made it", NULL, false },
    { "model", "licence", CONFIG_TEXT, 0, 0, "", "of the weights", NULL, false },
    { "model", "width", CONFIG_INT, 1, WIDTH_MAX, NULL, "length of the residual vector", NULL, false },
    { "model", "layers", CONFIG_INT, 1, LAYERS_MAX, NULL, "blocks", NULL, false },
    { "model", "heads", CONFIG_INT, 1, HEADS_MAX, NULL, "query heads", NULL, false },
    { "model", "kv_heads", CONFIG_INT, 1, HEADS_MAX, NULL, "key and value heads, a divisor of heads", NULL, false },
    { "model", "head_dim", CONFIG_INT, 2, HEAD_DIM_MAX, NULL, "channels of a head", NULL, false },
    { "model", "ffn_width", CONFIG_INT, 1, FFN_WIDTH_MAX, NULL, "inner width of the feed-forward, of one expert", NULL,
      false },
    { "model", "experts", CONFIG_INT, 0, EXPERTS_MAX, "0", "experts a layer; 0 is dense", NULL, false },
    { "model", "top_k", CONFIG_INT, 0, TOP_K_MAX, "0", "experts a token uses", NULL, false },
    { "model", "gate_rank", CONFIG_INT, 0, WIDTH_MAX, "0", "rank of the gate; 0 is full", NULL, false },
    { "model", "context", CONFIG_INT, 1, CTX_TOK_MAX, "1024", "positions the model is for", NULL, false },
    { "model", "rope_base", CONFIG_REAL, 2, 1e9, "10000", "base of the rotary angles", NULL, false },
    { "model", "norm_eps", CONFIG_REAL, 1e-12, 1, "1e-6", "added to the mean square in norms", NULL, false },
    { "model", "balance", CONFIG_REAL, 0, 10, "0.01", "weight of the experts' balance loss", NULL, false },
    { "model", "z", CONFIG_REAL, 0, 10, "0.001", "weight of the router's z loss", NULL, false },

    { "data", "tokenizer", CONFIG_TEXT, 0, 0, NULL, "a GGUF file whose vocabulary the model gets", NULL, false },
    { "data", "vocab", CONFIG_INT, 260, VOCAB_MAX, "8192", "tokens of a vocabulary trained on the sources", NULL,
      false },
    { "data", "pre", CONFIG_TEXT, 0, 0, "qwen2", "its pre-tokenizer", NULL, false },
    { "data", "source", CONFIG_TEXT, 0, 0, NULL, "PASSES PATH: a text, and how often a round passes it", NULL, true },
    { "data", "held_out", CONFIG_TEXT, 0, 0, NULL, "a text whose paragraphs must not be learnt", NULL, true },
    { "data", "held_out_share", CONFIG_REAL, 0, 0.5, "0.005", "of the documents, kept to measure the loss", NULL,
      false },
    { "data", "tasks", CONFIG_INT, 0, 1e9, "0", "generated documents of checkable tasks", NULL, false },
    { "data", "shards", CONFIG_TEXT, 0, 0, NULL, "folder of the tokens, written by `hearth data`", NULL, false },

    { "train", "row_tok", CONFIG_INT, 2, 1 << 16, "256", "tokens of a row: as far as attention sees", NULL, false },
    { "train", "micro_rows", CONFIG_INT, 1, 1 << 16, "8", "rows of a microbatch: what memory holds", NULL, false },
    { "train", "step_tok", CONFIG_INT, 2, 1 << 26, "16K", "tokens of a step", NULL, false },
    { "train", "steps", CONFIG_INT, 1, 1e12, NULL, "steps of the run", NULL, false },
    { "train", "warmup", CONFIG_INT, 0, 1e12, "100", "steps up to the full rate", NULL, false },
    { "train", "decay", CONFIG_INT, 0, 1e12, "0", "steps down to 0 at the end", NULL, false },
    { "train", "rate", CONFIG_REAL, 0, 1, "3e-3", "the full learning rate", NULL, false },
    { "train", "beta1", CONFIG_REAL, 0, 0.9999, "0.9", "AdamW, mean of gradients", NULL, false },
    { "train", "beta2", CONFIG_REAL, 0, 0.9999999, "0.95", "AdamW, mean of squares", NULL, false },
    { "train", "eps", CONFIG_REAL, 1e-30, 1, "1e-8", "AdamW, under the root", NULL, false },
    { "train", "weight_decay", CONFIG_REAL, 0, 10, "0.1", "of matrices, times the rate", NULL, false },
    { "train", "muon", CONFIG_REAL, 0, 0.9999, "0", "Muon's momentum, for hidden matrices; 0: AdamW for all", NULL,
      false },
    { "train", "clip", CONFIG_REAL, 0, 1e9, "1", "largest norm of a gradient; 0: any", NULL, false },
    { "train", "goldfish", CONFIG_INT, 0, 1 << 20, "0", "drop one target in so many, by hash; 0: none", NULL, false },
    { "train", "seed", CONFIG_INT, 0, 9e18, "1", "of weights and of the data's order", NULL, false },

    { "run", "folder", CONFIG_TEXT, 0, 0, NULL, "checkpoints, log, curves, model", NULL, false },
    { "run", "checkpoint", CONFIG_INT, 1, 1e9, "100", "steps between checkpoints", NULL, false },
    { "run", "keep", CONFIG_INT, 0, 1e9, "0", "steps between checkpoints that are never overwritten; 0: none", NULL,
      false },
    { "run", "log", CONFIG_INT, 1, 1e9, "10", "steps between hashes of the weights in the log", NULL, false },
    { "run", "eval", CONFIG_INT, 0, 1e9, "200", "steps between held-out losses; 0: none", NULL, false },
    { "run", "sample", CONFIG_INT, 0, 1e9, "0", "steps between samples; 0: none", NULL, false },
};

const struct config_key *settings_keys(size_t *count)
{
    *count = K_COUNT;
    return KEYS;
}

static size_t size_at(const struct config *c, enum key k)
{
    return (size_t)c->values[k]->integer;
}

static double real_at(const struct config *c, enum key k)
{
    return c->values[k]->real;
}

static struct shape read_shape(const struct config *c)
{
    return (struct shape){
        .width = size_at(c, K_WIDTH), .layers = size_at(c, K_LAYERS), .heads = size_at(c, K_HEADS),
        .kv_heads = size_at(c, K_KV_HEADS), .head_dim = size_at(c, K_HEAD_DIM), .ffn_width = size_at(c, K_FFN_WIDTH),
        .experts = size_at(c, K_EXPERTS), .top_k = size_at(c, K_TOP_K), .gate_rank = size_at(c, K_GATE_RANK),
        .ctx_tok = size_at(c, K_CONTEXT), .rope_base = real_at(c, K_ROPE_BASE), .norm_eps = real_at(c, K_NORM_EPS),
        .balance = real_at(c, K_BALANCE), .z = real_at(c, K_Z),
    };
}

static struct optimizer read_optimizer(const struct config *c)
{
    return (struct optimizer){
        .schedule = { real_at(c, K_RATE), size_at(c, K_WARMUP), size_at(c, K_STEPS), size_at(c, K_DECAY) },
        .beta1 = real_at(c, K_BETA1), .beta2 = real_at(c, K_BETA2), .eps = real_at(c, K_EPS),
        .weight_decay = real_at(c, K_WEIGHT_DECAY), .muon = real_at(c, K_MUON),
        .clip = real_at(c, K_CLIP),
    };
}

static size_t count_values(const struct config_value *v)
{
    size_t count = 0;
    for (; v != NULL; v = v->next) count++;
    return count;
}

/* "PASSES PATH" */
static bool read_source(const struct config_value *v, struct source *out, err *e)
{
    size_t blank = 0;
    while (blank < v->text.len_bytes && v->text.ptr[blank] != ' ') blank++;
    out->path = view_after(v->text, blank + 1);
    if (out->path.len_bytes > 0 && config_real((view){ v->text.ptr, blank }, &out->passes) && out->passes >= 0 &&
        out->passes <= 1000)
        return true;
    return fail(e, ERR_VALUE, ERR_NO_OFFSET, "line %u: source: %.*s, wanted PASSES PATH with 0..1000 passes", v->line,
                (int)v->text.len_bytes, (const char *)v->text.ptr);
}

static bool read_texts(const struct config *c, arena *a, struct settings *out, err *e)
{
    out->source_count = count_values(c->values[K_SOURCE]);
    out->held_out_count = count_values(c->values[K_HELD_OUT]);
    out->sources = ARENA_ARRAY(a, struct source, out->source_count, "sources", e);
    out->held_out = ARENA_ARRAY(a, view, out->held_out_count, "held-out texts", e);
    if (out->sources == NULL || out->held_out == NULL) return false;
    struct source *to = out->sources;
    for (const struct config_value *v = c->values[K_SOURCE]; v != NULL; v = v->next)
        if (!read_source(v, to++, e)) return false;
    size_t i = 0;
    for (const struct config_value *v = c->values[K_HELD_OUT]; v != NULL; v = v->next) out->held_out[i++] = v->text;
    return true;
}

/* Every value that can change a weight, name and all, in table order. What only reports stays out, and so do paths: the
 * shards' own hashes say what was learnt. So do the run's length and its decay: until the decay begins they change
 * nothing, and a checkpoint says where its own began (checkpoint.h). */
static void hash_values(const struct config *c, struct settings *out)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, SETTINGS_HASH_BYTES);
    for (size_t i = K_WIDTH; i < K_FOLDER; i++) {
        if ((i >= K_TOKENIZER && i <= K_SHARDS) || i == K_STEPS || i == K_DECAY) continue;
        uint8_t value[16];
        uint64_t bits;
        double real_value = c->values[i]->real;
        memcpy(&bits, &real_value, sizeof bits);
        le_put_u64(value, bits);
        le_put_u64(value + 8, (uint64_t)c->values[i]->integer);
        crypto_generichash_update(&state, (const uint8_t *)KEYS[i].name, strlen(KEYS[i].name) + 1);
        crypto_generichash_update(&state, value, sizeof value);
    }
    for (size_t i = 0; i < out->source_count; i++) { /* passes decide the order of the data */
        uint8_t value[8];
        uint64_t bits;
        memcpy(&bits, &out->sources[i].passes, sizeof bits);
        le_put_u64(value, bits);
        crypto_generichash_update(&state, value, sizeof value);
    }
    crypto_generichash_final(&state, out->hash, SETTINGS_HASH_BYTES);
}

static bool check_together(const struct settings *s, err *e)
{
    const struct schedule *p = &s->optimizer.schedule;
    if (s->step_tok % (s->micro_rows * s->row_tok) != 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "step_tok: %zu is not a multiple of micro_rows * row_tok, %zu",
                    s->step_tok, s->micro_rows * s->row_tok);
    if (s->row_tok > s->shape.ctx_tok)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "row_tok: %zu, the model's context is %zu", s->row_tok,
                    s->shape.ctx_tok);
    if (p->warmup + p->decay > p->steps)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "warmup %llu and decay %llu are longer than the run, %llu steps",
                    (unsigned long long)p->warmup, (unsigned long long)p->decay, (unsigned long long)p->steps);
    return true;
}

bool settings_read(view text, arena *a, struct settings *out, err *e)
{
    struct config c;
    if (!config_read(text, KEYS, K_COUNT, a, &c, e)) return false;
    *out = (struct settings){
        .shape = read_shape(&c),
        .optimizer = read_optimizer(&c),
        .name = c.values[K_NAME]->text,
        .author = c.values[K_AUTHOR]->text,
        .licence = c.values[K_LICENCE]->text,
        .tokenizer = c.values[K_TOKENIZER]->text,
        .shards = c.values[K_SHARDS]->text,
        .vocab = size_at(&c, K_VOCAB),
        .pre = c.values[K_PRE]->text,
        .held_out_share = real_at(&c, K_HELD_OUT_SHARE),
        .tasks = (uint64_t)c.values[K_TASKS]->integer,
        .row_tok = size_at(&c, K_ROW_TOK),
        .micro_rows = size_at(&c, K_MICRO_ROWS),
        .step_tok = size_at(&c, K_STEP_TOK),
        .goldfish = (uint64_t)c.values[K_GOLDFISH]->integer,
        .seed = (uint64_t)c.values[K_SEED]->integer,
        .checkpoint_steps = size_at(&c, K_CHECKPOINT),
        .keep_steps = size_at(&c, K_KEEP),
        .log_steps = size_at(&c, K_LOG),
        .eval_steps = size_at(&c, K_EVAL),
        .sample_steps = size_at(&c, K_SAMPLE),
        .folder = c.values[K_FOLDER]->text,
    };
    if (!read_texts(&c, a, out, e) || !check_together(out, e)) return false;
    hash_values(&c, out);
    return true;
}
