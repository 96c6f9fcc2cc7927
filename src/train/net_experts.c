/* The sparse feed-forward. Tokens are sorted by expert (stable, so by token inside an expert) and every expert meets
 * its rows in one product: no capacity, nothing dropped. A gate of rank r is kept as two factors; their full product,
 * made anew each pass, is what routes, so the gate that is exported is the gate that was trained. */
#include "train/net_part.h"

#include <string.h>

/* The gate in force: [experts][width]. */
static const real *gate_matrix(const struct pass *p)
{
    return p->n->layout.shape.gate_rank > 0 ? p->s->gate_full : p->p.gate_out;
}

static void route_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct layer_state *s = p->s;
    const struct shape *m = &p->n->layout.shape;
    /* drouter serves as the logits' place: it is free until the backward. */
    p->n->ops->router(s->prob, s->router_lse, s->gate, s->chosen, p->n->drouter, m->experts, m->top_k,
                      p->n->keep_routing, tile * TILE_TOK, tile_end(tile, TILE_TOK, p->tokens));
}

/* A counting sort of (token, choice) by expert. */
static void sort_slots(const struct pass *p)
{
    const struct layer_state *s = p->s;
    size_t experts = p->n->layout.shape.experts, k = p->n->layout.shape.top_k, choices = p->tokens * k;
    size_t next[EXPERTS_MAX];
    memset(s->first, 0, (experts + 1) * sizeof *s->first);
    for (size_t i = 0; i < choices; i++) s->first[s->chosen[i] + 1]++;
    for (size_t e = 0; e < experts; e++) {
        s->load[e] = (real)s->first[e + 1] / (real)choices;
        s->first[e + 1] += s->first[e];
        next[e] = s->first[e];
    }
    for (size_t i = 0; i < choices; i++) {
        size_t slot = next[s->chosen[i]]++;
        s->slot[i] = (int32_t)slot;
        s->from[slot] = (int32_t)(i / k);
    }
}

static void gather_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    size_t slots = p->tokens * p->n->layout.shape.top_k;
    p->n->ops->gather(p->s->xs, p->s->b, p->s->from, p->n->layout.shape.width, tile * TILE_TOK,
                      tile_end(tile, TILE_TOK, slots));
}

static void slot_swiglu_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct shape *m = &p->n->layout.shape;
    p->n->ops->swiglu(p->s->h, p->s->gu, m->ffn_width, tile * TILE_TOK, tile_end(tile, TILE_TOK, p->tokens * m->top_k));
}

static void combine_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct shape *m = &p->n->layout.shape;
    p->n->ops->combine(p->s[1].x, p->s->y, p->s->gate, p->s->slot, m->width, m->top_k, tile * TILE_TOK,
                       tile_end(tile, TILE_TOK, p->tokens));
}

void experts_forward(struct pass *p, real *out)
{
    const struct shape *m = &p->n->layout.shape;
    struct layer_state *s = p->s;
    size_t d = m->width, f = m->ffn_width, slots = p->tokens * m->top_k;
    struct gemm list[EXPERTS_MAX];
    if (m->gate_rank > 0) {
        struct gemm full = { GEMM_NN, false, m->experts, d, m->gate_rank, p->p.gate_out, p->p.gate_in, s->gate_full,
                             m->gate_rank, d, d };
        run_gemms(p->n, &full, 1);
    }
    list[0] = linear(s->b, gate_matrix(p), p->n->drouter, p->tokens, d, m->experts, false);
    run_gemms(p->n, list, 1);
    run_tiles(p, p->tokens, TILE_TOK, route_tile);
    sort_slots(p);
    run_tiles(p, slots, TILE_TOK, gather_tile);

    for (size_t e = 0; e < m->experts; e++)
        list[e] = linear(s->xs + s->first[e] * d, p->p.gate_up + e * 2 * f * d, s->gu + s->first[e] * 2 * f,
                         s->first[e + 1] - s->first[e], d, 2 * f, false);
    run_gemms(p->n, list, m->experts);
    run_tiles(p, slots, TILE_TOK, slot_swiglu_tile);
    for (size_t e = 0; e < m->experts; e++)
        list[e] = linear(s->h + s->first[e] * f, p->p.down + e * d * f, s->y + s->first[e] * d,
                         s->first[e + 1] - s->first[e], f, d, false);
    run_gemms(p->n, list, m->experts);
    memcpy(out, s->mid, p->tokens * d * sizeof *out);
    run_tiles(p, p->tokens, TILE_TOK, combine_tile);
}

