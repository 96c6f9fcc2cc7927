/* hearth quantize: the same model in fewer bits. Which tensor gets which type is model/mix.h's, how a row is encoded
 * kernels/encode.h's; here a file is walked, row by row on all threads, and written beside the old one. */
#include "base/checked.h"
#include "base/team.h"
#include "cmd/calibrate.h"
#include "cmd/options.h"
#include "format/gguf_write.h"
#include "kernels/encode.h"
#include "model/mix.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STRIPE_ROWS = 256 /* rows encoded before they are written */ };
#define ARENA_BYTES ((size_t)1 << 36) /* addresses: a directory, rows, and with --calibrate 12 bytes a column */

struct quantize_options {
    const char *type, *calibrate;
    size_t threads;
};

static const struct option ROWS[] = {
    { "--type", "T", OPTION_TEXT, offsetof(struct quantize_options, type), 0, 0, NULL, "Q4_K_M",
      "Q8_0, Q4_0, Q4_K_M or Q6_K, mixed as usual" },
    { "--calibrate", "FILE", OPTION_TEXT, offsetof(struct quantize_options, calibrate), 0, 0, NULL, NULL,
      "a text: weigh errors by what it makes of the model" },
    { "--threads", "N", OPTION_COUNT, offsetof(struct quantize_options, threads), 0, THREADS_MAX, NULL, "0",
      "0: one a processor" },
};

/* One tensor on its way from one type to another. */
struct recode {
    const struct weight_kind *from;
    const struct encode_kind *to;
    const uint8_t *rows; /* of the file, from the stripe's first row on */
    uint8_t *out;
    const float *importance; /* a row of cols for each matrix of the tensor; NULL: all alike */
    size_t first_row, matrix_rows, matrices; /* first_row: of the stripe, in the tensor */
    float *widened;      /* a row a thread */
    size_t cols, in_bytes, out_bytes; /* of a row */
    _Atomic size_t bad_row;
};

static void recode_task(void *arg, size_t row, size_t thread)
{
    struct recode *r = arg;
    float *x = r->widened + thread * r->cols;
    r->from->widen(r->rows + row * r->in_bytes, r->cols / r->from->block_values, x);
    const float *weights = r->importance;
    if (weights != NULL) weights += (r->first_row + row) / r->matrix_rows * r->cols;
    if (encode_row(r->to, x, weights, r->cols, r->out + row * r->out_bytes) == r->cols) return;
    size_t seen = atomic_load(&r->bad_row);
    while (row < seen && !atomic_compare_exchange_weak(&r->bad_row, &seen, row)) {}
}

struct work {
    gguf_files in;
    gguf_plan plan;
    arena arena;
    team *team;
    importance *importance; /* NULL: not calibrated */
};

/* The weights of a tensor's errors. A tensor of other matrices than the graph's has none: it counts all alike. */
static bool find_importance(const struct work *w, const gguf_tensor *t, arena *a, struct recode *r, err *e)
{
    size_t cols;
    if (w->importance == NULL) return true;
    if (!importance_of(w->importance, t->name, a, &r->importance, &r->matrices, &cols, e)) return false;
    size_t rows = gguf_tensor_values(t) / r->cols;
    if (r->importance == NULL || cols != r->cols || rows % r->matrices != 0) r->importance = NULL;
    else r->matrix_rows = rows / r->matrices;
    return true;
}

/* Encodes and puts all rows of `t`, a stripe at a time. */
static bool put_recoded(struct work *w, gguf_out *out, const gguf_tensor *t, const uint8_t *rows, uint32_t type,
                        err *e)
{
    arena *a = &w->arena;
    team *threads = w->team;
    size_t mark = a->used_bytes, cols = t->dims[0], count = gguf_tensor_values(t) / cols;
    struct recode r = { .from = weight_kind(t->type), .to = encode_kind(type), .cols = cols };
    r.in_bytes = cols / r.from->block_values * r.from->block_bytes;
    r.out_bytes = cols / r.to->block_values * r.to->block_bytes;
    r.out = arena_take(a, STRIPE_ROWS, r.out_bytes, 64, "rows to write", e);
    r.widened = arena_take(a, team_threads(threads) * cols, sizeof(float), 64, "rows", e);
    bool good = r.out != NULL && r.widened != NULL && find_importance(w, t, a, &r, e);
    for (size_t at = 0; good && at < count; at += STRIPE_ROWS) {
        size_t stripe = min_size(STRIPE_ROWS, count - at);
        r.rows = rows + at * r.in_bytes;
        r.first_row = at;
        atomic_store(&r.bad_row, SIZE_MAX);
        team_run(threads, stripe, recode_task, &r);
        size_t bad = atomic_load(&r.bad_row);
        good = bad == SIZE_MAX ? gguf_out_put(out, (view){ r.out, stripe * r.out_bytes }, e)
                               : fail(e, ERR_VALUE, ERR_NO_OFFSET, "%.*s: row %zu holds a value that is not finite",
                                      (int)t->name.len_bytes, (const char *)t->name.ptr, at + bad);
    }
    arena_rewind(a, mark);
    return good;
}

