/* grammar/gbnf.c on any bytes: no finding; what compiles passes the checker, and a walk through it ends whole. */
#include "grammar_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena *a = grammar_room();
    view table;
    err e = { 0 };
    if (size > 4096) return 0;
    if (grammar_from_gbnf((view){ data, size }, NULL, a, &table, NULL, &e)) grammar_try(table, size, true);
    else assert(e.code != ERR_NONE && e.text[0] != '\0');
    return 0;
}
