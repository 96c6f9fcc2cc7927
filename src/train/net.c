/* The pass over one microbatch: see net.h. Each block's forward stands above its backward. */
#include "train/net_part.h"

#include "kernels/angle.h"

#include <assert.h>
#include <string.h>

/* ---- memory ---- */

struct planner {
    arena *a;
    err *e;
    bool good;
};

static void *plan(struct planner *p, size_t count, size_t each_bytes)
{
    void *at = p->good ? arena_take(p->a, count, each_bytes, 64, "training state", p->e) : NULL;
    if (at == NULL) p->good = false;
    return at;
}

static real *plan_real(struct planner *p, size_t rows, size_t cols)
{
    size_t count;
    if (!mul_size(rows, cols, &count)) count = SIZE_MAX;
    return plan(p, count, sizeof(real));
}

static void plan_layer(struct planner *p, const struct shape *m, size_t tokens, struct layer_state *s)
{
    size_t dim = m->head_dim, slots = m->experts > 0 ? tokens * m->top_k : tokens;
    s->a = plan_real(p, tokens, m->width);
    s->inv1 = plan_real(p, tokens, 1);
    s->qkv = plan_real(p, tokens, (m->heads + 2 * m->kv_heads) * dim);
    s->q = plan_real(p, tokens, m->heads * dim);
    s->k = plan_real(p, tokens, m->kv_heads * dim);
    s->head_inv = plan_real(p, tokens, m->heads + m->kv_heads);
    s->o = plan_real(p, tokens, m->heads * dim);
    s->lse = plan_real(p, tokens, m->heads);
    s->mid = plan_real(p, tokens, m->width);
    s->b = plan_real(p, tokens, m->width);
    s->inv2 = plan_real(p, tokens, 1);
    s->gu = plan_real(p, slots, 2 * m->ffn_width);
    s->h = plan_real(p, slots, m->ffn_width);
    if (m->experts == 0) return;
    s->gate_full = plan_real(p, m->experts, m->width);
    s->prob = plan_real(p, tokens, m->experts);
    s->router_lse = plan_real(p, tokens, 1);
    s->gate = plan_real(p, slots, 1);
    s->load = plan_real(p, m->experts, 1);
    s->xs = plan_real(p, slots, m->width);
    s->y = plan_real(p, slots, m->width);
    s->chosen = plan(p, slots, sizeof *s->chosen);
    s->slot = plan(p, slots, sizeof *s->slot);
    s->from = plan(p, slots, sizeof *s->from);
    s->first = plan(p, m->experts + 1, sizeof *s->first);
}

static void plan_backward(struct planner *p, const struct shape *m, size_t tokens, struct net *n)
{
    size_t dim = m->head_dim, slots = m->experts > 0 ? tokens * m->top_k : tokens;
    n->dx = plan_real(p, tokens, m->width);
    n->da = plan_real(p, tokens, m->width);
    n->dqkv = plan_real(p, tokens, (m->heads + 2 * m->kv_heads) * dim);
    n->dq = plan_real(p, tokens, m->heads * dim);
    n->dk = plan_real(p, tokens, m->kv_heads * dim);
    n->dout = plan_real(p, tokens, m->heads * dim);
    n->dgu = plan_real(p, slots, 2 * m->ffn_width);
    n->dh = plan_real(p, slots, m->ffn_width);
    if (m->experts == 0) return;
    n->dxs = plan_real(p, slots, m->width);
    n->dy = plan_real(p, slots, m->width);
    n->dgate = plan_real(p, slots, 1);
    n->drouter = plan_real(p, tokens, m->experts);
    n->dgate_full = plan_real(p, m->experts, m->width);
}

/* Angle of position t and channel pair i: t * base^(-2 i / head_dim), in f64 by our own functions. */
static void make_rope(const struct shape *m, size_t positions, real *table)
{
    size_t half = m->head_dim / 2;
    for (size_t i = 0; i < half; i++) {
        double step = 1 / pow_f64(m->rope_base, 2 * (double)i / (double)m->head_dim);
        for (size_t t = 0; t < positions; t++) {
            table[t * m->head_dim + i] = (real)cos_f64((double)t * step);
            table[t * m->head_dim + half + i] = (real)sin_f64((double)t * step);
        }
    }
}

