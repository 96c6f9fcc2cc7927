/* jail/jail.h: starting, walls as told by the kernel, crash slots, rings, descriptors, and how long a start takes. */
#include "jail/jail.h"

#include "base/team.h"

#include "check.h"
#include "machine.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The address sanitizer calls the kernel where a program of ours would not: before an assertion's end, and for the time
 * when a thread is made. What that makes impossible is left out of its build. */
extern void __asan_init(void) __attribute__((weak));

static bool sanitized(void)
{
    return __asan_init != NULL;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void wait_for_ever(void *arg)
{
    (void)arg;
    static uint32_t word;
    for (;;) syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0);
}

/* All the walls this kernel has, in every profile; what is missing is told. */
static void walls(void)
{
    size_t count;
    const struct jail_profile *const *profiles = jail_profiles(&count);
    for (size_t i = 0; i < count; i++) {
        struct jail_options o = { .require = JAIL_REQUIRED };
        struct jail_job job = { .run = nothing };
        struct jail_process p;
        struct jail_end end;
        err e = { 0 };
        if (!CHECK(jail_spawn(profiles[i], &o, &job, &p, &e), "%s: %s", profiles[i]->name, e.text)) continue;
        for (enum jail_wall w = 0; w < JAIL_WALLS; w++) {
            char line[JAIL_TEXT_BYTES * 3];
            jail_explain(&p.report, w, line, sizeof line);
            if (!((p.report.up | p.report.waived) & jail_bit(w))) printf("%s: %s\n", profiles[i]->name, line);
        }
        CHECK(jail_wait(&p, 5000, &end) && end.code == 0, "%s: %s", profiles[i]->name, end.text);
        jail_free(&p);
    }
}

/* Every wall that is not put up is seen to be missing, and a start that requires it is refused. */
static void refused(void)
{
    for (enum jail_wall w = 0; w < JAIL_WALLS; w++) {
        struct jail_options o = { .skip = jail_bit(w) };
        struct jail_job job = { .run = nothing };
        struct jail_process p;
        err e = { 0 };
        const char *name = jail_wall_text(w)->name;
        if (!CHECK(jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e), "without %s: %s", name, e.text)) continue;
        bool own = w == JAIL_IDENTITY && geteuid() != 0; /* an ordinary user's stands by itself */
        /* May hold by chance: the starter had nothing open; a changed identity makes a process not dumpable. */
        bool locked = w == JAIL_LIMITS || w == JAIL_DESCRIPTORS || w == JAIL_NOT_DUMPABLE;
        CHECK(own || locked || !(p.report.up & jail_bit(w)), "%s was not put up and is said to stand", name);
        jail_free(&p);
    }
    /* A filter that could not be installed, as where no-new-privileges is missing, is found in /proc and refused. */
    struct jail_options o = { .skip = jail_bit(JAIL_NO_NEW_PRIVS), .require = jail_bit(JAIL_SECCOMP) };
    struct jail_job job = { .run = nothing };
    struct jail_process p;
    err e = { 0 };
    CHECK(!jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e) && e.code == ERR_UNSUPPORTED, "a required wall is missing: %s",
          e.text);
}

/* What the machine's /proc shows of an engine, asked from outside: no map both writable and executable, no network
 * device but its own empty loopback, one thread, no descriptor. Only root may ask. */
static void seen_from_outside(void)
{
    if (geteuid() != 0) {
        check_skip("not root: /proc shows a process that is not dumpable to root alone");
        return;
    }
    struct jail_options o = { .require = JAIL_REQUIRED };
    struct jail_job job = { .run = wait_for_ever };
    struct jail_process p;
    err e = { 0 };
    if (!CHECK(jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e), "%s", e.text)) return;
    char path[64], line[512], rights[8];
    size_t maps = 0, both = 0, devices = 0, bytes = 0, descriptors = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)p.pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL && sscanf(line, "%*s %7s", rights) == 1) {
        maps++;
        both += rights[1] == 'w' && rights[2] == 'x';
    }
    if (f != NULL) fclose(f);
    snprintf(path, sizeof path, "/proc/%d/net/dev", (int)p.pid);
    f = fopen(path, "r");
    char name[32];
    size_t received;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, " %31[^:]: %zu", name, &received) == 2) {
            devices++;
            bytes += received;
        }
    if (f != NULL) fclose(f);
    snprintf(path, sizeof path, "/proc/%d/fd", (int)p.pid);
    DIR *d = opendir(path);
    for (const struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) descriptors += entry->d_name[0] != '.';
    bool listed = d != NULL;
    if (listed) closedir(d);
    CHECK(maps > 5 && both == 0, "%zu maps, %zu of them writable and executable", maps, both);
    CHECK(devices == 1 && bytes == 0, "%zu network devices with %zu bytes", devices, bytes);
    CHECK(listed && descriptors == 0, "%zu descriptors", descriptors);
    jail_free(&p);
}