static void combine_back_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct shape *m = &p->n->layout.shape;
    p->n->ops->combine_back(p->n->dy, p->n->dgate, p->n->dx, p->s->y, p->s->gate, p->s->slot, m->width, m->top_k,
                            tile * TILE_TOK, tile_end(tile, TILE_TOK, p->tokens));
}

static void slot_swiglu_back_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct shape *m = &p->n->layout.shape;
    p->n->ops->swiglu_back(p->n->dgu, p->n->dh, p->s->gu, m->ffn_width, tile * TILE_TOK,
                           tile_end(tile, TILE_TOK, p->tokens * m->top_k));
}

static void route_back_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct shape *m = &p->n->layout.shape;
    p->n->ops->router_back(p->n->drouter, p->n->dgate, p->s->gate, p->s->chosen, p->s->prob, p->s->router_lse,
                           p->s->load, p->router_loss, m->experts, m->top_k, tile * TILE_TOK,
                           tile_end(tile, TILE_TOK, p->tokens));
}

/* After the router's part is in da: adds what came through the experts. */
static void scatter_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct pass *p = arg;
    const struct shape *m = &p->n->layout.shape;
    p->n->ops->scatter(p->n->da, p->n->dxs, p->s->slot, m->width, m->top_k, tile * TILE_TOK,
                       tile_end(tile, TILE_TOK, p->tokens));
}

/* The gate's gradient, and the router's part of db. With G = B A (gate_out, gate_in): dB = dG A^T, dA = B^T dG. */
static void gate_backward(struct pass *p)
{
    const struct shape *m = &p->n->layout.shape;
    struct net *n = p->n;
    size_t d = m->width, r = m->gate_rank;
    run_tiles(p, p->tokens, TILE_TOK, route_back_tile);
    struct gemm list[2] = {
        linear_back(n->drouter, gate_matrix(p), n->da, p->tokens, d, m->experts),
        linear_weight_back(n->drouter, p->s->b, r > 0 ? n->dgate_full : p->g.gate_out, p->tokens, d, m->experts),
    };
    run_gemms(n, list, 2);
    if (r == 0) return;
    list[0] = (struct gemm){ GEMM_NT, false, m->experts, r, d, n->dgate_full, p->p.gate_in, p->g.gate_out, d, d, r };
    list[1] = (struct gemm){ GEMM_TN, false, r, d, m->experts, p->p.gate_out, n->dgate_full, p->g.gate_in, r, d, d };
    run_gemms(n, list, 2);
}

void experts_backward(struct pass *p)
{
    const struct shape *m = &p->n->layout.shape;
    const struct layer_state *s = p->s;
    struct net *n = p->n;
    size_t d = m->width, f = m->ffn_width, slots = p->tokens * m->top_k;
    struct gemm list[2 * EXPERTS_MAX];
    run_tiles(p, p->tokens, TILE_TOK, combine_back_tile);
    for (size_t e = 0; e < m->experts; e++) {
        size_t at = s->first[e], rows = s->first[e + 1] - at;
        list[2 * e] = linear_back(n->dy + at * d, p->p.down + e * d * f, n->dh + at * f, rows, f, d);
        list[2 * e + 1] = linear_weight_back(n->dy + at * d, s->h + at * f, p->g.down + e * d * f, rows, f, d);
    }
    run_gemms(n, list, 2 * m->experts);
    run_tiles(p, slots, TILE_TOK, slot_swiglu_back_tile);
    for (size_t e = 0; e < m->experts; e++) {
        size_t at = s->first[e], rows = s->first[e + 1] - at;
        real *w = p->p.gate_up + e * 2 * f * d, *dw = p->g.gate_up + e * 2 * f * d;
        list[2 * e] = linear_back(n->dgu + at * 2 * f, w, n->dxs + at * d, rows, d, 2 * f);
        list[2 * e + 1] = linear_weight_back(n->dgu + at * 2 * f, s->xs + at * d, dw, rows, d, 2 * f);
    }
    run_gemms(n, list, 2 * m->experts);
    gate_backward(p);
    run_tiles(p, p->tokens, TILE_TOK, scatter_tile);
}

double experts_aux(const struct pass *p)
{
    const struct layer_state *s = p->s;
    size_t experts = p->n->layout.shape.experts;
    double balance = 0, z = 0;
    for (size_t t = 0; t < p->tokens; t++) {
        for (size_t e = 0; e < experts; e++) balance += (double)s->load[e] * (double)s->prob[t * experts + e];
        z += (double)s->router_lse[t] * (double)s->router_lse[t];
    }
    return balance * (double)p->router_loss.balance + z * (double)p->router_loss.z;
}
