/* What graph.c and the files beside it share; nobody else includes it. */
#ifndef HEARTH_MODEL_GRAPH_PART_H
#define HEARTH_MODEL_GRAPH_PART_H

#include "model/graph.h"
#include "model/rope.h"

#include <stdatomic.h>

enum {
    BLOCK_TOK = 24,   /* tokens of one sequence that share a reading of the keys */
    SPLIT_TOK = 8,    /* up to so many tokens a step, spans of one head go to different threads, */
    SLICE_ROWS = 48,  /* and so many rows of a block at a time, where heads share much: latent attention */
    PRODUCTS_MAX = 3, /* products that share an input: q, k, v */
    INPUTS_MAX = 4,   /* matrices that ask for one input, in whatever stage */
    FORMS = 3,        /* ORDER activation_form */
    EXPERT_TILES = 4,     /* tiles of one expert's matrix that one task computes, */
    EXPERT_TILES_FEW = 8, /* and with few tokens, up to */
    EXPERTS_FEW_TOK = 4   /* so many */
};

/* Matrices that are multiplied with one input, in one stage. */
struct product_list {
    const matrix *w[PRODUCTS_MAX];
    size_t count;
};

/* The tasks of a stage that one thread takes first: products.c. */
struct stretch {
    _Alignas(64) _Atomic size_t next;
    size_t end;
};

/* A stretch of a step's tokens: one sequence, positions in a row. */
struct block {
    size_t first, count; /* tokens of the step */
    size_t pos;          /* of the first */
    kv_seq *seq;
    const kv_step *step; /* the stretch it belongs to */
    size_t spans;        /* spans that its last position can see; log tiers: of packed pages, and one of exact ones */
};

/* What a step of a layer with experts works in; pairs are chunk_tok * top_k rows at most. */
struct expert_scratch {
    struct route_scratch *routes; /* one a thread */
    uint8_t *route_rooms;
    struct route_tally *tallies; /* chunk_tok */
    _Atomic uint32_t *rests;     /* layers: decisions for which bounds are left out, because they did not pay */
    struct choice *choices;  /* chunk_tok x top_k, by expert */
    size_t *pair_token, pairs;
    size_t *first_pair;      /* experts + 1 */
    size_t *active, active_count; /* experts that have pairs */
    _Atomic uint32_t *done;       /* of each active one: tasks of a stage that are over */
    float *in, *gate, *up, *out;  /* rows of pairs */
    float *shared_out;            /* chunk_tok rows */
    void *in_room[FORMS], *mid_room[FORMS];
    activations in_form[FORMS], mid_form[FORMS];
};

/* What latent attention works in; rows of heads are head-major: row h * tokens + t. */
struct latent_scratch {
    float *q_low, *q_full, *kv;  /* chunk_tok rows of q_rank, heads * (nope + rope), key_dim */
    float *nope, *result, *out;  /* heads x chunk_tok rows of nope_dim, kv_rank; chunk_tok rows of heads * value_dim */
    void *low_room[FORMS], *nope_room[FORMS], *result_room[FORMS];
    activations low_form[FORMS], nope_form[FORMS], result_form[FORMS];
};

struct graph {
    const model *m;
    const struct kernels *k;
    team *team;
    struct graph_settings set;
    arena arena;
    rope_table rope, rope_local;
    float *x, *normed, *q, *key, *value, *attended, *block_out, *gate, *up; /* chunk_tok rows each */
    float *hidden, *logits;                                                /* logit_rows rows */
    void *room[FORMS];           /* of the activations below */
    activations input[FORMS];    /* the current product's input, in the forms that its weights ask for */
    struct expert_scratch experts; /* experts.c's own */
    struct latent_scratch latent;  /* latent.c's own */
    struct attention_row *rows;  /* threads x rows_max */
    float *parts, *span_parts;   /* threads x 2 x rows_max; SPLIT_TOK x heads x spans_max */
    size_t rows_max, part_floats, spans_max;
    struct block *blocks;
    size_t block_count;
    kv_step *steps;              /* one for each stretch of the step's tokens */
    size_t step_count;
    float *pack_room;            /* threads x LOG_PACK_FLOATS */
    size_t *positions;           /* of each token of the step */
    size_t *wanted;              /* the step's tokens that asked for logits */
    bool gathered;               /* rows of x are the wanted tokens' alone: token_count and positions too */
    size_t wanted_count, logits_from, logits_end; /* rows 0.. of `logits` are those of wanted[logits_from..] */
    struct stretch *stretches;   /* one a thread */
    struct product_list soon;    /* what is multiplied after the products of this stage; none: not known */
    struct product_list later;   /* after a layer's feed-forward block */
    const struct step_token *tokens;
    size_t token_count;
    size_t asked;                /* no token before this one is asked for more than key and value: 0 but in the
                                  * attention of the last layer */
    expert_watch *watch;         /* NULL: nobody */
    void *watch_arg;
    input_watch *input_watch;    /* the same */
    void *input_watch_arg;
    _Atomic size_t bad_token;    /* lowest token of the step with a value that is not finite, or SIZE_MAX */
};

