/* Needles and pairs: whether a model that has read a long text still finds what stood in it, and what a cache tier
 * takes away from that. Part of `hearth eval`. */
#ifndef HEARTH_CMD_RECALL_H
#define HEARTH_CMD_RECALL_H

#include "cmd/open.h"

struct recall_options {
    const char *needle, *pairs; /* lengths: "1024,8K"; NULL: that test is not made */
    size_t trials;
};
struct option_group recall_group(struct recall_options *values);

static inline bool recall_wanted(const struct recall_options *set)
{
    return set->needle != NULL || set->pairs != NULL;
}

/* Makes and prints the tests; ids[0..count-1] are the text they are made of, without BOS. Errors: ERR_VALUE and
 * ERR_LIMIT (no list of lengths, one out of range, a text that is too short or has too few different tokens), and
 * those of computing. */
bool recall_run(struct opened *o, const struct compute_options *c, const struct recall_options *set, const int32_t *ids,
                size_t count, bool json, err *e);

#endif
