/* image/ is the packed weight image: one span of bytes that holds everything a model is, with offsets instead of
 * pointers. It lies in anonymous memory, a memfd or a mapped file, and is the same on every processor and for every
 * number of threads. write.c makes one, check.c believes nothing of one, verify.c reads all of one; the writer and the
 * checker share this header and no code. The room knows numbers, texts and tiles: what a hyperparameter or a slot means
 * is model/'s business. docs/format/image.md is this drawing with byte offsets in words.
 *
 *   offset
 *        0  header            IMAGE_HEADER_BYTES: magic, version, size, identity, where the sections are
 *           fields            architecture's name, then IMAGE_FIELDS numbers of 8 bytes
 *           vocabulary        ids, questions, scores, lengths, kinds, texts, merges, charsmap; or empty
 *           template          text; or empty
 *           tensors           a row of IMAGE_TENSOR_BYTES for each, ascending by (layer, slot), outside ones first
 *           extents           a row of IMAGE_EXTENT_BYTES for each expert of each layer, ascending by (layer, expert)
 *           data              | tensor | pad to 64 | tensor | pad to 4096 | expert 0: gate up down | pad | expert 1 ...
 *
 * All numbers are little-endian; sections start on multiples of 64, data on one of 4096; every byte that nothing above
 * names is 0. In the data each tensor stands at the first place its alignment allows, so two can not overlap and none
 * can hide: the order of the table is the order of the bytes.
 *
 * What holds of a `struct image` that image_check gave: its fields are in range and fit each other, every matrix lies
 * inside the bytes with the size its type, rows and columns ask for, and nothing that steers memory access is read from
 * the bytes again. Codes, scales and f32 values are, and may be anything: a mapped file can change under its reader. */
#ifndef HEARTH_IMAGE_IMAGE_H
#define HEARTH_IMAGE_IMAGE_H

#include "base/arena.h"
#include "base/team.h"
#include "kernels/route_pack.h"
#include "kernels/tile.h"

enum {
    IMAGE_VERSION = 3, /* of the layout: another one is refused, and the model file is packed again */
    IMAGE_MAGIC_BYTES = 8,
    IMAGE_HEADER_BYTES = 256,
    IMAGE_ARCH_BYTES = 32,
    IMAGE_TENSOR_BYTES = 96,
    IMAGE_EXTENT_BYTES = 64,
    IMAGE_VOCAB_HEAD_BYTES = 88,
    IMAGE_ALIGN = 64,          /* of sections and tensors: a tile's */
    IMAGE_EXTENT_ALIGN = 4096, /* of data and of experts: what direct reads from a disk ask for */
    IMAGE_HASH_BYTES = 32,
    IMAGE_HASH_STATE_BYTES = 512, /* room for any hash's state */
    IMAGE_LEAF_ROWS = 1024        /* rows that one leaf of a tensor's hash covers: leaves are hashed on all threads */
};

#define IMAGE_MAGIC   "HEARTHIM"
#define IMAGE_OUTSIDE UINT32_MAX /* the layer of what is in none */

/* ORDER image_section: header offsets 64 + 16 * section. */
enum image_section {
    IMAGE_FIELDS_SECTION,
    IMAGE_VOCAB_SECTION,
    IMAGE_TEMPLATE_SECTION,
    IMAGE_TENSORS_SECTION,
    IMAGE_EXTENTS_SECTION,
    IMAGE_DATA_SECTION,
    IMAGE_SECTIONS
};

/* Header, byte offsets. */
enum {
    IMAGE_AT_VERSION = 8,   /* u32 */
    IMAGE_AT_HEADER = 12,   /* u32, IMAGE_HEADER_BYTES */
    IMAGE_AT_BYTES = 16,    /* u64, of the whole image */
    IMAGE_AT_TENSORS = 24,  /* u32, rows of the table */
    IMAGE_AT_EXTENTS = 28,  /* u32 */
    IMAGE_AT_IDENTITY = 32, /* IMAGE_HASH_BYTES; zeros: not computed */
    IMAGE_AT_SECTIONS = 64  /* u64 offset, u64 bytes, IMAGE_SECTIONS times; zeros to the header's end */
};

/* Hyperparameters by number. A count is a u64, a real number the bits of its f64. A new one goes to the end and raises
 * IMAGE_VERSION. ORDER image_field: FIELDS in check_fields.c, FIELDS in model/packed.c */
