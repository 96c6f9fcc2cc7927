/* Believing nothing of an image: see image.h. Everything before the data is copied first and read from the copy alone,
 * so that what was checked is what is used, whoever else can write the bytes. */
#include "image/image.h"

#include "base/checked.h"
#include "base/le.h"
#include "base/limits.h"
#include "base/utf8.h"

#include <assert.h>
#include <math.h>

/* The head as copied, and where its sections lie. */
struct checker {
    view head; /* everything before the data */
    size_t image_bytes;
    struct {
        size_t offset, bytes;
    } sections[IMAGE_SECTIONS];
    size_t tensors, extents;
    arena *arena;
    err *e;
};

/* ORDER image_section */
static const struct section_row {
    const char *name;
    size_t bytes_max;
} SECTIONS[IMAGE_SECTIONS] = {
    { "hyperparameters", IMAGE_ARCH_BYTES + 8 * IMAGE_FIELDS },
    { "vocabulary", (size_t)1 << 40 }, /* its own counts bound it */
    { "chat template", GGUF_STRING_BYTES_MAX },
    { "tensor table", (size_t)GGUF_TENSORS_MAX * 4 * IMAGE_TENSOR_BYTES },
    { "extents table", (size_t)LAYERS_MAX *EXPERTS_MAX *IMAGE_EXTENT_BYTES },
    { "data", SIZE_MAX / 2 },
};

/* ---- header ---- */

/* What can be said before anything is copied; the numbers are read again from the copy. */
static bool read_header(view bytes, bool head_alone, struct checker *c)
{
    const uint8_t *p = bytes.ptr;
    if (bytes.len_bytes < IMAGE_HEADER_BYTES)
        return fail(c->e, ERR_TRUNCATED, bytes.len_bytes, "image: %zu bytes, its header has %d", bytes.len_bytes,
                    IMAGE_HEADER_BYTES);
    if (!image_is(bytes)) return fail(c->e, ERR_VALUE, 0, "image: no magic \"%s\" at the begin", IMAGE_MAGIC);
    if (le_u32(p + IMAGE_AT_VERSION) != IMAGE_VERSION)
        return fail(c->e, ERR_UNSUPPORTED, IMAGE_AT_VERSION,
                    "image: layout version %u, this program reads %d: pack the model file again (hearth pack)",
                    le_u32(p + IMAGE_AT_VERSION), IMAGE_VERSION);
    if (le_u32(p + IMAGE_AT_HEADER) != IMAGE_HEADER_BYTES)
        return fail(c->e, ERR_VALUE, IMAGE_AT_HEADER, "image: a header of %u bytes, must be %d",
                    le_u32(p + IMAGE_AT_HEADER), IMAGE_HEADER_BYTES);
    uint64_t says = le_u64(p + IMAGE_AT_BYTES);
    if (head_alone ? says < bytes.len_bytes || says > SIZE_MAX / 2 : says != bytes.len_bytes)
        return fail(c->e, le_u64(p + IMAGE_AT_BYTES) > bytes.len_bytes ? ERR_TRUNCATED : ERR_VALUE, IMAGE_AT_BYTES,
                    "image: says it has %llu bytes, there are %zu", (unsigned long long)le_u64(p + IMAGE_AT_BYTES),
                    bytes.len_bytes);
    c->image_bytes = (size_t)says;
    c->tensors = le_u32(p + IMAGE_AT_TENSORS);
    c->extents = le_u32(p + IMAGE_AT_EXTENTS);
    return true;
}

