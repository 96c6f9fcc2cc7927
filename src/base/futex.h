/* Waiting for a word that threads of one process share, by the system call alone: no timeout, no signal, no clock, so a
 * process may wait whose filter allows futex and nothing else (futex(2), FUTEX_WAIT and FUTEX_WAKE, private). */
#ifndef HEARTH_BASE_FUTEX_H
#define HEARTH_BASE_FUTEX_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sleeps while the word is `seen`. May return early: the caller looks again. */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static inline void futex_wake(_Atomic uint32_t *word, int how_many)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, how_many, NULL, NULL, 0);
}

/* Between two looks at a word that another thread is about to change. */
static inline void futex_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
