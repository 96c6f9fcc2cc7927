/* Lookups in the tables of characters: see unicode.h. */
#include "template/unicode.h"

static bool in_ranges(const struct char_range *ranges, size_t count, uint32_t code)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code > ranges[middle].last) low = middle + 1;
        else high = middle;
    }
    return low < count && code >= ranges[low].first;
}

bool py_printable(uint32_t code)
{
    if (code < 0x7F) return code >= 0x20;
    return code != 0x7F && !in_ranges(PY_UNPRINTABLE, PY_UNPRINTABLE_COUNT, code);
}

bool py_alphanumeric(uint32_t code)
{
    uint32_t letter = code | 32;
    if (code < 0x80) return (code >= '0' && code <= '9') || (letter >= 'a' && letter <= 'z');
    return in_ranges(PY_ALPHANUMERIC, PY_ALPHANUMERIC_COUNT, code);
}

bool py_space(uint32_t code)
{
    if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13) || (code >= 28 && code <= 31);
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool py_line_end(uint32_t code)
{
    return (code >= 10 && code <= 13) || (code >= 28 && code <= 30) || code == 0x85 || code == 0x2028 || code == 0x2029;
}

static uint32_t other_case(const struct case_range *ranges, size_t count, uint32_t code)
{
    /* Ranges of step 2 may interleave, so the search goes back over the few that begin before `code`. */
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].first <= code) low = middle + 1;
        else high = middle;
    }
    for (size_t back = 0; back < 4 && back < low; back++) {
        const struct case_range *r = &ranges[low - 1 - back];
        if (code <= r->last && (code - r->first) % (uint32_t)r->step == 0) return (uint32_t)((int32_t)code + r->delta);
    }
    return code;
}

size_t py_upper(uint32_t code, uint32_t out[static 3])
{
    out[0] = code;
    if (code < 0x80) {
        if (code >= 'a' && code <= 'z') out[0] = code - 32;
        return 1;
    }
    for (size_t i = 0; i < PY_UPPER_SPECIAL_COUNT; i++) {
        if (PY_UPPER_SPECIAL[i].code != code) continue;
        size_t n = 0;
        while (n < 3 && PY_UPPER_SPECIAL[i].becomes[n] != 0) out[n] = PY_UPPER_SPECIAL[i].becomes[n], n++;
        return n;
    }
    out[0] = other_case(PY_UPPER, PY_UPPER_COUNT, code);
    return 1;
}

size_t py_lower(uint32_t code, uint32_t out[static 3])
{
    out[0] = code;
    if (code < 0x80) {
        if (code >= 'A' && code <= 'Z') out[0] = code + 32;
        return 1;
    }
    if (code == 0x130) { /* I with a dot: the one character with a longer lower case */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = other_case(PY_LOWER, PY_LOWER_COUNT, code);
    return 1;
}
