/* The escape suite as a test: nothing allowed in any profile, as root and as an ordinary user; and each wall taken away
 * lets attempts through, for a suite that can not fail shows nothing. */
#include "jail/prove.h"

#include "check.h"
#include "machine.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool loud;

static void tell(void *arg, const char *line)
{
    (void)arg;
    if (loud || strstr(line, "ALLOWED") != NULL) printf("    %s\n", line);
}

static void all_profiles(const char *who)
{
    struct prove_scene *s = NULL;
    err e = { 0 };
    if (!CHECK(prove_scene_new(&s, &e), "%s: %s", who, e.text)) return;
    size_t count;
    const struct jail_profile *const *profiles = jail_profiles(&count);
    static struct prove_tally t;
    for (size_t i = 0; i < count; i++)
        for (enum jail_denied denied = JAIL_KILL; denied <= JAIL_ERRNO; denied++) {
            e = (err){ 0 };
            if (!CHECK(prove_profile(s, profiles[i], 0, JAIL_REQUIRED, denied, false, &t, &e), "%s: %s: %s", who,
                       profiles[i]->name, e.text)) continue;
            size_t tried = t.rows - t.count[PROVE_NOT_TRIED];
            CHECK(tried >= 150, "%s: %s: only %zu attempts", who, profiles[i]->name, tried);
            CHECK(t.count[PROVE_ALLOWED] == 0, "%s: %s: %zu allowed", who, profiles[i]->name, t.count[PROVE_ALLOWED]);
            CHECK(t.count[PROVE_FILTERED] + t.count[PROVE_REFUSED] + t.count[PROVE_FAULTED] == tried,
                  "%s: %s: every attempt has an end", who, profiles[i]->name);
            for (size_t row = 0; row < t.rows; row++)
                if (t.end[row] == PROVE_ALLOWED) printf("    ALLOWED %s: %s\n", profiles[i]->name, prove_row_name(row));
            printf("%s, %s, %s: %zu attempts, 0 wanted, %zu allowed; filter %zu, kernel %zu, processor %zu\n", who,
                   profiles[i]->name, denied == JAIL_KILL ? "as in use" : "canary", tried, t.count[PROVE_ALLOWED],
                   t.count[PROVE_FILTERED], t.count[PROVE_REFUSED], t.count[PROVE_FAULTED]);
        }
    prove_scene_free(s);
}

/* How many attempts each wall must be seen to have stopped. */
static const struct { enum jail_wall wall; size_t alone, behind_filter; bool root, user; const char *says; } BITES[] = {
    { JAIL_SECCOMP, 40, 0, true, true, "the filter carries the kernel's surface" },
    { JAIL_USER_NS, 0, 1, false, true, "an ordinary user has the other namespaces from it" },
    { JAIL_MOUNT_NS, 0, 1, true, true, "paths" },
    { JAIL_NET_NS, 0, 1, true, true, "UDP to loopback" },
    { JAIL_PID_NS, 0, 1, true, true, "numbers of processes" },
    { JAIL_IPC_NS, 0, 1, true, true, "the spawner's segment" },
    { JAIL_UTS_NS, 0, 1, true, true, "the machine's name" },
    { JAIL_CGROUP_NS, 0, 1, true, true, "the machine's name for its group" },
    { JAIL_ROOT, 0, 1, true, true, "paths" },
    { JAIL_IDENTITY, 0, 1, true, false, "root is exempt from the limit on processes" },
    { JAIL_CAPABILITIES, 0, 1, true, true, "mounts in its own namespace" },
    { JAIL_EXEC_MEMORY, 0, 1, true, true, "mprotect to executable" },
    { JAIL_LIMITS, 0, 1, true, true, "processes and descriptors" },
    { JAIL_DESCRIPTORS, 0, 1, true, true, "the spawner's open files" },
    { JAIL_CLOCK, 1, 1, true, true, "an instruction no filter sees" },
    { JAIL_LANDLOCK, 0, 1, true, true, "the empty root itself" },
};

