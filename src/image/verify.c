/* Reading all of an image: see image.h. The way back from tiles to file layout is the kernels' (tile_unpack_blocks), so
 * that a hash which is equal shows that nothing was lost in packing. */
#include "image/image.h"

#include "base/checked.h"
#include "base/le.h"

#include <stdatomic.h>
#include <stdlib.h>

struct verify_job {
    const image *i;
    const struct image_tensor *t;
    const struct image_extent *extents;
    const struct image_hasher *hasher; /* NULL: values alone */
    size_t leaves;                     /* of one matrix */
    uint8_t *hashes;                   /* one a leaf */
    _Atomic size_t bad;                /* lowest leaf (or extent) with a bad value, or SIZE_MAX */
};

/* The lowest place wins: one error whatever the team. */
static void note_bad(struct verify_job *job, size_t at)
{
    size_t seen = atomic_load(&job->bad);
    while (at < seen && !atomic_compare_exchange_weak(&job->bad, &seen, at)) {
    }
}

static bool all_zero(const uint8_t *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (p[i] != 0) return false;
    return true;
}

/* One row in file layout, piece by piece: to the hash, and past the look at its scales. */
static bool row_good(const struct verify_job *job, const matrix *w, size_t row, void *state)
{
    const struct weight_kind *kind = weight_kind(w->type);
    uint8_t piece[4096];
    size_t blocks = w->cols / kind->block_values, each = sizeof piece / kind->block_bytes;
    bool good = true;
    for (size_t b = 0; b < blocks; b += each) {
        size_t count = min_size(each, blocks - b);
        tile_unpack_blocks(w, row, b, count, piece);
        if (kind->bad_block != NULL && kind->bad_block(piece, count) != count) good = false;
        if (job->hasher != NULL) job->hasher->add(state, piece, count * kind->block_bytes);
    }
    return good;
}

/* What a matrix's tiles hold beside its rows: the last tile's missing rows, and the bytes behind each tile's last
 * block. No result depends on them; they are zeros so that there is one image of a model. */
static bool rest_zero(const matrix *w)
{
    const struct weight_kind *kind = weight_kind(w->type);
    uint8_t piece[4096];
    size_t blocks = w->cols / kind->block_values, each = sizeof piece / kind->block_bytes, tiles = tile_count(w->rows);
    bool zero = true;
    for (size_t row = w->rows; row < tiles * TILE_ROWS; row++)
        for (size_t b = 0; b < blocks; b += each) {
            size_t count = min_size(each, blocks - b);
            tile_unpack_blocks(w, row, b, count, piece);
            zero = zero && all_zero(piece, count * kind->block_bytes);
        }
    size_t used = blocks * kind->block_bytes * TILE_ROWS;
    for (size_t tile = 0; tile < tiles; tile++)
        zero = zero && all_zero(w->tiles + tile * w->tile_bytes + used, w->tile_bytes - used);
    return zero;
}

/* The same of plain f32 rows. */
static bool floats_good(const struct verify_job *job, const uint8_t *row, void *state)
{
    size_t cols = job->t->cols;
    if (job->hasher != NULL) job->hasher->add(state, row, 4 * cols);
    return weight_kind(WEIGHT_F32)->bad_block(row, cols) == cols;
}

/* The leaves are the writer's; the bytes come out of the tiles. */
static void leaf_task(void *arg, size_t task, size_t thread)
{
    struct verify_job *job = arg;
    const struct image_tensor *t = job->t;
    size_t each = task / job->leaves, first = task % job->leaves * IMAGE_LEAF_ROWS;
    const uint8_t *data = image_data(job->i, t) + each * t->stride;
    matrix w = { .type = t->type, .rows = t->rows, .cols = t->cols, .tiles = data };
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    (void)thread;
    if (t->kind != IMAGE_ROWS) w.tile_bytes = tile_bytes_of(t->type, t->cols);
    if (job->hasher != NULL) job->hasher->begin(state);
    for (size_t row = first; row < min_size(first + IMAGE_LEAF_ROWS, t->rows); row++)
        if (!(t->kind == IMAGE_ROWS ? floats_good(job, data + row * 4 * t->cols, state)
                                    : row_good(job, &w, row, state)))
            note_bad(job, task);
    if (t->kind != IMAGE_ROWS && first + IMAGE_LEAF_ROWS >= t->rows && !rest_zero(&w)) note_bad(job, task);
    if (job->hasher != NULL) job->hasher->end(state, job->hashes + task * IMAGE_HASH_BYTES);
}

