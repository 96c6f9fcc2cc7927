/* grammar/check.c and the walk on any bytes: what the checker lets through is walked without a finding, whatever it
 * says; masks and single tokens agree. */
#include "grammar_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    err e = { 0 };
    if (size > 1 << 16) return 0;
    uint8_t *table = aligned_alloc(64, (size + 63) / 64 * 64 + 64); /* its own: a touch outside is seen */
    if (table == NULL) return 0;
    memcpy(table, data, size);
    grammar_try((view){ table, size }, size, false);
    free(table);
    (void)e;
    return 0;
}
