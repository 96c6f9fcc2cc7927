/* Making an image: sizes first, then bytes. See image.h.
 *
 * The only thing that takes time is the data: tiles are packed on all threads straight to where they stay, and hashes,
 * where they are wanted, are taken from the file's bytes while they are warm. */
#include "image/image.h"

#include "base/checked.h"
#include "base/le.h"
#include "base/limits.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define ROUTE_SCRATCH_BYTES ((size_t)1 << 34) /* addresses, not memory: a router at its limits in f64, twice */

/* ---- the plan ---- */

/* Lengths are stored in 16 bits, so each has to fit before any is written. */
static bool plan_text(const view *texts, size_t count, size_t each_max, const char *what, size_t *bytes, err *e)
{
    *bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (texts[i].len_bytes > each_max)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s %zu: %zu bytes, allowed %zu", what, i, texts[i].len_bytes,
                        each_max);
        *bytes += texts[i].len_bytes; /* at most VOCAB_MAX or MERGES_MAX times 64 KiB: 2^38 */
    }
    return true;
}

/* The limits are the checker's: what is packed here must be taken there. */
static bool plan_vocab(const struct image_vocab *v, size_t *out, err *e)
{
    size_t texts, merges, n = v->token_count, m = v->merge_count;
    if (n < 1 || n > VOCAB_MAX || m > MERGES_MAX || v->charsmap.len_bytes > CHARSMAP_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET,
                    "vocabulary: %zu tokens, %zu merges, a map of %zu bytes, allowed 1..%d, "
                    "%d and %d",
                    n, m, v->charsmap.len_bytes, VOCAB_MAX, MERGES_MAX, CHARSMAP_BYTES_MAX);
    if (v->model.len_bytes > TOKEN_BYTES_MAX || v->pre.len_bytes > TOKEN_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "vocabulary: names of %zu and %zu bytes, allowed %d",
                    v->model.len_bytes, v->pre.len_bytes, TOKEN_BYTES_MAX);
    if (!plan_text(v->texts, n, TOKEN_BYTES_MAX, "token", &texts, e) ||
        !plan_text(v->merges, m, MERGE_BYTES_MAX, "merge", &merges, e))
        return false;
    if (texts > VOCAB_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "vocabulary: %zu bytes of text, allowed %d", texts, VOCAB_BYTES_MAX);
    *out = IMAGE_VOCAB_HEAD_BYTES + (v->scores != NULL ? 4 * n : 0) + 2 * n + 2 * m + (v->kinds != NULL ? n : 0) +
           v->model.len_bytes + v->pre.len_bytes + texts + merges + v->charsmap.len_bytes;
    return true;
}

/* Sizes of one tensor: bytes of a matrix, and how far they are apart where nothing else stands between. */
static bool plan_tensor(const struct image_tensor_source *s, struct image_tensor *t, err *e)
{
    const struct weight_kind *kind = weight_kind(s->type);
    assert(kind != NULL && s->cols % kind->block_values == 0 && s->rows > 0 && s->count > 0);
    bool f32 = s->kind == IMAGE_ROWS || s->kind == IMAGE_ROUTE;
    *t = (struct image_tensor){ .kind = s->kind,
                                .slot = s->slot,
                                .layer = s->layer,
                                .count = s->count,
                                .rows = s->rows,
                                .cols = s->cols,
                                .route = s->route,
                                .type = f32 ? WEIGHT_F32 : s->type };
    size_t values;
    bool fits = mul_size(s->rows, s->cols, &values) && values <= SIZE_MAX / 64;
    t->bytes = !fits ? 0 : s->kind == IMAGE_ROWS ? 4 * values : tile_count(s->rows) * tile_bytes_of(s->type, s->cols);
    if (s->kind == IMAGE_ROUTE && fits) t->bytes = route_bytes(&s->route);
    t->stride = t->bytes;
    return fits || fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%.*s: %zu x %zu values", (int)s->name.len_bytes,
                        (const char *)s->name.ptr, s->rows, s->cols);
}

