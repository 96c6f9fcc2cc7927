/* The configuration reader: what a file may say, and how each mistake is named. */
#include "base/config.h"
#include "base/limits.h"
#include "check.h"

enum { K_STEPS, K_RATE, K_NAME, K_TIED, K_KIND, K_FILE, K_COUNT };
static const struct config_key KEYS[K_COUNT] = {
    { "train", "steps", CONFIG_INT, 1, 1000, "10", "optimizer steps", NULL, false },
    { "train", "rate", CONFIG_REAL, 0, 1, "1e-3", "learning rate", NULL, false },
    { "model", "name", CONFIG_TEXT, 0, 0, NULL, "what to call it", NULL, false },
    { "model", "tied", CONFIG_BOOL, 0, 0, "yes", "one table for input and output", NULL, false },
    { "model", "kind", CONFIG_CHOICE, 0, 0, "dense", "feed-forward block", "dense experts", false },
    { "data", "file", CONFIG_TEXT, 0, 0, NULL, "a shard", NULL, true },
};

static const struct {
    const char *says, *text;
    enum err_code want;
    const char *error; /* part of the message */
} FILES[] = {
    { "a required key alone", "[model]\nname = ember\n", ERR_NONE, "" },
    { "no newline at the end", "[model]\nname = ember", ERR_NONE, "" },
    { "comments, blanks, carriage returns", "# head\r\n[model] # here\r\n  name\t=  ember   # tail\r\n", ERR_NONE, "" },
    { "a # inside a word is text", "[model]\nname = a#b\n", ERR_NONE, "" },
    { "quotes keep blanks and #", "[model]\nname = \" a # b \" # c\n", ERR_NONE, "" },
    { "empty text in quotes", "[model]\nname = \"\"\n", ERR_NONE, "" },
    { "a many key three times", "[model]\nname=x\n[data]\nfile=a\nfile=b\nfile=c\n", ERR_NONE, "" },
    { "the lowest value", "[model]\nname=x\n[train]\nsteps = 1\n", ERR_NONE, "" },
    { "the highest value", "[model]\nname=x\n[train]\nsteps = 1000\n", ERR_NONE, "" },
    { "one under", "[model]\nname=x\n[train]\nsteps = 0\n", ERR_LIMIT, "line 4: steps: 0, allowed 1..1000" },
    { "one over", "[model]\nname=x\n[train]\nsteps = 1001\n", ERR_LIMIT, "line 4: steps: 1001, allowed 1..1000" },
    { "an unknown key names its neighbour", "[train]\nstep = 1\n", ERR_VALUE,
      "line 2: unknown key step in [train]; the nearest is steps in [train]" },
    { "the right key in the wrong section", "[model]\nsteps = 1\n", ERR_VALUE, "the nearest is steps in [train]" },
    { "an unknown section", "[modle]\n", ERR_VALUE, "line 1: unknown section [modle]; the nearest is [model]" },
    { "a key before any section", "name = x\n", ERR_VALUE, "unknown key name in []" },
    { "a duplicate names both lines", "[model]\nname=x\nname=y\n", ERR_VALUE,
      "line 3: name stands twice, first in line 2" },
    { "the same key in a section opened again", "[model]\nname=x\n[train]\n[model]\nname=y\n", ERR_VALUE, "twice" },
    { "a missing key says what it is for", "[train]\n", ERR_MISSING, "[model] name is missing: what to call it" },
    { "an empty file", "", ERR_MISSING, "[model] name is missing" },
    { "no equals sign", "[model]\nname\n", ERR_VALUE, "line 2: expected key = value" },
    { "no value", "[model]\nname =\n", ERR_VALUE, "line 2: no value" },
    { "only a comment for a value", "[model]\nname = # x\n", ERR_VALUE, "line 2: no value" },
    { "an open quote", "[model]\nname = \"x\n", ERR_VALUE, "line 2: a quote is not closed" },
    { "text after a quote", "[model]\nname = \"x\" y\n", ERR_VALUE, "text after the closing quote" },
    { "a quote inside", "[model]\nname = x\"y\n", ERR_VALUE, "a quote inside" },
    { "an open section", "[model\n", ERR_VALUE, "a section is written [name]" },
    { "text after a section", "[model] x\n", ERR_VALUE, "a section is written [name]" },
    { "a control character", "[model]\nname = \x01\n", ERR_VALUE, "code 1" },
    { "a fraction for a whole number", "[model]\nname=x\n[train]\nsteps = 1.5\n", ERR_VALUE, "is not a whole number" },
    { "yes and no alone", "[model]\nname=x\ntied = true\n", ERR_VALUE, "is not yes or no" },
    { "an unknown choice lists the choices", "[model]\nname=x\nkind = moe\n", ERR_VALUE,
      "moe is none of: dense experts" },
    { "a choice cut short", "[model]\nname=x\nkind = expert\n", ERR_VALUE, "is none of" },
};