/* Sections follow one another at the first multiple of their alignment: no overlap, no gap to hide in. */
static bool read_sections(const uint8_t *p, struct checker *c)
{
    size_t at = IMAGE_HEADER_BYTES;
    for (size_t i = 0; i < IMAGE_SECTIONS; i++) {
        size_t where = IMAGE_AT_SECTIONS + 16 * i, align = i == IMAGE_DATA_SECTION ? IMAGE_EXTENT_ALIGN : IMAGE_ALIGN;
        uint64_t offset = le_u64(p + where), bytes = le_u64(p + where + 8);
        size_t want = round_up(at, align); /* at is at most the image's length, or SIZE_MAX / 2 */
        if (offset != want || offset > c->image_bytes || bytes > c->image_bytes - offset ||
            bytes > SECTIONS[i].bytes_max)
            return fail(c->e, ERR_VALUE, where,
                        "%s: %llu bytes at %llu, must be at %zu, inside %zu bytes and at most %zu", SECTIONS[i].name,
                        (unsigned long long)bytes, (unsigned long long)offset, want, c->image_bytes,
                        SECTIONS[i].bytes_max);
        c->sections[i].offset = (size_t)offset;
        c->sections[i].bytes = (size_t)bytes;
        at = (size_t)(offset + bytes);
    }
    if (at != c->image_bytes) return fail(c->e, ERR_VALUE, at, "image: %zu bytes behind the data", c->image_bytes - at);
    for (size_t i = IMAGE_AT_SECTIONS + 16 * IMAGE_SECTIONS; i < IMAGE_HEADER_BYTES; i++)
        if (p[i] != 0) return fail(c->e, ERR_VALUE, i, "image: byte %zu of the header is %u, must be 0", i, p[i]);
    return true;
}

/* Tables are as long as their counts say: from here on a row's address is its number times a constant. */
static bool check_counts(const struct checker *c)
{
    if (c->sections[IMAGE_FIELDS_SECTION].bytes != SECTIONS[IMAGE_FIELDS_SECTION].bytes_max)
        return fail(c->e, ERR_VALUE, IMAGE_AT_SECTIONS, "hyperparameters: %zu bytes, must be %zu",
                    c->sections[IMAGE_FIELDS_SECTION].bytes, SECTIONS[IMAGE_FIELDS_SECTION].bytes_max);
    if (c->sections[IMAGE_TENSORS_SECTION].bytes != c->tensors * IMAGE_TENSOR_BYTES)
        return fail(c->e, ERR_VALUE, IMAGE_AT_TENSORS, "tensor table: %zu bytes for %zu tensors of %d",
                    c->sections[IMAGE_TENSORS_SECTION].bytes, c->tensors, IMAGE_TENSOR_BYTES);
    if (c->sections[IMAGE_EXTENTS_SECTION].bytes != c->extents * IMAGE_EXTENT_BYTES)
        return fail(c->e, ERR_VALUE, IMAGE_AT_EXTENTS, "extents table: %zu bytes for %zu experts of %d",
                    c->sections[IMAGE_EXTENTS_SECTION].bytes, c->extents, IMAGE_EXTENT_BYTES);
    return true;
}

/* The gaps between sections are zeros: what nobody names, nobody uses. */
static bool check_gaps(const struct checker *c)
{
    for (size_t i = 0; i + 1 < IMAGE_SECTIONS; i++)
        for (size_t at = c->sections[i].offset + c->sections[i].bytes; at < c->sections[i + 1].offset; at++)
            if (c->head.ptr[at] != 0)
                return fail(c->e, ERR_VALUE, at, "%s: byte %u behind it, must be 0", SECTIONS[i].name, c->head.ptr[at]);
    return true;
}

/* A section of the copy. read_sections has shown that it lies inside. */
static view section(const struct checker *c, enum image_section s)
{
    return (view){ c->head.ptr + c->sections[s].offset, c->sections[s].bytes };
}

/* ---- hyperparameters ---- */

