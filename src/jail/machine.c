/* What differs between machines: the name seccomp gives their calls, where a signal frame keeps the program counter,
 * and the escapes only one of them has: older calls, other ways into the kernel, counters an instruction can read. */
#include "jail/machine.h"

#include "jail/escape.h"

#include <errno.h>
#include <linux/audit.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <asm/prctl.h>

const uint32_t MACHINE_AUDIT_ARCH = AUDIT_ARCH_X86_64;

uintptr_t machine_pc(const void *ucontext)
{
    return (uintptr_t)((const ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP];
}

/* A call by the instruction itself, for fork without a library between: the child ends at once. */
static long bare_call(long number)
{
    long got;
    __asm__ volatile("syscall" : "=a"(got) : "a"(number) : "rcx", "r11", "memory");
    if (got == 0)
        for (;;)
            __asm__ volatile("syscall" : "=a"(number) : "a"((long)SYS_exit_group), "D"(0L) : "rcx", "r11", "memory");
    return got;
}

static long fork_older(const struct escape_scene *s)
{
    (void)s;
    return bare_call(SYS_fork);
}

static long vfork_older(const struct escape_scene *s)
{
    (void)s;
    return bare_call(SYS_vfork);
}

/* The 32-bit way in: getpid is 20 there, and writev on 64 bits. */
static long call_32_bit(const struct escape_scene *s)
{
    (void)s;
    long got;
    __asm__ volatile("int $0x80" : "=a"(got) : "a"(20L) : "r8", "r9", "r10", "r11", "memory");
    return got;
}

static long read_counter(const struct escape_scene *s)
{
    (void)s;
    return (long)(__builtin_ia32_rdtsc() & 0xFFFF);
}

static long read_counter_ordered(const struct escape_scene *s)
{
    (void)s;
    unsigned cpu;
    return (long)(__builtin_ia32_rdtscp(&cpu) & 0xFFFF);
}

static long read_performance_counter(const struct escape_scene *s)
{
    (void)s;
    return (long)(__builtin_ia32_rdpmc(0) & 0xFFFF);
}

static long halt(const struct escape_scene *s)
{
    (void)s;
    __asm__ volatile("hlt");
    return 0;
}

static long port(const struct escape_scene *s)
{
    (void)s;
    uint8_t value;
    __asm__ volatile("inb $0x80, %0" : "=a"(value));
    return value;
}

/* The oldest way to the time: a page at a fixed address, which the kernel plays itself. No counter, no call. */
static long vsyscall_time(const struct escape_scene *s)
{
    long (*const volatile gettimeofday_page)(void *, void *) = (long (*)(void *, void *))0xFFFFFFFFFF600000;
    return gettimeofday_page(s->own, NULL);
}

enum { X32 = 0x40000000 };

const struct escape MACHINE_ESCAPES[] = {
    { "open", 1, FOR_ALL, false, SYS_open, { 0, 0 }, { WORD_FILE }, NULL },
    { "creat", 1, FOR_ALL, false, SYS_creat, { 0, 0600 }, { WORD_FRESH }, NULL },
    { "stat", 1, FOR_ALL, false, SYS_stat, { 0 }, { WORD_FILE, WORD_OWN }, NULL },
    { "lstat", 1, FOR_ALL, false, SYS_lstat, { 0 }, { WORD_FILE, WORD_OWN }, NULL },
    { "access", 1, FOR_ALL, false, SYS_access, { 0, 0 }, { WORD_FILE }, NULL },
    { "readlink", 1, FOR_ALL, false, SYS_readlink, { (uintptr_t)"/proc/self/exe", 0, 100 }, { 0, WORD_OWN }, NULL },
    { "mkdir", 1, FOR_ALL, false, SYS_mkdir, { 0, 0700 }, { WORD_FRESH }, NULL },
    { "symlink", 1, FOR_ALL, false, SYS_symlink, { (uintptr_t)"/etc/passwd" }, { 0, WORD_FRESH }, NULL },
    { "fork", 8, FOR_ALL, true, NO_CALL, { 0 }, { 0 }, fork_older },
    { "vfork", 8, FOR_ALL, true, NO_CALL, { 0 }, { 0 }, vfork_older },
    { "pipe", 19, FOR_ALL, false, SYS_pipe, { 0 }, { WORD_OWN }, NULL },
    { "dup2", 30, FOR_ALL, false, SYS_dup2, { JAIL_FD_FIRST, 62 }, { 0 }, NULL },
    { "poll, the older call", 21, FOR_ALL, false, SYS_poll, { 0, 0, 0 }, { 0 }, NULL },
    { "alarm", 20, FOR_ALL, false, SYS_alarm, { 100000 }, { 0 }, NULL },
    { "time", 21, FOR_ALL, false, SYS_time, { 0 }, { 0 }, NULL },
    { "getpgrp", 21, FOR_ALL, false, SYS_getpgrp, { 0 }, { 0 }, NULL },
    { "eventfd", 19, FOR_ALL, false, SYS_eventfd, { 0 }, { 0 }, NULL },
    { "inotify_init", 1, FOR_ALL, false, SYS_inotify_init, { 0 }, { 0 }, NULL },
    { "epoll_create", 19, FOR_ALL, false, SYS_epoll_create, { 1 }, { 0 }, NULL },
    { "arch_prctl: a base register", 18, FOR_ALL, false, SYS_arch_prctl, { ARCH_SET_GS, 0 }, { 0 }, NULL },
    { "modify_ldt: read", 15, FOR_ALL, false, SYS_modify_ldt, { 0, 0, 64 }, { 0, WORD_OWN }, NULL },
    { "iopl", 15, FOR_ALL, false, SYS_iopl, { 0 }, { 0 }, NULL },
    { "ioperm", 15, FOR_ALL, false, SYS_ioperm, { 0x80, 1, 0 }, { 0 }, NULL },
    { "x32: getpid", 17, FOR_ALL, false, X32 + 39, { 0 }, { 0 }, NULL },
    { "x32: futex", 17, FOR_ALL, false, X32 + SYS_futex, { 0, 1, 0, 0 }, { WORD_OWN }, NULL },
    { "x32: execve", 17, FOR_ALL, false, X32 + 520, { 0 }, { 0 }, NULL },
    { "a 32-bit call", 17, FOR_ALL, true, NO_CALL, { 0 }, { 0 }, call_32_bit },
    { "the time by its fixed page", 21, NOT_FRONT_DOOR, true, NO_CALL, { 0 }, { 0 }, vsyscall_time },
    { "rdtsc", 21, NOT_FRONT_DOOR, true, NO_CALL, { 0 }, { 0 }, read_counter },
    { "rdtscp", 21, NOT_FRONT_DOOR, true, NO_CALL, { 0 }, { 0 }, read_counter_ordered },
    { "rdpmc", 21, FOR_ALL, true, NO_CALL, { 0 }, { 0 }, read_performance_counter },
    { "hlt", 15, FOR_ALL, true, NO_CALL, { 0 }, { 0 }, halt },
    { "a port", 15, FOR_ALL, true, NO_CALL, { 0 }, { 0 }, port },
    { 0 },
};
#elif defined(__aarch64__)
const uint32_t MACHINE_AUDIT_ARCH = AUDIT_ARCH_AARCH64;

uintptr_t machine_pc(const void *ucontext)
{
    return (uintptr_t)((const ucontext_t *)ucontext)->uc_mcontext.pc;
}

static long read_counter(const struct escape_scene *s)
{
    (void)s;
    uint64_t now;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
    return (long)(now & 0xFFFF);
}

static long read_cycles(const struct escape_scene *s)
{
    (void)s;
    uint64_t now;
    __asm__ volatile("mrs %0, pmccntr_el0" : "=r"(now));
    return (long)(now & 0xFFFF);
}

const struct escape MACHINE_ESCAPES[] = {
    { "the virtual counter", 21, NOT_FRONT_DOOR, true, NO_CALL, { 0 }, { 0 }, read_counter },
    { "the cycle counter", 21, FOR_ALL, true, NO_CALL, { 0 }, { 0 }, read_cycles },
    { 0 },
};
#else
const uint32_t MACHINE_AUDIT_ARCH = 0;

uintptr_t machine_pc(const void *ucontext)
{
    (void)ucontext;
    return 0;
}

const struct escape MACHINE_ESCAPES[] = { { 0 } };
#endif
