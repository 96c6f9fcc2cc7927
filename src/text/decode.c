/* From ids back to text. A token reads as its family writes it: "Ġ" and its alphabet are bytes, "▁" is a blank,
 * "<0x0A>" is a byte; control tokens read as nothing unless asked for. */
#include "base/checked.h"
#include "base/utf8.h"
#include "text/part.h"

#include <assert.h>

/* The byte that "<0x0A>" names, or -1. */
int byte_token_value(view text)
{
    static const char DIGITS[] = "0123456789ABCDEF";
    if (text.len_bytes != 6 || !view_starts(text, view_of("<0x")) || text.ptr[5] != '>') return -1;
    const char *high = memchr(DIGITS, text.ptr[3], 16), *low = memchr(DIGITS, text.ptr[4], 16);
    return high == NULL || low == NULL ? -1 : (int)((high - DIGITS) * 16 + (low - DIGITS));
}

static size_t copy(view text, uint8_t *out)
{
    memcpy(out, text.ptr, text.len_bytes);
    return text.len_bytes;
}

/* Byte-level alphabet to bytes; a text with a character outside of it is an added token, which reads as it is. */
static size_t read_alphabet(view text, uint8_t *out)
{
    size_t count = 0;
    for (size_t at = 0, len; at < text.len_bytes; at += len) {
        uint32_t code = utf8_next(view_after(text, at), &len);
        int byte = code == UTF8_INVALID ? -1 : code_to_byte(code);
        if (byte < 0) return copy(text, out);
        out[count++] = (uint8_t)byte;
    }
    return count;
}

static size_t read_blank_marks(view text, uint8_t *out)
{
    size_t count = 0;
    for (size_t at = 0; at < text.len_bytes;) {
        bool blank = is_blank_mark(text.ptr + at, text.len_bytes - at);
        out[count++] = blank ? ' ' : text.ptr[at];
        at += blank ? sizeof BLANK_MARK : 1;
    }
    return count;
}

bool tokenizer_piece(const tokenizer *t, int32_t id, bool show_special, uint8_t out[static TOKEN_BYTES_MAX],
                     size_t *len_bytes, err *e)
{
    *len_bytes = 0;
    if (id < 0 || (size_t)id >= t->facts.token_count)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "token id: %d, the vocabulary has 0..%zu", (int)id,
                    t->facts.token_count - 1);
    view text = index_text(&t->index, id);
    enum token_kind kind = t->kinds[id];
    int byte = byte_token_value(text);
    if (kind == TOKEN_CONTROL || kind == TOKEN_UNKNOWN) {
        if (show_special) *len_bytes = copy(text, out);
    } else if (kind == TOKEN_BYTE && byte >= 0) {
        out[0] = (uint8_t)byte;
        *len_bytes = 1;
    } else if (t->facts.model == TOKENIZER_BPE) {
        *len_bytes = kind == TOKEN_USER_DEFINED ? copy(text, out) : read_alphabet(text, out);
    } else {
        *len_bytes = read_blank_marks(text, out);
    }
    return true;
}

/* Whether encoding put a blank in front of the text. */
static bool has_prefix(const tokenizer *t)
{
    if (t->facts.model == TOKENIZER_WORDPIECE) return true; /* each word's own */
    return t->facts.model != TOKENIZER_BPE && (t->add_space_prefix || t->remove_extra_whitespaces);
}

bool decoder_next(decoder *d, const tokenizer *t, int32_t id, bool show_special, uint8_t out[static TOKEN_BYTES_MAX],
                  size_t *len_bytes, err *e)
{
    if (!tokenizer_piece(t, id, show_special, out, len_bytes, e)) return false;
    if (t->kinds[id] == TOKEN_CONTROL) {
        d->inside = false;
        return true;
    }
    bool strip = !d->inside && has_prefix(t) && *len_bytes > 0 && out[0] == ' ' && t->kinds[id] != TOKEN_BYTE;
    if (strip) memmove(out, out + 1, --*len_bytes);
    d->inside = true;
    return true;
}

bool tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, bool show_special, uint8_t *out,
                      size_t out_max, size_t *len_bytes, err *e)
{
    decoder d = { 0 };
    uint8_t piece[TOKEN_BYTES_MAX];
    *len_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        size_t piece_bytes;
        if (!decoder_next(&d, t, ids[i], show_special, piece, &piece_bytes, e)) return false;
        if (piece_bytes > out_max - *len_bytes)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "text of %zu tokens: over the %zu bytes there is room for", count,
                        out_max);
        memcpy(out + *len_bytes, piece, piece_bytes);
        *len_bytes += piece_bytes;
    }
    return true;
}