bool net_make(struct net *n, const struct layout *l, size_t tokens_max, size_t row_tok_max,
              const struct gemm_kernels *gemm, const struct ops *ops, team *t, arena *a, err *e)
{
    const struct shape *m = &l->shape;
    struct planner p = { a, e, true };
    assert(tokens_max > 0 && row_tok_max > 0 && row_tok_max <= tokens_max);
    *n = (struct net){ .layout = *l, .gemm = gemm, .ops = ops, .team = t, .tokens_max = tokens_max,
                       .row_tok_max = row_tok_max };
    n->layers = plan(&p, m->layers + 1, sizeof *n->layers);
    if (!p.good) return false;
    for (size_t i = 0; i <= m->layers; i++) {
        n->layers[i].x = plan_real(&p, tokens_max, m->width);
        if (i < m->layers) plan_layer(&p, m, tokens_max, &n->layers[i]);
    }
    plan_backward(&p, m, tokens_max, n);
    n->rope = plan_real(&p, row_tok_max, m->head_dim);
    n->final = plan_real(&p, tokens_max, m->width);
    n->final_inv = plan_real(&p, tokens_max, 1);
    n->loss = plan_real(&p, tokens_max, 1);
    n->best = plan(&p, tokens_max, sizeof *n->best);
    n->logits = plan_real(&p, min_size(tokens_max, LOSS_TOK), m->vocab);
    n->scratch_reals = round_up(gemm->scratch_reals + attention_scratch(row_tok_max), 64);
    n->scratch = plan_real(&p, team_threads(t), n->scratch_reals);
    if (p.good) make_rope(m, row_tok_max, n->rope);
    return p.good;
}

/* ---- norms ---- */

static void norm1_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct shape *m = &p->n->layout.shape;
    p->n->ops->norm(p->s->a, p->s->inv1, p->s->x, p->p.norm1, m->width, (real)m->norm_eps, tile * TILE_TOK,
                    tile_end(tile, TILE_TOK, p->tokens));
}

static void norm2_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct shape *m = &p->n->layout.shape;
    p->n->ops->norm(p->s->b, p->s->inv2, p->s->mid, p->p.norm2, m->width, (real)m->norm_eps, tile * TILE_TOK,
                    tile_end(tile, TILE_TOK, p->tokens));
}

/* Which norm a backward stage is at: the same two functions serve all three. */
struct norm_stage {
    const struct pass *p;
    const real *x, *inv, *w;
    real *dw;
};

static void norm_back_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct norm_stage *s = arg;
    struct net *n = s->p->n;
    n->ops->norm_back(n->dx, n->da, s->x, s->inv, s->w, n->layout.shape.width, tile * TILE_TOK,
                      tile_end(tile, TILE_TOK, s->p->tokens));
}

static void norm_weight_back_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct norm_stage *s = arg;
    struct net *n = s->p->n;
    size_t d = n->layout.shape.width;
    n->ops->norm_weight_back(s->dw, n->da, s->x, s->inv, d, s->p->tokens, tile * TILE_COLS,
                             tile_end(tile, TILE_COLS, d));
}

/* n->da is the gradient of a norm's output: adds that of its input to n->dx and writes that of its weight. */
static void norm_backward(const struct pass *p, const real *x, const real *inv, const real *w, real *dw)
{
    struct norm_stage s = { p, x, inv, w, dw };
    team_run(p->n->team, ceil_div(p->tokens, TILE_TOK), norm_back_tile, &s);
    team_run(p->n->team, ceil_div(p->n->layout.shape.width, TILE_COLS), norm_weight_back_tile, &s);
}

/* ---- attention block ---- */

static struct heads heads_of(const struct pass *p)
{
    const struct shape *m = &p->n->layout.shape;
    return (struct heads){ m->heads, m->kv_heads, m->head_dim, (m->heads + 2 * m->kv_heads) * m->head_dim,
                           p->b->row_tok, (real)m->norm_eps, p->n->rope };
}

static void heads_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    struct heads h = heads_of(p);
    p->n->ops->heads(p->s->q, p->s->k, p->s->head_inv, p->s->qkv, p->p.q_norm, p->p.k_norm, &h, tile * TILE_TOK,
                     tile_end(tile, TILE_TOK, p->tokens));
}

static void attention_block(struct pass *p)
{
    const struct shape *m = &p->n->layout.shape;
    struct layer_state *s = p->s;
    size_t d = m->width, q = m->heads * m->head_dim, qkv = q + 2 * m->kv_heads * m->head_dim;
    run_tiles(p, p->tokens, TILE_TOK, norm1_tile);
    struct gemm to_qkv = linear(s->a, p->p.qkv, s->qkv, p->tokens, d, qkv, false);
    run_gemms(p->n, &to_qkv, 1);
    run_tiles(p, p->tokens, TILE_TOK, heads_tile);
    attention_forward(p);
    memcpy(s->mid, s->x, p->tokens * d * sizeof *s->mid);
    struct gemm to_mid = linear(s->o, p->p.o, s->mid, p->tokens, q, d, true);
    run_gemms(p->n, &to_mid, 1);
}

