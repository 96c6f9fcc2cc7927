/* The directory of one GGUF file: see gguf.h for the layout. A cursor runs over the head once, forward; whatever it
 * has passed is proved to lie inside the file. */
#include "format/gguf.h"

#include "base/le.h"
#include "base/utf8.h"
#include "format/gguf_part.h"

#include <assert.h>
#include <stdio.h>

/* Invariant: at <= head.len_bytes. The head may be shorter than the file, never longer. */
typedef struct cursor {
    view head;
    size_t at;
    view within;     /* the key or tensor whose parts are being read; empty outside */
    char thing[160]; /* room for `thing` */
    err *e;
} cursor;

/* "WHAT of NAME", for errors. */
static const char *thing(cursor *c, const char *what)
{
    if (c->within.len_bytes == 0) return what;
    snprintf(c->thing, sizeof c->thing, "%s of %.*s", what, SHOWN(c->within));
    return c->thing;
}

static bool take(cursor *c, size_t want_bytes, view *out, const char *what)
{
    assert(c->at <= c->head.len_bytes);
    size_t left_bytes = c->head.len_bytes - c->at;
    if (want_bytes > left_bytes)
        return fail(c->e, ERR_TRUNCATED, c->at, "%s: needs %zu bytes, %zu left", thing(c, what), want_bytes,
                    left_bytes);
    *out = (view){ c->head.ptr + c->at, want_bytes };
    c->at += want_bytes;
    return true;
}

/* Fixed fields, byte by byte: nothing in a file is aligned for this machine. */
static bool take_u32(cursor *c, uint32_t *out, const char *what)
{
    view v;
    if (!take(c, 4, &v, what)) return false;
    *out = le_u32(v.ptr);
    return true;
}

static bool take_u64(cursor *c, uint64_t *out, const char *what)
{
    view v;
    if (!take(c, 8, &v, what)) return false;
    *out = le_u64(v.ptr);
    return true;
}

/* The length is compared with a limit before it is narrowed: 2^64 - 1 must not become a small size_t on any machine. */
static bool take_string(cursor *c, uint64_t min_bytes, uint64_t max_bytes, view *out, const char *what)
{
    size_t start = c->at;
    uint64_t len;
    if (!take_u64(c, &len, what)) return false;
    if (len < min_bytes || len > max_bytes)
        return fail(c->e, ERR_LIMIT, start, "%s: %llu bytes long, allowed %llu..%llu", thing(c, what),
                    (unsigned long long)len, (unsigned long long)min_bytes, (unsigned long long)max_bytes);
    return take(c, (size_t)len, out, what);
}

/* Keys and tensor names go into errors, tables and terminals: text, on one line. */
static bool take_name(cursor *c, uint64_t max_bytes, view *out, const char *what)
{
    if (!take_string(c, 1, max_bytes, out, what)) return false;
    size_t start = c->at - out->len_bytes, valid = utf8_valid_bytes(*out);
    if (valid < out->len_bytes)
        return fail(c->e, ERR_VALUE, start + valid, "%s: byte %u is not UTF-8", what, out->ptr[valid]);
    for (size_t i = 0; i < out->len_bytes; i++)
        if (out->ptr[i] < 0x20 || out->ptr[i] == 0x7F)
            return fail(c->e, ERR_VALUE, start + i, "%s: control character %u", what, out->ptr[i]);
    return true;
}

/* A count of things that take at least each_min_bytes. What cannot fit is refused before memory is taken for it. */
static bool take_count(cursor *c, uint64_t max, size_t each_min_bytes, size_t *out, const char *what)
{
    size_t start = c->at;
    uint64_t count;
    if (!take_u64(c, &count, what)) return false;
    if (count > max)
        return fail(c->e, ERR_LIMIT, start, "%s: %llu, at most %llu allowed", thing(c, what),
                    (unsigned long long)count, (unsigned long long)max);
    size_t room = (c->head.len_bytes - c->at) / each_min_bytes;
    if (count > room)
        return fail(c->e, ERR_TRUNCATED, start, "%s: %llu, and the bytes left hold at most %zu", thing(c, what),
                    (unsigned long long)count, room);
    *out = (size_t)count;
    return true;
}

