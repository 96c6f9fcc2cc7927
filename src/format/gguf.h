/* format/ turns bytes into views and back: model files here, JSON and others beside it. It computes with nothing it
 * reads, allocates from arenas that are handed in, and believes no number before it is compared with a limit and with
 * the length of the file. Start here, then gguf.c (the directory of one file), gguf_value.c (typed access),
 * gguf_open.c (files on disk, split ones too), gguf_write.h (the way back).
 *
 * A GGUF file, versions 2 and 3, little endian (GGUF specification, "File Structure"):
 *
 *   "GGUF" | version u32 | tensors u64 | pairs u64
 *   pair   : key string | type u32 | value                    string: length u64, bytes
 *   tensor : name string | dimension count u32 | dimensions u64 each | type u32 | offset u64
 *   padding to the alignment (general.alignment, else 32)
 *   tensor data: each tensor at its offset, counted from here, a multiple of the alignment
 *
 * What holds of a directory that was read without error: keys and tensor names are unique, valid UTF-8 and free of
 * control characters; every value lies inside the file; tensors lie inside the file, are aligned and cover the data
 * without overlap or gap (in any order); nothing but padding follows the last one. */
#ifndef HEARTH_FORMAT_GGUF_H
#define HEARTH_FORMAT_GGUF_H

#include "base/arena.h"
#include "base/limits.h"

/* The numbers are the specification's (gguf_metadata_value_type). ORDER gguf_type: VALUE_TYPES in gguf_value.c */
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES
};

/* One metadata pair. */
typedef struct gguf_pair {
    view key;
    enum gguf_type type;
    enum gguf_type item_type; /* of an array's items; of anything else, `type` again */
    size_t count;             /* items of an array; else 1 */
    view bytes;               /* a string's text; an array's items as they stand in the file; else the number */
    uint64_t offset;          /* of the value's type in the file, for errors */
} gguf_pair;

typedef struct gguf_tensor {
    view name;
    uint32_t type;               /* gguf_kind(type) is not NULL */
    uint32_t dim_count;          /* 0..GGUF_DIMS_MAX as the file says; 0 is one value */
    size_t dims[GGUF_DIMS_MAX];  /* dims[0] is contiguous; 1 from dim_count on; their product fits a size_t */
    size_t offset, bytes;        /* in its file, counted from the file's first byte */
    uint32_t shard;              /* which file of a split model */
} gguf_tensor;

typedef struct gguf_dir {
    uint32_t version;
    size_t alignment;    /* a power of two, 8..GGUF_ALIGNMENT_MAX */
    size_t head_bytes;   /* everything before the padding */
    size_t data_offset;  /* head_bytes rounded up to the alignment */
    gguf_pair *pairs;    /* in file order, as are the tensors */
    size_t pair_count;
    gguf_tensor *tensors;
    size_t tensor_count;
    uint32_t *pairs_by_key, *tensors_by_name; /* sorted, so the worst case of a look-up is not the file's to choose */
} gguf_dir;

/* Reads the directory of one file; reads no tensor data; allocates only from `a`.
 *   file    the whole file; must outlive *dir, whose keys, values and names are views into it
 *   limits  GGUF_*_MAX (base/limits.h)
 *   errors  ERR_TRUNCATED, ERR_LIMIT, ERR_VALUE, ERR_UNSUPPORTED (version 1, big endian, weight types unknown here),
 *           ERR_MEMORY; e->offset is the byte in the file; *dir is then unspecified
 *   threads no shared state      source GGUF specification, version 3      fuzz fuzz/gguf.c
 * Memory: about 100 bytes a tensor, 80 a pair. */
bool gguf_read_dir(view file, arena *a, gguf_dir *dir, err *e);

/* The same where only the head (at least the bytes before the tensor data) is at hand: `file_bytes` is how long the
 * whole file is. */
bool gguf_read_head(view head, uint64_t file_bytes, arena *a, gguf_dir *dir, err *e);

/* ---- tensors ---- */

/* How a weight type is stored. Every type of the format is here, also those nothing computes with: a directory must be
 * checkable before it is useful. */
struct gguf_kind {
    const char *name; /* "Q4_K" */
    uint32_t type;
    uint32_t block_values, block_bytes;
};

/* The row of a type number, or NULL where the format has none. */
const struct gguf_kind *gguf_kind(uint32_t type);

/* The row with this name, letter case ignored, or NULL. */
const struct gguf_kind *gguf_kind_named(view name);

/* NULL where there is none. */
const gguf_tensor *gguf_tensor_find(const gguf_dir *dir, const char *name);

/* The product of the dimensions. */
size_t gguf_tensor_values(const gguf_tensor *t);

