/* orchestrator/ makes processes of the program: who starts, holds which descriptors and rings, lives in which jail, is
 * started again when it ends; and the messages between them. It decides by policy and never parses what a stranger
 * wrote: models, templates, messages and grammars are read in the jails it starts, HTTP in the front door.
 *
 *            policy                     rings, one way each
 *   orchestrator ---- starts ----> packer (one shot), text worker, engine; front door
 *   client (front door, or `hearth run` itself) <====> text worker    text.h
 *                                               <====> engine         include/hearth.h
 *
 * Files: service.h here is the client's side, one for all commands and the server; text.h and include/hearth.h the
 * messages; text_worker.c and engine_worker.c what answers them; crew.h the processes of one model, fleet.h the models
 * of a server; acceptor.h who is at a Unix socket; policy.h the file.
 *
 * A service joins one text worker and one engine and hides who does what: it is asked for an answer, and tells what
 * becomes of it as events. It makes no system call but futex's wake, allocates when it is made, and believes neither
 * peer: an event out of range makes the peer broken, the orchestrator is told and ends it. When a peer was started
 * again, an answer that had only its engine taken away goes on with the same bits; others end with SERVICE_ERROR.
 * An answer is never shorter in silence. Threads: one at a time. */
#ifndef HEARTH_ORCHESTRATOR_SERVICE_H
#define HEARTH_ORCHESTRATOR_SERVICE_H

#include "base/ring.h"
#include "base/view.h"
#include "orchestrator/text.h"

enum {
    SERVICE_ASKS_MAX = 4096, /* asked and not ended: more are refused, the server answers 503 */
    SERVICE_PEERS = 2
};

/* ORDER service_peer */
enum service_peer { SERVICE_TEXT, SERVICE_ENGINE };

/* The ends of the rings that a client holds: to and from each peer. And two with the orchestrator. */
struct service_rings {
    ring to[SERVICE_PEERS], from[SERVICE_PEERS];
    ring notices; /* to the orchestrator: enum service_notice */
    ring news;    /* from it: enum service_news */
};

/* Each with 4 bytes: enum service_peer, or 0. */
enum service_notice {
    SERVICE_PEER_BROKEN = 1, /* it sent nonsense: end it and start another */
    SERVICE_PEER_SILENT = 2, /* it has work and says nothing: look whether it computes */
    SERVICE_WANTED = 3,      /* somebody asks for the model: load it */
    SERVICE_UNWANTED = 4     /* nobody asks for it: let it go */
};

/* Each with a struct service_news_message. That a model is there is told by its own processes too. */
enum service_news {
    SERVICE_LOADED = 1,  /* its engine's plan fits: it stays until it is let go */
    SERVICE_NO_ROOM = 2, /* beside what is loaded there is no room for it; text has the numbers. Let another go first */
    SERVICE_REFUSED = 3, /* it can not be loaded: text */
    SERVICE_GONE = 4     /* it is in memory no more */
};
struct service_news_message {
    uint32_t code; /* enum err_code of SERVICE_REFUSED */
    char text[ERR_TEXT_BYTES];
};

typedef struct service service;
typedef void service_heard(void *arg);

struct service_settings {
    uint32_t asks;    /* at once: 1..SERVICE_ASKS_MAX */
    uint32_t ctx_tok; /* ids kept for each, so that an answer can go on behind a new engine */
    uint32_t silent_ms; /* see service_watch; 0: SERVICE_SILENT_MS (base/limits.h) */
};

/* Takes all memory there will be. `rings` belong to the caller, outlive the service, and are taken (ring_take) or
 * attached already. Errors: ERR_LIMIT, ERR_MEMORY. */
bool service_new(service **out, struct service_rings *rings, const struct service_settings *set, err *e);
void service_free(service *s); /* its bells' threads end first; NULL is fine */

/* Facts of both peers, once both have told them; false before, and while one of them is being started again. A server
 * is healthy while this is true. Either may be NULL. */
bool service_ready(const service *s, const struct text_facts **text, const struct hearth_facts **engine);

