/* Heap sort: see sort.h. */
#include "grammar/sort.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

enum { ROW_BYTES_MAX = 64 };

/* Moves the row at `at` down until none below it is larger. */
static void sift_down(uint8_t *rows, size_t count, size_t at, size_t each, int (*order)(const void *, const void *))
{
    uint8_t moving[ROW_BYTES_MAX];
    memcpy(moving, rows + at * each, each);
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && order(rows + (child + 1) * each, rows + child * each) > 0) child++;
        if (order(rows + child * each, moving) <= 0) break;
        memcpy(rows + at * each, rows + child * each, each);
    }
    memcpy(rows + at * each, moving, each);
}

void sort_rows(void *rows, size_t count, size_t each, int (*order)(const void *, const void *))
{
    uint8_t *bytes = rows, largest[ROW_BYTES_MAX];
    assert(each <= ROW_BYTES_MAX);
    for (size_t at = count / 2; at-- > 0;) sift_down(bytes, count, at, each, order);
    for (size_t left = count; left > 1; left--) {
        memcpy(largest, bytes, each);
        memcpy(bytes, bytes + (left - 1) * each, each);
        memcpy(bytes + (left - 1) * each, largest, each);
        sift_down(bytes, left - 1, 0, each, order);
    }
}
