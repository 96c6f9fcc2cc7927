/* template/reply.h: any bytes as the reply of any convention, whole and in pieces: the same events, arguments that are
 * JSON, calls that begin and end in order. */
#include "template/reply_family.h"

#include <assert.h>

struct heard {
    uint64_t hash; /* of the events, text joined */
    enum reply_event_type last;
    uint32_t calls;
    arena *room;
};

static void mix(struct heard *h, view bytes)
{
    for (size_t i = 0; i < bytes.len_bytes; i++) h->hash = (h->hash ^ bytes.ptr[i]) * 0x100000001B3u;
}

static void hear(void *arg, const struct reply_event *event)
{
    struct heard *h = arg;
    const json_value *v;
    err e = { 0 };
    uint8_t tag = (uint8_t)(event->type + 16 * (unsigned)event->error);
    if (event->type != h->last || event->type > REPLY_CONTENT) mix(h, (view){ &tag, 1 });
    mix(h, event->text);
    mix(h, event->name);
    assert(event->type <= REPLY_BLOCK || event->type >= REPLY_ERROR || event->call == h->calls);
    if (event->type == REPLY_CALL_ARGS) assert(json_parse(event->text, h->room, &v, &e) && v->type == JSON_OBJECT);
    if (event->type == REPLY_CALL_END) h->calls++;
    h->last = event->type;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static arena room, other;
    static const char schema[] = "{\"properties\": {\"a\": {\"type\": \"string\"}, \"b\": {\"type\": \"integer\"}}}";
    const view control[] = { view_of("<|end|>"), view_of("<|message|>"), view_of("<|tool_call>") };
    struct reply_tool tool = { view_of("f"), NULL };
    uint64_t hashes[2];
    err e = { 0 };
    if (size < 4 ||
        (room.base == NULL && (!arena_new(&room, (size_t)1 << 27, &e) || !arena_new(&other, (size_t)1 << 27, &e))))
        return 0;
    struct reply_setup setup = { .format = { .family = &REPLY_FAMILIES[data[0] % REPLY_FAMILY_COUNT] },
                                 .tools = &tool,
                                 .tool_count = 1 };
    setup.in_reasoning = data[1] & 1;
    setup.control = control;
    setup.control_count = data[1] & 2 ? 3 : 0;
    for (size_t round = 0; round < 2; round++) {
        struct heard h = { .last = REPLY_END, .room = &other };
        reply_parser *p;
        arena_rewind(&room, 0);
        arena_rewind(&other, 0);
        assert(json_parse(view_of(schema), &room, &tool.parameters, &e) && reply_new(&setup, hear, &h, &room, &p, &e));
        for (size_t at = 4; at < size;) {
            size_t n = round == 0 ? size - at : 1 + (at * data[2] + data[3]) % 7;
            n = n < size - at ? n : size - at;
            reply_feed(p, (view){ data + at, n }, data[1] & 4);
            at += n;
        }
        reply_finish(p, data[1] & 8);
        hashes[round] = h.hash;
    }
    assert(hashes[0] == hashes[1]);
    return 0;
}
