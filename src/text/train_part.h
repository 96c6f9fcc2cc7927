/* What the two halves of training share: the distinct words of a text and how often each occurs. */
#ifndef HEARTH_TEXT_TRAIN_PART_H
#define HEARTH_TEXT_TRAIN_PART_H

#include "text/train.h"

struct word_count {
    view text;
    uint64_t hash, count;
};

/* A set of words; grows by doubling inside an arena of its own. */
struct word_set {
    arena arena;
    struct word_count *words;
    size_t count, max;
    uint32_t *slots; /* index + 1; open addressing, at most half full */
    size_t mask;
};

/* Counts the words of all texts. On success the caller frees words->arena. (train_words.c) */
bool train_count_words(struct word_set *words, const struct vocab_train *settings, struct team *crew, err *e);

#endif
