/* Both peers of a client are hostile: any messages in any order while an ask is out. The client calls them broken, or
 * tells events whose pointers hold; nothing else happens. Input: peer and kind (one byte), length (one byte), bytes. */
#include "orchestrator/service.h"

#include <stdlib.h>
#include <string.h>

static struct service_rings owner, client;
static ring peer[SERVICE_PEERS], drain[SERVICE_PEERS], notices, news;

static void make(ring *r, ring *writer, ring *reader)
{
    err e = { 0 };
    if (!ring_new(r, 1 << 22, 1 << 21, &e) || !ring_attach(r, RING_WRITER, writer, &e) ||
        !ring_attach(r, RING_READER, reader, &e))
        abort();
}

static void poll_all(service *s)
{
    struct service_event event;
    static volatile uint64_t sum;
    while (service_poll(s, &event)) {
        for (size_t i = 0; i < event.text.len_bytes; i++) sum += event.text.ptr[i];
        for (size_t i = 0; i < event.id_count; i++) sum += (uint64_t)event.ids[i];
        for (size_t i = 0; i < event.value_count; i++) sum += event.values[i] > 0;
    }
    (void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t room[1 << 21];
    struct service_settings set = { .asks = 2, .ctx_tok = 64 };
    struct text_facts text = { .end_count = 1 };
    struct hearth_facts engine = { .ctx_tok = 64 };
    struct service_ask ask = { .kind = SERVICE_PLAIN, .text = { (const uint8_t *)"a", 1 }, .n = 2 };
    service *s;
    uint64_t id;
    uint32_t kind;
    size_t len;
    err e = { 0 };
    for (int i = 0; i < SERVICE_PEERS && owner.to[i].page_bytes == 0; i++) {
        make(&owner.to[i], &client.to[i], &drain[i]);
        make(&owner.from[i], &peer[i], &client.from[i]);
        if (i == 0) make(&owner.notices, &client.notices, &notices);
        if (i == 0) make(&owner.news, &news, &client.news);
    }
    if (!service_new(&s, &client, &set, &e)) abort();
    if (ring_send(&peer[SERVICE_TEXT], TEXT_FACTS, (view){ (uint8_t *)&text, sizeof text }) != RING_OK ||
        ring_send(&peer[SERVICE_ENGINE], HEARTH_LOADED, (view){ (uint8_t *)&engine, sizeof engine }) != RING_OK)
        abort();
    poll_all(s);
    if (!service_ask(s, &ask, &id, &e) || id != SERVICE_ASKS_MAX) abort(); /* 4096: the inputs can name it */
    while (size >= 2) {
        size_t take = data[1] < size - 2 ? data[1] : size - 2;
        (void)ring_send(&peer[data[0] & 1], data[0] >> 1, (view){ data + 2, take });
        data += 2 + take;
        size -= 2 + take;
        poll_all(s);
        if (size % 7 == 0) service_cancel(s, id);
    }
    poll_all(s);
    for (int i = 0; i < SERVICE_PEERS; i++)
        while (ring_receive(&drain[i], &kind, room, &len) == RING_OK) {}
    while (ring_receive(&notices, &kind, room, &len) == RING_OK) {}
    service_free(s);
    return 0;
}