/* The name is compared with a table later; here it only has to be a text that can stand in an error. */
static bool take_fields(const struct checker *c, image *out)
{
    view fields = out->fields_bytes = section(c, IMAGE_FIELDS_SECTION);
    size_t offset = c->sections[IMAGE_FIELDS_SECTION].offset, len = 0;
    while (len < IMAGE_ARCH_BYTES && fields.ptr[len] != 0) len++;
    for (size_t i = len; i < IMAGE_ARCH_BYTES; i++)
        if (fields.ptr[i] != 0) return fail(c->e, ERR_VALUE, offset + i, "architecture: bytes behind its end");
    out->arch = (view){ fields.ptr, len };
    if (len == 0 || utf8_valid_bytes(out->arch) != len)
        return fail(c->e, ERR_VALUE, offset, "architecture: a name of %zu bytes, must be 1..%d of UTF-8", len,
                    IMAGE_ARCH_BYTES);
    for (size_t i = 0; i < IMAGE_FIELDS; i++) out->fields[i] = le_u64(fields.ptr + IMAGE_ARCH_BYTES + 8 * i);
    return image_check_fields(out->fields, offset + IMAGE_ARCH_BYTES, c->e);
}

/* ---- vocabulary ---- */

/* Takes pieces off the front of the section; the caller has shown that their sum is its length. */
static view cut(view *left, size_t bytes)
{
    view out = { left->ptr, bytes };
    *left = view_after(*left, bytes);
    return out;
}

/* `count` texts: their lengths stand in `lengths` (u16 each), their bytes one after the other in `bytes`. */
static bool take_texts(const struct checker *c, view lengths, view bytes, size_t count, size_t each_max, bool utf8,
                       const char *what, const view **out)
{
    view *texts = ARENA_ARRAY(c->arena, view, count, what, c->e);
    if (texts == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        size_t len = le_u16(lengths.ptr + 2 * i), offset = (size_t)(bytes.ptr - c->head.ptr);
        if (len > each_max || len > bytes.len_bytes)
            return fail(c->e, ERR_VALUE, offset, "%s %zu: %zu bytes, allowed %zu, left %zu", what, i, len, each_max,
                        bytes.len_bytes);
        texts[i] = cut(&bytes, len);
        if (utf8 && utf8_valid_bytes(texts[i]) != len)
            return fail(c->e, ERR_VALUE, offset, "%s %zu: its text is not UTF-8", what, i);
    }
    if (bytes.len_bytes != 0)
        return fail(c->e, ERR_VALUE, (uint64_t)(bytes.ptr - c->head.ptr), "%ss: %zu bytes that belong to none", what,
                    bytes.len_bytes);
    *out = texts;
    return true;
}

/* A score orders a queue of merges: a NaN there would compare with nothing. */
static bool take_scores(const struct checker *c, view bytes, size_t count, const float **out)
{
    float *scores = ARENA_ARRAY(c->arena, float, count, "vocabulary scores", c->e);
    if (scores == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        scores[i] = le_f32(bytes.ptr + 4 * i);
        if (!isfinite(scores[i]))
            return fail(c->e, ERR_VALUE, (uint64_t)(bytes.ptr + 4 * i - c->head.ptr),
                        "token %zu: its score is not a finite number", i);
    }
    *out = scores;
    return true;
}

/* One byte each in the image, the enum's type in memory: widened here, so that nobody reads the copy as int32. */
static bool take_kinds(const struct checker *c, view bytes, size_t count, const int32_t **out)
{
    int32_t *kinds = ARENA_ARRAY(c->arena, int32_t, count, "token kinds", c->e);
    if (kinds == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        kinds[i] = bytes.ptr[i];
        if (kinds[i] < 1 || kinds[i] > 6)
            return fail(c->e, ERR_VALUE, (uint64_t)(bytes.ptr + i - c->head.ptr), "token %zu: type %d, known are 1..6",
                        i, kinds[i]);
    }
    *out = kinds;
    return true;
}

