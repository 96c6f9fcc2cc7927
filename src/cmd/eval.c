/* hearth eval: how well a model predicts a text.
 *
 *   tokens     0 . . . . . . . . . . . . . . . . . . . . . . . . n-1       window 512, half 256
 *   window 0   [ scored . . . . . . . ]
 *   window 1           [ context | scored ]                               every token is scored once, with at least
 *   window 2                   [ context | scored ]                       half a window before it: bits per byte
 *   ...
 *
 * Bits per byte divide by the bytes of the text, so models with different vocabularies compare. Perplexity follows the
 * usual convention instead: windows side by side (0, 2, 4, ... above), the second half of each scored but for its first
 * token, a rest that fills no window left out. Every window begins with BOS where the model wants one. */
#include "cmd/experts.h"
#include "cmd/recall.h"
#include "cmd/rows.h"

#include "base/checked.h"
#include "format/json.h"
#include "kernels/math.h"

#include <math.h>
#include <stdio.h>

struct eval_options {
    const char *text;
    size_t window;
    bool json, stats;
    struct expert_options experts;
    struct recall_options recall;
};

static const struct option ROWS[] = {
    { "--text", "FILE", OPTION_TEXT, offsetof(struct eval_options, text), 0, 0, NULL, NULL,
      "the text to predict; - is the input" },
    { "--window", "N", OPTION_COUNT, offsetof(struct eval_options, window), 4, 1 << 16, NULL, "512",
      "tokens a window; the second half is scored" },
    { "--json", NULL, OPTION_FLAG, offsetof(struct eval_options, json), 0, 0, NULL, NULL, "one object" },
    { "--stats", NULL, OPTION_FLAG, offsetof(struct eval_options, stats), 0, 0, NULL, NULL,
      "which experts were used (--trace FILE, --heat SVG)" },
};

/* What a cache tier changes, by how many tokens stand before: places 0..63, 64..127, 128..255, ... */
enum { PLACES = 20, PLACE_FIRST_TOK = 64 };
struct loss {
    double kl[PLACES], kl_most;
    size_t same_top[PLACES], count[PLACES];
};

struct scores {
    double nats;          /* sum over tokens scored for bits per byte */
    size_t tokens;
    double window_nats;   /* the same for perplexity */
    size_t window_tokens, windows;
};

/* One window's rows: row i belongs to position `first` + i of the window and predicts ids[position + 1]. */
struct window_job {
    const graph *graph;
    const int32_t *ids; /* of the window */
    size_t first, vocab;
    float *nats;        /* by position in the window */
};

/* -log softmax(row)[target], the sum in f64 in order of the vocabulary. */
static float surprise(const float *row, size_t vocab, int32_t target)
{
    float max = row[0];
    for (size_t i = 1; i < vocab; i++) max = row[i] > max ? row[i] : max;
    double sum = 0;
    for (size_t i = 0; i < vocab; i++) sum = sum + (double)exp_f32(row[i] - max);
    return (float)(log_f64(sum) - (double)(row[target] - max));
}

/* KL(exact || tier) of the next token, and whether both have the same best one. */
static float divergence(const float *exact, const float *tier, size_t vocab, bool *same_top)
{
    size_t best_exact = 0, best_tier = 0;
    for (size_t i = 1; i < vocab; i++) {
        if (exact[i] > exact[best_exact]) best_exact = i;
        if (tier[i] > tier[best_tier]) best_tier = i;
    }
    double sum_exact = 0, sum_tier = 0, kl = 0;
    for (size_t i = 0; i < vocab; i++) {
        sum_exact = sum_exact + exp((double)(exact[i] - exact[best_exact]));
        sum_tier = sum_tier + exp((double)(tier[i] - tier[best_tier]));
    }
    double shift = log_f64(sum_tier) - log_f64(sum_exact) + (double)tier[best_tier] - (double)exact[best_exact];
    for (size_t i = 0; i < vocab; i++)
        kl = kl +
             exp((double)(exact[i] - exact[best_exact])) / sum_exact * ((double)exact[i] - (double)tier[i] + shift);
    *same_top = best_exact == best_tier;
    return (float)kl;
}

