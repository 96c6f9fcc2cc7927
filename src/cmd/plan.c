/* hearth plan: what goes where before anything starts. Reads the model's directory, not its weights, and sums what the
 * engine would take: the same functions that plan for it. */
#include "cmd/open.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "model/pack.h"

#include <stdio.h>

#define MIB ((double)(1 << 20))
/* What a process has beside its plan: the program's own data, stacks, the allocator's first pages. */
#define PROGRAM_BYTES ((size_t)4 << 20)

struct plan_options {
    size_t memory, context, sessions, threads, chunk;
    const char *kv;
    bool json;
};

/* From the smallest loss to the smallest size: what to try, in order. */
static const char *const TIERS[] = { "f32",      "f16",      "q8",       "q4",       "log:k4v4", "log:k4v3",
                                     "log:k4v2", "log:k3v4", "log:k3v3", "log:k3v2", "log:k2v4", "log:k2v3",
                                     "log:k2v2", NULL };
static const char *const SUGGESTED[] = { "f16", "q8", "log:k4v3", "log:k4v2", "log:k3v2", "log:k2v2" };
enum { SUGGESTED_COUNT = sizeof SUGGESTED / sizeof *SUGGESTED };

static const struct option ROWS[] = {
    { "--memory", "SIZE", OPTION_SIZE, offsetof(struct plan_options, memory), 1 << 20, 1e18, NULL, NULL,
      "what there is for all of it (what is free now)" },
    { "--context", "N", OPTION_SIZE, offsetof(struct plan_options, context), 1, CTX_TOK_MAX, NULL, NULL,
      "tokens of a session, such as 8000 or 32K" },
    { "--sessions", "N", OPTION_COUNT, offsetof(struct plan_options, sessions), 1, HEARTH_SEQUENCES_MAX, NULL, "1",
      "sessions that are kept at once" },
    { "--kv", "TIER", OPTION_CHOICE, offsetof(struct plan_options, kv), 0, 0, TIERS, "f16",
      "f32 f16 q8 q4 log:kAvB, A and B 2, 3 or 4 bits" },
    { "--threads", "N", OPTION_COUNT, offsetof(struct plan_options, threads), 1, THREADS_MAX, NULL, NULL, NULL },
    { "--chunk", "N", OPTION_COUNT, offsetof(struct plan_options, chunk), 1, BATCH_TOK_MAX, NULL, "512", NULL },
    { "--json", NULL, OPTION_FLAG, offsetof(struct plan_options, json), 0, 0, NULL, NULL, "one object" },
};

struct planning {
    model m; /* its hyperparameters and the size of its weights */
    const char *path;
    size_t memory, threads, chunk;
};

/* What one choice takes; all in bytes. */
struct plan {
    const char *tier;
    size_t context, sessions;
    size_t weights, cache, work, all; /* cache: what full sessions hold; what steps need of the pool is work */
    double bits; /* a cached value, of a full session */
    bool can;    /* the model can take the tier */
};

static struct plan plan_of(const struct planning *p, const char *tier, size_t context, size_t sessions)
{
    const struct hyper *h = &p->m.hyper;
    struct plan out = { .tier = tier, .context = context, .sessions = sessions, .weights = p->m.weights_bytes };
    struct hearth_settings set = { .sequences = (uint32_t)sessions, .ctx_tok = (uint32_t)context,
                                   .chunk_tok = (uint32_t)p->chunk, .kv = (uint32_t)kv_type_named(tier) };
    struct kv_shape shape = { .type = kv_type_named(tier), .layers = h->layers, .kv_heads = h->kv_heads,
                              .key_dim = h->key_dim, .value_dim = cached_value_dim(h, kv_type_named(tier)),
                              .sequences = sessions };
    err e = { 0 };
    size_t beside, each;
    if (!engine_plan_bytes(&p->m, p->threads, &set, &beside, &e) || !kv_shape_seq_bytes(&shape, context, &each) ||
        !mul_size(sessions, each, &out.cache))
        return out;
    out.can = true;
    out.work = beside - out.cache + PROGRAM_BYTES;
    out.all = out.weights + out.cache + out.work;
    double values = (double)(context * sessions * h->layers * h->kv_heads * (h->key_dim + shape.value_dim));
    out.bits = 8.0 * (double)out.cache / values;
    return out;
}