/* jail_enter by itself: a process that some other way has made, in no new namespace. Its filter answers. */
static void entering(void)
{
    struct jail_place outside;
    jail_place_now(&outside);
    pid_t pid = fork();
    if (pid == 0) {
        struct jail_options o = { .denied = JAIL_ERRNO, .require = jail_bit(JAIL_SECCOMP) };
        struct jail_report r;
        err e = { 0 };
        if (!jail_enter(&JAIL_ENGINE, &o, &outside, &r, &e)) syscall(SYS_exit_group, 2);
        bool filtered = syscall(SYS_getpid) == -1 && errno == JAIL_DENIED_ERRNO;
        bool honest = !(r.up & (jail_bit(JAIL_NET_NS) | jail_bit(JAIL_PID_NS) | jail_bit(JAIL_ROOT)));
        syscall(SYS_exit_group, filtered && honest ? 0 : 3);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK(status == 0, "jail_enter filters, and says that the namespaces are not new: %d", status);
    enum jail_wall wall;
    for (enum jail_wall w = 0; w < JAIL_WALLS; w++)
        CHECK(jail_wall_named(view_of(jail_wall_text(w)->name), &wall) && wall == w, "wall %d is found by its name",
              (int)w);
    CHECK(!jail_wall_named(view_of("Seccomp"), &wall) && !jail_wall_named((view){ 0 }, &wall), "other names are none");
}

static void failed_assertion(void *arg)
{
    const int *value = arg;
    assert(*value == 42);
}

static void stray_store(void *arg)
{
    (void)arg;
    volatile uintptr_t at = 0x1230;
    *(volatile char *)at = 1;
}

static void division(void *arg)
{
    (void)arg;
    raise(SIGFPE); /* a call outside the profile */
}

static void open_file(void *arg)
{
    (void)arg;
    open("/etc/passwd", O_RDONLY);
}

static void crashes(void)
{
    static int value = 41;
    static const struct {
        const char *says;
        void (*run)(void *);
        enum jail_denied denied;
        bool crashed, by_filter;
        int signal;
        const char *text;
    } rows[] = {
        { "an assertion", failed_assertion, JAIL_KILL, true, false, 0, "tests/jail/jail.c:" },
        { "its text", failed_assertion, JAIL_KILL, true, false, 0, "*value == 42" },
        { "a fault", stray_store, JAIL_KILL, true, false, SIGSEGV, "address 0x1230" },
        { "a call outside the profile", open_file, JAIL_KILL, false, true, SIGSYS, "system call" },
        { "the same, told", open_file, JAIL_TELL, true, true, SIGSYS, "number" },
        { "raise is tgkill", division, JAIL_KILL, false, true, SIGSYS, "system call" },
        { "an orderly end", nothing, JAIL_KILL, false, false, 0, "code 0" },
    };
    if (sanitized()) check_skip("the sanitizer calls the kernel before an assertion ends the process");
    for (size_t i = sanitized() ? 2 : 0; i < sizeof rows / sizeof *rows; i++) {
        struct jail_options o = { .require = JAIL_REQUIRED, .denied = rows[i].denied };
        struct jail_job job = { .run = rows[i].run, .arg = &value };
        struct jail_process p;
        struct jail_end end;
        err e = { 0 };
        if (!CHECK(jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e), "%s: %s", rows[i].says, e.text)) continue;
        bool ended = jail_wait(&p, 5000, &end);
        CHECK(ended && end.crashed == rows[i].crashed && end.by_filter == rows[i].by_filter &&
                  end.signal == rows[i].signal && strstr(end.text, rows[i].text) != NULL,
              "%s: ended %d, crashed %d, by filter %d, signal %d, %s", rows[i].says, ended, end.crashed, end.by_filter,
              end.signal, end.text);
        jail_free(&p);
    }
}

static bool prepare_fails(void *arg, err *e)
{
    return fail(e, ERR_VALUE, 17, "the image: %s", (const char *)arg);
}

static bool prepare_crashes(void *arg, err *e)
{
    (void)e;
    stray_store(arg);
    return true;
}

