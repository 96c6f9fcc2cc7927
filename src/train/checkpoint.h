/* A run's whole state on disk, written atomically (base/file.h) and hashed: killed at any moment, a run goes on from
 * the last one to the same final bits.
 *
 *   "HCHECK02"             8 bytes
 *   settings hash         32     values of the configuration that can change a weight (settings.h)
 *   training shard's hash 32
 *   step u64, numbers u64 16     steps done; numbers in each of the three runs
 *   decay_from u64, decay u64 16 the step at which the rate begins to fall, and for how many it falls. Another
 *                                configuration may lengthen or end a run that has not come so far
 *   weights               4 bytes a number, f32, little endian; then AdamW's means, then its mean squares
 *   hash                  32     BLAKE2b-256 of all before */
#ifndef HEARTH_TRAIN_CHECKPOINT_H
#define HEARTH_TRAIN_CHECKPOINT_H

#include "train/settings.h"
#include "train/shard.h"

enum { CHECKPOINT_HEAD_BYTES = 8 + SETTINGS_HASH_BYTES + SHARD_HASH_BYTES + 32, WEIGHT_HASH_BYTES = 32 };

/* What a checkpoint must be of. */
struct run_identity {
    uint8_t settings[SETTINGS_HASH_BYTES], shard[SHARD_HASH_BYTES];
};

/* Errors: ERR_IO (a full disk: the last good checkpoint stays). */
bool checkpoint_write(const char *path, const struct run_identity *id, const struct trainer *t, err *e);

/* Fills the trainer's runs and step. Errors: ERR_IO, ERR_TRUNCATED, ERR_VALUE (damaged; of another configuration or
 * other data: the text says which). The trainer is then unspecified. */
bool checkpoint_read(const char *path, const struct run_identity *id, struct trainer *t, err *e);

/* BLAKE2b-256 of the weights as a checkpoint holds them: what the run log records. */
void weights_hash(const struct trainer *t, uint8_t out[WEIGHT_HASH_BYTES]);

#endif
