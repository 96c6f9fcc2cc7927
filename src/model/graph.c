/* The graph: see graph.h. One step takes T tokens through every layer; each stage is one job of the thread team, split
 * over tokens, heads or output rows, never inside a sum.
 *
 *   x = embedding                                                       per token
 *   layer:  norm, quantize           -> q, k, v = products              tiles of 16 output rows
 *           bias, norms, rope, store                                    per token and key/value head
 *           attention                                                   per block of tokens and head (and span); one
 *                                                                       stage with the one before where it can be
 *           quantize                 -> o = product
 *           x = x + o (norm), norm, quantize -> gate, up = products     per token; tiles
 *           gate = act(gate) * up, quantize  -> down = product          per token (and columns); tiles
 *           x = x + down (norm)
 *   rows that were asked for: norm, quantize -> logits = product
 *
 * In the last layer tokens before the first that asked for logits end with key and value.
 */
#include "model/graph_part.h"

#include "base/checked.h"
#include "base/limits.h"
#include "cache/log_set.h"
#include "kernels/angle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- planning ---- */

enum { DENSE_NEEDS = 23, NEEDS_MAX = DENSE_NEEDS + EXPERT_NEEDS + LATENT_NEEDS, NEED_ALIGN = 64 };

/* Everything graph_new takes, in one place: the sum is the plan, the loop over it is the taking. */
static size_t list_needs(graph *g, size_t threads, struct need out[static NEEDS_MAX])
{
    const struct hyper *h = &g->m->hyper;
    size_t chunk = g->set.chunk_tok, heads = h->heads, f = sizeof(float), logit_rows = g->set.logit_rows;
    size_t ffn_width = max_size(h->ffn_width, h->experts.shared_width);
    size_t cols_max = max_size(max_size(h->width, heads * max_size(h->value_dim, h->latent.value_dim)), ffn_width);
    g->rows_max = BLOCK_TOK * (heads / h->kv_heads);
    g->part_floats = round_up(h->value_dim + 2, 16);
    g->spans_max = ceil_div(g->set.ctx_tok, SPAN_TOK) + 1; /* log tiers: one of exact pages */
    const struct need needs[DENSE_NEEDS] = {
        { (void **)&g->x, chunk * h->width, f },
        { (void **)&g->normed, chunk * h->width, f },
        { (void **)&g->q, chunk * heads * h->key_dim, f },
        { (void **)&g->key, chunk * h->kv_heads * h->key_dim, f },
        { (void **)&g->value, chunk * h->kv_heads * h->value_dim, f },
        { (void **)&g->attended, chunk * heads * h->value_dim, f },
        { (void **)&g->block_out, chunk * h->width, f },
        { (void **)&g->gate, chunk * ffn_width, f },
        { (void **)&g->up, chunk * ffn_width, f },
        { (void **)&g->hidden, logit_rows * h->width, f },
        { (void **)&g->logits, logit_rows * h->vocab, f },
        { (void **)&g->parts, threads * 2 * g->rows_max * g->part_floats, f },
        { (void **)&g->span_parts, g->spans_max * SPLIT_TOK * heads * g->part_floats, f },
        { (void **)&g->rows, threads * g->rows_max, sizeof *g->rows },
        { (void **)&g->blocks, chunk, sizeof *g->blocks },
        { (void **)&g->steps, chunk, sizeof *g->steps },
        { (void **)&g->pack_room, threads * LOG_PACK_FLOATS, f },
        { (void **)&g->positions, chunk, sizeof *g->positions },
        { (void **)&g->wanted, chunk, sizeof *g->wanted },
        { (void **)&g->stretches, threads, sizeof *g->stretches },
        { &g->room[ACTIVATION_F32], activations_bytes(ACTIVATION_F32, cols_max, chunk), 1 },
        { &g->room[ACTIVATION_INT8_32], activations_bytes(ACTIVATION_INT8_32, cols_max, chunk), 1 },
        { &g->room[ACTIVATION_INT8_256], activations_bytes(ACTIVATION_INT8_256, cols_max, chunk), 1 },
    };
    memcpy(out, needs, sizeof needs);
    size_t count = DENSE_NEEDS;
    if (h->experts.count > 0) count += experts_needs(g, threads, out + count);
    if (h->latent.kv_rank > 0) count += latent_needs(g, out + count);
    return count;
}

/* Limits keep every product here far under 2^63: widths under 2^20, chunks under 2^12, vocabularies under 2^21. */
size_t graph_scratch_bytes(const model *m, const struct graph_settings *s, size_t threads)
{
    graph g = { .m = m, .set = *s };
    struct need needs[NEEDS_MAX];
    size_t bytes = 0, count = list_needs(&g, threads, needs);
    for (size_t i = 0; i < count; i++) bytes += round_up(needs[i].count * needs[i].each_bytes, NEED_ALIGN);
    return bytes;
}

static bool settings_check(const model *m, const struct graph_settings *s, err *e)
{
    assert(m->layers != NULL);
    if (s->chunk_tok < 1 || s->chunk_tok > BATCH_TOK_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "--chunk: %zu tokens, allowed 1..%d", s->chunk_tok, BATCH_TOK_MAX);
    if (s->logit_rows < 1 || s->logit_rows > s->chunk_tok)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "rows of logits: %zu, allowed 1..%zu", s->logit_rows, s->chunk_tok);
    if (s->ctx_tok < 1 || s->ctx_tok > CTX_TOK_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "--ctx: %zu positions, allowed 1..%d", s->ctx_tok, CTX_TOK_MAX);
    return hyper_ctx_check(&m->hyper, s->ctx_tok, e);
}

static bool take_ropes(graph *g, err *e)
{
    const model *m = g->m;
    const struct rope_config *c = &m->hyper.rope;
    /* longrope: the long factors belong to contexts beyond the one it was trained on first. */
    bool use_long = c->scaling == ROPE_LONG && g->set.ctx_tok > c->original_ctx_tok && m->rope_factors_long != NULL;
    const float *divisors = use_long ? m->rope_factors_long : m->rope_factors;
    if (!rope_table_new(&g->rope, c, divisors, g->set.ctx_tok, &g->arena, e)) return false;
    bool own = m->hyper.arch->local_rope_base > 0.0f && m->hyper.window > 0;
    return !own || rope_table_new(&g->rope_local, &m->hyper.rope_local, NULL, g->set.ctx_tok, &g->arena, e);
}

static bool take_all(graph *g, size_t threads, err *e)
{
    struct need needs[NEEDS_MAX];
    size_t count = list_needs(g, threads, needs);
    for (size_t i = 0; i < count; i++) {
        *needs[i].out = arena_take(&g->arena, needs[i].count, needs[i].each_bytes, NEED_ALIGN, "graph", e);
        if (*needs[i].out == NULL) return false;
    }
    if (g->m->hyper.experts.count > 0) experts_start(g, threads);
    return take_ropes(g, e);
}

