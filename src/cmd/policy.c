/* hearth policy check: what a policy file allows, in sentences. */
#include "cmd/options.h"

#include "orchestrator/policy.h"

#include <stdio.h>

static void print_line(void *arg, const char *line)
{
    (void)arg;
    printf("%s\n", line);
}

int cmd_policy(int argc, char **argv)
{
    struct command_line line = { .command = "policy",
                                 .usage = "check [FILE]",
                                 .words_min = 1,
                                 .words_max = 2,
                                 .about = "What a policy file allows, in sentences; without FILE the one that\n"
                                          "is used. The keys are in docs/policy.md." };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if (!view_is(view_of(line.words[0]), "check")) {
        say("policy: no \"%.60s\"; there is: check [FILE]", line.words[0]);
        return EXIT_USAGE;
    }
    arena a = { 0 };
    struct policy p;
    err e = { 0 };
    const char *path = line.word_count > 1 ? line.words[1] : NULL;
    bool good = arena_new(&a, (size_t)64 << 20, &e) && policy_load(path, &a, &p, &e);
    if (good) policy_explain(&p, print_line, NULL);
    arena_free(&a);
    return good ? EXIT_GOOD : say_error(&e);
}
