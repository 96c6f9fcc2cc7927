/* Numbers digit by digit: see number.h. One machine reads all constraints at once; its state is
 *
 *   phase | digits of this part | nonzero seen | one or two words for each atom
 *
 * A bound's word holds how many digits were compared and how it stands (equal so far, less, more), sign left out; a
 * divisor's holds the remainder. */
#include "grammar/number.h"

#include <assert.h>

/* ---- decimals ---- */

bool decimal_of(view text, struct decimal *out, arena *a)
{
    err ignored = { 0 };
    int64_t exponent = 0, point = -1;
    size_t at = 0, count = 0;
    uint8_t *digits = ARENA_ARRAY(a, uint8_t, text.len_bytes + DECIMAL_DIGITS_MAX + 2, "number", &ignored);
    if (digits == NULL) return false;
    *out = (struct decimal){ .negative = text.len_bytes > 0 && text.ptr[0] == '-' };
    for (at = out->negative; at < text.len_bytes && (text.ptr[at] | 32) != 'e'; at++) {
        if (text.ptr[at] == '.') point = (int64_t)count;
        else digits[count++] = text.ptr[at];
    }
    if (point < 0) point = (int64_t)count;
    bool less = at + 1 < text.len_bytes && text.ptr[at + 1] == '-';
    for (at++; at < text.len_bytes; at++)
        if (text.ptr[at] >= '0' && text.ptr[at] <= '9' && exponent < 100000)
            exponent = exponent * 10 + (text.ptr[at] - '0');
    point += less ? -exponent : exponent;
    size_t first = 0;
    while (first < count && digits[first] == '0') first++;
    while (count > first && digits[count - 1] == '0') count--;
    out->zero = first == count;
    if (out->zero) point = 0, first = count = 0, out->negative = false;
    point -= (int64_t)first;
    if (point > DECIMAL_DIGITS_MAX || point < -DECIMAL_DIGITS_MAX || count - first > DECIMAL_DIGITS_MAX) return false;
    size_t n = count - first;
    memmove(digits, digits + first, n);
    if (point <= 0) { /* 0.000ddd */
        memmove(digits + (size_t)-point, digits, n);
        memset(digits, '0', (size_t)-point);
        out->whole = view_of("0");
        out->part = (view){ digits, out->zero ? 0 : n + (size_t)-point };
    } else { /* ddd000 or dd.d */
        for (size_t i = n; i < (size_t)point; i++) digits[i] = '0';
        out->whole = (view){ digits, (size_t)point };
        out->part = (view){ digits + point, n > (size_t)point ? n - (size_t)point : 0 };
    }
    return true;
}

static int text_order(view a, view b)
{
    size_t both = a.len_bytes < b.len_bytes ? a.len_bytes : b.len_bytes;
    int order = both > 0 ? memcmp(a.ptr, b.ptr, both) : 0;
    if (order != 0) return order < 0 ? -1 : 1;
    return a.len_bytes < b.len_bytes ? -1 : a.len_bytes > b.len_bytes;
}

int decimal_order(const struct decimal *a, const struct decimal *b)
{
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    int order = a->whole.len_bytes != b->whole.len_bytes ? (a->whole.len_bytes < b->whole.len_bytes ? -1 : 1)
                                                         : text_order(a->whole, b->whole);
    if (order == 0) order = text_order(a->part, b->part);
    return a->negative ? -order : order;
}

bool decimal_equal(const struct decimal *a, const struct decimal *b)
{
    return decimal_order(a, b) == 0;
}

bool decimal_is_integer(const struct decimal *d)
{
    return d->part.len_bytes == 0;
}

bool decimal_text(const struct decimal *d, view *out, arena *a, err *e)
{
    size_t len = d->negative + d->whole.len_bytes + (d->part.len_bytes > 0) + d->part.len_bytes, at = 0;
    uint8_t *text = ARENA_ARRAY(a, uint8_t, len, "number", e);
    if (text == NULL) return false;
    if (d->negative) text[at++] = '-';
    if (d->whole.len_bytes > 0) memcpy(text + at, d->whole.ptr, d->whole.len_bytes);
    at += d->whole.len_bytes;
    if (d->part.len_bytes > 0) {
        text[at++] = '.';
        if (d->part.len_bytes > 0) memcpy(text + at, d->part.ptr, d->part.len_bytes);
    }
    *out = (view){ text, len };
    return true;
}

bool number_multiple(struct number_atom *atom)
{
    uint64_t divisor = 0;
    const view parts[] = { atom->d.whole, atom->d.part };
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < parts[i].len_bytes; j++) {
            divisor = divisor * 10 + (uint64_t)(parts[i].ptr[j] - '0');
            if (divisor > NUMBER_DIVISOR_MAX) return false;
        }
    atom->divisor = (uint32_t)divisor;
    atom->places = (uint32_t)atom->d.part.len_bytes;
    return divisor > 0 && atom->places <= NUMBER_PLACES;
}

/* ---- the machine ---- */

