/* A text that grows in a fixed room: cards, pictures, the texts of tasks. What does not fit is cut, and the text always
 * ends with a zero byte inside its room. */
#ifndef HEARTH_TRAIN_PAGE_H
#define HEARTH_TRAIN_PAGE_H

#include "base/arena.h"
#include "base/view.h"

struct page {
    char *room;
    size_t size, len; /* bytes; size counts the zero byte at the end */
};

/* An empty page of `size` bytes from `a`, named `what` in the error (ERR_LIMIT). */
bool page_open(struct page *p, size_t size, const char *what, arena *a, err *e);

/* Appends as printf does. */
void page_put(struct page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes what stands on the page to the file `path`, as file_write does. Errors: ERR_IO. */
bool page_write(const struct page *p, const char *path, err *e);

#endif
