/* Options, threads, kernels, weights: see open.h. */
#include "cmd/open.h"

#include "base/checked.h"
#include "base/limits.h"

#include <sched.h>
#include <stdio.h>

static const char *const TIERS[] = { "ref", "avx2", "avxvnni", "avx512", "neon", NULL };
static const char *const ACTIVATIONS[] = { "int8", "f32", NULL };
static const char *const KV_TIERS[] = { "f16", "f32", NULL };

static const struct option COMPUTE_ROWS[] = {
    { "--threads", "N", OPTION_COUNT, offsetof(struct compute_options, threads), 1, THREADS_MAX, NULL, NULL,
      "threads; any number gives the same bits (all)" },
    { "--cpu", "TIER", OPTION_CHOICE, offsetof(struct compute_options, cpu), 0, 0, TIERS, NULL,
      "ref avx2 avxvnni avx512 neon (the fastest here)" },
    { "--activations", "TYPE", OPTION_CHOICE, offsetof(struct compute_options, activations), 0, 0, ACTIVATIONS, "int8",
      NULL },
    { "--kv", "TYPE", OPTION_CHOICE, offsetof(struct compute_options, kv), 0, 0, KV_TIERS, "f16",
      "how keys and values are kept: f16 or f32" },
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

static void show_load(void *arg, size_t done_bytes, size_t all_bytes)
{
    progress_show(arg, done_bytes, all_bytes);
}

bool open_model(struct opened *o, const char *word, const struct compute_options *c, err *e)
{
    struct progress progress = { .what = "loading" };
    *o = (struct opened){ .activations_f32 = strcmp(c->activations, "f32") == 0,
                          .kv = strcmp(c->kv, "f32") == 0 ? KV_F32 : KV_F16 };
    bool good = model_find(word, o->path, e) && kernels_bind(&o->kernels, c->cpu, e) &&
                arena_new(&o->arena, COMMAND_ARENA_BYTES, e) &&
                team_new(&o->team, c->threads > 0 ? c->threads : threads_default(), NULL, 0, e) &&
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

/* ---- the memory plan ---- */

size_t memory_free_bytes(void)
{
    char line[256];
    size_t bytes = 0;
    FILE *in = fopen("/proc/meminfo", "re");
    while (in != NULL && fgets(line, sizeof line, in) != NULL) {
        view text = view_of(line);
        if (!view_starts(text, view_of("MemAvailable:"))) continue;
        for (size_t i = strlen("MemAvailable:"); i < text.len_bytes; i++)
            if (line[i] >= '0' && line[i] <= '9') bytes = bytes * 10 + (size_t)(line[i] - '0');
        bytes *= 1024; /* "kB" there means 1,024 bytes */
    }
    if (in != NULL) fclose(in);
    return bytes;
}