/* Gate, up and down of a layer, from `at` on: matrix e of each in extent e. */
static bool place_experts(struct image_tensor *t, size_t *at, err *e)
{
    size_t extent = 0, all;
    for (size_t i = 0; i < 3; i++) {
        assert(t[i].kind == IMAGE_EXPERT && t[i].count == t[0].count && t[i].layer == t[0].layer);
        t[i].offset = extent; /* tiles are multiples of 64 */
        extent += t[i].bytes;
    }
    extent = round_up(extent, IMAGE_EXTENT_ALIGN);
    size_t begin = round_up(*at, IMAGE_EXTENT_ALIGN);
    if (!mul_size(extent, t[0].count, &all) || !add_size(begin, all, at) || *at > SIZE_MAX / 2)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "experts of layer %u: more bytes than there are addresses",
                    t[0].layer);
    for (size_t i = 0; i < 3; i++) {
        t[i].offset += begin;
        t[i].stride = extent;
    }
    return true;
}

/* Offsets in the order of the table, each at the next multiple of its alignment. Nothing is sorted by size or by use:
 * the graph reads layers in this order too. */
static bool place_tensors(const struct image_source *src, struct image_layout *out, size_t *at, err *e)
{
    for (size_t i = 0; i < src->tensor_count; i++)
        if (!plan_tensor(&src->tensors[i], &out->tensors[i], e)) return false;
    for (size_t i = 0; i < src->tensor_count;) {
        struct image_tensor *t = &out->tensors[i];
        size_t all;
        if (t->kind == IMAGE_EXPERT) {
            assert(i + 3 <= src->tensor_count);
            if (!place_experts(t, at, e)) return false;
            out->extent_count += t->count;
            i += 3;
            continue;
        }
        t->offset = round_up(*at, IMAGE_ALIGN);
        if (!mul_size(t->bytes, t->count, &all) || !add_size(t->offset, all, at) || *at > SIZE_MAX / 2)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "weights: more bytes than there are addresses");
        i++;
    }
    return true;
}

/* Three rows of the table share one row of extents an expert. */
static size_t count_extents(const struct image_source *src)
{
    size_t count = 0;
    for (size_t i = 0; i < src->tensor_count; i++)
        if (src->tensors[i].kind == IMAGE_EXPERT) count += src->tensors[i].count;
    return count / 3;
}

bool image_plan(const struct image_source *src, struct image_layout *out, arena *a, err *e)
{
    *out = (struct image_layout){ 0 };
    size_t vocab = 0, at = IMAGE_HEADER_BYTES;
    assert(src->arch.len_bytes > 0 && src->arch.len_bytes <= IMAGE_ARCH_BYTES);
    if (src->vocab != NULL && !plan_vocab(src->vocab, &vocab, e)) return false;
    if (src->chat_template.len_bytes > GGUF_STRING_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "chat template: %zu bytes, allowed %d", src->chat_template.len_bytes,
                    GGUF_STRING_BYTES_MAX);
    out->tensors = ARENA_ARRAY(a, struct image_tensor, src->tensor_count, "tensor table", e);
    if (out->tensors == NULL) return false;
    const size_t bytes[IMAGE_DATA_SECTION] = { IMAGE_ARCH_BYTES + 8 * IMAGE_FIELDS, vocab, src->chat_template.len_bytes,
                                               src->tensor_count * IMAGE_TENSOR_BYTES,
                                               count_extents(src) * IMAGE_EXTENT_BYTES };
    for (size_t i = 0; i < IMAGE_DATA_SECTION; i++) {
        out->sections[i].offset = at;
        out->sections[i].bytes = bytes[i];
        at = round_up(at + bytes[i], IMAGE_ALIGN);
    }
    size_t begin = at = round_up(at, IMAGE_EXTENT_ALIGN);
    if (!place_tensors(src, out, &at, e)) return false;
    out->bytes = round_up(at, IMAGE_ALIGN);
    out->sections[IMAGE_DATA_SECTION].offset = begin;
    out->sections[IMAGE_DATA_SECTION].bytes = out->bytes - begin;
    return true;
}

