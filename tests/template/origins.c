/* Origins through every operation, errors that say where, limits at -1, 0, +1, and templates that never end. */
#include "template/template.h"

#include "check.h"

#include <time.h>

static arena room;

static const char VARS[] = "{\"bos\": \"<s>\", \"m\": \"user\", \"n\": 3, \"l\": [\"x\", \"y\"], \"o\": {\"k\": \"v\", "
                           "\"i\": 2}, \"u\": \"a\\u00e9b\"}";

static bool render(const char *source, const struct template_limits *limits, struct rendered *r, err *e)
{
    static const char *const trusted[] = { "bos" };
    struct render_options options = { .trusted = trusted, .trusted_count = 1 };
    const json_value *vars;
    const chat_template *t;
    *e = (err){ 0 };
    if (limits != NULL) options.limits = *limits;
    arena_rewind(&room, 0);
    return json_parse(view_of(VARS), &room, &vars, e) && template_parse(view_of(source), &room, &t, e) &&
           template_render(t, vars, &options, &room, r, e);
}

/* Each byte of the text has its letter: T template, B token, U variable. */
static const struct {
    const char *says, *source, *text, *origins;
} origins[] = {
    { "text and variable", "a{{ m }}b", "auserb", "TUUUUT" },
    { "a trusted token", "{{ bos }}{{ m }}", "<s>user", "BBBUUUU" },
    { "a literal", "{{ 'x' }}{{ \"y\" }}", "xy", "TT" },
    { "plus", "{{ 'x' + m + bos }}", "xuser<s>", "TUUUUBBB" },
    { "tilde", "{{ m ~ 'x' ~ 1 }}", "userx1", "UUUUTT" },
    { "slice over borders", "{{ ('ab' + m + 'cd')[1:7] }}", "buserc", "TUUUUT" },
    { "slice backwards", "{{ ('a' + m)[::-1] }}", "resua", "UUUUT" },
    { "one character", "{{ ('a' + m)[1] }}", "u", "U" },
    { "upper", "{{ ('a' + m)|upper }}", "AUSER", "TUUUU" },
    { "capitalize", "{{ ('a' + m)|capitalize }}", "Auser", "TUUUU" },
    { "title", "{{ (m + ' b')|title }}", "User B", "UUUUTT" },
    { "trim keeps the rest", "{{ (' ' + m + ' ')|trim }}", "user", "UUUU" },
    { "replace: the new part is the template's", "{{ m|replace('se', '<|end|>') }}", "u<|end|>r", "UTTTTTTTU" },
    { "replace: the new part is the user's", "{{ 'a-b'|replace('-', m) }}", "auserb", "TUUUUT" },
    { "join", "{{ l|join('-') }}", "x-y", "UTU" },
    { "join with the user's separator", "{{ ['a','b']|join(m) }}", "auserb", "TUUUUT" },
    { "split and last", "{{ ('a,' + m).split(',')|last }}", "user", "UUUU" },
    { "partition", "{{ ('a,' + m).partition(',')[0] }}", "a", "T" },
    { "indent", "{{ 'a\nb'|indent(1) }}", "a\n b", "TTTT" },
    { "format: its characters and the arguments'", "{{ '<%s>' % m }}", "<user>", "TUUUUT" },
    { "format with fields", "{{ '<{}>'.format(m) }}", "<user>", "TUUUUT" },
    { "center", "{{ m|center(6) }}", " user ", "TUUUUT" },
    { "a number of a message", "{{ n }}", "3", "U" },
    { "a sum with one", "{{ n + 1 }}", "4", "U" },
    { "a sum of literals", "{{ 1 + 1 }}", "2", "T" },
    { "a length", "{{ m|length }}", "4", "U" },
    { "tojson of a variable: all of it", "{{ o|tojson }}", "{\"k\": \"v\", \"i\": 2}", "UUUUUUUUUUUUUUUUUU" },
    { "tojson of a literal around a variable", "{{ {'a': m}|tojson }}", "{\"a\": \"user\"}", "TTTTTTUUUUUUT" },
    { "repr of a list", "{{ l }}", "['x', 'y']", "UUUUUUUUUU" },
    { "string of a list of literals", "{{ ['x']|string }}", "['x']", "TTTTT" },
    { "a macro", "{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(m) }}", "<user>", "TUUUUT" },
    { "a set block", "{% set b %}<{{ m }}>{% endset %}{{ b|upper }}", "<USER>", "TUUUUT" },
    { "a filter block", "{% filter upper %}a{{ m }}{% endfilter %}", "AUSER", "TUUUU" },
    { "a key of an object", "{% for k in o %}{{ k }}{% endfor %}", "ki", "UU" },
    { "a character in two bytes", "{{ (u + 'c')[1:] }}",
      "\xC3\xA9"
      "bc",
      "UUUT" },
    { "a loop's number", "{% for x in [1] %}{{ loop.index }}{% endfor %}", "1", "U" },
    { "rpartition", "{{ (m + '-b').rpartition('-')|join }}", "user-b", "UUUUTT" },
    { "escape", "{{ ('<' + m)|e }}", "&lt;user", "TTTTUUUU" },
    { "a choice keeps what was chosen", "{{ m if true else 'x' }}{{ '' or 'y' }}", "usery", "UUUUT" },
    { "from_json of a literal", "{{ ('{\"a\": \"b\"}'|from_json).a }}", "b", "T" },
    { "a user's token-alike", "{{ m|replace('user', '<s>') ~ ('<' ~ 's>') }}", "<s><s>", "TTTTTT" },
};

