/* Fixed templates, any JSON as their variables: no text of a message ever counts as the template's or as a token's. */
#include "template/template.h"

#include <assert.h>

static const char *const sources[] = {
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m['content'] | trim }}<|im_end|>\n{% if "
    "m.tool_calls %}"
    "{% for c in m.tool_calls %}{{ c.function.name ~ c.function.arguments | tojson }}{% endfor %}{% endif %}{% endfor "
    "%}",
    "{%- for m in messages[::-1] %}{% set c = m.content if m.content is string else m.content | string %}{{ "
    "c.split('</think>')[-1]"
    ".lstrip('\\n') | upper | replace('A', '<b>') }}{{ c[2:7:2] }}{{ c.partition('a') }}{{ c | title | indent(2, true) "
    "}}{% endfor %}",
    "{% macro p(x) %}{% if x is mapping %}{% for k, v in x | dictsort %}{{ k }}:{{ p(v) }}{% endfor %}{% elif x is "
    "sequence and x is "
    "not string %}{{ x | map('string') | join(',') }}{% else %}{{ '%s|%r' % (x, x) }}{{ x | tojson(indent=1) }}{% "
    "endif %}{% endmacro "
    "%}{{ p(messages) }}{{ '{:>9}'.format(messages[0] | string) }}{% set ns = namespace(a=[]) %}{% set ns.a = ns.a + "
    "messages %}{{ ns.a }}",
    "{{ messages | map('tojson') | list }}{{ messages | sum(attribute='n') }}{{ messages | map(attribute='n') | sort "
    "| unique | list }}"
    "{{ messages | selectattr('content', 'string') | list }}{{ tools | from_json }}{{ messages | reverse | list }}",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static arena room;
    const struct render_options options = { .limits = {
                                                .steps = 50000, .output_bytes = 1 << 20, .memory_bytes = 1 << 24 } };
    err e = { 0 };
    const json_value *vars;
    if (room.base == NULL && !arena_new(&room, (size_t)1 << 27, &e)) return 0;
    arena_rewind(&room, 0);
    if (!json_parse((view){ data, size }, &room, &vars, &e)) return 0;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        const chat_template *t;
        struct rendered out;
        err why = { 0 };
        assert(template_parse(view_of(sources[i]), &room, &t, &why));
        if (!template_render(t, vars, &options, &room, &out, &why)) continue;
        for (size_t run = 0, from = 0; run < out.run_count; from = out.runs[run++].end)
            for (size_t at = from; at < out.runs[run].end; at++) /* ours is ASCII, so other bytes are a message's */
                assert(out.text.ptr[at] < 0x80 || out.runs[run].origin == ORIGIN_TEXT);
    }
    return 0;
}