/* Ids index the vocabulary; 2^32 - 1 is the one number above it that is allowed, and means none. */
static bool take_settings(const struct checker *c, const uint8_t *p, struct image_vocab *v)
{
    uint64_t offset = (uint64_t)(p - c->head.ptr);
    for (size_t i = 0; i < IMAGE_IDS; i++) {
        uint32_t bits = le_u32(p + 40 + 4 * i);
        if (bits != UINT32_MAX && bits >= v->token_count)
            return fail(c->e, ERR_VALUE, offset + 40 + 4 * i, "special token %zu: id %u, the vocabulary has 0..%zu", i,
                        bits, v->token_count - 1);
        v->ids[i] = bits == UINT32_MAX ? -1 : (int32_t)bits;
    }
    for (size_t i = 0; i < IMAGE_QUESTIONS; i++) {
        uint8_t bits = p[76 + i];
        if (bits > 1 && bits != 255)
            return fail(c->e, ERR_VALUE, offset + 76 + i, "vocabulary setting %zu: %u, known are 0, 1, 255", i, bits);
        v->questions[i] = bits == 255 ? -1 : (int8_t)bits;
    }
    for (size_t i = 76 + IMAGE_QUESTIONS; i < IMAGE_VOCAB_HEAD_BYTES; i++)
        if (p[i] != 0) return fail(c->e, ERR_VALUE, offset + i, "vocabulary: byte %zu is %u, must be 0", i, p[i]);
    return true;
}

/* Counts first, each against its limit; then their sum against the section's length; only then is anything sized by
 * them. What the vocabulary means (merges that name tokens, texts that are unique) is tokenizer_new's to check. */
static bool take_vocab(const struct checker *c, image *out)
{
    view left = out->vocab_bytes = section(c, IMAGE_VOCAB_SECTION);
    size_t offset = c->sections[IMAGE_VOCAB_SECTION].offset, all = left.len_bytes;
    struct image_vocab *v = &out->vocab;
    out->has_vocab = all > 0;
    if (all == 0) return true;
    if (all < IMAGE_VOCAB_HEAD_BYTES)
        return fail(c->e, ERR_TRUNCATED, offset, "vocabulary: %zu bytes, its head has %d", all, IMAGE_VOCAB_HEAD_BYTES);
    const uint8_t *p = cut(&left, IMAGE_VOCAB_HEAD_BYTES).ptr;
    size_t n = le_u32(p), m = le_u32(p + 4), model = le_u32(p + 8), pre = le_u32(p + 12), map = le_u32(p + 16);
    uint32_t has = le_u32(p + 20);
    uint64_t texts = le_u64(p + 24), merges = le_u64(p + 32);
    if (n < 1 || n > VOCAB_MAX || m > MERGES_MAX || model > TOKEN_BYTES_MAX || pre > TOKEN_BYTES_MAX ||
        map > CHARSMAP_BYTES_MAX || has > 3 || texts > VOCAB_BYTES_MAX ||
        merges > (uint64_t)MERGES_MAX * MERGE_BYTES_MAX)
        return fail(c->e, ERR_LIMIT, offset,
                    "vocabulary: %zu tokens of %llu bytes, %zu merges of %llu, a map of %zu, names "
                    "of %zu and %zu, parts %u: one is over its limit",
                    n, (unsigned long long)texts, m, (unsigned long long)merges, map, model, pre, has);
    size_t scores = (has & 1) != 0 ? 4 * n : 0, kinds = (has & 2) != 0 ? n : 0;
    /* Every term is under 2^39: the sum cannot wrap. */
    size_t want = IMAGE_VOCAB_HEAD_BYTES + scores + 2 * n + 2 * m + kinds + model + pre + (size_t)texts +
                  (size_t)merges + map;
    if (want != all) return fail(c->e, ERR_VALUE, offset, "vocabulary: %zu bytes, its counts ask for %zu", all, want);
    v->token_count = n;
    v->merge_count = m;
    view score_bytes = cut(&left, scores), lengths = cut(&left, 2 * n), merge_lengths = cut(&left, 2 * m);
    view kind_bytes = cut(&left, kinds);
    v->model = cut(&left, model);
    v->pre = cut(&left, pre);
    view text_bytes = cut(&left, (size_t)texts), merge_bytes = cut(&left, (size_t)merges);
    v->charsmap = left;
    if (utf8_valid_bytes(v->model) != model || utf8_valid_bytes(v->pre) != pre)
        return fail(c->e, ERR_VALUE, offset, "vocabulary: the name of its model or pre-tokenizer is not UTF-8");
    return take_settings(c, p, v) && (scores == 0 || take_scores(c, score_bytes, n, &v->scores)) &&
           (kinds == 0 || take_kinds(c, kind_bytes, n, &v->kinds)) &&
           take_texts(c, lengths, text_bytes, n, TOKEN_BYTES_MAX, true, "token", &v->texts) &&
           take_texts(c, merge_lengths, merge_bytes, m, MERGE_BYTES_MAX, false, "merge", &v->merges);
}

