/* Options, threads, kernels, weights: see open.h. */
#include "cmd/open.h"

#include "base/checked.h"
#include "base/limits.h"

#include <sched.h>
#include <stdio.h>

static const char *const TIERS[] = { "ref", "avx2", "avxvnni", "avx512", "neon", NULL };
static const char *const ACTIVATIONS[] = { "int8", "f32", NULL };
static const char *const KV_TIERS[] = { "f16",      "f32",      "q8",       "q4",       "log:k2v2", "log:k2v3",
                                        "log:k2v4", "log:k3v2", "log:k3v3", "log:k3v4", "log:k4v2", "log:k4v3",
                                        "log:k4v4", "log:paper", "base:window", "base:kivi2", "base:q4", "base:q4rot",
                                        NULL };

static const struct option COMPUTE_ROWS[] = {
    { "--threads", "N", OPTION_COUNT, offsetof(struct compute_options, threads), 1, THREADS_MAX, NULL, NULL,
      "threads; any number gives the same bits (all)" },
    { "--cpus", "LIST", OPTION_TEXT, offsetof(struct compute_options, cpus), 0, 0, NULL, NULL, NULL },
    { "--cpu", "TIER", OPTION_CHOICE, offsetof(struct compute_options, cpu), 0, 0, TIERS, NULL,
      "ref avx2 avxvnni avx512 neon (the fastest here)" },
    { "--activations", "TYPE", OPTION_CHOICE, offsetof(struct compute_options, activations), 0, 0, ACTIVATIONS, "int8",
      NULL },
    { "--kv", "TIER", OPTION_CHOICE, offsetof(struct compute_options, kv), 0, 0, KV_TIERS, "f16",
      "the cache: f16 f32 q8 q4 log:k2v2 (3, 4: more bits)" },
    { "--ctx", "N", OPTION_COUNT, offsetof(struct compute_options, ctx), 1, CTX_TOK_MAX, NULL, NULL,
      "context in tokens (the model's, at most 8192)" },
    { "--chunk", "N", OPTION_COUNT, offsetof(struct compute_options, chunk), 1, BATCH_TOK_MAX, NULL, NULL, NULL },
    { "--memory", "SIZE", OPTION_SIZE, offsetof(struct compute_options, memory), 1 << 20, 1e18, NULL, NULL,
      "plan within it, weights included (what is free)" },
};

struct option_group compute_group(struct compute_options *values)
{
    return (struct option_group){ COMPUTE_ROWS, sizeof COMPUTE_ROWS / sizeof *COMPUTE_ROWS, values };
}

size_t threads_default(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : min_size((size_t)count, THREADS_MAX);
}

static bool cpu_number(const char **at, size_t *out)
{
    const char *begin = *at;
    for (*out = 0; **at >= '0' && **at <= '9' && *out < CPUS_MAX; (*at)++) *out = *out * 10 + (size_t)(**at - '0');
    return *at > begin && *out < CPUS_MAX;
}

/* "0,2-3" to processors; NULL to none. Whether they are there the system says when a thread is pinned. */
static bool cpus_parse(const char *list, struct team_cpus *out, err *e)
{
    const char *at = list;
    out->count = 0;
    if (list == NULL) return true;
    do {
        size_t first, last;
        bool good = cpu_number(&at, &first);
        last = first;
        if (good && *at == '-') {
            at++;
            good = cpu_number(&at, &last);
        }
        if (!good || last < first || last - first >= THREADS_MAX - out->count || (*at != ',' && *at != 0))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "--cpus: \"%s\", not a list like 0,2-3 of at most %d processors",
                        list, THREADS_MAX);
        for (size_t cpu = first; cpu <= last; cpu++) out->cpus[out->count++] = (int)cpu;
    } while (*at++ == ',');
    return true;
}

static size_t threads_of(const struct compute_options *c, const struct team_cpus *cpus)
{
    return c->threads > 0 ? c->threads : cpus->count > 0 ? cpus->count : threads_default();
}

static bool make_team(struct opened *o, const struct compute_options *c, err *e)
{
    struct team_cpus cpus;
    return cpus_parse(c->cpus, &cpus, e) &&
           team_new(&o->team, threads_of(c, &cpus), cpus.cpus, cpus.count, e);
}

bool compute_settings(const struct compute_options *c, struct hearth_settings *out, struct team_cpus *cpus, err *e)
{
    if (kv_method_named(c->kv) < KV_METHODS)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "--kv %s: a measuring tier, for eval alone", c->kv);
    if (!cpus_parse(c->cpus, cpus, e)) return false;
    *out = (struct hearth_settings){ .threads = (uint32_t)threads_of(c, cpus), .ctx_tok = (uint32_t)c->ctx,
                                     .chunk_tok = (uint32_t)c->chunk, .memory_bytes = c->memory,
                                     .kv = (uint32_t)kv_type_named(c->kv),
                                     .activations_f32 = strcmp(c->activations, "f32") == 0 };
    if (c->cpu != NULL) snprintf(out->tier, sizeof out->tier, "%s", c->cpu);
    return true;
}

static void show_load(void *arg, size_t done_bytes, size_t all_bytes)
{
    progress_show(arg, done_bytes, all_bytes);
}

bool open_model(struct opened *o, const char *word, const struct compute_options *c, err *e)
{
    struct progress progress = { .what = "loading" };
    *o = (struct opened){ .activations_f32 = strcmp(c->activations, "f32") == 0,
                          .method = kv_method_named(c->kv) };
    o->kv = o->method < KV_METHODS ? KV_F32 : kv_type_named(c->kv);
    bool good = model_find(word, o->path, e) && kernels_bind(&o->kernels, c->cpu, e) &&
                arena_new(&o->arena, COMMAND_ARENA_BYTES, e) &&
                make_team(o, c, e) &&
                model_load(&o->model, o->path, o->team, show_load, &progress, e);
    progress_end(&progress);
    if (!good) close_model(o);
    return good;
}

void close_model(struct opened *o)
{
    model_free(&o->model);
    team_free(o->team);
    arena_free(&o->arena);
    *o = (struct opened){ 0 };
}
