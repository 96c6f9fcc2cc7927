/* What the files of the GGUF reader share among themselves; no other room's business. */
#ifndef HEARTH_FORMAT_GGUF_PART_H
#define HEARTH_FORMAT_GGUF_PART_H

#include "base/checked.h"
#include "format/gguf.h"

/* The two arguments of "%.*s" for a name: long ones are cut, so that the value and the limit behind still show. */
#define SHOWN(v) (int)min_size((v).len_bytes, 80), (const char *)(v).ptr

/* Bytes of one value of a type; 0 for strings and arrays, whose length is in the file. */
size_t gguf_type_bytes(enum gguf_type type);

/* Fills pairs_by_key and tensors_by_name from the arena. Errors: two alike (ERR_VALUE). */
bool gguf_index(gguf_dir *dir, arena *a, err *e);

/* Tensors of one file, sorted by offset, must begin at data_offset, each where the one before ends (rounded up to the
 * alignment), and end with the file. */
bool gguf_check_cover(const gguf_dir *dir, uint64_t file_bytes, arena *a, err *e);

#endif