/* The enum is as wide as the compiler likes, the field is 32 bits: checked as a number first. */
static bool take_type(cursor *c, enum gguf_type *out, view key)
{
    size_t start = c->at;
    uint32_t type;
    if (!take_u32(c, &type, "value type")) return false;
    if (type >= GGUF_TYPES)
        return fail(c->e, ERR_VALUE, start, "key %.*s: value type %u, allowed 0..%d", SHOWN(key), type, GGUF_TYPES - 1);
    *out = (enum gguf_type)type;
    return true;
}

/* Numbers and bools: one piece. A bool that is neither 0 nor 1 would be undefined behaviour in whoever loads it as one,
 * so it ends here. */
static bool take_numbers(cursor *c, enum gguf_type type, size_t count, view *out, view key)
{
    size_t bytes, start = c->at;
    if (!mul_size(count, gguf_type_bytes(type), &bytes))
        return fail(c->e, ERR_LIMIT, start, "key %.*s: %zu items are too many bytes", SHOWN(key), count);
    if (!take(c, bytes, out, "value")) return false;
    for (size_t i = 0; type == GGUF_BOOL && i < count; i++)
        if (out->ptr[i] > 1)
            return fail(c->e, ERR_VALUE, start + i, "key %.*s: a bool of %u, allowed 0..1", SHOWN(key), out->ptr[i]);
    return true;
}

/* An array's header: what its items are and how many. */
static bool take_array_head(cursor *c, enum gguf_type *item, size_t *count, view key)
{
    /* Strings take their length's 8 bytes at least, arrays their header's 12. */
    if (!take_type(c, item, key)) return false;
    size_t bytes = gguf_type_bytes(*item);
    size_t least = bytes > 0 ? bytes : *item == GGUF_STRING ? 8 : 12;
    return take_count(c, GGUF_ARRAY_MAX, least, count, "array length");
}

/* Steps over `count` items, so that whoever walks them later finds every length inside the array. `depth` counts the
 * arrays around them; it bounds the recursion. The work is linear: every item takes bytes of the file. */
static bool skip_items(cursor *c, enum gguf_type item, size_t count, size_t depth, view key)
{
    view ignored;
    if (item != GGUF_STRING && item != GGUF_ARRAY) return take_numbers(c, item, count, &ignored, key);
    if (item == GGUF_STRING) {
        for (size_t i = 0; i < count; i++)
            if (!take_string(c, 0, GGUF_STRING_BYTES_MAX, &ignored, "string in array")) return false;
        return true;
    }
    if (depth >= GGUF_NESTING_MAX)
        return fail(c->e, ERR_LIMIT, c->at, "key %.*s: arrays nested %zu deep, at most %d allowed", SHOWN(key),
                    depth + 1, GGUF_NESTING_MAX);
    for (size_t i = 0; i < count; i++) {
        enum gguf_type inner;
        size_t inner_count;
        if (!take_array_head(c, &inner, &inner_count, key)) return false;
        if (!skip_items(c, inner, inner_count, depth + 1, key)) return false;
    }
    return true;
}

/* The value stays where it is in the file: most are never asked for, and a vocabulary is large. */
static bool take_pair(cursor *c, gguf_pair *p)
{
    c->within = (view){ 0 };
    if (!take_name(c, GGUF_KEY_BYTES_MAX, &p->key, "metadata key")) return false;
    c->within = p->key;
    p->offset = c->at;
    if (!take_type(c, &p->type, p->key)) return false;
    p->item_type = p->type;
    p->count = 1;
    if (p->type == GGUF_STRING) return take_string(c, 0, GGUF_STRING_BYTES_MAX, &p->bytes, "string");
    if (p->type != GGUF_ARRAY) return take_numbers(c, p->type, 1, &p->bytes, p->key);
    if (!take_array_head(c, &p->item_type, &p->count, p->key)) return false;
    size_t start = c->at;
    if (!skip_items(c, p->item_type, p->count, 1, p->key)) return false;
    p->bytes = (view){ c->head.ptr + start, c->at - start };
    return true;
}

/* Dimensions and type to a size in bytes, each product checked. A dimension of 0 is refused: the tensor holds nothing,
 * and a 0 would hide an overflow in the dimensions after it. */