struct divergence_job {
    const graph *exact, *tier;
    size_t vocab;
    float *kl;
    bool *same_top;
};

static void divergence_task(void *arg, size_t row, size_t thread)
{
    const struct divergence_job *job = arg;
    (void)thread;
    job->kl[row] = divergence(graph_logits(job->exact, row), graph_logits(job->tier, row), job->vocab,
                              &job->same_top[row]);
}

static size_t place_of(size_t pos)
{
    size_t place = 0;
    while (place + 1 < PLACES && pos >= (size_t)PLACE_FIRST_TOK << place) place++;
    return place;
}

static void surprise_task(void *arg, size_t row, size_t thread)
{
    const struct window_job *job = arg;
    (void)thread;
    size_t pos = job->first + row;
    job->nats[pos] = surprise(graph_logits(job->graph, row), job->vocab, job->ids[pos + 1]);
}

struct eval_job {
    struct rows rows;
    const struct opened *o;
    const int32_t *ids; /* of the whole text, BOS first where the model wants one */
    size_t count, window;
    bool has_bos;
    int32_t *window_ids; /* window */
    float *nats;         /* window */
    size_t window_count; /* of the window that is computed now */
    struct scores scores;
    struct opened f16;   /* the same model with the cache that tiers are compared with */
    struct rows exact;
    bool compares;
    double bits;         /* a cached value, of a whole window */
    float *kl;           /* rows of a chunk */
    bool *same_top;
    struct loss loss;
    struct expert_log experts;
};

/* The same tokens through the exact cache, and how far apart both are. */
static bool compare_rows(struct eval_job *job, const graph *g, size_t first, size_t count, err *e)
{
    if (first == 0) rows_clear(&job->exact);
    if (!rows_step(&job->exact, job->window_ids, first, count, first, e)) return false;
    struct divergence_job rows = { job->exact.graph, g, job->o->model.hyper.vocab, job->kl, job->same_top };
    team_run(job->o->team, count, divergence_task, &rows);
    for (size_t row = 0; row < count; row++) {
        size_t place = place_of(first + row);
        job->loss.kl[place] += (double)job->kl[row];
        job->loss.kl_most = fmax(job->loss.kl_most, (double)job->kl[row]);
        job->loss.same_top[place] += job->same_top[row];
        job->loss.count[place]++;
    }
    return true;
}

static bool score_rows(void *arg, const graph *g, size_t first, size_t count, err *e)
{
    struct eval_job *job = arg;
    if (job->compares && !compare_rows(job, g, first, count, e)) return false;
    if (first + count == job->window_count) count--; /* the last position predicts what is not here */
    struct window_job rows = { g, job->window_ids, first, job->o->model.hyper.vocab, job->nats };
    team_run(job->o->team, count, surprise_task, &rows);
    return true;
}

/* Computes the window that begins at `begin` and adds what it scores. */
static bool eval_window(struct eval_job *job, size_t begin, err *e)
{
    size_t half = job->window / 2, count = min_size(job->window, job->count - begin);
    memcpy(job->window_ids, job->ids + begin, count * sizeof *job->ids);
    if (job->has_bos) job->window_ids[0] = job->ids[0];
    job->window_count = count;
    size_t wanted = begin == 0 ? 0 : half - 1; /* position half - 1 predicts token half */
    if (!rows_compute(&job->rows, job->window_ids, count, job->compares ? 0 : wanted, score_rows, job, e)) return false;
    for (size_t pos = wanted; pos + 1 < count; pos++) job->scores.nats += (double)job->nats[pos];
    job->scores.tokens += count - 1 - wanted;
    if (count == job->window && begin % job->window == 0) {
        for (size_t pos = half; pos + 1 < count; pos++) job->scores.window_nats += (double)job->nats[pos];
        job->scores.window_tokens += count - 1 - half;
        job->scores.windows++;
    }
    return true;
}

