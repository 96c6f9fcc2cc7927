/* Numbers of the kernel's interface that are newer than the headers of Debian 12 (Linux 6.1), which must compile this.
 * A kernel without one answers EINVAL or ENOSYS, and the wall is reported missing. Inside jail/ only. */
#ifndef HEARTH_JAIL_KERNEL_H
#define HEARTH_JAIL_KERNEL_H

#include <stdint.h>

enum {
    KERNEL_PR_SET_MDWE = 65, /* Linux 6.3: nothing becomes executable that was writable */
    KERNEL_PR_GET_MDWE = 66,
    KERNEL_MDWE_REFUSE_EXEC_GAIN = 1,

    /* Landlock's rights to files by version: 1 (5.13) bits 0-12, 2 (5.19) refer, 3 (6.2) truncate, 5 (6.10) ioctl. */
    KERNEL_LANDLOCK_FS_1 = (1 << 13) - 1,
    KERNEL_LANDLOCK_FS_2 = (1 << 14) - 1,
    KERNEL_LANDLOCK_FS_3 = (1 << 15) - 1,
    KERNEL_LANDLOCK_FS_5 = (1 << 16) - 1,
    KERNEL_LANDLOCK_NET_4 = 3,   /* 6.7: bind and connect of TCP */
    KERNEL_LANDLOCK_SCOPE_6 = 3, /* 6.12: abstract sockets and signals */
    KERNEL_LANDLOCK_VERSION = 1  /* flag: tell the version */
};

struct kernel_landlock {
    uint64_t files;
    uint64_t net;
    uint64_t scopes;
};

#endif