static void origins_hold(void)
{
    static const char letters[] = "TBU";
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        struct rendered r;
        err e;
        char got[200] = "";
        if (!CHECK(render(origins[i].source, NULL, &r, &e), "%s: %s", origins[i].says, e.text)) continue;
        for (size_t run = 0, at = 0; run < r.run_count && r.text.len_bytes < sizeof got; run++)
            for (; at < r.runs[run].end; at++) got[at] = letters[r.runs[run].origin], got[at + 1] = '\0';
        CHECK(view_is(r.text, origins[i].text) && strcmp(got, origins[i].origins) == 0, "%s: %.*s %s", origins[i].says,
              (int)r.text.len_bytes, (const char *)r.text.ptr, got);
    }
}

static const struct {
    const char *source, *starts;
} errors[] = {
    { "{{ q.x }}", "template line 1, column 5: 'q' is undefined: {{ q.x }}" },
    { "a\n  {{ m + 1 }}", "template line 2, column 8: unsupported operand types for +: 'str' and 'int': {{ m + 1 }}" },
    { "{% if %}", "template line 1, column 7: an expression expected, not \"%}\": {% if %}" },
    { "{% for x in l %}", "template line 1, column 17: the template ends inside a block" },
    { "{{ 'a }}", "template line 1, column 4: string without an end" },
    { "{% nope %}", "template line 1, column 4: the name of a statement expected, not \"nope\"" },
    { "\n\n{{ raise_exception('no tools') }}", "template line 3, column 19: no tools: {{ raise_exception" },
    { "{{ m|nope }}", "template line 1, column 6: no filter named 'nope'" },
    { "{# open", "template line 1, column 3: comment without an end" },
    { "{{ (1] }}", "template line 1, column 6: this bracket closes nothing" },
    { "{% break %}", "template line 1, column 4: outside of a loop" },
    { "{% set true = 1 %}", "template line 1, column 8: a constant cannot be set" },
};

static void errors_say_where(void)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct rendered r;
        err e;
        bool failed = !render(errors[i].source, NULL, &r, &e);
        CHECK(failed && view_starts(view_of(e.text), view_of(errors[i].starts)) && strchr(e.text, '\n') == NULL,
              "%s: %s", errors[i].source, failed ? e.text : "rendered");
    }
}

/* `open` n times, `middle`, `close` n times. */
static const char *nested(const char *open, size_t n, const char *middle, const char *close)
{
    static char text[1 << 16];
    size_t at = 0;
    for (size_t i = 0; i < n; i++) at += (size_t)snprintf(text + at, sizeof text - at, "%s", open);
    at += (size_t)snprintf(text + at, sizeof text - at, "%s", middle);
    for (size_t i = 0; i < n; i++) at += (size_t)snprintf(text + at, sizeof text - at, "%s", close);
    return text;
}

static void limit(const char *says, const char *source, const struct template_limits *limits, bool allowed)
{
    struct rendered r;
    err e;
    bool good = render(source, limits, &r, &e);
    CHECK(good == allowed && (good || e.code == ERR_LIMIT), "%s: %s", says, good ? "rendered" : e.text);
}