static bool fits(const struct planning *p, const struct plan *plan)
{
    return plan->can && plan->all <= p->memory;
}

/* The longest context, in steps of a page, that fits with so many sessions; 0: none. */
static size_t longest(const struct planning *p, const char *tier, size_t sessions)
{
    size_t low = 0, high = hyper_ctx_most(&p->m.hyper) / PAGE_TOK;
    while (low < high) {
        size_t middle = (low + high + 1) / 2;
        struct plan plan = plan_of(p, tier, middle * PAGE_TOK, sessions);
        if (fits(p, &plan)) low = middle;
        else high = middle - 1;
    }
    return low * PAGE_TOK;
}

static size_t most_sessions(const struct planning *p, const char *tier, size_t context)
{
    size_t low = 0, high = HEARTH_SEQUENCES_MAX;
    while (low < high) {
        size_t middle = (low + high + 1) / 2;
        struct plan plan = plan_of(p, tier, context, middle);
        if (fits(p, &plan)) low = middle;
        else high = middle - 1;
    }
    return low;
}

/* ---- the model ---- */

static bool read_model(struct planning *p, const char *word, char path[static PATH_BYTES_MAX], err *e)
{
    struct packing packing;
    err not_gguf = { 0 };
    if (!model_find(word, path, e)) return false;
    p->path = path;
    if (packing_open(&packing, path, &not_gguf)) {
        p->m.hyper = packing.hyper;
        p->m.weights_bytes = packing.layout.bytes;
        packing_close(&packing);
        return true;
    }
    team *t = NULL; /* an image: mapped, so nothing of it is read but what describes it */
    bool good = team_new(&t, 1, NULL, 0, e) && model_load(&p->m, path, t, NULL, NULL, e);
    team_free(t);
    if (!good && not_gguf.code != ERR_NONE) *e = not_gguf;
    return good;
}

/* ---- showing ---- */

static void print_plan(const struct planning *p, const struct plan *plan)
{
    const struct hyper *h = &p->m.hyper;
    size_t over = plan->all > p->memory ? plan->all - p->memory : 0;
    printf("%s: %zu layers, %zu key/value heads of %zu\n\n", p->path, h->layers, h->kv_heads, h->key_dim);
    printf("weights   %10.1f MiB\n", (double)plan->weights / MIB);
    printf("cache     %10.1f MiB   %s, %zu x %zu tokens, %.2f bits a value\n", (double)plan->cache / MIB, plan->tier,
           plan->sessions, plan->context, plan->bits);
    printf("work      %10.1f MiB   steps of %zu tokens, %zu threads, lists, the program\n", (double)plan->work / MIB,
           p->chunk, p->threads);
    printf("all       %10.1f MiB   of %.1f: ", (double)plan->all / MIB, (double)p->memory / MIB);
    if (over > 0) printf("%.1f MiB too much\n", (double)over / MIB);
    else printf("fits, %.1f MiB left\n", (double)(p->memory - plan->all) / MIB);
    printf("\ntier        bits     cache MiB       all MiB   longest context   most sessions of %zu\n", plan->context);
    for (size_t i = 0; i < SUGGESTED_COUNT; i++) {
        struct plan other = plan_of(p, SUGGESTED[i], plan->context, plan->sessions);
        if (!other.can) continue;
        printf("%-9s %6.2f  %12.1f  %12.1f  %16zu   %zu\n", other.tier, other.bits, (double)other.cache / MIB,
               (double)other.all / MIB, longest(p, other.tier, plan->sessions),
               most_sessions(p, other.tier, plan->context));
    }
}

