/* What the system says of its memory. Read from /proc, so asked before a process stands in a jail. */
#ifndef HEARTH_BASE_MEMORY_H
#define HEARTH_BASE_MEMORY_H

#include <stddef.h>

/* Bytes that programs may still take without anything being pushed out (MemAvailable of proc_meminfo(5)); 0 where
 * that is not known. */
size_t memory_free_bytes(void);

#endif