static void heads_back_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    struct heads h = heads_of(p);
    p->n->ops->heads_back(p->n->dqkv, p->n->dq, p->n->dk, p->s->qkv, p->s->head_inv, p->p.q_norm, p->p.k_norm, &h,
                          tile * TILE_TOK, tile_end(tile, TILE_TOK, p->tokens));
}

static void heads_weight_back_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    struct heads h = heads_of(p);
    p->n->ops->heads_weight_back(p->g.q_norm, p->g.k_norm, p->n->dq, p->n->dk, p->s->qkv, p->s->head_inv, &h, p->tokens,
                                 tile * LANE_COLS, tile_end(tile, LANE_COLS, h.head_dim));
}

/* n->dx: the gradient of mid on entry, of x on return. */
static void attention_block_back(struct pass *p)
{
    const struct shape *m = &p->n->layout.shape;
    const struct layer_state *s = p->s;
    struct net *n = p->n;
    size_t d = m->width, q = m->heads * m->head_dim, qkv = q + 2 * m->kv_heads * m->head_dim;
    struct gemm out[2] = { linear_back(n->dx, p->p.o, n->dout, p->tokens, q, d),
                           linear_weight_back(n->dx, s->o, p->g.o, p->tokens, q, d) };
    run_gemms(n, out, 2);
    attention_backward(p);
    run_tiles(p, p->tokens, TILE_TOK, heads_back_tile);
    run_tiles(p, m->head_dim, LANE_COLS, heads_weight_back_tile);
    struct gemm in[2] = { linear_back(n->dqkv, p->p.qkv, n->da, p->tokens, d, qkv),
                          linear_weight_back(n->dqkv, s->a, p->g.qkv, p->tokens, d, qkv) };
    run_gemms(n, in, 2);
    norm_backward(p, s->x, s->inv1, p->p.norm1, p->g.norm1);
}

/* ---- feed-forward block ---- */

static void swiglu_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    p->n->ops->swiglu(p->s->h, p->s->gu, p->n->layout.shape.ffn_width, tile * TILE_TOK,
                      tile_end(tile, TILE_TOK, p->tokens));
}

static void feed_forward_block(struct pass *p)
{
    const struct shape *m = &p->n->layout.shape;
    struct layer_state *s = p->s;
    real *out = s[1].x;
    size_t d = m->width, f = m->ffn_width;
    run_tiles(p, p->tokens, TILE_TOK, norm2_tile);
    if (m->experts > 0) {
        experts_forward(p, out);
        return;
    }
    struct gemm to_gu = linear(s->b, p->p.gate_up, s->gu, p->tokens, d, 2 * f, false);
    run_gemms(p->n, &to_gu, 1);
    run_tiles(p, p->tokens, TILE_TOK, swiglu_tile);
    memcpy(out, s->mid, p->tokens * d * sizeof *out);
    struct gemm to_out = linear(s->h, p->p.down, out, p->tokens, f, d, true);
    run_gemms(p->n, &to_out, 1);
}

static void swiglu_back_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    p->n->ops->swiglu_back(p->n->dgu, p->n->dh, p->s->gu, p->n->layout.shape.ffn_width, tile * TILE_TOK,
                           tile_end(tile, TILE_TOK, p->tokens));
}

/* n->dx: the gradient of the block's output on entry, of mid on return. */
static void feed_forward_block_back(struct pass *p)
{
    const struct shape *m = &p->n->layout.shape;
    const struct layer_state *s = p->s;
    struct net *n = p->n;
    size_t d = m->width, f = m->ffn_width;
    if (m->experts > 0) {
        experts_backward(p);
    } else {
        struct gemm out[2] = { linear_back(n->dx, p->p.down, n->dh, p->tokens, f, d),
                               linear_weight_back(n->dx, s->h, p->g.down, p->tokens, f, d) };
        run_gemms(n, out, 2);
        run_tiles(p, p->tokens, TILE_TOK, swiglu_back_tile);
        struct gemm in[2] = { linear_back(n->dgu, p->p.gate_up, n->da, p->tokens, d, 2 * f),
                              linear_weight_back(n->dgu, s->b, p->g.gate_up, p->tokens, d, 2 * f) };
        run_gemms(n, in, 2);
    }
    norm_backward(p, s->mid, s->inv2, p->p.norm2, p->g.norm2);
}

/* ---- token table, last norm, loss ---- */

static void embed_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    p->n->ops->embed(p->n->layers[0].x, layout_tensor(&p->n->layout, p->params, TENSOR_EMBED), p->b->tok,
                     p->n->layout.shape.width, tile * TILE_TOK, tile_end(tile, TILE_TOK, p->tokens));
}

static void embed_back_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    size_t d = p->n->layout.shape.width;
    p->n->ops->embed_back(layout_tensor(&p->n->layout, p->grads, TENSOR_EMBED), p->n->dx, p->b->tok, d, p->tokens,
                          tile * TILE_COLS, tile_end(tile, TILE_COLS, d));
}

