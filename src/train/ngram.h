/* A model of the last four tokens, as a measure: what counting alone predicts of a text. Interpolated absolute
 * discounting (Ney, Essen and Kneser, "On structuring probabilistic dependences in stochastic language modelling",
 * Computer Speech and Language 8, 1994):
 *
 *   p(w | h) = max(c(h w) - D, 0) / c(h)  +  D n(h) / c(h) * p(w | h without its first token),   D = 0.75
 *
 * n(h): how many different tokens follow h; below one token of context stands 1 / vocabulary. Only what the measured
 * texts ask for is counted: contexts that occur in them. */
#ifndef HEARTH_TRAIN_NGRAM_H
#define HEARTH_TRAIN_NGRAM_H

#include "train/shard.h"

enum { NGRAM_ORDER = 5 };

struct ngram_text {
    const int32_t *ids;
    size_t count;
    double nats; /* out: of all tokens, the first with an empty context */
};

/* Counts the shard's documents once each, then scores the texts. Takes 16 bytes for each different gram counted,
 * some hundred MB for tens of millions of tokens. Errors: ERR_MEMORY, ERR_LIMIT. */
bool ngram_measure(const struct shard *s, size_t vocab, struct ngram_text *texts, size_t count, err *e);

#endif