/* Asks the orchestrator to load the model, or to let it go; what becomes of it comes as SERVICE_EVENT_NEWS and
 * SERVICE_EVENT_CHANGED. False where the ring is full: later. */
bool service_want(service *s, bool wanted);

/* Tells the service the time, as it reads no clock: now and then, from the client's loop. A peer that was asked for
 * something and has said nothing for silent_ms is told to the orchestrator, and again after as long. */
void service_watch(service *s, uint64_t now_ms);

/* ---- asking ---- */

enum service_kind {
    SERVICE_CHAT,     /* messages through the template; the answer comes as content, reasoning, calls */
    SERVICE_PLAIN,    /* text is carried on, as content */
    SERVICE_IDS,      /* ids are carried on, as content */
    SERVICE_EMBED,    /* text, or ids, as one vector: `embed` says which pooling */
    SERVICE_COUNT,    /* messages or text as ids: SERVICE_EVENT_IDS, nothing is computed */
    SERVICE_SHOW,     /* messages as the template prints them: SERVICE_EVENT_BYTES */
    SERVICE_PIECES,   /* ids as text: SERVICE_EVENT_BYTES */
    SERVICE_COMPILE   /* a grammar becomes a table in the engine: SERVICE_EVENT_MASK; mask_drop lets it go */
};

/* What is asked. Everything is copied before service_ask returns. All zeros but `kind` and what it reads is a greedy
 * answer as long as the context allows. */
struct service_ask {
    enum service_kind kind;
    uint64_t tenant, talk;    /* see text_render, hearth_request */
    view messages, tools, variables; /* JSON; tools and variables may be empty. CHAT, COUNT, SHOW */
    view text;                /* PLAIN, EMBED, COUNT; COMPILE: the source */
    const int32_t *ids;       /* IDS, EMBED, PIECES; PLAIN: ids before the text */
    size_t id_count;
    int64_t clock_s;
    uint32_t render_flags, plain_flags; /* enum text_render_flag, text_plain_flag */
    struct hearth_sampling sampling;
    const struct hearth_bias *biases;
    size_t bias_count;
    const int32_t *breakers;
    size_t breaker_count;
    const view *stops;
    size_t stop_count;
    uint32_t max_tok, n, logprobs, top_count, weight; /* n, weight: 0 reads as 1 */
    uint64_t mask;            /* of a SERVICE_EVENT_MASK, or 0 */
    uint32_t embed;           /* enum hearth_want */
    uint32_t grammar, grammar_flags, in_reasoning; /* COMPILE: see text_compile */
};

/* Takes an ask; *id is its number, never 0 and never used again. Errors: ERR_LIMIT (over a limit above, or a ring is
 * full: try later), ERR_STATE (a peer is being started again), ERR_VALUE. What a peer refuses is SERVICE_ERROR. */
bool service_ask(service *s, const struct service_ask *ask, uint64_t *id, err *e);

/* Nothing more is computed for it, within one token or chunk. SERVICE_EVENT_FINISHED with HEARTH_CANCELLED follows for
 * each choice that has not ended; an id that nobody knows is fine. */
void service_cancel(service *s, uint64_t id);

/* Lets a compiled table go. */
void service_mask_drop(service *s, uint64_t mask);

/* Sequences of the engine, saved and restored (include/hearth.h, HEARTH_KV ..), one at a time. service_keep gives a
 * number for the next one; service_kept sends one message with that head.id, and false where the ring is full: hear
 * events and try again. The engine being started again ends it without a word: service_ready tells. */
uint64_t service_keep(service *s);
bool service_kept(service *s, uint32_t kind, view message, view tail, view more);

/* ---- hearing ---- */

