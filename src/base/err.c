/* Errors as values: see err.h. */
#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line whatever the arguments held, and never half a UTF-8 character at the cut. */
static void tidy(char *text, bool cut)
{
    size_t len = strlen(text);
    if (cut) {
        while (len > 0 && ((unsigned char)text[len - 1] & 0xC0) == 0x80) len--;
        if (len > 0 && (unsigned char)text[len - 1] >= 0xC0) len--;
        text[len] = '\0';
    }
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) text[i] = '?';
}

void err_set(err *e, enum err_code code, uint64_t offset, const char *format, ...)
{
    assert(e != NULL && code != ERR_NONE);
    if (e->code != ERR_NONE) return;
    e->code = code;
    e->offset = offset;
    va_list args;
    va_start(args, format);
    int want = vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    tidy(e->text, want < 0 || (size_t)want >= sizeof e->text);
}

void err_prefix(err *e, const char *prefix)
{
    assert(e != NULL && e->code != ERR_NONE);
    char text[ERR_TEXT_BYTES];
    int want = snprintf(text, sizeof text, "%s: %s", prefix, e->text);
    tidy(text, want < 0 || (size_t)want >= sizeof text);
    memcpy(e->text, text, sizeof text);
}
