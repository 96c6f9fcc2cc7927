/* Order over pairs and tensors: duplicates, look-up, and whether the tensors cover the data of their file.
 *
 * Everything here is sorted rather than hashed. A file chooses its names, so it could choose them to collide in any
 * hash without a secret; a sort has one worst case. It is a heap sort because that needs no room and no luck either:
 * at most 2 n log2(n) comparisons, 5 million for the largest directory allowed. */
#include "base/checked.h"
#include "format/gguf_part.h"

#include <assert.h>
#include <string.h>

/* True where item a stands before item b; no two items are equal in any order used here. */
typedef bool before_fn(const gguf_dir *dir, uint32_t a, uint32_t b);

static int view_order(view a, view b)
{
    size_t both = min_size(a.len_bytes, b.len_bytes);
    int order = both > 0 ? memcmp(a.ptr, b.ptr, both) : 0;
    return order != 0 ? order : (a.len_bytes > b.len_bytes) - (a.len_bytes < b.len_bytes);
}

/* Ties go by position: orders are total, and of two alike the later one is reported. */
static bool pair_before(const gguf_dir *dir, uint32_t a, uint32_t b)
{
    int order = view_order(dir->pairs[a].key, dir->pairs[b].key);
    return order != 0 ? order < 0 : a < b;
}

static bool name_before(const gguf_dir *dir, uint32_t a, uint32_t b)
{
    int order = view_order(dir->tensors[a].name, dir->tensors[b].name);
    return order != 0 ? order < 0 : a < b;
}

static bool offset_before(const gguf_dir *dir, uint32_t a, uint32_t b)
{
    size_t at = dir->tensors[a].offset, bt = dir->tensors[b].offset;
    return at != bt ? at < bt : a < b;
}

/* Lets the item at `root` sink to its place in the heap order[0..count-1]. */
static void sift(const gguf_dir *dir, before_fn *before, uint32_t *order, size_t root, size_t count)
{
    for (size_t child = 2 * root + 1; child < count; root = child, child = 2 * root + 1) {
        if (child + 1 < count && before(dir, order[child], order[child + 1])) child++;
        if (!before(dir, order[root], order[child])) return;
        uint32_t swap = order[root];
        order[root] = order[child];
        order[child] = swap;
    }
}

static uint32_t *sorted(const gguf_dir *dir, before_fn *before, size_t count, arena *a, err *e)
{
    assert(count <= UINT32_MAX);
    uint32_t *order = ARENA_ARRAY(a, uint32_t, count, "GGUF index", e);
    if (order == NULL) return NULL;
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    for (size_t i = count / 2; i > 0; i--) sift(dir, before, order, i - 1, count);
    for (size_t left = count; left > 1; left--) {
        uint32_t last = order[left - 1];
        order[left - 1] = order[0];
        order[0] = last;
        sift(dir, before, order, 0, left - 1);
    }
    return order;
}

bool gguf_index(gguf_dir *dir, arena *a, err *e)
{
    dir->pairs_by_key = sorted(dir, pair_before, dir->pair_count, a, e);
    if (dir->pairs_by_key == NULL) return false;
    dir->tensors_by_name = sorted(dir, name_before, dir->tensor_count, a, e);
    if (dir->tensors_by_name == NULL) return false;
    for (size_t i = 1; i < dir->pair_count; i++) {
        const gguf_pair *p = &dir->pairs[dir->pairs_by_key[i - 1]], *q = &dir->pairs[dir->pairs_by_key[i]];
        if (view_equal(p->key, q->key))
            return fail(e, ERR_VALUE, q->offset, "key %.*s: twice, first with its value at byte %llu", SHOWN(q->key),
                        (unsigned long long)p->offset);
    }
    for (size_t i = 1; i < dir->tensor_count; i++) {
        uint32_t p = dir->tensors_by_name[i - 1], q = dir->tensors_by_name[i];
        if (view_equal(dir->tensors[p].name, dir->tensors[q].name))
            return fail(e, ERR_VALUE, dir->tensors[q].offset, "tensor %.*s: twice, as number %u and %u",
                        SHOWN(dir->tensors[q].name), p, q);
    }
    return true;
}

/* `end` rounded up, where even that may not fit: a file's last tensor can end at SIZE_MAX. */
static size_t padded_end(size_t end, size_t alignment)
{
    return end > SIZE_MAX - alignment ? SIZE_MAX : round_up(end, alignment);
}

bool gguf_check_cover(const gguf_dir *dir, uint64_t file_bytes, arena *a, err *e)
{
    size_t mark = a->used_bytes, end = dir->head_bytes;
    uint32_t *order = sorted(dir, offset_before, dir->tensor_count, a, e);
    if (order == NULL) return false;
    for (size_t i = 0; i < dir->tensor_count; i++) {
        const gguf_tensor *t = &dir->tensors[order[i]];
        size_t want = i == 0 ? dir->data_offset : padded_end(end, dir->alignment);
        if (t->offset < want)
            return fail(e, ERR_VALUE, t->offset, "tensor %.*s: begins at byte %zu, inside %.*s which ends at %zu",
                        SHOWN(t->name), t->offset, SHOWN(dir->tensors[order[i > 0 ? i - 1 : 0]].name), end);
        if (t->offset > want)
            return fail(e, ERR_VALUE, want, "tensor %.*s: begins at byte %zu, %zu bytes before it belong to nothing",
                        SHOWN(t->name), t->offset, t->offset - want);
        end = t->offset + t->bytes; /* shown to fit when the tensor was read */
    }
    arena_rewind(a, mark);
    /* Writers pad the last tensor, or do not: both are common. */
    if (file_bytes > padded_end(end, dir->alignment))
        return fail(e, ERR_VALUE, end, "end of file: %llu bytes after the last tensor, at most %zu of padding allowed",
                    (unsigned long long)(file_bytes - end), padded_end(end, dir->alignment) - end);
    return true;
}

const gguf_pair *gguf_find(const gguf_dir *dir, const char *key)
{
    view want = view_of(key);
    for (size_t low = 0, high = dir->pair_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        const gguf_pair *p = &dir->pairs[dir->pairs_by_key[middle]];
        int order = view_order(want, p->key);
        if (order == 0) return p;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return NULL;
}

const gguf_tensor *gguf_tensor_find(const gguf_dir *dir, const char *name)
{
    view want = view_of(name);
    for (size_t low = 0, high = dir->tensor_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        const gguf_tensor *t = &dir->tensors[dir->tensors_by_name[middle]];
        int order = view_order(want, t->name);
        if (order == 0) return t;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return NULL;
}
