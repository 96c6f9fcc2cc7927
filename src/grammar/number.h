/* Numbers of JSON as spans. The canonical form: no exponent, no leading zero, "-" only before a value below zero, at
 * most NUMBER_DIGITS digits before and NUMBER_PLACES behind the point; `integer` without a point. A number without any
 * constraint may also have an exponent of at most two digits. Every constraint is decided on the digits themselves, so
 * 0.07 is a multiple of 0.01, and integers of any size compare exactly. */
#ifndef HEARTH_GRAMMAR_NUMBER_H
#define HEARTH_GRAMMAR_NUMBER_H

#include "grammar/build.h"

enum {
    NUMBER_DIGITS = 100,
    NUMBER_PLACES = 40,
    NUMBER_DIGITS_MULTIPLE = 20,
    NUMBER_STATES_MAX = 1 << 16,
    NUMBER_ATOMS_MAX = 16,
    NUMBER_DIVISOR_MAX = 3000,
    DECIMAL_DIGITS_MAX = 400
};

/* A number as digits: neg? whole.part, no zeros at either end ("0" for no whole part). */
struct decimal {
    bool negative, zero;
    view whole, part;
};

/* A JSON number's text as a decimal; digits in `a`. False without an error where it has more than DECIMAL_DIGITS_MAX.
 */
bool decimal_of(view text, struct decimal *out, arena *a);
bool decimal_equal(const struct decimal *a, const struct decimal *b);
bool decimal_is_integer(const struct decimal *d);
/* -1, 0, 1 */
int decimal_order(const struct decimal *a, const struct decimal *b);
/* The canonical text. */
bool decimal_text(const struct decimal *d, view *out, arena *a, err *e);

enum number_op {
    NUMBER_INTEGER,
    NUMBER_ATLEAST,
    NUMBER_ABOVE,
    NUMBER_ATMOST,
    NUMBER_BELOW,
    NUMBER_NOT,
    NUMBER_MULTIPLE
};

struct number_atom {
    enum number_op op;
    bool negate; /* of INTEGER and MULTIPLE */
    struct decimal d;
    uint32_t divisor, places; /* of MULTIPLE: d = divisor / 10^places */
};

/* Fills divisor and places. False where that is over NUMBER_DIVISOR_MAX. */
bool number_multiple(struct number_atom *atom);

/* All atoms hold. Errors: ERR_LIMIT. */
bool number_span(build *b, const struct number_atom *atoms, uint32_t count, uint32_t *state);
bool number_takes(const struct number_atom *atoms, uint32_t count, view text);

#endif