enum phase { START, MINUS, ZERO, DIGITS, POINT, PLACES, EXPONENT, EXPONENT_SIGN, EXPONENT_DIGITS };
enum { WORD_PHASE, WORD_COUNT, WORD_NONZERO, WORD_ATOMS, SIGN = 16 /* bit of WORD_PHASE */ };
enum { SAME, LESS, MORE };

struct numbers {
    const struct number_atom *atoms;
    uint32_t count;
    uint32_t digits; /* allowed before the point */
};

/* A bound's word: digits compared << 2 | how it stands. */
static uint32_t compare_digit(view digits, uint32_t word, uint8_t digit, bool whole)
{
    uint32_t at = word >> 2, stands = word & 3;
    if (at >= digits.len_bytes) { /* one more than the bound has */
        if (whole) return (uint32_t)(digits.len_bytes + 1) << 2 | MORE;
        return stands == SAME && digit > '0' ? at << 2 | MORE : word;
    }
    if (stands == SAME && digit != digits.ptr[at]) stands = digit < digits.ptr[at] ? LESS : MORE;
    if (!whole && stands != SAME) return stands; /* settled: the place no longer matters */
    return (at + 1) << 2 | stands;
}

/* How the whole part stands once it is over. */
static uint32_t compare_whole(view digits, uint32_t word)
{
    uint32_t at = word >> 2;
    return at < digits.len_bytes ? LESS : word & 3;
}

static int order_of(const struct number_atom *atom, const uint32_t *at, uint32_t word)
{
    uint32_t phase = at[WORD_PHASE] & 15;
    bool negative = (at[WORD_PHASE] & SIGN) != 0;
    uint32_t stands = phase == PLACES ? word & 3 : compare_whole(atom->d.whole, word);
    uint32_t compared = phase == PLACES ? word >> 2 : 0;
    if (stands == SAME && compared < atom->d.part.len_bytes) stands = LESS; /* its last place is not zero */
    if (negative != atom->d.negative) return negative ? -1 : 1;
    int order = stands == SAME ? 0 : stands == LESS ? -1 : 1;
    return negative ? -order : order;
}

static uint32_t power10(uint32_t places, uint32_t divisor)
{
    uint64_t power = 1 % divisor;
    for (uint32_t i = 0; i < places; i++) power = power * 10 % divisor;
    return (uint32_t)power;
}

/* A divisor's word: the remainder; divisor: it can not be a multiple any more. */
static uint32_t remainder_digit(const struct number_atom *atom, uint32_t word, uint32_t digit, uint32_t place,
                                bool whole)
{
    uint64_t p = atom->divisor;
    if (word == atom->divisor) return word;
    if (whole) return (uint32_t)((word * UINT64_C(10) + digit) % p);
    if (place >= atom->places) return digit == 0 ? word : atom->divisor;
    return (uint32_t)((word + (uint64_t)digit * power10(atom->places - 1 - place, atom->divisor)) % p);
}

static bool step_digit(const struct numbers *n, const uint32_t *from, uint8_t byte, uint32_t *to)
{
    uint32_t phase = from[WORD_PHASE] & 15, digit = (uint32_t)(byte - '0');
    bool whole = phase <= MINUS || phase == DIGITS;
    if (phase == ZERO) return false;
    if (phase <= MINUS) phase = digit == 0 ? ZERO : DIGITS;
    if (phase == POINT) phase = PLACES;
    to[WORD_PHASE] = phase | (from[WORD_PHASE] & SIGN);
    to[WORD_COUNT] = phase == ZERO ? 0 : from[WORD_COUNT] + 1;
    to[WORD_NONZERO] = from[WORD_NONZERO] | (digit != 0 ? (whole ? 1u : 3u) : 0);
    if (to[WORD_COUNT] > (whole ? n->digits : NUMBER_PLACES)) return false;
    for (uint32_t i = 0; i < n->count; i++) {
        const struct number_atom *atom = &n->atoms[i];
        uint32_t word = from[WORD_ATOMS + i];
        if (atom->op == NUMBER_MULTIPLE) word = remainder_digit(atom, word, digit, from[WORD_COUNT], whole);
        else if (atom->op != NUMBER_INTEGER)
            word = compare_digit(whole ? atom->d.whole : atom->d.part, word, byte, whole);
        to[WORD_ATOMS + i] = word;
    }
    return true;
}

static bool step_point(const struct numbers *n, const uint32_t *from, uint32_t *to)
{
    uint32_t phase = from[WORD_PHASE] & 15;
    if (phase != ZERO && phase != DIGITS) return false;
    to[WORD_PHASE] = POINT | (from[WORD_PHASE] & SIGN);
    to[WORD_NONZERO] = from[WORD_NONZERO];
    for (uint32_t i = 0; i < n->count; i++) {
        const struct number_atom *atom = &n->atoms[i];
        uint32_t word = from[WORD_ATOMS + i];
        if (atom->op == NUMBER_INTEGER && !atom->negate) return false;
        if (atom->op == NUMBER_MULTIPLE)
            word = (uint32_t)((uint64_t)word * power10(atom->places, atom->divisor) % atom->divisor);
        else if (atom->op != NUMBER_INTEGER) word = compare_whole(atom->d.whole, word);
        to[WORD_ATOMS + i] = word;
    }
    return true;
}