/* Scratch and rope tables. */
static size_t arena_bytes_of(const model *m, const struct graph_settings *s, size_t threads)
{
    size_t rope_bytes = s->ctx_tok * m->hyper.rope.dims * sizeof(float) + 65536;
    return graph_scratch_bytes(m, s, threads) + 2 * rope_bytes;
}

bool graph_new(graph **out, const model *m, const struct kernels *k, team *t, const struct graph_settings *s, err *e)
{
    *out = NULL;
    if (!settings_check(m, s, e)) return false;
    graph *g = calloc(1, sizeof *g);
    if (g == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "graph: no memory");
    *g = (graph){ .m = m, .k = k, .team = t, .set = *s };
    bool good = arena_new(&g->arena, arena_bytes_of(m, s, team_threads(t)), e);
    if (good) arena_huge(&g->arena);
    if (!good || !take_all(g, team_threads(t), e)) {
        graph_free(g);
        return false;
    }
    *out = g;
    return true;
}

bool graph_new_in(graph **out, const model *m, const struct kernels *k, team *t, const struct graph_settings *s,
                  arena *a, err *e)
{
    if (!settings_check(m, s, e)) return false;
    size_t bytes = arena_bytes_of(m, s, team_threads(t));
    graph *g = ARENA_ARRAY(a, graph, 1, "graph", e);
    uint8_t *base = arena_take(a, bytes, 1, 4096, "graph", e);
    if (g == NULL || base == NULL) return false;
    *g = (graph){ .m = m, .k = k, .team = t, .set = *s, .arena = { base, bytes, 0 } };
    *out = g;
    return take_all(g, team_threads(t), e);
}

size_t graph_bad_token(const graph *g)
{
    size_t row = atomic_load(&g->bad_token);
    return row != SIZE_MAX && g->gathered ? g->wanted[row] : row;
}

void graph_watch(graph *g, expert_watch *watch, void *arg)
{
    g->watch = watch;
    g->watch_arg = arg;
}

void graph_watch_inputs(graph *g, input_watch *watch, void *arg)
{
    g->input_watch = watch;
    g->input_watch_arg = arg;
}

void graph_free(graph *g)
{
    if (g == NULL) return;
    arena_free(&g->arena);
    free(g);
}

/* ---- inputs of products ---- */

void graph_mark_bad(graph *g, size_t token)
{
    size_t seen = atomic_load(&g->bad_token);
    while (token < seen && !atomic_compare_exchange_weak(&g->bad_token, &seen, token)) {}
}

unsigned graph_forms(const graph *g, const matrix *const *w, size_t count)
{
    unsigned forms = 0;
    for (size_t i = 0; i < count; i++)
        forms |= 1u << (g->set.activations_f32 ? ACTIVATION_F32 : weight_kind(w[i]->type)->activations);
    return forms;
}

static void lay_inputs(graph *g, unsigned forms, const float *x, size_t cols, size_t count)
{
    for (size_t f = 0; f < FORMS; f++)
        if (forms >> f & 1) activations_lay(&g->input[f], (enum activation_form)f, x, cols, cols, count, g->room[f]);
}

void graph_make_inputs(graph *g, activations *input, unsigned forms, size_t t, size_t token)
{
    for (size_t f = 0; f < FORMS; f++)
        if ((forms >> f & 1) && !activations_make(g->k, &input[f], t)) graph_mark_bad(g, token);
}

/* ---- products ---- */

static void products(graph *g, const matrix *const *w, float *const *out, size_t count)
{
    graph_products(g, g->input, w, out, count);
}

/* Asks for values that another stage left in the third cache: rows are too short for the hardware to learn where the
 * next one is. */
static void ask_values(const float *at, size_t count)
{
    for (size_t i = 0; i < count; i += 64 / sizeof *at) __builtin_prefetch(at + i, 1, 2);
}

/* Tokens of one task where tasks of one would be shorter than the way to the third cache; one where tokens are few:
 * every thread is to have some. */
static size_t task_tokens(const graph *g)
{
    enum { TASK_TOK = 4 };
    return g->token_count >= 4 * TASK_TOK * team_threads(g->team) ? TASK_TOK : 1;
}

/* ---- rows: embedding, residual, norm ---- */

/* Per token: what the last block made joins the residual stream, and the next block's input is made. */
struct rows_job {
    graph *g;
    bool embed;              /* x = embedding, instead of joining */
    const float *out_bias, *post_norm; /* of the block that ended */
    const float *norm;       /* of the block that begins; NULL: none */
    unsigned forms;
    size_t task_tok;
};

static void embed_row(graph *g, size_t t)
{
    const struct hyper *h = &g->m->hyper;
    float *x = g->x + t * h->width;
    tile_widen_row(&g->m->embedding, (size_t)g->tokens[t].token, x);
    if (h->embedding_scale != 1.0f) g->k->vector.scale(x, h->embedding_scale, h->width);
}

static void join_row(graph *g, const struct rows_job *job, size_t t)
{
    const struct hyper *h = &g->m->hyper;
    const struct vector_kernels *v = &g->k->vector;
    float *x = g->x + t * h->width, *made = g->block_out + t * h->width;
    if (job->out_bias != NULL) v->add(made, job->out_bias, h->width);
    if (job->post_norm != NULL) v->rms_norm(made, job->post_norm, h->width, h->eps, made);
    if (h->residual_scale == 1.0f) v->add(x, made, h->width);
    else v->add_scaled(x, made, h->residual_scale, h->width);
}

static void ask_row(const struct rows_job *job, size_t t)
{
    const graph *g = job->g;
    size_t width = g->m->hyper.width;
    if (t >= g->token_count || job->embed || job->task_tok == 1) return;
    ask_values(g->x + t * width, width);
    ask_values(g->block_out + t * width, width);
}

static void one_row(const struct rows_job *job, size_t t)
{
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    if (job->embed) embed_row(g, t);
    else join_row(g, job, t);
    float *x = g->x + t * h->width;
    if (job->norm != NULL) g->k->vector.rms_norm(x, job->norm, h->width, h->eps, g->normed + t * h->width);
    graph_make_inputs(g, g->input, job->forms, t, t);
}

static void rows_task(void *arg, size_t task, size_t thread)
{
    const struct rows_job *job = arg;
    size_t first = task * job->task_tok, end = min_size(first + job->task_tok, job->g->token_count);
    (void)thread;
    ask_row(job, first);
    for (size_t t = first; t < end; t++) {
        ask_row(job, t + 1);
        one_row(job, t);
    }
}

static void rows(graph *g, struct rows_job job, const matrix *const *next, size_t next_count)
{
    job.g = g;
    job.forms = graph_forms(g, next, next_count);
    lay_inputs(g, job.forms, job.norm != NULL ? g->normed : g->x, g->m->hyper.width, g->token_count);
    job.task_tok = task_tokens(g);
    graph_run(g, ceil_div(g->token_count, job.task_tok), rows_task, &job);
}

/* ---- attention ---- */

struct heads_job {
    graph *g;
    size_t layer;
    const struct layer *w;
    bool whole;             /* one task a token: the q and k norms run over all heads */
    bool queries_later;     /* by the task that attends with them */
};

