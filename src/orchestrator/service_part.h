/* What service.c and service_poll.c share; nobody else includes it. */
#ifndef HEARTH_ORCHESTRATOR_SERVICE_PART_H
#define HEARTH_ORCHESTRATOR_SERVICE_PART_H

#include "base/arena.h"
#include "orchestrator/service.h"

#include <pthread.h>

enum {
    SERVICE_BREAKERS_MAX = 1 << 18, /* DRY breakers kept for one ask */
    SERVICE_FIFO = 1 << 13          /* tokens that the text worker has not told yet */
};

/* ORDER: what an ask waits for. */
enum ask_state { ASK_FREE, ASK_IDS, ASK_BYTES, ASK_TABLE, ASK_MASK, ASK_RUNS, ASK_FAILED };

struct ask_choice {
    uint32_t made;        /* tokens heard from the engine */
    uint32_t told;        /* and told by the text worker */
    uint32_t cached_tok, prompt_tok;
    bool engine_ended, ended;
};

struct ask {
    uint64_t id, engine_id; /* engine_id: of the last submission; 0: none is out */
    enum ask_state state;
    enum service_kind kind;
    bool cancelled;
    uint32_t open;          /* choices that have not been told their end */
    struct hearth_request r;
    uint32_t losses;        /* engines that ended with it since its last token */
    int32_t *ids;           /* ctx_tok: the prompt, behind it what one answer made so far */
    size_t id_count;
    struct hearth_bias *biases;
    int32_t *breakers;
    struct ask_choice *choices; /* HEARTH_CHOICES_MAX */
    enum err_code code;     /* ASK_FAILED */
    char text[ERR_TEXT_BYTES];
};

/* A token, or the end of a choice, that was fed and not told yet. The text worker answers in order. */
struct fed {
    uint64_t id;
    uint32_t finish; /* enum hearth_finish; 0: a token */
    struct hearth_token token;
    struct hearth_rival rivals[HEARTH_TOP_MAX];
};

/* A thread that turns a ring's bell into an eventfd's count, or into a call. */
struct bell {
    const ring *from;
    int event_fd;
    service_heard *_Atomic heard;
    void *arg;             /* written before `heard` */
    _Atomic bool calling;
    uint32_t seen;
    bool runs;
    _Atomic bool stop;
    _Atomic uint32_t awake;
    pthread_t thread;
};

struct service {
    struct bell bells[SERVICE_PEERS];
    struct service_rings *rings;
    struct service_settings set;
    arena arena;
    struct ask *asks;
    size_t failed;        /* asks in ASK_FAILED */
    uint64_t serial, engine_serial;
    bool up[SERVICE_PEERS], broken[SERVICE_PEERS], changed; /* broken: nothing it says counts until it is replaced */
    bool heard[SERVICE_PEERS];      /* since the last service_watch */
    uint64_t watched_ms;            /* the last time service_watch looked */
    uint64_t quiet_ms[SERVICE_PEERS]; /* since when it has work and says nothing */
    struct text_facts text;
    struct hearth_facts engine;
    uint8_t *in[SERVICE_PEERS], *out;
    struct fed *fifo;     /* SERVICE_FIFO */
    size_t fifo_first, fifo_count;
    struct service_event next; /* told by the next poll; kind NONE: nothing */
    struct ask *flushed;  /* cancelled before it ran: its choices end one by one */
    uint32_t flush_choice;
    uint32_t text_bell;   /* of the text worker's ring, before it was found empty last */
    char news_text[ERR_TEXT_BYTES]; /* of the event told last */
    uint64_t kept, kept_count; /* the sequence that is saved or restored, 0: none; how many there were */
};

/* ---- service.c ---- */

struct ask *ask_find(service *s, uint64_t id);
struct ask *ask_of_engine(service *s, uint64_t engine_id);
void ask_free(service *s, struct ask *a);
void ask_fail(service *s, struct ask *a, enum err_code code, const char *text);

/* One message: the struct and its tail. False where it did not go: the ring is full or the peer is gone. */
bool service_send(service *s, enum service_peer peer, uint32_t kind, const void *message, size_t bytes,
                  const view *tail, size_t tail_count);

/* Sends an ask whose ids are there to the engine, what was made already carried on; fails it where that can not be. */
void ask_submit(service *s, struct ask *a);

#endif