/* ---- the sections before the data ---- */

/* Copies and steps on; an empty view may have no pointer. */
static void put(uint8_t **at, view v)
{
    if (v.len_bytes > 0) memcpy(*at, v.ptr, v.len_bytes);
    *at += v.len_bytes;
}

static void put_u32(uint8_t **at, uint32_t value)
{
    le_put_u32(*at, value);
    *at += 4;
}

static void put_lengths(uint8_t **at, const view *texts, size_t count)
{
    for (size_t i = 0; i < count; i++, *at += 2) le_put_u16(*at, (uint16_t)texts[i].len_bytes);
}

/* Numbers first, by falling width, then texts: the image has no padding inside, and the reader no search. */
static void write_vocab(const struct image_vocab *v, uint8_t *at)
{
    size_t texts = 0, merges = 0;
    for (size_t i = 0; i < v->token_count; i++) texts += v->texts[i].len_bytes;
    for (size_t i = 0; i < v->merge_count; i++) merges += v->merges[i].len_bytes;
    const uint32_t numbers[] = {
        (uint32_t)v->token_count,        (uint32_t)v->merge_count,
        (uint32_t)v->model.len_bytes,    (uint32_t)v->pre.len_bytes,
        (uint32_t)v->charsmap.len_bytes, (v->scores != NULL ? 1u : 0u) | (v->kinds != NULL ? 2u : 0u)
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put_u32(&at, numbers[i]);
    le_put_u64(at, texts);
    le_put_u64(at + 8, merges);
    at += 16;
    for (size_t i = 0; i < IMAGE_IDS; i++) put_u32(&at, (uint32_t)v->ids[i]);
    for (size_t i = 0; i < IMAGE_QUESTIONS; i++) at[i] = (uint8_t)v->questions[i];
    at += 12; /* three zeros behind the nine questions */
    for (size_t i = 0; v->scores != NULL && i < v->token_count; i++, at += 4) le_put_f32(at, v->scores[i]);
    put_lengths(&at, v->texts, v->token_count);
    put_lengths(&at, v->merges, v->merge_count);
    for (size_t i = 0; v->kinds != NULL && i < v->token_count; i++) *at++ = (uint8_t)v->kinds[i];
    put(&at, v->model);
    put(&at, v->pre);
    for (size_t i = 0; i < v->token_count; i++) put(&at, v->texts[i]);
    for (size_t i = 0; i < v->merge_count; i++) put(&at, v->merges[i]);
    put(&at, v->charsmap);
}

static void write_head(const struct image_source *src, const struct image_layout *l, uint8_t *out)
{
    memcpy(out, IMAGE_MAGIC, IMAGE_MAGIC_BYTES);
    le_put_u32(out + IMAGE_AT_VERSION, IMAGE_VERSION);
    le_put_u32(out + IMAGE_AT_HEADER, IMAGE_HEADER_BYTES);
    le_put_u64(out + IMAGE_AT_BYTES, l->bytes);
    le_put_u32(out + IMAGE_AT_TENSORS, (uint32_t)src->tensor_count);
    le_put_u32(out + IMAGE_AT_EXTENTS, (uint32_t)l->extent_count);
    for (size_t i = 0; i < IMAGE_SECTIONS; i++) {
        le_put_u64(out + IMAGE_AT_SECTIONS + 16 * i, l->sections[i].offset);
        le_put_u64(out + IMAGE_AT_SECTIONS + 16 * i + 8, l->sections[i].bytes);
    }
    uint8_t *fields = out + l->sections[IMAGE_FIELDS_SECTION].offset;
    memcpy(fields, src->arch.ptr, src->arch.len_bytes);
    for (size_t i = 0; i < IMAGE_FIELDS; i++) le_put_u64(fields + IMAGE_ARCH_BYTES + 8 * i, src->fields[i]);
    if (src->vocab != NULL) write_vocab(src->vocab, out + l->sections[IMAGE_VOCAB_SECTION].offset);
    uint8_t *text = out + l->sections[IMAGE_TEMPLATE_SECTION].offset;
    put(&text, src->chat_template);
}

/* The hash behind these numbers stays zero until the tensor is packed. */
static void write_tensor_row(const struct image_tensor *t, uint8_t *row)
{
    le_put_u16(row, (uint16_t)t->slot);
    row[2] = (uint8_t)t->kind;
    le_put_u32(row + 4, t->layer);
    le_put_u32(row + 8, t->kind == IMAGE_ROUTE ? (uint32_t)t->route.form : (uint32_t)t->type);
    le_put_u32(row + 12, (uint32_t)(t->kind == IMAGE_ROUTE ? t->route.rank : t->count));
    const uint64_t numbers[] = { t->rows, t->cols, t->offset, t->bytes, t->stride };
    for (size_t i = 0; i < 5; i++) le_put_u64(row + 16 + 8 * i, numbers[i]);
}

/* Rows of the extents table for one layer's experts; the hashes come later. */
static void write_extent_rows(const struct image_tensor *gate, uint8_t *rows)
{
    for (size_t i = 0; i < gate->count; i++, rows += IMAGE_EXTENT_BYTES) {
        le_put_u32(rows, gate->layer);
        le_put_u32(rows + 4, (uint32_t)i);
        le_put_u64(rows + 8, gate->offset + i * gate->stride);
        le_put_u64(rows + 16, gate->stride);
    }
}

static void write_tables(const struct image_source *src, const struct image_layout *l, uint8_t *out)
{
    uint8_t *rows = out + l->sections[IMAGE_TENSORS_SECTION].offset;
    uint8_t *extents = out + l->sections[IMAGE_EXTENTS_SECTION].offset;
    for (size_t i = 0, part = 0; i < src->tensor_count; i++) {
        const struct image_tensor *t = &l->tensors[i];
        write_tensor_row(t, rows + i * IMAGE_TENSOR_BYTES);
        part = t->kind == IMAGE_EXPERT ? part % 3 + 1 : 0;
        if (part != 1) continue; /* up and down share the gate's extents */
        write_extent_rows(t, extents);
        extents += t->count * IMAGE_EXTENT_BYTES;
    }
}

/* ---- the data ---- */

struct pack_job {
    const struct image_tensor_source *s;
    const struct image_tensor *t;
    const struct weight_kind *kind;
    uint8_t *out;
    const struct image_hasher *hasher;
    uint8_t *hashes;        /* of leaves, or of extents */
    size_t row_bytes;       /* of the file */
    size_t tiles, leaves;   /* of one matrix */
    _Atomic size_t bad_row; /* lowest row of all matrices with a bad scale, or SIZE_MAX */
};

/* The lowest bad row wins, so that the error is the same for any number of threads. */
static void note_bad(struct pack_job *job, size_t row)
{
    size_t seen = atomic_load(&job->bad_row);
    while (row < seen && !atomic_compare_exchange_weak(&job->bad_row, &seen, row)) {
    }
}

/* One tile: 16 rows are looked at and packed while they are in the cache. */
static void pack_task(void *arg, size_t task, size_t thread)
{
    struct pack_job *job = arg;
    const struct image_tensor *t = job->t;
    size_t each = task / job->tiles, tile = task % job->tiles, row_blocks = t->cols / job->kind->block_values;
    const uint8_t *file = job->s->bytes + each * t->rows * job->row_bytes;
    (void)thread;
    for (size_t row = tile * TILE_ROWS; job->kind->bad_block != NULL && row < min_size((tile + 1) * TILE_ROWS, t->rows);
         row++)
        if (job->kind->bad_block(file + row * job->row_bytes, row_blocks) != row_blocks)
            note_bad(job, each * t->rows + row);
    tile_pack(t->type, file, t->rows, t->cols, tile,
              job->out + t->offset + each * t->stride + tile * tile_bytes_of(t->type, t->cols));
}

/* One leaf of a tensor's hash, over the file's own bytes: it knows nothing of tiles. */
static void leaf_task(void *arg, size_t task, size_t thread)
{
    struct pack_job *job = arg;
    size_t each = task / job->leaves, first = task % job->leaves * IMAGE_LEAF_ROWS, rows = job->t->rows;
    size_t count = min_size(IMAGE_LEAF_ROWS, rows - first);
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    const uint8_t *file = job->t->kind == IMAGE_ROWS ? job->out + job->t->offset : job->s->bytes;
    (void)thread;
    job->hasher->begin(state);
    job->hasher->add(state, file + (each * rows + first) * job->row_bytes, count * job->row_bytes);
    job->hasher->end(state, job->hashes + task * IMAGE_HASH_BYTES);
}

/* One expert as it stands in the image, padding and all: what a disk gives is compared with it. */
static void extent_task(void *arg, size_t expert, size_t thread)
{
    struct pack_job *job = arg;
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    (void)thread;
    job->hasher->begin(state);
    job->hasher->add(state, job->out + job->t->offset + expert * job->t->stride, job->t->stride);
    job->hasher->end(state, job->hashes + expert * IMAGE_EXTENT_BYTES);
}

static bool bad_row(const struct image_tensor_source *s, size_t row, err *e)
{
    return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%.*s: row %zu holds a value or scale that is NaN or infinite",
                (int)s->name.len_bytes, (const char *)s->name.ptr, s->first_row + row);
}