/* The whole model in the mix's types. Tensors of a type this program can not widen stay as they are. */
static bool plan_types(struct work *w, const struct mix *mix, err *e)
{
    const gguf_dir *dir = &w->in.dir;
    view arch = { 0 };
    uint64_t layers = 0;
    char key[96];
    if (!gguf_str(dir, "general.architecture", GGUF_REQUIRED, &arch, e)) return false;
    snprintf(key, sizeof key, "%.*s.block_count", (int)min_size(arch.len_bytes, 64), (const char *)arch.ptr);
    if (!gguf_u64(dir, key, GGUF_REQUIRED, 1, LAYERS_MAX, &layers, e) ||
        !gguf_plan_new(&w->plan, dir->pair_count + 8, dir->tensor_count, &w->arena, e) ||
        !gguf_plan_copy(&w->plan, dir, e) || !gguf_set_u32(&w->plan, "general.file_type", mix->file_type, e) ||
        !gguf_set_u32(&w->plan, "general.quantization_version", 2, e))
        return false;
    bool tied = gguf_tensor_find(dir, "output.weight") == NULL;
    for (size_t i = 0; i < dir->tensor_count; i++) {
        const gguf_tensor *t = &dir->tensors[i];
        uint32_t type = weight_kind(t->type) != NULL ? mix_type(mix, t, (size_t)layers, tied) : t->type;
        if (!gguf_plan_tensor(&w->plan, t->name, type, t->dims, t->dim_count, e)) return false;
    }
    return true;
}

static bool write_out(struct work *w, const char *path, err *e)
{
    gguf_out out;
    struct progress progress = { .what = "quantizing" };
    if (!gguf_out_open(&out, path, &w->plan, e)) return false;
    bool good = true;
    for (size_t i = 0; good && i < w->plan.tensor_count; i++) {
        const gguf_tensor *t = &w->in.dir.tensors[i];
        view bytes = gguf_tensor_bytes(&w->in, t);
        uint32_t type = w->plan.tensors[i].type;
        good = type == t->type ? gguf_out_put(&out, bytes, e)
                               : put_recoded(w, &out, t, bytes.ptr, type, e);
        progress_show(&progress, out.file_at, out.file_bytes);
    }
    progress_end(&progress);
    if (good) return gguf_out_close(&out, e);
    gguf_out_abort(&out);
    return false;
}

int cmd_quantize(int argc, char **argv)
{
    struct quantize_options set = { 0 };
    struct command_line line = { .command = "quantize",
                                 .usage = "IN OUT --type T",
                                 .words_min = 2,
                                 .words_max = 2,
                                 .about =
                                     "Writes the model of IN to OUT with weights of fewer bits. Norms, biases and\n"
                                     "routers stay as they are; rows that do not fit get the next larger type.\n"
                                     "With --calibrate the model first computes a text (its language, its work: some\n"
                                     "hundred thousand tokens), and errors count by the activations they meet.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set } } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    const struct mix *mix = mix_named(view_of(set.type));
    if (mix == NULL) {
        say("--type: %.40s is none of Q8_0, Q4_0, Q4_K_M, Q6_K", set.type);
        return EXIT_USAGE;
    }
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = set.threads > 0 ? set.threads : cpus > 0 ? min_size((size_t)cpus, THREADS_MAX) : 1;
    struct work w = { 0 };
    err e = { 0 };
    bool good = arena_new(&w.arena, ARENA_BYTES, &e) &&
                (set.calibrate == NULL ||
                 calibrate(line.words[0], set.calibrate, threads, &w.arena, &w.importance, &e)) &&
                team_new(&w.team, threads, NULL, 0, &e) && gguf_open(line.words[0], &w.arena, &w.in, &e) &&
                plan_types(&w, mix, &e) && write_out(&w, line.words[1], &e);
    gguf_close(&w.in);
    arena_free(&w.arena);
    team_free(w.team);
    return good ? EXIT_GOOD : say_error(&e);
}
