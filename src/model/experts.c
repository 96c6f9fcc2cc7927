/* The feed-forward block of a layer with experts (Shazeer et al., arXiv 1701.06538; each architecture's gate as in
 * hyper.h). A token's experts are chosen by exact scores, the rows of all tokens are ordered by expert, so that one
 * reading of an expert serves all its rows, and a token's results are added in the order of its experts' numbers: no
 * neighbour in the batch changes a bit.
 *
 *   choice   top_k and weights                    per token (route.h)
 *   pairs    (token, expert) rows by expert, then token; inputs gathered and quantized
 *   gate, up products per expert and tiles; act; quantize; down product
 *   out      sum over the token's experts of weight * (down + bias), then + the shared expert
 */
#include "model/graph_part.h"

#include "base/checked.h"
#include "base/limits.h"

#include <string.h>

size_t experts_needs(graph *g, size_t threads, struct need out[static EXPERT_NEEDS])
{
    const struct hyper *h = &g->m->hyper;
    struct expert_scratch *x = &g->experts;
    size_t chunk = g->set.chunk_tok, pairs = chunk * h->experts.top_k, f = sizeof(float), n = h->experts.count;
    size_t count = 0;
    const struct need needs[] = {
        { (void **)&x->routes, threads, sizeof *x->routes },
        { (void **)&x->route_rooms, threads, round_up(route_room_bytes(n, h->width), 64) },
        { (void **)&x->tallies, chunk, sizeof *x->tallies },
        { (void **)&x->rests, h->layers, sizeof *x->rests },
        { (void **)&x->choices, pairs, sizeof *x->choices },
        { (void **)&x->pair_token, pairs, sizeof *x->pair_token },
        { (void **)&x->first_pair, n + 1, sizeof *x->first_pair },
        { (void **)&x->active, n, sizeof *x->active },
        { (void **)&x->done, n, sizeof *x->done },
        { (void **)&x->in, pairs * h->width, f },
        { (void **)&x->gate, pairs * h->experts.ffn_width, f },
        { (void **)&x->up, pairs * h->experts.ffn_width, f },
        { (void **)&x->out, pairs * h->width, f },
        { (void **)&x->shared_out, h->experts.shared_width > 0 ? chunk * h->width : 0, f },
    };
    for (; count < sizeof needs / sizeof *needs; count++) out[count] = needs[count];
    for (size_t form = 0; form < FORMS; form++) {
        enum activation_form a = (enum activation_form)form;
        out[count++] = (struct need){ &x->in_room[form], activations_bytes(a, h->width, pairs), 1 };
        out[count++] = (struct need){ &x->mid_room[form], activations_bytes(a, h->experts.ffn_width, pairs), 1 };
    }
    return count;
}

void experts_start(graph *g, size_t threads)
{
    const struct hyper *h = &g->m->hyper;
    size_t each = round_up(route_room_bytes(h->experts.count, h->width), 64);
    for (size_t i = 0; i < threads; i++)
        route_scratch_lay(&g->experts.routes[i], h->experts.count, h->width, g->experts.route_rooms + i * each);
}

/* ---- the choice ---- */

struct choose_job {
    graph *g;
    struct route_gate gate;
};

static const float *token_input(const graph *g, size_t t)
{
    return g->normed + t * g->m->hyper.width;
}

/* One token's experts; its threads share the work where `t` is not NULL. */
static void choose(const struct choose_job *job, size_t token, size_t thread, team *t)
{
    graph *g = job->g;
    struct route_scratch *s = &g->experts.routes[thread]; /* of thread 0: followed by those of all */
    struct choice *out = g->experts.choices + token * g->m->hyper.experts.top_k;
    if (!route_choose(&job->gate, token_input(g, token), s, t, out)) graph_mark_bad(g, token);
    g->experts.tallies[token] = s->tally;
}

static void choose_task(void *arg, size_t token, size_t thread)
{
    choose(arg, token, thread, NULL);
}

