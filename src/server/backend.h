/* Where asks go: the service that the orchestrator keeps (service.c), or a script in tests. One call at a time comes
 * from the server, none blocks. */
#ifndef HEARTH_SERVER_BACKEND_H
#define HEARTH_SERVER_BACKEND_H

#include "base/err.h"
#include "server/ask.h"

/* What a model is, for lists and limits. Texts live as long as the backend. */
struct model_facts {
    view name;
    view architecture;  /* "llama" */
    view format;        /* of the weights: "Q4_0" */
    view identity;      /* hash over the model, hex; may be empty */
    view chat_template; /* may be empty: then there is no chat */
    uint64_t parameters, weights_bytes, created_s;
    uint64_t ctx_tok, ctx_train_tok, width, vocab;
    bool can_chat, can_call, can_think, can_embed, can_shape;
    uint64_t plan_bytes;  /* beside the weights: caches, scratch */
    bool loaded, loading; /* in memory; on its way there */
    int64_t expires_s;    /* when it goes if nobody asks, Unix time; 0: when another needs its room */
};

struct backend {
    void *self;
    int bell_fd; /* readable where there may be events; -1: ask poll */

    /* The models, in a fixed order; *facts is valid until the next call of any of these functions. */
    size_t (*models)(void *self, const struct model_facts **facts);

    /* Hands an ask over; what it points to is copied. False: *why and e say it, nothing was taken. */
    bool (*submit)(void *self, uint64_t ticket, const struct ask *ask, enum ask_error *why, err *e);

    /* Nobody wants the answer any more. No event of that ticket comes after it. */
    void (*cancel)(void *self, uint64_t ticket);

    /* May be NULL. From now on threads of the backend call `heard` where they would have rung bell_fd, several at once;
     * NULL: bell_fd again, and no call is under way. All other calls are still one at a time. */
    void (*listen)(void *self, void (*heard)(void *arg), void *arg);

    /* The next event; its views are valid until the next call. False: there is none now. */
    bool (*poll)(void *self, struct ask_event *out);
};

#endif