static bool step_exponent(const struct numbers *n, const uint32_t *from, uint8_t byte, uint32_t *to)
{
    uint32_t phase = from[WORD_PHASE] & 15;
    memcpy(to, from, WORD_ATOMS * sizeof *to);
    to[WORD_COUNT] = 0;
    if (byte == 'e' || byte == 'E') {
        if (n->count > 0 || (phase != ZERO && phase != DIGITS && phase != PLACES)) return false;
        if (from[WORD_NONZERO] == 0) return false;
        to[WORD_PHASE] = EXPONENT;
    } else if (byte == '+' || byte == '-') {
        if (phase != EXPONENT) return false;
        to[WORD_PHASE] = EXPONENT_SIGN;
    } else {
        if (phase < EXPONENT || from[WORD_COUNT] == 2) return false;
        to[WORD_PHASE] = EXPONENT_DIGITS;
        to[WORD_COUNT] = phase == EXPONENT_DIGITS ? from[WORD_COUNT] + 1 : 1;
    }
    return true;
}

static bool number_step(const void *ctx, const uint32_t *from, uint8_t byte, uint32_t *to)
{
    const struct numbers *n = ctx;
    uint32_t phase = from[WORD_PHASE] & 15;
    if (byte == '-' && phase == START) {
        memcpy(to, from, (WORD_ATOMS + n->count) * sizeof *to);
        to[WORD_PHASE] = MINUS | SIGN;
        return true;
    }
    if (byte == '.') return step_point(n, from, to);
    if (byte >= '0' && byte <= '9' && phase < EXPONENT) return step_digit(n, from, byte, to);
    return step_exponent(n, from, byte, to);
}

static bool atom_holds(const struct number_atom *atom, const uint32_t *at, uint32_t word)
{
    uint32_t phase = at[WORD_PHASE] & 15;
    int order = atom->op == NUMBER_INTEGER || atom->op == NUMBER_MULTIPLE ? 0 : order_of(atom, at, word);
    uint64_t rest = word;
    switch (atom->op) {
    case NUMBER_INTEGER:
        return atom->negate == ((at[WORD_NONZERO] & 2) != 0);
    case NUMBER_ATLEAST:
        return order >= 0;
    case NUMBER_ABOVE:
        return order > 0;
    case NUMBER_ATMOST:
        return order <= 0;
    case NUMBER_BELOW:
        return order < 0;
    case NUMBER_NOT:
        return order != 0;
    default:
        if (phase != PLACES && word != atom->divisor)
            rest = rest * power10(atom->places, atom->divisor) % atom->divisor;
        return atom->negate == (rest != 0);
    }
}

static uint16_t number_label(const void *ctx, const uint32_t *at)
{
    const struct numbers *n = ctx;
    uint32_t phase = at[WORD_PHASE] & 15;
    if (phase != ZERO && phase != DIGITS && phase != PLACES && phase != EXPONENT_DIGITS) return LABEL_NONE;
    if ((at[WORD_PHASE] & SIGN) != 0 && at[WORD_NONZERO] == 0) return LABEL_NONE; /* no -0 */
    for (uint32_t i = 0; i < n->count; i++)
        if (!atom_holds(&n->atoms[i], at, at[WORD_ATOMS + i])) return LABEL_NONE;
    return 0;
}

static struct machine machine_of(struct numbers *n, const struct number_atom *atoms, uint32_t count)
{
    static const uint8_t BYTES[] = "+-.0123456789Ee";
    assert(count <= NUMBER_ATOMS_MAX && WORD_ATOMS + count <= MACHINE_WORDS_MAX);
    *n = (struct numbers){ atoms, count, NUMBER_DIGITS };
    for (uint32_t i = 0; i < count; i++)
        if (atoms[i].op == NUMBER_MULTIPLE && atoms[i].divisor > 64) n->digits = NUMBER_DIGITS_MULTIPLE;
    return (struct machine){ .ctx = n,
                             .words = WORD_ATOMS + count,
                             .bytes = BYTES,
                             .byte_count = sizeof BYTES - 1,
                             .step = number_step,
                             .label = number_label,
                             .states_max = NUMBER_STATES_MAX,
                             .what = "number" };
}

static const uint32_t BEGIN[MACHINE_WORDS_MAX];

bool number_span(build *b, const struct number_atom *atoms, uint32_t count, uint32_t *state)
{
    struct numbers n;
    struct machine m = machine_of(&n, atoms, count);
    return span_machine(b, &m, BEGIN, state);
}

bool number_takes(const struct number_atom *atoms, uint32_t count, view text)
{
    struct numbers n;
    struct machine m = machine_of(&n, atoms, count);
    return machine_takes(&m, BEGIN, text);
}