/* One thing the graph takes from its arena. */
struct need {
    void **out;
    size_t count, each_bytes;
};

/* ---- graph.c ---- */

/* Remembers a value that is not finite at a token of the step. */
void graph_mark_bad(graph *g, size_t token);

/* Which forms of input the products want, as a bit set of activation_form. */
unsigned graph_forms(const graph *g, const matrix *const *w, size_t count);

/* Row `t` of inputs that were laid over rooms; `token` is the step's token behind it, for errors. */
void graph_make_inputs(graph *g, activations *input, unsigned forms, size_t t, size_t token);

/* gate = act(gate + gate_bias) * (up + up_bias), over `n` values. Biases may be NULL. */
void graph_gate(const graph *g, float *gate, float *up, const float *gate_bias, const float *up_bias, size_t n);

/* The feed-forward block of three matrices, from the current input to `out`. Biases may be NULL. */
void graph_feed_forward(graph *g, const matrix *gate, const matrix *up, const matrix *down, const float *gate_bias,
                        const float *up_bias, float *out);

/* out[i] = w[i] times `input` (in the form each asks for), `count` at most PRODUCTS_MAX. */
void graph_products(graph *g, const activations *input, const matrix *const *w, float *const *out, size_t count);

/* team_run, but with many tokens each thread begins with a stretch of neighbouring tasks, the same ones in every stage
 * of as many: what a thread made it finds in its own caches. */
void graph_run(graph *g, size_t tasks, team_fn *fn, void *arg);

/* Asks for the begin of what thread `thread` reads first of g->soon; of tiles at an address, `left` bytes of them. */
void graph_ask_soon(const graph *g, size_t thread);
void graph_ask(const uint8_t *at, size_t left);

/* Tells the watcher, if there is one, which rows of `input` are about to meet w, number `index` of its kind. */
void graph_tell_inputs(const graph *g, const activations *input, const matrix *w, size_t index, size_t first,
                       size_t count);

/* Attention of the step's queries g->q over the cache of a layer, into g->attended. */
void graph_attend(graph *g, size_t layer);

/* Coded types: stores the step's keys and values of a layer, rows of kv_heads heads each, and settles what log tiers
 * keep. Other types are stored where they are made. */
void graph_store(graph *g, size_t layer, const float *keys, const float *values, size_t value_stride);

/* Where the key and value of a token's head go: of types that are stored one by one. */
struct kv_page graph_place(const graph *g, size_t token, size_t layer, size_t head, enum kv_type *type);

/* Rope of one head's turning values at a token of the step, in a layer. */
void graph_turn(const graph *g, size_t layer, float *x, size_t token);

/* ---- latent.c ---- */

enum { LATENT_NEEDS = 16 };
size_t latent_needs(graph *g, struct need out[static LATENT_NEEDS]);

/* Latent attention from the current input (in the forms of kv_a and of q_a or q) to the heads' results, which it
 * returns: token_count rows of heads * value_dim. */
float *latent_attention(graph *g, const struct layer *w, size_t layer);

/* ---- experts.c ---- */

/* What a model with experts takes beside the rest: fills `out` and returns how many. */
enum { EXPERT_NEEDS = 20 };
size_t experts_needs(graph *g, size_t threads, struct need out[static EXPERT_NEEDS]);

/* Lays what was taken: once, before the first step. */
void experts_start(graph *g, size_t threads);

/* The feed-forward block of a layer with experts: from g->normed to g->block_out. The current input holds g->normed in
 * the forms that the shared expert's matrices ask for, where there is one. */
void experts_block(graph *g, const struct layer *w);

#endif
