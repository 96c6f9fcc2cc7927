/* The inside of a JSON string as an automaton over bytes: RFC 8259 section 7 with UTF-8 as Unicode 15, table 3-7, has
 * it. Two forms. Values take every legal escape, surrogates only in pairs. Names take the shortest form of each
 * character alone, so that equal names are equal texts. */
#include "grammar/table.h"

#include <assert.h>

struct row {
    uint8_t from, lo, hi, to;
};

static const struct row SHARED[] = {
    { FREE_BODY, 0x20, 0x7f, FREE_BODY }, /* rows that follow overwrite: '"' and '\\' */
    { FREE_BODY, '"', '"', FREE_END },      { FREE_BODY, '\\', '\\', FREE_ESCAPE },
    { FREE_BODY, 0xc2, 0xdf, FREE_TAIL1 },  { FREE_BODY, 0xe0, 0xe0, FREE_E0 },
    { FREE_BODY, 0xe1, 0xef, FREE_TAIL2 },  { FREE_BODY, 0xed, 0xed, FREE_ED },
    { FREE_BODY, 0xf0, 0xf0, FREE_F0 },     { FREE_BODY, 0xf1, 0xf3, FREE_TAIL3 },
    { FREE_BODY, 0xf4, 0xf4, FREE_F4 },     { FREE_TAIL1, 0x80, 0xbf, FREE_BODY },
    { FREE_TAIL2, 0x80, 0xbf, FREE_TAIL1 }, { FREE_TAIL3, 0x80, 0xbf, FREE_TAIL2 },
    { FREE_E0, 0xa0, 0xbf, FREE_TAIL1 },    { FREE_ED, 0x80, 0x9f, FREE_TAIL1 },
    { FREE_F0, 0x90, 0xbf, FREE_TAIL2 },    { FREE_F4, 0x80, 0x8f, FREE_TAIL2 },
    { FREE_ESCAPE, '"', '"', FREE_BODY },   { FREE_ESCAPE, '\\', '\\', FREE_BODY },
    { FREE_ESCAPE, 'b', 'b', FREE_BODY },   { FREE_ESCAPE, 'f', 'f', FREE_BODY },
    { FREE_ESCAPE, 'n', 'n', FREE_BODY },   { FREE_ESCAPE, 'r', 'r', FREE_BODY },
    { FREE_ESCAPE, 't', 't', FREE_BODY },
};

/* Control characters without a short escape, in small letters. */
static const struct row NAMES[] = {
    { FREE_ESCAPE, 'u', 'u', FREE_KEY_U },     { FREE_KEY_U, '0', '0', FREE_KEY_U0 },
    { FREE_KEY_U0, '0', '0', FREE_KEY_U00 },   { FREE_KEY_U00, '0', '0', FREE_KEY_U000 },
    { FREE_KEY_U00, '1', '1', FREE_KEY_U001 }, { FREE_KEY_U000, '0', '7', FREE_BODY },
    { FREE_KEY_U000, 'b', 'b', FREE_BODY },    { FREE_KEY_U000, 'e', 'f', FREE_BODY },
    { FREE_KEY_U001, '0', '9', FREE_BODY },    { FREE_KEY_U001, 'a', 'f', FREE_BODY },
};

#define HEX(from, to)                                                                                                  \
    { from, '0', '9', to }, { from, 'A', 'F', to },                                                                    \
    {                                                                                                                  \
        from, 'a', 'f', to                                                                                             \
    }

static const struct row VALUES[] = {
    { FREE_ESCAPE, '/', '/', FREE_BODY },
    { FREE_ESCAPE, 'u', 'u', FREE_U },
    HEX(FREE_U, FREE_HEX3),
    { FREE_U, 'D', 'D', FREE_UD },
    { FREE_U, 'd', 'd', FREE_UD },
    HEX(FREE_HEX3, FREE_HEX2),
    HEX(FREE_HEX2, FREE_HEX1),
    HEX(FREE_HEX1, FREE_BODY),
    { FREE_UD, '0', '7', FREE_HEX2 },
    { FREE_UD, '8', '9', FREE_HIGH2 },
    { FREE_UD, 'A', 'B', FREE_HIGH2 },
    { FREE_UD, 'a', 'b', FREE_HIGH2 },
    HEX(FREE_HIGH2, FREE_HIGH1),
    HEX(FREE_HIGH1, FREE_LOW),
    { FREE_LOW, '\\', '\\', FREE_LOW_U },
    { FREE_LOW_U, 'u', 'u', FREE_LOW_D },
    { FREE_LOW_D, 'D', 'D', FREE_LOW_DC },
    { FREE_LOW_D, 'd', 'd', FREE_LOW_DC },
    { FREE_LOW_DC, 'C', 'F', FREE_HEX2 },
    { FREE_LOW_DC, 'c', 'f', FREE_HEX2 },
};

static void fill(const struct row *r, size_t count, uint8_t rows[][256])
{
    for (size_t i = 0; i < count; i++) memset(&rows[r[i].from][r[i].lo], r[i].to, (size_t)(r[i].hi - r[i].lo) + 1);
}

void free_body(bool names, uint8_t rows[][256])
{
    size_t states = names ? FREE_KEY_STATES : FREE_VALUE_STATES;
    memset(rows, FREE_DEAD, states * 256);
    fill(SHARED, sizeof SHARED / sizeof *SHARED, rows);
    if (names) fill(NAMES, sizeof NAMES / sizeof *NAMES, rows);
    else fill(VALUES, sizeof VALUES / sizeof *VALUES, rows);
}

uint32_t free_least(bool names, unsigned state)
{
    static const uint8_t KEY[] = { 1, 2, 3, 4, 3, 3, 4, 4, 2, 0, 5, 4, 3, 2, 2 };
    static const uint8_t VALUE[] = { 1, 2, 3, 4, 3, 3, 4, 4, 2, 0, 5, 4, 4, 3, 2, 9, 8, 7, 6, 5, 4 };
    _Static_assert(sizeof KEY == FREE_KEY_STATES && sizeof VALUE == FREE_VALUE_STATES, "a row for each state");
    assert(state < (names ? sizeof KEY : sizeof VALUE));
    return names ? KEY[state] : VALUE[state];
}
