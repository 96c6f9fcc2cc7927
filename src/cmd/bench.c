/* hearth bench: tokens a second, beside how fast this machine reads memory: making one token reads every weight once,
 * so that speed bounds it. Times are the best of several runs: noise only ever adds. */
#include "cmd/open.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/prng.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { BATCH_MAX = 256, RUNS_MAX = 100 };

struct bench_options {
    size_t prompt, made, runs, batch, depth;
    bool json;
};

static const struct option ROWS[] = {
    { "--prompt-tokens", "N", OPTION_COUNT, offsetof(struct bench_options, prompt), 1, 1 << 20, NULL, "256",
      "tokens of the prompt" },
    { "-n", "N", OPTION_COUNT, offsetof(struct bench_options, made), 1, 1 << 16, NULL, "32",
      "tokens made, one by one" },
    { "--batch", "N", OPTION_COUNT, offsetof(struct bench_options, batch), 1, BATCH_MAX, NULL, "1",
      "sequences that make tokens together" },
    { "--depth", "N", OPTION_COUNT, offsetof(struct bench_options, depth), 1, 1 << 20, NULL, NULL,
      "tokens before the first one made (the prompt's)" },
    { "--runs", "N", OPTION_COUNT, offsetof(struct bench_options, runs), 1, RUNS_MAX, NULL, "3",
      "the best of so many counts" },
    { "--json", NULL, OPTION_FLAG, offsetof(struct bench_options, json), 0, 0, NULL, NULL, "one object" },
};

/* ---- how fast memory is read ---- */

#define READ_BYTES ((size_t)512 << 20) /* past every cache */
enum { READ_TILE_BYTES = 1 << 20 };

struct read_job {
    const uint64_t *words;
    _Atomic uint64_t sum; /* so that no read can be left out */
};

