/* The table runner: a row says what it shows, a failing one says where. A test program ends with
 * `return check_done();`, which prints "N passed, N failed, N skipped" as its last line. */
#ifndef HEARTH_TESTS_CHECK_H
#define HEARTH_TESTS_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static size_t check_passed, check_failed, check_skipped;

/* One row. The message is printed only where it fails, so it should hold the values. */
#define CHECK(good, ...) check_row((good), __FILE__, __LINE__, __VA_ARGS__)

__attribute__((format(printf, 4, 5), unused)) static bool check_row(bool good, const char *file, int line,
                                                                    const char *format, ...)
{
    if (good) {
        check_passed++;
        return true;
    }
    check_failed++;
    printf("FAILED %s:%d: ", file, line);
    __builtin_va_list args;
    __builtin_va_start(args, format);
    vprintf(format, args);
    __builtin_va_end(args);
    printf("\n");
    return false;
}

__attribute__((unused)) static void check_skip(const char *why)
{
    check_skipped++;
    printf("skipped: %s\n", why);
}

/* The folder of reference vectors: $HEARTH_SHARED, or ../shared beside the checkout; tests that need it skip without.
 */
__attribute__((unused)) static const char *check_shared(void)
{
    const char *set = getenv("HEARTH_SHARED");
    return set != NULL ? set : "../shared";
}

/* Writes the path of a reference model, by its name; false where it is not there. */
__attribute__((unused)) static bool check_model(char *path, size_t bytes, const char *name)
{
    snprintf(path, bytes, "%s/reference/models/%s.gguf", check_shared(), name);
    FILE *there = fopen(path, "rb");
    if (there != NULL) fclose(there);
    return there != NULL;
}

__attribute__((unused)) static int check_done(void)
{
    printf("%zu passed, %zu failed, %zu skipped\n", check_passed, check_failed, check_skipped);
    return check_failed > 0;
}

#endif
