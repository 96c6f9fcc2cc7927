/* Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1.2 and the absorption of its section 2.1.2's
 * last paragraph): keys and values of all heads are one low-rank vector a position, and the matrices that would expand
 * it are applied to the query before and to the result after. One form for prompts and single tokens, so bits agree.
 *
 *   c = norm(kv_a x)[kv_rank], k_pe = rope(rest)            cached: key c | k_pe, of which the value c is the begin
 *   q = q_b norm(q_a x), or q x                             per head: q_nope | q_pe
 *   query of head h = k_b[h] q_nope | rope(q_pe)
 *   result of head h = v_b[h] attention(query)
 */
#include "model/graph_part.h"

#include "base/checked.h"

#include <string.h>

size_t latent_needs(graph *g, struct need out[static LATENT_NEEDS])
{
    const struct hyper *h = &g->m->hyper;
    const struct latent_config *c = &h->latent;
    struct latent_scratch *x = &g->latent;
    size_t chunk = g->set.chunk_tok, rows = chunk * h->heads, f = sizeof(float), count = 0;
    const struct need needs[] = {
        { (void **)&x->q_low, chunk * c->q_rank, f },
        { (void **)&x->q_full, rows * (c->nope_dim + h->rope.dims), f },
        { (void **)&x->kv, chunk * h->key_dim, f },
        { (void **)&x->nope, rows * c->nope_dim, f },
        { (void **)&x->result, rows * c->kv_rank, f },
        { (void **)&x->out, rows * c->value_dim, f },
    };
    for (; count < sizeof needs / sizeof *needs; count++) out[count] = needs[count];
    for (size_t form = 0; form < FORMS; form++) {
        enum activation_form a = (enum activation_form)form;
        out[count++] = (struct need){ &x->low_room[form], activations_bytes(a, c->q_rank, chunk), 1 };
        out[count++] = (struct need){ &x->nope_room[form], activations_bytes(a, c->nope_dim, rows), 1 };
        out[count++] = (struct need){ &x->result_room[form], activations_bytes(a, c->kv_rank, rows), 1 };
    }
    return count;
}

struct latent_job {
    graph *g;
    const struct layer *w;
    size_t layer;
    unsigned forms;
};

static void lay(activations *out, void *const *rooms, unsigned forms, const float *x, size_t cols,
                size_t rows)
{
    for (size_t f = 0; f < FORMS; f++)
        if (forms >> f & 1) activations_lay(&out[f], (enum activation_form)f, x, cols, cols, rows, rooms[f]);
}

/* Norm and rope of a token's key, and its place in the cache; norm of its low-rank query, where there is one. */
static void key_task(void *arg, size_t t, size_t thread)
{
    const struct latent_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct latent_config *c = &h->latent;
    float *key = g->latent.kv + t * h->key_dim;
    enum kv_type type;
    struct kv_page page = graph_place(g, t, job->layer, 0, &type);
    (void)thread;
    g->k->vector.rms_norm(key, job->w->kv_a_norm, c->kv_rank, h->eps, key);
    graph_turn(g, job->layer, key + c->kv_rank, t);
    if (page.keys != NULL) /* value_dim: 0 where the key is all there is */
        g->k->attention.store(type, &(struct attention_tokens){ .k = key, .v = key, .count = 1 }, h->key_dim,
                              g->tokens[t].seq->pool->shape.value_dim, g->positions[t] % PAGE_TOK, page.keys,
                              page.values);
    if (c->q_rank == 0) return;
    float *low = g->latent.q_low + t * c->q_rank;
    g->k->vector.rms_norm(low, job->w->q_a_norm, c->q_rank, h->eps, low);
    graph_make_inputs(g, g->latent.low_form, job->forms, t, t);
}

/* Head-major row: head * tokens + token. Takes a query apart: what turns goes to its place, the rest is gathered. */
static void query_task(void *arg, size_t row, size_t thread)
{
    const struct latent_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct latent_config *c = &h->latent;
    size_t t = row % g->token_count, head = row / g->token_count, turns = h->rope.dims;
    const float *q = g->latent.q_full + (t * h->heads + head) * (c->nope_dim + turns);
    float *placed = g->q + (t * h->heads + head) * h->key_dim + c->kv_rank;
    (void)thread;
    memcpy(placed, q + c->nope_dim, turns * sizeof *q);
    graph_turn(g, job->layer, placed, t);
    memcpy(g->latent.nope + row * c->nope_dim, q, c->nope_dim * sizeof *q);
    graph_make_inputs(g, g->latent.nope_form, job->forms, row, t);
}