/* Whether this machine has put us in a group that has a name: in none there is nothing to hide. */
static bool in_a_group(void)
{
    char line[512];
    bool named = false;
    FILE *in = fopen("/proc/self/cgroup", "re");
    while (in != NULL && fgets(line, sizeof line, in) != NULL) {
        const char *path = strstr(line, ":/");
        named = named || (path != NULL && path[2] != '\n' && path[2] != '\0');
    }
    if (in != NULL) fclose(in);
    return named;
}

static void walls(const char *who, bool root)
{
    size_t alone[JAIL_WALLS] = { 0 }, behind[JAIL_WALLS] = { 0 };
    err e = { 0 };
    if (!CHECK(jail_prove_walls(tell, NULL, alone, behind, &e), "%s: %s", who, e.text)) return;
    for (size_t i = 0; i < sizeof BITES / sizeof *BITES; i++) {
        enum jail_wall w = BITES[i].wall;
        printf("%s, without %s: %zu; behind the filter %zu (%s)\n", who, jail_wall_text(w)->name, alone[w], behind[w],
               BITES[i].says);
        if (root ? !BITES[i].root : !BITES[i].user) continue;
        if (w == JAIL_CGROUP_NS && !in_a_group()) {
            check_skip("this machine has put us in no group with a name: a cgroup namespace has nothing to hide");
            continue;
        }
        CHECK(alone[w] >= BITES[i].alone && behind[w] >= BITES[i].behind_filter,
              "%s: taking %s away changes too little: %zu, %zu", who, jail_wall_text(w)->name, alone[w], behind[w]);
    }
}

/* What every start runs. */
static void brief(const char *who)
{
    struct timespec from, to;
    err e = { 0 };
    clock_gettime(CLOCK_MONOTONIC, &from);
    CHECK(jail_prove(JAIL_REQUIRED, true, tell, NULL, &e), "%s: in brief: %s", who, e.text);
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%s: the proof in brief took %.1f ms\n", who,
           (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) * 1e-6);
}

/* With every wall away the attempts reach their targets: they are real. As an ordinary user only. */
static void nothing(void)
{
    struct prove_scene *s = NULL;
    err e = { 0 };
    static struct prove_tally t;
    if (!CHECK(prove_scene_new(&s, &e), "%s", e.text)) return;
    if (CHECK(prove_profile(s, &JAIL_ENGINE, JAIL_ALL, 0, JAIL_ERRNO, false, &t, &e), "%s", e.text)) {
        printf("no walls: %zu allowed, kernel %zu, processor %zu\n", t.count[PROVE_ALLOWED], t.count[PROVE_REFUSED],
               t.count[PROVE_FAULTED]);
        CHECK(t.count[PROVE_ALLOWED] >= 150 && t.count[PROVE_FILTERED] == 0, "without walls only %zu are allowed",
              t.count[PROVE_ALLOWED]);
        for (size_t i = 0; loud && i < t.rows; i++)
            if (t.end[i] != PROVE_ALLOWED && t.end[i] != PROVE_NOT_TRIED)
                printf("    even then refused: %s: %s\n", prove_row_name(i), strerror(t.error[i]));
    }
    prove_scene_free(s);
}

int main(int argc, char **argv)
{
    const char *without = machine_without_jails();
    if (without != NULL) {
        check_skip(without);
        return check_done();
    }
    loud = argc > 1 && strcmp(argv[1], "loud") == 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (geteuid() != 0) {
        check_skip("not root: the half of the suite that starts as root");
        all_profiles("user");
        walls("user", false);
        nothing();
        return check_done();
    }
    brief("root");
    all_profiles("root");
    walls("root", true);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        check_passed = check_failed = check_skipped = 0;
        bool good = setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
                    setresuid(65534, 65534, 65534) == 0;
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* what an ordinary user's program is, and a changed identity takes away */
        CHECK(good, "becoming an ordinary user");
        brief("user");
        all_profiles("user");
        walls("user", false);
        nothing();
        fflush(stdout);
        _exit(check_done());
    }
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK(status == 0, "the suite as an ordinary user failed");
    return check_done();
}
