/* The seccomp filter of a profile. Inside jail/ only. */
#ifndef HEARTH_JAIL_FILTER_H
#define HEARTH_JAIL_FILTER_H

#include "jail/jail.h"

#include <linux/filter.h>

/* Writes the program for `p` into `code` (JAIL_FILTER_MAX instructions); its length. Errors: ERR_LIMIT,
 * ERR_UNSUPPORTED on a machine whose calls we have no numbers for. */
bool filter_make(const struct jail_profile *p, enum jail_denied denied, struct sock_filter *code, size_t *count,
                 err *e);

/* Puts it over all threads of the process, for good. False: errno says why. */
bool filter_install(struct sock_filter *code, size_t count);

#endif
