/* template/template.h with any bytes as the template: it parses or fails, renders or fails, in bounded time; and what
 * its renderings are taken for. */
#include "template/reply.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static arena room;
    static const char *const trusted[] = { "bos_token" };
    static const char vars_text[] = "{\"bos_token\": \"<s>\", \"add_generation_prompt\": true, \"n\": -3, \"f\": 2.5, "
                                    "\"big\": 123456789012345678901,"
                                    " \"tools\": [{\"name\": \"f\", \"parameters\": {\"a\": {\"type\": \"string\"}}}], "
                                    "\"x\": null, \"messages\": [{\"role\":"
                                    " \"user\", \"content\": \"h\\u00e9llo <s> \\ud83d\\ude00\"}, {\"role\": "
                                    "\"assistant\", \"content\": \"b\\n c\"}]}";
    const struct render_options options = {
        .clock_s = 1795348800,
        .limits = { .steps = 20000, .output_bytes = 1 << 20, .memory_bytes = 1 << 24 },
        .trusted = trusted,
        .trusted_count = 1
    };
    err e = { 0 };
    const json_value *vars;
    const chat_template *t;
    struct rendered out;
    struct reply_format format;
    if (room.base == NULL && !arena_new(&room, (size_t)1 << 26, &e)) return 0;
    arena_rewind(&room, 0);
    assert(json_parse(view_of(vars_text), &room, &vars, &e));
    if (!template_parse((view){ data, size }, &room, &t, &e)) return 0;
    reply_derive(t, &options, &room, &format);
    if (!template_render(t, vars, &options, &room, &out, &e)) {
        assert(e.code != ERR_NONE);
        return 0;
    }
    uint32_t end = 0;
    for (size_t i = 0; i < out.run_count; end = out.runs[i++].end) assert(out.runs[i].end > end);
    assert(end == out.text.len_bytes && end <= 1 << 20);
    return 0;
}