void graph_turn(const graph *g, size_t layer, float *x, size_t token)
{
    const struct hyper *h = &g->m->hyper;
    if (!layer_has_rope(h, layer)) return;
    bool local = layer_has_window(h, layer) && g->rope_local.angles != NULL;
    const rope_table *table = local ? &g->rope_local : &g->rope;
    g->k->vector.rope(x, rope_angles(table, g->positions[token]), table->half, h->arch->rope == ROPE_PAIRS);
}

/* Llama-4 scaling of queries far from the start: 1 + scale * ln(1 + floor(pos / tok)), made in f64. */
static void cool(const graph *g, float *head, size_t pos)
{
    const struct hyper *h = &g->m->hyper;
    if (h->q_temperature_scale <= 0.0f || pos < h->q_temperature_tok) return;
    double turns = (double)(pos / h->q_temperature_tok);
    float f = (float)(1.0 + (double)h->q_temperature_scale * log_f64(1.0 + turns));
    g->k->vector.scale(head, f, h->key_dim);
}

/* The q and k norms run over each head. */
static bool norm_per_head(const struct heads_job *job)
{
    return !job->whole && job->w->q_norm != NULL;
}

/* Biases, norms and rope of the query heads of key/value head `kv`. */
static void place_queries(const struct heads_job *job, size_t t, size_t kv)
{
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct vector_kernels *v = &g->k->vector;
    size_t group = h->heads / h->kv_heads, pos = g->positions[t], d = h->key_dim;
    bool per_head = norm_per_head(job);
    for (size_t i = kv * group; i < (kv + 1) * group; i++) {
        float *q = g->q + (t * h->heads + i) * d;
        if (!job->whole && job->w->q_bias != NULL) v->add(q, job->w->q_bias + i * d, d);
        if (per_head) v->rms_norm(q, job->w->q_norm, d, h->eps, q);
        graph_turn(g, job->layer, q, t);
        cool(g, q, pos);
    }
}

/* The same of the key, and the value's bias. */
static void place_key(const struct heads_job *job, size_t t, size_t kv)
{
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct vector_kernels *v = &g->k->vector;
    size_t d = h->key_dim;
    float *key = g->key + (t * h->kv_heads + kv) * d, *value = g->value + (t * h->kv_heads + kv) * h->value_dim;
    if (!job->whole && job->w->k_bias != NULL) v->add(key, job->w->k_bias + kv * d, d);
    if (job->w->v_bias != NULL) v->add(value, job->w->v_bias + kv * h->value_dim, h->value_dim);
    if (norm_per_head(job)) v->rms_norm(key, job->w->k_norm, d, h->eps, key);
    graph_turn(g, job->layer, key, t);
}

static void ask_queries(const graph *g, size_t t, size_t kv)
{
    const struct hyper *h = &g->m->hyper;
    size_t group = h->heads / h->kv_heads;
    ask_values(g->q + (t * h->heads + kv * group) * h->key_dim, group * h->key_dim);
}

static void ask_key(const graph *g, size_t t, size_t kv)
{
    const struct hyper *h = &g->m->hyper;
    ask_values(g->key + (t * h->kv_heads + kv) * h->key_dim, h->key_dim);
    ask_values(g->value + (t * h->kv_heads + kv) * h->value_dim, h->value_dim);
}

/* Into the cache, `count` tokens of one page. */
static void keep_page(const struct heads_job *job, size_t t, size_t count, size_t kv)
{
    const graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    enum kv_type type;
    struct kv_page page = graph_place(g, t, job->layer, kv, &type);
    const struct attention_tokens from = { .k = g->key + (t * h->kv_heads + kv) * h->key_dim,
                                           .v = g->value + (t * h->kv_heads + kv) * h->value_dim,
                                           .k_stride = h->kv_heads * h->key_dim,
                                           .v_stride = h->kv_heads * h->value_dim, .count = count };
    if (page.keys != NULL)
        g->k->attention.store(type, &from, h->key_dim, h->value_dim, g->positions[t] % PAGE_TOK, page.keys,
                              page.values);
}

/* Into the cache, page by page. */
static void keep_head(const struct heads_job *job, size_t t, size_t count, size_t kv)
{
    for (size_t end = t + count, of_page; t < end; t += of_page) {
        of_page = min_size(PAGE_TOK - job->g->positions[t] % PAGE_TOK, end - t);
        keep_page(job, t, of_page, kv);
    }
}

/* A block's query heads. */
static void place_block_queries(const struct heads_job *job, const struct block *b, size_t kv)
{
    size_t end = b->first + b->count;
    for (size_t t = max_size(b->first, job->g->asked); t < end; t++) {
        if (t + 1 < end) ask_queries(job->g, t + 1, kv);
        place_queries(job, t, kv);
    }
}

/* A block's tokens are a stretch of one sequence. */
static void heads_task(void *arg, size_t task, size_t thread)
{
    const struct heads_job *job = arg;
    const struct block *b = &job->g->blocks[task % job->g->block_count];
    (void)thread;
    size_t kv = task / job->g->block_count; /* a thread's stretch: all tokens of the heads that it made */
    if (!job->queries_later) place_block_queries(job, b, kv);
    for (size_t t = b->first; t < b->first + b->count; t++) {
        if (t + 1 < b->first + b->count) ask_key(job->g, t + 1, kv);
        place_key(job, t, kv);
    }
    keep_head(job, b->first, b->count, kv);
}

/* One token, where the q and k norms run over all its heads. */
static void whole_task(void *arg, size_t t, size_t thread)
{
    const struct heads_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct vector_kernels *v = &g->k->vector;
    size_t q_width = h->heads * h->key_dim, k_width = h->kv_heads * h->key_dim;
    float *q = g->q + t * q_width, *key = g->key + t * k_width;
    (void)thread;
    if (job->w->q_bias != NULL) v->add(q, job->w->q_bias, q_width);
    if (job->w->k_bias != NULL) v->add(key, job->w->k_bias, k_width);
    v->rms_norm(q, job->w->q_norm, q_width, h->eps, q);
    v->rms_norm(key, job->w->k_norm, k_width, h->eps, key);
    for (size_t kv = 0; kv < h->kv_heads; kv++) {
        place_queries(job, t, kv);
        place_key(job, t, kv);
        keep_head(job, t, 1, kv);
    }
}

struct attend_job {
    graph *g;
    size_t layer, window; /* window 0: none */
    size_t spans;         /* over 0: one task a span, parts kept; 0: one task goes through all spans */
    size_t slices;        /* pieces of a block's rows, where spans are tasks */
    const struct heads_job *queries; /* not NULL: query heads are placed here, so that they cross the caches once */
};

/* The rows of block `b` and head `kv`, every query head of the group, token by token; of these up to `most` from number
 * `first` on. Parts are `part_floats` apart. */