/* ---- tensors ---- */

/* Rows and columns of any tensor: the widest is a vocabulary's, or all heads of the widest heads. */
enum { DIM_MAX = 1 << 21 };

/* One row of the table: every number in a range of its own. How they fit each other is checked in check_places, which
 * needs the bounds given here so that its products can not wrap. */
static bool take_numbers(const struct checker *c, size_t row, struct image_tensor *t)
{
    const uint8_t *p = section(c, IMAGE_TENSORS_SECTION).ptr + row * IMAGE_TENSOR_BYTES;
    uint64_t offset = (uint64_t)(p - c->head.ptr);
    uint32_t layer = le_u32(p + 4), type = le_u32(p + 8), count = le_u32(p + 12);
    uint64_t rows = le_u64(p + 16), cols = le_u64(p + 24), at = le_u64(p + 32), bytes = le_u64(p + 40),
             stride = le_u64(p + 48);
    struct route_shape route = { 0 };
    if (p[2] == IMAGE_ROUTE) {
        if (type < ROUTE_BF16 || type >= ROUTE_FORMS || count < 1 || count > rows || rows > EXPERTS_MAX ||
            cols > WIDTH_MAX || (type != ROUTE_FACTOR && count != 1) || layer == IMAGE_OUTSIDE)
            return fail(c->e, ERR_VALUE, offset,
                        "tensor %zu: layer %u: a router of %llu x %llu in form %u of rank %u cannot be", row, layer,
                        (unsigned long long)rows, (unsigned long long)cols, type, count);
        route = (struct route_shape){ (enum route_form)type, (size_t)rows, (size_t)cols, count };
        type = WEIGHT_F32;
        count = 1;
    }
    const struct weight_kind *kind = weight_kind(type);
    if (p[2] > IMAGE_ROUTE || p[3] != 0 || (layer != IMAGE_OUTSIDE && layer >= LAYERS_MAX) || le_u64(p + 56) != 0)
        return fail(c->e, ERR_VALUE, offset, "tensor %zu: kind %u of layer %u is not known", row, p[2], layer);
    if (kind == NULL || (p[2] == IMAGE_ROWS && type != WEIGHT_F32))
        return fail(c->e, ERR_UNSUPPORTED, offset + 8, "tensor %zu: weights of type %u are not computed here", row,
                    type);
    if (rows < 1 || rows > DIM_MAX || cols < 1 || cols > DIM_MAX || cols % kind->block_values != 0 || count < 1 ||
        count > EXPERTS_MAX || (p[2] <= IMAGE_MATRIX && count != 1) || at > c->image_bytes || bytes > c->image_bytes ||
        stride > c->image_bytes)
        return fail(c->e, ERR_VALUE, offset,
                    "tensor %zu: %u times %llu x %llu of %s at %llu, %llu bytes each %llu, cannot be", row, count,
                    (unsigned long long)rows, (unsigned long long)cols, kind->name, (unsigned long long)at,
                    (unsigned long long)bytes, (unsigned long long)stride);
    *t = (struct image_tensor){ .kind = (enum image_kind)p[2],
                                .slot = le_u16(p),
                                .layer = layer,
                                .type = kind->type,
                                .route = route,
                                .count = count,
                                .rows = (size_t)rows,
                                .cols = (size_t)cols,
                                .offset = (size_t)at,
                                .bytes = (size_t)bytes,
                                .stride = (size_t)stride };
    memcpy(t->hash, p + 64, IMAGE_HASH_BYTES);
    return true;
}

