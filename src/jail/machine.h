/* What differs between the machines the jail knows: see machine.c. Inside jail/ only. The conditionals of the room are
 * here and there, as system call numbers and signal frames are the machine's and not ours to choose. */
#ifndef HEARTH_JAIL_MACHINE_H
#define HEARTH_JAIL_MACHINE_H

#include <stdint.h>
#include <sys/syscall.h>

enum { NO_CALL = -1 }; /* a system call that this machine does not have */

#if defined(SYS_epoll_wait)
enum { MACHINE_EPOLL_WAIT = SYS_epoll_wait };
#else
enum { MACHINE_EPOLL_WAIT = NO_CALL };
#endif

extern const uint32_t MACHINE_AUDIT_ARCH; /* 0: no filter is known for this machine */


/* The program counter a signal interrupted. */
uintptr_t machine_pc(const void *ucontext);

#endif