static size_t fill_rows(const struct attend_job *job, const struct block *b, size_t kv, size_t first, size_t most,
                        struct attention_row *row, float *part)
{
    const graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    size_t group = h->heads / h->kv_heads, all = b->count * group, end = min_size(all, first + most);
    for (size_t n = first; n < end; n++) {
        size_t i = n / group, head = kv * group + n % group;
        size_t hi = b->pos + i + 1, lo = job->window > 0 && hi > job->window ? hi - job->window : 0;
        row[n - first] = (struct attention_row){ .q = g->q + ((b->first + i) * h->heads + head) * h->key_dim,
                                                 .lo = lo, .hi = hi, .part = part + n * g->part_floats };
    }
    return end > first ? end - first : 0;
}

/* Spans of packed pages of a log block. */
static size_t packed_spans(const struct block *b)
{
    return b->spans - 1;
}

/* The exact pages of a log block: the set and the window, or what there is of it. Rows see them as positions of their
 * own: the set's slots first. */
static void run_exact(const struct attend_job *job, const struct block *b, size_t kv, struct attention_span *span,
                      struct attention_row *row)
{
    size_t m = b->pos / PAGE_TOK, window = m > 0 ? (m - 1) * PAGE_TOK : 0, slots = m > 1 ? PAGE_TOK : 0;
    const void *keys[KV_EXACT_BLOCKS], *values[KV_EXACT_BLOCKS];
    struct kv_page page = { NULL, NULL };
    size_t pages = 0;
    for (size_t p = m > 2 ? m - 2 : 0; p <= m; p++, pages++) {
        bool set = m > 1 && p + 2 == m;
        page = set ? kv_step_set(b->step, m, job->layer, kv) : kv_step_exact(b->step, p, job->layer, kv);
        keys[pages] = page.keys;
        values[pages] = page.values;
    }
    for (size_t r = 0; r < span->row_count; r++) {
        size_t lo = row[r].lo, before = 0;
        for (size_t slot = 0; slot < slots && lo > 0; slot++) before += log_slot(m, slot) < lo;
        row[r].lo = lo > window ? slots + lo - window : before;
        row[r].hi = slots + row[r].hi - window;
    }
    span->k_pages = keys;
    span->v_pages = values;
    span->pages = pages;
    span->type = KV_F16;
    job->g->k->attention.span(span);
}

/* Positions of a span's pages that the set of page m has. */
static void skip_set(size_t m, size_t first, size_t pages, uint64_t *skip)
{
    enum { REACH = 8 }; /* pages behind the window that the set reaches into, and page 0 */
    memset(skip, 0, pages * sizeof *skip);
    if (first > 0 && first + pages + REACH < m) return;
    for (size_t slot = 0; slot < PAGE_TOK; slot++) {
        size_t at = log_slot(m, slot), page = at / PAGE_TOK;
        if (page >= first && page < first + pages) skip[page - first] |= (uint64_t)1 << at % PAGE_TOK;
    }
}

/* Runs span `s` of block `b` over `rows`; false where no row can see any of it. */
static bool run_span(const struct attend_job *job, const struct block *b, size_t kv, size_t s,
                     struct attention_row *row, size_t row_count)
{
    const graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    enum kv_type type = b->seq->pool->shape.type;
    bool log = kv_is_log(type);
    size_t m = b->pos / PAGE_TOK, lo = row[0].lo, hi = b->pos + b->count; /* the first row sees furthest back */
    struct attention_span span = { .first_page = 0, .type = type, .key_dim = h->key_dim, .value_dim = h->value_dim,
                                   .scale = h->attention_scale, .soft_cap = h->attention_soft_cap, .rows = row,
                                   .row_count = row_count };
    if (log && s == packed_spans(b)) {
        run_exact(job, b, kv, &span, row);
        return true;
    }
    if (log) hi = m > 0 ? (m - 1) * PAGE_TOK : 0;
    if (s * SPAN_TOK >= hi || (s + 1) * SPAN_TOK <= lo || s >= b->spans) return false;
    const void *keys[SPAN_PAGES + GROUP_PAGES], *values[SPAN_PAGES];
    uint64_t skip[SPAN_PAGES];
    size_t first = s * SPAN_PAGES, all = ceil_div(hi, PAGE_TOK) - first, pages = min_size(all, SPAN_PAGES);
    for (size_t p = 0; p < min_size(all, SPAN_PAGES + GROUP_PAGES); p++)
        keys[p] = kv_keys(b->seq, first + p, job->layer, kv);
    for (size_t p = 0; p < pages; p++) values[p] = kv_values(b->seq, first + p, job->layer, kv);
    for (size_t r = 0; log && r < row_count; r++) row[r].hi = min_size(row[r].hi, hi);
    if (log) skip_set(m, first, pages, skip);
    span.k_pages = keys;
    span.v_pages = b->seq->pool->shape.value_dim > 0 ? values : NULL;
    span.skip = log ? skip : NULL;
    span.first_page = first;
    span.pages = pages;
    span.ahead = min_size(all - pages, GROUP_PAGES);
    (kv_is_coded(type) ? g->k->attention.coded_span : g->k->attention.span)(&span);
    return true;
}

static float *attended_row(const graph *g, const struct block *b, size_t kv, size_t row)
{
    const struct hyper *h = &g->m->hyper;
    size_t group = h->heads / h->kv_heads, head = kv * group + row % group;
    return g->attended + ((b->first + row / group) * h->heads + head) * h->value_dim;
}

/* The sink of row `row`'s query head, or NULL. */
static const float *row_sink(const struct attend_job *job, size_t kv, size_t row)
{
    const struct hyper *h = &job->g->m->hyper;
    const float *sinks = job->g->m->layers[job->layer].sinks;
    size_t group = h->heads / h->kv_heads;
    return sinks != NULL ? sinks + kv * group + row % group : NULL;
}

/* All spans of one block and head, combined in order as they come. */
static void attend_task(void *arg, size_t task, size_t thread)
{
    const struct attend_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct block *b = &g->blocks[task % g->block_count];
    size_t kv = task / g->block_count;
    struct attention_row *row = g->rows + thread * g->rows_max;
    float *whole = g->parts + thread * 2 * g->rows_max * g->part_floats, *part = whole + g->rows_max * g->part_floats;
    size_t count = fill_rows(job, b, kv, 0, g->rows_max, row, part);
    if (job->queries != NULL) place_block_queries(job->queries, b, kv);
    for (size_t r = 0; r < count; r++) memset(whole + r * g->part_floats, 0, (h->value_dim + 2) * sizeof(float));
    bool log = kv_is_log(b->seq->pool->shape.type);
    for (size_t s = 0; s < b->spans; s++) {
        if (log && s > 0) fill_rows(job, b, kv, 0, g->rows_max, row, part); /* each span narrows what they see */
        for (size_t r = 0; log && s == packed_spans(b) && s > 0 && r < count; r++)
            coded_turn_back(whole + r * g->part_floats, h->value_dim);
        if (!run_span(job, b, kv, s, row, count)) continue;
        for (size_t r = 0; r < count; r++)
            g->k->attention.combine(whole + r * g->part_floats, row[r].part, h->value_dim);
    }
    for (size_t r = 0; r < count; r++) {
        if (!log && kv_turns_values(b->seq->pool->shape.type)) coded_turn_back(whole + r * g->part_floats,
                h->value_dim);
        if (r + 1 < count) ask_values(attended_row(g, b, kv, r + 1), h->value_dim);
        g->k->attention.finish(whole + r * g->part_floats, row_sink(job, kv, r), h->value_dim,
                               attended_row(g, b, kv, r));
    }
}

