/* What a model that was made can do, for its card: bits a byte of texts it must not know, beside a 5-gram model of the
 * same training text; tasks of the test side; how much of its training text it says by heart. */
#ifndef HEARTH_TRAIN_MEASURE_H
#define HEARTH_TRAIN_MEASURE_H

#include "train/run.h"

struct text_measure {
    view path;
    size_t bytes, tokens;
    double bits_per_byte, ngram_bits_per_byte;
};

/* The configuration's held-out texts: windows of a row's length, half of each scored with at least the other half
 * before it. `out` has settings.held_out_count places. Errors: those of files, ERR_MEMORY. */
bool measure_texts(struct run *r, struct text_measure *out, err *e);

struct task_measure {
    const char *kind;
    size_t asked, right;         /* the whole answer, greedily */
    size_t tokens, tokens_right; /* of answers, given the right ones before */
    char miss_question[96], miss_answer[96]; /* a miss, cut to fit; "" where there is none */
};

/* `each` questions of the test side of every kind; `out` has task_kinds() places. A greedy answer is right if and only
 * if every token of the right one is the most likely after those before it, so one pass decides. */
bool measure_tasks(struct run *r, size_t each, struct task_measure *out, err *e);

struct overlap_measure {
    size_t prompts, prompt_tok, made_tok;
    size_t same_max, same_sum;  /* tokens of a continuation that equal the document's own, from its begin */
    size_t run_max;             /* the longest run of made tokens that stands anywhere in the training text */
    char run_text[512];         /* and what it reads */
};

/* Continues the begins of `prompts` training documents greedily. */
bool measure_overlap(struct run *r, size_t prompts, struct overlap_measure *out, err *e);

#endif
