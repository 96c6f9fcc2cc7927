/* hearth bench: tokens a second, beside how fast this machine reads memory: making one token reads every weight once,
 * so that speed bounds it. Times are the best of several runs: noise only ever adds. */
#include "cmd/rows.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/prng.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

struct bench_options {
    size_t prompt, made, runs;
    bool json;
};

static const struct option ROWS[] = {
    { "--prompt-tokens", "N", OPTION_COUNT, offsetof(struct bench_options, prompt), 1, 1 << 20, NULL, "256",
      "tokens of the prompt" },
    { "-n", "N", OPTION_COUNT, offsetof(struct bench_options, made), 1, 1 << 16, NULL, "32",
      "tokens made, one by one" },
    { "--runs", "N", OPTION_COUNT, offsetof(struct bench_options, runs), 1, 100, NULL, "3",
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

/* 0 where the memory is not to be had. */
static double measure_read_gb_s(team *t)
{
    void *words = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED) return 0;
    memset(words, 1, READ_BYTES);
    struct read_job job = { .words = words };
    double least = 1e9;
    for (int run = 0; run < 3; run++) {
        double start = clock_seconds();
        team_run(t, READ_BYTES / READ_TILE_BYTES, read_task, &job);
        double seconds = clock_seconds() - start;
        least = seconds < least ? seconds : least;
    }
    munmap(words, READ_BYTES);
    return (double)READ_BYTES / least * 1e-9;
}

/* ---- the model ---- */

struct times {
    double prefill, decode; /* seconds */
};

static bool no_rows(void *arg, const graph *g, size_t first, size_t count, err *e)
{
    (void)arg, (void)g, (void)first, (void)count, (void)e;
    return true;
}

/* One prompt, then tokens one by one; every one wants its logits, as in an answer. */
static bool run_once(struct rows *r, const int32_t *ids, const struct bench_options *set, struct times *out, err *e)
{
    double start = clock_seconds();
    if (!rows_compute(r, ids, set->prompt, set->prompt - 1, no_rows, NULL, e)) return false;
    double middle = clock_seconds();
    for (size_t i = 0; i < set->made; i++) {
        if (!kv_seq_reserve(&r->seq, set->prompt + i + 1, e)) return false;
        struct step_token token = { &r->seq, ids[set->prompt + i], true };
        if (!graph_step(r->graph, &token, 1, e)) return false;
    }
    *out = (struct times){ middle - start, clock_seconds() - middle };
    return true;
}

static bool run_best(struct opened *o, const struct compute_options *c, const struct bench_options *set,
                     struct times *best, err *e)
{
    struct rows rows = { 0 };
    size_t all = set->prompt + set->made;
    int32_t *ids = ARENA_ARRAY(&o->arena, int32_t, all, "token ids", e);
    if (ids == NULL) return false;
    for (size_t i = 0; i < all; i++) ids[i] = (int32_t)(prng_u32(1, 0, i) % o->model.hyper.vocab);
    bool good = rows_new(&rows, o, all, c->chunk, e);
    *best = (struct times){ 1e9, 1e9 };
    for (size_t run = 0; good && run < set->runs; run++) {
        struct times now = { 0 };
        good = run_once(&rows, ids, set, &now, e);
        best->prefill = now.prefill < best->prefill ? now.prefill : best->prefill;
        best->decode = now.decode < best->decode ? now.decode : best->decode;
    }
    rows_free(&rows);
    return good;
}

/* What making one token reads: every weight but an embedding that is not the output matrix and experts that were not
 * chosen, and the keys and values of the positions before it, halfway through the measured tokens. */
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
    struct kv_shape head = { .type = o->kv, .layers = 1, .kv_heads = 1, .key_dim = h->key_dim, .value_dim = h->value_dim };
    size_t page_bytes = 0;
    kv_block_bytes(&head, &page_bytes);
    double head_bytes = (double)page_bytes / PAGE_TOK;
    for (size_t l = 0; l < h->layers; l++) {
        size_t seen = set->prompt + set->made / 2;
        if (layer_has_window(h, l)) seen = min_size(seen, h->window);
        bytes += (double)(seen * h->kv_heads) * head_bytes;
    }
    return bytes;
}

static void print_speeds(const struct opened *o, const struct bench_options *set, const struct times *t,
                         double read_gb_s)
{
    double decode = (double)set->made / t->decode, prefill = (double)set->prompt / t->prefill;
    double token_gb = decode_bytes(o, set) * 1e-9;
    if (set->json) {
        printf("{\"read_gb_s\": %.3f, \"decode_tok_s\": %.3f, \"prefill_tok_s\": %.3f, \"weights_bytes\": %zu, "
               "\"decode_bytes\": %.0f, \"threads\": %zu, \"tier\": \"%s\", \"prompt_tokens\": %zu, "
               "\"made_tokens\": %zu}\n",
               read_gb_s, decode, prefill, o->model.weights_bytes, decode_bytes(o, set), team_threads(o->team),
               o->kernels.tier, set->prompt, set->made);
        return;
    }
    printf("decode    %10.1f tokens/s   (%zu tokens after %zu)\n", decode, set->made, set->prompt);
    printf("prefill   %10.1f tokens/s   (%zu tokens)\n", prefill, set->prompt);
    printf("memory    %10.1f GB/s read by %zu threads, tier %s\n", read_gb_s, team_threads(o->team), o->kernels.tier);
    printf("a token   %10.3f GB of weights, keys and values are read: memory allows %.1f tokens/s\n", token_gb,
           read_gb_s / token_gb);
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
    struct opened o = { 0 };
    struct times best;
    err e = { 0 };
    bool good = open_model(&o, line.words[0], &compute, &e);
    double read_gb_s = good ? measure_read_gb_s(o.team) : 0;
    good = good && run_best(&o, &compute, &set, &best, &e);
    if (good) print_speeds(&o, &set, &best, read_gb_s);
    close_model(&o);
    return good ? EXIT_GOOD : say_error(&e);
}
