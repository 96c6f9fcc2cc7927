/* What a GGUF file shall hold, and its head as bytes: see gguf_write.h. */
#include "base/le.h"
#include "format/gguf_part.h"
#include "format/gguf_write.h"

#include <assert.h>

bool gguf_plan_new(gguf_plan *plan, size_t pairs_max, size_t tensors_max, arena *a, err *e)
{
    *plan = (gguf_plan){ .arena = a, .pairs_max = pairs_max, .tensors_max = tensors_max };
    if (pairs_max > GGUF_KEYS_MAX || tensors_max > GGUF_TENSORS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "GGUF plan: %zu pairs and %zu tensors, at most %d and %d allowed",
                    pairs_max, tensors_max, GGUF_KEYS_MAX, GGUF_TENSORS_MAX);
    plan->pairs = ARENA_ARRAY(a, gguf_pair, pairs_max, "GGUF plan", e);
    if (plan->pairs == NULL) return false;
    plan->tensors = ARENA_ARRAY(a, gguf_tensor, tensors_max, "GGUF plan", e);
    return plan->tensors != NULL;
}

bool gguf_plan_copy(gguf_plan *plan, const gguf_dir *from, err *e)
{
    assert(plan->pair_count == 0);
    for (size_t i = 0; i < from->pair_count; i++) {
        if (view_starts(from->pairs[i].key, view_of("split."))) continue;
        if (plan->pair_count == plan->pairs_max)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "GGUF plan: over the %zu pairs planned", plan->pairs_max);
        plan->pairs[plan->pair_count++] = from->pairs[i];
    }
    return true;
}

/* Linear: plans are made once a file and have some tens of pairs. */
static gguf_pair *find(gguf_plan *plan, const char *key)
{
    for (size_t i = 0; i < plan->pair_count; i++)
        if (view_is(plan->pairs[i].key, key)) return &plan->pairs[i];
    return NULL;
}

/* The pair of a key with `bytes` bytes of value to fill in, or NULL. `type` is a scalar's own, or an array's items'. */
static uint8_t *set(gguf_plan *plan, const char *key, bool array, enum gguf_type type, size_t count, size_t bytes,
                    err *e)
{
    gguf_pair *p = find(plan, key);
    view name;
    if (p == NULL && plan->pair_count == plan->pairs_max) {
        err_set(e, ERR_LIMIT, ERR_NO_OFFSET, "key %s: over the %zu pairs planned", key, plan->pairs_max);
        return NULL;
    }
    uint8_t *room = arena_take(plan->arena, bytes, 1, 1, key, e);
    if (room == NULL || !arena_copy(plan->arena, view_of(key), &name, key, e)) return NULL;
    if (p == NULL) p = &plan->pairs[plan->pair_count++];
    *p = (gguf_pair){ .key = name, .type = array ? GGUF_ARRAY : type, .item_type = type, .count = count,
                      .bytes = { room, bytes } };
    return room;
}

bool gguf_set_u32(gguf_plan *plan, const char *key, uint32_t value, err *e)
{
    uint8_t *room = set(plan, key, false, GGUF_U32, 1, 4, e);
    if (room != NULL) le_put_u32(room, value);
    return room != NULL;
}

bool gguf_set_u64(gguf_plan *plan, const char *key, uint64_t value, err *e)
{
    uint8_t *room = set(plan, key, false, GGUF_U64, 1, 8, e);
    if (room != NULL) le_put_u64(room, value);
    return room != NULL;
}

bool gguf_set_i32(gguf_plan *plan, const char *key, int32_t value, err *e)
{
    uint8_t *room = set(plan, key, false, GGUF_I32, 1, 4, e);
    if (room != NULL) le_put_u32(room, (uint32_t)value);
    return room != NULL;
}

bool gguf_set_f32(gguf_plan *plan, const char *key, float value, err *e)
{
    uint8_t *room = set(plan, key, false, GGUF_F32, 1, 4, e);
    if (room != NULL) le_put_f32(room, value);
    return room != NULL;
}

bool gguf_set_bool(gguf_plan *plan, const char *key, bool value, err *e)
{
    uint8_t *room = set(plan, key, false, GGUF_BOOL, 1, 1, e);
    if (room != NULL) *room = value;
    return room != NULL;
}