static bool take_shape(cursor *c, gguf_tensor *t)
{
    size_t start = c->at, values = 1;
    if (!take_u32(c, &t->dim_count, "dimension count")) return false;
    if (t->dim_count > GGUF_DIMS_MAX)
        return fail(c->e, ERR_LIMIT, start, "tensor %.*s: %u dimensions, at most %d allowed", SHOWN(t->name),
                    t->dim_count, GGUF_DIMS_MAX);
    for (size_t i = 0; i < GGUF_DIMS_MAX; i++) t->dims[i] = 1;
    for (size_t i = 0; i < t->dim_count; i++) {
        uint64_t dim;
        start = c->at;
        if (!take_u64(c, &dim, "dimension")) return false;
        if (dim == 0 || dim > SIZE_MAX)
            return fail(c->e, ERR_VALUE, start, "tensor %.*s: dimension %zu is %llu", SHOWN(t->name), i,
                        (unsigned long long)dim);
        t->dims[i] = (size_t)dim;
        if (!mul_size(values, t->dims[i], &values))
            return fail(c->e, ERR_LIMIT, start, "tensor %.*s: dimensions up to number %zu multiply to over %zu",
                        SHOWN(t->name), i, SIZE_MAX);
    }
    start = c->at;
    if (!take_u32(c, &t->type, "weight type")) return false;
    const struct gguf_kind *kind = gguf_kind(t->type);
    if (kind == NULL)
        return fail(c->e, ERR_UNSUPPORTED, start, "tensor %.*s: weight type %u is not known", SHOWN(t->name), t->type);
    if (t->dims[0] % kind->block_values != 0)
        return fail(c->e, ERR_VALUE, start, "tensor %.*s: rows of %zu values, %s has blocks of %u", SHOWN(t->name),
                    t->dims[0], kind->name, kind->block_values);
    if (!mul_size(values / kind->block_values, kind->block_bytes, &t->bytes))
        return fail(c->e, ERR_LIMIT, start, "tensor %.*s: %zu values of %s are over %zu bytes", SHOWN(t->name), values,
                    kind->name, SIZE_MAX);
    return true;
}

/* The offset stays relative here: where data begins is known only behind the last tensor. */
static bool take_tensor(cursor *c, size_t alignment, gguf_tensor *t)
{
    c->within = (view){ 0 };
    if (!take_name(c, GGUF_NAME_BYTES_MAX, &t->name, "tensor name")) return false;
    c->within = t->name;
    if (!take_shape(c, t)) return false;
    size_t start = c->at;
    uint64_t offset;
    if (!take_u64(c, &offset, "offset")) return false;
    if (offset > SIZE_MAX || offset % alignment != 0)
        return fail(c->e, ERR_VALUE, start, "tensor %.*s: offset %llu, not a multiple of the alignment %zu",
                    SHOWN(t->name), (unsigned long long)offset, alignment);
    t->offset = (size_t)offset;
    return true;
}

/* From an offset in the data to one in the file, with the end inside the file. */
static bool place_tensor(const gguf_dir *dir, uint64_t file_bytes, gguf_tensor *t, err *e)
{
    size_t end, relative = t->offset;
    if (!add_size(dir->data_offset, relative, &t->offset) || !add_size(t->offset, t->bytes, &end) || end > file_bytes)
        return fail(e, ERR_TRUNCATED, file_bytes,
                    "tensor %.*s: %zu bytes at %zu of the data, and the file has %llu in all",
                    SHOWN(t->name), t->bytes, relative, (unsigned long long)file_bytes);
    return true;
}

