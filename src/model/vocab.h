/* The join of a file's vocabulary (format/) and the tokenizer (text/). */
#ifndef HEARTH_MODEL_VOCAB_H
#define HEARTH_MODEL_VOCAB_H

#include "model/model.h"

/* Builds m->tokenizer and m->chat_template from m->files. A file without tokenizer.ggml.tokens has none:
 * m->tokenizer stays NULL, which is no error. Errors: those of tokenizer_new, and of keys with a wrong type. */
bool vocab_load(model *m, err *e);

#endif
