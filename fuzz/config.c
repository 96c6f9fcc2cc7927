/* Any bytes as a configuration: a value or one error, never more. */
#include "base/config.h"

static const struct config_key KEYS[] = {
    { "a", "int", CONFIG_INT, -10, 10, "1", "a number", NULL, false },
    { "a", "real", CONFIG_REAL, -1, 1, "0.5", "a number", NULL, false },
    { "b", "text", CONFIG_TEXT, 0, 0, "", "a text", NULL, false },
    { "b", "yes", CONFIG_BOOL, 0, 0, "no", "a choice", NULL, false },
    { "b", "one", CONFIG_CHOICE, 0, 0, "x", "a choice", "x y zed", false },
    { "b", "more", CONFIG_TEXT, 0, 0, NULL, "texts", NULL, true },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena a = { 0 };
    err e = { 0 };
    struct config c;
    if (!arena_new(&a, 1 << 22, &e)) return 0;
    (void)config_read((view){ data, size }, KEYS, sizeof KEYS / sizeof KEYS[0], &a, &c, &e);
    arena_free(&a);
    return 0;
}