enum image_field {
    IMAGE_LAYERS,
    IMAGE_WIDTH,
    IMAGE_VOCAB,
    IMAGE_FFN_WIDTH,
    IMAGE_HEADS,
    IMAGE_KV_HEADS,
    IMAGE_KEY_DIM,
    IMAGE_VALUE_DIM,
    IMAGE_CTX_TOK,
    IMAGE_EPS,
    IMAGE_ROPE_BASE,
    IMAGE_ROPE_DIMS,
    IMAGE_ROPE_SCALING,
    IMAGE_ROPE_FACTOR,
    IMAGE_ROPE_CTX_TOK,
    IMAGE_ROPE_BETA_FAST,
    IMAGE_ROPE_BETA_SLOW,
    IMAGE_ROPE_MAGNITUDE,
    IMAGE_ROPE_LOG_MULTIPLIER,
    IMAGE_LOCAL_BASE,
    IMAGE_LOCAL_DIMS,
    IMAGE_LOCAL_SCALING,
    IMAGE_LOCAL_FACTOR,
    IMAGE_LOCAL_CTX_TOK,
    IMAGE_LOCAL_BETA_FAST,
    IMAGE_LOCAL_BETA_SLOW,
    IMAGE_LOCAL_MAGNITUDE,
    IMAGE_LOCAL_LOG_MULTIPLIER,
    IMAGE_WINDOW,
    IMAGE_WINDOW_PERIOD,
    IMAGE_ATTENTION_SCALE,
    IMAGE_ATTENTION_CAP,
    IMAGE_LOGIT_CAP,
    IMAGE_EMBEDDING_SCALE,
    IMAGE_RESIDUAL_SCALE,
    IMAGE_LOGIT_DIVISOR,
    IMAGE_TEMPERATURE_SCALE,
    IMAGE_TEMPERATURE_TOK,
    IMAGE_KV_RANK,
    IMAGE_Q_RANK,
    IMAGE_NOPE_DIM,
    IMAGE_LATENT_VALUE_DIM,
    IMAGE_EXPERTS,
    IMAGE_TOP_K,
    IMAGE_EXPERT_FFN,
    IMAGE_SHARED_WIDTH,
    IMAGE_DENSE_LAYERS,
    IMAGE_ROUTER,
    IMAGE_RENORMALISE,
    IMAGE_EXPERT_SCALE,
    IMAGE_GROUPS,
    IMAGE_GROUPS_USED,
    IMAGE_FIELDS
};

/* A vocabulary as plain data; text/tokenizer.h's vocab_source says what each part means. */
enum { IMAGE_IDS = 9, IMAGE_QUESTIONS = 9 };
struct image_vocab {
    view model, pre;
    size_t token_count;
    const view *texts;
    const float *scores;  /* token_count, or NULL */
    const int32_t *kinds; /* the same, 1..6 */
    size_t merge_count;
    const view *merges;
    view charsmap;
    int32_t ids[IMAGE_IDS];            /* bos eos eot eom unk sep pad cls mask; -1: none */
    int8_t questions[IMAGE_QUESTIONS]; /* -1, 0, 1: in the order of vocab_source */
};

/* ORDER image_kind: the numbers are the format's. */
enum image_kind {
    IMAGE_ROWS,   /* rows x cols f32, row-major */
    IMAGE_MATRIX, /* tiles of one matrix */
    IMAGE_STACK,  /* `count` matrices, one after the other: one a head */
    IMAGE_EXPERT, /* `count` matrices, one in each expert's extent; three rows of the table (gate, up, down) share the
                     extents */
    IMAGE_ROUTE   /* a router's second form (kernels/route_pack.h), made from the first f32 rows of its layer that have
                     its rows and columns. No part of the model's identity: it holds nothing that those do not say */
};

/* A row of the tensor table. */
struct image_tensor {
    enum image_kind kind;
    uint32_t slot, layer;
    enum weight_type type; /* IMAGE_ROWS, IMAGE_ROUTE: F32 */
    struct route_shape route; /* IMAGE_ROUTE; its experts and cols are rows and cols */
    size_t count, rows, cols;
    size_t offset;                  /* of the first matrix, from the image's first byte */
    size_t bytes, stride;           /* of one matrix; from one to the next */
    uint8_t hash[IMAGE_HASH_BYTES]; /* of the contents in file layout; zeros: not computed */
};

/* A row of the extents table: where one expert is, to be read at once. */
struct image_extent {
    uint32_t layer, expert;
    size_t offset, bytes;
    uint8_t hash[IMAGE_HASH_BYTES]; /* of the extent's bytes as they stand in the image; zeros: not computed */
};

/* ---- write.c ---- */

/* A tensor to pack, as it stands in a model file: `count` matrices of rows x cols one after the other. */
struct image_tensor_source {
    enum image_kind kind;
    uint32_t slot, layer;
    enum weight_type type; /* the file's */
    size_t count, rows, cols;
    const uint8_t *bytes; /* NULL for IMAGE_ROUTE, whose rows are those of `router` */
    view name;        /* for errors */
    size_t first_row; /* of `bytes` in the named tensor, for errors */
    struct route_shape route; /* IMAGE_ROUTE */
    size_t router;            /* IMAGE_ROUTE: which source before it holds the rows */
};

/* Everything an image is made of. Borrowed; needs to live until image_write returns. */
struct image_source {
    view arch; /* 1..IMAGE_ARCH_BYTES */
    uint64_t fields[IMAGE_FIELDS];
    const struct image_vocab *vocab; /* NULL: none */
    view chat_template;
    const struct image_tensor_source *tensors;
    size_t tensor_count;
};

/* A cryptographic hash, brought by whoever has one. add and end are called from several threads, on different states.
 */
