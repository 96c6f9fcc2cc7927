/* jail/filter.h: the program of every profile, run by a small interpreter of classic BPF, gives for every call what the
 * profile's rows say; and what the kernel has installed is that program, byte for byte. */
#include "jail/filter.h"

#include "base/prng.h"

#include "check.h"
#include "machine.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/machine.h"

/* The instructions filter.c writes, and no others; UINT32_MAX where the program does something else. */
static uint32_t run(const struct sock_filter *code, size_t count, const struct seccomp_data *data)
{
    uint32_t a = 0;
    for (size_t at = 0; at < count; at++) {
        const struct sock_filter *i = &code[at];
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (i->k % 4 != 0 || i->k + 4 > sizeof *data) return UINT32_MAX;
            memcpy(&a, (const uint8_t *)data + i->k, 4);
            break;
        case BPF_ALU | BPF_AND | BPF_K: a &= i->k; break;
        case BPF_JMP | BPF_JEQ | BPF_K: at += a == i->k ? i->jt : i->jf; break;
        case BPF_RET | BPF_K: return i->k;
        default: return UINT32_MAX;
        }
    }
    return UINT32_MAX; /* ran off its end */
}

/* What the rows mean, read directly. */
static bool allowed(const struct jail_profile *p, const struct seccomp_data *data)
{
    for (const struct jail_call *row = p->calls; row->name != NULL; row++) {
        bool good = row->number == data->nr && row->number != NO_CALL;
        for (size_t i = 0; good && i < JAIL_CHECKS_MAX && row->checks[i].mask != 0; i++) {
            const struct jail_check *c = &row->checks[i];
            uint64_t width = c->wide ? UINT64_MAX : UINT32_MAX;
            good = (data->args[c->argument] & c->mask & width) == (c->value & width);
        }
        if (good) return true;
    }
    return false;
}

static void meaning(const struct jail_profile *p)
{
    struct sock_filter code[JAIL_FILTER_MAX];
    size_t count = 0, wrong = 0, let_through = 0;
    err e = { 0 };
    if (!CHECK(filter_make(p, JAIL_KILL, code, &count, &e), "%s: %s", p->name, e.text)) return;
    static const uint64_t words[] = { 0,
                                      1,
                                      2,
                                      3,
                                      4,
                                      9,
                                      34,
                                      128,
                                      129,
                                      130,
                                      256,
                                      0x22,
                                      0x4022,
                                      0x32,
                                      UINT32_MAX,
                                      UINT64_MAX,
                                      (uint64_t)1 << 32,
                                      ((uint64_t)1 << 32) + 3,
                                      (uint64_t)INT32_MAX };
    for (uint64_t i = 0; i < 400000; i++) {
        uint32_t draw[4];
        prng_block(11, 0, i, draw);
        struct seccomp_data data = { .arch = draw[0] % 16 == 0 ? AUDIT_ARCH_I386 : MACHINE_AUDIT_ARCH };
        size_t rows = 0;
        while (p->calls[rows].name != NULL) rows++;
        data.nr = draw[1] % 4 == 0 ? (int)(draw[1] >> 2) % 500 : p->calls[draw[1] % rows].number;
        if (draw[0] % 32 == 1) data.nr |= 0x40000000; /* x32 */
        for (size_t k = 0; k < 6; k++) {
            uint32_t more[4];
            prng_block(12, k, i, more);
            data.args[k] = more[0] % 5 == 0 ? (uint64_t)more[1] << 32 | more[2]
                                            : words[more[1] % (sizeof words / sizeof *words)];
        }
        bool want = data.arch == MACHINE_AUDIT_ARCH && allowed(p, &data);
        let_through += want;
        wrong += run(code, count, &data) != (want ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS);
    }
    CHECK(wrong == 0, "%s: %zu of 400000 calls judged otherwise than its rows", p->name, wrong);
    CHECK(let_through > 100, "%s: only %zu calls were let through: the draw shows nothing", p->name, let_through);
    printf("%s: %zu instructions, %zu of 400000 calls allowed\n", p->name, count, let_through);
}

static void asleep(void *arg)
{
    static uint32_t word;
    (void)arg;
    for (;;) syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0);
}

/* The kernel gives an installed filter back to a tracer that may. */
static void installed(const struct jail_profile *p)
{
    struct jail_options o = { .require = JAIL_REQUIRED };
    struct jail_job job = { .run = asleep };
    struct jail_process process;
    struct sock_filter code[JAIL_FILTER_MAX], seen[JAIL_FILTER_MAX];
    size_t count = 0;
    err e = { 0 };
    if (!CHECK(filter_make(p, JAIL_KILL, code, &count, &e), "%s", e.text)) return;
    bool started = jail_spawn(p, &o, &job, &process, &e);
    if (!CHECK(started, "%s: %s", p->name, e.text)) return;
    int status;
    bool traced = ptrace(PTRACE_SEIZE, process.pid, NULL, NULL) == 0 &&
                  ptrace(PTRACE_INTERRUPT, process.pid, NULL, NULL) == 0 &&
                  waitpid(process.pid, &status, 0) == process.pid;
    long got = traced ? ptrace(PTRACE_SECCOMP_GET_FILTER, process.pid, 0, NULL) : -1;
    if (got < 0) {
        check_skip("this user, or this kernel, may not read an installed filter back");
    } else {
        CHECK((size_t)got == count, "%s: %ld instructions installed, %zu made", p->name, got, count);
        got = ptrace(PTRACE_SECCOMP_GET_FILTER, process.pid, 0, seen);
        CHECK(got == (long)count && memcmp(seen, code, count * sizeof *code) == 0,
              "%s: the installed filter is another", p->name);
        CHECK(ptrace(PTRACE_SECCOMP_GET_FILTER, process.pid, 1, NULL) < 0, "%s: there is one filter and not two",
              p->name);
    }
    jail_free(&process);
}

int main(void)
{
    size_t count;
    const struct jail_profile *const *profiles = jail_profiles(&count);
    for (size_t i = 0; i < count; i++) meaning(profiles[i]);
    size_t engine_rows = 0;
    while (JAIL_ENGINE.calls[engine_rows].name != NULL) engine_rows++;
    CHECK(engine_rows == 2, "the engine may make futex and exit_group: %zu rows", engine_rows);
    for (size_t i = 0; i < count; i++)
        for (const struct jail_call *c = profiles[i]->calls; c->name != NULL; c++)
            CHECK(c->reason != NULL && strlen(c->reason) > 2, "%s: %s has no reason", profiles[i]->name, c->name);
    const char *without = machine_without_jails();
    if (without != NULL) check_skip(without);
    else
        for (size_t i = 0; i < count; i++) installed(profiles[i]);
    return check_done();
}
