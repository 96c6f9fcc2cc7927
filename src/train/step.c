/* See step.h. */
#include "train/step.h"

#include "base/checked.h"
#include "train/muon.h"

#include <assert.h>

double schedule_rate(const struct schedule *s, uint64_t done)
{
    double share = 1;
    if (done < s->warmup) share = (double)(done + 1) / (double)s->warmup;
    uint64_t left = done < s->steps ? s->steps - done : 0;
    if (left < s->decay && (double)left / (double)s->decay < share) share = (double)left / (double)s->decay;
    return s->rate * share;
}

double power_u64(double beta, uint64_t n)
{
    double power = 1;
    for (; n > 0; n >>= 1, beta *= beta)
        if (n & 1) power *= beta;
    return power;
}

/* Subtrees open at one time: one for every bit of the count, and the leaf. */
static size_t levels_of(size_t micro)
{
    size_t levels = 1;
    for (; micro > 0; micro >>= 1) levels++;
    return levels;
}

bool trainer_make(struct trainer *t, const struct layout *l, const struct optimizer *o, size_t micro_max,
                  size_t tokens_max, size_t row_tok_max, const struct gemm_kernels *gemm, const struct ops *ops,
                  team *threads, arena *a, err *e)
{
    *t = (struct trainer){ .optimizer = *o, .grad_levels = levels_of(micro_max) };
    if (t->grad_levels > GRAD_LEVELS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "microbatches a step: %zu, allowed %d", micro_max,
                    1 << (GRAD_LEVELS_MAX - 1));
    if (!net_make(&t->net, l, tokens_max, row_tok_max, gemm, ops, threads, a, e)) return false;
    real **runs[] = { &t->params, &t->m, &t->v };
    for (size_t i = 0; i < 3; i++)
        if ((*runs[i] = arena_take(a, l->total, sizeof(real), 64, "optimizer state", e)) == NULL) return false;
    for (size_t i = 0; i < t->grad_levels; i++)
        if ((t->grads[i] = arena_take(a, l->total, sizeof(real), 64, "gradients", e)) == NULL) return false;
    t->chunk_sums = ARENA_ARRAY(a, double, ceil_div(l->total, STEP_CHUNK), "gradient norms", e);
    if (t->chunk_sums == NULL || o->muon == 0) return t->chunk_sums != NULL;
    for (size_t i = 0; i < l->tensor_count; i++)
        if (l->tensors[i].hidden)
            t->muon_reals = max_size(t->muon_reals, muon_scratch(l->tensors[i].rows, l->tensors[i].cols));
    t->muon_scratch = arena_take(a, team_threads(threads) * t->muon_reals, sizeof(real), 64, "optimizer scratch", e);
    return t->muon_scratch != NULL;
}

/* ---- the tree ---- */

struct sum_job {
    const struct trainer *t;
    real *to;
    const real *from;
};

static void sum_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct sum_job *j = arg;
    size_t at = tile * STEP_CHUNK;
    j->t->net.ops->add(j->to + at, j->from + at, min_size(STEP_CHUNK, j->t->net.layout.total - at));
}

/* grads[top - 1] += grads[top] */
static void join_top(const struct trainer *t, size_t top)
{
    struct sum_job job = { t, t->grads[top - 1], t->grads[top] };
    team_run(t->net.team, ceil_div(t->net.layout.total, STEP_CHUNK), sum_tile, &job);
}

/* Leaves the step's gradient in grads[0]. */
static void sum_microbatches(struct trainer *t, const struct step_batch *b, struct step_result *out)
{
    size_t tokens = b->rows * b->row_tok, open = 0; /* open: subtrees on the stack */
    for (size_t i = 0; i < b->count; i++) {
        struct batch micro = { b->rows, b->row_tok, b->tok + i * tokens, b->target + i * tokens,
                               b->starts + i * tokens };
        struct batch_result r = net_run(&t->net, &micro, t->params, t->grads[open], 1 / (double)out->targets,
                                        1 / (double)b->count);
        out->loss += r.loss;
        out->aux += r.aux;
        out->right += r.right;
        open++;
        /* After microbatch i as many pairs close as i + 1 has factors of two. */
        for (size_t n = i + 1; n % 2 == 0; n /= 2) join_top(t, --open);
    }
    while (open > 1) join_top(t, --open);
}

/* ---- norm and update ---- */

static void norm_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct trainer *t = arg;
    size_t at = tile * STEP_CHUNK;
    t->chunk_sums[tile] = t->net.ops->sum_squares(t->grads[0] + at, min_size(STEP_CHUNK, t->net.layout.total - at));
}