/* Where span `s` of the rows of block `b` and head `kv` leaves its parts: span, then token, then head. */
static float *span_part(const graph *g, const struct block *b, size_t kv, size_t s)
{
    const struct hyper *h = &g->m->hyper;
    size_t group = h->heads / h->kv_heads;
    return g->span_parts + ((s * SPLIT_TOK + b->first) * h->heads + kv * group * b->count) * g->part_floats;
}

static void attend_span_task(void *arg, size_t task, size_t thread)
{
    const struct attend_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    size_t most = job->slices > 1 ? SLICE_ROWS : g->rows_max, first = task % job->slices * most;
    size_t s = task / job->slices % job->spans;
    size_t head = task / job->slices / job->spans, kv = head % h->kv_heads;
    const struct block *b = &g->blocks[head / h->kv_heads];
    struct attention_row *row = g->rows + thread * g->rows_max;
    size_t count = fill_rows(job, b, kv, first, most, row, span_part(g, b, kv, s));
    if (count == 0) return;
    if (!run_span(job, b, kv, s, row, count))
        for (size_t r = 0; r < count; r++) memset(row[r].part, 0, (h->value_dim + 2) * sizeof(float));
}

static void attend_join_task(void *arg, size_t task, size_t thread)
{
    const struct attend_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct block *b = &g->blocks[task / h->kv_heads];
    size_t kv = task % h->kv_heads, count = b->count * (h->heads / h->kv_heads);
    (void)thread;
    for (size_t r = 0; r < count; r++) {
        float *whole = span_part(g, b, kv, 0) + r * g->part_floats;
        bool log = kv_is_log(b->seq->pool->shape.type);
        for (size_t s = 1; s < b->spans; s++) {
            if (log && s == packed_spans(b)) coded_turn_back(whole, h->value_dim);
            g->k->attention.combine(whole, span_part(g, b, kv, s) + r * g->part_floats, h->value_dim);
        }
        if (!log && kv_turns_values(b->seq->pool->shape.type)) coded_turn_back(whole, h->value_dim);
        g->k->attention.finish(whole, row_sink(job, kv, r), h->value_dim, attended_row(g, b, kv, r));
    }
}

static void attend(graph *g, size_t layer, const struct heads_job *queries)
{
    const struct hyper *h = &g->m->hyper;
    struct attend_job job = { .g = g, .layer = layer, .window = layer_has_window(h, layer) ? h->window : 0,
                              .queries = queries };
    size_t spans = 0;
    for (size_t b = 0; b < g->block_count; b++) spans = max_size(spans, g->blocks[b].spans);
    size_t heads = g->block_count * h->kv_heads;
    /* Few spans and many rows (latent attention): pieces of rows, so that no thread has nothing. */
    job.slices = 1;
    if (heads * spans < 2 * team_threads(g->team))
        job.slices = ceil_div(min_size(g->token_count, BLOCK_TOK) * (h->heads / h->kv_heads), SLICE_ROWS);
    if (g->token_count <= SPLIT_TOK && (spans > 1 || job.slices > 1)) {
        job.spans = spans;
        team_run(g->team, heads * spans * job.slices, attend_span_task, &job);
        team_run(g->team, heads, attend_join_task, &job);
    } else {
        graph_run(g, heads, attend_task, &job);
    }
}

void graph_attend(graph *g, size_t layer)
{
    attend(g, layer, NULL);
}

struct kv_page graph_place(const graph *g, size_t token, size_t layer, size_t head, enum kv_type *type)
{
    const struct block *b = g->blocks;
    kv_seq *seq = g->tokens[token].seq;
    size_t page = g->positions[token] / PAGE_TOK;
    *type = seq->pool->shape.type;
    if (kv_is_log(*type)) {
        *type = KV_F16;
        while (b->first + b->count <= token) b++;
        return kv_step_exact(b->step, page, layer, head);
    }
    if (kv_is_coded(*type)) return (struct kv_page){ NULL, NULL };
    return (struct kv_page){ kv_keys(seq, page, layer, head), kv_values(seq, page, layer, head) };
}

struct store_job {
    graph *g;
    size_t layer, value_stride;
    const float *keys, *values;
};

/* Tokens that share a page of a token tier: codes of several positions share bytes, so one task stores them all. */
static void store_task(void *arg, size_t task, size_t thread)
{
    const struct store_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct block *b = &g->blocks[task / h->kv_heads];
    size_t kv = task % h->kv_heads, page = b->pos / PAGE_TOK;
    const kv_pool *pool = b->seq->pool;
    (void)thread;
    if (kv_is_log(pool->shape.type) || !kv_is_coded(pool->shape.type)) return;
    size_t group = h->heads / h->kv_heads;
    for (size_t i = 0; kv_turns_keys(pool->shape.type) && i < b->count * group; i++)
        coded_turn(g->q + ((b->first + i / group) * h->heads + kv * group + i % group) * h->key_dim, h->key_dim);
    if (b > g->blocks && b[-1].step == b->step && b[-1].pos / PAGE_TOK == page) return; /* the page's first does it */
    size_t end = min_size((page + 1) * PAGE_TOK, b->step->first + b->step->count);
    for (size_t pos = b->pos, t = b->first; pos < end; pos++, t++) {
        const float *key = job->keys + (t * h->kv_heads + kv) * h->key_dim;
        const float *value = job->values + (t * h->kv_heads + kv) * job->value_stride;
        coded_store(pool->shape.type, &pool->layout, key, value, h->key_dim, h->value_dim, pos % PAGE_TOK,
                    kv_keys(b->seq, page, job->layer, kv));
    }
}

static void settle_task(void *arg, size_t task, size_t thread)
{
    const struct store_job *job = arg;
    graph *g = job->g;
    const kv_step *step = &g->steps[task / g->m->hyper.kv_heads];
    if (kv_step_turns(step))
        kv_step_settle(step, job->layer, task % g->m->hyper.kv_heads, g->pack_room + thread * LOG_PACK_FLOATS);
}

void graph_store(graph *g, size_t layer, const float *keys, const float *values, size_t value_stride)
{
    struct store_job job = { g, layer, value_stride, keys, values };
    bool store = false, settle = false;
    for (size_t i = 0; i < g->step_count; i++) {
        enum kv_type type = g->steps[i].seq->pool->shape.type;
        store = store || (kv_is_coded(type) && !kv_is_log(type));
        settle = settle || kv_step_turns(&g->steps[i]);
    }
    if (store) team_run(g->team, g->block_count * g->m->hyper.kv_heads, store_task, &job);
    if (settle) team_run(g->team, g->step_count * g->m->hyper.kv_heads, settle_task, &job);
}