/* The bytes of a router's second form, as docs/format/image.md adds them up; every term is under 2^30. */
static size_t route_bytes_wanted(const struct route_shape *s)
{
    size_t groups = (s->cols + 63) / 64, codes = s->experts * groups * 64;
    size_t scales = s->experts * ((groups + 31) / 32 * 64);
    size_t facts = (s->experts * 16 + 63) / 64 * 64, rows = (s->experts * s->cols * 2 + 63) / 64 * 64;
    switch (s->form) {
    case ROUTE_BF16: return rows;
    case ROUTE_PLANES: return facts + scales + 2 * codes;
    case ROUTE_PLANES_BF16: return facts + scales + codes + rows;
    case ROUTE_FACTOR:
        return facts + (s->rank * s->cols * 2 + 63) / 64 * 64 + (s->experts * s->rank * 2 + 63) / 64 * 64;
    default: return 0;
    }
}

/* The bytes a matrix must have: 16 rows of whole blocks side by side, each such tile a multiple of 64 bytes. At most
 * 2^21 rows of 2^21 values of 4 bytes: no step wraps. */
static size_t bytes_wanted(const struct image_tensor *t)
{
    const struct weight_kind *kind = weight_kind(t->type);
    if (t->kind == IMAGE_ROWS) return t->rows * t->cols * 4;
    if (t->kind == IMAGE_ROUTE) return route_bytes_wanted(&t->route);
    size_t tile = t->cols / kind->block_values * kind->block_bytes * 16;
    return (t->rows + 15) / 16 * ((tile + 63) / 64 * 64);
}

/* There is one right place and one right size, so the check is an equality: an offset is never used to compute with
 * before it is known to be that. */
static bool placed_badly(const struct checker *c, size_t row, const struct image_tensor *t, size_t want_offset,
                         size_t want_stride)
{
    size_t want = bytes_wanted(t);
    if (t->offset == want_offset && t->bytes == want && t->stride == want_stride) return false;
    err_set(c->e, ERR_VALUE, c->sections[IMAGE_TENSORS_SECTION].offset + row * IMAGE_TENSOR_BYTES + 32,
            "tensor %zu: %zu bytes at %zu, %zu apart, must be %zu at %zu, %zu apart", row, t->bytes, t->offset,
            t->stride, want, want_offset, want_stride);
    return true;
}

/* Three rows of a layer's experts in extents of their own. */
static bool check_group(const struct checker *c, size_t row, struct image_tensor *t, size_t *at)
{
    bool whole = row + 3 <= c->tensors;
    for (size_t i = 1; whole && i < 3; i++)
        whole = t[i].kind == IMAGE_EXPERT && t[i].layer == t[0].layer && t[i].count == t[0].count;
    if (!whole || t[0].layer == IMAGE_OUTSIDE)
        return fail(c->e, ERR_VALUE, c->sections[IMAGE_TENSORS_SECTION].offset + row * IMAGE_TENSOR_BYTES,
                    "tensor %zu: experts without gate, up and down of one layer", row);
    size_t begin = round_up(*at, IMAGE_EXTENT_ALIGN), inside = begin;
    size_t extent = round_up(bytes_wanted(&t[0]) + bytes_wanted(&t[1]) + bytes_wanted(&t[2]), IMAGE_EXTENT_ALIGN);
    for (size_t i = 0; i < 3; i++) {
        if (placed_badly(c, row + i, &t[i], inside, extent)) return false;
        inside += t[i].bytes;
    }
    size_t all = extent * t[0].count; /* under 2^47 * 2^10 */
    if (begin > c->image_bytes || all > c->image_bytes - begin)
        return fail(c->e, ERR_TRUNCATED, c->image_bytes, "tensor %zu: %zu experts of %zu bytes at %zu pass the end",
                    row, t[0].count, extent, begin);
    *at = begin + all;
    return true;
}