bool gguf_set_str(gguf_plan *plan, const char *key, view value, err *e)
{
    uint8_t *room = set(plan, key, false, GGUF_STRING, 1, value.len_bytes, e);
    if (room != NULL && value.len_bytes > 0) memcpy(room, value.ptr, value.len_bytes);
    return room != NULL;
}

bool gguf_set_bytes(gguf_plan *plan, const char *key, view bytes, err *e)
{
    uint8_t *room = set(plan, key, true, GGUF_U8, bytes.len_bytes, bytes.len_bytes, e);
    if (room != NULL && bytes.len_bytes > 0) memcpy(room, bytes.ptr, bytes.len_bytes);
    return room != NULL;
}

/* The bytes of `count` items of 4, or an error: counts come from callers, products are checked all the same. */
static bool words_bytes(const char *key, size_t count, size_t *bytes, err *e)
{
    return mul_size(count, 4, bytes) || fail(e, ERR_LIMIT, ERR_NO_OFFSET, "key %s: %zu items", key, count);
}

bool gguf_set_i32s(gguf_plan *plan, const char *key, const int32_t *items, size_t count, err *e)
{
    size_t bytes;
    if (!words_bytes(key, count, &bytes, e)) return false;
    uint8_t *room = set(plan, key, true, GGUF_I32, count, bytes, e);
    for (size_t i = 0; room != NULL && i < count; i++) le_put_u32(room + 4 * i, (uint32_t)items[i]);
    return room != NULL;
}

bool gguf_set_f32s(gguf_plan *plan, const char *key, const float *items, size_t count, err *e)
{
    size_t bytes;
    if (!words_bytes(key, count, &bytes, e)) return false;
    uint8_t *room = set(plan, key, true, GGUF_F32, count, bytes, e);
    for (size_t i = 0; room != NULL && i < count; i++) le_put_f32(room + 4 * i, items[i]);
    return room != NULL;
}

bool gguf_set_strings(gguf_plan *plan, const char *key, const view *items, size_t count, err *e)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        if (!add_size(bytes, 8, &bytes) || !add_size(bytes, items[i].len_bytes, &bytes))
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "key %s: strings of over %zu bytes", key, SIZE_MAX);
    uint8_t *room = set(plan, key, true, GGUF_STRING, count, bytes, e);
    if (room == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        le_put_u64(room, items[i].len_bytes);
        if (items[i].len_bytes > 0) memcpy(room + 8, items[i].ptr, items[i].len_bytes);
        room += 8 + items[i].len_bytes;
    }
    return true;
}

void gguf_unset(gguf_plan *plan, const char *key)
{
    gguf_pair *p = find(plan, key);
    if (p == NULL) return;
    size_t after = plan->pair_count - (size_t)(p - plan->pairs) - 1;
    memmove(p, p + 1, after * sizeof *p);
    plan->pair_count--;
}

/* The reader's checks of a shape, made again here: a caller learns of a wrong one where it names it, not at the end. */
bool gguf_plan_tensor(gguf_plan *plan, view name, uint32_t type, const size_t *dims, size_t dim_count, err *e)
{
    const struct gguf_kind *kind = gguf_kind(type);
    size_t values = 1, bytes;
    if (plan->tensor_count == plan->tensors_max)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "tensor %.*s: over the %zu planned", SHOWN(name), plan->tensors_max);
    if (kind == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "tensor %.*s: weight type %u is not known", SHOWN(name), type);
    if (dim_count > GGUF_DIMS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "tensor %.*s: %zu dimensions, at most %d allowed", SHOWN(name),
                    dim_count, GGUF_DIMS_MAX);
    gguf_tensor t = { .name = name, .type = type, .dim_count = (uint32_t)dim_count, .dims = { 1, 1, 1, 1 } };
    for (size_t i = 0; i < dim_count; i++) {
        t.dims[i] = dims[i];
        if (dims[i] == 0 || !mul_size(values, dims[i], &values))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "tensor %.*s: dimension %zu is %zu", SHOWN(name), i, dims[i]);
    }
    if (t.dims[0] % kind->block_values != 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "tensor %.*s: rows of %zu values, %s has blocks of %u", SHOWN(name),
                    t.dims[0], kind->name, kind->block_values);
    if (!mul_size(values / kind->block_values, kind->block_bytes, &bytes))
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "tensor %.*s: %zu values are over %zu bytes", SHOWN(name), values,
                    SIZE_MAX);
    t.bytes = bytes;
    plan->tensors[plan->tensor_count++] = t;
    return true;
}