struct place_attend_job {
    struct heads_job place;
    struct attend_job attend;
};

/* The page that a block's token is stored into, before its key is ready: the lines of one key are 128 apart, and with
 * one token a step all of them have left the caches since the last step. */
static void ask_page(const graph *g, size_t layer, const struct block *b, size_t kv)
{
    const struct hyper *h = &g->m->hyper;
    size_t value_bytes = b->seq->pool->shape.type == KV_F32 ? 4 : 2, last = b->pos % PAGE_TOK;
    const uint8_t *keys = kv_keys(b->seq, b->pos / PAGE_TOK, layer, kv);
    const uint8_t *values = kv_values(b->seq, b->pos / PAGE_TOK, layer, kv);
    for (size_t c = 0; c < h->key_dim; c++)
        for (size_t at = 0; at <= last * value_bytes; at += 64)
            __builtin_prefetch(keys + c * PAGE_TOK * value_bytes + at, 1, 2);
    for (size_t at = 0; at < (last + 1) * h->value_dim * value_bytes; at += 64) __builtin_prefetch(values + at, 0, 2);
}

static void place_attend_task(void *arg, size_t task, size_t thread)
{
    const struct place_attend_job *job = arg;
    const graph *g = job->place.g;
    ask_page(g, job->place.layer, &g->blocks[task % g->block_count], task / g->block_count);
    heads_task((void *)(uintptr_t)&job->place, task, thread);
    attend_task((void *)(uintptr_t)&job->attend, task, thread);
}

/* Where no block reads what another one stores in this step, a head's key is stored and its queries go over the pages
 * in one task: a stage less, and the page's lines stay in one core. */
static bool place_and_attend(graph *g, size_t layer)
{
    const struct hyper *h = &g->m->hyper;
    struct place_attend_job job = {
        .place = { .g = g, .layer = layer, .w = &g->m->layers[layer] },
        .attend = { .g = g, .layer = layer, .window = layer_has_window(h, layer) ? h->window : 0 },
    };
    if (h->arch->qk_norm == QK_NORM_FULL || g->block_count != g->step_count) return false;
    for (size_t b = 0; b < g->block_count; b++)
        if (kv_is_coded(g->blocks[b].seq->pool->shape.type) ||
            (g->token_count <= SPLIT_TOK && g->blocks[b].spans > 1))
            return false;
    graph_run(g, g->block_count * h->kv_heads, place_attend_task, &job);
    return true;
}

/* Whether each block's queries belong to one task that attends, and nothing else asks for them before. */
static bool queries_can_wait(const graph *g)
{
    if (g->m->hyper.arch->qk_norm == QK_NORM_FULL || g->token_count <= SPLIT_TOK) return false;
    for (size_t b = 0; b < g->block_count; b++)
        if (kv_is_coded(g->blocks[b].seq->pool->shape.type)) return false;
    return true;
}

/* Leaves of the step's blocks the tokens from g->asked on. */
static void narrow_blocks(graph *g)
{
    size_t kept = 0;
    for (size_t i = 0; i < g->block_count; i++) {
        struct block b = g->blocks[i];
        size_t end = b.first + b.count, first = max_size(b.first, g->asked);
        if (end <= first) continue;
        b.pos += first - b.first;
        b.count = end - first;
        b.first = first;
        g->blocks[kept++] = b;
    }
    g->block_count = kept;
}

/* Places heads, stores keys and values, attends. */
static void place_then_attend(graph *g, size_t layer)
{
    const struct hyper *h = &g->m->hyper;
    struct heads_job job = { .g = g, .layer = layer, .w = &g->m->layers[layer],
                             .whole = h->arch->qk_norm == QK_NORM_FULL, .queries_later = queries_can_wait(g) };
    if (job.whole) team_run(g->team, g->token_count, whole_task, &job);
    else graph_run(g, g->block_count * h->kv_heads, heads_task, &job);
    graph_store(g, layer, g->key, g->value, h->value_dim);
    if (g->asked > 0) narrow_blocks(g);
    if (g->block_count > 0) attend(g, layer, job.queries_later ? &job : NULL);
}

/* ---- between two products: quantize, or gate and quantize ---- */

struct between_job {
    graph *g;
    float *x, *up; /* up NULL: x is the input as it is */
    const float *gate_bias, *up_bias;
    size_t cols, part_cols; /* of one task */
    unsigned forms;
    size_t task_tok, count; /* rows: those of the step's tokens from g->asked on */
};

void graph_gate(const graph *g, float *gate, float *up, const float *gate_bias, const float *up_bias, size_t n)
{
    const struct vector_kernels *v = &g->k->vector;
    if (gate_bias != NULL) v->add(gate, gate_bias, n);
    if (up_bias != NULL) v->add(up, up_bias, n);
    switch (g->m->hyper.arch->gate) {
    case GATE_SILU: v->silu_mul(gate, up, n); break;
    case GATE_GELU_TANH: v->gelu_tanh_mul(gate, up, n); break;
    case GATE_SWIGLU_OAI: v->swiglu_oai(gate, up, 1.702f, 7.0f, n); break; /* gpt-oss model card, section 2.2 */
    }
}

static const float *bias_at(const float *bias, size_t begin)
{
    return bias != NULL ? bias + begin : NULL;
}

/* Columns begin..begin+count-1 of row `t`, as if they were a row: groups of 32 or 256 are quantized one by one. */
static activations columns_of(const activations *a, size_t t, size_t begin, size_t count)
{
    size_t at = t * a->cols + begin, group = a->form == ACTIVATION_INT8_32 ? 32 : 256;
    activations out = { .form = a->form, .cols = count, .tokens = 1, .f32 = a->f32 + t * a->f32_stride + begin };
    if (a->form == ACTIVATION_F32) return out;
    out.codes = a->codes + at;
    out.scales = a->scales + at / group;
    out.sums = a->sums + at / 16;
    if (a->raised != NULL) out.raised = a->raised + at;
    return out;
}

static void between_part(const struct between_job *job, size_t t, size_t begin)
{
    graph *g = job->g;
    size_t count = min_size(job->part_cols, job->cols - begin), at = t * job->cols + begin;
    if (job->up != NULL)
        graph_gate(g, job->x + at, job->up + at, bias_at(job->gate_bias, begin), bias_at(job->up_bias, begin), count);
    for (size_t f = 0; f < FORMS; f++) {
        if (!(job->forms >> f & 1)) continue;
        activations part = columns_of(&g->input[f], t, begin, count);
        if (!activations_make(g->k, &part, 0)) graph_mark_bad(g, g->asked + t);
    }
}

static void ask_between(const struct between_job *job, size_t t, size_t begin)
{
    if (t >= job->count || job->task_tok == 1) return;
    size_t count = min_size(job->part_cols, job->cols - begin);
    ask_values(job->x + t * job->cols + begin, count);
    if (job->up != NULL) ask_values(job->up + t * job->cols + begin, count);
}