/* Walks the table as the data lie. `at` is the end of what came before; it never passes the image's length. */
static bool check_places(const struct checker *c, struct image_tensor *tensors)
{
    size_t at = c->sections[IMAGE_DATA_SECTION].offset;
    for (size_t i = 0; i < c->tensors;) {
        struct image_tensor *t = &tensors[i];
        if (t->kind == IMAGE_EXPERT) {
            if (!check_group(c, i, t, &at)) return false;
            i += 3;
            continue;
        }
        size_t begin = round_up(at, IMAGE_ALIGN), want = bytes_wanted(t), all = want * t->count;
        if (placed_badly(c, i, t, begin, want)) return false;
        if (begin > c->image_bytes || all > c->image_bytes - begin)
            return fail(c->e, ERR_TRUNCATED, c->image_bytes, "tensor %zu: %zu bytes at %zu pass the end", i, all,
                        begin);
        at = begin + all;
        i++;
    }
    if (round_up(at, IMAGE_ALIGN) != c->image_bytes)
        return fail(c->e, ERR_VALUE, at, "data: ends at %zu, the image at %zu", round_up(at, IMAGE_ALIGN),
                    c->image_bytes);
    return true;
}

/* Ascending by (layer, slot), those outside the layers first: so no slot comes twice. */
static bool check_order(const struct checker *c, const struct image_tensor *tensors)
{
    for (size_t i = 1; i < c->tensors; i++) {
        const struct image_tensor *a = &tensors[i - 1], *b = &tensors[i];
        uint32_t before = a->layer + 1, here = b->layer + 1; /* IMAGE_OUTSIDE becomes 0 */
        if (before > here || (before == here && a->slot >= b->slot))
            return fail(c->e, ERR_VALUE, c->sections[IMAGE_TENSORS_SECTION].offset + i * IMAGE_TENSOR_BYTES,
                        "tensor %zu: slot %u of layer %u stands behind slot %u of layer %u", i, b->slot, b->layer,
                        a->slot, a->layer);
    }
    return true;
}

size_t image_router_of(const struct image_tensor *tensors, size_t count, size_t route)
{
    const struct image_tensor *t = &tensors[route];
    for (size_t i = 0; i < count; i++)
        if (tensors[i].kind == IMAGE_ROWS && tensors[i].layer == t->layer && tensors[i].rows == t->rows &&
            tensors[i].cols == t->cols)
            return i;
    return SIZE_MAX;
}

/* A second form of no first one has nothing to be a form of. */
static bool check_routes(const struct checker *c, const struct image_tensor *tensors)
{
    for (size_t i = 0; i < c->tensors; i++)
        if (tensors[i].kind == IMAGE_ROUTE && image_router_of(tensors, c->tensors, i) == SIZE_MAX)
            return fail(c->e, ERR_VALUE, c->sections[IMAGE_TENSORS_SECTION].offset + i * IMAGE_TENSOR_BYTES,
                        "tensor %zu: layer %u has no rows of %zu x %zu that it could be a form of", i,
                        tensors[i].layer, tensors[i].rows, tensors[i].cols);
    return true;
}

/* The order is checked before the places: places are walked in the order of the table. */
static bool take_tensors(const struct checker *c, image *out)
{
    out->tensor_count = c->tensors;
    out->tensors = ARENA_ARRAY(c->arena, struct image_tensor, c->tensors, "tensor table", c->e);
    if (out->tensors == NULL) return false;
    for (size_t i = 0; i < c->tensors; i++)
        if (!take_numbers(c, i, &out->tensors[i])) return false;
    return check_order(c, out->tensors) && check_places(c, out->tensors) && check_routes(c, out->tensors);
}

/* ---- extents ---- */

