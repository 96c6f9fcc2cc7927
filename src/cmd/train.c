/* hearth train: makes a model from a configuration, goes on with a run that was interrupted, proves a run's log. */
#include "cmd/options.h"

#include "kernels/weight.h"
#include "train/card.h"
#include "train/curves.h"
#include "train/export.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct train_options {
    size_t threads, slice_steps, slice_minutes, from, to;
    const char *tier, *verify, *out, *type, *card, *checkpoint, *curves;
    bool dry_run;
};

static const char *const TIERS[] = { "ref", "avx2", "avx512", "neon", NULL };
static const struct option ROWS[] = {
    { "--threads", "N", OPTION_COUNT, offsetof(struct train_options, threads), 1, 256, NULL, "1",
      "threads; the weights do not depend on it" },
    { "--cpu", "TIER", OPTION_CHOICE, offsetof(struct train_options, tier), 0, 0, TIERS, NULL,
      "ref, avx2, avx512 or neon; nor on this" },
    { "--steps", "N", OPTION_COUNT, offsetof(struct train_options, slice_steps), 0, 1e12, NULL, "0",
      "stop after so many steps; 0: at the end" },
    { "--minutes", "N", OPTION_COUNT, offsetof(struct train_options, slice_minutes), 0, 1e6, NULL, "0",
      "stop after so many minutes; 0: at the end" },
    { "--dry-run", NULL, OPTION_FLAG, offsetof(struct train_options, dry_run), 0, 0, NULL, NULL,
      "say what memory and time it takes, and stop" },
    { "--verify", "LOG", OPTION_TEXT, offsetof(struct train_options, verify), 0, 0, NULL, NULL,
      "replay a stretch and compare the weights with a log" },
    { "--from", "STEP", OPTION_COUNT, offsetof(struct train_options, from), 0, 1e12, NULL, "0",
      "verify: from this step, whose checkpoint was kept" },
    { "--to", "STEP", OPTION_COUNT, offsetof(struct train_options, to), 0, 1e12, NULL, "0",
      "verify: to this step; 0: to the log's end" },
    { "--out", "FILE", OPTION_TEXT, offsetof(struct train_options, out), 0, 0, NULL, NULL,
      "write the last checkpoint's model as GGUF, and stop" },
    { "--type", "T", OPTION_TEXT, offsetof(struct train_options, type), 0, 0, NULL, "Q8_0",
      "out: weight type of the matrices" },
    { "--card", "FILE", OPTION_TEXT, offsetof(struct train_options, card), 0, 0, NULL, NULL,
      "write a model card, and stop" },
    { "--checkpoint", "FILE", OPTION_TEXT, offsetof(struct train_options, checkpoint), 0, 0, NULL, NULL,
      "out, card: of this checkpoint instead of the last" },
    { "--curves", "FILE", OPTION_TEXT, offsetof(struct train_options, curves), 0, 0, NULL, NULL,
      "draw the run's log as SVG, and stop" },
};

/* Set by signals: the step that runs is finished and a checkpoint written. */
static volatile sig_atomic_t stop_asked;

static void ask_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

enum { HELD_OUT_TOK = 1 << 15 }; /* tokens of one held-out measurement: as much work as a few steps */

struct burn_job {
    const struct gemm_kernels *k;
    double done[256];
};

static void burn_tile(void *arg, size_t tile, size_t thread)
{
    struct burn_job *job = arg;
    real sink = 1;
    (void)thread;
    job->done[tile] = job->k->burn(1 << 18, &sink);
}

/* Operations a second of all threads at once, in registers alone: the best of some tries, because a busy machine only
 * ever shows less. */
static double peak_rate(const struct run *r)
{
    struct burn_job job = { .k = r->trainer.net.gemm };
    size_t threads = team_threads(r->team);
    double best = 0;
    for (int i = 0; i < 8; i++) {
        double start = clock_seconds(), done = 0;
        team_run(r->team, threads, burn_tile, &job);
        double took = clock_seconds() - start;
        for (size_t t = 0; t < threads; t++) done += job.done[t];
        if (done / took > best) best = done / took;
    }
    return best;
}

static double megabytes(size_t bytes)
{
    return (double)bytes * 1e-6;
}

enum { DRY_STEPS = 5 };

/* The median time of some steps; one before them touches the memory. */
static bool time_steps(struct run *r, double *took, err *e)
{
    double times[DRY_STEPS];
    struct step_result out;
    if (!run_step(r, &out, e)) return false;
    for (size_t i = 0; i < DRY_STEPS; i++) {
        double start = clock_seconds();
        if (!run_step(r, &out, e)) return false;
        double t = clock_seconds() - start;
        size_t at = i;
        for (; at > 0 && times[at - 1] > t; at--) times[at] = times[at - 1];
        times[at] = t;
    }
    *took = times[DRY_STEPS / 2];
    return true;
}