/* Some tokens, or a part of one token's columns. */
static void between_task(void *arg, size_t task, size_t thread)
{
    const struct between_job *job = arg;
    size_t groups = ceil_div(job->count, job->task_tok), first = task % groups * job->task_tok;
    size_t end = min_size(first + job->task_tok, job->count), begin = task / groups * job->part_cols;
    (void)thread;
    ask_between(job, first, begin);
    for (size_t t = first; t < end; t++) {
        ask_between(job, t + 1, begin);
        between_part(job, t, begin);
    }
}

/* A token's columns are cut where tokens are few and a gate is to be computed: of one token it takes 8 us otherwise;
 * and where they are many, so that each thread meets the columns that it made in the stage before: tasks of one part
 * are neighbours. */
static void between(graph *g, struct between_job job, const matrix *next)
{
    enum { CUT = 256, LEAST = 1024, MANY = 64 };
    size_t threads = team_threads(g->team);
    job.g = g;
    job.count = g->token_count - g->asked;
    job.x += g->asked * job.cols;
    job.forms = graph_forms(g, &next, 1);
    job.part_cols = job.cols;
    if (job.count >= MANY || (job.up != NULL && job.count < threads))
        job.part_cols = min_size(max_size(round_up(ceil_div(job.cols, threads), CUT), LEAST), job.cols);
    lay_inputs(g, job.forms, job.x, job.cols, job.count);
    job.task_tok = task_tokens(g);
    graph_run(g, ceil_div(job.count, job.task_tok) * ceil_div(job.cols, job.part_cols), between_task, &job);
}

/* ---- the step ---- */

static bool all_good(graph *g, size_t layer, err *e)
{
    size_t bad = atomic_load(&g->bad_token);
    if (bad == SIZE_MAX) return true;
    return fail(e, ERR_VALUE, ERR_NO_OFFSET, "layer %zu, position %zu: a value that is not finite", layer,
                g->positions[bad]);
}

/* The last layer's keys and values are wanted of every token, its result only of tokens that asked for logits: those
 * before the first of them end with key and value. Only where blocks are many, which is where that counts. */
static size_t first_asked(const graph *g, size_t layer)
{
    if (layer + 1 < g->m->hyper.layers || g->block_count == g->step_count || g->input_watch != NULL ||
        g->m->hyper.arch->qk_norm == QK_NORM_FULL)
        return 0;
    return g->wanted_count > 0 ? g->wanted[0] : g->token_count;
}

/* q of the tokens that are asked, k and v of all. */
static void attention_products(graph *g, const struct layer *w)
{
    const matrix *q = &w->q;
    if (g->asked == 0) {
        products(g, (const matrix *const[]){ q, &w->k, &w->v }, (float *const[]){ g->q, g->key, g->value }, 3);
        return;
    }
    products(g, (const matrix *const[]){ &w->k, &w->v }, (float *const[]){ g->key, g->value }, 2);
    activations some[FORMS] = { 0 };
    size_t count = g->token_count - g->asked;
    unsigned forms = graph_forms(g, &q, 1);
    for (size_t f = 0; f < FORMS; f++)
        if (forms >> f & 1) some[f] = activations_slice(&g->input[f], g->asked, count);
    if (count > 0) graph_products(g, some, &q, (float *const[]){ g->q + g->asked * q->rows }, 1);
}

/* Attention of one layer, from its normed input to block_out. */
static void attention_block(graph *g, const struct layer *w, size_t layer)
{
    const struct hyper *h = &g->m->hyper;
    struct between_job job = { .x = g->attended, .cols = h->heads * h->value_dim };
    if (h->latent.kv_rank > 0) {
        job.x = latent_attention(g, w, layer);
        job.cols = h->heads * h->latent.value_dim;
    } else {
        g->soon = (struct product_list){ { &w->o }, 1 };
        g->asked = first_asked(g, layer);
        attention_products(g, w);
        if (!place_and_attend(g, layer)) place_then_attend(g, layer);
    }
    if (g->asked < g->token_count) {
        between(g, job, &w->o);
        if (w->router == NULL) g->soon = (struct product_list){ { &w->gate, &w->up }, 2 };
        products(g, (const matrix *const[]){ &w->o }, (float *const[]){ g->block_out + g->asked * w->o.rows }, 1);
    }
    g->asked = 0;
}

/* What the normed input of a layer is multiplied with. */
static size_t attention_inputs(const struct hyper *h, const struct layer *w, const matrix **out)
{
    if (h->latent.kv_rank > 0) {
        out[0] = h->latent.q_rank > 0 ? &w->q_a : &w->q;
        out[1] = &w->kv_a;
        return 2;
    }
    out[0] = &w->q;
    out[1] = &w->k;
    out[2] = &w->v;
    return 3;
}

void graph_feed_forward(graph *g, const matrix *gate, const matrix *up, const matrix *down, const float *gate_bias,
                        const float *up_bias, float *out)
{
    g->soon = (struct product_list){ { down }, 1 };
    products(g, (const matrix *const[]){ gate, up }, (float *const[]){ g->gate, g->up }, 2);
    between(g, (struct between_job){ .x = g->gate, .up = g->up, .gate_bias = gate_bias, .up_bias = up_bias,
                                     .cols = gate->rows }, down);
    g->soon = g->later;
    products(g, (const matrix *const[]){ down }, (float *const[]){ out }, 1);
}

/* What the normed input of the feed-forward block is multiplied with as it stands. Experts' inputs are gathered, but of
 * a single token. */
static size_t feed_forward_inputs(const struct layer *w, size_t token_count, const matrix *out[static INPUTS_MAX])
{
    size_t count = 0;
    if (w->router == NULL) {
        out[count++] = &w->gate;
        out[count++] = &w->up;
    } else if (token_count == 1) {
        out[count++] = &w->gate_exps.first;
        out[count++] = &w->up_exps.first;
    }
    if (w->shared_gate.rows > 0) {
        out[count++] = &w->shared_gate;
        out[count++] = &w->shared_up;
    }
    return count;
}

/* Before the last feed-forward block: only tokens that asked for logits go on, as rows 0.. of x and block_out. */
static void gather(graph *g)
{
    size_t width = g->m->hyper.width;
    if (g->wanted_count == g->token_count) return;
    for (size_t i = 0; i < g->wanted_count; i++) { /* wanted rises, so nothing is written before it is read */
        memmove(g->x + i * width, g->x + g->wanted[i] * width, width * sizeof *g->x);
        memmove(g->block_out + i * width, g->block_out + g->wanted[i] * width, width * sizeof *g->x);
        g->positions[i] = g->positions[g->wanted[i]];
    }
    g->token_count = g->wanted_count;
    g->gathered = true;
}