static void test_files(arena *a)
{
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++) {
        err e = { 0 };
        struct config c;
        bool good = config_read(view_of(FILES[i].text), KEYS, K_COUNT, a, &c, &e);
        CHECK(good == (FILES[i].want == ERR_NONE) && e.code == FILES[i].want && strstr(e.text, FILES[i].error) != NULL,
              "%s: code %d, \"%s\"", FILES[i].says, e.code, e.text);
        arena_rewind(a, 0);
    }
}

static void test_values(arena *a)
{
    err e = { 0 };
    struct config c;
    const char *text = "[model]\nname = \" a # b \"\nkind=experts\ntied=no\n[train]\nsteps=7\nrate=2.5e-4\n"
                       "[data]\nfile=a\nfile = b\n";
    if (!CHECK(config_read(view_of(text), KEYS, K_COUNT, a, &c, &e), "%s", e.text)) return;
    CHECK(view_is(c.values[K_NAME]->text, " a # b "), "quoted text");
    CHECK(c.values[K_NAME]->line == 2, "line %u", c.values[K_NAME]->line);
    CHECK(c.values[K_KIND]->integer == 1, "choice %d", (int)c.values[K_KIND]->integer);
    CHECK(c.values[K_TIED]->integer == 0, "bool");
    CHECK(c.values[K_STEPS]->integer == 7, "integer");
    CHECK(c.values[K_RATE]->real == 2.5e-4, "real");
    CHECK(view_is(c.values[K_FILE]->text, "a") && view_is(c.values[K_FILE]->next->text, "b") &&
              c.values[K_FILE]->next->next == NULL, "many keep their order");
    CHECK(config_read(view_of("[model]\nname=x"), KEYS, K_COUNT, a, &c, &e), "%s", e.text);
    CHECK(c.values[K_STEPS]->integer == 10 && c.values[K_STEPS]->line == 0, "a fallback has no line");
    CHECK(c.values[K_FILE] == NULL, "a many key left out is NULL");
}

static void test_numbers(void)
{
    static const struct { const char *text; bool good; int64_t want;
    } ints[] = {
        { "0", true, 0 },
        { "-12", true, -12 },
        { "4K", true, 4096 },
        { "3M", true, 3 << 20 },
        { "2G", true, 2LL << 30 },
        { "9223372036854775807", true, INT64_MAX },
        { "9223372036854775808", false, 0 },
        { "9007199254740992K", false, 0 },
        { "", false, 0 },
        { "-", false, 0 },
        { "K", false, 0 },
        { "4KB", false, 0 },
        { "1 ", false, 0 },
        { "0x10", false, 0 },
    };
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        int64_t v = 0;
        CHECK(config_int(view_of(ints[i].text), &v) == ints[i].good && v == ints[i].want, "%s: %lld", ints[i].text,
              (long long)v);
    }
    static const struct { const char *text; bool good; double want;
    } reals[] = {
        { "0", true, 0 },       { "0.1", true, 0.1 },
        { ".5", true, 0.5 },    { "-3.25", true, -3.25 },
        { "1e22", true, 1e22 }, { "6.02e-7", true, 6.02e-7 },
        { "1E+3", true, 1000 }, { "123456789.012345", true, 123456789.012345 },
        { "1e23", false, 0 },   { "1234567890123456", false, 0 },
        { "e5", false, 0 },     { ".", false, 0 },
        { "1.2.3", false, 0 },  { "nan", false, 0 },
        { "inf", false, 0 },    { "1e", false, 0 },
        { "", false, 0 },
    };
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        double v = 0;
        CHECK(config_real(view_of(reals[i].text), &v) == reals[i].good && v == reals[i].want, "%s: %.17g",
              reals[i].text, v);
    }
}

/* A line and a file of the longest length pass; one more does not. */
static void test_limits(arena *a)
{
    static char text[CONFIG_LINES_MAX + CONFIG_LINE_BYTES_MAX + 64];
    for (size_t over = 0; over < 2; over++) {
        err e = { 0 };
        struct config c;
        memset(text, 'x', sizeof text);
        memcpy(text, "[model]\nname =", 14);
        size_t end = 8 + CONFIG_LINE_BYTES_MAX + over;
        CHECK(config_read((view){ (uint8_t *)text, end }, KEYS, K_COUNT, a, &c, &e) == (over == 0), "line + %zu: %s",
              over, e.text);
        e = (err){ 0 };
        memset(text, '\n', sizeof text);
        memcpy(text, "[model]\nname=x", 14); /* its last newline ends line 2 */
        end = 14 + CONFIG_LINES_MAX - 1 + over;
        CHECK(config_read((view){ (uint8_t *)text, end }, KEYS, K_COUNT, a, &c, &e) == (over == 0), "lines + %zu: %s",
              over, e.text);
    }
}

int main(void)
{
    err e = { 0 };
    arena a = { 0 };
    if (!arena_new(&a, 1 << 20, &e)) return 1;
    test_files(&a);
    test_values(&a);
    test_numbers();
    test_limits(&a);
    arena_free(&a);
    return check_done();
}
