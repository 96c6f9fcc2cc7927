/* A hostile peer, driven by the input: it sets index words and data words of its memfd between our steps. Whatever it
 * writes, a received length is allowed and nothing outside the buffer is touched (the sanitizer watches). */
#include "base/ring.h"

#include "base/le.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { DATA_BYTES = 4096, MESSAGE_BYTES = 500 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
    static ring owner; /* made once: the input replaces all of its contents that matter */
    err e = { 0 };
    if (owner.page_bytes == 0 && !ring_new(&owner, DATA_BYTES, MESSAGE_BYTES, &e)) abort();
    ring ours[2] = { owner, owner };
    for (int side = 0; side < 2; side++) {
        ours[side].owner = false;
        ours[side].role = (enum ring_role)side;
        atomic_store((_Atomic uint64_t *)(void *)owner.page[side], 0);
    }
    uint8_t *into = malloc(MESSAGE_BYTES);
    for (size_t at = 0; at + 10 <= len_bytes; at += 10) {
        uint64_t word = le_u64(bytes + at + 2);
        size_t place = bytes[at + 1], len = 0;
        uint32_t kind;
        if (bytes[at] & 1) atomic_store((_Atomic uint64_t *)(void *)owner.page[bytes[at] >> 1 & 1], word);
        if (bytes[at] & 4) atomic_store((_Atomic uint64_t *)(void *)(owner.data + place * 16), word);
        if (bytes[at] & 8) ring_send(&ours[RING_WRITER], 1, (view){ into, word % (MESSAGE_BYTES + 1) });
        if (bytes[at] & 16 && ring_receive(&ours[RING_READER], &kind, into, &len) == RING_OK && len > MESSAGE_BYTES)
            abort();
        if (bytes[at] & 32) ring_restart(&owner, (enum ring_role)(bytes[at] >> 6 & 1));
    }
    free(into);
    return 0;
}
