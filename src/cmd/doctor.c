/* hearth doctor: what this machine can do, as facts, and what is missing and how to get it. It changes nothing. */
#include "cmd/open.h"

#include "base/limits.h"
#include "base/memory.h"
#include "format/json.h"
#include "jail/prove.h"

#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

struct doctor_options {
    bool json, prove;
};

static const struct option ROWS[] = {
    { "--json", NULL, OPTION_FLAG, offsetof(struct doctor_options, json), 0, 0, NULL, NULL, "one object" },
    { "--prove", NULL, OPTION_FLAG, offsetof(struct doctor_options, prove), 0, 0, NULL, NULL,
      "try every escape in every kind of jail (a minute)" },
};

enum { FACT_BYTES = 200 };

/* One line: a name, what is so, and what to do about it (empty: nothing). */
struct fact {
    const char *name;
    char value[FACT_BYTES];
    char advice[FACT_BYTES];
};

typedef void fact_fn(struct fact *f);

/* The first line of a file that begins with `key`, behind its colon; an empty key takes the first line. */
static bool read_line_of(const char *path, const char *key, char *out, size_t room)
{
    char line[4096];
    bool found = false;
    FILE *in = fopen(path, "re");
    while (in != NULL && !found && fgets(line, sizeof line, in) != NULL) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        const char *colon = key[0] != '\0' ? strchr(line, ':') : NULL, *text = colon != NULL ? colon + 1 : line;
        text += strspn(text, " \t");
        snprintf(out, room, "%.*s", (int)strcspn(text, "\n"), text);
        found = true;
    }
    if (in != NULL) fclose(in);
    return found;
}

static void fact_version(struct fact *f)
{
    snprintf(f->value, sizeof f->value, "%s", HEARTH_VERSION);
}

static void fact_kernel(struct fact *f)
{
    struct utsname name;
    if (uname(&name) == 0)
        snprintf(f->value, sizeof f->value, "%.60s %.60s %.40s", name.sysname, name.release, name.machine);
}

static void fact_processor(struct fact *f)
{
    if (!read_line_of("/proc/cpuinfo", "model name", f->value, sizeof f->value) &&
        !read_line_of("/proc/device-tree/model", "", f->value, sizeof f->value))
        snprintf(f->value, sizeof f->value, "unknown");
}

static void fact_features(struct fact *f)
{
    static const char *const wanted[] = { "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512vbmi",
                                          "amx_int8", "asimd", "asimdhp", "asimddp", "i8mm", "sve" };
    char flags[4096], *save = NULL;
    size_t len = 0;
    if (!read_line_of("/proc/cpuinfo", "flags", flags, sizeof flags) &&
        !read_line_of("/proc/cpuinfo", "Features", flags, sizeof flags))
        flags[0] = '\0';
    for (char *flag = strtok_r(flags, " ", &save); flag != NULL; flag = strtok_r(NULL, " ", &save))
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted && len < sizeof f->value - 1; i++)
            if (strcmp(flag, wanted[i]) == 0)
                len += (size_t)snprintf(f->value + len, sizeof f->value - len, "%s%s", len > 0 ? " " : "", flag);
    if (len == 0) snprintf(f->value, sizeof f->value, "none that matter here");
}

static void fact_tiers(struct fact *f)
{
    size_t len = 0;
    for (const char *const *tier = kernels_tiers(); *tier != NULL && len < sizeof f->value - 1; tier++)
        len += (size_t)snprintf(f->value + len, sizeof f->value - len, "%s%s", len > 0 ? " " : "", *tier);
    if (kernels_tiers()[1] == NULL)
        snprintf(f->advice, sizeof f->advice, "only the portable reference: it is exact, and slow");
}

static void fact_threads(struct fact *f)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int mine = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    snprintf(f->value, sizeof f->value, "%d processors for this process, %ld in the machine", mine,
             sysconf(_SC_NPROCESSORS_ONLN));
}

static void fact_memory(struct fact *f)
{
    char total[64] = "?", limit[64] = "";
    read_line_of("/proc/meminfo", "MemTotal", total, sizeof total);
    bool limited = read_line_of("/sys/fs/cgroup/memory.max", "", limit, sizeof limit) && strcmp(limit, "max") != 0;
    snprintf(f->value, sizeof f->value, "%s in all, %zu kB free%s%s%s", total, memory_free_bytes() / 1024,
             limited ? ", this container may use " : "", limited ? limit : "", limited ? " bytes" : "");
}