static void print_json(const struct planning *p, const struct plan *plan)
{
    printf("{\"weights_bytes\": %zu, \"cache_bytes\": %zu, \"work_bytes\": %zu, \"all_bytes\": %zu, "
            "\"memory_bytes\": %zu, "
           "\"fits\": %s, \"kv\": \"%s\", \"context\": %zu, \"sessions\": %zu, \"bits_per_value\": %.6g, \"tiers\": [",
           plan->weights, plan->cache, plan->work, plan->all, p->memory, fits(p, plan) ? "true" : "false", plan->tier,
           plan->context, plan->sessions, plan->bits);
    bool first = true;
    for (size_t i = 0; i < SUGGESTED_COUNT; i++) {
        struct plan other = plan_of(p, SUGGESTED[i], plan->context, plan->sessions);
        if (!other.can) continue;
        printf("%s{\"kv\": \"%s\", \"cache_bytes\": %zu, \"all_bytes\": %zu, \"longest_context\": %zu, "
                "\"most_sessions\": %zu}",
               first ? "" : ", ", other.tier, other.cache, other.all, longest(p, other.tier, plan->sessions),
               most_sessions(p, other.tier, plan->context));
        first = false;
    }
    printf("]}\n");
}

/* What to change, in one line: a smaller tier, else fewer sessions, else a shorter context, else nothing helps. */
static bool say_change(const struct planning *p, const struct plan *plan, err *e)
{
    for (size_t i = 0; i < SUGGESTED_COUNT; i++) {
        struct plan other = plan_of(p, SUGGESTED[i], plan->context, plan->sessions);
        if (fits(p, &other))
            return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "plan: %zu bytes are needed, %zu are there: --kv %s fits",
                        plan->all, p->memory, other.tier);
    }
    size_t sessions = most_sessions(p, "log:k2v2", plan->context), context = longest(p, plan->tier, plan->sessions);
    if (sessions > 0)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET,
                    "plan: %zu bytes are needed, %zu are there: --kv log:k2v2 --sessions %zu fits", plan->all,
                        p->memory,
                    sessions);
    if (context > 0)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "plan: %zu bytes are needed, %zu are there: --context %zu fits",
                    plan->all, p->memory, context);
    return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "plan: %zu bytes are needed, %zu are there; the weights alone are %zu",
                plan->all, p->memory, plan->weights);
}

static bool show(struct planning *p, const struct plan_options *set, err *e)
{
    const struct hyper *h = &p->m.hyper;
    size_t context = set->context > 0 ? set->context : min_size(h->ctx_train_tok, 8192);
    struct kv_shape shape = { .type = kv_type_named(set->kv), .key_dim = h->key_dim, .value_dim = h->value_dim };
    if (context > CTX_TOK_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "--context: %zu positions, allowed 1..%d", context, CTX_TOK_MAX);
    if (!hyper_ctx_check(h, context, e) || !kv_shape_check(&shape, h->latent.kv_rank > 0, e)) return false;
    struct plan plan = plan_of(p, set->kv, context, set->sessions);
    if (!plan.can)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "plan: %zu sessions of %zu tokens need more bytes than there are "
                    "addresses", set->sessions, context);
    if (set->json) print_json(p, &plan);
    else print_plan(p, &plan);
    return fits(p, &plan) || say_change(p, &plan, e);
}

int cmd_plan(int argc, char **argv)
{
    struct plan_options set = { 0 };
    struct command_line line = { .command = "plan", .usage = "MODEL", .words_max = 1,
                                 .about = "What takes how much memory, what does not fit, what to change.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set } } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    char path[PATH_BYTES_MAX];
    struct planning p = { .memory = set.memory > 0 ? set.memory : memory_free_bytes(),
                          .threads = set.threads > 0 ? set.threads : threads_default(), .chunk = set.chunk };
    err e = { 0 };
    bool good = read_model(&p, line.words[0], path, &e) && show(&p, &set, &e);
    if (p.m.weights.ptr != NULL) model_free(&p.m);
    return good ? EXIT_GOOD : say_error(&e);
}