static void preparations(void)
{
    struct jail_options o = { .require = JAIL_REQUIRED };
    struct jail_job job = { .prepare = prepare_fails, .run = nothing, .arg = (void *)(uintptr_t) "not one" };
    struct jail_process p;
    err e = { 0 };
    CHECK(!jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e) && e.code == ERR_VALUE && e.offset == 17 &&
              strcmp(e.text, "the image: not one") == 0, "prepare's error arrives: %s", e.text);
    e = (err){ 0 };
    job.prepare = prepare_crashes;
    CHECK(!jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e) && strstr(e.text, "memory fault") != NULL, "prepare's fault: %s",
          e.text);
    jail_free(&p);
    int many[JAIL_FDS_MAX + 1] = { 0 };
    o = (struct jail_options){ .fds = many, .fd_count = JAIL_FDS_MAX + 1 };
    e = (err){ 0 };
    CHECK(!jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e) && e.code == ERR_LIMIT, "one descriptor too many: %s", e.text);
}

/* Threads made in prepare are in the jail: one of them makes the call. */
static _Atomic uint32_t thread_go;

static void *thread_main(void *arg)
{
    while (atomic_load(&thread_go) == 0) syscall(SYS_futex, &thread_go, 0, 0, NULL, NULL, 0);
    open_file(arg);
    return NULL;
}

static bool prepare_thread(void *arg, err *e)
{
    pthread_t thread;
    (void)arg;
    return pthread_create(&thread, NULL, thread_main, NULL) == 0 || fail(e, ERR_IO, 0, "no thread");
}

static void thread_run(void *arg)
{
    atomic_store(&thread_go, 1);
    syscall(SYS_futex, &thread_go, 1, 1, NULL, NULL, 0);
    wait_for_ever(arg);
}

/* A team made in prepare does its work in the jail: many starts, for a thread that meets the filter while it is being
 * made would be a matter of chance. */
static team *the_team;
static _Atomic size_t *tiles_done;

static bool prepare_team(void *arg, err *e)
{
    (void)arg;
    return team_new(&the_team, 4, NULL, 0, e);
}

static void one_tile(void *arg, size_t tile, size_t thread)
{
    (void)arg;
    (void)tile;
    (void)thread;
    atomic_fetch_add(tiles_done, 1);
}

static void team_works(void *arg)
{
    for (int i = 0; i < 100; i++) team_run(the_team, 50, one_tile, arg);
}

static void teams(void)
{
    tiles_done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 30; i++) {
        struct jail_options o = { .require = JAIL_REQUIRED, .skip = sanitized() ? jail_bit(JAIL_CLOCK) : 0 };
        struct jail_job job = { .prepare = prepare_team, .run = team_works };
        struct jail_process p;
        struct jail_end end;
        err e = { 0 };
        atomic_store(tiles_done, 0);
        if (!CHECK(jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e), "%s", e.text)) break;
        bool ended = jail_wait(&p, 10000, &end);
        CHECK(ended && end.code == 0 && atomic_load(tiles_done) == 5000, "start %d: %zu of 5000 tiles, %s", i,
              atomic_load(tiles_done), end.text);
        jail_free(&p);
    }
    munmap((void *)tiles_done, 4096);
}

static void *spins(void *arg)
{
    (void)arg;
    for (;;) atomic_load(&thread_go);
    return NULL;
}

static bool prepare_spinner(void *arg, err *e)
{
    pthread_t thread;
    (void)arg;
    return pthread_create(&thread, NULL, spins, NULL) == 0 || fail(e, ERR_IO, 0, "no thread");
}

static void threads(void)
{
    struct jail_options o = { .require = JAIL_REQUIRED, .skip = sanitized() ? jail_bit(JAIL_CLOCK) : 0 };
    struct jail_job job = { .prepare = prepare_thread, .run = thread_run };
    struct jail_process p;
    struct jail_end end;
    err e = { 0 };
    if (!CHECK(jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e), "%s", e.text)) return;
    CHECK(jail_wait(&p, 5000, &end) && end.by_filter, "a thread's forbidden call ends the process: %s", end.text);
    jail_free(&p);
    job = (struct jail_job){ .prepare = prepare_spinner, .run = nothing };
    CHECK(!jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e) && e.code == ERR_STATE, "a thread that never rests: %s", e.text);
}

struct echo {
    ring there, back;
};

