/* See checkpoint.h. */
#include "train/checkpoint.h"

#include "base/file.h"
#include "base/le.h"

#include <sodium.h>

static const char MAGIC[8] = "HCHECK02";

/* Numbers are written as they lie in memory. */
_Static_assert(sizeof(real) == 4, "a checkpoint holds f32");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a checkpoint is little endian");

static size_t run_bytes(const struct trainer *t)
{
    return t->net.layout.total * sizeof(real);
}

bool checkpoint_write(const char *path, const struct run_identity *id, const struct trainer *t, err *e)
{
    uint8_t head[CHECKPOINT_HEAD_BYTES], hash[WEIGHT_HASH_BYTES];
    memcpy(head, MAGIC, sizeof MAGIC);
    memcpy(head + 8, id->settings, SETTINGS_HASH_BYTES);
    memcpy(head + 40, id->shard, SHARD_HASH_BYTES);
    le_put_u64(head + 72, t->step);
    le_put_u64(head + 80, t->net.layout.total);
    le_put_u64(head + 88, decay_from(&t->optimizer.schedule));
    le_put_u64(head + 96, t->optimizer.schedule.decay);
    const view parts[] = { { head, sizeof head }, { (const uint8_t *)t->params, run_bytes(t) },
                           { (const uint8_t *)t->m, run_bytes(t) }, { (const uint8_t *)t->v, run_bytes(t) },
                           { hash, sizeof hash } };
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    for (size_t i = 0; i < 4; i++) crypto_generichash_update(&state, parts[i].ptr, parts[i].len_bytes);
    crypto_generichash_final(&state, hash, sizeof hash);
    return file_write(path, parts, 5, e);
}

/* The rate's fall depends on the length of the run, so once it has begun the length is part of what the weights are. */
static bool check_decay(const char *path, view file, const struct trainer *t, err *e)
{
    uint64_t step = le_u64(file.ptr + 72), was = le_u64(file.ptr + 88), is = decay_from(&t->optimizer.schedule);
    if (was == is && le_u64(file.ptr + 96) == t->optimizer.schedule.decay) return true;
    if (step <= was && step <= is) return true;
    return fail(e, ERR_VALUE, 88, "%s: step %llu of a run whose rate falls from step %llu; the configuration says %llu",
                path, (unsigned long long)step, (unsigned long long)was, (unsigned long long)is);
}

static bool check(const char *path, view file, const struct run_identity *id, const struct trainer *t, err *e)
{
    if (file.len_bytes < CHECKPOINT_HEAD_BYTES || memcmp(file.ptr, MAGIC, sizeof MAGIC) != 0)
        return fail(e, ERR_VALUE, 0, "%s: not a checkpoint", path);
    if (memcmp(file.ptr + 8, id->settings, SETTINGS_HASH_BYTES) != 0)
        return fail(e, ERR_VALUE, 8, "%s: of another configuration: values under [model] or [train] differ", path);
    if (memcmp(file.ptr + 40, id->shard, SHARD_HASH_BYTES) != 0)
        return fail(e, ERR_VALUE, 40, "%s: of other data: train.shard was made again since", path);
    size_t want = CHECKPOINT_HEAD_BYTES + 3 * run_bytes(t) + WEIGHT_HASH_BYTES;
    if (le_u64(file.ptr + 80) != t->net.layout.total || file.len_bytes != want)
        return fail(e, ERR_TRUNCATED, file.len_bytes, "%s: %zu bytes, wanted %zu", path, file.len_bytes, want);
    uint8_t hash[WEIGHT_HASH_BYTES];
    crypto_generichash(hash, sizeof hash, file.ptr, want - sizeof hash, NULL, 0);
    if (memcmp(hash, file.ptr + want - sizeof hash, sizeof hash) != 0)
        return fail(e, ERR_VALUE, want - sizeof hash, "%s: the hash does not fit the content: the file is damaged",
                    path);
    return check_decay(path, file, t, e);
}

bool checkpoint_read(const char *path, const struct run_identity *id, struct trainer *t, err *e)
{
    view file;
    if (!file_map(path, &file, e)) return false;
    bool good = check(path, file, id, t, e);
    if (good) {
        real *const runs[] = { t->params, t->m, t->v };
        t->step = le_u64(file.ptr + 72);
        for (size_t i = 0; i < 3; i++)
            memcpy(runs[i], file.ptr + CHECKPOINT_HEAD_BYTES + i * run_bytes(t), run_bytes(t));
    }
    file_unmap(&file);
    return good;
}

void weights_hash(const struct trainer *t, uint8_t out[WEIGHT_HASH_BYTES])
{
    crypto_generichash(out, WEIGHT_HASH_BYTES, (const uint8_t *)t->params, run_bytes(t), NULL, 0);
}
