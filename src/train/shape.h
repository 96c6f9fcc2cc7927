/* The model that is trained: the qwen3 / qwen3moe layout. Pre-norm blocks, grouped-query attention with a norm on every
 * query and key head, rope on channel halves, SwiGLU, one table for input and output. With experts each block's
 * feed-forward is a softmax gate over `experts`, the best `top_k` of them renormalised.
 *
 * Parameters are one run of numbers; a tensor is a range of it. Optimizer state, gradients and checkpoints are runs of
 * the same layout, so everything that treats all parameters alike is a loop over one array. */
#ifndef HEARTH_TRAIN_SHAPE_H
#define HEARTH_TRAIN_SHAPE_H

#include "base/arena.h"
#include "base/real.h"

struct shape {
    size_t vocab, width, layers, heads, kv_heads, head_dim, ffn_width;
    size_t experts, top_k; /* 0, 0: dense. ffn_width is then one expert's */
    size_t gate_rank;      /* 0: the gate is one matrix; else the product of two through this many channels */
    size_t ctx_tok;        /* what the model card promises; training rows may be shorter */
    double rope_base, norm_eps;
    double balance, z;     /* weights of the router's auxiliary losses */
};

/* ORDER tensor_kind: KINDS in shape.c */
enum tensor_kind {
    TENSOR_EMBED,    /* [vocab][width] */
    TENSOR_NORM_OUT, /* [width] */
    TENSOR_NORM1,    /* [width] */
    TENSOR_QKV,      /* [(heads + 2 kv_heads) * head_dim][width]: queries, keys, values */
    TENSOR_Q_NORM,   /* [head_dim] */
    TENSOR_K_NORM,
    TENSOR_O,        /* [width][heads * head_dim] */
    TENSOR_NORM2,    /* [width] */
    TENSOR_GATE_IN,  /* [gate_rank][width]; absent where gate_rank is 0 */
    TENSOR_GATE_OUT, /* [experts][gate_rank], or [experts][width] where gate_rank is 0; absent where dense */
    TENSOR_GATE_UP,  /* [experts or 1][2 ffn_width][width]: gate rows, then up rows */
    TENSOR_DOWN,     /* [experts or 1][width][ffn_width] */
    TENSOR_KINDS
};

struct tensor {
    enum tensor_kind kind;
    size_t layer;              /* 0 for the two that belong to none */
    size_t offset;             /* in the run of parameters, a multiple of 16 */
    size_t count, rows, cols;  /* count matrices of rows x cols */
    double init_std;           /* 0: starts at 1 (norms) */
    bool decays;               /* matrices do, vectors do not */
    bool hidden;               /* a matrix between two hidden vectors: what Muon is for */
};

struct layout {
    struct shape shape;
    struct tensor *tensors;    /* embed, norm_out, then each layer's in the order of the enum */
    size_t tensor_count;
    size_t total;              /* numbers in the run, padding included (padding is 0 and stays 0) */
    size_t values;             /* without padding: what "parameters" means */
    size_t active_values;      /* those one token meets: top_k of the experts; the table once */
};

/* One layer's tensors in some run; NULL where absent. */
struct layer_params {
    real *norm1, *qkv, *q_norm, *k_norm, *o, *norm2, *gate_in, *gate_out, *gate_up, *down;
};

/* Checks the shape and lays the parameters out. Errors: ERR_VALUE and ERR_LIMIT name the value; ERR_MEMORY. */
bool layout_make(const struct shape *s, arena *a, struct layout *out, err *e);

/* The tensor, or NULL where this shape has none. */
const struct tensor *layout_find(const struct layout *l, enum tensor_kind kind, size_t layer);

struct layer_params layout_layer(const struct layout *l, real *run, size_t layer);
real *layout_tensor(const struct layout *l, real *run, enum tensor_kind kind);

/* "layer 3 qkv": for errors and reports. */
void tensor_name(const struct tensor *t, char *room, size_t room_bytes);

/* First weights: sums of twelve uniform draws (Irwin-Hall), of the tensor's standard deviation; norms are 1. A function
 * of (seed, position in the run) made of additions alone, so it is the same everywhere. */
void layout_init(const struct layout *l, real *run, uint64_t seed);

#endif
