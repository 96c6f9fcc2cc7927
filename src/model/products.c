/* The products of one stage on the team: see graph_part.h.
 *
 * All tiles of the stage's matrices, one matrix after the other, are cut into tasks of a few neighbouring tiles, and
 * the tasks into one stretch a thread. A thread takes its own stretch in order, so that it reads memory in order and
 * what is fetched ahead is its own; then it helps with the others'. A thread that the system has taken away holds
 * nobody up.
 *
 * With many tokens, where a stretch is its thread's share of every matrix and other stages are cut alike (graph_run),
 * most values are read by the core that wrote them: lines from the other core came at 17 GB/s, own ones at 100.
 *
 * With one token a stage lasts some 50 us, and memory would rest between two of them: the caller asks for the first
 * bytes of its stretch of the next stage, and the others go on asking for theirs as long as they wait. */
#include "model/graph_part.h"

#include "base/checked.h"

#include <assert.h>

enum {
    TASK_BYTES = 16 * 1024,   /* of weights, least, with few tokens: what a shared counter costs disappears in it */
    WIDER_BYTES = 32 * 1024,  /* with 3 to 8: each call of a product has more to begin and to end */
    TAKE_MOST = 64,           /* tasks at once, with few tokens: 1 MiB */
    STRETCH_TASKS = 8,        /* of each thread, with many tokens */
    SOON_BYTES = 24 * 1024,   /* asked for before the next stage: by the caller, */
    AHEAD_BYTES = 256 * 1024, /* and by a thread that waits for it, into a cache of at least so much */
    FEW_TOKENS = 8            /* memory is the limit */
};

struct products_job {
    graph *g;
    const activations *input; /* FORMS of them */
    struct product_list list;
    float *out[PRODUCTS_MAX];
    size_t first_task[PRODUCTS_MAX + 1];
    size_t task_tiles, threads;
    bool shared; /* task_at's order */
};

/* Fills first_task; returns the tiles of a task. */
static size_t cut(const struct product_list *l, size_t threads, size_t tokens, size_t first_task[PRODUCTS_MAX + 1])
{
    size_t tiles = 0;
    for (size_t i = 0; i < l->count; i++) tiles += tile_count(l->w[i]->rows);
    size_t share = min_size(tiles / (threads * STRETCH_TASKS), 64);
    size_t task_bytes = tokens > 2 ? WIDER_BYTES : TASK_BYTES;
    if (tokens <= FEW_TOKENS) share = min_size(share, ceil_div(task_bytes, l->w[0]->tile_bytes));
    share = tokens <= FEW_TOKENS ? max_size(share, 1) : max_size(share & ~(size_t)1, 2); /* many: kernels take two */
    first_task[0] = 0;
    for (size_t i = 0; i < l->count; i++)
        first_task[i + 1] = first_task[i] + ceil_div(tile_count(l->w[i]->rows), share);
    return share;
}

static size_t stretch_begin(size_t tasks, size_t threads, size_t thread)
{
    return tasks * thread / threads;
}

static enum activation_form form_of(const graph *g, const matrix *w)
{
    return g->set.activations_f32 ? ACTIVATION_F32 : weight_kind(w->type)->activations;
}

/* With many tokens a thread's stretch is its share of every matrix, one after the other: rows that are used together
 * (a head's q, k and v, a column's gate and up) are made by one thread, and stay in its caches for the next stage. */
static size_t task_at(const struct products_job *job, size_t place, size_t *i)
{
    for (size_t thread = 0; thread < job->threads; thread++)
        for (*i = 0; *i < job->list.count; (*i)++) {
            size_t tasks = job->first_task[*i + 1] - job->first_task[*i];
            size_t begin = stretch_begin(tasks, job->threads, thread);
            size_t count = stretch_begin(tasks, job->threads, thread + 1) - begin;
            if (place < count) return begin + place;
            place -= count;
        }
    return 0; /* places are as many as tasks */
}

/* Tasks first..end-1; neighbours of one matrix are one product. */
static void run_tasks(const struct products_job *job, size_t first, size_t end)
{
    for (size_t i = 0, count; first < end; first += count) {
        size_t of_matrix;
        if (job->shared) {
            of_matrix = task_at(job, first, &i);
            count = 1;
        } else {
            while (first >= job->first_task[i + 1]) i++;
            of_matrix = first - job->first_task[i];
            count = min_size(end, job->first_task[i + 1]) - first;
        }
        const matrix *w = job->list.w[i];
        matmul(job->g->k, w, &job->input[form_of(job->g, w)], job->out[i], w->rows, of_matrix * job->task_tiles,
               min_size((of_matrix + count) * job->task_tiles, tile_count(w->rows)));
    }
}

/* The next tasks of a stretch, first..end-1; false where none is left. With few tokens half of what is left: memory is
 * read in long runs, and all threads end together. Task by task Q8_0 and Q4_0 had 0.94 of the speed, one token. */
static bool take(struct stretch *s, bool few, size_t *first, size_t *end)
{
    size_t next = atomic_load_explicit(&s->next, memory_order_relaxed);
    if (next >= s->end) return false;
    size_t count = few ? min_size((s->end - next + 1) / 2, TAKE_MOST) : 1;
    *first = atomic_fetch_add_explicit(&s->next, count, memory_order_relaxed);
    *end = min_size(*first + count, s->end);
    return *first < s->end;
}