/* Vectors and routers: small, read as f32 by the graph, so they are widened here once. The caller's thread does it. */
static bool pack_rows(struct pack_job *job, err *e)
{
    size_t row_blocks = job->t->cols / job->kind->block_values, blocks = job->t->rows * row_blocks;
    size_t bad = job->kind->bad_block != NULL ? job->kind->bad_block(job->s->bytes, blocks) : blocks;
    if (bad != blocks) return bad_row(job->s, bad / row_blocks, e);
    job->kind->widen(job->s->bytes, blocks, (float *)(void *)(job->out + job->t->offset));
    job->row_bytes = 4 * job->t->cols; /* the leaves are those of what stands here: F16 to F32 loses nothing */
    return true;
}

/* A router's second form, from the rows that stand in the image already. Its hash is that of its row of the table
 * and of its bytes: it has no form in a file. */
static bool pack_route(const struct image_tensor *t, const struct image_tensor *rows, uint8_t *out, team *team_,
                       const struct image_hasher *hasher, uint8_t *table_row, err *e)
{
    arena scratch;
    const float *w = (const float *)(const void *)(out + rows->offset);
    if (!arena_new(&scratch, ROUTE_SCRATCH_BYTES, e)) return false;
    bool good = route_pack(&t->route, w, out + t->offset, team_, &scratch, e);
    arena_free(&scratch);
    if (!good || hasher == NULL) return good;
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    hasher->begin(state);
    hasher->add(state, table_row, 32); /* no identity covers these */
    hasher->add(state, out + t->offset, t->bytes);
    hasher->end(state, table_row + 64);
    return true;
}

