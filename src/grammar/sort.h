/* Sorting without memory of its own: libc's qsort may ask the system for some, which a process in its jail can not. */
#ifndef HEARTH_GRAMMAR_SORT_H
#define HEARTH_GRAMMAR_SORT_H

#include <stddef.h>

/* Rows of `each` bytes (at most 64) by `order`; n log n whatever their order was (heap sort). Equal rows end up in any
 * order, always the same one. */
void sort_rows(void *rows, size_t count, size_t each, int (*order)(const void *, const void *));

#endif
