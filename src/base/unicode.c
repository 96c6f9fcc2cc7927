/* Unicode facts and composition: see unicode.h. The tables are unicode_tables.c.
 *
 * Composition works on one array of marked codes, in place: decompose all, sort the marks behind each starter by
 * combining class (a counting sort where there are many: a megabyte of accents must stay linear), compose, write UTF-8.
 *
 *   marked code:  combining class << 24 | code          a byte that is no UTF-8: code 0x110000 + byte, class 0 */
#include "base/unicode.h"

#include "base/checked.h"
#include "base/unicode_tables.h"
#include "base/utf8.h"

#include <assert.h>

enum {
    CODE_MASK = 0xFFFFFF,
    RAW_BYTE = 0x110000,
    /* Hangul syllables are arithmetic: Unicode 15, 3.12. */
    HANGUL_S = 0xAC00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11A7,
    HANGUL_L_COUNT = 19,
    HANGUL_V_COUNT = 21,
    HANGUL_T_COUNT = 28,
    HANGUL_COUNT = HANGUL_L_COUNT * HANGUL_V_COUNT * HANGUL_T_COUNT
};

static const struct unicode_record *record_of(uint32_t code)
{
    if (code > 0x10FFFF) code = 0x10FFFF; /* a noncharacter: assigned as little as what lies above */
    size_t block = min_size(code >> UNICODE_BLOCK_BITS, UNICODE_BLOCK_COUNT - 1);
    size_t low = code & ((1u << UNICODE_BLOCK_BITS) - 1);
    return &UNICODE_RECORDS[UNICODE_RECORD_OF[(size_t)UNICODE_BLOCKS[block] << UNICODE_BLOCK_BITS | low]];
}

struct unicode_facts unicode_facts_of(uint32_t code)
{
    const struct unicode_record *r = record_of(code);
    return (struct unicode_facts){ (enum unicode_category)r->category, r->flags, r->combining };
}

uint32_t unicode_lower(uint32_t code)
{
    return (uint32_t)((int32_t)code + record_of(code)->lower);
}

size_t unicode_upper(uint32_t code, uint32_t out[static UNICODE_UPPER_MAX])
{
    size_t count = 1;
    out[0] = (uint32_t)((int32_t)code + record_of(code)->upper);
    if (code < 0x80) return 1;
    for (size_t i = 0; i < UNICODE_UPPER_COUNT; i++) {
        if (UNICODE_UPPER[i].code != code) continue;
        memcpy(out, UNICODE_UPPER[i].becomes, sizeof UNICODE_UPPER[i].becomes);
        while (count < UNICODE_UPPER_MAX && out[count] != 0) count++;
    }
    return count;
}

size_t unicode_decompose(uint32_t code, uint32_t out[static UNICODE_DECOMPOSED_MAX])
{
    out[0] = code;
    if (code >= HANGUL_S && code < HANGUL_S + HANGUL_COUNT) {
        uint32_t s = code - HANGUL_S;
        out[0] = HANGUL_L + s / (HANGUL_V_COUNT * HANGUL_T_COUNT);
        out[1] = HANGUL_V + s / HANGUL_T_COUNT % HANGUL_V_COUNT;
        out[2] = HANGUL_T + s % HANGUL_T_COUNT;
        return s % HANGUL_T_COUNT == 0 ? 2 : 3;
    }
    if (code < 0xC0 || (record_of(code)->flags & UNICODE_DECOMPOSES) == 0) return 1;
    size_t low = 0, high = UNICODE_DECOMPOSED_COUNT;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (UNICODE_DECOMPOSED[middle].code <= code) low = middle;
        else high = middle;
    }
    const struct unicode_decomposed *d = &UNICODE_DECOMPOSED[low];
    assert(d->code == code && d->count <= UNICODE_DECOMPOSED_MAX);
    for (size_t i = 0; i < d->count; i++) out[i] = UNICODE_DECOMPOSED_CODES[d->at + i];
    return d->count;
}

/* The primary composite of two codes, or 0. */
static uint32_t compose(uint32_t first, uint32_t second)
{
    if (first >= HANGUL_L && first < HANGUL_L + HANGUL_L_COUNT && second >= HANGUL_V &&
        second < HANGUL_V + HANGUL_V_COUNT)
        return HANGUL_S + ((first - HANGUL_L) * HANGUL_V_COUNT + (second - HANGUL_V)) * HANGUL_T_COUNT;
    if (first >= HANGUL_S && first < HANGUL_S + HANGUL_COUNT && (first - HANGUL_S) % HANGUL_T_COUNT == 0 &&
        second > HANGUL_T && second < HANGUL_T + HANGUL_T_COUNT)
        return first + (second - HANGUL_T);
    size_t low = 0, high = UNICODE_COMPOSED_COUNT;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct unicode_composed *c = &UNICODE_COMPOSED[middle];
        if (c->first == first && c->second == second) return c->code;
        if (c->first < first || (c->first == first && c->second < second)) low = middle + 1;
        else high = middle;
    }
    return 0;
}

