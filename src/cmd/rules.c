/* Policy and proof at a start: see rules.h. */
#include "cmd/rules.h"

#include "cmd/cmd.h"
#include "jail/prove.h"

bool rules_load(const char *path, bool no_jail, arena *a, struct policy *p, err *e)
{
    if (!policy_load(path, a, p, e)) return false;
    if (no_jail && p->path != NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "--no-jail: policy %s does not allow it", p->path);
    if (no_jail)
        say("--no-jail: the model file is read and computed without walls; what it could make this program do, it "
            "could do to your files");
    return true;
}

uint32_t rules_require(const struct policy *p, bool no_jail)
{
    return p->warn || no_jail ? 0 : p->require;
}

static void say_line(void *arg, const char *line)
{
    (void)arg;
    say("%s", line);
}

bool rules_prove(const struct policy *p, bool no_jail, err *e)
{
    bool strict = !p->warn && (p->require & JAIL_REQUIRED) == JAIL_REQUIRED;
    err why = { 0 };
    if (no_jail || jail_prove(rules_require(p, false), true, say_line, NULL, &why)) return true;
    if (strict) *e = why;
    else say("%s", why.text);
    return !strict;
}

void rules_say_missing(const struct policy *p, const struct jail_report *r)
{
    char line[JAIL_TEXT_BYTES * 2];
    for (enum jail_wall w = 0; p->warn && w < JAIL_WALLS; w++) {
        if (!(p->require & jail_bit(w)) || (r->up | r->waived) & jail_bit(w)) continue;
        jail_explain(r, w, line, sizeof line);
        say("%s", line);
    }
}