static void read_task(void *arg, size_t tile, size_t thread)
{
    struct read_job *job = arg;
    (void)thread;
    const uint64_t *p = job->words + tile * (READ_TILE_BYTES / sizeof *p);
    uint64_t s[8] = { 0 };
    for (size_t i = 0; i < READ_TILE_BYTES / sizeof *p; i += 8)
        for (size_t j = 0; j < 8; j++) s[j] += p[i + j];
    job->sum += s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

/* Memory to read beside a measured run, because a shared machine's speed drifts by the second. */
struct probe {
    team *team;
    uint64_t *words; /* NULL where the memory is not to be had */
    double best_gb_s;
};

static void probe_new(struct probe *p, team *t)
{
    void *words = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *p = (struct probe){ .team = t, .words = words == MAP_FAILED ? NULL : words };
    if (p->words == NULL) return;
    madvise(words, READ_BYTES, MADV_HUGEPAGE); /* as weights have them */
    memset(words, 1, READ_BYTES);
}

static void probe_free(struct probe *p)
{
    if (p->words != NULL) munmap(p->words, READ_BYTES);
}

/* GB a second of one reading of all of it; 0 without memory. */
static double probe_read(struct probe *p)
{
    if (p->words == NULL) return 0;
    struct read_job job = { .words = p->words };
    double start = clock_seconds();
    team_run(p->team, READ_BYTES / READ_TILE_BYTES, read_task, &job);
    double gb_s = (double)READ_BYTES / (clock_seconds() - start) * 1e-9;
    p->best_gb_s = gb_s > p->best_gb_s ? gb_s : p->best_gb_s;
    return gb_s;
}

/* ---- the model ---- */

struct times {
    double prefill, decode; /* seconds */
    double read_gb_s;       /* right before and right after the decoding: their mean */
};

/* Of all runs: the best times, and the middle of the runs' shares of the read speed beside each. */
struct result {
    struct times best;
    double read_gb_s, share;
};

/* The graph and the sequences that make tokens together. All zeros is closed. */
struct rig {
    graph *graph;
    kv_pool pool;
    kv_seq *seqs;
    struct step_token *step;
    int32_t *ids; /* the same for every sequence: time does not depend on them */
    size_t chunk_tok;
    arena arena;
};

static void rig_free(struct rig *r)
{
    graph_free(r->graph);
    kv_pool_free(&r->pool);
    arena_free(&r->arena);
    *r = (struct rig){ 0 };
}

static bool rig_new(struct rig *r, struct opened *o, const struct compute_options *c, const struct bench_options *set,
                    err *e)
{
    const struct hyper *h = &o->model.hyper;
    size_t ctx_tok = max_size(set->prompt, set->depth + set->made), pages = ceil_div(ctx_tok, PAGE_TOK) * set->batch;
    *r = (struct rig){ .chunk_tok = max_size(min_size(c->chunk > 0 ? c->chunk : 512, ctx_tok), set->batch) };
    struct kv_shape shape = { .type = o->kv, .layers = h->layers, .kv_heads = h->kv_heads, .key_dim = h->key_dim,
                              .value_dim = cached_value_dim(h, o->kv) };
    struct graph_settings graph_set = { .chunk_tok = r->chunk_tok, .logit_rows = set->batch, .ctx_tok = ctx_tok,
                                        .activations_f32 = o->activations_f32 };
    bool good = arena_new(&r->arena, ((size_t)4 << 20) + ctx_tok * 64 + pages * 64, e) &&
                kv_pool_new(&r->pool, &shape, pages, &r->arena, e) &&
                (r->seqs = ARENA_ARRAY(&r->arena, kv_seq, set->batch, "sequences", e)) != NULL &&
                (r->step = ARENA_ARRAY(&r->arena, struct step_token, r->chunk_tok, "step", e)) != NULL &&
                (r->ids = ARENA_ARRAY(&r->arena, int32_t, ctx_tok, "token ids", e)) != NULL;
    for (size_t i = 0; good && i < set->batch; i++) good = kv_seq_new(&r->seqs[i], &r->pool, ctx_tok, &r->arena, e);
    for (size_t i = 0; good && i < ctx_tok; i++) r->ids[i] = (int32_t)(prng_u32(1, 0, i) % h->vocab);
    good = good && graph_new(&r->graph, &o->model, &o->kernels, o->team, &graph_set, e);
    if (!good) rig_free(r);
    return good;
}

/* A prompt of `count` tokens, from an empty sequence; the last one wants its logits. */
static bool feed(struct rig *r, kv_seq *seq, size_t count, err *e)
{
    kv_seq_rewind(seq, 0);
    for (size_t at = 0; at < count;) {
        size_t step = min_size(r->chunk_tok, count - at);
        for (size_t i = 0; i < step; i++) r->step[i] = (struct step_token){ seq, r->ids[at + i], at + i + 1 == count };
        if (!graph_step(r->graph, r->step, step, e)) return false;
        at += step;
    }
    return true;
}

/* One prompt, then tokens one by one, of every sequence; every one wants its logits, as in an answer. */
static bool run_once(struct rig *r, const struct bench_options *set, struct probe *probe, struct times *out, err *e)
{
    double start = clock_seconds();
    if (!feed(r, &r->seqs[0], set->prompt, e)) return false;
    out->prefill = clock_seconds() - start;
    for (size_t s = 0; s < set->batch; s++)
        if ((s > 0 || set->depth != set->prompt) && !feed(r, &r->seqs[s], set->depth, e)) return false;
    double before = probe_read(probe);
    start = clock_seconds();
    for (size_t i = 0; i < set->made; i++) {
        for (size_t s = 0; s < set->batch; s++)
            r->step[s] = (struct step_token){ &r->seqs[s], r->ids[set->depth + i], true };
        if (!graph_step(r->graph, r->step, set->batch, e)) return false;
    }
    out->decode = clock_seconds() - start;
    out->read_gb_s = (before + probe_read(probe)) / 2;
    return true;
}

/* Touches weights and scratch before the first measured run: a chunk of the prompt, then a token of every sequence. */
static bool warm_up(struct rig *r, const struct bench_options *set, err *e)
{
    if (!feed(r, &r->seqs[0], min_size(set->prompt, r->chunk_tok), e)) return false;
    for (size_t s = 0; s < set->batch; s++) {
        kv_seq_rewind(&r->seqs[s], 0);
        r->step[s] = (struct step_token){ &r->seqs[s], r->ids[0], true };
    }
    return graph_step(r->graph, r->step, set->batch, e);
}

/* What a step that makes a token of every sequence reads: every weight but an embedding that is not the output matrix
 * and experts that were not chosen, and the keys and values of the positions before it, halfway through the measured
 * tokens. */
static double decode_bytes(const struct opened *o, const struct bench_options *set)
{
    const model *m = &o->model;
    const struct hyper *h = &m->hyper;
    double bytes = (double)m->weights_bytes;
    if (!m->tied) bytes -= (double)(tile_count(m->embedding.rows) * m->embedding.tile_bytes);
    for (size_t l = 0; l < h->layers && h->experts.count > 0; l++) {
        const struct layer *w = &m->layers[l];
        if (w->router == NULL) continue;
        /* An expert is one extent, which gate, up and down share. */
        bytes -= (double)w->gate_exps.bytes * (double)(h->experts.count - h->experts.top_k);
        if (w->route.form != ROUTE_NONE) bytes -= (double)(h->experts.count * h->width * sizeof(float));
    }
    struct kv_shape head = {
        .type = o->kv, .layers = 1, .kv_heads = 1, .key_dim = h->key_dim,
        .value_dim = cached_value_dim(h, o->kv)
    };
    size_t page_bytes = 0;
    kv_block_bytes(&head, &page_bytes);
    double head_bytes = (double)page_bytes / PAGE_TOK;
    for (size_t l = 0; l < h->layers; l++) {
        size_t seen = set->depth + set->made / 2;
        if (layer_has_window(h, l)) seen = min_size(seen, h->window);
        bytes += (double)(seen * h->kv_heads * set->batch) * head_bytes;
    }
    return bytes;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool run_all(struct opened *o, const struct compute_options *c, const struct bench_options *set,
                    struct result *out, err *e)
{
    struct rig rig = { 0 };
    struct probe probe;
    double shares[RUNS_MAX], step_bytes = decode_bytes(o, set);
    bool good = rig_new(&rig, o, c, set, e);
    *out = (struct result){ .best = { 1e9, 1e9, 0 } };
    probe_new(&probe, o->team);
    good = good && warm_up(&rig, set, e);
    for (size_t run = 0; good && run < set->runs; run++) {
        struct times now = { 0 };
        good = run_once(&rig, set, &probe, &now, e);
        out->best.prefill = now.prefill < out->best.prefill ? now.prefill : out->best.prefill;
        out->best.decode = now.decode < out->best.decode ? now.decode : out->best.decode;
        shares[run] = now.read_gb_s > 0 ? step_bytes * (double)set->made / now.decode / (now.read_gb_s * 1e9) : 0;
    }
    qsort(shares, set->runs, sizeof *shares, by_size);
    out->share = (shares[(set->runs - 1) / 2] + shares[set->runs / 2]) / 2;
    out->read_gb_s = probe.best_gb_s;
    probe_free(&probe);
    rig_free(&rig);
    return good;
}

static void print_speeds(const struct opened *o, const struct bench_options *set, const struct result *r)
{
    double decode = (double)(set->made * set->batch) / r->best.decode, prefill = (double)set->prompt / r->best.prefill;
    double step_gb = decode_bytes(o, set) * 1e-9;
    if (set->json) {
        printf("{\"read_gb_s\": %.3f, \"decode_share\": %.4f, \"decode_tok_s\": %.3f, \"prefill_tok_s\": %.3f, ",
               r->read_gb_s, r->share, decode, prefill);
        printf("\"weights_bytes\": %zu, \"decode_bytes\": %.0f, \"threads\": %zu, \"tier\": \"%s\", ",
               o->model.weights_bytes, decode_bytes(o, set), team_threads(o->team), o->kernels.tier);
        printf("\"prompt_tokens\": %zu, \"made_tokens\": %zu, \"batch\": %zu, \"depth\": %zu}\n", set->prompt,
               set->made, set->batch, set->depth);
        return;
    }
    printf("decode    %10.1f tokens/s   (%zu tokens after %zu, of %zu at once)\n", decode, set->made, set->depth,
           set->batch);
    printf("prefill   %10.1f tokens/s   (%zu tokens)\n", prefill, set->prompt);
    printf("memory    %10.1f GB/s read by %zu threads, tier %s\n", r->read_gb_s, team_threads(o->team),
           o->kernels.tier);
    printf("a step    %10.3f GB of weights, keys and values are read: memory allows %.1f tokens/s\n", step_gb,
           (double)set->batch * r->read_gb_s / step_gb);
    printf("share     %10.1f %% of what memory gave right before and after, the middle of %zu runs\n", 100 * r->share,
           set->runs);
}

int cmd_bench(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "make-model") == 0) return cmd_make_model(argc - 1, argv + 1);
    struct bench_options set = { 0 };
    struct compute_options compute = { 0 };
    struct command_line line = { .command = "bench", .usage = "[MODEL] | make-model SHAPE ...", .words_max = 1,
                                 .about = "Tokens a second, beside what this machine's memory allows.\n"
                                          "hearth bench make-model writes files of real shapes to measure.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set }, compute_group(&compute) } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if (set.depth == 0) set.depth = set.prompt;
    struct opened o = { 0 };
    struct result result;
    err e = { 0 };
    bool good = open_model(&o, line.words[0], &compute, &e) && run_all(&o, &compute, &set, &result, &e);
    if (good) print_speeds(&o, &set, &result);
    close_model(&o);
    return good ? EXIT_GOOD : say_error(&e);
}