/* The time estimate is of steps really made: weights are thrown away with the process. */
static bool dry_run(struct run *r, err *e)
{
    double peak = peak_rate(r), took;
    const struct settings *s = &r->settings;
    uint64_t steps = s->optimizer.schedule.steps;
    printf("parameters          %zu (%zu active)\n", r->layout.values, r->layout.active_values);
    printf("memory              %.0f MB planned for %zu tokens a microbatch, %zu microbatches a step\n",
           megabytes(r->planned_bytes), s->micro_rows * s->row_tok, settings_micro(s));
    printf("data                %zu documents, %zu tokens, %zu rows a round; the run passes %.2f rounds\n",
           r->shard.doc_count, r->shard.token_count, r->stream.row_count,
           (double)steps * (double)(s->step_tok / s->row_tok) / (double)r->stream.row_count);
    layout_init(&r->layout, r->trainer.params, s->seed);
    if (!time_steps(r, &took, e)) return false;
    double rate = 6 * (double)r->layout.active_values * (double)s->step_tok / took;
    printf(
        "a step              %.2f s, %.0f tokens/s, %.1f GFLOP/s, %.0f %% of the %.1f that %zu threads of %s can do\n",
        took, (double)s->step_tok / took, 1e-9 * rate, 100 * rate / peak, 1e-9 * peak, team_threads(r->team),
        r->trainer.net.gemm->tier);
    printf("the run             %llu steps, %.1f million tokens, %.1f hours\n", (unsigned long long)steps,
           (double)steps * (double)s->step_tok * 1e-6, took * (double)steps / 3600);
    return true;
}

static void print_step(const struct run *r, const struct step_result *s, const struct held_out_result *held,
                       double took, double peak)
{
    double rate = 6 * (double)r->layout.active_values * (double)r->settings.step_tok / took;
    uint64_t steps = r->settings.optimizer.schedule.steps, step = r->trainer.step;
    printf("step %llu of %llu  loss %.4f", (unsigned long long)step, (unsigned long long)steps, s->loss);
    double low, high;
    run_expert_load(r, &low, &high);
    if (held != NULL) printf("  held out %.4f, %.4f bits a byte", held->loss, held->bits_per_byte);
    printf("  norm %.2f  rate %.2e  %.0f tok/s, %.0f %% of peak  %.1f h left\n", s->grad_norm, s->rate,
           (double)r->settings.step_tok / took, 100 * rate / peak, took * (double)(steps - step) / 3600);
    if (high > 0 && held != NULL) printf("  experts' load %.2f to %.2f of an even share\n", low, high);
    fflush(stdout);
}

/* The same prompts every time: one of prose, one of manuals, one task. */
static bool print_samples(struct run *r, err *e)
{
    static const char *const prompts[] = { "It is a truth", "The function returns",
                                           "<|im_start|>user\nWhat is 12 + 30?<|im_end|>\n<|im_start|>assistant\n" };
    for (size_t i = 0; i < sizeof prompts / sizeof prompts[0]; i++) {
        char text[512];
        if (!run_sample(r, view_of(prompts[i]), 32, text, sizeof text, e)) return false;
        for (char *at = text; *at != 0; at++)
            if (*at == '\n') *at = ' ';
        printf("  %s ... %s\n", i == 2 ? "12 + 30" : prompts[i], text);
    }
    fflush(stdout);
    return true;
}

/* What follows a step: held-out loss, log, checkpoints, at their intervals and at the end. */
static bool after_step(struct run *r, const struct step_result *s, double took, double peak, bool last, err *e)
{
    const struct settings *set = &r->settings;
    struct held_out_result held;
    uint64_t step = r->trainer.step;
    bool measured = set->eval_steps > 0 && (step % set->eval_steps == 0 || run_done(r));
    if (measured && !run_held_out(r, HELD_OUT_TOK / set->row_tok, &held, e)) return false;
    if (measured || step % set->log_steps == 0 || last) {
        print_step(r, s, measured ? &held : NULL, took, peak);
        if ((measured || step % set->log_steps == 0) && !run_log(r, s, measured ? &held : NULL, e)) return false;
    }
    if (set->sample_steps > 0 && step % set->sample_steps == 0 && !print_samples(r, e)) return false;
    if (set->keep_steps > 0 && step % set->keep_steps == 0 && !run_checkpoint(r, true, e)) return false;
    if (step % set->checkpoint_steps == 0 || last) return run_checkpoint(r, false, e);
    return true;
}

/* A rank is gone, and the others are about to be ended: the state is that of the last whole step. Where MPI itself ends
 * this process first (Open MPI does so when a TCP connection breaks) the last regular checkpoint is what is left. */
