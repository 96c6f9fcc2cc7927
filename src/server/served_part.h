/* What the files of the backend share; nobody else includes it. served.c is asked and tells, served_steps.c puts an ask
 * into the service's words, served_models.c knows which models are there. */
#ifndef HEARTH_SERVER_SERVED_PART_H
#define HEARTH_SERVER_SERVED_PART_H

#include "server/served.h"

enum {
    TABLE_ROWS = 2 * ASKS_MAX,     /* of by_id: never more than half full */
    SCRATCH_BYTES = 1 << 27,       /* addresses: variables of a template, copies of names */
    HEX_BYTES = 65,
    PIECES_A_TIME = 1 << 16        /* ids of one PIECES ask: their text stays under the largest message */
};

enum step { STEP_FREE, STEP_WAITS, STEP_COMPILE, STEP_PIECES, STEP_ASKED, STEP_DONE, STEP_REFUSED };

enum place { MODEL_DOWN, MODEL_WANTED, MODEL_UP, MODEL_LEAVING };

#define NO_MODEL UINT32_MAX

/* One ask, from submit to its last event. */
struct record {
    enum step step;
    uint64_t ticket, id, mask;
    uint32_t model, left;      /* choices that have not ended */
    uint32_t share;            /* of its principal: index + 1 in shares; 0: it takes no place in an engine */
    uint32_t places;           /* that it takes now */
    enum ask_kind kind;
    uint32_t next_row;         /* of by_id's chain, 1-based; 0 ends it */
    struct ask *kept;          /* a copy of all it points to, while steps come before it */
    float *vector;
    size_t vector_count;
    view stops[STOPS_MAX];     /* of `kept_stops`: told which one ended it */
    uint8_t *kept_stops;
    size_t stop_count;
};

/* What one principal has inside one model. */
struct share {
    uint64_t principal;
    uint32_t model, inside, records; /* records that name it: none frees it */
};

/* The vocabulary's texts, once somebody wanted log-probabilities. */
struct pieces {
    uint8_t *bytes;
    uint32_t *ends;            /* end of token i */
    size_t have, byte_count;
};

struct one {
    service *svc;
    const struct served_setting *set;
    struct model_facts facts;
    struct pieces pieces;
    char identity[HEX_BYTES], architecture[32];
    bool ready;                /* both workers have told their facts */
    enum place place;
    bool counted;              /* the orchestrator has seen its plan: it stays */
    bool no_room;              /* it was wished for and did not fit beside the others */
    uint64_t held_for;         /* the wish's ticket for which all that wait here were found held back */
    uint64_t used_ms, keep_ms; /* when its last ask ended; how long it stays then */
    uint32_t asks;             /* records of it */
    uint32_t inside, waiting;  /* places taken in the engine; asks that wait for one */
    enum ask_error refused;    /* of records in STEP_REFUSED, with the text */
    char refusal[ERR_TEXT_BYTES];
};

struct served {
    struct one *models;
    struct model_facts *facts;
    size_t count, at;
    int bell_fd;
    int64_t zone_s;
    void (*log)(void *arg, view line);
    void *log_arg;
    arena scratch;
    struct record *records;    /* ASKS_MAX, by ticket modulo that */
    uint32_t *by_id;           /* heads of chains: record + 1, 0 for none */
    struct share *shares;      /* ASKS_MAX */
    uint32_t share_count;
    uint32_t told;             /* records in STEP_DONE and STEP_REFUSED */
    uint32_t wish;             /* the model that is waited for; NO_MODEL */
    uint64_t wish_ticket;      /* of its oldest ask */
    uint64_t now_ms;
    struct ask_token tokens[HEARTH_TOP_MAX + 1];
    uint8_t held_text[STOP_BYTES_MAX]; /* of an event whose record is gone */
};

/* ---- served.c ---- */

/* The service's number for what is asked next, so that its events find the record; and none any more. */
void record_chain(served *s, struct record *r, uint64_t id);
void record_unchain(served *s, struct record *r);

void record_leave(served *s, struct record *r); /* its places in the engine are free */

/* ---- served_steps.c ---- */

bool steps_need_mask(const struct ask *ask);

/* The next step of an ask: what comes before it, then the ask itself. */
bool steps_go_on(served *s, struct record *r, const struct ask *ask, err *e);

/* A copy of an ask with all it points to, for free(); NULL: no memory. And of its stop texts alone. */
struct ask *steps_keep(const struct ask *ask);
bool steps_keep_stops(struct record *r, const struct ask *ask);

/* ---- served_models.c ---- */

size_t models_list(void *self, const struct model_facts **facts); /* backend.models */
void models_facts(struct one *m);              /* as its service tells them now */
void models_came(served *s, uint32_t model);   /* its workers or its place may be there now */
void models_news(served *s, uint32_t model, const struct service_event *event);
void models_tend(served *s);                   /* wishes, and who has stayed long enough */

#endif
