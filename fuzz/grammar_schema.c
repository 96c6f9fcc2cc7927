/* grammar/schema.c on any bytes: no finding; what compiles passes the checker, and a walk through it ends whole. */
#include "grammar_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena *a = grammar_room();
    const json_value *schema;
    view table;
    struct grammar_notes notes;
    err e = { 0 };
    struct grammar_options set = { .any_order = size % 2 == 0,
                                   .no_blanks = size % 3 == 0,
                                   .formats_ignored = size % 5 == 0 };
    if (size > 4096 || !json_parse((view){ data, size }, a, &schema, &e)) return 0;
    if (grammar_from_schema(schema, &set, a, &table, &notes, &e)) grammar_try(table, size, true);
    else assert(e.code != ERR_NONE && e.text[0] != '\0');
    return 0;
}