void graph_ask(const uint8_t *at, size_t left)
{
    size_t bytes = min_size(SOON_BYTES, left);
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i, 0, 2);
}

/* Where the thread's stretch of the next stage begins, and what is left of its matrix; NULL: nothing is known of it. */
static const uint8_t *soon_at(const graph *g, size_t threads, size_t thread, size_t *left)
{
    size_t first_task[PRODUCTS_MAX + 1], i = 0;
    *left = 0;
    if (g->soon.count == 0) return NULL;
    size_t tiles = cut(&g->soon, threads, g->token_count, first_task);
    size_t task = stretch_begin(first_task[g->soon.count], threads, thread);
    if (task >= first_task[g->soon.count]) return NULL;
    while (task >= first_task[i + 1]) i++;
    const matrix *w = g->soon.w[i];
    const uint8_t *at = w->tiles + (task - first_task[i]) * tiles * w->tile_bytes;
    *left = (size_t)(w->tiles + tile_count(w->rows) * w->tile_bytes - at);
    return at;
}

void graph_ask_soon(const graph *g, size_t thread)
{
    size_t left;
    const uint8_t *at = soon_at(g, team_threads(g->team), thread, &left);
    if (at != NULL) graph_ask(at, left);
}

/* The others': they have nothing to do while the caller is alone, so memory rests for nobody. */
static void tell_ahead(const graph *g, size_t threads)
{
    for (size_t i = 1; i < threads; i++) {
        size_t left;
        const uint8_t *at = soon_at(g, threads, i, &left);
        team_ahead(g->team, i, at, min_size(left, AHEAD_BYTES));
    }
}

static void stretch_task(void *arg, size_t slot, size_t thread)
{
    const struct products_job *job = arg;
    (void)slot;
    for (size_t i = 0; i < job->threads; i++) {
        struct stretch *s = &job->g->stretches[(thread + i) % job->threads];
        for (size_t first, end; take(s, job->g->token_count <= FEW_TOKENS, &first, &end);)
            run_tasks(job, first, end);
    }
    if (thread == 0 && job->g->token_count <= FEW_TOKENS) graph_ask_soon(job->g, thread);
}

void graph_tell_inputs(const graph *g, const activations *input, const matrix *w, size_t index, size_t first,
                       size_t count)
{
    if (g->input_watch == NULL) return;
    struct input_event event = { w->tiles, index, activations_slice(&input[form_of(g, w)], first, count) };
    g->input_watch(g->input_watch_arg, &event);
}

void graph_products(graph *g, const activations *input, const matrix *const *w, float *const *out, size_t count)
{
    struct products_job job = { .g = g, .input = input, .list = { .count = count }, .threads = team_threads(g->team) };
    assert(count <= PRODUCTS_MAX);
    for (size_t i = 0; i < count; i++) {
        job.list.w[i] = w[i];
        job.out[i] = out[i];
        graph_tell_inputs(g, input, w[i], 0, 0, input[form_of(g, w[i])].tokens);
    }
    job.task_tiles = cut(&job.list, job.threads, g->token_count, job.first_task);
    job.shared = g->token_count > FEW_TOKENS && count > 1;
    for (size_t i = 0, end = 0; i < job.threads; i++) {
        atomic_store_explicit(&g->stretches[i].next, end, memory_order_relaxed);
        if (!job.shared) end = stretch_begin(job.first_task[count], job.threads, i + 1);
        for (size_t m = 0; job.shared && m < count; m++) {
            size_t tasks = job.first_task[m + 1] - job.first_task[m];
            end += stretch_begin(tasks, job.threads, i + 1) - stretch_begin(tasks, job.threads, i);
        }
        g->stretches[i].end = end;
    }
    if (g->token_count <= FEW_TOKENS) tell_ahead(g, job.threads);
    team_run(g->team, job.threads, stretch_task, &job); /* publishes the stretches */
    g->soon.count = 0;
}

/* ---- other stages ---- */

struct staged_job {
    graph *g;
    team_fn *fn;
    void *arg;
};

static void staged_task(void *arg, size_t slot, size_t thread)
{
    const struct staged_job *job = arg;
    size_t threads = team_threads(job->g->team);
    (void)slot;
    for (size_t i = 0; i < threads; i++) {
        struct stretch *s = &job->g->stretches[(thread + i) % threads];
        for (size_t task; (task = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->end;)
            job->fn(job->arg, task, thread);
    }
}

void graph_run(graph *g, size_t tasks, team_fn *fn, void *arg)
{
    size_t threads = team_threads(g->team);
    struct staged_job job = { g, fn, arg };
    if (g->token_count <= FEW_TOKENS) {
        team_run(g->team, tasks, fn, arg);
        return;
    }
    for (size_t i = 0; i < threads; i++) {
        atomic_store_explicit(&g->stretches[i].next, stretch_begin(tasks, threads, i), memory_order_relaxed);
        g->stretches[i].end = stretch_begin(tasks, threads, i + 1);
    }
    team_run(g->team, threads, staged_task, &job); /* publishes the stretches */
}