/* Extents are hashed as they stand, so this also looks at what lies between an expert's matrices. */
static void extent_task(void *arg, size_t at, size_t thread)
{
    struct verify_job *job = arg;
    const struct image_extent *x = &job->extents[at];
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    uint8_t hash[IMAGE_HASH_BYTES];
    (void)thread;
    job->hasher->begin(state);
    job->hasher->add(state, job->i->bytes.ptr + x->offset, x->bytes);
    job->hasher->end(state, hash);
    if (memcmp(hash, x->hash, sizeof hash) != 0) note_bad(job, at);
}

/* Values are named before hashes: a damaged scale says more than a hash that differs. */
static bool verify_tensor(const image *i, size_t at, team *t, const struct image_hasher *hasher, err *e)
{
    const struct image_tensor *tensor = &i->tensors[at];
    struct verify_job job = {
        .i = i, .t = tensor, .hasher = hasher, .leaves = ceil_div(tensor->rows, IMAGE_LEAF_ROWS)
    };
    size_t leaves = tensor->count * job.leaves;
    uint8_t hash[IMAGE_HASH_BYTES];
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    atomic_store(&job.bad, SIZE_MAX);
    job.hashes = calloc(leaves, IMAGE_HASH_BYTES);
    if (job.hashes == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "hashes: no memory for %zu", leaves);
    team_run(t, leaves, leaf_task, &job);
    if (hasher != NULL) {
        hasher->begin(state);
        hasher->add(state, job.hashes, leaves * IMAGE_HASH_BYTES);
        hasher->end(state, hash);
    }
    free(job.hashes);
    size_t bad = atomic_load(&job.bad);
    if (bad != SIZE_MAX)
        return fail(e, ERR_VALUE, tensor->offset + bad / job.leaves * tensor->stride,
                    "tensor %zu: near row %zu a value or scale is NaN or infinite, or a byte of no row is not 0", at,
                    bad % job.leaves * IMAGE_LEAF_ROWS);
    if (hasher != NULL && memcmp(hash, tensor->hash, sizeof hash) != 0)
        return fail(e, ERR_VALUE, tensor->offset, "tensor %zu: its contents are not those that were packed", at);
    return true;
}

/* The first 32 bytes of a tensor's row. */
static void put_row(const struct image_tensor *t, uint32_t type, size_t count, uint8_t out[static 32])
{
    le_put_u16(out, (uint16_t)t->slot);
    le_put_u16(out + 2, (uint16_t)t->kind);
    le_put_u32(out + 4, t->layer);
    le_put_u32(out + 8, type);
    le_put_u32(out + 12, (uint32_t)count);
    le_put_u64(out + 16, t->rows);
    le_put_u64(out + 24, t->cols);
}

/* Of a router's second form: its bytes are those that were packed, and what they say of the rows is true. */
static bool verify_route(const image *i, size_t at, const struct image_hasher *hasher, err *e)
{
    const struct image_tensor *t = &i->tensors[at];
    size_t wrong = image_route_wrong(i, t, &i->tensors[image_router_of(i->tensors, i->tensor_count, at)]);
    if (wrong != t->rows)
        return fail(e, ERR_VALUE, t->offset,
                    "tensor %zu: layer %u: the router's second form does not match its row %zu", at, t->layer, wrong);
    if (hasher == NULL) return true;
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    uint8_t hash[IMAGE_HASH_BYTES], row[32];
    put_row(t, (uint32_t)t->route.form, t->route.rank, row);
    hasher->begin(state);
    hasher->add(state, row, sizeof row);
    hasher->add(state, image_data(i, t), t->bytes);
    hasher->end(state, hash);
    return memcmp(hash, t->hash, sizeof hash) == 0 ||
           fail(e, ERR_VALUE, t->offset, "tensor %zu: its contents are not those that were packed", at);
}

