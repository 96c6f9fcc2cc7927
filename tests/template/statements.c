/* What stands in a clone without the reference cases: each statement and each group of filters and methods once, in
 * templates of a line, with the text Jinja makes of them; and templates that must end with an error. */
#include "template/template.h"

#include "check.h"

static arena room;

static const struct row {
    const char *says, *source, *text; /* text NULL: an error that holds `names` */
    const char *names;
} ROWS[] = {
    { "a variable, a filter, a default", "{{ a|upper }}{{ none_such|default('-') }}", "HI-", NULL },
    { "blocks take their own line", "{% if true %}\nx\n{% endif %}\ny", "x\ny", NULL },
    { "Python's precedence and numbers", "{{ 2 + 3 * 4 ** 2 / 8 }} {{ -7 // 2 }} {{ not 1 == 2 }}", "8.0 -4 True",
      NULL },
    { "loop variables", "{% for x in l %}{{ loop.index }}{{ x }}{{ '' if loop.last else ',' }}{% endfor %}", "13,21,32",
      NULL },
    { "a loop's filter and else", "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}", "none", NULL },
    { "break and continue", "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "32", NULL },
    { "recursion", "{% for x in [[1], [2]] recursive %}{{ loop(x) if x is sequence else x }}{% endfor %}", "12", NULL },
    { "a macro with a default and a caller",
      "{% macro m(x, y=2) %}{{ x }}{{ y }}{{ caller() }}{% endmacro %}{% call m(1) %}!{% endcall %}", "12!", NULL },
    { "a namespace outlives the loop",
      "{% set n = namespace(k=0) %}{% for x in l %}{% set n.k = n.k + x %}{% endfor %}"
      "{{ n.k }}",
      "6", NULL },
    { "a set block and a filter block", "{% set b %}q{% endset %}{% filter upper %}{{ b }}{% endfilter %}", "Q", NULL },
    { "slices", "{{ a[::-1] }}{{ l[1:] }}", "ih[1, 2]", NULL },
    { "JSON keeps its order", "{{ {'b': 1, 'a': [true, none]}|tojson }}", "{\"b\": 1, \"a\": [true, null]}", NULL },
    { "choosing by attribute", "{{ [{'r': 1}, {'r': 2}]|selectattr('r', 'equalto', 2)|list }}", "[{'r': 2}]", NULL },
    { "a list changes: append, insert, pop, remove",
      "{% set x = [1] %}{{ x.append(2) }}{{ x.insert(0, 0) }}{{ x.pop() }}{{ x.remove(0) }}{{ x }}", "NoneNone2None[1]",
      NULL },
    { "a list turned around in place", "{% set x = [1, 2, 3] %}{% set _ = x.reverse() %}{{ x }}", "[3, 2, 1]", NULL },
    { "a copy is another list", "{% set x = [1] %}{% set y = x.copy() %}{% set _ = x.clear() %}{{ x }}{{ y }}", "[][1]",
      NULL },
    { "an object changes: update, pop, copy, clear",
      "{% set d = {'a': 1} %}{% set e = d.copy() %}{% set _ = d.update({'b': 2}) %}{{ d.pop('a') }}{{ d }}"
      "{% set _ = d.clear() %}{{ d }}{{ e }}",
      "1{'b': 2}{}{'a': 1}", NULL },
    { "an item that is not there", "{{ l.remove(77) }}", NULL, "not in list" },
    { "an unknown filter is named", "{{ a|nonsense }}", NULL, "nonsense" },
    { "an unclosed block is named", "{% if a %}", NULL, "if" },
    { "the template's own error", "{{ raise_exception('roles must alternate') }}", NULL, "roles must alternate" },
    { "a loop without end", "{% for x in range(100000000) %}{% endfor %}", NULL, "" },
    { "a text that doubles",
      "{% set n = namespace(t='aaaaaaaa') %}{% for x in range(60) %}{% set n.t = n.t ~ n.t %}"
      "{% endfor %}{{ n.t }}",
      NULL, "" },
};

static void holds_as_said(const struct row *row, const json_value *vars, size_t kept)
{
    const struct render_options options = { .clock_s = 0 };
    const chat_template *t;
    struct rendered r = { { NULL, 0 }, NULL, 0 };
    err e = { 0 };
    arena_rewind(&room, kept);
    bool good = template_parse(view_of(row->source), &room, &t, &e) &&
                template_render(t, vars, &options, &room, &r, &e);
    if (row->text == NULL) {
        CHECK(!good && strstr(e.text, row->names) != NULL && strchr(e.text, '\n') == NULL, "%s: %s", row->says,
              good ? "no error" : e.text);
        return;
    }
    CHECK(good && view_is(r.text, row->text), "%s: %s%.*s", row->says, good ? "" : e.text, (int)r.text.len_bytes,
          good ? (const char *)r.text.ptr : "");
}

int main(void)
{
    const json_value *vars;
    err e = { 0 };
    if (!arena_new(&room, (size_t)1 << 26, &e) ||
        !json_parse(view_of("{\"a\": \"hi\", \"l\": [3, 1, 2]}"), &room, &vars, &e))
        return 1;
    size_t kept = room.used_bytes;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) holds_as_said(&ROWS[i], vars, kept);
    arena_free(&room);
    return check_done();
}
