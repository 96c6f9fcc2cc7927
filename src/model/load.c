/* From a file to a model: open, read the hyperparameters, find every tensor, pack. See model.h.
 *
 * The packed weights are one mapping:  | slot | pad to 64 | slot | ...   in the order of slots.c: matrices as tiles
 * (kernels/tile.h), vectors as f32. */
#include "model/model.h"

#include "base/checked.h"
#include "base/limits.h"
#include "model/slots.h"
#include "model/vocab.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { SLOT_ALIGN = 64, MODEL_ARENA_BYTES = 1 << 30 /* addresses, not memory: see arena.h */ };

/* Bytes of one packed matrix of the slot. */
static size_t matrix_bytes(const struct slot_source *s)
{
    return tile_count(s->rows) * tile_bytes_of((enum weight_type)s->tensor->type, s->cols);
}

static size_t slot_bytes(const struct slot_source *s)
{
    return s->to_rows != NULL ? s->rows * s->cols * sizeof(float) : s->count * matrix_bytes(s);
}

/* The slot's rows as they stand in the file. */
static const uint8_t *slot_file_rows(const model *m, const struct slot_source *s)
{
    const struct weight_kind *kind = weight_kind(s->tensor->type);
    return gguf_tensor_bytes(&m->files, s->tensor).ptr + s->first_row * (s->cols / kind->block_values) * kind->block_bytes;
}

struct pack_job {
    const uint8_t *file;
    uint8_t *out;
    const struct weight_kind *kind;
    size_t rows, cols, tile_bytes;
    _Atomic size_t bad_row; /* lowest row with a scale that is NaN or infinite, or SIZE_MAX */
};

static void pack_task(void *arg, size_t tile, size_t thread)
{
    struct pack_job *job = arg;
    (void)thread;
    size_t row_blocks = job->cols / job->kind->block_values, row_bytes = row_blocks * job->kind->block_bytes;
    if (job->kind->bad_block != NULL) {
        for (size_t row = tile * TILE_ROWS; row < min_size((tile + 1) * TILE_ROWS, job->rows); row++) {
            if (job->kind->bad_block(job->file + row * row_bytes, row_blocks) == row_blocks) continue;
            size_t seen = atomic_load(&job->bad_row);
            while (row < seen && !atomic_compare_exchange_weak(&job->bad_row, &seen, row)) {}
            break;
        }
    }
    tile_pack(job->kind->type, job->file, job->rows, job->cols, tile, job->out + tile * job->tile_bytes);
}

static bool bad_row(const struct slot_source *s, size_t row, err *e)
{
    return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%.*s: row %zu holds a value or scale that is NaN or infinite",
                (int)s->tensor->name.len_bytes, (const char *)s->tensor->name.ptr, s->first_row + row);
}

static bool widen_rows(const struct slot_source *s, const uint8_t *file, uint8_t *out, err *e)
{
    const struct weight_kind *kind = weight_kind(s->tensor->type);
    size_t row_blocks = s->cols / kind->block_values, blocks = s->rows * row_blocks;
    size_t bad = kind->bad_block != NULL ? kind->bad_block(file, blocks) : blocks;
    if (bad != blocks) return bad_row(s, bad / row_blocks, e);
    kind->widen(file, blocks, (float *)(void *)out);
    *s->to_rows = (const float *)(const void *)out;
    return true;
}

/* `count` matrices one after the other, in the file and in memory. */
static bool pack_matrices(const struct slot_source *s, const uint8_t *file, uint8_t *out, team *t, err *e)
{
    const struct weight_kind *kind = weight_kind(s->tensor->type);
    size_t file_bytes = s->rows * (s->cols / kind->block_values) * kind->block_bytes, bytes = matrix_bytes(s);
    matrix first = { .type = kind->type, .rows = s->rows, .cols = s->cols,
                     .tile_bytes = tile_bytes_of(kind->type, s->cols), .tiles = out };
    for (size_t i = 0; i < s->count; i++) {
        struct pack_job job = { .file = file + i * file_bytes, .out = out + i * bytes, .kind = kind, .rows = s->rows,
                                .cols = s->cols, .tile_bytes = first.tile_bytes };
        atomic_store(&job.bad_row, SIZE_MAX);
        team_run(t, tile_count(s->rows), pack_task, &job);
        size_t bad = atomic_load(&job.bad_row);
        if (bad != SIZE_MAX) return bad_row(s, i * s->rows + bad, e);
    }
    if (s->to_experts != NULL) *s->to_experts = (struct expert_matrix){ .first = first, .bytes = bytes };
    else *s->to_matrix = first;
    return true;
}