/* Few tokens: all threads at one router after the other. Many: a thread a token. */
static void choose_all(graph *g, const struct layer *w)
{
    struct choose_job job = { .g = g, .gate = { .config = &g->m->hyper.experts, .k = g->k, .layer = w,
                                                .width = g->m->hyper.width, .full = g->set.full_routing,
                                                .rest = &g->experts.rests[w - g->m->layers] } };
    if (g->token_count < 2 * team_threads(g->team))
        for (size_t t = 0; t < g->token_count; t++) choose(&job, t, 0, g->team);
    else team_run(g->team, g->token_count, choose_task, &job);
    if (g->watch == NULL) return;
    const struct route_scratch *last = &g->experts.routes[0]; /* of many tokens: of one of them */
    struct expert_event event = { .layer = (size_t)(w - g->m->layers), .token_count = g->token_count,
                                  .positions = g->positions, .choices = g->experts.choices,
                                  .tallies = g->experts.tallies, .inputs = g->normed,
                                  .shortlist = last->shortlist, .shortlist_count = last->shortlist_count };
    g->watch(g->watch_arg, &event);
}

/* ---- pairs ---- */

/* Orders the (token, expert) pairs by expert, then token: a counting sort. */
static void lay_pairs(graph *g)
{
    struct expert_scratch *x = &g->experts;
    size_t n = g->m->hyper.experts.count, top_k = g->m->hyper.experts.top_k;
    memset(x->first_pair, 0, (n + 1) * sizeof *x->first_pair);
    x->pairs = g->token_count * top_k;
    x->active_count = 0;
    for (size_t i = 0; i < x->pairs; i++) x->first_pair[x->choices[i].expert + 1]++;
    for (size_t e = 0; e < n; e++) {
        if (x->first_pair[e + 1] > 0) x->active[x->active_count++] = e;
        x->first_pair[e + 1] += x->first_pair[e];
    }
    size_t taken[EXPERTS_MAX] = { 0 };
    for (size_t i = 0; i < x->pairs; i++) {
        struct choice *c = &x->choices[i];
        c->pair = x->first_pair[c->expert] + taken[c->expert]++;
        x->pair_token[c->pair] = i / top_k;
    }
}

struct pairs_job {
    graph *g;
    const struct layer *w;
    unsigned forms;
};

static void gather_task(void *arg, size_t pair, size_t thread)
{
    const struct pairs_job *job = arg;
    graph *g = job->g;
    size_t width = g->m->hyper.width, token = g->experts.pair_token[pair];
    (void)thread;
    memcpy(g->experts.in + pair * width, token_input(g, token), width * sizeof(float));
    graph_make_inputs(g, g->experts.in_form, job->forms, pair, token);
}

/* The expert that a pair belongs to: the last one that begins at or before it. */
static size_t expert_of_pair(const struct expert_scratch *x, size_t pair)
{
    size_t low = 0, high = x->active_count;
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (x->first_pair[x->active[mid]] <= pair) low = mid;
        else high = mid;
    }
    return x->active[low];
}

static void gate_task(void *arg, size_t pair, size_t thread)
{
    const struct pairs_job *job = arg;
    graph *g = job->g;
    struct expert_scratch *x = &g->experts;
    size_t n = g->m->hyper.experts.ffn_width, bias_at = expert_of_pair(x, pair) * n;
    const float *gate_bias = job->w->gate_exps_bias, *up_bias = job->w->up_exps_bias;
    (void)thread;
    graph_gate(g, x->gate + pair * n, x->up + pair * n, gate_bias != NULL ? gate_bias + bias_at : NULL,
               up_bias != NULL ? up_bias + bias_at : NULL, n);
    graph_make_inputs(g, x->mid_form, job->forms, pair, x->pair_token[pair]);
}

/* ---- products ---- */

/* Tasks go by expert, then matrix, then tiles: the order of memory, for an expert is one extent. Many rows: threads
 * take tasks as they come, which evens out experts of unlike numbers of rows. Few: memory is the limit, and each thread
 * has a stretch of neighbouring tasks, as in products.c, then helps with the others'. */
struct expert_products_job {
    graph *g;
    const activations *input; /* FORMS of them */
    bool one_row;             /* the input is the only token's, for all its pairs */
    const struct expert_matrix *w[2];
    float *out[2];
    size_t count, tiles, pieces; /* matrices; tiles of a task; tasks of one matrix */
    const struct expert_matrix *next; /* what the same experts are multiplied with in the next stage, or NULL */
    struct pairs_job *gate; /* few rows: who finishes an expert's rows gates them. Else NULL */
};

static size_t expert_of_task(const struct expert_products_job *job, size_t task)
{
    return job->g->experts.active[task / job->pieces / job->count];
}

