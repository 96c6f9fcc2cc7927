/* hearth run: what its one-shot and its chat share. */
#ifndef HEARTH_CMD_RUN_H
#define HEARTH_CMD_RUN_H

#include "cmd/answer.h"
#include "cmd/open.h"

struct run_options {
    bool raw, json, stats, special;
    size_t made, logprobs;
    const char *prompt, *file;
};

/* A model that is ready to answer. */
struct running {
    struct opened o;
    session *s;
    const struct run_options *set;
    uint64_t seed;
    int interrupts; /* a descriptor that becomes readable with Ctrl-C; -1: Ctrl-C ends the program */
};

/* Lines from the terminal, answers to it, until end of input. */
bool chat(struct running *r, err *e);

#endif