static void limits_hold(void)
{
    for (int by = -1; by <= 1; by++) {
        char text[200];
        size_t n = (size_t)(TEMPLATE_NEST_MAX + by);
        limit("blocks", nested("{% if true %}", n - 1, "x", "{% endif %}"), NULL,
              by <= 0); /* the template itself is one */
        struct template_limits output = { .output_bytes = (size_t)(5 + by) };
        limit("output of 5 bytes", "{% for x in [1,2,3,4,5] %}a{% endfor %}", &output, by >= 0);
        snprintf(text, sizeof text,
                 "{%% macro f(n) %%}{%% if n > 0 %%}{{ f(n - 1) }}{%% endif %%}{%% endmacro %%}{{ f(%d) }}",
                 by < 0 ? 100 : 1000);
        limit("macro calls inside each other", text, NULL, by < 0);
        snprintf(
            text, sizeof text,
            "{%% set s = namespace(l=[]) %%}{%% for i in range(%d) %%}{%% set s.l = [s.l] %%}{%% endfor %%}{{ s.l }}",
            TEMPLATE_VALUE_DEPTH_MAX + by - 1);
        limit("lists in lists", text, NULL, by <= 0);
    }
    uint64_t needed = 0; /* the first number of steps that is enough: one less is not */
    for (uint64_t steps = 1; steps < 100 && needed == 0; steps++) {
        struct template_limits few = { .steps = steps };
        struct rendered r;
        err e;
        if (render("{{ 1 + 2 }}", &few, &r, &e)) needed = steps;
        else CHECK(e.code == ERR_LIMIT, "%llu steps: %s", (unsigned long long)steps, e.text);
    }
    CHECK(needed >= 4 && needed < 100, "a print, a sum and two numbers took %llu steps", (unsigned long long)needed);
    struct template_limits little = { .memory_bytes = 4096 };
    limit("4 KB of values", "{{ 'abcdefgh' * 1000 }}", &little, false);
}

/* Each ends with an error of its own; the time is processor time, so a loaded machine does not matter. */
static const char *const endless[] = {
    "{% for i in range(1000000000000) %}{% endfor %}",
    "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for a in range(3) recursive %}{{ loop([1]) }}{% endfor %}",
    "{% set n = namespace(s='aaaaaaaaaa') %}{% for i in range(100) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{{ 'ab' * 1000000000 }}",
    "{{ range(1000000000)|list }}",
    "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
    "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
    "{% set l = [] %}{% set _ = l.append(l) %}{% set k = [] %}{% set _ = k.append(k) %}{{ l == k }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{{ 'a'.center(999999999) }}",
    "{{ 'a'.ljust(999999999, 'x') }}",
    "{{ 'a'|indent(999999999, true) }}",
    "{% set s = 'a' * 100000 %}{% for i in range(100000) %}{{ s.rfind('ab') }}{% endfor %}",
    "{% set s = 'a' * 100000 %}{% for i in range(100000) %}{% set t = s|replace('a', 'bb') %}{% endfor %}",
    "{% set s = range(30000)|map('string')|list %}{{ s|unique|list|length }}{{ s|sort|length }}{{ s|tojson|length }}",
};

static void nothing_is_endless(void)
{
    double slowest = 0;
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        struct rendered r;
        err e;
        clock_t start = clock();
        bool good = render(endless[i], NULL, &r, &e);
        double ms = (double)(clock() - start) * 1e3 / CLOCKS_PER_SEC;
        slowest = ms > slowest ? ms : slowest;
        if (getenv("HEARTH_VERBOSE") != NULL) printf("%6.1f ms %s\n", ms, endless[i]);
        CHECK(!good && e.code == ERR_LIMIT, "%s: %s", endless[i], good ? "rendered" : e.text);
    }
    printf("the slowest endless template ended after %.0f ms\n", slowest);
    CHECK(slowest < 2000, "%.0f ms", slowest); /* 100 ms in a release build; sanitizers and slow machines take more */
}

int main(void)
{
    err e = { 0 };
    if (!arena_new(&room, (size_t)1 << 28, &e)) return 1;
    origins_hold();
    errors_say_where();
    limits_hold();
    nothing_is_endless();
    arena_free(&room);
    return check_done();
}
