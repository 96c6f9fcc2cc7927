/* template/reply.h: any bytes as the reply of any convention, whole and in pieces: the same events, arguments are JSON.
 */
#include "template/reply_family.h"

#include <assert.h>

static arena room, other;
static uint64_t hash; /* of the events heard so far, text of one kind joined */
static enum reply_event_type last;

static void hear(void *arg, const struct reply_event *event)
{
    const json_value *v;
    err *e = arg;
    if (event->type != last || event->type > REPLY_CONTENT)
        hash = (hash ^ event->type ^ event->error << 4) * 0x100000001B3u;
    for (size_t i = 0; i < event->text.len_bytes; i++) hash = (hash ^ event->text.ptr[i]) * 0x100000001B3u;
    if (event->type == REPLY_CALL_ARGS) assert(json_parse(event->text, &other, &v, e) && v->type == JSON_OBJECT);
    last = event->type;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const view control[] = { view_of("<|end|>"), view_of("<|message|>"), view_of("<|tool_call>") };
    struct reply_tool tool = { view_of("f"), NULL };
    struct reply_setup setup = { .tools = &tool, .tool_count = 1, .control = control };
    uint64_t whole = 0;
    err e = { 0 };
    if (size < 4 || (room.base == NULL && !(arena_new(&room, 1 << 27, &e) && arena_new(&other, 1 << 27, &e)))) return 0;
    setup.format.family = &REPLY_FAMILIES[data[0] % REPLY_FAMILY_COUNT];
    setup.in_reasoning = data[1] & 1;
    setup.control_count = data[1] & 2 ? 3 : 0;
    for (size_t round = 0; round < 2; round++, whole = hash) {
        reply_parser *p;
        arena_rewind(&room, 0);
        arena_rewind(&other, 0);
        assert(json_parse(view_of("{\"properties\": {\"b\": {\"type\": \"integer\"}}}"), &room, &tool.parameters, &e));
        assert(reply_new(&setup, hear, &e, &room, &p, &e));
        hash = last = 0;
        for (size_t at = 4, n; at < size; at += n) {
            n = round == 0 ? size : 1 + (at * data[2] + data[3]) % 7;
            n = n < size - at ? n : size - at;
            reply_feed(p, (view){ data + at, n }, data[1] & 4);
        }
        reply_finish(p, data[1] & 8);
        assert(round == 0 || hash == whole);
    }
    return 0;
}