static void final_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct shape *m = &p->n->layout.shape;
    p->n->ops->norm(p->n->final, p->n->final_inv, p->n->layers[m->layers].x,
                    layout_tensor(&p->n->layout, p->params, TENSOR_NORM_OUT), m->width, (real)m->norm_eps,
                    tile * TILE_TOK, tile_end(tile, TILE_TOK, p->tokens));
}

/* A few rows a tile: a row is a whole vocabulary. */
static void loss_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    size_t at = p->chunk_at, rows = min_size(LOSS_TOK, p->tokens - at);
    p->n->ops->cross_entropy(p->n->logits, p->n->loss + at, p->n->best + at, p->b->target + at,
                             p->n->layout.shape.vocab, p->grads == NULL ? 0 : (real)p->target_share, tile * LOSS_ROWS,
                             tile_end(tile, LOSS_ROWS, rows));
}

/* Logits exist for LOSS_TOK tokens at a time and become their gradient in place; n->da receives that of the last norm's
 * output. The table's gradient goes on from chunk to chunk: still one chain over the tokens. */
static void loss_block(struct pass *p)
{
    const struct shape *m = &p->n->layout.shape;
    struct net *n = p->n;
    real *table = layout_tensor(&n->layout, p->params, TENSOR_EMBED);
    run_tiles(p, p->tokens, TILE_TOK, final_tile);
    for (p->chunk_at = 0; p->chunk_at < p->tokens; p->chunk_at += LOSS_TOK) {
        size_t rows = min_size(LOSS_TOK, p->tokens - p->chunk_at);
        const real *x = n->final + p->chunk_at * m->width;
        struct gemm to_logits = linear(x, table, n->logits, rows, m->width, m->vocab, false);
        run_gemms(n, &to_logits, 1);
        run_tiles(p, rows, LOSS_ROWS, loss_tile);
        if (p->grads == NULL) continue;
        struct gemm back[2] = {
            linear_back(n->logits, table, n->da + p->chunk_at * m->width, rows, m->width, m->vocab),
            linear_weight_back(n->logits, x, layout_tensor(&n->layout, p->grads, TENSOR_EMBED), rows, m->width,
                               m->vocab),
        };
        back[1].add = p->chunk_at > 0;
        run_gemms(n, back, 2);
    }
}

static void enter_layer(struct pass *p, size_t layer)
{
    p->layer = layer;
    p->s = &p->n->layers[layer];
    p->p = layout_layer(&p->n->layout, p->params, layer);
    if (p->grads != NULL) p->g = layout_layer(&p->n->layout, p->grads, layer);
}

static void backward(struct pass *p)
{
    struct net *n = p->n;
    const struct layout *l = &n->layout;
    size_t layers = l->shape.layers;
    memset(n->dx, 0, p->tokens * l->shape.width * sizeof *n->dx);
    norm_backward(p, n->layers[layers].x, n->final_inv, layout_tensor(l, p->params, TENSOR_NORM_OUT),
                  layout_tensor(l, p->grads, TENSOR_NORM_OUT));
    for (size_t layer = layers; layer-- > 0;) {
        enter_layer(p, layer);
        feed_forward_block_back(p);
        attention_block_back(p);
    }
    run_tiles(p, l->shape.width, TILE_COLS, embed_back_tile);
}

struct batch_result net_run(struct net *n, const struct batch *b, real *params, real *grads, double target_share,
                            double aux_share)
{
    const struct shape *m = &n->layout.shape;
    struct pass p = { .n = n, .b = b, .tokens = b->rows * b->row_tok, .params = params, .grads = grads,
                      .target_share = (real)target_share };
    assert(p.tokens > 0 && p.tokens <= n->tokens_max && b->row_tok <= n->row_tok_max);
    p.router_loss = (struct router_loss){ (real)(m->balance * (double)m->experts * aux_share / (double)p.tokens),
                                          (real)(m->z * aux_share / (double)p.tokens) };
    struct batch_result r = { 0 };
    run_tiles(&p, p.tokens, TILE_TOK, embed_tile);
    for (size_t layer = 0; layer < m->layers; layer++) {
        enter_layer(&p, layer);
        attention_block(&p);
        feed_forward_block(&p);
        if (m->experts > 0) r.aux += experts_aux(&p);
    }
    loss_block(&p);
    for (size_t t = 0; t < p.tokens; t++) {
        r.loss += (double)n->loss[t];
        r.targets += b->target[t] >= 0;
        r.right += b->target[t] >= 0 && n->best[t] == b->target[t];
    }
    if (grads != NULL) backward(&p);
    return r;
}