static bool pack_slot(const model *m, const struct slot_source *s, uint8_t *out, team *t, err *e)
{
    const uint8_t *file = slot_file_rows(m, s);
    return s->to_rows != NULL ? widen_rows(s, file, out, e) : pack_matrices(s, file, out, t, e);
}

static bool pack_all(model *m, const struct slot_source *slots, size_t count, team *t, load_progress *progress,
                     void *progress_arg, err *e)
{
    size_t all_bytes = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        if (!add_size(all_bytes, round_up(slot_bytes(&slots[i]), SLOT_ALIGN), &all_bytes))
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "weights: more bytes than there are addresses");
    void *base = mmap(NULL, all_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "weights: no room for %zu bytes", all_bytes);
    madvise(base, all_bytes, MADV_HUGEPAGE); /* advice: where the kernel has none to give, nothing is lost */
    m->weights = base;
    m->weights_bytes = all_bytes;
    for (size_t i = 0; i < count; i++) {
        if (!pack_slot(m, &slots[i], m->weights + at, t, e)) return false;
        at += round_up(slot_bytes(&slots[i]), SLOT_ALIGN);
        if (progress != NULL) progress(progress_arg, at, all_bytes);
    }
    if (m->tied) m->output = m->embedding;
    return true;
}

/* Divisors of rope frequencies come from the file and are divided by: they must be positive. */
static bool check_factors(const float *factors, size_t count, const char *name, err *e)
{
    for (size_t i = 0; factors != NULL && i < count; i++)
        if (!(factors[i] > 0.0f))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: value %zu is %g, must be over 0", name, i, (double)factors[i]);
    return true;
}

static bool load_weights(model *m, team *t, load_progress *progress, void *progress_arg, err *e)
{
    if (!hyper_read(&m->files.dir, &m->hyper, e)) return false;
    m->layers = ARENA_ARRAY(&m->arena, struct layer, m->hyper.layers, "layers", e);
    struct slot_source *slots = ARENA_ARRAY(&m->arena, struct slot_source,
                                            SLOTS_OUTSIDE + m->hyper.layers * SLOTS_PER_LAYER, "tensor slots", e);
    size_t count, pairs = m->hyper.rope.dims / 2;
    return m->layers != NULL && slots != NULL && slots_resolve(m, slots, &count, e) &&
           pack_all(m, slots, count, t, progress, progress_arg, e) &&
           check_factors(m->rope_factors, pairs, "rope factors", e) &&
           check_factors(m->rope_factors_long, pairs, "rope_factors_long.weight", e);
}

static bool open_and_read(model *m, const char *path, team *t, load_progress *progress, void *progress_arg, bool whole,
                          err *e)
{
    *m = (model){ 0 };
    /* gguf_open's errors name the file themselves. */
    if (!arena_new(&m->arena, MODEL_ARENA_BYTES, e) || !gguf_open(path, &m->arena, &m->files, e)) {
        model_free(m);
        return false;
    }
    bool good = (!whole || load_weights(m, t, progress, progress_arg, e)) && vocab_load(m, e);
    if (good && whole && m->tokenizer != NULL && tokenizer_count(m->tokenizer) > m->hyper.vocab)
        good = fail(e, ERR_VALUE, ERR_NO_OFFSET, "tokenizer.ggml.tokens: %zu tokens, token_embd.weight has %zu rows",
                    tokenizer_count(m->tokenizer), m->hyper.vocab);
    if (good) return true;
    err_prefix(e, path);
    model_free(m);
    return false;
}

bool model_load(model *m, const char *path, team *t, load_progress *progress, void *progress_arg, err *e)
{
    return open_and_read(m, path, t, progress, progress_arg, true, e);
}

bool model_load_vocab(model *m, const char *path, err *e)
{
    return open_and_read(m, path, NULL, NULL, NULL, false, e);
}

void model_free(model *m)
{
    if (m->weights != NULL) munmap(m->weights, m->weights_bytes);
    gguf_close(&m->files);
    arena_free(&m->arena);
    *m = (model){ 0 };
}