/* The rows say again what the tensors said: one for each expert of each group, in order. */
static bool take_extents(const struct checker *c, image *out)
{
    size_t row = 0;
    out->extent_count = c->extents;
    out->extents = ARENA_ARRAY(c->arena, struct image_extent, c->extents, "extents table", c->e);
    if (out->extents == NULL) return false;
    for (size_t i = 0; i < out->tensor_count; i++) {
        const struct image_tensor *t = &out->tensors[i];
        if (t->kind != IMAGE_EXPERT) continue;
        for (size_t x = 0; x < t->count && row < c->extents; x++, row++) {
            const uint8_t *p = section(c, IMAGE_EXTENTS_SECTION).ptr + row * IMAGE_EXTENT_BYTES;
            if (le_u32(p) != t->layer || le_u32(p + 4) != x || le_u64(p + 8) != t->offset + x * t->stride ||
                le_u64(p + 16) != t->stride || le_u64(p + 56) != 0)
                return fail(c->e, ERR_VALUE, (uint64_t)(p - c->head.ptr),
                            "extent %zu: not where expert %zu of layer %u is", row, x, t->layer);
            out->extents[row] = (struct image_extent){
                .layer = t->layer, .expert = (uint32_t)x, .offset = t->offset + x * t->stride, .bytes = t->stride
            };
            memcpy(out->extents[row].hash, p + 24, IMAGE_HASH_BYTES);
        }
        i += 2; /* up and down lie in the same extents */
    }
    size_t want = 0;
    for (size_t i = 0; i < out->tensor_count; i++)
        if (out->tensors[i].kind == IMAGE_EXPERT) want += out->tensors[i].count;
    return want / 3 == c->extents || fail(c->e, ERR_VALUE, IMAGE_AT_EXTENTS,
                                          "extents table: %zu rows, the tensors have %zu "
                                          "experts",
                                          c->extents, want / 3);
}

/* ---- all ---- */

bool image_check_parts(view bytes, unsigned parts, arena *a, image *out, err *e)
{
    struct checker c = { .arena = a, .e = e };
    assert((uintptr_t)bytes.ptr % IMAGE_ALIGN == 0);
    bool head_alone = !(parts & IMAGE_WEIGHTS);
    uint8_t header[IMAGE_HEADER_BYTES];
    *out = (image){ .bytes = bytes };
    if (!read_header(bytes, head_alone, &c)) return false;
    memcpy(header, bytes.ptr, sizeof header);
    /* From here on the header is the copy, and with the data's place the rest of the head is copied too. */
    if (!read_header((view){ header, bytes.len_bytes }, head_alone, &c) || !read_sections(header, &c) ||
        !check_counts(&c))
        return false;
    size_t head_bytes = c.sections[IMAGE_DATA_SECTION].offset;
    if (head_bytes > bytes.len_bytes)
        return fail(e, ERR_TRUNCATED, bytes.len_bytes, "image: its head has %zu bytes, here are %zu", head_bytes,
                    bytes.len_bytes);
    if (!arena_copy(a, (view){ bytes.ptr, head_bytes }, &c.head, "image head", e)) return false;
    memcpy((void *)(uintptr_t)c.head.ptr, header, sizeof header);
    out->data_offset = head_bytes;
    memcpy(out->identity, header + IMAGE_AT_IDENTITY, IMAGE_HASH_BYTES);
    out->chat_template = section(&c, IMAGE_TEMPLATE_SECTION);
    if (!check_gaps(&c) || !take_fields(&c, out) || ((parts & IMAGE_TEXTS) && !take_vocab(&c, out))) return false;
    return head_alone || (take_tensors(&c, out) && take_extents(&c, out));
}

bool image_check(view bytes, arena *a, image *out, err *e)
{
    return image_check_parts(bytes, IMAGE_TEXTS | IMAGE_WEIGHTS, a, out, e);
}

size_t image_head_bytes(view first)
{
    if (first.len_bytes < IMAGE_HEADER_BYTES || !image_is(first)) return 0;
    uint64_t bytes = le_u64(first.ptr + IMAGE_AT_SECTIONS + 16 * IMAGE_DATA_SECTION);
    return bytes > SIZE_MAX / 2 ? 0 : (size_t)bytes;
}
