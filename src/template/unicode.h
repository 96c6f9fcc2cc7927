/* The characters of Unicode as Python's string methods see them. Tables: unicode_table.c. */
#ifndef HEARTH_TEMPLATE_UNICODE_H
#define HEARTH_TEMPLATE_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct char_range {
    uint32_t first, last;
};
struct case_range {
    uint32_t first, last;
    int32_t step, delta;
};
struct case_special {
    uint32_t code, becomes[3];
};

extern const struct char_range PY_UNPRINTABLE[], PY_ALPHANUMERIC[];
extern const struct case_range PY_UPPER[], PY_LOWER[];
extern const struct case_special PY_UPPER_SPECIAL[];
extern const size_t PY_UNPRINTABLE_COUNT, PY_ALPHANUMERIC_COUNT, PY_UPPER_COUNT, PY_LOWER_COUNT, PY_UPPER_SPECIAL_COUNT;

bool py_printable(uint32_t code);
bool py_alphanumeric(uint32_t code);
bool py_space(uint32_t code);    /* str.isspace */
bool py_line_end(uint32_t code); /* where str.splitlines cuts */

/* The character in the other case, up to 3 characters; returns how many. */
size_t py_upper(uint32_t code, uint32_t out[static 3]);
size_t py_lower(uint32_t code, uint32_t out[static 3]);

#endif