static void echo_run(void *arg)
{
    struct echo *x = arg;
    uint8_t bytes[1024];
    uint32_t kind;
    size_t len;
    while (ring_receive_wait(&x->there, &kind, bytes, &len) == RING_OK && kind != 0)
        if (ring_send_wait(&x->back, kind + 1, (view){ bytes, len }) != RING_OK) break;
}

static void rings(void)
{
    static struct echo x;
    err e = { 0 };
    if (!CHECK(ring_new(&x.there, 4096, 1024, &e) && ring_new(&x.back, 4096, 1024, &e), "%s", e.text)) return;
    const struct jail_ring ends[] = { { &x.there, RING_READER }, { &x.back, RING_WRITER } };
    struct jail_options o = { .require = JAIL_REQUIRED, .rings = ends, .ring_count = 2 };
    struct jail_job job = { .run = echo_run, .arg = &x };
    uint8_t bytes[1024];
    uint32_t kind = 0;
    size_t len = 0;
    /* The spawner's own ends, in copies that keep the owner's maps: it must be able to start a successor. */
    ring out = x.there, in = x.back;
    out.owner = in.owner = false;
    out.role = RING_WRITER;
    in.role = RING_READER;
    for (int life = 0; life < 3; life++) {
        struct jail_process p;
        if (!CHECK(jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e), "%s", e.text)) break;
        enum ring_status status = ring_send_wait(&out, 7, view_of("hello"));
        if (life > 0)
            CHECK(status == RING_RESTARTED && ring_send_wait(&out, 7, view_of("hello")) == RING_OK, "life %d: %d", life,
                  status);
        status = ring_receive_wait(&in, &kind, bytes, &len);
        if (status == RING_RESTARTED) status = ring_receive_wait(&in, &kind, bytes, &len);
        CHECK(status == RING_OK && kind == 8 && len == 5, "life %d: the jailed process answers: %d, %u, %zu", life,
              status, kind, len);
        ring_send_wait(&out, 7, view_of("lost"));
        jail_free(&p);
        ring_restart(&x.there, RING_READER);
        ring_restart(&x.back, RING_WRITER);
    }
    ring_free(&x.there);
    ring_free(&x.back);
}

static void outsider(void)
{
    if (geteuid() == 0) {
        check_skip("root may read any process's memory: run this test as an ordinary user too");
        return;
    }
    struct jail_options o = { .require = JAIL_REQUIRED };
    static char secret[] = "a prompt";
    char copy[sizeof secret];
    for (int without = 0; without < 2; without++) {
        if (without) o = (struct jail_options){ .skip = jail_bit(JAIL_NOT_DUMPABLE) };
        struct jail_job job = { .run = wait_for_ever };
        struct jail_process p;
        err e = { 0 };
        if (!CHECK(jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e), "%s", e.text)) return;
        ssize_t got = process_vm_readv(p.pid, &(struct iovec){ copy, sizeof copy }, 1,
                                       &(struct iovec){ secret, sizeof secret }, 1, 0);
        if (without) CHECK(got > 0, "without the wall it can be read, so the attempt is a real one: %zd", got);
        else CHECK(got < 0 && errno == EPERM, "another process of the same user reads the engine's memory: %zd", got);
        jail_free(&p);
    }
}

/* The best of 60: others' work is not the jail's. On a machine so busy that all of them were held up, of more. */
static void times(void)
{
    double best = 1e9, sum = 0;
    enum { STARTS = 60, STARTS_BUSY = 600 };
    int i = 0;
    for (; i < STARTS || (best > 5.0 && i < STARTS_BUSY && !sanitized()); i++) {
        struct jail_options o = { .require = JAIL_REQUIRED };
        struct jail_job job = { .run = wait_for_ever };
        struct jail_process p;
        err e = { 0 };
        double from = now_ms();
        bool good = jail_spawn(&JAIL_ENGINE, &o, &job, &p, &e);
        double took = now_ms() - from;
        if (!good) {
            CHECK(false, "start %d: %s", i, e.text);
            return;
        }
        best = took < best ? took : best;
        sum += took;
        jail_free(&p);
    }
    printf("spawn to ready: %.2f ms at best, %.2f ms on average of %d\n", best, sum / i, i);
    CHECK(best <= 5.0 || sanitized(), "spawn to ready: %.2f ms, at most 5", best);
}

int main(void)
{
    const char *without = machine_without_jails();
    if (without != NULL) {
        check_skip(without);
        return check_done();
    }
    walls();
    refused();
    entering();
    seen_from_outside();
    crashes();
    preparations();
    threads();
    teams();
    rings();
    outsider();
    times();
    return check_done();
}