static void result_task(void *arg, size_t row, size_t thread)
{
    const struct latent_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    size_t t = row % g->token_count, head = row / g->token_count, rank = h->latent.kv_rank;
    (void)thread;
    memcpy(g->latent.result + row * rank, g->attended + (t * h->heads + head) * rank, rank * sizeof(float));
    graph_make_inputs(g, g->latent.result_form, job->forms, row, t);
}

struct heads_product_job {
    const graph *g;
    const struct expert_matrix *w;
    const activations *input; /* FORMS of them, head-major rows */
    float *out;               /* head `h` of a token at h * head_floats, tokens `stride` apart */
    size_t head_floats, stride;
};

static void heads_product_task(void *arg, size_t head, size_t thread)
{
    const struct heads_product_job *job = arg;
    const graph *g = job->g;
    matrix w = expert_of(job->w, head);
    enum activation_form form = g->set.activations_f32 ? ACTIVATION_F32 : weight_kind(w.type)->activations;
    activations in = activations_slice(&job->input[form], head * g->token_count, g->token_count);
    (void)thread;
    matmul(g->k, &w, &in, job->out + head * job->head_floats, job->stride, 0, tile_count(w.rows));
}

static void heads_product(graph *g, struct heads_product_job *job)
{
    for (size_t head = 0; g->input_watch != NULL && head < g->m->hyper.heads; head++)
        graph_tell_inputs(g, job->input, &job->w->first, head, head * g->token_count, g->token_count);
    team_run(g->team, g->m->hyper.heads, heads_product_task, job);
}

/* All heads' queries, low-rank or not, and the cached key. */
static void project(graph *g, const struct layer *w, struct latent_job *job)
{
    struct latent_scratch *x = &g->latent;
    const struct latent_config *c = &g->m->hyper.latent;
    const matrix *in[] = { c->q_rank > 0 ? &w->q_a : &w->q, &w->kv_a }, *next[] = { &w->q_b };
    graph_products(g, g->input, in, (float *const[]){ c->q_rank > 0 ? x->q_low : x->q_full, x->kv }, 2);
    if (c->q_rank > 0) {
        job->forms = graph_forms(g, next, 1);
        lay(x->low_form, x->low_room, job->forms, x->q_low, c->q_rank, g->token_count);
    }
    team_run(g->team, g->token_count, key_task, job);
    if (c->q_rank > 0) graph_products(g, x->low_form, next, (float *const[]){ x->q_full }, 1);
}

float *latent_attention(graph *g, const struct layer *w, size_t layer)
{
    const struct hyper *h = &g->m->hyper;
    const struct latent_config *c = &h->latent;
    struct latent_scratch *x = &g->latent;
    struct latent_job job = { .g = g, .w = w, .layer = layer };
    size_t rows = g->token_count * h->heads;
    project(g, w, &job);

    const matrix *into[] = { &w->k_b.first }, *out_of[] = { &w->v_b.first };
    job.forms = graph_forms(g, into, 1);
    lay(x->nope_form, x->nope_room, job.forms, x->nope, c->nope_dim, rows);
    team_run(g->team, rows, query_task, &job);
    struct heads_product_job product = { .g = g, .w = &w->k_b, .input = x->nope_form, .out = g->q,
                                         .head_floats = h->key_dim, .stride = h->heads * h->key_dim };
    heads_product(g, &product);
    graph_store(g, layer, x->kv, x->kv, h->key_dim); /* one head: its value is the key's beginning */
    graph_attend(g, layer);

    job.forms = graph_forms(g, out_of, 1);
    lay(x->result_form, x->result_room, job.forms, x->result, c->kv_rank, rows);
    team_run(g->team, rows, result_task, &job);
    product = (struct heads_product_job){ .g = g, .w = &w->v_b, .input = x->result_form, .out = x->out,
                                          .head_floats = c->value_dim, .stride = h->heads * c->value_dim };
    heads_product(g, &product);
    return x->out;
}