/* What a file is not comes first, so that a renamed picture is not called a truncated model. */
static bool read_version(cursor *c, uint32_t *version)
{
    view magic;
    if (!take(c, 4, &magic, "GGUF magic")) return false;
    if (!view_is(magic, "GGUF"))
        return fail(c->e, ERR_VALUE, 0, "not a GGUF file: begins with %02x %02x %02x %02x", magic.ptr[0], magic.ptr[1],
                    magic.ptr[2], magic.ptr[3]);
    if (!take_u32(c, version, "GGUF version")) return false;
    if (*version == 1) return fail(c->e, ERR_UNSUPPORTED, 4, "GGUF version 1: 32-bit counts, only 2 and 3 are read");
    /* A big-endian file has its version's bytes the other way round; real versions are small. */
    if (*version != 0 && (*version & 0xFFFF) == 0)
        return fail(c->e, ERR_UNSUPPORTED, 4, "GGUF file of a big-endian machine (version field %08x): only "
                    "little endian is read", *version);
    if (*version != 2 && *version != 3)
        return fail(c->e, ERR_UNSUPPORTED, 4, "GGUF version %u, only 2 and 3 are read", *version);
    return true;
}

/* The alignment decides about tensor offsets, so it is looked up before the tensors, without the index. */
static bool read_alignment(gguf_dir *dir, err *e)
{
    dir->alignment = 32;
    for (size_t i = 0; i < dir->pair_count; i++) {
        const gguf_pair *p = &dir->pairs[i];
        if (!view_is(p->key, "general.alignment")) continue;
        if (p->type != GGUF_U32)
            return fail(e, ERR_VALUE, p->offset, "key general.alignment: a %s, must be a u32", gguf_type_name(p->type));
        uint32_t alignment = le_u32(p->bytes.ptr);
        if (alignment < 8 || alignment > GGUF_ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
            return fail(e, ERR_VALUE, p->offset, "key general.alignment: %u, must be a power of two, 8..%d", alignment,
                        GGUF_ALIGNMENT_MAX);
        dir->alignment = alignment;
    }
    return true;
}

bool gguf_read_head(view head, uint64_t file_bytes, arena *a, gguf_dir *dir, err *e)
{
    /* The least a pair and a tensor can take: length, one byte of name, the fixed fields. */
    enum { PAIR_BYTES_MIN = 8 + 1 + 4 + 1, TENSOR_BYTES_MIN = 8 + 1 + 4 + 4 + 8 };
    assert(head.len_bytes <= file_bytes);
    cursor c = { .head = head, .e = e };
    *dir = (gguf_dir){ 0 };
    if (!read_version(&c, &dir->version)) return false;
    if (!take_count(&c, GGUF_TENSORS_MAX, TENSOR_BYTES_MIN, &dir->tensor_count, "tensor count")) return false;
    if (!take_count(&c, GGUF_KEYS_MAX, PAIR_BYTES_MIN, &dir->pair_count, "metadata count")) return false;
    dir->pairs = ARENA_ARRAY(a, gguf_pair, dir->pair_count, "GGUF metadata", e);
    if (dir->pairs == NULL) return false;
    dir->tensors = ARENA_ARRAY(a, gguf_tensor, dir->tensor_count, "GGUF tensors", e);
    if (dir->tensors == NULL) return false;

    /* From here on what is read is bounded by what is left; then the places of the tensors, then their order. */
    for (size_t i = 0; i < dir->pair_count; i++)
        if (!take_pair(&c, &dir->pairs[i])) return false;
    if (!read_alignment(dir, e)) return false;
    for (size_t i = 0; i < dir->tensor_count; i++)
        if (!take_tensor(&c, dir->alignment, &dir->tensors[i])) return false;
    dir->head_bytes = c.at;
    if (!add_size(c.at, dir->alignment - 1, &dir->data_offset))
        return fail(e, ERR_LIMIT, c.at, "tensor data: begins past %zu bytes", SIZE_MAX);
    dir->data_offset = round_up(c.at, dir->alignment);
    for (size_t i = 0; i < dir->tensor_count; i++)
        if (!place_tensor(dir, file_bytes, &dir->tensors[i], e)) return false;
    return gguf_index(dir, a, e) && gguf_check_cover(dir, file_bytes, a, e);
}

bool gguf_read_dir(view file, arena *a, gguf_dir *dir, err *e)
{
    return gguf_read_head(file, file.len_bytes, a, dir, e);
}

size_t gguf_tensor_values(const gguf_tensor *t)
{
    size_t values = 1;
    for (size_t i = 0; i < GGUF_DIMS_MAX; i++) values *= t->dims[i]; /* shown to fit when the tensor was read */
    return values;
}
