/* What engine.c and the files beside it share; nobody else includes it. */
#ifndef HEARTH_ENGINE_ENGINE_PART_H
#define HEARTH_ENGINE_ENGINE_PART_H

#include "engine/engine.h"
#include "grammar/grammar.h"
#include "model/graph.h"
#include "model/sample.h"
#include "model/usage.h"

/* A request that waits or runs. Its lists lie in rooms of their largest size, taken once. */
struct asked {
    struct hearth_request r; /* head.id 0: free */
    struct sample_settings sample;
    uint64_t order;          /* of arrival */
    int32_t *ids;            /* ctx_tok */
    int32_t *stops;          /* HEARTH_STOP_TOKENS_MAX */
    struct logit_bias *biases;
    int32_t *breakers;       /* vocab */
    uint32_t next_choice;    /* the first that no sequence has taken yet */
    uint64_t ended;          /* a bit for each choice that was told its end */
};

/* One sequence's place. `of` NULL: idle, its tokens and pages wait for a request that begins as they do. */
struct sequence {
    kv_seq kv;
    int32_t *tokens;
    size_t count;          /* kv.len_tok of them are computed */
    struct asked *of;
    uint32_t choice;
    size_t begin;          /* of the answer */
    size_t cached;         /* tokens that were computed before */
    size_t reserved;       /* blocks its longest end needs */
    uint64_t tenant, used; /* used: the order of its last request, for letting go of the oldest */
    size_t row;            /* of the step's logits, SIZE_MAX: none */
    size_t rows_first;     /* EMBED: position of the step's first row */
    double *sum;           /* EMBED: width */
    int32_t drawn;
    float logprob;
    struct token_logprob *rivals; /* HEARTH_TOP_MAX */
    grammar_state *form;          /* where the answer stands in its mask's table; NULL: no room for masks was planned */
    bool masked, stuck;           /* stuck: nothing may be drawn */
    uint64_t stream;              /* it is being saved or restored by this id: nobody else's until it is closed */
    bool restoring;
    size_t stream_bytes, stream_tok;
    size_t stream_came;            /* restoring: bytes that were written, each piece counted */
    uint8_t stream_head[HEARTH_KV_HEAD_BYTES]; /* restoring: proven against the plan */
};

struct engine {
    const model *m;
    const struct kernels *k;
    team *team;
    struct hearth_settings set; /* as planned: nothing is 0 that has a default */
    kv_pool pool;
    graph *graph;
    sampler **samplers; /* one a thread */
    struct sequence *sequences;
    struct sequence **order; /* running ones, oldest first */
    size_t running;
    struct asked *asked;
    size_t asked_max;
    uint64_t arrivals;
    size_t reserved; /* blocks of all running sequences */
    size_t logit_rows;
    struct step_token *step;
    struct sequence **step_of; /* whose token each one is */
    struct sequence **drawing; /* whose last token was computed in this step */
    size_t drawing_count;
    float *values;             /* width: an embedding */
    struct masks *masks;       /* NULL: none were planned */
    struct usage_seen seen;    /* chunk_tok tokens, and the event they become; where set.experts asks for it */
    uint8_t *told;
    struct piece_event *piece; /* of a saved sequence, on its way out */
    engine_emit *emit;
    void *arg;
};

/* ---- request.c ---- */

/* Reads a HEARTH_SUBMIT into `out`, whose rooms are there. False where it is no message; else *why is a request's error
 * or ERR_NONE. */
bool request_read(const engine *en, view message, struct asked *out, err *why, err *e);

/* ---- sequences.c ---- */

/* Gives the oldest waiting choice a sequence and pages; false where none waits or fits. */
bool sequence_admit(engine *en);

/* Neither computed nor saved nor restored: its place and its pages may be taken. */
static inline bool sequence_idle(const struct sequence *s)
{
    return s->of == NULL && s->stream == 0;
}

/* An idle sequence forgets everything. */
void sequence_let_go(struct sequence *s);

/* The idle sequence that nobody used for longest; NULL where there is none. */
struct sequence *sequence_oldest(const engine *en);

/* Blocks that no running sequence was promised; and lets idle ones go until `want` are free, `spared` the last. */
size_t sequence_free_blocks(const engine *en);
void sequence_make_room(engine *en, size_t want, const struct sequence *place, struct sequence *spared);

/* Its request is over for it: it becomes idle and keeps its pages. */
void sequence_release(engine *en, struct sequence *s);

/* ---- draw.c ---- */

void emit_finished(engine *en, struct asked *q, uint32_t choice, enum hearth_finish finish, size_t cached, size_t made);
void emit_error(engine *en, uint64_t id, const err *why);
void emit_progress(engine *en, const struct sequence *s);
void emit_differs(engine *en, const struct asked *q, uint32_t choice, const struct sequence *kept, size_t at);
void emit_loaded(engine *en, size_t plan_bytes);
void emit_experts(void *en, const struct expert_event *event); /* an expert_watch */
size_t experts_event_bytes(size_t tokens, size_t top_k);

/* Draws the next token of every sequence in en->drawing, on all threads, and tells what came of it. */
void draw_all(engine *en);

/* ---- keep.c ---- */

bool keep_new(engine *en, arena *a, err *e);
/* One of the HEARTH_KV messages; false where it is none. */
bool keep_take(engine *en, uint32_t kind, view message, err *e);
/* Closes what is open of a tenant and forgets it. */
void keep_forget(engine *en, uint64_t tenant);

/* ---- masks.c ---- */
size_t masks_bytes(const model *m, size_t threads, const struct hearth_settings *set);
bool masks_new(engine *en, arena *a, err *e);
bool masks_has(const engine *en, uint64_t id, uint64_t tenant);
/* HEARTH_MASK_LOAD, of at least a struct hearth_mask; false where it is no message. */
bool masks_load(engine *en, view message, err *e);
void masks_drop(engine *en, uint64_t id);
/* The begin of a choice, behind what is carried on. False: it can not be made whole. */
bool masks_start(engine *en, struct sequence *s, err *why);
/* What may be drawn now, in words that hold until the thread's next draw; NULL: everything. */
const uint64_t *masks_fill(const engine *en, struct sequence *s, size_t thread);
/* s->drawn was drawn, and is not in s->count yet. True where the answer is whole and nothing can follow. */
bool masks_accept(engine *en, struct sequence *s);

/* The end of a sequence's answer. */
void sequence_finish(engine *en, struct sequence *s, enum hearth_finish finish);

/* Adds the step's hidden states to an embedding's sum; at its end tells it. */
void embed_rows(engine *en, struct sequence *s, size_t rows);

#endif