static matrix matrix_of(const struct expert_products_job *job, size_t task)
{
    return expert_of(job->w[task / job->pieces % job->count], expert_of_task(job, task));
}

static void expert_products_task(void *arg, size_t task, size_t thread)
{
    const struct expert_products_job *job = arg;
    const graph *g = job->g;
    const struct expert_scratch *x = &g->experts;
    size_t i = task / job->pieces % job->count, expert = expert_of_task(job, task);
    size_t first = x->first_pair[expert], rows = x->first_pair[expert + 1] - first;
    matrix w = matrix_of(job, task);
    enum activation_form form = g->set.activations_f32 ? ACTIVATION_F32 : weight_kind(w.type)->activations;
    activations in = activations_slice(&job->input[form], job->one_row ? 0 : first, rows);
    size_t begin = task % job->pieces * job->tiles, end = min_size(begin + job->tiles, tile_count(w.rows));
    (void)thread;
    matmul(g->k, &w, &in, job->out[i] + first * w.rows, w.rows, begin, end);
}

static size_t active_begin(size_t active, size_t threads, size_t thread)
{
    return active * thread / threads;
}

static void ask_matrix(const matrix *w)
{
    graph_ask(w->tiles, tile_count(w->rows) * w->tile_bytes);
}

/* A stage of few rows lasts some 100 us: a thread that has nothing left to take asks for what it reads first in the
 * next one. */
static void ask_next(const struct expert_products_job *job, size_t thread)
{
    const struct expert_scratch *x = &job->g->experts;
    size_t own = active_begin(x->active_count, team_threads(job->g->team), thread);
    if (job->next == NULL) graph_ask_soon(job->g, thread);
    else if (own < x->active_count) {
        matrix next = expert_of(job->next, x->active[own]);
        ask_matrix(&next);
    }
}

/* Experts stand apart in memory: in the last task of a matrix, the begin of the next one is asked for, unless it is
 * what follows anyway. */
static void ask_jump(const struct expert_products_job *job, size_t task, size_t end)
{
    if (task + 1 >= end || (task + 1) % job->pieces != 0) return;
    matrix now = matrix_of(job, task), next = matrix_of(job, task + 1);
    if (next.tiles != now.tiles + tile_count(now.rows) * now.tile_bytes) ask_matrix(&next);
}

/* After the last task of an expert its pairs are gated, where their rows are: a stage less, and most rows do not leave
 * the core that made them. */
static void gate_finished(struct expert_products_job *job, size_t task, size_t thread)
{
    struct expert_scratch *x = &job->g->experts;
    size_t active = task / job->pieces / job->count, expert = x->active[active];
    if (atomic_fetch_add_explicit(&x->done[active], 1, memory_order_acq_rel) + 1 < job->pieces * job->count) return;
    for (size_t pair = x->first_pair[expert]; pair < x->first_pair[expert + 1]; pair++)
        gate_task(job->gate, pair, thread);
}