/* True where the text is in form C beyond doubt (UAX 15, section 9). */
static bool surely_nfc(view text)
{
    uint8_t last = 0;
    for (size_t at = 0, len; at < text.len_bytes; at += len) {
        len = 1;
        if (text.ptr[at] < 0x80) {
            last = 0;
            continue;
        }
        uint32_t code = utf8_next(view_after(text, at), &len);
        const struct unicode_record *r = code == UTF8_INVALID ? record_of(0) : record_of(code);
        if ((r->flags & UNICODE_NFC_UNSURE) != 0 || (r->combining != 0 && r->combining < last)) return false;
        last = r->combining;
    }
    return true;
}

static size_t decompose_all(view text, uint32_t *codes)
{
    size_t count = 0;
    for (size_t at = 0, len; at < text.len_bytes; at += len) {
        uint32_t parts[UNICODE_DECOMPOSED_MAX], code = utf8_next(view_after(text, at), &len);
        if (code == UTF8_INVALID) {
            for (size_t i = 0; i < len; i++) codes[count++] = RAW_BYTE + text.ptr[at + i];
            continue;
        }
        size_t part_count = unicode_decompose(code, parts);
        for (size_t i = 0; i < part_count; i++)
            codes[count++] = (uint32_t)record_of(parts[i])->combining << 24 | parts[i];
    }
    return count;
}

/* Stable, by combining class. `spare` has room for count codes. */
static void sort_marks(uint32_t *marks, size_t count, uint32_t *spare)
{
    if (count <= 16) {
        for (size_t i = 1; i < count; i++) {
            uint32_t mark = marks[i];
            size_t at = i;
            for (; at > 0 && marks[at - 1] >> 24 > mark >> 24; at--) marks[at] = marks[at - 1];
            marks[at] = mark;
        }
        return;
    }
    size_t begin[257] = { 0 };
    for (size_t i = 0; i < count; i++) begin[(marks[i] >> 24) + 1]++;
    for (size_t i = 1; i < 257; i++) begin[i] += begin[i - 1];
    for (size_t i = 0; i < count; i++) spare[begin[marks[i] >> 24]++] = marks[i];
    memcpy(marks, spare, count * sizeof *marks);
}

static void order_all(uint32_t *codes, size_t count, uint32_t *spare)
{
    for (size_t at = 0; at < count;) {
        size_t end = at;
        while (end < count && codes[end] >> 24 != 0) end++;
        sort_marks(codes + at, end - at, spare);
        at = end + 1;
    }
}

/* Composes in place: a code joins the last starter unless a code between them blocks it (Unicode 15, D115). Returns the
 * new count. */
static size_t compose_all(uint32_t *codes, size_t count)
{
    size_t kept = 0, starter = SIZE_MAX;
    uint32_t last = 0; /* class of the code kept last after the starter; 0: none */
    for (size_t i = 0; i < count; i++) {
        uint32_t class = codes[i] >> 24, code = codes[i] & CODE_MASK;
        bool blocked = starter == SIZE_MAX || (kept > starter + 1 && last >= class);
        uint32_t joined = blocked ? 0 : compose(codes[starter] & CODE_MASK, code);
        if (joined != 0) {
            codes[starter] = joined;
            continue;
        }
        if (class == 0) starter = kept;
        last = class;
        codes[kept++] = codes[i];
    }
    return kept;
}

/* A code of n bytes decomposes into at most 1.5 n codes (U+0390: 2 bytes, 3 codes) and composes into at most 3 n bytes
 * (U+1D160, excluded from composition: 4 bytes, 12). */
enum { NFC_CODES_PER_2_BYTES = 3, NFC_GROWTH = 3 };

size_t unicode_nfc_bytes(size_t text_bytes)
{
    size_t codes = ceil_div(text_bytes * NFC_CODES_PER_2_BYTES, 2);
    return text_bytes * NFC_GROWTH + 2 * codes * sizeof(uint32_t) + 16;
}

bool unicode_nfc(view text, arena *a, view *out, err *e)
{
    *out = text;
    if (surely_nfc(text)) return true;
    size_t room, bytes = 0;
    if (!mul_size(text.len_bytes, NFC_CODES_PER_2_BYTES, &room))
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "text: %zu bytes, too many to normalize", text.len_bytes);
    room = ceil_div(room, 2);
    uint8_t *text_out = ARENA_ARRAY(a, uint8_t, text.len_bytes * NFC_GROWTH, "normalized text", e);
    uint32_t *codes = ARENA_ARRAY(a, uint32_t, room, "normalized text", e);
    uint32_t *spare = ARENA_ARRAY(a, uint32_t, room, "normalized text", e);
    if (text_out == NULL || codes == NULL || spare == NULL) return false;
    size_t count = decompose_all(text, codes);
    assert(count <= room);
    order_all(codes, count, spare);
    count = compose_all(codes, count);
    for (size_t i = 0; i < count; i++) {
        uint32_t code = codes[i] & CODE_MASK;
        if (code < RAW_BYTE) bytes += utf8_put(code, text_out + bytes);
        else text_out[bytes++] = (uint8_t)(code - RAW_BYTE);
    }
    *out = (view){ text_out, bytes };
    return true;
}