struct image_hasher {
    void (*begin)(void *state); /* IMAGE_HASH_STATE_BYTES, aligned to 64 */
    void (*add)(void *state, const void *bytes, size_t len_bytes);
    void (*end)(void *state, uint8_t out[static IMAGE_HASH_BYTES]);
};

struct image_layout {
    size_t bytes; /* of the whole image: what the destination must hold */
    struct {
        size_t offset, bytes;
    } sections[IMAGE_SECTIONS];
    struct image_tensor *tensors; /* without hashes */
    size_t extent_count;
};

/* Plans every byte; takes the table from `a`. Errors: ERR_LIMIT, ERR_VALUE (a source that no image can hold),
 * ERR_MEMORY. */
bool image_plan(const struct image_source *src, struct image_layout *out, arena *a, err *e);

typedef void image_progress(void *arg, size_t done_bytes, size_t all_bytes);

/* Packs into out[layout->bytes], which holds zeros. `hasher` NULL leaves hashes and identity zero. Same source, same
 * bytes, whatever the team. Errors: ERR_VALUE, naming the tensor and the row with a scale that is NaN or infinite;
 * ERR_MEMORY. Needs no file, no clock and no system call but futex and memory: it may run in a process without rights.
 */
bool image_write(const struct image_source *src, const struct image_layout *layout, uint8_t *out, team *t,
                 const struct image_hasher *hasher, image_progress *progress, void *progress_arg, err *e);

/* ---- check.c ---- */

/* What a checked image says. `bytes` is borrowed; everything else lies in the arena. */
typedef struct image {
    view bytes;
    view arch;
    uint64_t fields[IMAGE_FIELDS];
    bool has_vocab;
    struct image_vocab vocab;
    view chat_template;
    struct image_tensor *tensors;
    size_t tensor_count;
    struct image_extent *extents;
    size_t extent_count;
    size_t data_offset;
    uint8_t identity[IMAGE_HASH_BYTES];
    view fields_bytes, vocab_bytes; /* the sections, copied: what the identity covers */
} image;

/* True where the bytes begin as an image does. */
static inline bool image_is(view bytes)
{
    return view_starts(bytes, view_of(IMAGE_MAGIC));
}

/* Copies everything but the data into `a`, then checks the copy; reads no byte of the data.
 *   bytes   the whole image, aligned to 64; must outlive *out
 *   limits  LAYERS_MAX and its kin, VOCAB_MAX, TOKEN_BYTES_MAX, MERGES_MAX, CHARSMAP_BYTES_MAX, GGUF_STRING_BYTES_MAX
 *   errors  ERR_TRUNCATED, ERR_UNSUPPORTED (another layout version), ERR_VALUE, ERR_LIMIT, ERR_MEMORY; e->offset is the
 *           byte in the image
 *   threads no shared state      fuzz fuzz/image.c
 * Costs time and memory by the size of vocabulary and tables alone: a mapped file of any size starts at once. */
bool image_check(view bytes, arena *a, image *out, err *e);

/* Half of it, for a process that has no use for the other: without IMAGE_WEIGHTS there are no tensors, and `bytes` may
 * be the head alone; without IMAGE_TEXTS there is no vocabulary. Hyperparameters and template are always there. */
enum image_part { IMAGE_TEXTS = 1, IMAGE_WEIGHTS = 2 };
bool image_check_parts(view bytes, unsigned parts, arena *a, image *out, err *e);

/* How long the head of an image says it is (everything before the data), from its first IMAGE_HEADER_BYTES; 0 where it
 * is none. Nothing is checked: it is how much to map. */
size_t image_head_bytes(view first);

/* One number of the fields. */
static inline size_t image_count(const image *i, enum image_field f)
{
    return (size_t)i->fields[f];
}
static inline double image_real(const image *i, enum image_field f)
{
    double out;
    memcpy(&out, &i->fields[f], sizeof out);
    return out;
}

/* Where a checked tensor's first matrix lies. */
static inline const uint8_t *image_data(const image *i, const struct image_tensor *t)
{
    return i->bytes.ptr + t->offset;
}

/* ---- check_fields.c ---- */

/* Every field in its range, and the ones that must fit each other do. */
bool image_check_fields(const uint64_t fields[static IMAGE_FIELDS], size_t offset, err *e);

/* The f32 rows that a row of kind IMAGE_ROUTE was made from: SIZE_MAX where the layer has none. */
size_t image_router_of(const struct image_tensor *tensors, size_t count, size_t route);

/* ---- verify_route.c ---- */

/* What the second form of a router says of its rows holds: bf16 rows are the rows, distances and norms are not larger
 * than their bounds. Shares no code with the packer. Returns the first expert of which it does not, or t->rows. */
size_t image_route_wrong(const image *i, const struct image_tensor *t, const struct image_tensor *rows);

/* ---- verify.c ---- */

/* Reads the whole image: every scale and every float is finite, the padding is zeros, and where the image has an
 * identity, every hash is computed again from the packed bytes turned back into file layout. With hasher NULL hashes
 * are left alone. Errors: ERR_VALUE, naming the place. Meant for `hearth pack`, idle time, and doubt. */
bool image_verify(const image *i, team *t, const struct image_hasher *hasher, err *e);

#endif