static bool layers(graph *g, err *e)
{
    const model *m = g->m;
    for (size_t l = 0; l < m->hyper.layers; l++) {
        const struct layer *w = &m->layers[l], *before = l > 0 ? w - 1 : NULL;
        const matrix *next[INPUTS_MAX];
        size_t next_count = attention_inputs(&m->hyper, w, next);
        rows(g, (struct rows_job){ .embed = l == 0, .norm = w->attn_norm,
                                   .out_bias = before != NULL ? before->down_bias : NULL,
                                   .post_norm = before != NULL ? before->ffn_post_norm : NULL },
             next, next_count);
        attention_block(g, w, l);
        if (l + 1 == m->hyper.layers) {
            if (!all_good(g, l, e)) return false;
            gather(g);
        }
        if (g->token_count == 0) return true;
        next_count = feed_forward_inputs(w, g->token_count, next);
        rows(g, (struct rows_job){ .norm = w->ffn_norm, .out_bias = w->o_bias, .post_norm = w->attn_post_norm }, next,
             next_count);
        g->later = (struct product_list){ { &m->output }, 1 };
        if (l + 1 < m->hyper.layers) g->later.count = attention_inputs(&m->hyper, w + 1, g->later.w);
        if (w->router != NULL) experts_block(g, w);
        else graph_feed_forward(g, &w->gate, &w->up, &w->down, w->gate_bias, w->up_bias, g->block_out);
        if (!all_good(g, l, e)) return false;
    }
    return true;
}

struct logits_job {
    graph *g;
    size_t first; /* row 0 is the wanted token of this number, and stands in this row of x */
    unsigned forms;
};

static void hidden_task(void *arg, size_t r, size_t thread)
{
    const struct logits_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const float *x = g->x + (job->first + r) * h->width;
    (void)thread;
    g->k->vector.rms_norm(x, g->m->output_norm, h->width, h->eps, g->hidden + r * h->width);
    graph_make_inputs(g, g->input, job->forms, r, job->first + r);
}

static void logits_task(void *arg, size_t r, size_t thread)
{
    const struct logits_job *job = arg;
    graph *g = job->g;
    const struct hyper *h = &g->m->hyper;
    const struct vector_kernels *v = &g->k->vector;
    float *row = g->logits + r * h->vocab;
    (void)thread;
    if (h->logit_divisor != 1.0f) v->scale(row, 1.0f / h->logit_divisor, h->vocab);
    if (h->logit_soft_cap > 0.0f) v->soft_cap(row, h->logit_soft_cap, h->vocab);
    if (!v->all_finite(row, h->vocab)) graph_mark_bad(g, job->first + r);
}

/* Hidden states and logits of the wanted tokens from logits_end on, as many as there are rows. */
static bool logits_of_some(graph *g, err *e)
{
    const model *m = g->m;
    const matrix *out = &m->output;
    struct logits_job job = { .g = g, .first = g->logits_end, .forms = graph_forms(g, &out, 1) };
    size_t count = min_size(g->wanted_count - g->logits_end, g->set.logit_rows);
    lay_inputs(g, job.forms, g->hidden, m->hyper.width, count);
    team_run(g->team, count, hidden_task, &job);
    if (!all_good(g, m->hyper.layers, e)) return false;
    g->logits_from = g->logits_end;
    g->logits_end += count;
    if (count == 0) return true;
    g->soon.count = attention_inputs(&m->hyper, m->layers, g->soon.w); /* of the next step */
    products(g, &out, (float *const[]){ g->logits }, 1);
    team_run(g->team, count, logits_task, &job);
    return all_good(g, m->hyper.layers, e);
}

static bool output(graph *g, err *e)
{
    const struct layer *last = &g->m->layers[g->m->hyper.layers - 1];
    if (g->token_count == 0) return true;
    rows(g, (struct rows_job){ .out_bias = last->down_bias, .post_norm = last->ffn_post_norm }, NULL, 0);
    return logits_of_some(g, e);
}

bool graph_more_logits(graph *g, err *e)
{
    return logits_of_some(g, e);
}

size_t graph_logit_rows(const graph *g)
{
    return g->logits_end - g->logits_from;
}

static bool token_check(const graph *g, size_t t, err *e)
{
    size_t pos = g->positions[t];
    if (g->tokens[t].token < 0 || (size_t)g->tokens[t].token >= g->m->hyper.vocab)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "token id at position %zu: %d, the vocabulary has 0..%zu", pos,
                    g->tokens[t].token, g->m->hyper.vocab - 1);
    if (pos >= g->set.ctx_tok)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "context: position %zu, planned for %zu", pos, g->set.ctx_tok);
    return true;
}

/* Cuts a stretch into blocks, those of coded types at the borders of pages too: tokens of a page share what they see.
 * */
static void lay_stretch(graph *g, const kv_step *step, size_t first)
{
    enum kv_type type = step->seq->pool->shape.type;
    struct block *b = NULL;
    for (size_t i = 0; i < step->count; i++) {
        size_t pos = step->first + i;
        if (b == NULL || b->count == BLOCK_TOK || (kv_is_coded(type) && pos % PAGE_TOK == 0)) {
            b = &g->blocks[g->block_count++];
            *b = (struct block){ .first = first + i, .pos = pos, .seq = step->seq, .step = step };
        }
        b->count++;
        size_t page = pos / PAGE_TOK, packed = page > 1 ? page - 1 : 0;
        b->spans = kv_is_log(type) ? ceil_div(packed, SPAN_PAGES) + 1 : pos / SPAN_TOK + 1;
    }
}

/* Begins the stretches of the step's sequences and cuts them into blocks. */
static bool lay_blocks(graph *g, err *e)
{
    size_t scratch = 0;
    g->block_count = g->step_count = 0;
    for (size_t t = 0, count; t < g->token_count; t += count) {
        kv_seq *seq = g->tokens[t].seq;
        for (count = 0; t + count < g->token_count && g->tokens[t + count].seq == seq; count++) {
            g->positions[t + count] = seq->len_tok + count;
            if (!token_check(g, t + count, e)) return false;
        }
        if (!kv_step_begin(&g->steps[g->step_count], seq, count, &scratch, e)) return false;
        lay_stretch(g, &g->steps[g->step_count++], t);
        rope_table_reach(&g->rope, seq->len_tok + count);
        if (g->rope_local.angles != NULL) rope_table_reach(&g->rope_local, seq->len_tok + count);
    }
    return true;
}

bool graph_step(graph *g, const struct step_token *tokens, size_t count, err *e)
{
    assert(count >= 1 && count <= g->set.chunk_tok);
    g->tokens = tokens;
    g->token_count = count;
    g->wanted_count = g->logits_from = g->logits_end = 0;
    g->gathered = false;
    g->asked = 0;
    atomic_store(&g->bad_token, SIZE_MAX);
    for (size_t t = 0; t < count; t++)
        if (tokens[t].want_logits) g->wanted[g->wanted_count++] = t;
    bool good = lay_blocks(g, e) && layers(g, e) && output(g, e);
    for (size_t i = 0; i < g->step_count; i++) kv_step_end(&g->steps[i], good);
    return good;
}

const float *graph_logits(const graph *g, size_t i)
{
    assert(i < g->set.logit_rows);
    return g->logits + i * g->m->hyper.vocab;
}

const float *graph_hidden(const graph *g, size_t i)
{
    assert(i < g->set.logit_rows);
    return g->hidden + i * g->m->hyper.width;
}
