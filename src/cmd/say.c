/* Standard error: see cmd.h. */
#include "cmd/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void say(const char *format, ...)
{
    char text[2 * ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* Names of files and words of the command line come in here: none of them may steer a terminal. */
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = '?';
    fflush(stdout);
    fprintf(stderr, "hearth: %s\n", text);
}

int say_error(const err *e)
{
    if (e->offset != ERR_NO_OFFSET) say("%s (byte %llu)", e->text, (unsigned long long)e->offset);
    else say("%s", e->text);
    return EXIT_FAILED;
}

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_show(struct progress *p, size_t done, size_t all)
{
    double now = clock_seconds();
    if (!isatty(STDERR_FILENO) || (p->shown && now - p->last_seconds < 0.1)) return;
    p->shown = true;
    p->last_seconds = now;
    fprintf(stderr, "\r%s: %3.0f%%", p->what, all == 0 ? 0.0 : 100.0 * (double)done / (double)all);
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->shown) fprintf(stderr, "\r%*s\r", (int)strlen(p->what) + 6, "");
    p->shown = false;
}
