/* The joins of a vocabulary: what a file says of one (format/), what an image holds of one (image/), and the tokenizer
 * that is built from it (text/). */
#ifndef HEARTH_MODEL_VOCAB_H
#define HEARTH_MODEL_VOCAB_H

#include "image/image.h"
#include "model/model.h"

/* A file's vocabulary, as views into the file and arrays from `a`. A file without tokenizer.ggml.tokens has none:
 * *there is false, which is no error. Errors: keys with a wrong type, ids out of range. */
bool vocab_of_file(const gguf_dir *dir, struct vocab_source *out, bool *there, arena *a, err *e);

/* The same facts under the image's names, borrowed. ORDER image_vocab.ids, .questions: the members of vocab_source */
struct image_vocab vocab_to_image(const struct vocab_source *src);
struct vocab_source vocab_of_image(const struct image_vocab *v);

#endif