static void fact_pages(struct fact *f)
{
    char huge[64] = "not offered";
    read_line_of("/sys/kernel/mm/transparent_hugepage/enabled", "", huge, sizeof huge);
    snprintf(f->value, sizeof f->value, "%ld bytes, transparent huge pages: %s", sysconf(_SC_PAGESIZE), huge);
    if (strstr(huge, "[never]") != NULL)
        snprintf(f->advice, sizeof f->advice,
                 "faster with: echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
}

/* In a child, so that this process stays where it is. */
static void fact_namespaces(struct fact *f)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) _exit(unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS) == 0 ? 0 : 1);
    int status = -1;
    bool works = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    snprintf(f->value, sizeof f->value, "%s", works ? "work for this user" : "refused to this user");
    if (!works)
        snprintf(f->advice, sizeof f->advice, "see kernel.unprivileged_userns_clone, user.max_user_namespaces, "
                 "kernel.apparmor_restrict_unprivileged_userns (sysctl)");
}

static void fact_landlock(struct fact *f)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version > 0) snprintf(f->value, sizeof f->value, "version %ld", version);
    else snprintf(f->value, sizeof f->value, "not offered by this kernel");
    if (version <= 0) snprintf(f->advice, sizeof f->advice, "needs Linux 5.13 or later with landlock in the lsm= list");
}

static void fact_seccomp(struct fact *f)
{
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    bool works = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    snprintf(f->value, sizeof f->value, "%s", works ? "filters work" : "not offered by this kernel");
    if (!works) snprintf(f->advice, sizeof f->advice, "needs CONFIG_SECCOMP_FILTER, Linux 4.14 or later");
}

static void fact_model(struct fact *f)
{
    char path[PATH_BYTES_MAX];
    err e = { 0 };
    if (model_find(NULL, path, &e)) snprintf(f->value, sizeof f->value, "%.190s", path);
    else snprintf(f->value, sizeof f->value, "none ships with this copy");
    if (e.code != ERR_NONE) snprintf(f->advice, sizeof f->advice, "%.190s", e.text);
}

static const struct {
    const char *name;
    fact_fn *find;
} FACTS[] = {
    { "hearth", fact_version },        { "kernel", fact_kernel },     { "processor", fact_processor },
    { "features", fact_features },     { "tiers", fact_tiers },       { "threads", fact_threads },
    { "memory", fact_memory },         { "pages", fact_pages },       { "namespaces", fact_namespaces },
    { "landlock", fact_landlock },     { "seccomp", fact_seccomp },   { "model", fact_model },
};

static bool print_facts(const struct fact *facts, size_t count, bool json, err *e)
{
    arena room = { 0 };
    json_writer w;
    view text;
    if (!json) {
        for (size_t i = 0; i < count; i++) {
            printf("%-12s%s\n", facts[i].name, facts[i].value);
            if (facts[i].advice[0] != '\0') printf("%-12s  %s\n", "", facts[i].advice);
        }
        return true;
    }
    if (!arena_new(&room, 1 << 20, e)) return false;
    json_writer_start(&w, &room, 1 << 16, e);
    w.spaced = true;
    json_begin_object(&w);
    for (size_t i = 0; i < count; i++) {
        json_key(&w, facts[i].name);
        json_begin_object(&w);
        json_key(&w, "is");
        json_text(&w, facts[i].value);
        json_key(&w, "advice");
        json_text(&w, facts[i].advice);
        json_end_object(&w);
    }
    json_end_object(&w);
    bool good = json_done(&w, &text);
    if (good) printf("%.*s\n", (int)text.len_bytes, (const char *)text.ptr);
    arena_free(&room);
    return good;
}

static void print_line(void *arg, const char *line)
{
    (void)arg;
    printf("%s\n", line);
    fflush(stdout); /* a line is there as soon as it is known: the whole proof takes a while */
}

int cmd_doctor(int argc, char **argv)
{
    struct doctor_options set = { 0 };
    struct command_line line = { .command = "doctor",
                                 .usage = "",
                                 .about =
                                     "What this machine can do, what is missing and how to get it. Changes nothing.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set } } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    err prove_error = { 0 };
    if (set.prove)
        return jail_prove(JAIL_REQUIRED, false, print_line, NULL, &prove_error) ? EXIT_GOOD : say_error(&prove_error);
    enum { COUNT = sizeof FACTS / sizeof *FACTS };
    struct fact facts[COUNT] = { 0 };
    for (size_t i = 0; i < COUNT; i++) {
        facts[i].name = FACTS[i].name;
        FACTS[i].find(&facts[i]);
    }
    err e = { 0 };
    return print_facts(facts, COUNT, set.json, &e) ? EXIT_GOOD : say_error(&e);
}