/* The tensor's hash from its leaves', on all threads. */
static bool hash_tensor(struct pack_job *job, team *t, uint8_t *out, err *e)
{
    size_t leaves = job->t->count * job->leaves;
    job->hashes = calloc(leaves, IMAGE_HASH_BYTES);
    if (job->hashes == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "hashes: no memory for %zu", leaves);
    team_run(t, leaves, leaf_task, job);
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    job->hasher->begin(state);
    job->hasher->add(state, job->hashes, leaves * IMAGE_HASH_BYTES);
    job->hasher->end(state, out);
    free(job->hashes);
    return true;
}

/* Packs, then hashes: a tensor that holds a bad value is an error before it has a hash. */
static bool pack_tensor(const struct image_tensor_source *s, const struct image_tensor *planned, uint8_t *out, team *t,
                        const struct image_hasher *hasher, uint8_t *table_row, err *e)
{
    struct pack_job job = { .s = s,
                            .t = planned,
                            .kind = weight_kind(s->type),
                            .out = out,
                            .hasher = hasher,
                            .tiles = tile_count(s->rows),
                            .leaves = ceil_div(s->rows, IMAGE_LEAF_ROWS) };
    job.row_bytes = s->cols / job.kind->block_values * job.kind->block_bytes;
    atomic_store(&job.bad_row, SIZE_MAX);
    if (planned->kind == IMAGE_ROWS) {
        if (!pack_rows(&job, e)) return false;
    } else {
        team_run(t, planned->count * job.tiles, pack_task, &job);
        size_t bad = atomic_load(&job.bad_row);
        if (bad != SIZE_MAX) return bad_row(s, bad, e);
    }
    return hasher == NULL || hash_tensor(&job, t, table_row + 64, e);
}