static double bits_a_value(const struct eval_job *job, const struct opened *o)
{
    const struct hyper *h = &o->model.hyper;
    if (o->method < KV_METHODS) return kv_method_bits(o->method, job->window, h->key_dim);
    double values = (double)(job->window * h->layers * h->kv_heads * (h->key_dim + h->value_dim));
    return 8.0 * (double)kv_seq_bytes(&job->rows.pool, job->window) / values;
}

static bool eval_all(struct eval_job *job, struct opened *o, const struct compute_options *c, err *e)
{
    struct progress progress = { .what = "evaluating" };
    size_t half = job->window / 2;
    job->window_ids = ARENA_ARRAY(&o->arena, int32_t, job->window, "window", e);
    job->nats = ARENA_ARRAY(&o->arena, float, job->window, "window", e);
    bool good = job->window_ids != NULL && job->nats != NULL &&
                rows_new(&job->rows, o, max_size(c->ctx, job->window), c->chunk, e);
    job->compares = o->kv != KV_F16;
    if (good && job->compares) {
        job->f16 = *o;
        job->f16.kv = KV_F16;
        job->f16.method = KV_METHODS;
        job->kl = ARENA_ARRAY(&o->arena, float, job->rows.chunk_tok, "window", e);
        job->same_top = ARENA_ARRAY(&o->arena, bool, job->rows.chunk_tok, "window", e);
        good = job->kl != NULL && job->same_top != NULL &&
               rows_new(&job->exact, &job->f16, max_size(c->ctx, job->window), job->rows.chunk_tok, e);
    }
    if (good && job->experts.on) graph_watch(job->rows.graph, expert_log_watch, &job->experts);
    for (size_t begin = 0; good && (begin == 0 || begin + half < job->count); begin += half) {
        progress_show(&progress, begin, job->count);
        good = eval_window(job, begin, e);
    }
    progress_end(&progress);
    job->bits = good ? bits_a_value(job, o) : 0;
    rows_free(&job->exact);
    rows_free(&job->rows);
    return good;
}

/* The mean over all places, and the share with the same best token. */
static double mean_loss(const struct loss *l, double *same_top)
{
    double kl = 0, same = 0, count = 0;
    for (size_t i = 0; i < PLACES; i++) {
        kl += l->kl[i];
        same += (double)l->same_top[i];
        count += (double)l->count[i];
    }
    *same_top = count > 0 ? same / count : 1;
    return count > 0 ? kl / count : 0;
}

static void print_loss(const struct eval_job *job, bool json)
{
    const struct loss *l = &job->loss;
    double same, kl = mean_loss(l, &same);
    if (!job->compares) return;
    if (json)
        printf("\"kl\": %.6g, \"kl_most\": %.6g, \"same_top\": %.6g, \"bits_per_value\": %.6g, \"kl_by_place\": [", kl,
               l->kl_most, same, job->bits);
    else
        printf(
            "KL to f16      %.6f    nats a token, at most %.4f; the same best token %.2f%%; %.3f bits a cached value\n",
            kl, l->kl_most, 100 * same, job->bits);
    for (size_t i = 0; i < PLACES; i++) {
        size_t from = i == 0 ? 0 : (size_t)PLACE_FIRST_TOK << (i - 1), to = (size_t)PLACE_FIRST_TOK << i;
        if (l->count[i] == 0) continue;
        double here = l->kl[i] / (double)l->count[i], top = (double)l->same_top[i] / (double)l->count[i];
        if (json) printf("%s{\"from\": %zu, \"kl\": %.6g, \"same_top\": %.6g}", i > 0 ? ", " : "", from, here, top);
        else printf("  after %5zu..%-5zu %.6f    %.2f%% the same\n", from, to - 1, here, 100 * top);
    }
    if (json) printf("], ");
}

