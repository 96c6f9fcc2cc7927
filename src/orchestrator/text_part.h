/* What text_worker.c and text_reply.c share; nobody else includes it. */
#ifndef HEARTH_ORCHESTRATOR_TEXT_PART_H
#define HEARTH_ORCHESTRATOR_TEXT_PART_H

#include "engine/held.h"
#include "model/model.h"
#include "orchestrator/text.h"
#include "orchestrator/turns.h"
#include "orchestrator/worker.h"
#include "template/reply.h"

enum {
    TEXT_REPLIES = 1024, /* choices that are being told at once */
    TEXT_TALKS = 64      /* conversations whose ids are remembered */
};

/* One choice of one answer, while it is made. */
struct reply {
    uint64_t id; /* 0: free */
    uint32_t choice;
    uint32_t fed;
    arena arena;          /* everything below; a piece of the worker's */
    struct held held;
    decoder decoder;
    reply_parser *parser; /* NULL: everything is content */
    struct talked *talk;  /* that remembers what is made; NULL: none */
    struct text_worker *w;
};

/* A conversation whose ids are remembered. */
struct talked {
    uint64_t tenant, talk; /* talk 0: free */
    uint64_t used, reply;  /* reply: the id of the answer that adds to it */
    struct turns turns;
    bool ready; /* turns has its memory */
};

struct text_worker {
    struct text_job *job;
    view head;             /* of the image */
    arena own, model_arena, scratch, messages, replies_arena, talks_arena;
    model m;
    struct renderer renderer;
    bool has_template;
    struct reply_setup setup; /* of every reply; tools and reasoning differ */
    uint8_t *in, *out;        /* one message each way */
    size_t out_bytes;
    struct reply *replies;
    struct talked *talks;
    uint64_t uses;
};

/* ---- text_worker.c ---- */

/* One event: the struct, then what else belongs to it. */
void text_send(struct text_worker *w, uint32_t kind, const void *event, size_t event_bytes, const view *tail,
               size_t tail_count);
void text_error(struct text_worker *w, uint64_t id, const err *why);

/* ---- text_reply.c ---- */

struct reply_begin {
    uint64_t id;
    uint32_t n;
    int32_t before;       /* the id behind which it begins; -1: none */
    const view *stops;
    size_t stop_count;
    bool templated;       /* calls and reasoning are told apart */
    bool in_reasoning;
    view tools;           /* JSON; empty: none */
    struct talked *talk;
};

/* Opens n choices; all or none. Errors: ERR_LIMIT, ERR_MEMORY, ERR_VALUE (tools that are none). */
bool reply_open(struct text_worker *w, const struct reply_begin *b, err *e);

/* Tokens of a choice, answered by one TEXT_FED; one that is not open any more has ended. */
void reply_take(struct text_worker *w, const struct hearth_head *head, const uint8_t *ids, size_t count,
                uint32_t finish);

void reply_close(struct text_worker *w, uint64_t id, uint32_t choice);

#endif
