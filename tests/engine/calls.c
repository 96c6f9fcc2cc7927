/* The engine's needs, proved by denial: with a model bound, every system call but futex and exit_group is denied, and
 * on x86 the time-stamp counter, before its threads are made visible to work; then 100 tokens on two threads have the
 * ids of a session. A call outside the list ends the process, which the test sees. And that the denial denies: one
 * more call.
 *
 * The filter here is written out in place, not made by jail/: two writers of one promise. */
#include "engine/session.h"
#include "hearth.h"

#include "check.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern void __asan_init(void) __attribute__((weak));

enum { MADE = 100 };

static char path[512];
static uint8_t event[HEARTH_EVENT_BYTES_MAX];

/* futex with WAIT or WAKE, private or not, and no timeout; exit_group. Over all threads. */
static bool deny_all(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 6, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (uint32_t)~(FUTEX_PRIVATE_FLAG | FUTEX_WAKE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

struct made {
    int32_t ids[MADE];
    size_t count;
};

/* In the child: the counter goes first, so the threads inherit that it is denied. */
static int child(struct made *out, bool one_more)
{
    struct hearth_settings set = { .threads = 2, .ctx_tok = 256, .kv = KV_F16 };
    char why[HEARTH_ERROR_TEXT_BYTES];
    hearth *h;
    prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0); /* EINVAL where the processor is another */
    if (!hearth_start(&h, path, &set, why)) return 2;
    struct {
        struct hearth_request r;
        int32_t ids[5];
    } message = { { .head.id = 1,
                    .sampling = { .seed = 3, .temperature = 0.8f, .top_p = 0.95f, .typical_p = 1, .top_k = 40,
                                  .repetition_penalty = 1, .dry_base = 1.75f },
                    .prompt_tok = 5, .max_tok = MADE, .n = 1, .weight = 1 },
                  { 1, 403, 407, 261, 378 } };
    if (!deny_all()) return 3;
    if (!hearth_submit(h, HEARTH_SUBMIT, &message, sizeof message.r + sizeof message.ids)) return 4;
    size_t bytes;
    while (hearth_work(h))
        for (uint32_t kind; (kind = hearth_poll(h, event, &bytes)) != 0;)
            if (kind == HEARTH_TOKEN && out->count < MADE) {
                struct hearth_token token;
                memcpy(&token, event, sizeof token);
                out->ids[out->count++] = token.token;
            }
    if (one_more) syscall(SYS_getpid);
    return 0;
}

static void wanted(struct made *out)
{
    static model m;
    struct kernels k;
    team *t;
    session *s;
    struct sample_settings sample = SAMPLE_DEFAULTS;
    sample.seed = 3;
    sample.temperature = 0.8f;
    sample.min_p = 0;
    struct session_settings set = { .ctx_tok = 256, .kv = KV_F16, .sample = sample };
    const int32_t ids[] = { 1, 403, 407, 261, 378 };
    err e = { 0 };
    if (!CHECK(kernels_bind(&k, NULL, &e) && team_new(&t, 1, NULL, 0, &e) && model_load(&m, path, t, NULL, NULL, &e) &&
                   session_new(&s, &m, &k, t, &set, &e) && session_prompt(s, ids, 5, NULL, NULL, &e),
               "%s", e.text))
        return;
    for (enum finish f = FINISH_NONE; f == FINISH_NONE && out->count < MADE;) {
        view text;
        if (!session_next(s, MADE, &text, &out->ids[out->count++], NULL, &f, &e)) break;
    }
    session_free(s);
    model_free(&m);
    team_free(t);
}

int main(void)
{
    bool there = check_model(path, sizeof path, "stories260K");
    if (!there || __asan_init != NULL) {
        check_skip(!there ? "no reference model" : "the address sanitizer makes calls of its own");
        return check_done();
    }
    struct made *made = mmap(NULL, 2 * sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static struct made want;
    wanted(&want);
    for (int one_more = 0; one_more < 2 && made != MAP_FAILED; one_more++) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) syscall(SYS_exit_group, child(&made[one_more], one_more));
        CHECK(waitpid(pid, &status, 0) == pid, "the child ends");
        if (one_more) {
            CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "one more call ends it: status %x", status);
            continue;
        }
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it needed another call, or the clock: status %x", status);
        CHECK(made[0].count == MADE && want.count == MADE && memcmp(made[0].ids, want.ids, sizeof want.ids) == 0,
              "the ids of a session: %zu of %zu", made[0].count, want.count);
    }
    return check_done();
}
