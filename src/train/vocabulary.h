/* The vocabulary of a model that is made: byte-level BPE trained on the configuration's texts, three control tokens,
 * the chat template that tasks and conversations are rendered with; written as a GGUF file without tensors. */
#ifndef HEARTH_TRAIN_VOCABULARY_H
#define HEARTH_TRAIN_VOCABULARY_H

#include "base/team.h"
#include "train/settings.h"

struct vocabulary_report {
    size_t tokens, merges, bytes; /* bytes of text it was trained on */
};

/* Errors: those of files and vocab_train, and ERR_VALUE where the texts support no vocabulary of this size. */
bool vocabulary_make(const struct settings *s, team *t, arena *a, struct vocabulary_report *out, err *e);

#endif
