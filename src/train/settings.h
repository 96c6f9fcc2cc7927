/* One configuration file says everything about a model that is made: its shape, its data, its training. The same file,
 * data and seed give the same weights, so its hash is part of every checkpoint, log and model. `hearth train --help
 * config` prints the table in settings.c. */
#ifndef HEARTH_TRAIN_SETTINGS_H
#define HEARTH_TRAIN_SETTINGS_H

#include "base/config.h"
#include "train/step.h"

enum { SETTINGS_HASH_BYTES = 32 };

/* A text to learn from: how often it is passed in one round through the data, and where it is. */
struct source {
    double passes;
    view path;
};

struct settings {
    struct shape shape;          /* vocab is 0 until the tokenizer is known */
    struct optimizer optimizer;
    view name, author, licence;
    /* data */
    view tokenizer, shards;      /* a GGUF file with a vocabulary; the folder that `hearth data` writes */
    view pre;                    /* pre-tokenizer and size of a vocabulary that `hearth tokenizer train` makes */
    size_t vocab;
    struct source *sources;
    size_t source_count;
    view *held_out;              /* files whose paragraphs must not be learnt */
    size_t held_out_count;
    double held_out_share;       /* of the sources' documents, by hash */
    uint64_t tasks;              /* generated documents */
    /* training */
    size_t row_tok, micro_rows, step_tok;
    uint64_t goldfish;           /* one target in so many carries no loss, by a hash of what precedes; 0: off */
    uint64_t seed;
    uint64_t checkpoint_steps, keep_steps, log_steps, eval_steps, sample_steps;
    view folder;                 /* checkpoints, log, curves, the finished model */
    uint8_t hash[SETTINGS_HASH_BYTES]; /* of the values, not of the file's bytes: comments do not change a model */
};

/* Reads a configuration. Everything is in `a`, which `text` must not outlive. Errors: config_read's, and ERR_VALUE
 * where values do not go together (step_tok no multiple of micro_rows * row_tok, warm-up and decay longer than the
 * run). */
bool settings_read(view text, arena *a, struct settings *out, err *e);

/* The keys, for help. */
const struct config_key *settings_keys(size_t *count);

/* Microbatches of one step. */
static inline size_t settings_micro(const struct settings *s)
{
    return s->step_tok / (s->micro_rows * s->row_tok);
}

#endif