static void expert_stretch_task(void *arg, size_t slot, size_t thread)
{
    struct expert_products_job *job = arg;
    size_t threads = team_threads(job->g->team);
    (void)slot;
    for (size_t i = 0; i < threads; i++) {
        struct stretch *s = &job->g->stretches[(thread + i) % threads];
        for (size_t task; (task = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->end;) {
            ask_jump(job, task, s->end);
            expert_products_task(job, task, thread);
            if (job->gate != NULL) gate_finished(job, task, thread);
        }
    }
    ask_next(job, thread);
}

/* Products of every active expert with its pairs. The matrices have the same rows. */
static void expert_products(graph *g, struct expert_products_job job)
{
    bool few = g->token_count <= EXPERTS_FEW_TOK;
    size_t threads = team_threads(g->team), active = g->experts.active_count;
    job.g = g;
    for (size_t i = 0; g->input_watch != NULL && i < job.count; i++)
        for (size_t n = 0; n < active; n++) {
            size_t expert = g->experts.active[n], first = g->experts.first_pair[expert];
            size_t rows = g->experts.first_pair[expert + 1] - first; /* of a single token 1, and always the same one */
            graph_tell_inputs(g, job.input, &job.w[i]->first, expert, job.one_row ? 0 : first, rows);
        }
    job.tiles = few ? EXPERT_TILES_FEW : EXPERT_TILES;
    job.pieces = ceil_div(tile_count(job.w[0]->first.rows), job.tiles);
    size_t tasks = active * job.count * job.pieces;
    if (!few) {
        team_run(g->team, tasks, expert_products_task, &job);
        if (job.gate != NULL) team_run(g->team, g->experts.pairs, gate_task, job.gate);
        return;
    }
    for (size_t i = 0; i < active; i++) atomic_store_explicit(&g->experts.done[i], 0, memory_order_relaxed);
    for (size_t i = 0; i < threads; i++) {
        atomic_store_explicit(&g->stretches[i].next, tasks * i / threads, memory_order_relaxed);
        g->stretches[i].end = tasks * (i + 1) / threads;
    }
    team_run(g->team, threads, expert_stretch_task, &job); /* publishes the stretches */
}

/* ---- the sum ---- */

static void sum_task(void *arg, size_t t, size_t thread)
{
    const struct pairs_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct vector_kernels *v = &g->k->vector;
    float *out = g->block_out + t * h->width;
    (void)thread;
    memset(out, 0, h->width * sizeof *out);
    for (size_t i = 0; i < h->experts.top_k; i++) {
        const struct choice *c = &g->experts.choices[t * h->experts.top_k + i];
        float *made = g->experts.out + c->pair * h->width;
        if (job->w->down_exps_bias != NULL) v->add(made, job->w->down_exps_bias + c->expert * h->width, h->width);
        v->add_scaled(out, made, c->weight, h->width);
    }
    if (h->experts.shared_width == 0) return;
    float *shared = g->experts.shared_out + t * h->width, scale = 1.0f;
    if (job->w->shared_scale != NULL) {
        scale = v->dot(job->w->shared_scale, token_input(g, t), h->width);
        v->sigmoid(&scale, 1);
    }
    v->add_scaled(out, shared, scale, h->width);
}

/* Lays `forms` over rooms for rows of `cols` values. */
static void lay_forms(const graph *g, activations *out, void *const *rooms, unsigned forms, const float *x, size_t cols)
{
    for (size_t f = 0; f < FORMS; f++)
        if (forms >> f & 1)
            activations_lay(&out[f], (enum activation_form)f, x, cols, cols, g->experts.pairs, rooms[f]);
}

/* The inputs of gate and up, row by row as pairs stand. Of a single token all rows would be one: it stays where
 * graph.c has made it. */
static bool gather_pairs(graph *g, struct pairs_job *job)
{
    struct expert_scratch *x = &g->experts;
    if (g->token_count == 1) return true;
    lay_forms(g, x->in_form, x->in_room, job->forms, x->in, g->m->hyper.width);
    team_run(g->team, x->pairs, gather_task, job);
    return false;
}

void experts_block(graph *g, const struct layer *w)
{
    const struct hyper *h = &g->m->hyper;
    struct expert_scratch *x = &g->experts;
    choose_all(g, w);
    lay_pairs(g);

    const matrix *ins[] = { &w->gate_exps.first, &w->up_exps.first }, *outs[] = { &w->down_exps.first };
    struct pairs_job pairs = { .g = g, .w = w, .forms = graph_forms(g, ins, 2) };
    bool one_row = gather_pairs(g, &pairs);
    pairs.forms = graph_forms(g, outs, 1);
    lay_forms(g, x->mid_form, x->mid_room, pairs.forms, x->gate, h->experts.ffn_width);
    expert_products(g, (struct expert_products_job){ .input = one_row ? g->input : x->in_form, .one_row = one_row,
                                                     .w = { &w->gate_exps, &w->up_exps }, .out = { x->gate, x->up },
                                                     .count = 2, .next = &w->down_exps, .gate = &pairs });
    bool shared = h->experts.shared_width > 0;
    g->soon = g->later;
    if (shared) g->soon = (struct product_list){ { &w->shared_gate, &w->shared_up }, 2 };
    expert_products(g, (struct expert_products_job){ .input = x->mid_form, .w = { &w->down_exps }, .out = { x->out },
                                                     .count = 1 });
    g->soon.count = 0;
    if (shared)
        graph_feed_forward(g, &w->shared_gate, &w->shared_up, &w->shared_down, NULL, NULL, x->shared_out);
    team_run(g->team, g->token_count, sum_task, &pairs);
}
