/* The system's memory: see memory.h. */
#include "base/memory.h"

#include "base/view.h"

#include <stdio.h>
#include <string.h>

size_t memory_free_bytes(void)
{
    char line[256];
    size_t bytes = 0;
    FILE *in = fopen("/proc/meminfo", "re");
    while (in != NULL && fgets(line, sizeof line, in) != NULL) {
        view text = view_of(line);
        if (!view_starts(text, view_of("MemAvailable:"))) continue;
        for (size_t i = strlen("MemAvailable:"); i < text.len_bytes; i++)
            if (line[i] >= '0' && line[i] <= '9') bytes = bytes * 10 + (size_t)(line[i] - '0');
        bytes *= 1024; /* "kB" there means 1,024 bytes */
    }
    if (in != NULL) fclose(in);
    return bytes;
}