static bool rescue(struct run *r, err *e)
{
    err ignored = { 0 };
    if (e->code == ERR_IO && r->ranks->count > 1 && r->ranks->rank == 0 && r->trainer.step > 0 &&
        run_checkpoint(r, false, &ignored))
        say("checkpoint written at step %llu", (unsigned long long)r->trainer.step);
    return false;
}

static bool train(struct run *r, const struct train_options *o, err *e)
{
    bool found, speaks = r->ranks->rank == 0; /* one rank writes; they all hold the same */
    double begin = clock_seconds(), peak = peak_rate(r) * (double)r->ranks->count;
    if (!run_resume(r, &found, e)) return false;
    if (found && speaks) say("going on from step %llu", (unsigned long long)r->trainer.step);
    struct progress p = { .what = "training" };
    for (size_t done = 0; !run_done(r);) {
        struct step_result s;
        double start = clock_seconds();
        if (!run_step(r, &s, e)) return rescue(r, e);
        double now = clock_seconds();
        done++;
        /* Ranks end after the same step: what one is told alone, the next step tells the others. */
        bool asked = r->ranks->count > 1 ? s.stop : stop_asked != 0;
        if (o->slice_minutes > 0 && now - begin > 60.0 * (double)o->slice_minutes) stop_asked = 1;
        bool last = run_done(r) || asked || (r->ranks->count == 1 && stop_asked) ||
                    (o->slice_steps > 0 && done >= o->slice_steps);
        if (!speaks) {
            if (last) break;
            continue;
        }
        progress_end(&p);
        if (!after_step(r, &s, now - start, peak, last, e)) return false;
        progress_show(&p, (size_t)r->trainer.step, (size_t)r->settings.optimizer.schedule.steps);
        if (last) break;
    }
    progress_end(&p);
    return true;
}

static bool verify(struct run *r, const struct train_options *o, err *e)
{
    size_t compared;
    uint64_t bad;
    if (!run_verify(r, o->verify, o->from, o->to == 0 ? UINT64_MAX : o->to, &compared, &bad, e)) return false;
    if (bad > 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: step %llu: the weights are others than the log says", o->verify,
                    (unsigned long long)bad);
    printf("%zu lines of %s hold: the same weights again, to step %llu\n", compared, o->verify,
           (unsigned long long)r->trainer.step);
    return true;
}

static bool export(struct run *r, const struct train_options *o, err *e)
{
    bool found = true;
    const struct weight_kind *kind = weight_kind_named(view_of(o->type));
    if (kind == NULL) return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "--type: %s is no weight type", o->type);
    if (!(o->checkpoint != NULL ? run_load(r, o->checkpoint, e) : run_load_last(r, &found, e))) return false;
    if (!found) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "no checkpoint yet: nothing to write");
    return (o->out == NULL || export_gguf(r, o->out, kind->type, e)) && (o->card == NULL || card_write(r, o->card, e));
}

static bool curves(struct run *r, const struct train_options *o, err *e)
{
    char path[PATH_BYTES], name[128];
    const char *const paths[] = { path }, *const names[] = { name };
    snprintf(name, sizeof name, "%.*s", (int)r->settings.name.len_bytes, (const char *)r->settings.name.ptr);
    return path_join(r->settings.folder, "run.log", path, e) && curves_write(o->curves, paths, names, 1, &r->arena, e);
}

int cmd_train(int argc, char **argv)
{
    struct train_options o = { 0 };
    struct command_line line = {
        .command = "train", .usage = "CONFIG", .words_min = 1, .words_max = 1,
        .groups = { { ROWS, sizeof ROWS / sizeof ROWS[0], &o } },
        .about = "Trains the model that a configuration describes, on the shards `hearth data`\n"
                 "made of it. Interrupted at any moment it goes on from the last checkpoint to\n"
                 "the same weights, bit for bit; so it does with other threads or another CPU.",
    };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    struct run r = { 0 };
    struct ranks ranks;
    err e = { 0 };
    signal(SIGINT, ask_stop);
    signal(SIGTERM, ask_stop);
    bool good = ranks_open(&ranks, &stop_asked, &e) && run_open_config(&r, line.words[0], &e);
    r.ranks = &ranks;
    bool writes = o.out != NULL || o.card != NULL, draws_only = o.curves != NULL && !writes;
    if (good && o.curves != NULL) good = curves(&r, &o, &e);
    if (!draws_only) { /* a drawing needs the log alone */
        good = good && run_open(&r, o.threads, o.tier, &e);
        if (good && o.dry_run) good = dry_run(&r, &e);
        else if (good && o.verify != NULL) good = verify(&r, &o, &e);
        else if (good && writes) good = export(&r, &o, &e);
        else if (good) good = train(&r, &o, &e);
    }
    run_close(&r);
    int status_out = good ? EXIT_GOOD : say_error(&e);
    if (good) ranks_close(&ranks); /* after an error the peers may never come: the launcher ends them */
    return status_out;
}
