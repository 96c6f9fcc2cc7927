/* Errors are values. A function that can fail on outside data returns bool and takes an `err *`; the first error
 * wins, so a caller may go on to undo its work without losing the reason. Only src/cmd prints one. The text is one
 * line that names the thing, the value and the limit; `offset` is the byte in the input, where there is one. */
#ifndef HEARTH_BASE_ERR_H
#define HEARTH_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

enum err_code {
    ERR_NONE,
    ERR_TRUNCATED,   /* the input ends before what it announces */
    ERR_LIMIT,       /* a count, size or depth is over its named limit (base/limits.h) */
    ERR_VALUE,       /* a value that can not be */
    ERR_MISSING,     /* something required is not there */
    ERR_UNSUPPORTED, /* well formed, and not something this program computes */
    ERR_MEMORY,      /* the plan or the machine has no room */
    ERR_IO,          /* the operating system said no */
    ERR_STATE,       /* asked for at the wrong time */
    ERR_CANCELLED    /* somebody asked to stop */
};

enum { ERR_TEXT_BYTES = 320 };
#define ERR_NO_OFFSET UINT64_MAX

typedef struct err {
    enum err_code code;
    uint64_t offset;
    char text[ERR_TEXT_BYTES];
} err;

/* Records an error unless one is recorded already. Text over ERR_TEXT_BYTES is cut at a character border; control
 * characters that came in through arguments are written as '?', so an error stays one line. */
void err_set(err *e, enum err_code code, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "PREFIX: " before a recorded error's text: the file a lower function was not told about. */
void err_prefix(err *e, const char *prefix);

/* `return fail(e, ...)`: a macro so that the compiler sees the false. */
#define fail(...) (err_set(__VA_ARGS__), false)

#endif