static bool verify_extents(const image *i, team *t, const struct image_hasher *hasher, err *e)
{
    struct verify_job job = { .i = i, .extents = i->extents, .hasher = hasher };
    atomic_store(&job.bad, SIZE_MAX);
    team_run(t, i->extent_count, extent_task, &job);
    size_t bad = atomic_load(&job.bad);
    return bad == SIZE_MAX || fail(e, ERR_VALUE, i->extents[bad].offset,
                                   "extent %zu: its contents are not those that were "
                                   "packed",
                                   bad);
}

/* The definition of the identity in words stands in docs/format/image.md; the writer has its own code for it. */
static bool verify_identity(const image *i, const struct image_hasher *hasher, err *e)
{
    const view parts[] = { i->fields_bytes, i->vocab_bytes, i->chat_template };
    _Alignas(64) uint8_t state[IMAGE_HASH_STATE_BYTES];
    uint8_t number[32], hash[IMAGE_HASH_BYTES];
    view name = view_of("hearth model identity 1\n");
    hasher->begin(state);
    hasher->add(state, name.ptr, name.len_bytes);
    for (size_t p = 0; p < 3; p++) {
        le_put_u64(number, parts[p].len_bytes);
        hasher->add(state, number, 8);
        hasher->add(state, parts[p].ptr, parts[p].len_bytes);
    }
    for (size_t at = 0; at < i->tensor_count; at++) {
        const struct image_tensor *t = &i->tensors[at];
        if (t->kind == IMAGE_ROUTE) continue;
        put_row(t, (uint32_t)t->type, t->count, number);
        hasher->add(state, number, sizeof number);
        hasher->add(state, t->hash, IMAGE_HASH_BYTES);
    }
    hasher->end(state, hash);
    return memcmp(hash, i->identity, sizeof hash) == 0 ||
           fail(e, ERR_VALUE, IMAGE_AT_IDENTITY, "image: its identity is not that of what it holds");
}

/* Bytes between tensors, and those of the last expert's extent, are zeros. */
static bool verify_gaps(const image *i, err *e)
{
    size_t at = i->data_offset;
    for (size_t n = 0; n <= i->tensor_count; n++) {
        const struct image_tensor *t = n < i->tensor_count ? &i->tensors[n] : NULL;
        size_t next = t != NULL ? t->offset : i->bytes.len_bytes;
        for (; at < next; at++)
            if (i->bytes.ptr[at] != 0)
                return fail(e, ERR_VALUE, at, "data: byte %u between tensors, must be 0", i->bytes.ptr[at]);
        if (t == NULL) break;
        at = t->offset + (t->count - 1) * t->stride + t->bytes;
        if (t->kind == IMAGE_EXPERT)
            n += 2, at = t->offset + t->count * t->stride; /* the extents' hashes cover these */
    }
    return true;
}

bool image_verify(const image *i, team *t, const struct image_hasher *hasher, err *e)
{
    if (all_zero(i->identity, IMAGE_HASH_BYTES)) hasher = NULL;
    if (hasher != NULL && !verify_identity(i, hasher, e)) return false;
    for (size_t at = 0; at < i->tensor_count; at++)
        if (i->tensors[at].kind == IMAGE_ROUTE ? !verify_route(i, at, hasher, e) : !verify_tensor(i, at, t, hasher, e))
            return false;
    return verify_gaps(i, e) && (hasher == NULL || verify_extents(i, t, hasher, e));
}