/* ---- metadata: typed, with ranges ----
 * A missing key is an error (ERR_MISSING) where it is REQUIRED; where it is OPTIONAL *out keeps what it held, so the
 * caller puts the fallback there first. A key with another type or a value outside min..max is ERR_VALUE, naming key,
 * value and range: never the fallback. Writers use different widths for one key, so integers of any width do. */
enum gguf_need { GGUF_OPTIONAL, GGUF_REQUIRED };

/* NULL where there is none. For callers that look at the type themselves. */
const gguf_pair *gguf_find(const gguf_dir *dir, const char *key);

bool gguf_u64(const gguf_dir *dir, const char *key, enum gguf_need need, uint64_t min, uint64_t max, uint64_t *out,
              err *e);
bool gguf_i64(const gguf_dir *dir, const char *key, enum gguf_need need, int64_t min, int64_t max, int64_t *out,
              err *e);
/* f32, f64 or an integer; NaN and infinities are refused whatever the range. */
bool gguf_f32(const gguf_dir *dir, const char *key, enum gguf_need need, float min, float max, float *out, err *e);
/* A bool, or an integer that is 0 or 1. */
bool gguf_bool(const gguf_dir *dir, const char *key, enum gguf_need need, bool *out, err *e);
/* The text is a view into the file, not terminated, and any bytes: check UTF-8 where it matters. */
bool gguf_str(const gguf_dir *dir, const char *key, enum gguf_need need, view *out, err *e);

/* ---- arrays ---- */

/* What the items of an array must be. */
enum gguf_items { GGUF_ITEMS_INT, GGUF_ITEMS_FLOAT, GGUF_ITEMS_BOOL, GGUF_ITEMS_STRING, GGUF_ITEMS_ANY };

/* *out is the pair itself; NULL where an optional key is missing. count_min..count_max bounds the items. */
bool gguf_array(const gguf_dir *dir, const char *key, enum gguf_need need, enum gguf_items items, size_t count_min,
                size_t count_max, const gguf_pair **out, err *e);

/* All items into out[count]; items of any integer width (float width), each in min..max, else ERR_VALUE naming key and
 * index. The pair is one that gguf_array gave for this kind. Bytes of u8 arrays can be had from pair->bytes as well. */
bool gguf_items_i32(const gguf_pair *array, int32_t min, int32_t max, int32_t *out, err *e);
bool gguf_items_u32(const gguf_pair *array, uint32_t min, uint32_t max, uint32_t *out, err *e);
bool gguf_items_f32(const gguf_pair *array, float *out, err *e); /* all finite */
bool gguf_items_bool(const gguf_pair *array, bool *out, err *e);

/* One view a string, into the file: read once, in order, into count views from the arena. */
bool gguf_strings(const gguf_pair *array, arena *a, view **out, err *e);

/* out[count] from an array of exactly `count` integers or bools (as 0, 1), or `count` times one of them: files give
 * per-layer numbers either way. Missing and optional: out is left alone. */
bool gguf_u32_each(const gguf_dir *dir, const char *key, enum gguf_need need, size_t count, uint32_t min, uint32_t max,
                   uint32_t *out, err *e);

/* The value as one line of printable UTF-8, cut with "..." at room_bytes - 1 (room_bytes >= 8); always terminated.
 * Strings are quoted and escaped, arrays show their type, count and first items. */
void gguf_show(const gguf_pair *pair, char *room, size_t room_bytes);

/* "u32", "array of string": for errors and inspection. */
const char *gguf_type_name(enum gguf_type type);

/* ---- files on disk ---- */

/* A model's files, mapped. All zeros is closed. */
typedef struct gguf_files {
    gguf_dir dir;     /* metadata of the first file, tensors of all */
    view *files;      /* files[tensor.shard]; in the arena */
    size_t file_count;
    bool borrowed;    /* of gguf_read_files: the maps are somebody else's */
} gguf_files;

/* Maps a model. A split one (split.count over 1) is opened by its first file, NAME-00001-of-000NN.gguf; the others are
 * found beside it and must say the same of themselves (split.no, split.count, split.tensors.count), and no tensor may
 * be in two. Heads are copied to the arena before they are checked, so a file that changes later can change weights,
 * never a bound.  Errors: ERR_IO and those of gguf_read_dir, the text naming the file. The owner calls gguf_close. */
bool gguf_open(const char *path, arena *a, gguf_files *out, err *e);
void gguf_close(gguf_files *f);

/* The same of files that somebody else mapped, all of a model in order; they must outlive *out. Names no file. */
bool gguf_read_files(const view *files, size_t count, arena *a, gguf_files *out, err *e);

/* The tensor's bytes in its file's map. */
view gguf_tensor_bytes(const gguf_files *f, const gguf_tensor *t);

#endif
