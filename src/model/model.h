/* A model bound for computing: hyperparameters, packed weights, vocabulary. Read-only once loaded, shared by any number
 * of graphs and threads. */
#ifndef HEARTH_MODEL_MODEL_H
#define HEARTH_MODEL_MODEL_H

#include "base/team.h"
#include "kernels/route.h"
#include "kernels/tile.h"
#include "model/hyper.h"
#include "text/tokenizer.h"

/* One matrix an expert (or a head), `bytes` apart: an expert is one piece of memory. */
struct expert_matrix {
    matrix first; /* of expert 0; rows 0: none */
    size_t bytes;
};

static inline matrix expert_of(const struct expert_matrix *m, size_t expert)
{
    matrix out = m->first;
    out.tiles += expert * m->bytes;
    return out;
}

/* Weights of one layer. Vectors are f32; NULL (or rows 0) where the model has none. */
struct layer {
    const float *attn_norm, *attn_post_norm, *q_norm, *k_norm, *ffn_norm, *ffn_post_norm;
    const float *q_bias, *k_bias, *v_bias, *o_bias, *gate_bias, *up_bias, *down_bias;
    const float *sinks; /* one a query head: a score that takes part in every softmax and has no value */
    matrix q, k, v, o, gate, up, down;
    /* Latent attention: q (or q_a, q_b) makes all heads' queries, kv_a the cached key; k_b takes a head's query into
     * the cache's space, v_b a head's result out of it. */
    const float *q_a_norm, *kv_a_norm;
    matrix q_a, q_b, kv_a;
    struct expert_matrix k_b, v_b; /* one matrix a head */
    /* Layers with experts. The router is experts x width, row-major f32, so that single rows can be scored again. */
    const float *router, *router_bias, *choice_bias, *shared_scale;
    struct route route; /* the router's second form, if it has one */
    const float *gate_exps_bias, *up_exps_bias, *down_exps_bias; /* experts x rows */
    struct expert_matrix gate_exps, up_exps, down_exps;
    matrix shared_gate, shared_up, shared_down;
};

typedef struct model {
    struct hyper hyper;
    gguf_files files; /* of model_load_vocab on a model file: its directory. Else closed */
    const struct image *image; /* of model_load_vocab on an image: what it says. Else NULL */
    arena arena;
    view weights;     /* the whole image: anonymous memory, or the file, mapped */
    size_t weights_bytes; /* the same length: what weights take of the memory plan */
    uint8_t identity[32]; /* which model this is; zeros: nobody has computed it */
    matrix embedding, output; /* the same tiles where they are tied */
    bool tied;
    const float *output_norm;
    const float *rope_factors, *rope_factors_long; /* rope.dims / 2 divisors, or NULL; "short" is rope_factors */
    struct layer *layers;
    tokenizer *tokenizer; /* NULL where the file has no vocabulary; tokenizer_facts has the special ids */
    view chat_template; /* empty: none */
} model;

/* What model_load tells about its progress: bytes packed of all. May be NULL. */
typedef void load_progress(void *arg, size_t done_bytes, size_t all_bytes);

/* Opens a model, told apart by its first bytes. A GGUF file (or the first of a split one) is packed into an image in
 * memory, and no scale in it is NaN or infinite; an image (`hearth pack`) is mapped as it is, and its weights are read
 * when they are needed. Either is checked, then bound: every tensor the graph needs is there, with the shape that the
 * hyperparameters ask for. Errors: one line naming file, thing, value and limit. Undo with model_free. */
bool model_load(model *m, const char *path, team *t, load_progress *progress, void *progress_arg, err *e);

/* The vocabulary and metadata alone: works on model files without tensors. m->layers is NULL. */
bool model_load_vocab(model *m, const char *path, err *e);

/* The same of an image whose bytes are at hand, for a process that can open nothing and take no memory: `parts` of enum
 * image_part, which of it is wanted. `own` belongs to the model afterwards; `scratch` may be rewound. *m is not to be
 * freed: bytes and arenas are the caller's. Makes no system call. */
bool model_bind(model *m, view image_bytes, unsigned parts, arena *own, arena *scratch, err *e);

void model_free(model *m); /* a model of all zeros is free already */

/* True where generation ends with this token: the file's eos, eot or eom, or a control token known to end a turn. */
bool model_ends(const model *m, int32_t token);

#endif
