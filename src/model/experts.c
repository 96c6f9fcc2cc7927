/* The feed-forward block of a layer with experts (Shazeer et al., arXiv 1701.06538; each architecture's gate as in
 * hyper.h). A token's experts are chosen by exact scores, the rows of all tokens are ordered by expert, so that one
 * reading of an expert serves all its rows, and a token's results are added in the order of its experts' numbers: no
 * neighbour in the batch changes a bit.
 *
 *   scores   router[e] . x + bias                 per token and expert: a reduction of 16 partial sums (vector.h, dot)
 *   choice   top_k, ties to the lowest number     per token
 *   pairs    (token, expert) rows by expert, then token; inputs gathered and quantized
 *   gate, up products per expert and tiles; act; quantize; down product
 *   out      sum over the token's experts of weight * (down + bias), then + the shared expert
 */
#include "model/graph_part.h"

#include "base/checked.h"
#include "base/limits.h"

#include <string.h>

enum { SCORES_PER_TASK = 16 };

size_t experts_needs(graph *g, struct need out[static EXPERT_NEEDS])
{
    const struct hyper *h = &g->m->hyper;
    struct expert_scratch *x = &g->experts;
    size_t chunk = g->set.chunk_tok, pairs = chunk * h->experts.top_k, f = sizeof(float), n = h->experts.count;
    size_t count = 0;
    const struct need needs[] = {
        { (void **)&x->scores, chunk * n, f },
        { (void **)&x->choices, pairs, sizeof *x->choices },
        { (void **)&x->pair_token, pairs, sizeof *x->pair_token },
        { (void **)&x->first_pair, n + 1, sizeof *x->first_pair },
        { (void **)&x->active, n, sizeof *x->active },
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

/* ---- the choice ---- */

struct choose_job {
    graph *g;
    const struct layer *w;
};

static const float *token_input(const graph *g, size_t t)
{
    return g->normed + t * g->m->hyper.width;
}

/* Scores of 16 experts of one token. */
static void score_task(void *arg, size_t task, size_t thread)
{
    const struct choose_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    size_t n = h->experts.count, parts = ceil_div(n, SCORES_PER_TASK), t = task / parts;
    size_t first = task % parts * SCORES_PER_TASK;
    float *scores = g->experts.scores + t * n;
    (void)thread;
    for (size_t e = first; e < min_size(first + SCORES_PER_TASK, n); e++) {
        scores[e] = g->k->vector.dot(job->w->router + e * h->width, token_input(g, t), h->width);
        if (job->w->router_bias != NULL) scores[e] = scores[e] + job->w->router_bias[e];
    }
}

/* Which experts may be chosen: those of the best groups, a group's score being the sum of its two best. */
static void allow_groups(const struct expert_config *x, const float *ranks, bool allowed[static EXPERTS_MAX])
{
    float group_rank[EXPERTS_MAX];
    size_t each = x->count / x->groups;
    for (size_t i = 0; i < x->count; i++) allowed[i] = x->groups == x->groups_used;
    if (x->groups == x->groups_used) return;
    for (size_t group = 0; group < x->groups; group++) {
        float best = -__builtin_inff(), second = best;
        for (size_t i = group * each; i < (group + 1) * each; i++) {
            if (ranks[i] > best) {
                second = best;
                best = ranks[i];
            } else if (ranks[i] > second) {
                second = ranks[i];
            }
        }
        group_rank[group] = best + second;
    }
    for (size_t used = 0; used < x->groups_used; used++) {
        size_t best = SIZE_MAX;
        for (size_t group = 0; group < x->groups; group++)
            if (!allowed[group * each] && (best == SIZE_MAX || group_rank[group] > group_rank[best])) best = group;
        for (size_t i = best * each; i < (best + 1) * each; i++) allowed[i] = true;
    }
}

/* Marks the top_k of the allowed ones; ties go to the lowest number. Leaves them the only ones allowed. */
static void keep_top(const struct expert_config *x, const float *ranks, bool allowed[static EXPERTS_MAX])
{
    bool kept[EXPERTS_MAX] = { false };
    for (size_t k = 0; k < x->top_k; k++) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < x->count; i++)
            if (allowed[i] && !kept[i] && (best == SIZE_MAX || ranks[i] > ranks[best])) best = i;
        kept[best] = true;
    }
    memcpy(allowed, kept, sizeof kept);
}

