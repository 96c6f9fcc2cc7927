/* The way back: a plan says what a GGUF file shall hold, a writer streams the tensors behind its head.
 *
 *   gguf_plan_new     room for so many pairs and tensors
 *   gguf_plan_copy    everything another file says of itself ...
 *   gguf_set_*        ... changed or added to
 *   gguf_plan_tensor  the tensors, in the order in which their bytes will come
 *   gguf_out_open     lays the head out, has the reader check it, writes it to PATH.part
 *   gguf_out_put      bytes of the current tensor, in pieces of any size; padding comes by itself
 *   gguf_out_close    all there and on disk: PATH.part becomes PATH. gguf_out_abort instead leaves no trace
 *
 * Version 3, little endian, tensors in plan order, each padded with zeros to the alignment. What the reader would
 * refuse is never written: the plan's head goes through gguf_read_head before the first byte goes to disk. */
#ifndef HEARTH_FORMAT_GGUF_WRITE_H
#define HEARTH_FORMAT_GGUF_WRITE_H

#include "format/gguf.h"

typedef struct gguf_plan {
    arena *arena;         /* holds what the setters are given */
    gguf_pair *pairs;
    size_t pair_count, pairs_max;
    gguf_tensor *tensors; /* .offset is known after gguf_plan_head */
    size_t tensor_count, tensors_max;
} gguf_plan;

/* Errors: ERR_LIMIT (GGUF_KEYS_MAX, GGUF_TENSORS_MAX), ERR_MEMORY. The arena must outlive the plan. */
bool gguf_plan_new(gguf_plan *plan, size_t pairs_max, size_t tensors_max, arena *a, err *e);

/* All pairs of a directory but those that make it a part of a split model (split.*): what is written is whole. Borrows
 * its views. For an empty plan: copy first, change then. Errors: ERR_LIMIT (pairs_max). */
bool gguf_plan_copy(gguf_plan *plan, const gguf_dir *from, err *e);

/* Each sets a key, in its old place where the plan has it already, whatever type it had. The text and items are copied.
 * Errors: ERR_LIMIT (pairs_max), ERR_MEMORY. A key the format does not allow shows in gguf_plan_head. */
bool gguf_set_u32(gguf_plan *plan, const char *key, uint32_t value, err *e);
bool gguf_set_u64(gguf_plan *plan, const char *key, uint64_t value, err *e);
bool gguf_set_i32(gguf_plan *plan, const char *key, int32_t value, err *e);
bool gguf_set_f32(gguf_plan *plan, const char *key, float value, err *e);
bool gguf_set_bool(gguf_plan *plan, const char *key, bool value, err *e);
bool gguf_set_str(gguf_plan *plan, const char *key, view value, err *e);
bool gguf_set_i32s(gguf_plan *plan, const char *key, const int32_t *items, size_t count, err *e);
bool gguf_set_f32s(gguf_plan *plan, const char *key, const float *items, size_t count, err *e);
bool gguf_set_strings(gguf_plan *plan, const char *key, const view *items, size_t count, err *e);
bool gguf_set_bytes(gguf_plan *plan, const char *key, view bytes, err *e); /* an array of u8 */

/* Takes a key out; one that is not there is fine. */
void gguf_unset(gguf_plan *plan, const char *key);

/* The next tensor. `name` is borrowed. Errors: ERR_LIMIT (tensors_max, dimensions, size), ERR_UNSUPPORTED (type),
 * ERR_VALUE (rows that are no whole number of blocks, a dimension of 0). */
bool gguf_plan_tensor(gguf_plan *plan, view name, uint32_t type, const size_t *dims, size_t dim_count, err *e);

/* The bytes of the file up to its first tensor, in the plan's arena, and the length that the whole file will have.
 * Sets the tensors' offsets. Errors: whatever gguf_read_head finds wrong with it. */
bool gguf_plan_head(gguf_plan *plan, view *head, size_t *file_bytes, err *e);

enum { GGUF_OUT_PATH_BYTES = 4096 };

typedef struct gguf_out {
    int fd; /* of PATH.part; -1 when there is none */
    char path[GGUF_OUT_PATH_BYTES];
    const gguf_plan *plan;
    size_t tensor;    /* whose bytes come next */
    size_t at_bytes;  /* how many of them were put */
    size_t file_at;   /* bytes written in all */
    size_t file_bytes;
} gguf_out;

/* Creates PATH.part with the head in it. The plan must outlive *out and stay as it is. Errors: ERR_IO, ERR_LIMIT (the
 * path), those of gguf_plan_head; then there is nothing to undo. */
bool gguf_out_open(gguf_out *out, const char *path, gguf_plan *plan, err *e);

/* Bytes of tensor out->tensor; a piece may not reach into the next one. Errors: ERR_STATE (more than the tensor has, or
 * than the plan has tensors), ERR_IO (a full disk, say). After an error: gguf_out_abort. */
bool gguf_out_put(gguf_out *out, view bytes, err *e);

/* Syncs and renames. Errors: ERR_STATE (tensors are not complete), ERR_IO. After an error nothing is left of it and an
 * older file at the path is as it was. Either way *out is closed. */
bool gguf_out_close(gguf_out *out, err *e);

/* Closes and removes PATH.part. Fine on one that is closed. */
void gguf_out_abort(gguf_out *out);

#endif