/* What a model is, whatever the layout it is packed in: fields, vocabulary, template, and every tensor's shape, type
 * and contents in file layout. */
static void write_identity(const struct image_source *src, const struct image_layout *l, uint8_t *out,
                           const struct image_hasher *hasher)
{
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    uint8_t length[8];
    static const char NAME[] = "hearth model identity 1\n";
    hasher->begin(state);
    hasher->add(state, NAME, sizeof NAME - 1);
    for (size_t i = 0; i < IMAGE_TENSORS_SECTION; i++) {
        le_put_u64(length, l->sections[i].bytes);
        hasher->add(state, length, sizeof length);
        hasher->add(state, out + l->sections[i].offset, l->sections[i].bytes);
    }
    for (size_t i = 0; i < src->tensor_count; i++) {
        if (l->tensors[i].kind == IMAGE_ROUTE) continue;
        const uint8_t *row = out + l->sections[IMAGE_TENSORS_SECTION].offset + i * IMAGE_TENSOR_BYTES;
        hasher->add(state, row, 32);
        hasher->add(state, row + 64, IMAGE_HASH_BYTES);
    }
    hasher->end(state, out + IMAGE_AT_IDENTITY);
}

/* After the last matrix of a layer's experts: every extent is whole. */
static void hash_extents(const struct image_tensor *gate, uint8_t *out, uint8_t *rows, team *t,
                         const struct image_hasher *hasher)
{
    struct pack_job job = { .t = gate, .out = out, .hasher = hasher, .hashes = rows + 24 };
    team_run(t, gate->count, extent_task, &job);
}

bool image_write(const struct image_source *src, const struct image_layout *layout, uint8_t *out, team *t,
                 const struct image_hasher *hasher, image_progress *progress, void *progress_arg, err *e)
{
    uint8_t *rows = out + layout->sections[IMAGE_TENSORS_SECTION].offset;
    uint8_t *extents = out + layout->sections[IMAGE_EXTENTS_SECTION].offset;
    size_t done = layout->sections[IMAGE_DATA_SECTION].offset, part = 0;
    write_head(src, layout, out);
    write_tables(src, layout, out);
    for (size_t i = 0; i < src->tensor_count; i++) {
        const struct image_tensor *planned = &layout->tensors[i];
        uint8_t *row = rows + i * IMAGE_TENSOR_BYTES;
        if (planned->kind == IMAGE_ROUTE) {
            if (!pack_route(planned, &layout->tensors[src->tensors[i].router], out, t, hasher, row, e)) return false;
        } else if (!pack_tensor(&src->tensors[i], planned, out, t, hasher, row, e)) {
            return false;
        }
        part = planned->kind == IMAGE_EXPERT ? part + 1 : 0;
        if (part == 3) {
            if (hasher != NULL) hash_extents(planned - 2, out, extents, t, hasher);
            extents += planned->count * IMAGE_EXTENT_BYTES;
            part = 0;
        }
        done += planned->bytes * planned->count;
        if (progress != NULL) progress(progress_arg, min_size(done, layout->bytes), layout->bytes);
    }
    if (hasher != NULL) write_identity(src, layout, out, hasher);
    return true;
}