/* The weights of the chosen experts, in order of their numbers. `scores` are overwritten. */
static void weigh(const struct expert_config *x, const struct vector_kernels *v, float *scores,
                  const bool allowed[static EXPERTS_MAX], struct choice *out)
{
    float weights[EXPERTS_USED_MAX], ones[EXPERTS_USED_MAX];
    size_t k = 0;
    if (x->router == ROUTER_ALL) v->softmax(scores, x->count);
    for (size_t i = 0; i < x->count; i++) {
        if (!allowed[i]) continue;
        out[k] = (struct choice){ .expert = i };
        ones[k] = 1.0f;
        weights[k++] = scores[i];
    }
    if (x->router == ROUTER_CHOSEN) v->softmax(weights, k);
    float sum = 1.0f;
    if (x->router == ROUTER_SIGMOID && x->renormalise) sum = v->dot(weights, ones, k) + 1e-20f;
    for (size_t i = 0; i < k; i++) out[i].weight = weights[i] / sum * x->scale;
}

static void choose_task(void *arg, size_t t, size_t thread)
{
    const struct choose_job *job = arg;
    graph *g = job->g;
    const struct expert_config *x = &g->m->hyper.experts;
    float *scores = g->experts.scores + t * x->count, ranks[EXPERTS_MAX];
    bool allowed[EXPERTS_MAX];
    (void)thread;
    if (!g->k->vector.all_finite(scores, x->count)) {
        graph_mark_bad(g, t);
        memset(scores, 0, x->count * sizeof *scores); /* the step ends with an error; what is computed until then is */
    }                                                 /* of no use, but has to be of this model's shape */
    if (x->router == ROUTER_SIGMOID) g->k->vector.sigmoid(scores, x->count);
    for (size_t i = 0; i < x->count; i++)
        ranks[i] = job->w->choice_bias != NULL ? scores[i] + job->w->choice_bias[i] : scores[i];
    allow_groups(x, ranks, allowed);
    keep_top(x, ranks, allowed);
    weigh(x, &g->k->vector, scores, allowed, g->experts.choices + t * x->top_k);
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

struct expert_products_job {
    const graph *g;
    const activations *input; /* FORMS of them */
    const struct expert_matrix *w[2];
    float *out[2];
    size_t count, tasks_each; /* tasks of one expert */
};

static void expert_products_task(void *arg, size_t task, size_t thread)
{
    const struct expert_products_job *job = arg;
    const graph *g = job->g;
    const struct expert_scratch *x = &g->experts;
    size_t expert = x->active[task / job->tasks_each], begin = task % job->tasks_each * EXPERT_TILES;
    size_t first = x->first_pair[expert], rows = x->first_pair[expert + 1] - first;
    (void)thread;
    for (size_t i = 0; i < job->count; i++) {
        matrix w = expert_of(job->w[i], expert);
        enum activation_form form = g->set.activations_f32 ? ACTIVATION_F32 : weight_kind(w.type)->activations;
        activations in = activations_slice(&job->input[form], first, rows);
        size_t end = min_size(begin + EXPERT_TILES, tile_count(w.rows));
        matmul(g->k, &w, &in, job->out[i] + first * w.rows, w.rows, begin, end);
    }
}

/* Products of every active expert with its pairs. The matrices have the same rows. */
static void expert_products(graph *g, struct expert_products_job job)
{
    job.g = g;
    job.tasks_each = ceil_div(tile_count(job.w[0]->first.rows), EXPERT_TILES);
    team_run(g->team, g->experts.active_count * job.tasks_each, expert_products_task, &job);
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

void experts_block(graph *g, const struct layer *w)
{
    const struct hyper *h = &g->m->hyper;
    struct expert_scratch *x = &g->experts;
    if (h->experts.shared_width > 0)
        graph_feed_forward(g, &w->shared_gate, &w->shared_up, &w->shared_down, NULL, NULL, x->shared_out);

    struct choose_job choose = { .g = g, .w = w };
    team_run(g->team, g->token_count * ceil_div(h->experts.count, SCORES_PER_TASK), score_task, &choose);
    team_run(g->team, g->token_count, choose_task, &choose);
    lay_pairs(g);

    const matrix *ins[] = { &w->gate_exps.first, &w->up_exps.first }, *outs[] = { &w->down_exps.first };
    struct pairs_job pairs = { .g = g, .w = w, .forms = graph_forms(g, ins, 2) };
    lay_forms(g, x->in_form, x->in_room, pairs.forms, x->in, h->width);
    team_run(g->team, x->pairs, gather_task, &pairs);
    expert_products(g, (struct expert_products_job){ .input = x->in_form, .w = { &w->gate_exps, &w->up_exps },
                                                     .out = { x->gate, x->up }, .count = 2 });
    pairs.forms = graph_forms(g, outs, 1);
    lay_forms(g, x->mid_form, x->mid_room, pairs.forms, x->gate, h->experts.ffn_width);
    team_run(g->team, x->pairs, gate_task, &pairs);
    expert_products(g, (struct expert_products_job){ .input = x->mid_form, .w = { &w->down_exps }, .out = { x->out },
                                                     .count = 1 });
    team_run(g->team, g->token_count, sum_task, &pairs);
}