/* ---- the head ---- */

/* A place to write to, or, with `at` NULL, a count of what would be written: one description serves both. */
typedef struct sink {
    uint8_t *at;
    size_t bytes;
} sink;

static void emit(sink *s, const void *bytes, size_t count)
{
    if (s->at != NULL && count > 0) memcpy(s->at + s->bytes, bytes, count);
    s->bytes += count; /* views of things in memory and small fields: their sum is below SIZE_MAX */
}

static void emit_u32(sink *s, uint32_t n)
{
    uint8_t bytes[4];
    le_put_u32(bytes, n);
    emit(s, bytes, sizeof bytes);
}

static void emit_u64(sink *s, uint64_t n)
{
    uint8_t bytes[8];
    le_put_u64(bytes, n);
    emit(s, bytes, sizeof bytes);
}

static void emit_string(sink *s, view text)
{
    emit_u64(s, text.len_bytes);
    emit(s, text.ptr, text.len_bytes);
}

static void emit_pair(sink *s, const gguf_pair *p)
{
    emit_string(s, p->key);
    emit_u32(s, p->type);
    if (p->type == GGUF_STRING) {
        emit_string(s, p->bytes);
        return;
    }
    if (p->type == GGUF_ARRAY) {
        emit_u32(s, p->item_type);
        emit_u64(s, p->count);
    }
    emit(s, p->bytes.ptr, p->bytes.len_bytes);
}

/* The order of these fields is the file's, drawn in gguf.h. Offsets count from the data on. */
static void emit_head(sink *s, const gguf_plan *plan, size_t data_offset)
{
    emit(s, "GGUF", 4);
    emit_u32(s, 3);
    emit_u64(s, plan->tensor_count);
    emit_u64(s, plan->pair_count);
    for (size_t i = 0; i < plan->pair_count; i++) emit_pair(s, &plan->pairs[i]);
    for (size_t i = 0; i < plan->tensor_count; i++) {
        const gguf_tensor *t = &plan->tensors[i];
        emit_string(s, t->name);
        emit_u32(s, t->dim_count);
        for (size_t d = 0; d < t->dim_count; d++) emit_u64(s, t->dims[d]);
        emit_u32(s, t->type);
        emit_u64(s, t->offset - data_offset);
    }
}

/* A wrong general.alignment is left to the reader to refuse; until then any will do. */
static size_t plan_alignment(gguf_plan *plan)
{
    const gguf_pair *p = find(plan, "general.alignment");
    size_t alignment = p != NULL && p->type == GGUF_U32 ? le_u32(p->bytes.ptr) : 32;
    bool good = alignment >= 8 && alignment <= GGUF_ALIGNMENT_MAX && (alignment & (alignment - 1)) == 0;
    return good ? alignment : 32;
}

bool gguf_plan_head(gguf_plan *plan, view *head, size_t *file_bytes, err *e)
{
    size_t alignment = plan_alignment(plan);
    sink s = { 0 };
    emit_head(&s, plan, 0);
    /* Without tensors there is no data to align. */
    size_t end = plan->tensor_count > 0 ? round_up(s.bytes, alignment) : s.bytes, data_offset = end;
    for (size_t i = 0; i < plan->tensor_count; i++) {
        gguf_tensor *t = &plan->tensors[i];
        t->offset = end;
        if (!add_size(end, t->bytes, &end) || !add_size(end, alignment - 1, &end))
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "tensor %.*s: ends past %zu bytes", SHOWN(t->name), SIZE_MAX);
        end &= ~(alignment - 1);
    }
    s = (sink){ .at = arena_take(plan->arena, data_offset, 1, 1, "GGUF head", e) }; /* zeroed: the padding is done */
    if (s.at == NULL) return false;
    emit_head(&s, plan, data_offset);
    *head = (view){ s.at, data_offset };
    *file_bytes = end;
    size_t mark = plan->arena->used_bytes;
    gguf_dir dir;
    if (!gguf_read_head(*head, end, plan->arena, &dir, e)) return false;
    assert(plan->tensor_count == 0 || dir.data_offset == data_offset);
    arena_rewind(plan->arena, mark);
    return true;
}