/* Refuses the step, naming the first tensor with a gradient that is not a number. */
static bool refuse_gradient(const struct trainer *t, double loss, err *e)
{
    const struct layout *l = &t->net.layout;
    for (size_t i = 0; i < l->tensor_count; i++) {
        const struct tensor *at = &l->tensors[i];
        for (size_t j = 0; j < at->count * at->rows * at->cols; j++) {
            if (isfinite(t->grads[0][at->offset + j])) continue;
            char name[64];
            tensor_name(at, name, sizeof name);
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "step %llu: loss %g; gradient of %s at %zu is not finite",
                        (unsigned long long)t->step, loss, name, j);
        }
    }
    return fail(e, ERR_VALUE, ERR_NO_OFFSET, "step %llu: loss %g, norm of the gradient over f64",
                (unsigned long long)t->step, loss);
}

struct update_job {
    struct trainer *t;
    struct adamw o;
    real decay;
};

/* A chunk may hold the end of one tensor and the beginning of others: decay is a property of tensors. */
static void update_tile(void *arg, size_t tile, size_t thread)
{
    (void)thread;
    const struct update_job *j = arg;
    struct trainer *t = j->t;
    const struct layout *l = &t->net.layout;
    size_t from = tile * STEP_CHUNK, to = min_size(from + STEP_CHUNK, l->total);
    size_t low = 0, high = l->tensor_count; /* the last tensor that starts at or before `from` */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (l->tensors[middle].offset <= from) low = middle;
        else high = middle;
    }
    for (size_t i = low; i < l->tensor_count && l->tensors[i].offset < to; i++) {
        const struct tensor *at = &l->tensors[i];
        size_t begin = max_size(from, at->offset), end = min_size(to, at->offset + at->count * at->rows * at->cols);
        if (begin >= end || (at->hidden && t->optimizer.muon > 0)) continue;
        struct adamw o = j->o;
        o.decay = at->decays ? j->decay : 0;
        t->net.ops->adamw(t->params + begin, t->m + begin, t->v + begin, t->grads[0] + begin, &o, end - begin);
    }
}

/* Tile i is the ith matrix of all hidden ones. */
static void muon_tile(void *arg, size_t tile, size_t thread)
{
    const struct update_job *j = arg;
    struct trainer *t = j->t;
    struct net *n = &t->net;
    const struct tensor *at = n->layout.tensors;
    for (; !at->hidden || tile >= at->count; at++) tile -= at->hidden ? at->count : 0;
    struct muon o = { (real)t->optimizer.muon, j->o.rate, j->decay, j->o.grad_scale };
    size_t offset = at->offset + tile * at->rows * at->cols;
    muon_step(t->params + offset, t->m + offset, t->grads[0] + offset, at->rows, at->cols, &o, n->gemm, n->ops,
              t->muon_scratch + thread * t->muon_reals, n->scratch + thread * n->scratch_reals);
}

static size_t hidden_matrices(const struct layout *l)
{
    size_t count = 0;
    for (size_t i = 0; i < l->tensor_count; i++) count += l->tensors[i].hidden ? l->tensors[i].count : 0;
    return count;
}

static void update(struct trainer *t, double rate, double grad_norm)
{
    const struct optimizer *o = &t->optimizer;
    bool clips = o->clip > 0 && grad_norm > o->clip;
    struct update_job job = {
        .t = t,
        .o = { .rate = (real)rate, .beta1 = (real)o->beta1, .beta2 = (real)o->beta2, .eps = (real)o->eps,
               .correct1 = (real)(1 / (1 - power_u64(o->beta1, t->step + 1))),
               .correct2 = (real)(1 / (1 - power_u64(o->beta2, t->step + 1))),
               .grad_scale = clips ? (real)(o->clip / grad_norm) : 1 },
        .decay = (real)o->weight_decay,
    };
    team_run(t->net.team, ceil_div(t->net.layout.total, STEP_CHUNK), update_tile, &job);
    if (o->muon > 0) team_run(t->net.team, hidden_matrices(&t->net.layout), muon_tile, &job);
}

bool trainer_step(struct trainer *t, const struct step_batch *b, struct step_result *out, err *e)
{
    size_t tokens = b->count * b->rows * b->row_tok, chunks = ceil_div(t->net.layout.total, STEP_CHUNK);
    assert(b->count > 0 && levels_of(b->count) <= t->grad_levels);
    *out = (struct step_result){ .rate = schedule_rate(&t->optimizer.schedule, t->step) };
    for (size_t i = 0; i < tokens; i++) out->targets += b->target[i] >= 0;
    if (out->targets == 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "step %llu: no token of %zu carries a loss",
                    (unsigned long long)t->step, tokens);
    sum_microbatches(t, b, out);
    out->loss /= (double)out->targets;

    team_run(t->net.team, chunks, norm_tile, t);
    double squares = 0;
    for (size_t i = 0; i < chunks; i++) squares += t->chunk_sums[i];
    if (!isfinite(squares) || !isfinite(out->loss)) return refuse_gradient(t, out->loss, e);
    out->grad_norm = sqrt(squares);
    update(t, out->rate, out->grad_norm);
    t->step++;
    return true;
}
