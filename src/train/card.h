/* The card of a model: what it is, what it was made of and how to make it again, and what it can do, measured. */
#ifndef HEARTH_TRAIN_CARD_H
#define HEARTH_TRAIN_CARD_H

#include "train/run.h"

/* Writes the card of the weights of this moment as Markdown: shape, texts, tasks and what it knows by heart
 * (measure.h), configuration, manifest of sources, log. Takes minutes. Errors: those of measuring and of files. */
bool card_write(struct run *r, const char *path, err *e);

#endif
