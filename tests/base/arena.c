/* base/arena.h and base/err.h: limits at -1, 0, +1; zeroed again after a rewind; errors stay one line. */
#include "base/arena.h"

#include "check.h"

int main(void)
{
    arena a;
    err e = { 0 };
    CHECK(arena_new(&a, 100, &e), "%s", e.text);
    size_t all = a.size_bytes;
    CHECK(all >= 100, "an arena holds what was asked for");
    CHECK(arena_take(&a, all - 1, 1, 1, "most", &e) != NULL, "all but one byte");
    CHECK(arena_take(&a, 1, 1, 1, "last", &e) != NULL, "the last byte");
    CHECK(arena_take(&a, 1, 1, 1, "thing", &e) == NULL && e.code == ERR_MEMORY, "one byte more is refused");
    CHECK(strstr(e.text, "thing") != NULL, "the error names the thing: %s", e.text);
    memset(a.base, 0xAA, all);
    arena_rewind(&a, 10);
    uint8_t *p = arena_take(&a, 16, 1, 16, "aligned", &e);
    CHECK(p != NULL && (uintptr_t)p % 16 == 0, "alignment");
    CHECK(p != NULL && p[0] == 0 && p[15] == 0, "zeroed after a rewind");
    e = (err){ 0 };
    CHECK(arena_take(&a, SIZE_MAX / 2, 4, 8, "huge", &e) == NULL && e.code == ERR_MEMORY, "a product that wraps");
    err_set(&e, ERR_VALUE, 7, "second");
    CHECK(e.code == ERR_MEMORY, "the first error wins");
    arena_free(&a);
    arena_free(&a);

    e = (err){ 0 };
    char longer[2 * ERR_TEXT_BYTES];
    for (size_t i = 0; i + 2 < sizeof longer; i += 2) memcpy(longer + i, "\xC3\xA9", 2);
    longer[sizeof longer - 2] = longer[sizeof longer - 1] = '\0';
    err_set(&e, ERR_VALUE, 7, "x%s", longer);
    size_t len = strlen(e.text);
    CHECK(len < ERR_TEXT_BYTES && len % 2 == 1, "cut at a character border, %zu bytes", len);
    e = (err){ 0 };
    err_set(&e, ERR_VALUE, 7, "a%sb", "\n\x1b[1m");
    CHECK(strcmp(e.text, "a??[1mb") == 0, "control characters are shown as ?: %s", e.text);
    err_prefix(&e, "file");
    CHECK(strcmp(e.text, "file: a??[1mb") == 0 && e.offset == 7, "prefix: %s", e.text);
    return check_done();
}
