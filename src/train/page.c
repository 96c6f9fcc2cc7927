/* See page.h. */
#include "train/page.h"

#include "base/file.h"

#include <stdarg.h>
#include <stdio.h>

bool page_open(struct page *p, size_t size, const char *what, arena *a, err *e)
{
    *p = (struct page){ .room = ARENA_ARRAY(a, char, size, what, e), .size = size };
    return p->room != NULL;
}

void page_put(struct page *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(p->room + p->len, p->size - p->len, format, args);
    va_end(args);
    if (n > 0) p->len += (size_t)n < p->size - p->len ? (size_t)n : p->size - p->len - 1;
}

bool page_write(const struct page *p, const char *path, err *e)
{
    return file_write(path, &(view){ (const uint8_t *)p->room, p->len }, 1, e);
}
