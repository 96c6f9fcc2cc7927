/* What a start asks before a model is touched: the owner's policy, and whether the walls hold here, shown by canaries
 * (jail/prove.h) and not assumed. Shared by `run` and `serve`. */
#ifndef HEARTH_CMD_RULES_H
#define HEARTH_CMD_RULES_H

#include "jail/jail.h"
#include "orchestrator/policy.h"

/* Reads the policy file: `path`, else policy_load's places. Errors: the file's; ERR_UNSUPPORTED, --no-jail where there
 * is a policy. Without one --no-jail is the user's own choice: what it loses is said, once. */
bool rules_load(const char *path, bool no_jail, arena *a, struct policy *p, err *e);

/* Walls without which no process starts. */
uint32_t rules_require(const struct policy *p, bool no_jail);

/* A canary in every profile tries all escapes that can share a process: some 15 ms. False where one succeeds; where
 * policy is content with fewer walls than the standard ones it is said, and the start goes on. Errors: ERR_STATE, the
 * first attempt that was allowed; jail_spawn's. */
bool rules_prove(const struct policy *p, bool no_jail, err *e);

/* Says which walls policy asks for and the process of this report has not, where that is to be told only. */
void rules_say_missing(const struct policy *p, const struct jail_report *r);

#endif