enum service_event_kind {
    SERVICE_EVENT_NONE,
    SERVICE_EVENT_IDS,       /* ids: of the prompt. Of each CHAT and PLAIN the first event */
    SERVICE_EVENT_PROGRESS,  /* progress: the prompt is being computed */
    SERVICE_EVENT_TOKEN,     /* token, rivals: behind the text that it made final */
    SERVICE_EVENT_DELTA,     /* part, call, name, call_id, text */
    SERVICE_EVENT_FINISHED,  /* finish, usage: the last of its choice */
    SERVICE_EVENT_ERROR,     /* code, text: the last of its ask */
    SERVICE_EVENT_EMBEDDING, /* values; FINISHED follows */
    SERVICE_EVENT_BYTES,     /* text, lengths: the last of its ask */
    SERVICE_EVENT_MASK,      /* mask: the last of its ask */
    SERVICE_EVENT_KEPT,      /* kept_kind ..: of what service_kept sent; SERVICE_EVENT_ERROR with its id: refused */
    SERVICE_EVENT_CHANGED,   /* id 0: service_ready has changed */
    SERVICE_EVENT_DIFFERS,   /* differs: of the prompt and what the engine keeps */
    SERVICE_EVENT_NEWS,      /* id 0: news, code, text: of the orchestrator */
    SERVICE_EVENT_EXPERTS    /* id 0: experts and their arrays; only where the engine was asked to tell */
};

/* How an answer ended, in the order of service_finish_name. */
enum service_finish {
    SERVICE_END,       /* the model ended it */
    SERVICE_STOP,      /* a stop text */
    SERVICE_LENGTH,    /* max_tok */
    SERVICE_CONTEXT,   /* the context is full */
    SERVICE_CANCELLED,
    SERVICE_DONE       /* an embedding */
};

struct service_event {
    enum service_event_kind kind;
    uint64_t id;
    uint32_t choice;
    const int32_t *ids;
    size_t id_count;
    uint32_t in_reasoning;
    struct hearth_progress progress;
    struct hearth_differs differs;
    struct hearth_token token;
    const struct hearth_rival *rivals;  /* token.top_count */
    enum text_part part;
    uint32_t call;
    view name, call_id, text;
    const uint32_t *lengths;            /* of the tokens that `text` joins */
    size_t length_count;
    uint32_t kept_kind;                 /* enum hearth_event_kind: HEARTH_KV_OPEN kept_tok, kept_bytes; HEARTH_KV_PIECE
                                           kept_at, text; HEARTH_KV_DONE */
    uint64_t kept_tok, kept_bytes, kept_at;
    enum service_finish finish;
    uint32_t stop;                      /* SERVICE_STOP: which stop text */
    uint32_t prompt_tok, cached_tok, made_tok; /* tokens behind the one that completed a stop text are not counted */
    const float *values;
    size_t value_count;
    uint64_t mask;
    struct hearth_experts experts;
    const uint32_t *positions;          /* experts.count_tok */
    const uint16_t *chosen;             /* experts.count_tok * experts.top_k, each below the facts' experts */
    enum err_code code;                 /* text has the line */
    uint32_t news;                      /* enum service_news */
};

/* The next event; pointers in it hold until the next call on this service. False where there is none: sleep on the
 * bells, or on what service_bells rings. */
bool service_poll(service *s, struct service_event *out);

const char *service_finish_name(enum service_finish f); /* "stop", "stop", "length", "length", "cancelled", "done" */

/* ---- waiting ---- */

/* A moment for the text worker, before the client sleeps: where it has been fed tokens it answers within microseconds,
 * and two threads of this process would have to be woken for it. True: service_poll has something. */
bool service_linger(const service *s);

/* For a client that sleeps in epoll or poll: one thread for each ring from a peer sleeps on its bell and adds 1 to the
 * eventfd when it rings. Called once, before the jail closes; the threads sleep in futex and make no call but futex and
 * write. The client reads the eventfd, then polls until there is nothing. Errors: ERR_MEMORY. */
bool service_bells(service *s, int event_fd, err *e);

/* From now on those threads call `heard` themselves instead of adding to the eventfd: one waking less on the way of a
 * token. It may be called by several at once, and polls under the client's own lock. NULL: the eventfd again; when this
 * returns no call is under way. */
void service_call(service *s, service_heard *heard, void *arg);

#endif
