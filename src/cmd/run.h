/* hearth run: what its one-shot and its chat share. */
#ifndef HEARTH_CMD_RUN_H
#define HEARTH_CMD_RUN_H

#include "cmd/answer.h"
#include "cmd/talk.h"

struct run_options {
    bool raw, json, stats, special, think, no_think, no_jail;
    size_t made, logprobs;
    const char *prompt, *file, *system, *template_file, *messages, *tools, *policy, *schema, *grammar;
    const char *session, *session_key;
    struct expert_options experts;
};

/* A model that is ready to answer. */
struct running {
    struct served o;
    struct talk talk;
    struct hearing hearing;
    bool templated;         /* talk is open: the model's chat template is used */
    const struct run_options *set;
    struct service_ask ask; /* what every answer has in common: drawing, stop texts; the seed is in it */
    int32_t *ids;           /* of the conversation so far: raw text is carried on behind them */
    size_t id_count;
    size_t made;    /* tokens of one answer at most; 0: up to the context */
    int interrupts; /* a descriptor that becomes readable with Ctrl-C; -1: Ctrl-C ends the program */
};

/* Who listens to an answer; both may be NULL. */
struct listener {
    hearing_show *show;
    answer_stopped *stopped;
    void *arg;
};

/* Answers what `text` adds: a message of the user or a tool where there is a template, else more text to carry on. The
 * conversation holds the answer afterwards. Takes from o.arena, which the caller rewinds; *out lives until the next
 * answer. */
bool run_turn(struct running *r, enum talk_role role, view text, const struct listener *listener, struct answer *out,
              err *e);

/* Answers the conversation as it stands: its last message is the user's. */
bool run_answer(struct running *r, const struct listener *listener, struct answer *out, err *e);

/* Lines from the terminal, answers to it, until end of input. */
bool chat(struct running *r, err *e);

#endif
