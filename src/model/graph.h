/* The one graph: tokens in, hidden states and logits out. Memory is planned when it is made; a step allocates nothing.
 * The same bits for any number of threads, any chunking of a prompt, any neighbours in the batch and any tier. */
#ifndef HEARTH_MODEL_GRAPH_H
#define HEARTH_MODEL_GRAPH_H

#include "cache/cache.h"
#include "kernels/bind.h"
#include "model/model.h"
#include "model/route.h"

struct graph_settings {
    size_t chunk_tok;      /* most tokens of one step: 1..BATCH_TOK_MAX */
    size_t logit_rows;     /* rows of logits that are held at once: 1..chunk_tok */
    size_t ctx_tok;        /* planned context: length of rope tables, choice of longrope factors */
    bool activations_f32;  /* --activations f32 */
    bool full_routing;     /* score every expert from its own row: the same bits, for comparison */
};

/* One token of a step. Tokens of one sequence stand together, in order of position, starting at seq->len_tok. */
struct step_token {
    kv_seq *seq;
    int32_t token;
    bool want_logits;
};

typedef struct graph graph;

/* What a layer with experts decided for the tokens of a step: borrowed, for the length of the call. */
struct expert_event {
    size_t layer, token_count;
    const size_t *positions;              /* token_count: each in its sequence */
    const struct choice *choices;         /* token_count x top_k, by expert */
    const struct route_tally *tallies;    /* token_count: how each was decided */
    const float *inputs;                  /* token_count x width: what the router saw */
    const uint16_t *shortlist; /* of the last token: who could still be chosen after the first look, before */
    size_t shortlist_count;               /* any row was read exactly; 0 where every row was */
};
typedef void expert_watch(void *arg, const struct expert_event *e);

/* From now on `watch` hears of every layer with experts, on the thread that called graph_step, before the experts are
 * computed. NULL: nobody. */
void graph_watch(graph *g, expert_watch *watch, void *arg);

/* Rows of inputs that are about to meet a matrix: borrowed, for the length of the call. */
struct input_event {
    const uint8_t *tiles; /* names the matrix; of experts and heads the first one's */
    size_t index;         /* of the expert or head */
    activations x;
};
typedef void input_watch(void *arg, const struct input_event *e);

/* The same of every product. */
void graph_watch_inputs(graph *g, input_watch *watch, void *arg);

/* Bytes of scratch that graph_new will take. */
size_t graph_scratch_bytes(const model *m, const struct graph_settings *s, size_t threads);

/* `m`, `k`, `t` must outlive the graph. Errors: ERR_LIMIT, ERR_MEMORY. */
bool graph_new(graph **out, const model *m, const struct kernels *k, team *t, const struct graph_settings *s, err *e);
void graph_free(graph *g); /* NULL is fine */

/* The same in a piece of the caller's arena, with no call to the system; it goes with the arena, whose owner asks for
 * huge pages. */
bool graph_new_in(graph **out, const model *m, const struct kernels *k, team *t, const struct graph_settings *s,
                  arena *a, err *e);

/* After a graph_step that failed: the token of the step whose value is not finite, SIZE_MAX where it was another error.
 */
size_t graph_bad_token(const graph *g);

/* Computes the tokens, stores their keys and values, and moves every sequence's len_tok. Errors: ERR_LIMIT (no room in
 * the cache, a token outside the vocabulary, a full context), ERR_VALUE (a value that is not finite: the text names
 * layer and position). On error no sequence has moved. */
bool graph_step(graph *g, const struct step_token *tokens, size_t count, err *e);

/* A step makes the rows of the first logit_rows tokens that asked for logits; each call of this makes those of the next
 * ones, in the same places. graph_logit_rows: how many there are now, 0 behind the last. Errors: ERR_VALUE. */
bool graph_more_logits(graph *g, err *e);
size_t graph_logit_rows(const graph *g);

/* Row i of them (in order of the tokens that asked): hyper.vocab logits, and the final hidden state after the output
 * norm, hyper.width floats. */
const float *graph_logits(const graph *g, size_t i);
const float *graph_hidden(const graph *g, size_t i);

#endif
