/* Why a process ended, in a page its parent can read. In a jail nothing can be printed and no core is written, so a
 * failed assertion and a fault leave thing, file and line here and end the process with exit_group.
 *
 * Two things here are global because the platform makes them so: a signal handler and __assert_fail have no argument
 * through which the slot could be passed. It is set once, before the process has a second thread. */
#include "jail/crash.h"

#include "jail/machine.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct jail_slot *the_slot;
_Alignas(64) static uint8_t fault_stack[1 << 16]; /* for faults of the main thread's own stack */

extern const char __ehdr_start[]; /* where the linker put the program's first byte */

static const struct fault {
    int signal;
    const char *thing;
} FAULTS[] = {
    { SIGSEGV, "memory fault" },
    { SIGBUS, "memory fault (a mapped file became shorter, or the machine failed)" },
    { SIGILL, "instruction this processor does not have" },
    { SIGFPE, "integer division fault" },
    { SIGTRAP, "trap" },
    { SIGABRT, "abort" },
    { SIGSYS, "system call outside the profile" },
};

/* The sanitizers put calls of their own before whatever does not return, and those make system calls, which end the
 * process before its slot is written. */
#define BARE __attribute__((no_sanitize("address", "undefined")))

/* No library function that may take a lock or make a call. */
BARE static void copy_text(char *to, size_t to_bytes, const char *from)
{
    size_t i = 0;
    for (; from != NULL && from[i] != '\0' && i + 1 < to_bytes; i++) to[i] = from[i];
    to[i] = '\0';
}

BARE static _Noreturn void leave(const char *thing, const char *file, unsigned line, const siginfo_t *info,
                                 uintptr_t pc)
{
    struct crash *c = &the_slot->crash;
    if (atomic_exchange(&c->taken, 1) == 0) {
        copy_text(c->thing, sizeof c->thing, thing);
        copy_text(c->file, sizeof c->file, file);
        c->line = line;
        c->call = -1;
        c->code = pc != 0 ? pc - (uintptr_t)__ehdr_start : 0;
        if (info != NULL) {
            c->signal = info->si_signo;
            c->address = info->si_signo == SIGSYS ? 0 : (uint64_t)(uintptr_t)info->si_addr;
            if (info->si_signo == SIGSYS) c->call = info->si_syscall;
        }
    }
    for (;;) syscall(SYS_exit_group, CRASH_EXIT);
}

BARE static void on_fault(int signal, siginfo_t *info, void *ucontext)
{
    const char *thing = "signal";
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++)
        if (FAULTS[i].signal == signal) thing = FAULTS[i].thing;
    leave(thing, "", 0, info, machine_pc(ucontext));
}

void crash_arm(struct jail_slot *slot)
{
    the_slot = slot;
    stack_t stack = { .ss_sp = fault_stack, .ss_size = sizeof fault_stack };
    sigaltstack(&stack, NULL);
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++) sigaction(FAULTS[i].signal, &action, NULL);
}

BARE _Noreturn void jail_crash(const char *thing, const char *file, unsigned line)
{
    if (the_slot != NULL) leave(thing, file, line, NULL, 0);
    fprintf(stderr, "hearth: %s:%u: %s\n", file, line, thing);
    abort();
}

/* What assert() calls, in place of the C library's own, which prints: in a jail that would be a forbidden call, and the
 * assertion's text would be lost. */
BARE _Noreturn void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    (void)function;
    jail_crash(assertion, file, line);
}

void crash_text(const struct crash *c, char *line, size_t line_bytes)
{
    struct crash copy = *c; /* the other side may still write */
    copy.thing[sizeof copy.thing - 1] = '\0';
    copy.file[sizeof copy.file - 1] = '\0';
    if (copy.file[0] != '\0') snprintf(line, line_bytes, "%s:%u: %s", copy.file, copy.line, copy.thing);
    else if (copy.call >= 0)
        snprintf(line, line_bytes, "%s: number %d, code 0x%llx", copy.thing, copy.call, (unsigned long long)copy.code);
    else
        snprintf(line, line_bytes, "%s: address 0x%llx, code 0x%llx", copy.thing, (unsigned long long)copy.address,
                 (unsigned long long)copy.code);
    for (char *p = line; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F) *p = '?';
}
