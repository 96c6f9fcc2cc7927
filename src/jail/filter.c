/* The filter of a profile, written by hand: a program for the classic BPF machine that the kernel runs before each
 * system call. A library would compile the same rows; this is forty lines, gives the same bytes on every machine and
 * library version (so their hash can be compared with what PTRACE_SECCOMP_GET_FILTER reads back), needs nothing in a
 * cross build, and is short enough to be checked by the one who must trust it.
 *
 *   another machine's calls (32-bit ones on x86-64)?     kill
 *   for each row: number equal, and each check holds?    allow
 *   (x32 calls carry a bit in their number: equal to no row)
 *   what is left                                         deny
 *
 * Linux, Documentation/userspace-api/seccomp_filter.rst; struct seccomp_data in linux/seccomp.h. */
#include "jail/filter.h"

#include "jail/machine.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

struct program {
    struct sock_filter *code;
    size_t count;
    bool full;
};

static void put(struct program *p, unsigned code, uint8_t if_true, uint8_t if_false, uint32_t k)
{
    if (p->count < JAIL_FILTER_MAX) p->code[p->count++] = (struct sock_filter){ (uint16_t)code, if_true, if_false, k };
    else p->full = true;
}

/* Half of an argument: the accumulator becomes (half & mask), and anything but `value` goes on to the next row. Both
 * machines are little-endian, so the lower half lies first. */
static void put_half(struct program *p, unsigned argument, unsigned half, uint32_t mask, uint32_t value)
{
    size_t at = offsetof(struct seccomp_data, args) + 8 * (size_t)argument + 4 * (size_t)half;
    put(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)at);
    put(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, UINT8_MAX, value); /* the jump is set when the row's end is known */
}

/* A row loads the number again, for the checks of the row before have overwritten it. */
static void put_row(struct program *p, const struct jail_call *call)
{
    size_t start = p->count;
    put(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, UINT8_MAX, (uint32_t)call->number);
    for (size_t i = 0; i < JAIL_CHECKS_MAX && call->checks[i].mask != 0; i++) {
        const struct jail_check *check = &call->checks[i];
        put_half(p, check->argument, 0, (uint32_t)check->mask, (uint32_t)check->value);
        if (check->wide) put_half(p, check->argument, 1, (uint32_t)(check->mask >> 32), (uint32_t)(check->value >> 32));
    }
    put(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
    /* At most 2 + 3 * 6 + 1 instructions a row: every jump fits its byte, and none of them is UINT8_MAX itself. */
    for (size_t i = start; i < p->count; i++)
        if (p->code[i].jf == UINT8_MAX) p->code[i].jf = (uint8_t)(p->count - i - 1);
}

bool filter_make(const struct jail_profile *profile, enum jail_denied denied, struct sock_filter *code, size_t *count,
                 err *e)
{
    static const uint32_t answers[] = { [JAIL_KILL] = SECCOMP_RET_KILL_PROCESS,
                                        [JAIL_ERRNO] = SECCOMP_RET_ERRNO | JAIL_DENIED_ERRNO,
                                        [JAIL_TELL] = SECCOMP_RET_TRAP };
    if (MACHINE_AUDIT_ARCH == 0)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "seccomp: no filter is written for this kind of machine");
    struct program p = { .code = code };
    put(&p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
    put(&p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, MACHINE_AUDIT_ARCH);
    put(&p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
    for (const struct jail_call *call = profile->calls; call->name != NULL; call++)
        if (call->number != NO_CALL) put_row(&p, call);
    put(&p, BPF_RET | BPF_K, 0, 0, answers[denied]);
    *count = p.count;
    if (p.full)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "seccomp: profile %s needs over %d instructions", profile->name,
                    JAIL_FILTER_MAX);
    return true;
}

bool filter_install(struct sock_filter *code, size_t count)
{
    struct sock_fprog program = { .len = (unsigned short)count, .filter = code };
    /* TSYNC: the threads that were made before get it too, or nobody does. */
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}