static void print_scores(const struct eval_job *job, size_t bytes, bool json)
{
    const struct scores *s = &job->scores;
    double loss = s->nats / (double)s->tokens, bits = s->nats / log_f64(2.0) / (double)bytes;
    double perplexity = s->windows > 0 ? exp(s->window_nats / (double)s->window_tokens) : 0;
    if (json) {
        printf("{");
        print_loss(job, true);
        printf("\"bits_per_byte\": %.9g, \"loss\": %.9g, \"tokens\": %zu, \"bytes\": %zu, ", bits, loss, s->tokens,
               bytes);
        if (s->windows > 0) printf("\"perplexity\": %.9g, ", perplexity);
        else printf("\"perplexity\": null, ");
        printf("\"windows\": %zu}\n", s->windows);
        return;
    }
    printf("bits per byte  %.6f    (%zu bytes)\n", bits, bytes);
    printf("loss           %.6f    nats a token, %zu tokens\n", loss, s->tokens);
    if (s->windows > 0) printf("perplexity     %.4f      %zu windows, second half of each\n", perplexity, s->windows);
    else printf("perplexity     the text fills no window\n");
    print_loss(job, false);
}

/* Bytes of the text that the scored tokens stand for: all of it, but for a first token that nothing predicts. */
static bool scored_bytes(const struct eval_job *job, view text, size_t *out, err *e)
{
    uint8_t piece[TOKEN_BYTES_MAX];
    size_t len = 0;
    if (!job->has_bos && !tokenizer_piece(job->o->model.tokenizer, job->ids[0], false, piece, &len, e)) return false;
    *out = max_size(1, text.len_bytes - min_size(len, text.len_bytes));
    return true;
}

static bool eval(struct opened *o, const struct compute_options *c, const struct eval_options *set, err *e)
{
    struct eval_job job = { .o = o, .window = set->window };
    const model *m = &o->model;
    view text;
    int32_t *ids;
    size_t bytes;
    if (m->tokenizer == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: holds no vocabulary", o->path);
    if (!text_read(set->text, &o->arena, &text, e) ||
        !ids_of_prompt(m->tokenizer, text, false, &o->arena, &ids, &job.count, e))
        return false;
    job.ids = ids;
    job.has_bos = tokenizer_facts(m->tokenizer)->add_bos && job.count > 0 &&
                  ids[0] == tokenizer_facts(m->tokenizer)->bos;
    if (job.count < 2)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: %zu tokens, at least 2 are needed", set->text, job.count);
    if (recall_wanted(&set->recall))
        return recall_run(o, c, &set->recall, ids + job.has_bos, job.count - job.has_bos, set->json, e);
    const struct expert_config *x = &m->hyper.experts;
    bool good = expert_log_begin(&job.experts, &set->experts, set->stats, m->hyper.layers, x->count, x->top_k,
                                 BATCH_TOK_MAX, &o->arena, e) && eval_all(&job, o, c, e) &&
                scored_bytes(&job, text, &bytes, e) && expert_log_end(&job.experts, set->stats, e);
    expert_log_abandon(&job.experts);
    if (good) print_scores(&job, bytes, set->json);
    return good;
}

int cmd_eval(int argc, char **argv)
{
    struct eval_options set = { 0 };
    struct compute_options compute = { 0 };
    struct command_line line = { .command = "eval", .usage = "MODEL --text FILE", .words_max = 1,
                                 .about = "How well the model predicts a text: bits per byte, loss, perplexity.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set }, compute_group(&compute),
                                             recall_group(&set.recall), expert_group(&set.experts) } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if (set.text == NULL || set.window % 2 != 0) {
        if (set.text == NULL) say("eval: --text: no file given");
        else say("eval: --window: %zu, must be even", set.window);
        return EXIT_USAGE;
    }
    if (recall_wanted(&set.recall) && expert_log_wanted(&set.experts, set.stats)) {
        say("eval: --stats, --trace, --heat: cannot go with --needle, --recall");
        return EXIT_USAGE;
    }
    struct opened o = { 0 };
    err e = { 0 };
    bool good = open_model(&o, line.words[0], &compute, &e) && eval(&o, &compute, &set, &e);
    close_model(&o);
    return good ? EXIT_GOOD : say_error(&e);
}
